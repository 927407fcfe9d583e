"""Compute the polynomials of the vector kernels with mpmath: writes compiler/gradsmith/ops/_vector_coefficients.py.

Each polynomial is the minimax one (Remez's exchange) of a smooth function on an interval, with a weight that says what
an error of the polynomial does to the kernel's result, relatively; its degree is the least that keeps this below a
bound: a few parts in a hundred of the last place, or a few tenths for the kernels of 4 ULP. Two tails are quotients of
polynomials instead, of the least relative error. Run from the repository's root:
`python tools/vector_coefficients.py`; it takes about a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

TARGET = Path(__file__).parents[1] / "compiler/gradsmith/ops/_vector_coefficients.py"
GRID = 300
mp.mp.dps = 55
Function = Callable[[Any], Any]


def solved(f: Function, weight: Function, nodes: list[Any], degree: int) -> list[Any]:
    """The coefficients whose weighted errors at the nodes are equal and alternate, and that error."""
    rows = [[x**k for k in range(degree + 1)] + [(-1) ** i / weight(x)] for i, x in enumerate(nodes)]
    return list(mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in nodes])))


def remez(f: Function, weight: Function, low: Any, high: Any, degree: int) -> tuple[list[Any], Any]:
    """The minimax polynomial's coefficients, the lowest first, and its greatest weighted error."""
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / GRID) for k in range(GRID + 1)]
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    count = degree + 2
    nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf(1) / 2) / count) for k in range(count)]
    for _ in range(12):
        *coefficients, level = solved(f, weight, nodes, degree)
        errors = [w * (mp.polyval(coefficients[::-1], x) - v) for x, v, w in zip(grid, values, weights, strict=True)]
        runs = extremes(errors)
        while len(runs) > count:
            del runs[0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1]
        worst = max(map(abs, errors))
        if len(runs) < count or worst < abs(level) * 1.01:
            break
        nodes = [grid[i] for i in runs]
    return coefficients, worst


def fitted(f: Function, weight: Function, low: Any, high: Any, bound: int) -> list[Any]:
    """The minimax polynomial of the least degree whose weighted error is below 2^-bound, the highest power first."""
    for degree in range(2, 26):
        coefficients, worst = remez(f, weight, mp.mpf(low), mp.mpf(high), degree)
        if worst < mp.mpf(2) ** -bound:
            return coefficients[::-1]
    raise AssertionError("no polynomial of a reasonable degree")


def quotient(f: Function, half: Any, high: Any, degree: int) -> tuple[list[Any], list[Any], Any]:
    """Numerator (of `degree`) and denominator (of one more) nearest to `f` on [0, high], and the relative error.

    Errors are looked for where `(a - half)/(a + half)` is spread as Chebyshev's points are.
    """
    top = (high - half) / (high + half)
    count = 2 * degree + 3
    middle, reach = (top - 1) / 2, (top + 1) / 2
    arguments = [middle - reach * mp.cos(mp.pi * k / (GRID * 2)) for k in range(GRID * 2 + 1)]
    grid = [half * (1 + v) / (1 - v) for v in arguments]
    values = [f(a) for a in grid]
    places = [round(k * GRID * 2 / (count - 1)) for k in range(count)]
    level = mp.mpf(0)
    for _ in range(25):
        for _ in range(6):  # the error stands beside the denominator: solved with the one before
            rows = []
            for i, at in enumerate(places):
                a, wanted = grid[at], values[at] * (1 + (-1) ** i * level)
                powers = [a**k for k in range(degree + 2)]
                rows.append([*powers[:-1], *(-wanted * p for p in powers[1:]), -((-1) ** i) * values[at]])
            *coefficients, level = mp.lu_solve(mp.matrix(rows), mp.matrix([values[at] for at in places]))
        above, below = coefficients[: degree + 1], [mp.mpf(1), *coefficients[degree + 1 :]]
        errors = [
            mp.polyval(above[::-1], a) / mp.polyval(below[::-1], a) / v - 1 for a, v in zip(grid, values, strict=True)
        ]
        worst = max(map(abs, errors))
        runs = extremes(errors)
        while len(runs) > count:
            del runs[0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1]
        if len(runs) < count or worst < abs(level) * 1.02:
            break
        places = runs
    return above[::-1], below[::-1], worst


