"""From what the user gives `compile` to a graph: expressions, functions, SymPy objects and text all end here.

In: the source and `args=`. Out: a `Traced` record: the graph, and how arguments and results map to its inputs and
outputs. Guarantee: the same computation gives the same graph, whichever way it was written.
"""

from __future__ import annotations

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .as_graph import input_symbols, reachable, symbols_among, to_graph
from .errors import SpecError, TraceError
from .frontends.sympy import from_sympy, is_sympy
from .frontends.sympy_errors import written
from .frontends.text import parse
from .graph import Graph
from .pytree import Tree, flatten, leaf_names
from .trace import Expr, as_expr, symbol
from .types import FLOAT64, Dim, Type, as_dtype, normalize_shape, refuse_narrow

__all__ = ["Parameter", "Spec", "Traced", "is_leaf", "spec", "trace"]


@dataclass(frozen=True)
class Spec:
    """The shape and element type of one array argument, where a tuple could be mistaken for a container."""

    type: Type


def spec(shape: Any = (), dtype: Any = FLOAT64) -> Spec:
    """A leaf of `args=`: an array (or scalar) of this shape and element type.

    >>> spec((3, 4))
    Spec(type=Type(shape=(3, 4), dtype=gradsmith.float64))
    """
    return Spec(Type(normalize_shape(shape), as_dtype(dtype)))


@dataclass(frozen=True)
class Parameter:
    """One argument of the user's function: its name, its pytree, and the paths of its leaves."""

    name: str
    tree: Tree
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Traced:
    """A traced source: the graph, its arguments and the pytree of its results."""

    graph: Graph
    parameters: tuple[Parameter, ...]
    leaves: tuple[str, ...]  # names of the graph's inputs, distinct
    outputs: Tree
    output_names: tuple[str, ...]
    name: str
    title: str


def trace(source: Any, args: Any = None, most: int | None = None) -> Traced:
    """Trace an expression, a pytree of expressions, a function, a SymPy object, or text.

    More than `most` arguments are refused before anything is done with them.
    """
    if callable(source) and not isinstance(source, Expr) and not is_sympy(source):
        return _function(source, args, most)
    return _expressions(source, args, most)


def _refuse_many(count: int, most: int | None) -> None:
    if most is not None and count > most:
        raise SpecError(
            f"{count:,} arguments, and a function of generated code takes {most:,} at most: put numbers of a kind into "
            f'an array, such as x = gs.symbol("x", ({count},)) with x[i] for the i-th of them, or raise the limit by '
            f"tuning=gs.Tuning(most_arguments=...)"
        )


# --- expressions ----------------------------------------------------------------------------------------------------


def _expressions(source: Any, args: Any, most: int | None) -> Traced:
    """A pytree of expressions, SymPy objects and text, which share the symbols of one name."""
    known = {n: _leaf_symbol(n, leaf, n) for n, leaf in args.items()} if isinstance(args, Mapping) else {}
    leaves, paths, tree = flatten(source, lambda v: isinstance(v, Expr | np.ndarray | str) or is_sympy(v))
    if not any(isinstance(leaf, Expr | str) or is_sympy(leaf) for leaf in leaves):
        raise SpecError(
            f"compile() takes an expression, a function, a SymPy expression or text, not {type(source).__name__}"
        )
    if isinstance(args, Sequence | Mapping) and not isinstance(args, str):
        _refuse_many(len(args), most)
    given = [as_expr(leaf) for leaf in leaves if isinstance(leaf, Expr)]
    needed = reachable(given)
    order = [*known.values(), *symbols_among(needed)]
    _refuse_many(len(order), most)
    known.update({str(s.name): s for s in order})
    outputs = []
    for leaf in leaves:
        value = leaf
        if isinstance(leaf, str) or is_sympy(leaf):
            value, found = parse(leaf, known) if isinstance(leaf, str) else from_sympy(leaf, known)
            order += [s for s in found if not any(s is o for o in order)]
            known.update({str(s.name): s for s in found})
        outputs.append(as_expr(value))
    symbols = order if isinstance(args, Mapping) else _chosen(args, order, outputs)
    _refuse_many(len(symbols), most)
    names = [str(s.name) for s in symbols]
    if len(set(names)) != len(names):
        twice = sorted(n for n, count in Counter(names).items() if count > 1)
        raise SpecError(f"two different symbols share the name {', '.join(twice)}: rename one (names become arguments)")
    parameters = tuple(Parameter(n, Tree(), (n,)) for n in names)
    all_given = len(given) == len(outputs) and all(map(operator.is_, given, outputs))
    graph = to_graph(symbols, outputs, needed=needed if all_given else None)
    title = _title(source) or f"f({', '.join(names)})"
    return Traced(graph, parameters, tuple(names), tree, _output_names(paths), "f", title)


def _title(source: Any) -> str:
    """Text as it was given, a SymPy expression as SymPy writes it, or nothing."""
    return source if isinstance(source, str) else written(source) if is_sympy(source) else ""


def _chosen(args: Any, found: list[Expr], outputs: Sequence[Expr]) -> list[Expr]:
    """The symbols in the order of `args=` (names or symbols), or as they were found."""
    if args is None:
        return found
    wanted = args.replace(",", " ").split() if isinstance(args, str) else _listed(args)
    by_name = {s.name: s for s in found}
    chosen: list[Any] = [by_name.get(str(a), a) if isinstance(a, str) or is_sympy(a) else a for a in wanted]
    for a in chosen:
        if not isinstance(a, Expr) or a.op.name != "input":
            raise SpecError(
                f"args= names {a!r}, which is no symbol of the expression; it has {', '.join(map(str, by_name))}"
            )
    counts = Counter(id(a) for a in chosen)
    twice = [str(a.name) for a in {id(a): a for a in chosen if counts[id(a)] > 1}.values()]
    if twice:
        raise SpecError(f"args= names {', '.join(twice)} twice")
    missing = [str(s.name) for s in input_symbols(outputs) if id(s) not in counts]
    if missing:
        raise SpecError(f"args= lacks {', '.join(missing)}, which the expression uses")
    return chosen


