"""Naming: one legal, distinct identifier a value, the user's own wherever possible.

In: wished-for names in order of importance. Out: names that the target allows. Guarantee: no two values share a name,
none is a keyword or a function the file uses, and the result depends on the order of the calls alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..target import Target

__all__ = ["Names"]


class Names:
    """The names taken in one function."""

    def __init__(self, target: Target, taken: Iterable[str] = ()) -> None:
        self._reserved = target.reserved
        self._taken = set(target.reserved) | set(taken)
        self._numbers: dict[str, int] = {}
        self._outer: Names | None = None

    def fresh(self, wish: str | None, fallback: str = "t") -> str:
        """`wish` if it is free; with `_` behind it if it is reserved; else numbered. Without a wish: t1, t2, …"""
        if wish in self._reserved:
            wish = f"{wish}_"
        if wish is not None and wish not in self._taken:
            self._taken.add(wish)
            return wish
        base = fallback if wish is None else f"{wish}_"
        while True:
            number = self._numbers[base] = self._numbers.get(base, 0) + 1
            name = f"{base}{number}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def copy(self) -> Names:
        """The same names taken, for a function of its own."""
        new = object.__new__(Names)
        new._reserved, new._taken, new._numbers = self._reserved, set(self._taken), dict(self._numbers)
        new._outer = self
        return new

    def of_file(self, wish: str | None, fallback: str) -> str:
        """A fresh name that functions written later do not take either."""
        name = self.fresh(wish, fallback)
        if self._outer is not None:
            self._outer._taken.add(name)
        return name
