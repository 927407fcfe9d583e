"""The contract between targets (docs/contract.md): with `strict=True` equal to the last bit, and else within a bound.

Python, NumPy and C by each compiler compute the value and gradient of every op's record, of whole programs and of
random ones, and are compared with each other; no reference takes part. NaN equals NaN. (That ops are within the bound
is asked in test_ops, where they are built anyway.)
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.errors import TargetError
from gradsmith.registry import OPS

from . import harness, test_random_graphs
from .harness import Program, Runners, contracted
from .sample_programs import PROGRAMS, compile_program
from .test_ops import NAMES, applied, around, cases

WHOLE = 16  # the bound for programs, in units of eps*(the largest number of the result)
GROUP = 12
Points = Sequence[Sequence[Any]]


def together(programs: Mapping[str, Program], points: Mapping[str, Points], folder: Path) -> Iterator[Any]:
    """For each program and point: its name, the point, and what each target computes (value, then gradient)."""
    runners = Runners(programs, folder, level="-O2")
    for name in programs:
        for point in points[name]:
            results = {t: f._flat(kind(programs[name]), point) for t, f in programs[name].compiled.items() if t != "c"}
            results |= {t: run(kind(programs[name]), point) for t, run in runners.all(name) if t not in results}
            yield name, point, results


def kind(program: Program) -> str:
    return "value" if program.compiled["c"]._program.value_and_grad is None else "value_and_grad"


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the numbers are the same ones, with the sign of zero; NaN equals NaN."""
    a, b = np.asarray(a), np.asarray(b)
    zeros = (a == 0) & (np.signbit(a) != np.signbit(b)) if a.dtype.kind == "f" else False
    return a.shape == b.shape and bool(np.all(((a == b) & ~zeros) | ((a != a) & (b != b))))


def unequal(found: Iterator[Any]) -> list[str]:
    problems = []
    for name, point, results in found:
        first, *others = results.items()
        for target, result in others:
            if not all(same_bits(a, b) for a, b in zip(result, first[1], strict=True)):
                problems.append(f"{name} of {point}:\n  {first[0]} {first[1]}\n  {target} {result}")
    return problems


def apart(a: Any, b: Any, scale: Any = 0.0) -> float:
    return harness.distance(a, b, np.maximum(np.abs(a), scale))


def of_records(names: Sequence[str], **options: Any) -> tuple[dict[str, Program], dict[str, Points]]:
    """Each op's record at its samples and edges, and at random points around them."""
    programs, points = {}, {}
    for name in names:
        for i, case in enumerate(cases(OPS[name], "float64")):
            xs = [
                gs.symbol(f"x{k}", shape, "int64" if x.dtype.kind == "i" else "float64")
                for k, (shape, x) in enumerate(zip(case.shapes, case.points[0], strict=True))
            ]
            y = applied(OPS[name], xs, case.params)
            key = f"{name}_{i}"
            programs[key] = harness.joint(contracted(y, harness.weights(y.shape)), xs, key, **options)
            points[key] = [*case.points, *around(name, case)]
    return programs, points


RANDOM = int(os.environ.get("GRADSMITH_RANDOM_PROGRAMS", "40"))  # more for a long run by hand
GROUPS = [NAMES[k : k + GROUP] for k in range(0, len(NAMES), GROUP)]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]}-{names[-1]}")
def test_ops_are_equal_with_strict(names: list[str], tmp_path: Path) -> None:
    problems = unequal(together(*of_records(names, strict=True), tmp_path))
    assert not problems, "\n".join(problems)


def of_programs(**options: Any) -> tuple[dict[str, Program], dict[str, Points]]:
    programs = {
        key: Program(
            {
                t: compile_program(key, m, selftest=False, name=f"f_{key}", derivatives="value_and_grad", **options)
                for t, m in harness.manifests().items()
            }
        )
        for key in PROGRAMS
    }
    generator = np.random.default_rng(2)
    points = {
        key: [[generator.normal(size=a.shape) for a in p.compiled["c"].inputs] for _ in range(4)]
        for key, p in programs.items()
    }
    return programs, points


def of_seeds(seeds: Sequence[int], **options: Any) -> tuple[dict[str, Program], dict[str, Points]]:
    samples = {f"p{seed}": test_random_graphs.seeded(seed) for seed in seeds}
    programs = {}
    for name, sample in samples.items():
        specs = tuple(gs.spec(shape) for shape in sample.arguments.values())
        function = sample.function(name)
        options |= {"args": specs, "wrt": sample.wrt, "name": name}
        options |= {"selftest": False, "derivatives": "value_and_grad"}
        programs[name] = Program({t: gs.compile(function, target=m, **options) for t, m in harness.manifests().items()})
    return programs, {name: [sample.point(k) for k in range(2)] for name, sample in samples.items()}


def test_programs_are_equal_with_strict(tmp_path: Path) -> None:
    problems = unequal(together(*of_programs(strict=True), tmp_path))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("first", range(0, RANDOM, 40))
def test_random_programs_are_equal_with_strict(first: int, tmp_path: Path) -> None:
    problems = unequal(together(*of_seeds(range(first, first + 40), strict=True), tmp_path))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("made", [of_programs, lambda: of_seeds(range(20))], ids=["written", "random"])
def test_programs_are_close(made: Any, tmp_path: Path) -> None:
    problems = []
    for name, point, results in together(*made(), tmp_path):
        first, *others = results.items()
        for target, result in others:
            errors = [apart(a, b, np.abs(a).max(initial=1.0)) for a, b in zip(result, first[1], strict=True)]
            if max(errors) > WHOLE:
                problems.append(f"{name} of {point}: {target} is {errors} eps from python")
    assert not problems, "\n".join(problems)


def test_without_strict_bits_differ(tmp_path: Path) -> None:
    """So the tests above compare what can differ."""
    assert unequal(together(*of_programs(), tmp_path))


def test_float32_has_no_strict_numpy() -> None:
    x = gs.symbol("x", (3,))
    with pytest.raises(TargetError, match="float64 only"):
        gs.compile(gs.sum(gs.exp(x)), target="numpy", dtype="float32", strict=True)


@pytest.mark.parametrize("compiler", harness.COMPILERS)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for x86 instructions")
def test_c_forbids_contraction(compiler: str, tmp_path: Path) -> None:
    """By the file itself, where the flags allow it."""
    x, y, z = gs.symbols("x y z")
    for strict in (True, False):
        gs.compile(x * y + z, target="c", strict=strict, selftest=False).save(tmp_path)
        command = [compiler, "-std=gnu99", "-O2", "-mfma", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-S", "f.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert ("vfmadd" in (tmp_path / "f.s").read_text()) is not strict


@pytest.mark.parametrize("compiler", harness.COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_c_is_strict_at_every_level(compiler: str, level: str, tmp_path: Path) -> None:
    programs, points = of_programs(strict=True)
    library = harness.Library({k: p.compiled["c"] for k, p in programs.items()}, compiler, tmp_path, level)
    for key, p in programs.items():
        for point in points[key]:
            pairs = zip(library[key](kind(p), point), p.compiled["python"]._flat(kind(p), point), strict=True)
            assert all(same_bits(a, b) for a, b in pairs), key
