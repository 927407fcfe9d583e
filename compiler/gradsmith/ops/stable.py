"""What stable forms are made of: functions that keep their digits where the formula in their doc line loses them.

Nobody needs to write these by name: `passes.stabilise` finds the formulas and puts these records in their place. Their
derivatives are records too where the composed ones would cancel, so gradients of every order keep their digits as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..registry import OPS
from ..trace import Expr
from ._coefficients import CONSTANTS
from ._declare import Traced, elementwise
from ._portable import horner
from .arithmetic import absolute, sign, square
from .elementary import cos, exp, expm1, log, log1p, sech2, sin, sinh, sqrt, tanh
from .selection import equal, where

__all__: list[str] = []  # none of these is in the public namespace

_REAL = [(0.3,), (-1.2,), (2.0,), (-5.0,)]

# A formula for both is written over a namespace: this one for traced values, or NumPy.
_TRACED: Any = SimpleNamespace(
    where=where, abs=absolute, square=square, log1p=log1p, exp=exp, expm1=expm1, sin=sin, cos=cos, sinh=sinh, tanh=tanh,
    sech2=sech2,
)  # fmt: skip

# --- differences that cancel ----------------------------------------------------------------------------------------

versin = elementwise(
    "versin",
    1,
    tame=True,
    doc="`1 - cos(x)`, exact near 0.",
    symbol="1−cos",
    slope="sin(x)",
    vjp=lambda g, y, x: (g * sin(x),),
    expand=lambda x: where(cos(x) > 0.5, 2.0 * square(sin(0.5 * x)), 1.0 - cos(x)),
    evaluate=lambda x: np.where(np.cos(x) > 0.5, 2.0 * np.square(np.sin(0.5 * x)), 1.0 - np.cos(x))[()],
    mp=lambda mp, x: 2 * mp.sin(x / 2) ** 2,
    sympy=lambda sp, x: 1 - sp.cos(x),
    torch=lambda torch, x: 2.0 * torch.sin(0.5 * x).square(),
    samples=_REAL,
    edges=[(0.0,), (np.inf,), (np.nan,)],
)
difference_of_squares = elementwise(
    "difference_of_squares",
    2,
    doc="`x*x - y*y`, exact where `x` is near `y`, and finite where only the squares overflow.",
    symbol="x²−y²",
    slope="2*x and -2*y",
    vjp=lambda g, y, a, b: (g * (2.0 * a), g * (-2.0 * b)),
    expand=lambda a, b: (a - b) * (a + b),
    evaluate=lambda a, b: (a - b) * (a + b),
    mp=lambda mp, a, b: (a - b) * (a + b),
    sympy=lambda sp, a, b: a**2 - b**2,
    torch=lambda torch, a, b: a.square() - b.square(),
    samples=[(0.7, 1.3), (-2.5, 0.4), (3.0, -1.5)],
    edges=[(1.0, 1.0), (0.0, 2.0), (np.inf, 1.0)],
)
sqrt1pm1 = elementwise(
    "sqrt1pm1",
    1,
    doc="`sqrt(1 + x) - 1`, exact near 0.",
    symbol="√(1+x)−1",
    slope="1/(2*sqrt(1 + x))",
    vjp=lambda g, y, x: (0.5 * g / sqrt(1.0 + x),),
    expand=lambda x: where(x < 3.0, x / (1.0 + sqrt(1.0 + x)), sqrt(1.0 + x) - 1.0),
    evaluate=lambda x: np.where(x < 3.0, x / (1.0 + np.sqrt(1.0 + x)), np.sqrt(1.0 + x) - 1.0)[()],
    mp=lambda mp, x: x / (1 + mp.sqrt(1 + x)) if x < 1 else mp.sqrt(1 + x) - 1,
    sympy=lambda sp, x: sp.sqrt(1 + x) - 1,
    torch=lambda torch, x: (1.0 + x).sqrt() - 1.0,
    samples=[(1.2,), (-0.75,), (3.0,), (20.0,)],
    edges=[(0.0,), (-1.0,), (np.inf,), (np.nan,)],
)
_LOG2 = math.log(2.0)
logcosh = elementwise(
    "logcosh",
    1,
    tame=True,
    doc="`log(cosh(x))`, without overflow and exact near 0.",
    symbol="log cosh",
    slope="tanh(x)",
    vjp=lambda g, y, x: (g * tanh(x),),
    expand=lambda x: _logcosh(_TRACED, x),
    evaluate=lambda x: _logcosh(np, x)[()],
    mp=lambda mp, x: mp.log1p(mp.sinh(x) ** 2) / 2,
    sympy=lambda sp, x: sp.log(sp.cosh(x)),
    torch=lambda torch, x: torch.logaddexp(x, -x) - _LOG2,
    samples=[(1.2,), (-1.2,), (2.0,), (-5.0,)],
    edges=[(0.0,), (40.0,), (-40.0,), (np.nan,)],
)


def _logcosh(m: Any, x: Any) -> Any:
    a = m.abs(x)
    t = x * x
    return m.where(a < 1.0, t * horner("LOGCOSH", t), (a - _LOG2) + m.log1p(m.exp(-2.0 * a)))


log1mexp = elementwise(
    "log1mexp",
    1,
    doc="`log(1 - exp(x))` for `x` below 0, exact near 0 and far from it.",
    symbol="log(1−exp)",
    slope="exp(x)/(exp(x) - 1)",
    vjp=lambda g, y, x: (g * (exp(x) / expm1(x)),),
    # the two halves meet at exp(x) = 1/2; Mächler (2012), "Accurately computing log(1 - exp(-|a|))"
    expand=lambda x: where(x > -_LOG2, log(-expm1(x)), log1p(-exp(x))),
    evaluate=lambda x: np.where(x > -_LOG2, np.log(-np.expm1(x)), np.log1p(-np.exp(x)))[()],
    mp=lambda mp, x: mp.log(-mp.expm1(x)) if x > -1 else mp.log1p(-mp.exp(x)),
    sympy=lambda sp, x: sp.log(1 - sp.exp(x)),
    torch=lambda torch, x: torch.log(-torch.expm1(x)),
    samples=[(-0.3,), (-1.2,), (-2.0,), (-0.05,)],
    edges=[(-np.inf,), (np.nan,)],
)

xlogx = elementwise(
    "xlogx",
    1,
    doc="`x*log(x)`, 0 at 0.",
    symbol="x·log x",
    slope="1 + log(x), 0 at 0",
    vjp=lambda g, y, x: (where(equal(x, 0.0), 0.0, g * (1.0 + log(x))),),
    expand=lambda x: where(equal(x, 0.0), 0.0, x * log(x)),
    evaluate=lambda x: np.where(x == 0.0, 0.0, x * np.log(x))[()],
    mp=lambda mp, x: x * mp.log(x) if x else mp.mpf(0),
    sympy=lambda sp, x: x * sp.log(x),
    torch=lambda torch, x: torch.xlogy(x, x),
    samples=[(1.2,), (0.3,), (5.0,), (1e-3,)],
    edges=[(1.0,), (np.nan,)],
    edge_notes={"x = 0": "0, with slope 0, as `where(x > 0, x*log(x), 0)` has"},
)

# --- f(x)/x, with the limit at 0, and its derivatives ---------------------------------------------------------------
#
# h = f(x)/x keeps its digits, but h' = (f'(x) - h)/x and h'' = (f''(x) - 2h')/x cancel near 0: a series takes over
# there. Each function is written once, over a namespace `m`: ours for traced values, NumPy, mpmath or torch.

_FAR = [(2.5,), (-3.5,), (4.0,), (-6.5,)]  # where torch's composed derivatives keep their digits
_RADIUS = 1.5  # within it the series, beyond it the closed form
_TERMS = 40  # of a Taylor series, before those are dropped that are too small to count


def _sin_series() -> list[Fraction]:
    return [Fraction((1, 0, -1, 0)[k % 4], math.factorial(k + 1)) for k in range(_TERMS)]


def _sinh_series() -> list[Fraction]:
    return [Fraction((1, 0)[k % 2], math.factorial(k + 1)) for k in range(_TERMS)]


def _expm1_series() -> list[Fraction]:
    return [Fraction(1, math.factorial(k + 1)) for k in range(_TERMS)]


def _tanh_series() -> list[Fraction]:
    c = [Fraction(0)]  # of t = tanh(x), from t' = 1 - t*t
    for k in range(_TERMS):
        c.append(((k == 0) - sum(c[i] * c[k - i] for i in range(k + 1))) / Fraction(k + 1))
    return c[1:]


def _sin_slopes(m: Any, x: Any) -> Sequence[Any]:
    return m.cos(x), -m.sin(x)


def _tanh_slopes(m: Any, x: Any) -> Sequence[Any]:
    sech2 = m.sech2(x) if m is _TRACED else (1.0 / m.cosh(x)) ** 2
    return sech2, -2.0 * m.tanh(x) * sech2


def _plainly(slopes: Callable[[Any, Any], Sequence[Any]], function: str) -> Callable[[Any, Any, int], Any]:
    """The order-th derivative of f(x)/x by the recurrence, from the derivatives of f."""

    def closed(m: Any, x: Any, order: int) -> Any:
        h = getattr(m, function)(x) / x
        for n, slope in enumerate(slopes(m, x)[:order], start=1):
            h = (slope - n * 1.0 * h) / x
        return h

    return closed


def _exponentials(m: Any, a: Any, order: int) -> tuple[Any, Any]:
    """For a > 0, the order-th derivative of expm1(x)/x at x = a, without its factor exp(a), and at x = -a."""
    q = p = -m.expm1(-a) / a
    e = m.exp(-a)
    for n in range(1, order + 1):
        q, p = (1.0 - n * 1.0 * q) / a, (n * 1.0 * p - e) / a
    return q, p


def _expm1_closed(m: Any, x: Any, order: int) -> Any:
    q, p = _exponentials(m, m.abs(x), order)
    return m.where(x > 0.0, m.exp(x) * q, p)


def _sinh_closed(m: Any, x: Any, order: int) -> Any:
    a = m.abs(x)
    q, p = _exponentials(m, a, order)
    h = 0.5 * (m.exp(a) * q + (p if order % 2 == 0 else -p))
    return h if order % 2 == 0 else m.where(x > 0.0, h, -h)


@cache
def _coefficients(series: Callable[[], list[Fraction]], order: int, radius: float) -> tuple[tuple[int, float], ...]:
    """Exponents and coefficients of the order-th derivative of a series, as far as they count within `radius`."""
    terms = [(k - order, c * math.perm(k, order)) for k, c in enumerate(series()) if k >= order and c]
    start = abs(float(terms[0][1])) * radius ** terms[0][0]
    return tuple((k, float(c)) for k, c in terms if abs(float(c)) * radius**k > 2e-18 * start)


def _polynomial(x: Any, terms: Sequence[tuple[int, float]]) -> Any:
    """Horner's rule; a step of two between exponents takes x*x."""
    (lowest, _), step = terms[0], terms[1][0] - terms[0][0]
    z = x if step == 1 else x * x
    sum_: Any = terms[-1][1]
    for _, c in reversed(terms[:-1]):
        sum_ = sum_ * z + c
    for _ in range(lowest):
        sum_ = sum_ * x
    return sum_


