"""The gradient check for test suites: compile if needed, check, and fail with the report.

In: a function, an expression or a compiled function, and where to check it. Out: True, or `MismatchError`, which is an
`AssertionError` and names the op whose rule is wrong, and the user's line.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..api import compile
from ..as_graph import to_exprs
from ..errors import DerivativeError
from ..function import CompiledFunction
from ..ops import sum as total
from ..pytree import flatten
from ..trace import Expr
from ..tracing import Spec, is_leaf, trace
from ..types import static_shape
from .check import check
from .domain import Domain

__all__ = ["grad_check"]


def grad_check(
    source: Any,
    args: Any = None,
    *,
    points: Sequence[Any] = (),
    n: int = 12,
    seed: int = 0,
    domain: Domain | None = None,
    wrt: Any = None,
    target: str | Path = "python",
    against: str | None = None,
    order: int = 1,
    rtol: float | None = None,
    atol: float | None = None,
) -> bool:
    """Assert that gradients are right; for pytest, as `torch.autograd.gradcheck` is.

    Parameters
    ----------
    source: what `compile` takes, or what it returned. Where the result is no single scalar, the gradient of a fixed
        random combination of all results is checked.
    args: as for `compile`. If all of it is example values, they are a point to check at, too.
    points: points to check at, each a tuple of arguments (or a dict by name; or a bare one for a single argument).
    n, seed, domain: how many random points besides, their seed, and where they lie: see `CompiledFunction.check`.
        `n=0` checks at the given points and at edge points; a domain keeps edge points out.
    wrt, target: as for `compile`.
    against: "torch", "mpmath" or "finite"; by default the first that can.
    order: 2 checks second derivatives too.
    rtol, atol: the tolerance; by default as for `CompiledFunction.check`.

    Returns True. Raises `MismatchError` (an `AssertionError`) with the whole report: the worst errors, where they are,
    and the op and line at fault.

    >>> import gradsmith as gs
    >>> def energy(q, k):
    ...     return gs.sum(k * q**2) / 2.0 + gs.log(k)
    >>> gs.grad_check(energy, args=((3,), ()), domain={"k": (0, None)}, order=2)
    True
    >>> def test_energy():
    ...     assert gs.grad_check("sin(x) * y", args={"x": 1.0, "y": 2.0}, against="mpmath")
    >>> test_energy()
    """
    function = source if isinstance(source, CompiledFunction) else _compiled(source, args, wrt, target)
    if function._program.grad is None and function._program.value_and_grad is None:
        raise DerivativeError(
            f"{function.name} was compiled without a gradient: give grad_check() what it was compiled from"
        )
    report = check(
        function, n=n, seed=seed, domain=domain, points=[*_examples(args), *points], against=against, order=order,
        rtol=rtol, atol=atol,
    )  # fmt: skip
    report.raise_on_mismatch()
    return True


def _examples(args: Any) -> list[Any]:
    """`args` as a point, if all of it is numbers and arrays and nothing is a mere shape."""
    if not isinstance(args, tuple | list | dict):
        return []
    entries = args.values() if isinstance(args, dict) else args
    leaves = [leaf for entry in entries for leaf in flatten(entry, is_leaf)[0]]
    numbers = all(isinstance(v, float | int | np.generic) or hasattr(v, "__array__") for v in leaves)
    return [args] if leaves and numbers and not any(isinstance(v, Expr) for v in leaves) else []


def _compiled(source: Any, args: Any, wrt: Any, target: str | Path) -> CompiledFunction:
    """`source` with one scalar result: its own, or a random combination of all that it returns."""
    traced = trace(source, args)
    graph = traced.graph
    if [graph.node(k).type.shape for k in graph.outputs] == [()]:
        return compile(source, args=args, wrt=wrt, target=target, selftest=False)

    def combined(*arguments: Any) -> Expr:
        pairs = zip(traced.parameters, arguments, strict=True)
        inputs = [leaf for p, value in pairs for leaf in p.tree.flatten(value, p.name)]
        exprs = to_exprs(graph, inputs)
        generator = np.random.default_rng(0)
        terms = []
        for key in graph.outputs:
            weights = generator.normal(size=static_shape(exprs[key].shape)).astype(exprs[key].dtype)
            terms.append(total(exprs[key] * weights))
        return functools.reduce(operator.add, terms)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(p.name, kind) for p in traced.parameters]
    combined.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    combined.__name__ = traced.name
    types = iter([graph.node(k).type for k in graph.inputs])
    specs = [p.tree.unflatten([Spec(next(types)) for _ in range(p.tree.size)]) for p in traced.parameters]
    return compile(combined, args=specs, wrt=wrt, target=target, selftest=False)
