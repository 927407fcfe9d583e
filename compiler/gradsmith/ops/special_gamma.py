"""The gamma function's family: lgamma, digamma, polygamma, gamma, beta and betaln."""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import Any

import numpy as np

from ..errors import TraceError
from ..trace import Expr
from ._declare import Traced, elementwise
from ._portable import call_cells, define

__all__ = ["beta", "betaln", "digamma", "gamma", "lgamma", "polygamma", "polygamma_difference"]

# The coefficients B(2k)/(2k)! of Euler and Maclaurin's formula (DLMF 2.10.1), k = 1 … 12.
_BERNOULLI = [
    Fraction(1, 6), Fraction(-1, 30), Fraction(1, 42), Fraction(-1, 30), Fraction(5, 66), Fraction(-691, 2730),
    Fraction(7, 6), Fraction(-3617, 510), Fraction(43867, 798), Fraction(-174611, 330), Fraction(854513, 138),
    Fraction(-236364091, 2730),
]  # fmt: skip
_C = [float(b / factorial(2 * k)) for k, b in enumerate(_BERNOULLI, 1)]
_EULER_MACLAURIN = "\n        ".join(
    f"t = {_C[k - 1]!r} + (s + {2 * k - 1}.0) * (s + {2 * k}.0) * e * t" for k in range(len(_C) - 1, 0, -1)
)
# The same, with each power of w as the difference of that power of w and of w + h = w*exp(-c).
_DIFFERENCES = "\n        ".join(
    f"t = {_C[k - 1]!r} * expm1((s + {2 * k - 1}.0) * c) + (s + {2 * k - 1}.0) * (s + {2 * k}.0) * e * t"
    for k in range(len(_C), 0, -1)
)

