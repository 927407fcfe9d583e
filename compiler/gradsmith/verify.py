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
    inferred: dict[object, Type] = {}  # of ops without params, by what they were inferred from
    types_of: dict[int, Type] = {}
    for n in graph.ordered():
        for a in n.args:
            if a not in types_of:
                raise _broken(n, "an operand is missing or comes later")
        types_of[n.key] = n.type
        if not graph.edges_agree(n):
            raise _broken(n, "edges differ from args")
        op = lookup(n.op)
        if op.arity is not None and len(n.args) != op.arity:
            raise _broken(n, f"takes {op.arity} operands")
        if op.kind != "leaf":
            types = [types_of[a] for a in n.args]
            known = (n.op, *map(id, types)) if not n.params else None
            found = inferred.get(known) if known else None
            if found is None:
                found = op.infer(*types, **n.params)
                if known:
                    inferred[known] = found
            if found is not n.type and found != n.type:
                raise _broken(n, f"is {n.type}, but its operands make it {found}")
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
