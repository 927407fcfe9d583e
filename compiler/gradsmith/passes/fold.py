"""Fold: an op whose operands are all constants becomes a constant, computed as the generated code would.

`%2 = mul 2.0 3.0  ->  %2 = constant 6.0`. A result that is not finite is left to run time, where it is visible.
"""

from __future__ import annotations

import numpy as np

from ..trace import Expr, constant

__all__ = ["fold"]

_LARGEST = 4096  # elements; a larger constant costs more to read than to compute


def fold(e: Expr) -> Expr | None:
    """The constant that `e` is, or None."""
    if not e.args or (e.shape and all(a.shape == () for a in e.args)) or any(a.op.name != "constant" for a in e.args):
        return None
    if any(not isinstance(d, int) for d in e.shape) or e.size > _LARGEST or e.size == 0:
        return None
    with np.errstate(all="ignore"):
        value = e.op.evaluate(*(a.params["value"] for a in e.args), **e.params)
    return constant(value) if np.all(np.isfinite(value)) else None
