"""Vector kernels: elementary functions as C that a compiler vectorises inside the loop which it inlines them into.

In: the texts of `_vector_exponentials` and its kin. Out: `simd(name)`, the fields of an op record that make C loops
call the kernel of that name, in both widths. Guarantee: no branches, tables or calls; the bits of results do not depend
on the sign of a rounding mode nor on contraction beyond the last place; an error below one unit in the last place where
the record says no other.

What a text may use besides C: `@real` and `@uint` (double and uint64_t, or float and uint32_t), `@poly NAME t -> p;`
for a polynomial of `_vector_coefficients`, {NAME} for a constant of it or of `_FORMATS`, and double's literals,
functions and macros, which become float's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ..registry import NEAR
from ._vector_angles import PIECES as ANGLES
from ._vector_coefficients import CONSTANTS, TABLES
from ._vector_exponentials import PIECES as EXPONENTIALS
from ._vector_fast import PIECES as FAST
from ._vector_logarithms import PIECES as LOGARITHMS
from ._vector_normals import PIECES as NORMALS

__all__ = ["simd"]

#: What IEEE's formats have for constants.
_FORMATS: Mapping[str, tuple[str, str]] = {
    "REAL": ("double", "float"),
    "UINT": ("uint64_t", "uint32_t"),
    "BITS": ("52", "23"),  # of a mantissa, as stored
    "BIAS": ("1023", "127"),
    "TWICE_BIAS": ("2046", "254"),
    "MAGIC": ("6755399441055744.0", "12582912.0f"),  # added to a number, it leaves the nearest integer in the low bits
    "BIASED_MAGIC": ("6755399441056767.0", "12583039.0f"),  # leaves it there, and BIAS more
    "RAISED_MAGIC": ("6755399441057790.0", "12583166.0f"),  # leaves it there, and 2*BIAS more
    "WHOLE": ("4503599627370496.0", "8388608.0f"),  # the least number above which all are integers
    "WHOLE_BITS": ("0x4330000000000000u", "0x4b000000u"),
    "MANTISSA": ("0x000fffffffffffffu", "0x007fffffu"),
    "UPPER": ("0xfffffffff8000000u", "0xfffff000u"),  # half of the mantissa
    "SQRT_HALF_BITS": ("0x3fe6a09e667f3bcdu", "0x3f3504f3u"),
    "ONE_LESS_SQRT_HALF": ("0x00095f619980c433u", "0x004afb0du"),
    "NORMAL": ("2.2250738585072014e-308", "1.17549435e-38f"),
    "TWO_54": ("18014398509481984.0", "33554432.0f"),  # 2^54, 2^25
    "EXPONENT_54": ("54.0", "25.0f"),
    "EXP_MOST": ("746.0", "104.0f"),
    "EXP_LEAST": ("-708.5", "-87.4f"),  # where k is the least exponent of a normal number
    "GAUSSIAN_MOST": ("26.629", "9.383"),  # where the exponent of exp(-a*a) is one less, and so are the next ones'
    "NDTR_MOST": ("37.659", "13.269"),
    "TANH_MOST": ("354.55", "44.015"),
    "SIGMOID_MOST": ("709.1", "88.03"),
    "EXP_HIGH": ("710.0", "89.0f"),
    "EXPM1_LOW": ("-40.0", "-18.0f"),
    "EXPM1_MOST": ("60.0", "30.0f"),
    "COSH_HIGH": ("711.0", "90.0f"),
    "TANH_HIGH": ("374.0", "53.0f"),
    "ERF_HIGH": ("6.0", "4.0f"),
    "ERFC_HIGH": ("28.0", "11.0f"),  # where exp(-x*x) is 0, and 2^k still a product of two numbers
    "NDTR_HIGH": ("39.0", "15.0f"),
    "EXP2_HIGH": ("1024.0", "128.0f"),
    "EXP2_LEAST": ("-1022.0", "-126.0f"),
    "EXP2_MOST": ("1100.0", "160.0f"),
    "POW_LOW": ("-760.0", "-120.0f"),
    "POW_HIGH": ("720.0", "100.0f"),
    "TRIG_LIMIT": ("1048576.0", "4096.0f"),  # 2^20, 2^12
    "TRIG_LIMIT_BITS": ("0x4130000000000000u", "0x45800000u"),
    "SIGN_LESS_1": ("62", "30"),
    "ATAN_HIGH": ("1.0e30", "1.0e15"),  # from where on atan is pi/2
    # where quotients n/d have to be of other numbers, for exact products
    "RATIO_LOW": ("2.5822498780869086e+120", "1073741824.0"),  # 2^400, 2^30
    "RATIO_RAISE": ("3.273390607896142e+150", "1.152921504606847e+18"),  # 2^500, 2^60
    "RATIO_HIGH": ("8.452712498170644e+270", "1.2676506002282294e+30"),  # 2^900, 2^100
    "RATIO_REDUCE": ("7.888609052210118e-31", "9.5367431640625e-07"),  # 2^-100, 2^-20
    "SQUARE_LOW": ("3.8725919148493183e-121", "9.313225746154785e-10"),  # 2^-400, 2^-30
    "SQUARE_RAISE": ("5.260135901548374e+210", "1.2379400392853803e+27"),  # 2^700, 2^90
    "SQUARE_HIGH": ("3.273390607896142e+150", "1.152921504606847e+18"),  # 2^500, 2^60
    "SQUARE_REDUCE": ("1.90109156629516e-211", "8.470329472543003e-22"),  # 2^-700, 2^-70
    "LONE": (
        "268435456.0",
        "8192.0",
    ),  # 2^28, 2^13: beyond, sqrt(x*x + 1) is x but for less than rounding does to log(x)
}
_BASE = """\
#include <stdint.h>
#ifndef GS_INLINE
/* Functions for loops: without branches, tables and calls, so that compilers vectorise the loops around them. */
#if defined(__GNUC__) && !defined(__TINYC__)
#define GS_INLINE inline __attribute__((always_inline, unused))
#else
#define GS_INLINE inline
#endif
#if defined(FP_FAST_FMA) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define GS_FUSED 1
#define GS_FMA(a, b, c) fma(a, b, c)
#define GS_FMAF(a, b, c) fmaf(a, b, c)
#else
#define GS_FUSED 0
#define GS_FMA(a, b, c) ((a) * (b) + (c))
#define GS_FMAF(a, b, c) ((a) * (b) + (c))
#endif
#endif"""
#: before the declarations of vector functions of other libraries: glibc's, some of which came with 2.35, and those that
#: libsleefgnuabi has under the names that GCC gives them
_ELSEWHERE: Mapping[str, str] = {
    "libmvec": """\
/* Functions of which glibc has vector forms, under names of our own: GCC makes one call of a sin and a cos, of which
 * there are none. */
#ifndef GS_LIBMVEC
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define GS_LIBMVEC(real, name, parameters, arguments) \\
    real gs_l##name parameters __asm__(#name) __attribute__((simd("notinbranch"), const, nothrow));
#endif
#endif
#ifndef GS_LIBMVEC
#define GS_LIBMVEC(real, name, parameters, arguments) \\
    static GS_INLINE real gs_l##name parameters { return name arguments; }
#endif
#endif""",
    "sleef": """\
/* Functions of which libsleefgnuabi has vector forms, under names of our own: GCC makes one call of a sin and a cos, of
 * which there are none. */
#ifndef GS_SLEEF
#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define GS_SLEEF(real, name, parameters, arguments) \\
    real gs_s##name parameters __asm__(#name) __attribute__((simd("notinbranch"), const, nothrow));
#else
#define GS_SLEEF(real, name, parameters, arguments) \\
    static GS_INLINE real gs_s##name parameters { return name arguments; }
#endif
#endif""",
}
#: piece -> the pieces it calls, and its text
_PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
    **EXPONENTIALS, **LOGARITHMS, **ANGLES, **NORMALS, **FAST,
}  # fmt: skip
_SPLIT = 6  # coefficients from which on a polynomial is evaluated in two chains ...
_SPLIT_AGAIN = 12  # ... and in four
_POLY = re.compile(r"^( *)@poly (\w+) (\w+) -> (\w+);$", re.MULTILINE)
_CONSTANT = re.compile(r"\{([A-Z][A-Z_0-9]*)\}")
_LITERAL = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.])")
_FLOATS = re.compile(r"\b(fabs|copysign|fma|sqrt|GS_FMA|HUGE_VAL)\b")


