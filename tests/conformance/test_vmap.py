"""Every op under `vmap`: the results and derivatives of its elements, whichever operands are mapped, on every target.

The ops are discovered in the op table. The reference is the op on one element after the other, by the interpreter, and
torch.func.vmap for some programs (tests/test_vmap.py).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_exprs, to_graph
from gradsmith.derive.flatness import slopes
from gradsmith.evaluate import evaluate
from gradsmith.registry import OPS
from gradsmith.trace import registry_function

from .harness import Program, Runners, compiled, distance, weights
from .random_programs import random_sample
from .test_ops import NOT_ALONE, indices

SIZE = 3
NAMES = [name for name in OPS if name not in NOT_ALONE and OPS[name].samples and OPS[name].arity != 0]
LIMIT = 64  # in units of the precision: a batch may add in another order


def samples(name: str) -> list[tuple[list[np.ndarray], dict[str, Any]]]:
    """Operands and params of one element: the first sample of each shape."""
    found: dict[object, tuple[list[np.ndarray], dict[str, Any]]] = {}
    for sample in OPS[name].samples:
        params = sample[-1] if isinstance(sample[-1], dict) else {}
        operands = [operand(x, name) for x in (sample[:-1] if params else sample)]
        found.setdefault((tuple(x.shape for x in operands), repr(params)), (operands, params))
    return list(found.values())


def operand(x: Any, name: str) -> np.ndarray:
    kind = "int64" if indices(x) or OPS[name].takes == "integers" else bool if isinstance(x, bool) else "float64"
    return np.asarray(x, dtype=kind)


def elements(x: np.ndarray) -> np.ndarray:
    """`SIZE` operands that differ: the first is the sample itself, and all lie in the same domain."""
    if x.dtype.kind == "b":
        return np.stack([x, ~x, x])
    if x.dtype.kind == "i":
        return np.stack([np.roll(x.ravel(), k).reshape(x.shape) for k in range(SIZE)])
    return np.stack([x * (1.0 - 0.015625 * k) for k in range(SIZE)])


CASES = [
    (name, number, mapped)
    for name in NAMES
    for number, (operands, _) in enumerate(samples(name))
    for mapped in itertools.product((True, False), repeat=min(len(operands), 3))
    if any(mapped)
]


def ids(case: tuple[str, int, tuple[bool, ...]]) -> str:
    name, number, mapped = case
    return f"{name}-{number}-{''.join('x' if m else 'o' for m in mapped)}"


class Case:
    """One op, one sample of it, and which of its operands are mapped."""

    def __init__(self, name: str, number: int, mapped: Sequence[bool]) -> None:
        self.name, (first, self.params) = name, samples(name)[number]
        self.mapped = [*mapped, *[mapped[-1]] * (len(first) - len(mapped))]
        self.points = [elements(x) if m else x for x, m in zip(first, self.mapped, strict=True)]
        self.each = [gs.symbol(f"x{k}", x.shape, x.dtype.name) for k, x in enumerate(first)]
        self.all = [gs.symbol(f"x{k}", x.shape, x.dtype.name) for k, x in enumerate(self.points)]
        floats = [k for k, x in enumerate(self.each) if x.dtype.kind == "float"]
        graph = to_graph(self.each, [self.op(*self.each)])
        found = slopes(graph, [graph.inputs[k] for k in floats])
        self.flat = [k for k in floats if graph.inputs[k] in found.stopped]  # no gradient by these: it is refused
        self.floats = [k for k in floats if k not in self.flat]

    def op(self, *xs: gs.Expr) -> gs.Expr:
        return registry_function(self.name)(*xs, **self.params)

    def batched(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return gs.vmap(f, in_axes=tuple(0 if m else None for m in self.mapped))

    def want(self, f: Callable[..., Any]) -> list[np.ndarray]:
        """What `f` gives for each element by itself."""
        graph = to_graph(self.each, f(*self.each))
        rows = []
        for i in range(SIZE):
            point = [x[i] if m else x for x, m in zip(self.points, self.mapped, strict=True)]
            values = evaluate(graph, point)
            rows.append([values[k] for k in graph.outputs])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def got(self, outputs: Sequence[gs.Expr]) -> list[np.ndarray]:
        graph = to_graph(self.all, outputs)
        values = evaluate(graph, self.points)
        return [values[k] for k in graph.outputs]

    def total(self, *xs: gs.Expr) -> gs.Expr:
        y = self.op(*xs)
        return gs.sum(y * weights(y.shape)) if y.shape else y * 1.25

    def slopes(self, *xs: gs.Expr) -> list[gs.Expr]:
        return list(gs.grad(self.total, tuple(self.floats))(*xs))

    def second(self, *xs: gs.Expr) -> list[gs.Expr]:
        def sums(*xs: gs.Expr) -> gs.Expr:
            total: Any = 0.0
            for k, g in enumerate(self.slopes(*xs)):
                total = total + (gs.sum(g * weights(g.shape, k + 1)) if g.shape else g * 0.75)
            return total

        return list(gs.grad(sums, tuple(self.floats))(*xs))


def close(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0) if b.dtype.kind == "f" else 0.0
        assert distance(a, b, scale) <= LIMIT, f"{a} is not {b}"


@pytest.mark.parametrize("given", CASES, ids=ids)
def test_an_op_on_all_elements_is_the_op_on_each(given: tuple[str, int, tuple[bool, ...]]) -> None:
    case = Case(*given)
    y = case.batched(case.op)(*case.all)
    close(case.got([y]), case.want(lambda *xs: [case.op(*xs)]))
    assert "scan" not in {n.op for n in to_graph(case.all, [y]).ordered()}, "mapped by a loop: give it batch="


#: Element-wise ops have one rule, and derivatives made of such ops: these stand for the rest.
ELEMENTWISE = ("tanh", "floor", "pow", "copysign", "where", "besselj_over")
SMOOTH = [c for c in CASES if OPS[c[0]].kind != "elementwise" or (c[0] in ELEMENTWISE and all(c[2]))]


@pytest.mark.parametrize("given", SMOOTH, ids=ids)
def test_derivatives_of_all_elements_are_those_of_each(given: tuple[str, int, tuple[bool, ...]]) -> None:
    case = Case(*given)
    for k in case.flat:
        with pytest.raises(gs.DerivativeError, match="is zero everywhere"):
            case.batched(gs.grad(case.total, k))(*case.all)
    if not case.floats:
        return
    for kind in (case.slopes, case.second):
        want = case.want(kind)
        close(case.got(case.batched(kind)(*case.all)), want)

    def total(*xs: gs.Expr) -> gs.Expr:
        return gs.sum(case.batched(case.total)(*xs))

    summed = gs.grad(total, tuple(case.floats))(*case.all)
    kept = [w if case.mapped[k] else w.sum(0) for k, w in zip(case.floats, case.want(case.slopes), strict=True)]
    close(case.got(summed), kept)


#: The code of element-wise ops on arrays is that of test_arrays.
ON_TARGETS = [name for name in NAMES if OPS[name].kind != "elementwise" or name in ELEMENTWISE]


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Runners:
    return Runners({name: program(name) for name in ON_TARGETS}, tmp_path_factory.mktemp("vmap"), ("gcc",), "-O0")


@functools.cache
def program(name: str) -> Program:
    """The op's last sample on all elements, with the last axis of the operands mapped, and results in the last."""
    case = on_targets(name)
    f = gs.vmap(case.op, in_axes=-1, out_axes=-1)
    xs = [gs.symbol(f"x{k}", np.moveaxis(x, 0, -1).shape, x.dtype.name) for k, x in enumerate(case.points)]
    return compiled(f(*xs), xs, f"vmap_{name}", derivatives=("value",))


