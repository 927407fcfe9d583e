"""Ops that a support function computes, in loops and under `vmap`: values, gradients, Hessians and third derivatives.

A support function reads blocks of memory, and what a loop hands to its body is often none: a slice of a value that is
computed where it is read. torch says what is right, one element after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.ops.correlations import CORRELATIONS
from gradsmith.ops.lapack import LAPACK
from gradsmith.ops.products import PRODUCTS
from gradsmith.registry import OPS

from .harness import LOOPS, Library, distance, manifests, run_python, weights

la, tla = gs.linalg, torch.linalg
XS = np.random.default_rng(8).normal(size=(3, 4, 4)) + np.diag([2.0, -3.0, 4.0, 5.5])
W = weights((4, 4)) / 8


def ours(name: str) -> Callable[[gs.Expr], gs.Expr]:
    """A function of a matrix with a scalar result."""

    def f(x: gs.Expr) -> gs.Expr:
        y = CASES[name][1](x)
        return gs.sum(y * W.ravel()[: y.size].reshape(y.shape)) if y.ndim else y

    return f


def theirs(name: str) -> Callable[[Any], Any]:
    """The same in torch."""

    def f(x: Any) -> Any:
        y = CASES[name][2](x)
        return (y * torch.tensor(W.ravel()[: y.numel()].reshape(y.shape))).sum() if y.ndim else y

    return f


def _positive(x: Any) -> Any:
    return x @ x.mT / 8 + 0.5 * torch.eye(4, dtype=x.dtype) if torch.is_tensor(x) else x @ x.T / 8 + 0.5 * np.eye(4)


def _torch_interp(x: Any, xp: Any, fp: Any) -> Any:
    xp, _order = xp.sort()
    place = ((xp <= x[:, None]).sum(-1) - 1).clamp(0, 2)
    inner = (fp[place + 1] - fp[place]) / (xp[place + 1] - xp[place]) * (x - xp[place]) + fp[place]
    return torch.where(x < xp[0], fp[0], torch.where(x > xp[-1], fp[-1], inner))


#: The kernels that each needs, the function of a matrix here, and in torch.
CASES: dict[str, tuple[set[str], Callable[..., Any], Callable[..., Any]]] = {
    "sort": ({"argsort"}, lambda x: gs.sort(x), lambda x: x.sort(-1)[0]),
    "searchsorted": (
        {"searchsorted"},
        lambda x: gs.searchsorted(gs.arange(4.0) - 1.5, x) * x[1],
        lambda x: torch.searchsorted(torch.arange(4.0, dtype=x.dtype) - 1.5, x.detach().contiguous()) * x[1],
    ),
    "interp": (
        {"argsort", "searchsorted"},
        lambda x: gs.interp(x[1], gs.sort(x[2]), x[3]),
        lambda x: _torch_interp(x[1], x[2], x[3]),
    ),
    "solve": ({"lu", "lu_solve"}, lambda x: la.solve(x, x[1]), lambda x: tla.solve(x, x[1])),
    "inv": ({"lu", "lu_solve"}, la.inv, tla.inv),
    # torch's third derivative of det is NaN
    "det": ({"lu"}, la.det, lambda x: tla.slogdet(x)[0] * tla.slogdet(x)[1].exp()),
    "slogdet": ({"lu"}, lambda x: la.slogdet(x).logabsdet, lambda x: tla.slogdet(x)[1]),
    "cholesky": ({"cholesky"}, lambda x: la.cholesky(_positive(x)), lambda x: tla.cholesky(_positive(x))),
    "triangular": (
        {"solve_triangular"},
        lambda x: la.solve_triangular(x, x[1:3].T, lower=True)[:, 0],
        lambda x: tla.solve_triangular(x.tril(), x[1:3].mT, upper=False)[:, 0],
    ),
    "eigh": (
        {"eigh"},
        lambda x: la.eigh(x).eigenvectors ** 2 * la.eigh(x).eigenvalues,
        lambda x: tla.eigh((x + x.mT) / 2)[1] ** 2 * tla.eigh((x + x.mT) / 2)[0],
    ),
    "svd": ({"svd"}, la.svdvals, tla.svdvals),
}
Element = Callable[[gs.Expr], gs.Expr]
#: What a loop maps over, and how: none of it but the first is in memory as the body reads it.
LOOPED: dict[str, tuple[Callable[[Element, gs.Expr], Any], Callable[[Any], list[Any]]]] = {
    "elements": (gs.map, lambda xs: [*xs]),
    "backwards": (lambda f, xs: gs.map(f, xs[::-1]), lambda xs: [*xs.flip(0)]),
    "computed": (lambda f, xs: gs.map(f, xs + 0.25), lambda xs: [*(xs + 0.25)]),
    "turned in the body": (lambda f, xs: gs.map(lambda x: f(x[::-1]), xs), lambda xs: [*xs.flip(1)]),
    "another axis": (lambda f, xs: gs.map(f, gs.moveaxis(xs, 2, 1)), lambda xs: [*xs.mT]),
    "repeated": (lambda f, xs: gs.map(f, gs.broadcast_to(xs[1], (2, 4, 4))), lambda xs: [xs[1], xs[1]]),
    "by index": (lambda f, xs: gs.map(lambda i: f(xs[i]), np.array([2, 0, 2])), lambda xs: [*xs[[2, 0, 2]]]),
    "closed over": (lambda f, xs: gs.map(lambda i: f(xs[2, ::-1]) + 0.0 * i, gs.arange(2)), lambda xs: [xs[2].flip(0)] * 2),
    "a branch": (
        lambda f, xs: gs.map(lambda x: gs.cond(x[0, 0] > 99.0, f, lambda x: f(x.T), x), xs[::-1]),
        lambda xs: [*xs.flip(0).mT],
    ),
    "state": (
        lambda f, xs: gs.scan(lambda s, x: (s[::-1] + x, f(s)), xs[0], xs[1:])[1],
        lambda xs: [xs[0], xs[0].flip(0) + xs[1]],
    ),
}  # fmt: skip


def test_all_kernels_are_here() -> None:
    """Those of LAPACK, products and convolutions stand for other ops, and are called in the same way."""
    stand_in = {row.call.op.name for row in LAPACK.values()} | {row.op.name for row in PRODUCTS}
    stand_in |= {row.op.name for row in CORRELATIONS}
    kernels = {name for name, op in OPS.items() if op.kind == "kernel"} - stand_in
    assert set[str]().union(*(case[0] for case in CASES.values())) == kernels


def near(got: Any, want: Any) -> None:
    exact = np.asarray(want.detach())
    assert distance(np.reshape(got, exact.shape), exact, np.abs(exact).max(initial=1e-3)) < 1e6


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases, each of which is mapped in all ways and added up: by C and by Python's loops."""
    functions = {
        (name, target): gs.compile(
            lambda xs, name=name: sum(k * gs.sum(way(ours(name), xs)) for k, (way, _) in enumerate(LOOPED.values(), 1)),
            args=(XS.shape,), target=manifests()[target], name=f"looped_{name}", derivatives="value_and_grad", selftest=False,
        )
        for name in CASES
        for target in (LOOPS, "c")
    }  # fmt: skip
    built = Library({n: f for (n, t), f in functions.items() if t == "c"}, "gcc", tmp_path_factory.mktemp("k"), "-O0")
    return {name: {"c": built[name], LOOPS: run_python(functions[name, LOOPS])} for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_what_a_kernel_reads_in_a_loop_is_in_memory(name: str, looped: dict[str, Any]) -> None:
    """It was a KeyError while the code was written, where the operand was a slice of what the loop maps over."""
    x = torch.tensor(XS, requires_grad=True)
    f = theirs(name)
    value = sum(k * sum(f(part) for part in parts(x)) for k, (_, parts) in enumerate(LOOPED.values(), 1))
    (slope,) = torch.autograd.grad(value, x)
    for run in looped[name].values():
        got = run("value_and_grad", [XS])
        near(got[0], value)
        near(got[1], slope)


def third(f: Callable[[Any], Any], grad: Callable[..., Any], total: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of a function's Hessian, of which all elements are weighted and added up."""
    return grad(lambda x: total(grad(lambda z: total(grad(f)(z)))(x)))


SMOOTH = [name for name in CASES if name not in ("sort", "searchsorted")]  # those are linear between kinks


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Hessians and third derivatives of all matrices, by `vmap` and by a loop."""

    def both(name: str) -> Callable[[gs.Expr], Any]:
        f = ours(name)
        cubic = third(f, gs.grad, lambda g: gs.sum(g * W))
        ways = (gs.vmap, lambda g: lambda xs: gs.map(g, xs))
        return lambda xs: tuple(way(g)(xs) for way in ways for g in (gs.hessian(f), cubic))

    functions = {
        (name, target): gs.compile(
            both(name), args=(XS.shape,), target=target, name=f"d_{name}", derivatives="value", selftest=False
        )
        for name in SMOOTH
        for target in ("numpy", "c")
    }
    built = Library({n: f for (n, t), f in functions.items() if t == "c"}, "gcc", tmp_path_factory.mktemp("d"), "-O0")
    return {name: {"c": built[name], "numpy": run_python(functions[name, "numpy"])} for name in SMOOTH}


@pytest.mark.parametrize("name", SMOOTH)
def test_second_and_third_derivatives_of_all_elements(name: str, derived: dict[str, Any]) -> None:
    f = theirs(name)
    cubic = third(f, torch.func.grad, lambda g: (g * torch.tensor(W)).sum())
    x = torch.tensor(XS)
    want = [torch.stack([g(part) for part in x]) for g in (torch.func.hessian(f), cubic)]
    for run in derived[name].values():
        for got, expected in zip(run("value", [XS]), [*want, *want], strict=True):
            near(got, expected)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_nan_belongs_behind_all_numbers_of_a_sorted_vector(target: str) -> None:
    row, values = np.array([0.0, 1.0, np.nan]), np.array([0.5, 1.0, 2.0, np.nan])
    sides = ("left", "right")
    f = gs.compile(
        lambda a, y: tuple(gs.searchsorted(a, y, side=side) for side in sides), args=((3,), (4,)), target=target,
        derivatives="value", name="f",
    )  # fmt: skip
    for got, side in zip(f(row, values), sides, strict=True):
        assert np.asarray(got).tolist() == np.searchsorted(row, values, side).tolist()
