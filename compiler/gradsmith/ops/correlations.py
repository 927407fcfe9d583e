"""Convolutions by kernels: what `passes.convolutions` puts in the place of `convolve` in C code.

`convolve_along` computes neighbouring results side by side and needs steps of one along rows; `convolve_lanes` has a
channel of results in each lane, and any steps; `convolve_across` adds up along rows of taps, which are long where a
gradient stands for the weights; `convolve_slopes` does the same with a filter in each lane. The transpose is
`convolve_back`, of elements with zeros around them, or `convolve_spread`, of the elements themselves. None copies the
windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..registry import Cut, Kernel, Params
from ..trace import op
from ..types import Type, static_shape
from ._convolution_lanes import LANES, SPREAD
from ._convolution_slopes import SLOPES
from ._convolution_tiles import ACROSS, ALONG, BACK
from ._declare import Traced
from ._registers import BYTES
from .convolution import Sizes, correlated, correlated_type, transposed, transposed_type

__all__: list[str] = []


def _plane(sizes: Sizes) -> Sizes:
    """Sizes of two spatial axes: the first is 1 for a row."""
    return (1,) * (2 - len(sizes)) + tuple(sizes)


def _extents(x: Type, w: Type, params: Params) -> tuple[int, ...]:
    """Batch, groups, results, channels; sizes of the picture, the results and the taps."""
    rank = len(params["stride"])
    batch, *groups, channels = static_shape(x.shape[:-rank])
    places = static_shape(correlated_type(x, w, params["stride"], params["dilation"]).shape[-rank:])
    sizes = (static_shape(x.shape[-rank:]), places, static_shape(w.shape[-rank:]))
    out = static_shape(w.shape)[-rank - 2]
    return (batch, math.prod(groups), out, channels, *(n for each in sizes for n in _plane(each)))


def _along(x: Type, w: Type, params: Params) -> tuple[int, ...]:
    return (*_extents(x, w, params), _plane(params["stride"])[0], *_plane(params["dilation"]))


def _lanes(x: Type, w: Type, params: Params) -> tuple[int, ...]:
    return (*_extents(x, w, params), *_plane(params["stride"]), *_plane(params["dilation"]))


def _across(x: Type, w: Type, params: Params) -> tuple[int, ...]:
    steps = (*_plane(params["stride"]), _plane(params["dilation"])[0])
    return (*_extents(x, w, params), *steps, params["room"], params["lines"])


def _back(x: Type, w: Type, params: Params) -> tuple[int, ...]:
    extents = _extents(x, w, {**params, "stride": (1,) * len(params["stride"])})
    before = (0,) * (2 - len(params["before"])) + params["before"]
    return (*extents, *_plane(params["dilation"]), *_plane(params["stride"]), *before, *_plane(params["count"]))


def _spread(g: Type, w: Type, params: Params) -> tuple[int, ...]:
    """Batch, groups, channels of `g`, of the result; sizes of `g`, the result and the taps; steps; the start; gaps."""
    stride, dilation, start, size = (params[name] for name in ("stride", "dilation", "start", "size"))
    rank = len(stride)
    batch, *groups, out = static_shape(g.shape[:-rank])
    sizes = (static_shape(g.shape[-rank:]), size, static_shape(w.shape[-rank:]), stride, dilation)
    apart = tuple(s // math.gcd(s, d) for s, d in zip(stride, dilation, strict=True))
    channels = static_shape(w.shape)[-rank - 1]
    gaps = any(len(set(met)) < n for met, n in zip(_met(g, w, **params), size, strict=True))
    planes = (n for each in (*sizes, apart) for n in _plane(each))
    return (batch, math.prod(groups), out, channels, *planes, *(0,) * (2 - rank), *start, int(gaps))


def _met(g: Type, w: Type, size: Sizes, stride: Sizes, dilation: Sizes, start: Sizes) -> list[list[int]]:
    """Along each axis, the elements of a transpose that each place of `g` meets with each tap."""
    rank = len(size)
    axes = zip(static_shape(g.shape[-rank:]), static_shape(w.shape[-rank:]), stride, dilation, start, size, strict=True)
    return [
        [at for i in range(m) for u in range(p) if 0 <= (at := i * s + u * d - first) < n]
        for m, p, s, d, first, n in axes
    ]


def _by_pictures(x: Type, w: Type, params: Params) -> Cut:
    return Cut((0,))


def _weights(x: Type, w: Type, params: Params) -> int:
    """How many numbers of weights are copied into the order in which tiles read them."""
    return math.prod(static_shape(w.shape))


def _filled(x: Type, w: Type, params: Params) -> int:
    """The same with as many channels as fill vectors, and numbers in front that end where a line of memory does."""
    lanes = BYTES // (x.dtype.bits // 8)
    _batch, groups, out, *_ = _extents(x, w, params)
    return lanes + groups * -(-out // lanes) * lanes * math.prod(static_shape(w.shape)[-len(params["stride"]) - 1 :])


def _filled_back(g: Type, w: Type, params: Params) -> int:
    lanes = BYTES // (g.dtype.bits // 8)
    *groups, out, channels = static_shape(w.shape[: -len(params["stride"])])
    taps = math.prod(static_shape(w.shape)[-len(params["stride"]) :])
    return lanes + math.prod(groups) * -(-channels // lanes) * lanes * out * taps


def _lines(x: Type, w: Type, params: Params) -> int:
    """How many numbers the masks of a line of taps, lines, and a block's lines of all filters take, in vectors."""
    lanes = BYTES // (x.dtype.bits // 8)
    _batch, groups, out, channels, _h, b, _m, _n, p, q = _extents(x, w, params)
    joined, apart = -(-((p - 1) * b + q) // lanes) * lanes, p * (-(-q // lanes) * lanes)
    room, copied = int(params["room"]), int(params["lines"])
    line = joined if q < lanes or (p - 1) * b + q <= room else apart // p
    each = min(channels * max(line, apart), max(room, line))
    return lanes + (1 + copied) * line + groups * out * each


def _back_type(x: Type, w: Type, stride: Sizes, dilation: Sizes, **_: Any) -> Type:
    return correlated_type(x, w, (1,) * len(stride), dilation)


def _back_evaluate(
    x: np.ndarray, w: np.ndarray, stride: Sizes, dilation: Sizes, before: Sizes, count: Sizes
) -> np.ndarray:
    """Taps in reverse and zeros around the elements taken off again: a part of the transpose by its own definition."""
    rank = len(stride)
    reach = [(n - 1) * d for n, d in zip(w.shape[-rank:], dilation, strict=True)]
    places: tuple[Any, ...] = (..., *(slice(b, b + n * s, s) for b, n, s in zip(before, count, stride, strict=True)))
    taps = np.flip(w, tuple(range(-rank, 0))).swapaxes(w.ndim - rank - 2, w.ndim - rank - 1)
    start = [r - b for r, b in zip(reach, before, strict=True)]
    size = tuple(n - r for n, r in zip(x.shape[-rank:], reach, strict=True))
    return _spread_evaluate(x[places], taps, size, stride, dilation, tuple(start))


def _cost(y: Type, x: Type, w: Type, stride: Sizes, taps: Sizes = (), **_: Any) -> Mapping[str, Any]:
    rank = len(stride)
    terms = w.shape[0] * math.prod(w.shape[w.ndim - rank :]) if taps else math.prod(w.shape[w.ndim - rank - 1 :])
    return {"mul": y.size * terms, "add": y.size * (terms - 1)}


def _slopes_type(x: Type, g: Type, taps: Sizes, **_: Any) -> Type:
    rank = len(taps)
    return Type((*g.shape[1:-rank], x.shape[-rank - 1], *taps), x.dtype)


def _slopes_evaluate(
    x: np.ndarray, g: np.ndarray, taps: Sizes, stride: Sizes, dilation: Sizes, block: Sizes
) -> np.ndarray:
    """Pictures for channels, channels for pictures, and the gradient for the taps: a convolution by its definition."""
    rank = len(taps)
    count = g.shape[-rank:]
    used = tuple((n - 1) * s + (r - 1) * d + 1 for n, s, r, d in zip(count, stride, taps, dilation, strict=True))
    seen: tuple[Any, ...] = (..., *(slice(0, n) for n in used))
    channel = x.ndim - rank - 1
    weights = np.moveaxis(g, 0, channel)
    return np.moveaxis(correlated(x[seen].swapaxes(0, channel), weights, dilation, stride), 0, channel)


def _slopes(x: Type, g: Type, params: Params) -> tuple[int, ...]:
    """Batch, groups, filters, channels; sizes of pictures, places and taps; steps and dilation; sizes of a block."""
    rank = len(params["taps"])
    batch, *groups, channels = static_shape(x.shape[:-rank])
    sizes = (static_shape(x.shape[-rank:]), static_shape(g.shape[-rank:]), *(params[k] for k in ("taps", "stride")))
    planes = (n for each in (*sizes, params["dilation"]) for n in _plane(each))
    return (batch, math.prod(groups), static_shape(g.shape)[-rank - 1], channels, *planes, *params["block"])


def _turned(x: Type, g: Type, params: Params) -> int:
    """How many numbers the sums of a slope take, with a tile over, and a block of g, filters innermost, in vectors."""
    lanes = BYTES // (x.dtype.bits // 8)
    _batch, groups, out, channels, _h, _b, _m, _n, p, q, *_ = _slopes(x, g, params)
    some, high, wide = params["block"]
    each = channels * p * q + 17 + some * high * (wide + 1)
    return lanes + int(groups * -(-out // lanes) * lanes * each)


def _spread_type(g: Type, w: Type, size: Sizes, stride: Sizes, dilation: Sizes, start: Sizes) -> Type:
    return transposed_type(g, w, size, stride, dilation)


def _spread_evaluate(
    g: np.ndarray, w: np.ndarray, size: Sizes, stride: Sizes, dilation: Sizes, start: Sizes
) -> np.ndarray:
    """The whole transpose by its definition, of which a part is taken."""
    axes = zip(g.shape[-len(size) :], w.shape[-len(size) :], stride, dilation, start, size, strict=True)
    whole = tuple(max((m - 1) * s + (p - 1) * d + 1, first + n) for m, p, s, d, first, n in axes)
    kept: tuple[Any, ...] = (..., *(slice(first, first + n) for first, n in zip(start, size, strict=True)))
    return transposed(g, w, whole, stride, dilation)[kept]  # type: ignore[no-any-return]


def _spread_cost(y: Type, g: Type, w: Type, **params: Any) -> Mapping[str, Any]:
    rank = len(params["size"])
    terms = math.prod(g.shape[:-rank]) * w.shape[-rank - 1] * math.prod(map(len, _met(g, w, **params)))
    return {"mul": terms, "add": terms}


def _record(
    name: str,
    call: str,
    arguments: Callable[..., tuple[int, ...]],
    support: Mapping[str, tuple[str, ...]],
    doc: str,
    count: int = 13,
    scratch: Callable[..., int] | None = None,
    infer: Callable[..., Type] = correlated_type,
    evaluate: Callable[..., np.ndarray] = correlated,
    cut: Callable[..., Cut | None] = lambda *_: None,
    cost: Callable[..., Mapping[str, Any]] = _cost,
) -> Traced:
    """The record of the C function `call`: its parameters are operands, result, scratch if any, and `count` extents."""
    return op(
        name,
        arity=2,
        kind="kernel",
        infer=infer,
        evaluate=evaluate,
        loops=True,
        structure=Kernel(arguments, scratch, cut=cut),
        cells={"c": f"{call}({', '.join(f'{{{i}}}' for i in range(3 + bool(scratch) + count))})"},
        support=support,
        cost=cost,
        doc=doc,
    )


convolve_along: Traced = _record(
    "convolve_along",
    "gs_convolve",
    _along,
    ALONG,
    "Convolution, with neighbouring results in one vector.",
    scratch=_weights,
    cut=_by_pictures,
)
convolve_lanes: Traced = _record(
    "convolve_lanes",
    "gs_convolve_lanes",
    _lanes,
    LANES,
    "Convolution, with a channel of results in each lane of a vector.",
    14,
    _filled,
    cut=_by_pictures,
)
convolve_across: Traced = _record(
    "convolve_across",
    "gs_correlate",
    _across,
    ACROSS,
    "Convolution, with neighbouring taps in one vector.",
    15,
    _lines,
    lambda x, w, stride, dilation, **_: correlated_type(x, w, stride, dilation),
    lambda x, w, stride, dilation, **_: correlated(x, w, stride, dilation),
)
convolve_back: Traced = _record(
    "convolve_back",
    "gs_convolve_back",
    _back,
    BACK,
    "Convolution of elements with zeros around them, which meet finite weights only.",
    18,
    _weights,
    _back_type,
    _back_evaluate,
    _by_pictures,
)
convolve_spread: Traced = _record(
    "convolve_spread",
    "gs_spread_lanes",
    _spread,
    SPREAD,
    "A part of the transpose of a convolution, with a channel of results in each lane of a vector.",
    19,
    _filled_back,
    _spread_type,
    _spread_evaluate,
    _by_pictures,
    _spread_cost,
)

convolve_slopes: Traced = _record(
    "convolve_slopes",
    "gs_slopes",
    _slopes,
    SLOPES,
    "Slope of a convolution by its weights, with filters in one vector.",
    17,
    _turned,
    _slopes_type,
    _slopes_evaluate,
)

#: All: each stands for `convolve` or its transpose.
CORRELATIONS: tuple[Traced, ...] = (
    convolve_along,
    convolve_lanes,
    convolve_across,
    convolve_slopes,
    convolve_back,
    convolve_spread,
)