define(f'''
    def cotpi(r):
        """cos(pi*r)/sin(pi*r) for 0 < |r| <= 1/2"""
        return sin(PI * (0.5 - abs(r))) / sin(PI * r)

    def digamma(x):
        """The slope of log(gamma(x))"""
        return (digamma_right(x) if x > 0.0 else digamma_left(x) if x < 0.0 and x > -LARGEST_FRACTION
            else -copysign(inf, x) if x == 0.0 else x * nan)

    def digamma_right(x):
        """The digamma function for x > 0: below 1 by DLMF 5.5.2; above 2 relative to log(x) - 1/(2*x)"""
        return digamma_far(x) if x >= 2.0 else digamma_near(x) if x >= 1.0 else digamma_near(x + 1.0) - 1.0 / x

    def digamma_near(x):
        """The digamma function for 1 <= x <= 2, relative to its root, which is the sum of three numbers"""
        return (x - DIGAMMA_ROOT - DIGAMMA_ROOT_REST) * poly(DIGAMMA, 2.0 * x - 3.0)

    def digamma_far(x):
        """The digamma function for x >= 2"""
        return log(x) - 0.5 / x - poly(DIGAMMA_FAR, 8.0 / (x * x) - 1.0) / (x * x)

    def digamma_left(x):
        """The digamma function for x < 0, by reflection (DLMF 5.5.4)"""
        r = x - floor(x + 0.5)
        return digamma_right(1.0 - x) - PI * cotpi(r) if abs(r) > 0.0 else r * nan

    def zeta(s, q):
        """Hurwitz's zeta function for s > 1, q > 0: terms up to q + k >= s + 10, and the formula of DLMF 2.10.1"""
        n = floor(s + 10.0 - q) + 1.0 if q < s + 10.0 and q > 0.0 else 0.0
        return zeta_sum(s, q, n)

    def zeta_sum(s, q, n):
        """The first n terms of Hurwitz's zeta function, the smallest first, on top of the rest"""
        k = n
        total = zeta_rest(s, q + n)
        for _ in range(n):
            k = k - 1.0
            total = total + inverse_power(q + k, s) if k >= 0.0 else total
        return total

    def inverse_power(q, s):
        """q to the power -s, for q >= 0"""
        p = pow(q, s) if q < 1.0 else pow(q, -s)
        return p if q >= 1.0 else 1.0 / p if p > 0.0 else inf

    def zeta_rest(s, w):
        """Hurwitz's zeta function for w >= s + 10"""
        e = 1.0 / (w * w)
        t = {_C[-1]!r}
        {_EULER_MACLAURIN}
        return pow(w, 1.0 - s) * (1.0 / (s - 1.0) + (0.5 + s * t / w) / w)

    def polygamma(n, x):
        """The n-th derivative of the digamma function"""
        return digamma(x) if n == 0.0 else polygamma_factor(n, -polygamma_zeta(n, x))

    def polygamma_factor(n, x):
        """x times n!, with the sign of (-1)**n"""
        k = 0.0
        product = x
        for _ in range(n):
            k = k + 1.0
            product = -k * product if k <= n else product
        return product

    def polygamma_zeta(n, x):
        """Hurwitz's zeta function of n + 1 and any x"""
        return (0.0 if x == inf else zeta(n + 1.0, x) if x > 0.0
            else polygamma_left(n + 1.0, x) if x < 0.0 and x > -LARGEST_FRACTION else inf if x == 0.0 else x * nan)

    def polygamma_left(s, x):
        """The sum of (x + k)**-s over k >= 0 for x < 0: that over all k, less that over the others"""
        r = x - floor(x + 0.5)
        return polygamma_between(s, x, r) if abs(r) > 0.0 else inf

    def polygamma_between(s, x, r):
        """The same for x at a distance r from an integer"""
        a = abs(r)
        sign = 1.0 - 4.0 * (0.5 * s - floor(0.5 * s))
        beside = zeta(s, 1.0 - x)
        return (zeta(s, a) + (zeta(s, 1.0 - a) - beside) if sign > 0.0
            else beside + copysign(zeta_difference(s, a, 1.0 - 2.0 * a), r))

    def polygamma_difference(n, x, h):
        """The polygamma function at x + h less that at x, without cancellation where both have one sign"""
        return (polygamma_factor(n, zeta_difference(n + 1.0, x, h)) if x > 0.0 and x + h > 0.0 and h < inf
            else polygamma_difference_left(n, x, h) if x < 0.0 and x + h < 0.0 and x + h > -LARGEST_FRACTION
            else polygamma(n, x + h) - polygamma(n, x))

    def polygamma_difference_left(n, x, h):
        """The same for x < 0 and x + h < 0: that of the function of period 1 and that on the right (DLMF 5.15.6)"""
        s = n + 1.0
        r = x - floor(x + 0.5)
        a = abs(r)
        e = copysign(1.0, r) * (h - floor(h + 0.5))
        sign = 1.0 - 4.0 * (0.5 * s - floor(0.5 * s))
        periodic = (cotpi_difference(x, h) if n == 0.0
            else copysign(1.0, r if sign < 0.0 else a)
            * (zeta_difference(s, a, e) + sign * zeta_difference(s, 1.0 - a, -e))
            if a + e > 0.0 and a + e < 1.0 and a > 0.0 else nan * x)
        return (polygamma_factor(n, periodic - sign * zeta_difference(s, 1.0 - x, -h)) if periodic == periodic
            else polygamma(n, x + h) - polygamma(n, x))

    def cotpi_difference(x, h):
        """pi*cot(pi*x) - pi*cot(pi*(x + h))"""
        product = sinpi(x) * sinpi_sum(x, h)
        return PI * sinpi(h) / product if abs(product) > 0.0 else nan * x

    def zeta_difference(s, q, h):
        """Hurwitz's zeta function at q less that at q + h, also for s = 1, where only the difference is finite"""
        least = q + h if h < 0.0 else q
        n = floor(s + 10.0 - least) + 1.0 if least < s + 10.0 and least > 0.0 else 0.0
        return zeta_difference_sum(s, q, h, n)

    def zeta_difference_sum(s, q, h, n):
        """The first n terms, the smallest first, on top of the rest"""
        k = n
        total = zeta_difference_rest(s, q + n, h)
        for _ in range(n):
            k = k - 1.0
            total = total + power_difference(q + k, h, s) if k >= 0.0 else total
        return total

    def power_difference(q, h, s):
        """q**-s less (q + h)**-s"""
        p = inverse_power(q, s)
        return -p * expm1(-s * log1p(h / q)) if p < inf else p

    def zeta_difference_rest(s, w, h):
        """The rest for w >= s + 10, term by term"""
        c = -log1p(h / w)
        e = 1.0 / (w * w)
        z = 1.0 / w
        t = 0.0
        {_DIFFERENCES}
        first = -c if s == 1.0 else -expm1((s - 1.0) * c) / (s - 1.0)
        return pow(w, 1.0 - s) * (first - 0.5 * z * expm1(s * c) - s * z * z * t)

    def lgamma(x):
        """log(|gamma(x)|)"""
        return (lgamma_right(x) if x > 0.0 else lgamma_left(x) if x < 0.0 and x > -LARGEST_FRACTION
            else inf if x <= 0.0 else x)

    def lgamma_left(x):
        """log(|gamma(x)|) for x < 0: below -18, where no float is beside a root, by reflection (DLMF 5.5.3)"""
        s = abs(sinpi(x))
        return (-log(-x) if x > -1e-18 else lgamma_recurrence(x) if x >= -18.0
            else LOG_PI - log(s) - lgamma_right(1.0 - x) if s > 0.0 else inf)

    def lgamma_recurrence(x):
        """log(|gamma(x)|) for -18 <= x < 0, from the difference of the two sides of the recurrence from 1 <= y < 2"""
        p = rising(x)
        size = abs(p)
        top = GAMMA_MIDDLE_B + gamma_rest(x)
        d = (GAMMA_MIDDLE_A - size) + (top - copysign(1.0, p) * rising_rest(x))
        return (log1p(d / size) if d > 0.0 else -log1p(-d / (GAMMA_MIDDLE_A + top))) if size > 0.0 else inf

    def head(x):
        """x with half its digits, so that the product of two such numbers is exact"""
        c = SPLIT * x
        return c - (c - x)

    def product_rest(x, y):
        """What rounding took from x*y (Dekker 1971)"""
        a = head(x)
        b = head(y)
        return ((a * b - x * y) + (a * (y - b) + (x - a) * b)) + (x - a) * (y - b)

    def rising(x):
        """x*(x + 1)*(x + 2)… up to the last factor below 1, for -18 <= x < 0"""
        product = 1.0
        y = x
        for _ in range(19):
            product = product * y if y < 1.0 else product
            y = y + 1.0 if y < 1.0 else y
        return product

    def rising_rest(x):
        """What rounding took from this product"""
        product = 1.0
        rest = 0.0
        y = x
        for _ in range(19):
            rest = rest * y + product_rest(product, y) if y < 1.0 else rest
            product = product * y if y < 1.0 else product
            y = y + 1.0 if y < 1.0 else y
        return rest

    def gamma_rest(x):
        """gamma(y) - gamma(3/2) for the y in [1, 2) that is a whole number away from x"""
        u = 2.0 * (x - floor(x)) - 1.0
        return u * poly(GAMMA, u)

    def lgamma_right(x):
        """log(gamma(x)) for x > 0: below 8 relative to the roots 1 and 2"""
        return (lgamma_far(x) if x >= 8.0 else (x - 2.0) * poly(LGAMMA_4, 0.5 * x - 3.0) if x >= 4.0
            else (x - 2.0) * poly(LGAMMA_2, x - 3.0) if x >= 2.0
            else (x - 1.0) * (x - 2.0) * poly(LGAMMA_1, 2.0 * x - 3.0) if x >= 1.0
            else x * (x - 1.0) * poly(LGAMMA_1, 2.0 * x - 1.0) - log(x))

    def lgamma_far(x):
        """log(gamma(x)) for x >= 8, by Stirling's formula"""
        return (x - 0.5) * (log(x) - 1.0) + (HALF_LOG_TWO_PI - 0.5) + stirling(x)

    def stirling(x):
        """The error of Stirling's formula (DLMF 5.11.1) for x >= 2"""
        return poly(STIRLING, 8.0 / (x * x) - 1.0) / x

    def gamma(x):
        """The gamma function; NaN at the poles"""
        return (gamma_right(x) if x > 0.0 else gamma_left(x) if x < 0.0 and x > -LARGEST_FRACTION
            else x if x != x else copysign(inf, x) if x == 0.0 else nan * x)

    def gamma_right(x):
        """gamma(x) for x > 0"""
        return (gamma_near(x) if x < 2.0 else gamma_power(x, x - 0.5) * gamma_scale(x) if x < LARGEST_GAMMA
            else inf * x)

    def gamma_near(x):
        """gamma(x) for 0 < x < 2"""
        y = GAMMA_MIDDLE_A + (GAMMA_MIDDLE_B + gamma_rest(x))
        return y if x >= 1.0 else y / x

    def gamma_left(x):
        """gamma(x) for x < 0: by the recurrence, or gamma(x)*gamma(-x) = -pi/(x*sin(pi*x)) (DLMF 5.5.3)"""
        s = sinpi(x) if x < -18.0 else 1.0
        return (1.0 / x if x > -1e-18 else gamma_recurrence(x) if x >= -18.0
            else gamma_power(-x, x + 0.5) / (x * s) * (-PI / gamma_scale(-x)) if abs(s) > 0.0 else nan * s)

    def gamma_recurrence(x):
        """gamma(x) for -18 <= x < 0"""
        p = rising(x)
        q = (GAMMA_MIDDLE_A + (GAMMA_MIDDLE_B + gamma_rest(x))) / p if abs(p) > 0.0 else nan * p
        return q - q * (rising_rest(x) / p) if abs(p) > 0.0 else q

    def gamma_power(x, y):
        """(x/e)**y for x >= 2, with x/e cut to a multiple of 1/256"""
        return pow(floor(x / E_A * 256.0 + 0.5) / 256.0, y)

    def gamma_scale(x):
        """gamma(x)/(x/e)**(x - 1/2) for x >= 2, the power as above, by Stirling's formula"""
        b = floor(x / E_A * 256.0 + 0.5) / 256.0
        d = x - b * E_A - b * E_B
        t = stirling(x) - (x - 0.5) * log1p(-d / x)
        return GAMMA_SCALE_A + (GAMMA_SCALE_B + (GAMMA_SCALE_A + GAMMA_SCALE_B) * expm1(t))

    def sum_rest(x, y):
        """What rounding took from x + y (Knuth)"""
        s = x + y
        z = s - x
        return (x - (s - z)) + (y - z)

    def betaln(a, b):
        """log(|gamma(a)*gamma(b)/gamma(a + b)|)"""
        p = b if b < a else a
        q = a if b < a else b
        y = abs(beta(p, q))
        return (betaln_near(p, q) if p >= 0.25 and q < 2.0 else log(y) if y > 1e-30 and y < 1e30
            else betaln_right(p, q) if p > 0.0 else betaln_left(p, q)
            if p < 0.0 and p > -LARGEST_FRACTION and q <= inf else inf if p == 0.0 else p * q * nan)

    def betaln_near(p, q):
        """log(beta(p, q)) for 1/4 <= p <= q < 2, which has a root at (1, 1) as each of the three terms"""
        return lgamma_right(p) + (lgamma_right(q) - lgamma_right(p + q)) - sum_rest(p, q) * digamma_right(p + q)

    def betaln_right(p, q):
        """log(beta(p, q)) for 0 < p <= q"""
        return (betaln_far(p, q) if p >= 2.0 else lgamma_right(p) - p * log(q) + beta_excess(p, q) if q >= 2.0
            else lgamma_right(p) + (lgamma_right(q) - lgamma_right(p + q)))

    def betaln_far(p, q):
        """log(beta(p, q)) for 2 <= p <= q"""
        h = p / q
        return ((p - 0.5) * log(h / (1.0 + h)) - q * log1p(h)
            + (HALF_LOG_TWO_PI - 0.5 * log(q) + (stirling(p) + stirling(q) - stirling(p + q))))

    def betaln_left(p, q):
        """log(|beta(p, q)|) for p < 0 and p <= q, by reflection as `beta_left`"""
        sines = abs(beta_sines(p, q))
        return betaln_reflected(p, q, sines) if sines > 0.0 and abs(p + q) > 0.0 else betaln_pole(p, q)

    def betaln_reflected(p, q, sines):
        """The same where neither p nor q nor p + q is a pole"""
        s = p + q
        other = betaln_right(reflected_least(p, q), reflected_largest(p, q))
        f = log(sines) + log(abs(s / p if s < 0.0 else 1.0 / p))
        return f + other if s < 0.0 and q > 0.0 else f - other - (log(-q) if q < 0.0 else 0.0)

    def betaln_pole(p, q):
        """inf at a pole of gamma(p) or gamma(q), -inf at one of gamma(p + q), NaN at one of both sides"""
        s = p + q
        return ((nan * p if s <= 0.0 and s == floor(s) else inf)
            if p == floor(p) or (q < 0.0 and q == floor(q)) else -inf if q < inf else nan * p)

    def beta(a, b):
        """gamma(a)*gamma(b)/gamma(a + b)"""
        p = b if b < a else a
        q = a if b < a else b
        return (beta_right(p, q) if p >= 0.0
            else beta_small(p, q) if p > -0.5 and p + q > -0.5 and q < 1.0 and abs(q) > 0.0 and abs(p + q) > 0.0
            else beta_mixed(p, q) if p > -2.0 and q >= 8.0 else beta_left(p, q) if p > -LARGEST_FRACTION
            else p * q * nan)

    def beta_right(p, q):
        """The beta function for 0 <= p <= q"""
        return (beta_near(p, q) if q < 2.0 else beta_mixed(p, q) if p < 2.0 or not q < HALF_DIGITS
            else beta_far(p, q))

    def beta_small(p, q):
        """The beta function for p <= q, both and p + q from -1/2 to 1 and not 0, relative to 1/p + 1/q"""
        a = reciprocal_rest(p)
        b = reciprocal_rest(q)
        y = 1.0 / p + 1.0 / q if p > 0.0 or q < 0.0 else (p + q) / q / p
        rest = (reciprocal_rest(p + q) - a - b - a * b) / ((1.0 + a) * (1.0 + b))
        return y + y * rest if abs(y) < inf else y

    def reciprocal_rest(x):
        """1/gamma(1 + x) - 1 for -1/2 <= x <= 1"""
        return x * poly(GAMMA_RECIPROCAL, (4.0 * x - 1.0) / 3.0)

    def beta_near(p, q):
        """The beta function for 0 <= p <= q < 2; the sum's rounding error is undone to first order"""
        total = p + q
        y = gamma(p) * (gamma(q) / gamma(total))
        return beta_small(p, q) if total < 1.0 and p > 0.0 else y - y * (sum_rest(p, q) * digamma(total))

    def beta_mixed(p, q):
        """The beta function for p < 2 or small p/q, q >= 2; the power is taken in two where it may underflow"""
        power = pow(q, -p if p < 2.0 else -0.5 * p)
        y = gamma(p) * power * (1.0 if p < 2.0 else power)
        return y + y * expm1(beta_excess(p, q)) if power > 0.0 else power

    def beta_excess(p, q):
        """p*log(q) - log(gamma(p + q)/gamma(q)) for -q/4 <= p <= q, q >= 2"""
        h = p / q
        return 0.5 * log1p(h) - p * h * poly(BETA_EXCESS, 1.6 * h - 0.6) + (stirling(q) - stirling(p + q))

    def beta_far(p, q):
        """The beta function for 2 <= p <= q, q not large: h**q*(1 - h)**p is stationary, so h may be rounded"""
        total = p + q
        h = q / total
        y = pow(h, q) * (pow(1.0 - h, p) * sqrt(2.0 * PI / p / h))
        return y + y * expm1(stirling(p) + stirling(q) - stirling(total))

    def beta_left(p, q):
        """The beta function for p < 0 and p <= q, by reflection (DLMF 5.5.3) from that of positive numbers"""
        s = p + q
        y = beta_right(reflected_least(p, q), reflected_largest(p, q))
        y = y + y * reflected_slope(p, q)
        f = beta_sines(p, q)
        return (nan * y if not y > 0.0 else f / (p * y) if s > 0.0 else f * (s * y / p) if q > 0.0
            else f * (s / p) / (q * y))

    def beta_sines(p, q):
        """The sines of the reflection; NaN at a pole"""
        sp = sinpi(p)
        sq = sinpi(q) if q < 0.0 else 1.0
        ratio = sinpi_sum(p, q) / sp if p + q < 0.0 and abs(sp) > 0.0 else 1.0 / sp if abs(sp) > 0.0 else nan * sp
        fine = abs(ratio) > 0.0 and abs(sq) > 0.0
        return (ratio if p + q < 0.0 and q > 0.0 else -PI / sq * ratio) if fine else nan * sp

    def reflected_least(p, q):
        """The smaller of the two positive numbers whose beta function gives that of p < 0 and q"""
        s = p + q
        return (-p if -p < s else s) if s > 0.0 else (-s if -s < q else q) if q > 0.0 else -q

    def reflected_largest(p, q):
        """The larger of them"""
        s = p + q
        return (s if -p < s else -p) if s > 0.0 else (q if -s < q else -s) if q > 0.0 else -p

    def reflected_slope(p, q):
        """What the rounding error of p + q does to their beta function, to first order"""
        s = p + q
        lost = sum_rest(p, q)
        return (lost * (digamma(s) - digamma(q)) if s > 0.0 else lost * (digamma(-p) - digamma(-s)) if q > 0.0
            else 0.0 * s)

    def sinpi_sum(x, y):
        """sin(pi*(x + y)) for finite x and y, without the rounding error of the sum"""
        s = x + y
        r = s - 2.0 * floor(0.5 * s + 0.5)
        lost = sum_rest(x, y)
        return sin(PI * (r + lost if abs(r) <= 0.5 else copysign(1.0, r) - r - lost))
''')

