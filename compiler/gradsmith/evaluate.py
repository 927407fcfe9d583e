"""The interpreter: run a graph on numbers, without generating code.

In: a graph and one value per input. Out: the value of every node, by key. The kind of number decides what runs: NumPy
arrays use each op's `evaluate`, mpmath numbers its `mp`, torch tensors its `torch`. This is the independent route that
self-tests, `explain`, drawings and the tests compare generated code with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .errors import MissingExtraError, UnsupportedError
from .graph import Graph, Node
from .passes.specialise import renamed, size_names, sizes_of
from .registry import Op, Params, Region, lookup
from .types import Type, static_shape

__all__ = ["evaluate", "evaluate_mp", "evaluate_region", "evaluate_torch"]


def evaluate(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values in their own dtypes, by NumPy; inputs in the order of `graph.inputs`."""
    given = dict(zip(graph.inputs, inputs, strict=True))
    values: dict[int, Any] = {}
    static = _static(graph, inputs)
    with np.errstate(all="ignore"):
        for n, op, dtype in graph.known("steps", _steps):
            if dtype is None:
                values[n.key] = evaluate_region(op.structure, [values[a] for a in n.args], static(n))
                continue
            value = given.get(n.key, n.params.get("value"))
            if value is None:
                value = op.evaluate(*[values[a] for a in n.args], **static(n))
            values[n.key] = np.asarray(value, dtype=dtype)
    return values


def _steps(graph: Graph) -> list[tuple[Node, Op, Any]]:
    """The nodes, each with its op and NumPy's dtype for it: None for loops and branches."""
    ops = [(n, lookup(n.op)) for n in graph.ordered()]
    dtypes = {n.type.dtype: np.dtype(n.type.dtype.name) for n, op in ops if not isinstance(op.structure, Region)}
    return [(n, op, None if isinstance(op.structure, Region) else dtypes[n.type.dtype]) for n, op in ops]


def evaluate_region(region: Region, args: Sequence[Any], params: Params) -> tuple[Any, ...]:
    """The results of a loop or a branch, by NumPy."""
    return region.run(_outputs(evaluate), _Arrays, args, params)


