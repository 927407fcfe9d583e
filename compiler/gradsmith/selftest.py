"""Self-tests: the points and reference values that every emitted file carries.

In: the traced graph (before any pass), the inputs differentiated by, and the derived graphs. Out: a `SelfTest`. The
reference is an independent route: the graph evaluated by mpmath with 50 digits, and its derivatives of every kind by
central differences there, so neither the adjoint pass nor any other pass nor the printer takes part. Tangents and
cotangents come from a formula; of a kind with many numbers, a sample is stored, and the weighted sum of all as NumPy
computes it by the derived graph. A graph too large for mpmath stores float64 numbers by NumPy, and leaves the gradient
to differences at run time; the file says which. Where a function has derivative rules of its own, differences say
nothing, and the derived graphs are evaluated instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .derive.derivatives import KINDS, Derived
from .evaluate import evaluate
from .exact import DIGITS, Slopes, measured_digits, operations
from .graph import Graph
from .passes.specialise import fitting_sizes, size_names, specialised
from .program import Check, Point, SelfTest
from .regions import with_inner
from .selftest_kinds import GOLDEN, FurtherKind, Precision, shaped, unit
from .types import FLOAT32, FLOAT64, Type, static_shape

__all__ = ["selftest", "selftest_sizes"]

_RANGES = ((0.2, 0.9), (-0.9, 0.9), (1.1, 3.0), (0.01, 0.1), (10.0, 90.0))
_POINTS = 3
_MOST_NUMBERS = 24  # arguments stored in full
_MOST_COMPUTED = 4_194_304  # numbers of arguments, beyond which there is no self-test: NumPy has to make them all
_BUDGET = 40_000  # mpmath operations spent on the values and gradients of one self-test
_OWN_RULES = frozenset({"custom", "stop_gradient"})


_PRECISIONS = {
    FLOAT64: Precision(1e-12, 1e-6, 1e-4, guess=1e-11, most=1e-6),
    FLOAT32: Precision(1e-5, 4e-3, 2e-2, guess=1e-5, most=1e-2),
}


#: Sizes of named dimensions in a self-test, in the order of the names: small, and no two of them alike.
_SIZES = (3, 5, 2, 4, 7, 6)


def selftest_sizes(primal: Graph) -> dict[str, int]:
    """The sizes at which the self-test of `primal` runs."""
    chosen = {name: _SIZES[k % len(_SIZES)] for k, name in enumerate(size_names(primal))}
    return fitting_sizes(primal, chosen)


def selftest(primal: Graph, wrt: Sequence[int], kinds: Mapping[str, Derived]) -> SelfTest | None:
    """`tested`, at small sizes where the graph has named dimensions."""
    chosen = selftest_sizes(primal)
    if not chosen:
        return tested(primal, wrt, kinds)
    fixed = specialised(primal, chosen)
    fixed_inputs = dict(zip(primal.inputs, fixed.inputs, strict=True))
    by = [fixed_inputs[k] for k in wrt]
    graphs = {id(d): specialised(d.graph, chosen) for d in kinds.values()}
    found = tested(fixed, by, {kind: replace(d, graph=graphs[id(d)]) for kind, d in kinds.items()})
    return None if found is None else replace(found, sizes=chosen)


def tested(primal: Graph, wrt: Sequence[int], kinds: Mapping[str, Derived]) -> SelfTest | None:
    """The self-test of `primal` with derivatives by the inputs `wrt` (keys); None where no point is in its domain.

    There is none either where arguments are too large to be made here. `kinds` are the functions in the file and what
    they were derived as: central differences need the value beside a gradient.
    """
    types = [primal.node(k).type for k in primal.inputs]
    sizes = [t.size for t in types]
    if sum(sizes) > _MOST_COMPUTED:
        return None
    precision = _PRECISIONS[FLOAT32 if any(n.type.dtype == FLOAT32 for n in primal.ordered()) else FLOAT64]
    starts = np.cumsum([0, *sizes])
    own_rules = any(n.op in _OWN_RULES for n in with_inner(primal))
    position = {key: i for i, key in enumerate(primal.inputs)}
    chosen = [position[k] for k in wrt]
    spans = [(int(starts[i]), int(starts[i + 1])) for i in chosen]
    gradients = any("gradients" in KINDS[kind].groups for kind in kinds)
    everywhere = [p for a, b in spans for p in range(a, b)] if gradients else []
    once = operations(primal)
    exact = sum(sizes) <= _MOST_NUMBERS and once * 2 * (len(everywhere) + 1) * _POINTS <= _BUDGET
    ranges = spans if gradients and not own_rules and (exact or "value" in kinds) else []  # all of the gradient
    places = everywhere if ranges else []
    by_mpmath = exact or once * _POINTS <= _BUDGET
    others = [
        FurtherKind(primal, chosen, kind, derived, once, own_rules, by_mpmath)
        for kind, derived in kinds.items()
        if KINDS[kind].family != "gradient" or (gradients and not ranges and kind != "value")
    ]
    further = [each for each in others if each.affordable]
    if not further and not any(KINDS[kind].family == "gradient" for kind in kinds):
        return None
    moving = [(i, at) for i in chosen if by_mpmath for at in np.ndindex(static_shape(types[i].shape))]
    for low, high in _RANGES:
        points: list[Point] = []
        worst = 0.0
        errors = [0.0] * len(further)
        for each in further:
            each.places = ()
        for seed in range(1, 4 * _POINTS):
            numbers = _numbers(seed, types, low, high, rounded=exact)
            found = _point(
                primal,
                numbers,
                types,
                places,
                moving,
                str(seed),
                exact,
                by_mpmath,
                precision,
                further,
            )
            if found is not None:
                points.append(found[0])
                worst = max(worst, found[1])
                errors = [max(a, b) for a, b in zip(errors, found[2], strict=True)]
            if len(points) == _POINTS:
                break
        if points:
            reference = "mpmath with 50 digits" if by_mpmath else "the graph evaluated by NumPy in float64"
            values = sum(int(np.prod(static_shape(primal.node(k).type.shape))) for k in primal.outputs)
            tolerance = f"{max(precision.least, 64 * worst):.0e}"
            differences = bool(places) and "value" in kinds
            rough = [f.kind for f in further if by_mpmath and not f.exact]
            left_out = [f.kind for f in others if not f.affordable]
            also = " and with central differences" if differences else ""
            also += f", {' and '.join(rough)} with NumPy's float64" if rough else ""
            also += f" ({' and '.join(left_out)}: too long to test)" if left_out else ""
            return SelfTest(
                reference=reference,
                also=also,
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
                differences=differences,
                checks=tuple(
                    Check(f.kind, f.count, f.places, f"{max(precision.least, min(64 * error, precision.most)):.0e}")
                    for f, error in zip(further, errors, strict=True)
                ),
            )
    return None


def _numbers(seed: int, types: Sequence[Type], low: float, high: float, *, rounded: bool) -> list[float]:
    """Well-spread arguments by a formula that NumPy, Python and C compute alike to the last bit, rounded if stored."""
    numbers: list[float] = []
    for type in types:
        k = np.arange(len(numbers), len(numbers) + type.size)
        found = np.fmod((k + 1) * GOLDEN + seed * 0.3, 1.0) * (high - low) + low
        if type.dtype.kind != "float":  # also an index into all but the shortest axes
            found = (k + seed) % 2.0 if rounded else np.trunc(found) + 0.0
        numbers += [round(value, 2) for value in found.tolist()] if rounded else found.tolist()
    return numbers


def _point(
    primal: Graph,
    numbers: list[float],
    types: Sequence[Type],
    places: Sequence[int],
    moving: Sequence[tuple[int, tuple[int, ...]]],
    seed: str,
    exact: bool,
    by_mpmath: bool,
    precision: Precision,
    further: Sequence[FurtherKind],
) -> tuple[Point, float, list[float]] | None:
    """A stored point and the relative errors float64 has there, or None where the function has no finite value."""

    def floats(at: Sequence[float]) -> list[float]:
        values = evaluate(primal, [a.astype(t.dtype.name) for a, t in zip(shaped(at, types), types, strict=True)])
        return [float(v) for k in primal.outputs for v in np.ravel(values[k])]

    try:
        near = floats(numbers)
    except IndexError:  # where an integer reads beyond an axis
        return None
    if not np.all(np.isfinite(near)):
        return None
    scalar = len(near) == 1 and primal.node(primal.outputs[0]).type.shape == ()
    leaves = shaped(numbers, types)
    if not by_mpmath:
        found = [each.at(leaves, types, None, precision) for each in further]
        if any(each is None for each in found):
            return None
        stored = tuple(each[0] for each in found if each)
        return Point((), seed, tuple(map(repr, near)), (), stored), 1e-13, [precision.guess] * len(further)
    import mpmath as mp

    with mp.workdps(DIGITS):
        try:
            mp.mp.dps, values = measured_digits(primal, leaves)  # of this block: workdps restores it
            measured = Slopes(primal, leaves, moving, values)
            value = measured.here
            slopes = [measured.first(unit(p, len(moving)))[0] for p in range(len(places) if exact and scalar else 0)]
            found = [each.at(leaves, types, measured, precision) for each in further]
        except (ArithmeticError, ValueError, IndexError):
            return None
        wanted = [float(v) for v in value]
        error = max((abs(float(a - b)) / (1 + abs(float(b))) for a, b in zip(near, value, strict=True)), default=0.0)
        slope_texts = tuple(repr(float(s)) for s in slopes)
    if any(each is None for each in found):
        return None
    if slopes and not _smooth(floats, numbers, places, [float(s) for s in slopes], precision):
        return None
    arguments = tuple(map(repr, numbers)) if exact else ()
    stored = tuple(each[0] for each in found if each)
    return (
        Point(arguments, seed, tuple(map(repr, wanted)), slope_texts, stored),
        error,
        [each[1] for each in found if each],
    )


def _smooth(
    floats: Any, numbers: list[float], places: Sequence[int], slopes: Sequence[float], precision: Precision
) -> bool:
    """Whether floating-point differences come near the slopes, so that no kink lies beside the point."""
    for p, expected in zip(places, slopes, strict=True):
        h = precision.step * max(1.0, abs(numbers[p]))
        up, down = (floats([*numbers[:p], numbers[p] + s * h, *numbers[p + 1 :]])[0] for s in (1, -1))
        if not abs((up - down) / (2 * h) - expected) <= precision.slack / 10 * (1 + abs(expected) + abs(up)):
            return False
    return True
