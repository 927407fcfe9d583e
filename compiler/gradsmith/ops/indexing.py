"""Indexing: elements at static places, by ints, slices and integer arrays, and the adjoint of that."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim, Extent, at_least_zero, dims_in, lower_bound, quotient
from ..errors import ShapeError
from ..index import Index, lookup
from ..registry import Assembly, Layout, Op, Params
from ..trace import Expr, as_expr, op
from ..types import Shape, Type, format_shape, static_shape
from ._batch import lifted, moved, spread
from ._declare import Traced, dtype_option, free
from .layout import expand_dims, squeeze

__all__ = ["getitem", "scatter"]

_SHORTEST = 9  # elements left out at the end that are written as -8, not as n - 8

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
        return str(entry.tolist()) if entry.size else f"np.zeros({format_shape(entry.shape)}, dtype=np.int64)"
    start, step, count = entry
    if any(isinstance(v, Dim) for v in (start, count)):
        return _named_text(start, step, count, size)
    stop = start + step * count
    first = "" if start == (0 if step > 0 else size - 1) else str(start)
    last = "" if stop < 0 or (step > 0 and stop == size) else str(stop)  # backwards past the start: no bound
    return f"{first}:{last}" + (f":{step}" if step != 1 else "")


def _named_text(start: Any, step: int, count: Any, size: Any) -> str:
    """A slice along an axis that is known by name."""
    if step < 0:
        return f"::{step}"
    first = "" if start == 0 else str(start)
    last = str(start + step * count)
    if step != 1:
        return f"{first}::{step}"
    for short in range(_SHORTEST):
        if count == at_least_zero(size - start - short):
            last = f"-{short}" if short else ""
            break
    return f"{first}:{last}"


def positions(key: Key, shape: Shape) -> np.ndarray:
    sizes = static_shape(shape)
    places = np.arange(math.prod(sizes)).reshape(sizes)[_numpy_key(key)]
    return np.array(places, order="C")  # without the negative strides of a view, which torch refuses


def _index_infer(x: Type, key: Key) -> Type:
    return Type(_result_shape(key, x.shape), x.dtype)


def _result_shape(key: Key, shape: Shape) -> Shape:
    rest = tuple(k[2] for k in key if isinstance(k, tuple))
    if not builtins.any(isinstance(k, np.ndarray) for k in key):
        return rest
    arrays = [k for k, entry in enumerate(key) if not isinstance(entry, tuple)]
    start = _gathered_axis(arrays)
    return (*rest[:start], *np.broadcast_shapes(*(np.shape(key[k]) for k in arrays)), *rest[start:])


def _gathered_axis(arrays: Sequence[int]) -> int:
    """Where the axes of arrays of indices stand: first when the arrays are not adjacent, as in NumPy."""
    adjacent = [*arrays] == list(range(arrays[0], arrays[-1] + 1)) if arrays else False
    return arrays[0] if adjacent else 0


def _index_source(index: Index, params: Params, x: Type) -> Index:
    key = params["key"]
    arrays = [k for k, entry in enumerate(key) if not isinstance(entry, tuple)]
    tables = np.broadcast_arrays(*(np.asarray(key[k]) for k in arrays)) if arrays else []
    depth = tables[0].ndim if tables else 0
    start = _gathered_axis(arrays)
    gathered, rest = index[start : start + depth], iter(index[:start] + index[start + depth :])
    found = dict(zip(arrays, (lookup(t, gathered) for t in tables), strict=True))
    return tuple(found[k] if k in found else next(rest) * e[1] + e[0] for k, e in enumerate(key))


def _in_front(key: Key) -> int:
    """How many axes of the result NumPy puts in front because the arrays of `key` do not stand side by side."""
    arrays = [k for k, entry in enumerate(key) if not isinstance(entry, tuple)]
    if not arrays or arrays == list(range(arrays[0], arrays[-1] + 1)):
        return 0
    return np.broadcast(*(key[k] for k in arrays)).ndim


def _index_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    return moved(lifted(op, xs, mapped, size, params), _in_front(params["key"]), 0)


def put_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """Parts at the static places `keys` of an array, for many arrays at once."""
    parts = [x if m else spread(x, size) for x, m in zip(xs, mapped, strict=True)]
    fitting = [moved(part, 0, _in_front(key)) for part, key in zip(parts, params["keys"], strict=True)]
    return lifted(op, fitting, (True,) * len(parts), size, params)


def _needs(entry: Any, size: Extent) -> list[tuple[Extent, int]]:
    """What must hold of a named size for an entry to lie within its axis."""
    if isinstance(entry, int):
        return [(size, entry + 1)]
    if isinstance(entry, np.ndarray):
        return [(size, int(entry.max(initial=-1)) + 1)]
    start, step, count = entry
    if not isinstance(count, int) or count == 0:
        return []  # a slice, which fits by its making
    return [(start, 0), (size - start - step * (count - 1), 1)]


_index: Traced = op(
    "index",
    arity=1,
    kind="layout",
    takes="any",
    infer=_index_infer,
    vjp=lambda g, y, x, key: (scatter(g, shape=x.shape, keys=(key,)),),
    batch=_index_batch,
    structure=Layout(_index_source),
    needs=lambda x, key: [pair for entry, size in zip(key, x.shape, strict=True) for pair in _needs(entry, size)],
    evaluate=lambda x, key: np.asarray(x)[_numpy_key(key)],
    cells={"numpy": lambda a, p, t: f"{a[0]}[{_key_text(p['key'], t[0].shape)}]"},
    torch=lambda torch, x, key: x.reshape(-1)[torch.as_tensor(positions(key, tuple(x.shape)))],
    cost=free,
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
    out = np.full(sizes, 0.0, dtype=object if exact else np.asarray(gs[0]).dtype)
    for g, key in zip(gs, keys, strict=True):
        np.add.at(out, _numpy_key(key), g)
    return out


def _scatter_statements(name: str, args: Sequence[str], params: Params, types: Sequence[Type]) -> list[str]:
    shape, lines = params["shape"], [f"{name} = np.zeros({format_shape(params['shape'])}{dtype_option(types[0])})"]
    for text, key in zip(args, params["keys"], strict=True):
        once = _once(key)
        lines.append(
            f"{name}[{_key_text(key, shape)}] += {text}"
            if once
            else f"np.add.at({name}, np.s_[{_key_text(key, shape)}], {text})"
        )
    return lines


def _once(key: Key) -> bool:
    """Whether a key names no place twice."""
    if not builtins.any(isinstance(k, np.ndarray) for k in key):
        return True
    tables = np.broadcast_arrays(*(k for k in key if not isinstance(k, tuple)))
    places = np.stack([t.ravel() for t in tables])
    return np.unique(places, axis=1).shape == places.shape


def _places(params: Params) -> list[np.ndarray] | None:
    if builtins.any(True for _ in dims_in((params["shape"], *params["keys"]))):
        return None
    return [positions(key, params["shape"]) for key in params["keys"]]


def _scatter_vjp(g: Expr, y: Expr, *xs: Expr, shape: Shape, keys: Sequence[Key]) -> tuple[Expr, ...]:
    return tuple(_index(g, key=key) for key in keys)


def _scatter_torch(torch: Any, *xs: Any, shape: Shape, keys: Sequence[Key]) -> Any:
    out = torch.zeros(math.prod(static_shape(shape)), dtype=xs[0].dtype)
    for x, key in zip(xs, keys, strict=True):
        places = torch.as_tensor(positions(key, shape)).reshape(-1)
        out = out.index_add(0, places, x.reshape(-1))
    return out.reshape(static_shape(shape))


def _scatter_place(part: int, index: Index, params: Params, types: Sequence[Type]) -> Index:
    return _index_source(index, {"key": params["keys"][part]}, Type(params["shape"]))


def _scatter_cost(y: Type, *xs: Type, **_: Any) -> dict[str, Any]:
    return {"add": at_least_zero(sum(x.size for x in xs) - y.size)}


scatter: Traced = op(
    "scatter",
    arity=None,
    kind="assembly",
    takes="number",
    infer=lambda *xs, shape, keys: Type(shape, xs[0].dtype),
    vjp=_scatter_vjp,
    batch=put_batch,
    structure=Assembly(_scatter_place, accumulate=True, places=_places),
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
    entries = each_axis(x, key)
    if builtins.any(isinstance(e, Expr) for e in entries):
        from .gathering import traced_getitem

        return traced_getitem(x, entries)
    new_axes: list[int] = []
    single: list[int] = []
    normal: list[Any] = []
    place, axis = 0, 0
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
        if isinstance(normal[-1], Dim):  # one element at a place that is known by name
            if gathered:
                raise ShapeError(
                    "index: a place counted from the end of a named axis does not go with arrays of indices"
                )
            single.append(axis - builtins.sum(isinstance(k, int) for k in normal))
            normal[-1] = (normal[-1], 1, 1)
            place -= 1
        axis += 1
    whole = builtins.all(isinstance(k, tuple) and k == (0, 1, d) for k, d in zip(normal, x.shape, strict=True))
    result = x if whole else _index(x, key=tuple(normal))
    result = squeeze(result, single) if single else result
    return expand_dims(result, new_axes) if new_axes else result


def each_axis(x: Expr, key: Any) -> tuple[Any, ...]:
    """The entries of a key of `x`, one for each axis (and None for new ones), without `...`."""
    entries = key if isinstance(key, tuple) else (key,)
    entries = tuple(_as_array(e) if isinstance(e, list) else e for e in entries)
    used = builtins.sum(_consumes(e) for e in entries)
    if used > x.ndim:
        raise ShapeError(f"index: {used} indices for shape {format_shape(x.shape)} of {_named(x)!r}")
    if Ellipsis in [e if e is Ellipsis else None for e in entries]:
        at = next(i for i, e in enumerate(entries) if e is Ellipsis)
        entries = entries[:at] + (slice(None),) * (x.ndim - used) + entries[at + 1 :]
    else:
        entries += (slice(None),) * (x.ndim - used)
    return entries


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
        return _named_span(entry, size) if _is_named(size, entry.start, entry.stop) else _span(entry, int(size))
    if isinstance(entry, np.ndarray) and entry.ndim:
        if entry.dtype.kind not in "iu":
            raise ShapeError(f"index: arrays of indices must be integers, not {entry.dtype}")
        if isinstance(size, Dim):
            if (entry < 0).any():
                raise ShapeError(
                    f"index: places counted from the end of axis {axis}, whose size {size} has no number yet"
                )
            return _frozen(entry.astype(np.int64))
        places = np.where(entry < 0, entry + size, entry).astype(np.int64)
        if places.size and not (places.min() >= 0 and places.max() < size):
            raise ShapeError(f"index: places {entry.tolist()} go beyond axis {axis} of size {size}")
        return _frozen(places)
    if isinstance(entry, Dim):
        return entry
    if isinstance(entry, bool | Expr) or not hasattr(entry, "__index__"):
        raise ShapeError(f"index: {entry!r} is not an index; ints, slices, None, ... and integer arrays are")
    place = int(entry.__index__())
    if isinstance(size, Dim):
        return place if place >= 0 else size + place
    if not -size <= place < size:
        raise ShapeError(
            f"index: {place} is out of bounds for axis {axis}, which has size {size}, of {_named(x)!r} with shape "
            f"{format_shape(x.shape)}"
        )
    return place % size


def _frozen(places: np.ndarray) -> np.ndarray:
    places.setflags(write=False)
    return places


def _is_named(*sizes: Any) -> bool:
    return builtins.any(isinstance(s, Dim) for s in sizes)


def section(x: Expr, axis: int, start: Extent, count: Extent) -> Expr:
    """`count` elements from `start` on along an axis, which must be there."""
    key = tuple((start, 1, count) if k == axis else (0, 1, d) for k, d in enumerate(x.shape))
    return x if (start, count) == (0, x.shape[axis]) else _index(x, key=key)


def _named_span(entry: slice, size: Extent) -> tuple[Extent, int, Extent]:
    """Start, step and count of a slice where not all is known by number: Python's rules for every size."""
    step = 1 if entry.step is None else int(entry.step)
    if step == 0:
        raise ShapeError(f"index: a slice cannot have step 0 ({entry})")
    if step < 0:
        if entry.start is not None or entry.stop is not None:
            raise ShapeError(
                f"index: a slice that goes backwards along a named axis takes all of it (x[::{step}]): slice first"
            )
        return size - 1, step, quotient(size - step - 1, -step)
    start, stop = 0 if entry.start is None else entry.start, size if entry.stop is None else entry.stop
    if isinstance(start, int) and start >= 0 and (stop == size or (isinstance(stop, int) and stop < 0)):
        count = at_least_zero((stop if stop == size else size + stop) - start)
    else:
        begin, end = _clamped(start, size), _clamped(stop, size)
        count = end if begin == 0 else at_least_zero(end - begin)
        start = begin
    return start, step, quotient(count + step - 1, step)


