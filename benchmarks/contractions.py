"""Products of matrices, GFLOP/s: the C that we emit beside OpenBLAS on one thread.

Run `python benchmarks/contractions.py [rounds] [out.md]`, with gcc (or $CC) and libopenblas-dev. All sizes of one
element type are one C file, built once for this machine. Each case is timed by turns in one process, the least time of
all rounds counts (of the thread, so that other work on the machine matters less), and a wrong product gets no time.
OpenBLAS 0.3.21 takes a Zen 5 for one of Intel's Haswell: set OPENBLAS_CORETYPE=SkylakeX for its kernels with AVX-512.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith_runtime import build

FLAGS = " ".join(("-march=native", *build.DEFAULT_FLAGS, *build.VECTOR_FLAGS))
SIZES = [(n, n, n) for n in (4, 8, 13, 16, 32, 48, 64, 100, 128, 256, 512, 1024)] + [(64, 784, 128)]
FORMS = {"A B": (False, False), "Aᵀ B": (True, False), "A Bᵀ": (False, True)}
VECTORS = [(64, 64), (300, 300), (1000, 500)]


def programs(dtype: str) -> dict[str, tuple[gs.CompiledFunction, tuple[Any, ...]]]:
    """Our functions by name, with the case each is for."""
    found = {}

    def add(name: str, y: gs.Expr, xs: list[gs.Expr], case: tuple[Any, ...]) -> None:
        f = gs.compile(y, args=xs, name=name, target="c", dtype=dtype, derivatives="value", selftest=False)
        found[name] = f, case

    for m, k, n in SIZES:
        for i, (form, (ta, tb)) in enumerate(FORMS.items()):
            a, b = gs.symbol("a", (k, m) if ta else (m, k)), gs.symbol("b", (n, k) if tb else (k, n))
            y = (a.T if ta else a) @ (b.T if tb else b)
            add(f"p{m}_{k}_{n}_{i}", y, [a, b], (m, k, n, form, ta, tb))
    for m, k in VECTORS:
        for i, ta in enumerate((False, True)):
            a, x = gs.symbol("a", (m, k)), gs.symbol("x", (m if ta else k,))
            add(f"v{m}_{k}_{i}", a.T @ x if ta else a @ x, [a, x], (m, k, 1, "Aᵀ x" if ta else "A x", ta, None))
    return found


DRIVER = """\
double time_{name}(int library, int repeats, const {real} *a, const {real} *b, {real} *y, {real} *work) {{
    struct timespec begin, end;
    (void)work;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < repeats; ++i) {{
        if (library) {{
            {call};
        }} else {{
            {name}(a, b, y{work});
        }}
    }}
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec)) / repeats;
}}
"""


def blas_call(dtype: str, case: tuple[Any, ...]) -> str:
    """OpenBLAS's call for one case."""
    m, k, n, _, ta, tb = case
    p, turned = "d" if dtype == "float64" else "s", {False: "CblasNoTrans", True: "CblasTrans"}
    if tb is None:
        return f"cblas_{p}gemv(CblasRowMajor, {turned[ta]}, {m}, {k}, 1, a, {k}, b, 1, 0, y, 1)"
    forms = f"{turned[ta]}, {turned[tb]}, {m}, {n}, {k}"
    return f"cblas_{p}gemm(CblasRowMajor, {forms}, 1, a, {m if ta else k}, b, {k if tb else n}, 0, y, {n})"


def built(every: dict[str, tuple[gs.CompiledFunction, tuple[Any, ...]]], dtype: str, folder: Path) -> ctypes.CDLL:
    """One shared library of all, and of what times them."""
    for f, _ in every.values():
        f.save(folder)
    real = "double" if dtype == "float64" else "float"
    parts = [
        DRIVER.format(name=name, real=real, call=blas_call(dtype, case), work=", work" * len(f._program.value.work))
        for name, (f, case) in every.items()
    ]
    headers = [f'#include "{name}.h"' for name in every]
    (folder / "all.c").write_text("".join(f'#include "{name}.c"\n' for name in every))
    (folder / "driver.c").write_text("\n".join(["#include <cblas.h>", "#include <time.h>", *headers, *parts]))
    compiler = os.environ.get("CC", "gcc").split()
    link = ["-D_POSIX_C_SOURCE=200809L", "-fPIC", "-shared", "all.c", "driver.c", "-o", "all.so", "-lopenblas", "-lm"]
    subprocess.run([*compiler, *FLAGS.split(), *link], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "all.so"))
    library.openblas_set_num_threads(1)
    return library


def measured(dtype: str, rounds: int) -> list[str]:
    """Rows of the table for one element type."""
    every = programs(dtype)
    generator = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = built(every, dtype, Path(folder))
        for name, (f, case) in every.items():
            m, k, n, form, *_ = case
            xs = [generator.normal(size=a.shape).astype(dtype) for a in f._program.inputs]
            ys = [np.full(f._program.value.outputs[0].shape, np.nan, dtype) for _ in range(2)]
            work = np.zeros(max([w.size for w in f._program.value.work], default=1), dtype)
            call = getattr(library, f"time_{name}")
            call.restype = ctypes.c_double
            pointers = [[x.ctypes.data_as(ctypes.c_void_p) for x in (*xs, y, work)] for y in ys]
            flops = 2.0 * m * k * n
            best = [np.inf, np.inf]
            for turn in range(rounds + 1):
                for i in (0, 1):
                    repeats = max(1, int(1e7 / flops)) if turn else 1
                    best[i] = min(best[i], call(i, repeats, *pointers[i]))
            assert np.allclose(*ys, rtol=1e-3 if dtype == "float32" else 1e-10, atol=1e-3), name
            ours, theirs = (flops / t * 1e-9 for t in best)
            rows.append(f"| {dtype} | {m} x {k} x {n} | {form} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    head = ["| type | rows x inner x columns | product | ours | OpenBLAS | ratio |", "|---|---|---|---|---|---|"]
    print("\n".join(head))
    rows = [row for dtype in ("float64", "float32") for row in measured(dtype, rounds)]
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text("\n".join([*head, *rows, ""]))


if __name__ == "__main__":
    main()
