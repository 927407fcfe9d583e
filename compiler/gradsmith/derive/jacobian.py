"""Jacobians of expressions: their exact pattern, and the fewest sweeps of forward and reverse mode that find them.

In: expressions and the symbols to differentiate by. Out: for each pair of an output and a symbol the block of the
Jacobian, dense or as its nonzeros. A block that is structurally zero costs nothing.

Columns that share no row can be found by one forward sweep, whose seed is 1 for all of them (A. R. Curtis, M. J. D.
Powell, J. K. Reid, "On the estimation of sparse Jacobian matrices", 1974): colours of the graph in which columns that
share a row are neighbours. Rows and reverse sweeps are the same, transposed. A few full rows would make all columns
neighbours, so they go by reverse sweeps and the rest forwards, or the other way round, whichever takes the fewest
operations. A symmetric matrix takes fewer sweeps: a star colouring, in which either of two symmetric entries must stand
alone (T. F. Coleman, J. J. Moré, "Estimation of sparse Hessian matrices and graph coloring problems", 1984).

Sweeps that move the same arrays are one sweep, mapped by vmap over a table of seeds, so that the code is as long for a
thousand as for four.
"""

from __future__ import annotations

import functools
import itertools
import operator
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import networkx as nx
import numpy as np

from ..as_graph import input_symbols, to_graph
from ..batch.batching import vmap
from ..cost import count
from ..dims import dims_in
from ..errors import DerivativeError
from ..ops import broadcast_to, concatenate, equal, reshape, scatter, transpose, where
from ..ops.indexing import getitem
from ..passes.simplify import simplify
from ..registry import lookup
from ..trace import Expr, constant, registry_function, symbol
from ..types import INT64, DType, Type, static_shape
from .adjoint import derivable, pulled, zeros
from .elimination import Nonzeros, eliminated
from .sparsity import dependencies
from .tangent import pushed

__all__ = ["Entries", "Mode", "Storage", "dense", "diagonal", "nonzeros", "pattern", "second", "slopes", "sparse"]

Mode = Literal["auto", "forward", "reverse", "symmetric"]
_MIXED = (1, 2, 4, 8, 16)  # how many full rows or columns are set apart
_WINDOW = 4096  # columns whose pattern is found at a time: memory stays that of so many bits for each element
_FEW = 2  # sweeps; nothing is better than one
_LINE = 8  # operations that an array more must save
_TOGETHER = 4  # sweeps that are written as one
_WRITTEN_OUT = 64  # elements of a table of seeds that stands in the code
_iota = registry_function("iota")


@dataclass(frozen=True)
class Entries:
    """The places of the nonzeros of one block, in row-major order; rows and columns count elements."""

    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]


@dataclass(frozen=True)
class _Plan:
    """Sweeps: which columns each forward sweep moves and which rows each reverse sweep, and where each entry is found.

    `found[r, c]` is the number of the sweep (forward ones first) that shows the entry, and whether it stands at its
    row (forward, or reverse of a symmetric matrix) or at its column.
    """

    forward: list[list[int]]
    reverse: list[list[int]]
    found: dict[tuple[int, int], tuple[int, int]]


def pattern(outputs: Sequence[Expr], wrt: Sequence[Expr]) -> list[list[int]]:
    """For each row of the whole Jacobian, its columns."""
    graph, _ = derivable(outputs, wrt, False)
    rows: list[list[int]] = [[] for _ in range(sum(y.size for y in outputs))]
    for first in range(0, sum(x.size for x in wrt), _WINDOW):
        sets = dependencies(graph, graph.inputs[: len(wrt)], range(first, first + _WINDOW))
        for row, found in zip(rows, itertools.chain.from_iterable(sets), strict=True):
            row += _bits(found, first)
    return rows


def _bits(number: int, first: int) -> list[int]:
    found = []
    while number:
        low = number & -number
        found.append(first + low.bit_length() - 1)
        number ^= low
    return found


# --- colours ----------------------------------------------------------------------------------------------------------


