"""Reductions over other axes than the innermost: along the innermost one, with the edges of NumPy."""

from __future__ import annotations

import re

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
