"""The graph: a networkx DAG of interned nodes, in an order that is also the order of computation.

In: nodes, added one at a time with their operands already present. Out: a `Graph` that every networkx algorithm
accepts. Guarantees: node keys are ints in creation order (a topological order); equal computations are one node;
`args` is the truth and edges follow from it (a DiGraph merges the two edges of `x*x`).

The compiler itself reads records. The dictionaries of networkx, which take ten times as much memory, are made when
somebody asks for them; from then on they are the truth, so what is changed in them is seen.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from .origin import NOWHERE, Origin
from .registry import OPS
from .types import BUNDLE, DType, Type

__all__ = ["Graph", "Node", "freeze_key", "intern_key", "new_tuple"]

Params = Mapping[str, Any]


class Node(NamedTuple):
    """One node, read out of a graph: what `graph.nodes[key]` holds, with the key."""

    key: int
    op: str
    args: tuple[int, ...]
    params: Params
    type: Type
    origin: Origin

    def renamed(self, origin: Origin) -> Node:
        """The node, found again at another place, with the name that it has there, if it had none."""
        seen = self.origin
        if origin.name is None or seen.name is not None or origin.role != seen.role:
            return self
        return self._replace(origin=origin)

    @property
    def bodies(self) -> dict[str, Graph]:
        """The graphs among the params, by name: bodies of loops and branches."""
        return {name: value for name, value in self.params.items() if isinstance(value, Graph)} if self.params else {}


class _OnDemand:
    """An attribute in which networkx keeps a dictionary of the graph, made from the records when it is asked for."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, graph: Graph, owner: type) -> Any:
        if self._name not in graph.__dict__:
            graph._spell_out()
        return graph.__dict__[self._name]

    def __set__(self, graph: Graph, value: Any) -> None:
        graph._records = None
        getattr(nx.DiGraph, self._name).__set__(graph, value)


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

    _node = _OnDemand()
    _adj = _OnDemand()
    _succ = _OnDemand()
    _pred = _OnDemand()

    def __init__(self, incoming_graph_data: Any = None, **attributes: Any) -> None:
        super().__init__(incoming_graph_data, **attributes)
        self._interned: dict[object, int] = {}
        self._known: dict[object, Any] = {}
        self._has_bodies = False
        self._records: list[Node] | None = None  # by key; None where networkx's dictionaries are the truth
        if incoming_graph_data is None:
            for name in _DICTIONARIES:
                del self.__dict__[name]
            self._records = []

    def _spell_out(self) -> None:
        """Fill networkx's dictionaries from the records, and let them be the truth from now on."""
        records = self._records or ()
        self._node, self._adj, self._pred = {}, {}, {}
        for n in records:
            self._attach(n)

    def _attach(self, n: Node) -> None:
        type = n.type
        self.add_node(
            n.key, op=n.op, args=n.args, params=dict(n.params), shape=type.shape, dtype=type.dtype, type=type,
            origin=n.origin,
        )  # fmt: skip
        self.add_edges_from((arg, n.key) for arg in n.args)

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
        new = len(self)
        if len(self._interned) < new:  # of a copy, or of a graph made of nodes that were known to differ
            for n in self.ordered():
                same = n.op in OPS and OPS[n.op].commutative
                self._interned.setdefault(intern_key(n.op, n.args, n.params, n.type, same), n.key)
        found = self._interned.setdefault(key, new)
        if found != new:
            self._renamed(found, origin)
            return found
        return self.append(op, args, params, type, origin)

    def append(self, op: str, args: tuple[int, ...], params: Params, type: Type, origin: Origin) -> int:
        """The key of a new node, which the caller knows to be equal to none that is there."""
        records = self._records
        if self._known:
            self._known.clear()
        if params and not self._has_bodies and any(isinstance(value, Graph) for value in params.values()):
            self._has_bodies = True
        if records is None:
            key = len(self._node)
            self._attach(Node(key, op, args, params, type, origin))
        else:
            key = len(records)
            records.append(new_tuple(Node, (key, op, args, params, type, origin)))
        return key

    @classmethod
    def of(cls, nodes: list[Node]) -> Graph:
        """The graph of these nodes, which takes over the list.

        The caller knows that keys count from 0, that operands come first, and that no two nodes are equal.
        """
        graph = cls()
        graph._records = nodes
        ops = {*map(_OP, nodes)}
        if not all(op in OPS and OPS[op].kind in _WITHOUT_BODIES for op in ops):
            graph._has_bodies = any(isinstance(v, Graph) for n in nodes if n[3] for v in n[3].values())
        return graph

    def _renamed(self, key: int, origin: Origin) -> None:
        """Let a node that was found again have the name that it has now, if it had none."""
        seen = self.node(key)
        renamed = seen.renamed(origin)
        if renamed is seen:
            return
        if self._records is None:
            self._node[key]["origin"] = origin
        else:
            self._records[key] = renamed

    def node(self, key: int) -> Node:
        """The node with this key, as a record."""
        if self._records is not None:
            return self._records[key]
        a = self._node[key]
        type = Type(a["shape"], a["dtype"]) if a["type"].dtype != BUNDLE else a["type"]
        return Node(key, a["op"], a["args"], a["params"], type, a["origin"])

    def ordered(self) -> Iterator[Node]:
        """All nodes, operands before their users."""
        return iter(self._records) if self._records is not None else (self.node(key) for key in sorted(self._node))

    def backwards(self) -> Iterator[Node]:
        """All nodes, users before their operands."""
        return reversed(self._records if self._records is not None else [*self.ordered()])

    def keys_in_order(self) -> Sequence[int]:
        """The keys of all nodes, operands before their users."""
        return range(len(self._records)) if self._records is not None else sorted(self._node)

    def __len__(self) -> int:
        return len(self._records) if self._records is not None else len(self._node)

    def __contains__(self, key: object) -> bool:
        if self._records is None:
            return super().__contains__(key)  # type: ignore[no-any-return]
        return isinstance(key, int) and 0 <= key < len(self._records)

    @property
    def has_bodies(self) -> bool:
        """Whether a node holds graphs, as loops and branches do."""
        return self._has_bodies if self._records is not None else any(n.bodies for n in self.ordered())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_interned": {}, "_known": {}}

    def known(self, what: object, find: Callable[[Graph], Any]) -> Any:
        """What `find` tells of the graph, found once: `what` names it, with all that it depends on but the nodes."""
        if self._records is None:  # in networkx's dictionaries, anything may change at any time
            return find(self)
        if what not in self._known:
            self._known[what] = find(self)
        return self._known[what]

    @property
    def sorts(self) -> Collection[Node]:
        """One node for each op with each type: all that steps look at who ask what there is in a graph."""
        found: dict[object, Node] = self.known("sorts", _sorts)
        return found.values()

    @property
    def numbers(self) -> Mapping[int, float]:
        """The constants that are one floating-point number, by key."""
        found: dict[int, float] = self.known("numbers", _numbers)
        return found

    @property
    def is_records(self) -> bool:
        """Whether nobody has asked for networkx's dictionaries, so that records are the truth."""
        return self._records is not None

    def edges_agree(self, n: Node) -> bool:
        """Whether the edges to `n` are those from its operands."""
        return self._records is not None or set(self._pred[n.key]) == set(n.args)

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
        for n in self.backwards():
            if n.key in needed:
                needed.update(n.args)
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
        found: str = self.known(("digest", self.inputs, self.outputs), _digest)
        return found

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


