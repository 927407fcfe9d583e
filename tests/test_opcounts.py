"""The cost of a gradient: two functions whose best known counts are in the literature, counted by `f.cost`."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

TARGETS = ("python", "numpy", "c")
LENGTHS = [(0.5, 0.4, 0.3, 0.25, 0.2, 0.1), (1.0,) * 6]


def speelpenning() -> tuple[gs.Expr, list[gs.Expr]]:
    xs = [*gs.symbols("x1 x2 x3 x4 x5 x6 x7 x8")]
    return functools.reduce(operator.mul, xs), xs


@pytest.mark.parametrize("target", TARGETS)
def test_speelpenning_as_a_product_of_symbols(target: str) -> None:
    """7 multiplications forwards, 6 partial products backwards and 6 joins: 19 with the value."""
    product, xs = speelpenning()
    cost = gs.compile(product, args=xs, target=target, selftest=False).cost
    assert cost.value == {"mul": 7}
    assert set(cost.grad) == {"mul"}
    assert cost.grad["mul"] <= 19
    assert cost.value_and_grad["mul"] <= 19


@pytest.mark.parametrize("target", TARGETS)
def test_speelpenning_as_prod_of_an_array(target: str) -> None:
    x = gs.symbol("x", (8,))
    f = gs.compile(gs.prod(x), target=target, selftest=False)
    assert f.cost.value == {"mul": 7}
    assert f.cost.grad["mul"] <= 19
    if target == "python":  # NumPy and C may compute the value by a reduction of its own
        assert f.cost.value_and_grad["mul"] <= 19
    point = np.array([1.5, -2.0, 0.5, 3.0, 0.0, 1.25, -0.75, 2.0])
    expected = [np.prod(np.delete(point, i)) for i in range(8)]
    np.testing.assert_allclose(f.grad(point), expected, rtol=1e-15)


def arm(lengths: Sequence[float]) -> Callable[..., gs.Expr]:
    def cost(q: Any, tx: Any, ty: Any) -> gs.Expr:
        angle = q[0]
        x, y = lengths[0] * gs.cos(angle), lengths[0] * gs.sin(angle)
        for i, length in enumerate(lengths[1:], start=1):
            angle = angle + q[i]
            x = x + length * gs.cos(angle)
            y = y + length * gs.sin(angle)
        return (x - tx) ** 2 + (y - ty) ** 2

    return cost


def arm_of_arrays(lengths: Sequence[float]) -> Callable[..., gs.Expr]:
    def cost(q: Any, tx: Any, ty: Any) -> gs.Expr:
        angles = gs.stack([gs.sum(q[: i + 1]) for i in range(6)])
        x, y = gs.sum(np.array(lengths) * gs.cos(angles)), gs.sum(np.array(lengths) * gs.sin(angles))
        return (x - tx) ** 2 + (y - ty) ** 2

    return cost


@pytest.mark.parametrize("lengths", LENGTHS, ids=["lengths", "unit lengths"])
@pytest.mark.parametrize("target", TARGETS)
def test_planar_arm_of_six_links(target: str, lengths: Sequence[float]) -> None:
    """At most 60 additions, subtractions and multiplications beside 6 sines and 6 cosines."""
    f = gs.compile(arm(lengths), args=(gs.spec((6,)), (), ()), wrt="q", target=target, selftest=False)
    assert f.cost.arithmetic("grad") <= 60
    assert f.cost.arithmetic("value_and_grad") <= 60
    assert (f.cost.value_and_grad["sin"], f.cost.value_and_grad["cos"]) == (6, 6)
    assert f.check(n=3).ok


@pytest.mark.parametrize("lengths", LENGTHS, ids=["lengths", "unit lengths"])
def test_planar_arm_written_with_arrays(lengths: Sequence[float]) -> None:
    """Scalar code finds the shared partial sums and drops the factors 1 by itself."""
    f = gs.compile(arm_of_arrays(lengths), args=(gs.spec((6,)), (), ()), wrt="q", target="python", selftest=False)
    assert f.cost.arithmetic("value_and_grad") <= 64
    assert f.check(n=3).ok


def test_counts_are_of_what_is_printed() -> None:
    """The generated scalar code has as many operators as the cost says."""
    product, xs = speelpenning()
    f = gs.compile(product, args=xs, target="python", selftest=False)
    body = f.source.split("def f_value_and_grad")[1].split('"""')[2]
    code = [line for line in body.splitlines() if not line.strip().startswith("#")]
    assert sum(line.count(" * ") for line in code) == f.cost.value_and_grad["mul"]
