"""Wanted: of products of matrices only the triangle is computed that something reads.

In: a graph with kernels for products. Out: the same, where those that are read below (or above) the diagonal alone
leave the other tiles out. What is read follows from static subscripts, from choices by constants, and in cotangents
from constants that are 0 where a value does not count; what a scan carries is read where its last value is, and where
its body reads it. Guarantee: what is read is the same number; the rest is 0, or keeps what a sum began with. So a
gradient by the entries of triangular factors takes half of the products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..ops.indexing import positions
from ..registry import Reduction, lookup
from ..types import Shape, static_shape
from .regions import remade
from .triangles import has_kernels

__all__ = ["only_wanted"]

_LARGEST = 1 << 22  # elements of arrays of which places are counted
#: Those that can leave out tiles, or stand for one that cannot.
_KERNELS = {"gemm": "gemm", "gemm_dots": "gemm_dots", "gemm_add": "gemm_add", "gemm_direct": "gemm_direct_half"}
_ROUNDS = 4  # until what is read of carried values is known

_Places = np.ndarray | None  # True where an element is read; None: all are


def only_wanted(graph: Graph) -> Graph:
    """`graph` whose products leave out tiles that nothing reads."""
    return _narrowed(graph, [None] * len(graph.outputs))


def _narrowed(graph: Graph, outputs: Sequence[_Places]) -> Graph:
    """`graph`, of whose outputs these places are read."""
    if not has_kernels(graph, _KERNELS):
        return graph
    read = _read(graph, outputs)

    def change(n: Node) -> tuple[str, Mapping[str, Any]]:
        if n.op == "scan":
            return n.op, {**n.params, "body": _narrowed(n.params["body"], _of_body(graph, n, read))}
        part = _triangle(read[n.key]) if n.op in _KERNELS and n.key in read else ""
        return (_KERNELS[n.op], {**n.params, "part": part}) if part else (n.op, n.params)

    return remade(graph, change)


def _of_body(graph: Graph, scan: Node, read: Mapping[int, _Places]) -> list[_Places]:
    """The places of the outputs of a body that are read: in the end, and by the next step."""
    body, carries, first = scan.params["body"], scan.params["carries"], scan.params["consts"]
    parts = {m.params["index"]: m.key for m in graph.ordered() if m.args == (scan.key,) and lookup(m.op).kind == "part"}
    found = [read[parts[k]] if k in parts and k in range(carries) else None for k in range(len(body.outputs))]
    for _ in range(_ROUNDS):
        inside = _read(body, found)
        states = [inside.get(key, _NOTHING) for key in body.inputs[first : first + carries]]
        more = [_both(old, new) for old, new in zip(found, states, strict=False)]
        if all(_same(old, new) for old, new in zip(found, more, strict=False)):
            return found
        found[:carries] = more
    return [None] * len(found)


_NOTHING = np.zeros((), dtype=bool)


def _both(one: _Places, other: _Places) -> _Places:
    return None if one is None or other is None else one | other


def _same(one: _Places, other: _Places) -> bool:
    return one is None if other is None else one is not None and np.array_equal(one, other)


def _triangle(places: _Places) -> str:
    """In which triangle of its matrices all of these places are, the diagonal included."""
    if places is None or places.ndim < 2:
        return ""
    matrix = places.reshape(-1, *places.shape[-2:]).any(axis=0)
    return "lower" if not np.triu(matrix, 1).any() else "upper" if not np.tril(matrix, -1).any() else ""


# --- which elements are read ------------------------------------------------------------------------------------------


def _read(graph: Graph, outputs: Sequence[_Places]) -> dict[int, _Places]:
    """The places of each value that these places of the outputs depend on."""
    read: dict[int, _Places] = {}
    for key, places in zip(graph.outputs, outputs, strict=True):
        read[key] = _both(read[key], places) if key in read else places
    for key in reversed(graph.keys_in_order()):
        n = graph.node(key)
        if key not in read:
            continue
        for a in dict.fromkeys(n.args):
            shape = getattr(graph.node(a).type, "shape", ())
            new = _of_operand(graph, n, a, shape, read[key])
            if a in read:
                new = _both(read[a], new)
            read[a] = new
    return read


def _of_operand(graph: Graph, n: Node, a: int, shape: Shape, places: _Places) -> _Places:
    """The places of operand `a` that the `places` of `n` depend on."""
    own = getattr(n.type, "shape", ())
    if any(not isinstance(size, int) for size in (*shape, *own)) or max(math.prod(shape), math.prod(own)) > _LARGEST:
        return None
    op = lookup(n.op)
    if n.op in _MOVED:
        return _MOVED[n.op](n, shape, places)
    if isinstance(op.structure, Reduction) and places is not None:
        axes = () if n.params["keepdims"] else n.params["axis"]
        return np.broadcast_to(np.expand_dims(places, axes), static_shape(shape))
    if n.op == "gemm_add" and a == n.args[2] and a not in n.args[:2]:
        return places
    if op.kind != "elementwise" or shape != own:
        return None
    counted = None
    if n.op == "mul" and n.origin.derived and n.args[0] != n.args[1]:
        counted = _nonzero(graph, graph.node(n.args[1] if a == n.args[0] else n.args[0]), shape)
    elif lookup(n.op).choice and a != n.args[0] and n.args[1] != n.args[2]:
        counted = _nonzero(graph, graph.node(n.args[0]), shape)
        counted = ~counted if counted is not None and a == n.args[2] else counted
    if counted is None:
        return places
    return counted if places is None else counted & places


def _nonzero(graph: Graph, n: Node, shape: Shape) -> _Places:
    """Where a constant array is not 0."""
    while n.op == "broadcast_to":
        n = graph.node(n.args[0])
    value = n.params.get("value") if n.op == "constant" else None
    return np.broadcast_to(value != 0, static_shape(shape)) if isinstance(value, np.ndarray) else None


def _of_index(n: Node, shape: Shape, places: _Places) -> _Places:
    found = np.zeros(math.prod(shape), dtype=bool)
    taken = positions(n.params["key"], shape)
    found[taken if places is None else taken[places]] = True
    return found.reshape(shape)


def _of_shape(n: Node, shape: Shape, places: _Places) -> _Places:
    return None if places is None else places.reshape(shape)


#: Ops that move elements: the places of the operand, of this shape.
_MOVED: Mapping[str, Callable[[Node, Shape, _Places], _Places]] = {
    "index": _of_index,
    "reshape": _of_shape,
    "expand_dims": _of_shape,
    "squeeze": _of_shape,
    "transpose": lambda n, shape, places: (
        None if places is None else np.transpose(places, np.argsort(n.params["axes"]))
    ),
}
