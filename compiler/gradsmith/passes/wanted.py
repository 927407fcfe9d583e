"""Wanted: of products that a loop adds up, only the triangle is computed that something reads.

In: a graph with `gemm_add` in the bodies of scans. Out: the same, where those whose sum is read below (or above) the
diagonal alone leave the other tiles out. What is read follows from static subscripts, and in cotangents from constants
that are 0 where a sum does not count. Guarantee: what is read is the same number; the rest keeps what the sum began
with, so a gradient by the entries of triangular factors takes half of the products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..ops.indexing import positions
from ..registry import Reduction, lookup
from ..types import Shape, static_shape
from .regions import rebuilt

__all__ = ["only_wanted"]

_LARGEST = 1 << 22  # elements of arrays of which places are counted

_Places = np.ndarray | None  # True where an element is read; None: all are


def only_wanted(graph: Graph) -> Graph:
    """`graph` whose carried products leave out tiles that nothing reads."""
    if not any(n.op == "scan" and any(m.op == "gemm_add" for m in n.params["body"].ordered()) for n in graph.ordered()):
        return graph
    read = _read(graph)
    results = {(m.args[0], m.params["index"]): m.key for m in graph.ordered() if lookup(m.op).kind == "part"}

    def params(n: Node) -> Mapping[str, Any]:
        if n.op != "scan":
            return n.params
        parts: dict[int, str] = {}
        for k in range(n.params["carries"]):
            key = results.get((n.key, k))
            part = _triangle(read[key]) if key is not None and key in read else ""
            product = _adder(n.params["body"], n.params["consts"] + k, k) if part else None
            if product is not None:
                parts[product.key] = part
        return {**n.params, "body": _with_parts(n.params["body"], parts)} if parts else n.params

    return rebuilt(graph, params)


def _adder(body: Graph, state: int, result: int) -> Node | None:
    """The product that alone reads a state and makes the next one."""
    n = body.node(body.outputs[result])
    readers = [m for m in body.ordered() if body.inputs[state] in m.args]
    alone = readers == [n] and body.outputs.count(n.key) == 1 and not any(n.key in m.args for m in body.ordered())
    return n if n.op == "gemm_add" and alone else None


def _with_parts(body: Graph, parts: Mapping[int, str]) -> Graph:
    new, keys = Graph(), dict[int, int]()
    for n in body.ordered():
        params = {**n.params, "part": parts[n.key]} if n.key in parts else n.params
        keys[n.key] = new.add(n.op, [keys[a] for a in n.args], params, n.type, n.origin)
    new.graph["inputs"] = tuple(keys[k] for k in body.inputs)
    new.graph["outputs"] = tuple(keys[k] for k in body.outputs)
    new.graph["cotangents"] = {}
    return new


def _triangle(places: _Places) -> str:
    """In which triangle of its matrices all of these places are, the diagonal included."""
    if places is None or places.ndim < 2:
        return ""
    matrix = places.reshape(-1, *places.shape[-2:]).any(axis=0)
    return "lower" if not np.triu(matrix, 1).any() else "upper" if not np.tril(matrix, -1).any() else ""


# --- which elements are read ------------------------------------------------------------------------------------------


def _read(graph: Graph) -> dict[int, _Places]:
    """The places of each value that results depend on."""
    read: dict[int, _Places] = dict.fromkeys(graph.outputs)
    for key in reversed(graph.keys_in_order()):
        n = graph.node(key)
        if key not in read:
            continue
        for a in dict.fromkeys(n.args):
            shape = getattr(graph.node(a).type, "shape", ())
            new = _of_operand(graph, n, a, shape, read[key])
            if a in read:
                old = read[a]
                new = None if old is None or new is None else old | new
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
    if op.kind != "elementwise" or shape != own:
        return None
    if n.op == "mul" and n.origin.derived and n.args[0] != n.args[1]:
        other = graph.node(n.args[1] if a == n.args[0] else n.args[0])
        counted = _nonzero(graph, other, shape)
        if counted is not None:
            return counted if places is None else counted & places
    return places


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
