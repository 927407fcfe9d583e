"""Sparsity: which elements of outputs depend on which elements of inputs, found from the graph alone.

In: a graph and some of its inputs. Out: for every element of every output the set of input elements that its derivative
may depend on. Guarantee: a pair that is left out is structurally zero, whatever the numbers are.

A set is a Python int, a bit for each input element; an array of them is an array of objects, which NumPy moves as it
moves numbers and joins by `|`. So layouts are exact by their own `evaluate`, and so are element-wise ops, reductions
along axes, running values and products with constant matrices that hold zeros. What a run-time integer chooses depends
on all that it can choose from. A loop is followed step by step, and one that is long or ends at run time until nothing
new is reached; of a branch, either side counts. For all else, the op's own derivative rule says what reaches what.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..as_graph import to_graph
from ..graph import Graph, Node
from ..ops._declare import no_gradient
from ..passes.expand import expanded
from ..registry import Assembly, Contraction, Gather, Layout, Op, Scan, lookup
from ..trace import recording, symbol
from ..types import Bundle, Type, static_shape

__all__ = ["dependencies"]

_Sets = Any  # an array of ints, as objects
_join = np.frompyfunc(operator.or_, 2, 1)
_FOLLOWED = 1_000  # steps of a loop


def dependencies(graph: Graph, wrt: Sequence[int], window: range | None = None) -> list[list[int]]:
    """For each output, the sets of its elements in row-major order; bits count the elements of the inputs `wrt`.

    With a `window`, only the elements with these numbers are followed, and bit 0 is the first of them.
    """
    start, given = 0, {}
    for key in wrt:
        size, shape = graph.node(key).type.size, static_shape(graph.node(key).type.shape)
        window_here = range(start, start + size) if window is None else window
        first = 0 if window is None else window.start
        if window_here.start < start + size and window_here.stop > start:
            numbers = range(start, start + size)
            given[key] = _objects([1 << (i - first) if i in window_here else 0 for i in numbers], shape)
        start += size
    found = _propagated(graph, given)
    return [_flat(found.get(k), graph.node(k).type.size) for k in graph.outputs]


def _flat(sets: _Sets | None, size: int) -> list[int]:
    return [0] * size if sets is None else [int(v) for v in sets.ravel()]


def _objects(values: Sequence[Any], shape: tuple[int, ...]) -> _Sets:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def _propagated(graph: Graph, given: Mapping[int, _Sets]) -> dict[int, _Sets]:
    """The sets of all nodes that depend on anything; the others have none."""
    sets = {key: _array(found, graph.node(key).type) for key, found in given.items()}
    results: dict[int, list[_Sets | None]] = {}
    for n in graph.ordered():
        if n.bodies:
            results[n.key] = _REGIONS[n.op](n, [sets.get(a) for a in n.args])
        elif n.op == "part" and (one := results[n.args[0]][n.params["index"]]) is not None:
            sets[n.key] = _array(one, n.type)
        if n.key in sets or n.type.dtype.kind != "float" or not any(a in sets for a in n.args):
            continue
        op = lookup(n.op)
        if op.vjp is no_gradient:
            continue
        operands = [sets.get(a) for a in n.args]
        sets[n.key] = _array(_of(op, graph, n, operands), n.type)
    return sets


def _array(sets: _Sets, type: Type) -> _Sets:
    """As an array of the type's shape: what NumPy makes of arrays of no axes is a bare int."""
    return np.broadcast_to(np.asarray(sets, dtype=object), static_shape(type.shape))


def _of(op: Op, graph: Graph, n: Node, operands: Sequence[_Sets | None]) -> _Sets:
    types = [graph.node(a).type for a in n.args]
    filled = [_empty(t) if s is None else s for s, t in zip(operands, types, strict=True)]
    params = {k: static_shape(v) if k == "shape" else v for k, v in n.params.items()}
    structure = op.structure
    if op.kind == "elementwise":
        return functools.reduce(_join, [s for s in operands if s is not None])
    if isinstance(structure, Gather):
        axis = n.params["axis"]
        whole = np.broadcast_to(_joined(filled[0], (axis,), True), filled[0].shape)
        return op.evaluate(whole, np.zeros(static_shape(types[1].shape), dtype=np.int64), **params)
    if isinstance(structure, Assembly) and structure.accumulate:
        return _accumulated(n, filled, structure.places(n.params) or ())
    if isinstance(structure, Layout | Assembly) or (op.kind == "layout" and structure is None):
        return op.evaluate(*filled, **params)
    if op.kind == "reduction":
        return _joined(filled[0], n.params["axis"], n.params["keepdims"])
    if isinstance(structure, Scan):
        return _running(filled, n.params["axis"], n.params["reverse"])
    if isinstance(structure, Contraction):
        return _product(filled, [_zeros(graph, a) for a in n.args], n.type)
    if op.mixes and all(s is None for s in operands[:-1]):
        return _joined(filled[-1], tuple(a % types[-1].ndim for a in op.mixes), True)
    if op.vjp is not None:
        return _by_rule(op, n, types, operands)
    if op.kind == "composite" and op.expand is not None:
        inner = expanded(op, types, n.params)
        given = {k: s for k, s in zip(inner.inputs, operands, strict=True) if s is not None}
        found = _propagated(inner, given).get(inner.outputs[0])
        return _empty(n.type) if found is None else found
    return functools.reduce(operator.or_, (int(v) for s in filled for v in s.ravel()), 0)  # everything on everything


