"""Convolution and pooling, as torch.nn.functional names and defines them.

Both look at an array through sliding windows, which is a layout: C reads the input in place, without a copy for each
window. A convolution is a sum of products over windows, and its two derivatives are convolutions again.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Index
from ..registry import Assembly, Layout, Op, Params
from ..trace import Expr, apply, as_expr, op
from ..types import Dim, Shape, Type, format_shape, static_shape
from ._batch import lifted, moved
from ._declare import Traced, free
from .indexing import getitem, scatter
from .joining import concatenate
from .layout import broadcast_to, expand_dims, reshape, transpose
from .reduction import max, min, sum
from .selection import equal, less, where

__all__ = ["avg_pool1d", "avg_pool2d", "conv1d", "conv2d", "max_pool1d", "max_pool2d"]

Sizes = tuple[int, ...]  # one entry for each spatial axis, which are the last ones

# --- windows and their adjoint --------------------------------------------------------------------------------------


def _spans(sizes: Sizes, dilation: Sizes) -> Sizes:
    """How far a window reaches."""
    return tuple((k - 1) * d + 1 for k, d in zip(sizes, dilation, strict=True))


def _windows_of(x: np.ndarray, sizes: Sizes, stride: Sizes, dilation: Sizes) -> np.ndarray:
    axes = tuple(range(-len(sizes), 0))
    views = np.lib.stride_tricks.sliding_window_view(x, _spans(sizes, dilation), axis=axes)
    taken: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride + dilation))
    return views[taken]  # type: ignore[no-any-return]


def _windows_text(x: str, ndim: int, sizes: Sizes, stride: Sizes, dilation: Sizes) -> str:
    spans, lead = _spans(sizes, dilation), ndim - len(sizes)
    arguments = f"{spans[0]}, axis={lead}" if len(sizes) == 1 else f"{spans}, axis={tuple(range(lead, ndim))}"
    steps = [":"] * lead + [":" if s == 1 else f"::{s}" for s in stride + dilation]
    while steps and steps[-1] == ":":
        steps.pop()
    taken = f"[{', '.join(steps)}]" if steps else ""
    return f"np.lib.stride_tricks.sliding_window_view({x}, {arguments}){taken}"


def _windows_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    return _windows_text(args[0], types[0].ndim, params["sizes"], params["stride"], params["dilation"])


def _counts(shape: Shape, sizes: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    """How many windows fit along each spatial axis."""
    room = static_shape(shape[len(shape) - len(sizes) :])
    spans = _spans(sizes, dilation)
    if builtins.any(s > r for s, r in zip(spans, room, strict=True)):
        raise ShapeError(f"a window of {spans} elements is larger than the (padded) input of {room}")
    return tuple((r - s) // step + 1 for r, s, step in zip(room, spans, stride, strict=True))


def _windows_infer(x: Type, sizes: Sizes, stride: Sizes, dilation: Sizes) -> Type:
    return Type((*x.shape[: x.ndim - len(sizes)], *_counts(x.shape, sizes, stride, dilation), *sizes), x.dtype)


def _place(index: Index, params: Params) -> Index:
    """Where element `index` of the windows is in the array."""
    rank = len(params["sizes"])
    lead, count, tap = index[: -2 * rank], index[-2 * rank : -rank], index[-rank:]
    steps = zip(count, params["stride"], tap, params["dilation"], strict=True)
    return (*lead, *(i * s + k * d for i, s, k, d in steps))


_SAMPLE = np.array([[0.3, 1.0, 2.0, -1.0, 0.4], [0.1, -0.6, 0.8, 1.5, -0.2]])

windows: Traced = op(
    "windows",
    arity=1,
    kind="layout",
    takes="any",
    infer=_windows_infer,
    vjp=lambda g, y, x, **params: (overlap_add(g, shape=x.shape, **params),),
    structure=Layout(lambda index, params, x: _place(index, params)),
    evaluate=_windows_of,
    cells={"numpy": _windows_cell},
    torch=lambda torch, x, **params: x.reshape(-1)[torch.as_tensor(_positions(tuple(x.shape), params))],
    cost=free,
    symbol="windows",
    slope="the gradient, added up where windows overlap",
    samples=[
        (_SAMPLE, {"sizes": (3,), "stride": (1,), "dilation": (1,)}),
        (_SAMPLE, {"sizes": (2,), "stride": (2,), "dilation": (2,)}),
        (_SAMPLE, {"sizes": (1, 2), "stride": (1, 3), "dilation": (1, 1)}),
    ],
    doc="All windows of a size along the last axes, side by side: `x[i*stride + k*dilation]`.",
)


def _positions(shape: Shape, params: Params) -> np.ndarray:
    """The flat place of each element of the windows."""
    sizes = static_shape(shape)
    numbered = np.arange(math.prod(sizes)).reshape(sizes)
    return np.array(_windows_of(numbered, params["sizes"], params["stride"], params["dilation"]))


def _overlap_add_places(params: Params) -> list[np.ndarray] | None:
    named = builtins.any(isinstance(d, Dim) for d in params["shape"])
    return None if named else [_positions(params["shape"], params)]


def _overlap_add_evaluate(g: np.ndarray, **params: Any) -> np.ndarray:
    total = np.zeros(static_shape(params["shape"]), dtype=np.asarray(g).dtype)
    np.add.at(total.reshape(-1), _positions(params["shape"], params), g)
    return total


_NUMPY_OVERLAP_ADD = """\
def _overlap_add(parts, shape, stride, dilation):
    total = np.zeros(shape, dtype=parts.dtype)
    rank = len(stride)
    for taps in reversed([*np.ndindex(parts.shape[-rank:])]):  # each sum in the order of its windows
        along = zip(taps, dilation, stride, parts.shape[-2 * rank : -rank])
        places = tuple(slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in along)
        total[(..., *places)] += parts[(..., *taps)]
    return total
