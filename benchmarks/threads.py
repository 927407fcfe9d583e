"""Two threads: what `threads="openmp"` gains beside torch and JAX with as many, by the clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arrays import convolution, jax_functions, torch_functions
from harness.flags import march_option
from harness.records import Build, Family, Ready, Workload

__all__ = ["FAMILY"]


@dataclass(frozen=True)
class Model:
    """A function of the namespace `m` and arrays; `wrt` if gradients are wanted; `points` if the first axis is theirs.

    out: results are written into arrays that are given with the call, which only our batches do here.
    """

    name: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    wrt: tuple[int, ...] = ()
    points: int = 0
    out: bool = False

    def arrays(self, rng: np.random.Generator) -> list[np.ndarray]:
        points = (self.points,) if self.points else ()
        return [rng.normal(size=points + s) / (s[0] ** 0.5 if len(s) == 2 else 1.0) for s in self.shapes]


def two_layers(m: Any, x: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    return m.mean((m.maximum(x @ W1 + b1, 0.0 * b1) @ W2 + b2 - t) ** 2)


def cross_entropy(m: Any, x: Any, t: Any) -> Any:
    e = m.exp(x)
    return -m.sum(m.log(e / m.sum(e, 1)[:, None]) * t)


SQUARE = (1000, 1000)
MODELS = [
    Model("exp(-x²) sin(x) of 1,000,000", lambda m, x: m.exp(-x * x) * m.sin(x), ((1_000_000,),)),
    Model("sum of sin(x)² of 1,000,000", lambda m, x: m.sum(m.sin(x) ** 2), ((1_000_000,),)),
    Model("sum of sin(x)² of 1,000,000, gradient", lambda m, x: m.sum(m.sin(x) ** 2), ((1_000_000,),), (0,)),
    Model("sums of 1,000 rows of 1,000", lambda m, x: m.sum(m.sin(x), 1), (SQUARE,)),
    Model("cross entropy of 1,000 rows of 1,000, gradient", cross_entropy, (SQUARE, SQUARE), (0,)),
    Model("product of 512 x 512 matrices", lambda m, a, b: a @ b, ((512, 512), (512, 512))),
    Model("two layers 512x784-256-10, gradients", two_layers,
          ((512, 784), (512, 10), (784, 256), (256,), (256, 10), (10,)), (2, 3, 4, 5)),
    Model("convolution 3x3 of 32x8x28x28, 16 filters, gradients", convolution,
          ((32, 8, 28, 28), (16, 8, 3, 3), (16,), (32, 16, 26, 26)), (0, 1, 2)),
    Model("running sums of 1,000,000", lambda m, x: m.cumsum(x, 0), ((1_000_000,),)),
    Model("100,000 points of x*y + y + tanh(x), gradients", lambda m, x, y: x * y + y + m.tanh(x), ((), ()), (0, 1),
          100_000),
    Model("100,000 points of x*y + y + tanh(x), out=", lambda m, x, y: x * y + y + m.tanh(x), ((), ()), (0, 1),
          100_000, out=True),
]  # fmt: skip


def numbers(result: Any) -> list[Any]:
    return [result[0], *result[1]] if isinstance(result, tuple) else [result]


def gradsmith(model: Model, count: int | None, arguments: Sequence[Any]) -> Ready:
    """count: of threads; None for code without them."""
    import gradsmith as gs

    kind = "value_and_grad" if model.wrt else "value"
    f = gs.compile(
        lambda *xs: model.function(gs, *xs), args=model.shapes, wrt=model.wrt or None, target="c", name="f",
        selftest=False, derivatives=kind, batch=model.points > 0,
        threads="openmp" if count is not None else None, **march_option(),
    )  # fmt: skip
    if not model.points:
        return Ready(f.value_and_grad if model.wrt else f, tuple(arguments), numbers)
    named: dict[str, Any] = {} if count is None else {"threads": count}
    if model.out:
        named["out"] = (np.empty(model.points), tuple(np.empty(model.points) for _ in model.wrt))
    return Ready(getattr(f, f"{kind}_batch"), tuple(arguments), numbers, named)


def torch(model: Model, count: int, arguments: Sequence[Any]) -> Ready:
    import torch as m

    m.set_num_threads(count)
    leaves = [m.tensor(a, requires_grad=k in model.wrt) for k, a in enumerate(arguments)]
    functions = torch_functions()

    def call() -> Any:
        value = model.function(functions, *leaves)
        if not model.wrt:
            return value
        return value.detach(), m.autograd.grad(value.sum(), [leaves[k] for k in model.wrt])

    return Ready(call, (), lambda r: [np.asarray(x) for x in numbers(r)])


def jax(model: Model, count: int, arguments: Sequence[Any]) -> Ready:
    """It has as many threads as its process has processors."""
    import jax as j

    leaves = tuple(j.numpy.asarray(a) for a in arguments)
    functions = jax_functions()
    function: Callable[..., Any] = lambda *xs: model.function(functions, *xs)
    if model.wrt:
        function = j.value_and_grad(function, model.wrt)
    run = j.jit(j.vmap(function) if model.points else function)
    return Ready(lambda *a: j.block_until_ready(run(*a)), leaves, numbers)


#: Each with how many threads it has, and how it is built.
ENTRIES: dict[str, tuple[int, Callable[..., Ready]]] = {
    "gradsmith C": (1, lambda model, _, arguments: gradsmith(model, None, arguments)),
    "openmp": (1, gradsmith),
    "openmp, 2": (2, gradsmith),
    "torch": (1, torch),
    "torch, 2": (2, torch),
    "JAX": (1, jax),
    "JAX, 2": (2, jax),
}


def workload(model: Model) -> Workload:
    ours = ("gradsmith C", "openmp", "openmp, 2")
    builds: dict[str, Build] = {
        entry: functools.partial(build, model, count)
        for entry, (count, build) in ENTRIES.items()
        if entry in ours or not model.out
    }
    reference = lambda *arguments: [np.asarray(a) for a in torch(model, 1, arguments).answer()]
    return Workload(model.name, model.arrays, reference, builds)


FAMILY = Family(
    name="threads",
    title="Two threads",
    says="What a second thread gains, by the clock: code for one thread (gradsmith C), and code for several"
    ' (`threads="openmp"`, in the columns openmp) with one and with two of them, in a process that has as many cores.'
    " Results are new arrays but for `out=`. Other work on the machine is in these times.",
    unit="µs a call",
    seconds=1e-6,
    workloads=[workload(model) for model in MODELS],
    pairs=[
        ("openmp, 2", "openmp"), ("openmp", "gradsmith C"), ("torch, 2", "torch"), ("JAX, 2", "JAX"),
    ],
    peers={"torch, 2": "openmp, 2", "JAX, 2": "openmp, 2"},
    threads={entry: count for entry, (count, _) in ENTRIES.items() if count > 1},
    by_clock=True,
)  # fmt: skip
