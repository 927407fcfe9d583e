"""Support functions for all targets from one text: a function in a small subset of Python becomes Python, NumPy and C.

In: a text of function definitions, and the coefficients of `_coefficients`. Out: `Support`, the support field of an op
record, with the texts for "python", "numpy", "c" and "c.float32". Guarantee: all of them are the same algorithm; the
float32 C functions compute in float alone.

The subset: assignments, `for _ in range(3)` or `range(n)` of a parameter that holds a whole number, one `return`;
arithmetic, comparisons, `and`, `or`, `not`, conditional expressions, calls of the functions in `_NATIVE` and of other
functions of the texts; `poly(TABLE, t)` for a polynomial.
A name in capitals is a constant or a table with a value for each width (in NumPy a constant follows its operand's
width where the two values are different numbers, not one number rounded twice). A conditional expression evaluates the
taken side only (in NumPy: chooses between both), so a function that guards its divisions raises nowhere.
"""

from __future__ import annotations

import ast
import functools
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ._c_expressions import CExpressions
from ._coefficients import CONSTANTS, TABLES

__all__ = ["Support", "call_cells", "define", "horner", "libm_cells", "numeric"]

_WIDTH = 110
#: name -> how Python, NumPy and C write it (C's float functions end in f).
_NATIVE: Mapping[str, tuple[str, str, str]] = {
    "abs": ("abs", "np.abs", "fabs"),
    "copysign": ("math.copysign", "np.copysign", "copysign"),
    "cos": ("math.cos", "np.cos", "cos"),
    "erf": ("math.erf", "_erf", "erf"),
    "erfc": ("math.erfc", "_erfc", "erfc"),
    "exp": ("math.exp", "np.exp", "exp"),
    "exp2": ("math.exp2", "np.exp2", "exp2"),
    "expm1": ("math.expm1", "np.expm1", "expm1"),
    "floor": ("math.floor", "np.floor", "floor"),
    "log": ("math.log", "np.log", "log"),
    "log1p": ("math.log1p", "np.log1p", "log1p"),
    "pow": ("math.pow", "np.power", "pow"),
    "sin": ("math.sin", "np.sin", "sin"),
    "sqrt": ("math.sqrt", "np.sqrt", "sqrt"),
}
_VALUES = {"inf": ("math.inf", "np.inf", "HUGE_VAL"), "nan": ("math.nan", "np.nan", "(double)NAN")}
_POLY = """\
def _poly(coefficients, t):
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * t + c
    return total"""
_C_POLY = """\
static double gs_poly(const double *coefficients, int count, double t) {
    double total = coefficients[0];
    for (int k = 1; k < count; ++k) {
        total = total * t + coefficients[k];
    }
    return total;
}"""
# NumPy has no such function; the C library's is called element by element, and the width is kept.
_NUMPY_LIBM = """\
import math
def _{name}(x):
    return np.vectorize(math.{name}, otypes=[np.float64])(x).astype(x.dtype)[()]"""
_PIECES = {
    ("python", "poly"): _POLY,
    ("numpy", "poly"): _POLY,
    ("c", "poly"): _C_POLY,
    ("numpy", "width"): """\
def _width(x, wide, narrow):
    return narrow if np.asarray(x).dtype == np.float32 else wide""",
    ("numpy", "erf"): _NUMPY_LIBM.format(name="erf"),
    ("numpy", "erfc"): _NUMPY_LIBM.format(name="erfc"),
}
_DEFINED: dict[str, str] = {}  # function -> its text


def define(text: str) -> None:
    """Add the functions of `text`."""
    for part in re.split(r"^(?=def )", textwrap.dedent(text), flags=re.MULTILINE):
        match = re.match(r"def (\w+)", part)
        if match:
            assert match[1] not in _DEFINED, f"the function {match[1]!r} is defined twice"
            _DEFINED[match[1]] = part.strip()


