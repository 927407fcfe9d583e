"""Storage: where the arrays of a function, or of the body of a loop or branch in it, live.

In: the writer of a function, which knows what is computed when. Out: buffers, known by name to its `elements`; `slots`
of memory, their `offsets` in results or in the workspace, and how large that is. Results are computed where they belong
where that is possible. Guarantee: no two values share memory while both are needed.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..dims import Extent, atom, certainly_at_most
from ..graph import Node
from ..index import Affine
from ..program import Line
from ..registry import Kernel, lookup
from ..types import DType
from .carried import begun_in_place, needs_copy, replaced_in_place
from .fusion import is_block, shape_of
from .in_place import in_place
from .loop_regions import End, Slot, WrittenRegion
from .memory import Lifetime, Place, larger, place_in_results, room
from .nests import lines_of
from .rows import Rows, is_per_row

if TYPE_CHECKING:
    from .loops import Writer

__all__ = ["Storage"]


class Storage:
    """The memory of one function or body: empty until it is planned."""

    def __init__(self, writer: Writer) -> None:
        self.writer: Writer = weakref.proxy(writer)  # whose part it is: no cycle of references
        self.graph, self.units, self.ends = writer.graph, writer.units, writer.ends
        self.target, self.names = writer.target, writer.names
        self.elements, self.structures = writer.elements, writer.structures
        self.slots: dict[int, Slot] = {}
        self.offsets: dict[int, Place] = {}
        self.sizes: dict[DType, Extent] = {}
        self.row_buffers: set[int] = set()  # values of which memory holds one row
        self.replaced: Mapping[int, int] = {}  # whose place a value takes
        self.copies: dict[int, int] = {}  # where new state is put aside that may not yet be written over the old
        self._starts: dict[int, Sequence[Extent]] = {}  # of parts of arrays, see `_starts_of`

    def plan(self) -> None:
        """Where everything lives: `slots`, `offsets` and `sizes`."""
        for e in self.ends:
            made_here = e.key in self.units.reads and e.key not in self.elements.buffers
            if e.shape and e.carried is None and made_here and self.fits(e):
                self.lies(e.key, e)
        times = self._times()
        end = times[-1].stop if times else 0
        last = self._last_reads(times, end)
        replaced_in_place(self)
        begins = begun_in_place(self)
        lifetimes = self._lifetimes(times, last, begins)
        for key in sorted(lifetimes, key=lambda key: self.graph.node(key).type.dtype):
            n = self.graph.node(key)
            name = self.elements.buffers[key] = self.names.fresh(self.elements.wish(n))
            self.slots[key] = Slot(n.type.dtype, lifetimes[key][0], name)
        self.elements.buffers.update({a: self.elements.buffers[state] for a, state in begins.items()})
        self._join()
        for unit, time in zip(self.units.order, times, strict=True):
            for n in unit.nodes:
                self._scratch(n, time, unit.rows is not None, lifetimes)
                if n.bodies:
                    self._region(n, time.start, begins, lifetimes)
        for e in self.ends:
            if e.carried is not None and e.shape and needs_copy(self, e):
                type, name = self.graph.node(e.key).type, self.names.fresh(None)
                key = self.copies[e.carried] = self._new_slot(Slot(type.dtype, room(type), name), (end, end), lifetimes)
                self.elements.buffers[key] = name
        self._find_places(lifetimes, times, end)

    def _new_slot(self, slot: Slot, time: tuple[int, int], lifetimes: dict[int, Lifetime]) -> int:
        """The key of memory that is no value's."""
        key = -1 - len(self.slots)
        self.slots[key] = slot
        lifetimes[key] = (slot.size, *time)
        return key

    def _scratch(self, n: Node, time: range, in_rows: bool, lifetimes: dict[int, Lifetime]) -> None:
        """What a kernel, or threads that share the sum of rows, need while they run."""
        structure, wanted = lookup(n.op).structure, list[tuple[DType, Extent]]()
        if isinstance(structure, Kernel):
            types = (self.graph.node(a).type for a in n.args)
            wanted += [(dtype, larger(1, size)) for dtype, size in structure.memory(n.type.dtype, *types, n.params)]
        columns = None if in_rows else self.structures.shared_columns(n)
        if columns is not None:
            wanted.append((n.type.dtype, columns.count * n.type.size))
        for dtype, size in wanted:
            name = self.names.fresh(None)
            self.structures.scratch.setdefault(n.key, []).append(name)
            self._new_slot(Slot(dtype, size, name), (time.start, time[-1]), lifetimes)

    def _region(self, n: Node, moment: int, begins: Mapping[int, int], lifetimes: dict[int, Lifetime]) -> None:
        """The memory of a loop or branch."""
        region = WrittenRegion(self.writer, n, {m.params["index"]: m for m in self.writer.made(n)})
        self.writer.regions[n.key] = region
        for grown, slot in region.grown.items():
            self.slots[grown] = slot
            lifetimes[grown] = (slot.size, *lifetimes[grown][1:])
            for a in (a for a, state in begins.items() if state == grown):
                self.elements.bases[a] = self.elements.bases[grown]
        for slot in region.slots:
            region.keys[slot] = self._new_slot(slot, (moment, moment), lifetimes)

    def _lifetimes(
        self, times: Sequence[range], last: Mapping[int, int], begins: Mapping[int, int]
    ) -> dict[int, Lifetime]:
        """How large the arrays are that lie in no result, and when they are needed."""
        joined, found = self.units.joined, dict[int, Lifetime]()
        for unit, time in zip(self.units.order, times, strict=True):
            if unit.rows is not None:
                for key, life in self._lifetimes_in_rows(unit.rows, time, last).items():
                    found.setdefault(key, life)  # what is made again is there from the first time on
                continue
            for m in [m for n in unit.nodes if n.type.shape or n.bodies for m in self.writer.made(n)]:
                if not m.type.shape or m.key in self.elements.buffers:
                    continue
                if m.key in begins:  # the memory of the state is born with its first value
                    state = begins[m.key]
                    found[state] = (room(m.type), time.start, last.get(state, times[-1].stop))
                    continue
                whole, _ = joined.get(m.key, (m.key, 0))
                if m.key != whole:
                    if whole not in self.elements.buffers and whole not in found:  # born with its first part
                        found[whole] = (room(self.graph.node(whole).type), time.start, last[whole])
                elif m.key not in found and (last.get(m.key, time.start) > time.start or not unit.shared):
                    found[m.key] = (room(m.type), time.start, last.get(m.key, time.start))
        return found

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
                if n.key in self.units.again:
                    lifetimes[n.key] = (rows.room(n), moment, read)
                    self.row_buffers.add(n.key)
                elif role == "column" or read > time[-1]:
                    lifetimes[n.key] = (room(n.type), time.start, max(read, time[-1]))
                elif read > moment and (rows.block or not is_per_row(n.type.shape, rows.shape)):
                    lifetimes[n.key] = (rows.room(n) * (1 if shared is None else shared.count), moment, read)
                    self.row_buffers.add(n.key)
        return lifetimes

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
            for m in (m for n in unit.nodes for m in self.writer.made(n)):
                first.setdefault(self.elements.buffers.get(m.key, ""), time.start)
        found: dict[str, tuple[DType, Extent, int]] = {}
        for e in self.ends if not self.target.returns else ():
            dtype = self.graph.node(e.key).type.dtype
            if e.pattern == "store" and e.shape and dtype.kind != "bool":
                found[e.name] = dtype, math.prod(e.shape), first.get(e.name, end)
        return found

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
        for before, end in itertools.pairwise(self._starts_of(key)):
            if isinstance(before, int) and isinstance(end, int) and end - before > most:
                most, found = end - before, before
        return found

    def _join(self) -> None:
        """Parts of an array that is put together are computed where it has them."""
        for key, (whole, part) in self.units.joined.items():
            n = self.graph.node(whole)
            self.elements.buffers[key] = self.elements.buffers[whole]
            self.elements.bases[key] = self.elements.bases.get(whole, Affine())
            if is_block(self.graph, n):
                self.elements.bases[key] = self.elements.bases[key] + self._starts_of(whole)[part]
            else:
                self.elements.parts[key] = whole, part

    def _starts_of(self, whole: int) -> Sequence[Extent]:
        """How many elements are in front of each part of an array that is put together of blocks, and of its end."""
        if whole not in self._starts:
            sizes = (math.prod(shape_of(self.graph, a)) for a in self.graph.node(whole).args)
            self._starts[whole] = [*itertools.accumulate(sizes, initial=0)]
        return self._starts[whole]

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
        for a, (whole, _) in self.units.joined.items():
            last[whole] = max(last.get(whole, 0), last.get(a, 0))
        return last

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

    def takes_over(self, n: Node, old: int) -> bool:
        """Whether a kernel reads `old` as the operand that its result may replace, and as no other."""
        structure = lookup(n.op).structure
        if not isinstance(structure, Kernel) or structure.replaces is None:
            return False
        read = [self.stored_under(a) for a in n.args]
        return read.pop(structure.replaces) == [old] and not any(old in keys for keys in read)

    def fits(self, e: End) -> bool:
        """Whether a result can be computed where it belongs: a support function needs a pointer to within a buffer."""
        kernel = isinstance(lookup(self.graph.node(e.key).op).structure, Kernel)
        return not kernel or e.base is None or "pointer" in self.target.syntax

    def lies(self, key: int, e: End) -> None:
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
        for region in self.writer.regions.values():
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
                if base in self.writer.frames and self.writer.frames[base].whole == alias:
                    self.elements.bases[alias] = self.elements.bases[base] + self.writer.frames[base].ahead * -1

    def _placed(self, slot: Slot, place_of: Place) -> list[Line]:
        """A pointer into the workspace or a result, or a buffer of the function's own."""
        if self.target.returns:
            return self.new(slot.dtype, slot.name, slot.size)
        result, offset = place_of
        array = result or ("work" if slot.dtype == self.writer.main else f"work_{slot.dtype.short}")
        place = f"{array} + {offset}" if offset != 0 else array
        type = self.target.types[slot.dtype.name]
        return lines_of(self.target.syntax["buffer"].format(type=type, name=slot.name, place=place))

    def new(self, dtype: DType, name: str, size: Extent) -> list[Line]:
        """A buffer of the function's own, in a target that has them."""
        zero = self.elements.printer.number(0, dtype).text
        return lines_of(self.target.syntax["buffer"].format(name=name, value=zero, size=atom(size)))
