"""Regroup: write the sums and products of the chain rule with fewer operations.

    a*g + b*g          ->  (a + b)*g
    2*p + 2*q          ->  2*(p + q)
    x + x + x          ->  3*x
    (0.5*a)*(c*b)      ->  a*((0.5*c)*b)
    ((-c)*x)*y         ->  -((c*x)*y)      where c*x is computed anyway
    g*(1/c)            ->  g/c
    g*square(1/c)      ->  g/c/c

In: a graph. Out: a graph that takes fewer operations, or the same one.

In which order the chain rule multiplies, and adds what arrives at a value, is ours to choose: nobody wrote it. What
the user wrote keeps its grouping, and so does a cotangent that has a name, which the reader of the code looks for. A
part is taken apart only where nothing else reads it, and only if the operations then are fewer.

Why results change by rounding only: the error of `(a + b)*g` has the bound of the error of `a*g + b*g`, constants are
multiplied only where the product is exact, and a quotient is rounded once where a product with a reciprocal is rounded
twice. NaN and infinities stay, but for sums within a factor 2 of the largest number; equal terms of opposite sign are
left alone, so what cancels does so at run time; and where a sum cancels to zero, that zero may have another sign.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_MODERATE = 2.0**64  # constants beyond it are left where they are, so that nothing overflows or underflows that did not


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
        inner = sum(f.of.cost() for f in self.factors if isinstance(f.of, _Sum))
        alone = not any(f.power == 1 for f in self.factors)  # 1/c needs its 1, for which there is no operation
        scaled = self.constant != 1.0 and not any(f.filled for f in self.factors)
        return len(self.factors) - 1 + inner + (scaled or alone)

    def without(self, factor: _Factor) -> _Term:
        """The term after one division by `factor`."""
        at = self.factors.index(factor)
        return self._replace(factors=self.factors[:at] + self.factors[at + 1 :])


class _Sum(NamedTuple):
    terms: tuple[_Term, ...]

    def cost(self) -> int:
        absorbed = len(self.terms) == 1 and self.terms[0].constant != 1.0  # -(c*x) -> (-c)*x
        negation = all(t.sign < 0 for t in self.terms) and not absorbed
        return sum(t.cost() if t.factors else 0 for t in self.terms) + len(self.terms) - 1 + negation


def regroup(graph: Graph) -> Graph:
    """`graph` with sums and products of cotangents regrouped, where that saves operations."""
    for _ in range(_ROUNDS):
        plans = _Planner(graph).plans()
        if not plans:
            break
        graph = _rebuilt(graph, plans)
    return graph


def _rebuilt(graph: Graph, plans: Mapping[int, _Sum]) -> Graph:
    def planned(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        return _written(plans[n.key], exprs) if n.key in plans else None

    return rewritten(graph, fold, apply_law, replace=planned)


class _Planner:
    """What is known of a graph while its sums are looked at, from the outputs back."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = {n.key: n for n in graph.ordered()}
        self.uses = Counter(chain.from_iterable([graph.outputs, *(n.args for n in self.nodes.values())]))
        self.multiples: dict[tuple[float, int], int] = {}  # (c, x) -> the first node c*x
        for n in self.nodes.values():
            if n.op == "mul":
                c = self._number(n.args[0])
                if c is not None:
                    self.multiples.setdefault((c, n.args[1]), n.key)

    def plans(self) -> dict[int, _Sum]:
        """The nodes to write anew, with what is to be written."""
        found: dict[int, _Sum] = {}
        taken: set[int] = set()  # parts of what has been looked at
        for key in sorted(self.nodes, reverse=True):
            n = self.nodes[key]
            if key in taken or not n.origin.derived or n.op not in _ROOTS:
                continue
            if n.op in ("mul", "div"):  # a product alone
                if not any(self._ours(a) or self._number(a) is not None for a in n.args):
                    continue
                term, parts = self._term(key)
                if parts > 1:
                    plan = _Sum((term,))
                    if plan.cost() < parts:
                        found[key] = plan
                continue
            summands, inside = self._summands(key)
            taken |= inside
            before = len(inside)
            terms: list[_Term] = []
            for (summand, sign), count in Counter(summands).items():
                hidden = self.uses[summand] == count and self.nodes[summand].origin.name is None
                term, parts = self._term(summand) if hidden or summand == key else (self._atom(summand), 0)
                before += parts
                terms.append(_Term(sign * term.sign, count * term.constant, term.factors))
            if before > 1 or len(terms) > 1:  # else there is nothing to save
                plan = _grouped(tuple(terms), 0)
                if plan.cost() < before:
                    found[key] = plan
        return found

    def _summands(self, root: int) -> tuple[list[tuple[int, int]], set[int]]:
        """The terms of a sum with their signs, and the additions and the like that join them."""
        summands: list[tuple[int, int]] = []
        inside: set[int] = set()
        stack = [(root, 1)]
        while stack:
            key, sign = stack.pop()
            n = self.nodes[key]
            if n.op in ("add", "sub", "neg") and (key == root or self._ours(key)):
                inside.add(key)
                signs = (sign, -sign) if n.op == "sub" else (-sign,) if n.op == "neg" else (sign, sign)
                stack += reversed(list(zip(n.args, signs, strict=True)))
            else:
                summands.append((key, sign))
        return summands, inside

    def _ours(self, key: int) -> bool:
        n = self.nodes[key]
        return self.uses[key] == 1 and n.origin.derived and n.origin.name is None

    def _term(self, root: int) -> tuple[_Term, int]:
        """A node as a product, taken apart along its left operands, and how many operations that product takes."""
        n = self.nodes[root]
        if not n.origin.derived or n.op not in ("mul", "div", "neg"):
            return self._atom(root), 0
        found: list[_Factor] = []
        numbers: list[float] = []
        parts, key = 0, root
        while key == root or self._ours(key):
            n = self.nodes[key]
            if n.op == "neg":
                numbers.append(-1.0)
            elif self._opposite(key) is not None:
                numbers.append(-1.0)
                parts += 1
                key = self._opposite(key) or 0
                break
            elif n.op == "mul" and self._number(n.args[0]) is not None:
                numbers.append(self._number(n.args[0]) or 0.0)
            elif n.op == "mul" and n.args[0] != n.args[1]:
                factors, more, operations = self._right(n.args[1])
                found += reversed(factors)
                numbers += more
                parts += operations
            elif n.op == "div":
                found.append(_Factor(n.args[1], -1))
            else:
                below = self._reciprocal(key)
                if below is not None:
                    found.append(_Factor(below, -1))
                    parts += 1
                    key = -1
                break
            parts += 1
            key = n.args[1] if n.op == "mul" and self._number(n.args[0]) is not None else n.args[0]
        head = self._number(key) if key >= 0 else 1.0
        if head is None:
            found.append(self._factor(key))
        else:
            numbers.append(head)
        merged = _exact_product(numbers)
        if merged is None or not found:
            return self._atom(root), 0
        return _Term(-1 if merged < 0 else 1, abs(merged), tuple(reversed(found))), parts

    def _right(self, key: int) -> tuple[list[_Factor], list[float], int]:
        """The right operand of a product: its factors and constants, and how many operations it takes."""
        number = self._number(key)
        if number is not None:
            return [], [number], 0
        if self._ours(key):
            n = self.nodes[key]
            below = self._reciprocal(key)
            if below is not None:  # g*(1/c) -> g/c
                return [_Factor(below, -1)], [], 1
            if n.op == "square" and self._ours(n.args[0]):
                below = self._reciprocal(n.args[0])
                if below is not None:  # g*square(1/c) -> g/c/c
                    return [_Factor(below, -1)] * 2, [], 2
            if n.op == "mul":
                for c, x in (n.args, n.args[::-1]):
                    number = self._number(c)
                    if number is not None:
                        return [self._factor(x)], [number], 1
        return [self._factor(key)], [], 0

    def _factor(self, key: int) -> _Factor:
        n = self.nodes[key]
        return _Factor(key, filled=n.op == "broadcast_to" and not self.nodes[n.args[0]].type.shape)

    def _atom(self, key: int) -> _Term:
        return _Term(1, 1.0, (self._factor(key),))

    def _opposite(self, key: int) -> int | None:
        """The node c*x where this one is (-c)*x, and came later."""
        n = self.nodes[key]
        c = self._number(n.args[0]) if n.op == "mul" else None
        other = None if c is None else self.multiples.get((-c, n.args[1]))
        return other if other is not None and other < key else None

    def _reciprocal(self, key: int) -> int | None:
        n = self.nodes[key]
        if n.op == "reciprocal":
            return n.args[0]
        return n.args[1] if n.op == "div" and self._number(n.args[0]) == 1.0 else None

    def _number(self, key: int) -> float | None:
        n = self.nodes[key]
        while n.op == "broadcast_to":
            n = self.nodes[n.args[0]]
        value = n.params["value"] if n.op == "constant" else None
        return value if isinstance(value, float) else None


