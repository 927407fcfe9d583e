"""Weights that need all rows: sums are made before they are known, and the numbers are torch's, edge cases too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs

HEIGHT, LENGTH = 37, 16
BLOCKS = gs.Tuning(block_least=1, block_bytes=16 * 8 * 8)  # 8 rows of 16 doubles; the last 5 rows fill no block
ARGS = ((HEIGHT, LENGTH), (LENGTH,), (HEIGHT,))


def logsumexp(m: Any, A: Any, x: Any, b: Any) -> Any:
    return m.logsumexp(A @ x + b, 0)


def softmax(m: Any, A: Any, x: Any, b: Any) -> Any:
    """The rows by their weights, as attention of one query has them."""
    return m.sum((m.softmax(A @ x - b, 0) @ A) ** 3)


def by_its_sum(m: Any, A: Any, x: Any, b: Any) -> Any:
    e = m.exp(0.1 * (A @ x) + b)
    return m.sum(m.sin(-(2.0 * e / m.sum(e)) @ A))


PROGRAMS = [logsumexp, softmax, by_its_sum]


def compiled(program: Callable[..., Any], **options: Any) -> Any:
    options = {"wrt": (0, 1, 2), "selftest": False, "tuning": BLOCKS, "target": "c", **options}
    return gs.compile(lambda A, x, b: program(gs, A, x, b), args=ARGS, derivatives="value_and_grad", **options)


def numbers() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape) for shape in ARGS]


def expected(program: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
    given = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = program(torch, *given)
    return [value.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(value, given))]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_numbers_are_right(program: Callable[..., Any], dtype: str) -> None:
    f, arrays = compiled(program, dtype=dtype), numbers()
    assert "gs_exp_sums" in f.source
    value, grads = f.value_and_grad(*(a.astype(dtype) for a in arrays))
    for got, want in zip([value, *grads], expected(program, *arrays), strict=True):
        limit = 1e-12 if dtype == "float64" else 2e-4  # the cube is ill-conditioned in two passes as well
        np.testing.assert_allclose(got, want, rtol=limit, atol=limit * np.max(np.abs(want)))


def edges() -> dict[str, list[np.ndarray]]:
    A, x, b = numbers()

    def with_b(**places: float) -> list[np.ndarray]:
        changed = b.copy()
        for place, number in places.items():
            changed[int(place[1:])] = number
        return [A, x, changed]

    infinite = A.copy()
    infinite[3, 5] = np.inf
    return {
        "one is far larger, late": with_b(_36=900.0),
        "one is far larger, first": with_b(_0=900.0),
        "each block is larger": [A, x, b + 40.0 * np.arange(HEIGHT)],
        "each is a little larger": [A, x, 0.5 * np.arange(HEIGHT)],
        "each is smaller": [A, x, b - 40.0 * np.arange(HEIGHT)],
        "all far below 0": [A, x, b - 5000.0],
        "ties": [np.ones_like(A), x, np.zeros_like(b)],
        "some are nothing": with_b(_0=-np.inf, _1=-np.inf, _20=-np.inf),
        "the first block is nothing": [A, x, np.where(np.arange(HEIGHT) < 9, -np.inf, b)],
        "all are nothing": [A, x, np.full(HEIGHT, -np.inf)],
        "infinite": with_b(_17=np.inf),
        "not a number, first": with_b(_0=np.nan),
        "not a number, late": with_b(_35=np.nan),
        "near overflow": [1e307 * np.sign(A), 1e-307 * x, b],
        "an infinite row": [infinite, np.where(np.arange(LENGTH) == 5, 0.5, x), b],
        "an infinite row without weight": [infinite, np.where(np.arange(LENGTH) == 5, -0.5, x), b],
    }


@pytest.mark.filterwarnings("ignore")
def test_edges_are_those_without_it() -> None:
    """Beyond rounding the same as in two passes, and so whatever these have been tested for."""
    once, twice = compiled(logsumexp), compiled(logsumexp, tuning=gs.Tuning())
    assert "gs_exp_sums" not in twice.source
    for name, arrays in edges().items():
        (value, grads), (other, others) = once.value_and_grad(*arrays), twice.value_and_grad(*arrays)
        for got, want in zip([value, *grads], [other, *others], strict=True):
            scale = np.max(np.abs(want), where=np.isfinite(want), initial=0.0)
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * scale, err_msg=name)


def test_where_it_is_not_done() -> None:
    assert "gs_exp_sums" not in compiled(logsumexp, strict=True).source
    assert "gs_exp_sums" not in compiled(logsumexp, threads="openmp").source
    known = compiled(lambda m, A, x, b: m.sum(m.exp(A @ x)))  # each weight needs its own row only
    assert "gs_exp_sums" not in known.source


def test_the_matrix_is_read_once() -> None:
    body = compiled(logsumexp, wrt=(1, 2)).source.rpartition("\nvoid ")[2]
    assert [body.count(start) for start in ("(A + i*16, ", "(A + 512, ")] == [2, 2]  # by blocks, and the rows left
    assert body.count("(A, ") == body.count("gs_exp_scaled(A, ") == 1  # for what is not finite


def test_sizes_known_by_name() -> None:
    named, fixed = (
        gs.compile(
            lambda A, x, b: by_its_sum(gs, A, x, b),
            args=((n, LENGTH), (LENGTH,), (n,)), wrt=(1, 2), target="c", selftest=False, tuning=tuning,
        )
        for n, tuning in (("n", BLOCKS), ("n", gs.Tuning(block_least=10**6, block_most=1)))
    )  # fmt: skip
    assert ["gs_exp_sums" in f.source for f in (named, fixed)] == [True, False]
    A, x, b = numbers()
    for height in (0, 1, 5, 37):
        for got, want in zip(*(f.grad(A[:height], x, b[:height]) for f in (named, fixed)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
