"""Algorithms on whole arrays for all targets from one text: loops in a small subset of Python become Python and C.

In: the text of a function of flat arrays, row by row, and numbers. Out: `algorithm(…)`, the cells and support of an op
record for Python and C (double and float), and the op on NumPy arrays, of numbers or of objects; `listed` is the cell
by which NumPy code calls the Python text. Guarantee: all of them do the same operations in the same order.

The subset: assignments, also to elements; `for i in range(…)` (a third argument is -1), `while`, `if`; arithmetic,
comparisons, `and`, `or`; `abs`, `sqrt`, `float`, `int`, `nan`. What is subscripted is an array; other parameters, loop
variables and what is made of them alone are whole numbers; all else are real numbers, and so are arrays, unless the
annotation is `int`. The result is the parameter `y`, scratch memory `work`. No division may be by 0, because Python
raises there.
"""

from __future__ import annotations

import ast
import functools
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..dims import atom, whole
from ..registry import Cell, Params
from ..types import Type, format_shape, static_shape
from ._c_expressions import SIGNS, CExpressions

__all__ = ["Algorithm"]

_BY_LISTS = '''\
import math
def _by_lists(function, shape, dtype, arrays, *numbers):
    """The result of an algorithm on lists of numbers, as an array."""
    y = [0] * math.prod(shape)
    function(*(x.ravel().tolist() for x in arrays), y, *numbers)
    return np.array(y, dtype=dtype).reshape(shape)
'''


_Support = str | tuple[str, ...] | Callable[[], str | tuple[str, ...]]


class _Written(Mapping[str, Any]):
    """Texts, of which some are written by a function the first time they are read: most programs read none."""

    def __init__(self, texts: Mapping[str, _Support]) -> None:
        self._texts = dict(texts)

    def __getitem__(self, key: str) -> str | tuple[str, ...]:
        text = self._texts[key]
        if callable(text):
            text = self._texts[key] = text()
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class Algorithm:
    """One algorithm in the words of each target; `scratch` and `arguments` as in `registry.Kernel`."""

    def __init__(self, text: str) -> None:
        self.source = textwrap.dedent(text).strip()
        (self.function,) = ast.parse(self.source).body
        assert isinstance(self.function, ast.FunctionDef)
        self.name = self.function.name
        parameters = [a.arg for a in self.function.args.args]
        self.operands = parameters.index("y")
        self.places = ", ".join(f"{{{i}}}" for i in range(len(parameters)))

    def cells(self, **others: Cell) -> dict[str, Cell]:
        """The cells of Python and C, and others."""
        return {"python": f"_{self.name}({self.places})", "c": f"gs_{self.name}({self.places})", **others}

    def support(self, **others: _Support) -> Mapping[str, _Support]:
        """The support of Python and C, and of others; each text is written when it is asked for."""
        texts = {
            "python": self.python,
            "c": lambda: _C(self, "double").text(),
            "c.float32": lambda: _C(self, "float").text(),
        }
        return _Written({**texts, **others})

    def by_lists(self) -> Callable[[], tuple[str, ...]]:
        """What writes what `listed` needs in NumPy code."""
        return lambda: (self.python(), _BY_LISTS)

    def python(self, sqrt: str = "math.sqrt") -> str:
        """The text itself, in the names of Python's `math`."""
        tree = ast.parse(self.source)
        (function,) = tree.body
        assert isinstance(function, ast.FunctionDef)
        function.name = f"_{self.name}"
        for a in function.args.args:
            a.annotation = None
        text = ast.unparse(_Named({"sqrt": sqrt, "nan": "math.nan"}).visit(tree))
        text = text.replace(f"'{ast.get_docstring(function)}'", f'"{ast.get_docstring(function)}"')
        return f"import math\n{text}\n" if "math." in text else f"{text}\n"

    def listed(self, infer: Callable[..., Type], arguments: Callable[..., Any], scratch: Any = None) -> Cell:
        """NumPy's call of the Python text."""

        def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
            type = infer(*types, **params)
            numbers = [whole(v) for v in arguments(*types, params)]
            work = [f"[0.0] * {atom(scratch(*types, params))}"] if scratch else []
            arrays = f"({', '.join(args)}{',' if len(args) == 1 else ''})"
            dtype = f'"{type.dtype.name}"'
            return (
                f"_by_lists({', '.join([f'_{self.name}', format_shape(type.shape), dtype, arrays, *work, *numbers])})"
            )

        return cell

    def evaluate(self, infer: Callable[..., Type], arguments: Callable[..., Any], scratch: Any = None) -> Any:
        """The op on NumPy arrays, and on arrays of mpmath's numbers."""

        def call(*arrays: Any, **params: Any) -> Any:
            arrays = tuple(np.asarray(a) for a in arrays)
            types = [Type(a.shape) for a in arrays]
            shape = static_shape(infer(*types, **params).shape)
            exact = any(a.dtype == object for a in arrays)
            y: list[Any] = [0] * math.prod(shape)
            work = [[0.0] * scratch(*types, params)] if scratch else []
            _compiled(self, exact)(*(a.ravel().tolist() for a in arrays), y, *work, *arguments(*types, params))
            return np.array(y, dtype=object if exact else None).reshape(shape)

        return call


