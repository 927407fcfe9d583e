"""Elementary special functions: sinc, xlogy, xlog1py, logit, expit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._declare import Traced, elementwise
from ._portable import call_cells, define
from .activation import sigmoid
from .elementary import log, log1p
from .selection import equal, logical_and, where

__all__ = ["expit", "logit", "sinc", "sinc_derivative", "xlog1py", "xlogy"]

expit = sigmoid

define('''
    def xlogy(x, y):
        """x*log(y), and 0 for x = 0 and any y"""
        return 0.0 if x == 0.0 and y == y else x * log(y) if y > 0.0 else x * -inf if y == 0.0 else y * nan

    def xlog1py(x, y):
        """x*log(1 + y), and 0 for x = 0 and any y"""
        return 0.0 if x == 0.0 and y == y else x * log1p(y) if y > -1.0 else x * -inf if y == -1.0 else y * nan

    def logit(x):
        """log(x/(1 - x)), by log1p where that is nearly 0"""
        return logit_within(x) if x > 0.0 and x < 1.0 else -inf if x == 0.0 else inf if x == 1.0 else x * nan

    def logit_within(x):
        """log(x/(1 - x)) for 0 < x < 1; 2*x - 1 and 1 - x have no rounding error where they are small"""
        return (log(x / (1.0 - x)) if x < 0.375 else -log((1.0 - x) / x) if x > 0.65
            else log1p((2.0 * x - 1.0) / (1.0 - x)))

    def sinpi(x):
        """sin(pi*x) for finite x; what is left after whole turns is exact"""
        r = x - 2.0 * floor(0.5 * x + 0.5)
        return sin(PI * (r if abs(r) <= 0.5 else copysign(1.0, r) - r))

    def cospi(x):
        """cos(pi*x) for finite x"""
        return sin(PI * (0.5 - abs(x - 2.0 * floor(0.5 * x + 0.5))))

    def sinc(x):
        """sin(pi*x)/(pi*x), and 1 at 0"""
        a = abs(x)
        return sinpi(x) / (PI * x) if a > 0.0 and a < inf else 1.0 if x == 0.0 else 0.0 if a == inf else x

    def sinc_derivative(n, x):
        """The n-th derivative of sin(pi*x)/(pi*x)"""
        a = abs(x)
        return (sinc_near(n, x) if a < 0.75 or a < 1.0 and n > 4.0 else sinc_far(n, x) if a < inf
            else 0.0 if a == inf else x)

    def sinc_near(n, x):
        """The n-th derivative of the power series, for |x| < 1; PI_LOSS makes up for the rounding of PI"""
        z = PI * x
        half = floor(0.5 * n + 0.5)
        odd = 2.0 * half - n
        k = odd + 30.0
        total = 0.0
        for _ in range(16):
            total = 1.0 / (n + k + 1.0) - z * (z * total / ((k + 1.0) * (k + 2.0)))
            k = k - 2.0
        total = z * total if odd > 0.0 else total
        total = total + PI_LOSS * (n + odd) * total
        return pow(PI, n) * (total if floor(0.5 * half) == 0.5 * half else -total)

    def sinc_far(n, x):
        """The n-th derivative, from the lower ones: those of x*sinc(x) = sin(pi*x)/pi are known"""
        k = 0.0
        power = 1.0
        sine = sinpi(x)
        cosine = cospi(x)
        now = sine / (PI * x)
        for _ in range(n):
            k = k + 1.0
            before = sine
            sine = cosine
            cosine = -before
            now = (power * sine - k * now) / x if k <= n else now
            power = pow(PI, k)
            power = power + PI_LOSS * k * power
        return now
''')

xlogy = elementwise(
    "xlogy",
    2,
    doc="`x*log(y)`, and 0 where `x` is 0 and `y` is not NaN.",
    symbol="x log y",
    slope="log(y) and x/y",
    domain="y > 0 or x = 0",
    vjp=lambda g, _, x, y: (
        g * where(logical_and(equal(x, 0.0), y <= 0.0), 0.0, log(y)),
        g * where(logical_and(equal(x, 0.0), y <= 0.0), 0.0, x / y),
    ),
    **call_cells("xlogy", 2),
    mp=lambda mp, x, y: x * mp.log(y) if x else x,
    sympy=lambda sp, x, y: sp.Piecewise((0, sp.Eq(x, 0)), (x * sp.log(y), True)),
    torch="xlogy",
    samples=[(0.7, 1.3), (-2.5, 0.4), (3.0, 11.5), (0.0, 2.0)],
    edges=[(1.0, 0.0), (-1.0, 0.0), (0.0, 2.0), (1.0, -1.0), (np.nan, 1.0), (1.0, np.nan), (1.0, np.inf)],
    edge_notes={"x = 0": "slope log(y), as torch; for y <= 0 no gradient", "y < 0": "NaN"},
)
xlog1py = elementwise(
    "xlog1py",
    2,
    doc="`x*log(1 + y)`, exact for small `y`, and 0 where `x` is 0 and `y` is not NaN.",
    symbol="x log(1+y)",
    slope="log(1 + y) and x/(1 + y)",
    domain="y > -1 or x = 0",
    vjp=lambda g, _, x, y: (
        g * where(logical_and(equal(x, 0.0), y <= -1.0), 0.0, log1p(y)),
        g * where(logical_and(equal(x, 0.0), y <= -1.0), 0.0, x / (1.0 + y)),
    ),
    **call_cells("xlog1py", 2),
    mp=lambda mp, x, y: x * mp.log1p(y) if x else x,
    sympy=lambda sp, x, y: sp.Piecewise((0, sp.Eq(x, 0)), (x * sp.log(1 + y), True)),
    torch=lambda torch, x, y: torch.special.xlog1py(x, y),
    samples=[(0.7, 1.3), (-2.5, 0.4), (3.0, -0.5), (0.0, 2.0)],
    edges=[(1.0, -1.0), (0.0, 2.0), (1.0, -2.0), (1.0, 1e-20), (np.nan, 1.0), (1.0, np.nan), (1.0, np.inf)],
    edge_notes={"x = 0": "slope log(1 + y), as torch; for y <= -1 no gradient", "y < -1": "NaN"},
)
logit = elementwise(
    "logit",
    1,
    doc="`log(x/(1 - x))`, the inverse of `sigmoid`; infinite at 0 and 1, NaN outside.",
    symbol="logit",
    slope="1/(x*(1 - x))",
    vjp=lambda g, y, x: (g / (x * (1.0 - x)),),
    **call_cells("logit"),
    mp=lambda mp, x: mp.log(x / (1 - x)),
    sympy=lambda sp, x: sp.log(x / (1 - x)),
    torch="logit",
    samples=[(0.3,), (0.7,), (0.95,), (0.02,)],
    edges=[(0.0,), (1.0,), (0.5,), (1e-150,), (np.nan,)],
)
sinc: Traced = elementwise(
    "sinc",
    1,
    tame=True,
    doc="`sin(pi*x)/(pi*x)`, and 1 at 0.",
    symbol="sinc",
    slope="(cos(pi*x) - sinc(x))/x, by its series for |x| < 1",
    vjp=lambda g, y, x: (g * sinc_derivative(1.0, x),),
    **call_cells("sinc"),
    mp="sincpi",
    sympy=lambda sp, x: sp.sinc(sp.pi * x),
    torch="sinc",
    samples=[(0.3,), (-1.2,), (2.0,), (-0.05,)],
    edges=[(0.0,), (-0.0,), (1e-300,), (1e-9,), (1.0,), (0.5,), (np.nan,)],
    edge_notes={"x infinite": "0, where torch and NumPy give NaN"},
)


def _sinc_derivative(mp: Any, n: Any, x: Any) -> Any:
    with mp.extraprec(200 * (int(n) + 1)):
        now = mp.sincpi(x)
        for k in range(1, int(n) + 1):
            if not x:
                return (-1) ** (int(n) // 2) * mp.pi**n / (n + 1) if n % 2 == 0 else mp.mpf(0)
            now = (mp.pi ** (k - 1) * mp.sin(mp.pi * x + k * mp.pi / 2) - k * now) / x
        return +now


sinc_derivative: Traced = elementwise(
    "sinc_derivative",
    2,
    tame=True,
    doc="The n-th derivative of `sinc`, for n = 1, 2, ....",
    symbol="sinc⁽ⁿ⁾",
    slope="none, and sinc_derivative(n + 1, x)",
    operands="n x",
    vjp=lambda g, y, n, x: (None, g * sinc_derivative(n + 1.0, x)),
    **call_cells("sinc_derivative", 2),
    mp=_sinc_derivative,
    sympy=lambda sp, n, x: _sympy_sinc_derivative(sp, n, x),
    torch=lambda torch, n, x: _torch_sinc_derivative(torch, n, x),
    samples=[(1.0, 0.3), (2.0, -1.2), (1.0, 2.0), (3.0, 0.55)],
    edges=[(1.0, 0.0), (2.0, -0.0), (1.0, np.nan)],
)


def _sympy_sinc_derivative(sp: Any, n: Any, x: Any) -> Any:
    """From sinc(x), the integral of cos(pi*x*t) over t from 0 to 1."""
    t = sp.Dummy("t")
    return sp.Integral((sp.pi * t) ** n * sp.cos(sp.pi * x * t + n * sp.pi / 2), (t, 0, 1))


def _torch_sinc_derivative(torch: Any, n: Any, x: Any) -> Any:
    now = torch.sinc(x)
    for k in range(1, int(n) + 1):
        now = (math.pi ** (k - 1) * torch.sin(math.pi * x + k * math.pi / 2) - k * now) / x
    return now
