"""Share products: regroup a chain-rule product onto one that the value computes anyway.

`(g*c)*s  ->  g*(c*s)` where `c` is a constant and `c*s` is already a node. The order in which the chain rule
multiplies is ours to choose (nobody wrote it), so this is no reassociation of the user's arithmetic; and as `c*s` is
computed for the value in any case, regrouping meets no overflow that the value has not met. For a planar arm it
turns `-(g*l)*sin(a)` into `-g*y` with the link's own `y = l*sin(a)`: one multiplication less for each link coordinate.
"""

from __future__ import annotations

from ..graph import Graph
from ..trace import Expr
from .rewrite import Rule, rewritten
from .simplify import number

__all__ = ["share_products", "sharing"]

_MODERATE = 2.0**64  # beyond it, c*s might round to a subnormal where (g*c)*s does not


def share_products(graph: Graph) -> Graph:
    """`graph` with products of cotangents regrouped onto existing products."""
    return rewritten(graph, sharing())


def sharing() -> Rule:
    """The rule, with a memory of the products it has seen."""
    products: dict[tuple[int, int], Expr] = {}

    def rewrite(e: Expr) -> Expr | None:
        if e.op.name != "mul":
            return None
        if e.origin.role != "cotangent":
            a, b = e.args
            products[a.serial, b.serial] = products[b.serial, a.serial] = e
            return None
        for outer, s in (e.args, e.args[::-1]):
            if outer.op.name == "mul" and outer.origin.role == "cotangent":
                for g, c in (outer.args, outer.args[::-1]):
                    n, shared = number(c), products.get((c.serial, s.serial))
                    if n is not None and 1 / _MODERATE < abs(n) < _MODERATE and shared is not None and shared is not outer:
                        return g * shared
        return None

    return rewrite
