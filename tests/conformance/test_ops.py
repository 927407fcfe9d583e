"""Every op, on every target: value, gradient and second derivative equal torch's, at the record's samples and edges.

The ops are discovered in the op table. A record without samples or without a torch reference fails the suite.
Where our derivative is better than torch's, the reference is the exact one: a table below says where and why.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.adjoint import gradient
from gradsmith.evaluate import evaluate
from gradsmith.registry import OPS, Op
from gradsmith.trace import registry_function

from . import harness
from .harness import Program, Runners, compiled, distance

NOT_TESTED_ALONE = {"input", "constant", "element"}  # leaves, and how scalar code reads an array
NAMES = [name for name in OPS if name not in NOT_TESTED_ALONE]

VALUE_ULPS = 4  # units of eps*|want|: library functions of two makers differ by that much
SLOPE_ULPS = 16

# Ops whose derivative keeps its digits where torch's cancels: the reference is then 50-digit arithmetic.
MORE_ACCURATE = {
    "sigmoid": "torch multiplies y*(1 - y), which is 0 for large x",
    "expm1": "torch adds y + 1, which is 0 for x << 0",
    "tanh": "torch subtracts 1 - y*y",
}

# (op, order, operands) where torch says NaN or worse: the gradient (order 1) or the gradient of 1.25, … times it (order 2)
# that is right instead, with the reason.
DIFFERENT = {
    ("abs", 1, (np.nan,)): ((np.nan,), "torch gives the slope 0 to NaN"),
    ("abs", 2, (np.nan,)): ((0.0,), "torch agrees; only its value (the first slope) differs"),
    ("softplus", 2, (-np.inf,)): ((0.0,), "the curvature vanishes; torch computes inf*0"),
    ("div", 2, (-1.0, 0.0)): ((-np.inf, -np.inf), "all terms are -inf; torch computes inf - inf"),
    ("arcslope", 1, (1.0,)): ((np.inf,), "torch composes it and gets inf*0"),
    ("arcslope", 1, (-1.0,)): ((-np.inf,), "torch composes it and gets inf*0"),
    ("arcslope", 2, (1.0,)): ((np.inf,), "torch composes it and gets inf*0"),
    ("arcslope", 2, (-1.0,)): ((np.inf,), "torch composes it and gets inf*0"),
    ("pow", 2, (0.0, 1.0)): ((0.0, 1.25), "0**y has no slope in y; torch takes log(0)"),
    ("pow", 2, (0.0, 2.0)): ((2.5, 0.0), "0**y has no slope in y; torch takes log(0)"),
    ("pow", 2, (0.0, 0.0)): ((0.0, 0.0), "0**y has no slope in y; torch takes log(0)"),
}
SECOND = (1.25, -0.75, 0.5)  # weights of the gradients of scalars in the second-order programs


@dataclass(frozen=True)
class Case:
    """Points of one op that share shapes and parameters: an operand tuple each."""

    shapes: tuple[tuple[int, ...], ...]
    params: dict[str, Any]
    points: list[list[np.ndarray]]


def cases(record: Op) -> list[Case]:
    found: dict[object, Case] = {}
    for sample in [*record.samples, *record.edges]:
        params = sample[-1] if sample and isinstance(sample[-1], dict) else {}
        operands = [np.asarray(x, dtype=float) for x in (sample[:-1] if params else sample)]
        shapes = tuple(x.shape for x in operands)
        found.setdefault((shapes, repr(params)), Case(shapes, params, [])).points.append(operands)
    return list(found.values())


def applied(record: Op, xs: Sequence[gs.Expr], params: dict[str, Any]) -> gs.Expr:
    """The op on symbols; a condition chooses between two planes, so that its derivative shows the choice."""
    y = registry_function(record.name)(*xs, **params)
    if y.dtype == "bool":
        y = gs.where(y, 2.0 * xs[0] - xs[-1], 0.5 * xs[0] + 3.0 * xs[-1])
    return y


def second(y: gs.Expr, xs: Sequence[gs.Expr]) -> tuple[gs.Expr, list[np.ndarray]]:
    """A fixed combination of the gradient's elements, and its weights."""
    total, weights = gs.stack([0.0])[0], []
    for i, g in enumerate(gradient(y, xs)):
        weights.append(harness.weights(g.shape, i + 1) if g.shape else np.array(SECOND[i]))
        total = total + (gs.sum(g * weights[-1]) if g.shape else g * float(weights[-1]))
    return total, weights


@dataclass(frozen=True)
class Tested:
    """The programs of one case: `first` and `second` differentiate a scalar, `values` is the op itself."""

    case: Case
    first: str
    second: str
    values: str
    weights: list[np.ndarray]


@functools.cache
def programs(name: str) -> tuple[dict[str, Program], list[Tested]]:
    record, found, tested = OPS[name], {}, []
    everything = cases(record)
    if record.kind == "elementwise":  # also all points at once, as arrays
        (scalar,) = everything
        columns = [np.array([float(p[i]) for p in scalar.points]) for i in range(len(scalar.shapes))]
        everything.append(Case(tuple(c.shape for c in columns), {}, [columns]))
    for number, case in enumerate(everything):
        xs = [gs.symbol(f"x{i}", shape) for i, shape in enumerate(case.shapes)]
        y = applied(record, xs, case.params)
        scalar_result = harness.contracted(y)
        combination, weights = second(scalar_result, xs)
        keys = [f"{name}_{number}_{kind}" for kind in ("first", "second", "values")]
        found[keys[0]] = compiled(scalar_result, xs, keys[0])
        found[keys[1]] = compiled(combination, xs, keys[1])
        if y.shape:
            found[keys[2]] = compiled(y, xs, keys[2], derivatives=("value",))
        tested.append(Tested(case, keys[0], keys[1], keys[2] if y.shape else "", weights))
    return found, tested


