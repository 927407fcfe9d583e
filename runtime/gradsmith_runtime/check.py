"""Prove a generated function against a reference: the entry point for people's own test suites.

In: a generated function, a torch function and arguments of any nesting. Out: nothing, or an error with a
report of where and by how much the two differ. Guaranteed: torch is imported only when it is needed. The
tools it is made of (`compare`, `sample_points`, `Report`) can be had from here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .errors import ArgumentError
from .measure import compare
from .points import EDGES, sample_points
from .report import Entry, Finding, Report
from .torch_adapter import import_torch

__all__ = ["EDGES", "Entry", "Finding", "Report", "assert_matches_torch", "compare", "sample_points"]


def assert_matches_torch(
    function: Callable[..., Any],
    torch_function: Callable[..., Any],
    *args: Any,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    grad: Callable[..., Any] | None = None,
) -> None:
    """Assert that ``function(*args)`` equals `torch_function` on the same arguments as float64 tensors.

    Arguments may be floats, arrays, and tuples, lists and dicts of them; anything else (ints, strings) is
    passed to both unchanged. With `grad`, a function returning the gradients with respect to all float
    leaves in order (nested as you like, or bare for one), gradients are compared with
    ``torch.autograd.grad`` too: the result must then be one number.

    Errors: `MismatchError` with the report; `ArgumentError` if the numbers of outputs differ, or `grad` is
    given and the result is not one number; `MissingExtraError` without torch.

    >>> assert_matches_torch(lambda x: x * x, lambda x: x**2, 3.0, grad=lambda x: 2 * x)
    """
    torch = import_torch("comparing with torch")
    leaves: list[Any] = []

    def tensor(leaf: Any) -> Any:
        if not _is_float(leaf):
            return leaf
        leaves.append(torch.tensor(np.array(leaf, dtype=np.float64), requires_grad=grad is not None))
        return leaves[-1]

    values = list(_flatten(torch_function(*(_map(tensor, arg) for arg in args))))
    wanted = [np.asarray(torch.as_tensor(value).detach()) for value in values]
    gotten = list(_flatten(function(*args)))
    names = ["value"] if len(wanted) == 1 else [f"value[{i}]" for i in range(len(wanted))]
    if grad is not None:
        if len(values) != 1 or values[0].ndim:
            raise ArgumentError("grad= needs a function that returns one number")
        slopes = torch.autograd.grad(values[0], leaves, allow_unused=True, materialize_grads=True)
        wanted += [np.asarray(slope) for slope in slopes]
        gotten += list(_flatten(grad(*args)))
        names += [f"grad[{i}]" for i in range(len(slopes))]
    inputs = [leaf.detach().numpy() for leaf in leaves]
    input_names = [f"leaf[{i}]" for i in range(len(inputs))]
    report = compare(lambda *_: gotten, lambda *_: wanted, [inputs], input_names, names, rtol=rtol, atol=atol)
    report.raise_on_mismatch()


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f")


def _map(change: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _map(change, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a namedtuple
        return type(tree)(*(_map(change, value) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map(change, value) for value in tree)
    return change(tree)


def _flatten(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if not isinstance(tree, (tuple, list)):
        yield tree
        return
    for branch in tree:
        yield from _flatten(branch)
