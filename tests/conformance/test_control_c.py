"""C code of loops and branches: no warning from any compiler, and no undefined behaviour while it tests itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gradsmith as gs

from .harness import COMPILERS, one_text
from .loop_programs import PROGRAMS

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]


@pytest.fixture(scope="module")
def compiled() -> list[gs.CompiledFunction]:
    """All programs, which are built together."""
    found = []
    for program, (function, shapes) in PROGRAMS.items():
        word = "".join(c if c.isalnum() else "_" for c in program)
        found.append(gs.compile(function, args=shapes, target="c", name=word))
    return found


def built(compiler: str, folder: Path, text: str, *options: str) -> None:
    (folder / "all.c").write_text(text)
    command = [compiler, *WARNINGS, "all.c", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{compiler}: {done.stderr}"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_loops_are_clean_c(compiler: str, compiled: list[gs.CompiledFunction], tmp_path: Path) -> None:
    options = ["-O1", "-c", "-o", "out.o"] if compiler == "gcc" else ["-fsyntax-only"]  # gcc's look at what flows where
    built(compiler, tmp_path, "".join(map(one_text, compiled)), *options)


def test_loops_test_themselves_without_undefined_behaviour(compiled: list[gs.CompiledFunction], tmp_path: Path) -> None:
    """Each program has a main of its own, so each gets a name of its own here."""
    parts, calls = [], []
    for f in compiled:
        main = f"{f.name}_main"
        parts.append(f"#define {f.name.upper()}_SELFTEST\n#define main {main}\n{one_text(f)}\n#undef main\n")
        calls.append(f"    failed += {main}();\n")
    parts.append(f"int main(void)\n{{\n    int failed = 0;\n{''.join(calls)}    return failed;\n}}\n")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built(COMPILERS[0], tmp_path, "".join(parts), "-O0", *sanitize, "-o", "program", "-lm")
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("points agree") == len(compiled)
