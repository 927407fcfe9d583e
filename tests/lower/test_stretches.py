"""Sums of slices: between the ends of its parts, each element of the result is computed and stored once."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.lower.along import stretches
from gradsmith.ops.indexing import scatter


def neighbours(m, x):
    return m.sum((x[1:] - x[:-1] ** 2) ** 2)


FORMULAS = {
    "neighbours": neighbours,
    "three in a row": lambda m, x: m.sum(x[2:] * x[1:-1] * x[:-2]),
    "nothing between": lambda m, x: m.sum(x[:4] ** 2) + m.sum(x[2:5] * m.exp(x[9:12])),
    "one element": lambda m, x: neighbours(m, x) * m.sum(x[7]) + m.sum(x[0] ** 2),
    "every other": lambda m, x: m.sum(x[::2] ** 2) * neighbours(m, x),
}


@pytest.mark.parametrize("shape", [(23,), (23, 3)])
@pytest.mark.parametrize("formula", FORMULAS)
def test_slopes_are_those_of_torch(formula, shape):
    torch = pytest.importorskip("torch")
    f = gs.compile(lambda x: FORMULAS[formula](gs, x), args=(shape,), target="c")
    point = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    x = torch.tensor(point, requires_grad=True)
    FORMULAS[formula](torch, x).backward()
    np.testing.assert_allclose(f.grad(point), x.grad.numpy(), rtol=1e-13, atol=1e-13)


def placed(shape, *parts):
    """The stretches of zeros to which parts are added: each a shape and a key, of numbers and of (start, step, size)."""
    inputs = [gs.symbol(f"x{i}", own) for i, (own, _) in enumerate(parts)]
    graph = to_graph(inputs, [scatter(*inputs, shape=shape, keys=tuple(key for _, key in parts))])
    return stretches(graph, graph.node(graph.outputs[0]))


def test_rows_that_no_part_has_are_stretches_too():
    assert placed((9,), ((6,), ((2, 1, 6),))) == [(0, 2, ()), (2, 8, ((0, 2),)), (8, 9, ())]


def test_parts_are_added_in_their_order_wherever_they_begin():
    later, sooner = ((8,), ((1, 1, 8),)), ((8,), ((0, 1, 8),))
    assert placed((9,), later, sooner) == [(0, 1, ((1, 0),)), (1, 8, ((0, 1), (1, 0))), (8, 9, ((0, 1),))]


def test_one_row_may_have_no_axis_of_its_own():
    row, rows = ((3,), (2, (0, 1, 3))), ((4, 3), ((0, 1, 4), (0, 1, 3)))
    assert placed((5, 3), row, rows) == [(0, 2, ((1, 0),)), (2, 3, ((0, 2), (1, 0))), (3, 4, ((1, 0),)), (4, 5, ())]


@pytest.mark.parametrize(
    ("shape", "own", "key"),
    [
        ((5, 3), (2,), (0, (0, 1, 2))),
        ((5, 3), (5, 2), ((0, 1, 5), (0, 1, 2))),
        ((5, 3), (5,), ((0, 1, 5), 1)),
        ((9,), (5,), ((0, 2, 5),)),
        ((9,), (9,), ((8, -1, 9),)),
        ((9,), (0,), ((3, 1, 0),)),
    ],
    ids=["part of a row", "parts of rows", "column", "every other", "backwards", "nothing"],
)
def test_what_is_not_rows_one_after_another_has_none(shape, own, key):
    assert placed(shape, ((shape), tuple((0, 1, n) for n in shape)), (own, key)) is None


def test_parts_that_are_written_too_often_have_none():
    """A part that begins and ends alone is cut by all others."""
    parts = [((9 - i,), ((i // 2, 1, 9 - i),)) for i in range(7)]
    assert placed((9,), *parts[:3]) is not None
    assert placed((9,), *parts) is None


def test_no_zeros_to_add_to():
    source = gs.compile(lambda x: neighbours(gs, x), args=((100,),), target="c", derivatives="grad").source
    assert "d_x[i + 1] = " in source
    assert "+= " not in source.split("d_x) {")[-1].split("#ifdef")[0].replace("sum_1 += ", "")


def test_strict_code_adds_to_zeros_as_the_other_targets_do():
    f = gs.compile(lambda x: neighbours(gs, x), args=((100,),), target="c", derivatives="grad", strict=True)
    assert "d_x[i + 1] += " in f.source