def _exact_product(numbers: Sequence[float]) -> float | None:
    """The product of constants where it is exact, so that it does not matter when they are multiplied; else None."""
    if not numbers:
        return 1.0
    if not all(1 / _MODERATE < abs(n) < _MODERATE for n in numbers):
        return None
    if len(numbers) == 1:
        return numbers[0]
    product = float(math.prod(numbers))
    return product if Fraction(product) == math.prod(map(Fraction, numbers)) else None


def _grouped(terms: tuple[_Term, ...], depth: int) -> _Sum:
    """The sum of `terms`, with factors and constants that several of them share taken out, the most frequent first."""
    if len(terms) < 2 or depth == _DEEPEST:
        return _Sum(terms)
    where: dict[_Factor | float, list[int]] = {}
    for i, t in enumerate(terms):
        for candidate in dict.fromkeys(_candidates(t)):
            where.setdefault(candidate, []).append(i)
    rest: dict[int, _Term] = dict(enumerate(terms))
    joined: set[int] = set()
    for candidate, places in sorted(where.items(), key=lambda item: -len(item[1])):
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


def _candidates(t: _Term) -> Iterator[_Factor | float]:
    """What could be taken out of a term: its factors, and a constant where `constant*x` is exact."""
    yield from t.factors
    if t.constant > 1.0 and math.frexp(t.constant)[0] == 0.5:  # below 1, the sum might overflow before it is scaled
        yield t.constant


