"""How SymPy's matrices and arrays are read: explicit ones are stacked, symbolic ones become array operations.

In: one SymPy node. Out: its operands and the function that makes an `Expr` of their values. Guarantee: a matrix keeps
SymPy's two axes, also where it is a row or a column.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..trace import Expr, constant
from .common import Plan
from .sympy_arithmetic import Chain, Rule, chain_plan, mul_plan, power_plan, sum_plan
from .sympy_errors import refuse

__all__ = ["MATRIX_RULES"]


def _explicit(node: Any) -> Plan:
    """A matrix or array of scalars: constants become one constant, all else is stacked, last axis first."""
    import sympy

    shape = tuple(int(n) for n in node.shape)
    if 0 in shape:
        refuse(node, f"it has no elements (shape {shape})")

    def build(*elements: Any) -> Expr:
        if all(e.op.name == "constant" for e in elements):
            return constant(np.array([e.params["value"] for e in elements], dtype=np.float64).reshape(shape))
        rows: Sequence[Any] = elements
        for size in reversed(shape):
            rows = [ops.stack(rows[i : i + size]) for i in range(0, len(rows), size)]
        return ops.stack(rows) if len(rows) > 1 else rows[0]

    return sympy.flatten(node.tolist()), build


def _constant(make: Any) -> Rule:
    def rule(node: Any) -> Plan:
        if not all(size.is_Integer for size in node.shape):
            refuse(node, "its size must be a number")
        return (), lambda: constant(make(tuple(int(size) for size in node.shape)))

    return rule


def _element(node: Any) -> Plan:
    if not all(i.is_Integer for i in node.indices):
        refuse(node, "indices must be numbers: write the sum or the element out")
    key = tuple(int(i) for i in node.indices)
    return [node.parent], lambda x: ops.getitem(x, key)


def _slice(node: Any) -> Plan:
    bounds = [*node.rowslice, *node.colslice]
    if not all(getattr(b, "is_Integer", isinstance(b, int)) for b in bounds):
        refuse(node, "the bounds of a slice must be numbers")
    parts = [[int(b) for b in part] for part in (node.rowslice, node.colslice)]
    if tuple(len(range(*part)) for part in parts) != node.shape:
        refuse(node, "SymPy rounds its size down, Python up: use a step that divides the length")
    key = tuple(slice(*part) for part in parts)
    return [node.parent], lambda x: ops.getitem(x, key)


def _matrix_power(node: Any) -> Plan:
    """Whole positive powers, by squaring."""
    if not node.exp.is_Integer or node.exp < 1:
        refuse(node, "only whole positive powers of a matrix; write a small inverse out: Matrix(A).inv()")
    exponent = int(node.exp)

    def build(x: Expr) -> Expr:
        powers = [x]
        while len(powers) < exponent.bit_length():
            powers.append(ops.matmul(powers[-1], powers[-1]))
        return functools.reduce(ops.matmul, [p for k, p in enumerate(powers) if exponent >> k & 1])

    return [node.base], build


def _trace(node: Any) -> Plan:
    def build(x: Expr) -> Expr:
        diagonal = np.arange(len(x))
        return ops.sum(ops.getitem(x, (diagonal, diagonal)))

    return [node.arg], build


MATRIX_RULES: Mapping[str, Rule] = {
    "MatrixBase": _explicit,
    "NDimArray": _explicit,
    "MatAdd": sum_plan,
    "MatMul": mul_plan,
    "MatPow": _matrix_power,
    "Transpose": lambda node: ([node.arg], ops.matrix_transpose),
    "Trace": _trace,
    "HadamardProduct": lambda node: chain_plan(Chain([(operator.mul, a) for a in node.args], len(node.args))),
    "HadamardPower": lambda node: power_plan(node.base, node.exp),
    "DotProduct": lambda node: (node.args, lambda a, b: ops.dot(ops.ravel(a), ops.ravel(b))),
    "Identity": _constant(lambda shape: np.eye(*shape)),
    "ZeroMatrix": _constant(np.zeros),
    "OneMatrix": _constant(np.ones),
    "matrices.expressions.matexpr.MatrixElement": _element,
    "matrices.expressions.slice.MatrixSlice": _slice,
}
