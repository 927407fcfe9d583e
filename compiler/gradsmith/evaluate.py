"""The interpreter: run a graph on numbers, without generating code.

In: a graph and one value per input. Out: the value of every node, by key. The kind of number decides what runs: NumPy
arrays use each op's `evaluate`, mpmath numbers its `mp`, torch tensors its `torch`. This is the independent route that
self-tests, `explain`, drawings and the tests compare generated code with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import MissingExtraError, UnsupportedError
from .graph import Graph
from .registry import Op, lookup
from .types import static_shape

__all__ = ["evaluate", "evaluate_mp", "evaluate_torch"]


def evaluate(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values in float64, by NumPy; inputs in the order of `graph.inputs`."""
    values: dict[int, Any] = {k: np.asarray(v, dtype=np.float64) for k, v in zip(graph.inputs, inputs, strict=True)}
    with np.errstate(all="ignore"):
        for n in graph.ordered():
            if n.key not in values:
                values[n.key] = lookup(n.op).evaluate(*(values[a] for a in n.args), **_static(n.params))
    return values


def evaluate_mp(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values in mpmath's current precision, as arrays of `mpf` (and of bool).

    A value that is not real, and a pole, is NaN, which may stay in a branch that is not taken.
    """
    import mpmath as mp

    to_mp: Any = np.frompyfunc(lambda v: v if isinstance(v, bool | np.bool_) else mp.mpf(v), 1, 1)
    values: dict[int, Any] = {k: _objects(to_mp(np.asarray(v))) for k, v in zip(graph.inputs, inputs, strict=True)}
    for n in graph.ordered():
        if n.key in values:
            continue
        op, args = lookup(n.op), [values[a] for a in n.args]
        if op.kind == "leaf":
            values[n.key] = _objects(to_mp(np.asarray(n.params["value"])))
        elif op.kind == "elementwise":
            values[n.key] = _objects(np.frompyfunc(_scalar_mp(op, mp), len(args), 1)(*args))
        else:
            values[n.key] = _objects(_structural(op, args, n.params))
    return values


def _objects(value: Any) -> Any:
    return np.asarray(value, dtype=object)


def _scalar_mp(op: Op, mp: Any) -> Any:
    if op.mp is None:
        raise UnsupportedError(f"op {op.name!r} has no mp= reference")
    named = op.mp
    function = getattr(mp, named) if isinstance(named, str) else lambda *xs: named(mp, *xs)

    def real(*xs: Any) -> Any:
        try:
            y = function(*xs)
        except (ArithmeticError, ValueError):
            return mp.nan
        return mp.nan if isinstance(y, mp.mpc) else y

    return real


def _structural(op: Op, args: Sequence[Any], params: Any) -> Any:
    """Layouts, reductions and contractions on arrays of objects; composites by their expansion."""
    if op.expand is not None and op.kind in ("composite", "reduction"):
        from .passes.expand import expanded

        inner = expanded(op, [a.shape for a in args], params)
        return evaluate_mp(inner, args)[inner.outputs[0]]
    return op.evaluate(*args, **_static(params))


def evaluate_torch(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values as torch tensors, so that torch can differentiate; inputs are float64 tensors."""
    torch = import_torch()
    values: dict[int, Any] = dict(zip(graph.inputs, inputs, strict=True))
    for n in graph.ordered():
        if n.key in values:
            continue
        op, args = lookup(n.op), [values[a] for a in n.args]
        if op.kind == "leaf":
            value = np.array(n.params["value"])
            values[n.key] = torch.as_tensor(value)
        elif isinstance(op.torch, str):
            values[n.key] = getattr(torch, op.torch)(*args, **n.params)
        elif op.torch is not None:
            values[n.key] = op.torch(torch, *args, **n.params)
        else:
            raise UnsupportedError(f"op {op.name!r} has no torch= reference")
    return values


def import_torch() -> Any:
    """torch, or the error that says how to get it."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "comparing with torch") from None
    return torch


def _static(params: Any) -> dict[str, Any]:
    return {k: static_shape(v) if k == "shape" else v for k, v in params.items()}