class Support(Mapping[str, tuple[str, ...]]):
    """The support field of an op whose cells call the function `name`: for each target, the texts it needs in order."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, key: str) -> tuple[str, ...]:
        if key not in tuple(self):
            raise KeyError(key)
        return _texts(self.name, key)

    def __iter__(self) -> Iterator[str]:
        return iter(("python", "numpy", "c", "c.float32"))

    def __len__(self) -> int:
        return 4


def libm_cells(name: str) -> dict[str, Any]:
    """Cells of a function of one number that Python and C have, and NumPy has not: fields of an op record."""
    return {
        "cells": {"python": f"math.{name}({{0}})", "numpy": f"_{name}({{0}})", "c": f"{name}({{0}})"},
        "support": {"numpy": _PIECES["numpy", name]},
        "evaluate": np.vectorize(getattr(math, name), otypes=[np.float64]),
    }


def call_cells(name: str, arity: int = 1) -> dict[str, Any]:
    """Cells that call the function `name`, its support, and the op on NumPy arrays: fields of an op record."""
    places = ", ".join(f"{{{i}}}" for i in range(arity))
    cells = {"python": f"_{name}({places})", "numpy": f"_{name}({places})", "c": f"gs_{name}({places})"}
    return {"cells": cells, "support": Support(name), "evaluate": numeric(name)}


def numeric(name: str) -> Callable[..., Any]:
    """The function `name` on NumPy arrays and scalars: the very text that generated NumPy code carries."""

    def call(*xs: Any) -> Any:
        with np.errstate(all="ignore"):
            return _compiled(name)(*(x if isinstance(x, np.ndarray | np.generic) else np.float64(x) for x in xs))

    return call


def horner(table: str, t: Any) -> Any:
    """The polynomial of a table at a traced value or a NumPy array, for formulas that have no function of their own."""
    first, *rest = TABLES[table][0]
    return functools.reduce(lambda total, c: total * t + c, rest, first)


@functools.cache
def _compiled(name: str) -> Callable[..., Any]:
    space: dict[str, Any] = {"np": np}
    exec("\n".join(_texts(name, "numpy")), space)
    return space[f"_{name}"]  # type: ignore[no-any-return]


@functools.cache
def _texts(name: str, key: str) -> tuple[str, ...]:
    """The texts for `key` of `name` and of all that it calls, callees first."""
    found: dict[str, None] = {}
    stack = [(name, False)]
    while stack:
        at, ready = stack.pop()
        if ready:
            found.setdefault(_text(at, key))
            continue
        stack.append((at, True))
        stack += [(callee, False) for callee in reversed(_callees(at, key)) if callee not in found]
    return tuple(found)


def _callees(name: str, key: str) -> list[str]:
    if name not in _DEFINED:
        return []
    code = _code(name) if key != "python" else _written_out(_code(name))
    words = list(dict.fromkeys(re.findall(r"\w+", code)))
    target = key.split(".")[0]
    words += ["width"] * any(map(_two_numbers, words))
    return [w for w in words if w != name and (w in _DEFINED or w in TABLES or (target, w) in _PIECES)]


def _code(name: str) -> str:
    return re.sub(r'""".*?"""|#[^\n]*', "", _DEFINED[name], flags=re.DOTALL)


def _text(name: str, key: str) -> str:
    if key in ("python", "numpy"):
        if name in TABLES:
            return _table(f"_{name} = (", TABLES[name][0], ")", "")
        if (key, name) in _PIECES:
            return _PIECES[key, name]
        return _python(name) if key == "python" else _numpy(name)
    single = key == "c.float32"
    suffix = "f" if single else ""
    if name in TABLES:
        values = TABLES[name][single]
        head = f"static const {'float' if single else 'double'} gs_{name.lower()}_table{suffix}[{len(values)}] = {{"
        text = _table(head, values, "};", suffix)
    elif ("c", name) in _PIECES:
        text = _PIECES["c", name]
        text = re.sub(r"\bdouble\b", "float", text).replace("gs_poly", "gs_polyf") if single else text
    else:
        text = _C(name, single).text()
    guard = f"GS_{name.upper()}{'_TABLE' if name in TABLES else ''}{suffix.upper()}"
    return f"#ifndef {guard}\n#define {guard}\n{text}\n#endif"


def _table(head: str, values: tuple[float, ...], end: str, suffix: str) -> str:
    body = textwrap.wrap(", ".join(f"{v!r}{suffix}" for v in values) + ",", _WIDTH - 4, break_on_hyphens=False)
    return "\n".join([head, *(f"    {line}" for line in body), end])


# --- Python -----------------------------------------------------------------------------------------------------------


def _python(name: str) -> str:
    """The text itself, with the names that Python's `math` and our helpers have."""

    def spelled(match: re.Match[str]) -> str:
        word = match[0]
        if word in _DEFINED or word in TABLES or word == "poly":
            return f"_{word}"
        if word in CONSTANTS:
            return repr(CONSTANTS[word][0])
        return (_NATIVE.get(word) or _VALUES.get(word) or (word,))[0]

    text = re.sub(r"range\(([a-z]\w*)\)", r"range(int(\1))", _DEFINED[name])
    head, quote, rest = text.partition('"""')
    doc, end, code = rest.partition('"""')
    words = re.compile(r"\b[A-Za-z_]\w*")
    code = _written_out(code)
    return words.sub(spelled, head) + quote + doc + end + words.sub(spelled, code)


