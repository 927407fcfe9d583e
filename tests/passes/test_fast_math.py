"""Regrouping: fewer operations, equal for real numbers, and only where it was asked for."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

X, Y, Z = gs.symbols("x y z")

#: formula -> the operations left of its value
CASES: list[tuple[gs.Expr, dict[str, int]]] = [
    (0.1 * (0.3 * X), {"mul": 1}),
    (X / 3.0, {"mul": 1}),
    ((X * 0.1) / 3.0, {"mul": 1}),
    ((X + 0.1) + 0.2, {"add": 1}),
    ((X - 0.1) + 0.3, {"add": 1}),
    (0.7 - (X - 0.1), {"sub": 1}),
    (0.7 - (0.2 - X), {"add": 1}),
    ((0.1 * X) * (0.3 * Y), {"mul": 2}),
    (0.1 * (0.3 / X), {"div": 1}),
    (X * Y + X * Z, {"mul": 1, "add": 1}),
    (X * Y - Z * X, {"mul": 1, "sub": 1}),
    (X / Y + Z / Y, {"add": 1, "div": 1}),
    ((X / Y) / Z, {"mul": 1, "div": 1}),
    (X / (Y / Z), {"mul": 1, "div": 1}),
]


@pytest.mark.parametrize("number", range(len(CASES)))
@pytest.mark.parametrize("target", ["python", "numpy"])
def test_law(number: int, target: str) -> None:
    formula, left = CASES[number]
    options: dict[str, Any] = {"args": [X, Y, Z], "target": target, "selftest": False, "stabilize": False}
    plain, fast = gs.compile(formula, **options), gs.compile(formula, **options, fast_math=True)
    assert dict(fast.cost.value) == left
    assert sum(fast.cost.value.values()) <= sum(plain.cost.value.values())
    for point in ((0.3, 1.7, -2.5), (-4.0, 0.25, 3.0)):
        assert fast(*point) == pytest.approx(plain(*point), rel=1e-14)
        assert fast.grad(*point) == pytest.approx(plain.grad(*point), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(
    "formula", [lambda x: 0.1 * (0.3 * x), lambda x: x / 3.0, lambda x: (x + 0.1) + 0.2, lambda x: x * 3.7 + x * 1.1]
)
def test_without_the_option_rounding_is_that_of_the_formula(formula: Callable[[float], float]) -> None:
    f = gs.compile(formula(X), selftest=False)
    values = np.random.default_rng(0).normal(size=200)
    assert [f(float(v)) for v in values] == [formula(float(v)) for v in values]


def test_nan_and_infinity_stay_in_fast_maths_too() -> None:
    f = gs.compile(X * 0.0 + (Y - Y), args=[X, Y], selftest=False, fast_math=True)
    assert f(1.0, 1.0) == 0.0
    assert math.isnan(f(math.inf, 1.0))
    assert math.isnan(f(1.0, math.inf))
    g = gs.compile(X / 0.0, args=[X], selftest=False, fast_math=True)
    assert g(1.0) == math.inf


def test_constants_that_would_overflow_stay_apart() -> None:
    f = gs.compile(1e200 * (1e200 * X), selftest=False, fast_math=True)
    assert f(1e-300) == pytest.approx(1e100)
    assert f.grad(0.0) == math.inf
    g = gs.compile(X / 1e-320, selftest=False, fast_math=True)
    assert g(1e-320) == 1.0


def test_c_fuses_products_and_sums_for_those_who_ask() -> None:
    options: dict[str, Any] = {"args": [X, Y], "target": "c", "derivatives": "value"}
    x = 1.0 + 2.0**-27  # whose square lies 2^-54 above the nearest number
    y = 1.0 + 2.0**-26
    assert gs.compile(X * X - Y, **options)(x, y) == 0.0
    fused = gs.compile(X * X - Y, **options, fast_math=True)
    assert 'optimize("fp-contract=fast")' in fused.source
    assert fused(x, y) in (2.0**-54, 0.0)  # the latter on a CPU without fused operations
    strict = gs.compile(X * X - Y, **options, fast_math=True, strict=True)
    assert "contract=fast" not in strict.source
    assert strict(x, y) == 0.0


def test_a_batch_with_vector_kernels_may_fuse_too() -> None:
    f = gs.compile(gs.exp(X) * Y + gs.sin(X) * Z, args=[X, Y, Z], target="c", batch=True, fast_math=True)
    x, y, z = np.random.default_rng(0).uniform(-2.0, 2.0, (3, 100))
    value, (d_x, d_y, d_z) = f.value_and_grad_batch(x, y, z)
    np.testing.assert_allclose(value, np.exp(x) * y + np.sin(x) * z, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(d_x, np.exp(x) * y + np.cos(x) * z, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(d_y, np.exp(x), rtol=1e-15)
    np.testing.assert_allclose(d_z, np.sin(x), rtol=1e-15)
