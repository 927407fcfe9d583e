"""Fold: an op whose operands are all constants becomes a constant, computed as the generated code would.

`%2 = mul 2.0 3.0  ->  %2 = constant 6.0`. A result that is not finite is left to run time, where it is visible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..trace import Expr, constant
from ..types import static_shape

__all__ = ["fold"]

_LARGEST = 4096  # elements; a larger constant costs more to read than to compute


def fold(e: Expr) -> Expr | None:
    """The constant that `e` is, or None."""
    if not e.args or not all(_known(a) for a in e.args) or (e.shape and all(_scalar(a) for a in e.args)):
        return None
    if any(not isinstance(d, int) for d in e.shape) or e.size > _LARGEST or e.size == 0 or _repeats(e):
        return None
    with np.errstate(all="ignore"):
        value = e.op.evaluate(*(_value(a) for a in e.args), **e.params)
    return constant(value) if np.all(np.isfinite(value)) else None


def _repeats(e: Expr) -> bool:
    """Whether a constant array is only repeated, which costs nothing at run time and much as a table."""
    return e.op.name == "broadcast_to" and e.size > e.args[0].size


def _scalar(e: Expr) -> bool:
    """A scalar, also one that is broadcast: it stays a scalar, which is shorter to read."""
    return e.shape == () or (e.op.name == "broadcast_to" and e.args[0].shape == ())


def _known(e: Expr) -> bool:
    return e.op.name == "constant" or (e.op.name == "broadcast_to" and e.args[0].op.name == "constant")


def _value(e: Expr) -> Any:
    if e.op.name == "broadcast_to":
        return np.broadcast_to(e.args[0].params["value"], static_shape(e.shape))
    return e.params["value"]
