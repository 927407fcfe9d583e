"""Shapes, named dimensions and dtypes: what a value in the graph is, before anything is computed.

In: shapes as users write them (`()`, `(3, 4)`, `("n", 64)`). Out: `Type` records and the broadcast of several shapes.
Guarantee: everything here is immutable and hashable, and a shape that does not fit is a `ShapeError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .dims import Dim, Extent
from .errors import DTypeError, ShapeError

__all__ = [
    "BOOL",
    "BUNDLE",
    "DTYPES",
    "FLOAT32",
    "FLOAT64",
    "INT32",
    "INT64",
    "Bundle",
    "DType",
    "Dim",
    "Extent",
    "Shape",
    "Type",
    "as_dtype",
    "broadcast_shapes",
    "format_shape",
    "normalize_axes",
    "normalize_shape",
    "promote",
    "refuse_narrow",
    "same_shape",
    "static_shape",
]


class DType(str):
    """An element type: a string, its NumPy name, which also knows its kind, its width and its short form.

    >>> FLOAT32, FLOAT32 == "float32", FLOAT32.kind
    (gradsmith.float32, True, 'float')
    """

    __slots__ = ("bits", "kind", "short")

    kind: Literal["bool", "int", "float", "bundle"]
    bits: int
    short: str  # in the text of a graph

    def __new__(cls, name: str, kind: Literal["bool", "int", "float", "bundle"], bits: int, short: str) -> DType:
        dtype = super().__new__(cls, name)
        dtype.kind, dtype.bits, dtype.short = kind, bits, short
        return dtype

    @property
    def name(self) -> str:
        return str.__str__(self)

    def __repr__(self) -> str:
        return f"gradsmith.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return DType, (self.name, self.kind, self.bits, self.short)


BOOL = DType("bool", "bool", 8, "bool")
INT32 = DType("int32", "int", 32, "i32")
INT64 = DType("int64", "int", 64, "i64")
FLOAT32 = DType("float32", "float", 32, "f32")
FLOAT64 = DType("float64", "float", 64, "f64")
BUNDLE = DType("bundle", "bundle", 0, "bundle")  # of what has several results: no number, so not among `DTYPES`
DTYPES: Mapping[str, DType] = {d.name: d for d in (BOOL, INT32, INT64, FLOAT32, FLOAT64)}
_PYTHON: Mapping[type, DType] = {bool: BOOL, int: INT64, float: FLOAT64}
_NARROW = ("float16", "bfloat16", "half")


def as_dtype(value: Any) -> DType:
    """The element type meant by `value`: its name, a `DType`, a Python type, or NumPy's or torch's dtype object.

    >>> as_dtype("float32"), as_dtype(int)
    (gradsmith.float32, gradsmith.int64)
    """
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value]
    name = value if isinstance(value, str) else getattr(value, "name", None) or getattr(value, "__name__", str(value))
    name = str(name).removeprefix("torch.")
    if name in DTYPES:
        return DTYPES[name]
    refuse_narrow(name)
    raise DTypeError(f"dtype {name!r} is not supported: choose from {', '.join(DTYPES)}")


def refuse_narrow(dtype: Any) -> None:
    """A `DTypeError` for the floating-point types of 16 bits: NumPy's, torch's, or their names."""
    name = str(dtype).removeprefix("torch.")
    if name in _NARROW:
        raise DTypeError(
            f"dtype {name!r} is not supported: C99 and Python have no 16-bit arithmetic: compute in float32, and "
            "convert such data to float32 before the call"
        )


def promote(*dtypes: DType) -> DType:
    """The dtype that holds a result of operands of these dtypes, by the array API's table.

    Where that leaves it open (an integer or a boolean with a float), the float's own dtype.

    >>> promote(INT32, INT64), promote(FLOAT32, FLOAT64), promote(INT64, FLOAT32)
    (gradsmith.int64, gradsmith.float64, gradsmith.float32)
    """
    order = ("bool", "int", "float")
    return max(dtypes, key=lambda d: (order.index(d.kind), d.bits))


Shape = tuple[Extent, ...]


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
    def size(self) -> Any:
        """The number of elements: an int, or a `Dim` where there are named dimensions."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return self.dtype.short + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")


@dataclass(frozen=True)
class Bundle(Type):
    """The type of a node with several results, which `part` nodes read one by one.

    >>> str(Bundle(types=(Type(()), Type((3,)))))
    '(f64, f64[3])'
    """

    shape: Shape = ()
    dtype: DType = BUNDLE
    types: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.types))})"


def same_shape(*types: Type) -> Type:
    """The type of an element-wise result: that of the last operand, where all have one shape."""
    shape = types[0].shape
    for t in types:
        if t.shape != shape:
            raise ShapeError("operands have shapes " + ", ".join(format_shape(t.shape) for t in types))
    return types[-1]


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


def static_shape(shape: Shape, op: str = "") -> tuple[int, ...]:
    """The shape as ints; a named dimension is a `ShapeError` that says which function asks, and how to fix it."""
    sizes, where = [], f"{op}: " if op else ""
    for dim in shape:
        if isinstance(dim, Dim):
            raise ShapeError(
                f"{where}shape {format_shape(shape)} has the named dimension {dim.name!r}, whose size is needed here: "
                f"give an int instead of {' and '.join(map(repr, dim.names))} in args="
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
    (3, Dim('n'))
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
