"""Activations of neural networks, as torch.nn.functional names and defines them.

A record stands where a composition would lose digits or meet `inf*0`; what a composition does right is one, with the
kinks where torch has them. (softmax and logsumexp are in `reduction`.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..trace import Expr, as_expr, op
from ..types import Type, format_shape, normalize_axes
from ._batch import lifted
from ._declare import Traced, cells, elementwise
from ._portable import horner
from ._vector import simd
from .arithmetic import absolute
from .elementary import exp, expm1, log, log1p, sech2, tanh
from .reduction import max as max_over
from .reduction import softmax, sum
from .selection import clip, equal, greater, greater_equal, less_equal, maximum, where
from .special_error import ndtr, npdf

__all__ = [
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "logsigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanhshrink",
]  # fmt: skip

_REAL = [(0.3,), (-1.2,), (4.0,), (-0.05,)]
_EDGES = [(0.0,), (-0.0,), (40.0,), (-40.0,), (np.inf,), (-np.inf,), (np.nan,)]

# Smooth activations are compared with torch where torch keeps its digits; test_network.py has the tails and infinities.
_MODERATE = [(0.3,), (-2.0,), (0.9,), (-0.05,)]
_SMOOTH_EDGES = [(0.0,), (-0.0,), (np.nan,)]

relu = elementwise(
    "relu",
    1,
    tame=True,
    doc="The value where it is positive, 0 elsewhere.",
    symbol="relu",
    slope="1 where x > 0, else 0",
    vjp=lambda g, y, x: (where(x <= 0.0, 0.0, g),),  # so that NaN keeps its slope, as in torch
    cells=cells("0.0 if {0} <= 0.0 else {0}", "np.maximum({0}, 0.0)", "{0} <= 0.0 ? 0.0 : {0}"),
    evaluate=lambda x: np.maximum(x, 0.0),
    mp=lambda mp, x: max(x, mp.mpf(0)),
    sympy=lambda sp, x: sp.Max(x, 0),
    torch="relu",
    samples=_REAL,
    edges=_EDGES,
    edge_notes={"x = 0": "slope 0, as torch"},
    cost=lambda y, *_: {"select": y.size},
)
sigmoid: Traced = elementwise(
    "sigmoid",
    1,
    tame=True,
    doc="Logistic function `1/(1 + exp(-x))`.",
    symbol="σ",
    slope="σ(x)*σ(-x)",
    vjp=lambda g, y, x: (g * sigmoid_slope(x),),  # y*(1 - y) loses every digit for large x
    # one exp for the value and the slope; exp(-x) would overflow where the result is a small number
    expand=lambda x: where(x >= 0.0, 1.0, exp(-absolute(x))) / (1.0 + exp(-absolute(x))),
    **simd("sigmoid"),  # a C compiler shares the exp in it
    evaluate=lambda x: np.where(x >= 0.0, 1.0, np.exp(-np.abs(x))) / (1.0 + np.exp(-np.abs(x))),
    mp=lambda mp, x: 1 / (1 + mp.exp(-x)),
    sympy=lambda sp, x: 1 / (1 + sp.exp(-x)),
    torch="sigmoid",
    samples=_REAL,
    edges=_EDGES,
)


def _sigmoid_slope(x: Expr) -> Expr:
    e = exp(-absolute(x))
    return e / (1.0 + e * (2.0 + e))  # the square of 1 + e would double its rounding error


sigmoid_slope: Traced = elementwise(
    "sigmoid_slope",
    1,
    tame=True,
    doc="`σ(x)*σ(-x)`, the slope of `sigmoid`.",
    symbol="σ'",
    slope="-tanh(x/2)*σ(x)*σ(-x)",
    vjp=lambda g, y, x: (-(g * (y * tanh(0.5 * x))),),  # 1 - 2*σ(x) cancels near 0
    expand=_sigmoid_slope,
    **simd("sigmoid_slope"),
    evaluate=lambda x: np.exp(-np.abs(x)) / (1.0 + np.exp(-np.abs(x)) * (2.0 + np.exp(-np.abs(x)))),
    mp=lambda mp, x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2,
    sympy=lambda sp, x: sp.exp(-x) / (1 + sp.exp(-x)) ** 2,
    torch=lambda torch, x: torch.sigmoid(x) * torch.sigmoid(-x),
    samples=_REAL,
    edges=_EDGES,
)
_softplus = elementwise(
    "softplus",
    1,
    tame=True,
    doc="`log(1 + exp(x))`, without overflow.",
    symbol="softplus",
    slope="σ(x)",
    vjp=lambda g, y, x: (g * sigmoid(x),),
    expand=lambda x: maximum(x, 0.0) + log1p(exp(-absolute(x))),
    cells={"numpy": "np.logaddexp(0.0, {0})"},
    evaluate=lambda x: np.logaddexp(0.0, x),
    mp=lambda mp, x: mp.log1p(mp.exp(x)),
    sympy=lambda sp, x: sp.log(1 + sp.exp(x)),
    # torch's softplus returns x beyond a threshold of 20, which is wrong by 2e-9 there; logaddexp is not
    torch=lambda torch, x: torch.logaddexp(x, torch.zeros_like(x)),
    samples=_REAL,
    edges=_EDGES,
    edge_notes={"x > 20": "exact, where torch.nn.functional.softplus returns x"},
)


def softplus(x: Any, beta: float = 1.0, threshold: float | None = None) -> Expr:
    """`log(1 + exp(beta*x))/beta`, without overflow and exact everywhere.

    torch returns `x` itself where `beta*x` exceeds a threshold of 20, which is wrong by up to 2e-9; `threshold=20`
    gives its result.

    >>> import gradsmith as gs
    >>> gs.compile(gs.softplus(gs.symbol("x")))(0.0) == gs.compile("log(2*x)")(1.0)
    True
    """
    x = as_expr(x)
    scaled = x if beta == 1.0 else beta * x
    exact = _softplus(scaled) if beta == 1.0 else _softplus(scaled) / beta
    return exact if threshold is None else where(greater(scaled, threshold), x, exact)


# --- smooth activations ---------------------------------------------------------------------------------------------

_FARTHEST = 40.0  # beyond it exp(-x*x/2) is 0, also in double precision
_SATURATED = 1000.0  # beyond it exp(-x) is 0


def _bounded(x: Expr) -> Expr:
    """`x` where it multiplies something that vanishes exponentially: inf*0 would be NaN."""
    return clip(x, -_SATURATED, _SATURATED)


_gelu = elementwise(
    "gelu",
    1,
    tame=True,
    doc="Gaussian error linear unit `x*Φ(x)`.",
    symbol="gelu",
    slope="Φ(x) + x*exp(-x^2/2)/sqrt(2*pi)",
    vjp=lambda g, y, x: (g * (ndtr(x) + _bounded(x) * npdf(x)),),
    expand=lambda x: maximum(x, -_FARTHEST) * ndtr(x),
    evaluate=lambda x: np.maximum(x, -_FARTHEST) * ndtr.op.evaluate(x),  # type: ignore[attr-defined]
    mp=lambda mp, x: x * mp.ncdf(x),
    sympy=lambda sp, x: x * sp.erfc(-x / sp.sqrt(2)) / 2,
    torch=lambda torch, x: torch.nn.functional.gelu(x),
    samples=_MODERATE,
    edges=_SMOOTH_EDGES,
    edge_notes={"x = -inf": "0, where torch gives NaN", "x << 0": "keeps its digits, where torch gives 0"},
)


def gelu(x: Any, approximate: str = "none") -> Expr:
    """Gaussian error linear unit: `x*Φ(x)`, or with `approximate="tanh"` the usual approximation by a tanh.

    Both keep their digits in the left tail, where torch's cancel, and are 0 with slope 0 at -inf.

    >>> import gradsmith as gs
    >>> gs.compile(gs.gelu(gs.symbol("x")))(-20.0) < 0.0
    True
    """
    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ShapeError(f'gelu: approximate={approximate!r} is neither "none" nor "tanh"')
    x = as_expr(x)
    a = clip(x, -100.0, 100.0)  # where it is saturated twice over
    twice = math.sqrt(8.0 / math.pi) * (a + 0.044715 * (a * a * a))
    return where(greater(x, 100.0), x, a * sigmoid(twice))  # (1 + tanh(u))/2 = σ(2u)


def _silu_expand(x: Expr) -> Expr:
    e = exp(-absolute(x))
    return where(greater_equal(x, 0.0), x, maximum(x, -_SATURATED) * e) / (1.0 + e)


silu = elementwise(
    "silu",
    1,
    tame=True,
    doc="Sigmoid linear unit `x*sigmoid(x)`, also called swish.",
    symbol="silu",
    slope="σ(x)*(1 + x*σ(-x))",
    vjp=lambda g, y, x: (g * (sigmoid(x) * (1.0 + _bounded(x) * sigmoid(-x))),),
    expand=_silu_expand,
    evaluate=lambda x: (
        np.where(x < 0.0, np.maximum(x, -_SATURATED) * np.exp(-np.abs(x)), x) / (1.0 + np.exp(-np.abs(x)))
    ),
    mp=lambda mp, x: x / (1 + mp.exp(-x)),
    sympy=lambda sp, x: x / (1 + sp.exp(-x)),
    torch=lambda torch, x: torch.nn.functional.silu(x),
    samples=_MODERATE,
    edges=_SMOOTH_EDGES,
    edge_notes={"x = -inf": "0, where torch gives NaN"},
)
mish = elementwise(
    "mish",
    1,
    tame=True,
    doc="`x*tanh(softplus(x))`.",
    symbol="mish",
    slope="tanh(softplus(x)) + x*sech(softplus(x))^2*σ(x)",
    vjp=lambda g, y, x: (g * (tanh(_softplus(x)) + _bounded(x) * (sech2(_softplus(x)) * sigmoid(x))),),
    expand=lambda x: maximum(x, -_SATURATED) * tanh(_softplus(x)),
    evaluate=lambda x: np.maximum(x, -_SATURATED) * np.tanh(np.logaddexp(0.0, x)),
    mp=lambda mp, x: x * mp.tanh(mp.log1p(mp.exp(x))),
    sympy=lambda sp, x: x * sp.tanh(sp.log(1 + sp.exp(x))),
    torch=lambda torch, x: torch.nn.functional.mish(x),
    samples=_MODERATE,
    edges=_SMOOTH_EDGES,
    edge_notes={"x = -inf": "0, where torch gives NaN"},
)


def _softsign_slope(x: Expr) -> Expr:
    r = 1.0 / (1.0 + absolute(x))
    return r * r


softsign = elementwise(
    "softsign",
    1,
    tame=True,
    doc="`x/(1 + |x|)`.",
    symbol="softsign",
    slope="1/(1 + |x|)^2",
    vjp=lambda g, y, x: (g * _softsign_slope(x),),  # the quotient rule would cancel for large |x|
    expand=lambda x: clip(x, -1e30, 1e30) / (1.0 + absolute(clip(x, -1e30, 1e30))),  # inf/inf would be NaN
    evaluate=lambda x: np.clip(x, -1e30, 1e30) / (1.0 + np.abs(np.clip(x, -1e30, 1e30))),
    mp=lambda mp, x: x / (1 + abs(x)),
    sympy=lambda sp, x: x / (1 + sp.Abs(x)),
    torch=lambda torch, x: torch.nn.functional.softsign(x),
    samples=_MODERATE,
    edges=_SMOOTH_EDGES,
    edge_notes={"x = inf, -inf": "1, -1, where torch gives NaN"},
)


def _tanhshrink_small(x: Any) -> Any:
    """`x - tanh(x)` for |x| < 1.5, where the difference cancels: x^3/3 with its exact 3 added last."""
    t = x * x
    return x * t / (3.0 + t * horner("TANHSHRINK", t))


tanhshrink = elementwise(
    "tanhshrink",
    1,
    tame=True,
    doc="`x - tanh(x)`, with all its digits near 0.",
    symbol="tanhshrink",
    slope="tanh(x)^2",
    vjp=lambda g, y, x: (g * (tanh(x) * tanh(x)),),
    expand=lambda x: where(absolute(x) < 1.5, _tanhshrink_small(x), x - tanh(x)),
    evaluate=lambda x: np.where(np.abs(x) < 1.5, _tanhshrink_small(x), x - np.tanh(x)),
    mp=lambda mp, x: x - mp.tanh(x),
    sympy=lambda sp, x: x - sp.tanh(x),
    torch=lambda torch, x: torch.nn.functional.tanhshrink(x),
    samples=[(0.3,), (-0.8,), (1.5,)],
    edges=[*_SMOOTH_EDGES, (np.inf,), (-np.inf,)],
    edge_notes={"|x| << 1": "x^3/3, where torch's difference cancels"},
)


def logsigmoid(x: Any) -> Expr:
    """`log(sigmoid(x))`, exact at both ends."""
    return -_softplus(-as_expr(x))


# --- piecewise activations: the slope at each kink is torch's --------------------------------------------------------


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Expr:
    """`x` where it is positive, `negative_slope*x` elsewhere."""
    x = as_expr(x)
    return where(greater(x, 0.0), x, x * negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Expr:
    """Exponential linear unit: `x` where it is positive, `alpha*(exp(x) - 1)` elsewhere."""
    x = as_expr(x)
    return where(greater(x, 0.0), x, alpha * expm1(x))


def celu(x: Any, alpha: float = 1.0) -> Expr:
    """`x` where it is positive, `alpha*(exp(x/alpha) - 1)` elsewhere: smooth at 0 for every `alpha` but 0."""
    if alpha == 0:
        raise ShapeError("celu: alpha cannot be 0, which x is divided by")
    x = as_expr(x)
    return where(greater(x, 0.0), x, alpha * expm1(x / alpha))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(x: Any) -> Expr:
    """Self-normalising `elu` (Klambauer et al., 2017): `scale*x` or `scale*alpha*(exp(x) - 1)`, by the sign of `x`."""
    x = as_expr(x)
    return where(greater(x, 0.0), _SELU_SCALE * x, (_SELU_SCALE * _SELU_ALPHA) * expm1(x))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Expr:
    """`x` kept within [`min_val`, `max_val`]; unlike `clip`, with slope 0 at both bounds, as torch."""
    if not min_val <= max_val:
        raise ShapeError(f"hardtanh: min_val={min_val!r} exceeds max_val={max_val!r}")
    x = as_expr(x)
    return where(less_equal(x, min_val), min_val, where(greater_equal(x, max_val), max_val, x))


def relu6(x: Any) -> Expr:
    """`x` kept within [0, 6], with slope 0 at both bounds."""
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: Any) -> Expr:
    """`(x + 3)/6` kept within [0, 1], with slope 0 at both bounds. (torch's slope 1/6 is right to single precision.)"""
    x = as_expr(x)
    return where(less_equal(x, -3.0), 0.0, where(greater_equal(x, 3.0), 1.0, (x + 3.0) / 6.0))


def hardswish(x: Any) -> Expr:
    """`x*hardsigmoid(x)`: 0 below -3, `x` above 3; 0 also at -inf, where torch gives NaN."""
    x = as_expr(x)
    return where(less_equal(x, -3.0), 0.0, where(greater_equal(x, 3.0), x, x * (x + 3.0) / 6.0))


# --- along an axis --------------------------------------------------------------------------------------------------

_MATRIX = np.array([[0.3, -1.2, 2.0], [0.9, 0.4, -0.7]])


def _softmax_type(x: Type, axis: tuple[int, ...]) -> Type:
    if any(x.shape[i] == 0 for i in axis):
        raise ShapeError(f"shape {format_shape(x.shape)} is empty along axis {axis}, and an empty set has no result")
    return x


def _shifted(x: Expr, axis: tuple[int, ...]) -> Expr:
    largest = max_over(x, axis, keepdims=True)
    return x - where(equal(absolute(largest), math.inf), 0.0, largest)


def _log_softmax_expand(x: Expr, axis: tuple[int, ...]) -> Expr:
    shifted = _shifted(x, axis)
    return shifted - log(sum(exp(shifted), axis, keepdims=True))


def _log_softmax_numpy(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))  # type: ignore[no-any-return]


