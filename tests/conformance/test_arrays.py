"""Array semantics are NumPy's: every broadcast, rank, axis and index, with torch's gradient, on every target.

Each test compiles a whole family of programs into one C library, and lists all that differ.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

from . import harness
from .harness import COMPILERS, TARGETS, Program, Runners, compiled, distance

Shape = tuple[int, ...]
Family = Iterator[tuple[str, Sequence[Shape], Callable[..., Any], Callable[..., Any]]]  # label, shapes, ours, NumPy's

SHAPES: list[Shape] = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (2, 1, 3), (1, 1, 1), (4, 2, 3)]


def numbers(shape: Shape, seed: int) -> np.ndarray:
    """Distinct numbers in [0.3, 2.7], in no order."""
    size = int(np.prod(shape, dtype=int))
    return (0.3 + (np.arange(size) * 0.6180339887498949 + 0.37 * seed) % 1.0 * 2.4).reshape(shape)


def broadcasting() -> Family:
    for a, b in itertools.product(SHAPES, SHAPES):
        try:
            np.broadcast_shapes(a, b)
        except ValueError:
            continue
        yield f"div {a} {b}", [a, b], lambda x, y: x / y, np.divide
    for a, b in [((2, 3), (3,)), ((), (2, 3)), ((3, 1), (1, 2))]:
        yield f"add {a} {b}", [a, b], lambda x, y: x + y, np.add
        yield f"sub {a} {b}", [a, b], lambda x, y: x - y, np.subtract
        yield f"mul {a} {b}", [a, b], lambda x, y: x * y, np.multiply
        yield f"pow {a} {b}", [a, b], lambda x, y: x**y, np.power
        yield f"atan2 {a} {b}", [a, b], gs.atan2, np.arctan2
        yield f"max {a} {b}", [a, b], gs.maximum, np.maximum
        yield f"min {a} {b}", [a, b], gs.minimum, np.minimum
        yield f"where {a} {b}", [a, b], lambda x, y: gs.where(x > y, x * y, y), lambda x, y: np.where(x > y, x * y, y)
    yield "clip", [(2, 3), (3,), ()], gs.clip, lambda x, a, b: np.minimum(np.maximum(x, a), b)
    yield "where3", [(3,), (2, 1), ()], lambda c, x, y: gs.where(c > 1.0, x, y), lambda c, x, y: np.where(c > 1.0, x, y)
    yield "constant", [(3,)], lambda x: np.array([[1.0], [2.0]]) * x, lambda x: np.array([[1.0], [2.0]]) * x


def products() -> Family:
    batches: list[Shape] = [(), (2,), (1,), (3, 1), (3, 2)]
    for a, b in itertools.product(batches, batches):
        try:
            np.broadcast_shapes(a, b)
        except ValueError:
            continue
        yield f"matmul {a} {b}", [(*a, 2, 3), (*b, 3, 2)], gs.matmul, np.matmul
    for batch in batches:
        yield f"matmul vector {batch}", [(3,), (*batch, 3, 2)], gs.matmul, np.matmul
        yield f"matmul {batch} vector", [(*batch, 2, 3), (3,)], gs.matmul, np.matmul
        yield f"dot {batch} vector", [(*batch, 2, 3), (3,)], gs.dot, np.dot
        yield f"dot vector {batch}", [(3,), (*batch, 3, 2)], gs.dot, np.dot
        yield f"dot {batch} matrix", [(*batch, 2, 3), (3, 2)], gs.dot, np.dot
        yield f"dot {batch} stack", [(*batch, 2, 3), (2, 3, 2)], gs.dot, np.dot
    yield "matmul vectors", [(3,), (3,)], lambda a, b: a @ b, np.matmul
    yield "matmul ones", [(1, 1), (1, 1)], gs.matmul, np.matmul
    yield "matmul column", [(3, 1), (1, 3)], gs.matmul, np.matmul
    yield "matmul length 1", [(1,), (1,)], gs.matmul, np.matmul
    yield "dot scalar", [(), (2, 3)], gs.dot, np.dot
    yield "dot vectors", [(3,), (3,)], gs.dot, np.dot
    yield "outer", [(3,), (2,)], gs.outer, np.outer
    yield "outer ranks", [(2, 3), ()], gs.outer, np.outer
    yield "quadratic", [(3,), (3, 3)], lambda x, a: x @ a @ x, lambda x, a: x @ a @ x
    yield "twice", [(3, 3)], lambda a: a @ a, lambda a: a @ a
    yield "transposed", [(2, 3), (2, 3)], lambda a, b: a.T @ b, lambda a, b: a.T @ b
    yield "mT", [(4, 2, 3)], lambda a: a @ a.mT, lambda a: a @ np.swapaxes(a, -1, -2)
    yield "chain", [(2, 3), (3, 2), (2,)], lambda a, b, c: gs.tanh(a @ b) @ c, lambda a, b, c: np.tanh(a @ b) @ c


def reductions() -> Family:
    ours = {n: getattr(gs, n) for n in ("sum", "mean", "prod", "max", "min", "logsumexp")}
    numpys = {
        "max": np.max,
        "min": np.min,
        "logsumexp": np.logaddexp.reduce,
        "sum": np.sum,
        "mean": np.mean,
        "prod": np.prod,
    }
    for shape in [(), (1,), (5,), (2, 3), (2, 1, 3)]:
        axes: list[Any] = [None]
        for count in range(1, len(shape) + 1):
            axes += itertools.combinations(range(len(shape)), count)
        axes += list(range(-len(shape), 0))[:1]
        for name, axis, keepdims in itertools.product(ours, axes, (False, True)):
            yield (
                f"{name} {shape} {axis} {keepdims}", [shape],
                lambda x, f=ours[name], a=axis, k=keepdims: f(x, axis=a, keepdims=k),
                lambda x, f=numpys[name], a=axis, k=keepdims: f(x, axis=a, keepdims=k),
            )  # fmt: skip
        for axis in axes[1:]:
            yield (
                f"softmax {shape} {axis}",
                [shape],
                lambda x, a=axis: gs.softmax(x, axis=a),
                lambda x, a=axis: softmax(x, a),
            )
    yield "method", [(2, 3)], lambda x: x.sum(axis=0) * x.mean() + x.max(1, keepdims=True), method
    yield "prod of none", [(0,)], gs.prod, np.prod
    yield "sum of none", [(0, 2)], lambda x: gs.sum(x, axis=0), lambda x: np.sum(x, axis=0)
    yield "sum to none", [(2, 0)], lambda x: gs.sum(x, axis=0), lambda x: np.sum(x, axis=0)
    yield "sum of all none", [(2, 0)], lambda x: gs.sum(x) + 1.0, lambda x: np.sum(x) + 1.0
    yield "prod over none", [(2, 0)], lambda x: gs.prod(x, axis=1), lambda x: np.prod(x, axis=1)
    yield "prod of 8", [(8,)], gs.prod, np.prod
    yield "mse", [(2, 3), (3,)], gs.mse, lambda x, y: np.mean((x - y) ** 2)


def softmax(x: np.ndarray, axis: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def method(x: np.ndarray) -> Any:
    return x.sum(axis=0) * x.mean() + x.max(1, keepdims=True)


KEYS: list[tuple[Shape, Any]] = [
    ((5,), 2), ((5,), -1), ((5,), slice(None)), ((5,), slice(1, 4)), ((5,), slice(None, None, 2)),
    ((5,), slice(None, None, -1)), ((5,), slice(4, 1, -2)), ((5,), slice(-2, None)), ((5,), slice(3, 3)),
    ((5,), slice(10)), ((5,), None), ((5,), ...), ((5,), [0, 0, 3]), ((5,), [-1, 2]), ((5,), np.array([[0, 1], [4, 4]])),
    ((5,), np.array([True, False, True, True, False])), ((5,), [True, False, False, False, True]), ((5,), np.int64(3)),
    ((3, 4), 1), ((3, 4), (1, 2)), ((3, 4), (slice(None), 2)), ((3, 4), (..., -1)), ((3, 4), (slice(1, None), slice(None, 2))),
    ((3, 4), (None, 1)), ((3, 4), (slice(None), None, 2)), ((3, 4), (None, ..., None)), ((3, 4), ([0, 2], [1, 3])),
    ((3, 4), ([0, 2],)), ((3, 4), (slice(None), [3, 0, 3])), ((3, 4), (1, [0, 0])), ((3, 4), ([[0], [2]], [1, 3])),
    ((3, 4), np.arange(12).reshape(3, 4) % 3 == 0), ((3, 4), (np.array([True, False, True]), slice(1, 3))),
    ((3, 4), (np.array([True, False, True]), [0, 3])), ((3, 4), ([0, 1], 2)), ((3, 4), (slice(None, None, -1), slice(None, None, -2))),
    ((2, 3, 4), (0, ..., 1)), ((2, 3, 4), (slice(None), 1)), ((2, 3, 4), ([0, 1], slice(None), [1, 3])),
    ((2, 3, 4), (slice(None), [0, 2], [1, 3])), ((2, 3, 4), ([1, 0], [0, 2])), ((2, 3, 4), (1, slice(None), [0, 0, 3])),
    ((2, 3, 4), (slice(None), [[0, 1], [2, 2]])), ((2, 3, 4), (slice(None), [[0, 1], [2, 2]], [3, 0])),
    ((2, 3, 4), ([0], slice(1, 3), 2)), ((2, 3, 4), np.ones((2, 3), dtype=bool)), ((2, 3, 4), (..., [1, 1], slice(None))),
    ((2, 3, 4), ([[1], [0]], ..., [0, 2, 3])), ((), ...), ((), None), ((3, 4), (slice(0, 0), 1)), ((3, 4), ([],)),
]  # fmt: skip


def indexing() -> Family:
    for shape, key in KEYS:
        static = tuple(np.asarray(k) if isinstance(k, list) else k for k in key) if isinstance(key, tuple) else key
        static = (
            np.asarray(key, dtype=int if not key or not isinstance(key[0], bool) else bool)
            if isinstance(key, list)
            else static
        )
        if isinstance(static, tuple):
            static = tuple(k.astype(int) if isinstance(k, np.ndarray) and not k.size else k for k in static)
        yield f"{shape}[{key!r}]", [shape], lambda x, k=key: x[k], lambda x, k=static: x[k]
    yield (
        "unpacked",
        [(3,)],
        lambda x: gs.stack([a * b for a, b in zip(x, x[::-1], strict=True)]),
        lambda x: x * x[::-1],
    )
    yield "twice", [(3, 4)], lambda x: x[1:][:, ::2][0], lambda x: x[1:][:, ::2][0]
    yield "overlapping", [(5,)], lambda x: x[1:] * x[:-1] + x[0], lambda x: x[1:] * x[:-1] + x[0]
    yield "of a matmul", [(3, 3)], lambda x: (x @ x)[1, ::2], lambda x: (x @ x)[1, ::2]


def layouts() -> Family:
    for axis in (0, 1, -1):
        yield (
            f"concatenate {axis}",
            [(2, 3), (2, 3)],
            lambda a, b, k=axis: gs.concatenate([a, b], axis=k),
            joined(np.concatenate, axis),
        )
        yield f"stack {axis}", [(2, 3), (2, 3)], lambda a, b, k=axis: gs.stack([a, b], axis=k), joined(np.stack, axis)
    yield "concatenate sizes", [(2, 3), (1, 3), (0, 3)], lambda *x: gs.concatenate(x), lambda *x: np.concatenate(x)
    yield "concatenate itself", [(2,)], lambda x: gs.concatenate([x, x * x, x]), lambda x: np.concatenate([x, x * x, x])
    yield "stack scalars", [(), ()], lambda a, b: gs.stack([a, b, a]), lambda a, b: np.stack([a, b, a])
    yield (
        "list",
        [(), ()],
        lambda a, b: gs.stack([gs.stack([a, b]), gs.stack([1.0, a])]),
        lambda a, b: np.array([[a, b], [1.0, a]]),
    )
    for order in itertools.permutations(range(3)):
        yield (
            f"transpose {order}",
            [(2, 3, 4)],
            lambda x, o=order: gs.transpose(x, o),
            lambda x, o=order: np.transpose(x, o),
        )
    yield "T", [(2, 3, 4)], lambda x: x.T, lambda x: x.T
    yield "transpose ()", [(2, 3)], lambda x: x.transpose(), lambda x: x.T
    for shape in [(6,), (3, 2), (-1,), (2, -1), (1, 6, 1), (-1, 1, 3)]:
        yield f"reshape {shape}", [(2, 3)], lambda x, s=shape: gs.reshape(x, s), lambda x, s=shape: x.reshape(s)
    yield "reshape of T", [(2, 3)], lambda x: (x.T * 2.0).reshape(6)[1:4], lambda x: (x.T * 2.0).reshape(6)[1:4]
    yield "reshape scalar", [()], lambda x: gs.reshape(x, (1, 1)), lambda x: np.reshape(x, (1, 1))
    yield "ravel", [(2, 3)], gs.ravel, np.ravel
    yield "expand", [(2, 3)], lambda x: gs.expand_dims(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2))
    yield "squeeze", [(1, 3, 1)], gs.squeeze, np.squeeze
    yield "squeeze one", [(1, 3, 1)], lambda x: gs.squeeze(x, -1), lambda x: np.squeeze(x, -1)
    yield "broadcast", [(3, 1)], lambda x: gs.broadcast_to(x, (2, 3, 4)), lambda x: np.broadcast_to(x, (2, 3, 4))
    yield (
        "broadcast then T",
        [(3,)],
        lambda x: gs.broadcast_to(x, (2, 3)).T * 2.0,
        lambda x: np.broadcast_to(x, (2, 3)).T * 2.0,
    )
    yield "the argument", [(2, 3)], lambda x: x, lambda x: x
    yield "a slice of it", [(5,)], lambda x: x[1:3], lambda x: x[1:3]
    yield "a constant", [(2,)], lambda x: gs.concatenate([x, [5.0]]) * 1.0, lambda x: np.concatenate([x, [5.0]])


def joined(function: Callable[..., Any], axis: int) -> Callable[..., Any]:
    return lambda *xs: function(xs, axis)


@dataclass(frozen=True)
class Item:
    """One member of a family, traced: symbols, our result, a point, NumPy's result there."""

    label: str
    xs: list[gs.Expr]
    y: gs.Expr
    point: list[np.ndarray]
    expected: np.ndarray


