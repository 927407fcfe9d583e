"""Structures: the loops of reductions, contractions, scans, assemblies, scatters and kernels.

One method a structure of the registry (see `STRUCTURES`), each from a node to the lines that compute it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..dims import Extent, atom, certainly_at_most, whole
from ..graph import Graph, Node
from ..index import Affine, Index, variable
from ..program import Line
from ..registry import Assembly, Contraction, Cut, Kernel, Reduction, Scan, Scatter, lookup
from ..types import Shape, Type
from .along import Along, Stretch, stretches
from .collapse import collapsed, spread
from .elements import Elements
from .fusion import shape_of
from .nests import Nest, Nests, Write, lines_of
from .owners import apart_by_rows, owned, owned_axes
from .partial_sums import Partial, partial_of, running
from .printing import Text
from .rows import Rows
from .running import running_sums
from .shares import Shares, shares
from .statements import words_of

__all__ = ["STRUCTURES", "Structures", "is_sum", "parted", "shifted"]

_LEAST_ROWS = 8  # of a share of a sum of rows, so that what the sums of shares take together is little beside
_VECTOR = 64  # elements, which are whole vectors of any kind
_ACROSS = {"add", "maximum", "minimum"}  # in any order


class Structures:
    """Writes array structures as loops over `elements`."""

    def __init__(self, graph: Graph, elements: Elements, nests: Nests) -> None:
        self.graph, self.elements, self.nests = graph, elements, nests
        self.target = elements.target
        self._syntax = elements.target.syntax
        self.helpers: dict[str, None] = {}  # patterns in use that have helper code
        self.scratch: dict[int, list[str]] = {}  # of kernels: the names of their memory
        #: values that are computed where an assembly has them: which one, and as which part
        self.in_place: Mapping[int, tuple[int, int]] = {}
        self.written: set[tuple[int, int]] = set()  # parts of assemblies that are in memory already
        #: how many of the last axes of a loop are walked as one (see `collapse`)
        self.as_one: Callable[[Sequence[Node], Sequence[int], Shape], int] = lambda nodes, axes, shape: 1

    # --- reductions, contractions, scans ------------------------------------------------------------------------

    def reduction(self, n: Node, structure: Reduction) -> list[Line]:
        """Each element of the result from a loop of its own; along the innermost axis where others are reduced."""
        return self._reduction(n, structure, None)

    def reduction_in(self, n: Node, row: Nest) -> list[Line]:
        """The same for one member of the first axis, which is not reduced: that of the loop `row`."""
        structure = lookup(n.op).structure
        assert isinstance(structure, Reduction)
        return self._reduction(n, structure, row)

    def _reduction(self, n: Node, structure: Reduction, row: Nest | None) -> list[Line]:
        source = shape_of(self.graph, n.args[0])
        axes = n.params["axis"]
        if self._goes_across(n, structure, source):
            return self._reduced_across(n, source, row)

        count = self.as_one([n], axes, source)

        def one(nest: Nest, lines: list[Line]) -> None:
            kept = iter(i for k, i in enumerate(nest.index) if not (n.params["keepdims"] and k in axes))
            outer = {k: next(kept) for k in range(len(source)) if k not in axes}

            def value(inner: Index, body: list[Line], depth: int) -> Text:
                reduced = dict(zip(axes, spread(inner, count), strict=True))
                index = tuple(reduced[k] if k in reduced else outer[k] for k in range(len(source)))
                return self.elements.element(n.args[0], index, False, body, depth)

            shape = collapsed(tuple(source[a] for a in axes), count)
            self._accumulate(n, structure, shape, value, nest, lines)

        return self._per_element(n, one) if row is None else self._within(row, shape_of(self.graph, n.key)[1:], one)

    def _within(self, row: Nest, shape: Shape, write: Write) -> list[Line]:
        """Loops over all but the first axis, which is that of the loop `row`."""
        self.elements.far.clear()
        return self.nests.over(
            shape, lambda nest, lines: write(replace(nest, index=(*row.index, *nest.index)), lines), row.depth
        )

    def _goes_across(self, n: Node, structure: Reduction, source: Shape) -> bool:
        """Whether other axes than the innermost are reduced, whose elements may be combined in any loop."""
        last = max((k for k, size in enumerate(source) if size != 1), default=-1)
        known = structure.combine in _ACROSS and n.type.dtype.kind == "float" and "independent" in self._syntax
        return known and not self.target.strict and last >= 0 and last not in n.params["axis"]

    def _reduced_across(self, n: Node, source: Shape, row: Nest | None = None) -> list[Line]:
        """What it starts from, and a loop in the order of memory: its innermost steps are independent."""
        structure = lookup(n.op).structure
        assert isinstance(structure, Reduction)
        axes, keepdims = n.params["axis"], n.params["keepdims"]
        first = min(axes)
        strip = self._strip(n, source)

        def over(nest: Nest, lines: list[Line]) -> None:
            kept = [k for k in range(first, len(source)) if k not in axes]

            def place(index: Mapping[int, Affine]) -> str:
                where = {**dict(enumerate(nest.index)), **index}
                order = [k for k in range(len(source)) if keepdims or k not in axes]
                return self.elements.place(n.key, tuple(Affine() if k in axes else where[k] for k in order))

            def clear(inner: Nest, body: list[Line]) -> None:
                start = self.elements.printer.number(structure.initial, n.type.dtype)
                self.elements.set(place(dict(zip(kept, inner.index, strict=True))), start, body, inner.depth)

            def add(inner: Nest, body: list[Line]) -> None:
                index = (*nest.index, *inner.index)
                value = self.elements.element(n.args[0], index, False, body, inner.depth)
                self.combine(n, structure, place(dict(enumerate(index))), value, body, inner.depth)

            def added(start: Nest, body: list[Line]) -> None:
                """The loop that adds up a strip of rows, or from `start` on each by itself."""
                shape = source[first + 1 :] if strip > 1 else source[first:]
                self.elements.far.clear()
                write = functools.partial(add_strip, start.index[0]) if strip > 1 else add
                loops = self.nests.over(shape, write, start.depth, span=self.span(shared))
                self.helpers.update({"simd": None})
                operators = dict.fromkeys(sorted(self.elements.far), "|")
                body += self.nests.rows(loops, shape, {}, set(), operators, not operators)

            def add_strip(start: Affine, inner: Nest, body: list[Line]) -> None:
                total = self.elements.names.fresh(None, "acc_")
                here = place(dict(zip(kept, inner.index, strict=True)))
                body += lines_of(self._accumulator(n, total, here), inner.depth)
                for k in range(strip):
                    index = (*nest.index, start + k, *inner.index)
                    value = self.elements.element(n.args[0], index, False, body, inner.depth)
                    self.combine(n, structure, total, value, body, inner.depth)
                self.elements.set(here, Text(total), body, inner.depth)

            depth = nest.depth + (shared is not None)
            lines += self.nests.over(tuple(source[k] for k in kept), clear, depth)
            if strip == 1:
                added(Nest((), False, depth), lines)
            else:
                lines += self.nests.over((source[first],), added, depth, step=strip)

        shared = None
        if row is not None:
            return self._within(row, source[1:first], over)
        shared = self.shared_columns(n) if n.key in self.scratch and n.key not in self.elements.parts else None
        if shared is not None:
            return self._columns_in_shares(n, shared, lambda lines: over(Nest((), False, 0), lines))
        nest = self.nests.over(source[:first], over)
        return self.shared_by_threads(nest, source[:first], math.prod(source)) if first else nest

    def _strip(self, n: Node, source: Shape) -> int:
        """How many rows are added up in registers before their sums are stored, where that is little work.

        Not of maxima: gcc 12 makes no vectors of several choices one after the other.
        """
        (first, *others), tuning = n.params["axis"], self.target.tuning
        size = source[first]
        known = isinstance(size, int) and certainly_at_most(tuning.row_elements, source[-1])
        if others or not known or not is_sum(lookup(n.op).structure):
            return 1
        if self.target.threads or self.elements.weight(n) > tuning.strand_operations:
            return 1
        return max(k for k in range(1, tuning.strip_rows + 1) if size % k == 0)

    def shared_columns(self, n: Node) -> Shares | None:
        """How threads share the rows that a reduction adds up: each share has a sum of each column in memory."""
        structure, source = lookup(n.op).structure, shape_of(self.graph, n.args[0]) if n.args else ()
        if not isinstance(structure, Reduction) or not is_sum(structure) or not self._goes_across(n, structure, source):
            return None
        (rows, *_), most = source, self.target.tuning.thread_sums
        if 0 not in n.params["axis"] or rows == 1 or (isinstance(rows, int) and rows < _LEAST_ROWS * most):
            return None
        return shares(self.target, source, most=most)

    def _columns_in_shares(self, n: Node, shared: Shares, write: Callable[[list[Line]], None]) -> list[Line]:
        """The sums of all rows, which `write` adds up, from those of each share."""
        elements, (own,), size = self.elements, self.scratch[n.key], n.type.size
        buffer, base = elements.buffers[n.key], elements.bases.get(n.key)
        inside: list[Line] = []
        elements.buffers[n.key], elements.bases[n.key] = own, variable(self.number_of_share) * size
        write(inside)
        elements.buffers[n.key] = buffer
        del elements.bases[n.key]
        if base is not None:
            elements.bases[n.key] = base

        def add(nest: Nest, body: list[Line]) -> None:
            there = elements.subscripts.text(variable(self.nests.variable(0)) * size + nest.index[0])
            text = self._syntax["add_to"].format(name=elements.at(n.key, nest.index[0]), value=f"{own}[{there}]")
            body += lines_of(text, nest.depth)

        def after(count: str) -> list[Line]:
            loop = self.nests.rows(self.nests.over((size,), add, 1), (size,), {}, set(), {}, True)
            head = Line(0, self._syntax["for"].format(name=self.nests.variable(0), size=count))
            return [*self.cleared(n), head, *loop, Line(0, self._syntax["end"])]

        return self.in_shares(shared, inside, {}, after)

    def contraction(self, n: Node, structure: Contraction) -> list[Line]:
        """Each element of the result as a sum of products."""
        a, b = n.args
        types = self.graph.node(a).type, self.graph.node(b).type
        elements = self.elements

        def one(nest: Nest, lines: list[Line]) -> None:
            def value(inner: Index, body: list[Line], depth: int) -> Text:
                left, right = structure.sources(nest.index, inner[0], *types)
                factors = [
                    elements.element(a, left, False, body, depth),
                    elements.element(b, right, False, body, depth),
                ]
                return elements.fill(elements.cell_of("mul", n.type.dtype), factors, n.type.dtype, body, depth)

            self._accumulate(n, Reduction("add", 0.0), (structure.length(*types),), value, nest, lines)

        return self._per_element(n, one)

    def _per_element(self, n: Node, write: Write) -> list[Line]:
        """A loop over the result of `n`, or one statement for a scalar."""
        shape = shape_of(self.graph, n.key)
        if shape:
            self.elements.far.clear()
            work = math.prod(shape_of(self.graph, n.args[0]))  # at least, of a contraction
            return self.shared_by_threads(self.nests.over(shape, write), shape, work)
        lines: list[Line] = []
        write(Nest((), False, 0), lines)
        return lines

    def _accumulate(
        self,
        n: Node,
        structure: Reduction,
        shape: Shape,
        value: Callable[[Index, list[Line], int], Text],
        nest: Nest,
        lines: list[Line],
    ) -> None:
        """An accumulator, the loop that fills it, and where its total goes."""
        strands = self.strands([n], shape)
        total = self.elements.names.fresh(n.origin.name if not n.type.shape else None, "acc_")
        shape = parted(shape, len(strands))
        shared = self.shared([n], shape, len(strands)) if nest.depth == 0 else None
        partial = None if shared is not None else self.partial([n], [n], shape, len(strands))
        start, depth, found = (total, nest.depth, lines) if shared is None else (None, 1, list[Line]())
        own = start or self.elements.names.fresh(None, "acc_")
        names = self.begun(n, own, len(strands), found, depth, partial)

        self.elements.far.clear()

        def inside(inner: Nest, body: list[Line]) -> None:
            for name, start in zip(running(names, inner, self.nests, partial), strands, strict=True):
                index = shifted(inner.index, start)
                self.combine(n, structure, name, value(index, body, inner.depth), body, inner.depth)

        sums = {name: self.sum_of(n) for name in names} if is_sum(structure) else {}
        loops = self.nests.over(
            shape, inside, depth, span=self.span(shared), partial="" if partial is None else partial.count
        )
        operators = self.operators(dict.fromkeys(names, n))
        if partial is None:
            found += self.nests.rows(loops, shape, sums, self.elements.subscripts.out_of_order, operators)
        else:
            found += partial.marked(loops, names)
        self.ended(n, own, names, found, depth, partial)
        if shared is not None:
            lines += self.in_shares(shared, found, {total: (n, names[0])})
        if n.type.shape:
            self.elements.set(self.elements.place(n.key, nest.index), Text(total), lines, nest.depth)
        else:
            self.elements.scalars[n.key] = Text(total)

    def scan(self, n: Node, structure: Scan) -> list[Line]:
        """Loops over the other axes, and in each one running value that goes along the axis."""
        shape, axis = shape_of(self.graph, n.key), n.params["axis"]
        size = shape[axis]

        def place(i: Affine, others: Index) -> Index:
            at = i * -1 + (size - 1) if n.params["reverse"] else i
            return (*others[:axis], at, *others[axis:])

        in_shares = running_sums(self, n, structure, lambda i: place(i, (Affine(),) * (len(shape) - 1)))
        if in_shares is not None:
            return in_shares

        def along(nest: Nest, lines: list[Line]) -> None:
            total = self.elements.names.fresh(None, "acc_")
            lines += lines_of(self.accumulator(n, total, structure.initial), nest.depth)

            def inside(inner: Nest, body: list[Line]) -> None:
                index = place(inner.index[0], nest.index)
                for combine, a in zip(structure.combine, n.args, strict=True):
                    value = self.elements.element(a, index, False, body, inner.depth)
                    self.combine(n, Reduction(combine, structure.initial), total, value, body, inner.depth)
                self.elements.set(self.elements.place(n.key, index), Text(total), body, inner.depth)

            lines += self.nests.over((size,), inside, nest.depth)

        others = (*shape[:axis], *shape[axis + 1 :])
        self.elements.far.clear()
        nest = self.nests.over(others, along)
        return self.shared_by_threads(nest, others, math.prod(shape)) if others else nest

    def accumulator(self, n: Node, name: str, initial: float) -> str:
        """The statement that makes the running value `name` of `n`."""
        dtype = n.type.dtype
        number = int(initial) if dtype.kind == "int" and math.isfinite(initial) else initial
        return self._accumulator(n, name, self.elements.printer.number(number, dtype).text)

    def _accumulator(self, n: Node, name: str, value: str) -> str:
        return self._syntax["accumulator"].format(type=self.elements.type(n), name=name, value=value)

    def shared_by_threads(self, nest: list[Line], shape: Shape, work: Extent, *, simd: bool = False) -> list[Line]:
        """A nest of loops over `shape`, whose iterations need nothing of each other; threads share the outermost.

        Where that is the only one and is to become vectors (`simd`), threads take whole vectors, so that the same
        elements are left over for any number of threads.
        """
        least = self.target.tuning.thread_elements
        chunk = -(-self.target.tuning.thread_share // _VECTOR) * _VECTOR
        if not self.target.threads or (isinstance(work, int) and work < least) or all(size == 1 for size in shape):
            return nest
        clauses = "" if isinstance(work, int) else f" if(parallel : {work} >= {least})"
        clauses += "".join(f" reduction(| : {name})" for name in sorted(self.elements.far))
        alone = simd and sum(size != 1 for size in shape) == 1
        clauses = f"simd schedule(static, {chunk}){clauses}" if alone else f"schedule(static){clauses}"
        rest = [line for line in nest if line.text != self._syntax.get("independent")] if alone else nest
        return [Line(nest[0].depth, self._syntax["parallel"].format(clauses=clauses)), *rest]

    def shared(self, totals: Sequence[Node], shape: Shape, each: Extent = 1) -> Shares | None:
        """How threads share a loop over `shape` that adds up `totals`, `each` elements at a place.

        Strict code has one order, in which one thread adds.
        """
        if self.target.strict and any(n.type.dtype.kind == "float" for n in totals):
            return None
        return shares(self.target, shape, each)

    def shared_rows(self, rows: Rows) -> Shares | None:
        """How threads share a loop over rows; those that add to the same columns have one thread."""
        roles = {n.key: rows.role(self.graph, n) for n in rows.nodes}
        if rows.block or "column" in roles.values():
            return None
        totals = [n for n in rows.nodes if roles[n.key] == "total"]
        return self.shared(totals, rows.shape, sum((math.prod(inner.shape) for inner in rows.inner), start=0))

    def span(self, shared: Shares | None) -> tuple[int, str, str] | None:
        """What a share has of a loop: the axis, and the names of its first place and of its end (see `in_shares`)."""
        return None if shared is None else (shared.axis, self.nests.variable(0), self._end)

    @property
    def _end(self) -> str:
        return self.nests.named("end_")

    @property
    def number_of_share(self) -> str:
        """The variable that counts the shares of a loop."""
        return self.nests.named("number_")

    def in_shares(
        self,
        shared: Shares,
        inside: list[Line],
        totals: Mapping[str, tuple[Node, str]],
        after: Callable[[str], list[Line]] | None = None,
    ) -> list[Line]:
        """A loop over shares around the lines of each, and what combines the sums of all in one order.

        `totals`: the names that sums get, each with its reduction and what a share calls its own one; `after`: what
        combines other things, given how many shares there are.
        """
        syntax, names, lines = self._syntax, self.elements.names, list[Line]()
        start, step = self.nests.variable(0), str(shared.length)
        if shared.length is None:
            step = names.fresh(None, "share_")
            lines += lines_of(shared.length_of(syntax["length_of_share"], step))
        size, own = atom(shared.size), {total: names.fresh(None, "own_") for total in totals}
        for total, (n, _) in totals.items():
            lines += lines_of(syntax["own"].format(type=self.elements.type(n), name=own[total], count=shared.count))
        words = {*words_of(inside)}
        far = sorted({name for key, name in syntax.items() if key.startswith("far_name.")} & words)
        clauses = shared.clauses + "".join(f" reduction(| : {name})" for name in far)
        lines.append(Line(0, syntax["parallel"].format(clauses=clauses)))
        lines.append(Line(0, syntax["for_blocks"].format(name=start, size=size, step=step)))
        lines += lines_of(syntax["end_of_share"].format(name=self._end, start=start, size=size, step=step), 1)
        number = self.number_of_share
        if totals or number in words:
            lines += lines_of(syntax["number_of_share"].format(name=number, start=start, step=step), 1)
        lines += inside
        for total, (_, mine) in totals.items():
            self.elements.set(f"{own[total]}[{number}]", Text(mine), lines, 1)
        lines.append(Line(0, syntax["end"]))
        if not totals and after is None:
            return lines
        count = str(shared.count)
        if shared.length is None:
            count = names.fresh(None, "shares_")
            lines += lines_of(syntax["number_of_shares"].format(name=count, size=size, step=step))
        if after is not None:
            return lines + after(count)
        for total, (n, _) in totals.items():
            lines += lines_of(self.accumulator(n, total, self._combining(n).initial))
        lines.append(Line(0, syntax["for"].format(name=start, size=count)))
        for total, (n, _) in totals.items():
            self.combine(n, self._combining(n), total, Text(f"{own[total]}[{start}]"), lines, 1)
        lines.append(Line(0, syntax["end"]))
        return lines

    def strands(self, totals: Sequence[Node], shape: Shape) -> range:
        """Where the strands of a loop over `shape` start, each of which has running values of its own for `totals`.

        One addition waits for the one before, some four cycles; so a loop that does little else goes through several
        parts of the long axis side by side: half as many where each would be short, as their sums are added up, too.
        """
        long = [size for size in shape if size != 1]
        size, tuning = long[0] if len(long) == 1 else None, self.target.tuning
        free = len(self.operators({str(k): n for k, n in enumerate(totals)})) == len(totals) > 0
        light = sum(self.elements.weight(n) for n in totals) <= tuning.strand_operations * len(totals)
        if not isinstance(size, int) or not free or not light:
            return range(1)
        bits = max(n.type.dtype.bits for n in totals)
        for count in (tuning.sum_strands, tuning.sum_strands // 2):
            part = size // max(1, count)
            if count > 1 and size % count == 0 and part > 1 and 2 * part * bits >= 64 * count * tuning.strand_elements:
                return range(0, size, part)
        return range(1)

    def partial(self, totals: Sequence[Node], nodes: Sequence[Node], shape: Shape, strands: int) -> Partial | None:
        """The partial sums of a loop that one thread runs (see `partial_sums`), which has their helper then."""
        found = partial_of(self.elements, self.target, totals, nodes, shape, strands) if totals else None
        if found is not None:
            self.helpers.update(dict.fromkeys(["simd", "partial", f"partial.{totals[0].type.dtype.name}"]))
        return found

    def begun(
        self, n: Node, total: str, strands: int, lines: list[Line], depth: int, partial: Partial | None = None
    ) -> list[str]:
        """The names of the running values of each strand, of which `total` is the first, or of partial sums."""
        if partial is not None:
            return partial.begun(strands, lines, depth)
        initial = self._combining(n).initial
        names = [total, *(self.elements.names.fresh(None, "acc_") for _ in range(strands - 1))]
        for name in names:
            lines += lines_of(self.accumulator(n, name, initial), depth)
        return names

    def ended(
        self, n: Node, total: str, names: Sequence[str], lines: list[Line], depth: int, partial: Partial | None
    ) -> None:
        """The statements that combine the running values of all strands into the first, `total`, in pairs."""
        if partial is not None:
            partial.ended(total, names, self.nests.variable(depth), lines, depth)
            return
        reduction = self._combining(n)
        while len(names) > 1:
            half = (len(names) + 1) // 2
            for one, other in zip(names, names[half:], strict=False):
                self.combine(n, reduction, one, Text(other), lines, depth)
            names = names[:half]

    def _combining(self, n: Node) -> Reduction:
        """How `n` combines elements: as its record says, or, a contraction, as a sum."""
        structure = lookup(n.op).structure
        return structure if isinstance(structure, Reduction) else Reduction("add", 0.0)

    def sum_of(self, n: Node) -> Mapping[str, str]:
        """What the statement that makes one more running sum for `n` needs besides a name."""
        return {"type": self.elements.type(n), "value": self.elements.printer.number(0, n.type.dtype).text}

    def operators(self, totals: Mapping[str, Node]) -> dict[str, str]:
        """What the loop just written may combine in any order, each with OpenMP's name for how.

        That is: the running values `totals` of reductions, and what tells of arguments out of range. Strict code has
        one order.
        """
        found = {}
        for total, n in totals.items():
            structure = lookup(n.op).structure
            combine = structure.combine if isinstance(structure, Reduction) else "add"  # a contraction
            cells, key = lookup(combine).cells, f"{self.target.name}.reduction"
            operator = cells.get(f"{key}.{n.type.dtype.name}", cells.get(key, ""))
            if operator and n.type.dtype.kind == "float" and not self.target.strict:
                found[total] = str(operator)
        if found:
            self.helpers.update(dict.fromkeys(["simd", *found.values()]))
            found.update(dict.fromkeys(sorted(self.elements.far), "|"))
        return found

    def combine(self, n: Node, structure: object, total: str, value: Text, lines: list[Line], depth: int) -> None:
        """The statement that combines the running value `total` with one more element."""
        assert isinstance(structure, Reduction)
        if structure.combine in ("add", "mul"):
            pattern = self._syntax[f"{structure.combine}_to"]
            lines += lines_of(pattern.format(name=total, value=value.text), depth)
        else:
            cell = self.elements.cell_of(structure.combine, n.type.dtype)
            self.elements.set(
                total, self.elements.fill(cell, [Text(total), value], n.type.dtype, lines, depth), lines, depth
            )

    # --- assemblies, scatters, kernels --------------------------------------------------------------------------

    def assembly(self, n: Node, structure: Assembly) -> list[Line]:
        """A loop for each part, which sets or adds its elements where they belong."""
        shape = shape_of(self.graph, n.key)
        lines: list[Line] = []
        exclusive = True
        if structure.accumulate:
            parts = structure.places(n.params)
            places = np.concatenate([np.ravel(part) for part in parts or (np.empty(0),)])
            exclusive = parts is not None and len(np.unique(places)) == len(places)
            exclusive = exclusive and not self.target.strict  # 0.0 + -0.0 is 0.0
            placed = any(self.in_place.get(a) == (n.key, k) or (n.key, k) in self.written for k, a in enumerate(n.args))
            apart = exclusive or placed or self.target.strict or parts is None
            rows = None if apart else stretches(self.graph, n)
            if rows is not None:
                return self._by_stretches(n, rows)
            if not (exclusive and len(places) == math.prod(shape)):
                lines += self.cleared(n)
        order: Sequence[int] = range(len(n.args))
        if structure.apart and "independent" in self._syntax:  # the last vectors to be written are whole
            order = sorted(order, key=lambda part: _known(self.graph.node(n.args[part]).type.size))
        for part in order:
            if self.in_place.get(n.args[part]) != (n.key, part) and (n.key, part) not in self.written:
                lines += self.part(n, structure, part, exclusive)
        return lines

    def _by_stretches(
        self, n: Node, rows: Sequence[Stretch], sums: Mapping[str, Node] = {}, start: int = 0
    ) -> list[Line]:
        """A loop for each stretch, in which each element is computed and stored once: no zeros to add to.

        The running values of `sums`, of which element 0 is at row `start`, are added up in the same loops.
        """
        elements, shape, dtype = self.elements, shape_of(self.graph, n.key), n.type.dtype
        add = elements.cell_of("add", dtype)
        lines: list[Line] = []
        for low, high, inside in rows:
            added = {
                name: m
                for name, m in sums.items()
                if start <= low and high <= start + _known(shape_of(self.graph, m.args[0])[0])
            }

            elements.far.clear()
            part = (high - low, *shape[1:])
            shared = self.shared(list(added.values()), part) if added else None
            own, found = added, list[Line]()  # the running values of a share
            if shared is not None:
                own = {self.begun(m, elements.names.fresh(None, "acc_"), 1, found, 1)[0]: m for m in added.values()}

            def one(nest: Nest, body: list[Line], low: int = low, inside: Any = inside, own: Any = own) -> None:
                row, *rest = nest.index
                for name, m in own.items():
                    value = elements.element(m.args[0], (row + (low - start),), False, body, nest.depth)
                    self.combine(m, lookup(m.op).structure, name, value, body, nest.depth)
                value = elements.printer.number(0, dtype)
                for k, (part, first) in enumerate(inside):
                    a = n.args[part]
                    whole_row = len(shape_of(self.graph, a)) < len(shape)  # put there by an integer
                    index = (*rest,) if whole_row else (row + (low - first), *rest)
                    there = elements.element(a, index, False, body, nest.depth)
                    value = there if k == 0 else elements.fill(add, [value, there], dtype, body, nest.depth)
                elements.set(elements.place(n.key, (row + low, *rest)), value, body, nest.depth)

            loop = self.nests.over(part, one, int(shared is not None), span=self.span(shared))
            operators = self.operators(own)
            found += self.nests.rows(loop, part, {}, frozenset(), operators, not own)
            if shared is not None:
                sums_of_part = {elements.names.fresh(None, "part_"): (m, name) for name, m in own.items()}
                found = self.in_shares(shared, found, sums_of_part)
                for (name, m), mine in zip(added.items(), sums_of_part, strict=True):
                    self.combine(m, lookup(m.op).structure, name, Text(mine), found, 0)
            elif not added:
                found = self.shared_by_threads(found, part, math.prod(part), simd=True)
            lines += found
        self.helpers["simd"] = None
        return lines

    def along(self, found: Along) -> list[Line]:
        """The loops of an accumulated result, in which sums are added up."""
        elements, lines, sums = self.elements, list[Line](), dict[str, Node]()
        for m in found.sums:
            name = elements.names.fresh(m.origin.name, "sum_")
            sums |= dict.fromkeys(self.begun(m, name, 1, lines, 0), m)
        elements.once |= found.values
        lines += self._by_stretches(found.result, found.rows, sums, found.start)
        elements.scalars.update({m.key: Text(name) for name, m in sums.items()})
        return lines

    def part(self, n: Node, structure: Assembly, part: int, exclusive: bool = True) -> list[Line]:
        """The loop that sets the elements of one part, or adds them."""
        elements = self.elements
        types = elements.parts_of(n)

        def inside(nest: Nest, body: list[Line]) -> None:
            value = elements.element(n.args[part], nest.index, False, body, nest.depth)
            place = elements.place(n.key, structure.place(part, nest.index, n.params, types))
            if exclusive:
                elements.set(place, value, body, nest.depth)
            else:
                body += lines_of(self._syntax["add_to"].format(name=place, value=value.text), nest.depth)

        elements.far.clear()
        shape = types[part].shape
        nest = self.nests.over(shape, inside)
        apart = structure.apart or (structure.accumulate and exclusive)  # no two places of a part are one
        apart = apart or apart_by_rows(shape, lambda index: structure.place(part, index, n.params, types))
        return self.shared_by_threads(nest, shape, math.prod(shape)) if apart and shape else nest

    def scatter(self, n: Node, structure: Scatter) -> list[Line]:
        """Zeros, and a loop that adds each element at its run-time place; threads have rows of what is added, or to."""
        shape, indices, x = shape_of(self.graph, n.args[0]), self.graph.node(n.args[1]).type, Type(n.params["shape"])
        count = owned_axes(n, structure, shape, indices, self.target.tuning.thread_row)
        found = None if count is None else owned(self, n, structure, count, shape)
        if found is not None:
            return found

        def add(nest: Nest, body: list[Line]) -> None:
            there = self.elements.gathered(n, structure, nest.index, body, nest.depth)
            value = self.elements.element(n.args[0], nest.index, False, body, nest.depth)
            place = self.elements.place(n.key, there)
            body += lines_of(self._syntax["add_to"].format(name=place, value=value.text), nest.depth)

        self.elements.far.clear()
        nest = self.nests.over(shape, add)
        if apart_by_rows(shape, lambda index: structure.source(index, Affine(), n.params, x, indices)):
            nest = self.shared_by_threads(nest, shape, math.prod(shape))
        return self.cleared(n) + nest

    def cleared(self, n: Node) -> list[Line]:
        """Zeros in all of the memory of `n`."""
        buffer, size = self.elements.buffers[n.key], math.prod(shape_of(self.graph, n.key))
        zero = self.elements.printer.number(0, n.type.dtype)
        if "clear" in self._syntax and n.key not in self.elements.bases:
            return lines_of(self._syntax["clear"].format(name=buffer, value=zero.text, size=atom(size)))

        def clear(nest: Nest, body: list[Line]) -> None:
            self.elements.set(self.elements.at(n.key, nest.index[0]), zero, body, nest.depth)

        return self.nests.over((size,), clear)

    def kept(self, n: Node) -> list[Line]:
        """Zeros in the scratch memory of `n`, if it is a kernel that keeps something there from block to block."""
        structure = lookup(n.op).structure
        if not isinstance(structure, Kernel) or not structure.keeps:
            return []
        memory = structure.memory(n.type.dtype, *(self.graph.node(a).type for a in n.args), n.params)
        lines: list[Line] = []
        for name, (dtype, size) in zip(self.scratch[n.key], memory, strict=True):
            zero = self.elements.printer.number(0, dtype)

            def clear(nest: Nest, body: list[Line], name: str = name, zero: Text = zero) -> None:
                self.elements.set(f"{name}[{self.elements.subscripts.text(nest.index[0])}]", zero, body, nest.depth)

            lines += self.nests.over((size,), clear)
        return lines

    def kernel(self, n: Node, structure: Kernel) -> list[Line]:
        """A call of the support function."""
        arrays = [self.elements.start(key) for key in (*n.args, n.key)]
        arrays += [Text(name) for name in self.scratch.get(n.key, ())]
        types = [self.graph.node(a).type for a in n.args]
        return self._call(n, arrays, structure.arguments(*types, n.params), 0)

    def kernel_of_rows(self, n: Node, cut: Cut, start: Affine, count: Extent, depth: int) -> list[Line]:
        """A call of the support function for `count` rows from `start` on, added to what is there if that is a sum."""
        structure = lookup(n.op).structure
        assert isinstance(structure, Kernel)
        types = [self.graph.node(a).type for a in n.args]
        arrays = []
        for k, key in enumerate((*n.args, n.key)):
            shape = shape_of(self.graph, key)
            moved = k in cut.operands or (k == len(n.args) and not cut.adds)
            arrays.append(self.elements.start(key, start * math.prod(shape[1:]) if moved else Affine()))
            if k in cut.operands:
                types[k] = replace(types[k], shape=(count, *shape[1:]))
        arrays += [Text(name) for name in self.scratch.get(n.key, ())]
        numbers = structure.arguments(*types, n.params)
        return self._call(n, arrays, (*numbers[:-1], 1) if cut.adds else numbers, depth)

    def _call(self, n: Node, arrays: Sequence[Text], numbers: Sequence[Any], depth: int) -> list[Line]:
        cell = self.elements.cell(n)
        call = self.elements.printer.fill(cell, [*arrays, *(Text(whole(v)) for v in numbers)])
        return lines_of(self._syntax["call"].format(value=call.text), depth)


STRUCTURES: Mapping[type, Callable[[Structures, Node, Any], list[Line]]] = {
    Assembly: Structures.assembly,
    Contraction: Structures.contraction,
    Kernel: Structures.kernel,
    Reduction: Structures.reduction,
    Scan: Structures.scan,
    Scatter: Structures.scatter,
}


def _known(size: Extent) -> float:
    return size if isinstance(size, int) else math.inf


def is_sum(structure: object) -> bool:
    """Whether this is the structure of a sum."""
    return isinstance(structure, Reduction) and structure.combine == "add"


def parted(shape: Shape, strands: int) -> Shape:
    """`shape` with a part of its long axis, of which it has one where there are several strands."""
    return shape if strands == 1 else tuple(size if size == 1 else size // strands for size in shape)


def shifted(index: Index, start: int) -> Index:
    """The place in a strand: as far behind `index` along the long axis, the only one that moves."""
    return index if start == 0 else tuple(i + start if i.terms else i for i in index)
