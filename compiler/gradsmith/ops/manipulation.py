"""Manipulation: elements repeated, moved, chosen and padded, as compositions of layouts, indexing and joining.

Parameters that the array API has keyword-only may also stand in NumPy's order, so that NumPy's code traces unchanged.
All counts, shifts, axes and indices are static; only elements are traced.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..trace import Expr, as_expr
from ..types import broadcast_shapes, format_shape, normalize_axes, static_shape
from . import gathering
from .arithmetic import subtract
from .creation import asarray
from .indexing import getitem, scatter
from .joining import concatenate
from .layout import broadcast_to, expand_dims, permute_dims, ravel, reshape, squeeze
from .lazy import gs
from .selection import where

__all__ = [
    "broadcast_arrays", "diag", "diagonal", "diff", "flip", "meshgrid", "moveaxis", "pad", "repeat", "roll", "swapaxes",
    "take", "take_along_axis", "tile", "tril", "triu", "unstack",
]  # fmt: skip

#: Static integers: one, nested sequences of them, or an array.
Indices = int | Sequence[Any] | np.ndarray | Expr


def _int(value: Any, op: str, what: str) -> int:
    """A static int given as a parameter."""
    if isinstance(value, Expr | bool) or not hasattr(value, "__index__"):
        raise ShapeError(f"{op}: {what} must be an int known while tracing, not {value!r}")
    return operator.index(value)


def _axis(axis: Any, x: Expr, op: str) -> int:
    """One axis, not negative."""
    return normalize_axes(_int(axis, op, "axis"), x.ndim, op)[0]


def _at(axis: int, key: Any) -> tuple[Any, ...]:
    """The subscript that is `key` along `axis` and whole elsewhere."""
    return (*[slice(None)] * axis, key)


def _static(indices: Any, op: str) -> np.ndarray:
    """An array of indices, in the smallest integer type that holds all; traced ones are refused."""
    if isinstance(indices, Expr):
        raise ShapeError(f"{op}: indices must be static integers, not {indices!r}; use gs.where to choose by value")
    array = np.asarray(indices)
    array = array if array.size else array.astype(np.int64)  # an empty list says nothing of its type
    if array.dtype.kind not in "iu":
        raise ShapeError(f"{op}: indices must be integers, not {array.dtype}")
    return array


# --- whole arrays -----------------------------------------------------------------------------------------------------


def broadcast_arrays(*arrays: Any) -> list[Expr]:
    """All `arrays` broadcast to the shape that they have together.

    Errors: `ShapeError` where they do not broadcast.

    >>> import gradsmith as gs
    >>> [a.shape for a in gs.broadcast_arrays(gs.symbol("x", (3, 1)), gs.symbol("y", (4,)))]
    [(3, 4), (3, 4)]
    """
    xs = [as_expr(a) for a in arrays]
    shape = broadcast_shapes(*(x.shape for x in xs))
    return [x if x.shape == shape else broadcast_to(x, shape) for x in xs]


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Expr]:
    """The coordinates of all points of a grid, from the coordinates along each axis.

    Parameters
    ----------
    arrays: N arrays with one axis.
    indexing: "ij": axis k of the results belongs to array k; "xy": the first two axes are swapped, as in a picture.

    Errors: `ShapeError` for arrays of other ranks and another `indexing`.

    >>> import gradsmith as gs
    >>> x, y = gs.symbol("x", 3), gs.symbol("y", 2)
    >>> [g.shape for g in gs.meshgrid(x, y)], [g.shape for g in gs.meshgrid(x, y, indexing="ij")]
    ([(2, 3), (2, 3)], [(3, 2), (3, 2)])
    """
    xs = [as_expr(a) for a in arrays]
    if indexing not in ("xy", "ij"):
        raise ShapeError(f'meshgrid: indexing={indexing!r} is unknown: use "xy" or "ij"')
    if any(x.ndim != 1 for x in xs):
        shapes = ", ".join(format_shape(x.shape) for x in xs)
        raise ShapeError(f"meshgrid: each array has one axis, not shapes {shapes}")
    order = [*range(len(xs))]
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    shape = tuple(xs[k].shape[0] for k in order)
    return [
        broadcast_to(reshape(x, tuple(d if j == k else 1 for j, d in zip(order, shape, strict=True))), shape)
        for k, x in enumerate(xs)
    ]


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Expr, ...]:
    """The parts of `x` along `axis`, without it: the inverse of `stack`.

    >>> import gradsmith as gs
    >>> [part.shape for part in gs.unstack(gs.symbol("x", (2, 3)), axis=1)]
    [(2,), (2,), (2,)]
    """
    x = as_expr(x)
    if not x.ndim:
        raise ShapeError("unstack: a scalar has no axis to take apart")
    k = _axis(axis, x, "unstack")
    return tuple(getitem(x, _at(k, i)) for i in range(static_shape(x.shape[k : k + 1], "unstack")[0]))


# --- axes -------------------------------------------------------------------------------------------------------------


def moveaxis(x: Any, /, source: int | Sequence[int], destination: int | Sequence[int]) -> Expr:
    """`x` with the axes `source` at the places `destination`; the others keep their order.

    Errors: `ShapeError` for axes that do not exist or are named twice, and for lists of different lengths.

    >>> import gradsmith as gs
    >>> gs.moveaxis(gs.symbol("x", (2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_expr(x)
    lists = [tuple(a) if isinstance(a, Sequence) else (a,) for a in (source, destination)]
    sources, places = ([_axis(a, x, "moveaxis") for a in axes] for axes in lists)
    for axes in lists:
        normalize_axes(axes, x.ndim, "moveaxis")  # refuses what is named twice
    if len(sources) != len(places):
        raise ShapeError(f"moveaxis: {len(sources)} source axes {source!r} go to {len(places)} places {destination!r}")
    order = [k for k in range(x.ndim) if k not in sources]
    for place, k in sorted(zip(places, sources, strict=True)):
        order.insert(place, k)
    return permute_dims(x, order)


def swapaxes(x: Any, /, axis1: int, axis2: int) -> Expr:
    """`x` with two axes exchanged.

    >>> import gradsmith as gs
    >>> gs.swapaxes(gs.symbol("x", (2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    x = as_expr(x)
    i, j = _axis(axis1, x, "swapaxes"), _axis(axis2, x, "swapaxes")
    order = [*range(x.ndim)]
    order[i], order[j] = j, i
    return permute_dims(x, order)


# --- order and copies -------------------------------------------------------------------------------------------------


def flip(x: Any, /, axis: int | Sequence[int] | None = None) -> Expr:
    """`x` with the order of its elements reversed along `axis` (an int, several, or None for all).

    >>> import gradsmith as gs
    >>> gs.compile(gs.flip(gs.symbol("x", 3)))([1.0, 2.0, 3.0])
    [3.0, 2.0, 1.0]
    """
    x = as_expr(x)
    axes = normalize_axes(axis, x.ndim, "flip")
    return getitem(x, tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(x.ndim)))


def roll(x: Any, /, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Expr:
    """`x` with its elements moved on by `shift` places along `axis`; what leaves at the end comes in at the start.

    Parameters
    ----------
    shift: an int, or one for each axis of `axis`.
    axis: an int or several (an int `shift` serves all); None rolls the elements in row-major order.

    >>> import gradsmith as gs
    >>> gs.compile(gs.roll(gs.symbol("x", 4), 1))([1.0, 2.0, 3.0, 4.0])
    [4.0, 1.0, 2.0, 3.0]
    """
    x = as_expr(x)
    if axis is None:
        return reshape(roll(ravel(x), _int(shift, "roll", "shift"), 0), x.shape)
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    shifts = tuple(shift) if isinstance(shift, Sequence) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts {shift!r} for {len(axes)} axes {axis!r}")
    result: Expr = x
    for k, count in zip(axes, shifts, strict=True):
        result = _rolled(result, _axis(k, x, "roll"), _int(count, "roll", "shift"))
    return result


def _rolled(x: Expr, axis: int, shift: int) -> Expr:
    size = x.shape[axis]
    if isinstance(size, Dim) and abs(shift) > 1:
        return take(x, (gs.arange(size) - shift) % size, axis=axis)
    start = -shift if isinstance(size, Dim) else -shift % size if size else 0
    if start == 0:
        return x
    return concatenate([getitem(x, _at(axis, slice(start, None))), getitem(x, _at(axis, slice(0, start)))], axis)


def repeat(x: Any, /, repeats: Indices, axis: int | None = None) -> Expr:
    """`x` with each element repeated, along `axis`.

    Parameters
    ----------
    repeats: how often, an int; or one static int for each place along `axis`.
    axis: an int; None repeats the elements in row-major order.

    Errors: `ShapeError` for negative or traced `repeats`, or a wrong number of them.

    >>> import gradsmith as gs
    >>> gs.compile(gs.repeat(gs.symbol("x", 2), [1, 3]))([1.0, 2.0])
    [1.0, 2.0, 2.0, 2.0]
    """
    x = as_expr(x)
    if axis is None:
        x, axis = ravel(x), 0
    k = _axis(axis, x, "repeat")
    shape = x.shape
    counts = _static(repeats, "repeat")
    if counts.size != 1:
        static_shape(shape[k : k + 1], "repeat with several counts")
    if counts.ndim > 1 or counts.size not in (1, shape[k]) or (counts < 0).any():
        raise ShapeError(f"repeat: repeats is one count, or {shape[k]} of them for axis {k}, not {counts.tolist()}")
    if counts.size != 1:
        return getitem(x, _at(k, np.repeat(np.arange(shape[k]), counts)))
    count = int(counts.reshape(()))
    copies = broadcast_to(expand_dims(x, k + 1), (*shape[: k + 1], count, *shape[k + 1 :]))
    return reshape(copies, (*shape[:k], shape[k] * count, *shape[k + 1 :]))


def tile(x: Any, /, repetitions: int | Sequence[int]) -> Expr:
    """Copies of all of `x` side by side: `repetitions` of them along each axis, the last axes first.

    >>> import gradsmith as gs
    >>> gs.tile(gs.symbol("x", (2, 3)), (4, 1, 2)).shape
    (4, 2, 6)
    """
    x = as_expr(x)
    counts = [_int(r, "tile", "repetitions") for r in ([repetitions] if isinstance(repetitions, int) else repetitions)]
    if any(r < 0 for r in counts):
        raise ShapeError(f"tile: repetitions cannot be negative: {repetitions!r}")
    ndim = max(x.ndim, len(counts))
    counts = [1] * (ndim - len(counts)) + counts
    shape = (1,) * (ndim - x.ndim) + x.shape
    if all(r == 1 for r in counts):
        return reshape(x, shape) if shape != x.shape else x
    pairs = list(zip(counts, shape, strict=True))
    copies = broadcast_to(reshape(x, tuple(n for d in shape for n in (1, d))), tuple(itertools.chain(*pairs)))
    return reshape(copies, tuple(r * d for r, d in pairs))


def pad(
    x: Any,
    /,
    pad_width: int | Sequence[int] | Sequence[Sequence[int]],
    mode: str = "constant",
    *,
    constant_values: Any = 0.0,
) -> Expr:
    """`x` with a border of constant elements.

    Parameters
    ----------
    pad_width: an int, a pair (before, after) for all axes, or one pair for each axis.
    mode: "constant" is the only one.
    constant_values: a number or a traced scalar.

    >>> import gradsmith as gs
    >>> gs.compile(gs.pad(gs.symbol("x", 2), (1, 2), constant_values=9.0))([1.0, 2.0])
    [9.0, 1.0, 2.0, 9.0, 9.0]
    """
    result, value = as_expr(x), constant_values
    if mode != "constant":
        raise ShapeError(f'pad: mode={mode!r} is not offered; "constant" is')
    if not isinstance(value, Expr):
        value = asarray(value, dtype=result.type.dtype)
    if value.ndim:
        raise ShapeError(f"pad: constant_values must be a scalar, not of shape {format_shape(value.shape)}")
    try:
        widths = np.broadcast_to(_static(pad_width, "pad"), (result.ndim, 2))
    except ValueError:
        raise ShapeError(
            f"pad: pad_width={pad_width!r} is neither an int, nor a pair, nor {result.ndim} pairs (before, after)"
        ) from None
    if (widths < 0).any():
        raise ShapeError(f"pad: pad_width cannot be negative: {pad_width!r}")
    for axis, (before, after) in enumerate(widths.tolist()):
        shape = result.shape
        parts = [broadcast_to(value, (*shape[:axis], n, *shape[axis + 1 :])) for n in (before, after)]
        if before or after:
            result = concatenate([*parts[:1] * (before > 0), result, *parts[1:] * (after > 0)], axis)
    return result


# --- elements at static places ------------------------------------------------------------------------------------


def take(x: Any, /, indices: Indices, axis: int | None = None) -> Expr:
    """The parts of `x` at integer `indices` along `axis`; None takes from all elements in row-major order.

    Negative indices count from the end. Traced ones are read at run time: Python and NumPy code raises IndexError where
    they go beyond the axis, and C code does not look.

    Errors: `ShapeError` for indices that are no integers, or known and out of bounds.

    >>> import gradsmith as gs
    >>> gs.compile(gs.take(gs.symbol("x", 3), [2, 0, 2]))([1.0, 2.0, 3.0])
    [3.0, 1.0, 3.0]
    """
    x = as_expr(x)
    if axis is None:
        x, axis = ravel(x), 0
    if isinstance(indices, Expr) and indices.op.name != "constant":
        return gathering.take(x, indices, _axis(axis, x, "take"))
    places = _static(indices, "take")
    return getitem(x, _at(_axis(axis, x, "take"), places if places.ndim else int(places)))


def take_along_axis(x: Any, /, indices: Indices, axis: int | None = -1) -> Expr:
    """For each place of integer `indices`, static or traced, the element of `x` there, with that index along `axis`.

    `indices` has the rank of `x`; the other axes broadcast. None takes from all elements in row-major order.

    >>> import gradsmith as gs
    >>> gs.compile(gs.take_along_axis(gs.symbol("x", (2, 2)), [[1], [0]]))([[1.0, 2.0], [3.0, 4.0]])
    [[2.0], [3.0]]
    """
    x = as_expr(x)
    if axis is None:
        x, axis = ravel(x), 0
    if isinstance(indices, Expr) and indices.op.name != "constant":
        return gathering.take_along_axis(x, indices, _axis(axis, x, "take_along_axis"))
    places = _static(indices, "take_along_axis")
    k = _axis(axis, x, "take_along_axis")
    if places.ndim != x.ndim:
        raise ShapeError(f"take_along_axis: indices have {places.ndim} axes and x has shape {format_shape(x.shape)}")
    shape = x.shape
    if any(isinstance(d, Dim) for d in shape):
        return gathering.take_along_axis(x, as_expr(places), k)
    others = broadcast_shapes((*shape[:k], 1, *shape[k + 1 :]), (*places.shape[:k], 1, *places.shape[k + 1 :]))
    grid = np.indices(static_shape((*others[:k], places.shape[k], *others[k + 1 :])))
    keys = [g if d != 1 else np.zeros_like(g) for g, d in zip(grid, shape, strict=True)]
    keys[k] = np.array(np.broadcast_to(places, grid.shape[1:]))
    return getitem(x, tuple(keys))


def diagonal(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Expr:
    """The elements of `x` whose indices along `axis2` and `axis1` differ by `offset`, along a new last axis.

    `gs.linalg.diagonal` takes the last two axes, as the array API's.

    >>> import gradsmith as gs
    >>> gs.diagonal(gs.symbol("x", (3, 4)), 1).shape
    (3,)
    """
    x = as_expr(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: needs at least two axes, not shape {format_shape(x.shape)}")
    i, j, k = _axis(axis1, x, "diagonal"), _axis(axis2, x, "diagonal"), _int(offset, "diagonal", "offset")
    if i == j:
        raise ShapeError(f"diagonal: axis1 and axis2 are one axis, {axis1!r}")
    x = moveaxis(x, (i, j), (-2, -1))
    if isinstance(x.shape[-1], Dim) and x.shape[-1] == x.shape[-2]:
        if k:  # the main one of a smaller square
            below, above = slice(max(0, -k), -k if k > 0 else None), slice(max(0, k), k if k < 0 else None)
            x = getitem(x, (..., below, above))
        along = reshape(gs.arange(x.shape[-1]), (*[1] * (x.ndim - 2), x.shape[-1], 1))
        return squeeze(gathering.take_along_axis(x, along, x.ndim - 1), -1)
    rows, columns = static_shape(x.shape[-2:], "diagonal")
    places = np.arange(max(0, -k), max(max(0, -k), min(rows, columns - k)))
    return getitem(x, (..., places, places + k))


def diag(x: Any, /, k: int = 0) -> Expr:
    """The `k`-th diagonal of a matrix; or, of a vector, the square matrix that has it as its `k`-th diagonal.

    >>> import gradsmith as gs
    >>> gs.compile(gs.diag(gs.symbol("x", 2)))([1.0, 2.0])
    [[1.0, 0.0], [0.0, 2.0]]
    """
    x = as_expr(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: takes a vector or a matrix, not shape {format_shape(x.shape)}")
    k = _int(k, "diag", "k")
    size = x.shape[0]
    if isinstance(size, Dim):
        square = where(gs.eye(size, dtype="bool"), x, False)
        before, after = max(0, -k), max(0, k)
        return pad(square, ((before, after), (after, before)), constant_values=0) if k else square
    rows = np.arange(size) + max(0, -k)
    columns = np.arange(size) + max(0, k)
    for places in (rows, columns):
        places.setflags(write=False)
    return scatter(x, shape=(size + abs(k),) * 2, keys=((rows, columns),))


def _triangle(x: Any, keep: np.ufunc, k: int, op: str) -> Expr:
    x = as_expr(x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: needs at least two axes, not shape {format_shape(x.shape)}")
    rows, columns = x.shape[-2:]
    if isinstance(rows, Dim) or isinstance(columns, Dim):
        apart = expand_dims(gs.arange(columns), 0) - expand_dims(gs.arange(rows), 1)
        return where((gs.less_equal if keep is np.less_equal else gs.greater_equal)(apart, _int(k, op, "k")), x, False)
    mask = keep(np.arange(columns) - np.arange(rows)[:, None], _int(k, op, "k"))
    return where(mask, x, False)  # a zero of any dtype


def tril(x: Any, /, k: int = 0) -> Expr:
    """The lower triangle of the last two axes, with the `k`-th diagonal; 0 above.

    >>> import gradsmith as gs
    >>> gs.compile(gs.tril(gs.symbol("x", (2, 2))))([[1.0, 2.0], [3.0, 4.0]])
    [[1.0, 0.0], [3.0, 4.0]]
    """
    return _triangle(x, np.less_equal, k, "tril")


def triu(x: Any, /, k: int = 0) -> Expr:
    """The upper triangle of the last two axes, with the `k`-th diagonal; 0 below.

    >>> import gradsmith as gs
    >>> gs.compile(gs.triu(gs.symbol("x", (2, 2))))([[1.0, 2.0], [3.0, 4.0]])
    [[1.0, 2.0], [0.0, 4.0]]
    """
    return _triangle(x, np.greater_equal, k, "triu")


def diff(x: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Expr:
    """Differences of neighbours along `axis`, taken `n` times.

    Parameters
    ----------
    n: how often; the result is `n` elements shorter along `axis`.
    prepend, append: arrays (scalars broadcast) that are put before and after `x` first.

    >>> import gradsmith as gs
    >>> gs.compile(gs.diff(gs.symbol("x", 3)))([1.0, 4.0, 9.0])
    [3.0, 5.0]
    """
    x = as_expr(x)
    if not x.ndim:
        raise ShapeError("diff: a scalar has no neighbours")
    k, times = _axis(axis, x, "diff"), _int(n, "diff", "n")
    if times < 0:
        raise ShapeError(f"diff: n cannot be negative: {n}")
    before, after = ([] if e is None else [_edge(as_expr(e), x, k)] for e in (prepend, append))
    result: Expr = concatenate([*before, x, *after], k) if before or after else x
    for _ in range(times):
        result = subtract(getitem(result, _at(k, slice(1, None))), getitem(result, _at(k, slice(None, -1))))
    return result


def _edge(edge: Expr, x: Expr, axis: int) -> Expr:
    return edge if edge.ndim else broadcast_to(edge, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
