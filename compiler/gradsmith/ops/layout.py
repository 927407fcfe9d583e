"""Layout: broadcasting, reshaping, transposing, joining, slicing and gathering. Elements move, none is computed."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Affine, Index, lookup
from ..registry import Assembly, Layout, Params
from ..trace import Expr, as_expr, op
from ..types import (
    FLOAT64,
    Shape,
    Type,
    broadcast_shapes,
    format_shape,
    normalize_axes,
    normalize_shape,
    static_shape,
)
from ._declare import Traced

__all__ = [
    "broadcast_to",
    "concat",
    "concatenate",
    "expand_dims",
    "getitem",
    "permute_dims",
    "ravel",
    "reshape",
    "scatter",
    "squeeze",
    "stack",
    "transpose",
]


def _free(*_: Any, **__: Any) -> dict[str, int]:
    return {}


def _dims(shape: Shape) -> str:
    return format_shape(shape)


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
        return f"np.full({_dims(params['shape'])}, {args[0]})"
    return f"np.broadcast_to({args[0]}, {_dims(params['shape'])})"


_broadcast_to = op(
    "broadcast_to",
    arity=1,
    kind="layout",
    takes="any",
    infer=_broadcast_infer,
    vjp=_broadcast_vjp,
    structure=Layout(_broadcast_source),
    evaluate=lambda x, shape: np.broadcast_to(x, static_shape(shape)),
    cells={"numpy": _broadcast_cell},
    torch=lambda torch, x, shape: x.broadcast_to(shape),
    cost=_free,
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
    if x.shape != shape and math.prod(static_shape(x.shape)) != math.prod(static_shape(shape)):
        raise ShapeError(f"shape {format_shape(x.shape)} has {x.size} elements and cannot become {format_shape(shape)}")
    return Type(shape, x.dtype)


_reshape: Traced = op(
    "reshape",
    arity=1,
    kind="layout",
    takes="any",
    infer=_reshape_infer,
    vjp=lambda g, y, x, shape: (reshape(g, x.shape),),
    evaluate=lambda x, shape: np.reshape(x, static_shape(shape)),
    cells={"numpy": lambda a, p, t: f"np.reshape({a[0]}, {_dims(p['shape'])})"},
    torch=lambda torch, x, shape: x.reshape(shape),
    cost=_free,
    symbol="reshape",
    slope="reshape back",
    samples=[(np.array([[0.3, 1.0, 2.0], [-1.2, 0.5, 0.1]]), {"shape": (3, 2)})],
    doc="The same elements in another shape, in row-major order.",
)


def reshape(x: Any, shape: Any) -> Expr:
    """`x` in another shape with the same number of elements, row-major; one -1 stands for what is left.

    >>> import gradsmith as gs
    >>> gs.reshape(gs.symbol("x", (2, 6)), (3, -1)).shape
    (3, 4)
    """
    x = as_expr(x)
    wanted = (shape,) if isinstance(shape, int) else tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if builtins.any(isinstance(d, int) and d == -1 for d in wanted):
        rest = math.prod(d for d in wanted if d != -1)
        if wanted.count(-1) > 1 or rest == 0 or x.size % rest:
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
    cost=_free,
    symbol="expand",
    slope="squeeze",
    samples=[(np.array([0.3, 1.0]), {"axis": (1,)}), (0.5, {"axis": (0,)})],
    doc="New axes of size 1.",
)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Expr:
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


_squeeze: Traced = op(
    "squeeze",
    arity=1,
    kind="layout",
    takes="any",
    infer=_squeeze_infer,
    vjp=lambda g, y, x, axis: (_expand_dims(g, axis=axis),),
    structure=Layout(_squeeze_source),
    evaluate=lambda x, axis: np.squeeze(x, axis),
    cells={"numpy": lambda a, p, t: f"np.squeeze({a[0]}, {p['axis'] if len(p['axis']) > 1 else p['axis'][0]})"},
    torch=lambda torch, x, axis: x.reshape(_squeeze_infer(Type(tuple(x.shape)), axis).shape),
    cost=_free,
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
    cost=_free,
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


# --- concatenate, stack ---------------------------------------------------------------------------------------------


def _concatenate_infer(*types: Type, axis: int) -> Type:
    if not types:
        raise ShapeError("needs at least one array")
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in types]
    if builtins.any(r != rest[0] for r in rest) or builtins.any(t.ndim != types[0].ndim for t in types):
        raise ShapeError(f"shapes {', '.join(format_shape(t.shape) for t in types)} do not join along axis {axis}")
    total = sum(static_shape(t.shape)[axis] for t in types)
    return Type((*types[0].shape[:axis], total, *types[0].shape[axis + 1 :]), types[0].dtype)


def _concatenate_vjp(g: Expr, y: Expr, *xs: Expr, axis: int) -> tuple[Expr, ...]:
    parts, start = [], 0
    for x in xs:
        stop = start + static_shape(x.shape)[axis]
        parts.append(getitem(g, (*[slice(None)] * axis, slice(start, stop))))
        start = stop
    return tuple(parts)


def _concatenate_place(part: int, index: Index, params: Params, types: Sequence[Type]) -> Index:
    axis = params["axis"]
    before = sum(static_shape(t.shape)[axis] for t in types[:part])
    return (*index[:axis], index[axis] + before, *index[axis + 1 :])


_concatenate = op(
    "concatenate",
    arity=None,
    kind="assembly",
    infer=_concatenate_infer,
    vjp=_concatenate_vjp,
    structure=Assembly(_concatenate_place),
    evaluate=lambda *xs, axis: np.concatenate(xs, axis),
    cells={"numpy": lambda a, p, t: f"np.concatenate([{', '.join(a)}], axis={p['axis']})"},
    torch=lambda torch, *xs, axis: torch.cat(xs, axis),
    cost=_free,
    symbol="concat",
    slope="slices of the gradient",
    samples=[(np.array([[0.3, 1.0]]), np.array([[2.0, -1.0], [0.5, 0.1]]), {"axis": 0})],
    doc="Arrays joined along an axis.",
)


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Expr:
    """Arrays joined along an existing axis; the other axes must agree."""
    xs = [as_expr(a) for a in arrays]
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
    infer=_stack_infer,
    vjp=lambda g, y, *xs, axis: tuple(getitem(g, (*[slice(None)] * axis, i)) for i in range(len(xs))),
    structure=Assembly(lambda part, index, p, t: (*index[: p["axis"]], Affine(part), *index[p["axis"] :])),
    evaluate=lambda *xs, axis: np.stack(xs, axis),
    cells={
        "numpy": lambda a, p, t: (
            f"np.array([{', '.join(a)}])" if t[0].ndim == 0 else f"np.stack([{', '.join(a)}], axis={p['axis']})"
        )
    },
    torch=lambda torch, *xs, axis: torch.stack(xs, axis),
    cost=_free,
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


# --- getitem and its adjoint, scatter -------------------------------------------------------------------------------

Key = tuple[Any, ...]  # one entry an axis: int, (start, step, count), or an array of ints


def _numpy_key(key: Key) -> tuple[Any, ...]:
    return tuple(_slice(*k) if isinstance(k, tuple) else k for k in key)


def _slice(start: int, step: int, count: int) -> slice:
    stop = start + step * count
    return slice(start, None if stop < 0 else stop, step)


def _key_text(key: Key, shape: Shape) -> str:
    """The subscript as a person writes it: trailing full slices and needless bounds left out."""
    texts = [_entry_text(k, size) for k, size in zip(key, shape, strict=True)]
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts)


def _entry_text(entry: Any, size: Any) -> str:
    if isinstance(entry, int):
        return str(entry)
    if isinstance(entry, np.ndarray):
        return str(entry.tolist())
    start, step, count = entry
    stop = start + step * count
    first = "" if start == (0 if step > 0 else size - 1) else str(start)
    last = "" if stop == (size if step > 0 else -1) else str(stop)
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


def positions(key: Key, shape: Shape) -> np.ndarray:
    sizes = static_shape(shape)
    places = np.arange(math.prod(sizes)).reshape(sizes)[_numpy_key(key)]
    return np.array(places, order="C")  # without the negative strides of a view, which torch refuses


def _index_infer(x: Type, key: Key) -> Type:
    return Type(_result_shape(key, x.shape), x.dtype)


def _result_shape(key: Key, shape: Shape) -> Shape:
    if not builtins.any(isinstance(k, np.ndarray) for k in key):
        return tuple(k[2] for k in key if isinstance(k, tuple))
    return tuple(np.broadcast_to(False, static_shape(shape))[_numpy_key(key)].shape)  # a view: needs no memory


def _index_source(index: Index, params: Params, x: Type) -> Index:
    key = params["key"]
    arrays = [k for k, entry in enumerate(key) if not isinstance(entry, tuple)]
    tables = np.broadcast_arrays(*(np.asarray(key[k]) for k in arrays)) if arrays else []
    depth = tables[0].ndim if tables else 0
    adjacent = arrays == list(range(arrays[0], arrays[-1] + 1)) if arrays else True
    start = arrays[0] if adjacent and arrays else 0  # NumPy puts the gathered axes first when they are not adjacent
    gathered, rest = index[start : start + depth], iter(index[:start] + index[start + depth :])
    found = dict(zip(arrays, (lookup(t, gathered) for t in tables), strict=True))
    return tuple(found[k] if k in found else next(rest) * e[1] + e[0] for k, e in enumerate(key))


_index: Traced = op(
    "index",
    arity=1,
    kind="layout",
    takes="any",
    infer=_index_infer,
    vjp=lambda g, y, x, key: (scatter(g, shape=x.shape, keys=(key,)),),
    structure=Layout(_index_source),
    evaluate=lambda x, key: np.asarray(x)[_numpy_key(key)],
    cells={"numpy": lambda a, p, t: f"{a[0]}[{_key_text(p['key'], t[0].shape)}]"},
    torch=lambda torch, x, key: x.reshape(-1)[torch.as_tensor(positions(key, tuple(x.shape)))],
    cost=_free,
    symbol="[ ]",
    slope="the gradient, at the places taken",
    samples=[
        (np.array([0.3, 1.0, 2.0, -1.0]), {"key": ((1, 2, 2),)}),
        (np.array([[0.3, 1.0], [2.0, -1.0], [0.1, 0.2]]), {"key": (np.array([2, 0, 2]), (0, 1, 2))}),
        (np.array([0.3, 1.0, 2.0]), {"key": (1,)}),
    ],
    doc="Elements at static places: integers, slices and integer arrays.",
)


def _scatter_evaluate(*gs: Any, shape: Shape, keys: Sequence[Key]) -> Any:
    sizes = static_shape(shape)
    exact = builtins.any(np.asarray(g).dtype == object for g in gs)
    out = np.full(sizes, 0.0, dtype=object if exact else np.float64)
    for g, key in zip(gs, keys, strict=True):
        np.add.at(out, _numpy_key(key), g)
    return out


def _scatter_statements(name: str, args: Sequence[str], params: Params, types: Sequence[Type]) -> list[str]:
    shape, lines = params["shape"], [f"{name} = np.zeros({_dims(params['shape'])})"]
    for text, key in zip(args, params["keys"], strict=True):
        once = len(np.unique(positions(key, shape))) == positions(key, shape).size
        lines.append(
            f"{name}[{_key_text(key, shape)}] += {text}"
            if once
            else f"np.add.at({name}, np.s_[{_key_text(key, shape)}], {text})"
        )
    return lines


def _scatter_vjp(g: Expr, y: Expr, *xs: Expr, shape: Shape, keys: Sequence[Key]) -> tuple[Expr, ...]:
    return tuple(_index(g, key=key) for key in keys)


def _scatter_torch(torch: Any, *xs: Any, shape: Shape, keys: Sequence[Key]) -> Any:
    out = torch.zeros(math.prod(static_shape(shape)), dtype=torch.float64)
    for x, key in zip(xs, keys, strict=True):
        places = torch.as_tensor(positions(key, shape)).reshape(-1)
        out = out.index_add(0, places, x.reshape(-1))
    return out.reshape(static_shape(shape))


def _scatter_place(part: int, index: Index, params: Params, types: Sequence[Type]) -> Index:
    return _index_source(index, {"key": params["keys"][part]}, Type(params["shape"]))


def _scatter_cost(y: Type, *xs: Type, **_: Any) -> dict[str, int]:
    return {"add": max(0, sum(x.size for x in xs) - y.size)}


scatter: Traced = op(
    "scatter",
    arity=None,
    kind="assembly",
    infer=lambda *xs, shape, keys: Type(shape, FLOAT64),
    vjp=_scatter_vjp,
    structure=Assembly(_scatter_place, accumulate=True),
    evaluate=_scatter_evaluate,
    torch=_scatter_torch,
    statements={"numpy": _scatter_statements},
    cost=_scatter_cost,
    symbol="scatter",
    slope="the gradient's elements at the same places",
    samples=[(np.array([0.3, 1.0]), 2.0, {"shape": (4,), "keys": (((1, 2, 2),), (1,))})],
    doc="Zeros of a shape with values added at static places; the adjoint of indexing.",
)


def getitem(x: Any, key: Any) -> Expr:
    """`x[key]` with ints, slices, None, `...`, integer or boolean arrays and lists, all static; NumPy's rules."""
    x = as_expr(x)
    entries = key if isinstance(key, tuple) else (key,)
    if builtins.any(isinstance(e, Expr) for e in entries):
        raise ShapeError("index: indices must be static ints here, not traced values; use gs.where to choose by value")
    entries = tuple(_as_array(e) if isinstance(e, list) else e for e in entries)
    used = builtins.sum(_consumes(e) for e in entries)
    if used > x.ndim:
        raise ShapeError(f"index: {used} indices for shape {format_shape(x.shape)} of {_named(x)!r}")
    if Ellipsis in [e if e is Ellipsis else None for e in entries]:
        at = next(i for i, e in enumerate(entries) if e is Ellipsis)
        entries = entries[:at] + (slice(None),) * (x.ndim - used) + entries[at + 1 :]
    else:
        entries += (slice(None),) * (x.ndim - used)
    new_axes, normal, place, axis = [], [], 0, 0
    gathered = builtins.any(isinstance(e, np.ndarray) for e in entries)
    for e in entries:
        if e is None:
            if gathered:
                raise ShapeError("index: None beside integer arrays is not supported; use gs.expand_dims")
            new_axes.append(place)
            place += 1
            continue
        if isinstance(e, np.ndarray) and e.dtype == bool:
            for places in e.nonzero():
                normal.append(_entry(places, x, axis))
                axis += 1
            continue
        normal.append(_entry(e, x, axis))
        place += not isinstance(normal[-1], int)
        axis += 1
    whole = builtins.all(isinstance(k, tuple) and k == (0, 1, d) for k, d in zip(normal, x.shape, strict=True))
    result = x if whole else _index(x, key=tuple(normal))
    return expand_dims(result, new_axes) if new_axes else result


