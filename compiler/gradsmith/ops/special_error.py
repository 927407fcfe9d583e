"""The error function's family: its complement and inverse, the scaled complement, and the normal distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..trace import Expr
from ._declare import Traced, elementwise
from ._portable import Support, call_cells, define, libm_cells
from ._vector import simd
from .elementary import exp
from .selection import floor, maximum, minimum, where

__all__ = [
    "erf", "erfc", "erfcinv", "erfcinvslope", "erfcx", "erfinv", "erfinvslope", "gaussian", "log_ndtr", "mills",
    "millsexcess", "ndtr", "ndtri", "npdf",
]  # fmt: skip

define('''
    def expsquare(a, c, s):
        """s*exp(c*a*a) for |c| = 1 or 1/2: the square of h, a to 6 bits, is exact, and so is what 2^k leaves of it"""
        h = floor(a * 64.0 + 0.5) / 64.0
        k = floor(c * h * h * LOG2_E + 0.5)
        whole = s * exp2(k)
        return whole + whole * expm1(c * h * h - k * LOG_2_A - k * LOG_2_B + c * (a - h) * (a + h))

    def gaussian(x):
        """exp(-x*x)"""
        a = abs(x)
        return expsquare(a, -1.0, 1.0) if a < 28.0 else 0.0 if a >= 28.0 else x

    def gauss(x):
        """exp(-x*x): a small square is off by little; a large one counts"""
        s = x * x
        return exp(-s) if s < 2.0 else gauss_far(x)

    def gauss_far(x):
        """exp(-x*x) by one exp: the square of h, the first digits of x, is exact; what is left is small"""
        a = x if abs(x) < 28.0 else 28.0 if abs(x) >= 28.0 else x
        h = (a + AT_SQUARE) - AT_SQUARE
        t = (h - a) * (a + h)
        whole = exp(-(h * h))
        return whole + whole * (t * poly(EXP_REST, t))

    def npdf(x):
        """exp(-x*x/2)/sqrt(2*pi), the density of the normal distribution"""
        a = abs(x)
        return expsquare(a, -0.5, PDF_AT_0) if a < 39.0 else 0.0 if a >= 39.0 else x

    def density(x):
        """exp(-x*x/2)/sqrt(2*pi), the density of the normal distribution, as in gauss"""
        s = 0.5 * (x * x)
        return PDF_AT_0 * exp(-s) if s < 2.0 else density_far(x)

    def density_far(x):
        """exp(-x*x/2)/sqrt(2*pi), as in gauss_far"""
        a = x if abs(x) < 39.0 else 39.0 if abs(x) >= 39.0 else x
        h = (a + AT_SQUARE) - AT_SQUARE
        t = 0.5 * (h - a) * (a + h)
        whole = PDF_AT_0 * exp(-0.5 * (h * h))
        return whole + whole * (t * poly(EXP_REST, t))

    def erfcx_right(a):
        """exp(a*a)*erfc(a) for a >= 0"""
        return poly(ERFCX_NEAR, a - 1.0) if a < 2.0 else poly(ERFCX_FAR, 4.0 / a - 1.0) / a

    def erfcx(x):
        """exp(x*x)*erfc(x)"""
        return erfcx_right(x) if x >= 0.0 else erfcx_left(x) if x > -26.65 else inf if x <= -26.65 else x

    def erfcx_left(x):
        """exp(x*x)*erfc(x) for x < 0"""
        e = expsquare(-x, 1.0, 1.0)
        return e + e * erf(-x) if e > 0.0 else inf

    def erfc_ratio(n, x):
        """The n-fold integral of erfc from x to infinity over the (n - 1)-fold, n >= 1"""
        return (erfc_ratio_left(n, x) if x <= -0.25
            else erfc_ratio_down(n, x, 3.0, erfc_ratio_3(x)) if n <= 3.0
            else erfc_ratio_down(n, x, n + 80.0, 1.0 / (x + sqrt(x * x + 2.0 * n + 160.0))) if x > 1.5
            else erfc_ratio_up(n, x, 3.0, erfc_ratio_3(x)))

    def erfc_ratio_3(x):
        """The third ratio, for x >= -1/4"""
        return poly(ERFC_RATIO_3_NEAR, (x - 0.875) / 1.125) if x < 2.0 else poly(ERFC_RATIO_3_FAR, 4.0 / x - 1.0) / x

    def erfc_ratio_left(n, x):
        """The ratio for x <= -1/4, from the first"""
        return erfc_ratio_up(n, x, 1.0, ONE_OVER_SQRT_PI / erfcx(x) - x)

    def erfc_ratio_down(n, x, k, ratio):
        """The ratio of order n from that of order k >= n (DLMF 7.18.7), which forgets errors for x > 0"""
        at = k
        for _ in range(k):
            ratio = 1.0 / (2.0 * x + 2.0 * at * ratio) if at > n else ratio
            at = at - 1.0
        return ratio

    def erfc_ratio_up(n, x, k, ratio):
        """The ratio of order n from that of order k <= n, which forgets errors for x < 0"""
        for _ in range(n):
            ratio = (1.0 / ratio - 2.0 * x) / (2.0 * k + 2.0) if k < n else ratio
            k = k + 1.0
        return ratio

    def ndtrx(a):
        """exp(a*a/2)*ndtr(-a) for a >= 0"""
        return poly(NDTRX_NEAR, a - 1.0) if a < 2.0 else poly(NDTRX_FAR, 4.0 / a - 1.0) / a

    def ndtr(x):
        """The normal distribution function"""
        return 0.5 + 0.5 * erf(x * SQRT_HALF) if x > -0.5 else ndtr_left(x) if x > -39.0 else 0.0 if x <= -39.0 else x

    def ndtr_left(x):
        """The normal distribution function for x <= 0"""
        return expsquare(-x, -0.5, ndtrx(-x))

    def log_ndtr(x):
        """The logarithm of the normal distribution function"""
        return log_ndtr_left(x) if x < 0.0 else log1p(-ndtr_left(-x)) if x < 39.0 else 0.0 if x >= 39.0 else x

    def log_ndtr_left(x):
        """The logarithm of the normal distribution function for x < 0"""
        return log(ndtrx(-x)) - 0.5 * x * x if x > -HUGE else x * inf

    def mills(x):
        """npdf(x)/ndtr(x), the slope of log_ndtr"""
        return npdf(x) / ndtr(x) if x >= 0.0 else PDF_AT_0 / ndtrx(-x) if x > -HUGE else -x

    def millsexcess(x):
        """x + npdf(x)/ndtr(x)"""
        return x + mills(x) if x > 0.0 else millsexcess_left(-x)

    def millsexcess_left(a):
        """-a + npdf(-a)/ndtr(-a) for a >= 0"""
        return poly(MILLSEXCESS_NEAR, a - 1.0) if a < 2.0 else poly(MILLSEXCESS_FAR, 4.0 / a - 1.0) / a

    def erfcinv_small(q, c):
        """sqrt(c) times the inverse of erfc for 0 < q <= 1/2: the root halves the errors of what is under it"""
        s = -log(q)
        t = sqrt(s)
        return sqrt(c * s * (erfcinv_near(t) if t < 4.0 else erfcinv_far(t)))

    def erfcinv_near(t):
        """(y/t)*(y/t) for erfc(y) = exp(-t*t), t < 4"""
        return poly(ERFCINV_0, (t - 1.40625) / 0.59375) if t < 2.0 else poly(ERFCINV_1, t - 3.0)

    def erfcinv_far(t):
        """(y/t)*(y/t) for erfc(y) = exp(-t*t), t >= 4"""
        return poly(ERFCINV_2, (t - 6.5) / 2.5) if t < 9.0 else poly(ERFCINV_3, (t - 18.5) / 9.5)

    def erfinv(x):
        """The inverse of erf"""
        a = abs(x)
        return x * poly(ERFINV, 8.0 * x * x - 1.0) if a <= 0.5 else copysign(erfinv_large(a), x)

    def erfinv_large(a):
        """The inverse of erf for a > 1/2"""
        return erfcinv_small(1.0 - a, 1.0) if a < 1.0 else inf if a == 1.0 else a * nan

    def erfcinv(q):
        """The inverse of erfc"""
        return erfinv(1.0 - q) if q >= 0.5 and q <= 1.5 else erfcinv_ends(q, 1.0)

    def erfcinv_ends(q, c):
        """sqrt(c) times the inverse of erfc for q < 1/2 or q > 3/2"""
        a = 2.0 - q if q > 1.0 else q
        y = erfcinv_small(a, c) if a > 0.0 else inf if a == 0.0 else a * nan
        return -y if q > 1.0 else y

    def erfinvslope(x):
        """sqrt(pi)/2*exp(y*y) for y = erfinv(x)"""
        a = abs(x)
        return (erfinvslope_near(x) if a <= 0.5 else erfinvslope_far(1.0 - a) if a < 1.0
            else inf if a == 1.0 else a * nan)

    def erfinvslope_near(x):
        """sqrt(pi)/2*exp(y*y) for y = erfinv(x), |x| <= 1/2"""
        y = erfinv(x)
        return HALF_SQRT_PI + HALF_SQRT_PI * expm1(y * y)

    def erfinvslope_far(q):
        """sqrt(pi)/2*exp(y*y) for y = erfcinv(q), 0 < q <= 1/2"""
        s = -log(q)
        t = sqrt(s)
        return sqrt((slopesquare_near(t) if t < 4.0 else slopesquare_far(t)) / s) / q

    def slopesquare_near(t):
        """The square of t*q times the slope at q = exp(-t*t), t < 4"""
        return poly(ERFCINVSLOPE_0, (t - 1.40625) / 0.59375) if t < 2.0 else poly(ERFCINVSLOPE_1, t - 3.0)

    def slopesquare_far(t):
        """The square of t*q times the slope at q = exp(-t*t), t >= 4"""
        return poly(ERFCINVSLOPE_2, (t - 6.5) / 2.5) if t < 9.0 else poly(ERFCINVSLOPE_3, (t - 18.5) / 9.5)

    def erfcinvslope(q):
        """-sqrt(pi)/2*exp(y*y) for y = erfcinv(q)"""
        a = 2.0 - q if q > 1.0 else q
        return (-erfinvslope_near(1.0 - q) if a >= 0.5 else -erfinvslope_far(a) if a > 0.0
            else -inf if a == 0.0 else a * nan)

    def ndtri(p):
        """The inverse of the normal distribution function"""
        return ndtri_near(p - 0.5) if p >= 0.25 and p <= 0.75 else -erfcinv_ends(2.0 * p, 2.0)

    def ndtri_near(x):
        """The inverse of ndtr at 1/2 + x, |x| <= 1/4"""
        return x * poly(NDTRI, 32.0 * x * x - 1.0)
''')

_REAL = [(0.3,), (-1.2,), (2.0,), (-0.05,)]
_EDGES = [(0.0,), (-0.0,), (1e-300,), (5e-324,), (1e-9,), (np.inf,), (-np.inf,), (np.nan,)]
_WIDE = [*_EDGES, (5.5,), (-5.5,), (26.5,), (-37.25,), (300.0,), (-300.0,)]


def _normal(mp: Any, x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _density(mp: Any, x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _torch_density(torch: Any, x: Any) -> Any:
    return torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _torch_mills(torch: Any, x: Any) -> Any:
    return math.sqrt(2 / math.pi) / torch.special.erfcx(-x / math.sqrt(2))


def _sympy_erfc_ratio(sp: Any, n: Any, x: Any) -> Any:
    """DLMF 7.18.2 over itself."""
    t = sp.Dummy("t", positive=True)
    kernel = sp.exp(-t * (t + 2 * x))
    return sp.Integral(t**n * kernel, (t, 0, sp.oo)) / sp.Integral(n * t ** (n - 1) * kernel, (t, 0, sp.oo))


def _exact_erfc_ratio(m: Any, scaled: Any, n: Any, x: Any) -> Any:
    """DLMF 7.18.7 with exp(x*x), from n = -1 and n = 0 upwards."""
    before, now = 2 / m.sqrt(m.pi), scaled
    for k in range(1, int(n) + 1):
        before, now = now, (before - 2 * x * now) / (2 * k)
    return now / before


def _mp_erfc_ratio(mp: Any, n: Any, x: Any) -> Any:
    return _exact_erfc_ratio(mp, mp.exp(x * x) * mp.erfc(x), n, x)


def _torch_erfc_ratio(torch: Any, n: Any, x: Any) -> Any:
    return _exact_erfc_ratio(math, torch.special.erfcx(x), n, x)


def _torch_erfcinv(torch: Any, q: Any) -> Any:
    return -torch.special.ndtri(0.5 * q) / math.sqrt(2)


def _by_one_exp(name: str, quick: str) -> dict[str, Any]:
    """`name` in half the time by `quick` where exp is that of a C library; NumPy's own, in float32, is off by more."""
    fields, other = call_cells(name), call_cells(quick)
    chosen = {"numpy": name, "python": quick, "c": quick, "c.float32": quick}
    return {
        **fields,
        "cells": {**other["cells"], "numpy": fields["cells"]["numpy"]},
        "support": {target: Support(name)[target] for target, name in chosen.items()},
    }


