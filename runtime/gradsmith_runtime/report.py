"""The result of comparing a generated function with its reference, as records that print as a table.

In: what `check.compare` measured. Out: a `Report` to look at, to test (`report.ok`) or to raise. Guaranteed:
printing needs nothing but text, and shows for every output the worst errors and the point where they occur.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MismatchError

Array = NDArray[np.float64]
Leaf = float | Array
SHOWN = 8  # mismatches and notes printed; the report holds all


@dataclass(frozen=True, eq=False)
class Finding:
    """One output at one point that needs saying: a mismatch, or a note.

    `element` is the index of the worst element (``()`` for a scalar), `got` and `want` its two values,
    `count` how many elements of this output are concerned, `inputs` the point as (name, value) pairs, and
    `origin` where a value that is not finite came from, where somebody found out.
    """

    output: str
    element: tuple[int, ...]
    got: float
    want: float
    reason: str
    count: int
    inputs: tuple[tuple[str, Leaf], ...]
    origin: str = ""

    @property
    def place(self) -> str:
        """The output, and the index of the element in it."""
        return self.output + (f"[{', '.join(map(str, self.element))}]" if self.element else "")

    def __str__(self) -> str:
        more = f" ({self.count} elements)" if self.count > 1 else ""
        values = f"got {self.got!r}, expected {self.want!r}"
        text = f"{self.place}: {values}: {self.reason}{more}\n    at {_point(self.inputs)}"
        return text + "".join(f"\n    {line}" for line in self.origin.splitlines())


@dataclass(frozen=True, eq=False)
class Entry:
    """One output over all points: how many numbers were compared, the worst errors, and what was found.

    `worst` is the place of the error that is largest against its tolerance (None if no numbers were
    compared), and `condition` the relative condition number there: by how much a relative error of the
    inputs grows, sum |x_i * df/dx_i| / |f| (None if it is not known). The worst figures are over finite
    pairs only; `relative` is |got - want| / max(|got|, |want|). `left_out` counts the numbers about which
    the reference had nothing to say, and `undefined` holds the points where both are NaN.
    """

    name: str
    numbers: int
    absolute: float
    relative: float
    ulps: float
    worst: Finding | None
    mismatches: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    undefined: tuple[Finding, ...] = ()
    left_out: int = 0
    condition: float | None = None

    @property
    def where(self) -> tuple[tuple[str, Leaf], ...] | None:
        """The point of the worst error as (name, value) pairs."""
        return None if self.worst is None else self.worst.inputs


@dataclass(frozen=True, eq=False)
class Report:
    """The comparison of a function with its reference over `points` points, one entry per output.

    `against` says in words what the reference is, and `causes` what was found to be at fault.

    >>> report = Report((Entry("value", 3, 0.0, 0.0, 0.0, None, (), ()),), 3, 1e-9, 1e-12, None)
    >>> print(report)
    ok: 1 output, 3 points, rtol=1e-09, atol=1e-12
    output  numbers  worst abs  worst rel  worst ulp  verdict
    value         3          0          0          0       ok
    """

    entries: tuple[Entry, ...]
    points: int
    rtol: float
    atol: float
    max_ulp: float | None
    against: str = ""
    causes: tuple[str, ...] = ()

    @property
    def mismatches(self) -> tuple[Finding, ...]:
        """All mismatches, output by output."""
        return tuple(finding for entry in self.entries for finding in entry.mismatches)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """All notes (places where the function is better than its reference), output by output."""
        return tuple(finding for entry in self.entries for finding in entry.notes)

    @property
    def unproven(self) -> tuple[str, ...]:
        """The outputs of which no number could be compared, because the reference knew none."""
        return tuple(entry.name for entry in self.entries if entry.left_out and not entry.numbers)

    @property
    def ok(self) -> bool:
        """True if nothing mismatches, and of every output something was compared at one point at least."""
        return self.points > 0 and not self.mismatches and not self.unproven

    def raise_on_mismatch(self) -> None:
        """Raise `MismatchError` with this report unless it is ok."""
        if not self.ok:
            raise MismatchError(self)

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "MISMATCH" if self.mismatches else "NOTHING COMPARED"
        limits = [f"rtol={self.rtol:g}", f"atol={self.atol:g}"]
        limits += [] if self.max_ulp is None else [f"max_ulp={self.max_ulp:g}"]
        counts = [_count(len(self.entries), "output"), _count(self.points, "point")]
        against = [f"against {self.against}"] if self.against else []
        lines = [f"{verdict}: {', '.join([*counts, *against, *limits])}"]
        columns = [column for column in COLUMNS if column.needed(self.entries)]
        lines += _table([[c.title for c in columns], *([c.cell(e) for c in columns] for e in self.entries)])
        lines += [f"cause: {cause}".replace("\n", "\n  ") for cause in self.causes]
        lines += _section("mismatches", _in_turn([entry.mismatches for entry in self.entries]))
        lines += ["worst errors:", *map(_where, self._erring)] if self._erring else []
        lines += _section("notes", self.notes)
        lines += ["NaN on both sides:", *_nans(self.entries)] if any(e.undefined for e in self.entries) else []
        return "\n".join(lines)

    @property
    def _erring(self) -> list[Finding]:
        """The places of the worst errors that no mismatch shows already."""
        return [e.worst for e in self.entries if e.worst and e.absolute and not e.mismatches and self.against]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@dataclass(frozen=True)
class Column:
    """One column of the table: its title, its cell for an output, and whether the table has it."""

    title: str
    cell: Callable[[Entry], str]
    needed: Callable[[Sequence[Entry]], bool] = lambda entries: True


def _verdict(entry: Entry) -> str:
    if entry.mismatches:
        return _count(len(entry.mismatches), "mismatch", "es")
    return "not compared" if entry.left_out and not entry.numbers else "ok"


COLUMNS = (
    Column("output", lambda e: e.name),
    Column("numbers", lambda e: str(e.numbers)),
    Column("left out", lambda e: str(e.left_out), lambda entries: any(e.left_out for e in entries)),
    Column("worst abs", lambda e: f"{e.absolute:.3g}"),
    Column("worst rel", lambda e: f"{e.relative:.3g}"),
    Column("worst ulp", lambda e: f"{e.ulps:.3g}"),
    Column(
        "condition",
        lambda e: "-" if e.condition is None else f"{e.condition:.3g}",
        lambda entries: any(e.condition is not None for e in entries),
    ),
    Column("verdict", _verdict),
)


def _in_turn(findings: Sequence[Sequence[Finding]]) -> list[Finding]:
    """The first of each output, then the second of each, …, so that no output hides another."""
    return [f for row in itertools.zip_longest(*findings) for f in row if f is not None]


def _where(worst: Finding) -> str:
    return f"  {worst.place}: {worst.reason}, at {_point(worst.inputs)}"


def _nans(entries: Sequence[Entry]) -> list[str]:
    """For each output where NaN came from at the first point, and at how many it did."""
    lines = []
    for entry in entries:
        if entry.undefined:
            first, count = entry.undefined[0], _count(len(entry.undefined), "point")
            lines.append(f"  {first.place}: NaN at {count}, first at {_point(first.inputs)}")
            lines += [f"    {line}" for line in first.origin.splitlines()]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column left and the others right."""
    first, *rest = (max(map(len, column)) for column in zip(*rows, strict=True))
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))])
        for row in rows
    ]


def _section(title: str, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    hidden = len(findings) - SHOWN
    more = [f"  ... {hidden} more in the report"] if hidden > 0 else []
    return [f"{title}:", *(f"  {finding}" for finding in findings[:SHOWN]), *more]


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _point(inputs: Iterable[tuple[str, Leaf]]) -> str:
    return ", ".join(f"{name}={_show(value)}" for name, value in inputs) or "the only point (no inputs)"


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return np.array2string(value, threshold=12, edgeitems=2, separator=", ").replace("\n", "")
    return repr(float(value))
