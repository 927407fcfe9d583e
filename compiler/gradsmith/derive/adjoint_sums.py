"""Cotangents of what a loop closes over: what is added up in the loop, and what is done once, after it.

In: the cotangent that one step gives to a constant of a loop. Out: `Collector`s, whose results add up to the cotangent
of all steps. A step that touches little of a large array must not cost as much as the array is large:

    sum over steps of scatter(g)      ->  scatter(sum of g)           places that are known while tracing
    sum over steps of broadcast(g)    ->  broadcast(sum of g)
    sum over steps of add_at(g, i)    ->  add_at(all g, all i)        places that the steps choose
    sum over steps of A.T @ B         ->  (all A).T @ (all B)         one product for all steps
    sum over steps of outer(a, b)     ->  (all a).T @ (all b)

The last three keep something of each step, so they are for loops that keep their states anyway, and for sizes that are
known to be worth it whatever named dimensions are. What is kept anyway is added up from there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import reduce

from ..dims import Extent, certainly_at_most
from ..ops import matmul, permute_dims, reshape
from ..ops import sum as sum_
from ..ops.manipulation import moveaxis
from ..trace import Expr, registry_function

__all__ = ["Collector", "Steps", "collectors", "kept_anyway"]

_MOST_TERMS = 16  # of a sum that is looked into
_WORTH = 4  # times as large as its share in a step is a constant for which steps put out their shares


@dataclass(frozen=True)
class Collector:
    """A part of a cotangent: `finish` of the sums of `values` over all steps, or of all of them along a first axis."""

    values: tuple[Expr, ...]
    stacked: bool
    finish: Callable[[Sequence[Expr]], Expr]


@dataclass(frozen=True)
class Steps:
    """What is known of the steps of a loop: how many they are, at most, and what is kept of each.

    `state` is the number of elements of state that are kept of each step, or None where steps may keep nothing; `given`
    is the number of elements that are there without. What differs from step to step is in `varying`, by serial.
    """

    length: Extent
    state: Extent | None
    given: Extent
    varying: AbstractSet[int]


def collectors(g: Expr, steps: Steps) -> list[Collector]:
    """How the cotangent `g` of a constant is collected over all steps."""
    found: list[Collector] = []
    rest: list[Expr] = []
    for term in _terms(g):
        late = _late(term, steps)
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


def _late(term: Expr, steps: Steps) -> Collector | None:
    rule = _RULES.get(term.op.name)
    return None if rule is None else rule(term, steps)


def _once(term: Expr, steps: Steps) -> Collector | None:
    """A linear op whose operands are smaller than its result."""
    if certainly_at_most(term.size, sum(a.size for a in term.args)):
        return None
    call = registry_function(term.op.name)
    return Collector(tuple(term.args), False, lambda totals: call(*totals, **term.params))


def _added_at(term: Expr, steps: Steps) -> Collector | None:
    share, indices = term.args
    length, state = steps.length, steps.state
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


def _multiplied(term: Expr, steps: Steps) -> Collector | None:
    """A product of matrices; where the left one is a transpose, the rows of all steps are in memory as needed."""
    a, b = term.args
    if a.ndim != 2 or b.ndim != 2 or not _worth_keeping(a, b, term, steps):
        return None
    turned = a.op.name == "transpose"

    def finish(stacks: Sequence[Expr]) -> Expr:
        left, right = stacks
        long = left.shape[0] * b.shape[0]
        rows = left if turned else permute_dims(left, (0, 2, 1))
        return matmul(permute_dims(reshape(rows, (long, a.shape[0])), (1, 0)), reshape(right, (long, b.shape[1])))

    return Collector((a.args[0] if turned else a, b), True, finish)


def _multiplied_out(term: Expr, steps: Steps) -> Collector | None:
    a, b = term.args
    if not _worth_keeping(a, b, term, steps):
        return None
    return Collector((a, b), True, lambda stacks: matmul(permute_dims(stacks[0], (1, 0)), stacks[1]))


def _worth_keeping(a: Expr, b: Expr, term: Expr, steps: Steps) -> bool:
    """Whether factors of all steps take less than adding their products up, and not much more memory than there is."""
    if steps.state is None or not {a.serial, b.serial} <= steps.varying:
        return False
    most = (steps.state + steps.given) * _WORTH
    return all(certainly_at_most(x.size, term.size) and certainly_at_most(x.size, most) for x in (a, b))


def kept_anyway(collector: Collector, stacked: AbstractSet[int]) -> Collector:
    """`collector`, which adds up what lies there for all steps after the loop; `stacked` are serials."""
    if collector.stacked or any(x.serial not in stacked for x in collector.values):
        return collector
    finish = collector.finish
    return Collector(collector.values, True, lambda stacks: finish([sum_(x, 0) for x in stacks]))


_RULES: Mapping[str, Callable[[Expr, Steps], Collector | None]] = {
    "scatter": _once,
    "broadcast_to": _once,
    "take_adjoint": _added_at,
    "matmul": _multiplied,
    "outer": _multiplied_out,
}
