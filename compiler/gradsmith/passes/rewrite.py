"""The driver of all rewriting: rebuild a graph node by node, offering each new node to a list of rules.

In: a graph and rules, each a function from an `Expr` to its replacement, or None for "no change". Out: the rebuilt
graph. Nodes that a rule makes are offered to the rules as well, equal nodes merge, and what nothing needs any more is
left out; so one linear pass does what a loop to a fixed point would.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from ..as_graph import to_exprs, to_graph
from ..graph import Graph, Node
from ..registry import Op
from ..trace import Expr, recording

__all__ = ["About", "Replacement", "Rule", "first_of", "rewritten"]

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
    said = graph.known("rules", lambda _: ())
    settled = bool(rules) and all(any(rule is other for other in said) for rule in rules)
    with recording(first_of(*rules) if rules else None) as state:
        exprs = to_exprs(graph, replace=replace, at=at, settled=settled)
    pairs = [(exprs[p], exprs[c]) for p, c in graph.cotangents.items()]
    new = to_graph([exprs[k] for k in graph.inputs], [exprs[k] for k in graph.outputs], pairs, distinct=state.apart)
    if state.apart:
        new.known("rules", lambda _: rules)  # which have been asked about every node, and have nothing more to say
    return new
