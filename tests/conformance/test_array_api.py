"""The array API standard 2024.12 on traced values: its names, and NumPy's values with torch's gradients for each.

The families run through the machinery of `test_arrays`: every function over ranks 0 to 3, axes, keepdims, axes of size
1 and empty ones, on all targets.
"""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import input_symbols, to_graph
from gradsmith.derive.adjoint import gradient

from . import harness
from .test_arrays import Family, Shape, check_family

SHAPES: list[Shape] = [(), (1,), (3,), (0,), (2, 3), (2, 1), (2, 0), (2, 1, 3)]


def manipulations() -> Family:
    for shape in SHAPES:
        yield f"flip {shape}", [shape], gs.flip, np.flip
        yield f"roll {shape}", [shape], lambda x: gs.roll(x, 2), lambda x: np.roll(x, 2)
        yield f"repeat {shape}", [shape], lambda x: gs.repeat(x, 2), lambda x: np.repeat(x, 2)
        yield f"tile {shape}", [shape], lambda x: gs.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3))
        yield f"tile int {shape}", [shape], lambda x: gs.tile(x, 2), lambda x: np.tile(x, 2)
        yield f"pad {shape}", [shape], lambda x: gs.pad(x, (1, 2)), lambda x: np.pad(x, (1, 2)) if x.ndim else x
        yield (
            f"take {shape}",
            [shape],
            *(
                ((lambda x: gs.take(x, [0, -1, 0])), (lambda x: np.take(x, [0, -1, 0])))
                if 0 not in shape
                else (gs.flip, np.flip)
            ),
        )
        for axis in range(-len(shape), len(shape)):
            for name, numpy, arguments in [
                ("flip", np.flip, ()), ("roll", np.roll, (-1,)), ("repeat", np.repeat, (3,)), ("diff", np.diff, (1,)),
                ("repeat", np.repeat, ([*range(shape[axis])],)),
            ]:  # fmt: skip
                ours = getattr(gs, name)
                yield (
                    f"{name} {shape} {arguments} {axis}", [shape],
                    lambda x, f=ours, a=arguments, k=axis: f(x, *a, axis=k),
                    lambda x, f=numpy, a=arguments, k=axis: f(x, *a, axis=k),
                )  # fmt: skip
            yield (
                f"unstack {shape} {axis}", [shape],
                lambda x, k=axis: gs.stack([*gs.unstack(x, axis=k), *gs.unstack(x * x, axis=k)]) if x.size else x,
                lambda x, k=axis: np.stack([*np.moveaxis(x, k, 0), *np.moveaxis(x * x, k, 0)]) if x.size else x,
            )  # fmt: skip
            if shape[axis]:
                yield (
                    f"take {shape} {axis}", [shape],
                    lambda x, k=axis: gs.take(x, [[0, -1]], axis=k), lambda x, k=axis: np.take(x, [[0, -1]], axis=k),
                )  # fmt: skip
    for source, destination in [(0, 2), (2, 0), (-1, 1), ((0, 1), (2, 0)), ((2, 1), (0, 1)), ([], [])]:
        yield (
            f"moveaxis {source} {destination}", [(2, 3, 4)],
            lambda x, s=source, d=destination: gs.moveaxis(x, s, d),
            lambda x, s=source, d=destination: np.moveaxis(x, s, d),
        )  # fmt: skip
    for i, j in itertools.product((0, 1, -1), repeat=2):
        yield (
            f"swapaxes {i} {j}", [(2, 3, 4)],
            lambda x, i=i, j=j: gs.swapaxes(x, i, j), lambda x, i=i, j=j: np.swapaxes(x, i, j),
        )  # fmt: skip
    for n in range(4):
        yield f"diff n={n}", [(2, 3)], lambda x, n=n: gs.diff(x, n=n), lambda x, n=n: np.diff(x, n=n)
    yield (
        "diff with edges", [(2, 3), (2, 2), ()],
        lambda x, a, b: gs.diff(x, prepend=a, append=b), lambda x, a, b: np.diff(x, prepend=a, append=b),
    )  # fmt: skip
    yield "flip two", [(2, 3, 4)], lambda x: gs.flip(x, axis=(0, 2)), lambda x: np.flip(x, (0, 2))
    yield "roll two", [(2, 3, 4)], lambda x: gs.roll(x, (1, -5), axis=(0, 2)), lambda x: np.roll(x, (1, -5), (0, 2))
    yield "roll twice", [(3, 4)], lambda x: gs.roll(x, 1, axis=(0, 1)), lambda x: np.roll(x, 1, (0, 1))
    yield "pad all", [(2, 3)], lambda x: gs.pad(x, ((1, 0), (0, 2))), lambda x: np.pad(x, ((1, 0), (0, 2)))
    yield (
        "pad with a value", [(2, 3), ()],
        lambda x, c: gs.pad(x, 1, constant_values=c * c), lambda x, c: np.pad(x, 1, constant_values=c * c),
    )  # fmt: skip
    for indexing, count in itertools.product(("xy", "ij"), (1, 2, 3)):
        yield (
            f"meshgrid {indexing} {count}", [(2,), (3,), (4,)][:count],
            lambda *xs, i=indexing: gs.stack(gs.meshgrid(*xs, indexing=i)),
            lambda *xs, i=indexing: np.stack(np.meshgrid(*xs, indexing=i)),
        )  # fmt: skip
    yield (
        "broadcast_arrays", [(3, 1), (4,), ()],
        lambda *xs: gs.stack(gs.broadcast_arrays(*xs)), lambda *xs: np.stack(np.broadcast_arrays(*xs)),
    )  # fmt: skip
    places = np.array([[2, 0, 1, 1], [0, 0, -1, 2]])
    for axis in (0, 1, -1, None):
        indices = {0: places[:, :3] % 2, None: np.array([5, 0, 0])}.get(axis, places)
        yield (
            f"take_along_axis {axis}", [(2, 3)],
            lambda x, i=indices, k=axis: gs.take_along_axis(x, i, axis=k),
            lambda x, i=indices, k=axis: np.take_along_axis(x, i, k),
        )  # fmt: skip
    yield (
        "take_along_axis broadcast", [(1, 3)],
        lambda x: gs.take_along_axis(x, places), lambda x: np.take_along_axis(x, places, -1),
    )  # fmt: skip
    for k, (name, shape) in itertools.product((-3, -1, 0, 2), [("diag", (3,)), ("diag", (3, 2)), ("diagonal", (2, 3, 4)),
                                                               ("tril", (3, 4)), ("triu", (2, 3, 2))]):  # fmt: skip
        yield (
            f"{name} {shape} {k}", [shape],
            lambda x, f=name, k=k: getattr(gs, f)(x, k), lambda x, f=name, k=k: getattr(np, f)(x, k),
        )  # fmt: skip
    yield "diagonal axes", [(2, 3, 4)], lambda x: gs.diagonal(x, 1, 2, 0), lambda x: np.diagonal(x, 1, 2, 0)
    for axis in (0, 1, None):
        yield (
            f"concat {axis}", [(2, 3), (2, 3)],
            lambda a, b, k=axis: gs.concat([a, b], axis=k), lambda a, b, k=axis: np.concatenate([a, b], k),
        )  # fmt: skip
    yield "expand_dims", [(3,)], gs.expand_dims, lambda x: x[None]


