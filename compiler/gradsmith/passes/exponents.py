"""Exponents: products with exponentials in a normal form, so that equal ones are seen to be equal.

    s*npdf(x)  ->  0.3989... * s * exp(-x^2/2)
    k*exp(-r*t)*npdf(x - v)  ->  0.3989... * k * exp(-x^2/2 + x*v - v^2/2 - r*t)

In: a graph. Out: for a node, a constant times powers of *atoms* times the exponential of a polynomial in atoms, whose
coefficients are exact fractions and whose powers may be negative and halves (Laurent polynomials). An atom is an input
or what is no sum, product or quotient; in the exponent sums are expanded, beside it they are atoms. `exp(n*log(u))` is
`u^n` for whole n (of `c*log(u)`, the part of c below 1 stays), and sqrt(t) is `t^(1/2)`. Guarantee: what has one form,
up to sign, is one function wherever both are defined. Forms are capped: what would be longer is an atom, so that each
node costs a bounded number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from ..graph import Graph, Node
from .normals import INVERSE_ROOTS, ROOTS

__all__ = ["ARITHMETIC", "EXPONENTIALS", "Exponential", "Forms", "Product", "agree"]

#: (atom, twice its power), sorted by atoms.
Powers = tuple[tuple[int, int], ...]
Polynomial = Mapping[Powers, Fraction]


class Exponential(NamedTuple):
    """`scale * exp(coefficient * x^degree)`; a scale that is no float is rounded to one."""

    scale: Fraction
    coefficient: Fraction
    degree: int


_ONE = Fraction(1)
_ROOT_2 = -1  # an atom of which the square is 2, and which stands for the floats nearest to it, as in normals.py
_MULTIPLES_OF_ROOT_2: Mapping[int, Mapping[float, Fraction]] = {  # by bits: what float32 rounds is off in float64
    bits: {**dict.fromkeys(ROOTS[bits], _ONE), **dict.fromkeys(INVERSE_ROOTS[bits], Fraction(1, 2))} for bits in ROOTS
}
EXPONENTIALS: Mapping[str, Exponential] = {
    "exp": Exponential(_ONE, _ONE, 1),
    "gaussian": Exponential(_ONE, -_ONE, 2),
    "npdf": Exponential(Fraction(0.3989422804014327), Fraction(-1, 2), 2),
}
#: What sums and products are made of; a broadcast is one if it is of a scalar.
ARITHMETIC = frozenset({"add", "sub", "neg", "mul", "div", "reciprocal", "square", "broadcast_to"})
_SUMS = frozenset({"add", "sub"})
_BELOW = frozenset({"mul", "div", "neg", "square", "reciprocal"})  # where a denominator has its factors
_MOST_TERMS = 40  # of a polynomial
_MOST_PRODUCTS = 400  # of terms, in a product of two polynomials
_MOST_FACTORS = 16  # of a term
_MOST_HALVES = 32  # in one power
_MOST_BITS = 2_048  # of a coefficient, above and below
_MOST_LOGARITHMS = 8  # of one product
_LARGEST_POWER = 4  # of what stood in a logarithm
_NEAR = {64: 1e-15, 32: 3e-7}  # by which constants differ that are equal but for rounding, as in normals.py


class Product(NamedTuple):
    """`constant * powers * exp(exponent)`.

    `rounded` says that the constant is that of a density, which is no float. `exponentials` is how many there are in
    the product as it is written, and how many of them are no densities, which keep more digits.
    """

    constant: Fraction
    powers: Powers
    exponent: Polynomial
    rounded: bool = False
    exponentials: tuple[int, int] = (0, 0)


def agree(a: Product, b: Product, bits: int) -> bool:
    """Whether two normal forms are equal up to sign."""
    if a.powers != b.powers or a.exponent != b.exponent:
        return False
    if abs(a.constant) == abs(b.constant):
        return True
    return (a.rounded or b.rounded) and abs(abs(a.constant / b.constant) - 1) <= _NEAR[bits]


class _TooLong(Exception):
    """A form is longer than the caps allow."""


class Forms:
    """The normal forms of a graph's nodes, found when they are asked for."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._logarithms: dict[int, int] = {}  # the logarithms met so far, each with what it is of
        self._polynomials: dict[int, Polynomial] = {}
        self._products: dict[int, Product] = {}
        self._opaque = _opaque(graph)

    def normal(self, key: int) -> Product | None:
        """The normal form of a product; None where it is too long."""
        self._find(key)
        form = self._products[key]
        try:
            for _ in range(_MOST_LOGARITHMS):
                term = max((p for p, c in form.exponent.items() if self._whole(p, c)), default=None)
                if term is None:
                    return form
                times = math.floor(form.exponent[term])
                rest = _sum(form.exponent, {term: Fraction(times)}, -1)
                inside = self._products[self._logarithms[term[0][0]]]
                form = _times(form._replace(exponent=rest), _to_the(inside, times))
        except _TooLong:
            pass
        return None

    def _whole(self, powers: Powers, coefficient: Fraction) -> bool:
        """Whether a term of an exponent has whole multiples of a logarithm: in normal form, it is 0 to 1 times that."""
        if len(powers) != 1 or powers[0][1] != 2 or powers[0][0] not in self._logarithms:
            return False
        return 0 < abs(math.floor(coefficient)) <= _LARGEST_POWER

    def _find(self, key: int) -> None:
        """Make the forms of a node and of all nodes that it is made of, operands first."""
        nodes: dict[int, Node] = {}
        products, polynomials = {key}, set[int]()  # for which nodes which form is wanted
        stack: list[tuple[int, set[int], Mapping[int, object]]] = [(key, products, self._products)]
        while stack:
            key, wanted, known = stack.pop()
            n = nodes[key] = self._graph.node(key)
            if key in known or (key in self._opaque and n.op != "log"):
                continue
            below, of = wanted, known
            if n.op == "log":
                below, of = products, self._products
            if n.op in EXPONENTIALS and wanted is products:
                below, of = polynomials, self._polynomials
            elif n.op not in ARITHMETIC and n.op != "log":
                continue
            for a in n.args:
                if a not in below:
                    below.add(a)
                    stack.append((a, below, of))
        for key in sorted(nodes):
            n, atom = nodes[key], ((key, 2),)
            if n.op == "log":
                self._logarithms[key] = n.args[0]
            if key in polynomials and key not in self._polynomials:
                self._polynomials[key] = {atom: _ONE}
                if key not in self._opaque:
                    with suppress(_TooLong):
                        self._polynomials[key] = self._polynomial(n)
            if key in products and key not in self._products:
                self._products[key] = Product(_ONE, atom, {})
                if key not in self._opaque:
                    with suppress(_TooLong):
                        self._products[key] = self._product(n)

    def _polynomial(self, n: Node) -> Polynomial:
        value = _number(n)
        if value is not None:
            multiple = _MULTIPLES_OF_ROOT_2[n.type.dtype.bits].get(abs(float(value)))
            if multiple is not None:
                return {((_ROOT_2, 1),): multiple if value > 0 else -multiple}
            return {(): value} if value else {}
        if n.op in _POLYNOMIALS:
            return _POLYNOMIALS[n.op](*[self._polynomials[a] for a in n.args])
        if n.op == "sqrt":
            return {((n.args[0], 1),): _ONE}
        if n.op == "broadcast_to" and not self._graph.node(n.args[0]).type.shape:
            return self._polynomials[n.args[0]]
        return self._polynomials[n.key]

    def _product(self, n: Node) -> Product:
        value = _number(n)
        if value:
            return Product(value, (), {})
        if n.op in EXPONENTIALS:
            scale, coefficient, degree = EXPONENTIALS[n.op]
            x = self._polynomials[n.args[0]]
            exponent = _expanded(x, x) if degree == 2 else x
            exponent = {p: coefficient * c for p, c in exponent.items()}
            return Product(scale, (), exponent, scale != 1, (1, int(degree == 1)))
        if n.op in _PRODUCTS:
            return _PRODUCTS[n.op](*[self._products[a] for a in n.args])
        if n.op == "sqrt":
            return Product(_ONE, ((n.args[0], 1),), {})
        if n.op == "broadcast_to" and not self._graph.node(n.args[0]).type.shape:
            return self._products[n.args[0]]
        return self._products[n.key]


