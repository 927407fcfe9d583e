"""Linear algebra: sums of products over chosen axes, norms and distances. (matmul, dot and outer are in `contraction`.)

Norms have the subgradient 0 where they are 0. They square their elements, which overflows beyond 1e154 and underflows
below 1e-162; for two components `hypot` does neither.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import certainly_at_most
from ..errors import ShapeError
from ..trace import Expr, as_expr, op
from ..types import broadcast_shapes, format_shape, normalize_axes
from ._batch import lifted
from ._declare import Traced
from .arithmetic import absolute, square
from .contraction import matmul, matrix_transpose
from .conversion import astype
from .elementary import sqrt
from .factorizations import eigen_parts
from .indexing import getitem
from .joining import stack
from .layout import expand_dims, permute_dims, reshape
from .manipulation import broadcast_arrays, diagonal, moveaxis, unstack
from .reduction import _infer, _spread, max, min, sum
from .selection import equal, not_equal, where

__all__ = ["cdist", "cross", "matrix_norm", "norm", "tensordot", "trace", "vecdot", "vector_norm"]

Axes = tuple[int, ...]


def tensordot(x1: Any, x2: Any, /, axes: int | Sequence[Any] = 2) -> Expr:
    """Sums of products over some axes of `x1` and as many of `x2`; the other axes stay, first those of `x1`.

    Parameters
    ----------
    axes: a number N (the last N axes of `x1` meet the first N of `x2`, in order), or the axes of each: two lists.

    Errors: `ShapeError` for lists of different lengths and for axes whose sizes differ.

    >>> import gradsmith as gs
    >>> a, b = gs.symbol("a", (2, 3, 4)), gs.symbol("b", (4, 3, 5))
    >>> gs.tensordot(a, b, axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = as_expr(x1), as_expr(x2)
    summed = _meeting_axes(a, b, axes)
    free = [[k for k in range(x.ndim) if k not in ks] for x, ks in zip((a, b), summed, strict=True)]
    inner = math.prod(a.shape[k] for k in summed[0])
    outer = [[x.shape[k] for k in ks] for x, ks in zip((a, b), free, strict=True)]
    left = reshape(permute_dims(a, [*free[0], *summed[0]]), (math.prod(outer[0]), inner))
    right = reshape(permute_dims(b, [*summed[1], *free[1]]), (inner, math.prod(outer[1])))
    return reshape(matmul(left, right), (*outer[0], *outer[1]))


def _meeting_axes(a: Expr, b: Expr, axes: Any) -> tuple[list[int], list[int]]:
    shapes = f"shapes {format_shape(a.shape)} and {format_shape(b.shape)}"
    if isinstance(axes, int):
        if not 0 <= axes <= builtins.min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: axes={axes} is no number of axes that {shapes} have both")
        pairs: list[Any] = [range(a.ndim - axes, a.ndim), range(axes)]
    else:
        pairs = [k if isinstance(k, Sequence) else (k,) for k in axes]
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        raise ShapeError(f"tensordot: axes={axes!r} is neither a number nor two lists of one length")
    for x, ks in zip((a, b), pairs, strict=True):
        normalize_axes(tuple(ks), x.ndim, "tensordot")
    left, right = ([k % x.ndim for k in ks] for x, ks in zip((a, b), pairs, strict=True))
    if [a.shape[k] for k in left] != [b.shape[k] for k in right]:
        raise ShapeError(f"tensordot: axes {left} and {right} of {shapes} differ in size")
    return left, right


def vecdot(x1: Any, x2: Any, /, axis: int = -1) -> Expr:
    """Dot products of vectors that lie along `axis`, counted from the last; the other axes broadcast.

    Errors: `ShapeError` where the vectors differ in length.

    >>> import gradsmith as gs
    >>> gs.vecdot(gs.symbol("x", (5, 3)), gs.symbol("y", 3)).shape
    (5,)
    """
    a, b = as_expr(x1), as_expr(x2)
    k = _common_axis(a, b, axis, "vecdot")
    if a.shape[k] != b.shape[k]:
        raise ShapeError(
            f"vecdot: vectors along axis {axis} of shapes {format_shape(a.shape)} and {format_shape(b.shape)} "
            "differ in length"
        )
    return matmul(a, b) if a.ndim == b.ndim == 1 else sum(a * b, axis=k)


def _common_axis(a: Expr, b: Expr, axis: int, name: str) -> int:
    """`axis` as a negative number that names the same axis of `a`, of `b` and of what they broadcast to."""
    smaller = builtins.min(a.ndim, b.ndim)
    if axis >= 0 and a.ndim == b.ndim and axis < a.ndim:
        return axis - a.ndim
    if isinstance(axis, bool) or not isinstance(axis, int) or not -smaller <= axis < 0:
        raise ShapeError(
            f"{name}: axis {axis!r} does not exist in both shapes {format_shape(a.shape)} and {format_shape(b.shape)}, "
            "counted from the last"
        )
    return axis


def cross(x1: Any, x2: Any, /, axis: int = -1) -> Expr:
    """Cross products of vectors of three components, which lie along `axis`; the other axes broadcast.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.cross(gs.symbol("a", 3), gs.symbol("b", 3)))
    >>> f([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    [0.0, 0.0, 1.0]
    """
    a, b = as_expr(x1), as_expr(x2)
    k = _common_axis(a, b, axis, "cross")
    if a.shape[k] != 3 or b.shape[k] != 3:
        raise ShapeError(
            f"cross: axis {axis} of shapes {format_shape(a.shape)} and {format_shape(b.shape)} must have size 3"
        )
    (a0, a1, a2), (b0, b1, b2) = (unstack(x, axis=k) for x in broadcast_arrays(a, b))
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=k)


