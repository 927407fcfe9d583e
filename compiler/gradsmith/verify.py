"""The checker: every invariant of a graph, short enough to trust by reading.

In: a graph. Out: nothing, or `GraphError` naming the node and the broken rule. It runs after every pass in the tests
and after tracing and differentiation always.
"""

from __future__ import annotations

from .errors import GraphError
from .graph import Graph, Node
from .registry import lookup

__all__ = ["verify"]


def verify(graph: Graph) -> Graph:
    """Check `graph` and return it; raises `GraphError` for the first broken invariant."""
    for n in graph.ordered():
        _require(all(a in graph and a < n.key for a in n.args), n, "an operand is missing or comes later")
        _require(set(graph.predecessors(n.key)) == set(n.args), n, "edges differ from args")
        op = lookup(n.op)
        _require(op.arity is None or len(n.args) == op.arity, n, f"takes {op.arity} operands")
        if op.kind != "leaf":
            types = [graph.node(a).type for a in n.args]
            inferred = op.infer(*types, **n.params)
            _require(inferred == n.type, n, f"is {n.type}, but its operands make it {inferred}")
        for body in n.bodies.values():
            verify(body)
    inputs = {n.key for n in graph.ordered() if n.op == "input"}
    if inputs != set(graph.inputs):
        raise GraphError(f"input nodes {sorted(inputs)} differ from the graph's inputs {graph.inputs}")
    if not set(graph.outputs) <= set(graph.nodes):
        raise GraphError(f"an output of {graph.outputs} is not a node")
    return graph


def _require(holds: bool, n: Node, message: str) -> None:
    if not holds:
        raise GraphError(f"node %{n.key} ({n.op} of {n.args}): {message}")