def extremes(errors: list[Any]) -> list[int]:
    """Of each run of errors of one sign, the place of the greatest."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (e > 0) == (errors[runs[-1]] > 0):
            runs[-1] = max(runs[-1], i, key=lambda j: abs(errors[j]))
        else:
            runs.append(i)
    return runs


def near_zero(f: Function, limit: Function, zero: int = 0) -> Function:
    """`f`, a quotient that cancels near `zero`, computed with more digits; `limit` at `zero` itself."""

    def at(x: Any) -> Any:
        if x == zero:
            return limit(x)
        with mp.workdps(140):
            return f(x)

    return at


def _log_ratio(s: Any) -> Any:
    return mp.log((1 + s) / (1 - s)) / s


HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0001")
S_MOST = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.0001")
QUARTER = (mp.pi / 4) ** 2 * mp.mpf("1.001")
EIGHTH = mp.tan(mp.pi / 8) ** 2 * mp.mpf("1.0001")
TINY = mp.mpf(10) ** -25
SINE = near_zero(lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda z: -mp.mpf(1) / 6)
#: name -> (function, weight, low, high of float64, high of float32, bound of float64, of float32, what it is).
FITS: dict[str, tuple[Function, Function, Any, Any, Any, int, int, str]] = {
    "EXP": (
        near_zero(lambda r: (mp.expm1(r) - r - r * r / 2) / r**3, lambda r: mp.mpf(1) / 6),
        lambda r: r * r + TINY, -HALF_LN2, HALF_LN2, HALF_LN2, 59, 29, "(exp(r) - 1 - r - r^2/2)/r^3",
    ),
    "LOG": (
        near_zero(lambda z: (_log_ratio(mp.sqrt(z)) - 2) / z, lambda z: mp.mpf(2) / 3),
        lambda z: z / 2 + TINY, 0, S_MOST, S_MOST, 59, 29, "(log((1 + s)/(1 - s))/s - 2)/z of z = s^2",
    ),
    "LOG_TAIL": (
        near_zero(lambda z: ((_log_ratio(mp.sqrt(z)) - 2) / z - mp.mpf(2) / 3) / z, lambda z: mp.mpf(2) / 5),
        lambda z: z * z / 2 + TINY, 0, S_MOST, S_MOST, 69, 38, "(LOG(z) - 2/3)/z",
    ),
    "SIN": (
        SINE,
        lambda z: z + TINY, 0, QUARTER, QUARTER, 58, 29, "(sin(r)/r - 1)/z of z = r^2",
    ),
    "COS": (
        near_zero(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, lambda z: mp.mpf(1) / 24),
        lambda z: z * z * mp.mpf("1.4") + TINY, 0, QUARTER, QUARTER, 59, 29, "(cos(r) - 1 + z/2)/z^2 of z = r^2",
    ),
    "ATAN": (
        near_zero(lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda z: -mp.mpf(1) / 3),
        lambda z: z * mp.mpf("1.06") + TINY, 0, EIGHTH, EIGHTH, 59, 29, "(atan(q)/q - 1)/z of z = q^2",
    ),
    "ASIN": (
        near_zero(lambda z: (mp.asin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda z: mp.mpf(1) / 6),
        lambda z: z + TINY, 0, mp.mpf("0.2501"), mp.mpf("0.2501"), 59, 29, "(asin(r)/r - 1)/z of z = r^2",
    ),
    "ERF_NEAR": (
        near_zero(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, lambda z: 2 / mp.sqrt(mp.pi) - 1),
        lambda z: mp.mpf(1), 0, mp.mpf("0.5625"), mp.mpf("0.5625"), 58, 29, "erf(x)/x - 1 of z = x^2, |x| < 3/4",
    ),
    "ERF_FAR": (
        near_zero(lambda t: mp.log(mp.erfc(0.75 + t) / mp.erfc(0.75)) / t, lambda t: -1 / _mills(mp.mpf(0.75))),
        lambda t: t * mp.erfc(0.75 + t) + TINY, 0, mp.mpf("5.25"), mp.mpf("3.25"), 58, 29,
        "(log(erfc(3/4 + t)) - log(erfc(3/4)))/t",
    ),
    "ERFC": (
        near_zero(
            lambda v: (2 * _tail(v, 3, mp.sqrt(2)) - 1) / ((1 + v) / 2) + mp.mpf(1) / 2,
            lambda v: 3 * (1 - 2 / mp.sqrt(mp.pi)) + mp.mpf(1) / 2, -1,
        ),
        lambda v: (1 + v) / (4 * _tail(v, 3, mp.sqrt(2))) + TINY, -1, (mp.mpf(28) - 3) / 31, (mp.mpf(11) - 3) / 14,
        58, 29, "((1 + a)*exp(a^2)*erfc(a) - 1)/w + 1/2 of v = 2*w - 1, w = a/(a + 3), a >= 0",
    ),
    "NDTR": (
        near_zero(lambda v: (_tail(v, 4) - mp.mpf("0.5")) / ((1 + v) / 2), lambda v: 2 - 4 / mp.sqrt(2 * mp.pi), -1),
        lambda v: (1 + v) / (2 * _tail(v, 4)) + TINY, -1, (mp.mpf(39) - 4) / 43, (mp.mpf(15) - 4) / 19, 58, 29,
        "((1 + a)*exp(a^2/2)*ndtr(-a) - 1/2)/w of v = 2*w - 1, w = a/(a + 4), a >= 0",
    ),
    "EXP_FAST": (
        near_zero(lambda r: (mp.expm1(r) - r) / r**2, lambda r: mp.mpf(1) / 2),
        lambda r: abs(r) * mp.mpf("1.2") + TINY, -HALF_LN2, HALF_LN2, HALF_LN2, 55, 25, "(exp(r) - 1 - r)/r^2",
    ),
    "SIN_FAST": (
        SINE,
        lambda z: z + TINY, 0, QUARTER, QUARTER, 55, 26, "(sin(r)/r - 1)/z of z = r^2",
    ),
    "ERF_FAST": (
        near_zero(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, lambda z: 2 / mp.sqrt(mp.pi) - 1),
        lambda z: mp.mpf(1), 0, mp.mpf("0.2501"), mp.mpf("0.2501"), 55, 26, "erf(x)/x - 1 of z = x^2, |x| < 1/2",
    ),
}  # fmt: skip
#: a of float64 and float32 up to where exp(-a^2) is 0 in the kernels of 4 ULP; the bounds
TAIL_MOST, TAIL_BOUNDS = (mp.mpf("26.64"), mp.mpf("9.39")), (55, 28)


def _mills(a: Any) -> Any:
    """erfc(a) over its negative slope."""
    return mp.erfc(a) * mp.exp(a * a) * mp.sqrt(mp.pi) / 2


def _tail(v: Any, c: int, unit: Any = 1) -> Any:
    """(1 + a)*exp(b^2/2)*ndtr(-b) for b = a*unit, smooth also at infinity."""
    a = c * (1 + v) / (1 - v)
    b = a * unit
    return (1 + a) * mp.exp(b * b / 2) * mp.erfc(b / mp.sqrt(2)) / 2


def balanced(
    f: Function, above: list[Any], below: list[Any], high: Any, single: bool
) -> tuple[list[float], list[float]]:
    """The coefficients rounded, all times one number, that for which the quotient is nearest to `f` then."""
    grid = [high * (mp.mpf(k) / 60) ** 2 for k in range(61)]
    values = [f(a) for a in grid]
    best: tuple[Any, list[float], list[float]] = (mp.inf, [], [])
    for k in range(400):
        times = mp.mpf(2) ** (mp.mpf(k) / 400)
        top, bottom = ([rounded(c * times, single) for c in part] for part in (above, below))
        worst = max(abs(mp.polyval(top, a) / mp.polyval(bottom, a) / v - 1) for a, v in zip(grid, values, strict=True))
        best = min(best, (worst, top, bottom), key=lambda found: found[0])
    return best[1:]


def tails() -> dict[str, tuple[list[float], list[float]]]:
    """exp(a^2)*erfc(a) and exp(a^2/2)*ndtr(-a) as quotients: numerators (P) and denominators (Q)."""
    found: dict[str, tuple[list[float], list[float]]] = {f"{n}_{k}": ([], []) for n in ("ERFC", "NDTR") for k in "PQ"}
    for width, (high, bound) in enumerate(zip(TAIL_MOST, TAIL_BOUNDS, strict=True)):
        for degree in range(2, 14):
            above, below, worst = quotient(lambda a: mp.erfc(a) * mp.exp(a * a), mp.mpf(1), high, degree)
            if worst < mp.mpf(2) ** -bound:
                break
        print("tails", "float32" if width else "float64", "degrees", degree, degree + 1)
        for name, unit in (("ERFC", mp.mpf(1)), ("NDTR", mp.sqrt(2))):
            part = 1 if name == "ERFC" else mp.mpf(1) / 2
            scaled = (
                [c * part / unit ** (degree - i) for i, c in enumerate(above)],
                [c / unit ** (degree + 1 - i) for i, c in enumerate(below)],
            )
            scale = lambda a, unit=unit, part=part: part * mp.erfc(a / unit) * mp.exp((a / unit) ** 2)
            for key, coefficients in zip("PQ", balanced(scale, *scaled, high * unit, bool(width)), strict=True):
                found[f"{name}_{key}"][width][:] = coefficients
    return found


def split(value: Any, *bits: int) -> list[Any]:
    """`value` as parts of so many bits, and the rest."""
    parts = []
    for b in bits:
        unit = mp.mpf(2) ** (mp.floor(mp.log(abs(value), 2)) + 1 - b)
        part = mp.floor(value / unit) * unit
        parts.append(part)
        value -= part
    return [*parts, value]


def rounded(value: Any, single: bool) -> float:
    """`value` as a float64, or as the float64 whose text is the shortest of its float32."""
    return float(str(np.float32(float(value)))) if single else float(value)


def main() -> None:
    """Write the file."""
    constants: dict[str, tuple[Any, Any]] = {
        "LOG2_E": (1 / mp.log(2),) * 2,
        "LN2": (mp.log(2),) * 2,
        "PER_LN10": (1 / mp.log(10),) * 2,
        "SQRT_HALF": (mp.sqrt(mp.mpf(1) / 2),) * 2,
        "PDF_AT_0": (1 / mp.sqrt(2 * mp.pi),) * 2,
        "TWO_OVER_PI": (2 / mp.pi,) * 2,
    }
    for name, value, wide, narrow in (
        ("LN2", mp.log(2), (42,), (16,)),  # times a whole number of 11 bits (float32: 8), exactly
        ("ERF_LOG", mp.log(mp.erfc(0.75)), (53,), (24,)),
        ("TWO_THIRDS", mp.mpf(2) / 3, (53,), (24,)),
        ("HALF_PI", mp.pi / 2, (33, 33, 33), (11, 11, 11)),  # times one of 20 bits (13)
        ("WIDE_HALF_PI", mp.pi / 2, (53, 33), (24, 12)),  # the second times one of 20 bits (12)
        ("QUARTER_PI", mp.pi / 4, (50,), (21,)),  # times one of 3 bits
        ("LN_2", mp.log(2), (53,), (24,)),
        ("PER_LN2", 1 / mp.log(2), (53,), (24,)),
        ("PER_LN10", 1 / mp.log(10), (53,), (24,)),
    ):
        for k, parts in enumerate(zip(split(value, *wide), split(value, *narrow), strict=True)):
            constants[f"{name}_{'ABCD'[k]}"] = parts
    lines = [
        '"""Polynomials and constants of the vector kernels, both widths; made by tools/vector_coefficients.py."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        "#: name -> its values for float64 and float32",
        "CONSTANTS: Mapping[str, tuple[float, float]] = {",
        *(f'    "{n}": ({rounded(w, False)!r}, {rounded(s, True)!r}),' for n, (w, s) in constants.items()),
        "}",
        "",
        "#: name -> the coefficients for float64 and float32, the highest power first",
        "TABLES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {",
    ]
    for name, (f, weight, low, high, narrow_high, bound, narrow_bound, what) in FITS.items():
        lines += [f"    # {what}", f'    "{name}": (']
        for single, top, least in ((False, high, bound), (True, narrow_high, narrow_bound)):
            found = [rounded(c, single) for c in fitted(f, weight, low, top, least)]
            print(name, "float32" if single else "float64", "degree", len(found) - 1)
            lines += ["        (", *(f"            {c!r}," for c in found), "        ),"]
        lines.append("    ),")
    for name, both in tails().items():
        scale = "exp(a^2)*erfc(a)" if name.startswith("ERFC") else "exp(a^2/2)*ndtr(-a)"
        lines += [f"    # {scale}: the {'numerator' if name.endswith('P') else 'denominator'}", f'    "{name}": (']
        for coefficients in both:
            lines += ["        (", *(f"            {c!r}," for c in coefficients), "        ),"]
        lines.append("    ),")
    TARGET.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
