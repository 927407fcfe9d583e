"""What a benchmark is: workloads, and entries that compute them. Plain data; the families fill it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .aims import Aim

__all__ = ["Build", "Family", "Ready", "Untried", "Workload", "arrays_of", "in_type", "placed", "untried"]


@dataclass(frozen=True)
class Ready:
    """An entry that is built: `function(*arguments, **keywords)` is timed, `read(result)` is what it found."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    read: Callable[[Any], Sequence[Any]]  # [value, *gradients]
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def answer(self) -> list[np.ndarray]:
        """What a call finds, as arrays that stay as they are at the next."""
        return arrays_of(self.read(self.function(*self.arguments, **self.keywords)))


#: From the workload's arguments to something that can be timed. Whatever it raises stands in the table.
Build = Callable[[Sequence[Any]], Ready]


class Untried(Exception):
    """Why an entry is left out, in the words of the table."""


def in_type(name: str, dtype: str) -> str:
    """The name of a row of numbers of this type."""
    return name if dtype == "float64" else f"{name}, {dtype}"


def untried(arguments: Sequence[Any]) -> Ready:
    """In the place of a build that was seen to take longer than anybody waits."""
    raise Untried("builds too long")


@dataclass(frozen=True)
class Workload:
    """One function with its gradient, the numbers to call it with, an independent answer, and who computes it."""

    name: str
    arguments: Callable[[np.random.Generator], Sequence[Any]]
    reference: Callable[..., Sequence[Any]]  # in double precision, by torch: [value, *gradients]
    entries: Mapping[str, Build]
    dtype: str = "float64"
    calls: float = 1  # what a time is divided by: the points of a batch, or all operations of a product

    def given(self) -> list[Any]:
        """The arguments, the same in every process; numbers stay numbers, arrays have the workload's dtype."""
        drawn = self.arguments(np.random.default_rng(0))
        return [a if isinstance(a, float) else placed(np.asarray(a, self.dtype)) for a in drawn]


@dataclass(frozen=True)
class Family:
    """Workloads whose times stand in one table, in one unit."""

    name: str
    title: str
    says: str  # what a time of this table is
    unit: str
    seconds: float  # of one unit
    workloads: Sequence[Workload]
    pairs: Sequence[tuple[str, str]]  # ours beside the hand-written: each pair a column of ratios
    peers: Mapping[str, str]  # each with which of ours does the same work: writes into given arrays, or makes new ones
    aims: Sequence[Aim] = ()  # what the ratios are to be
    titles: Mapping[tuple[str, str], str] = field(default_factory=dict)  # of pairs; "ours / theirs" by default
    yardsticks: Sequence[str] = ()  # entries that answer nothing: what the machine can do at most
    per_second: bool = False  # the table of times shows how many there are in so many seconds, not how long one takes
    environment: Mapping[str, str] = field(default_factory=dict)  # of its processes
    threads: Mapping[str, int] = field(default_factory=dict)  # of entries that run in several
    by_clock: bool = False  # times are the clock's, not the processor's, which several threads spend at once


#: Bytes at a multiple of which arrays begin, in every process: those of a line of the cache, and of a vector. Where the
#: heap has them, 16 bytes behind a line or at one, least squares of 1000 x 500 takes 61 or 53 us, by hand 63 or 56.
LINE = 64


def placed(a: np.ndarray) -> np.ndarray:
    """A copy of an array that begins where a line of the cache does."""
    room = np.empty(a.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def arrays_of(answer: Sequence[Any]) -> list[np.ndarray]:
    """An answer as copies that stay as they are when the entry is called again."""
    return [np.array(a, dtype=np.float64) for a in answer]