def _taylor(series: Callable[[], list[Fraction]], m: Any, x: Any, order: int) -> Any:
    return _polynomial(x, _coefficients(series, order, _RADIUS))


def _square_less_root(m: Any, x: Any, name: str) -> Any:
    """`x*x - z*z` for the root `z` of this name, of two parts: exact also beside z and -z."""
    t, z, rest = x * x, *(CONSTANTS[f"{name}_ROOT{part}"][0] for part in ("", "_REST"))
    root = z + rest
    beside = ((x - z) - rest) * ((x + z) + rest)
    return m.where(t < 0.25, t - root * root, beside)  # the slope 2*x of the product cancels near 0


def _sin_near(m: Any, x: Any, order: int) -> Any:
    if order == 1:
        return _taylor(_sin_series, m, x, order)
    return _square_less_root(m, x, "DD_SIN") * horner("DD_SIN", x * x)


def _tanh_near(m: Any, x: Any, order: int) -> Any:
    """The poles of tanh lie beside the real axis: Padé's form, where a power series would end before 1.5."""
    name, t = "D" * order + "_TANH", x * x
    factor = x if order == 1 else _square_less_root(m, x, name)
    return factor * (horner(f"{name}_TOP", t) / horner(f"{name}_BOTTOM", t))


def _ratio(
    name: str,
    series: Callable[[], list[Fraction]],
    closed: Callable[[Any, Any, int], Any],
    slopes: Callable[[Any, Any], Sequence[Any]],
    far: Callable[[Expr, Expr], Expr],
    near: Callable[[Any, Any, int], Any] | None = None,
    radius: float = 0.0,
) -> tuple[Traced, Traced]:
    """The records of f(x)/x and x/f(x); beyond the second, derivatives are found by the expansion of the second.

    `near` replaces the Taylor series, for the second derivative within `radius`. Without it, f grows exponentially, and
    so do all derivatives.
    """
    plain = _plainly(slopes, name)
    inside = near or partial(_taylor, series)
    last = f"({_SLOPES[name]}(x) - 3*dd_{name}_over_x(x))/x"

    def formula(m: Any, x: Any, order: int) -> Any:
        if order == 0:
            return m.where(x == 0.0, 1.0, getattr(m, name)(x) / x)
        within = radius if near and order == 2 else _RADIUS
        return m.where(m.abs(x) < within, inside(m, x, order), closed(m, x, order))

    def exact(mp: Any, x: Any, order: int) -> Any:
        return mp.mpf(1) * _at_zero(series, order) if x == 0 else plain(mp, x, order)

    def third(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
        # where y overflows, so does the third derivative, of which the chain rule would make inf - inf
        return (g * where(equal(absolute(y), math.inf), sign(x) * y, formula(_TRACED, x, 3)),)

    following: Traced | None = None
    made: list[Traced] = []
    for order, prefix in ((2, "dd_"), (1, "d_"), (0, "")):
        derivative = following
        following = elementwise(
            f"{prefix}{name}_over_x",
            1,
            tame=name in ("sin", "tanh"),
            doc=f"`{name}(x)/x`, 1 at 0." if not order else f"Derivative number {order} of `{name}(x)/x`.",
            symbol=f"{name}/x" + "′" * order,
            slope=f"d{prefix or '_'}{name}_over_x(x)" if order < 2 else "" if near else last,
            vjp=(lambda g, y, x, d=derivative: (g * d(x),)) if derivative else None if near else third,
            expand=lambda x, n=order: formula(_TRACED, x, n),
            evaluate=lambda x, n=order: formula(np, np.asarray(x), n)[()],
            mp=lambda mp, x, n=order: exact(mp, x, n),
            sympy=lambda sp, x, n=order: _sympy(sp, name, x, n),
            torch=lambda torch, x, n=order: plain(torch, x, n),
            samples=_FAR,
            edges=[(np.nan,)],
            edge_notes={} if order else {"x = 0": "1, and every derivative is exact there"},
        )
        made.insert(0, following)
    return made[0], _inverse_ratio(name, made[0], far)


_TAILS = {"expm1": 1.0, "sinh": 2.0}  # x/f(x) is this times |x|*exp(-|x|) far away
_SLOPES = {"sin": "cos", "tanh": "sech2", "expm1": "exp", "sinh": "cosh"}


def _inverse_ratio(name: str, h: Traced, far: Callable[[Expr, Expr], Expr]) -> Traced:
    """The record of x/f(x), from h = f(x)/x; `far(y, x)` is its slope far from 0.

    It is no 1/h, which would round twice, and in which h is subnormal for huge x.
    """

    def formula(m: Any, x: Any) -> Any:
        near = x / getattr(m, name)(x)
        if name in _TAILS:  # f overflows where x/f(x) does not vanish yet, and then exp(-|x|) has few digits
            a = m.abs(x)
            half = m.exp(-0.5 * a)
            near = m.where((x if name == "expm1" else a) < 64.0, near, a * half * (_TAILS[name] * half))
        return m.where(x == 0.0, 1.0, near)

    def slope(y: Expr, x: Expr) -> Expr:
        odd = x * horner(f"X_OVER_{name.upper()}", x * x)
        return where(absolute(x) < _RADIUS, odd - 0.5 if name == "expm1" else odd, far(y, x))

    return elementwise(
        f"x_over_{name}",
        1,
        doc=f"`x/{name}(x)`, 1 at 0.",
        symbol=f"x/{name}",
        slope=f"1/{name}(x) - x*{_SLOPES[name]}(x)/{name}(x)^2",
        vjp=lambda g, y, x: (g * slope(y, x),),
        expand=lambda x: formula(_TRACED, x),
        evaluate=lambda x: formula(np, x)[()],
        mp=lambda mp, x: 1 / OPS[h.op.name].mp(mp, x),  # type: ignore[attr-defined,misc,operator]
        sympy=lambda sp, x: x / (sp.exp(x) - 1) if name == "expm1" else x / getattr(sp, name)(x),
        torch=lambda torch, x: (
            x.abs() * (1.0 + 2.0 / torch.expm1(2.0 * x.abs()))  # the slope of torch.tanh cancels
            if name == "tanh"
            else x / getattr(torch, name)(x)
        ),
        samples=_FAR,
        edges=[(np.nan,)],
        edge_notes={"x = 0": "1, and every derivative is exact there"},
    )


def _at_zero(series: Callable[[], list[Fraction]], order: int) -> float:
    return float(series()[order] * math.factorial(order))


def _sympy(sp: Any, name: str, x: Any, order: int) -> Any:
    z = sp.Dummy()
    f = sp.exp(z) - 1 if name == "expm1" else getattr(sp, name)(z)
    return sp.diff(f / z, z, order).subs(z, x)


def _expm1_far(y: Expr, x: Expr) -> Expr:
    return where(x > 0.0, (y - exp(-x)) / expm1(-x), (1.0 - y * exp(x)) / expm1(x))


sin_over_x, x_over_sin = _ratio(
    "sin",
    _sin_series,
    _plainly(_sin_slopes, "sin"),
    _sin_slopes,
    lambda y, x: (1.0 - y * cos(x)) / sin(x),
    _sin_near,
    2.4,
)
tanh_over_x, x_over_tanh = _ratio(
    "tanh",
    _tanh_series,
    _plainly(_tanh_slopes, "tanh"),
    _tanh_slopes,
    lambda y, x: (1.0 - y * sech2(x)) / tanh(x),
    _tanh_near,
    2.25,
)
expm1_over_x, x_over_expm1 = _ratio(
    "expm1", _expm1_series, _expm1_closed, lambda m, x: (m.exp(x), m.exp(x)), _expm1_far
)
sinh_over_x, x_over_sinh = _ratio(
    "sinh",
    _sinh_series,
    _sinh_closed,
    lambda m, x: (m.cosh(x), m.sinh(x)),
    lambda y, x: y / x * (1.0 - x / tanh(x)),
)
