"""Partial sums: sums of which a loop has several side by side, as many as 64 bytes hold, that are added up by halves.

In: a loop over one axis that does nothing with its sums but add, and what it adds. Out: whether it has partial sums,
and their lines. The innermost loop goes over as many elements as there are partial sums, and each adds its own one: a
compiler sees no sum that it would have to reorder, and keeps them in vectors. Compilers that do OpenMP's `simd` well
have one partial sum, and that; gcc 12 adds the numbers of its vector one by one, each of which waits for the one
before. Guarantee: sums in some order; strict code has none of these, and neither have loops that threads share.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

from ..cost import count_of
from ..graph import Node
from ..program import Line
from ..registry import NEAR, Reduction, lookup
from ..target import Target
from ..types import Shape
from .elements import Elements
from .nests import Nest, Nests, lines_of

__all__ = ["Partial", "partial_of", "running"]

_BYTES = 64  # of the partial sums of one sum: vectors of any width fill them
#: What compilers have vectors for, besides what we have kernels for.
_PLAIN = {"add", "sub", "mul", "neg", "abs", "div", "sqrt"}


class Partial:
    """What the sums of one loop are in place of running values: arrays of `count` numbers, a word of the target."""

    def __init__(self, elements: Elements, n: Node) -> None:
        self._syntax, self._elements, self._type = elements.target.syntax, elements, elements.type(n)
        self._zero = elements.printer.number(0, n.type.dtype).text
        self.count, self._total = (self._syntax[f"{key}.{n.type.dtype.name}"] for key in ("partial", "partial_total"))

    def begun(self, strands: int, lines: list[Line], depth: int) -> list[str]:
        """The names of the partial sums of each strand."""
        names = [self._elements.names.fresh(None, "acc_") for _ in range(strands)]
        for name in names:
            text = self._syntax["partial_sums"].format(type=self._type, name=name, count=self.count, value=self._zero)
            lines += lines_of(text, depth)
        return names

    def marked(self, loop: list[Line], names: Sequence[str]) -> list[Line]:
        """The loop, behind what compilers that have one partial sum may do with it."""
        clauses = self._syntax["reduction"].format(operator="+", names=", ".join(f"{n}[:{self.count}]" for n in names))
        depth = loop[0].depth
        return [
            *(Line(depth, text.text) for text in lines_of(self._syntax["simd_one"].format(clauses=clauses), depth)),
            *loop,
        ]

    def ended(self, total: str, names: Sequence[str], variable: str, lines: list[Line], depth: int) -> None:
        """The statements that add up the partial sums of all strands, side by side, then those of the first."""
        while len(names) > 1:
            half = (len(names) + 1) // 2
            lines.append(Line(depth, self._syntax["side_by_side"]))
            lines.append(Line(depth, self._syntax["for"].format(name=variable, size=self.count)))
            for one, other in zip(names, names[half:], strict=False):
                text = self._syntax["add_to"].format(name=f"{one}[{variable}]", value=f"{other}[{variable}]")
                lines += lines_of(text, depth + 1)
            lines.append(Line(depth, self._syntax["end"]))
            names = names[:half]
        value = self._total.format(names[0])
        lines += lines_of(self._syntax["assign"].format(type=self._type, name=total, value=value), depth)


def running(names: Sequence[str], nest: Nest, nests: Nests, partial: Partial | None) -> Sequence[str]:
    """What an element is added to inside the loop `nest`, of sums of these names."""
    if partial is None:
        return names
    place = f"{nests.variable(nest.depth - 1)} - {nests.variable(nest.depth - 2)}"
    return [f"{name}[{place}]" for name in names]


def partial_of(
    elements: Elements, target: Target, totals: Sequence[Node], nodes: Collection[Node], shape: Shape, strands: int
) -> Partial | None:
    """The partial sums of a loop over `shape` that computes `nodes`, of which `totals` add up; or None.

    `shape` is that of one strand. Sums of other types, or of what has no vectors, have running values.
    """
    long = [size for size in shape if size != 1]
    kinds = {n.type.dtype for n in totals}
    if "simd_one" not in target.syntax or target.strict or len(long) != 1 or len(kinds) != 1:
        return None
    (size,), (kind,) = long, kinds
    if not isinstance(size, int) or kind.kind != "float" or size * kind.bits // 8 % _BYTES:
        return None
    if size * strands * kind.bits // 8 < target.tuning.partial_bytes:
        return None
    if not all(_adds(n) for n in totals) or not all(_has_vectors(elements, target, n) for n in nodes):
        return None
    return Partial(elements, totals[0])


def _adds(n: Node) -> bool:
    structure = lookup(n.op).structure
    return not isinstance(structure, Reduction) or structure.combine == "add"


def _has_vectors(elements: Elements, target: Target, n: Node) -> bool:
    """Whether compilers make vectors of what a loop computes for `n`, without asking whether an argument is far."""
    own = [n] if lookup(n.op).kind in ("elementwise", "layout") else []
    for m in chain(own, elements.computed(n.args)):
        op = lookup(m.op)
        if op.kind == "elementwise":
            vector = target.vector(op, m.type.dtype)
            plain = m.type.dtype.kind == "float" and {*count_of(elements.graph, m)} <= _PLAIN
            if not plain and (not vector or vector.endswith(NEAR)):
                return False
        elif not elements.is_moved(m):
            return False
    return True
