"""A `where` around a loop or in it: what is not chosen never poisons the gradient, on every target.

Forward mode is the judge: tangents are chosen where values are, so they need no mask. Reverse mode does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

Function = Callable[[Any], Any]


def root(y: Any) -> Any:
    return gs.sqrt(y) * 1.5


def roots(x: Any, steps: int = 3, **options: Any) -> Any:
    return gs.scan(lambda y, _: (root(y) * (1.0 + x * x), gs.log(y)), x, None, length=steps, **options)


def signs(x: Any) -> Any:
    """Some of these are negative wherever x is."""
    return gs.stack([x, -x, 2.0 * x, 0.0 * x])


def swapped(state: Any, _: Any) -> Any:
    a, b = state
    return (gs.log(b) + 2.0, root(a)), gs.sqrt(a) * b


W = gs.constant([[0.5, 0.25, 0.0, 0.1], [0.0, 0.5, 0.3, 0.2], [1.0, 0.0, 0.2, 0.1], [0.2, 0.7, 0.1, 0.4]])


def mixing(v: Any) -> Any:
    """Elements meet in the next step, where the choice must be made."""
    return gs.sum(
        gs.scan(lambda y, _: (gs.where(y > 0.0, root(y), 0.0) + 0.1 * (W @ gs.sin(y)), None), v, None, length=3)[0]
    )


def guarded(a: Any, b: Any) -> Any:
    """The state of one step is chosen in the next, and its slope is infinite in this one."""
    return gs.sqrt(b - 1.0), gs.where(a > 0.0, a, 1.0)


CASES: dict[str, Function] = {
    "state": lambda x: gs.where(x > 0, roots(x)[0], 0.0),
    "stacked": lambda x: gs.where(x > 0, gs.sum(roots(x)[1]), 0.0),
    "one element of what is stacked": lambda x: gs.where(x > 0, roots(x)[1][-1], 0.0),
    "both, one is not chosen": lambda x: gs.where(x > 0, roots(x)[0], 0.0)
    + gs.sum(gs.scan(lambda s, _: ((root(s[0]), gs.sin(s[1])), s[1]), (x, x), None, length=2)[1]),
    "one of two states": lambda x: (
        lambda s: gs.where(x > 0, s[0], 0.0) + s[1]
    )(gs.fori_loop(0, 3, lambda i, s: (root(s[0]), gs.sin(s[1])), (x, x))),
    "checkpoints": lambda x: gs.where(x > 0, roots(x, 7, checkpoint=2)[0], 0.0),
    "elements, checkpoints": lambda x: gs.sum(gs.where(signs(x) > 0, roots(signs(x), 7, checkpoint=2)[0], 0.0)),
    "elements": lambda x: gs.sum(gs.where(signs(x) > 0, roots(signs(x))[0], 0.0)),
    "elements, stacked": lambda x: gs.sum(gs.where(signs(x) > 0, roots(signs(x))[1], 0.0)),
    "elements, backwards": lambda x: gs.sum(gs.where(signs(x) > 0, roots(signs(x), reverse=True)[0], 0.0)),
    "elements, roots before": lambda x: gs.sum(gs.where(signs(x) > 0, roots(gs.sqrt(signs(x)))[0], 0.0)),
    "elements, a loop before": lambda x: gs.sum(gs.where(signs(x) > 0, roots(roots(signs(x))[0])[0], 0.0)),
    "elements, states change places": lambda x: (
        lambda s: gs.sum(gs.where(signs(x) > 0, s[0] * s[1], 0.0) + gs.where(signs(x) > 0, s[1], 1.0))
    )(gs.scan(swapped, (signs(x), signs(x) + 0.5), None, length=3)[0]),
    "elements of xs": lambda x: gs.sum(gs.where(signs(x) > 0, gs.map(root, gs.sqrt(signs(x))), 0.0)),
    "while": lambda x: gs.where(
        x > 0, gs.while_loop(lambda y: y < 5.0, lambda y: y + 1.0 + gs.log(x) ** 2, x, bound=9), 0.0
    ),
    "elements, while": lambda x: gs.sum(gs.where(signs(x) > 0, gs.while_loop(
        lambda y: gs.sum(gs.where(y > 0.0, y, 0.0)) > 1.5, lambda y: gs.sqrt(y) * 0.75, signs(x), bound=9
    ), 0.0)),
    "branch": lambda x: gs.where(x > 0, gs.cond(x > -10.0, gs.log, lambda x: x, x), 0.0),
    "elements, branch": lambda x: gs.sum(
        gs.where(signs(x) > 0, gs.cond(x > -10.0, root, lambda x: x, gs.sqrt(signs(x))), 0.0)
    ),
    "the last state is not read": lambda x: gs.sum(gs.scan(lambda y, _: (gs.sqrt(y), y), gs.abs(x) * 0.0 + x * x, None, length=1)[1]),
    "nested": lambda x: gs.where(
        x > 0, gs.scan(lambda c, _: (roots(c, 2)[0] * gs.exp(x), None), x, None, length=2)[0], 0.0
    ),
    "elements, nested": lambda x: gs.sum(gs.where(
        signs(x) > 0, gs.scan(lambda c, _: (roots(c, 2)[0] * gs.exp(x), None), signs(x), None, length=2)[0], 0.0
    )),
    "inside": lambda x: gs.fori_loop(0, 3, lambda i, y: y + gs.where(y > 0, gs.sqrt(y), 0.0) * x, x),
    "inside, elements": lambda x: mixing(signs(x)),
    "inside, of the step before": lambda x: gs.scan(lambda s, _: (guarded(*s), None), (x, 1.0 + 0.0 * x), None, length=3)[0][1],
    "only one side of a branch is defined": lambda x: gs.cond(
        x > 0, lambda x: gs.log(x) + 1.0 / gs.sqrt(x), lambda x: x * 3.0, x
    ),
    "only one side of a branch reads it": lambda x: gs.cond(
        x > 0, lambda x, y: y * y * x, lambda x, y: x * 3.0, x, 1.0 / gs.sqrt(x)
    ),
}  # fmt: skip
POINTS = (-1.0, 0.0, 2.0)


def total(x: Any) -> Any:
    return sum(case(x) for case in CASES.values())


def same(got: float, expected: float) -> bool:
    return math.isfinite(expected) and math.isclose(got, expected, rel_tol=1e-11, abs_tol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_reverse_mode_is_forward_mode(name: str) -> None:
    f = gs.compile(CASES[name], target="numpy", derivatives=("value", "grad", "jvp", "hvp"), selftest=False)
    for x in POINTS:
        value, slope = (float(v) for v in f.jvp((x,), (1.0,)))
        assert same(float(f(x)), value)
        assert same(float(f.grad(x)), slope), x
        assert math.isfinite(float(f.hvp((x,), (1.0,)))), x


@pytest.mark.parametrize("target", ["python", "c"])
def test_all_of_them_on_the_other_targets(target: str) -> None:
    """A NaN in one would be one in the sum; Python raises a math domain error where what is not chosen is computed."""
    f = gs.compile(total, target=target, derivatives=("value", "grad", "jvp"), selftest=False)
    for x in POINTS:
        value, slope = f.jvp((x,), (1.0,))
        assert same(f(x), value)
        assert same(f.grad(x), slope)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_a_branch_computes_one_side_alone(target: str) -> None:
    """Python's math and the mode of NumPy that raises would not survive the other side."""
    f = gs.compile(
        lambda x: gs.cond(x > 0.0, lambda: 1.0 / gs.sqrt(x), lambda: 1.0 / gs.sqrt(-x)), target=target,
        derivatives=("value", "grad", "jvp", "hvp"),
    )  # fmt: skip
    with np.errstate(all="raise"):
        for x in (4.0, -9.0):
            value = abs(x) ** -0.5
            slope, curvature = -0.5 * value / x, 0.75 * value / x**2
            assert same(float(f(x)), value)
            assert same(float(f.grad(x)), slope)
            assert same(float(f.jvp((x,), (1.0,))[1]), slope)
            assert same(float(f.hvp((x,), (1.0,))), curvature)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_a_loop_of_no_steps_closes_over_receives_nothing(target: str) -> None:
    """The slope of sqrt at 0 is infinite, and 0 times it would be NaN; found by the random programs."""

    def model(x: Any, y: Any) -> Any:
        slow = gs.sqrt(x)
        return gs.while_loop(lambda s: s < 1.0, lambda s: s + slow + 0.5, y, bound=3)

    f = gs.compile(model, args=((), ()), target=target, derivatives=("value_and_grad",), selftest=False)
    assert [float(v) for v in f.value_and_grad(0.0, 2.0)[1]] == [0.0, 1.0]
    assert [float(v) for v in f.value_and_grad(4.0, 0.0)[1]] == [0.25, 1.0]


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("factor", [math.inf, 3.0])
def test_a_scan_of_length_0_gives_nothing_to_what_it_closes_over(target: str, factor: float) -> None:
    """Nor to rows that it has none of; 0 * inf behind a constant of the loop would be NaN."""

    def model(x: Any, a: Any) -> Any:
        w = x * a
        last, rows = gs.scan(lambda c, v: (c * w, c * v), x, w * gs.zeros((0,)))
        return last * x + gs.sum(rows)

    f = gs.compile(model, args=((), ()), target=target, derivatives=("value_and_grad", "jvp"), selftest=False)
    value, slopes = f.value_and_grad(3.0, factor)
    assert (float(value), [float(v) for v in slopes]) == (9.0, [6.0, 0.0])
    assert float(f.jvp((3.0, factor), (1.0, 1.0))[1]) == 6.0
