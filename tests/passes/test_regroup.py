"""Regrouping: fewer operations in what the chain rule made, none moved in what the user wrote, and the same numbers."""

import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.cost import count
from gradsmith.derive.adjoint import adjoint
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.regroup import regroup
from gradsmith.passes.simplify import simplify
from gradsmith.trace import constant, recording, symbol
from gradsmith.verify import verify

x, y, z = gs.symbols("x y z")
a, b, c, g, h = gs.symbols("a b c g h")
v = gs.symbol("v", (5,))


def chain_rule(expr: object, inputs: list[gs.Expr]) -> Graph:
    """The graph of a function that is traced as if the chain rule had made it."""
    from gradsmith.origin import Origin

    with recording() as state:
        state.origin = Origin(role="cotangent", rule="mul")
        return to_graph(inputs, [expr()])  # type: ignore[operator]


INPUTS = [a, b, c, g, h]
LAWS = {
    "a factor of two terms": (lambda: a * g + b * g, lambda: g * (a + b)),
    "on either side": (lambda: g * a - b * g, lambda: g * (a - b)),
    "a factor of three terms": (lambda: a * g + b * g + c * g, lambda: g * (a + b + c)),
    "two factors": (lambda: g * h * a + g * h * b, None),
    "a factor alone": (lambda: g + a * g + b * g, lambda: g * (1.0 + a + b)),
    "a constant that scales exactly": (lambda: 2.0 * a + 2.0 * b, lambda: 2.0 * (a + b)),
    "a factor that stands twice": (lambda: g * gs.square(a) + (g * a) * (2.0 * a), None),
    "equal terms": (lambda: a + a + a, lambda: 3.0 * a),
    "constants of a product": (lambda: (0.5 * a) * (3.0 * b), lambda: (1.5 * a) * b),
    "a reciprocal": (lambda: g * (1.0 / c), lambda: g / c),
    "a reciprocal first": (lambda: (1.0 / c) * g, lambda: g / c),
    "a reciprocal squared": (lambda: g * gs.square(1.0 / c), lambda: g / c / c),
    "quotients": (lambda: a / c + b / c, lambda: (a + b) / c),
    "constants of which the product is rounded": (lambda: (0.1 * a) * (0.7 * b), lambda: (0.07 * a) * b),
    "constants above and below": (lambda: 0.3 * a * b / 1.7, lambda: (0.3 / 1.7) * a * b),
    "multiples of one value": (lambda: 0.2 * a + b + 0.3 * a, lambda: 0.5 * a + b),
    "a multiple of a value twice": (lambda: (a + a) * 0.4 + b, lambda: 0.8 * a + b),
    "the slope of the logarithm of a quotient": (lambda: g / (a / b) / b, lambda: g / a),
}


@pytest.mark.parametrize(("before", "after"), LAWS.values(), ids=LAWS)
def test_law(before: object, after: object) -> None:
    graph = simplify(chain_rule(before, INPUTS))
    changed = verify(regroup(graph))
    assert operations(changed) < operations(graph)
    if after is not None:
        assert operations(changed) == operations(simplify(chain_rule(after, INPUTS)))
    for seed in range(20):
        point = np.random.default_rng(seed).normal(size=5)
        want, got = (float(evaluate(k, point)[k.outputs[0]]) for k in (graph, changed))
        assert got == pytest.approx(want, rel=1e-12, abs=1e-14)


def operations(graph: Graph) -> int:
    return sum(count(graph, graph.outputs).values())


KEPT = {
    "terms that cancel": lambda: a - a + a * b + a * c,
    "multiples that cancel": lambda: 0.3 * a - 0.2 * a,
    "a quotient by a constant": lambda: a / 3.0 * b,
    "a small constant, of which the sum could overflow": lambda: 0.5 * a + 0.5 * b,
    "an extreme constant": lambda: (1e-200 * a) * (0.5 * b),
    "nothing to gain": lambda: a + a * b,
    "a product that is read twice": lambda: gs.stack([a * g + b * g, a * g])[0] + 0.0 * (a * g),
}


@pytest.mark.parametrize("expr", KEPT.values(), ids=KEPT)
def test_what_is_left_alone(expr: object) -> None:
    graph = simplify(chain_rule(expr, INPUTS))
    assert regroup(graph).text() == graph.text()


@pytest.mark.parametrize("expr", [x * z + y * z, 2.0 * x + 2.0 * y, x + x + x, (0.5 * x) * (3.0 * y), x * (1.0 / y)])
def test_the_user_s_arithmetic_keeps_its_grouping(expr: gs.Expr) -> None:
    graph = simplify(to_graph([x, y, z], [expr]))
    assert regroup(graph) is graph


def test_a_cotangent_with_a_name_stays() -> None:
    h = x * y
    k = gs.sin(x) * z
    joint = simplify(adjoint(to_graph([x, y, z], [gs.sin(h) * x + gs.tanh(k) * x]), (0,)))
    assert {n.origin.name for n in joint.ordered()} >= {"d_h", "d_k"}
    assert {n.origin.name for n in regroup(joint).ordered()} >= {"d_h", "d_k"}


def test_infinite_terms_that_cancel_stay_nan() -> None:
    graph = simplify(chain_rule(lambda: a * g - b * g, INPUTS))
    changed = regroup(graph)
    for point in [(math.inf, math.inf, 1.0, 2.0, 1.0), (1.0, 2.0, 1.0, math.inf, 1.0), (math.nan, 1.0, 1.0, 1.0, 1.0)]:
        want, got = (float(evaluate(k, point)[k.outputs[0]]) for k in (graph, changed))
        assert math.isnan(want)
        assert math.isnan(got) or point[3] == math.inf  # (1 - 2)*inf is -inf, which is right


def test_a_slope_that_overflowed_on_the_way_is_finite() -> None:
    """`g*square(1/c)` is 0 times infinity, or infinity, where `g/c/c` is neither."""
    graph = simplify(chain_rule(lambda: g * gs.square(1.0 / c), INPUTS))
    point = [1.0, 1.0, 1e-200, 1e-300, 1.0]
    assert float(evaluate(graph, point)[graph.outputs[0]]) == math.inf
    changed = regroup(graph)
    assert float(evaluate(changed, point)[changed.outputs[0]]) == pytest.approx(1e100, rel=1e-12)


def test_a_scalar_takes_the_constant_of_an_array() -> None:
    f = gs.compile(gs.sqrt(gs.sum(v * v)), target="numpy", selftest=False, stabilize=False)
    assert f.cost.grad["mul"] == 5 + 5  # v*v and the result
    assert f.cost.grad["div"] == 1


def test_the_negative_of_a_product_that_is_there_costs_nothing() -> None:
    d = symbol("d", (4,))
    e = d[1:] - d[:-1] ** 2
    f = gs.compile(gs.sum(100.0 * e**2), target="numpy", selftest=False)
    assert f.cost.grad["mul"] <= 3 * 5  # d*d, 200*e, times d, times 2


def test_many_terms_take_no_recursion_and_little_time() -> None:
    n = 3000
    graph = chain_rule(lambda: gs.Expr.__add__(a, b), INPUTS)
    xs = gs.symbols(" ".join(f"x{i}" for i in range(n)))

    def long_sum() -> gs.Expr:
        total = constant(0.0) * g
        for s in xs:
            total = total + s * g
        return total

    graph = simplify(chain_rule(long_sum, [*INPUTS, *xs]))
    assert operations(regroup(graph)) <= n + 3
