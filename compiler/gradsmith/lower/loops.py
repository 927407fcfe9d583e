"""Loop lowering: scalars become local variables, arrays become buffers filled by loop nests (C, and Python at length).

In: a graph, the outputs wanted, and a target with statement syntax. Out: a `Body`. Layout ops cost nothing: they turn
into subscripts. What is computed when is decided by `fusion`, where it lives by `storage`; how an element is written by
`elements`, how an array structure by `structures`, a loop over several values by `shared_loops` or `row_loops`. Results
go into output parameters and buffers into a workspace, unless the target's functions return their results: then they
make their buffers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np

from ..graph import Graph, Node
from ..index import Affine, flatten
from ..origin import Origin
from ..program import Argument, Line
from ..registry import NEAR, Assembly, Reduction, Scan, lookup
from ..target import Target
from ..types import DType, format_shape
from .carried import is_kept
from .collapse import axes_as_one
from .elements import Elements
from .frames import Frame
from .fusion import Means, Unit, fuse
from .loop_regions import End, WrittenRegion
from .naming import Names
from .nests import Nest, Nests, Write, lines_of
from .order import most_waiting, with_choices_together, with_few_waiting
from .printing import ATOM, Text
from .row_loops import BlockLoop, RowLoop
from .shared_loops import SharedLoop
from .sizes import Sizes
from .statements import Body, Group, Step, annotated, is_long, may_raise, plan, words_of, working_dtype
from .storage import Storage
from .structures import STRUCTURES, Structures
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
        declared = [*returned, *self.storage.declared({})]
        self.result.work.update(self.storage.sizes if not self.target.returns else {})
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
        old = [e for e in self.ends if is_kept(self.ends, e)]
        kept = [line for e in old for line in self.nests.over(e.shape, self._copier(e.key, e))]
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
        self.storage.named_again()  # the inputs of a body are known by now
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
                leaves = all(lookup(self.graph.node(key).op).kind == "leaf" for key in self.storage.stored_under(a))
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
            for m in self.made(n):
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
            found += self.storage.new(self.graph.node(key).type.dtype, out.name, out.size)
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

    # --- the schedule -------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """What is computed when, and where that lives: `units` and `storage`."""
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
        self.reordered = False
        if "independent" in self.target.syntax and self._is_straight():
            self._reorder()
        self.structures.in_place = self.units.joined
        self.structures.as_one = partial(axes_as_one, self.graph, self.units, self.elements)
        self.storage = Storage(self)
        if self.results or any(n.type.shape for n in self.graph.sorts):  # scalars need no memory
            self.storage.plan()

    def _is_straight(self) -> bool:
        """Whether all there is are scalars, each computed by one statement."""
        if any(e.carried is not None or e.pattern not in self.target.syntax for e in self.ends):
            return False
        return not any(
            len(u.nodes) != 1 or u.nodes[0].type.shape or u.nodes[0].key in self.results or u.shared
            for u in self.units.order
        )

    def _reorder(self) -> None:
        """Put straight-line code into an order in which fewer values wait, if too many for registers do.

        Where scalars stand in no loop of vectors, choices come together, too, as they are branches then.
        """
        units = self.units.order
        inputs = len(self.graph.inputs)
        place = {key: i for i, key in enumerate((*self.graph.inputs, *(u.nodes[0].key for u in units)))}
        reads: list[tuple[int, ...]] = [()] * inputs
        needs = self.units.reads
        reads += [tuple([place[a] for a in needs[u[0][0].key] if a in place]) for u in units]
        makes = [True] * inputs + [not self._is_result(u.nodes[0]) for u in units]
        given: Sequence[int] = range(len(reads))
        order = given
        before = most_waiting(given, reads, makes)
        if before > self.target.tuning.registers:
            tight = with_few_waiting(reads, makes)
            self.reordered = most_waiting(tight, reads, makes) < before
            order = tight if self.reordered else given
        if not self.target.lanes and any(lookup(n.op).choice for n in self.graph.sorts):
            nodes = enumerate([u.nodes[0] for u in units], inputs)
            order = with_choices_together(order, reads, {i: n.args[0] for i, n in nodes if lookup(n.op).choice})
        if order is not given:
            self.units = replace(self.units, order=tuple(units[i - inputs] for i in order if i >= inputs))

    def _is_result(self, n: Node) -> bool:
        """Whether a scalar is stored where it belongs, and read no more."""
        return n.key in self.first_ends and self.plan.uses[n.key] == 1

    def made(self, n: Node) -> list[Node]:
        """The values that come from a unit's node: itself, or the results of a loop or branch."""
        return self.results.get(n.key, [n])

    # --- results ------------------------------------------------------------------------------------------------

    def _stores(self) -> list[Line]:
        """What results still lack: scalars, and arrays that live elsewhere. A loop's state is replaced last."""
        lines: list[Line] = []
        replaced: list[Line] = []
        for e in self.ends:
            if e.key in self.stored or e.key == e.carried or is_kept(self.ends, e):
                continue
            if not e.shape:
                value = self.elements.element(e.key, (), False, lines, 0)
                if e.carried is not None and e.key in self.graph.inputs:
                    value = self._put_aside(e, value, lines)
                stored = value if e.pattern == "set" and e.base is None else self._in_memory(e.key, value)
                text = lines_of(self.target.syntax[e.pattern].format(name=self._place(e), value=stored.text))
                (lines if e.carried is None else replaced).extend(text)
            elif (self.elements.buffers.get(e.key), self.elements.bases.get(e.key)) != (e.name, e.base):
                if e.carried in self.storage.copies:
                    name = self.elements.buffers[self.storage.copies[e.carried]]
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
            return SharedLoop(self, unit).lines()
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
