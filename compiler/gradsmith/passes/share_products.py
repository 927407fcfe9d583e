"""Share products: regroup a chain-rule product onto one that the value computes anyway.

`(g*c)*s  ->  g*(c*s)` where `c` is a constant and `c*s` is already a node. The order in which the chain rule
multiplies is ours to choose (nobody wrote it), so this is no reassociation of the user's arithmetic; and as `c*s` is
computed for the value in any case, regrouping meets no overflow that the value has not met. For a planar arm it
turns `-(g*l)*sin(a)` into `-g*y` with the link's own `y = l*sin(a)`: one multiplication less for each link coordinate.
The constants may differ by a power of two, `(g*0.2)*s -> (g*2)*(0.1*s)`, as the factor 2 of a square merges with `l`.

Where `c` is a number that is computed or given, `s` is a sine or cosine, as of links whose lengths are arguments: then
`c*s` is no larger than `c`, so it is finite where `c` is, and a cotangent 0 gives 0 as before. Numbers only: in arrays,
the product would have to be kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Graph
from ..trace import Expr
from .rewrite import About, Rule, rewritten
from .simplify import number

__all__ = ["share_products", "sharing"]

_TURNS = frozenset({"sin", "cos"})
_MODERATE = 2.0**64  # beyond it, c*s might round to a subnormal where (g*c)*s does not


def share_products(graph: Graph) -> Graph:
    """`graph` with products of cotangents regrouped onto existing products."""
    return rewritten(graph, sharing())


def sharing() -> Rule:
    """The rule, with a memory of the products it has seen."""
    products: dict[int, list[tuple[Any, Expr]]] = {}  # s -> the constants c with the nodes c*s
    turned: dict[tuple[int, int], Expr] = {}  # a number c, which is no constant, and a sine or cosine s -> the node c*s

    def rewrite(e: Expr) -> Expr | None:
        if not e.origin.derived:
            for c, s in (e.args, e.args[::-1]):
                n = _constant(c)
                if n is not None:
                    products.setdefault(s.serial, []).append((n, e))
                elif s.op.name in _TURNS and c.op.name != "constant" and not e.type.shape:
                    turned[c.serial, s.serial] = e
            return None
        for outer, s in (e.args, e.args[::-1]):
            if outer.op.name == "mul" and outer.origin.derived:
                for g, c in (outer.args, outer.args[::-1]):
                    if (c.serial, s.serial) in turned:
                        return g * turned[c.serial, s.serial]
                    for m, shared in products.get(s.serial, ()):
                        k = _exact_ratio(_constant(c), m)
                        if k is not None and shared is not outer:
                            return g * shared if k == 1.0 else -(g * shared) if k == -1.0 else (k * g) * shared
        return None

    return About({"mul"}, rewrite)


def _constant(c: Expr) -> Any:
    """The constant number or array that `c` is, if it is of moderate size; else None."""
    value = number(c)
    if value is None and c.op.name == "constant":
        value = c.params["value"]
    if value is None:
        return None
    if isinstance(value, float):
        return value if 1 / _MODERATE < abs(value) < _MODERATE else None
    size = np.abs(value)
    return value if np.all((size > 1 / _MODERATE) & (size < _MODERATE)) else None


def _exact_ratio(n: Any, m: Any) -> float | None:
    """n/m, if it is a power of two or the negative of one, so that nothing is rounded; else None."""
    if isinstance(n, np.ndarray) or isinstance(m, np.ndarray):
        return 1.0 if n is m else None
    if n is None:
        return None
    k: float = n / m
    return k if abs(math.frexp(k)[0]) == 0.5 and k * m == n else None
