"""Convolutions: leave them to kernels, where vectors fit the results or the taps.

In: `convolve` nodes and a target. Out: the records of `ops.correlations` that compute them without copies of windows.
Guarantee: the same products, added in another order; so strict code keeps its loops, and so does what has few products,
steps along rows of both results and taps, or named sizes.
"""

from __future__ import annotations

import math

from ..dims import Dim
from ..ops._tiles import BYTES
from ..ops.correlations import convolve_across, convolve_along
from ..target import Target
from ..trace import Expr
from ..types import static_shape
from .rewrite import About, Rule

__all__ = ["by_tiles"]


def by_tiles(target: Target) -> tuple[Rule, ...]:
    """The rule that calls kernels; none for a target without them, and for strict code."""
    if target.strict or not target.writes(convolve_along.op):  # type: ignore[attr-defined]
        return ()
    return (About({"convolve"}, lambda e: _called(e, target)),)


def _called(e: Expr, target: Target) -> Expr | None:
    if e.dtype.kind != "float" or 0 in e.shape:
        return None
    if any(isinstance(d, Dim) for t in (e, *e.args) for d in t.shape):
        return None  # named sizes stay loops
    (x, w), params, bytes = e.args, e.params, e.dtype.bits // 8
    taps = static_shape(w.shape[w.ndim - len(params["stride"]) - 1 :])
    if math.prod(static_shape(e.shape)) * math.prod(taps) < target.tuning.matmul_least or 0 in taps:
        return None
    if params["stride"][-1] == 1 and static_shape(e.shape)[-1] * bytes >= BYTES:
        return convolve_along(x, w, **params)
    if params["dilation"][-1] == 1 and taps[-1] * bytes >= BYTES:
        return convolve_across(x, w, **params)
    return None
