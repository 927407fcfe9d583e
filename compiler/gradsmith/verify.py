"""The checker: every invariant of a graph, short enough to trust by reading.

In: a graph. Out: nothing, or `GraphError` naming the node and the broken rule. It runs after every pass in the tests
and after tracing and differentiation always.
"""

from __future__ import annotations

from .errors import GraphError
from .graph import Graph, Node
from .registry import lookup
from .types import Type

__all__ = ["verify"]


def verify(graph: Graph) -> Graph:
    """Check `graph` and return it; raises `GraphError` for the first broken invariant."""
    well_typed: set[object] = set()  # ops without params, with their types
    types: dict[int, Type] = {}
    ids: dict[int, int] = {}  # of the types, which are mostly one where they are equal
    id_of = ids.__getitem__
    edges = not graph.is_records  # which follow from the args of records
    for n in graph.ordered():
        key, name, args, params, type, _ = n
        try:
            known = (name, id(type), *map(id_of, args))
        except KeyError:
            raise _broken(n, "an operand is missing or comes later") from None
        types[key], ids[key] = type, id(type)
        if edges and not graph.edges_agree(n):
            raise _broken(n, "edges differ from args")
        if not params and known in well_typed:
            continue
        op = lookup(n.op)
        if op.arity is not None and len(n.args) != op.arity:
            raise _broken(n, f"takes {op.arity} operands")
        if op.kind != "leaf":
            found = op.infer(*[types[a] for a in args], **n.params)
            if found != n.type:
                raise _broken(n, f"is {n.type}, but its operands make it {found}")
        if not params:
            well_typed.add(known)
        for body in n.bodies.values():
            verify(body)
    inputs = {n.key for n in graph.ordered() if n.op == "input"}
    if inputs != set(graph.inputs):
        raise GraphError(f"input nodes {sorted(inputs)} differ from the graph's inputs {graph.inputs}")
    if not all(key in graph for key in graph.outputs):
        raise GraphError(f"an output of {graph.outputs} is not a node")
    return graph


def _broken(n: Node, message: str) -> GraphError:
    return GraphError(f"node %{n.key} ({n.op} of {n.args}): {message}")
