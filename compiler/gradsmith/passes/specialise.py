"""Specialise: the graph for given sizes of its named dimensions, or with other names for them.

In: a graph, and what takes the place of its names: ints for references, self-tests and checks; names that a target
allows for its code. Out: a graph of the same nodes in the same order, bodies of loops and branches included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..dims import Bound, Dim, Extent, dims_in, lower_bound, substituted
from ..errors import SpecError
from ..graph import Graph
from ..origin import Origin
from ..regions import with_ends
from ..registry import lookup
from ..types import Bundle, Type

__all__ = [
    "fitting_sizes", "needed_sizes", "renamed", "renamed_sizes", "resolved", "size_names", "sizes_of", "specialised",
]  # fmt: skip

Value = Callable[[str | Bound], Any]
_LARGEST = 1_000  # beyond which no sizes are looked for


def size_names(graph: Graph) -> tuple[str, ...]:
    """The names in the shapes of the inputs, in the order in which they occur."""
    names: tuple[str, ...] = graph.known(("size names", graph.inputs), _size_names)
    return names


def _size_names(graph: Graph) -> tuple[str, ...]:
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


def renamed_sizes(graph: Graph, value: Value) -> Graph:
    """`graph` with other sizes for the names in it (and for what is computed from them: see `dims.substituted`)."""
    new, keys = Graph(), dict[int, int]()
    for n in graph.ordered():
        params = {name: renamed(v, value) for name, v in n.params.items()}
        args = [keys[a] for a in n.args]
        commutative = lookup(n.op).commutative
        keys[n.key] = new.add(n.op, args, params, renamed(n.type, value), n.origin, commutative=commutative)
    return with_ends(new, graph, keys)


def renamed(given: Any, value: Value) -> Any:
    """A parameter or a type, with other sizes for its names."""
    if isinstance(given, Dim):
        return substituted(given, value)
    if isinstance(given, tuple):
        return tuple(renamed(v, value) for v in given)
    if isinstance(given, Graph):
        return renamed_sizes(given, value)
    if isinstance(given, Bundle):
        return Bundle(types=tuple(renamed(t, value) for t in given.types))
    if isinstance(given, Type):
        return Type(renamed(given.shape, value), given.dtype)
    return given


def sizes_of(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The sizes that the shapes of its inputs give to the names of a graph."""
    found: dict[str, int] = {}
    for key, shape in zip(graph.inputs, shapes, strict=True):
        for dim, size in zip(graph.node(key).type.shape, shape, strict=False):
            if isinstance(dim, Dim) and dim.is_name:
                found.setdefault(dim.name, size)
    return found


def fitting_sizes(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """`sizes`, or the next larger ones at which all elements exist that the graph reads."""
    found, needed = dict(sizes), needed_sizes(graph)
    for _ in range(_LARGEST):
        short = {name for dim, least, _ in needed if resolved((dim,), found)[0] < least for name in dim.names}
        if not short:
            break
        found = {name: size + (name in short) for name, size in found.items()}
    return found


def resolved(shape: tuple[Extent, ...], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with ints for its names."""
    return tuple(substituted(d, lambda f: sizes[f] if isinstance(f, str) else f) for d in shape)  # type: ignore[misc]


def needed_sizes(graph: Graph) -> tuple[tuple[Dim, int, Origin], ...]:
    """What the sizes must be at least for all elements that are read to exist: size, least, and what asks for it."""
    found: dict[tuple[Dim, int], Origin] = {}
    for n in graph.ordered():
        for body in n.bodies.values() if n.params else ():
            found.update({(dim, least): origin for dim, least, origin in needed_sizes(body)})
        needs = lookup(n.op).needs
        if needs is None:
            continue
        for size, least in needs(*(graph.node(a).type for a in n.args), **n.params):
            low = lower_bound(size)
            if isinstance(size, Dim) and (low is None or low < least):
                found.setdefault((size, least), n.origin)
    return tuple((dim, least, origin) for (dim, least), origin in found.items())
