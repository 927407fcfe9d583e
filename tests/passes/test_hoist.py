"""What is the same for a whole sum is done once, behind it; but never twice for that."""

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.origin import Origin
from gradsmith.passes.hoist import hoist
from gradsmith.trace import recording
from gradsmith.verify import verify

s = gs.symbol("s")
v = gs.symbol("v", (4,))
A, B = gs.symbol("A", (4, 3)), gs.symbol("B", (4, 2))
LAWS = {
    "a scalar of a sum": (lambda: gs.sum(s * v), "mul %0 %"),
    "a scalar of a sum over one axis": (lambda: gs.sum(s * A, axis=0), "sum %2 axis=(0,)"),
    "columns of a product": (lambda: gs.sum(A.T @ B, axis=1), "expand_dims"),
    "rows of a product, negative and transposed": (lambda: gs.sum(-gs.transpose(A.T @ B), axis=1), "neg"),
    "a transposed product": (lambda: gs.transpose(A.T @ B), "= transpose %3"),
}


@pytest.mark.parametrize(("expr", "sign"), LAWS.values(), ids=LAWS)
def test_law(expr: object, sign: str) -> None:
    graph = traced(expr, "cotangent")
    changed = verify(hoist(graph))
    assert sign in changed.text()
    point = [np.random.default_rng(0).normal(size=i.shape) for i in (s, v, A, B)]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=1e-13)


def traced(expr: object, role: str) -> object:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        return to_graph([s, v, A, B], [expr()])  # type: ignore[operator]


@pytest.mark.parametrize(("expr", "sign"), LAWS.values(), ids=LAWS)
def test_the_user_s_order_stays(expr: object, sign: str) -> None:
    graph = traced(expr, "primal")
    assert hoist(graph) is graph  # type: ignore[arg-type]


def test_what_is_read_elsewhere_too_stays() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        scaled = s * v
        graph = to_graph([s, v], [gs.sum(scaled), scaled])
    assert hoist(graph) is graph


def test_the_gradient_of_a_layer_is_not_transposed_back() -> None:
    x, W = gs.symbol("x", (5, 4)), gs.symbol("W", (3, 4))
    f = gs.compile(gs.sum(gs.tanh(x @ W.T)), args=[x, W], wrt="W", target="numpy", selftest=False)
    assert "d_W = " in f.source
    assert ".T @ x" in f.source.split("def f_grad")[1]


def test_a_sum_of_rows_of_a_stack_multiplies_sums_only() -> None:
    stacks = gs.symbol("P", (5, 4, 3)), gs.symbol("Q", (5, 3, 6))
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph(stacks, [gs.sum(-gs.transpose(stacks[0] @ stacks[1], (2, 0, 1)), axis=0)])
    changed = verify(hoist(graph))
    assert [n.type.shape for n in changed.ordered() if n.op == "matmul"] == [(5, 4, 1)]
    point = [np.random.default_rng(0).normal(size=i.shape) for i in stacks]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=1e-13)
