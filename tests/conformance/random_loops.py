"""Random loops and branches: bodies are drawn like programs, and may use all that stands around them.

Every body returns a state of the same shape that stays moderate, and results of any shape. Loops take few steps, at most
one loop stands in another, and arrays from outside are read whole or by the number of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.errors import ShapeError
from gradsmith.trace import Expr

from .random_draw import Draw, Step

__all__ = ["LOOPS"]

_DEEPEST = 2
_COMMON = ("arithmetic", "arithmetic", "mul", "tanh", "sin", "where", "power", "sum", "subscript", "exp", "unstable",
           "integers", "where_masked", "matmul", "take", "in_place", "stop_gradient", "softmax")  # fmt: skip


class _Inside:
    """A body while it is drawn: its symbols have the values of the first step, and leave with what is made of them."""

    def __init__(self, d: Draw, symbols: Sequence[Expr], values: Sequence[Any]) -> None:
        self.d, self.symbols, self.values = d, symbols, values

    def __enter__(self) -> None:
        d = self.d
        if d.depth == _DEEPEST:
            raise ShapeError("loops stand in loops, and no deeper")
        self.known = len(d.pool)
        d.depth += 1
        for x, value in zip(self.symbols, self.values, strict=True):
            d.kept.append(x)
            d.values[id(x)] = np.asarray(value, dtype=x.dtype.name)
            if x.dtype == "float64":
                d.pool.append(x)

    def __exit__(self, *_: object) -> None:
        self.d.depth -= 1
        del self.d.pool[self.known :]


def _drawn(d: Draw) -> Expr:
    """A value after some steps."""
    squeezed, d.squeezed = d.squeezed, False
    for _ in range(d.one([1, 1, 2, 3])):
        d.step(d.one([*LOOPS]) if d.maybe(8) else d.one(_COMMON) if d.dice.randrange(3) else d.one([*d.table]))
    d.squeezed = squeezed
    return d.pool[-1]


def _tamed(d: Draw, y: Expr, like: Expr) -> Expr:
    """`y` in the shape of `like`, near zero."""
    if y.shape != like.shape:
        y = gs.mean(y) if y.ndim else y
    return d.one([gs.tanh, gs.sin, lambda v: v / (1.0 + v * v), gs.sigmoid])(y)  # type: ignore[no-any-return]


def _next(d: Draw, old: Expr, y: Expr) -> Expr:
    new = _tamed(d, y, old)
    return d.one([lambda: 0.5 * old + new, lambda: new + 0.0 * old, lambda: old * (0.25 + 0.5 * new)])()  # type: ignore[no-any-return]


def _read(d: Draw, i: Any) -> Expr:
    """An array that is read by the number of the step, sometimes one known while tracing."""
    if d.maybe(4):
        return gs.constant(np.array([0.5, -1.25, 2.0, 0.75, 1.5]))[i]
    x = d.x(lambda e: e.ndim >= 1 and e.shape[0] >= 2)
    return x[i % x.shape[0]]


def _scan(d: Draw) -> Expr:
    xs, init = d.array(), d.x()
    two = d.maybe(3)
    pair = (init, d.x()) if two else (init,)
    first = [d.keep(xs)[0], *map(d.keep, pair)]

    def body(state: tuple[Expr, ...], x: Expr) -> Any:
        with _Inside(d, [x, *state], first):
            y = _drawn(d)
            new = [_next(d, s, y) for s in state]
            return tuple(reversed(new)) if two and new[0].shape == new[1].shape else tuple(new), y

    last, ys = gs.scan(body, pair, xs, reverse=d.maybe(3), checkpoint=d.one([None, None, "sqrt", 2]))
    return d.one([lambda: last[0], lambda: last[-1], lambda: ys, lambda: gs.sum(ys) * last[0]])()  # type: ignore[no-any-return]


def _fori(d: Draw) -> Expr:
    init, length, lower = d.x(), d.one([0, 1, 2, 3, 4]), d.one([0, 0, 1])
    first = [lower, d.keep(init)]

    def body(i: Expr, state: Expr) -> Expr:
        with _Inside(d, [i, state], first):
            if d.dice.randrange(3):
                y = _read(d, i)
                d.keep(y)
                d.pool.append(y)
            return _next(d, state, _drawn(d))

    return gs.fori_loop(lower, lower + length, body, init, checkpoint=d.one([None, None, 2]))


def _while(d: Draw) -> Expr:
    init, bound, level = d.x(), d.one([0, 1, 3, 5]), d.number()
    first = [0, d.keep(init)]

    def test(state: tuple[Expr, Expr]) -> Expr:
        return gs.logical_and(state[0] < d_steps, gs.sum(state[1]) < level + 5.0)

    def body(state: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
        with _Inside(d, [*state], first):
            return state[0] + 1, _next(d, state[1], _drawn(d))

    d_steps = d.one([2, 4])
    return gs.while_loop(test, body, (0, init), bound=bound)[1]


def _cond(d: Draw) -> Expr:
    x, test = d.x(), d.x(lambda e: e.ndim == 0)
    value = d.keep(x)
    operands = (x,) if d.maybe() else ()
    pred = d.condition(test)
    if pred.ndim:
        raise ShapeError("a branch has one condition")

    def branch(*given: Expr) -> Expr:
        with _Inside(d, given, [value] * len(given)):
            return _next(d, given[0] if given else x, _drawn(d))

    risky = d.one([gs.sqrt, gs.log, lambda v: 1 / v, gs.tanh])
    return gs.cond(pred, branch, (lambda *_: risky(x)) if d.maybe(3) else branch, *operands)  # type: ignore[no-any-return]


def _map(d: Draw) -> Expr:
    xs = d.array()
    first = d.keep(xs)[0]

    def body(x: Expr) -> Expr:
        with _Inside(d, [x], [first]):
            return _drawn(d)

    return gs.map(body, xs)  # type: ignore[no-any-return]


#: What can be drawn.
LOOPS: dict[str, Step] = {
    "scan": _scan,
    "fori_loop": _fori,
    "while_loop": _while,
    "cond": _cond,
    "map": _map,
}
