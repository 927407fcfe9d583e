"""Generated C: no warning from any compiler, in C99 and in C++; no undefined behaviour; and it tests itself."""

import functools
import itertools
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]
COMPILERS = {
    "gcc": ["gcc", "-std=c99"],
    "clang": ["clang", "-std=c99"],
    "g++": ["g++", "-std=c++11", "-x", "c++"],
    "clang++": ["clang++", "-std=c++11", "-x", "c++"],
}

x, y, z = gs.symbols("x y z")
double, exp_, work = gs.symbols("double exp work")
v, W, T = gs.symbol("v", (4,)), gs.symbol("W", (3, 4)), gs.symbol("T", (2, 3, 4))
M = gs.symbol("M", (33, 33)) + np.diag(np.arange(33.0))
table = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

PROGRAMS = {
    "scalars": x * y + gs.tanh(x) ** 3 - gs.atan2(y, x) / (1.0 + z * z) + gs.erf(x) * gs.expm1(y) + abs(z) ** 1.5,
    "choices": gs.where((x > y) & ~(y > z) | (z >= 0.5), gs.sqrt(x), gs.floor(y)) + gs.minimum(x, gs.maximum(y, z)),
    "clipped": gs.clip(x, -1.0, 1.0) * gs.relu(y) + gs.sign(z) * gs.softplus(x) + gs.clip(y, max=2.0),
    "matrices": gs.mse(gs.tanh(W @ v), 0.5) + gs.sum(W @ W.T) + gs.sum(gs.matmul(T, v)),
    "reductions": gs.logsumexp(W) + gs.sum(gs.softmax(W, axis=0) * v) + gs.prod(v) + gs.max(W) - gs.min(v) + gs.mean(T),
    "gathers": gs.sum(W[[0, 2, 0]] @ v[::-1]) + v[1] * v[-1] + gs.sum(T[:, 1, ::2]) + gs.sum(T[:, [0, 1], [2, 3]] ** 2),
    "joined": gs.sum(gs.concatenate([W, gs.stack([v, v * 2.0])]) ** 2) + gs.sum(gs.reshape(T, (4, 6)).T),
    "tables": gs.sum(W * table) + gs.sum(gs.where(table > 0.0, W, -W)) + gs.sum(v * [1.0, -0.0, 1e-300, 1e300]),
    "reserved": double * gs.exp(exp_)
    + work
    + gs.sum(gs.symbol("restrict", (2,)) ** 2)
    + gs.symbol("F_H")
    + gs.symbol("i"),
    "broadcasts": gs.sum((gs.reshape(v, (4, 1)) + gs.reshape(v, (1, 4))) ** 2) + gs.sum(x + v) + gs.sum(gs.outer(v, v)),
    "infinities": gs.where(x > 0.0, x, gs.log(0.0 * y)) + gs.clip(y, min=0.0) + gs.maximum(z, -np.inf),
    "kinds": gs.sum(gs.tanh(W @ gs.sin(v)) ** 2) * gs.sum(v * v),
    "nonzeros": gs.sum((v[1:] - v[:-1] ** 2) ** 2),
    "lapack": gs.sum(gs.linalg.solve(M, M[:2].T) ** 2)
    + gs.sum(gs.linalg.cholesky(M @ M.T + 9.0 * gs.eye(33)) ** 3)
    + gs.sum(gs.linalg.eigvalsh(M) ** 2)
    + gs.linalg.norm(M[:20], "nuc"),
    "many": gs.sum(gs.tanh(W @ v) * x),
    "sums": gs.sum(gs.tanh(W @ v) * x),
    "one_by_one": gs.sum(gs.scan(lambda c, _: (gs.sin(c), c), W @ v, None, length=3)[0]),
    "parts": gs.where(x > y, gs.sum(gs.exp(W @ W.T)) * gs.sin(x), y) * gs.sum(v * table) + gs.tanh(x) * gs.cos(y * z),
    "products": gs.sum((M[:20] @ M.T) ** 2)
    + gs.sum((M @ M[0]) ** 2)
    + gs.sum((M[0] @ M) ** 2)
    + gs.logsumexp(M @ M[1]),
    "long_rows": gs.sum((gs.symbol("R", (6, 131)) @ gs.symbol("Q", (9, 131)).T) ** 2),
    "triangles": gs.sum((gs.tril(M) @ M) ** 2 + gs.triu(M.T) @ M.T) + gs.sum((M @ gs.tril(M)) ** 2),
    "whole_triangles": gs.sum((gs.tril(gs.symbol("B", (64, 64))) @ gs.symbol("A", (64, 64))) ** 2),
    "wide_triangles": gs.sum(gs.sin(gs.triu(M) @ gs.symbol("R", (33, 64)))),
    "short_rows": gs.sum((gs.symbol("R", (5, 9, 7)) @ gs.matrix_transpose(gs.symbol("Q", (5, 7, 7)))) ** 2),
    "long_triangles": gs.sum(gs.tril(gs.symbol("R", (9, 131)) @ gs.symbol("Q", (9, 131)).T) ** 2),
    "pictures": gs.sum(gs.conv2d(gs.reshape(M[:32], (1, 4, 8, 33)), gs.reshape(M[0, :24], (2, 4, 3, 1))) ** 2)
    + gs.sum(gs.conv2d(gs.reshape(M[:32], (1, 32, 3, 11)), gs.reshape(M[:32], (33, 32, 1, 1)), stride=2) ** 3)
    + gs.sum(gs.conv2d(gs.reshape(M[:32], (2, 4, 4, 33)), gs.reshape(M[1:4, :32], (8, 4, 1, 3))) ** 2),
    "shared": -gs.sum(gs.log_softmax(M, axis=1) * M.T) * gs.max(gs.sin(M)) + gs.sum((M[0, 1:] - M[0, :-1] ** 2) ** 2),
    "places": gs.sum(gs.conv2d(gs.reshape(M[:32], (1, 4, 8, 33)), gs.reshape(M[1, :24], (2, 4, 3, 1))) ** 2)
    + gs.sum(gs.conv2d(gs.reshape(M[:32], (2, 4, 4, 33)), gs.reshape(M[1:4, :32], (8, 4, 1, 3))) ** 2)
    + gs.sum(gs.cumsum(M[0]) ** 2)
    + gs.sum(gs.take(M, (at := gs.symbol("at", (3,), dtype="int32")) % 7, axis=0) ** 3)
    + gs.sum(gs.take(gs.symbol("one", (1, 33)), at % 1, axis=0) ** 2),
    "partial_sums": gs.sum(gs.softmax(R := gs.symbol("R", (6, 64)), axis=1) * gs.sqrt(gs.sum(R**2, axis=1))[:, None])
    + gs.sum(R[0] * R[1]) * gs.sum(gs.exp(R[1]) - R[2]),
    "empty": gs.sum(gs.symbol("none", (0,)) ** 2) + x,
}


