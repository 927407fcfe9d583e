"""Chains of products in blocks of rows: the same numbers from little memory, whatever the number of rows."""

import re

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.blocks import in_blocks
from gradsmith.passes.layouts import laid_out
from gradsmith.passes.simplify import simplify
from gradsmith.target import load_target
from gradsmith.verify import verify

torch = pytest.importorskip("torch")
SMALL = gs.Tuning(blocked_rows=4, blocked_lanes=4, blocked_bytes=2000)


def target(tuning: gs.Tuning = SMALL) -> object:
    from dataclasses import replace

    return replace(load_target("c"), tuning=tuning)


def network(x: object, W: object, V: object) -> object:
    return gs.sum(gs.tanh(gs.tanh(x @ W) @ V) ** 2)


def mixture(x: object, mu: object, L: object, a: object) -> object:
    apart = x[:, None, :] - mu
    white = gs.einsum("kij,nki->nkj", L, apart)
    return gs.mean(gs.logsumexp(a - 0.5 * gs.sum(white**2, axis=2), axis=1))


def torch_mixture(x: object, mu: object, L: object, a: object) -> object:
    white = torch.einsum("kij,nki->nkj", L, x[:, None, :] - mu)
    return torch.mean(torch.logsumexp(a - 0.5 * torch.sum(white**2, 2), 1))