def _polynomial(coefficients: Sequence[float], t: str, p: str) -> list[str]:
    """Statements that evaluate a polynomial: in one chain, or in two or four side by side where there are many."""
    chains = 1 if len(coefficients) < _SPLIT else 2 if len(coefficients) < _SPLIT_AGAIN else 4
    powers = {1: t, 2: f"{p}2", 4: f"{p}4"}
    lines = [f"const @real {powers[2 * n]} = {powers[n]} * {powers[n]};" for n in (1, 2) if n < chains]
    parts = [p] if chains == 1 else [f"{p}_{k}" for k in range(chains)]
    for k, part in enumerate(parts):  # t^k, t^(k + chains), ...
        first, *rest = coefficients[::-1][k::chains][::-1]
        lines.append(f"@real {part} = {first!r};")
        lines += [f"{part} = GS_FMA({part}, {powers[chains]}, {c!r});" for c in rest]
    while len(parts) > 1:
        half = len(parts) // 2
        sums = [p] if half == 1 else [f"{p}_{k}{k + half}" for k in range(half)]
        pairs = zip(sums, parts[half:], parts[:half], strict=True)
        lines += [f"const @real {name} = GS_FMA({high}, {powers[half]}, {low});" for name, high, low in pairs]
        parts = sums
    return lines


