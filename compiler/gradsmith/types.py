"""Shapes, named dimensions and dtypes: what a value in the graph is, before anything is computed.

In: shapes as users write them (`()`, `(3, 4)`, `("n", 64)`). Out: `Type` records and the broadcast of several shapes.
Guarantee: everything here is immutable and hashable, and a shape that does not fit is a `ShapeError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import ShapeError

__all__ = [
    "BOOL",
    "FLOAT64",
    "DType",
    "Dim",
    "Shape",
    "Type",
    "broadcast_shapes",
    "format_shape",
    "normalize_axes",
    "normalize_shape",
    "static_shape",
]


@dataclass(frozen=True)
class DType:
    """An element type: its NumPy name, its kind, and the short form used in the text of a graph."""

    name: str
    kind: Literal["float", "bool"]
    short: str


FLOAT64 = DType("float64", "float", "f64")
BOOL = DType("bool", "bool", "bool")


@dataclass(frozen=True)
class Dim:
    """A dimension known by name only, such as a batch size.

    >>> Dim("n")
    Dim(name='n')
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise ShapeError(f"a named dimension must be an identifier, not {self.name!r}", place="")

    def __str__(self) -> str:
        return self.name


Shape = tuple["int | Dim", ...]


@dataclass(frozen=True)
class Type:
    """Shape and dtype of one value.

    >>> str(Type((3, Dim("n"))))
    'f64[3, n]'
    """

    shape: Shape
    dtype: DType = FLOAT64

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements; a named dimension has none yet and is a `ShapeError`."""
        return math.prod(static_shape(self.shape))

    def __str__(self) -> str:
        return self.dtype.short + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")


def normalize_shape(shape: object) -> Shape:
    """A shape as users write it (an int, or a sequence of ints, strings and `Dim`s) as a tuple of ints and `Dim`s."""
    items = (shape,) if isinstance(shape, int | str | Dim) else shape
    if not isinstance(items, Sequence):
        raise ShapeError(f"a shape is a tuple of ints and dimension names, not {shape!r}")
    return tuple(_normalize_dim(item, shape) for item in items)


def _normalize_dim(item: object, shape: object) -> int | Dim:
    if isinstance(item, Dim):
        return item
    if isinstance(item, str):
        return Dim(item)
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise ShapeError(f"a dimension is an int or a name, not {item!r} (in shape {shape!r})")
    size = int(item.__index__())
    if size < 0:
        raise ShapeError(f"a dimension cannot be negative: {shape!r}")
    return size


def static_shape(shape: Shape) -> tuple[int, ...]:
    """The shape as ints; a named dimension is a `ShapeError` that says how to fix it."""
    sizes = []
    for dim in shape:
        if isinstance(dim, Dim):
            raise ShapeError(
                f"shape {format_shape(shape)} has the named dimension {dim.name!r}, whose size is needed here: "
                f"give an int instead of {dim.name!r} in args="
            )
        sizes.append(dim)
    return tuple(sizes)


def format_shape(shape: Shape) -> str:
    """A shape as Python writes it.

    >>> format_shape((3,)), format_shape((Dim("n"), 4))
    ('(3,)', '(n, 4)')
    """
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape NumPy's broadcasting gives; a named dimension fits itself and 1.

    >>> broadcast_shapes((3, 1), (Dim("n"),))
    (3, Dim(name='n'))
    """
    ndim = max((len(s) for s in shapes), default=0)
    result: list[int | Dim] = []
    for axis in range(-ndim, 0):
        dims = [s[axis] for s in shapes if len(s) >= -axis]
        wide = [d for d in dims if d != 1]
        if any(d != wide[0] for d in wide):
            raise ShapeError(
                "shapes "
                + " and ".join(map(format_shape, shapes))
                + " do not broadcast: counted from the last, sizes must be equal or 1"
            )
        result.append(wide[0] if wide else 1)
    return tuple(result)


def normalize_axes(axis: int | Sequence[int] | None, ndim: int, op: str) -> tuple[int, ...]:
    """`axis=` as sorted, non-negative, distinct axes; `None` means all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, Sequence) and not isinstance(axis, str) else (axis,)
    for a in axes:
        if isinstance(a, bool) or not isinstance(a, int) or not -ndim <= a < ndim:
            raise ShapeError(f"{op}: axis {a!r} does not exist in {ndim} dimensions")
    wrapped = sorted(a % ndim for a in axes)
    if len(set(wrapped)) != len(wrapped):
        raise ShapeError(f"{op}: axis {axis!r} names one axis twice")
    return tuple(wrapped)
