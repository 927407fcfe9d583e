"""Memory: places of buffers in one workspace, so that buffers not alive together share it.

In: sizes with the first and last unit that needs each. Out: an offset for each and the total. First fit over the
buffers in order of birth; the same input always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Lifetime", "place_buffers"]

Lifetime = tuple[int, int, int]  # size, first unit, last unit


def place_buffers(lifetimes: Mapping[int, Lifetime]) -> tuple[dict[int, int], int]:
    """Offsets by key, and the size of the workspace.

    >>> place_buffers({1: (8, 0, 1), 2: (4, 1, 2), 3: (8, 2, 3)})
    ({1: 0, 2: 8, 3: 0}, 12)
    """
    offsets: dict[int, int] = {}
    alive: list[tuple[int, int, int]] = []  # offset, size, last unit; sorted by offset
    total = 0
    for key, (size, first, last) in sorted(lifetimes.items(), key=lambda item: (item[1][1], item[0])):
        alive = [entry for entry in alive if entry[2] >= first]
        offset = 0
        for start, length, _ in alive:
            if offset + size <= start:
                break
            offset = max(offset, start + length)
        offsets[key] = offset
        alive = sorted([*alive, (offset, size, last)])
        total = max(total, offset + size)
    return offsets, total
