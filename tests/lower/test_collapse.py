"""Collapse: which loops walk their last axes as one, and that the numbers are NumPy's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

SHAPE = (3, 4, 5, 7)


def biased(x: Any, b: Any, m: Any) -> Any:
    """As behind a convolution: each channel has one number."""
    return m.maximum(x + b[:, None, None], 0.0)


def lower_rows(x: Any, b: Any, m: Any) -> Any:
    """Whole rows, from the second one on."""
    return x[:, :, 1:] * b[:, None, None]


def all_reversed(x: Any, b: Any, m: Any) -> Any:
    return x[:, :, ::-1, ::-1] + b[:, None, None]


def channel_sums(x: Any, b: Any, m: Any) -> Any:
    """As a bias has for its slope."""
    return m.sum(m.sin(x) * b[:, None, None], axis=(0, 2, 3))


def all_of_it(x: Any, b: Any, m: Any) -> Any:
    return m.sum(m.sin(x) * b[:, None, None])


def with_rows(x: Any, b: Any, m: Any) -> Any:
    """A loop over channels: of each, a sum and what is computed from it."""
    y = x * b[:, None, None]
    return y / m.sum(y * y, axis=(2, 3))[:, :, None, None]


def narrower(x: Any, b: Any, m: Any) -> Any:
    """Rows without their ends."""
    return x[:, :, :, 1:-1] + b[:, None, None]


def turned(x: Any, b: Any, m: Any) -> Any:
    return m.permute_dims(x, (0, 1, 3, 2)) + b[:, None, None]


def by_column(x: Any, b: Any, m: Any) -> Any:
    return x + x[0, 0, 0] * b[:, None, None]


def last_reversed(x: Any, b: Any, m: Any) -> Any:
    return x[:, :, :, ::-1] + b[:, None, None]


def table(x: Any, b: Any, m: Any) -> Any:
    return x * b[:, None, None] + m.arange(7.0)


TOGETHER = [biased, lower_rows, all_reversed, channel_sums, all_of_it, with_rows]
APART = [narrower, turned, by_column, last_reversed, table]


def compiled(program: Callable[..., Any], shape: Any = SHAPE, **options: Any) -> Any:
    options = {"target": "c", "dtype": "float64", "selftest": False, "name": "f", "derivatives": "value", **options}
    return gs.compile(lambda x, b: program(x, b, gs), args=(shape, (SHAPE[1],)), **options)


def numbers(batch: int = SHAPE[0]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=(batch, *SHAPE[1:])), rng.normal(size=SHAPE[1])]


def ends(source: str) -> set[int]:
    """Where the loops of the function end, those of numbers."""
    return {int(end) for end in re.findall(r"for \(ptrdiff_t \w = 0; \w < (\d+);", source[source.rindex("\nvoid f") :])}


@pytest.mark.parametrize("program", [*TOGETHER, *APART], ids=lambda p: p.__name__)
def test_the_numbers_are_right(program: Callable[..., Any]) -> None:
    np.testing.assert_allclose(compiled(program)(*numbers()), program(*numbers(), np), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"strict": True}, {"target": "python"}], ids=str)
def test_the_numbers_of_other_code(options: dict[str, Any]) -> None:
    together = lambda x, b, m: {p.__name__: p(x, b, m) for p in TOGETHER}
    digits = 2e-5 if options.get("dtype") == "float32" else 1e-12
    found = compiled(together, **options)(*(a.astype(options.get("dtype", "float64")) for a in numbers()))
    for name, expected in together(*numbers(), np).items():
        np.testing.assert_allclose(found[name], expected, rtol=digits, atol=digits)


@pytest.mark.parametrize("program", TOGETHER, ids=lambda p: p.__name__)
def test_short_rows_are_no_loops(program: Callable[..., Any]) -> None:
    assert not ends(compiled(program).source) & {5, 7}


@pytest.mark.parametrize("program", APART, ids=lambda p: p.__name__)
def test_rows_that_do_not_follow_each_other_are_loops(program: Callable[..., Any]) -> None:
    found = ends(compiled(program).source)
    assert found & {5, 7}
    assert not found & {35, 25}


def test_sizes_known_by_name() -> None:
    f = compiled(with_rows, ("n", *SHAPE[1:]))
    assert not ends(f.source) & {5, 7}
    for batch in (0, 1, 6):
        given = numbers(batch)
        np.testing.assert_allclose(f(*given), with_rows(*given, np), rtol=1e-12)


def test_places_that_are_numbered() -> None:
    numbered = lambda x, b, m: m.where(m.arange(x.shape[3]) < 3, x, b[:, None, None])
    f = compiled(numbered, (*SHAPE[:3], "n"))
    np.testing.assert_allclose(f(*numbers()), numbered(*numbers(), np), rtol=1e-12)


def test_pictures_of_named_size() -> None:
    f = compiled(biased, (3, SHAPE[1], "h", "w"))
    assert f.source[f.source.rindex("\nvoid f") :].count("for (") == 3
    np.testing.assert_allclose(f(*numbers()), biased(*numbers(), np), rtol=1e-12)
