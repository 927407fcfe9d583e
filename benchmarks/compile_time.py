"""What building costs: time for each emitted statement, memory for each node, and what a C compiler takes for them.

    python benchmarks/compile_time.py [--long]      # `speed.py compile_time`, with the same options

In: an effort, and the rows that are wanted. Out: three tables in Markdown. The first is of programs of n scalar
operations: tracing, differentiating and writing them (`value_and_grad`, no self-test, and `roll=False`, as loops found
in them would leave nothing to write), with the processor time for each statement of the text and each node of the joint
graph, and the peak of memory, above that of the process before, for each such node. The second builds chains by the C
compiler on all cores, and gives one that answers at once. The third is of small programs as users write them, with the
self-test. Each time is taken in a process of its own, so that nothing finds what another one prepared; rows take turns,
and a figure is the median over the rounds.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness.aims import Aim, Figure, Reason, paragraph
from harness.flags import march_option
from harness.machine import cores, threads
from harness.table import digits, layout
from harness.verdict import verdict

__all__ = ["LONG", "SMALL", "section"]


# --- programs ---------------------------------------------------------------------------------------------------------


def chain(gs: Any, n: int) -> Any:
    """One long dependency: every other operation reads the one before."""
    x = gs.symbol("x")
    e = x
    for i in range(n // 2):
        e = gs.sin(e) if i % 2 else e * x
        e = e + x
    return e


def tree(gs: Any, n: int) -> Any:
    """A balanced sum of products, of depth log2(n)."""
    x, y = gs.symbols("x y")
    level = [x * (y + 0.5 * i) for i in range(n // 3)]
    while len(level) > 1:
        level = [a + b for a, b in zip(level[::2], level[1::2], strict=False)] + level[len(level) // 2 * 2 :]
    return level[0]


def rosenbrock(gs: Any, n: int) -> Any:
    """n/6 scalar symbols, each read by two terms."""
    x = gs.symbols(" ".join(f"x{i}" for i in range(max(2, n // 6))))
    total = 0.0
    for a, b in itertools.pairwise(x):
        total = total + 100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2
    return total


LONG: dict[str, Callable[[Any, int], Any]] = {"chain": chain, "tree": tree, "Rosenbrock": rosenbrock}


def mixture(gs: Any) -> Any:
    def loss(x: Any, means: Any, scales: Any, weights: Any) -> Any:
        z = (x[:, None, :] - means[None, :, :]) * gs.exp(scales)[None, :, :]
        terms = gs.log_softmax(weights) + gs.sum(scales, axis=1) - 0.5 * gs.sum(z * z, axis=2)
        return -gs.sum(gs.logsumexp(terms, axis=1))

    return loss, ((20, 3), (4, 3), (4, 3), (4,))


def lstm(gs: Any) -> Any:
    def loss(W: Any, U: Any, b: Any, xs: Any) -> Any:
        def cell(state: Any, x: Any) -> Any:
            h, c = state
            i, f, o, g = (W[k] @ x + U[k] @ h + b[k] for k in range(4))
            c = gs.sigmoid(f) * c + gs.sigmoid(i) * gs.tanh(g)
            return (gs.sigmoid(o) * gs.tanh(c), c), None

        (h, _), _ = gs.scan(cell, (0.0 * b[0], 0.0 * b[0]), xs)
        return gs.sum(h * h)

    return loss, ((4, 5, 3), (4, 5, 5), (4, 5), (6, 3))


SMALL: dict[str, Callable[[Any], Any]] = {
    "ten operations": lambda gs: ("x*y + y + tanh(x)*exp(-y*y)/(1 + x**2)", None),
    "Gaussian mixture": mixture,
    "LSTM": lstm,
}


# --- what runs in a process of its own: prints one record -------------------------------------------------------------

#: Operations of a program up to which it is compiled several times in a process, and from which on memory tells.
SEVERAL, TELLS = 3_000, 30_000


def compiled(name: str, n: int, target: str, **more: Any) -> Any:
    import gradsmith as gs

    return gs.compile(
        LONG[name](gs, n), target=target, derivatives="value_and_grad", selftest=False, roll=False, name="f",
        tuning=gs.Tuning(most_arguments=n + 2), **more,
    )  # fmt: skip


def peak() -> int:
    """The most bytes that this process has had in memory. `ru_maxrss` counts what its parent held as well."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def statements(source: str) -> int:
    lines = (line.lstrip() for line in source.splitlines())
    return sum(" = " in line and not line.startswith(("//", "#")) for line in lines)


def emit(name: str, n: int, target: str) -> dict[str, float]:
    """Tracing, differentiating and writing. What the first compile of a process prepares is no part of it."""
    compiled(name, 60, target)
    times = []
    for _ in range(5 if n <= SEVERAL else 1):
        before = peak()
        start = time.process_time()
        f = compiled(name, n, target)
        times.append(time.process_time() - start)
    grown = peak() - before
    found = {"statements": statements(f.source), "nodes": len(f.adjoint), "s": median(times)}
    return found | ({"bytes a node": grown / found["nodes"]} if n > TELLS else {})