def _listed(args: Any) -> list[Any]:
    if not isinstance(args, Iterable):
        raise SpecError(f"args= is a sequence of symbols or of their names, not {args!r}")
    return list(args)


def _output_names(paths: Sequence[str]) -> tuple[str, ...]:
    if len(paths) == 1:
        return ("value",)
    words = ["".join(c if c.isalnum() else " " for c in p).split() for p in paths]
    return tuple("_".join(["value", *w]) for w in words)


# --- functions ------------------------------------------------------------------------------------------------------


def _function(function: Callable[..., Any], args: Any, most: int | None) -> Traced:
    name = getattr(function, "__name__", "f")
    names = _parameter_names(function, args)
    examples = _examples(args, names)
    symbols: list[Expr] = []
    parameters: list[Parameter] = []
    taken: dict[str, int] = {}
    values = []
    for parameter, example in zip(names, examples, strict=True):
        leaves, paths, tree = flatten(example, is_leaf, parameter)
        _refuse_many(len(symbols) + len(leaves), most)
        fresh = [_leaf_symbol(n, leaf, p) for n, leaf, p in zip(leaf_names(paths, taken), leaves, paths, strict=True)]
        symbols += fresh
        parameters.append(Parameter(parameter, tree, tuple(paths)))
        values.append(tree.unflatten(fresh))
    try:
        result = function(*values)
    except ValueError as error:  # NumPy's "setting an array element with a sequence" hides what is wrong
        if isinstance(error.__cause__, TraceError):
            raise error.__cause__ from None
        raise
    leaves, paths, tree = flatten(result, lambda v: isinstance(v, Expr | np.ndarray))
    if not leaves:
        raise TraceError(
            f"{name}() returned {result!r}, which holds no value: return an expression or a pytree of them"
        )
    outputs = [as_expr(leaf) for leaf in leaves]
    graph = to_graph(symbols, outputs)
    doc = inspect.getdoc(function) or ""
    title = doc.splitlines()[0] if doc else f"{name}({', '.join(names)})"
    clean = name if name.isidentifier() else "f"
    return Traced(
        graph, tuple(parameters), tuple(str(s.name) for s in symbols), tree, _output_names(paths), clean, title
    )


def _parameter_names(function: Callable[..., Any], args: Any) -> list[str]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return [f"x{i}" for i in range(len(args or ()))]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in signature.parameters.values() if p.kind in kinds]
    required = [p.name for p in positional if p.default is inspect.Parameter.empty]
    rest = [p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    for p in signature.parameters.values():
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty:
            raise SpecError(
                f"the parameter {p.name!r} can be given by keyword only, and generated functions take positions: "
                "make it positional, or fix it with functools.partial"
            )
    if args is None:
        return required
    if not isinstance(args, Sequence | Mapping) or isinstance(args, str):
        raise SpecError(f"args= is a tuple with one spec, shape or example value for each parameter, not {args!r}")
    count = len(args)
    names = [p.name for p in positional[:count]]
    names += [f"{rest[0]}_{i}" for i in range(count - len(names))] if rest else []
    if len(names) != count or count < len(required):
        raise SpecError(
            f"args= has {count} entries, but {getattr(function, '__name__', 'the function')}{signature} takes "
            f"{len(required) if len(required) == len(positional) else f'{len(required)} to {len(positional)}'}"
        )
    return names


def _examples(args: Any, names: Sequence[str]) -> list[Any]:
    if args is None:
        return [spec()] * len(names)
    if isinstance(args, Mapping):
        unknown = [n for n in names if n not in args]
        if unknown:
            raise SpecError(f"args= lacks the parameter {', '.join(unknown)}; it has {', '.join(map(str, args))}")
        return [args[n] for n in names]
    return list(args)


def is_leaf(value: Any) -> bool:
    """Specs, shapes (tuples of ints and names), numbers, arrays and symbols."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return all(isinstance(d, int | np.integer | str | Dim) and not isinstance(d, bool) for d in value)
    return not isinstance(value, tuple | list | dict) and (
        isinstance(value, Spec | Expr | np.ndarray | float | int | np.generic) or hasattr(value, "__array__")
    )


def _leaf_symbol(name: str, leaf: Any, path: str) -> Expr:
    """The symbol for one leaf of `args=`. Shapes and Python's own numbers mean float64, and so do integer arrays.

    Whoever wants integers says so with `gs.spec(shape, "int64")`: examples such as `x=3` are mostly meant as numbers.
    """
    if isinstance(leaf, Spec | Expr):
        return symbol(name, leaf.type.shape, leaf.type.dtype)
    if isinstance(leaf, tuple):
        return symbol(name, leaf)
    refuse_narrow(getattr(leaf, "dtype", None))
    if isinstance(leaf, float | int | np.number):
        return symbol(name)
    if hasattr(leaf, "__array__"):
        array = np.asarray(leaf.detach() if hasattr(leaf, "detach") else leaf)  # torch's parameters must be detached
        if array.dtype.kind not in "fiub":
            raise SpecError(f"args=: {path} is an example of dtype {array.dtype}; real numbers are needed")
        return symbol(name, array.shape)
    raise SpecError(f"args=: {path} is {leaf!r}; give a shape such as (3, 4), gs.spec(...), or an example value")
