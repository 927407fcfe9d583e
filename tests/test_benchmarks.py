"""The benchmarks' own claims: a wrong answer has no time, and the hand-written C computes what torch does."""

import functools
import importlib
import itertools
import os
import platform
import re
import subprocess
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


def test_arrays_begin_at_lines() -> None:
    """What is given and what is written to: by chance of the heap, one entry would load vectors in two pieces."""
    models = importlib.import_module("arrays")
    for dtype in ("float64", "float32"):
        workload = next(w for w in models.FAMILY.workloads if "least squares" in w.name and w.dtype == dtype)
        given = workload.given()
        ready = workload.entries["hand C, out="](given)
        for a in (*given, ready.arguments[-1]):
            assert a.ctypes.data % 64 == 0
            assert a.dtype == dtype


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
    "Gaussian mixture d=10 k=25 n=1000": 44_555,  # blocks of 128 points
    "Gaussian mixture d=64 k=100 n=1000": 1_349_760,
    "heat equation, 128 cells, 50 steps": 544,
    "attention 128x64": 93_232,
    "convolution 3x3 of 28x28x8": 22_660,
    "layer norm 128x256": 0,
    "LSTM, 20 steps": 64_560,
}


#: The same where float32 has other numbers.
PLANNED_32 = {"Gaussian mixture d=10 k=25 n=1000": 81_035}  # blocks of 256 points
#: What takes more than a fifth more than by hand, and why.
ABOVE: dict[str, str] = {}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.xfail(reason=ABOVE[n], strict=True) if n in ABOVE else ()) for n in PLANNED],
)
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
    planned = PLANNED_32.get(name, PLANNED[name]) if dtype == "float32" else PLANNED[name]
    assert f.workspace["value_and_grad"] <= max(1.2 * np.dtype(dtype).itemsize * planned, 64)


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


# --- what misses its aim ----------------------------------------------------------------------------------------------


def aims_of(*modules: str) -> Any:
    found = [importlib.import_module(name) for name in ("harness.aims", *modules)]
    return found if modules else found[0]


def test_figures_that_miss_their_aim_are_listed_with_a_reason() -> None:
    aims = aims_of()
    Figure, Reason = aims.Figure, aims.Reason
    reasons = [
        Reason("calls", "Python", "tanh", "it is exact", "0057-calls-of-python-code-free-their-numbers.md"),
        Reason("calls", "Python", "", "types are looked at"),
        Reason("calls", "peer", "network.*Dr.Jit", "it is not exact", instead="fast_math"),
        Reason("arrays", "", "", "another table"),
    ]
    figures = [
        Figure("tanh", "Python", 1.24, "1.24"),
        Figure("x*y + tanh(x)", "Python", 1.2, "1.20"),
        Figure("network", "Python", 1.01, "1.01"),
        Figure("square", "Python", 1.0, "1.00"),
        Figure("network", "peer", 1.31, "1.31 (Dr.Jit)", {"fast_math": "0.86"}),
        Figure("arm", "peer", 1.02, "1.02 (JAX)"),
        Figure("small", "share", 0.2, "0.20"),
        Figure("large", "share", 0.69, "0.69"),
        Figure("tanh", "without an aim", 9.0, "9.00"),
    ]
    every = [aims.Aim("Python", most=1.0), aims.Aim("peer", most=1.0), aims.Aim("share", least=0.7, rows="large")]
    assert aims.paragraph("calls", every, figures, reasons) == [
        "**Above the aim**",
        "",
        "- Python, at most 1.00: tanh 1.24; x\\*y + tanh(x) 1.20: it is exact"
        " ([decision 57](decisions/0057-calls-of-python-code-free-their-numbers.md)).",
        "- Python, at most 1.00: network 1.01: types are looked at.",
        "- peer, at most 1.00: network 1.31 (Dr.Jit), 0.86 by fast_math: it is not exact.",
        "- peer, at most 1.00: arm 1.02 (JAX): not explained.",
        "",
        "**Below the aim**",
        "",
        "- share, at least 0.70: large 0.69: not explained.",
        "",
    ]
    assert aims.paragraph("calls", every, figures[3:4], reasons) == []
    assert aims.paragraph("threads", [], figures, reasons) == []


def test_of_several_aims_the_first_counts() -> None:
    aims = aims_of()
    every = [aims.Aim("out=", most=1.15, rows="^Rosenbrock"), aims.Aim("out=", most=1.0)]
    figures = [aims.Figure(row, "out=", 1.1, "1.10") for row in ("Rosenbrock 10", "arm")]
    assert [figure.row for _, figure in aims.missed(every, figures)] == ["arm"]


