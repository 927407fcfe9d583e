"""Running sums of one row, for threads: those of each share by itself, and then what stands before the share added.

    for (i = 0; i < n; ++i)              for (i = 0; i < n; i += share)       // in any thread
        y[i] = total += x[i];     ->         for (j = i; j < end of share; ++j)
                                                 y[j] = own += x[j];
                                             sums[i / share] = own;
                                         sums = what stands before each;      // in one
                                         for (i = 0; i < n; i += share)       // in any
                                             for (j = i; j < end of share; ++j)
                                                 y[j] = sums[i / share] + y[j];

In: a scan that adds along its only long axis. Out: lines. Guarantee: each sum has one order for any number of threads;
where nothing is negative, no sum is less than the one before: the last of a share is what stands before the next.
Running products and recurrences stay with one thread: those of a share may overflow where the whole is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..graph import Node
from ..index import Affine, Index, variable
from ..program import Line
from ..registry import Reduction, Scan
from .nests import Nest, lines_of
from .printing import Text

if TYPE_CHECKING:
    from .structures import Structures

__all__ = ["running_sums"]


def running_sums(
    structures: Structures, n: Node, structure: Scan, place: Callable[[Affine], Index]
) -> list[Line] | None:
    """The loops of shares, for a scan whose element `i` on its way is at `place(i)`; None if one thread has all."""
    elements, nests, syntax = structures.elements, structures.nests, structures.target.syntax
    shape, axis = n.type.shape, n.params["axis"]
    one_row = math.prod(size for k, size in enumerate(shape) if k != axis) == 1
    if structure.combine != ("add",) or n.type.dtype.kind != "float" or not one_row:
        return None
    size = (shape[axis],)
    shared = structures.shared([n], size)
    if shared is None:
        return None
    elements.far.clear()
    number, add = variable(structures.number_of_share), elements.cell_of("add", n.type.dtype)
    own, total = elements.names.fresh(None, "own_"), elements.names.fresh(None, "acc_")
    before = f"{own}[{elements.subscripts.text(number)}]"
    inside = lines_of(structures.accumulator(n, total, structure.initial), 1)

    def sums(nest: Nest, body: list[Line]) -> None:
        index = place(nest.index[0])
        value = elements.element(n.args[0], index, False, body, nest.depth)
        structures.combine(n, Reduction("add", structure.initial), total, value, body, nest.depth)
        elements.set(elements.place(n.key, index), Text(total), body, nest.depth)

    inside += nests.over(size, sums, 1, span=structures.span(shared))
    elements.set(before, Text(total), inside, 1)

    def moved(nest: Nest, body: list[Line]) -> None:
        there = elements.place(n.key, place(nest.index[0]))
        value = elements.fill(add, [Text(before), Text(there)], n.type.dtype, body, nest.depth)
        elements.set(there, value, body, nest.depth)

    def after(count: str) -> list[Line]:
        i, here = nests.variable(0), elements.names.fresh(None, "part_")
        whole = elements.names.fresh(None, "acc_")
        lines = lines_of(structures.accumulator(n, whole, structure.initial))
        lines.append(Line(0, syntax["for"].format(name=i, size=count)))
        lines += lines_of(elements.assign(n, here, f"{own}[{i}]"), 1)
        elements.set(f"{own}[{i}]", Text(whole), lines, 1)
        structures.combine(n, Reduction("add", structure.initial), whole, Text(here), lines, 1)
        lines.append(Line(0, syntax["end"]))
        loop = nests.over(size, moved, 1, span=structures.span(shared))
        loop = nests.rows(loop, size, {}, frozenset(), {}, True)
        structures.helpers["simd"] = None
        return [*lines, *structures.in_shares(shared, loop, {})]

    declared = lines_of(syntax["own"].format(type=elements.type(n), name=own, count=shared.count))
    return [*declared, *structures.in_shares(shared, inside, {}, after)]
