"""Nonzeros by elimination: the numbers are torch's, no operation has a structural zero in it, and the code is compact."""

from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.adjoint import derivable
from gradsmith.elimination import eliminated
from gradsmith.families import families
from gradsmith.trace import as_expr

N = 6
RNG = np.random.default_rng(0)
TURN = np.array([0, 2, 1, 3, 5, 4])  # two elements stay
DIFFERENCES = np.eye(N - 1, N) - np.eye(N - 1, N, k=1)
MIXED = RNG.normal(size=(4, N))


def columns(x: Any, sin: Any, stack: Any) -> Any:
    m = x.reshape(3, 2)
    a, b = m[:, 0], m[:, 1]
    return stack([a * b, sin(a), b[[0, 0, 1]] * a], -1)


#: name -> the same function of a vector in gradsmith and in torch
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "neighbours": (lambda x: x[1:] * gs.exp(x[:-1]), lambda x: x[1:] * torch.exp(x[:-1])),
    "two ways to one element": (lambda x: x * x[TURN], lambda x: x * x[torch.tensor(TURN)]),
    "columns": (lambda x: columns(x, gs.sin, gs.stack), lambda x: columns(x, torch.sin, torch.stack)),
    "a constant matrix": (
        lambda x: gs.sin(DIFFERENCES @ (x * x)),
        lambda x: torch.sin(torch.tensor(DIFFERENCES) @ (x * x)),
    ),
    "a table": (lambda x: gs.tanh(MIXED @ x) * x[:4], lambda x: torch.tanh(torch.tensor(MIXED) @ x) * x[:4]),
    "a product of matrices": (
        lambda x: gs.reshape(x, (2, 3)) @ gs.reshape(x, (3, 2)),
        lambda x: x.reshape(2, 3) @ x.reshape(3, 2),
    ),
    "rows": (
        lambda x: gs.sum(gs.reshape(x, (2, 3)) ** 3, axis=1) / gs.prod(gs.reshape(x, (3, 2)), axis=1)[:2],
        lambda x: (x.reshape(2, 3) ** 3).sum(1) / x.reshape(3, 2).prod(1)[:2],
    ),
    "norms": (
        lambda x: x / gs.linalg.vector_norm(gs.reshape(x, (3, 2)), axis=1)[[0, 0, 1, 1, 2, 2]],
        lambda x: x / torch.linalg.vector_norm(x.reshape(3, 2), dim=1)[[0, 0, 1, 1, 2, 2]],
    ),
    "a constant and itself": (
        lambda x: gs.concatenate([x[:2], gs.full((2,), 3.0), x[:2] * x[5]]),
        lambda x: torch.cat([x[:2], torch.full((2,), 3.0, dtype=torch.float64), x[:2] * x[5]]),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_order_gives_the_jacobian_of_torch(name: str) -> None:
    ours, twin = FUNCTIONS[name]
    x = gs.symbol("x", (N,))
    at = np.linspace(0.3, 1.7, N)
    want = torch.func.jacrev(twin)(torch.tensor(at)).reshape(-1, N).numpy()
    found = eliminated([as_expr(ours(x))], [x], [x])
    assert len(found) == 3
    for vectors in found:
        f = gs.compile([v.data for v in vectors], args=(x,), target="numpy", derivatives="value", selftest=False)
        got = np.zeros_like(want)
        for v, data in zip(vectors, f(at), strict=True):
            np.add.at(got, (v.rows, v.columns), data)  # an entry may have several shares
            assert np.all(want[v.rows, v.columns] != 0.0)
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_shares_of_one_entry_are_added(target: str) -> None:
    def f(x: Any) -> Any:
        return x * x[TURN] * gs.sin(x[TURN[::-1]]) + x[TURN[::-1]]

    at = np.linspace(0.3, 1.7, N)
    g = gs.compile(f, args=((N,),), derivatives="jacobian", sparse="csr", target=target, selftest=False)
    turn, back = torch.tensor(TURN), torch.tensor(TURN[::-1].copy())
    want = torch.func.jacfwd(lambda x: x * x[turn] * torch.sin(x[back]) + x[back])(torch.tensor(at)).numpy()
    np.testing.assert_allclose(g.jacobian(at).toarray(), want, rtol=1e-13)


@pytest.mark.parametrize("triangle", [None, "lower"])
def test_shares_of_one_entry_are_added_in_a_hessian(triangle: str | None) -> None:
    def energy(x: Any, sin: Any, total: Any, turn: Any, back: Any) -> Any:
        return total(x * x[turn] * sin(x[back]) + x[back] * x**2)

    at = np.linspace(0.3, 1.7, N)
    x = gs.symbol("x", (N,))
    y = energy(x, gs.sin, gs.sum, TURN, TURN[::-1])
    g = gs.compile(y, derivatives="hessian", sparse="csr", triangle=triangle, target="numpy", selftest=False)
    indices = torch.tensor(TURN), torch.tensor(TURN[::-1].copy())
    want = torch.func.hessian(lambda x: energy(x, torch.sin, torch.sum, *indices))(torch.tensor(at)).numpy()
    np.testing.assert_allclose(g.hessian(at).toarray(), np.tril(want) if triangle else want, rtol=1e-13)


def test_what_does_not_split_into_scalar_operations_goes_by_sweeps() -> None:
    x = gs.symbol("x", (N,))
    for y in (gs.cumulative_sum(x), gs.max(x), gs.where(x > 0.0, gs.sqrt(x), x), gs.map(gs.sin, x)):
        graph, _ = derivable([y], [x], True)
        assert families(graph, 1) is None


def test_the_code_does_not_grow_with_the_number_of_blocks() -> None:
    lines, operations = [], []
    for n in (10, 100):
        order = np.random.default_rng(0).permutation(n)

        def rows(a: Any, order: Any = order) -> Any:
            a = a[order]
            return gs.stack([gs.exp(a[:, 0]) * a[:, 1], a[:, 2] * gs.sin(a[:, 3]) * a[:, 0]], axis=1)

        f = gs.compile(rows, args=((n, 4),), derivatives="jacobian", sparse="csr", target="c", selftest=False)
        lines.append(sum(" = " in line and "{" not in line for line in f.source.splitlines()))
        operations.append(f.cost.total("jacobian"))
    assert lines[0] == lines[1]
    # exp, its product with a1; sin, cos, and the four products a2*sin, sin*a0, a2*a0 and that times cos
    assert operations == [80, 800]


def test_one_sweep_over_all_elements_multiplies_by_no_seed() -> None:
    f = gs.compile(lambda x: x * gs.sin(x), args=((N,),), derivatives="jacobian", sparse="csr", selftest=False)
    assert f.cost.jacobian == {"sin": N, "cos": N, "mul": N, "add": N}


def test_a_matrix_has_no_operation_on_zeros() -> None:
    """Counted by CasADi 3.8.2 for the same models: see benchmarks/derivatives.md."""
    x = gs.symbol("x", (100,))
    rosenbrock = gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    f = gs.compile(rosenbrock, derivatives="hessian", sparse="csc", triangle="lower", target="c", selftest=False)
    assert f.cost.total("hessian") <= 9 * 99 + 1  # CasADi: 10 for each of 99 terms