def trace(x: Any, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Expr:
    """The sum of the elements of a diagonal. `gs.linalg.trace` takes the last two axes, as the array API's.

    >>> import gradsmith as gs
    >>> gs.compile(gs.trace(gs.symbol("A", (2, 2))))([[1.0, 2.0], [3.0, 4.0]])
    5.0
    """
    return sum(diagonal(x, offset, axis1, axis2), axis=-1)


# --- norms ------------------------------------------------------------------------------------------------------------


def _euclidean_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool) -> tuple[Expr]:
    return (x * _spread(g / where(equal(y, 0.0), 1.0, y), x, axis),)  # where y is 0, so is x


_MATRIX = np.array([[0.3, -1.2, 2.0], [0.9, 0.4, -0.7]])
_euclidean: Traced = op(
    "vector_norm",
    arity=1,
    kind="composite",
    infer=_infer,
    flat=lambda y, x, axis, keepdims: equal(y, 0.0),
    expand=lambda x, axis, keepdims: sqrt(sum(square(x), axis, keepdims)),
    vjp=_euclidean_vjp,
    batch=lifted,
    evaluate=lambda x, axis, keepdims: np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)),
    torch=lambda torch, x, axis, keepdims: torch.linalg.vector_norm(x, dim=axis, keepdim=keepdims),
    cost=lambda y, x, **_: {"mul": x.size, "add": x.size - y.size, "sqrt": y.size},
    symbol="‖x‖",
    slope="x/‖x‖, 0 where the norm is 0",
    samples=[
        (_MATRIX, {"axis": (0, 1), "keepdims": False}),
        (_MATRIX, {"axis": (1,), "keepdims": True}),
        (_MATRIX, {"axis": (0,), "keepdims": False}),
    ],
    edge_notes={"x = 0": "subgradient 0", "|x| > 1e154": "overflows: scaling would cost a pass and a division each"},
    doc="Square root of the sum of squares over axes.",
)


def vector_norm(x: Any, /, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2) -> Expr:
    """Norms of the vectors that lie along `axis` (several axes are one vector; None: all elements).

    Parameters
    ----------
    keepdims: keep reduced axes with size 1.
    ord: 2 for the length; 1 for the sum of magnitudes; inf and -inf for the largest and the smallest magnitude; 0 for
        the number of elements that are not 0; another `p` for `sum(abs(x)**p)**(1/p)`.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.vector_norm(gs.symbol("x", 2)))
    >>> f.value_and_grad([0.0, 2.0]), f.grad([0.0, 0.0])
    ((2.0, [0.0, 1.0]), [0.0, 0.0])
    """
    x = as_expr(x)
    if isinstance(ord, str | Expr) or ord != ord:
        raise ShapeError(f"vector_norm: ord={ord!r} is no number known while tracing")
    axes = normalize_axes(axis, x.ndim, "vector_norm")
    if ord == 2:
        return _euclidean(x, axis=axes, keepdims=bool(keepdims)) if axes else absolute(x)
    simple = {1.0: sum, math.inf: max, -math.inf: min}.get(float(ord))
    if simple is not None:
        return simple(absolute(x), axes, keepdims)
    if ord == 0:
        return sum(astype(not_equal(x, 0.0), x.dtype), axes, keepdims)
    magnitude = absolute(x)
    powers = magnitude**ord
    if 0 < ord < 2:  # |x|**p has an edge at 0, where nothing shall flow
        powers = where(equal(x, 0.0), 0.0, powers)
    total = sum(powers, axes, keepdims)
    if ord < 0:
        return total ** (1.0 / ord)
    none = equal(total, 0.0)
    return where(none, 0.0, where(none, 1.0, total) ** (1.0 / ord))  # the root's slope is infinite at 0


