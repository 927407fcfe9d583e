"""Fast maths: regroup sums and products as algebra allows, though rounding does not.

Only with `compile(..., fast_math=True)`. In: an expression. Out: one with fewer operations that is equal for real
numbers; its rounding differs, and so do overflow and underflow on the way. NaN and infinities of the operands stay:
`x*0` is no 0 here either, and no law assumes that numbers are finite.
"""

from __future__ import annotations

import math
import sys

from ..trace import Expr
from .simplify import number

__all__ = ["reassociated"]


def reassociated(e: Expr) -> Expr | None:
    """What the first law that fits makes of `e`, or None."""
    if e.type.dtype.kind != "float":
        return None
    for law in _LAWS.get(e.op.name, ()):
        result = law(e, *e.args)
        if result is not None:
            return result
    return None


def _split(e: Expr, op: str) -> tuple[float, Expr] | None:
    """`c` and `x` of `op(c, x)` or `op(x, c)`."""
    if e.op.name != op:
        return None
    for constant, x in (e.args, e.args[::-1]):
        c = number(constant)
        if c is not None:
            return c, x
    return None


def _sound(c: float) -> bool:
    """Whether a merged constant neither overflowed nor lost digits below the normal range."""
    return math.isfinite(c) and abs(c) >= sys.float_info.min


def _merge_factors(e: Expr, a: Expr, b: Expr) -> Expr | None:
    outer = _split(e, "mul")
    if outer is None:
        return None
    c, x = outer
    inner = _split(x, "mul")
    if inner is not None:
        d, y = inner
        return (c * d) * y if _sound(c * d) else None
    if x.op.name != "div":
        return None
    numerator, divisor = number(x.args[0]), x.args[1]
    return (c * numerator) / divisor if numerator is not None and _sound(c * numerator) else None


def _collect_factors(e: Expr, a: Expr, b: Expr) -> Expr | None:
    for scaled, y in ((a, b), (b, a)):
        split = _split(scaled, "mul")
        if split is not None and number(y) is None:
            c, x = split
            d, z = _split(y, "mul") or (1.0, y)
            return (c * d) * (x * z) if _sound(c * d) else None
    return None


def _merge_terms(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """Constants of nested sums and differences as one: `(x + c) - d -> x + (c - d)`."""
    outer = _term(e)
    if outer is None:
        return None
    c, x, negative = outer
    inner = _term(x)
    if inner is None:
        return None
    d, y, inner_negative = inner
    total = c - d if negative else c + d
    if not math.isfinite(total):
        return None
    return total - y if negative != inner_negative else y + total


def _term(e: Expr) -> tuple[float, Expr, bool] | None:
    """`c`, `x` and whether `x` is taken off, where `e` is `c + x`, `x - c` or `c - x`."""
    if e.op.name == "add":
        split = _split(e, "add")
        return None if split is None else (*split, False)
    if e.op.name == "sub":
        c, d = number(e.args[0]), number(e.args[1])
        return (c, e.args[1], True) if c is not None else (-d, e.args[0], False) if d is not None else None
    return None


def _reciprocal_factor(e: Expr, a: Expr, b: Expr) -> Expr | None:
    c = number(b)
    return a * (1.0 / c) if c and _sound(1.0 / c) and number(a) is None else None


def _common_factor(e: Expr, a: Expr, b: Expr) -> Expr | None:
    if a.op.name != "mul" or b.op.name != "mul":
        return None
    for x, y in (a.args, a.args[::-1]):
        for z, w in (b.args, b.args[::-1]):
            if x is z:
                return x * e.op_call(y, w)
    return None


def _common_divisor(e: Expr, a: Expr, b: Expr) -> Expr | None:
    if a.op.name == "div" and b.op.name == "div" and a.args[1] is b.args[1]:
        return e.op_call(a.args[0], b.args[0]) / a.args[1]
    return None


def _quotient_of_quotients(e: Expr, a: Expr, b: Expr) -> Expr | None:
    if a.op.name == "div":
        return a.args[0] / (a.args[1] * b)
    return (a * b.args[1]) / b.args[0] if b.op.name == "div" else None


_SUMS = (
    _merge_terms,  # (x + c) + d -> x + (c + d), also with - in either place
    _common_factor,  # a*x + a*y -> a*(x + y), also of differences
    _common_divisor,  # x/a + y/a -> (x + y)/a
)
_LAWS = {
    "add": _SUMS,
    "sub": _SUMS,
    "mul": (
        _merge_factors,  # c*(d*x) -> (c*d)*x, c*(d/x) -> (c*d)/x
        _collect_factors,  # (c*x)*y -> c*(x*y), so that constants meet
    ),
    "div": (
        _reciprocal_factor,  # x/c -> x*(1/c)
        _quotient_of_quotients,  # (x/y)/z -> x/(y*z), x/(y/z) -> (x*z)/y
    ),
}
