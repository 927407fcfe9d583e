"""vmap: axes and pytrees as JAX has them, loops and branches, derivatives inside and outside, errors.

Every op under vmap: tests/conformance/test_vmap.py.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.as_graph import input_symbols, to_graph
from gradsmith.batch import batching
from gradsmith.batch.batched import Batch
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.registry import OPS, Op
from gradsmith.trace import apply
from gradsmith.types import Type

TARGETS = ("python", "numpy", "c")
RNG = np.random.default_rng(4)


def run(f: Callable[..., Any], *points: Any, target: str = "numpy") -> Any:
    """`f` at arrays, compiled."""
    specs = tuple(gs.spec(np.shape(x), np.asarray(x).dtype.name) for x in points)
    return gs.compile(lambda *xs: f(*xs), args=specs, target=target, derivatives=("value",), selftest=False)(*points)


def graph_of(f: Callable[..., Any], *shapes: Any) -> Graph:
    return gs.compile(lambda *xs: f(*xs), args=shapes, target="numpy", derivatives=("value",), selftest=False).graph


def ops_of(f: Callable[..., Any], *shapes: Any) -> list[str]:
    return [n.op for n in graph_of(f, *shapes).ordered()]


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-12, atol=1e-13)


def each(f: Callable[..., Any], *points: np.ndarray) -> np.ndarray:
    """`f` of one element after the other, by NumPy's code."""
    g = gs.compile(
        lambda *xs: f(*xs),
        args=tuple(gs.spec(x.shape[1:], x.dtype.name) for x in points),
        target="numpy",
        derivatives=("value",),
        selftest=False,
    )
    return np.stack([np.asarray(g(*row)) for row in zip(*points, strict=True)])


# --- axes and pytrees -------------------------------------------------------------------------------------------------

X, W = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("in_x", "in_w"), [(0, None), (1, None), (-1, 0), (0, 1), (None, 1), (1, -1)])
@pytest.mark.parametrize("out", [0, 1, -1])
def test_axes_in_any_place_equal_torch(in_x: int | None, in_w: int | None, out: int, target: str) -> None:
    size = 3
    x = RNG.normal(size=(size, 2) if in_x in (None, 0) else (2, size))
    x = x if in_x is not None else x[0]
    w = RNG.normal(size=(2, size)) if in_w in (1, -1) else RNG.normal(size=(size, 2)) if in_w == 0 else X[0, :2]

    def f(xp: Any, x: Any, w: Any) -> Any:
        return xp.stack([xp.tanh(x) * w, xp.exp(w) - x])

    got = run(gs.vmap(lambda x, w: f(gs, x, w), (in_x, in_w), out), x, w, target=target)
    want = torch.func.vmap(lambda x, w: f(torch, x, w), (in_x, in_w), out)(torch.tensor(x), torch.tensor(w))
    close(got, want)


class Pair(NamedTuple):
    a: Any
    b: Any


def test_axes_are_prefixes_of_pytrees() -> None:
    def f(p: Any, q: Any) -> Any:
        return Pair(p["w"] * q[0], {"s": p["c"] + q[1], "t": (p["w"].sum(),)})

    def g(w: Any, c: Any, u: Any, v: Any) -> Any:
        axes = ({"w": 1, "c": None}, (0, None))
        found = gs.vmap(f, in_axes=axes, out_axes=Pair(1, {"s": None, "t": 0}))({"w": w, "c": c}, (u, v))
        assert isinstance(found, Pair)
        assert list(found.b) == ["s", "t"]
        return found.a, found.b["s"], found.b["t"][0]

    w, c, u, v = X.T, X[0, 0], X[:, 0], X[0]
    a, s, t = run(g, w, c, u, v)
    close(a, (X * u[:, None]).T)
    close(s, c + v)
    close(t, X.sum(1))


def test_what_is_the_same_for_all_elements_is_computed_once_and_repeated() -> None:
    def f(x: Any, w: Any) -> Any:
        return gs.exp(w), x * gs.exp(w)

    g = graph_of(gs.vmap(f, in_axes=(0, None)), (4,), (3,))
    assert [n.type.shape for n in g.ordered() if n.op == "exp"] == [(3,)]
    same, other = run(gs.vmap(f, in_axes=(0, None)), X[:, 0], X[0])
    close(same, np.tile(np.exp(X[0]), (4, 1)))
    close(other, X[:, :1] * np.exp(X[0]))


