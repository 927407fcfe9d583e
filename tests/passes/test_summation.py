"""Sums that round less: against `math.fsum`, which rounds once, on every target."""

import math
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

RNG = np.random.default_rng(7)
EPS = float(np.finfo(float).eps)


def hard(n: int) -> list[float]:
    """Numbers of many sizes and both signs whose sum is small."""
    x = RNG.normal(size=n // 2) * 10.0 ** RNG.integers(-6, 7, size=n // 2)
    beside = -x * (1.0 + RNG.normal(size=n // 2) * 1e-10)
    return [*RNG.permutation(np.concatenate([x, beside])).tolist(), *([0.125] if n % 2 else [])]


def compiled(n: int, how: Any, target: str) -> gs.CompiledFunction:
    return gs.compile(gs.sum(gs.symbol("x", (n,))), target=target, summation=how, selftest=False)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("n", [3, 4, 7, 8, 9, 31, 100, 257])
def test_compensated_sums_round_once(target: str, n: int) -> None:
    f = compiled(n, "compensated", target)
    for _ in range(5):
        x = hard(n)
        bound = EPS * abs(math.fsum(x)) + (math.log2(n) * EPS) ** 2 * math.fsum(map(abs, x))
        assert abs(f(x) - math.fsum(x)) <= bound
        assert list(f.grad(x)) == [1.0] * n


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_pairwise_sums_do_not_grow_with_n(target: str) -> None:
    n = 20_001
    x = [0.1] * n
    exact = math.fsum(x)
    assert abs(compiled(n, "pairwise", target)(x) - exact) <= 16 * EPS * exact
    if target == "c":
        assert abs(compiled(n, "default", target)(x) - exact) > 100 * EPS * exact


def test_axes_and_means() -> None:
    x = gs.symbol("x", (4, 30, 3))
    point = RNG.normal(size=(4, 30, 3))
    for how in ("pairwise", "compensated"):
        for e, want in (
            (gs.sum(x, axis=1), point.sum(axis=1)),
            (gs.sum(x, axis=(0, 2), keepdims=True), point.sum(axis=(0, 2), keepdims=True)),
            (gs.mean(x, axis=0), point.mean(axis=0)),
            (gs.mean(x), point.mean()),
        ):
            for target in ("numpy", "c"):
                f = gs.compile(e, target=target, summation=how, derivatives=("value",))
                np.testing.assert_allclose(f(point), want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_infinity_and_nan_stay(target: str) -> None:
    f = compiled(9, "compensated", target)
    assert f([1.0, math.inf, *[2.0] * 7]) == math.inf
    assert math.isnan(f([1.0, math.inf, -math.inf, *[2.0] * 6]))
    assert math.isnan(f([math.nan, *[2.0] * 8]))


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(gs.SpecError, match="summation='kahan': choose from 'default', 'pairwise', 'compensated'"):
        gs.compile("x*y", summation="kahan")  # type: ignore[arg-type]