@dataclass(frozen=True)
class Dual:
    """A number and its slope, which answer for a chain independently of all that is measured."""

    value: float
    slope: float = 0.0

    @staticmethod
    def symbol(name: str) -> Dual:
        return Dual(POINT, 1.0)

    @staticmethod
    def sin(x: Dual) -> Dual:
        return Dual(math.sin(x.value), math.cos(x.value) * x.slope)

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)


#: Where chains are evaluated.
POINT = 0.3


def expect_right(answer: Any, n: int) -> None:
    """That value and slope of a chain are right: wrong answers get no time."""
    want = chain(Dual, n)
    (value, slope) = answer
    said = verdict([np.asarray(value), np.asarray(slope)], [np.asarray(want.value), np.asarray(want.slope)], "float64")
    if said:
        raise SystemExit(said)


def build(n: int) -> dict[str, float]:
    """A chain, emitted and then built: seconds of the processor, and of the clock."""
    compiled("chain", 60, "c")  # as in `emit`
    start = time.process_time()
    f = compiled("chain", n, "c", **march_option())
    text, begun = time.process_time() - start, time.perf_counter()
    answer = f.value_and_grad(POINT)
    built = time.perf_counter() - begun
    expect_right(answer, n)
    units = len(f._built[2].units) or 1
    return {"statements": statements(f.source), "units": units, "emit, s": text, "build, s": built}


#: What is known of `tier="auto"`.
TIERS = ("auto: first answer, s", "auto: swap, s")


def tiers(n: int) -> dict[str, float]:
    """The same with `tier="auto"`: seconds from the text to the first answer, and to the optimised build."""
    f = compiled("chain", n, "c", tier="auto", **march_option())
    begun = time.perf_counter()
    answer = f.value_and_grad(POINT)
    first = time.perf_counter() - begun
    expect_right(answer, n)
    f.wait()
    swapped = time.perf_counter() - begun
    expect_right(f.value_and_grad(POINT), n)
    return dict(zip(TIERS, (first, swapped), strict=True))


def small(name: str, target: str) -> dict[str, float]:
    import gradsmith as gs

    source, args = SMALL[name](gs)
    times = []
    for _ in range(8):
        start = time.process_time()
        gs.compile(source, args=args, target=target)
        times.append(1e3 * (time.process_time() - start))
    return {"first, ms": times[0], "later, ms": median(times[1:])}


# --- the rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row of one table, and the processes that measure it.

    commands: of this script, whose records are put together.
    most: rounds that it takes part in.
    """

    name: str
    words: Sequence[str]  # of the row, before its figures
    commands: Sequence[Sequence[str]]
    most: int = 99


@dataclass(frozen=True)
class Table:
    """Rows whose figures stand in the same columns."""

    says: str
    header: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Row]
    aims: Sequence[Aim] = ()
    several: bool = False  # compilers run on all cores


def emitted(long: bool) -> Table:
    sizes = [1_000, 10_000, 100_000, 350_000]  # the last of which are about a million nodes
    rows = [
        Row(f"{name} of {n:,}, {target}", (name, target, f"{n:,}"), [("emit", name, str(n), target)], rounds_of(n))
        for name in LONG
        for target in (("c", "python") if long else ("c",))
        for n in sizes
    ]
    return Table(
        "Tracing, differentiating and writing programs of so many scalar operations, value and gradient, without loops"
        " (`roll=False`): processor time. The texts of trees and of Rosenbrock's function have several operations in a"
        " statement. Bytes are the peak of memory, where a program is large enough to tell.",
        ("program", "target", "operations"),
        ("statements", "nodes", "s", "µs a statement", "µs a node", "bytes a node"),
        rows,
        [Aim("µs a statement", most=40), Aim("bytes a node", most=2048)],
    )


#: Operations of chains of about 27,500 and 275,000 statements.
CHAINS = (11_500, 115_000)

#: Operations of a program from which on one round has to do.
ONCE = 100_000


def rounds_of(n: int) -> int:
    return 1 if n >= ONCE else 99


def built() -> Table:
    commands = lambda n: [("build", str(n)), ("tiers", str(n))]
    rows = [Row(f"chain of {n:,}, built", ("chain", f"{n:,}"), commands(n), rounds_of(n)) for n in CHAINS]
    count = len(cores())
    return Table(
        f"Chains built by the C compiler on {count} core{'s' * (count > 1)}, by the clock: other work on the machine is"
        " in these times. The text is compiled in units; MB are those of the largest process of the compiler."
        ' `tier="auto"` answers by a quick build and swaps in the optimised one: seconds from the text on.',
        ("program", "operations"),
        ("statements", "units", "emit, s", "build, s", "largest compiler, MB", *TIERS),
        rows,
        [Aim("build, s", most=40), Aim("largest compiler, MB", most=1000)],
        several=True,
    )


def users() -> Table:
    rows = [
        Row(f"{name}, {target}", (name, target), [("small", name, target)], most=1)
        for name in SMALL
        for target in ("python", "numpy", "c")
    ]
    return Table(
        "`compile` of small programs as users write them, with the self-test: processor time of the first one in a"
        " process, and of later ones (the median of seven).",
        ("program", "target"),
        ("first, ms", "later, ms"),
        rows,
    )


# --- measuring --------------------------------------------------------------------------------------------------------


def largest_below(process: int) -> float:
    """The MB that the largest living program below `process` had at its peak; a copy of Python is none yet."""
    parents, peaks = {}, {}
    own = os.path.realpath(sys.executable)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text().splitlines()
            if os.path.realpath(folder / "exe") == own:
                lines = [line for line in lines if not line.startswith("VmHWM")]
        except OSError:
            continue
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        parents[int(folder.name)] = int(status["PPid"])
        if "VmHWM" in status:
            peaks[int(folder.name)] = int(status["VmHWM"].split()[0]) / 1024
    below, grown = {process}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in below} - below
        below, grown = below | more, bool(more)
    return max((peaks[p] for p in below & peaks.keys()), default=0.0)


def record(command: Sequence[str], watched: bool) -> Mapping[str, Any]:
    """What a process of this script says; {"why": …} if it fails. `watched`: the compilers that it starts."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "GRADSMITH_CACHE_DIR": cache}
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        largest = 0.0
        with subprocess.Popen([sys.executable, __file__, *command], **pipes) as process:
            while watched and process.poll() is None:
                largest = max(largest, largest_below(process.pid))
                time.sleep(0.02)
            out, said = process.communicate()
    if process.returncode:
        return {"why": (said.strip().splitlines() or [f"ended by {process.returncode}"])[-1][:60]}
    return {**json.loads(out), **({"largest compiler, MB": largest} if largest else {})}


