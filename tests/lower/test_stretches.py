"""Sums of slices: between the ends of its parts, each element of the result is computed and stored once."""

import numpy as np
import pytest

import gradsmith as gs


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


def test_no_zeros_to_add_to():
    source = gs.compile(lambda x: neighbours(gs, x), args=((100,),), target="c", derivatives="grad").source
    assert "d_x[i + 1] = " in source
    assert "+= " not in source.split("d_x) {")[-1].split("#ifdef")[0].replace("sum_1 += ", "")


def test_strict_code_adds_to_zeros_as_the_other_targets_do():
    f = gs.compile(lambda x: neighbours(gs, x), args=((100,),), target="c", derivatives="grad", strict=True)
    assert "d_x[i + 1] += " in f.source
