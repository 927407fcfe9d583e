"""Programs of the size people write, on every target: they agree with torch, and their files test themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .harness import COMPILERS, TARGETS
from .sample_programs import PROGRAMS, compile_program

NEEDED = {
    "acos", "asin", "atan", "atan2", "cos", "cosh", "erf", "exp", "expm1", "floor", "hypot", "log", "log1p", "pow", "sin", "sinh",
    "sqrt", "tan", "tanh",
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("key", PROGRAMS)
def test_value_and_gradient_equal_torch(key: str, target: str) -> None:
    f = compile_program(key, target, selftest=False)
    report = f.check(n=4)
    assert report.ok, str(report)


@pytest.mark.parametrize("target", ["python", "numpy"])
@pytest.mark.parametrize("key", PROGRAMS)
def test_python_files_test_themselves(key: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    compile_program(key, target).module._selftest()
    assert "points agree" in capsys.readouterr().out


@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_files_test_themselves(compiler: str, tmp_path: Path) -> None:
    """All in one binary, under the sanitizers; and the objects hold functions and constants only."""
    lines = ["int main(void);"]
    for key in PROGRAMS:
        compile_program(key, "c", name=f"f_{key}").save(tmp_path)
        lines += [
            f"#define F_{key.upper()}_SELFTEST",
            f"#define main main_{key}",
            f'#include "f_{key}.c"',
            "#undef main",
        ]
    lines.append(f"int main(void) {{ return {' | '.join(f'main_{key}()' for key in PROGRAMS)}; }}\n")
    (tmp_path / "all.c").write_text("\n".join(lines))
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    run(tmp_path, compiler, "-std=c99", "-O0", *sanitize, "all.c", "-o", "all", "-lm")
    assert run(tmp_path, tmp_path / "all").count("points agree") == len(PROGRAMS)
    if not shutil.which("nm"):
        return
    run(tmp_path, compiler, "-std=c99", "-O1", "-c", *(f"f_{key}.c" for key in PROGRAMS))
    for key in PROGRAMS:
        symbols = [line.split()[-2:] for line in run(tmp_path, "nm", f"f_{key}.o").splitlines()]
        defined = {name for kind, name in symbols if kind == "T"}
        assert defined == {f"f_{key}", f"f_{key}_grad", f"f_{key}_value_and_grad"}
        assert not [name for kind, name in symbols if kind in "BbDdCGgSs"], "writable data"
        assert {n for kind, n in symbols if kind == "U"} <= NEEDED | {
            "memset",
            "memcpy",
            "sincos",
            "_GLOBAL_OFFSET_TABLE_",
        }


def run(folder: Path, *command: object) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout
