"""What lies between `f.grad(...)` and the generated function: as little as the target allows.

In: a compiled function. Out: for each kind of function a callable that takes and gives the user's pytrees. For C it is
a built-in function of the extension module, which takes arguments apart, checks them and puts results together; for
Python, where the structure is flat, it is the generated function with a check of types in front
(docs/decisions/0027-call-path.md). Where there is neither, `CompiledFunction` does the same in Python.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gradsmith_runtime import Guard

from .dims import Dim
from .errors import ArgumentError, GradsmithError, ShapeMismatchError
from .origin import Origin
from .passes.specialise import resolved
from .program import Argument, Function
from .pytree import Tree
from .tracing import Parameter
from .types import Shape, format_shape, refuse_narrow

__all__ = [
    "KINDS_CALLED",
    "LONGEST_GUARDED",
    "Form",
    "bound",
    "checked_argument",
    "directions",
    "flat_call",
    "form_of",
    "given_leaves",
    "guard_of",
    "linked",
    "sequence_of",
    "sizes_in_call",
    "without_out",
    "written",
]  # fmt: skip

#: What each kind of function is called with, besides the arguments themselves; `vjp` returns a function, and stays out.
KINDS_CALLED = ("value", "grad", "value_and_grad", "jvp", "jacobian", "hessian", "hvp")


@dataclass(frozen=True)
class Form:
    """The names and trees of a callable's parameters, the tree of its results, and how else to take a value apart."""

    names: tuple[str, ...]
    takes: tuple[Tree, ...]
    gives: Tree
    flatten: Callable[[int, Any], list[Any]]


def _tuple_of(trees: Sequence[Tree]) -> Tree:
    return Tree("tuple", tuple(range(len(trees))), tuple(trees))


def form_of(
    kind: str,
    name: str,
    parameters: Sequence[Parameter],
    outputs: Tree,
    by: Sequence[Tree],
    bare: bool,
    of: Sequence[str],
) -> Form:
    """The form of a kind of function: `by` are the trees of what it is differentiated by, `of` their names."""
    gradient = by[0] if bare else _tuple_of(by)
    gives = {
        "value": outputs,
        "grad": gradient,
        "value_and_grad": _tuple_of([Tree(), gradient]),
        "jvp": _tuple_of([outputs, outputs]),
        "jacobian": outputs.filled(gradient),
        "hessian": outputs.filled(gradient.filled(gradient)),
        "hvp": gradient,
    }[kind]
    trees = tuple(p.tree for p in parameters)
    if kind in ("jvp", "hvp"):
        seeded = partial(_seeded, name, tuple(parameters), tuple(by), tuple(of))
        return Form(("primals", "tangents"), (_tuple_of(trees), _tuple_of(by)), gives, seeded)
    return Form(tuple(p.name for p in parameters), trees, gives, partial(_plain, name, tuple(parameters)))


def _plain(name: str, parameters: Sequence[Parameter], at: int, value: Any) -> list[Any]:
    return given_leaves(name, parameters[at].name, parameters[at].tree, value)


def _seeded(
    name: str, parameters: Sequence[Parameter], by: Sequence[Tree], of: Sequence[str], at: int, value: Any
) -> list[Any]:
    if at == 1:
        return directions(name, by, of, value)
    given = sequence_of(name, "primals", value)
    if len(given) != len(parameters):
        names = ", ".join(p.name for p in parameters)
        raise ArgumentError(f"{name}() takes ({names}): got {len(given)} primals")
    return [leaf for p, v in zip(parameters, given, strict=True) for leaf in given_leaves(name, p.name, p.tree, v)]


def given_leaves(name: str, what: str, tree: Tree, value: Any) -> list[Any]:
    """The leaves of `value`, or an error that names the function."""
    try:
        return tree.flatten(value, what)
    except GradsmithError as error:
        raise ArgumentError(f"{name}(): {error}") from None


def sequence_of(name: str, what: str, given: Any) -> Sequence[Any]:
    """`given`, if it is a tuple or a list."""
    if isinstance(given, tuple | list):
        return given
    raise ArgumentError(f"{name}: {what} is a tuple of one entry an argument, not {type(given).__name__}")