ALL = ("value", "grad", "value_and_grad", "jvp", "vjp", "jacobian", "hessian", "hvp")
OPTIONS: dict[str, dict[str, Any]] = {
    "infinities": {"args": [x, y, z]},
    "kinds": {"derivatives": ALL},
    "lapack": {"lapack": True},
    "many": {"args": [x, v, W], "derivatives": ALL, "batch": True},
    "products": {"tuning": gs.Tuning(block_least=1)},  # also sums of rows before their weights
    "sums": {"args": [x, v, W], "batch": ("x", "v"), "reduce": "sum", "threads": "openmp"},
    "short_rows": {"dtype": "float32"},
    "one_by_one": {"args": [v, W], "batch": "v", "reduce": "sum", "threads": "openmp"},
    "shared": {"threads": "openmp", "tuning": gs.Tuning(thread_elements=1, thread_share=16)},
    "places": {
        "threads": "openmp",
        "tuning": gs.Tuning(thread_elements=1, thread_share=16, thread_windows=1, taps_bytes=64, slope_bytes=2_000),
    },
    "parts": {"tuning": gs.Tuning(longest_body=1, part_lines=3, unit_lines=30)},
    "nonzeros": {"derivatives": ALL, "sparse": "csc", "triangle": "lower"},
}


@functools.cache
def emitted(name: str) -> gs.CompiledFunction:
    return gs.compile(PROGRAMS[name], target="c", name=name, **OPTIONS.get(name, {}))


