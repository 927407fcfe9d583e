"""Regroup: write the sums and products of the chain rule with fewer operations.

    a*g + b*g          ->  (a + b)*g
    2*p + 2*q          ->  2*(p + q)
    x + x + x          ->  3*x
    0.2*x + 0.3*x      ->  0.5*x
    0.4*(x + x)        ->  0.8*x
    (c*a)*b/d          ->  (c/d)*a*b       where c and d are numbers
    ((-c)*x)*y         ->  -((c*x)*y)      where c*x is computed anyway
    g*(1/c)            ->  g/c
    g*square(1/c)      ->  g/c/c
    g/(a/b)/b          ->  g/a

In: a graph. Out: a graph that takes fewer operations, or the same one.

In which order the chain rule multiplies, and adds what arrives at a value, is ours to choose: nobody wrote it. What
the user wrote keeps its grouping, and so does a cotangent that has a name, which the reader of the code looks for. A
part is taken apart only where nothing else reads it, and only if the operations then are fewer.

Why results change by rounding only: the error of `(a + b)*g` has the bound of the error of `a*g + b*g`, the product of
two constants is rounded once, as the first product with them was, and a quotient is rounded once where a product with a
reciprocal is rounded twice. NaN and infinities stay, but for sums within a factor 2 of the largest number, and for the
slope of `log(a/b)`, which is that of `log(a)` also where the quotient is none; equal terms of opposite sign are left
alone, so what cancels does so at run time; and where a sum cancels to zero, that zero may have another sign.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

from ..graph import Graph, Node
from ..ops import broadcast_to
from ..trace import Expr
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["regroup"]

_ROOTS = frozenset({"add", "sub", "mul", "div"})
_ROUNDS = 3  # what one round merges may give the next one something to do
_DEEPEST = 8  # sums within products within sums
_LONGEST = 64  # operations of one product: what is longer is taken apart piece by piece
_MODERATE = 2.0**64  # constants beyond it are left where they are, so that nothing overflows or underflows that did not


_NEW = tuple.__new__  # of a named tuple, without the call of a function in Python


class _Factor(NamedTuple):
    """A node, or a sum made here, by which a term is multiplied (power 1) or divided (power -1).

    `filled` tells of an array filled with one scalar, which a constant multiplies for all of its elements at once.
    """

    of: int | _Sum
    power: int = 1
    filled: bool = False


class _Term(NamedTuple):
    """A product: sign, a positive constant, and factors in the order in which they are multiplied."""

    sign: int
    constant: float
    factors: tuple[_Factor, ...]

    def cost(self) -> int:
        """Operations that it takes, without those of nodes that exist."""
        factors = self.factors
        operations, alone, scaled = len(factors) - 1, True, self.constant != 1.0
        for of, power, filled in factors:
            if power == 1:
                alone = False  # 1/c needs its 1, for which there is no operation
            if filled:
                scaled = False
            if of.__class__ is _Sum:
                operations += of.cost()
        return operations + (scaled or alone)

    def without(self, factor: _Factor) -> _Term:
        """The term after one division by `factor`."""
        at = self.factors.index(factor)
        return self._replace(factors=self.factors[:at] + self.factors[at + 1 :])


class _Sum(NamedTuple):
    terms: tuple[_Term, ...]

    def cost(self) -> int:
        terms = self.terms
        operations, negation = len(terms) - 1, True
        for t in terms:
            if t.factors:
                operations += t.cost()
            if t.sign > 0:
                negation = False
        absorbed = len(terms) == 1 and terms[0].constant != 1.0  # -(c*x) -> (-c)*x
        return operations + (negation and not absorbed)


def regroup(graph: Graph) -> Graph:
    """`graph` with sums and products of cotangents regrouped, where that saves operations."""
    for _ in range(_ROUNDS):
        plans = _Planner(graph).plans()
        if not plans:
            break
        graph = _rebuilt(graph, plans)
    return graph


def _rebuilt(graph: Graph, plans: Mapping[int, _Sum]) -> Graph:
    def planned(n: Node, exprs: Sequence[Expr]) -> Expr:
        plan: Expr = _written(plans[n.key], exprs)
        return plan

    return rewritten(graph, fold, apply_law, replace=planned, at=plans)


class _Planner:
    """What is known of a graph while its sums are looked at, from the outputs back."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = nodes = {n[0]: n for n in graph.ordered()}
        self.uses = Counter(chain.from_iterable([graph.outputs, *[n.args for n in nodes.values()]]))
        once = {key for key, count in self.uses.items() if count == 1}
        #: what nothing else reads and nobody looks for, so that it may be taken apart
        self.ours = {key for key in once if (origin := nodes[key].origin).name is None and origin.derived}
        self.numbers = dict(graph.numbers)  # constants, also those that are broadcast
        self.multiples: dict[tuple[float, int], int] = {}  # (c, x) -> the first node c*x
        self.filled: set[int] = set()  # arrays filled with one scalar
        for key, op, args, _, _, _ in nodes.values():
            if op == "broadcast_to":
                if args[0] in self.numbers:
                    self.numbers[key] = self.numbers[args[0]]
                if not nodes[args[0]].type.shape:
                    self.filled.add(key)
            elif op == "mul" and args[0] in self.numbers:
                self.multiples.setdefault((self.numbers[args[0]], args[1]), key)

    def plans(self) -> dict[int, _Sum]:
        """The nodes to write anew, with what is to be written."""
        found: dict[int, _Sum] = {}
        taken: set[int] = set()  # parts of what has been looked at
        ours, numbers = self.ours, self.numbers
        for n in self.graph.backwards():
            key = n.key
            if n.op not in _ROOTS or key in taken or not n.origin.derived:
                continue
            if n.op in ("mul", "div"):  # a product alone
                a, b = n.args
                if not (a in ours or b in ours or a in numbers or b in numbers):
                    continue
                term, parts, inside = self._term(key)
                taken.update(inside)  # what saves there saves here
                if parts > 1:
                    plan = _Sum((term,))
                    if plan.cost() < parts:
                        found[key] = plan
                continue
            summands, additions = self._summands(key)
            taken.update(additions)
            before = len(additions)
            terms: list[_Term] = []
            for (summand, sign), count in summands.items():
                hidden = self.uses[summand] == count and self.nodes[summand].origin.name is None
                term, parts, _ = self._term(summand) if hidden or summand == key else (self._atom(summand), 0, ())
                before += parts
                if sign != 1 or count != 1:
                    term = _Term(sign * term.sign, count * term.constant, term.factors)
                terms.append(term)
            if before > 1 or len(terms) > 1:  # else there is nothing to save
                plan = _grouped(tuple(terms), 0)
                if plan.cost() < before:
                    found[key] = plan
        return found

    def _summands(self, root: int) -> tuple[dict[tuple[int, int], int], list[int]]:
        """The terms of a sum with their signs, how often each stands there, and what joins them: additions and such."""
        summands: dict[tuple[int, int], int] = {}
        inside: list[int] = []
        stack = [(root, 1)]
        while stack:
            key, sign = term = stack.pop()
            n = self.nodes[key]
            if n.op in ("add", "sub", "neg") and (key == root or key in self.ours):
                inside.append(key)
                if n.op == "neg":
                    stack.append((n.args[0], -sign))
                else:
                    stack.append((n.args[1], -sign if n.op == "sub" else sign))
                    stack.append((n.args[0], sign))
            else:
                summands[term] = summands.get(term, 0) + 1
        return summands, inside

    def _term(self, root: int) -> tuple[_Term, int, Sequence[int]]:
        """A node as a product, taken apart along its left operands, how many operations that takes, and which nodes."""
        n = self.nodes[root]
        if n.op not in ("mul", "div", "neg") or not n.origin.derived:
            return self._atom(root), 0, ()
        found: list[_Factor] = []
        numbers: list[float] = []
        below: list[int] = []  # constants that the term is divided by
        inside: list[int] = []
        parts, key = 0, root
        while key == root or (key in self.ours and parts < _LONGEST):
            n, at = self.nodes[key], key
            if n.op == "neg":
                numbers.append(-1.0)
                key = n.args[0]
            elif n.op == "div":
                if n.args[1] in self.numbers:
                    below.append(n.args[1])
                else:
                    found.append(_Factor(n.args[1], -1))
                key = n.args[0]
            elif n.op == "mul" and n.args[0] in self.numbers:
                number, x = self.numbers[n.args[0]], n.args[1]
                opposite = self.multiples.get((-number, x), key)
                if opposite < key:  # the node c*x where this one is (-c)*x
                    numbers.append(-1.0)
                    parts, key = parts + 1, opposite
                    break
                numbers.append(number)
                key = x
            elif n.op == "mul" and n.args[0] != n.args[1]:
                factors, more, operations = self._right(n.args[1])
                found += reversed(factors)
                numbers += more
                parts += operations
                key = n.args[0]
            elif n.op == "add" and n.args[0] == n.args[1]:
                numbers.append(2.0)
                key = n.args[0]
            else:
                if n.op == "reciprocal":
                    found.append(_Factor(n.args[0], -1))
                    parts, key = parts + 1, -1
                break
            inside.append(at)
            parts += 1
        head = self.numbers.get(key) if key >= 0 else 1.0
        if head is None:
            found.append(self._factor(key))
        else:
            numbers.append(head)
        merged = _product_of(numbers, [self.numbers[k] for k in below])
        if merged is None and len(below) == 1:  # x/3 stays
            found.append(_Factor(below[0], -1))
            merged = _product_of(numbers, ())
        if merged is None or not found:
            return self._atom(root), 0, ()
        found = self._without_quotients(found)
        found.reverse()
        return _NEW(_Term, (-1 if merged < 0 else 1, abs(merged), tuple(found))), parts, inside

    def _without_quotients(self, factors: list[_Factor]) -> list[_Factor]:
        """Factors in which 1/(a/b) and 1/b, if both are there, are 1/a."""
        below = {f.of for f in factors if f.power < 0}
        for f in factors:
            n = self.nodes[f.of] if f.power < 0 and isinstance(f.of, int) else None
            if n is not None and n.op == "div" and n.args[1] in below and n.args[1] != f.of:
                rest = [g for g in factors if g is not f]
                rest[rest.index(_Factor(n.args[1], -1))] = _Factor(n.args[0], -1)
                return self._without_quotients(rest)
        return factors

    def _right(self, key: int) -> tuple[list[_Factor], list[float], int]:
        """The right operand of a product: its factors and constants, and how many operations it takes."""
        if key in self.numbers:
            return [], [self.numbers[key]], 0
        if key in self.ours:
            n = self.nodes[key]
            below = self._reciprocal(key)
            if below is not None:  # g*(1/c) -> g/c
                return [_Factor(below, -1)], [], 1
            if n.op == "square" and n.args[0] in self.ours:
                below = self._reciprocal(n.args[0])
                if below is not None:  # g*square(1/c) -> g/c/c
                    return [_Factor(below, -1)] * 2, [], 2
            if n.op == "mul":
                for c, x in (n.args, n.args[::-1]):
                    if c in self.numbers:
                        return [self._factor(x)], [self.numbers[c]], 1
        return [self._factor(key)], [], 0

    def _factor(self, key: int) -> _Factor:
        return _NEW(_Factor, (key, 1, key in self.filled))

    def _atom(self, key: int) -> _Term:
        return _NEW(_Term, (1, 1.0, (_NEW(_Factor, (key, 1, key in self.filled)),)))

    def _reciprocal(self, key: int) -> int | None:
        n = self.nodes[key]
        if n.op == "reciprocal":
            return n.args[0]
        return n.args[1] if n.op == "div" and self.numbers.get(n.args[0]) == 1.0 else None


