"""Scalarise: turn arrays into their elements, so that a target without arrays can write the graph.

In: a graph with arrays. Out: a graph of scalars, in which `element` nodes take inputs apart; each array output becomes
the outputs of its elements in row-major order. Structure costs nothing (transposes and slices vanish), and what
happens to be zero or shared between elements is found by the passes that follow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..as_graph import to_graph
from ..errors import TargetError
from ..graph import Graph, Node
from ..index import Affine
from ..ops import where
from ..ops.gathering import gathered
from ..registry import Assembly, Contraction, Gather, Reduction, Scan, Scatter, lookup
from ..trace import Expr, constant, recording, registry_function, symbol
from ..types import FLOAT64, DType, Type, static_shape

__all__ = ["scalarise"]


def scalarise(graph: Graph, *, most: int, in_order: bool = False) -> Graph:
    """`graph` with every array replaced by its elements, of which an array has at most `most`.

    With `in_order`, sums go from the first element to the last, beginning with 0.0, as those of loops do.
    """
    with recording() as state:
        elements: dict[int, Any] = {}
        inputs: list[Expr] = []
        for n in graph.ordered():
            shape = static_shape(n.type.shape)
            if math.prod(shape) > most:
                raise TargetError(
                    f"straight-line code for an array of shape {shape} would need {math.prod(shape)} statements "
                    f'(limit {most}): use target="python", "numpy" or "c", or give the target [loops]'
                )
            state.origin = n.origin.unnamed()
            if n.op == "input":
                x = symbol(n.params["name"], shape, n.type.dtype)
                inputs.append(x)
                elements[n.key] = _taken_apart(x, shape)
            elif n.op == "constant":
                value = np.asarray(n.params["value"])
                elements[n.key] = _objects([constant(v, n.type.dtype) for v in value.ravel()], shape)
            else:
                found = _compute(graph, n, [elements[a] for a in n.args], in_order)
                elements[n.key] = _objects(found, shape, n.type.dtype)
            _name(elements[n.key], n)
        pairs = [
            (p, c)
            for primal, cotangent in graph.cotangents.items()
            for p, c in zip(elements[primal].ravel(), elements[cotangent].ravel(), strict=True)
        ]
        outputs = [e for key in graph.outputs for e in elements[key].ravel()]
        return to_graph(inputs, outputs, pairs)


def _taken_apart(x: Expr, shape: tuple[int, ...]) -> Any:
    if not shape:
        return _objects([x], ())
    element = registry_function("element")
    return _objects([element(x, place=place) for place in np.ndindex(shape)], shape)


def _objects(values: Any, shape: tuple[int, ...], dtype: DType = FLOAT64) -> Any:
    flat = values.ravel() if isinstance(values, np.ndarray) else values if isinstance(values, list) else [values]
    array = np.empty(len(flat), dtype=object)
    for i, v in enumerate(flat):
        array[i] = v if isinstance(v, Expr) else constant(v, dtype)  # NumPy's sum of no objects is the int 0
    return array.reshape(shape)


def _compute(graph: Graph, n: Node, args: Sequence[Any], in_order: bool) -> Any:
    op = lookup(n.op)
    if op.kind == "elementwise":
        function = registry_function(op.name)
        return [function(*xs, **n.params) for xs in zip(*(a.ravel() for a in args), strict=True)]
    if isinstance(op.structure, Reduction):
        return _reduce(op.structure, args[0], n.params["axis"], n.type.dtype, in_order)
    if isinstance(op.structure, Scan):
        return _scan(op.structure, args, n.params["axis"], n.params["reverse"], n.type.dtype)
    if isinstance(op.structure, Assembly) and op.structure.accumulate:
        return _accumulate(args, op.structure.places(n.params) or (), n.type, in_order)
    if isinstance(op.structure, Gather):
        return _gather(n, op.structure, *args)
    if isinstance(op.structure, Scatter):
        return _scatter(n, op.structure, args[0], args[1], in_order)
    if isinstance(op.structure, Contraction) and in_order:
        return _contract(op.structure, args, [graph.node(a).type for a in n.args], n.type)
    return op.evaluate(*args, **n.params)  # NumPy moves, multiplies and adds objects as it does numbers


def _reduce(structure: Reduction, x: Any, axis: tuple[int, ...], dtype: DType, in_order: bool) -> list[Expr]:
    rest = [i for i in range(x.ndim) if i not in axis]
    counts = [math.prod(x.shape[i] for i in axes) for axes in (rest, axis)]
    rows = np.transpose(x, [*rest, *axis]).reshape(counts)
    combine = registry_function(structure.combine)
    combined = _one_by_one if in_order else _by_pairs
    return [combined(list(row), combine, structure.initial, dtype) for row in rows]


def _scan(structure: Scan, args: Sequence[Any], axis: int, reverse: bool, dtype: DType) -> Any:
    """The running value at each place, in the order in which loops compute it."""
    result = np.empty(args[0].shape, dtype=object)
    combine = [registry_function(name) for name in structure.combine]
    rows = [np.moveaxis(a, axis, -1) for a in (result, *args)]
    for place in np.ndindex(rows[0].shape[:-1]):
        out, *operands = (row[place][::-1] if reverse else row[place] for row in rows)
        running = constant(structure.initial, dtype)
        for i in range(len(out)):
            for function, x in zip(combine, operands, strict=True):
                running = function(running, x[i])
            out[i] = running
    return result


def _one_by_one(values: list[Expr], combine: Any, initial: float, dtype: DType) -> Expr:
    """From the first to the last. Only an initial 0.0 matters: 0.0 + -0.0 is 0.0."""
    start = [constant(initial, dtype)] if initial == 0.0 or not values else []
    return functools.reduce(combine, start + values)


def _by_pairs(values: list[Expr], combine: Any, initial: float, dtype: DType) -> Expr:
    """Pairs first, then pairs of pairs: the order of `prod`'s derivative, and less rounding in sums."""
    if not values:
        return constant(initial, dtype)
    while len(values) > 1:
        pairs = [combine(a, b) for a, b in zip(values[0::2], values[1::2], strict=False)]
        values = pairs + values[2 * len(pairs) :]
    return values[0]


