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
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import gradient
from gradsmith.evaluate import evaluate

from .harness import weights
from .plain_numpy import Table, agree, numbers, slopes

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
                lambda: np.reshape(y, (1, *y.shape)),
                lambda: np.squeeze(y),
                lambda: y[np.array([0, -1, 0])] if y.shape[0] else y,
                lambda: np.transpose(y, (*range(1, y.ndim), 0)) if y.ndim else y,
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


@pytest.mark.parametrize("seed", range(1000, 1025))
def test_gradients_of_random_programs(seed: int) -> None:
    def total(x: Any) -> Any:
        return sum(np.sum(a * weights(a.shape, k)) for k, a in enumerate(scribble(seed)(x)))

    x = gs.symbol("x", (3, 4))
    point = numbers((3, 4), seed)
    graph = to_graph([x], gradient(total(x), [x]))
    (want,) = slopes(total, [point])
    np.testing.assert_allclose(evaluate(graph, [point])[graph.outputs[0]], want, rtol=1e-5, atol=1e-5)


# --- functional updates -----------------------------------------------------------------------------------------------


def updates(x: Any, at: Callable[[Any, Any, str, Any], Any]) -> Any:
    """The same updates by `x.at[key].name(value)` and by NumPy, as `at` has it."""
    y = at(x, slice(1, None), "set", 7.0)
    y = at(y, 0, "add", x[1])
    y = at(y, (slice(None, None, 2),), "multiply", y[::2])
    y = at(y, [0, 3], "min", 1.0)
    y = at(y, [0, 3], "max", np.array([0.5, 3.0]))
    y = at(y, -1, "divide", x[0])
    y = at(y, slice(0, 2), "subtract", x[2:])
    return at(y, [1, 2, 1, 1], "add", x)


UFUNCS = {
    "add": np.add,
    "multiply": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "divide": np.divide,
    "subtract": np.subtract,
}


def by_numpy(x: Any, key: Any, name: str, value: Any) -> Any:
    y = x.copy()
    if name == "set":
        y[key] = value
    else:
        UFUNCS[name].at(y, key, value)
    return y


def test_functional_updates() -> None:
    point = numbers((4,), 0)
    x = gs.symbol("x", (4,))
    traced = updates(x, lambda x, key, name, value: getattr(x.at[key], name)(value))
    graph = to_graph([x], [traced])
    np.testing.assert_allclose(evaluate(graph, [point])[graph.outputs[0]], updates(point, by_numpy), rtol=1e-14)
    assert gs.compile(gs.sum(x.at[1].get() + x.at[x > 1.0].set(0.0)))([3.0, 0.5, 0.25, 2.0]) == 0.5 * 4 + 0.75
    cubed = gs.compile(x.at[2:].apply(gs.square).at[0].power(3.0))
    assert cubed([2.0, 1.0, 3.0, 4.0]) == [8.0, 1.0, 9.0, 16.0]


# --- what it costs ----------------------------------------------------------------------------------------------------


def source_length(n: int, target: str) -> int:
    return len(gs.compile(lambda x: np.sum(prefix_sums(x) ** 2), args=((n,),), target=target, selftest=False).source)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_n_writes_cost_n(target: str) -> None:
    """Writing element by element gives code that grows with the array, not with its square."""
    short, middle, long = (source_length(n, target) for n in (20, 40, 80))
    assert long - middle < 2.2 * (middle - short)


def test_writes_in_a_row_are_one_node() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(6, like=x)
        y[0] = x[0]
        y[2:4] = x[1:]
        y[3] = 0.5
        return y

    x = gs.symbol("x", (3,))
    assert to_graph([x], [f(x)]).text().splitlines() == [
        "%0:f64[3] = input name='x'",
        "%1:f64 = constant value=0.0",
        "%2:f64[6] = broadcast_to %1 shape=(6,)",
        "%3:f64 = index %0 key=(0,)",
        "%4:f64[2] = index %0 key=((1, 1, 2),)",
        "%5:f64 = constant value=0.5",
        "%6:f64 = index %4 key=(0,)",  # what the last write left of the one before
        "%7:f64[6] = assemble %2 %3 %6 %5 shape=(6,) keys=(((0, 1, 6),), (0,), (2,), (3,))",
        "return %7",
    ]


def test_names_survive() -> None:
    def f(x: Any) -> Any:
        states = np.zeros((2, 3), like=x)
        states[1] = x
        return np.sum(states @ x)

    source = gs.compile(f, args=((3,),), target="numpy", selftest=False).source
    assert "states = np.full((2, 3), 0.0)" in source
    assert "states[1] = x" in source


# --- refused ----------------------------------------------------------------------------------------------------------


def _assign(target: Callable[[Any], Any], key: Any = 0, value: Any = 1.0) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        y = target(x)
        y[key] = value
        return x

    return f


def _add_to(target: Callable[[Any], Any], value: Any = 1.0) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        y = target(x)
        y += value
        return x

    return f


def _into_real(x: Any) -> Any:
    y = np.zeros(3)
    y[0] = x[0, 0] * 2.0
    return np.sum(y)


