"""C code of loops and branches: no warning from any compiler, and no undefined behaviour while it tests itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import gradsmith as gs

from .harness import COMPILERS
from .loop_programs import PROGRAMS

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]


def build(compiler: str, folder: Path, name: str, *options: str) -> None:
    """The program, without a warning."""
    command = [compiler, *WARNINGS, f"{name}.c", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{compiler}: {done.stderr}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_loops_are_clean_c(program: str, tmp_path: Path) -> None:
    function, shapes = PROGRAMS[program]
    name = "".join(c if c.isalnum() else "_" for c in program)
    gs.compile(function, args=shapes, target="c", name=name).save(tmp_path)
    for compiler in COMPILERS:
        build(compiler, tmp_path, name, "-O1", "-c", "-o", "out.o")
    sanitize = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-D{name.upper()}_SELFTEST"]
    build(COMPILERS[0], tmp_path, name, *sanitize, "-o", "program", "-lm")
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "points agree" in run.stdout