def build(command: list[str], folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    line = [*command, *WARNINGS, f"{name}.c", *options]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


#: The programs that can be one file: the helpers of batches have no guards, and not everyone has LAPACK.
UNITS = {name: [name] for name in PROGRAMS if {"batch", "lapack"} & set(OPTIONS.get(name, {}))}
UNITS["all others"] = [name for name in PROGRAMS if name not in UNITS]


def together(names: Iterable[str], folder: Path, *, tested: bool) -> None:
    """Many programs as the one file all.c, with their self-tests or without: starting a compiler takes longer than each."""
    lines = []
    for name in names:
        emitted(name).save(folder)
        if tested:
            lines += [f"#define {name.upper()}_SELFTEST", f"int main_{name}(void);", f"#define main main_{name}"]
        lines += [f'#include "{name}.c"', "#undef main"]
    if tested:
        lines.append(f"int main(void) {{ return {' | '.join(f'main_{name}()' for name in names)}; }}")
    (folder / "all.c").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_compiler_warns(compiler: str, tmp_path: Path) -> None:
    """What a compiler says before it makes code, which is all but what gcc's optimiser finds."""
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    machine = platform.machine() == "x86_64"  # whose oldest and newest registers have texts of their own
    for names, (tested, *options) in itertools.product(
        UNITS.values(), ((False,), (True,), *([(False, "-mavx512f", "-mavx512vl")] if machine else []))
    ):
        together(names, tmp_path, tested=tested)
        result = build(COMPILERS[compiler], tmp_path, "all", "-fsyntax-only", *options)
        assert result.returncode == 0, f"{compiler}: {result.stderr}"


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_optimiser_warns(name: str, tmp_path: Path) -> None:
    emitted(name).save(tmp_path)
    result = build(COMPILERS["gcc"], tmp_path, name, "-O2", "-c", "-o", "out.o")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("unit", UNITS)
def test_the_self_tests_run_clean_under_sanitizers(unit: str, compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    names = UNITS[unit]
    linked = dict.fromkeys(f"-l{library}" for name in names for library in emitted(name).libraries)
    together(names, tmp_path, tested=True)
    sanitize = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    result = build(COMPILERS[compiler], tmp_path, "all", *sanitize, "-o", "program", *linked, "-lm")
    if linked and "-llapack" in result.stderr:
        pytest.skip("no LAPACK to link with: install liblapack-dev")
    assert result.returncode == 0, result.stderr
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("points agree") == len(names)


def test_a_self_test_sees_a_wrong_number(tmp_path: Path) -> None:
    f = gs.compile(x * y + gs.tanh(x), target="c")
    f.save(tmp_path)
    text = (tmp_path / "f.c").read_text()
    wrong = text.replace("= x * y", "= x * y * 1.0001")
    assert wrong != text
    (tmp_path / "f.c").write_text(wrong)
    assert build(COMPILERS["gcc"], tmp_path, "f", "-DF_SELFTEST", "-o", "program", "-lm").returncode == 0
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "is not" in run.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_dependency_no_heap_no_globals(name: str) -> None:
    f = emitted(name)
    code = "".join(text.split(f"#ifdef {name.upper()}_SELFTEST")[0] for text in f.files.values())
    integers = {"<stdint.h>"} if f.libraries or "gs_vbits" in code else set()  # LAPACK's, and those of bit patterns
    integers |= {"<stdint.h>"} if "int32_t" in code else set()
    integers |= {"<omp.h>"} if {"threads", "batch"} <= {*OPTIONS.get(name, {})} or "GS_TEAM" in code else set()
    assert set(re.findall(r"#include (\S+)", code)) == {"<math.h>", "<stddef.h>", f'"{name}.h"', *integers}
    assert not re.search(r"\b(malloc|calloc|realloc|free|alloca)\b", code)
    code = code.replace(f"\n{name.upper()}_PART void", "\nstatic void")  # what the macro stands for
    assert not re.search(r"(?m)^(?!static|typedef|extern|const ptrdiff_t|void|\}|\{|#|//|/\*| |\t)\w", code), (
        "a definition at file level"
    )
    assert not re.search(r"\bstatic (?!const)[^(]*[;=]", code), "a variable that outlives a call"


def test_a_workspace_is_shared_by_all_functions() -> None:
    f = emitted("matrices")
    needed = int(f.files["matrices.h"].split("#define MATRICES_WORK ")[1].split()[0])
    assert needed == max(work.size for function in f._program.functions for work in function.work) > 0
