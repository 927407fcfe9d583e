"""Sums are added up where a gradient is written: the same gradient to the last bit, and nothing stored in between."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs


def rosenbrock(x: Any) -> Any:
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def bending(x: Any) -> Any:
    return gs.sum((x[2:] - 2.0 * x[1:-1] + x[:-2]) ** 2)


def late(x: Any) -> Any:
    """Where the sum begins in the second row of the gradient."""
    return gs.sum((x[1:] * x[1:] * x[1:] - x[:-1]) ** 2)


def weighted(x: Any) -> Any:
    """With an array of constants, which the sum and the gradient read."""
    return gs.sum((x[1:] - x[:-1] ** 2) ** 2 * np.arange(x.shape[0] - 1.0))


def compiled(function: Any, n: int | tuple[int, ...], most: int) -> Any:
    tuning = gs.Tuning(along_operations=most, unroll_elements=1)
    return gs.compile(
        function,
        args=(n if isinstance(n, tuple) else (n,),),
        target="c",
        derivatives="value_and_grad",
        selftest=False,
        tuning=tuning,
    )


@pytest.mark.parametrize("function", [rosenbrock, bending, late, weighted])
@pytest.mark.parametrize("n", [4, 50])
def test_the_same_gradient_without_a_workspace(function: Any, n: int) -> None:
    apart, together = compiled(function, n, 1), compiled(function, n, 20)
    assert apart.workspace["value_and_grad"] > together.workspace["value_and_grad"] == 0
    rng = np.random.default_rng(n)
    for point in (rng.normal(size=n), np.where(rng.random(n) < 0.2, np.inf, 1e200), np.full(n, np.nan), np.zeros(n)):
        (value, slope), (want, slopes) = together.value_and_grad(point), apart.value_and_grad(point)
        np.testing.assert_allclose(value, want, rtol=1e-13)
        np.testing.assert_array_equal(slope, slopes)


@pytest.mark.parametrize(("function", "cost"), [(rosenbrock, 3), (bending, 6), (late, 3)])
def test_what_costs_more_is_stored(function: Any, cost: int) -> None:
    """All that is done again for an element counts: what is read at another place, and what that is made of."""
    assert compiled(function, 50, cost).workspace["value_and_grad"] == 0
    assert compiled(function, 50, cost - 1).workspace["value_and_grad"] > 0
    assert compiled(function, 50, cost).source == compiled(function, 50, 20).source  # the cheapest, whatever may be


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: gs.sum(gs.sin(x[1:] - x[:-1]) ** 2 * (x[1:] - x[:-1])), (50,)),
        (lambda x: gs.sum(gs.sqrt(1.0 + (x[1:] - x[:-1]) ** 2)), (50,)),
        (lambda a: gs.sum((a[1] - a[0] ** 2) ** 2), (3, 50)),
        (lambda x: gs.sum((x[::2] - x[1::2] ** 2) ** 2), (50,)),
    ],
    ids=["sine", "root", "rows of a matrix", "every other"],
)
def test_what_is_dear_or_lies_otherwise_is_stored(function: Any, shape: tuple[int, ...]) -> None:
    assert compiled(function, shape, 20).source == compiled(function, shape, 1).source


def test_a_result_stays() -> None:
    """What else is a result has memory, and loops of its own."""

    def both(x: Any) -> Any:
        step = x[1:] - x[:-1]
        return gs.sum(step * step), step

    f = gs.compile(both, args=((50,),), target="c", derivatives=("value", "jacobian"), selftest=False)
    point = np.random.default_rng(0).normal(size=50)
    value, step = f(point)
    np.testing.assert_array_equal(step, np.diff(point))
    np.testing.assert_allclose(value, np.sum(np.diff(point) ** 2), rtol=1e-13)