def creations() -> Family:
    """Each constant times the argument, so that there is something to differentiate."""
    made: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "zeros": (lambda x: gs.zeros((2, 3)), lambda x: np.zeros((2, 3))),
        "zeros ()": (lambda x: gs.zeros(()), lambda x: np.zeros(())),
        "ones": (lambda x: gs.ones(3), lambda x: np.ones(3)),
        "ones bool": (lambda x: gs.ones(3, dtype=bool), lambda x: np.ones(3, bool)),
        "empty": (lambda x: gs.empty((2, 0)), lambda x: np.empty((2, 0))),
        "full": (lambda x: gs.full((2, 3), 0.5), lambda x: np.full((2, 3), 0.5)),
        "full traced": (lambda x: gs.full((2, 3), x * x), lambda x: np.full((2, 3), x * x)),
        "full scalar": (lambda x: gs.full((), x), lambda x: np.full((), x)),
        "zeros_like": (lambda x: gs.zeros_like(np.ones((2, 3)) * x), lambda x: np.zeros((2, 3))),
        "ones_like": (lambda x: gs.ones_like(np.ones(2) * x), lambda x: np.ones(2)),
        "ones_like bool": (lambda x: gs.ones_like(x > 0.0), lambda x: np.ones(())),
        "empty_like": (gs.empty_like, np.zeros_like),
        "full_like": (lambda x: gs.full_like(np.ones(2) * x, x), lambda x: np.full(2, x)),
        "asarray": (lambda x: gs.asarray([[x, 1.0], [2, x * x]]), lambda x: np.array([[x, 1.0], [2, x * x]])),
        "asarray bool": (lambda x: gs.asarray([0.0, 2.0], dtype="bool"), lambda x: np.array([0.0, 1.0])),
        "asarray cast": (lambda x: gs.asarray(x > 0.0, dtype=float), lambda x: np.array(1.0)),
        "arange": (lambda x: gs.arange(4), lambda x: np.arange(4.0)),
        "arange from": (lambda x: gs.arange(1, 4), lambda x: np.arange(1.0, 4)),
        "arange step": (lambda x: gs.arange(3, -2, -1.5), lambda x: np.arange(3, -2, -1.5)),
        "arange none": (lambda x: gs.arange(3, 3), lambda x: np.arange(3.0, 3)),
    "eye": (lambda x: gs.eye(3), lambda x: np.eye(3)),
        "eye k": (lambda x: gs.eye(2, 4, k=1), lambda x: np.eye(2, 4, k=1)),
        "linspace": (lambda x: gs.linspace(1, 2, 5), lambda x: np.linspace(1, 2, 5)),
        "linspace open": (lambda x: gs.linspace(1, 2, 5, endpoint=False), lambda x: np.linspace(1, 2, 5, endpoint=False)),
        "linspace traced": (lambda x: gs.linspace(x, 3.0, 4), lambda x: np.linspace(x, 3.0, 4)),
        "linspace array": (
            lambda x: gs.linspace(x, x * np.ones((2, 1)) + 1.0, 3, endpoint=False),
            lambda x: np.linspace(x, x * np.ones((2, 1)) + 1.0, 3, endpoint=False),
        ),
    }  # fmt: skip
    for label, (ours, numpys) in made.items():
        yield label, [()], lambda x, f=ours: f(x) * x, lambda x, f=numpys: np.asarray(f(x)) * x


def scans() -> Family:
    for shape in SHAPES[1:]:
        for axis, name, initial in itertools.product(range(-len(shape), len(shape)), ("sum", "prod"), (False, True)):
            yield (
                f"cumulative_{name} {shape} {axis} {initial}", [shape],
                lambda x, f=f"cumulative_{name}", k=axis, i=initial: getattr(gs, f)(x, axis=k, include_initial=i),
                lambda x, f=name, k=axis, i=initial: cumulative(f, x, k, i),
            )  # fmt: skip
        yield f"cumsum {shape}", [shape], gs.cumsum, np.cumsum
        yield f"cumprod {shape}", [shape], gs.cumprod, np.cumprod
    yield "cumulative_sum of a vector", [(4,)], gs.cumulative_sum, np.cumsum
    for zeros in ([0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]):
        yield (
            f"cumulative_prod with zeros {zeros}", [(4,)],
            lambda x, z=zeros: gs.cumulative_prod(x * np.array(z)), lambda x, z=zeros: np.cumprod(x * np.array(z)),
        )  # fmt: skip
    yield (
        "of an expression",
        [(3, 4)],
        lambda x: gs.cumsum(x.T @ x, axis=0)[1:] * 2.0,
        lambda x: np.cumsum(x.T @ x, 0)[1:] * 2,
    )
    yield "of bools", [(3,)], lambda x: gs.cumulative_sum(x > 1.0) * x, lambda x: np.cumsum(x > 1.0) * x


