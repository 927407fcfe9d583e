"""Interpolation in a table: straight lines between points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim, at_least_zero
from ..errors import ShapeError
from ..registry import Op, Params
from ..trace import Expr, as_expr, op
from ..types import Type, format_shape
from ._declare import Traced
from .indexing import getitem
from .layout import broadcast_to
from .manipulation import take
from .searching import searchsorted
from .selection import equal, greater, less, maximum, minimum, where

__all__ = ["interp"]


def _infer(x: Type, xp: Type, fp: Type) -> Type:
    if xp.ndim != 1 or fp.shape != xp.shape or xp.size == 0:
        raise ShapeError(
            f"xp and fp must be vectors of one length, not of shapes {format_shape(xp.shape)} and "
            f"{format_shape(fp.shape)}"
        )
    return x


def _expand(x: Expr, xp: Expr, fp: Expr) -> Expr:
    last = xp.shape[0] - 1
    if last == 0:
        return broadcast_to(getitem(fp, 0), x.shape) if x.shape else getitem(fp, 0)
    place = minimum(maximum(searchsorted(xp, x, side="right") - 1, 0), at_least_zero(last - 1))
    following = minimum(place + 1, last) if isinstance(last, Dim) else place + 1  # the table may have one place only
    (left, right), (low, high) = ([take(table, k) for k in (place, following)] for table in (xp, fp))
    width = right - left
    point = equal(width, 0.0)  # a jump at the end of the table
    inner = where(point, high, (high - low) / where(point, 1.0, width) * (x - left) + low)
    first, end = getitem(xp, 0), getitem(xp, -1)
    return where(less(x, first), getitem(fp, 0), where(greater(x, end), getitem(fp, -1), inner))


def _batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr | None:
    """One table for all elements is read at more places; of tables that differ, the expansion is mapped."""
    return None if any(mapped[1:]) else _interp(*xs)


def _torch(torch: Any, x: Any, xp: Any, fp: Any) -> Any:
    place = (torch.searchsorted(xp.detach(), x.detach(), right=True) - 1).clamp(0, len(xp) - 2)
    inner = (fp[place + 1] - fp[place]) / (xp[place + 1] - xp[place]) * (x - xp[place]) + fp[place]
    return torch.where(x < xp[0], fp[0], torch.where(x > xp[-1], fp[-1], inner))


def _cell(args: Any, params: Any, types: Any) -> str:
    call = f"np.interp({', '.join(args)})"  # which is float64 always
    return call if types[0].dtype == "float64" else f"{call}.astype(np.{types[0].dtype.name})"


_interp: Traced = op(
    "interp",
    arity=3,
    kind="composite",
    infer=_infer,
    needs=lambda x, xp, fp: [(xp.shape[0], 1)],
    expand=_expand,
    batch=_batch,
    evaluate=np.interp,
    cells={"numpy": _cell},
    torch=_torch,
    cost=lambda y, x, xp, fp: {
        "compare": y.size * (16 if isinstance(xp.size, Dim) else max(1, xp.size.bit_length())),
        "mul": y.size,
        "add": 4 * y.size,
        "div": y.size,
    },
    symbol="interp",
    slope="the slope of the line, the weights of its two ends in fp, and in xp minus the slope times them",
    operands="x xp fp",
    samples=[
        (np.array([0.1, 1.5, -3.0, 7.0]), np.array([-1.0, 0.5, 2.0]), np.array([0.3, -1.2, 4.0])),
        (np.array(1.7), np.array([-1.0, 0.5, 2.0]), np.array([0.3, -1.2, 4.0])),
    ],
    edge_notes={"x at a point": "the slope of the line to the right, at the last point of that to the left"},
    doc="Straight lines between the points of a table, and outside the values of its ends.",
)


def interp(x: Any, xp: Any, fp: Any, /, left: Any = None, right: Any = None) -> Expr:
    """Interpolation in the table of points `xp` (ascending) with values `fp`, by straight lines, as `np.interp`.

    Derivatives flow to `x`, `xp` and `fp`; at a point of the table, the slope by `x` is that of the line to the right.

    Parameters
    ----------
    left, right: values below `xp[0]` and above `xp[-1]`; None for `fp[0]` and `fp[-1]`.

    Errors: `ShapeError` where `xp` and `fp` are not vectors of one length.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.interp(gs.symbol("x"), [0.0, 1.0, 3.0], [0.0, 10.0, 20.0]))
    >>> f.value_and_grad(2.0)
    (15.0, 5.0)
    """
    x, xp, fp = as_expr(x), as_expr(xp), as_expr(fp)
    y = _interp(x, xp, fp)
    if left is not None:
        y = where(less(x, getitem(xp, 0)), left, y)
    return y if right is None else where(greater(x, getitem(xp, -1)), right, y)
