"""Sums over slices start from one another, in value and gradient; other sums are left alone."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.share_sums import share_sums
from gradsmith.verify import verify

x = gs.symbol("x", (6,))


def test_sums_that_start_together() -> None:
    graph = to_graph([x], [gs.stack([gs.sum(x[:2]), gs.sum(x[:3]), gs.sum(x)])])
    assert verify(share_sums(graph)).text() == (
        "%0:f64[6] = input name='x'\n"
        "%1:f64[2] = index %0 key=((0, 1, 2),)\n"
        "%2:f64 = sum %1 axis=(0,) keepdims=False\n"
        "%3:f64 = index %0 key=(2,)\n"
        "%4:f64 = add %2 %3\n"
        "%5:f64[3] = index %0 key=((3, 1, 3),)\n"
        "%6:f64 = sum %5 axis=(0,) keepdims=False\n"
        "%7:f64 = add %4 %6\n"
        "%8:f64[3] = stack %2 %4 %7 axis=0\n"
        "return %8"
    )


@pytest.mark.parametrize(
    "spans",
    [[(0, k) for k in range(1, 7)], [(k, 6) for k in range(6)], [(0, 3), (3, 6), (0, 6)], [(1, 3), (1, 5), (2, 5)]],
)
def test_the_same_sums(spans: list[tuple[int, int]]) -> None:
    graph = to_graph([x], [gs.stack([gs.sum(x[a:b]) for a, b in spans])])
    point = [np.random.default_rng(0).normal(size=6)]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, share_sums(graph)))
    np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_a_chain_of_angles_takes_as_many_additions_as_links(target: str) -> None:
    angles = gs.stack([gs.sum(x[: i + 1]) for i in range(6)])
    f = gs.compile(gs.sum(gs.sin(angles)), target=target, selftest=False)
    assert f.cost.value["add"] == 5 + 5
    assert f.cost.grad["add"] == 5 + 5


@pytest.mark.parametrize(
    "expr",
    [
        gs.sum(x[:3]) + gs.sum(x[3:]),  # nothing shared
        gs.sum(x[::2]) + gs.sum(x[::3]),  # not slices of neighbours
        gs.sum(x[:2]) + gs.sum(x),  # less than half of it
    ],
)
def test_what_is_left_alone(expr: gs.Expr) -> None:
    graph = to_graph([x], [expr])
    assert share_sums(graph) is graph
