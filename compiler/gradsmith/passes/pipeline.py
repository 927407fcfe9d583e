"""The order of the passes: from the joint graph to one that a target can write.

In: a verified joint graph and a target. Out: a graph of ops that the target has cells or structure for. An op that it
can neither write nor expand is an error that lists everything missing at once.
"""

from __future__ import annotations

from functools import cache, partial

from ..errors import TargetError
from ..graph import Graph
from ..registry import Op, lookup
from ..target import Target
from ..trace import Expr
from .blocks import in_blocks
from .contractions import by_kernels
from .convolutions import by_tiles
from .early_sums import early_sums
from .expand import expansion
from .fast_math import reassociated
from .fold import fold
from .hoist import hoist
from .innermost import turned
from .layouts import laid_out
from .libraries import by_libraries
from .normals import by_normals, of_one_scale
from .online import online
from .regions import with_bodies
from .regroup import regroup
from .rewrite import rewritten
from .scalarise import scalarise
from .scale_last import scale_last
from .selected import selecting
from .share_exponentials import share_exponentials
from .share_hyperbolics import share_hyperbolics
from .share_products import sharing
from .share_reciprocals import share_reciprocals
from .simplify import apply_law
from .strict import written_by_all
from .summation import Summation, summing
from .triangles import halved
from .wanted import only_wanted
from .zeros import without_added_zeros, without_zeros

__all__ = ["prepare"]


def prepare(graph: Graph, target: Target, fast_math: bool = False, summation: Summation = "default") -> Graph:
    """`graph`, simplified and in terms that `target` writes.

    With `fast_math`, sums and products may be regrouped; `summation` says how elements are added. For a strict target,
    the passes do what they do for all others too, and behind the last of them no operation changes.
    """
    return with_bodies(graph, lambda part: _prepared(part, target, fast_math, summation))


def _prepared(graph: Graph, target: Target, fast_math: bool, summation: Summation) -> Graph:
    writes = written_by_all(target) if target.strict else target.writes
    # NumPy takes less time for one call than for several with fewer operations
    shares = target.strict or target.lowering != "array"
    made_by = cache(partial(_rules, graph))

    def spelled_out(op: Op) -> bool:
        return not writes(op) or (shares and op.expands_in_rule and op.name in made_by())

    def in_loop(e: Expr) -> bool:
        return target.in_loop(e.type) and target.vector(e.op, e.dtype) != ""

    laws = (fold, apply_law, reassociated) if fast_math else (fold, apply_law)
    if any(n.type.shape for n in graph.sorts):
        graph = hoist(rewritten(graph, *laws, *selecting(target)))  # before an outer product, say, is spelled out for C
    graph = rewritten(
        share_hyperbolics(graph, target),
        *laws,
        *summing(summation),
        *by_tiles(target),
        expansion(spelled_out, in_loop),
        *by_libraries(target),
        *by_normals(target),
        sharing(),
    )
    arrays = target.lowering == "scalar" and any(n.type.shape for n in graph.sorts)
    if not any(n.type.shape for n in graph.sorts):  # the same for all targets
        graph = without_zeros(graph)
    graph = without_added_zeros(graph)
    if target.strict:
        graph = share_reciprocals(scale_last(regroup(graph)))
        return _writable(
            scalarise(graph, most=target.tuning.straight_elements, in_order=True) if arrays else graph, target
        )
    if arrays:
        graph = without_zeros(rewritten(scalarise(graph, most=target.tuning.straight_elements), *laws, sharing()))
    branches = "independent" in target.syntax and not target.lanes  # where scalars stand in no loop of vectors
    graph = share_reciprocals(scale_last(regroup(share_exponentials(graph))), branches)
    if any(n.op == "npdf" for n in graph.sorts):
        graph = rewritten(graph, fold, apply_law, *of_one_scale(target))
    kernels = by_kernels(target)
    if kernels and (graph.has_bodies or any(n.type.shape for n in graph.sorts)):
        graph = in_blocks(turned(laid_out(early_sums(graph)), target), target)
        graph = with_bodies(graph, lambda part: rewritten(part, *kernels, *online(target)))
        graph = only_wanted(halved(graph, target))
    return _writable(graph, target)


def _rules(graph: Graph) -> set[str]:
    """The ops whose derivative rules made nodes."""
    origins = {id(n.origin): n.origin for n in graph.ordered()}  # which many nodes share
    return {origin.rule for origin in origins.values() if origin.derived}


def _writable(graph: Graph, target: Target) -> Graph:
    used = {(n.op, target.in_loop(n.type)) for n in graph.sorts}
    missing = sorted({op for op, in_loop in used if not target.writes(lookup(op), loop=in_loop)})
    if missing:
        raise TargetError(
            f"target {target.name!r} cannot write {', '.join(missing)}: add cells for them to the op records or to the "
            "[cells] table of its target.toml, or choose another target"
        )
    return graph