def _contract(structure: Contraction, args: Sequence[Any], types: Sequence[Type], type: Type) -> list[Expr]:
    """Sums of products, from the first to the last."""
    a, b = args
    zero, found = constant(0.0, type.dtype), []
    for at in np.ndindex(static_shape(type.shape)):
        index = tuple(Affine(i) for i in at)
        total = zero
        for k in range(structure.length(*types)):
            left, right = structure.sources(index, Affine(k), *types)
            total = total + a[tuple(i.const for i in left)] * b[tuple(i.const for i in right)]
        found.append(total)
    return found


def _accumulate(args: Sequence[Any], places: Sequence[np.ndarray], type: Type, in_order: bool) -> list[Expr]:
    start = constant(0.0, type.dtype) if in_order else None
    sums: list[Expr | None] = [start] * type.size
    for values, part in zip(args, places, strict=True):
        for place, v in zip(part.ravel(), values.ravel(), strict=True):
            there = sums[place]
            sums[place] = v if there is None else there + v
    return [constant(0.0, type.dtype) if s is None else s for s in sums]


def _gather(n: Node, structure: Gather, x: Any, indices: Any) -> list[Expr]:
    """Each element of the result is picked from those it can be."""
    found = []
    for at in np.ndindex(static_shape(n.type.shape)):
        index, candidates = _candidates(n, structure, at, x.shape, indices)
        found.append(gathered(index, [x[place] for place in candidates]))
    return found


def _scatter(n: Node, structure: Scatter, g: Any, indices: Any, in_order: bool) -> list[Expr]:
    """Each element is added to all places that it can go to, and counts at one of them."""
    shape = static_shape(n.type.shape)
    zero = constant(0.0, n.type.dtype)
    sums = np.empty(shape, dtype=object)
    sums.fill(zero if in_order else None)
    for at in np.ndindex(g.shape):
        index, candidates = _candidates(n, structure, at, shape, indices)
        for k, place in enumerate(candidates):
            here = (index == k) | (index == k - len(candidates))
            share = where(here, g[at], zero)
            sums[place] = share if sums[place] is None else sums[place] + share
    return [zero if v is None else v for v in sums.ravel()]


def _candidates(
    n: Node, structure: Gather | Scatter, at: tuple[int, ...], shape: tuple[int, ...], indices: Any
) -> tuple[Expr, list[tuple[int, ...]]]:
    """The integer that speaks for place `at`, and the places of an array of `shape` that it can mean, in order."""
    index = tuple(Affine(i) for i in at)
    types = Type(shape), Type(indices.shape)
    spoken = indices[tuple(a.const for a in structure.where(index, n.params, *types))]
    sources = (structure.source(index, Affine(k), n.params, *types) for k in range(int(shape[n.params["axis"]])))
    return spoken, [tuple(int(a.const) for a in source) for source in sources]


def _name(elements: Any, n: Node) -> None:
    """Name the elements after the array: `h` gives `h_0`, `h_1`, …"""
    if n.origin.name is None or n.op == "input":
        return
    for place in np.ndindex(elements.shape):
        e = elements[place]
        if e.origin.name is None and e.args and e.origin.role == n.origin.role:
            e.origin = replace(n.origin, name="_".join([n.origin.name, *map(str, place)]))
