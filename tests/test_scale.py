"""Scale: a chain of 100,000 operations, and graphs that are wide; nothing recurses."""

import pytest

import gradsmith as gs
from gradsmith.evaluate import evaluate


def chain(n: int) -> gs.Expr:
    x = gs.symbol("x")
    e = x
    for i in range(n // 2):
        e = gs.sin(e) if i % 2 else e * x
        e = e + x
    return e


def test_a_chain_of_100_000_operations() -> None:
    f = gs.compile(chain(100_000), target="c", derivatives="value_and_grad", selftest=False, roll=False)
    assert f.source.count("\n") > 50_000
    assert len(f.graph) == 100_001


def test_the_same_chain_as_a_loop() -> None:
    f = gs.compile(chain(20_000), target="c", derivatives="value_and_grad", selftest=False)
    want = evaluate(f.graph, [0.01])[f.graph.outputs[0]]
    assert f.source.count("\n") < 200
    assert f.value_and_grad(0.01)[0] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("target", ["python", "c"])
def test_a_chain_computes_what_the_graph_says(target: str) -> None:
    f = gs.compile(chain(2_000), target=target, derivatives="value_and_grad", selftest=False, roll=False)
    want = evaluate(f.adjoint, [0.01])
    value, slope = f.value_and_grad(0.01)
    assert value == pytest.approx(want[f.adjoint.outputs[0]], rel=1e-12)
    assert slope == pytest.approx(want[f.adjoint.outputs[1]], rel=1e-12)


def test_reading_an_array_element_by_element_is_linear() -> None:
    sizes = {}
    for n in (100, 200):
        v = gs.symbol("v", (n,))
        total = sum(v[i] * v[i + 1] for i in range(n - 1))
        sizes[n] = len(gs.compile(total, target="numpy", selftest=False, roll=False).adjoint)
    assert sizes[200] < 2.1 * sizes[100]


def test_wide_sums_and_deep_nesting_are_freed_without_recursion() -> None:
    e = chain(200_000)
    del e
