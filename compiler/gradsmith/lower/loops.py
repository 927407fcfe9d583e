"""Loop lowering: scalars become local variables, arrays become buffers filled by loop nests (C, and Python at length).

In: a graph, the outputs wanted, and a target with statement syntax. Out: a `Body`. Layout ops cost nothing: they turn
into subscripts. What is computed when is decided by `fusion`, where it lives by `memory`; how an element is written by
`elements`, how an array structure by `structures`. Results go into output parameters and buffers into a workspace,
unless the target's functions return their results: then they make their buffers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..graph import Graph, Node
from ..index import flatten
from ..origin import Origin
from ..program import Argument, Line
from ..registry import Reduction, Scan, lookup
from ..target import Target
from ..types import DType, format_shape
from .elements import Elements
from .fusion import Unit, fuse, shape_of
from .memory import Lifetime, place_buffers
from .naming import Names
from .nests import Nest, Nests, Write, lines_of
from .printing import Text
from .statements import Body, Group, annotated, may_raise, plan, working_dtype
from .structures import STRUCTURES, Structures, is_sum
from .subscripts import Subscripts
from .tables import FlatTables

__all__ = ["loops"]


def loops(
    graph: Graph,
    groups: Sequence[Group],
    inputs: Sequence[Argument],
    target: Target,
    names: Names,
    tables: FlatTables,
    main: DType,
    *,
    twin: bool = False,
) -> Body:
    """The body that computes `groups`; workspace of dtype `main` has the plain name.

    `twin` uses the target's second set of cells.
    """
    return _Writer(graph, groups, inputs, target, names, tables, main, twin).body()


class _Writer:
    """The state of writing one function: its elements, its loops, and the units of its schedule."""

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Group],
        inputs: Sequence[Argument],
        target: Target,
        names: Names,
        tables: FlatTables,
        main: DType,
        twin: bool,
    ) -> None:
        self.graph, self.groups, self.inputs, self.target, self.names, self.main = (
            graph, groups, inputs, target, names, main,
        )  # fmt: skip
        self.tables, self.twin = tables, twin
        self.plan = plan(graph, groups, implicit_broadcast=False)
        self.subscripts = Subscripts(tables, names)
        self.elements = Elements(graph, inputs, target, names, self.subscripts, twin)
        self.nests = Nests(target, names)
        self.structures = Structures(graph, self.elements, self.nests)
        self.result = Body([])
        self.stored: set[int] = set()  # scalar outputs already written

    # --- the whole body -----------------------------------------------------------------------------------------

    def body(self) -> Body:
        entry = self._entry()
        self._constants()
        self.units = fuse(self.graph, self.plan, self._repeated())
        declared = self._allocate()
        steps: list[tuple[Origin, list[Line]]] = []
        for unit in self.units.order:
            steps.append((unit.nodes[0].origin, self._unit(unit)))
        stores = self._stores()
        tables = [] if self.tables.of_file else self.tables.lines
        self.result.lines = [*entry, *tables, *declared, *annotated(steps, self.target), *stores]
        self.result.result = self._results()
        return self.result

    def _entry(self) -> list[Line]:
        """What is done with the arguments first: one that is not read is said to be, nested lists become flat ones."""
        read = {n.key for n in self.plan.nodes}
        lines: list[Line] = []
        for key, a in zip(self.graph.inputs, self.inputs, strict=True):
            pattern = "unused" if key not in read else "scalar_entry" if a.is_scalar else "flatten"
            if pattern in self.target.syntax:
                lines += lines_of(self.target.syntax[pattern].format(name=a.name, shape=format_shape(a.shape)))
                self.result.helpers[pattern] = None
        return lines

    def _results(self) -> str:
        """The names of all results, nested again where they are arrays, for a target whose functions return them."""
        shown = []
        for out in (g.argument for g in self.groups if self.target.returns):
            pattern = "nest" if len(out.shape) > 1 else "flat"
            self.result.helpers[pattern] = None
            shown.append(self.target.syntax[pattern].format(name=out.name, shape=format_shape(out.shape)))
        return "\n".join(shown)

    def _constants(self) -> None:
        for n in self.plan.nodes:
            op = lookup(n.op)
            if n.op == "constant":
                value = n.params["value"]
                if isinstance(value, np.ndarray):
                    self.elements.buffers[n.key] = self.tables.constant(n, self.names)
                else:
                    self.elements.scalars[n.key] = self.elements.printer.number(value, n.type.dtype)
            elif op.kind != "leaf":
                dtype = working_dtype(self.graph, n)
                raises = may_raise(self.graph, n, self.target)
                self.result.may_raise = self.result.may_raise or raises
                if self.twin and not raises:  # the twin's own support is for what may raise
                    continue
                self.result.ops[op.name, dtype] = op
                if isinstance(op.structure, Reduction):
                    self.result.ops[op.structure.combine, dtype] = lookup(op.structure.combine)
                elif isinstance(op.structure, Scan):
                    self.result.ops.update({(name, dtype): lookup(name) for name in op.structure.combine})

    def _repeated(self) -> set[int]:
        found: set[int] = set()
        for n in self.plan.nodes:
            cell = self.elements.cell(n)
            if lookup(n.op).kind == "elementwise" and not n.type.shape:
                found.update(n.args[i] for i in self.elements.printer.repeats(cell))
        return found

    # --- memory -------------------------------------------------------------------------------------------------

    def _allocate(self) -> list[Line]:
        """Names and places of all stored arrays: output parameters where possible, the workspace otherwise."""
        for group in self.groups:
            (key,) = group.keys
            if group.argument.shape and key in self.units.reads and key not in self.elements.buffers:
                self.elements.buffers[key] = group.argument.name
        last: dict[int, int] = {}
        for i, unit in enumerate(self.units.order):
            for n in unit.nodes:
                for key in self.units.reads[n.key]:
                    last[key] = i
        for group in self.groups:  # copied out at the end
            for key in self._stored_under(group.keys[0]):
                last[key] = len(self.units.order)
        lifetimes: dict[int, Lifetime] = {}
        for i, unit in enumerate(self.units.order):
            for n in unit.nodes:
                if n.type.shape and n.key not in self.elements.buffers and last.get(n.key, i) > i:
                    lifetimes[n.key] = (max(1, n.type.size), i, last[n.key])
                elif n.type.shape and n.key not in self.elements.buffers and not unit.shared:
                    lifetimes[n.key] = (max(1, n.type.size), i, i)
        declared = self._made(lifetimes) if self.target.returns else self._placed(lifetimes)
        for alias, base in self.units.aliases.items():
            if base in self.elements.buffers:
                self.elements.buffers[alias] = self.elements.buffers[base]
        return declared

    def _placed(self, lifetimes: Mapping[int, Lifetime]) -> list[Line]:
        """Pointers into the workspaces."""
        declared = []
        for dtype in sorted({self.graph.nodes[key]["dtype"] for key in lifetimes}):
            placed = {key: life for key, life in lifetimes.items() if self.graph.nodes[key]["dtype"] == dtype}
            offsets, self.result.work[dtype] = place_buffers(placed)
            work = "work" if dtype == self.main else f"work_{dtype.short}"
            for key in placed:
                place = f"{work} + {offsets[key]}" if offsets[key] else work
                n = self.graph.node(key)
                name = self.elements.buffers[key] = self.names.fresh(self.elements.wish(n))
                pattern = self.target.syntax["buffer"]
                declared += lines_of(pattern.format(type=self.elements.type(n), name=name, place=place))
        return declared

    def _made(self, lifetimes: Mapping[int, Lifetime]) -> list[Line]:
        """Buffers of the function's own, and those that it returns."""
        declared = []
        for out, (key,) in ((g.argument, g.keys) for g in self.groups if g.argument.shape):
            declared += self._new(self.graph.node(key), out.name, out.size)
        for key in lifetimes:
            n = self.graph.node(key)
            name = self.elements.buffers[key] = self.names.fresh(self.elements.wish(n))
            declared += self._new(n, name, n.type.size)
        return declared

    def _new(self, n: Node, name: str, size: int) -> list[Line]:
        zero = self.elements.printer.number(0, n.type.dtype).text
        return lines_of(self.target.syntax["buffer"].format(name=name, value=zero, size=size))

    def _stored_under(self, key: int) -> list[int]:
        """The stored values that reading `key` reads."""
        found, stack = [], [key]
        while stack:
            k = self.units.aliases.get(stack[-1], stack[-1])
            stack.pop()
            if k in self.units.virtual:
                stack.extend(self.graph.nodes[k]["args"])
            else:
                found.append(k)
        return found

    def _stores(self) -> list[Line]:
        """What output parameters still lack: scalars, and arrays that live elsewhere."""
        lines: list[Line] = []
        for group in self.groups:
            (key,), out = group.keys, group.argument
            if key in self.stored:
                continue
            if out.is_scalar:
                value = self.elements.element(key, (), False, lines, 0)
                value = self.elements.stored(self.graph.node(key), value)
                lines += lines_of(self.target.syntax["store"].format(name=out.name, value=value.text))
            elif self.elements.buffers.get(key) != out.name:
                lines += self.nests.over(out.shape, self._copier(key, out))
        return lines

    def _copier(self, key: int, out: Argument) -> Write:
        return lambda nest, lines: self._copy(key, out, nest, lines)

    def _copy(self, key: int, out: Argument, nest: Nest, lines: list[Line]) -> None:
        value = self.elements.element(key, nest.index, False, lines, nest.depth)
        place = f"{out.name}[{self.subscripts.offset(nest.index, out.shape)}]"
        self.elements.set(place, self.elements.stored(self.graph.node(key), value), lines, nest.depth)

    # --- units --------------------------------------------------------------------------------------------------

    def _unit(self, unit: Unit) -> list[Line]:
        self.subscripts.out_of_order.clear()
        if unit.shared:
            return self._shared_loop(unit)
        (n,) = unit.nodes
        structure = lookup(n.op).structure
        if type(structure) in STRUCTURES:
            return STRUCTURES[type(structure)](self.structures, n, structure)
        lines: list[Line] = []
        value = self.elements.compute(n, (), False, lines, 0)
        if n.key in self.plan.outputs and self.plan.uses[n.key] == 1:
            self.stored.add(n.key)
            value = self.elements.stored(n, value)
            return lines + lines_of(self.target.syntax["store"].format(name=self.plan.outputs[n.key], value=value.text))
        name = self.names.fresh(self.elements.wish(n))
        lines += lines_of(self.elements.assign(n, name, value.text))
        self.elements.scalars[n.key] = Text(name)
        return lines

    def _shared_loop(self, unit: Unit) -> list[Line]:
        """One loop that computes several element-wise arrays and full reductions of the same shape."""
        before: list[Line] = []
        totals: dict[int, str] = {}
        for n in unit.nodes:
            structure = lookup(n.op).structure
            if isinstance(structure, Reduction):
                totals[n.key] = self.names.fresh(n.origin.name, "sum_" if structure.combine == "add" else "acc_")
                before += lines_of(self.structures.accumulator(n, totals[n.key], structure.initial))
        flat = len(unit.shape) > 1 and all(self._walks_flat(n) for n in unit.nodes)
        shape = (math.prod(unit.shape),) if flat else unit.shape

        def inside(nest: Nest, lines: list[Line]) -> None:
            nest = Nest(nest.index, flat, nest.depth)
            for n in unit.nodes:
                if n.key in totals:
                    value = self.elements.element(n.args[0], nest.index, flat, lines, nest.depth)
                    self.structures.combine(n, lookup(n.op).structure, totals[n.key], value, lines, nest.depth)
                else:
                    self._shared_element(n, unit, nest, lines)

        summed = [n for n in unit.nodes if n.key in totals and is_sum(lookup(n.op).structure)]
        sums = {totals[n.key]: self.structures.sum_of(n) for n in summed}
        loops = self.nests.over(shape, inside)
        lines = before + self.nests.rows(loops, shape, sums, self.subscripts.out_of_order)
        self.elements.locals.clear()
        self.elements.scalars.update({key: Text(name) for key, name in totals.items()})
        return lines

    def _shared_element(self, n: Node, unit: Unit, nest: Nest, lines: list[Line]) -> None:
        value = self.elements.compute(n, nest.index, nest.flat, lines, nest.depth)
        buffer = self.elements.buffers.get(n.key)
        read_here = any(n.key in self.units.reads[m.key] for m in unit.nodes)
        if read_here or buffer is None:
            name = self.names.fresh(None if buffer is not None else self.elements.wish(n))
            lines += lines_of(self.elements.assign(n, name, value.text), nest.depth)
            self.elements.locals[n.key] = value = Text(name)
        if buffer is not None:
            offset = nest.index[0] if nest.flat else flatten(nest.index, shape_of(self.graph, n.key))
            self.elements.set(
                f"{buffer}[{self.subscripts.text(offset)}]", self.elements.stored(n, value), lines, nest.depth
            )

    def _walks_flat(self, n: Node) -> bool:
        """Whether every array that `n` reads has its own shape and is read at the place being computed."""
        stack = list(n.args) if lookup(n.op).kind != "layout" else [n.key]
        shape = shape_of(self.graph, n.args[0] if lookup(n.op).kind == "reduction" else n.key)
        while stack:
            key = stack.pop()
            a = self.graph.nodes[key]
            if a["shape"] == ():
                continue
            kind = lookup(a["op"]).kind
            if a["op"] == "broadcast_to" and self.graph.nodes[a["args"][0]]["shape"] == ():
                continue
            if shape_of(self.graph, key) != shape:
                return False
            if key in self.units.virtual:
                if kind != "elementwise":
                    return False
                stack.extend(a["args"])
            elif key == n.key and kind == "layout":
                return False
        return True