def test_keywords_are_mapped_over_axis_0_and_numbers_stay_numbers() -> None:
    def f(x: Any, power: int, *, scale: Any) -> Any:
        assert power == 3
        assert isinstance(power, int)
        return x**power * scale

    got = run(lambda x, s: gs.vmap(f, in_axes=(0, None))(x, 3, scale=s), X[:, 0], X[:, 1])
    close(got, X[:, 0] ** 3 * X[:, 1])


def test_without_anything_mapped_the_size_is_given() -> None:
    close(run(lambda x: gs.vmap(lambda: x * 2.0, axis_size=3)(), 1.5), [3.0, 3.0, 3.0])
    close(run(lambda x: gs.vmap(lambda v: v * 2.0, None, axis_size=2)(x), X[0]), np.stack([2 * X[0]] * 2))
    assert gs.vmap(lambda v: v * 2.0)(gs.symbol("x", (0, 2))).shape == (0, 2)


def test_vmap_nests() -> None:
    a, b = RNG.normal(size=(4, 3)), RNG.normal(size=(2, 3))
    outer = gs.vmap(gs.vmap(gs.dot, (None, 0)), (0, None))
    close(run(outer, a, b), a @ b.T)
    kernel = gs.vmap(gs.vmap(lambda x, y: gs.exp(-gs.sum((x - y) ** 2)), (0, None)), (None, 0))
    close(run(kernel, a, b), np.exp(-((b[:, None] - a[None]) ** 2).sum(-1)))


def test_values_closed_over_are_the_same_for_all() -> None:
    close(run(lambda x, w: gs.vmap(lambda e: w @ e)(x), X, W), X @ W.T)


def test_arrays_changed_in_place_are_mapped() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y[1:] += x[:-1] * 2.0
        y[0] = 7.0
        return y

    want = X.copy()
    want[:, 1:] += 2 * X[:, :-1]
    want[:, 0] = 7.0
    close(run(gs.vmap(f), X), want)


def test_tables_that_do_not_stand_side_by_side_put_their_axes_in_front() -> None:
    x, v = RNG.normal(size=(5, 2, 3, 4)), RNG.normal(size=(5, 2, 3))

    def f(x: Any, v: Any) -> Any:
        y = x.copy()
        y[[1, 0], :, [2, 3]] = v * x[[0, 1], :, [1, 2]]
        return y

    want = x.copy()
    for k in range(5):
        want[k][[1, 0], :, [2, 3]] = v[k] * x[k][[0, 1], :, [1, 2]]
    close(run(gs.vmap(f), x, v), want)
    slope = gs.grad(lambda x, v: gs.sum(f(x, v) ** 2), (0, 1))
    for k in (0, 1):
        close(run(gs.vmap(lambda x, v, k=k: slope(x, v)[k]), x, v), each(lambda x, v, k=k: slope(x, v)[k], x, v))


# --- the code ---------------------------------------------------------------------------------------------------------


def test_a_product_with_one_matrix_for_all_is_one_product() -> None:
    for f, axes, shapes, want in [
        (gs.matmul, (None, 0), ((2, 3), (5, 3)), ["input", "input", "transpose", "matmul"]),
        (gs.matmul, (0, None), ((5, 3), (3, 2)), ["input", "input", "matmul"]),
        (gs.matmul, (0, None), ((5, 4, 3), (3, 2)), ["input", "input", "reshape", "matmul", "reshape"]),
        (gs.matmul, (0, 0), ((5, 4, 3), (5, 3, 2)), ["input", "input", "matmul"]),
    ]:
        assert ops_of(gs.vmap(f, axes), *shapes) == want


def test_code_of_a_network_has_no_loop() -> None:
    def f(x: Any) -> Any:
        y = gs.softmax(gs.layer_norm(gs.relu(W @ x), (3,)))
        return gs.sort(y)[gs.argmax(x)] + gs.logsumexp(y) + gs.take(y, gs.argsort(x)[:2]).sum()

    source = gs.compile(
        gs.vmap(gs.value_and_grad(f)), args=((4, 3),), target="numpy", derivatives=("value",), selftest=False
    ).source
    body = source[source.index("def vmap_") :]
    assert "for " not in body.replace("for each", "")
    assert "while " not in body
    close(run(gs.vmap(gs.grad(f)), X), each(gs.grad(f), X))


