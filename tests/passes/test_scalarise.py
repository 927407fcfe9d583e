"""Scalarising: arrays become elements that compute the same; structure costs nothing."""

from pathlib import Path

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.scalarise import scalarise
from gradsmith.verify import verify

JAVASCRIPT = Path(__file__).resolve().parents[2] / "examples" / "targets" / "javascript"  # it has no loops
A, B, v = gs.symbol("A", (2, 3)), gs.symbol("B", (3, 2)), gs.symbol("v", (3,))


@pytest.mark.parametrize(
    "expr",
    [
        A @ B, A @ v, A * v, A.T, A[1], A[:, ::-1], gs.sum(A, axis=0), gs.max(A, axis=1), gs.prod(v),
        gs.stack([v, v]), gs.concatenate([A, B.T]), gs.reshape(A, (3, 2)) + B, A[[1, 0, 1]], gs.tanh(A @ B) @ A,
    ],
)  # fmt: skip
def test_elements_compute_what_the_array_did(expr: gs.Expr) -> None:
    g = to_graph([A, B, v], [expr])
    s = verify(scalarise(g, most=100))
    rng = np.random.default_rng(0)
    point = [rng.normal(size=x.shape) for x in (A, B, v)]
    got = [float(evaluate(s, point)[k]) for k in s.outputs]
    np.testing.assert_allclose(got, np.ravel(evaluate(g, point)[g.outputs[0]]), rtol=1e-13)
    assert all(n.type.shape == () for n in s.ordered() if n.op != "input")


def test_structure_costs_nothing() -> None:
    g = scalarise(to_graph([A, B, v], [A.T[::-1].reshape((6,))[2:4]]), most=100)
    assert {n.op for n in g.ordered()} == {"input", "element"}


def test_elements_are_named_after_their_array() -> None:
    h = gs.tanh(v)
    g = scalarise(to_graph([v], [gs.sum(h * h)]), most=100)
    assert [n.origin.name for n in g.ordered() if n.op == "tanh"] == ["h_0", "h_1", "h_2"]


def test_too_large_an_array_is_refused_with_the_remedy() -> None:
    x = gs.symbol("x", (200, 200))
    with pytest.raises(gs.TargetError, match=r"40000 statements.*python.*numpy.*c"):
        gs.compile(gs.sum(x), target=JAVASCRIPT)
