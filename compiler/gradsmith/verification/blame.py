"""Blame: when a gradient is wrong, whose own derivative rule is it?

In: the graph that was differentiated, and the point where its gradient mismatches. Out: one `Fault` for each op whose
rule, alone and at the very operands that it has there, differs from a difference quotient of the op itself. Guarantee:
rules are tried one by one, so that a right rule is never blamed for a wrong one elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..as_graph import to_graph
from ..evaluate import evaluate, evaluate_mp
from ..exact import DIGITS
from ..graph import Graph, Node
from ..origin import described
from ..passes.expand import expand_underivable
from ..registry import lookup
from ..show.notation import literal
from ..trace import Expr, apply, constant, recording
from ..types import Type, static_shape
from .differences import mixed, quotient, widened

__all__ = ["Disagreement", "Fault", "disagreements", "faults"]

_RTOL, _ATOL = 1e-6, 1e-8
_TRIED = 1000  # nodes whose rules are tried, from the inputs on
_EXACT = 8  # elements whose slopes are found with 50 digits


@dataclass(frozen=True)
class Fault:
    """A rule that is wrong: the op, its operand's number, what the rule gives, the true slope, and where.

    `at` has the operands' numbers for an element-wise op; for another op it is empty, and the slopes are those along a
    random direction. `inside` is the op whose own rule put this one into the gradient, if one did.
    """

    op: str
    operand: int
    arity: int
    given: float
    true: float
    at: tuple[float, ...]
    inside: str
    place: str

    @property
    def error(self) -> float:
        """The relative error of the slope; inf where the rule gives no number."""
        return float(_error(np.float64(self.given), np.float64(self.true)))

    def __str__(self) -> str:
        where = f"at {', '.join(map(repr, self.at))}" if self.at else "along a random direction"
        by = f" by operand {self.operand}" if self.arity > 1 else ""
        given = f"the derivative rule of op {self.op!r} gives {self.given:.8g}{by}"
        text = f"{given}, but the slope is {self.true:.8g}, {where}"
        text += f" (the rule of op {self.inside!r} uses it)" if self.inside else ""
        return text + (f"\n{self.place}" if self.place else "")


def faults(graph: Graph, leaves: Sequence[Any], by: Sequence[int]) -> list[Fault]:
    """The ops of `graph` whose derivative rule is wrong at this point, with the worst place of each.

    Only what depends on the inputs numbered `by` is looked at, as only there a rule is asked.
    """
    graph = widened(expand_underivable(graph))
    values = evaluate(graph, leaves)
    generator = np.random.default_rng(0)
    worst: dict[str, Fault] = {}
    active = {graph.inputs[i] for i in by}
    asked = []
    for n in graph.ordered():
        if n.type.dtype.kind in ("float", "bundle") and active.intersection(n.args):
            active.add(n.key)
            asked += [] if lookup(n.op).choice or lookup(n.op).kind in ("region", "part") else [n]
    for n in asked[:_TRIED]:
        compared = _elementwise if lookup(n.op).kind == "elementwise" else _structural
        operands = [i for i, a in enumerate(n.args) if a in active]
        for fault in compared(graph, n, operands, values, generator):
            if n.op not in worst or fault.error > worst[n.op].error:
                worst[n.op] = fault
    return list(worst.values())


@dataclass(frozen=True)
class Disagreement:
    """An op that computes other numbers than the reference of its own record."""

    op: str
    computed: float
    reference: float
    at: tuple[float, ...]
    place: str

    def __str__(self) -> str:
        where = ", ".join(map(repr, self.at))
        reference = f"but its own reference (mp=) {self.reference!r}"
        text = f"op {self.op!r} computes {self.computed!r} (evaluate=), {reference}, at {where}"
        return text + (f"\n{self.place}" if self.place else "")


def disagreements(graph: Graph, leaves: Sequence[Any]) -> list[Disagreement]:
    """The element-wise ops whose value differs from 50 digits of the same op, at the first place of each."""
    import mpmath as mp

    values = evaluate(graph, leaves)
    found: dict[str, Disagreement] = {}
    for n in itertools.islice(graph.ordered(), _TRIED):
        op = lookup(n.op)
        if op.kind != "elementwise" or op.mp is None or n.op in found or n.type.dtype.kind != "float":
            continue
        value = np.asarray(values[n.key])
        for at in itertools.islice(np.ndindex(value.shape), _EXACT):
            place = tuple(float(np.asarray(values[a])[at]) for a in n.args)
            with mp.workdps(DIGITS):
                exact = float(evaluate_mp(_alone(graph, n), place)[len(n.args)])
            if _differ(value[at], np.float64(exact)):
                found[n.op] = Disagreement(n.op, float(value[at]), exact, place, described(n.origin))
                break
    return list(found.values())


def _alone(graph: Graph, n: Node) -> Graph:
    """One element of an element-wise node, as a graph of its own."""
    with recording():
        xs = [_stand_in(f"x{i}", Type((), graph.node(a).type.dtype)) for i, a in enumerate(n.args)]
        return to_graph(xs, [apply(lookup(n.op), xs, n.params)])


def _elementwise(
    graph: Graph, n: Node, asked: Sequence[int], values: Mapping[int, Any], _: np.random.Generator
) -> Iterator[Fault]:
    """The rule's slopes, element by element, beside those of the op."""
    operands = [np.asarray(values[a]) for a in n.args]
    given = _shares(graph, n, np.ones(n.type.shape), values)
    for i in asked:
        true = _slopes(graph, n, operands, i)
        slopes = np.zeros(true.shape) if given[i] is None else np.broadcast_to(given[i], true.shape)
        wrong = _differ(slopes, true)
        if wrong.any():
            errors = np.where(wrong, _error(slopes, true), -1.0)
            at = np.unravel_index(int(np.argmax(errors)), true.shape)
            place = tuple(float(x[at]) for x in operands)
            yield _fault(graph, n, i, float(slopes[at]), float(true[at]), place)