def _product_of(numbers: Sequence[float], below: Sequence[float]) -> float | None:
    """The product of constants over that of others, rounded once; None where this rounds more often than it did."""
    if not numbers and not below:
        return 1.0
    if len(numbers) == 1 and not below:
        return numbers[0] if 1 / _MODERATE < abs(numbers[0]) < _MODERATE else None
    if not all(1 / _MODERATE < abs(n) < _MODERATE for n in (*numbers, *below)):
        return None
    if len(numbers) == 2 and not below:  # which a float rounds once as well
        product = numbers[0] * numbers[1]
        return product if 1 / _MODERATE < abs(product) < _MODERATE else None
    exact = math.prod(map(Fraction, numbers)) / math.prod(map(Fraction, below))
    product = float(exact)
    rounded = sum(abs(n) != 1.0 for n in (*numbers, *below)) > 1
    fits = 1 / _MODERATE < abs(product) < _MODERATE and (rounded or Fraction(product) == exact)
    return product if fits else None


def _grouped(terms: tuple[_Term, ...], depth: int) -> _Sum:
    """The sum of `terms`, with factors and constants that several of them share taken out, the most frequent first."""
    if len(terms) < 2 or depth == _DEEPEST:
        return _Sum(terms)
    if len(terms) == 2 and {*_candidates(terms[0])}.isdisjoint(_candidates(terms[1])):
        return _Sum(terms)
    where: dict[_Factor | float, list[int]] = {}
    for i, t in enumerate(terms):
        for candidate in _candidates(t):
            places = where.setdefault(candidate, [])
            if not places or places[-1] != i:
                places.append(i)
    shared = [item for item in where.items() if len(item[1]) > 1]
    if not shared:
        return _Sum(terms)
    rest: dict[int, _Term] = dict(enumerate(terms))
    joined: set[int] = set()
    for candidate, places in sorted(shared, key=lambda item: -len(item[1])):
        members = [i for i in places if i not in joined]
        if len(members) < 2:
            continue
        joint = _joined([terms[i] for i in members], candidate, depth)
        if joint is not None and joint.cost() < sum(terms[i].cost() for i in members) + len(members) - 1:
            joined.update(members)
            for i in members[1:]:
                del rest[i]
            rest[members[0]] = joint
    return _Sum(tuple(rest.values()))


