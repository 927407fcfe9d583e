"""Roll: loops found in graphs compute what the graph did, and what is no loop stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.roll import roll
from gradsmith.verify import verify


def rolled(inputs: list[gs.Expr], *outputs: gs.Expr, recurrences: bool = True) -> Graph:
    """The graph as loops, which has been seen to compute the same."""
    graph = to_graph(inputs, outputs)
    new = verify(roll(graph, steps=8, operations=32, recurrences=recurrences))
    assert new.inputs == graph.inputs
    rng = np.random.default_rng(1)
    point = [rng.uniform(-0.7, 0.7, x.shape) for x in inputs]
    was, now = evaluate(graph, point), evaluate(new, point)
    for a, b in zip(graph.outputs, new.outputs, strict=True):
        np.testing.assert_allclose(now[b], was[a], rtol=1e-11, atol=1e-12)
    return new


def ops(graph: Graph) -> set[str]:
    return {n.op for n in graph.ordered()}


def rosenbrock(x: Any, n: int) -> Any:
    total = 0.0
    for i in range(n - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


def pendulum(u: Any, n: int) -> Any:
    a, b = 0.3, 0.1
    for i in range(n):
        a, b = a + 0.1 * b, b - 0.1 * (gs.sin(a) + 0.2 * b - u[i])
    return a * b


def verlet(x: gs.Expr, n: int) -> Any:
    before, now, path = x, x + 0.1, []
    for _ in range(n):
        before, now = now, 2.0 * now - before - 0.01 * gs.sin(now)
        path.append(now)
    return gs.sum(gs.stack(path) ** 2)


def heat(u: gs.Expr, n: int) -> Any:
    for _ in range(n):
        u = u + 0.1 * (gs.roll(u, 1) - 2.0 * u + gs.roll(u, -1))
    return u


def repulsion(x: gs.Expr, n: int) -> Any:
    energy = 1.0
    for i in range(n):
        for j in range(i):
            energy = energy - 1.0 / gs.sqrt((x[i, 0] - x[j, 0]) ** 2 + (x[i, 1] - x[j, 1]) ** 2 + 0.1)
    return energy


SCALARS = list(gs.symbols(" ".join(f"x{i}" for i in range(40))))
VECTOR, MATRIX, X = gs.symbol("v", (40,)), gs.symbol("m", (20, 2)), gs.symbol("x")


@pytest.mark.parametrize(
    ("inputs", "output", "scans"),
    [
        pytest.param([VECTOR], rosenbrock(VECTOR, 40), 0, id="elements of an array"),
        pytest.param(SCALARS, rosenbrock(SCALARS, 40), 0, id="many symbols"),
        pytest.param([VECTOR], rosenbrock(VECTOR[::-1], 40), 0, id="backwards"),
        pytest.param([MATRIX], repulsion(MATRIX, 20), 0, id="a loop in a loop, of changing length"),
        pytest.param(
            [VECTOR, X], X - sum((k * 0.1) * gs.exp(VECTOR[k]) for k in range(40)), 0, id="changing constants"
        ),
        pytest.param([VECTOR], pendulum(VECTOR, 40), 1, id="a recurrence"),
        pytest.param([X], verlet(X, 30), 1, id="a recurrence of two steps"),
        pytest.param([VECTOR], heat(VECTOR, 20), 1, id="an array as state"),
    ],
)
def test_loops_are_found(inputs: list[gs.Expr], output: gs.Expr, scans: int) -> None:
    new = rolled(inputs, output)
    found = [n.op for n in new.ordered() if n.op != "input"]
    assert found.count("scan") == scans
    assert len(found) < 35  # and not hundreds


def test_a_product_over_steps() -> None:
    product: Any = 1.0
    for i in range(40):
        product = product * (1.0 + VECTOR[i] * VECTOR[i])
    assert "prod" in ops(rolled([VECTOR], product))


def test_all_results_of_a_loop_can_be_read() -> None:
    wave = [gs.sin(VECTOR[i]) * gs.cos(VECTOR[i]) for i in range(40)]
    new = rolled([VECTOR], gs.stack(wave) * 2.0, wave[3], wave[39])
    assert "stack" not in ops(new)


def test_without_recurrences_only_arrays_are_made() -> None:
    assert "scan" not in ops(rolled([VECTOR], pendulum(VECTOR, 40), recurrences=False))
    assert "sum" in ops(rolled([VECTOR], rosenbrock(VECTOR, 40), recurrences=False))


def test_what_is_no_loop_stays() -> None:
    """Runs that are too short, that read at changing distances, or whose types differ."""
    short = to_graph([VECTOR], [rosenbrock(VECTOR, 8)])
    assert roll(short, steps=8, operations=32, recurrences=True) is short
    values = [gs.sin(VECTOR[i]) for i in range(20)]
    crossed = [values[(i * 7) % 20] * values[(i * i + 1) % 20] for i in range(20)]
    rolled([VECTOR], gs.stack(crossed))
    total: Any = 0.0
    for i in range(20):  # every third step is another
        total = total + (gs.sin(VECTOR[i]) * 2.0 if i % 3 else gs.cos(VECTOR[i]) + 2.0)
    rolled([VECTOR], total)


def test_what_an_earlier_step_made_is_read_shifted() -> None:
    before, products = gs.cos(X), []
    for i in range(40):
        now = gs.exp(0.1 * gs.sin(VECTOR[i] + X))
        products.append(now * before)
        before = now
    new = rolled([VECTOR, X], gs.sum(gs.stack(products)))
    assert "concatenate" in ops(new)
    assert "scan" not in ops(new)


def test_a_step_that_reads_elsewhere_ends_the_run() -> None:
    for odd in (1, 2, 13):
        now, other, terms = X, gs.cos(X), []
        for i in range(30):  # a state, which one step takes from elsewhere
            now = gs.sin(other if i == odd else now) + VECTOR[i] * now
        values = [gs.exp(VECTOR[i]) for i in range(20)]
        for i in range(20):  # data, which one step takes from the loop itself
            terms.append(gs.tanh(values[i] * 2.0) + (terms[3] if i == odd + 5 else VECTOR[i]))
        rolled([VECTOR, X], now, gs.sum(gs.stack(terms)))


@pytest.mark.parametrize("seed", range(60))
def test_random_loops_keep_their_values(seed: int) -> None:
    """Bodies of random operations on state, data, invariants, step numbers and values of earlier steps."""
    rng = np.random.default_rng(seed)
    unary: list[Callable[[Any], Any]] = [gs.sin, gs.tanh, lambda x: x * x, lambda x: 0.5 * x, gs.cos]
    binary: list[Callable[[Any, Any], Any]] = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b]
    states, steps = int(rng.integers(0, 4)), int(rng.integers(9, 20))
    plan = rng.integers(0, 1000, (int(rng.integers(3, 9)), 4))
    state: list[Any] = [[0.0, 1.0, X, 0.25][i] for i in range(states)]
    history: list[Any] = [X, X * 2.0]
    outputs = []
    for t in range(steps):
        made = [*state, VECTOR[t], VECTOR[t + 1], MATRIX[t % 20, 1], X, 0.1 * t, history[-1], history[-2]]
        for kind, a, b, f in plan:
            left, right = made[a % len(made)], made[b % len(made)]
            if kind % 3 == 0 and isinstance(left, gs.Expr):
                made.append(unary[f % 5](left))
            else:
                made.append(binary[f % 3](left, right))
        state = [gs.tanh(made[-1 - i] + x) if seed % 2 else made[-1 - i] * 0.3 + x for i, x in enumerate(state)]
        history.append(made[-1])
        if seed % 3 == 0:
            outputs.append(made[-1])
    rolled([VECTOR, MATRIX, X], sum(outputs) + gs.sin(X), *(x + X for x in (*state, made[-1])))


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_the_derivative_is_a_loop_as_well(target: str) -> None:
    for function in (rosenbrock, pendulum):
        f = gs.compile(lambda v, g=function: g(v, 40), args=((40,),), target=target)
        straight = gs.compile(lambda v, g=function: g(v, 40), args=((40,),), roll=False)
        point = np.linspace(-0.7, 0.9, 40)
        value, gradient = f.value_and_grad(point)
        wanted, slopes = straight.value_and_grad(point)
        assert value == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-10, atol=1e-13)
        code = f.source.split("SELFTEST\n")[0]
        assert len(code.splitlines()) < 250 if target == "numpy" else len(code.splitlines()) < 150


def test_options_keep_straight_lines() -> None:
    for options in ({"roll": False}, {"strict": True}, {"tuning": gs.Tuning(roll_steps=1000)}):
        f = gs.compile(lambda v: rosenbrock(v, 40), args=((40,),), target="c", derivatives=("value",), **options)
        assert "for (" not in f.source.split("SELFTEST")[1]
