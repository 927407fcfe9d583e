"""C code of loops and branches: no warning from any compiler, and no undefined behaviour while it tests itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import gradsmith as gs

from ..test_c_quality import COMPILERS, build
from .loop_programs import PROGRAMS


@pytest.mark.parametrize("program", PROGRAMS)
def test_loops_are_clean_c(program: str, tmp_path: Path) -> None:
    function, shapes = PROGRAMS[program]
    name = "".join(c if c.isalnum() else "_" for c in program)
    gs.compile(function, args=shapes, target="c", name=name).save(tmp_path)
    for compiler, command in COMPILERS.items():
        if shutil.which(compiler):
            result = build(command, tmp_path, name, "-O1", "-c", "-o", "out.o")
            assert result.returncode == 0, f"{compiler}: {result.stderr}"
    sanitize = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-D{name.upper()}_SELFTEST"]
    result = build(COMPILERS["gcc"], tmp_path, name, *sanitize, "-o", "program", "-lm")
    assert result.returncode == 0, result.stderr
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "points agree" in run.stdout