gaussian: Traced = elementwise(
    "gaussian",
    1,
    tame=True,
    doc="`exp(-x*x)`, without the error of the square in the exponent.",
    symbol="exp(−x²)",
    slope="-2*x*exp(-x^2)",
    vjp=lambda g, y, x: (g * (-2.0 * x * y),),
    **simd("gaussian", _by_one_exp("gaussian", "gauss")),
    mp=lambda mp, x: mp.exp(-x * x),
    sympy=lambda sp, x: sp.exp(-(x**2)),
    torch=lambda torch, x: torch.exp(-x * x),
    samples=_REAL,
    edges=_EDGES,
)
npdf: Traced = elementwise(
    "npdf",
    1,
    tame=True,
    doc="Density of the normal distribution, `exp(-x*x/2)/sqrt(2*pi)`; the slope of `ndtr`.",
    symbol="φ",
    slope="-x*npdf(x)",
    vjp=lambda g, y, x: (g * (-x * y),),
    **simd("npdf", _by_one_exp("npdf", "density")),
    mp=_density,
    sympy=lambda sp, x: sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi),
    torch=_torch_density,
    samples=_REAL,
    edges=_EDGES,
)
erf = elementwise(
    "erf",
    1,
    tame=True,
    doc="Error function.",
    symbol="erf",
    slope="2/sqrt(pi)*exp(-x^2)",
    vjp=lambda g, y, x: (g * ((2.0 / math.sqrt(math.pi)) * exp(-(x * x))),),  # where x*x rounds, the slope is tiny
    **simd("erf", libm_cells("erf"), libmvec=True),
    mp="erf",
    sympy="erf",
    torch="erf",
    samples=_REAL,
    edges=_EDGES,
)
erfc = elementwise(
    "erfc",
    1,
    tame=True,
    doc="Complementary error function `1 - erf(x)`, accurate also where it is tiny.",
    symbol="erfc",
    slope="-2/sqrt(pi)*exp(-x^2)",
    vjp=lambda g, y, x: (g * ((-2.0 / math.sqrt(math.pi)) * gaussian(x)),),
    **simd("erfc", libm_cells("erfc"), libmvec=True),
    mp="erfc",
    sympy="erfc",
    torch="erfc",
    samples=_REAL,
    edges=_WIDE,
)
erfcx: Traced = elementwise(
    "erfcx",
    1,
    doc="Scaled complementary error function `exp(x*x)*erfc(x)`.",
    symbol="erfcx",
    slope="2*x*erfcx(x) - 2/sqrt(pi), computed as -2*erfcx(x)*erfc_ratio(1, x)",
    vjp=lambda g, y, x: (g * (-2.0 * y * erfc_ratio(1.0, x)),),  # the difference loses x*x times the rounding error
    **call_cells("erfcx"),
    mp=lambda mp, x: mp.exp(x * x) * mp.erfc(x),
    sympy=lambda sp, x: sp.exp(x**2) * sp.erfc(x),
    torch=lambda torch, x: torch.special.erfcx(x),
    samples=_REAL,
    edges=[(0.0,), (-0.0,), (1e-300,), (26.5,), (1e9,), (-26.0,), (-30.0,), (np.nan,)],
)


