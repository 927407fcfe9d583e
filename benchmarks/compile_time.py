"""What a compile costs: time for each emitted statement and memory for each node, for graphs of growing size.

    PYTHONPATH=compiler:runtime:. python benchmarks/compile_time.py [largest]

In: the largest number of operations, 100,000 by default. Out: two tables in Markdown. The first is of programs of n
scalar operations: tracing, differentiating and writing them (`value_and_grad`, no self-test, and `roll=False`, as loops
found in them would leave nothing to write), with the processor time
for each statement of the text and each node of the joint graph, and the peak of memory, above that of the process
before, for each such node. The second is of small programs as users write them, with the self-test. Each row runs in
a process of its own, so that no row finds anything prepared by another, and gives the least of several runs where
that is cheap.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_SMALLEST, _LARGEST = 1_000, 100_000


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


def _mixture(gs: Any) -> Any:
    def loss(x: Any, means: Any, scales: Any, weights: Any) -> Any:
        z = (x[:, None, :] - means[None, :, :]) * gs.exp(scales)[None, :, :]
        terms = gs.log_softmax(weights) + gs.sum(scales, axis=1) - 0.5 * gs.sum(z * z, axis=2)
        return -gs.sum(gs.logsumexp(terms, axis=1))

    return loss, ((20, 3), (4, 3), (4, 3), (4,))


def _lstm(gs: Any) -> Any:
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
    "Gaussian mixture": _mixture,
    "LSTM": _lstm,
}


def _long(name: str, n: int, target: str) -> str:
    import gradsmith as gs

    best, limits = float("inf"), gs.Tuning(most_arguments=n + 2)
    for _ in range(5 if n <= 3_000 else 2 if n <= 30_000 else 1):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        source = LONG[name](gs, n)
        f = gs.compile(source, target=target, derivatives="value_and_grad", selftest=False, tuning=limits, roll=False)
        best = min(best, time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    lines = (line.lstrip() for line in f.source.splitlines())
    statements = sum(" = " in line and not line.startswith(("//", "#")) for line in lines)
    nodes = len(f.adjoint)
    memory = f"{1024 * peak / nodes:,.0f}" if n > 30_000 else ""
    each = f"{best / statements * 1e6:.0f} | {best / nodes * 1e6:.0f}"
    return f"| {name} | {target} | {n:,} | {statements:,} | {best:.2f} | {each} | {memory} |"


def _small(name: str, target: str) -> str:
    import gradsmith as gs

    source, args = SMALL[name](gs)
    times = []
    for _ in range(8):
        start = time.process_time()
        gs.compile(source, args=args, target=target)
        times.append(time.process_time() - start)
    return f"| {name} | {target} | {1e3 * times[0]:.0f} | {1e3 * min(times):.1f} |"


def main(largest: int) -> None:
    def row(*words: str) -> None:
        print(subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True).stdout.strip())

    print("| program | target | operations | statements | s | µs a statement | µs a node | bytes a node |")
    print("|---|---|---|---|---|---|---|---|")
    for name in LONG:
        for target in ("c", "python"):
            n = _SMALLEST
            while n <= largest:
                row("long", name, str(n), target)
                n *= 10
    print("\n| program | target | first, ms | later, ms |\n|---|---|---|---|")
    for name in SMALL:
        for target in ("python", "numpy", "c"):
            row("small", name, target)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["long", name, n, target]:
            print(_long(name, int(n), target))
        case ["small", name, target]:
            print(_small(name, target))
        case words:
            main(int(words[0]) if words else _LARGEST)
