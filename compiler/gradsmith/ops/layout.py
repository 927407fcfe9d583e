"""Layout: broadcasting, reshaping, transposing. Elements move, none is computed."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Affine, Index
from ..registry import Layout, Op, Params
from ..trace import Expr, as_expr, op
from ..types import Shape, Type, broadcast_shapes, format_shape, normalize_axes, normalize_shape, static_shape
from ._declare import Traced, dtype_option, free

__all__ = ["broadcast_to", "expand_dims", "permute_dims", "ravel", "reshape", "squeeze", "transpose"]

# --- broadcast_to ---------------------------------------------------------------------------------------------------


def _broadcast_infer(x: Type, shape: Shape) -> Type:
    if broadcast_shapes(x.shape, shape) != shape:
        raise ShapeError(f"shape {format_shape(x.shape)} does not broadcast to {format_shape(shape)}")
    return Type(shape, x.dtype)


def _broadcast_vjp(g: Expr, y: Expr, x: Expr, shape: Shape) -> tuple[Expr]:
    from .reduction import sum

    added = len(shape) - x.ndim
    axes = [i for i in range(len(shape)) if i < added or (x.shape[i - added] == 1 and shape[i] != 1)]
    return (reshape(sum(g, axis=tuple(axes)), x.shape) if axes else g,)


def _broadcast_source(index: Index, params: Params, x: Type) -> Index:
    kept = index[len(index) - x.ndim :]
    return tuple(Affine() if size == 1 else i for i, size in zip(kept, x.shape, strict=True))


def _broadcast_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    if types[0].ndim == 0:
        return f"np.full({format_shape(params['shape'])}, {args[0]}{dtype_option(types[0])})"
    return f"np.broadcast_to({args[0]}, {format_shape(params['shape'])})"


def _broadcast_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    (x,), shape = xs, params["shape"]
    new = len(shape) - (x.ndim - 1)  # axes that the op puts in front of those of an element
    return broadcast_to(reshape(x, (size, *(1,) * new, *x.shape[1:])) if new else x, (size, *shape))


_broadcast_to = op(
    "broadcast_to",
    arity=1,
    kind="layout",
    takes="any",
    infer=_broadcast_infer,
    vjp=_broadcast_vjp,
    batch=_broadcast_batch,
    structure=Layout(_broadcast_source),
    evaluate=lambda x, shape: np.broadcast_to(x, static_shape(shape)),
    cells={"numpy": _broadcast_cell},
    torch=lambda torch, x, shape: x.broadcast_to(shape),
    cost=free,
    symbol="broadcast",
    slope="sum over what was copied",
    samples=[(np.array([[0.3], [-1.2]]), {"shape": (2, 3)}), (0.7, {"shape": (2, 2)})],
    doc="The value repeated to a larger shape.",
)


def broadcast_to(x: Any, shape: Any) -> Expr:
    """`x` repeated along new and size-1 axes to `shape`, as NumPy does."""
    return _broadcast_to(x, shape=normalize_shape(shape))


# --- reshape, expand_dims, squeeze, transpose -----------------------------------------------------------------------


def _reshape_infer(x: Type, shape: Shape) -> Type:
    if x.shape != shape and math.prod(x.shape) != math.prod(shape):
        raise ShapeError(f"shape {format_shape(x.shape)} has {x.size} elements and cannot become {format_shape(shape)}")
    return Type(shape, x.dtype)


def _reshape_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    if not params["shape"]:  # a number of its own, no view without axes
        return f"{args[0]}[{', '.join('0' for _ in types[0].shape)}]"
    return f"np.reshape({args[0]}, {format_shape(params['shape'])})"


_reshape: Traced = op(
    "reshape",
    arity=1,
    kind="layout",
    takes="any",
    infer=_reshape_infer,
    vjp=lambda g, y, x, shape: (reshape(g, x.shape),),
    evaluate=lambda x, shape: np.reshape(x, static_shape(shape)),
    cells={"numpy": _reshape_cell},
    torch=lambda torch, x, shape: x.reshape(shape),
    cost=free,
    symbol="reshape",
    slope="reshape back",
    samples=[(np.array([[0.3, 1.0, 2.0], [-1.2, 0.5, 0.1]]), {"shape": (3, 2)})],
    doc="The same elements in another shape, in row-major order.",
)


def reshape(x: Any, shape: Any, *, copy: bool | None = None) -> Expr:
    """`x` in another shape with the same number of elements, row-major; one -1 stands for what is left.

    Values never change, so whether they are copied (`copy`) makes no difference.

    >>> import gradsmith as gs
    >>> gs.reshape(gs.symbol("x", (2, 6)), (3, -1)).shape
    (3, 4)
    """
    x = as_expr(x)
    several = isinstance(shape, Sequence) and not isinstance(shape, str)
    wanted = tuple(shape) if several else (shape,)
    if builtins.any(isinstance(d, int) and d == -1 for d in wanted):
        rest = math.prod(d for d in normalize_shape([d for d in wanted if d != -1]))
        if wanted.count(-1) > 1 or rest == 0 or x.size % rest != 0:
            raise ShapeError(f"reshape: {format_shape(x.shape)} cannot become {wanted!r}")
        wanted = tuple(x.size // rest if d == -1 else d for d in wanted)
    return _reshape(x, shape=normalize_shape(wanted))


def ravel(x: Any) -> Expr:
    """All elements of `x` in one axis, in row-major order."""
    return reshape(x, -1)


def _expand_infer(x: Type, axis: tuple[int, ...]) -> Type:
    rest = iter(x.shape)
    return Type(tuple(1 if i in axis else next(rest) for i in range(x.ndim + len(axis))), x.dtype)


def _expand_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    ndim = types[0].ndim + len(params["axis"])
    if params["axis"] == tuple(range(len(params["axis"]))) and types[0].ndim:
        return f"{args[0]}[{', '.join('None' for _ in params['axis'])}]"
    if types[0].ndim == 0:
        return f"np.expand_dims({args[0]}, {params['axis']})"
    return f"{args[0]}[{', '.join('None' if i in params['axis'] else ':' for i in range(ndim))}]"


_expand_dims: Traced = op(
    "expand_dims",
    arity=1,
    kind="layout",
    takes="any",
    infer=_expand_infer,
    vjp=lambda g, y, x, axis: (_squeeze(g, axis=axis),),
    structure=Layout(lambda index, p, x: tuple(i for k, i in enumerate(index) if k not in p["axis"])),
    evaluate=lambda x, axis: np.expand_dims(x, axis),
    cells={"numpy": _expand_cell},
    torch=lambda torch, x, axis: x.reshape(_expand_infer(Type(tuple(x.shape)), axis).shape),
    cost=free,
    symbol="expand",
    slope="squeeze",
    samples=[(np.array([0.3, 1.0]), {"axis": (1,)}), (0.5, {"axis": (0,)})],
    doc="New axes of size 1.",
)


def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Expr:
    """`x` with new axes of size 1, which stand at `axis` in the result."""
    x = as_expr(x)
    count = 1 if isinstance(axis, int) else len(axis)
    return _expand_dims(x, axis=normalize_axes(axis, x.ndim + count, "expand_dims"))


def _squeeze_infer(x: Type, axis: tuple[int, ...]) -> Type:
    for i in axis:
        if x.shape[i] != 1:
            raise ShapeError(f"axis {i} of shape {format_shape(x.shape)} has size {x.shape[i]}, not 1")
    return Type(tuple(d for i, d in enumerate(x.shape) if i not in axis), x.dtype)


def _squeeze_source(index: Index, params: Params, x: Type) -> Index:
    rest = iter(index)
    return tuple(Affine() if k in params["axis"] else next(rest) for k in range(x.ndim))


def _squeeze_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    axes = params["axis"]
    if len(axes) == types[0].ndim:
        return f"{args[0]}[{', '.join('0' for _ in axes)}]"
    return f"np.squeeze({args[0]}, {axes if len(axes) > 1 else axes[0]})"


_squeeze: Traced = op(
    "squeeze",
    arity=1,
    kind="layout",
    takes="any",
    infer=_squeeze_infer,
    vjp=lambda g, y, x, axis: (_expand_dims(g, axis=axis),),
    structure=Layout(_squeeze_source),
    evaluate=lambda x, axis: np.squeeze(x, axis),
    cells={"numpy": _squeeze_cell},
    torch=lambda torch, x, axis: x.reshape(_squeeze_infer(Type(tuple(x.shape)), axis).shape),
    cost=free,
    symbol="squeeze",
    slope="expand",
    samples=[(np.array([[0.3], [1.0]]), {"axis": (1,)})],
    doc="Without the named axes of size 1.",
)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Expr:
    """`x` without the axes named, which must have size 1; None removes all axes of size 1."""
    x = as_expr(x)
    axes = (
        tuple(i for i, d in enumerate(x.shape) if d == 1) if axis is None else normalize_axes(axis, x.ndim, "squeeze")
    )
    return _squeeze(x, axis=axes) if axes else x


def _transpose_source(index: Index, params: Params, x: Type) -> Index:
    return tuple(index[params["axes"].index(k)] for k in range(x.ndim))


_transpose: Traced = op(
    "transpose",
    arity=1,
    kind="layout",
    takes="any",
    infer=lambda x, axes: Type(tuple(x.shape[a] for a in axes), x.dtype),
    vjp=lambda g, y, x, axes: (_transpose(g, axes=tuple(axes.index(k) for k in range(len(axes)))),),
    structure=Layout(_transpose_source),
    evaluate=lambda x, axes: np.transpose(x, axes),
    cells={
        "numpy": lambda a, p, t: (
            f"{a[0]}.T" if p["axes"] == tuple(range(t[0].ndim))[::-1] else f"np.transpose({a[0]}, {p['axes']})"
        )
    },
    torch=lambda torch, x, axes: x.permute(axes),
    cost=free,
    symbol="T",
    slope="transpose back",
    samples=[(np.array([[0.3, 1.0, 2.0], [-1.2, 0.5, 0.1]]), {"axes": (1, 0)})],
    doc="Axes in another order.",
)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Expr:
    """`x` with its axes in the order `axes`; None reverses them."""
    x = as_expr(x)
    wanted = tuple(range(x.ndim))[::-1] if axes is None else tuple(axes)
    order = tuple(a + x.ndim if a < 0 else a for a in wanted)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"transpose: axes {axes!r} is not an order of {x.ndim} axes")
    return _transpose(x, axes=order) if order != tuple(range(x.ndim)) else x


def permute_dims(x: Any, axes: Sequence[int]) -> Expr:
    """`transpose`, under the array API's name."""
    return transpose(x, axes)
