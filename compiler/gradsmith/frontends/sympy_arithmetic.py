"""SymPy's numbers, sums, products and powers, as people write them.

In: one SymPy node, or one of the records below, which stand for what SymPy has no node for. Out: its operands and the
function that makes an `Expr` of their values. Guarantee: terms with a negative coefficient are differences and negative
powers are quotients; operands are read where they are used, so that a long sum holds one partial sum at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..trace import Expr, as_expr
from .common import Plan
from .sympy_errors import refuse

__all__ = ["RECORDS", "Chain", "Rule", "chain_plan", "mul_plan", "number_plan", "power_plan", "sum_plan"]

Rule = Callable[[Any], Plan]


@dataclass(frozen=True)
class Product:
    """A coefficient (a SymPy number) times factors; `times` multiplies two of them."""

    coefficient: Any
    factors: tuple[Any, ...]
    times: Callable[[Any, Any], Expr]


@dataclass(frozen=True)
class Power:
    """A base and a positive rational exponent."""

    base: Any
    exponent: Any


@dataclass(frozen=True)
class Negative:
    """A node with its sign changed."""

    node: Any


@dataclass(frozen=True)
class Coefficient:
    """A number that becomes a constant where it is used, as a number in Python's expressions does."""

    value: float


@dataclass(frozen=True)
class Chain:
    """The first `count` parts, combined from left to right: each is read just before its function takes it in."""

    steps: Sequence[tuple[Callable[[Any, Any], Any], Any]]
    count: int


# --- numbers --------------------------------------------------------------------------------------------------------


def number_plan(node: Any) -> Plan:
    """A constant."""
    value = _to_float(node)
    return (), lambda: as_expr(value)


def _to_float(node: Any) -> float:
    """The nearest float; p/q of Python's ints is rounded once."""
    try:
        value = node.p / node.q if node.is_Rational else float(node)
    except OverflowError:
        value = float("inf")
    if abs(value) == float("inf") and not node.is_infinite:
        refuse(node, "its value is beyond the range of float64 (1.8e308)")
    return float(value)


# --- sums, products, powers -----------------------------------------------------------------------------------------


def sum_plan(node: Any) -> Plan:
    """Positive terms first, then differences; numbers behind what they are added to: `x + 1`, `1 - x`."""
    split = [_sign_and_term(term) for term in node.args]
    positive = sorted((t for sign, t in split if sign > 0), key=lambda t: getattr(t, "is_Number", False))
    negative = [t for sign, t in split if sign < 0]
    if not positive:
        positive, negative = [node.args[0]], negative[1:]
    steps = [(operator.add, t) for t in positive] + [(operator.sub, t) for t in negative]
    return chain_plan(Chain(steps, len(steps)))


def _sign_and_term(term: Any) -> tuple[int, Any]:
    """-1 and the term without its sign where it has a negative coefficient."""
    if term.is_Number and term.is_negative:
        return -1, -term
    if (term.is_Mul or getattr(term, "is_MatMul", False)) and term.args[0].is_Number and term.args[0].is_negative:
        return -1, Product(-term.args[0], term.args[1:], ops.dot if term.is_Matrix else operator.mul)
    return 1, term


def mul_plan(node: Any) -> Plan:
    """A coefficient, where there is one, and factors; a product of matrices keeps their order."""
    times = ops.dot if getattr(node, "is_MatMul", False) else operator.mul
    first, *rest = node.args
    is_coefficient = first.is_Number and rest
    return _product(Product(first, tuple(rest), times) if is_coefficient else Product(None, node.args, times))


def _product(node: Product) -> Plan:
    """`p*x*y/(q*z)`: negative powers are divisors; a coefficient with a power of two below is a decimal: `0.5*x`."""
    over = [f for f in node.factors if not _is_divisor(f)]
    under: list[Any] = [Power(f.base, -f.exp) for f in node.factors if _is_divisor(f)]
    p, q = _fraction(node.coefficient)
    if p == -1.0 and over:
        over[0] = Negative(over[0])
    elif p != 1.0 or not over:
        over.insert(0, Coefficient(p))
    if q != 1.0:
        under.insert(0, Coefficient(q))
    top = Chain([(node.times, f) for f in over], len(over))
    bottom = Chain([(operator.mul, f) for f in under], len(under))
    return ([top, bottom], operator.truediv) if under else chain_plan(top)


def chain_plan(chain: Chain) -> Plan:
    """All steps but the last, then the last."""
    function, part = chain.steps[chain.count - 1]
    return ([Chain(chain.steps, chain.count - 1), part], function) if chain.count > 1 else ([part], lambda x: x)


def _fraction(coefficient: Any) -> tuple[float, float]:
    if coefficient is None:
        return 1.0, 1.0
    small = coefficient.is_Rational and max(abs(coefficient.p), coefficient.q) <= 2**53
    if small and coefficient.q & (coefficient.q - 1):
        return float(coefficient.p), float(coefficient.q)
    return _to_float(coefficient), 1.0


def _is_divisor(node: Any) -> bool:
    return bool(node.is_Pow and node.exp.is_Rational and node.exp.is_negative)


def power_plan(base: Any, exponent: Any) -> Plan:
    """`sqrt(x)` for 1/2, `1/x**n` for negative rational exponents, `exp(x)` for base e."""
    import sympy

    if exponent.is_Rational:
        if exponent.is_negative:
            return [Power(base, -exponent)], lambda x: 1.0 / x
        if exponent == 1:
            return [base], lambda x: x
        if exponent.p == 1 and exponent.q == 2:
            return [base], ops.sqrt
        n = _to_float(exponent)
        return [base], lambda x: x**n
    if base is sympy.E:
        return [exponent], ops.exp
    return [base, exponent], ops.power


RECORDS: Mapping[type, Rule] = {
    Chain: chain_plan,
    Coefficient: lambda node: ((), lambda: node.value),
    Negative: lambda node: ([node.node], operator.neg),
    Power: lambda node: power_plan(node.base, node.exponent),
    Product: _product,
}