def test_convolutions_stay_convolutions() -> None:
    x, w, b = RNG.normal(size=(3, 2, 4, 7)), RNG.normal(size=(3, 6, 4, 2)), RNG.normal(size=6)
    for axes, groups, shapes in [
        ((0, 0, None), 1, (x, w, b)),
        ((0, None, None), 1, (x, w[0], b)),
        ((None, 0, None), 1, (x[0], w, b)),
        ((0, 0, None), 2, (x, w[:, :, :2], b)),
        ((None, 0, None), 2, (x[0], w[:, :, :2], b)),
        ((0, None, None), 2, (x, w[0, :, :2], b)),
    ]:

        def f(xp: Any, x: Any, w: Any, b: Any, groups: int = groups) -> Any:
            conv = gs.conv1d if xp is gs else torch.nn.functional.conv1d
            return conv(x, w, b, stride=2, padding=1, groups=groups)

        mapped = gs.vmap(lambda x, w, b: f(gs, x, w, b), axes)
        assert "convolve" in ops_of(mapped, *(s.shape for s in shapes))
        want = torch.func.vmap(lambda x, w, b: f(torch, x, w, b), axes)(*map(torch.tensor, shapes))
        close(run(mapped, *shapes), want)


def test_what_has_no_rule_is_mapped_by_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batch, "_together", lambda self, op, xs, mapped, n: None)
    monkeypatch.setattr(batching, "REGIONS", {})
    f = gs.vmap(lambda w, x: gs.cond(x[0] > 0, lambda x: gs.sort(gs.tanh(w @ x)), lambda x: x, x), (None, 0))
    assert set(ops_of(f, (3, 3), (4, 3))) == {"input", "constant", "scan", "part"}
    got = run(f, W, X)
    monkeypatch.undo()
    close(got, run(f, W, X))


def test_an_op_of_the_user_keeps_its_derivative_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = Op(
        "rounded", arity=1, kind="composite", infer=lambda x: x, expand=lambda x: gs.round(x), evaluate=np.round,
        vjp=lambda g, y, x: (g,), cost=lambda *_: {},
    )  # fmt: skip
    monkeypatch.setitem(OPS, "rounded", rounded)

    def f(x: Any) -> Any:
        return apply(rounded, [x], {}) * x

    slope = np.round(X) + X
    for target in TARGETS:
        close(run(gs.vmap(f), X, target=target), np.round(X) * X)
        close(run(gs.grad(lambda x: gs.sum(gs.vmap(f)(x))), X, target=target), slope)
    close(run(gs.vmap(gs.grad(lambda x: gs.sum(f(x)))), X), slope)


@pytest.mark.parametrize("mode", ["vjp", "jvp"])
def test_a_function_with_a_rule_of_its_own_keeps_it(mode: str) -> None:
    """The rules are not those of the function, so that a result shows which one was used; `k` is no number to move."""

    def back(g: Any, y: Any, x: Any, w: Any, k: Any) -> Any:
        return g[0] * 3.0 + g[1].sum() * x, g[0] * y[0], None

    def forth(t: Any, y: Any, x: Any, w: Any, k: Any) -> Any:
        return t[0] * 5.0 + t[1] * w, gs.stack([t[0], t[1]]) * x

    def f(x: Any, w: Any, k: Any) -> Any:
        return gs.round(x) * w + k, gs.stack([x, w])

    own = gs.custom_derivative(f, **{mode: back if mode == "vjp" else forth})

    def scalar(x: Any, w: Any, k: Any) -> Any:
        y, z = own(x, w, gs.astype(k, gs.int64))
        return gs.sin(y) + gs.sum(z * z)

    x, w, k = RNG.normal(size=(3, 4))
    for argnums in (0, 1):
        want = each(gs.grad(scalar, argnums), x, w, k)
        for target in TARGETS:
            close(run(gs.vmap(gs.grad(scalar, argnums)), x, w, k, target=target), want)
            outer = gs.grad(lambda *a: gs.sum(gs.vmap(scalar)(*a)), argnums)
            close(run(outer, x, w, k, target=target), want)
    shared = run(gs.grad(lambda x, w: gs.sum(gs.vmap(scalar, (0, None, None))(x, w, 2.0)), 1), x, w[0])
    close(shared, sum(each(gs.grad(lambda x: scalar(x[0], x[1], 2.0)), np.stack([x, np.full(4, w[0])], 1))[:, 1]))
    tangent = run(lambda x, w: gs.jvp(gs.vmap(lambda x, w: scalar(x, w, 2.0)), (x, w), (w, x))[1], x, w)
    close(tangent, each(lambda x, w: gs.jvp(lambda x, w: scalar(x, w, 2.0), (x, w), (w, x))[1], x, w))


