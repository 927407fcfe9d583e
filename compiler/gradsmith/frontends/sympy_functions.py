"""SymPy's functions that are compositions of gradsmith's ops.

In: the values of the operands. Out: an `Expr`. Guarantee: each composition keeps its digits near 0 and near the ends of
its domain. A function that gets an op of its own (`sympy="asinh"` in its record) needs no row here: the record wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import ops
from ..trace import Expr

__all__ = ["COMPOSED"]


def _asinh(x: Expr) -> Expr:
    a = ops.where(x >= 0.0, x, -x)  # not abs(x), whose slope at 0 is 0
    r = ops.log1p(a + a * a / (1.0 + ops.sqrt(1.0 + a * a)))  # log(x + sqrt(1 + x*x)) cancels for x < 0
    return ops.where(x >= 0.0, r, -r)


def _acosh(x: Expr) -> Expr:
    t = x - 1.0
    return ops.log1p(t + ops.sqrt(t * (t + 2.0)))  # x*x - 1 cancels near 1


def _bessel(name: str) -> Callable[[Any, Expr], Expr]:
    """A Bessel function of SymPy's, of which we have orders 0 and 1."""

    def rule(order: Any, x: Expr) -> Expr:
        order = order.params.get("value") if isinstance(order, Expr) else order
        if order not in (0.0, 1.0):
            raise TypeError(f"the order of {name} must be 0 or 1")
        function: Callable[[Expr], Expr] = getattr(ops, f"{name[-1]}{order:.0f}")
        return function(x)

    return rule


COMPOSED: Mapping[str, Callable[..., Any]] = {
    "acosh": _acosh,
    "acot": lambda x: ops.atan(1.0 / x),
    "acsc": lambda x: ops.asin(1.0 / x),
    "asec": lambda x: ops.acos(1.0 / x),
    "asinh": _asinh,
    "atanh": lambda x: 0.5 * (ops.log1p(x) - ops.log1p(-x)),
    "besseli": _bessel("besseli"),
    "besselj": _bessel("besselj"),
    "bessely": _bessel("bessely"),
    "ceiling": lambda x: -ops.floor(-x),
    "cot": lambda x: 1.0 / ops.tan(x),
    "coth": lambda x: 1.0 / ops.tanh(x),
    "csc": lambda x: 1.0 / ops.sin(x),
    "csch": lambda x: 1.0 / ops.sinh(x),
    "erfcinv": ops.erfcinv,
    "frac": lambda x: x - ops.floor(x),
    "loggamma": ops.lgamma,
    "sec": lambda x: 1.0 / ops.cos(x),
    "sech": lambda x: 1.0 / ops.cosh(x),
    "Mod": lambda x, y: x - y * ops.floor(x / y),
    "Heaviside": lambda x, at_zero: ops.where(ops.equal(x, 0.0), at_zero, ops.where(x > 0.0, 1.0, 0.0)),
    "Implies": lambda a, b: ops.logical_or(ops.logical_not(a), b),
    "ITE": lambda c, a, b: ops.logical_or(ops.logical_and(c, a), ops.logical_and(ops.logical_not(c), b)),
    "Tuple": lambda *parts: ops.stack(parts),
}
