"""The driver of all rewriting: rebuild a graph node by node, offering each new node to a list of rules.

In: a graph and rules, each a function from an `Expr` to its replacement, or None for "no change". Out: the rebuilt
graph. Nodes that a rule makes are offered to the rules as well, equal nodes merge, and what nothing needs any more is
left out; so one linear pass does what a loop to a fixed point would.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from ..graph import Graph, Node
from ..trace import Expr, recording, to_exprs, to_graph

__all__ = ["About", "Replacement", "Rule", "first_of", "rewritten"]

Rule = Callable[[Expr], Expr | None]
Replacement = Callable[[Node, Sequence[Expr]], Expr | None]


@dataclass(frozen=True)
class About:
    """A rule that has something to say of these ops only, so that it need not be asked about others."""

    ops: Container[str]
    rule: Rule

    def __call__(self, e: Expr) -> Expr | None:
        return self.rule(e) if e.op.name in self.ops else None


def first_of(*rules: Rule) -> Rule:
    """One rule that gives the result of the first of `rules` that applies."""

    if len(rules) == 1:
        return rules[0]
    asked: dict[str, list[Rule]] = {}  # about each op

    def rule(e: Expr) -> Expr | None:
        name = e.op.name
        if name not in asked:
            about = [r for r in rules if not isinstance(r, About) or name in r.ops]
            asked[name] = [r.rule if isinstance(r, About) else r for r in about]
        for each in asked[name]:
            result = each(e)
            if result is not None:
                return result
        return None

    return rule


def rewritten(
    graph: Graph, *rules: Rule, replace: Replacement | None = None, at: Container[int] | None = None
) -> Graph:
    """`graph` rebuilt from the inputs on, with `rules` seeing every node that is made.

    `replace` is for passes that have to see the whole graph first: it is asked for each node of `graph`, or those `at`
    the given keys, with the expressions of all nodes before it, and gives the node's new expression or None.
    """
    with recording(first_of(*rules) if rules else None) as state:
        exprs = to_exprs(graph, replace=replace, at=at)
    pairs = [(exprs[p], exprs[c]) for p, c in graph.cotangents.items()]
    return to_graph([exprs[k] for k in graph.inputs], [exprs[k] for k in graph.outputs], pairs, distinct=state.apart)