def test_an_op_whose_params_mean_something_else_is_mapped_by_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """An assembly that adds one element behind the first axis: what the rule of its kind makes of it does not fit."""
    longer = Op(
        "longer", arity=1, kind="assembly", infer=lambda x: Type((x.shape[0] + 1, *x.shape[1:])),
        evaluate=lambda x: np.concatenate([x, x[:1]]), expand=lambda x: gs.concatenate([x, x[:1]]), cost=lambda *_: {},
    )  # fmt: skip
    monkeypatch.setitem(OPS, "longer", longer)
    y = gs.vmap(lambda x: apply(longer, [x], {}))(gs.symbol("x", (4, 3)))
    assert y.shape == (4, 4)
    graph = to_graph(list(input_symbols([y])), [y])
    assert "scan" in {n.op for n in graph.ordered()}
    close(evaluate(graph, [X])[graph.outputs[0]], np.concatenate([X, X[:, :1]], 1))


def test_a_rule_that_gives_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "argsort", replace(OPS["argsort"], batch=lambda op, xs, *_: xs[0]))
    with pytest.raises(gs.GraphError, match=r"batch= of 'argsort' gives f64\[4, 3\] for 4 elements of i64\[3\]"):
        gs.vmap(gs.argsort)(gs.symbol("x", (4, 3)))


# --- loops and branches -----------------------------------------------------------------------------------------------


def recurrence(x: Any, us: Any) -> Any:
    """A scan whose second carry depends on no element, and whose body closes over an array."""

    def step(carry: Any, u: Any) -> Any:
        h, k = carry
        return (gs.tanh(gs.constant(W) @ h + u), k + 1.0), (h[0] * k, k)

    (h, _), (ys, ks) = gs.scan(step, (x, 0.0), us)
    return gs.concatenate([h, ys, ks])


def newton(x: Any) -> Any:
    return gs.while_loop(lambda y: gs.abs(y * y - x) > 1e-13 * x, lambda y: 0.5 * (y + x / y), x, bound=40)


def counting(x: Any) -> Any:
    """As many steps as x is large; reads an array by the number of the step, which ends behind its last element."""
    table = gs.constant(np.linspace(1.0, 2.0, 5))

    def go(state: Any) -> Any:
        i, total = state
        return i + 1, total + x * table[i]

    return gs.while_loop(lambda s: (s[0] < 5) & (s[1] < 10.0), go, (0, 0.5 * x), bound=9)[1]


def branch(x: Any) -> Any:
    return gs.cond(x > 1.0, gs.log, lambda x: gs.cond(x > 0.0, gs.sin, lambda x: x * x, x), x)


def safe_branch(x: Any) -> Any:
    """Where the branch is not taken, its index is out of range and its loop never ends."""
    table = gs.constant(np.array([3.0, 4.0, 5.0]))
    i = gs.astype(gs.floor(x), gs.int64)

    def inside(x: Any) -> Any:
        y = table[i] * x
        return gs.while_loop(lambda v: gs.abs(v) > 1.0, lambda v: v / gs.maximum(x, 0.0) / 2.0, y, bound=30)

    return gs.cond((x >= 1.0) & (x < 3.0), inside, lambda x: -x, x)


def power(x: Any) -> Any:
    return gs.fori_loop(0, 4, lambda i, y: y * x + i, 1.0)


