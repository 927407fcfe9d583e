"""Of narrow matrices the long axis lies innermost; what fills vectors, or cannot be turned, stays as it is."""

import platform
from dataclasses import replace

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.innermost import turned
from gradsmith.passes.layouts import laid_out
from gradsmith.passes.simplify import simplify
from gradsmith.target import load_target
from gradsmith.verify import verify

C = load_target("c")
LONG = 96  # points


def stack(d: int = 5, e: int = 6) -> tuple[list[gs.Expr], gs.Expr]:
    """Inputs, and a product of a stack of matrices with as many rows as there are points."""
    x, mu, L = gs.symbol("x", (LONG, d)), gs.symbol("mu", (7, d)), gs.symbol("L", (7, d, e))
    return [x, mu, L], gs.einsum("kij,nki->nkj", L, gs.expand_dims(x, 1) - mu)


def prepared(inputs: list[gs.Expr], outputs: list[gs.Expr]) -> Graph:
    return laid_out(simplify(to_graph(inputs, outputs)))


def products(graph: Graph) -> list[tuple[int, ...]]:
    return [n.type.shape for n in graph.ordered() if n.op == "matmul"]


def of_points() -> dict[str, list[gs.Expr]]:
    """What is computed from the product, by name."""
    inputs, white = stack()
    _, mu, _ = inputs
    terms = gs.sum(white**2, axis=2)
    weights = gs.exp(terms - gs.max(terms, axis=1, keepdims=True))
    return {
        "a number": [gs.sum(gs.tanh(white))],
        "numbers of points": [gs.max(terms, axis=1)],
        "kept axes": [gs.sum(gs.max(white, axis=2, keepdims=True) * white, axis=(0, 1), keepdims=True)],
        "sums over points": [gs.sum(white * gs.expand_dims(weights, 2), axis=0)],
        "products over points": [gs.einsum("nki,nkj->kij", gs.expand_dims(weights, 2) * white, gs.exp(white))],
        "a second product": [gs.sum(gs.einsum("nkj,kij->nki", gs.tanh(white), inputs[2]) * mu)],
        "other shapes": [gs.sum(gs.reshape(gs.max(terms, axis=1), (LONG, 1)) * gs.sum(white, axis=1))],
    }


@pytest.mark.parametrize("name", of_points())
def test_the_long_axis_is_innermost_and_nothing_else_changes(name: str) -> None:
    inputs, _ = stack()
    graph = prepared(inputs, of_points()[name])
    changed = verify(turned(graph, C))
    assert products(graph)[0] == (7, LONG, 6)
    assert products(changed)[0] == (7, 6, LONG)
    assert all(shape[-1] == LONG or LONG not in shape for shape in products(changed))
    point = [np.random.default_rng(0).normal(size=i.shape) for i in inputs]
    wants, gots = (evaluate(g, point) for g in (graph, changed))
    for want, got in zip(graph.outputs, changed.outputs, strict=True):
        np.testing.assert_allclose(gots[got], wants[want], rtol=1e-12)


def test_what_fills_vectors_stays() -> None:
    inputs, white = stack(e=8)  # doubles of one vector
    graph = prepared(inputs, [gs.sum(white**2)])
    assert turned(graph, C) is graph


def test_wide_matrices_stay() -> None:
    inputs, white = stack()
    graph = prepared(inputs, [gs.sum(white**2)])
    assert turned(graph, C) is not graph
    assert turned(graph, replace(C, tuning=gs.Tuning(narrow_columns=5))) is graph


def test_results_that_a_user_reads_stay() -> None:
    inputs, white = stack()
    graph = prepared(inputs, [white, gs.sum(white**2)])
    assert turned(graph, C) is graph


def test_what_cannot_be_turned_stays() -> None:
    inputs, white = stack()
    graph = prepared(inputs, [gs.sum(gs.cumsum(white, axis=0))])
    assert turned(graph, C) is graph


def test_copies_that_cost_as_much_as_they_gain_are_not_made() -> None:
    a, b = gs.symbol("a", (3, LONG, 5)), gs.symbol("b", (3, 5, 6))
    graph = prepared([a, b], [gs.sum(gs.tanh(a @ b))])
    assert turned(graph, C) is graph


