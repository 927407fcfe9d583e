"""Where values are NaN: one covers another only if it is NaN wherever that is for an argument or a domain."""

import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.passes.undefined import covers, made_of
from gradsmith.trace import Expr

a, b, c = SYMBOLS = gs.symbols("a b c")
v, w = VECTORS = gs.symbol("v", (3,)), gs.symbol("w", (3,))
TABLE, SQUARE = gs.symbol("table", (2, 3)), gs.symbol("square", (3, 3))


def covered(by: Expr, value: Expr, most: int = 100) -> bool:
    graph = to_graph([*SYMBOLS, *VECTORS, TABLE, SQUARE], [by, value])
    return covers(graph, made_of(graph, graph.outputs[:1], most), graph.outputs[1:], most)


@pytest.mark.parametrize(
    ("by", "value"),
    [
        (a * b, gs.exp(a) - b),
        (gs.erfc(a / b), a),
        (gs.log(a) + b, 2.0 * gs.log(a)),
        (gs.npdf(gs.sqrt(a)), a * gs.sqrt(a)),
        (v * a, v + 1.0),
        (v * a, gs.exp(v) * a),
        (gs.sum(v * a), v),
        (v + gs.sum(w), v + w),
        (TABLE * v, v + 2.0 * TABLE),
    ],
)
def test_covered(by: Expr, value: Expr) -> None:
    assert covered(by, value)


@pytest.mark.parametrize(
    ("by", "value"),
    [
        (a, b),
        (a, gs.log(a)),  # NaN below 0
        (gs.exp(a), gs.sqrt(a)),
        (gs.where(a > 0.0, b, c), b),  # of the other side nothing is known
        (gs.maximum(a, b), a),
        (v * w, gs.sum(w)),  # which other elements make NaN, too
        (gs.sum(SQUARE, 1) + gs.zeros((3, 3)), 2.0 * SQUARE),  # rows where columns are
    ],
)
def test_not_covered(by: Expr, value: Expr) -> None:
    assert not covered(by, value)


def test_few_steps_are_taken() -> None:
    y = a * b
    for _ in range(200):
        y = gs.tanh(y)
    assert covered(y, b, 300)
    assert not covered(y, b, 100)
    assert not covered(b, y, 100)
