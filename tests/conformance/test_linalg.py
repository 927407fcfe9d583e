"""Linear algebra on every target: against torch to second order and to sizes beyond the records', and what is refused.

The records' own samples are in test_ops. Here: the public functions with their options, matrices that cannot be
factorized, determinants and eigenvalues where a rule divides by 0, scatter-add by run-time integers, interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.derive.adjoint import gradient

from . import harness
from .harness import TARGETS, Runners, distance

GENERATOR = np.random.default_rng(5)
A = GENERATOR.normal(size=(6, 6)) + 3.0 * np.eye(6)[::-1]
P = A @ A.T / 4.0 + np.eye(6)
B = GENERATOR.normal(size=(6, 2))
STACK = GENERATOR.normal(size=(2, 1, 4, 4)) + 2.0 * np.eye(4)
MANY = GENERATOR.normal(size=(3, 4, 2))
la = gs.linalg
pytestmark = pytest.mark.usefixtures("quick_builds")


def _root(x: Any) -> Any:
    """The square root of a symmetric matrix."""
    w, v = torch.linalg.eigh(x)
    return v @ torch.diag(w.sqrt()) @ v.mT


CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "cholesky_upper": (
        lambda x: la.cholesky(x, upper=True),
        lambda x: torch.linalg.cholesky((x + x.mT) / 2, upper=True),
        (P,),
    ),
    "triangular_vector": (
        lambda a, b: la.solve_triangular(a, b, trans="T", lower=True),
        lambda a, b: torch.linalg.solve_triangular(a.tril().mT, b[:, None], upper=True)[:, 0],
        (P, B[:, 0]),
    ),
    "triangular_stacks": (
        la.solve_triangular,
        lambda a, b: torch.linalg.solve_triangular(a.triu(), b, upper=True),
        (STACK, MANY),
    ),
    "solve_vector": (la.solve, torch.linalg.solve, (A, B[:, 1])),
    "solve_stacks": (la.solve, torch.linalg.solve, (STACK, MANY)),
    "inv_stacks": (la.inv, torch.linalg.inv, (STACK,)),
    "det": (la.det, torch.linalg.det, (A,)),
    "det_of_three": (la.det, torch.linalg.det, (A[1:4, 1:4],)),
    "slogdet": (lambda x: sum(la.slogdet(x)), lambda x: sum(torch.linalg.slogdet(x)), (STACK[:, 0],)),
    "eigvalsh": (la.eigvalsh, lambda x: torch.linalg.eigvalsh((x + x.mT) / 2), (P,)),
    "eigenvectors": (
        lambda x: la.eigh(x).eigenvectors ** 2,  # of any sign
        lambda x: torch.linalg.eigh((x + x.mT) / 2)[1] ** 2,
        (P[:4, :4] + np.diag([0.0, 3.0, 7.0, 12.0]),),
    ),
    "power": (lambda x: la.matrix_power(x, 5), lambda x: torch.linalg.matrix_power(x, 5), (P[:3, :3] / 4.0,)),
    "negative_power": (lambda x: la.matrix_power(x, -2), lambda x: torch.linalg.matrix_power(x, -2), (A,)),
    "spectral_norm": (lambda x: la.norm(x, 2), lambda x: torch.linalg.norm(x, 2), (A[:, :3],)),
    "spectral_norm_least": (lambda x: la.norm(x, -2), lambda x: torch.linalg.norm(x, -2), (A[:3],)),
    "nuclear_norm": (
        lambda x: la.norm(x, "nuc", axis=(0, 2)),
        lambda x: torch.linalg.matrix_norm(x.permute(1, 0, 2), "nuc"),
        (MANY[:, :2],),
    ),
    "svdvals": (la.svdvals, torch.linalg.svdvals, (B.T,)),
    "singular_vectors": (
        lambda x: gs.concat([p**2 for p in la.svd(x, full_matrices=False)[::2]], axis=0),  # of any sign
        lambda x: torch.cat([p**2 for p in torch.linalg.svd(x, full_matrices=False)[::2]]),
        (A[:4, :3],),
    ),
    "polar": (  # of the whole spaces alone; beside this, torch has NaN where two singular values are equal
        lambda x: la.svd(x, full_matrices=False).U @ la.svd(x, full_matrices=False).Vh,
        lambda x: x @ torch.linalg.inv(_root(x.mT @ x)),
        (A[:, :3],),
    ),
    "pinv": (la.pinv, lambda x: torch.linalg.inv(x.mT @ x) @ x.mT, (A[:, :3],)),
    "pinv_wide": (la.pinv, torch.linalg.pinv, (B.T,)),
    "norm_of_minus_3": (
        lambda x: la.norm(x, -3, axis=0),
        lambda x: torch.linalg.vector_norm(x, -3, dim=0),
        (P[:, :2],),
    ),
    "norm_of_3": (lambda x: la.norm(x, 3), lambda x: torch.linalg.norm(x, 3), (B[:, 0],)),
    "norm_of_half": (lambda x: la.norm(x, 0.5), lambda x: torch.linalg.norm(x, 0.5), (B[:, 0],)),
}


def to_second_order(name: str) -> tuple[list[gs.Expr], gs.Expr, gs.Expr, list[np.ndarray]]:
    """The arguments of a case, a scalar made of its result, one made of its slopes, and the weights of each."""
    ours, _, point = CASES[name]
    xs = [gs.symbol(f"x{i}", x.shape) for i, x in enumerate(point)]
    y = ours(*xs)
    first = harness.weights(y.shape)
    scalar = harness.contracted(y, first)
    slopes = gradient(scalar, xs)
    second = [harness.weights(g.shape, i + 1) for i, g in enumerate(slopes)]
    total = harness.contracted(slopes[0], second[0])
    for g, w in zip(slopes[1:], second[1:], strict=True):
        total = total + harness.contracted(g, w)
    return xs, scalar, total, [first, *second]


@pytest.fixture(scope="module", params=["float64", "float32"])
def runners(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Runners]:
    """All cases in one library, by each compiler."""
    programs = {}
    for number, name in enumerate(CASES):
        xs, scalar, total, _ = to_second_order(name)
        programs[f"first {name}"] = harness.joint(scalar, xs, f"first{number}", dtype=request.param)
        programs[f"second {name}"] = harness.joint(total, xs, f"second{number}", dtype=request.param)
    return request.param, Runners(programs, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", CASES)
def test_equals_torch_to_second_order(name: str, runners: tuple[str, Runners]) -> None:
    dtype, built = runners
    _, theirs, point = CASES[name]
    first, *second = to_second_order(name)[-1]
    tensors = [torch.tensor(x, requires_grad=True) for x in point]
    value = (torch.tensor(first) * theirs(*tensors)).sum()
    gradients = torch.autograd.grad(value, tensors, create_graph=True)
    weighted = sum((torch.tensor(w) * g).sum() for w, g in zip(second, gradients, strict=True))
    seconds = torch.autograd.grad(weighted, tensors)
    for key, wanted in (("first", [value, *gradients]), ("second", [weighted, *seconds])):
        for target, run in built.all(f"{key} {name}"):
            for got, want in zip(run("value_and_grad", point), wanted, strict=True):
                exact = want.detach().numpy()
                size = np.abs(exact).max(initial=1.0)
                assert distance(got, exact, size, dtype) < (2000 if dtype == "float64" else 500), (target, key)


HESSIANS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "logdet": (lambda x, v: la.slogdet(x).logabsdet, lambda x, v: torch.linalg.slogdet(x)[1]),
    "solve": (lambda x, v: v @ la.inv(x) @ v, lambda x, v: v @ torch.linalg.solve(x, v)),
    "svdvals": (lambda x, v: gs.sum(la.svdvals(x) ** 3), lambda x, v: (torch.linalg.svdvals(x) ** 3).sum()),
    "eigh": (
        lambda x, v: gs.sum((v @ la.eigh(x).eigenvectors) ** 4) + gs.sum(la.eigvalsh(x) ** 3),
        lambda x, v: (
            ((v @ torch.linalg.eigh((x + x.mT) / 2)[1]) ** 4).sum() + (torch.linalg.eigvalsh((x + x.mT) / 2) ** 3).sum()
        ),
    ),
}


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_hessians_are_torchs(target: str) -> None:
    """`derivatives="hessian"`: forward over reverse through the factorizations."""
    x, v = gs.symbol("x", (3, 3)), gs.symbol("v", (3,))
    at, v_at = A[3:, :3] + np.diag([0.0, 2.0, 4.0]), np.array([0.3, -1.0, 0.7])
    values = {name: ours(x, v) for name, (ours, _) in HESSIANS.items()}
    f = gs.compile(values, args=[x, v], wrt=x, target=target, derivatives="hessian", selftest=False)
    found = f.hessian(at, v_at)
    for name, (_, theirs) in HESSIANS.items():
        want = torch.func.hessian(theirs)(torch.tensor(at), torch.tensor(v_at)).numpy()
        assert distance(np.asarray(found[name]).reshape(want.shape), want, float(np.abs(want).max())) < 500, name


SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
FAILING: dict[str, tuple[Callable[[gs.Expr], Any], np.ndarray]] = {
    "solve": (lambda x: la.solve(x, np.ones(2)), SINGULAR),
    "inv": (la.inv, SINGULAR),
    "cholesky": (la.cholesky, -SINGULAR),
    "cholesky_nan": (lambda x: gs.sum(la.cholesky(x)), SINGULAR * np.nan),
    "triangular": (lambda x: la.solve_triangular(x, np.ones(2), lower=True), np.array([[1.0, 0.0], [1.0, 0.0]])),
    "eigh": (la.eigvalsh, SINGULAR * np.nan),
    "svd": (lambda x: gs.concat(la.svd(x)[::2]), np.array([[np.inf, 1.0], [2.0, 3.0]])),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_has_no_answer_is_nan(name: str, tmp_path: Path) -> None:
    """In every target, without an error, and without harm to the other matrices of a stack."""
    function, bad = FAILING[name]
    one, two = gs.symbol("x", (2, 2)), gs.symbol("x", (2, 2, 2))
    programs = {
        "alone": harness.compiled(function(one), [one], "alone", derivatives=("value",)),
        "stack": harness.compiled(function(two), [two], "stack", derivatives=("value",)) if name == "inv" else None,
    }
    runners = Runners({k: p for k, p in programs.items() if p}, tmp_path)
    for target, run in runners.all("alone"):
        assert np.isnan(run("value", [bad])[0]).all(), target
    for target, run in runners.all("stack") if name == "inv" else []:
        found = run("value", [np.stack([bad, np.eye(2)])])[0]
        assert np.isnan(found[0]).all(), target
        assert np.array_equal(found[1], np.eye(2)), target


def test_determinants_of_singular_matrices(tmp_path: Path) -> None:
    """The value is 0; up to three rows the gradient is the matrix of cofactors."""
    x, big = gs.symbol("x", (2, 2)), gs.symbol("x", (4, 4))
    programs = {
        "small": harness.compiled(la.det(x), [x], "small"),
        "big": harness.compiled(la.det(big), [big], "big"),
        "log": harness.compiled(la.slogdet(big).logabsdet, [big], "log"),
    }
    runners = Runners(programs, tmp_path)
    block = np.kron(np.eye(2), SINGULAR)
    for target, run in runners.all("small"):
        value, slope = run("value_and_grad", [SINGULAR])
        assert value == 0.0, target
        assert np.array_equal(slope, [[4.0, -2.0], [-2.0, 1.0]]), target
    for target, run in runners.all("big"):
        assert run("value", [block])[0] == 0.0, target
        assert np.isnan(run("grad", [block])[0]).all(), target
    for target, run in runners.all("log"):
        assert run("value", [block])[0] == -np.inf, target


def test_equal_eigenvalues(tmp_path: Path) -> None:
    """A function of the space that they span has its derivative: log det of a multiple of the identity."""
    x = gs.symbol("x", (3, 3))
    values = la.eigvalsh(x)
    runners = Runners({"f": harness.compiled(gs.sum(gs.log(values)), [x], "f")}, tmp_path)
    for target, run in runners.all("f"):
        assert distance(run("grad", [2.0 * np.eye(3)])[0], 0.5 * np.eye(3), 1.0) < 8, target


@pytest.mark.parametrize("target", TARGETS)
def test_eigh_of_larger_matrices(target: str) -> None:
    x = gs.symbol("x", (20, 20))
    f = gs.compile(la.eigh(x), args=[x], target=target, derivatives=("value",), selftest=False)
    half = GENERATOR.normal(size=(20, 20))
    for matrix in (half + half.T, half[:, :5] @ half[:, :5].T, np.diag(np.arange(20.0) % 4)):
        w, v = (np.array(part) for part in f(matrix.tolist()))
        assert distance(w, np.linalg.eigvalsh(matrix), np.abs(w).max()) < 60
        assert distance(v @ np.diag(w) @ v.T, matrix, np.abs(w).max()) < 200
        assert distance(v.T @ v, np.eye(20), 1.0) < 60


# --- singular values --------------------------------------------------------------------------------------------------

MATRICES = {
    "zero": np.zeros((3, 2)),
    "one": np.array([[-2.0]]),
    "rank 1": np.outer([1.0, 2.0, -2.0], [0.6, 0.8]),
    "wide, a row of zeros": np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]]),
    "all equal": 2.0 * np.eye(3)[::-1],
    "far apart": np.diag([1e50, 1.0, 1e-50]),
    "huge": 1e300 * A[:3, :2],
    "tiny": 1e-300 * A[:3, :2],
    "larger": GENERATOR.normal(size=(12, 9)),
}


def test_svd_of_special_matrices(tmp_path: Path) -> None:
    """U and V have orthonormal columns even where the matrix lacks rank, and U S V' is the matrix."""
    programs = {}
    for number, (name, x) in enumerate(MATRICES.items()):
        symbol = gs.symbol("x", x.shape)
        parts = la.svd(symbol, full_matrices=False)
        programs[name] = gs.compile(
            parts, args=[symbol], name=f"f{number}", target="c", derivatives="value", selftest=False
        )
    library = harness.Library(programs, harness.COMPILERS[0], tmp_path)
    for name, x in MATRICES.items():
        symbol = gs.symbol("x", x.shape)
        python = gs.compile(la.svd(symbol, full_matrices=False), args=[symbol], derivatives="value", selftest=False)
        for found in (library[name]("value", [x]), [np.array(part) for part in python(x.tolist())]):
            u, s, vt = found
            wanted = np.linalg.svd(x, compute_uv=False)
            k, largest = len(wanted), max(wanted[0], 1e-320)
            assert (np.diff(s) <= 0).all(), name
            assert np.abs(s / largest - wanted / largest).max() < 1e-15 * max(x.shape), name
            assert distance(u.T @ u, np.eye(k), 1.0) < 30, name
            assert distance(vt @ vt.T, np.eye(k), 1.0) < 30, name
            assert np.abs((u * (s / largest)) @ vt - x / largest).max() < 1e-14, name
            if name == "far apart":  # Jacobi's rotations find each to its last digits
                assert distance(s / wanted, np.ones(3), 1.0) < 4


