"""Structures: the loops of reductions, contractions, scans, assemblies, scatters and kernels.

One method a structure of the registry (see `STRUCTURES`), each from a node to the lines that compute it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dims import Extent, atom, whole
from ..graph import Graph, Node
from ..index import Index
from ..program import Line
from ..registry import Assembly, Contraction, Kernel, Reduction, Scan, Scatter, lookup
from ..types import Shape
from .elements import Elements
from .fusion import shape_of
from .nests import Nest, Nests, Write, lines_of
from .printing import Text

__all__ = ["STRUCTURES", "Structures", "is_sum"]


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
        """Each element of the result from a loop of its own."""
        source = shape_of(self.graph, n.args[0])
        axes = n.params["axis"]

        def one(nest: Nest, lines: list[Line]) -> None:
            kept = iter(i for k, i in enumerate(nest.index) if not (n.params["keepdims"] and k in axes))
            outer = {k: next(kept) for k in range(len(source)) if k not in axes}

            def value(inner: Index, body: list[Line], depth: int) -> Text:
                reduced = dict(zip(axes, inner, strict=True))
                index = tuple(reduced[k] if k in reduced else outer[k] for k in range(len(source)))
                return self.elements.element(n.args[0], index, False, body, depth)

            self._accumulate(n, structure, tuple(source[a] for a in axes), value, nest, lines)

        return self._per_element(n, one)

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
            return self.nests.over(shape, write)
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
        total = self.elements.names.fresh(n.origin.name if not n.type.shape else None, "acc_")
        lines += lines_of(self.accumulator(n, total, structure.initial), nest.depth)

        self.elements.far.clear()

        def inside(inner: Nest, body: list[Line]) -> None:
            self.combine(n, structure, total, value(inner.index, body, inner.depth), body, inner.depth)

        sums = {total: self.sum_of(n)} if is_sum(structure) else {}
        loops = self.nests.over(shape, inside, nest.depth)
        operators = self.operators({total: n})
        lines += self.nests.rows(loops, shape, sums, self.elements.subscripts.out_of_order, operators)
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
            if not (exclusive and len(places) == math.prod(shape)):
                lines += self.cleared(n)
        order: Sequence[int] = range(len(n.args))
        if structure.apart and "independent" in self._syntax:  # the last vectors to be written are whole
            order = sorted(order, key=lambda part: _known(self.graph.node(n.args[part]).type.size))
        for part in order:
            if self.in_place.get(n.args[part]) != (n.key, part) and (n.key, part) not in self.written:
                lines += self.part(n, structure, part, exclusive)
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
        numbers = [Text(whole(v)) for v in structure.arguments(*types, n.params)]
        call = self.elements.printer.fill(self.elements.cell(n), [*arrays, *numbers])
        return lines_of(self._syntax["call"].format(value=call.text))


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