#: Coefficients of a polynomial that is written out in Python, where the loop of `_poly` takes four times as long.
_SHORT = 8


def _written_out(code: str) -> str:
    """Short polynomials of a name by Horner's rule in place: the same operations as `_poly` does."""

    def horner(match: re.Match[str]) -> str:
        coefficients = TABLES[match[1]][0]
        if len(coefficients) > _SHORT:
            return match[0]
        first, *rest = map(repr, coefficients)
        text = functools.reduce(lambda total, c: f"({total} * {match[2]} + {c})", rest, first)
        return text if rest else f"({text})"

    return re.sub(r"\bpoly\((\w+), ([a-z]\w*)\)", horner, code)


# --- NumPy ------------------------------------------------------------------------------------------------------------


def _two_numbers(name: str) -> bool:
    """Whether the constant `name` is another number in each width, not one number rounded twice."""
    wide, narrow = CONSTANTS.get(name, (0.0, 0.0))
    return abs(wide - narrow) > 2.0**-20 * abs(wide)


class _Where(ast.NodeTransformer):
    """Choices element by element: `a if c else b -> np.where(c, a, b)`, `and -> &`."""

    def __init__(self, operand: str) -> None:
        self.operand = operand

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        assert not (_is_number(node.body) and _is_number(node.orelse)), (
            f"two numbers have no width: {ast.unparse(node)}"
        )
        arguments = [self.visit(part) for part in (node.test, node.body, node.orelse)]
        return ast.Call(ast.Name("np.where"), arguments, [])

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        values = [self.visit(v) for v in node.values]
        return functools.reduce(lambda a, b: ast.BinOp(a, operator, b), values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        operand = self.visit(node.operand)
        return ast.UnaryOp(ast.Invert() if isinstance(node.op, ast.Not) else node.op, operand)

    def visit_Return(self, node: ast.Return) -> Any:
        assert node.value is not None
        value = self.visit(node.value)
        chosen = isinstance(node.value, ast.IfExp)  # np.where makes a scalar an array without axes; [()] undoes it
        return ast.Return(ast.Subscript(value, ast.Tuple([])) if chosen else value)

    def visit_Name(self, node: ast.Name) -> Any:
        name = node.id
        if name in _DEFINED or name in TABLES or name == "poly":
            return ast.Name(f"_{name}")
        if _two_numbers(name):
            return ast.Call(ast.Name("_width"), [ast.Name(self.operand), *map(ast.Constant, CONSTANTS[name])], [])
        if name in CONSTANTS:
            return ast.Constant(CONSTANTS[name][0])
        return ast.Name((_NATIVE.get(name) or _VALUES.get(name) or (name, name))[1])


def _is_number(node: ast.expr) -> bool:
    while isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Name) and (node.id in CONSTANTS or node.id in _VALUES)
    )


def _numpy(name: str) -> str:
    function = ast.parse(_DEFINED[name]).body[0]
    assert isinstance(function, ast.FunctionDef)
    parameters = [a.arg for a in function.args.args]
    ordered = parameters[:2] == ["n", "x"]  # what is made of the order n alone is float64
    lines = [f"def _{name}({', '.join(parameters)}):", *(["    n = np.float64(n)"] if ordered else [])]
    for depth, statement in _statements(function):
        if isinstance(statement, str):
            lines.append(f'{depth}"""{statement}"""')
        elif isinstance(statement, ast.For):
            count = _times(statement)
            lines.append(f"{depth}for _ in range({f'int(np.max({count}))' if count.islower() else count}):")
        else:
            text = ast.unparse(_Where(parameters[-1]).visit(statement))
            if isinstance(statement, ast.Return) and ordered:
                text = f"return np.asarray({text[7:]}, dtype=np.asarray(x).dtype)[()]"
            lines += _lines(depth, text, r"(?<=,) ")  # commas stand in brackets
    return "\n".join(lines)


