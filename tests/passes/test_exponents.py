"""Normal forms: products of exponentials that are equal have one, and those that are not have two."""

import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.passes.exponents import Forms, agree
from gradsmith.passes.simplify import simplify
from gradsmith.trace import Expr

a, b, c, t, u = SYMBOLS = gs.symbols("a b c t u")
ROOT_IN_FLOAT32 = float(np.float32(math.sqrt(0.5)))
PI = 3.0  # any number that is no power of two


def equal(x: Expr, y: Expr) -> bool:
    graph = simplify(to_graph(SYMBOLS, [x, y]))
    forms = Forms(graph)
    first, second = (forms.normal(key) for key in graph.outputs)
    return first is not None and second is not None and agree(first, second, 64)


SAME = {
    "order of factors": (a * (b * gs.exp(c)), gs.exp(c) * b * a),
    "signs": (-a * gs.exp(c), a * gs.exp(c)),
    "a sum in the exponent": (gs.exp(a) * gs.exp(b), gs.exp(a + b)),
    "a difference": (gs.exp(a) / gs.exp(b), gs.exp(a - b)),
    "a square": (gs.exp(a) ** 2, gs.exp(2.0 * a)),
    "expanded": (gs.exp((a + b) * (a - b)), gs.exp(a**2) / gs.exp(b * b)),
    "quotients": (gs.exp((a * b + c) / b), gs.exp(a) * gs.exp(c / b)),
    "exact fractions": (gs.exp(a / PI), gs.exp(a * b / (PI * b))),
    "a root": (gs.exp(a * t / gs.sqrt(t)), gs.exp(a * gs.sqrt(t))),
    "a root of a sum": (gs.exp((t + u) / gs.sqrt(t + u)), gs.exp(gs.sqrt(t + u))),
    "division by a sum": (gs.exp(a * (t + u) / (t + u)), gs.exp(a)),
    "a logarithm": (a * gs.exp(gs.log(b) - c), a * b * gs.exp(-c)),
    "a logarithm of a quotient": (gs.exp(2.0 * gs.log(a / b) + c), a / b * (a / b) * gs.exp(c)),
    "a logarithm by halves": (gs.exp(c - 0.5 * gs.log(b)), gs.exp(c + 0.5 * gs.log(b)) / b),
    "a logarithm of an exponential": (gs.exp(gs.log(a * gs.exp(b)) + c), a * gs.exp(b + c)),
    "Gaussians": (gs.gaussian(a) * gs.gaussian(b), gs.exp(-(a * a)) * gs.exp(-(b**2))),
    "shifted densities": (gs.npdf(a) * gs.exp(a * b - 0.5 * b * b), gs.npdf(a - b)),
    "a density spelled out": (gs.exp(-((a / math.sqrt(2.0)) ** 2)) / math.sqrt(2.0 * math.pi), gs.npdf(a)),
    "roots of a half": (gs.gaussian(a * math.sqrt(0.5)), gs.gaussian(a / math.sqrt(2.0))),
}

OTHER = {
    "another factor": (a * gs.exp(c), b * gs.exp(c)),
    "another constant": (2.0 * gs.exp(c), 3.0 * gs.exp(c)),
    "a constant next to it": (math.nextafter(2.0, 3.0) * gs.exp(c), 2.0 * gs.exp(c)),
    "a coefficient next to it": (gs.exp(math.nextafter(2.0, 3.0) * c), gs.exp(2.0 * c)),
    "decimal fractions": (gs.exp(0.1 * c) * gs.exp(0.2 * c), gs.exp(0.3 * c)),
    "a term more": (gs.exp(a + b), gs.exp(a)),
    "the root of a square": (gs.exp(gs.sqrt(a**2)), gs.exp(a)),
    "another power": (gs.exp(a * t), gs.exp(a * gs.sqrt(t))),
    "half a logarithm": (gs.exp(0.5 * gs.log(b) + c), b * gs.exp(c)),
    "no exponential": (gs.expm1(c) * a, gs.exp(c) * a),
    "a root of a half in float32": (gs.gaussian(a * ROOT_IN_FLOAT32), gs.gaussian(a / math.sqrt(2.0))),
    "a constant near a density's": (0.3989422804 * gs.exp(-0.5 * a * a), gs.npdf(a)),
}


@pytest.mark.parametrize("case", SAME)
def test_equal_products_have_one_form(case: str) -> None:
    assert equal(*SAME[case])


@pytest.mark.parametrize("case", OTHER)
def test_other_products_have_other_forms(case: str) -> None:
    assert not equal(*OTHER[case])


def test_what_is_too_long_is_an_atom() -> None:
    xs = [gs.symbol(f"x{i}") for i in range(60)]
    long, product, power = sum(xs[1:], xs[0]), a, a
    for x in xs:
        product = product * x
    for _ in range(12):
        power = power * power
    graph = to_graph([a, *xs], [gs.exp(long), gs.exp(long * long), product * gs.exp(a), gs.exp(power)])
    forms = Forms(graph)
    found = [forms.normal(key) for key in graph.outputs]
    for form in found:
        assert form is not None
        assert len(form.exponent) <= 40
        assert len(form.powers) <= 16
        assert all(abs(halves) <= 32 for powers in form.exponent for _, halves in powers)


def test_forms_of_deep_graphs_take_no_recursion() -> None:
    y = a
    for _ in range(3_000):
        y = gs.log(gs.exp(y + b) * c)
    graph = to_graph([a, b, c], [gs.exp(y)])
    assert Forms(graph).normal(graph.outputs[0]) is None  # too many logarithms
