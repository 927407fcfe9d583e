"""Explain: the gradient of a function at a point, worked out step by step, as a lecture would on the blackboard.

In: a graph with one scalar result, and a value for each input. Out: text, Markdown or LaTeX that shows the forward
steps, the chain rule at each step on the way back, the gradient, and the same gradient derived by SymPy. Guarantee:
each number is computed from the numbers shown before it, by the op's own derivative rule.

This module does the mathematics and collects it in a `Lesson`; `lecture` puts that into words, and `blackboard` lays
the words out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..as_graph import to_graph
from ..errors import DerivativeError, SpecError, UnsupportedError
from ..evaluate import evaluate
from ..graph import Graph, Node
from ..ops import broadcast_to
from ..passes.expand import expand_underivable
from ..passes.simplify import simplify
from ..passes.specialise import sizes_of, specialised
from ..regions import has_regions
from ..registry import lookup
from ..trace import Expr, constant, recording
from ..types import Type, format_shape
from .formula import written_size
from .notation import literal, names, place

__all__ = ["Backstep", "Hand", "Lesson", "Share", "explain", "lesson"]

_LARGEST_FORMULA = 5000  # parts of all formulas written out as trees; beyond it SymPy takes minutes


@dataclass(frozen=True)
class Share:
    """What one operand receives from one step.

    `rule` computes it from (cotangent, result, *operands); `slope`, for scalars only, is the local derivative from the
    same inputs. `times` counts the places of the operand in a step such as `x*x`, `number` says which place this is.
    """

    step: int
    operand: int
    number: int
    times: int
    rule: Graph
    value: Any
    slope: Graph | None
    slope_value: Any


@dataclass(frozen=True)
class Backstep:
    """One value on the way back: what arrived at it, the sum of that, and what its operands receive."""

    key: int
    arrived: tuple[Share, ...]
    cotangent: Any
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Hand:
    """The same derivative by SymPy: its expression, its number, and whether ours agrees (None: it has no number)."""

    expression: Any
    value: float | None
    agrees: bool | None


@dataclass(frozen=True)
class Lesson:
    """All that an explanation says, in the order in which it says it; `hand` is a reason where SymPy was not asked."""

    name: str
    graph: Graph
    names: Mapping[int, str]
    values: Mapping[int, Any]
    backward: tuple[Backstep, ...]
    hand: tuple[Hand, ...] | str

    @property
    def root(self) -> int:
        return self.graph.outputs[0]

    @property
    def gradient(self) -> dict[int, Backstep]:
        """Input key -> where its cotangent was added up."""
        found = {step.key: step for step in self.backward}
        return {key: found[key] for key in self.graph.inputs}


def explain(
    primal: Graph,
    point: Mapping[str, Any],
    *,
    style: Literal["text", "markdown", "latex"] = "text",
    name: str = "f",
    limit: int = 400,
) -> str:
    """The value and the gradient of `primal` at `point`, with every step of the chain rule.

    Parameters
    ----------
    primal: a graph with one scalar result; its inputs may be arrays, which are then shown by shape and range.
    point: a value for every input, by name. Numbers that are not finite are shown, not refused.
    style: "text" (within 100 columns), "markdown", or "latex" (a fragment that needs amsmath).
    name: what to call the function.
    limit: the largest graph to explain, in nodes.

    Errors: `SpecError` for a point, style or size that does not fit; `DerivativeError` for a result that is no scalar.

    >>> from gradsmith.as_graph import to_graph
    >>> from gradsmith.trace import symbols
    >>> x, y = symbols("x y")
    >>> print(explain(to_graph([x, y], [x * y]), {"x": 2.0, "y": 3.0}))
    f(x, y) = x*y at x = 2, y = 3
    =============================
    ...
    """
    from .blackboard import STYLES

    if style not in STYLES:
        raise SpecError(f"style= is one of {', '.join(map(repr, STYLES))}, not {style!r}")
    if len(primal) > limit:
        raise SpecError(
            f"explaining {len(primal)} nodes step by step helps nobody (limit {limit}): raise limit= to insist"
        )
    return STYLES[style](lesson(primal, point, name=name))


def lesson(primal: Graph, point: Mapping[str, Any], *, name: str = "f") -> Lesson:
    """The mathematics of `explain`, before it is written down."""
    if len(primal.outputs) != 1 or primal.node(primal.outputs[0]).type.shape != ():
        shapes = ", ".join(format_shape(primal.node(k).type.shape) for k in primal.outputs)
        raise DerivativeError(f"a gradient needs one scalar result, but the results have shapes {shapes}: reduce first")
    if has_regions(primal):
        raise UnsupportedError(
            "there is a loop or a branch in the function, and step by step shows straight-line functions: explain the "
            "function that is its body, or read the generated loops (f.source)"
        )
    at = place(primal, point)
    primal = specialised(primal, sizes_of(primal, [x.shape for x in at]))
    graph = expand_underivable(primal)
    values = evaluate(graph, at)
    with np.errstate(all="ignore"):
        backward = _backpropagate(graph, values)
    gradient = {step.key: step.cotangent for step in backward}
    hand = _by_hand(graph, values, [gradient[key] for key in graph.inputs])
    return Lesson(name, graph, names(graph), values, backward, hand)


# --- backward -------------------------------------------------------------------------------------------------------


def _backpropagate(graph: Graph, values: Mapping[int, Any]) -> tuple[Backstep, ...]:
    """Reverse mode on numbers: each value passes on what it received, from the result back to the inputs."""
    active = set(graph.inputs)
    for n in graph.ordered():
        if n.type.dtype.kind == "float" and any(a in active for a in n.args):
            active.add(n.key)
    arrived: dict[int, list[Share]] = {key: [] for key in sorted(active)}
    steps = []
    for key in sorted(active, reverse=True):
        node = graph.node(key)
        if not arrived[key] and key != graph.outputs[0] and node.op != "input":
            continue
        received = tuple(sorted(arrived[key], key=lambda share: (share.step, share.number)))
        start = np.ones(()) if key == graph.outputs[0] else np.zeros(np.shape(values[key]))
        total = functools.reduce(np.add, [share.value for share in received]) if received else start
        shares = _shares(graph, node, total, values, active)
        for share in shares:
            arrived[share.operand].append(share)
        steps.append(Backstep(key, received, total, shares))
    return tuple(steps)


def _shares(graph: Graph, node: Node, cotangent: Any, values: Mapping[int, Any], active: set[int]) -> tuple[Share, ...]:
    if not node.args:
        return ()
    scalar = all(graph.node(a).type.shape == () for a in (node.key, *node.args))
    at = [cotangent, values[node.key], *(values[a] for a in node.args)]
    rules = _rules(graph, node, unit=False)
    slopes = _rules(graph, node, unit=True) if scalar else [None] * len(rules)
    shares = []
    for i, (operand, rule, slope) in enumerate(zip(node.args, rules, slopes, strict=True)):
        if rule is None or operand not in active or _untaken(node, i, values):
            continue
        value = _result(rule, at)
        slope_value = None if slope is None else _result(slope, at)
        number, times = 1 + node.args[:i].count(operand), node.args.count(operand)
        shares.append(Share(node.key, operand, number, times, rule, value, slope, slope_value))
    return tuple(shares)


def _untaken(node: Node, number: int, values: Mapping[int, Any]) -> bool:
    """Whether operand `number` is the branch of a choice that is taken nowhere, which passes nothing on."""
    condition = values[node.args[0]]
    return lookup(node.op).choice and not np.any(condition if number == 1 else np.logical_not(condition))


def _result(graph: Graph, at: list[Any]) -> Any:
    return evaluate(graph, at)[graph.outputs[0]]


def _rules(graph: Graph, node: Node, *, unit: bool) -> list[Graph | None]:
    """The op's derivative rule as one small graph an operand; with `unit`, for a cotangent of 1: the local slope."""
    op = lookup(node.op)
    if op.vjp is None:
        raise DerivativeError(f"op {op.name!r} has no derivative rule: give its record vjp= or expand=")
    with recording():
        g, y = _stand_in("g", Type(node.type.shape)), _stand_in("y", node.type)
        xs = [_stand_in(f"x{i}", graph.node(a).type) for i, a in enumerate(node.args)]
        operands = [_operand(graph, a, x) for a, x in zip(node.args, xs, strict=True)]
        shares = op.vjp(constant(1.0) if unit else g, y, *operands, **node.params)
        return [None if s is None else simplify(to_graph([g, y, *xs], [s])) for s in shares]


