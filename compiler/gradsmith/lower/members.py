"""Members: the matrices of a stack are computed one after the other, each while the first cache has it.

    for all k: A[k] = x - m[k]          for each k: A = x - m[k]; B[k] = L[k] A; q[k] = sums of B[k]²
    for all k: B[k] = L[k] A[k]    ->
    for all k: q[k] = sums of B[k]²

In: the stored values of a function in order, and how they read each other. Out: as of `rows`, with loops over the
members of stacks around the kernels that multiply them. In such a loop is what needs of it only the same member:
element-wise values, products and reductions of a member. What only the same member reads has memory for one, and what
is cheap is computed again in another such loop instead of being kept for all. Guarantee: as of `rows`; each number is
computed as it was, in the same order of additions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..dims import certainly_at_most
from ..graph import Graph, Node
from ..registry import Reduction, lookup
from ..tuning import Tuning
from ..types import Shape
from .recompute import operations_of
from .rows import Inner, Role, Rows, collected, inner_loops, is_same_row, maker, reads_of, role_in_members, stacks_of

if TYPE_CHECKING:
    from .fusion import Unit, Units

__all__ = ["made_again", "members_first"]


def members_first(
    graph: Graph,
    tasks: Sequence[Node],
    virtual: Mapping[int, int],
    aliases: Mapping[int, int],
    tuning: Tuning,
    state: frozenset[int],
) -> tuple[Sequence[Node], Rows, Sequence[Node]] | None:
    """The first loop over the members of stacks, with what comes before and behind it; next `state` is behind."""

    def role_of(graph: Graph, m: Node, rows: Shape) -> str | None:
        return role_in_members(graph, m, rows) if m.key not in state and _is_long(graph, m, tuning) else None

    for at, n in enumerate(tasks):
        rows = n.type.shape[:1]
        if not _is_large(graph, n, tuning) or role_of(graph, n, rows) is None:
            continue
        start = _start(graph, tasks[: at + 1], rows, role_of, virtual, aliases)
        before, shared, behind = collected(graph, tasks[start:], rows, role_of, virtual, aliases)
        products = {m.key for m in shared if stacks_of(graph, m)}
        pairs = ((m.key, key) for m in shared for key, _ in reads_of(graph, m, virtual, aliases))
        made = {m.key for m in shared}
        if any({one, other} & products and other in made for one, other in pairs):
            # GCC 12 adds up in memory where there are choices, and a member is in the cache: so these sums are apart
            inner = inner_loops(graph, shared, rows, role_of, virtual, aliases, apart=("row",))
            return [*tasks[:start], *before], Rows(rows, inner, members=True), behind
    return None


def _is_large(graph: Graph, n: Node, tuning: Tuning) -> bool:
    """Whether `n` is a stack of products, or reads one of factors, whose members alone the first cache holds."""
    keys, (count, *_), each = [n.args[k] for k in stacks_of(graph, n)], n.type.shape or (1,), n.type.dtype.bits // 8
    sizes = [math.prod(graph.node(key).type.shape[1:]) * each for key in (n.key, *keys)] if keys else []
    if not isinstance(count, int) or count == 1 or not all(isinstance(size, int) for size in sizes):
        return False
    if not any(certainly_at_most(tuning.stack_row, graph.node(key).type.shape[-1]) for key in (n.key, *keys)):
        return False
    return max(sizes, default=0) * count >= tuning.stack_least and sum(sizes) <= tuning.stack_most


def _is_long(graph: Graph, n: Node, tuning: Tuning) -> bool:
    """Whether a loop over one member has elements enough."""
    shape = (graph.node(n.args[0]) if isinstance(lookup(n.op).structure, Reduction) else n).type.shape
    return certainly_at_most(tuning.row_elements, math.prod(shape[1:]))


def _start(
    graph: Graph,
    tasks: Sequence[Node],
    rows: Shape,
    role_of: Role,
    virtual: Mapping[int, int],
    aliases: Mapping[int, int],
) -> int:
    """Behind the last one of `tasks` that must be complete before the loop in which the very last one is."""
    needed, complete = {tasks[-1].key}, set[int]()
    for k in reversed(range(len(tasks))):
        n = tasks[k]
        if n.key in complete or (n.key in needed and role_of(graph, n, rows) is None):
            return k + 1
        for key, at in reads_of(graph, n, virtual, aliases) if n.key in needed else ():
            (needed if is_same_row(graph, key, at, rows) else complete).add(maker(graph, key))
    return 0


# --- what is computed again -------------------------------------------------------------------------------------------


def made_again(graph: Graph, units: Units, kept: frozenset[int], budget: int) -> Units:
    """`units` in which cheap values of members are computed in each loop that reads them; never those in `kept`.

    They are computed from what is in memory for other reasons; so there is one member of them, not all.
    """
    loops = [k for k, unit in enumerate(units.order) if unit.rows is not None and unit.rows.members]
    if len(loops) < 2:
        return units
    made = {n.key: k for k in loops for n in units.order[k].nodes}
    readers: dict[int, dict[int, None]] = {}
    for k, unit in enumerate(units.order):
        for key in (key for n in unit.nodes for key in units.reads[n.key]):
            readers.setdefault(key, {})[k] = None
    order, again = [*units.order], set[int]()
    for key, first in made.items():
        n, places = graph.node(key), [k for k in readers.get(key, ()) if k != first]
        same = all(k in loops and units.order[k].shape == units.order[first].shape for k in places)
        if not places or not same or key in kept or not _is_cheap(graph, n, units, made, kept, budget):
            continue
        again.add(key)
        for k in places:
            order[k] = _with(order[k], n, units)
    return replace(units, order=tuple(order), again=frozenset(again)) if again else units


def _is_cheap(graph: Graph, n: Node, units: Units, made: Mapping[int, int], kept: frozenset[int], budget: int) -> bool:
    count = operations_of(graph, n, units)
    return count is not None and count <= budget and not any(key in made or key in kept for key in units.reads[n.key])


def _with(unit: Unit, n: Node, units: Units) -> Unit:
    """A loop with `n` in front of the first inner loop that reads it."""
    assert unit.rows is not None
    inner = unit.rows.inner
    at = next(k for k, one in enumerate(inner) if any(n.key in units.reads[m.key] for m in one.nodes))
    rows = replace(unit.rows, inner=(*inner[:at], Inner((n,), n.type.shape[1:]), *inner[at:]))
    return unit._replace(nodes=rows.nodes, rows=rows)