_log_softmax: Traced = op(
    "log_softmax",
    arity=1,
    kind="composite",
    infer=_softmax_type,
    evaluate=_log_softmax_numpy,
    vjp=lambda g, y, x, axis: (g - softmax(x, axis) * sum(g, axis, keepdims=True),),
    batch=lifted,
    expand=_log_softmax_expand,
    torch=lambda torch, x, axis: x - torch.logsumexp(x, dim=axis, keepdim=True),
    symbol="log_softmax",
    slope="g - softmax(x)*sum(g)",
    cost=lambda y, x, axis: {"exp": x.size, "sub": 2 * x.size, "add": x.size, "select": x.size, "log": x.size},
    samples=[(_MATRIX, {"axis": (1,)}), (_MATRIX, {"axis": (0, 1)})],
    doc="`log(softmax(x))` along axes, without overflow or underflow.",
)


def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Expr:
    """`log(softmax(x))` along `axis`, exact where `softmax` underflows; entries of -inf stay -inf.

    Where all entries are -inf the result is NaN, as torch's: no entry has a probability.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", (2,))
    >>> [float(y) for y in gs.compile(gs.log_softmax(x), target="numpy")([0.0, 1e30])]
    [-1e+30, 0.0]
    """
    x = as_expr(x)
    return _log_softmax(x, axis=normalize_axes(axis, x.ndim, "log_softmax"))


