"""Hoist: take out of a sum, or of a transposition, what need not be done inside.

    sum(c*x)      ->  c*sum(x)     for a scalar c
    (A.T @ B).T   ->  B.T @ A

In: a graph. Out: a graph with the same results up to rounding. Only cotangents are rewritten, whose order of
multiplication is ours, and only where nothing else reads what is inside, so that nothing is computed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..graph import Graph, Node
from ..ops import matmul, transpose
from ..ops import sum as sum_
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["hoist"]


def hoist(graph: Graph) -> Graph:
    """`graph` with scalar factors taken out of sums, and transpositions out of products."""
    uses = Counter(a for n in graph.ordered() for a in n.args) + Counter(graph.outputs)
    found: dict[int, Callable[[Sequence[Expr]], Expr]] = {}
    for n in graph.ordered():
        if n.op in _LAWS and n.origin.derived and uses[n.args[0]] == 1:
            hoisted = _LAWS[n.op](graph, n, graph.node(n.args[0]))
            if hoisted is not None:
                found[n.key] = hoisted
    if not found:
        return graph
    return rewritten(graph, fold, apply_law, replace=lambda n, exprs: found[n.key](exprs) if n.key in found else None)


def _from_sum(graph: Graph, n: Node, inner: Node) -> Callable[[Sequence[Expr]], Expr] | None:
    if inner.op != "mul" or not inner.origin.derived or inner.type.shape == n.type.shape:
        return None
    for scaled, rest in (inner.args, inner.args[::-1]):
        filled = graph.node(scaled)
        if filled.op == "broadcast_to" and graph.node(filled.args[0]).type.shape == ():
            return lambda exprs, c=filled.args[0], x=rest: exprs[c] * sum_(exprs[x], **n.params)  # type: ignore[misc]
    return None


def _from_transpose(graph: Graph, n: Node, inner: Node) -> Callable[[Sequence[Expr]], Expr] | None:
    operands = [graph.node(a) for a in inner.args]
    if inner.op != "matmul" or not inner.origin.derived or any(len(a.type.shape) != 2 for a in operands):
        return None
    if all(a.op != "transpose" for a in operands):
        return None
    a, b = inner.args
    return lambda exprs: matmul(transpose(exprs[b]), transpose(exprs[a]))


_LAWS = {"sum": _from_sum, "transpose": _from_transpose}
