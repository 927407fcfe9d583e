"""Reductions over other axes than the innermost: along the innermost one, with the edges of NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

EDGES = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(5, 19), (3, 4, 19), (4, 19, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["max", "min", "sum"])
def test_the_numbers_are_those_of_numpy(name: str, shape: tuple[int, ...], dtype: str, keepdims: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.choice(EDGES, size=shape, p=[0.2, 0.2, 0.25, 0.25, 0.04, 0.04, 0.02]).astype(dtype)
    axis = len(shape) - 2 if shape[-1] != 1 else 0
    f = gs.compile(
        lambda x: getattr(gs, name)(x, axis=axis, keepdims=keepdims),
        args=(shape,), target="c", dtype=dtype, derivatives="value", selftest=False,
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(f(x), want)


@pytest.mark.parametrize("name", ["max", "min", "sum"])
def test_the_innermost_loop_runs_along_the_innermost_axis(name: str) -> None:
    """Its steps are independent, so that compilers make vectors of them; strict code has one order."""
    program = lambda x: getattr(gs, name)(x, axis=0)
    fast, strict = (
        gs.compile(program, args=((6, 40),), target="c", derivatives="value", selftest=False, strict=strict).source
        for strict in (False, True)
    )
    loop = r"i < 6; \+\+i\) \{\n\s+GS_INDEPENDENT\n\s+for \(ptrdiff_t j = 0; j < 40; \+\+j\)"
    assert re.search(loop, fast)
    assert not re.search(loop, strict)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_strips_of_rows_are_added_in_the_same_order(dtype: str) -> None:
    shapes = [(3, 10, 19), (3, 25, 17), (3, 7, 2, 16), (3, 11, 19)]
    rng = np.random.default_rng(3)
    point = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    for x in point:
        x[..., 0], x[..., 1] = -0.0, np.inf

    def sums(*point: Any) -> list[Any]:
        return [gs.sum(x * x - 0.3 * x, axis=1, keepdims=keepdims) for x in point for keepdims in (False, True)]

    strips, rows = (
        gs.compile(
            sums, args=shapes, target="c", dtype=dtype, derivatives="value", selftest=False, tuning=gs.Tuning(strip_rows=most)
        )
        for most in (8, 1)
    )  # fmt: skip
    steps = [set(re.findall(r"; j \+= (\d+)\)", f.source)) for f in (strips, rows)]
    assert steps == [{"5", "7"}, set()]  # of 11 rows there are no equal strips
    for one, other in zip(strips(*point), rows(*point), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: gs.max(x, axis=1),  # gcc makes no vectors of several choices
        lambda x: gs.sum(gs.exp(x), axis=1),  # as many lines as rows, for little
        lambda x: gs.sum(x[:, :, :8], axis=1),
        lambda x: gs.sum(gs.reshape(x, (2, 5, 4, 20)), axis=(1, 2)),
    ],
    ids=["maximum", "work", "short rows", "two axes"],
)
def test_other_reductions_go_row_by_row(program: Any) -> None:
    f = gs.compile(program, args=((2, 20, 20),), target="c", derivatives="value", selftest=False)
    assert "acc_" not in f.source
    assert not re.search(r"\b[ijk] \+= [2-9]", f.source)
