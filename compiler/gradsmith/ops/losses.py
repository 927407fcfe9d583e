"""Losses, as torch.nn.functional names and defines them; each takes `reduction="mean"`, `"sum"` or `"none"`.

`input` is what the model says and `target` what is true; gradients flow to both. Shapes broadcast.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dims import Dim, Extent
from ..errors import ShapeError
from ..trace import Expr, as_expr
from ..types import Shape, format_shape, static_shape
from ._declare import elementwise
from .activation import log_softmax, softplus
from .arithmetic import absolute, square
from .elementary import exp, log, log1p
from .indexing import getitem
from .layout import expand_dims, reshape
from .manipulation import take, take_along_axis
from .network import Ints, at_run_time, indices, raised
from .reduction import mean, sum
from .selection import equal, less, logical_and, maximum, not_equal, where

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "gaussian_nll", "gaussian_nll_loss",
    "huber_loss", "kl_div", "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip

_REDUCTIONS: dict[str, Callable[[Expr], Expr]] = {"none": lambda x: x, "mean": mean, "sum": sum}


def _reduced(loss: Expr, reduction: str, op: str) -> Expr:
    return _reduction(reduction, op)(loss)


def _reduction(reduction: str, op: str, **others: Callable[[Expr], Expr]) -> Callable[[Expr], Expr]:
    known = _REDUCTIONS | others
    if reduction not in known:
        raise ShapeError(f"{op}: reduction={reduction!r} is not one of {', '.join(map(repr, known))}")
    return known[reduction]


# --- distances ------------------------------------------------------------------------------------------------------


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Expr:
    """Squared error `(input - target)**2`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.mse_loss(gs.symbol("x", (2,)), [1.0, 2.0]))([1.0, 5.0])
    4.5
    """
    return _reduced(square(as_expr(input) - target), reduction, "mse_loss")


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Expr:
    """Absolute error `|input - target|`; slope 0 where they are equal."""
    return _reduced(absolute(as_expr(input) - target), reduction, "l1_loss")


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Expr:
    """`d*d/2` for an error below `delta`, `delta*(|d| - delta/2)` beyond."""
    if not delta > 0:
        raise ShapeError(f"huber_loss: delta={delta!r} must be positive")
    d = as_expr(input) - target
    size = absolute(d)
    return _reduced(where(less(size, delta), 0.5 * square(d), delta * (size - 0.5 * delta)), reduction, "huber_loss")


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Expr:
    """`d*d/(2*beta)` for an error below `beta`, `|d| - beta/2` beyond; `beta=0` is `l1_loss`."""
    if not beta >= 0:
        raise ShapeError(f"smooth_l1_loss: beta={beta!r} must not be negative")
    if beta == 0:
        return _reduced(absolute(as_expr(input) - target), reduction, "smooth_l1_loss")
    d = as_expr(input) - target
    size = absolute(d)
    return _reduced(where(less(size, beta), 0.5 * square(d) / beta, size - 0.5 * beta), reduction, "smooth_l1_loss")


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Expr:
    """Negative log-likelihood of a normal distribution: `(log(var) + (input - target)**2/var)/2`.

    `var` is raised to `eps` at least, and gets its gradient as if it had been that large. It has the input's shape, a
    last axis of size 1 or no last axis. `full` adds the constant `log(2*pi)/2`.
    """
    x, t, v = as_expr(input), as_expr(target), as_expr(var)
    if v.ndim and v.shape != x.shape and v.shape == x.shape[:-1]:
        v = expand_dims(v, -1)
    spread = raised(v, eps)
    loss = 0.5 * (log(spread) + square(x - t) / spread)
    return _reduced(loss + 0.5 * math.log(2.0 * math.pi) if full else loss, reduction, "gaussian_nll_loss")


gaussian_nll = gaussian_nll_loss

# --- probabilities of two classes -----------------------------------------------------------------------------------

_LOWEST = -100.0  # torch's bound of log(0) in binary_cross_entropy


def _both_logs(x: Expr) -> tuple[Expr, Expr]:
    return maximum(log(x), _LOWEST), maximum(log1p(-x), _LOWEST)


def _bce_expand(x: Expr, t: Expr) -> Expr:
    yes, no = _both_logs(x)
    return -(t * yes + (1.0 - t) * no)


def _bce_vjp(g: Expr, y: Expr, x: Expr, t: Expr) -> tuple[Expr, Expr]:
    yes, no = _both_logs(x)
    # t/x - (1 - t)/(1 - x) would cancel near x = t; the bound is torch's
    return g * ((x - t) / maximum(x * (1.0 - x), 1e-12)), g * (no - yes)


def _bce_numpy(x: Any, t: Any) -> Any:
    with np.errstate(all="ignore"):
        return -(t * np.maximum(np.log(x), _LOWEST) + (1.0 - t) * np.maximum(np.log1p(-x), _LOWEST))


_binary_cross_entropy = elementwise(
    "binary_cross_entropy",
    2,
    doc="`-(t*log(x) + (1 - t)*log(1 - x))`, with logarithms of -100 at least.",
    symbol="bce",
    slope="(x - t)/(x*(1 - x)) and log(1 - x) - log(x)",
    domain="0 <= x <= 1",
    operands="x t",
    vjp=_bce_vjp,
    expand=_bce_expand,
    evaluate=_bce_numpy,
    mp=lambda mp, x, t: (
        -(
            t * (max(mp.log(x), _LOWEST) if x else _LOWEST)
            + (1 - t) * (max(mp.log1p(-x), _LOWEST) if x < 1 else _LOWEST)
        )
    ),
    sympy=lambda sp, x, t: -(t * sp.log(x) + (1 - t) * sp.log(1 - x)),
    # torch's binary_cross_entropy adds 1e-12 to the denominator of its second derivative
    torch=lambda torch, x, t: -(t * torch.log(x).clamp(min=_LOWEST) + (1.0 - t) * torch.log1p(-x).clamp(min=_LOWEST)),
    samples=[(0.3, 0.8), (0.9, 0.1), (0.5, 0.5)],
    edge_notes={"x = 0, x = 1": "at most 100, as torch"},
)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Expr:
    """`-(target*log(input) + (1 - target)*log(1 - input))` of probabilities, with logarithms of -100 at least.

    `weight` multiplies the loss of each element.
    """
    loss = _binary_cross_entropy(input, target)
    return _reduced(loss if weight is None else loss * weight, reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Expr:
    """`binary_cross_entropy(sigmoid(input), target)`, exact for large logits of either sign.

    `weight` multiplies the loss of each element, `pos_weight` the part of the positive class.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.binary_cross_entropy_with_logits(gs.symbol("x"), 0.0))
    >>> f(-800.0), f(800.0)
    (0.0, 800.0)
    """
    x, t = as_expr(input), as_expr(target)
    positive = t * softplus(-x)
    loss = (positive if pos_weight is None else pos_weight * positive) + (1.0 - t) * softplus(x)
    return _reduced(loss if weight is None else loss * weight, reduction, "binary_cross_entropy_with_logits")


# --- probabilities of many classes ----------------------------------------------------------------------------------


def _weighted(p: Expr, x: Expr) -> Expr:
    """`p*x`, and 0 for an infinite `x` of weight 0."""
    return where(logical_and(equal(p, 0.0), equal(absolute(x), math.inf)), 0.0, p * x)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Expr:
    """Kullback-Leibler divergence `target*(log(target) - input)`; `input` holds logarithms of probabilities.

    With `log_target`, `target` does too. `reduction` may also be `"batchmean"`: the sum over the size of axis 0. A
    target of 0 adds nothing, whatever its input.
    """
    x, t = as_expr(input), as_expr(target)
    if log_target:
        loss = exp(t) * (t - x)
    else:
        loss = where(equal(t, 0.0), 0.0, t * log(t)) - _weighted(t, x)
    reduce = _reduction(reduction, "kl_div", batchmean=lambda y: sum(y) / as_float((y.shape or (1,))[0]))
    return reduce(loss)


def as_float(count: Extent) -> float | Expr:
    """A count as a number to divide by."""
    return as_expr(count) if isinstance(count, Dim) else float(count)


def _class_axis(x: Expr) -> int:
    return 1 if x.ndim > 1 else 0


def _places(x: Expr, target: Any, ignore_index: int, op: str) -> tuple[np.ndarray, np.ndarray]:
    """The class of each sample, and which samples count."""
    if not x.ndim:
        raise ShapeError(f"{op}: input needs an axis of classes, and a scalar has none")
    axis = _class_axis(x)
    shape = static_shape(x.shape, op)
    classes = indices(op, "target", target, shape[axis], ignore_index)
    _fitting(classes.shape, x, op)
    counted = classes != ignore_index
    if not counted.any():
        raise ShapeError(f"{op}: every target is ignore_index={ignore_index}, or there is none: nothing is left")
    return classes, counted


def _fitting(classes: Shape, x: Expr, op: str) -> None:
    axis = _class_axis(x)
    expected = (*x.shape[:axis], *x.shape[axis + 1 :])
    if classes != expected:
        raise ShapeError(
            f"{op}: target must have shape {format_shape(expected)}, one class for each sample of input "
            f"{format_shape(x.shape)}, not {format_shape(classes)}"
        )


def _class_weights(weight: Any, x: Expr, op: str) -> Expr:
    w = as_expr(weight)
    classes = x.shape[_class_axis(x)]
    if w.shape != (classes,):
        raise ShapeError(f"{op}: weight must have shape {format_shape((classes,))}, not {format_shape(w.shape)}")
    return w


def _along_classes(w: Expr, x: Expr) -> Expr:
    axis = _class_axis(x)
    return reshape(w, (*(1,) * axis, x.shape[axis], *(1,) * (x.ndim - axis - 1)))


def nll_loss(
    input: Any, target: Ints | Expr, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Expr:
    """Negative log-likelihood: less the log-probability of the true class, `-input[n, target[n]]`.

    Parameters
    ----------
    input: log-probabilities of shape `(classes,)` or `(n, classes, …)`.
    target: integers of shape `()` or `(n, …)`, static or traced. Static ones are checked; traced ones beyond the
        classes are an error in Python and NumPy code, and undefined in C.
    weight: a factor for each class; the mean is over the sum of the factors used.
    ignore_index: targets of this value count neither in the loss nor in the mean.
    """
    x = as_expr(input)
    if at_run_time("nll_loss", "target", target):
        return _nll_at_run_time(x, as_expr(target), weight, ignore_index, reduction, 0.0, "nll_loss")
    return _nll(x, *_places(x, target, ignore_index, "nll_loss"), weight, reduction, "nll_loss")


def _nll_at_run_time(
    logp: Expr, target: Expr, weight: Any, ignore_index: int, reduction: str, label_smoothing: float, op: str
) -> Expr:
    """The loss for traced classes: each sample counts where its class is not `ignore_index`."""
    _reduction(reduction, op)
    axis = _class_axis(logp)
    _fitting(target.shape, logp, op)
    counted = not_equal(target, ignore_index)
    classes = where(counted, target, 0)
    picked = reshape(take_along_axis(logp, expand_dims(classes, axis), axis=axis), target.shape)
    factors: Any = 1.0 if weight is None else take(_class_weights(weight, logp, op), classes)
    losses = -picked * factors
    if label_smoothing:
        spread = sum(logp if weight is None else logp * _along_classes(as_expr(weight), logp), axis)
        losses = (1.0 - label_smoothing) * losses - spread * (label_smoothing / as_float(logp.shape[axis]))
    losses = where(counted, losses, 0.0)
    if reduction != "mean":
        return losses if reduction == "none" else sum(losses)
    return sum(losses) / sum(where(counted, factors, 0.0))


def _nll(x: Expr, classes: np.ndarray, counted: np.ndarray, weight: Any, reduction: str, op: str) -> Expr:
    _reduction(reduction, op)
    axis = _class_axis(x)
    if reduction == "none":
        places: list[Any] = list(np.indices(classes.shape))
        safe = np.where(counted, classes, 0)
    else:
        places = list(np.nonzero(counted)) if classes.ndim else []
        safe = classes[counted] if classes.ndim else classes
    places.insert(axis, safe)
    losses = -getitem(x, tuple(p if p.ndim else int(p) for p in places))
    total: Any = float(safe.size)
    if weight is not None:
        factors = getitem(_class_weights(weight, x, op), safe if safe.ndim else int(safe))
        losses, total = losses * factors, sum(factors)
    if reduction == "none":
        return losses if counted.all() else where(counted, losses, 0.0)
    return sum(losses) if reduction == "sum" else sum(losses) / total


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Expr:
    """The cross entropy of `softmax(input)` and the true classes, exact and finite for huge logits.

    Parameters
    ----------
    input: logits of shape `(classes,)` or `(n, classes, …)`; -inf rules a class out.
    target: integers, as in `nll_loss`, or the probabilities of the classes in the shape of `input`.
    weight, ignore_index, reduction: as in `nll_loss`; with probabilities the mean is over the samples.
    label_smoothing: the part of the target that is spread evenly over the classes, in [0, 1].

    >>> import gradsmith as gs
    >>> loss = gs.cross_entropy(gs.symbol("x", (2, 3)), [0, 2])
    >>> float(gs.compile(loss, target="numpy")([[1e30, -1e30, 0.0], [0.0, -float("inf"), 800.0]]))
    0.0
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ShapeError(f"cross_entropy: label_smoothing={label_smoothing!r} must be in [0, 1]")
    x = as_expr(input)
    if not x.ndim:
        raise ShapeError("cross_entropy: input needs an axis of classes, and a scalar has none")
    axis = _class_axis(x)
    logp = log_softmax(x, axis)
    if isinstance(target, Expr) and target.dtype.kind == "int" and target.op.name != "constant":
        return _nll_at_run_time(logp, target, weight, ignore_index, reduction, label_smoothing, "cross_entropy")
    if as_expr(target).dtype.kind != "int":
        return _cross_entropy_of_probabilities(logp, as_expr(target), weight, reduction, label_smoothing)
    classes, counted = _places(x, target, ignore_index, "cross_entropy")
    hard = _nll(logp, classes, counted, weight, reduction, "cross_entropy")
    if label_smoothing == 0.0:
        return hard
    spread = -sum(logp if weight is None else logp * _along_classes(as_expr(weight), x), axis)
    soft = spread if counted.all() else where(counted, spread, 0.0)
    if reduction != "none":
        soft = sum(soft)
    if reduction == "mean":
        safe = classes[counted] if classes.ndim else int(classes)
        soft = soft / (float(counted.sum()) if weight is None else sum(getitem(as_expr(weight), safe)))
    return (1.0 - label_smoothing) * hard + soft * (label_smoothing / as_float(x.shape[axis]))


def _cross_entropy_of_probabilities(logp: Expr, p: Expr, weight: Any, reduction: str, label_smoothing: float) -> Expr:
    if p.shape != logp.shape:
        raise ShapeError(
            f"cross_entropy: probabilities must have the shape of input, {format_shape(logp.shape)}, not "
            f"{format_shape(p.shape)}; classes are ints"
        )
    axis = _class_axis(logp)
    classes = logp.shape[axis]
    if label_smoothing:
        p = p * (1.0 - label_smoothing) + label_smoothing / as_float(classes)
    if weight is not None:
        p = p * _along_classes(_class_weights(weight, logp, "cross_entropy"), logp)
    losses = -sum(_weighted(p, logp), axis)
    samples = math.prod(d for k, d in enumerate(logp.shape) if k != axis)
    samples = samples if isinstance(samples, Dim) else builtins.max(1, samples)
    return _reduction(reduction, "cross_entropy", mean=lambda y: sum(y) / as_float(samples))(losses)
