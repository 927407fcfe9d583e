"""Share hyperbolics: tanh and its slope from one exponential, where each would call the C library.

    |x| < 1/2:  k = expm1(-2*x)     tanh(x) = -k/(k + 2)                  sech(x)^2 = 1 - tanh(x)^2
    otherwise:  k = exp(-2*|x|)     tanh(x) = sign(x)*(1 - k)/(k + 1)     sech(x)^2 = 4*k/(k + 1)^2

In: a graph before expansions, and a target. Out: a graph in which a value that has both has them from one call; with
two of them (tanh and cosh), half of the time of a small function goes there. The C library's tanh goes by the first
quotient, too. Each form is taken where none of its differences cancels, so that the slope is right until it underflows.
Loops are left alone, as they have vector kernels of both; so is code that is interpreted, where each operation costs
as much as a call, and what has to be equal on all targets (`strict`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops.elementary import exp, expm1
from ..ops.selection import where
from ..target import Target
from ..trace import Expr, constant
from .rewrite import rewritten

__all__ = ["share_hyperbolics"]

_NEAR = 0.5  # below, tanh(x)^2 < 0.22; from here on, k < 0.37


def share_hyperbolics(graph: Graph, target: Target) -> Graph:
    """`graph` with `tanh(x)` and `sech2(x)` of one value computed together, outside of loops."""
    if target.strict or "independent" not in target.syntax:
        return graph
    found: dict[str, set[int]] = {"tanh": set(), "sech2": set()}
    for n in graph.ordered():
        if n.op in found and not target.in_loop(n.type):
            found[n.op].add(n.args[0])
    both = found["tanh"] & found["sech2"]
    if not both:
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        if n.op not in found or n.args[0] not in both or target.in_loop(n.type):
            return None
        x = exprs[n.args[0]]
        one, two = constant(1.0, x.dtype), constant(2.0, x.dtype)
        near = abs(x) < _NEAR
        k = where(near, expm1(-2.0 * x), exp(-2.0 * abs(x)))
        below = k + where(near, two, one)
        y = where(near, -k, where(x < 0.0, k - 1.0, 1.0 - k)) / below
        return y if n.op == "tanh" else where(near, 1.0 - y * y, 4.0 * k / (below * below))

    return rewritten(graph, replace=replace)
