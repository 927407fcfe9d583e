"""Early sums: a sum whose terms wait for other sums is made of sums that need not wait.

    sum(c*x + d*y)   ->  c*sum(x) + d*sum(y)      c and d the same for all that is summed

In: a graph for loops. Out: one with the same results up to rounding, in which x and y are summed where they are made.
The gradient of a normalisation is the case: c and d come from sums of the row, and their combination had to be stored,
summed, and read again. Only cotangents are rewritten, and only where c or d waits for a sum that x and y do not need.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from ..graph import Graph, Node
from ..ops import squeeze
from ..ops import sum as sum_
from ..registry import Reduction, lookup
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["early_sums"]

_MOST = 2  # sums that take the place of one: each reads its elements again


def early_sums(graph: Graph) -> Graph:
    """`graph`, in which sums of combinations are combinations of sums."""
    waits: dict[int, int] = {}  # for how many reductions, one after another
    found: dict[int, list[int]] = {}
    for n in graph.ordered():
        reduces = isinstance(lookup(n.op).structure, Reduction)
        waits[n.key] = max((waits[a] for a in n.args), default=0) + reduces
        if n.op != "sum" or not n.origin.derived or n.type.dtype.kind != "float":
            continue
        (inner,) = n.args
        terms = _terms(graph, n, inner)
        if terms != [inner] and len(terms) <= _MOST and all(waits[t] < waits[inner] for t in terms):
            found[n.key] = terms
    if not found:
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        return _combined(graph, n, n.args[0], exprs) if n.key in found else None

    return rewritten(graph, fold, apply_law, replace=replace)


def _terms(graph: Graph, n: Node, inner: int) -> list[int]:
    """What the sum `n` adds up, apart from what is the same for all elements."""
    found, stack = [], [inner]
    while stack:
        key = stack.pop()
        parts = _parts(graph, n, key)
        if parts:
            stack += parts
        else:
            found.append(key)
    return found


def _parts(graph: Graph, n: Node, key: int) -> list[int]:
    """Of what `key` is a combination with factors that are the same for all elements; nothing if it is none."""
    m = graph.node(key)
    if not m.origin.derived:
        return []
    if m.op in ("add", "sub", "neg"):
        return [*dict.fromkeys(m.args)]
    if m.op in ("mul", "div"):
        rest = [a for a in m.args if _factor(graph, n, a) is None]
        if len(rest) == 1 and (m.op == "mul" or rest[0] == m.args[0]):
            return rest
    return []


def _factor(graph: Graph, n: Node, key: int) -> int | None:
    """What `key` repeats along all axes that `n` sums over, or None."""
    m = graph.node(key)
    if m.op != "broadcast_to":
        return None
    shape = graph.node(m.args[0]).type.shape
    missing = len(m.type.shape) - len(shape)  # axes in front, along which all is repeated
    return m.args[0] if all(axis < missing or shape[axis - missing] == 1 for axis in n.params["axis"]) else None


def _combined(graph: Graph, n: Node, key: int, exprs: Sequence[Expr]) -> Expr:
    """The sum of `key` over what `n` sums over."""
    parts = _parts(graph, n, key)
    m = graph.node(key)
    if not parts:
        return sum_(exprs[key], **n.params)
    sums = {part: _combined(graph, n, part, exprs) for part in parts}
    operands = [sums[a] if a in sums else _alone(graph, n, a, exprs) for a in m.args]
    return _COMBINE[m.op](*operands)


_COMBINE: Mapping[str, Callable[..., Expr]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
}


def _alone(graph: Graph, n: Node, key: int, exprs: Sequence[Expr]) -> Expr:
    """The factor `key` in the shape of the sum."""
    factor = _factor(graph, n, key)
    assert factor is not None
    x = exprs[factor]
    missing = len(graph.node(key).type.shape) - len(x.shape)
    axes = tuple(axis - missing for axis in n.params["axis"] if axis >= missing)
    return x if n.params["keepdims"] or not axes else squeeze(x, axes)
