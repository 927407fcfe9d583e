"""Self-tests: the points and reference values that every emitted file carries.

In: the traced graph (before any pass), and the inputs differentiated by. Out: a `SelfTest`. The reference is an
independent route: the graph evaluated by mpmath with 50 digits, and its gradient by central differences there, so
neither the adjoint pass nor any other pass nor the printer takes part. A graph too large for that stores float64 values
by NumPy and leaves the gradient to differences at run time; the file says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .evaluate import evaluate
from .exact import DIGITS, digits, mp_outputs, operations, slope
from .graph import Graph
from .program import Point, SelfTest
from .types import static_shape

__all__ = ["selftest"]

_RANGES = ((0.2, 0.9), (-0.9, 0.9), (1.1, 3.0), (0.01, 0.1), (10.0, 90.0))
_POINTS = 3
_MOST_NUMBERS = 24  # arguments stored in full
_BUDGET = 40_000  # mpmath operations spent on one self-test
_GOLDEN = 0.6180339887498949
_STEP = 1e-6


def selftest(primal: Graph, wrt: Sequence[int], kinds: Sequence[str]) -> SelfTest | None:
    """The self-test of `primal` with the gradient by the inputs `wrt` (keys); None where no point is in its domain.

    `kinds` are the functions in the file: central differences need the value beside a gradient.
    """
    shapes = [static_shape(primal.nodes[k]["shape"]) for k in primal.inputs]
    sizes = [int(np.prod(s)) for s in shapes]
    starts = np.cumsum([0, *sizes])
    ranges = [(int(starts[i]), int(starts[i + 1])) for i in (primal.inputs.index(k) for k in wrt)]
    places = [p for a, b in ranges for p in range(a, b)]
    once = operations(primal)
    exact = sum(sizes) <= _MOST_NUMBERS and once * 2 * (len(places) + 1) * _POINTS <= _BUDGET
    by_mpmath = exact or once * _POINTS <= _BUDGET
    for low, high in _RANGES:
        points: list[Point] = []
        worst = 0.0
        for seed in range(1, 4 * _POINTS):
            numbers = _numbers(seed, int(starts[-1]), low, high, rounded=exact)
            found = _point(primal, numbers, shapes, places, str(seed), exact, by_mpmath)
            if found is not None:
                points.append(found[0])
                worst = max(worst, found[1])
            if len(points) == _POINTS:
                break
        if points:
            reference = "mpmath with 50 digits" if by_mpmath else "the graph evaluated by NumPy in float64"
            values = sum(int(np.prod(static_shape(primal.nodes[k]["shape"]))) for k in primal.outputs)
            tolerance = f"{max(1e-12, 64 * worst):.0e}"
            return SelfTest(
                reference=reference,
                also=" and with central differences" if places and "value" in kinds else "",
                points=tuple(points),
                exact=exact,
                tolerance=tolerance,
                low=repr(low),
                high=repr(high),
                places=tuple(places),
                ranges=tuple(ranges),
                numbers=int(starts[-1]),
                values=values,
                slopes=len(places),
                gradients=bool(points[0].gradient),
            )
    return None


def _numbers(seed: int, size: int, low: float, high: float, *, rounded: bool) -> list[float]:
    """Well-spread arguments by a formula that Python and C compute alike to the last bit, rounded if stored."""
    values = [((k + 1) * _GOLDEN + seed * 0.3) % 1.0 * (high - low) + low for k in range(size)]
    return [round(v, 2) for v in values] if rounded else values


def _shaped(numbers: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    result, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        result.append(np.array(numbers[at : at + size], dtype=object).reshape(shape))
        at += size
    return result


def _point(
    primal: Graph,
    numbers: list[float],
    shapes: Sequence[tuple[int, ...]],
    places: Sequence[int],
    seed: str,
    exact: bool,
    by_mpmath: bool,
) -> tuple[Point, float] | None:
    """A stored point and the relative error float64 has there, or None where the function has no finite value."""

    def floats(at: Sequence[float]) -> list[float]:
        values = evaluate(primal, [a.astype(float) for a in _shaped(at, shapes)])
        return [float(v) for k in primal.outputs for v in np.ravel(values[k])]

    near = floats(numbers)
    if not np.all(np.isfinite(near)):
        return None
    scalar = len(near) == 1 and primal.nodes[primal.outputs[0]]["shape"] == ()
    if not by_mpmath:
        return Point((), seed, tuple(map(repr, near)), ()), 1e-13
    import mpmath as mp

    with mp.workdps(DIGITS):
        try:
            leaves = _shaped(numbers, shapes)
            mp.mp.dps = digits(primal, leaves)  # of this block: workdps restores it
            value = mp_outputs(primal, leaves)
            where = [(i, at) for i, shape in enumerate(shapes) for at in np.ndindex(shape)]
            slopes = [slope(primal, leaves, *where[p], value[0]) for p in (places if exact and scalar else ())]
        except (ArithmeticError, ValueError):
            return None
        wanted = [float(v) for v in value]
        error = max((abs(float(a - b)) / (1 + abs(float(b))) for a, b in zip(near, value, strict=True)), default=0.0)
        slope_texts = tuple(repr(float(s)) for s in slopes)
    if slopes and not _smooth(floats, numbers, places, [float(s) for s in slopes]):
        return None
    arguments = tuple(map(repr, numbers)) if exact else ()
    return Point(arguments, seed, tuple(map(repr, wanted)), slope_texts), error


def _smooth(floats: Any, numbers: list[float], places: Sequence[int], slopes: Sequence[float]) -> bool:
    """Whether float64 differences come near the slopes, so that no kink lies beside the point."""
    for p, expected in zip(places, slopes, strict=True):
        h = _STEP * max(1.0, abs(numbers[p]))
        up, down = (floats([*numbers[:p], numbers[p] + s * h, *numbers[p + 1 :]])[0] for s in (1, -1))
        if not abs((up - down) / (2 * h) - expected) <= 1e-5 * (1 + abs(expected) + abs(up)):
            return False
    return True
