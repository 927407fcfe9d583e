"""Simplify: rewrite each node by a table of laws until none applies; equal nodes merge on the way.

In: a graph. Out: a graph that computes the same, with fewer or cheaper ops. Guarantee: a law changes no result beyond
rounding, keeps NaN and infinities, and keeps the sign of zero (so `x*0 -> 0` and `x + 0 -> x` are not laws).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from ..graph import Graph
from ..ops import square, where
from ..registry import OPS
from ..trace import Expr
from .array_laws import ARRAY_LAWS, of_broadcasts, of_filled
from .fold import fold
from .powers import multiplied_out
from .rewrite import About, rewritten

__all__ = ["LAWS", "apply_law", "number", "simplify"]

_HALF_OF_LARGEST = 2.0**1023
_HALVES = (0.5, -0.5)
_MODERATE = (
    2.0**512
)  # a product of two smaller constants does not overflow, and of two larger than 1/this not underflow

Law = Callable[..., Expr | None]


def simplify(graph: Graph) -> Graph:
    """`graph` after folding constants and applying the laws."""
    return rewritten(graph, fold, apply_law)


def _apply_law(e: Expr) -> Expr | None:
    """What the first law that fits makes of `e`, or None."""
    name, args = e.op.name, e.args
    for law in LAWS.get(name, ()):
        result = law(e, *args)
        if result is not None:
            return result
    if not e.type.shape and e.op.kind != "layout":
        return None
    result = of_broadcasts(e, *args)
    return of_filled(e, *args) if result is None else result


#: The ops whose laws are all about a number, a negation, or one operand twice: without these, no law is looked at.
_SPEAK_OF_OPERANDS = frozenset({"mul", "add", "sub", "div", "square", "abs", "cos", "cosh"})

#: The laws as one rule.
apply_law = About(OPS, _apply_law, _SPEAK_OF_OPERANDS)


def number(e: Expr) -> float | None:
    """The value of a constant scalar, also of one that is broadcast."""
    name = e.op.name
    while name == "broadcast_to":
        e = e.args[0]
        name = e.op.name
    value = e.params["value"] if name == "constant" else None
    return value if isinstance(value, float) else None


def _is(e: Expr, value: float) -> bool:
    n = number(e)
    return n is not None and n == value and math.copysign(1.0, n) == math.copysign(1.0, value)


def _negated(e: Expr) -> Expr | None:
    return e.args[0] if e.op.name == "neg" else None


def _exact(m: float | None, n: float | None) -> bool:
    """Whether the product of two constants is a number of float64, and none of the three is extreme."""
    if m is None or n is None or not all(1 / _MODERATE < abs(c) < _MODERATE for c in (m, n)):
        return False
    product = m * n
    if abs(product) > 1 / _MODERATE and (math.frexp(m)[0] in _HALVES or math.frexp(n)[0] in _HALVES):
        return True  # one is a power of two
    return Fraction(m) * Fraction(n) == Fraction(product)


def _mul_one(e: Expr, a: Expr, b: Expr) -> Expr | None:
    m, n = number(a), number(b)
    if m == 1.0 and b.shape == e.shape:
        return b
    if n == 1.0 and a.shape == e.shape:
        return a
    return -b if m == -1.0 else -a if n == -1.0 else None


def _mul_scaled(e: Expr, a: Expr, b: Expr) -> Expr | None:
    for scale, rest in ((a, b), (b, a)):
        if rest.op.name == "mul" and number(scale) is not None:
            for inner, x in (rest.args, rest.args[::-1]):
                if number(inner) is not None and _exact(number(scale), number(inner)):
                    return (scale * inner) * x
    return None


def _mul_signs(e: Expr, a: Expr, b: Expr) -> Expr | None:
    na, nb = _negated(a), _negated(b)
    if na is not None and nb is not None:
        return na * nb
    if na is not None:
        return na * -number(b) if number(b) is not None else -(na * b)  # type: ignore[operator]
    if nb is not None:
        return -number(a) * nb if number(a) is not None else -(a * nb)  # type: ignore[operator]
    return None


def _neg_product(e: Expr, a: Expr) -> Expr | None:
    if a.op.name not in ("mul", "div"):
        return None
    first = number(a.args[0])
    if first is not None:
        return a.op_call(-first, a.args[1])
    second = number(a.args[1])
    if second is not None and a.op.name == "div" and not e.origin.derived:  # there, -x/c may be subtracted
        return a.op_call(a.args[0], -second)
    return None


def _div_signs(e: Expr, a: Expr, b: Expr) -> Expr | None:
    na, nb = _negated(a), _negated(b)
    if na is not None and nb is not None:
        return na / nb
    if na is not None:
        return -(na / b)
    return -(a / nb) if nb is not None else None


def _power(e: Expr, x: Expr, exponent: Expr) -> Expr | None:
    n = number(exponent)
    return None if n is None else multiplied_out(e, x, n)


def _doubled(a: Expr) -> Expr | None:
    if a.op.name == "mul":
        for c, x in (a.args, a.args[::-1]):
            n = number(c)
            if n is not None and abs(n) < _HALF_OF_LARGEST:
                return (2.0 * n) * x
    return None


def _choose(e: Expr, condition: Expr, a: Expr, b: Expr) -> Expr | None:
    while condition.op.name == "broadcast_to":
        condition = condition.args[0]
    if condition.op.name == "constant" and isinstance(condition.params["value"], bool):
        return a if condition.params["value"] else b
    return a if a is b else None


def _choose_again(e: Expr, condition: Expr, a: Expr, b: Expr) -> Expr | None:
    if a.op.name == "where" and a.args[0] is condition:
        return where(condition, a.args[1], b)
    if b.op.name == "where" and b.args[0] is condition:
        return where(condition, a, b.args[2])
    return None


LAWS: dict[str, tuple[Law, ...]] = {
    "mul": (
        _mul_one,  # 1*x -> x, x*1 -> x, -1*x -> -x
        lambda e, a, b: square(a) if a is b else None,  # x*x -> square(x)
        _mul_signs,  # (-a)*(-b) -> a*b, (-a)*b -> -(a*b), (-a)*c -> (-c)*a
        _mul_scaled,  # c*(d*x) -> (c*d)*x where c*d is exact
    ),
    "add": (
        lambda e, a, b: None if _negated(b) is None else a - _negated(b),  # a + (-b) -> a - b
        lambda e, a, b: None if _negated(a) is None else b - _negated(a),  # (-a) + b -> b - a
        lambda e, a, b: a if _is(b, -0.0) else b if _is(a, -0.0) else None,  # x + (-0) -> x
        lambda e, a, b: _doubled(a) if a is b else None,  # c*x + c*x -> (2c)*x
        lambda e, a, b: a - abs(number(b) or 0.0) if (number(b) or 0.0) < 0.0 else None,  # x + (-c) -> x - c
    ),
    "sub": (
        lambda e, a, b: None if _negated(b) is None else a + _negated(b),  # a - (-b) -> a + b
        lambda e, a, b: a if _is(b, 0.0) else None,  # x - 0 -> x
        lambda e, a, b: a + abs(number(b) or 0.0) if (number(b) or 0.0) < 0.0 else None,  # x - (-c) -> x + c
    ),
    "neg": (
        lambda e, a: _negated(a),  # -(-x) -> x
        _neg_product,  # -(c*x) -> (-c)*x, -(c/x) -> (-c)/x, -(x/c) -> x/(-c)
    ),
    "div": (
        lambda e, a, b: a if _is(b, 1.0) else -a if _is(b, -1.0) else None,  # x/1 -> x
        _div_signs,  # (-a)/b -> -(a/b)
    ),
    "pow": (_power,),  # x**0 -> 1, x**1 -> x, x**-1 -> 1/x, x**2 -> square(x), x**0.5 -> sqrt(x), …
    "square": (
        lambda e, a: None if _negated(a) is None else square(_negated(a)),  # (-x)**2 -> x**2
    ),
    "abs": (lambda e, a: None if _negated(a) is None else e.op_call(_negated(a)),),  # abs(-x) -> abs(x)
    "cos": (lambda e, a: None if _negated(a) is None else e.op_call(_negated(a)),),  # cos(-x) -> cos(x)
    "cosh": (lambda e, a: None if _negated(a) is None else e.op_call(_negated(a)),),  # cosh(-x) -> cosh(x)
    "where": (
        _choose,  # where(true, a, b) -> a, where(c, a, a) -> a
        _choose_again,  # where(c, where(c, a, b), d) -> where(c, a, d)
    ),
    "logical_not": (lambda e, a: a.args[0] if a.op.name == "logical_not" else None,),  # not not c -> c
    **ARRAY_LAWS,
}
