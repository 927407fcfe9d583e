"""Form: whether a target that has both writes straight-line code or loops.

In: a target and the graphs of one file, before they are written in the target's ops. Out: the target, with the syntax
of loops where straight-line code would be longer than its manifest allows (`longest`). Straight-line code is faster to
run, by what subscripts cost, and longer by the sizes of the arrays; where it is long, it takes long to compile and
nobody reads it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..cost import count_of
from ..graph import Graph, Node
from ..regions import has_regions
from ..registry import Gather, Kernel, Scatter, lookup
from ..target import Target
from ..types import static_shape
from .specialise import size_names

__all__ = ["form", "in_loops", "statements"]

_IN_A_LINE = 8  # elements of an argument or a result


def form(target: Target, graphs: Sequence[Graph]) -> Target:
    """`target` as it writes `graphs`."""
    if target.lowering != "scalar" or not target.loops:
        return target
    if not any(in_loops(graph) or statements(graph) > target.longest for graph in graphs):
        return target
    return replace(target, lowering="loops", syntax=target.loops)


def in_loops(graph: Graph) -> bool:
    """Whether there is what only loops write, whatever its size."""
    return has_regions(graph) or bool(size_names(graph)) or any(lookup(n.op).loops for n in graph.ordered())


def statements(graph: Graph) -> Any:
    """About how many statements the arrays of `graph` take in straight-line code."""
    moved = sum(graph.node(k).type.size for k in (*graph.inputs, *graph.outputs) if graph.node(k).type.shape)
    arrays = (n for n in graph.ordered() if n.type.shape or any(graph.node(a).type.shape for a in n.args))
    return sum(_statements(graph, n) for n in arrays) + moved // _IN_A_LINE


def _statements(graph: Graph, n: Node) -> Any:
    structure = lookup(n.op).structure
    if isinstance(structure, Gather | Scatter):  # each element is picked from all that it can be
        if graph.node(n.args[1]).op == "constant":
            return 0
        moved, source = (n.args[0], n) if isinstance(structure, Scatter) else (n.key, graph.node(n.args[0]))
        return graph.node(moved).type.size * static_shape(source.type.shape)[n.params["axis"]]
    if isinstance(structure, Kernel):  # each element is compared with each of its row
        return math.prod(static_shape(n.type.shape)) * max(static_shape(n.type.shape))
    return sum(count_of(graph, n).values())