_MOST_CONFLICTS = 1_000_000  # of columns that share a row; a graph of more takes seconds and a gigabyte
_MOST_PATHS = 20_000_000  # of three neighbours, which a star colouring walks along: ten seconds


def _coloured(rows: Sequence[Sequence[int]]) -> dict[int, int]:
    """Colours of the columns: two in one row differ."""
    if sum(len(row) ** 2 for row in rows) > 2 * _MOST_CONFLICTS:
        return _first_free(rows)
    neighbours = nx.Graph()
    for row in dict.fromkeys(map(tuple, rows)):
        neighbours.add_nodes_from(row)
        neighbours.add_edges_from((a, b) for i, a in enumerate(row) for b in row[:i])
    colours: dict[int, int] = nx.greedy_color(neighbours, strategy="smallest_last")
    return colours


def _first_free(rows: Sequence[Sequence[int]]) -> dict[int, int]:
    """Colours of the columns from left to right, each the first that its rows do not have; without a graph."""
    holders: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        for column in row:
            holders.setdefault(column, []).append(number)
    taken: list[set[int]] = [set() for _ in rows]
    least = [0] * len(rows)  # all colours below are taken
    colours = {}
    for column, found in sorted(holders.items()):
        colour = max(least[r] for r in found)
        while any(colour in taken[r] for r in found):
            colour += 1
        colours[column] = colour
        for r in found:
            taken[r].add(colour)
            while least[r] in taken[r]:
                least[r] += 1
    return colours


def _star_coloured(rows: Sequence[Sequence[int]]) -> dict[int, int]:
    """Colours of a symmetric matrix: neighbours differ, and no path of four has two colours only.

    The greedy algorithm of A. H. Gebremedhin, F. Manne, A. Pothen, "What color is your Jacobian?", 2005, section 5.
    """
    near = [[c for c in row if c != r] for r, row in enumerate(rows)]
    if sum(len(w) ** 2 for w in near) > _MOST_PATHS:
        return _first_free(rows)
    colours: dict[int, int] = {}
    around = [Counter[int]() for _ in rows]  # how many neighbours have each colour
    for v in range(len(rows)):
        if not rows[v]:
            continue
        banned = set()
        for w in near[v]:
            if w in colours:
                banned.add(colours[w])
            for x in near[w]:
                if x != v and x in colours and (w not in colours or around[x][colours[w]] > 1):
                    banned.add(colours[x])
        colours[v] = next(c for c in range(len(banned) + 1) if c not in banned)
        for w in near[v]:
            around[w][colours[v]] += 1
    return colours


def _classes(colours: dict[int, int]) -> list[list[int]]:
    """The members of each colour, in the order of the first: of a full matrix, the columns from left to right."""
    found: dict[int, list[int]] = {}
    for member, colour in sorted(colours.items()):
        found.setdefault(colour, []).append(member)
    return sorted(found.values())


def _one_way(rows: Sequence[Sequence[int]]) -> _Plan:
    """Forward sweeps only."""
    colours = _coloured([row for row in rows if row])
    classes = _classes(colours)
    number = {c: i for i, members in enumerate(classes) for c in members}
    return _Plan(classes, [], {(r, c): (number[c], r) for r, row in enumerate(rows) for c in row})


def _transposed(rows: Sequence[Sequence[int]], width: int) -> list[list[int]]:
    columns: list[list[int]] = [[] for _ in range(width)]
    for r, row in enumerate(rows):
        for c in row:
            columns[c].append(r)
    return columns


def _turned(plan: _Plan) -> _Plan:
    """The plan of the transpose."""
    count = len(plan.forward)
    moved = {
        (c, r): ((i + len(plan.reverse)) if i < count else i - count, at) for (r, c), (i, at) in plan.found.items()
    }
    return _Plan(plan.reverse, plan.forward, moved)


