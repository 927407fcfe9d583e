"""In place: arrays that are computed in the memory of what their loop reads last, element by element.

    t[i] = a[i] - b[i]                     y[i] = a[i] - b[i]
    y[i] = exp(t[i] - most)          ->    y[i] = exp(y[i] - most)

In: the units of a function, and the lifetimes of what they store. Out: which buffer takes the place of which, which
result that of which buffer, and what only the same row reads but may lie in the rows of an array that is written in the
same loop over rows, and later. Guarantee: nothing is read behind the statement that writes over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..graph import Node
from ..registry import lookup
from .fusion import Unit
from .memory import Lifetime
from .rows import Rows, is_same_row, reads_of

if TYPE_CHECKING:
    from .storage import Storage

__all__ = ["InPlace", "in_place"]


@dataclass(frozen=True)
class InPlace:
    """What takes the place of what: a buffer of a buffer (`over`), a result of a buffer (`under` it, by its name).

    `hosts`: the whole array in whose rows a buffer lies that would have memory for one row. `replaced` are all of them,
    by what is written there: what the same loop reads behind it must have a name by then.
    """

    over: dict[int, int] = field(default_factory=dict)
    under: dict[str, int] = field(default_factory=dict)
    hosts: dict[int, int] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)


def in_place(
    storage: Storage, lifetimes: Mapping[int, Lifetime], times: Sequence[range], results: Mapping[int, str]
) -> InPlace:
    """What may be done so in a function; `results` are the values that are computed in memory of results."""
    slots, joined = storage.slots, storage.units.joined
    apart = {key for pair in joined.items() for key in (pair[0], pair[1][0])}
    apart |= {key for key, slot in slots.items() if slot.ahead != 0}
    apart |= storage.units.again  # written over more than once
    found, taken = InPlace(), set[int]()
    replaced = found.replaced
    for unit, time in zip(storage.units.order, times, strict=True):
        if not any((n.key in lifetimes or n.key in results) and n.key not in apart for n in unit.nodes):
            continue
        for n, key in _pairs(storage, unit, time, lifetimes):
            wanted = (n.key in lifetimes or n.key in results) and n.key not in apart and n.key not in replaced
            if wanted and key in lifetimes and key not in apart and key not in taken:
                replaced[n.key] = key
                taken.add(key)
    for unit, time in zip(storage.units.order, times, strict=True):
        if unit.rows is not None:
            found.hosts.update(_hosts(storage, unit.rows, time, lifetimes, {*results} - apart, apart, replaced))
    for new, old in replaced.items():
        if old not in found.hosts and new not in found.hosts:
            if new in results:
                found.under[results[new]] = old
            else:
                found.over[new] = old
    return found


def _pairs(storage: Storage, unit: Unit, time: range, lifetimes: Mapping[int, Lifetime]) -> Iterator[tuple[Node, int]]:
    """What a unit makes, with what it reads last, and only where it writes."""
    if unit.rows is not None:
        yield from _pairs_in_rows(storage, unit.rows, time, lifetimes)
        return
    ending = {key for n in unit.nodes for key in storage.units.reads[n.key] if _ends(lifetimes.get(key), time.start)}
    if unit.shared:
        yield from _read_last(storage, unit.nodes, ending)
    elif len(unit.nodes) == 1:
        (n,) = unit.nodes
        yield from ((n, key) for key in storage.units.reads[n.key] if key in ending and storage.takes_over(n, key))


def _ends(life: Lifetime | None, moment: int) -> bool:
    """Whether something made before is read last at this moment."""
    return life is not None and life[1] < moment == life[2]


def _read_last(storage: Storage, nodes: Sequence[Node], ending: set[int]) -> Iterator[tuple[Node, int]]:
    """Element-wise results of one loop with those of `ending` that it has read by then, and only at its own place."""
    reads, graph = storage.units.reads, storage.graph
    elsewhere = {key for m in nodes for key, here in reads[m.key].items() if not here}
    first = {key: number for number, m in reversed([*enumerate(nodes)]) for key in reads[m.key] if key in ending}
    for own in (True, False):  # best by what is computed from it
        for number, n in enumerate(nodes):
            for key in first if lookup(n.op).kind == "elementwise" else ():
                right = key in reads[n.key] if own else first[key] < number
                if right and key not in elsewhere and graph.node(key).type == n.type:
                    yield n, key


def _pairs_in_rows(
    storage: Storage, rows: Rows, time: range, lifetimes: Mapping[int, Lifetime]
) -> Iterator[tuple[Node, int]]:
    """The same for the inner loops of a loop over rows, where what other inner loops read must be of the same row."""
    ends: dict[int, int] = {}  # of what other rows do not read: when a row reads it last
    far: set[int] = set()
    for moment, inner in zip(time, rows.inner, strict=True):
        for n in inner.nodes:
            ends.update(dict.fromkeys(storage.units.reads[n.key], moment))
            for key, at in reads_of(storage.graph, n, storage.units.virtual, storage.units.aliases):
                if not is_same_row(storage.graph, key, at, rows.shape):
                    far.add(key)
    for moment, inner in zip(time, rows.inner, strict=True):
        ending = {
            key
            for key, end in ends.items()
            if end == moment
            and key not in far
            and key in lifetimes
            and _is_over(storage, key, lifetimes[key], time, end)
        }
        for n, key in _read_last(storage, inner.nodes, ending):
            if n.key not in storage.row_buffers or key in storage.row_buffers:
                yield n, key


def _is_over(storage: Storage, key: int, life: Lifetime, time: range, end: int) -> bool:
    """Whether nothing behind the loop over rows reads a value, which was made before `end`."""
    return _ends(life, end) if key in storage.row_buffers else life[1] < time.start and life[2] == time[-1]


def _hosts(
    storage: Storage,
    rows: Rows,
    time: range,
    lifetimes: Mapping[int, Lifetime],
    results: set[int],
    apart: set[int],
    replaced: Mapping[int, int],
) -> dict[int, int]:
    """Buffers of a row that lie in the rows of a whole array: all that is over before a row of that is written."""
    found: dict[int, int] = {}
    rests = {*replaced.values(), *apart}
    tops = [n.key for n in rows.nodes if n.key in storage.row_buffers and n.key not in rests]

    def chain(key: int) -> list[int]:
        keys = [key]
        while keys[-1] in replaced:
            keys.append(replaced[keys[-1]])
        return keys

    for moment, inner in zip(time, rows.inner, strict=True):
        for n in inner.nodes:
            whole = (n.key in lifetimes or n.key in results) and n.key not in apart and n.key not in storage.row_buffers
            if not whole or rows.role(storage.graph, n) != "element":
                continue
            inside = chain(n.key)[1:]
            if inside and inside[0] not in storage.row_buffers:  # a whole array, which is read until then
                continue
            first = lifetimes[inside[-1]][1] if inside else moment
            for top in reversed(tops):
                if top not in found and storage.graph.node(top).type == n.type and lifetimes[top][2] < first:
                    inside += chain(top)
                    first = lifetimes[inside[-1]][1]
            found |= dict.fromkeys(inside, n.key)
    return found