def test_slopes_at_special_matrices(tmp_path: Path) -> None:
    """0 for a singular value of 0; equal largest ones share; the polar factor has its derivative where they are equal."""
    x, weights = gs.symbol("x", (3, 3)), harness.weights((3, 3))
    u, _, vt = la.svd(x)
    programs = {
        "nuc": harness.compiled(la.norm(x, "nuc"), [x], "nuc"),
        "two": harness.compiled(la.norm(x, 2), [x], "two"),
        "polar": harness.compiled(gs.sum((u @ vt) * weights), [x], "polar"),
        "pinv": harness.compiled(gs.sum(la.pinv(x) * weights), [x], "pinv"),
    }
    flat = np.outer([1.0, 0.0, 0.0], [0.0, 2.0, 0.0])
    skew = weights - weights.T  # of the polar factor of a*I, the slope is that of its skew part, by 2a
    runners = Runners(programs, tmp_path)
    for name, point, want in [
        ("nuc", np.zeros((3, 3)), np.zeros((3, 3))),
        ("two", np.zeros((3, 3)), np.zeros((3, 3))),
        ("nuc", flat, flat / 2.0),
        ("two", 2.0 * np.eye(3), np.eye(3) / 3.0),
        ("polar", 2.0 * np.eye(3), skew / 4.0),
        ("pinv", 2.0 * np.eye(3), -weights / 4.0),
    ]:
        for target, run in runners.all(name):
            assert distance(run("grad", [point])[0], want, 1.0) < 16, (name, target)


