"""Sparse Jacobians and Hessians: the pattern is exact, the numbers are those of the dense ones, and the cost is linear."""

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.derive import jacobian
from gradsmith.derive.jacobian import pattern
from gradsmith.trace import Expr, as_expr

TARGETS = ("python", "numpy", "c")
N = 7
AT = np.linspace(-1.0, 1.2, N)
SYSTEMS = np.arange(12.0).reshape(3, 2, 2) ** 2 + 1.0
DIFFERENCES = np.eye(N - 1, N) - np.eye(N - 1, N, k=1)


def chain(x: Any) -> Any:
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def arrow(x: Any) -> Any:
    """A matrix with a full first row and a diagonal."""
    return gs.concatenate([gs.sum(x * x)[None], gs.sin(x[1:])])


def dense_pattern(y: Expr, x: Expr) -> np.ndarray:
    found = np.zeros((y.size, x.size), dtype=bool)
    for r, columns in enumerate(pattern([y], [x])):
        found[r, columns] = True
    return found


#: name -> a function of a vector, whose pattern is compared with the nonzeros at generic points
SHAPES = {
    "element by element": lambda x: gs.exp(x) * x,
    "neighbours": lambda x: x[1:] * x[:-1],
    "every second": lambda x: gs.sin(x[::2]),
    "gathered": lambda x: x[[3, 0, 3]] ** 2,
    "rows": lambda x: gs.sum(gs.reshape(x[:6], (2, 3)) ** 2, axis=1),
    "columns": lambda x: gs.max(gs.reshape(x[:6], (2, 3)), axis=0),
    "transposed": lambda x: gs.ravel(gs.reshape(x[:6], (2, 3)).T) ** 2,
    "running sums": lambda x: gs.cumulative_sum(x * x),
    "joined": lambda x: gs.concatenate([x[2:4] ** 2, gs.stack([x[0] * x[1], x[6]])]),
    "a constant matrix": lambda x: DIFFERENCES @ (x * x),
    "a product": lambda x: gs.ravel(gs.reshape(x[:4], (2, 2)) @ gs.reshape(x[2:6], (2, 2))),
    "a choice": lambda x: gs.where(x > 0.0, x * x, gs.exp(x)),
    "steps": lambda x: gs.floor(x) + x[0],
    "softmax": lambda x: gs.softmax(gs.reshape(x[:6], (2, 3)), axis=1),
    "norm": lambda x: gs.linalg.vector_norm(gs.reshape(x[:6], (3, 2)), axis=1),
    "a system": lambda x: gs.linalg.solve(gs.reshape(x[:4], (2, 2)), x[4:6]),
    "systems": lambda x: gs.ravel(gs.linalg.solve(SYSTEMS, gs.reshape(x[:6], (3, 2, 1)))),
    "updated": lambda x: x.at[2].set(x[0] * x[1]),
    "a loop": lambda x: gs.scan(lambda h, u: (h * u, h + gs.sin(u)), x[0], x[1:])[1],
    "a loop backwards": lambda x: gs.scan(lambda h, u: (h * u, h), x[0], x[1:], reverse=True)[1],
    "a loop of few links": lambda x: gs.scan(lambda h, u: (u, gs.stack([h * u, u])), x[0], x[1:])[1].reshape(-1),
    "a long loop": lambda x: gs.fori_loop(0, 2000, lambda i, h: gs.concatenate([h[:1], 0.999 * h[1:] + h[:1]]), x[:3]),
    "a loop with an end": lambda x: gs.while_loop(lambda h: h[0] < 4.0, lambda h: h + gs.exp(x[1:4]), x[:3], bound=9),
    "a branch": lambda x: gs.cond(x[6] > 0.0, lambda: x[:2] * x[2], lambda: x[:2] * 3.0),
    "one by one": lambda x: gs.map(lambda u: gs.sin(u) * u, x),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_pattern_is_where_the_jacobian_is_not_zero(name: str) -> None:
    x = gs.symbol("x", (N,))
    y = as_expr(SHAPES[name](x))
    seen = np.zeros((y.size, N), dtype=bool)
    f = gs.compile(gs.jacrev(y, x), args=(x,), target="numpy", selftest=False)
    for seed in range(8):
        seen |= f(np.random.default_rng(seed).normal(size=N)).reshape(y.size, N) != 0.0
    found = dense_pattern(y, x)
    assert not np.any(seen & ~found), "a nonzero is missing"
    if name != "columns":  # which element is the largest changes from point to point
        np.testing.assert_array_equal(found, seen)


@pytest.mark.parametrize("format", ["csr", "csc", "coo"])
@pytest.mark.parametrize("target", TARGETS)
def test_sparse_equals_dense(target: str, format: str) -> None:
    x = gs.symbol("x", (N,))
    f = gs.compile(chain(x), derivatives=("jacobian", "hessian"), sparse=format, target=target, selftest=False)
    g = gs.compile(chain(x), derivatives=("jacobian", "hessian"), target="numpy", selftest=False)
    hessian = f.hessian(AT)
    assert hessian.format == format
    assert hessian.nnz == 3 * N - 2
    np.testing.assert_allclose(hessian.toarray(), g.hessian(AT), rtol=1e-13)
    np.testing.assert_allclose(f.jacobian(AT).toarray()[0], g.jacobian(AT), rtol=1e-13)
    arrowed = gs.compile(arrow(x), derivatives="jacobian", sparse=format, target=target, selftest=False).jacobian(AT)
    assert arrowed.nnz == 2 * N - 1
    want = gs.compile(gs.jacfwd(arrow(x), x), target="numpy", selftest=False)(AT)
    np.testing.assert_allclose(arrowed.toarray(), want, rtol=1e-13)


@pytest.mark.parametrize("triangle", ["lower", "upper"])
@pytest.mark.parametrize("target", TARGETS)
def test_one_triangle(target: str, triangle: str) -> None:
    x = gs.symbol("x", (N,))
    f = gs.compile(chain(x), derivatives="hessian", sparse="csr", triangle=triangle, target=target, selftest=False)
    whole = gs.compile(chain(x), derivatives="hessian", target="numpy", selftest=False).hessian(AT)
    np.testing.assert_allclose(f.hessian(AT).toarray(), getattr(np, "tril" if triangle == "lower" else "triu")(whole))
    assert f.hessian(AT).nnz == 2 * N - 1


@pytest.mark.parametrize("triangle", ["lower", "upper"])
def test_one_triangle_of_several_arrays_is_that_of_the_whole_matrix(triangle: str) -> None:
    def energy(p: Any) -> Any:
        return gs.sum(p["a"] ** 3) * gs.sum(p["b"][1:] * p["b"][:-1]) + p["c"] ** 2 * p["a"][0]

    p = {"a": np.array([0.3, 1.2]), "b": np.array([0.7, -0.4, 1.1]), "c": np.array(0.9)}
    options = {"args": (p,), "derivatives": "hessian", "target": "numpy", "selftest": False}
    blocks = gs.compile(energy, sparse="csr", triangle=triangle, **options).hessian(p)
    got = np.block([[blocks[i][j].toarray() for j in p] for i in p])
    whole = gs.compile(energy, **options).hessian(p)
    want = np.block([[np.reshape(whole[i][j], (p[i].size, p[j].size)) for j in p] for i in p])
    np.testing.assert_allclose(got, (np.tril if triangle == "lower" else np.triu)(want), rtol=1e-13)
    assert blocks["a"]["b"].nnz == (0 if triangle == "lower" else 6)


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (lambda x: gs.cond(x[0] > 1.0, lambda e: 2.0 * e, lambda e: e, x[1]), [[1]]),
        (lambda x: gs.scan(lambda c, u: (u, c), x[0], x)[0], [[3]]),
        (lambda x: gs.while_loop(lambda c: c[0] < 9.0, lambda c: (c[1], c[1]), (x[0], x[2])), [[0, 2], [2]]),
    ],
    ids=["cond", "scan", "while_loop"],
)
def test_scalars_that_regions_hand_through_have_a_pattern(model: Any, rows: list[list[int]]) -> None:
    x = gs.symbol("x", (4,))
    results = model(x)
    assert pattern(results if isinstance(results, tuple) else [results], [x]) == rows


