"""Errors of the vector kernels: float32 at every argument against double, float64 against mpmath.

    python benchmarks/vector_accuracy.py              # all 2^32 arguments of each function: half an hour on one core
    python benchmarks/vector_accuracy.py 251 exp log  # every 251st argument, of these functions
    python benchmarks/vector_accuracy.py 1 exp_fast   # the kernel of simd="fast"

glibc's functions of vectors of doubles are the reference for float32 (the C library's, where there are none): their
errors, up to 4 ULP of a double, are 2^-27 of what is measured. The kernels run inside loops, as in generated code,
compiled for this CPU and for the compiler's baseline (without fused multiplication and addition, mostly). Exits with 1
if an error is 1 ULP or more (see `LIMIT`; 4 for the fast ones, where subnormal results may be 0), or an edge case is
wrong.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from gradsmith.registry import lookup
from gradsmith_runtime.build import DEFAULT_FLAGS, VECTOR_FLAGS, find_compiler

#: op -> the C expression of its exact value in double, and mpmath's.
ONE: dict[str, tuple[str, Any]] = {
    "exp": ("gs_lexp(x)", mpmath.exp),
    "expm1": ("gs_lexpm1(x)", mpmath.expm1),
    "log": ("gs_llog(x)", mpmath.log),
    "log1p": ("gs_llog1p(x)", mpmath.log1p),
    "exp2": ("gs_lexp2(x)", lambda x: mpmath.mpf(2) ** x),
    "log2": ("gs_llog2(x)", lambda x: mpmath.log(x, 2)),
    "log10": ("gs_llog10(x)", mpmath.log10),
    "sin": ("gs_lsin(x)", mpmath.sin),
    "cos": ("gs_lcos(x)", mpmath.cos),
    "tanh": ("gs_ltanh(x)", mpmath.tanh),
    "sigmoid": ("(x < 0 ? gs_lexp(x) : 1)/(1 + gs_lexp(-fabs(x)))", lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": ("gs_lerf(x)", mpmath.erf),
    "erfc": ("gs_lerfc(x)", lambda x: mpmath.mpf(0) if x > 40 else mpmath.erfc(x)),  # mpmath overflows
    "sinh": ("gs_lsinh(x)", mpmath.sinh),
    "cosh": ("gs_lcosh(x)", mpmath.cosh),
    "tan": ("gs_ltan(x)", mpmath.tan),
    "asin": ("gs_lasin(x)", mpmath.asin),
    "acos": ("gs_lacos(x)", mpmath.acos),
    "atan": ("gs_latan(x)", mpmath.atan),
    "asinh": ("gs_lasinh(x)", mpmath.asinh),
    "acosh": ("gs_lacosh(x)", mpmath.acosh),
    "atanh": ("gs_latanh(x)", mpmath.atanh),
    "gaussian": ("gs_lexp(-x*x)", lambda x: mpmath.exp(-x * x)),
    "npdf": ("0.3989422804014327*gs_lexp(-0.5*x*x)", mpmath.npdf),
    "ndtr": ("0.5*gs_lerfc(-0.7071067811865476*x)", lambda x: mpmath.mpf(0) if x < -60 else mpmath.ncdf(x)),
}
LEAST = {"f": (1.1754943508222875e-38, 2.0**-125.5), "": (sys.float_info.min, 2.0**-1021.5)}
#: of the kernels of simd="fast": exact values, where the logarithm takes less than the least normal number for 0
FAST: dict[str, tuple[str, Any]] = {
    f"{name}_fast": ONE[name]
    for name in (
        *("exp", "expm1", "exp2", "log1p", "sin", "cos", "tanh"),
        *("sigmoid", "erf", "erfc", "ndtr", "npdf", "gaussian"),
    )
} | {
    f"{name}_fast": (
        f"gs_l{name}(x >= 0 && x < {LEAST['f'][0]!r} ? 0 : x)",
        lambda x, exact=ONE[name][1]: exact(0 if 0 <= x < LEAST[""][0] else x),
    )
    for name in ("log", "log2", "log10")
}
ONE |= FAST
#: kernels of two arguments: mpmath's, and NumPy's for the edges
TWO = {
    "pow": (mpmath.power, np.power),
    "atan2": (mpmath.atan2, np.arctan2),
    "hypot": (mpmath.hypot, np.hypot),
}
#: the range of the kernels that have one, in float64 and float32
RANGE = dict.fromkeys(("sin", "cos", "tan", "sin_fast", "cos_fast"), (2.0**20, 2.0**12))
#: bounds of errors that are not 1 ULP: in float64, roundings of erfc's polynomial add up beyond 15 (erfc < 1e-99)
LIMIT = (
    {"erfc": 1.25, "ndtr": 1.9, "npdf": 1.9, "gaussian": 1.2}
    | dict.fromkeys(FAST, 4.0)
    | {"erfc_fast": 5.0, "ndtr_fast": 5.0}
)
#: the same without fused operations, where quotients of polynomials have twice as many roundings
UNFUSED = {"erfc_fast": 6.0, "ndtr_fast": 6.0}
BUILDS = {"native": (*VECTOR_FLAGS, "-march=native"), "baseline": VECTOR_FLAGS}
_SWEEP = """
static void sweep_%(name)s(uint64_t stride) {
    static float x[LOT], y[LOT];
    static double exact[LOT], error[LOT];
    double worst = 0.0;
    float at = 0.0f;
    uint64_t wrong = 0;
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        for (ptrdiff_t i = 0; i < LOT; ++i, bits += stride) { /* beyond the last: NaN once more */
            const uint32_t low = bits < (uint64_t)1 << 32 ? (uint32_t)bits : 0x7fc00000u;
            memcpy(&x[i], &low, sizeof low);
            x[i] = %(outside)s ? 0.0f : x[i];
        }
        v_%(name)sf(x, y, LOT);
        for (ptrdiff_t i = 0; i < LOT; ++i) {
            exact[i] = reference_%(name)s((double)x[i]);
        }
        wrong += judge(y, exact, error, %(least)r);
        for (ptrdiff_t i = 0; i < LOT; ++i) {
            at = error[i] > worst ? x[i] : at;
            worst = error[i] > worst ? error[i] : worst;
        }
    }
    printf("%(name)s %%.4f %%.9g %%llu\\n", worst, at, (unsigned long long)wrong);
    fflush(stdout);
}
"""
_JUDGE = """
#define LOT 1024
/* The error of each y in ULP, and how many are special where a number is right or the other way round, or have the
 * wrong sign of zero. */
