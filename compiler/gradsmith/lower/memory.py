"""Memory: places of buffers in one workspace, so that buffers not alive together share it.

In: sizes with the first and last unit that needs each. Out: an offset for each and the total. First fit over the
buffers in order of birth; the same input always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cmp_to_key

from ..dims import Dim, Extent, certainly_at_most, extent
from ..types import Type

__all__ = ["Lifetime", "larger", "place_buffers", "room"]

_NOTHING: Mapping[int, int] = {}
_Entry = tuple[Extent, Extent, int]
Lifetime = tuple[Extent, int, int]  # size, first unit, last unit


def place_buffers(
    lifetimes: Mapping[int, Lifetime],
    line: int = 1,
    ahead: Mapping[int, int] = _NOTHING,
    over: Mapping[int, int] = _NOTHING,
) -> tuple[dict[int, Extent], Extent]:
    """Offsets by key, and the size of the workspace.

    Buffers in `ahead` have so many elements ahead of the one that is at a multiple of `line`, if places are known. One
    in `over` takes the place of that other one, which is read last where it is born.

    >>> place_buffers({1: (8, 0, 1), 2: (4, 1, 2), 3: (8, 2, 3)})
    ({1: 0, 2: 8, 3: 0}, 12)
    >>> place_buffers({1: (3, 0, 1), 2: (9, 1, 2)}, 8, {2: 1})
    ({1: 0, 2: 7}, 16)
    >>> place_buffers({1: (8, 0, 1), 2: (8, 1, 2)}, over={2: 1})
    ({1: 0, 2: 0}, 8)
    """
    offsets: dict[int, Extent] = {}
    alive: list[_Entry] = []  # offset, size, last unit
    total: Extent = 0
    for key, (size, first, last) in sorted(lifetimes.items(), key=lambda item: (item[1][1], item[0])):
        alive = [entry for entry in alive if entry[2] >= first]
        if key in over:
            offsets[key] = offsets[over[key]]
            alive = [(*e[:2], last) if e[0] == offsets[key] else e for e in alive]
            continue
        offset: Extent = 0
        lead = ahead.get(key)
        offset = _at_line(offset, line, lead)
        for number, (start, length, _) in enumerate(alive):
            if all(certainly_at_most(offset + size, other) for other, _, _ in alive[number:]):
                break
            offset = _at_line(larger(offset, start + length), line, lead)
        offsets[key] = offset
        alive = sorted([*alive, (offset, size, last)], key=cmp_to_key(_earlier))
        total = larger(total, offset + size)
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
