"""Subscripts: index arithmetic as text. Row-major offsets, and tables where a subscript is no affine one."""

from __future__ import annotations

from ..dims import Dim, atom, falls
from ..index import Affine, Index, Lookup, flatten
from ..types import Shape
from .naming import Names
from .tables import FlatTables

__all__ = ["Subscripts"]


class Subscripts:
    """The subscripts of one function; `out_of_order` are the loop variables by which something is read not forwards."""

    def __init__(self, tables: FlatTables, names: Names) -> None:
        self._tables, self._names = tables, names
        self.out_of_order: set[str] = set()

    def offset(self, index: Index, shape: Shape) -> str:
        """Where element `index` of an array of `shape` lies."""
        return self.text(flatten(index, shape))

    def text(self, offset: Affine) -> str:
        """`offset` in the target's words, which are those of all targets."""
        parts: list[tuple[str, str]] = []
        for term, coefficient in offset.terms:
            down = falls(coefficient)
            if isinstance(term, Lookup):
                self.out_of_order.update(t for i in term.index for t, _ in i.terms if isinstance(t, str))
            elif down:
                self.out_of_order.add(term)
            name = self._looked_up(term) if isinstance(term, Lookup) else term
            size = -coefficient if down else coefficient
            parts.append(("-" if down else "+", name if size == 1 else f"{name}*{atom(size)}"))
        if isinstance(offset.const, Dim):
            parts.append(("+", str(offset.const)))
        elif offset.const or not parts:
            parts.append(("-" if offset.const < 0 else "+", str(abs(offset.const))))
        parts.sort(key=lambda p: p[0] == "-")  # what is added first, so that no subscript starts with a minus
        return " ".join(t if k == 0 and s == "+" else f"{s} {t}" for k, (s, t) in enumerate(parts))

    def _looked_up(self, term: Lookup) -> str:
        return f"{self._tables.lookup(term, self._names)}[{self.offset(term.index, term.shape)}]"
