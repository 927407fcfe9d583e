"""Axes that run together, as the computation of each value tells.

In: a graph. Out: its values' axes in classes: an element-wise result runs along the axes of its operands, a moved one
along those it was moved from, a reduction along those it keeps, and a product of matrices along rows, columns and what
it adds up over. Guarantee: whoever takes a part of one axis of a class takes it of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..graph import Graph, Node
from ..registry import Reduction, lookup
from ..types import Shape

__all__ = ["MOVED", "Axes", "Axis"]

Axis = tuple[int, int]  # of the value with this key


class Axes:
    """Axes of values in classes: those that run together, as the computation of each value tells."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._of: dict[Axis, Axis] = {}
        for n in graph.ordered():
            shape = () if n.bodies else getattr(n.type, "shape", ())
            for axis in range(len(shape)):
                self._of[n.key, axis] = (n.key, axis)
            for own, other in _together(graph, n) if shape or n.args else ():
                self._join(own, other)

    def _root(self, axis: Axis) -> Axis:
        while self._of[axis] != axis:
            self._of[axis] = self._of[self._of[axis]]
            axis = self._of[axis]
        return axis

    def _join(self, one: Axis, other: Axis) -> None:
        self._of[self._root(one)] = self._root(other)

    def roots(self) -> Iterator[Axis]:
        """One axis of each class."""
        return (axis for axis in self._of if self._of[axis] == axis)

    def places(self, n: Node, root: Axis) -> list[int]:
        """Which axes of `n` are of the class."""
        shape = () if n.bodies else getattr(n.type, "shape", ())
        return [k for k in range(len(shape)) if self._root((n.key, k)) == root]


def _together(graph: Graph, n: Node) -> list[tuple[Axis, Axis]]:
    """Pairs of axes of `n` and its operands that run together."""
    op = lookup(n.op)
    if n.bodies or op.kind == "part":
        return []
    shapes = [graph.node(a).type.shape for a in n.args]
    own = n.type.shape
    if op.kind == "elementwise":
        return [((n.key, k), (a, k)) for a, s in zip(n.args, shapes, strict=True) if s == own for k in range(len(own))]
    if isinstance(op.structure, Reduction):
        kept = [k for k in range(len(shapes[0])) if n.params["keepdims"] or k not in n.params["axis"]]
        return [((n.key, k), (n.args[0], i)) for k, i in enumerate(kept) if i not in n.params["axis"]]
    if n.op == "matmul":
        return _of_product(n, *shapes)
    pairs = MOVED[n.op](own, shapes[0], n.params) if n.op in MOVED else []
    return [((n.key, k), (n.args[0], i)) for k, i in pairs]


def _of_product(n: Node, a: Shape, b: Shape) -> list[tuple[Axis, Axis]]:
    rank = len(n.type.shape)
    if min(len(a), len(b)) < 2:
        return []
    left, right = n.args
    pairs = [((n.key, rank - 2), (left, len(a) - 2)), ((n.key, rank - 1), (right, len(b) - 1))]
    pairs.append(((left, len(a) - 1), (right, len(b) - 2)))
    for key, shape in ((left, a), (right, b)):
        pairs += [((n.key, rank - len(shape) + k), (key, k)) for k in range(len(shape) - 2)]
    return pairs


def _of_broadcast(own: Shape, inner: Shape, _: Any) -> list[tuple[int, int]]:
    first = len(own) - len(inner)
    return [(first + k, k) for k, size in enumerate(inner) if own[first + k] == size != 1]


def _of_reshape(own: Shape, inner: Shape, _: Any) -> list[tuple[int, int]]:
    """All axes where only axes of size 1 come or go, and else what both have in front."""
    longer = [[k for k, size in enumerate(shape) if size != 1] for shape in (own, inner)]
    if [own[k] for k in longer[0]] == [inner[k] for k in longer[1]]:
        return list(zip(*longer, strict=True))
    common = next((k for k, (one, other) in enumerate(zip(own, inner, strict=False)) if one != other), 0)
    return [(k, k) for k in range(common)]


#: Ops that move elements: pairs of axes of the result and of the operand.
MOVED: Mapping[str, Callable[[Shape, Shape, Mapping[str, Any]], list[tuple[int, int]]]] = {
    "broadcast_to": _of_broadcast,
    "reshape": _of_reshape,
    "expand_dims": _of_reshape,
    "squeeze": _of_reshape,
    "transpose": lambda own, inner, params: list(enumerate(params["axes"])),
}
