"""Calls of functions of many points: `f.value_batch` and its like, the methods of functions compiled with `batch=`.

In: a compiled function and arrays with an axis of points in front. Out: its results at each point, or their sums, in
the structure that one point has (docs/batches.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .calls import directions, given_leaves, sequence_of
from .errors import ArgumentError, DerivativeError
from .pytree import Tree

if TYPE_CHECKING:
    from .function import CompiledFunction

__all__ = [
    "grad_batch", "hessian_batch", "hvp_batch", "jacobian_batch", "jvp_batch", "value_and_grad_batch", "value_batch",
    "vjp_batch",
]  # fmt: skip


def value_batch(f: CompiledFunction, /, *args: Any, out: Any = None, threads: int | None = None, **named: Any) -> Any:
    """The value at many points, for a function compiled with `batch=`.

    Parameters
    ----------
    args, named: arrays with an axis of points in front of the shape of one point: `(n,)` for a scalar argument,
        `(n, d)` for a vector. Strides may be any (columns, every second row, backwards): nothing is copied, unless
        the type differs. An argument without that axis is the same for all points.
    out: arrays for the results, in the structure of the result, with None for what is to be new.
    threads: how many threads, for a function compiled with `threads="openmp"`; all processors by default.

    Returns
    -------
    Arrays with the axis of points in front, or sums over the points (see `reduce` in `gs.compile`).

    Errors: `ShapeMismatchError` for shapes that do not fit, or where no argument has the axis; `ArgumentError` for
    other types, and for results that share memory with arguments or with each other.

    >>> import gradsmith as gs
    >>> x, y = gs.symbols("x y")
    >>> f = gs.compile(x * y, target="c", batch=True)
    >>> f.value_batch([1.0, 2.0, 3.0], 10.0).tolist()
    [10.0, 20.0, 30.0]
    """
    outputs = f._traced.outputs
    flat = None if out is None else _outs(f, outputs, out)
    return _batched(f, "value", args, named, (), flat, threads)


def grad_batch(f: CompiledFunction, /, *args: Any, out: Any = None, threads: int | None = None, **named: Any) -> Any:
    """The gradient at many points: see `value_batch`."""
    flat = None if out is None else _gradient_outs(f, out)
    return _batched(f, "grad", args, named, (), flat, threads)


def value_and_grad_batch(
    f: CompiledFunction, /, *args: Any, out: Any = None, threads: int | None = None, **named: Any
) -> tuple[Any, Any]:
    """The value and the gradient at many points: see `value_batch`.

    >>> import gradsmith as gs
    >>> v = gs.symbol("v", (2,))
    >>> f = gs.compile(gs.sum(v * v), target="c", batch=True)
    >>> value, gradient = f.value_and_grad_batch([[1.0, 2.0], [3.0, 4.0]])
    >>> value.tolist(), gradient.tolist()
    ([5.0, 25.0], [[2.0, 4.0], [6.0, 8.0]])
    """
    flat = None
    if out is not None:
        value_out, gradient_out = sequence_of(f.name, "out", out)
        flat = [value_out, *_gradient_outs(f, gradient_out)]
    return _batched(f, "value_and_grad", args, named, (), flat, threads)  # type: ignore[no-any-return]


def jacobian_batch(f: CompiledFunction, /, *args: Any, threads: int | None = None, **named: Any) -> Any:
    """The Jacobian at many points, in the structure of `jacobian`: see `value_batch`."""
    return _batched(f, "jacobian", args, named, (), None, threads)


def hessian_batch(f: CompiledFunction, /, *args: Any, threads: int | None = None, **named: Any) -> Any:
    """All second derivatives at many points, in the structure of `hessian`: see `value_batch`."""
    return _batched(f, "hessian", args, named, (), None, threads)


def jvp_batch(
    f: CompiledFunction, primals: Sequence[Any], tangents: Sequence[Any], *, threads: int | None = None
) -> tuple[Any, Any]:
    """`jvp` at many points, each along its own tangents or all along the same: see `value_batch`."""
    seeds = directions(f.name, f._wrt.trees, f._wrt_names, tangents)
    primals = sequence_of(f.name, "primals", primals)
    return _batched(f, "jvp", primals, {}, seeds, None, threads)  # type: ignore[no-any-return]


def vjp_batch(
    f: CompiledFunction, primals: Sequence[Any], cotangents: Any, *, threads: int | None = None
) -> tuple[Any, tuple[Any, ...]]:
    """The value and the cotangents of the arguments of `wrt` at many points, given that of the value.

    `cotangents` has the structure of the value, with the axis of points or without: see `value_batch`.
    """
    outputs, count = f._traced.outputs, len(f.graph.outputs)
    nodes = [f.graph.node(k) for k in f.graph.outputs]
    leaves = given_leaves(f.name, "the cotangents", outputs, cotangents)
    seeds = [c for c, n in zip(leaves, nodes, strict=True) if n.type.dtype.kind == "float"]
    found = _many(f, "vjp", sequence_of(f.name, "primals", primals), {}, seeds, None, threads)
    return outputs.unflatten(found[:count]), replace(f._wrt, bare=False).pack(found[count:])


def hvp_batch(
    f: CompiledFunction, primals: Sequence[Any], tangents: Sequence[Any], *, threads: int | None = None
) -> Any:
    """`hvp` at many points, each along its own tangents or all along the same: see `value_batch`."""
    seeds = directions(f.name, f._wrt.trees, f._wrt_names, tangents)
    return _batched(f, "hvp", sequence_of(f.name, "primals", primals), {}, seeds, None, threads)


def _batched(f: CompiledFunction, kind: str, *given: Any) -> Any:
    """The results of a function of many points, in the structure that one point has; `given` as for `_many`."""
    results = _many(f, kind, *given)  # first: it refuses kinds that there are not
    return f._form(kind).gives.unflatten(results)


def _many(
    f: CompiledFunction,
    kind: str,
    args: Sequence[Any],
    named: Mapping[str, Any],
    seeds: Sequence[Any],
    out: Sequence[Any] | None,
    threads: int | None,
) -> Sequence[Any]:
    """The flat results of a function of many points."""
    if f._program.function(kind) is None:
        f._refuse(kind)
    found = f._program.batch(kind)
    if found is None:
        raise DerivativeError(f'{f.name} was compiled for one point at a time: add batch=True (and target="c")')
    if threads is not None and not found.threads:
        raise ArgumentError(f'{f.name}: threads={threads!r} needs compile(threads="openmp")')
    if named or len(args) != len(f._traced.parameters):
        args = f._bound(args, named)
    leaves = [*(args if f._leaves_only else f._leaves(args)), *seeds]
    options = {} if threads is None else {"threads": threads}
    given = None if out is None else tuple(out)
    module = f.module if f._stand_in is None else f._loaded  # which tells that there is no compiler
    return f._entered(getattr(module, found.name), leaves, out=given, **options)  # type: ignore[no-any-return]


def _outs(f: CompiledFunction, tree: Tree, out: Any) -> list[Any]:
    return [None] * tree.size if out is None else given_leaves(f.name, "out", tree, out)


def _gradient_outs(f: CompiledFunction, out: Any) -> list[Any]:
    """The leaves of `out`, in the structure of the gradient."""
    if out is None:
        return [None] * len(f._wrt.keys)
    parts = [out] if f._wrt.bare else sequence_of(f.name, "out", out)
    if len(parts) != len(f._wrt.trees):
        raise ArgumentError(f"{f.name}: out for the gradient has {len(parts)} parts, not {len(f._wrt.trees)}")
    if f._leaves_only:
        return list(parts)
    return [leaf for tree, part in zip(f._wrt.trees, parts, strict=True) for leaf in _outs(f, tree, part)]
