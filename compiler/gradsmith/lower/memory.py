"""Memory: places of buffers in one workspace, so that buffers not alive together share it.

In: sizes with the first and last unit that needs each. Out: an offset for each and the total. First fit over the
buffers in order of birth, or from the largest to the smallest; the same input always gives the same plan.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from operator import itemgetter

from ..dims import Dim, Extent, certainly_at_most, extent
from ..types import Type

__all__ = ["Lifetime", "larger", "place_buffers", "room"]

_NOTHING: Mapping[int, int] = {}
_MOST = 256  # buffers, of which more than one order is tried
_Entry = tuple[Extent, Extent, int, int]
Lifetime = tuple[Extent, int, int]  # size, first unit, last unit


def place_buffers(
    lifetimes: Mapping[int, Lifetime],
    line: int = 1,
    ahead: Mapping[int, int] = _NOTHING,
    over: Mapping[int, int] = _NOTHING,
) -> tuple[dict[int, Extent], Extent]:
    """Offsets by key, and the size of the workspace.

    Buffers in `ahead` have so many elements ahead of the one that is at a multiple of `line`, if places are known. One
    in `over` may take the place of that other one, which is read last where it is born.

    >>> place_buffers({1: (8, 0, 1), 2: (4, 1, 2), 3: (8, 2, 3)})
    ({1: 0, 2: 8, 3: 0}, 12)
    >>> place_buffers({1: (3, 0, 1), 2: (9, 1, 2)}, 8, {2: 1})
    ({1: 0, 2: 7}, 16)
    >>> place_buffers({1: (8, 0, 1), 2: (8, 1, 2)}, over={2: 1})
    ({1: 0, 2: 0}, 8)

    The largest first, where that takes less:

    >>> place_buffers({1: (1, 0, 1), 2: (4, 0, 2), 3: (5, 2, 3)})
    ({1: 0, 2: 5, 3: 0}, 9)
    """
    merged, places = dict(lifetimes), {key: key for key in lifetimes}
    for key in sorted(over, key=lambda key: (lifetimes[key][1], key)):
        place = places[key] = places[over[key]]
        merged[place] = (*merged[place][:2], merged.pop(key)[2])
    best: tuple[dict[int, Extent], Extent] | None = None
    for some in (merged, lifetimes) if over else (lifetimes,):
        born = sorted(some, key=lambda key: (some[key][1], key))
        orders = [born]
        if len(some) <= _MOST and all(isinstance(size, int) for size, _, _ in some.values()):
            orders.append(sorted(born, key=lambda key: some[key][0], reverse=True))
        plain = all(isinstance(size, int) and size > 0 and first <= last for size, first, last in some.values())
        for order in orders:
            if order is born and plain:
                offsets, total = _placed_by_birth(some, order, line, ahead)
            else:
                offsets, total = _placed(some, order, line, ahead, order is born)
            if best is None or (total != best[1] and certainly_at_most(total, best[1])):
                best = {key: offsets[key if key in some else places[key]] for key in lifetimes}, total
    assert best is not None
    return best


def _placed(
    lifetimes: Mapping[int, Lifetime], order: Sequence[int], line: int, ahead: Mapping[int, int], by_birth: bool
) -> tuple[dict[int, Extent], Extent]:
    """Each at the first place where nothing is that was placed before and is alive at the same time."""
    offsets: dict[int, Extent] = {}
    placed: list[_Entry] = []  # offset, size, first and last unit; by offset
    total: Extent = 0
    known = all(isinstance(size, int) for size, _, _ in lifetimes.values())
    for key in order:
        size, first, last = lifetimes[key]
        beside = [entry for entry in placed if entry[3] >= first and entry[2] <= last]
        lead = ahead.get(key)
        offset = _at_line(0, line, lead)
        for number, (start, length, _, _) in enumerate(beside):
            if known and offset + size <= start:  # as are the places behind it
                break
            if not known and all(certainly_at_most(offset + size, other[0]) for other in beside[number:]):
                break
            offset = _at_line(larger(offset, start + length), line, lead)
        offsets[key] = offset
        placed = beside if by_birth else placed  # what has died stays dead
        if known:
            insort(placed, (offset, size, first, last), key=itemgetter(0))
        else:
            placed = sorted([*placed, (offset, size, first, last)], key=cmp_to_key(_earlier))
        total = larger(total, offset + size)
    return offsets, total


def _placed_by_birth(
    lifetimes: Mapping[int, Lifetime], order: Sequence[int], line: int, ahead: Mapping[int, int]
) -> tuple[dict[int, Extent], Extent]:
    """What `_placed` gives for known sizes in order of birth, by a look at the free places, which are few."""
    offsets: dict[int, Extent] = {}
    starts, ends = [0], list[float]([math.inf])  # of the free places
    alive: list[tuple[int, int, int]] = []  # last unit, offset, end
    total = 0
    for key in order:
        size, first, last = lifetimes[key]
        while alive and alive[0][0] < first:
            _, low, high = heapq.heappop(alive)
            at = bisect_left(starts, low)  # of the free place behind it
            joined = at > 0 and ends[at - 1] == low
            if at < len(starts) and starts[at] == high:
                starts[at] = low
                if joined:
                    ends[at - 1] = ends[at]
                    del starts[at], ends[at]
            elif joined:
                ends[at - 1] = high
            else:
                starts.insert(at, low)
                ends.insert(at, high)
        lead = ahead.get(key)
        assert isinstance(size, int)
        for at, (start, end) in enumerate(zip(starts, ends, strict=True)):  # noqa: B007 - the last one has no end
            offset = start if lead is None else start + -(start + lead) % line
            if offset + size <= end:
                break
        left = [(low, high) for low, high in ((start, offset), (offset + size, end)) if low < high]
        starts[at : at + 1] = [low for low, _ in left]
        ends[at : at + 1] = [high for _, high in left]
        offsets[key] = offset
        heapq.heappush(alive, (last, offset, offset + size))
        total = max(total, offset + size)
    return offsets, total


def _at_line(offset: Extent, line: int, ahead: int | None) -> Extent:
    """The first place from `offset` on with `ahead` elements in front of the beginning of a line."""
    return offset if ahead is None or isinstance(offset, Dim) else offset + -(offset + ahead) % line


def _earlier(one: _Entry, other: _Entry) -> int:
    """By offset; where that is not known, in any order."""
    return -int(certainly_at_most(one[0], other[0])) or int(certainly_at_most(other[0], one[0]))


def room(type: Type) -> Extent:
    """The elements of a buffer for values of `type`: at least one, as C has no arrays of none."""
    return type.size if isinstance(type.size, Dim) else max(1, type.size)


def larger(one: Extent, other: Extent) -> Extent:
    """The larger of two sizes; where that is not known, the least size that is certainly as large as both."""
    if certainly_at_most(one, other):
        return other
    if certainly_at_most(other, one):
        return one
    pair = [dict(size.terms) if isinstance(size, Dim) else {(): size} for size in (one, other)]
    return extent({factors: max(terms.get(factors, 0) for terms in pair) for factors in pair[0] | pair[1]})