new_tuple = tuple.__new__  # of a named tuple, without the call of a function in Python
_OP, _TYPE = itemgetter(1), itemgetter(4)  # of a node: what goes through all of them without a step of Python each
_WITHOUT_BODIES = frozenset({"leaf", "elementwise"})  # kinds of ops whose params are no graphs
_DICTIONARIES = ("_node", "_adj", "_succ", "_pred")


def intern_key(op: str, args: tuple[int, ...], params: Params, type: Type, commutative: bool) -> object:
    """What makes two nodes the same computation; operands of a commutative op count in any order."""
    if commutative:
        args = tuple(sorted(args))
    return op, args, freeze_key(params) if params else None, type.shape, type.dtype


def freeze_key(value: Any) -> object:
    """A hashable key that tells apart all that differs: floats by bits, `1` from `True` and from `1.0`.

    >>> freeze_key(0.0) == freeze_key(-0.0), freeze_key(1) == freeze_key(True)
    (False, False)
    """
    known = _FREEZE.get(type(value))
    if known is not None:
        return known(value)
    for kinds, freeze in _FREEZE_LIKE:
        if isinstance(value, kinds):
            return freeze(value)
    return (type(value).__name__, value)


def _freeze_each(value: Any) -> object:
    return (type(value).__name__, *[freeze_key(v) for v in value])


#: Of what stands in params all the time, by its exact type.
_FREEZE: Mapping[type, Callable[[Any], object]] = {
    type(None): lambda value: value,
    str: lambda value: value,
    bool: lambda value: ("bool", value),
    int: lambda value: ("int", value),
    float: lambda value: ("float", struct.pack("<d", value)),
    tuple: _freeze_each,
    dict: lambda value: ("map", *[(k, freeze_key(v)) for k, v in value.items()]),
}
_FREEZE_LIKE: Sequence[tuple[Any, Callable[[Any], object]]] = (
    (str, lambda value: value),
    (int, lambda value: (type(value).__name__, value)),
    (float, lambda value: ("float", struct.pack("<d", value))),
    (np.ndarray, lambda value: ("array", value.dtype.str, value.shape, value.tobytes())),
    ((tuple, list), _freeze_each),
    (Mapping, lambda value: ("map", *[(k, freeze_key(v)) for k, v in value.items()])),
    (Graph, lambda value: ("graph", value.digest())),
    (slice, lambda value: ("slice", freeze_key((value.start, value.stop, value.step)))),
)


def _sorts(graph: Graph) -> dict[object, Node]:
    nodes = [*graph.ordered()]
    ids = map(id, map(_TYPE, nodes))  # types that are equal are mostly one
    return dict(zip(zip(map(_OP, nodes), ids, strict=True), nodes, strict=True))


def _numbers(graph: Graph) -> dict[int, float]:
    values = {n[0]: n[3]["value"] for n in graph.ordered() if n[1] == "constant"}
    return {key: value for key, value in values.items() if isinstance(value, float)}


_NO_PARAMS = ("map",)  # what `freeze_key` makes of no params


def _digest(graph: Graph) -> str:
    types: dict[int, str] = {}
    lines = []
    for key, op, args, params, type, _ in graph.ordered():
        name = types.get(id(type))
        if name is None:
            name = types[id(type)] = repr(str(type))
        lines.append(f"({key}, {op!r}, {args}, {freeze_key(params) if params else _NO_PARAMS}, {name})")
    lines.append(repr((graph.inputs, graph.outputs)))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _show(value: Any) -> str:
    if isinstance(value, np.ndarray):
        body = np.array2string(value, separator=",", threshold=8, precision=17)
        return " ".join(body.split())
    if isinstance(value, DType):
        return value.name
    return repr(value)