def _joined(terms: Sequence[_Term], candidate: _Factor | float, depth: int) -> _Term | None:
    """`c*p + c*q` as the one term `c*(p + q)`, with the sign of the first; None where constants would be added."""
    sign = terms[0].sign
    if isinstance(candidate, float):
        inner = _grouped(tuple(t._replace(sign=t.sign * sign, constant=1.0) for t in terms), depth + 1)
        return _Term(sign, candidate, (_Factor(inner),))
    cofactors = tuple(t.without(candidate)._replace(sign=t.sign * sign) for t in terms)
    if sum(not t.factors for t in cofactors) > 1:
        return None  # x*(1 - 1 + y) would hide what x - x is for an infinite x
    inner = _grouped(cofactors, depth + 1)
    outer = (candidate, _Factor(inner)) if candidate.power > 0 else (_Factor(inner), candidate)
    return _Term(sign, 1.0, outer)


# --- writing what was planned ---------------------------------------------------------------------------------------


def _written(plan: _Sum, exprs: Sequence[Expr]) -> Any:
    """The sum as expressions, a positive term first where there is one."""
    first = next((t for t in plan.terms if t.sign > 0), plan.terms[0])
    total = _product(first, exprs)
    for t in plan.terms:
        if t is not first:
            term = _product(t, exprs)
            total = total + term if t.sign == first.sign else total - term
    return total if first.sign > 0 else -total


def _product(t: _Term, exprs: Sequence[Expr]) -> Any:
    """The product as an expression, or as a number where it has no factors. A positive power comes first."""
    first = next((f for f in t.factors if f.power > 0), None)
    filled = next((f for f in t.factors if f.filled), None)
    product: Any = t.constant if filled is None else 1.0
    for f in t.factors if first is None else (first, *(f for f in t.factors if f is not first)):
        x = _written(f.of, exprs) if isinstance(f.of, _Sum) else exprs[f.of]
        if f is filled and t.constant != 1.0:
            x = broadcast_to(t.constant * x.args[0], x.shape)
        if f.power < 0:
            product = product / x
        else:
            product = x if isinstance(product, float) and product == 1.0 else product * x
    return product