POSITIVE = np.array([0.3, 1.0, 2.5, 9.0])
MIXED = np.array([-0.7, 0.4, 1.7, 2.9, -11.0, 40.0])
LOOPS = [
    (newton, POSITIVE),
    (counting, POSITIVE),
    (branch, MIXED),
    (safe_branch, MIXED),
    (power, MIXED),
    (lambda x: gs.scan(lambda c, _: (c * x, c), 1.0, length=3)[1], MIXED),
    (lambda x: gs.scan(lambda c, _: (branch(c) + x, c), x, length=3, reverse=True)[1].sum(), MIXED),
    (lambda x: gs.map(lambda e: e * x, gs.stack([x, 2.0 * x])).sum(), MIXED),
    (lambda x: gs.scan(lambda c, _: (gs.sin(c) * x, c), x, length=7, checkpoint="sqrt")[0], MIXED),
]
NAMED = ["newton", "counting", "branch", "safe_branch", "power", "scan", "branch in scan", "map", "checkpoint"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("f", "points"), LOOPS, ids=NAMED)
def test_loops_and_branches_for_all_elements(f: Callable[[Any], Any], points: np.ndarray, target: str) -> None:
    close(run(gs.vmap(f), points, target=target), each(f, points))


@pytest.mark.parametrize(("f", "points"), LOOPS, ids=NAMED)
def test_derivatives_of_loops_and_branches_for_all_elements(f: Callable[[Any], Any], points: np.ndarray) -> None:
    def scalar(x: Any) -> Any:
        y = f(x)
        return y if y.shape == () else gs.sum(y)

    slope, second = gs.grad(scalar), gs.grad(gs.grad(scalar))
    want = each(slope, points)
    for target in TARGETS:
        close(run(gs.vmap(slope), points, target=target), want)
        close(run(gs.grad(lambda x: gs.sum(gs.vmap(scalar)(x))), points, target=target), want)
    close(run(gs.vmap(lambda x: gs.jvp(scalar, (x,), (1.0,))[1]), points), want)
    close(run(lambda x: gs.jvp(gs.vmap(scalar), (x,), (gs.ones_like(x),))[1], points), want)
    close(run(gs.vmap(second), points), each(second, points))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2)])
def test_scans_with_some_operands_mapped(axes: Any, target: str) -> None:
    x, us = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 5, 3))
    given = [v if a is not None else v[0] for v, a in zip((x, us), axes, strict=True)]
    moved = [np.moveaxis(v, 0, a) if a else v for v, a in zip(given, axes, strict=True)]
    f = gs.vmap(recurrence, axes)
    rows = [[v[k] if a is not None else v for v, a in zip(given, axes, strict=True)] for k in range(2)]
    close(run(f, *moved, target=target), np.stack([run(recurrence, *row) for row in rows]))
    assert ops_of(f, *(v.shape for v in moved)).count("scan") == 1


def test_carries_that_are_the_same_for_all_stay_so() -> None:
    (region,) = [n for n in graph_of(gs.vmap(recurrence), (2, 3), (2, 5, 3)).ordered() if n.op == "scan"]
    assert [str(t) for t in region.type.types[:2]] == ["f64[2, 3]", "f64"]  # type: ignore[attr-defined]


def test_a_condition_that_is_the_same_for_all_stays_a_branch() -> None:
    def f(flag: Any, x: Any) -> Any:
        return gs.cond(flag > 0.0, gs.exp, lambda x: 1.0, x)

    mapped = gs.vmap(f, (None, 0))
    assert "cond" in ops_of(mapped, (), (4,))
    assert "cond" not in ops_of(gs.vmap(f), (4,), (4,))
    for flag in (1.0, -1.0):
        close(run(mapped, flag, POSITIVE), np.exp(POSITIVE) if flag > 0 else np.ones(4))
    unread = gs.vmap(lambda flag, x: gs.cond(flag > 0.0, lambda: 1.0, lambda: 2.0) + x, (None, 0))
    close(run(unread, 1.0, POSITIVE), 1.0 + POSITIVE)


def test_a_loop_whose_test_is_the_same_for_all_tests_once() -> None:
    def f(n: Any, x: Any) -> Any:
        return gs.fori_loop(0, n, lambda i, y: y * x, 1.0)

    n = np.int64(3)
    close(run(gs.vmap(f, (None, 0)), n, POSITIVE), POSITIVE**3)
    specs = (gs.spec((), "int64"), (4,))
    code = gs.compile(gs.vmap(f, (None, 0)), args=specs, target="numpy", derivatives=("value",), selftest=False)
    (loop,) = [n for n in code.graph.ordered() if n.op == "while_loop"]
    test = loop.params["test"]
    assert all(m.type.shape == () for m in test.ordered() if m.key not in test.inputs)
    close(run(gs.vmap(f), np.arange(4), POSITIVE), POSITIVE ** np.arange(4))


