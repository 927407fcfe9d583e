"""Strands: which sums have several running values, and that the numbers are NumPy's whatever their length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradsmith as gs

LONG = 4 * 64


def source_of(f: Any, *shapes: Any, **options: Any) -> str:
    made = gs.compile(f, args=shapes, target="c", derivatives="value", selftest=False, name="f", **options)
    return str(made.source)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [LONG - 4, LONG, LONG + 1, LONG + 4])
def test_the_numbers_are_right(size: int, dtype: str) -> None:
    """Rows, all elements in one loop, a maximum with its NaN, and a product by a matrix that a loop computes."""

    def program(x: Any, y: Any) -> Any:
        rows = gs.sum(gs.abs(x - y), axis=1)
        return rows, gs.sum(x * y), gs.max(x[0]), gs.min(x), gs.prod(y[:4]), gs.sum(rows * gs.max(x, axis=1))

    f = gs.compile(program, args=((3, size), (size,)), target="c", derivatives="value", selftest=False, dtype=dtype)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, size)).astype(dtype), rng.normal(size=size).astype(dtype)
    rows = np.abs(x - y).sum(axis=1)
    expected = rows, np.sum(x * y), x[0].max(), x.min(), np.prod(y[:4]), np.sum(rows * x.max(axis=1))
    for one, other in zip(f(x, y), expected, strict=True):
        np.testing.assert_allclose(
            one, other, rtol=1e-12 if dtype == "float64" else 3e-5, atol=1e-4 if dtype != "float64" else 1e-12
        )
    for place in (0, size // 2, size - 1):
        x[0] = 1.0
        x[0, place] = np.nan
        assert np.isnan(f(x, y)[2])


def test_light_sums_have_strands() -> None:
    assert f"< {LONG // 4};" in source_of(lambda x, y: gs.sum(x * y), (LONG,), (LONG,))
    assert f"< {LONG // 4};" in source_of(lambda x: gs.max(x, axis=1), (16, LONG))


@pytest.mark.parametrize(
    ("size", "dtype", "count"),
    [
        (62, "float64", 1),
        (64, "float64", 2),
        (128, "float64", 2),
        (126, "float32", 1),
        (256, "float32", 2),
        (512, "float32", 4),
    ],
)
def test_short_strands_are_fewer(size: int, dtype: str, count: int) -> None:
    assert f"< {size // count};" in source_of(lambda x: gs.sum(x), (size,), dtype=dtype)


@pytest.mark.parametrize(
    ("program", "shape"),
    [
        (lambda x: gs.sum(x), (62,)),
        (lambda x: gs.sum(x), (LONG + 1,)),
        (lambda x: gs.sum(x), ("n",)),
        (lambda x: gs.sum(gs.exp(x)), (LONG,)),
        (lambda x: gs.sum(1.0 / x), (LONG,)),
        (lambda x: (gs.sum(x), 2.0 * x), (LONG,)),
    ],
    ids=["short", "no multiple", "size by name", "exp", "division", "stores"],
)
def test_others_have_one(program: Any, shape: Any) -> None:
    assert not any(f"< {LONG // count};" in source_of(program, shape) for count in (2, 4))
    assert not any(f"+ {place}]" in source_of(program, shape) for place in (31, 64, 128))


@pytest.mark.parametrize("most", [2, 4])
def test_a_sum_that_does_more_than_add_has_one_strand(most: int) -> None:
    """As many operations as the tuning says, and one more."""
    power: Any = lambda x, count: x if count == 0 else power(x, count - 1) * (1.5 + x) if count > 1 else x * x
    tuning = gs.Tuning(strand_operations=most)
    texts = [source_of(lambda x, n=n: gs.sum(power(x, n)), (LONG,), tuning=tuning) for n in (1, 2, 3)]
    counts = [1, 3, 5]
    for text, count in zip(texts, counts, strict=True):
        assert (f"< {LONG // 4};" in text) == (count <= most)


def test_strict_code_has_one_order() -> None:
    one, other = (source_of(lambda x: gs.sum(x), (LONG,), strict=True, tuning=gs.Tuning(sum_strands=k)) for k in (1, 4))
    assert one == other


def test_a_strand_has_more_than_one_element() -> None:
    """What has one element is read at 0, wherever it begins."""
    f = gs.compile(
        lambda x: gs.sum(x), args=((4,),), target="c", tuning=gs.Tuning(strand_elements=1, unroll_elements=1)
    )
    assert f(np.arange(4.0)) == 6.0
