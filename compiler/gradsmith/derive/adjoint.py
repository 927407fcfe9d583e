"""Reverse mode: from a graph to the graph that also computes the gradient of its one scalar output.

In: a graph and the inputs to differentiate by. Out: the joint graph: outputs are the value, then one cotangent for
each input asked for, and `graph.cotangents` tells which node holds the cotangent of which. `pull` takes cotangents of
any number of outputs of any shape instead of the 1 of a scalar. Guarantees: only nodes between the inputs and the
outputs get cotangents; what is structurally zero is None, and a constant of zeros in a graph.

The walk is backpropagation as on the blackboard: start with the cotangents of the outputs, go back through the nodes,
ask each op's rule what its operands receive, and add up what arrives at each value.

A `where` passes its cotangent whole to both branches, and the choice waits (see choices.py) until a branch joins the
rest of the function.

An op may be flat in places, as abs is at 0: a subgradient of 0 that is chosen, not computed. Nothing passes there, also
where the cotangent is infinite, as that of abs(x)**0.5 is. Cotangents that are finite by their rules need no such mask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..as_graph import between, input_symbols, to_exprs, to_graph
from ..errors import DerivativeError
from ..graph import Graph, Node
from ..ops import where
from ..origin import Origin
from ..passes.expand import expand_underivable
from ..passes.stabilise import stabilise
from ..registry import lookup
from ..trace import Expr, Recording, constant, recording
from ..types import format_shape
from .adjoint_regions import Reverse, activity, ready, reverse, zeros
from .choices import Share, any_of, chosen, forwards, kept, mask, tame, under, wild

__all__ = ["Pulled", "adjoint", "derivable", "gradient", "pull", "pulled", "stable_forms", "zeros"]


@dataclass(frozen=True)
class Pulled:
    """What reverse mode gives: the cotangent of each input asked for (None for a structural zero), and of all nodes.

    Where the mask of an input, by its number among those asked for, does not hold, its cotangent is 0 and not as given.
    """

    gradients: list[Expr | None]
    cotangents: Mapping[int, Expr]
    masks: Mapping[int, Expr]


def adjoint(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The joint graph of `graph`'s scalar output and its gradient with respect to the input keys `wrt`."""
    (root,) = graph.outputs
    if graph.node(root).type.shape != ():
        raise DerivativeError(
            f"a gradient needs a scalar, but the result has shape {format_shape(graph.node(root).type.shape)}: reduce "
            'it first (gs.sum, gs.mean), or ask for derivatives=("jacobian",) or ("vjp",)'
        )
    graph, plans = ready(graph, activity(graph, wrt), pull)
    with recording(_of_a_square) as state:
        values = to_exprs(graph)
        found = pull(graph, values, [constant(1.0, values[root].dtype)], wrt, state, plans)
        gradients = [zeros(graph.node(k).type) if g is None else g for k, g in zip(wrt, found.gradients, strict=True)]
    pairs = [(values[key], g) for key, g in found.cotangents.items()]
    outputs = [values[root], *gradients]
    # the ways back through loops were made before, in recordings of their own
    return to_graph([values[k] for k in graph.inputs], outputs, pairs, since=None if plans else state.since)


def _of_a_square(e: Expr) -> Expr | None:
    """x**(2 - 1) -> x: what the slopes of squares would have most of their nodes for."""
    if e.op.name != "pow" or e.args[1].op.name != "sub" or e.type.shape:
        return None
    values = [a.params.get("value") for a in e.args[1].args]
    return e.args[0] if values == [2.0, 1.0] else None


def pull(
    graph: Graph,
    values: Sequence[Expr],
    seeds: Sequence[Expr | None],
    wrt: Sequence[int],
    state: Recording,
    plans: Mapping[int, Reverse],
    masks: Mapping[int, Expr] | None = None,
    beyond: Collection[int] = (),
) -> Pulled:
    """The cotangents of the inputs `wrt`, given those of the outputs.

    `values` are the nodes of `graph` as expressions, and `seeds` the outputs' cotangents; None is a structural zero.
    `plans` are the ways back through its loops, which `ready` made. `masks` tell where seeds (by number) count, and
    those of the inputs `beyond` which choices may wait. It runs inside `recording() as state`.
    """
    active = activity(graph, wrt)
    results: dict[int, dict[int, Share]] = {}  # cotangents of the results of loops and branches
    choices = masks or any(lookup(op).choice or lookup(op).kind == "region" for op in {n.op for n in graph.sorts})
    wilds = wild(graph, active, beyond) if choices else set[int]()  # nothing waits where there is no choice
    conditions: dict[int, Expr] = {}
    arriving: dict[int, list[Share]] = {}
    for number, (key, seed) in enumerate(zip(graph.outputs, seeds, strict=True)):
        if seed is not None and key in active:
            only = (under(masks[number], conditions),) if masks and number in masks else ()
            arriving.setdefault(key, []).append(Share(seed, only))
    cotangents: dict[int, Expr] = {}
    ends: dict[int, Share] = {}
    steep: set[int] = set()  # whose cotangent may be infinite
    places: dict[object, tuple[Origin, Origin]] = {}
    calm = {n.op for n in graph.sorts if not n.bodies and tame(n)}
    for node in graph.backwards():
        key = node.key
        if key not in active:
            continue
        if key in results:
            state.origin = _origin(node).unnamed()
            back = reverse(node, plans.get(key), results.pop(key), values, active, pull, wilds, conditions)
            for operand, received in zip(node.args, back, strict=True):
                if received is not None and operand in active:
                    arriving.setdefault(operand, []).append(received)
            steep.update(node.args)
        if key not in arriving:
            continue
        name = node.op
        place = (id(node.origin), name, node.params["name"] if name == "input" else "")
        if place not in places:
            places[place] = _origin(node), _origin(node).unnamed()
        own, state.origin = places[place]
        found = arriving.pop(key)
        waits = found[0].under and (key in wilds or forwards(node, active))
        still = kept(node, found, conditions) if waits else ()
        if still:
            found = [s._replace(under=tuple(c for c in s.under if c not in still)) for s in found]
        g = chosen(found, conditions)
        if not still:
            cotangents[key] = g
        if waits and key in wilds:
            still += any_of(node, found, still, conditions, g)
        ends[key] = _SHARE(Share, (g, still))
        if g.origin.role == "cotangent" and g.origin.name is None:
            g.origin = g.origin if own.name is None else g.origin.named(own.name)
        op = lookup(name)
        if op.kind == "part":
            results.setdefault(node.args[0], {})[node.params["index"]] = ends[key]
            continue
        flat = op.flat
        if flat is not None and key in steep:
            g = where(flat(values[key], *(values[a] for a in node.args), **node.params), 0.0, g)
        if key in steep or not (name in calm or tame(node)):
            steep.update(node.args)
        for operand, share in zip(node.args, _shares(node, g, values), strict=True):
            if share is not None and operand in active:
                more = _SHARE(Share, (share, still))
                if operand in arriving:
                    arriving[operand].append(more)
                else:
                    arriving[operand] = [more]
        if op.choice:
            for operand, holds in zip(node.args[1:], (True, False), strict=True):
                if operand in active:
                    choice = under(values[node.args[0]], conditions, holds)
                    arriving.setdefault(operand, []).append(Share(g, (*still, choice)))
    gradients = [ends[key].value if key in ends else None for key in wrt]
    waiting = {k: ends[key] for k, key in enumerate(wrt) if key in ends and ends[key].under}
    return Pulled(gradients, cotangents, {k: mask(s.under, conditions, s.value.shape) for k, s in waiting.items()})


