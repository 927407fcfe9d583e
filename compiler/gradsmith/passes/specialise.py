"""Specialise: the graph for given sizes of its named dimensions, or with other names for them.

In: a graph, and what takes the place of its names: ints for references, self-tests and checks; names that a target
allows for its code. Out: a graph of the same nodes in the same order, bodies of loops and branches included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..dims import Bound, Dim, Extent, dims_in, lower_bound, substituted
from ..errors import SpecError
from ..graph import Graph
from ..origin import Origin
from ..regions import with_ends
from ..registry import lookup
from ..types import Bundle, Type

__all__ = ["needed_sizes", "renamed_sizes", "resolved", "size_names", "specialised"]


def size_names(graph: Graph) -> tuple[str, ...]:
    """The names in the shapes of the inputs, in the order in which they occur."""
    found: dict[str, None] = {}
    for key in graph.inputs:
        for dim in dims_in(graph.node(key).type.shape):
            found.update(dict.fromkeys(dim.names))
    return tuple(found)


def specialised(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """`graph` with ints for its named dimensions; itself where it has none."""
    names = size_names(graph)
    missing = [name for name in names if name not in sizes]
    if missing:
        raise SpecError(f"sizes= lacks {', '.join(map(repr, missing))}")
    return renamed_sizes(graph, lambda factor: sizes[factor] if isinstance(factor, str) else factor) if names else graph


def renamed_sizes(graph: Graph, value: Callable[[str | Bound], Any]) -> Graph:
    """`graph` with other sizes for the names in it (and for what is computed from them: see `dims.substituted`)."""

    def changed(given: Any) -> Any:
        if isinstance(given, Dim):
            return substituted(given, value)
        if isinstance(given, tuple):
            return tuple(map(changed, given))
        if isinstance(given, Graph):
            return renamed_sizes(given, value)
        if isinstance(given, Bundle):
            return Bundle(types=tuple(map(changed, given.types)))
        if isinstance(given, Type):
            return Type(changed(given.shape), given.dtype)
        return given

    new, keys = Graph(), dict[int, int]()
    for n in graph.ordered():
        params = {name: changed(v) for name, v in n.params.items()}
        args = [keys[a] for a in n.args]
        keys[n.key] = new.add(n.op, args, params, changed(n.type), n.origin, commutative=lookup(n.op).commutative)
    return with_ends(new, graph, keys)


def resolved(shape: tuple[Extent, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with ints for its names."""
    return tuple(substituted(d, lambda f: sizes[f] if isinstance(f, str) else f) for d in shape)  # type: ignore[misc]


def needed_sizes(graph: Graph) -> tuple[tuple[Dim, int, Origin], ...]:
    """What the sizes must be at least for all elements that are read to exist: size, least, and what asks for it."""
    found: dict[tuple[Dim, int], Origin] = {}
    for n in graph.ordered():
        for body in n.bodies.values():
            found.update({(dim, least): origin for dim, least, origin in needed_sizes(body)})
        for size, least in lookup(n.op).needs(*(graph.node(a).type for a in n.args), **n.params):
            low = lower_bound(size)
            if isinstance(size, Dim) and (low is None or low < least):
                found.setdefault((size, least), n.origin)
    return tuple((dim, least, origin) for (dim, least), origin in found.items())
