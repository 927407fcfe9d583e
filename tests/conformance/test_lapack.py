"""C code that calls LAPACK: its values and gradients are torch's, and NaN says what it says in our own kernels."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.ops.lapack import LAPACK
from gradsmith.verification.differences import widened

from . import harness
from .harness import distance

la = gs.linalg
SIZES = (1, 2, 3, 5, 8, 13, 17, 24, 33, 40)


@cache
def linkable() -> bool:
    """Whether there is a LAPACK to link with."""
    if not shutil.which("gcc"):
        return False
    text = b"void dgetrf_(void); int main(void) { dgetrf_(); return 0; }"
    command = ["gcc", "-x", "c", "-", "-o", "/dev/null", "-llapack", "-lblas"]
    return subprocess.run(command, input=text, capture_output=True, check=False).returncode == 0


needs_lapack = pytest.mark.skipif(not linkable(), reason="no LAPACK to link with: install liblapack-dev")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """LAPACK for matrices of all sizes."""
    for name, row in list(LAPACK.items()):
        monkeypatch.setitem(LAPACK, name, replace(row, least=1))  # type: ignore[arg-type]


def programs(n: int) -> dict[str, tuple[gs.Expr, list[gs.Expr]]]:
    a, b, t = gs.symbol("a", (n, n)), gs.symbol("b", (n, 3)), gs.symbol("t", (n + 2, n))
    stack = gs.stack([a, a.T + gs.eye(n)])
    u, s, vt = la.svd(t, full_matrices=False)
    w, v = la.eigh(a)
    return {
        "solve": (gs.sum(la.solve(a, b) ** 2) + gs.sum(la.solve(a.T, b[:, 0]) ** 3), [a, b]),
        "stacks": (gs.sum(la.inv(stack) ** 2), [a]),
        "det": (la.slogdet(a).logabsdet * la.slogdet(a[::-1]).sign, [a]),
        "cholesky": (gs.sum(la.cholesky(a @ a.T + gs.eye(n)) ** 3), [a]),
        "triangular": (
            gs.sum(la.solve_triangular(a, b, lower=True) ** 2)
            + gs.sum(la.solve_triangular(a, b, trans=1) ** 2)
            + gs.sum(la.solve_triangular(0.1 * a, b, trans=1, lower=True, unit_diagonal=True) ** 2),
            [a, b],
        ),
        "eigh": (gs.sum(w**3) + gs.sum(v[:, 0] ** 3), [a]),
        "svd": (gs.sum(s**3) + gs.sum(u[:, 0] ** 3) + gs.sum(vt[0] ** 3), [t]),
    }


def point(xs: list[gs.Expr], n: int) -> list[np.ndarray]:
    """Matrices whose eigenvalues and singular values lie apart."""
    generator = np.random.default_rng(n)
    spread = np.diag(np.arange(1.0, n + 1.0))
    made = {"a": spread + 0.2 * generator.normal(size=(n, n)), "b": generator.normal(size=(n, 3))}
    made["t"] = np.vstack([spread, np.zeros((2, n))]) + 0.2 * generator.normal(size=(n + 2, n))
    return [made[str(x.name)] for x in xs]


@needs_lapack
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_and_gradients_are_torchs(dtype: str, always: None, tmp_path: Path) -> None:
    sizes = SIZES if dtype == "float64" else (2, 17)
    every = {
        f"{name}_{n}": gs.compile(
            value, args=xs, name=f"{name}_{n}", target="c", dtype=dtype, lapack=True, selftest=False
        )
        for n in sizes
        for name, (value, xs) in programs(n).items()
    }
    library = harness.Library(every, "gcc", tmp_path, "-O0")
    for n in sizes:
        for name, (_, xs) in programs(n).items():
            f, at = every[f"{name}_{n}"], point(xs, n)
            called = f.source.split(f"{f.name}_value_and_grad(")[-1]
            assert "gs_lapack_" in called, name
            wanted = harness.torch_value_and_grad(widened(f.graph), at)
            for got, want in zip(library[f"{name}_{n}"]("value_and_grad", at), wanted, strict=True):
                size = max(1.0, float(np.abs(want).max()))
                assert distance(got, want, size, dtype) < (3000 if dtype == "float64" else 500), (name, n)


@needs_lapack
def test_what_has_no_answer_is_nan(always: None, tmp_path: Path) -> None:
    """As with our own kernels, and without harm to the other matrices of a stack."""
    x, singular = gs.symbol("x", (2, 2, 2)), np.array([[1.0, 2.0], [2.0, 4.0]])
    cases: dict[str, tuple[Any, np.ndarray]] = {
        "solve": (la.solve(x, np.ones((2, 2))), singular),
        "inv": (la.inv(x), singular),
        "triangular": (la.solve_triangular(x, np.ones((2, 2)), lower=True), np.array([[1.0, 0.0], [1.0, 0.0]])),
        "cholesky": (la.cholesky(x), -singular),
        "cholesky_nan": (la.cholesky(x), singular * np.nan),
        "eigh": (la.eigh(x).eigenvectors, singular * np.nan),
        "svd": (la.svd(x).U, np.array([[np.inf, 1.0], [2.0, 3.0]])),
    }
    every = {
        name: gs.compile(value, args=[x], name=name, target="c", derivatives="value", lapack=True, selftest=False)
        for name, (value, _) in cases.items()
    }
    library = harness.Library(every, "gcc", tmp_path, "-O0")
    for name, (_, bad) in cases.items():
        (found,) = library[name]("value", [np.stack([bad, np.eye(2)])])
        assert np.isnan(found[0]).all(), name
        assert np.isfinite(found[1]).all(), name


@needs_lapack
def test_called_from_python() -> None:
    """The extension module is linked with what the first lines of the file say; small matrices stay with our kernels."""
    a = gs.symbol("a", (40, 40))
    f = gs.compile(la.slogdet(a).logabsdet, target="c", lapack=True)
    matrix = np.eye(40) + 0.1 * np.random.default_rng(1).normal(size=(40, 40))
    assert f.value_and_grad(matrix)[0] == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-13)
    assert "Link with -llapack -lblas -lm." in f.source
    assert gs.compile(la.det(gs.symbol("a", (4, 4))), target="c", lapack=True).libraries == ()


def test_who_cannot_have_it() -> None:
    a = gs.symbol("a", (20, 20))
    with pytest.raises(gs.TargetError, match=r"its code calls numpy\.linalg"):
        gs.compile(la.det(a), target="numpy", lapack=True)
    with pytest.raises(gs.TargetError, match='use target="c"'):
        gs.compile(la.det(a), lapack=True)
    with pytest.raises(gs.SpecError, match="leave out one of them"):
        gs.compile(la.det(a), target="c", lapack=True, strict=True)
