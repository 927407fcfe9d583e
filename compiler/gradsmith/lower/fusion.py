"""Fusion: decide what gets memory, what is computed in place, and which element-wise results share one loop.

In: the nodes a function needs. Out: `Unit`s in execution order, each one loop nest or one scalar statement. A value is
stored when it is read more than once, when its readers need it as a block of memory, or when its expression grows
long; everything else is virtual, computed where it is read. Guarantee: every value is computed before it is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..dims import certainly_at_most
from ..graph import Graph, Node
from ..registry import Assembly, Contraction, Kernel, Layout, Reduction, Region, lookup
from ..tuning import Tuning
from ..types import Shape
from .along import Along, along
from .blocks import blocks_first
from .early import computed_early
from .members import made_again, members_first
from .recompute import recomputed, repeated_in_rows
from .rows import Rows, maker, rows_first
from .statements import Plan

__all__ = ["Means", "Unit", "Units", "fuse", "is_block", "shape_of"]

_HEAVIEST = 6  # operations written in place before a value gets a name


class Unit(NamedTuple):
    """Nodes computed together: one scalar, one reduction or assembly, or what shares a loop."""

    nodes: tuple[Node, ...]
    shape: Shape  # of the shared loop
    shared: bool  # whether the nodes share a loop over `shape`
    rows: Rows | None = None  # the inner loops of a loop over rows
    along: Along | None = None  # the sums that are added up in the loop that writes the result of this unit


@dataclass(frozen=True)
class Units:
    """The schedule: units in order, what each node reads (stored keys only), and aliases (reshapes, first rows).

    What is `joined` is computed in the memory of the array that it is a part of: which one, and the number of the part.
    Values that a node computes again where it reads them are `repeated` there; those that each loop over members
    computes which reads them stand in `again`.
    """

    order: tuple[Unit, ...]
    reads: Mapping[int, Mapping[int, bool]]
    aliases: Mapping[int, int]
    virtual: frozenset[int]
    joined: Mapping[int, tuple[int, int]]
    repeated: Mapping[int, frozenset[int]] = field(default_factory=dict)
    again: frozenset[int] = frozenset()


def shape_of(graph: Graph, key: int) -> Shape:
    """The shape of a node."""
    shape: Shape = graph.node(key).type.shape
    return shape


@dataclass(frozen=True)
class Means:
    """What a target and a place allow a schedule.

    With a `Tuning` to go `by_rows`, a row, or a block of rows, goes through all that needs no other one in one loop; of
    `threads`, each takes rows. What is `replaced` is the next value of `state`, whose memory may hold the old one. With
    `pointers`, support functions write anywhere in a buffer. `recompute` is what may be computed again instead of being
    stored (see there), or None; so is `along`, where sums are added up while a result is written. What is `framed` is
    memory around a state, by the state (see `frames`).
    """

    by_rows: Tuning | None = None
    threads: bool = False
    replaced: frozenset[int] = frozenset()
    state: frozenset[int] = frozenset()
    pointers: bool = True
    recompute: int | None = None
    along: int | None = None
    framed: Mapping[int, int] = field(default_factory=dict)


def fuse(graph: Graph, planned: Plan, spelled_out: set[int], means: Means) -> Units:
    """The schedule of `planned`; keys in `spelled_out` are printed more than once by a reader's cell."""
    compact, contiguous = demands = _demands(graph, planned)
    units = _fused(graph, planned, spelled_out, means, demands)
    kept = {*planned.outputs, *units.joined, *compact, *contiguous}
    again, early = frozenset[int](), frozenset[int]()
    if means.recompute is not None:
        again = recomputed(graph, units, planned.outputs, kept | spelled_out, means.state, means.recompute)
        units = _fused(graph, planned, spelled_out, means, demands, again) if again else units
        early = computed_early(graph, planned, units, kept | spelled_out)
        units = _fused(graph, planned, spelled_out, means, demands, again, early) if early else units
    found = along(graph, units, kept, means.along) if means.along is not None and not means.state else ()
    if found:
        once = frozenset[int]().union(*(one.values for one in found))
        changed = _fused(graph, planned, spelled_out, means, demands, again, early - once, once)
        units = _with_sums(changed, found) or units
    if means.recompute is None:
        return units
    units = made_again(graph, units, frozenset({*planned.outputs, *units.joined, *means.state}), means.recompute)
    reads, repeated = repeated_in_rows(graph, units, kept | spelled_out, means.recompute)
    return replace(units, reads=reads, repeated=repeated) if repeated else units


