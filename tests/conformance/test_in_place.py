"""In-place updates as plain NumPy writes them: the same values with the same aliasing, and the gradients to them.

Beside programs that people write, random ones change arrays through views of views of all kinds; NumPy runs them too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.evaluate import evaluate
from gradsmith.trace import to_graph

from .plain_numpy import Table, agree, numbers

# --- programs -----------------------------------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    terms = np.zeros(len(x) - 1, like=x)
    for i in range(len(x) - 1):
        terms[i] = 100.0 * (x[i + 1] - x[i] ** 2) ** 2
        terms[i] += (1.0 - x[i]) ** 2
    return terms


def runge_kutta(x: Any, h: Any) -> Any:
    """Each state of a pendulum is written into a row of a buffer, from the row before."""

    def slope(s: Any, out: Any) -> None:
        out[0] = s[1]
        out[1] = -np.sin(s[0]) - 0.1 * s[1]

    states = np.empty((4, 2), like=x)
    states[0] = x
    k = np.zeros((4, 2), like=x)
    for n in range(3):
        s = states[n]
        slope(s, k[0])
        slope(s + 0.5 * h * k[0], k[1])
        slope(s + 0.5 * h * k[1], k[2])
        slope(s + h * k[2], k[3])
        states[n + 1] = s + h / 6.0 * (k[0] + 2.0 * k[1] + 2.0 * k[2] + k[3])
    return states


def prefix_sums(x: Any) -> Any:
    y = x.copy()
    for i in range(1, len(y)):
        y[i] += y[i - 1]
    return y


def gauss_seidel(a: Any, b: Any) -> Any:
    y = np.zeros_like(b)
    for _ in range(2):
        for i in range(len(b)):
            y[i] += (b[i] - a[i] @ y) / (a[i, i] + 5.0)
    return y


def thomas(d: Any, r: Any) -> Any:
    """A tridiagonal system, solved in place."""
    n = len(r)
    c, y = np.zeros(n, like=r), np.array(r, like=r)
    c[0] = 1.0 / (d[0] + 3.0)
    y[0] *= c[0]
    for i in range(1, n):
        w = 1.0 / (d[i] + 3.0 - c[i - 1])
        c[i] = w
        y[i] = (y[i] + y[i - 1]) * w
    for i in range(n - 2, -1, -1):
        y[i] += c[i] * y[i + 1]
    return y


def cholesky(a: Any) -> Any:
    n = len(a)
    m = a @ a.T + np.eye(n) * 3.0
    factor = np.zeros_like(m)
    for j in range(n):
        factor[j, j] = np.sqrt(m[j, j] - np.sum(factor[j, :j] ** 2))
        for i in range(j + 1, n):
            factor[i, j] = (m[i, j] - factor[i, :j] @ factor[j, :j]) / factor[j, j]
    return factor


def heat(u: Any) -> Any:
    v = u.copy()
    for _ in range(3):
        v[1:-1, 1:-1] = 0.25 * (v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:])
        v[0] = v[1]
        v[:, -1] = 0.0
    return v


def overlap(x: Any) -> Any:
    y = x.copy()
    y[1:] = y[:-1]
    y[:2] += y[-2:]
    y[::2] *= y[1::2]
    return y


def aliases(x: Any) -> Any:
    y = x * 1.0
    z = y
    kept = y * 2.0
    number = y[1]
    y[1] = 10.0 * x[0]
    z += 1.0
    return y, z, kept, number


def views(x: Any) -> Any:
    y = x * x
    row, column, rest, turned, flat, back = y[1], y[:, 2], y[1:, ::2], y.T, y.ravel(), y[::-1, ::-1]
    before = row * 1.0
    row[0] = 3.0
    column += x[0, 0]
    rest[...] = rest * 2.0
    turned[0] = x[1, :3]
    flat[5] -= 1.0
    back[0, 0] = x[2, 3] ** 3
    inner = y[1:][:, 1:].T[::-1]
    inner[1] *= -1.0
    return y, row, column, rest, turned, flat, back, before, inner


def masks(x: Any) -> Any:
    y = x - 1.0
    y[np.array([True, False, True, False])] = x[:2] * 3.0
    y[y < 0.5] = 0.25
    y[x > 2.0] *= x[1]
    y[x > 1.0] = np.sqrt(x[x > 1.0]) * 2.0
    big = x > 0.5
    return y, np.sum(y[big]), np.mean(x[big] ** 2), np.max(y[big]), y[big].sum(), 1.0 / x[big].min()


def row_masks(x: Any) -> Any:
    y = np.ones_like(x)
    y[x[:, 0] > 1.0] = x[0]
    y[:, np.array([2, 0])] += x[:, :2]
    return y


def tables(x: Any) -> Any:
    y = np.zeros(6, like=x)
    y[[4, 0, 2, 4]] = x
    y[[1, 1]] += 1.0
    np.add.at(y, [3, 3, 5, 3], x)
    np.maximum.at(y, np.array([0, 2]), 1.5)
    return y


def outputs(x: Any) -> Any:
    y = np.empty_like(x)
    np.multiply(x, 2.0, out=y)
    np.add(y, x, out=y[...])
    np.sin(x, out=y, where=x > 1.0)
    totals = np.zeros(2, like=x)
    np.sum(np.outer(x, y), axis=0, out=y)
    np.dot(np.outer(y, x)[:2], x, out=totals)
    np.copyto(y[1:], x[:-1], where=x[1:] > 1.0)
    return y, totals


def functions(x: Any) -> Any:
    y = np.zeros((3, 3), like=x)
    np.fill_diagonal(y, x[0])
    d = np.diagonal(y)
    y[1, 1] = 5.0
    np.put(y, [1, 7], x[:2])
    np.putmask(y, np.array([[False, False, True]] * 3), x[2])
    y.flat[3] = x[3]
    q = np.full((2,), x[1], like=x)
    q.fill(x[2])
    return y, d, q


def nested(x: Any) -> Any:
    def normalise(v: Any) -> None:
        v /= np.sqrt(np.sum(v**2))

    def shift(v: Any, by: Any) -> Any:
        for i, row in enumerate(v):
            row -= by * i
        return v

    a = np.array([x, x**2, 2.0 * x], like=x)
    normalise(a[1])
    b = shift(a, x[0])
    b[0] = 0.0
    return a, b is a or np.zeros(())


def swapped(x: Any) -> Any:
    y = x.copy()
    y[0], y[1] = y[1], y[0]
    y[[2, 3]] = y[[3, 2]]
    top, bottom = y[:2], y[2:]
    saved = top.copy()
    top[:] = bottom
    bottom[:] = saved
    return y


def conditions(x: Any) -> Any:
    inside = x > 1.0
    inside[0] = False
    inside |= x > 2.5
    return np.where(inside, x * x, 0.5 * x)


def scalars(x: Any) -> Any:
    total = 0
    total += x[0]
    other = total
    total *= 3.0
    count = sum([x, x])
    count += 1.0
    copied = +x
    copied -= 1.0
    return total, other, count, copied, x


PROGRAMS: Table = {
    "rosenbrock": (rosenbrock, [(5,)]),
    "runge_kutta": (runge_kutta, [(2,), ()]),
    "prefix_sums": (prefix_sums, [(6,)]),
    "gauss_seidel": (gauss_seidel, [(3, 3), (3,)]),
    "thomas": (thomas, [(5,), (5,)]),
    "cholesky": (cholesky, [(3, 3)]),
    "heat": (heat, [(4, 5)]),
    "overlap": (overlap, [(6,)]),
    "aliases": (aliases, [(3,)]),
    "views": (views, [(3, 4)]),
    "masks": (masks, [(4,)]),
    "row_masks": (row_masks, [(3, 3)]),
    "tables": (tables, [(4,)]),
    "outputs": (outputs, [(4,)]),
    "functions": (functions, [(4,)]),
    "nested": (nested, [(3,)]),
    "swapped": (swapped, [(4,)]),
    "conditions": (conditions, [(4,)]),
    "scalars": (scalars, [(3,)]),
}


def test_programs(tmp_path: Path) -> None:
    agree(PROGRAMS, tmp_path)


# --- random programs ------------------------------------------------------------------------------------------------------


def scribble(seed: int) -> Callable[[Any], list[Any]]:
    """A random program that makes arrays and views of them, and writes to all of them."""

    def program(x: Any) -> list[Any]:
        pick = random.Random(seed)
        arrays: list[Any] = [x * 2.0, np.zeros_like(x)]
        steps: list[Callable[[], None]] = [
            lambda: arrays.append(view(pick.choice(arrays))),
            lambda: arrays.append(view(pick.choice(arrays))),
            lambda: arrays.append(pick.choice(arrays) * 0.5),
            lambda: arrays.append(pick.choice(arrays).copy()),
            lambda: write(pick.choice(arrays)),
            lambda: write(pick.choice(arrays)),
            lambda: write(pick.choice(arrays)),
            lambda: add(pick.choice(arrays)),
            lambda: elements(pick.choice(arrays)),
        ]

        def key(y: Any) -> Any:
            entries: list[Any] = []
            for size in y.shape[: pick.randrange(len(y.shape) + 1)]:
                start, stop = sorted((pick.randrange(size + 1), pick.randrange(size + 1)))
                whole = slice(start, stop, pick.choice([1, 1, 2]))
                entries.append(pick.choice([whole, slice(None, None, -1), pick.randrange(size) if size else whole]))
            return tuple(entries)

        def view(y: Any) -> Any:
            kinds: list[Callable[[], Any]] = [
                lambda: y[key(y)],
                lambda: y[key(y)],
                lambda: y.T,
                lambda: y[..., None],
                lambda: np.flip(y),
                lambda: np.squeeze(y),
                lambda: np.moveaxis(y, 0, -1) if y.ndim else y,
            ]
            found = pick.choice(kinds)()
            return found if np.ndim(found) else y

        def write(y: Any) -> None:
            place = key(y)
            there = np.zeros(y.shape)[place].shape
            fitting = [a for a in arrays if a.shape == there]
            choices = [x[0, 0], pick.randrange(9) / 4.0, *fitting[:3]]
            y[place] = pick.choice(choices) * (1.0 if pick.random() < 0.5 else x[1, 1])

        def add(y: Any) -> None:
            fitting = [a for a in arrays if a.shape == y.shape]
            y += pick.choice(fitting)

        def elements(y: Any) -> None:
            if 0 in y.shape:
                return
            places = [tuple(pick.randrange(d) for d in y.shape) for _ in range(6)]
            for a, b in zip(places[::2], places[1::2], strict=True):
                y[a] = y[b] + x[2, 0]
            tables = tuple(np.array(t) for t in zip(*places, strict=True))
            y[tables] *= 0.5

        for _ in range(pick.randrange(4, 16)):
            pick.choice(steps)()
        return arrays

    return program


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_random_programs(first: int) -> None:
    for seed in range(first, first + 100):
        point = numbers((3, 4), seed)
        want = scribble(seed)(point.copy())
        x = gs.symbol("x", (3, 4))
        got = scribble(seed)(x)
        assert [g.shape for g in got] == [w.shape for w in want]
        graph = to_graph([x], got)
        values = evaluate(graph, [point])
        for number, (key, w) in enumerate(zip(graph.outputs, want, strict=True)):
            assert np.allclose(values[key], w, rtol=1e-12, atol=0), f"seed {seed}, array {number}"