def test_every_record_can_be_tested() -> None:
    assert len(NAMES) >= 60
    for name in NAMES:
        assert OPS[name].samples, f"op {name!r} has no samples, so nothing tests it"
        assert OPS[name].torch is not None, f"op {name!r} has no torch= reference, so nothing tests it"


@pytest.mark.parametrize("name", NAMES)
def test_op(name: str, tmp_path: Path) -> None:
    """The op alone: value, gradient and second derivative on all targets."""
    found, tested = programs(name)
    runners = Runners(found, tmp_path)
    problems = [p for t in tested for p in compare(OPS[name], found, t, runners)]
    assert not problems, "\n".join(problems)


def compare(record: Op, found: dict[str, Program], t: Tested, runners: Runners) -> Iterator[str]:
    graph = found[t.first].graph
    for point in t.case.points:
        where = f"{record.name} at {', '.join(str(x.tolist()) for x in point)}"
        ones = harness.torch_reference(graph, point)
        twos = harness.torch_second(graph, point, t.weights)
        for target, run in runners.all(t.first):
            got = run("value_and_grad", point)
            yield from judged(record, 0, point, got[:1], ones[:1], f"{where}, {target}, value")
            yield from judged(record, 1, point, got[1:], ones[1:], f"{where}, {target}, gradient")
            again = [*run("value", point), *run("grad", point)]
            if any(distance(a, b) > 0 for a, b in zip(got, again, strict=True)):
                yield f"{where}, {target}: value_and_grad is {got}, alone they are {again}"
        for target, run in runners.all(t.second):
            got = run("grad", point)
            yield from judged(record, 2, point, got, twos[1:], f"{where}, {target}, second derivative")
        if t.values:
            expected = harness.torch_values(found[t.values].graph, point)
            for target, run in runners.all(t.values):
                (got,) = run("value", point)
                error = distance(got, expected, rounding(record, point))
                if error > VALUE_ULPS:
                    yield f"{where}, {target}: {got} is {error:.3g} eps from {expected}"


def rounding(record: Op, point: Sequence[np.ndarray]) -> float:
    """The size of what is added up: an op that adds is as exact as its largest terms allow."""
    if record.kind == "elementwise":
        return 0.0
    return float(np.prod([np.max(np.abs(x), initial=1.0) for x in point]) * max(1, max(x.size for x in point)) / 4)


def judged(
    record: Op, order: int, point: Sequence[np.ndarray], got: Sequence[Any], want: Sequence[Any], where: str
) -> Iterator[str]:
    """What is wrong with one result, if anything."""
    limit = SLOPE_ULPS if order else VALUE_ULPS
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        places = np.ndindex(b.shape) if record.kind == "elementwise" and b.ndim else [()]
        for place in places:
            operands = tuple(float(x[place]) for x in point) if record.kind == "elementwise" else ()
            scale = rounding(record, point)
            if order == 0 and point[0].ndim:
                scale = max(scale, float(np.sum(np.abs(evaluated_terms(record, point)))))
            error = distance(a[place], b[place], scale)
            if error <= limit or (order == 0 and np.isnan(b[place]).any() and point[0].ndim):
                continue
            exact = better(record, order, operands, i, array=bool(b.ndim), at=place)
            if exact is None or distance(a[place], exact) > limit:
                rather = "" if exact is None else f" (exactly {exact})"
                yield f"{where} {i}{list(place)}: {a[place]} is {error:.3g} eps from torch's {b[place]}{rather}"


def evaluated_terms(record: Op, point: Sequence[np.ndarray]) -> Any:
    xs = [gs.symbol(f"x{i}", x.shape) for i, x in enumerate(point)]
    graph = gs.compile(applied(record, xs, {}), args=xs, derivatives=("value",), target="numpy", selftest=False).graph
    y = evaluate(graph, point)[graph.outputs[0]]
    return np.where(np.isfinite(y), y, 0.0)


def better(record: Op, order: int, operands: tuple[float, ...], i: int, *, array: bool, at: tuple[int, ...]) -> Any:
    """The right result where torch's is known not to be: from the tables above."""
    if order and not array:
        for (name, listed_order, listed), (values, _) in DIFFERENT.items():
            if (name, listed_order) == (record.name, order) and distance(np.array(listed), np.array(operands)) == 0:
                return np.array(values[i])
    if order and record.name in MORE_ACCURATE and np.isfinite(operands).all():
        first = (harness.weights((999,))[at[0]],) if array else (1.0,)
        factor = 1.0 if order == 1 else (harness.weights((999,), 1)[at[0]] if array else SECOND[0])
        return np.array(float(exact_derivative(record, order, operands[0])) * first[0] * factor)
    if order and array:  # the arrays hold the same points, with other weights
        torch_is_wrong = any(
            name == record.name and listed_order == order and distance(np.array(listed), np.array(operands)) == 0
            for name, listed_order, listed in DIFFERENT
        )
        return Anything() if torch_is_wrong else None
    return None


class Anything(float):
    """Stands for a result that the scalar test of the same point has judged already."""


def exact_derivative(record: Op, order: int, x: float) -> Any:
    """A derivative of a function of one number, by central differences with 120 digits."""
    named = record.mp
    with mp.workdps(200):
        function = (lambda v: getattr(mp, named)(v)) if isinstance(named, str) else (lambda v: named(mp, v))
        at = mp.mpf(x)
        h = max(abs(at), mp.mpf(10) ** -20) * mp.mpf(10) ** -40
        if order == 1:
            return (function(at + h) - function(at - h)) / (2 * h)
        return (function(at + h) - 2 * function(at) + function(at - h)) / h**2
