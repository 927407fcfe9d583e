"""Simplify: rewrite each node by a table of laws until none applies; equal nodes merge on the way.

In: a graph. Out: a graph that computes the same, with fewer or cheaper ops. Guarantee: a law changes no result beyond
rounding, keeps NaN and infinities, and keeps the sign of zero (so `x*0 -> 0` and `x + 0 -> x` are not laws).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..graph import Graph
from ..ops import broadcast_to, reciprocal, reshape, square, transpose
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten

__all__ = ["LAWS", "apply_law", "number", "simplify"]

_HALF_OF_LARGEST = 2.0**1023

Law = Callable[..., Expr | None]


def simplify(graph: Graph) -> Graph:
    """`graph` after folding constants and applying the laws."""
    return rewritten(graph, fold, apply_law)


def apply_law(e: Expr) -> Expr | None:
    """What the first law that fits makes of `e`, or None."""
    for law in (*LAWS.get(e.op.name, ()), _of_broadcasts):
        result = law(e, *e.args)
        if result is not None:
            return result
    return None


def number(e: Expr) -> float | None:
    """The value of a constant scalar, also of one that is broadcast."""
    while e.op.name == "broadcast_to":
        e = e.args[0]
    value = e.params["value"] if e.op.name == "constant" else None
    return value if isinstance(value, float) else None


def _is(e: Expr, value: float) -> bool:
    n = number(e)
    return n is not None and n == value and math.copysign(1.0, n) == math.copysign(1.0, value)


def _negated(e: Expr) -> Expr | None:
    return e.args[0] if e.op.name == "neg" else None


def _power_of_two(e: Expr) -> bool:
    n = number(e)
    return n is not None and n != 0 and math.isfinite(n) and abs(math.frexp(n)[0]) == 0.5


def _mul_scaled(e: Expr, a: Expr, b: Expr) -> Expr | None:
    for scale, rest in ((a, b), (b, a)):
        if number(scale) is not None and rest.op.name == "mul":
            for inner, x in (rest.args, rest.args[::-1]):
                if number(inner) is not None and (_power_of_two(scale) or _power_of_two(inner)):
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
    return None


def _div_signs(e: Expr, a: Expr, b: Expr) -> Expr | None:
    na, nb = _negated(a), _negated(b)
    if na is not None and nb is not None:
        return na / nb
    if na is not None:
        return -(na / b)
    return -(a / nb) if nb is not None else None


def _small_power(e: Expr, x: Expr, exponent: Expr) -> Expr | None:
    n = number(exponent)
    if n is None or n != int(n) or not 2 <= abs(n) <= 4:
        return None
    power = {2: lambda: square(x), 3: lambda: square(x) * x, 4: lambda: square(square(x))}[int(abs(n))]()
    return power if n > 0 else reciprocal(power)


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


def _sum_of_broadcast(e: Expr, x: Expr) -> Expr | None:
    if x.op.name != "broadcast_to" or e.params["keepdims"] or x.args[0].shape != ():
        return None
    count = math.prod(d for i, d in enumerate(x.shape) if i in e.params["axis"] and isinstance(d, int))
    if any(not isinstance(d, int) for d in x.shape):
        return None
    scaled = x.args[0] * float(count)
    return broadcast_to(scaled, e.shape) if e.shape else scaled


def _of_broadcasts(e: Expr, *args: Expr) -> Expr | None:
    """f(broadcast(a), broadcast(b)) -> broadcast(f(a, b)) for scalars a, b: one operation instead of many."""
    if e.op.kind != "elementwise" or not e.shape:
        return None
    if any(a.op.name != "broadcast_to" or a.args[0].shape != () for a in args):
        return None
    return broadcast_to(e.op_call(*(a.args[0] for a in args), **e.params), e.shape)


def _part_of_stack(e: Expr, x: Expr) -> Expr | None:
    key = e.params["key"]
    if x.op.name != "stack" or x.params["axis"] != 0 or not isinstance(key[0], int):
        return None
    part = x.args[key[0]]
    return part if len(key) == 1 else e.op_call(part, key=key[1:])


def _inverse_of(name: str) -> Law:
    return lambda e, x: x.args[0] if x.op.name == name and x.args[0].shape == e.shape else None


LAWS: dict[str, tuple[Law, ...]] = {
    "mul": (
        lambda e, a, b: b if _is(a, 1.0) and b.shape == e.shape else None,  # 1*x -> x
        lambda e, a, b: a if _is(b, 1.0) and a.shape == e.shape else None,  # x*1 -> x
        lambda e, a, b: -b if _is(a, -1.0) else -a if _is(b, -1.0) else None,  # -1*x -> -x
        lambda e, a, b: square(a) if a is b else None,  # x*x -> square(x)
        _mul_signs,  # (-a)*(-b) -> a*b, (-a)*b -> -(a*b), (-a)*c -> (-c)*a
        _mul_scaled,  # c*(d*x) -> (c*d)*x where c or d is a power of two, so that nothing is rounded twice
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
        _neg_product,  # -(c*x) -> (-c)*x, -(c/x) -> (-c)/x
    ),
    "div": (
        lambda e, a, b: a if _is(b, 1.0) else -a if _is(b, -1.0) else None,  # x/1 -> x
        _div_signs,  # (-a)/b -> -(a/b)
    ),
    "pow": (
        lambda e, x, n: broadcast_to(1.0, e.shape) if number(n) == 0 else None,  # x**0 -> 1
        lambda e, x, n: x if _is(n, 1.0) else reciprocal(x) if _is(n, -1.0) else None,  # x**1 -> x, x**-1 -> 1/x
        _small_power,  # x**2 -> square(x), x**3 -> x*x*x, x**4 -> square(square(x))
    ),
    "square": (
        lambda e, a: None if _negated(a) is None else square(_negated(a)),  # (-x)**2 -> x**2
    ),
    "where": (_choose,),  # where(true, a, b) -> a, where(c, a, a) -> a
    "broadcast_to": (
        lambda e, x: x if x.shape == e.shape else None,  # broadcast to the same shape -> x
        lambda e, x: broadcast_to(x.args[0], e.shape) if x.op.name == "broadcast_to" else None,  # twice -> once
    ),
    "reshape": (
        lambda e, x: x if x.shape == e.shape else None,  # to the same shape -> x
        lambda e, x: reshape(x.args[0], e.shape) if x.op.name == "reshape" else None,  # twice -> once
        lambda e, x: (
            broadcast_to(x.args[0], e.shape) if x.op.name == "broadcast_to" and x.args[0].shape == () else None
        ),
        lambda e, x: broadcast_to(x, e.shape) if x.shape == () else None,  # of a scalar -> broadcast
    ),
    "transpose": (
        lambda e, x: (
            transpose(x.args[0], [x.params["axes"][a] for a in e.params["axes"]]) if x.op.name == "transpose" else None
        ),  # twice -> once, or nothing
    ),
    "expand_dims": (
        _inverse_of("squeeze"),
        lambda e, x: broadcast_to(x, e.shape) if x.shape == () else None,  # of a scalar -> broadcast
    ),
    "squeeze": (_inverse_of("expand_dims"),),
    "sum": (
        lambda e, x: x if not e.params["axis"] else None,  # over no axis -> x
        _sum_of_broadcast,  # n copies of x -> n*x
    ),
    "index": (_part_of_stack,),  # stack(a, b, …)[i] -> the i-th
    "logical_not": (lambda e, a: a.args[0] if a.op.name == "logical_not" else None,),  # not not c -> c
}
