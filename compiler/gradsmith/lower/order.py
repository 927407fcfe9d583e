"""Order: the statements of straight-line code so that few values wait at a time, for those in registers cost nothing.

In: what each statement reads and whether it makes a value (or stores one). Out: an order of the same statements. What
is computed, and from what, does not change. Guarantee: a statement stands behind all that it reads; time is linear.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["most_waiting", "with_few_waiting"]


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
