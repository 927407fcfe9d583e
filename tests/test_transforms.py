"""Transforms of functions: each against torch.func, on every target, nested to third order; JAX's conventions; errors."""

from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs

TARGETS = ("python", "numpy", "c")
X, Y = np.array([0.7, -0.4, 1.3]), np.array([0.2, 0.9, -1.1])


def smooth(xp: Any, x: Any, y: Any) -> Any:
    """One number from two vectors, in gradsmith's or torch's words."""
    return xp.sum(xp.tanh(x * y) * x) + xp.exp(x[0] * y[2]) * x[1]


def vector(xp: Any, x: Any, y: Any) -> Any:
    return xp.stack([x[0] * x[1], xp.sin(x[2]) * y[0], xp.sum(x * x * y), y[1]])


def along(df: Any, x: Any, *rest: Any) -> Any:
    return df(x, *rest)


#: name -> the same composition of transforms, for gradsmith and for torch.func
ORDERS = {
    "grad": lambda t, f: t.grad(f),
    "grad by the second": lambda t, f: t.grad(f, 1),
    "grad by both": lambda t, f: t.grad(f, (0, 1)),
    "hessian": lambda t, f: t.hessian(f),
    "hessian by both": lambda t, f: t.hessian(f, (0, 1)),
    "jacfwd of grad": lambda t, f: t.jacfwd(t.grad(f), 1),
    "jacrev of grad": lambda t, f: t.jacrev(t.grad(f, (0, 1)), 1),
    "third order": lambda t, f: t.jacfwd(t.hessian(f)),
    "third order, reverse": lambda t, f: t.jacrev(t.jacfwd(t.grad(f, 1)), 0),
    "jvp of grad": lambda t, f: lambda x, y: t.jvp(t.grad(f, (0, 1)), (x, y), (y, x)),
    "vjp of jvp": lambda t, f: (
        lambda x, y: t.vjp(lambda z: t.jvp(lambda w: f(w, y), (z,), (y,))[1], x)[1](t.grad(f)(x, y).sum())
    ),
    "grad of a product with the Hessian": lambda t, f: t.grad(
        lambda x, y: (t.jvp(t.grad(f), (x, y), (y, x))[1] * x).sum()
    ),
}
VECTORS = {
    "jacfwd": lambda t, f: t.jacfwd(f),
    "jacrev": lambda t, f: t.jacrev(f, (0, 1)),
    "hessian of a vector": lambda t, f: t.hessian(f),
    "third order of a vector": lambda t, f: t.jacrev(t.jacfwd(t.jacfwd(f))),
    "jvp": lambda t, f: lambda x, y: t.jvp(f, (x, y), (y, x)),
    "vjp": lambda t, f: lambda x, y: t.vjp(f, x, y)[1](f(x, y)),
}
CASES = [(name, make, smooth) for name, make in ORDERS.items()] + [(n, make, vector) for n, make in VECTORS.items()]


def flat(value: Any) -> np.ndarray:
    if isinstance(value, tuple):
        return np.concatenate([flat(v) for v in value])
    return np.ravel(value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("make", "f"), [(m, f) for _, m, f in CASES], ids=[n for n, _, _ in CASES])
def test_transforms_equal_those_of_torch(make: Any, f: Any, target: str) -> None:
    ours = make(gs, lambda x, y: f(gs, x, y))
    theirs = make(torch.func, lambda x, y: f(torch, x, y))
    compiled = gs.compile(lambda x, y: ours(x, y), args=((3,), (3,)), target=target, selftest=False)
    got, want = compiled(X, Y), theirs(torch.tensor(X), torch.tensor(Y))
    np.testing.assert_allclose(flat(got), flat(want), rtol=1e-11, atol=1e-13)


