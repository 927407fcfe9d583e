"""Stabilise: put a form that keeps its digits in the place of one that loses them.

`log(1 + exp(x)) -> softplus(x)`: in a graph as the user wrote it, and in its joint graph, where the chain rule may have
made such forms too. Each law is one line of a table: the formula as people write it, and what stands in its place.
Guarantee: the new form is nowhere worse than the old one by more than one unit in the last place (two for
`sech(x)^2`; results below the normal range aside; a solution in the place of a product with an inverse has a backward
error of a few units), and an infinity or NaN gives way only to the value, or the limit, that the mathematics has there.
What was rewritten, and where in the user's file, comes back as `Rewrites`.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from ..errors import TargetError
from ..graph import Graph, Node
from ..ops import (
    absolute,
    broadcast_to,
    cos,
    cosh,
    erf,
    exp,
    expand_dims,
    expm1,
    linalg,
    log,
    log1p,
    logsumexp,
    sigmoid,
    sin,
    sinh,
    softmax,
    softplus,
    sqrt,
    square,
    squeeze,
    sum,
    tan,
    tanh,
)  # fmt: skip
from ..origin import Origin, statement_text
from ..registry import OPS
from ..trace import Expr, recording, registry_function, symbol
from .fold import fold
from .matching import Operands, fits, heads, match, operands_of, unsigned
from .regions import with_bodies
from .rewrite import Rule, first_of, rewritten
from .simplify import apply_law, number

__all__ = ["LAWS", "Law", "Rewrite", "Rewrites", "stabilise"]


@dataclass(frozen=True)
class Law:
    """One law.

    `text` states it. `naive` is the formula as people write it, which is what the pass looks for; `stable` stands in
    its place, for the same operands. `gains` says where that matters, and `at` gives such points for the tests. A law
    about a reduction has `find` instead of `stable`, which returns the replacement of a value or None, and `naive` is a
    formula of a vector (of matrices, if the law is about them). A law whose ops are not in the table is left out.
    """

    text: str
    naive: Callable[..., Expr]
    stable: Callable[..., Expr] | None
    gains: str
    at: tuple[tuple[Any, ...], ...]
    find: Callable[[Expr], Expr | None] = lambda e: None
    tried_on: tuple[str, ...] = ()  # of a law with `find`: an op and its operands ("": any)
    needs: str = "input"  # of a law with `find`: the op that it makes
    alone: str = ""  # of a law with `find`: the op among `tried_on` whose value nothing may need but laws that say so


@dataclass(frozen=True)
class Rewrite:
    """One law at work on one line: the law, the place, the user's statement, and how many values it changed there."""

    law: str
    file: str
    line: int
    statement: str
    times: int
    in_gradient: bool

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file or "?"
        times = f", {self.times} times" if self.times > 1 else ""
        return f"{place}  {self.law}{times}{' (in the gradient)' if self.in_gradient else ''}"


class Rewrites(tuple[Rewrite, ...]):
    """What was rewritten, in the order in which it was found; `str()` of it is a report."""

    __slots__ = ()

    def __str__(self) -> str:
        if not self:
            return "no formula was rewritten"
        lines = [f"{len(self)} rewritten for stability:" if len(self) > 1 else "1 rewritten for stability:"]
        for r in self:
            lines += [f"  {r}", f"      {r.statement}"] if r.statement else [f"  {r}"]
        return "\n".join(lines)


def stabilise(graph: Graph) -> tuple[Graph, Rewrites]:
    """`graph`, simplified and in stable forms, with what was rewritten; `graph` itself if no law applies."""
    found: dict[tuple[str, Origin], int] = {}

    def here(part: Graph) -> Graph:
        candidates = _promising(part)
        if not candidates or not _fruitful(part, candidates):
            return part
        before = builtins.sum(found.values())
        kept = _kept(part)
        wanted: set[int] = set()

        def note(n: Node, exprs: Sequence[Expr]) -> None:
            wanted.update(exprs[a].serial for a in n.args if a in kept)

        stable = rewritten(part, fold, _simplified, _rule(_table(), found, wanted), replace=note)
        return stable if builtins.sum(found.values()) > before else part

    stable = with_bodies(graph, here)
    if not found:
        return graph, Rewrites()
    return stable, Rewrites(
        Rewrite(law, at.file, at.line, statement_text(at), times, at.derived) for (law, at), times in found.items()
    )


