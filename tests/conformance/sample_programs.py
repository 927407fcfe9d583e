"""Programs that between them use all that the generators can write: the tests of files, goldens and hash seeds share them."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.function import CompiledFunction

__all__ = ["PROGRAMS", "compile_program"]

W = np.array([[0.5, -1.25, 2.0], [0.1, 0.0, -3.0]])
TABLE = np.arange(12.0).reshape(3, 4) / 8


def scalar(x: Any, y: Any) -> Any:
    """The example of the README."""
    return x * y + y + gs.tanh(x)


def elementary(x: Any, y: Any) -> Any:
    """All functions of one number, where they are defined."""
    s = 0.9 * gs.sin(x)
    a = gs.asin(s) + gs.acos(s) * gs.atan(x) + gs.atan2(y, x * x + 1.0)
    b = gs.exp(s) + gs.expm1(s) * gs.log(x * x + 1.0) + gs.log1p(y * y) + gs.sqrt(y * y + 1.0) + gs.erf(x)
    c = gs.sinh(s) * gs.cosh(s) + gs.tanh(y) + gs.sigmoid(x) + gs.softplus(y) + gs.relu(x) + gs.tan(s) + gs.cos(y)
    return a + b * c + abs(x) ** 1.5 + gs.reciprocal(x * x + 2.0) + gs.square(y) + x**3 + gs.floor(x) * gs.sign(y) * x


def choices(x: Any, y: Any) -> Any:
    """Conditions, logic, bounds."""
    near = (x > -1.0) & (x < 1.0) | ~(y <= 2.0) ^ (x == y)
    inner = gs.where(near, gs.sqrt(x * x + 0.5), gs.log(x * x + 0.1))
    return gs.maximum(inner, y) * gs.minimum(x, 2.0) + gs.clip(y, -1.0, x) + gs.where(x != y, x / y, 1.0)


def network(params: Any, x: Any, target: Any) -> Any:
    """Two layers and a mean squared error."""
    h1 = gs.tanh(params["W1"] @ x + params["b1"])
    y = params["W2"] @ h1
    return gs.mse(y, target)


def classifier(scores: Any, labels: Any) -> Any:
    """Cross entropy of a batch."""
    return -gs.mean(gs.sum(labels * gs.log(gs.softmax(scores)), axis=1)) + gs.sum(gs.logsumexp(scores, axis=0))


def reductions(x: Any) -> Any:
    """All reductions, along all axes."""
    total = gs.sum(x, axis=(0, 2)) * gs.mean(x, axis=(0, 2)) + gs.max(x, axis=(0, 2)) - gs.min(x, axis=(0, 2))
    return gs.sum(total) + gs.prod(x[0, 0]) + gs.prod(gs.tanh(x)) + gs.sum(gs.max(x, axis=1, keepdims=True) * x)


def gather_scatter(x: Any, y: Any) -> Any:
    """Indices of all kinds, and what their derivatives scatter."""
    taken = x[[2, 0, 2], [1, 1, 3]] * y[::2][:3]
    backwards = x[::-1, 1:] * x[:, :-1]
    return gs.sum(taken) + gs.sum(backwards) * y[-1] + x[1, 2] + gs.sum(x[np.array([True, False, True])] * 0.5)


def joined(x: Any, y: Any) -> Any:
    """Concatenation, stacking, other shapes."""
    both = gs.concatenate([x, gs.stack([y, y * y], axis=1), x.T[:2].T], axis=1)
    return gs.sum(gs.reshape(both, -1)[1:] * gs.ravel(both.T)[:-1]) + gs.sum(gs.expand_dims(y, 0) @ x)


def tables(x: Any) -> Any:
    """Constant arrays."""
    return gs.sum(gs.exp(W @ x) * np.array([1.0, -2.0])) + gs.sum(TABLE[:, :3] @ x * TABLE[0, 1])


def batched(a: Any, b: Any) -> Any:
    """Stacks of matrices, dot and outer."""
    return gs.sum(gs.tanh(a @ b)) + gs.sum(gs.dot(a, b[0]) ** 2) + gs.sum(gs.outer(a[0, 0], b[0, :, 0]))


def unused(x: Any, y: Any, z: Any) -> Any:
    """Arguments that do not matter."""
    return 3.0 * x[0] + 1.0


def keywords(
    double: Any, restrict: Any, exp: Any, lambda_: Any, work: Any, np: Any, math: Any, value: Any, d_exp: Any
) -> Any:
    """Names that mean something in C, in Python or in the generated code."""
    int_ = double * restrict
    sin = gs.sin(int_) + exp
    for_ = sin * lambda_ + gs.sum(work)
    t1 = for_ * for_ + np * math
    i = gs.sum(work * t1) + value
    return i * gs.exp(d_exp)


def extremes(x: Any) -> Any:
    """Literals of all sizes."""
    return x * 1e-300 + 0.1 + 0.2 * x - x / 3.0 + 1e22 * x + 5e-324 + gs.maximum(x, -np.inf) * (0.1 + 0.2)


PROGRAMS: dict[str, tuple[Any, Any, Any]] = {
    "scalar": (scalar, None, None),
    "elementary": (elementary, None, None),
    "choices": (choices, None, None),
    "network": (network, ({"W1": (4, 3), "b1": (4,), "W2": (2, 4)}, (3,), (2,)), "params"),
    "classifier": (classifier, ((5, 3), (5, 3)), "scores"),
    "reductions": (reductions, (gs.spec((2, 3, 2)),), None),
    "gather_scatter": (gather_scatter, ((3, 4), (6,)), None),
    "joined": (joined, ((3, 2), (3,)), None),
    "tables": (tables, (gs.spec((3,)),), None),
    "batched": (batched, ((2, 3, 4), (2, 4, 2)), None),
    "unused": (unused, ((2,), (), (2, 2)), None),
    "keywords": (keywords, ((), (), (), (), (3,), (), (), (), ()), None),
    "extremes": (extremes, None, None),
}


def compile_program(key: str, target: str, **options: Any) -> CompiledFunction:
    """One of `PROGRAMS` for one target."""
    function, args, wrt = PROGRAMS[key]
    return gs.compile(function, args=args, wrt=wrt, target=target, **options)