def test_the_pattern_of_many_columns_is_found_in_windows() -> None:
    n = 10_000
    x = gs.symbol("x", (n,))
    tracemalloc.start()
    rows = pattern([gs.concatenate([x[:1], x[1:] * x[:-1]])], [x])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [[0], *([i - 1, i] for i in range(1, n))]
    assert peak < 20e6  # bits for all columns of all elements are 12.5 MB for each node, and 1.25 GB for 100,000


def test_an_arrow_takes_two_sweeps_of_any_length() -> None:
    operations = []
    for n in (20, 200):
        x = gs.symbol("x", (n,))
        f = gs.compile(gs.sum(x[0] * gs.sin(x)), derivatives="hessian", sparse="csr", target="numpy", selftest=False)
        assert f.hessian(np.ones(n)).nnz == 3 * n - 2
        operations.append(f.cost.total("hessian"))
    assert operations[1] < 11 * operations[0]


def test_a_tridiagonal_hessian_takes_three_sweeps_of_any_length() -> None:
    loops, operations = {}, {}
    for n in (100, 1000):
        x = gs.symbol("x", (n,))
        f = gs.compile(chain(x), derivatives="hessian", sparse="csr", target="c", selftest=False)
        loops[n], operations[n] = f.source.count("for ("), f.cost.total("hessian")
        assert len(f.source) < 250 * n
        point = np.linspace(-1.0, 1.0, n)
        assert f.hessian(point).nnz == 3 * n - 2
    assert loops[1000] == loops[100]
    assert operations[1000] < 10.2 * operations[100]


