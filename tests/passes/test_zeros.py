"""Products with 0 go where nothing is lost: values stay, and what was NaN is NaN."""

import itertools
import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.simplify import simplify
from gradsmith.passes.zeros import without_added_zeros, without_zeros
from gradsmith.trace import Expr
from gradsmith.verify import verify

a, b, x = gs.symbols("a b x")


def turned() -> Expr:
    """Where a point on the second of two links is, from frames that begin as unit matrices."""
    first, second = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    c, s, d, e = gs.cos(a), gs.sin(a), gs.cos(b), gs.sin(b)
    side = [c * p + s * q for p, q in zip(first, [0.0, 1.0, 0.0], strict=True)]
    tip = [d * p + e * q for p, q in zip(second, side, strict=True)]
    return (tip[0] - 0.4) ** 2 + tip[1] ** 2 + tip[2] ** 2


def products(graph: Graph) -> int:
    zeros = {n.key for n in graph.ordered() if n.op == "constant" and n.params["value"] == 0.0}
    return sum(n.op == "mul" and not zeros.isdisjoint(n.args) for n in graph.ordered())


def results(graph: Graph, point: list[float]) -> list[float]:
    values = evaluate(graph, point)
    return [float(values[key]) for key in graph.outputs]


def test_frames_lose_their_zeros_and_keep_their_values() -> None:
    before = simplify(adjoint(to_graph([a, b], [turned()]), [0, 1]))
    after = verify(without_zeros(before))
    assert products(before) > 5
    assert products(after) == 0
    for point in np.random.default_rng(0).uniform(-4.0, 4.0, (20, 2)):
        np.testing.assert_allclose(results(after, [*point]), results(before, [*point]), rtol=1e-14)
    for point in itertools.product((0.0, -0.0, 1.5, math.inf, -math.inf, math.nan), repeat=2):
        np.testing.assert_array_equal(np.isnan(results(after, [*point])), np.isnan(results(before, [*point])))


@pytest.mark.parametrize(
    "kept",
    [
        x * 0.0 + gs.sin(a),  # x may be infinite
        x + gs.sin(a) * 0.0,  # NaN for an infinite angle
        gs.cos(b) + gs.sin(a) * 0.0,  # of which the other term knows nothing
        gs.tanh(a) + gs.sin(a) * 0.0,  # tanh is finite
        gs.where(x > 0.0, gs.cos(a) + gs.sin(a) * 0.0, 1.0),  # one side is finite
        1.0 / (gs.sin(a) + gs.cos(a) * 0.0),  # the sign of a zero is that of an infinity
        gs.atan2(gs.sin(a) + gs.cos(a) * 0.0, gs.cos(a)),
    ],
    ids=["unbounded", "alone", "other angle", "tanh", "side", "denominator", "atan2"],
)
def test_a_product_that_matters_stays(kept: Expr) -> None:
    graph = to_graph([a, b, x], [kept])
    assert without_zeros(graph) is graph


def test_each_output_has_to_know_of_the_angle() -> None:
    """The first one is NaN without the product, the second is not."""
    zero = gs.sin(a) * 0.0
    graph = to_graph([a, b, x], [gs.cos(a) + zero, x + zero])
    assert without_zeros(graph) is graph
    alone = to_graph([a, b, x], [gs.cos(a) + zero, x])
    assert products(without_zeros(alone)) == 0


def test_an_angle_counts_for_sums_of_which_it_is_a_part() -> None:
    graph = to_graph([a, b, x], [gs.cos(a + b) + gs.sin(a) * 0.0])
    assert products(without_zeros(graph)) == 0


# --- zeros that are added for a sign ----------------------------------------------------------------------------------

x, y, z = gs.symbols("x y z")
SIGNED = x * y + 0.0  # +0 where the product is -0


@pytest.mark.parametrize(
    "hidden",
    [
        SIGNED + gs.square(z),
        gs.square(y) + SIGNED - gs.square(z),
        SIGNED - gs.square(y) + gs.square(z),
        gs.square(z * SIGNED),
        -SIGNED * z + gs.exp(y),
        gs.where(SIGNED > 0.0, x, y),
    ],
)
def test_a_zero_that_only_a_sign_would_tell_is_not_added(hidden: Expr) -> None:
    graph = simplify(to_graph([x, y, z], [hidden]))
    changed = verify(without_added_zeros(graph))
    assert len(changed) < len(graph)
    for point in itertools.product((-0.0, 0.0, -1.5, np.inf, np.nan), repeat=3):
        want, got = (np.float64(evaluate(g, point)[g.outputs[0]]) for g in (graph, changed))
        assert want.tobytes() == got.tobytes() or (np.isnan(want) and np.isnan(got))


@pytest.mark.parametrize(
    "told",
    [SIGNED, SIGNED + z, SIGNED - gs.square(z), SIGNED * z, z / SIGNED, gs.atan2(SIGNED, z), gs.sqrt(SIGNED) + x],
)
def test_a_zero_of_which_the_sign_is_told_is_added(told: Expr) -> None:
    graph = simplify(to_graph([x, y, z], [told]))
    assert without_added_zeros(graph) is graph


def test_a_zero_for_one_of_two_readers_is_added() -> None:
    graph = simplify(to_graph([x, y, z], [SIGNED + gs.square(z), SIGNED / z]))
    assert without_added_zeros(graph) is graph
