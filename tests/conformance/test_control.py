"""Loops and branches on every target: values and gradients against torch, to second order, and what is refused.

torch differentiates the interpreter's steps one by one, so it knows nothing of how a loop is run backwards here. Plain
Python loops say what the values are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.passes.retype import retype
from gradsmith.verify import verify

from .harness import LOOPS, Runners
from .loop_programs import PROGRAMS, RNN, branches, compiled, newton, point, reference, rnn, wanted

TARGETS = ("python", "numpy", "c")
OF_DERIVATIVES = ("second order", "forward", "while, second", "rows of a table, second")


def far(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], relative: float) -> list[int]:
    """Which results are not near what is expected, counted from the value."""
    scale = max(1.0, *(float(np.max(np.abs(e), initial=0.0)) for e in expected))
    return [
        k
        for k, (a, b) in enumerate(zip(got, expected, strict=True))
        if not np.allclose(np.reshape(a, b.shape), b, rtol=relative, atol=relative * scale)
    ]


@pytest.fixture(scope="module", params=["float64", "float32", "strict"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Runners]:
    """All programs, compiled in one way for all targets, and built by all compilers.

    The width and the strict order of operations are not the derivative rules' business, so ways other than the first
    leave out derivatives of derivatives, and functions for the value or the gradient alone.
    """
    both = {"derivatives": "value_and_grad"}
    options: dict[str, Any] = {
        "float64": {},
        "float32": both | {"dtype": "float32"},
        "strict": both | {"strict": True},
    }[request.param]
    targets = ("numpy", "c") if request.param == "float32" else ("python", LOOPS, "numpy", "c")
    if request.param == "strict":
        targets = ("python", "numpy", "c")
    names = [n for n in PROGRAMS if request.param == "float64" or not n.startswith(OF_DERIVATIVES)]
    programs = {name: compiled(name, targets, **options) for name in names}
    return request.param, Runners(programs, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients_are_those_of_torch(name: str, way: tuple[str, Runners]) -> None:
    kind, runners = way
    if name not in runners:
        pytest.skip("a derivative of a derivative, which float64 is enough for")
    at = point(PROGRAMS[name][1])
    expected = wanted(reference(name), at)
    found = {}
    for target, run in runners.all(name):
        found[target] = run("value_and_grad", at)
        assert not far(found[target], expected, 2e-4 if kind == "float32" else 1e-10), target
        if kind == "float64":
            assert not far([*run("value", at), *run("grad", at)], found[target], 1e-13), target
    if kind == "strict":
        first, *others = found.values()
        for other in others:
            assert [np.ravel(a).tobytes() for a in first] == [np.ravel(b).tobytes() for b in other]


@pytest.mark.parametrize("target", TARGETS)
def test_values_are_those_of_plain_loops(target: str) -> None:
    def model(state: Any, us: Any) -> Any:
        def step(s: Any, u: Any) -> Any:
            return {"a": s["b"], "n": s["n"] + 1, "b": s["a"] + u["x"] * s["n"]}, (s["a"], u["y"])

        last, (firsts, ys) = gs.scan(step, {"a": state, "b": 0.5, "n": 0}, us)
        return last["a"], last["b"], last["n"], firsts, ys

    f = gs.compile(model, args=((), {"x": (4,), "y": (4, 2)}), target=target)
    us = {"x": np.array([0.1, -0.4, 2.0, 0.7]), "y": np.arange(8.0).reshape(4, 2)}
    a, b, n, firsts = 1.5, 0.5, 0, []
    for x in us["x"]:
        firsts.append(a)
        a, b, n = b, a + x * n, n + 1
    got = f(1.5, us)
    for ours, expected in zip(got, (a, b, n, firsts, us["y"]), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-15)


@pytest.mark.parametrize("target", TARGETS)
def test_a_loop_without_a_bound_has_a_forward_derivative(target: str) -> None:
    f = gs.compile(
        lambda x: gs.jvp(lambda x: newton(x, None), (x,), (1.0,)), args=((),), target=target, derivatives=("value",)
    )
    value, slope = f(2.0)
    assert (round(float(value), 2), round(float(slope), 2)) == (1.41, 0.35)


@pytest.mark.parametrize("target", TARGETS)
def test_traced_bounds_and_the_bound_of_a_loop(target: str) -> None:
    f = gs.compile(
        lambda n, x: gs.fori_loop(0, n, lambda i, y: y * x + i, 1.0),
        args=(gs.spec((), "int64"), ()), target=target, derivatives=("value",),
    )  # fmt: skip
    assert [float(f(n, 2.0)) for n in (-1, 0, 1, 3)] == [1.0, 1.0, 2.0, 12.0]
    g = gs.compile(
        lambda x: gs.while_loop(lambda y: y < 100.0, lambda y: y * 2.0, x, bound=3), args=((),), target=target
    )
    assert float(g(1.0)) == 8.0  # it ends after `bound` steps
    assert float(g.grad(1.0)) == 8.0


def test_text_digest_and_retype_see_the_bodies() -> None:
    graph = gs.compile(rnn, args=RNN, target="numpy", derivatives=("value",)).graph
    assert "\n  body:\n" in graph.text()
    assert "\n    %2:f64[3, 3] = input name='W'" in graph.text()
    other = gs.compile(
        lambda h, us, W: rnn(h, us, W * 1.0) * 1.0, args=RNN, target="numpy", derivatives=("value",)
    ).graph
    assert graph.digest() != other.digest()
    narrow = verify(retype(graph, gs.float32))
    assert {n.type.dtype for n in narrow.ordered() if not n.bodies} == {gs.float32}


@pytest.mark.parametrize("against", ["torch", "mpmath", "finite"])
def test_check_knows_loops(against: str) -> None:
    f = gs.compile(branches, args=((), (4,)), target="numpy")
    assert f.check(against=against, n=3).ok


def test_pictures_and_debugging_do_not_stumble() -> None:
    f = gs.compile(lambda x, us: branches(x, us) + gs.log(x), args=((), (4,)), target="numpy")
    assert "for" in f.graph.to_dot()
    assert "flowchart" in f.adjoint.to_mermaid()
    f.debug()(1.0, np.ones(4))
    with pytest.raises(gs.NonFiniteError, match="log"):
        f.debug()(-1.0, np.ones(4))
    with pytest.raises(gs.UnsupportedError, match="loop or a branch"):
        f.explain(x=1.0, us=np.ones(4))


X, V = gs.symbol("x"), gs.symbol("v", (3,))
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shape": (
        lambda: gs.scan(lambda c, u: ({"h": gs.stack([c["h"], u])}, None), {"h": X}, V),
        gs.ShapeError, r"init\['h'\] is f64, but the body makes it f64\[2\].*start from that shape",
    ),
    "dtype": (
        lambda: gs.scan(lambda c, u: (c * 0.5, None), gs.astype(X, gs.int64), V),
        gs.DTypeError, "init is i64, but the body makes it f64: start from float64",
    ),
    "structure": (lambda: gs.scan(lambda c, u: ((c, c), None), X, V), gs.SpecError, "same structure"),
    "no pair": (lambda: gs.scan(lambda c, u: c, X, V), gs.SpecError, r"the pair \(carry, y\)"),
    "while state": (lambda: gs.while_loop(lambda c: X < 1.0, lambda c: V, X), gs.ShapeError, r"makes it f64\[3\]"),
    "while test": (lambda: gs.while_loop(lambda c: V < 1.0, lambda c: c, X), gs.ShapeError, "one boolean"),
    "branch types": (lambda: gs.cond(X > 0.0, lambda: X, lambda: V), gs.ShapeError, "false_fun's is f64"),
    "branch dtypes": (
        lambda: gs.cond(X > 0.0, lambda: X, lambda: gs.astype(X, gs.int64)), gs.DTypeError,
        "true_fun's result is f64 and false_fun's is i64.*gs.astype",
    ),
    "branch structure": (lambda: gs.cond(X > 0.0, lambda: X, lambda: (X, X)), gs.SpecError, "same structure"),
    "branch condition": (lambda: gs.cond(V > 0.0, lambda: X, lambda: X), gs.ShapeError, "gs.where"),
    "lengths": (lambda: gs.scan(lambda c, u: (c, u), X, (V, V[:2])), gs.ShapeError, r"xs\[0\] 3, xs\[1\] 2"),
    "a branch that is a value": (lambda: gs.cond(X > 0.0, X, lambda: X), gs.SpecError, "gs.where to choose"),
    "a count that is no integer": (lambda: gs.fori_loop(0, X, lambda i, c: c, X), gs.SpecError, "gs.int64"),
    "no length": (lambda: gs.scan(lambda c, u: (c, u), X), gs.SpecError, "length="),
    "scalar xs": (lambda: gs.scan(lambda c, u: (c, u), X, X), gs.ShapeError, "first axis"),
    "checkpoint": (lambda: gs.scan(lambda c, u: (c, u), X, V, checkpoint="all"), gs.SpecError, '"sqrt"'),
    "bound": (lambda: gs.while_loop(lambda c: c < 1.0, lambda c: c, X, bound=0.5), gs.SpecError, "an int"),
    "python's if": (lambda: gs.scan(lambda c, u: (c if u > 0 else u, None), X, V), gs.TraceError, "gs.where"),
    "reversed without a bound": (
        lambda: gs.compile(lambda x: newton(x, None), args=((),)), gs.DerivativeError, "bound=.*forward mode",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    build, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        build()
