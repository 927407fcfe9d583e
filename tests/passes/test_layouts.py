"""Values lie in memory as products of matrices read them, and nothing else changes."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.layouts import laid_out
from gradsmith.passes.simplify import simplify
from gradsmith.verify import verify

x, mu = gs.symbol("x", (7, 3)), gs.symbol("mu", (4, 3))
L, w = gs.symbol("L", (4, 3, 5)), gs.symbol("w", (7, 4))
apart = gs.expand_dims(x, 1) - mu  # (7, 4, 3)
white = gs.einsum("kij,nki->nkj", L, apart)
twice = apart * 2.0
OF_TWICE = gs.einsum("kij,nki->nkj", L, twice)

CASES = {
    "an operand": ([white], 1),
    "an operand and a reduction": ([OF_TWICE, gs.max(twice, axis=(0, 2)), gs.sum(twice, 1)], 1),
    "kept axes": ([OF_TWICE, gs.sum(twice, 1, keepdims=True)], 1),
    "both sides": ([gs.einsum("nki,nkj->kij", apart, gs.expand_dims(w, 2) * white)], 0),
    "rows innermost": ([gs.einsum("kij,nki->knj", L, apart)], 0),
}


@pytest.mark.parametrize(("outputs", "left"), CASES.values(), ids=CASES)
def test_transpositions_go(outputs: list[gs.Expr], left: int) -> None:
    graph = simplify(to_graph([x, mu, L, w], outputs))
    changed = verify(laid_out(graph))
    large = [n for n in changed.ordered() if n.op == "transpose" and n.args[0] not in small(changed)]
    rows = [n for n in large if n.params["axes"][-1] != len(n.type.shape) - 2]  # the others are matrices' transposes
    assert len(rows) == left
    point = [np.random.default_rng(0).normal(size=i.shape) for i in (x, mu, L, w)]
    wants, gots = (evaluate(g, point) for g in (graph, changed))
    for want, got in zip(graph.outputs, changed.outputs, strict=True):
        np.testing.assert_allclose(gots[got], wants[want], rtol=1e-13)


def small(graph: object) -> set[int]:
    """Views of inputs, and results of reductions, which are copied or read in any order for little."""
    kinds = ("input", "reshape", "expand_dims", "sum", "max")
    return {n.key for n in graph.ordered() if n.op in kinds}  # type: ignore[attr-defined]


def test_what_others_read_as_it_stands_stays() -> None:
    graph = simplify(to_graph([x, mu, L], [white, apart]))
    assert any(n.op == "sub" and n.type.shape == (7, 4, 3) for n in laid_out(graph).ordered())