def _body(body: Graph, operands: Sequence[_Sets | None]) -> list[_Sets | None]:
    """The sets of what a loop's or a branch's body returns; None where nothing is reached."""
    found = _propagated(body, {k: s for k, s in zip(body.inputs, operands, strict=True) if s is not None})
    return [found.get(k) for k in body.outputs]


def _either(a: _Sets | None, b: _Sets | None) -> _Sets | None:
    return b if a is None else a if b is None else _join(a, b)


def _scan(n: Node, operands: Sequence[_Sets | None]) -> list[_Sets | None]:
    consts, carries, length, body = (n.params[k] for k in ("consts", "carries", "length", "body"))
    given = operands[int(n.params["counted"]) :]
    outer, state, xs = given[:consts], [*given[consts : consts + carries]], given[consts + carries :]
    types = n.type.types if isinstance(n.type, Bundle) else ()
    if length > _FOLLOWED or n.params["counted"]:
        rows = [None if x is None else _joined(x, (0,), False) for x in xs]
        state, ys = _settled(lambda now: _body(body, [*outer, *now, *rows]), state)
        return [*state, *(_repeated(y, t) for y, t in zip(ys, types[carries:], strict=True))]
    stacked: list[list[_Sets | None]] = [[None] * length for _ in types[carries:]]
    for i in reversed(range(length)) if n.params["reverse"] else range(length):
        found = _body(body, [*outer, *state, *(None if x is None else x[i] for x in xs)])
        state = found[:carries]
        for column, y in zip(stacked, found[carries:], strict=True):
            column[i] = y
    return [*state, *(_stacked(c, t) for c, t in zip(stacked, types[carries:], strict=True))]


def _while(n: Node, operands: Sequence[_Sets | None]) -> list[_Sets | None]:
    consts, body, bound = (n.params[k] for k in ("consts", "body", "bound"))
    outer, start = operands[:consts], [*operands[consts:]]
    state, ys = _settled(lambda now: _body(body, [*outer, *now]), start)
    if bound is None:
        return state
    types = n.type.types[len(start) + 1 :] if isinstance(n.type, Bundle) else ()
    return [*state, None, *(_repeated(y, t) for y, t in zip(ys, types, strict=True))]


def _cond(n: Node, operands: Sequence[_Sets | None]) -> list[_Sets | None]:
    sides = (_body(n.params[side], operands[1:]) for side in ("then", "otherwise"))
    return [_either(*both) for both in zip(*sides, strict=True)]


_REGIONS: Mapping[str, Callable[[Node, Sequence[_Sets | None]], list[_Sets | None]]] = {
    "scan": _scan, "while_loop": _while, "cond": _cond,
}  # fmt: skip


def _settled(
    step: Callable[[Sequence[_Sets | None]], list[_Sets | None]], state: list[_Sets | None]
) -> tuple[list[_Sets | None], list[_Sets | None]]:
    """The state after any number of steps, and what any of them returns besides."""
    while True:
        found = step(state)
        new = [_either(old, now) for old, now in zip(state, found, strict=False)]
        if all(
            a is b or (a is not None and b is not None and np.array_equal(a, b))
            for a, b in zip(state, new, strict=True)
        ):
            return state, found[len(state) :]
        state = new


def _repeated(sets: _Sets | None, type: Type) -> _Sets | None:
    return None if sets is None else np.broadcast_to(sets, static_shape(type.shape))


def _stacked(rows: Sequence[_Sets | None], type: Type) -> _Sets | None:
    if all(row is None for row in rows):
        return None
    shape = static_shape(type.shape)
    whole = np.zeros(shape, dtype=int).astype(object)
    for i, row in enumerate(rows):
        if row is not None:
            whole[i] = row
    return whole