def cumulative(name: str, x: np.ndarray, axis: int, initial: bool) -> np.ndarray:
    """NumPy's `cumulative_sum` and `cumulative_prod`, which NumPy 1 lacks."""
    first = np.full_like(x.take([], axis), 0.0)
    first = np.pad(first, [(0, int(k == axis % x.ndim)) for k in range(x.ndim)], constant_values=name == "prod")
    y = {"sum": np.cumsum, "prod": np.cumprod}[name](x, axis)
    return np.concatenate([first, y], axis) if initial else y


def statistics() -> Family:
    """Pairs of what is asked for, not all combinations: the corrections take turns."""
    turns = itertools.cycle((0.0, 1.0, 0.5))
    for shape in [(), (1,), (5,), (2, 3), (3, 1), (2, 1, 3)]:
        axes: list[Any] = [None, *range(-len(shape), len(shape)), *itertools.combinations(range(len(shape)), 2)]
        for axis, keepdims, name in itertools.product(axes, (False, True), ("var", "std")):
            count = np.ones(shape).sum(axis=axis).flat[0]
            correction = next(turns) if count > 1 else 0.5 * (len(shape) % 2)
            if count > 1 or name == "var":  # torch's std of one element has the slope NaN
                yield (
                    f"{name} {shape} {axis} {keepdims} {correction}", [shape],
                    lambda x, f=name, k=axis, d=keepdims, c=correction: getattr(gs, f)(x, axis=k, correction=c, keepdims=d),
                    lambda x, f=name, k=axis, d=keepdims, c=correction: getattr(np, f)(x, axis=k, ddof=c, keepdims=d),
                )  # fmt: skip
    yield "var ddof", [(2, 3)], lambda x: np.var(x, axis=0, ddof=1), lambda x: np.var(x, axis=0, ddof=1)


def quantifiers() -> Family:
    for shape in SHAPES:
        axes: list[Any] = [None, *range(-len(shape), len(shape)), *itertools.combinations(range(len(shape)), 2)]
        for axis, keepdims, name in itertools.product(axes, (False, True), ("all", "any", "count_nonzero")):
            yield (
                f"{name} {shape} {axis} {keepdims}", [shape],
                lambda x, f=name, k=axis, d=keepdims: getattr(gs, f)(x > 0.9, axis=k, keepdims=d) * gs.sum(x),
                lambda x, f=name, k=axis, d=keepdims: getattr(np, f)(x > 0.9, axis=k, keepdims=d) * np.sum(x),
            )  # fmt: skip
    yield "all of numbers", [(3,)], lambda x: gs.all(x) * x, lambda x: np.all(x) * x
    for ours, numpys in [
        (gs.bitwise_and, np.bitwise_and),
        (gs.bitwise_or, np.bitwise_or),
        (gs.bitwise_xor, np.bitwise_xor),
    ]:
        yield (
            ours.__name__, [(5,), (5,)],
            lambda x, y, f=ours: f(x > 1.0, y > 1.5) * x, lambda x, y, f=numpys: f(x > 1.0, y > 1.5) * x,
        )  # fmt: skip
    yield "bitwise_invert", [(5,)], lambda x: gs.bitwise_invert(x > 1.0) * x, lambda x: ~(x > 1.0) * x


def linear_algebra() -> Family:
    for a, b, axes in [
        ((2, 3), (3, 4), 1), ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (4,), 0), ((), (2,), 0), ((3,), (3,), 1), ((2, 3), (2, 3), 2),
        ((2, 3, 4), (4, 3, 5), ([1, 2], [1, 0])), ((2, 3, 4), (5, 2), (0, 1)), ((2, 3), (3, 2), ([-1, 0], [0, -1])),
        ((2, 3), (2, 3), ([], [])), ((2, 0), (0, 3), 1), ((1, 2), (2, 1), ([1], [0])),
    ]:  # fmt: skip
        yield (
            f"tensordot {a} {b} {axes}", [a, b],
            lambda x, y, k=axes: gs.tensordot(x, y, axes=k), lambda x, y, k=axes: np.tensordot(x, y, axes=k),
        )  # fmt: skip
    for a, b, axis in [((3,), (3,), -1), ((2, 3), (3,), -1), ((2, 1, 3), (4, 3), -1), ((3, 2), (3, 1), -2), ((2, 0), (2, 0), -1),
                       ((3, 2), (3, 2), 0), ((1,), (1,), -1)]:  # fmt: skip
        yield (
            f"vecdot {a} {b} {axis}", [a, b],
            lambda x, y, k=axis: gs.vecdot(x, y, axis=k), lambda x, y, k=axis: np.sum(x * y, axis=k),
        )  # fmt: skip
    for a, b, axis in [
        ((3,), (3,), -1),
        ((2, 3), (3,), -1),
        ((3, 2), (3, 1), 0),
        ((2, 1, 3), (4, 3), -1),
        ((1, 3, 2), (2, 3, 1), -2),
    ]:
        yield (
            f"cross {a} {b} {axis}", [a, b],
            lambda x, y, k=axis: gs.cross(x, y, axis=k), lambda x, y, k=axis: np.cross(x, y, axis=k),
        )  # fmt: skip
    for offset in (-1, 0, 2, 5):
        yield f"trace {offset}", [(3, 4)], lambda x, k=offset: gs.trace(x, k), lambda x, k=offset: np.trace(x, k)
    yield "trace of a stack", [(2, 3, 4)], gs.trace, np.trace
    yield "linalg.trace", [(4, 2, 3)], lambda x: gs.linalg.trace(x, offset=1), lambda x: np.trace(x, 1, -2, -1)
    yield "linalg.diagonal", [(4, 2, 3)], lambda x: gs.linalg.diagonal(x, offset=1), lambda x: np.diagonal(x, 1, -2, -1)
    yield "linalg.outer", [(2,), (3,)], gs.linalg.outer, np.outer
    yield "np.linalg.diagonal", [(4, 2, 3)], np.linalg.diagonal, lambda x: np.diagonal(x, 0, -2, -1)
    yield "np.linalg.norm", [(2, 3)], np.linalg.norm, np.linalg.norm
    yield "np.trace", [(4, 2, 3)], np.trace, np.trace