def test_results_nest_as_those_of_jax() -> None:
    def f(p: dict[str, Any], x: Any) -> dict[str, Any]:
        return {"a": p["w"] @ x, "b": (gs.sum(x * p["b"]),)}

    seen: dict[str, Any] = {}

    def shapes(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: shapes(v) for k, v in value.items()}
        return tuple(map(shapes, value)) if isinstance(value, tuple) else value.shape

    def outer(p: Any, x: Any) -> Any:
        seen["jacobian"] = shapes(gs.jacobian(f)(p, x))
        seen["both"] = shapes(gs.jacobian(f, (1, 0))(p, x))
        seen["hessian"] = shapes(gs.hessian(f, 1)(p, x))
        result, back = gs.vjp(f, p, x)
        seen["vjp"] = shapes(back(result))
        seen["jvp"] = shapes(gs.jvp(f, (p, x), (p, x)))
        seen["hvp"] = shapes(gs.hvp(lambda p: f(p, x)["b"][0], (p,), (p,)))
        return gs.sum(x)

    gs.compile(outer, args=({"w": (2, 3), "b": (3,)}, (3,)))
    w, b, x = (2, 3), (3,), (3,)
    by_p, by_x = {"a": {"w": (2, *w), "b": (2, *b)}, "b": ({"w": w, "b": b},)}, {"a": (2, *x), "b": (x,)}
    assert seen["jacobian"] == by_p
    assert seen["both"] == {"a": (by_x["a"], by_p["a"]), "b": ((x, by_p["b"][0]),)}
    assert seen["hessian"] == {"a": (2, 3, 3), "b": ((3, 3),)}
    assert seen["vjp"] == ({"w": w, "b": b}, x)
    assert seen["jvp"] == ({"a": (2,), "b": ((),)},) * 2
    assert seen["hvp"] == {"w": w, "b": b}


def test_aux_is_passed_on_and_not_differentiated() -> None:
    def f(x: Any) -> Any:
        def loss(x: Any) -> Any:
            return gs.sum(x * x), {"twice": x * 2.0, "text": "as it is"}

        slope, aux = gs.grad(loss, has_aux=True)(x)
        (_, more), _ = gs.value_and_grad(loss, has_aux=True)(x)
        assert aux["text"] == more["text"] == "as it is"
        _, _, third = gs.jvp(loss, (x,), (x,), has_aux=True)
        _, _, fourth = gs.vjp(loss, x, has_aux=True)
        return slope, aux["twice"], more["twice"] + third["twice"] + fourth["twice"]

    assert gs.compile(f, args=((2,),))([1.0, 3.0]) == ([2.0, 6.0], [2.0, 6.0], [6.0, 18.0])


def test_a_closed_over_value_is_a_constant() -> None:
    def f(x: Any) -> Any:
        return gs.grad(lambda z: x * z + gs.grad(lambda u: u * z * x)(x))(x)

    assert gs.compile(gs.grad(f))(3.0) == 2.0  # x + x


def test_expressions_and_loops() -> None:
    x, y = gs.symbols("x y")
    assert gs.compile(gs.jacobian([x * y, y], (x, y)))(2.0, 3.0) == [(3.0, 2.0), (0.0, 1.0)]
    assert gs.compile(gs.grad(x**3))(2.0) == 12.0

    def newton(x: Any) -> Any:
        for _ in range(20):
            slope, curve = gs.grad(f)(x), gs.hessian(f)(x)
            x = x - slope / curve
        return x

    def f(x: Any) -> Any:
        return x**4 / 4.0 - 2.0 * x

    assert gs.compile(newton, target="numpy")(1.5) == pytest.approx(2.0 ** (1 / 3), rel=1e-15)


def test_an_argument_changed_in_place_is_differentiated_as_numpy_code_means_it() -> None:
    def f(x: Any) -> Any:
        x = x.copy()
        x[0] = x[1] * x[1]
        return gs.sum(x * x)

    assert gs.compile(gs.grad(f), args=((2,),))([5.0, 2.0]) == [0.0, 4 * 8.0 + 4.0]