@functools.cache
def _compiled(algorithm: Algorithm, exact: bool) -> Callable[..., Any]:
    space: dict[str, Any] = {"_sqrt": _exact_sqrt}
    exec(algorithm.python("_sqrt" if exact else "math.sqrt"), space)
    return space[f"_{algorithm.name}"]  # type: ignore[no-any-return]


def _exact_sqrt(x: Any) -> Any:
    return x**0.5 if isinstance(x, float) else x.sqrt()


class _Named(ast.NodeTransformer):
    """Other words for some names."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> Any:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


# --- C ----------------------------------------------------------------------------------------------------------------

_WHOLE = "ptrdiff_t"


class _C(CExpressions):
    """The algorithm in C, with real numbers of the type `real`."""

    signs: ClassVar[Mapping[type, tuple[str, int]]] = {**SIGNS, ast.FloorDiv: ("/", 6)}

    def __init__(self, algorithm: Algorithm, real: str) -> None:
        function = algorithm.function
        assert isinstance(function, ast.FunctionDef)
        self.function, self.name, self.real, self.f = function, algorithm.name, real, "f" if real == "float" else ""
        names = (n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        self.times = Counter(n.id for n in names)  # how often each is assigned
        subscripts = [n for n in ast.walk(function) if isinstance(n, ast.Subscript)]
        stored = {_name(s) for s in subscripts if isinstance(s.ctx, ast.Store)}
        self.arrays: dict[str, str] = {}
        self.declared: set[str] = set()
        self.kinds: dict[str, str] = {}
        self.parameters = []
        used = {_name(s) for s in subscripts}
        for a in function.args.args:
            if a.arg in used:
                self.arrays[a.arg] = "int64_t" if a.annotation is not None else real
                constant = "" if a.arg in stored else "const "
                self.parameters.append(f"{constant}{self.arrays[a.arg]} *{a.arg}")
            else:
                self.kinds[a.arg] = _WHOLE
                self.parameters.append(f"{_WHOLE} {a.arg}")

    def text(self) -> str:
        """The function, for inclusion in any number of files that are one unit of translation."""
        name = f"gs_{self.name}{self.f}"
        lines = self._block(self.function.body, 1)
        (first, *rest) = lines
        head = "\n".join(
            textwrap.wrap(f"static void {name}({', '.join(self.parameters)}) {{", 110, subsequent_indent="    ")
        )
        return "\n".join([f"#ifndef {name.upper()}", f"#define {name.upper()}", first[4:], head, *rest, "}", "#endif"])

    def _block(self, body: Sequence[ast.stmt], depth: int) -> list[str]:
        pad = "    " * depth
        lines: list[str] = []
        outside = set(self.declared)
        for s in body:
            match s:
                case ast.Expr(value=ast.Constant(value=str(doc))):
                    lines.append(f"{pad}/* {doc} */")
                case ast.Assign(targets=[ast.Name(id=name)]):
                    lines.append(f"{pad}{self._declared(name, s.value)}{name} = {self._of(s.value)[0]};")
                case ast.Assign(targets=[ast.Subscript() as place]):
                    kind = self.arrays[_name(place)]
                    cast = "" if kind == self.kind(s.value) else f"({kind})"
                    value = self._at(s.value, 8) if cast else self._of(s.value)[0]
                    lines.append(f"{pad}{self._of(place)[0]} = {cast}{value};")
                case ast.AugAssign():
                    lines.append(f"{pad}{self._of(s.target)[0]} {self.signs[type(s.op)][0]}= {self._of(s.value)[0]};")
                case ast.For(target=ast.Name(id=name), iter=ast.Call(args=bounds)):
                    self.kinds[name] = _WHOLE
                    lines.append(f"{pad}for ({_WHOLE} {self._range(name, bounds)}) {{")
                    lines += [*self._block(s.body, depth + 1), f"{pad}}}"]
                case ast.While():
                    lines += [f"{pad}while ({self._of(s.test)[0]}) {{", *self._block(s.body, depth + 1), f"{pad}}}"]
                case ast.If():
                    lines += self._if(s, depth)
                case _:
                    raise AssertionError(f"{self.name}: {ast.unparse(s)!r} is not part of the subset")
        self.declared = outside
        return lines

    def _if(self, s: ast.If, depth: int) -> list[str]:
        pad = "    " * depth
        lines = [f"{pad}if ({self._of(s.test)[0]}) {{", *self._block(s.body, depth + 1)]
        if s.orelse:
            lines += [f"{pad}}} else {{", *self._block(s.orelse, depth + 1)]
        return [*lines, f"{pad}}}"]

    def _range(self, name: str, bounds: Sequence[ast.expr]) -> str:
        start, stop = ("0", bounds[0]) if len(bounds) == 1 else (self._of(bounds[0])[0], bounds[1])
        sign, step = (">", "--") if len(bounds) == 3 else ("<", "++")
        return f"{name} = {start}; {name} {sign} {self._at(stop, 5)}; {step}{name}"

    def _declared(self, name: str, value: ast.expr) -> str:
        """The type, where a name is new in its block. What is declared in a block is not read outside of it."""
        if name in self.declared:
            return ""
        self.declared.add(name)
        self.kinds[name] = self.kind(value)
        return f"{'const ' if self.times[name] == 1 else ''}{self.kinds[name]} "

    def kind(self, node: ast.expr) -> str:
        """The type of an expression: that of its operands."""
        match node:
            case ast.Constant():
                return _WHOLE if isinstance(node.value, int) else self.real
            case ast.Name():
                return self.kinds.get(node.id, self.real)
            case ast.Subscript():
                return self.arrays[_name(node)]
            case ast.Call(func=ast.Name(id="int")):
                return _WHOLE
            case ast.BinOp():
                return self.real if self.real in (self.kind(node.left), self.kind(node.right)) else _WHOLE
            case ast.UnaryOp():
                return self.kind(node.operand)
            case ast.IfExp():
                return self.kind(node.body)
        return self.real

    def _own(self, node: ast.expr) -> tuple[str, int] | None:
        match node:
            case ast.Constant():
                return f"{node.value!r}{'' if isinstance(node.value, int) else self.f}", 9
            case ast.Name(id="nan"):
                return ("NAN" if self.f else "(double)NAN"), 8
            case ast.Name():
                return node.id, 9
            case ast.Subscript():
                return f"{_name(node)}[{self._of(node.slice)[0]}]", 9
            case ast.Call(func=ast.Name(id="int"), args=[x]):
                return f"({_WHOLE}){self._at(x, 8)}", 8
            case ast.Call(func=ast.Name(id="float"), args=[x]):
                return f"({self.real}){self._at(x, 8)}", 8
            case ast.Call(func=ast.Name(id="abs"), args=[x]):
                return f"fabs{self.f}({self._of(x)[0]})", 9
            case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
                return f"sqrt{self.f}({self._of(x)[0]})", 9
        return None


def _name(node: ast.Subscript) -> str:
    assert isinstance(node.value, ast.Name)
    return node.value.id