static uint64_t judge(const float *restrict y, const double *restrict exact, double *restrict error, double least) {
    uint64_t wrong = 0;
    for (ptrdiff_t i = 0; i < LOT; ++i) {
        uint64_t right;
        uint32_t low;
        float rounded = (float)exact[i];
        memcpy(&right, &exact[i], sizeof right);
        const int64_t exponent = (int64_t)(right >> 52 & 2047) - 1022, most = exponent < -125 ? -125 : exponent;
        const uint64_t one = (uint64_t)(1023 + 24 - most) << 52; /* 1/ULP */
        double inverse;
        memcpy(&inverse, &one, sizeof inverse);
        memcpy(&low, &y[i], sizeof low);
        const int same = rounded == y[i] || (rounded != rounded && y[i] != y[i]);
        const int sign = rounded == 0.0f && (uint32_t)(right >> 63) != low >> 31;
        const int finite = fabsf(y[i]) <= FLT_MAX, should = fabs(exact[i]) < 3.4028235e38;
        const int special = !(fabs(exact[i]) < 3.4028236692093846e38); /* 2^128: infinite in float, or NaN */
        wrong += (uint64_t)(same ? sign : special || (!finite && should));
        const int tiny = fabs(exact[i]) < least && fabsf(y[i]) <= 2*FLT_MIN; /* as good as 0 */
        error[i] = finite && !tiny && fabs(exact[i]) <= DBL_MAX ? fabs(y[i] - exact[i])*inverse : 0.0;
    }
    return wrong;
}
"""


def source() -> str:
    """C with a loop around each kernel in both widths, and a program that tries float32."""
    lines = [f"#include <{name}.h>" for name in ("float", "math", "stddef", "stdio", "stdlib", "string")]
    lines += [*_support(), _JUDGE]
    for name, (exact, _) in ONE.items():
        for end, real, uint in (("", "double", "uint64_t"), ("f", "float", "uint32_t")):
            far = ", &far" if name in RANGE else ""
            lines.append(
                f"void v_{name}{end}(const {real} *restrict x, {real} *restrict y, ptrdiff_t n) {{ {uint} far = 0;"
                f"for (ptrdiff_t i = 0; i < n; ++i) {{ y[i] = gs_v{name}{end}(x[i]{far}); }} (void)far; }}"
            )
        lines.append(f"static double reference_{name}(double x) {{ return {exact}; }}")
        lines.append(_SWEEP % {
            "name": name,
            "least": LEAST["f"][1] if name in FAST else 0.0,
            "outside": f"!(fabsf(x[i]) <= {RANGE[name][1]!r}f)" if name in RANGE else "0",
        })  # fmt: skip
    for end, real in (("", "double"), ("f", "float")):
        given = f"const {real} *restrict x, const {real} *restrict y, {real} *restrict z, ptrdiff_t n"
        lines += [
            f"void v_{name}{end}({given}) {{"
            f"for (ptrdiff_t i = 0; i < n; ++i) {{ z[i] = gs_v{name}{end}(x[i], y[i]); }} }}"
            for name in TWO
        ]
    lines.append("int main(int count, char **words) {")
    lines.append("const uint64_t stride = (uint64_t)strtoull(words[1], 0, 10);")
    lines += [f'if (count < 3 || strstr(words[2], " {n} ")) {{ sweep_{n}(stride); }}' for n in ONE]
    return "\n".join([*lines, "return 0; }", ""])


def _support() -> Iterator[str]:
    texts: dict[str, None] = {}
    for name in (*ONE, *TWO):
        key = ("c.fast" if name in FAST else "c.simd") + ".near" * (name in RANGE)
        for wanted in (key, f"{key}.float32", "c.libmvec"):
            texts.update(dict.fromkeys(lookup(name.removesuffix("_fast")).support.get(wanted, ())))
    return iter(texts)


def build(folder: Path, flags: Sequence[str], *, program: bool) -> Path:
    """The program, or the shared library of the loops."""
    (folder / "kernels.c").write_text(source(), encoding="utf-8")
    out = folder / ("sweep" if program else "kernels.so")
    shared = [] if program else ["-shared", "-fPIC"]
    command = [*find_compiler().command, *DEFAULT_FLAGS, *flags, *shared, "kernels.c", "-o", str(out), "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return out


def sweep(program: Path, stride: int, names: Sequence[str] = ()) -> dict[str, tuple[float, float, int]]:
    """Of each function in float32: the worst error in ULP, where that is, and how many special values are wrong."""
    words = [str(program), str(stride), *([f" {' '.join(names)} "] if names else [])]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    found = (line.split() for line in lines)
    return {name: (float(worst), float(at), int(wrong)) for name, worst, at, wrong in found}


def points(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Arguments in float64: special ones, powers of two, where formulas change, neighbours of these, random ones."""
    rng = np.random.default_rng(seed)
    powers = [math.ldexp(s, e) for s, e in itertools.product((1.0, 0.75, 1.5), range(-1074, 1024, 7))]
    breaks = [0.75, 1.0, math.sqrt(0.5), math.sqrt(2.0), 6.0, 20.0, 22.0, 36.7, 37.5, 40.0, 373.0, 374.0, 708.0, 709.78]
    breaks += [709.782712893384, 710.4758, 744.4400719213812, 745.1332191019412, 746.0, 1048576.0, 5e-324, 2.2e-308]
    breaks += [26.54, 27.2, 28.0, 37.51, 38.5, 39.0, 0.5, math.sqrt(2.0) - 1.0, math.sqrt(2.0) + 1.0, 2.0**28, 1e30]
    breaks += [k * math.log(2.0) / 2.0 for k in range(1, 60)]
    grids = [rng.uniform(-2, 2, count), rng.uniform(-50, 50, count), rng.uniform(-750, 750, count)]
    grids += [1.0 + rng.uniform(-0.5, 0.5, count), rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)]
    if name in RANGE:
        whole = rng.integers(0, int(RANGE[name][0] / (math.pi / 2)), 4 * count).astype(np.float64)
        grids += [whole * (math.pi / 2), rng.uniform(-1, 1, count) * RANGE[name][0]]
    found = np.concatenate([np.atleast_1d(np.asarray(g, dtype=np.float64)) for g in (powers, breaks, *grids)])
    found = np.concatenate([found, np.nextafter(found, 0.0), np.nextafter(found, np.inf), [0.0, np.inf, np.nan]])
    found = np.concatenate([found, -found])
    return np.ascontiguousarray(found[np.abs(found) <= RANGE[name][0]] if name in RANGE else found)


