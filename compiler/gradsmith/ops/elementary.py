"""Elementary functions: exponentials, logarithms, roots, trigonometric and hyperbolic functions."""

from __future__ import annotations

import numpy as np

from ..trace import Expr
from ._declare import Traced, elementwise, function, guarded
from ._portable import Support, define
from ._vector import simd

__all__ = [
    "acos", "arcslope", "asin", "atan", "cos", "cosh", "exp", "expm1", "log", "log1p", "sech2", "sin", "sinh",
    "sqrt", "tan", "tanh",
]  # fmt: skip

_REAL = [(0.3,), (-1.2,), (2.0,), (-0.05,)]
_POSITIVE = [(0.3,), (1.2,), (5.0,), (1e-3,)]
_UNIT = [(0.3,), (-0.7,), (0.95,), (-0.05,)]
_EDGES = [(0.0,), (-0.0,), (1e-300,), (1e-9,), (np.inf,), (-np.inf,), (np.nan,)]
_WIDE = [*_EDGES, (20.0,), (-40.0,), (300.0,), (-300.0,), (800.0,), (-800.0,)]

define('''
    def sech2(x):
        """1/cosh(x)^2, the slope of tanh"""
        e = exp(-2.0 * abs(x))
        return 4.0 * e / ((1.0 + e) * (1.0 + e))
''')

_POLE = "-math.inf if x == {pole} else math.nan"

exp: Traced = elementwise(
    "exp",
    1,
    doc="Exponential function.",
    symbol="exp",
    slope="exp(x)",
    vjp=lambda g, y, x: (g * y,),
    **simd("exp", guarded("exp", "math.inf", "none"), libmvec=True),
    evaluate=np.exp,
    mp="exp",
    sympy="exp",
    torch="exp",
    samples=_REAL,
    edges=_WIDE,
)
expm1 = elementwise(
    "expm1",
    1,
    doc="`exp(x) - 1`, exact near 0.",
    symbol="expm1",
    slope="exp(x)",
    vjp=lambda g, y, x: (g * exp(x),),  # y + 1 loses every digit for x << 0
    **simd("expm1", guarded("expm1", "math.inf", "none"), libmvec=True),
    evaluate=np.expm1,
    mp="expm1",
    sympy=lambda sp, x: sp.exp(x) - 1,
    torch="expm1",
    samples=_REAL,
    edges=_WIDE,
)
log = elementwise(
    "log",
    1,
    doc="Natural logarithm; -inf at 0, NaN below.",
    symbol="log",
    slope="1/x",
    vjp=lambda g, y, x: (g / x,),
    **simd("log", guarded("log", domain=_POLE.format(pole="0.0")), libmvec=True),
    evaluate=np.log,
    mp="log",
    sympy="log",
    torch="log",
    samples=_POSITIVE,
    edges=[*_EDGES, (1.0,), (-1.0,)],
    edge_notes={"x = 0": "-inf, slope inf", "x < 0": "NaN; the slope is that of the formula, as torch"},
)
log1p = elementwise(
    "log1p",
    1,
    doc="`log(1 + x)`, exact near 0.",
    symbol="log1p",
    slope="1/(1 + x)",
    vjp=lambda g, y, x: (g / (1.0 + x),),
    **simd("log1p", guarded("log1p", domain=_POLE.format(pole="-1.0")), libmvec=True),
    evaluate=np.log1p,
    mp="log1p",
    sympy=lambda sp, x: sp.log(1 + x),
    torch="log1p",
    samples=_POSITIVE,
    edges=[*_EDGES, (-1.0,), (-2.0,)],
    edge_notes={"x = -1": "-inf, slope inf", "x < -1": "NaN; the slope is that of the formula, as torch"},
)
sqrt: Traced = elementwise(
    "sqrt",
    1,
    doc="Square root; NaN below 0.",
    symbol="sqrt",
    slope="1/(2*sqrt(x))",
    vjp=lambda g, y, x: (0.5 * g / y,),
    **guarded("sqrt"),
    evaluate=np.sqrt,
    mp="sqrt",
    sympy="sqrt",
    torch="sqrt",
    samples=_POSITIVE,
    edges=[*_EDGES, (1.0,), (-1.0,)],
    edge_notes={"x = 0": "slope inf", "x < 0": "NaN, and its slope too"},
)
sin: Traced = elementwise(
    "sin",
    1,
    doc="Sine of an angle in radians.",
    symbol="sin",
    slope="cos(x)",
    vjp=lambda g, y, x: (g * cos(x),),
    **simd("sin", guarded("sin"), libmvec=True, near=True),
    evaluate=np.sin,
    mp="sin",
    sympy="sin",
    torch="sin",
    samples=_REAL,
    edges=_EDGES,
)
cos: Traced = elementwise(
    "cos",
    1,
    doc="Cosine of an angle in radians.",
    symbol="cos",
    slope="-sin(x)",
    vjp=lambda g, y, x: (-(g * sin(x)),),
    **simd("cos", guarded("cos"), libmvec=True, near=True),
    evaluate=np.cos,
    mp="cos",
    sympy="cos",
    torch="cos",
    samples=_REAL,
    edges=_EDGES,
)
tan = elementwise(
    "tan",
    1,
    doc="Tangent of an angle in radians.",
    symbol="tan",
    slope="1 + tan(x)^2",
    vjp=lambda g, y, x: (g * (1.0 + y * y),),
    **simd("tan", guarded("tan"), libmvec=True, near=True),
    evaluate=np.tan,
    mp="tan",
    sympy="tan",
    torch="tan",
    samples=_REAL,
    edges=_EDGES,
)
asin = elementwise(
    "asin",
    1,
    doc="Inverse sine, in radians; NaN outside [-1, 1].",
    symbol="asin",
    slope="1/sqrt((1 - x)*(1 + x))",
    vjp=lambda g, y, x: (g * arcslope(x),),
    **simd("asin", guarded("asin", numpy="arcsin"), libmvec=True),
    evaluate=np.arcsin,
    mp="asin",
    sympy="asin",
    torch="asin",
    samples=_UNIT,
    edges=[*_EDGES, (1.0,), (-1.0,), (1.5,)],
    edge_notes={"|x| = 1": "slope inf", "|x| > 1": "NaN, and its slope too"},
)
acos = elementwise(
    "acos",
    1,
    doc="Inverse cosine, in radians; NaN outside [-1, 1].",
    symbol="acos",
    slope="-1/sqrt((1 - x)*(1 + x))",
    vjp=lambda g, y, x: (-(g * arcslope(x)),),
    **simd("acos", guarded("acos", numpy="arccos"), libmvec=True),
    evaluate=np.arccos,
    mp="acos",
    sympy="acos",
    torch="acos",
    samples=_UNIT,
    edges=[*_EDGES, (1.0,), (-1.0,), (1.5,)],
    edge_notes={"|x| = 1": "slope -inf", "|x| > 1": "NaN, and its slope too"},
)
arcslope: Traced = elementwise(
    "arcslope",
    1,
    doc="`1/sqrt(1 - x*x)`, the slope of `asin`.",
    symbol="asin'",
    slope="x*arcslope(x)^3",
    vjp=lambda g, y, x: (g * (x * y * (y * y)),),  # the expansion's own slope cancels near 0
    expand=lambda x: 1.0 / sqrt((1.0 - x) * (1.0 + x)),  # 1 - x*x cancels near 1
    evaluate=lambda x: np.reciprocal(np.sqrt((1.0 - x) * (1.0 + x))),
    mp=lambda mp, x: 1 / mp.sqrt((1 - x) * (1 + x)),
    sympy=lambda sp, x: 1 / sp.sqrt(1 - x**2),
    torch=lambda torch, x: ((1.0 - x) * (1.0 + x)).rsqrt(),
    samples=_UNIT,
    edges=[(0.0,), (1.0,), (-1.0,), (1.5,)],
)
atan = elementwise(
    "atan",
    1,
    tame=True,
    doc="Inverse tangent, in radians.",
    symbol="atan",
    slope="1/(1 + x^2)",
    vjp=lambda g, y, x: (g / (1.0 + x * x),),
    **simd("atan", {"cells": function("atan", "arctan")}, libmvec=True),
    evaluate=np.arctan,
    mp="atan",
    sympy="atan",
    torch="atan",
    samples=_REAL,
    edges=[*_EDGES, (1e200,)],
)
sinh: Traced = elementwise(
    "sinh",
    1,
    doc="Hyperbolic sine.",
    symbol="sinh",
    slope="cosh(x)",
    vjp=lambda g, y, x: (g * cosh(x),),
    **simd("sinh", guarded("sinh", "math.copysign(math.inf, x)", "none"), libmvec=True),
    evaluate=np.sinh,
    mp="sinh",
    sympy="sinh",
    torch="sinh",
    samples=_REAL,
    edges=_WIDE,
)
cosh: Traced = elementwise(
    "cosh",
    1,
    doc="Hyperbolic cosine.",
    symbol="cosh",
    slope="sinh(x)",
    vjp=lambda g, y, x: (g * sinh(x),),
    **simd("cosh", guarded("cosh", "math.inf", "none"), libmvec=True),
    evaluate=np.cosh,
    mp="cosh",
    sympy="cosh",
    torch="cosh",
    samples=_REAL,
    edges=_WIDE,
)


