"""The text frontend: a formula such as `x*y + y + tanh(x)` as an expression.

In: text, and values for some of its names. Out: an `Expr` and the symbols it depends on, in the order in which the text
names them. Guarantees: the text is read by a whitelist over Python's own grammar and never run; whatever is not on the
list, of any length or depth, is a `ParseError` that shows the place and names the remedy.

`_RULES` below is the whole language; the functions it may call are those of `gradsmith.ops`.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .. import ops
from ..as_graph import input_symbols
from ..errors import GradsmithError, ParseError
from ..trace import Expr, as_expr, recording, symbol
from .common import Plan, fold, formula_origin
from .text_calls import CONSTANTS, FUNCTIONS, call_plan, static
from .text_errors import LITERALS, REFUSALS, TOO_DEEP, Refused, fail, fail_at, read

__all__ = ["parse"]

Names = Mapping[str, Any]
Rule = Callable[[Any, Names], Plan]


def parse(text: str, known: Mapping[str, Expr] | None = None) -> tuple[Expr, list[Expr]]:
    """The expression that `text` describes, and the symbols it depends on in order of first appearance.

    The language: numbers, names, `+ - * / ** @`, comparisons (also `0 < x < 1`), `and or not`, `a if c else b`,
    indexing with static ints and slices, calls of gradsmith's functions, and the constants `pi`, `e` and `inf`.
    `max(x, y)` and `min(x, y)` of scalars are Python's.

    Parameters
    ----------
    text: one expression; line breaks count as spaces.
    known: values for names, such as array symbols; they also hide constants and functions of the same name. Every
        other name becomes a scalar symbol.

    Raises `ParseError`, which shows the place.

    >>> parse("x*y + y + tanh(x)")
    (<gs.Expr add: f64>, [<gs.Expr x: f64>, <gs.Expr y: f64>])
    >>> parse("tahn(x)")
    Traceback (most recent call last):
        ...
    gradsmith.errors.ParseError: unknown function 'tahn': did you mean 'tanh'?
      tahn(x)
      ^^^^
    """
    if not isinstance(text, str):
        raise ParseError(f"the formula must be a str, not {type(text).__name__}")
    text = " ".join(text.split())
    tree = read(text)
    try:
        with recording() as state:
            state.origin = formula_origin("text", text)
            names, inputs = _bind(tree, dict(known or {}))
            result = as_expr(fold(tree, lambda node: _plan(node, names)))
    except Refused as refused:
        fail_at(refused, text)
    except (RecursionError, MemoryError):
        fail(TOO_DEEP, text, 0, 0)
    return result, inputs


# --- the grammar ----------------------------------------------------------------------------------------------------


def _plan(node: Any, names: Names) -> Plan:
    """What the node needs and how its value is made; errors of ops point at the node."""
    rule = _RULES.get(type(node))
    if rule is None:
        raise Refused(node, REFUSALS.get(type(node)) or f"{type(node).__name__} is not part of a formula")
    operands, build = rule(node, names)

    def guarded(*values: Any) -> Any:
        try:
            return build(*values)
        except (GradsmithError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            message = str(error).partition("\n")[0]  # the lines that follow say where, as the caret does
            raise Refused(node, message or type(error).__name__) from None

    return operands, guarded


def _constant(node: ast.Constant, _: Names) -> Plan:
    value = node.value
    if isinstance(value, bool):
        return (), lambda: value
    if not isinstance(value, int | float):
        raise Refused(node, LITERALS.get(type(value), "numbers are the only literals of a formula"))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise Refused(node, "this number is beyond the range of float64 (1.8e308); write inf if that is meant")
    return (), lambda: number


def _name(node: ast.Name, names: Names) -> Plan:
    return (), lambda: names[node.id]


def _combined(function: Callable[..., Any], *values: Any) -> Any:
    """An operator on values: numbers are combined at once, as Python does, in float64."""
    try:
        result = function(*values)
    except OverflowError:
        raise ArithmeticError("the result is beyond the range of float64 (1.8e308)") from None
    if isinstance(result, Expr | bool):
        return result
    if isinstance(result, complex) or result != result:
        raise ArithmeticError("the result is not a real number")
    return float(result)


def _operator(table: Mapping[type[ast.AST], Callable[..., Any]], node: Any) -> Callable[..., Any]:
    function = table.get(type(node.op))
    if function is None:
        raise Refused(node, REFUSALS[type(node.op)])
    return functools.partial(_combined, function)


_BINARY: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.MatMult: ops.matmul,
}
_UNARY: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: ops.logical_not,
}
_COMPARISONS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_LOGIC: Mapping[type[ast.AST], Callable[..., Any]] = {ast.And: ops.logical_and, ast.Or: ops.logical_or}


def _compare(node: ast.Compare, _: Names) -> Plan:
    """`a < b < c` is `(a < b) and (b < c)`."""
    functions = [_COMPARISONS.get(type(op)) for op in node.ops]
    if None in functions:
        raise Refused(node, "`is` and `in` are not part of a formula; compare with < <= > >= == !=")

    def build(*values: Any) -> Any:
        pairs = zip(functions, values, values[1:], strict=False)
        return functools.reduce(ops.logical_and, [f(a, b) for f, a, b in pairs if f is not None])

    return [node.left, *node.comparators], build


def _logic(node: ast.BoolOp, _: Names) -> Plan:
    word = "and" if isinstance(node.op, ast.And) else "or"

    def build(*values: Any) -> Any:
        if any(isinstance(v, float) or (isinstance(v, Expr) and v.type.dtype.kind != "bool") for v in values):
            raise TypeError(f"`{word}` joins conditions, and here is a number: compare it first, such as `x != 0`")
        return functools.reduce(_LOGIC[type(node.op)], values)

    return node.values, build


def _subscript(node: ast.Subscript, _: Names) -> Plan:
    key = static(node.slice)
    return [node.value], lambda x: ops.getitem(x, key)


_RULES: Mapping[type[ast.AST], Rule] = {
    ast.Expression: lambda node, names: ([node.body], lambda x: x),
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: lambda node, names: ([node.left, node.right], _operator(_BINARY, node)),
    ast.UnaryOp: lambda node, names: ([node.operand], _operator(_UNARY, node)),
    ast.Compare: _compare,
    ast.BoolOp: _logic,
    ast.IfExp: lambda node, names: ([node.test, node.body, node.orelse], ops.where),
    ast.Call: call_plan,
    ast.Subscript: _subscript,
}

# --- names ----------------------------------------------------------------------------------------------------------


def _bind(tree: ast.AST, known: dict[str, Any]) -> tuple[dict[str, Any], list[Expr]]:
    """The value of every name, and the symbols that the text depends on, in its order."""
    names: dict[str, Any] = {}
    inputs: dict[str, Expr] = {}
    for node in _variables(tree):
        if node.id in names:
            continue
        value = names[node.id] = known[node.id] if node.id in known else _value_of(node)
        for x in input_symbols([value]) if isinstance(value, Expr) else []:
            if inputs.setdefault(str(x.name), x) is not x:
                raise Refused(node, f"two different symbols are named {x.name!r}: give one of them in known= for both")
    return names, list(inputs.values())


def _variables(tree: ast.AST) -> Iterator[ast.Name]:
    nodes = list(ast.walk(tree))
    called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    found = [n for n in nodes if isinstance(n, ast.Name) and id(n) not in called]
    yield from sorted(found, key=lambda n: n.col_offset)


def _value_of(node: ast.Name) -> Any:
    if node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if node.id.startswith("__") and node.id.endswith("__"):
        raise Refused(node, f"{node.id!r} is a name of Python's own: choose another")
    if "·" in node.id:
        raise Refused(node, "Python takes the character '·' for a part of the name: write *")
    if node.id.lower() == "nan":
        raise Refused(node, "a constant is NaN, which would make every result NaN: choose a number")
    if node.id in FUNCTIONS:
        raise Refused(node, f"{node.id!r} is a function: write {node.id}(...), or give it a value in known=")
    return symbol(node.id)