BATCH = 12  # members that share a program: compiling costs more than anything else here


@pytest.mark.parametrize("family", [broadcasting, products, reductions, indexing, layouts], ids=lambda f: f.__name__)
def test_family(family: Callable[[], Family], tmp_path: Path) -> None:
    check_family(family, tmp_path)


def check_family(family: Callable[[], Family], folder: Path, turns: bool = False) -> None:
    """The result equals NumPy's on every target, and the gradient of a weighted sum of its squares torch's.

    With `turns`, each target writes a share of the gradients: for functions that are made of ops, whose gradient is one
    graph for all targets. The ops and their gradients are tested on every target.
    """
    problems: list[str] = []
    items: list[Item] = []
    for number, (label, shapes, ours, numpys) in enumerate(family()):
        xs = [gs.symbol(f"x{number}_{i}", s) for i, s in enumerate(shapes)]
        point = [numbers(s, i) for i, s in enumerate(shapes)]
        items.append(Item(label, xs, ours(*xs), point, np.asarray(numpys(*point))))
        if items[-1].y.shape != items[-1].expected.shape:
            problems.append(f"{label}: has shape {items[-1].y.shape}, NumPy's {items[-1].expected.shape}")
    assert len(items) > 20
    assert not problems, "\n".join(problems)
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    programs: dict[str, Program] = {}
    for number, batch in enumerate(batches):
        inputs = [x for item in batch for x in item.xs]
        results = tuple(item.y for item in batch)
        total = functools.reduce(operator.add, [squares(y) for y in results])
        programs[f"results {number}"] = compiled(
            results, inputs, f"results{number}", derivatives=("value",), targets=TARGETS
        )
        by = harness.one_of(TARGETS, number) if turns else TARGETS
        programs[f"total {number}"] = harness.joint(total, inputs, f"total{number}", targets=by)
    runners = Runners(programs, folder, COMPILERS[:1], "-O0")
    for number, batch in enumerate(batches):
        point = [x for item in batch for x in item.point]
        for target, run in runners.all(f"results {number}"):
            for item, got in zip(batch, run("value", point), strict=True):
                problems += differs(f"{item.label}, {target}", got, item.expected, size_of(item))
        value, *slopes = harness.torch_value_and_grad(programs[f"total {number}"].graph, point)
        for target, run in runners.all(f"total {number}"):
            got_value, *got_slopes = run("value_and_grad", point)
            problems += differs(f"total {number}, {target}", got_value, value, sum(map(size_of, batch)))
            wanted, gotten = iter(slopes), iter(got_slopes)
            for item in batch:
                for i, _ in enumerate(item.xs):
                    want, got = next(wanted), next(gotten)
                    scale = size_of(item) + float(np.abs(want).max(initial=0.0))
                    problems += differs(f"{item.label}, {target}, gradient {i}", got, want, scale)
    assert not problems, f"{len(problems)} problems\n" + "\n".join(problems)


def squares(y: gs.Expr) -> gs.Expr:
    return harness.contracted(y * y, harness.weights(y.shape))


def size_of(item: Item) -> float:
    return max([1.0, *(float(np.sum(x * x)) for x in [*item.point, item.expected])])


def differs(where: str, got: np.ndarray, want: np.ndarray, size: float) -> list[str]:
    if not got.size and "python" in where:
        got = got.reshape(want.shape)  # nested lists cannot say (0, 3)
    error = distance(got, want, size)
    return [f"{where}: {got.tolist()} is {error:.3g} eps from {want.tolist()}"] if error > 16 else []
