"""Loops and branches in loop code: the units of their bodies inside a `for`, `while` or `if` of the target's syntax.

In: a region node, and the writer of the function (or body) that it stands in. Out: lines. Results live where their
readers want them: the last state in the memory of the state, what is stacked in its own place of the stack, so that a
step writes it once. Memory that a body needs besides is planned with that of the function around it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..dims import Extent
from ..graph import Graph, Node
from ..index import Affine, Index, variable
from ..program import Line
from ..registry import Assembly, lookup
from ..types import BOOL, INT64, Bundle, DType, Shape
from .frames import Frame, frames
from .memory import Place, larger, room
from .nests import Nest, lines_of
from .printing import Text

if TYPE_CHECKING:
    from .loops import Writer

__all__ = ["End", "Slot", "WrittenRegion"]


@dataclass(frozen=True)
class End:
    """Where a result goes: a variable or a buffer, from `base` on.

    `pattern` is how a scalar is stored. `carried` is the input of a loop's body that it is the next value of.
    """

    key: int
    name: str
    shape: Shape
    base: Affine | None = None  # in a buffer that is not its own
    pattern: str = "set"
    carried: int | None = None


@dataclass(frozen=True)
class Slot:
    """Memory of a function: of a value that has a name, or of all that a body needs inside (`inner`)."""

    dtype: DType
    size: Extent
    name: str
    inner: bool = False
    ahead: Extent = 0  # elements in front of the one that is to be at the beginning of a line of the cache


class WrittenRegion:
    """One loop or branch: the writers of its bodies, and the memory that it needs while it runs."""

    def __init__(self, writer: Writer, n: Node, parts: Mapping[int, Node]) -> None:
        assert isinstance(n.type, Bundle)
        self.writer, self.node, self.parts, self.types = writer, n, parts, n.type.types
        self.slots: list[Slot] = []
        self.grown: dict[int, Slot] = {}  # memory of the writer that is to have room for a frame
        self.copied: list[tuple[End, Node]] = []  # what a frame has in the end, and who reads it elsewhere
        self.keys: dict[Slot, int] = {}  # what the writer calls the slots
        self.names = writer.names
        self._syntax, self._elements = writer.target.syntax, writer.elements
        self._kind = _KINDS[n.op](weakref.proxy(self))  # no cycle of references
        sizes: dict[DType, Extent] = {}
        for child in self._kind.writers:
            child.schedule()
            for dtype, size in child.storage.sizes.items():
                sizes[dtype] = larger(size, sizes.get(dtype, 0))
        self.inner = [Slot(dtype, size, "", True) for dtype, size in sizes.items()]
        self.slots += self.inner

    def declared(self, bases: Mapping[DType, Place]) -> list[Line]:
        """The statements that name the memory of the bodies."""
        return [line for child in self._kind.writers for line in child.storage.declared(bases)]

    def lines(self) -> list[Line]:
        """The statements of the loop or branch; its scalar results are known by their variables from here on."""
        lines: list[Line] = self._kind.lines()
        for k, m in self.parts.items():
            if not m.type.shape:
                self._elements.scalars[m.key] = Text(self._kind.results[k].name)
        return lines

    # --- what kinds of regions share ----------------------------------------------------------------------------

    def end(
        self,
        k: int,
        body: Graph,
        output: int,
        wish: str | None,
        carried: int | None = None,
        frame: Frame | None = None,
    ) -> End:
        """Where result `k` is: its variable, or its memory in the writer, or a slot if nobody reads it."""
        type, m = self.types[k], self.parts.get(k)
        key = body.outputs[output]
        wish = (m.origin.name if m is not None else None) or wish
        if not type.shape:
            return End(key, self.names.fresh(wish), (), carried=carried)
        if frame is not None:
            return self._framed(End(key, "", type.shape, Affine(frame.ahead), carried=carried), m, wish, body, frame)
        if m is None:
            name = self.names.fresh(wish)
            self.slots.append(Slot(type.dtype, room(type), name))
            return End(key, name, type.shape, carried=carried)
        base = self._elements.bases.get(m.key)
        return End(key, self._elements.buffers[m.key], type.shape, base, carried=carried)

    def _framed(self, e: End, m: Node | None, wish: str | None, body: Graph, frame: Frame) -> End:
        """Where a result is that lies in its frame: in memory of its reader, if that can grow, or of the loop."""
        dtype, size = body.node(frame.whole).type.dtype, room(body.node(frame.whole).type)
        slot = self.writer.storage.slots.get(m.key) if m is not None else None
        if m is not None and slot is not None and m.key not in self.writer.units.joined:
            self.grown[m.key] = Slot(dtype, size, slot.name, ahead=frame.ahead)
            self._elements.bases[m.key] = Affine(frame.ahead)
            return replace(e, name=slot.name)
        name = self.names.fresh(wish)
        self.slots.append(Slot(dtype, size, name, ahead=frame.ahead))
        e = replace(e, name=name)
        if m is not None:
            self.copied.append((e, m))
        return e

    def surroundings(self, child: Writer) -> list[Line]:
        """The statements that write what stands around carried state."""
        lines: list[Line] = []
        for frame in child.frames.values():
            n = child.graph.node(frame.whole)
            structure = lookup(n.op).structure
            assert isinstance(structure, Assembly)
            for part in range(len(n.args)):
                if part != frame.part and any(m.key == n.key for m in child.plan.nodes):
                    lines += child.structures.part(n, structure, part)
        return lines

    def copies(self) -> list[Line]:
        """The statements that copy results from their frames to where they are read."""
        lines: list[Line] = []
        for e, m in self.copied:
            there = End(m.key, self._elements.buffers[m.key], e.shape, self._elements.bases.get(m.key))
            lines += self.writer.moved(e, there)
        return lines

    def stacked(self, k: int, body: Graph, output: int, step: str) -> End:
        """Where one step's part of the stacked result `k` is."""
        m = self.parts[k]
        shape = m.type.shape[1:]
        base = self._elements.bases.get(m.key, Affine()) + variable(step) * math.prod(shape)
        return End(body.outputs[output], self._elements.buffers[m.key], shape, base)

    def cleared(self, k: int) -> list[Line]:
        """Zeros in all of a stacked result, of which not all steps may be taken."""
        m = self.parts[k]
        zero = self._elements.printer.number(0, m.type.dtype)

        def clear(nest: Nest, lines: list[Line]) -> None:
            self._elements.set(self._elements.at(m.key, nest.index[0]), zero, lines, nest.depth)

        return self.writer.nests.over((m.type.size,), clear)

    def begun(self, e: End, operand: int, dtype: DType) -> list[Line]:
        """The statements that give carried state its first value."""
        lines: list[Line] = []
        if not e.shape:
            value = self._elements.element(operand, (), False, lines, 0)
            return lines + self.variable(e.name, dtype, value)
        buffers, bases = self._elements.buffers, self._elements.bases
        if (buffers.get(operand), bases.get(operand)) == (e.name, e.base):
            return []
        return self.writer.nests.over(e.shape, lambda nest, body: self.writer.copy(operand, e, nest, body))

    def variable(self, name: str, dtype: DType, value: Text) -> list[Line]:
        """A variable that changes."""
        type = self.writer.target.types.get(dtype.name, "")
        return lines_of(self._syntax["accumulator"].format(type=type, name=name, value=value.text))

    def bind(self, child: Writer, key: int, operand: int, prefix: Index, lines: list[Line]) -> None:
        """What an input of a body is: element (or slice) `prefix` of an operand."""
        elements, inner = self._elements, child.elements
        n = child.graph.node(key)
        if not any(m.key == key for m in child.plan.nodes):
            return
        if not n.type.shape:
            value = elements.element(operand, prefix, False, lines, 0)
            if prefix:
                name = self.names.fresh(str(n.params["name"]).split()[0])
                lines += lines_of(inner.assign(n, name, value.text))
                value = Text(name)
            inner.scalars[key] = value
        elif operand in elements.buffers:
            inner.buffers[key] = elements.buffers[operand]
            base = elements.bases.get(operand, Affine())
            for i in prefix:
                base = base + i * n.type.size
            if base != Affine():
                inner.bases[key] = base
        else:
            inner.around[key] = lambda index, body, depth: elements.element(
                operand, (*prefix, *index), False, body, depth
            )

    def state(self, child: Writer, key: int, e: End) -> None:
        """An input of a body is carried state."""
        if not e.shape:
            child.elements.scalars[key] = Text(e.name)
            return
        child.elements.buffers[key] = e.name
        if e.base is not None:
            child.elements.bases[key] = e.base

    def block(self, head: str, inside: Sequence[Line]) -> list[Line]:
        """Lines one deeper, behind a head."""
        deeper = [Line(line.depth + 1, line.text) for line in inside]
        if not deeper and "empty" in self._syntax:
            deeper = [Line(1, self._syntax["empty"])]
        end = [Line(0, self._syntax["end"])] if "end" in self._syntax else []
        return [*lines_of(head), *deeper, *end]


