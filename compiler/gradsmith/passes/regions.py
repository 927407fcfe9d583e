"""Regions: how passes reach the bodies of loops and branches.

In: a graph whose nodes may hold graphs, and a pass. Out: the graph after the pass has been through all of them, the
innermost first. Guarantee: a body keeps its inputs and outputs in number and order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..graph import Graph, Node
from ..regions import has_regions, with_ends
from ..registry import lookup

__all__ = ["rebuilt", "remade", "with_bodies"]


def with_bodies(graph: Graph, pass_: Callable[[Graph], Graph]) -> Graph:
    """`pass_` of the graph, after `pass_` of the bodies in it, and of those in them."""
    if has_regions(graph):

        def inside(n: Node) -> Mapping[str, Any]:
            return {**n.params, **{name: with_bodies(body, pass_) for name, body in n.bodies.items()}}

        graph = rebuilt(graph, inside)
    return pass_(graph)


def rebuilt(graph: Graph, params: Callable[[Node], Mapping[str, Any]]) -> Graph:
    """`graph` with other params of its regions, which leave their types as they are."""
    return remade(graph, lambda n: (n.op, params(n) if n.bodies else n.params))


def remade(graph: Graph, change: Callable[[Node], tuple[str, Mapping[str, Any]]]) -> Graph:
    """`graph` with other ops and params, which leave operands and types as they are."""
    new, keys = Graph(), dict[int, int]()
    for n in graph.ordered():
        op, params = change(n)
        args = [keys[a] for a in n.args]
        keys[n.key] = new.add(op, args, params, n.type, n.origin, commutative=lookup(op).commutative)
    return with_ends(new, graph, keys)