def pulled(
    outputs: Sequence[Expr],
    seeds: Sequence[Expr | None],
    wrt: Sequence[Expr],
    at: Sequence[Expr] | None = None,
    *,
    stabilize: bool = False,
) -> tuple[list[Expr], list[Expr | None]]:
    """Reverse mode on expressions: the outputs, and the cotangents of `wrt` given those of `outputs`.

    With `at`, these values stand for those of `wrt` in both. What does not depend on `wrt` is not looked into.
    """
    graph, around = derivable(outputs, wrt, stabilize)
    graph, plans = ready(graph, activity(graph, graph.inputs[: len(wrt)]), pull)
    with recording() as state:
        values = to_exprs(graph, [*(wrt if at is None else at), *around])
        found = pull(graph, values, seeds, graph.inputs[: len(wrt)], state, plans)
    return [values[k] for k in graph.outputs], found.gradients


def derivable(outputs: Sequence[Expr], wrt: Sequence[Expr], stabilize: bool) -> tuple[Graph, list[Expr]]:
    """The graph from `wrt` to `outputs` in ops that have rules, in stable forms if wished, and what else it reads."""
    graph, around = between(outputs, wrt)
    if stabilize and _stable.get():
        graph, _ = stabilise(graph)
    return expand_underivable(graph), around


_stable: ContextVar[bool] = ContextVar("stable", default=True)


@contextmanager
def stable_forms(wanted: bool) -> Iterator[None]:
    """While open, transforms put formulas that lose digits into stable forms, or leave them as they are."""
    token = _stable.set(wanted)
    try:
        yield
    finally:
        _stable.reset(token)


def gradient(output: Expr, wrt: Sequence[Expr], *, stabilize: bool = True) -> list[Expr]:
    """The gradient of a scalar expression with respect to symbols, as expressions of the same symbols.

    With `stabilize`, formulas that lose digits give way to stable ones first.
    """
    inputs = input_symbols([output, *wrt])
    graph = to_graph(inputs, [output])
    if stabilize:
        graph, _ = stabilise(graph)
    graph = expand_underivable(graph)
    keys = {x.serial: key for x, key in zip(inputs, graph.inputs, strict=True)}
    joint = adjoint(graph, [keys[x.serial] for x in wrt])
    exprs = to_exprs(joint, inputs)
    return [exprs[k] for k in joint.outputs[1:]]


def _origin(node: Node) -> Origin:
    name = node.params["name"].split()[0] if node.op == "input" else node.origin.name
    prefix = "dd_" if node.origin.role == "cotangent" else "d_"
    return node.origin.backward(name and prefix + name.removeprefix("d_"), node.op)


def _shares(node: Node, g: Expr, values: Sequence[Expr]) -> tuple[Expr | None, ...]:
    """What the operands of `node` receive from its cotangent `g`, by the op's own rule."""
    op = lookup(node.op)
    if not node.args or op.choice:
        return (None,) * len(node.args)
    if op.vjp is None:
        raise DerivativeError(f"op {op.name!r} has no derivative rule: give its record vjp= or expand=")
    operands = [values[a] for a in node.args]
    shares = op.vjp(g, values[node.key], *operands, **node.params)
    for number, (x, share) in enumerate(zip(operands, shares, strict=True)):
        if share is not None and share.type is not x.type and share.type != x.type:
            raise DerivativeError(
                f"the derivative rule of {op.name!r} gives operand {number} a cotangent of type {share.type}, "
                f"but the operand is {x.type}"
            )
    return shares


_SHARE = tuple.__new__  # of a named tuple, without the call of a function in Python
