"""The graph: a networkx DAG of interned nodes, in an order that is also the order of computation.

In: nodes, added one at a time with their operands already present. Out: a `Graph` that every networkx algorithm
accepts. Guarantees: node keys are ints in creation order (a topological order); equal computations are one node;
`args` is the truth and edges follow from it (a DiGraph merges the two edges of `x*x`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx as nx
import numpy as np

from .origin import NOWHERE, Origin
from .types import BUNDLE, DType, Type

__all__ = ["Graph", "Node", "freeze_key", "intern_key"]

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """One node, read out of a graph: what `graph.nodes[key]` holds, with the key."""

    key: int
    op: str
    args: tuple[int, ...]
    params: Params
    type: Type
    origin: Origin

    @cached_property
    def bodies(self) -> dict[str, Graph]:
        """The graphs among the params, by name: bodies of loops and branches."""
        return {name: value for name, value in self.params.items() if isinstance(value, Graph)} if self.params else {}


class Graph(nx.DiGraph):
    """A directed acyclic graph of operations on scalars and arrays.

    Node attributes: `op` (name), `args` (operand keys, in order), `params`, `type` with its `shape` and `dtype`,
    `origin`. The params of structured control flow hold graphs: the bodies of loops and branches.
    Graph attributes (`graph.graph`): `inputs` and `outputs` (tuples of keys) and `cotangents` (primal key -> cotangent
    key).

    >>> g = Graph()
    >>> x = g.add("input", (), {"name": "x"}, Type(()))
    >>> y = g.add("mul", (x, x), {}, Type(()))
    >>> g.add("mul", (x, x), {}, Type(())) == y
    True
    >>> print(g.text())
    %0:f64 = input name='x'
    %1:f64 = mul %0 %0
    """

    def __init__(self, incoming_graph_data: Any = None, **attributes: Any) -> None:
        super().__init__(incoming_graph_data, **attributes)
        self._interned: dict[object, int] = {}
        self._records: dict[int, Node] = {}

    def add(
        self,
        op: str,
        args: Sequence[int],
        params: Params,
        type: Type,
        origin: Origin = NOWHERE,
        *,
        commutative: bool = False,
    ) -> int:
        """The key of the node `op(*args, **params)`: the existing one where there is one, else a new one."""
        args = tuple(args)
        key = intern_key(op, args, params, type, commutative)
        found = self._interned.get(key)
        if found is not None:
            seen = self._node[found]["origin"]
            if origin.name is not None and seen.name is None and origin.role == seen.role:
                self._node[found]["origin"] = origin
                self._records.pop(found, None)
            return found
        new = len(self._node)
        self._interned[key] = new
        self.add_node(
            new, op=op, args=args, params=dict(params), shape=type.shape, dtype=type.dtype, type=type, origin=origin
        )
        self.add_edges_from((arg, new) for arg in args)
        return new

    def node(self, key: int) -> Node:
        """The node with this key, as a record."""
        found = self._records.get(key)
        if found is None:
            a = self._node[key]
            type = Type(a["shape"], a["dtype"]) if a["type"].dtype != BUNDLE else a["type"]
            found = self._records[key] = Node(key, a["op"], a["args"], a["params"], type, a["origin"])
        return found

    def ordered(self) -> Iterator[Node]:
        """All nodes, operands before their users."""
        return (self.node(key) for key in sorted(self.nodes))

    @property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the input nodes, in the order of the arguments (unused ones included)."""
        return tuple(self.graph.get("inputs", ()))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Keys of the results, in order; a key may stand here twice."""
        return tuple(self.graph.get("outputs", ()))

    @property
    def cotangents(self) -> Mapping[int, int]:
        """Primal key -> key of its complete cotangent, in a graph made by the adjoint pass."""
        return dict(self.graph.get("cotangents", {}))

    def rooted(self, outputs: Sequence[int]) -> Graph:
        """The part of the graph that computes `outputs`, from all of its inputs."""
        needed = {*outputs, *self.inputs}
        for key in sorted(self.nodes, reverse=True):
            if key in needed:
                needed.update(self.nodes[key]["args"])
        new, keys = Graph(), dict[int, int]()
        for key in sorted(needed):
            n = self.node(key)
            keys[key] = new.add(n.op, [keys[a] for a in n.args], n.params, n.type, n.origin)
        new.graph["inputs"] = tuple(keys[k] for k in self.inputs)
        new.graph["outputs"] = tuple(keys[k] for k in outputs)
        new.graph["cotangents"] = {keys[p]: keys[c] for p, c in self.cotangents.items() if {p, c} <= keys.keys()}
        return new

    def text(self) -> str:
        """The graph as text, one node a line: the debugging tool, and what pass tests compare."""
        lines = []
        for n in self.ordered():
            plain = {k: v for k, v in n.params.items() if not isinstance(v, Graph)}
            words = [n.op, *(f"%{a}" for a in n.args), *(f"{k}={_show(v)}" for k, v in plain.items())]
            lines.append(f"%{n.key}:{n.type} = {' '.join(words)}")
            for name, body in n.bodies.items():
                lines += [f"  {name}:", *(f"    {line}" for line in body.text().splitlines())]
        if self.outputs:
            lines.append("return " + " ".join(f"%{k}" for k in self.outputs))
        return "\n".join(lines)

    def digest(self) -> str:
        """A hash of what the graph computes: the same on every machine, blind to origins."""
        h = hashlib.sha256()
        for n in self.ordered():
            h.update(repr((n.key, n.op, n.args, freeze_key(n.params), str(n.type))).encode())
        h.update(repr((self.inputs, self.outputs)).encode())
        return h.hexdigest()[:16]

    def to_dot(self, **options: Any) -> str:
        """The graph in Graphviz's language; see `gradsmith.show.draw.to_dot`."""
        from .show.draw import to_dot

        return to_dot(self, **options)

    def to_svg(self, **options: Any) -> str:
        """The graph as an SVG picture (needs Graphviz); see `gradsmith.show.draw.to_svg`."""
        from .show.draw import to_svg

        return to_svg(self, **options)

    def to_mermaid(self, **options: Any) -> str:
        """The graph as a Mermaid flowchart; see `gradsmith.show.draw.to_mermaid`."""
        from .show.draw import to_mermaid

        return to_mermaid(self, **options)


def intern_key(op: str, args: tuple[int, ...], params: Params, type: Type, commutative: bool) -> object:
    """What makes two nodes the same computation; operands of a commutative op count in any order."""
    operands = tuple(sorted(args)) if commutative else args
    return op, operands, freeze_key(params) if params else None, type.shape, type.dtype.name


def freeze_key(value: Any) -> object:
    """A hashable key that tells apart all that differs: floats by bits, `1` from `True` and from `1.0`.

    >>> freeze_key(0.0) == freeze_key(-0.0), freeze_key(1) == freeze_key(True)
    (False, False)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):  # and bool; before the dearer questions below
        return (type(value).__name__, value)
    if isinstance(value, float):
        return ("float", struct.pack("<d", value))
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, tuple | list):
        return (type(value).__name__, *(freeze_key(v) for v in value))
    if isinstance(value, Mapping):
        return ("map", *((k, freeze_key(v)) for k, v in value.items()))
    if isinstance(value, Graph):
        return ("graph", value.digest())
    if isinstance(value, slice):
        return ("slice", freeze_key((value.start, value.stop, value.step)))
    return (type(value).__name__, value)


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray):
        body = np.array2string(value, separator=",", threshold=8, precision=17)
        return " ".join(body.split())
    if isinstance(value, DType):
        return value.name
    return repr(value)