def directions(name: str, by: Sequence[Tree], of: Sequence[str], tangents: Any) -> list[Any]:
    """The leaves of `tangents`, one entry for each argument of `wrt`."""
    given = sequence_of(name, "tangents", tangents)
    if len(given) != len(by):
        raise ArgumentError(
            f"{name}: got {len(given)} tangents, expected {len(by)}: one for each argument of wrt ({', '.join(of)})"
        )
    return [
        leaf
        for i, (tree, tangent) in enumerate(zip(by, given, strict=True))
        for leaf in given_leaves(name, f"tangents[{i}]", tree, tangent)
    ]


def linked(
    module: Any, function: str, title: str, doc: str, form: Form, reduced: tuple[Any, ...]
) -> Callable[..., Any]:
    """The built-in function of an extension module that calls one of its functions in this form.

    `reduced`: what is pickled in its place, as of `__reduce__`: an object that has it as the attribute `title`.
    """
    flat = all(tree.kind is None for tree in form.takes)
    out = "" if "out" in form.names else ", *, out=None"
    text = f"{title}($self{''.join(f', {name}' for name in form.names)}{out})\n--\n\n{doc}"
    takes = None if flat else [node for tree in form.takes for node in tree.nodes()]
    made = module.gs_bind(
        function, title, text, form.names, takes, form.gives.nodes(), form.flatten, ShapeMismatchError, ArgumentError,
        reduced,
    )  # fmt: skip
    return made  # type: ignore[no-any-return]


def written(name: str, gives: Tree, results: Sequence[Any], out: Any, arguments: Sequence[Any]) -> Any:
    """The results, written into the arrays of `out` (None: as they are): what C code does by itself."""
    if out is None:
        return gives.unflatten(results)
    try:
        places = gives.flatten(out, "out")
    except GradsmithError as error:
        raise ArgumentError(f"{name}(): {error}: out has the structure of the result") from None
    for i, (place, result) in enumerate(zip(places, results, strict=True)):
        if place is None:
            continue
        wanted = np.asarray(result)
        problem = (
            "is no NumPy array" if not isinstance(place, np.ndarray)
            else "is a masked array" if _is_masked(place)
            else f"holds {place.dtype}, and results are {wanted.dtype}" if place.dtype != wanted.dtype
            else "is read-only" if not place.flags.writeable
            else "is not C-contiguous" if not place.flags.c_contiguous
            else "is misaligned" if not place.flags.aligned
            else "shares memory with an argument" if any(_shared(place, a) for a in arguments)
            else "shares memory with another" if any(_shared(place, p) for p in places[:i])
            else ""
        )  # fmt: skip
        if problem:
            raise ArgumentError(f"{name}(): out for result {i} {problem}")
        if place.shape != wanted.shape:
            raise ShapeMismatchError(f"{name}(): out for result {i} has shape {place.shape}, expected {wanted.shape}")
    for place, result in zip(places, results, strict=True):
        if place is not None:
            place[...] = result
    return (
        out
        if not any(p is None for p in places)
        else gives.unflatten([r if p is None else p for p, r in zip(places, results, strict=True)])
    )


def _shared(place: np.ndarray[Any, Any], other: Any) -> bool:
    return isinstance(other, np.ndarray) and np.may_share_memory(place, other)