def _that_leaves_the_slope(e: Expr) -> Expr | None:
    """A law of `simplify` that leaves the slope alone: `x*sqrt(x)` has none at 0 and infinity, where `x**1.5` has."""
    exponent = number(e.args[1]) if e.op.name == "pow" else None
    return None if exponent is not None and abs(exponent) == 1.5 else apply_law(e)


_simplified = replace(apply_law, rule=_that_leaves_the_slope)


def _kept(graph: Graph) -> set[int]:
    """The values that a law may take the place of only where nothing else needs them, and that something else needs."""
    table = _table()
    ops = {row.law.alone for rows in table.values() for row in rows if row.law.alone}
    kinds = {n.key: n.op for n in graph.ordered()}
    kept = {k for k in (*graph.outputs, *graph.cotangents) if kinds[k] in ops}
    for n in graph.ordered():
        operands = [kinds[a] for a in n.args]
        if not any(kind in ops for kind in operands):
            continue
        used = {row.law.alone for row in table.get(n.op, ()) if fits(row.operands, operands, n.op)}
        if n.origin.derived or len({*n.args}) < len(n.args):
            used = set()
        kept.update(a for a in n.args if kinds[a] in ops - used)
    return kept


def _offset(pattern: Expr) -> float | None:
    """The number in a sum of a number and something else, times the sign of that: -1 for `1 - cos(x)`."""
    if pattern.op.name not in ("add", "sub"):
        return None
    (first, a), (second, b) = map(unsigned, pattern.args)
    for n, other in ((number(a), b), (number(b), a)):
        if n is not None and number(other) is None:
            return -n if first ^ second ^ (pattern.op.name == "sub") else n
    return None


_POWERS = {2.0: "square", -1.0: "reciprocal"}
_SUMS = ("add", "sub")
_SIGNED_OUT = ("mul", "div")  # a sign of an operand may become one of the result
_TRANSPARENT = ("neg", "broadcast_to", "reshape", "expand_dims")


def _power(exponent: Any) -> str:
    return _POWERS.get(exponent, "pow") if isinstance(exponent, float) else "pow"


def _fruitful(graph: Graph, candidates: Sequence[int]) -> bool:
    """Whether a law does apply to one of the candidates, tried on what they are made of where that is a small part."""
    cone = set(candidates)
    for key in range(max(candidates), -1, -1):
        if key in cone:
            cone.update(graph.node(key).args)
    if 2 * len(cone) > len(graph) or not all(key in graph for key in cone):
        return True  # as it is faster to try on all of it at once
    found: dict[tuple[str, Origin], int] = {}
    rewritten(graph.rooted(candidates), fold, _simplified, _rule(_table(), found))
    return bool(found)


