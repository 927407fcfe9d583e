"""Memory: places of buffers in one workspace, or in results not yet written, shared by those not alive together.

In: sizes with the first and last unit that needs each. Out: an offset for each and the total. First fit over the
buffers in order of birth, or from the largest to the smallest; the same input always gives the same plan.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from operator import itemgetter

from ..dims import Dim, Extent, certainly_at_most, extent
from ..types import Type

__all__ = ["Lifetime", "Place", "larger", "place_buffers", "place_in_results", "room"]

_NOTHING: Mapping[int, int] = {}
_NO_RESULTS: Mapping[str, int] = {}
_MOST = 256  # buffers, of which more than one order is tried
_WORTH = 8  # parts of a workspace, of which one at least is saved by buffers in results
_FEW = 32  # buffers in results, of which each is tried in the workspace again
_Entry = tuple[Extent, Extent, int, int]
Lifetime = tuple[Extent, int, int]  # size, first unit, last unit
Place = tuple[str, Extent]  # a result, or "" for the workspace, and the offset in it


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


def place_in_results(
    lifetimes: Mapping[int, Lifetime],
    results: Mapping[str, tuple[Extent, int]],
    line: int = 1,
    ahead: Mapping[int, int] = _NOTHING,
    over: Mapping[int, int] = _NOTHING,
    under: Mapping[str, int] = _NO_RESULTS,
) -> tuple[dict[int, Place], Extent]:
    """As `place_buffers`, where buffers may lie in `results`: each place with the name of its result, or "".

    A result has so many elements, and a unit that writes it first; what it has `under` itself is read last in that
    unit, and it may take its place. Other buffers lie in results only where the workspace is an eighth smaller by that
    at least, as nobody knows how results are aligned.

    >>> place_in_results({1: (8, 0, 1), 2: (8, 0, 2)}, {"y": (9, 2)})
    ({1: ('y', 0), 2: ('', 0)}, 8)
    >>> place_in_results({1: (8, 0, 1), 2: (8, 1, 2)}, {"y": (8, 2)}, over={2: 1}, under={"y": 2})
    ({1: ('y', 0), 2: ('y', 0)}, 0)
    >>> place_in_results({1: (8, 0, 1), 2: (8, 2, 3)}, {"y": (8, 2)})
    ({1: ('', 0), 2: ('', 0)}, 8)
    """
    found: dict[int, Place] = {}
    free = dict(results)
    for name, last in under.items():
        key, (most, written) = last, free[name]
        while key in lifetimes and certainly_at_most(lifetimes[key][0], most):
            found[key] = name, 0
            written = min(written, lifetimes[key][1])
            key = over.get(key, -1)
        free[name] = most, written

    def planned(elsewhere: Mapping[int, Place]) -> tuple[dict[int, Extent], Extent]:
        left = {key: life for key, life in lifetimes.items() if key not in found and key not in elsewhere}
        return place_buffers(left, line, ahead, {key: old for key, old in over.items() if key in left and old in left})

    offsets, total = planned({})
    chains = _chains({key: life for key, life in lifetimes.items() if key not in found}, over)
    inside = _fitted({chain: _life(chain, lifetimes) for chain in chains}, free, line, ahead) if total != 0 else {}
    places = {key: place for chain, place in inside.items() for key in chain}
    fewer, least = planned(places) if places else (offsets, total)
    if places and certainly_at_most(_WORTH * least, (_WORTH - 1) * total):
        for chain in reversed(inside) if len(inside) <= _FEW else ():
            without = {key: place for key, place in places.items() if key not in chain}
            again, size = planned(without)
            if certainly_at_most(size, least):
                places, fewer, least = without, again, size
        found, offsets, total = found | places, fewer, least
    return {key: found[key] if key in found else ("", offsets[key]) for key in lifetimes}, total


def _chains(lifetimes: Mapping[int, Lifetime], over: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Buffers that have one place, one after another: those that take the place of others, and the rest each alone."""
    chains: dict[int, tuple[int, ...]] = {}  # by the last of each
    for key in sorted(lifetimes, key=lambda key: (lifetimes[key][1], key)):
        chains[key] = (*chains.pop(over[key], (over[key],)), key) if key in over else (key,)
    return list(chains.values())


def _life(chain: Sequence[int], lifetimes: Mapping[int, Lifetime]) -> Lifetime:
    size, first, _ = lifetimes[chain[0]]
    return size, first, lifetimes[chain[-1]][2]


def _fitted(
    lives: Mapping[tuple[int, ...], Lifetime],
    free: Mapping[str, tuple[Extent, int]],
    line: int,
    ahead: Mapping[int, int],
) -> dict[tuple[int, ...], Place]:
    """Which buffers have room in results before these are written, the largest first, each in the smallest."""
    results, order = list(free), list(lives)
    if all(isinstance(free[name][0], int) for name in results):
        results.sort(key=lambda name: free[name][0])
    if all(isinstance(size, int) for size, _, _ in lives.values()):
        order.sort(key=lambda chain: lives[chain][0], reverse=True)
    placed: dict[str, list[_Entry]] = {name: [] for name in results}
    found: dict[tuple[int, ...], Place] = {}
    for chain in order:
        size, first, last = lives[chain]
        for name in results:
            most, written = free[name]
            if last >= written or not certainly_at_most(size, most):
                continue
            beside = [entry for entry in placed[name] if entry[3] >= first and entry[2] <= last]
            offset = _first_place(beside, size, line, ahead.get(chain[0]))
            if certainly_at_most(offset + size, most):
                found[chain] = name, offset
                placed[name] = _by_offset([*placed[name], (offset, size, first, last)])
                break
    return found


def _placed(
    lifetimes: Mapping[int, Lifetime], order: Sequence[int], line: int, ahead: Mapping[int, int], by_birth: bool
) -> tuple[dict[int, Extent], Extent]:
    """Each at the first place where nothing is that was placed before and is alive at the same time."""
    offsets: dict[int, Extent] = {}
    placed: list[_Entry] = []  # offset, size, first and last unit; by offset
    total: Extent = 0
    for key in order:
        size, first, last = lifetimes[key]
        beside = [entry for entry in placed if entry[3] >= first and entry[2] <= last]
        offset = offsets[key] = _first_place(beside, size, line, ahead.get(key))
        placed = beside if by_birth else placed  # what has died stays dead
        placed = _by_offset([*placed, (offset, size, first, last)])
        total = larger(total, offset + size)
    return offsets, total


def _first_place(beside: Sequence[_Entry], size: Extent, line: int, lead: int | None) -> Extent:
    """The first offset at which nothing lies of what is alive at the same time, which is in order of offsets."""
    offset = _at_line(0, line, lead)
    known = isinstance(size, int) and all(isinstance(entry[0] + entry[1], int) for entry in beside)
    for number, (start, length, _, _) in enumerate(beside):
        if known and offset + size <= start:  # as are the places behind it
            break
        if not known and all(certainly_at_most(offset + size, other[0]) for other in beside[number:]):
            break
        offset = _at_line(larger(offset, start + length), line, lead)
    return offset


def _by_offset(entries: list[_Entry]) -> list[_Entry]:
    known = all(isinstance(offset, int) for offset, _, _, _ in entries)
    return sorted(entries, key=itemgetter(0) if known else cmp_to_key(_earlier))


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
