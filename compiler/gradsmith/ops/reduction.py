"""Reductions over axes: sum, mean, prod, max, min, logsumexp, softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Params, Reduction
from ..trace import Expr, as_expr, constant, op
from ..types import INT32, INT64, Dim, Type, format_shape, normalize_axes
from ._batch import lifted
from ._declare import Traced
from .arithmetic import absolute
from .conversion import astype
from .elementary import exp, log
from .indexing import getitem
from .joining import concatenate
from .layout import broadcast_to, reshape, transpose
from .memory import copy
from .selection import equal, where

__all__ = ["logsumexp", "max", "mean", "min", "mse", "prod", "softmax", "sum"]

Axes = tuple[int, ...]


def _infer(x: Type, axis: Axes, keepdims: bool) -> Type:
    kept = (1 if i in axis else d for i, d in enumerate(x.shape))
    return Type(tuple(kept) if keepdims else tuple(d for i, d in enumerate(x.shape) if i not in axis), x.dtype)


def _infer_nonempty(x: Type, axis: Axes, keepdims: bool) -> Type:
    if any(x.shape[i] == 0 for i in axis):
        raise ShapeError(f"shape {format_shape(x.shape)} is empty along axis {axis}, and an empty set has no result")
    return _infer(x, axis, keepdims)


def _an_element(x: Type, axis: Axes, keepdims: bool) -> list[tuple[Any, int]]:
    return [(x.shape[i], 1) for i in axis]


def _spread(g: Expr, x: Expr, axis: Axes) -> Expr:
    """A reduced value or cotangent, put back beside every element it stands for."""
    kept = tuple(1 if i in axis else d for i, d in enumerate(x.shape))
    return broadcast_to(reshape(g, kept) if g.shape != kept else g, x.shape)


def _count(x: Type | Expr, axis: Axes) -> Any:
    """How many elements are reduced to one: an int, or a size known by name."""
    return math.prod(x.shape[i] for i in axis)


def _divisor(x: Type | Expr, axis: Axes) -> Any:
    """The same as a number to divide by."""
    count = _count(x, axis)
    return count if isinstance(count, Dim) else float(count)


def _cell(name: str) -> Any:
    def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
        return f"np.{name}({', '.join([args[0], *_options(params, types[0])])})"

    return cell


def _options(params: Params, x: Type) -> list[str]:
    axis = params["axis"]
    options = [] if axis == tuple(range(x.ndim)) else [f"axis={axis[0] if len(axis) == 1 else axis}"]
    return options + (["keepdims=True"] if params["keepdims"] else [])


def _combining(kind: str) -> Any:
    return lambda y, x, **_: {kind: x.size - y.size}


_MATRIX = np.array([[0.3, -1.2, 2.0], [0.9, 0.4, -0.7]])
_SAMPLES = [
    (_MATRIX, {"axis": (0, 1), "keepdims": False}),
    (_MATRIX, {"axis": (1,), "keepdims": True}),
    (_MATRIX, {"axis": (0,), "keepdims": False}),
]


def _reduction(name: str, function: Any, torch: str, *, widens: bool = False, **fields: Any) -> Traced:
    """The record of a reduction, and its public function with NumPy's `axis` and `keepdims`."""
    cells = {"numpy": _cell(name)} if hasattr(np, name) else {}
    record = op(
        name, arity=1, kind="reduction", cells=cells, samples=_SAMPLES,
        evaluate=lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims),
        torch=lambda t, x, axis, keepdims: _torch_reduce(t, torch, x, axis, keepdims), **fields,
    )  # fmt: skip

    def reduced(value: Expr, axis: int | Sequence[int] | None, keepdims: bool) -> Expr:
        axes = normalize_axes(axis, value.ndim, name)
        if not axes and value.dtype.kind != "bool":
            return copy(value)  # nothing is reduced
        return record(value, axis=axes, keepdims=bool(keepdims))

    def reduce(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Expr:
        return reduced(as_expr(x), axis, keepdims)

    def add_up(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False, *, dtype: Any = None) -> Expr:
        value = as_expr(x)
        wide = INT64 if value.dtype == INT32 and dtype is None else dtype  # as the array API asks, against overflow
        return reduced(value if wide is None else astype(value, wide), axis, keepdims)

    public = add_up if widens else reduce
    public.__name__ = public.__qualname__ = name
    options = "`axis`: an int, several, or None for all. `keepdims`: keep reduced axes with size 1."
    options += "\n    `dtype`: what the elements are converted to first." if widens else ""
    public.__doc__ = f"{fields['doc']}\n\n    {options}\n    "
    public.op = record.op  # type: ignore[attr-defined]
    return public


def _torch_reduce(torch: Any, name: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    if not axis:
        return x
    if name == "prod":
        for i in reversed(axis):
            x = torch.prod(x, i, keepdim=keepdims)
        return x
    return getattr(torch, name)(x, dim=axis, keepdim=keepdims)


sum = _reduction(
    "sum", np.sum, "sum", infer=_infer, tame=True, linear=True, takes="number", widens=True,
    structure=Reduction("add", 0.0), cost=_combining("add"),
    vjp=lambda g, y, x, axis, keepdims: (_spread(g, x, axis),), symbol="Σ", slope="1 for every element",
    doc="Sum of elements over axes.",
)  # fmt: skip
mean = _reduction(
    "mean", np.mean, "mean", infer=_infer_nonempty, tame=True, linear=True,
    vjp=lambda g, y, x, axis, keepdims: (_spread(g / _divisor(x, axis), x, axis),),
    expand=lambda x, axis, keepdims: sum(x, axis, keepdims) / _divisor(x, axis),
    cost=lambda y, x, **_: {"add": x.size - y.size, "div": y.size}, symbol="mean", slope="1/n for every element",
    doc="Arithmetic mean over axes.",
)  # fmt: skip


def _extremum_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool) -> tuple[Expr]:
    chosen = equal(x, _spread(y, x, axis))
    count = reshape(sum(astype(chosen, x.dtype), axis), g.shape)
    return (where(chosen, _spread(g / count, x, axis), 0.0),)  # ties share evenly, as torch.amax


max = _reduction(
    "max", np.max, "amax", infer=_infer_nonempty, needs=_an_element, takes="number",
    structure=Reduction("maximum", -math.inf),
    vjp=_extremum_vjp, cost=_combining("select"), symbol="max", slope="1 for the largest, shared evenly at ties",
    doc="Largest element over axes; NaN if any is NaN.",
    edge_notes={"ties": "they share the gradient evenly, as torch.amax"},
)  # fmt: skip
min = _reduction(
    "min", np.min, "amin", infer=_infer_nonempty, needs=_an_element, takes="number",
    structure=Reduction("minimum", math.inf),
    vjp=_extremum_vjp, cost=_combining("select"), symbol="min", slope="1 for the smallest, shared evenly at ties",
    doc="Smallest element over axes; NaN if any is NaN.",
    edge_notes={"ties": "they share the gradient evenly, as torch.amin"},
)  # fmt: skip


def _product_levels(x: Expr, axis: Axes) -> list[Expr]:
    """Partial products of pairs, level by level, along one last axis: log2(n) levels, the last of length 1 (or 0)."""
    rest = tuple(i for i in range(x.ndim) if i not in axis)
    moved = _moved(x, rest + axis)
    levels = [reshape(moved, (*(x.shape[i] for i in rest), _count(x, axis)))]
    while levels[-1].shape[-1] > 1:
        a, b, odd = _halves(levels[-1])
        level = a * b
        levels.append(level if odd is None else concatenate([level, odd], axis=-1))
    return levels


def _moved(x: Expr, order: Axes) -> Expr:
    return transpose(x, order) if order != tuple(range(x.ndim)) else x


def _halves(x: Expr) -> tuple[Expr, Expr, Expr | None]:
    n = x.shape[-1]
    half = n // 2
    odd = getitem(x, (..., slice(2 * half, None))) if n % 2 else None
    return getitem(x, (..., slice(0, 2 * half, 2))), getitem(x, (..., slice(1, 2 * half, 2))), odd


def _prod_expand(x: Expr, axis: Axes, keepdims: bool) -> Expr | None:
    if isinstance(_count(x, axis), Dim):
        return None  # no tree of unknown depth
    if _count(x, axis) == 0:
        return broadcast_to(constant(1.0, x.dtype), _infer(x.type, axis, keepdims).shape)
    return reshape(_product_levels(x, axis)[-1], _infer(x.type, axis, keepdims).shape)


def _prod_of_others(g: Expr, x: Expr, axis: Axes) -> Expr:
    """For an unknown number of elements: the product of those before each times the product of those behind it."""
    from .cumulative import products_before

    rest = tuple(i for i in range(x.ndim) if i not in axis)
    order = rest + axis
    shape = tuple(x.shape[i] for i in rest)
    rows = reshape(_moved(x, order), (*shape, _count(x, axis)))
    others = products_before(rows, reverse=False) * products_before(rows, reverse=True)
    slopes = broadcast_to(reshape(g, (*shape, 1)), rows.shape) * others
    return _moved(reshape(slopes, tuple(x.shape[i] for i in order)), tuple(order.index(i) for i in range(x.ndim)))


def _prod_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool) -> tuple[Expr | None]:
    if isinstance(_count(x, axis), Dim):
        return (_prod_of_others(g, x, axis),)
    if _count(x, axis) == 0:
        return (None,)
    # the adjoint of the tree of products: exact where elements are 0, which y/x is not, to every order
    levels = _product_levels(x, axis)
    back = reshape(g, levels[-1].shape)
    for level in reversed(levels[:-1]):
        a, b, odd = _halves(level)
        paired = getitem(back, (..., slice(0, a.shape[-1])))
        both = concatenate([reshape(p, (*p.shape, 1)) for p in (paired * b, paired * a)], axis=-1)
        flat = reshape(both, (*a.shape[:-1], 2 * a.shape[-1]))
        back = flat if odd is None else concatenate([flat, getitem(back, (..., slice(a.shape[-1], None)))], axis=-1)
    rest = tuple(i for i in range(x.ndim) if i not in axis)
    order = rest + axis
    unflat = reshape(back, tuple(x.shape[i] for i in order))
    return (_moved(unflat, tuple(order.index(i) for i in range(x.ndim))),)


