"""Programs with named dimensions: each a function, its arguments, and what it is differentiated by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.types import Dim

__all__ = ["PROGRAMS", "Program", "leaves", "second_order"]

CLASSES = gs.spec(("n",), "int64")


@dataclass(frozen=True)
class Program:
    """`empty`: whether it means something where n is 0."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    wrt: tuple[int, ...]
    empty: bool = True

    @property
    def shapes(self) -> list[tuple[Any, ...]]:
        return [a.type.shape if hasattr(a, "type") else a for a in self.args]


def linear_regression(x, y, w, b):
    r = x @ w + b - y
    return gs.sum(r * r) / x.shape[0]


def softmax_cross_entropy(x, w, classes):
    z = x @ w
    picked = gs.take_along_axis(z, classes[:, None], axis=1)[:, 0]
    return gs.mean(gs.logsumexp(z, axis=1) - picked)


def gaussian_mixture(x, mu, a):
    d = x[:, None, :] - mu[None, :, :]
    return gs.sum(gs.logsumexp(gs.log(gs.softmax(a)) - gs.sum(d * d, axis=-1), axis=1))


def moving_differences(x):
    d = gs.diff(x)
    return gs.sum(d * d) + gs.sum((x[2:] - 2.0 * x[1:-1] + x[:-2]) ** 2)


def recurrence(u, h):
    last, states = gs.scan(lambda h, u: (gs.tanh(0.5 * h + u), h * u), h, u)
    return last + gs.sum(states * states)


def segments(u, h):
    return gs.scan(lambda h, u: (gs.sin(h + u), None), h, u, checkpoint=3)[0]


def counted(x):
    return gs.fori_loop(0, x.shape[0], lambda i, s: s * 0.5 + x[i] * x[i], 1.0)


def mapped(x):
    return gs.sum(gs.map(lambda r: gs.sum(r * r) * r, x))


def contracted_inside(a, b):
    return gs.sum(gs.sin(a @ b))


def contracted_outside(a, b):
    return gs.sum(gs.sin(a.T @ b))


def two_names(a, b):
    return gs.sum(gs.exp(-gs.outer(a, b))) + gs.sum(gs.concatenate([a, b]) ** 3) / (a.shape[0] + b.shape[0] + 1)


def cumulative(x):
    return gs.sum(gs.cumulative_sum(x) * x) + gs.sum(gs.cumulative_prod(x))


def products(x):
    return gs.sum(gs.prod(x, axis=0) * 2.0) + gs.sum(gs.prod(x, axis=1))


def slices(x):
    return gs.sum(x[::-1] * x) + gs.sum(x[::2] ** 2) + gs.sum(x[:3] ** 3) + gs.sum(gs.roll(x, 1) * x)


def longer_by_one(x):
    return gs.sum(gs.concatenate([x, gs.zeros(1)]) * gs.concatenate([gs.ones(1), x]) ** 2)


def numbers(x):
    n = x.shape[0]
    return gs.sum(gs.sin(x) * gs.arange(n)) + gs.sum(gs.full((n,), 2.0) * x * x) + n * gs.sum(gs.eye(n) @ x)


def reshaped(x):
    return gs.sum(gs.reshape(x, (x.shape[0] * 4, 2))[:, 0] ** 2) + gs.sum(gs.sin(gs.ravel(x)))


def extremes(x):
    return gs.max(x) * x[0] + gs.min(x) * x[-1] + gs.sum(gs.softmax(x) * x) + gs.logsumexp(x)


def in_order(x):
    return gs.sum(gs.sort(x) ** 2 * gs.arange(x.shape[0]))


def gathered(x, places):
    return gs.sum(gs.take(x, places) ** 2)


def spread(x):
    return gs.sum(gs.var(x, axis=0)) + gs.mean(x * x)


def square(a, x):
    return x @ a @ x + gs.trace(a * a) + gs.sum(gs.tril(a) ** 2)


def of_norms(x):
    return gs.linalg.vector_norm(x) ** 2 + gs.sum(gs.where(x > 0, x * x, 0.0))


N, NM = ("n",), ("n", "m")
PROGRAMS: dict[str, Program] = {
    p.function.__name__: p
    for p in (
        Program(linear_regression, (("n", 64), N, (64,), ()), (0, 1, 2, 3), empty=False),
        Program(softmax_cross_entropy, (("n", 5), (5, 4), CLASSES), (0, 1), empty=False),
        Program(gaussian_mixture, (("n", 2), ("k", 2), ("k",)), (0, 1, 2)),
        Program(moving_differences, (N,), (0,)),
        Program(recurrence, (N, ()), (0, 1)),
        Program(segments, (N, ()), (0, 1)),
        Program(counted, (N,), (0,)),
        Program(mapped, (("n", 3),), (0,)),
        Program(contracted_inside, (NM, ("m", 3)), (0, 1)),
        Program(contracted_outside, (NM, ("n", 3)), (0, 1)),
        Program(two_names, (N, ("m",)), (0, 1)),
        Program(cumulative, (N,), (0,)),
        Program(products, (("n", 3),), (0,)),
        Program(slices, (N,), (0,)),
        Program(longer_by_one, (N,), (0,)),
        Program(numbers, (N,), (0,)),
        Program(reshaped, (("n", 8),), (0,)),
        Program(extremes, (N,), (0,), empty=False),
        Program(in_order, (N,), (0,)),
        Program(gathered, (N, gs.spec(("m",), "int64")), (0,), empty=False),
        Program(spread, (("n", 2),), (0,), empty=False),
        Program(square, (("n", "n"), N), (0, 1)),
        Program(of_norms, (N,), (0,)),
    )
}


def second_order(program: Program) -> Callable[..., Any]:
    """A function of the gradient by the first argument, whose gradient is of second order."""

    def function(*xs):
        d = gs.grad(program.function, argnums=0)(*xs)
        return gs.sum(d * gs.sin(d))

    return function


def leaves(program: Program, n: int, seed: int = 0) -> tuple[list[np.ndarray], dict[str, int]]:
    """Arguments for this n, and the sizes of all names."""
    generator = np.random.default_rng([seed, n])
    sizes = {"n": n, "m": n + 2, "k": 3}
    found = []
    for a, shape in zip(program.args, program.shapes, strict=True):
        actual = tuple(d if isinstance(d, int) else sizes[d.name if isinstance(d, Dim) else d] for d in shape)
        integers = hasattr(a, "type") and a.type.dtype.kind == "int"
        found.append(
            generator.integers(0, min(max(n, 1), 4), size=actual) if integers else generator.normal(size=actual)
        )
    used = {d.name if isinstance(d, Dim) else d for shape in program.shapes for d in shape if not isinstance(d, int)}
    return found, {name: size for name, size in sizes.items() if name in used}
