"""Share sums: a sum over a slice starts from the sum over a shorter slice that is computed too.

`sum(x[:2])`, `sum(x[:3])`, `sum(x[:4])`  ->  `s2 = x[0] + x[1]`, `s3 = s2 + x[2]`, `s4 = s3 + x[3]`; the same for
slices that end together, `sum(x[2:])`, `sum(x[1:])`. The angles of an arm of n links then take n - 1 additions instead
of n*(n - 1)/2; and as the pass runs before differentiation, so does their part of the gradient.

In: a graph. Out: a graph with the same sums, in another order of addition. A `sum` promises no order, so this is no
reassociation of the user's arithmetic; NaN and infinities reach the sums as before.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops import sum as sum_
from ..trace import Expr
from .rewrite import rewritten

__all__ = ["share_sums"]

_Span = tuple[int, int]  # the elements from the first number to before the second


def share_sums(graph: Graph) -> Graph:
    """`graph` with sums over slices of one vector made of one another."""
    summed: dict[int, tuple[int, _Span]] = {}  # sum -> the vector and the span
    families: dict[int, list[_Span]] = {}
    for n in graph.ordered():
        found = _summed(graph, n) if n.op == "sum" else None
        if found is not None:
            summed[n.key] = found
            families.setdefault(found[0], []).append(found[1])
    shared = {vector: spans for vector, spans in families.items() if any(part for _, part in _parts(spans))}
    if not shared:
        return graph
    sums: dict[int, dict[_Span, Expr]] = {}

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        vector, span = summed.get(n.key, (-1, (0, 0)))
        if vector not in shared:
            return None
        if vector not in sums:
            sums[vector] = _written(exprs[vector], shared[vector])
        return sums[vector][span]

    return rewritten(graph, replace=replace)


def _summed(graph: Graph, n: Node) -> tuple[int, _Span] | None:
    """The vector, and the span of it, that `n` is the sum of; None for any other sum."""
    if n.type.shape or n.type.dtype.kind != "float":
        return None
    inner = graph.node(n.args[0])
    if len(inner.type.shape) != 1 or not isinstance(inner.type.shape[0], int) or inner.type.size == 0:
        return None
    if inner.op == "index" and len(inner.params["key"]) == 1 and isinstance(inner.params["key"][0], tuple):
        start, step, count = inner.params["key"][0]
        if step == 1:
            return inner.args[0], (start, start + count)
    return inner.key, (0, inner.type.size)


def _parts(spans: Sequence[_Span]) -> list[tuple[_Span, _Span | None]]:
    """The spans, short ones first, each with the longest one it starts or ends with, if that is at least half of it."""
    from_start: dict[int, _Span] = {}
    to_end: dict[int, _Span] = {}
    found: list[tuple[_Span, _Span | None]] = []
    for span in sorted(set(spans), key=lambda s: (_length(s), s)):
        parts = [p for p in (from_start.get(span[0]), to_end.get(span[1])) if p and 2 * _length(p) >= _length(span)]
        found.append((span, max(parts, key=_length, default=None)))
        from_start[span[0]] = to_end[span[1]] = span
    return found


def _length(span: _Span) -> int:
    return span[1] - span[0]


def _written(x: Expr, spans: Sequence[_Span]) -> dict[_Span, Expr]:
    """The sums over `spans` of the vector `x`."""
    sums: dict[_Span, Expr] = {}
    for span, part in _parts(spans):
        if part is None:
            sums[span] = _total(x, span)
        else:
            rest = (part[1], span[1]) if part[0] == span[0] else (span[0], part[0])
            sums[span] = sums[part] + (sums[rest] if rest in sums else _total(x, rest))
    return sums


def _total(x: Expr, span: _Span) -> Expr:
    return x[span[0]] if _length(span) == 1 else sum_(x[span[0] : span[1]])
