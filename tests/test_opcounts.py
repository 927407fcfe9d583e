"""Operation counts: as few as by hand where the issue says how few that is."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.cost import _count, counts


def programs() -> Any:
    """The expressions of benchmarks/programs.py."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "programs.py"
    spec = importlib.util.spec_from_file_location("benchmark_programs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks for its module
    spec.loader.exec_module(module)
    return module


PROGRAMS = {p.name: p for p in programs().PROGRAMS}
#: The most operations of value, gradient and both, of scalars and of arrays: what CasADi's SX takes, or less.
BOUNDS = {
    "Speelpenning, n = 8": ((7, 18, 19), (7, 18, 19)),
    "Speelpenning, n = 20": ((19, 54, 55), (19, 54, 55)),
    "arm, six links": ((44, 66, 69), (44, 72, 75)),
    "arm, lengths given": ((44, 66, 69), (44, 66, 69)),
    "Rosenbrock, n = 10": ((71, 81, 125), (71, 81, 115)),
    "Black-Scholes call": ((24, 33, 35), None),
    "network 4-8-1": ((90, 162, 163), (90, 162, 163)),
}


@pytest.mark.parametrize("target", ["python", "c"])
@pytest.mark.parametrize("arrays", [False, True], ids=["scalars", "arrays"])
@pytest.mark.parametrize("name", BOUNDS)
def test_no_more_than_the_best(name: str, arrays: bool, target: str) -> None:
    bounds = BOUNDS[name][arrays]
    if bounds is None:
        pytest.skip("has no form of arrays")
    cost = compiled(name, arrays, target).cost
    most = dict(zip(("value", "grad", "value_and_grad"), bounds, strict=True))
    if target == "python" and arrays and name.startswith("Rosenbrock"):
        most["value_and_grad"] = 125  # elements have names, and what has a name is not regrouped
    if name.startswith("network") and (target == "python" or not arrays):
        for kind in ("grad", "value_and_grad"):  # each slope of tanh is computed in one of two ways; both are counted
            most[kind] += 8 * 5
    for kind, bound in most.items():
        assert sum(getattr(cost, kind).values()) <= bound, kind


def compiled(name: str, arrays: bool, target: str) -> Any:
    p = PROGRAMS[name]
    options: Any = {"target": target, "selftest": False}
    if arrays:
        vectors = [gs.symbol(k, (n,)) for k, n in p.sizes.items()]
        return gs.compile(p.array(gs, *vectors), args=vectors, wrt=p.wrt, **options)
    scalars = {k: [gs.symbol(f"{k}{i}") for i in range(n)] for k, n in p.sizes.items()}
    flat = [x for several in scalars.values() for x in several]
    wrt = [x.name for k in p.wrt for x in scalars[k]]
    return gs.compile(p.function(gs, *scalars.values()), args=flat, wrt=wrt, **options)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_two_forms_are_one_function(name: str) -> None:
    if BOUNDS[name][1] is None:
        pytest.skip("has no form of arrays")
    sizes = list(PROGRAMS[name].sizes.values())
    numbers = np.random.default_rng(0).uniform(0.5, 1.5, sum(sizes))
    vectors = np.split(numbers, np.cumsum(sizes)[:-1])
    value, slopes = compiled(name, False, "python").value_and_grad(*numbers)
    same, gradient = compiled(name, True, "python").value_and_grad(*vectors)
    gradient = gradient if isinstance(gradient, tuple) else (gradient,)
    assert same == pytest.approx(value, rel=1e-13)
    assert np.concatenate([np.ravel(g) for g in gradient]) == pytest.approx(np.array(slopes), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_slopes_are_right(name: str) -> None:
    assert compiled(name, False, "python").check().ok


def test_value_and_gradient_share_their_work() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile(gs.exp(x * y) * gs.sin(x * y))
    assert f.cost.value_and_grad["exp"] == f.cost.value_and_grad["sin"] == 1
    total = sum(f.cost.value.values()) + sum(f.cost.grad.values())
    assert sum(f.cost.value_and_grad.values()) < total


def test_counts_of_arrays_count_elements() -> None:
    A, x = gs.symbol("A", (3, 4)), gs.symbol("x", (4,))
    f = gs.compile(gs.sum(A @ x), target="numpy")
    assert f.cost.value == {"mul": 12, "add": 9 + 2}
    assert f.cost.ratio == pytest.approx(sum(f.cost.value_and_grad.values()) / 23)
    assert "total" in str(f.cost)


def test_an_input_that_nothing_depends_on_costs_nothing() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile(gs.exp(x), args=[x, y], wrt="y")
    assert f.cost.grad == {}
    assert f.grad(1.0, 2.0) == 0.0


def test_all_counts_at_once_are_those_of_each_by_itself():
    x, y = gs.symbols("x y")
    f = gs.compile(gs.sin(x * y) * gs.exp(x) ** 2 + y, selftest=False)
    graph = f.adjoint
    wanted = [graph.outputs[:1], graph.outputs[1:], graph.outputs, (), graph.outputs[:1] * 2]
    found = counts(graph, wanted)
    assert [[*c.items()] for c in found] == [[*_count(graph, outputs).items()] for outputs in wanted]
    assert found[0]["exp"] == 1
    assert found[3] == {}
