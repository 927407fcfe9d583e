"""The public entry: `compile`, which reads like the pipeline, and the function object it returns."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .adjoint import adjoint
from .cost import Cost, count
from .errors import DerivativeError, SpecError, TargetError
from .function import CompiledFunction, Wrt
from .graph import Graph
from .lower.lowering import Signature, argument, lower
from .passes.expand import expand_underivable
from .passes.form import form
from .passes.pipeline import prepare
from .passes.regions import with_bodies
from .passes.retype import retype
from .passes.share_sums import share_sums
from .passes.stabilise import Rewrites, stabilise
from .passes.strict import check_width
from .passes.strict import strict as in_common
from .passes.summation import SUMMATIONS, Summation
from .program import Argument
from .selftest import selftest as make_selftest
from .target import Target, load_target, render
from .trace import Expr
from .tracing import Traced, trace
from .types import DTYPES, DType, as_dtype, format_shape
from .verify import verify

__all__ = ["compile"]

_KINDS = ("value", "grad", "value_and_grad")
_log = logging.getLogger("gradsmith")


def compile(
    source: Any,
    *,
    args: Any = None,
    wrt: Any = None,
    name: str | None = None,
    target: str | Path = "python",
    derivatives: Sequence[str] | None = None,
    dtype: Any = "float64",
    selftest: bool = True,
    stabilize: bool = True,
    fast_math: bool = False,
    summation: Summation = "default",
    strict: bool = False,
) -> CompiledFunction:
    """Turn an expression or a function into source code for its value and gradient.

    Parameters
    ----------
    source: an `Expr` or a pytree of them, a Python function of traced values, a SymPy expression, or text such as
        `"x*y + tanh(x)"` (parsed, never evaluated).
    args: for a function, one entry a parameter: a shape `(3, 4)`, `("n", 64)`, `gs.spec(...)`, an example value, or a
        pytree of these; scalars if left out. For expressions, the symbols (or their names) in the order of the
        arguments.
    wrt: which arguments to differentiate by: a name, a position, a symbol, or a sequence of them; all by default. A
        single one gives the bare gradient, several a tuple, as JAX's `argnums` does.
    name: the generated function's name; the function's own, or "f".
    target: "python", "numpy", "c", or the path of a folder with a `target.toml`.
    derivatives: which of "value", "grad" and "value_and_grad" to emit; all that the result allows by default.
    dtype: "float64" or "float32": the type that float64 (what shapes, symbols and numbers are unless they say another)
        stands for in the generated code. Each constant is rounded once.
    selftest: whether the files carry reference values and a test of themselves.
    stabilize: whether formulas that lose digits, such as `log(1 + exp(x))`, give way to stable ones; the result's
        `report` lists them.
    fast_math: whether sums and products with constants may be regrouped, which changes the rounding of results.
    summation: how `sum` and `mean` add: "default" as the target does (C one after the other), "pairwise" in halves, or
        "compensated", as exact as if added with twice the digits and rounded once (about six operations an element).

    strict: whether the targets python, numpy and c agree to the last bit: the same operations in the same order, and
        the functions of the C library for all (see docs/contract.md). NumPy code becomes slow by it.

    Raises
    ------
    GradsmithError
        With the op or argument, what was seen, and the remedy.

    >>> import gradsmith as gs
    >>> x, y = gs.symbols("x y")
    >>> f = gs.compile(x*y + y + gs.tanh(x))
    >>> [round(v, 4) for v in (f(2.0, 3.0), *f.grad(2.0, 3.0))]
    [9.964, 3.0707, 3.0]
    """
    if summation not in SUMMATIONS:
        raise SpecError(f"summation={summation!r}: choose from {', '.join(map(repr, SUMMATIONS))}")
    width = _floating(dtype)
    with _collector_paused():
        return _compile(
            source, args, wrt, name, target, derivatives, width, selftest, stabilize, fast_math, summation, strict
        )


def _compile(
    source: Any,
    args: Any,
    wrt: Any,
    name: str | None,
    target: str | Path,
    derivatives: Sequence[str] | None,
    dtype: DType,
    selftest: bool,
    stabilize: bool,
    fast_math: bool,
    summation: Summation,
    strict: bool,
) -> CompiledFunction:
    """The pipeline: one call for each arrow of its picture (see docs/pipeline.md)."""
    chosen = in_common(load_target(target)) if strict else load_target(target)
    _log.debug("tracing")
    traced = trace(source, args)
    traced = replace(traced, graph=retype(traced.graph, dtype))
    primal = verify(traced.graph)
    _supported(primal, chosen)
    if strict:
        check_width(primal, chosen)
    by = _wrt(wrt, traced)
    kinds = _kinds(derivatives, primal, by)
    _log.debug("differentiating %d nodes", len(primal))
    stable, rewrites = stabilise(primal) if stabilize else (primal, Rewrites())
    joint = _differentiate(stable, by, kinds)
    _log.debug("simplifying %d nodes", len(joint))
    calm, more = stabilise(joint) if stabilize and joint is not stable else (joint, Rewrites())
    chosen = form(chosen, calm)
    prepared = prepare(calm, chosen, fast_math, summation)
    _log.debug("computing reference values for the self-test")
    tested = make_selftest(primal, by.keys if kinds != ("value",) else (), kinds) if selftest else None
    _log.debug("writing %s code for %d nodes", chosen.name, len(prepared))
    program = lower(
        prepared,
        _signature(traced, by, kinds, chosen),
        chosen,
        name=_identifier(traced.name if name is None else name),
        title=_plain(traced.title),
        derivatives=kinds,
        graph_hash=primal.digest(),
        selftest=tested,
    )
    files = render(program, chosen)
    report = Rewrites((*rewrites, *more))
    return CompiledFunction(program, chosen, files, traced, by, joint, _cost(prepared, primal, by, kinds), report)


def _floating(dtype: Any) -> DType:
    found = as_dtype(dtype)
    if found.kind != "float":
        raise SpecError(
            f'dtype={dtype!r}: choose "float64" or "float32"; give single arguments another type by gs.spec'
        )
    return found


def _supported(graph: Graph, target: Target) -> None:
    used = {n.type.dtype for n in graph.ordered() if not n.bodies}
    missing = sorted(dtype.name for dtype in used if not target.supports(dtype))
    for n in graph.ordered():
        for body in n.bodies.values():
            _supported(body, target)
    if missing:
        raise TargetError(
            f"target {target.name!r} has no {', '.join(missing)} (its types: "
            f'{", ".join(t for t in target.types if t in DTYPES)}): use target="numpy" or target="c"'
        )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No searches for reference cycles meanwhile: graphs have none, and looking costs as much as compiling."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _kinds(derivatives: Sequence[str] | None, primal: Graph, by: Wrt) -> tuple[str, ...]:
    shapes = [primal.nodes[k]["shape"] for k in primal.outputs]
    scalar = shapes == [()]
    if derivatives is None:
        return _KINDS if scalar and by.keys else ("value",)
    wanted = _entries(derivatives)
    unknown = [d for d in wanted if d not in _KINDS]
    if unknown or not wanted:
        raise SpecError(f"derivatives={derivatives!r}: choose from {', '.join(map(repr, _KINDS))}")
    if wanted != ("value",) and not by.keys:
        raise DerivativeError(
            "a gradient needs an argument to differentiate by, and there is none: derivatives=('value',)"
        )
    if wanted != ("value",) and not scalar:
        raise DerivativeError(
            f"a gradient needs one scalar result, but this one has {len(shapes)} with shapes "
            f"{', '.join(map(format_shape, shapes))}: reduce it first (gs.sum, gs.mean), or ask for "
            "derivatives=('value',)"
        )
    return tuple(k for k in _KINDS if k in wanted)


def _entries(option: Any) -> tuple[Any, ...]:
    """An option that is one entry, or several in a tuple or list."""
    return tuple(option) if isinstance(option, tuple | list) else (option,)


def _wrt(wrt: Any, traced: Traced) -> Wrt:
    """The inputs to differentiate by, and how their gradients are put back together."""
    names = [p.name for p in traced.parameters]
    entries = _differentiable(traced) if wrt is None else _entries(wrt)
    bare = len(entries) == 1 if wrt is None else not isinstance(wrt, tuple | list)
    if wrt is not None and not entries:
        raise SpecError("wrt=() names no argument: leave it out to differentiate by all, or say derivatives=('value',)")
    dtypes = {k: traced.graph.node(k).type.dtype for k in traced.graph.inputs}
    starts = [0]
    for p in traced.parameters:
        starts.append(starts[-1] + p.tree.size)
    keys: list[int] = []
    trees = []
    for entry in entries:
        label = entry.params.get("name") if isinstance(entry, Expr) else entry
        if isinstance(label, int) and not isinstance(label, bool) and -len(names) <= label < len(names):
            label = names[label]
        if label in names:
            i = names.index(label)
            found, tree = traced.graph.inputs[starts[i] : starts[i + 1]], traced.parameters[i].tree
        elif label in traced.leaves:
            i = traced.leaves.index(label)
            found, tree = traced.graph.inputs[i : i + 1], type(traced.parameters[0].tree)()
        else:
            raise SpecError(f"wrt={entry!r} is no argument: choose from {', '.join(map(str, names)) or 'none'}")
        if set(found) & set(keys):
            raise SpecError(f"wrt={wrt!r} names {label!r} twice")
        keys += found
        trees.append(tree)
    for key in keys:
        if dtypes[key].kind != "float":
            raise DerivativeError(
                f"wrt: the argument {traced.graph.nodes[key]['params']['name']!r} is {dtypes[key]}, and there is no "
                "derivative by integers and booleans: name the floating-point arguments in wrt="
            )
    return Wrt(tuple(keys), tuple(trees), bare)


def _differentiable(traced: Traced) -> list[str]:
    """The parameters that hold floating-point leaves only, which `wrt=None` means."""
    found, at = [], 0
    for p in traced.parameters:
        keys = traced.graph.inputs[at : at + len(p.paths)]
        at += len(p.paths)
        if all(traced.graph.node(k).type.dtype.kind == "float" for k in keys):
            found.append(p.name)
    return found


def _differentiate(primal: Graph, by: Wrt, kinds: tuple[str, ...]) -> Graph:
    primal = with_bodies(primal, share_sums)
    if kinds == ("value",):
        return primal
    return verify(adjoint(expand_underivable(primal), by.keys))


def _signature(traced: Traced, by: Wrt, kinds: tuple[str, ...], target: Target) -> Signature:
    primal, inputs = traced.graph, []
    paths = [path for p in traced.parameters for path in p.paths]
    for key, leaf, path in zip(primal.inputs, traced.leaves, paths, strict=True):
        inputs.append(_argument(primal, key, leaf, f"{path}, " if path != leaf else "", target))
    values = [
        _argument(primal, k, n, "", target, memory=True)
        for k, n in zip(primal.outputs, traced.output_names, strict=True)
    ]
    gradients: list[Argument] = []
    if kinds != ("value",):
        for key in by.keys:
            leaf = traced.leaves[primal.inputs.index(key)]
            gradients.append(_argument(primal, key, f"d_{leaf}", "", target, memory=True))
    return Signature(tuple(inputs), tuple(values), tuple(gradients))


def _argument(graph: Graph, key: int, name: str, path: str, target: Target, *, memory: bool = False) -> Argument:
    type = graph.node(key).type
    what = f"{type.dtype} array of shape {format_shape(type.shape)}" if type.shape else f"{type.dtype} scalar"
    return argument(name, type, path + what, target, memory=memory or type.shape != ())


def _identifier(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise SpecError(f"name={name!r} is not an identifier: use letters, digits and _, such as name='f'")
    return name


def _plain(title: str) -> str:
    """The title as it can stand in a docstring and in a comment: one line, no quotes that end it."""
    line = " ".join(title.split()).replace("\\", "/").replace('"""', "'''").replace("*/", "* /")
    line = line.replace("??", "? ?")  # the start of a trigraph
    return (line if len(line) <= 100 else line[:99] + "…").removesuffix('"')


def _cost(prepared: Graph, primal: Graph, by: Wrt, kinds: tuple[str, ...]) -> Cost:
    outputs = prepared.outputs
    sizes = [1] * len(primal.outputs)
    if len(outputs) != len(primal.outputs) + (len(by.keys) if kinds != ("value",) else 0):
        sizes = [primal.node(k).type.size for k in primal.outputs]  # scalar code has an output for each element
    values, gradients = outputs[: sum(sizes)], outputs[sum(sizes) :]
    counts = [MappingProxyType(count(prepared, keys)) for keys in (values, gradients, outputs)]
    return Cost(*counts)
