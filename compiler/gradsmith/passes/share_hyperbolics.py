"""Share hyperbolics: the slope of tanh from its value, where that loses nothing.

    sech2(x)  ->  y*y < 1/2 ? 1 - y*y : sech2(x)      where y = tanh(x) is computed anyway

In: a graph before expansions, and a target. Out: a graph in which a value that has both its tanh and the slope has the
latter without a call in the middle of the range, where a second call would take as long as the first. Why 1/2: the
slope is above 1/2 there, so that twice the error of y, in units of the last place, is what is added to its own; beyond,
1 - y*y loses digit after digit. The square is what is looked at, as it is wanted anyway: in Python, `abs` takes as long
as `cosh`. Loops in C are left alone, as they have vector kernels of both; so are Python's loops and NumPy's arrays, in
which both sides would be computed, and what has to be equal on all targets (`strict`).
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

_NEAR = 0.5


def share_hyperbolics(graph: Graph, target: Target) -> Graph:
    """`graph` with `sech2(x)` by `tanh(x)` where both are computed, but not in vectors."""
    if not {"tanh", "sech2"} <= {n.op for n in graph.sorts}:
        return graph
    vectors = "independent" in target.syntax
    if target.strict or not (vectors or target.lowering == "scalar"):
        return graph
    values = {n.args[0]: n.key for n in graph.ordered() if n.op == "tanh" and not (vectors and target.in_loop(n.type))}
    if not any(n.op == "sech2" and n.args[0] in values for n in graph.ordered()):
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        if n.op != "sech2" or n.args[0] not in values or n.key < values[n.args[0]]:
            return None
        square = exprs[values[n.args[0]]] ** 2
        return where(square < _NEAR, 1.0 - square, sech2(exprs[n.args[0]]))

    return rewritten(graph, replace=replace)