def _mixed(rows: Sequence[Sequence[int]], width: int, apart: int) -> _Plan | None:
    """The fullest `apart` rows by reverse sweeps, the rest by forward ones."""
    full = sorted(range(len(rows)), key=lambda r: -len(rows[r]))[:apart]
    if apart >= len(rows):
        return None
    rest = _one_way([[] if r in set(full) else row for r, row in enumerate(rows)])
    dense_rows = [row if r in set(full) else [] for r, row in enumerate(rows)]
    back = _turned(_one_way(_transposed(dense_rows, width)))
    found = dict(rest.found)
    found.update({key: (i + len(rest.forward), at) for key, (i, at) in back.found.items()})
    return _Plan(rest.forward, back.reverse, found)


def _symmetric(rows: Sequence[Sequence[int]]) -> _Plan:
    """Forward sweeps for a symmetric matrix, of which each entry is found at (r, c) or at (c, r)."""
    mirrored = _transposed(rows, len(rows))
    rows = [sorted({*row, *other}) for row, other in zip(rows, mirrored, strict=True)]
    colours = _star_coloured(rows)
    classes = _classes(colours)
    number = {c: i for i, members in enumerate(classes) for c in members}
    seen = [dict[int, int]() for _ in rows]
    for r, row in enumerate(rows):
        for c in row:
            seen[r][number[c]] = seen[r].get(number[c], 0) + 1
    found = {}
    for r, row in enumerate(rows):
        for c in row:
            found[r, c] = (number[c], r) if seen[r][number[c]] == 1 else (number[r], c)
    return _Plan(classes, [], found)


def _plan(rows: Sequence[Sequence[int]], outputs: Sequence[Expr], wrt: Sequence[Expr], mode: Mode) -> _Plan:
    """The plan of the fewest operations."""
    width = sum(x.size for x in wrt)
    if mode == "symmetric":
        return _symmetric(rows)
    forward = _one_way(rows)
    if mode == "forward":
        return forward
    reverse = _turned(_one_way(_transposed(rows, width)))
    if mode == "reverse":
        return reverse
    ahead, back = _sweep_costs(outputs, wrt)

    def cost(forwards: int, backwards: int) -> tuple[int, int]:
        return ahead * forwards + back * backwards, backwards

    def of(plan: _Plan) -> tuple[int, int]:
        return cost(len(plan.forward), len(plan.reverse))

    best = min(forward, reverse, key=of)
    if min(len(forward.forward), len(reverse.reverse)) <= 2:
        return best
    columns = _transposed(rows, width)
    for apart in _MIXED:
        # what is left takes a sweep for each entry of its fullest row at least
        if cost(_fullest(rows, apart), 1) < of(best) and (plan := _mixed(rows, width, apart)) is not None:
            best = min(best, plan, key=of)
        if cost(1, _fullest(columns, apart)) < of(best) and (plan := _mixed(columns, len(rows), apart)) is not None:
            best = min(best, _turned(plan), key=of)
    return best


def _fullest(rows: Sequence[Sequence[int]], apart: int) -> int:
    """The entries of the fullest row, but for the `apart` fullest."""
    return sorted((len(row) for row in rows), reverse=True)[min(apart, len(rows) - 1)]


def _sweep_costs(outputs: Sequence[Expr], wrt: Sequence[Expr]) -> tuple[int, int]:
    """How many operations a forward and a reverse sweep take, besides those of the values."""
    seeds = [symbol(f"t{i}", x.shape, x.dtype) for i, x in enumerate(wrt)]
    values, tangents = pushed(outputs, wrt, seeds)
    cotangents = [symbol(f"c{i}", y.shape, y.dtype) if y.dtype.kind == "float" else None for i, y in enumerate(outputs)]
    again, found = pulled(outputs, cotangents, wrt)
    return tuple(  # type: ignore[return-value]
        1 + max(0, _operations([*kept, *(x for x in results if x is not None)]) - _operations(kept))
        for kept, results in ((values, tangents), (again, found))
    )


def _operations(exprs: Sequence[Expr]) -> int:
    graph = to_graph(input_symbols(exprs), exprs)
    return sum(count(graph, graph.outputs).values())


# --- sweeps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What sweeps show of output or symbol `k`: a row of `rows` for each of the sweeps (by number)."""

    sweeps: Sequence[int]
    k: int
    rows: Expr


