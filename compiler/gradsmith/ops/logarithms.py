"""Powers and logarithms to other bases than e, and the sum of what two logarithms stand for."""

from __future__ import annotations

import math

import numpy as np

from ..trace import Expr
from ._declare import Traced, elementwise, guarded
from ._vector import simd
from .activation import sigmoid
from .arithmetic import absolute
from .elementary import exp, log1p
from .floating import isinf
from .selection import equal, logical_and, maximum, where

__all__ = ["exp2", "log2", "log10", "logaddexp"]

_POSITIVE = [(0.3,), (1.2,), (5.0,), (1e-3,)]
_EDGES = [(0.0,), (-0.0,), (1e-300,), (1.0,), (1e300,), (-1.0,), (np.inf,), (-np.inf,), (np.nan,)]
_POLE = "-math.inf if x == 0.0 else math.nan"

exp2: Traced = elementwise(
    "exp2",
    1,
    doc="2 to the power `x`.",
    symbol="exp2",
    slope="2^x*log(2)",
    vjp=lambda g, y, x: (g * (y * math.log(2.0)),),
    **simd("exp2", guarded("exp2", "math.inf", "none"), libmvec=True),
    evaluate=np.exp2,
    mp=lambda mp, x: mp.mpf(2) ** x,
    sympy=lambda sp, x: 2**x,
    torch="exp2",
    samples=[(0.3,), (-1.2,), (2.0,), (-0.05,)],
    edges=[*_EDGES, (2000.0,), (-2000.0,)],
)
log2 = elementwise(
    "log2",
    1,
    doc="Logarithm to base 2; -inf at 0, NaN below.",
    symbol="log2",
    slope="1/(x*log(2))",
    vjp=lambda g, y, x: (g / math.log(2.0) / x,),
    **simd("log2", guarded("log2", domain=_POLE), libmvec=True),
    evaluate=np.log2,
    mp=lambda mp, x: mp.log(x, 2),
    sympy=lambda sp, x: sp.log(x, 2),
    torch="log2",
    samples=_POSITIVE,
    edges=_EDGES,
)
log10 = elementwise(
    "log10",
    1,
    doc="Logarithm to base 10; -inf at 0, NaN below.",
    symbol="log10",
    slope="1/(x*log(10))",
    vjp=lambda g, y, x: (g / math.log(10.0) / x,),
    **simd("log10", guarded("log10", domain=_POLE), libmvec=True),
    evaluate=np.log10,
    mp="log10",
    sympy=lambda sp, x: sp.log(x, 10),
    torch="log10",
    samples=_POSITIVE,
    edges=_EDGES,
)


def _difference(a: Expr, b: Expr) -> Expr:
    """`a - b`, and 0 for two infinities of one sign, which weigh the same."""
    return where(logical_and(equal(a, b), isinf(a)), 0.0, a - b)


def _logaddexp_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    d = _difference(a, b)
    return g * sigmoid(d), g * sigmoid(-d)


logaddexp = elementwise(
    "logaddexp",
    2,
    commutative=True,
    tame=True,
    doc="`log(exp(x) + exp(y))`, without overflow.",
    symbol="logaddexp",
    slope="σ(x - y) and σ(y - x)",
    vjp=_logaddexp_vjp,
    expand=lambda a, b: maximum(a, b) + log1p(exp(-absolute(_difference(a, b)))),
    cells={"numpy": "np.logaddexp({0}, {1})"},
    evaluate=np.logaddexp,
    mp=lambda mp, a, b: mp.log(mp.exp(a) + mp.exp(b)),
    sympy=lambda sp, a, b: sp.log(sp.exp(a) + sp.exp(b)),
    torch="logaddexp",
    samples=[(0.7, 1.3), (-2.5, 0.4), (3.0, -1.5), (-0.3, -4.0)],
    edges=[
        (1.0, 1.0), (800.0, 790.0), (-800.0, -800.0), (1e300, -1e300), (np.inf, 1.0), (np.inf, np.inf),
        (-np.inf, 1.0), (-np.inf, -np.inf), (np.nan, 1.0),
    ],
    edge_notes={"both inf or both -inf": "each gets half of the gradient, where torch gives NaN"},
)  # fmt: skip
