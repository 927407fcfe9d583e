"""Products of matrices by kernels: all forms and awkward sizes are NumPy's, gradients are torch's."""

from __future__ import annotations

import itertools
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith_runtime import build as building

from . import harness

#: Kernels for all sizes: those that read factors where they are, and those that pack them, in several blocks.
LEAST = {"matmul_least": 1, "matvec_least": 1, "narrow_terms": 1}
WAYS: dict[str, dict[str, Any]] = {
    "direct": {"tuning": gs.Tuning(**LEAST, pack_left=10**9, pack_right=10**9)},
    "packed": {"tuning": gs.Tuning(**LEAST, pack_left=1, pack_right=1, block_rows=13, block_columns=20, block_depth=9)},
    "other tiles": {"tuning": gs.Tuning(**LEAST, pack_left=1, tile_rows=4, tile_vectors=3)},
    "written out": {"tuning": gs.Tuning(matmul_least=10**9)},
    "cblas": {"tuning": gs.Tuning(**LEAST), "blas": "cblas"},
}
#: Vectors of this machine's registers, of the oldest ones of its kind, and none: compilers and options.
NATIVE, OLDEST, NONE = "-O1 -march=native", "-O1", "-O1 -DGS_VECTOR_BYTES=0"
BUILDS = {
    "direct": (("gcc", NATIVE), ("clang", NATIVE), ("gcc", OLDEST)),
    "packed": (("clang", NATIVE), ("gcc", NONE)),
    "written out": (("gcc", NATIVE), ("clang", NATIVE), ("gcc", OLDEST), ("gcc", NONE)),
}
if "x86_64" in platform.machine():  # vectors that have no masks
    BUILDS["written out"] += (("gcc", f"{NATIVE} -mno-avx512f"),)
SIZES = (1, 2, 3, 5, 7, 8, 13, 17, 31, 33, 64, 100)


@cache
def linkable() -> bool:
    """Whether there is a BLAS with C's names to link with."""
    if not shutil.which("gcc"):
        return False
    text = b"void cblas_dgemm(void); int main(void) { cblas_dgemm(); return 0; }"
    command = ["gcc", "-x", "c", "-", "-o", "/dev/null", "-lblas"]
    return subprocess.run(command, input=text, capture_output=True, check=False).returncode == 0


