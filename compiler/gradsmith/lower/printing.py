"""Printing: operand texts into cells, with the parentheses that precedence asks for and no others.

In: a cell such as `{1} if {0} else {2}`, operand texts with their binding strength, and the target's precedence table.
Out: the text of the result with its own strength. Guarantee: reading the text back gives the same tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..target import Target
from ..types import FLOAT32, DType

__all__ = ["ATOM", "WIDTH", "Printer", "Template", "Text", "around", "wrapped"]

ATOM = 1000
WIDTH = 100  # columns of generated code
_TOKEN = re.compile(r"\{(\d+)\}|[A-Za-z_][\w.]*|\d[\w.]*|\*\*|//|<<|>>|&&|\|\||[<>=!]==?|\S")
_RIGHT = frozenset({"**", "if", "else", "?", ":"})
_BITWISE = frozenset("&|^")  # beside an operand that is no name, C warns and people stumble
_NONE = frozenset({"==", "!=", "===", "!==", "<", "<=", ">", ">=", "&&", "||"})  # C warns where && meets || bare


class Text(NamedTuple):
    """A piece of code and how tightly it binds: `ATOM` for names and calls, else the level of its loosest operator."""

    text: str
    level: int = ATOM


class Printer:
    """Fills cells for one target."""

    def __init__(self, target: Target) -> None:
        levels, self._parse = _reader(target.precedence)
        self._literals = target.literals
        self._narrow = target.float32.get("literal", "{value}")
        self._minus = levels.get("u-", ATOM)

    @property
    def template(self) -> Callable[[str], Template]:
        """What a cell is, taken apart."""
        return self._parse

    def fill(self, cell: str, operands: Sequence[Text]) -> Text:
        """`cell` with `operands` in the places of `{0}`, `{1}`, …"""
        return self._parse(cell).filled(operands)

    def repeats(self, cell: str) -> frozenset[int]:
        """Which operands a cell prints more than once (they must be names, not expressions)."""
        return self._parse(cell).repeats

    def number(self, value: float | int | bool, dtype: DType) -> Text:
        """A literal of `dtype`: the shortest text that reads back as the same number."""
        if dtype.kind == "bool":
            return Text(self._literals["true" if value else "false"])
        level = ATOM if math.copysign(1.0, value) > 0 else self._minus
        special = f"{'-' if value < 0 else ''}{dtype.name}.{abs(value)}"
        if special in self._literals:
            return Text(self._literals[special])
        if math.isinf(value):
            return Text(f"{'-' if value < 0 else ''}{self._literals['inf']}", level)
        if dtype.kind == "int":
            return Text(str(value), level)
        if dtype == FLOAT32:
            return Text(self._narrow.format(value=str(np.float32(value))), level)
        return Text(repr(float(value)), level)


class Template(NamedTuple):
    """A cell, taken apart: how tightly it binds, and what stands before, between and behind its operands."""

    level: int
    start: str
    #: the operand at each placeholder, the least level at which it needs no parentheses, and the text behind it
    places: tuple[tuple[int, int, str], ...]
    repeats: frozenset[int]
    chains: bool  # whether an operand of the same operator needs no parentheses on either side

    def filled(self, operands: Sequence[Text]) -> Text:
        """The cell with `operands` in their places."""
        own, text, places, _, chains = self
        for number, need, after in places:
            operand, level = operands[number]
            if level >= need or (chains and level == own):
                text += operand + after
            else:
                text += f"({operand}){after}"
        return _TEXT(Text, (text, own))


def around(pattern: str, first: str, second: str, **others: str) -> tuple[str, str, str] | None:
    """What stands before, between and behind two fields of a pattern, where that is all there is to it, else None.

    >>> around("const {type} {name} = {value};", "name", "value", type="double")
    ('const double ', ' = ', ';')
    """
    text = pattern.format(**others, **{first: "\0", second: "\1"})
    before, _, rest = text.partition("\0")
    between, _, behind = rest.partition("\1")
    return (before, between, behind) if f"{before}\0{between}\1{behind}" == text else None


_TEXT = tuple.__new__  # of a named tuple, without the call of a function in Python


@lru_cache(maxsize=32)
def _reader(precedence: tuple[tuple[str, ...], ...]) -> tuple[Mapping[str, int], Callable[[str], Template]]:
    """The levels of a precedence table, and how to read cells by it: each cell once in a process."""
    levels = {symbol: i + 1 for i, level in enumerate(precedence) for symbol in level}
    return levels, lru_cache(maxsize=4096)(lambda cell: _parse(cell, levels))


def _parse(cell: str, levels: Mapping[str, int]) -> Template:
    tokens = [m[0] for m in _TOKEN.finditer(cell)]
    depth, level, needs = 0, ATOM, []
    for i, token in enumerate(tokens):
        before, after = (tokens[i - 1] if i else ""), (tokens[i + 1] if i + 1 < len(tokens) else "")
        depth += (token in "([") - (token in ")]") if len(token) == 1 else 0
        if token.startswith("{"):
            unary = _unary(tokens, i - 1)
            # a sign before a sign would read as C's decrement
            left = levels.get(f"u{before}", levels.get(before, 0)) + 1 if unary else _right_need(before, levels)
            needs.append(max(left, _left_need(after, levels)))
        elif depth == 0:
            symbol = f"u{token}" if _unary(tokens, i) and f"u{token}" in levels else token
            level = min(level, levels.get(symbol, ATOM))
    numbers = tuple(int(token[1:-1]) for token in tokens if token.startswith("{"))
    start, *behind = re.split(r"\{\d+\}", cell)
    places = tuple(zip(numbers, needs, behind, strict=True))
    repeats = frozenset(n for n in numbers if numbers.count(n) > 1)
    return Template(level, start, places, repeats, not _BITWISE.isdisjoint(tokens))


def _unary(tokens: Sequence[str], i: int) -> bool:
    """Whether token i is an operator without a left operand."""
    if i < 0 or not re.fullmatch(r"[-+~!]|not", tokens[i]):
        return False
    return i == 0 or bool(
        re.fullmatch(r"[(\[,]|\*\*|//|<<|>>|&&|\|\||[-+*/%@<>=!?:&|^]=?=?|if|else|and|or|not", tokens[i - 1])
    )


def _right_need(operator: str, levels: Mapping[str, int]) -> int:
    """What the right operand of `operator` needs."""
    if operator in _BITWISE:
        return levels.get("u-", ATOM)
    level = levels.get(operator, 0)
    return level if operator in _RIGHT or not level else level + 1


def _left_need(operator: str, levels: Mapping[str, int]) -> int:
    """What the left operand of `operator` needs; a subscript or an attribute needs an atom."""
    if operator in ("[", ".", "(") or operator.startswith("."):
        return ATOM
    if operator in _BITWISE:
        return levels.get("u-", ATOM)
    level = levels.get(operator, 0)
    return level + 1 if level and (operator in _RIGHT or operator in _NONE) else level


def wrapped(text: str, width: int, indent: int) -> list[str]:
    """`text` cut at commas inside brackets so that lines stay within `width`; later lines are indented once more."""
    if len(text) + indent <= width:
        return [text]
    lines: list[str] = []
    start, depth, last = 0, 0, -1
    for place in (*_BREAKS.finditer(text), None):
        c, i = (place[0], place.start()) if place else ("", len(text) - 1)
        if c in _DEPTHS:
            depth += _DEPTHS[c]
            continue
        if i - start + indent + (4 if lines else 0) >= width and last > start:
            lines.append(text[start:last])
            start = last + 1
        if depth:
            last = i + 1
    return [line if k == 0 else f"    {line}" for k, line in enumerate([*lines, text[start:]])]


_BREAKS = re.compile(r",(?= )|[()\[\]{}]")
_DEPTHS: Mapping[str, int] = {**dict.fromkeys("([{", 1), **dict.fromkeys(")]}", -1)}
