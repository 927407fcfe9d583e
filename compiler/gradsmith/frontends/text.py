"""The text frontend: a formula such as `x*y + y + tanh(x)` as an expression.

In: text, and values for some of its names. Out: an `Expr` and the symbols it depends on, in the order in which the text
names them. Guarantees: the text is read by a whitelist over Python's own grammar and never run; whatever is not on the
list, of any length or depth, is a `ParseError` that shows the place and names the remedy.

`_RULES` below is the whole language; the functions it may call are those of `gradsmith.ops`.
"""

from __future__ import annotations

import ast
import functools
import keyword
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from .. import ops
from ..errors import GradsmithError, ParseError
from ..trace import Expr, as_expr, input_symbols, recording, symbol
from .common import Plan, fold, formula_origin
from .text_calls import CONSTANTS, FUNCTIONS, Refused, call_plan, static

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
    tree = _read(text)
    try:
        with recording() as state:
            state.origin = formula_origin("text", text)
            names, inputs = _bind(tree, dict(known or {}))
            result = as_expr(fold(tree, lambda node: _plan(node, names)))
    except Refused as refused:
        node = refused.node
        _fail(refused.message, text, _column(text, node.col_offset), _column(text, node.end_col_offset))
    except (RecursionError, MemoryError):
        _fail(_TOO_DEEP, text, 0, 0)
    return result, inputs


_TOO_DEEP = (
    "the text is nested too deeply, or has too many operators in one chain, for Python's grammar: "
    "group it with parentheses, or write it as a Python function"
)

# --- the grammar ----------------------------------------------------------------------------------------------------


def _plan(node: Any, names: Names) -> Plan:
    """What the node needs and how its value is made; errors of ops point at the node."""
    rule = _RULES.get(type(node))
    if rule is None:
        raise Refused(node, _REFUSALS.get(type(node)) or f"{type(node).__name__} is not part of a formula")
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
        raise Refused(node, _LITERALS.get(type(value), "numbers are the only literals of a formula"))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise Refused(node, "this number is beyond the range of float64 (1.8e308); write inf if that is meant")
    return (), lambda: number


_LITERALS = {
    str: "text has no place in a formula; write names without quotes",
    bytes: "text has no place in a formula; write names without quotes",
    complex: "gradsmith computes with real numbers; to name a variable j, write a product with *",
    type(None): "None has no value",
    type(...): "... stands in indices only",
}


def _name(node: ast.Name, names: Names) -> Plan:
    return (), lambda: names[node.id]


def _number_or(function: Callable[..., Any], *values: Any) -> Any:
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
        raise Refused(node, _REFUSALS[type(node.op)])
    return functools.partial(_number_or, function)


def _matmul(a: Any, b: Any) -> Expr:
    return ops.matmul(a, b)