@pytest.mark.parametrize("target", TARGETS)
def test_ranks(target: str) -> None:
    x = gs.symbol("x", (4, 3))
    f = gs.compile([la.matrix_rank(x), la.matrix_rank(x, rtol=0.5)], args=[x], target=target, derivatives="value")
    for matrix, wanted in ((A[:4, :3], 3), (np.outer(A[:4, 0], A[0, :3]), 1), (np.zeros((4, 3)), 0)):
        assert f(matrix.tolist())[0] == wanted
    assert f(np.diag([4.0, 3.0, 1.0, 1.0])[:, :3].tolist()) == [3, 2]


def test_strict_code_is_equal_at_size(tmp_path: Path) -> None:
    x, b = gs.symbol("x", (6, 6)), gs.symbol("b", 6)
    value = gs.sum(la.solve(x, b)) + la.slogdet(x).logabsdet + gs.sum(la.eigh(x @ x.T).eigenvectors[0] ** 3)
    value = value + gs.sum(la.svd(x).Vh[0] ** 3)
    program = harness.compiled(value, [x, b], "f", strict=True)
    (_, python), *others = Runners({"f": program}, tmp_path, level="-O2").all("f")
    wanted = python("value_and_grad", [A, B[:, 0]])
    for target, run in others:
        assert all(np.array_equal(a, b) for a, b in zip(run("value_and_grad", [A, B[:, 0]]), wanted, strict=True)), (
            target
        )