prod = _reduction(
    "prod", np.prod, "prod", infer=_infer, takes="number", widens=True, structure=Reduction("mul", 1.0),
    vjp=_prod_vjp, expand=_prod_expand, expands_in_rule=True, cost=_combining("mul"),
    symbol="Π", slope="the product of the others", doc="Product of elements over axes.",
    edge_notes={"an element is 0": "its slope is the product of the others"},
)  # fmt: skip


def finite_maximum(x: Expr, axis: Axes) -> Expr:
    """What to take from `x` so that exp cannot overflow: the maximum, unless it is small, where x - m would round."""
    m = max(x, axis, keepdims=True)
    size = absolute(m)
    moderate = size < float(np.finfo(x.dtype).maxexp // 16)
    return where(moderate | equal(size, math.inf), 0.0, m)  # exp(inf - inf) is NaN


def _logsumexp_expand(x: Expr, axis: Axes, keepdims: bool) -> Expr:
    m = finite_maximum(x, axis)
    result = m + log(sum(exp(x - m), axis, keepdims=True))
    return result if keepdims else reshape(result, _infer(x.type, axis, False).shape)


def _logsumexp_numpy(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return np.asarray(np.logaddexp.reduce(x, axis=axis, keepdims=bool(keepdims)))  # type: ignore[call-overload]


def _transcendental(*extra: str) -> Any:
    return lambda y, x, **_: (
        {"exp": x.size, "sub": x.size, "add": x.size, "select": x.size} | dict.fromkeys(extra, y.size)
    )


def _logsumexp_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool) -> tuple[Expr]:
    nothing = equal(_spread(y, x, axis), -math.inf)  # all of x is -inf, where the softmax is 0/0
    return (where(nothing, 0.0, _spread(g, x, axis) * _softmax(where(nothing, 0.0, x), axis=axis)),)


logsumexp = _reduction(
    "logsumexp", _logsumexp_numpy, "logsumexp", infer=_infer_nonempty, needs=_an_element, expand=_logsumexp_expand,
    vjp=_logsumexp_vjp,
    cost=_transcendental("log"), symbol="logsumexp", slope="softmax(x)",
    doc="`log(sum(exp(x)))` over axes, without overflow.",
    edge_notes={"all elements -inf": "-inf and slope 0, where torch gives NaN"},
)  # fmt: skip


def _softmax_numpy(x: np.ndarray, axis: Axes) -> np.ndarray:
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)  # type: ignore[no-any-return]


