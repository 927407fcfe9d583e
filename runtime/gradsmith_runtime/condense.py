"""Straight-line functions with fewer names: what is read once stands where it is read.

In: the definition of a generated function, as a tree. Out: the same definition, changed in place. Guarantee: results
are the same to the last bit, as each operation is done at most once and on the same values; expressions keep their
lines, so tracebacks show the text that was generated. A function with loops, or with anything else than assignments to
names, choices and `return`, keeps its names.

To store a value and to load it again costs a quarter of an operation in CPython, and names are for readers. But a
value that waits for its reader may hold less than all that it is computed from (see `arrange`): it moves there only if
at most one other value has to wait in its place.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from itertools import count

from .arrange import Order, as_expressions, in_order, renamed, straight, walk

__all__ = ["PREFIX", "condense", "replace"]

#: What names of functions of `math` begin with, which are then found without a look into the module.
PREFIX = "_gs_math_"
_MOVABLE = (
    *(ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Attribute),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
#: Levels of an expression that may move into another: CPython's compiler, and visitors of trees, walk by recursion.
_DEEPEST = 30


#: Statements of a helper that stands where it is called: a call takes as long as four operations.
_SHORT = 3


def condense(
    function: ast.FunctionDef,
    helpers: Mapping[str, ast.FunctionDef] | None = None,
    order: Order | None = None,
    kept: Collection[str] = (),
) -> None:
    """Put what is assigned once and read once where it is read, and call `math.f` by one name.

    Of `helpers`, the functions of the file by name, short ones stand where they are called. With an `order`, statements
    stand in it, and a value may have the name of another one that is read no more. Names that are `kept` stay.

    >>> tree = ast.parse("def f(x):\\n    t = x * x\\n    u = math.exp(t)\\n    return u, u + x")
    >>> condense(tree.body[0])
    >>> print(ast.unparse(tree))
    def f(x):
        u = _gs_math_exp(x * x)
        return (u, u + x)
    """
    if all(_is_plain(s) for s in _statements(function.body)):
        short = {name: f for name, f in (helpers or {}).items() if f is not function and _is_short(f)}
        if short:
            _put_in_place(function.body, short, count(1))
        block = straight(function) if order else None
        if order and block:
            as_expressions(block)
            in_order(block, order)
        condensed = _Condensed(function, kept)
        condensed.run()
        if block:
            renamed(block, condensed.handled)
    for node in walk(function):
        for field, child in ast.iter_fields(node):
            if _is_of_math(child):
                setattr(node, field, ast.copy_location(ast.Name(PREFIX + child.attr, ast.Load()), child))


def _is_of_math(node: object) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math"


def _is_short(f: ast.FunctionDef) -> bool:
    """Whether a function is a few assignments to names of its own, and a result."""
    body = f.body[1:] if ast.get_docstring(f, clean=False) is not None else f.body
    parameters = {a.arg for a in f.args.args}
    names = [s.targets[0] for s in body[:-1] if isinstance(s, ast.Assign)]
    return (
        len(body) <= _SHORT
        and isinstance(body[-1], ast.Return)
        and len(names) == len(body) - 1
        and all(isinstance(name, ast.Name) and name.id not in parameters for name in names)
        and all(isinstance(n, _MOVABLE) for s in body for part in _own(s) for n in walk(part))
        and not (f.args.vararg or f.args.kwonlyargs or f.args.kwarg or f.args.defaults)
    )


def _put_in_place(body: list[ast.stmt], helpers: Mapping[str, ast.FunctionDef], number: Iterator[int]) -> None:
    """Put `helpers` where they are called whatever happens: on one side of a choice, it might be for nothing."""
    for at, s in reversed([*enumerate(body)]):
        for inner in (getattr(s, "body", None), getattr(s, "orelse", None)):
            if inner:
                _put_in_place(inner, helpers, number)
        before: list[ast.stmt] = []

        def new(node: ast.AST, before: list[ast.stmt] = before) -> ast.expr | None:
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in helpers):
                return None
            helper = helpers[node.func.id]
            names = [a.arg for a in helper.args.args]
            if len(node.args) != len(names) or node.keywords:
                return None
            return _expanded(helper, dict(zip(names, node.args, strict=True)), f"_gs_{next(number)}_", before)

        if isinstance(s, ast.Assign | ast.Return):
            replace(s, new, lambda node: isinstance(node, ast.IfExp | ast.BoolOp | ast.Compare))
        body[at:at] = before


def _expanded(
    helper: ast.FunctionDef, arguments: Mapping[str, ast.expr], prefix: str, before: list[ast.stmt]
) -> ast.expr:
    """The result of a helper; `before` gets its statements, whose names begin with `prefix`."""
    meant: dict[str, ast.expr] = {}

    def new(node: ast.AST) -> ast.expr | None:
        return deepcopy(meant[node.id]) if isinstance(node, ast.Name) and node.id in meant else None

    def assign(name: str, value: ast.expr, place: ast.AST) -> None:
        meant[name] = ast.Name(prefix + name, ast.Load())
        statement = ast.Assign([ast.Name(prefix + name, ast.Store())], value)
        before.append(ast.fix_missing_locations(ast.copy_location(statement, place)))

    for name, value in arguments.items():
        if isinstance(value, ast.Name | ast.Constant):
            meant[name] = value
        else:
            assign(name, value, value)
    for s in helper.body:
        if isinstance(s, ast.Assign | ast.Return):
            own = deepcopy(s)
            replace(own, new)
            assert own.value is not None
            if isinstance(own, ast.Return):
                return own.value
            assert isinstance(own.targets[0], ast.Name)
            assign(s.targets[0].id, own.value, s)  # type: ignore[union-attr]
    raise AssertionError("_is_short saw a result")


def replace(
    s: ast.stmt, new: Callable[[ast.AST], ast.expr | None], stop: Callable[[ast.AST], bool] = lambda node: False
) -> None:
    """Put expressions in place of others: what `new` says, None for no change; none within what stops it."""
    stack: list[ast.AST] = [s]
    while stack:
        at = stack.pop()
        for name, child in ast.iter_fields(at):
            for place, node in enumerate(child) if isinstance(child, list) else [(-1, child)]:
                if not isinstance(node, ast.AST):
                    continue
                other = new(node)
                if other is None:
                    if not stop(node):
                        stack.append(node)
                elif place < 0:
                    setattr(at, name, ast.copy_location(other, node))
                else:
                    child[place] = ast.copy_location(other, node)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, in the order of the text."""
    for s in body:
        yield s
        if isinstance(s, ast.If):
            yield from _statements(s.body)
            yield from _statements(s.orelse)
        elif isinstance(s, ast.Try):
            yield from _statements(s.body)
            for handler in s.handlers:
                yield from _statements(handler.body)


