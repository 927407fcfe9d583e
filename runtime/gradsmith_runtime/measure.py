"""Compare a generated function with a reference, number by number.

In: two functions with the same flat inputs and outputs, and points. Out: a `Report`. Guaranteed: inputs are
handed to each function as copies (neither sees what the other did to them); every element of every output
takes part; non-finite numbers follow the table below, finite ones the tolerance ``atol + rtol * |want|``
(and `max_ulp`).

    reference  candidate           verdict
    masked     anything            left out: the reference cannot tell
    NaN        NaN                 equal, and remembered where the inputs are finite
    NaN        finite              note: better than the reference
    NaN        infinite            mismatch
    infinite   the same infinity   equal, anything else a mismatch
    finite     NaN or infinite     mismatch
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .errors import ArgumentError
from .report import Array, Entry, Finding, Leaf, Report
from .ulp import INTEGERS, ulp_distance

Flat = Callable[..., Sequence[Any]]
Inputs = tuple[tuple[str, Leaf], ...]
#: `arbiter(leaves, output, element)`: the exact number there, or None if it cannot tell.
Arbiter = Callable[[Sequence[Leaf], int, tuple[int, ...]], float | None]
#: `slack(leaves, output, element)`: the absolute error there that rounding the inputs alone explains.
Slack = Callable[[Sequence[Leaf], int, tuple[int, ...]], float]
ARBITRATED = 24  # elements of one output at one point that an arbiter is asked about; of more, so many in between:
SAMPLED = 8


@dataclass(frozen=True)
class Tolerance:
    """When a finite number is right: |got - want| <= atol + rtol*|want|, and within max_ulp if given."""

    rtol: float
    atol: float
    max_ulp: float | None


@dataclass(frozen=True, eq=False)
class Gap:
    """One output at one point; `excess` is the worst error over its tolerance (inf if not finite)."""

    numbers: int
    absolute: float
    relative: float
    ulps: float
    excess: float
    worst: Finding | None = None
    mismatch: Finding | None = None
    note: Finding | None = None
    undefined: Finding | None = None
    left_out: int = 0


def compare(
    candidate: Flat,
    reference: Flat,
    points: Iterable[Sequence[Any]],
    input_names: Sequence[str],
    output_names: Sequence[str],
    *,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    max_ulp: float | None = None,
    arbiter: Arbiter | None = None,
    slack: Slack | None = None,
    against: str = "",
) -> Report:
    """Call both functions at every point and measure the difference of each output.

    Both take the flat input leaves and return the flat outputs (floats or arrays, in the order of
    `output_names`). Two outputs also differ if their shapes do. A candidate that raises an ArithmeticError
    or a ValueError mismatches at that point; what the reference raises passes through. `max_ulp` adds a
    limit in ULPs (of float32 if the candidate returns float32), except where the absolute error is within
    `atol`: after cancellation to nearly 0, ULPs mean nothing. Pass ``atol=0`` for a strict contract.

    The reference is floating point as well, and can be the one that is wrong. An `arbiter` is asked for the exact
    number where finite ones differ; where the candidate agrees with it, or is nearer to it by half, the difference is a
    note. So is a difference within the `slack`: no algorithm does better than the rounding of its inputs allows. A
    reference that cannot tell some numbers returns a masked array (`numpy.ma`), and they are left out. `against` is its
    name in the report.

    Errors: `ArgumentError` if a function returns another number of outputs, or a point has another number
    of inputs.

    >>> report = compare(lambda x: [x * x], lambda x: [x**2], [(3.0,), (0.5,)], ["x"], ["value"])
    >>> report.ok, report.entries[0].numbers
    (True, 2)
    """
    tolerance = Tolerance(rtol, atol, max_ulp)
    gaps: list[list[Gap]] = [[] for _ in output_names]
    count = 0
    for count, point in enumerate(points, start=1):
        if len(point) != len(input_names):
            raise ArgumentError(f"point {count} has {len(point)} inputs, expected {len(input_names)}")
        inputs = tuple((name, _frozen(value)) for name, value in zip(input_names, point, strict=True))
        wanted = _outputs("the reference", reference(*_leaves(inputs)), output_names)
        try:
            gotten = _outputs("the candidate", candidate(*_leaves(inputs)), output_names)
        except (ArithmeticError, ValueError) as error:
            reason = f"it raised {type(error).__name__}: {error}"
            for name, want, found in zip(output_names, wanted, gaps, strict=True):
                found.append(_wrong(name, np.full(want.shape, np.nan), want, reason, inputs))
            continue
        for i, (name, got, want, found) in enumerate(zip(output_names, gotten, wanted, gaps, strict=True)):
            gap = _measure(name, got, want, tolerance, inputs)
            if gap.mismatch is not None and got.shape == want.shape and (arbiter or slack):
                at = _leaves(inputs)
                gap = _judged(
                    gap, got, want, tolerance, inputs,
                    partial(arbiter, at, i) if arbiter else None,
                    partial(slack, at, i) if slack else None,
                )  # fmt: skip
            found.append(gap)
    entries = tuple(_entry(name, found) for name, found in zip(output_names, gaps, strict=True))
    return Report(entries, count, rtol, atol, max_ulp, against)


def _frozen(value: Any) -> Leaf:
    """A private copy of an input: a float, or a float64 array."""
    array: Array = np.array(value, dtype=np.float64)
    return array if array.ndim else float(array)


def _leaves(inputs: Inputs) -> list[Leaf]:
    return [value.copy() if isinstance(value, np.ndarray) else value for _, value in inputs]


def _outputs(who: str, outputs: Sequence[Any], names: Sequence[str]) -> list[Array]:
    if len(outputs) != len(names):
        raise ArgumentError(f"{who} returned {len(outputs)} outputs, expected {len(names)}: {', '.join(names)}")
    arrays = [np.asanyarray(output) for output in outputs]  # a masked array stays one
    return [array if array.dtype in INTEGERS else array.astype(np.float64) for array in arrays]


def _measure(name: str, got: Array, want: Array, tolerance: Tolerance, inputs: Inputs, excused: Any = False) -> Gap:
    """Compare one output at one point; `excused` elements are no mismatches."""
    if got.shape != want.shape:
        return _wrong(name, got, want, f"its shape is {got.shape}, expected {want.shape}", inputs)
    known, want = ~np.ma.getmaskarray(want), np.ma.getdata(want)
    with np.errstate(all="ignore"):  # 1e308 - -1e308, 0/0 and float32 overflow below are meant
        rounded = want.astype(got.dtype)
        finite = np.isfinite(got) & np.isfinite(rounded) & known
        better = np.isnan(want) & np.isfinite(got) & known
        nans = np.isnan(want) & np.isnan(got) & known
        equal = nans | (got == rounded)
        a, b = np.where(finite, got, 0), np.where(finite, want, 0)
        error = np.abs(a.astype(np.float64) - b)
        largest = np.maximum(np.abs(a), np.abs(b), dtype=np.float64)
        relative = np.where(error > 0, error / largest, 0.0)
        ulps = ulp_distance(a, b.astype(a.dtype))
        bound = tolerance.atol + tolerance.rtol * np.abs(b)
        excess = np.where(error > 0, error / bound, 0.0)
    wrong = finite & ~(error <= bound)
    if tolerance.max_ulp is not None:
        wrong |= finite & (ulps > tolerance.max_ulp) & (error > tolerance.atol)
    wrong &= ~np.asarray(excused)
    odd = ~finite & ~better & ~equal & known
    excess = np.where(odd, np.inf, np.where(finite, excess, 0.0))

    def finding(at: tuple[int, ...], reason: str, count: int) -> Finding:
        return Finding(name, at, float(got[at]), float(want[at]), reason, count, inputs)

    def differing(at: tuple[int, ...]) -> str:
        return f"they differ by {error[at]:.3g}, {ulps[at]:.3g} ulp"

    worst = mismatch = note = undefined = None
    if known.any():
        at = _worst(excess, known)
        worst = finding(at, differing(at), 1)
    if wrong.any() or odd.any():
        # among the wrong ones, so that a ULP failure inside rtol is not reported at an element that is right
        at = _worst(excess, odd if odd.any() else wrong)
        reason = "one of them is not finite" if odd.any() else differing(at)
        mismatch = finding(at, reason, int((wrong | odd).sum()))
    if better.any():
        note = finding(_worst(excess, better), "finite where the reference is NaN", int(better.sum()))
    if nans.any() and all(np.isfinite(value).all() for _, value in inputs):
        undefined = finding(_worst(excess, nans), "both are NaN", int(nans.sum()))
    figures = (_max(error), _max(relative), _max(ulps), _max(excess))
    return Gap(int(known.sum()), *figures, worst, mismatch, note, undefined, int((~known).sum()))


def _judged(
    gap: Gap,
    got: Array,
    want: Array,
    tolerance: Tolerance,
    inputs: Inputs,
    exact_at: Callable[[tuple[int, ...]], float | None] | None,
    slack_at: Callable[[tuple[int, ...]], float] | None,
) -> Gap:
    """`gap`, measured against exact numbers where the candidate agrees with them and the reference does not."""
    known, want = ~np.ma.getmaskarray(want), np.ma.getdata(want)
    finite = np.isfinite(got) & np.isfinite(want) & known
    with np.errstate(all="ignore"):  # 1e308 - -1e308
        wrong = finite & ~(np.abs(got - want) <= tolerance.atol + tolerance.rtol * np.abs(want))
    if not wrong.any():
        return gap
    places = [tuple(int(p) for p in place) for place in np.argwhere(wrong)]
    asked = places
    if len(places) > ARBITRATED:  # the worst ones, and some of all sizes: if the reference is off at all of them, it is
        places.sort(key=lambda at: -abs(float(got[at]) - float(want[at])))
        asked = [places[i] for i in np.linspace(0, len(places) - 1, SAMPLED).astype(int)]
    name = gap.mismatch.output if gap.mismatch else ""
    settled: list[Finding] = []
    corrected, excused = want.copy(), np.zeros(want.shape, dtype=bool)
    for at in asked:
        exact = exact_at(at) if exact_at is not None else None
        truth = want[at] if exact is None else exact
        error = abs(float(got[at]) - truth)
        reason = ""
        if exact is not None and error <= tolerance.atol + tolerance.rtol * abs(exact):
            reason = f"the reference is off: exactly, it is {exact!r}"
        elif exact is not None and 2.0 * error < abs(float(want[at]) - exact):  # both are, by rounding
            reason = f"the reference is further off: exactly, it is {exact!r}"
        elif slack_at is not None and error <= slack_at(at):
            reason = "as near as the rounding of the inputs allows"
        if reason:
            corrected[at], excused[at] = truth, True
            settled.append(Finding(name, at, float(got[at]), float(want[at]), reason, 1, inputs))
    if not settled or (len(asked) < len(places) and len(settled) < len(asked)):
        return gap
    if len(asked) < len(places):
        excused = wrong
    new = _measure(name, got, np.ma.MaskedArray(corrected, ~known), tolerance, inputs, excused)
    return replace(new, note=replace(settled[0], count=int(excused.sum())))


def _wrong(name: str, got: Array, want: Array, reason: str, inputs: Inputs) -> Gap:
    """A whole output that cannot be compared: it raised, or has another shape."""
    first, expected = (float(array.flat[0]) if array.size else float("nan") for array in (got, want))
    finding = Finding(name, (), first, expected, reason, max(want.size, 1), inputs)
    return Gap(0, 0.0, 0.0, 0.0, float("inf"), finding, finding)


def _max(figures: Array) -> float:
    return float(figures.max(initial=0.0))


def _worst(excess: Array, where: Any) -> tuple[int, ...]:
    """The index of the largest excess among the elements that `where` selects."""
    flat = np.argmax(np.where(where, excess, -1.0))
    return tuple(int(i) for i in np.unravel_index(flat, excess.shape))


def _entry(name: str, gaps: Sequence[Gap]) -> Entry:
    """Summarise one output over all points."""

    def worst(figure: Callable[[Gap], float]) -> float:
        return max(map(figure, gaps), default=0.0)

    def found(finding: Callable[[Gap], Finding | None]) -> tuple[Finding, ...]:
        return tuple(f for f in map(finding, gaps) if f is not None)

    return Entry(
        name=name,
        numbers=sum(gap.numbers for gap in gaps),
        absolute=worst(lambda gap: gap.absolute),
        relative=worst(lambda gap: gap.relative),
        ulps=worst(lambda gap: gap.ulps),
        worst=max(gaps, key=_rank).worst if gaps else None,
        mismatches=found(lambda gap: gap.mismatch),
        notes=found(lambda gap: gap.note),
        undefined=found(lambda gap: gap.undefined),
        left_out=sum(gap.left_out for gap in gaps),
    )


def _rank(gap: Gap) -> tuple[bool, float, bool]:
    """How much a gap is worth showing: any number at all, then the excess, then a number that is finite."""
    return gap.worst is not None, gap.excess, gap.worst is not None and bool(np.isfinite(gap.worst.got))
