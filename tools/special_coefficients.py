"""Compute the polynomials of the special functions with mpmath: writes compiler/gradsmith/ops/_coefficients.py.

Each table is the Chebyshev interpolant of one smooth function of u in [-1, 1], cut where the rest is below 2^-57 of the
function's least magnitude (2^-29 for float32), as the coefficients of powers of u, the highest first. Run from the
repository's root: `python tools/special_coefficients.py`; it takes about a minute.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp

TARGET = Path(__file__).parents[1] / "compiler/gradsmith/ops/_coefficients.py"
NODES = 64
REST = (mp.mpf(2) ** -57, mp.mpf(2) ** -29)  # of float64, float32
mp.mp.dps = 60


def chebyshev(f: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    """The Chebyshev coefficients of the interpolant of `f` on [-1, 1], and the least magnitude seen."""
    angles = [mp.pi * (2 * k + 1) / (2 * NODES) for k in range(NODES)]
    values = [f(mp.cos(a)) for a in angles]
    found = [2 * mp.fsum(v * mp.cos(n * a) for v, a in zip(values, angles, strict=True)) / NODES for n in range(NODES)]
    found[0] /= 2
    return found, min(abs(v) for v in values)


def monomial(coefficients: list[Any]) -> list[Any]:
    """Chebyshev coefficients to those of powers, the lowest first."""
    before, now = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    total = [mp.mpf(0)] * len(coefficients)
    for n, c in enumerate(coefficients):
        polynomial = before if n == 0 else now
        for k, v in enumerate(polynomial):
            total[k] += c * v
        if n:
            twice = [mp.mpf(0), *(2 * v for v in now)]
            before, now = now, [a - (before[k] if k < len(before) else 0) for k, a in enumerate(twice)]
    return total


def composed(coefficients: list[Any], a: Any, b: Any) -> list[Any]:
    """The coefficients of p(a + b*t), the lowest first, from those of p(u)."""
    total: list[Any] = []
    for c in reversed(coefficients):
        total = [a * low + b * high for low, high in zip([*total, 0], [0, *total], strict=True)]
        total[0] += c
    return total


def fitted(f: Callable[[Any], Any], a: Any = 0, b: Any = 1) -> list[tuple[float, ...]]:
    """The table of `f` for float64 and for float32, of t where u = a + b*t."""
    found, least = chebyshev(f)
    tables = []
    for rest, single in zip(REST, (False, True), strict=True):
        count = NODES
        while mp.fsum(abs(c) for c in found[count - 1 :]) < rest * least:
            count -= 1
        assert count < NODES - 8, "the function is not smooth enough"
        tables.append(tuple(rounded(v, single) for v in reversed(composed(monomial(found[:count]), a, b))))
    return tables


def taylor(coefficient: Callable[[int], Any], largest: float) -> list[tuple[float, ...]]:
    """The table of a power series with positive terms, for arguments up to `largest`."""
    tables = []
    for rest, single in zip(REST, (False, True), strict=True):
        terms = [coefficient(k) for k in range(60)]
        sizes = [t * mp.mpf(largest) ** k for k, t in enumerate(terms)]
        count = next(n for n in range(60) if mp.fsum(sizes[n:]) < rest * mp.fsum(sizes))
        tables.append(tuple(rounded(t, single) for t in reversed(terms[:count])))
    return tables


def rounded(value: Any, single: bool) -> float:
    """`value` as a float64, or as the float64 whose text is the shortest of its float32."""
    return float(shortest(float(value))) if single else float(value)


def shortest(value: float) -> str:
    """The shortest text that reads back as the float32 next to `value`."""
    near = in_single(value)
    return next(t for t in (f"{near:.{d}g}" for d in range(6, 10)) if in_single(float(t)) == near)


def in_single(value: Any) -> float:
    """The float32 next to `value`."""
    (near,) = struct.unpack("f", struct.pack("f", float(value)))
    return float(near)


def parts(value: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """`value` as a number that both widths hold exactly, and its rest: near it, x minus both has one rounding error."""
    first = in_single(value)
    rest = value - mp.mpf(first)
    return (first, first), (rounded(rest, False), rounded(rest, True))


def halves(value: Any, bits: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """`value` as a number of a few bits, which both widths hold exactly, and the rest, rounded to each width."""
    _, exponent = mp.frexp(value)
    unit = mp.mpf(2) ** (exponent - bits)
    head = mp.nint(value / unit) * unit
    rest = value - head
    return (float(head), float(head)), (rounded(rest, False), rounded(rest, True))


def between(low: float, high: float) -> Callable[[Any], Any]:
    """The map from [-1, 1] to [low, high]."""
    return lambda u: (mp.mpf(low) + high) / 2 + u * (mp.mpf(high) - low) / 2


def piece(f: Callable[[Any], Any], low: float, high: float) -> list[tuple[float, ...]]:
    """`f` on [low, high], of u = (2*x - low - high)/(high - low)."""
    at = between(low, high)
    return fitted(lambda u: f(at(u)))


def beside(f: Callable[[Any], Any], low: float, high: float) -> list[tuple[float, ...]]:
    """`f` on [low, high], of x minus the middle: unlike u it has no rounding error."""
    at = between(low, high)
    return fitted(lambda u: f(at(u)), 0, 2 / (mp.mpf(high) - low))


def of_square(f: Callable[[Any], Any], high: float) -> list[tuple[float, ...]]:
    """`f(x)`, even, on [0, high], of u = 2*(x/high)^2 - 1."""
    return fitted(lambda u: f(high * mp.sqrt((1 + u) / 2)))


def plain_square(f: Callable[[Any], Any], high: float) -> list[tuple[float, ...]]:
    """`f(x)`, even, on [0, high], of x*x itself: for a function whose singularities are far away."""
    return fitted(lambda u: f(high * mp.sqrt((1 + u) / 2)), -1, 2 / mp.mpf(high) ** 2)


def pade(coefficients: list[Any], top: int, bottom: int) -> list[list[tuple[float, ...]]]:
    """The tables of both polynomials of the Padé approximant of a power series."""
    both = mp.pade(coefficients[: top + bottom + 1], top, bottom)
    return [[tuple(rounded(c, single) for c in reversed(p)) for single in (False, True)] for p in both]


def tanh_over_x(order: int) -> list[Any]:
    """The coefficients of the even part of the derivative of tanh(x)/x, as powers of x*x."""
    t = [mp.mpf(0)]  # of tanh, from t' = 1 - t*t
    for k in range(300):
        t.append(((k == 0) - mp.fsum(t[i] * t[k - i] for i in range(k + 1))) / (k + 1))
    return [c * mp.ff(2 * k, order) for k, c in enumerate(t[1::2]) if 2 * k >= order]


def of_inverse(f: Callable[[Any], Any], low: float) -> list[tuple[float, ...]]:
    """`f(x)` on [low, inf), of u = 2*low/x - 1."""
    return fitted(lambda u: f(2 * low / (1 + u)))


def of_inverse_square(f: Callable[[Any], Any], low: float) -> list[tuple[float, ...]]:
    """`f(x)` on [low, inf), of u = 2*(low/x)^2 - 1."""
    return fitted(lambda u: f(low * mp.sqrt(2 / (1 + u))))


def erfcx(x: Any) -> Any:
    """exp(x*x)*erfc(x)."""
    return mp.exp(x * x) * mp.erfc(x) if x < 50 else asymptotic_erfcx(x)


def asymptotic_erfcx(x: Any) -> Any:  # DLMF 7.12.1
    """The same for large x."""
    total = term = mp.mpf(1)
    for k in range(1, 80):
        term *= -(2 * k - 1) / (2 * x * x)
        total += term
    return total / (x * mp.sqrt(mp.pi))


def ratio(n: int) -> Callable[[Any], Any]:
    """The n-fold integral of erfc over the (n - 1)-fold."""

    def at(x: Any) -> Any:
        if x < 50:  # DLMF 7.18.7
            with mp.workdps(200):
                before, now = 2 / mp.sqrt(mp.pi), mp.exp(x * x) * mp.erfc(x)
                for k in range(1, n + 1):
                    before, now = now, (before - 2 * x * now) / (2 * k)
                return now / before
        r = mp.mpf(0)  # DLMF 7.18.13
        for k in range(200, n - 1, -1):
            r = 1 / (2 * x + 2 * (k + 1) * r)
        return r

    return at


def erfcinv(q: Any) -> Any:
    """The inverse of erfc."""
    start = mp.sqrt(mp.log(1 / q)) if q < 0.01 else mp.erfinv(1 - q)
    return mp.findroot(lambda y: mp.log(mp.erfc(y)) - mp.log(q), (start * 0.95, start))


def erfcinvslope(t: Any) -> Any:
    """The square of t*q times the slope of erfcinv at q = exp(-t*t)."""
    y = erfcinv(mp.exp(-t * t))
    return mp.pi / 4 * (t * mp.exp(y * y - t * t)) ** 2


def stirling(x: Any) -> Any:
    """The error of Stirling's formula, times x."""
    return x * (mp.loggamma(x) - ((x - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2))


def phase(order: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """P and Q of the Bessel functions (DLMF 10.17.3, exact): J = sqrt(2/(pi*x))*(P*cos - Q*sin), Q without 1/x."""

    def p(x: Any) -> Any:
        c = x - (2 * order + 1) * mp.pi / 4
        return mp.sqrt(mp.pi * x / 2) * (mp.besselj(order, x) * mp.cos(c) + mp.bessely(order, x) * mp.sin(c))

    def q(x: Any) -> Any:
        c = x - (2 * order + 1) * mp.pi / 4
        return x * mp.sqrt(mp.pi * x / 2) * (mp.bessely(order, x) * mp.cos(c) - mp.besselj(order, x) * mp.sin(c))

    return p, q


def over_root(f: Callable[[Any], Any], z: Any) -> Callable[[Any], Any]:
    """`f` without its root `z`."""
    return lambda x: f(x) / (x - z)


def main() -> None:
    """Compute all tables and constants, and write them."""
    tables: dict[str, list[tuple[float, ...]]] = {}
    constants: dict[str, tuple[float, float]] = {}

    def constant(name: str, value: Any) -> None:
        constants[name] = (rounded(mp.mpf(value), False), rounded(mp.mpf(value), True))

    def root(name: str, value: Any) -> None:
        constants[f"{name}_ROOT"], constants[f"{name}_ROOT_REST"] = parts(value)

    def near_and_far(name: str, f: Callable[[Any], Any], low: float = 0.0) -> None:
        """`f` on [low, 2], and x*f(x) beyond."""
        tables[f"{name}_NEAR"] = piece(f, low, 2.0)
        tables[f"{name}_FAR"] = of_inverse(lambda x: x * f(x), 2.0)

    def two(name: str, value: Any, bits: int) -> None:
        constants[f"{name}_A"], constants[f"{name}_B"] = halves(value, bits)

    half, pi = mp.mpf(0.5), mp.pi
    for name, value in {
        "PI": pi, "TWO_OVER_PI": 2 / pi, "LOG_PI": mp.log(pi), "SQRT_PI": mp.sqrt(pi), "SQRT_TWO_PI": mp.sqrt(2 * pi),
        "HALF_SQRT_PI": mp.sqrt(pi) / 2, "ONE_OVER_SQRT_PI": 1 / mp.sqrt(pi), "TWO_OVER_SQRT_PI": 2 / mp.sqrt(pi),
        "SQRT_TWO_OVER_PI": mp.sqrt(2 / pi), "PDF_AT_0": 1 / mp.sqrt(2 * pi), "HALF_LOG_TWO_PI": mp.log(2 * pi) / 2,
        "SQRT_HALF": mp.sqrt(half), "SQRT_2": mp.sqrt(2), "HALF_PI": pi / 2,
        "QUARTER_PI": pi / 4, "LOG2_E": 1 / mp.log(2),
    }.items():  # fmt: skip
        constant(name, value)

    constants["PI_LOSS"] = (rounded(1 - mp.mpf(float(pi)) / pi, False), rounded(1 - in_single(pi) / pi, True))
    constants["HUGE"] = (1e150, 1e18)  # its square does not overflow
    constants["OVERFLOWS_TWICE"] = (2.0**1023, 2.0**127)  # the least number whose double overflows
    constants["LARGEST_GAMMA"] = (171.62437695630271, 35.040096)  # beyond it, the gamma function overflows
    constants["LARGEST_EXP"] = (709.0, 88.0)  # beyond it, exp overflows
    constants["LARGEST_FRACTION"] = (2.0**52, 2.0**23)  # beyond it, all numbers are whole
    constants["SPLIT"] = (2.0**27 + 1, 2.0**12 + 1)  # cuts the digits of a float in half
    constants["HALF_DIGITS"] = (2.0**26, 2.0**12)  # the square of a smaller number is exact to a unit
    head = mp.nint(mp.log(2) * 2**16) / 2**16
    constants["LOG_2_A"] = (float(head), float(head))  # times an exponent it is exact in both widths
    constant("LOG_2_B", mp.log(2) - head)
    # adding and subtracting it leaves 20 or 6 digits behind the point, so that the square of a number below 64 is exact
    constants["AT_SQUARE"] = (1.5 * 2.0**32, 1.5 * 2.0**17)
    tables["EXP_REST"] = [  # (exp(t) - 1)/t where t is what those digits leave: |t| < 4e-5, and < 0.7 in float32
        tuple(rounded(1 / mp.factorial(k), single) for k in range(terms, 0, -1))
        for terms, single in ((3, False), (9, True))
    ]
    near_and_far("ERFCX", erfcx)
    near_and_far("NDTRX", lambda x: erfcx(x / mp.sqrt(2)) / 2)
    near_and_far("MILLSEXCESS", lambda x: mp.sqrt(2) * ratio(1)(x / mp.sqrt(2)))
    near_and_far("ERFC_RATIO_3", ratio(3), -0.25)
    tables["ERFINV"] = of_square(lambda x: mp.erfinv(x) / x, 0.5)
    tables["NDTRI"] = of_square(lambda x: mp.sqrt(2) * mp.erfinv(2 * x) / x, 0.25)
    for number, (low, high) in enumerate([(0.8125, 2.0), (2.0, 4.0), (4.0, 9.0), (9.0, 28.0)]):
        tables[f"ERFCINV_{number}"] = piece(lambda t: (erfcinv(mp.exp(-t * t)) / t) ** 2, low, high)
        tables[f"ERFCINVSLOPE_{number}"] = piece(erfcinvslope, low, high)

    # x^3/(x - tanh(x)) = 3 + x*x*this, whose poles are the roots of tan(y) = y, y = i*x
    tables["TANHSHRINK"] = plain_square(lambda x: (x**3 / (x - mp.tanh(x)) - 3) / (x * x), 1.5)
    tables["LOGCOSH"] = plain_square(lambda x: mp.log(mp.cosh(x)) / (x * x), 1.0)
    # the derivatives of tanh(x)/x, the second without its roots: meromorphic, for which Padé's form is right
    first, second = tanh_over_x(1), tanh_over_x(2)
    tables["D_TANH_TOP"], tables["D_TANH_BOTTOM"] = pade(first, 5, 7)
    z = mp.findroot(lambda x: mp.polyval(second[::-1], x * x), 0.92)
    root("DD_TANH", z)
    quotient: list[Any] = []  # of the series by x*x - z*z
    for c in second:
        quotient.append(((quotient[-1] if quotient else 0) - c) / (z * z))
    tables["DD_TANH_TOP"], tables["DD_TANH_BOTTOM"] = pade(quotient, 8, 9)
    # the second derivative of sin(x)/x without its first roots
    z = mp.findroot(lambda x: mp.diff(mp.sinc, x, 2), 2.08)
    root("DD_SIN", z)
    tables["DD_SIN"] = plain_square(
        lambda x: ((2 / (x * x) - 1) * mp.sin(x) / x - 2 * mp.cos(x) / (x * x)) / (x * x - z * z), 3.0
    )
    # the slopes of x/f(x), over x; that of x/expm1(x) less -1/2, which makes it odd
    for name, slope in {
        "SIN": lambda x: (1 - x * mp.cot(x)) / mp.sin(x),
        "TANH": lambda x: mp.coth(x) - x * mp.csch(x) ** 2,
        "EXPM1": lambda x: (mp.coth(x / 2) - x / 2 * mp.csch(x / 2) ** 2) / 2,
        "SINH": lambda x: (1 - x * mp.coth(x)) / mp.sinh(x),
    }.items():
        tables[f"X_OVER_{name}"] = plain_square(lambda x, slope=slope: slope(x) / x, 1.5)

    z = mp.findroot(mp.digamma, 1.46)
    root("DIGAMMA", z)
    tables["DIGAMMA"] = piece(over_root(mp.digamma, z), 1.0, 2.0)
    tables["DIGAMMA_FAR"] = of_inverse_square(lambda x: x * x * (mp.log(x) - mp.digamma(x) - 1 / (2 * x)), 2.0)
    tables["LGAMMA_1"] = piece(lambda x: mp.loggamma(x) / ((x - 1) * (x - 2)), 1.0, 2.0)
    tables["LGAMMA_2"] = piece(lambda x: mp.loggamma(x) / (x - 2), 2.0, 4.0)
    tables["LGAMMA_4"] = piece(lambda x: mp.loggamma(x) / (x - 2), 4.0, 8.0)
    two("E", mp.e, 12)
    two("GAMMA_SCALE", mp.sqrt(2 * pi / mp.e), 22)
    two("GAMMA_MIDDLE", mp.gamma(mp.mpf(3) / 2), 22)
    tables["GAMMA"] = fitted(lambda u: (mp.gamma((u + 3) / 2) - mp.gamma(mp.mpf(3) / 2)) / u)
    tables["STIRLING"] = of_inverse_square(stirling, 2.0)
    tables["GAMMA_RECIPROCAL"] = piece(lambda x: (1 / mp.gamma(1 + x) - 1) / x, -0.5, 1.0)
    # p*log(q) - log(gamma(p + q)/gamma(q)) is, but for smaller terms, p*h times this function of h = p/q
    tables["BETA_EXCESS"] = piece(lambda h: ((1 + h) * mp.log1p(h) - h) / (h * h), -0.25, 1.0)

    def bessel(name: str, f: Callable[[Any], Any], near: float, low: float, high: float) -> None:
        z = mp.findroot(f, near)
        root(name, z)
        tables[name] = beside(over_root(f, z), low, high)

    j0, j1 = (lambda x: mp.besselj(0, x)), (lambda x: mp.besselj(1, x))
    y0, y1 = (lambda x: mp.bessely(0, x)), (lambda x: mp.bessely(1, x))
    tables["J0_START"] = of_square(lambda x: (1 - j0(x)) / (x * x), mp.sqrt(2))
    bessel("J0_0", j0, 2.4, 1.375, 3.75)
    bessel("J0_1", j0, 5.5, 3.75, 7.0)
    bessel("J0_2", j0, 8.65, 7.0, 10.0)
    tables["J1_START"] = of_square(lambda x: j1(x) / x, 2.0)
    bessel("J1_1", j1, 3.83, 2.0, 5.5)
    bessel("J1_2", j1, 7.01, 5.5, 8.5)
    tables["Y0_START"] = of_square(lambda x: y0(x) - 2 / pi * mp.log(x) * j0(x), 2.5)
    bessel("Y0_0", y0, 0.89, 0.625, 1.5)
    bessel("Y0_1", y0, 3.95, 2.5, 5.5)
    bessel("Y0_2", y0, 7.08, 5.5, 8.5)
    tables["Y1_START"] = of_square(lambda x: (y1(x) + 2 / (pi * x) - 2 / pi * mp.log(x) * j1(x)) / x, 1.5)
    bessel("Y1_0", y1, 2.197, 1.5, 4.0)
    bessel("Y1_1", y1, 5.43, 4.0, 7.0)
    bessel("Y1_2", y1, 8.59, 7.0, 10.0)
    for order in (0, 1):
        p, q = phase(order)
        tables[f"BESSEL_P{order}"] = of_inverse_square(lambda x, p=p: x * x * (p(x) - 1), 8.0)
        tables[f"BESSEL_Q{order}"] = of_inverse_square(q, 8.0)
        tables[f"I{order}_NEAR"] = taylor(lambda k, n=order: 1 / (mp.factorial(k) * mp.factorial(k + n)), 1.0)
        tables[f"I{order}E_MIDDLE"] = beside(lambda x, n=order: mp.exp(-x) * mp.besseli(n, x), 2.0, 8.0)
        tables[f"I{order}E_FAR"] = of_inverse(lambda x, n=order: 64 * x * (mp.exp(-x) * mp.besseli(n, x)) ** 2, 8.0)
    write(tables, constants)


def write(tables: dict[str, list[tuple[float, ...]]], constants: dict[str, tuple[float, float]]) -> None:
    """The module with all of them."""
    lines = [
        '"""Polynomials and constants of the special functions, for float64 and float32.',
        "",
        "Written by tools/special_coefficients.py, which says what each of them is: do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        '__all__ = ["CONSTANTS", "TABLES"]',
        "",
        "# fmt: off",
        "CONSTANTS: Mapping[str, tuple[float, float]] = {",
        *(f"    {name!r}: ({wide!r}, {narrow!r})," for name, (wide, narrow) in constants.items()),
        "}",
        "TABLES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {",
    ]
    for name, widths in tables.items():
        lines.append(f"    {name!r}: (")
        for values in widths:
            lines.append("        (")
            row = "           "
            for text in (f" {v!r}," for v in values):
                if len(row + text) > 118:
                    lines.append(row)
                    row = "           "
                row += text
            lines += [row, "        ),"]
        lines.append("    ),")
    lines += ["}", ""]
    TARGET.write_text("\n".join(lines).replace("'", '"'))
    for name, (wide, narrow) in tables.items():
        print(f"{name}: {len(wide)} and {len(narrow)} coefficients")


if __name__ == "__main__":
    main()
