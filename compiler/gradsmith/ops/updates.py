"""Updates: an array put together from parts at static places, of which later ones cover earlier ones.

`assemble(x, v, shape=x.shape, keys=(whole, key))` is `x` with `v` in place of `x[key]`: what `x[key] = v` leaves.
Where something lies is told by positions: arrays of ints that number the elements of an array in row-major order.
`key_of` turns positions into the plainest key there is (ints, then slices, then tables), `taken` reads what lies there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Index
from ..registry import Assembly, Params
from ..trace import Expr, as_expr, constant, op
from ..types import Shape, Type, format_shape, static_shape
from ._declare import Traced, dtype_option, free
from .indexing import Key, _index, _index_source, _key_text, _numpy_key, _result_shape, positions, put_batch
from .layout import broadcast_to, reshape, transpose

__all__ = ["assemble", "key_of", "put", "shaped", "taken", "whole"]

_FEW = 8  # keys that a derivative lists as they are; beyond it, they are joined into one

# --- the op ---------------------------------------------------------------------------------------------------------


def whole(shape: Shape) -> Key:
    """The key of all of an array of `shape`."""
    return tuple((0, 1, size) for size in static_shape(shape))


def _is_whole(key: Key, shape: Shape) -> bool:
    return all(isinstance(entry, tuple) for entry in key) and key == whole(shape)


def _infer(*parts: Type, shape: Shape, keys: Sequence[Key]) -> Type:
    for part, key in zip(parts, keys, strict=True):
        if part.shape != _result_shape(key, shape) or part.dtype != parts[0].dtype:
            raise ShapeError(
                f"a part of type {part} does not fit places of shape {format_shape(_result_shape(key, shape))}"
            )
    return Type(shape, parts[0].dtype)


def _covered(key: Key, later: Sequence[Key], shape: Shape) -> np.ndarray:
    """Which elements of the part at `key` are covered by later parts, in the shape of the part."""
    over = np.zeros(math.prod(static_shape(shape)), dtype=bool)
    for each in later:
        over[positions(each, shape)] = True
    covered: np.ndarray = over[positions(key, shape)]
    return covered


def _vjp(g: Expr, y: Expr, *parts: Expr, shape: Shape, keys: Sequence[Key]) -> tuple[Expr, ...]:
    """Each part receives what lies at its places, and 0 where a later part covers it."""
    shares = []
    for number, key in enumerate(keys):
        later = keys[number + 1 :]
        if _is_whole(key, shape) and 0 < len(later) <= _FEW:
            zeros = [broadcast_to(_zero(g), _result_shape(k, shape)) for k in later]
            shares.append(assemble(g, *zeros, shape=shape, keys=(key, *later)))
            continue
        share = g if _is_whole(key, shape) else _index(g, key=key)
        covered = _covered(key, later, shape)
        shares.append(put(share, np.flatnonzero(covered), _zero(share)) if covered.any() else share)
    return tuple(shares)


def _zero(like: Expr) -> Expr:
    """The number 0 in the dtype of `like`: parts of one array have one dtype."""
    return constant(0, like.type.dtype)


def _evaluate(*parts: Any, shape: Shape, keys: Sequence[Key]) -> Any:
    arrays = [np.asarray(p) for p in parts]
    exact = any(a.dtype == object for a in arrays)
    out = np.empty(static_shape(shape), dtype=object if exact else np.result_type(*arrays))
    for a, key in zip(arrays, keys, strict=True):
        out[_numpy_key(key)] = a if a.ndim else a[()]  # an object, not an array of one
    return out


def _statements(name: str, args: Sequence[str], params: Params, types: Sequence[Type]) -> list[str]:
    shape, keys = params["shape"], params["keys"]
    kept = _is_whole(keys[0], shape)
    dtype = dtype_option(types[0])
    if not kept:
        lines = [f"{name} = np.empty({format_shape(shape)}{dtype})"]
    elif types[0].shape:
        lines = [f"{name} = np.array({args[0]})"]
    else:
        lines = [f"{name} = np.full({format_shape(shape)}, {args[0]}{dtype})"]
    return lines + [f"{name}[{_key_text(keys[i], shape)}] = {args[i]}" for i in range(int(kept), len(keys))]


def _torch(torch: Any, *parts: Any, shape: Shape, keys: Sequence[Key]) -> Any:
    out = torch.zeros(math.prod(static_shape(shape)), dtype=parts[0].dtype)
    for part, key in zip(parts, keys, strict=True):
        out = out.index_put((torch.as_tensor(positions(key, shape)).reshape(-1),), part.reshape(-1))
    return out.reshape(static_shape(shape))


def _place(part: int, index: Index, params: Params, types: Sequence[Type]) -> Index:
    return _index_source(index, {"key": params["keys"][part]}, Type(params["shape"]))


assemble: Traced = op(
    "assemble",
    arity=None,
    kind="assembly",
    takes="any",
    infer=_infer,
    vjp=_vjp,
    batch=put_batch,
    structure=Assembly(_place),
    evaluate=_evaluate,
    torch=_torch,
    statements={"numpy": _statements},
    cost=free,
    symbol="[ ]=",
    slope="the gradient, at the places of each part that no later one covers",
    samples=[
        (np.array([0.3, 1.0, -2.0]), 0.7, {"shape": (3,), "keys": (((0, 1, 3),), (1,))}),
        (np.array([0.3, 1.0]), np.array([0.1, 2.0]), {"shape": (3,), "keys": (((0, 1, 2),), ((1, 1, 2),))}),
        (
            np.array([[0.3, 1.0], [2.0, -1.0]]),
            np.array([0.4, -0.6]),
            {"shape": (2, 2), "keys": (((0, 1, 2), (0, 1, 2)), (np.array([1, 0]), np.array([0, 1])))},
        ),
    ],
    doc="Parts put at static places of an array, where later ones cover earlier ones.",
)


def put(x: Expr, places: np.ndarray, value: Any) -> Expr:
    """`x` with `value` at `places`, which are positions in `x`."""
    key, order = key_of(places, x.shape)
    return assemble(
        x, arranged(as_expr(value), places.shape, key, order, x.shape), shape=x.shape, keys=(whole(x.shape), key)
    )


# --- positions ------------------------------------------------------------------------------------------------------


def key_of(places: np.ndarray, shape: Shape) -> tuple[Key, tuple[int, ...] | None]:
    """A key of an array of `shape` that names `places`, and which axes of `places` its axes are (None: the same).

    >>> key_of(np.array([3, 4, 5]), (2, 3))
    ((1, (0, 1, 3)), (0,))
    >>> key_of(np.arange(6).reshape(2, 3).T[::-1], (2, 3))
    (((0, 1, 2), (2, -1, 3)), (1, 0))
    """
    sizes = static_shape(shape)
    if places.size == math.prod(sizes) and np.array_equal(places.ravel(), np.arange(places.size)):
        return whole(shape), None
    coordinates = np.unravel_index(places, sizes)
    spans = [_span(c) for c in coordinates]
    order = tuple(s[0] for s in spans if s is not None and s[0] is not None)
    if None not in spans and sorted(order) == [a for a, size in enumerate(places.shape) if size > 1]:
        return tuple(s[1] for s in spans if s is not None), order
    tables = tuple(np.array(c, dtype=np.int64) for c in coordinates)
    for table in tables:
        table.setflags(write=False)
    return tables, None


def _span(coordinate: np.ndarray) -> tuple[int | None, Any] | None:
    """One axis' coordinates as an int, or as a slice that follows one axis of the places; None if they are neither."""
    if not coordinate.size:
        return None
    first = int(coordinate.flat[0])
    moving = [
        a for a, size in enumerate(coordinate.shape) if size > 1 and np.take(coordinate, 1, axis=a).flat[0] != first
    ]
    if not moving:
        return (None, first) if (coordinate == first).all() else None
    axis = moving[0]
    count = coordinate.shape[axis]
    step = int(np.take(coordinate, 1, axis=axis).flat[0]) - first
    expected = first + step * np.arange(count).reshape([-1 if a == axis else 1 for a in range(coordinate.ndim)])
    return (axis, (first, step, count)) if (coordinate == expected).all() else None


