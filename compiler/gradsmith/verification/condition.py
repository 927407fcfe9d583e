"""Condition numbers: by how much a relative error of the inputs grows on its way to a result.

In: a `Subject` and a point. Out: for each output element sum |x_i * df/dx_i| / |f|, the relative condition number with
respect to independent relative errors of the inputs (N. J. Higham, "Accuracy and Stability of Numerical Algorithms",
2nd ed., 2002, section 1.6). 1e3 costs three of the digits that the inputs have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..evaluate import evaluate
from ..graph import Graph
from ..registry import lookup
from .differences import widened
from .references import Subject

__all__ = ["conditions"]

_STEP, _SECOND_STEP = 2.0**-36, 1e-4  # relative: small beside 1/condition, and enough for two digits
_LEAST_STEPS = (2.0**-50, 2.0**-49, 2.0**-47)  # a few units in the last place: where the other is not small
_BUDGET = 40_000  # node evaluations at one point


def conditions(subject: Subject, leaves: Sequence[Any]) -> list[Any] | None:
    """The condition number of every element of every output; None or NaN where that takes too long.

    Each input element is moved by a relative step both ways, and all outputs are looked at together, in float64. An
    element of 0 has no relative error. Where the result is 0 and its inputs matter, the number is inf. A result that
    turns over within the step, as sin(exp(100)) does, is looked at with the least ones.
    """
    graph = widened(subject.joint if subject.kind != "value" else subject.graph)
    point, direction = subject.split(leaves)
    elements = [(i, at) for i, x in enumerate(point) for at in np.ndindex(np.shape(x)) if np.asarray(x)[at] != 0]
    if 2 * len(elements) * len(graph) * (2 if direction else 1) > _BUDGET:
        return _by_gradient(subject, graph, point)

    def outputs(at: Sequence[Any]) -> list[Any]:
        if not direction:
            values = evaluate(graph, at)
            kept = graph.outputs[: len(subject.graph.outputs)] if subject.kind == "value" else graph.outputs
            skipped = len(subject.graph.outputs) - subject.values
            return [values[k] for k in kept[skipped:]]
        ahead, behind = (
            evaluate(graph, [np.asarray(x) + s * 1e-5 * d for x, d in zip(at, direction, strict=True)]) for s in (1, -1)
        )
        return [(ahead[k] - behind[k]) / 2e-5 for k in graph.outputs[len(subject.graph.outputs) :]]

    def grown(step: float, here: Sequence[Any]) -> list[Any]:
        growth = [np.zeros(np.shape(v)) for v in here]
        moves = [(i, at, factor) for i, at in elements for factor in (1.0 + step, 1.0 - step)]
        ends = (_all_at_once if _is_scalar(graph) else _one_by_one)(outputs, point, moves)
        for ahead, behind in zip(ends, ends, strict=True):  # by twos
            growth = [g + abs(a - b) / (2.0 * step) for g, a, b in zip(growth, ahead, behind, strict=True)]
        return [np.where(g == 0.0, 0.0, g / abs(v)) for g, v in zip(growth, here, strict=True)]

    with np.errstate(all="ignore"):
        here = outputs(point)
        if direction:
            return grown(_SECOND_STEP, here)
        found = grown(_STEP, here)
        turning = [np.isfinite(c) & (c * _STEP > 2.0**-10) for c in found]
        if not any(map(np.any, turning)):
            return found
        for step in _LEAST_STEPS:  # what turns over may by chance be the same at both ends
            found = [np.where(t, np.fmax(c, n), c) for t, c, n in zip(turning, found, grown(step, here), strict=True)]
        return found


_Move = tuple[int, tuple[int, ...], float]  # an input, an element of it, and what it is multiplied by
_Outputs = Callable[[Sequence[Any]], list[Any]]


def _one_by_one(outputs: _Outputs, point: Sequence[Any], moves: Sequence[_Move]) -> Iterator[Sequence[Any]]:
    """All outputs behind each of the moves from the point."""
    for i, at, factor in moves:
        moved = [np.array(x, dtype=np.float64) for x in point]
        moved[i][at] *= factor
        yield outputs(moved)


def _all_at_once(outputs: _Outputs, point: Sequence[Any], moves: Sequence[_Move]) -> Iterator[Sequence[Any]]:
    """The same of functions of scalars alone, which NumPy computes for arrays of them as well."""
    moved = [np.full(len(moves), x, dtype=np.float64) for x in point]
    for number, (i, _, factor) in enumerate(moves):
        moved[i][number] *= factor
    return zip(*(np.broadcast_to(v, len(moves)) for v in outputs(moved)), strict=True)


def _is_scalar(graph: Graph) -> bool:
    return all(not n.type.shape and lookup(n.op).kind in ("leaf", "elementwise") for n in graph.ordered())


def _by_gradient(subject: Subject, graph: Graph, point: Sequence[Any]) -> list[Any] | None:
    """The condition number of a scalar value by all inputs, from the gradient; None for the other outputs."""
    if subject.kind != "value_and_grad" or len(subject.by) != len(point):
        return None
    values = evaluate(graph, point)
    value, *slopes = (values[k] for k in graph.outputs)
    with np.errstate(all="ignore"):
        growth = sum(float(np.sum(abs(point[i] * g))) for i, g in zip(subject.by, slopes, strict=True))
        return [np.asarray(growth / abs(value)), *(np.full(np.shape(g), np.nan) for g in slopes)]
