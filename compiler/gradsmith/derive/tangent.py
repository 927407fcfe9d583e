"""Forward mode: from tangents of a graph's inputs to those of its outputs, the mirror of `adjoint`.

In: a graph, its nodes as expressions, and tangents of some inputs. Out: a tangent for each node that depends on them.
Guarantees: no tangent is None, a structural zero, and never a number; a `where` takes the tangent of the branch that is
taken, so the other one never poisons it.

No op needs a rule of its own. The cotangent rule of an element-wise op multiplies by the slopes, which is what the
tangent needs as well. An op that is linear has itself as its tangent, and a product the product rule. For all else the
cotangent rule is a linear map from u to `vjp(u)`, and its transpose, made by reverse mode, maps tangents forwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..as_graph import to_exprs
from ..errors import DerivativeError
from ..graph import Graph, Node
from ..ops import where
from ..ops.control import part
from ..origin import Origin
from ..registry import Op, lookup
from ..trace import Expr, Recording, apply, recording
from .adjoint import derivable, pulled, zeros
from .choices import tame
from .tangent_regions import Forward, forward

__all__ = ["Pushed", "push", "pushed"]


@dataclass(frozen=True)
class Pushed:
    """What forward mode gives: all nodes as expressions, and the tangents of those that have one, by key."""

    values: Sequence[Expr]
    tangents: Mapping[int, Expr]


def push(graph: Graph, values: Sequence[Expr], seeds: Mapping[int, Expr], state: Recording) -> Pushed:
    """The tangents of all nodes that depend on the inputs `seeds` (key -> tangent).

    `values` are the nodes of `graph` as expressions. It runs inside `recording() as state`. Ops without a rule must
    have been expanded.
    """
    values, tangents = [*values], dict(seeds)
    replaced: set[int] = set()  # nodes that are computed from loops which compute tangents as well
    loops: dict[int, Forward] = {}
    steep: set[int] = set()  # whose tangent may be infinite
    for n in graph.ordered():
        if n.bodies and any(a in tangents for a in n.args):
            state.origin = n.origin.unnamed()
            loops[n.key] = forward(n, values, [tangents.get(a) for a in n.args], push)
            values[n.key] = loops[n.key].region
            replaced.add(n.key)
            continue
        if lookup(n.op).kind == "part" and n.args[0] in loops:
            loop, index = loops[n.args[0]], n.params["index"]
            state.origin = n.origin
            values[n.key] = part(loop.region, index=loop.values[index])
            replaced.add(n.key)
            if index in loop.tangents:
                state.origin = _origin(n)
                tangents[n.key] = part(loop.region, index=loop.tangents[index])
            continue
        if any(a in replaced for a in n.args):
            state.origin = n.origin
            values[n.key] = apply(lookup(n.op), [values[a] for a in n.args], n.params)
            replaced.add(n.key)
        if n.key in tangents or n.type.dtype.kind != "float" or not any(a in tangents for a in n.args):
            continue
        state.origin = _origin(n).unnamed()
        if not tame(n) or any(a in steep for a in n.args):
            steep.add(n.key)
        op, xs = lookup(n.op), [values[a] for a in n.args]
        found = _tangent(op, n, [tangents.get(a) for a in n.args], values[n.key], xs)
        if found is None:
            continue
        if found.type != n.type:
            raise DerivativeError(f"the tangent of {op.name!r} has type {found.type}, but the value is {n.type}")
        if op.flat is not None and any(a in steep for a in n.args):
            found = where(op.flat(values[n.key], *xs, **n.params), 0.0, found)
        if found.origin.role == "tangent" and found.origin.name is None:
            found.origin = replace(found.origin, name=_origin(n).name)
        tangents[n.key] = found
    return Pushed(values, tangents)


def pushed(
    outputs: Sequence[Expr],
    wrt: Sequence[Expr],
    seeds: Sequence[Expr | None],
    at: Sequence[Expr] | None = None,
    *,
    stabilize: bool = False,
) -> tuple[list[Expr], list[Expr | None]]:
    """Forward mode on expressions: the outputs, and their tangents given those of `wrt`.

    With `at`, these values stand for those of `wrt` in both. What does not depend on `wrt` is not looked into.
    """
    graph, around = derivable(outputs, wrt, stabilize)
    with recording() as state:
        values = to_exprs(graph, [*(wrt if at is None else at), *around])
        given = {k: t for k, t in zip(graph.inputs[: len(wrt)], seeds, strict=True) if t is not None}
        found = push(graph, values, given, state)
    return [found.values[k] for k in graph.outputs], [found.tangents.get(k) for k in graph.outputs]


def _origin(node: Node) -> Origin:
    name = node.params["name"].split()[0] if node.op == "input" else node.origin.name
    return replace(node.origin, name=name and f"t_{name}", role="tangent", rule=node.op)


def _tangent(op: Op, n: Node, tangents: Sequence[Expr | None], y: Expr, xs: Sequence[Expr]) -> Expr | None:
    if op.jvp is not None:
        found: Expr | None = op.jvp(tangents, y, *xs, **n.params)
        return found
    if op.choice:
        condition, *sides = xs
        return where(condition, *(zeros(x.type) if t is None else t for x, t in zip(sides, tangents[1:], strict=True)))
    if op.linear or op.kind in ("layout", "assembly"):
        moved = [_moved(x, t) for x, t in zip(xs, tangents, strict=True)]
        return apply(op, moved, n.params)
    if op.vjp is None:
        raise DerivativeError(f"op {op.name!r} has no derivative rule: give its record vjp=, jvp= or expand=")
    if op.kind == "elementwise":
        return _total([op.vjp(t, y, *xs, **n.params)[k] for k, t in enumerate(tangents) if t is not None])
    if op.kind == "contraction":
        terms = [[t if i == k else x for i, x in enumerate(xs)] for k, t in enumerate(tangents) if t is not None]
        return _total([apply(op, term, n.params) for term in terms])
    return _transposed(op, n, tangents, y, xs)


def _moved(x: Expr, tangent: Expr | None) -> Expr:
    """What a linear op gets: the tangent, zeros where there is none, and the integers that say what goes where."""
    if tangent is not None:
        return tangent
    return zeros(x.type) if x.dtype.kind == "float" else x


def _total(terms: Sequence[Expr | None]) -> Expr | None:
    total: Expr | None = None
    for term in terms:
        total = term if total is None else total if term is None else total + term
    return total


def _transposed(op: Op, n: Node, tangents: Sequence[Expr | None], y: Expr, xs: Sequence[Expr]) -> Expr | None:
    """The tangent from the cotangent rule u -> shares: its transpose, at the tangents.

    The rule is linear, so where it is differentiated does not matter: at 0.
    """
    u = Expr(lookup("input"), (), {"name": "u"}, y.type, y.origin)
    shares = op.vjp(u, y, *xs, **n.params)  # type: ignore[misc]
    pairs = [(s, t) for s, t in zip(shares, tangents, strict=True) if s is not None and t is not None]
    return pulled([s for s, _ in pairs], [t for _, t in pairs], [u], [zeros(y.type)])[1][0]
