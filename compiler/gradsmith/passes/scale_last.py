"""Scale last: powers of two that the chain rule multiplies by go through products and sums to where one is enough.

    p = 2*(a*u), q = 2*(b*v)
    (p + q)*x + (p - q)*(2*y)   ->   p = a*u, q = b*v, 2*((p + q)*x + (p - q)*y)

`regroup` takes a factor out of the terms of a sum that nothing else reads; here the terms may be shared by several
sums, as those of a rotation are, if what all of them come to takes fewer multiplications.

In: a graph of scalars. Out: one that takes fewer operations, or the same one. Cotangents alone are rewritten, but for
those with a name. A power of two rounds nothing, so all digits stay; numbers are smaller on the way, so what did not
overflow does not, and what is below the normal range loses digits there earlier by as many bits as are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..graph import Graph, Node
from ..registry import lookup
from ..trace import Expr, apply
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["scale_last"]

_MOST = 16  # bits by which a value is scaled
_ROUNDS = 4  # in which the first scaling of what does not pay is left out
_SUMS = frozenset({"add", "sub"})


@dataclass
class _Plan:
    """By how many bits each value is scaled later than it was, and what that saves.

    Values that depend on one another stand in one group, of which one is the `root`.
    """

    bits: dict[int, int] = field(default_factory=dict)
    root: dict[int, int] = field(default_factory=dict)
    saved: dict[int, int] = field(default_factory=dict)  # multiplications, by root
    first: dict[int, list[int]] = field(default_factory=dict)  # by root: scalings of what is not scaled itself

    def group(self, key: int) -> int:
        while self.root[key] != key:
            self.root[key] = self.root[self.root[key]]
            key = self.root[key]
        return key

    def join(self, keys: Sequence[int]) -> None:
        groups = sorted({self.group(key) for key in keys})
        for other in groups[1:]:
            self.root[other] = groups[0]
            self.saved[groups[0]] += self.saved.pop(other)
            self.first[groups[0]] += self.first.pop(other)


def scale_last(graph: Graph) -> Graph:
    """`graph` with products by powers of two behind the sums of the chain rule that they are all factors of."""
    more = {key: value for key, value in graph.numbers.items() if value > 1.0}
    candidates = [n for n in graph.ordered() if n.op == "mul" and not more.keys().isdisjoint(n.args)] if more else []
    sources = {n.key: found for n in candidates if (found := _scaled(n, more)) is not None}
    for _ in range(_ROUNDS):
        plan = _planned(graph, sources)
        lost = [root for root, saved in plan.saved.items() if saved <= 0]
        for root in lost:  # such as the slope of a square, whose 2 all others would have
            del sources[min(plan.first[root])]
        if not lost:
            break
    later = {key: bits for key, bits in plan.bits.items() if plan.saved[plan.group(key)] > 0}
    return _rebuilt(graph, later, sources) if later else graph


def _scaled(n: Node, numbers: Mapping[int, float]) -> tuple[int, int] | None:
    """What a product with one of `numbers` scales and by how many bits; None for what is none."""
    if not n.type.shape and n.origin.derived:
        for c, x in (n.args, n.args[::-1]):
            if c in numbers:
                fraction, exponent = math.frexp(numbers[c])
                return (x, exponent - 1) if fraction == 0.5 and exponent <= _MOST else None
    return None


def _planned(graph: Graph, sources: Mapping[int, tuple[int, int]]) -> _Plan:
    plan = _Plan()
    bits = plan.bits
    outputs = frozenset(graph.outputs)
    made: set[tuple[int, int]] = set()  # values that are multiplied after all, and by how many bits

    def multiplied(key: int, by: int) -> None:
        if by and (key, by) not in made:
            made.add((key, by))
            plan.saved[plan.group(key)] -= 1

    for n in graph.ordered() if sources else ():
        scaled = [a for a in n.args if a in bits]
        ours = n.origin.name is None or n.key in outputs
        own = _own_bits(n, bits, sources) if ours and (scaled or n.key in sources) else 0
        if own:
            bits[n.key] = own
            plan.root[n.key] = n.key
            plan.saved[n.key] = int(n.key in sources)
            plan.first[n.key] = [] if scaled else [n.key]
            plan.join([n.key, *scaled])
        for a in scaled:
            if not own or n.op in _SUMS:
                multiplied(a, bits[a] - own)
    for key in outputs.intersection(bits):
        multiplied(key, bits[key])
    return plan


def _own_bits(n: Node, bits: Mapping[int, int], sources: Mapping[int, tuple[int, int]]) -> int:
    """By how many bits a value can be scaled later if its operands are."""
    if n.type.shape or not n.origin.derived:
        return 0
    of = [bits.get(a, 0) for a in n.args]
    if n.key in sources:
        x, more = sources[n.key]
        total = bits.get(x, 0) + more
    elif n.op == "mul":
        total = sum(of)
    elif n.op == "square":
        total = 2 * of[0]
    elif n.op in _SUMS:
        total = min(of)
    else:
        total = of[0] if n.op == "neg" else 0
    return total if total <= _MOST else 0


def _rebuilt(graph: Graph, bits: Mapping[int, int], sources: Mapping[int, tuple[int, int]]) -> Graph:
    late: dict[int, Expr] = {}  # values without what they are scaled by later

    def operand(a: int, by: int, exprs: Sequence[Expr]) -> Expr:
        """The operand, with all but so many bits of what it is scaled by."""
        lacks = bits.get(a, 0) - by
        return exprs[a] if a not in bits else late[a] if lacks == 0 else 2.0**lacks * late[a]

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr:
        own = bits[n.key]
        if n.key in sources:
            (a, _) = sources[n.key]
            x = late.get(a, exprs[a])
        elif n.op in _SUMS:
            x = apply(lookup(n.op), [operand(a, own, exprs) for a in n.args], n.params)
        else:
            x = apply(lookup(n.op), [late.get(a, exprs[a]) for a in n.args], n.params)
        late[n.key] = x
        return 2.0**own * x  # for those who read it as it was

    return rewritten(graph, fold, apply_law, replace=replace, at=bits)