def _input_name(body: Graph, k: int) -> str:
    return str(body.node(body.inputs[k]).params["name"]).split()[0]


class _Scan:
    def __init__(self, region: WrittenRegion) -> None:
        self.region, p = region, region.node.params
        self.body, self.consts, self.carries = p["body"], p["consts"], p["carries"]
        self.before = int(p["counted"])
        self.step = region.names.fresh("step")
        self.results: list[Any] = []
        states = self.body.inputs[self.consts : self.consts + self.carries]
        framed = frames(self.body, states)
        for k in range(self.carries):
            name, state = _input_name(self.body, self.consts + k), states[k]
            self.results.append(region.end(k, self.body, k, name, state, framed.get(state)))
        for k in range(self.carries, len(region.types)):
            self.results.append(region.stacked(k, self.body, k, self.step))
        self.child = region.writer.within(self.body, self.results, framed)
        self.writers = [self.child]

    def lines(self) -> list[Line]:
        region, body, p = self.region, self.body, self.region.node.params
        operands = region.node.args[self.before :]
        lines: list[Line] = []
        size = str(p["length"])
        if self.before:
            size = region.writer.elements.element(region.node.args[0], (), False, lines, 0).text
        for k in range(self.carries):
            lines += region.begun(self.results[k], operands[self.consts + k], region.types[k].dtype)
            region.state(self.child, body.inputs[self.consts + k], self.results[k])
        for k in range(self.carries, len(region.types) if self.before else 0):
            lines += region.cleared(k)
        self.child.storage.named_again()
        lines += region.surroundings(self.child)
        inside: list[Line] = []
        for k in range(self.consts):
            region.bind(self.child, body.inputs[k], operands[k], (), lines)
        for k in range(self.consts + self.carries, len(operands)):
            region.bind(self.child, body.inputs[k], operands[k], (variable(self.step),), inside)
        inside += self.child.lines()
        head = region._syntax["for_down" if p["reverse"] else "for"].format(name=self.step, size=size)
        return [*lines, *region.block(head, inside), *region.copies()]