def test_tables_judge_what_they_show() -> None:
    """1.004 is shown as 1.00, which is no more than 1; peers and entries in the place of ours are named."""
    aims, records, rounds, table = aims_of("harness.records", "harness.rounds", "harness.table")
    family = records.Family(
        "f", "Title", "What it says.", "GFLOP/s", 1e-9, [], [("ours", "hand"), ("peak", "ours")], {"peer": "ours"},
        aims=[aims.Aim("ours / hand", most=1.0), aims.Aim(table.PEER, most=1.0), aims.Aim("share", least=0.7)],
        titles={("peak", "ours"): "share"}, per_second=True,
    )  # fmt: skip
    times = {"ours": 1.004, "fast": 0.5, "hand": 1.0, "peer": 0.8, "peak": 0.6}
    found = {"square": {entry: rounds.Result((1e-10 * time,)) for entry, time in times.items()}}
    reason = aims.Reason("f", table.PEER, "square.*peer", "it is less exact", instead="fast")
    assert table.tables(family, found, [reason]) == [
        "## Title",
        "",
        "What it says.",
        "",
        "| ratio | ours / hand | share | gradsmith / best peer |",
        "| --- | ---: | ---: | ---: |",
        "| square | 1.00 | 0.60 | 1.25 (peer) |",
        "",
        "| GFLOP/s | ours | fast | hand | peer | peak |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| square | 9.96 | 20.0 | 10.0 | 12.5 | 16.7 |",
        "",
        "**Above the aim**",
        "",
        "- gradsmith / best peer, at most 1.00: square 1.25 (peer), 0.62 by fast: it is less exact.",
        "",
        "**Below the aim**",
        "",
        "- share, at least 0.70: square 0.60: not explained.",
        "",
    ]


def shown_by_families() -> Iterator[tuple[str, Any, Any]]:
    """Each family with each of its aims, and a figure for each cell that an aim is for; peers are named."""
    aims, table, speed = aims_of("harness.table", "speed")
    for name in speed.FAMILIES:
        module = importlib.import_module(name)
        if hasattr(module, "FAMILY"):
            family = module.FAMILY
            columns = {table.title(family, pair): [""] for pair in family.pairs}
            columns |= {table.PEER: [f"({peer})" for peer in family.peers]} if family.peers else {}
            of_tables = [(family.aims, [w.name for w in family.workloads], columns)]
        else:
            every = [module.emitted(False), module.built(), module.users()]
            of_tables = [(t.aims, [row.name for row in t.rows], {c: [""] for c in t.columns}) for t in every]
        for listed, rows, columns in of_tables:
            for aim in listed:
                assert aim.column in columns, f"{name}: no column {aim.column}"
                assert any(re.search(aim.rows, row) for row in rows), f"{name}: no rows for {aim}"
                for row in rows:
                    yield from ((name, aim, aims.Figure(row, aim.column, 0.0, said)) for said in columns[aim.column])


def test_aims_and_reasons_speak_of_what_there_is() -> None:
    """No column that was renamed, no row that has gone, no decision that is elsewhere."""
    every = list(shown_by_families())
    for reason in aims_of("reasons")[1].REASONS:
        assert any(reason.fits(name, figure) for name, _, figure in every), reason
        assert not reason.decision or (BENCHMARKS.parent / "docs" / "decisions" / reason.decision).is_file(), reason
        assert not reason.instead or any(
            reason.instead in w.entries for w in importlib.import_module(reason.family).FAMILY.workloads
        ), reason


# --- products and convolutions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "dtype"), [((5, 7, 9), "float64"), ((5, 7), "float32"), ((3, 4, 5, 2), "float32")])
def test_products_are_right_in_all_forms(sizes: tuple[int, ...], dtype: str) -> None:
    contractions = importlib.import_module("contractions")
    records, verdict = importlib.import_module("harness.records"), importlib.import_module("harness.verdict").verdict
    product = contractions.Product(*sizes[:2], *sizes[2:3], **({"several": sizes[3]} if sizes[3:] else {}))
    workload = contractions.workload(product, dtype)
    assert [*workload.entries][-1] == "peak"
    assert len(workload.entries) == (7 if product.n else 5)
    given = workload.given()
    want = records.arrays_of(workload.reference(*given))
    assert contractions.stored("Aᵀ B", given)[0].shape[-2:] == (product.k, product.m)
    assert not product.n or contractions.stored("A Bᵀ", given)[1].shape[-2:] == (product.n, product.k)
    for entry, build in workload.entries.items():
        if entry == "peak":
            continue
        try:
            ready = build(given)
        except records.Untried:
            pytest.skip("no OpenBLAS")
        fewer = replace(ready, arguments=(3, *ready.arguments[1:]))
        assert verdict(fewer.answer(), want, dtype) == "", entry