def arranged(value: Expr, shape: tuple[int, ...], key: Key, order: tuple[int, ...] | None, of: Shape) -> Expr:
    """`value`, which belongs to places of `shape`, in the shape that `key` of an array of shape `of` has."""
    wanted = _result_shape(key, of)
    if value.shape == ():
        return broadcast_to(value, wanted) if wanted else value
    if order is not None and order != tuple(sorted(order)):
        value = transpose(value, (*order, *(a for a in range(len(shape)) if a not in order)))
    return shaped(value, wanted)


def shaped(value: Expr, shape: Shape) -> Expr:
    """`value` in `shape`, which may be its own."""
    return value if value.shape == shape else reshape(value, shape)


def taken(value: Expr, places: np.ndarray) -> Expr:
    """The elements of `value` at `places`, in their shape."""
    if value.op.name == "broadcast_to" and value.args[0].shape == ():
        return broadcast_to(value.args[0], places.shape) if places.shape else value.args[0]
    if not value.shape:
        return broadcast_to(value, places.shape) if places.shape else value
    key, order = key_of(places, value.shape)
    found = value if _is_whole(key, value.shape) else _index(value, key=key)
    if order is not None and order != tuple(sorted(order)):
        found = transpose(found, tuple(int(i) for i in np.argsort(order)))
    return shaped(found, places.shape)