def test_value_and_gradient_factorize_once() -> None:
    x, b = gs.symbol("x", (6, 6)), gs.symbol("b", 6)
    f = gs.compile(gs.sum(la.solve(x, b)) + la.slogdet(x).logabsdet, target="c", selftest=False)
    body = f.source.split("_value_and_grad(")[-1]
    assert body.count("gs_lu(") == 1
    assert body.count("gs_lu_solve(") == 3


# --- scatter-add, interpolation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["rows", "pairs", "columns", "flipped", "ufunc"])
def test_scatter_add(case: str, tmp_path: Path) -> None:
    """As `np.add.at`: every one of equal indices counts; negative ones count from the end."""
    i, j = gs.symbol("i", 5, gs.int64), gs.symbol("j", 5, gs.int64)
    x, v = gs.symbol("x", (4, 3)), gs.symbol("v", (5, 3))
    rows, columns = np.array([0, 2, 2, -1, 0]), np.array([1, 2, 2, 0, 0])
    keys: dict[str, tuple[Any, Any, Any]] = {
        "rows": (i, rows, (...,)),
        "pairs": ((i, j), (rows, columns), (..., 0)),
        "columns": ((i, slice(1, None)), (rows, slice(1, None)), (..., slice(1, None))),
        "flipped": ((i, slice(None, None, -1)), (rows, slice(None, None, -1)), (...,)),
        "ufunc": (i, rows, (...,)),
    }
    traced, plain, part = keys[case]

    def added() -> gs.Expr:
        if case != "ufunc":
            return x.at[traced].add(v[part])
        y = x.copy()
        np.add.at(y, traced, v)
        return y

    program = harness.compiled(gs.sum(added() ** 2), [x, v, i, j], "f")
    start, more = GENERATOR.normal(size=(4, 3)), GENERATOR.normal(size=(5, 3))
    wanted = start.copy()
    np.add.at(wanted, plain, more[part])
    d_more = np.zeros((5, 3))
    d_more[part] = 2.0 * wanted[plain]
    for target, run in Runners({"f": program}, tmp_path).all("f"):
        value, d_x, d_v, *_ = run("value_and_grad", [start, more, rows, columns])
        assert distance(value, np.sum(wanted**2), 1.0) < 8, target
        assert distance(d_x, 2.0 * wanted, 1.0) < 8, target
        assert distance(d_v, d_more, 1.0) < 8, target


