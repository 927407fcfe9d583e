"""Partial sums: which loops have them, that sums are right with any number of them, and the order they are added in."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

WORDS = {"float64": "GS_PARTIAL", "float32": "GS_PARTIALF"}


def compiled(f: Any, *shapes: Any, **options: Any) -> gs.CompiledFunction:
    options = {"derivatives": "value", **options}
    return gs.compile(f, args=shapes, target="c", selftest=False, name="f", **options)


def loops_of(f: Any, *shapes: Any, **options: Any) -> int:
    return len(re.findall(r"j? \+= GS_PARTIALF?\)", compiled(f, *shapes, **options).source))


def rows(x: Any, t: Any) -> Any:
    """A sum of each row, of what a row writes, two sums in one loop, and one of all elements."""
    apart = x - gs.mean(x, axis=1)[:, None]
    over = 1.0 / gs.sqrt(gs.mean(apart**2, axis=1) + 1e-5)
    return gs.mean((gs.softmax(apart * over[:, None], axis=1) - t) ** 2) + gs.sum(x[0] * t[1]) * gs.sum(gs.exp(x[2]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [16, 24, 48, 64, 256])
def test_the_numbers_are_those_without(size: int, dtype: str) -> None:
    """Short and long rows, with strands and without, and rows that no vector fills."""
    rng = np.random.default_rng(size)
    point = [rng.normal(size=(5, size)).astype(dtype) for _ in range(2)]
    options: dict[str, Any] = {"dtype": dtype, "derivatives": "value_and_grad", "wrt": (0, 1)}
    with_, without = (
        compiled(rows, (5, size), (5, size), tuning=gs.Tuning(partial_bytes=least), **options)
        for least in (64, 1 << 30)
    )
    fills = size * np.dtype(dtype).itemsize % 64 == 0
    assert (WORDS[dtype] + "]" in with_.source) == fills
    assert WORDS[dtype] not in without.source
    value, slopes = with_.value_and_grad(*point)
    expected, others = without.value_and_grad(*point)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for one, other in zip((value, *slopes), (expected, *others), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("program", "shape", "options"),
    [
        (lambda x: gs.sum(x), (60,), {}),
        (lambda x: gs.sum(x), ("n",), {}),
        (lambda x: gs.max(x), (64,), {}),
        (lambda x: gs.sum(gs.where(x > 0.0, x, 1.0)), (64,), {}),
        (lambda x: gs.sum(gs.gamma(x)), (64,), {}),
        (lambda x: gs.sum(gs.sin(x)), (64,), {}),
        (lambda x: gs.sum(x), (64,), {"strict": True}),
        (lambda x: gs.sum(x), (1 << 16,), {"threads": "openmp"}),
        (lambda x: gs.sum(x), (64,), {"tuning": gs.Tuning(partial_bytes=513)}),
    ],
    ids=["no vectors", "size by name", "max", "choice", "no kernel", "far", "strict", "threads", "short"],
)
def test_others_have_none(program: Any, shape: Any, options: Any) -> None:
    assert not loops_of(program, shape, **options)


def test_loops_that_add_have_them() -> None:
    assert loops_of(lambda x: gs.sum(x), (64,)) == 1
    assert loops_of(lambda x: gs.sum(gs.exp(x) / 3.0, axis=1), (7, 24)) == 1
    assert loops_of(lambda x, y: gs.sum(x * y), (64,), (64,), tuning=gs.Tuning(partial_bytes=512)) == 1
    assert loops_of(lambda x, y: gs.sum(x[::-1] * y), (64,), (64,)) == 1


def test_every_number_of_partial_sums_is_right(tmp_path: Path) -> None:
    """One by default and where the compiler does not know vectors, 64 bytes of them by gcc; halves are added."""
    program = lambda x, y: (gs.sum(x * y), gs.sum(gs.exp(x) * y))
    compiled(program, (256,), (256,)).save(tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "f.c"\nint main(void) {\n    double x[256], y[256], a, b;\n'
        "    for (int i = 0; i < 256; ++i) {\n        x[i] = 0.01 * i;\n        y[i] = 1.0 / (1 + i);\n    }\n"
        '    f(x, y, &a, &b);\n    printf("%d %.17g %.17g\\n", GS_PARTIAL, a, b);\n    return 0;\n}\n'
    )
    x = 0.01 * np.arange(256)
    y = 1.0 / (1 + np.arange(256))
    counts = set()
    for options in ([], ["-DGS_OPENMP_SIMD", "-fopenmp-simd"], ["-O2", "-DGS_OPENMP_SIMD", "-fopenmp-simd"]):
        subprocess.run(["cc", "-std=c99", *options, "main.c", "-o", "main", "-lm"], cwd=tmp_path, check=True)
        told = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
        counts.add(int(told[0]))
        np.testing.assert_allclose([float(t) for t in told[1:]], [np.sum(x * y), np.sum(np.exp(x) * y)], rtol=1e-13)
    assert counts <= {1, 8}
    assert 1 in counts
