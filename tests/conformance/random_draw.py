"""The state of a random program while it is written: values at hand, the dice, and how one more value is tried.

`random_programs.py` says what can be drawn, `random_loops.py` draws loops and branches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.errors import GradsmithError, ShapeError
from gradsmith.evaluate import evaluate_region
from gradsmith.registry import Region
from gradsmith.trace import Expr
from gradsmith.types import static_shape

__all__ = ["EDGES", "LARGE", "SHAPES", "Draw", "Step", "evaluated"]

Shape = tuple[int, ...]
Step = Callable[["Draw"], Expr]

SHAPES: list[Shape] = [(), (), (), (), (3,), (2,), (4,), (2, 3), (3, 2), (1, 3), (3, 3), (2, 1), (1,), (5,)]
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-300, -1e-8, 1e-8, 1e-3, 1e10, -40.0, 40.0, 700.0, -1e300, 1e160, 5e-324,
         np.inf, -np.inf, 3.0, -2.0, 0.25, 1e-160, np.pi, 100.0]  # fmt: skip
LARGE = 1e4


@dataclass
class Draw:
    """The state of one program while it is written: what can be used, and the dice."""

    dice: random.Random
    prefix: str
    table: Mapping[str, Step] = field(default_factory=dict)  # what can be drawn
    depth: int = 0  # how many bodies of loops this is in
    squeezed: bool = False
    inputs: list[Expr] = field(default_factory=list)
    point: list[np.ndarray] = field(default_factory=list)
    pool: list[Expr] = field(default_factory=list)
    values: dict[int, Any] = field(default_factory=dict)
    kept: list[Expr] = field(default_factory=list)  # so that the ids in `values` stay theirs

    def one(self, options: Sequence[Any]) -> Any:
        return options[self.dice.randrange(len(options))]

    def maybe(self, odds: int = 2) -> bool:
        return self.dice.randrange(odds) == 0

    def number(self) -> float:
        return float(self.one([0.5, -1.25, 3.0, 0.1, 1e-3, -0.0, 1.0, 2.0, 0.0, -1.0, 1e3, 7.5]))

    def symbol(self, shape: Shape, value: np.ndarray) -> Expr:
        dtype = "int64" if value.dtype.kind == "i" else "float64"
        x = gs.symbol(f"{self.prefix}_{len(self.inputs)}", shape, dtype)
        self.inputs.append(x)
        self.point.append(value)
        return x

    def floats(self, shape: Shape) -> Expr:
        return self.symbol(shape, np.array([self.dice.gauss(0, 1) for _ in range(math.prod(shape))]).reshape(shape))

    def ints(self, high: int, shape: Shape, static: bool = False) -> Any:
        """Integers below `high`: known while tracing, or a symbol."""
        found = np.array([self.dice.randrange(high) for _ in range(math.prod(shape))], dtype=np.int64).reshape(shape)
        return found if static or self.maybe(3) else self.symbol(shape, found)

    def x(self, fits: Callable[[Expr], bool] = lambda e: True) -> Expr:
        """A value at hand (the newest are the likeliest), perhaps squeezed; a new symbol if none fits."""
        found = [e for e in self.pool if fits(e)]
        if not found:
            shapes = [s for s in SHAPES if fits(gs.symbol("s", s))] or [s for s in MORE if fits(gs.symbol("s", s))]
            if not shapes:
                raise ShapeError("no symbol is of such a shape")
            found = [self.floats(self.one(shapes))]
            self.pool.append(found[0])
        chosen = found[-1 - min(self.dice.randrange(len(found)), self.dice.randrange(len(found)))]
        return self.one(SQUEEZES)(chosen) if self.squeezed else chosen  # type: ignore[no-any-return]

    def array(self, ndim: int | None = None) -> Expr:
        return self.x(lambda e: e.ndim == ndim if ndim is not None else e.ndim > 0)

    def like(self, x: Expr) -> Any:
        """What broadcasts with `x` to a shape of x's own rank or less; sometimes a number."""
        if self.maybe(8):
            return self.number()
        return self.x(lambda e: fits(e.shape, x.shape))

    def shaped(self, shape: Shape) -> Expr:
        """A value of just that shape, made of what there is by broadcasting, or new."""
        found = [e for e in self.pool if e.shape == shape]
        if found:
            return self.x(lambda e: e.shape == shape)
        self.pool.append(self.floats(shape))
        return self.x(lambda e: e.shape == shape)

    def axis(self, x: Expr) -> int:
        i = self.dice.randrange(x.ndim)
        return i - x.ndim if self.maybe() else i

    def axes(self, x: Expr) -> Any:
        """For a reduction: None, one axis, or several."""
        return self.one([None, self.axis(x) if x.ndim else None, tuple(range(x.ndim)), self.axis(x) if x.ndim else ()])

    def condition(self, x: Expr) -> Expr:
        compare = self.one([gs.less, gs.less_equal, gs.greater, gs.greater_equal, gs.equal, gs.not_equal])
        found = compare(x, self.like(x))
        match self.dice.randrange(8):
            case 0:
                return self.one([gs.logical_and, gs.logical_or, gs.logical_xor])(found, gs.greater(x, 0.25))
            case 1:
                return gs.logical_not(found)
            case 2:
                return gs.logical_or(found, self.one([gs.isnan, gs.isinf, gs.isfinite, gs.signbit])(x))
        return found

    def keep(self, y: Expr) -> Any:
        """The value of `y` at the point."""
        self.kept.append(y)
        return evaluated(y, dict(zip(map(id, self.inputs), self.point, strict=True)), self.values)

    def step(self, name: str) -> bool:
        """One more value in the pool, unless it cannot be had in three attempts."""
        for attempt in range(3):
            self.squeezed = attempt > 0
            known = len(self.pool), len(self.inputs)
            try:
                y = self.table[name](self)
                value = self.keep(y)
            except GradsmithError:
                y = None
            self.squeezed = False
            fine = y is not None and 0 < y.size <= 24 and y.ndim <= 4 and y.dtype == "float64"
            if fine and ((np.isfinite(value).all() and np.abs(value).max() <= LARGE) or self.maybe(40)):
                self.pool.append(y)
                return True
            del self.pool[known[0] :], self.inputs[known[1] :], self.point[known[1] :]
        return False


