"""Blocks: a chain of products of matrices is computed for some rows at a time, so that what lies between stays small.

    A = f(x); B = A @ L; C = g(B); D = A.T @ C      for all rows of x, in memory as large as A, B and C
    ->  D = 0; for each block of rows: A = f(x); B = A @ L; C = g(B); D += A.T @ C

In: a graph whose products of matrices will be kernels. Out: a graph in which such a chain is a scan over blocks of one
axis. The axes that run together are found from how values are computed (element-wise, moved, reduced, multiplied). A
value that has the axis once is computed for a block; what adds up over it (a sum, or a product of matrices along it) is
carried. Guarantee: the same numbers, sums over the axis block after block. It is done where the arrays between products
do not fit into a cache and what is carried is small beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..as_graph import to_graph
from ..graph import Graph, Node
from ..ops import broadcast_to, concatenate, getitem, reshape, scan
from ..ops._registers import BYTES
from ..registry import Reduction, lookup
from ..target import Target
from ..trace import Expr, apply, constant, recording
from .axes import MOVED, Axes, Axis

__all__ = ["in_blocks"]


def in_blocks(graph: Graph, target: Target) -> Graph:
    """`graph` with its largest chain in blocks, if there is one that gains by it."""
    if sum(n.op == "matmul" for n in graph.ordered()) < 2:
        return graph
    axes = Axes(graph)
    chains = [chain for root in axes.roots() if (chain := _chain(graph, axes, root, target)) is not None]
    return _Blocked(graph, max(chains, key=lambda c: c.held)).graph() if chains else graph


# --- what is computed for a block -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chain:
    """One axis of `size`, in blocks of `rows`: which values are sliced, computed in a block, added up and stacked."""

    size: int
    rows: int
    place: Mapping[int, int]  # of the axis in each value that has it
    sliced: Sequence[int]
    inside: Sequence[int]
    sums: Sequence[int]
    stacked: Sequence[int]
    late: frozenset[int]
    held: int  # bytes of the arrays that become small


def _chain(graph: Graph, axes: Axes, root: Axis, target: Target) -> _Chain | None:
    """The chain along one class of axes, if it is worth blocks."""
    size = graph.node(root[0]).type.shape[root[1]]
    tuning = target.tuning
    if not isinstance(size, int) or size < 2 * tuning.blocked_rows:
        return None
    place: dict[int, int] = {}
    sliced: dict[int, None] = {}
    inside: dict[int, None] = {}
    sums: dict[int, None] = {}
    late: set[int] = set()
    for n in graph.ordered():
        found = axes.places(n, root)
        args = [a for a in n.args if a in inside]
        whole = [a for a in n.args if a in place and a not in inside]
        ready = not any(a in late or a in sums for a in n.args)
        if len(found) == 1:
            place[n.key] = found[0]
        by_blocks = len(found) == 1 and ready and _by_blocks(graph, n, place, axes, root)
        if by_blocks and all(place[a] == 0 for a in whole):
            inside[n.key] = None
            sliced.update(dict.fromkeys(whole))
        elif not found and ready and args and _adds(graph, n, place, axes, root) and all(place[a] == 0 for a in whole):
            sums[n.key] = None
            sliced.update(dict.fromkeys(whole))
        elif args or not ready:
            late.add(n.key)
    needed = _needed(graph, inside, sums, late)
    inside = {key: None for key in inside if key in needed}
    stacked = [k for k in inside if k in graph.outputs or any(k in graph.node(m).args for m in late)]
    if any(place[key] != 0 for key in stacked):
        return None
    held, carried, numbers = _memory(graph, inside, sums)
    inner = [graph.node(k).type for k in inside if graph.node(k).op == "matmul"]
    innermost = {len(graph.node(k).type.shape) - place[k] for k in inside if graph.node(k).op == "matmul"} == {1}
    bytes_each = max((type.dtype.bits // 8 for type in inner), default=8)
    least = tuning.blocked_lanes // bytes_each if innermost else tuning.blocked_rows
    rows = _rows(size, 8 * numbers, least, tuning.blocked_bytes, BYTES // bytes_each if innermost else 1)
    if held < tuning.blocked_bytes or 2 * carried * (size // rows) > held:
        return None
    products = sum(graph.node(k).op == "matmul" for k in (*inside, *sums))
    if products < 2:
        return None
    used = {a for k in (*inside, *sums) for a in graph.node(k).args}
    cut = [k for k in sliced if k in used]
    if not cut:  # all rows are alike, of one that is broadcast
        return None
    return _Chain(size, rows, place, cut, [*inside], [*sums], stacked, frozenset(late), held)


def _by_blocks(graph: Graph, n: Node, place: Mapping[int, int], axes: Axes, root: Axis) -> bool:
    """Whether a block of the result follows from blocks of the operands, by the same op.

    An operand has the axis once, or not at all; only what is broadcast has an axis that no operand has.
    """
    op = lookup(n.op)
    if not (op.kind == "elementwise" or n.op == "matmul" or n.op in MOVED or isinstance(op.structure, Reduction)):
        return False
    known = [a in place for a in n.args if axes.places(graph.node(a), root)]
    return all(known) if known else n.op == "broadcast_to"


def _adds(graph: Graph, n: Node, place: Mapping[int, int], axes: Axes, root: Axis) -> bool:
    """Whether `n` is a sum over the axis, of numbers or of products."""
    structure = lookup(n.op).structure
    if isinstance(structure, Reduction):
        return structure.combine == "add" and n.type.dtype.kind == "float"
    a, b = (graph.node(k).type.shape for k in n.args) if n.op == "matmul" else ((), ())
    if min(len(a), len(b)) < 2 or n.type.dtype.kind != "float":
        return False
    left, right = n.args
    return place.get(left) == len(a) - 1 and place.get(right) == len(b) - 2


def _needed(graph: Graph, inside: Mapping[int, None], sums: Mapping[int, None], late: set[int]) -> set[int]:
    """Which values of blocks something needs."""
    needed = {*graph.outputs, *(a for k in (*sums, *late) for a in graph.node(k).args)}
    for key in reversed(list(inside)):
        if key in needed:
            needed.update(graph.node(key).args)
    return needed


def _memory(graph: Graph, inside: Mapping[int, None], sums: Mapping[int, None]) -> tuple[int, int, int]:
    """Bytes of what is computed for products or by them, and of what is carried; and the numbers of the former."""
    held: set[int] = set()
    for key in (*inside, *sums):
        n = graph.node(key)
        if n.op == "matmul":
            operands = [a if graph.node(a).op != "transpose" else graph.node(a).args[0] for a in n.args]
            held.update(k for k in (key, *operands) if k in inside)
    numbers = sum(8 * _bytes(graph, k) // graph.node(k).type.dtype.bits for k in held)
    return sum(_bytes(graph, k) for k in held), sum(_bytes(graph, k) for k in sums), numbers


def _bytes(graph: Graph, key: int) -> int:
    type = graph.node(key).type
    return int(math.prod(type.shape)) * type.dtype.bits // 8 if all(isinstance(d, int) for d in type.shape) else 0


def _rows(size: int, held: int, least: int, most: int, step: int) -> int:
    """Rows of a block: of about `most` bytes, but not below `least` rows, and if possible all blocks alike.

    They are a multiple of `step`, if there are so many: of rows that lie innermost in memory, whole vectors.
    """
    rows = min(max(least, most * size // max(held, 1), 1), size // 2)
    step = step if step <= size // 2 else 1
    even = [k for k in range(rows // 2, rows + rows // 2) if k and size % k == k % step == 0 and k <= size // 2]
    return min(even, key=lambda k: abs(k - rows)) if even else max(rows // step, 1) * step


# --- the new graph ----------------------------------------------------------------------------------------------------


class _Blocked:
    """Writes the graph anew, with a scan in front of the first value that needs what is added up."""

    def __init__(self, old: Graph, chain: _Chain) -> None:
        self.old, self.chain = old, chain
        self.exprs: dict[int, Expr] = {}

    def graph(self) -> Graph:
        old, chain = self.old, self.chain
        skipped = {*chain.inside, *chain.sums, *chain.late}
        in_chain = {*chain.inside, *chain.sums}
        with recording() as state:
            for n in old.ordered():
                if n.key not in skipped and not self._is_dropped(n, in_chain):
                    self._copy(n, state)
            self._scan(state)
            for n in old.ordered():
                if n.key in chain.late:
                    self._copy(n, state)
        exprs = self.exprs
        pairs = [(exprs[p], exprs[c]) for p, c in old.cotangents.items() if p in exprs and c in exprs]
        return to_graph([exprs[k] for k in old.inputs], [exprs[k] for k in old.outputs], pairs, since=state.since)

    def _is_dropped(self, n: Node, in_chain: set[int]) -> bool:
        """Whether this is a value of blocks that nothing needs."""
        return any(a in in_chain or a not in self.exprs for a in n.args)

    def _copy(self, n: Node, state: Any) -> None:
        if n.op == "input":
            self.exprs[n.key] = Expr(lookup(n.op), (), n.params, n.type, n.origin)
            return
        state.origin = n.origin
        if n.op == "constant":
            self.exprs[n.key] = constant(n.params["value"], n.type.dtype)
        else:
            self.exprs[n.key] = apply(lookup(n.op), [self.exprs[a] for a in n.args], n.params)

    def _scan(self, state: Any) -> None:
        """All that blocks compute, and what is left at the end."""
        chain, count = self.chain, self.chain.size // self.chain.rows
        arrays = [self.exprs[k] for k in chain.sliced]
        whole = count * chain.rows
        blocks = [
            reshape(x if whole == chain.size else getitem(x, slice(0, whole)), (count, chain.rows, *x.shape[1:]))
            for x in arrays
        ]
        zeros = [_zeros(self.old.node(k)) for k in chain.sums]

        def step(totals: list[Expr], parts: list[Expr]) -> tuple[list[Expr], list[Expr]]:
            sums, stacked = self._block(parts, chain.rows, state)
            return [t + s for t, s in zip(totals, sums, strict=True)], stacked

        totals, stacks = scan(step, zeros, blocks)
        columns = [reshape(y, (whole, *y.shape[2:])) for y in stacks]
        rest = chain.size - whole
        if rest:
            more, ends = self._block([getitem(x, slice(whole, chain.size)) for x in arrays], rest, state)
            totals = [t + s for t, s in zip(totals, more, strict=True)]
            columns = [concatenate([y, end]) for y, end in zip(columns, ends, strict=True)]
        self.exprs.update(zip(chain.sums, totals, strict=True))
        self.exprs.update(zip(chain.stacked, columns, strict=True))

    def _block(self, parts: Sequence[Expr], rows: int, state: Any) -> tuple[list[Expr], list[Expr]]:
        """The share of a block of `rows` in the sums, and its part of what is stacked."""
        chain, old = self.chain, self.old
        known = {**self.exprs, **dict(zip(chain.sliced, parts, strict=True))}
        for key in sorted((*chain.inside, *chain.sums)):
            n, params = old.node(key), dict(old.node(key).params)
            if "shape" in params and key in chain.place:
                k = chain.place[key]
                params["shape"] = (*params["shape"][:k], rows, *params["shape"][k + 1 :])
            state.origin = n.origin
            known[key] = apply(lookup(n.op), [known[a] for a in n.args], params)
        return [known[k] for k in chain.sums], [known[k] for k in chain.stacked]


def _zeros(n: Node) -> Expr:
    zero = constant(0.0, n.type.dtype)
    return broadcast_to(zero, n.type.shape) if n.type.shape else zero