@pytest.mark.parametrize("target", TARGETS)
def test_vmap_inside_the_body_of_a_scan(target: str) -> None:
    def f(x: Any) -> Any:
        return gs.scan(lambda c, _: (gs.vmap(lambda e: gs.tanh(e) * gs.sum(c))(c), c[0]), x, length=3)

    def by_hand(x: Any) -> Any:
        ys = []
        for _ in range(3):
            ys.append(x[0])
            x = np.tanh(x) * x.sum()
        return x, np.array(ys)

    for got, want in zip(run(f, X[0], target=target), by_hand(X[0]), strict=True):
        close(got, want)


def test_nested_vmap_of_loops_that_end_at_different_steps() -> None:
    points = RNG.uniform(0.2, 9.0, size=(3, 4))
    close(run(gs.vmap(gs.vmap(newton)), points), np.sqrt(points))
    close(run(gs.vmap(gs.vmap(gs.grad(newton))), points), [each(gs.grad(newton), row) for row in points])
    table = np.linspace(1.0, 2.0, 20).reshape(4, 5)
    at = gs.vmap(
        gs.vmap(lambda t, x: gs.cond(x < 5, lambda: t[gs.astype(x, gs.int64)], lambda: 0.0), (None, 0)), (0, 0)
    )
    inside = points.T.copy()[:, :3]
    want = np.where(inside < 5, np.take_along_axis(table, np.minimum(inside, 4).astype(int), 1), 0.0)
    close(run(at, table, inside), want)


# --- derivatives ------------------------------------------------------------------------------------------------------


def mlp(xp: Any, p: Any, x: Any, t: Any) -> Any:
    h = xp.tanh(p[0] @ x + p[1])
    y = p[2] @ h + p[3]
    return ((y - t) ** 2).sum()


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_of_each_example_equal_torch(target: str) -> None:
    p = [RNG.normal(size=s) for s in ((4, 3), (4,), (2, 4), (2,))]
    x, t = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))

    def ours(*args: Any) -> Any:
        per_example = gs.vmap(gs.grad(lambda p, x, t: mlp(gs, p, x, t)), in_axes=(None, 0, 0))
        return tuple(per_example(list(args[:4]), *args[4:]))

    theirs = torch.func.vmap(torch.func.grad(lambda p, x, t: mlp(torch, p, x, t)), in_dims=(None, 0, 0))
    want = theirs([torch.tensor(v) for v in p], torch.tensor(x), torch.tensor(t))
    for got, w in zip(run(ours, *p, x, t, target=target), want, strict=True):
        close(got, w)
    assert not {"scan", "while_loop"} & set(ops_of(ours, *(v.shape for v in (*p, x, t))))


#: name -> the same composition of transforms, for gradsmith and for torch.func
COMPOSED = {
    "vmap of jacfwd": lambda t, f: t.vmap(t.jacfwd(f)),
    "vmap of jacrev": lambda t, f: t.vmap(t.jacrev(f), 0, 1),
    "vmap of hessian": lambda t, f: t.vmap(t.hessian(lambda x: f(x).sum())),
    "vmap of jvp": lambda t, f: t.vmap(lambda x: t.jvp(f, (x,), (x * 2.0,))),
    "vmap of vjp": lambda t, f: t.vmap(lambda x: t.vjp(f, x)[1](x * 2.0)),
    "jacfwd of vmap": lambda t, f: t.jacfwd(t.vmap(f)),
    "jacrev of vmap": lambda t, f: t.jacrev(t.vmap(f)),
    "hessian of vmap": lambda t, f: t.hessian(lambda x: t.vmap(f)(x).sum()),
    "grad of vmap of grad": lambda t, f: t.grad(lambda x: t.vmap(t.grad(lambda x: f(x).sum()))(x)[0].sum()),
    "jvp of vmap": lambda t, f: lambda x: t.jvp(t.vmap(f), (x,), (x * 2.0,)),
    "vjp of vmap": lambda t, f: lambda x: t.vjp(t.vmap(f), x)[1](x * 2.0),
    "seeds": lambda t, f: lambda x: t.vmap(lambda v: t.jvp(f, (x[0],), (v,))[1])(x[:3]),
}