def _clamped(place: Extent, size: Extent) -> Extent:
    """What a bound of a slice means: counted from the end if negative, and nowhere beyond an end."""
    least = lower_bound(place)
    if least is not None and least >= 0:
        room = lower_bound(size - place)
        return place if room is not None and room >= 0 else size - at_least_zero(size - place)
    if isinstance(place, int):
        return at_least_zero(size + place)
    return at_least_zero(place)  # n - 3: what is below 0 for small n alone


def _span(entry: slice, size: int) -> tuple[int, int, int]:
    if entry.step == 0:
        raise ShapeError(f"index: a slice cannot have step 0 ({entry})")
    start, stop, step = entry.indices(size)
    count = len(range(start, stop, step))
    return (start if count else 0, step, count)


element = op(
    "element",
    arity=1,
    kind="layout",
    takes="any",
    infer=lambda x, place: Type((), x.dtype),
    evaluate=lambda x, place: x[place],
    cost=free,
    symbol="[ ]",
    vjp=lambda g, y, x, place: (scatter(g, shape=x.shape, keys=(place,)),),
    batch=lambda op, xs, mapped, size, params: _index(xs[0], key=((0, 1, size), *params["place"])),
    torch=lambda torch, x, place: x[place],
    doc="One element of an array argument, in scalar code.",
)
