"""Regions: what loops and branches in a graph need, and the graph without what nothing needs.

In: a graph whose nodes may hold graphs. Out: one whose loops and branches compute, carry and take in what is read
alone, so that a function that returns a value does not store what only its gradient reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .graph import Graph, Node
from .registry import lookup
from .types import Bundle

__all__ = ["all_graphs", "depends", "has_regions", "pruned", "with_ends", "with_inner"]


def has_regions(graph: Graph) -> bool:
    """Whether there is a loop or a branch in the graph."""
    return graph.has_bodies


def with_ends(new: Graph, old: Graph, keys: Mapping[int, int]) -> Graph:
    """`new` with the inputs, outputs and cotangents of `old`, whose keys are now `keys`."""
    new.graph["inputs"] = tuple(keys[k] for k in old.inputs)
    new.graph["outputs"] = tuple(keys[k] for k in old.outputs)
    new.graph["cotangents"] = {
        keys[p]: keys[c] for p, c in old.cotangents.items() if p in keys and c in keys
    }  # fmt: skip
    return new


def all_graphs(graph: Graph) -> Iterator[Graph]:
    """The bodies in a graph and in each other, the innermost first, and the graph itself."""
    for n in graph.ordered() if graph.has_bodies else ():
        for body in n.bodies.values():
            yield from all_graphs(body)
    yield graph


def with_inner(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of the bodies in it."""
    return (n for each in all_graphs(graph) for n in each.ordered())


def depends(body: Graph, outputs: Sequence[int]) -> set[int]:
    """Numbers of the inputs of `body` that its outputs with the numbers `outputs` depend on."""
    needed = {body.outputs[k] for k in outputs}
    for n in body.backwards():
        if n.key in needed:
            needed.update(n.args)
    return {k for k, key in enumerate(body.inputs) if key in needed}


def pruned(graph: Graph, outputs: Sequence[int]) -> Graph:
    """The part of `graph` that computes `outputs`, whose regions compute, carry and take in what is read alone."""
    graph = graph.rooted(outputs)
    if not has_regions(graph):
        return graph
    read: dict[int, set[int]] = {}
    wanted: dict[int, _Cut] = {}
    needed = {*graph.outputs, *graph.inputs}
    for key in reversed(graph.keys_in_order()):
        n = graph.node(key)
        if key not in needed:
            continue
        if lookup(n.op).kind == "part":
            read.setdefault(n.args[0], set()).add(n.params["index"])
            needed.add(n.args[0])
        elif n.bodies:
            wanted[key] = _CUTS[n.op](n, read[key])
            needed.update(n.args[k] for k in wanted[key].operands)
        else:
            needed.update(n.args)
    new, keys = Graph(), dict[int, int]()
    for n in graph.ordered():
        if n.key not in needed:
            continue
        args, params, type = [keys[a] for a in n.args if a in keys], n.params, n.type
        if n.key in wanted:
            cut = wanted[n.key]
            assert isinstance(type, Bundle)
            args, params = [keys[n.args[k]] for k in cut.operands], cut.params
            type = Bundle(types=tuple(type.types[k] for k in cut.results))
        elif lookup(n.op).kind == "part":
            params = {"index": wanted[n.args[0]].results.index(n.params["index"])}
        keys[n.key] = new.add(n.op, args, params, type, n.origin, commutative=lookup(n.op).commutative)
    return with_ends(new, graph, keys)


class _Cut:
    """What is left of a region: which operands and results (by number), and its params."""

    def __init__(self, operands: Sequence[int], results: Sequence[int], params: Mapping[str, Any]) -> None:
        self.operands, self.results, self.params = operands, results, params


def _body(body: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    """`body` with some of its inputs and outputs, itself pruned."""
    cut = pruned(body, [body.outputs[k] for k in outputs])
    kept = [cut.inputs[k] for k in inputs]
    gone = set(cut.inputs) - set(kept)
    new, keys = Graph(), dict[int, int]()
    for n in cut.ordered():
        if n.key not in gone:
            keys[n.key] = new.add(n.op, [keys[a] for a in n.args], n.params, n.type, n.origin)
    new.graph["inputs"] = tuple(keys[k] for k in kept)
    new.graph["outputs"] = tuple(keys[k] for k in cut.outputs)
    return new


def _needed_state(body: Graph, consts: int, carries: int, kept: set[int], also: set[int]) -> set[int]:
    """Numbers of the carries that must stay: those in `kept`, and those that they, or outputs `also`, depend on."""
    while True:
        found = depends(body, [*sorted(kept), *sorted(also)])
        more = {k - consts for k in found if consts <= k < consts + carries} | kept
        if more == kept:
            return kept
        kept = more


def _cut_scan(n: Node, read: set[int]) -> _Cut:
    p = n.params
    body, consts, carries, counted = p["body"], p["consts"], p["carries"], int(p["counted"])
    ys = {k for k in read if k >= carries}
    state = sorted(_needed_state(body, consts, carries, {k for k in read if k < carries}, ys))
    outputs = [*state, *sorted(ys)]
    used = depends(body, outputs)
    inputs = [k for k in range(len(body.inputs)) if k in used or k - consts in state]
    params = {
        **p,
        "body": _body(body, inputs, outputs),
        "consts": sum(k < consts for k in inputs),
        "carries": len(state),
    }
    return _Cut([*range(counted), *(k + counted for k in inputs)], outputs, params)


def _cut_while(n: Node, read: set[int]) -> _Cut:
    p = n.params
    body, test, consts = p["body"], p["test"], p["consts"]
    carries = len(n.args) - consts
    extra = int(p["bound"] is not None)  # the number of steps is a result, but none of the body's
    ys = {k - extra for k in read if k >= carries + extra}
    kept = {k for k in read if k < carries} | {k - consts for k in depends(test, [0]) if k >= consts}
    state = sorted(_needed_state(body, consts, carries, kept, ys))
    outputs = [*state, *sorted(ys)]
    used = depends(body, outputs) | depends(test, [0])
    inputs = [k for k in range(len(body.inputs)) if k in used or k - consts in state]
    params = {
        **p,
        "body": _body(body, inputs, outputs),
        "test": _body(test, inputs, [0]),
        "consts": sum(k < consts for k in inputs),
    }
    results = [*state, *([carries] if extra else []), *(k + extra for k in sorted(ys))]
    return _Cut(inputs, results, params)


def _cut_cond(n: Node, read: set[int]) -> _Cut:
    outputs = sorted(read)
    bodies = n.bodies
    used = set[int]().union(*(depends(body, outputs) for body in bodies.values()))
    inputs = sorted(used)
    params = {**n.params, **{name: _body(body, inputs, outputs) for name, body in bodies.items()}}
    return _Cut([0, *(k + 1 for k in inputs)], outputs, params)


_CUTS: Mapping[str, Callable[[Node, set[int]], _Cut]] = {
    "scan": _cut_scan,
    "while_loop": _cut_while,
    "cond": _cut_cond,
}
