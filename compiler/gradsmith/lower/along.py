"""Along: sums that are added up in the loop that writes a gradient, so that both read the arguments once.

    for i: t[i] = …, sum += f(t[i])          d[0] = …, sum += …
    for i: d[i] = g(t[i], t[i - 1])     ->   for i: d[i] = g(t, what t was before), sum += f(t)
                                             d[n] = …

In: a schedule. Out: the sums, and the accumulated result (of parts that lie side by side, see `stretches`) in whose
loop they are to be added; what both are computed from is stored no more, but computed where it is read. Where it is
read at the place that is being added, that costs nothing; at other places it is computed again, and what that costs is
bounded by `Tuning.along_operations`. An array and its neighbours (`x[1:] - x[:-1]**2`) have such gradients. Sums come
in the same order, but for what vectors may do with them in any case.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Mapping, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..cost import count_of
from ..graph import Graph, Node
from ..registry import Assembly, Gather, Reduction, lookup
from .recompute import CHEAP
from .rows import reads_of

if TYPE_CHECKING:
    from .fusion import Unit, Units

__all__ = ["Along", "Stretch", "along", "stretches"]

_REPEATED = 3  # stretches of an accumulated result in which each part may be written, on average


class Stretch(NamedTuple):
    """Rows of an accumulated result, and what is added there: which parts, and where each of them begins."""

    low: int
    high: int
    inside: tuple[tuple[int, int], ...]


class Along(NamedTuple):
    """Sums that are added up while `result` is written, stretch by stretch: element 0 at row `start`.

    `values` are what both read.
    """

    sums: tuple[Node, ...]
    result: Node
    rows: Sequence[Stretch]
    start: int
    values: frozenset[int]


def stretches(graph: Graph, n: Node) -> list[Stretch] | None:
    """The rows of `n` between the ends of its parts.

    None if a part is not whole rows one after another, or if the parts would be written too often.
    """
    structure = lookup(n.op).structure
    assert isinstance(structure, Assembly)
    parts = structure.places(n.params)
    shape = n.type.shape
    if not shape or parts is None or not all(isinstance(d, int) for d in shape) or math.prod(shape[1:]) == 0:
        return None
    row = math.prod(shape[1:])
    spans: list[tuple[int, int]] = []
    written = 0
    for a, places in zip(n.args, parts, strict=True):
        flat = np.ravel(places)
        if flat.size == 0:
            return None
        first, count = int(flat[0]) // row, flat.size // row
        own = graph.node(a).type.shape
        whole_rows = own == (count, *shape[1:]) or (count == 1 and own == shape[1:])
        if not whole_rows or not np.array_equal(flat, first * row + np.arange(flat.size)):
            return None
        spans.append((first, first + count))
    ends = sorted({0, int(shape[0]), *(end for span in spans for end in span)})
    begin: dict[int, list[int]] = {}
    for part, (first, _) in enumerate(spans):
        begin.setdefault(first, []).append(part)
    found = []
    inside: list[int] = []
    for low, high in itertools.pairwise(ends):
        inside = sorted([part for part in inside if spans[part][1] > low] + begin.get(low, []))
        found.append(Stretch(low, high, tuple((part, spans[part][0]) for part in inside)))
        written += len(inside)
        if written > _REPEATED * len(spans):
            return None
    return found


def along(graph: Graph, units: Units, kept: Container[int], budget: int) -> list[Along]:
    """The sums of `units` that are better added up where a result is written; nothing `kept` is computed again."""
    pairs = [(unit, after) for unit, after in itertools.pairwise(units.order) if _may_go_along(unit, after)]
    readers: dict[int, set[int]] = {}
    for unit in units.order if pairs else ():
        for n in unit.nodes:
            for key in units.reads[n.key]:
                readers.setdefault(key, set()).add(n.key)
    found = (_along(graph, units, unit, after, kept, readers, budget) for unit, after in pairs)
    return [one for one in found if one is not None]


def _may_go_along(unit: Unit, after: Unit) -> bool:
    """Whether these are a loop over one axis and a sum of parts, of which both have one axis."""
    n = after.nodes[0]
    structure = lookup(n.op).structure
    added = isinstance(structure, Assembly) and structure.accumulate and len(n.type.shape) == 1
    return added and unit.shared and len(unit.shape) == 1


def _along(
    graph: Graph,
    units: Units,
    unit: Unit,
    after: Unit,
    kept: Container[int],
    readers: Mapping[int, Set[int]],
    budget: int,
) -> Along | None:
    n = after.nodes[0]
    sums = tuple(m for m in unit.nodes if isinstance(lookup(m.op).structure, Reduction))
    inside = {m.key for m in unit.nodes}
    both = inside | {m.key for m in after.nodes}
    values = frozenset(inside - {m.key for m in sums})
    if any(m.key in kept or not readers.get(m.key, set()) <= both for m in unit.nodes if m.key in values):
        return None
    if not sums or any(_fixed(graph, units, m, inside, n) for m in unit.nodes):
        return None
    rows = stretches(graph, n)
    if rows is None:
        return None
    parts = {part: first for stretch in rows for part, first in stretch.inside}
    best: tuple[int, int] | None = None
    for part, start in sorted(parts.items()):
        if graph.node(n.args[part]).type.shape == unit.shape:
            cost = _cost(graph, units, n, parts, start, values)
            if cost is not None and cost <= budget and (best is None or cost < best[0]):
                best = cost, start
    return None if best is None else Along(sums, n, rows, best[1], values)


def _fixed(graph: Graph, units: Units, m: Node, inside: Container[int], result: Node) -> bool:
    """Whether a node has to be computed where it is: all but sums that the result does not read, and cheap values."""
    reads = units.reads[m.key]
    if any(graph.node(k).type.shape and not (k in inside or lookup(graph.node(k).op).kind == "leaf") for k in reads):
        return True
    structure = lookup(m.op).structure
    if not isinstance(structure, Reduction):
        return _operations(graph, units, m.key) is None
    term, added = m.args[0], structure.combine == "add" and m.type.dtype.kind == "float"
    dear = term in units.virtual and _operations(graph, units, term) is None
    return dear or not added or m.key in units.reads[result.key]


def _operations(graph: Graph, units: Units, key: int) -> int | None:
    """How many operations an element takes from what is stored, or None where one is not cheap."""
    total, stack = 0, [graph.node(key)]
    while stack:
        m = stack.pop()
        op = lookup(m.op)
        if op.kind == "elementwise" and CHEAP.issuperset(count_of(graph, m)):
            total += 1
        elif op.kind != "layout" or isinstance(op.structure, Gather):
            return None
        stack += [graph.node(a) for a in m.args if a in units.virtual]
    return total


def _cost(graph: Graph, units: Units, n: Node, parts: dict[int, int], start: int, values: frozenset[int]) -> int | None:
    """The operations that are done again if sums begin at row `start` of `n`; None where that cannot be told."""
    again: set[tuple[int, int]] = set()
    for part, first in parts.items():
        a = n.args[part]
        if a in units.virtual:
            if _operations(graph, units, a) is None:
                return None
            reads = reads_of(graph, graph.node(a), units.virtual, units.aliases)
        else:
            reads = {(a, None)}
        for key, index in reads:
            if key not in values:
                continue
            at = 0
            if index is not None:
                ((place,),) = (index,)
                if len(place.terms) != 1 or place.terms[0][1] != 1 or not isinstance(place.const, int):
                    return None
                at = place.const
            if at - first + start != 0:
                again.add((key, at - first + start))
    total, stack = 0, sorted(again)
    while stack:
        key, shift = stack.pop()
        total += _operations(graph, units, key) or 0
        below: Sequence[tuple[int, int]] = [
            (k, shift) for k in units.reads[key] if k in values and (k, shift) not in again
        ]
        again.update(below)
        stack += below
    return total