def _with_sums(units: Units, found: Sequence[Along]) -> Units | None:
    """The schedule in which the sums are added up along; None if they do not stand beside the result any more."""
    order = units.order
    places = {n.key: i for i, unit in enumerate(order) for n in unit.nodes}
    pairs: dict[int, Unit | None] = {}  # what stands at both places of a pair: one unit, and nothing
    for one in found:
        at = places[one.result.key]
        beside = [i for i in (at - 1, at + 1) if 0 <= i < len(order) and order[i].nodes == one.sums]
        if not beside or len(order[at].nodes) > 1:
            return None
        first = min(at, *beside)
        pairs |= {first: Unit((*one.sums, one.result), (), False, None, one), first + 1: None}
    changed = (pairs.get(i, unit) for i, unit in enumerate(order))
    return replace(units, order=tuple(unit for unit in changed if unit is not None))


def _fused(
    graph: Graph,
    planned: Plan,
    spelled_out: set[int],
    means: Means,
    demands: tuple[set[int], set[int]],
    again: frozenset[int] = frozenset(),
    early: frozenset[int] = frozenset(),
    once: frozenset[int] = frozenset(),
) -> Units:
    """A schedule.

    Nothing of `again` is stored, nor of `once`, which has a name where it is read; all of `early` is, behind what it is
    computed from.
    """
    by_rows = means.by_rows
    compact, contiguous = demands
    joined = _joined(graph, planned, contiguous, means.replaced, means.pointers)
    arrays = any(n.type.shape for n in graph.sorts)
    in_loops = {a for n in graph.ordered() if n.type.shape for a in n.args} if arrays else set[int]()  # read by loops
    aliases: dict[int, int] = {}
    virtual: dict[int, int] = {}  # key -> operations written in place
    reads: dict[int, dict[int, bool]] = {}
    tasks: list[Node] = []
    needs: dict[int, dict[int, bool]] = {}
    for n in planned.nodes:
        op = lookup(n.op)
        if not arrays and op.kind == "elementwise":
            weight, inner = 1, {}
            for a in n.args:  # a scalar has no other place
                if a in virtual:
                    weight += virtual[a]
                    inner.update(reads[a])
                else:
                    inner[a] = True
            if _in_place(n, planned, weight, spelled_out):
                virtual[n.key] = weight
                reads[n.key] = inner
            else:
                tasks.append(n)
                needs[n.key] = inner
            continue
        if op.kind in ("leaf", "part"):
            reads[n.key] = {n.key: True}
            continue
        inner = _merged(graph, n, reads) if arrays else _of_scalars(n, reads)
        if n.key in means.framed:
            aliases[n.key] = means.framed[n.key]
            reads[n.key] = {aliases[n.key]: False}
            continue
        same_memory = op.structure is None or (n.key in contiguous and _is_beginning(graph, n))
        if op.kind == "layout" and same_memory and shape_of(graph, n.args[0]):
            base = aliases.get(n.args[0], n.args[0])
            aliases[n.key] = base
            reads[n.key] = {base: False}
            continue
        weight = (op.kind == "elementwise") + sum([virtual.get(a, 0) for a in n.args])
        in_place = (
            n.key in again
            or n.key in once
            or (
                n.key not in joined
                and n.key not in early
                and _virtual(n, planned, weight, compact, contiguous, spelled_out, in_loops)
            )
        )
        if in_place:
            virtual[n.key] = 0 if n.key in once else weight
            reads[n.key] = inner
        else:
            reads[n.key] = {n.key: True}
            tasks.append(n)
            needs[n.key] = inner
    if any(lookup(n.op).kind == "part" for n in graph.sorts):
        needs.update({n.key: {} for n in planned.nodes if lookup(n.op).kind == "part"})
    order: list[Unit] = []
    waiting: list[Sequence[Node] | Rows] = [_advanced(graph, tasks, needs, early) if early else tasks]
    while waiting:
        some = waiting.pop()
        if isinstance(some, Rows):
            order.append(Unit(some.nodes, some.shape, False, some))
            continue
        found = None
        if by_rows is not None and arrays:
            if not means.threads:
                found = blocks_first(graph, some, virtual, aliases, by_rows)
                found = found or members_first(graph, some, virtual, aliases, by_rows, means.replaced)
            threads = by_rows.thread_elements if means.threads else None
            found = found or rows_first(graph, some, virtual, aliases, by_rows.row_elements, threads)
        if found is None:
            order += _units(graph, some, needs, arrays)
        else:
            waiting += reversed(found)
    order = _results_first(graph, planned, order, needs, means.replaced)
    in_rows = {n.key for unit in order if unit.rows is not None for n in unit.nodes}
    joined = {key: place for key, place in joined.items() if not in_rows & {key, place[0]}}
    return Units(tuple(order), needs, aliases, frozenset(virtual), joined)


