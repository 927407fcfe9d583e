"""The models of the examples equal their twins in torch: values, gradients, Jacobians and Hessians."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import gradsmith as gs

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

TWINS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "twins.py"))
example = TWINS["example"]
tensor = lambda x: torch.tensor(x, dtype=torch.float64)
close = lambda got, want, **options: np.testing.assert_allclose(got, np.asarray(want), **{"rtol": 1e-10, **options})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rosenbrock(rng) -> None:
    n = 50
    sparse = {"derivatives": ("value", "grad", "hessian"), "sparse": "csr", "triangle": "lower"}
    f = gs.compile(example("09_rosenbrock").rosenbrock, args=((n,),), target="numpy", **sparse)
    x = rng.normal(size=n)
    twin = TWINS["rosenbrock_torch"]
    close(f(x), twin(tensor(x)))
    close(f.grad(x), torch.func.grad(twin)(tensor(x)))
    lower = f.hessian(x)
    assert lower.nnz == 2 * n - 1
    close(lower.toarray(), np.tril(torch.func.hessian(twin)(tensor(x))), atol=1e-12)


def test_gaussian_mixture(rng) -> None:
    m = example("10_gaussian_mixture")
    x = rng.normal(size=(20, 2))
    p = {name: rng.normal(size=part.shape) for name, part in m.start(x, rng).items()}
    f = gs.compile(m.log_likelihood, args=(p, x), wrt="p", target="numpy")
    value, gradient = f.value_and_grad(p, x)
    twin = {name: tensor(part) for name, part in p.items()}
    wanted, want = torch.func.grad_and_value(TWINS["gaussian_mixture_torch"])(twin, tensor(x))
    close(value, want)
    for name in p:
        close(gradient[name], wanted[name])


def test_bundle_adjustment(rng) -> None:
    m = example("11_bundle_adjustment")
    cameras, points, which_camera, which_point = m.scene(rng, 4, 6, 3)
    observed = rng.normal(size=(len(which_camera), 2))
    f = gs.compile(
        m.residuals_of(which_camera, which_point),
        args=(cameras, points, observed),
        wrt=("cameras", "points"),
        derivatives=("value", "jacobian"),
        sparse="coo",
        target="numpy",
    )
    project = TWINS["project_torch"]
    twin = lambda cameras, points: project(cameras[which_camera], points[which_point]) - tensor(observed)
    close(f(cameras, points, observed), twin(tensor(cameras), tensor(points)), rtol=1e-9)
    wanted = torch.func.jacrev(twin, (0, 1))(tensor(cameras), tensor(points))
    blocks = f.jacobian(cameras, points, observed)
    assert [block.nnz for block in blocks] == [2 * len(observed) * 9, 2 * len(observed) * 3]
    for block, want in zip(blocks, wanted, strict=True):
        close(block.toarray(), want.reshape(block.shape), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 2])
def test_lstm(rng, checkpoint) -> None:
    m = example("12_lstm")
    p, (xs, y) = m.parameters(rng, hidden=5), m.additions(rng, 7, 3)
    loss = lambda p, xs, y: m.loss(p, xs, y, checkpoint)
    f = gs.compile(loss, args=(p, xs, y), wrt="p", target="numpy", name="loss")
    value, gradient = f.value_and_grad(p, xs, y)
    twin = {name: tensor(part).requires_grad_() for name, part in p.items()}
    want = TWINS["lstm_torch"](twin, tensor(xs), tensor(y))
    close(value, want.detach())
    for name, wanted in zip(p, torch.autograd.grad(want, [twin[n] for n in p]), strict=True):
        close(gradient[name], wanted)


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 2])
def test_van_der_pol(rng, checkpoint) -> None:
    m = example("13_van_der_pol")
    p, measured, steps = m.TRUE + 0.1, rng.normal(size=5), 7
    misfit = lambda p, measured: m.misfit(p, measured, steps, checkpoint)
    f = gs.compile(misfit, args=(p, measured), wrt="p", target="python", derivatives=("value", "grad", "hessian"))
    twin = lambda p: TWINS["van_der_pol_torch"](p, tensor(measured), steps, m.H)
    close(f(p, measured), twin(tensor(p)))
    close(f.grad(p, measured), torch.func.grad(twin)(tensor(p)))
    close(f.hessian(p, measured), torch.func.hessian(twin)(tensor(p)))


def test_kmeans(rng) -> None:
    m = example("14_kmeans")
    centres, points = rng.normal(size=(3, 2)), rng.normal(size=(30, 2))
    step = gs.compile(m.newton_step, args=(centres, points), target="numpy", derivatives=("value",))
    twin = lambda c: TWINS["kmeans_torch"](c, tensor(points))
    value, new = step(centres, points)
    slope, hessian = torch.func.grad(twin)(tensor(centres)), torch.autograd.functional.hessian(twin, tensor(centres))
    hessian = hessian.reshape(6, 6)
    close(value, twin(tensor(centres)))
    close(hessian, np.diag(np.diag(hessian)), atol=1e-9)  # the example's claim, by torch
    close(new, centres - slope.numpy() / np.diag(hessian).reshape(3, 2))


def test_quadrotor(rng) -> None:
    m = example("15_quadrotor")
    horizon = 2
    x, u = rng.normal(0.0, 0.3, (horizon + 1, 12)), rng.normal(m.HOVER, 0.3, (horizon + 1, 4))
    now, multipliers = rng.normal(size=12), rng.normal(size=x.shape)
    _, equations, force = m.compiled("numpy", horizon)
    twin = TWINS["defects_torch"]
    close(equations(x, u, now), twin(tensor(x), tensor(u), tensor(now)), atol=1e-12)
    wanted = torch.func.jacrev(twin, (0, 1))(tensor(x), tensor(u), tensor(now))
    for block, want in zip(equations.jacobian(x, u, now), wanted, strict=True):
        close(block.toarray(), want.reshape(block.shape), atol=1e-12)
    lagrangian = lambda x, u: (tensor(multipliers) * twin(x, u, tensor(np.zeros(12)))).sum()
    second = torch.func.hessian(lagrangian, (0, 1))(tensor(x), tensor(u))
    for row, wanted in zip(force.hessian(x, u, multipliers), second, strict=True):
        for block, want in zip(row, wanted, strict=True):
            close(block.toarray(), want.reshape(block.shape), atol=1e-11)
