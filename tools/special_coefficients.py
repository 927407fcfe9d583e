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


def fitted(f: Callable[[Any], Any]) -> list[tuple[float, ...]]:
    """The table of `f` for float64 and for float32."""
    found, least = chebyshev(f)
    tables = []
    for rest, single in zip(REST, (False, True), strict=True):
        count = NODES
        while mp.fsum(abs(c) for c in found[count - 1 :]) < rest * least:
            count -= 1
        assert count < NODES - 8, "the function is not smooth enough"
        tables.append(tuple(rounded(v, single) for v in reversed(monomial(found[:count]))))
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
    (near,) = struct.unpack("f", struct.pack("f", value))
    return next(
        t for t in (f"{near:.{d}g}" for d in range(6, 10)) if struct.unpack("f", struct.pack("f", float(t)))[0] == near
    )


def parts(value: Any) -> list[float]:
    """`value` as a sum of three numbers of 22 bits each, which both widths hold exactly, and so its rest to 66 bits."""
    found = []
    for _ in range(3):
        _, exponent = mp.frexp(value)
        unit = mp.mpf(2) ** (exponent - 22)
        found.append(float(mp.nint(value / unit) * unit))
        value -= mp.mpf(found[-1])
    return found


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


def of_square(f: Callable[[Any], Any], high: float) -> list[tuple[float, ...]]:
    """`f(x)`, even, on [0, high], of u = 2*(x/high)^2 - 1."""
    return fitted(lambda u: f(high * mp.sqrt((1 + u) / 2)))


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


def ratio(x: Any) -> Any:
    """The integral of erfc from x to infinity, over erfc(x)."""
    if x < 50:
        with mp.workdps(200):
            return mp.exp(-x * x) / (mp.sqrt(mp.pi) * mp.erfc(x)) - x
    r = mp.mpf(0)  # DLMF 7.9.1
    for k in range(200, 0, -1):
        r = 1 / (2 * x + 2 * (k + 1) * r)
    return r


def erfcinv(q: Any) -> Any:
    """The inverse of erfc."""
    start = mp.sqrt(mp.log(1 / q)) if q < 0.01 else mp.erfinv(1 - q)
    return mp.findroot(lambda y: mp.log(mp.erfc(y)) - mp.log(q), (start * 0.95, start))


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
        constant(f"{name}_ROOT", value)
        for letter, part in zip("ABC", parts(value), strict=True):
            constants[f"{name}_ROOT_{letter}"] = (part, part)

    def two(name: str, value: Any, bits: int) -> None:
        constants[f"{name}_A"], constants[f"{name}_B"] = halves(value, bits)

    half, pi = mp.mpf(0.5), mp.pi
    for name, value in {
        "PI": pi, "TWO_OVER_PI": 2 / pi, "LOG_PI": mp.log(pi), "SQRT_PI": mp.sqrt(pi), "SQRT_TWO_PI": mp.sqrt(2 * pi),
        "HALF_SQRT_PI": mp.sqrt(pi) / 2, "ONE_OVER_SQRT_PI": 1 / mp.sqrt(pi), "TWO_OVER_SQRT_PI": 2 / mp.sqrt(pi),
        "SQRT_TWO_OVER_PI": mp.sqrt(2 / pi), "PDF_AT_0": 1 / mp.sqrt(2 * pi), "HALF_LOG_TWO_PI": mp.log(2 * pi) / 2,
        "SQRT_HALF": mp.sqrt(half), "SQRT_2": mp.sqrt(2), "EXP_8": mp.exp(8),
    }.items():  # fmt: skip
        constant(name, value)

    constants["HUGE"] = (1e150, 1e18)  # its square does not overflow
    constants["LARGEST_GAMMA"] = (171.62437695630271, 35.040096)  # beyond it, the gamma function overflows
    constants["LARGEST_FRACTION"] = (2.0**52, 2.0**23)  # beyond it, all numbers are whole
    constants["SPLIT"] = (2.0**27 + 1, 2.0**12 + 1)  # cuts the digits of a float in half
    constants["HALF_DIGITS"] = (2.0**26, 2.0**12)  # the square of a smaller number is exact to a unit
    # erfcx on [0, inf): (1 + 2*x)*erfcx(x), of u = (x - 2)/(x + 2) (Shepherd and Laframboise 1981 for the form)
    tables["ERFCX"] = fitted(lambda u: (1 + 4 * (1 + u) / (1 - u)) * erfcx(2 * (1 + u) / (1 - u)))
    # i1erfc/erfc, the ratio to erfc of its integral from x to inf, in the same form
    tables["ERFC_RATIO"] = fitted(lambda u: (1 + 4 * (1 + u) / (1 - u)) * ratio(2 * (1 + u) / (1 - u)))
    tables["ERFINV"] = of_square(lambda x: mp.erfinv(x) / x, 0.5)
    for number, (low, high) in enumerate([(0.8125, 2.0), (2.0, 4.0), (4.0, 9.0), (9.0, 28.0)]):
        tables[f"ERFCINV_{number}"] = piece(lambda t: erfcinv(mp.exp(-t * t)) / t, low, high)

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
        tables[name] = piece(over_root(f, z), low, high)

    j0, j1 = (lambda x: mp.besselj(0, x)), (lambda x: mp.besselj(1, x))
    y0, y1 = (lambda x: mp.bessely(0, x)), (lambda x: mp.bessely(1, x))
    z = mp.findroot(j0, 2.4)
    root("J0_0", z)
    tables["J0_START"] = of_square(lambda x: (1 - j0(x)) / (x * x), 1.0)
    tables["J0_0"] = of_square(lambda x: j0(x) / (x * x - z * z), 4.0)
    bessel("J0_1", j0, 5.5, 4.0, 7.0)
    bessel("J0_2", j0, 8.65, 7.0, 10.0)
    tables["J1_0"] = of_square(lambda x: j1(x) / x, 2.5)
    bessel("J1_1", j1, 3.83, 2.5, 5.5)
    bessel("J1_2", j1, 7.01, 5.5, 8.5)
    for name, y, j, near, high in (("Y0_0", y0, j0, 0.89, 2.5), ("Y1_0", y1, j1, 2.197, 4.0)):
        z = mp.findroot(y, near)
        root(name, z)
        constant(f"{name}_LOG_ROOT", mp.log(z))
        scale = (lambda x: x) if name == "Y1_0" else (lambda x: 1)
        tables[name] = of_square(
            lambda x, z=z, y=y, j=j, scale=scale: (
                scale(x) * (y(x) - 2 / mp.pi * mp.log(x / z) * j(x)) / (x * x - z * z)
            ),
            high,
        )
    bessel("Y0_1", y0, 3.95, 2.5, 5.5)
    bessel("Y0_2", y0, 7.08, 5.5, 8.5)
    bessel("Y1_1", y1, 5.43, 4.0, 7.0)
    bessel("Y1_2", y1, 8.59, 7.0, 10.0)
    for order in (0, 1):
        p, q = phase(order)
        tables[f"BESSEL_P{order}"] = of_inverse_square(p, 8.0)
        tables[f"BESSEL_Q{order}"] = of_inverse_square(q, 8.0)
        tables[f"I{order}_NEAR"] = taylor(lambda k, n=order: 1 / (mp.factorial(k) * mp.factorial(k + n)), 16.0)
        tables[f"I{order}_FAR"] = of_inverse(lambda x, n=order: mp.sqrt(x) * mp.exp(-x) * mp.besseli(n, x), 8.0)
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
