"""Loop lowering: scalars become local variables, arrays become buffers filled by loop nests (C, and Python at length).

In: a graph, the outputs wanted, and a target with statement syntax. Out: a `Body`. Layout ops cost nothing: they turn
into subscripts. What is computed when is decided by `fusion`, where it lives by `memory`; how an element is written by
`elements`, how an array structure by `structures`. Results go into output parameters and buffers into a workspace,
unless the target's functions return their results: then they make their buffers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ..dims import Extent, atom, certainly_at_most
from ..graph import Graph, Node
from ..index import Affine, Index, flatten
from ..origin import Origin
from ..program import Argument, Line
from ..registry import NEAR, Assembly, Kernel, Reduction, Scan, lookup
from ..target import Target
from ..types import DType, format_shape
from .elements import Elements
from .frames import Frame
from .fusion import Means, Unit, fuse, is_block, shape_of
from .in_place import in_place
from .loop_regions import End, Slot, WrittenRegion
from .memory import Lifetime, Place, larger, place_in_results, room
from .naming import Names
from .nests import Nest, Nests, Write, lines_of
from .order import most_waiting, with_few_waiting
from .printing import ATOM, Text
from .row_loops import BlockLoop, RowLoop
from .rows import Rows, is_per_row, reads_of
from .sizes import Sizes
from .statements import Body, Group, Step, annotated, is_long, may_raise, plan, words_of, working_dtype
from .structures import STRUCTURES, Structures, is_sum, parted, shifted
from .subscripts import Subscripts
from .tables import FlatTables

__all__ = ["loops"]


_TEXT = tuple.__new__  # of a named tuple, without the call of a function in Python


def _apart(stores: Sequence[Line]) -> list[Step]:
    """What stores results: a step for each where they are scalars, which need nothing of each other."""
    if any(line.text[:1] not in ("*", " ") for line in stores):
        return [Step(Origin(), [*stores])]
    found: list[Step] = []
    for line in stores:
        if line.text[0] == "*":
            found.append(Step(Origin(), []))
        found[-1].lines.append(line)
    return found


def _argument(e: End) -> Argument:
    return Argument(e.name, e.shape, math.prod(e.shape), "")


def _ends(graph: Graph, g: Group) -> list[End]:
    """Where a result goes: as a whole, or each element of an array that was taken apart."""
    if g.argument.shape and (len(g.keys) != 1 or not graph.node(g.keys[0]).type.shape):
        return [End(key, g.argument.name, (), base=Affine(i)) for i, key in enumerate(g.keys)]
    return [End(g.keys[0], g.argument.name, g.argument.shape, pattern="store")]


def loops(
    graph: Graph,
    groups: Sequence[Group],
    inputs: Sequence[Argument],
    sizes: Sizes,
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
    ends = [e for g in groups for e in _ends(graph, g)]
    writer = Writer(graph, ends, target, names, tables, main, twin)
    return writer.function(groups, inputs, sizes)


class Writer:
    """The state of writing one function, or the body of a loop or branch in it: elements, loops, and the schedule."""

    def __init__(
        self,
        graph: Graph,
        ends: Sequence[End],
        target: Target,
        names: Names,
        tables: FlatTables,
        main: DType,
        twin: bool,
        around: Writer | None = None,
        frames: Mapping[int, Frame] = MappingProxyType({}),
    ) -> None:
        self.graph, self.ends, self.target, self.names, self.main = graph, ends, target, names, main
        self.tables, self.twin, self.frames = tables, twin, frames
        self.plan = plan(graph, [Group(_argument(e), (e.key,)) for e in ends], implicit_broadcast=False)
        read = {e.key for e in ends if e.pattern == "read"}  # which need no name
        self.plan = replace(self.plan, outputs={k: name for k, name in self.plan.outputs.items() if k not in read})
        self.subscripts: Subscripts = around.subscripts if around else Subscripts(tables, names)
        self.elements: Elements = Elements(graph, target, names, self.subscripts, twin)
        self.nests: Nests = around.nests if around else Nests(target, names)
        self.structures = Structures(graph, self.elements, self.nests)
        self.result: Body = around.result if around else Body([])
        regions = self.plan.nodes if graph.has_bodies else ()
        self.results: dict[int, list[Node]] = {n.key: [] for n in regions if n.bodies}  # of loops and branches
        for m in self.plan.nodes if self.results else ():
            if lookup(m.op).kind == "part" and m.args[0] in self.results:
                self.results[m.args[0]].append(m)
        self.stored: set[int] = set()  # scalar ends already written
        written = [e for e in ends if e.carried is None and e.pattern in target.syntax]
        self.first_ends = {e.key: e for e in reversed(written)}
        self.ends_of: dict[int, list[End]] = {}
        for e in ends:
            self.ends_of.setdefault(e.key, []).append(e)
        self.regions: dict[int, WrittenRegion] = {}
        self.slots: dict[int, Slot] = {}
        self.row_buffers: set[int] = set()  # values of which memory holds one row
        self.replaced: Mapping[int, int] = {}  # whose place a value takes
        self.offsets: dict[int, Place] = {}
        self.sizes: dict[DType, Extent] = {}
        self.plain = False  # whether all there is are scalars in variables

    def within(self, body: Graph, ends: Sequence[End], frames: Mapping[int, Frame] = MappingProxyType({})) -> Writer:
        """The writer of a body in this function; `frames` are of its state."""
        return Writer(body, ends, self.target, self.names, self.tables, self.main, self.twin, self, frames)

    # --- the whole body -----------------------------------------------------------------------------------------

    def function(self, groups: Sequence[Group], inputs: Sequence[Argument], sizes: Sizes) -> Body:
        """The whole function."""
        for key, a in zip(self.graph.inputs, inputs, strict=True):
            if a.is_scalar:
                self.elements.scalars[key] = Text(a.name)
            else:
                self.elements.buffers[key] = a.name
        entry = self._entry(inputs)
        self.schedule()
        returned = self._returned(groups) if self.target.returns else []
        declared = [*returned, *self.declared({})]
        self.result.work.update(self.sizes if not self.target.returns else {})
        steps, stores = self.steps(), self._stores()
        tables = [] if self.tables.of_file else self.tables.lines
        self.result.result = self._results(groups)
        self.result.entry, self.result.prelude = entry, [*tables, *declared]
        self.result.steps = [*steps, *_apart(stores)]
        if not is_long(self.result, self.target):  # else it is cut into parts
            self.result.lines = sizes.whole(self.result)
        return self.result

    def lines(self, reads: Mapping[str, list[Line]] | None = None) -> list[Line]:
        """The statements of all units, and what stores the results.

        `reads` are the statements that make variables of inputs: they come first, or, where values are many, before the
        first statement that names the variable.
        """
        kept = [
            line for e in self.ends if self._is_kept(e) for line in self.nests.over(e.shape, self._copier(e.key, e))
        ]
        left = dict(reads or {})
        first = [] if self.reordered else [line for read in left.values() for line in read]
        steps = self.steps()
        if self.reordered:
            for step in steps:
                step.lines[:0] = [line for word in words_of(step.lines) for line in left.pop(word, ())]
            first = [line for read in left.values() for line in read]
        return [*kept, *first, *self._annotated(steps), *self._stores()]

    def units_only(self) -> list[Line]:
        """The statements of all units."""
        return self._annotated(self.steps())

    def steps(self) -> list[Step]:
        """The statements of each unit."""
        self.named_again()  # the inputs of a body are known by now
        found = []
        plain = all(not n.type.shape and lookup(n.op).kind in ("leaf", "elementwise") for n in self.graph.sorts)
        self.plain = plain and not self.elements.around and not self.elements.once
        for unit in self.units.order:
            if plain:
                found.append(self._statement(unit.nodes[0]))
                continue
            lines = self._written_before(unit)
            lines += self._unit(unit)
            if lines or not isinstance(lookup(unit.nodes[0].op).structure, Assembly):
                found.append(Step(unit.nodes[0].origin, lines, self._named_by(unit)))
        self.result.helpers.update(self.structures.helpers)
        return found

    def _written_before(self, unit: Unit) -> list[Line]:
        """What is known of an array that is put together, such as zeros at its ends, before its first part is computed.

        A processor that reads what it has just written, by two stores, waits until both are in the cache.
        """
        lines: list[Line] = []
        joined, written = self.units.joined, self.structures.written
        if not joined:
            return lines
        for whole in dict.fromkeys(joined[n.key][0] for n in unit.nodes if n.key in joined):
            n = self.graph.node(whole)
            structure = lookup(n.op).structure
            assert isinstance(structure, Assembly)
            for part, a in enumerate(n.args):
                leaves = all(lookup(self.graph.node(key).op).kind == "leaf" for key in self.stored_under(a))
                if leaves and joined.get(a) != (whole, part) and (whole, part) not in written:
                    written.add((whole, part))
                    lines += self.structures.part(n, structure, part)
        return lines

    def _annotated(self, steps: Sequence[Step]) -> list[Line]:
        return annotated([(step.origin, step.lines) for step in steps], self.target)

    def _named_by(self, unit: Unit) -> dict[str, DType]:
        """The scalars that a unit computes and that are variables now."""
        named: dict[str, DType] = {}
        for n in unit.nodes:
            for m in self._made(n):
                name = self.elements.scalars.get(m.key)
                if name is not None and name.text.isidentifier():
                    named[name.text] = m.type.dtype
        return named

    def _entry(self, inputs: Sequence[Argument]) -> list[Line]:
        """What is done with the arguments first: one that is not read is said to be, nested lists become flat ones."""
        read = {n.key for n in self.plan.nodes}
        lines: list[Line] = []
        for key, a in zip(self.graph.inputs, inputs, strict=True):
            pattern = "unused" if key not in read else "scalar_entry" if a.is_scalar else "flatten"
            if pattern in self.target.syntax:
                flat = a.name
                if pattern == "flatten":  # under a name of its own, so that the twin can be given the argument
                    flat = self.elements.buffers[key] = self.names.fresh(f"{a.name}_flat")
                text = self.target.syntax[pattern].format(name=a.name, flat=flat, shape=format_shape(a.shape))
                lines += lines_of(text)
                self.result.helpers[pattern] = None
        return lines

    def _returned(self, groups: Sequence[Group]) -> list[Line]:
        """Buffers of the results that a function returns."""
        found = []
        for out, (key,) in ((g.argument, g.keys) for g in groups if g.argument.shape):
            found += self._new(self.graph.node(key).type.dtype, out.name, out.size)
        return found

    def _results(self, groups: Sequence[Group]) -> str:
        """The names of all results, nested again where they are arrays, for a target whose functions return them."""
        shown = []
        for out in (g.argument for g in groups if self.target.returns):
            pattern = "nest" if len(out.shape) > 1 else "flat"
            self.result.helpers[pattern] = None
            shown.append(self.target.syntax[pattern].format(name=out.name, shape=format_shape(out.shape)))
        return "\n".join(shown)

    def _constants(self) -> None:
        needed: set[object] = set()
        alike: set[object] = set()
        for n in self.plan.nodes:
            sort = n.op, id(n.type)
            if sort in alike:
                continue
            op = lookup(n.op)
            if n.op == "constant":
                value = n.params["value"]
                if isinstance(value, np.ndarray):
                    self.elements.buffers[n.key] = self.tables.constant(n, self.names)
                else:
                    self.elements.scalars[n.key] = self.elements.printer.number(value, n.type.dtype)
            elif op.kind not in ("leaf", "part", "region"):
                if n.type.dtype.kind == "float" and not self.target.twin:
                    alike.add(sort)
                dtype = working_dtype(self.graph, n)
                raises = self.target.twin != "" and may_raise(self.graph, n, self.target)
                self.result.may_raise = self.result.may_raise or raises
                if self.twin and not raises:  # the twin's own support is for what may raise
                    continue
                in_loop = self.target.in_loop(n.type)
                if (n.op, dtype, in_loop) in needed:
                    continue
                needed.add((n.op, dtype, in_loop))
                vector = self.target.vector(op, dtype) if in_loop else ""
                if vector:
                    self.result.vector_ops[op.name, dtype] = op
                    self.result.far |= {dtype} if vector.endswith(NEAR) else set()
                    continue
                self.result.ops[op.name, dtype] = op
                if isinstance(op.structure, Reduction):
                    self.result.ops[op.structure.combine, dtype] = lookup(op.structure.combine)
                elif isinstance(op.structure, Scan):
                    self.result.ops.update({(name, dtype): lookup(name) for name in op.structure.combine})

    def _repeated(self) -> set[int]:
        found: set[int] = set()
        cell, template = self.elements.cell, self.elements.printer.template
        seldom: set[object] = set()  # what prints no operand twice
        for n in self.plan.nodes:
            sort = n.op, id(n.type)
            if sort in seldom:
                continue
            if n.key in self.results:
                found.update(n.args)
            elif lookup(n.op).kind == "elementwise" and not n.type.shape:
                repeats = template(cell(n)).repeats
                if not repeats and self.elements.is_alike(n):
                    seldom.add(sort)
                if repeats:
                    found.update(n.args[i] for i in repeats)
        return found

    # --- memory -------------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """What is computed when, and which memory that takes: `slots`, `offsets` and `sizes`.

        Arrays live in the output parameters where possible, and else in the workspace (or in buffers of their own).
        """
        self._constants()
        by_rows = "independent" in self.target.syntax and not self.target.strict
        tuning = self.target.tuning
        means = Means(
            by_rows=tuning if by_rows else None,
            threads=self.target.threads,
            replaced=frozenset(e.key for e in self.ends if e.carried is not None),
            state=frozenset(e.carried for e in self.ends if e.carried is not None),
            pointers="pointer" in self.target.syntax,
            recompute=tuning.recompute_operations if "independent" in self.target.syntax else None,
            along=None if self.target.strict else tuning.along_operations,
            framed={frame.whole: state for state, frame in self.frames.items()},
        )
        self.units = fuse(self.graph, self.plan, self._repeated(), means)
        self.reordered = "independent" in self.target.syntax and self._reorder()
        self.structures.in_place = self.units.joined
        self.copies: dict[int, int] = {}
        self.starts: dict[int, Sequence[Extent]] = {}  # of parts of arrays, see `_starts`
        if not self.results and not any(n.type.shape for n in self.graph.sorts):
            return  # scalars need no memory
        for e in self.ends:
            made_here = e.key in self.units.reads and e.key not in self.elements.buffers
            if e.shape and e.carried is None and made_here and self._fits(e):
                self._lies(e.key, e)
        times = self._times()
        end = times[-1].stop if times else 0
        last = self._last_reads(times, end)
        for a, (whole, _) in self.units.joined.items():
            last[whole] = max(last.get(whole, 0), last.get(a, 0))
        self._replaced_in_place()
        begins = self._begun_in_place()
        lifetimes: dict[int, Lifetime] = {}
        for unit, time in zip(self.units.order, times, strict=True):
            if unit.rows is not None:
                lifetimes.update(self._lifetimes_in_rows(unit.rows, time, last))
                continue
            for m in [m for n in unit.nodes if n.type.shape or n.key in self.results for m in self._made(n)]:
                if not m.type.shape or m.key in self.elements.buffers:
                    continue
                if m.key in begins:  # the memory of the state is born with its first value
                    state = begins[m.key]
                    lifetimes[state] = (room(m.type), time.start, last.get(state, end))
                    continue
                whole, _ = self.units.joined.get(m.key, (m.key, 0))
                if m.key != whole:
                    if whole not in self.elements.buffers and whole not in lifetimes:  # born with its first part
                        lifetimes[whole] = (room(self.graph.node(whole).type), time.start, last[whole])
                elif m.key not in lifetimes and (last.get(m.key, time.start) > time.start or not unit.shared):
                    lifetimes[m.key] = (room(m.type), time.start, last.get(m.key, time.start))
        for key in sorted(lifetimes, key=lambda key: self.graph.node(key).type.dtype):
            n = self.graph.node(key)
            name = self.elements.buffers[key] = self.names.fresh(self.elements.wish(n))
            self.slots[key] = Slot(n.type.dtype, lifetimes[key][0], name)
        self.elements.buffers.update({a: self.elements.buffers[state] for a, state in begins.items()})
        self._join()
        for unit, time in zip(self.units.order, times, strict=True):
            for n in unit.nodes:
                structure = lookup(n.op).structure
                if isinstance(structure, Kernel):
                    types = (self.graph.node(a).type for a in n.args)
                    for dtype, size in structure.memory(n.type.dtype, *types, n.params):
                        name, room_for = self.names.fresh(None), larger(1, size)
                        self.structures.scratch.setdefault(n.key, []).append(name)
                        self.slots[-1 - len(self.slots)] = Slot(dtype, room_for, name)
                        lifetimes[-len(self.slots)] = (room_for, time.start, time[-1])
                columns = self.structures.shared_columns(n) if unit.rows is None else None
                if columns is not None:
                    name, room_for = self.names.fresh(None), columns.count * n.type.size
                    self.structures.scratch[n.key] = [name]
                    self.slots[-1 - len(self.slots)] = Slot(n.type.dtype, room_for, name)
                    lifetimes[-len(self.slots)] = (room_for, time.start, time[-1])
                if n.key in self.results:
                    region = self.regions[n.key] = WrittenRegion(self, n, {m.params["index"]: m for m in self._made(n)})
                    for grown, slot in region.grown.items():
                        self.slots[grown] = slot
                        lifetimes[grown] = (slot.size, *lifetimes[grown][1:])
                        for a in (a for a, state in begins.items() if state == grown):
                            self.elements.bases[a] = self.elements.bases[grown]
                    for slot in region.slots:
                        key = region.keys[slot] = -1 - len(self.slots)
                        self.slots[key] = slot
                        lifetimes[key] = (slot.size, time.start, time.start)
        for e in self.ends:
            if e.carried is not None and e.shape and self._needs_copy(e):
                key = self.copies[e.carried] = -1 - len(self.slots)
                type = self.graph.node(e.key).type
                name = self.elements.buffers[key] = self.names.fresh(None)
                self.slots[key] = Slot(type.dtype, room(type), name)
                lifetimes[key] = (room(type), end, end)
        self._find_places(lifetimes, times, end)

    def _find_places(self, lifetimes: dict[int, Lifetime], times: Sequence[range], end: int) -> None:
        """`offsets` and `sizes` of the slots that live so long: in place of others, in results, in the workspace."""
        results = self._results_free(times, end)
        lying = {e.key: e.name for e in self.ends if e.name in results and self.elements.buffers.get(e.key) == e.name}
        found = in_place(self, lifetimes, times, lying)
        self.replaced = found.replaced
        for key in found.hosts:
            self.row_buffers.discard(key)
            del lifetimes[key]
        for dtype in sorted({self.slots[key].dtype for key in lifetimes}):
            placed = {key: life for key, life in lifetimes.items() if self.slots[key].dtype == dtype}
            line = max(1, 8 * self.target.tuning.line_bytes // dtype.bits) if self._in_lines(dtype) else 1
            least = line * self.target.tuning.line_least
            ahead = {key: self._ahead(key) for key, life in placed.items() if certainly_at_most(least, life[0])}
            over = {key: old for key, old in found.over.items() if key in placed}
            under = {name: key for name, key in found.under.items() if key in placed}
            free = {name: (size, first) for name, (of, size, first) in results.items() if of == dtype}
            places, size = place_in_results(placed, free, line, ahead if line > 1 else {}, over, under)
            self.offsets.update(places)
            if size != 0:
                self.sizes[dtype] = size
        for key, whole in found.hosts.items():
            self.offsets[key] = (lying[whole], 0) if whole in lying else self.offsets[whole]

    def _results_free(self, times: Sequence[range], end: int) -> dict[str, tuple[DType, Extent, int]]:
        """The results that are arrays: type, elements, and when each is written first."""
        first: dict[str, int] = {}
        for unit, time in zip(self.units.order, times, strict=True):
            for m in (m for n in unit.nodes for m in self._made(n)):
                first.setdefault(self.elements.buffers.get(m.key, ""), time.start)
        found: dict[str, tuple[DType, Extent, int]] = {}
        for e in self.ends if not self.target.returns else ():
            dtype = self.graph.node(e.key).type.dtype
            if e.pattern == "store" and e.shape and dtype.kind != "bool":
                found[e.name] = dtype, math.prod(e.shape), first.get(e.name, end)
        return found

    def _reorder(self) -> bool:
        """Whether straight-line code was put into an order in which fewer values wait, as too many for registers do."""
        units = self.units.order
        if any(e.carried is not None or e.pattern not in self.target.syntax for e in self.ends):
            return False
        if any(len(u.nodes) != 1 or u.nodes[0].type.shape or u.nodes[0].key in self.results or u.shared for u in units):
            return False
        inputs = len(self.graph.inputs)
        place = {key: i for i, key in enumerate((*self.graph.inputs, *(u.nodes[0].key for u in units)))}
        reads: list[tuple[int, ...]] = [()] * inputs
        needs = self.units.reads
        reads += [tuple([place[a] for a in needs[u[0][0].key] if a in place]) for u in units]
        makes = [True] * inputs + [not self._is_result(u.nodes[0]) for u in units]
        before = most_waiting(range(len(reads)), reads, makes)
        if before <= self.target.tuning.registers:
            return False
        order = with_few_waiting(reads, makes)
        if most_waiting(order, reads, makes) >= before:
            return False
        self.units = replace(self.units, order=tuple(units[i - inputs] for i in order if i >= inputs))
        return True

    def _is_result(self, n: Node) -> bool:
        """Whether a scalar is stored where it belongs, and read no more."""
        return n.key in self.first_ends and self.plan.uses[n.key] == 1

    def _join(self) -> None:
        """Parts of an array that is put together are computed where it has them."""
        for key, (whole, part) in self.units.joined.items():
            n = self.graph.node(whole)
            self.elements.buffers[key] = self.elements.buffers[whole]
            self.elements.bases[key] = self.elements.bases.get(whole, Affine())
            if is_block(self.graph, n):
                self.elements.bases[key] = self.elements.bases[key] + self._starts(whole)[part]
            else:
                self.elements.parts[key] = whole, part

    def _starts(self, whole: int) -> Sequence[Extent]:
        """How many elements are in front of each part of an array that is put together of blocks, and of its end."""
        if whole not in self.starts:
            sizes = (math.prod(shape_of(self.graph, a)) for a in self.graph.node(whole).args)
            self.starts[whole] = [*itertools.accumulate(sizes, initial=0)]
        return self.starts[whole]

    def _in_lines(self, dtype: DType) -> bool:
        """Whether arrays begin where lines of the cache do: where loops become vector code."""
        return "independent" in self.target.syntax and not self.target.returns and dtype.kind == "float"

    def _ahead(self, key: int) -> int:
        """How many elements of a buffer are ahead of what is written in one piece: the largest part that is in it."""
        if key in self.slots and self.slots[key].ahead != 0:
            ahead = self.slots[key].ahead
            return ahead if isinstance(ahead, int) else 0
        if key < 0 or not is_block(self.graph, self.graph.node(key)):
            return 0
        most, found = 0, 0
        for before, end in itertools.pairwise(self._starts(key)):
            if isinstance(before, int) and isinstance(end, int) and end - before > most:
                most, found = end - before, before
        return found

    def _times(self) -> list[range]:
        """When each unit runs: one moment, or one for each inner loop."""
        times, now = [], 0
        for unit in self.units.order:
            count = 1 if unit.rows is None else len(unit.rows.inner)
            times.append(range(now, now + count))
            now += count
        return times

    def _last_reads(self, times: Sequence[range], end: int) -> dict[int, int]:
        """When each stored value is read last; `end` is behind all units, where results are copied out."""
        last: dict[int, int] = {}
        for unit, time in zip(self.units.order, times, strict=True):
            if unit.rows is None:
                for n in unit.nodes:
                    last.update(dict.fromkeys(self.units.reads[n.key], time.start))
                continue
            made = {n.key for n in unit.nodes}
            for moment, inner in zip(time, unit.rows.inner, strict=True):
                for key in (key for n in inner.nodes for key in self.units.reads[n.key]):
                    last[key] = moment if key in made else time[-1]  # the next row reads it again
        for e in self.ends:
            last.update(dict.fromkeys(self.stored_under(e.key), end))
        return last

    def _lifetimes_in_rows(self, rows: Rows, time: range, last: Mapping[int, int]) -> dict[int, Lifetime]:
        """Lifetimes of what a loop over rows makes; what only the same row reads has memory for one row, or none."""
        lifetimes: dict[int, Lifetime] = {}
        shared = self.structures.shared_rows(rows)  # in which case each share has a row
        for moment, inner in zip(time, rows.inner, strict=True):
            for n in inner.nodes:
                if not n.type.shape or n.key in self.elements.buffers:
                    continue
                read = last.get(n.key, moment)
                role = rows.role(self.graph, n)
                if role == "column" or read > time[-1]:
                    lifetimes[n.key] = (room(n.type), time.start, max(read, time[-1]))
                elif read > moment and (rows.block or not is_per_row(n.type.shape, rows.shape)):
                    lifetimes[n.key] = (rows.room(n) * (1 if shared is None else shared.count), moment, read)
                    self.row_buffers.add(n.key)
        return lifetimes

    def _made(self, n: Node) -> list[Node]:
        """The values that come from a unit's node: itself, or the results of a loop or branch."""
        return self.results.get(n.key, [n])

    def _fits(self, e: End) -> bool:
        """Whether a result can be computed where it belongs: a support function needs a pointer to within a buffer."""
        kernel = isinstance(lookup(self.graph.node(e.key).op).structure, Kernel)
        return not kernel or e.base is None or "pointer" in self.target.syntax

    def _lies(self, key: int, e: End) -> None:
        """`key` is computed where it belongs in the end."""
        self.elements.buffers[key] = e.name
        if e.base is not None:
            self.elements.bases[key] = e.base

    def declared(self, bases: Mapping[DType, Place]) -> list[Line]:
        """The statements that name the memory of all slots, given where the workspace of this body begins."""
        lines: list[Line] = []
        for key, slot in sorted(self.slots.items(), key=lambda item: item[1].dtype):
            if not slot.inner:
                lines += self._placed(slot, self._within(key, bases))
        self.named_again()
        for region in self.regions.values():
            inner = {slot.dtype: self._within(region.keys[slot], bases) for slot in region.inner}
            lines += region.declared(inner)
        return lines

    def _within(self, key: int, bases: Mapping[DType, Place]) -> Place:
        """Where a slot is: the name of a result ("": the workspace), and the place in that."""
        result, offset = self.offsets[key]
        around, base = bases.get(self.slots[key].dtype, ("", 0))
        return (result, offset) if result else (around, base + offset)

    def named_again(self) -> None:
        """The names of arrays in another shape."""
        for alias, base in self.units.aliases.items():
            if base in self.elements.buffers:
                self.elements.buffers[alias] = self.elements.buffers[base]
                if base in self.elements.bases:
                    self.elements.bases[alias] = self.elements.bases[base]
                if base in self.frames and self.frames[base].whole == alias:
                    self.elements.bases[alias] = self.elements.bases[base] + self.frames[base].ahead * -1

    def _placed(self, slot: Slot, place_of: Place) -> list[Line]:
        """A pointer into the workspace or a result, or a buffer of the function's own."""
        if self.target.returns:
            return self._new(slot.dtype, slot.name, slot.size)
        result, offset = place_of
        array = result or ("work" if slot.dtype == self.main else f"work_{slot.dtype.short}")
        place = f"{array} + {offset}" if offset != 0 else array
        type = self.target.types[slot.dtype.name]
        return lines_of(self.target.syntax["buffer"].format(type=type, name=slot.name, place=place))

    def _new(self, dtype: DType, name: str, size: Extent) -> list[Line]:
        zero = self.elements.printer.number(0, dtype).text
        return lines_of(self.target.syntax["buffer"].format(name=name, value=zero, size=atom(size)))

    # --- what a loop carries ------------------------------------------------------------------------------------

    def _replaced_in_place(self) -> None:
        """New state that may be written over the old: all that reads the old one has done so, or does at that place."""
        for e in self.ends:
            if e.carried is None or not e.shape or e.key in self.elements.buffers or e.key not in self.units.reads:
                continue
            others = [x for x in self.ends if x is not e and not self._is_kept(x)]
            late = {key for x in others for key in self.stored_under(x.key)}
            if e.carried not in late and self._fits(e) and self._reads_only_before(e.carried, e.key):
                self._lies(e.key, e)

    def _begun_in_place(self) -> dict[int, int]:
        """First values of a loop's state that are computed in the memory of the state, as nothing else reads them."""
        found: dict[int, int] = {}
        made = {n.key for unit in self.units.order if unit.rows is None for n in unit.nodes if not n.bodies}
        made -= {*self.plan.outputs, *self.units.joined, *(whole for whole, _ in self.units.joined.values())}
        for n in (n for unit in self.units.order for n in unit.nodes if "consts" in n.params):
            first = int(n.params.get("counted", False)) + n.params["consts"]
            carries = n.params.get("carries", len(n.args) - first)
            for m in (m for m in self.results.get(n.key, ()) if m.type.shape and m.params["index"] < carries):
                a = n.args[first + m.params["index"]]
                kernel = isinstance(lookup(self.graph.node(a).op).structure, Kernel)
                if a in made and self.plan.uses[a] == 1 and not (kernel and m.key in self.elements.bases):
                    if m.key in self.elements.buffers:
                        end = End(a, self.elements.buffers[m.key], m.type.shape, self.elements.bases.get(m.key))
                        self._lies(a, end)
                    else:
                        found[a] = m.key
        return found

    def _is_kept(self, e: End) -> bool:
        """Whether a result is old state, which is copied before all else, so that new state may take its place."""
        return bool(e.shape) and e.carried is None and any(x.carried == e.key for x in self.ends)

    def _reads_only_before(self, old: int, new: int) -> bool:
        """Whether no unit reads `old` behind the one that makes `new`, nor that one but at the place it writes."""
        behind = False
        for unit in self.units.order:
            makes = any(n.key == new for n in unit.nodes)
            for n in unit.nodes:
                reads = self.units.reads[n.key]
                here = makes and unit.shared and reads.get(old, False)
                here = here and (not behind or self._known(unit, n, old))
                here = here or (n.key == new and self.takes_over(n, old))
                if old in reads and (behind or makes) and not here:
                    return False
                behind = behind or n.key == new
            if not makes and any(m.key == new for n in unit.nodes for m in self._made(n)):
                return False
        return behind

    def takes_over(self, n: Node, old: int) -> bool:
        """Whether a kernel reads `old` as the operand that its result may replace, and as no other."""
        structure = lookup(n.op).structure
        if not isinstance(structure, Kernel) or structure.replaces is None:
            return False
        read = [self.stored_under(a) for a in n.args]
        return read.pop(structure.replaces) == [old] and not any(old in keys for keys in read)

    def _known(self, unit: Unit, n: Node, key: int) -> bool:
        """Whether all that `n` reads of `key` has been read before in the same loop: it has a name then."""
        before: set[tuple[int, Index | None]] = set()
        for m in unit.nodes:
            reads = {pair for pair in reads_of(self.graph, m, self.units.virtual, self.units.aliases) if pair[0] == key}
            if m.key == n.key:
                return reads <= before and all(at is not None for _, at in reads)
            before |= reads
        return False

    def _needs_copy(self, e: End) -> bool:
        """Whether the new state has to be put aside before the old one is written over: where it reads old state."""
        states = {x.carried for x in self.ends if x.carried is not None}
        if e.key == e.carried or (e.key in self.elements.buffers and self.elements.buffers[e.key] == e.name):
            return False
        return bool(states & set(self.stored_under(e.key)))

    def stored_under(self, key: int) -> list[int]:
        """The stored values that reading `key` reads."""
        found, stack = [], [key]
        while stack:
            k = self.units.aliases.get(stack[-1], stack[-1])
            stack.pop()
            if k in self.units.virtual:
                stack.extend(self.graph.node(k).args)
            else:
                found.append(k)
        return found

    def _stores(self) -> list[Line]:
        """What results still lack: scalars, and arrays that live elsewhere. A loop's state is replaced last."""
        lines: list[Line] = []
        replaced: list[Line] = []
        for e in self.ends:
            if e.key in self.stored or e.key == e.carried or self._is_kept(e):
                continue
            if not e.shape:
                value = self.elements.element(e.key, (), False, lines, 0)
                if e.carried is not None and e.key in self.graph.inputs:
                    value = self._put_aside(e, value, lines)
                stored = value if e.pattern == "set" and e.base is None else self._in_memory(e.key, value)
                text = lines_of(self.target.syntax[e.pattern].format(name=self._place(e), value=stored.text))
                (lines if e.carried is None else replaced).extend(text)
            elif (self.elements.buffers.get(e.key), self.elements.bases.get(e.key)) != (e.name, e.base):
                if e.carried in self.copies:
                    name = self.elements.buffers[self.copies[e.carried]]
                    lines += self.nests.over(e.shape, self._copier(e.key, End(e.key, name, e.shape)))
                    replaced += self.moved(End(e.key, name, e.shape), e)
                else:
                    (lines if e.carried is None else replaced).extend(self._copied(e))
        return [*lines, *replaced]

    def _put_aside(self, e: End, value: Text, lines: list[Line]) -> Text:
        name = self.names.fresh(None)
        lines += lines_of(self.elements.assign(self.graph.node(e.key), name, value.text))
        return Text(name)

    def _place(self, e: End) -> str:
        return e.name if e.base is None else f"{e.name}[{self.subscripts.text(e.base)}]"

    def _in_memory(self, key: int, value: Text) -> Text:
        return self.elements.stored(self.graph.node(key), value)

    def moved(self, source: End, e: End) -> list[Line]:
        """A loop from where a result is to another place."""

        def move(nest: Nest, lines: list[Line]) -> None:
            to, there = (f"{x.name}[{self.subscripts.text((x.base or Affine()) + nest.index[0])}]" for x in (e, source))
            self.elements.set(to, Text(there), lines, nest.depth)

        return self.nests.over((math.prod(e.shape),), move)

    def _copied(self, e: End) -> list[Line]:
        """The loop that copies a value to its end."""
        self.elements.far.clear()
        nest = self.nests.over(e.shape, self._copier(e.key, e))
        return nest if e.carried is not None else self.structures.shared_by_threads(nest, e.shape, math.prod(e.shape))

    def _copier(self, key: int, e: End) -> Write:
        return lambda nest, lines: self.copy(key, e, nest, lines)

    def copy(self, key: int, e: End, nest: Nest, lines: list[Line]) -> None:
        """The statement that copies one element of a value to its end."""
        value = self.elements.element(key, nest.index, False, lines, nest.depth)
        place = f"{e.name}[{self.subscripts.text((e.base or Affine()) + flatten(nest.index, e.shape))}]"
        self.elements.set(place, self._in_memory(key, value), lines, nest.depth)

    # --- units --------------------------------------------------------------------------------------------------

    def _unit(self, unit: Unit) -> list[Line]:
        self.subscripts.out_of_order.clear()
        if unit.rows is not None:
            return (BlockLoop if unit.rows.block else RowLoop)(self, unit.rows).lines()
        if unit.along is not None:
            return self.structures.along(unit.along)
        if unit.shared:
            return self._shared_loop(unit)
        (n,) = unit.nodes
        if n.key in self.results:
            return self.regions[n.key].lines()
        structure = lookup(n.op).structure
        if type(structure) in STRUCTURES:
            return STRUCTURES[type(structure)](self.structures, n, structure)
        return self._statement(n).lines

    def _statement(self, n: Node) -> Step:
        """The statement that computes a scalar, whose words are right if all that it reads are scalars."""
        elements, scalars, lines = self.elements, self.elements.scalars, list[Line]()
        words = [scalars[key].text for key in self.units.reads[n.key] if key in scalars]
        value = elements.scalar(n, lines) if self.plain else elements.compute(n, (), False, lines, 0)
        end = self.first_ends.get(n.key)
        if end is not None and self._is_result(n):
            lines += self._stored_at_once(n, value, [end])
            return Step(n.origin, lines, {}, (*words, end.name))
        name = self.names.fresh(elements.wish(n))
        lines += lines_of(elements.assign(n, name, value.text))
        value = scalars[n.key] = _TEXT(Text, (name, ATOM))
        words.append(name)
        if self.reordered and end is not None:
            ends = self.ends_of[n.key]
            lines += self._stored_at_once(n, value, ends)
            words += [e.name for e in ends]
        return Step(n.origin, lines, {name: n.type.dtype}, tuple(words))

    def _stored_at_once(self, n: Node, value: Text, ends: Sequence[End]) -> list[Line]:
        """The statements that store a value where it is a result, lest it waits for the end of the function."""
        self.stored.add(n.key)
        found: list[Line] = []
        for e in ends:
            stored = value if e.pattern == "set" and e.base is None else self.elements.stored(n, value)
            found += lines_of(self.target.syntax[e.pattern].format(name=self._place(e), value=stored.text))
        return found

    def _shared_loop(self, unit: Unit) -> list[Line]:
        """One loop that computes several element-wise arrays and full reductions of the same shape."""
        before: list[Line] = []
        totals: dict[int, list[str]] = {}
        flat = len(unit.shape) > 1 and all(self._walks_flat(n) for n in unit.nodes)
        shape = (math.prod(unit.shape),) if flat else unit.shape
        reductions = [n for n in unit.nodes if isinstance(lookup(n.op).structure, Reduction)]
        strands = self.structures.strands(reductions, shape) if len(reductions) == len(unit.nodes) else range(1)
        shape = parted(shape, len(strands))
        shared = self.structures.shared(reductions, shape, len(strands)) if reductions else None
        depth = 0 if shared is None else 1
        named: dict[int, str] = {}
        for n in reductions:
            name = named[n.key] = self.names.fresh(n.origin.name, "sum_" if is_sum(lookup(n.op).structure) else "acc_")
            own = name if shared is None else self.names.fresh(None, "acc_")
            totals[n.key] = self.structures.begun(n, own, len(strands), before, depth)

        read_here = {key for n in unit.nodes for key in self.units.reads[n.key]}

        def inside(nest: Nest, lines: list[Line]) -> None:
            for strand, start in enumerate(strands):
                place = Nest(shifted(nest.index, start), flat, nest.depth)
                for n in unit.nodes:
                    if n.key in totals:
                        value = self.elements.element(n.args[0], place.index, flat, lines, nest.depth)
                        name = totals[n.key][strand]
                        self.structures.combine(n, lookup(n.op).structure, name, value, lines, nest.depth)
                    else:
                        self._shared_element(n, n.key in read_here, place, lines)

        running = {name: n for n in reductions for name in totals[n.key]}
        sums = {name: self.structures.sum_of(n) for name, n in running.items() if is_sum(lookup(n.op).structure)}
        self.elements.far.clear()
        self.elements.shared = self._read_again(unit)
        loops = self.nests.over(shape, inside, depth, span=self.structures.span(shared))
        self.elements.shared = frozenset()
        self.elements.read.clear()
        operators = self.structures.operators(running)
        independent = not totals and not self.target.strict
        self.structures.helpers.update({"simd": None} if independent else {})
        lines = before + self.nests.rows(loops, shape, sums, self.subscripts.out_of_order, operators, independent)
        if not totals:
            lines = self.structures.shared_by_threads(lines, shape, math.prod(shape), simd=independent)
        for n in reductions:
            self.structures.ended(n, totals[n.key], lines, depth)
        if shared is not None:
            lines = self.structures.in_shares(shared, lines, {named[n.key]: (n, totals[n.key][0]) for n in reductions})
        self.elements.locals.clear()
        self.elements.scalars.update({key: Text(name) for key, name in named.items()})
        return lines

    def _read_again(self, unit: Unit) -> set[int]:
        """What several nodes of a shared loop read at one place, behind a store: it may be to the same memory for C.

        A compiler that does not know better reads again, and computes again what it could share.
        """
        found: set[tuple[int, Index | None]] = set()
        again: set[int] = set()
        stored = False
        for n in unit.nodes:
            reads = reads_of(self.graph, n, self.units.virtual, self.units.aliases)
            if stored:
                again.update(key for key, at in reads & found if at is not None and key in self.elements.buffers)
            found |= reads
            stored = stored or n.key in self.elements.buffers
        return again

    def _shared_element(self, n: Node, read_here: bool, nest: Nest, lines: list[Line]) -> None:
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
