"""How each class of SymPy is read: the table, and the rules of functions and conditions.

In: the op records and our symbols. Out: a table from SymPy's classes to rules; a rule turns one node into its operands
and the function that makes an `Expr` of their values. Guarantee: a class without a row of its own is read as the
nearest class it derives from, and in the end refused.

The rows come from the op records (`sympy="tanh"`), from compositions of ops for classes that have none, and from the
structural rules of this file, `sympy_arithmetic` and `sympy_matrices`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import ops
from ..registry import Op
from ..trace import Expr, apply, as_expr
from .common import Plan
from .sympy_arithmetic import RECORDS, Chain, Rule, chain_plan, mul_plan, number_plan, power_plan, sum_plan
from .sympy_errors import NO_DEFAULT, REMEDIES, refuse, refuse_class, written
from .sympy_functions import COMPOSED
from .sympy_matrices import MATRIX_RULES

__all__ = ["rules"]


def rules(records: Iterable[Op], symbols: Mapping[Any, Expr]) -> dict[type, Rule]:
    """SymPy class -> rule. A node is read by the first rule along its class's method resolution order."""
    import sympy

    named = {getattr(sympy, r.sympy, None): _applying(r) for r in records if isinstance(r.sympy, str)}
    table: dict[type, Rule] = {object: refuse_class}
    table |= {_sympy(name): _composing(function) for name, function in COMPOSED.items()}
    table |= {cls: rule for cls, rule in named.items() if isinstance(cls, type)}
    table |= {_sympy(name): rule for name, rule in {**_STRUCTURAL, **MATRIX_RULES}.items()}
    table |= {_sympy(name): functools.partial(refuse, remedy=remedy) for name, remedy in REMEDIES.items()}
    table |= {_sympy(name): lambda node: ((), lambda: symbols[node]) for name in ("Symbol", "MatrixSymbol")}
    return {**table, **RECORDS}


def _sympy(name: str) -> Any:
    import sympy

    return operator.attrgetter(name)(sympy)


def _applying(record: Op) -> Rule:
    """SymPy's class is our op; And, Or, Min and Max take any number of operands."""

    def call(*values: Any) -> Expr:
        return apply(record, values, {})

    def rule(node: Any) -> Plan:
        if record.arity == 2 and len(node.args) != 2:
            return chain_plan(Chain([(call, a) for a in node.args], len(node.args)))
        if record.arity != len(node.args):
            refuse(node, f"{record.name} takes {record.arity} operands")
        return node.args, call

    return rule


def _composing(function: Callable[..., Any]) -> Rule:
    return lambda node: (node.args, function)


# --- conditions -----------------------------------------------------------------------------------------------------


def _piecewise(node: Any) -> Plan:
    """Nested `where`, the first branch outermost; the last one needs no condition."""
    branches, last = node.args[:-1], node.args[-1]
    if not (last.cond == _sympy("true") or _exhaustive(node)):
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
    "Number": number_plan,
    "NumberSymbol": number_plan,
    "log": _composing(lambda x, *base: functools.reduce(lambda a, b: a / ops.log(b), base, ops.log(x))),
    "Piecewise": _piecewise,
    "logic.boolalg.BooleanTrue": lambda node: ((), lambda: as_expr(True)),
    "logic.boolalg.BooleanFalse": lambda node: ((), lambda: as_expr(False)),
}
