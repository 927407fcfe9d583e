"""Time `threads="openmp"` with one thread and two, beside torch and JAX with as many; print a table.

    pip install -e '.[bench,torch]'
    python benchmarks/threads.py                    # some three minutes on a machine with nothing else to do
    python benchmarks/threads.py --only gemm --rounds 11

Each entry is a process of its own, bound to as many processors as it has threads, and all take turns. Times are by the
clock (threads share CPU time, not work), so other work on the machine is in them. A time is the least of all rounds, a
gain the median of the quotients within the rounds. Entries whose numbers differ are an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

SLICE = 0.05  # seconds of calls in one turn


@dataclass(frozen=True)
class Work:
    """A function of the namespace `m` and arrays; `wrt` if its gradient is wanted; `points` if the first axis are."""

    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    wrt: tuple[int, ...] = ()
    points: int = 0

    def arrays(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        points = (self.points,) if self.points else ()
        return [rng.normal(size=points + s) / (s[0] ** 0.5 if len(s) == 2 else 1.0) for s in self.shapes]


def two_layers(m: Any, x: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    return m.mean((m.maximum(x @ W1 + b1, 0.0 * b1) @ W2 + b2 - t) ** 2)


WORKS: dict[str, Work] = {
    "exp(-x^2) sin(x) of 1,000,000": Work(lambda m, x: m.exp(-x * x) * m.sin(x), ((1_000_000,),)),
    "sum of sin(x)^2 of 1,000,000": Work(lambda m, x: m.sum(m.sin(x) ** 2), ((1_000_000,),)),
    "sums of 1,000 rows of 1,000": Work(lambda m, x: m.sum(m.sin(x), 1), ((1000, 1000),)),
    "gemm 512": Work(lambda m, a, b: a @ b, ((512, 512), (512, 512))),
    "100,000 points of x*y + y + tanh(x), gradients": Work(
        lambda m, x, y: x * y + y + m.tanh(x), ((), ()), (0, 1), 100_000
    ),
    "two layers 512x784-256-10, gradients": Work(
        two_layers, ((512, 784), (512, 10), (784, 256), (256,), (256, 10), (10,)), (2, 3, 4, 5)
    ),
}

# --- a process of one entry -------------------------------------------------------------------------------------------


def gradsmith(work: Work, given: Sequence[Any], count: int, **options: Any) -> Callable[[], Any]:
    import gradsmith as gs

    kind = "value_and_grad" if work.wrt else "value"
    batch = {"batch": True} if work.points else {}
    f = gs.compile(
        lambda *xs: work.function(gs, *xs), args=work.shapes, wrt=work.wrt or None, target="c", march="native",
        derivatives=kind, selftest=False, **batch, **options,
    )  # fmt: skip
    call = getattr(f, f"{kind}_batch") if work.points else f.value_and_grad if work.wrt else f
    named = {"threads": count} if work.points and options else {}
    return lambda: call(*given, **named)


def openmp(work: Work, given: Sequence[Any], count: int) -> Callable[[], Any]:
    return gradsmith(work, given, count, threads="openmp")


def torch(work: Work, given: Sequence[Any], count: int) -> Callable[[], Any]:
    import torch as m

    m.set_num_threads(count)
    leaves = [m.tensor(a, requires_grad=k in work.wrt) for k, a in enumerate(given)]

    def call() -> Any:
        value = work.function(m, *leaves)
        if not work.wrt:
            return value
        return value.detach(), m.autograd.grad(value.sum(), [leaves[k] for k in work.wrt])

    return call


def jax(work: Work, given: Sequence[Any], count: int) -> Callable[[], Any]:
    import jax as j

    j.config.update("jax_enable_x64", True)
    leaves = [j.numpy.asarray(a) for a in given]
    function: Callable[..., Any] = lambda *xs: work.function(j.numpy, *xs)
    if work.wrt:
        function = j.value_and_grad(function, work.wrt)
    run = j.jit(j.vmap(function) if work.points else function)
    return lambda: j.block_until_ready(run(*leaves))


ENTRIES: dict[str, Callable[[Work, Sequence[Any], int], Callable[[], Any]]] = {
    "gradsmith": gradsmith, "gradsmith, openmp": openmp, "torch": torch, "JAX": jax,
}  # fmt: skip


def numbers(result: Any) -> list[np.ndarray]:
    parts = [result[0], *result[1]] if isinstance(result, tuple) else [result]
    return [np.asarray(p, dtype=float) for p in parts]


def serve(entry: str, name: str, threads: int) -> None:
    """Say what all numbers add up to, and then, for each line that comes, how long a call takes."""
    work = WORKS[name]
    call = ENTRIES[entry](work, work.arrays(), threads)
    found = numbers(call())
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SLICE:
        call()
        count += 1
    print(json.dumps([float(np.abs(p).sum()) for p in found]), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(count):
            call()
        print((time.perf_counter() - began) / count, flush=True)


# --- all of them by turns ---------------------------------------------------------------------------------------------


def started(entry: str, name: str, threads: int) -> subprocess.Popen[str]:
    """The process of an entry, bound to as many processors as it has threads."""
    processors = sorted(os.sched_getaffinity(0))[-threads:]
    return subprocess.Popen(
        [sys.executable, __file__, "--serve", entry, name, str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )  # fmt: skip


def measured(name: str, rounds: int) -> list[str]:
    """A row of the table."""
    chosen = [(entry, threads) for entry in ENTRIES for threads in (1, 2) if (entry, threads) != ("gradsmith", 2)]
    running, times, want = {}, {}, None
    for one in chosen:
        process = started(one[0], name, one[1])
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            continue  # not installed
        sums = json.loads(line)
        want = sums if want is None else want
        if not np.allclose(sums, want, rtol=1e-9):
            raise SystemExit(f"{name}: {one[0]} gives {sums}, the others {want}")
        running[one], times[one] = process, []
    for k in range(rounds):
        for one in [*running] if k % 2 else [*running][::-1]:
            process = running[one]
            process.stdin.write("\n")
            process.stdin.flush()
            times[one].append(float(process.stdout.readline()))
    for process in running.values():
        process.stdin.close()
        process.wait()

    def shown(entry: str, threads: int) -> str:
        return f"{1e6 * min(times[entry, threads]):,.0f}" if (entry, threads) in times else ""

    def gain(entry: str) -> str:
        pair = times.get((entry, 1)), times.get((entry, 2))
        return "" if None in pair else f"{median(a / b for a, b in zip(*pair, strict=True)):.2f}"

    cells = [shown("gradsmith", 1)]
    for entry in [*ENTRIES][1:]:
        cells += [shown(entry, 1), shown(entry, 2), gain(entry)]
    return [name, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="workloads whose names match")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--serve", nargs=3, metavar=("ENTRY", "WORK", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve[0], options.serve[1], int(options.serve[2]))
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two processors are needed")
    head = ["µs a call", "gradsmith", *(f"{e}{s}" for e in [*ENTRIES][1:] for s in (", 1 thread", ", 2", ", gain"))]
    print(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}", flush=True)
    for name in WORKS:
        if re.search(options.only, name):
            print(f"| {' | '.join(measured(name, options.rounds))} |", flush=True)


if __name__ == "__main__":
    main()
