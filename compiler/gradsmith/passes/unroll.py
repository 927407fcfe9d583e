"""Unroll: arrays of a few elements as straight-line code, for targets that have loops.

In: a joint graph with arrays, and a target of loops. Out: the same in the ops of the target, with a scalar for each
element: constants fold, what elements share is computed once, and what lies between the arguments and the results
stays in registers. None where loops are the better form (`Tuning.unroll_elements`), or the only one. A product with 0
stays where IEEE arithmetic needs it (0*inf is NaN), unless `fast_math` is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import TargetError
from ..graph import Graph, Node
from ..ops import getitem
from ..registry import Contraction, Gather, Reduction, Scatter, lookup
from ..target import Target
from ..trace import Expr
from .fold import fold
from .form import in_loops, statements
from .pipeline import prepare
from .rewrite import rewritten
from .simplify import apply_law
from .summation import Summation

__all__ = ["unrolled"]


def unrolled(graph: Graph, target: Target, fast_math: bool = False, summation: Summation = "default") -> Graph | None:
    """`graph` without arrays but those of its inputs, prepared for `target`; None if loops are better.

    Strict code keeps its loops, which fix the order of operations.
    """
    if target.lowering != "loops" or target.returns or target.strict or in_loops(graph):
        return None
    computed = [n for n in graph.ordered() if n.type.shape and lookup(n.op).kind != "leaf"]
    empty = any(graph.node(k).type.size == 0 for k in graph.outputs)  # which no line would name
    if not computed or empty or not all(_few(graph, n, target) for n in graph.ordered() if lookup(n.op).kind != "leaf"):
        return None
    if statements(graph) > target.tuning.unroll_statements:
        return None
    try:
        found = prepare(graph, replace(target, lowering="scalar", simd=""), fast_math, summation)
    except TargetError:  # an op expands to what has loops only
        return None

    def element(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        return getitem(exprs[n.args[0]], n.params["place"]) if n.op == "element" else None

    return rewritten(found, fold, apply_law, replace=element)


def _few(graph: Graph, n: Node, target: Target) -> bool:
    """Whether `n` has so few elements that a loop over them costs more than it saves, in vectors or in lines."""
    op, tuning = lookup(n.op), target.tuning
    summed = n.args if isinstance(op.structure, Contraction | Reduction) or op.name == "matmul" else ()
    if any(graph.node(a).type.size > 2 * tuning.unroll_elements for a in summed):
        return False
    if not n.type.shape:
        return True
    vectors = target.vector(op, n.type.dtype) != ""
    if op.kind == "kernel" or isinstance(op.structure, Gather | Scatter):  # which choose by comparing all places
        return False
    return bool(0 < n.type.size <= (tuning.vector_elements if vectors else tuning.unroll_elements))