class _While:
    def __init__(self, region: WrittenRegion) -> None:
        self.region, p = region, region.node.params
        self.body, self.test, self.consts, self.bound = p["body"], p["test"], p["consts"], p["bound"]
        self.carries = len(region.node.args) - self.consts
        self.results: list[Any] = []
        states = self.body.inputs[self.consts : self.consts + self.carries]
        framed = frames(self.body, states)
        for k in range(self.carries):
            name, state = _input_name(self.body, self.consts + k), states[k]
            self.results.append(region.end(k, self.body, k, name, state, framed.get(state)))
        ends = [*self.results]
        self.counter = ""
        if self.bound is not None:
            self.counter = region.names.fresh("steps")
            self.results.append(End(-1, self.counter, ()))
            for k in range(self.carries, len(self.body.outputs)):
                self.results.append(region.stacked(k + 1, self.body, k, self.counter))
            ends += self.results[self.carries + 1 :]
        self.child = region.writer.within(self.body, ends, framed)
        self.tester = region.writer.within(self.test, [_read_only(self.test)])
        self.writers = [self.tester, self.child]

    def lines(self) -> list[Line]:
        region, args = self.region, self.region.node.args
        lines: list[Line] = []
        for k in range(self.carries):
            lines += region.begun(self.results[k], args[self.consts + k], region.types[k].dtype)
            region.state(self.child, self.body.inputs[self.consts + k], self.results[k])
            region.state(self.tester, self.test.inputs[self.consts + k], self.results[k])
        self.child.storage.named_again()
        lines += region.surroundings(self.child)
        for child, graph in ((self.child, self.body), (self.tester, self.test)):
            for k in range(self.consts):
                region.bind(child, graph.inputs[k], args[k], (), lines)
        if self.counter:
            zero = region.writer.elements.printer.number(0, INT64)
            lines += region.variable(self.counter, INT64, zero)
            for k in range(self.carries + 1, len(region.types)):
                lines += region.cleared(k)
        testing = self.tester.units_only()
        condition = self.tester.elements.element(self.test.outputs[0], (), False, testing, 0)
        if self.counter:
            fill, cell = region.writer.elements.printer.fill, region.writer.elements.cell_of
            left = fill(cell("less", INT64), [Text(self.counter), Text(str(self.bound))])
            condition = fill(cell("logical_and", BOOL), [left, condition])
        inside = self.child.lines()
        if self.counter:
            inside += lines_of(region._syntax["add_to"].format(name=self.counter, value="1"))
        if not testing:
            head = region._syntax["while"].format(condition=condition.text)
            return [*lines, *region.block(head, inside), *region.copies()]
        stop = region.writer.elements.printer.fill(region.writer.elements.cell_of("logical_not", BOOL), [condition])
        leave = region.block(region._syntax["if"].format(condition=stop.text), lines_of(region._syntax["break"]))
        return [*lines, *region.block(region._syntax["forever"], [*testing, *leave, *inside]), *region.copies()]


