"""`vmap`: a function mapped over an axis of its arguments, as array code and not as a loop.

In: a function of pytrees of traced values, and the axes to map over. Out: a function of arrays that hold all elements.
The function is traced on one element; the graph of what depends on it is then built for all of them (batched.py), with
the elements along the first axis. A value that the function only closes over is the same for all elements.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..as_graph import between
from ..errors import ShapeError, SpecError
from ..ops._batch import moved, spread
from ..pytree import Tree, flatten, parameter_names
from ..registry import lookup
from ..trace import Expr, as_expr, recording
from ..types import Dim, Type, format_shape
from .batched import Batch, Value
from .batched_regions import REGIONS

__all__ = ["vmap"]


def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None) -> Any:
    """A function that maps `fun` over an axis of its arguments, as `jax.vmap`: array code, not a loop.

    Parameters
    ----------
    fun: a function of pytrees of traced values, written for one element.
    in_axes: which axis of the arguments to map over: an int (negative ones count from the end) for all, or a tuple or
        list of one entry a positional argument. An entry is an int, None for an argument that is the same for all
        elements, or a pytree of these that is a prefix of the argument's. Keyword arguments are mapped over axis 0.
    out_axes: where the results have that axis: an int, None for results that are the same for all elements, or a
        pytree of these that is a prefix of the result's. What does not depend on the element is repeated.
    axis_size: how many elements there are; needed only where nothing is mapped over.

    Branches whose condition differs between elements compute both sides and choose; loops whose test differs run while
    it holds for any element. `gs.map` is the same as a loop, which keeps one element's values at a time.

    Errors: `ShapeError` for axes that an argument lacks and for sizes that differ; `SpecError` for `in_axes` and
    `out_axes` that do not fit, and where the number of elements is not known.

    >>> import gradsmith as gs
    >>> def predict(w, x):
    ...     return gs.tanh(gs.sum(w * x))
    >>> f = gs.compile(gs.vmap(predict, in_axes=(None, 0)), args=((2,), (3, 2)), target="numpy", derivatives="value")
    >>> f([1.0, 0.0], [[0.0, 5.0], [0.5, 5.0], [1.0, 5.0]]).round(4).tolist()
    [0.0, 0.4621, 0.7616]
    >>> slopes = gs.vmap(gs.grad(predict), in_axes=(None, 0))  # one gradient for each example
    >>> gs.compile(slopes, args=((2,), (3, 2)), derivatives="value")([0.0, 0.0], [[0.0, 5.0], [0.5, 6.0], [1.0, 7.0]])
    [[0.0, 5.0], [0.5, 6.0], [1.0, 7.0]]
    """
    if not callable(fun):
        raise SpecError(f"vmap: takes a function, not {type(fun).__name__}")
    if isinstance(in_axes, dict) or not _is_axes(in_axes):
        raise SpecError(
            f"vmap: in_axes={in_axes!r}: give an int, None, or a tuple of one entry a positional argument, of ints, "
            "None and pytrees of these"
        )
    if not _is_axes(out_axes):
        raise SpecError(f"vmap: out_axes={out_axes!r}: give an int, None, or a pytree of these")

    def mapped(*args: Any, **named: Any) -> Any:
        return _mapped(fun, in_axes, out_axes, axis_size, args, named)

    mapped.__name__ = mapped.__qualname__ = f"vmap_{getattr(fun, '__name__', 'f').strip('<>')}"
    try:
        mapped.__signature__ = inspect.signature(fun)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        pass
    return mapped


def _mapped(
    fun: Callable[..., Any], in_axes: Any, out_axes: Any, axis_size: int | None, args: Sequence[Any], named: Any
) -> Any:
    leaves, paths, tree = flatten((list(args), named), _is_leaf)
    names = parameter_names(fun, len(args))
    paths = [_path(p, names) for p in paths]
    if isinstance(in_axes, tuple | list) and len(in_axes) != len(args):
        raise SpecError(
            f"vmap: in_axes has {len(in_axes)} entries, but there are {len(args)} positional arguments: give one for "
            "each (keyword arguments are mapped over axis 0)"
        )
    axes = _spread("in_axes", list(in_axes) if isinstance(in_axes, tuple) else in_axes, tree.children[0], "in_axes")
    axes += [0] * tree.children[1].size
    arrays = [None if a is None else as_expr(v) for v, a in zip(leaves, axes, strict=True)]
    places = [
        None if x is None else _place(a, x.ndim, f"in_axes has {a} for {path}, which is {x.type}")
        for x, a, path in zip(arrays, axes, paths, strict=True)
    ]
    size = _size(axis_size, arrays, places, paths)
    given, elements, whole = [*leaves], list[Expr](), list[Value]()
    for k, (x, at) in enumerate(zip(arrays, places, strict=True)):
        if x is None or at is None:
            continue
        type = Type((*x.shape[:at], *x.shape[at + 1 :]), x.dtype)
        label = x.name or "".join(c if c.isalnum() else "_" for c in paths[k]).strip("_")
        given[k] = Expr(lookup("input"), (), {"name": label}, type, x.origin)
        elements.append(given[k])
        whole.append(Value(moved(x, at, 0), True))
    inner, keywords = tree.unflatten(given)
    results, places_out, shape = flatten(fun(*inner, **keywords), _is_leaf, "the result")
    wanted = _spread("out_axes", out_axes, shape, "out_axes")
    found = _for_all(size, elements, whole, [as_expr(v) for v in results])
    return shape.unflatten([_placed(v, a, size, p) for v, a, p in zip(found, wanted, places_out, strict=True)])


def _for_all(size: Any, elements: Sequence[Expr], whole: Sequence[Value], outputs: Sequence[Expr]) -> list[Value]:
    """`outputs`, which are computed from `elements`, for all elements."""
    graph, around = between(outputs, elements)
    with recording() as state:
        return Batch(size, state, REGIONS).outputs(graph, [*whole, *(Value(x, False) for x in around)])


def _placed(v: Value, axis: Any, size: Any, path: str) -> Expr:
    """A result with the elements' axis where it is wanted."""
    if axis is None:
        if v.mapped:
            raise SpecError(
                f"vmap: out_axes has None for {path}, but it differs between the elements: give the axis that is to "
                "hold them"
            )
        return v.x
    x = v.x if v.mapped else spread(v.x, size)
    return moved(x, 0, _place(axis, x.ndim, f"out_axes has {axis} for {path}, which is {x.type} with the new axis"))


