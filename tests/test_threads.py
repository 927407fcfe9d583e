"""Threads without batches: the same bits for any number of them, which loops share them, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradsmith as gs

#: Every loop and product goes to threads, however small; few rows and columns each, so that there are many shares.
EAGER = gs.Tuning(
    thread_elements=1, thread_products=1, thread_rows=6, thread_columns=16, matmul_least=1, matvec_least=1
)
SHAPES = ((70, 33), (33,), (70,), (70, 41))


def model(A: Any, x: Any, b: Any, B: Any) -> Any:
    """Products of all kinds (A x, d A, AᵀB, A C), element-wise loops of one and two axes, and sums of rows."""
    z = gs.tanh(A @ x - b)
    C = gs.exp(0.1 * A.T @ B)
    return gs.sum(gs.softplus(z) ** 2) + gs.sum(gs.sum(gs.sin(A @ C), axis=1) ** 2) + gs.sum(gs.max(C, axis=0))


def compiled(dtype: str = "float64", shapes: Any = SHAPES, **options: Any) -> Any:
    options = {"threads": "openmp", "tuning": EAGER, **options}
    return gs.compile(model, args=shapes, target="c", dtype=dtype, selftest=False, name="f", **options)


def arrays(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def programs() -> dict[str, Any]:
    """Kernels that read factors in place and such that pack them, sizes by name, and calls that run a second time."""
    packs = gs.Tuning(thread_elements=1, thread_products=1, pack_right=1, pack_left=1, block_rows=12, block_depth=16)

    def far(A: Any, x: Any, b: Any, B: Any) -> Any:
        return gs.sin(1e9 * A) * A  # beyond the range of the first kernel

    return {
        "direct": compiled().value_and_grad,
        "packed": compiled("float32", tuning=packs).value_and_grad,
        "named": compiled(shapes=(("m", 33), (33,), ("m",), ("m", "n")), tuning=packs).value_and_grad,
        "far": gs.compile(far, args=SHAPES, target="c", derivatives="value", threads="openmp", tuning=EAGER),
    }


def test_every_number_of_threads_gives_the_same_bits() -> None:
    openmp = pytest.importorskip("ctypes").CDLL("libgomp.so.1")
    for name, f in programs().items():
        given = arrays("float32" if name == "packed" else "float64")
        told = []
        for count in (1, 2, 3, 3, 3):
            openmp.omp_set_num_threads(count)
            found = f(*given)
            parts = [found] if isinstance(found, np.ndarray) else [found[0], *found[1]]
            told.append([np.asarray(part).tobytes() for part in parts])
        assert all(bits == told[0] for bits in told), name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_numbers_are_those_of_one_thread(dtype: str) -> None:
    one = gs.compile(model, args=SHAPES, target="c", selftest=False, strict=True)
    exact, found = one.value_and_grad(*arrays("float64")), compiled(dtype).value_and_grad(*arrays(dtype))
    for mine, theirs in zip((found[0], *found[1]), (exact[0], *exact[1]), strict=True):
        scale = np.max(np.abs(theirs))
        np.testing.assert_allclose(mine, theirs, atol=scale * (1e-12 if dtype == "float64" else 2e-4), rtol=0)


def test_small_loops_have_one_thread() -> None:
    source = compiled(tuning=gs.Tuning()).source
    assert "GS_PARALLEL(" not in source[source.rindex("\nvoid f") :]


def test_sizes_known_by_name_decide_when_they_are_known() -> None:
    source = gs.compile(lambda x: 2.0 * x, args=(("n",),), target="c", threads="openmp", name="f").source
    assert "if(parallel : n >= 32768)" in source


def test_without_threads_there_is_no_pragma() -> None:
    assert "omp parallel" not in compiled(threads=None).source


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threads": 4, "target": "c"}, gs.SpecError, 'choose "openmp"'),
        ({"threads": "openmp", "target": "numpy"}, gs.TargetError, 'target="c"'),
        ({"threads": "openmp", "target": "python"}, gs.TargetError, 'target="c"'),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        gs.compile(lambda x: x * x, args=((3,),), **options)
