"""The special functions on dense grids, against mpmath: Python, NumPy and C in float64, NumPy and C in float32.

`WORST` states the error of each function in units in the last place, of the value or of the scale named in its row; the
tests hold the code to it. The C support texts are compiled as they are emitted, with all warnings as errors.
"""

from __future__ import annotations

import ctypes
import functools
import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.registry import OPS
from gradsmith.trace import registry_function

from .harness import COMPILERS, Library, run_python

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror")
BUILDS = {
    "gcc": ("gcc", "-std=c99", "-O2", "-ffp-contract=off"),
    "clang": ("clang", "-std=c99", "-O2", "-ffp-contract=off"),
    "g++": ("g++", "-x", "c++", "-O2", "-ffp-contract=off"),
}


def both(low: float, high: float, count: int = 60) -> list[float]:
    """Log-spaced magnitudes 10**low to 10**high of both signs."""
    random = Random(1)
    return [s * 10 ** random.uniform(low, high) for _ in range(count) for s in (1, -1)]


def right(low: float, high: float, count: int = 100) -> list[float]:
    return [x for x in both(low, high, count) if x > 0]


def evenly(low: float, high: float, count: int = 120) -> list[float]:
    random = Random(2)
    return [random.uniform(low, high) for _ in range(count)]


def amplitude(x: float) -> float:
    """The scale of a Bessel function beyond its third root."""
    return math.sqrt(2 / (math.pi * abs(x))) if abs(x) > 10 else 0.0


def difference(x: float) -> float:
    """The scale of `j0(x) - j1(x)/x`, which has roots of its own."""
    return math.sqrt(2 / (math.pi * abs(x))) if abs(x) > 1 else 0.0


@dataclass(frozen=True)
class Row:
    """The worst errors of values (float64, float32) and of slopes (float64), and where they are measured."""

    value: float
    single: float
    slope: float
    points: Sequence[float]
    order: float | None = None
    scale: Callable[[float], float] = lambda x: 0.0
    slope_scale: Callable[[float], float] = lambda x: 0.0


def below_zero(x: float) -> float:
    """Reflection is exact to the unit of its largest term."""
    return 4.0 if x < 0 else 0.0


def beside_one(x: float) -> float:
    """The logarithm of a number beside 1 is as exact as the number."""
    return 1.0


UNIT = [*evenly(-1, 1), *(s * (1 - q) for q in right(-12, -1, 30) for s in (1, -1)), *both(-9, -1, 20)]
GAMMA = [*right(-9, 6), *evenly(-8, 12)]
NORMAL = [*both(-9, 1), *evenly(-37, 8)]
WAVES = [*right(-9, 3, 60), *evenly(0, 12)]
GROWING = [*both(-9, 1), *evenly(-60, 60)]
WORST: dict[str, Row] = {
    "gaussian": Row(1.25, 1.25, 2.5, [*both(-9, 0.7), *evenly(-9, 9)]),
    "npdf": Row(2, 1.75, 3, [*both(-9, 0.7), *evenly(-12, 12)]),
    "erfc": Row(2.5, 2.5, 4, [*both(-9, 0.5), *evenly(-4, 9)]),
    "erfcx": Row(2.25, 2.25, 4, [*both(-9, 0.8), *right(0, 8)]),
    "erfinv": Row(2.25, 2.5, 3.5, UNIT),
    "erfcinv": Row(2.25, 2.25, 3.5, [*evenly(0.001, 1.999), *right(-30, -1, 30)]),
    "ndtr": Row(2.25, 2.25, 3, NORMAL),
    "ndtri": Row(2.25, 2.25, 3.5, [*evenly(0.001, 0.999), *right(-30, -1, 30)]),
    "log_ndtr": Row(2.25, 2.5, 4, NORMAL),
    "erfinvslope": Row(2, 2.25, 4, UNIT),
    "erfcinvslope": Row(2, 2.25, 4, [*evenly(0.001, 1.999), *right(-30, -1, 30)]),
    "mills": Row(2.25, 2.25, 4, NORMAL),
    "millsexcess": Row(2.25, 2.25, 6, [*both(-9, 1), *evenly(-37, 5)]),
    "erfc_ratio": Row(3.25, 2.75, 13, [*both(-9, 0), *evenly(-3, 9)], order=2.0),
    "lgamma": Row(2, 2, 3, GAMMA, slope_scale=below_zero),
    "digamma": Row(2, 2, 3, GAMMA, scale=below_zero),
    "gamma": Row(2, 2.25, 10, [*both(-9, 0.3), *evenly(-18, 171.6, 400)]),
    "polygamma": Row(2, 3, 3, [*right(-4, 6), *evenly(-8, 25)], order=2.0),
    "beta": Row(3.5, 3, 10, [*right(-9, 6), *evenly(-8, 12)], order=2.75),
    "betaln": Row(2, 2.5, 3, [*right(-9, 6), *evenly(-8, 12)], order=2.75, scale=beside_one),
    "sinc": Row(2, 2, 2, [*both(-9, 3), *evenly(-5, 5)], scale=lambda x: 1 / max(1.0, math.pi * abs(x))),
    "logit": Row(2.5, 2.5, 3, [*evenly(0.001, 0.999), *right(-30, -2, 30)]),
    "j0": Row(2.5, 2.5, 2.5, WAVES, scale=amplitude),
    "j1": Row(2.5, 2.5, 2.5, WAVES, scale=amplitude, slope_scale=difference),
    "y0": Row(3, 2.5, 2.5, WAVES, scale=amplitude),
    "y1": Row(3, 3, 2, WAVES, scale=amplitude, slope_scale=difference),
    "i0": Row(2.5, 3, 2.5, GROWING),
    "i1": Row(2.5, 3, 3, GROWING),
    "i0e": Row(2.5, 3, 2.5, GROWING),
    "i1e": Row(2, 2.5, 9.5, [*both(-9, 0.1), *evenly(3, 60)]),
}