def _is_plain(s: ast.stmt) -> bool:
    if isinstance(s, ast.Assign):
        fits = len(s.targets) == 1 and all(
            isinstance(n, ast.Name | ast.List | ast.Tuple | ast.expr_context) for n in walk(s.targets[0])
        )
    elif isinstance(s, ast.Expr):
        fits = isinstance(s.value, ast.Constant)  # the docstring
    else:
        fits = isinstance(s, ast.If | ast.Return) or (isinstance(s, ast.Try) and not (s.orelse or s.finalbody))
    return fits and not any(isinstance(n, _SCOPES) for part in _own(s) for n in walk(part))


def _own(s: ast.stmt) -> list[ast.AST]:
    """What a statement reads, less the statements within it."""
    if isinstance(s, ast.If):
        return [s.test]
    return [s.value] if isinstance(s, ast.Assign | ast.Return) and s.value is not None else []


class _Condensed:
    """How often names are read, and the values that are on their way to the place where they are."""

    def __init__(self, function: ast.FunctionDef, kept: Collection[str]) -> None:
        self.body = function.body
        self.reads: Counter[str] = Counter()
        self.stores: Counter[str] = Counter()
        self.changing: set[str] = set()  # assigned again behind a place where they are read
        self.place: dict[ast.stmt, int] = {}
        self.last: dict[str, int] = {}  # the place of the last statement that reads what is computed here
        for place, s in enumerate(_statements(function.body)):
            self.place[s] = place
            names = [n.id for part in _own(s) for n in walk(part) if isinstance(n, ast.Name)]
            self.reads.update(names)
            self.last |= {name: place for name in names if name in self.last}
            if isinstance(s, ast.Assign):
                names = [n.id for n in walk(s.targets[0]) if isinstance(n, ast.Name)]
                self.stores.update(names)
                self.changing.update(name for name in names if self.reads[name])
                if isinstance(s.targets[0], ast.Name):
                    self.last[s.targets[0].id] = place
        self.handled: set[str] = {*kept}  # and read where errors are handled
        for s in (s for t in function.body if isinstance(t, ast.Try) for h in t.handlers for s in _statements(h.body)):
            self.handled.update(n.id for n in walk(s) if isinstance(n, ast.Name))
        self.reads.update(self.handled)  # twice: they stay
        self.held: dict[str, tuple[ast.expr, int]] = {}  # and how deep they are

    def run(self) -> None:
        self.body[:] = self.condensed(self.body)

    def condensed(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """The statements that are left of a block."""
        left: list[ast.stmt] = []
        for s in body:
            if isinstance(s, ast.Try):
                s.body[:] = self.condensed(s.body)
            depth = self.filled(s)
            if isinstance(s, ast.If):
                s.body = self.condensed(s.body) or [ast.copy_location(ast.Pass(), s)]
                s.orelse = self.condensed(s.orelse)
            if isinstance(s, ast.Assign) and depth <= _DEEPEST and self.moves(s):
                assert isinstance(s.targets[0], ast.Name)
                self.held[s.targets[0].id] = s.value, depth
            else:
                left.append(s)
        return left

    def moves(self, s: ast.Assign) -> bool:
        """Whether a value may be computed where it is read: only there, from the same, of which at most one waits."""
        target = s.targets[0]
        if not isinstance(target, ast.Name) or target.id in self.changing:
            return False
        if (self.stores[target.id], self.reads[target.id]) != (1, 1):
            return False
        names = {n.id for n in walk(s.value) if isinstance(n, ast.Name)}
        movable = all(isinstance(n, _MOVABLE + (ast.NamedExpr,)) for n in walk(s.value))
        there = self.last[target.id]
        before = [name for name in names & self.last.keys() if self.last[name] < there]
        moves = names.isdisjoint(self.changing) and movable and len(before) <= 1
        if moves:
            self.last |= dict.fromkeys(before, there)
        return moves

    def filled(self, s: ast.stmt) -> int:
        """Put values in place of the names that `s` reads; how deep its expressions are then."""
        stack: list[tuple[ast.AST, int]] = [(s, 0)] if isinstance(s, ast.Assign | ast.Return) else []
        if isinstance(s, ast.If):
            stack = [(test := ast.Expr(s.test), 0)]
        deepest = 0
        while stack:
            at, depth = stack.pop()
            deepest = max(deepest, depth)
            for field, child in ast.iter_fields(at):
                for place, node in enumerate(child) if isinstance(child, list) else [(-1, child)]:
                    if isinstance(node, ast.Name) and node.id in self.held:
                        node, more = self.held.pop(node.id)
                        deepest = max(deepest, depth + more)
                        if place < 0:
                            setattr(at, field, node)
                        else:
                            child[place] = node
                    elif isinstance(node, ast.AST):
                        stack.append((node, depth + 1))
        if isinstance(s, ast.If):
            s.test = test.value
        return deepest
