"""Elimination: the nonzeros of a Jacobian by the chain rule alone, without sweeps and without seeds.

In: expressions and the symbols to differentiate by. Out: vectors of nonzeros, each with its rows and columns.
Guarantee: no operation has a structural zero in it.

The graph of families (`families`) has an edge from each operation to each of its operands, and on it the local slope.
To eliminate an operation is to multiply each slope above it by each below it, and to add where an edge is there
already; when only outputs and inputs are left, the edges are the Jacobian. Forward mode eliminates in the order of the
graph, reverse mode backwards, and in between there are orders that take less than either (A. Griewank, S. Reese, "On
the calculation of Jacobian matrices by the Markowitz rule", 1991). The rule: what costs least comes next.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..as_graph import between, input_symbols, to_exprs, to_graph
from ..graph import Graph
from ..ops import reshape
from ..ops.indexing import getitem
from ..origin import Origin
from ..passes.fold import fold
from ..passes.rewrite import first_of
from ..passes.simplify import apply_law, number
from ..trace import Expr, apply, constant, recording
from ..types import static_shape
from .adjoint import derivable
from .families import Families, families

__all__ = ["Nonzeros", "eliminated", "span"]


@dataclass(frozen=True)
class Nonzeros:
    """A vector of nonzeros (or one number for all), and the rows and columns where they stand, counted through all."""

    data: Expr
    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True)
class _Edge:
    """From each member of a family to the members `places` of the family `to`, with these slopes (one, or for each)."""

    to: int
    places: np.ndarray
    slope: Expr

    @property
    def key(self) -> tuple[int, bytes]:
        return self.to, self.places.tobytes()

    @property
    def free(self) -> bool:
        """Whether a product with the slope is no operation."""
        return number(self.slope) in (1.0, -1.0)


class _Values:
    """The members of families as expressions: a vector for each family, a scalar for a family of one."""

    def __init__(self, found: Families, exprs: Sequence[Expr]) -> None:
        self._found = found
        self._taken: dict[tuple[int, bytes], Expr] = {}
        self._vectors: list[Expr] = []
        for k, family in enumerate(found.members):  # operands first
            if family.op is not None:
                vector = apply(family.op, self.operands(k), family.params)
            elif family.node < 0:
                vector = constant(0.0, family.dtype)
            else:
                vector = _elements(exprs[family.node], family.places[0])
            self._vectors.append(vector)

    def __getitem__(self, number: int) -> Expr:
        return self._vectors[number]

    def operands(self, number: int) -> list[Expr]:
        family = self._found.members[number]
        return [self.taken(self[k], p) for k, p in zip(family.operands, family.places, strict=True)]

    def taken(self, vector: Expr, places: np.ndarray) -> Expr:
        """The elements of `vector` at `places`, a scalar where they are all one."""
        if vector.shape == ():
            return vector
        if vector.op.name == "broadcast_to" and vector.args[0].shape == ():
            return vector.args[0]
        key = (vector.serial, places.tobytes())
        if key not in self._taken:
            self._taken[key] = _elements(vector, places)
        return self._taken[key]


def _elements(x: Expr, places: np.ndarray) -> Expr:
    """The elements of an array at flat places."""
    if x.shape == ():
        return x
    shape = static_shape(x.shape)
    apart = 1  # columns of one: a slice of an axis in place of a table
    if len(places) == 1:
        return getitem(x, tuple(int(i) for i in np.unravel_index(int(places[0]), shape)))
    for axis in range(len(shape) - 1, 0, -1):
        apart *= shape[axis]
        rows = x.size // apart
        if len(places) == rows and np.array_equal(places, int(places[0]) % apart + apart * np.arange(rows)):
            at = np.unravel_index(int(places[0]), shape[axis:])
            column = getitem(x, (*[slice(None)] * axis, *(int(i) for i in at)))
            return column if column.ndim == 1 else reshape(column, (rows,))
    flat = x if x.ndim == 1 else reshape(x, (x.size,))
    key = span(places)
    return flat if isinstance(key, slice) and len(places) == x.size else getitem(flat, key)


def span(places: np.ndarray) -> Any:
    """A slice where the places are evenly spaced: it costs nothing, and reads better."""
    first, step = int(places[0]), int(places[1] - places[0]) if len(places) > 1 else 1
    if step <= 0 or not np.array_equal(places, first + step * np.arange(len(places))):
        return places
    return slice(first, int(places[-1]) + 1, step)


class _Edges:
    """The graph of slopes, while it is being eliminated. Vertices are families, and outputs behind them."""

    def __init__(self, values: _Values, sizes: list[int]) -> None:
        self.values, self.sizes = values, sizes
        self.below: list[dict[tuple[int, bytes], _Edge]] = [{} for _ in sizes]
        self.above: list[set[int]] = [set() for _ in sizes]

    def add(self, vertex: int, edge: _Edge) -> None:
        there = self.below[vertex].get(edge.key)
        if there is not None:
            edge = replace(edge, slope=there.slope + edge.slope)
        if number(edge.slope) == 0.0:
            self.below[vertex].pop(edge.key, None)  # the shares cancel
            return
        self.below[vertex][edge.key] = edge
        self.above[edge.to].add(vertex)

    def cost(self, vertex: int) -> int:
        """About how many operations it takes to eliminate a vertex."""
        total = 0
        factors = [e.free for e in self.below[vertex].values()]
        for user in self.above[vertex]:
            for edge in self.below[user].values():
                if edge.to == vertex:
                    total += self.sizes[user] * sum(not (free or edge.free) for free in factors)
        return total

    def eliminate(self, vertex: int) -> set[int]:
        """Returns the vertices whose cost has changed."""
        below = list(self.below[vertex].values())
        for user in sorted(self.above[vertex]):
            through = [e for e in self.below[user].values() if e.to == vertex]
            for edge in through:
                del self.below[user][edge.key]
            for edge in through:
                for inner in below:
                    slope = edge.slope * self.values.taken(inner.slope, edge.places)
                    self.add(user, _Edge(inner.to, inner.places[edge.places], slope))
        changed = {e.to for e in below} | self.above[vertex]
        for edge in below:
            self.above[edge.to].discard(vertex)
        self.below[vertex], self.above[vertex] = {}, set()
        return changed


def eliminated(outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr]) -> list[list[Nonzeros]]:
    """The nonzeros of the Jacobian at the values `at`, by each of the orders; none where there are no families."""
    graph, around = _simplified(outputs, wrt)
    found = families(graph, len(wrt))
    if found is None:
        return []
    with recording(first_of(fold, apply_law)) as state:
        exprs = to_exprs(found.graph, [*at, *around])
        state.origin = Origin(role="tangent")
        values = _Values(found, exprs)
        tops = _tops(found)
        slopes = _slopes(found, values, tops)
        return [_nonzeros(found, values, tops, slopes, order) for order in (_forward, _reverse, _cheapest)]


def _simplified(outputs: Sequence[Expr], wrt: Sequence[Expr]) -> tuple[Graph, list[Expr]]:
    """The graph from `wrt` to `outputs` in stable forms and fewest terms, and what else it reads."""
    graph, around = derivable(outputs, wrt, True)
    with recording(first_of(fold, apply_law)):
        settled = [e if input_symbols([e]) else to_exprs(to_graph([], [e]))[-1] for e in around]
        exprs = to_exprs(graph, [*wrt, *settled])
    return between([exprs[k] for k in graph.outputs], wrt)


@dataclass(frozen=True)
class _Top:
    """Elements of the outputs that are of one family: which members, and the rows where they stand."""

    family: int
    places: np.ndarray
    rows: np.ndarray


def _tops(found: Families) -> list[_Top]:
    tops, start = [], 0
    for numbers, places in found.outputs:
        for k in np.unique(numbers):
            if found.members[k].active:
                rows = np.flatnonzero(numbers == k)
                tops.append(_Top(int(k), places[rows], start + rows))
        start += len(numbers)
    return tops


def _slopes(found: Families, values: _Values, tops: Sequence[_Top]) -> list[list[_Edge]]:
    """The edges of each family, and of each of the `tops` behind them, before any is eliminated."""
    members, one = found.members, constant(1.0, found.members[0].dtype)
    slopes: list[list[_Edge]] = [[] for _ in members]
    slopes += [[_Edge(top.family, top.places, one)] for top in tops]
    needed = {top.family for top in tops}
    for vertex in reversed(range(len(members))):
        if members[vertex].op is not None and vertex in needed:
            slopes[vertex] = _local(found, values, vertex, one)
            needed.update(edge.to for edge in slopes[vertex])
    return slopes


def _nonzeros(
    found: Families, values: _Values, tops: Sequence[_Top], slopes: Sequence[Sequence[_Edge]], order: _Order
) -> list[Nonzeros]:
    members = found.members
    edges = _Edges(values, [*(f.size for f in members), *(len(top.rows) for top in tops)])
    for vertex, below in enumerate(slopes):
        for edge in below:
            edges.add(vertex, edge)
    order(edges, [k for k, f in enumerate(members) if f.op is not None and edges.above[k]])
    columns, start = dict[int, np.ndarray](), 0
    for key in found.graph.inputs[: found.wrt]:
        columns.update({k: start + f.places[0] for k, f in enumerate(members) if f.node == key})
        start += found.graph.node(key).type.size
    return [
        Nonzeros(edge.slope, top.rows, columns[edge.to][edge.places])
        for vertex, top in enumerate(tops, len(members))
        for edge in edges.below[vertex].values()
    ]


def _local(found: Families, values: _Values, vertex: int, one: Expr) -> list[_Edge]:
    """The slopes of a family by its operands, by the op's own rule."""
    family = found.members[vertex]
    xs = values.operands(vertex)
    shares = family.op.vjp(one, values[vertex], *xs, **family.params)  # type: ignore[union-attr, misc]
    return [
        _Edge(k, places, share.args[0] if number(share) is not None and share.shape else share)
        for k, places, share in zip(family.operands, family.places, shares, strict=True)
        if share is not None and found.members[k].active
    ]


# --- orders -----------------------------------------------------------------------------------------------------------

_Order = Callable[[_Edges, Sequence[int]], None]


def _forward(edges: _Edges, vertices: Sequence[int]) -> None:
    for vertex in vertices:
        edges.eliminate(vertex)


def _reverse(edges: _Edges, vertices: Sequence[int]) -> None:
    for vertex in reversed(vertices):
        edges.eliminate(vertex)


def _cheapest(edges: _Edges, vertices: Sequence[int]) -> None:
    """What costs least comes next, and of several the first."""
    costs = {v: edges.cost(v) for v in vertices}
    heap = [(cost, v) for v, cost in costs.items()]
    heapq.heapify(heap)
    while heap:
        cost, vertex = heapq.heappop(heap)
        if costs.get(vertex) != cost:
            continue
        del costs[vertex]
        for changed in sorted(edges.eliminate(vertex)):
            if changed in costs and (new := edges.cost(changed)) != costs[changed]:
                costs[changed] = new
                heapq.heappush(heap, (new, changed))
