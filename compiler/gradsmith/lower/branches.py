"""Branches: statements that one side of a choice needs go under an `if`, so that the other side is not computed.

In: statements in order of computation, each with the conditions under which its value is needed. Out: the same
statements in lines, those of one condition in one block as far as their order allows. Guarantee: every value is
computed before it is read, and wherever it is read. Cheap statements that raise nothing get no block for themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..graph import Graph
from ..origin import Origin
from ..program import Line
from ..registry import lookup
from .printing import Text
from .statements import Plan

__all__ = ["Path", "Piece", "Statement", "arranged", "paths"]

_DEEPEST = 8  # blocks in blocks
#: Conditions (nodes), each with the side on which a value is needed, from the outermost.
Path = tuple[tuple[int, bool], ...]
Steps = list[tuple[Origin, list[Line]]]
Heads = Callable[[Text, bool, bool], list[str]]
Annotate = Callable[[Steps, Origin], list[Line]]


class Piece(NamedTuple):
    """A piece of code, and the statements (by the nodes they compute) whose values it reads."""

    text: Text
    reads: frozenset[int] = frozenset()
    costly: bool = False


class Statement(NamedTuple):
    """The statement that computes node `key`.

    `path`: when it is needed. `costly`: whether not computing it is worth a block. For a choice, `condition`, and
    `sides`: the lines that assign either side alone, and what they read.
    """

    key: int
    origin: Origin
    lines: tuple[Line, ...]
    reads: frozenset[int]
    path: Path = ()
    costly: bool = False
    condition: int | None = None
    sides: tuple[tuple[tuple[Line, ...], frozenset[int]], ...] = ()


def paths(graph: Graph, planned: Plan) -> Mapping[int, Path]:
    """For each node, the conditions under which any of its readers needs it."""
    found: dict[int, Path] = dict.fromkeys(planned.outputs, ())
    for n in reversed(planned.nodes):
        choice, path = lookup(n.op).choice, found[n.key]
        for i, a in enumerate(planned.operands[n.key]):
            needed = _deeper(path, n.args[0], i == 1) if choice and i else path
            found[a] = tuple(c for c in found[a] if c in needed) if a in found else needed
    return found


def _deeper(path: Path, condition: int, side: bool) -> Path:
    known = len(path) >= _DEEPEST or (condition, side) in path
    return path if known else (*path, (condition, side))


@dataclass
class _Level:
    """The statements of one side of a block, and the blocks that still take statements."""

    steps: Steps = field(default_factory=list)
    open: dict[int, _Block] = field(default_factory=dict)


@dataclass
class _Block:
    sides: dict[bool, _Level]
    computed: set[int] = field(default_factory=set)


class _Arranger:
    """The blocks so far."""

    def __init__(self, conditions: Mapping[int, Piece], heads: Heads, annotate: Annotate) -> None:
        self.conditions, self.heads, self.annotate = conditions, heads, annotate
        self.top = _Level()

    def place(self, s: Statement, path: Path) -> None:
        """`s` into the block of `path`; blocks that compute what it reads are closed first."""
        level = self.top
        if not path and not level.open:
            level.steps.append((s.origin, list(s.lines)))
            return
        reads = s.reads.union(*(self.conditions[condition].reads for condition, _ in path))
        for condition, side in path:
            self.close(level, reads, condition)
            block = level.open.setdefault(condition, _Block({True: _Level(), False: _Level()}))
            block.computed.add(s.key)
            level = block.sides[side]
        self.close(level, s.reads)
        level.steps.append((s.origin, list(s.lines)))

    def close(self, level: _Level, reads: frozenset[int] | None, but: int | None = None) -> None:
        """Write the blocks that compute any of `reads` (None: all of them)."""
        for condition, block in [*level.open.items()]:
            if condition != but and (reads is None or not block.computed.isdisjoint(reads)):
                del level.open[condition]
                level.steps += self.written(condition, block, level.steps[-1][0] if level.steps else Origin())

    def written(self, condition: int, block: _Block, before: Origin) -> Steps:
        for level in block.sides.values():
            self.close(level, None)
        places = [[(o.path, o.line, o.role) for o, _ in level.steps] for level in block.sides.values()]
        origins = [origin for level in block.sides.values() for origin, _ in level.steps]
        alike = len({*places[0], *places[1]}) == 1  # one comment, above the block, says it all
        told = (alike, alike or {*places[0]} >= {*places[1]})  # by comments that stand before
        bodies = []
        for level, silent in zip(block.sides.values(), told, strict=True):
            lines = [line for _, part in level.steps for line in part] if silent else self.annotate(level.steps, before)
            bodies.append([Line(line.depth + 1, line.text) for line in lines])
        heads = self.heads(self.conditions[condition].text, *map(bool, bodies))
        lines = [line for h, body in zip(heads, filter(None, bodies), strict=True) for line in (Line(0, h), *body)]
        return [*((o, []) for o in origins if alike), (origins[0] if alike else Origin(), lines)]


def arranged(
    statements: Sequence[Statement],
    conditions: Mapping[int, Piece],
    heads: Heads,
    annotate: Annotate,
) -> Steps:
    """The statements, in blocks where that pays.

    `heads(condition, then, otherwise)` are the lines that begin the sides which there are; `annotate` makes lines of
    steps, given the origin of what stands before them.
    """
    if not any(s.path for s in statements):
        return [(s.origin, list(s.lines)) for s in statements]
    worth = {s.path[:k] for s in statements if s.costly for k in range(1, len(s.path) + 1)}
    within: dict[int, Path] = {}
    for s in statements:
        # as deep as pays, and as what it reads for itself (not only for a side of an inner choice)
        known = {c for key in s.reads for c in within[key]}
        depth = max((k + 1 for k, c in enumerate(s.path) if s.path[: k + 1] in worth or c in known), default=0)
        within[s.key] = s.path[:depth]
    arranger = _Arranger(conditions, heads, annotate)
    for s in _conditions_first(statements, within, conditions):
        both: list[Path] = []
        if s.condition is not None:
            both = [(*s.path, (s.condition, side)) for side in (True, False)]
        if any(p in worth for p in both):
            for p, (lines, reads) in zip(both, s.sides, strict=True):
                arranger.place(s._replace(lines=lines, reads=reads), p)
        else:
            arranger.place(s, within[s.key])
    arranger.close(arranger.top, None)
    return arranger.top.steps


def _conditions_first(
    statements: Sequence[Statement], within: Mapping[int, Path], conditions: Mapping[int, Piece]
) -> list[Statement]:
    """The statements in an order in which the conditions of each come before it, too."""
    if not any(within.values()):
        return [*statements]
    by_key = {s.key: s for s in statements}
    placed: dict[int, Statement] = {}
    for s in statements:
        stack = [s]
        while stack:
            at = stack[-1]
            needs = at.reads.union(*(conditions[c].reads for c, _ in within[at.key])).difference(placed)
            if needs:
                stack += [by_key[key] for key in sorted(needs, reverse=True)]
            else:
                placed.setdefault(stack.pop().key, at)
    return [*placed.values()]
