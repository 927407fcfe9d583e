"""What a condition does not choose is not chosen between by the same condition again."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.rewrite import rewritten
from gradsmith.passes.selected import selecting
from gradsmith.target import load_target
from gradsmith.verify import verify

A = gs.symbol("A", (3, 4))
OF_ROWS = gs.broadcast_to(gs.max(A, axis=1, keepdims=True) > 0.5, (3, 4))
RULES = selecting(load_target("c"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (gs.where(A > 0, 0.0, gs.exp(gs.where(A > 0, 1.0, A))), gs.where(A > 0, 0.0, gs.exp(A))),
        (gs.where(A > 0, 2.0 * gs.where(A > 0, A, 1.0), 0.0), gs.where(A > 0, 2.0 * A, 0.0)),
        (
            gs.where(OF_ROWS, 0.0, 3.0 * gs.softmax(gs.where(OF_ROWS, 0.0, A), axis=1)),
            gs.where(OF_ROWS, 0.0, 3.0 * gs.softmax(A, axis=1)),
        ),
    ],
    ids=["right", "left", "rows"],
)
def test_the_inner_choice_goes(before: object, after: object) -> None:
    graph = to_graph([A], [before])  # type: ignore[list-item]
    changed = verify(rewritten(graph, *RULES))
    wished = to_graph([A], [after])  # type: ignore[list-item]
    assert sorted(n.op for n in changed.ordered()) == sorted(n.op for n in wished.ordered())
    point = [np.random.default_rng(0).normal(size=A.shape)]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "expr",
    [
        gs.where(OF_ROWS, 0.0, gs.softmax(gs.where(OF_ROWS, 0.0, A), axis=0)),
        gs.where(A > 0, 0.0, gs.softmax(gs.where(A > 0, 0.0, A), axis=1)),
        gs.where(A > 0, 0.0, gs.exp(gs.where(A > 1, 1.0, A))),
        gs.where(A > 0, 0.0, gs.broadcast_to(gs.sum(gs.where(A > 0, 0.0, A)), (3, 4))),
    ],
    ids=["softmax across", "softmax of a mask", "another condition", "sum"],
)
def test_what_mixes_elements_keeps_it(expr: object) -> None:
    graph = to_graph([A], [expr])  # type: ignore[list-item]
    assert rewritten(graph, *RULES).text() == graph.text()


def test_a_row_of_minus_infinity_has_no_gradient() -> None:
    f = gs.compile(lambda x: gs.sum(gs.logsumexp(x, axis=1)), args=[(2, 20)], target="c", selftest=False)
    x = np.full((2, 20), -np.inf)
    x[1] = 1.0
    np.testing.assert_allclose(f.grad(x), [[0.0] * 20, [0.05] * 20], rtol=1e-15)