def _promising(graph: Graph) -> list[int]:
    """The values to which a law may apply once the graph is simplified: rebuilding it for nothing would cost much."""
    table = _table()
    candidates = _candidates(table)
    known: dict[tuple[str, ...], bool] = {}  # whether a law may apply to an op of operands of these kinds
    kinds: dict[int, str] = {}
    kind_of = kinds.__getitem__
    numbers: dict[int, Any] = {}
    negative: set[int] = set()  # what is some value with the other sign
    unclear: set[int] = set()
    promising: list[int] = []

    def has_offset(op: str, args: Sequence[int], rows: Sequence[_Row]) -> bool:
        """Whether a sum has the number that one of the laws speaks of."""
        for at, other in (args, args[::-1]):
            n = numbers.get(at)
            if isinstance(n, float) and other not in numbers and kinds[other] not in _SIGNED_OUT:
                offset = -n if (other in negative) != (op == "sub") else n
                return any(row.offset is None or row.offset == offset for row in rows)
        return True

    for key, op, args, params, _, _ in graph.ordered():
        if op == "constant":
            numbers[key] = params["value"]
        elif op in _TRANSPARENT:
            if args[0] in numbers:
                numbers[key] = -numbers[args[0]] if op == "neg" else numbers[args[0]]
            elif (args[0] in negative) != (op == "neg"):
                negative.add(key)
        elif op == "mul":
            first, second = args
            if first in numbers or second in numbers:  # 1*x -> x
                factor, other = (numbers[first], second) if first in numbers else (numbers[second], first)
                kinds[key] = kinds[other]
                if not isinstance(factor, float):
                    unclear.add(key)
                elif (other in negative) != (factor < 0.0):
                    negative.add(key)
                continue
            if first == second:
                op, args = "square", (first,)
        elif op == "pow" and args[1] in numbers:  # x**2 -> square(x), x**-1 -> 1/x
            op, args = _power(numbers[args[1]]), args[:1]
        if op in table:
            sort = (op, *map(kind_of, args))
            if sort not in known:
                known[sort] = bool(candidates(*sort))
            if known[sort] and (op not in _SUMS or unclear or has_offset(op, args, candidates(*sort))):
                promising.append(key)
        kinds[key] = kinds[args[0]] if op in _TRANSPARENT else op
    return promising


# --- from the table to a rule -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A law, ready to be tried: on which ops, of which operands, and what it makes of a value (None: nothing)."""

    law: Law
    heads: tuple[str, ...]
    operands: Operands
    apply: Callable[[Expr], Expr | None]
    offset: float | None = None  # of a law about the sum of a number and something else, see `_offset`


Table = Mapping[str, Sequence[_Row]]


def _candidates(table: Table) -> Callable[..., Sequence[_Row]]:
    """The laws that may apply to an op of operands of given kinds."""

    @cache
    def found(op: str, *kinds: str) -> Sequence[_Row]:
        return [row for row in table.get(op, ()) if fits(row.operands, kinds, op)]

    return found


def _rule(table: Table, found: dict[tuple[str, Origin], int], wanted: Set[int] = frozenset()) -> Rule:
    """The rule that applies the laws and counts in `found` what it did; `wanted` are the serials of values to keep."""
    candidates = _candidates(table)

    def rule(e: Expr) -> Expr | None:
        if e.op.name not in table or e.type.dtype.kind != "float":
            return None
        for row in candidates(e.op.name, *[_behind_layout(a).op.name for a in e.args]):
            if row.law.alone and any(a.serial in wanted for a in e.args):
                continue
            result = row.apply(e)
            if result is not None:
                key = row.law.text, replace(e.origin, name=None, rule="")
                found[key] = found.get(key, 0) + 1
                return result
        return None

    return rule


@cache
def _table() -> Table:
    """The laws by the ops they are tried on. Patterns are what the passes have made of a formula by then."""
    table: dict[str, list[_Row]] = {}
    for law in LAWS:
        row = _row(law, first_of(fold, apply_law, _rule(table, {})))
        if row is not None:
            for head in row.heads:
                table.setdefault(head, []).append(row)
    return table


def _row(law: Law, known: Rule) -> _Row | None:
    if law.stable is None:
        head, *operands = law.tried_on
        wanted = tuple(frozenset((o,)) if o else None for o in operands)
        return _Row(law, (head,), wanted, law.find) if law.needs in OPS else None
    try:
        with recording(known):
            symbols = tuple(symbol(name) for name in inspect.signature(law.naive).parameters)
            pattern = law.naive(*symbols)
        with recording():
            law.stable(*symbols)
    except TargetError:  # an op that is not in the table
        return None
    return _Row(
        law, heads(pattern), operands_of(pattern), partial(_matched, pattern, symbols, law.stable), _offset(pattern)
    )


def _matched(pattern: Expr, symbols: Sequence[Expr], stable: Callable[..., Expr], e: Expr) -> Expr | None:
    readings = list(match(pattern, e))
    if not readings:
        return None
    found, negative = min(readings, key=lambda reading: builtins.sum(map(_looks_negative, reading[0].values())))
    result = stable(*(found[s.serial] for s in symbols))
    result = -result if negative else result
    return result if result.shape == e.shape else broadcast_to(result, e.shape)