def _place(axis: int, ndim: int, what: str) -> int:
    if not -ndim <= axis < ndim:
        has = f"it has the axes 0 to {ndim - 1} (or -{ndim} to -1)" if ndim else "a scalar has no axis: give None"
        raise ShapeError(f"vmap: {what}: {has}")
    return axis % ndim


def _size(
    axis_size: Any, arrays: Sequence[Expr | None], places: Sequence[int | None], paths: Sequence[str]
) -> int | Dim:
    """How many elements there are, which all leaves agree on."""
    found: list[tuple[str, int | Dim]] = []
    if axis_size is not None:
        if isinstance(axis_size, bool) or not hasattr(axis_size, "__index__") or axis_size.__index__() < 0:
            raise SpecError(f"vmap: axis_size={axis_size!r} is no number of elements: give an int")
        found.append(("axis_size", int(axis_size.__index__())))
    for x, at, path in zip(arrays, places, paths, strict=True):
        if x is not None and at is not None:
            found.append((f"{path} (axis {at} of {format_shape(x.shape)})", x.shape[at]))
    if not found:
        raise SpecError(
            "vmap: nothing is mapped over, so the number of elements is not known: give axis_size=, or an axis to map "
            "over in in_axes="
        )
    if any(size != found[0][1] for _, size in found):
        sizes = ", ".join(f"{path}: {size}" for path, size in found)
        raise ShapeError(
            f"vmap: the numbers of elements differ: {sizes}; map over axes of one size, or give None in in_axes= for "
            "what is the same for all elements"
        )
    return found[0][1]


# --- axes as pytrees --------------------------------------------------------------------------------------------------


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Expr | np.ndarray | np.generic | bool | int | float)


def _is_axis(value: Any) -> bool:
    return value is None or (isinstance(value, int | np.integer) and not isinstance(value, bool))


def _is_axes(axes: Any) -> bool:
    leaves, _, _ = flatten(axes, _is_axis)
    return all(map(_is_axis, leaves))


def _spread(option: str, axes: Any, tree: Tree, path: str) -> list[Any]:
    """The axis of each leaf of `tree`, given a prefix of it."""
    if _is_axis(axes):
        return [axes if axes is None else int(axes)] * tree.size
    if tree.kind is None:
        raise SpecError(f"vmap: {path} is {axes!r}, a pytree, where the value is a leaf: give an int or None")
    _, _, prefix = flatten(axes, _is_axis)
    if prefix.kind != tree.kind or sorted(map(str, prefix.keys)) != sorted(map(str, tree.keys)):
        raise SpecError(f"vmap: {path} is {prefix}, where the value is {tree}: {option} must be a prefix of it")
    found = []
    for key, child in zip(tree.keys, tree.children, strict=True):
        part = getattr(axes, key) if tree.kind in ("named tuple", "dataclass") else axes[key]
        found += _spread(option, part, child, f"{path}[{key!r}]")
    return found


def _path(path: str, names: Sequence[str]) -> str:
    """`[0][1]['W']` as `x['W']`, where x is the parameter, and `[1]['t']` as `t`."""
    group, rest = path[1], path[3:]
    key, _, inner = rest[1:].partition("]")
    return (names[int(key)] if group == "0" else key.strip("'")) + inner
