"""Difference quotients: right where there is a slope, silent where there is none."""

import math
from collections.abc import Callable

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.types import Type
from gradsmith.verification.differences import mixed, quotient, widened

x, y = gs.symbols("x y")


@pytest.mark.parametrize(("function", "at", "slope"), [
    (np.exp, 3.0, np.exp(3.0)), (np.exp, 600.0, np.exp(600.0)), (np.log, 1e-6, 1e6), (np.log, 1e-30, 1e30), (np.sin, 0.0, 1.0),
    (np.sin, 1e5, np.cos(1e5)), (np.sqrt, 4.0, 0.25), (np.floor, 0.5, 0.0), (lambda t: t, 1e300, 1.0),
    (lambda t: np.maximum(t, 0.0), 1e-4, 1.0), (lambda t: 0.0 * t, 1.0, 0.0),
])  # fmt: skip
def test_slopes(function: Callable[[float], float], at: float, slope: float) -> None:
    found = quotient(lambda t: np.asarray(function(at + t)), max(1.0, abs(at)), abs(at) or 1.0)
    assert float(found) == pytest.approx(slope, rel=2e-7, abs=1e-9)


@pytest.mark.parametrize(("function", "at"), [
    (abs, 0.0), (lambda t: np.maximum(t, 0.0), 1e-12), (np.floor, 1.0), (np.sqrt, 0.0), (np.log, -1.0),
    (lambda t: np.sqrt(abs(t)), 0.0), (lambda t: 1.0 / np.float64(t), 0.0),
])  # fmt: skip
def test_no_slope_is_nan(function: Callable[[float], float], at: float) -> None:
    assert math.isnan(float(quotient(lambda t: np.asarray(function(at + t), dtype=float), 1.0)))


def test_elements_are_judged_one_by_one() -> None:
    at = np.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(quotient(lambda t: abs(at + t), 1.0), [-1.0, np.nan, 1.0], rtol=1e-9)


def test_mixed_derivatives_in_50_digits() -> None:
    graph = to_graph([x, y], [gs.sin(x) * gs.exp(y)])
    at, dx, dy = (0.7, -0.3), (1.0, 0.0), (0.0, 1.0)
    e = math.exp(-0.3)
    assert mixed(graph, at, [dx]) == pytest.approx(math.cos(0.7) * e, rel=1e-15)
    assert mixed(graph, at, [dx, dx]) == pytest.approx(-math.sin(0.7) * e, rel=1e-11)
    assert mixed(graph, at, [dx, (2.0, 3.0)]) == pytest.approx((-2 * math.sin(0.7) + 3 * math.cos(0.7)) * e, rel=1e-11)
    assert mixed(graph, at, [dy, dy]) == pytest.approx(math.sin(0.7) * e, rel=1e-11)


@pytest.mark.parametrize("kink", [gs.where(x > 0.0, x * x, -x * x), gs.where(x > 0.0, x, -x)])
def test_mixed_says_nothing_at_a_kink(kink: gs.Expr) -> None:
    assert math.isnan(mixed(to_graph([x], [kink]), (0.0,), [(1.0,), (-0.3,)]))


def test_mixed_says_nothing_outside_of_the_domain() -> None:
    assert math.isnan(mixed(to_graph([x], [gs.log(x)]), (-1.0,), [(1.0,)]))


def test_widened_makes_every_float_a_double() -> None:
    graph = to_graph([x, y], [gs.where(x > y, x * y, 1.0)])
    assert widened(graph) is graph
    single = gs.float32
    for _, attributes in graph.nodes(data=True):
        if attributes["dtype"].kind == "float":
            attributes["dtype"] = single
    wide = widened(graph)
    assert {str(n.type) for n in wide.ordered()} == {"f64", "bool"}
    assert (wide.inputs, wide.outputs) == (graph.inputs, graph.outputs)
    assert str(Type((), single)) == "f32"
