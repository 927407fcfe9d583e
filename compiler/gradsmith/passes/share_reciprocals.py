"""Share reciprocals: many quotients with one denominator become one reciprocal and as many products.

    a/d, b/d, c/d  ->  r = 1/d, a*r, b*r, c*r

A division takes as long as four multiplications or more. In: a graph. Out: a graph with fewer divisions. Quotients of
the chain rule alone are rewritten, as each is rounded twice then, which is off by 1.5 ULP at most; and only for
denominators that are never so small that their reciprocal overflows: 0*(1/d) would be NaN where 0/d is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops import broadcast_to, reciprocal
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["share_reciprocals"]

_FEWEST = 3  # quotients; two take as long as a reciprocal and two products
_SMALL = 2.0**-100  # a sum of this and of something that is not negative has a reciprocal, in float32 too
_NEVER_NEGATIVE = frozenset({"abs", "cosh", "exp", "sqrt", "square"})


def share_reciprocals(graph: Graph) -> Graph:
    """`graph` with the chain rule's divisions by one value turned into products with its reciprocal."""
    quotients: dict[int, list[Node]] = {}  # denominator -> the quotients
    for n in graph.ordered():
        if n.op == "div" and n.origin.derived:
            quotients.setdefault(_value(graph, n.args[1]).key, []).append(n)
    denominators = {
        n.key: d
        for d, found in quotients.items()
        if _fewer(graph.node(d), found) and _never_tiny(graph, graph.node(d))
        for n in found
    }
    if not denominators:
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr:
        shared = reciprocal(exprs[denominators[n.key]])
        return exprs[n.args[0]] * (broadcast_to(shared, n.type.shape) if n.type.shape != shared.shape else shared)

    return rewritten(graph, fold, apply_law, replace=replace, at=denominators)


def _value(graph: Graph, key: int) -> Node:
    """The value that is repeated, if it is."""
    n = graph.node(key)
    while n.op == "broadcast_to":
        n = graph.node(n.args[0])
    return n


def _fewer(denominator: Node, quotients: Sequence[Node]) -> bool:
    """Whether there are enough quotients for each denominator; a named dimension counts as many."""
    shapes = [n.type.shape for n in (denominator, *quotients)]
    if any(not isinstance(d, int) for shape in shapes for d in shape):
        return any(shape != shapes[0] for shape in shapes[1:]) or len(quotients) >= _FEWEST
    return bool(sum(n.type.size for n in quotients) >= _FEWEST * denominator.type.size)


def _never_tiny(graph: Graph, n: Node) -> bool:
    """Whether the value is 0, or far enough from 0 for a finite reciprocal, whatever it is computed from."""
    if n.op in ("sqrt", "cosh"):
        return True  # the root of the least number is 2e-162
    if n.op == "constant" and not n.type.shape:
        return bool(_SMALL <= abs(n.params["value"]) <= 1.0 / _SMALL)
    if n.op == "add":
        sides = [_value(graph, a) for a in n.args]
        for one, other in (sides, sides[::-1]):
            if one.op == "constant" and other.op in _NEVER_NEGATIVE:
                return isinstance(one.params["value"], float) and one.params["value"] >= _SMALL
    return False
