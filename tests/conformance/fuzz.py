"""A long run of random programs against torch: `python -m tests.conformance.fuzz --graphs 100000 --log fuzz.log`.

Programs come from `random_programs.py`. Eight at a time are compiled as one function, `sum(c_k * program_k)`, with inputs
of their own: the slope by `c_k` is the value of program k, so value and gradient of each are compared alone. Where a
number differs from torch's, mpmath decides with 50 digits (`verdict`): only if it sides with torch, or if it has a finite
number where we have none, is the difference a bug. It is then shrunk to the fewest nodes that show it, and printed. The
same seed runs the same programs: `--first` continues where another run stopped.

In C, programs are built several hundred at a time. With sanitizers, which must be loaded before Python:
`LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 python -m tests.conformance.fuzz --only c
--level "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"`.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import random
import re
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate_torch
from gradsmith.function import CompiledFunction
from gradsmith.graph import Graph
from gradsmith.regions import with_inner
from gradsmith.registry import OPS
from gradsmith.trace import Expr
from gradsmith.verification.differences import widened

from .harness import Library, run_python
from .judge import RELATIVE, by_torch, substituted, topological, verdict
from .random_programs import INNER, STEPS, Sample, random_sample

TOGETHER = 8  # programs in one function
UNIT = 40  # functions in one C file
ABSOLUTE = {"float64": 1e-14, "float32": 1e-5}  # of the largest number of the same program

#: Compile options, as often as they stand here.
OPTIONS: list[dict[str, Any]] = [
    *[{}] * 9, {"fast_math": True}, {"fast_math": True}, {"stabilize": False}, {"stabilize": False},
    {"summation": "pairwise"}, {"summation": "compensated"}, {"summation": "compensated", "fast_math": True},
]  # fmt: skip
#: Tuning by which small programs are written as large ones are: blocks, rows, strands, kernels, parts.
_LOW = {
    "unroll_elements": 1, "matmul_least": 1, "matvec_least": 1, "vector_elements": 1, "block_least": 1, "blocked_bytes": 1,
    "strand_elements": 1, "line_least": 1, "pack_right": 1, "pack_left": 1, "dot_bytes": 1, "thread_elements": 1, "thread_share": 1,
    "stack_least": 1, "stack_row": 1,
}  # fmt: skip
SMALL = [
    gs.Tuning(**_LOW, row_elements=2, blocked_rows=1, blocked_lanes=1, block_bytes=16, recompute_operations=8),
    gs.Tuning(
        **_LOW,
        row_elements=1,
        blocked_rows=2,
        blocked_lanes=2,
        block_bytes=64,
        block_rows=6,
        block_columns=8,
        block_depth=2,
    ),
    gs.Tuning(**_LOW, row_elements=100, roll_steps=2, roll_operations=2, registers=1, recompute_operations=100),
    gs.Tuning(registers=1, longest_body=6, part_lines=3, unit_lines=20, roll_steps=2, roll_operations=2),
]


@dataclass(frozen=True)
class Way:
    """How a batch is compiled."""

    target: str
    dtype: str = "float64"
    options: dict[str, Any] = field(default_factory=dict)
    value: bool = False  # whether the function of the value alone is written, too

    def compile(self, result: Expr, inputs: Sequence[Expr], name: str = "f") -> CompiledFunction:
        return gs.compile(
            result, args=list(inputs), target=self.target, name=name,
            dtype=self.dtype, derivatives=("value", "value_and_grad") if self.value else ("value_and_grad",), selftest=False, **self.options,
        )  # fmt: skip


@dataclass
class Batch:
    """Some samples as one scalar expression."""

    samples: list[Sample]
    coefficients: list[Expr]
    factors: list[float]
    inputs: list[Expr]
    result: Expr

    @classmethod
    def of(cls, samples: Sequence[Sample], seed: int) -> Batch:
        coefficients = [gs.symbol(f"c{k}") for k in range(len(samples))]
        factors = [random.Random(f"{seed}:{k}").choice([1.0, 1.0, -0.5, 1.25]) for k in range(len(samples))]
        total: Any = None
        for c, s in zip(coefficients, samples, strict=True):
            total = c * s.result if total is None else total + c * s.result
        return cls([*samples], coefficients, factors, [*coefficients, *(x for s in samples for x in s.inputs)], total)

    def point(self, number: int, dtype: str) -> list[np.ndarray]:
        """One value an input, rounded to the width that is computed with."""
        values = [np.asarray(f) for f in self.factors]
        for s in self.samples:
            values += s.points[number]
        with np.errstate(all="ignore"):
            return [np.asarray(v, dtype=dtype) if v.dtype.kind == "f" else v for v in values]

    def split(self, slopes: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """For each sample its value and then its gradient, by the floating-point inputs."""
        found, at = [], len(self.samples)
        for k, s in enumerate(self.samples):
            count = sum(x.dtype == "float64" for x in s.inputs)
            found.append([slopes[k], *slopes[at : at + count]])
            at += count
        return found


def batch_of(number: int) -> Batch:
    """Every fourth batch is one of programs with loops and branches."""
    return Batch.of([random_sample(f"{number}:{k}", f"x{k}", number % 4 == 3) for k in range(TOGETHER)], number)


def way_of(number: int, only: str | None) -> Way:
    dice = random.Random(f"way{number}")
    target = only or dice.choice(["numpy"] * 10 + ["python"] * 4 + ["c"] * 6)
    dtype = "float32" if target != "python" and dice.randrange(5) == 0 else "float64"
    options, value = dice.choice(OPTIONS), dice.randrange(6) == 0
    small = {"tuning": dice.choice(SMALL)} if target == "c" and dice.randrange(2) else {}
    threads = {"threads": "openmp"} if target == "c" and dice.randrange(4) == 0 else {}
    return Way(target, dtype, options | small | threads, value)


# --- the run ----------------------------------------------------------------------------------------------------------


def suspicious(got: Sequence[np.ndarray], want: Sequence[np.ndarray], dtype: str) -> list[tuple[int, tuple[int, ...]]]:
    """Where the two differ, as (result, element): by more than a relative error, and a part of the largest number."""
    scale = max((float(np.max(np.abs(w[np.isfinite(w)]), initial=0.0)) for w in want), default=0.0)
    found = []
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if np.shape(a) != np.shape(b):
            return [(i, ())]
        with np.errstate(all="ignore"):
            near = np.abs(a - b) <= RELATIVE[dtype] * np.abs(b) + ABSOLUTE[dtype] * scale
        bad = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
        if bad.any():
            found += [(i, at) for at in zip(*(map(int, c) for c in np.nonzero(np.atleast_1d(bad))), strict=True)]
    return [(i, at if np.ndim(want[i]) else ()) for i, at in found]


@dataclass
class Tally:
    """What a run has done."""

    graphs: collections.Counter[str] = field(default_factory=collections.Counter)  # by target and dtype
    steps: collections.Counter[str] = field(default_factory=collections.Counter)
    ops: collections.Counter[str] = field(default_factory=collections.Counter)
    verdicts: collections.Counter[str] = field(default_factory=collections.Counter)
    numbers: int = 0

    def summary(self) -> str:
        never = [n for n in OPS if n not in self.ops]
        undrawn = [n for n in STEPS if n not in self.steps]
        lines = [f"graphs: {sum(self.graphs.values())} {dict(self.graphs)}, {self.numbers} numbers compared"]
        lines += [f"  {n:7d}  {text}" for text, n in self.verdicts.most_common()]
        lines += [f"ops in the graphs: {dict(self.ops.most_common())}", f"ops never met: {never}"]
        lines += [f"steps drawn: {dict(self.steps.most_common())}", f"steps never drawn: {undrawn}, by design: {INNER}"]
        return "\n".join(lines)


Run = Callable[[str, Sequence[Any]], list[np.ndarray]]


def compared(batch: Batch, way: Way, graph: Graph, run: Run, tally: Tally, report: Callable[[str], None]) -> None:
    """Both points of a batch, on code that is ready to run."""
    for number in range(2):
        point = batch.point(number, way.dtype)
        wide = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in point]
        want = by_torch(graph, wide)
        with np.errstate(all="ignore"):
            value, *got = run("value_and_grad", point)
            alone = run("value", point)[0] if way.value else value
        got = [np.asarray(g, dtype=np.float64) for g in got]
        tally.numbers += sum(g.size for g in got)
        if np.isfinite(value) and not abs(alone - value) <= 1e-4 * abs(value) + 1e-4 * max(
            abs(g[()]) for g in got[: len(batch.samples)]
        ):
            tally.verdicts["value alone differs"] += 1
            report(f"{way}: value alone is {alone}, with the gradient {value}: {batch.samples[0].seed}")
        for k, (mine, theirs) in enumerate(zip(batch.split(got), batch.split(want), strict=True)):
            places = suspicious(mine, theirs, way.dtype)
            if not places:
                continue
            sample = batch.samples[k]
            start = len(batch.samples) + sum(len(s.inputs) for s in batch.samples[:k])
            leaves = point[start : start + len(sample.inputs)]
            judged(sample, batch.factors[k], leaves, mine, theirs, places, way, number, tally, report)


def judged(
    sample: Sample, factor: float, leaves: Sequence[np.ndarray], got: Any, want: Any, places: Any, way: Way,
    number: int, tally: Tally, report: Callable[[str], None],
) -> None:  # fmt: skip
    found = {}
    for place in places[:2]:
        found[verdict(sample, factor, leaves, got, want, place, way.dtype)] = place
    worst = min(found, key=lambda v: not v.startswith("bug"))
    edge = "edge" if number else "plain"
    tally.verdicts[f"{edge}: {worst}"] += 1
    if worst.startswith("bug") or tally.verdicts[f"{edge}: {worst}"] <= 3:
        i, at = found[worst]
        graph = to_graph(sample.inputs, [sample.result])
        if tally.verdicts[f"{edge}: {worst}"] <= 2000:
            report(
                f"=== {edge}: {worst} [{sample.seed}:{number}] {way}\n  result {i} {at}: {got[i][at]!r}, "
                f"torch {want[i][at]!r}\n  ops {' '.join(n.op for n in graph.ordered())}"
            )


def attempt(sample: Sample, leaves: Sequence[np.ndarray], way: Way) -> set[str]:
    """All verdicts on one program alone. For C, NumPy stands in, by the same graph, unless it shows nothing."""
    plain = {name: v for name, v in way.options.items() if name not in ("threads", "tuning")}  # which are for C
    found = judged_alone(sample, leaves, replace(way, target="numpy", options=plain) if way.target == "c" else way)
    return found or (judged_alone(sample, leaves, way) if way.target == "c" else found)


def judged_alone(sample: Sample, leaves: Sequence[np.ndarray], way: Way) -> set[str]:
    try:
        with np.errstate(all="ignore"):
            got = [np.asarray(g, dtype=np.float64) for g in run_alone(sample, leaves, way)]
    except Exception as error:
        return {f"bug: {type(error).__name__}"}
    wide = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in leaves]
    graph = to_graph(sample.inputs, [sample.result])
    value = evaluate_torch(graph, [torch.tensor(v) for v in wide])[graph.outputs[0]].numpy()
    want = [value, *by_torch(graph, wide)]
    return {verdict(sample, 1.0, leaves, got, want, p, way.dtype) for p in suspicious(got, want, way.dtype)[:3]}


def run_alone(sample: Sample, leaves: Sequence[np.ndarray], way: Way) -> list[np.ndarray]:
    """Value and gradient of one program, compiled for its own target."""
    f = way.compile(sample.result, sample.inputs)
    if way.target != "c":
        return run_python(f)("value_and_grad", leaves)
    with tempfile.TemporaryDirectory() as folder:
        return Library({f.name: f}, "gcc", Path(folder), "-O1")[f.name]("value_and_grad", leaves)


def shrunk(
    sample: Sample, leaves: Sequence[np.ndarray], way: Way, wanted: str, limit: int = 60
) -> tuple[Sample, Sequence[np.ndarray]]:
    """The fewest nodes that lead to the same verdict: earlier results, and values in the place of nodes."""
    for _ in range(limit):
        for smaller in itertools.islice(reductions(sample, leaves), limit):
            try:
                found = attempt(*smaller, way)
            except Exception:  # a candidate that torch refuses
                continue
            if wanted in found:
                sample, leaves = smaller
                break
        else:
            return sample, leaves
    return sample, leaves


def reductions(sample: Sample, leaves: Sequence[np.ndarray]) -> Iterator[tuple[Sample, Sequence[np.ndarray]]]:
    from .random_draw import evaluated

    order = topological(sample.result)
    values: dict[int, Any] = {}
    evaluated(sample.result, dict(zip(map(id, sample.inputs), leaves, strict=True)), values)
    inner = [e for e in order if e.args and e.dtype == "float64"]
    for e in inner:
        if e is not sample.result:
            result = e if e.ndim == 0 else gs.sum(e * weights(e))
            if len(topological(result)) < len(order):
                yield pruned(sample, leaves, result)
    for e in reversed(inner[:-1]):
        x = gs.symbol(f"t{len(sample.inputs)}_{id(e)}", e.shape)
        result = substituted(sample.result, {id(e): x})
        grown = Sample(sample.seed, (*sample.inputs, x), result, (), sample.steps)
        yield pruned(grown, [*leaves, np.asarray(values[id(e)], dtype=leaves[0].dtype if leaves else None)], result)


def weights(e: Expr) -> np.ndarray:
    return (((np.arange(e.size) * 5) % 11 - 5.5) / 4).reshape(e.shape)


def pruned(sample: Sample, leaves: Sequence[np.ndarray], result: Expr) -> tuple[Sample, Sequence[np.ndarray]]:
    used = {id(e) for e in topological(result)}
    kept = [(x, v) for x, v in zip(sample.inputs, leaves, strict=True) if id(x) in used]
    return Sample(sample.seed, tuple(x for x, _ in kept), result, (), sample.steps), [v for _, v in kept]


def culprits(batch: Batch, way: Way, tally: Tally, report: Callable[[str], None], error: BaseException) -> None:
    """A batch that raises: which program does?"""
    blamed = False
    for s in batch.samples:
        for number in range(2):
            leaves = Batch.of([s], 0).point(number, way.dtype)[1:]
            try:
                found = {v for v in attempt(s, leaves, way) if v.startswith("bug: ") and v.endswith("Error")}
            except Exception as problem:
                report(f"=== torch refuses [{s.seed}]: {problem}\n{to_graph(s.inputs, [s.result]).text()}")
                tally.verdicts["torch refuses"] += 1
                found, blamed = set(), True
            for v in found:
                blamed = True
                tally.verdicts[v] += 1
                graph = to_graph(s.inputs, [s.result])
                report(f"=== {v} [{s.seed}:{number}] {way}\n  {error}\n  ops {' '.join(n.op for n in graph.ordered())}")
    if not blamed:
        tally.verdicts["the batch raises, no program alone does"] += 1
        trace = "".join(traceback.format_exception(error)[-3:])
        report(f"=== the batch raises [{batch.samples[0].seed}] {way}\n{trace}")


def flush(waiting: list[tuple[Batch, Way, CompiledFunction]], compilers: Sequence[tuple[str, str]], tally: Tally,
          report: Callable[[str], None]) -> None:  # fmt: skip
    """Build what waits for C as one library, and compare."""
    if not waiting:
        return
    compiler, level = random.Random(waiting[0][2].name).choice(compilers)
    with tempfile.TemporaryDirectory() as folder:
        try:
            library = Library({f.name: f for *_, f in waiting}, compiler, Path(folder), level)
        except AssertionError as error:
            tally.verdicts["C does not build"] += 1
            report(f"=== C does not build: {str(error)[:3000]}")
            waiting.clear()
            return
        for batch, way, f in waiting:
            tally.graphs[f"{compiler} {level} {way.dtype}"] += len(batch.samples)
            guarded(batch, way, f, library[f.name], tally, report)
    waiting.clear()


def guarded(batch: Batch, way: Way, f: CompiledFunction, run: Run, tally: Tally, report: Callable[[str], None]) -> None:
    graph = widened(f.graph) if way.dtype == "float32" else f.graph
    try:
        compared(batch, way, graph, run, tally, report)
    except Exception as error:
        culprits(batch, way, tally, report, error)


def fuzz(batches: range, only: str | None, compilers: Sequence[tuple[str, str]], report: Callable[[str], None],
         beat: Callable[[int, Tally], None] = lambda n, t: None) -> Tally:  # fmt: skip
    """Run them all; `report` gets a text a finding."""
    tally = Tally()
    waiting: list[tuple[Batch, Way, CompiledFunction]] = []
    for number in batches:
        batch, way = batch_of(number), way_of(number, only)
        for s in batch.samples:
            tally.steps.update(s.steps)
        tally.ops.update(n.op for n in with_inner(to_graph(batch.inputs, [batch.result])))
        try:
            f = way.compile(batch.result, batch.inputs, f"f{number}")
        except Exception as error:
            culprits(batch, way, tally, report, error)
            continue
        if way.target == "c":
            waiting.append((batch, way, f))
            if len(waiting) == UNIT:
                flush(waiting, compilers, tally, report)
        else:
            tally.graphs[f"{way.target} {way.dtype}"] += len(batch.samples)
            guarded(batch, way, f, run_python(f), tally, report)
        beat(number, tally)
    flush(waiting, compilers, tally, report)
    return tally


def show(name: str, only: str | None) -> None:
    """A finding that a log names, as the smallest program that leads to the same verdict."""
    batch, program, number = map(int, name.split(":"))
    way, (sample,) = way_of(batch, only), [batch_of(batch).samples[program]]
    leaves = Batch.of([sample], 0).point(number, way.dtype)[1:]
    for found in sorted(attempt(sample, leaves, way)):
        small, point = shrunk(sample, leaves, way, found)
        graph = to_graph(small.inputs, [small.result])
        print(f"{found} {way}\n{graph.text()}\nat {[v.tolist() for v in point]}")
        f = way.compile(small.result, small.inputs)
        wide = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in point]
        print(
            "ours ",
            [np.asarray(v).tolist() for v in run_python(f)("value_and_grad", point)] if way.target != "c" else "",
        )
        print("torch", [v.tolist() for v in by_torch(widened(graph), wide)])


def recheck(log: Path) -> None:
    """The bugs that a log names, judged again: one of each kind, shrunk."""
    known: set[str] = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        name = re.search(r"bug.* \[(\d+:\d+:\d+)\]", line)
        if not name:
            continue
        batch, program, number = map(int, name[1].split(":"))
        way, sample = way_of(batch, None), batch_of(batch).samples[program]
        leaves = Batch.of([sample], 0).point(number, way.dtype)[1:]
        for found in sorted(v for v in attempt(sample, leaves, way) if v.startswith("bug")):
            small, _ = shrunk(sample, leaves, way, found, 25)
            graph = to_graph(small.inputs, [small.result])
            signature = found + " " + " ".join(sorted({n.op for n in graph.ordered()} - {"input", "constant"}))
            if signature not in known:
                known.add(signature)
                print(name[1], signature, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first batch (of eight graphs)")
    parser.add_argument("--loops", action="store_true", help="only batches of programs with loops")
    parser.add_argument("--only", choices=["python", "numpy", "c"])
    parser.add_argument("--level", default="", help="flags for gcc, instead of gcc -O1 and clang -O2 in turns")
    parser.add_argument("--log", type=Path, default=Path("fuzz.log"))
    parser.add_argument("--show", metavar="BATCH:PROGRAM:POINT", help="shrink this finding and print it")
    parser.add_argument("--recheck", type=Path, help="judge the bugs that a log names again")
    options = parser.parse_args()
    if options.recheck:
        return recheck(options.recheck)
    if options.show:
        return show(options.show, options.only)
    compilers = [("gcc", options.level)] if options.level else [("gcc", "-O1"), ("gcc", "-O1"), ("clang", "-O2")]
    started = time.monotonic()
    count = -(-options.graphs // TOGETHER)
    with options.log.open("a", encoding="utf-8") as log:

        def report(text: str) -> None:
            print(text, file=log, flush=True)

        def beat(number: int, tally: Tally) -> None:
            if number % 250 == 249:
                seconds = time.monotonic() - started
                report(f"--- batch {number}, {seconds:.0f} s\n{tally.summary()}")

        batches = range(options.first, options.first + count)
        if options.loops:
            batches = range(options.first // 4 * 4 + 3, options.first // 4 * 4 + 3 + 4 * count, 4)
        tally = fuzz(batches, options.only, compilers, report, beat)
        report(f"--- done in {time.monotonic() - started:.0f} s\n{tally.summary()}")
    print(tally.summary())


if __name__ == "__main__":
    main()
