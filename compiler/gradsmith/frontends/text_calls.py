"""Calls in formulas: which functions a text may name, and what each argument must be.

In: a call in Python's syntax tree. Out: the operands to read and the function that takes their values. Guarantee: the
functions are those of `gradsmith.ops`, their arguments are bound by their own signatures, and nothing is run here.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from .. import ops
from ..trace import Expr
from .common import Plan
from .text_errors import Refused

__all__ = ["CONSTANTS", "FUNCTIONS", "Function", "call_plan", "static"]

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "π": math.pi, "e": math.e, "inf": math.inf}
_ALIASES = {
    "abs": "absolute", "pow": "power", "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "arctan2": "atan2",
}  # fmt: skip
_NOT_IN_TEXT = (
    *("getitem", "pick", "scatter"),  # x[i] is how a text writes them
    *("astype", "can_cast", "finfo", "iinfo", "isdtype", "one_hot", "result_type"),  # texts have floats only
    *("bitwise_left_shift", "bitwise_right_shift"),
    *("broadcast_arrays", "meshgrid", "unstack"),  # several results
    "einsum",  # a text within the text
    *("cond", "fori_loop", "map", "scan", "while_loop"),  # they take functions
)
_REMEDIES = {
    "cbrt": "write x**(1/3)",
    "sec": "write 1/cos(x)",
    "csc": "write 1/sin(x)",
    "cot": "write 1/tan(x)",
}


Kind = Literal["value", "values", "static", "option"]


@dataclass(frozen=True)
class Function:
    """A function of the language: what to call, its signature, and the kind of each parameter."""

    name: str
    call: Callable[..., Expr]
    signature: inspect.Signature
    kinds: Mapping[str, Kind]


def _function(name: str) -> Function:
    call = getattr(ops, _ALIASES.get(name, name))
    signature = inspect.signature(call)
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):  # a bare op: `arity` operands
        letters = ["condition", "x", "y"] if name == "where" else ["x", "y", "z"]
        names = letters[: call.op.arity]
        signature = inspect.Signature([inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names])
    return Function(name, call, signature, {p.name: _kind(p) for p in signature.parameters.values()})


def _kind(p: inspect.Parameter) -> Kind:
    if p.annotation == "Sequence[Any]":
        return "values"
    if str(p.annotation).startswith(("float", "str")):
        return "option"
    return "value" if p.annotation in ("Any", p.empty) and p.name != "shape" else "static"


def _offered() -> list[str]:
    """The names of the public functions of `gradsmith.ops`."""
    return [name for name, value in vars(ops).items() if callable(value)]


FUNCTIONS: Mapping[str, Function] = {
    name: _function(name) for name in sorted({*_offered(), *_ALIASES} - {*_NOT_IN_TEXT})
}
_EXTREMA = {"max": ops.maximum, "min": ops.minimum}


def call_plan(node: ast.Call, names: Mapping[str, Any]) -> Plan:
    """The operands of a call and what to do with their values."""
    if not isinstance(node.func, ast.Name):
        raise Refused(node.func, "only functions can be called, by their names; write a product with *")
    name = node.func.id
    function = FUNCTIONS.get(name)
    if name in names or name in CONSTANTS:
        raise Refused(node.func, f"{name!r} is a value, not a function: write a product with *")
    if function is None:
        raise Refused(node.func, _unknown(name))
    for argument in [a for a in node.args if isinstance(a, ast.Starred)] + [k for k in node.keywords if not k.arg]:
        raise Refused(argument, "* and ** in front of arguments are not part of a formula: write each argument")
    keywords = [str(k.arg) for k in node.keywords]
    for word in node.keywords:
        if keywords.count(str(word.arg)) > 1:
            raise Refused(word, f"{name}: the argument {word.arg}= is given twice")
    if name in _EXTREMA and len(node.args) > 1 and not node.keywords:
        return node.args, functools.partial(_extremum, name)
    return _bound(node, function)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, FUNCTIONS, n=3, cutoff=0.7)
    close = [c for c in close if sorted(c) == sorted(name)] or close[:2]  # swapped letters are the likeliest mistake
    remedy = _REMEDIES.get(name) or (f"did you mean {' or '.join(map(repr, close))}?" if close else "")
    return f"unknown function {name!r}: {remedy or f'for a product write {name}*(...)'}"


def _extremum(name: str, *values: Any) -> Any:
    """Python's `max(x, y, …)`: of scalars only, because NumPy's second argument is an axis."""
    if any(isinstance(v, Expr) and v.ndim for v in values):
        raise TypeError(f"{name} of an array: write {name}imum(x, y) element by element, or {name}(x, axis=0)")
    return functools.reduce(_EXTREMA[name], values)


def _bound(node: ast.Call, function: Function) -> Plan:
    """Arguments by the signature: values to read first, static ones read here."""
    try:
        keywords = {str(k.arg): k.value for k in node.keywords}
        bound = function.signature.bind(*node.args, **keywords).arguments
    except TypeError as error:
        raise Refused(node, f"{function.name}: {error}; it is {function.name}{_usage(function)}") from None
    operands: list[ast.expr] = []
    places: dict[str, slice | int] = {}
    options: dict[str, Any] = {}
    for name, argument in bound.items():
        kind = function.kinds[name]
        if kind == "static" or (isinstance(argument, ast.Constant) and argument.value is None):
            options[name] = static(argument)
        elif kind == "option":
            options[name] = _option(argument)
        elif kind == "values":
            if not isinstance(argument, ast.List | ast.Tuple):
                raise Refused(argument, f"{function.name} takes a list: {function.name}([x, y])")
            places[name] = slice(len(operands), len(operands) + len(argument.elts))
            operands += argument.elts
        else:
            places[name] = len(operands)
            operands.append(argument)

    def build(*values: Any) -> Expr:
        given = {name: values[place] for name, place in places.items()} | options
        arguments = inspect.BoundArguments(function.signature, {n: given[n] for n in bound})
        return function.call(*arguments.args, **arguments.kwargs)

    return operands, build


def _usage(function: Function) -> str:
    texts = [p.name + ("" if p.default is p.empty else f"={p.default}") for p in function.signature.parameters.values()]
    return f"({', '.join(texts)})"


def static(node: ast.expr, depth: int = 2) -> Any:
    """A value that must be known now, such as `axis=(0, 1)` or the index `1:3`: ints, bools, None, slices, tuples."""
    if isinstance(node, ast.Constant) and (node.value in (None, ...) or isinstance(node.value, int)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -static(node.operand, 0) if type(node.operand.value) is int else _not_static(node)
    if isinstance(node, ast.Tuple | ast.List) and depth:
        items = [static(item, depth - 1) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Slice) and depth:
        return slice(*(None if part is None else static(part, 0) for part in (node.lower, node.upper, node.step)))
    return _not_static(node)


def _option(node: ast.expr) -> Any:
    """A number or a word that must be known now, such as `delta=0.5` or `reduction="sum"`."""
    sign, operand = (-1, node.operand) if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else (1, node)
    if isinstance(operand, ast.Constant) and isinstance(operand.value, float):
        return sign * operand.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    try:
        return static(node)
    except Refused:
        raise Refused(node, "this option must be written as a number, a word in quotes or ints") from None


def _not_static(node: ast.expr) -> NoReturn:
    raise Refused(node, "indices, axes and shapes must be written as ints (or slices, tuples, True and False)")
