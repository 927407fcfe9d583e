"""Notation: the names, numbers and points that drawings and explanations share.

In: a graph, and a point that names every input. Out: one name a node, short texts of values, and the point as arrays.
Guarantee: names are distinct, the user's own wherever there is one, and depend on the graph alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import SpecError
from ..graph import Graph, Node
from ..registry import lookup
from ..types import Dim, Shape, format_shape

__all__ = ["brief", "contents", "literal", "names", "number", "place", "summary"]


def names(graph: Graph) -> dict[int, str]:
    """A name for every node: `x` and `h1` are the user's, `v3` is the third step, `d_v3` its cotangent, `c1` an array.

    A constant that is one number is called by it. Other nodes of the derivative are `t1`, `t2`, …

    >>> from gradsmith.as_graph import to_graph
    >>> from gradsmith.trace import symbols
    >>> x, y = symbols("x y")
    >>> names(to_graph([x, y], [x * y + 2.0]))
    {0: 'x', 1: 'y', 2: 'v1', 3: '2', 4: 'v2'}
    """
    found = {key: str(graph.node(key).params["name"]) for key in graph.inputs}
    taken = {text for name in found.values() for text in (name, f"d_{name}")}
    owners: dict[int, int] = {}  # cotangent -> the first value it is the cotangent of
    for primal, cotangent in sorted(graph.cotangents.items()):
        owners.setdefault(cotangent, primal)
    counts = dict.fromkeys("ctv", 0)
    for n in graph.ordered():
        if n.key in found:
            continue
        value = literal(graph, n.key)
        if value is not None:
            found[n.key] = brief(value)
        elif n.origin.role == "cotangent" and owners.get(n.key) in found:
            found[n.key] = _cotangent(graph.node(owners[n.key]), found[owners[n.key]])
        else:
            kind = "c" if n.op == "constant" else "t" if n.origin.derived else "v"
            counts[kind] += 1
            found[n.key] = _fresh(n.origin.name or f"{kind}{counts[kind]}", taken)
        taken |= {found[n.key], _cotangent(n, found[n.key])}
    return found


def literal(graph: Graph, key: int) -> float | bool | None:
    """The number that the node is everywhere: a scalar constant's own, also after it was broadcast; else None."""
    node = graph.node(key)
    while len(node.args) == 1 and lookup(node.op).kind == "layout":
        node = graph.node(node.args[0])
    value = node.params.get("value")
    return value if isinstance(value, bool | int | float) else None


def _cotangent(n: Node, name: str) -> str:
    return f"d{name}" if n.origin.role == "cotangent" and name.lstrip("d").startswith("_") else f"d_{name}"


def _fresh(wish: str, taken: set[str]) -> str:
    name, count = wish, 1
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    return name


def number(value: Any) -> str:
    """A number with four decimals, or in scientific notation where these would not show it.

    >>> number(3.0706508), number(0.00012345678), number(float("inf")), number(True)
    ('3.0707', '1.2346e-04', 'inf', 'true')
    """
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    v = float(value)
    if v == 0 or 0.01 <= abs(v) < 1e6:
        return f"{v:.4f}"
    return f"{v:.4e}" if math.isfinite(v) else str(v)


def brief(value: Any) -> str:
    """A number in its shortest exact form where that has six digits at most, else as `number` writes it.

    >>> brief(2.0), brief(0.25), brief(0.1234567)
    ('2', '0.25', '0.1235')
    """
    if isinstance(value, bool | np.bool_):
        return number(value)
    short = f"{float(value):.6g}"
    return short if float(short) == float(value) else number(value)


def summary(value: Any) -> str:
    """A value in a few words: a scalar's number; an array's shape, and its elements or their range.

    >>> summary(np.array([0.5, -1.0])), summary(np.linspace(0.0, 1.0, 12).reshape(3, 4))
    ('(2,) [0.5, -1]', '(3, 4) from 0.0000 to 1.0000')
    """
    shape = np.shape(value)
    return f"{format_shape(shape)} {contents(value)}" if shape else contents(value)


def contents(value: Any) -> str:
    """A value in a few words without its shape: `summary`'s second half."""
    array = np.asarray(value)
    if not array.shape:
        return number(array.item())
    if array.size == 0:
        return "empty"
    if array.ndim == 1 and array.size <= 3:
        return f"[{', '.join(map(brief, array.tolist()))}]"
    if array.dtype == bool:
        return f"{int(array.sum())} of {array.size} true"
    finite = array[np.isfinite(array)]
    text = f"from {number(finite.min())} to {number(finite.max())}" if finite.size else ""
    lost = array.size - finite.size
    return ", ".join(filter(None, [text, f"{lost} not finite" if lost else ""]))


def place(graph: Graph, point: Mapping[str, Any]) -> list[np.ndarray]:
    """The point as one array an input, in the graph's order; `SpecError` for names or shapes that do not fit."""
    inputs = [graph.node(key) for key in graph.inputs]
    wanted = [str(n.params["name"]) for n in inputs]
    missing = [name for name in wanted if name not in point]
    unknown = [name for name in point if name not in wanted]
    if missing or unknown or len(set(wanted)) < len(wanted):
        problems = [f"{', '.join(map(repr, missing))} missing"] * bool(missing)
        problems += [f"{', '.join(map(repr, unknown))} not among them"] * bool(unknown)
        problems += ["two inputs share a name"] * (len(set(wanted)) < len(wanted))
        raise SpecError(
            f"a point gives each input a value by name; the inputs are {_listed(wanted)}: {'; '.join(problems)}"
        )
    sizes: dict[Dim, int] = {}
    return [_array(n, point[name], sizes) for n, name in zip(inputs, wanted, strict=True)]


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _array(n: Node, value: Any, sizes: dict[Dim, int]) -> np.ndarray:
    name, shape = n.params["name"], n.type.shape
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"the point's {name} must be a real number or an array, not {value!r}") from None
    if not _fits(array.shape, shape, sizes):
        raise SpecError(f"the point's {name} has shape {format_shape(array.shape)}, but needs {format_shape(shape)}")
    return array


def _fits(actual: tuple[int, ...], shape: Shape, sizes: dict[Dim, int]) -> bool:
    """Whether an array's shape is `shape`; a named dimension has the same size wherever it stands."""
    return len(actual) == len(shape) and all(
        size == (sizes.setdefault(dim, size) if isinstance(dim, Dim) else dim)
        for size, dim in zip(actual, shape, strict=True)
    )
