"""Self-tests of all kinds of derivatives beside value and gradient: what is stored of each at a point.

In: the traced graph, one derived from it, and a point. Out: at most 36 numbers of the derived function, by differences
of the traced graph in mpmath; if it has more, also the weighted sum of all, by NumPy from the derived graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .derive.derivatives import GROUPS, KINDS, Block, Derived
from .evaluate import evaluate
from .exact import Slopes, mp_outputs, operations
from .graph import Graph
from .program import Stored
from .regions import has_regions
from .types import FLOAT32, Type, static_shape

__all__ = ["GOLDEN", "FurtherKind", "Precision", "shaped", "unit"]

GOLDEN = 0.6180339887498949
_PLASTIC = 0.7548776662466927  # 1/1.3247…: as well spread, and no multiple of the golden one
_MOST_PLACES = 36  # numbers stored of one kind at one point
_BUDGET = 4_000  # mpmath operations spent on one kind at one point
_LONGEST = 100_000  # operations of loops, whose steps NumPy's interpretation takes one by one


@dataclass(frozen=True)
class Precision:
    """What the numbers of a file allow: the least tolerance, and the step and the tolerance of central differences.

    `guess` is the error of derivatives where none is measured. A measured one counts up to `most`, beyond which a rule
    is wrong.
    """

    least: float
    step: float
    slack: float
    guess: float
    most: float


def shaped(numbers: Sequence[Any], types: Sequence[Type]) -> list[Any]:
    """Flat numbers as arrays of exact numbers: rounded to float32 where the argument is."""
    result, at = [], 0
    for type in types:
        flat = np.array(numbers[at : at + type.size], dtype=object)
        if type.dtype == FLOAT32:
            flat = flat.astype(np.float32).astype(object)
        result.append(flat.reshape(static_shape(type.shape)))
        at += type.size
    return result


def unit(place: int, size: int) -> tuple[int, ...]:
    """The direction along one of `size` elements."""
    return tuple(int(k == place) for k in range(size))


#: One number of a group by differences: how many evaluations it takes, and the number, given slopes, the tangent, the
#: cotangent, and the places of the number in results and arguments.
_NUMBERS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "gradients": (2, lambda s, t, c, j: s.first(j)[0]),
    "tangents": (1, lambda s, t, c, i: s.first(t)[i]),
    "cotangents": (2, lambda s, t, c, j: sum(w * v for w, v in zip(c, s.first(j), strict=True) if w)),
    "jacobian": (2, lambda s, t, c, i, j: s.first(j)[i]),
    "hessian": (8, lambda s, t, c, i, j, k: s.second(j, k)[i]),
    "product": (8, lambda s, t, c, j: s.second(t, j)[0]),
}


class FurtherKind:
    """The check of one kind.

    It chooses at the first point which numbers of it are stored (`places`), and says what they are at each.
    """

    def __init__(
        self, primal: Graph, chosen: Sequence[int], kind: str, derived: Derived, once: int, own_rules: bool, exact: bool
    ) -> None:
        self.kind, self.graph = kind, derived.graph
        self.group = KINDS[kind].groups[-1]
        self.places: tuple[int, ...] = ()
        self.seeds = [self.graph.node(k).type for k in self.graph.inputs[len(primal.inputs) :]]
        before = list(itertools.takewhile(lambda group: group != self.group, derived.groups))
        start = sum(len(derived.groups[group]) for group in before)
        self.blocks: tuple[Block, ...] = derived.groups[self.group]
        self.keys = self.graph.outputs[start : start + len(self.blocks)]
        self.outputs = [primal.node(k).type for k in primal.outputs]
        self.by = [primal.node(primal.inputs[i]).type for i in chosen]
        evaluations, self.number = _NUMBERS[self.group]
        self.by_differences = not own_rules
        effort = evaluations * once if self.by_differences else operations(self.graph)
        self.most = min(_MOST_PLACES, _BUDGET // max(1, effort))
        self.exact = exact and self.most > 0

    @property
    def affordable(self) -> bool:
        """Whether the derived graph is quickly evaluated: long loops are not."""
        return not has_regions(self.graph) or operations(self.graph) <= _LONGEST

    @property
    def count(self) -> int:
        return sum(self.graph.node(k).type.size for k in self.keys)

    def at(
        self, leaves: Sequence[Any], types: Sequence[Type], measured: Slopes | None, precision: Precision
    ) -> tuple[Stored, float] | None:
        """What is stored at a point, and the error that floating point has there; None where that has no number.

        Raises `ArithmeticError` where mpmath has none.
        """
        count = sum(t.size for t in self.seeds)
        seeds = shaped([(k + 1) * _PLASTIC % 1.0 - 0.5 for k in range(count)], self.seeds)
        given = zip([*leaves, *seeds], [*types, *self.seeds], strict=True)
        values = evaluate(self.graph, [a.astype(t.dtype.name) for a, t in given])
        near = np.concatenate([np.zeros(0), *(np.ravel(values[k]).astype(float) for k in self.keys)])
        if not np.all(np.isfinite(near)):
            return None
        if not self.places:
            self.places = _sample(near, self.most or _MOST_PLACES)
        weighted = ((np.arange(len(near)) + 1) * GOLDEN % 1.0 * near).tolist()
        total = "" if len(self.places) == len(near) else repr(float(sum(weighted)))
        if measured is None or not self.exact:
            return Stored(tuple(repr(float(near[p])) for p in self.places), total), precision.guess
        if not self.by_differences:
            flat = mp_outputs(self.graph.rooted(self.keys), [*leaves, *seeds])
            wanted = [flat[p] for p in self.places]
        else:
            wanted = self._by_differences(measured, seeds)
        numbers = [float(w) for w in wanted]
        errors = (abs(near[p] - w) / (1 + abs(w)) for p, w in zip(self.places, numbers, strict=True))
        return Stored(tuple(map(repr, numbers)), total), max(errors, default=0.0)

    def _by_differences(self, measured: Slopes, seeds: Sequence[Any]) -> list[Any]:
        """The numbers at the places."""
        flat = iter([v for seed in seeds for v in seed.ravel()])
        along = tuple(flat) if KINDS[self.kind].seeds == "tangents" else ()
        against = [next(flat, 0) if t.dtype.kind == "float" else 0 for t in self.outputs for _ in range(t.size)]
        return [self.number(measured, along, against, *self._where(p)) for p in self.places]

    def _where(self, place: int) -> list[Any]:
        """Of one number: the place in the results, and for each argument it is by a unit vector."""
        dimensions = [self.outputs if d == "output" else self.by for d in GROUPS[self.group].by]
        total = sum(t.size for t in self.by)
        for block, parts in zip(self.blocks, itertools.product(*(range(len(d)) for d in dimensions)), strict=True):
            sizes = [d[part].size for d, part in zip(dimensions, parts, strict=True)]
            size = int(np.prod(sizes)) if block.entries is None else len(block.entries.rows)
            if place >= size:
                place -= size
                continue
            if block.entries is None:
                at = [int(k) for k in np.unravel_index(place, sizes)]
            else:
                at = [0] * (len(sizes) - 2) + [int(block.entries.rows[place]), int(block.entries.columns[place])]
            found = [k + sum(t.size for t in d[:part]) for k, d, part in zip(at, dimensions, parts, strict=True)]
            return [k if d == "output" else unit(k, total) for k, d in zip(found, GROUPS[self.group].by, strict=True)]
        raise IndexError(place)


def _sample(near: np.ndarray, most: int) -> tuple[int, ...]:
    """All places if there are few, else some spread over those that are not zero, and a few of the others."""
    if len(near) <= most:
        return tuple(range(len(near)))
    nonzero, zero = np.flatnonzero(near), np.flatnonzero(near == 0)
    zeros = min(len(zero), most // 4)
    shares = ((nonzero, min(len(nonzero), most - zeros)), (zero, zeros))
    picked = [pool[np.arange(n) * len(pool) // max(1, n)] for pool, n in shares]
    return tuple(sorted(int(p) for part in picked for p in part))
