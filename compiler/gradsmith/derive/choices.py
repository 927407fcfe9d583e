"""Choices that wait in reverse mode: which share of a cotangent counts under which conditions.

A `where` passes its cotangent whole to both branches, and remembers with it under which condition it counts. The choice
is made where a branch joins the rest of the function: `where(c, share, 0)` there is 0 also when the rules of the branch
gave inf or NaN on the way, as the slope of sqrt does at 0; a choice made at the `where` itself would be 0 times that.

In: the shares that arrive at a node of a graph. Out: the choices that go on waiting behind it (`kept`), and the sum of
all shares under the others (`chosen`). Loops and branches take choices in and out as masks: booleans beside the
cotangents of their results and operands (`mask`), which tell where a cotangent counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from ..graph import Graph, Node
from ..ops import broadcast_to, logical_and, logical_not, logical_or, scatter, where
from ..regions import with_inner
from ..registry import lookup
from ..trace import Expr
from ..types import Shape

__all__ = [
    "Choice", "Share", "any_of", "arriving_masks", "chosen", "forwards", "is_scalar", "kept", "mask", "tame", "under",
    "wild",
]  # fmt: skip

_DEEPEST = 16  # choices within choices that wait; beyond it, they are made early


class Choice(NamedTuple):
    """One branch of a `where`: the condition, and whether the branch is taken where it holds."""

    condition: int  # the serial of its `Expr`, which has no == of its own
    holds: bool


class Share(NamedTuple):
    """What arrives at a value from one of its users, and the choices under which it counts, the outermost first."""

    value: Expr
    under: tuple[Choice, ...] = ()


def under(condition: Expr, conditions: dict[int, Expr], holds: bool = True) -> Choice:
    """The choice by `condition`, which is noted in `conditions`. One condition for all elements is a scalar."""
    while condition.op.name == "broadcast_to" and condition.args[0].shape == ():
        condition = condition.args[0]
    conditions[condition.serial] = condition
    return Choice(condition.serial, holds)


def is_scalar(choice: Choice, conditions: Mapping[int, Expr]) -> bool:
    """Whether a choice is for all elements at once, and not for each by itself."""
    return conditions[choice.condition].shape == ()


# --- where a choice must wait -----------------------------------------------------------------------------------------


def tame(node: Node) -> bool:
    """Whether a cotangent or tangent of 0 always passes through `node` as 0."""
    op = lookup(node.op)
    if op.kind == "region":
        return all(tame(n) for body in node.bodies.values() for n in with_inner(body) if n.type.dtype.kind == "float")
    return op.tame or op.kind in ("leaf", "layout", "assembly", "part")


def wild(graph: Graph, active: set[int], inputs: Iterable[int] = ()) -> set[int]:
    """The nodes on whose way back a cotangent of 0 may meet an infinite slope, also beyond `inputs`."""
    found = set(inputs) & active
    for n in graph.ordered():
        if n.key in active and (not tame(n) or not found.isdisjoint(n.args)):
            found.add(n.key)
    return found


def forwards(node: Node, active: set[int]) -> bool:
    """Whether a choice costs no more behind `node` than before it, so that it can meet its other branch there."""
    return lookup(node.op).kind == "elementwise" and sum(a in active for a in node.args) == 1


def kept(node: Node, found: Sequence[Share], conditions: Mapping[int, Expr]) -> tuple[Choice, ...]:
    """The choices that may wait until the operands of `node`: those under which all of its cotangent arrives."""
    answer: list[Choice] = []
    for choice in found[0].under:
        if _passes(node, choice, conditions) and len(answer) < _DEEPEST and all(choice in s.under for s in found):
            answer.append(choice)
    return tuple(answer)


def _passes(node: Node, choice: Choice, conditions: Mapping[int, Expr]) -> bool:
    """Whether a choice may wait behind `node`: one by elements does not see them change places."""
    return lookup(node.op).kind in ("elementwise", "part", "leaf") or is_scalar(choice, conditions)


def any_of(
    node: Node, found: Sequence[Share], still: Sequence[Choice], conditions: dict[int, Expr], g: Expr
) -> tuple[Choice, ...]:
    """One more choice, where all shares are under some besides those that wait `still`: that one of them counts."""
    rest = [tuple(c for c in s.under if c not in still) for s in found]
    single = {choices[0] for choices in rest if len(choices) == 1}
    if (
        len(set(rest)) < 2
        or not all(rest)
        or any(c._replace(holds=not c.holds) in single for c in single)  # one of the two sides always counts
        or any(len(choices) > _DEEPEST for choices in rest)
        or not all(_passes(node, c, conditions) for choices in rest for c in choices)
    ):
        return ()
    at_once = all(is_scalar(c, conditions) for choices in rest for c in choices)  # then behind changes of shape, too
    masks = [mask(choices, conditions, () if at_once else g.shape) for choices in dict.fromkeys(rest)]
    return (under(reduce(logical_or, masks), conditions),)


def arriving_masks(graph: Graph, active: set[int], outputs: Iterable[int], inputs: Iterable[int] = ()) -> set[int]:
    """The loops and branches whose results may be under a choice that is not one for all of them.

    `outputs` are those that come under a mask. A loop may be found here that is under none, as rules may let no
    cotangent pass.
    """
    by_elements, at_once, found, wilds = set(outputs), set[int](), set[int](), wild(graph, active, inputs)
    nodes = [n for n in graph.ordered() if n.key in active]
    results = Counter(n.args[0] for n in nodes if lookup(n.op).kind == "part")
    for n in reversed(nodes):
        op = lookup(n.op)
        if op.choice:
            condition = graph.node(n.args[0])
            while condition.op == "broadcast_to":
                condition = graph.node(condition.args[0])
            (by_elements if condition.type.shape else at_once).update(n.args[1:])
        some = n.key in by_elements or (n.key in at_once and any(results[a] > 1 for a in n.args))
        if op.kind == "part" and n.args[0] in wilds and some:
            found.add(n.args[0])
        if op.kind in ("elementwise", "region") and (n.key in by_elements or n.key in found):
            by_elements.update(n.args)
        if n.key in at_once:
            at_once.update(n.args)
    return found


# --- making choices ---------------------------------------------------------------------------------------------------


def mask(choices: Sequence[Choice], conditions: Mapping[int, Expr], shape: Shape) -> Expr:
    """Where all of the choices let a cotangent of this shape count."""
    held = (conditions[c.condition] if c.holds else logical_not(conditions[c.condition]) for c in choices)
    return reduce(logical_and, (c if c.shape == shape else broadcast_to(c, shape) for c in held))


def chosen(shares: Sequence[Share], conditions: Mapping[int, Expr]) -> Expr:
    """The sum of all shares, each counted under its choices only."""
    if len(shares) == 1 and not shares[0].under:
        return shares[0].value
    free = [s.value for s in shares if not s.under]
    sides: dict[int, tuple[list[Share], list[Share]]] = {}
    for s in shares:
        if s.under:
            outermost, *rest = s.under
            sides.setdefault(outermost.condition, ([], []))[not outermost.holds].append(s._replace(under=tuple(rest)))
    for serial, (taken, other) in sides.items():
        free.append(where(conditions[serial], *(chosen(side, conditions) if side else 0.0 for side in (taken, other))))
    return _total(free)


def _total(shares: Sequence[Expr]) -> Expr:
    """The sum of all shares. Scattered ones join into one scatter: reading n elements one by one costs O(n)."""
    if len(shares) == 1:
        return shares[0]
    scattered = [s for s in shares if s.op.name == "scatter"]
    if len(scattered) > 1:
        parts = [a for s in scattered for a in s.args]
        keys = tuple(k for s in scattered for k in s.params["keys"])
        joined = scatter(*parts, shape=scattered[0].shape, keys=keys)
        joint = {s.serial for s in scattered}
        shares = [joined, *(s for s in shares if s.serial not in joint)]
    total = shares[0]
    for share in shares[1:]:
        total = total + share
    return total