_ONES = [(0.3,), (1.7,), (4.5,), (-1.3,), (12.25,)]
_EDGES = [(1e-150,), (1e-9,), (-1e-9,), (1.0,), (2.0,), (0.5,), (np.inf,), (np.nan,), (150.5,)]

lgamma = elementwise(
    "lgamma",
    1,
    doc="Logarithm of the absolute value of the gamma function.",
    symbol="log Γ",
    slope="digamma(x)",
    vjp=lambda g, y, x: (g * digamma(x),),
    **call_cells("lgamma"),
    mp=lambda mp, x: mp.re(mp.loggamma(x)),
    sympy=lambda sp, x: sp.log(sp.Abs(sp.gamma(x))),  # SymPy's loggamma is complex below 0
    torch="lgamma",
    samples=_ONES,
    edges=[*_EDGES, (0.0,), (1e300,)],
    edge_notes={"x near a root below 0": "the error is relative to the largest term of the reflection formula"},
)


def _torch_polygamma(torch: Any, n: Any, x: Any) -> Any:
    """Torch adds up the terms left of 0 one by one, for minutes: those beyond -1000 are the end of a zeta function."""
    order = int(n)
    if order == 0:
        return torch.digamma(x)
    near = x + torch.clamp(torch.floor(-x.detach()) - 1000.0, min=0.0)
    far = x < near
    begin, end = (1.0 - torch.where(far, v, 0.0) for v in (near, x))  # zeta adds up one by one there, too
    ends = torch.special.zeta(order + 1.0, begin) - torch.special.zeta(order + 1.0, end)
    return torch.polygamma(order, near) + factorial(order) * ends


