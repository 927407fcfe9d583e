"""The result of comparing a generated function with its reference, as records that print as a table.

In: what `check.compare` measured. Out: a `Report` to look at, to test (`report.ok`) or to raise. Guaranteed:
printing needs nothing but text, and shows for every output the worst errors and the point where they occur.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MismatchError

Array = NDArray[np.float64]
Leaf = float | Array
SHOWN = 8  # mismatches and notes printed; the report holds all
COLUMNS = ("output", "numbers", "worst abs", "worst rel", "worst ulp", "verdict")


@dataclass(frozen=True, eq=False)
class Finding:
    """One output at one point that needs saying: a mismatch, or a note.

    `element` is the index of the worst element (``()`` for a scalar), `got` and `want` its two values,
    `count` how many elements of this output are concerned, `inputs` the point as (name, value) pairs.
    """

    output: str
    element: tuple[int, ...]
    got: float
    want: float
    reason: str
    count: int
    inputs: tuple[tuple[str, Leaf], ...]

    def __str__(self) -> str:
        place = self.output + (f"[{', '.join(map(str, self.element))}]" if self.element else "")
        more = f" ({self.count} elements)" if self.count > 1 else ""
        values = f"got {self.got!r}, expected {self.want!r}"
        return f"{place}: {values}: {self.reason}{more}\n    at {_point(self.inputs)}"


@dataclass(frozen=True, eq=False)
class Entry:
    """One output over all points: how many numbers were compared, the worst errors, and what was found.

    `where` is the point of the error that is largest against its tolerance (None if no numbers were
    compared). The worst figures are over finite pairs only; `relative` is |got - want| / max(|got|,
    |want|).
    """

    name: str
    numbers: int
    absolute: float
    relative: float
    ulps: float
    where: tuple[tuple[str, Leaf], ...] | None
    mismatches: tuple[Finding, ...]
    notes: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class Report:
    """The comparison of a function with its reference over `points` points, one entry per output.

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

    @property
    def mismatches(self) -> tuple[Finding, ...]:
        """All mismatches, output by output."""
        return tuple(finding for entry in self.entries for finding in entry.mismatches)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """All notes (places where the function is better than its reference), output by output."""
        return tuple(finding for entry in self.entries for finding in entry.notes)

    @property
    def ok(self) -> bool:
        """True if nothing mismatches and at least one point was compared."""
        return self.points > 0 and not self.mismatches

    def raise_on_mismatch(self) -> None:
        """Raise `MismatchError` with this report unless it is ok."""
        if not self.ok:
            raise MismatchError(self)

    def __str__(self) -> str:
        limit = "" if self.max_ulp is None else f", max_ulp={self.max_ulp:g}"
        counts = f"{_count(len(self.entries), 'output')}, {_count(self.points, 'point')}"
        verdict = "ok" if self.ok else "MISMATCH" if self.points else "NOTHING COMPARED"
        lines = [f"{verdict}: {counts}, rtol={self.rtol:g}, atol={self.atol:g}{limit}"]
        lines += _table([COLUMNS, *map(_row, self.entries)])
        lines += _section("mismatches", self.mismatches) + _section("notes", self.notes)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _row(entry: Entry) -> tuple[str, ...]:
    verdict = _count(len(entry.mismatches), "mismatch", "es") if entry.mismatches else "ok"
    worst = (f"{figure:.3g}" for figure in (entry.absolute, entry.relative, entry.ulps))
    return entry.name, str(entry.numbers), *worst, verdict


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
