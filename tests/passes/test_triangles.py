"""Products by triangular matrices leave out what is 0 by construction, and nothing else: 0 times inf stays NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.graph import Graph
from gradsmith.passes.contractions import by_kernels
from gradsmith.passes.regions import with_bodies
from gradsmith.passes.rewrite import rewritten
from gradsmith.passes.simplify import simplify
from gradsmith.passes.triangles import halved
from gradsmith.regions import with_inner
from gradsmith.target import load_target
from gradsmith.verify import verify

C = load_target("c")
D = 40
W, s, X = gs.symbol("W", (D, D)), gs.symbol("s", (D,)), gs.symbol("X", (D, 50))
BELOW = [i * D + j for i in range(D) for j in range(i)]
MASK = np.tri(D)


def put(places: list[int], values: gs.Expr) -> gs.Expr:
    return gs.reshape(gs.zeros((D * D,)).at[places].set(values), (D, D))


def halves(graph: Graph) -> list[str]:
    return [n.params.get("half", "") for n in with_inner(graph) if n.op.startswith("gemm")]


def prepared(*outputs: gs.Expr) -> Graph:
    graph = simplify(to_graph([W, s, X], [*outputs]))
    graph = with_bodies(graph, lambda part: rewritten(part, *by_kernels(C)))
    return verify(halved(graph, C))


FACTORS: dict[str, tuple[Callable[[], Any], str]] = {
    "tril": (lambda: gs.tril(W), "lower"),
    "triu": (lambda: gs.triu(W), "upper"),
    "without a diagonal": (lambda: gs.tril(W, -1), "lower"),
    "of a unit diagonal": (lambda: gs.triu(W, 1) + gs.eye(D), "upper"),
    "with a diagonal more": (lambda: gs.tril(W, 1), ""),
    "a choice": (lambda: gs.where(MASK.T != 0, gs.exp(W), 0.0), "upper"),
    "the other choice": (lambda: gs.where(MASK != 0, 0.0, W), "upper"),
    "parts of a vector": (lambda: put(BELOW, gs.reshape(W, (-1,))[: len(BELOW)]), "lower"),
    "a part beside it": (lambda: put([*BELOW, 1], gs.reshape(W, (-1,))[: len(BELOW) + 1]), ""),
    "negative": (lambda: -gs.tril(W), "lower"),
    "a difference": (lambda: gs.tril(W) - gs.tril(gs.exp(W)), "lower"),
    "a sum with all": (lambda: gs.tril(W) + W, ""),
    "both triangles": (lambda: gs.tril(W) + gs.triu(W), ""),
    "rows times numbers": (lambda: gs.expand_dims(s, 1) * gs.tril(W), "lower"),
    "a constant times": (lambda: 2.0 * gs.tril(W), "lower"),
    "a scaled unit": (lambda: gs.tril(W, -1) + gs.expand_dims(gs.exp(s), 1) * gs.eye(D), "lower"),
    "a unit of scaled columns": (lambda: gs.triu(W, 1) + s * gs.eye(D), "upper"),
    "a scaled unit that is covered": (lambda: gs.tril(gs.tril(W) + s * gs.eye(D), -1), "lower"),
    "NaN beside a triangle that has none": (lambda: gs.where(MASK != 0, W, s * np.eye(D)), ""),
    "a factor": (lambda: gs.linalg.cholesky(W @ W.T), "lower"),
    "a factor turned": (lambda: gs.linalg.cholesky(W @ W.T, upper=True), "upper"),
    "a factor and more": (lambda: gs.linalg.cholesky(W @ W.T) + gs.expand_dims(s, 1) * gs.eye(D), ""),  # two may be NaN
    "a mask": (lambda: W * MASK, ""),  # inf above the diagonal is NaN
    "a whole matrix": (lambda: W, ""),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_are_triangular_by_construction(name: str) -> None:
    make, want = FACTORS[name]
    L = make()
    other = {"lower": "upper", "upper": "lower", "": ""}[want]
    found = halves(prepared(L @ X, L.T @ X, X.T @ L, X.T @ L.T))
    sides = ("left", "left", "right", "right")
    expected = [f"{side} {t}" if t else "" for side, t in zip(sides, (want, other, want, other), strict=True)]
    assert [each for each in found if each] == [each for each in expected if each]
    assert len(found) - len(expected) == ("factor" in name)  # W @ W.T itself


def test_constants_of_a_loop_are_known_in_it() -> None:
    L = gs.tril(W)
    y, _ = gs.scan(lambda x, _: (gs.tanh(L @ x), None), X, None, length=3)
    assert halves(prepared(y)) == ["left lower"]


def test_stacks_and_a_matrix_for_all_of_a_stack() -> None:
    V, Y = gs.symbol("V", (3, D, D)), gs.symbol("Y", (3, D, 50))
    t = gs.symbol("t", (3, D))
    scaled = gs.triu(V, 1) + gs.expand_dims(t, 2) * gs.eye(D)
    mixed = gs.triu(V, 1) + gs.expand_dims(t[::-1], 2) * gs.triu(np.ones((D, D)), 1) + gs.expand_dims(t, 2) * gs.eye(D)
    other = gs.where(MASK != 0, gs.expand_dims(t[::-1], 2) * gs.tril(V), gs.expand_dims(t, 2) * gs.eye(D))
    wants = {"left lower": [gs.tril(V), gs.tril(W)], "left upper": [scaled], "": [mixed, other]}
    for factor, want in ((factor, want) for want, factors in wants.items() for factor in factors):
        graph = simplify(to_graph([W, V, Y, t], [factor @ Y]))
        assert halves(halved(rewritten(graph, *by_kernels(C)), C)) == [want]


@pytest.mark.parametrize(("rows", "columns"), [(40, 30), (30, 40)])
def test_a_row_that_meets_all_numbers_has_to_be_in_the_triangle(rows: int, columns: int) -> None:
    """The last rows of a lower triangle, but not those of one with more columns; likewise columns on the right."""
    V = gs.symbol("V", (rows, columns))
    Y, Z = gs.symbol("Y", (columns, 50)), gs.symbol("Z", (50, rows))
    graph = simplify(to_graph([V, Y, Z], [gs.tril(V) @ Y, gs.triu(V) @ Y, Z @ gs.tril(V), Z @ gs.triu(V)]))
    tall = rows > columns
    want = ["left lower" if tall else "", "left upper", "right lower", "" if tall else "right upper"]
    assert halves(halved(rewritten(graph, *by_kernels(C)), C)) == want


def test_small_products_and_strict_code_stay() -> None:
    small, few = gs.symbol("small", (8, 8)), gs.symbol("few", (D, 8))
    graph = simplify(to_graph([small, W, few], [gs.tril(small) @ gs.ones((8, 50)), gs.tril(W) @ few]))
    assert halves(halved(rewritten(graph, *by_kernels(C)), C)) == ["", ""]
    strict = gs.compile(gs.tril(W) @ X, target="c", strict=True, derivatives="value", selftest=False)
    assert "gs_gemm" not in strict.source


#: Kernels that read factors where they are, and that pack them in several blocks; in vectors of this machine or none.
WAYS: dict[str, dict[str, Any]] = {
    "direct": {"tuning": gs.Tuning(matmul_least=1)},
    "packed": {"tuning": gs.Tuning(matmul_least=1, pack_right=1, pack_left=1, block_depth=9, block_rows=13)},
    "in blocks of columns": {"tuning": gs.Tuning(matmul_least=1, pack_right=1, block_columns=20, block_depth=20)},
    "direct, in threads": {"tuning": gs.Tuning(matmul_least=1, thread_products=1, thread_rows=12), "threads": "openmp"},
}


def products(V: Any, X: Any, Y: Any) -> list[Any]:
    """Of a stack of matrices, by each triangle on each side, transposed or not."""
    lower, upper = gs.tril(V), gs.triu(V, 1) + gs.eye(V.shape[-1])
    turned = gs.matrix_transpose
    left = [lower @ X, upper @ X, turned(lower) @ X, turned(upper) @ X, lower @ turned(Y)]
    return [*left, Y @ lower, Y @ upper, Y @ turned(lower), Y @ turned(upper), lower[0] @ X, Y @ upper[1]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_are_numpys(way: str, dtype: str) -> None:
    """Sizes up to 70; inf and NaN reach what they would by products with zeros, and nothing else."""
    rng = np.random.default_rng(0)
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for d, n in ((9, 17), (35, 16), (70, 61)):
        shapes = [(2, d, d), (2, d, n), (2, n, d)]
        f, want = (
            gs.compile(products, args=shapes, target=t, dtype=dtype, derivatives="value", selftest=False, **more)
            for t, more in (("c", WAYS[way]), ("numpy", {}))
        )
        assert f.source.count("_half") > 4
        for trial in range(12):
            point = [rng.normal(size=shape).astype(dtype) for shape in shapes]
            if trial:
                bad = point[trial % 3].reshape(-1)
                bad[rng.integers(bad.size)] = (np.inf, -np.inf, np.nan)[trial % 4 % 3]
            with np.errstate(all="ignore"):
                for got, expected in zip(f(*point), want(*point), strict=True):
                    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e200], ids=str)
def test_wherever_a_number_is_not_finite_the_zeros_are_multiplied_too(bad: float) -> None:
    """At each place of each operand; and sums that overflow are what they are."""
    d, n = 9, 16

    def both(V: Any, t: Any, X: Any) -> Any:
        return (gs.tril(V, -1) + gs.expand_dims(t, 1) * gs.eye(d)) @ X, X.T @ (gs.triu(V, 1) + t * gs.eye(d))

    shapes = [(d, d), (d,), (d, n)]
    tuning = gs.Tuning(matmul_least=1, tile_vectors=1)
    f = gs.compile(both, args=shapes, target="c", derivatives="value", selftest=False, tuning=tuning)
    assert f.source.count("    gs_gemm_direct_half(") == 2
    rng = np.random.default_rng(0)
    plain = [rng.normal(size=shape) for shape in shapes]
    with np.errstate(all="ignore"):
        for k, operand in enumerate(plain):
            for place in range(operand.size):
                point = [x.copy() for x in plain]
                point[k].reshape(-1)[place] = bad
                if bad == 1e200:  # squares of it overflow
                    point[2 - k % 2].reshape(-1)[place % plain[2 - k % 2].size] = 1e200
                V, t, X = point
                lower, upper = (np.where(np.tri(d, k=-1) > 0, V, 0) + t[:, None] * np.eye(d)), None
                upper = np.where(np.tri(d, k=-1).T > 0, V, 0) + t * np.eye(d)
                for got, want in zip(
                    f(*point), (np.einsum("ij,jk", lower, X), np.einsum("ji,jk", X, upper)), strict=True
                ):
                    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
                    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_a_factor_that_does_not_exist_is_nan() -> None:
    """NaN beside the diagonal, too, reaches all results."""
    f = gs.compile(
        lambda S, X: gs.linalg.cholesky(S) @ X, args=[(2, 9, 9), (2, 9, 16)], target="c", derivatives="value",
        tuning=gs.Tuning(matmul_least=1), selftest=False,
    )  # fmt: skip
    assert "gs_gemm_direct_half(" in f.source
    S, X = np.stack([np.eye(9) + 0.1, -np.eye(9)]), np.ones((2, 9, 16))
    np.testing.assert_allclose(f(S, X)[0], np.linalg.cholesky(S[0]) @ X[0], rtol=1e-12)
    assert np.isnan(f(S, X)[1]).all()