def _written(text: str, single: bool) -> str:
    """A piece in one width."""

    def polynomial(m: re.Match[str]) -> str:
        return "\n".join(m[1] + line for line in _polynomial(TABLES[m[2]][single], m[3], m[4]))

    def constant(m: re.Match[str]) -> str:
        return _FORMATS[m[1]][single] if m[1] in _FORMATS else repr(CONSTANTS[m[1]][single])

    text = _CONSTANT.sub(constant, _POLY.sub(polynomial, text).replace("{BIAS}.0", f"{_FORMATS['BIAS'][single]}.0"))
    text = text.replace("@real", "{REAL}").replace("@uint", "{UINT}").replace("@f", "f" if single else "")
    if single:
        text = _LITERAL.sub(lambda m: m[0] + "f", text)
        text = _FLOATS.sub(lambda m: m[0] + ("f" if m[0].islower() else "F"), text)
    return _CONSTANT.sub(constant, text)


def _needed(name: str) -> Iterator[str]:
    """The pieces of a kernel, each behind those it calls."""
    calls, _ = _PIECES[name]
    for called in calls:
        yield from _needed(called)
    yield name


@cache
def _texts(name: str, single: bool) -> tuple[str, ...]:
    return (_BASE, *(_once(piece, single) for piece in dict.fromkeys(_needed(name))))


def _once(piece: str, single: bool) -> str:
    """A piece between guards, so that several generated files may be compiled as one."""
    guard = f"GS_V{piece.upper()}{'F' if single else ''}"
    return f"#ifndef {guard}\n#define {guard}\n{_written(_PIECES[piece][1], single)}\n#endif"


class _Kernel(Mapping[str, tuple[str, ...]]):
    """The support texts of the kernel `name`, written when they are asked for."""

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self._singles = {key: False, f"{key}.float32": True}

    def __getitem__(self, key: str) -> tuple[str, ...]:
        return _texts(self.name, self._singles[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._singles)

    def __len__(self) -> int:
        return len(self._singles)


class _Both(Mapping[str, Any]):
    """Two tables that have no key in common."""

    def __init__(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        self._first, self._second = first, second

    def __getitem__(self, key: str) -> Any:
        return self._first[key] if key in self._first else self._second[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._first, *self._second))

    def __len__(self) -> int:
        return len(self._first) + len(self._second)


def _declared(name: str, arity: int) -> Mapping[str, tuple[str, ...]]:
    """Declarations that tell GCC of the vector functions of glibc, and of SLEEF."""
    arguments = "xyz"[:arity]
    texts = {}
    for library, head in _ELSEWHERE.items():
        for key, end, real in ((f"c.{library}", "", "double"), (f"c.{library}.float32", "f", "float")):
            parameters = ", ".join(f"{real} {a}" for a in arguments)
            declared = f"GS_{library.upper()}({real}, {name}{end}, ({parameters}), ({', '.join(arguments)}))"
            guard = f"GS_{library.upper()}_{name.upper()}{end.upper()}"  # as several files may be compiled as one
            texts[key] = (_BASE, head, f"#ifndef {guard}\n#define {guard}\n{declared}\n#endif")
    return texts


def simd(
    name: str,
    fields: Mapping[str, Any] | None = None,
    *,
    arity: int = 1,
    libmvec: bool = False,
    near: bool = False,
) -> dict[str, Any]:
    """`fields` of an op record, and the cells and the support of the kernel `name` for loops in C, of both accuracies.

    `libmvec`: whether glibc has a vector function of that name, too, as SLEEF then has. `near`: whether the kernel has
    a limited range and tells of arguments beyond it.
    """
    operands = ", ".join(f"{{{i}}}" for i in range(arity))
    cells: dict[str, str] = {}
    support: Mapping[str, Any] = {}
    for tier, kernel in (("simd", name), ("fast", f"{name}_fast")):
        if kernel in _PIECES:
            key = f"c.{tier}.{NEAR}" if near else f"c.{tier}"
            cells[key] = f"gs_v{kernel}({operands}, &gs_far)" if near else f"gs_v{kernel}({operands})"
            if near:
                cells[f"{key}.float32"] = f"gs_v{kernel}f({operands}, &gs_farf)"
            support = _Both(support, _Kernel(kernel, key))
    if libmvec:
        cells |= {f"c.{library}": f"gs_{library[0]}{name}({operands})" for library in ("libmvec", "sleef")}
        support = _Both(support, _declared(name, arity))
    found = dict(fields or {})
    found["cells"] = {**found.get("cells", {}), **cells}
    found["support"] = _Both(found.get("support", {}), support)
    return found