@functools.cache
def on_targets(name: str) -> Case:
    found = samples(name)
    return Case(name, len(found) - 1, (True,) * min(3, len(found[-1][0])))


@pytest.mark.parametrize("name", ON_TARGETS)
def test_every_target_maps_an_op(name: str, runners: Runners) -> None:
    case = on_targets(name)
    (want,) = case.want(lambda *xs: [case.op(*xs)])
    for target, run in runners.all(name):
        (got,) = run("value", [np.moveaxis(x, 0, -1) for x in case.points])
        error = distance(got, np.moveaxis(want, 0, -1), np.max(np.abs(want)))
        assert error <= LIMIT, f"{target}: {got} is not {np.moveaxis(want, 0, -1)}"


RANDOM = int(os.environ.get("GRADSMITH_RANDOM_PROGRAMS", "0")) or 40


@pytest.mark.parametrize("seed", range(RANDOM))
def test_random_programs_on_all_elements(seed: int) -> None:
    """Values and gradients, with some arguments mapped."""
    sample = random_sample(f"vmap {seed}", "x")
    graph = to_graph(sample.inputs, [sample.result])
    mapped = [(seed + k) % 3 != 0 or k == 0 for k in range(len(sample.inputs))]
    points = [elements(x) if m else x for x, m in zip(sample.points[0], mapped, strict=True)]
    moving = slopes(graph, graph.inputs).moving  # a gradient by the others is refused
    floats = tuple(k for k, key in enumerate(graph.inputs) if key in moving)

    def value(*xs: gs.Expr) -> gs.Expr:
        return to_exprs(graph, xs)[graph.outputs[0]]

    def both(*xs: gs.Expr) -> list[gs.Expr]:
        return [value(*xs), *gs.grad(value, floats)(*xs)]

    each = to_graph(sample.inputs, both(*sample.inputs))
    rows = []
    for i in range(SIZE):
        values = evaluate(each, [x[i] if m else x for x, m in zip(points, mapped, strict=True)])
        rows.append([values[k] for k in each.outputs])
    symbols = [gs.symbol(str(s.name), x.shape, s.dtype) for s, x in zip(sample.inputs, points, strict=True)]
    together = to_graph(symbols, gs.vmap(both, tuple(0 if m else None for m in mapped))(*symbols))
    values = evaluate(together, points)
    for got, want in zip([values[k] for k in together.outputs], zip(*rows, strict=True), strict=True):
        same = np.stack(want)
        scale = np.max(np.abs(same[np.isfinite(same)]), initial=1.0)
        assert distance(got, same, scale) < 1e7, f"{got} is not {same}"
