"""Gathering: elements at places that are known only at run time, and the adjoint of that.

Indices may be negative, as in NumPy. Python and NumPy raise IndexError for those out of range; C does not check them.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Affine, Index
from ..registry import Gather, Op, Params, Scatter
from ..trace import Expr, op
from ..types import Shape, Type, broadcast_shapes, format_shape, static_shape
from ._batch import lifted, moved, spread
from ._declare import Traced, dtype_option, free
from .layout import broadcast_to, reshape
from .selection import equal, where

__all__ = ["pick"]


def _taken(x: Type, indices: Type, axis: int) -> Shape:
    return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _take_source(index: Index, place: Affine, params: Params, x: Type, indices: Type) -> Index:
    axis = params["axis"]
    return (*index[:axis], place, *index[axis + indices.ndim :])


def _take_index(index: Index, params: Params, x: Type, indices: Type) -> Index:
    """Which element of `indices` speaks for element `index` of the result."""
    return index[params["axis"] : params["axis"] + indices.ndim]


def _take_key(params: Params, indices: str, ndim: int) -> str:
    return ", ".join([*":" * params["axis"], indices])


def _adjoint_statements(key: Any) -> Any:
    def statements(name: str, args: Sequence[str], params: Params, types: Sequence[Type]) -> list[str]:
        g, indices = args
        shape = params["shape"]
        return [
            f"{name} = np.zeros({format_shape(shape)}{dtype_option(types[0])})",
            f"np.add.at({name}, np.s_[{key(params, indices, len(shape))}], {g})",
        ]

    return statements


def _add_at(out_shape: Shape, g: Any, key: Any) -> Any:
    g = np.asarray(g)
    out = np.full(static_shape(out_shape), 0 if g.dtype == object else g.dtype.type(0), dtype=g.dtype)
    np.add.at(out, key, g)
    return out


def _integers(indices: Any) -> Any:
    return np.asarray(indices).astype(np.int64)


def _no_second(share: Expr) -> tuple[Expr, None]:
    """What the operands receive: the indices nothing."""
    return share, None


def _for_each(indices: Expr, before: Shape, after: Shape, size: Any) -> Expr:
    """Indices of slices of `size` arrays, in one axis, as indices of elements; the other axes are `before` and `after`.

    (One index into the arrays laid side by side would be less to store, but out of range it would read a neighbour.)
    """
    count = math.prod(static_shape(indices.shape[1:]))
    column = reshape(indices, (size, *(1,) * len(before), count, *(1,) * len(after)))
    return broadcast_to(column, (size, *before, count, *after))


def _take_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    (x, indices), axis = xs, params["axis"]
    if not mapped[1]:
        return _take(x, indices, axis=axis + 1)
    if not mapped[0]:
        return moved(_take(x, indices, axis=axis), axis, 0)
    before, after = x.shape[1 : axis + 1], x.shape[axis + 2 :]
    each = _for_each(indices, before, after, size)
    return reshape(_along(x, each, axis=axis + 1), (size, *before, *indices.shape[1:], *after))


def _take_adjoint_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    (g, indices), shape, axis = xs, params["shape"], params["axis"]
    g = g if mapped[0] else spread(g, size)
    if not mapped[1]:
        return _take_adjoint(g, indices, shape=(size, *shape), axis=axis + 1)
    before, after = shape[:axis], shape[axis + 1 :]
    each = _for_each(indices, before, after, size)
    return _along_adjoint(reshape(g, each.shape), each, shape=(size, *shape), axis=axis + 1)


def _along_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    (x, indices), (left, _) = xs, mapped
    if not left and x.ndim == 1:
        return _take(x, indices, axis=0)
    return lifted(op, xs, mapped, size, params)


_take: Traced = op(
    "take",
    arity=2,
    kind="layout",
    takes=("any", "int"),
    infer=lambda x, indices, axis: Type(_taken(x, indices, axis), x.dtype),
    vjp=lambda g, y, x, indices, axis: _no_second(_take_adjoint(g, indices, shape=x.shape, axis=axis)),
    batch=_take_batch,
    structure=Gather(_take_source, _take_index),
    evaluate=lambda x, indices, axis: np.take(x, _integers(indices), axis=axis),
    cells={"numpy": lambda a, p, t: f"np.take({a[0]}, {a[1]}, axis={p['axis']})"},
    torch=lambda torch, x, i, axis: x.index_select(axis, i.long().reshape(-1) % x.shape[axis]).reshape(
        (*x.shape[:axis], *i.shape, *x.shape[axis + 1 :])
    ),
    cost=free,
    symbol="take",
    slope="the gradient, added up at the places taken",
    samples=[
        (np.array([[0.3, 1.0, 2.0], [-1.0, 0.5, 0.1]]), np.array([2, 0, 2, -1]), {"axis": 1}),
        (np.array([0.3, 1.0, 2.0]), np.array([[2, 0], [1, 1]]), {"axis": 0}),
        (np.array([0.3, 1.0, 2.0]), np.array(1), {"axis": 0}),
    ],
    doc="Slices of `x` along an axis, at run-time indices.",
)
_take_adjoint: Traced = op(
    "take_adjoint",
    arity=2,
    kind="assembly",
    takes=("any", "int"),
    infer=lambda g, indices, shape, axis: Type(shape, g.dtype),
    vjp=lambda g, y, x, indices, shape, axis: _no_second(_take(g, indices, axis=axis)),
    batch=_take_adjoint_batch,
    structure=Scatter(_take_source, _take_index),
    evaluate=lambda g, indices, shape, axis: _add_at(shape, g, (*[slice(None)] * axis, _integers(indices))),
    statements={"numpy": _adjoint_statements(_take_key)},
    torch=lambda torch, g, i, shape, axis: torch.zeros(shape, dtype=g.dtype).index_add(
        axis, i.long().reshape(-1) % shape[axis], g.reshape((*shape[:axis], -1, *shape[axis + 1 :]))
    ),
    cost=lambda y, g, indices, **_: {"add": g.size},
    symbol="take'",
    slope="the gradient at the places added to",
    samples=[
        (
            np.array([[0.3, 1.0, 2.0, 0.5], [-1.0, 0.5, 0.1, 0.9]]),
            np.array([2, 0, 2, -1]),
            {"shape": (2, 3), "axis": 1},
        ),
    ],
    doc="Zeros of a shape with slices added along an axis, at run-time indices; the adjoint of `take`.",
)


def _along_source(index: Index, place: Affine, params: Params, x: Type, indices: Type) -> Index:
    axis = params["axis"]
    return (*index[:axis], place, *index[axis + 1 :])


def _along_key(params: Params, indices: str, ndim: int) -> str:
    axis, shape = params["axis"], params["shape"]
    grids = [f"np.arange({size}){_lifted(k, ndim)}" for k, size in enumerate(shape)]
    return ", ".join([*grids[:axis], indices, *grids[axis + 1 :]])


def _lifted(k: int, ndim: int) -> str:
    """The subscript that puts a vector on axis k of ndim axes."""
    after = ndim - k - 1
    return f"[{', '.join([':', *['None'] * after])}]" if after else ""


def _grid(shape: Sequence[int], axis: int, indices: Any) -> tuple[Any, ...]:
    grids: list[Any] = list(np.ogrid[tuple(slice(n) for n in shape)])
    grids[axis] = _integers(indices)
    return tuple(grids)


_along: Traced = op(
    "take_along_axis",
    arity=2,
    kind="layout",
    takes=("any", "int"),
    infer=lambda x, indices, axis: Type(indices.shape, x.dtype),
    vjp=lambda g, y, x, indices, axis: _no_second(_along_adjoint(g, indices, shape=x.shape, axis=axis)),
    batch=_along_batch,
    structure=Gather(_along_source, lambda index, params, x, indices: index),
    evaluate=lambda x, indices, axis: np.take_along_axis(np.asarray(x), _integers(indices), axis=axis),
    cells={"numpy": lambda a, p, t: f"np.take_along_axis({a[0]}, {a[1]}, axis={p['axis']})"},
    torch=lambda torch, x, i, axis: torch.take_along_dim(x, i.long() % x.shape[axis], axis),
    cost=free,
    symbol="take",
    slope="the gradient, added up at the places taken",
    samples=[(np.array([[0.3, 1.0, 2.0], [-1.0, 0.5, 0.1]]), np.array([[2, 0], [1, -1]]), {"axis": 1})],
    doc="For each element of `indices`, the element of `x` at that place of the axis.",
)
_along_adjoint: Traced = op(
    "take_along_axis_adjoint",
    arity=2,
    kind="assembly",
    takes=("any", "int"),
    infer=lambda g, indices, shape, axis: Type(shape, g.dtype),
    vjp=lambda g, y, x, indices, shape, axis: _no_second(_along(g, indices, axis=axis)),
    structure=Scatter(_along_source, lambda index, params, x, indices: index),
    evaluate=lambda g, indices, shape, axis: _add_at(shape, g, _grid(static_shape(shape), axis, indices)),
    statements={"numpy": _adjoint_statements(_along_key)},
    torch=lambda torch, g, i, shape, axis: torch.zeros(shape, dtype=g.dtype).scatter_add(
        axis, i.long() % shape[axis], g
    ),
    cost=lambda y, g, indices, **_: {"add": g.size},
    symbol="take'",
    slope="the gradient at the places added to",
    samples=[(np.array([[0.3, 1.0], [-1.0, 0.5]]), np.array([[2, 0], [1, -1]]), {"shape": (2, 3), "axis": 1})],
    doc="Zeros of a shape with elements added along an axis, at run-time indices; the adjoint of `take_along_axis`.",
)


def take(x: Expr, indices: Expr, axis: int) -> Expr:
    """Slices of `x` at run-time indices; the result has the shape of `indices` in place of the axis."""
    return _take(x, indices, axis=axis)


def take_along_axis(x: Expr, indices: Expr, axis: int) -> Expr:
    """For each element of `indices`, the element of `x` at that place of `axis`; the other axes broadcast."""
    if indices.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis: x has shape {format_shape(x.shape)} and indices {format_shape(indices.shape)}: "
            "they need the same number of axes"
        )
    others = broadcast_shapes(*((*s[:axis], 1, *s[axis + 1 :]) for s in (x.shape, indices.shape)))
    wide, many = ((*others[:axis], s[axis], *others[axis + 1 :]) for s in (x.shape, indices.shape))
    value = x if x.shape == wide else broadcast_to(x, wide)
    return _along(value, indices if indices.shape == many else broadcast_to(indices, many), axis=axis)


def _pick_vjp(g: Expr, y: Expr, index: Expr, *xs: Expr) -> tuple[Expr | None, ...]:
    return None, *(where(equal(index, k), g, 0.0) for k in builtins.range(len(xs)))


pick: Traced = op(
    "pick",
    arity=None,
    kind="elementwise",
    takes="any",
    tame=True,
    infer=lambda index, *xs: xs[0],
    vjp=_pick_vjp,
    cells={"python": lambda a, p, t: f"({', '.join(a[1:])}{',' if len(a) == 2 else ''})[{a[0]}]"},
    evaluate=lambda index, *xs: np.stack(np.broadcast_arrays(*xs))[int(index)],
    mp=lambda mp, index, *xs: xs[int(index)],
    torch=lambda torch, index, *xs: torch.stack(xs)[int(index)],
    cost=free,
    symbol="[ ]",
    slope="the one that is picked passes it on",
    doc="The operand with a run-time number, in scalar code.",
)


def gathered(index: Expr, parts: Sequence[Expr]) -> Expr:
    """Of scalars, the one with a run-time number: how scalar code reads an array."""
    if index.op.name == "constant":
        return parts[int(index.params["value"])]
    return pick(index, *parts)


def traced_getitem(x: Expr, entries: Sequence[Any]) -> Expr:
    """`x[entries]` where some entries are traced integers, on neighbouring axes; slices and ints stand elsewhere.

    Several traced indices broadcast against each other, as in NumPy: they become one index into their axes, flattened.
    """
    x, rest, flat, axis = _one_index(x, entries)
    return _take(x[rest], flat, axis=axis)


def traced_add(x: Expr, entries: Sequence[Any], value: Expr) -> Expr:
    """`x` with `value` added at `x[entries]`, whose entries are those of `traced_getitem`; all of equal ones count."""
    shape = x.shape
    x, rest, flat, axis = _one_index(x, entries)
    part = x[rest]
    wanted = _taken(part.type, flat.type, axis)
    value = value if value.shape == wanted else broadcast_to(value, wanted)
    share = _take_adjoint(value, flat, shape=part.shape, axis=axis)
    added = x + share if all(e == slice(None) for e in rest) else x.at[rest].add(share)  # type: ignore[attr-defined]
    return added if x.shape == shape else reshape(added, shape)


def _one_index(x: Expr, entries: Sequence[Any]) -> tuple[Expr, tuple[Any, ...], Expr, int]:
    """`x` with the axes of traced indices as one, the static entries, the index, and its axis in `x[static]`."""
    places = [k for k, e in enumerate(entries) if isinstance(e, Expr)]
    first, last = places[0], places[-1]
    if len(entries) != x.ndim or places != list(range(first, last + 1)):
        raise ShapeError(
            "index: traced indices must stand on neighbouring axes, with static slices or ints on the others: use "
            "gs.take or gs.take_along_axis"
        )
    sizes = x.shape[first : last + 1]
    flat: Any = 0
    for place, size in zip(places, sizes, strict=True):
        entry = entries[place]
        if entry.dtype.kind != "int":
            raise ShapeError(f"index: a traced index must be an integer, not {entry.type}")
        wrapped = where(entry < 0, entry + size, entry) if len(places) > 1 else entry
        flat = wrapped if place == first else flat * size + wrapped
    if len(places) > 1:
        x = reshape(x, (*x.shape[:first], math.prod(sizes), *x.shape[last + 1 :]))
    rest = (*entries[:first], slice(None), *entries[last + 1 :])
    return x, rest, flat, builtins.sum(isinstance(e, slice) for e in entries[:first])