def _opaque(graph: Graph) -> set[int]:
    """What is an atom everywhere: what has its root taken, and the sums that something is divided by.

    So `(a + b)*c/sqrt(a + b)` is `c*(a + b)^(1/2)`; expanded, it would be no product any more.
    """
    found: set[int] = set()
    below: list[int] = []
    for n in graph.ordered():
        if n.op == "sqrt":
            found.add(n.args[0])
        elif n.op in ("div", "reciprocal"):
            below.append(n.args[-1])
    seen: set[int] = set()
    while below:
        key = below.pop()
        if key not in seen:
            seen.add(key)
            n = graph.node(key)
            if n.op in _SUMS:
                found.add(key)
            elif n.op in _BELOW:
                below += n.args
    return found


@cache
def _fraction(value: float) -> Fraction:
    return Fraction(value)


def _number(n: Node) -> Fraction | None:
    value = n.params["value"] if n.op == "constant" else None
    return _fraction(value) if isinstance(value, float) and abs(value) < float("inf") else None


def _sum(a: Polynomial, b: Polynomial, sign: int) -> Polynomial:
    if not b:
        return a
    total = dict(a)
    for powers, c in b.items():
        new = c if sign > 0 else -c
        if powers in total:
            new = _short(total[powers] + new)
        if new:
            total[powers] = new
        else:
            del total[powers]
    if len(total) > _MOST_TERMS:
        raise _TooLong
    return total