def test_threads_share_rows_as_they_are() -> None:
    inputs, white = stack()
    graph = prepared(inputs, [gs.sum(white**2)])
    assert turned(graph, replace(C, threads="openmp")) is graph
    assert turned(graph, C) is not graph


BLOCK = {"float64": 8 * 200, "float32": 4 * 200}  # bytes of a row


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("points", [400, 403])
def test_blocks_of_points_are_whole_vectors(dtype: str, points: int) -> None:
    """Gradients of a chain in blocks: points left over are a block of their own."""
    shapes = [(points, 5), (7, 5), (7, 5, 6)]

    def loss(x: gs.Expr, mu: gs.Expr, L: gs.Expr) -> gs.Expr:
        return gs.mean(
            gs.logsumexp(gs.sum(gs.einsum("kij,nki->nkj", L, gs.expand_dims(x, 1) - mu) ** 2, axis=2), axis=1)
        )

    f, whole = (
        gs.compile(loss, args=shapes, target=target, dtype=dtype, wrt=("mu", "L"), selftest=False, **options)
        for target, options in (
            ("c", {"tuning": gs.Tuning(blocked_bytes=20_000, blocked_lanes=BLOCK[dtype])}),
            ("numpy", {}),
        )
    )
    assert "step < " in f.source
    assert "gs_dots" in f.source
    point = [0.3 * np.random.default_rng(0).normal(size=s).astype(dtype) for s in shapes]
    point = [p.astype(dtype) for p in point]
    rtol = 1e-11 if dtype == "float64" else 3e-5
    for got, want in zip(f.grad(*point), whole.grad(*point), strict=True):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * float(np.abs(want).max()))


@pytest.mark.parametrize("march", ["x86-64", None], ids=["16 bytes", "the widest"])
@pytest.mark.parametrize(("m", "n", "k"), [(5, 5, 64), (7, 9, 131), (10, 6, 129)])
def test_products_of_long_rows_are_sums_of_their_own_numbers(m: int, n: int, k: int, march: str | None) -> None:
    """Tiles that overlap, rows that end within a vector, and no other row in what is not finite."""
    if march and platform.machine() != "x86_64":
        pytest.skip("a choice of x86-64")
    rng = np.random.default_rng(0)
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        tuning = gs.Tuning(dot_bytes=1)
        f = gs.compile(
            lambda a, b: a @ b.T,
            args=((m, k), (n, k)),
            target="c",
            dtype=dtype,
            march=march,
            tuning=tuning,
            selftest=False,
        )
        assert "gs_dots" in f.source
        a, b = (rng.normal(size=s).astype(dtype) for s in ((m, k), (n, k)))
        np.testing.assert_allclose(f(a, b), a @ b.T, rtol=rtol, atol=rtol * k)
        a[2, k - 1], a[m - 1, 0] = np.inf, np.nan
        got = f(a, b)
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(a @ b.T))
        np.testing.assert_array_equal(got[2], np.copysign(np.inf, b[:, k - 1]))


@pytest.mark.parametrize(("rows", "by_sums"), [(10, True), (16, False), (20, True), (26, True), (35, False)])
def test_rows_of_stacks_that_fill_tiles_are_sums_in_registers(rows: int, by_sums: bool) -> None:
    """16 rows are four tiles of five, a third of which is computed twice."""
    shape = (3, rows, 130)
    f = gs.compile(lambda a, b: a @ gs.transpose(b, (0, 2, 1)), args=(shape, shape), target="c", derivatives="value",
                   selftest=False)  # fmt: skip
    assert ("gs_dots(" in f.source) == by_sums
    a, b = np.random.default_rng(0).normal(size=(2, *shape))
    np.testing.assert_allclose(f(a, b), a @ b.transpose(0, 2, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("columns", "changes"), [(16, False), (20, True), (26, True), (30, False), (33, False)])
def test_columns_that_leave_a_sixth_of_the_lanes_empty_are_narrow(columns: int, changes: bool) -> None:
    inputs, white = stack(columns, columns)
    graph = prepared(inputs, [gs.sum(white**2)])
    assert (turned(graph, C) is not graph) == changes
