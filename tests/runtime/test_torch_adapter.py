"""as_torch_function: torch differentiates through a generated function."""

import sys

import numpy as np
import pytest

from gradsmith_runtime import ArgumentError, MissingExtraError, ShapeMismatchError, as_torch_function

torch = pytest.importorskip("torch")


def energy(x, W, c):
    """x * sum(W**2) + c * sum(W), with gradients for x and W; c is a constant."""
    return x * np.sum(W * W) + c * np.sum(W), float(np.sum(W * W)), 2.0 * x * W + c


@pytest.fixture
def f():
    return as_torch_function(energy, 3, (0, 1), "energy")


def leaves():
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    W = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return x, W


def test_gradcheck(f):
    x, W = leaves()
    assert torch.autograd.gradcheck(lambda x, W: f(x, W, 0.5), (x, W))


def test_gradcheck_catches_a_wrong_gradient():
    def wrong(x, W, c):
        value, d_x, d_W = energy(x, W, c)
        return value, d_x, d_W * 1.01

    f = as_torch_function(wrong, 3, (0, 1), "wrong")
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 1"):
        torch.autograd.gradcheck(lambda x, W: f(x, W, 0.5), leaves())


def test_it_takes_its_place_in_a_graph(f):
    x, W = leaves()
    value = f(x, W, 0.5)
    assert (value.dtype, value.shape) == (torch.float64, ())
    (torch.sin(value) * 3.0).backward()
    expected = 3.0 * torch.cos(value.detach())
    torch.testing.assert_close(x.grad, expected * (W * W).sum())
    torch.testing.assert_close(W.grad, expected * (2.0 * x * W + 0.5))
    assert f.__name__ == "energy"
    assert "energy" in type(f(x, W, 0.5).grad_fn).__name__


def test_inputs_may_come_strided_and_without_gradients(f):
    x, W = leaves()
    wide = torch.zeros(3, 4, dtype=torch.float64).requires_grad_()
    f(x.detach(), (wide[:, ::2] + 1.0).T, 0.5).backward()
    assert wide.grad[:, 1::2].abs().sum() == 0.0
    torch.testing.assert_close(wide.grad[:, ::2], torch.full((3, 2), 2.0 * 0.7 + 0.5, dtype=torch.float64))
    assert not f(x.detach(), W.detach(), 1.0).requires_grad


def test_gradients_come_in_the_order_of_wrt():
    swapped = as_torch_function(lambda x, y: (x * y * y, 2 * x * y, y * y), 2, (1, 0), "swapped")
    x, y = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (2.0, 3.0))
    swapped(x, y).backward()
    assert (x.grad.item(), y.grad.item()) == (9.0, 12.0)


def test_a_later_change_of_an_input_changes_no_gradient():
    """The generated gradient of sum(v*v)/2 may be v itself."""
    g = as_torch_function(lambda v: (0.5 * float(v @ v), v), 1, (0,), "g")
    base = torch.ones(3, dtype=torch.float64)
    v = base.clone().requires_grad_()
    value = g(v)
    with torch.no_grad():
        v.mul_(100.0)
    value.backward()
    torch.testing.assert_close(v.grad, base)


def test_second_derivatives_are_refused_not_wrong(f):
    x, W = leaves()
    (d_x,) = torch.autograd.grad(f(x, W, 0.5), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        d_x.backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, W: (x.float(), W, 0.5), r"input 0 is torch.float32; .* pass x.double\(\)"),
        (lambda x, W: (x, W.to("meta"), 0.5), r"input 1 is on meta; .* pass x.cpu\(\)"),
        (lambda x, W: (x, W), r"energy\(\) takes 3 tensors \(2 given\)"),
        (lambda x, W: (x, W.detach().numpy(), 0.5), "input 1 must be a torch.Tensor, not ndarray"),
        (lambda x, W: (x, W, x), "input 2 requires a gradient that energy does not compute"),
    ],
)
def test_wrong_calls_name_the_remedy(f, change, message):
    with pytest.raises(ArgumentError, match=message):
        f(*change(*leaves()))


def test_wrong_gradients_of_the_function_are_refused():
    x, _ = leaves()
    with pytest.raises(ShapeMismatchError, match=r"shape \(2,\), but input 0 has shape \(\)"):
        as_torch_function(lambda x: (x, np.ones(2)), 1, (0,), "g")(x)
    with pytest.raises(ArgumentError, match="2 gradients returned, expected 1"):
        as_torch_function(lambda x: (x, 1.0, 1.0), 1, (0,), "g")(x)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"g as a torch function needs .*gradsmith\[torch\]"):
        as_torch_function(energy, 3, (0, 1), "g")