def exactly(name: str, row: Row, x: Any) -> Any:
    record = OPS[name]
    operands = (x,) if row.order is None else (row.order, x)
    return getattr(mp, record.mp)(*operands) if isinstance(record.mp, str) else record.mp(mp, *operands)  # type: ignore[misc]


@functools.cache
def wanted(name: str, x: float, slope: bool) -> Any:
    """The exact value or slope, which all targets are compared with."""
    row = WORST[name]
    if not slope:
        with mp.workdps(80):
            return exactly(name, row, mp.mpf(x))
    with mp.workdps(160):
        at = mp.mpf(x)
        h = abs(at) * mp.mpf(10) ** -40
        return (exactly(name, row, at + h) - exactly(name, row, at - h)) / (2 * h)


def worst(name: str, row: Row, got: Sequence[float], points: Sequence[float], eps: float, slope: bool = False) -> str:
    """The worst error beyond the limit, in words; "" where there is none."""
    limit = row.slope if slope else row.value if eps < 1e-10 else row.single
    with mp.workdps(80):
        for x, y in zip(points, got, strict=True):
            want = wanted(name, x, slope)
            size = max(abs(float(want)), row.scale(x), row.slope_scale(x) if slope else 0.0)
            if size > (1e300 if eps < 1e-10 else 1e38) or size < (1e-300 if eps < 1e-10 else 1e-36):
                continue
            error = abs(mp.mpf(float(y)) - want) / (eps * 2.0 ** math.floor(math.log2(size)))
            if not error <= limit:
                return f"{name}{chr(39) * slope}({x!r}) = {y!r} is {float(error):.1f} ULP from {float(want)!r}"
    return ""


def texts_of(name: str, key: str) -> tuple[str, ...]:
    """The support texts of an op; a function of the C library needs none."""
    texts = OPS[name].support.get(key, ())
    return (texts,) if isinstance(texts, str) else texts