@pytest.mark.parametrize("make", COMPOSED.values(), ids=COMPOSED)
def test_transforms_of_vmap_and_vmap_of_transforms_equal_torch(make: Any) -> None:
    def f(xp: Any, x: Any) -> Any:
        return xp.tanh((gs.constant(W) if xp is gs else torch.tensor(W)) @ x) * x[0]

    got = run(make(gs, lambda x: f(gs, x)), X)
    want = make(torch.func, lambda x: f(torch, x))(torch.tensor(X))
    flat = [np.ravel(g) for g in (got if isinstance(got, tuple) else (got,))]
    wanted = [np.ravel(w) for w in (want if isinstance(want, tuple) else (want,))]
    close(np.concatenate(flat), np.concatenate(wanted))


def test_what_is_chosen_against_does_not_poison_a_gradient() -> None:
    f = gs.vmap(gs.grad(lambda x: gs.cond(x > 0.0, gs.sqrt, lambda x: x * x, x)))
    close(run(f, np.array([4.0, 0.0, -3.0])), [0.25, 0.0, -6.0])


# --- errors -----------------------------------------------------------------------------------------------------------


def add(x: Any, y: Any) -> Any:
    return x + y


SYMBOLS = gs.symbol("a", (3, 2)), gs.symbol("b", (4,)), gs.symbol("s")
BAD: list[tuple[Callable[..., Any], type[Exception], list[str]]] = [
    (lambda a, b, s: gs.vmap(add)(a, b), gs.ShapeError, ["x (axis 0 of (3, 2)): 3", "y (axis 0 of (4,)): 4", "None"]),
    (lambda a, b, s: gs.vmap(add, (2, None))(a, b), gs.ShapeError, ["in_axes has 2 for x", "f64[3, 2]", "-2 to -1"]),
    (lambda a, b, s: gs.vmap(add, (-3, None))(a, b), gs.ShapeError, ["in_axes has -3 for x", "axes 0 to 1"]),
    (lambda a, b, s: gs.vmap(add)(b, s), gs.ShapeError, ["for y", "a scalar has no axis: give None"]),
    (lambda a, b, s: gs.vmap(add, None)(a, b), gs.SpecError, ["number of elements is not known", "axis_size="]),
    (lambda a, b, s: gs.vmap(add, 0, axis_size=5)(b, b), gs.ShapeError, ["axis_size: 5", "x (axis 0 of (4,)): 4"]),
    (lambda a, b, s: gs.vmap(add, axis_size=-1)(b, b), gs.SpecError, ["axis_size=-1"]),
    (lambda a, b, s: gs.vmap(add, (0,))(a, b), gs.SpecError, ["1 entries", "2 positional arguments"]),
    (lambda a, b, s: gs.vmap(add, {"x": 0})(a, b), gs.SpecError, ["in_axes={'x': 0}", "a tuple of one entry"]),
    (lambda a, b, s: gs.vmap(add, ("x", 0))(a, b), gs.SpecError, ["in_axes=('x', 0)"]),
    (lambda a, b, s: gs.vmap(add, ((0, 1), 0))(a, b), gs.SpecError, ["in_axes[0]", "is a leaf", "an int or None"]),
    (lambda a, b, s: gs.vmap(lambda p: p[0], ([0],))((b, b)), gs.SpecError, ["a list with 0", "a tuple with 0, 1"]),
    (lambda a, b, s: gs.vmap(lambda x: x, out_axes=None)(b), gs.SpecError, ["out_axes has None", "differs"]),
    (lambda a, b, s: gs.vmap(lambda x: x, out_axes=2)(a), gs.ShapeError, ["out_axes has 2", "axes 0 to 1"]),
    (lambda a, b, s: gs.vmap(lambda x: x, out_axes="0")(a), gs.SpecError, ["out_axes='0'"]),
    (lambda a, b, s: gs.vmap(3)(b), gs.SpecError, ["takes a function, not int"]),
]  # fmt: skip


@pytest.mark.parametrize(("use", "error", "words"), BAD)
def test_errors_say_what_was_seen_and_the_remedy(
    use: Callable[..., Any], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as seen:
        use(*SYMBOLS)
    for word in words:
        assert word in str(seen.value)