def _seeds(classes: Sequence[Sequence[int]], like: Sequence[Expr]) -> list[np.ndarray]:
    """For each array the number of the sweep that moves each element, -1 for none; members count through all."""
    whole = np.full(sum(x.size for x in like), -1)
    for number, members in enumerate(classes):
        whole[list(members)] = number
    return np.split(whole, np.cumsum([x.size for x in like])[:-1])


def _one(moved: np.ndarray, x: Expr) -> Expr | None:
    """1 where an element is moved; None for an array without any."""
    if not moved.size or 0 not in moved:
        return None
    if not moved.any():
        return broadcast_to(constant(1.0, x.dtype), x.shape) if x.shape else constant(1.0, x.dtype)
    return constant(np.where(moved == 0, 1.0, 0.0).reshape(static_shape(x.shape)), x.dtype)


def _table(moved: np.ndarray, x: Expr, count: int) -> Expr:
    """The seeds of `count` sweeps, one after the other: a small table as numbers, a large one computed."""
    if moved.size * count <= _WRITTEN_OUT:
        ones = np.equal.outer(np.arange(count), moved.reshape(static_shape(x.shape)))
        return constant(np.where(ones, 1.0, 0.0), x.dtype)
    same = np.array_equal(moved, np.arange(x.size))
    numbers = _iota(size=x.size) if same else constant(moved, INT64)
    steps = reshape(_iota(size=count), (count, *(1,) * x.ndim))
    at = reshape(numbers, x.shape) if x.ndim != 1 else numbers
    return where(equal(at, steps), constant(1.0, x.dtype), constant(0.0, x.dtype))


def _swept(plan: _Plan, outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr]) -> list[_Seen]:
    """All sweeps. Those that move the same arrays are one, mapped over its seeds: many take no more lines than two."""

    def ahead(seeds: Sequence[Expr | None]) -> list[Expr | None]:
        return pushed(outputs, wrt, seeds, at, stabilize=True)[1]

    def back(seeds: Sequence[Expr | None]) -> list[Expr | None]:
        return pulled(outputs, seeds, wrt, at, stabilize=True)[1]

    seen: list[_Seen] = []
    for sweep, classes, first, like in (
        (ahead, plan.forward, 0, wrt),
        (back, plan.reverse, len(plan.forward), outputs),
    ):
        alike: dict[tuple[bool, ...], list[int]] = {}
        for number, members in enumerate(classes):
            alike.setdefault(tuple(0 in m for m in _seeds([members], like)), []).append(number)
        for moves, numbers in alike.items():
            if len(numbers) >= _TOGETHER:
                seen += _mapped(sweep, [classes[i] for i in numbers], like, moves, [first + i for i in numbers])
                continue
            for i in numbers:
                parts = sweep([_one(m, x) for m, x in zip(_seeds([classes[i]], like), like, strict=True)])
                seen += [_Seen([first + i], k, part) for k, part in enumerate(parts) if part is not None]
    return seen


def _mapped(
    sweep: Callable[[Sequence[Expr | None]], list[Expr | None]], classes: Sequence[Sequence[int]],
    like: Sequence[Expr], moves: Sequence[bool], numbers: Sequence[int],
) -> list[_Seen]:  # fmt: skip
    """Sweeps that move the arrays `moves`, as one."""
    shown: list[int] = []

    def one(*seeds: Expr) -> list[Expr]:
        given = iter(seeds)
        parts = sweep([next(given) if m else None for m in moves])
        shown.extend(k for k, part in enumerate(parts) if part is not None)
        return [part for part in parts if part is not None]

    moved = zip(_seeds(classes, like), like, moves, strict=True)
    rows = vmap(one)(*(_table(m, x, len(classes)) for m, x, moves in moved if moves))
    return [_Seen(numbers, k, part) for k, part in zip(shown, rows, strict=True)]


@dataclass(frozen=True)
class _Found:
    """Nonzeros of the whole Jacobian in one vector (None if there are none), and the place there of each entry."""

    data: Expr | None
    places: dict[tuple[int, int], int]


