"""Selections by a traced condition: `x[x > 0]`, whose number of elements nobody knows while tracing.

Such a selection is kept as all elements and the condition. It can be computed with element by element, put back where
the same condition holds (`y[m] = x[m]**2`, `y[m] *= 2`), and reduced to a number; nothing else has a static shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import TraceError
from ..graph import freeze_key
from ..trace import Expr, as_expr
from . import selection

__all__ = ["NEUTRAL", "Masked", "elementwise"]

#: Reductions of a selection: what an element that is not selected counts as.
NEUTRAL = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}


class Masked:
    """The elements of `values` where `condition` holds."""

    def __init__(self, condition: Expr, values: Expr) -> None:
        self.condition, self.values = condition, values

    def at(self, condition: Expr) -> Expr:
        """The values, if they were selected by this same condition."""
        if not _same(self.condition, condition):
            raise TraceError(
                "elements selected by one traced condition cannot meet those of another: how many they are is unknown "
                "while tracing; remedy: gs.where(condition, a, b) on whole arrays"
            )
        return self.values

    def filled(self, value: float) -> Expr:
        """The whole array, with `value` where the condition does not hold."""
        return selection.where(self.condition, self.values, value)

    def __getattr__(self, name: str) -> NoReturn:
        raise _unknown(name)

    def __len__(self) -> NoReturn:
        raise _unknown("len()")

    def __iter__(self) -> NoReturn:
        raise _unknown("iteration")

    def __getitem__(self, key: Any) -> NoReturn:
        raise _unknown("indexing")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise _unknown("a NumPy array")

    def __bool__(self) -> NoReturn:
        raise _unknown("bool()")


def _unknown(what: str) -> TraceError:
    return TraceError(
        f"a selection x[condition] by a traced condition has no {what}: the number of its elements is unknown while "
        "tracing; it can be computed with element by element, put back by the same condition (x[condition] = …), or "
        "reduced (np.sum, np.max …); remedy: gs.where(condition, x, other), which keeps all elements"
    )


def elementwise(function: Callable[..., Expr]) -> Callable[..., Any]:
    """`function`, which works element by element, also on selections: those of one condition meet, numbers join."""

    def applied(*operands: Any) -> Any:
        selections = [x for x in operands if isinstance(x, Masked)]
        if not selections:
            return function(*operands)
        condition = selections[0].condition
        values = [x.at(condition) if isinstance(x, Masked) else as_expr(x) for x in operands]
        if any(v.ndim for v, x in zip(values, operands, strict=True) if not isinstance(x, Masked)):
            raise _unknown("static shape to broadcast an array to")
        return Masked(condition, function(*values))

    applied.__name__ = applied.__qualname__ = getattr(function, "__name__", "applied")
    return applied


def _same(a: Expr, b: Expr) -> bool:
    """Whether two conditions are the same computation."""
    pairs, seen = [(a, b)], set()
    while pairs:
        x, y = pairs.pop()
        if x.serial == y.serial or (x.serial, y.serial) in seen:
            continue
        seen.add((x.serial, y.serial))
        if x.op is not y.op or x.op.name == "input" or x.type != y.type or len(x.args) != len(y.args):
            return False
        if freeze_key(x.params) != freeze_key(y.params):
            return False
        pairs += zip(x.args, y.args, strict=True)
    return True
