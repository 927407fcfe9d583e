"""The order of the passes: from the joint graph to one that a target can write.

In: a verified joint graph and a target. Out: a graph of ops that the target has cells or structure for. An op that it
can neither write nor expand is an error that lists everything missing at once.
"""

from __future__ import annotations

from ..errors import TargetError
from ..graph import Graph
from ..registry import lookup
from ..target import Target
from .expand import expand
from .scalarise import scalarise
from .share_products import share_products
from .simplify import simplify

__all__ = ["prepare"]


def prepare(graph: Graph, target: Target) -> Graph:
    """`graph`, simplified and in terms that `target` writes."""
    graph = simplify(graph)
    graph = share_products(graph)
    graph = simplify(expand(graph, lambda op: not target.writes(op)))
    if target.lowering == "scalar":
        graph = share_products(simplify(scalarise(graph)))
    return _writable(graph, target)


def _writable(graph: Graph, target: Target) -> Graph:
    missing = sorted({n.op for n in graph.ordered() if not target.writes(lookup(n.op))})
    if missing:
        raise TargetError(
            f"target {target.name!r} cannot write {', '.join(missing)}: add cells for them to the op records or to the "
            "[cells] table of its target.toml, or choose another target"
        )
    return graph