def calls(name: str, row: Row, key: str) -> Callable[[float], float]:
    """The support text of the op as it is emitted for `key`, as a function."""
    space: dict[str, Any] = {"math": math, "np": np}
    exec("\n".join(texts_of(name, key)), space)
    cell = OPS[name].cells[key]
    assert isinstance(cell, str)
    function = eval(cell.split("(")[0], space)
    return function if row.order is None else lambda x: function(row.order, x)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """All support functions of both widths in one file, by each compiler; the guards keep shared helpers single."""
    folder = tmp_path_factory.mktemp("special")
    lines = ["#include <math.h>", "#include <stddef.h>", "#ifdef __cplusplus", 'extern "C" {', "#endif"]
    for name, row in WORST.items():
        for key, type, suffix in (("c", "double", ""), ("c.float32", "float", "f")):
            lines += texts_of(name, key)
            cell = OPS[name].cells["c"]
            assert isinstance(cell, str)
            order = "" if row.order is None else f"{row.order}{suffix}, "
            call = f"{cell.split('(')[0]}{suffix}({order}x)"
            lines.append(f"{type} run_{name}{suffix}({type} x);")
            lines.append(f"{type} run_{name}{suffix}({type} x) {{ return {call}; }}")
    lines += ["#ifdef __cplusplus", "}", "#endif", ""]
    (folder / "all.c").write_text("\n".join(lines))
    found = {}
    for build, command in BUILDS.items():
        if shutil.which(command[0]):
            library = folder / f"{build}.so"
            arguments = [*command, *STRICT, "-fPIC", "-shared", str(folder / "all.c"), "-o", str(library), "-lm"]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            found[build] = ctypes.CDLL(str(library))
    return found


def of_c(library: ctypes.CDLL, name: str, type: Any) -> Callable[[float], float]:
    function = getattr(library, f"run_{name}" + ("f" if type is ctypes.c_float else ""))
    function.argtypes, function.restype = [type], type
    return function  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", WORST)
def test_values(name: str, libraries: dict[str, ctypes.CDLL]) -> None:
    row = WORST[name]
    points = list(row.points)
    ways = {"python": calls(name, row, "python")} | {
        b: of_c(lib, name, ctypes.c_double) for b, lib in libraries.items()
    }
    found = {way: [f(x) for x in points] for way, f in ways.items()}
    with np.errstate(all="ignore"):
        found["numpy"] = list(calls(name, row, "numpy")(np.array(points)))  # type: ignore[arg-type, call-overload]
    problems = {way: worst(name, row, got, points, 2.0**-52) for way, got in found.items()}
    assert not any(problems.values()), problems


@pytest.mark.parametrize("name", WORST)
def test_values_in_float32(name: str, libraries: dict[str, ctypes.CDLL]) -> None:
    row = WORST[name]
    array = np.array(row.points, dtype=np.float32)
    points = [float(x) for x in array]
    found = {b: [of_c(lib, name, ctypes.c_float)(x) for x in points] for b, lib in libraries.items()}
    with np.errstate(all="ignore"):
        result = calls(name, row, "numpy")(array)  # type: ignore[arg-type]
        alone = calls(name, row, "numpy")(array[0])
    assert (result.dtype, alone.dtype) == (np.float32, np.float32)  # type: ignore[attr-defined]
    found["numpy"] = [float(y) for y in result]  # type: ignore[attr-defined]
    problems = {way: worst(name, row, got, points, 2.0**-23) for way, got in found.items()}
    assert not any(problems.values()), problems


@pytest.mark.parametrize("name", WORST)
def test_slopes(name: str) -> None:
    row = WORST[name]
    points = list(row.points)[::3]
    x = gs.symbol("x", (len(points),))
    y = registry_function(name)(*(() if row.order is None else (row.order,)), x)
    slopes = gs.compile(gs.sum(y), args=[x], target="numpy", selftest=False).grad(np.array(points))
    assert not (problem := worst(name, row, slopes, points, 2.0**-52, slope=True)), problem


