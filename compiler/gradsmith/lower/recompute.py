"""Recompute: cheap element-wise values that are computed again where they are read, instead of being stored.

In: a schedule. Out: the values that should be computed in place, in each of their readers. To store a value costs a
store, and memory until it is read last; to compute it again costs its operations, and loads beyond the one that reading
it would have been. Both are counted for each place where another loop reads it; `Tuning.recompute_operations` says how
much a store is worth. What is read in its place must be in memory anyway, and for as long: then nothing else is stored
for it, and the workspace can only shrink. Results are the same to the last bit. In a loop over rows, what has memory
for one row is computed again in the last inner loop that reads it, by the same measure.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from ..cost import count_of
from ..dims import certainly_at_most
from ..graph import Graph, Node
from ..registry import Reduction, lookup
from .rows import Rows, is_per_row, reads_of

if TYPE_CHECKING:
    from .fusion import Units

__all__ = ["CHEAP", "operations_of", "recomputed", "repeated_in_rows"]

CHEAP = frozenset({"add", "sub", "mul", "neg", "abs", "select", "compare"})  # as fast as a load


def recomputed(
    graph: Graph, units: Units, outputs: Container[int], kept: set[int], state: Container[int], budget: int
) -> frozenset[int]:
    """The stored values of `units` that are cheaper to compute again; never those in `kept`.

    `outputs` stay in memory until the end; `state` is replaced where it is read last.
    """
    if not any(unit.shared for unit in units.order):
        return frozenset()
    when = {n.key: number for number, unit in enumerate(units.order) for n in unit.nodes}
    in_rows = {n.key for unit in units.order if unit.rows is not None for n in unit.nodes}
    readers: dict[int, list[Node]] = {}
    for unit in units.order:
        for n in unit.nodes:
            for key in units.reads[n.key]:
                readers.setdefault(key, []).append(n)
    found: set[int] = set()
    for unit in units.order:
        for n in unit.nodes if unit.shared else ():
            later = [m for m in readers.get(n.key, ()) if when[m.key] != when[n.key]]
            if not later or n.key in kept or in_rows & {m.key for m in later} or found & units.reads[n.key].keys():
                continue
            operations = operations_of(graph, n, units)
            sources = [key for key in units.reads[n.key] if graph.node(key).type.shape]
            if operations is None or not sources or not all(units.reads[n.key][key] for key in sources):
                continue
            last = max(when[m.key] for m in later)
            in_memory = all(_in_memory(graph, key, n, when, readers, kept) for key in sources)
            others = {key: (m.key for m in reversed(readers[key]) if m.key != n.key) for key in sources}
            ends = {key: when.get(next(keys, -1), -1) for key, keys in others.items()}  # the last one stands first
            replaced = any(key in state and ends[key] <= last for key in sources)
            shorter = [key for key in sources if not (_stays(graph, key, outputs) or ends[key] >= last)]
            places = sum(_places(graph, m, n, units) for m in later)
            if in_memory and not replaced and len(shorter) <= 1 and places * (operations + len(sources) - 1) <= budget:
                found.add(n.key)
    return frozenset(found)


_Reads = Mapping[int, Mapping[int, bool]]


def repeated_in_rows(
    graph: Graph, units: Units, kept: set[int], budget: int
) -> tuple[_Reads, Mapping[int, frozenset[int]]]:
    """What loops over rows read, and which values their nodes compute again, where that makes room for another one.

    A value of a row is computed again in the last inner loop that reads it, if no other loop behind its own does, or if
    another such value is made before that: it can take the place.
    """
    reads = dict(units.reads)
    repeated: dict[int, frozenset[int]] = {}
    rows = [unit for unit in units.order if unit.rows is not None and not unit.rows.block]
    read_in: dict[int, list[Node]] = {}
    for m in (m for unit in units.order if rows for m in unit.nodes):
        for key in reads[m.key]:
            read_in.setdefault(key, []).append(m)
    for unit in rows:
        assert unit.rows is not None
        inner_of = {n.key: k for k, inner in enumerate(unit.rows.inner) for n in inner.nodes}
        for n in unit.nodes:
            readers = read_in.get(n.key, [])
            if (
                n.key in kept
                or is_per_row(n.type.shape, unit.rows.shape)
                or not {m.key for m in readers} <= {*inner_of}
            ):
                continue
            loops = sorted({inner_of[m.key] for m in readers} - {inner_of[n.key]})
            others = (m for m in unit.nodes if m.type == n.type and m.key != n.key and loops)
            if not loops or (len(loops) > 1 and not any(loops[-2] <= inner_of[m.key] < loops[-1] for m in others)):
                continue
            late = [m for m in readers if inner_of[m.key] == loops[-1]]
            operations, sources = operations_of(graph, n, units), _sources(graph, n, units, unit.rows)
            if operations is None or not sources or any(_places(graph, m, n, units) == _MANY for m in late):
                continue
            found = (read for m in late for read in reads_of(graph, m, units.virtual, units.aliases))
            places = {at for key, at in found if key == n.key}
            if len(places) * (operations + len(sources) - 1) <= budget:
                for m in late:
                    same, rest = reads[m.key][n.key], {key: at for key, at in reads[m.key].items() if key != n.key}
                    more = {key: at and same and rest.get(key, True) for key, at in reads[n.key].items()}
                    reads[m.key] = rest | more
                    repeated[m.key] = repeated.get(m.key, frozenset()) | {n.key}
    return reads, repeated


def _sources(graph: Graph, n: Node, units: Units, rows: Rows) -> list[int]:
    """The arrays that `n` is computed from at its own place, if there is nothing else but variables of the row."""
    found: list[int] = []
    made = {m.key for m in rows.nodes}
    for key, here in units.reads[n.key].items():
        shape = graph.node(key).type.shape
        if not shape or (key in made and is_per_row(shape, rows.shape)):
            continue
        if key in made or not here:
            return []
        found.append(key)
    return found


def operations_of(graph: Graph, n: Node, units: Units) -> int | None:
    """How many operations an element of `n` takes from what is stored, or None where one is not cheap."""
    total, stack = 0, [n]
    while stack:
        m = stack.pop()
        if lookup(m.op).kind != "elementwise" or not CHEAP.issuperset(count_of(graph, m)):
            return None
        total += 1
        for a in map(graph.node, m.args):
            if a.key in units.virtual and lookup(a.op).kind == "elementwise":
                stack.append(a)
            elif a.type.shape not in ((), n.type.shape) or (a.key in units.virtual and a.op != "broadcast_to"):
                return None
    return total


def _places(graph: Graph, reader: Node, n: Node, units: Units) -> int:
    """At how many places of `n` an element of `reader` is computed from; many, where it is computed more often."""
    op = lookup(reader.op)
    walked = graph.node(reader.args[0]) if isinstance(op.structure, Reduction) else reader
    if op.kind not in ("elementwise", "layout", "assembly", "reduction"):
        return _MANY
    if not certainly_at_most(walked.type.size, n.type.size) and op.kind != "assembly":
        return _MANY
    return max(1, sum(key == n.key for key, _ in reads_of(graph, reader, units.virtual, units.aliases)))


_MANY = 1_000_000


def _in_memory(
    graph: Graph, key: int, n: Node, when: Mapping[int, int], readers: Mapping[int, list[Node]], kept: set[int]
) -> bool:
    """Whether `key`, which `n` is computed from, is in memory even if nothing but `n` is changed."""
    if key not in when:  # an argument, a constant, or a result of a loop
        return True
    return key in kept or when[n.key] != when[key] or any(when[m.key] != when[key] for m in readers[key])


def _stays(graph: Graph, key: int, outputs: Container[int]) -> bool:
    """Whether `key` is in memory until the end, whoever reads it."""
    return key in outputs or lookup(graph.node(key).op).kind == "leaf"
