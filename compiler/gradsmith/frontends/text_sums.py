"""Sums too long for Python's parser, which nests `a + b + c` to the left and gives up at about 3,000 terms.

In: text whose tree is too deep. Out: the tree that Python would have made, put together from the trees of its terms.
Guarantee: text is cut only at a binary + or - outside of brackets where nothing binds more loosely, so the meaning is
Python's; a text that cannot be cut raises `RecursionError`, as before.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator

__all__ = ["parse_sum"]

_TOKEN = re.compile(r"(?:\d[\w.]*|\.\d\w*)(?:(?<=[eE])[+-]\d+)?|\w+|\S")
_LOOSER = {*keyword.kwlist, *"<>=!&|^,:;\"'"} - {"True", "False", "None"}  # what binds more loosely than +, and quotes
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def parse_sum(text: str) -> ast.Expression:
    """The tree of a sum of many terms, with the places of its nodes in `text`.

    >>> ast.unparse(parse_sum("a - b*(c + d) + 1e-3"))
    'a - b * (c + d) + 0.001'
    """
    cuts = list(_cuts(text))
    if not cuts:
        raise RecursionError("not a sum")
    total: ast.expr | None = None
    offset = 0  # in bytes, as in Python's trees
    for start, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(text)], strict=True):
        term = _parse_at(text[start:end], start, offset)
        if total is not None:
            sign = ast.Add() if text[start - 1] == "+" else ast.Sub()
            total = ast.BinOp(total, sign, term, lineno=1, col_offset=0, end_col_offset=term.end_col_offset)
        total = term if total is None else total
        offset += len(text[start:end].encode()) + 1
    assert total is not None
    return ast.Expression(total)


def _cuts(text: str) -> Iterator[int]:
    """Where the binary + and - outside of brackets stand; nothing where an operator binds more loosely."""
    found: list[int] = []
    depth, before = 0, ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += _DEPTH.get(token, 0)
        if token in _LOOSER and (depth == 0 or token in "\"'"):
            return
        if token in ("+", "-") and depth == 0 and (before[-1:].isalnum() or before[-1:] in (*"_.)]}",)):
            found.append(match.start())
        before = token
    yield from found


def _parse_at(term: str, start: int, offset: int) -> ast.expr:
    """The tree of one term, which stands `offset` bytes behind the beginning of the text."""
    indent = len(term) - len(term.lstrip())
    try:
        body = ast.parse(term.strip(), mode="eval").body
    except SyntaxError as error:
        error.offset, error.end_offset = (n + start + indent if n else n for n in (error.offset, error.end_offset))
        raise
    for node in ast.walk(body):
        if isinstance(node, ast.expr | ast.keyword):
            node.col_offset += offset + indent
            node.end_col_offset = (node.end_col_offset or 0) + offset + indent
    return body
