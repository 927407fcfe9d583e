"""Powers of two behind the sums that share them: fewer multiplications, and the same numbers to the last bit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.cost import count
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.origin import Origin
from gradsmith.passes.scale_last import scale_last
from gradsmith.trace import recording
from gradsmith.verify import verify

INPUTS = a, b, c, d, x, y = gs.symbols("a b c d x y")
Results = Callable[[], Sequence[gs.Expr]]


def chain_rule(results: Results, role: str = "cotangent") -> Graph:
    """The graph of results that are traced as if the chain rule had made them."""
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        return to_graph(list(INPUTS), list(results()))


def multiplications(graph: Graph) -> Any:
    return count(graph, graph.outputs).get("mul", 0)


def shared(k: float = 2.0) -> Sequence[gs.Expr]:
    """Terms that two sums share, as those of a rotation do."""
    p, q, r = k * (a * b), (c * d) * k, k * (a * d)
    return (p + q) * x + (p - q) * y + r * a, (p - q) * x - (p + q) * y - r * b


def nested() -> Sequence[gs.Expr]:
    """Sums of sums, in one of which a term is scaled twice."""
    p, q = 2.0 * (a * b), 4.0 * (c * d)
    r, s = (p + q) * x, (p - q) * y
    return r - s, -(r + s), 2.0 * (r * x)


SAVED: dict[str, tuple[Results, int]] = {
    "terms that sums share": (shared, 1),  # three scalings become two
    "by four": (lambda: shared(4.0), 1),
    "terms of unlike scalings": (nested, 0),
    "a factor of all terms": (lambda: [2.0 * a * x + 2.0 * b * y + 2.0 * c], 2),
    "factors that meet": (lambda: [(2.0 * a) * (2.0 * b) + 4.0 * c], 2),
    "squares": (lambda: [gs.square(2.0 * a) + 4.0 * c], 1),
}


@pytest.mark.parametrize(("results", "saved"), SAVED.values(), ids=SAVED)
def test_fewer_multiplications_and_the_same_bits(results: Results, saved: int) -> None:
    graph = chain_rule(results)
    changed = verify(scale_last(graph))
    assert multiplications(graph) - multiplications(changed) == saved
    assert sum(count(changed, changed.outputs).values()) <= sum(count(graph, graph.outputs).values()) - saved
    for seed in range(20):
        point = np.random.default_rng(seed).normal(size=len(INPUTS))
        want, got = ([float(evaluate(g, point)[k]) for k in g.outputs] for g in (graph, changed))
        assert got == want


KEPT: dict[str, Results] = {
    "one slope for many": lambda: [(2.0 * a) * b, (2.0 * a) * c, (2.0 * a) * d],
    "a term alone": lambda: [2.0 * a + b],
    "unlike constants": lambda: [3.0 * a + 3.0 * b],
    "a half, of which the sum could overflow": lambda: [0.5 * a + 0.5 * b],
    "behind a function": lambda: [gs.sin(2.0 * a) + gs.sin(2.0 * b)],
    "behind a quotient": lambda: [2.0 * a / b + 2.0 * c / d],
    "what is read elsewhere, too": lambda: [2.0 * a + 2.0 * b, gs.sin(2.0 * a), gs.cos(2.0 * b)],
}


@pytest.mark.parametrize("results", KEPT.values(), ids=KEPT)
def test_what_is_left_alone(results: Results) -> None:
    graph = chain_rule(results)
    assert scale_last(graph) is graph


def test_a_group_that_does_not_pay_leaves_others() -> None:
    """A slope of everything is left out, and then the terms below it pay."""

    def results() -> Sequence[gs.Expr]:
        g = 2.0 * d
        return [*(g * (2.0 * a + 2.0 * k) for k in (x, y)), g * a, g * b, g * c]

    assert multiplications(chain_rule(results)) - multiplications(scale_last(chain_rule(results))) == 1


def test_the_user_s_products_stay() -> None:
    graph = chain_rule(shared, role="primal")
    assert scale_last(graph) is graph


@pytest.mark.parametrize("name", ["d_h", None])
def test_a_cotangent_with_a_name_keeps_its_value(name: str | None) -> None:
    """What is called d_h is the cotangent of h, not a half of it."""
    with recording() as state:
        state.origin = Origin(role="cotangent")
        p, q = 2.0 * a, 2.0 * b
        state.origin = Origin(role="cotangent", name=name)
        h = p + q
        state.origin = Origin(role="cotangent")
        graph = to_graph(list(INPUTS), [h * c])
    assert (scale_last(graph) is graph) == (name is not None)
