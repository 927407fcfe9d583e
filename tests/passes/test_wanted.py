"""Of products only the triangle is computed that something reads; what is read is the same number."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.graph import Graph
from gradsmith.passes.contractions import by_kernels
from gradsmith.passes.regions import with_bodies
from gradsmith.passes.rewrite import rewritten
from gradsmith.passes.simplify import simplify
from gradsmith.passes.wanted import only_wanted
from gradsmith.regions import with_inner
from gradsmith.target import load_target
from gradsmith.verify import verify

C = load_target("c")
D = 40
BELOW = [(i, j) for i in range(D) for j in range(i)]
X, Y = gs.symbol("X", (D, 50)), gs.symbol("Y", (50, D))


def parts(graph: Graph) -> list[str]:
    return [n.params.get("part", "") for n in with_inner(graph) if n.op.startswith("gemm")]


def prepared(*outputs: gs.Expr) -> Graph:
    graph = simplify(to_graph([X, Y], [*outputs]))
    return verify(only_wanted(with_bodies(graph, lambda part: rewritten(part, *by_kernels(C)))))


def below(z: gs.Expr) -> gs.Expr:
    return gs.reshape(z, (-1,))[[i * D + j for i, j in BELOW]]


def test_what_is_read_at_some_places() -> None:
    product = X @ Y
    assert parts(prepared(below(product))) == ["lower"]
    assert parts(prepared(below(product.T))) == ["upper"]
    assert parts(prepared(below(gs.tanh(product)), gs.diagonal(product))) == ["lower"]
    assert parts(prepared(gs.tril(product))) == ["lower"]
    assert parts(prepared(gs.where(np.tri(D) == 0, 1.0, product))) == ["lower"]
    assert parts(prepared(gs.where(np.tri(D) == 0, product, gs.exp(product)))) == [""]
    assert parts(prepared(np.tri(D) * product)) == [""]  # inf above the diagonal is NaN
    assert parts(prepared(below(product), below(product.T))) == [""]
    assert parts(prepared(below(product), product)) == [""]
    assert parts(prepared(below(product) + gs.sum(product))) == [""]


@pytest.mark.parametrize("carried", [1, 2])
def test_what_a_loop_adds_up(carried: int) -> None:
    """A state is read by the next step; what reads it in another way reads all of it."""

    def step(state: Any, x: Any) -> Any:
        a, b = state
        new = a + gs.outer(x, x) @ gs.outer(gs.sin(x), x)
        return (new, b + (a[0, D - 1] if carried == 2 else 0.0) + a[D - 1, 0]), None

    (total, other), _ = gs.scan(step, (gs.zeros((D, D)), gs.asarray(0.0)), Y)
    assert parts(prepared(below(total), other)) == ["" if carried == 2 else "lower"]


def cholesky_like(below_diagonal: Any, x: Any) -> Any:
    d = x.shape[-1]
    places = [i * d + j for i in range(d) for j in range(i + 1)]
    factor = gs.reshape(gs.zeros((d * d,)).at[places].set(below_diagonal), (d, d))
    return gs.sum(gs.tanh(x @ factor) ** 2)


WAYS = {"direct": gs.Tuning(), "packed": gs.Tuning(pack_right=1, pack_left=1, block_depth=9, block_rows=13)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("d", "n"), [(9, 20), (37, 20), (70, 90)])
def test_gradients_by_triangular_factors_are_torchs(way: str, d: int, n: int) -> None:
    torch = pytest.importorskip("torch")
    shapes = [(d * (d + 1) // 2,), (n, d)]
    f = gs.compile(cholesky_like, args=shapes, target="c", wrt=0, tuning=WAYS[way], selftest=False)
    assert ", -1, 0" in f.source
    rng = np.random.default_rng(0)
    point = [rng.normal(size=s) / d for s in shapes]
    v, x = (torch.tensor(p, requires_grad=True) for p in point)
    factor = torch.zeros((d, d), dtype=torch.float64)
    rows, columns = np.tril_indices(d)
    factor = factor.index_put((torch.tensor(rows), torch.tensor(columns)), v)
    (want,) = torch.autograd.grad(torch.sum(torch.tanh(x @ factor) ** 2), v)
    np.testing.assert_allclose(f.grad(*point), want.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("march", ["x86-64", None], ids=["16 bytes", "the widest"])
@pytest.mark.parametrize("d", [5, 7, 10])
def test_of_long_rows_too(d: int, march: str | None) -> None:
    """Tiles overlap where they do not fill: those that are left out cover nothing that is wanted."""
    if march and platform.machine() != "x86_64":
        pytest.skip("a choice of x86-64")

    def lower(a: Any, b: Any) -> Any:
        z = gs.reshape(a @ b.T, (-1,))
        return z[[i * d + j for i in range(d) for j in range(i + 1)]], z[[i * d + i for i in range(d)]]

    def upper(a: Any, b: Any) -> Any:
        z = gs.reshape(a[: d - 1] @ gs.tanh(b).T, (-1,))  # with another size
        return z[[i * d + j for i in range(d - 1) for j in range(i, d)]]

    shapes = [(d, 131), (d, 131)]
    tuning = gs.Tuning(dot_bytes=1)
    f = gs.compile(lower, args=shapes, target="c", derivatives="value", march=march, tuning=tuning, selftest=False)
    assert ", -1);" in f.source
    g = gs.compile(upper, args=shapes, target="c", derivatives="value", march=march, tuning=tuning, selftest=False)
    assert (", 1);" in g.source) == (d > 5)
    a, b = (np.random.default_rng(0).normal(size=s) for s in shapes)
    for got, want in zip(f(a, b), ((a @ b.T)[np.tril_indices(d)], np.diag(a @ b.T)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-11)
    want = (a[: d - 1] @ np.tanh(b).T)[np.triu_indices(d - 1, m=d)]
    np.testing.assert_allclose(g(a, b), want, rtol=1e-12, atol=1e-11)
