"""Tables: constant arrays and tables of subscripts of loop code, flat, each once.

They stand at the top of the function that reads them or, where the target has the pattern `file_table`, at the top of
the file.
"""

from __future__ import annotations

from ..graph import Node, freeze_key
from ..index import Lookup
from ..program import Line
from ..target import Target
from .naming import Names
from .nests import lines_of
from .printing import Printer

__all__ = ["FlatTables"]


class FlatTables:
    """The tables so far: `lines` define them."""

    def __init__(self, target: Target) -> None:
        self.of_file = "file_table" in target.syntax
        self.lines: list[Line] = []
        self._target, self._printer = target, Printer(target)
        self._constants: dict[object, str] = {}
        self._lookups: dict[Lookup, str] = {}

    def constant(self, n: Node, names: Names) -> str:
        """The name of the table that holds the constant `n`."""
        value, dtype = n.params["value"], n.type.dtype
        key = freeze_key(value)
        if key not in self._constants:
            texts = [self._printer.number(v.item(), dtype).text for v in value.ravel()]
            self._constants[key] = self._define("table", n.origin.name, names, texts, dtype.name)
        return self._constants[key]

    def lookup(self, term: Lookup, names: Names) -> str:
        """The name of the table that holds the subscripts of `term`."""
        key = Lookup(term.table, term.shape, ())
        if key not in self._lookups:
            self._lookups[key] = self._define("index_table", None, names, [*map(str, term.table)], "int64")
        return self._lookups[key]

    def _define(self, pattern: str, wish: str | None, names: Names, texts: list[str], dtype: str) -> str:
        prefix = pattern.removesuffix("table") or "table_"
        name = names.of_file(wish, prefix.upper()) if self.of_file else names.fresh(wish, prefix)
        text = self._target.syntax["file_table" if self.of_file else pattern].format(
            type=self._target.types.get(dtype, ""),
            name=name,
            size=max(1, len(texts)),
            values=", ".join(texts) or "0",
            comma="," if len(texts) < 2 else "",
        )
        self.lines += lines_of(text)
        return name