def _by_rule(op: Op, n: Node, types: Sequence[Type], operands: Sequence[_Sets | None]) -> _Sets:
    """The cotangent rule is a linear map: where an operand's share reads u, the result depends on the operand."""
    with recording():
        u, y, *xs = [symbol(f"v{i}", t.shape, t.dtype) for i, t in enumerate((n.type, n.type, *types))]
        shares = op.vjp(u, y, *xs, **n.params)  # type: ignore[misc]
        pairs = [(s, sets) for s, sets in zip(shares, operands, strict=True) if s is not None and sets is not None]
        rule = to_graph([u, y, *xs], [s for s, _ in pairs])
    if not op.mixes and any(m.op == op.name for m in rule.ordered()):  # asking for it again would not end
        return _by_matrix(n, [sets for _, sets in pairs])
    found = [0] * n.type.size
    for read, (_, sets) in zip(dependencies(rule, rule.inputs[:1]), pairs, strict=True):
        for element, reached in zip(sets.ravel(), read, strict=True):
            while reached:
                low = reached & -reached
                found[low.bit_length() - 1] |= element
                reached ^= low
    return _objects(found, static_shape(n.type.shape))


def _by_matrix(n: Node, operands: Sequence[_Sets]) -> _Sets:
    """All elements of a matrix on all of those in its place in the operands' stacks."""
    shape = static_shape(n.type.shape)
    stack = shape[:-2]
    if any(sets.ndim != len(shape) or sets.shape[:-2] != stack for sets in operands):
        stack = ()
    joined = [_joined(sets, tuple(range(len(stack), sets.ndim)), False) for sets in operands]
    each = np.asarray(functools.reduce(_join, joined), dtype=object)
    return np.broadcast_to(each.reshape((*stack, *[1] * (len(shape) - len(stack)))), shape)


def _empty(type: Type) -> _Sets:
    return _objects([0] * type.size, static_shape(type.shape))


def _joined(sets: _Sets, axes: tuple[int, ...], keepdims: bool) -> _Sets:
    for axis in sorted(axes, reverse=True):
        if sets.shape[axis] == 0:
            shape = (*sets.shape[:axis], 1, *sets.shape[axis + 1 :])
            sets = _objects([0] * int(np.prod(shape)), shape)
        else:
            sets = _join.reduce(sets, axis=axis, keepdims=True)
    kept = tuple(1 if i in axes else d for i, d in enumerate(sets.shape))
    shape = kept if keepdims else tuple(d for i, d in enumerate(kept) if i not in axes)
    return np.asarray(sets, dtype=object).reshape(shape)


def _running(operands: Sequence[_Sets], axis: int, reverse: bool) -> _Sets:
    here = functools.reduce(_join, operands)
    if not here.size:
        return here
    ordered = np.flip(here, axis) if reverse else here
    found = _join.accumulate(ordered, axis=axis)
    return np.flip(found, axis) if reverse else found


def _accumulated(n: Node, operands: Sequence[_Sets], places: Sequence[np.ndarray]) -> _Sets:
    found = [0] * n.type.size
    for sets, part in zip(operands, places, strict=True):
        for place, value in zip(part.ravel(), np.broadcast_to(sets, part.shape).ravel(), strict=True):
            found[place] |= value
    return _objects(found, static_shape(n.type.shape))


def _zeros(graph: Graph, key: int) -> np.ndarray | None:
    """Where a constant is 0, so that nothing passes through a product with it."""
    n = graph.node(key)
    op = lookup(n.op)
    if op.kind == "layout" and len(n.args) == 1:
        inner = _zeros(graph, n.args[0])
        params = {k: static_shape(v) if k == "shape" else v for k, v in n.params.items()}
        return None if inner is None else op.evaluate(inner, **params)
    return np.asarray(n.params["value"]) == 0 if n.op == "constant" else None


def _product(operands: Sequence[_Sets], zeros: Sequence[np.ndarray | None], type: Type) -> _Sets:
    """Of `a @ b`: what either factor of any product depends on, unless the other one is 0."""
    a, b = operands
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    no_left, no_right = (
        np.zeros(s.shape, dtype=bool) if z is None else z.reshape(s.shape)
        for s, z in zip((left, right), zeros, strict=True)
    )
    total: Any = np.zeros((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]))
    total = total.astype(int).astype(object)
    for k in range(left.shape[-1]):
        x, y = left[..., :, k, None], right[..., None, k, :]
        z_x, z_y = no_left[..., :, k, None], no_right[..., None, k, :]
        total = _join(total, _join(np.where(z_y, 0, x), np.where(z_x, 0, y)))
    return total.reshape(static_shape(type.shape))