def evaluate_mp(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values in mpmath's current precision, as arrays of `mpf` (and of bool).

    A value that is not real, and a pole, is NaN, which may stay in a branch that is not taken.
    """
    import mpmath as mp

    exact = {"float": mp.mpf, "int": int, "bool": bool}
    given = dict(zip(graph.inputs, inputs, strict=True))
    values: dict[int, Any] = {}
    static = _static(graph, inputs)
    for n, op, function in graph.known("exact steps", _exact_steps):
        args = [values[a] for a in n.args]
        if function is not None:
            values[n.key] = _each(function, args)
        elif op.kind == "part":
            values[n.key] = args[0][n.params["index"]]
        elif op.kind == "leaf":
            value = given[n.key] if n.key in given else n.params["value"]
            values[n.key] = _each(exact[n.type.dtype.kind], [np.asarray(value)])
        elif isinstance(op.structure, Region):
            values[n.key] = op.structure.run(_outputs(evaluate_mp), _Exact, args, static(n))
        else:
            types = [Type(np.shape(v), graph.node(a).type.dtype) for a, v in zip(n.args, args, strict=True)]
            values[n.key] = _objects(_structural(graph, n, op, args, types, static(n)))
    return values


def _outputs(interpreter: Callable[..., dict[int, Any]]) -> Callable[[Graph, Sequence[Any]], list[Any]]:
    """How a region runs its bodies."""

    def interpret(body: Graph, inputs: Sequence[Any]) -> list[Any]:
        values = interpreter(body, inputs)
        return [values[key] for key in body.outputs]

    return interpret


class _Arrays:
    """What regions need of NumPy's arrays: results of steps along a first axis, and a number of steps."""

    @staticmethod
    def integer(steps: int) -> Any:
        return np.asarray(steps)

    @staticmethod
    def stacked(values: Sequence[Any], type: Type, length: int) -> Any:
        out = np.zeros((length, *static_shape(type.shape)), dtype=type.dtype.name)
        for place, value in enumerate(values):
            out[place] = value
        return out


class _Exact(_Arrays):
    """The same of arrays of objects."""

    @staticmethod
    def integer(steps: int) -> Any:
        return _objects(steps)

    @staticmethod
    def stacked(values: Sequence[Any], type: Type, length: int) -> Any:
        import mpmath as mp

        zero: Any = {"float": mp.mpf(0), "int": 0, "bool": False}[type.dtype.kind]
        out = np.full((length, *static_shape(type.shape)), zero, dtype=object)
        for place, value in enumerate(values):
            out[place] = value if np.ndim(value) else np.asarray(value, dtype=object)[()]
        return out


class _Tensors(_Arrays):
    """The same of torch's tensors, which it must be able to differentiate."""

    @staticmethod
    def integer(steps: int) -> Any:
        return import_torch().as_tensor(steps)

    @staticmethod
    def stacked(values: Sequence[Any], type: Type, length: int) -> Any:
        torch = import_torch()
        zero = torch.zeros(static_shape(type.shape), dtype=getattr(torch, type.dtype.name))
        rows = [*values, *[zero] * (length - len(values))]
        return torch.stack(rows) if rows else torch.zeros((0, *zero.shape), dtype=zero.dtype)


def _exact_steps(graph: Graph) -> list[tuple[Node, Op, Any]]:
    """The nodes, each with its op, and of element-wise ones the function of mpmath numbers."""
    import mpmath as mp

    ops = [(n, lookup(n.op)) for n in graph.ordered()]
    return [(n, op, _scalar_mp(op, mp, n.params) if op.kind == "elementwise" else None) for n, op in ops]


def _each(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """The function of each element of arrays, most of which are scalars."""
    if all(type(a) is np.ndarray and a.ndim == 0 for a in args):
        result = np.empty((), dtype=object)
        result[()] = function(*[a[()] for a in args])
        return result
    return _objects(np.frompyfunc(function, len(args), 1)(*args))


def _objects(value: Any) -> Any:
    return np.asarray(value, dtype=object)


def _scalar_mp(op: Op, mp: Any, params: Any) -> Any:
    if op.mp is None:
        raise UnsupportedError(f"op {op.name!r} has no mp= reference")
    named = op.mp
    function = getattr(mp, named) if isinstance(named, str) else partial(named, mp, **params)
    nan, unreal = mp.nan, mp.mpc

    def real(*xs: Any) -> Any:
        try:
            y = function(*xs)
        except (ArithmeticError, ValueError):
            return nan
        return nan if isinstance(y, unreal) else y

    return real


def _structural(graph: Graph, n: Node, op: Op, args: Sequence[Any], types: Sequence[Type], params: Any) -> Any:
    """Layouts, reductions and contractions on arrays of objects; composites by their expansion."""
    if op.expand is not None and op.kind in ("composite", "reduction"):
        from .passes.expand import expanded

        inner = graph.known(("expansion", n.key, *types), lambda graph: expanded(op, types, params))
        return evaluate_mp(inner, args)[inner.outputs[0]]
    return op.evaluate(*args, **params)


def evaluate_torch(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """All values as torch tensors, so that torch can differentiate; inputs are tensors of its dtypes."""
    torch = import_torch()
    values: dict[int, Any] = dict(zip(graph.inputs, inputs, strict=True))
    static = _static(graph, inputs)
    for n in graph.ordered():
        if n.key in values:
            continue
        op, args = lookup(n.op), [values[a] for a in n.args]
        if op.kind == "leaf":
            values[n.key] = torch.as_tensor(np.array(n.params["value"], dtype=n.type.dtype.name))
        elif isinstance(op.structure, Region):
            values[n.key] = op.structure.run(_outputs(evaluate_torch), _Tensors, args, static(n))
        elif isinstance(op.torch, str):
            values[n.key] = getattr(torch, op.torch)(*args, **static(n))
        elif op.torch is not None:
            values[n.key] = op.torch(torch, *args, **static(n))
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


def _static(graph: Graph, inputs: Sequence[Any]) -> Callable[[Node], Mapping[str, Any]]:
    """The params of a node with ints for named dimensions, whose sizes the inputs tell."""
    if not size_names(graph):
        return lambda n: n.params
    sizes = sizes_of(graph, [tuple(np.shape(x)) for x in inputs])
    return lambda n: {k: renamed(v, lambda f: sizes[f] if isinstance(f, str) else f) for k, v in n.params.items()}
