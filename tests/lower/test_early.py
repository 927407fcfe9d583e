"""Parts of sums are stored as soon as their operands are there: the same bits, and fewer arrays."""

import re
from typing import Any

import numpy as np
import pytest
from tests.conformance.fuzz import batch_of

import gradsmith as gs
from gradsmith.graph import Graph
from gradsmith.lower import loops
from gradsmith.lower.fusion import Units, fuse
from gradsmith.registry import lookup


def stages(x: Any) -> Any:
    """Four slopes, each from all of the one before, and their sum."""
    a = gs.sin(x[::-1])
    b = gs.sin(x + a[::-1])
    c = gs.sin(x + b[::-1])
    d = gs.sin(x + c[::-1])
    return a + 2.0 * b + 2.0 * c + d


def body_of(f: gs.CompiledFunction, name: str) -> str:
    found = re.search(rf"^void {name}\(.*?^}}", f.files["f.c"], re.M | re.S)
    assert found is not None
    return found[0]


def test_a_sum_of_stages_takes_one_array_beside_the_last_stage() -> None:
    f = gs.compile(stages, args=((1000,),), target="c", derivatives="value", selftest=False, name="f")
    assert f.workspace["value"] == 8 * 2000  # the last stage and the next one; the sum so far is in the result
    x = np.random.default_rng(0).normal(size=1000)
    a = np.sin(x[::-1])
    b = np.sin(x + a[::-1])
    c = np.sin(x + b[::-1])
    d = np.sin(x + c[::-1])
    np.testing.assert_allclose(f(x), a + 2.0 * b + 2.0 * c + d, rtol=1e-14)


def test_the_order_of_additions_is_the_users() -> None:
    """Strict code is the judge: it gives the bits of NumPy's operations one by one."""

    def loss(x: Any) -> Any:
        a = x[::-1] * 0.1
        b = (x + a[::-1]) * 0.3
        c = (x + b[::-1]) * 0.7
        return a + b * 3.0 + c + b[::-1]

    f = gs.compile(loss, args=((64,),), target="c", derivatives="value", strict=True, selftest=False, name="f")
    x = np.random.default_rng(0).normal(size=64)
    a = x[::-1] * 0.1
    b = (x + a[::-1]) * 0.3
    c = (x + b[::-1]) * 0.7
    np.testing.assert_array_equal(f(x), a + b * 3.0 + c + b[::-1])


def test_results_of_loops_are_waited_for() -> None:
    """Found by the random programs: a part that takes the result of a loop was computed before the loop."""

    def loss(x: Any) -> Any:
        y = gs.exp(x)
        last = gs.fori_loop(0, 3, lambda _, s: gs.sin(s) + y, x)
        turned = gs.cos(x)[::-1]
        return gs.sum(gs.sin(turned * last * y) * turned)

    f = gs.compile(loss, args=((20,),), target="c", derivatives="value_and_grad", selftest=False)
    assert f.check().ok


def test_the_first_value_of_a_loop_is_computed_in_the_memory_of_its_state() -> None:
    def loss(x: Any) -> Any:
        return gs.fori_loop(0, 3, lambda _, s: gs.sin(s[::-1]), gs.exp(x))

    f = gs.compile(loss, args=((100,),), target="c", derivatives="value", selftest=False, name="f")
    assert f.workspace["value"] == 8 * 100  # the next state; the state is the result
    x = np.random.default_rng(0).normal(size=100)
    y = np.exp(x)
    for _ in range(3):
        y = np.sin(y[::-1])
    np.testing.assert_allclose(f(x), y, rtol=1e-14)


def test_a_first_value_that_is_read_again_keeps_its_memory() -> None:
    def loss(x: Any) -> Any:
        first = gs.exp(x)
        return gs.fori_loop(0, 3, lambda _, s: gs.sin(s[::-1]), first) + gs.sum(first[::-1] * x)

    f = gs.compile(loss, args=((100,),), target="c", selftest=False)
    assert f.check().ok


def test_a_product_that_is_a_result_comes_first() -> None:
    """So that what it reads need not be kept."""

    def loss(x: Any, W: Any, V: Any) -> Any:
        return gs.sum((gs.relu(x @ W) @ V) ** 2)

    shapes = ((64, 784), (784, 128), (128, 10))
    f = gs.compile(loss, args=shapes, wrt=(1, 2), target="c", derivatives="value_and_grad", selftest=False, name="f")
    text = body_of(f, "f_value_and_grad")
    assert text.index("d_V, 1, 128, 10, 64") < text.index("gs_gemm(t4, V, ")
    # by hand: two layers of 64 x 128, results of 64 x 10, and a panel of 256 x 12 with a tile
    assert f.workspace["value_and_grad"] <= 1.2 * 8 * (2 * 64 * 128 + 64 * 10 + 256 * 12 + 48)
    assert f.check().ok


@pytest.mark.parametrize("number", [3, 3100239])
def test_what_a_unit_reads_is_there(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random programs: units come behind those, loops among them, that make what they read."""
    counts = []

    def checked(graph: Graph, *rest: Any) -> Units:
        units = fuse(graph, *rest)
        when = {n.key: k for k, unit in enumerate(units.order) for n in unit.nodes}
        for n in (n for unit in units.order for n in unit.nodes):
            for m in map(graph.node, units.reads[n.key]):
                maker = m.args[0] if lookup(m.op).kind == "part" else m.key
                assert when.get(maker, -1) <= when[n.key]
        counts.append(len(when))
        return units

    monkeypatch.setattr(loops, "fuse", checked)
    batch = batch_of(number)
    gs.compile(batch.result, args=batch.inputs, target="c", selftest=False, derivatives="value_and_grad")
    assert max(counts) > 20