_BINARY: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.MatMult: _matmul,
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
_REFUSALS: Mapping[type[ast.AST], str] = {
    ast.BitXor: "^ is exclusive or in Python: for a power write **, for conditions logical_xor(a, b)",
    ast.BitAnd: "& binds tighter than comparisons: write `and`",
    ast.BitOr: "| binds tighter than comparisons: write `or`",
    ast.Invert: "~ is not part of a formula: write `not`",
    ast.FloorDiv: "// is not part of a formula: write floor(x / y)",
    ast.Mod: "% is not part of a formula: write x - y*floor(x / y)",
    ast.LShift: "<< is not part of a formula: write x * 2**n",
    ast.RShift: ">> is not part of a formula: write floor(x / 2**n)",
    ast.Attribute: "attributes and methods are not part of a formula: write f(x), not x.f()",
    ast.Lambda: "lambda is not part of a formula: write its body only",
    ast.Tuple: "this is several expressions: write one text for each result",
    ast.List: "lists stand in stack([...]), concatenate([...]) and indices only",
    ast.NamedExpr: "assignments are not part of a formula: write the value itself",
    ast.JoinedStr: "text has no place in a formula",
    ast.Starred: "* in front of a value is not part of a formula: write each argument",
    ast.ListComp: "comprehensions are not part of a formula: write a Python function, or a reduction such as sum(x)",
    ast.GeneratorExp: "comprehensions are not part of a formula: write a Python function, or a reduction such as sum(x)",
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
    if node.id.lower() == "nan":
        raise Refused(node, "a constant is NaN, which would make every result NaN: choose a number")
    if node.id in FUNCTIONS:
        raise Refused(node, f"{node.id!r} is a function: write {node.id}(...), or give it a value in known=")
    return symbol(node.id)


# --- errors ---------------------------------------------------------------------------------------------------------

_LOOKALIKES = dict(zip("−–×·⋅÷²³√≤≥≠∞“”‘’", "- - * * * / **2 **3 sqrt(...) <= >= != inf".split(), strict=False))
_HINTS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = (
    (re.compile(r"^$"), lambda m: "the text is empty: write an expression such as x*y + tanh(x)"),
    (
        re.compile(r"^([\w. ]+|\w+\([\w, ]*\)) ?[-+*/]?=(?!=) ?(.*)$"),
        lambda m: f"a formula is the value alone, without an assignment: write {_short(m[2])!r}",
    ),
    (re.compile(r"&&|\|\||!(?!=)"), lambda m: "write `and`, `or`, `not` for && || !"),
    (re.compile(r"\?"), lambda m: "write `a if condition else b` for condition ? a : b"),
    (re.compile(r"[−–×·⋅÷²³√≤≥≠∞]"), lambda m: f"the character {m[0]!r} is not an operator: write {_LOOKALIKES[m[0]]}"),
    (re.compile(r"(?<![\w.])\d[\d.]* ?(?!if|else|and|or|in|is|not)[^\W\d]"), lambda m: "write a product with *: 2*x"),
    (re.compile(r"\w+"), lambda m: f"{m[0]!r} is a keyword of Python: write {m[0]}_" if m[0] in _KEYWORDS else ""),
)
_KEYWORDS = {*keyword.kwlist} - {"and", "or", "not", "if", "else", "True", "False", "None"}


def _read(text: str) -> ast.Expression:
    """Python's syntax tree of the text; all that Python's parser raises becomes a `ParseError`."""
    if "#" in text:
        _fail("a formula has no comments: remove the part from # on", text, text.index("#"), len(text))
    try:
        return ast.parse(text, mode="eval")
    except SyntaxError as error:
        start, end = (error.offset or 1) - 1, (error.end_offset or 0) - 1
        reason = "two values without an operator between: write a product with *" if "comma" in error.msg else error.msg
        _fail(_hint(text) or f"this is not an expression: {reason}", text, start, end)
    except (RecursionError, MemoryError):
        _fail(_TOO_DEEP, text, 0, 0)
    except (ValueError, OverflowError) as error:  # null bytes, lone surrogates
        _fail(f"this is not an expression: {error}", text, 0, 0)


def _hint(text: str) -> str:
    found = (remedy(match) for pattern, remedy in _HINTS for match in pattern.finditer(text))
    return next(filter(None, found), "")


def _column(text: str, offset: int) -> int:
    """The syntax tree counts bytes of UTF-8; messages count characters."""
    return len(text.encode()[:offset].decode(errors="ignore"))


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _fail(message: str, text: str, start: int, end: int, width: int = 76) -> NoReturn:
    """Raise the error with the part of the text around the place, and carets under it."""
    start = min(max(start, 0), len(text))
    first = max(0, start - width // 2) if len(text) > width else 0
    shown = ("…" if first else "") + text[first : first + width] + ("…" if first + width < len(text) else "")
    at = start - first + bool(first)
    carets = max(1, min(end - start, len(shown) - at))
    safe = shown.encode("ascii" if not shown.isprintable() else "utf-8", "backslashreplace").decode()
    raise ParseError(f"{message}\n  {safe}\n  {' ' * at}{'^' * carets}") from None