def shapes(way: str) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns: each size in each place, beside some other one."""
    if way == "written out":  # vectors of all widths, with what is left of each, and as many terms as there may be
        return [(2 + n % 3, (2, 3, 16, 5)[n % 4], n) for n in range(2, 17)] + [(9, 4, 20), (3, 2, 33), (2, 17, 3)]
    turned = [(SIZES[i], SIZES[i * 5 % 12], SIZES[(i * 7 + 3) % 12]) for i in range(12)]
    return [*turned, *((n, n, n) for n in (8, 13, 33)), (6, 300, 40), (300, 20, 7), (20, 31, 300)]


def all_forms(m: int, k: int, n: int) -> tuple[list[gs.Expr], list[gs.Expr]]:
    """Inputs, and the products of each with each: transposed or not, in stacks, alone for a stack, with vectors."""
    a, at, b, bt = (gs.symbol(*x) for x in (("a", (m, k)), ("at", (k, m)), ("b", (k, n)), ("bt", (n, k))))
    s, t, v = gs.symbol("s", (3, m, k)), gs.symbol("t", (3, n, k)), gs.symbol("v", (k,))
    results = [x @ y for x, y in itertools.product((a, at.T), (b, bt.T))]
    results += [s @ t.mT, s @ b, s @ bt.T, a @ t.mT, s[::-1] @ b, s @ t[:, :1].mT, s[:, 0] @ b]
    results += [a @ v, at.T @ v, v @ b, v @ bt.T, s @ v, gs.sum(s.mT @ gs.sin(s @ b), axis=0)]
    return [a, at, b, bt, s, t, v], results


def by_numpy(xs: list[np.ndarray]) -> list[np.ndarray]:
    a, at, b, bt, s, t, v = (x.astype(np.float64) for x in xs)
    results = [x @ y for x, y in itertools.product((a, at.T), (b, bt.T))]
    turned = t.transpose(0, 2, 1)
    results += [s @ turned, s @ b, s @ bt.T, a @ turned, s[::-1] @ b, s @ turned[..., :1], s[:, 0] @ b]
    return [*results, a @ v, at.T @ v, v @ b, v @ bt.T, s @ v, (s.transpose(0, 2, 1) @ np.sin(s @ b)).sum(axis=0)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("way", WAYS)
def test_all_forms_are_numpys(way: str, dtype: str, tmp_path: Path) -> None:
    if way == "cblas" and not linkable():
        pytest.skip("no BLAS to link with: install libblas-dev")
    every = {}
    for m, k, n in shapes(way):
        xs, ys = all_forms(m, k, n)
        every[m, k, n] = gs.compile(
            tuple(ys), args=xs, name=f"f_{m}_{k}_{n}", target="c", dtype=dtype, derivatives="value", selftest=False,
            simd="off",  # all programs are one file here, and vector kernels stand in each
            **WAYS[way],
        )  # fmt: skip
    generator = np.random.default_rng(5)
    at = {key: [generator.normal(size=a.shape).astype(dtype) for a in f._program.inputs] for key, f in every.items()}
    texts = {str(key): f for key, f in every.items()}
    for number, (compiler, build) in enumerate(BUILDS.get(way, (("gcc", NATIVE),))):
        if not shutil.which(compiler):
            continue
        library = harness.Library(texts, compiler, tmp_path / str(number), build)
        for (m, k, n), f in every.items():
            got, wanted = library[str((m, k, n))]("value", at[m, k, n]), by_numpy(at[m, k, n])
            terms = [k] * (len(got) - 1) + [3 * m * k]
            for i, (y, want) in enumerate(zip(got, wanted, strict=True)):
                near = 128 * np.finfo(dtype).eps * np.sqrt(terms[i])
                assert np.abs(y - want).max() <= near, (compiler, build, (m, k, n), i)
            assert f.source.count("    gs_") > 12 or min(m, k, n) < 8
            if way == "written out":
                assert ("gs_small" in f.source) == (k <= 16), (m, k, n)


def network(x: Any, w: Any, b: Any, u: Any, s: Any) -> Any:
    """A chain of products, transposed ones and stacks among them, some of them of views."""
    h = gs.tanh(x @ w + b)
    return gs.sum((h @ u) ** 2) + gs.sum((s @ w[:, ::2]) ** 3) + gs.sum(h.T @ x) + gs.sum(gs.einsum("sij,kj->sk", s, x))


def test_gradients_are_torchs(tmp_path: Path) -> None:
    shapes = {"x": (21, 10), "w": (10, 18), "b": (18,), "u": (18,), "s": (3, 7, 10)}
    xs = [gs.symbol(*x) for x in shapes.items()]
    at = [np.random.default_rng(1).normal(size=x.shape) / 3 for x in xs]
    every = {
        way: gs.compile(network(*xs), args=xs, name=way, target="c", simd="off", selftest=False, **WAYS[way])
        for way in ("direct", "packed")
    }
    library = harness.Library(every, "gcc", tmp_path, NATIVE)
    wanted = harness.torch_value_and_grad(every["direct"].graph, at)
    for way, f in every.items():
        assert f.source.count("    gs_") > 6
        for got, want in zip(library[way]("value_and_grad", at), wanted, strict=True):
            assert np.abs(got - want).max() < 1e-12 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize(
    "blas", [None, pytest.param("cblas", marks=pytest.mark.skipif(not linkable(), reason="no BLAS"))]
)
def test_sizes_known_by_name(blas: str | None) -> None:
    """One function for all sizes, none among them."""
    f = gs.compile(
        lambda x, w, v: (x @ w, x.T @ (x @ w), w.T @ x.T, v @ x, x @ (w @ (v @ (x @ w)))),
        args=(("n", "k"), ("k", "k"), ("n",)), target="c", derivatives="value", selftest=False, blas=blas,
    )  # fmt: skip
    assert f.source.count("    gs_") >= 6
    generator = np.random.default_rng(2)
    for n, k in ((1, 1), (3, 2), (9, 40), (300, 7), (0, 4), (4, 0), (40, 301)):
        x, w, v = generator.normal(size=(n, k)), generator.normal(size=(k, k)) / 9, generator.normal(size=n)
        for got, want in zip(
            f(x, w, v), (x @ w, x.T @ (x @ w), w.T @ x.T, v @ x, x @ (w @ (v @ (x @ w)))), strict=True
        ):
            assert np.allclose(got, want, rtol=1e-11, atol=1e-11), (n, k)


def test_what_stays_a_loop() -> None:
    """Few long sums, integers, vectors times views, and all strict code, whose order is the same for all targets."""
    a, b, i = gs.symbol("a", (20, 20)), gs.symbol("b", (4, 20)), gs.symbol("i", (20, 20), dtype="int64")
    for y, strict in ((b @ b.T, False), (i @ i, False), (a[::2] @ a[0], False), (a @ a, True)):
        assert "gs_" not in gs.compile(y, target="c", derivatives="value", strict=strict, selftest=False).source, y


def test_who_cannot_have_a_library() -> None:
    a = gs.symbol("a", (20, 20))
    for target, match in (("numpy", "NumPy calls the BLAS"), ("python", 'use target="c"')):
        with pytest.raises(gs.TargetError, match=match):
            gs.compile(gs.sum(a @ a), target=target, blas="cblas")
    with pytest.raises(gs.SpecError, match="leave out one of them"):
        gs.compile(gs.sum(a @ a), target="c", blas="cblas", strict=True)
    with pytest.raises(gs.SpecError, match="choose 'cblas', or None"):
        gs.compile(gs.sum(a @ a), target="c", blas="mkl")


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_files_of_two_tunings_share_no_kernels(tmp_path: Path) -> None:
    """Their panels and workspaces differ in size: the second file would write outside of its own."""

    def source(name: str, rows: int) -> str:
        options: dict[str, Any] = {"target": "c", "derivatives": "value", "name": name, "selftest": False}
        f = gs.compile(lambda a, b: a @ b, args=((40, 40), (40, 40)), tuning=gs.Tuning(tile_rows=rows), **options)
        (tmp_path / f"{name}.h").write_text(f.files[f"{name}.h"])
        return f.source

    for rows, wanted in ((6, ""), (4, "written with another gs.Tuning")):
        unit = tmp_path / f"unit{rows}.c"
        unit.write_text(source("first", 6) + source("second", rows))
        done = subprocess.run(["gcc", "-std=c99", "-fsyntax-only", unit], capture_output=True, text=True, check=False)
        assert wanted in done.stderr
        assert bool(done.returncode) == bool(wanted), done.stderr


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_kernels_of_one_thread_take_none_for_several(tmp_path: Path) -> None:
    """Those have a block for each thread in their workspace."""
    many: dict[str, Any] = {"threads": "openmp"}
    for order, wanted in (((many, {}), "is for several threads"), (({}, many), ""), ((many, many), "")):
        texts = []
        for name, options in zip("fg", order, strict=True):
            f = gs.compile(
                lambda a, b: a @ b, args=((40, 40), (40, 40)), target="c", derivatives="value", name=name, selftest=False,
                **options,
            )  # fmt: skip
            (tmp_path / f"{name}.h").write_text(f.files[f"{name}.h"])
            texts.append(f.source)
        unit = tmp_path / "unit.c"
        unit.write_text("".join(texts))
        done = subprocess.run(["gcc", "-std=c99", "-fsyntax-only", unit], capture_output=True, text=True, check=False)
        assert wanted in done.stderr
        assert bool(done.returncode) == bool(wanted), done.stderr


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.skipif("x86_64" not in platform.machine(), reason="reads assembly of x86")
@pytest.mark.parametrize("registers", [("-mavx2", "-mfma"), ("-mavx512f",)])
def test_tiles_stay_in_registers(registers: tuple[str, ...], tmp_path: Path) -> None:
    """With the options of our builds, and not with -O3 alone, each sum of each tile is one instruction."""
    a, b = gs.symbol("a", (64, 64)), gs.symbol("b", (64, 64))
    f = gs.compile(a @ b, args=[a, b], name="f", target="c", derivatives="value", selftest=False)
    for name, text in f.files.items():
        (tmp_path / name).write_text(text)
    options = [*building.DEFAULT_FLAGS, *building.VECTOR_FLAGS, *registers, "-S", "-o", "f.s", "f.c"]
    subprocess.run(["gcc", *options], check=True, cwd=tmp_path)
    tuning = gs.Tuning()
    rows = tuning.tile_rows_512 if "-mavx512f" in registers else tuning.tile_rows
    sums = sum(height * (2 + tuning.tile_vectors) for height in range(1, rows + 1))
    assert (tmp_path / "f.s").read_text().count("vfmadd") == sums


@pytest.mark.skipif("x86_64" not in platform.machine(), reason="reads assembly of x86")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(("dtype", "columns"), [("float64", 4), ("float32", 4), ("float64", 7), ("float32", 16)])
def test_nothing_but_products_is_left_of_small_ones(compiler: str, dtype: str, columns: int, tmp_path: Path) -> None:
    """Rows of B are read once, all but the first product of each sum is added by its own instruction, no loop is left."""
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    f = gs.compile(
        lambda a, b: a @ b, args=((5, 3), (3, columns)), name="f", target="c", dtype=dtype, derivatives="value",
        selftest=False,
    )  # fmt: skip
    for name, text in f.files.items():
        (tmp_path / name).write_text(text)
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]
    command = [compiler, *warnings, *building.DEFAULT_FLAGS, "-mavx512f", "-mavx512vl", "-mfma", "-S", "f.c"]
    subprocess.run(command, check=True, cwd=tmp_path)
    text = (tmp_path / "f.s").read_text()
    assert text.count("vfmadd") == 5 * (3 - 1)
    assert text.count("vmulp") == 5
    assert "\tj" not in text


def test_small_products_of_batches_stay_in_lanes() -> None:
    """A vector has the same number of several points; one function of each point would not."""
    f = gs.compile(lambda a, b: gs.tanh(a @ b), args=((4, 4), (4, 4)), target="c", batch=True, derivatives="value")
    assert "gs_small" in f.source
    assert "f_value_batch_lanes" in f.source.replace(f.name, "f")


@pytest.mark.parametrize(("rows", "block"), [(512, 24), (128, 24), (192, 48)])
def test_threads_have_blocks_of_rows_that_are_shared_evenly(rows: int, block: int) -> None:
    """512 rows would be 11 blocks of 48, six of which one of two threads has; 192 are four, of which each has two."""
    f = gs.compile(
        lambda a, b: a @ b, args=((rows, 300), (300, 512)), target="c", derivatives="value", selftest=False,
        threads="openmp",
    )  # fmt: skip
    (call,) = (line for line in f.source.splitlines() if line.startswith("    gs_gemm("))
    assert call.removesuffix(");").split(", ")[-7] == str(block)
