"""Sizes that are known by name until run time: integer polynomials in the names, such as `n`, `2*n + 1` and `n*m`.

In: names, combined with ints and with each other by `+ - * // %`. Out: an int where all names cancel, else a `Dim`,
printed as C and Python write it. Guarantee: two sizes are equal if they are the same polynomial, and no comparison is
ever guessed: what holds for some values of the names and not for others is a `ShapeError`. A name stands for 0 or more.

Slices need two functions that are no polynomials: `at_least_zero(n - 1)` and `n//2`. They count as one more unknown
each, which is 0 or more as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import ShapeError

__all__ = [
    "Bound", "Dim", "Extent", "at_least_zero", "atom", "certainly_at_most", "dims_in", "extent", "falls",
    "lower_bound", "quotient", "substituted", "whole",
]  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """`max(size, 0)`, or `size // divisor` for a divisor of 2 and more."""

    size: Dim
    divisor: int = 0

    def __str__(self) -> str:
        return f"max({self.size}, 0)" if not self.divisor else f"(({self.size})//{self.divisor})"


Terms = tuple[tuple[tuple[Any, ...], int], ...]  # (sorted factors, coefficient), the constant's factors being ()


class Dim:
    """A size known by name only, such as a batch size, or what was computed from such sizes.

    >>> n = Dim("n")
    >>> n, 2 * n + 1, n * 64 // 64, n - n
    (Dim('n'), Dim('2*n + 1'), Dim('n'), 0)
    >>> n + 1 > n
    True
    """

    __slots__ = ("_text", "terms")
    terms: Terms

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise ShapeError(f"a named dimension must be an identifier, not {name!r}", place="")
        self.terms = (((name,), 1),)
        self._text = name

    @property
    def name(self) -> str:
        """How code writes it."""
        return self._text

    @property
    def is_name(self) -> bool:
        """Whether it is a name alone."""
        return len(self.terms) == 1 and self.terms[0][1] == 1 and _is_word(self.terms[0][0])

    @property
    def names(self) -> tuple[str, ...]:
        """The names in it, sorted."""
        found: set[str] = set()
        for factors, _ in self.terms:
            for factor in factors:
                found.update((factor,) if isinstance(factor, str) else factor.size.names)
        return tuple(sorted(found))

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The functions in it that are no polynomials, what they are made of first."""
        found: dict[Bound, None] = {}
        for factors, _ in self.terms:
            for factor in factors:
                if isinstance(factor, Bound):
                    found.update(dict.fromkeys(factor.size.bounds))
                    found[factor] = None
        return tuple(found)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Dim({self._text!r})"

    def __hash__(self) -> int:
        return hash(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    # --- arithmetic -------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _combined(self, other, lambda a, b: extent({**a, **{k: a.get(k, 0) + c for k, c in b.items()}}))

    __radd__ = __add__

    def __neg__(self) -> Any:
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return NotImplemented if _terms(other) is None else self + other * -1

    def __rsub__(self, other: Any) -> Any:
        return NotImplemented if _terms(other) is None else self * -1 + other

    def __mul__(self, other: Any) -> Any:
        def product(a: Mapping[Any, int], b: Mapping[Any, int]) -> Any:
            found: dict[Any, int] = {}
            for one, c in a.items():
                for two, d in b.items():
                    factors = tuple(sorted((*one, *two), key=str))
                    found[factors] = found.get(factors, 0) + c * d
            return extent(found)

        return _combined(self, other, product)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return NotImplemented if _terms(other) is None else quotient(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return NotImplemented if _terms(other) is None else quotient(other, self)

    def __mod__(self, other: Any) -> Any:
        if _terms(other) is None:
            return NotImplemented
        if _divided(self, other) is None:
            self._undecided(f"whether {other} divides it")
        return 0

    # --- what is not known ------------------------------------------------------------------------------------------

    def __lt__(self, other: Any) -> bool:
        return self._compared(other, "<")

    def __le__(self, other: Any) -> bool:
        return self._compared(other, "<=")

    def __gt__(self, other: Any) -> bool:
        return self._compared(other, ">")

    def __ge__(self, other: Any) -> bool:
        return self._compared(other, ">=")

    def _compared(self, other: Any, sign: str) -> bool:
        if _terms(other) is None:
            return NotImplemented  # type: ignore[no-any-return]
        difference = self - other
        least, most = lower_bound(difference), lower_bound(-difference)
        if least is not None and least >= (sign in ("<=", ">")):
            return sign[0] == ">"
        if most is not None and most >= (sign in (">=", "<")):
            return sign[0] == "<"
        self._undecided(f"whether {self} {sign} {other}")

    def _undecided(self, what: str) -> NoReturn:
        raise ShapeError(
            f"the size {self} is not known before run time, so it cannot be said {what}: give an int for "
            f"{', '.join(self.names)} in args=, or compute in a way that holds for all sizes"
        )

    def __bool__(self) -> NoReturn:
        self._undecided("whether it is 0")

    def __index__(self) -> NoReturn:
        raise ShapeError(
            f"the size {self} is not known before run time, and an int is needed here: for a loop over it use gs.scan, "
            f"gs.fori_loop or gs.map, or give an int for {', '.join(self.names)} in args="
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.terms,)


Extent = int | Dim


def _restored(terms: Terms) -> Extent:
    return extent(dict(terms))


def extent(terms: Mapping[Any, int]) -> Extent:
    """The polynomial with these terms, factors to coefficient: an int if nothing else is left."""
    kept = [(factors, c) for factors, c in terms.items() if c]
    if all(not factors for factors, _ in kept):
        return sum(c for _, c in kept)
    size = object.__new__(Dim)
    size.terms = tuple(sorted(kept, key=lambda t: (-len(t[0]), tuple(map(str, t[0])))))
    size._text = _written(size.terms)
    return size


def _written(terms: Terms) -> str:
    """What is added first, so that no size starts with a minus."""
    text = ""
    for factors, c in sorted(terms, key=lambda t: t[1] < 0):
        words = ([] if abs(c) == 1 and factors else [str(abs(c))]) + [*map(str, factors)]
        if text:
            text += " - " if c < 0 else " + "
        elif c < 0:
            text += "-"
        text += "*".join(words)
    return text


def _is_word(factors: tuple[Any, ...]) -> bool:
    return len(factors) == 1 and isinstance(factors[0], str)


def _terms(value: Any) -> Mapping[Any, int] | None:
    if isinstance(value, Dim):
        return dict(value.terms)
    if isinstance(value, bool) or not hasattr(value, "__index__") or hasattr(value, "op"):
        return None
    try:
        return {(): int(value.__index__())}
    except TypeError:
        return None


def _combined(one: Dim, other: Any, how: Callable[[Mapping[Any, int], Mapping[Any, int]], Any]) -> Any:
    terms = _terms(other)
    return NotImplemented if terms is None else how(dict(one.terms), terms)


def lower_bound(size: Extent) -> int | None:
    """The least that `size` can be, if no term grows downwards."""
    if not isinstance(size, Dim):
        return int(size)
    falling = [(factors, c) for factors, c in size.terms if factors and c < 0]
    if not falling:
        return sum(c for factors, c in size.terms if not factors)
    (factors, c), *more = falling
    if more or c != -1 or len(factors) != 1 or not isinstance(factors[0], Bound) or factors[0].divisor:
        return None
    rest = size + extent({factors: 1})  # rest - max(b, 0) is the least of rest and rest - b
    one, other = lower_bound(rest), lower_bound(rest - factors[0].size)
    return None if one is None or other is None else min(one, other)


def falls(size: Extent) -> bool:
    """Whether `size` is certainly less than 0, or 0 for some values of the names."""
    return size < 0 if not isinstance(size, Dim) else all(c < 0 for _, c in size.terms)


def certainly_at_most(one: Extent, other: Extent) -> bool:
    """Whether `one <= other` for all values of the names."""
    least = lower_bound(other - one)
    return least is not None and least >= 0


def at_least_zero(size: Extent) -> Extent:
    """`max(size, 0)`, the length of a slice.

    >>> at_least_zero(Dim("n") - 1), at_least_zero(Dim("n") + 1), at_least_zero(-1)
    (Dim('max(n - 1, 0)'), Dim('n + 1'), 0)
    """
    if not isinstance(size, Dim):
        return max(size, 0)
    least, most = lower_bound(size), lower_bound(-size)
    if least is not None and least >= 0:
        return size
    return 0 if most is not None and most >= 0 else extent({(Bound(size),): 1})


def _divided(size: Extent, by: Extent) -> Extent | None:
    """`size/by`, if `by` is a product of ints and names that divides every term."""
    terms, divisor = _terms(size) or {}, _terms(by) or {}
    if len(divisor) != 1:
        return 1 if size == by else None
    ((gone, number),) = divisor.items()
    found: dict[Any, int] = {}
    for factors, c in terms.items():
        rest = [*factors]
        for factor in gone:
            if factor not in rest:
                return None
            rest.remove(factor)
        if c % number:
            return None
        found[tuple(rest)] = c // number
    return extent(found)


def quotient(size: Extent, by: Extent) -> Extent:
    """`size // by`: exact where that is decided, or by an int."""
    if not isinstance(size, Dim) and not isinstance(by, Dim):
        return size // by
    exact = _divided(size, by)
    if exact is not None:
        return exact
    least = lower_bound(size)
    if isinstance(size, Dim) and isinstance(by, int) and by > 1 and least is not None and least >= 0:
        return extent({(Bound(size, by),): 1})
    unknown = size if isinstance(size, Dim) else by
    assert isinstance(unknown, Dim)
    unknown._undecided(f"what {size} // {by} is")


def _factors(factor: Any, value: Callable[[str | Bound], Any]) -> Any:
    if isinstance(factor, str):
        return value(factor)
    given = value(factor)
    if given is not factor:
        return given
    inner = substituted(factor.size, value)
    return quotient(inner, factor.divisor) if factor.divisor else at_least_zero(inner)


def substituted(size: Extent, value: Callable[[str | Bound], Any]) -> Extent:
    """`size` with other sizes in place of its names; `value` of a `Bound` is itself, or what takes its place whole."""
    if not isinstance(size, Dim):
        return size
    total: Any = 0
    for factors, c in size.terms:
        product: Any = c
        for factor in factors:
            product = product * _factors(factor, value)
        total = total + product
    whole: Extent = total
    return whole


def atom(size: Extent) -> str:
    """The text of `size` as a factor: a sum in parentheses."""
    return f"({size})" if isinstance(size, Dim) and len(size.terms) > 1 else str(size)


def whole(number: Extent) -> str:
    """The text of a whole number in any language: True is 1."""
    return str(number) if isinstance(number, Dim) else str(int(number))


def dims_in(value: Any) -> Iterator[Dim]:
    """All sizes that are no ints in nested tuples."""
    if isinstance(value, Dim):
        yield value
    elif isinstance(value, tuple | list):
        for v in value:
            yield from dims_in(v)
