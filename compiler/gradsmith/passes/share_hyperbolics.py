"""Share hyperbolics: the slope of tanh from its value, where that loses nothing.

    sech2(x)  ->  |y| < 0.7 ? 1 - y*y : sech2(x)      where y = tanh(x) is computed anyway

In: a graph before expansions, and a target. Out: a graph in which a value that has both its tanh and the slope has the
latter without a call in the middle of the range, where a second call would take as long as the first. Why 0.7: the
slope is above 1/2 there, so that twice the error of y, in units of the last place, is what is added to its own; beyond,
1 - y*y loses digit after digit. Loops are left alone, as they have vector kernels of both; so is code that is
interpreted, where looking takes as long as the call, and what has to be equal on all targets (`strict`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops.elementary import sech2
from ..ops.selection import where
from ..target import Target
from ..trace import Expr
from .rewrite import rewritten

__all__ = ["share_hyperbolics"]

_NEAR = 0.7


def share_hyperbolics(graph: Graph, target: Target) -> Graph:
    """`graph` with `sech2(x)` by `tanh(x)` where both are computed, outside of loops."""
    if target.strict or "independent" not in target.syntax:
        return graph
    if not {"tanh", "sech2"} <= {n.op for n in graph.sorts}:
        return graph
    values = {n.args[0]: n.key for n in graph.ordered() if n.op == "tanh" and not target.in_loop(n.type)}
    if not any(n.op == "sech2" and n.args[0] in values for n in graph.ordered()):
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        if n.op != "sech2" or n.args[0] not in values or n.key < values[n.args[0]]:
            return None
        y = exprs[values[n.args[0]]]
        return where(abs(y) < _NEAR, 1.0 - y * y, sech2(exprs[n.args[0]]))

    return rewritten(graph, replace=replace)