digamma: Traced = elementwise(
    "digamma",
    1,
    doc="Slope of `lgamma`.",
    symbol="ψ",
    slope="polygamma(1, x)",
    vjp=lambda g, y, x: (g * _polygamma(1.0, x),),
    **call_cells("digamma"),
    mp="digamma",
    sympy="digamma",
    torch="digamma",
    samples=_ONES,
    edges=[*(e for e in _EDGES if e != (np.inf,)), (0.0,), (-0.0,), (1e300,)],
    edge_notes={
        "x = 0": "infinite, with the sign of the limit",
        "x = -1, -2, ...": "NaN: the limits have two signs",
        "x near a root below 0": "the error is relative to the largest term of the reflection formula",
    },
)
_polygamma: Traced = elementwise(
    "polygamma",
    2,
    doc="The n-th derivative of `digamma`, with n an operand that holds a whole number.",
    symbol="ψ⁽ⁿ⁾",
    slope="none, and polygamma(n + 1, x)",
    operands="n x",
    vjp=lambda g, y, n, x: (None, g * _polygamma(n + 1.0, x)),
    **call_cells("polygamma", 2),
    mp=lambda mp, n, x: mp.polygamma(int(n), x),
    sympy="polygamma",
    torch=_torch_polygamma,
    samples=[(1.0, 0.3), (2.0, 1.7), (1.0, 4.5), (1.0, -1.3), (3.0, 12.25), (0.0, 2.5)],
    edges=[(1.0, 1e-9), (2.0, np.nan), (1.0, 1.0), (2.0, 0.5), (1.0, 150.5), (1.0, 0.0)],
    edge_notes={"x near a root below 0": "the error is relative to the largest term of the reflection formula"},
)
polygamma_difference: Traced = elementwise(
    "polygamma_difference",
    3,
    doc="The n-th derivative of `digamma` at x + h less that at x, without cancellation where both are positive.",
    symbol="Δψ⁽ⁿ⁾",
    slope="none, polygamma_difference(n + 1, x, h) and polygamma(n + 1, x + h)",
    operands="n x h",
    domain="n = 1, 2, 3, …, neither x nor x + h one of 0, -1, -2, …",
    vjp=lambda g, y, n, x, h: (None, g * polygamma_difference(n + 1.0, x, h), g * _polygamma(n + 1.0, x + h)),
    **call_cells("polygamma_difference", 3),
    mp=lambda mp, n, x, h: mp.polygamma(int(n), x + h) - mp.polygamma(int(n), x),
    sympy=lambda sp, n, x, h: sp.polygamma(n, x + h) - sp.polygamma(n, x),
    torch=lambda torch, n, x, h: _torch_polygamma(torch, n, x + h) - _torch_polygamma(torch, n, x),
    samples=[(0.0, 0.3, 1.7), (1.0, 2.5, 0.4), (0.0, 4.5, -1.3), (2.0, 20.0, 1e-3)],
    edges=[(0.0, 2.0, 1e-12), (0.0, 1e6, 1.0), (1.0, np.nan, 1.0)],
)


