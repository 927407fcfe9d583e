"""Expressions of C from those of Python: what the texts of algorithms and of portable functions have in common.

In: an expression as `ast` parses it. Out: its text in C, with no more parentheses than it needs. Names, numbers and
calls mean something else in each kind of text; the subclasses say what.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import ClassVar

__all__ = ["SIGNS", "CExpressions"]

#: Each operator's sign, and how tightly it binds.
SIGNS: Mapping[type, tuple[str, int]] = {
    ast.Or: ("||", 2), ast.And: ("&&", 2), ast.Eq: ("==", 3), ast.NotEq: ("!=", 3), ast.Lt: ("<", 4),
    ast.LtE: ("<=", 4), ast.Gt: (">", 4), ast.GtE: (">=", 4), ast.Add: ("+", 5), ast.Sub: ("-", 5), ast.Mult: ("*", 6),
    ast.Div: ("/", 6),
}  # fmt: skip


class CExpressions:
    """Writes the expressions of the text `name`."""

    name: str
    signs: ClassVar[Mapping[type, tuple[str, int]]] = SIGNS

    def _own(self, node: ast.expr) -> tuple[str, int] | None:
        """The text of a name, a number or a call, and how tightly it binds; None for what is not in this subset."""
        raise NotImplementedError

    def _of(self, node: ast.expr) -> tuple[str, int]:
        """The text of an expression, and how tightly it binds."""
        match node:
            case ast.UnaryOp(op=ast.USub()):
                return f"-{self._at(node.operand, 8)}", 8
            case ast.BinOp():
                sign, level = self.signs[type(node.op)]
                return f"{self._at(node.left, level)} {sign} {self._at(node.right, level + 1)}", level
            case ast.Compare():
                sign, level = self.signs[type(node.ops[0])]
                return f"{self._at(node.left, level + 1)} {sign} {self._at(node.comparators[0], level + 1)}", level
            case ast.BoolOp():
                sign, level = self.signs[type(node.op)]
                return f" {sign} ".join(self._at(v, level + 1) for v in node.values), level
            case ast.IfExp():
                parts = self._at(node.test, 2), self._at(node.body, 2), self._at(node.orelse, 1)
                return "{} ? {} : {}".format(*parts), 1
        found = self._own(node)
        if found is None:
            raise AssertionError(f"{self.name}: {ast.unparse(node)!r} is not part of the subset")
        return found

    def _at(self, node: ast.expr, least: int) -> str:
        text, level = self._of(node)
        return text if level >= least else f"({text})"
