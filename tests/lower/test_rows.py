"""Loops over rows: what shares one, what must not, which memory that takes, and that the numbers are torch's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

ROWS, LONG = 5, 24


def layer_norm(x: Any, g: Any) -> Any:
    apart = x - gs.mean(x, axis=1)[:, None]
    over = 1.0 / gs.sqrt(gs.mean(apart**2, axis=1) + 1e-5)
    return gs.sum((g * (apart * over[:, None])) ** 3)


def soft(x: Any, g: Any) -> Any:
    return gs.sum(gs.softmax(x * g, axis=1) ** 2 * x)


def keeps_axes(x: Any, g: Any) -> Any:
    return gs.sum((x - gs.sum(x, axis=1, keepdims=True) / 7.0) ** 2 * g)


def other_rows(x: Any, g: Any) -> Any:
    """Each row needs the sum of another, and the sum over all rows."""
    most = gs.sum(x * g, axis=1)
    return gs.sum((x * most[::-1][:, None] + gs.sum(x, axis=0)) ** 2)


def whole(x: Any, g: Any) -> Any:
    """Each row needs the largest of all, known behind the first loop."""
    return gs.sum(gs.exp(x * g - gs.max(x * g)), axis=0) @ gs.sum(x * g, axis=0)


def in_other_shapes(x: Any, g: Any) -> Any:
    y = gs.tanh(x) * g
    cubes = gs.reshape(y, (ROWS, 2, LONG // 2))
    return gs.sum(gs.sum(cubes**2, axis=(1, 2)) * gs.sum(y, axis=1)) + gs.sum(y[:, 0] * y[:, 1])


PROGRAMS = [layer_norm, soft, keeps_axes, other_rows, whole, in_other_shapes]


def compiled(program: Callable[..., Any], dtype: str = "float64", rows: int = ROWS, **options: Any) -> Any:
    args = ((rows, LONG), (LONG,))
    return gs.compile(program, args=args, target="c", dtype=dtype, selftest=False, name="f", **options)


def over_rows(source: str) -> int:
    """How often a loop over the rows stands in the gradient."""
    return source[source.index("f_value_and_grad(") :].count(f"< {ROWS};")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_numbers_are_those_of_torch(program: Callable[..., Any]) -> None:
    double, single = compiled(program), compiled(program, "float32")
    assert double.check().ok
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(ROWS, LONG)), rng.normal(size=LONG)
    exact = double.value_and_grad(x, g)
    found = single.value_and_grad(x.astype(np.float32), g.astype(np.float32))
    for one, other in zip((found[0], *found[1]), (exact[0], *exact[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * np.max(np.abs(other)))


@pytest.mark.parametrize("program", [layer_norm, soft, keeps_axes], ids=lambda p: p.__name__)
def test_rows_that_need_no_other_share_one_loop(program: Callable[..., Any]) -> None:
    assert over_rows(compiled(program).source) == 1


@pytest.mark.parametrize("program", [other_rows, whole], ids=lambda p: p.__name__)
def test_rows_that_need_all_others_wait(program: Callable[..., Any]) -> None:
    assert over_rows(compiled(program).source) > 1


def test_memory_holds_one_row() -> None:
    few, many = compiled(layer_norm), compiled(layer_norm, rows=40 * ROWS)
    assert few.workspace == many.workspace
    assert few.workspace["value_and_grad"] <= 3 * 8 * LONG


def test_sums_over_rows_add_row_after_row() -> None:
    source = compiled(lambda x, g: gs.sum(gs.sum(x * g, axis=0) ** 2)).source
    inner = re.search(r"\n( +)for \(ptrdiff_t j = 0; j < 24; \+\+j\) \{\n +(\w+)\[j\] \+= ", source)
    assert inner is not None
    assert f"< {ROWS};" in source[: inner.start()]


def test_short_rows_stay_as_they_are() -> None:
    long, short = (compiled(layer_norm, tuning=gs.Tuning(row_elements=n)).source for n in (LONG, LONG + 1))
    assert over_rows(long) == 1 < over_rows(short)


def test_strict_code_is_as_before() -> None:
    one, other = (compiled(layer_norm, strict=True, tuning=gs.Tuning(row_elements=n)) for n in (2, 1000))
    assert one.source == other.source


def test_a_loop_in_a_loop() -> None:
    """State of a scan, whose every step goes over rows; the old state is read by rows behind the one written."""

    def steps(x: Any, g: Any) -> Any:
        def step(s: Any, _: Any) -> Any:
            s = gs.softmax(s * g, axis=1)
            return s[::-1] - gs.mean(s, axis=0), gs.sum(s, axis=1)

        s, each = gs.scan(step, x, None, length=4)
        return gs.sum(s**2) + gs.sum(each**3)

    assert compiled(steps).check().ok


def test_nan_of_one_row_stays_there() -> None:
    f = compiled(lambda x, g: gs.softmax(x * g, axis=1), derivatives="value")
    x = np.ones((ROWS, LONG))
    x[2, 3] = np.nan
    assert np.isnan(f(x, np.ones(LONG))).all(axis=1).tolist() == [False, False, True, False, False]
