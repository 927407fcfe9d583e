"""Cancel: a value less itself is 0, and products with that 0 go, where what they would make NaN is NaN without them.

    a + (d - d)/v*t  ->  a      where a is NaN if d, v or t is

`d - d` is no 0: it is NaN for an infinite or undefined d. But where the chain rule adds up slopes, one is often taken
off as it was added, and what is left depends on all that it depends on. In: a graph, and values that are told to stand
on both sides of a sum. Out: a graph without them there. Guarantee: what is NaN for an argument that is, or for a
logarithm or root of a negative number, is NaN without these terms (`undefined.py`), or they stay. Where they were
inf - inf, 0*inf or 0/0, which the mathematics is not, the other terms are what is left. In which order the chain rule
adds is ours to choose; what the user wrote stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import NamedTuple

from ..graph import Graph, Node
from ..ops import broadcast_to
from ..registry import lookup
from ..trace import Expr, constant
from .rewrite import Replacement, rewritten
from .undefined import covers, made_of

__all__ = ["without_cancelled"]

_SUMS = frozenset({"add", "sub"})
_STAYS_ZERO = frozenset({"broadcast_to", "div", "mul", "neg", "square", "sum"})  # div: what is divided
_MOST_NODES = 64  # that are looked at for each value, to see where a sum is NaN
_MOST_WORK = 256  # steps for each node
_MOST_TERMS = 16  # of a sum with those of others in it
_ROUNDS = 8

_Terms = Sequence[tuple[int, int]]  # signs and keys


class _Sum(NamedTuple):
    """A sum without the terms that cancel, and these."""

    terms: _Terms
    gone: Set[int]


class _Because(NamedTuple):
    """Why a value changes: the sums that lose terms, and the values where whose NaN it was NaN."""

    sums: Set[int]
    conditions: Set[int]


_NOTHING = _Because(frozenset(), frozenset())


def without_cancelled(graph: Graph, values: Set[int]) -> Graph:
    """`graph` without those of `values` that a sum of the chain rule adds and takes off."""
    trees = _trees(graph)
    cancelled = _cancelled(trees, values)
    for _ in range(_ROUNDS):
        if not cancelled:
            return graph
        found = _Followed(graph, cancelled, trees)
        if not found.needed:
            return rewritten(graph, replace=_without(found), at=found.zeros.keys() | found.sums.keys())
        cancelled = {key: each for key, each in cancelled.items() if key not in found.needed}
    return graph


def _without(found: _Followed) -> Replacement:
    def replace(n: Node, exprs: Sequence[Expr]) -> Expr:
        if n.key not in found.zeros:
            return _added(found.sums[n.key], exprs)
        zero = constant(0.0, n.type.dtype)
        return broadcast_to(zero, n.type.shape) if n.type.shape else zero

    return replace


def _trees(graph: Graph) -> dict[int, _Terms]:
    """The sums of the chain rule, each with its terms; those within others that nothing else reads have none."""
    uses = Counter(chain(graph.outputs, chain.from_iterable(n.args for n in graph.ordered())))
    found: dict[int, _Terms] = {}
    within: dict[int, _Terms] = {}
    for n in graph.backwards():
        if n.op not in _SUMS or n.key in within or not n.origin.derived:
            continue
        terms: list[tuple[int, int]] = []
        stack = [(1, n.key)]
        while stack:
            sign, key = stack.pop()
            inner = graph.node(key)
            if inner.op == "neg":
                stack.append((-sign, inner.args[0]))
            elif inner.op in _SUMS and (key == n.key or (uses[key] == 1 and inner.origin.derived)):
                if key != n.key:
                    within[key] = ()
                first, second = inner.args
                stack += [(-sign if inner.op == "sub" else sign, second), (sign, first)]
            else:
                terms.append((sign, key))
        found[n.key] = terms
    return {**found, **within}


def _cancelled(trees: Mapping[int, _Terms], values: Set[int]) -> dict[int, _Sum]:
    """The sums in which a value stands with both signs, also if one of them is in a sum that others read as well."""
    found: dict[int, _Sum] = {}
    spelled_out: dict[int, _Terms] = {}
    for root in sorted(trees):
        terms = trees[root]
        more = [(sign * s, k) for sign, key in terms for s, k in spelled_out.get(key, ((1, key),))]
        if len(more) > _MOST_TERMS:
            more = [*terms]
        shared = {key for _, key in more if key in values}
        left = _without_pairs(more, shared) if shared else more
        if len(left) < min(len(more), len(terms)):
            found[root] = _Sum(left, shared)
        elif len(more) <= _MOST_TERMS:
            spelled_out[root] = more
    return found


def _without_pairs(terms: _Terms, values: Set[int]) -> _Terms:
    count = Counter(terms)
    pairs = {key: min(count[1, key], count[-1, key]) for _, key in terms if key in values}
    drop = Counter({(sign, key): n for key, n in pairs.items() for sign in (1, -1)})
    left: list[tuple[int, int]] = []
    for term in terms:
        if drop[term] > 0:
            drop[term] -= 1
        else:
            left.append(term)
    return left


class _Followed:
    """What becomes of a graph in which terms cancel, operands first."""

    def __init__(self, graph: Graph, cancelled: Mapping[int, _Sum], trees: Mapping[int, _Terms]) -> None:
        self.graph = graph
        self.zeros: dict[int, _Because] = {}  # what is 0
        self.sums: dict[int, _Terms] = {}  # the sums that lose terms
        self.lacking: dict[int, _Because] = {}  # what may be a number where it was NaN
        self.needed: set[int] = set()  # the sums that cannot lose terms
        self._work = _MOST_WORK * len(graph)
        for n in graph.ordered():
            if n.key in cancelled:
                terms, gone = cancelled[n.key]
                self._sum(n.key, terms, _Because({n.key}, gone))
            elif n.key in trees:
                self._sum(n.key, trees[n.key], _NOTHING)
            elif n.op in _SUMS:
                self._sum(n.key, [(1, n.args[0]), (-1 if n.op == "sub" else 1, n.args[1])], _NOTHING)
            else:
                self._other(n)
        for key in dict.fromkeys(graph.outputs):
            if key in self.zeros:
                self.needed |= self.zeros[key].sums
            elif key in self.lacking and not self._covered([key], self.lacking[key]):
                self.needed |= self.lacking[key].sums
        if self._work < 0:
            self.needed |= cancelled.keys()

    def _sum(self, key: int, terms: _Terms, because: _Because) -> None:
        because = self._reasons([k for _, k in terms], because)
        if not because.sums:
            return
        left = [(sign, k) for sign, k in terms if k not in self.zeros]
        if not left:
            self.zeros[key] = because
            return
        if len(left) < len(terms) or key in because.sums:
            self.sums[key] = left
        if not self._covered([k for _, k in left], because):
            self.lacking[key] = because

    def _other(self, n: Node) -> None:
        because = self._reasons(n.args, _NOTHING)
        if not because.sums:
            return
        if not self._in_place(n, because):
            self.needed |= because.sums
        elif not any(a in self.zeros for a in n.args):
            self.lacking[n.key] = because
        elif n.op in _STAYS_ZERO and not (n.op == "div" and n.args[1] in self.zeros):
            others = {a for a in n.args if a not in self.zeros}
            self.zeros[n.key] = _Because(because.sums, because.conditions | others)
        else:
            self.needed |= because.sums

    def _in_place(self, n: Node, because: _Because) -> bool:
        """Whether a NaN of an element comes from its own place, or that of a scalar from anywhere."""
        if n.op == "broadcast_to":
            shapes = [self.graph.node(k).type.shape for k in (n.args[0], *because.conditions)]
            return not any(shapes)  # else one element would be NaN for another
        return lookup(n.op).kind == "elementwise" or (n.op == "sum" and not n.type.shape)

    def _reasons(self, keys: Sequence[int], own: _Because) -> _Because:
        found = [of[k] for k in keys for of in (self.zeros, self.lacking) if k in of]
        if not found or self._work < 0:
            return own
        if len(found) == 1 and not own.sums:
            return found[0]
        sums, conditions = set(own.sums), set(own.conditions)
        for each in found:
            sums |= each.sums
            conditions |= each.conditions
        self._work -= len(sums) + len(conditions)
        return _Because(sums, conditions)

    def _covered(self, keys: Sequence[int], because: _Because) -> bool:
        most = _MOST_NODES * (len(keys) + len(because.conditions))
        self._work -= most
        return covers(self.graph, made_of(self.graph, keys, most, self._operands), because.conditions, most)

    def _operands(self, key: int) -> Sequence[int]:
        return [k for _, k in self.sums[key]] if key in self.sums else self.graph.node(key).args


def _added(terms: _Terms, exprs: Sequence[Expr]) -> Expr:
    """The sum as an expression, a positive term first where there is one."""
    first = next((i for i, (sign, _) in enumerate(terms) if sign > 0), 0)
    sign, key = terms[first]
    total = exprs[key] if sign > 0 else -exprs[key]
    for sign, key in (*terms[:first], *terms[first + 1 :]):
        total = total + exprs[key] if sign > 0 else total - exprs[key]
    return total
