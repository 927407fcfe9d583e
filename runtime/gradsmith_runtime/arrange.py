"""Straight lines that free values early: what is needed no more is not kept, and its name is used again.

In: the statements of a generated function, as trees. Out: the same statements, changed in place. Guarantee: results
are the same to the last bit: each operation is done at most once and on the same values.

CPython frees a number when the name that holds it is assigned again, and the next result lies where it lay. A function
that keeps its numbers until it returns takes new memory for each of them: CPython keeps that of a hundred freed numbers
at hand, and asks for more beyond.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy

__all__ = ["Order", "as_expressions", "in_order", "renamed", "straight", "walk"]

#: An order of statements, by what each of them reads and whether it makes a value.
Order = Callable[[Sequence[Sequence[int]], Sequence[bool]], list[int]]

#: Statements of one side of a choice that may become an expression.
_SHORT = 3
_CONDITIONAL = (ast.IfExp, ast.BoolOp, ast.Compare)


def walk(top: ast.AST) -> list[ast.AST]:
    """What `ast.walk` yields, in a quarter of the time, less the nodes that are a mere word, as operators are."""
    found = [top]
    for node in found:
        for name in node._fields:
            child = getattr(node, name)
            if child.__class__ is list:
                found += [c for c in child if isinstance(c, ast.AST)]
            elif isinstance(child, ast.AST) and child._fields:
                found.append(child)
    return found


def straight(function: ast.FunctionDef) -> list[ast.stmt] | None:
    """The block that computes: the function's body, or what it tries; None where names are assigned more than once."""
    block = function.body
    if isinstance(block[-1], ast.Try):
        if any(not isinstance(s, ast.Expr) for s in block[:-1]):
            return None
        block = block[-1].body
    start, choices = _start(block), [s for s in block if isinstance(s, ast.If)]
    if not isinstance(block[-1], ast.Return) or any(isinstance(n, ast.Return) for s in choices for n in walk(s)):
        return None
    made = Counter(name for s in block[start:-1] for name in _names(s, ast.Store))
    given = {name for s in block[:start] for name in _names(s, ast.Store)} | {a.arg for a in function.args.args}
    return block if made.keys().isdisjoint(given) and all(count == 1 for count in made.values()) else None


def _start(block: Sequence[ast.stmt]) -> int:
    """The place of the first statement that computes, behind those that take arguments apart."""
    return next(i for i, s in enumerate(block) if not (isinstance(s, ast.Expr) or _unpacks(s)))


def _unpacks(s: ast.stmt) -> bool:
    return isinstance(s, ast.Assign) and not isinstance(s.targets[0], ast.Name)


def _names(node: ast.AST, context: type[ast.expr_context]) -> list[str]:
    """The names that are stored or loaded, each once."""
    return [*dict.fromkeys(n.id for n in walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context))]


def as_expressions(block: list[ast.stmt]) -> None:
    """Let a choice of one value be an expression, which moves to where it is read.

    >>> tree = ast.parse("if s < 0.5:\\n    y = 1.0 - s\\nelse:\\n    t = 1.0 / x\\n    y = t * t")
    >>> as_expressions(tree.body)
    >>> print(ast.unparse(tree))
    y = 1.0 - s if s < 0.5 else (t := (1.0 / x)) * t
    """
    if not any(isinstance(s, ast.If) for s in block):
        return
    reads = Counter(n.id for s in block for n in walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    for at, s in enumerate(block):
        if not isinstance(s, ast.If):
            continue
        sides = [_side(side, reads) for side in (s.body, s.orelse)]
        found = [side for side in sides if side is not None]
        if len(found) == 2 and found[0][0] == found[1][0]:
            name, choice = found[0][0], ast.IfExp(s.test, found[0][1], found[1][1])
            made = ast.Assign([ast.Name(name, ast.Store())], ast.copy_location(choice, s))
            block[at] = ast.fix_missing_locations(ast.copy_location(made, s))


def _side(body: list[ast.stmt], reads: Counter[str]) -> tuple[str, ast.expr] | None:
    """The name that one side of a choice assigns, and its value; None if there is more to it."""
    pairs = [(t.id, s.value) for s in body if isinstance(s, ast.Assign) and isinstance(t := s.targets[0], ast.Name)]
    if not 0 < len(pairs) == len(body) <= _SHORT:
        return None
    *first, (target, value) = pairs
    value = deepcopy(value) if first else value  # the other side may refuse, and all stays as it is
    for name, held in reversed(first):
        count = sum(isinstance(n, ast.Name) and n.id == name for n in walk(value))
        unconditional = not any(isinstance(n, _CONDITIONAL) for n in walk(value))
        if not count or count != reads[name] or (count > 1 and not unconditional):
            return None
        value = _First(name, held if count == 1 else ast.NamedExpr(ast.Name(name, ast.Store()), held)).visit(value)
    return target, value


class _First(ast.NodeTransformer):
    """A value where its name is read first, in the order of evaluation, which is that of the tree."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id != self.name:
            return node
        self.name = ""
        return ast.copy_location(self.value, node)


def in_order(block: list[ast.stmt], order: Order) -> None:
    """Put the statements that compute into an order in which few values wait for the statements that read them."""
    start = _start(block)
    body = block[start:-1]
    makers = {name: i for i, s in enumerate(body) for name in _names(s, ast.Store)}
    reads = [sorted({makers[n] for n in _names(s, ast.Load) if makers.get(n, i) != i}) for i, s in enumerate(body)]
    block[start:-1] = [body[i] for i in order(reads, [True] * len(body))]


def renamed(block: list[ast.stmt], kept: Collection[str]) -> None:
    """Let values take the names of others that are read no more, but for the names `kept`.

    >>> tree = ast.parse("a = x * x\\nb = a + a\\nc = b * a\\nreturn c")
    >>> renamed(tree.body, kept=())
    >>> print(ast.unparse(tree))
    a = x * x
    b = a + a
    a = b * a
    return a
    """
    start = _start(block)
    found = [(s, [n for n in walk(s) if isinstance(n, ast.Name)]) for s in block[start:]]
    own = {n.id for _, names in found for n in names if isinstance(n.ctx, ast.Store)}.difference(kept)
    last = {n.id: i for i, (_, names) in enumerate(found) for n in names}
    new: dict[str, str] = {}
    free: list[str] = []

    def store(name: str) -> None:
        if name in own and name not in new:
            new[name] = free.pop() if free else name

    for i, (s, names) in enumerate(found):
        target = s.targets[0] if isinstance(s, ast.Assign) else None
        for n in names:
            if isinstance(n.ctx, ast.Store) and n is not target:  # it is stored while all others are there
                store(n.id)
        free += [new[name] for name in dict.fromkeys(n.id for n in names) if name in new and last[name] == i]
        if isinstance(target, ast.Name):
            store(target.id)
    for _, names in found:
        for n in names:
            n.id = new.get(n.id, n.id)
