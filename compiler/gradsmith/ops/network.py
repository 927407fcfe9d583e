"""Layers of neural networks, as torch.nn.functional names and defines them: linear, norms, attention, embedding.

All but `stop_gradient` are compositions. What torch offers for training only (dropout, `max_norm` …) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..trace import Expr, as_expr, op
from ..types import INT64, Shape, broadcast_shapes, format_shape, normalize_axes, normalize_shape, static_shape
from ._batch import lifted
from ._declare import free, no_gradient
from .activation import masked_softmax
from .arithmetic import square
from .contraction import matmul, matrix_transpose
from .conversion import astype
from .elementary import sqrt
from .layout import broadcast_to, expand_dims, reshape
from .lazy import gs
from .reduction import mean, softmax, sum
from .selection import equal, greater_equal, where

__all__ = [
    "batch_norm", "cosine_similarity", "embedding", "group_norm", "layer_norm", "linear", "one_hot", "rms_norm",
    "scaled_dot_product_attention", "stop_gradient",
]  # fmt: skip

#: Static integers: an int, nested lists of ints, or an array.
Ints = int | Sequence[Any] | np.ndarray

stop_gradient = op(
    "stop_gradient",
    arity=1,
    kind="composite",
    infer=lambda x: x,
    vjp=no_gradient,
    batch=lifted,
    expand=lambda x: x,  # nothing is left of it once the derivatives are there
    evaluate=np.asarray,
    torch=lambda torch, x: x.detach(),
    cost=free,
    symbol="stop",
    slope="0",
    samples=[(np.array([0.3, -2.5]),)],
    doc="The value itself, through which no gradient flows.",
)


def raised(x: Expr, low: float) -> Expr:
    """`x`, at least `low`; the gradient passes as if it had not been raised, as through torch's in-place clamp."""
    return where(x < low, x + stop_gradient(low - x), x)


def at_run_time(name: str, what: str, values: Any) -> bool:
    """Whether `values` are integers that are not known while tracing; a traced value of another kind is refused."""
    if not isinstance(values, Expr) or values.op.name == "constant":
        return False
    if values.dtype.kind != "int":
        raise DTypeError(f"{name}: {what} must be integers, not {values.type}: convert them by gs.astype(x, gs.int64)")
    return True


def indices(name: str, what: str, values: Any, size: int, allowed: int | None = None) -> np.ndarray:
    """Static integers in [0, size), or equal to `allowed`, as an array."""
    array = np.asarray(values.params["value"] if isinstance(values, Expr) else values)
    if array.dtype.kind not in "iu" and array.size:
        raise ShapeError(f"{name}: {what} must be ints, not {array.dtype}")
    wrong = array[((array < 0) | (array >= size)) & ((array != allowed) if allowed is not None else True)]
    if wrong.size:
        raise ShapeError(f"{name}: {what} must be in [0, {size}), and {int(wrong.flat[0])} is not")
    return array.astype(np.int64)


def linear(input: Any, weight: Any, bias: Any = None) -> Expr:
    """`input @ weight.T + bias`, with `weight` of shape `(out, in)` or `(in,)`.

    >>> import gradsmith as gs
    >>> gs.linear(gs.symbol("x", (5, 3)), gs.symbol("W", (2, 3)), gs.symbol("b", (2,))).shape
    (5, 2)
    """
    x, w = as_expr(input), as_expr(weight)
    if w.ndim not in (1, 2) or not x.ndim or x.shape[-1] != w.shape[-1]:
        raise ShapeError(
            f"linear: input {format_shape(x.shape)} does not fit weight {format_shape(w.shape)}: the last axes must "
            "be equal, and the weight has shape (out, in) or (in,)"
        )
    y = matmul(x, matrix_transpose(w) if w.ndim == 2 else w)
    return y if bias is None else y + bias


def embedding(input: Ints | Expr, weight: Any, padding_idx: int | None = None) -> Expr:
    """The rows of `weight` that the integers `input`, static or traced, name, in the shape of `input`.

    The row `padding_idx` gets no gradient.

    >>> import gradsmith as gs
    >>> gs.embedding([[0, 2], [1, 1]], gs.symbol("W", (3, 4))).shape
    (2, 2, 4)
    """
    w = as_expr(weight)
    if w.ndim != 2:
        raise ShapeError(f"embedding: weight must have shape (rows, columns), not {format_shape(w.shape)}")
    traced = at_run_time("embedding", "input", input)
    if traced and padding_idx is None:
        rows_taken: Expr = gs.take(w, input, axis=0)
        return rows_taken
    (rows,) = static_shape(w.shape[:1], "embedding")
    places: Any = input if traced else indices("embedding", "input", input, rows)
    found: Expr = gs.take(w, places, axis=0)
    if padding_idx is None:
        return found
    padding = padding_idx + rows if padding_idx < 0 else padding_idx
    indices("embedding", "padding_idx", [padding], rows)
    still = places == padding
    if traced:
        return where(expand_dims(still, still.ndim), stop_gradient(found), found)
    return where(still[..., None], stop_gradient(found), found) if still.any() else found


