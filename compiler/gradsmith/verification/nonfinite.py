"""Origins: the node of a graph where a NaN or an infinity that reaches the result was born.

In: a graph and numbers for its inputs. Out: the first `Birth` among the nodes that count, or None. A NaN is born where
no operand is NaN, an infinity where all operands are finite. What counts is found backwards from the outputs, element
by element: a `where` needs of each branch only what it takes, and an array only what is read of it. So a NaN in a
branch that is not taken is none. A constant that is infinite is meant to be (a mask, a bound), and gives birth to
nothing; what it turns into a NaN does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..evaluate import evaluate
from ..graph import Graph, Node
from ..origin import described
from ..registry import Assembly, Layout, lookup
from ..show.formula import PLAIN, Text, step
from ..show.notation import names

__all__ = ["Birth", "Stop", "birth"]

Stop = Literal["nan", "nonfinite"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Birth:
    """Where it happened: the node, the element, the value, and the numbers it was computed from.

    `name` and `formula` are the value's in the user's words, `operands` their names and numbers, `role` says whether
    it is an input, a value or on the way to a cotangent (then `rule` is the op whose derivative rule computes it, and
    `receiver` the cotangent that takes it), and `place` is the user's line.
    """

    key: int
    op: str
    element: tuple[int, ...]
    value: float
    name: str
    formula: str
    operands: tuple[tuple[str, str], ...]
    role: Literal["input", "value", "cotangent", "tangent"]
    rule: str
    receiver: str
    place: str

    def __str__(self) -> str:
        at = f"[{', '.join(map(str, self.element))}]" if self.element else ""
        if self.role == "input":
            return f"the input {self.name}{at} is {self.value!r}"
        given = ", ".join(f"{name} = {value}" for name, value in self.operands)
        lines = [
            f"{self.op} gives {self.value!r}: {self.name}{at} = {self.formula}" + (f" with {given}" if given else "")
        ]
        if self.role in ("cotangent", "tangent"):
            receiver = f", on the way to {self.receiver}" if self.receiver not in ("", self.name) else ""
            lines.append(f"in the derivative rule of op {self.rule!r}{receiver}" if self.rule else "in the derivative")
        return "\n".join([*lines, *([self.place] if self.place else [])])


def birth(
    graph: Graph, leaves: Sequence[Any], outputs: Sequence[int] | None = None, stop: Stop = "nonfinite"
) -> Birth | None:
    """The first node, in the order of computation, that bears a NaN (or with "nonfinite", an infinity too).

    `outputs` are the keys of the results that count; all by default.
    """
    values = evaluate(graph, leaves)
    needed = _needed(graph, values, graph.outputs if outputs is None else outputs)
    with np.errstate(all="ignore"):
        for n in graph.ordered():
            if n.key not in needed or n.type.dtype.kind != "float":
                continue
            n = _computing(graph, n)
            born = _born(n, values, stop) & needed[n.key]
            if born.any():
                at = tuple(int(i) for i in np.argwhere(born)[0])
                return _described(graph, n, values, at)
    return None


def _computing(graph: Graph, n: Node) -> Node:
    """`n`, or for a result of a loop or branch the node that computes it from what goes in."""
    if lookup(n.op).kind != "part":
        return n
    region = graph.node(n.args[0])
    return region._replace(key=n.key, type=n.type, origin=n.origin if n.origin.name else region.origin)


def _born(n: Node, values: Mapping[int, Any], stop: Stop) -> Mask:
    """The elements of `n` that are not finite by its own doing."""
    op, value = lookup(n.op), np.asarray(values[n.key])
    nan, infinite = np.isnan(value), np.isinf(value) & (stop == "nonfinite")
    if n.op == "input":
        return np.asarray(nan | infinite)
    if op.kind in ("leaf", "layout", "assembly") or op.choice:  # they compute nothing
        return np.zeros(value.shape, dtype=bool)
    operands = [np.asarray(values[a]) for a in n.args]
    if op.kind != "elementwise":
        had_nan = any(np.isnan(x).any() for x in operands)
        had_any = any((~np.isfinite(x)).any() for x in operands)
        return np.asarray((nan & (not had_nan)) | (infinite & (not had_any)))
    had_nan = np.logical_or.reduce([np.isnan(x) for x in operands])
    had_any = np.logical_or.reduce([~np.isfinite(x) for x in operands])
    return np.asarray((nan & ~had_nan) | (infinite & ~had_any))


# --- what counts ------------------------------------------------------------------------------------------------------


def _needed(graph: Graph, values: Mapping[int, Any], outputs: Sequence[int]) -> dict[int, Mask]:
    """For each node that the outputs need: the elements they need."""
    needed: dict[int, Mask] = {k: np.ones(np.shape(values[k]), dtype=bool) for k in outputs}
    for key in reversed(graph.keys_in_order()):
        if key not in needed or not needed[key].any():
            continue
        n = _computing(graph, graph.node(key))
        for operand, mask in zip(n.args, _passed(n, values, needed[key]), strict=True):
            needed[operand] = needed[operand] | mask if operand in needed else mask
    return needed


def _passed(n: Node, values: Mapping[int, Any], needed: Mask) -> Iterator[Mask]:
    """The elements of each operand that the needed elements of `n` are computed from."""
    op = lookup(n.op)
    shapes = [np.shape(values[a]) for a in n.args]
    moves = isinstance(op.structure, Layout) and len(shapes) == 1  # with more operands, one of them has the places
    exact = moves or (isinstance(op.structure, Assembly) and not op.structure.accumulate)
    if op.choice:
        taken = np.asarray(values[n.args[0]], dtype=bool)
        yield from (needed, needed & taken, needed & ~taken)
    elif op.kind == "elementwise":
        yield from (needed for _ in n.args)
    elif exact:  # the op itself tells where it puts which element: it moves their numbers, 1, 2, 3, …
        ends = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
        numbers = [np.arange(a + 1.0, b + 1.0).reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False)]
        params = {k: tuple(np.shape(values[n.key])) if k == "shape" else v for k, v in n.params.items()}
        moved = np.asarray(op.evaluate(*numbers, **params))
        read = np.zeros(int(ends[-1]) + 1, dtype=bool)
        read[moved[needed].astype(int)] = True
        yield from (read[a + 1 : b + 1].reshape(s) for a, b, s in zip(ends, ends[1:], shapes, strict=False))
    else:
        yield from (np.ones(s, dtype=bool) for s in shapes)


# --- in the user's words ----------------------------------------------------------------------------------------------


def _described(graph: Graph, n: Node, values: Mapping[int, Any], at: tuple[int, ...]) -> Birth:
    called = names(graph)
    elementwise = lookup(n.op).kind == "elementwise"
    operands: dict[str, str] = {}
    for key in n.args:
        value = np.asarray(values[key])
        if graph.node(key).op != "constant" or value.ndim:
            operands[called[key]] = _number(value[at] if elementwise and value.ndim else value)
    formula = step(graph, n, [Text(called[a]) for a in n.args], PLAIN).text if n.args else ""
    role: Any = "input" if n.op == "input" else n.origin.role
    return Birth(
        key=n.key,
        op=n.op,
        element=at,
        value=float(np.asarray(values[n.key])[at]),
        name=called[n.key],
        formula=formula,
        operands=tuple(operands.items()),
        role="value" if role == "primal" else role,
        rule=n.origin.rule,
        receiver=_receiver(graph, n.key, called) if role == "cotangent" else "",
        place=described(n.origin),
    )


def _receiver(graph: Graph, key: int, called: Mapping[int, str]) -> str:
    """The first complete cotangent that the node takes part in."""
    complete = set(graph.cotangents.values())
    reached = {key}
    for user in range(key, len(graph)):
        if user in reached or reached.intersection(graph.node(user).args):
            reached.add(user)
            if user in complete:
                return called[user]
    return ""


def _number(value: Any) -> str:
    array = np.asarray(value)
    if not array.ndim:
        return repr(array.item())
    return np.array2string(array, threshold=8, edgeitems=3, separator=", ").replace("\n", "")
