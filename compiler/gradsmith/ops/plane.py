"""Lengths and angles in the plane: hypot, atan2.

Both rules divide by the length itself and never by its square, so they hold from 1e-300 to 1e300; at the origin, where
there is no direction, the slopes are 0.
"""

from __future__ import annotations

import numpy as np

from ..trace import Expr
from ._declare import Traced, cells, elementwise
from ._vector import simd
from .arithmetic import absolute
from .elementary import sqrt
from .selection import equal, greater, logical_or, maximum, minimum, where

__all__ = ["atan2", "hypot"]

_PAIRS = [(0.7, 1.3), (-2.5, 0.4), (3.0, -1.5), (-0.3, -4.0)]


def _divisor(h: Expr) -> Expr:
    """A length to divide by: 1 at the origin, where what is divided is 0."""
    return where(equal(h, 0.0), 1.0, h)


def _hypot_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    return g * _hypot_slope(a, b), g * _hypot_slope(b, a)


def _hypot_expand(a: Expr, b: Expr) -> Expr:
    """The longer side times `sqrt(1 + ratio^2)`, good to 2 ULP."""
    a, b = absolute(a), absolute(b)
    long, short = maximum(a, b), minimum(a, b)
    ratio = where(greater(long, short), short / long, 1.0)
    return where(logical_or(equal(a, np.inf), equal(b, np.inf)), np.inf, long * sqrt(1.0 + ratio * ratio))


hypot: Traced = elementwise(
    "hypot",
    2,
    commutative=True,
    tame=True,
    doc="`sqrt(x*x + y*y)` without overflow or underflow on the way.",
    symbol="hypot",
    slope="x/hypot(x, y) and y/hypot(x, y)",
    vjp=_hypot_vjp,
    expand=_hypot_expand,
    **simd(
        "hypot",
        {"cells": cells("math.hypot({0}, {1})", "np.hypot({0}, {1})", "hypot({0}, {1})")},
        arity=2,
        libmvec=True,
    ),
    evaluate=np.hypot,
    mp="hypot",
    sympy=lambda sp, a, b: sp.sqrt(a**2 + b**2),
    torch="hypot",
    samples=_PAIRS,
    edges=[(3.0, 0.0), (0.0, -2.0), (0.0, 0.0), (1e200, -1e200), (1e-200, 1e-200), (1e-100, 1.0), (np.nan, 1.0)],
    edge_notes={"x = y = 0": "slope 0, where torch gives NaN"},
)


def _hypot_slope_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    sine = _hypot_slope(b, a)
    turn = g * (sine / _divisor(hypot(a, b)))  # 1 - (a/h)^2 would cancel where b is small
    return turn * sine, -(turn * y)


_hypot_slope: Traced = elementwise(
    "hypot_slope",
    2,
    doc="`x/hypot(x, y)`, the slope of `hypot`; 0 at the origin.",
    symbol="hypot'",
    slope="y^2/hypot(x, y)^3 and -x*y/hypot(x, y)^3",
    vjp=_hypot_slope_vjp,
    expand=lambda a, b: a / _divisor(hypot(a, b)),
    evaluate=lambda a, b: np.divide(a, np.where(np.hypot(a, b) == 0.0, 1.0, np.hypot(a, b))),
    mp=lambda mp, a, b: a / (mp.hypot(a, b) or 1),
    sympy=lambda sp, a, b: a / sp.sqrt(a**2 + b**2),
    torch=lambda torch, a, b: torch.where(torch.hypot(a, b) == 0.0, 0.0, a / torch.hypot(a, b)),
    samples=_PAIRS,
    edges=[(3.0, 0.0), (0.0, -2.0), (1e200, -1e200), (1e-100, 1e-100), (1.0, 1e-9)],
    edge_notes={"x = y = 0": "value and slope 0"},
)


def _atan2_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    r = g / _divisor(hypot(a, b))
    return r * _hypot_slope(b, a), -(r * _hypot_slope(a, b))


atan2 = elementwise(
    "atan2",
    2,
    doc="Angle of the point (x, y) = (second, first operand), in radians, in all four quadrants.",
    symbol="atan2",
    slope="x/(x^2+y^2) and -y/(x^2+y^2)",
    operands="y x",
    vjp=_atan2_vjp,
    **simd(
        "atan2",
        {"cells": cells("math.atan2({0}, {1})", "np.arctan2({0}, {1})", "atan2({0}, {1})")},
        arity=2,
        libmvec=True,
    ),
    evaluate=np.arctan2,
    mp="atan2",
    sympy="atan2",
    torch="atan2",
    samples=_PAIRS,
    edges=[
        (1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (-0.0, -1.0), (0.0, 2.0), (0.0, 0.0), (-0.0, -0.0), (0.0, -0.0),
        (1e200, 1e200), (1e-100, -1e-100), (1e-140, 3e-140), (np.nan, 1.0),
    ],
    edge_notes={"y = 0, x < 0": "pi, and -pi for y = -0", "x = y = 0": "slope 0, where torch gives NaN"},
)  # fmt: skip
