"""Scale: a chain of many operations, and graphs that are wide; nothing recurses.

`GRADSMITH_CHAIN=100000 pytest tests/test_scale.py` compiles a longer one; benchmarks/compile_time.py goes to a million.
"""

import gc
import itertools
import os
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from tests.conformance.loop_programs import PROGRAMS

import gradsmith as gs
from gradsmith.evaluate import evaluate


def chain(n: int) -> gs.Expr:
    x = gs.symbol("x")
    e = x
    for i in range(n // 2):
        e = gs.sin(e) if i % 2 else e * x
        e = e + x
    return e


LONGEST = int(os.environ.get("GRADSMITH_CHAIN", "20000"))  # Python's own limit of recursion is 1,000


def test_a_long_chain() -> None:
    f = gs.compile(chain(LONGEST), target="c", derivatives="value_and_grad", selftest=False, roll=False)
    assert f.source.count("\n") > LONGEST // 2
    assert len(f.graph) == LONGEST + 1


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


def rosenbrock(*x: gs.Expr) -> Any:
    return sum((100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2 for a, b in itertools.pairwise(x)), start=0.0)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("name", ["rosenbrock", "nested", "while", "branches in a loop"])
def test_what_compiling_needs_is_freed_at_once(name: str, target: str) -> None:
    """No cycles of references: the collector is paused meanwhile, and would have to look through all of it behind."""
    program, shapes = PROGRAMS.get(name, (rosenbrock, ((),) * 20))
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gs.compile(program, args=shapes, target=target, derivatives="value_and_grad", selftest=False, roll=False)
        gc.collect()
        assert not [x for x in gc.garbage if type(x).__module__.startswith("gradsmith")]  # networkx keeps some
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def calls_of(action: Callable[[], Any]) -> int:
    """How many Python functions `action` calls: what it costs, on a machine of any speed and load."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        pytest.param(lambda a, x: -gs.exp(-a), (), id="signs"),
        pytest.param(lambda a, x: gs.where(a > x, a * x, gs.sin(a)), (), id="choices"),
        pytest.param(lambda a, x: a + gs.tanh(x * (1.5 + a)), (), id="sums"),
        pytest.param(lambda a, x: gs.sin(a) * x, (1000,), id="arrays in one loop"),
    ],
)
def test_twice_the_operations_take_twice_the_work(
    step: Callable[[gs.Expr, gs.Expr], gs.Expr], shape: tuple[int, ...]
) -> None:
    x = gs.symbol("x", shape)

    def work(n: int) -> int:
        e = gs.sum(reduce(lambda a, _: step(a, x), range(n), x))
        return calls_of(lambda: gs.compile(e, target="c", derivatives="value_and_grad", selftest=False, roll=False))

    work(10)  # what is found out once in a process
    short, long, longest = work(75), work(150), work(300)
    assert longest - long < 2.4 * (long - short)  # 2, and what it takes to cut a long function into parts


def test_reading_an_array_element_by_element_is_linear() -> None:
    sizes = {}
    for n in (100, 200):
        v = gs.symbol("v", (n,))
        total = sum(v[i] * v[i + 1] for i in range(n - 1))
        sizes[n] = len(gs.compile(total, target="numpy", selftest=False, roll=False).adjoint)
    assert sizes[200] < 2.1 * sizes[100]


def test_a_gradient_that_is_put_together_from_many_numbers_is_linear() -> None:
    def work(n: int) -> int:
        x, v = gs.symbol("x"), gs.symbol("v", (n,))
        e = sum(((x * v[i] - 1.5) ** 2 for i in range(n)), x)
        return calls_of(lambda: gs.compile(e, target="c", derivatives="value_and_grad", selftest=False, roll=False))

    work(10)
    short, long, longest = work(200), work(400), work(800)
    assert longest - long < 2.4 * (long - short)


def test_wide_sums_and_deep_nesting_are_freed_without_recursion() -> None:
    e = chain(200_000)
    del e


@pytest.mark.parametrize("case", ["many objects", "few objects", "frozen ones"])
def test_young_collections_do_not_walk_through_what_a_large_compile_leaves(case, monkeypatch):
    monkeypatch.setattr("gradsmith.api._MANY", 10**9 if case == "few objects" else 1_000)
    seen: list[tuple[str, dict[str, int]]] = []
    e = chain(500)
    gc.collect()
    if case == "frozen ones":
        gc.freeze()
    gc.callbacks.append(lambda phase, info: seen.append((phase, info)))
    try:
        f = gs.compile(e, selftest=False, roll=False)
        kept = [[] for _ in range(10)]  # the first of which a collection that is due would come with
        assert bool(gc.get_freeze_count()) == (case == "frozen ones")  # what its user has frozen stays so
    finally:
        gc.callbacks.pop()
        gc.unfreeze()
    assert len(kept) == 10
    assert bool(seen) == (case != "many objects")
    old = {id(o) for o in gc.get_objects(generation=2)}
    assert case != "many objects" or id(f.adjoint) in old


@pytest.mark.parametrize("target", ["c", "python"])
def test_an_expression_of_many_arguments_is_refused_before_any_work(target):
    """Whatever names the arguments; and the remedies that the error names do help."""
    tuning = gs.Tuning(most_arguments=99)
    xs = [gs.symbol(f"x{i}") for i in range(100)]
    total = sum(xs[1:], xs[0])
    options = {"target": target, "tuning": tuning, "selftest": False}
    for source, args in (
        (total, None),
        (total, xs),
        (total, {f"x{i}": () for i in range(100)}),
        (lambda p: sum(p[1:], p[0]), ([()] * 100,)),
        (" + ".join(f"x{i}" for i in range(100)), None),
    ):
        with pytest.raises(gs.errors.SpecError, match=r"100 arguments.*99 at most.*array.*most_arguments"):
            gs.compile(source, args=args, **options)
    assert gs.compile(total, target=target, selftest=False).inputs[99].name == "x99"
    x = gs.symbol("x", (100,))
    assert gs.compile(sum((x[i] for i in range(1, 100)), x[0]), **options)(np.ones(100)) == 100.0


def test_a_hundred_thousand_arguments_have_a_limit_by_default():
    with pytest.raises(gs.errors.SpecError, match=r"100,000 arguments"):
        gs.compile(gs.symbol("x"), args=[()] * 100_000)