def _erfc_ratio_slope(y: Expr, n: Expr, x: Expr) -> Expr:
    """The form of the two that cancels little on its side of 0, and so do its derivatives."""
    z = minimum(x, 0.0)  # where the other side is taken, nothing here is infinite
    first = (2.0 / math.sqrt(math.pi)) * gaussian(z) / erfc(z)  # 1/r(0)
    left = y * where(n > 1.0, 1.0 / erfc_ratio(maximum(n - 1.0, 1.0), z), first) - 1.0
    return where(x < 0.0, left, 2.0 * y * (n * y - (n + 1.0) * erfc_ratio(n + 1.0, x)))


erfc_ratio: Traced = elementwise(
    "erfc_ratio",
    2,
    doc="The n-fold integral of `erfc` from `x` to infinity over the (n - 1)-fold, n = 1, 2, ...: slopes of `erfcx`.",
    symbol="iⁿerfc/iⁿ⁻¹erfc",
    slope="none, and 2*erfc_ratio(n, x)*(n*erfc_ratio(n, x) - (n + 1)*erfc_ratio(n + 1, x))",
    operands="n x",
    vjp=lambda g, y, n, x: (None, g * _erfc_ratio_slope(y, floor(n), x)),  # floor: n has no slope
    **call_cells("erfc_ratio", 2),
    mp=lambda mp, n, x: _mp_erfc_ratio(mp, n, x),
    sympy=lambda sp, n, x: _sympy_erfc_ratio(sp, n, x),
    torch=lambda torch, n, x: _torch_erfc_ratio(torch, n, x),
    samples=[(1.0, 0.3), (2.0, -1.2), (3.0, 1.75), (2.0, -0.05)],
    edges=[(1.0, 0.0), (2.0, -0.0), (1.0, 1e-9), (1.0, np.nan), (3.0, -5.0)],
)
erfinv: Traced = elementwise(
    "erfinv",
    1,
    doc="Inverse of the error function; infinite at -1 and 1, NaN outside.",
    symbol="erf⁻¹",
    slope="sqrt(pi)/2*exp(erfinv(x)^2)",
    vjp=lambda g, y, x: (g * erfinvslope(x),),
    **call_cells("erfinv"),
    mp="erfinv",
    sympy="erfinv",
    torch="erfinv",
    samples=[(0.3,), (-0.7,), (0.95,), (-0.05,), (0.9999,)],
    edges=[(0.0,), (-0.0,), (1e-300,), (1e-9,), (0.5,), (1.0,), (-1.0,), (1.5,), (np.inf,), (np.nan,), (1 - 2**-53,)],
)
erfinvslope: Traced = elementwise(
    "erfinvslope",
    1,
    doc="`sqrt(pi)/2*exp(erfinv(x)**2)`, the slope of `erfinv`.",
    symbol="erf⁻¹'",
    slope="2*erfinv(x)*erfinvslope(x)^2",
    vjp=lambda g, y, x: (g * (2.0 * erfinv(x) * y * y),),
    **call_cells("erfinvslope"),
    mp=lambda mp, x: mp.sqrt(mp.pi) / 2 * mp.exp(mp.erfinv(x) ** 2),
    sympy=lambda sp, x: sp.sqrt(sp.pi) / 2 * sp.exp(sp.erfinv(x) ** 2),
    torch=lambda torch, x: 0.5 * math.sqrt(math.pi) * torch.exp(torch.erfinv(x) ** 2),
    samples=[(0.3,), (-0.7,), (0.95,), (-0.05,)],
    edges=[(0.0,), (-0.0,), (1e-9,), (1.0,), (-1.0,), (1.5,), (np.nan,)],
)
erfcinv: Traced = elementwise(
    "erfcinv",
    1,
    doc="Inverse of the complementary error function; infinite at 0 and 2, NaN outside.",
    symbol="erfc⁻¹",
    slope="-sqrt(pi)/2*exp(erfcinv(x)^2)",
    vjp=lambda g, y, x: (g * erfcinvslope(x),),
    **call_cells("erfcinv"),
    mp=lambda mp, q: mp.erfinv(1 - q),
    sympy=lambda sp, q: sp.erfinv(1 - q),  # SymPy cannot evaluate its own erfcinv
    torch=_torch_erfcinv,
    samples=[(0.3,), (1.7,), (0.95,), (1.05,), (0.001,)],
    edges=[(0.0,), (0.5,), (1.5,), (2.0,), (2.5,), (-0.5,), (1e-30,), (np.nan,)],
)
erfcinvslope: Traced = elementwise(
    "erfcinvslope",
    1,
    doc="`-sqrt(pi)/2*exp(erfcinv(x)**2)`, the slope of `erfcinv`.",
    symbol="erfc⁻¹'",
    slope="2*erfcinv(x)*erfcinvslope(x)^2",
    vjp=lambda g, y, x: (g * (2.0 * erfcinv(x) * y * y),),
    **call_cells("erfcinvslope"),
    mp=lambda mp, q: -mp.sqrt(mp.pi) / 2 * mp.exp(mp.erfinv(1 - q) ** 2),
    sympy=lambda sp, q: -sp.sqrt(sp.pi) / 2 * sp.exp(sp.erfinv(1 - q) ** 2),
    torch=lambda torch, q: -0.5 * math.sqrt(math.pi) * torch.exp(_torch_erfcinv(torch, q) ** 2),
    samples=[(0.3,), (1.7,), (0.95,), (1.05,)],
    edges=[(0.5,), (1.5,), (2.5,), (-0.5,), (np.nan,)],
)
ndtr = elementwise(
    "ndtr",
    1,
    tame=True,
    doc="Distribution function of the normal distribution, accurate also where it is tiny.",
    symbol="Φ",
    slope="exp(-x^2/2)/sqrt(2*pi)",
    vjp=lambda g, y, x: (g * npdf(x),),
    **simd("ndtr", call_cells("ndtr")),
    mp=_normal,
    sympy=lambda sp, x: sp.erfc(-x / sp.sqrt(2)) / 2,
    torch=lambda torch, x: torch.special.ndtr(x),
    samples=_REAL,
    edges=_WIDE,
)
ndtri = elementwise(
    "ndtri",
    1,
    doc="Inverse of `ndtr`, the quantile of the normal distribution; infinite at 0 and 1, NaN outside.",
    symbol="Φ⁻¹",
    slope="sqrt(2*pi)*exp(ndtri(x)^2/2)",
    vjp=lambda g, y, x: (g * (-2.0 * math.sqrt(2.0) * erfcinvslope(2.0 * x)),),
    **call_cells("ndtri"),
    mp=lambda mp, p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    sympy=lambda sp, p: sp.sqrt(2) * sp.erfinv(2 * p - 1),
    torch=lambda torch, p: torch.special.ndtri(p),
    samples=[(0.3,), (0.7,), (0.95,), (0.02,), (1e-6,)],
    edges=[(0.0,), (1.0,), (0.25,), (0.5,), (0.75,), (1.5,), (-0.5,), (1e-30,), (np.nan,), (1 - 2**-53,)],
)
log_ndtr = elementwise(
    "log_ndtr",
    1,
    doc="Logarithm of `ndtr`, finite also where `ndtr` underflows.",
    symbol="log Φ",
    slope="npdf(x)/ndtr(x)",
    vjp=lambda g, y, x: (g * mills(x),),
    **call_cells("log_ndtr"),
    mp=lambda mp, x: mp.log(_normal(mp, x)),
    sympy=lambda sp, x: sp.log(sp.erfc(-x / sp.sqrt(2)) / 2),
    torch=lambda torch, x: torch.special.log_ndtr(x),
    samples=_REAL,
    edges=[e for e in _WIDE if e != (-np.inf,)],
)