def _candidates(t: _Term) -> Sequence[_Factor | float]:
    """What could be taken out of a term: its factors, and a constant where `constant*x` is exact."""
    if t.constant > 1.0 and math.frexp(t.constant)[0] == 0.5:  # below 1, the sum might overflow before it is scaled
        return *t.factors, t.constant
    return t.factors


def _joined(terms: Sequence[_Term], candidate: _Factor | float, depth: int) -> _Term | None:
    """`c*p + c*q` as the one term `c*(p + q)`, with the sign of the first; None where constants would be added."""
    sign = terms[0].sign
    if isinstance(candidate, float):
        inner = _grouped(tuple(t._replace(sign=t.sign * sign, constant=1.0) for t in terms), depth + 1)
        return _Term(sign, candidate, (_Factor(inner),))
    cofactors = tuple(t.without(candidate)._replace(sign=t.sign * sign) for t in terms)
    bare = [t for t in cofactors if not t.factors]
    if len(bare) > 1:
        if len({t.sign for t in bare}) > 1:
            return None  # x*(1 - 1 + y) would hide what x - x is for an infinite x
        total = bare[0]._replace(constant=float(sum(Fraction(t.constant) for t in bare)))
        if len(bare) == len(cofactors):
            return total._replace(sign=sign * total.sign, factors=(candidate,))
        cofactors = (*(t for t in cofactors if t.factors), total)
    inner = _grouped(cofactors, depth + 1)
    outer = (candidate, _Factor(inner)) if candidate.power > 0 else (_Factor(inner), candidate)
    return _Term(sign, 1.0, outer)


