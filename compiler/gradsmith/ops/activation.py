"""Activations of neural networks: relu, sigmoid, softplus. (softmax and logsumexp reduce: see `reduction`.)"""

from __future__ import annotations

import numpy as np

from ..trace import Expr
from ._declare import Traced, cells, elementwise
from .arithmetic import absolute, square
from .elementary import exp, log1p, tanh
from .selection import maximum, where

__all__ = ["relu", "sigmoid", "softplus"]

_REAL = [(0.3,), (-1.2,), (4.0,), (-0.05,)]
_EDGES = [(0.0,), (-0.0,), (40.0,), (-40.0,), (np.inf,), (-np.inf,), (np.nan,)]

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
    expand=lambda x: 1.0 / (1.0 + exp(-x)),
    evaluate=lambda x: 1.0 / (1.0 + np.exp(-x)),
    mp=lambda mp, x: 1 / (1 + mp.exp(-x)),
    sympy=lambda sp, x: 1 / (1 + sp.exp(-x)),
    torch="sigmoid",
    samples=_REAL,
    edges=_EDGES,
)


def _sigmoid_slope(x: Expr) -> Expr:
    e = exp(-absolute(x))
    return e / square(1.0 + e)


sigmoid_slope: Traced = elementwise(
    "sigmoid_slope",
    1,
    tame=True,
    doc="`σ(x)*σ(-x)`, the slope of `sigmoid`.",
    symbol="σ'",
    slope="-tanh(x/2)*σ(x)*σ(-x)",
    vjp=lambda g, y, x: (-(g * (y * tanh(0.5 * x))),),  # 1 - 2*σ(x) cancels near 0
    expand=_sigmoid_slope,
    evaluate=lambda x: np.exp(-np.abs(x)) / np.square(1.0 + np.exp(-np.abs(x))),
    mp=lambda mp, x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2,
    sympy=lambda sp, x: sp.exp(-x) / (1 + sp.exp(-x)) ** 2,
    torch=lambda torch, x: torch.sigmoid(x) * torch.sigmoid(-x),
    samples=_REAL,
    edges=_EDGES,
)
softplus = elementwise(
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
