"""Structures: the loops of reductions, contractions, scans, assemblies, scatters and kernels.

One method a structure of the registry (see `STRUCTURES`), each from a node to the lines that compute it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..cost import count_of
from ..dims import Extent, atom, whole
from ..graph import Graph, Node
from ..index import Affine, Index
from ..program import Line
from ..registry import Assembly, Contraction, Cut, Gather, Kernel, Reduction, Scan, Scatter, lookup
from ..types import Shape
from .along import Along, Stretch, stretches
from .elements import Elements
from .fusion import shape_of
from .nests import Nest, Nests, Write, lines_of
from .printing import Text

__all__ = ["STRUCTURES", "Structures", "is_sum", "parted", "shifted"]

_LIGHT = 3  # operations, for each sum, of a loop that waits for its additions
_CHUNK = 1024  # elements, which are whole vectors of any kind
_QUICK = {"add", "sub", "mul", "neg", "abs"}


class Structures:
    """Writes array structures as loops over `elements`."""

    def __init__(self, graph: Graph, elements: Elements, nests: Nests) -> None:
        self.graph, self.elements, self.nests = graph, elements, nests
        self._target, self._syntax = elements.target, elements.target.syntax
        self.helpers: dict[str, None] = {}  # patterns in use that have helper code
        self.scratch: dict[int, list[str]] = {}  # of kernels: the names of their memory
        #: values that are computed where an assembly has them: which one, and as which part
        self.in_place: Mapping[int, tuple[int, int]] = {}
        self.written: set[tuple[int, int]] = set()  # parts of assemblies that are in memory already

    # --- reductions, contractions, scans ------------------------------------------------------------------------

    def reduction(self, n: Node, structure: Reduction) -> list[Line]:
        """Each element of the result from a loop of its own; sums of what is not innermost, along what is."""
        source = shape_of(self.graph, n.args[0])
        axes = n.params["axis"]
        if self._sums_across(n, structure, source):
            return self._summed_across(n, source)

        def one(nest: Nest, lines: list[Line]) -> None:
            kept = iter(i for k, i in enumerate(nest.index) if not (n.params["keepdims"] and k in axes))
            outer = {k: next(kept) for k in range(len(source)) if k not in axes}

            def value(inner: Index, body: list[Line], depth: int) -> Text:
                reduced = dict(zip(axes, inner, strict=True))
                index = tuple(reduced[k] if k in reduced else outer[k] for k in range(len(source)))
                return self.elements.element(n.args[0], index, False, body, depth)

            self._accumulate(n, structure, tuple(source[a] for a in axes), value, nest, lines)

        return self._per_element(n, one)

    def _sums_across(self, n: Node, structure: Reduction, source: Shape) -> bool:
        """Whether this is a sum over other axes than the innermost, whose elements may be added in any loop."""
        last = max((k for k, size in enumerate(source) if size != 1), default=-1)
        known = is_sum(structure) and n.type.dtype.kind == "float" and "independent" in self._syntax
        return known and not self._target.strict and last >= 0 and last not in n.params["axis"]

    def _summed_across(self, n: Node, source: Shape) -> list[Line]:
        """Zeros, and a loop in the order of memory that adds: its innermost steps are independent."""
        axes, keepdims = n.params["axis"], n.params["keepdims"]
        first = min(axes)

        def over(nest: Nest, lines: list[Line]) -> None:
            kept = [k for k in range(first, len(source)) if k not in axes]

            def place(index: Mapping[int, Affine]) -> str:
                where = {**dict(enumerate(nest.index)), **index}
                order = [k for k in range(len(source)) if keepdims or k not in axes]
                return self.elements.place(n.key, tuple(Affine() if k in axes else where[k] for k in order))

            def clear(inner: Nest, body: list[Line]) -> None:
                zero = self.elements.printer.number(0, n.type.dtype)
                self.elements.set(place(dict(zip(kept, inner.index, strict=True))), zero, body, inner.depth)

            def add(inner: Nest, body: list[Line]) -> None:
                index = (*nest.index, *inner.index)
                value = self.elements.element(n.args[0], index, False, body, inner.depth)
                text = self._syntax["add_to"].format(name=place(dict(enumerate(index))), value=value.text)
                body += lines_of(text, inner.depth)

            lines += self.nests.over(tuple(source[k] for k in kept), clear, nest.depth)
            self.elements.far.clear()
            loops = self.nests.over(source[first:], add, nest.depth)
            self.helpers.update({"simd": None})
            operators = dict.fromkeys(sorted(self.elements.far), "|")
            lines += self.nests.rows(loops, source[first:], {}, set(), operators, not operators)

        return self.nests.over(source[:first], over)

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
        names = self.begun(n, total, len(strands), lines, nest.depth)

        self.elements.far.clear()

        def inside(inner: Nest, body: list[Line]) -> None:
            for name, start in zip(names, strands, strict=True):
                index = shifted(inner.index, start)
                self.combine(n, structure, name, value(index, body, inner.depth), body, inner.depth)

        sums = {name: self.sum_of(n) for name in names} if is_sum(structure) else {}
        shape = parted(shape, len(strands))
        loops = self.nests.over(shape, inside, nest.depth)
        operators = self.operators(dict.fromkeys(names, n))
        lines += self.nests.rows(loops, shape, sums, self.elements.subscripts.out_of_order, operators)
        self.ended(n, names, lines, nest.depth)
        if n.type.shape:
            self.elements.set(self.elements.place(n.key, nest.index), Text(total), lines, nest.depth)
        else:
            self.elements.scalars[n.key] = Text(total)

    def scan(self, n: Node, structure: Scan) -> list[Line]:
        """Loops over the other axes, and in each one running value that goes along the axis."""
        shape, axis = shape_of(self.graph, n.key), n.params["axis"]
        size = shape[axis]

        def along(nest: Nest, lines: list[Line]) -> None:
            total = self.elements.names.fresh(None, "acc_")
            lines += lines_of(self.accumulator(n, total, structure.initial), nest.depth)

            def inside(inner: Nest, body: list[Line]) -> None:
                (i,) = inner.index
                place = i * -1 + (size - 1) if n.params["reverse"] else i
                index = (*nest.index[:axis], place, *nest.index[axis:])
                for combine, a in zip(structure.combine, n.args, strict=True):
                    value = self.elements.element(a, index, False, body, inner.depth)
                    self.combine(n, Reduction(combine, structure.initial), total, value, body, inner.depth)
                self.elements.set(self.elements.place(n.key, index), Text(total), body, inner.depth)

            lines += self.nests.over((size,), inside, nest.depth)

        return self.nests.over((*shape[:axis], *shape[axis + 1 :]), along)

    def accumulator(self, n: Node, name: str, initial: float) -> str:
        """The statement that makes the running value `name` of `n`."""
        dtype = n.type.dtype
        number = int(initial) if dtype.kind == "int" and math.isfinite(initial) else initial
        value = self.elements.printer.number(number, dtype).text
        return self._syntax["accumulator"].format(type=self.elements.type(n), name=name, value=value)

    def shared_by_threads(self, nest: list[Line], shape: Shape, work: Extent, *, simd: bool = False) -> list[Line]:
        """A nest of loops over `shape`, whose iterations need nothing of each other; threads share the outermost.

        Where that is the only one and is to become vectors (`simd`), threads take whole vectors, so that the same
        elements are left over for any number of threads.
        """
        least = self._target.tuning.thread_elements
        if not self._target.threads or (isinstance(work, int) and work < least) or all(size == 1 for size in shape):
            return nest
        clauses = "" if isinstance(work, int) else f" if(parallel : {work} >= {least})"
        clauses += "".join(f" reduction(| : {name})" for name in sorted(self.elements.far))
        alone = simd and sum(size != 1 for size in shape) == 1
        clauses = f"simd schedule(static, {_CHUNK}){clauses}" if alone else f"schedule(static){clauses}"
        rest = [line for line in nest if line.text != self._syntax.get("independent")] if alone else nest
        return [Line(nest[0].depth, self._syntax["parallel"].format(clauses=clauses)), *rest]

    def strands(self, totals: Sequence[Node], shape: Shape) -> range:
        """Where the strands of a loop over `shape` start, each of which has running values of its own for `totals`.

        One addition waits for the one before, some four cycles; so a loop that does little else goes through several
        parts of the long axis side by side.
        """
        long = [size for size in shape if size != 1]
        size, tuning = long[0] if len(long) == 1 else None, self._target.tuning
        if (
            not isinstance(size, int)
            or size % tuning.sum_strands
            or size // tuning.sum_strands < max(2, tuning.strand_elements)
        ):
            return range(1)
        free = len(self.operators({str(k): n for k, n in enumerate(totals)})) == len(totals) > 0
        light = sum(self._weight(n) for n in totals) <= _LIGHT * len(totals)
        return range(0, size, size // tuning.sum_strands) if free and light else range(1)

    def _weight(self, n: Node) -> float:
        """How many additions and multiplications an element of the reduction `n` takes; inf where there are others."""
        count, stack = 0.0, [*n.args]
        while stack:
            m = self.graph.node(stack.pop())
            places = (self.elements.buffers, self.elements.scalars, self.elements.locals)
            if any(m.key in place for place in places) or (not m.args and not m.type.shape):
                continue
            op = lookup(m.op)
            if op.kind == "elementwise":
                count += 1 if {*count_of(self.graph, m)} <= _QUICK else math.inf
            elif op.kind != "layout" or isinstance(op.structure, Gather) or m.key in self.elements.around:
                return math.inf
            stack += m.args
        return count

    def begun(self, n: Node, total: str, strands: int, lines: list[Line], depth: int) -> list[str]:
        """The names of the running values of each strand, of which `total` is the first."""
        structure = lookup(n.op).structure
        initial = structure.initial if isinstance(structure, Reduction) else 0.0
        names = [total, *(self.elements.names.fresh(None, "acc_") for _ in range(strands - 1))]
        for name in names:
            lines += lines_of(self.accumulator(n, name, initial), depth)
        return names

    def ended(self, n: Node, names: Sequence[str], lines: list[Line], depth: int) -> None:
        """The statements that combine the running values of all strands into the first, in pairs."""
        structure = lookup(n.op).structure
        reduction = structure if isinstance(structure, Reduction) else Reduction("add", 0.0)
        while len(names) > 1:
            half = (len(names) + 1) // 2
            for one, other in zip(names, names[half:], strict=False):
                self.combine(n, reduction, one, Text(other), lines, depth)
            names = names[:half]

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
            cells, key = lookup(combine).cells, f"{self._target.name}.reduction"
            operator = cells.get(f"{key}.{n.type.dtype.name}", cells.get(key, ""))
            if operator and n.type.dtype.kind == "float" and not self._target.strict:
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
            exclusive = exclusive and not self._target.strict  # 0.0 + -0.0 is 0.0
            placed = any(self.in_place.get(a) == (n.key, k) or (n.key, k) in self.written for k, a in enumerate(n.args))
            apart = exclusive or placed or self._target.strict or parts is None
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

            def one(nest: Nest, body: list[Line], low: int = low, inside: Any = inside, added: Any = added) -> None:
                row, *rest = nest.index
                for name, m in added.items():
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

            elements.far.clear()
            loop = self.nests.over((high - low, *shape[1:]), one)
            operators = self.operators(added)
            lines += self.nests.rows(loop, (high - low, *shape[1:]), {}, frozenset(), operators, not added)
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
        elements, types = self.elements, [self.graph.node(a).type for a in n.args]

        def inside(nest: Nest, body: list[Line]) -> None:
            value = elements.element(n.args[part], nest.index, False, body, nest.depth)
            place = elements.place(n.key, structure.place(part, nest.index, n.params, types))
            if exclusive:
                elements.set(place, value, body, nest.depth)
            else:
                body += lines_of(self._syntax["add_to"].format(name=place, value=value.text), nest.depth)

        return self.nests.over(types[part].shape, inside)

    def scatter(self, n: Node, structure: Scatter) -> list[Line]:
        """Zeros, and a loop that adds each element at its run-time place."""

        def add(nest: Nest, body: list[Line]) -> None:
            there = self.elements.gathered(n, structure, nest.index, body, nest.depth)
            value = self.elements.element(n.args[0], nest.index, False, body, nest.depth)
            place = self.elements.place(n.key, there)
            body += lines_of(self._syntax["add_to"].format(name=place, value=value.text), nest.depth)

        return self.cleared(n) + self.nests.over(shape_of(self.graph, n.args[0]), add)

    def cleared(self, n: Node) -> list[Line]:
        """Zeros in all of the memory of `n`."""
        buffer, size = self.elements.buffers[n.key], math.prod(shape_of(self.graph, n.key))
        zero = self.elements.printer.number(0, n.type.dtype)
        if "clear" in self._syntax and n.key not in self.elements.bases:
            return lines_of(self._syntax["clear"].format(name=buffer, value=zero.text, size=atom(size)))

        def clear(nest: Nest, body: list[Line]) -> None:
            self.elements.set(self.elements.at(n.key, nest.index[0]), zero, body, nest.depth)

        return self.nests.over((size,), clear)

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
