"""Loops over rows: the lines of one loop in which a row goes through all that needs no other row.

In: the writer of a function, and what `rows` chose. Out: lines. What there is one of a row is a variable, and what only
the same row reads lies in memory for one row, whose subscripts do not count the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..dims import Dim, Extent, atom
from ..graph import Node
from ..index import Affine, Index, flatten, variable
from ..program import Line
from ..registry import Cut, lookup
from .collapse import collapsed, spread
from .fusion import shape_of
from .nests import Nest, lines_of
from .partial_sums import running
from .printing import Text
from .rows import Inner, Rows, cut_of, stacks_of
from .structures import is_sum, parted, shifted

if TYPE_CHECKING:
    from .loops import Writer

__all__ = ["BlockLoop", "RowLoop"]


class RowLoop:
    """Writes one loop over rows."""

    def __init__(self, writer: Writer, rows: Rows) -> None:
        self.writer, self.rows, self.graph = writer, rows, writer.graph
        self.elements, self.nests, self.structures = writer.elements, writer.nests, writer.structures
        self.roles: Mapping[int, str | None] = {n.key: rows.role(self.graph, n) for n in rows.nodes}
        self.totals: dict[int, str] = {}  # of all rows, or of those of a share
        self.shared = self.structures.shared_rows(rows)
        self.aliases: dict[int, list[int]] = {}
        for alias, base in writer.units.aliases.items():
            self.aliases.setdefault(base, []).append(alias)

    def lines(self) -> list[Line]:
        """The loop, behind what its sums start from."""
        before: list[Line] = []
        sums: dict[str, tuple[Node, str]] = {}
        for n in self.rows.nodes:
            structure = lookup(n.op).structure
            if self.roles[n.key] == "total":
                name = self.elements.names.fresh(n.origin.name, "sum_" if is_sum(structure) else "acc_")
                self.totals[n.key] = name if self.shared is None else self.elements.names.fresh(None, "acc_")
                sums[name] = n, self.totals[n.key]
                self.structures.begun(n, self.totals[n.key], 1, before, int(self.shared is not None))
            elif self.roles[n.key] == "column":
                before += [*self.structures.cleared(n), *self.structures.kept(n)]
        lines = before + self._rows()
        if self.shared is not None:
            lines = self.structures.in_shares(self.shared, lines, sums)
        self.elements.locals.clear()
        self.elements.scalars.update({n.key: Text(name) for name, (n, _) in sums.items()})
        return lines

    def _rows(self) -> list[Line]:
        shared = self.shared
        return self.nests.over(self.rows.shape, self._row, int(shared is not None), span=self.structures.span(shared))

    def _row(self, nest: Nest, lines: list[Line]) -> None:
        for key in (n.key for n in self.rows.nodes if n.key in self.writer.storage.row_buffers):
            size = math.prod(shape_of(self.graph, key)[len(self.rows.shape) :])
            share = Affine() if self.shared is None else variable(self.structures.number_of_share)
            self.elements.bases[key] = flatten(nest.index, self.rows.shape) * size * -1 + share * size
        self.writer.storage.named_again()
        for inner in self.rows.inner:
            self.elements.shared = self._read_behind(inner)
            (first, *_) = inner.nodes
            if self.roles[first.key] == "product":
                cut = Cut(stacks_of(self.graph, first))
                lines += self.structures.kernel_of_rows(first, cut, nest.index[0], 1, nest.depth)
            elif self.roles[first.key] == "part":
                lines += self.structures.reduction_in(first, nest)
            elif inner.outer:
                self._rows_inside(inner, nest, lines)
            elif inner.shape:
                self._loop(inner, nest, lines)
            else:
                for n in inner.nodes:
                    self._element(n, inner, nest.index, lines, nest.depth)
            self.elements.again = self.elements.shared = frozenset()
            self.elements.read.clear()

    def _rows_inside(self, inner: Inner, row: Nest, lines: list[Line]) -> None:
        """An inner loop whose first axes are rows of their own."""
        own, rest = inner.shape[: inner.outer], Inner(inner.nodes, inner.shape[inner.outer :])
        loop = RowLoop(self.writer, Rows((*self.rows.shape, *own), (rest,)))

        def each(nest: Nest, body: list[Line]) -> None:
            loop._loop(rest, Nest((*row.index, *nest.index), False, nest.depth), body)

        around = dict(self.elements.locals)
        lines += self.nests.over(own, each, row.depth)
        self.elements.locals.clear()  # the sum of one of those rows is no other one's
        self.elements.locals.update(around)

    def _read_behind(self, inner: Inner) -> frozenset[int]:
        """What is read behind the node of an inner loop that takes its place: it has a name then."""
        reads, found = self.writer.units.reads, list[int]()
        for number, n in enumerate(inner.nodes):
            old = self.writer.storage.replaced.get(n.key, -1)
            found += [old for m in inner.nodes[number + 1 :] if old in reads[m.key]]
        return frozenset(found)

    def _loop(self, inner: Inner, row: Nest, lines: list[Line]) -> None:
        """An inner loop, and what it has of each sum in a variable of this row."""
        sums: dict[int, list[str]] = {}
        reductions = [n for n in inner.nodes if self.roles[n.key] in ("row", "total")]
        count = self._as_one(inner)
        whole = collapsed(inner.shape, count)
        strands = self.structures.strands(reductions, whole) if len(reductions) == len(inner.nodes) else range(1)
        shape = parted(whole, len(strands))
        partial = self.structures.partial(reductions, inner.nodes, shape, len(strands))
        own: dict[int, str] = {}
        for n in reductions:
            own[n.key] = self.elements.names.fresh(None, "acc_" if self.roles[n.key] == "row" else "row_")
            sums[n.key] = self.structures.begun(n, own[n.key], len(strands), lines, row.depth, partial)
        self.elements.far.clear()
        around = dict(self.elements.locals)

        def inside(nest: Nest, body: list[Line]) -> None:
            added = {key: running(names, nest, self.nests, partial) for key, names in sums.items()}
            for strand, start in enumerate(strands):
                place = spread(shifted(nest.index, start), count)
                for n in inner.nodes:
                    self._inside(n, inner, row, Nest(place, False, nest.depth), body, added.get(n.key), strand)

        loops = self.nests.over(shape, inside, row.depth, partial="" if partial is None else partial.count)
        summed = {n.key: n for n in inner.nodes if n.key in sums}
        named = {name: n for key, n in summed.items() for name in sums[key]}
        rest = {name: self.structures.sum_of(n) for name, n in named.items() if is_sum(lookup(n.op).structure)}
        operators = self.structures.operators(named)
        self.structures.helpers.update({} if sums else {"simd": None})
        out_of_order = self.elements.subscripts.out_of_order
        if partial is None:
            lines += self.nests.rows(loops, shape, rest, out_of_order, operators, not sums)
        else:
            lines += partial.marked(loops, [name for names in sums.values() for name in names])
        self.elements.locals.clear()
        self.elements.locals.update(around)
        for key, n in summed.items():
            self.structures.ended(n, own[key], sums[key], lines, row.depth, partial)
            total = Text(own[key])
            if self.roles[key] == "total":
                self.structures.combine(n, lookup(n.op).structure, self.totals[key], total, lines, row.depth)
            else:
                self._known(key, total)
                self._stored(n, self._padded(n.key, row.index), total, lines, row.depth)

    def _as_one(self, inner: Inner) -> int:
        """How many of the last axes of an inner loop are walked as one."""
        elements = {shape_of(self.graph, n.key if self.roles[n.key] == "element" else n.args[0]) for n in inner.nodes}
        (shape, *others), rows = elements, len(self.rows.shape)
        if others or len(shape) < rows + 2 or inner.shape[rows - len(shape) :] != shape[rows:]:
            return 1
        return self.structures.as_one(inner.nodes, range(rows, len(shape)), shape)

    def _inside(
        self, n: Node, inner: Inner, row: Nest, nest: Nest, body: list[Line], sums: Sequence[str] | None, strand: int
    ) -> None:
        """The statements for one place of an inner loop."""
        index = self._at(row.index, nest.index)
        if self.roles[n.key] == "element":
            self._element(n, inner, index, body, nest.depth)
            return
        self.elements.again = self.writer.units.repeated.get(n.key, frozenset())
        value = self.elements.element(n.args[0], self._padded(n.args[0], index), False, body, nest.depth)
        if sums is not None:
            self.structures.combine(n, lookup(n.op).structure, sums[strand], value, body, nest.depth)
            return
        place = self.elements.place(n.key, self._of_row(nest.index))
        body += lines_of(self.writer.target.syntax["add_to"].format(name=place, value=value.text), nest.depth)

    def _element(self, n: Node, inner: Inner, index: Index, lines: list[Line], depth: int) -> None:
        index = self._padded(n.key, index)
        self.elements.again = self.writer.units.repeated.get(n.key, frozenset())
        value = self.elements.compute(n, index, False, lines, depth)
        stored = n.key in self.elements.buffers
        if not stored or not inner.shape or any(n.key in self.writer.units.reads[m.key] for m in inner.nodes):
            name = self.elements.names.fresh(None if stored else self.elements.wish(n))
            lines += lines_of(self.elements.assign(n, name, value.text), depth)
            value = Text(name)
            self._known(n.key, value)
        self._stored(n, index, value, lines, depth)

    def _at(self, row: Index, place: Index) -> Index:
        """The place in a whole array of a place in a row."""
        return (*row, *place)

    def _of_row(self, place: Index) -> Index:
        """What a place of an inner loop is in a row."""
        return place

    def _padded(self, key: int, index: Index) -> Index:
        """The place in an array, whose axes behind those of `index` have size 1."""
        return (*index, *(Affine(),) * (len(shape_of(self.graph, key)) - len(index)))

    def _known(self, key: int, value: Text) -> None:
        for name in (key, *self.aliases.get(key, ())):
            self.elements.locals[name] = value

    def _stored(self, n: Node, index: Index, value: Text, lines: list[Line], depth: int) -> None:
        if n.key in self.elements.buffers:
            self.elements.set(self.elements.place(n.key, index), self.elements.stored(n, value), lines, depth)


class BlockLoop(RowLoop):
    """Writes one loop over blocks of rows, and what is done with the rows that fill no block behind it."""

    def _rows(self) -> list[Line]:
        (size,), block = self.rows.shape, self.rows.block
        lines: list[Line] = []
        rest: Extent
        if isinstance(size, int):
            rest = size % block
        else:
            rest = Dim(self.elements.names.fresh(None, "rest_"))
            lines += lines_of(self.writer.target.syntax["rest"].format(name=rest, size=atom(size), block=block))
        whole = size - rest
        if whole != 0:
            lines += self.nests.over((whole,), lambda nest, body: self._block(nest, block, body), step=block)
        if rest != 0:
            self._block(Nest((Affine(whole),), False, 0), rest, lines)
        return lines

    def _block(self, nest: Nest, count: Extent, lines: list[Line]) -> None:
        """What is done with `count` rows, of which the first is that of `nest`."""
        (start,) = nest.index
        for n in self.rows.nodes:
            if n.key in self.writer.storage.row_buffers:
                self.elements.bases[n.key] = start * math.prod(shape_of(self.graph, n.key)[1:]) * -1
        self.writer.storage.named_again()
        for inner in self.rows.inner:
            (first, *_) = inner.nodes
            cut = cut_of(self.graph, first)
            if cut is None:
                self._loop(Inner(inner.nodes, (count, *inner.shape)), nest, lines)
            else:
                lines += self.structures.kernel_of_rows(first, cut, start, count, nest.depth)

    def _at(self, row: Index, place: Index) -> Index:
        return (row[0] + place[0], *place[1:])

    def _of_row(self, place: Index) -> Index:
        return place[1:]
