"""Domains and points: the numbers that the inputs of a check are drawn from.

In: `domain=` as users write it, by argument, leaf or pytree path, and points as tuples of arguments. Out: bounds and
points for the flat inputs of the graph, of each input's dtype. Every misfit is an error that names what was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradsmith_runtime import EDGES, sample_points

from ..errors import SpecError
from ..function import checked_argument
from ..graph import Graph
from ..registry import Gather, Scatter, lookup
from ..tracing import Traced
from ..types import static_shape

if TYPE_CHECKING:
    from ..function import CompiledFunction

__all__ = ["Bounds", "Domain", "bounds", "checked_leaves", "drawn", "graph_dtypes", "point_leaves", "typed"]

Domain = Mapping[str, tuple[Any, Any]]
Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]


def bounds(domain: Domain | None, traced: Traced) -> list[Bounds | None]:
    """For each flat input its (low, high), or None where the domain does not name it.

    A key is the name of an argument (then it holds for all of its leaves), a pytree path such as `params['W1']` or
    `params.W1`, or the name of a leaf; the more special one wins. Bounds are numbers, or arrays that broadcast to the
    leaf's shape; None, -inf and inf are open ends.
    """
    graph = traced.graph
    shapes = [static_shape(graph.node(k).type.shape) for k in graph.inputs]
    found: list[Bounds | None] = [None] * len(shapes)
    given = dict(_entries(domain))
    known = _names(traced)
    for label in given:
        if label not in known:
            raise SpecError(f"domain= names {label!r}; the arguments are {', '.join(known) or 'none'}")
    for label in sorted(given, key=lambda label: -len(known[label])):  # the more special ones last
        for i in known[label]:
            found[i] = _bound(label, given[label], shapes[i])
    return found


def _entries(domain: Any) -> Sequence[tuple[str, Any]]:
    if domain is None:
        return ()
    if not isinstance(domain, Mapping):
        raise SpecError(f'domain= is a dict such as {{"x": (0, 10)}}, not {domain!r}')
    return list(domain.items())


def _names(traced: Traced) -> dict[str, list[int]]:
    """All that an input can be called by -> the numbers of the flat inputs meant."""
    known: dict[str, list[int]] = {}
    at = 0
    for parameter in traced.parameters:
        known[parameter.name] = list(range(at, at + parameter.tree.size))
        for path in parameter.paths:
            dotted = ".".join("".join(c if c.isalnum() or c == "_" else " " for c in path).split())
            for name in (path, dotted, traced.leaves[at]):
                known.setdefault(name, [at])
            at += 1
    return known


def _bound(label: str, pair: Any, shape: tuple[int, ...]) -> Bounds:
    try:
        low, high = pair
        ends = [np.asarray(_open(end, far), dtype=np.float64) for end, far in ((low, -math.inf), (high, math.inf))]
    except (TypeError, ValueError):
        raise SpecError(f"domain={{{label!r}: {pair!r}}}: give two bounds (low, high), numbers or arrays") from None
    try:
        lower, upper = (np.broadcast_to(end, shape) for end in ends)
    except ValueError:
        shapes = " and ".join(str(end.shape) for end in ends)
        raise SpecError(f"domain= of {label!r}: bounds of shapes {shapes} do not fit its shape {shape}") from None
    if not np.all(lower <= upper):  # NaN too
        raise SpecError(f"domain={{{label!r}: {pair!r}}}: the lower bound must not be above the upper one, nor NaN")
    return lower, upper


def _open(end: Any, far: float) -> Any:
    return far if end is None else end


def drawn(graph: Graph, limits: Sequence[Bounds | None], n: int, seed: int) -> list[tuple[Any, ...]]:
    """`n` random points and the edge points, within the limits, as each input's dtype has them."""
    shapes = [static_shape(graph.node(k).type.shape) for k in graph.inputs]
    indices = _index_bounds(graph)
    known = [indices.get(k) if given is None else given for k, given in zip(graph.inputs, limits, strict=True)]
    points = sample_points(shapes, n=n, seed=seed, edges=EDGES, bounds=known)
    return [tuple(map(typed, graph_dtypes(graph), point)) for point in points]


def _index_bounds(graph: Graph) -> dict[int, Bounds]:
    """The limits of integer inputs that end in an index: those of the shortest axis that they read."""
    sizes = _axes_read(graph)
    ends = {k: (float(-size), float(size - 1)) for k, size in zip(graph.inputs, sizes, strict=True) if size is not None}
    shapes = {k: static_shape(graph.node(k).type.shape) for k in ends}
    return {k: (np.full(shapes[k], low), np.full(shapes[k], high)) for k, (low, high) in ends.items()}


def _axes_read(graph: Graph) -> list[int | None]:
    """For each input that ends in an index, here or in a body, how long the shortest axis is that it reads."""
    sizes: dict[int, int] = {}

    def reads(key: int, size: int) -> None:
        if graph.node(key).type.dtype.kind in ("int", "bundle"):
            sizes[key] = min(size, sizes.get(key, size))

    for n in sorted(graph.ordered(), key=lambda n: -n.key):
        structure = lookup(n.op).structure
        if n.key in sizes:
            for a in n.args:
                reads(a, sizes[n.key])
        elif isinstance(structure, Gather | Scatter):
            array = n.params["shape"] if isinstance(structure, Scatter) else graph.node(n.args[0]).type.shape
            reads(n.args[1], static_shape(array)[n.params["axis"]])
        for body in n.bodies.values():
            # a number of steps or a condition comes before what is handed to the body
            for a, size in zip(n.args[len(n.args) - len(body.inputs) :], _axes_read(body), strict=True):
                if size is not None:
                    reads(a, size)
    return [sizes.get(k) for k in graph.inputs]


def graph_dtypes(graph: Graph) -> list[str]:
    """The dtypes of the inputs by name."""
    return [graph.node(k).type.dtype.name for k in graph.inputs]


def typed(dtype: str, value: Any) -> Any:
    """`value` as an input of that dtype can hold it: rounded, with arrays as arrays and scalars as Python's numbers."""
    kind = np.dtype(dtype).kind
    with np.errstate(over="ignore"):
        array = np.asarray(np.rint(value) if kind in "iu" else value).astype(dtype)
    return array if array.ndim else array.item()


def checked_leaves(function: CompiledFunction, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call as flat leaves of the inputs' dtypes; misfits are the errors of a call."""
    leaves = function._leaves(function._bound(args, named))
    checked = [checked_argument(function.name, v, a) for v, a in zip(leaves, function.inputs, strict=True)]
    return list(map(typed, graph_dtypes(function.graph), checked))


def point_leaves(function: CompiledFunction, point: Any) -> tuple[Any, ...]:
    """A point given as the arguments of a call: a tuple or a dict of them, or a bare one for a single argument."""
    if isinstance(point, dict) and set(point) == {p.name for p in function._traced.parameters}:
        return tuple(checked_leaves(function, (), point))
    return tuple(checked_leaves(function, point if isinstance(point, tuple | list) else (point,), {}))
