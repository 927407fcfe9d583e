"""Layouts: values are computed in the order of axes in which products of matrices read them.

    matmul(transpose(f(x, y)), B)  ->  matmul(f(transpose(x), transpose(y)), B)
    transpose(A @ B)               ->  B.T @ A.T, where the rows of A are innermost in the result

In: a graph whose products of matrices will be kernels, and which transposes what einsum and derivatives ask for. Out:
a graph in which element-wise values that only such products (and reductions) read have the axes of the product, the
batch in front. Of the two axes of a matrix the one that is innermost in memory stays so, as kernels read a matrix and
its transpose alike. Guarantee: the same numbers, in another place; nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops import broadcast_to, matmul, reshape, transpose
from ..registry import Reduction, lookup
from ..trace import Expr, apply
from .rewrite import rewritten

__all__ = ["laid_out"]

_Axes = tuple[int, ...]


def laid_out(graph: Graph) -> Graph:
    """`graph` with fewer transpositions in memory."""
    if not any(n.op == "matmul" for n in graph.ordered()):
        return graph
    found = _Layouts(graph)
    return rewritten(graph, replace=found.replaced) if found else graph


class _Layouts:
    """What is turned how: `turned` tells the order of axes that element-wise values get."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.readers: dict[int, list[Node]] = {n.key: [] for n in graph.ordered()}
        for n in graph.ordered():
            for a in n.args:
                self.readers[a].append(n)
        self.fixed = set(graph.outputs)
        self.operands = {n.key for n in graph.ordered() if self._is_operand(n)}
        self.flipped = {n.key for n in graph.ordered() if self._is_flipped(n)}
        self.turned: dict[int, _Axes] = {}
        for n in reversed(list(graph.ordered())):
            axes = self._wanted(n)
            if axes is not None:
                self.turned[n.key] = axes
        self.made: dict[tuple[int, _Axes], Expr] = {}

    def __bool__(self) -> bool:
        return bool(self.turned or self.flipped)

    def _is_operand(self, n: Node) -> bool:
        """Whether this is a transposition that only products of matrices read."""
        readers = self.readers[n.key]
        only = bool(readers) and n.key not in self.fixed and all(m.op == "matmul" for m in readers)
        return n.op == "transpose" and only and _stored(n.params["axes"]) is not None

    def _is_flipped(self, n: Node) -> bool:
        """Whether all who read a product want its rows innermost."""
        readers, rank = self.readers[n.key], len(n.type.shape)
        if n.op != "matmul" or not readers or n.key in self.fixed:
            return False
        if any(len(self.graph.node(a).type.shape) != rank for a in n.args) or rank < 2:
            return False
        return all(m.op == "transpose" and m.params["axes"][-1] == rank - 2 for m in readers)

    def _wanted(self, n: Node) -> _Axes | None:
        """The order of axes in which all readers of an element-wise value want it, if it is another."""
        if n.key in self.fixed or not n.type.shape or not (_elementwise(n) or n.op == "broadcast_to"):
            return None
        wishes: set[_Axes] = set()
        for m in self.readers[n.key]:
            if m.key in self.operands:
                wishes.add(_stored(m.params["axes"]) or ())
            elif m.key in self.turned and m.type.shape == n.type.shape:
                wishes.add(self.turned[m.key])
            elif not isinstance(lookup(m.op).structure, Reduction):
                return None
        wish = wishes.pop() if len(wishes) == 1 else None
        return None if wish == tuple(range(len(n.type.shape))) else wish

    # --- the new graph ------------------------------------------------------------------------------------------

    def replaced(self, n: Node, exprs: Sequence[Expr]) -> Expr | None:
        """What stands for `n`, given the expressions of all nodes before it."""
        if n.op == "transpose" and n.args[0] in self.flipped:
            a, b = (exprs[k] for k in self.graph.node(n.args[0]).args)
            return _transposed(matmul(_flipped(b), _flipped(a)), _swapped(n.params["axes"], values=True))
        if n.key in self.operands:
            stored = _stored(n.params["axes"]) or ()
            x = self._moved(n.args[0], stored, exprs)
            return x if stored == tuple(n.params["axes"]) else _flipped(x)
        if isinstance(lookup(n.op).structure, Reduction) and n.args[0] in self.turned:
            return self._reduced(n, exprs)
        return None

    def _moved(self, key: int, axes: _Axes, exprs: Sequence[Expr]) -> Expr:
        """Value `key` with its axes in the order `axes`."""
        if self.turned.get(key) != axes:
            return _transposed(exprs[key], axes)
        if (key, axes) not in self.made:
            n = self.graph.node(key)
            if n.op == "broadcast_to":
                x = exprs[n.args[0]]
                shape = tuple(n.type.shape[i] for i in axes)
                aligned = (1,) * (len(axes) - x.ndim) + x.shape
                x = x if x.shape in ((), aligned) else reshape(x, aligned)
                moved = broadcast_to(_transposed(x, axes) if x.shape else x, shape)
            else:
                whole = n.type.shape
                args = [
                    self._moved(a, axes, exprs) if self.graph.node(a).type.shape == whole else exprs[a] for a in n.args
                ]
                moved = exprs[key].op_call(*args, **n.params)
            self.made[key, axes] = moved
        return self.made[key, axes]

    def _reduced(self, n: Node, exprs: Sequence[Expr]) -> Expr:
        """A reduction of what has its axes in another order."""
        order = self.turned[n.args[0]]
        axes = tuple(k for k, axis in enumerate(order) if axis in n.params["axis"])
        y = apply(lookup(n.op), [self._moved(n.args[0], order, exprs)], {**n.params, "axis": axes})
        left = [axis for axis in order if n.params["keepdims"] or axis not in n.params["axis"]]
        return _transposed(y, tuple(left.index(axis) for axis in sorted(left)))


def _elementwise(n: Node) -> bool:
    return lookup(n.op).kind == "elementwise"


def _stored(axes: Sequence[int]) -> _Axes | None:
    """In which order of axes an operand lies in memory: its innermost axis is kept; None if that is not of a matrix."""
    last = len(axes) - 1
    if last < 1 or last not in axes[-2:]:
        return None
    return tuple(axes) if axes[-1] == last else _swapped(axes)


def _swapped(axes: Sequence[int], values: bool = False) -> _Axes:
    """The last two places of `axes` exchanged, or the last two `values` in it."""
    if not values:
        return (*axes[:-2], axes[-1], axes[-2])
    rank = len(axes)
    other = {rank - 1: rank - 2, rank - 2: rank - 1}
    return tuple(other.get(axis, axis) for axis in axes)


def _flipped(x: Expr) -> Expr:
    """The transpose of each matrix."""
    return _transposed(x, _swapped(tuple(range(x.ndim))))


def _transposed(x: Expr, axes: _Axes) -> Expr:
    while x.op.name == "transpose":
        axes = tuple(x.params["axes"][i] for i in axes)
        x = x.args[0]
    return x if axes == tuple(range(x.ndim)) else transpose(x, axes)