"""

overlap_add: Traced = op(
    "overlap_add",
    arity=1,
    kind="assembly",
    infer=lambda g, shape, **params: Type(shape, g.dtype),
    vjp=lambda g, y, x, shape, **params: (windows(g, **params),),
    structure=Assembly(
        lambda part, index, params, types: _place(index, params), accumulate=True, places=_overlap_add_places
    ),
    evaluate=_overlap_add_evaluate,
    cells={
        "numpy": lambda a, p, t: f"_overlap_add({a[0]}, {format_shape(p['shape'])}, {p['stride']}, {p['dilation']})"
    },
    support={"numpy": _NUMPY_OVERLAP_ADD},
    torch=lambda torch, g, shape, **params: (
        torch.zeros(math.prod(shape), dtype=g.dtype)
        .index_add(0, torch.as_tensor(_positions(shape, params)).reshape(-1), g.reshape(-1))
        .reshape(shape)
    ),
    cost=lambda y, x, **_: {"add": x.size},
    symbol="overlap-add",
    slope="windows of the gradient",
    samples=[
        (np.array([[0.3, 1.0], [2.0, -1.0]]), {"shape": (3,), "sizes": (2,), "stride": (1,), "dilation": (1,)}),
        (np.array([[0.3, 1.0], [2.0, -1.0]]), {"shape": (5,), "sizes": (2,), "stride": (2,), "dilation": (1,)}),
    ],
    doc="Windows added up where they overlap; the adjoint of taking them.",
)

# --- convolution ----------------------------------------------------------------------------------------------------


def correlated_type(x: Type, w: Type, stride: Sizes, dilation: Sizes) -> Type:
    rank = len(stride)
    sizes = static_shape(w.shape[w.ndim - rank :])
    return Type((*x.shape[: -rank - 1], w.shape[-rank - 2], *_counts(x.shape, sizes, stride, dilation)), x.dtype)


def _convolve_expand(x: Expr, w: Expr, stride: Sizes, dilation: Sizes) -> Expr:
    rank = len(stride)
    seen = windows(x, sizes=static_shape(w.shape[w.ndim - rank :]), stride=stride, dilation=dilation)
    lead = x.ndim - rank - 1  # batch, and groups if there are any; then: out, in, places, taps
    placed = expand_dims(w, (0, *range(lead + 2, lead + 2 + rank)))
    return sum(expand_dims(seen, lead) * placed, (lead + 1, *range(lead + 2 + rank, lead + 2 + 2 * rank)))


def _convolve_vjp(g: Expr, y: Expr, x: Expr, w: Expr, stride: Sizes, dilation: Sizes) -> tuple[Expr, Expr]:
    size = static_shape(x.shape[-len(stride) :])
    to_x = _convolve_transposed(g, w, size=size, stride=stride, dilation=dilation)
    return to_x, _to_weights(g, x, w, stride, dilation)


def _to_weights(g: Expr, x: Expr, w: Expr, stride: Sizes, dilation: Sizes) -> Expr:
    """How x, with batch and channels exchanged, meets the gradient at each tap."""
    rank = len(stride)
    taps, count = static_shape(w.shape[-rank:]), static_shape(g.shape[-rank:])
    used = tuple((n - 1) * s + r for n, s, r in zip(count, stride, _spans(taps, dilation), strict=True))
    seen = getitem(x, (..., *(slice(0, n) for n in used)))
    channel = x.ndim - rank - 1
    out = _swapped(g, 0, channel)
    met = _convolve(
        _swapped(seen, 0, channel), out if channel == 1 else _swapped(out, 0, 1), stride=dilation, dilation=stride
    )
    return transpose(met, (*range(1, channel + 1), 0, *range(channel + 1, met.ndim)))


def _swapped(x: Expr, a: int, b: int) -> Expr:
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def _letters(rank: int, grouped: bool) -> str:
    group, places, taps = "g" * grouped, "ijk"[:rank], "pqr"[:rank]
    return f"n{group}c{places}{taps},{group}oc{taps}->n{group}o{places}"


def correlated(x: np.ndarray, w: np.ndarray, stride: Sizes, dilation: Sizes) -> np.ndarray:
    rank = len(stride)
    seen = _windows_of(x, w.shape[-rank:], stride, dilation)
    return np.einsum(_letters(rank, x.ndim > rank + 2), seen, w)  # type: ignore[no-any-return]


def _convolve_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    x, w = types
    stride, dilation = params["stride"], params["dilation"]
    rank = len(stride)
    seen = _windows_text(args[0], x.ndim, static_shape(w.shape[w.ndim - rank :]), stride, dilation)
    return f'np.einsum("{_letters(rank, x.ndim > rank + 2)}", {seen}, {args[1]}, optimize=True)'


def _convolve_torch(torch: Any, x: Any, w: Any, stride: Sizes, dilation: Sizes) -> Any:
    rank = len(stride)
    convolve = getattr(torch, f"conv{rank}d")
    if x.ndim == rank + 2:
        return convolve(x, w, stride=stride, dilation=dilation)
    # torch has the groups of x[n, g, c, …] and w[g, o, c, …] side by side in the channels
    y = convolve(x.flatten(1, 2), w.flatten(0, 1), stride=stride, dilation=dilation, groups=x.shape[1])
    return y.unflatten(1, (w.shape[0], w.shape[1]))


def _convolve_cost(y: Type, x: Type, w: Type, stride: Sizes, dilation: Sizes) -> dict[str, int]:
    terms = math.prod(w.shape[w.ndim - len(stride) - 1 :])
    return {"mul": y.size * terms, "add": y.size * (terms - 1)}


def _convolve_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """Weights that differ are groups, or channels where the input is the same; inputs that differ are a batch."""
    (x, w), (left, right), rank = xs, mapped, len(params["stride"])
    grouped = w.ndim - right > rank + 2
    if not right:  # (size, n, …) -> (size*n, …)
        y = apply(op, [reshape(x, (-1, *x.shape[2:])), w], params)
        return reshape(y, (size, x.shape[1], *y.shape[1:]))
    if not left:  # (size, o, …) -> (size*o, …), in groups (size, g, o, …) -> (g, size*o, …)
        at = int(grouped) + (op.name == "convolve_transposed")  # the axis of the result's channels: (g, o, size*c, …)
        beside = moved(w, 0, at)
        y = apply(op, [x, reshape(beside, (*beside.shape[:at], -1, *beside.shape[at + 2 :]))], params)
        channel = grouped + 1
        apart = reshape(y, (*y.shape[:channel], size, -1, *y.shape[channel + 1 :]))
        return moved(apart, channel, 0)
    beside = moved(x, 0, 1)  # (n, size, c, …), in groups (n, size*g, c, …)
    if not grouped:
        return moved(apply(op, [beside, w], params), 1, 0)
    y = apply(op, [reshape(beside, (x.shape[1], -1, *x.shape[3:])), reshape(w, (-1, *w.shape[2:]))], params)
    return moved(reshape(y, (x.shape[1], size, -1, *y.shape[2:])), 1, 0)


_convolve: Traced = op(
    "convolve",
    arity=2,
    kind="composite",
    infer=correlated_type,
    vjp=_convolve_vjp,
    batch=_convolve_batch,
    expand=_convolve_expand,
    evaluate=correlated,
    cells={"numpy": _convolve_cell},
    torch=_convolve_torch,
    cost=_convolve_cost,
    symbol="conv",
    slope="the gradient with w, transposed; the convolution of x with the gradient",
    samples=[
        (
            np.linspace(-1.0, 1.0, 20).reshape(2, 2, 5),
            np.array([[[0.3, -0.5], [0.7, 0.2]], [[-0.9, 0.4], [0.1, 0.6]], [[0.8, -0.2], [0.5, -0.7]]]),
            {"stride": (2,), "dilation": (1,)},
        )
    ],
    doc="Sums of products of windows and weights: `(n, c, …)` and `(o, c, …)` to `(n, o, …)`, also in groups.",
)


# --- its transpose --------------------------------------------------------------------------------------------------
# Each element adds what the windows over it say. No zeros are put between or around: 0*inf would be NaN.


def transposed_type(g: Type, w: Type, size: Sizes, stride: Sizes, dilation: Sizes) -> Type:
    rank = len(stride)
    return Type((*g.shape[: -rank - 1], w.shape[-rank - 1], *size), g.dtype)


def _transposed_parts(g: Expr, w: Expr, size: Sizes, stride: Sizes, dilation: Sizes) -> Expr:
    """What each place gives to each element of its window: (n, c, …places, …taps)."""
    rank = len(stride)
    lead = g.ndim - rank - 1  # batch, and groups if there are any; then: out, in, places, taps
    given = expand_dims(g, (lead + 1, *range(g.ndim + 1, g.ndim + 1 + rank)))
    return sum(given * expand_dims(w, (0, *range(lead + 2, lead + 2 + rank))), lead)


def _transposed_expand(g: Expr, w: Expr, size: Sizes, stride: Sizes, dilation: Sizes) -> Expr:
    rank = len(stride)
    parts = _transposed_parts(g, w, size, stride, dilation)
    shape = (*parts.shape[: parts.ndim - 2 * rank], *size)
    return overlap_add(parts, shape=shape, sizes=static_shape(w.shape[-rank:]), stride=stride, dilation=dilation)


def _transposed_vjp(
    h: Expr, y: Expr, g: Expr, w: Expr, size: Sizes, stride: Sizes, dilation: Sizes
) -> tuple[Expr, Expr]:
    return _convolve(h, w, stride=stride, dilation=dilation), _to_weights(g, h, w, stride, dilation)


def _transposed_letters(rank: int, grouped: bool) -> str:
    group, places, taps = "g" * grouped, "ijk"[:rank], "pqr"[:rank]
    return f"n{group}o{places},{group}oc{taps}->n{group}c{places}{taps}"


def transposed(g: np.ndarray, w: np.ndarray, size: Sizes, stride: Sizes, dilation: Sizes) -> np.ndarray:
    rank = len(stride)
    parts = np.einsum(_transposed_letters(rank, g.ndim > rank + 2), g, w)
    shape = (*parts.shape[: parts.ndim - 2 * rank], *size)
    return _overlap_add_evaluate(parts, shape=shape, sizes=w.shape[-rank:], stride=stride, dilation=dilation)


def _transposed_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    g, w = types
    rank = len(params["stride"])
    shape = transposed_type(g, w, **params).shape
    parts = f'np.einsum("{_transposed_letters(rank, g.ndim > rank + 2)}", {args[0]}, {args[1]}, optimize=True)'
    return f"_overlap_add({parts}, {format_shape(shape)}, {params['stride']}, {params['dilation']})"


def _transposed_torch(torch: Any, g: Any, w: Any, size: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    rank = len(stride)
    transpose = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    used = ((n - 1) * s + r for n, s, r in zip(g.shape[-rank:], stride, _spans(w.shape[-rank:], dilation), strict=True))
    more = {"output_padding": tuple(n - u for n, u in zip(size, used, strict=True))}
    if g.ndim == rank + 2:
        return transpose(g, w, stride=stride, dilation=dilation, **more)
    y = transpose(g.flatten(1, 2), w.flatten(0, 1), stride=stride, dilation=dilation, groups=g.shape[1], **more)
    return y.unflatten(1, (g.shape[1], w.shape[2]))


def _transposed_cost(y: Type, g: Type, w: Type, stride: Sizes, **_: Any) -> dict[str, int]:
    terms = g.size * math.prod(w.shape[w.ndim - len(stride) - 1 :])
    return {"mul": terms, "add": terms}


_convolve_transposed: Traced = op(
    "convolve_transposed",
    arity=2,
    kind="composite",
    infer=transposed_type,
    vjp=_transposed_vjp,
    batch=_convolve_batch,
    expand=_transposed_expand,
    evaluate=transposed,
    cells={"numpy": _transposed_cell},
    support={"numpy": _NUMPY_OVERLAP_ADD},
    torch=_transposed_torch,
    cost=_transposed_cost,
    symbol="conv^T",
    slope="the convolution of the gradient with w, and of the gradient with g",
    samples=[
        (
            np.linspace(-1.0, 1.0, 12).reshape(2, 3, 2),
            np.array([[[0.3, -0.5], [0.7, 0.2]], [[-0.9, 0.4], [0.1, 0.6]], [[0.8, -0.2], [0.5, -0.7]]]),
            {"size": (5,), "stride": (2,), "dilation": (1,)},
        )
    ],
    doc="The transpose of `convolve`: `(n, o, …)` and `(o, c, …)` to `(n, c, *size)`, also in groups.",
)


def _sizes(value: Any, rank: int, op: str, what: str, least: int) -> Sizes:
    """An int, or one int for each spatial axis."""
    sizes = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    sizes = sizes * rank if len(sizes) == 1 else sizes
    if len(sizes) != rank or not builtins.all(isinstance(s, int) and not isinstance(s, bool) for s in sizes):
        raise ShapeError(f"{op}: {what}={value!r} must be an int{f' or {rank} ints' if rank > 1 else ''}")
    if builtins.min(sizes) < least:
        raise ShapeError(f"{op}: {what}={value!r} must be {least} or more")
    return sizes


def _zeros_around(x: Expr, before: Sizes, after: Sizes) -> Expr:
    if not builtins.any(before + after):
        return x
    lead = x.shape[: x.ndim - len(before)]
    size = static_shape(x.shape[len(lead) :])
    shape = tuple(b + n + a for b, n, a in zip(before, size, after, strict=True))
    inside = tuple((b, 1, n) for b, n in zip(before, size, strict=True))
    return scatter(x, shape=(*lead, *shape), keys=((*((0, 1, d) for d in lead), *inside),))


Padding = Any  # an int, a sequence of ints, "valid" or "same"


def _convolution(
    rank: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Padding, dilation: Any, groups: int
) -> Expr:
    name = f"conv{rank}d"
    x, w = as_expr(input), as_expr(weight)
    if x.ndim == rank + 1:
        return getitem(_convolution(rank, expand_dims(x, 0), w, bias, stride, padding, dilation, groups), 0)
    if x.ndim != rank + 2 or w.ndim != rank + 2:
        raise ShapeError(
            f"{name}: input {format_shape(x.shape)} and weight {format_shape(w.shape)} must have {rank + 2} axes: "
            f"batch (which input may lack), channels and {rank} of space; out, in and {rank} of space"
        )
    (channels, *_), (out, inside, *_) = static_shape(x.shape[1:], name), static_shape(w.shape, name)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or out % groups:
        raise ShapeError(f"{name}: groups={groups!r} must be 1 or more, and divide the {out} channels of the result")
    if channels != inside * groups:
        raise ShapeError(
            f"{name}: input {format_shape(x.shape)} has {channels} channels, but weight {format_shape(w.shape)} with "
            f"groups={groups} takes {inside * groups}"
        )
    steps = _sizes(stride, rank, name, "stride", 1)
    apart = _sizes(dilation, rank, name, "dilation", 1)
    x = _zeros_around(x, *_conv_padding(padding, steps, _spans(static_shape(w.shape[2:]), apart), name))
    if groups > 1:
        x = reshape(x, (x.shape[0], groups, inside, *x.shape[2:]))
        w = reshape(w, (groups, out // groups, *w.shape[1:]))
    y = _convolve(x, w, stride=steps, dilation=apart)
    if groups > 1:
        y = reshape(y, (y.shape[0], out, *y.shape[3:]))
    if bias is None:
        return y
    b = as_expr(bias)
    if b.shape != (out,):
        raise ShapeError(f"{name}: bias must have shape {format_shape((out,))}, not {format_shape(b.shape)}")
    return y + expand_dims(b, tuple(range(1, rank + 1)))


def _conv_padding(padding: Padding, stride: Sizes, spans: Sizes, name: str) -> tuple[Sizes, Sizes]:
    """Zeros before and behind each spatial axis."""
    rank = len(stride)
    if padding == "valid":
        return (0,) * rank, (0,) * rank
    if padding == "same":
        if builtins.any(s != 1 for s in stride):
            raise ShapeError(f'{name}: padding="same" needs stride=1, not {stride}')
        return tuple((s - 1) // 2 for s in spans), tuple(s // 2 for s in spans)
    if isinstance(padding, str):
        raise ShapeError(f'{name}: padding={padding!r} is neither ints nor "valid" nor "same"')
    sizes = _sizes(padding, rank, name, "padding", 0)
    return sizes, sizes


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Expr:
    """Cross-correlation along one axis: see `conv2d`.

    >>> import gradsmith as gs
    >>> gs.conv1d(gs.symbol("x", (1, 1, 5)), gs.symbol("w", (4, 1, 3)), padding="same").shape
    (1, 4, 5)
    """
    return _convolution(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Expr:
    """Cross-correlation over the last two axes, which networks call convolution.

    Parameters
    ----------
    input: shape `(n, in, height, width)`, or without the batch axis `n`.
    weight: shape `(out, in/groups, kernel height, kernel width)`.
    bias: shape `(out,)`, or None.
    stride, dilation: steps from window to window, and from tap to tap: an int, or one for each axis.
    padding: zeros on all sides; `"valid"` is none, `"same"` (stride 1 only) as many as keep the size.
    groups: channels are divided into so many groups, and each group of results sees its own only.

    The result has shape `(n, out, …)` with `(size + 2*padding - dilation*(kernel - 1) - 1)//stride + 1` elements along
    each axis.

    >>> import gradsmith as gs
    >>> gs.conv2d(gs.symbol("x", (2, 3, 8, 8)), gs.symbol("w", (4, 3, 3, 3)), stride=2, padding=1).shape
    (2, 4, 4, 4)
    """
    return _convolution(2, input, weight, bias, stride, padding, dilation, groups)


# --- pooling --------------------------------------------------------------------------------------------------------


def _max_pool_infer(x: Type, sizes: Sizes, stride: Sizes, dilation: Sizes) -> Type:
    return Type((*x.shape[: x.ndim - len(sizes)], *_counts(x.shape, sizes, stride, dilation)), x.dtype)


def _last(rank: int, ndim: int) -> Sizes:
    return tuple(range(ndim - rank, ndim))


def _max_pool_expand(x: Expr, **params: Any) -> Expr:
    seen = windows(x, **params)
    return max(seen, _last(len(params["sizes"]), seen.ndim))


def _max_pool_vjp(g: Expr, y: Expr, x: Expr, **params: Any) -> tuple[Expr]:
    sizes = params["sizes"]
    seen = windows(x, **params)
    taps = _last(len(sizes), seen.ndim)
    numbered = np.arange(math.prod(sizes)).reshape(sizes)
    first = min(where(less(seen, expand_dims(y, taps)), math.prod(sizes), numbered), taps, keepdims=True)
    share = where(equal(first, numbered), expand_dims(g, taps), 0.0)
    return (overlap_add(share, shape=x.shape, **params),)


def _max_pool_numpy(x: np.ndarray, sizes: Sizes, stride: Sizes, dilation: Sizes) -> np.ndarray:
    return np.max(_windows_of(x, sizes, stride, dilation), axis=tuple(range(-len(sizes), 0)))  # type: ignore[no-any-return]


def _max_pool_torch(torch: Any, x: Any, sizes: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    pool = getattr(torch.nn.functional, f"max_pool{len(sizes)}d")
    return pool(x.reshape(1, -1, *x.shape[x.ndim - len(sizes) :]), sizes, stride, 0, dilation).reshape(
        _max_pool_infer(Type(tuple(x.shape)), sizes, stride, dilation).shape
    )


_max_pool: Traced = op(
    "max_pool",
    arity=1,
    kind="composite",
    infer=_max_pool_infer,
    vjp=_max_pool_vjp,
    batch=lifted,
    expand=_max_pool_expand,
    evaluate=_max_pool_numpy,
    torch=_max_pool_torch,
    cost=lambda y, x, sizes, **_: {"select": y.size * (math.prod(sizes) - 1)},
    symbol="max pool",
    slope="1 for the first maximum of each window",
    samples=[
        (_SAMPLE, {"sizes": (2,), "stride": (2,), "dilation": (1,)}),
        (np.array([[1.0, 1.0, 2.0, 2.0, 0.5]]), {"sizes": (3,), "stride": (1,), "dilation": (1,)}),
        (_SAMPLE, {"sizes": (2, 2), "stride": (1, 2), "dilation": (1, 2)}),
    ],
    edge_notes={"ties": "the first maximum of a window gets all of the gradient, as torch"},
    doc="The largest element of each window.",
)


def _pooled_axes(
    rank: int, name: str, x: Expr, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
    """Sizes of the windows, their stride and dilation, and what is added before and behind each axis."""
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name}: input must have {rank + 2} axes (batch, channels and {rank} of space) or none for the batch, not "
            f"shape {format_shape(x.shape)}"
        )
    sizes = _sizes(kernel_size, rank, name, "kernel_size", 1)
    steps = sizes if stride is None else _sizes(stride, rank, name, "stride", 1)
    apart = _sizes(dilation, rank, name, "dilation", 1)
    before = _sizes(padding, rank, name, "padding", 0)
    spans = _spans(sizes, apart)
    if builtins.any(2 * p > s for p, s in zip(before, spans, strict=True)):
        raise ShapeError(f"{name}: padding={padding!r} is more than half of the window, which reaches over {spans}")
    after = []
    for n, p, span, step in zip(static_shape(x.shape[-rank:], name), before, spans, steps, strict=True):
        left_over = (n + 2 * p - span) % step
        starts_inside = n + 2 * p - left_over - span + step < n + p  # else it would see nothing but padding
        after.append(p + (step - left_over if ceil_mode and left_over and starts_inside else 0))
    return sizes, steps, apart, before, tuple(after)


def _max_pooling(
    rank: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Expr:
    x = as_expr(input)
    name = f"max_pool{rank}d"
    sizes, steps, apart, before, after = _pooled_axes(rank, name, x, kernel_size, stride, padding, dilation, ceil_mode)
    for axis, b, a in zip(_last(rank, x.ndim), before, after, strict=True):
        sides = [broadcast_to(-math.inf, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in (b, a)]
        if b or a:
            x = concatenate([*sides[:1] * bool(b), x, *sides[1:] * bool(a)], axis)
    return _max_pool(x, sizes=sizes, stride=steps, dilation=apart)


def max_pool1d(
    input: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Expr:
    """The largest element of each window along the last axis: see `max_pool2d`."""
    return _max_pooling(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Expr:
    """The largest element of each window over the last two axes.

    The stride is the window's size unless given; padding is by -inf and counts on all sides. With `ceil_mode` a last
    window that is not full counts too. Of equal elements the first gets the gradient, as in torch.

    >>> import gradsmith as gs
    >>> gs.max_pool2d(gs.symbol("x", (2, 3, 8, 8)), 2).shape
    (2, 3, 4, 4)
    """
    return _max_pooling(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def _avg_pooling(
    rank: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Expr:
    x = as_expr(input)
    name = f"avg_pool{rank}d"
    sizes, steps, apart, before, after = _pooled_axes(rank, name, x, kernel_size, stride, padding, 1, ceil_mode)
    padded = _zeros_around(x, before, after)
    seen = windows(padded, sizes=sizes, stride=steps, dilation=apart)
    total = sum(seen, _last(rank, seen.ndim))
    if divisor_override is not None:
        return total / float(_sizes(divisor_override, 1, name, "divisor_override", 1)[0])
    counted = np.zeros(static_shape(padded.shape[-rank:]))
    inner = static_shape(x.shape[-rank:])
    counted[
        tuple(slice(0, n + 2 * b) if count_include_pad else slice(b, b + n) for b, n in zip(before, inner, strict=True))
    ] = 1.0
    counts = np.sum(_windows_of(counted, sizes, steps, apart), axis=_last(rank, 2 * rank))
    return total / (float(counts.flat[0]) if (counts == counts.flat[0]).all() else counts)


def avg_pool1d(
    input: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Expr:
    """The mean of each window along the last axis: see `avg_pool2d`."""
    return _avg_pooling(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Any,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Expr:
    """The mean of each window over the last two axes.

    The stride is the window's size unless given; padding is by zeros, which count as elements unless
    `count_include_pad=False`. With `ceil_mode` a last window that is not full counts too. `divisor_override` takes the
    place of the number of elements.

    >>> import gradsmith as gs
    >>> gs.avg_pool2d(gs.symbol("x", (2, 3, 8, 8)), 2).shape
    (2, 3, 4, 4)
    """
    return _avg_pooling(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
