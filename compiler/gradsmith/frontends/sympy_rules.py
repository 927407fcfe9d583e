"""How each class of SymPy is read: sums, products, powers, functions, conditions.

In: one SymPy node. Out: its operands and the function that makes an `Expr` of their values. Guarantee: what SymPy
stores as sums and products with -1 and negative powers is read as people write it: differences and quotients.

The table is made of three layers, later ones first: classes that the op records name (`sympy="tanh"`), compositions of
ops for classes that have none, and the structural rules of this file and of `sympy_matrices`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..registry import Op
from ..trace import Expr, apply, as_expr
from .common import Plan
from .sympy_errors import NO_DEFAULT, REMEDIES, refuse, refuse_class, written
from .sympy_functions import COMPOSED

__all__ = ["Power", "Product", "Rule", "mul_plan", "power_plan", "rules", "sum_plan"]

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


def rules(records: Iterable[Op], symbols: Mapping[Any, Expr]) -> dict[type, Rule]:
    """SymPy class -> rule. A node is read by the first rule along its class's method resolution order."""
    import sympy

    from .sympy_matrices import MATRIX_RULES

    names = [(str(r.sympy), r) for r in records if isinstance(r.sympy, str)]
    named = {getattr(sympy, name, None): _applying(r) for name, r in names}
    table: dict[type, Rule] = {object: refuse_class}
    table |= {_sympy(name): _composing(function) for name, function in COMPOSED.items()}
    table |= {cls: rule for cls, rule in named.items() if isinstance(cls, type)}
    table |= {_sympy(name): rule for name, rule in {**_STRUCTURAL, **MATRIX_RULES}.items()}
    table |= {_sympy(name): functools.partial(refuse, remedy=remedy) for name, remedy in REMEDIES.items()}
    table |= {_sympy(name): lambda node: ((), lambda: symbols[node]) for name in ("Symbol", "MatrixSymbol")}
    return table | {Product: _product, Power: lambda node: power_plan(node.base, node.exponent)}


def _sympy(name: str) -> Any:
    import sympy

    return operator.attrgetter(name)(sympy)


def _applying(record: Op) -> Rule:
    """SymPy's class is our op; And, Or, Min and Max take any number of operands."""

    def call(*values: Any) -> Expr:
        return apply(record, values, {})

    def rule(node: Any) -> Plan:
        if record.arity == 2 and len(node.args) != 2:
            return node.args, lambda *values: functools.reduce(call, values)
        if record.arity != len(node.args):
            refuse(node, f"{record.name} takes {record.arity} operands")
        return node.args, call

    return rule


def _composing(function: Callable[..., Any]) -> Rule:
    return lambda node: (node.args, function)


# --- numbers --------------------------------------------------------------------------------------------------------


def _number(node: Any) -> Plan:
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

    def build(*values: Any) -> Any:
        total = functools.reduce(operator.add, values[: len(positive)])
        return functools.reduce(operator.sub, values[len(positive) :], total)

    return [*positive, *negative], build


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
    under = [Power(f.base, -f.exp) for f in node.factors if _is_divisor(f)]
    p, q = _fraction(node.coefficient)

    def build(*values: Any) -> Any:
        top, bottom = list(values[: len(over)]), list(values[len(over) :])
        if p == -1.0 and top:
            top[0] = -top[0]
        elif p != 1.0 or not top:
            top.insert(0, p)
        if q != 1.0:
            bottom.insert(0, q)
        result = functools.reduce(node.times, top)
        return result / functools.reduce(operator.mul, bottom) if bottom else as_expr(result)

    return [*over, *under], build


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
    if exponent.is_Rational:
        if exponent.is_negative:
            return [Power(base, -exponent)], lambda x: 1.0 / x
        if exponent == 1:
            return [base], lambda x: x
        if exponent.p == 1 and exponent.q == 2:
            return [base], ops.sqrt
        n = _to_float(exponent)
        return [base], lambda x: x**n
    if base is _sympy("E"):
        return [exponent], ops.exp
    return [base, exponent], ops.power


# --- conditions -----------------------------------------------------------------------------------------------------


def _piecewise(node: Any) -> Plan:
    """Nested `where`, the first branch outermost; the last one needs no condition."""
    branches, last = node.args[:-1], node.args[-1]
    if last.expr is _sympy("nan") or not (last.cond == _sympy("true") or _exhaustive(node)):
        refuse(node, NO_DEFAULT)
    operands = [part for branch in branches for part in (branch.cond, branch.expr)]

    def build(*values: Any) -> Any:
        result = values[-1]
        for k in range(len(branches) - 1, -1, -1):
            result = ops.where(values[2 * k], values[2 * k + 1], result)
        return result

    return [*operands, last.expr], build


def _exhaustive(node: Any) -> bool:
    """Whether SymPy can prove that one of the conditions always holds."""
    import sympy

    if not written(node):
        return False
    try:
        return bool(sympy.Or(*(branch.cond for branch in node.args)).simplify() == sympy.true)
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError):
        return False  # SymPy's simplifier gives up in many ways


_STRUCTURAL: Mapping[str, Rule] = {
    "Add": sum_plan,
    "Mul": mul_plan,
    "Pow": lambda node: power_plan(node.base, node.exp),
    "Number": _number,
    "NumberSymbol": _number,
    "log": _composing(lambda x, *base: functools.reduce(lambda a, b: a / ops.log(b), base, ops.log(x))),
    "Piecewise": _piecewise,
    "logic.boolalg.BooleanTrue": lambda node: ((), lambda: as_expr(True)),
    "logic.boolalg.BooleanFalse": lambda node: ((), lambda: as_expr(False)),
}
