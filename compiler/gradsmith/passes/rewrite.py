"""The driver of all rewriting: rebuild a graph node by node, offering each new node to a list of rules.

    ((0 + a) + b) + c  ->  (a + b) + c         `spliced`, where no rule has anything to say of a sum of two values

In: a graph and rules, each a function from an `Expr` to its replacement, or None for "no change". Out: the rebuilt
graph. Nodes that a rule makes are offered to the rules as well, equal nodes merge, and what nothing needs any more is
left out; so one linear pass does what a loop to a fixed point would.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from ..as_graph import to_exprs, to_graph
from ..graph import Graph, Node, new_tuple
from ..registry import Op
from ..trace import Expr, recording

__all__ = ["About", "Replacement", "Rule", "first_of", "rewritten", "spliced"]

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


def rewritten(
    graph: Graph, *rules: Rule, replace: Replacement | None = None, at: Container[int] | None = None
) -> Graph:
    """`graph` rebuilt from the inputs on, with `rules` seeing every node that is made.

    `replace` is for passes that have to see the whole graph first: it is asked for each node of `graph`, or those `at`
    the given keys, with the expressions of all nodes before it, and gives the node's new expression or None.
    """
    settled = _settled(graph, rules)
    with recording(first_of(*rules) if rules else None) as state:
        exprs = to_exprs(graph, replace=replace, at=at, settled=settled)
    pairs = [(exprs[p], exprs[c]) for p, c in graph.cotangents.items()]
    new = to_graph([exprs[k] for k in graph.inputs], [exprs[k] for k in graph.outputs], pairs, since=state.since)
    if state.apart:
        new.known("rules", lambda _: rules)  # which have been asked about every node, and have nothing more to say
    return new


def _settled(graph: Graph, rules: Sequence[Rule]) -> bool:
    """Whether the rules have been asked about every node of the graph, and have nothing more to say."""
    said = graph.known("rules", lambda _: ())
    return bool(rules) and all(any(rule is other for other in said) for rule in rules)


def spliced(graph: Graph, instead: Mapping[int, int], *rules: Rule) -> Graph:
    """`graph` with other values, computed before, in the place of some: what `rewritten` makes of it with these rules.

    Most of such a graph stays as it is. Where no rule would be asked about what reads the values, and no two nodes
    become equal, nothing is rebuilt but the keys.
    """
    stands: dict[int, int] = {}
    for key in sorted(instead):
        stands[key] = stands.get(instead[key], instead[key])
    if _settled(graph, rules) and not _concerned(graph, stands, rules):
        return _rekeyed(graph, stands, rules)
    return rewritten(graph, *rules, replace=lambda n, exprs: exprs[instead[n.key]], at=instead)


def _concerned(graph: Graph, stands: Mapping[int, int], rules: Sequence[Rule]) -> bool:
    """Whether a rule may be asked about a reader of what goes, or a reader of that, or a reader becomes another node.

    Rules about scalars look at operands and at what these are made of, and not further.
    """
    others = {*stands.values()}
    silent: dict[str, bool] = {}  # ops of which no rule speaks but beside what is `_SPOKEN_OF`
    touched, there, made = {*stands}, set[object](), list[object]()
    node = graph.node
    for key, op, args, _, type, _ in graph.ordered():
        if touched.isdisjoint(args) or key in stands:
            if not others.isdisjoint(args):
                there.add((op, *sorted(args)))
            continue
        if op not in silent:
            silent[op] = all(isinstance(r, About) and (op not in r.ops or op in r.beside) for r in rules)
        read = [stands.get(a, a) for a in args]
        names = [node(a).op for a in read]
        if type.shape or not silent[op] or len({*read}) < len(read) or not _SPOKEN_OF.isdisjoint(names):
            return True
        if not stands.keys().isdisjoint(args):
            touched.add(key)
            made.append((op, *sorted(read)))
        elif not others.isdisjoint(args):
            there.add((op, *sorted(args)))
    return len({*made}) < len(made) or not there.isdisjoint(made)


def _rekeyed(graph: Graph, stands: Mapping[int, int], rules: Sequence[Rule]) -> Graph:
    """`graph` without the keys of `stands`, nor what only these nodes read, in whose place other values stand."""
    nodes = [n for n in graph.ordered() if n[0] not in stands]
    read = {*chain.from_iterable([n[2] for n in nodes]), *stands.values(), *graph.outputs, *graph.inputs}
    lost = {a for key in stands for a in graph.node(key).args if a not in read}  # the zeros that were added, say
    if lost:
        nodes = [n for n in nodes if n[0] not in lost]
    keys = [0] * len(graph)
    for new, n in enumerate(nodes):
        keys[n[0]] = new
    for key, other in stands.items():
        keys[key] = keys[other]
    found = Graph.of(
        [
            new_tuple(Node, (keys[key], op, tuple([keys[a] for a in args]), params, type, origin))
            for key, op, args, params, type, origin in nodes
        ]
    )
    found.graph["inputs"] = tuple([keys[k] for k in graph.inputs])
    found.graph["outputs"] = tuple([keys[k] for k in graph.outputs])
    pairs = graph.cotangents.items()
    found.graph["cotangents"] = {keys[p]: keys[c] for p, c in pairs if p not in lost and c not in lost}
    found.known("rules", lambda _: rules)
    return found