# --- writing what was planned ---------------------------------------------------------------------------------------


def _written(plan: _Sum, exprs: Sequence[Expr]) -> Any:
    """The sum as expressions, a positive term first where there is one."""
    at = next((i for i, t in enumerate(plan.terms) if t.sign > 0), 0)
    first = plan.terms[at]
    total = _product(first, exprs)
    for t in plan.terms[:at] + plan.terms[at + 1 :]:
        term = _product(t, exprs)
        total = total + term if t.sign == first.sign else total - term
    return total if first.sign > 0 else -total


def _product(t: _Term, exprs: Sequence[Expr]) -> Any:
    """The product as an expression, or as a number where it has no factors. A positive power comes first."""
    first = next((i for i, f in enumerate(t.factors) if f.power > 0), 0)
    factors = (*t.factors[first : first + 1], *t.factors[:first], *t.factors[first + 1 :])
    filled = next((i for i, f in enumerate(factors) if f.filled), None)
    product: Any = t.constant if filled is None else 1.0
    for i, f in enumerate(factors):
        x = _written(f.of, exprs) if isinstance(f.of, _Sum) else exprs[f.of]
        if i == filled and t.constant != 1.0:
            x = broadcast_to(t.constant * x.args[0], x.shape)
        if f.power < 0:
            product = product / x
        else:
            product = x if isinstance(product, float) and product == 1.0 else product * x
    return product
