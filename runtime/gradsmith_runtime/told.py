"""Which numbers of a straight-line function have to be looked at, so that all of them are known to be floats.

In: the statements of a generated function, as trees, and the names of its numbers. Out: which of the numbers have to be
looked at before they are computed with, and which values behind. Guarantee: if all of these are floats, results are
what the floats of the numbers give, to the last bit.

Sums, differences, products and quotients of a float and another number are one of three things. They are floats, made
of the float of that number: so it is with `int`, `bool` and `Fraction`. They are of another class, as with the numbers
of NumPy and complex numbers; then so is all that these operations make of them, and one look at the last of it is
enough. Or they are an error, as with `Decimal` and text. So a number needs no look of its own if a float stands beside
it wherever it is read, and one value that is made of it by these operations in every call is looked at. Functions are
no such operations: those of `math` make floats of NumPy's complex numbers.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from .arrange import walk

__all__ = ["Looks", "looks_of"]

#: Numbers that one value has to stand for, so that to look at it and to keep it pays.
_PAYS = 3
#: Functions of `math` that give a float.
_OF_FLOATS = frozenset((
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "copysign", "cos", "cosh", "erf", "erfc", "exp",
    "exp2", "expm1", "fabs", "fmod", "gamma", "hypot", "lgamma", "log", "log10", "log1p", "log2", "pow", "sin", "sinh",
    "sqrt", "tan", "tanh",
))  # fmt: skip
_OPERATIONS = (ast.Add, ast.Sub, ast.Mult, ast.Div)


@dataclass(frozen=True)
class Looks:
    """The numbers that are looked at before a function computes, and the values behind."""

    before: Sequence[str]
    behind: Sequence[str]


def looks_of(block: list[ast.stmt], numbers: Sequence[str], floats: Collection[str] = ()) -> Looks | None:
    """What to look at in place of all `numbers`, None for no better; `floats` are looked at in any case.

    The block assigns each name once. Values that are looked at and have no name get one.

    >>> tree = ast.parse("t = x * a + y * b + z * c\\nreturn math.tanh(t)")
    >>> looks_of(tree.body, ("x", "y", "z", "a", "b", "c"))
    Looks(before=['x', 'y', 'z'], behind=['t'])
    """
    uses = _Uses(frozenset(numbers), {*floats})
    for s in block:
        uses.read(s)
    looked = uses.looked
    beside = Counter(name for pair in uses.pairs for name in set(pair))
    for first, second in sorted(uses.pairs, key=lambda pair: -max(beside[name] for name in pair)):
        if looked.isdisjoint((first, second)):  # one of two has to be: the one with most others beside it
            looked.add(first if beside[first] >= beside[second] else second)
    ends: dict[str, dict[int, None]] = {name: {} for name in numbers if name not in looked}
    for name, value in uses.values:
        if name in ends:
            ends[name][uses.end(value)] = None
    common = Counter(end for found in ends.values() for end in found)
    told = {name: max(found, key=lambda end: common[end]) for name, found in ends.items() if found}
    count = Counter(told.values())
    looked.update(name for name, end in told.items() if count[end] < _PAYS)
    chosen = [end for end in count if count[end] >= _PAYS]
    if len(looked) + len(chosen) >= len(numbers):
        return None
    behind = [uses.named(end, block) for end in sorted(chosen)]
    return Looks([name for name in numbers if name in looked], behind)


@dataclass
class _Uses:
    """How numbers and values are read."""

    numbers: frozenset[str]
    floats: set[str]  # names of what is a float if all that is looked at is one
    looked: set[str] = field(default_factory=set)  # numbers that are read where no float stands beside them
    pairs: list[tuple[str, str]] = field(default_factory=list)  # numbers beside each other
    values: list[tuple[str, int]] = field(default_factory=list)  # a number, and what is made of it and a float
    reader: dict[int, int] = field(default_factory=dict)  # the first value that is made of a value in every call
    places: dict[str, int] = field(default_factory=dict)  # which value a name is
    nodes: list[tuple[ast.expr, ast.stmt]] = field(default_factory=list)

    def read(self, s: ast.stmt) -> None:
        """Enter what a statement reads, and what it assigns."""
        if isinstance(s, ast.Return) and s.value is not None:
            for part in _parts(s.value):
                self.value(part, s)
        elif isinstance(s, ast.Assign) and isinstance(target := s.targets[0], ast.Name):
            self.places[target.id] = self.value(s.value, s)
            self.enter(s)
        else:
            self.other(s)
            self.enter(s)

    def enter(self, s: ast.stmt) -> None:
        """Enter which of the names that a statement assigns are floats, on any side of a choice."""
        found: dict[str, bool] = {}
        for n in walk(s) if isinstance(s, ast.If) else [s]:
            if isinstance(n, ast.Assign) and isinstance(target := n.targets[0], ast.Name):
                found[target.id] = found.get(target.id, True) and self.is_float(n.value)
                if found[target.id]:
                    self.floats.add(target.id)
                else:
                    self.floats.discard(target.id)

    def is_float(self, node: ast.expr) -> bool:
        """Whether a value is a float if all that is looked at is one; a number beside another number is looked at."""
        if isinstance(node, ast.Name):
            return node.id in self.floats or node.id in self.numbers
        if isinstance(node, ast.UnaryOp):
            return isinstance(node.op, ast.USub) and self.is_float(node.operand)
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, _OPERATIONS) and (self.is_float(node.right) or self.is_float(node.left))
        if isinstance(node, ast.IfExp):
            return self.is_float(node.body) and self.is_float(node.orelse)
        return _is_of_floats(node) or (isinstance(node, ast.Constant) and type(node.value) is float)

    def other(self, node: ast.AST) -> None:
        """Any other expression: numbers that it reads are looked at."""
        names = {n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        self.looked |= names & self.numbers

    def value(self, node: ast.expr, s: ast.stmt) -> int:
        """Which value an expression is."""
        if isinstance(node, ast.Name) and node.id in self.places:
            return self.places[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):  # of a number: -0 has no sign
            return self.above(node, s, [self.value(node.operand, s)])
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATIONS):
            return self.operation(node, s)
        if isinstance(node, ast.Call) and _is_of_floats(node):
            for argument in node.args:
                self.value(argument, s)
        else:
            self.other(node)
        return self.above(node, s, [])

    def is_number(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.numbers

    def operation(self, node: ast.BinOp, s: ast.stmt) -> int:
        names = [side.id for side in (node.left, node.right) if isinstance(side, ast.Name) and side.id in self.numbers]
        others = [side for side in (node.left, node.right) if not self.is_number(side)]
        place = self.above(node, s, [self.value(side, s) for side in others])
        if len(names) == 2:
            self.pairs.append((names[0], names[1]))
        elif names and not self.is_float(others[0]):
            self.looked.add(names[0])
        self.values += [(name, place) for name in names]
        return place

    def above(self, node: ast.expr, s: ast.stmt, inner: Sequence[int]) -> int:
        """A value that is made of others."""
        place = len(self.nodes)
        self.nodes.append((node, s))
        for value in inner:
            self.reader.setdefault(value, place)
        return place

    def end(self, value: int) -> int:
        """The last value that is made of this one."""
        way = []
        while value in self.reader:
            way.append(value)
            value = self.reader[value]
        self.reader.update(dict.fromkeys(way, value))
        return value

    def named(self, value: int, block: list[ast.stmt]) -> str:
        """The name of a value, which gets one if it has none."""
        node, s = self.nodes[value]
        if isinstance(s, ast.Assign) and s.value is node and isinstance(s.targets[0], ast.Name):
            return s.targets[0].id
        name = f"_gs_told_{value}"
        held = ast.Assign([ast.copy_location(ast.Name(name, ast.Store()), node)], node)
        block.insert(block.index(s), ast.copy_location(held, node))
        _put(s, node, ast.copy_location(ast.Name(name, ast.Load()), node))
        return name


def _parts(value: ast.expr) -> Iterator[ast.expr]:
    """The expressions within tuples and lists of results."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Tuple | ast.List):
            stack += node.elts[::-1]
        else:
            yield node


def _is_of_floats(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or node.keywords or not isinstance(f := node.func, ast.Attribute):
        return False
    return isinstance(f.value, ast.Name) and f.value.id == "math" and f.attr in _OF_FLOATS


def _put(s: ast.stmt, node: ast.expr, other: ast.expr) -> None:
    """Put an expression in place of another one."""
    for at in walk(s):
        for name, child in ast.iter_fields(at):
            if child is node:
                setattr(at, name, other)
            elif isinstance(child, list) and any(part is node for part in child):
                child[:] = [other if part is node else part for part in child]
