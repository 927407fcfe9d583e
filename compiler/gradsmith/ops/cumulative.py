"""Cumulative sums and products: what a running value is at each place along an axis.

Every rule is again a scan of the same length, so values and gradients of every order cost O(n) in every target.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Params, Scan
from ..trace import Expr, as_expr, op
from ..types import INT32, INT64, Dim, Type, format_shape, normalize_axes
from ._declare import Traced
from .conversion import astype
from .creation import full
from .indexing import getitem, section
from .joining import concatenate
from .layout import ravel

__all__ = ["cumprod", "cumsum", "cumulative_prod", "cumulative_sum"]


def _infer(*types: Type, axis: int, reverse: bool) -> Type:
    if any(t != types[0] for t in types):
        raise ShapeError(f"operands differ: {', '.join(map(str, types))}")
    return types[0]


def _scan(name: str, function: Any, torch: str, samples: Any, **fields: Any) -> Traced:
    """The record of a scan of one operand that NumPy has as `function`."""

    def evaluate(x: Any, axis: int, reverse: bool) -> Any:
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
        if types[0].ndim == 1:
            way = "[::-1]" if params["reverse"] else ""
            return f"np.{function.__name__}({args[0]}{way}){way}"
        axis = params["axis"]
        if params["reverse"]:
            return f"np.flip(np.{function.__name__}(np.flip({args[0]}, {axis}), axis={axis}), {axis})"
        return f"np.{function.__name__}({args[0]}, axis={axis})"

    def by_torch(t: Any, x: Any, axis: int, reverse: bool) -> Any:
        scanned = getattr(t, torch)(x.flip(axis) if reverse else x, axis)
        return scanned.flip(axis) if reverse else scanned

    return op(
        name, arity=1, kind="scan", takes="number", infer=_infer,
        evaluate=evaluate, cells={"numpy": cell}, torch=by_torch,
        samples=samples, **fields,
    )  # fmt: skip


_ROW = np.array([0.3, -1.2, 2.0, 0.7])
_MATRIX = np.array([[0.3, -1.2, 2.0], [0.9, 0.0, -0.7]])
_SAMPLES = [
    (_ROW, {"axis": 0, "reverse": False}),
    (_ROW, {"axis": 0, "reverse": True}),
    (_MATRIX, {"axis": 0, "reverse": True}),
    (_MATRIX, {"axis": 1, "reverse": False}),
]


def _edge(x: Expr, axis: int, value: float) -> Expr:
    """Elements of `x`'s dtype that stand before it along `axis`."""
    return full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), value, dtype=x.type.dtype)


def _previous(x: Expr, axis: int, reverse: bool, first: float) -> Expr:
    """At each place, the element of the place before, on the way of the scan; `first` where there is none."""
    if x.shape[axis] == 0:
        return x
    start = _edge(x, axis, first)
    if isinstance(x.shape[axis], Dim):  # which may be 0
        parts = [x, start] if reverse else [start, x]
        return section(concatenate(parts, axis), axis, int(reverse), x.shape[axis])
    whole = (slice(None),) * axis
    if reverse:
        return concatenate([getitem(x, (*whole, slice(1, None))), start], axis)
    return concatenate([start, getitem(x, (*whole, slice(None, -1)))], axis)


_sum: Traced = _scan(
    "cumulative_sum", np.cumsum, "cumsum", _SAMPLES,
    structure=Scan(("add",), -0.0),  # -0 + x is x, also where x is -0
    tame=True,
    linear=True,
    vjp=lambda g, y, x, axis, reverse: (_sum(g, axis=axis, reverse=not reverse),),
    cost=lambda y, *_, **__: {"add": y.size},
    symbol="cumsum",
    slope="the sum of the gradient from here on",
    doc="Running sums along an axis.",
)  # fmt: skip


