"""Emitted C is the same program everywhere: other compilers, other processors, C as Microsoft's compiler reads it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .programs import OPTIONS, emitted

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cortex_m4"
PEDANTIC = ["-std=c99", "-pedantic-errors"]
PLATFORMS: dict[str, tuple[list[str], list[str]]] = {  # how to compile, and what runs the program
    "gcc": (["gcc", *PEDANTIC], []),
    "clang": (["clang", *PEDANTIC], []),
    "tcc": (["tcc"], []),
    "zig": ([sys.executable, "-m", "ziglang", "cc"], []),
    "aarch64": (["aarch64-linux-gnu-gcc", *PEDANTIC, "-static"], ["qemu-aarch64"]),
    "riscv64": (["riscv64-linux-gnu-gcc", *PEDANTIC, "-static"], ["qemu-riscv64"]),
}


def needs(*programs: str) -> None:
    """Skip the test where one of these programs is missing."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (.ci/run installs them)")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs, in one folder, and one program that runs all of their self-tests."""
    folder = tmp_path_factory.mktemp("portable")
    calls = []
    for name in OPTIONS:
        f = emitted(name)
        assert f"{name.upper()}_SELFTEST" in f.source
        f.save(folder)
        wrapper = f"#define {name.upper()}_SELFTEST\n#define main {name}_main\nint main(void);\n#include "
        (folder / f"test_{name}.c").write_text(f'{wrapper}"{name}.c"\n')
        calls.append(name)
    declared = "".join(f"int {name}_main(void);\n" for name in calls)
    (folder / "all.c").write_text(
        f"{declared}int main(void) {{ return {' | '.join(f'{n}_main()' for n in calls)}; }}\n"
    )
    return folder


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_self_tests_agree(platform: str, files: Path, tmp_path: Path) -> None:
    compiler, runner = PLATFORMS[platform]
    if platform == "zig" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang not installed (pip install 'gradsmith[zig]')")
    needs(compiler[0], *runner)
    sources = ["all.c", *(f"test_{name}.c" for name in OPTIONS)]
    program = str(tmp_path / "program")
    done = subprocess.run(
        [*compiler, "-O1", *sources, "-o", program, "-lm"], cwd=files, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*runner, program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("points agree") == len(OPTIONS)


MATH_H = """\
#define HUGE_VAL (1e300 * 1e300)
#define HUGE_VALF ((float)HUGE_VAL)
#define INFINITY HUGE_VALF
#define NAN ((float)(INFINITY * 0.0F))
#define isnan(x) ((x) != (x))
#define isinf(x) ((x) - (x) != 0 && !isnan(x))
#define isfinite(x) ((x) - (x) == 0)
#define signbit(x) ((x) < 0)
"""


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_syntax_is_microsofts_too(language: str, files: Path, tmp_path: Path) -> None:
    """As clang reads it for Windows, without GNU's extensions; its C has no `restrict` and no variable lengths."""
    needs("clang")
    used = {w for path in files.glob("*.c") for w in re.findall(r"\b([a-z][a-z0-9]*)\(", path.read_text())}
    double = [f"double {name}({args});" for name, args in _LIBM.items() if name in used]
    single = [d.replace("double", "float").replace("(", "f(", 1) for d in double]
    opening, closing = ('extern "C" {\n', "\n}\n") if language == "c++" else ("", "\n")
    (tmp_path / "math.h").write_text(f"#pragma once\n{MATH_H}{opening}" + "\n".join([*double, *single]) + closing)
    resources = subprocess.run(["clang", "-print-resource-dir"], capture_output=True, text=True, check=True).stdout
    options = ["--target=x86_64-pc-windows-msvc", "-fms-compatibility", "-fms-extensions", "-fsyntax-only", "-nostdinc"]
    options += ["-Wall", "-Wextra", "-Wgnu", "-Wvla", "-Wc99-designator", "-Wc99-extensions", "-Werror"]
    options += ["-Wno-unknown-pragmas", "-isystem", str(tmp_path), "-isystem", f"{resources.strip()}/include"]
    for name in OPTIONS:
        done = subprocess.run(
            ["clang", "-x", language, *options, f"{name}.c"], cwd=files, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


_ONE = (
    "acos acosh asin asinh atan atanh cbrt ceil cos cosh erf erfc exp exp2 expm1 fabs floor lgamma log log10 log1p log2 "
    "logb nearbyint rint round sin sinh sqrt tan tanh tgamma trunc"
)
_TWO = "atan2 copysign fdim fmax fmin fmod hypot nextafter pow remainder"
_LIBM = {
    **dict.fromkeys(_ONE.split(), "double"),
    **dict.fromkeys(_TWO.split(), "double, double"),
    "ldexp": "double, int",
    "fma": "double, double, double",
}


def test_the_cortex_m4_example_runs_as_its_readme_says(tmp_path: Path) -> None:
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    folder = tmp_path / "cortex_m4"
    shutil.copytree(EXAMPLE, folder)
    block = re.search(r"(?s)```sh\n(.*?)```", (EXAMPLE / "README.md").read_text())
    assert block is not None
    commands = [line.split() for line in block[1].splitlines()]
    assert [c[0] for c in commands] == ["python", "arm-none-eabi-gcc", "arm-none-eabi-gcc", "qemu-system-arm"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
    for command in commands:
        if command[0] == "python":
            command[0] = sys.executable
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "points agree" in done.stdout
    symbols = subprocess.run(
        ["arm-none-eabi-nm", "build/learn.o"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert set(re.findall(r" U (\w+)", symbols.stdout)) == {"expf", "tanhf"}  # nothing in double, no heap
