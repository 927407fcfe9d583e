"""Order: the statements of straight-line code so that few values wait at a time, and choices stand together.

Values in registers cost nothing, and choices on one condition that follow each other are one branch for a C compiler.

In: what each statement reads and whether it makes a value (or stores one), or which condition it asks. Out: an order of
the same statements. What is computed, and from what, does not change. Guarantee: a statement stands behind all that it
reads; time is linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["most_waiting", "with_choices_together", "with_few_waiting"]

_NEAR = 64  # statements, over which choices are brought together ...
_TOGETHER = 8  # ... so many at most: their values wait for each other


def with_few_waiting(reads: Sequence[Sequence[int]], makes: Sequence[bool]) -> list[int]:
    """An order in which statements come as late as their readers let them, or where they free as much as they make.

    `reads[i]` are the statements whose values number i reads, each once.

    The slope of each term of a sum is stored when its term is computed, and not behind the last of them:

    >>> #        x   y   x*x  y*y  their sum      2*x    2*y
    >>> with_few_waiting([[], [], [0], [1], [2, 3], [0], [1]], [True, True, True, True, False, False, False])
    [0, 5, 2, 1, 6, 3, 4]
    """
    readers: list[list[int]] = [[] for _ in reads]
    for i, read in enumerate(reads):
        for a in read:
            readers[a].append(i)
    unread = [len(r) for r in readers]  # readers to come ...
    which = [sum(r) for r in readers]  # ... and the sum of their numbers: of a last one, its number
    missing = [len(read) for read in reads]
    frees = [0] * len(reads)
    for a, left in enumerate(unread):
        if left == 1:
            frees[which[a]] += 1
    done = [False] * len(reads)
    order: list[int] = []

    def take(first: int) -> None:
        """`first`, and what costs no room now that it is there."""
        ready = [first]
        while ready:
            i = ready.pop()
            if done[i]:
                continue
            done[i] = True
            order.append(i)
            changed = readers[i]
            for reader in changed:
                missing[reader] -= 1
            for a in reads[i]:
                unread[a] = left = unread[a] - 1
                which[a] = last = which[a] - i
                if left == 1:
                    frees[last] += 1
                    changed = [*changed, last]
            for r in changed:
                if not (missing[r] or done[r]) and frees[r] >= makes[r]:
                    ready.append(r)

    ends = [i for i, r in enumerate(readers) if not r]
    for end in ends:
        wanted = [end]
        while wanted:
            lacking = [a for a in reads[wanted[-1]] if not done[a]] if not done[wanted[-1]] else []
            if lacking:
                wanted.append(lacking[0])
            else:
                i = wanted.pop()
                if not done[i]:
                    take(i)
    return order


def with_choices_together(order: Sequence[int], reads: Sequence[Sequence[int]], asks: Mapping[int, int]) -> list[int]:
    """`order` with choices on one condition behind each other, and nothing between them but what they need.

    `asks` has the condition of each choice. What needs no choice goes up, and what no other choice needs goes down.

    >>> #                a   b   ok  u = ok ? a : b, f(u), v = ok ? b : a, g(v), w = ok ? g(v) : a
    >>> reads = [[], [], [], [2, 0, 1], [3], [2, 1, 0], [5], [2, 6, 0]]
    >>> with_choices_together(range(8), reads, {3: 2, 5: 2, 7: 2})
    [0, 1, 2, 3, 5, 6, 7, 4]
    """
    found: list[int] = []
    ahead = [*reversed(order)]
    placed: set[int] = set()
    while ahead:
        first = ahead.pop()
        if first not in asks or first in placed:
            found.append(first)
            continue
        near = [first, *ahead[: -_NEAR - 1 : -1]]
        together: dict[int, int] = {}  # choices ...
        level: dict[int, int] = {}  # ... how many of them come before one another; the same of what reads them
        last = 0
        for k, i in enumerate(near):
            below = max((level[a] for a in reads[i] if a in level), default=0)
            if asks.get(i) == asks[first] and i not in placed and len(together) < _TOGETHER:
                together[i] = level[i] = below + 1
                last = k
            elif below:
                level[i] = below
        placed.update(together)
        if len(together) < 2:
            found.append(first)
            continue
        del near[last + 1 :]
        needed = {*together}
        for i in reversed(near):
            if i in needed:
                needed.update(a for a in reads[i] if a in level)
        block = sorted((i for i in near if i in needed), key=lambda i: (level[i], i not in together))
        rest = [i for i in near if i in level and i not in needed]
        del ahead[len(ahead) + 1 - len(near) :]
        ahead += reversed([*(i for i in near if i not in level), *block, *rest])
    return found


def most_waiting(order: Sequence[int], reads: Sequence[Sequence[int]], makes: Sequence[bool]) -> int:
    """The most values that are there at a time, made and still to be read."""
    last = {a: place for place, i in enumerate(order) for a in reads[i]}
    ends = [0] * (len(order) + 1)
    for place in last.values():
        ends[place] += 1
    now = most = 0
    for place, i in enumerate(order):
        now += makes[i] and i in last
        most = max(most, now)
        now -= ends[place]
    return most