def _looks_negative(e: Expr) -> bool:
    """Of `cosh(x)` and `cosh(-x)`, both right readings of one sum, the first is wanted."""
    factors = e.args if e.op.name == "mul" else (e,)
    return any(f.op.name == "neg" or (number(f) or 0.0) < 0.0 for f in factors)


def _op(name: str) -> Callable[..., Expr]:
    return registry_function(name)


# --- laws about reductions --------------------------------------------------------------------------------------------


def _log_sum_exp(e: Expr) -> Expr | None:
    (total,) = e.args
    powers = total.args[0]
    if total.op.name != "sum" or powers.op.name != "exp" or _shifted(powers.args[0]):
        return None
    if not all(isinstance(d, int) and d > 0 for d in powers.shape):
        return None
    return logsumexp(powers.args[0], total.params["axis"], total.params["keepdims"])


def _shifted(x: Expr) -> bool:
    """Whether `x` is `v - max(v)`: who wrote that has taken care, and a second search for the maximum would cost."""
    if x.op.name != "sub":
        return False
    shift = _behind_layout(x.args[1])
    return shift.op.name == "max" and shift.args[0] is x.args[0]


def _behind_layout(e: Expr) -> Expr:
    """What `e` is made of, but for its sign and its shape."""
    while e.op.name in _TRANSPARENT:
        e = e.args[0]
    return e


def _quotient_of_exp(e: Expr) -> Expr | None:
    a, b = e.args
    total = _behind_layout(b)
    if a.op.name != "exp" or total.op.name != "sum" or total.args[0] is not a or _shifted(a.args[0]):
        return None
    axis = total.params["axis"]
    kept = tuple(1 if i in axis else d for i, d in enumerate(a.shape))
    beside = b.args[0].shape if b.op.name == "broadcast_to" else b.shape
    if beside != kept and not (beside == () and len(axis) == a.ndim):
        return None  # the sums stand beside other elements than their own
    return softmax(a.args[0], axis)


def _log_of_softmax(e: Expr) -> Expr | None:
    (p,) = e.args
    return _op("log_softmax")(p.args[0], axis=p.params["axis"]) if p.op.name == "softmax" else None


def _entropy_of_softmax(e: Expr) -> Expr | None:
    for p, q in (e.args, e.args[::-1]):
        if p.op.name == "softmax" and q.op.name == "log_softmax" and p.args[0] is q.args[0] and p.params == q.params:
            return _op("xlogx")(p)
    return None


def _norm(e: Expr) -> Expr | None:
    (a,) = e.args
    if any(not isinstance(d, int) for arg in a.args for d in arg.shape):
        return None
    if a.op.name == "matmul" and a.args[0] is a.args[1] and a.args[0].ndim == 1:
        return _op("vector_norm")(a.args[0], axis=(0,), keepdims=False)
    if a.op.name == "sum" and a.args[0].op.name == "square":
        return _op("vector_norm")(a.args[0].args[0], axis=a.params["axis"], keepdims=a.params["keepdims"])
    return None


def _divided_on_the_left(e: Expr) -> Expr | None:
    inverse, b = e.args
    return None if inverse.origin.derived else linalg.solve(inverse.args[0], b)


def _divided_on_the_right(e: Expr) -> Expr | None:
    b, inverse = e.args
    if inverse.origin.derived:
        return None
    right = expand_dims(b, 1) if b.ndim == 1 else linalg.matrix_transpose(b)
    y = _op("solve")(inverse.args[0], right, trans=True)  # the same factors as those of solve(a, ...)
    return squeeze(y, -1) if b.ndim == 1 else linalg.matrix_transpose(y)


# --- the table --------------------------------------------------------------------------------------------------------
#
# Where two laws begin alike, the more special one stands first; a law that builds on another stands below it.

_NEAR_0 = ((1e-12,), (-3e-9,))
_HUGE = ((1e3,), (5e4,))

