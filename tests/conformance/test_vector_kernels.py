"""Vector kernels: errors below 1 ULP (or 4, the fast ones) in both widths, right at the edges, and vectorised by GCC where they are called."""

import ctypes
import ctypes.util
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.errors import SpecError
from gradsmith_runtime.build import DEFAULT_FLAGS, VECTOR_FLAGS

ACCURACY = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "vector_accuracy.py"))
STRIDE = 16381  # a prime: a quarter of a million float32 arguments of each function, with all exponents

v, w, W = gs.symbol("v", (500,)), gs.symbol("w", (500,)), gs.symbol("W", (20, 64))
LOOPS = {
    "logistic loss": gs.sum(gs.softplus(v) - w * v),
    "tanh of an affine map": gs.sum(gs.tanh(2.0 * v + w)),
    "softmax rows": gs.sum(gs.softmax(W, axis=1) ** 2),
    "gelu": gs.sum(gs.gelu(v)),
    "sigmoid": gs.sum(gs.sigmoid(v) * w),
    "powers": gs.sum(v**w),
    "tails": gs.sum(gs.erfc(v) + gs.ndtr(w)),
    "other bases": gs.sum(gs.log2(v) * gs.exp2(w) + gs.log10(w) * gs.sinh(v)),
    "angles": gs.sum(gs.sin(v) * gs.cos(w)),
    "other angles": gs.sum(gs.tan(v) * gs.asin(w) + gs.acos(v) * gs.atan(w)),
    "the plane": gs.sum(gs.atan2(v, w) * gs.hypot(v, w)),
    "inverse hyperbolic": gs.sum(gs.asinh(v) * gs.acosh(w) * gs.atanh(v)),
    "dot": gs.sum(v * w * v) + gs.max(w),
}


