"""Expansion: what has no rule or no cell becomes a composition; what has neither is an error that names it."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.passes.expand import expand, expand_underivable, expanded
from gradsmith.passes.form import form
from gradsmith.passes.pipeline import prepare
from gradsmith.registry import OPS, Op
from gradsmith.target import load_target
from gradsmith.types import Type, as_dtype
from gradsmith.verify import verify

EXPANDABLE = sorted(name for name, op in OPS.items() if op.expand is not None)


def as_taken(op: Op, number: int, value: object) -> np.ndarray:
    """Operand `number` of a sample, in the kind of number that the op takes."""
    kind = op.takes if isinstance(op.takes, str) else op.takes[number]
    return np.asarray(value, dtype={"bool": bool, "int": int, "integers": int}.get(kind, float))


@pytest.mark.parametrize("name", EXPANDABLE)
def test_the_expansion_computes_what_the_op_computes(name: str) -> None:
    op = OPS[name]
    for sample in op.samples:
        params = sample[-1] if isinstance(sample[-1], dict) else {}
        operands = [as_taken(op, i, v) for i, v in enumerate(sample) if not isinstance(v, dict)]
        graph = verify(expanded(op, [Type(a.shape, as_dtype(a.dtype)) for a in operands], params))
        got = evaluate(graph, operands)[graph.outputs[0]]
        wanted = op.evaluate(*operands, **params)
        whole = 1e-15 * np.abs(wanted).max(initial=0.0, where=np.isfinite(wanted)) if op.loops else 0.0  # of a matrix
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=whole)


def test_only_what_is_wanted_is_expanded() -> None:
    x = gs.symbol("x")
    g = to_graph([x], [gs.sigmoid(x) + gs.softplus(x)])
    text = expand(g, lambda op: op.name == "sigmoid").text()
    assert "sigmoid" not in text
    assert "softplus" in text
    assert expand(g, lambda op: False) is g


def test_ops_without_a_rule_are_differentiated_through_their_expansion() -> None:
    a, b = gs.symbol("a", (2,)), gs.symbol("b", (3,))
    assert "outer" not in expand_underivable(to_graph([a, b], [gs.outer(a, b)])).text()


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_every_target_can_write_every_op(target: str) -> None:
    chosen = load_target(target)
    for op in OPS.values():
        for sample in op.samples[:1]:
            params = sample[-1] if isinstance(sample[-1], dict) else {}
            if op.kind == "leaf":
                continue
            operands = [as_taken(op, i, v) for i, v in enumerate(sample) if not isinstance(v, dict)]
            xs = [gs.symbol(f"x{i}", v.shape, v.dtype) for i, v in enumerate(operands)]
            from gradsmith.trace import apply

            y = apply(op, xs, params)
            graph = to_graph(xs, [gs.where(y, 1.0, 0.0) if y.dtype == "bool" else y])
            verify(prepare(graph, form(chosen, [graph])))
