"""Joining: arrays put together along an axis that exists, or along a new one."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Affine, Index
from ..registry import Assembly, Params, Parts
from ..trace import Expr, as_expr, op
from ..types import Type, format_shape, normalize_axes
from ._declare import free
from .indexing import getitem, section
from .layout import ravel

__all__ = ["concat", "concatenate", "stack"]


def _concatenate_infer(*types: Type, axis: int) -> Type:
    if not types:
        raise ShapeError("needs at least one array")
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in types]
    if builtins.any(r != rest[0] for r in rest) or builtins.any(t.ndim != types[0].ndim for t in types):
        raise ShapeError(f"shapes {', '.join(format_shape(t.shape) for t in types)} do not join along axis {axis}")
    total = sum(t.shape[axis] for t in types)
    return Type((*types[0].shape[:axis], total, *types[0].shape[axis + 1 :]), types[0].dtype)


def _concatenate_vjp(g: Expr, y: Expr, *xs: Expr, axis: int) -> tuple[Expr, ...]:
    parts: list[Expr] = []
    start: Any = 0
    for x in xs:
        parts.append(section(g, axis, start, x.shape[axis]))
        start = start + x.shape[axis]
    return tuple(parts)


def _concatenate_place(part: int, index: Index, params: Params, types: Parts) -> Index:
    axis = params["axis"]
    return (*index[:axis], index[axis] + types.start(part, axis), *index[axis + 1 :])


_concatenate = op(
    "concatenate",
    arity=None,
    kind="assembly",
    takes="same",
    infer=_concatenate_infer,
    vjp=_concatenate_vjp,
    structure=Assembly(_concatenate_place, apart=True),
    evaluate=lambda *xs, axis: np.concatenate(xs, axis),
    cells={"numpy": lambda a, p, t: f"np.concatenate([{', '.join(a)}], axis={p['axis']})"},
    torch=lambda torch, *xs, axis: torch.cat(xs, axis),
    cost=free,
    symbol="concat",
    slope="slices of the gradient",
    samples=[(np.array([[0.3, 1.0]]), np.array([[2.0, -1.0], [0.5, 0.1]]), {"axis": 0})],
    doc="Arrays joined along an axis.",
)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Expr:
    """Arrays joined along an existing axis; the other axes must agree. None joins all elements, in row-major order."""
    xs = [as_expr(a) if axis is not None else ravel(a) for a in arrays]
    axis = 0 if axis is None else axis
    if not xs or builtins.any(x.ndim == 0 for x in xs):
        raise ShapeError("concatenate: needs at least one array, and scalars have no axis to join along; use gs.stack")
    return _concatenate(*xs, axis=normalize_axes(axis, xs[0].ndim, "concatenate")[0])


concat = concatenate  # the array API's name


def _stack_infer(*types: Type, axis: int) -> Type:
    if not types:
        raise ShapeError("needs at least one array")
    if builtins.any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"shapes {', '.join(format_shape(t.shape) for t in types)} differ, and must be the same")
    shape = types[0].shape
    return Type((*shape[:axis], len(types), *shape[axis:]), types[0].dtype)


_stack = op(
    "stack",
    arity=None,
    kind="assembly",
    takes="same",
    infer=_stack_infer,
    vjp=lambda g, y, *xs, axis: tuple(getitem(g, (*[slice(None)] * axis, i)) for i in range(len(xs))),
    structure=Assembly(lambda part, index, p, t: (*index[: p["axis"]], Affine(part), *index[p["axis"] :]), apart=True),
    evaluate=lambda *xs, axis: np.stack(xs, axis),
    cells={
        "numpy": lambda a, p, t: (
            f"np.array([{', '.join(a)}])" if t[0].ndim == 0 else f"np.stack([{', '.join(a)}], axis={p['axis']})"
        )
    },
    torch=lambda torch, *xs, axis: torch.stack(xs, axis),
    cost=free,
    symbol="stack",
    slope="slices of the gradient",
    samples=[(0.3, -1.0, 2.0, {"axis": 0}), (np.array([0.3, 1.0]), np.array([2.0, -1.0]), {"axis": 1})],
    doc="Arrays of one shape along a new axis.",
)


def stack(arrays: Sequence[Any], axis: int = 0) -> Expr:
    """Arrays (or scalars) of one shape, joined along a new axis at `axis`."""
    xs = [as_expr(a) for a in arrays]
    ndim = xs[0].ndim if xs else 0
    return _stack(*xs, axis=normalize_axes(axis, ndim + 1, "stack")[0])