@pytest.mark.parametrize("slopes", [False, True])
def test_convolutions_are_right(slopes: bool) -> None:
    convolutions = importlib.import_module("convolutions")
    records, verdict = importlib.import_module("harness.records"), importlib.import_module("harness.verdict").verdict
    case = convolutions.Convolution(2, 3, 7, 8, 4, 3, slopes)
    workload = convolutions.workload(case, "float64")
    assert workload.calls == 2 * (2 * 4 * 5 * 6) * (3 * 3 * 3) * (2 if slopes else 1)
    given = workload.given()
    x, w = (torch.tensor(a, requires_grad=True) for a in given[:2])
    y = torch.nn.functional.conv2d(x, w)
    want = torch.autograd.grad(y, (x, w), torch.tensor(given[2])) if slopes else [y]
    arrays = records.arrays_of([a.detach().numpy() for a in want])
    for entry in ("gradsmith C", "torch"):
        assert verdict(workload.entries[entry](given).answer(), arrays, "float64") == "", entry
    assert verdict(records.arrays_of(workload.reference(*given)), arrays, "float64") == ""


def test_only_yardsticks_have_a_time_without_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "entries_of_a_test.py").write_text(ENTRIES, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    rounds = importlib.import_module("harness.rounds")
    family = importlib.import_module("entries_of_a_test").FAMILY
    chosen = {name: family.workloads[0].entries[name] for name in ("right", "no slope", "not finite", "missing")}
    family = replace(family, yardsticks=("no slope", "missing"), environment={"GRADSMITH_OF_A_TEST": "1"})
    workload = replace(family.workloads[0], entries=chosen)
    with rounds.Entries(family.name, environment=family.environment) as entries:
        found = rounds.measure(entries, family, workload, rounds.Effort(2, 1e-4, 60.0), lambda doing: None)
    assert {name for name, result in found.items() if result.times} == {"right", "no slope"}
    assert found["missing"].why == "not installed"
    assert "GRADSMITH_OF_A_TEST" not in os.environ


# --- building ---------------------------------------------------------------------------------------------------------


def test_building_is_measured_in_processes_of_its_own() -> None:
    compile_time = importlib.import_module("compile_time")
    found = compile_time.record(["emit", "chain", "200", "c"], False)
    assert {*found} == {"statements", "nodes", "s"}
    assert found["nodes"] > found["statements"] > 100
    assert compile_time.record(["emit", "no such program", "200", "c"], False) == {"why": "KeyError: 'no such program'"}
    built = compile_time.record(["build", "100"], True)
    assert {*built} >= {"statements", "units", "emit, s", "build, s"}
    swapped = compile_time.record(["tiers", "100"], False)
    assert swapped["auto: swap, s"] >= swapped["auto: first answer, s"] > 0


def test_memory_is_that_of_the_process_and_not_of_its_parent() -> None:
    held = bytearray(b"x") * 300_000_000
    told = "import compile_time; print(compile_time.peak())"
    run = subprocess.run([sys.executable, "-c", told], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert 10_000_000 < int(run.stdout) < len(held)


def test_a_build_with_a_wrong_answer_has_no_time() -> None:
    compile_time = importlib.import_module("compile_time")
    right = compile_time.chain(compile_time.Dual, 50)
    compile_time.expect_right((right.value, right.slope), 50)
    with pytest.raises(SystemExit, match="output 1 is off"):
        compile_time.expect_right((right.value, right.slope * (1 + 1e-8)), 50)


def test_figures_of_building_are_medians() -> None:
    compile_time = importlib.import_module("compile_time")
    of = [{"statements": 100, "nodes": 200, "s": s, "bytes a node": b} for s, b in ((4.0, 1.0), (1.0, 9.0), (2.0, 3.0))]
    assert compile_time.summary(of) == {
        "statements": 100, "nodes": 200, "s": 2.0, "bytes a node": 3.0, "µs a statement": 20_000.0, "µs a node": 10_000.0,
    }  # fmt: skip
    assert compile_time.summary([of[0], {"why": "it failed"}]) == {"why": "it failed"}


def test_rows_of_building_say_what_misses_its_aim() -> None:
    aims, compile_time = aims_of("compile_time")
    row = compile_time.Row("tree of 10, c", ("tree", "c", "10"), [])
    other = compile_time.Row("chain of 10, c", ("chain", "c", "10"), [])
    table = compile_time.Table("Says.", ("program", "target", "operations"), ("s", "µs a statement"), [row, other],
                               [aims.Aim("µs a statement", most=40)])  # fmt: skip
    found = {row.name: {"s": 1.25, "µs a statement": 40.6}, other.name: {"why": "it failed"}}
    reason = aims.Reason("compile_time", "statement", "^tree", "several operations each")
    assert compile_time.lines(table, [row, other], found, [reason]) == [
        "Says.",
        "",
        "| program | target | operations | s | µs a statement |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| tree | c | 10 | 1.25 | 41 |",
        "| chain | c | 10 | it failed |  |",
        "",
        "**Above the aim**",
        "",
        "- µs a statement, at most 40: tree of 10, c 41: several operations each.",
        "",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_of_compilers_is_that_of_programs_below_a_process() -> None:
    compile_time = importlib.import_module("compile_time")
    script = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(flush=True); sys.stdin.read(); p.kill()"
    )
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdout.readline() == "\n"
        assert 0 < compile_time.largest_below(process.pid) < 10  # `sleep` is small, and Python does not count
        process.stdin.close()
