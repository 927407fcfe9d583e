"""Parts: a long body cut into several functions, because the time of a C compiler grows faster than a function.

In: a body with its steps, and what its function takes. Out: the body that calls the parts one after the other, and the
parts. Values that are read behind the cut at which they were computed lie in the workspace in between. Guarantee: the
same operations in the same order. Time is linear in the number of steps.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import NamedTuple

from ..dims import Extent
from ..program import Line, PartFunction
from ..target import Target
from ..types import DType
from .nests import lines_of
from .printing import WIDTH, around, wrapped
from .sizes import Sizes
from .statements import Body, Step, annotated, is_long, words_of

__all__ = ["cuts", "in_parts", "units"]

Words = tuple[str, ...]
_DEFINED = re.compile(r"(\w+)(?:\[[^\]]*\])? = ")
# A cut may lie a quarter of a part before or behind its place, where fewer values cross it. With a half, a quarter, an
# eighth, a sixteenth and nothing, loads and stores are 12,115, 12,030, 12,035, 12,139 and 12,196 in 20,000 lines of
# random operations, and 1,283, 1,280, 1,351, 1,316 and 1,362 in 60 layers; gcc -O2 takes as long with all. That is no
# matter of the machine.
_SLACK = 4


def in_parts(
    body: Body, name: str, parameters: Mapping[str, str], sizes: Sizes, target: Target, main: DType
) -> tuple[Body, tuple[PartFunction, ...]]:
    """`body` as calls of parts, if it is longer than the target's tuning allows; `parameters` are C's, by name."""
    if not is_long(body, target):
        return body, ()
    words_of_steps = [words_of(step.lines) if step.words is None else step.words for step in body.steps]
    known = _Values(body.steps, words_of_steps)
    ends = [*_cuts(known, target.tuning.part_lines)]
    cross = Crossing(known, ends, parameters)
    places, work = _places(cross, body.work, main)
    taken = dict(parameters)
    for dtype in work:
        label = _label(dtype, main)
        taken[label] = target.syntax["workspace"].format(name=label, type=target.types[dtype.name])
    a_place = {value.dtype: places[name] for name, value in cross.values.items()}
    words_of_places = {dtype: words_of([Line(0, place)]) for dtype, place in a_place.items()}
    place_of = {parameter: i for i, parameter in enumerate(taken)}
    definitions = _Definitions(body.prelude)
    moves = _Moves(target)
    found, calls = [], []
    for number, (start, stop) in enumerate(cross.parts):
        steps, words = [], dict.fromkeys(chain.from_iterable(words_of_steps[start:stop]))
        moved: dict[DType, None] = {}
        for i, step in enumerate(body.steps[start:stop], start):
            loaded, stored = cross.loads.get(i), cross.stores.get(i)
            if loaded is None and stored is None:
                steps.append((step.origin, step.lines))
                continue
            lines: list[Line] = []
            for value in loaded or ():
                dtype = cross.values[value].dtype
                moved[dtype] = None
                lines += moves.load(dtype, value, places[value])
            lines += step.lines
            for value in stored or ():
                moved[cross.values[value].dtype] = None
                lines += moves.store(value, places[value])
            steps.append((step.origin, lines))
        for dtype in moved:
            words.update(dict.fromkeys(words_of_places[dtype]))
        before = definitions.of(words)
        words.update(dict.fromkeys(words_of(before)))
        bounds = [line for text in sizes.definitions([*words]) for line in lines_of(text)] if sizes.bounds else []
        words.update(dict.fromkeys(words_of(bounds)))
        needed = sorted((word for word in words if word in taken), key=place_of.__getitem__)
        part = f"{name}_part_{number + 1}"
        head = target.syntax["part"].format(name=part, parameters=", ".join(taken[p] for p in needed) or "void")
        first, *rest = wrapped(head, WIDTH, 4)
        signature = "\n".join([first, *(f"    {line}" for line in rest)])
        found.append(
            PartFunction(
                f"{name}, part {number + 1} of {len(cross.parts)}",
                signature,
                (*bounds, *before, *annotated(steps, target)),
            )
        )
        calls += lines_of(target.syntax["call"].format(value=f"{part}({', '.join(needed)})"))
    return replace(body, lines=sizes.before([*body.entry, *calls], body), work=work), tuple(found)


def units(parts: Sequence[PartFunction], size: int) -> tuple[tuple[PartFunction, ...], ...]:
    """The parts in as many groups of like length as make none longer than `size` lines, if no part is."""
    total = sum(len(p.body) for p in parts)
    count = -(-total // size)
    found: list[list[PartFunction]] = [[] for _ in range(count)]
    done = 0
    for part in parts:
        found[done * count // total].append(part)
        done += len(part.body)
    return tuple(tuple(group) for group in found if group)


class _Values:
    """The values that steps make, by number, and which of them each step reads: no name is looked up a second time."""

    def __init__(self, steps: Sequence[Step], words: Sequence[Words]) -> None:
        self.steps = steps
        self.number: dict[str, int] = {}
        self.names: list[str] = []
        self.made: list[int] = []  # the step that makes each value first
        self.reads: list[list[int]] = []  # by step, in the order of its words
        number, names, made = self.number, self.names, self.made
        for i, step in enumerate(steps):
            self.reads.append([number[word] for word in words[i] if word in number])
            for name in step.made:
                if name not in number:
                    number[name] = len(names)
                    names.append(name)
                    made.append(i)

    def crossing(self) -> list[int]:
        """How many values are computed before each step, and read there or behind it."""
        last = [-1] * len(self.made)
        for i, read in enumerate(self.reads):
            for v in read:
                last[v] = i
        change = [0] * (len(self.steps) + 2)
        for first, end in zip(self.made, last, strict=True):
            if end >= 0:
                change[first + 1] += 1
                change[end + 1] -= 1
        return [*accumulate(change)]


def cuts(steps: Sequence[Step], size: int) -> Iterator[int]:
    """Where parts end: about every `size` lines, at the place nearby that the fewest values cross."""
    return _cuts(_Values(steps, [words_of(step.lines) for step in steps]), size)


def _cuts(known: _Values, size: int) -> Iterator[int]:
    crossing = known.crossing()
    ends = [*accumulate([len(step.lines) for step in known.steps])]
    start, count = 0, len(ends)
    while start < count:
        before = ends[start - 1] if start else 0
        most, least = before + size + size // _SLACK, before + size - size // _SLACK
        end = min(max(bisect_right(ends, most), start + 1), start + 2 * size)
        late = range(min(max(bisect_left(ends, least) + 1, start + 1), end), end + 1)
        if ends[-1] <= most:
            late = range(count, count + 1)
        start = min(late, key=lambda stop: (crossing[stop], -stop))
        yield start


class Value(NamedTuple):
    """A value that a later part reads: its type, the part that makes it, and the last one that reads it."""

    dtype: DType
    made: int
    last: int


class Crossing:
    """The parts, as ranges of steps, and what is read in a later part than it is made in."""

    def __init__(self, known: _Values, ends: Sequence[int], parameters: Mapping[str, str]) -> None:
        self.parts = [*zip([0, *ends[:-1]], ends, strict=True)]
        self.values: dict[str, Value] = {}
        self.loads: dict[int, list[str]] = {}  # by the number of the step that reads first in a part
        self.stores: dict[int, list[str]] = {}  # by the number of the step that makes them
        given = {known.number[name] for name in parameters if name in known.number}
        for number, (start, stop) in enumerate(self.parts):
            loaded = {*given}
            for i, read in enumerate(known.reads[start:stop], start):
                found = [v for v in read if known.made[v] < start and v not in loaded]
                if not found:
                    continue
                names = [known.names[v] for v in found]
                step = known.steps[i]
                if len(found) > 1 and step.words is not None:
                    names = [word for word in words_of(step.lines) if word in names]
                loaded.update(found)
                self.loads[i] = names
                for v, name in [(known.number[name], name) for name in names]:
                    at = known.made[v]
                    if name in self.values:
                        self.values[name] = self.values[name]._replace(last=number)
                    else:
                        self.values[name] = Value(known.steps[at].made[name], bisect_right(ends, at), number)
                        self.stores.setdefault(at, []).append(name)
        for at, names in self.stores.items():
            if len(names) > 1:
                self.stores[at] = [name for name in known.steps[at].made if name in names]


def _label(dtype: DType, main: DType) -> str:
    return "work" if dtype == main else f"work_{dtype.short}"


def _places(cross: Crossing, work: Mapping[DType, Extent], main: DType) -> tuple[dict[str, str], dict[DType, Extent]]:
    """The element of the workspace that each crossing value lies in, behind all else there, and the new sizes.

    A place is free again behind the last part that reads its value.
    """
    places: dict[str, str] = {}
    used: dict[DType, int] = {}
    free: dict[DType, list[int]] = {}
    dying: dict[int, list[tuple[DType, int]]] = {}
    by_part: dict[int, list[tuple[str, Value]]] = {}
    for name, value in cross.values.items():
        by_part.setdefault(value.made, []).append((name, value))
    for number in range(len(cross.parts)):
        for dtype, place in dying.pop(number - 1, ()):
            heapq.heappush(free[dtype], place)
        for name, value in by_part.get(number, ()):
            heap = free.setdefault(value.dtype, [])
            if heap:
                place = heapq.heappop(heap)
            else:
                place = used.get(value.dtype, 0)
                used[value.dtype] = place + 1
            dying.setdefault(value.last, []).append((value.dtype, place))
            places[name] = f"{_label(value.dtype, main)}[{work.get(value.dtype, 0) + place}]"
    return places, {d: work.get(d, 0) + used.get(d, 0) for d in dict.fromkeys([*work, *used])}


class _Moves:
    """The statements that load a crossing value from its place, and those that store it there."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._loads: dict[DType, tuple[str, str, str] | None] = {}
        self._store = around(target.syntax["set"], "name", "value")

    def load(self, dtype: DType, name: str, place: str) -> list[Line]:
        type, pattern = self._target.types[dtype.name], self._target.syntax["assign"]
        if dtype not in self._loads:
            self._loads[dtype] = around(pattern, "name", "value", type=type)
        pieces = self._loads[dtype]
        if pieces is None:
            return lines_of(pattern.format(type=type, name=name, value=place))
        return [Line(0, f"{pieces[0]}{name}{pieces[1]}{place}{pieces[2]}")]

    def store(self, name: str, place: str) -> list[Line]:
        pieces = self._store
        if pieces is None:
            return lines_of(self._target.syntax["set"].format(name=place, value=name))
        return [Line(0, f"{pieces[0]}{place}{pieces[1]}{name}{pieces[2]}")]


class _Definitions:
    """Tables and buffers, by name: each part defines those it reads."""

    def __init__(self, prelude: Sequence[Line]) -> None:
        self._lines: dict[str, list[Line]] = {}
        for line in prelude:
            if not line.text.startswith(" "):
                match = _DEFINED.search(line.text)
                assert match is not None, line.text
                current = self._lines.setdefault(match[1], [])
            current.append(line)
        self._place_of = {name: i for i, name in enumerate(self._lines)}

    def of(self, words: Iterable[str]) -> list[Line]:
        """The definitions of those `words` that are defined, and of what they are made of."""
        found: set[str] = set()
        stack = [word for word in words if word in self._lines]
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack += [word for word in words_of(self._lines[name]) if word in self._lines]
        return [line for name in sorted(found, key=self._place_of.__getitem__) for line in self._lines[name]]
