"""Families: the scalar operations of a graph of arrays, all alike in one vector.

In: a graph, and the inputs to differentiate by. Out: `Families`, or None where the graph holds what is no composition
of scalar operations (loops, kernels, run-time indices), or too many kinds of them.

A graph of arrays says what is computed in few nodes, and hides which elements reach which: twelve columns stacked to a
matrix have twelve formulas, and the matrix has the union of what they read. A graph of scalars shows that, and takes
a node for each element. A family is between the two: scalar operations that apply the same op to members of the same
families, whatever arrays they came from. Equal operations are one member, and moving elements costs nothing.
So it stays one formula, written once, for as many cameras or times as there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .graph import Graph, Node
from .ops._declare import no_gradient
from .passes.expand import expand
from .registry import Assembly, Contraction, Layout, Op, Reduction, lookup
from .types import FLOAT64, DType, Type, static_shape

__all__ = ["Families", "Family", "families"]

_MOST = 600  # families; more is a formula for each element, which serves nobody
_MOST_MEMBERS = 200_000
_MOST_ELEMENTS = 1_000_000  # of all arrays together
_APART = 16  # columns of an input that are families of their own: 13 times of 12 states, say
_ROWS = 4  # from so many rows on
_DISTINCT = 4  # values of a constant array that are known by number, not read from a table
_SHIFT = 40  # the bits of a member's place in its family; the bits above are the family's number


@dataclass
class Family:
    """Scalar operations that are alike: `op`, applied to the members `places[k]` of the family `operands[k]`.

    A leaf has no op: its members are the elements `places[0]` of the node `node` of the graph, in row-major order.
    """

    dtype: DType
    op: Op | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    operands: tuple[int, ...] = ()
    places: list[Any] = field(default_factory=list)
    node: int = -1
    size: int = 0
    active: bool = False


@dataclass(frozen=True)
class Families:
    """The families of `graph` by its first `wrt` inputs, operands first.

    For each output, `outputs` are the family and the member that each element is.
    """

    graph: Graph
    wrt: int
    members: list[Family]
    outputs: list[tuple[np.ndarray, np.ndarray]]


class _TooMany(Exception):
    """The graph is not worth it."""


@dataclass
class _Building:
    graph: Graph
    wrt: frozenset[int]
    members: list[Family] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)  # (op, params, operands' families), or a value -> family
    codes: dict[Any, int] = field(default_factory=dict)  # (op, params, operands' codes) -> code

    def leaf(self, n: Node) -> np.ndarray:
        """The codes of an input, of a constant, or of what does not depend on what is differentiated by."""
        shape = static_shape(n.type.shape)
        if n.op == "constant":
            return self.constant(n, shape)
        apart, rows = 1, math.prod(shape)
        for d in reversed(shape[1:]):
            if apart * d > _APART or rows // d < _ROWS:
                break
            apart, rows = apart * d, rows // d
        flat = np.arange(math.prod(shape))
        codes = np.empty(flat.size, dtype=np.int64)
        for k in range(apart):
            number = self.new(Family(n.type.dtype, places=[flat[k::apart]], node=n.key, size=rows))
            self.members[number].active = n.key in self.wrt
            codes[k::apart] = (number << _SHIFT) + np.arange(rows)
        return codes.reshape(shape)

    def constant(self, n: Node, shape: tuple[int, ...]) -> np.ndarray:
        value = np.broadcast_to(np.asarray(n.params["value"]), shape)
        bits = np.ascontiguousarray(value).ravel()
        found, where, which = np.unique(bits.view(f"V{bits.itemsize}"), return_index=True, return_inverse=True)
        codes = np.empty(bits.size, dtype=np.int64)
        if len(found) > _DISTINCT:
            number = self.new(Family(n.type.dtype, places=[np.arange(bits.size)], node=n.key, size=bits.size))
            codes[:] = (number << _SHIFT) + np.arange(bits.size)
            codes[_zeros(bits)] = 0
            return codes.reshape(shape)
        for k, first in enumerate(where):
            key = (n.type.dtype, bits[first].tobytes())
            if key not in self.known:
                self.known[key] = self.new(Family(n.type.dtype, places=[np.array([first])], node=n.key, size=1))
            codes[which.ravel() == k] = self.known[key] << _SHIFT
        if codes.size > 1:  # a 0 in a matrix is there to leave something out
            codes[_zeros(bits)] = 0
        return codes.reshape(shape)

    def new(self, family: Family) -> int:
        if len(self.members) >= _MOST:
            raise _TooMany
        self.members.append(family)
        return len(self.members) - 1

    def apply(self, op: Op, params: Mapping[str, Any], operands: Sequence[np.ndarray]) -> np.ndarray:
        """The codes of an element-wise op on arrays of codes of one shape."""
        label = (op.name, repr(sorted(params.items())))
        result = np.empty(operands[0].size, dtype=np.int64)
        for at, args in enumerate(zip(*(a.ravel().tolist() for a in operands), strict=True)):
            if op.commutative and args[0] > args[1]:
                args = args[::-1]
            code = _trivial(op.name, args) if 0 in args else self.codes.get((label, args))
            if code is None:
                code = self.codes.get((label, args))
            if code is None:
                code = self.codes[label, args] = self.member(op, params, label, args)
            result[at] = code
        return result.reshape(operands[0].shape)

    def member(self, op: Op, params: Mapping[str, Any], label: Any, args: tuple[int, ...]) -> int:
        numbers = tuple(a >> _SHIFT for a in args)
        number = self.known.get((label, numbers))
        if number is None:
            types = [Type((), self.members[k].dtype) for k in numbers]
            dtype = op.infer(*types, **params).dtype
            active = dtype.kind == "float" and op.vjp is not no_gradient
            number = self.known[label, numbers] = self.new(Family(dtype, op, params, numbers, [[] for _ in numbers]))
            self.members[number].active = active and any(self.members[k].active for k in numbers)
        if len(self.codes) >= _MOST_MEMBERS:
            raise _TooMany
        family = self.members[number]
        for places, a in zip(family.places, args, strict=True):
            places.append(a & ((1 << _SHIFT) - 1))
        family.size += 1
        return (number << _SHIFT) + family.size - 1

    def summed(self, codes: np.ndarray, places: np.ndarray, size: int, op: Op) -> np.ndarray:
        """Flat codes, those of one place combined by pairs; a sum leaves out what is 0 by structure."""
        if op.name == "add":
            codes, places = codes[codes != 0], places[codes != 0]
        order = np.argsort(places, kind="stable")
        codes, places = codes[order], places[order]
        while len(places) and np.any(places[1:] == places[:-1]):
            starts = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
            rank = np.arange(len(places)) - np.repeat(starts, np.diff([*starts, len(places)]))
            second = np.flatnonzero(rank % 2 == 1)
            codes = codes.copy()
            codes[second - 1] = self.apply(op, {}, [codes[second - 1], codes[second]])
            kept = rank % 2 == 0
            codes, places = codes[kept], places[kept]
        result = np.zeros(size, dtype=np.int64)
        result[places] = codes
        return result


def families(graph: Graph, wrt: int) -> Families | None:
    """The families of `graph`, by the first `wrt` of its inputs; None where it has none."""
    graph = expand(graph, lambda op: op.expand is not None and not _understood(op))
    depends = {*graph.inputs[:wrt]}
    for n in graph.ordered():
        if any(a in depends for a in n.args):
            depends.add(n.key)
    nodes = [n for n in graph.ordered() if n.key in depends]
    if not all(n.op == "input" or _understood(lookup(n.op)) for n in nodes):
        return None
    if any(n.bodies for n in nodes) or sum(n.type.size for n in nodes) > _MOST_ELEMENTS:
        return None
    if len({n.type.dtype for n in nodes if n.type.dtype.kind == "float"}) > 1 or _fragile(nodes):
        return None
    building = _Building(graph, frozenset(graph.inputs[:wrt]))
    building.members.append(Family(nodes[0].type.dtype if nodes else FLOAT64, size=1))  # number 0: zero
    codes: dict[int, np.ndarray] = {}
    read = {*graph.outputs, *itertools.chain.from_iterable(n.args for n in nodes)}
    try:
        for n in graph.ordered():
            if n.key in depends and n.op != "input":
                codes[n.key] = _codes(building, n, [codes[a] for a in n.args])
            elif n.key in read or n.key in depends:
                codes[n.key] = building.leaf(n)
    except _TooMany:
        return None
    for family in building.members:
        family.places = [np.asarray(p, dtype=np.int64) for p in family.places]
    low = (1 << _SHIFT) - 1
    outputs = [(codes[k].ravel() >> _SHIFT, codes[k].ravel() & low) for k in graph.outputs]
    return Families(graph, wrt, building.members, outputs)


def _zeros(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = (values == 0) & ~np.signbit(values.astype(float))
    return found


def _trivial(name: str, args: Sequence[int]) -> int | None:
    """What an operation on a structural zero (code 0) comes to, if it is no operation."""
    if name in ("mul", "neg", "square") or (name == "div" and args[0] == 0):
        return 0
    if name == "add":
        return max(args)
    return args[0] if name == "sub" and args[1] == 0 else None


def _understood(op: Op) -> bool:
    """Whether an op is made of scalar operations, known by its structure."""
    s = op.structure
    if op.kind == "elementwise":
        return op.vjp is not None
    if isinstance(s, Reduction):
        return s.combine in ("add", "mul")
    return isinstance(s, Contraction | Layout | Assembly) or (op.kind == "layout" and s is None)


def _fragile(nodes: Sequence[Node]) -> bool:
    """Whether slopes may be infinite where a choice leaves them out, which only the sweeps take care of."""
    ops = [lookup(n.op) for n in nodes]
    choices = any(op.choice or op.flat is not None for op in ops)
    return choices and any(op.kind == "elementwise" and not op.tame for op in ops)


def _codes(building: _Building, n: Node, operands: Sequence[np.ndarray]) -> np.ndarray:
    op, shape = lookup(n.op), static_shape(n.type.shape)
    params = {k: static_shape(v) if k == "shape" else v for k, v in n.params.items()}
    if op.kind == "elementwise":
        return building.apply(op, n.params, operands)
    if isinstance(op.structure, Reduction):
        x, axis = operands[0], n.params["axis"]
        if not x.size:
            raise _TooMany
        kept = tuple(1 if i in axis else d for i, d in enumerate(x.shape))
        places = np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), x.shape)
        found = building.summed(x.ravel(), places.ravel(), math.prod(kept), lookup(op.structure.combine))
        return found.reshape(shape)
    if isinstance(op.structure, Contraction):
        return _product(building, operands, shape)
    if isinstance(op.structure, Assembly) and op.structure.accumulate:
        parts = zip(op.structure.places(n.params) or (), operands, strict=True)
        at = np.concatenate([np.broadcast_to(p, part.shape).ravel() for p, part in parts])
        whole = np.concatenate([part.ravel() for part in operands])
        return building.summed(whole, at, math.prod(shape), lookup("add")).reshape(shape)
    return np.asarray(op.evaluate(*operands, **params), dtype=np.int64).reshape(shape)


def _product(building: _Building, operands: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """`a @ b`, without the products with what is 0 by structure."""
    a, b = operands
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    terms = np.broadcast_arrays(left[..., :, None, :], np.swapaxes(right, -1, -2)[..., None, :, :])
    if terms[0].size > _MOST_MEMBERS:
        raise _TooMany
    places = np.broadcast_to(np.arange(math.prod(shape)).reshape(*terms[0].shape[:-1], 1), terms[0].shape)
    x, y, at = (t.ravel() for t in (*terms, places))
    kept = (x != 0) & (y != 0)
    products = building.apply(lookup("mul"), {}, [x[kept], y[kept]])
    return building.summed(products, at[kept], math.prod(shape), lookup("add")).reshape(shape)
