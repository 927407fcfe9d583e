"""Owners: how threads share loops that add at places, of which several may be one.

    for (i = 0; i < n; ++i) {           for (t = 0; t < team; ++t)            // in any thread
        at = index[i];                      for (i = 0; i < n; ++i) {
        for (j = 0; j < m; ++j)     ->          at = index[i];
            y[at, j] += x[i, j];                if (at is one of the rows of t)
    }                                               for (j = 0; j < m; ++j)
                                                        y[at, j] += x[i, j];
                                            }

In: a scatter, or the places of a part of an assembly. Out: how many axes of the loop say to which row an element goes,
or whether the iterations of the outermost loop have no place in common. Guarantee: each element of the result gets the
same numbers in the same order, whoever adds them; so any team will do, in strict code as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..dims import Extent, atom
from ..graph import Node
from ..index import Affine, Index, variable
from ..program import Line
from ..registry import Scatter
from ..types import Shape, Type
from .nests import Nest, lines_of

if TYPE_CHECKING:
    from .structures import Structures

__all__ = ["apart_by_rows", "owned", "owned_axes"]


def apart_by_rows(shape: Shape, place: Callable[[Index], Index]) -> bool:
    """Whether the iterations of the outermost loop over `shape` have no place in common.

    So it is where a subscript depends on that loop's variable, and on nothing else.
    """
    first = next((k for k, size in enumerate(shape) if size != 1), None)
    if first is None:
        return False
    own = f"axis {first}"
    there = place(tuple(variable(f"axis {k}") for k in range(len(shape))))
    return any(len(i.terms) == 1 and i.terms[0][0] == own for i in there)


def owned_axes(n: Node, structure: Scatter, shape: Shape, indices: Type, wide: int) -> int | None:
    """How many axes of the loop over `shape` find a row of the result, if what they add to it has `wide` numbers."""
    x, index, row = Type(n.params["shape"]), tuple(variable(f"axis {k}") for k in range(len(shape))), variable("row")
    if structure.source(index, row, n.params, x, indices)[0] != row:
        return None
    count = len(indices.shape)
    if tuple(structure.where(index, n.params, x, indices)) != index[:count]:
        return None
    rest = math.prod(shape[count:])
    return count if isinstance(rest, int) and rest >= wide else None


def owned(structures: Structures, n: Node, structure: Scatter, count: int, shape: Shape) -> list[Line] | None:
    """Zeros, and the loops that add, for a team of threads of which each has some rows; None if one has them all."""
    elements, nests, syntax = structures.elements, structures.nests, structures.target.syntax
    indices = structures.graph.node(n.args[1]).type
    rows, work, least = n.params["shape"][0], math.prod(shape), structures.target.tuning.thread_elements
    if not structures.target.threads or n.key in elements.bases or n.key in elements.parts:
        return None
    if rows == 1 or (isinstance(work, int) and work < least):
        return None
    elements.far.clear()
    lines: list[Line] = []
    team, low, high = (elements.names.fresh(None, wish) for wish in ("team_", "low_", "high_"))
    enough = "" if isinstance(work, int) else f"{work} < {least} ? 1 : "
    lines += lines_of(syntax["team"].format(name=team, enough=enough))
    width: Extent = math.prod(n.params["shape"][1:])

    def clear(nest: Nest, body: list[Line]) -> None:
        zero = elements.printer.number(0, n.type.dtype)
        elements.set(elements.at(n.key, nest.index[0]), zero, body, nest.depth)

    def add(nest: Nest, body: list[Line]) -> None:
        outer = (*nest.index, *(Affine(),) * (len(shape) - count))
        at, *_ = elements.gathered(n, structure, outer, body, nest.depth)
        row = elements.subscripts.text(at)
        body += lines_of(syntax["if"].format(condition=f"{row} >= {low} && {row} < {high}"), nest.depth)

        def one(inner: Nest, into: list[Line]) -> None:
            index = (*nest.index, *inner.index)
            value = elements.element(n.args[0], index, False, into, inner.depth)
            there = structure.source(index, at, n.params, Type(n.params["shape"]), indices)
            into += lines_of(syntax["add_to"].format(name=elements.place(n.key, there), value=value.text), inner.depth)

        rest = shape[count:]
        loops = nests.over(rest, one, nest.depth + 1)
        body += nests.rows(loops, rest, {}, frozenset(), {}, not structures.target.strict)
        body.append(Line(nest.depth, syntax["end"]))

    number = nests.variable(0)
    inside: list[Line] = []
    for name, share in ((low, number), (high, f"({number} + 1)")):
        inside += lines_of(syntax["row_of_team"].format(name=name, size=atom(rows), share=share, team=team), 1)
    first, end = (elements.names.fresh(None, wish) for wish in ("first_", "end_"))
    for name, row in ((first, low), (end, high)):
        inside += lines_of(syntax["start_of_row"].format(name=name, row=row, size=atom(width)), 1)
    inside += nests.over((rows * width,), clear, 1, span=(0, first, end))
    inside += nests.over(shape[:count], add, 1)
    structures.helpers.update({"team": None, "simd": None})
    clauses = "schedule(static)" + "".join(f" reduction(| : {name})" for name in sorted(elements.far))
    lines.append(Line(0, syntax["parallel"].format(clauses=clauses)))
    lines.append(Line(0, syntax["for"].format(name=number, size=team)))
    return [*lines, *inside, Line(0, syntax["end"])]