def _softmax_expand(x: Expr, axis: Axes) -> Expr:
    e = exp(x - finite_maximum(x, axis))
    return e / sum(e, axis, keepdims=True)


def _softmax_vjp(g: Expr, y: Expr, x: Expr, axis: Axes) -> tuple[Expr]:
    return (y * (g - sum(g * y, axis, keepdims=True)),)


def _softmax_torch(torch: Any, x: Any, axis: Axes) -> Any:
    return torch.exp(x - torch.logsumexp(x, dim=axis, keepdim=True)) if len(axis) > 1 else torch.softmax(x, axis[0])


def _softmax_infer(x: Type, axis: Axes) -> Type:
    _infer_nonempty(x, axis, True)
    return x


_softmax: Traced = op(
    "softmax",
    arity=1,
    kind="composite",
    infer=_softmax_infer,
    needs=lambda x, axis: _an_element(x, axis, True),
    evaluate=_softmax_numpy,
    vjp=_softmax_vjp,
    batch=lifted,
    expand=_softmax_expand,
    torch=_softmax_torch,
    symbol="softmax",
    slope="y*(g - sum(g*y))",
    cost=_transcendental("div"),
    samples=[(_MATRIX, {"axis": (1,)}), (_MATRIX, {"axis": (0, 1)})],
    doc="`exp(x)/sum(exp(x))` along axes, without overflow.",
)


def softmax(x: Any, axis: int | Sequence[int] = -1) -> Expr:
    """`exp(x)/sum(exp(x))` along `axis`, without overflow; the result sums to 1 there."""
    x = as_expr(x)
    return _softmax(x, axis=normalize_axes(axis, x.ndim, "softmax"))


def mse(prediction: Any, target: Any) -> Expr:
    """Mean squared error: the mean of `(prediction - target)**2` over all elements; shapes broadcast."""
    return mean((as_expr(prediction) - target) ** 2)