def norms() -> Family:
    places = [(s, k) for s in [(3,), (1,), (2, 3), (2, 1, 3)] for k in (*range(-len(s), len(s)), None)]
    orders = (1, np.inf, -np.inf, 0, 3, 4, 1.5, 0.5, -2)
    calls = [(2, place, d) for place in places for d in (False, True)]
    calls += [(order, place, k % 2 > 0) for order in orders for k, place in enumerate(places)]  # pairs, not all triples
    for order, (shape, axis), keepdims in calls:
        yield (
            f"vector_norm {shape} {axis} {order} {keepdims}", [shape],
            lambda x, o=order, k=axis, d=keepdims: gs.vector_norm(x, axis=k, ord=o, keepdims=d),
            lambda x, o=order, k=axis, d=keepdims: np.linalg.norm(x, o, k, d) if k is not None
            else np.linalg.norm(x.ravel(), o).reshape((1,) * x.ndim if d else ()),
        )  # fmt: skip
    for order, keepdims in itertools.product(("fro", 1, -1, np.inf, -np.inf, None), (False, True)):
        if order is not None:
            yield (
                f"matrix_norm {order} {keepdims}", [(4, 2, 3)],
                lambda x, o=order, d=keepdims: gs.matrix_norm(x, ord=o, keepdims=d),
                lambda x, o=order, d=keepdims: np.linalg.norm(x, o, (-2, -1), d),
            )  # fmt: skip
        for axis in ((0, 1), (1, 0), (-1, 0), (2, 1)):
            yield (
                f"norm {order} {axis} {keepdims}", [(2, 3, 4)],
                lambda x, o=order, k=axis, d=keepdims: gs.norm(x, o, k, d),
                lambda x, o=order, k=axis, d=keepdims: np.linalg.norm(x, o, k, d),
            )  # fmt: skip
        yield (
            f"norm {order} {keepdims}",
            [(2, 3)],
            lambda x, o=order: gs.norm(x, o),
            lambda x, o=order: np.linalg.norm(x, o),
        )
    yield "vector_norm of a scalar", [()], gs.vector_norm, np.abs
    yield (
        "vector_norm of two axes",
        [(2, 3, 4)],
        lambda x: gs.vector_norm(x, axis=(0, 2)),
        lambda x: np.sqrt((x * x).sum((0, 2))),
    )
    yield "vector_norm of none", [(2, 0)], lambda x: gs.vector_norm(x, axis=1), lambda x: np.linalg.norm(x, axis=1)
    for p in (2, 1, np.inf, 3):
        yield (
            f"cdist {p}", [(4, 2, 3), (5, 3)], lambda x, y, p=p: gs.cdist(x, y, p=p),
            lambda x, y, p=p: np.linalg.norm(x[..., :, None, :] - y[..., None, :, :], p, -1),
        )  # fmt: skip