def _advanced(
    graph: Graph, tasks: Sequence[Node], needs: Mapping[int, Mapping[int, bool]], early: frozenset[int]
) -> list[Node]:
    """`tasks` with those in `early` right behind the last one that they need."""
    made = {n.key for n in tasks}
    missing = {n.key: {maker(graph, key) for key in needs[n.key]} & made for n in tasks if n.key in early}
    waits: dict[int, list[Node]] = {}
    for n in tasks:
        for key in missing.get(n.key, ()):
            waits.setdefault(key, []).append(n)
    left = {key: len(keys) for key, keys in missing.items()}
    found: list[Node] = []
    for n in tasks:
        behind = [] if n.key in early else [n]
        while behind:
            m = behind.pop()
            found.append(m)
            for later in waits.get(m.key, ()):
                left[later.key] -= 1
                if left[later.key] == 0:
                    behind.append(later)
    return found


def _demands(graph: Graph, planned: Plan) -> tuple[set[int], set[int]]:
    """Values read many times (cheap to read wanted) and values that must be one block of memory."""
    compact: set[int] = set()
    contiguous: set[int] = set()
    undemanding = {n.op for n in graph.sorts if lookup(n.op).kind in ("leaf", "elementwise")}
    for n in reversed(planned.nodes):
        if n.op in undemanding:
            continue
        op = lookup(n.op)
        contiguous.update(_blocks(n))
        if n.key in contiguous and _is_beginning(graph, n):
            contiguous.update(n.args)
        if isinstance(op.structure, Contraction | Region) or (
            isinstance(op.structure, Layout) and (n.key in compact or _grows(graph, n))
        ):
            compact.update(n.args)
    return compact, contiguous


def _is_beginning(graph: Graph, n: Node) -> bool:
    """Whether `n` is the first rows of an array, which are in memory where that is."""
    if n.op != "index":
        return False
    key, (_, *sizes) = n.params["key"], shape_of(graph, n.args[0])
    if not all(isinstance(one, tuple) for one in key):  # a place, or an array of them
        return False
    rows, *others = key
    return bool(rows[:2] == (0, 1)) and others == [(0, 1, size) for size in sizes]


def _joined(
    graph: Graph, planned: Plan, contiguous: set[int], replaced: frozenset[int], pointers: bool
) -> dict[int, tuple[int, int]]:
    """Values that can be computed where an array that is put together has them: that array, and the part's number."""
    found: dict[int, tuple[int, int]] = {}
    if not any(isinstance(lookup(n.op).structure, Assembly) for n in graph.sorts):
        return found
    readers: dict[int, list[Node]] = {}
    for n in planned.nodes:
        for a in n.args:
            readers.setdefault(a, []).append(n)
    for n in planned.nodes:
        structure = lookup(n.op).structure
        if not isinstance(structure, Assembly) or not structure.apart or n.key in replaced:
            continue
        for part, a in enumerate(n.args):
            m = graph.node(a)
            op = lookup(m.op)
            kernel = isinstance(op.structure, Kernel)
            if not m.type.shape or m.type.dtype != n.type.dtype or m.type.dtype.kind == "bool" or not m.args:
                continue
            if a in found or a in planned.outputs or n.args.count(a) > 1 or (kernel and not pointers):
                continue
            if op.kind in ("leaf", "part", "layout", "assembly", "region"):
                continue
            if is_block(graph, n) or (
                not kernel
                and a not in contiguous
                and not any(r.bodies or lookup(r.op).kind == "part" for r in readers[a])
            ):
                found[a] = n.key, part
    return found


def is_block(graph: Graph, n: Node) -> bool:
    """Whether `n` is put together of parts that are each one block of its memory."""
    structure, axis = lookup(n.op).structure, n.params.get("axis")
    return (
        isinstance(structure, Assembly) and structure.apart and axis is not None and math.prod(n.type.shape[:axis]) == 1
    )


def _blocks(n: Node) -> set[int]:
    """The operands of `n` that must be one block of memory: to be read in another shape, or by a support function."""
    op = lookup(n.op)
    if (op.kind == "layout" and op.structure is None) or isinstance(op.structure, Kernel):
        return {*n.args}
    found = set[int]()
    for body in n.bodies.values():
        inside = set[int]().union(*(_blocks(m) for m in body.ordered()))
        first = n.params.get("consts", 0)
        inside -= {*body.inputs[first : first + n.params.get("carries", 0)]}  # which has memory of its own
        found.update(a for key, a in zip(reversed(body.inputs), reversed(n.args), strict=False) if key in inside)
    return found


def _grows(graph: Graph, n: Node) -> bool:
    return not certainly_at_most(math.prod(shape_of(graph, n.key)), math.prod(shape_of(graph, n.args[0])))