def _millsexcess_slope_left(x: Expr, excess: Expr) -> Expr:
    """`1 - mills(x)*excess` for x < 0 by ratios of the integrals of erfc, which cancel little in any derivative."""
    return excess * (math.sqrt(8.0) * erfc_ratio(2.0, -math.sqrt(0.5) * x) - excess)


mills: Traced = elementwise(
    "mills",
    1,
    doc="`npdf(x)/ndtr(x)`, the inverse of Mills' ratio at -x and the slope of `log_ndtr`.",
    symbol="φ/Φ",
    slope="-mills(x)*(x + mills(x)), the sum without cancellation",
    vjp=lambda g, y, x: (g * where(x < 0.0, _millsexcess_slope_left(x, millsexcess(x)) - 1.0, -y * millsexcess(x)),),
    **call_cells("mills"),
    mp=lambda mp, x: _density(mp, x) / _normal(mp, x),
    sympy=lambda sp, x: sp.sqrt(2 / sp.pi) * sp.exp(-(x**2) / 2) / sp.erfc(-x / sp.sqrt(2)),
    torch=_torch_mills,
    samples=[(0.3,), (-2.5,), (2.0,), (-0.05,)],
    edges=[e for e in _EDGES if e != (-np.inf,)],
)


millsexcess: Traced = elementwise(
    "millsexcess",
    1,
    doc="`x + npdf(x)/ndtr(x)`, without cancellation for x << 0.",
    symbol="x + φ/Φ",
    slope="1 - mills(x)*millsexcess(x), for x < 0 from the integrals of erfc",
    vjp=lambda g, y, x: (g * where(x < 0.0, _millsexcess_slope_left(x, y), 1.0 - mills(x) * y),),
    **call_cells("millsexcess"),
    mp=lambda mp, x: x + _density(mp, x) / _normal(mp, x),
    sympy=lambda sp, x: x + sp.sqrt(2 / sp.pi) * sp.exp(-(x**2) / 2) / sp.erfc(-x / sp.sqrt(2)),
    torch=lambda torch, x: x + _torch_mills(torch, x),
    samples=[(0.3,), (-0.7,), (2.0,), (-0.05,)],
    edges=[(0.0,), (-0.0,), (1e-9,), (np.nan,)],
)