def _operand(graph: Graph, key: int, x: Expr) -> Expr:
    """The operand in a rule: its number where it is one, so that laws can apply, else the stand-in `x`."""
    value = literal(graph, key)
    if value is None:
        return x
    return broadcast_to(value, x.shape) if x.shape else constant(value)


def _stand_in(name: str, type: Type) -> Expr:
    return Expr(lookup("input"), (), {"name": name}, type)


# --- by hand --------------------------------------------------------------------------------------------------------


def _by_hand(graph: Graph, values: Mapping[int, Any], gradient: list[Any]) -> tuple[Hand, ...] | str:
    """The gradient by SymPy's own rules, or why it was not asked."""
    if any(n.type.shape != () for n in graph.ordered()):
        return "SymPy works with scalars, and this function has arrays"
    size = written_size(graph, graph.outputs[0]) * len(graph.inputs)
    if size > _LARGEST_FORMULA:
        return f"written out, the gradient has {size} parts or more, and SymPy is asked for {_LARGEST_FORMULA} at most"
    import sympy

    from ..frontends.sympy import to_sympy

    try:
        expressions, symbols = to_sympy(graph)
    except UnsupportedError as error:
        return str(error)
    at = {symbols[key]: float(values[key]) for key in graph.inputs}
    return tuple(
        _hand(sympy.diff(expressions[graph.outputs[0]], symbols[key]), at, float(ours))
        for key, ours in zip(graph.inputs, gradient, strict=True)
    )


def _hand(derivative: Any, at: Mapping[Any, float], ours: float) -> Hand:
    value = _number(derivative, at)
    agrees = None if value is None else bool(np.isclose(ours, value, rtol=1e-9, atol=1e-12, equal_nan=True))
    return Hand(derivative, value, agrees)


def _number(derivative: Any, at: Mapping[Any, float]) -> float | None:
    """SymPy's expression as a number, to 30 digits on the way; None at a pole and for what stays unevaluated."""
    import mpmath
    import sympy

    try:
        with mpmath.workdps(30):  # a hundred times as fast as evalf(subs=)
            function = sympy.lambdify(list(at), derivative, "mpmath", cse=True)
            return float(function(*map(mpmath.mpf, at.values())))
    except (TypeError, ValueError, ArithmeticError, NameError, NotImplementedError):
        pass  # a function that mpmath does not know; SymPy may
    if derivative.has(sympy.Integral):
        return None  # SymPy's quadrature takes minutes
    try:
        return float(derivative.evalf(30, subs={symbol: sympy.Float(v, 30) for symbol, v in at.items()}))
    except (TypeError, ValueError, ArithmeticError):
        return None