@pytest.mark.parametrize("ends", [{}, {"left": -1.0, "right": 9.0}])
def test_interp_is_numpys(ends: dict[str, float], tmp_path: Path) -> None:
    x = gs.symbol("x", 8)
    table = np.array([0.0, 1.0, 2.5, 3.0]), np.array([1.0, 4.0, 2.0, 7.0])
    point = np.array([-2.0, 0.0, 0.5, 1.0, 2.9, 3.0, 8.0, np.nan])
    program = harness.compiled(gs.interp(x, *table, **ends), [x], "f", derivatives=("value",))
    for target, run in Runners({"f": program}, tmp_path).all("f"):
        assert distance(run("value", [point])[0], np.interp(point, *table, **ends), 1.0) < 4, target


def test_order_has_no_slope() -> None:
    """Indices are piecewise constant: nothing flows through argsort, argmax and searchsorted, which is a documented 0."""
    x = gs.symbol("x", 3)
    order = gs.sum(gs.argsort(x) * np.arange(3)) + gs.argmax(x) + gs.sum(gs.searchsorted([0.0, 1.0], x))
    assert gs.compile(gs.astype(order, "float64") * 2.0, args=[x]).grad([0.3, -1.0, 2.0]) == [0.0, 0.0, 0.0]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, i: la.inv(x), gs.ShapeError, "inv: takes square matrices"),
        (lambda x, i: la.solve(x, x), gs.ShapeError, "solve x.T @ x"),
        (lambda x, i: la.solve(x.T @ x, np.ones(3)), gs.ShapeError, "as many rows"),
        (lambda x, i: la.cholesky(i), gs.DTypeError, "astype"),
        (lambda x, i: la.solve_triangular(x.T @ x, np.ones(2), trans="H"), gs.ShapeError, "choose 0 or 1"),
        (lambda x, i: la.eigh(x.T @ x, UPLO="X"), gs.ShapeError, "choose 'L' or 'U'"),
        (lambda x, i: la.matrix_power(x.T @ x, 0.5), gs.ShapeError, "no int known while tracing"),
        (lambda x, i: la.norm(x, 3), gs.ShapeError, 'choose "fro", "nuc"'),
        (lambda x, i: la.norm(x[0], "nuc"), gs.ShapeError, "say which, axis="),
        (lambda x, i: la.svd(x), gs.ShapeError, "give full_matrices=False"),
        (lambda x, i: la.svdvals(x[0]), gs.ShapeError, "takes matrices in the last two axes"),
        (lambda x, i: la.pinv(i), gs.DTypeError, "astype"),
        (lambda x, i: la.pinv(x, rtol=x[0, 0]), gs.ShapeError, "known while tracing"),
        (lambda x, i: gs.interp(x, [0.0, 1.0], [1.0]), gs.ShapeError, "one length"),
        (lambda x, i: x.at[i[0]].set(1.0), gs.TraceError, r"x\.at\[i\]\.add"),
    ],
)
def test_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(gs.symbol("x", (3, 2)), gs.symbol("i", (2, 2), gs.int64))
