"""The error function's family: its complement and inverse, the scaled complement, and the normal distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..trace import Expr
from ._declare import Traced, elementwise
from ._portable import call_cells, define, libm_cells
from .elementary import exp
from .selection import floor, where

__all__ = [
    "erf", "erfc", "erfcinv", "erfcinvslope", "erfcx", "erfinv", "erfinvslope", "gaussian", "log_ndtr", "mills",
    "millsexcess", "ndtr", "ndtri", "npdf",
]  # fmt: skip

define('''
    def expsquare(a, c):
        """exp(c*a*a) for c = 1 or 1/2 and their opposites: a is split so that the square of its first part is exact."""
        h = floor(a * 16.0 + 0.5) / 16.0
        return exp(c * h * h) * exp(c * (a - h) * (a + h))

    def gaussian(x):
        """exp(-x*x)"""
        a = abs(x)
        return expsquare(a, -1.0) if a < 28.0 else 0.0 if a >= 28.0 else x

    def npdf(x):
        """exp(-x*x/2)/sqrt(2*pi), the density of the normal distribution"""
        a = abs(x)
        return PDF_AT_0 * expsquare(a, -0.5) if a < 39.0 else 0.0 if a >= 39.0 else x

    def erfcx_right(a):
        """exp(a*a)*erfc(a) for a >= 0, in the form of Shepherd and Laframboise (1981)"""
        return poly(ERFCX, (a - 2.0) / (a + 2.0)) / (1.0 + 2.0 * a) if a < HUGE else ONE_OVER_SQRT_PI / a

    def erfcx(x):
        """exp(x*x)*erfc(x)"""
        return erfcx_right(x) if x >= 0.0 else erfcx_left(x) if x > -26.65 else inf if x <= -26.65 else x

    def erfcx_left(x):
        """exp(x*x)*erfc(x) for x < 0"""
        return 2.0 * expsquare(-x, 1.0) - erfcx_right(-x)

    def erfc_ratio(a):
        """The integral of erfc from a to infinity, over erfc(a), for a >= 0"""
        return poly(ERFC_RATIO, (a - 2.0) / (a + 2.0)) / (1.0 + 2.0 * a) if a < HUGE else 0.5 / a

    def ierfcx(n, x):
        """exp(x*x) times the n-fold integral of erfc from x to infinity, n >= 1"""
        return ierfcx_right(n, x) if x > 1.5 else ierfcx_left(n, x)

    def ierfcx_left(n, x):
        """exp(x*x) times the n-fold integral of erfc, by DLMF 7.18.7 upwards, which is stable for x < 0"""
        k = 0.0
        before = TWO_OVER_SQRT_PI
        now = erfcx(x)
        for _ in range(n):
            k = k + 1.0
            after = (before - 2.0 * x * now) / (2.0 * k) if k <= n else now
            before = now
            now = after
        return now

    def ierfcx_right(n, x):
        """exp(x*x) times the n-fold integral of erfc for x > 3/2, by the continued fraction DLMF 7.18.13"""
        k = 80.0
        ratio = 1.0 / (x + sqrt(x * x + 2.0 * k + 2.0))
        product = erfcx_right(x)
        for _ in range(80):
            ratio = 1.0 / (2.0 * x + 2.0 * (k + 1.0) * ratio)
            product = product * ratio if k <= n else product
            k = k - 1.0
        return product

    def ndtr(x):
        """The normal distribution function"""
        return 0.5 * erfc(-x * SQRT_HALF) if x > -1.0 else ndtr_left(x) if x > -39.0 else 0.0 if x <= -39.0 else x

    def ndtr_left(x):
        """The normal distribution function for x <= -1"""
        return 0.5 * erfcx_right(-x * SQRT_HALF) * expsquare(-x, -0.5)

    def log_ndtr(x):
        """The logarithm of the normal distribution function"""
        return (log1p(-ndtr(-x)) if x >= 0.0 else log(ndtr(x)) if x > -1.0
            else log_ndtr_left(x) if x > -HUGE else x * inf)

    def log_ndtr_left(x):
        """The logarithm of the normal distribution function for x <= -1"""
        return log(0.5 * erfcx_right(-x * SQRT_HALF)) - 0.5 * x * x

    def mills(x):
        """npdf(x)/ndtr(x), the slope of log_ndtr"""
        return npdf(x) / ndtr(x) if x >= 0.0 else SQRT_TWO_OVER_PI / erfcx_right(-x * SQRT_HALF) if x > -HUGE else -x

    def millsexcess(x):
        """x + npdf(x)/ndtr(x)"""
        return x + mills(x) if x > -1.0 else SQRT_2 * erfc_ratio(-x * SQRT_HALF)

    def erfcinv_small(q):
        """The inverse of erfc for 0 < q <= 1/2, by polynomials in t = sqrt(-log(q))"""
        t = sqrt(-log(q))
        return t * (erfcinv_near(t) if t < 4.0 else erfcinv_far(t))

    def erfcinv_near(t):
        """The inverse of erfc(y) = exp(-t*t), over t, for t < 4"""
        return poly(ERFCINV_0, (t - 1.40625) / 0.59375) if t < 2.0 else poly(ERFCINV_1, t - 3.0)

    def erfcinv_far(t):
        """The inverse of erfc(y) = exp(-t*t), over t, for t >= 4"""
        return poly(ERFCINV_2, (t - 6.5) / 2.5) if t < 9.0 else poly(ERFCINV_3, (t - 18.5) / 9.5)

    def erfinv(x):
        """The inverse of erf"""
        a = abs(x)
        return x * poly(ERFINV, 8.0 * x * x - 1.0) if a <= 0.5 else copysign(erfinv_large(a), x)

    def erfinv_large(a):
        """The inverse of erf for a > 1/2"""
        return erfcinv_small(1.0 - a) if a < 1.0 else inf if a == 1.0 else a * nan

    def erfcinv(q):
        """The inverse of erfc"""
        return erfinv(1.0 - q) if q >= 0.5 and q <= 1.5 else erfcinv_ends(q)

    def erfcinv_ends(q):
        """The inverse of erfc for q < 1/2 or q > 3/2"""
        a = 2.0 - q if q > 1.0 else q
        y = erfcinv_small(a) if a > 0.0 else inf if a == 0.0 else a * nan
        return -y if q > 1.0 else y

    def erfinvslope(x):
        """sqrt(pi)/2*exp(y*y) for y = erfinv(x); erfcx(y)/erfc(y) has no square to lose digits in"""
        a = abs(x)
        return HALF_SQRT_PI * erfcx_right(abs(erfinv(x))) / (1.0 - a) if a < 1.0 else inf if a == 1.0 else a * nan

    def erfcinvslope(q):
        """-sqrt(pi)/2*exp(y*y) for y = erfcinv(q)"""
        a = 2.0 - q if q > 1.0 else q
        return -HALF_SQRT_PI * erfcx_right(abs(erfcinv(q))) / a if a > 0.0 else -inf if a == 0.0 else a * nan

    def ndtri(p):
        """The inverse of the normal distribution function"""
        return SQRT_2 * erfinv(2.0 * p - 1.0) if p >= 0.25 and p <= 0.75 else -SQRT_2 * erfcinv(2.0 * p)
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


def _sympy_ierfcx(sp: Any, n: Any, x: Any) -> Any:
    """DLMF 7.18.2 with exp(x*x)."""
    t = sp.Dummy("t", positive=True)
    integrand = t**n / sp.factorial(n) * sp.exp(-t * (t + 2 * x))
    return 2 / sp.sqrt(sp.pi) * sp.Integral(integrand, (t, 0, sp.oo))


def _mp_ierfcx(mp: Any, n: Any, x: Any) -> Any:
    """DLMF 7.18.7 with exp(x*x), from n = -1 and n = 0 upwards."""
    before, now = 2 / mp.sqrt(mp.pi), mp.exp(x * x) * mp.erfc(x)
    for k in range(1, int(n) + 1):
        before, now = now, (before - 2 * x * now) / (2 * k)
    return now


def _torch_ierfcx(torch: Any, n: Any, x: Any) -> Any:
    before, now = 2 / math.sqrt(math.pi), torch.special.erfcx(x)
    for k in range(1, int(n) + 1):
        before, now = now, (before - 2 * x * now) / (2 * k)
    return now


def _torch_erfcinv(torch: Any, q: Any) -> Any:
    return -torch.special.ndtri(0.5 * q) / math.sqrt(2)


gaussian: Traced = elementwise(
    "gaussian",
    1,
    tame=True,
    doc="`exp(-x*x)`, without the error of the square in the exponent.",
    symbol="exp(−x²)",
    slope="-2*x*exp(-x^2)",
    vjp=lambda g, y, x: (g * (-2.0 * x * y),),
    **call_cells("gaussian"),
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
    **call_cells("npdf"),
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
    **libm_cells("erf"),
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
    **libm_cells("erfc"),
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
    slope="2*x*erfcx(x) - 2/sqrt(pi), computed as -2*ierfcx(1, x)",
    vjp=lambda g, y, x: (g * (-2.0 * ierfcx(1.0, x)),),  # the difference loses x*x times the rounding error
    **call_cells("erfcx"),
    mp=lambda mp, x: mp.exp(x * x) * mp.erfc(x),
    sympy=lambda sp, x: sp.exp(x**2) * sp.erfc(x),
    torch=lambda torch, x: torch.special.erfcx(x),
    samples=_REAL,
    edges=[(0.0,), (-0.0,), (1e-300,), (26.5,), (1e9,), (-26.0,), (-30.0,), (np.nan,)],
)
ierfcx: Traced = elementwise(
    "ierfcx",
    2,
    doc="`exp(x*x)` times the n-fold integral of `erfc` from `x` to infinity, n = 1, 2, ...: derivatives of `erfcx`.",
    symbol="iⁿerfcx",
    slope="none, and -2*(n + 1)*ierfcx(n + 1, x)",
    vjp=lambda g, y, n, x: (None, g * (-2.0 * floor(n + 1.0) * ierfcx(n + 1.0, x))),  # floor: n has no slope
    **call_cells("ierfcx", 2),
    mp=lambda mp, n, x: _mp_ierfcx(mp, n, x),
    sympy=lambda sp, n, x: _sympy_ierfcx(sp, n, x),
    torch=lambda torch, n, x: _torch_ierfcx(torch, n, x),
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
    **call_cells("ndtr"),
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
mills: Traced = elementwise(
    "mills",
    1,
    doc="`npdf(x)/ndtr(x)`, the inverse of Mills' ratio at -x and the slope of `log_ndtr`.",
    symbol="φ/Φ",
    slope="-mills(x)*(x + mills(x)), the sum without cancellation",
    vjp=lambda g, y, x: (g * (-y * millsexcess(x)),),
    **call_cells("mills"),
    mp=lambda mp, x: _density(mp, x) / _normal(mp, x),
    sympy=lambda sp, x: sp.sqrt(2 / sp.pi) * sp.exp(-(x**2) / 2) / sp.erfc(-x / sp.sqrt(2)),
    torch=_torch_mills,
    samples=[(0.3,), (-2.5,), (2.0,), (-0.05,)],
    edges=_EDGES,
)


def _millsexcess_slope(x: Expr, y: Expr) -> Expr:
    z = (-math.sqrt(0.5)) * x
    return where(x < 0.0, 4.0 * (ierfcx(2.0, z) / erfcx(z)) - y * y, 1.0 - mills(x) * y)


millsexcess: Traced = elementwise(
    "millsexcess",
    1,
    doc="`x + npdf(x)/ndtr(x)`, without cancellation for x << 0.",
    symbol="x + φ/Φ",
    slope="1 - mills(x)*millsexcess(x), for x < 0 from the integrals of erfc",
    vjp=lambda g, y, x: (g * _millsexcess_slope(x, y),),
    **call_cells("millsexcess"),
    mp=lambda mp, x: x + _density(mp, x) / _normal(mp, x),
    sympy=lambda sp, x: x + sp.sqrt(2 / sp.pi) * sp.exp(-(x**2) / 2) / sp.erfc(-x / sp.sqrt(2)),
    torch=lambda torch, x: x + _torch_mills(torch, x),
    samples=[(0.3,), (-0.7,), (2.0,), (-0.05,)],
    edges=[(0.0,), (-0.0,), (1e-9,), (np.nan,)],
)