def _by_sweeps(
    rows: Sequence[Sequence[int]], plan: _Plan, outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr]
) -> _Found:
    """The nonzeros by forward and reverse mode."""
    row_ends, column_ends = _ends(outputs), _ends(wrt)
    shown = [row_ends] * len(plan.forward) + [column_ends] * len(plan.reverse)  # what each sweep gives
    read = {(n, _part(shown[n], place)) for n, place in plan.found.values()}
    vectors: list[Expr] = []
    offsets: dict[tuple[int, int], int] = {}
    start = 0
    for seen in _swept(plan, outputs, wrt, at):
        if any((number, seen.k) in read for number in seen.sweeps):
            ends = shown[seen.sweeps[0]]
            size = ends[seen.k + 1] - ends[seen.k]
            offsets.update({(number, seen.k): start + i * size for i, number in enumerate(seen.sweeps)})
            vectors.append(seen.rows if seen.rows.ndim == 1 else reshape(seen.rows, (seen.rows.size,)))
            start += seen.rows.size
    places = {}
    for entry, (number, place) in plan.found.items():
        k = _part(shown[number], place)
        if (number, k) in offsets:
            places[entry] = offsets[number, k] + place - shown[number][k]
    return _Found(_joined(vectors), places)


def _by_elimination(vectors: Sequence[Nonzeros], wanted: Container[tuple[int, int]], symmetric: bool) -> _Found:
    """The `wanted` entries from vectors of nonzeros; of a symmetric matrix, one of two equal vectors is enough.

    An entry is the sum of its shares: there may be two ways from here to there.
    """

    def asked(r: int, c: int) -> bool:
        return (r, c) in wanted or (symmetric and (c, r) in wanted)

    def complete(r: int, c: int) -> bool:
        return len(read.get((r, c), ())) == shares.get((r, c), -1)

    entries = [[*zip(v.rows.tolist(), v.columns.tolist(), strict=True)] for v in vectors]
    shares = Counter(e for each in entries for e in each)
    order = [*range(len(vectors))]
    if symmetric:
        order.sort(key=lambda i: _operations([vectors[i].data]))
    read: dict[tuple[int, int], list[int]] = {}
    kept: list[Expr] = []
    start = 0
    for i in order:
        if all(not asked(r, c) or (symmetric and complete(c, r)) for r, c in entries[i]):
            continue
        data = vectors[i].data
        kept.append(data if data.shape else broadcast_to(data, (len(entries[i]),)))
        for place, (r, c) in enumerate(entries[i], start):
            if asked(r, c):
                read.setdefault((r, c), []).append(place)
        start += len(entries[i])
    data = _joined(kept)
    places = {entry: found[0] for entry, found in read.items() if complete(*entry)}
    several = [entry for entry in places if len(read[entry]) > 1]
    if several and data is not None:
        most = max(len(read[entry]) for entry in several)
        # further places of an entry that has fewer count from the 0 at the end
        table = np.array([[*read[e], *[start] * (most - len(read[e]))] for e in several])
        padded = concatenate([data, zeros(Type((1,), data.dtype))])
        total = functools.reduce(operator.add, [getitem(padded, column) for column in table.T])
        data = concatenate([data, total])
        places.update({entry: start + i for i, entry in enumerate(several)})
    if symmetric:
        places = {**{(c, r): place for (r, c), place in places.items()}, **places}
    return _Found(data, {entry: place for entry, place in places.items() if entry in wanted})


def _ends(arrays: Sequence[Expr]) -> list[int]:
    return list(itertools.accumulate((x.size for x in arrays), initial=0))


def _joined(vectors: Sequence[Expr]) -> Expr | None:
    return vectors[0] if len(vectors) == 1 else concatenate(vectors) if vectors else None


