"""Cotangents of what a loop closes over: what is added up in the loop, and what is done once, after it.

In: the cotangent that one step gives to a constant of a loop. Out: `Collector`s, whose results add up to the cotangent
of all steps. A step that touches little of a large array must not cost as much as the array is large:

    sum over steps of scatter(g)      ->  scatter(sum of g)           places that are known while tracing
    sum over steps of broadcast(g)    ->  broadcast(sum of g)
    sum over steps of add_at(g, i)    ->  add_at(all g, all i)        places that the steps choose

The last one keeps a share for each step, so it is for loops that keep their states anyway, and for sizes that are
known to be worth it whatever named dimensions are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from ..dims import Extent, certainly_at_most
from ..ops.manipulation import moveaxis
from ..trace import Expr, registry_function

__all__ = ["Collector", "collectors"]

_MOST_TERMS = 16  # of a sum that is looked into
_WORTH = 4  # times as large as its share in a step is a constant for which steps put out their shares


@dataclass(frozen=True)
class Collector:
    """A part of a cotangent: `finish` of the sums of `values` over all steps, or of all of them along a first axis."""

    values: tuple[Expr, ...]
    stacked: bool
    finish: Callable[[Sequence[Expr]], Expr]


def collectors(g: Expr, length: Extent, state: Extent | None) -> list[Collector]:
    """How the cotangent `g` of a constant is collected over `length` steps.

    `state` is the number of elements that are kept of each step, or None where steps may keep nothing.
    """
    found: list[Collector] = []
    rest: list[Expr] = []
    for term in _terms(g):
        late = _late(term, length, state)
        if late is None:
            rest.append(term)
        else:
            found.append(late)
    if not found:
        return [Collector((g,), False, _alone)]
    if rest:
        found.append(Collector((reduce(lambda a, b: a + b, rest),), False, _alone))
    return found


def _alone(totals: Sequence[Expr]) -> Expr:
    return totals[0]


def _terms(g: Expr) -> list[Expr]:
    """What `g` is the sum of."""
    found: list[Expr] = []
    stack = [g]
    while stack:
        e = stack.pop()
        if e.op.name == "add":
            stack += reversed(e.args)
        else:
            found.append(e)
        if len(found) + len(stack) > _MOST_TERMS:
            return [g]
    return found


def _late(term: Expr, length: Extent, state: Extent | None) -> Collector | None:
    rule = _RULES.get(term.op.name)
    return None if rule is None else rule(term, length, state)


def _once(term: Expr, length: Extent, state: Extent | None) -> Collector | None:
    """A linear op whose operands are smaller than its result."""
    if certainly_at_most(term.size, sum(a.size for a in term.args)):
        return None
    call = registry_function(term.op.name)
    return Collector(tuple(term.args), False, lambda totals: call(*totals, **term.params))


def _added_at(term: Expr, length: Extent, state: Extent | None) -> Collector | None:
    share, indices = term.args
    shape, axis = term.params["shape"], term.params["axis"]
    if state is None or not certainly_at_most(share.size * _WORTH, term.size):
        return None
    known = isinstance(term.size, int) and isinstance(length, int)
    if not (certainly_at_most(share.size, state) or (known and share.size <= term.size // max(1, length))):
        return None

    def finish(stacks: Sequence[Expr]) -> Expr:
        shares, places = stacks
        return registry_function("take_adjoint")(moveaxis(shares, 0, axis), places, shape=shape, axis=axis)

    return Collector((share, indices), True, finish)


_RULES: Mapping[str, Callable[[Expr, Extent, Extent | None], Any]] = {
    "scatter": _once,
    "broadcast_to": _once,
    "take_adjoint": _added_at,
}