def _expanded(a: Polynomial, b: Polynomial) -> Polynomial:
    if len(a) * len(b) > _MOST_PRODUCTS:
        raise _TooLong
    total: dict[Powers, Fraction] = {}
    for p, c in a.items():
        for q, d in b.items():
            powers, product = _joined(p, q), d if c == 1 else c if d == 1 else c * d
            if powers and powers[0] == (_ROOT_2, 2):
                powers, product = powers[1:], 2 * product
            total[powers] = total[powers] + product if powers in total else product
    found = {powers: _short(c) for powers, c in total.items() if c}
    if len(found) > _MOST_TERMS:
        raise _TooLong
    return found


def _inverse(a: Polynomial) -> Polynomial:
    if len(a) != 1:
        raise _TooLong
    ((powers, c),) = a.items()
    if powers and powers[0][0] == _ROOT_2:  # 1/sqrt(2) is sqrt(2)/2
        powers, c = powers[1:], 2 * c
        return {((_ROOT_2, 1), *[(atom, -halves) for atom, halves in powers]): 1 / c}
    return {tuple((atom, -halves) for atom, halves in powers): 1 / c}


def _joined(p: Powers, q: Powers) -> Powers:
    """The product of two terms without their coefficients."""
    if not p or not q:
        return p or q
    halves = dict(p)
    for atom, more in q:
        halves[atom] = halves.get(atom, 0) + more
    return _bounded(halves.items())


def _bounded(halves: Iterable[tuple[int, int]]) -> Powers:
    found = sorted([(atom, h) for atom, h in halves if h])
    if len(found) > _MOST_FACTORS or max([abs(h) for _, h in found], default=0) > _MOST_HALVES:
        raise _TooLong
    return tuple(found)


def _times(a: Product, b: Product) -> Product:
    constant = _short(a.constant * b.constant)
    return Product(
        constant,
        _joined(a.powers, b.powers),
        _sum(a.exponent, b.exponent, 1),
        a.rounded or b.rounded,
        (a.exponentials[0] + b.exponentials[0], a.exponentials[1] + b.exponentials[1]),
    )


def _to_the(a: Product, n: int) -> Product:
    powers = _bounded((atom, n * halves) for atom, halves in a.powers)
    exponent = {p: n * c for p, c in a.exponent.items()}
    every, others = a.exponentials
    return a._replace(
        constant=_short(a.constant**n),
        powers=powers,
        exponent=exponent,
        exponentials=(abs(n) * every, abs(n) * others),
    )


_POLYNOMIALS: Mapping[str, Callable[..., Polynomial]] = {
    "add": lambda a, b: _sum(a, b, 1),
    "sub": lambda a, b: _sum(a, b, -1),
    "neg": lambda a: _sum({}, a, -1),
    "mul": _expanded,
    "square": lambda a: _expanded(a, a),
    "div": lambda a, b: _expanded(a, _inverse(b)),
    "reciprocal": _inverse,
}
_PRODUCTS: Mapping[str, Callable[..., Product]] = {
    "neg": lambda a: a._replace(constant=-a.constant),
    "mul": _times,
    "square": lambda a: _times(a, a),
    "div": lambda a, b: _times(a, _to_the(b, -1)),
    "reciprocal": lambda a: _to_the(a, -1),
}


def _short(c: Fraction) -> Fraction:
    if max(c.numerator.bit_length(), c.denominator.bit_length()) > _MOST_BITS:
        raise _TooLong
    return c