def test_a_full_row_goes_by_a_reverse_sweep() -> None:
    costs = []
    for n in (20, 200):
        x = gs.symbol("x", (n,))
        costs.append(gs.compile(arrow(x), derivatives="jacobian", sparse="csr", target="numpy", selftest=False).cost)
    assert costs[1].total("jacobian") < 12 * costs[0].total("jacobian")  # n sweeps would be 100 times as much


def test_several_blocks_of_a_pytree() -> None:
    x, y = gs.symbol("x", (3,)), gs.symbol("y", (2,))
    f = gs.compile({"a": x * x, "b": y[0] * x[:2]}, derivatives="jacobian", sparse="csr", selftest=False)
    found = f.jacobian([1.0, 2.0, 3.0], [4.0, 5.0])
    np.testing.assert_array_equal(found["a"][0].toarray(), np.diag([2.0, 4.0, 6.0]))
    assert found["a"][1].nnz == 0
    np.testing.assert_array_equal(found["b"][0].toarray(), [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    np.testing.assert_array_equal(found["b"][1].toarray(), [[1.0, 0.0], [2.0, 0.0]])


def test_the_file_holds_the_pattern() -> None:
    x = gs.symbol("x", (3,))
    for target, text in (("python", "INDPTR = [0, 1, 2, 3]"), ("c", "_INDPTR[4] = { 0, 1, 2, 3 };")):
        f = gs.compile(x * x, derivatives="jacobian", sparse="csr", target=target, selftest=False)
        assert f"F_D_VALUE_D_X_{text}" in f.source or f"F_D_VALUE_D_X{text}" in f.source
    assert "extern const ptrdiff_t F_D_VALUE_D_X_INDICES[3];" in f.files["f.h"]


def test_check_compares_sparse_matrices_in_full() -> None:
    x = gs.symbol("x", (4,))
    f = gs.compile(
        chain(x), derivatives=("jacobian", "hessian"), sparse="csc", triangle="lower", target="numpy", selftest=False
    )
    assert f.check(n=2, against="finite").ok


def test_scipy_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    f = gs.compile(gs.symbol("x", (3,)) ** 2, derivatives="jacobian", sparse="csr", selftest=False)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(gs.MissingExtraError, match=r"pip install 'gradsmith\[sparse\]'"):
        f.jacobian([1.0, 2.0, 3.0])


v, w = gs.symbol("v", (3,)), gs.symbol("w", (3,))
BAD = [
    ("format", {"source": v, "derivatives": "jacobian", "sparse": "bsr"}, "choose from 'csr', 'csc', 'coo'"),
    ("triangle", {"source": gs.sum(v), "derivatives": "hessian", "sparse": "csr", "triangle": "both"}, "lower"),
    ("a dense triangle", {"source": gs.sum(v), "derivatives": "hessian", "triangle": "lower"}, 'sparse="csr"'),
    ("no matrix", {"source": gs.sum(v), "sparse": "csr"}, "add 'jacobian' or 'hessian'"),
    ("a Hessian of a vector", {"source": v, "derivatives": "hessian", "sparse": "csr"}, "scalar result only"),
    (
        "half of a Jacobian",
        {"source": gs.sum(v * w), "derivatives": "jacobian", "sparse": "csr", "triangle": "lower"},
        "the kind 'hessian'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_errors_say_the_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gs.SpecError, match=message):
        gs.compile(options.pop("source"), **options)


# --- many sweeps ------------------------------------------------------------------------------------------------------


def dense_layer(x: Any) -> Any:
    return gs.tanh(gs.constant(np.linspace(-1.0, 1.0, 4 * x.size).reshape(4, x.size)) @ gs.sin(x)) * gs.sum(x * x)


def long_loop(x: Any) -> Any:
    return gs.sum(gs.scan(lambda h, _: (gs.tanh(h * gs.sum(x) + gs.sin(x)), h), x, None, 20)[1] ** 2)


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize(
    ("model", "kind"), [(dense_layer, "jacobian"), (long_loop, "hessian"), (dense_layer, "hessian")]
)
def test_lines_do_not_grow_with_the_number_of_sweeps(model: Any, kind: str, target: str) -> None:
    lines, loops = [], gs.Tuning(matmul_least=10**9, matvec_least=10**9)  # not kernels from some size on
    for n in (16, 32):  # rows of both fill whole vectors
        f = gs.compile(model, args=((n,),), derivatives=kind, target=target, selftest=False, tuning=loops)
        code = [line for line in f.source.splitlines() if not line.lstrip(" -{").startswith(tuple("0123456789"))]
        lines.append(len([line for line in code if "," not in line]))  # without tables of the constant
    assert lines[0] == lines[1]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("n", [5, 9])
def test_many_sweeps_equal_torch(target: str, n: int) -> None:
    weights = np.cos(np.arange(4.0 * n)).reshape(4, n)

    def layer(xp: Any, x: Any, w: Any) -> Any:
        return xp.tanh(w @ xp.sin(x)) * xp.sum(x * x)

    at = np.linspace(-0.7, 0.9, n)
    f = gs.compile(
        lambda x: {"h": layer(gs, x, weights), "s": gs.sum(layer(gs, x, weights)) * x}, args=((n,),),
        derivatives=("jacobian", "hessian"), target=target, selftest=False,
    )  # fmt: skip
    for transform in ("jacobian", "hessian"):
        theirs = {"jacobian": torch.func.jacrev, "hessian": torch.func.hessian}[transform]
        got = getattr(f, transform)(at)
        want = theirs(lambda x: layer(torch, x, torch.tensor(weights)))(torch.tensor(at))
        np.testing.assert_allclose(got["h"], want, rtol=1e-11, atol=1e-12)
        want = theirs(lambda x: layer(torch, x, torch.tensor(weights)).sum() * x)(torch.tensor(at))
        np.testing.assert_allclose(got["s"], want, rtol=1e-11, atol=1e-12)


def test_a_full_jacobian_of_a_layer_costs_no_product_of_matrices() -> None:
    w, x = gs.symbol("w", (30, 20)), gs.symbol("x", (20,))
    f = gs.compile(gs.jacobian(gs.tanh(w @ gs.sin(x)), x), args=[w, x], target="numpy", selftest=False)
    assert f.cost.total("value") < 6 * 30 * 20
    assert "w.T *" in f.source
    assert "@ w.T" not in f.source


@pytest.mark.parametrize("name", ["solve", "triangular"])
def test_matrices_of_a_stack_do_not_meet(name: str) -> None:
    """The rule of a system holds another system: the pattern is that of whole matrices, each by itself."""
    a, b = gs.symbol("a", (2, 2, 2)), gs.symbol("b", (2, 2, 1))
    y = gs.linalg.solve(a, b) if name == "solve" else gs.linalg.solve_triangular(a, b, lower=True)
    f = gs.compile(y, args=[a, b], wrt=b, target="numpy", derivatives="jacobian", sparse="coo", selftest=False)
    dense = gs.compile(y, args=[a, b], wrt=b, target="numpy", derivatives="jacobian", selftest=False)
    at = np.array([[[2.0, 0.0], [1.0, 4.0]], [[1.0, 0.0], [3.0, 2.0]]]), np.ones((2, 2, 1))
    found = f.jacobian(*at)
    assert found.nnz == 8
    np.testing.assert_allclose(found.toarray(), np.asarray(dense.jacobian(*at)).reshape(4, 4))


def test_full_rows_take_no_graph_of_conflicts() -> None:
    """A gradient of thousands, and a full Hessian, whose columns all meet: a sweep each, found without their pairs."""
    x = gs.symbol("x", (1500,))
    f = gs.compile(gs.sum(gs.sin(x) * gs.roll(x, 1)), derivatives="jacobian", target="numpy", selftest=False)
    at = np.linspace(0.0, 1.0, 1500)
    want = np.cos(at) * np.roll(at, 1) + np.roll(np.sin(at), -1)
    np.testing.assert_allclose(f.jacobian(at), want, rtol=1e-14)
    rows = [[*range(k, 300), *range(k)] for k in range(300)]
    for colours in (jacobian._coloured(rows), jacobian._star_coloured(rows)):
        assert sorted(colours.values()) == list(range(300))
    banded = [[k, k + 1, k + 2] for k in range(230_000)]
    assert max(jacobian._coloured(banded).values()) == 2