def _reshaped(x: Any) -> Any:
    y = x.T * 2.0
    flat = y.reshape(-1)
    flat[0] = 1.0
    return y


@pytest.mark.parametrize(
    ("function", "fragments"),
    [
        (_assign(lambda x: x), ("'x' (f64[3, 4]) cannot be changed in place", "it is an argument", "x = x.copy()")),
        (_assign(lambda x: x[1].T), ("view of the argument 'x'", "x.copy()", "x.at[key].set(value)")),
        (_add_to(lambda x: x), ("it is an argument", "y += value", "x = x.copy()")),
        (_assign(lambda x: np.broadcast_to(x[0] * 2.0, (2, 4))), ("is a broadcast, which is read-only",)),
        (_assign(lambda x: np.diagonal(x * 2.0)), ("is a diagonal, which is read-only",)),
        (_assign(lambda x: (x * 2.0)[0, 0], ()), ("is a number",)),
        (_assign(lambda x: x * 2.0, 3), ("index 3 is out of bounds",)),
        (_assign(lambda x: x * 2.0, (0, 0, 0)), ("too many indices",)),
        (_assign(lambda x: x * 2.0, 0, np.ones(3)), ("(3,)", "does not fit places of shape (4,)")),
        (_assign(lambda x: x * 2.0, 1.5), ("index",)),
        (_add_to(lambda x: x * 2.0, np.ones((2, 3, 4))), ("add in place", "(2, 3, 4)")),
        (_into_real, ("np.zeros(shape, like=x)", "y[0] = x[0, 0] * 2.0")),
        (_add_to(lambda x: np.zeros((3, 4)), gs.symbol("v", (4,))), ("np.add(out=)", "real NumPy array", "np.zeros_like(x)")),
        (lambda x: np.sum(x, axis=0, out=np.zeros(4)), ("np.sum(out=)", "real NumPy array")),
        (lambda x: np.sum(x, out=np.zeros(4, like=x)), ("np.sum(out=)", "has shape ()")),
        (lambda x: np.add(x, 1.0, where=x > 0), ("np.add(where=)", "out=")),
        (lambda x: np.add(x, 1.0, casting="no"), ("casting='no'",)),
        (lambda x: np.asfortranarray(x), ("np.asfortranarray",)),
        (lambda x: np.allclose(x, 1.0), ("np.allclose", "has yet")),
        (lambda x: np.nonzero(x > 0), ("np.nonzero", "gs.where")),
        (lambda x: np.linalg.svd(x), ("np.linalg.svd", "no counterpart")),
        (lambda x: np.fft.fft(x), ("np.fft.fft",)),
        (lambda x: x[x > 1.0] + x[x > 2.0], ("selected by one traced condition",)),
        (lambda x: len(x[x > 1.0]), ("len()", "number of its elements", "gs.where")),
        (lambda x: x[x > 1.0].reshape(2), ("reshape", "gs.where")),
        (lambda x: x[x > 1.0] + np.ones(3), ("broadcast an array",)),
        (_assign(lambda x: x * 1.0, gs.symbol("m", (3, 4)) > 0, np.ones((3, 4))), ("selection by the same condition",)),
        (lambda x: (x * 1.0).at[[0, 0]].multiply(2.0), ("names a place twice",)),
        (_reshaped, ("computed from a transpose", "x.copy()")),
    ],
)  # fmt: skip
def test_refused(function: Callable[[Any], Any], fragments: tuple[str, ...]) -> None:
    with pytest.raises(gs.GradsmithError) as caught:
        gs.compile(function, args=((3, 4),))
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_a_derivative_rule_cannot_write() -> None:
    def rule(g: Any, y: Any, x: Any) -> Any:
        g[0] = 0.0
        return (g,)

    from gradsmith.ops.updates import _evaluate  # noqa: F401 - the op table is filled
    from gradsmith.registry import OPS
    from gradsmith.trace import op
    from gradsmith.types import Type

    writes = op("writes", arity=1, kind="elementwise", infer=lambda x: Type(x.shape, x.dtype), evaluate=abs, vjp=rule)
    try:
        x = gs.symbol("x", (3,))
        with pytest.raises(gs.TraceError, match="derivative rule cannot change values in place"):
            gs.compile(gs.sum(writes(x)), derivatives="grad", target="numpy")
    finally:
        del OPS["writes"]


# --- the namespace ----------------------------------------------------------------------------------------------------


def test_namespace() -> None:
    x = gs.symbol("x", (3,))
    assert x.__array_namespace__() is gs
    assert x.__array_namespace__(api_version="2024.12") is gs
    assert gs.__array_api_version__ == "2024.12"
    assert x.device == "cpu"
    assert x.to_device("cpu") is x
    info = gs.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] is info.dtypes(kind="real floating")["float64"]
    assert set(info.dtypes()) >= {"bool", "float64"}
    assert info.dtypes(kind=("bool", "complex floating")).keys() == {"bool"}
    assert not info.capabilities()["data-dependent shapes"]
    for wrong in (
        lambda: x.__array_namespace__(api_version="1999.01"),
        lambda: x.to_device("gpu"),
        lambda: info.dtypes(kind="quaternion"),
    ):
        with pytest.raises(gs.SpecError):
            wrong()