LAWS: tuple[Law, ...] = (
    # exponentials
    Law("exp(x) - 1 -> expm1(x)", lambda x: exp(x) - 1.0, lambda x: expm1(x), "x near 0", _NEAR_0),
    Law("exp(x) - exp(-x) -> 2*sinh(x)", lambda x: exp(x) - exp(-x), lambda x: 2.0 * sinh(x), "x near 0", _NEAR_0),
    Law("exp(x) + exp(-x) -> 2*cosh(x)", lambda x: exp(x) + exp(-x), lambda x: 2.0 * cosh(x), "the slope near 0", ()),
    # logarithms
    Law("log(1 + exp(x)) -> softplus(x)", lambda x: log(1.0 + exp(x)), lambda x: softplus(x), "huge |x|",
        (*_HUGE, (-40.0,))),
    Law("log1p(exp(x)) -> softplus(x)", lambda x: log1p(exp(x)), lambda x: softplus(x), "huge x", _HUGE),
    Law("log(exp(x) + exp(y)) -> logaddexp(x, y)", lambda x, y: log(exp(x) + exp(y)),
        lambda x, y: _op("logaddexp")(x, y), "huge |x| or |y|", ((1e3, 1.0), (-900.0, -1e3))),
    Law("log(1 - exp(x)) -> log1mexp(x)", lambda x: log(1.0 - exp(x)), lambda x: _op("log1mexp")(x),
        "x near 0 and far below", ((-1e-12,), (-40.0,))),
    Law("log1p(-exp(x)) -> log1mexp(x)", lambda x: log1p(-exp(x)), lambda x: _op("log1mexp")(x), "x near 0",
        ((-1e-12,),)),
    Law("log(exp(x)) -> x", lambda x: log(exp(x)), lambda x: x, "x near 0, huge |x|", (*_NEAR_0, *_HUGE)),
    Law("log(sqrt(x)) -> log(x)/2", lambda x: log(sqrt(x)), lambda x: 0.5 * log(x), "x near 1", ((1.0 + 1e-12,),)),
    Law("log(cosh(x)) -> logcosh(x)", lambda x: log(cosh(x)), lambda x: _op("logcosh")(x), "x near 0, huge |x|",
        ((1e-5,), *_HUGE)),
    Law("log((1 + x)/(1 - x)) -> 2*atanh(x)", lambda x: log((1.0 + x) / (1.0 - x)), lambda x: 2.0 * _op("atanh")(x),
        "x near 0", _NEAR_0),
    Law("log(x + sqrt(x*x + 1)) -> asinh(x)", lambda x: log(x + sqrt(x * x + 1.0)), lambda x: _op("asinh")(x),
        "x near 0, huge |x|", (*_NEAR_0, (-1e9,), (1e200,))),
    # the logistic function
    Law("1/(1 + exp(-x)) -> sigmoid(x)", lambda x: 1.0 / (1.0 + exp(-x)), lambda x: sigmoid(x), "the slope for huge x",
        ()),
    Law("exp(x)/(1 + exp(x)) -> sigmoid(x)", lambda x: exp(x) / (1.0 + exp(x)), lambda x: sigmoid(x), "huge x", _HUGE),
    Law("1 - sigmoid(x) -> sigmoid(-x)", lambda x: 1.0 - sigmoid(x), lambda x: sigmoid(-x), "huge x",
        ((30.0,), (300.0,))),
    Law("log(sigmoid(x)) -> -softplus(-x)", lambda x: log(sigmoid(x)), lambda x: -softplus(-x), "huge |x|",
        ((40.0,), (-1e3,))),
    # reductions of exponentials
    Law("log(sum(exp(x))) -> logsumexp(x)", lambda x: log(sum(exp(x))), None, "huge |x|",
        (([1e3, 999.0, 1.0],), ([-1e3, -999.0, -998.0],)), find=_log_sum_exp, tried_on=("log", "sum")),
    Law("exp(x)/sum(exp(x)) -> softmax(x)", lambda x: exp(x) / sum(exp(x)), None, "huge |x|",
        (([1e3, 999.0, 1.0],), ([-1e3, -999.0, -998.0],)), find=_quotient_of_exp, tried_on=("div", "exp", "sum")),
    Law("log(softmax(x)) -> log_softmax(x)", lambda x: log(softmax(x)), None, "huge differences",
        (([1e3, 1.0, -1.0],),), find=_log_of_softmax, tried_on=("log", "softmax"), needs="log_softmax"),
    Law("p*log(p) -> xlogx(p), p = softmax(x)", lambda x: softmax(x) * log(softmax(x)), None, "p = 0",
        (([1e3, 1.0, -1.0],),), find=_entropy_of_softmax, tried_on=("mul", "softmax", "log_softmax"),
        needs="log_softmax"),
    Law("log(1 + x) -> log1p(x)", lambda x: log(1.0 + x), lambda x: log1p(x), "x near 0", _NEAR_0),
    # hyperbolic functions
    Law("sinh(x)/cosh(x) -> tanh(x)", lambda x: sinh(x) / cosh(x), lambda x: tanh(x), "huge |x|", (*_HUGE, (-1e3,))),
    Law("(exp(x) - exp(-x))/(exp(x) + exp(-x)) -> tanh(x)", lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
        lambda x: tanh(x), "x near 0, huge |x|", (*_NEAR_0, *_HUGE)),
    Law("(exp(x) - 1)/(exp(x) + 1) -> tanh(x/2)", lambda x: (exp(x) - 1.0) / (exp(x) + 1.0), lambda x: tanh(0.5 * x),
        "x near 0, huge x", (*_NEAR_0, *_HUGE)),
    Law("1 - tanh(x)^2 -> sech(x)^2", lambda x: 1.0 - tanh(x) ** 2, lambda x: _op("sech2")(x), "huge |x|",
        ((15.0,), (-30.0,))),
    # sine and cosine
    Law("1 - cos(x) -> versin(x)", lambda x: 1.0 - cos(x), lambda x: _op("versin")(x), "x near 0", ((1e-5,), (1e-9,))),
    Law("1 - cos(x)^2 -> sin(x)^2", lambda x: 1.0 - cos(x) ** 2, lambda x: square(sin(x)), "x near 0", ((1e-5,),)),
    Law("1 - sin(x)^2 -> cos(x)^2", lambda x: 1.0 - sin(x) ** 2, lambda x: square(cos(x)), "x near pi/2",
        ((1.57079,),)),
    Law("(1 - cos(x))/x^2 -> (sin(x/2)/(x/2))^2/2", lambda x: (1.0 - cos(x)) / x**2,
        lambda x: 0.5 * square(_op("sin_over_x")(0.5 * x)), "x near 0", ((1e-5,), (1e-200,), (0.0,))),
    Law("(1 - cos(x))/x -> sin(x/2)*sin(x/2)/(x/2)", lambda x: (1.0 - cos(x)) / x,
        lambda x: sin(0.5 * x) * _op("sin_over_x")(0.5 * x), "x near 0", ((1e-5,), (0.0,))),
    Law("(1 - cos(x))/sin(x) -> tan(x/2)", lambda x: (1.0 - cos(x)) / sin(x), lambda x: tan(0.5 * x), "x near 0",
        ((1e-5,), (0.0,))),
    Law("sin(x)/(1 + cos(x)) -> tan(x/2)", lambda x: sin(x) / (1.0 + cos(x)), lambda x: tan(0.5 * x), "x near pi",
        ((3.14159,),)),
    # quotients with a limit at 0
    Law("sin(x)/x -> sin_over_x(x)", lambda x: sin(x) / x, lambda x: _op("sin_over_x")(x), "x = 0", ((0.0,),)),
    Law("sinh(x)/x -> sinh_over_x(x)", lambda x: sinh(x) / x, lambda x: _op("sinh_over_x")(x), "x = 0", ((0.0,),)),
    Law("tanh(x)/x -> tanh_over_x(x)", lambda x: tanh(x) / x, lambda x: _op("tanh_over_x")(x), "x = 0", ((0.0,),)),
    Law("(exp(x) - 1)/x -> expm1_over_x(x)", lambda x: (exp(x) - 1.0) / x, lambda x: _op("expm1_over_x")(x), "x near 0",
        ((0.0,), *_NEAR_0)),
    Law("x/sin(x) -> x_over_sin(x)", lambda x: x / sin(x), lambda x: _op("x_over_sin")(x), "x = 0", ((0.0,),)),
    Law("x/sinh(x) -> x_over_sinh(x)", lambda x: x / sinh(x), lambda x: _op("x_over_sinh")(x), "x = 0",
        ((0.0,),)),
    Law("x/tanh(x) -> x_over_tanh(x)", lambda x: x / tanh(x), lambda x: _op("x_over_tanh")(x), "x = 0",
        ((0.0,),)),
    Law("x/(exp(x) - 1) -> x_over_expm1(x)", lambda x: x / (exp(x) - 1.0), lambda x: _op("x_over_expm1")(x),
        "x near 0", ((0.0,), *_NEAR_0)),
    Law("x*log(x) -> xlogx(x)", lambda x: x * log(x), lambda x: _op("xlogx")(x), "x = 0", ((0.0,),)),
    # squares and roots
    Law("1 - x*x -> (1 - x)*(1 + x)", lambda x: 1.0 - x * x, lambda x: _op("difference_of_squares")(1.0, x),
        "|x| near 1", ((1.0 + 1e-9,), (-1.0 + 1e-9,))),
    Law("x*x - y*y -> (x - y)*(x + y)", lambda x, y: x * x - y * y, lambda x, y: _op("difference_of_squares")(x, y),
        "|x| near |y|", ((0.3, 0.3 + 1e-9), (1e200, 2e200))),
    Law("sqrt(1 + x) - 1 -> x/(1 + sqrt(1 + x))", lambda x: sqrt(1.0 + x) - 1.0, lambda x: _op("sqrt1pm1")(x),
        "x near 0", _NEAR_0),
    Law("|x|^2 -> x^2", lambda x: absolute(x) ** 2, lambda x: square(x), "the curvature at 0", ()),
    Law("sqrt(x*x) -> |x|", lambda x: sqrt(x * x), lambda x: absolute(x), "huge and tiny |x|", ((1e200,), (-1e-200,))),
    Law("sqrt(x*x + y*y) -> hypot(x, y)", lambda x, y: sqrt(x * x + y * y), lambda x, y: _op("hypot")(x, y),
        "huge and tiny |x|, |y|", ((1e200, 1.0), (1e-200, -2e-200))),
    Law("sqrt(sum(x*x)) -> vector_norm(x)", lambda x: sqrt(sum(x * x)), None, "the slope at 0", (),
        find=_norm, tried_on=("sqrt", "sum"), needs="vector_norm"),
    Law("sqrt(x @ x) -> vector_norm(x)", lambda x: sqrt(x @ x), None, "the slope at 0", (),
        find=_norm, tried_on=("sqrt", "matmul"), needs="vector_norm"),
    # inverses that the user has written, where nothing else needs them
    Law("inv(a) @ b -> solve(a, b)", lambda a, b: linalg.inv(a) @ b, None,
        "the residual of a solution smaller than |inv(a)|*|b|", (),
        find=_divided_on_the_left, tried_on=("matmul", "inv", ""), needs="solve", alone="inv"),
    Law("b @ inv(a) -> solve(a.T, b.T).T", lambda a, b: b @ linalg.inv(a), None,
        "the residual of a solution smaller than |inv(a)|*|b|", (),
        find=_divided_on_the_right, tried_on=("matmul", "", "inv"), needs="solve", alone="inv"),
    # the error function
    Law("1 - erf(x) -> erfc(x)", lambda x: 1.0 - erf(x), lambda x: _op("erfc")(x), "large x", ((5.0,), (20.0,))),
    Law("1 + erf(x) -> erfc(-x)", lambda x: 1.0 + erf(x), lambda x: _op("erfc")(-x), "large -x", ((-5.0,), (-20.0,))),
)  # fmt: skip
