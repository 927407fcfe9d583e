"""Index arithmetic: subscripts of loops as small symbolic integers.

In: loop variables and ints, combined with `+ - *` by the op records. Out: `Affine` subscripts that the loop lowering
prints. Guarantee: only `const + sum(coefficient * variable)` and table look-ups exist, so every subscript can be
flattened into one offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .dims import Dim, Extent

__all__ = ["Affine", "Index", "Lookup", "flatten", "lookup", "variable"]


@dataclass(frozen=True)
class Lookup:
    """An entry of a constant integer table, itself subscripted by affine indices."""

    table: tuple[int, ...]
    shape: tuple[int, ...]
    index: tuple[Affine, ...]


@dataclass(frozen=True)
class Affine:
    """`const + sum(coefficient * term)`, where a term is a loop variable's name or a `Lookup`.

    >>> i, j = variable("i"), variable("j")
    >>> 3 * i + j + 2
    Affine(const=2, terms=(('i', 3), ('j', 1)))
    """

    const: Extent = 0
    terms: tuple[tuple[str | Lookup, Extent], ...] = ()

    def __add__(self, other: Affine | Extent) -> Affine:
        other = _affine(other)
        sums = dict(self.terms)
        for term, coefficient in other.terms:
            sums[term] = sums.get(term, 0) + coefficient
        return Affine(self.const + other.const, tuple((t, c) for t, c in sums.items() if c != 0))

    __radd__ = __add__

    def __mul__(self, factor: Extent) -> Affine:
        return Affine(self.const * factor, tuple((t, c * factor) for t, c in self.terms if factor != 0))

    __rmul__ = __mul__


Index = tuple[Affine, ...]


def _affine(value: Affine | Extent) -> Affine:
    return value if isinstance(value, Affine) else Affine(value if isinstance(value, Dim) else int(value))


def variable(name: str) -> Affine:
    """The loop variable `name` as a subscript."""
    return Affine(0, ((name, 1),))


def lookup(table: np.ndarray, index: Sequence[Affine]) -> Affine:
    """`table[index]` as a subscript; a look-up at a constant place is that constant."""
    if all(not i.terms for i in index):
        return Affine(int(table[tuple(i.const for i in index)]))
    return Affine(0, ((Lookup(tuple(int(v) for v in table.ravel()), table.shape, tuple(index)), 1),))


def flatten(index: Sequence[Affine], shape: Sequence[Extent]) -> Affine:
    """The row-major offset of `index` in an array of `shape`.

    >>> flatten((variable("i"), variable("j")), (3, 4))
    Affine(const=0, terms=(('i', 4), ('j', 1)))
    """
    offset = Affine()
    stride: Extent = 1
    for i, size in zip(reversed(index), reversed(shape), strict=True):
        offset, stride = (i * stride + offset) if size != 1 else offset, stride * size
    return offset
