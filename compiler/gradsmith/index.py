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
    """`table[index]` as a subscript, without a table where it is `const + sum(step * index)`.

    Axes along which the table does not change are left out, so that a broadcast of tables costs no memory.

    >>> i, j = variable("i"), variable("j")
    >>> lookup(np.array([[5, 7], [5, 7], [5, 7]]), (i, j))
    Affine(const=5, terms=(('j', 2),))
    >>> [(term.table, term.shape) for term, _ in lookup(np.array([[1, 0, 2], [1, 0, 2]]), (i, j)).terms]
    [((1, 0, 2), (3,))]
    """
    if all(not i.terms for i in index):
        return Affine(int(table[tuple(i.const for i in index)]))
    for axis in reversed(range(table.ndim)):
        if table.ndim > 1 and table.shape[axis] and (table == table.take([0], axis)).all():
            table, index = table.take(0, axis), (*index[:axis], *index[axis + 1 :])
    if table.size:
        first = int(table.ravel()[0])
        steps = [int(table.take(1, k).ravel()[0]) - first if n > 1 else 0 for k, n in enumerate(table.shape)]
        if (table == first + sum(s * k for s, k in zip(steps, np.indices(table.shape), strict=True))).all():
            return sum((i * s for s, i in zip(steps, index, strict=True)), Affine(first))
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
