"""Bessel functions of order 0 and 1: j0 j1 y0 y1 of the first and second kind, and the modified i0 i1 i0e i1e."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._declare import Traced, elementwise
from ._portable import call_cells, define
from .arithmetic import sign
from .selection import equal, where

__all__ = ["besseli_over", "besselj_over", "i0", "i0e", "i0e_derivative", "i1", "i1e", "j0", "j1", "y0", "y1"]


def _beside(name: str, center: float, x: str = "x") -> str:
    """The text of a function on an interval around one of its roots, relative to the root."""
    return f"({x} - {name}_ROOT - {name}_ROOT_REST) * poly({name}, {x} - {center})"


define(f'''
    def j0(x):
        """The Bessel function J of order 0"""
        a = abs(x)
        return (j0_near(a) if a < 3.75 else {_beside("J0_1", 5.375, "a")} if a < 7.0
            else {_beside("J0_2", 8.5, "a")} if a < 10.0 else j0_far(a))

    def j0_near(x):
        """J0 for 0 <= x < 3.75"""
        return 1.0 - x * x * poly(J0_START, x * x - 1.0) if x < 1.375 else {_beside("J0_0", 2.5625)}

    def j1(x):
        """The Bessel function J of order 1"""
        return j1_right(x) if x >= 0.0 else -j1_right(-x)

    def j1_right(x):
        """J1 for x >= 0"""
        return (j1_near(x) if x < 2.0 else {_beside("J1_1", 3.75)} if x < 5.5
            else {_beside("J1_2", 7.0)} if x < 8.5 else j1_far(x))

    def j1_near(x):
        """J1 for 0 <= x < 2"""
        return x * poly(J1_START, 0.5 * x * x - 1.0)

    def y0(x):
        """The Bessel function Y of order 0"""
        return (y0_near(x) if x < 2.5 else {_beside("Y0_1", 4.0)} if x < 5.5
            else {_beside("Y0_2", 7.0)} if x < 8.5 else y0_far(x))

    def y0_near(x):
        """Y0 for x < 2.5: around its first root relative to that, elsewhere a logarithm times J0, and a polynomial"""
        return ({_beside("Y0_0", 1.0625)} if x > 0.625 and x < 1.5
            else log(x) * j0_near(x) / HALF_PI + poly(Y0_START, 0.32 * x * x - 1.0) if x > 0.0
            else -inf if x == 0.0 else x * nan)

    def y1(x):
        """The Bessel function Y of order 1"""
        return (y1_near(x) if x < 1.5 else {_beside("Y1_0", 2.75)} if x < 4.0 else {_beside("Y1_1", 5.5)} if x < 7.0
            else {_beside("Y1_2", 8.5)} if x < 10.0 else y1_far(x))

    def y1_near(x):
        """Y1 for x < 1.5: its pole, a logarithm times J1, and a polynomial"""
        return (log(x) * j1_near(x) / HALF_PI + x * poly(Y1_START, x * x / 1.125 - 1.0) - TWO_OVER_PI / x
            if x > 0.0 else -inf if x == 0.0 else x * nan)

    def hankel(s, c, p, q, x):
        """Hankel's expansion (DLMF 10.17.3) with exact amplitudes, for s, c = sin(x), cos(x) or their opposites:
        (s + c)*(1 + p/x^2) + (s - c)*q/x over sqrt(pi*x). The rounding error of a large s + c is added back"""
        near = s * c < -0.4 and x < OVERFLOWS_TWICE
        lead = cos(2.0 * x) / (c - s) if near else s + c
        part = lead - s
        rest = lead * 0.0 if near else (s - (lead - part)) + (c - part)
        return 0.5 * (lead + (rest + (lead * p / x + (s - c) * q) / x)) / sqrt(QUARTER_PI * x)

    def j0_far(x):
        """J0 for x >= 10"""
        u = 128.0 / (x * x) - 1.0
        return 0.0 if x == inf else hankel(sin(x), cos(x), poly(BESSEL_P0, u), -poly(BESSEL_Q0, u), x)

    def y0_far(x):
        """Y0 for x >= 8.5"""
        u = 128.0 / (x * x) - 1.0
        return 0.0 if x == inf else hankel(sin(x), -cos(x), poly(BESSEL_P0, u), poly(BESSEL_Q0, u), x)

    def j1_far(x):
        """J1 for x >= 8.5"""
        u = 128.0 / (x * x) - 1.0
        return 0.0 if x == inf else hankel(sin(x), -cos(x), poly(BESSEL_P1, u), poly(BESSEL_Q1, u), x)

    def y1_far(x):
        """Y1 for x >= 10"""
        u = 128.0 / (x * x) - 1.0
        return 0.0 if x == inf else hankel(-sin(x), -cos(x), poly(BESSEL_P1, u), -poly(BESSEL_Q1, u), x)

    def besselj_over(n, x):
        """J of order n over x**n, n >= 1"""
        a = abs(x)
        return (bessel_series(n, a, -1.0) if a * a < 4.0 * n + 4.0 and n > 1.0 or a < 1.0
            else bessel_upwards(n, a, j0(a), j1(a), 1.0) if a < inf else 0.0 if a == inf else x)

    def besseli_over(n, x):
        """I of order n over x**n, n >= 1"""
        a = abs(x)
        return (bessel_series(n, a, 1.0) if a < 2.0 * n + 4.0 and a < 24.0
            else bessel_upwards(n, a, i0(a), i1(a), -1.0) if i0(a) < inf else a * inf)

    def bessel_series(n, x, sign):
        """J (sign = -1) or I (sign = 1) of order n over x**n by its power series (DLMF 10.2.2, 10.25.2)"""
        h = 0.5 * x
        k = 44.0
        total = 1.0
        for _ in range(44):
            total = 1.0 + sign * h * (h * total / (k * (n + k)))
            k = k - 1.0
        k = 0.0
        for _ in range(n):
            k = k + 1.0
            total = total / (2.0 * k) if k <= n else total
        return total

    def bessel_upwards(n, x, before, now, sign):
        """J (sign = 1) or I (sign = -1) of order n over x**n from orders 0 and 1 (DLMF 10.6.1, 10.29.1)"""
        k = 1.0
        now = now / x
        for _ in range(n):
            after = sign * (2.0 * k * now - before) / x / x if k < n else now
            before = now
            now = after
            k = k + 1.0
        return now

    def i0e(x):
        """exp(-|x|)*I0(x)"""
        a = abs(x)
        return exp(-a) * poly(I0_NEAR, 0.25 * a * a) if a < 2.0 else i0e_right(a)

    def i0e_right(a):
        """exp(-a)*I0(a) for a >= 2"""
        return poly(I0E_MIDDLE, a - 5.0) if a < 8.0 else 0.125 * sqrt(poly(I0E_FAR, 16.0 / a - 1.0) / a)

    def i1e(x):
        """exp(-|x|)*I1(x)"""
        a = abs(x)
        return 0.5 * x * exp(-a) * poly(I1_NEAR, 0.25 * a * a) if a < 2.0 else copysign(i1e_right(a), x)

    def i1e_right(a):
        """exp(-a)*I1(a) for a >= 2"""
        return poly(I1E_MIDDLE, a - 5.0) if a < 8.0 else 0.125 * sqrt(poly(I1E_FAR, 16.0 / a - 1.0) / a)

    def exp_times(a, y):
        """exp(a)*y for a >= 0, inf only where that is"""
        return exp(a) * y if a < LARGEST_EXP else exp(0.5 * a) * y * exp(0.5 * a) if a < 716.0 else a * inf

    def i0(x):
        """The modified Bessel function I of order 0: below 2 its power series"""
        a = abs(x)
        return poly(I0_NEAR, 0.25 * a * a) if a < 2.0 else exp_times(a, i0e_right(a))

    def i1(x):
        """The modified Bessel function I of order 1, likewise"""
        a = abs(x)
        return 0.5 * x * poly(I1_NEAR, 0.25 * a * a) if a < 2.0 else copysign(exp_times(a, i1e_right(a)), x)

    def i0e_derivative(n, x):
        """The n-th derivative of exp(-a)*I0(a) at a = |x|"""
        a = abs(x)
        return (i0e_derivative_near(n, a) if a < 3.0 else i0e_derivative_far(n, a) if a < OVERFLOWS_TWICE
            else 0.0 if a >= OVERFLOWS_TWICE else x)

    def i0e_derivative_near(n, a):
        """exp(-a)*I0(a) = M(1/2, 1, -2*a); derivatives and Kummer's transformation (DLMF 13.3.15, 13.2.39)"""
        k = 36.0
        total = 1.0
        for _ in range(36):
            total = 1.0 + (2.0 * k - 1.0) * a * total / ((n + k) * k)
            k = k - 1.0
        k = 0.0
        for _ in range(n):
            k = k + 1.0
            total = total * (1.0 - 2.0 * k) / k if k <= n else total
        return exp(-2.0 * a) * total

    def i0e_derivative_far(n, a):
        """The same for a >= 3 as i0e times the ratio (1 - 2*k)/(k + r(k)) of each derivative to that before, k = 1..n:
        r(k - 1) = 2*a - 2*a*(k - 1/2)/(k + r(k)) by a*y'' + (1 + 2*a)*y' + y = 0, whose minimal solution y is"""
        k = n + 90.0
        r = 2.0 * a
        product = i0e(a)
        for _ in range(90):
            r = 2.0 * a - 2.0 * a * ((k - 0.5) / (k + r))
            k = k - 1.0
        for _ in range(n):
            product = product * (1.0 - 2.0 * k) / (k + r) if k > 0.0 else product
            r = 2.0 * a - 2.0 * a * ((k - 0.5) / (k + r)) if k > 0.0 else r
            k = k - 1.0
        return product
