"""The order of the passes: from the joint graph to one that a target can write.

In: a verified joint graph and a target. Out: a graph of ops that the target has cells or structure for. An op that it
can neither write nor expand is an error that lists everything missing at once.
"""

from __future__ import annotations

from ..errors import TargetError
from ..graph import Graph
from ..registry import Op, lookup
from ..target import Target
from .expand import expansion
from .fold import fold
from .hoist import hoist
from .regroup import regroup
from .rewrite import rewritten
from .scalarise import scalarise
from .share_products import sharing
from .share_reciprocals import share_reciprocals
from .simplify import apply_law

__all__ = ["prepare"]


def prepare(graph: Graph, target: Target) -> Graph:
    """`graph`, simplified and in terms that `target` writes."""
    shares = target.lowering != "array"  # NumPy takes less time for one call than for several with fewer operations
    rules = {n.origin.rule for n in graph.ordered() if n.origin.role == "cotangent"}

    def spelled_out(op: Op) -> bool:
        return not target.writes(op) or (shares and op.expands_in_rule and op.name in rules)

    if any(n.type.shape for n in graph.ordered()):
        graph = hoist(rewritten(graph, fold, apply_law))  # before an outer product, say, is spelled out for C
    graph = rewritten(graph, fold, apply_law, expansion(spelled_out), sharing())
    if target.lowering == "scalar" and any(n.type.shape for n in graph.ordered()):
        graph = rewritten(scalarise(graph), fold, apply_law, sharing())
    return _writable(share_reciprocals(regroup(graph)), target)


def _writable(graph: Graph, target: Target) -> Graph:
    missing = sorted({n.op for n in graph.ordered() if not target.writes(lookup(n.op))})
    if missing:
        raise TargetError(
            f"target {target.name!r} cannot write {', '.join(missing)}: add cells for them to the op records or to the "
            "[cells] table of its target.toml, or choose another target"
        )
    return graph
