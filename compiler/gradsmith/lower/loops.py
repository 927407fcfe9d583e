"""Loop lowering: scalars become local variables, arrays become buffers filled by loop nests (C and its like).

In: a graph, the outputs wanted, and a target with statement syntax. Out: a `Body`. Layout ops cost nothing: they turn
into subscripts. What is computed when is decided by `fusion`, where it lives by `memory`; this module writes it down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Node
from ..index import Affine, Index, Lookup, flatten, variable
from ..origin import Origin
from ..program import Argument, Line
from ..registry import Assembly, Contraction, Counter, Gather, Kernel, Layout, Reduction, Scan, Scatter, lookup
from ..target import Target
from ..types import DType, Type, static_shape
from .fusion import Unit, fuse, shape_of
from .memory import Lifetime, place_buffers
from .naming import Names
from .printing import WIDTH, Printer, Text, wrapped
from .statements import Body, Group, annotated, cotangent_owners, plan, working_dtype

__all__ = ["loops"]


def loops(
    graph: Graph, groups: Sequence[Group], inputs: Sequence[Argument], target: Target, names: Names, main: DType
) -> Body:
    """The body that computes `groups` into its output parameters; workspace of dtype `main` has the plain name."""
    return _Writer(graph, groups, inputs, target, names, main).body()


@dataclass(frozen=True)
class _Nest:
    """The loop being written: its subscript, and whether arrays are walked as one flat block."""

    index: Index
    flat: bool
    depth: int


_Write = Callable[[_Nest, list[Line]], None]


class _Writer:
    """The state of writing one function: where each value is, and the lines so far."""

    def __init__(
        self,
        graph: Graph,
        groups: Sequence[Group],
        inputs: Sequence[Argument],
        target: Target,
        names: Names,
        main: DType,
    ) -> None:
        self.graph, self.groups, self.target, self.names, self.main = graph, groups, target, names, main
        self.printer = Printer(target)
        self.plan = plan(graph, groups, implicit_broadcast=False)
        self.owners = cotangent_owners(graph)
        self.result = Body([])
        self.tables: list[Line] = []
        self.lookups: dict[Lookup, str] = {}
        self.scalars: dict[int, Text] = {}
        self.buffers: dict[int, str] = {}
        self.locals: dict[int, Text] = {}  # values of the loop being written
        #: names of run-time indices; the list of lines is kept so that its id stays its own
        self.wrapped: dict[tuple[int, str, int], tuple[list[Line], str]] = {}
        self.variables: list[str] = []
        self.out_of_order: set[str] = set()  # loop variables by which something is read not forwards
        self.stored: set[int] = set()  # scalar outputs already written
        for key, a in zip(graph.inputs, inputs, strict=True):
            if a.is_scalar:
                self.scalars[key] = Text(a.name)
            else:
                self.buffers[key] = a.name

    # --- the whole body -----------------------------------------------------------------------------------------

    def body(self) -> Body:
        self._constants()
        repeated = self._repeated()
        self.units = fuse(self.graph, self.plan, repeated)
        declared = self._allocate()
        steps: list[tuple[Origin, list[Line]]] = []
        for unit in self.units.order:
            steps.append((unit.nodes[0].origin, self._unit(unit)))
        stores = self._stores()
        unused = [Line(0, self.target.syntax["unused"].format(name=n)) for n in self._unused_inputs()]
        self.result.lines = [*unused, *self.tables, *declared, *annotated(steps, self.target), *stores]
        return self.result

    def _constants(self) -> None:
        for n in self.plan.nodes:
            op = lookup(n.op)
            if n.op == "constant":
                value = n.params["value"]
                if isinstance(value, np.ndarray):
                    self.buffers[n.key] = self._table(n, value)
                else:
                    self.scalars[n.key] = self.printer.number(value, n.type.dtype)
            elif op.kind != "leaf":
                dtype = working_dtype(self.graph, n)
                self.result.ops[op.name, dtype] = op
                if isinstance(op.structure, Reduction):
                    self.result.ops[op.structure.combine, dtype] = lookup(op.structure.combine)
                elif isinstance(op.structure, Scan):
                    self.result.ops.update({(name, dtype): lookup(name) for name in op.structure.combine})

    def _table(self, n: Node, value: np.ndarray) -> str:
        name = self.names.fresh(n.origin.name, "table_")
        entries = ", ".join(self.printer.number(v.item(), n.type.dtype).text for v in value.ravel())
        text = self.target.syntax["table"].format(
            type=self._type(n), name=name, size=max(1, value.size), values=entries or "0"
        )
        self.tables += _lines(text)
        return name

    def _repeated(self) -> set[int]:
        found: set[int] = set()
        for n in self.plan.nodes:
            cell = self._cell(n)
            if lookup(n.op).kind == "elementwise" and not n.type.shape:
                found.update(n.args[i] for i in self.printer.repeats(cell))
        return found

    def _unused_inputs(self) -> list[str]:
        read = {n.key for n in self.plan.nodes}
        texts = {key: t.text for key, t in self.scalars.items()} | self.buffers
        return [texts[key] for key in self.graph.inputs if key not in read]

    # --- memory -------------------------------------------------------------------------------------------------

    def _allocate(self) -> list[Line]:
        """Names and places of all stored arrays: output parameters where possible, the workspace otherwise."""
        for group in self.groups:
            (key,) = group.keys
            if group.argument.shape and key in self.units.reads and key not in self.buffers:
                self.buffers[key] = group.argument.name
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
                if n.type.shape and n.key not in self.buffers and last.get(n.key, i) > i:
                    lifetimes[n.key] = (max(1, n.type.size), i, last[n.key])
                elif n.type.shape and n.key not in self.buffers and not unit.shared:
                    lifetimes[n.key] = (max(1, n.type.size), i, i)
        declared = []
        for dtype in sorted({self.graph.nodes[key]["dtype"] for key in lifetimes}):
            placed = {key: life for key, life in lifetimes.items() if self.graph.nodes[key]["dtype"] == dtype}
            offsets, self.result.work[dtype] = place_buffers(placed)
            work = "work" if dtype == self.main else f"work_{dtype.short}"
            for key in placed:
                n = self.graph.node(key)
                self.buffers[key] = self.names.fresh(self._wish(n))
                place = f"{work} + {offsets[key]}" if offsets[key] else work
                pattern = self.target.syntax["buffer"]
                declared += _lines(pattern.format(type=self._type(n), name=self.buffers[key], place=place))
        for alias, base in self.units.aliases.items():
            if base in self.buffers:
                self.buffers[alias] = self.buffers[base]
        return declared

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
                value = self._element(key, (), False, lines, 0)
                value = self._stored(self.graph.node(key), value)
                lines += _lines(self.target.syntax["store"].format(name=out.name, value=value.text))
            elif self.buffers.get(key) != out.name:
                lines += self._loop_over(out.shape, self._copier(key, out))
        return lines

    def _copier(self, key: int, out: Argument) -> Callable[[_Nest, list[Line]], None]:
        return lambda nest, lines: self._copy(key, out, nest, lines)

    def _copy(self, key: int, out: Argument, nest: _Nest, lines: list[Line]) -> None:
        value = self._element(key, nest.index, False, lines, nest.depth)
        place = f"{out.name}[{self._offset(nest.index, out.shape)}]"
        self._set(place, self._stored(self.graph.node(key), value), lines, nest.depth)

    # --- units --------------------------------------------------------------------------------------------------

    def _unit(self, unit: Unit) -> list[Line]:
        self.out_of_order.clear()
        if unit.shared:
            return self._shared_loop(unit)
        (n,) = unit.nodes
        structure = lookup(n.op).structure
        if isinstance(structure, Assembly):
            return self._assembly(n, structure)
        if isinstance(structure, Scatter):
            return self._scatter(n, structure)
        if isinstance(structure, Kernel):
            return self._kernel(n, structure)
        if isinstance(structure, Scan):
            return self._scan(n, structure)
        if isinstance(structure, Reduction):
            return self._per_element(n, lambda nest, lines: self._reduce(n, structure, nest, lines))
        if isinstance(structure, Contraction):
            return self._per_element(n, lambda nest, lines: self._contract(n, structure, nest, lines))
        lines: list[Line] = []
        value = self._compute(n, (), False, lines, 0)
        if n.key in self.plan.outputs and self.plan.uses[n.key] == 1:
            self.stored.add(n.key)
            value = self._stored(n, value)
            return lines + _lines(self.target.syntax["store"].format(name=self.plan.outputs[n.key], value=value.text))
        name = self.names.fresh(self._wish(n))
        lines += _lines(self._assign(n, name, value.text))
        self.scalars[n.key] = Text(name)
        return lines

    def _wish(self, n: Node) -> str | None:
        """`d_` and the name of the value that `n` is the cotangent of, or the user's name."""
        owner = self.owners.get(n.key, -1)
        name = self.buffers.get(owner) or self.scalars.get(owner, Text("")).text
        return f"d_{name}" if name.isidentifier() else n.origin.name

    def _assign(self, n: Node, name: str, value: str) -> str:
        return self.target.syntax["assign"].format(type=self._type(n), name=name, value=value)

    def _type(self, n: Node) -> str:
        return self.target.types[n.type.dtype.name]

    def _cell(self, n: Node) -> str:
        """How the target writes `n`, on operands `{0}`, `{1}` …"""
        cell = self.target.cell(lookup(n.op), working_dtype(self.graph, n))
        if callable(cell):
            cell = cell([f"{{{i}}}" for i in range(len(n.args))], n.params, [self.graph.node(a).type for a in n.args])
        return cell or ""

    def _shared_loop(self, unit: Unit) -> list[Line]:
        """One loop that computes several element-wise arrays and full reductions of the same shape."""
        before: list[Line] = []
        totals: dict[int, str] = {}
        for n in unit.nodes:
            structure = lookup(n.op).structure
            if isinstance(structure, Reduction):
                totals[n.key] = self.names.fresh(n.origin.name, "sum_" if structure.combine == "add" else "acc_")
                before += _lines(self._accumulator(n, totals[n.key], structure.initial))
        flat = len(unit.shape) > 1 and all(self._walks_flat(n) for n in unit.nodes)
        shape = (math.prod(unit.shape),) if flat else unit.shape

        def inside(nest: _Nest, lines: list[Line]) -> None:
            nest = _Nest(nest.index, flat, nest.depth)
            for n in unit.nodes:
                if n.key in totals:
                    value = self._element(n.args[0], nest.index, flat, lines, nest.depth)
                    self._combine(n, lookup(n.op).structure, totals[n.key], value, lines, nest.depth)
                else:
                    self._shared_element(n, unit, nest, lines)

        sums = [totals[n.key] for n in unit.nodes if n.key in totals and _is_sum(lookup(n.op).structure)]
        lines = before + self._rows(unit.nodes[-1], self._loop_over(shape, inside), shape, sums)
        self.locals.clear()
        self.scalars.update({key: Text(name) for key, name in totals.items()})
        return lines

    def _shared_element(self, n: Node, unit: Unit, nest: _Nest, lines: list[Line]) -> None:
        value = self._compute(n, nest.index, nest.flat, lines, nest.depth)
        buffer = self.buffers.get(n.key)
        read_here = any(n.key in self.units.reads[m.key] for m in unit.nodes)
        if read_here or buffer is None:
            name = self.names.fresh(None if buffer is not None else self._wish(n))
            lines += _lines(self._assign(n, name, value.text), nest.depth)
            self.locals[n.key] = value = Text(name)
        if buffer is not None:
            offset = nest.index[0] if nest.flat else flatten(nest.index, shape_of(self.graph, n.key))
            self._set(f"{buffer}[{self._subscript(offset)}]", self._stored(n, value), lines, nest.depth)

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

    def _per_element(self, n: Node, write: _Write) -> list[Line]:
        """A loop over the result of `n`, or one statement for a scalar."""
        shape = shape_of(self.graph, n.key)
        if shape:
            return self._loop_over(shape, write)
        lines: list[Line] = []
        write(_Nest((), False, 0), lines)
        return lines

    def _reduce(self, n: Node, structure: Reduction, nest: _Nest, lines: list[Line]) -> None:
        source = shape_of(self.graph, n.args[0])
        axes = n.params["axis"]
        kept = iter(i for k, i in enumerate(nest.index) if not (n.params["keepdims"] and k in axes))
        outer = {k: next(kept) for k in range(len(source)) if k not in axes}

        def value(inner: Index, body: list[Line], depth: int) -> Text:
            reduced = dict(zip(axes, inner, strict=True))
            index = tuple(reduced[k] if k in reduced else outer[k] for k in range(len(source)))
            return self._element(n.args[0], index, False, body, depth)

        self._accumulate(n, structure, tuple(source[a] for a in axes), value, nest, lines)

    def _contract(self, n: Node, structure: Contraction, nest: _Nest, lines: list[Line]) -> None:
        a, b = n.args
        types = self.graph.node(a).type, self.graph.node(b).type

        def value(inner: Index, body: list[Line], depth: int) -> Text:
            left, right = structure.sources(nest.index, inner[0], *types)
            factors = [self._element(a, left, False, body, depth), self._element(b, right, False, body, depth)]
            return self._fill(self._cell_of("mul", n.type.dtype), factors, n.type.dtype, body, depth)

        self._accumulate(n, Reduction("add", 0.0), (structure.length(*types),), value, nest, lines)

    def _accumulate(
        self,
        n: Node,
        structure: Reduction,
        shape: tuple[int, ...],
        value: Callable[[Index, list[Line], int], Text],
        nest: _Nest,
        lines: list[Line],
    ) -> None:
        """An accumulator, the loop that fills it, and where its total goes."""
        total = self.names.fresh(n.origin.name if not n.type.shape else None, "acc_")
        lines += _lines(self._accumulator(n, total, structure.initial), nest.depth)

        def inside(inner: _Nest, body: list[Line]) -> None:
            self._combine(n, structure, total, value(inner.index, body, inner.depth), body, inner.depth)

        sums = [total] if _is_sum(structure) else []
        lines += self._rows(n, self._loop_over(shape, inside, nest.depth), shape, sums)
        if n.type.shape:
            offset = self._offset(nest.index, shape_of(self.graph, n.key))
            self._set(f"{self.buffers[n.key]}[{offset}]", Text(total), lines, nest.depth)
        else:
            self.scalars[n.key] = Text(total)

    def _scan(self, n: Node, structure: Scan) -> list[Line]:
        """Loops over the other axes, and in each one running value that goes along the axis."""
        shape, axis = shape_of(self.graph, n.key), n.params["axis"]
        size = shape[axis]

        def along(nest: _Nest, lines: list[Line]) -> None:
            total = self.names.fresh(None, "acc_")
            lines += _lines(self._accumulator(n, total, structure.initial), nest.depth)

            def inside(inner: _Nest, body: list[Line]) -> None:
                (i,) = inner.index
                place = i * -1 + (size - 1) if n.params["reverse"] else i
                index = (*nest.index[:axis], place, *nest.index[axis:])
                for combine, a in zip(structure.combine, n.args, strict=True):
                    value = self._element(a, index, False, body, inner.depth)
                    self._combine(n, Reduction(combine, structure.initial), total, value, body, inner.depth)
                self._set(f"{self.buffers[n.key]}[{self._offset(index, shape)}]", Text(total), body, inner.depth)

            lines += self._loop_over((size,), inside, nest.depth)

        return self._loop_over((*shape[:axis], *shape[axis + 1 :]), along)

    def _rows(self, n: Node, nest: list[Line], shape: Sequence[int], sums: Sequence[str]) -> list[Line]:
        """A nest of loops in which each row has sums of its own, if it reads rows out of order.

        GCC 12 (Debian 12's) adds elements twice, from -O2 on, where it vectorises a sum over several axes of which the
        innermost is read backwards. Strict code keeps one order of additions; its file tells GCC not to vectorise.
        """
        loops = 0 if self.target.strict else sum(size != 1 for size in shape)
        if loops < 2 or not sums or self.variables[nest[loops - 1].depth] not in self.out_of_order:
            return nest
        depth = nest[loops - 1].depth
        row = {total: self.names.fresh(None, "row_") for total in sums}
        add_to = self.target.syntax["add_to"]
        inner = []
        for line in nest[loops:-loops]:
            name = next((t for t in sums if line.text.startswith(f"{t} ")), None)
            inner.append(line if name is None else Line(line.depth, row[name] + line.text.removeprefix(name)))
        before = [Line(depth, self._accumulator(n, row[t], 0.0)) for t in sums]
        after = [Line(depth, add_to.format(name=t, value=row[t])) for t in sums]
        return [
            *nest[: loops - 1],
            *before,
            nest[loops - 1],
            *inner,
            nest[-loops],
            *after,
            *nest[len(nest) - loops + 1 :],
        ]

    def _accumulator(self, n: Node, name: str, initial: float) -> str:
        dtype = n.type.dtype
        number = int(initial) if dtype.kind == "int" and math.isfinite(initial) else initial
        value = self.printer.number(number, dtype).text
        return self.target.syntax["accumulator"].format(type=self._type(n), name=name, value=value)

    def _combine(self, n: Node, structure: object, total: str, value: Text, lines: list[Line], depth: int) -> None:
        assert isinstance(structure, Reduction)
        if structure.combine in ("add", "mul"):
            pattern = self.target.syntax[f"{structure.combine}_to"]
            lines += _lines(pattern.format(name=total, value=value.text), depth)
        else:
            cell = self._cell_of(structure.combine, n.type.dtype)
            combined = self._fill(cell, [Text(total), value], n.type.dtype, lines, depth)
            lines += _lines(self.target.syntax["set"].format(name=total, value=combined.text), depth)

    def _assembly(self, n: Node, structure: Assembly) -> list[Line]:
        shape, buffer = shape_of(self.graph, n.key), self.buffers[n.key]
        lines: list[Line] = []
        exclusive = True
        if structure.accumulate:
            places = np.concatenate([np.ravel(part) for part in structure.places(n.params)])
            exclusive = len(np.unique(places)) == len(places) and not self.target.strict  # 0.0 + -0.0 is 0.0
            if not (exclusive and len(places) == math.prod(shape)):
                zero = self.printer.number(0, n.type.dtype)
                lines += self._loop_over(
                    (math.prod(shape),),
                    lambda nest, body: self._set(f"{buffer}[{self._subscript(nest.index[0])}]", zero, body, nest.depth),
                )
        types = [self.graph.node(a).type for a in n.args]
        for part, a in enumerate(n.args):

            def inside(nest: _Nest, body: list[Line], part: int = part, a: int = a) -> None:
                value = self._element(a, nest.index, False, body, nest.depth)
                there = structure.place(part, nest.index, n.params, types)
                target = f"{buffer}[{self._offset(there, shape)}]"
                if exclusive:
                    self._set(target, value, body, nest.depth)
                else:
                    body += _lines(self.target.syntax["add_to"].format(name=target, value=value.text), nest.depth)

            lines += self._loop_over(shape_of(self.graph, a), inside)
        return lines

    # --- elements -----------------------------------------------------------------------------------------------

    def _element(self, key: int, index: Index, flat: bool, lines: list[Line], depth: int) -> Text:
        """The text of element `index` of a value; what must have a name first goes to `lines`."""
        shape = shape_of(self.graph, key)
        if not shape:
            index, flat = (), False  # a scalar that is broadcast does not move with the loop
        if key in self.locals:
            return self.locals[key]
        if key in self.scalars:
            return self.scalars[key]
        if key in self.buffers:
            offset = index[0] if flat else flatten(index, shape)
            return Text(f"{self.buffers[key]}[{self._subscript(offset)}]")
        n = self.graph.node(key)
        value = self._compute(n, index, flat, lines, depth)
        if n.origin.name is None or lookup(n.op).kind != "elementwise":
            return value
        name = self.names.fresh(self._wish(n))  # fused into its reader, yet the user knows it by this name
        lines += _lines(self._assign(n, name, value.text), depth)
        return Text(name)

    def _compute(self, n: Node, index: Index, flat: bool, lines: list[Line], depth: int) -> Text:
        op = lookup(n.op)
        if isinstance(op.structure, Counter):
            return self._fill(f"({self._type(n)}){{0}}", [Text(self._subscript(index[0]))], n.type.dtype, lines, depth)
        if op.kind == "layout":
            a = n.args[0]
            if isinstance(op.structure, Gather):
                index, flat = self._gathered(n, op.structure, index, lines, depth), False
            elif isinstance(op.structure, Layout) and not flat:
                index = op.structure.source(index, n.params, self.graph.node(a).type)
            elif op.structure is None:
                index = tuple(Affine() for _ in shape_of(self.graph, a))  # one element in another shape
            return self._element(a, index, flat, lines, depth)
        operands = [self._element(a, index, flat, lines, depth) for a in n.args]
        return self._fill(self._cell(n), operands, working_dtype(self.graph, n), lines, depth)

    def _gathered(self, n: Node, structure: Gather | Scatter, index: Index, lines: list[Line], depth: int) -> Index:
        """The place in the array gathered from, or scattered to, for element `index` of the other one."""
        x = Type(n.params["shape"]) if isinstance(structure, Scatter) else self.graph.node(n.args[0]).type
        indices = self.graph.node(n.args[1])
        read = self._element(indices.key, structure.where(index, n.params, x, indices.type), False, lines, depth)
        size = static_shape(x.shape)[n.params["axis"]]
        key = (id(lines), read.text, size)
        if key not in self.wrapped:
            counted = self._fill(f"{{0}} < 0 ? {{0}} + {size} : {{0}}", [read], indices.type.dtype, lines, depth)
            self.wrapped[key] = lines, self.names.fresh(None, "at_")
            lines += _lines(self._assign(indices, self.wrapped[key][1], counted.text), depth)
        _, name = self.wrapped[key]
        return structure.source(index, variable(name), n.params, x, indices.type)

    def _kernel(self, n: Node, structure: Kernel) -> list[Line]:
        arrays = [Text(self.buffers[key]) for key in (*n.args, n.key)]
        types = [self.graph.node(a).type for a in n.args]
        numbers = [Text(str(int(v))) for v in structure.arguments(*types, n.params)]
        call = self.printer.fill(self._cell(n), [*arrays, *numbers])
        return _lines(self.target.syntax["call"].format(value=call.text))

    def _scatter(self, n: Node, structure: Scatter) -> list[Line]:
        buffer, size = self.buffers[n.key], math.prod(shape_of(self.graph, n.key))
        zero = self.printer.number(0, n.type.dtype)

        def clear(nest: _Nest, body: list[Line]) -> None:
            self._set(f"{buffer}[{self._subscript(nest.index[0])}]", zero, body, nest.depth)

        def add(nest: _Nest, body: list[Line]) -> None:
            there = self._gathered(n, structure, nest.index, body, nest.depth)
            value = self._element(n.args[0], nest.index, False, body, nest.depth)
            target = f"{buffer}[{self._offset(there, shape_of(self.graph, n.key))}]"
            body += _lines(self.target.syntax["add_to"].format(name=target, value=value.text), nest.depth)

        return self._loop_over((size,), clear) + self._loop_over(shape_of(self.graph, n.args[0]), add)

    def _cell_of(self, name: str, dtype: DType) -> str:
        cell = self.target.cell(lookup(name), dtype)
        assert isinstance(cell, str)
        return cell

    def _fill(self, cell: str, operands: list[Text], dtype: DType, lines: list[Line], depth: int) -> Text:
        """The operands, all of `dtype`, in their places; what a cell prints twice gets a name first."""
        for i in self.printer.repeats(cell):
            if not operands[i].text.replace(".", "").isidentifier() and not _is_number(operands[i].text):
                local = self.names.fresh(None)
                type = self.target.types[dtype.name]
                lines += _lines(
                    self.target.syntax["assign"].format(type=type, name=local, value=operands[i].text), depth
                )
                operands[i] = Text(local)
        return self.printer.fill(cell, operands)

    def _stored(self, n: Node, value: Text) -> Text:
        """`value` in the type that it has in memory, where that is another."""
        kind = f"{n.type.dtype.name}[]"
        return Text(f"({self.target.types[kind]})({value.text})") if kind in self.target.types else value

    def _set(self, name: str, value: Text, lines: list[Line], depth: int) -> None:
        lines += _lines(self.target.syntax["set"].format(name=name, value=value.text), depth)

    # --- loops and subscripts -----------------------------------------------------------------------------------

    def _loop_over(self, shape: Sequence[int], inside: _Write, depth: int = 0) -> list[Line]:
        """A nest of loops over `shape`; axes of size 1 need none."""
        lines: list[Line] = []
        index: list[Affine] = []
        start = depth
        for size in shape:
            if size == 1:
                index.append(Affine())
                continue
            while len(self.variables) <= depth:
                self.variables.append(self.names.fresh("ijklmnop"[len(self.variables) % 8]))
            name = self.variables[depth]
            lines.append(Line(depth, self.target.syntax["for"].format(name=name, size=size)))
            index.append(variable(name))
            depth += 1
        inside(_Nest(tuple(index), False, depth), lines)
        lines += [Line(d, self.target.syntax["end"]) for d in range(depth - 1, start - 1, -1)]
        return lines

    def _offset(self, index: Index, shape: Sequence[int]) -> str:
        return self._subscript(flatten(index, shape))

    def _subscript(self, offset: Affine) -> str:
        parts: list[tuple[str, str]] = []
        for term, coefficient in offset.terms:
            if isinstance(term, Lookup):
                self.out_of_order.update(t for i in term.index for t, _ in i.terms if isinstance(t, str))
            elif coefficient < 0:
                self.out_of_order.add(term)
            name = self._lookup_text(term) if isinstance(term, Lookup) else term
            size = abs(coefficient)
            parts.append(("-" if coefficient < 0 else "+", name if size == 1 else f"{name}*{size}"))
        if offset.const or not parts:
            parts.append(("-" if offset.const < 0 else "+", str(abs(offset.const))))
        parts.sort(key=lambda p: p[0] == "-")  # what is added first, so that no subscript starts with a minus
        return " ".join(t if k == 0 and s == "+" else f"{s} {t}" for k, (s, t) in enumerate(parts))

    def _lookup_text(self, term: Lookup) -> str:
        key = Lookup(term.table, term.shape, ())
        if key not in self.lookups:
            self.lookups[key] = self.names.fresh(None, "index_")
            entries = ", ".join(map(str, term.table))
            pattern = self.target.syntax["index_table"]
            text = pattern.format(name=self.lookups[key], size=max(1, len(term.table)), values=entries or "0")
            self.tables += _lines(text)
        return f"{self.lookups[key]}[{self._offset(term.index, term.shape)}]"


def _is_sum(structure: object) -> bool:
    return isinstance(structure, Reduction) and structure.combine == "add"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(text: str, depth: int = 0) -> list[Line]:
    return [Line(depth, part) for part in wrapped(text, WIDTH, 4 + 4 * depth)]