def _masked_softmax_expand(x: Expr, axis: tuple[int, ...]) -> Expr:
    e = exp(_shifted(x, axis))
    total = sum(e, axis, keepdims=True)
    return e / where(equal(total, 0.0), 1.0, total)


def _masked_softmax_numpy(x: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    m = np.max(x, axis=axis, keepdims=True)
    e = np.exp(x - np.where(np.isinf(m), 0.0, m))
    total = np.sum(e, axis=axis, keepdims=True)
    return e / np.where(total == 0.0, 1.0, total)  # type: ignore[no-any-return]


masked_softmax: Traced = op(
    "masked_softmax",
    arity=1,
    kind="composite",
    infer=_softmax_type,
    evaluate=_masked_softmax_numpy,
    vjp=lambda g, y, x, axis: (y * (g - sum(g * y, axis, keepdims=True)),),
    batch=lifted,
    expand=_masked_softmax_expand,
    torch=lambda torch, x, axis: torch.exp(x - torch.logsumexp(x, dim=axis, keepdim=True)),
    symbol="softmax",
    slope="y*(g - sum(g*y))",
    cost=lambda y, x, axis: {"exp": x.size, "sub": x.size, "add": x.size, "select": x.size, "div": x.size},
    samples=[(_MATRIX, {"axis": (1,)})],
    doc="`softmax`, and 0 where all entries along the axes are -inf.",
)