#: ord -> which sums of magnitudes, and which of them
_MATRIX_NORMS: dict[Any, tuple[int, Traced]] = {1: (-2, max), -1: (-2, min), math.inf: (-1, max), -math.inf: (-1, min)}


def matrix_norm(x: Any, /, keepdims: bool = False, ord: float | str = "fro") -> Expr:
    """Norms of the matrices in the last two axes.

    Parameters
    ----------
    keepdims: keep the last two axes with size 1.
    ord: "fro" for the square root of the sum of squares; 1 and -1 for the largest and the smallest sum of magnitudes
        of a column; inf and -inf the same of a row; 2 for the largest singular value, whose gradient is 0 where the
        norm is 0, and which squares its elements as "fro" does.

    Errors: `ShapeError` for norms of small singular values (-2, "nuc"): there is no singular value decomposition.

    >>> import gradsmith as gs
    >>> gs.compile(gs.matrix_norm(gs.symbol("A", (2, 2)), ord=1))([[1.0, 2.0], [3.0, -4.0]])
    6.0
    """
    x = as_expr(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_norm: needs at least two axes, not shape {format_shape(x.shape)}")
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord == 2:
        return _spectral(x, keepdims)
    if ord not in _MATRIX_NORMS:
        raise ShapeError(
            f"matrix_norm: ord={ord!r} needs a singular value decomposition, which is not offered: "
            'choose "fro", 1, -1, 2, inf or -inf'
        )
    axis, extreme = _MATRIX_NORMS[ord]
    return extreme(sum(absolute(x), axis, True), (-2, -1), keepdims)


def _spectral(x: Expr, keepdims: bool) -> Expr:
    """The largest singular value, from the smaller one of the two matrices of inner products."""
    rows, columns = x.shape[-2:]
    turned = matrix_transpose(x)
    inner = matmul(x, turned) if certainly_at_most(rows, columns) else matmul(turned, x)
    largest = getitem(eigen_parts(inner)[0], (..., -1))
    none = equal(largest, 0.0)
    found = where(none, 0.0, sqrt(where(none, 1.0, largest)))  # the root's slope is infinite at 0
    return expand_dims(expand_dims(found, -1), -1) if keepdims else found


def norm(
    x: Any, /, ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Expr:
    """NumPy's `linalg.norm`: of all elements, of vectors along one axis, or of matrices in two.

    Parameters
    ----------
    ord: as for `vector_norm` and, of matrices, `matrix_norm`; None for the square root of the sum of squares.
    axis: an int for vectors, two for matrices, None for the only vector or matrix that `x` is.
    keepdims: keep reduced axes with size 1.

    >>> import gradsmith as gs
    >>> gs.compile(gs.norm(gs.symbol("A", (2, 2))))([[1.0, 2.0], [2.0, 4.0]])
    5.0
    """
    x = as_expr(x)
    if ord is None:
        return vector_norm(x, axis, keepdims)
    axes = normalize_axes(axis, x.ndim, "norm")
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(x, axes, keepdims, ord)
    if len(axes) != 2:
        raise ShapeError(f"norm: ord={ord!r} is of one axis or of two, not of {len(axes)}: say which, axis=")
    last = axes if axis is None else tuple(k % x.ndim for k in axis)  # type: ignore[union-attr]
    result = matrix_norm(moveaxis(x, last, (-2, -1)), keepdims, ord)
    return moveaxis(result, (-2, -1), last) if keepdims else result


def cdist(x1: Any, x2: Any, /, p: float = 2) -> Expr:
    """Distances between the rows of `x1` (…, m, d) and those of `x2` (…, n, d): shape (…, m, n), as torch's.

    `p` is the `ord` of `vector_norm`. Where two rows are equal, no gradient flows between them.

    >>> import gradsmith as gs
    >>> gs.cdist(gs.symbol("a", (5, 3)), gs.symbol("b", (4, 3))).shape
    (5, 4)
    """
    a, b = as_expr(x1), as_expr(x2)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(
            f"cdist: shapes {format_shape(a.shape)} and {format_shape(b.shape)}: both need rows, of one length"
        )
    broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return vector_norm(expand_dims(a, -2) - expand_dims(b, -3), axis=-1, ord=p)
