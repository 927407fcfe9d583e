"""The driver of all rewriting: rebuild a graph node by node, offering each new node to a list of rules.

In: a graph and rules, each a function from an `Expr` to its replacement, or None for "no change". Out: the rebuilt
graph. Nodes that a rule makes are offered to the rules as well, equal nodes merge, and what nothing needs any more is
left out; so one linear pass does what a loop to a fixed point would.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from ..graph import Graph, Node
from ..registry import Op, lookup
from ..trace import Expr, Recording, graph_of, next_serial, recording, to_exprs, to_graph

__all__ = ["About", "Replacement", "Rule", "first_of", "forget", "recorded", "rewritten"]

Rule = Callable[[Expr], Expr | None]
Replacement = Callable[[Node, Sequence[Expr]], Expr | None]


@dataclass(frozen=True)
class About:
    """A rule that has something to say of these ops only, so that it need not be asked about others.

    Of scalars `beside` others it speaks only where an operand is a number, a negation, a broadcast, or stands twice.
    """

    ops: Container[str]
    rule: Rule
    beside: Container[str] = frozenset()

    def __call__(self, e: Expr) -> Expr | None:
        return self.rule(e) if e.op.name in self.ops else None


_SPOKEN_OF = frozenset({"constant", "neg", "broadcast_to"})


def first_of(*rules: Rule) -> Rule:
    """One rule that gives the result of the first of `rules` that applies."""

    if len(rules) == 1:
        return rules[0]
    asked: dict[Op, tuple[list[Rule], list[Rule]]] = {}  # about each op: in any case, and with any operands

    def rule(e: Expr) -> Expr | None:
        op, args = e.op, e.args
        found = asked.get(op)
        if found is None:
            about = [r for r in rules if not isinstance(r, About) or op.name in r.ops]
            always = [r for r in about if not isinstance(r, About) or op.name not in r.beside]
            found = asked[op] = _bare(about), _bare(always)
        some, always = found
        if not e.type.shape:
            if len(args) == 2:
                a, b = args
                if a is not b and a.op.name not in _SPOKEN_OF and b.op.name not in _SPOKEN_OF:
                    some = always
            elif not any(a.op.name in _SPOKEN_OF for a in args):
                some = always
        for each in some:
            result = each(e)
            if result is not None:
                return result
        return None

    return rule


def _bare(rules: Sequence[Rule]) -> list[Rule]:
    return [r.rule if isinstance(r, About) else r for r in rules]


@dataclass(frozen=True)
class _Kept:
    """The expressions that a graph was made of, by key, and how equal ones are found, if that is at hand."""

    exprs: list[Expr]
    interned: dict[object, Expr] | None


_MOST_LEFT = 1.1  # expressions to each that a graph is made of


def recorded(
    state: Recording, inputs: Sequence[Expr], outputs: Sequence[Expr], cotangents: Sequence[tuple[Expr, Expr]]
) -> Graph:
    """The graph that computes `outputs`, all of which was made in one recording.

    It keeps its expressions for the next pass, which takes them, or forgets them (`forget`).
    """
    needed = {x.serial for x in outputs}
    need = needed.add
    first = {x.serial for x in inputs}
    found: list[Expr] = []
    for x in reversed(state.made):
        serial = x.serial
        if serial in needed and serial not in first:
            found.append(x)
            for a in x.args:
                need(a.serial)
    found += reversed(inputs)
    if not state.apart or len(found) != len(needed | first):  # something was made elsewhere
        return to_graph(inputs, outputs, cotangents, distinct=state.apart)
    found.reverse()
    much_is_left = len(state.interned) > _MOST_LEFT * len(found)  # which is to be let go
    interned = None if much_is_left else state.interned
    state.made.clear()
    state.interned = {}
    graph = graph_of(found, len(inputs), outputs, cotangents)
    graph.known("expressions", lambda _: _Kept(found, interned))
    return graph


def forget(graph: Graph) -> Graph:
    """The graph, which lets the expressions go that it was made of."""
    graph.take("expressions")
    return graph


def rewritten(
    graph: Graph, *rules: Rule, replace: Replacement | None = None, at: Container[int] | None = None
) -> Graph:
    """`graph` rebuilt from the inputs on, with `rules` seeing every node that is made.

    `replace` is for passes that have to see the whole graph first: it is asked for each node of `graph`, or those `at`
    the given keys, with the expressions of all nodes before it, and gives the node's new expression or None.
    """
    said = graph.known("rules", lambda _: ())
    settled = bool(rules) and all(any(rule is other for other in said) for rule in rules)
    kept: _Kept | None = graph.take("expressions")
    with recording(first_of(*rules) if rules else None) as state:
        if kept is None or (replace is not None and at is None):
            exprs = to_exprs(graph, replace=replace, at=at, settled=settled)
        else:
            exprs = _patched(graph, kept, state, replace, at, settled)
    pairs = [(exprs[p], exprs[c]) for p, c in graph.cotangents.items()]
    inputs, outputs = [exprs[k] for k in graph.inputs], [exprs[k] for k in graph.outputs]
    del exprs, kept  # with what knows of them: most of what is in memory at this time
    state.holds = None
    new = recorded(state, inputs, outputs, pairs)
    if state.apart:
        new.known("rules", lambda _: rules)  # which have been asked about every node, and have nothing more to say
    return new


def _patched(
    graph: Graph,
    kept: _Kept,
    state: Recording,
    replace: Replacement | None,
    at: Container[int] | None,
    settled: bool,
) -> list[Expr]:
    """What `to_exprs` gives, with the kept expressions of all nodes below which nothing changes.

    Guarantee: the same nodes in the same order as if all were made anew. So a kept expression is equal to a new one
    only from its place on: made before it, the new one takes its place.
    """
    exprs: list[Expr] = []
    moved: set[int] = set()  # what is made of other expressions than in `graph`, or stands elsewhere
    places: dict[int, int] = {}
    made, rule, interned = state.made, state.rewrite, kept.interned
    if interned is None:
        interned = {state.key_of(x): x for x in kept.exprs if x.op.name != "input"}

    def holds(found: Expr) -> bool:
        if not places:
            places.update({x.serial: key for key, x in enumerate(kept.exprs)})
        place = places.get(found.serial)
        if place is None:
            return False
        if place < len(exprs):
            return exprs[place] is found
        moved.add(place)
        return False

    state.interned, state.since, state.holds = interned, next_serial(), holds
    newest = -1
    for old, n in zip(kept.exprs, graph.ordered(), strict=True):
        key, name, operands, params, type, origin = n
        if name == "input":
            made.append(old)
            exprs.append(old)
            continue
        x: Expr | None
        if (not moved or (key not in moved and moved.isdisjoint(operands))) and (at is None or key not in at):
            made.append(old)
            if settled or rule is None:
                exprs.append(old)
                continue
            state.origin = origin.unnamed()
            if origin.name is not None:
                newest = next_serial()
            x = rule(old)
            if x is None:
                exprs.append(old)
                continue
            assert x.type == type, f"{name}: {type} was rewritten to {x.type}"
            interned[state.key_of(old)] = x
            moved.add(key)
        else:
            state.origin = origin.unnamed()
            if origin.name is not None:
                newest = next_serial()
            x = None if at is None or key not in at or replace is None else replace(n, exprs)
            if x is None:
                x = state.record(lookup(name), tuple([exprs[a] for a in operands]), params, type, origin)
            moved.add(key)
        if origin.name is not None and x.serial > newest:
            x.origin = origin  # a rewritten value keeps the user's name
        exprs.append(x)
    return exprs
