"""Share exponentials: products that are equal by their logarithms are computed once, and their differences go.

    s*npdf(d), k*exp(-r*t)*npdf(d - v)   ->  s*npdf(d)    where d = (log(s/k) + r*t)/v + v/2

The chain rule makes such products of densities and discounts: Black and Scholes's formula needs one of the two, and
its slope by d, the difference of both, is 0. Candidates are found by numbers: at one random point, equal products have
equal logarithms (random interpretation, as in tests of polynomial identities by Schwartz and Zippel). The proof is by
normal forms (`exponents.py`), which nothing but equal functions share.

In: a graph. Out: a graph with fewer exponentials or products. What the chain rule made is replaced, never what the user
wrote; what stays has no more exponentials than what goes, so that it loses no range by them, and is NaN where that is
for a reason of mathematics (`undefined.py`). Guarantee: equal for real numbers. Results differ by the roundings of the
exponents, as exp(x)*exp(y) differs from exp(x + y), and differences that were rounding errors are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from ..graph import Graph
from ..regions import with_ends
from ..registry import lookup
from .cancel import without_cancelled
from .exponents import EXPONENTIALS, Forms, Product, agree
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law
from .undefined import covers, made_of

__all__ = ["share_exponentials"]

_PRODUCTS = frozenset({"mul", "div", "reciprocal", "square"})
_ROOTS = _PRODUCTS | EXPONENTIALS.keys()
_NEAR = 1e-9  # logarithms that differ by more are of products that differ
_HUGE = 1e100  # numbers beyond it are drawn anew
_MOST_NODES = 256  # that are looked at to see where a product is NaN
_MOST_FORMS = 8  # that are told apart among products of one logarithm


def share_exponentials(graph: Graph) -> Graph:
    """`graph` with each product of exponentials once."""
    if not any(n.op in EXPONENTIALS for n in graph.sorts):
        return graph
    groups = _candidates(graph)
    same = _equal(graph, groups) if groups else {}
    if not same:
        return graph
    return rewritten(without_cancelled(*_merged(graph, same)), fold, apply_law)


# --- candidates -------------------------------------------------------------------------------------------------------

_NUMBERS: Mapping[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "neg": lambda a: -a,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "reciprocal": lambda a: 1.0 / a,
    "square": lambda a: a * a,
    "sqrt": lambda a: math.sqrt(abs(a)),
    "log": lambda a: math.log(abs(a)),
    "broadcast_to": lambda a: a,
}  # fmt: skip
_LOGARITHMS: Mapping[str, Callable[..., float]] = {
    "neg": lambda a: a,
    "mul": lambda a, b: a + b,
    "div": lambda a, b: a - b,
    "reciprocal": lambda a: -a,
    "square": lambda a: 2.0 * a,
    "broadcast_to": lambda a: a,
}  # fmt: skip


def _candidates(graph: Graph) -> list[list[int]]:
    """Products with exponentials whose logarithms are equal at one point, and which the chain rule has a part in.

    Beside each other, exponentials are known by their logarithms; inside of others they are atoms, as in
    `exponents.py`, and drawn as such: what a loop computes again and again does not become equal by convergence.
    """
    drawn = Random(0)
    numbers: dict[int, float] = {}
    logarithms: dict[int, float] = {}  # of products with exponentials
    found: list[tuple[float, int]] = []
    for key, op, args, params, _, _ in graph.ordered():
        number: float | None = None
        if op in EXPONENTIALS:
            scale, coefficient, degree = EXPONENTIALS[op]
            logarithms[key] = math.log(scale) + float(coefficient) * numbers[args[0]] ** degree
        elif op in _LOGARITHMS and any(a in logarithms for a in args) and all(numbers[a] for a in args):
            each = (logarithms[a] if a in logarithms else math.log(abs(numbers[a])) for a in args)
            logarithms[key] = _LOGARITHMS[op](*each)
        if op == "constant":
            number = params["value"] if isinstance(params["value"], float) else None
        elif op == "log" and args[0] in logarithms:
            number = logarithms[args[0]]
        elif op in _NUMBERS:
            try:
                number = _NUMBERS[op](*[numbers[a] for a in args])
            except (ValueError, ZeroDivisionError):
                number = None
        plain = number is not None and abs(number) < _HUGE
        numbers[key] = number if plain and number is not None else drawn.uniform(0.5, 1.5)
        if op in _ROOTS and key in logarithms:
            found.append((logarithms[key], key))
    found.sort()
    groups: list[list[int]] = []
    before = -math.inf
    for logarithm, key in found:
        if logarithm - before > _NEAR * max(1.0, abs(logarithm)):
            groups.append([])
        groups[-1].append(key)
        before = logarithm
    return [g for g in groups if len(g) > 1 and any(graph.node(k).origin.derived for k in g)]


# --- proof ------------------------------------------------------------------------------------------------------------


class _Same(NamedTuple):
    """What a product is equal to: an earlier or cheaper one, or its negative."""

    kept: int
    negative: bool


def _equal(graph: Graph, groups: Sequence[Sequence[int]]) -> dict[int, _Same]:
    """The products that give way to equal ones."""
    forms, same = Forms(graph), dict[int, _Same]()
    for group in groups:
        classes: list[dict[int, Product]] = []
        for key in group:
            form, type = forms.normal(key), graph.node(key).type
            if form is None or type.dtype.kind != "float":
                continue
            for members in classes[:_MOST_FORMS]:
                first, other = next(iter(members.items()))
                if graph.node(first).type == type and agree(form, other, type.dtype.bits):
                    members[key] = form
                    break
            else:
                classes.append({key: form})
        for members in classes:
            if len(members) > 1:
                same.update(_chosen(graph, members))
    return same


def _chosen(graph: Graph, members: Mapping[int, Product]) -> dict[int, _Same]:
    """Of equal products, those that give way to one: it has the fewest exponentials, and is made of the least."""
    reached = {key: made_of(graph, [key], _MOST_NODES) for key in members}
    derived = {key: graph.node(key).origin.derived for key in members}
    kept = min(members, key=lambda key: (*members[key].exponentials, derived[key], len(reached[key]), key))
    return {
        key: _Same(kept, (form.constant < 0) != (members[kept].constant < 0))
        for key, form in members.items()
        if key != kept and derived[key] and covers(graph, reached[kept], [key], _MOST_NODES)
    }


# --- writing what was found -------------------------------------------------------------------------------------------


def _merged(graph: Graph, same: Mapping[int, _Same]) -> tuple[Graph, set[int]]:
    """`graph` without the products that give way, and those which took their places."""
    order = _order(graph, same)
    if order is None:  # two products wait for each other, each to take the place of what the other is made of
        same = {key: found for key, found in same.items() if found.kept < key}
        order = _order(graph, same)
    new, keys = Graph(), dict[int, int]()
    for key in order or ():
        n = graph.node(key)
        if key not in same:
            args = [keys[a] for a in n.args]
            keys[key] = new.add(n.op, args, n.params, n.type, n.origin, commutative=lookup(n.op).commutative)
        elif same[key].negative:
            keys[key] = new.add("neg", [keys[same[key].kept]], {}, n.type, n.origin)
        else:
            keys[key] = keys[same[key].kept]
    return with_ends(new, graph, keys), {keys[found.kept] for found in same.values() if found.kept in keys}


def _order(graph: Graph, same: Mapping[int, _Same]) -> list[int] | None:
    """What the outputs need, operands first and else as before; None if there is no such order."""

    def operands(key: int) -> Sequence[int]:
        return (same[key].kept,) if key in same else graph.node(key).args

    needed = {*graph.inputs, *graph.outputs}
    stack = [*needed]
    while stack:
        more = [a for a in operands(stack.pop()) if a not in needed]
        needed.update(more)
        stack += more
    order: list[int] = []
    done: set[int] = set()
    begun: set[int] = set()
    for root in sorted(needed):
        stack = [root]
        while stack:
            key = stack[-1]
            waits = [a for a in operands(key) if a not in done] if key not in done else []
            if not begun.isdisjoint(waits):
                return None
            if waits:
                begun.add(key)
                stack += waits
            else:
                stack.pop()
                if key not in done:
                    done.add(key)
                    begun.discard(key)
                    order.append(key)
    return order