@pytest.fixture(scope="module", params=["native", "baseline"])
def built(request: Any, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("kernels")
    flags = ACCURACY["BUILDS"][request.param]
    return *(ACCURACY["build"](folder, flags, program=program) for program in (True, False)), request.param


def test_float32_is_within_the_bounds(built: Any) -> None:
    for name, (worst, at, wrong) in ACCURACY["sweep"](built[0], STRIDE).items():
        assert worst < (1.0 if name == "erfc" else ACCURACY["bound"](name, built[2])), (name, worst, at)
        assert wrong == 0, name


def test_float32_has_ieees_results_for_special_arguments(built: Any) -> None:
    library, least = ctypes.CDLL(str(built[1])), float(np.finfo("float32").smallest_subnormal)
    xs = np.array([0.0, np.inf, np.nan, 1.0, 2.0, least, np.finfo("float32").max, 1e-40], dtype="float32")
    for name, (_, function) in ACCURACY["ONE"].items():
        given = np.concatenate([xs, -xs])
        given = given[np.abs(given) <= ACCURACY["RANGE"][name][1]] if name in ACCURACY["RANGE"] else given
        tiny = ACCURACY["LEAST"]["f"][1] if name in ACCURACY["FAST"] else 0.0
        if name.startswith("log") and name.endswith("_fast") and "1p" not in name:
            given = given[(np.abs(given) >= ACCURACY["LEAST"]["f"][0]) | (given == 0.0) | np.isnan(given)]
        for x, y in zip(given, ACCURACY["loop"](library, name, given), strict=True):
            right = ACCURACY["exact"](function, float(x))
            assert ACCURACY["error"](float(y), right, 24, -125, tiny) < ACCURACY["bound"](name, built[2]), (name, x, y)
            assert x != 0.0 or np.signbit(y) == (np.signbit(x) if function(0) == 0 else y < 0), (name, x, y)


def test_float64_is_within_the_bounds(built: Any) -> None:
    library = ctypes.CDLL(str(built[1]))
    for name, (_, function) in ACCURACY["ONE"].items():
        xs = ACCURACY["points"](name, 60)[::4]
        for x, y in zip(xs, ACCURACY["loop"](library, name, xs), strict=True):
            limit = ACCURACY["bound"](name, built[2]) if name != "erfc" or abs(x) > 15 else 1.0
            tiny = ACCURACY["LEAST"][""][1] if name in ACCURACY["FAST"] else 0.0
            assert ACCURACY["error"](y, ACCURACY["exact"](function, x), tiny=tiny) < limit, (name, x, y)
            assert x != 0.0 or np.signbit(y) == (np.signbit(x) if function(0) == 0 else y < 0), (name, x, y)


def pairs_of(name: str, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Operands whose results are neither zero nor infinite, mostly."""
    rng = np.random.default_rng(1)
    xs = ACCURACY["points"]("exp", 60)[::4].astype(dtype)
    if name == "pow":
        xs = np.abs(xs)
        xs = xs[(xs > 0) & (xs < 1e30) & (xs > 1e-30)]
        reach = 700.0 if dtype == np.float64 else 85.0
        return xs, (rng.uniform(-reach, reach, len(xs)) / np.maximum(np.abs(np.log(xs)), 1e-3)).astype(dtype)
    ys = (xs * rng.normal(size=len(xs)) * np.exp(rng.normal(size=len(xs)) * 3.0)).astype(dtype)
    numbers = np.isfinite(xs) & np.isfinite(ys) & (xs * ys != 0.0)  # mpmath has no -0
    return xs[numbers], ys[numbers]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ACCURACY["TWO"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_two_numbers_are_within_one_ulp(built: Any, name: str, dtype: Any) -> None:
    library = ctypes.CDLL(str(built[1]))
    bits, least = (53, -1021) if dtype == np.float64 else (24, -125)
    exact, reference = ACCURACY["TWO"][name]
    xs, ys = pairs_of(name, dtype)
    for x, y, z in zip(xs, ys, ACCURACY["loop"](library, name, xs, ys), strict=True):
        right = ACCURACY["exact"](exact, float(x), float(y))
        assert ACCURACY["error"](float(z), right, bits, least) < 1.0, (x, y, z)
    edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        2.0,
        -2.0,
        3.0,
        -3.0,
        0.5,
        -0.5,
        np.inf,
        -np.inf,
        np.nan,
        1e300,
        2.0**52 + 1,
        2.0**53,
    ]
    with np.errstate(all="ignore"):
        pairs = np.array([(a, b) for a in edges for b in edges]).astype(dtype)
        xs, ys = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
        right = reference(xs, ys)
    found = ACCURACY["loop"](library, name, xs, ys)
    np.testing.assert_allclose(found, right, rtol=1e-6 if dtype == np.float32 else 1e-15)
    numbers = ~np.isnan(right)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(right[numbers]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_far_angles_are_right(dtype: str) -> None:
    f = gs.compile(gs.sum(gs.sin(v) + gs.cos(v)), target="c", dtype=dtype)
    for place, angle in enumerate((1e5, 3e6, 1e22, -1e30)):
        x = np.linspace(-3.0, 3.0, 500).astype(dtype)
        x[place] = angle
        wide = x.astype(np.float64)
        np.testing.assert_allclose(
            f.grad(x), np.cos(wide) - np.sin(wide), atol=2.0**-50 if dtype == "float64" else 2e-7
        )
    x[3] = np.inf
    slope = f.grad(x)
    assert np.isnan(slope[3])
    assert np.isfinite(np.delete(slope, [3])).all()


def test_off_and_strict_leave_all_to_the_c_library() -> None:
    for options in ({"simd": "off"}, {"strict": True}):
        assert "gs_vsin" not in gs.compile(LOOPS["angles"], target="c", **options).source  # type: ignore[arg-type]
    scalar = gs.exp(gs.symbol("x"))
    assert "gs_vexp" not in gs.compile(scalar, target="c").source
    assert "gs_vexp" in gs.compile(LOOPS["logistic loss"], target="c").source
    with pytest.raises(SpecError, match="'auto', 'accurate', 'fast', 'libmvec', 'sleef', 'off'"):
        gs.compile(LOOPS["dot"], simd="quick")
    with pytest.raises(SpecError, match="march"):
        gs.compile(LOOPS["dot"], march="native -O0")


def test_fast_math_takes_the_fast_kernels_where_there_are_some() -> None:
    loss = gs.sum(gs.sin(v) * gs.atan(w))
    for options, fast in (({}, False), ({"fast_math": True}, True), ({"simd": "fast"}, True),
                          ({"fast_math": True, "simd": "accurate"}, False)):  # fmt: skip
        source = gs.compile(loss, target="c", **options).source  # type: ignore[arg-type]
        assert ("gs_vsin_fast(" in source, "gs_vsin(" in source, "gs_vatan(" in source) == (fast, not fast, True)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs GCC")
@pytest.mark.parametrize(
    ("name", "dtype", "simd"),
    [(name, dtype, "accurate") for name in LOOPS for dtype in ("float64", "float32")]
    + [(name, "float64", "fast") for name in ("logistic loss", "tanh of an affine map", "tails", "angles")],
)
def test_gcc_vectorises_every_loop(name: str, dtype: str, simd: str, tmp_path: Path) -> None:
    f = gs.compile(
        LOOPS[name], target="c", name="f", dtype=dtype, simd=simd, selftest=False, derivatives=("value_and_grad",)
    )
    f.save(tmp_path)
    flags = [*DEFAULT_FLAGS, *VECTOR_FLAGS, "-fopt-info-vec", "-c", "f.c", "-o", "f.o"]
    told = subprocess.run(["gcc", *flags], cwd=tmp_path, check=True, capture_output=True, text=True).stderr
    vectors = {int(line) for line in re.findall(r"f\.c:(\d+):\d+: optimized", told)}
    lines = (tmp_path / "f.c").read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("void f_value_and_grad("))
    for k in range(first, len(lines)):
        indent = lines[k][: len(lines[k]) - len(lines[k].lstrip())]
        if lines[k].startswith(f"{indent}for "):
            end = next(j for j in range(k + 1, len(lines)) if lines[j] == f"{indent}}}")
            outer = any(line.lstrip().startswith("for ") for line in lines[k + 1 : end])
            assert outer or vectors & set(range(k, end + 1)), "\n".join(lines[k : end + 1])


@pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("nm") is None, reason="needs GCC")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_functions_of_other_libraries_are_called_by_the_vector(dtype: str, tmp_path: Path) -> None:
    lib = ctypes.util.find_library("sleefgnuabi")
    for simd, libraries in (("libmvec", ()), ("sleef", ("sleefgnuabi",))):
        if simd == "sleef" and lib is None:
            pytest.skip("SLEEF is not installed")
        loss = gs.sum(gs.log1p(gs.exp(v)) + gs.sin(w) * gs.erf(v))
        f = gs.compile(loss, target="c", name="f", dtype=dtype, simd=simd, derivatives="value_and_grad")
        assert f.libraries == libraries
        assert ("-lsleefgnuabi" in f.source) == bool(libraries)
        f.save(tmp_path)
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror", "-c", "-oother.o"]
        for words in (["clang", "-std=c99"], ["gcc", "-x", "c++"], ["tcc"]):
            if shutil.which(words[0]):
                subprocess.run([*words, *strict, "f.c"], cwd=tmp_path, check=True, capture_output=True)
        (tmp_path / "both.c").write_text('#include "f.c"\n#define f_value_and_grad g\n#include "f.c"\n')
        subprocess.run(["gcc", "-std=c99", "-c", "both.c", *strict], cwd=tmp_path, check=True)
        subprocess.run(["gcc", *DEFAULT_FLAGS, *VECTOR_FLAGS, "-c", "f.c"], cwd=tmp_path, check=True)
        undefined = subprocess.run(["nm", "-u", "f.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        end = "f" if dtype == "float32" else ""
        for name in ("exp", "log1p", "sin", "cos", "erf"):
            assert re.search(rf"_ZGV\w+_{name}{end}\b", undefined), (simd, name)
        x, y = np.linspace(-3.0, 3.0, 500).astype(dtype), np.linspace(0.0, 2000.0, 500).astype(dtype)
        value, (at_v, at_w) = f.value_and_grad(x, y)
        torch = pytest.importorskip("torch")
        given = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, y)]
        right = (torch.log1p(torch.exp(given[0])) + torch.sin(given[1]) * torch.erf(given[0])).sum()
        right.backward()
        near = {"float64": 1e-12, "float32": 2e-4}[dtype]
        np.testing.assert_allclose(value, right.item(), rtol=near, atol=near)
        np.testing.assert_allclose(at_v, given[0].grad, rtol=near, atol=near)
        np.testing.assert_allclose(at_w, given[1].grad, rtol=near, atol=near)
    assert gs.compile(gs.exp(gs.symbol("x")), target="c", simd="sleef").libraries == ()  # of a single number
