"""A generated function as a differentiable torch function.

In: a generated function of flat leaves. Out: a function of torch tensors (CPU, float64) that autograd can
differentiate once. Guaranteed: torch is imported only when a function here is called; tensors are passed on
by value, so changing an input in place later does not change a gradient.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, MissingExtraError, ShapeMismatchError


def import_torch(purpose: str) -> Any:
    """Return the torch module. Errors: `MissingExtraError`, which names the extra to install."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingExtraError("torch", purpose) from error


def as_torch_function(
    value_and_grad: Callable[..., Sequence[Any]], n_inputs: int, wrt_indices: Sequence[int], name: str
) -> Callable[..., Any]:
    """Return a function of torch tensors that computes value and gradient with `value_and_grad`.

    `value_and_grad` takes `n_inputs` flat leaves (floats and float64 arrays) and returns ``(value,
    *grads)``: a number, then one gradient per index in `wrt_indices`, in that order, shaped like its input.
    The result takes float64 CPU tensors (or Python numbers, as constants) and returns a 0-d float64 tensor
    that ``torch.autograd`` differentiates once.

    Errors: `MissingExtraError` without torch; on a call `ArgumentError` for a wrong count, dtype or device,
    or for an input that requires a gradient which the function does not compute; `ShapeMismatchError` if a
    gradient's shape is not its input's.

    >>> import torch
    >>> f = as_torch_function(lambda x, y: (x * y, y, x), 2, (0, 1), "f")
    >>> x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    >>> f(x, 3.0).backward()
    >>> x.grad
    tensor(3., dtype=torch.float64)
    """
    torch = import_torch(f"{name} as a torch function")

    def forward(ctx: Any, *inputs: Any) -> Any:
        leaves = [tensor.numpy(force=True) if tensor.ndim else tensor.item() for tensor in inputs]
        value, *grads = value_and_grad(*leaves)
        if len(grads) != len(wrt_indices):
            raise ArgumentError(f"{name}: {len(grads)} gradients returned, expected {len(wrt_indices)}")
        # np.array copies: a generated gradient may be one of its inputs
        tensors = [torch.from_numpy(np.array(grad, dtype=np.float64)) for grad in grads]
        for index, tensor in zip(wrt_indices, tensors, strict=True):
            if tensor.shape != inputs[index].shape:
                shapes = f"{tuple(tensor.shape)}, but input {index} has shape {tuple(inputs[index].shape)}"
                raise ShapeMismatchError(f"{name}: the gradient has shape {shapes}")
        ctx.save_for_backward(*tensors)
        return torch.tensor(float(value), dtype=torch.float64)

    def backward(ctx: Any, grad_output: Any) -> tuple[Any, ...]:
        known = dict(zip(wrt_indices, ctx.saved_tensors, strict=True))
        needed = ctx.needs_input_grad
        return tuple(grad_output * known[i] if needed[i] and i in known else None for i in range(n_inputs))

    once = torch.autograd.function.once_differentiable(backward)

    def backward_once(ctx: Any, grad_output: Any) -> Any:
        # torch's guard looks at grad_output only: with create_graph=True the gradient would pass for a constant
        return once(ctx, grad_output.detach().requires_grad_() if torch.is_grad_enabled() else grad_output)

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward_once)}
    function = type(name, (torch.autograd.Function,), methods)

    def call(*inputs: Any) -> Any:
        if len(inputs) != n_inputs:
            raise ArgumentError(f"{name}() takes {n_inputs} tensors ({len(inputs)} given)")
        tensors = [_tensor(torch, name, i, value) for i, value in enumerate(inputs)]
        for i, tensor in enumerate(tensors):
            if tensor.requires_grad and i not in wrt_indices and torch.is_grad_enabled():
                raise ArgumentError(
                    f"{name}: input {i} requires a gradient that {name} does not compute; "
                    f"pass input {i} as .detach(), or compile with it in wrt"
                )
        return function.apply(*tensors)  # type: ignore[attr-defined]  # a class made by type()

    call.__name__ = call.__qualname__ = name
    return call


def _tensor(torch: Any, name: str, index: int, value: Any) -> Any:
    """Check one input; Python numbers become constants."""
    if isinstance(value, (int, float)):
        return torch.tensor(float(value), dtype=torch.float64)
    if not isinstance(value, torch.Tensor):
        raise ArgumentError(f"{name}: input {index} must be a torch.Tensor, not {type(value).__name__}")
    if value.device.type != "cpu":
        raise ArgumentError(f"{name}: input {index} is on {value.device}; generated code runs on the CPU: pass x.cpu()")
    if value.dtype != torch.float64:
        raise ArgumentError(f"{name}: input {index} is {value.dtype}; it computes in torch.float64: pass x.double()")
    return value
