"""Triangles: a product by a triangular matrix leaves out what it would multiply by zeros.

    L = where(row >= column, W, 0); L @ x        ->  row i adds up the first i + 1 products alone

In: a graph with kernels for products. Out: the same, where a factor whose elements above (or below) the diagonal are 0
by construction has a kernel that knows it (`zero_places` says which are). Guarantee: the same numbers, but for the sign
of a zero. As 0 times inf is NaN, these kernels look whether results are finite that all numbers have met, and multiply
by the zeros, too, if one of them is not.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..ops._registers import BYTES
from ..target import Target
from .regions import remade
from .zero_places import Known, Zeros

__all__ = ["halved", "has_kernels"]

_KERNELS = {"gemm": "gemm_half", "gemm_direct": "gemm_direct_half"}
_LEAST = 16  # products by each number of a triangle: below, the look at the results is no longer small beside them


def halved(graph: Graph, target: Target) -> Graph:
    """`graph` whose products by triangular matrices are calls of kernels that know it."""
    return _halved(graph, target, {})


def _halved(graph: Graph, target: Target, given: Mapping[int, Zeros]) -> Graph:
    """`given` are the zeros of inputs."""
    if not has_kernels(graph, _KERNELS):
        return graph
    known = Known(graph, given)

    def change(n: Node) -> tuple[str, Mapping[str, Any]]:
        if n.op not in _KERNELS and n.op != "scan":
            return n.op, n.params
        if n.op == "scan":
            body, consts = n.params["body"], n.params["consts"]
            zeros = {key: known.of(a) for key, a in zip(body.inputs[:consts], n.args, strict=False)}
            inside = _halved(body, target, {key: each for key, each in zeros.items() if each is not None})
            return n.op, {**n.params, "body": inside}
        half = _half(n, [graph.node(a) for a in n.args], known, target)
        return (_KERNELS[n.op], {**n.params, "half": half}) if half else (n.op, n.params)

    return remade(graph, change)


def has_kernels(graph: Graph, names: Container[str]) -> bool:
    """Whether a graph, or the body of a scan in it, calls one of these."""
    return any(n.op in names or (n.op == "scan" and has_kernels(n.params["body"], names)) for n in graph.ordered())


def _half(n: Node, factors: Sequence[Node], known: Known, target: Target) -> str:
    """Which factor of a product is triangular, and how, if that is worth a kernel of its own."""
    lanes = BYTES // (n.type.dtype.bits // 8)
    tiles = {"left": target.tuning.tile_rows_512, "right": target.tuning.tile_vectors * lanes}
    for side, factor, turned in zip(tiles, factors, (n.params["ta"], n.params["tb"]), strict=True):
        k, size = factor.type.shape[-2:][:: 1 if turned == (side == "left") else -1]
        free = n.type.shape[-1 if side == "left" else -2]
        known_sizes = isinstance(k, int) and isinstance(size, int)
        if not known_sizes or size <= tiles[side] or (isinstance(free, int) and free < _LEAST):
            continue
        zeros = known.of(factor.key)
        if zeros is None:
            continue
        triangles = _triangles(zeros.moved(lambda x: np.swapaxes(x, -1, -2)) if turned else zeros)
        # One row of the triangle on the left (one column on the right) has to meet all numbers of the other factor.
        meets_all = {"left upper": True, "left lower": size >= k, "right lower": True, "right upper": size >= k}
        for triangle in triangles:
            if meets_all[f"{side} {triangle}"]:
                return f"{side} {triangle}"
    return ""


def _triangles(zeros: Zeros) -> list[str]:
    """The triangles beside which all is 0 if what is in them is finite."""
    rows, columns = zeros.zero.shape[-2:]
    below, above = np.tri(rows, columns, dtype=bool), np.tri(columns, rows, dtype=bool).T
    return [name for name, inside in (("lower", below), ("upper", above)) if zeros.beside(inside)]
