"""erfc and Gaussians of x/sqrt(2) in loops with vector kernels: fewer operations, and nearer to the normal distribution."""

import math
import re

import mpmath
import numpy as np
import pytest

import gradsmith as gs

SPELLINGS = {
    "divided": lambda x: 0.5 * (1.0 + gs.erf(x / math.sqrt(2.0))),
    "times": lambda x: (1.0 + gs.erf(math.sqrt(0.5) * x)) * 0.5,
    "erfc": lambda x: 0.5 * gs.erfc(-x / math.sqrt(2.0)),
    "right": lambda x: 0.5 * gs.erfc(x * (1.0 / math.sqrt(2.0))),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_values_and_slopes_of_a_batch_are_those_of_the_normal_distribution(spelling, dtype):
    x = gs.symbol("x")
    f = gs.compile(SPELLINGS[spelling](x), target="c", batch=True, dtype=dtype)
    assert re.search(r"gs_vndtrf?\(", f.source)
    assert not re.search(r"gs_verfcf?\(", f.source)
    assert re.search(r"d_x_lanes\[gs_lane\] = -?gs_vnpdff?\(x\);", f.source)  # constants whose product is 1 are gone
    sign = -1.0 if spelling == "right" else 1.0
    least, unit = (-30.0, 2.0**-52) if dtype == "float64" else (-12.0, 2.0**-23)
    points = sign * np.concatenate([np.linspace(least, 8.0, 500), [0.0, -0.0]]).astype(dtype)
    values, slopes = f.value_and_grad_batch(points)
    with mpmath.workdps(40):
        exact = [mpmath.ncdf(sign * p) for p in points.tolist()]
        density = [sign * mpmath.npdf(p) for p in points.tolist()]
    assert max(abs(v - e) / e for v, e in zip(values.tolist(), exact, strict=True)) < 2.0 * unit
    assert max(abs((v - e) / e) for v, e in zip(slopes.tolist(), density, strict=True)) < 5.0 * unit


@pytest.mark.parametrize("target", ["c", "python", "numpy"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_of_one_point_too_nothing_divides_and_the_slope_is_the_density(spelling, target):
    f = gs.compile(SPELLINGS[spelling](gs.symbol("x")), target=target)
    assert not re.search(r"1\.414|0\.56418|2\.5066|gauss\(", f.source)
    sign = -1.0 if spelling == "right" else 1.0
    for x in sign * np.concatenate([np.linspace(-36.0, 8.0, 60), [0.0, -0.0]]):
        value, slope = f.value_and_grad(float(x))
        with mpmath.workdps(40):
            exact, density = mpmath.ncdf(sign * x), sign * mpmath.npdf(x)
            assert abs(value / exact - 1) < (4.0 + x * x) * 2.0**-52  # x*sqrt(1/2) is rounded, as x/sqrt(2) is
            assert abs(slope / density - 1) < 5.0 * 2.0**-52
    for x, value, slope in [
        (np.inf, 0.5 + 0.5 * sign, 0.0),
        (-np.inf, 0.5 - 0.5 * sign, 0.0),
        (np.nan, np.nan, np.nan),
    ]:
        np.testing.assert_array_equal(f(x), value)
        np.testing.assert_array_equal(np.abs(f.grad(x)), slope)


def test_of_one_point_in_float32_the_slope_is_the_density():
    f = gs.compile(SPELLINGS["divided"](gs.symbol("x")), target="c", dtype="float32")
    assert "1.414" not in f.source
    for x in np.linspace(-12.0, 8.0, 60).astype(np.float32).tolist():
        assert abs(f.grad(x) / mpmath.npdf(x) - 1) < 5.0 * 2.0**-23


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constants_that_are_a_power_of_two_but_for_rounding_are_one(dtype):
    x = gs.symbol("x")
    for factor, slope in ((1.0, r"2\.0"), (0.5, r"4\.0"), (0.95, r"2\.1\d*")):
        f = gs.compile(gs.erfc(-x / math.sqrt(2.0)) / factor, target="c", dtype=dtype)
        assert re.search(rf"d_x = {slope}f? \* gs_densityf?\(x\);", f.source)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_constants_at_the_ends_of_the_range_stay(dtype):
    x = gs.symbol("x")
    for c in (np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal):
        f = gs.compile(float(c) * gs.ndtr(x), target="c", dtype=dtype)
        slope = float(c) * mpmath.npdf(3.0)
        assert abs(f.grad(3.0) - slope) <= 8.0 * np.spacing(np.array(float(slope), dtype))


def test_strict_code_keeps_the_quotient():
    assert "1.4142135623730951" in gs.compile(SPELLINGS["divided"](gs.symbol("x")), target="c", strict=True).source


def test_edges_keep_their_values():
    f = gs.compile(SPELLINGS["divided"](gs.symbol("x")), target="c", batch=True)
    values, slopes = f.value_and_grad_batch(np.array([-np.inf, np.inf, np.nan]))
    np.testing.assert_array_equal(values, [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(slopes, [0.0, 0.0, np.nan])


def test_other_factors_and_code_without_the_kernels_stay():
    x = gs.symbol("x")
    for c in (1.4, float(np.float32(math.sqrt(2.0)))):
        assert "gs_verfc(" in gs.compile(0.5 * gs.erfc(-x / c), target="c", batch=True).source
    f = gs.compile(SPELLINGS["divided"](x), target="c", batch=True, simd="off")
    assert "ndtr" not in f.source
    assert "erfc(" in gs.compile(SPELLINGS["divided"](x)).source
