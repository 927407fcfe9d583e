"""Batches: functions of many points at a time.

In: the lowered function of one point, and its straight-line code where that is short (see passes/lanes.py). Out: a
`Batch`, whose template walks over the points in blocks: arguments are brought into lanes (one array for each number of
a point, unless they lie so), one loop over the lanes computes, and results go where the caller wants them. Guarantee:
blocks have one size and sums one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..derive.derivatives import GROUPS, Kind
from ..graph import Graph
from ..index import Affine, variable
from ..passes.lanes import taken_apart
from ..program import Argument, Axis, Batch, Function, Lanes, Line, Strided, Work
from ..target import Target
from ..types import DTYPES, DType
from .loop_regions import End
from .loops import Writer
from .naming import Names
from .nests import lines_of
from .printing import WIDTH, Text, wrapped
from .statements import Body, Group
from .tables import FlatTables

__all__ = ["Batching", "batch", "reserve"]

#: What the template calls its own variables.
_OWN = ("n", "threads", "streams", "lane", "lanes", "count", "start", "stop", "block", "blocks", "room", "votes",
        "memory", "to", "rows", "asked", "asks", "first", "done", "head", "most", "run", "runs", "k",
        "work")  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")
_LEAST = 8  # points in a block: lanes come in groups of so many
#: Unsigned types of half the width of a number, by its bits.
_HALF = {64: "unsigned int", 32: "unsigned short"}


@dataclass(frozen=True)
class Batching:
    """What `compile(batch=, reduce=, threads=)` asks for.

    `mapped` are the positions of the inputs that have a value for each point; `summed`: whether results that belong to
    shared inputs alone are added up; `by` are the positions of the inputs differentiated by.
    """

    mapped: frozenset[int]
    summed: bool
    threads: bool
    by: tuple[int, ...]


def reserve(names: Names, target: Target) -> None:
    """Take the names that batch functions have inside."""
    for name in _OWN:
        names.fresh(f"gs_{name}")


def batch(
    f: Function,
    kind: Kind,
    inputs: int,
    straight: Graph | None,
    groups: Sequence[Group],
    options: Batching,
    name: str,
    names: Names,
    target: Target,
    main: DType,
) -> tuple[Batch, Body]:
    """The batch function of `f`, whose first `inputs` inputs are the user's; and what its code needs.

    `straight` is the graph of scalars that computes `groups`, or None for a function that calls `f` for each point.
    """
    names = names.copy()
    each = [i >= inputs or i in options.mapped for i in range(len(f.inputs))]
    taken = [_strided(a, one, names, target) for a, one in zip(f.inputs, each, strict=True)]
    given = [_strided(a, not s, names, target) for a, s in zip(f.outputs, _summed(kind, f, options), strict=True)]
    block, stack = _block([*(a for a in taken if a.each), *given], target)
    lanes, body, work = None, Body([]), f.work
    if straight is not None and stack <= target.tuning.batch_bytes:
        taken = [_in_lanes(a, names) for a in taken]
        given = [_in_lanes(a, names) for a in given]
        lanes, body = _lanes(name, straight, groups, taken, given, block, names, target, main)
        work = ()
    else:
        taken, given, work = _packed(taken, given, work, target, main)
    parameters = [text for a in taken for text in _parameters(a, "array_input", target)]
    parameters += [text for a in given for text in _parameters(a, "output", target)]
    parameters += [target.syntax["workspace"].format(name=w.name, type=w.ctype) for w in work]
    head = ["ptrdiff_t gs_n", *(["ptrdiff_t gs_threads"] if options.threads else [])]
    found = Batch(
        name=name,
        doc=f.doc,
        function=f,
        inputs=tuple(taken),
        outputs=tuple(given),
        block=block,
        signature=_head(name, [*head, *parameters], target),
        parameters="\n    ".join(wrapped(f"({', '.join(parameters)})", WIDTH, 4))[1:-1],
        lanes=lanes,
        work=tuple(work),
        threads=options.threads,
        stack=stack if lanes else 0,
        least=max(1, target.tuning.thread_elements // max(1, sum(a.argument.size for a in (*taken, *given)))),
    )
    return found if lanes is None else _past(_headed(found, target), target), body


def _summed(kind: Kind, f: Function, options: Batching) -> list[bool]:
    """For each output, whether it is added up over the points: none of what it is by has a value for each point."""
    flags: list[bool] = []
    for group, size in zip(kind.groups, f.groups, strict=True):
        by = GROUPS[group].by
        arguments = by.count("argument")
        results = size // max(1, len(options.by) ** arguments)
        choices = [range(results) if what == "output" else options.by for what in by]
        for chosen in itertools.product(*choices):
            places = [i for what, i in zip(by, chosen, strict=True) if what == "argument"]
            flags.append(options.summed and options.mapped.isdisjoint(places))
    return flags


def _block(held: Sequence[Strided], target: Target) -> tuple[int, int]:
    """How many points are taken at a time, a power of two; and the bytes of their numbers and of sums on the stack."""
    each, sums = _bytes(held), _bytes([a for a in held if not a.each])
    most = (target.tuning.batch_bytes - sums) // max(1, each)
    block = _power(max(_LEAST, min(target.tuning.batch_points, most)))
    return block, block * each + sums


def _bytes(arrays: Sequence[Strided]) -> int:
    """The bytes of what one point has of them."""
    return sum(a.room * max(1, DTYPES[a.argument.dtype].bits // 8) for a in arrays)


def _power(number: int) -> int:
    """The largest power of two that is not above it."""
    return 1 << (number.bit_length() - 1)


def _headed(found: Batch, target: Target) -> Batch:
    """The batch with a short first block, if the others then begin where lines of memory do, and nothing else changes.

    Sums have one order, and a twin for far angles takes the place of a whole block: neither may depend on addresses.
    """
    first = found.outputs[0]
    far = found.lanes is not None and found.lanes.far is not None
    if found.sums or far or found.block * DTYPES[first.argument.dtype].bits < 8 * target.tuning.line_bytes:
        return found
    rows = tuple(a for a in (*found.inputs, *found.outputs) if a.each and a.argument.ctype == first.argument.ctype)
    return replace(found, head=max(target.tuning.line_bytes, target.tuning.head_points), lined=rows)


def _past(found: Batch, target: Target) -> Batch:
    """The batch with how its results are stored past the caches, if they are many numbers of one type.

    It pays where there are more rows than a CPU follows by itself: it has to be asked for those that come, too.
    """
    tuning, given = target.tuning, found.outputs
    types = {a.argument.ctype: DTYPES[a.argument.dtype] for a in given}
    dtype = next(iter(types.values()))
    if found.sums or len(types) > 1 or dtype.kind != "float":
        return found
    rows = found.rows_written
    if not rows or rows + sum(int(a.argument.size) for a in found.inputs if a.each) < tuning.stream_rows:
        return found
    bytes_ = dtype.bits // 8
    line = tuning.line_bytes // bytes_
    reads = _bytes([a for a in found.inputs if a.each])
    points = max(1, tuning.line_bytes * tuning.stream_lines // max(1, reads))
    short = max(line, _power(min(found.block, points)))
    stack = short * reads + (rows + 1) * (short + line) * bytes_ + 8 * rows + 16 * found.rows_read  # and two lists
    if short > found.block or stack > tuning.batch_bytes:
        return found
    starts = itertools.accumulate((int(a.argument.size) for a in given), initial=0)
    return replace(
        found,
        outputs=tuple(replace(a, packed=k * (short + line) + line) for a, k in zip(given, starts, strict=False)),
        streams=max(1, tuning.stream_bytes // (rows * bytes_)),
        streamed=next(iter(types)),
        short_block=short,
        row_room=short + line,
        ahead=2 * short,
        second=found.rows_read > tuning.near_rows,
        run=max(1, tuning.stream_run // short) * short,
        stack=max(found.stack, stack),
    )


def _strided(a: Argument, each: bool, names: Names, target: Target) -> Strided:
    """The argument as it lies in memory, with names for its strides."""
    memory = target.types.get(f"{a.dtype}[]", target.types[a.dtype])
    if not each:
        return Strided(a, each=False)
    shape = a.fixed_shape
    one = len(shape) == 1
    axes = tuple(
        Axis(size, names.fresh(f"{a.name}_stride" if one else f"{a.name}_stride_{k}"), math.prod(shape[k + 1 :]))
        for k, size in enumerate(shape)
    )
    point = names.fresh(f"{a.name}_point")
    return Strided(replace(a, ctype=memory), each=True, point=point, axes=axes, offset=_offset(axes))


def _offset(axes: Sequence[Axis]) -> str:
    """Where number `gs_k` of a point is, by its place on each axis."""
    texts = []
    for axis in axes:
        place = "gs_k" if axis.step == 1 else f"gs_k / {axis.step}"
        place = place if axis is axes[0] else f"{place} % {axis.size}"
        texts.append(f"{place} * {axis.stride}")
    return " + ".join(texts)


def _parameters(a: Strided, pattern: str, target: Target) -> list[str]:
    syntax, name, type = target.syntax, a.argument.name, a.argument.ctype
    if not a.each:
        scalar = a.argument.is_scalar and pattern == "array_input"
        return [syntax["scalar_input" if scalar else pattern].format(name=name, type=type)]
    strides = [a.point, *(axis.stride for axis in a.axes)]
    return [syntax[pattern].format(name=name, type=type), *(syntax["size_input"].format(name=s) for s in strides)]


def _head(name: str, parameters: Sequence[str], target: Target) -> str:
    first, *rest = wrapped(target.syntax["signature"].format(name=name, parameters=", ".join(parameters)), WIDTH, 4)
    return "\n".join([first, *(f"    {line}" for line in rest)])


# --- straight-line code -----------------------------------------------------------------------------------------------


def _in_lanes(a: Strided, names: Names) -> Strided:
    """The argument with names for where its lanes are, and for how far apart two of its numbers are."""
    name = a.argument.name
    return replace(a, lanes=names.fresh(f"{name}_lanes"), step=names.fresh(f"{name}_step"))


def _lanes(
    name: str,
    graph: Graph,
    groups: Sequence[Group],
    taken: Sequence[Strided],
    given: Sequence[Strided],
    block: int,
    names: Names,
    target: Target,
    main: DType,
) -> tuple[Lanes, Body]:
    """The lines of the loop over lanes."""
    outside, names, target = names, names.copy(), replace(target, lanes=True)
    whole, keys = graph, [key for group in groups for key in group.keys]
    graph, elements = taken_apart(graph.rooted(keys))
    lane = variable("gs_lane")
    places = iter(graph.outputs)
    ends = [
        End(next(places), a.lanes, (), base=_place(a, k, lane))
        for a, group in zip(given, groups, strict=True)
        for k in range(len(group.keys))
    ]
    writer = Writer(graph, ends, target, names, FlatTables(target), main, False)
    shared: list[Line] = []
    inside: dict[str, list[Line]] = {}  # a number of a point -> what reads it
    for e in elements:
        a = taken[e.input]
        if a.argument.is_scalar and not a.each:
            writer.elements.scalars[e.key] = Text(a.argument.name)
            continue
        wish = "_".join([a.argument.name, *map(str, _index(e.place, a.argument.fixed_shape))])
        local = wish if a.argument.is_scalar else names.fresh(wish)  # the pointer has another name there
        writer.elements.scalars[e.key] = Text(local)
        place = Affine(e.place) if not a.each else _place(a, e.place, lane)
        source = f"{a.lanes if a.each else a.argument.name}[{writer.subscripts.text(place)}]"
        read = lines_of(writer.elements.assign(graph.node(e.key), local, source))
        if a.each:
            inside[local] = read
        else:
            shared += read
    writer.schedule()
    body = writer.lines(inside)
    shared = [*writer.tables.lines, *shared]
    parameters = [p for a in taken for p in _lane_parameters(a, "array_input", target)]
    parameters += [p for a in given for p in _lane_parameters(a, "output", target)]
    named = {word for line in (*shared, *body) for word in _WORD.findall(line.text)}
    unused = [p.split()[-1].lstrip("*") for p in parameters]
    head = f"static {_head(f'{name}_lanes', ['ptrdiff_t gs_lanes', *parameters], target)}"
    found = Lanes(head, tuple(shared), tuple(body), tuple(p for p in unused if p not in named))
    widest = max((dtype.bits for _, dtype in writer.result.vector_ops), default=0)
    if widest in _HALF and block >= 2 * _LEAST:  # polynomials are chains: one vector at a time leaves pipelines empty
        found = replace(found, group=2 * _LEAST, narrow=_HALF[widest])
    far = sorted(writer.result.far)
    if not far:
        return found, writer.result
    syntax = target.syntax
    again, more = _lanes(f"{name}_far", whole, groups, taken, given, block, outside, replace(target, near=False), main)
    writer.result.ops.update(more.ops)
    call = syntax["call"].format(value=f"{name}_far_lanes({', '.join(['gs_lanes', *unused])})")
    condition = " || ".join(syntax[f"is_far.{dtype.name}"] for dtype in far)
    last = [Line(0, syntax["if"].format(condition=condition)), *lines_of(call, 1), Line(0, syntax["end"])]
    first = [Line(0, syntax[f"far.{dtype.name}"]) for dtype in far]
    return replace(found, shared=(*shared, *first), after=tuple(last), far=again), writer.result


def _lane_parameters(a: Strided, pattern: str, target: Target) -> list[str]:
    """An array of lanes, and the step between two of them where there are several; what all points share as it is."""
    if not a.each and pattern == "array_input":
        return _parameters(a, pattern, target)
    lanes = target.syntax[pattern].format(name=a.lanes, type=a.argument.ctype)
    return [lanes, *([target.syntax["size_input"].format(name=a.step)] if a.argument.shape else [])]


def _index(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    found = []
    for size in reversed(shape):
        place, i = divmod(place, size)
        found.append(i)
    return tuple(reversed(found))


def _place(a: Strided, k: int, lane: Affine) -> Affine:
    """Number `k` of the point in this lane."""
    return lane if a.argument.is_scalar or k == 0 else variable(a.step) * k + lane


# --- point by point ---------------------------------------------------------------------------------------------------


def _packed(
    taken: Sequence[Strided], given: Sequence[Strided], work: Sequence[Work], target: Target, main: DType
) -> tuple[list[Strided], list[Strided], tuple[Work, ...]]:
    """Places in the workspace for arrays of one point that are not compact, and for sums; and the workspace.

    Long ones begin where lines of the cache do, as the workspace of each thread does.
    """
    sizes = {w.ctype: w for w in work}

    def at_line(size: int, room: int, bits: int) -> int:
        line = max(1, 8 * target.tuning.line_bytes // bits)
        return size + (-size % line if room >= line * target.tuning.line_least else 0)

    def placed(a: Strided) -> Strided:
        memory = target.types.get(f"{a.argument.dtype}[]", target.types[a.argument.dtype])
        if memory not in sizes:
            short = "bytes" if a.argument.dtype == "bool" else DTYPES[a.argument.dtype].short
            end = "" if a.argument.dtype == main.name else f"_{short}"
            sizes[memory] = Work(f"work{end}", f"WORK{end.upper()}", memory, 0)
        w, room = sizes[memory], a.room if a.each else 2 * a.room  # of a point, and of a block
        start = at_line(int(w.size), room, max(8, DTYPES[a.argument.dtype].bits))
        sizes[memory] = replace(w, size=start + room)
        return replace(a, work=w.name, packed=start)

    inputs = [placed(a) if a.each and a.axes else a for a in taken]
    outputs = [placed(a) if a.axes or not a.each else a for a in given]
    bits = {target.types[d]: DTYPES[d].bits for d in ("float32", "float64")}
    return (
        inputs,
        outputs,
        tuple(replace(w, size=at_line(int(w.size), int(w.size), bits.get(w.ctype, 8))) for w in sizes.values()),
    )
