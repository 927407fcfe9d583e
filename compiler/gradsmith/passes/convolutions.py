"""Convolutions: leave them to kernels, where vectors fit the results, their channels or the taps.

In: `convolve` nodes, their transposes, and a target. Out: the records of `ops.correlations` that compute them without
copies of windows; the transpose is that of elements with zeros around them, with taps in reverse.
Guarantee: the same products, added in another order; so strict code keeps its loops, and so does what has few products,
named sizes, or more taps in a window than results where no row of either fills a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dims import Dim
from ..ops import reshape, scatter
from ..ops._registers import BYTES
from ..ops.correlations import convolve_across, convolve_along, convolve_back, convolve_lanes
from ..ops.indexing import getitem
from ..ops.layout import transpose
from ..target import Target
from ..trace import Expr
from ..types import static_shape
from .rewrite import About, Rule

__all__ = ["by_tiles"]

#: Products of one vector of channels in the time of half of those of two, and of numbers in loops in that of a vector.
_ONE, _LOOP = 1.15, 1.5


def by_tiles(target: Target) -> tuple[Rule, ...]:
    """The rule that calls kernels; none for a target without them, and for strict code."""
    if target.strict or not target.writes(convolve_along.op):  # type: ignore[attr-defined]
        return ()
    return (
        About({"convolve"}, lambda e: _called(e, target) if _fits(e) else None),
        About({"convolve_transposed"}, lambda e: _called_back(e, target) if _fits(e) else None),
    )


def _fits(e: Expr) -> bool:
    """Whether there is something to do, and of known size: named sizes stay loops."""
    sizes = [d for t in (e, *e.args) for d in t.shape]
    return e.dtype.kind == "float" and not any(isinstance(d, Dim) or d == 0 for d in sizes)


def _called(e: Expr, target: Target) -> Expr | None:
    (x, w), params, rank = (_in_place(a) for a in e.args), e.params, len(e.params["stride"])
    taps, width = static_shape(w.shape[w.ndim - rank - 1 :]), static_shape(x.shape)[-1]
    if math.prod(static_shape(e.shape)) * math.prod(taps) < target.tuning.matmul_least:
        return None
    along = params["stride"][-1] == 1 and _vectors(e, width, params["stride"])
    across = params["dilation"][-1] == 1 and _vectors(w, width, params["dilation"])
    places, window = (math.prod(static_shape(a.shape)[-rank:]) for a in (e, w))
    long = across and window > max(places, 2 * _lanes(e))  # as in a slope by the weights: rows of taps fill vectors
    if not long and _in_lanes(e, taps, width if along else None, params["stride"], target):
        return convolve_lanes(x, w, **params)
    if along:
        return convolve_along(x, w, **params)
    if across:
        room = target.tuning.taps_bytes * 8 // x.dtype.bits
        return convolve_across(x, w, **params, room=room, lines=target.tuning.thread_lines if target.threads else 1)
    return None


def _in_lanes(y: Expr, taps: Sequence[int], width: int | None, steps: Sequence[int], target: Target) -> bool:
    """Whether channels of `y` in vectors take less time than its rows, which lie in rows of `width`, or loops do."""
    (*_, out), (*rows, n) = static_shape(y.shape[: -len(steps)]), static_shape(y.shape)[-len(steps) :]
    m, lanes, terms = math.prod(rows), _lanes(y), math.prod(taps)
    pairs, left = divmod(out, 2 * lanes)
    vectors = 2 * pairs + (0 if left == 0 else _ONE if left <= lanes else 2)
    ours = m * n * vectors * (terms + target.tuning.lane_taps)
    if width is None:
        return ours < _LOOP * m * n * out * terms
    apart, flat = m * -(-n // lanes), target.tuning.flat_results
    least = -(-((m - 1) * width + n) // lanes)
    if set(steps) == {1} and 2 * width <= flat and (n < lanes or 5 * least < 4 * apart):  # as `gs_convolve` has it
        times = -(-m // ((flat - n) // width + 1))
        apart = times * -(-((-(-m // times) - 1) * width + n) // lanes)
    return ours < apart * out * terms


def _vectors(x: Expr, width: int, steps: Sequence[int]) -> bool:
    """Whether rows of `x` fill a vector, or its picture does, in rows of `width` that it fills by half."""
    rows, row, lanes = math.prod(static_shape(x.shape)[-len(steps) : -1]), static_shape(x.shape)[-1], _lanes(x)
    joined = set(steps[:-1]) == {1} and 2 * row >= width and (rows - 1) * width + row >= lanes
    return row >= lanes or joined


def _lanes(x: Expr) -> int:
    return BYTES // (x.dtype.bits // 8)


def _in_place(x: Expr) -> Expr:
    """A transposition that moves axes of size 1 only -> a view of the same memory."""
    if x.op.name != "transpose":
        return x
    moved = [a for a in x.params["axes"] if x.args[0].shape[a] != 1]
    return reshape(x.args[0], x.shape) if moved == sorted(moved) else x


def _called_back(e: Expr, target: Target) -> Expr | None:
    (g, w), (size, stride, dilation) = e.args, (e.params[name] for name in ("size", "stride", "dilation"))
    rank = len(stride)
    lead, count = static_shape(g.shape[:-rank]), static_shape(g.shape[-rank:])
    channels, taps = static_shape(w.shape[w.ndim - rank - 2 : w.ndim - rank]), static_shape(w.shape[-rank:])
    terms = math.prod(static_shape(e.shape)) * channels[0] * math.prod(taps)
    reach = tuple((n - 1) * d for n, d in zip(taps, dilation, strict=True))
    shape = tuple(n + r for n, r in zip(size, reach, strict=True))
    if terms < target.tuning.matmul_least or not _vectors(e, shape[-1], (1,) * rank):
        return None
    at = zip(reach, stride, count, strict=True)
    spread = scatter(g, shape=(*lead, *shape), keys=((*((0, 1, d) for d in lead), *at),))
    order = list(range(w.ndim))
    order[w.ndim - rank - 2], order[w.ndim - rank - 1] = w.ndim - rank - 1, w.ndim - rank - 2
    reverse = transpose(getitem(w, (..., *(slice(None, None, -1),) * rank)), order)
    return convolve_back(spread, reverse, stride=stride, dilation=dilation)