def _virtual(
    n: Node,
    planned: Plan,
    weight: int,
    compact: set[int],
    contiguous: set[int],
    spelled_out: set[int],
    in_loops: set[int],
) -> bool:
    op = lookup(n.op)
    if n.key in contiguous and n.type.shape:
        return False
    if op.kind == "layout":
        return bool(n.type.shape) or (
            planned.uses[n.key] == 1 and n.key not in planned.outputs and n.key not in spelled_out
        )
    if op.kind != "elementwise" or n.key in planned.outputs:
        return False
    if n.type.shape:
        if n.type.dtype.kind == "bool":
            return True  # conditions are cheap to repeat, and the workspace holds numbers
        return planned.uses[n.key] == 1 and n.key not in compact and weight <= _HEAVIEST
    return n.key not in in_loops and _in_place(n, planned, weight, spelled_out)


def _in_place(n: Node, planned: Plan, weight: int, spelled_out: set[int]) -> bool:
    """Whether a scalar is written where it is read."""
    key = n.key
    return (
        planned.uses[key] == 1
        and n.origin.name is None
        and weight <= _HEAVIEST
        and key not in spelled_out
        and key not in planned.outputs
    )


def _of_scalars(n: Node, reads: Mapping[int, dict[int, bool]]) -> dict[int, bool]:
    """What computing `n` reads where all are scalars: what stands nowhere in `reads` is stored."""
    return {key: same for a in n.args for key, same in reads.get(a, {a: True}).items()}


def _merged(graph: Graph, n: Node, reads: Mapping[int, dict[int, bool]]) -> dict[int, bool]:
    """What computing `n` reads: stored key -> whether only at the place that is being computed."""
    merged: dict[int, bool] = {}
    op = lookup(n.op)
    in_place = op.kind in ("elementwise", "reduction")
    for a in n.args:
        for key, same in reads[a].items():
            here = (same and in_place) or not graph.node(key).type.shape
            merged[key] = here and merged.get(key, True)
    return merged


def _units(graph: Graph, tasks: Sequence[Node], needs: Mapping[int, Mapping[int, bool]], arrays: bool) -> list[Unit]:
    if not arrays:  # scalars share no loops
        return [Unit((n,), (), False) for n in tasks]
    done: list[Unit] = []
    open_nodes: list[Node] = []
    inside: dict[int, Node] = {}  # the same by key
    open_shape: Shape = ()

    def close() -> None:
        if open_nodes:
            done.append(Unit(tuple(open_nodes), open_shape, True))
            open_nodes.clear()
            inside.clear()

    for n in tasks:
        shape = _loop_shape(graph, n)
        if shape is None and not open_nodes:
            done.append(Unit((n,), (), False))
            continue
        used = [key for key in needs[n.key] if key in inside]
        at_place = all(needs[n.key][key] and inside[key].type.shape == shape for key in used)
        if shape is not None and open_nodes and shape == open_shape and at_place:
            open_nodes.append(n)
            inside[n.key] = n
            continue
        if used or (shape is not None and open_nodes):
            close()
        if shape is not None:
            open_nodes.append(n)
            inside[n.key] = n
            open_shape = shape
        else:
            done.append(Unit((n,), (), False))
    close()
    return done


def _results_first(
    graph: Graph, planned: Plan, order: list[Unit], needs: Mapping[int, Mapping[int, bool]], replaced: frozenset[int]
) -> list[Unit]:
    """`order` with calls whose results nothing else reads right behind what they read, which need not wait for them."""
    if not any(isinstance(lookup(n.op).structure, Kernel) for n in graph.sorts):
        return order
    place: dict[int, int] = {}
    behind: dict[int, list[Unit]] = {}
    for number, unit in enumerate(order):
        n = unit.nodes[0]
        structure = lookup(n.op).structure
        result = unit.rows is None and n.key in planned.outputs and n.key not in replaced and planned.uses[n.key] == 1
        if result and isinstance(structure, Kernel) and structure.replaces is None:
            at = max((place.get(maker(graph, key), -1) for key in needs[n.key]), default=-1)
            behind.setdefault(at if at >= 0 else number - 1, []).append(unit)
        else:
            behind.setdefault(number, []).insert(0, unit)
            place.update(dict.fromkeys((m.key for m in unit.nodes), number))
    return [unit for number in sorted(behind) for unit in behind[number]]


def _loop_shape(graph: Graph, n: Node) -> Shape | None:
    """The shape of the loop that `n` can share with others, or None."""
    op = lookup(n.op)
    if op.kind in ("elementwise", "layout") and n.type.shape:
        return n.type.shape
    if isinstance(op.structure, Reduction) and len(n.params["axis"]) == len(graph.node(n.args[0]).type.shape) > 0:
        return shape_of(graph, n.args[0]) if not n.params["keepdims"] else None
    return None