MORE: list[Shape] = [(2, 2), (4, 4), (2, 2, 3), (1, 2, 5), (1, 2, 4, 4), (6,), (2, 1, 3)]

SQUEEZES: list[Callable[[Expr], Expr]] = [
    lambda x: gs.tanh(x), lambda x: gs.sigmoid(x), lambda x: x * x + 0.5, lambda x: gs.abs(x) + 0.25,
    lambda x: 0.3 * gs.sin(x), lambda x: gs.exp(gs.tanh(x)), lambda x: 1.5 + gs.square(gs.tanh(x)), lambda x: x,
    lambda x: gs.softplus(x), lambda x: 0.5 * x,
]  # fmt: skip


def fits(a: Shape, b: Shape) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 3
    except ValueError:
        return False


def evaluated(y: Expr, inputs: dict[int, Any], values: dict[int, Any]) -> Any:
    """`y` in float64 by NumPy; `values` remembers what is known, by the ids of expressions."""
    stack = [y]
    with np.errstate(all="ignore"):
        while stack:
            e = stack[-1]
            if id(e) in values:
                stack.pop()
                continue
            missing = [a for a in e.args if id(a) not in values]
            if missing:
                stack += missing
                continue
            stack.pop()
            if id(e) in inputs:
                value = inputs[id(e)]
            elif e.op.kind == "leaf":
                value = e.params["value"]
            elif isinstance(e.op.structure, Region):
                values[id(e)] = evaluate_region(e.op.structure, [values[id(a)] for a in e.args], e.params)
                continue
            else:
                params = {k: static_shape(v) if k == "shape" else v for k, v in e.params.items()}
                value = e.op.evaluate(*(values[id(a)] for a in e.args), **params)
            values[id(e)] = np.asarray(value, dtype=e.dtype.name)
    return values[id(y)]