def _squared(x: Expr) -> Expr:
    return x * x


tanh: Traced = elementwise(
    "tanh",
    1,
    tame=True,
    doc="Hyperbolic tangent.",
    symbol="tanh",
    slope="1 - tanh(x)^2, computed as 1/cosh(x)^2",
    vjp=lambda g, y, x: (g * sech2(x),),  # 1 - y*y loses every digit for large |x|
    **simd("tanh", {"cells": function("tanh")}, libmvec=True),
    evaluate=np.tanh,
    mp="tanh",
    sympy="tanh",
    torch="tanh",
    samples=_REAL,
    edges=_EDGES,
    edge_notes={"|x| > 373": "the slope underflows to 0"},
)
sech2: Traced = elementwise(
    "sech2",
    1,
    doc="Square of the hyperbolic secant, the slope of `tanh`.",
    symbol="sech²",
    slope="-2*tanh(x)*sech(x)^2",
    vjp=lambda g, y, x: (g * (-2.0 * y * tanh(x)),),
    expand=lambda x: _squared(1.0 / cosh(x)),
    **simd("sech2", {"cells": {"c": "gs_sech2({0})"}, "support": {k: Support("sech2")[k] for k in ("c", "c.float32")}}),
    evaluate=lambda x: np.square(np.reciprocal(np.cosh(x))),
    mp=lambda mp, x: mp.sech(x) ** 2,
    sympy=lambda sp, x: 1 - sp.tanh(x) ** 2,
    torch=lambda torch, x: torch.cosh(x).reciprocal().square(),
    samples=_REAL,
    edges=[(0.0,), (20.0,), (-20.0,)],
)