''')

_REAL = [(0.3,), (-1.2,), (2.0,), (-0.05,), (6.5,), (25.0,)]
_RIGHT = [(0.3,), (1.2,), (2.0,), (0.05,), (6.5,), (25.0,)]
_EDGES = [(0.0,), (-0.0,), (1e-300,), (1e-9,)]
_ORDERS = [(1.0, 0.3), (2.0, -1.2), (1.0, 5.0), (3.0, 20.0), (2.0, 40.0)]
_ROOTS = {"x near a root": "beyond the third root, the error is relative to the amplitude sqrt(2/(pi*x))"}

j0: Traced = elementwise(
    "j0",
    1,
    tame=True,
    doc="Bessel function of the first kind of order 0.",
    symbol="J₀",
    slope="-j1(x)",
    vjp=lambda g, y, x: (-(g * j1(x)),),
    **call_cells("j0"),
    mp=lambda mp, x: mp.besselj(0, x),
    sympy=lambda sp, x: sp.besselj(0, x),
    torch=lambda torch, x: _torch_j0(torch, x),
    samples=_REAL,
    edges=_EDGES,
    edge_notes=_ROOTS,
)
j1: Traced = elementwise(
    "j1",
    1,
    tame=True,
    doc="Bessel function of the first kind of order 1.",
    symbol="J₁",
    slope="j0(x) - j1(x)/x",
    vjp=lambda g, y, x: (g * (j0(x) - besselj_over(1.0, x)),),
    **call_cells("j1"),
    mp=lambda mp, x: mp.besselj(1, x),
    sympy=lambda sp, x: sp.besselj(1, x),
    torch=lambda torch, x: _torch_j1(torch, x),
    samples=_REAL,
    edges=_EDGES,
    edge_notes=_ROOTS,
)
besselj_over: Traced = elementwise(
    "besselj_over",
    2,
    doc="`J_n(x)/x**n`, finite at 0: what derivatives of `j1` are made of, for n = 1, 2, ....",
    symbol="Jₙ/xⁿ",
    slope="none, and -x*besselj_over(n + 1, x)",
    operands="n x",
    vjp=lambda g, y, n, x: (None, -(g * (x * besselj_over(n + 1.0, x)))),
    **call_cells("besselj_over", 2),
    mp=lambda mp, n, x: mp.besselj(n, x) / x**n if x else 1 / (2**n * mp.factorial(n)),
    sympy=lambda sp, n, x: sp.besselj(n, x) / x**n,
    torch=lambda torch, n, x: _torch_over(torch, n, x, _torch_j0(torch, x), _torch_j1(torch, x), 1.0),
    samples=_ORDERS,
    edges=[(1.0, 0.0), (2.0, 0.0), (1.0, np.nan)],
)
y0: Traced = elementwise(
    "y0",
    1,
    doc="Bessel function of the second kind of order 0; -inf at 0, NaN below.",
    symbol="Y₀",
    slope="-y1(x)",
    vjp=lambda g, y, x: (-(g * y1(x)),),
    **call_cells("y0"),
    mp=lambda mp, x: mp.bessely(0, x),
    sympy=lambda sp, x: sp.bessely(0, x),
    torch=lambda torch, x: _torch_y0(torch, x),
    samples=_RIGHT,
    edges=[(1e-9,), (-1.0,), (np.nan,)],
    edge_notes=_ROOTS,
)
y1: Traced = elementwise(
    "y1",
    1,
    doc="Bessel function of the second kind of order 1; -inf at 0, NaN below.",
    symbol="Y₁",
    slope="y0(x) - y1(x)/x",
    vjp=lambda g, y, x: (g * where(equal(x, 0.0), np.inf, y0(x) - y / x),),
    **call_cells("y1"),
    mp=lambda mp, x: _mp_y1(mp, x),
    sympy=lambda sp, x: sp.bessely(1, x),
    torch=lambda torch, x: _torch_y1(torch, x),
    samples=_RIGHT,
    edges=[(1e-9,), (-1.0,), (np.nan,)],
    edge_notes=_ROOTS,
)
i0 = elementwise(
    "i0",
    1,
    doc="Modified Bessel function of the first kind of order 0.",
    symbol="I₀",
    slope="i1(x)",
    vjp=lambda g, y, x: (g * i1(x),),
    **call_cells("i0"),
    mp=lambda mp, x: mp.besseli(0, x),
    sympy=lambda sp, x: sp.besseli(0, x),
    torch=lambda torch, x: torch.special.i0(x),
    samples=_REAL,
    edges=[*_EDGES, (700.0,), (-800.0,)],
)
i1: Traced = elementwise(
    "i1",
    1,
    doc="Modified Bessel function of the first kind of order 1.",
    symbol="I₁",
    slope="i0(x) - i1(x)/x, computed as i1(x)/x + x^2*(i2(x)/x^2)",
    vjp=lambda g, y, x: (g * (besseli_over(1.0, x) + x * x * besseli_over(2.0, x)),),  # inf - inf for large x
    **call_cells("i1"),
    mp=lambda mp, x: mp.besseli(1, x),
    sympy=lambda sp, x: sp.besseli(1, x),
    torch=lambda torch, x: torch.special.i1(x),
    samples=_REAL,
    edges=[*_EDGES, (700.0,), (-800.0,)],
)
besseli_over: Traced = elementwise(
    "besseli_over",
    2,
    doc="`I_n(x)/x**n`, finite at 0: what derivatives of `i1` are made of, for n = 1, 2, ....",
    symbol="Iₙ/xⁿ",
    slope="none, and x*besseli_over(n + 1, x)",
    operands="n x",
    vjp=lambda g, y, n, x: (None, g * (x * besseli_over(n + 1.0, x))),
    **call_cells("besseli_over", 2),
    mp=lambda mp, n, x: mp.besseli(n, x) / x**n if x else 1 / (2**n * mp.factorial(n)),
    sympy=lambda sp, n, x: sp.besseli(n, x) / x**n,
    torch=lambda torch, n, x: _torch_over(torch, n, x, torch.special.i0(x), torch.special.i1(x), -1.0),
    samples=_ORDERS,
    edges=[(1.0, 0.0), (2.0, 0.0), (1.0, np.nan)],
)
i0e = elementwise(
    "i0e",
    1,
    tame=True,
    doc="`exp(-|x|)*i0(x)`, without overflow.",
    symbol="e⁻ˣI₀",
    slope="i1e(x) - sign(x)*i0e(x), without the cancellation",
    vjp=lambda g, y, x: (g * (sign(x) * i0e_derivative(1.0, x)),),
    **call_cells("i0e"),
    mp=lambda mp, x: mp.exp(-abs(x)) * mp.besseli(0, x),
    sympy=lambda sp, x: sp.exp(-sp.Abs(x)) * sp.besseli(0, x),
    torch=lambda torch, x: torch.special.i0e(x),
    samples=_REAL,
    edges=[(1e-300,), (1e-9,), (1e9,), (-800.0,)],
    edge_notes={"x = 0": "slope 0, as torch"},
)
i1e = elementwise(
    "i1e",
    1,
    tame=True,
    doc="`exp(-|x|)*i1(x)`, without overflow.",
    symbol="e⁻ˣI₁",
    slope="i0e(x) - i1e(x)*(sign(x) + 1/x), without the cancellation",
    vjp=lambda g, y, x: (g * (i0e_derivative(2.0, x) + i0e_derivative(1.0, x)),),
    **call_cells("i1e"),
    mp=lambda mp, x: mp.exp(-abs(x)) * mp.besseli(1, x),
    sympy=lambda sp, x: sp.exp(-sp.Abs(x)) * sp.besseli(1, x),
    torch=lambda torch, x: torch.special.i1e(x),
    samples=_REAL,
    edges=[*_EDGES, (1e9,), (-800.0,)],
)
i0e_derivative: Traced = elementwise(
    "i0e_derivative",
    2,
    tame=True,
    doc="The n-th derivative of `i0e` at |x|.",
    symbol="(e⁻ˣI₀)⁽ⁿ⁾",
    slope="none, and sign(x)*i0e_derivative(n + 1, x)",
    operands="n x",
    vjp=lambda g, y, n, x: (None, g * (sign(x) * i0e_derivative(n + 1.0, x))),
    **call_cells("i0e_derivative", 2),
    mp=lambda mp, n, x: (-2) ** int(n) * mp.rf(0.5, n) / mp.factorial(n) * mp.hyp1f1(n + 0.5, n + 1, -2 * abs(x)),
    sympy=lambda sp, n, x: (
        (-2) ** n * sp.rf(sp.S.Half, n) / sp.factorial(n) * sp.hyper([n + 0.5], [n + 1], -2 * sp.Abs(x))
    ),
    torch=lambda torch, n, x: _torch_i0e_derivative(torch, n, x),
    samples=_ORDERS,
    edges=[(2.0, np.nan), (1.0, 1e9)],
)


def _mp_y1(mp: Any, x: Any) -> Any:
    """From the others by their Wronskian (DLMF 10.5.2): mpmath's own Y of order 1 takes a hundred times longer."""
    with mp.extraprec(60):
        y = (mp.besselj(1, x) * mp.bessely(0, x) - 2 / (mp.pi * x)) / mp.besselj(0, x)
    return +y


def _differentiable(torch: Any, value: Callable[[Any], Any], slope: Callable[[Any], Any], x: Any) -> Any:
    """`value(x)`, a function of torch that it cannot differentiate; `slope(x)` is made of functions that it can."""

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return value(x)

    def backward(ctx: Any, g: Any) -> Any:
        return g * slope(*ctx.saved_tensors)

    rule = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Rule", (torch.autograd.Function,), rule).apply(x)  # type: ignore[attr-defined]


def _torch_j0(torch: Any, x: Any) -> Any:
    return _differentiable(torch, torch.special.bessel_j0, lambda x: -_torch_j1(torch, x), x)


def _torch_j1(torch: Any, x: Any) -> Any:
    return _differentiable(torch, torch.special.bessel_j1, lambda x: _torch_j0(torch, x) - _torch_j1(torch, x) / x, x)


def _torch_y0(torch: Any, x: Any) -> Any:
    return _differentiable(torch, torch.special.bessel_y0, lambda x: -_torch_y1(torch, x), x)


def _torch_y1(torch: Any, x: Any) -> Any:
    return _differentiable(torch, torch.special.bessel_y1, lambda x: _torch_y0(torch, x) - _torch_y1(torch, x) / x, x)


def _torch_over(torch: Any, n: Any, x: Any, before: Any, now: Any, turn: float) -> Any:
    """J_n(x)/x**n or I_n(x)/x**n from orders 0 and 1 by recurrence."""
    now = now / x
    for k in range(1, int(n)):
        before, now = now, turn * (2 * k * now - before) / x / x
    return now


def _torch_i0e_derivative(torch: Any, n: Any, x: Any) -> Any:
    """By the differential equation x*y'' + (1 + 2*x)*y' + y = 0 of y = exp(-x)*I0(x), differentiated."""
    a = torch.abs(x)
    before = torch.special.i0e(a)
    now = torch.special.i1e(a) - before
    for k in range(1, int(n)):
        before, now = now, -((k + 2 * a) * now + (2 * k - 1) * before) / a
    return now
