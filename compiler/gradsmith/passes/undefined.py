"""Undefined: whether one value is NaN wherever others are, so that it may stand in their place or they may go.

In: a graph, and values in it. Out: yes, or no, which may also mean that it is not known: few steps are taken.

A NaN has a source: an argument, a logarithm or a root of a negative number, or an op that is not looked into. Whatever
reads it through arithmetic and the like is NaN as well. So a value covers another if all sources of that one's NaN are
among what it is made of in that way. What 0*inf, inf - inf and 0/0 make of finite or infinite arguments is no such
source: there, fewer NaN are no loss. An array covers another element by element, and a scalar all elements of an array;
what is broadcast to one shape is so in one way, so it stands at the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set

from ..graph import Graph

__all__ = ["covers", "made_of"]

#: What is a number for each number, but for 0*inf and its like ...
_TOTAL = frozenset(
    {
        "abs", "add", "broadcast_to", "cosh", "div", "erf", "erfc", "exp", "exp2", "expm1", "gaussian", "mul", "ndtr",
        "neg", "npdf", "reciprocal", "sigmoid", "sinh", "square", "sub", "tanh",
    }
)  # fmt: skip
#: ... and what else is NaN if an operand is.
_PASSED_ON = _TOTAL | {"cos", "log", "log10", "log1p", "log2", "sin", "sqrt", "tan"}

Operands = Callable[[int], Sequence[int]]


def made_of(graph: Graph, keys: Sequence[int], most: int, operands: Operands | None = None) -> Set[int]:
    """Some values, and those that make one of them NaN where they are NaN, the nearest first, about `most`.

    `operands` tells which nodes a node reads, where that is not as in the graph.
    """
    found = dict.fromkeys(keys)
    queue = [*found]
    for key in queue:
        n = graph.node(key)
        if n.op in _PASSED_ON or (n.op == "sum" and not n.type.shape):
            for a in n.args if operands is None else operands(key):
                if a not in found:
                    found[a] = None
                    queue.append(a)
            if len(queue) > most:
                break
    return found.keys()


def covers(graph: Graph, reached: Set[int], keys: Collection[int], most: int) -> bool:
    """Whether each of the values `keys` is a number, or has its NaN from what is in `reached`."""
    seen: set[int] = set()
    stack = [*keys]
    while stack:
        key = stack.pop()
        if key in reached or key in seen:
            continue
        n = graph.node(key)
        seen.add(key)
        if len(seen) > most or (n.op not in _TOTAL and n.op != "constant"):
            return False
        stack += n.args
    return True
