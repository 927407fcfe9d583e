"""What the text frontend answers to text that is not a formula: the place, and the remedy.

In: text, and the node or character that does not fit. Out: a `ParseError` with the text, carets under the place, and
how to write what was probably meant. Guarantee: all that Python's parser raises becomes a `ParseError`.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ..errors import ParseError
from .text_sums import parse_sum

__all__ = ["LITERALS", "REFUSALS", "TOO_DEEP", "Refused", "fail", "fail_at", "read"]


class Refused(Exception):
    """A node that is not part of the language, and why; `fail_at` adds the text."""

    def __init__(self, node: Any, message: str) -> None:
        super().__init__(message)
        self.node, self.message = node, message


TOO_DEEP = (
    "the text is nested too deeply, or has too long a chain of operators, for Python's parser: "
    "group it with parentheses, or write it as a Python function"
)

LITERALS: Mapping[type, str] = {
    str: "text has no place in a formula; write names without quotes",
    bytes: "text has no place in a formula; write names without quotes",
    complex: "gradsmith computes with real numbers; to name a variable j, write a product with *",
    type(None): "None has no value",
    type(...): "... stands in indices only",
}


_COMPREHENSION = "comprehensions are not part of a formula: write a Python function, or a reduction such as sum(x)"
REFUSALS: Mapping[type[ast.AST], str] = {
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
    **dict.fromkeys([ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp], _COMPREHENSION),
}

_LOOKALIKES = {
    "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "²": "**2", "³": "**3", "√": "sqrt(...)", "≤": "<=",
    "≥": ">=", "≠": "!=", "∞": "inf",
}  # fmt: skip
_IN_USE = {"and", "or", "not", "if", "else", "True", "False", "None"}
_KEYWORDS = {*keyword.kwlist} - _IN_USE
_HINTS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = (
    (re.compile(r"^$"), lambda m: "the text is empty: write an expression such as x*y + tanh(x)"),
    (
        re.compile(r"^([\w. ]+|\w+\([\w, ]*\)) ?[-+*/]?=(?!=) ?(.*)$"),
        lambda m: f"a formula is the value alone, without an assignment: write {_short(m[2])!r}",
    ),
    (re.compile(r"&&|\|\||!(?!=)"), lambda m: "write `and`, `or`, `not` for && || !"),
    (re.compile(r"\?"), lambda m: "write `a if condition else b` for condition ? a : b"),
    (
        re.compile(f"[{''.join(_LOOKALIKES)}]"),
        lambda m: f"the character {m[0]!r} is not an operator: write {_LOOKALIKES[m[0]]}",
    ),
    (re.compile(r"(?<![\w.])\d[\d.]* ?(?!if|else|and|or|in|is|not)[^\W\d]"), lambda m: "write a product with *: 2*x"),
    (
        re.compile(r"[^\W\d]\w* [\w(]+"),
        lambda m: "" if {*keyword.kwlist} & {*m[0].split()} else "write a product with *: x*y",
    ),
    (re.compile(r"\w+"), lambda m: f"{m[0]!r} is a keyword of Python: write {m[0]}_" if m[0] in _KEYWORDS else ""),
)


def read(text: str) -> ast.Expression:
    """Python's syntax tree of the text; all that Python's parser raises becomes a `ParseError`."""
    if "#" in text:
        fail("a formula has no comments: remove the part from # on", text, text.index("#"), len(text))
    try:
        try:
            return ast.parse(text, mode="eval")
        except (RecursionError, MemoryError):
            return parse_sum(text)
    except SyntaxError as error:
        start, end = (error.offset or 1) - 1, (error.end_offset or 0) - 1
        reason = error.msg.partition(";")[0]
        fail(_hint(text) or f"this is not an expression: {reason}", text, start, end)
    except (RecursionError, MemoryError):
        fail(TOO_DEEP, text, 0, 0)
    except (ValueError, OverflowError) as error:  # null bytes, lone surrogates
        fail(f"this is not an expression: {error}", text, 0, 0)


def _hint(text: str) -> str:
    found = (remedy(match) for pattern, remedy in _HINTS for match in pattern.finditer(text))
    return next(filter(None, found), "")


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def fail_at(refused: Refused, text: str) -> NoReturn:
    """Raise the error at the place of the node; the syntax tree counts bytes of UTF-8, messages count characters."""
    code = text.encode()
    ends = (len(code[:n].decode()) for n in (refused.node.col_offset, refused.node.end_col_offset))
    fail(refused.message, text, *ends)


def fail(message: str, text: str, start: int, end: int, width: int = 76) -> NoReturn:
    """Raise the error with the part of the text around the place, and carets under it."""
    if not text:
        raise ParseError(message) from None
    start = min(max(start, 0), len(text))
    first = max(0, start - width // 2) if len(text) > width else 0
    shown = ("…" if first else "") + text[first : first + width] + ("…" if first + width < len(text) else "")
    at = start - first + bool(first)
    carets = max(1, min(end - start, len(shown) - at))
    safe = shown.encode("ascii" if not shown.isprintable() else "utf-8", "backslashreplace").decode()
    raise ParseError(f"{message}\n  {safe}\n  {' ' * at}{'^' * carets}") from None
