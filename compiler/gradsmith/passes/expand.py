"""Expand: replace an op by its composition of others, where that is what is wanted of it.

Before differentiation: ops without a rule of their own. Before emission: ops the target has no cell for. An op that
has neither is an error that lists all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from ..as_graph import to_graph
from ..graph import Graph
from ..registry import Op, lookup
from ..trace import Expr, recording, symbol
from ..types import Type
from .regions import with_bodies
from .rewrite import About, Rule, rewritten

__all__ = ["expand", "expand_underivable", "expanded", "expansion"]


def expand(graph: Graph, wanted: Callable[[Op], bool]) -> Graph:
    """`graph` with every op that is `wanted` and has an expansion replaced by it, repeatedly."""
    ops = [lookup(name) for name in {n.op for n in graph.sorts}]
    if not any(op.expand is not None and wanted(op) for op in ops) and _tidy(graph):
        return graph
    return rewritten(graph, expansion(wanted))


def _tidy(graph: Graph) -> bool:
    """Whether a graph is as it would be rebuilt: the inputs first, in their order, and nothing that nothing needs."""
    read = {*graph.outputs, *graph.inputs}
    for n in graph.ordered():
        read.update(n.args)
    return graph.inputs == tuple(range(len(graph.inputs))) and len(read) == len(graph)


def expansion(wanted: Callable[[Op], bool], kept: Callable[[Expr], bool] = lambda e: False) -> Rule:
    """The rule that replaces ops that are `wanted` by their expansion, but for expressions to be `kept`."""

    answers: dict[Op, bool] = {}

    def rule(e: Expr) -> Expr | None:
        op = e.op
        if op not in answers:
            answers[op] = op.expand is not None and wanted(op)
        if not answers[op] or kept(e):
            return None
        return op.expand(*e.args, **e.params)  # type: ignore[no-any-return, misc]

    return About(_Expandable(), rule)


class _Expandable(Container[str]):
    """The names of the ops that have an expansion."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and lookup(name).expand is not None


def expand_underivable(graph: Graph) -> Graph:
    """`graph` without the ops that are differentiated through their expansion."""
    return with_bodies(graph, lambda part: expand(part, lambda op: op.vjp is None))


def expanded(op: Op, types: Sequence[Type], params: Mapping[str, Any]) -> Graph:
    """The expansion of one op as a graph of its own."""
    with recording():
        xs = [symbol(f"x{i}", type.shape, type.dtype) for i, type in enumerate(types)]
        return to_graph(xs, [op.expand(*xs, **params)])  # type: ignore[misc]
