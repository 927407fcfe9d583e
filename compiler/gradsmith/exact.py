"""Exact numbers: values and slopes of a graph by mpmath with 50 digits, without any derivative rule.

In: a traced graph and a point. Out: numbers; what is not finite and real raises `ArithmeticError`.
Slopes are central differences with a step of 1e-15, whose own error is about 1e-30 (second ones: 1e-12 and 1e-22): an
independent judge of what reverse mode, here or in torch, came to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .cost import count
from .evaluate import evaluate, evaluate_mp
from .graph import Graph

__all__ = ["DIGITS", "Slopes", "digits", "measured_digits", "mp_outputs", "operations"]

DIGITS = 50
_MOST_DIGITS = 2000


def operations(graph: Graph) -> int:
    """How many operations one evaluation takes, roughly."""
    return int(sum(count(graph, graph.outputs).values())) + len(graph)


def mp_outputs(graph: Graph, leaves: Sequence[Any], values: Mapping[int, Any] | None = None) -> list[Any]:
    """All output elements in mpmath's current precision; raises where one is not finite and real.

    `values` are those of all nodes, where they are known.
    """
    import mpmath as mp

    values = evaluate_mp(graph, leaves) if values is None else values
    found = [mp.mpf(v) for k in graph.outputs for v in np.ravel(values[k])]
    if not all(mp.isfinite(v) for v in found):
        raise ArithmeticError("a result is not finite and real here")
    return found


def digits(graph: Graph, leaves: Sequence[Any]) -> int:
    """Digits that leave 50 behind the point of a sum of values as large as those in the graph.

    Raises `ArithmeticError` where that are more than 2000: exp(1e10) has 4e9, which no one waits for.
    """
    import mpmath as mp

    with mp.workdps(DIGITS):
        return _digits(evaluate_mp(graph, leaves))


def measured_digits(graph: Graph, leaves: Sequence[Any]) -> tuple[int, Mapping[int, Any] | None]:
    """What `digits` gives, and the values of all nodes with so many digits, if they are known by then."""
    import mpmath as mp

    for precision in dict.fromkeys((_guess(graph, leaves), DIGITS)):
        with mp.workdps(precision):
            values = evaluate_mp(graph, leaves)
            found = _digits(values)
        if found == precision:
            return found, values
    return found, None


def _guess(graph: Graph, leaves: Sequence[Any]) -> int:
    """What `digits` will most likely be, by NumPy's numbers."""
    types = [graph.node(k).type for k in graph.inputs]
    values = evaluate(graph, [a.astype(t.dtype.name) for a, t in zip(leaves, types, strict=True)])
    arrays = [v for v in values.values() if not isinstance(v, tuple) and v.dtype.kind == "f" and v.size]
    with np.errstate(all="ignore"):
        largest = max((float(np.max(np.abs(v))) for v in arrays), default=1.0)
    return DIGITS + max(0, int(math.log10(largest))) if 1.0 <= largest < math.inf else DIGITS


def _digits(values: Mapping[int, Any]) -> int:
    import mpmath as mp

    largest: list[Any] = [mp.mpf(1)]
    magnitude = 1  # of numbers below 2**magnitude; only those of the largest one need a comparison
    for value in values.values():
        for v in np.ravel(value) if not isinstance(value, tuple) else ():
            if isinstance(v, mp.mpf):
                _, mantissa, exponent, bits = v._mpf_
                if mantissa and exponent + bits >= magnitude:  # zero, infinities and NaN have no mantissa
                    if exponent + bits > magnitude:
                        largest, magnitude = [], exponent + bits
                    largest.append(abs(v))
    found = DIGITS + max(0, int(mp.log10(max(largest))))
    if found > _MOST_DIGITS:
        raise ArithmeticError(f"numbers of {found} digits")
    return found


class Slopes:
    """Directional slopes of a graph's float results at one point, in mpmath's current precision.

    In: the graph, the point, and which elements move: (input, element) of each. A direction gives one number for each
    of them. All results come in one flat list; those of integers and booleans have slope 0.
    Raises `ArithmeticError` at a kink, where the slopes of both sides differ.
    """

    def __init__(
        self,
        graph: Graph,
        leaves: Sequence[Any],
        moving: Sequence[tuple[int, tuple[int, ...]]],
        values: Mapping[int, Any] | None = None,
    ) -> None:
        self.graph, self.leaves, self.moving = graph, leaves, moving
        self.here = mp_outputs(graph, leaves, values)
        self._first: dict[tuple[Any, ...], list[Any]] = {}

    def first(self, along: Sequence[Any]) -> list[Any]:
        """Along a direction."""
        import mpmath as mp

        if tuple(along) not in self._first:
            h = mp.mpf(10) ** -15
            ends = [self._outputs((step, along)) for step in (h, -h)]
            found = []
            for up, middle, down in zip(ends[0], self.here, ends[1], strict=True):
                found.append(_agreed((up - middle) / h, (middle - down) / h))
            self._first[tuple(along)] = found
        return self._first[tuple(along)]

    def second(self, one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
        """Along one direction, and then along another: the Hessian of each result times both."""
        import mpmath as mp

        h = mp.mpf(10) ** -12
        sides = []
        for start in (4 * h, -4 * h):  # on either side of the point, so that a kink of the slope shows
            corners = [
                self._outputs((start + a * h, one), (b * h, other)) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))
            ]
            sides.append([(uu - ud - du + dd) / (4 * h * h) for uu, ud, du, dd in zip(*corners, strict=True)])
        return [_agreed(after, before) for after, before in zip(*sides, strict=True)]

    def _outputs(self, *moves: tuple[Any, Sequence[Any]]) -> list[Any]:
        import mpmath as mp

        moved = [np.array(v, dtype=object) for v in self.leaves]
        for step, along in moves:
            for (leaf, element), share in zip(self.moving, along, strict=True):
                if share:
                    moved[leaf][element] = mp.mpf(moved[leaf][element]) + step * share
        return mp_outputs(self.graph, moved)


def _agreed(forward: Any, backward: Any) -> Any:
    """The mean of the slopes of both sides, which must be the same."""
    import mpmath as mp

    if abs(forward - backward) > mp.mpf(10) ** -9 * (1 + abs(forward)):
        raise ArithmeticError("there are two slopes here")
    return (forward + backward) / 2
