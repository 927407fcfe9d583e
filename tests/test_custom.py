"""Custom derivatives: stop-gradient, straight-through estimator, implicit differentiation of a fixed point; errors."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith import registry
from gradsmith.trace import op

pytestmark = pytest.mark.usefixtures("quick_builds")

TARGETS = ("python", "numpy", "c")


@gs.custom_derivative(vjp=lambda g, y, x: (g,))
def rounded(x: Any) -> Any:
    return gs.round(x)


@pytest.mark.parametrize("target", TARGETS)
def test_a_straight_through_estimator(target: str) -> None:
    x = gs.symbol("x", (3,))
    kinds = ("value", "grad", "hessian", "jvp")
    f = gs.compile(gs.sum(rounded(x) ** 2), derivatives=kinds, target=target, selftest=False)
    at = [0.4, 1.6, -2.2]
    assert f(at) == 8.0
    np.testing.assert_array_equal(f.grad(at), [0.0, 4.0, -4.0])
    np.testing.assert_array_equal(f.hessian(at), 2.0 * np.eye(3))  # exact zeros, by the rule's own pattern
    assert f.jvp((at,), ([1.0, 1.0, 1.0],)) == (8.0, 0.0)


def test_stop_gradient_in_both_modes() -> None:
    x = gs.symbol("x")
    f = gs.compile(x * gs.stop_gradient(x), derivatives=("grad", "jvp", "hessian"))
    assert f.grad(3.0) == 3.0
    assert f.jvp((3.0,), (1.0,)) == (9.0, 3.0)
    assert f.hessian(3.0) == 0.0


def test_a_full_hessian_is_that_of_the_rule() -> None:
    """From four sweeps on, elimination may be cheaper: it must not look through the rule at what is computed."""

    @gs.custom_derivative(vjp=lambda g, y, x, scale: (1.5 * scale * g, gs.sum(x * g)))
    def stepped(x: Any, scale: Any) -> Any:
        return gs.round(x) * scale

    x, s = gs.symbol("x", (4,)), gs.symbol("s")
    f = gs.compile(gs.sum(stepped(scale=s, x=x) ** 2), wrt=(x, s), derivatives=("hessian", "hvp"), target="numpy")
    (by_xx, _), _ = f.hessian([0.4, 1.6, -2.2, 3.0], 0.6)
    np.testing.assert_allclose(by_xx, 2.0 * (1.5 * 0.6) ** 2 * np.eye(4))


def test_a_rule_may_scale_a_cotangent_that_operators_look_into() -> None:
    squared = gs.custom_derivative(gs.tanh, vjp=lambda g, y, z: (g * z**2,))
    a, b = gs.symbol("a", (4, 4)), gs.symbol("b", (4,))
    f = gs.compile(gs.sum(squared(a @ b) ** 2), wrt=b, derivatives=("jacobian", "grad"), target="numpy")
    at = np.arange(16.0).reshape(4, 4) / 9.0, np.ones(4)
    np.testing.assert_allclose(f.jacobian(*at), f.grad(*at))


@pytest.mark.parametrize("size", [0, 1, 5])
def test_several_results_of_a_named_size(size: int) -> None:
    both = gs.custom_derivative(lambda z: (gs.tanh(z), gs.sum(z)), vjp=lambda g, y, z: (g[0] * z + g[1],))
    f = gs.compile(lambda x: gs.sum(both(x)[0]) * both(x)[1], args=(("n",),), target="numpy")
    x = np.linspace(0.3, 0.9, size)
    np.testing.assert_allclose(f(x), np.tanh(x).sum() * x.sum())
    np.testing.assert_allclose(f.grad(x), x * x.sum() + np.tanh(x).sum())


def fixed_point(steps: int) -> Any:
    """y = cos(a*y), by iteration; the derivative by the implicit function theorem."""

    def slope(tangents: Any, y: Any, a: Any) -> Any:
        s = -gs.sin(a * y)
        return s * y * tangents[0] / (1.0 - s * a)

    @gs.custom_derivative(jvp=slope)
    def solve(a: Any) -> Any:
        y = 0.5
        for _ in range(steps):
            y = gs.cos(a * y)
        return y

    return solve


@pytest.mark.parametrize("target", TARGETS)
def test_the_implicit_derivative_of_a_fixed_point(target: str) -> None:
    import mpmath as mp

    a = gs.symbol("a")
    f = gs.compile(fixed_point(90)(a), derivatives=("value", "grad", "hessian", "jvp"), target=target, selftest=False)

    def exact(a: Any) -> Any:
        return mp.findroot(lambda y: y - mp.cos(a * y), 0.7)

    with mp.workdps(40):
        first, second = (float(mp.diff(exact, 0.8, n)) for n in (1, 2))
    assert f.grad(0.8) == pytest.approx(first, rel=1e-12)
    assert f.hessian(0.8) == pytest.approx(second, rel=1e-10)
    assert f.jvp((0.8,), (2.0,))[1] == pytest.approx(2.0 * first, rel=1e-12)


def test_pytrees_closures_and_float32() -> None:
    c = gs.symbol("c")

    @gs.custom_derivative(vjp=lambda g, y, p, x: ({"w": g["a"] * 10.0, "b": None}, g["s"] * x))
    def f(p: Any, x: Any) -> Any:
        return {"a": p["w"] * c + p["b"], "s": gs.sum(x * x)}

    w, b, x = gs.symbol("w"), gs.symbol("b"), gs.symbol("x", (2,))
    out = f({"w": w, "b": b}, x)
    for dtype in ("float64", "float32"):
        g = gs.compile(out["a"] + 2.0 * out["s"], args=(w, b, x, c), target="numpy", dtype=dtype, selftest=False)
        value, slopes = g.value_and_grad(2.0, 1.0, [3.0, 4.0], 5.0)
        assert value == 61.0
        assert slopes[:2] == (10.0, 0.0)
        np.testing.assert_array_equal(slopes[2], [6.0, 8.0])
        assert slopes[3] == 0.0  # closed over


def test_user_ops_have_a_tangent(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: registry.OPS.pop("cube_of_a_test"))
    cube = op(
        "cube_of_a_test", arity=1, kind="elementwise", infer=lambda x: x, evaluate=lambda x: x * x * x,
        vjp=lambda g, y, x: (3.0 * g * x * x,),
        cells={"python": "{0} * {0} * {0}", "numpy": "{0} * {0} * {0}", "c": "{0} * {0} * {0}"},
    )  # fmt: skip
    x = gs.symbol("x")
    for target in TARGETS:
        f = gs.compile(cube(x), derivatives=("jvp", "hessian"), target=target, selftest=False)
        assert f.jvp((2.0,), (10.0,)) == (8.0, 120.0)
        assert f.hessian(2.0) == 12.0


x, v = gs.symbol("x"), gs.symbol("v", (3,))
wrong_count = gs.custom_derivative(lambda x: x * 2.0, vjp=lambda g, y, x: g)
wrong_shape = gs.custom_derivative(lambda x: x * 2.0, vjp=lambda g, y, x: (gs.sum(g),))
closing = gs.custom_derivative(lambda x: x * v[0], vjp=lambda g, y, x: (g * v[0],))
closing_tangent = gs.custom_derivative(lambda x: x * v[0], jvp=lambda t, y, x: t[0] * v[0])
integers = gs.custom_derivative(lambda x: gs.argmax(x), vjp=lambda g, y, x: (g,))
scaled = gs.custom_derivative(lambda x, scale=1.0, shift=0.0: x, vjp=lambda g, y, *xs: xs)
BAD = [
    ("a gap before a named argument", lambda: scaled(x, shift=1.0), "give the arguments before it"),
    ("no rule", lambda: gs.custom_derivative(lambda x: x), "give the rule"),
    ("a bare cotangent", lambda: gs.compile(wrong_count(x)), "a tuple of one cotangent an argument"),
    ("another shape", lambda: gs.compile(gs.sum(wrong_shape(v))), "sum or broadcast it"),
    (
        "a closure",
        lambda: gs.compile(closing(x), args=[x, v]),
        "vjp of '<lambda>' closes over the traced value 'v'.*pass",
    ),
    ("a closure of a tangent", lambda: gs.compile(closing_tangent(x), args=[x, v], derivatives="jvp"), "closes over"),
    ("a closure in a transform", lambda: gs.grad(closing)(x), "closes over the traced value 'v'"),
    ("a closure in a loop", lambda: gs.compile(gs.map(closing, v).sum()), "closes over the traced value 'v'"),
    ("an integer result", lambda: integers(v), "floating-point values of one width"),
]


@pytest.mark.parametrize(("run", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_errors_say_the_remedy(run: Any, message: str) -> None:
    with pytest.raises(gs.GradsmithError, match=message):
        run()
