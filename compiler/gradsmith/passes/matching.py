"""Matching: find a formula in a graph, however its sums, signs, squares and quotients were written.

In: a pattern, an expression of symbols such as `log(1 + exp(x))`, and an expression of a simplified graph. Out: what
each symbol stands for, or nothing. `exp(x) - 1`, `-1 + exp(x)` and `exp(x) + (-1)` are one sum, `1/x` and
`reciprocal(x)` one quotient. A symbol that stands twice means one and the same value, up to the sign that the pattern
gives it. The matcher recurses over patterns, which are small, never over graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

from ..trace import Expr, as_expr
from .simplify import number

__all__ = ["Binding", "Operands", "fits", "heads", "match", "operands_of", "unsigned"]

Binding = Mapping[int, Expr]  # the serial of a pattern's symbol -> what it stands for

Operands = tuple[frozenset[str] | None, ...]

#: For each op of a pattern, the ops of graphs that may be read as it.
_READ_AS = {
    "add": ("add", "sub"),
    "sub": ("add", "sub"),
    "div": ("div", "reciprocal"),
}
_ANY_ORDER = ("add", "sub", "mul")


def match(pattern: Expr, e: Expr) -> Iterator[tuple[Binding, bool]]:
    """All ways to read `e` as `pattern`, or as its negative if it is a sum; the flag tells the negative."""
    for found in _match(pattern, e, {}):
        yield found, False
    if pattern.op.name in ("add", "sub") and e.op.name in ("add", "sub"):
        for found in _match_sum(pattern, e, {}, negated=True):
            yield found, True


def heads(pattern: Expr) -> tuple[str, ...]:
    """The ops that a value may have which matches `pattern`."""
    return _READ_AS.get(pattern.op.name, (pattern.op.name,))


def operands_of(pattern: Expr) -> Operands:
    """What the operands of a value may be that matches `pattern`: for each a set of kinds, None for any."""
    return tuple(None if p.op.name == "input" else frozenset(heads(p)) for _, p in map(unsigned, pattern.args))


def fits(wanted: Operands, kinds: Sequence[str], op: str) -> bool:
    """Whether a value `op` of operands of these kinds may match, so that it pays to look closer."""
    if op == "reciprocal":
        kinds = ("constant", *kinds)
    if len(wanted) != len(kinds):
        return False
    straight = all(w is None or k in w for w, k in zip(wanted, kinds, strict=True))
    return straight or (op in _ANY_ORDER and all(w is None or k in w for w, k in zip(wanted, kinds[::-1], strict=True)))


def unsigned(e: Expr) -> tuple[bool, Expr]:
    """`e` without its signs, and whether they make it negative."""
    negative = False
    while e.op.name == "neg":
        negative, e = not negative, e.args[0]
    return negative, e


def _match(p: Expr, e: Expr, found: Binding) -> Iterator[Binding]:
    if p.op.name == "input":
        yield from _bound(p, e, False, found)
    elif p.op.name == "neg" and p.args[0].op.name == "input":
        yield from _bound(p.args[0], e, True, found)
    elif p.op.name == "constant":
        if number(e) == number(p):
            yield found
    elif p.op.name in ("add", "sub"):
        if e.op.name in ("add", "sub"):
            yield from _match_sum(p, e, found, negated=False)
    elif e.op.name in heads(p):
        for operands in _OPERANDS.get(p.op.name, _same)(p, e):
            yield from _match_all(p.args, operands, found)


def _match_all(patterns: tuple[Expr, ...], values: tuple[Expr, ...], found: Binding) -> Iterator[Binding]:
    if not patterns:
        yield found
        return
    for first in _match(patterns[0], values[0], found):
        yield from _match_all(patterns[1:], values[1:], first)


def _match_sum(p: Expr, e: Expr, found: Binding, *, negated: bool) -> Iterator[Binding]:
    (sa, a), (sb, b) = _terms(p)
    for (sx, x), (sy, y) in permutations((sign != negated, term) for sign, term in _terms(e)):
        for first in _match_term(a, x, sa != sx, found):
            yield from _match_term(b, y, sb != sy, first)


def _match_term(p: Expr, e: Expr, negated: bool, found: Binding) -> Iterator[Binding]:
    """`e`, or with `negated` its negative, read as `p`."""
    if p.op.name == "input":
        yield from _bound(p, e, negated, found)
    elif p.op.name == "constant":
        n = number(e)
        if n is not None and (-n if negated else n) == number(p):
            yield found
    elif not negated:
        yield from _match(p, e, found)


def _terms(e: Expr) -> list[tuple[bool, Expr]]:
    """The two terms of a sum or a difference, each with whether it is taken off."""
    (sa, a), (sb, b) = unsigned(e.args[0]), unsigned(e.args[1])
    return [(sa, a), (sb != (e.op.name == "sub"), b)]


def _bound(symbol: Expr, e: Expr, negated: bool, found: Binding) -> Iterator[Binding]:
    known = found.get(symbol.serial)
    if known is None:
        yield {**found, symbol.serial: _negative(e) if negated else e}
    elif _key(known) == _key(e, negated):
        yield found


def _negative(e: Expr) -> Expr:
    n = number(e)
    return as_expr(-n) if n is not None else e.args[0] if e.op.name == "neg" else -e


def _key(e: Expr, negated: bool = False) -> object:
    """Equal for equal values, also where the sign stands in another place: `(-k)*x` and `-(k*x)`."""
    sign, e = unsigned(e)
    sign ^= negated
    n = number(e)
    if n is not None:
        return ("number", -n if sign else n)
    if e.op.name != "mul":
        return (sign, e.serial)
    factors: list[object] = []
    for factor in e.args:
        negative, core = unsigned(factor)
        n = number(core)
        sign ^= negative ^ (n is not None and n < 0)
        factors.append(core.serial if n is None else ("number", abs(n)))
    return (sign, tuple(sorted(factors, key=repr)))


def _same(p: Expr, e: Expr) -> Iterator[tuple[Expr, ...]]:
    if e.op is p.op and e.params == p.params:
        yield e.args
        if e.op.commutative:
            yield e.args[::-1]


def _quotient_operands(p: Expr, e: Expr) -> Iterator[tuple[Expr, ...]]:
    yield e.args if e.op.name == "div" else (as_expr(1.0), e.args[0])


_OPERANDS: dict[str, Callable[[Expr, Expr], Iterator[tuple[Expr, ...]]]] = {"div": _quotient_operands}
