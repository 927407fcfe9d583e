"""What lies between `f.grad(...)` and the generated function: as little as the target allows.

In: a compiled function. Out: for each kind of function a callable that takes and gives the user's pytrees. For C it is
a built-in function of the extension module, which takes arguments apart, checks them and puts results together itself;
no Python frame lies in between (docs/decisions/0027-call-path.md). Where there is none, `CompiledFunction` does the same
in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .errors import ArgumentError, GradsmithError, ShapeMismatchError
from .pytree import Tree
from .tracing import Parameter

__all__ = ["KINDS_CALLED", "Form", "directions", "form_of", "given_leaves", "linked", "sequence_of", "written"]

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
    kind: str, name: str, parameters: Sequence[Parameter], outputs: Tree, by: Sequence[Tree], bare: bool, of: Sequence[str]
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


def linked(module: Any, function: str, title: str, doc: str, form: Form) -> Callable[..., Any]:
    """The built-in function of an extension module that calls one of its functions in this form."""
    flat = all(tree.kind is None for tree in form.takes)
    out = "" if "out" in form.names else ", *, out=None"
    text = f"{title}($self{''.join(f', {name}' for name in form.names)}{out})\n--\n\n{doc}"
    takes = None if flat else [node for tree in form.takes for node in tree.nodes()]
    made = module.gs_bind(
        function, title, text, form.names, takes, form.gives.nodes(), form.flatten, ShapeMismatchError, ArgumentError
    )
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
    return out if not any(p is None for p in places) else gives.unflatten(
        [r if p is None else p for p, r in zip(places, results, strict=True)]
    )


def _shared(place: np.ndarray[Any, Any], other: Any) -> bool:
    return isinstance(other, np.ndarray) and np.may_share_memory(place, other)


def without_out(names: Sequence[str], named: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Keyword arguments without `out`, and `out`, unless the user's function has an argument of that name."""
    if "out" in names or "out" not in named:
        return dict(named), None
    rest = {key: value for key, value in named.items() if key != "out"}
    return rest, named["out"]
