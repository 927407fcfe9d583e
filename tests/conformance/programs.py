"""Random programs: Python source that mixes scalars and arrays, shares values, and stays away from poles.

In: a `pick` function (hypothesis or a seeded generator behind it). Out: a `Sample`, whose source is a function a user could
have written; it is traced from its text, so names and source lines take part. Every value stays moderate: functions with
poles or limited domains get operands such as `x*x + 0.5` or `0.9*sin(x)`.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradsmith as gs

Pick = Callable[[int], int]  # a number in range(n)
Shape = tuple[int, ...]

UNARY = [
    "gs.sin({0})", "gs.cos({0})", "gs.tanh({0})", "gs.sigmoid({0})", "gs.atan({0})", "gs.erf({0})", "gs.exp(-{0}**2)",
    "gs.exp(gs.sin({0}))", "gs.log({0}**2 + 0.5)", "gs.log1p(gs.square({0}))", "gs.sqrt({0}*{0} + 0.5)",
    "1/({0}**2 + 1)", "gs.softplus({0})", "gs.relu({0})", "abs({0})", "gs.asin(0.9*gs.sin({0}))",
    "gs.acos(0.9*gs.tanh({0}))", "gs.expm1(gs.tanh({0}))", "gs.sinh(gs.tanh({0}))", "gs.cosh(gs.sin({0}))",
    "gs.tan(gs.sin({0}))", "gs.tanh({0})**3", "({0}**2 + 0.5)**-0.5", "-{0}", "0.5*{0}", "{0} - 1.25", "2 - {0}", "-(-{0})",
    "gs.sign({0})*{0}", "gs.clip({0}, -0.75, 1.5)", "gs.reciprocal(gs.cosh(gs.tanh({0})))", "gs.square(gs.tanh({0}))",
    "gs.where({0} > 0, gs.sqrt({0}), {0})", "gs.where({0} <= 0.25, gs.exp(gs.tanh({0})), gs.log({0}))", "gs.tanh({0})**4",
    "gs.where(({0} > -1) & ({0} < 1), {0}, 1/{0})", "gs.tanh({0})/3", "({0}**2 + 1)**-2", "gs.floor(gs.tanh({0})*3)*{0}",
]  # fmt: skip
BINARY = [
    "{0} + {1}", "{0} - {1}", "gs.tanh({0})*{1}", "{0}*gs.sin({1})", "{0}/({1}**2 + 1)", "gs.atan2({0}, {1}**2 + 1)",
    "gs.maximum({0}, {1})", "gs.minimum({0}, {1})", "gs.where({0} > {1}, {0}*0.5, {1})", "gs.softplus({0})**gs.tanh({1})",
    "-{0}*gs.cos(-{1})", "({0} - {1})**2/4", "gs.where(~({0} < {1}), gs.sin({0}), gs.cos({1}))", "gs.tanh({0}*{1})",
]  # fmt: skip
REDUCE = ["gs.sum({0}{1})", "gs.mean({0}{1})", "gs.prod(gs.tanh({0}){1})", "gs.max({0}{1})", "gs.min({0}{1})",
          "gs.logsumexp({0}{1})"]  # fmt: skip
NAMES = ["a", "b", "h", "h1", "t1", "i", "value", "work", "double", "exp", "d_x", "acc_1", "math", "np", "y", "sin", "table_1",
         "f", "float", "sum_1", "_"]  # fmt: skip
CONSTANTS = ["0.5", "-1.25", "3", "0.1", "1e-3", "-0.0", "1", "2.0", "0.0"]
SHAPES: list[Shape] = [(), (), (3,), (2,), (2, 3), (3, 2), (1, 3), (4,)]


@dataclass(frozen=True)
class Sample:
    """One random program: its source, the shapes of its arguments, and which of them to differentiate by."""

    source: str
    arguments: dict[str, Shape]
    wrt: tuple[str, ...]

    def function(self, number: object = 0) -> Callable[..., gs.Expr]:
        """The program as a function, with its source where tracebacks and origins look for it."""
        path = f"<random program {number}>"
        linecache.cache[path] = (len(self.source), None, self.source.splitlines(keepends=True), path)
        namespace: dict[str, Any] = {"gs": gs, "numpy": np}
        exec(compile(self.source, path, "exec"), namespace)
        return namespace["program"]  # type: ignore[no-any-return]

    def point(self, seed: int) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [np.asarray(generator.normal(size=s)) for s in self.arguments.values()]


class _Writer:
    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.lines: list[str] = []
        self.values: list[tuple[str, Shape]] = []  # texts that can be used, with their shapes
        self.scope: dict[str, Shape] = {}

    def one(self, options: Any) -> Any:
        return options[self.pick(len(options))]

    def operand(self, fits: Callable[[Shape], bool] = lambda s: True) -> tuple[str, Shape] | None:
        found = [v for v in self.values if fits(v[1])]
        if not found:
            return None
        # the newest values are the likeliest, so that programs grow deep
        return found[-1 - min(self.pick(len(found)), self.pick(len(found)))]

    def keep(self, text: str, shape: Shape) -> None:
        """Assign to a variable (perhaps one in use), or leave in place."""
        if self.pick(4) == 0 and len(text) < 80:
            self.values.append((f"({text})", shape))
            return
        name = self.one(NAMES) if self.pick(3) else f"v{len(self.lines)}"
        self.lines.append(f"    {name} = {text}")
        self.values = [(t, s) for t, s in self.values if not _mentions(t, name)]
        self.values.append((name, shape))

    def step(self) -> None:
        kind = self.pick(10)
        a = self.operand()
        assert a is not None
        text, shape = a
        if kind < 3:
            self.keep(self.one(UNARY).format(text), shape)
        elif kind < 6:
            other = self.operand(lambda s: _fits(s, shape))
            b, b_shape = other if other and self.pick(5) else (self.one(CONSTANTS), ())
            if self.pick(2) and _fits(b_shape, shape):
                text, b = b, text
                if text in CONSTANTS and b in CONSTANTS:
                    return
            template = self.one(BINARY)
            if text in CONSTANTS or b in CONSTANTS:
                template = self.one(BINARY[:7])
                text = text if text not in CONSTANTS else f"numpy.float64({text})"
            self.keep(template.format(text, b), np.broadcast_shapes(shape, b_shape))
        elif shape:
            self.array_step(text, shape)
        else:
            self.scalar_step(text)

    def scalar_step(self, text: str) -> None:
        match self.pick(4):
            case 0:
                other = self.operand(lambda s: s == ())
                assert other is not None
                self.keep(f"gs.stack([{text}, {other[0]}, {text}])", (3,))
            case 1:
                self.keep(f"gs.broadcast_to({text}, (2, 3))", (2, 3))
            case 2:
                self.keep(f"gs.where({text} > {self.one(CONSTANTS)}, {text}, numpy.array([0.5, -1.0, 2.0]))", (3,))
            case _:
                self.keep(f"{text}*numpy.array([[0.25, -0.5], [1.0, 0.0], [0.1, 2.0]])", (3, 2))

    def array_step(self, text: str, shape: Shape) -> None:
        n = shape[-1]
        match self.pick(12):
            case 0 | 1:
                axis = self.pick(len(shape) + 1)
                if axis == len(shape):
                    self.keep(self.one(REDUCE).format(text, ""), ())
                else:
                    self.keep(self.one(REDUCE).format(text, f", axis={axis}"), shape[:axis] + shape[axis + 1 :])
            case 2:
                self.keep(f"gs.sum({text}, axis=-1, keepdims=True)", (*shape[:-1], 1))
            case 3:
                self.keep(f"gs.softmax({text})", shape)
            case 4:
                self.keep(f"{text}.T", shape[::-1])
            case 5:
                self.keep(f"gs.reshape({text}, -1)", (int(np.prod(shape)),))
            case 6:
                i = self.pick(n)
                self.keep(f"{text}[..., {i - n if self.pick(2) else i}]", shape[:-1])
            case 7:
                if self.pick(2):
                    self.keep(f"{text}[..., ::-1]", shape)
                else:
                    self.keep(f"{text}[..., [0, {n - 1}, 0]]", (*shape[:-1], 3))
            case 8:
                other = self.operand(lambda s: len(s) == len(shape) and s[1:] == shape[1:])
                assert other is not None
                self.keep(f"gs.concatenate([{text}, {other[0]}])", (shape[0] + other[1][0], *shape[1:]))
            case 9:
                other = self.operand(lambda s: len(s) in (1, 2) and s[-1 if len(s) == 1 else -2] == n)
                if other is not None:
                    self.keep(f"gs.tanh({text}) @ {other[0]}", shape[:-1] + other[1][1:])
            case 10:
                if len(shape) == 2:
                    self.keep(f"gs.tanh({text}) @ {text}.T", (shape[0], shape[0]))
                else:
                    self.keep(f"gs.outer({text}, gs.sin({text}))", (int(np.prod(shape)),) * 2)
            case _:
                self.keep(f"gs.expand_dims({text}, 0)*2", (1, *shape))


def _mentions(text: str, name: str) -> bool:
    words = "".join(
        c if c.isalnum() or c == "_" else " " for c in text.replace("gs.", "gs_").replace("numpy.", "numpy_")
    )
    return name in words.split()


def _fits(a: Shape, b: Shape) -> bool:
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


def random_program(pick: Pick) -> Sample:
    """A program of 1 to 4 arguments and up to 16 steps with a scalar result."""
    w = _Writer(pick)
    arguments = {name: w.one(SHAPES) for name in ["x", "y", "for_", "W"][: 1 + pick(4)]}
    w.values = list(arguments.items())
    for _ in range(2 + pick(15)):
        w.step()
        text, shape = w.values[-1]
        if int(np.prod(shape)) > 24 or len(shape) > 3:  # keep it small
            w.values.pop()
            if not w.values:
                w.values.append((text, shape))
                w.keep(f"gs.mean({text})", ())
    terms = []
    for text, shape in w.values[-3:]:
        terms.append(text if not shape else f"gs.sum({text})" if pick(2) else f"gs.mean({text}*{text})")
    w.lines.append(f"    return {' + '.join(terms)}")
    source = f"def program({', '.join(arguments)}):\n" + "\n".join(w.lines) + "\n"
    names = list(arguments)
    chosen = [name for name in names if pick(4)] or names[:1]
    return Sample(source, arguments, tuple(chosen))
