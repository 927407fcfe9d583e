"""The benchmarks' own claims: a wrong answer has no time, and the hand-written C computes what torch does."""

import functools
import importlib
import itertools
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
X86 = platform.machine() in ("x86_64", "AMD64") and sys.platform == "linux"

#: Entries of one workload, x**2: right, and wrong in all the ways that a table has to show.
ENTRIES = """
import os
from harness.records import Family, Ready, Workload

def entry(answer):
    return lambda arguments: Ready(answer, tuple(arguments), lambda result: result)

def missing(arguments):
    import a_library_that_nobody_has

ENTRIES = {
    "right": entry(lambda x: [x * x, 2.0 * x]),
    "wrong value": entry(lambda x: [x * x * (1.0 + 1e-8), 2.0 * x]),
    "wrong slope": entry(lambda x: [x * x, -2.0 * x]),
    "no slope": entry(lambda x: [x * x]),
    "not finite": entry(lambda x: [x * x, float("nan")]),
    "missing": missing,
    "raises": entry(lambda x: 1 // 0),
    "dies": entry(lambda x: os._exit(1)),
    "right again": entry(lambda x: [x * x, x + x]),
}
WORKLOAD = Workload("square", lambda rng: [3.0], lambda x: [9.0, 6.0], ENTRIES)
FAMILY = Family("entries_of_a_test", "", "", "ns", 1e-9, [WORKLOAD], [("right", "right again")], {"wrong slope": "right"})
"""


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of benchmarks/, and torch's default type as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    torch.set_default_dtype(torch.float32)


def test_wrong_answers_have_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "entries_of_a_test.py").write_text(ENTRIES, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    rounds, table = importlib.import_module("harness.rounds"), importlib.import_module("harness.table")
    family = importlib.import_module("entries_of_a_test").FAMILY
    effort = rounds.Effort(rounds=2, slice=1e-4, patience=60.0)
    with rounds.Entries(family.name) as entries:
        found = rounds.measure(entries, family, family.workloads[0], effort, lambda doing: None)
    assert {name for name, result in found.items() if result.times} == {"right", "right again"}
    assert len(found["right"].times) == effort.rounds
    assert {name: result.why for name, result in found.items() if result.why} == {
        "wrong value": "wrong (output 0 is off by 1e-08)",
        "wrong slope": "wrong (output 1 is off by 2)",
        "no slope": "wrong (1 outputs for 2)",
        "not finite": "wrong (output 1 is not finite)",
        "missing": "not installed",
        "raises": "ZeroDivisionError: integer division or modulo by zero",
        "dies": "its process died",
    }
    text = "\n".join(table.tables(family, {"square": found}))
    assert "wrong (output 1 is off by 2)" in text
    assert "(wrong slope)" not in text  # no ratio beside a peer that is wrong


def workloads() -> list[tuple[str, str]]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        families = [importlib.import_module(name).FAMILY for name in ("calls", "batches", "arrays")]
    finally:
        sys.path.remove(str(BENCHMARKS))
    return [(family.name, w.name) for family in families for w in family.workloads]


@pytest.mark.skipif(not X86, reason="the hand-written C has x86's vectors, and glibc's libmvec")
@pytest.mark.parametrize(("family", "name"), workloads())
def test_hand_written_c_and_python(family: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the instructions of this machine, as the benchmarks are built; a batch has a remainder."""
    monkeypatch.setenv("CC", "cc -march=native")
    records, verdict = importlib.import_module("harness.records"), importlib.import_module("harness.verdict").verdict
    workload = next(w for w in importlib.import_module(family).FAMILY.workloads if w.name == name)
    given = workload.given()
    if family == "batches":
        given = [np.ascontiguousarray(a[:, :1003]) for a in given]
    want = records.arrays_of(workload.reference(*given))
    for entry in {"hand C", "hand C, out=", "hand Python"} & set(workload.entries):
        ready = workload.entries[entry](given)
        assert verdict(ready.answer(), want, workload.dtype) == "", entry
        assert verdict(ready.answer(), want, workload.dtype) == "", f"{entry}, called again"


def test_python_by_hand_gives_what_ours_gives() -> None:
    """The same tuples and lists: to make one more takes a tenth of the smallest call."""
    calls = importlib.import_module("calls")

    def kinds(x: Any) -> Any:
        return type(x), [kinds(part) for part in x] if isinstance(x, tuple | list) else None

    for call in (c for c in calls.CALLS if c.scalars or len(c.wrt) > 1):
        ready = [
            calls.entries(call)[entry](call.draw(np.random.default_rng(0)))
            for entry in ("hand Python", "gradsmith Python")
        ]
        by_hand, ours = (kinds(r.function(*r.arguments)) for r in ready)
        assert by_hand == ours, call.name


#: Numbers that the C of `benchmarks/hand` keeps in arrays of its own, for these sizes; panels of packed matrices (3,120)
#: are part of them. What it keeps on the way in its results is not.
PLANNED = {
    "two layers 64x784-128-10": 20_144,
    "logistic regression 1000x500": 64,
    "least squares 1000x500": 4,
    "logsumexp of A x + b, 1000": 16,
    "Gaussian mixture d=10 k=25 n=1000": 29_242,
    "Gaussian mixture d=64 k=100 n=1000": 1_292_704,
    "heat equation, 128 cells, 50 steps": 544,
    "attention 128x64": 93_232,
    "convolution 3x3 of 28x28x8": 22_660,
    "layer norm 128x256": 0,
    "LSTM, 20 steps": 64_560,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PLANNED)
def test_memory_is_as_planned_by_hand(name: str, dtype: str) -> None:
    """Within a fifth; a line of the cache, less than which no block of rows has, counts as nothing."""
    import gradsmith as gs

    arrays = importlib.import_module("arrays")
    assert {*PLANNED} == {m.name for m in arrays.MODELS}
    model = next(m for m in arrays.MODELS if m.name == name)
    f = gs.compile(
        functools.partial(model.loss, arrays.gradsmith_functions()), wrt=tuple(model.wrt), target="c", name="f",
        args=tuple(np.shape(a) for a in model.draw(np.random.default_rng(0))), selftest=False, derivatives="value_and_grad",
        dtype=dtype,
    )  # fmt: skip
    assert f.workspace["value_and_grad"] <= max(1.2 * np.dtype(dtype).itemsize * PLANNED[name], 64)


def test_of_slices_by_the_clock_the_least_interrupted_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = importlib.import_module("harness.worker")

    def found(*interruptions: int) -> tuple[str, int]:
        """Which slice counts, if others interrupt the slices so often; and how many slices are taken."""
        sums = [0, *itertools.accumulate(interruptions)]
        counter = iter([n for pair in itertools.pairwise(sums) for n in pair])
        names = iter("abcdefgh")
        taken: list[str] = []
        monkeypatch.setattr(worker, "interruptions", lambda: next(counter))
        result = worker.least_interrupted(lambda: taken.append(next(names)) or taken[-1])
        return result, len(taken)

    assert found(0, 9) == ("a", 1)
    assert found(7, 2, 0, 0) == ("c", 3)
    assert found(7, 3, 5, 4, 6, 0) == ("b", 5)


def test_ratios_are_of_the_same_round() -> None:
    """A machine that becomes four times slower on the way changes no ratio."""
    rounds = importlib.import_module("harness.rounds")
    slow = (1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 4.0)
    ours, theirs = (rounds.Result(tuple(k * s for s in slow)) for k in (1.5, 1.0))
    assert rounds.ratio(ours, theirs) == 1.5
    assert rounds.ratio(replace(ours, times=()), theirs) is None