EINSUMS: list[tuple[str, list[Shape]]] = [
    ("i,i->", [(3,), (3,)]), ("i,i", [(3,), (3,)]), ("i,j->ij", [(2,), (3,)]), ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]),
    ("ij->ji", [(2, 3)]), ("ba", [(2, 3)]), ("ij->", [(2, 3)]), ("ij->j", [(2, 3)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("iij->ij", [(2, 2, 3)]),
    ("bij,bjk->bik", [(4, 2, 3), (4, 3, 2)]), ("bij,bkj->bik", [(4, 2, 3), (4, 2, 3)]), ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("ij,kl->ijkl", [(2, 3), (1, 2)]), ("ij,j,i->", [(2, 3), (3,), (2,)]), ("ijk,jl,kl->il", [(2, 3, 4), (3, 2), (4, 2)]),
    ("ij,k->i", [(2, 3), (4,)]), (",i->i", [(), (3,)]), ("...ij,...jk->...ik", [(4, 2, 3), (3, 2)]), ("...i->...", [(2, 3)]),
    ("i...,i...", [(3, 2), (3, 2)]), ("...,...", [(2, 1), (3,)]), ("ij,jk->ik", [(2, 1), (3, 4)]), ("i,i,i->i", [(3,), (3,), (3,)]),
    ("abc,cd,ab->bd", [(2, 3, 4), (4, 2), (2, 3)]), ("Ab,bC", [(2, 3), (3, 2)]), ("ij, jk -> ki", [(2, 3), (3, 2)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]), ("aab,bcc->ca", [(2, 2, 3), (3, 2, 2)]),
]  # fmt: skip


def einsums() -> Family:
    for text, shapes in EINSUMS:
        yield f"{text} {shapes}", shapes, lambda *xs, t=text: gs.einsum(t, *xs), lambda *xs, t=text: np.einsum(t, *xs)


FAMILIES = [manipulations, creations, scans, statistics, quantifiers, linear_algebra, norms, einsums]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_family(family: Callable[[], Family], tmp_path: Path) -> None:
    check_family(family, tmp_path, turns=True)


def refused(call: Callable[[], Any], *fragments: str) -> None:
    with pytest.raises(gs.GradsmithError) as error:
        call()
    message = str(error.value)
    assert all(f in message for f in fragments), message
    assert "\n  at test_array_api.py:" in message  # the user's line


s, v, A = gs.symbol("s"), gs.symbol("v", 3), gs.symbol("A", (2, 3))
ERRORS: dict[str, tuple[Callable[[], Any], str]] = {
    "broadcast_arrays": (lambda: gs.broadcast_arrays(v, gs.symbol("w", 2)), "(3,) and (2,)"),
    "meshgrid indexing": (lambda: gs.meshgrid(v, indexing="ji"), "'ji'"),
    "meshgrid shape": (lambda: gs.meshgrid(v, A), "(2, 3)"),
    "unstack": (lambda: gs.unstack(s), "a scalar"),
    "unstack axis": (lambda: gs.unstack(v, axis=1), "axis 1 does not exist"),
    "moveaxis twice": (lambda: gs.moveaxis(A, (0, 0), (0, 1)), "moveaxis"),
    "moveaxis counts": (lambda: gs.moveaxis(A, (0, 1), 0), "2 source axes"),
    "flip": (lambda: gs.flip(A, axis=2), "flip: axis 2"),
    "roll": (lambda: gs.roll(A, (1, 2), axis=0), "2 shifts"),
    "roll traced": (lambda: gs.roll(v, s), "shift must be an int known while tracing"),
    "repeat": (lambda: gs.repeat(v, [1, 2]), "3 of them"),
    "repeat negative": (lambda: gs.repeat(v, -1), "-1"),
    "repeat float": (lambda: gs.repeat(v, 1.5), "float"),
    "tile": (lambda: gs.tile(v, -1), "negative"),
    "pad mode": (lambda: gs.pad(v, 1, mode="edge"), "'edge'"),
    "pad width": (lambda: gs.pad(A, (1, 2, 3)), "2 pairs"),
    "pad negative": (lambda: gs.pad(A, -1), "negative"),
    "pad value": (lambda: gs.pad(A, 1, constant_values=v), "(3,)"),
    "take": (lambda: gs.take(v, [3]), "size 3"),
    "take traced": (lambda: gs.take(v, s), "must be an integer, not f64"),
    "take_along_axis": (lambda: gs.take_along_axis(A, [0]), "1 axes"),
    "diagonal": (lambda: gs.diagonal(v), "two axes"),
    "diagonal one axis": (lambda: gs.diagonal(A, 0, 1, -1), "one axis"),
    "diag": (lambda: gs.diag(s), "a vector or a matrix"),
    "tril": (lambda: gs.tril(v), "two axes"),
    "diff": (lambda: gs.diff(v, n=-1), "negative"),
    "diff scalar": (lambda: gs.diff(s), "no neighbours"),
    "dtype": (lambda: gs.zeros(3, dtype="complex128"), "choose from"),
    "dtype unknown": (lambda: gs.zeros(3, dtype="floaty"), "'floaty'"),
    "device": (lambda: gs.ones(3, device="cuda"), "leave device=None"),
    "full": (lambda: gs.full(3, v), "a scalar"),
    "arange traced": (lambda: gs.arange(s), "must be known while tracing"),
    "arange step 0": (lambda: gs.arange(3, 4, 0), "step cannot be 0"),
    "linspace": (lambda: gs.linspace(s, 1.0, -1), "negative"),
    "cumulative_sum axis": (lambda: gs.cumulative_sum(A), "say which, axis="),
    "cumulative_prod scalar": (lambda: gs.cumulative_prod(s), "cumulative_prod: a scalar"),
    "var": (lambda: gs.var(v, correction=3), "var: 3 elements less correction=3.0"),
    "std empty": (lambda: gs.std(gs.symbol("e", 0)), "std: 0 elements"),
    "bitwise": (lambda: gs.bitwise_and(v, v), "operands must be integers, not float64, float64"),
    "tensordot": (lambda: gs.tensordot(A, v, axes=([0], [0])), "differ in size"),
    "tensordot number": (lambda: gs.tensordot(A, v, axes=2), "(2, 3) and (3,)"),
    "tensordot lists": (lambda: gs.tensordot(A, v, axes=([0, 1], [0])), "two lists of one length"),
    "vecdot": (lambda: gs.vecdot(v, gs.symbol("w", 2)), "differ in length"),
    "vecdot axis": (lambda: gs.vecdot(A, v, axis=0), "counted from the last"),
    "cross": (lambda: gs.cross(gs.symbol("w", 2), gs.symbol("w", 2)), "must have size 3"),
    "trace": (lambda: gs.trace(v), "two axes"),
    "vector_norm": (lambda: gs.vector_norm(v, ord="fro"), "'fro'"),
    "matrix_norm": (lambda: gs.matrix_norm(A, ord="nuk"), "'nuk'"),
    "matrix_norm vector": (lambda: gs.matrix_norm(v), "two axes"),
    "norm": (lambda: gs.norm(gs.symbol("B", (2, 2, 2)), 1), "which, axis="),
    "cdist": (lambda: gs.cdist(A, gs.symbol("B", (4, 2))), "of one length"),
    "linalg.outer": (lambda: gs.linalg.outer(A, v), "two vectors"),
    "einsum sizes": (lambda: gs.einsum("ij,i", A, v), "'i' of 'ij,i' has size 2 and also 3"),
    "einsum operands": (lambda: gs.einsum("ij,jk", A), "names 2 operands, but 1"),
    "einsum axes": (lambda: gs.einsum("ijk", A), "names 3 axes"),
    "einsum result": (lambda: gs.einsum("ij->ik", A), "'ik' must each occur once"),
    "einsum text": (lambda: gs.einsum("i1", A), "letters"),
    "einsum no text": (lambda: gs.einsum(A, [0, 1]), "such as 'ij,jk->ik'"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "fragment"), ERRORS.values(), ids=ERRORS.keys())
def test_errors(call: Callable[[], Any], fragment: str) -> None:
    refused(call, fragment)


# --- what torch gets wrong --------------------------------------------------------------------------------------------

w, u = gs.symbol("w", 3), gs.symbol("u", (2, 2))
KINKS: dict[str, tuple[gs.Expr, list[Any], list[Any]]] = {  # a scalar, the arguments, the gradient there
    "hypot": (gs.hypot(s, gs.sum(w)), [0.0, [0.0, 0.0, 0.0]], [0.0, [0.0, 0.0, 0.0]]),
    "atan2": (gs.atan2(s, gs.sum(w)), [0.0, [0.0, 0.0, 0.0]], [0.0, [0.0, 0.0, 0.0]]),
    "vector_norm": (gs.vector_norm(w), [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
    "vector_norm 1": (gs.vector_norm(w, ord=1), [[0.0, 0.0, 2.0]], [[0.0, 0.0, 1.0]]),
    "vector_norm 3": (gs.vector_norm(w, ord=3), [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
    "vector_norm 0.5": (gs.vector_norm(w, ord=0.5), [[0.0, 4.0, 0.0]], [[0.0, 1.0, 0.0]]),
    "vector_norm rows": (gs.sum(gs.vector_norm(u, axis=1)), [[[0.0, 0.0], [3.0, -4.0]]], [[[0.0, 0.0], [0.6, -0.8]]]),
    "matrix_norm": (gs.matrix_norm(u), [[[0.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]),
    "cdist": (gs.sum(gs.cdist(u, u)), [[[1.0, 1.0], [4.0, 5.0]]], [[[-1.2, -1.6], [1.2, 1.6]]]),
    "std": (gs.std(w), [[2.0, 2.0, 2.0]], [[0.0, 0.0, 0.0]]),
    "std of one": (gs.std(w[:1]), [[2.0, 2.0, 2.0]], [[0.0, 0.0, 0.0]]),
    "cumulative_prod": (gs.sum(gs.cumulative_prod(w)), [[0.0, 0.0, 3.0]], [[1.0, 0.0, 0.0]]),
    "copysign": (gs.copysign(s, -1.0), [0.0], [0.0]),
    "logaddexp": (gs.logaddexp(s, -np.inf), [-np.inf], [0.5]),
}  # fmt: skip


@pytest.mark.parametrize(("scalar", "point", "slopes"), KINKS.values(), ids=KINKS.keys())
def test_kinks(scalar: gs.Expr, point: list[Any], slopes: list[Any], tmp_path: Path) -> None:
    """Where a norm is 0 or a factor is, the gradient is finite and right, and so is its own gradient."""
    xs = input_symbols([scalar])
    total = sum((gs.sum(g) for g in gradient(scalar, xs)), gs.asarray(0.0))
    programs = {
        "first": harness.compiled(scalar, xs, "first", derivatives=("grad",), targets=harness.TARGETS),
        "second": harness.compiled(total, xs, "second", derivatives=("grad",), targets=harness.TARGETS),
    }
    runners = harness.Runners(programs, tmp_path)
    for target, run in runners.all("first"):
        for got, want in zip(run("grad", point), slopes, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-14, err_msg=target)
    for target, run in runners.all("second"):
        assert all(np.isfinite(g).all() for g in run("grad", point)), target


ZEROS: list[tuple[str, tuple[float, ...], float]] = [
    ("ceil", (-0.3,), -0.0), ("ceil", (-0.0,), -0.0), ("trunc", (-0.3,), -0.0), ("trunc", (0.3,), 0.0), ("round", (-0.5,), -0.0),
    ("round", (0.5,), 0.0), ("remainder", (-6.0, 2.0), 0.0), ("remainder", (6.0, -2.0), -0.0), ("floor_divide", (-0.0, 2.0), -0.0),
    ("floor_divide", (1.0, 2.0), 0.0), ("copysign", (0.0, -2.0), -0.0), ("nextafter", (-5e-324, 1.0), -0.0), ("asinh", (-0.0,), -0.0),
    ("atanh", (-0.0,), -0.0), ("cumulative_sum", (-0.0,), -0.0),
]  # fmt: skip


def test_signs_of_zero(tmp_path: Path) -> None:
    """Every target gives the zero that IEEE 754 and NumPy give."""
    programs = {}
    for k, (name, arguments, _) in enumerate(ZEROS):
        xs = [gs.symbol(f"x{i}") for i, _ in enumerate(arguments)]
        y = getattr(gs, name)(*xs) if name != "cumulative_sum" else gs.cumulative_sum(gs.stack(xs))[0]
        programs[str(k)] = harness.compiled(y, xs, f"zero{k}", derivatives=("value",))
    runners = harness.Runners(programs, tmp_path)
    for k, (name, arguments, want) in enumerate(ZEROS):
        for target, run in runners.all(str(k)):
            (got,) = run("value", arguments)
            assert got == 0.0, (name, arguments, target)
            assert np.signbit(got) == np.signbit(want), (name, arguments, target)


# --- the names and signatures of the standard -------------------------------------------------------------------------

X, XX = "x, /", "x1, x2, /"
STANDARD: dict[str, str] = {
    # creation
    "arange": "start, /, stop=None, step=1, *, dtype=None, device=None", "asarray": "obj, /, *, dtype=None, device=None, copy=None",
    "empty": "shape, *, dtype=None, device=None", "empty_like": "x, /, *, dtype=None, device=None",
    "eye": "n_rows, n_cols=None, /, *, k=0, dtype=None, device=None", "from_dlpack": "x, /, *, device=None, copy=None",
    "full": "shape, fill_value, *, dtype=None, device=None", "full_like": "x, /, fill_value, *, dtype=None, device=None",
    "linspace": "start, stop, /, num, *, dtype=None, device=None, endpoint=True", "meshgrid": "*arrays, indexing='xy'",
    "ones": "shape, *, dtype=None, device=None", "ones_like": "x, /, *, dtype=None, device=None", "tril": "x, /, *, k=0",
    "triu": "x, /, *, k=0", "zeros": "shape, *, dtype=None, device=None", "zeros_like": "x, /, *, dtype=None, device=None",
    # data types
    "astype": "x, dtype, /, *, copy=True, device=None", "can_cast": "from_, to, /", "finfo": "type, /", "iinfo": "type, /",
    "isdtype": "dtype, kind", "result_type": "*arrays_and_dtypes",
    # element-wise
    **dict.fromkeys(
        ["abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "conj", "cos", "cosh", "exp", "expm1",
         "floor", "imag", "isfinite", "isinf", "isnan", "log", "log1p", "log2", "log10", "logical_not", "negative", "positive",
         "real", "reciprocal", "round", "sign", "signbit", "sin", "sinh", "square", "sqrt", "tan", "tanh", "trunc"], X),
    **dict.fromkeys(
        ["add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign",
         "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal", "logaddexp", "logical_and",
         "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter", "not_equal", "pow", "remainder", "subtract"], XX),
    "clip": "x, /, min=None, max=None",
    # indexing, linear algebra
    "take": "x, indices, /, *, axis=None", "take_along_axis": "x, indices, /, *, axis=-1", "matmul": XX, "matrix_transpose": X,
    "tensordot": "x1, x2, /, *, axes=2", "vecdot": "x1, x2, /, *, axis=-1",
    # manipulation
    "broadcast_arrays": "*arrays", "broadcast_to": "x, /, shape", "concat": "arrays, /, *, axis=0", "expand_dims": "x, /, *, axis=0",
    "flip": "x, /, *, axis=None", "moveaxis": "x, source, destination, /", "permute_dims": "x, /, axes",
    "repeat": "x, repeats, /, *, axis=None", "reshape": "x, /, shape, *, copy=None", "roll": "x, /, shift, *, axis=None",
    "squeeze": "x, /, axis", "stack": "arrays, /, *, axis=0", "tile": "x, repetitions, /", "unstack": "x, /, *, axis=0",
    # searching, sets, sorting
    "argmax": "x, /, *, axis=None, keepdims=False", "argmin": "x, /, *, axis=None, keepdims=False",
    "count_nonzero": "x, /, *, axis=None, keepdims=False", "nonzero": X, "searchsorted": "x1, x2, /, *, side='left', sorter=None",
    "where": "condition, x1, x2, /", "unique_all": X, "unique_counts": X, "unique_inverse": X, "unique_values": X,
    "argsort": "x, /, *, axis=-1, descending=False, stable=True", "sort": "x, /, *, axis=-1, descending=False, stable=True",
    # statistics, utilities
    **dict.fromkeys(["cumulative_prod", "cumulative_sum"], "x, /, *, axis=None, dtype=None, include_initial=False"),
    **dict.fromkeys(["max", "mean", "min", "all", "any"], "x, /, *, axis=None, keepdims=False"),
    **dict.fromkeys(["prod", "sum"], "x, /, *, axis=None, dtype=None, keepdims=False"),
    **dict.fromkeys(["std", "var"], "x, /, *, axis=None, correction=0.0, keepdims=False"),
    "diff": "x, /, *, axis=-1, n=1, prepend=None, append=None", "__array_namespace_info__": "",
}  # fmt: skip
LINALG: dict[str, str] = {
    "cholesky": "x, /, *, upper=False", "cross": "x1, x2, /, *, axis=-1", "det": X, "diagonal": "x, /, *, offset=0", "eigh": X,
    "eigvalsh": X, "inv": X, "matmul": XX, "matrix_norm": "x, /, *, keepdims=False, ord='fro'", "matrix_power": "x, n, /",
    "matrix_rank": "x, /, *, rtol=None", "matrix_transpose": X, "outer": XX, "pinv": "x, /, *, rtol=None", "qr": "x, /, *, mode='reduced'",
    "slogdet": X, "solve": XX, "svd": "x, /, *, full_matrices=True", "svdvals": X, "tensordot": "x1, x2, /, *, axes=2",
    "trace": "x, /, *, offset=0, dtype=None", "vecdot": "x1, x2, /, *, axis=-1",
    "vector_norm": "x, /, *, axis=None, keepdims=False, ord=2",
}  # fmt: skip
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "complex64",
          "complex128")  # fmt: skip

#: What is not offered, and why. A name that comes to be offered leaves this table: a test says so.
NOT_OFFERED: dict[str, str] = {
    **dict.fromkeys(["conj", "imag", "real", "complex64", "complex128"], "gradsmith computes with real numbers"),
    **dict.fromkeys(["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"], "shapes depend on values"),
    "from_dlpack": "values come into being when the generated code runs; there is no memory to share",
    **dict.fromkeys(["int8", "int16", "uint8", "uint16", "uint32", "uint64"], "no use in gradients"),
    "qr": "no op of its own: of a matrix of full rank, R is cholesky(A.T @ A).T, and least squares are pinv(A) @ b",
}  # fmt: skip


def test_every_name_of_the_standard_is_offered_or_explained() -> None:
    for name in [*STANDARD, *CONSTANTS, *DTYPES]:
        assert hasattr(gs, name) != (name in NOT_OFFERED), name
    for name in LINALG:
        assert (name in gs.linalg.__all__) != (name in NOT_OFFERED), name
    every = {*STANDARD, *CONSTANTS, *DTYPES, *LINALG}
    assert set(NOT_OFFERED) <= every


@pytest.mark.parametrize(
    ("function", "signature"),
    [pytest.param(getattr(module, name), text, id=f"{module.__name__}.{name}") for module, table in ((gs, STANDARD), (gs.linalg, LINALG))
     for name, text in table.items() if name not in NOT_OFFERED],
)  # fmt: skip
def test_signatures_of_the_standard(function: Any, signature: str) -> None:
    """Every way in which the standard lets a function be called."""
    wanted = inspect.signature(eval(f"lambda {signature}: None"))
    ours = inspect.signature(function)
    kinds = inspect.Parameter
    places = [p for p in wanted.parameters.values() if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in wanted.parameters.values() if p.kind is kinds.KEYWORD_ONLY]
    ours.bind(*places, **dict.fromkeys(names))
    only, either = (
        [p for p in places if p.kind is kind] for kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    )
    ours.bind(*only, **dict.fromkeys([*(p.name for p in either), *names]))
    required = [p for p in places if p.default is p.empty]
    ours.bind(*required)


def test_numpys_functions_mean_ours() -> None:
    """NumPy's names, with its order of parameters, on traced values."""
    x, y, B = gs.symbol("x", 3), gs.symbol("y", 3), gs.symbol("B", (2, 3))
    pairs = [
        (np.arcsinh(x), gs.asinh(x)), (np.arccosh(x), gs.acosh(x)), (np.arctanh(x), gs.atanh(x)), (np.rint(x), gs.round(x)),
        (np.round(x), gs.round(x)), (np.remainder(x, y), gs.remainder(x, y)), (np.mod(x, y), gs.remainder(x, y)),
        (np.floor_divide(x, y), gs.floor_divide(x, y)), (np.flip(B, 0), gs.flip(B, axis=0)), (np.roll(B, 1, 0), gs.roll(B, 1, axis=0)),
        (np.repeat(B, 2, 0), gs.repeat(B, 2, axis=0)), (np.diff(x, 2), gs.diff(x, n=2)), (np.std(B, 0, ddof=1), gs.std(B, axis=0, correction=1)),
        (np.cumsum(B, 1), gs.cumulative_sum(B, axis=1)), (np.take(B, [0], 1), gs.take(B, [0], axis=1)), (np.tile(x, 2), gs.tile(x, 2)),
        (np.zeros_like(B), gs.zeros_like(B)), (np.tensordot(B, x, 1), gs.tensordot(B, x, axes=1)), (np.cross(x, y), gs.cross(x, y)),
        (np.einsum("ij,j", B, x), gs.einsum("ij,j", B, x)), (np.pad(x, 1), gs.pad(x, 1)), (np.tril(B, 1), gs.tril(B, k=1)),
        (np.linalg.norm(B, axis=1), gs.vector_norm(B, axis=1)), (np.isnan(x), gs.isnan(x)), (np.all(B, 0), gs.all(B, axis=0)),
    ]  # fmt: skip
    for number, (theirs, ours) in enumerate(pairs):
        one, two = (to_graph([x, y, B], [e]).digest() for e in (theirs, ours))
        assert one == two, number


MAGNITUDES = (1e-150, 1e-30, 1e-9, 0.3, 1.0, 7.0, 1e9, 1e30, 1e150)


@pytest.mark.parametrize(("name", "exact"), [
    ("hypot", lambda a, b: (mp.hypot(a, b), a / mp.hypot(a, b), b / mp.hypot(a, b))),
    ("atan2", lambda a, b: (mp.atan2(a, b), b / (a * a + b * b), -a / (a * a + b * b))),
    ("copysign", lambda a, b: (abs(a) * mp.sign(b), mp.sign(a) * mp.sign(b), mp.mpf(0))),
])  # fmt: skip
def test_accuracy_over_the_plane(name: str, exact: Callable[..., tuple[Any, ...]]) -> None:
    """Value and slopes against 50 digits, for arguments of all signs and magnitudes."""
    x, y = gs.symbols("x y")
    f = gs.compile(getattr(gs, name)(x, y), args=(x, y), target="numpy", selftest=False)
    for a, b in itertools.product([sign * m for m in MAGNITUDES for sign in (1.0, -1.0)], repeat=2):
        value, slopes = f.value_and_grad(a, b)
        with mp.workdps(50):
            wanted = [float(w) for w in exact(mp.mpf(a), mp.mpf(b))]
        for got, want in zip([value, *slopes], wanted, strict=True):
            assert harness.distance(np.array(got), np.array(want)) <= 4, (name, a, b, got, want)


def test_remainders_are_pythons() -> None:
    """`//` and `%` of many pairs, on every target, equal Python's own to the last bit."""
    x, y = gs.symbols("x y")
    a = np.array([m * s for m in (0.1, 0.3, 1.0, 2.5, 7.0, 1e9, 1e17, 1e300, 5e-324) for s in (1.0, -1.0)])
    left, right = (g.ravel() for g in np.meshgrid(a, a))
    for target in harness.TARGETS:
        for ours, pythons in ((gs.remainder, operator.mod), (gs.floor_divide, operator.floordiv)):
            f = gs.compile(ours(x, y), args=(x, y), target=target, derivatives=("value",), selftest=False)
            for p, q in zip(left.tolist(), right.tolist(), strict=True):
                assert f(p, q) == pythons(p, q), (target, ours.__name__, p, q)
