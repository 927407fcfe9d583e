"""Blocks of rows: a matrix of which a function needs the products from both sides is read from memory once.

In: the stored values of a function in order, and how they read each other. Out: as of `rows`, with loops over blocks of
rows. `A x` has one element a row, and so have values computed from it element by element; `d A` is a sum of rows, and
so are, of numbers, sums over everything. Where all these need of each other only the same row, a block of rows goes
through all of it while a cache has it: the kernels are called for a block, with loops over its rows between them. So it
is with a product of matrices and what is computed from it element by element: a bias, an activation, its slope; and
with pictures, a convolution and what is computed from it.
Guarantee: as of `rows`; blocks are added in their order.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

from ..dims import Extent
from ..graph import Graph, Node
from ..tuning import Tuning
from ..types import Shape
from .rows import Rows, collected, cut_of, inner_loops, reads_of, role_in_blocks, role_in_products

__all__ = ["blocks_first"]

_LEAST, _STEP, _MOST = 4, 8, 16  # rows that the kernels take at a time, in whole vectors of float


def blocks_first(
    graph: Graph, tasks: Sequence[Node], virtual: Mapping[int, int], aliases: Mapping[int, int], tuning: Tuning
) -> tuple[Sequence[Node], Rows, Sequence[Node]] | None:
    """The first loop over blocks of rows by which a matrix is read once, with what comes before and behind it."""
    return _by_vectors(graph, tasks, virtual, aliases, tuning) or _by_matrices(graph, tasks, virtual, aliases, tuning)


_Found = tuple[Sequence[Node], Rows, Sequence[Node]]


def _by_vectors(
    graph: Graph, tasks: Sequence[Node], virtual: Mapping[int, int], aliases: Mapping[int, int], tuning: Tuning
) -> _Found | None:
    tried: set[Shape] = set()
    for n in tasks:
        cut = cut_of(graph, n)
        if cut is None or not cut.adds or len(n.type.shape) != 1:
            continue
        rows = graph.node(n.args[0]).type.shape[:1]
        block = _block(graph, n, tuning)
        if not block or rows in tried:
            continue
        tried.add(rows)
        before, shared, behind = collected(graph, tasks, rows, role_in_blocks, virtual, aliases)
        if _saves(graph, shared, aliases):
            return before, Rows(rows, inner_loops(graph, shared, rows, role_in_blocks, virtual, aliases), block), behind
    return None


def _by_matrices(
    graph: Graph, tasks: Sequence[Node], virtual: Mapping[int, int], aliases: Mapping[int, int], tuning: Tuning
) -> _Found | None:
    """A product of matrices or a convolution, and loops that read its elements.

    Where the first one is read by no such loop, the first one of another kind may be, behind it.
    """
    tried: dict[Shape, set[str]] = {}
    for at, n in enumerate(tasks):
        least, block = _block_of_product(graph, n, tuning), 0
        rows = n.type.shape[:1]
        kinds = tried.setdefault(rows, set()) if least else {n.op}
        if n.op in kinds:
            continue
        start = at if kinds else 0
        kinds.add(n.op)
        while least != block:
            block = least
            role_of = partial(role_in_products, block=block)
            before, shared, behind = collected(graph, tasks[start:], rows, role_of, virtual, aliases)
            blocks = {m.key: _block_of_product(graph, m, tuning) for m in shared}
            least = min(filter(None, (block, *blocks.values())))
        if any(blocks.get(key) for m in shared for key, _ in reads_of(graph, m, virtual, aliases)):
            loop = Rows(rows, inner_loops(graph, shared, rows, role_of, virtual, aliases), block, True)
            return [*tasks[:start], *before], loop, behind
    return None


def _block_of_product(graph: Graph, n: Node, tuning: Tuning) -> int:
    """How many rows a block has if `n` is a product of matrices, or pictures if it is a convolution.

    0 where it is neither, and where blocks do not pay.
    """
    cut = cut_of(graph, n)
    if cut is None or cut.adds or len(n.type.shape) < 2:
        return 0
    if len(n.type.shape) > 2:
        return _block_of_pictures(n, tuning)
    (height, length), inner = n.type.shape, graph.node(n.args[0]).type.shape[1]
    row = length * (n.type.dtype.bits // 8)
    if not isinstance(row, int) or not isinstance(inner, int) or length < tuning.row_elements:
        return 0
    if isinstance(height, int) and height * row < tuning.product_least:
        return 0
    most = tuning.product_bytes // row // tuning.tile_rows * tuning.tile_rows
    block = _even(height, most)
    # each block packs the right factor again, or reads it from where the first cache has it no more
    return block if (4 if n.params["tb"] else 1) * inner <= block else 0


def _block_of_pictures(n: Node, tuning: Tuning) -> int:
    """Of a convolution: whole pictures, as channels alone would read all of the picture again."""
    (count, *picture), each = n.type.shape, n.type.dtype.bits // 8
    most = tuning.picture_bytes // (math.prod(picture) * each)
    large = count > 1 and math.prod(n.type.shape) * each >= tuning.product_least
    return _even(count, most) if large and most else 0


def _even(height: Extent, most: int) -> int:
    """A number of rows, at most so many, that leaves none over, if there is one that is not much less."""
    even = (b for b in range(most, most // 2, -1) if isinstance(height, int) and height % b == 0)
    return next(even, most)


def _saves(graph: Graph, shared: Sequence[Node], aliases: Mapping[int, int]) -> bool:
    """Whether a matrix is read more than once."""
    matrices = Counter(aliases.get(n.args[0], n.args[0]) for n in shared if cut_of(graph, n) is not None)
    return max(matrices.values(), default=0) > 1


def _block(graph: Graph, n: Node, tuning: Tuning) -> int:
    """How many rows of the matrix of `n` a block has; 0 where blocks do not pay."""
    matrix = graph.node(n.args[0]).type
    height, row = matrix.shape[0], math.prod(matrix.shape[1:]) * (matrix.dtype.bits // 8)
    if isinstance(height * row, int) and height * row < tuning.block_least:
        return 0
    if not isinstance(row, int):
        return _MOST
    if _LEAST * row > tuning.block_most:
        return 0
    most = min(max(tuning.block_bytes // row // _STEP * _STEP, _LEAST), _MOST)
    even = (b for b in range(most, most // 2, -_STEP) if isinstance(height, int) and height % b == 0)
    return next(even, most)