INF = math.inf
# What torch does not say, or says otherwise: limits at infinity and at poles. name, operands, value, slope.
EDGES = [
    ("j0", INF, 0.0, 0.0), ("j1", -INF, 0.0, 0.0), ("y0", INF, 0.0, 0.0), ("y0", 0.0, -INF, INF),
    ("y1", 0.0, -INF, INF), ("y1", INF, 0.0, 0.0), ("i0", INF, INF, INF), ("i1", -INF, -INF, INF), ("i0", 800.0, INF, INF),
    ("i1", 800.0, INF, INF), ("i0e", INF, 0.0, 0.0), ("i1e", -INF, 0.0, 0.0), ("i0e", 0.0, 1.0, 0.0),
    ("sinc", INF, 0.0, 0.0), ("erfcx", INF, 0.0, 0.0), ("log_ndtr", -INF, -INF, INF), ("lgamma", -1.0, INF, math.nan),
    ("lgamma", -INF, INF, math.nan), ("digamma", -1.0, math.nan, INF), ("digamma", INF, INF, 0.0),
    ("digamma", -0.0, INF, INF), ("gamma", 0.0, INF, -INF), ("gamma", -1.0, math.nan, math.nan),
    ("gamma", 200.0, INF, INF), ("logit", 1.0, INF, INF), ("mills", -INF, INF, -1.0), ("ndtri", 0.0, -INF, INF), ("i1", math.nan, math.nan, math.nan),
]  # fmt: skip


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_edges(target: str, tmp_path: Path) -> None:
    functions = {
        name: gs.compile(registry_function(name)(gs.symbol("x")), target=target, name=f"f_{name}", selftest=False)
        for name in dict.fromkeys(name for name, *_ in EDGES)
    }
    runs: Any = Library(functions, COMPILERS[0], tmp_path) if target == "c" else None
    for name, x, value, slope in EDGES:
        run = runs[name] if runs else run_python(functions[name])
        got = [float(y) for y in run("value_and_grad", [x])]
        np.testing.assert_equal(np.array(got) + 0.0, [value, slope], err_msg=f"{name}({x}), {target}")


# Where rounding a + b once moved the result to a pole, or x + h to x: a and b, both in float32.
BESIDE_POLES = [(-0.3, -7.7), (-0.01, -1e-20), (-1.3, 7.3), (-12.5, 4.25), (0.25, 300.0), (300.0, 330.0)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("name", ["beta", "betaln"])
@pytest.mark.usefixtures("quick_builds")
def test_beta_beside_poles(name: str, target: str, dtype: str) -> None:
    if (target, dtype) == ("python", "float32"):
        pytest.skip("Python has no float32")
    a, b = gs.symbol("a"), gs.symbol("b")
    f = gs.compile(registry_function(name)(a, b), args=[a, b], target=target, dtype=dtype, selftest=False)
    info = np.finfo(dtype)
    for point in BESIDE_POLES:
        x, y = (float(np.float32(v)) for v in point)
        got, slopes = f.value_and_grad(x, y)
        with mp.workdps(60):
            p, q = mp.mpf(x), mp.mpf(y)
            value = exactly2(name, p, q)
            size = value if name == "beta" else 1
            wanted = [value, *(size * (mp.digamma(v) - mp.digamma(p + q)) for v in (p, q))]
            for g, w in zip((got, *np.ravel(slopes)), wanted, strict=True):
                if info.tiny < abs(w) < info.max:
                    assert abs(g - w) < 12 * float(info.eps) * abs(w), (point, float(g), float(w))


def exactly2(name: str, p: Any, q: Any) -> Any:
    record = OPS[name]
    return getattr(mp, record.mp)(p, q) if isinstance(record.mp, str) else record.mp(mp, p, q)  # type: ignore[misc]


def test_the_order_of_polygamma_is_a_whole_number_known_now() -> None:
    for order in (-1, 1.5, True, 171):
        with pytest.raises(gs.TraceError, match="polygamma: the order must be a whole number from 0 to 170"):
            gs.polygamma(order, gs.symbol("x"))


def test_constants_are_folded() -> None:
    for name, row in WORST.items():
        y = registry_function(name)(*(() if row.order is None else (row.order,)), gs.constant(0.25))
        f = gs.compile(y + gs.symbol("x"), target="numpy", selftest=False)
        assert f"_{name}(" not in f.source
        assert f(0.0) == pytest.approx(float(exactly(name, row, mp.mpf(0.25))), rel=1e-14), name


def test_third_derivatives() -> None:
    from gradsmith.derive.adjoint import gradient

    x = gs.symbol("x")
    for name, row in WORST.items():
        y = registry_function(name)(*(() if row.order is None else (row.order,)), x)
        for _ in range(3):
            (y,) = gradient(y, [x])
        got = gs.compile(y, args=[x], derivatives=("value",), selftest=False)(0.4)
        with mp.workdps(60):
            want = float(mp.diff(lambda t, name=name, row=row: mp.re(exactly(name, row, t)), mp.mpf(0.4), 3))
        assert got == pytest.approx(want, rel=1e-14), name
