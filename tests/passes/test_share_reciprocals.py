"""Quotients of the chain rule share a reciprocal where that is safe; the user's own never do."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.evaluate import evaluate
from gradsmith.origin import Origin
from gradsmith.passes.share_reciprocals import share_reciprocals
from gradsmith.trace import recording, to_graph
from gradsmith.verify import verify

a, b, c, d = gs.symbols("a b c d")
v = gs.symbol("v", (4,))


def shared(denominator: object, role: str = "cotangent") -> tuple[str, str]:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        x = denominator()  # type: ignore[operator]
        graph = to_graph([a, b, c, d, v], [a / x, b / x, c / x])
    return graph.text(), verify(share_reciprocals(graph)).text()


@pytest.mark.parametrize(
    "denominator", [lambda: gs.sqrt(d), lambda: gs.cosh(d), lambda: 1.0 + gs.square(d), lambda: 1.0 + gs.exp(d)]
)
def test_three_quotients_become_products(denominator: object) -> None:
    before, after = shared(denominator)
    assert before.count("= div") == 3
    assert (after.count("= div"), after.count("= reciprocal"), after.count("= mul")) == (0, 1, 3)


@pytest.mark.parametrize("denominator", [lambda: d, lambda: gs.exp(d), lambda: gs.square(d), lambda: d - 1.0])
def test_a_denominator_that_may_be_tiny_divides(denominator: object) -> None:
    """For 1/1e-310 is infinite, and 0*(1/1e-310) NaN."""
    before, after = shared(denominator)
    assert before == after


def test_the_user_s_quotients_stay() -> None:
    before, after = shared(lambda: gs.sqrt(d), role="primal")
    assert before == after


def test_two_quotients_stay() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([a, b, d], [a / gs.sqrt(d), b / gs.sqrt(d)])
    assert share_reciprocals(graph) is graph


def test_an_array_divided_by_a_scalar() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([v, d], [v / gs.sqrt(d)])
    changed = verify(share_reciprocals(graph))
    assert "reciprocal" in changed.text()
    point = [np.array([1.0, -2.0, 0.0, 3.0]), 0.7]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=3e-16)


@pytest.mark.parametrize("at", [0.0, 5e-324, 1e300, np.inf, np.nan, -1.0])
def test_the_ends_of_the_range_are_kept(at: float) -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([a, b, c, d], [x / gs.sqrt(d) for x in (a, b, c)])
    point = [0.0, 1.0, -np.inf, at]
    values = [[float(evaluate(g, point)[k]) for k in g.outputs] for g in (graph, share_reciprocals(graph))]
    np.testing.assert_allclose(values[1], values[0], rtol=4e-16)