def _recurrence_evaluate(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    y = np.array(b)
    step = -1 if reverse else 1
    factors, rows = np.moveaxis(np.asarray(a), axis, 0)[::step], np.moveaxis(y, axis, 0)[::step]
    for i in range(1, len(rows)):
        rows[i] += factors[i] * rows[i - 1]
    return y


_NUMPY_RECURRENCE = '''\
def _recurrence(a, b, axis, step):
    """y[i] = a[i]*y[i - 1] + b[i] along an axis."""
    y = np.array(b)
    factors, rows = np.moveaxis(a, axis, 0)[::step], np.moveaxis(y, axis, 0)[::step]
    rows[:1] += factors[:1] * -0.0
    for i in range(1, len(rows)):
        rows[i] += factors[i] * rows[i - 1]
    return y
'''


def _recurrence_torch(torch: Any, a: Any, b: Any, axis: int, reverse: bool) -> Any:
    factors, rows = a.unbind(axis), list(b.unbind(axis))
    order = range(len(rows))[:: -1 if reverse else 1]
    for before, i in itertools.pairwise(order):
        rows[i] = rows[i] + factors[i] * rows[before]
    return torch.stack(rows, axis)


def _recurrence_vjp(g: Expr, y: Expr, a: Expr, b: Expr, axis: int, reverse: bool) -> tuple[Expr, Expr]:
    back = _recurrence(_previous(a, axis, not reverse, 0.0), g, axis=axis, reverse=not reverse)
    return back * _previous(y, axis, reverse, 0.0), back


# The first factor has no meaning: nothing stands before the first place. It must be finite.
_recurrence: Traced = op(
    "linear_recurrence",
    arity=2,
    kind="scan",
    infer=_infer,
    structure=Scan(("mul", "add"), -0.0),
    vjp=_recurrence_vjp,
    evaluate=_recurrence_evaluate,
    cells={"numpy": lambda a, p, t: f"_recurrence({a[0]}, {a[1]}, {p['axis']}, {-1 if p['reverse'] else 1})"},
    support={"numpy": _NUMPY_RECURRENCE},
    torch=_recurrence_torch,
    cost=lambda y, *_, **__: {"mul": y.size, "add": y.size},
    symbol="y=ay+b",
    slope="the same recurrence, backwards",
    samples=[(x * 0.5, x, params) for x, params in _SAMPLES],
    doc="`y[i] = a[i]*y[i - 1] + b[i]` along an axis.",
)


def _prod_vjp(g: Expr, y: Expr, x: Expr, axis: int, reverse: bool) -> tuple[Expr]:
    # y[j]/x[i] is the product of all before i, and all from i + 1 to j: no division, so zeros do no harm
    after = _recurrence(_previous(x, axis, not reverse, 0.0), g, axis=axis, reverse=not reverse)
    return (_previous(y, axis, reverse, 1.0) * after,)


_prod: Traced = _scan(
    "cumulative_prod", np.cumprod, "cumprod", [*_SAMPLES, (_ROW * 0.0, {"axis": 0, "reverse": False})],
    structure=Scan(("mul",), 1.0),
    vjp=_prod_vjp,
    cost=lambda y, *_, **__: {"mul": y.size},
    symbol="cumprod",
    slope="the sum of all later products without this factor",
    doc="Running products along an axis.",
)  # fmt: skip


def products_before(x: Expr, reverse: bool) -> Expr:
    """At each place of the last axis the product of all elements before it, or behind it (`reverse`)."""
    axis = x.ndim - 1
    return _previous(_prod(x, axis=axis, reverse=reverse), axis, reverse, 1.0)


def _cumulative(record: Traced, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: float) -> Expr:
    name = record.op.name  # type: ignore[attr-defined]
    x = as_expr(x) if dtype is None else astype(x, dtype)
    x = astype(x, INT64) if x.dtype == INT32 and dtype is None else x  # as the array API asks, against overflow
    if not x.ndim:
        raise ShapeError(f"{name}: a scalar has no axis to go along")
    if axis is None and x.ndim > 1:
        raise ShapeError(f"{name}: shape {format_shape(x.shape)} has several axes: say which, axis=")
    (k,) = normalize_axes(0 if axis is None else axis, x.ndim, name)
    y = record(x, axis=k, reverse=False)
    if not include_initial:
        return y
    return concatenate([_edge(y, k, first), y], k)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Expr:
    """Running sums along `axis`, which may be left out where there is one only.

    Parameters
    ----------
    include_initial: put a 0 first, so that the result is one longer.

    >>> import gradsmith as gs
    >>> gs.compile(gs.cumulative_sum(gs.symbol("x", 3)))([1.0, 2.0, 3.0])
    [1.0, 3.0, 6.0]
    """
    return _cumulative(_sum, x, axis, dtype, include_initial, 0.0)


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Expr:
    """Running products along `axis`, which may be left out where there is one only.

    The gradient is exact where elements are 0.

    Parameters
    ----------
    include_initial: put a 1 first, so that the result is one longer.

    >>> import gradsmith as gs
    >>> gs.compile(gs.cumulative_prod(gs.symbol("x", 3)))([1.0, 2.0, 3.0])
    [1.0, 2.0, 6.0]
    """
    return _cumulative(_prod, x, axis, dtype, include_initial, 1.0)


def cumsum(x: Any, /, axis: int | None = None) -> Expr:
    """`cumulative_sum` as NumPy has it: None goes through all elements in row-major order.

    >>> import gradsmith as gs
    >>> gs.cumsum(gs.symbol("x", (2, 3))).shape
    (6,)
    """
    return cumulative_sum(ravel(x), axis=0) if axis is None else cumulative_sum(x, axis=axis)


def cumprod(x: Any, /, axis: int | None = None) -> Expr:
    """`cumulative_prod` as NumPy has it: None goes through all elements in row-major order.

    >>> import gradsmith as gs
    >>> gs.cumprod(gs.symbol("x", (2, 3))).shape
    (6,)
    """
    return cumulative_prod(ravel(x), axis=0) if axis is None else cumulative_prod(x, axis=axis)
