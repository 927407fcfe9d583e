"""Statistics: variance and standard deviation. (Sums, means, products and extrema are in `reduction`.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim
from ..errors import ShapeError
from ..registry import Params
from ..trace import Expr, as_expr, op
from ..types import Type, normalize_axes
from ._batch import lifted
from ._declare import Traced
from .elementary import sqrt
from .reduction import _count, _infer_nonempty, _options, _spread, mean, sum
from .selection import equal, where

__all__ = ["std", "var"]

Axes = tuple[int, ...]


def _freedom(x: Type | Expr, axis: Axes, correction: float) -> float | Dim | Expr:
    """What the sum of squares is divided by."""
    count = _count(x, axis)
    if isinstance(count, Dim):
        return count - int(correction) if correction == int(correction) else as_expr(count) - correction
    freedom = count - correction
    if not freedom > 0:
        raise ShapeError(f"{_count(x, axis)} elements less correction={correction} leave nothing to divide by")
    return float(freedom)


def _infer(x: Type, axis: Axes, keepdims: bool, correction: float) -> Type:
    _freedom(x, axis, correction)
    return _infer_nonempty(x, axis, keepdims)


def _deviation(x: Expr, axis: Axes) -> Expr:
    return x - mean(x, axis, keepdims=True)


def _cell(name: str) -> Any:
    def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
        options = _options(params, types[0]) + ([f"ddof={params['correction']:g}"] if params["correction"] else [])
        return f"np.{name}({', '.join([args[0], *options])})"

    return cell


def _spreading(name: str, function: Any, **fields: Any) -> Traced:
    matrix = np.array([[0.3, -1.2, 2.0], [0.9, 0.4, -0.7]])
    return op(
        name, arity=1, kind="composite", infer=_infer, cells={"numpy": _cell(name)}, batch=lifted,
        evaluate=lambda x, axis, keepdims, correction: function(x, axis=axis, keepdims=keepdims, ddof=correction),
        torch=lambda torch, x, axis, keepdims, correction: (
            getattr(torch, name)(x, dim=axis, keepdim=keepdims, correction=correction)
        ),
        cost=lambda y, x, **_: {"add": 2 * (x.size - y.size), "sub": x.size, "mul": x.size, "div": 2 * y.size},
        samples=[
            (matrix, {"axis": (0, 1), "keepdims": False, "correction": 0.0}),
            (matrix, {"axis": (1,), "keepdims": True, "correction": 1.0}),
            (matrix, {"axis": (0,), "keepdims": False, "correction": 0.5}),
        ],
        **fields,
    )  # fmt: skip


def _var_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool, correction: float) -> tuple[Expr]:
    # deviations add up to 0, so that what flows through the mean is 0 as well
    freedom = _freedom(x, axis, correction)
    scaled = g * (2.0 / freedom) if isinstance(freedom, float) else g * 2.0 / freedom
    return (_spread(scaled, x, axis) * _deviation(x, axis),)


def _var_expand(x: Expr, axis: Axes, keepdims: bool, correction: float) -> Expr:
    d = _deviation(x, axis)
    return sum(d * d, axis, keepdims) / _freedom(x, axis, correction)


_var: Traced = _spreading(
    "var",
    np.var,
    vjp=_var_vjp,
    expand=_var_expand,
    symbol="var",
    slope="2*(x - mean)/(n - correction)",
    doc="Variance over axes, from deviations from the mean.",
)


def _std_vjp(g: Expr, y: Expr, x: Expr, axis: Axes, keepdims: bool, correction: float) -> tuple[Expr]:
    steep = g / (where(equal(y, 0.0), 1.0, y) * _freedom(x, axis, correction))  # deviations are 0 where y is
    return (_spread(steep, x, axis) * _deviation(x, axis),)


_std: Traced = _spreading(
    "std",
    np.std,
    vjp=_std_vjp,
    expand=lambda x, axis, keepdims, correction: sqrt(_var_expand(x, axis, keepdims, correction)),
    symbol="std",
    slope="(x - mean)/((n - correction)*std), 0 where all elements are equal",
    doc="Standard deviation over axes, from deviations from the mean.",
    edge_notes={"all elements equal": "slope 0, as torch"},
)


def _called(
    record: Traced, x: Any, axis: int | Sequence[int] | None, correction: float, keepdims: bool, ddof: float | None
) -> Expr:
    x = as_expr(x)
    axes = normalize_axes(axis, x.ndim, record.op.name)  # type: ignore[attr-defined]
    return record(x, axis=axes, keepdims=bool(keepdims), correction=float(correction if ddof is None else ddof))


def var(
    x: Any,
    /,
    axis: int | Sequence[int] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    ddof: float | None = None,
) -> Expr:
    """Variance over axes: the mean square of the deviations from the mean.

    Parameters
    ----------
    axis: an int, several, or None for all.
    correction: what is taken off the number of elements before dividing; 1 for the variance of a sample.
    keepdims: keep reduced axes with size 1.
    ddof: NumPy's name for `correction`.

    Errors: `ShapeError` where no more than `correction` elements are there.

    >>> import gradsmith as gs
    >>> gs.compile(gs.var(gs.symbol("x", 3), correction=1))([1.0, 2.0, 3.0])
    1.0
    """
    return _called(_var, x, axis, correction, keepdims, ddof)


def std(
    x: Any,
    /,
    axis: int | Sequence[int] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    ddof: float | None = None,
) -> Expr:
    """Standard deviation over axes: the square root of `var`. Where all elements are equal, the gradient is 0.

    Parameters and errors are those of `var`.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.std(gs.symbol("x", 2)))
    >>> f.value_and_grad([1.0, 3.0]), f.grad([2.0, 2.0])
    ((1.0, [-0.5, 0.5]), [0.0, 0.0])
    """
    return _called(_std, x, axis, correction, keepdims, ddof)