def one_hot(input: Any, num_classes: int) -> Expr:
    """1 at the class that each integer of `input`, static or traced, names and 0 elsewhere, along a new last axis.

    The result is int64, as torch's, and all 0 for an integer that names no class.

    >>> import gradsmith as gs
    >>> gs.compile(gs.one_hot(gs.symbol("n", (2,), "int64"), 3))([2, 0])
    [[0, 0, 1], [1, 0, 0]]
    """
    x = as_expr(input)
    if x.dtype.kind != "int":
        raise DTypeError(f"one_hot: input must be integers, not {x.type}: convert them by gs.astype(x, gs.int64)")
    found: Expr = astype(equal(expand_dims(x, x.ndim), np.arange(num_classes)), INT64)
    return found


# --- norms ----------------------------------------------------------------------------------------------------------


def _standardised(x: Expr, axes: tuple[int, ...], eps: float) -> Expr:
    centred = x - mean(x, axes, keepdims=True)
    return centred / sqrt(mean(square(centred), axes, keepdims=True) + eps)


def _scaled(x: Expr, weight: Any, bias: Any, shape: Shape, layer: str, along: Shape | None = None) -> Expr:
    """`x*weight + bias`; both must have shape `shape`, and are broadcast as `along`."""
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        given = as_expr(value)
        if given.shape != shape:
            raise ShapeError(f"{layer}: {name} must have shape {format_shape(shape)}, not {format_shape(given.shape)}")
        placed = given if along is None else reshape(given, along)
        x = x * placed if name == "weight" else x + placed
    return x


def _last_axes(x: Expr, normalized_shape: int | Sequence[int], layer: str) -> tuple[Shape, tuple[int, ...]]:
    shape = normalize_shape(normalized_shape)
    if not shape or x.shape[x.ndim - len(shape) :] != shape or len(shape) > x.ndim:
        raise ShapeError(
            f"{layer}: normalized_shape {format_shape(shape)} must be the last axes of the input, which has shape "
            f"{format_shape(x.shape)}"
        )
    return shape, tuple(range(x.ndim - len(shape), x.ndim))


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Expr:
    """`(x - mean)/sqrt(variance + eps)*weight + bias` over the last axes, which are `normalized_shape`.

    >>> import gradsmith as gs
    >>> gs.layer_norm(gs.symbol("x", (5, 3)), (3,)).shape
    (5, 3)
    """
    x = as_expr(input)
    shape, axes = _last_axes(x, normalized_shape, "layer_norm")
    return _scaled(_standardised(x, axes, eps), weight, bias, shape, "layer_norm")


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Expr:
    """`x/sqrt(mean(x*x) + eps)*weight` over the last axes; `eps` is the machine epsilon of the dtype unless given."""
    x = as_expr(input)
    shape, axes = _last_axes(x, normalized_shape, "rms_norm")
    floor = float(np.finfo(x.dtype).eps) if eps is None else eps
    return _scaled(x / sqrt(mean(square(x), axes, keepdims=True) + floor), weight, None, shape, "rms_norm")