def measured(table: Table, rows: Sequence[Row], rounds: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """The figures of each row by its name: the medians of its rounds."""
    found: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    with threads(len(cores()) if table.several else 1):
        for turn in range(rounds):
            for row in (row for row in rows if turn < row.most):
                say(row.name)
                parts = [record(command, table.several and command[0] == "build") for command in row.commands]
                found[row.name].append({key: value for part in parts for key, value in part.items()})
    return {name: summary(records) for name, records in found.items()}


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians, and times by what they are for; a process that failed once has none."""
    if why := next((r["why"] for r in records if "why" in r), ""):
        return {"why": why}
    of = {key: median(r[key] for r in records) for key in records[0]}
    for unit in ("statement", "node"):
        if f"{unit}s" in of and "s" in of:
            of[f"µs a {unit}"] = 1e6 * of["s"] / of[f"{unit}s"]
    return of


#: How columns are shown that are no plain seconds or milliseconds.
WHOLE = ("statements", "nodes", "units", "µs a statement", "µs a node", "bytes a node", "largest compiler, MB")


def cell(column: str, value: float) -> str:
    return f"{value:,.0f}" if column in WHOLE else digits(value)


def lines(
    table: Table, rows: Sequence[Row], found: Mapping[str, Mapping[str, Any]], reasons: Sequence[Reason]
) -> list[str]:
    """One table in Markdown, with what misses its aim."""
    text, figures = [], []
    for row in rows:
        of = found[row.name]
        cells = [cell(column, of[column]) if column in of else "" for column in table.columns]
        if "why" in of:
            cells[0] = of["why"].replace("|", "/")
        text.append([*row.words, *cells])
        shown = {c: s for c, s in zip(table.columns, cells, strict=True) if c in of}
        figures += [Figure(row.name, c, float(s.replace(",", "")), s) for c, s in shown.items()]
    under = paragraph("compile_time", table.aims, figures, reasons)
    return [table.says, "", *layout([*table.header, *table.columns], text), "", *under]


SAYS = (
    "What a compile and a build cost. Each figure is taken in a process of its own, and is the median over the rounds"
    " (here {rounds}; one for programs of {once:,} operations and more). Answers of what is built are compared with the"
    " same operations on numbers and slopes in Python."
)


def section(
    wanted: re.Pattern[str], rounds: int, long: bool, reasons: Sequence[Reason], say: Callable[[str], None]
) -> list[str]:
    """The section "Building": the rows whose names match, in so many rounds.

    long: with Python's texts.
    """
    text = []
    for table in (emitted(long), built(), users()):
        rows = [row for row in table.rows if wanted.search(row.name)]
        if rows:
            text += lines(table, rows, measured(table, rows, rounds, say), reasons)
    return ["## Building", "", SAYS.format(rounds=rounds, once=ONCE), "", *text] if text else []


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["emit", name, n, target]:
            print(json.dumps(emit(name, int(n), target)))
        case ["build", n]:
            print(json.dumps(build(int(n))))
        case ["tiers", n]:
            print(json.dumps(tiers(int(n))))
        case ["small", name, target]:
            print(json.dumps(small(name, target)))
        case options:
            from speed import main

            main(["compile_time", *options])
