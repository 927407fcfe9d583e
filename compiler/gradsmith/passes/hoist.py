"""Hoist: take out of a sum, or of a transposition, what need not be done inside.

    sum(c*x)         ->  c*sum(x)            for a scalar c
    sum(A @ B, -1)   ->  A @ sum(B, -1)      and sum(A @ B, -2) -> sum(A, -2) @ B
    (A.T @ B).T      ->  B.T @ A

In: a graph. Out: a graph with the same results up to rounding. Only cotangents are rewritten, whose order of
multiplication is ours, and only where nothing else reads what is inside, so that nothing is computed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..graph import Graph, Node
from ..ops import expand_dims, matmul, squeeze, transpose
from ..ops import sum as sum_
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["hoist"]

_Hoisted = Callable[[Sequence[Expr]], Expr]


def hoist(graph: Graph) -> Graph:
    """`graph` with scalar factors taken out of sums, and transpositions out of products."""
    uses = Counter(a for n in graph.ordered() for a in n.args) + Counter(graph.outputs)
    found: dict[int, _Hoisted] = {}
    for n in graph.ordered():
        if n.op in _LAWS and n.origin.derived and uses[n.args[0]] == 1:
            laws = (law(graph, n, graph.node(n.args[0]), uses) for law in _LAWS[n.op])
            hoisted = next((expr for expr in laws if expr is not None), None)
            if hoisted is not None:
                found[n.key] = hoisted
    if not found:
        return graph
    return rewritten(graph, fold, apply_law, replace=lambda n, exprs: found[n.key](exprs) if n.key in found else None)


def _from_sum(graph: Graph, n: Node, inner: Node, uses: Mapping[int, int]) -> _Hoisted | None:
    if inner.op != "mul" or not inner.origin.derived or inner.type.shape == n.type.shape:
        return None
    for scaled, rest in (inner.args, inner.args[::-1]):
        filled = graph.node(scaled)
        if filled.op == "broadcast_to" and graph.node(filled.args[0]).type.shape == ():
            return lambda exprs, c=filled.args[0], x=rest: exprs[c] * sum_(exprs[x], **n.params)  # type: ignore[misc]
    return None


def _through_product(graph: Graph, n: Node, inner: Node, uses: Mapping[int, int]) -> _Hoisted | None:
    """The sum of all rows, or all columns, of a product: one row or column of it, found by a product of sums."""
    axes, sign = list(range(len(inner.type.shape))), 1  # where the axes of the sum's operand are in `inner`
    while uses[inner.key] == 1 and inner.origin.derived and inner.op in ("neg", "transpose", "reshape"):
        below = graph.node(inner.args[0])
        if inner.op == "transpose":
            axes = [inner.params["axes"][i] for i in axes]
        elif inner.op == "neg":
            sign = -sign
        elif below.type.shape != inner.type.shape:
            return None
        inner = below
    rank, summed = len(inner.type.shape), n.params["axis"]
    operands = [graph.node(a).type.shape for a in inner.args]
    if inner.op != "matmul" or not inner.origin.derived or uses[inner.key] != 1 or len(summed) != 1:
        return None
    if any(len(shape) != rank for shape in operands) or n.params["keepdims"]:
        return None
    side, kept = axes[summed[0]] - rank, [axis for k, axis in enumerate(axes) if k not in summed]
    if side not in (-1, -2) or kept != sorted(kept):
        return None
    a, b = inner.args

    def hoisted(exprs: Sequence[Expr]) -> Expr:
        if side == -1:
            y = squeeze(matmul(exprs[a], expand_dims(sum_(exprs[b], -1), -1)), -1)
        else:
            y = squeeze(matmul(expand_dims(sum_(exprs[a], -2), -2), exprs[b]), -2)
        return -y if sign < 0 else y

    return hoisted


def _from_transpose(graph: Graph, n: Node, inner: Node, uses: Mapping[int, int]) -> _Hoisted | None:
    operands = [graph.node(a) for a in inner.args]
    if inner.op != "matmul" or not inner.origin.derived or any(len(a.type.shape) != 2 for a in operands):
        return None
    if all(a.op != "transpose" for a in operands):
        return None
    a, b = inner.args
    return lambda exprs: matmul(transpose(exprs[b]), transpose(exprs[a]))


_LAWS = {"sum": (_from_sum, _through_product), "transpose": (_from_transpose,)}
