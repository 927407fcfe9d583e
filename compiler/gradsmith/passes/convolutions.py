"""Convolutions: leave them to kernels, where vectors fit the results or the taps.

In: `convolve` nodes, their transposes, and a target. Out: the records of `ops.correlations` that compute them without
copies of windows; the transpose is that of elements with zeros around them, with taps in reverse.
Guarantee: the same products, added in another order; so strict code keeps its loops, and so does what has few products,
steps along rows of both results and taps, or named sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dims import Dim
from ..ops import reshape, scatter
from ..ops._registers import BYTES
from ..ops.correlations import convolve_across, convolve_along, convolve_back, convolve_slopes
from ..ops.indexing import getitem
from ..ops.layout import transpose
from ..target import Target
from ..trace import Expr
from ..types import static_shape
from .rewrite import About, Rule

__all__ = ["by_tiles"]


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
    if _is_slope(e) and _many_filters(e, target):
        return _called_slopes(e, target)
    if params["stride"][-1] == 1 and _vectors(e, width, params["stride"]):
        return convolve_along(x, w, **params)
    if params["dilation"][-1] == 1 and _vectors(w, width, params["dilation"]):
        room = target.tuning.taps_bytes * 8 // x.dtype.bits
        return convolve_across(x, w, **params, room=room, lines=target.tuning.thread_lines if target.threads else 1)
    return _called_slopes(e, target) if _is_slope(e) and static_shape(e.shape)[-rank - 1] > 1 else None


def _is_slope(e: Expr) -> bool:
    """Whether it has the form that a slope by weights has: it adds up over more places than it has."""
    rank = len(e.params["stride"])
    places, taps = (math.prod(static_shape(t.shape[-rank:])) for t in (e, e.args[1]))
    return places < taps or all(a.op.name == "transpose" for a in e.args)


def _many_filters(e: Expr, target: Target) -> bool:
    """Whether filters fill vectors: of float32, two places share one where that has room for both."""
    filters, lanes = static_shape(e.shape)[-len(e.params["stride"]) - 1], _lanes(e)
    unit = lanes // 2 if e.dtype.bits == 32 and 2 * filters <= lanes else lanes
    return 100 * filters >= target.tuning.slope_lanes * (-(-filters // unit) * unit)


def _called_slopes(e: Expr, target: Target) -> Expr:
    """Channels stand for the pictures of `e`, pictures for its channels: where that was a copy, there is none."""
    x, g = e.args
    rank, grouped = len(e.params["stride"]), int(e.ndim > len(e.params["stride"]) + 2)
    channel = 1 + grouped
    rest = tuple(range(channel + 1, e.ndim))
    pictures = _turned(x, (channel, *range(1, channel), 0, *rest))
    slopes = _turned(g, (channel, *range(channel), *rest) if grouped else (1, 0, *rest))
    taps, lanes = static_shape(e.shape[-rank:]), _lanes(e)
    batch, places = static_shape(slopes.shape)[0], static_shape(slopes.shape[-rank:])
    rows, columns = math.prod(places[:-1]), places[-1]
    filters = math.prod(static_shape(slopes.shape[1:channel])) * (-(-slopes.shape[channel] // lanes) * lanes)
    room = max(1, target.tuning.slope_bytes * 8 // (e.dtype.bits * filters))
    wide = _even(columns, room)
    high = _even(rows, room // wide) if wide == columns else 1
    some = _even(batch, room // (wide * high)) if high == rows else 1
    y = convolve_slopes(
        pictures, slopes, taps=taps, stride=e.params["dilation"], dilation=e.params["stride"], block=(some, high, wide)
    )
    return transpose(y, (channel, *range(channel), *rest))


def _turned(x: Expr, axes: tuple[int, ...]) -> Expr:
    """A transposition whose own transposition is left out."""
    if x.op.name == "transpose":
        axes = tuple(x.params["axes"][a] for a in axes)
        x = x.args[0]
    return x if axes == tuple(range(x.ndim)) else _in_place(transpose(x, axes))


def _even(count: int, room: int) -> int:
    """The size of blocks of `room` at most, all but the last of which have as many."""
    blocks = -(-count // max(room, 1))
    return -(-count // blocks)


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