def _channels(x: Expr, layer: str) -> tuple[int, Shape]:
    """The number of channels (axis 1), and the shape that puts a value a channel beside `x`."""
    if x.ndim < 2:
        raise ShapeError(f"{layer}: input needs a batch and a channel axis, not shape {format_shape(x.shape)}")
    (channels,) = static_shape(x.shape[1:2], layer)
    return channels, (1, channels, *(1,) * (x.ndim - 2))


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    *,
    eps: float = 1e-5,
) -> Expr:
    """`(x - mean)/sqrt(variance + eps)*weight + bias` for each channel (axis 1).

    In evaluation with the running statistics; with `training=True` with those of the batch. A traced function changes
    nothing in place, so running statistics are not updated here: they are `gs.mean` and a variance over all axes but 1.

    >>> import gradsmith as gs
    >>> gs.batch_norm(gs.symbol("x", (8, 3)), None, None, training=True).shape
    (8, 3)
    """
    x = as_expr(input)
    channels, along = _channels(x, "batch_norm")
    shape: Shape = (channels,)
    if training:
        axes = (0, *range(2, x.ndim))
        count = math.prod(x.shape[a] for a in axes)
        if isinstance(count, int) and count < 2:
            raise ShapeError(
                f"batch_norm: training=True needs more than one value a channel, and shape {format_shape(x.shape)} has "
                f"{count}"
            )
        y = _standardised(x, axes, eps)
    else:
        if running_mean is None or running_var is None:
            raise ShapeError("batch_norm: evaluation needs running_mean and running_var; give them, or training=True")
        centre, spread = as_expr(running_mean), as_expr(running_var)
        for name, given in (("running_mean", centre), ("running_var", spread)):
            if given.shape != shape:
                raise ShapeError(
                    f"batch_norm: {name} must have shape {format_shape(shape)}, not {format_shape(given.shape)}"
                )
        y = (x - reshape(centre, along)) / reshape(sqrt(spread + eps), along)
    return _scaled(y, weight, bias, shape, "batch_norm", along)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Expr:
    """`layer_norm` over each group of channels (axis 1) and all axes behind, with a weight and a bias a channel."""
    x = as_expr(input)
    channels, along = _channels(x, "group_norm")
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(f"group_norm: {channels} channels cannot be divided into {num_groups} groups")
    grouped = reshape(x, (x.shape[0], num_groups, channels // num_groups, *x.shape[2:]))
    y = reshape(_standardised(grouped, tuple(range(2, grouped.ndim)), eps), x.shape)
    return _scaled(y, weight, bias, (channels,), "group_norm", along)


# --- attention ------------------------------------------------------------------------------------------------------


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Expr:
    """The cosine of the angle between vectors along `dim`: `x1·x2/(max(|x1|, eps)*max(|x2|, eps))`; shapes broadcast.

    At a zero vector the norm has slope 0, and the bound `eps` passes the gradient on, as in torch.
    """
    a, b = as_expr(x1), as_expr(x2)
    shape = broadcast_shapes(a.shape, b.shape)
    axis = normalize_axes(dim, len(shape), "cosine_similarity")
    units = []
    for x in (a, b):
        whole = x if x.shape == shape else broadcast_to(x, shape)
        total = sum(square(whole), axis, keepdims=True)
        units.append(whole / raised(where(equal(total, 0.0), 0.0, sqrt(total)), eps))
    return sum(units[0] * units[1], axis)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
) -> Expr:
    """`softmax(query @ key.T * scale + mask) @ value` over the last two axes; those in front broadcast.

    Parameters
    ----------
    query, key, value: shapes `(…, L, E)`, `(…, S, E)` and `(…, S, V)`; the result is `(…, L, V)`.
    attn_mask: booleans (True takes part) or numbers that are added to the scores; it broadcasts to `(…, L, S)`.
    is_causal: row i sees the columns up to i only.
    scale: `1/sqrt(E)` unless given.

    A row that sees nothing gives 0, with gradient 0, as torch.

    >>> import gradsmith as gs
    >>> q, k, v = gs.symbol("q", (5, 4)), gs.symbol("k", (7, 4)), gs.symbol("v", (7, 3))
    >>> gs.scaled_dot_product_attention(q, k, v, is_causal=True).shape
    (5, 3)
    """
    q, k, v = as_expr(query), as_expr(key), as_expr(value)
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"scaled_dot_product_attention: query {format_shape(q.shape)}, key {format_shape(k.shape)} and value "
            f"{format_shape(v.shape)} do not fit (…, L, E), (…, S, E) and (…, S, V)"
        )
    if is_causal and attn_mask is not None:
        raise ShapeError("scaled_dot_product_attention: give attn_mask or is_causal=True, not both")
    (width,) = static_shape(q.shape[-1:], "scaled_dot_product_attention") if scale is None else (1,)
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    scores = matmul(q, matrix_transpose(k)) * factor
    if is_causal:
        rows, columns = scores.shape[-2:]
        attn_mask = greater_equal(expand_dims(gs.arange(rows), 1), gs.arange(columns))
    if attn_mask is None:
        return matmul(softmax(scores), v)
    mask = as_expr(attn_mask)
    scores = where(mask, scores, -math.inf) if mask.type.dtype.kind == "bool" else scores + mask
    return matmul(softmax(scores) if is_causal else masked_softmax(scores, axis=(scores.ndim - 1,)), v)
