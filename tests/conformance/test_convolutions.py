"""Convolutions by kernels: awkward sizes, steps and groups, with gradients, are torch's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

from . import harness

#: Input, weights and options: columns that fill vectors and that do not, on a last tile too; channels of each height.
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((2, 3, 9, 27), (7, 3, 3, 3), {"padding": 1}),
    "exact": ((1, 2, 5, 18), (1, 2, 2, 3), {}),
    "long taps": ((2, 1, 4, 43), (13, 1, 2, 19), {}),
    "steps of rows": ((1, 2, 11, 24), (5, 2, 3, 2), {"stride": (2, 1), "dilation": (1, 3)}),
    "dilated": ((1, 3, 12, 40), (4, 3, 3, 5), {"dilation": (3, 2), "padding": (2, 1)}),
    "groups": ((2, 6, 6, 25), (9, 2, 3, 4), {"groups": 3}),
    "steps of columns": ((1, 2, 9, 40), (3, 2, 3, 17), {"stride": 2}),
    "row": ((3, 4, 61), (6, 4, 5), {"dilation": 2}),
    "small": ((2, 3, 11, 12), (9, 3, 3, 3), {}),
    "smallest": ((1, 4, 5, 7), (12, 4, 2, 4), {"padding": 1}),
    "many rows": ((2, 2, 40, 13), (6, 2, 3, 3), {}),
    "wide": ((1, 1, 6, 70), (10, 1, 3, 3), {}),
    "many channels": ((2, 12, 7, 6), (39, 12, 3, 3), {}),
    "pairs of places": ((1, 16, 11, 3), (40, 16, 3, 2), {}),
    "few places": ((3, 5, 3, 4), (35, 5, 2, 3), {}),
    "edges": ((5, 40, 5, 4), (17, 40, 3, 3), {"padding": 1}),
    "steps of many": ((1, 8, 14, 11), (34, 4, 3, 2), {"stride": (2, 3), "dilation": (1, 2), "groups": 2}),
    "many filters": ((3, 2, 6, 8), (45, 2, 3, 3), {}),
    "groups of filters": ((2, 10, 7, 12), (12, 5, 1, 2), {"groups": 2, "stride": (1, 2)}),
    "one tap": ((5, 13, 4, 7), (24, 13, 1, 1), {}),
    "few rows": ((9, 4, 3, 4), (8, 4, 3, 3), {}),
    "edges of groups": ((3, 24, 6, 7), (36, 12, 3, 3), {"padding": (1, 2), "groups": 2}),
    "edges of steps": ((2, 20, 10, 9), (17, 20, 3, 4), {"padding": (2, 3), "stride": (2, 3), "dilation": (1, 2)}),
    "edges of one side": ((2, 3, 9, 22), (5, 3, 2, 4), {"padding": "same"}),
    "edges of rows": ((2, 6, 10, 21), (8, 3, 3, 3), {"padding": (2, 1), "stride": (2, 1), "groups": 2}),
    "edges beyond the taps": ((2, 4, 8, 17), (5, 4, 1, 2), {"padding": (2, 1)}),
    "gaps": ((4, 33, 9, 8), (18, 33, 2, 1), {"stride": (3, 2), "dilation": (2, 1)}),
}
KERNELS = ("gs_convolve", "gs_convolve_lanes", "gs_spread_lanes", "gs_correlate", "gs_convolve_back", "gs_slopes")
OTHER = gs.Tuning(
    flat_results=64,
    slope_channels=8,
    slope_channels_512=4,
    lane_places=8,
    lane_places_512=5,
    lane_bytes=1,
    lane_taps=1,
    lane_pictures=20_000,
    slope_bytes=4_000,
)
ACROSS = gs.Tuning(slope_lanes=10_000)  # no filters in vectors of slopes, where rows of taps fill any
#: Registers of this machine, of the oldest of its kind, and none; and what another machine might want.
BUILDS = {
    "float64": ("float64", None, (("gcc", "-O2 -march=native"), ("clang", "-O1"))),
    "float32": ("float32", None, (("gcc", "-O1 -DGS_VECTOR_BYTES=0"),)),
    "tuned": ("float32", OTHER, (("gcc", "-O1 -march=native"),)),
    "across": ("float32", ACROSS, (("gcc", "-O1 -march=native"), ("gcc", "-O1 -DGS_VECTOR_BYTES=0"))),
}


def loss(case: str, **options: Any) -> gs.CompiledFunction:
    x, w, how = CASES[case]
    xs = [gs.symbol("x", x), gs.symbol("w", w)]
    y = (gs.conv1d if len(x) == 3 else gs.conv2d)(*xs, **how)
    return gs.compile(
        gs.sum(y**2), args=xs, name=case.replace(" ", "_"), target="c", simd="off", selftest=False, **options
    )


@pytest.mark.parametrize("build", BUILDS)
def test_values_and_gradients_are_torchs(build: str, tmp_path: Path) -> None:
    dtype, tuning, builds = BUILDS[build]
    every = {case: loss(case, dtype=dtype, tuning=tuning) for case in CASES}
    if tuning is ACROSS:
        every = {case: f for case, f in every.items() if "    gs_correlatef(" in f.source}
        assert len(every) > 7
    generator = np.random.default_rng(5)
    at = {case: [generator.normal(size=s).astype(dtype) for s in CASES[case][:2]] for case in CASES}
    for name in KERNELS if tuning is not ACROSS else ():
        assert sum(f"    {name}{'f' * (dtype == 'float32')}(" in f.source for f in every.values()) > 2, name
    for number, (compiler, options) in enumerate(builds):
        if not shutil.which(compiler):
            continue
        library = harness.Library(every, compiler, tmp_path / str(number), options)
        for case, f in every.items():
            wanted = harness.torch_value_and_grad(f.graph, [x.astype(np.float64) for x in at[case]])
            for got, want in zip(library[case]("value_and_grad", at[case]), wanted, strict=True):
                near = 128 * np.finfo(dtype).eps * np.abs(want).max()
                assert np.abs(got - want).max() <= near, (case, compiler, options)


EDGES = {
    "edges": ("gs_spread_lanes", "5, 4, 5, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0"),
    "edges of groups": ("gs_spread_lanes", "6, 9, 6, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 2, 0"),
    "picture": ("gs_convolve_back", "11, 29, 9, 27, 3, 3, 1, 1, 1, 1, 1, 1, 9, 27"),
    "edges of one side": ("gs_convolve_back", "10, 25, 9, 22, 2, 4, 1, 1, 1, 1, 1, 2, 9, 22"),
}


@pytest.mark.parametrize("case", EDGES)
def test_no_slope_is_computed_where_padding_is(case: str) -> None:
    """Kernels get the size of the picture, not of the picture with zeros around it; so nothing is cut out."""
    kernel, extents = EDGES[case]
    assert re.search(rf"    {kernel}\([^;]*, {extents}\);", loss(case).source)


def test_what_stays_a_loop() -> None:
    x, w = gs.symbol("x", (1, 1, 4, 8)), gs.symbol("w", (1, 1, 1, 2))
    few = gs.compile(gs.sum(gs.conv2d(x, w)), target="c", derivatives="value", selftest=False)
    for f in (loss("picture", strict=True), few):
        assert not any(name in f.source for name in KERNELS)


@pytest.mark.parametrize("target", ["c", "strict", "numpy", "python"])
@pytest.mark.parametrize("case", ["picture", "steps of columns", "groups", "small", "edges of rows"])
def test_slopes_multiply_no_zeros_of_their_own(case: str, target: str) -> None:
    """Weights of inf and NaN reach the elements that they are multiplied with; 0*inf would reach all of them."""
    x, w, how = CASES[case] if case != "small" else ((2, 3, 4, 3), (2, 3, 2, 2), {"stride": (1, 2)})
    if target == "python" and case != "small":
        pytest.skip("the Python target writes out each element")
    xs = [gs.symbol("x", x), gs.symbol("w", w)]
    options: dict[str, Any] = {"target": "c", "strict": True} if target == "strict" else {"target": target}
    f = gs.compile(gs.sum(gs.conv2d(*xs, **how)), args=xs, selftest=False, **options)
    generator = np.random.default_rng(7)
    at = [generator.normal(size=s) for s in (x, w)]
    at[1][0, 0, 0, 0], at[1][-1, -1, -1, -1], at[1][-1, 0, 0, 1] = np.inf, -np.inf, np.nan
    want = harness.torch_value_and_grad(f.graph, at)[1:]
    assert np.isfinite(want[0]).any()
    assert not np.isfinite(want[0]).all()
    for got, right in zip(f.grad(*at), want, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "kernel"), [("small", "correlate"), ("wide", "correlate"), ("picture", "slopes"), ("odd", "slopes")]
)
def test_taps_meet_nothing_beside_them(case: str, kernel: str, tmp_path: Path) -> None:
    """Slopes by the weights add up along rows that are filled up with zeros: inf in the picture there is no NaN."""
    x, w, how = CASES[case] if case != "odd" else ((2, 3, 8, 15), (8, 3, 2, 3), {})  # 13 places in a row
    xs = [gs.symbol("x", x), gs.symbol("w", w)]
    y = gs.conv2d(*xs, **how)
    f = gs.compile(
        gs.sum(y * np.arange(1.0, 1.0 + np.prod(y.shape)).reshape(y.shape)), args=xs, wrt="w", name="taps",
        target="c", dtype="float32", simd="off", selftest=False, tuning=ACROSS if kernel == "correlate" else None,
    )  # fmt: skip
    at = [np.random.default_rng(3).normal(size=s).astype("float32") for s in (x, w)]
    at[0][0, 0, 0, 0], at[0][-1, -1, -1, -1], at[0][0, 0, 2, -1] = np.inf, -np.inf, np.inf
    assert f"gs_{kernel}f(" in f.source
    want = harness.torch_value_and_grad(f.graph, [a.astype(np.float64) for a in at])[2]
    assert np.isfinite(want).any()
    for number, build in enumerate(("-O2 -march=native", "-O1")):
        got = harness.Library({"f": f}, "gcc", tmp_path / str(number), build)["f"]("value_and_grad", at)[1]
        np.testing.assert_allclose(got, want, rtol=1e-4)


def test_channels_in_lanes_have_the_bits_of_rows_in_lanes() -> None:
    """Each result adds the same products in the same order, so a change of the rule changes no number."""
    shapes = ((2, 12, 9, 12), (30, 12, 3, 3))
    xs = [np.random.default_rng(11).normal(size=s) for s in shapes]
    found = []
    for taps, kernel in ((1, "gs_convolve_lanes("), (10**6, "gs_convolve(")):
        f = gs.compile(
            gs.conv2d, args=shapes, target="c", derivatives="value", selftest=False, tuning=gs.Tuning(lane_taps=taps)
        )
        assert f"    {kernel}" in f.source
        found.append(f(*xs).tobytes())
    assert found[0] == found[1]