def exact(function: Any, *xs: float) -> Any:
    """`function` with enough digits, NaN where it is no real number."""
    with mpmath.workdps(60):
        try:
            value = function(*map(mpmath.mpf, xs))
        except (ValueError, ZeroDivisionError, OverflowError):
            return mpmath.nan
        return value if isinstance(value, mpmath.mpf) else mpmath.nan


def error(value: float, right: Any, bits: int = 53, least: int = -1021, tiny: float = 0.0) -> float:
    """|value - right| in ULP of `right`; infinite where one is special and the other not. Below `tiny`, 0 is right."""
    if abs(right) < tiny and abs(value) < tiny:
        return 0.0
    if mpmath.isnan(right) or math.isnan(value):
        return 0.0 if mpmath.isnan(right) and math.isnan(value) else math.inf
    most = mpmath.ldexp(2 - mpmath.mpf(2) ** (1 - bits), 2 - least)
    if math.isinf(value) or abs(right) > most:
        return 0.0 if abs(right) > most * (1 - mpmath.mpf(2) ** (-bits)) and value * right > 0 else math.inf
    if right == 0:
        return 0.0 if value == 0 else math.inf
    ulp = mpmath.ldexp(1, max(int(mpmath.floor(mpmath.log(abs(right), 2))) + 1, least) - bits)
    return float(abs(mpmath.mpf(value) - right) / ulp)