def _as_array(entry: Any) -> np.ndarray:
    array = np.asarray(entry)
    return array if array.size else array.astype(np.int64)  # an empty list says nothing of its type


def _consumes(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, np.ndarray) and entry.dtype == bool else 1


def _named(x: Expr) -> str:
    return x.name or x.op.name


def _entry(entry: Any, x: Expr, axis: int) -> Any:
    size = x.shape[axis]
    if isinstance(entry, slice):
        if entry == slice(None):
            return (0, 1, size)
        return _span(entry, static_shape((size,))[0])
    size = static_shape((size,))[0]
    if isinstance(entry, np.ndarray) and entry.ndim:
        if entry.dtype.kind not in "iu":
            raise ShapeError(f"index: arrays of indices must be integers, not {entry.dtype}")
        places = np.where(entry < 0, entry + size, entry).astype(np.int64)
        if places.size and not (places.min() >= 0 and places.max() < size):
            raise ShapeError(f"index: places {entry.tolist()} go beyond axis {axis} of size {size}")
        places.setflags(write=False)
        return places
    if isinstance(entry, bool) or not hasattr(entry, "__index__"):
        raise ShapeError(f"index: {entry!r} is not an index; ints, slices, None, ... and integer arrays are")
    place = int(entry.__index__())
    if not -size <= place < size:
        raise ShapeError(
            f"index: {place} is out of bounds for axis {axis}, which has size {size}, of {_named(x)!r} with shape "
            f"{format_shape(x.shape)}"
        )
    return place % size


def _span(entry: slice, size: int) -> tuple[int, int, int]:
    if entry.step == 0:
        raise ShapeError(f"index: a slice cannot have step 0 ({entry})")
    start, stop, step = entry.indices(size)
    count = len(range(start, stop, step))
    return (start if count else 0, step, count)


# --- element: how scalar code reads an array argument ---------------------------------------------------------------

element = op(
    "element",
    arity=1,
    kind="layout",
    takes="any",
    infer=lambda x, place: Type((), x.dtype),
    evaluate=lambda x, place: x[place],
    cost=_free,
    symbol="[ ]",
    vjp=lambda g, y, x, place: (scatter(g, shape=x.shape, keys=(place,)),),
    torch=lambda torch, x, place: x[place],
    doc="One element of an array argument, in scalar code.",
)
