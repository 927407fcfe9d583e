"""Exact numbers: values and slopes of a graph by mpmath with 50 digits, without any derivative rule.

In: a traced graph and a point. Out: numbers; what is not finite and real raises `ArithmeticError`.
A slope is a central difference with a step of 1e-15, whose own error is about 1e-30: an independent judge of what
reverse mode, here or in torch, came to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .cost import count
from .evaluate import evaluate_mp
from .graph import Graph

__all__ = ["DIGITS", "digits", "mp_outputs", "operations", "slope"]

DIGITS = 50
_MOST_DIGITS = 2000


def operations(graph: Graph) -> int:
    """How many operations one evaluation takes, roughly."""
    return int(sum(count(graph, graph.outputs).values())) + len(graph)


def mp_outputs(graph: Graph, leaves: Sequence[Any]) -> list[Any]:
    """All output elements in mpmath's current precision; raises where one is not finite and real."""
    import mpmath as mp

    values = evaluate_mp(graph, leaves)
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
        values = evaluate_mp(graph, leaves)
        sizes = [
            abs(v)
            for value in values.values()
            if not isinstance(value, tuple)
            for v in np.ravel(value)
            if isinstance(v, mp.mpf) and mp.isfinite(v)
        ]
        found = DIGITS + max(0, int(mp.log10(max([*sizes, mp.mpf(1)]))))
    if found > _MOST_DIGITS:
        raise ArithmeticError(f"numbers of {found} digits")
    return found


def slope(graph: Graph, leaves: Sequence[Any], leaf: int, element: tuple[int, ...], here: Any = None) -> Any:
    """The slope of a graph's one scalar output by one element of one input, in mpmath's current precision.

    `here` is the output at the point, if known. Raises `ArithmeticError` at a kink, which has two slopes.
    """
    import mpmath as mp

    h = mp.mpf(10) ** -15
    ends = []
    for step in (h, -h):
        moved = [np.array(v, dtype=object) for v in leaves]
        moved[leaf][element] = mp.mpf(moved[leaf][element]) + step
        ends.append(mp_outputs(graph, moved)[0])
    middle = mp_outputs(graph, leaves)[0] if here is None else here
    forward, backward = (ends[0] - middle) / h, (middle - ends[1]) / h
    if abs(forward - backward) > mp.mpf(10) ** -9 * (1 + abs(forward)):
        raise ArithmeticError("there are two slopes here")
    return (forward + backward) / 2
