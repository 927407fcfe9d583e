"""Lanes: the straight-line code of one point, which a loop over many points turns into vector code.

In: the graph of a function of one point. Out: a graph of scalars that reads each element of an array argument as an
input of its own; None where loops are the better form, or the only one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..graph import Graph
from ..registry import Kernel, lookup
from ..target import Target
from .form import in_loops, statements
from .pipeline import prepare
from .summation import Summation

__all__ = ["Element", "lanes", "taken_apart"]


@dataclass(frozen=True)
class Element:
    """Element `place` (row-major) of input number `input`, which is the node `key`."""

    key: int
    input: int
    place: int


def lanes(
    graph: Graph, prepared: Graph, target: Target, fast_math: bool = False, summation: Summation = "default"
) -> Graph | None:
    """`graph` as straight-line code in the ops of `target`; None if that would be too long, or cannot be.

    `prepared` is the same for a function of one point: what has loops there that are no sums, such as sorting, keeps
    them, and so do long products of matrices.
    """
    structures = (lookup(n.op).structure for n in prepared.ordered())
    if in_loops(graph) or any(isinstance(s, Kernel) and not s.short for s in structures):
        return None
    if statements(graph) > target.tuning.batch_statements:
        return None
    found = prepare(graph, replace(target, lowering="scalar", lanes=True), fast_math, summation)
    return found if len(found) <= 4 * target.tuning.batch_statements else None


def taken_apart(graph: Graph) -> tuple[Graph, list[Element]]:
    """`graph` with a scalar input for each number that it reads, and which numbers these are."""
    number = {key: i for i, key in enumerate(graph.inputs)}
    read = {a for n in graph.ordered() for a in n.args} | {*graph.outputs}
    new, keys = Graph(), dict[int, int]()
    elements: list[Element] = []
    for n in graph.ordered():
        place: tuple[int, ...] = n.params["place"] if n.op == "element" else ()
        source = n.args[0] if n.op == "element" else n.key
        if source not in number:
            keys[n.key] = new.add(n.op, [keys[a] for a in n.args], n.params, n.type, n.origin)
        elif n.key in read and not n.type.shape:
            shape = graph.node(source).type.shape
            at = sum(i * math.prod(shape[axis + 1 :]) for axis, i in enumerate(place))
            name = f"{number[source]}[{at}]"
            keys[n.key] = new.add("input", (), {"name": name}, n.type, n.origin)
            elements.append(Element(keys[n.key], number[source], int(at)))
    new.graph["inputs"] = tuple(e.key for e in elements)
    new.graph["outputs"] = tuple(keys[k] for k in graph.outputs)
    new.graph["cotangents"] = {keys[p]: keys[c] for p, c in graph.cotangents.items() if p in keys and c in keys}
    return new, elements
