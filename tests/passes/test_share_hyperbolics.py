"""The slope of tanh comes from its value in the middle of straight lines, and by a call everywhere else."""

import math

import mpmath
import numpy as np
import pytest

import gradsmith as gs

#: On both sides of where the form changes, and where the slope is tiny.
POINTS = (0.0, -0.0, 1e-310, -1e-9, 0.3, 0.88137, -0.88138, 1.7, -20.0, 360.0, -400.0, math.inf, -math.inf, math.nan)


def tanh_of(target: str, **options: object) -> gs.CompiledFunction:
    x = gs.symbol("x")
    return gs.compile(gs.tanh(x), target=target, derivatives="value_and_grad", selftest=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["python", "c"])
def test_value_and_slope_are_right_to_four_units(target: str) -> None:
    f = tanh_of(target)
    assert "1.0 - " in f.source
    rng = np.random.default_rng(0)
    for x in (*POINTS, *rng.uniform(-1.0, 1.0, 300), *rng.uniform(-20.0, 20.0, 300)):
        value, slope = f.value_and_grad(x)
        want = mpmath.tanh(x), mpmath.sech(x) ** 2 if math.isfinite(x) else x if math.isnan(x) else 0.0
        for got, exact in zip((value, slope), want, strict=True):
            if math.isnan(x):
                assert math.isnan(got)
            else:
                assert abs(got - exact) <= 4 * math.ulp(float(exact)), x
        assert math.copysign(1.0, value) == math.copysign(1.0, x)


@pytest.mark.parametrize(
    ("target", "options"),
    [("numpy", {}), ("c", {"strict": True})],
    ids=["arrays", "strict"],
)
def test_others_call_the_library(target: str, options: dict[str, object]) -> None:
    source = tanh_of(target, **options).source
    assert "1.0 - " not in source
    assert "cosh(x)" in source


def test_loops_keep_their_vector_kernels() -> None:
    source = gs.compile(lambda x: gs.sum(gs.tanh(x)), args=((100,),), target="c", selftest=False).source
    assert "gs_vtanh" in source
    assert " 1.0 - t" not in source
    interpreted = gs.compile(lambda x: gs.sum(gs.tanh(x)), args=((5000,),), selftest=False).source
    assert "1.0 / math.cosh" in interpreted
    assert "1.0 - " not in interpreted
