"""Collapse: which of the last axes of a loop are walked as one, so that a short row of the last one is no loop.

    for k < 26: for l < 26: y[j*676 + k*26 + l] += b[j]    ->    for k < 676: y[j*676 + k] += b[j]

In: what shares a loop, and the axes it is over. Out: how many of the last ones. Guarantee: every element read or
written lies, from one place to the next, as far from the last one over the end of a row as within it, or is the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..dims import Extent
from ..graph import Graph, Node
from ..index import Affine, Index, Lookup, flatten, variable
from ..registry import Counter, lookup
from ..types import Shape
from .rows import reads_of

if TYPE_CHECKING:
    from .elements import Elements
    from .fusion import Units

__all__ = ["axes_as_one", "collapsed", "spread"]


def axes_as_one(
    graph: Graph, units: Units, elements: Elements, nodes: Sequence[Node], axes: Sequence[int], shape: Shape
) -> int:
    """How many of the last `axes` a loop over elements of `shape` can walk as one."""
    if any(n.key in elements.parts or n.key in units.repeated for n in nodes) or len(axes) < 2:
        return 1
    places = [flatten(_axes(shape), shape)]
    for n in nodes:
        if _counts(graph, n, units.virtual):
            return 1
        for key, at in reads_of(graph, n, units.virtual, units.aliases):
            theirs = graph.node(key).type.shape
            if not theirs:
                continue
            if at is None or len(at) != len(theirs) or key in elements.parts or key in elements.around:
                return 1
            places.append(flatten(at, theirs))
    if any(isinstance(term, Lookup) for place in places for term, _ in place.terms):
        return 1
    steps: list[dict[object, Extent]] = [dict(place.terms) for place in places]
    count = 1
    for axis, inner in reversed([*pairwise(axes)]):
        follows = inner == axis + 1 and all(_follows(each, axis, inner, shape) for each in steps)
        if not follows:
            break
        count += 1
    return count


def _axes(shape: Shape) -> Index:
    return tuple(variable(f"axis {k}") for k in range(len(shape)))


def _follows(steps: Mapping[object, Extent], axis: int, inner: int, shape: Shape) -> bool:
    """Whether a step along `axis` is as long as all of those along the axis inside it."""
    if shape[axis] == 1 or shape[inner] == 1:
        return False
    return steps.get(f"axis {axis}", 0) == steps.get(f"axis {inner}", 0) * shape[inner]


def _counts(graph: Graph, n: Node, virtual: Collection[int]) -> bool:
    """Whether an element of `n` depends on the number of its place."""
    stack, seen = [n], {n.key}
    while stack:
        m = stack.pop()
        if isinstance(lookup(m.op).structure, Counter):
            return True
        found = [a for a in m.args if a in virtual and a not in seen]
        seen.update(found)
        stack += [graph.node(a) for a in found]
    return False


def collapsed(shape: Shape, count: int) -> Shape:
    """`shape` with the last `count` axes as one."""
    return (*shape[: len(shape) - count], math.prod(shape[len(shape) - count :]))


def spread(index: Index, count: int) -> Index:
    """The place in the shape as it was: all steps are along the last axis."""
    return (*index[:-1], *(Affine() for _ in range(count - 1)), index[-1])