def draw(shapes: list[tuple[int, ...]], dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def scans(graph: object) -> list[object]:
    return [n for n in graph.ordered() if n.op == "scan"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("rows", [40, 41, 43], ids=["even", "a row left", "a prime number of rows"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_those_of_torch(rows: int, dtype: str) -> None:
    shapes = [(rows, 3), (5, 3), (5, 3, 3), (5,)]
    f = gs.compile(mixture, args=shapes, target="c", dtype=dtype, tuning=SMALL, selftest=False)
    assert "step < " in f.source
    point = draw(shapes, dtype)
    inputs = [torch.tensor(p, requires_grad=True) for p in point]
    value = torch_mixture(*inputs)
    wants = [value.detach(), *torch.autograd.grad(value, inputs)]
    got, grads = f.value_and_grad(*point)
    rtol = 1e-12 if dtype == "float64" else 2e-5
    for a, want in zip((got, *grads), wants, strict=True):
        np.testing.assert_allclose(a, want.numpy(), rtol=rtol, atol=rtol * float(abs(want).max()))
    np.testing.assert_allclose(f(*point), wants[0].numpy(), rtol=rtol)


def test_what_lies_between_products_takes_memory_for_a_block() -> None:
    shapes = [(1000, 3), (5, 3), (5, 3, 3), (5,)]
    wrt = ("mu", "L", "a")
    whole, blocks = (
        gs.compile(mixture, args=shapes, target="c", wrt=wrt, tuning=tuning, selftest=False).workspace
        for tuning in (gs.Tuning(), SMALL)
    )
    assert blocks["value_and_grad"] < whole["value_and_grad"] / 20


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_blocks_of_what_lies_innermost_are_whole_vectors(dtype: str) -> None:
    """Even blocks of 1000 points would be 125 or 200, with numbers over in vectors of 8 or 16."""
    shapes = [(1000, 5), (25, 5), (25, 5, 5), (25,)]
    f = gs.compile(mixture, args=shapes, target="c", dtype=dtype, wrt=("mu", "L"), selftest=False)
    points = {int(n) for n in re.findall(r"\+ step\*(\d+)", f.source)} | {
        int(n) for n in re.findall(r"x\[step\*(\d+)", f.source)
    }
    rows, lanes = min(points) // 5, 512 // np.finfo(dtype).bits
    assert rows % lanes == 0
    assert 1000 % rows != 0


@pytest.mark.parametrize("rows", [16, 17])
def test_values_by_rows_are_stacked(rows: int) -> None:
    x, W, V = gs.symbol("x", (rows, 8)), gs.symbol("W", (8, 8)), gs.symbol("V", (8, 8))
    h = gs.tanh(x @ W)
    graph = laid_out(simplify(to_graph([x, W, V], [h @ V, gs.sum(gs.exp(h @ V))])))
    changed = verify(in_blocks(graph, target()))  # type: ignore[arg-type]
    assert len(scans(changed)) == 1
    point = draw([(rows, 8), (8, 8), (8, 8)])
    wants, gots = (evaluate(g, point) for g in (graph, changed))
    for want, got in zip(graph.outputs, changed.outputs, strict=True):
        np.testing.assert_allclose(gots[got], wants[want], rtol=1e-12)


def graph_of(expr: object, *inputs: object) -> object:
    return laid_out(simplify(to_graph([*inputs], [expr])))  # type: ignore[list-item]


X, W = gs.symbol("X", (64, 8)), gs.symbol("W", (8, 8))
MIXED = {
    "rows meet rows": gs.sum(gs.softmax((X @ W) @ X.T, axis=1) @ X),
    "a maximum of all rows": gs.sum(gs.exp(X @ W - gs.max(X @ W, axis=0)) @ W),
    "rows that are all alike": gs.sum(gs.tanh(gs.tanh(gs.broadcast_to(X[0, 0], (64, 8)) @ W) @ W)),
    "rows of another shape": gs.sum(gs.tanh(gs.tanh(gs.reshape(gs.reshape(X, (512,)) ** 2, (64, 8)) @ W + X) @ W)),
    "columns that meet themselves": gs.sum(gs.tanh(gs.tanh(gs.broadcast_to(W[0], (64, 8)) @ W) @ W) * gs.sum(X)),
    "sizes that are known by name": None,
    "one product": gs.sum(gs.tanh(X @ W)),
}


@pytest.mark.parametrize("expr", MIXED.values(), ids=MIXED)
def test_other_graphs_stay_or_keep_their_values(expr: object) -> None:
    named = gs.symbol("X", ("n", 8))
    graph = graph_of(expr, X, W) if expr is not None else graph_of(gs.sum(gs.tanh(named @ W) @ W), named, W)
    changed = verify(in_blocks(graph, target()))  # type: ignore[arg-type]
    point = draw([(64, 8), (8, 8)])
    (want,), (got,) = ([evaluate(g, point)[g.outputs[0]]] for g in (graph, changed))  # type: ignore[attr-defined]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    if expr is None or expr is MIXED["one product"]:
        assert not scans(changed)


def test_small_chains_stay() -> None:
    graph = graph_of(gs.sum(gs.tanh(X @ W) @ W), X, W)
    assert in_blocks(graph, target(gs.Tuning())) is graph  # type: ignore[arg-type]


def lower_factors(x: gs.Expr, mu: gs.Expr, below: gs.Expr, diagonal: gs.Expr) -> gs.Expr:
    k, d = diagonal.shape
    places = [row * d + column for row in range(d) for column in range(row)]
    factor = gs.reshape(gs.zeros((k, d * d)).at[:, places].set(below), (k, d, d))
    factor = factor + gs.exp(diagonal)[:, :, None] * gs.eye(d)
    return gs.sum(gs.tanh(gs.einsum("kij,nki->nkj", factor, gs.expand_dims(x, 1) - mu)) ** 2)


@pytest.mark.parametrize("d", [32, 37])
def test_a_triangle_of_a_sum_of_products_is_enough_for_triangular_factors(d: int) -> None:
    shapes = [(300, d), (2, d), (2, d * (d - 1) // 2), (2, d)]
    f, plain = (
        gs.compile(lower_factors, args=shapes, target="c", wrt=(2, 3), tuning=tuning, selftest=False)
        for tuning in (gs.Tuning(blocked_rows=60, blocked_bytes=20_000), gs.Tuning())
    )
    assert ", -1);" in f.source
    point = [p / d for p in draw(shapes)]
    for got, want in zip(f.grad(*point), plain.grad(*point), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
