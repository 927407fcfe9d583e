"""Inverse hyperbolic functions: acosh, asinh, atanh, and the slopes that cancel when they are composed."""

from __future__ import annotations

import numpy as np

from ..trace import Expr
from ._declare import Traced, elementwise, function, guarded
from ._vector import simd
from .arithmetic import absolute
from .elementary import sqrt
from .plane import hypot
from .selection import where

__all__ = ["acosh", "asinh", "atanh"]

_EDGES = [(0.0,), (-0.0,), (1e-100,), (1e-9,), (1.0,), (-1.0,), (np.inf,), (-np.inf,), (np.nan,)]
_ABOVE_ONE = [(1.3,), (2.5,), (20.0,), (1.001,)]
_UNIT = [(0.3,), (-0.7,), (0.95,), (-0.05,)]
_ATANH_POLE = "math.copysign(math.inf, x) if abs(x) == 1.0 else math.nan"

asinh = elementwise(
    "asinh",
    1,
    tame=True,
    doc="Inverse hyperbolic sine.",
    symbol="asinh",
    slope="1/sqrt(1 + x^2)",
    vjp=lambda g, y, x: (g / hypot(x, 1.0),),  # x*x would overflow beyond 1e154
    **simd("asinh", {"cells": function("asinh", "arcsinh")}, libmvec=True),
    evaluate=np.arcsinh,
    mp="asinh",
    sympy="asinh",
    torch="asinh",
    samples=[(0.3,), (-1.2,), (2.0,), (-0.05,)],
    edges=[*_EDGES, (1e200,), (-1e300,)],
)
acosh = elementwise(
    "acosh",
    1,
    doc="Inverse hyperbolic cosine; NaN below 1.",
    symbol="acosh",
    slope="1/sqrt((x - 1)*(x + 1))",
    vjp=lambda g, y, x: (g * _acosh_slope(x),),
    **simd("acosh", guarded("acosh", numpy="arccosh"), libmvec=True),
    evaluate=np.arccosh,
    mp="acosh",
    sympy="acosh",
    torch="acosh",
    samples=_ABOVE_ONE,
    edges=[*_EDGES, (1e200,)],
    edge_notes={"x = 1": "slope inf", "x < 1": "NaN, and its slope too"},
)


_FAR = 2.0**28  # from here on sqrt(x*x - 1) is x


def _acosh_slope_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (-(g * (x * y * (y * y))),)  # the expansion's own rule gives NaN at 1


_acosh_slope: Traced = elementwise(
    "acosh_slope",
    1,
    doc="`1/sqrt(x*x - 1)`, the slope of `acosh`.",
    symbol="acosh'",
    slope="-x*acosh_slope(x)^3",
    vjp=_acosh_slope_vjp,
    # x*x - 1 cancels near 1 and overflows beyond 1e154; |x| + 1 keeps NaN below -1
    expand=lambda x: 1.0 / where(x < _FAR, sqrt((x - 1.0) * (absolute(x) + 1.0)), x),
    evaluate=lambda x: np.reciprocal(np.where(x < _FAR, np.sqrt((x - 1.0) * (np.abs(x) + 1.0)), x)),
    mp=lambda mp, x: 1 / (mp.sqrt(x - 1) * mp.sqrt(x + 1)),
    sympy=lambda sp, x: 1 / sp.sqrt(x**2 - 1),
    torch=lambda torch, x: (x * x - 1.0).rsqrt(),
    samples=[(1.3,), (2.5,), (20.0,), (1.25,)],
    edges=[(1.0,), (0.5,), (np.inf,)],
)
atanh = elementwise(
    "atanh",
    1,
    doc="Inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond.",
    symbol="atanh",
    slope="1/((1 - x)*(1 + x))",
    vjp=lambda g, y, x: (g * _atanh_slope(x),),
    **simd("atanh", guarded("atanh", domain=_ATANH_POLE, numpy="arctanh"), libmvec=True),
    evaluate=np.arctanh,
    mp="atanh",
    sympy="atanh",
    torch="atanh",
    samples=_UNIT,
    edges=[*_EDGES, (1.5,)],
    edge_notes={"|x| > 1": "NaN; the slope is that of the formula, as torch"},
)
_atanh_slope: Traced = elementwise(
    "atanh_slope",
    1,
    doc="`1/(1 - x*x)`, the slope of `atanh`.",
    symbol="atanh'",
    slope="2*x*atanh_slope(x)^2",
    vjp=lambda g, y, x: (g * (2.0 * x * y * y),),  # the expansion's own slope cancels near 0
    expand=lambda x: 1.0 / (1.0 - x) / (1.0 + x),  # 1 - x*x cancels near 1, and overflows where the result does not
    evaluate=lambda x: np.reciprocal(1.0 - x) / (1.0 + x),
    mp=lambda mp, x: 1 / ((1 - x) * (1 + x)),
    sympy=lambda sp, x: 1 / (1 - x**2),
    torch=lambda torch, x: (1.0 - x * x).reciprocal(),
    samples=_UNIT,
    edges=[(0.0,), (1e-9,), (1.0,), (-1.0,), (1.5,)],
)
