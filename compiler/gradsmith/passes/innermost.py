"""Innermost: of stacks of tall, narrow matrices the long axis lies innermost in memory, so that vectors are full.

    A[k] @ B[k] of 1000 x 10 and 10 x 10    ->    B[k].T @ A[k].T, and so is all that is computed from it

In: a graph whose products of matrices will be kernels. Out: a graph in which a class of axes (see `axes`) is the last
one of each value that has it, with a transposed copy of what the chain begins with. Guarantee: the same numbers, in
another place. It is done where the other axes of the products fill vectors badly, where all that has the axis is
computed in ways that can be turned, and where what is copied is small beside what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..graph import Graph, Node
from ..ops import broadcast_to, matmul, reshape, transpose
from ..ops._registers import BYTES
from ..registry import Reduction, lookup
from ..target import Target
from ..trace import Expr, apply
from ..types import Shape
from .axes import Axes, Axis
from .rewrite import rewritten

__all__ = ["turned"]

_WASTE = 1.2  # lanes for each number of a row from which on vectors are filled badly (see `Tuning.narrow_columns`)
_LEAST = 64  # elements of the long axis
_COPIED = 4  # times what is copied that the products have at least

_RESHAPES = ("reshape", "expand_dims", "squeeze")


def turned(graph: Graph, target: Target) -> Graph:
    """`graph` with the long axis of narrow matrices innermost."""
    if target.threads or not any(n.op == "matmul" and len(n.type.shape) > 2 for n in graph.ordered()):
        return graph  # threads share rows of products, which would be few
    axes = Axes(graph)
    for root in axes.roots():
        found = _Turned(graph, axes, root, target.tuning.narrow_columns)
        if found.pays():
            return rewritten(graph, replace=found.replaced)
    return graph


class _Turned:
    """What one class of axes asks for: `place` is where each value has the axis."""

    def __init__(self, graph: Graph, axes: Axes, root: Axis, widest: int) -> None:
        self.graph = graph
        self.widest = widest  # columns of narrow matrices
        self.size = graph.node(root[0]).type.shape[root[1]]
        found = {n.key: axes.places(n, root) for n in graph.ordered()}
        self.once = all(len(places) < 2 for places in found.values())
        self.place = {key: places[0] for key, places in found.items() if places}
        self.made: dict[int, Expr] = {}

    def pays(self) -> bool:
        """Whether full vectors are worth the copies, and everything can be turned."""
        if not self.once or not isinstance(self.size, int) or self.size < _LEAST:
            return False
        tall = [n for n in self._nodes() if n.op == "matmul" and self.place[n.key] == len(n.type.shape) - 2]
        if not any(len(n.type.shape) > 2 for n in tall) or not all(self._is_narrow(n) for n in tall):
            return False
        if not all(self._reads(n) for n in self.graph.ordered() if any(a in self.place for a in n.args)):
            return False
        if any(self._is_matrix(k) for k in self.graph.outputs):
            return False
        begun = [n.key for n in self._nodes() if self._rule(n) is None and self._is_matrix(n.key)]
        return _COPIED * sum(map(self._count, begun)) <= sum(self._count(n.key) for n in tall)

    def _nodes(self) -> list[Node]:
        return [n for n in self.graph.ordered() if n.key in self.place]

    def _shape(self, key: int) -> Shape:
        shape: Shape = self.graph.node(key).type.shape
        return shape

    def _count(self, key: int) -> float:
        sizes = self._shape(key)
        return math.prod(d for d in sizes if isinstance(d, int)) if all(isinstance(d, int) for d in sizes) else math.inf

    def _is_matrix(self, key: int) -> bool:
        """Whether a value is another one in memory when it is turned."""
        if key not in self.place:
            return False
        behind = self._shape(key)[self.place[key] + 1 :]
        return any(d != 1 for d in behind)

    def _is_narrow(self, n: Node) -> bool:
        inner, columns = self._shape(n.args[0])[-1], n.type.shape[-1]
        lanes = BYTES // (n.type.dtype.bits // 8)
        if not isinstance(inner, int) or not isinstance(columns, int) or max(inner, columns) > self.widest:
            return False
        return -(-columns // lanes) * lanes >= _WASTE * columns

    def _reads(self, n: Node) -> bool:
        """Whether `n` can read its operands where they are turned."""
        if n.op == "matmul":
            return self._product(n) is not None
        return self._rule(n) is not None or not any(self._is_matrix(a) for a in n.args)

    def _rule(self, n: Node) -> Callable[[Node, Sequence[Expr]], Expr] | None:
        """How `n` is computed from what is turned; None of what the chain begins with, or cannot pass through."""
        op = lookup(n.op)
        if n.bodies:
            return None
        if op.kind == "elementwise":
            return self._element
        if isinstance(op.structure, Reduction):
            return self._reduced
        if n.op == "matmul":
            return self._product(n)
        return self._moves(n)

    def _moves(self, n: Node) -> Callable[[Node, Sequence[Expr]], Expr] | None:
        if n.op == "transpose" and n.key in self.place:
            return self._transposed
        if n.op == "broadcast_to" and n.key in self.place:
            return self._broadcast
        if n.op in _RESHAPES and n.key in self.place and n.args[0] in self.place:
            own, inner = (tuple(d for d in self._shape(k) if d != 1) for k in (n.key, n.args[0]))
            return self._reshaped if own == inner else None
        return None

    def _product(self, n: Node) -> Callable[[Node, Sequence[Expr]], Expr] | None:
        """The axis counts rows or columns of a product, or is what both factors add up over."""
        (a, b), rank = n.args, len(n.type.shape)
        ranks = len(self._shape(a)), len(self._shape(b))
        if min(ranks) < 2:
            return None
        left, right = (
            self.place[k] - r if k in self.place else None for k, r in ((a, ranks[0]), (b, ranks[1]))
        )  # from the end
        own = self.place[n.key] - rank if n.key in self.place else None
        return {(-2, None, -2): self._rows, (None, -1, -1): self._columns, (-1, -2, None): self._sums}.get(
            (left, right, own)
        )

    # --- the new graph ------------------------------------------------------------------------------------------

    def replaced(self, n: Node, exprs: Sequence[Expr]) -> Expr | None:
        """What stands for `n`, given the expressions of all nodes before it."""
        if n.key not in self.place and not any(a in self.place for a in n.args):
            return None
        rule = self._rule(n)
        if rule is None:
            return None
        y = rule(n, exprs)
        if n.key not in self.place:
            return y
        self.made[n.key] = y
        order = self._order(n.key)
        return _permuted(y, tuple(order.index(k) for k in range(len(order))))

    def _order(self, key: int) -> tuple[int, ...]:
        """The axes of a value in the order in which it has them now."""
        p = self.place[key]
        return (*(k for k in range(len(self._shape(key))) if k != p), p)

    def _new_shape(self, n: Node) -> Shape:
        return tuple(n.type.shape[k] for k in self._order(n.key))

    def _now(self, key: int, exprs: Sequence[Expr]) -> Expr:
        """An operand, turned if it has the axis."""
        if key not in self.place:
            return exprs[key]
        if key not in self.made:
            self.made[key] = _permuted(exprs[key], self._order(key))
        return self.made[key]

    def _element(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        return apply(lookup(n.op), [self._now(a, exprs) for a in n.args], n.params)

    def _transposed(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        axes, before = n.params["axes"], self._order(n.args[0])
        return _permuted(self._now(n.args[0], exprs), tuple(before.index(axes[k]) for k in self._order(n.key)))

    def _reshaped(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        return reshape(self._now(n.args[0], exprs), self._new_shape(n))

    def _broadcast(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        """Of what has the axis, or of what is the same for all of it: an axis of size 1 goes where it is wanted."""
        (a,), order = n.args, self._order(n.key)
        x, shape = self._now(a, exprs), self._shape(a)
        if shape:
            aligned = (1,) * (len(order) - len(shape)) + shape
            turned = tuple(aligned[k] for k in order)
            x = x if x.shape == turned else reshape(x, turned)
        return broadcast_to(x, self._new_shape(n))

    def _reduced(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        (a,) = n.args
        before, gone, keepdims = self._order(a), n.params["axis"], n.params["keepdims"]
        axes = tuple(k for k, axis in enumerate(before) if axis in gone)
        y = apply(lookup(n.op), [self._now(a, exprs)], {**n.params, "axis": axes})
        if n.key in self.place or not keepdims:
            return y
        return reshape(y, n.type.shape)  # the axis is of size 1 now, and goes back to its place

    def _rows(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        a, b = n.args
        return matmul(_flipped(exprs[b]), self._now(a, exprs))

    def _columns(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        a, b = n.args
        return matmul(exprs[a], self._now(b, exprs))

    def _sums(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        a, b = n.args
        return matmul(self._now(a, exprs), _flipped(self._now(b, exprs)))


def _flipped(x: Expr) -> Expr:
    """The transpose of each matrix."""
    return _permuted(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _permuted(x: Expr, axes: tuple[int, ...]) -> Expr:
    while x.op.name == "transpose":
        axes = tuple(x.params["axes"][i] for i in axes)
        x = x.args[0]
    return x if axes == tuple(range(x.ndim)) else transpose(x, axes)
