"""Zero places: which elements of an array are 0 by construction.

In: a graph, and what is known of its inputs. Out: `Known`, which tells it of each value, or that nothing is known.
Zeros come from constants and factorizations; they are moved, put into other arrays, chosen, and added to each other.

A product with a zero is one only if the other operand is finite: `s[:, None]*eye` has NaN beside the diagonal where s
is inf. Each such place remembers whose product it is. So it is known that all beside a triangle is 0 if what is in the
triangle is finite: that has terms of the same s, and is not finite if s is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Node
from ..ops.indexing import positions
from ..types import static_shape

__all__ = ["Known", "Zeros"]

_LARGEST = 1 << 22  # elements of arrays whose places are looked at
_DEEPEST = 32  # ops from a value back to what its zeros come from


@dataclass(frozen=True)
class Zeros:
    """Where an array is `zero`: for certain where `root` is -1, else if element `root` of the value `source` is finite.

    An element that has a root, zero or not, is not finite if its root is not.
    """

    zero: np.ndarray
    root: np.ndarray
    source: object = None

    def moved(self, by: Callable[[np.ndarray], np.ndarray]) -> Zeros:
        return Zeros(by(self.zero), by(self.root), self.source)

    @property
    def certain(self) -> np.ndarray:
        return self.zero & (self.root < 0)

    def beside(self, inside: np.ndarray) -> bool:
        """Whether in each matrix of a stack all that is not `inside` is 0 if what is inside is finite."""
        zero, root = (x.reshape(-1, *x.shape[-2:]) for x in (self.zero, self.root))
        if inside.all() or not zero[:, ~inside].all():
            return False
        of_matrix = (root.max(initial=-1) + 1) * np.arange(len(root))[:, None]  # roots of its own matrix alone count
        needed, seen = (np.where(root[:, part] < 0, -1, root[:, part] + of_matrix) for part in (~inside, inside))
        return bool(np.isin(needed[needed >= 0], seen).all())


class Known:
    """What is known of the values of a graph; `given` is what is known of its inputs."""

    def __init__(self, graph: Graph, given: Mapping[int, Zeros]) -> None:
        self._graph = graph
        self._found: dict[int, Zeros | None] = {**given}

    def of(self, key: int, depth: int = _DEEPEST) -> Zeros | None:
        """The zeros of a value; None if none is known."""
        if key not in self._found:
            n = self._graph.node(key)
            found = _RULES[n.op](self, n, depth - 1) if n.op in _RULES and depth and _is_small(n) else None
            self._found[key] = found if found is not None and found.zero.any() else None
        return self._found[key]

    def node(self, key: int) -> Node:
        return self._graph.node(key)

    def origins(self, key: int) -> Zeros:
        """Each element of a value as a root, without what only moves or repeats it."""
        n = self.node(key)
        if n.op in _MOVES and _is_small(n):
            return self.origins(n.args[0]).moved(_MOVES[n.op](n, self.node(n.args[0])))
        shape = static_shape(n.type.shape)
        return Zeros(np.zeros(shape, bool), np.arange(math.prod(shape)).reshape(shape), (id(self._graph), key))


def _is_small(n: Node) -> bool:
    sizes = getattr(n.type, "shape", None)
    return sizes is not None and all(isinstance(d, int) for d in sizes) and math.prod(sizes) <= _LARGEST


def _constant(known: Known, n: Node, depth: int) -> Zeros:
    zero = np.asarray(n.params["value"]) == 0
    return Zeros(zero, np.full(zero.shape, -1))


def _moved(known: Known, n: Node, depth: int) -> Zeros | None:
    found = known.of(n.args[0], depth)
    return None if found is None else found.moved(_MOVES[n.op](n, known.node(n.args[0])))


def _sum(known: Known, n: Node, depth: int) -> Zeros | None:
    """Of zeros; a sum with what is not finite is not finite."""
    a, b = (known.of(k, depth) for k in n.args)
    if a is None or b is None:
        return None
    return _joined(a, b, a.zero & b.zero, a.root < 0)


def _joined(a: Zeros, b: Zeros, zero: np.ndarray, second: np.ndarray) -> Zeros:
    """`zero`, with the roots of `b` in `second` places and those of `a` elsewhere, as far as they are of one value."""
    root = np.where(second, b.root, a.root)
    if a.source is None or b.source is None or a.source == b.source:
        both = (a.root >= 0) & (b.root >= 0) & (a.root != b.root)  # zeros of two roots, of which one is remembered
        return Zeros(zero & ~both, root, a.source if b.source is None else b.source)
    return Zeros(zero & (b.root < 0), np.where(second, -1, root), a.source)


def _product(known: Known, n: Node, depth: int) -> Zeros | None:
    """0 times something is 0 if that is finite; and a product with what is not finite is not finite."""
    for own, other in (n.args, n.args[::-1]):
        zeros, beside = known.of(own, depth), known.of(other, depth)
        if zeros is None or zeros.source is not None or not _is_small(known.node(other)):
            continue
        root = known.origins(other)
        if root.zero.shape != zeros.zero.shape:
            continue
        certain = zeros.zero & beside.certain if beside is not None else False
        return Zeros(zeros.zero, np.where(certain, -1, root.root), root.source)
    return None


def _negative(known: Known, n: Node, depth: int) -> Zeros | None:
    return known.of(n.args[0], depth)


def _choice(known: Known, n: Node, depth: int) -> Zeros | None:
    """By a constant condition."""
    condition = known.of(n.args[0], depth)
    if condition is None or condition.source is not None or not _is_constant(known, n.args[0]):
        return None
    shape = static_shape(n.type.shape)
    unknown = Zeros(np.zeros(shape, bool), np.full(shape, -1))
    yes, no = (known.of(k, depth) or unknown for k in n.args[1:])
    if yes.zero.shape != shape or no.zero.shape != shape or condition.zero.shape != shape:
        return None
    one_source = yes.source is None or no.source is None or yes.source == no.source
    if not one_source:
        no = Zeros(no.certain, np.full(shape, -1))
    false = condition.zero
    return Zeros(np.where(false, no.zero, yes.zero), np.where(false, no.root, yes.root), yes.source or no.source)


def _factor(known: Known, n: Node, depth: int) -> Zeros:
    """Lower triangles; or all of one is NaN, which stands as a root that is not finite."""
    shape = static_shape(n.type.shape)
    stack = np.arange(math.prod(shape[:-2])).reshape(*shape[:-2], 1, 1)
    above = np.tri(shape[-1]) == 0
    return Zeros(np.broadcast_to(above, shape), np.broadcast_to(stack, shape), (id(known), n.key))


def _is_constant(known: Known, key: int) -> bool:
    n = known.node(key)
    while n.op in _MOVES:
        n = known.node(n.args[0])
    return n.op == "constant"


def _assembled(known: Known, n: Node, depth: int) -> Zeros:
    """Of parts, where later ones cover earlier ones."""
    shape = static_shape(n.type.shape)
    zero, root, source = np.zeros(math.prod(shape), bool), np.full(math.prod(shape), -1), None
    for key, a in zip(n.params["keys"], n.args, strict=True):
        places, part = positions(key, shape), known.of(a, depth)
        zero[places] = part.zero if part is not None else False
        root[places] = -1
        if part is not None and part.source is not None:
            if source is None or source == part.source:
                root[places], source = part.root, part.source
            else:
                zero[places] = part.certain
    return Zeros(zero.reshape(shape), root.reshape(shape), source)


_MOVES: Mapping[str, Callable[[Node, Node], Callable[[np.ndarray], np.ndarray]]] = {
    "broadcast_to": lambda n, x: lambda places: np.broadcast_to(places, static_shape(n.type.shape)),
    "reshape": lambda n, x: lambda places: places.reshape(n.type.shape),
    "expand_dims": lambda n, x: lambda places: places.reshape(n.type.shape),
    "squeeze": lambda n, x: lambda places: places.reshape(n.type.shape),
    "transpose": lambda n, x: lambda places: np.transpose(places, n.params["axes"]),
    "index": lambda n, x: lambda places: places.reshape(-1)[positions(n.params["key"], x.type.shape)],
}

_RULES: Mapping[str, Callable[[Known, Node, int], Zeros | None]] = {
    "constant": _constant,
    "add": _sum,
    "sub": _sum,
    "neg": _negative,
    "mul": _product,
    "where": _choice,
    "assemble": _assembled,
    "cholesky": _factor,
    "lapack_cholesky": _factor,
    **dict.fromkeys(_MOVES, _moved),
}
