"""The lecture: a `Lesson` put into words, in plain notation or in LaTeX's.

In: a `Lesson` and a tongue. Out: a `Said`, which holds strings only; a chain of equals is a tuple of its members.
Guarantee: every style says the same in the same order, since `blackboard` only lays out what is said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Node
from ..origin import statement_text
from ..registry import lookup
from .explain import Backstep, Hand, Lesson, Share
from .formula import PLAIN, Style, Text, expression, step, written_size
from .notation import literal
from .tongue import Tongue

__all__ = ["Back", "Pass", "Said", "Step", "said"]

_LARGEST = 60  # parts of a formula worth writing out


@dataclass(frozen=True)
class Step:
    """A forward step in words; `numbers` is empty for arrays, `source` where the line has been shown before."""

    name: str
    formula: str
    numbers: str
    value: str
    source: str


@dataclass(frozen=True)
class Pass:
    """What one operand receives, in words. For arrays there is no `slope`: the rule is in `product`."""

    slope: tuple[str, ...]
    target: str
    product: tuple[str, ...]


@dataclass(frozen=True)
class Back:
    """One value on the way back, in words: its step, its cotangent as a chain of equals, where it came from."""

    name: str
    formula: str
    cotangent: tuple[str, ...]
    reason: str
    rule: str
    passes: tuple[Pass, ...]


@dataclass(frozen=True)
class Said:
    """A whole lesson in words of one style."""

    call: str
    formula: str
    at: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    result: tuple[str, ...]
    backs: tuple[Back, ...]
    gradient: tuple[tuple[str, ...], ...]
    arrays: tuple[tuple[str, str], ...]
    hands: tuple[tuple[tuple[str, ...], str], ...]
    verdict: str


def said(lesson: Lesson, tongue: Tongue) -> Said:
    """The lesson in words, written in the notation of `tongue`."""
    graph, style = lesson.graph, tongue.style
    texts = {n.key: _operand(lesson, n, style) for n in graph.ordered()}
    f, inputs = style.name(lesson.name), [graph.node(k) for k in graph.inputs]
    small = written_size(graph, lesson.root) <= _LARGEST and not any(n.type.shape for n in graph.ordered())
    leaves = {k: texts[k] for k in graph.inputs}
    gradient = lesson.gradient
    arguments = ", ".join(style.number(lesson.values[n.key]) for n in inputs if not n.type.shape)
    called = f"{f}({arguments})" if all(not n.type.shape for n in inputs) else f
    return Said(
        call=f"{f}({', '.join(texts[n.key].text for n in inputs)})",
        formula=expression(graph, lesson.root, leaves, style).text if small else "",
        at=tuple((texts[n.key].text, _given(lesson, n.key, tongue)) for n in inputs),
        steps=tuple(_steps(lesson, texts, tongue)),
        result=tuple(dict.fromkeys([called, texts[lesson.root].text, tongue.value(lesson.values[lesson.root])])),
        backs=tuple(_backs(lesson, texts, tongue)),
        gradient=tuple(
            (tongue.partial(lesson.name, lesson.names[k]), *_cotangent(lesson, gradient[k], tongue)) for k in gradient
        ),
        arrays=tuple(
            (tongue.bar(lesson.names[k]), np.array2string(s.cotangent, precision=4, threshold=40, separator=", "))
            for k, s in gradient.items()
            if np.ndim(s.cotangent)
        ),
        hands=tuple(_hands(lesson, tongue)),
        verdict=_verdict(lesson, tongue),
    )


def _operand(lesson: Lesson, n: Node, style: Style) -> Text:
    value = literal(lesson.graph, n.key)
    return Text(style.name(lesson.names[n.key])) if value is None else style.constant(value)


def _given(lesson: Lesson, key: int, tongue: Tongue) -> str:
    v = lesson.values[key]
    return tongue.value(v) if np.shape(v) else tongue.style.number(v)


def _steps(lesson: Lesson, texts: dict[int, Text], tongue: Tongue) -> Iterator[Step]:
    graph, seen = lesson.graph, {""}
    for n in graph.ordered():
        if n.op == "input" or literal(graph, n.key) is not None:
            continue
        text = statement_text(n.origin, 80)
        source = f"{n.origin}: {text}" if text else ""
        scalar = all(graph.node(a).type.shape == () for a in n.args)
        yield Step(
            texts[n.key].text,
            "constant" if n.op == "constant" else step(graph, n, [texts[a] for a in n.args], tongue.style).text,
            _plugged(lesson, n, tongue.style) if scalar and n.args else "",
            tongue.value(lesson.values[n.key]),
            "" if source in seen else source,
        )
        seen.add(source)


def _plugged(lesson: Lesson, n: Node, style: Style) -> str:
    """The step with numbers in place of names."""
    return step(lesson.graph, n, [style.constant(np.asarray(lesson.values[a]).item()) for a in n.args], style).text


def _backs(lesson: Lesson, texts: dict[int, Text], tongue: Tongue) -> Iterator[Back]:
    told: set[str] = set()
    for back in lesson.backward:
        n = lesson.graph.node(back.key)
        op = lookup(n.op)
        formula = step(lesson.graph, n, [texts[a] for a in n.args], tongue.style).text if n.args else ""
        rule = f"{op.symbol}: {op.slope}" if op.slope and op.name not in told and back.shares else ""
        told.add(op.name)
        passes = tuple(_pass(lesson, back, share, texts, tongue) for share in back.shares)
        yield Back(
            texts[n.key].text, formula, _cotangent(lesson, back, tongue), _reason(lesson, back, tongue), rule, passes
        )


def _cotangent(lesson: Lesson, back: Backstep, tongue: Tongue) -> tuple[str, ...]:
    """`d_x`, then the sum spelled out where several shares met, then its value."""
    parts = [tongue.bar(lesson.names[back.key])]
    if len(back.arrived) > 1 and not np.ndim(back.cotangent):
        parts.append(" + ".join(tongue.factor(share.value) for share in back.arrived))
    return (*parts, tongue.value(back.cotangent))


def _reason(lesson: Lesson, back: Backstep, tongue: Tongue) -> str:
    if back.key == lesson.root:
        return "here it starts"
    if not back.arrived:
        return f"{tongue.inline(lesson.name)} does not depend on it smoothly"
    steps = dict.fromkeys(share.step for share in back.arrived)
    return f"from {_listed([tongue.inline(lesson.names[k]) for k in steps])}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _pass(lesson: Lesson, back: Backstep, share: Share, texts: dict[int, Text], tongue: Tongue) -> Pass:
    n, names, style = lesson.graph.node(share.step), lesson.names, tongue.style
    bar, target = tongue.bar(names[n.key]), tongue.bar(names[share.operand])
    value = tongue.value(share.value)
    known = dict(zip(share.rule.inputs, [Text(bar), texts[n.key], *(texts[a] for a in n.args)], strict=True))
    slope: tuple[str, ...] = ()
    product: tuple[str, ...] = (_written(share.rule, known, style, lookup(n.op).slope), value)
    if share.slope is not None:
        partial = tongue.partial(names[n.key], names[share.operand])
        place = f" (operand {share.number})" if share.times > 1 and style is PLAIN else ""
        formula = _written(share.slope, known, style, lookup(n.op).slope)
        shown = tongue.value(share.slope_value)
        constant = share.slope.node(share.slope.outputs[0]).op == "constant"
        slope = (partial + place, formula, *([] if constant else [shown]))
        with np.errstate(all="ignore"):
            exact = np.isclose(back.cotangent * share.slope_value, share.value, rtol=1e-9, atol=0, equal_nan=True)
        if exact:  # not so at 0*inf, where the rule is wiser than the product
            factors = tongue.factor(back.cotangent), tongue.factor(share.slope_value)
            product = (bar + tongue.times + partial, tongue.times.join(factors), value)
    return Pass(slope, target, product)


def _written(rule: Any, known: dict[int, Text], style: Style, fallback: str) -> str:
    key = rule.outputs[0]
    return (
        expression(rule, key, known, style).text if written_size(rule, key) <= _LARGEST else f"by the rule: {fallback}"
    )


def _hands(lesson: Lesson, tongue: Tongue) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(lesson.hand, str):
        return
    for key, hand in zip(lesson.graph.inputs, lesson.hand, strict=True):
        formula = tongue.sympy(hand.expression)
        formula = formula if len(formula) <= 400 else f"({len(formula)} characters)"
        value = "no number" if hand.value is None else tongue.value(hand.value)
        yield (tongue.partial(lesson.name, lesson.names[key]), formula, value), _judged(hand)


def _judged(hand: Hand) -> str:
    return {True: "agrees", False: "DISAGREES", None: "cannot be compared"}[hand.agrees]


def _verdict(lesson: Lesson, tongue: Tongue) -> str:
    if isinstance(lesson.hand, str):
        return f"Not asked: {tongue.prose(lesson.hand)}."
    names = [tongue.inline(lesson.names[k]) for k in lesson.graph.inputs]
    wrong = [name for name, hand in zip(names, lesson.hand, strict=True) if hand.agrees is False]
    silent = [name for name, hand in zip(names, lesson.hand, strict=True) if hand.agrees is None]
    if wrong:
        return (
            f"THEY DISAGREE for {_listed(wrong)}! At a kink (abs, relu, max at a tie) the slope is a matter of choice, "
            "and infinities may cancel in a formula; anywhere else this is a bug: please report it."
        )
    if silent:
        return f"SymPy has no number for {_listed(silent)} here" + ("; all others agree." if names != silent else ".")
    return "Both agree: the chain rule, step by step, and the formulas derived by hand."
