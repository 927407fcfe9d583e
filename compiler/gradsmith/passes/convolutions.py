"""Convolutions: leave them to kernels, where vectors fit the results, their channels or the taps.

In: `convolve` nodes, their transposes and parts of these, and a target. Out: the records of `ops.correlations` that
compute them without copies of windows, each the one that takes the least time as `_times` has it (a transpose: as
`_spreads` has it). Of a transpose that padding is cut off from, the rest is computed.
Guarantee: the same products, added in another order; so strict code keeps its loops, and so does what has few products,
or named sizes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from ..dims import Dim
from ..ops import reshape, scatter
from ..ops._registers import BYTES
from ..ops.correlations import (
    convolve_across,
    convolve_along,
    convolve_back,
    convolve_lanes,
    convolve_slopes,
    convolve_spread,
)
from ..ops.indexing import getitem
from ..ops.layout import transpose
from ..target import Target
from ..trace import Expr
from ..types import static_shape
from .rewrite import About, Rule

__all__ = ["by_tiles"]

#: The time of one vector of channels in half of that of two, of a product in a loop in that of a vector of them, and of
#: storing numbers that are no neighbours in that of others; of a transpose, which has short loops, in that of the rest;
#: of a number that is copied as its axes change places, in that of a vector of products (0.3 to 0.5 ns, decision 70).
_ONE, _LOOP, _APART, _EDGES, _TURNED = 1.15, 1.5, 3, 1.05, 2.5
_TAPS = 128  # of a window, beyond which its edges are more than what lies between them


def by_tiles(target: Target) -> tuple[Rule, ...]:
    """The rule that calls kernels; none for a target without them, and for strict code."""
    if target.strict or not target.writes(convolve_along.op):  # type: ignore[attr-defined]
        return ()
    return (
        About({"convolve"}, lambda e: _called(e, target) if _fits(e) else None),
        About({"convolve_transposed"}, lambda e: _called_back(e, target) if _fits(e) else None),
        About({"index"}, _cropped),
    )


def _fits(e: Expr) -> bool:
    """Whether there is something to do, and of known size: named sizes stay loops."""
    sizes = [d for t in (e, *e.args) for d in t.shape]
    return e.dtype.kind == "float" and not any(isinstance(d, Dim) or d == 0 for d in sizes)


def _called(e: Expr, target: Target) -> Expr | None:
    """What takes the least time of the ways there are; none where loops do, or where there is little to do."""
    summed = static_shape(e.args[1].shape[-len(e.params["stride"]) - 1 :])
    if math.prod(static_shape(e.shape)) * math.prod(summed) < target.tuning.matmul_least:
        return None
    times = _times(e, target)
    return min(times, key=lambda way: times[way])(e, target)


def _times(e: Expr, target: Target) -> dict[Callable[[Expr, Target], Expr | None], float]:
    """The time of each way, in vectors of products, with that of operands that are turned around before."""
    (x, w), params, tuning = (_in_place(a) for a in e.args), e.params, target.tuning
    rank, lanes, width = len(params["stride"]), _lanes(e), static_shape(x.shape)[-1]
    *planes, out = static_shape(e.shape[:-rank])
    pictures, places = math.prod(planes), math.prod(static_shape(e.shape[-rank:]))
    terms = math.prod(static_shape(w.shape[-rank - 1 :]))
    turned, turned_otherwise = (
        _TURNED * sum(a.size for a in operands if a.op.name == "transpose")
        for operands in ((x, w), _channels_for_pictures(e))
    )
    along = params["stride"][-1] == 1 and _vectors(e, width, params["stride"])
    across = params["dilation"][-1] == 1 and _vectors(w, width, params["dilation"])
    without = pictures * _without(e, terms, places * terms, width if along else None, params["stride"], target)
    filled = _rows(w, width, params["dilation"]) * 100 / tuning.slope_lanes
    unit = lanes // 2 if e.dtype.bits == 32 and 2 * out <= lanes else lanes  # two places share a vector
    return {
        _called_lanes: pictures * places * _channels(e, rank) * (terms + tuning.lane_taps) + turned,
        _called_along: without + turned if along else math.inf,
        _called_slopes: pictures * places * -(-out // unit) * unit / lanes * (terms + tuning.lane_taps)
        + turned_otherwise,
        _called_across: pictures * places * out * w.shape[-rank - 1] * filled + turned if across else math.inf,
        _loops: math.inf if along else without,
    }


def _rows(w: Expr, width: int, steps: Sequence[int]) -> int:
    """How many vectors the taps of a channel are: row by row, or with what lies between them in rows of `width`."""
    (*over, n), lanes = static_shape(w.shape[-len(steps) :]), _lanes(w)
    rows = math.prod(over)
    apart = rows * -(-n // lanes)
    return min(apart, -(-((rows - 1) * width + n) // lanes)) if set(steps) == {1} else apart


def _loops(e: Expr, target: Target) -> None:
    return None


def _called_lanes(e: Expr, target: Target) -> Expr:
    return convolve_lanes(*map(_in_place, e.args), **e.params)


def _called_along(e: Expr, target: Target) -> Expr:
    return convolve_along(*map(_in_place, e.args), **e.params)


def _called_across(e: Expr, target: Target) -> Expr:
    room, lines = target.tuning.taps_bytes * 8 // e.dtype.bits, target.tuning.thread_lines if target.threads else 1
    return convolve_across(*map(_in_place, e.args), **e.params, room=room, lines=lines)


def _channels_for_pictures(e: Expr) -> tuple[Expr, Expr]:
    """The operands with channels for pictures, as a slope by the weights has them: where that was a copy is none."""
    rank, grouped = len(e.params["stride"]), int(e.ndim > len(e.params["stride"]) + 2)
    channel, rest = 1 + grouped, tuple(range(e.ndim - rank, e.ndim))
    pictures = _turned(e.args[0], (channel, *range(1, channel), 0, *rest))
    return pictures, _turned(e.args[1], (channel, *range(channel), *rest) if grouped else (1, 0, *rest))


def _called_slopes(e: Expr, target: Target) -> Expr:
    """Channels stand for the pictures of `e`, pictures for its channels."""
    pictures, slopes = _channels_for_pictures(e)
    rank, channel = len(e.params["stride"]), e.ndim - len(e.params["stride"]) - 1
    rest = tuple(range(channel + 1, e.ndim))
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


def _channels(y: Expr, rank: int) -> float:
    """The time of a place, in that of a vector of results: two vectors of channels go together."""
    pairs, left = divmod(static_shape(y.shape)[-rank - 1], 2 * _lanes(y))
    return 2 * pairs + (0 if left == 0 else _ONE if left <= _lanes(y) else 2)


def _without(y: Expr, terms: int, products: int, width: int | None, steps: Sequence[int], target: Target) -> float:
    """The time of a picture, in vectors of products, by neighbouring results, or by loops with so many products."""
    (*_, out), (*rows, n) = static_shape(y.shape[: -len(steps)]), static_shape(y.shape)[-len(steps) :]
    if width is None:
        return _LOOP * products * out
    m, lanes, flat = math.prod(rows), _lanes(y), target.tuning.flat_results
    apart, least = m * -(-n // lanes), -(-((m - 1) * width + n) // lanes)
    if set(steps) == {1} and 2 * width <= flat and (n < lanes or 5 * least < 4 * apart):  # as `gs_convolve` has it
        times = -(-m // ((flat - n) // width + 1))
        apart = times * -(-((-(-m // times) - 1) * width + n) // lanes)
    return apart * out * terms


def _spreads(e: Expr, width: int | None, target: Target) -> bool:
    """The same of a transpose: elements that meet the same taps are computed together, of a few pictures."""
    (g, w), (size, stride, dilation) = e.args, (e.params[name] for name in ("size", "stride", "dilation"))
    rank, tuning, batch = len(stride), target.tuning, static_shape(e.shape)[0]
    (out, *_), (count, taps) = static_shape(w.shape)[-rank - 2 :], (static_shape(a.shape)[-rank:] for a in (g, w))
    if math.prod(taps) > _TAPS:
        return False
    held = (math.prod(static_shape(g.shape)) + math.prod(static_shape(e.shape))) * e.dtype.bits // 8 // batch
    pictures = max(1, min(batch, tuning.lane_pictures // held))
    axes = [_meetings(*each) for each in zip(size, count, taps, stride, dilation, strict=True)]
    ours = 0.0
    for together in product(*(axis.items() for axis in axes)):
        places, met = (math.prod(each) for each in zip(*((n, k) for (_, k), n in together), strict=True))
        whole, left = divmod(places * pictures, tuning.lane_places_512)
        tiles = whole * tuning.lane_places_512 + (min(8, tuning.lane_places_512) if left > 4 else 4 * bool(left))
        stored = tuning.lane_taps * (1 if stride[-1] == 1 and together[-1][1] > 4 else _APART)
        ours += tiles / pictures * (out * met + stored)
    terms = out * math.prod(taps)
    products = out * math.prod(count) * math.prod(taps)
    return _EDGES * ours * _channels(e, rank) < _without(e, terms, products, width, (1,) * rank, target)


def _meetings(size: int, places: int, taps: int, step: int, dilation: int) -> Counter[tuple[int, int]]:
    """How many elements of an axis meet the same taps, by the first of these and how many they are."""
    met = ([u for u in range(taps) if i - u * dilation in range(0, places * step, step)] for i in range(size))
    return Counter((us[0], len(us)) for us in met if us)


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
    count = static_shape(g.shape[-rank:])
    channels, taps = static_shape(w.shape[w.ndim - rank - 2 : w.ndim - rank]), static_shape(w.shape[-rank:])
    terms = math.prod(static_shape(e.shape)) * channels[0] * math.prod(taps)
    reach = tuple((n - 1) * d for n, d in zip(taps, dilation, strict=True))
    shape = tuple(n + r for n, r in zip(size, reach, strict=True))
    if terms < target.tuning.matmul_least:
        return None
    along = _vectors(e, shape[-1], (1,) * rank)
    if _spreads(e, shape[-1] if along else None, target):
        return convolve_spread(g, w, size=size, stride=stride, dilation=dilation, start=(0,) * rank)
    if not along:
        return None
    order = list(range(w.ndim))
    order[w.ndim - rank - 2], order[w.ndim - rank - 1] = w.ndim - rank - 1, w.ndim - rank - 2
    reverse = transpose(getitem(w, (..., *(slice(None, None, -1),) * rank)), order)
    return _back(g, reverse, shape, {"stride": stride, "dilation": dilation, "before": reach, "count": count})


def _back(g: Expr, reverse: Expr, shape: Sequence[int], params: Mapping[str, Any]) -> Expr:
    """The convolution of `g` with zeros around it, in rows and columns of `shape`."""
    lead = g.shape[: g.ndim - len(shape)]
    at = zip(params["before"], params["stride"], params["count"], strict=True)
    spread = scatter(g, shape=(*lead, *shape), keys=((*((0, 1, d) for d in lead), *at),))
    return convolve_back(spread, reverse, **params)


def _cropped(e: Expr) -> Expr | None:
    """A part of a transpose, which padding cuts out -> only that is computed. Groups may have become channels."""
    (whole,), key = e.args, e.params["key"]
    y = whole.args[0] if whole.op.name == "reshape" else whole
    if y.op.name not in _PARTS or not all(isinstance(k, tuple) for k in key):
        return None
    rank = len(y.params["stride"])
    lead, kept = tuple((0, 1, d) for d in whole.shape[:-rank]), key[-rank:]
    if whole.shape[-rank:] != y.shape[-rank:] or key[:-rank] != lead:
        return None
    if not all(step == 1 and count > 0 for _, step, count in kept):
        return None
    part = _PARTS[y.op.name](y, tuple(first for first, *_ in kept), tuple(count for *_, count in kept))
    return None if part is None else reshape(part, e.shape)


def _part_of_spread(y: Expr, first: Sequence[int], size: Sequence[int]) -> Expr:
    start = tuple(a + b for a, b in zip(y.params["start"], first, strict=True))
    return convolve_spread(*y.args, **{**y.params, "start": start, "size": size})


def _part_of_back(y: Expr, first: Sequence[int], size: Sequence[int]) -> Expr | None:
    """Fewer zeros around the elements; none, if it is some of these that are not needed."""
    (spread, reverse), params, rank = y.args, y.params, len(size)
    if spread.op.name != "scatter" or [a.shape[-rank:] for a in spread.args] != [params["count"]]:
        return None
    axes = zip(static_shape(spread.shape[-rank:]), static_shape(y.shape[-rank:]), size, strict=True)
    shape = tuple(whole - had + n for whole, had, n in axes)
    before = tuple(b - f for b, f in zip(params["before"], first, strict=True))
    ends = (b + (n - 1) * s for b, n, s in zip(before, params["count"], params["stride"], strict=True))
    if min(before) < 0 or any(end >= n for end, n in zip(ends, shape, strict=True)):
        return None
    return _back(spread.args[0], reverse, shape, {**params, "before": before})


#: What computes a part of a transpose: of that whole, from these elements on, of this size.
_PARTS: Mapping[str, Callable[..., Expr | None]] = {"convolve_spread": _part_of_spread, "convolve_back": _part_of_back}
