"""Shared loops: the lines of one loop that computes several element-wise arrays and full reductions of one shape.

In: the writer of a function, and a unit of its schedule. Out: lines; what the reductions give is in variables then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..graph import Node
from ..index import Index
from ..program import Line
from ..registry import Reduction, lookup
from .collapse import collapsed, spread
from .fusion import Unit, shape_of
from .nests import Nest, lines_of
from .partial_sums import running as added_to
from .printing import Text
from .rows import reads_of
from .structures import is_sum, parted, shifted

if TYPE_CHECKING:
    from .loops import Writer

__all__ = ["SharedLoop"]


class SharedLoop:
    """Writes one loop."""

    def __init__(self, writer: Writer, unit: Unit) -> None:
        self.writer, self.unit, self.graph, self.units = writer, unit, writer.graph, writer.units
        self.target, self.names = writer.target, writer.names
        self.elements, self.nests, self.structures = writer.elements, writer.nests, writer.structures

    def lines(self) -> list[Line]:
        """The loop, behind what its sums start from."""
        unit = self.unit
        before: list[Line] = []
        totals: dict[int, list[str]] = {}
        flat = len(unit.shape) > 1 and all(self._walks_flat(n) for n in unit.nodes)
        count = 1 if flat else self.structures.as_one(unit.nodes, range(len(unit.shape)), unit.shape)
        shape = (math.prod(unit.shape),) if flat else collapsed(unit.shape, count)
        reductions = [n for n in unit.nodes if isinstance(lookup(n.op).structure, Reduction)]
        strands = self.structures.strands(reductions, shape) if len(reductions) == len(unit.nodes) else range(1)
        shape = parted(shape, len(strands))
        shared = self.structures.shared(reductions, shape, len(strands)) if reductions else None
        depth = 0 if shared is None else 1
        partial = None if shared is not None else self.structures.partial(reductions, unit.nodes, shape, len(strands))
        named: dict[int, str] = {}
        owns: dict[int, str] = {}
        for n in reductions:
            name = named[n.key] = self.names.fresh(n.origin.name, "sum_" if is_sum(lookup(n.op).structure) else "acc_")
            own = owns[n.key] = name if shared is None else self.names.fresh(None, "acc_")
            totals[n.key] = self.structures.begun(n, own, len(strands), before, depth, partial)

        read_here = {key for n in unit.nodes for key in self.units.reads[n.key]}

        def inside(nest: Nest, lines: list[Line]) -> None:
            names = {key: added_to(found, nest, self.nests, partial) for key, found in totals.items()}
            for strand, start in enumerate(strands):
                place = Nest(spread(shifted(nest.index, start), count), flat, nest.depth)
                for n in unit.nodes:
                    if n.key in totals:
                        value = self.elements.element(n.args[0], place.index, flat, lines, nest.depth)
                        name = names[n.key][strand]
                        self.structures.combine(n, lookup(n.op).structure, name, value, lines, nest.depth)
                    else:
                        self._element(n, n.key in read_here, place, lines)

        running = {name: n for n in reductions for name in totals[n.key]}
        sums = {name: self.structures.sum_of(n) for name, n in running.items() if is_sum(lookup(n.op).structure)}
        self.elements.far.clear()
        self.elements.shared = self._read_again()
        count_of_sums = "" if partial is None else partial.count
        loops = self.nests.over(shape, inside, depth, span=self.structures.span(shared), partial=count_of_sums)
        self.elements.shared = frozenset()
        self.elements.read.clear()
        operators = self.structures.operators(running)
        independent = not totals and not self.target.strict
        self.structures.helpers.update({"simd": None} if independent else {})
        if partial is None:
            out_of_order = self.elements.subscripts.out_of_order
            lines = before + self.nests.rows(loops, shape, sums, out_of_order, operators, independent)
        else:
            lines = before + partial.marked(loops, [*running])
        if not totals:
            lines = self.structures.shared_by_threads(lines, shape, math.prod(shape), simd=independent)
        for n in reductions:
            self.structures.ended(n, owns[n.key], totals[n.key], lines, depth, partial)
        if shared is not None:
            lines = self.structures.in_shares(shared, lines, {named[n.key]: (n, totals[n.key][0]) for n in reductions})
        self.elements.locals.clear()
        self.elements.scalars.update({key: Text(name) for key, name in named.items()})
        return lines

    def _read_again(self) -> set[int]:
        """What several nodes of a shared loop read at one place, behind a store: it may be to the same memory for C.

        A compiler that does not know better reads again, and computes again what it could share.
        """
        found: set[tuple[int, Index | None]] = set()
        again: set[int] = set()
        stored = False
        for n in self.unit.nodes:
            reads = reads_of(self.graph, n, self.units.virtual, self.units.aliases)
            if stored:
                again.update(key for key, at in reads & found if at is not None and key in self.elements.buffers)
            found |= reads
            stored = stored or n.key in self.elements.buffers
        return again

    def _element(self, n: Node, read_here: bool, nest: Nest, lines: list[Line]) -> None:
        value = self.elements.compute(n, nest.index, nest.flat, lines, nest.depth)
        buffer = self.elements.buffers.get(n.key)
        if read_here or buffer is None:
            name = self.names.fresh(None if buffer is not None else self.elements.wish(n))
            lines += lines_of(self.elements.assign(n, name, value.text), nest.depth)
            self.elements.locals[n.key] = value = Text(name)
        if buffer is not None:
            offset = nest.index[0] if nest.flat else self.elements.offset(n.key, nest.index)
            self.elements.set(self.elements.at(n.key, offset), self.elements.stored(n, value), lines, nest.depth)

    def _walks_flat(self, n: Node) -> bool:
        """Whether every array that `n` reads has its own shape and is read at the place being computed."""
        stack = list(n.args) if lookup(n.op).kind != "layout" else [n.key]
        shape = shape_of(self.graph, n.args[0] if lookup(n.op).kind == "reduction" else n.key)
        if n.key in self.elements.parts:
            return False
        while stack:
            key = stack.pop()
            a = self.graph.node(key)
            if key in self.elements.parts:
                return False
            if a.type.shape == ():
                continue
            kind = lookup(a.op).kind
            if a.op == "broadcast_to" and self.graph.node(a.args[0]).type.shape == ():
                continue
            if shape_of(self.graph, key) != shape or key in self.elements.around:
                return False
            if key in self.units.virtual:
                if kind != "elementwise":
                    return False
                stack.extend(a.args)
            elif key == n.key and kind == "layout":
                return False
        return True