def polygamma(n: int, x: Any) -> Expr:
    """The n-th derivative of `digamma`: `polygamma(1, x)` is the trigamma function.

    `n` is a whole number from 0 to 170, and known now. Each further derivative raises it by one.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.compile(gs.polygamma(1, x))(1.0) - 3.141592653589793**2 / 6
    0.0
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= 170:
        raise TraceError(f"polygamma: the order must be a whole number from 0 to 170, not {n!r}")
    return digamma(x) if n == 0 else _polygamma(float(n), x)


def _torch_sign(torch: Any, x: Any) -> Any:
    """The sign of the gamma function: it changes at each pole."""
    return torch.where((x > 0) | (torch.floor(x) % 2 == 0), 1.0, -1.0)


gamma = elementwise(
    "gamma",
    1,
    doc="The gamma function; NaN at -1, -2, ….",
    symbol="Γ",
    slope="gamma(x)*digamma(x)",
    vjp=lambda g, y, x: (g * (y * digamma(x)),),
    **call_cells("gamma"),
    mp="gamma",
    sympy="gamma",
    torch=lambda torch, x: (
        torch.where(torch.floor(0.5 * x) * 2 == torch.floor(x), 1.0, torch.sign(x)) * torch.exp(torch.lgamma(x))
    ),
    samples=_ONES,
    edges=[(1e-9,), (1.0,), (2.0,), (0.5,), (np.nan,), (-2.5,)],
    edge_notes={"x < -18": "good to 5 ULP; elsewhere to 2 (2.5 in float32 by NumPy with AVX-512)"},
)
betaln = elementwise(
    "betaln",
    2,
    commutative=True,
    doc="Logarithm of the absolute value of the beta function.",
    symbol="log B",
    slope="digamma(a) - digamma(a + b) and digamma(b) - digamma(a + b), without cancellation",
    operands="a b",
    domain="none of a, b and a + b one of 0, -1, -2, …",
    vjp=lambda g, y, a, b: (-(g * polygamma_difference(0.0, a, b)), -(g * polygamma_difference(0.0, b, a))),
    **call_cells("betaln", 2),
    mp=lambda mp, a, b: mp.re(mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)),
    sympy=lambda sp, a, b: sp.log(sp.Abs(sp.beta(a, b))),
    torch=lambda torch, a, b: torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b),
    samples=[(0.7, 1.3), (2.5, 0.4), (3.0, 11.5), (9.5, 20.0), (-0.5, 3.2), (-1.3, 50.0)],
    edges=[(1e-9, 2.0), (np.nan, 1.0), (2.0, 3.0), (-0.5, 200.0)],
)
beta = elementwise(
    "beta",
    2,
    commutative=True,
    doc="The beta function `gamma(a)*gamma(b)/gamma(a + b)`.",
    symbol="B",
    slope="beta(a, b)*(digamma(a) - digamma(a + b)), and the same in b",
    operands="a b",
    domain="none of a, b and a + b one of 0, -1, -2, …",
    vjp=lambda g, y, a, b: (-(g * (y * polygamma_difference(0.0, a, b))), -(g * (y * polygamma_difference(0.0, b, a)))),
    **call_cells("beta", 2),
    mp="beta",
    sympy="beta",
    torch=lambda torch, a, b: (
        _torch_sign(torch, a)
        * _torch_sign(torch, b)
        * _torch_sign(torch, a + b)
        * torch.exp(torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b))
    ),
    samples=[(0.7, 1.3), (2.5, 0.4), (3.0, 11.5), (9.5, 20.0), (-0.5, 3.2), (-1.3, 50.0)],
    edges=[(0.5, 0.5), (np.nan, 1.0), (2.0, 3.0), (-0.5, 200.0)],
    edge_notes={"a or b below 0": "good to 6 ULP; elsewhere to 3"},
)
