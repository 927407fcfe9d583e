"""Programs of loops and branches, each with one scalar result: what the tests of control flow share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.evaluate import evaluate_torch
from gradsmith.graph import Graph

from .harness import Program, manifests, torch

__all__ = ["PROGRAMS", "RNN", "branches", "compiled", "nested", "newton", "point", "reference", "rnn", "wanted"]

RNN = ((3,), (11, 3), (3, 3))


def rnn(h: Any, us: Any, W: Any, **options: Any) -> Any:
    def step(h: Any, u: Any) -> Any:
        new = gs.tanh(W @ h + u)
        return new, gs.sum(new**2)

    last, ys = gs.scan(step, h, us, **options)
    return gs.sum(ys * ys * us[:, 0]) + gs.sum(last)  # results of steps do not weigh the same


def newton(x: Any, bound: int | None = 30) -> Any:
    return gs.while_loop(lambda y: gs.abs(y * y - x) > 1e-3, lambda y: 0.5 * (y + x / y), x, bound=bound)


def nested(x: Any, W: Any) -> Any:
    def row(c: Any, i: Any) -> Any:
        last, _ = gs.scan(lambda d, j: (gs.sin(d) * 1.1 + W[i, j], d * d), c, gs.arange(3))
        return last, c

    return gs.sum(gs.scan(row, x, gs.arange(4))[1])


def growth(x: Any, us: Any, bound: int = 9) -> Any:
    """Each step has its own slope, so that the order of the way back shows."""
    return gs.while_loop(
        lambda s: gs.abs(s[1]) < 50.0, lambda s: (s[0] + 1, s[1] * (2.0 + us[s[0]]) + us[s[0]] ** 2), (0, x * x + 1.0),
        bound=bound,
    )[1]  # fmt: skip


def branch(x: Any, w: Any) -> Any:
    return gs.cond(x > 0.0, lambda: gs.sum(gs.sqrt(x) * w), lambda: gs.sum(w * w) * x * x)


def branches(x: Any, us: Any) -> Any:
    def step(c: Any, u: Any) -> Any:
        return gs.cond(u > 0.0, lambda: gs.sin(c) * u, lambda: c * c + u), c

    return gs.scan(step, x, us)[0]


def shifted(a: Any, b: Any, us: Any) -> Any:
    """The state changes places, so no new one may be written over the old too early."""
    return gs.sum(gs.scan(lambda s, u: ((s[1], s[0] * u), gs.sum(s[0] + s[1])), (a, b), us)[1])


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "rnn": (rnn, RNN),
    "backwards": (lambda *x: rnn(*x, reverse=True), RNN),
    "checkpoint 3": (lambda *x: rnn(*x, checkpoint=3), RNN),
    "checkpoint 3 backwards": (lambda *x: rnn(*x, checkpoint=3, reverse=True), RNN),
    "checkpoint sqrt": (lambda *x: rnn(*x, checkpoint="sqrt"), RNN),
    "nested": (nested, ((), (4, 3))),
    "second order": (lambda h, us, W: gs.sum(gs.grad(lambda W: rnn(h, us, W))(W) ** 2), RNN),
    "second order, checkpoint": (
        lambda h, us, W: gs.sum(gs.grad(lambda h: rnn(h, us, W, checkpoint=4))(h) ** 2),
        RNN,
    ),
    "forward": (lambda h, us, W: gs.jvp(lambda h, W: rnn(h, us, W), (h, W), (h * 0.3, W * W))[1], RNN),
    "forward over reverse": (
        lambda h, us, W: gs.sum(gs.jvp(gs.grad(lambda W: rnn(h, us, W)), (W,), (W * W,))[1] ** 2),
        RNN,
    ),
    "forward nested": (lambda x, W: gs.jvp(lambda x: nested(x, W), (x,), (1.0,))[1], ((), (4, 3))),
    "forward branch": (lambda x, w: gs.jvp(lambda x: branch(x, w), (x,), (1.0,))[1], ((), (3,))),
    "gradient inside": (
        lambda x, us: gs.scan(lambda x, u: (x - 0.1 * gs.grad(lambda z: gs.exp(-z * u) * z)(x), None), x, us)[0],
        ((), (5,)),
    ),
    "while": (lambda x: newton(x * x + 1.0), ((),)),
    "while, second order": (lambda x: gs.grad(lambda x: newton(x * x + 1.0))(x), ((),)),
    "while, every step its own": (growth, ((), (9,))),
    "while, to its bound": (lambda x, us: growth(x, us, 3), ((), (9,))),
    "branch": (branch, ((), (3,))),
    "branches in a loop": (branches, ((), (9,))),
    "shifted scalars": (shifted, ((), (), (5,))),
    "shifted arrays": (shifted, ((3,), (3,), (5,))),
    "product": (lambda x, W: gs.sum(gs.fori_loop(0, 4, lambda i, x: W @ x, x)), ((3,), (3, 3))),
    "transposed": (
        lambda x, W: gs.sum(gs.fori_loop(0, 3, lambda i, c: c.T * 0.9 + W, W) ** 2) * x,
        ((), (3, 3)),
    ),
    "map": (lambda x: gs.sum(gs.map(lambda e: gs.exp(e) * e, x)), ((5, 2),)),
    "gathered": (lambda x, t: gs.fori_loop(2, 8, lambda i, c: c * 0.5 + t[i] * x, 0.0), ((), (10,))),
    "gathered at computed places": (
        lambda x, t: gs.fori_loop(0, 9, lambda i, c: gs.sin(c) + t[(i * 7 + 2) % 23] * t[i] * x + t[-1], 0.0),
        ((), (23,)),
    ),
    "rows of a table": (
        lambda E, W: gs.sum(
            gs.scan(lambda c, i: (gs.tanh(W[0] * c + E[i % 5]) + W[1, 2], None), W[2], gs.arange(7))[0]
        ),
        ((30, 3), (3, 3)),
    ),
    "rows of a table, second order": (
        lambda E, W: gs.sum(
            gs.grad(lambda E: gs.sum(gs.fori_loop(0, 4, lambda i, c: gs.sin(c) * E[3 * i] + W[1], W[0])))(E) ** 2
        ),
        ((30, 3), (3, 3)),
    ),
    "columns of a table, checkpoint": (
        lambda E, W: gs.sum(gs.fori_loop(0, 7, lambda i, c: gs.sin(c) * E[:, i] + W[1], W[0], checkpoint=2)),
        ((3, 30), (3, 3)),
    ),
    "table": (
        lambda x: gs.fori_loop(0, 6, lambda i, c: c * 0.5 + gs.constant(np.arange(6.0) ** 2)[i] * x, 0.0),
        ((),),
    ),
    "no steps": (lambda x, us: gs.scan(lambda c, u: (c * u, c), x, us)[0] * 2.0, ((), (0,))),
}


#: Other ways to write some of the programs: without checkpoints, and reverse mode in place of forward mode.
OTHERWISE: dict[str, Callable[..., Any]] = {
    "checkpoint 3": rnn,
    "checkpoint 3 backwards": lambda *x: rnn(*x, reverse=True),
    "checkpoint sqrt": rnn,
    "second order, checkpoint": lambda h, us, W: gs.sum(gs.grad(lambda h: rnn(h, us, W))(h) ** 2),
    "forward": lambda h, us, W: sum(
        gs.sum(g * t) for g, t in zip(gs.grad(rnn, argnums=(0, 2))(h, us, W), (h * 0.3, W * W), strict=True)
    ),
    "forward nested": lambda x, W: gs.grad(nested)(x, W),
    "forward branch": lambda x, w: gs.grad(branch)(x, w),
}


def point(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [np.asarray(generator.normal(size=s)) for s in shapes]


def compiled(name: str, targets: Sequence[str] | None = None, **options: Any) -> Program:
    """A program of the table for all targets, or for some."""
    program, shapes = PROGRAMS[name]
    word = "".join(c if c.isalnum() else "_" for c in name)
    found: Mapping[str, Any] = {
        target: gs.compile(program, args=shapes, target=manifest, name=word, selftest=False, **options)
        for target, manifest in manifests().items()
        if targets is None or target in targets
    }
    return Program(found)


def reference(name: str) -> Graph:
    """The graph that torch differentiates."""
    program, shapes = PROGRAMS[name]
    return gs.compile(OTHERWISE.get(name, program), args=shapes, target="numpy", derivatives=("value",)).graph


def wanted(graph: Graph, at: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The value and the gradient by torch, which differentiates the interpreter's steps one by one."""
    tensors = [torch.tensor(x, requires_grad=True) for x in at]
    value = evaluate_torch(graph, tensors)[graph.outputs[0]]
    found = torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)
    return [np.asarray(value.item()), *(g.numpy() for g in found)]