n = gs.symbol("n", (), "int64")
v, s = gs.symbol("v", (3,)), gs.symbol("s")
BAD = [
    ("an array", lambda: gs.grad(v * 2.0), "gs.jacobian or gs.vjp"),
    ("two results", lambda: gs.grad(lambda x: (x, x))(s), "gs.jacobian or gs.vjp"),
    ("argnums", lambda: gs.grad(lambda x: x, 1)(s), "argnums=1 is no position"),
    ("argnums of a kind", lambda: gs.grad(lambda x: x, "x")(s), "argnums='x' is no position"),
    ("argnums twice", lambda: gs.grad(lambda x: x, (0, -1))(s), "twice"),
    ("an integer", lambda: gs.grad(lambda x: x * 2.0)(n), "gs.astype"),
    ("an integer symbol", lambda: gs.grad(n * s, n), "no derivative by it"),
    ("no symbol", lambda: gs.grad(s * 2.0, s * 3.0), "by symbols"),
    ("no function", lambda: gs.grad(3.0), "a function, an expression"),
    ("no tuple", lambda: gs.jvp(lambda x: x, s, s), r"jvp\(f, \(x,\), \(v,\)\)"),
    ("too few tangents", lambda: gs.jvp(lambda x, y: x, (s, s), (s,)), "2 primals and 1 tangents"),
    ("tangent's shape", lambda: gs.jvp(lambda x: x, (v,), (s,)), "broadcast_to"),
    ("tangent's structure", lambda: gs.jvp(lambda x: x[0], ((s, s),), ((s,),)), "the structure"),
    ("cotangent's shape", lambda: gs.vjp(lambda x: x, v)[1](s), "broadcast_to"),
    ("hvp of a vector", lambda: gs.hvp(v * v, (v,), (v,)), "one real number"),
    ("aux", lambda: gs.grad(lambda x: x, has_aux=True)(s), "a pair"),
    ("aux of an expression", lambda: gs.grad(s * s, has_aux=True), "for functions"),
    ("nothing", lambda: gs.jacobian(lambda x: ())(s), "holds no value"),
]
#: What does not fit is the same kind of error as for `f.jvp` and `f.vjp` of a compiled function.
KINDS = {
    r"jvp\(f, \(x,\), \(v,\)\)": gs.ArgumentError,
    "2 primals and 1 tangents": gs.ArgumentError,
    "the structure": gs.ArgumentError,
    "broadcast_to": gs.ShapeMismatchError,
}


@pytest.mark.parametrize(("run", "message"), [(r, m) for _, r, m in BAD], ids=[name for name, _, _ in BAD])
def test_errors_say_the_remedy(run: Any, message: str) -> None:
    kind = KINDS.get(message, gs.DerivativeError)
    with pytest.raises(kind, match=message):
        run()


def test_the_diagonal_of_a_hessian() -> None:
    def energy(p, y):
        return gs.sum(p["a"] ** 3 * y) + p["b"] * gs.sum(p["a"][1:] * p["a"][:-1]) + p["b"] ** 4

    p, y = {"a": np.array([0.3, 1.2, -0.7]), "b": np.array(0.9)}, np.array([1.0, 2.0, 3.0])
    for target in ("python", "numpy"):
        f = gs.compile(gs.hessian_diag(energy), args=(p, y), target=target, derivatives="value", selftest=False)
        found = f(p, y)
        np.testing.assert_allclose(found["a"], 6.0 * p["a"] * y, rtol=1e-14)
        np.testing.assert_allclose(found["b"], 12.0 * p["b"] ** 2, rtol=1e-14)
    g = gs.compile(gs.hessian_diag(energy), args=(p, y), target="numpy", derivatives="value", selftest=False)
    assert g.cost.total("value") <= 12  # three products for each element of a, two for b: nothing beside the diagonal
    with pytest.raises(gs.DerivativeError, match="hessian_diag: the function must return one real number"):
        gs.compile(gs.hessian_diag(lambda x: x * x), args=((2,),))


@pytest.mark.parametrize("transform", [gs.grad, gs.hessian, lambda f: lambda x: gs.jvp(f, (x,), (1.0,))[1]])
def test_stable_forms_can_be_refused_inside_transforms(transform) -> None:
    def softplus(x):
        return gs.log(1.0 + gs.exp(x))

    for stabilize in (True, False):
        f = gs.compile(transform(softplus), args=((),), derivatives="value", stabilize=stabilize, selftest=False)
        assert np.isfinite(f(800.0)) == stabilize
