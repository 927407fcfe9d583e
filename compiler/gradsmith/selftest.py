"""Self-tests: the points and reference values that every emitted file carries.

In: the traced graph (before any pass), and the inputs differentiated by. Out: a `SelfTest`. The reference is an
independent route: the graph evaluated by mpmath with 50 digits, and its gradient by central differences there, so
neither the adjoint pass nor any other pass nor the printer takes part. A graph too large for that stores float64 values
by NumPy and leaves the gradient to differences at run time; the file says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .evaluate import evaluate
from .exact import DIGITS, digits, mp_outputs, operations, slope
from .graph import Graph
from .passes.specialise import fitting_sizes, size_names, specialised
from .program import Point, SelfTest
from .types import FLOAT32, FLOAT64, Type, static_shape

__all__ = ["selftest", "selftest_sizes"]

_RANGES = ((0.2, 0.9), (-0.9, 0.9), (1.1, 3.0), (0.01, 0.1), (10.0, 90.0))
_POINTS = 3
_MOST_NUMBERS = 24  # arguments stored in full
_BUDGET = 40_000  # mpmath operations spent on one self-test
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class _Precision:
    """What the numbers of a file allow: the least tolerance, and the step and the tolerance of central differences."""

    least: float
    step: float
    slack: float


_PRECISIONS = {FLOAT64: _Precision(1e-12, 1e-6, 1e-4), FLOAT32: _Precision(1e-5, 4e-3, 2e-2)}


#: Sizes of named dimensions in a self-test, in the order of the names: small, and no two of them alike.
_SIZES = (3, 5, 2, 4, 7, 6)


def selftest_sizes(primal: Graph) -> dict[str, int]:
    """The sizes at which the self-test of `primal` runs."""
    chosen = {name: _SIZES[k % len(_SIZES)] for k, name in enumerate(size_names(primal))}
    return fitting_sizes(primal, chosen)


def selftest(primal: Graph, wrt: Sequence[int], kinds: Sequence[str]) -> SelfTest | None:
    """`tested`, at small sizes where the graph has named dimensions."""
    chosen = selftest_sizes(primal)
    if not chosen:
        return tested(primal, wrt, kinds)
    fixed = specialised(primal, chosen)
    by = [fixed.inputs[primal.inputs.index(k)] for k in wrt]
    found = tested(fixed, by, kinds)
    return None if found is None else replace(found, sizes=chosen)


def tested(primal: Graph, wrt: Sequence[int], kinds: Sequence[str]) -> SelfTest | None:
    """The self-test of `primal` with the gradient by the inputs `wrt` (keys); None where no point is in its domain.

    `kinds` are the functions in the file: central differences need the value beside a gradient.
    """
    types = [primal.node(k).type for k in primal.inputs]
    sizes = [t.size for t in types]
    precision = _PRECISIONS[FLOAT32 if any(n.type.dtype == FLOAT32 for n in primal.ordered()) else FLOAT64]
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
            numbers = _numbers(seed, types, low, high, rounded=exact)
            found = _point(primal, numbers, types, places, str(seed), exact, by_mpmath, precision)
            if found is not None:
                points.append(found[0])
                worst = max(worst, found[1])
            if len(points) == _POINTS:
                break
        if points:
            reference = "mpmath with 50 digits" if by_mpmath else "the graph evaluated by NumPy in float64"
            values = sum(int(np.prod(static_shape(primal.nodes[k]["shape"]))) for k in primal.outputs)
            tolerance = f"{max(precision.least, 64 * worst):.0e}"
            return SelfTest(
                reference=reference,
                also=" and with central differences" if places and "value" in kinds else "",
                points=tuple(points),
                exact=exact,
                tolerance=tolerance,
                step=repr(precision.step),
                slack=repr(precision.slack),
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


def _numbers(seed: int, types: Sequence[Type], low: float, high: float, *, rounded: bool) -> list[float]:
    """Well-spread arguments by a formula that Python and C compute alike to the last bit, rounded if stored."""
    numbers: list[float] = []
    for type in types:
        for k in range(len(numbers), len(numbers) + type.size):
            value = ((k + 1) * _GOLDEN + seed * 0.3) % 1.0 * (high - low) + low
            if type.dtype.kind != "float":
                value = float((k + seed) % 2 if rounded else int(value))  # also an index into all but the shortest axes
            numbers.append(round(value, 2) if rounded else value)
    return numbers


def _shaped(numbers: Sequence[Any], types: Sequence[Type]) -> list[Any]:
    """Flat numbers as arrays of exact numbers: rounded to float32 where the argument is."""
    result, at = [], 0
    for type in types:
        flat = np.array(numbers[at : at + type.size], dtype=object)
        if type.dtype == FLOAT32:
            flat = flat.astype(np.float32).astype(object)
        result.append(flat.reshape(static_shape(type.shape)))
        at += type.size
    return result


def _point(
    primal: Graph,
    numbers: list[float],
    types: Sequence[Type],
    places: Sequence[int],
    seed: str,
    exact: bool,
    by_mpmath: bool,
    precision: _Precision,
) -> tuple[Point, float] | None:
    """A stored point and the relative error float64 has there, or None where the function has no finite value."""

    def floats(at: Sequence[float]) -> list[float]:
        values = evaluate(primal, [a.astype(t.dtype.name) for a, t in zip(_shaped(at, types), types, strict=True)])
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
            leaves = _shaped(numbers, types)
            mp.mp.dps = digits(primal, leaves)  # of this block: workdps restores it
            value = mp_outputs(primal, leaves)
            where = [(i, at) for i, type in enumerate(types) for at in np.ndindex(static_shape(type.shape))]
            slopes = [slope(primal, leaves, *where[p], value[0]) for p in (places if exact and scalar else ())]
        except (ArithmeticError, ValueError, IndexError):
            return None
        wanted = [float(v) for v in value]
        error = max((abs(float(a - b)) / (1 + abs(float(b))) for a, b in zip(near, value, strict=True)), default=0.0)
        slope_texts = tuple(repr(float(s)) for s in slopes)
    if slopes and not _smooth(floats, numbers, places, [float(s) for s in slopes], precision):
        return None
    arguments = tuple(map(repr, numbers)) if exact else ()
    return Point(arguments, seed, tuple(map(repr, wanted)), slope_texts), error


def _smooth(
    floats: Any, numbers: list[float], places: Sequence[int], slopes: Sequence[float], precision: _Precision
) -> bool:
    """Whether floating-point differences come near the slopes, so that no kink lies beside the point."""
    for p, expected in zip(places, slopes, strict=True):
        h = precision.step * max(1.0, abs(numbers[p]))
        up, down = (floats([*numbers[:p], numbers[p] + s * h, *numbers[p + 1 :]])[0] for s in (1, -1))
        if not abs((up - down) / (2 * h) - expected) <= precision.slack / 10 * (1 + abs(expected) + abs(up)):
            return False
    return True