def nonzeros(
    outputs: Sequence[Expr],
    wrt: Sequence[Expr],
    at: Sequence[Expr],
    mode: Mode,
    part: Callable[[int, int], bool] = lambda row, column: True,
) -> list[list[tuple[Expr | None, Entries]]]:
    """Each block of the Jacobian as the vector of its nonzeros and their places; None for a block without any.

    With `part`, only those entries of the whole Jacobian for which it holds.
    """
    _refuse_named([*outputs, *wrt])
    found = _fewest(pattern(outputs, wrt), outputs, wrt, at, mode, part)
    row_ends, column_ends = _ends(outputs), _ends(wrt)
    blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for (r, c), place in sorted(found.places.items()):
        o, i = _part(row_ends, r), _part(column_ends, c)
        blocks.setdefault((o, i), []).append((r - row_ends[o], c - column_ends[i], place))
    result = []
    for o, y in enumerate(outputs):
        line: list[tuple[Expr | None, Entries]] = []
        for i, x in enumerate(wrt):
            entries = np.array(blocks.get((o, i), []), dtype=np.int64).reshape(-1, 3)
            places = Entries(entries[:, 0], entries[:, 1], (y.size, x.size))
            data = _taken(found.data, entries[:, 2], y.size) if found.data is not None and len(entries) else None
            line.append((data, places))
        result.append(line)
    return result


def _fewest(
    rows: Sequence[Sequence[int]],
    outputs: Sequence[Expr],
    wrt: Sequence[Expr],
    at: Sequence[Expr],
    mode: Mode,
    part: Callable[[int, int], bool],
) -> _Found:
    """The nonzeros by sweeps or by elimination, whichever costs less."""
    plan = _plan(rows, outputs, wrt, mode)
    plan = replace(plan, found={entry: place for entry, place in plan.found.items() if part(*entry)})
    swept = _by_sweeps(rows, plan, outputs, wrt, at)
    if mode not in ("auto", "symmetric") or len(plan.forward) + len(plan.reverse) < _FEW:
        return swept
    wanted = plan.found.keys()
    direct = [_by_elimination(v, wanted, mode == "symmetric") for v in eliminated(outputs, wrt, at)]
    return min([swept, *direct], key=_effort)


def _effort(found: _Found) -> int:
    """Operations, and some more for each array that is computed: a line of code, and a loop."""
    if found.data is None:
        return 0
    graph = simplify(to_graph(input_symbols([found.data]), [found.data]))
    arrays = sum(lookup(n.op).kind == "elementwise" for n in graph.ordered())
    return int(sum(count(graph, graph.outputs).values())) + _LINE * arrays


def _refuse_named(exprs: Sequence[Expr]) -> None:
    """A pattern counts elements, of all arrays on the way, so none of their sizes may be a name."""
    found = (x.shape for x in input_symbols(exprs))
    names = dict.fromkeys(name for shape in found for dim in dims_in(shape) for name in dim.names)
    if names:
        raise DerivativeError(
            f"a Jacobian or a Hessian needs sizes that are known, and {', '.join(map(repr, names))} is known at run "
            "time only: give ints in args=, or use jvp, vjp or hvp, which take any size"
        )


def _part(ends: Sequence[int], place: int) -> int:
    """In which array an element is, which are counted through all."""
    return bisect_right(ends, place) - 1


def _taken(whole: Expr, places: np.ndarray, rows: int) -> Expr:
    """The elements at `places`: a transposed matrix where they are the columns of one, which needs no table."""
    first, columns = int(places[0]), len(places) // rows
    if min(rows, columns) > 1 and np.array_equal(
        places, first + np.add.outer(np.arange(rows), np.arange(columns) * rows).ravel()
    ):
        block = reshape(getitem(whole, slice(first, first + len(places))), (columns, rows))
        return reshape(transpose(block), (len(places),))
    found: Expr = getitem(whole, _span(places))
    return found


def _span(places: np.ndarray) -> slice | np.ndarray:
    """A slice where the places are consecutive: it costs nothing, and reads better."""
    first = int(places[0])
    return slice(first, first + len(places)) if np.array_equal(places, first + np.arange(len(places))) else places


def sparse(
    outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr], mode: Mode, storage: Storage
) -> list[tuple[Expr, Entries]]:
    """The blocks of the Jacobian, row by row, each as the vector of its nonzeros in the order of `storage`."""
    row_ends, column_ends = _ends(outputs), _ends(wrt)
    return [
        storage.ordered(data, entries, y.dtype if y.dtype.kind == "float" else x.dtype, above - left)
        for line, y, above in zip(
            nonzeros(outputs, wrt, at, mode, _TRIANGLES[storage.triangle]), outputs, row_ends[:-1], strict=True
        )
        for (data, entries), x, left in zip(line, wrt, column_ends[:-1], strict=True)
    ]


