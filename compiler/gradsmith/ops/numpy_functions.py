"""NumPy's functions on traced values, with NumPy's own signatures: compositions of gs functions.

Only what differs from the array API in name, signature or meaning stands here; every other NumPy function is the gs
function of its name (see `dispatch`, which also sees to `out=` and `dtype=`). In: the arguments of `np.f(...)` or of a
method `x.f(...)`. Out: traced values. gs functions are looked up when called, by name.
"""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, TraceError
from ..trace import Expr, as_expr
from ..types import Dim, static_shape
from .lazy import gs
from .masked import NEUTRAL, Masked
from .memory import copy, dtype_named, fresh, stored, window

__all__ = ["FUNCTIONS", "METHODS", "REDUCTIONS", "real_array_refused"]


FUNCTIONS: dict[str, Callable[..., Any]] = {}
Axis = int | Sequence[int] | None


def _numpy(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as NumPy's functions of these names; its own is the first of them without an underscore."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names or (function.__name__.strip("_"),):
            FUNCTIONS[name] = function
        return function

    return register


# --- reductions -----------------------------------------------------------------------------------------------------

_JOIN = {"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


def _reduction(name: str) -> Callable[..., Any]:
    def reduce(a: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
        if isinstance(a, Masked):
            if axis is not None:
                raise TraceError(
                    f"np.{name}(axis=) of a selection by a traced condition: reduce all of it, or use gs.where"
                )
            a = a.filled(NEUTRAL[name])
        x = as_expr(a) if where is True else gs.where(where, a, NEUTRAL[name])
        result = getattr(gs, name)(x, axis=axis, keepdims=keepdims)
        return fresh(result) if initial is None else getattr(gs, _JOIN[name])(result, initial)

    return reduce


for _name in _JOIN:
    FUNCTIONS[_name] = _reduction(_name)
FUNCTIONS["amax"], FUNCTIONS["amin"] = FUNCTIONS["max"], FUNCTIONS["min"]


def _count(a: Expr, axis: Axis, where: Any, keepdims: bool) -> Any:
    """How many elements a mean is over, given which count."""
    return gs.sum(gs.broadcast_to(gs.where(where, 1.0, 0.0), a.shape), axis=axis, keepdims=keepdims)


@_numpy()
def mean(a: Any, axis: Axis = None, keepdims: bool = False, where: Any = True) -> Any:
    if isinstance(a, Masked):
        a, where = a.values, a.condition
    if where is True:
        return fresh(gs.mean(a, axis=axis, keepdims=keepdims))
    x = as_expr(a)
    return FUNCTIONS["sum"](x, axis, keepdims, where=where) / _count(x, axis, where, keepdims)


def _spread(power: float) -> Callable[..., Any]:
    def spread(
        a: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, correction: float | None = None
    ) -> Any:
        by = ddof if correction is None else correction
        return (
            gs.var(a, axis=axis, correction=by, keepdims=keepdims)
            if power == 1
            else gs.std(a, axis=axis, correction=by, keepdims=keepdims)
        )

    return spread


FUNCTIONS["var"], FUNCTIONS["std"] = _spread(1), _spread(0.5)


@_numpy()
def average(a: Any, axis: Axis = None, weights: Any = None, keepdims: bool = False) -> Any:
    if weights is None:
        return mean(a, axis, keepdims)
    x, w = as_expr(a), as_expr(weights)
    if w.shape != x.shape:
        if not isinstance(axis, int) or w.ndim != 1:
            raise ShapeError("np.average: weights of another shape are one axis of numbers, and axis= says which")
        w = gs.broadcast_to(gs.reshape(w, [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]), x.shape)
    return gs.sum(x * w, axis=axis, keepdims=keepdims) / gs.sum(w, axis=axis, keepdims=keepdims)


@_numpy()
def ptp(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    return gs.max(a, axis=axis, keepdims=keepdims) - gs.min(a, axis=axis, keepdims=keepdims)


#: Ufuncs whose `.reduce` is a gs reduction, and whose `.accumulate` is a cumulative one.
REDUCTIONS = {
    "add": ("sum", "cumulative_sum"), "multiply": ("prod", "cumulative_prod"), "maximum": ("max", "cummax"),
    "minimum": ("min", "cummin"), "logaddexp": ("logsumexp", "logcumsumexp"), "logical_and": ("all", ""),
    "logical_or": ("any", ""),
}  # fmt: skip


# --- making arrays ----------------------------------------------------------------------------------------------------


def _filled(value: float) -> Callable[..., Any]:
    def filled(shape: Any, dtype: Any = float) -> Any:
        return copy(gs.broadcast_to(stored(as_expr(value), dtype_named(dtype)), shape))

    return filled


def _filled_like(value: float) -> Callable[..., Any]:
    def filled_like(a: Any, dtype: Any = None, shape: Any = None) -> Any:
        return full_like(a, value, dtype, shape)

    return filled_like


for _name, _value in (("zeros", 0.0), ("ones", 1.0), ("empty", 0.0)):
    FUNCTIONS[_name], FUNCTIONS[f"{_name}_like"] = _filled(_value), _filled_like(_value)


@_numpy()
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    value = as_expr(fill_value)
    return copy(gs.broadcast_to(value if dtype is None else stored(value, dtype_named(dtype)), shape))


@_numpy()
def full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    x = as_expr(a)
    wanted = x.type.dtype if dtype is None else dtype_named(dtype)
    return copy(gs.broadcast_to(stored(as_expr(fill_value), wanted), x.shape if shape is None else shape))


@_numpy("array")
def array(object: Any, dtype: Any = None, *, copy: bool | None = True, ndmin: int = 0) -> Any:
    x = as_expr(object) if dtype is None else stored(as_expr(object), dtype_named(dtype))
    x = gs.reshape(x, (*(1 for _ in range(ndmin - x.ndim)), *x.shape)) if ndmin > x.ndim else x
    return x if copy is not True and isinstance(object, Expr) else fresh(x)


@_numpy("asarray", "asanyarray", "ascontiguousarray", "asarray_chkfinite", "require")
def asarray(a: Any, dtype: Any = None) -> Any:
    x = a if dtype is None else stored(as_expr(a), dtype_named(dtype))
    return x if x is a and isinstance(a, Expr) else fresh(x)


@_numpy("copy")
def _copy(a: Any) -> Any:
    return copy(a)


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    def made(*arguments: Any, **options: Any) -> Any:
        return fresh(function(*arguments, **options))

    return made


for _made in (np.arange, np.eye, np.identity, np.tri):  # with like=, of numbers
    FUNCTIONS[_made.__name__] = _constant(_made)


@_numpy()
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, axis: int = 0) -> Any:
    found = gs.linspace(start, stop, num, endpoint=endpoint)
    found = gs.moveaxis(found, 0, axis) if axis else found
    apart = (as_expr(stop) - start) / float(builtins.max(num - 1 if endpoint else num, 1))
    return (found, apart) if retstep else found


# --- shape ------------------------------------------------------------------------------------------------------------


@_numpy()
def shape(a: Any) -> Any:
    return as_expr(a).shape


@_numpy()
def ndim(a: Any) -> int:
    return as_expr(a).ndim


@_numpy()
def size(a: Any, axis: int | None = None) -> Any:
    x = as_expr(a)
    return x.size if axis is None else x.shape[axis]


@_numpy()
def ravel(a: Any, order: str = "C") -> Any:
    return gs.ravel(gs.transpose(a) if order == "F" else a)


def flatten(a: Any, order: str = "C") -> Any:
    return fresh(ravel(a, order))


@_numpy()
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    count = as_expr(a).ndim
    axis, start = axis % count, start + count if start < 0 else start
    return gs.moveaxis(a, axis, start - 1 if axis < start else start)


def _at_least(count: int, place: Callable[[int], tuple[int, ...]]) -> Callable[..., Any]:
    def at_least(*arrays: Any) -> Any:
        found = [a if as_expr(a).ndim >= count else gs.expand_dims(a, place(as_expr(a).ndim)) for a in arrays]
        return found[0] if len(found) == 1 else tuple(found)

    return at_least


FUNCTIONS["atleast_1d"] = _at_least(1, lambda have: (0,))
FUNCTIONS["atleast_2d"] = _at_least(2, lambda have: (0, 1)[: 2 - have])
FUNCTIONS["atleast_3d"] = _at_least(3, lambda have: {0: (0, 1, 2), 1: (0, 2), 2: (2,)}[have])


@_numpy()
def flipud(m: Any) -> Any:
    return gs.flip(m, axis=0)


@_numpy()
def fliplr(m: Any) -> Any:
    return gs.flip(m, axis=1)


@_numpy()
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    first, second = axes
    turns = {
        0: lambda: m,
        1: lambda: gs.swapaxes(gs.flip(m, axis=second), first, second),
        2: lambda: gs.flip(m, axis=axes),
        3: lambda: gs.flip(gs.swapaxes(m, first, second), axis=second),
    }
    return turns[k % 4]()


# --- joining and splitting --------------------------------------------------------------------------------------------


@_numpy()
def concatenate(arrays: Any, axis: int | None = 0) -> Any:
    parts = list(arrays)
    return gs.concatenate([gs.ravel(p) for p in parts] if axis is None else parts, axis=0 if axis is None else axis)


FUNCTIONS["concat"] = concatenate


@_numpy()
def stack(arrays: Any, axis: int = 0) -> Any:
    return gs.stack(list(arrays), axis=axis)


@_numpy()
def vstack(tup: Any) -> Any:
    return gs.concatenate([FUNCTIONS["atleast_2d"](a) for a in tup], axis=0)


FUNCTIONS["row_stack"] = vstack


@_numpy()
def hstack(tup: Any) -> Any:
    parts = [FUNCTIONS["atleast_1d"](a) for a in tup]
    return gs.concatenate(parts, axis=0 if as_expr(parts[0]).ndim == 1 else 1)


@_numpy()
def dstack(tup: Any) -> Any:
    return gs.concatenate([FUNCTIONS["atleast_3d"](a) for a in tup], axis=2)


@_numpy()
def column_stack(tup: Any) -> Any:
    columns = [FUNCTIONS["atleast_1d"](a) for a in tup]
    return gs.concatenate([gs.expand_dims(a, 1) if as_expr(a).ndim == 1 else a for a in columns], axis=1)


@_numpy()
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return concatenate((arr, values), axis)


@_numpy()
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    count = static_shape((as_expr(ary).shape[axis],), "np.array_split")[0]
    places = np.array_split(np.arange(count), indices_or_sections)
    before = (slice(None),) * (axis % as_expr(ary).ndim)
    starts = np.cumsum([0, *(len(p) for p in places)])
    if not isinstance(indices_or_sections, int):
        return [ary[(*before, slice(int(p[0]), int(p[-1]) + 1) if len(p) else slice(0, 0))] for p in places]
    return [ary[(*before, slice(int(a), int(b)))] for a, b in itertools.pairwise(starts)]


@_numpy()
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    count = static_shape((as_expr(ary).shape[axis],), "np.split")[0]
    if isinstance(indices_or_sections, int) and count % indices_or_sections:
        raise ShapeError(f"np.split: {count} elements do not divide into {indices_or_sections} equal parts")
    return array_split(ary, indices_or_sections, axis)  # type: ignore[no-any-return]


@_numpy()
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    return split(ary, indices_or_sections, 0)  # type: ignore[no-any-return]


@_numpy()
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    return split(ary, indices_or_sections, 0 if as_expr(ary).ndim == 1 else 1)  # type: ignore[no-any-return]


# --- arithmetic -------------------------------------------------------------------------------------------------------


@_numpy()
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return gs.clip(a, a_min if min is None else min, a_max if max is None else max)


@_numpy("round", "around", "round_")
def round(a: Any, decimals: int = 0) -> Any:
    scale = 10.0**decimals
    return gs.round(a) if not decimals else gs.round(as_expr(a) * scale) / scale


@_numpy()
def heaviside(x1: Any, x2: Any) -> Any:
    x = as_expr(x1)
    return gs.where(x != x, x, gs.where(x < 0.0, 0.0, gs.where(x > 0.0, 1.0, x2)))


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda x: as_expr(x) * factor


FUNCTIONS["deg2rad"] = FUNCTIONS["radians"] = _scaled(math.pi / 180)
FUNCTIONS["rad2deg"] = FUNCTIONS["degrees"] = _scaled(180 / math.pi)


@_numpy()
def float_power(x1: Any, x2: Any) -> Any:
    return gs.power(x1, x2)


@_numpy("divmod")
def _divmod(x1: Any, x2: Any) -> tuple[Any, Any]:
    return gs.floor_divide(x1, x2), gs.remainder(x1, x2)


def _known(worse: str) -> Callable[[Any, Any], Any]:
    """`maximum` or `minimum` that ignores NaN where the other operand is a number."""

    def known(x1: Any, x2: Any) -> Any:
        a, b = as_expr(x1), as_expr(x2)
        return gs.where(a != a, b, gs.where(b != b, a, getattr(gs, worse)(a, b)))

    return known


FUNCTIONS["fmax"], FUNCTIONS["fmin"] = _known("maximum"), _known("minimum")


@_numpy()
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    if not copy:
        raise TraceError("np.nan_to_num(copy=False) changes its argument in place: assign its result instead")
    x = as_expr(x)
    if x.dtype.kind != "float":
        return gs.copy(x)
    largest = float(np.finfo(x.dtype.name).max)
    high, low = largest if posinf is None else posinf, -largest if neginf is None else neginf
    return gs.where(x != x, nan, gs.where(x == math.inf, high, gs.where(x == -math.inf, low, x)))


@_numpy()
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = gs.where(condition, choice, result)
    return result


@_numpy()
def ediff1d(ary: Any) -> Any:
    return gs.diff(gs.ravel(ary))


@_numpy()
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    values = as_expr(y)
    before = (slice(None),) * (axis % values.ndim)
    width: Any = dx
    if x is not None:
        width = gs.diff(x, axis=axis if as_expr(x).ndim > 1 else -1)
        if as_expr(x).ndim == 1:
            width = gs.reshape(width, [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)])
    return gs.sum(width * (values[(*before, slice(1, None))] + values[(*before, slice(None, -1))]) * 0.5, axis=axis)


@_numpy()
def polyval(p: Any, x: Any) -> Any:
    result: Any = 0.0
    for coefficient in p if isinstance(p, Expr) else np.asarray(p, dtype=float) if not _traced(p) else p:
        result = result * as_expr(x) + coefficient
    return result


def _traced(values: Any) -> bool:
    return isinstance(values, Expr) or any(isinstance(v, Expr) for v in values)


@_numpy()
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    x, y = as_expr(a), as_expr(v)
    x, y = (x, y) if x.size >= y.size else (y, x)
    long, short = x.size, y.size
    padded = (
        gs.concatenate([gs.broadcast_to(0.0, (short - 1,)), x, gs.broadcast_to(0.0, (short - 1,))]) if short > 1 else x
    )
    windows = np.arange(long + short - 1)[:, None] + np.arange(short)[::-1]
    full = gs.matmul(padded[windows], y)
    start = {"full": 0, "same": (short - 1) // 2, "valid": short - 1}
    if mode not in start:
        raise TraceError(f"np.convolve: mode={mode!r} is not one of full, same, valid")
    count = {"full": long + short - 1, "same": long, "valid": long - short + 1}[mode]
    return full[start[mode] : start[mode] + count]


# --- products ---------------------------------------------------------------------------------------------------------


@_numpy()
def inner(a: Any, b: Any) -> Any:
    left, right = as_expr(a), as_expr(b)
    if not left.ndim or not right.ndim:
        return left * right
    return (
        gs.tensordot(left, right, axes=((-1,), (-1,)))
        if builtins.max(left.ndim, right.ndim) > 2
        else gs.matmul(left, gs.transpose(right))
    )


@_numpy()
def vdot(a: Any, b: Any) -> Any:
    return gs.dot(gs.ravel(a), gs.ravel(b))


@_numpy()
def kron(a: Any, b: Any) -> Any:
    x, y = as_expr(a), as_expr(b)
    count = builtins.max(x.ndim, y.ndim)
    one, two = ((1,) * (count - v.ndim) + v.shape for v in (x, y))
    left = gs.reshape(x, [d for s in one for d in (s, 1)])
    right = gs.reshape(y, [d for s in two for d in (1, s)])
    return gs.reshape(left * right, [p * q for p, q in zip(one, two, strict=True)])


def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    count = as_expr(a).ndim
    ends = (axis1 % count, axis2 % count)
    x = gs.permute_dims(a, (*(i for i in range(count) if i not in ends), *ends))
    if builtins.any(isinstance(d, Dim) for d in x.shape):
        return gs.diagonal(x, offset, -2, -1)
    rows, columns = static_shape(x.shape[-2:])
    first = np.arange(builtins.max(0, builtins.min(rows + builtins.min(offset, 0), columns - builtins.max(offset, 0))))
    return window(x, (..., first - builtins.min(offset, 0), first + builtins.max(offset, 0)))


FUNCTIONS["diagonal"] = _diagonal


@_numpy("linalg.multi_dot")
def multi_dot(arrays: Any) -> Any:
    found, *rest = list(arrays)
    for each in rest:
        found = gs.matmul(found, each)
    return found


# --- in place ---------------------------------------------------------------------------------------------------------


@_numpy()
def copyto(dst: Any, src: Any, where: Any = True) -> None:
    real_array_refused("np.copyto", dst)
    dst[...] = src if where is True else gs.where(where, src, dst)


@_numpy()
def fill_diagonal(a: Any, val: Any) -> None:
    real_array_refused("np.fill_diagonal", a)
    places = np.arange(builtins.min(static_shape(a.shape)))
    a[(places,) * a.ndim] = val


@_numpy()
def put(a: Any, ind: Any, v: Any) -> None:
    real_array_refused("np.put", a)
    gs.ravel(a)[np.asarray(ind)] = v


@_numpy()
def putmask(a: Any, mask: Any, values: Any) -> None:
    real_array_refused("np.putmask", a)
    a[...] = gs.where(mask, values, a)


def fill(a: Any, value: Any) -> None:
    a[...] = value


def real_array_refused(call: str, target: Any) -> None:
    """A real NumPy array cannot hold a traced value, and nobody can tell it to."""
    if not isinstance(target, Expr):
        raise TraceError(
            f"{call} would write a traced value into a real NumPy array: make that array traced, by np.zeros_like(x), "
            "np.zeros(shape, like=x) or x.copy() in place of np.zeros(shape)"
        )


# --- refused ----------------------------------------------------------------------------------------------------------


def _answered(name: str, remedy: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise TraceError(f"np.{name} answers with a number or a bool, which no traced value has yet: {remedy}")

    return refuse


for _name, _remedy in (
    ("allclose", "compare the results of the compiled function"),
    ("array_equal", "compare the results of the compiled function"),
    ("array_equiv", "compare the results of the compiled function"),
    ("nonzero", "use gs.where(condition, a, b), which keeps all elements"),
    ("flatnonzero", "use gs.where(condition, a, b), which keeps all elements"),
    ("argwhere", "use gs.where(condition, a, b), which keeps all elements"),
    ("array2string", "print the results of the compiled function"),
    ("save", "save the results of the compiled function"),
):
    FUNCTIONS[_name] = _answered(_name, _remedy)

#: Methods of arrays: NumPy's functions under their own names, and those that differ.
METHODS: dict[str, Callable[..., Any]] = {"flatten": flatten, "fill": fill}
METHODS |= {
    name: FUNCTIONS[name]
    for name in (
        "clip", "copy", "diagonal", "max", "mean", "min", "prod", "put", "ravel", "round", "std", "sum", "var",
    )
}  # fmt: skip
#: Methods that are the gs function of their name.
DELEGATED = (
    "all", "any", "argmax", "argmin", "argsort", "cumprod", "cumsum", "dot", "repeat", "searchsorted", "squeeze",
    "swapaxes", "take", "trace",
)  # fmt: skip
