"""Random programs: all targets agree with torch, value and gradient, and the second derivative with itself.

Hypothesis writes programs and shrinks those that fail; C, which costs a compiler run, is tested on a batch of seeds. To
search longer: `GRADSMITH_RANDOM_PROGRAMS=5000 pytest tests/conformance/test_random_graphs.py`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradsmith as gs
from gradsmith.derive.adjoint import gradient

from . import fuzz, harness, random_programs
from .harness import COMPILERS, TARGETS, Program, Runners, disagreement
from .programs import Sample, random_program

MANY = int(os.environ.get("GRADSMITH_RANDOM_PROGRAMS", "0"))
TOLERANCE = 1e-9  # of the largest number that is compared


def compiled(sample: Sample, name: str, targets: tuple[str, ...] = TARGETS) -> Program:
    specs = tuple(gs.spec(shape) for shape in sample.arguments.values())
    function = sample.function(name)
    return Program(
        {t: gs.compile(function, args=specs, wrt=sample.wrt, target=t, name=name, selftest=False) for t in targets}
    )


def numbers(sample: Sample) -> list[int]:
    return [list(sample.arguments).index(name) for name in sample.wrt]


@settings(
    max_examples=MANY or 60, derandomize=not MANY, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(st.data())
def test_python_and_numpy(data: st.DataObject) -> None:
    sample = random_program(lambda n: data.draw(st.integers(0, n - 1)))
    program = compiled(sample, "program", ("python", "numpy"))
    for seed in range(2):
        point = sample.point(seed)
        for target, f in program.compiled.items():
            got = harness.run_python(f)("value_and_grad", point)
            error = disagreement(program.graph, point, numbers(sample), got)
            assert error < TOLERANCE, f"{target} is off by {error:.3g} at {point}\n{sample.source}"


@pytest.mark.parametrize("first", range(0, MANY or 40, 40))
def test_all_targets(first: int, tmp_path: Path) -> None:
    samples = {f"p{seed}": seeded(seed) for seed in range(first, first + 40)}
    programs = {name: compiled(sample, name) for name, sample in samples.items()}
    runners = Runners(programs, tmp_path, COMPILERS if MANY else COMPILERS[:1], "-O2")
    problems = []
    for name, sample in samples.items():
        point = sample.point(first)
        for target, run in runners.all(name):
            got = run("value_and_grad", point)
            error = disagreement(programs[name].graph, point, numbers(sample), got)
            alone = [*run("value", point), *run("grad", point)]
            apart = max(harness.distance(a, b, np.abs(b).max(initial=1.0)) for a, b in zip(alone, got, strict=True))
            if not error < TOLERANCE or apart > 64:
                problems.append(f"{name}, {target}: off by {error:.3g}, parts by {apart:.3g} eps\n{sample.source}")
    assert not problems, "\n".join(problems)


def seeded(seed: int) -> Sample:
    return random_program(random.Random(seed).randrange)


@pytest.mark.parametrize("seed", range(1000, 1000 + (MANY // 4 or 15)))
def test_second_derivative(seed: int) -> None:
    """The derivative of a slope, against central differences of the generated gradient."""
    sample = seeded(seed)
    xs = [gs.symbol(name, shape) for name, shape in sample.arguments.items()]
    slopes = gradient(sample.function()(*xs), xs)
    total = slopes[0] * 0.0 if not xs[0].shape else gs.sum(slopes[0]) * 0.0
    for i, g in enumerate(slopes):
        total = total + harness.contracted(g, harness.weights(g.shape, i))
    f = gs.compile(total, args=xs, target="numpy", selftest=False)
    point = sample.point(seed)
    value, *got = harness.run_python(f)("value_and_grad", point)
    for i, g in enumerate(got):
        assert g.shape == xs[i].shape
        for place in list(np.ndindex(g.shape))[:3]:
            expected = harness.central_difference(f.graph, point, i, place, 1e-5)
            assert abs(g[place] - expected) < 1e-4 * (1 + abs(value) + abs(expected)), f"{i}{place}\n{sample.source}"


@pytest.mark.parametrize("first", range(0, MANY // 8 or 4, 4))
def test_all_ops_and_edges(first: int) -> None:
    """Four batches of the long run (see `fuzz.py`): values and gradients at a plain point and among edges."""
    findings: list[str] = []
    tally = fuzz.fuzz(range(first, first + 4), None, [("gcc", "-O1")], findings.append)
    assert sum(tally.graphs.values()) == 4 * fuzz.TOGETHER
    assert not [text for text in findings if "bug:" in text], "\n".join(findings)


def test_the_fuzzer_finds_a_wrong_slope() -> None:
    """A rule that is off by 1 % is a bug, and is found to be ours."""
    x = gs.symbol("x")
    right = random_programs.Sample("", (x,), gs.sin(x), (), ())
    leaves = [np.asarray(0.3)]
    got, want = [np.sin(leaves[0]), 1.01 * np.cos(leaves[0])], [np.sin(leaves[0]), np.cos(leaves[0])]
    places = fuzz.suspicious(got, want, "float64")
    assert places == [(1, ())]
    assert fuzz.verdict(right, 1.0, leaves, got, want, places[0], "float64") == "bug: wrong"
    assert fuzz.verdict(right, 1.0, leaves, want, got, places[0], "float64") == "torch is the worse one"
