"""Derivatives without any derivative rule: difference quotients, in float64 with an error estimate and in 50 digits.

In: a function and directions. Out: directional derivatives. Guarantee: where a quotient does not settle on one number
(a kink, a jump, the edge of the domain, too few digits), the answer is NaN and never a wrong number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exact import DIGITS, digits, mp_outputs
from ..graph import Graph
from ..passes.retype import retype
from ..types import FLOAT32, FLOAT64

__all__ = ["mixed", "mixed_all", "quotient", "widened"]

Array = NDArray[np.float64]
_LEVELS = 12
_RATIO = 4.0
_KINK = 1e-3


def quotient(function: Callable[[float], Array], *scales: float, rtol: float = 1e-7, atol: float = 1e-9) -> Array:
    """The derivative of `function(t)` at 0, element by element; NaN where it is not known to rtol and atol.

    Central differences with steps from `scale`/10 down, extrapolated to step 0 (C. J. F. Ridders, "Accurate
    computation of F'(x) and F'(x)F''(x)", 1982): the entry of the tableau that changed least counts, and how much it
    changed estimates its error. Two one-sided slopes that stay apart as the step shrinks are a kink. What the first of
    `scales` does not settle, the next may.

    >>> float(quotient(lambda t: np.asarray(np.sin(0.5 + t)), 1.0).round(12)) == round(float(np.cos(0.5)), 12)
    True
    >>> float(quotient(lambda t: np.asarray(abs(t)), 1.0))
    nan
    """
    found = _extrapolated(function, scales[0], rtol, atol)
    for scale in scales[1:]:
        if np.isnan(found).any():
            found = np.where(np.isnan(found), _extrapolated(function, scale, rtol, atol), found)
    return found


def _extrapolated(function: Callable[[float], Array], scale: float, rtol: float, atol: float) -> Array:
    with np.errstate(all="ignore"):
        middle = np.asarray(function(0.0), dtype=np.float64)
        best, error = np.full(middle.shape, np.nan), np.full(middle.shape, np.inf)
        bend, bent = np.zeros(middle.shape), np.full(middle.shape, np.nan)
        row: list[Array] = []
        step = 0.1 * scale
        for _ in range(_LEVELS):
            ends = [np.asarray(function(t), dtype=np.float64) for t in (step, -step)]
            new = [(ends[0] - ends[1]) / (2.0 * step)]
            noise = 2.0 * np.finfo(np.float64).eps * np.maximum(abs(ends[0]), abs(ends[1])) / step
            bending, previous = abs(ends[0] - 2.0 * middle + ends[1]) / step, bent
            bent = bending
            factor = 1.0
            for older in row:
                factor *= _RATIO**2
                new.append((factor * new[-1] - older) / (factor - 1.0))
                change = np.maximum(abs(new[-1] - new[-2]), abs(new[-1] - older)) + noise
                better = change < error
                best, error = np.where(better, new[-1], best), np.where(better, change, error)
                kinked = (bending > _KINK * abs(new[-1]) + 8.0 * noise) & ~(bending < 0.5 * previous)
                bend = np.where(better, kinked, bend)
            if np.all((error <= 0.01 * (rtol * abs(best) + atol)) & (bend == 0)):
                break
            row = new
            step /= _RATIO
        settled = (error <= rtol * abs(best) + atol) & (bend == 0)
        return np.where(settled, best, np.nan)


def widened(graph: Graph) -> Graph:
    """`graph` computing in float64 where it computes in float32."""
    return retype(graph, FLOAT64, of=FLOAT32)


def mixed(graph: Graph, leaves: Sequence[Any], directions: Sequence[Sequence[Any]]) -> float:
    """The derivative of the one scalar output along all `directions` in turn, by differences in 50 digits.

    A direction has an array for each input. Differences ahead of the point and behind it, with another step, must
    agree, or there is a kink: then, and where a value is not finite and real, the answer is NaN.
    """
    return float(mixed_all(graph, leaves, directions)[0])


def mixed_all(graph: Graph, leaves: Sequence[Any], directions: Sequence[Sequence[Any]]) -> Array:
    """What `mixed` gives, for all elements of all outputs, one after the other."""
    import mpmath as mp

    order = len(directions)
    with mp.workdps(DIGITS):
        try:
            mp.mp.dps = digits(graph, leaves) + (10 if order == 1 else 20 * (order - 1))
            h = mp.mpf(10) ** (-30 if order == 1 else -18)  # far below the scale on which a function of 1e-8 bends
            at = [np.asarray(v, dtype=object) + mp.mpf(0) for v in leaves]
            pairs = zip(*(_one_sided(graph, at, directions, step) for step in (h, -h / 3)), strict=True)
            return np.array([_settled(mp, *pair) for pair in pairs], dtype=np.float64)
        except (ArithmeticError, ValueError):
            return np.full(sum(graph.node(k).type.size for k in graph.outputs), np.nan)


def _settled(mp: Any, ahead: Any, behind: Any) -> float:
    """The slope that differences ahead (of step h) and behind (of h/3) agree on, or NaN."""
    if abs(ahead - behind) > mp.mpf(10) ** -8 * max(abs(ahead), abs(behind)) + mp.mpf(10) ** -15:
        return float("nan")
    slope = (ahead + 3 * behind) / 4  # their errors are c*h and -c*h/3
    return float(slope) if abs(slope) > abs(ahead - behind) else 0.0


def _one_sided(graph: Graph, at: Sequence[Any], directions: Sequence[Sequence[Any]], h: Any) -> list[Any]:
    totals: list[Any] = []
    for corner in itertools.product((0, 1), repeat=len(directions)):
        moved = list(at)
        for chosen, direction in zip(corner, directions, strict=True):
            if chosen:
                moved = [x + h * np.asarray(d, dtype=object) for x, d in zip(moved, direction, strict=True)]
        sign = (-1) ** (len(directions) - sum(corner))
        found = [sign * v for v in mp_outputs(graph, moved)]
        totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
    return [total / h ** len(directions) for total in totals]
