"""Terms that cancel go, but only where what they would make NaN is NaN without them."""

import itertools
import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.cancel import without_cancelled
from gradsmith.passes.simplify import simplify
from gradsmith.trace import Expr, recording
from gradsmith.verify import verify

a, b, c, d = SYMBOLS = gs.symbols("a b c d")


def derived(*outputs: Expr) -> tuple[Graph, set[int]]:
    """A graph as the chain rule would leave it, and the keys of its products."""
    with recording():
        graph = to_graph(SYMBOLS, outputs)
    new, products = Graph(), set[int]()
    for n in graph.ordered():
        origin = n.origin if n.op == "input" else n.origin.backward(None, "mul")
        key = new.add(n.op, n.args, n.params, n.type, origin)
        assert key == n.key
        if n.op == "mul":
            products.add(key)
    for name in ("inputs", "outputs"):
        new.graph[name] = graph.graph[name]
    return new, products


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.ordered() if n.op not in ("input", "constant")]


def results(graph: Graph, point: tuple[float, ...]) -> list[float]:
    values = evaluate(graph, list(point))
    return [float(values[key]) for key in graph.outputs]


p = a * b

GO = {
    "a difference": (p - p + gs.exp(p), ["mul", "exp"]),
    "with a sign": (gs.exp(p) + (-p) + p, ["mul", "exp"]),
    "apart": (p + gs.exp(p) + c - p, ["mul", "exp", "add"]),
    "one of two": (p + p - p + gs.sin(c), ["mul", "sin", "add"]),
    "with factors": (gs.exp(p * c) + c * (p - p), ["mul", "mul", "exp"]),
    "under fractions": (gs.erfc(p / c) - (p - p) / c * b, ["mul", "div", "erfc"]),
    "a remainder that is taken off": ((p - p) * c - gs.exp(p * c), ["mul", "mul", "exp", "neg"]),
    "later than the sum": ((p - p + c) * d + gs.exp(p), ["mul", "mul", "exp", "add"]),
}

STAY = {
    "nothing is left": p - p,
    "an argument is missing": p - p + a,
    "a factor is missing": c * (p - p) + gs.exp(p),
    "a domain is missing": gs.log(c) * (p - p) + gs.exp(p * c),
    "a root is missing": (p - p) / gs.sqrt(c) + gs.exp(p * c),
    "it is divided by": a / (p - p) + gs.exp(p),
    "a choice": gs.where(a > 0.0, p - p, c) + gs.exp(p * c),
    "one side of a choice": gs.where(a > 0.0, p - p + c, c) + d,
    "other functions": gs.cos(p - p) + gs.exp(p),
}


@pytest.mark.parametrize("case", GO)
def test_terms_go(case: str) -> None:
    expr, left = GO[case]
    before, products = derived(expr)
    after = verify(simplify(without_cancelled(before, products)))
    assert ops(after) == left
    for point in np.random.default_rng(0).uniform(0.5, 2.0, (5, 4)):
        np.testing.assert_allclose(results(after, tuple(point)), results(before, tuple(point)), rtol=1e-13)
    for point in itertools.product((0.5, -1.5, math.nan), repeat=4):
        np.testing.assert_array_equal(np.isnan(results(after, point)), np.isnan(results(before, point)))


@pytest.mark.parametrize("case", STAY)
def test_terms_stay(case: str) -> None:
    before, products = derived(STAY[case])
    assert without_cancelled(before, products) is before


def test_what_is_not_told_to_be_equal_stays() -> None:
    before, _ = derived(p - p + gs.exp(p))
    assert without_cancelled(before, set()) is before


def test_what_the_user_wrote_stays() -> None:
    graph = to_graph(SYMBOLS, [p - p + gs.exp(p)])
    assert without_cancelled(graph, {n.key for n in graph.ordered() if n.op == "mul"}) is graph


def test_one_that_stays_keeps_no_other() -> None:
    q = c * d
    before, products = derived(p - p + gs.exp(p), q - q + c)
    after = simplify(without_cancelled(before, products))
    assert ops(after).count("sub") == 1
    assert ops(after).count("add") == 1


def test_sums_that_others_read_are_looked_into() -> None:
    inner = c - p
    before, products = derived(gs.exp(p * c) + (p + inner) * d, gs.exp(inner * d))
    assert ops(simplify(without_cancelled(before, products))).count("add") == 1


v, w = gs.symbol("v", (3,)), gs.symbol("w", (3,))
q = v * w


@pytest.mark.parametrize(
    ("expr", "goes"),
    [
        (q - q + gs.exp(q), True),
        (gs.sum(q - q) + gs.sum(gs.exp(q)), True),
        (gs.sum((q - q) * a) + gs.sum(gs.exp(q)) * a, True),
        (gs.sum(q - q) + a, False),
        (gs.sum(q - q) + gs.exp(q), False),  # each is NaN for any element
        (gs.sum(q - q + v) * v + gs.exp(q), False),
        ((q - q + v)[::-1] + gs.exp(q), False),  # an element at another place
        ((q - q)[0] + gs.sum(gs.exp(q)), False),
    ],
)
def test_arrays(expr: Expr, goes: bool) -> None:
    graph = to_graph([a, v, w], [expr])
    new = Graph()
    for n in graph.ordered():
        new.add(n.op, n.args, n.params, n.type, n.origin if n.op == "input" else n.origin.backward(None, "mul"))
    new.graph.update({name: graph.graph[name] for name in ("inputs", "outputs")})
    after = without_cancelled(new, {n.key for n in new.ordered() if n.op == "mul" and n.type.shape})
    assert (after is not new) == goes
    if goes:
        verify(after)
        assert "sub" not in ops(after)