def bound(name: str, label: str) -> float:
    """The bound of errors of a kernel in a build."""
    return UNFUSED.get(name, LIMIT.get(name, 1.0)) if label == "baseline" else LIMIT.get(name, 1.0)


def loop(library: ctypes.CDLL, name: str, *xs: np.ndarray) -> np.ndarray:
    """The values of a kernel."""
    xs = tuple(map(np.ascontiguousarray, xs))
    out = np.empty_like(xs[0])
    real = ctypes.c_double if out.dtype == np.float64 else ctypes.c_float
    arrays = [x.ctypes.data_as(ctypes.POINTER(real)) for x in (*xs, out)]
    getattr(library, f"v_{name}" + ("" if real is ctypes.c_double else "f"))(*arrays, ctypes.c_ssize_t(len(out)))
    return out


def main() -> int:
    """Print the worst errors."""
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    names, bad = sys.argv[2:], False
    for label, flags in BUILDS.items():
        with tempfile.TemporaryDirectory() as folder:
            program = build(Path(folder), flags, program=True)
            library = ctypes.CDLL(str(build(Path(folder), flags, program=False)))
            for name in names or ONE:
                worst, at, wrong = sweep(program, stride, [name])[name]
                xs = points(name, 400)
                tiny, limit = LEAST[""][1] if name in FAST else 0.0, bound(name, label)
                ys = loop(library, name, xs)
                errors = [error(y, exact(ONE[name][1], x), tiny=tiny) for x, y in zip(xs, ys, strict=True)]
                place = int(np.argmax(errors))
                bad = bad or worst >= limit or wrong > 0 or errors[place] >= limit
                print(
                    f"{label:9}{name:13} float32 {worst:.3f} ULP at {at:<16.9g} {wrong} special values wrong; "
                    f"float64 {errors[place]:.3f} ULP at {xs[place]!r} of {len(xs)}",
                    flush=True,
                )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
