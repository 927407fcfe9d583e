"""Where a value comes from: the user's file, line and variable name, found without parsing their program.

In: the call stack while tracing. Out: an `Origin`. Guarantee: an origin never takes part in the identity of a node.

The name is exact, also in loops and through helper functions: the byte code that follows the call says which variable
the result is stored in, and where it is returned instead, the caller's byte code says so.
"""

from __future__ import annotations

import ast
import dis
import itertools
import linecache
import os
import sys
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import CodeType, FrameType
from typing import Literal, NamedTuple

__all__ = ["NOWHERE", "Origin", "caller_origin", "described", "statement_text"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_COMMAND_LINE = _PACKAGE + "cli" + os.sep  # beyond it there is no user's program
_RETURNED = "<returned>"  # no identifier, so no clash with a variable's name


@dataclass(frozen=True)
class Origin:
    """One place in the user's program.

    `path` finds the source text and is never printed; `file` is its last part, which is. `name` is the variable the
    value was stored in, or None. `role` tells values from cotangents and tangents, and `rule` names the op whose
    derivative rule made the node. `why` is what the code says of a value that no line of the program asks for.
    """

    file: str = ""
    line: int = 0
    name: str | None = None
    path: str = ""
    role: Literal["primal", "cotangent", "tangent"] = "primal"
    rule: str = ""
    why: str = ""

    @cached_property
    def derived(self) -> bool:
        """Whether a derivative rule made the node, so that the order of its arithmetic is nobody's wish."""
        return self.role != "primal"

    def unnamed(self) -> Origin:
        """The same place without the variable's name (for the parts of a larger result)."""
        return self if self.name is None else self._unnamed

    @cached_property
    def _unnamed(self) -> Origin:
        return self.named(None)

    def named(self, name: str | None) -> Origin:
        """The same place with another name."""
        return self if self.name == name else _shared(self.file, self.line, name, self.path, self.role, self.rule)

    def backward(self, name: str | None, rule: str) -> Origin:
        """The same place as that of a cotangent which the derivative rule of an op made."""
        return _shared(self.file, self.line, name, self.path, "cotangent", rule)

    def because(self, why: str) -> Origin:
        """The same place of a value that the code is to say `why` it has."""
        return _shared(self.file, self.line, self.name, self.path, self.role, self.rule, why)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE = Origin()
_shared = lru_cache(maxsize=65536)(Origin)  # one record for all the values of one place, of which there may be many


#: Where a file belongs to: the user's program, this package, or its command line, beyond which there is no program.
_USERS, _OURS, _ENTRY = range(3)
#: The frames of `caller_origin`, of apply() and of copy() are on the way to the result by construction.
_ON_THE_WAY = frozenset({"caller_origin", "apply", "_record", "copy"})


def caller_origin() -> Origin:
    """The origin of the traced call under way: the innermost frame outside of gradsmith."""
    frame: FrameType | None = sys._getframe(1)
    is_result = True
    while frame is not None:
        code = frame.f_code
        side = _side(code.co_filename)
        if side == _USERS:
            break
        if is_result and code.co_name not in _ON_THE_WAY:
            is_result = _code(code).destinations.get(frame.f_lasti) == _RETURNED
        frame = None if side == _ENTRY else frame.f_back
    if frame is None:
        return NOWHERE
    known, name = _code(code), None
    line = known.lines[bisect_right(known.starts, frame.f_lasti) - 1] or frame.f_lineno
    path = code.co_filename
    while is_result and frame is not None and _side(frame.f_code.co_filename) == _USERS:
        name = _code(frame.f_code).destinations.get(frame.f_lasti)
        if name != _RETURNED:
            break
        name, frame = None, frame.f_back
    return _at(path, line, name)


@lru_cache(maxsize=65536)
def _at(path: str, line: int, name: str | None) -> Origin:
    return _shared(os.path.basename(path), line, name, path)


@lru_cache(maxsize=4096)
def _side(path: str) -> int:
    if not path.startswith(_PACKAGE):
        return _USERS
    return _ENTRY if path.startswith(_COMMAND_LINE) else _OURS


class _Code(NamedTuple):
    """What is known of a code object.

    Where each line begins, and which (None: that it has none), and by offset where results go, as `_destinations` says.
    Asking Python for the line of a frame takes longer the longer its function is.
    """

    code: CodeType
    starts: list[int]
    lines: list[int | None]
    destinations: dict[int, str]


def _code(code: CodeType) -> _Code:
    # by identity: a code object is hashed by all that it holds, which takes longer than all else here
    known = _CODES.get(id(code))
    if known is None or known.code is not code:
        if len(_CODES) >= _MOST_CODES:
            _CODES.clear()
        lines = [*code.co_lines()]
        known = _CODES[id(code)] = _Code(code, [r[0] for r in lines], [r[2] for r in lines], _destinations(code))
    return known


_MOST_CODES = 4096
_CODES: dict[int, _Code] = {}


def _destinations(code: CodeType) -> dict[int, str]:
    """Offset of an instruction whose result is stored or returned, or of an inline cache behind it -> where to."""
    found: dict[int, str] = {}
    instructions = (i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG")  # before variable 256 on
    for instruction, following in itertools.pairwise(instructions):
        name = _stored_in(following.opname, following.argval)
        if name is not None:
            found.update(dict.fromkeys(range(instruction.offset, following.offset, 2), name))
    return found


def _stored_in(opname: str, argument: object) -> str | None:
    """The variable that an instruction stores in, `_RETURNED` where it returns, or None."""
    if opname == "RETURN_VALUE":
        return _RETURNED
    if opname.startswith("STORE_") and opname not in ("STORE_SUBSCR", "STORE_SLICE", "STORE_ATTR"):
        name = argument[0] if isinstance(argument, tuple) else str(argument)  # STORE_FAST_LOAD_FAST has two names
        return name if name.isidentifier() else None  # pytest keeps parts of an assertion in `@py_assert1`
    return None


def statement_text(origin: Origin, width: int = 88) -> str:
    """The user's statement at `origin` on one line, or "" where the source cannot be read."""
    if not origin.path or not origin.line:
        return ""
    text = _statements(origin.path).get(origin.line, "") or linecache.getline(origin.path, origin.line)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def described(origin: Origin) -> str:
    """`at model.py:12: h = A @ b`, as errors say it; "" for no place in a file."""
    text = statement_text(origin)
    return f"at {origin}" + (f": {text}" if text else "") if origin.line else ""


@lru_cache(maxsize=256)
def _statements(path: str) -> dict[int, str]:
    """Line number -> source of the simple statement that covers it."""
    lines = linecache.getlines(path)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr):
            end = node.end_lineno or node.lineno
            text = "\n".join(lines[node.lineno - 1 : end])
            found.update(dict.fromkeys(range(node.lineno, end + 1), text))
    return found