def _lines(depth: str, text: str, places: str) -> list[str]:
    """`text` cut at some of the `places` (a pattern) so that it fits the page."""
    lines = [depth]
    for part in re.split(places, text):
        if len(lines[-1]) + len(part) > _WIDTH and lines[-1].strip():
            lines.append(depth + "    ")
        lines[-1] += part if lines[-1].isspace() else f" {part}"
    return lines


def _times(loop: ast.For) -> str:
    """How often a loop runs: a number, or a parameter that holds a whole number."""
    assert isinstance(loop.iter, ast.Call)
    return ast.unparse(loop.iter.args[0])


def _statements(function: ast.FunctionDef) -> Iterator[tuple[str, Any]]:
    """The statements with their indentation, loops before their bodies; the docstring as a string."""
    for number, statement in enumerate(function.body):
        if number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            yield "    ", statement.value.value
            continue
        yield "    ", statement
        if isinstance(statement, ast.For):
            yield from (("        ", inner) for inner in statement.body)


# --- C ----------------------------------------------------------------------------------------------------------------

_C_BREAK = r"(?<=,) | (?=: )"


class _C(CExpressions):
    """One function in C, of doubles or of floats."""

    def __init__(self, name: str, single: bool) -> None:
        function = ast.parse(_DEFINED[name]).body[0]
        assert isinstance(function, ast.FunctionDef)
        self.name, self.function = name, function
        self.single, self.suffix, self.type = single, "f" if single else "", "float" if single else "double"

    def text(self) -> str:
        parameters = [a.arg for a in self.function.args.args]
        assigned = [
            s.targets[0].id
            for _, s in _statements(self.function)
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
        ]
        known = set(parameters)
        signature = ", ".join(f"{self.type} {p}" for p in parameters)
        lines = [f"static {self.type} gs_{self.name}{self.suffix}({signature}) {{"]
        inside = False
        for depth, s in _statements(self.function):
            if inside and depth == "    ":
                lines.append("    }")
            inside = depth != "    " or isinstance(s, ast.For)
            if isinstance(s, str):
                lines += [f"    // {line.strip()}" for line in s.strip().splitlines()]
            elif isinstance(s, ast.For):
                lines.append(f"    for ({self.type} i = 0; i < {_times(s)}; i += 1) {{")
            elif isinstance(s, ast.Return):
                assert s.value is not None
                lines += _lines(depth, f"return {self._of(s.value)[0]};", _C_BREAK)
            else:
                target = s.targets[0].id
                kind = "int" if isinstance(s.value, ast.Compare | ast.BoolOp) else self.type
                declared = "" if target in known else ("const " if assigned.count(target) == 1 else "") + kind + " "
                known.add(target)
                lines += _lines(depth, f"{declared}{target} = {self._of(s.value)[0]};", _C_BREAK)
        return "\n".join([*lines, "}"])

    def _own(self, node: ast.expr) -> tuple[str, int] | None:
        match node:
            case ast.Constant():
                return f"{node.value!r}{self.suffix}", 9
            case ast.Name():
                return self._name(node.id), 9
            case ast.UnaryOp(op=ast.Not()):
                return f"!{self._at(node.operand, 8)}", 8
            case ast.Call(func=ast.Name(id="poly"), args=[ast.Name(id=table), t]):
                count = len(TABLES[table][self.single])
                return f"gs_poly{self.suffix}(gs_{table.lower()}_table{self.suffix}, {count}, {self._of(t)[0]})", 9
            case ast.Call(func=ast.Name(id=name)):
                return f"{self._name(name)}({', '.join(self._of(a)[0] for a in node.args)})", 9
        return None

    def _name(self, name: str) -> str:
        if name in _DEFINED:
            return f"gs_{name}{self.suffix}"
        if name in _NATIVE:
            return _NATIVE[name][2] + self.suffix
        if name in CONSTANTS:
            value = CONSTANTS[name][self.single]
            return f"{value!r}{self.suffix}" if value >= 0 else f"({value!r}{self.suffix})"
        if name in _VALUES:
            text = _VALUES[name][2]
            return text.replace("HUGE_VAL", "HUGE_VALF").replace("(double)NAN", "NAN") if self.single else text
        return name