def _slopes(graph: Graph, n: Node, operands: Sequence[Any], moving: int) -> Any:
    """The slopes of an element-wise op by one operand: with 50 digits where they are few, else by differences."""
    op = lookup(n.op)
    shape = operands[moving].shape
    if op.mp is not None and operands[moving].size <= _EXACT:
        alone = _alone(graph, n)
        unit = [np.float64(i == moving) for i in range(len(operands))]
        exact = [mixed(alone, [x[at] for x in operands], [unit]) for at in np.ndindex(shape)]
        return np.array(exact, dtype=np.float64).reshape(shape)
    size = abs(operands[moving])
    found = np.full(size.shape, np.nan)
    for scale in (np.maximum(1.0, size), np.where(size > 0.0, size, 1.0)):

        def value(t: float, scale: Any = scale) -> Any:
            moved = [x + t * scale if i == moving else x for i, x in enumerate(operands)]
            return op.evaluate(*moved, **n.params)

        found = np.where(np.isnan(found), quotient(value, 1.0) / scale, found)
    return found


def _structural(
    graph: Graph, n: Node, asked: Sequence[int], values: Mapping[int, Any], generator: np.random.Generator
) -> Iterator[Fault]:
    """What the rule gives along a random direction, beside the change of the op along it."""
    operands = [np.asarray(values[a]) for a in n.args]
    g = generator.normal(size=np.shape(values[n.key]))
    given = _shares(graph, n, g, values)
    params = {k: static_shape(v) if k == "shape" else v for k, v in n.params.items()}
    for i in asked:
        direction = generator.normal(size=operands[i].shape)

        def along(t: float, i: int = i, direction: Any = direction) -> Any:
            moved = [x + t * direction if i == j else x for j, x in enumerate(operands)]
            return np.asarray(np.sum(g * lookup(n.op).evaluate(*moved, **params)))

        true = float(quotient(along, max(1.0, float(np.max(abs(operands[i]), initial=0.0)))))
        slope = 0.0 if given[i] is None else float(np.sum(given[i] * direction))
        if _differ(slope, true):
            yield _fault(graph, n, i, slope, true, ())


def _shares(graph: Graph, n: Node, g: Any, values: Mapping[int, Any]) -> list[Any]:
    """What the rule of `n` gives each operand for the cotangent `g`; None where it says that nothing flows."""
    op = lookup(n.op)
    with recording():
        inputs = [_stand_in("g", n.type), _stand_in("y", n.type)]
        inputs += [_stand_in(f"x{i}", graph.node(a).type) for i, a in enumerate(n.args)]
        operands = [_operand(graph, a, x) for a, x in zip(n.args, inputs[2:], strict=True)]
        shares = op.vjp(*inputs[:2], *operands, **n.params)  # type: ignore[misc]
        rule = to_graph(inputs, [s for s in shares if s is not None])
    computed = evaluate(rule, [g, values[n.key], *(values[a] for a in n.args)])
    numbers = iter(rule.outputs)
    return [None if s is None else computed[next(numbers)] for s in shares]


def _operand(graph: Graph, key: int, x: Expr) -> Expr:
    """A number as itself, since rules look at the numbers among their operands; else the stand-in `x`."""
    value = literal(graph, key)
    return x if value is None or x.shape else constant(value)


def _stand_in(name: str, type: Type) -> Expr:
    return Expr(lookup("input"), (), {"name": name}, type)


def _error(given: Any, true: Any) -> Any:
    with np.errstate(all="ignore"):
        error = abs(given - true) / np.maximum(abs(true), abs(given))
        return np.where(np.isfinite(given), np.where(given == true, 0.0, error), np.inf)


def _differ(given: Any, true: Any) -> Any:
    """Where a slope is known and the rule gives another one."""
    with np.errstate(all="ignore"):
        return np.isfinite(true) & ~(abs(given - true) <= _ATOL + _RTOL * abs(true))


def _fault(graph: Graph, n: Node, operand: int, given: float, true: float, at: tuple[float, ...]) -> Fault:
    inside = n.origin.rule if n.origin.derived else ""
    return Fault(n.op, operand, len(n.args), given, true, at, inside, described(n.origin))