_TRIANGLES: Mapping[str | None, Callable[..., Any]] = {
    None: lambda row, column: True, "lower": operator.ge, "upper": operator.le,
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """How a sparse matrix is stored: "csr" or "coo" (by rows) or "csc" (by columns), and which triangle, if one."""

    format: str
    triangle: str | None = None

    def ordered(self, data: Expr | None, entries: Entries, dtype: DType, below: int = 0) -> tuple[Expr, Entries]:
        """Nonzeros and places in this order, without the other triangle.

        `below` is how far the block's first row lies below the row of the whole matrix that has the number of its
        first column: the triangle is that of the whole matrix.
        """
        rows, columns = entries.rows, entries.columns
        here = rows + below
        kept = np.flatnonzero(_TRIANGLES[self.triangle](here, columns) * np.ones(len(rows), bool))
        if self.format == "csc":
            kept = kept[np.lexsort((rows[kept], columns[kept]))]
        places = Entries(rows[kept], columns[kept], entries.shape)
        if data is None or not len(kept):
            return zeros(Type((0,), dtype)), places
        whole = np.array_equal(kept, np.arange(len(rows)))
        return data if whole else getitem(data, _span(kept)), places


def dense(outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr], mode: Mode) -> list[list[Expr]]:
    """The blocks of the Jacobian as arrays, a row for each output and a column for each symbol, at the values `at`."""
    return [
        [_filled(data, entries, _whole(y.type, x.type)) for (data, entries), x in zip(line, wrt, strict=True)]
        for line, y in zip(nonzeros(outputs, wrt, at, mode), outputs, strict=True)
    ]


def second(output: Expr, wrt: Sequence[Expr], at: Sequence[Expr]) -> list[list[Expr]]:
    """The blocks of the second derivatives of one output, each of the shapes of the output and of two symbols.

    Forward mode over reverse mode; the Hessian of a scalar is symmetric, which saves sweeps.
    """
    if output.shape == () and output.dtype.kind == "float":
        return dense(slopes(output, wrt), wrt, at, "symmetric")
    (rows,) = dense([output], wrt, wrt, "reverse")
    return dense(rows, wrt, at, "forward")


def diagonal(output: Expr, wrt: Sequence[Expr], at: Sequence[Expr]) -> list[Expr]:
    """The second derivatives of a scalar by each element alone, in the shapes of `wrt`."""
    blocks = nonzeros(slopes(output, wrt), wrt, at, "symmetric", operator.eq)
    found = []
    for i, x in enumerate(wrt):
        data, entries = blocks[i][i]
        found.append(_filled(data, Entries(entries.rows, 0 * entries.columns, (x.size, 1)), x.type))
    return found


def slopes(output: Expr, wrt: Sequence[Expr]) -> list[Expr]:
    """The gradient of a scalar, in stable forms."""
    _, found = pulled([output], [constant(1.0, output.dtype)], wrt, stabilize=True)
    return [zeros(x.type) if g is None else g for g, x in zip(found, wrt, strict=True)]


def _filled(data: Expr | None, entries: Entries, whole: Type) -> Expr:
    if data is None:
        return zeros(whole)
    places = entries.rows * entries.shape[1] + entries.columns
    if data.size == whole.size:
        return reshape(data, whole.shape) if data.shape != whole.shape else data  # full, in row-major order
    flat = scatter(data, shape=(whole.size,), keys=((_frozen(places),),))
    return reshape(flat, whole.shape) if whole.shape != flat.shape else flat


def _whole(y: Type, x: Type) -> Type:
    """The type of the block of `y` by `x`."""
    return Type((*y.shape, *x.shape), y.dtype if y.dtype.kind == "float" else x.dtype)


def _frozen(places: np.ndarray) -> np.ndarray:
    places = places.copy()
    places.setflags(write=False)
    return places
