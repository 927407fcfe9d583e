"""All passes together change no number: random programs before and after, value and gradient, for every target."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes.expand import expand_underivable
from gradsmith.passes.pipeline import prepare
from gradsmith.passes.share_sums import share_sums
from gradsmith.target import load_target
from gradsmith.verify import verify

TARGETS = ["python", "numpy", "c"]
#: Templates over values and what the chain rule makes of them: shared factors, constants, powers, quotients, signs.
STEPS = [
    "{a}*{b}", "{a}*{b} + {a}*{c}", "{a} - {b}", "-{a}", "2*{a}", "0.5*{a}*{b}", "{a}/({b}*{b} + 1)", "({a}*{a} + 1)**0.5",
    "{a}**3", "{a}**7", "({a}*{a} + 1)**-1.5", "gs.tanh({a})", "gs.sin({a})", "gs.cos(-{a})", "gs.exp(-{a}*{a})",
    "gs.sqrt({a}*{a} + {b}*{b} + 1)", "gs.where({a} > {b}, {a}, {c})", "{a}*3 + {b}*3", "gs.erf({a})*0.25",
    "gs.sum(v*{a})", "gs.sum(v[:2]) + gs.sum(v[:3])*{a}", "gs.prod(v + {a})", "v @ (v*{a})", "gs.sum(W @ v)*{a}",
    "gs.sum(W.T*{a})", "gs.sum(gs.tanh(W @ v + {a}))", "v[1:][0]*{a}", "gs.sum((v*{a})**2)", "v @ (W.T @ W) @ v",
]  # fmt: skip


def random_expression(pick: object) -> tuple[list[gs.Expr], gs.Expr]:
    """A scalar of up to twelve steps, each of values before it."""
    symbols = [gs.symbol("x"), gs.symbol("y"), gs.symbol("v", (4,)), gs.symbol("W", (3, 4))]
    names = {"gs": gs, "v": symbols[2], "W": symbols[3]}
    values = symbols[:2]
    for _ in range(2 + pick(11)):  # type: ignore[operator]
        chosen = {k: f"values[{len(values) - 1 - min(pick(len(values)), pick(len(values)))}]" for k in "abc"}  # type: ignore[operator]
        step = eval(STEPS[pick(len(STEPS))].format(**chosen), {**names, "values": values})  # type: ignore[operator]
        values.append(step if pick(3) else gs.tanh(step))  # type: ignore[operator]
    return symbols, gs.tanh(values[-1]) + gs.tanh(values[-2]) * values[-1]


def numbers(graph: Graph, point: list[np.ndarray]) -> np.ndarray:
    values = evaluate(graph, point)
    return np.concatenate([np.ravel(values[k]) for k in graph.outputs])


def compare(symbols: list[gs.Expr], expr: gs.Expr, seed: int) -> None:
    primal = expand_underivable(to_graph(symbols, [expr]))
    reference = adjoint(primal, primal.inputs)
    joint = adjoint(share_sums(primal), primal.inputs)
    generator = np.random.default_rng(seed)
    point = [generator.uniform(-1.5, 1.5, s.shape) for s in symbols]
    want = numbers(reference, point)
    if not np.all(np.isfinite(want)):
        return
    scale = max(np.max(np.abs(v), initial=1.0) for v in evaluate(reference, point).values() if np.all(np.isfinite(v)))
    for name in TARGETS:
        got = numbers(verify(prepare(joint, load_target(name))), point)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12 * scale, err_msg=f"{name}\n{primal.text()}")


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_expressions_keep_value_and_gradient(data: st.DataObject) -> None:
    compare(*random_expression(lambda n: data.draw(st.integers(0, n - 1))), seed=0)


@pytest.mark.parametrize("seed", range(40))
def test_seeded_expressions_keep_value_and_gradient(seed: int) -> None:
    compare(*random_expression(random.Random(seed).randrange), seed)