def without_out(names: Sequence[str], named: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Keyword arguments without `out`, and `out`, unless the user's function has an argument of that name."""
    if "out" in names or "out" not in named:
        return dict(named), None
    rest = {key: value for key, value in named.items() if key != "out"}
    return rest, named["out"]


def flat_call(
    name: str, function: Callable[..., Any], emitted: Function, leaves: Sequence[Any], lists: bool
) -> Sequence[Any]:
    """Call Python code on flat leaves, which are checked; a flat sequence of results.

    With `lists`, arrays become lists and all numbers Python's own, which plain Python code is fastest on.
    """
    take = _plain_argument if lists else checked_argument
    checked = [
        value if type(value) is float and argument.dtype == "float64" and not argument.shape
        else take(name, value, argument)
        for value, argument in zip(leaves, emitted.inputs, strict=True)
    ]  # fmt: skip
    return _flattened(function(*checked), emitted.groups)


_DTYPES = {name: np.dtype(name) for name in ("float64", "float32", "int64", "int32", "bool")}


def _plain_argument(name: str, value: Any, argument: Argument) -> Any:
    """`value` as Python's own number, or a list of them, if it can be the argument."""
    if type(value) is np.ndarray and value.dtype is _DTYPES[argument.dtype] and value.shape == argument.shape:
        return value.tolist()
    return np.asarray(checked_argument(name, value, argument), dtype=argument.dtype).tolist()


# kinds of NumPy's dtypes that an argument may have
_FITTING = {"float64": "fiub", "float32": "fiub", "int64": "iub", "int32": "iub", "bool": "b"}


def checked_argument(name: str, value: Any, argument: Argument) -> Any:
    """`value`, if it can be the argument; else an error that names both shapes or the dtype."""
    try:
        if isinstance(value, numbers.Real) and not isinstance(value, np.generic) and argument.dtype[:5] == "float":
            value = float(value)
        array = np.asarray(value)
        exact = array.dtype == object and isinstance(value, list | tuple) and argument.dtype[:5] == "float"
        if exact and all(isinstance(v, numbers.Real) for v in array.flat):  # fractions, integers beyond 64 bits
            value = array = array.astype(np.float64)
        refuse_narrow(array.dtype)
        if _is_masked(value):
            raise TypeError(
                "it has a mask, which would be lost: pass .filled(number), or its .data if all of it counts"
            )
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        message = getattr(error, "problem", error)
        raise ArgumentError(f"{name}(): argument {argument.name!r} is no array of real numbers: {message}") from None
    if array.dtype.kind not in _FITTING[argument.dtype] or array.dtype.itemsize > 8:
        raise ArgumentError(
            f"{name}(): argument {argument.name!r} has dtype {array.dtype} ({type(value).__name__}), expected "
            f"{argument.dtype}"
        )
    if argument.dtype[:3] == "int" and array.size and array.dtype.kind != "b":
        limits = np.iinfo(argument.dtype)
        for worst in (array.min(), array.max()):
            if not limits.min <= worst <= limits.max:
                raise ArgumentError(f"{name}(): argument {argument.name!r}: {worst} does not fit {argument.dtype}")
    if argument.is_fixed and array.shape != argument.shape:
        raise ShapeMismatchError(
            f"{name}(): argument {argument.name!r} has shape {array.shape}, expected {argument.shape}"
        )
    return value


def _is_masked(value: Any) -> bool:
    """Whether this is one of NumPy's masked arrays; by its name, as `numpy.ma` takes long to import."""
    return isinstance(value, np.ndarray) and any(c.__name__ == "MaskedArray" for c in type(value).__mro__)


def _flattened(result: Any, groups: Sequence[int]) -> list[Any]:
    """Nested results of Python code (`value, (d_x, d_y)`) as a flat list; `groups` counts what stands in brackets."""
    parts = result if len(groups) > 1 else [result]
    return [v for part, size in zip(parts, groups, strict=True) for v in (part if size > 1 else [part])]


# --- Python code that stands for a method ---

#: Characters of Python source up to which functions are entered directly: beyond them, reading the text twice costs
#: more (some 0.3 s a megabyte) than a call gains (1 us of more than 1,000).
LONGEST_GUARDED = 500_000
_MISSING = object()


def guard_of(name: str, emitted: Function, form: Form) -> Guard | None:
    """How Python code is entered as `f.grad` is called; None if it takes or gives another structure.

    Arguments that are Python's own floats, or lists of the right length of nothing else, go straight into the code;
    anything else is converted or refused behind a way out, which is taken before results are there.
    """
    parts = [Tree() if size == 1 else _tuple_of([Tree()] * size) for size in emitted.groups]
    made = parts[0] if len(parts) == 1 else _tuple_of(parts)
    result = "" if form.gives == made else _expression(form.gives, itertools.count())
    flat = all(tree.kind is None for tree in form.takes) and result is not None
    fits = all(a.dtype == "float64" and a.ndim < 2 and a.is_fixed for a in emitted.inputs)
    if not (flat and fits and form.names == tuple(a.name for a in emitted.inputs)):  # code may rename: `in_` for `in`
        return None
    tests: dict[str, str] = {}
    for a in emitted.inputs:
        tests[a.name] = (
            f"{a.name}.__class__ is not _gs_float" if a.is_scalar
            else f"{a.name}.__class__ is not _gs_list or _gs_len({a.name}) != {a.size}"
            f" or _gs_count(_gs_map(_gs_type, {a.name}), _gs_float) != {a.size}"
        )  # fmt: skip
    out = "out" if "out" not in tests else ""
    if out:
        tests[out] = f"{out} is not None"
    other = partial(_converted, name, emitted, form)
    lists = [a.name for a in emitted.inputs if not a.is_scalar]
    return Guard(tests, _MISSING, out, other, lists, result or "", emitted.groups)


def _expression(tree: Tree, number: Iterator[int]) -> str | None:
    """Python code that puts `_gs_0`, `_gs_1` … together; None where a class of the user's would be needed."""
    if tree.kind is None:
        return f"_gs_{next(number)}"
    parts = [_expression(child, number) for child in tree.children]
    if None in parts or tree.kind not in _BRACKETS or not all(type(key) in (int, str) for key in tree.keys):
        return None
    begin, end = _BRACKETS[tree.kind]
    inside = [f"{key!r}: {part}" if tree.kind == "dict" else part for key, part in zip(tree.keys, parts, strict=True)]
    return begin + "".join(f"{part}, " for part in inside) + end


_BRACKETS = {"none": ("None", ""), "tuple": ("(", ")"), "list": ("[", "]"), "dict": ("{", "}")}


def _converted(
    name: str,
    emitted: Function,
    form: Form,
    function: Callable[..., Any],
    guarded: Callable[..., Any],
    *given: Any,
) -> Any:
    """A call that Python code cannot take as it is; behind the arguments stands `out`, if it takes one."""
    leaves = given[: len(emitted.inputs)]
    missing = [n for n, value in zip(form.names, leaves, strict=True) if value is _MISSING]
    if missing:
        raise ArgumentError(f"{name}() takes ({', '.join(form.names)}): missing {', '.join(map(repr, missing))}")
    out = given[-1] if len(given) > len(leaves) else None
    if out is None:  # what is converted passes the guard
        return guarded(*map(_plain_argument, itertools.repeat(name), leaves, emitted.inputs))
    results = flat_call(name, function, emitted, leaves, lists=True)
    return written(name, form.gives, results, out, leaves)


def bound(name: str, names: Sequence[str], args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call of the function `name`, in the order of its parameters `names`."""
    found = dict(zip(names, args, strict=False))
    twice = [n for n in named if n in found]
    unknown = [n for n in named if n not in names]
    missing = [n for n in names if n not in found and n not in named]
    if len(args) > len(names) or twice or unknown or missing:
        problem = (
            f"got {len(args)} arguments" if len(args) > len(names)
            else f"got {twice[0]!r} twice" if twice
            else f"there is no argument {unknown[0]!r}" if unknown
            else f"missing {', '.join(map(repr, missing))}"
        )  # fmt: skip
        raise ArgumentError(f"{name}() takes ({', '.join(names)}): {problem}")
    found |= named
    return [found[n] for n in names]


def sizes_in_call(
    name: str,
    inputs: Sequence[Argument],
    shapes: Sequence[Shape],
    needed: Sequence[tuple[Dim, int, Origin]],
    leaves: Sequence[Any],
) -> dict[str, int]:
    """The sizes of named dimensions in a call of the function `name`, after a look at whether all arguments agree.

    `shapes` are those of `inputs`, in the user's names; `needed` are the least sizes with which all reads are within.
    """
    found: dict[str, int] = {}
    whose: dict[str, str] = {}
    later = []
    for leaf, argument, wanted in zip(leaves, inputs, shapes, strict=True):
        seen = np.shape(leaf)
        fits = len(seen) == len(wanted) and all(isinstance(w, Dim) or w == s for w, s in zip(wanted, seen, strict=True))
        if not fits:
            raise ShapeMismatchError(
                f"{name}(): argument {argument.name!r} has shape {seen}, expected {format_shape(wanted)}"
            )
        for dim, size in zip(wanted, seen, strict=True):
            if isinstance(dim, Dim) and dim.is_name and dim.name not in found:
                found[dim.name], whose[dim.name] = size, argument.name
            elif isinstance(dim, Dim):
                later.append((argument.name, dim, size))
    for argument_name, dim, size in later:
        (there,) = resolved((dim,), found)
        if there != size:
            first = whose[dim.names[0]]
            raise ShapeMismatchError(
                f"{name}(): argument {argument_name!r}: {dim} is {size}, but {first!r} has {dim} = {there}"
            )
    for dim, least, origin in needed:
        (there,) = resolved((dim,), found)
        if there < least:
            place = f" (at {origin})" if origin.line else ""
            raise ShapeMismatchError(
                f"{name}(): {dim} is {there}, and must be {least} or more for an element that is read{place}"
            )
    return found