def _read_only(graph: Graph) -> End:
    """A result that is only read."""
    return End(graph.outputs[0], "", (), pattern="read")


class _Cond:
    def __init__(self, region: WrittenRegion) -> None:
        self.region = region
        self.bodies: Mapping[str, Graph] = region.node.bodies
        names = ("then", "otherwise")
        first = self.bodies["then"]
        self.results: list[Any] = [region.end(k, first, k, None) for k in range(len(region.types))]
        self.writers = []
        for name in names:
            body = self.bodies[name]
            ends = [_replaced(e, body.outputs[k]) for k, e in enumerate(self.results)]
            self.writers.append(region.writer.within(body, ends))

    def lines(self) -> list[Line]:
        region, args = self.region, self.region.node.args
        lines: list[Line] = []
        for e, type in zip(self.results, region.types, strict=True):
            if not e.shape and "declare" in region._syntax:
                word = region.writer.target.types[type.dtype.name]
                lines += lines_of(region._syntax["declare"].format(type=word, name=e.name))
        condition = region.writer.elements.element(args[0], (), False, lines, 0)
        for name, child in zip(("then", "otherwise"), self.writers, strict=True):
            for key, a in zip(self.bodies[name].inputs, args[1:], strict=True):
                region.bind(child, key, a, (), lines)
        then, otherwise = (child.lines() for child in self.writers)
        head = region._syntax["if"].format(condition=condition.text)
        first = region.block(head, then)
        if not otherwise:
            return [*lines, *first]
        if "end" in region._syntax:
            first = first[:-1]
        return [*lines, *first, *region.block(region._syntax["else"], otherwise)]


def _replaced(e: End, key: int) -> End:
    return replace(e, key=key)


_KINDS: Mapping[str, Callable[[WrittenRegion], Any]] = {"scan": _Scan, "while_loop": _While, "cond": _Cond}
