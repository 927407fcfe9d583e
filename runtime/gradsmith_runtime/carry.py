"""Loops that read neighbours: what one step of a loop has for the next is kept, and not read or computed again.

    for i in range(9):                    u, a = f(x[0]), x[0]
        u = f(x[i])                       for i in range(9):
        v = f(x[i + 1])           ->          b = x[i + 1]
        y[i + 1] = u + v * x[i]               v = f(b)
                                              y[i + 1] = u + v * a
                                              u, a = v, b

In: the definition of a generated function, as a tree. Out: the same definition, changed in place. Guarantee: results
are the same to the last bit: an expression is left out only where the step before did the same operations on the same
elements, which nothing has changed. Loops with anything else than a fixed number of steps, assignments, sums and stores
stay as they are.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeGuard

from .arrange import walk
from .condense import replace

__all__ = ["carry"]

_Form = tuple[object, ...]


class _OfName(ast.Subscript):
    """An element of what has a name, for mypy."""

    value: ast.Name


#: What is computed in every step: elements that one side of a choice reads may not be there.
_UNCONDITIONAL = (
    *(ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Attribute, ast.Subscript),
    *(ast.operator, ast.unaryop, ast.expr_context),
)


def carry(function: ast.FunctionDef) -> None:
    """Change the loops that read neighbours.

    >>> text = "def f(x):\\n    y = [0.0] * 8\\n    for i in range(8):\\n        y[i] = x[i] * x[i + 1]\\n    return y"
    >>> tree = ast.parse(text)
    >>> carry(tree.body[0])
    >>> print(ast.unparse(tree))
    def f(x):
        y = [0.0] * 8
        _gs_x_0 = x[0]
        for i in range(8):
            _gs_x_1 = x[i + 1]
            y[i] = _gs_x_0 * _gs_x_1
            _gs_x_0 = _gs_x_1
        return y
    """
    counted = [s for s in walk(function) if isinstance(s, ast.For)]
    if not counted:
        return
    everywhere = Counter(n.id for n in ast.walk(function) if isinstance(n, ast.Name))
    fresh, lists = _made_here(function), {n.value.id for n in ast.walk(function) if _array(n)}
    within = Counter(n.id for s in counted for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == _counter(s))
    blocks = [function.body, *(s.body for s in function.body if isinstance(s, ast.Try))]
    for body in blocks:
        for at, s in reversed([*enumerate(body)]):
            if not isinstance(s, ast.For) or within[_counter(s)] != everywhere[_counter(s)]:
                continue
            loop = _Loop.of(s, everywhere, fresh, lists)
            if loop is not None:
                body[at : at + 1] = [ast.fix_missing_locations(ast.copy_location(t, s)) for t in loop.changed()]


def _made_here(function: ast.FunctionDef) -> set[str]:
    """The lists that are made in the function, `[0.0] * 9`, and that no other name and no function may hold."""
    made: set[str] = set()
    shared = {a.id for n in ast.walk(function) if isinstance(n, ast.Call) for a in n.args if isinstance(a, ast.Name)}
    for s in ast.walk(function):
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name):
            if isinstance(s.value, ast.BinOp) and isinstance(s.value.left, ast.List):
                (shared if s.targets[0].id in made else made).add(s.targets[0].id)
            elif isinstance(s.value, ast.Name):
                shared |= {s.value.id, s.targets[0].id}
    return made - shared


@dataclass
class _Values:
    """Expressions by what they compute; equal ones have one number."""

    numbers: dict[_Form, int] = field(default_factory=dict)
    forms: list[_Form] = field(default_factory=list)
    next: dict[int, int | None] = field(default_factory=dict)

    def number(self, *form: object) -> int:
        if form not in self.numbers:
            self.numbers[form] = len(self.forms)
            self.forms.append(form)
        return self.numbers[form]

    def unlike(self) -> int:
        """The number of what is equal to nothing else."""
        return self.number("unlike", len(self.forms))

    def later(self, value: int) -> int | None:
        """What has this value in the step before: the same expression one place further, if the loop has it."""
        if value not in self.next:
            kind, *parts = self.forms[value]
            if kind == "element":
                array, place = parts
                assert isinstance(place, int)
                self.next[value] = self.numbers.get(("element", array, place + 1))
            elif kind == "operation":
                name, *operands = parts
                found = [self.later(a) for a in operands if isinstance(a, int)]
                self.next[value] = None if None in found else self.numbers.get(("operation", name, *found))
            else:
                self.next[value] = value if kind == "fixed" else None
        return self.next[value]


class _Loop:
    """One loop: what its names stand for, and which of them the step before knows."""

    def __init__(self, loop: ast.For, steps: int, everywhere: Counter[str]) -> None:
        assert isinstance(loop.target, ast.Name)
        self.loop, self.steps, self.counter = loop, steps, loop.target.id
        inside = Counter(n.id for n in ast.walk(loop) if isinstance(n, ast.Name))
        self.written = {t.value.id for t in _targets(loop) if _array(t)}
        self.assigned = Counter(t.id for t in _targets(loop) if isinstance(t, ast.Name))
        self.local = {name for name in self.assigned if inside[name] == everywhere[name] and self.assigned[name] == 1}
        self.values, self.known = _Values(), dict[str, int]()
        self.definitions: dict[str, ast.Assign] = {}
        for s in loop.body:
            value = self.number(s.value)  # type: ignore[attr-defined]
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and s.targets[0].id in self.local:
                self.known[s.targets[0].id] = value
                self.definitions[s.targets[0].id] = s
        self.holders: dict[int, str] = {}
        for name in self.definitions:
            self.holders.setdefault(self.known[name], name)

    @classmethod
    def of(cls, loop: ast.For, everywhere: Counter[str], fresh: set[str], lists: set[str]) -> _Loop | None:
        """The loop, if all of it can be understood."""
        steps = _steps(loop)
        if steps is None or not _counter(loop) or loop.orelse:
            return None
        stored: set[str] = set()
        seen: set[str] = set()  # names read so far
        for s in loop.body:
            if not (isinstance(s, ast.AugAssign) or (isinstance(s, ast.Assign) and len(s.targets) == 1)):
                return None
            target = s.target if isinstance(s, ast.AugAssign) else s.targets[0]
            if not (isinstance(target, ast.Name) or _array(target)):
                return None
            parts = [n for n in ast.walk(s) if n is not s]
            given = {a.id for n in parts if isinstance(n, ast.Call) for a in n.args if isinstance(a, ast.Name)}
            if not (all(isinstance(n, _UNCONDITIONAL) for n in parts) and given.isdisjoint(lists)):
                return None
            seen.update(_loads(s))
            if isinstance(target, ast.Name) and isinstance(s, ast.Assign) and target.id in seen:
                return None  # it comes from the step before
            if isinstance(target, ast.Subscript):
                assert isinstance(target.value, ast.Name)
                stored.add(target.value.id)
        return cls(loop, steps, everywhere) if stored <= fresh else None

    def number(self, e: ast.expr) -> int:
        if isinstance(e, ast.Constant):
            return self.values.number("fixed", type(e.value).__name__, repr(e.value))
        if isinstance(e, ast.Name):
            if e.id in self.known:
                return self.known[e.id]
            outer = e.id not in self.assigned and e.id != self.counter
            return self.values.number("fixed", e.id) if outer else self.values.unlike()
        place = self.place(e)
        if place is not None:
            return self.values.number("element", *place)
        if isinstance(e, ast.BinOp):
            operation = type(e.op).__name__
            return self.values.number("operation", operation, self.number(e.left), self.number(e.right))
        if isinstance(e, ast.UnaryOp):
            return self.values.number("operation", type(e.op).__name__, self.number(e.operand))
        if isinstance(e, ast.Call) and not e.keywords:
            return self.values.number("operation", ast.unparse(e.func), *map(self.number, e.args))
        return self.values.unlike()

    def place(self, e: ast.AST) -> tuple[str, int] | None:
        """The list, and how far behind the counter, of an element that this loop does not change."""
        if not (isinstance(e, ast.Subscript) and isinstance(e.value, ast.Name)) or e.value.id in self.written:
            return None
        shift = self.shift(e.slice)
        return None if shift is None else (e.value.id, shift)

    def shift(self, index: ast.expr) -> int | None:
        """The number that is added to the counter."""
        if isinstance(index, ast.Name):
            return 0 if index.id == self.counter else None
        if isinstance(index, ast.BinOp) and isinstance(index.left, ast.Name) and isinstance(index.right, ast.Constant):
            sign = {ast.Add: 1, ast.Sub: -1}.get(type(index.op))
            if index.left.id == self.counter and sign is not None and type(index.right.value) is int:
                return sign * index.right.value
        return None

    def changed(self) -> list[ast.stmt]:
        """What stands in place of the loop."""
        carried, needed = self._carried()
        body = [s for s in self.loop.body if not self._defines(s) or self._defines(s) in needed - carried.keys()]
        first = self._first(carried)
        elements = Counter(place for s in body for n in ast.walk(s) if (place := self._read(n)) is not None)
        held = {
            (array, shift): f"_gs_{array}_{shift}".replace("-", "m")
            for (array, shift), count in elements.items()
            if count > 1 or (array, shift + 1) in elements or (array, shift - 1) in elements
        }
        before = [_assign(held[a, k], _element(a, k)) for a, k in sorted(held) if (a, k + 1) in held]
        at_once = [_assign(held[a, k], _element(a, k, self.counter)) for a, k in sorted(held) if (a, k + 1) not in held]
        after = [_assign(held[a, k], _name(held[a, k + 1])) for a, k in sorted(held) if (a, k + 1) in held]

        def held_at(n: ast.AST) -> ast.expr | None:
            place = self._read(n)
            return _name(held[place]) if place is not None and place in held else None

        for s in body:
            replace(s, held_at)
        self.loop.body = [*at_once, *body, *self._kept(carried), *after]
        self._moved()
        return [*first, *before, self.loop]

    def _defines(self, s: ast.stmt) -> str:
        """The name that this statement alone defines, "" if there is none."""
        target = s.targets[0] if isinstance(s, ast.Assign) else None
        return target.id if isinstance(target, ast.Name) and target.id in self.definitions else ""

    def _read(self, n: ast.AST) -> tuple[str, int] | None:
        return self.place(n) if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Load) else None

    def _carried(self) -> tuple[dict[str, str], set[str]]:
        """Names that hold what another one held a step before, and all names that are needed."""
        carried: dict[str, str] = {}
        needed: set[str] = set()
        stack = [n for s in self.loop.body if not self._defines(s) for n in self._names(s)]
        while stack:
            name = stack.pop()
            if name in needed:
                continue
            needed.add(name)
            value = self.known[name]
            later = self.values.later(value)
            if later is not None and later != value and later in self.holders:
                carried[name] = self.holders[later]
                stack.append(self.holders[later])
            else:
                stack += self._names(self.definitions[name])
        return carried, needed

    def _names(self, s: ast.stmt) -> list[str]:
        """The names defined in this loop that a statement reads."""
        return [name for name in _loads(s) if name in self.definitions]

    def _first(self, carried: dict[str, str]) -> list[ast.stmt]:
        """What the first step would have computed of the names `carried`."""
        wanted: set[str] = set()
        stack = [*carried]
        while stack:
            name = stack.pop()
            if name not in wanted:
                wanted.add(name)
                stack += self._names(self.definitions[name])
        lines: list[ast.stmt] = []
        for name, s in self.definitions.items():
            if name in wanted:
                again = deepcopy(s)
                replace(again, lambda n: _element(*place) if (place := self._read(n)) is not None else None)
                lines.append(again)
        return lines

    def _kept(self, carried: dict[str, str]) -> list[ast.stmt]:
        """What the next step needs; a name is read before it is assigned."""
        lines: list[ast.stmt] = []
        rest = dict(carried)
        while rest:
            ready = [name for name in rest if name not in {rest[n] for n in rest if n != name}]
            lines += [_assign(name, _name(rest.pop(name))) for name in ready]
        return lines

    def _moved(self) -> None:
        """Let the counter be the place where results are stored, if there is one."""
        indices = [n for n in ast.walk(self.loop) if isinstance(n, ast.Subscript) and self.shift(n.slice) is not None]
        stored = {self.shift(n.slice) for n in indices if isinstance(n.ctx, ast.Store)}
        counters = sum(isinstance(n, ast.Name) and n.id == self.counter for n in ast.walk(self.loop))
        by = stored.pop() if len(stored) == 1 and counters == len(indices) + 1 else 0
        if not by:
            return
        for n in indices:
            n.slice = _shifted(self.counter, (self.shift(n.slice) or 0) - by)
        self.loop.iter = ast.parse(f"range({by}, {self.steps + by})", mode="eval").body


def _steps(loop: ast.For) -> int | None:
    """How often a loop over `range(9)` runs, if at all."""
    it = loop.iter
    if isinstance(it, ast.Call) and isinstance(it.func, ast.Name) and it.func.id == "range" and len(it.args) == 1:
        count = it.args[0].value if isinstance(it.args[0], ast.Constant) else None
        return count if type(count) is int and count > 0 else None
    return None


def _targets(loop: ast.For) -> Iterator[ast.expr]:
    for s in loop.body:
        if isinstance(s, ast.Assign):
            yield from s.targets
        elif isinstance(s, ast.AugAssign):
            yield s.target


def _counter(loop: ast.For) -> str:
    return loop.target.id if isinstance(loop.target, ast.Name) else ""


def _array(n: ast.AST) -> TypeGuard[_OfName]:
    return isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name)


def _loads(s: ast.stmt) -> list[str]:
    """The names that a statement reads, those in the place where it stores something among them."""
    return [n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def _name(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _element(array: str, shift: int, counter: str = "") -> ast.expr:
    """An element as a loop reads it, or as its first step does."""
    return ast.Subscript(_name(array), _shifted(counter, shift) if counter else ast.Constant(shift), ast.Load())


def _shifted(counter: str, shift: int) -> ast.expr:
    if shift == 0:
        return _name(counter)
    return ast.BinOp(_name(counter), ast.Add() if shift > 0 else ast.Sub(), ast.Constant(abs(shift)))
