"""Shares: how a loop is cut, so that several threads can have its shares and every sum still has one order.

    for (i = 0; i < n; ++i)          for (i = 0; i < n; i += share)       // in any thread
        sum += x[i];           ->        for (j = i; j < end of share; ++j)
                                             own += x[j];
                                         sums[i / share] = own;
                                     for (i = 0; i < shares; ++i)         // in one
                                         sum += sums[i];

In: the shape of a loop, and how many elements each place has. Out: a `Shares`. Guarantee: how long a share is depends
on the size of the loop and on `Tuning`, not on how many threads there are, nor on whether there are any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..dims import Extent, atom
from ..target import Target
from ..types import Shape

__all__ = ["Shares", "shares"]


@dataclass(frozen=True)
class Shares:
    """Shares of a loop, cut along `axis` of length `size`: `count` of them, or fewer if the size has a name.

    A share has `length` places, or, of a named size, `least` where so many are enough, and else a multiple of `unit`.
    `clauses` say from which work on threads are started.
    """

    axis: int
    size: Extent
    count: int
    length: int | None
    least: int
    unit: int
    clauses: str

    def length_of(self, pattern: str, name: str) -> str:
        """The statement that computes the length of a share of a named size."""
        assert self.length is None
        return pattern.format(
            name=name, size=atom(self.size), short=self.count * self.least, least=self.least,
            most=self.count * self.unit, unit=self.unit,
        )  # fmt: skip


def shares(target: Target, shape: Shape, each: Extent = 1, most: int | None = None) -> Shares | None:
    """How threads share a loop over `shape` with `each` elements a place; None where one thread has it all.

    There are at most `most` shares, or as many as the target's tuning says.
    """
    least, most = target.tuning.thread_elements, most or target.tuning.thread_shares
    axis = next((k for k, size in enumerate(shape) if size != 1), None)
    work = math.prod(shape) * each
    if not target.threads or axis is None or (isinstance(work, int) and work < least):
        return None
    size, inner = shape[axis], math.prod(shape[axis + 1 :]) * each
    known = isinstance(inner, int)
    fewest = target.tuning.thread_share
    line = target.tuning.line_bytes // 4 or 1  # elements of 4 bytes: whole lines of the cache are whole vectors, too
    unit = min(line, fewest) if known and inner < line else 1
    shortest = -(-max(1, fewest // max(1, inner)) // unit) * unit if known else 1
    clauses = _clauses(work, least)
    if not isinstance(size, int):
        return Shares(axis, size, most, None, shortest, unit, clauses)
    length = shortest if size < most * shortest else (size // (most * unit) + 1) * unit
    count = -(-size // length)
    return Shares(axis, size, count, length, shortest, unit, clauses) if count > 1 else None


def _clauses(work: Extent, least: int) -> str:
    return "schedule(static)" if isinstance(work, int) else f"schedule(static) if(parallel : {work} >= {least})"
