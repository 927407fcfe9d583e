"""The driver of rewriting: who is asked about what."""

import random

import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.graph import Graph
from gradsmith.passes import rewrite
from gradsmith.passes.fold import fold
from gradsmith.passes.rewrite import About, rewritten, spliced
from gradsmith.passes.simplify import apply_law
from gradsmith.trace import Expr


def asker(asked: list[str]) -> About:
    def rule(e: Expr) -> Expr | None:
        asked.append(e.op.name)
        return None

    return About({"sin", "exp", "mul", "add", "square"}, rule)


def test_rules_that_have_seen_a_graph_are_asked_about_what_is_new_alone():
    x = gs.symbol("x")
    graph = to_graph([x], [gs.sin(gs.exp(x)) + x * gs.exp(x)])
    asked: list[str] = []
    rule = asker(asked)
    once = rewritten(graph, fold, apply_law, rule)
    assert sorted(asked) == ["add", "exp", "mul", "sin"]
    asked.clear()
    (place,) = (n.key for n in once.ordered() if n.op == "sin")
    again = rewritten(once, rule, replace=lambda n, exprs: gs.square(exprs[n.args[0]]), at={place})
    assert asked == ["square", "add"]  # what takes the place of the sine, and its reader
    assert again.text() == rewritten(to_graph([x], [gs.square(gs.exp(x)) + x * gs.exp(x)]), rule).text()


def test_rules_that_have_not_seen_a_graph_are_asked_about_all_of_it():
    x = gs.symbol("x")
    asked: list[str] = []
    once = rewritten(to_graph([x], [gs.sin(gs.exp(x))]), fold)
    rewritten(once, fold, asker(asked))
    assert asked == ["exp", "sin"]
    once.add("sin", once.outputs, {}, once.node(once.outputs[0]).type)
    assert once.known("rules", lambda _: ()) == ()  # a node that no rule has seen


# --- values in the place of others ------------------------------------------------------------------------------------

x, y, z = gs.symbols("x y z")


def without_sums(graph: Graph) -> dict[int, int]:
    """What stands in the place of each sum with 0."""
    zeros = {key for key, value in graph.numbers.items() if value == 0.0}
    added = [n for n in graph.ordered() if n.op == "add" and not zeros.isdisjoint(n.args)]
    return {n.key: next(a for a in n.args if a not in zeros) for n in added}


def told(graph: Graph) -> object:
    return graph.text(), [n.origin for n in graph.ordered()], graph.cotangents, graph.inputs


def anew(graph: Graph, instead: dict[int, int]) -> Graph:
    return rewritten(graph, fold, apply_law, replace=lambda n, exprs: exprs[instead[n.key]], at=instead)


#: What is written, and whether nothing but keys has to be made anew.
SPLICED = {
    "a sum that begins with 0": (((x + 0.0) + y * z) + gs.sin(y), True),
    "one within one": (((x + 0.0) + 0.0) * y + z, True),
    "a number beside it": (gs.sin((x + 0.0) * 2.0) + y, False),
    "a number beside what reads it": (2.0 * ((x + 0.0) * y), False),
    "a negation beside it": ((x + 0.0) * y - gs.exp(-z) * ((x + 0.0) + y) + (-z) * (y + 0.0), False),
    "the same value twice": ((x + 0.0) * x + y, False),
    "a product that is there": ((x + 0.0) * y + gs.sin(y * x), False),
    "two that become one": ((x + 0.0) * y + gs.sin(y * (0.0 + (x + 0.0))), False),
    "a product of a number": (((2.0 * x) + 0.0) + gs.sin((2.0 * x) + 0.0) * y, False),
    "an op of which a rule always speaks": (gs.where(y > z, x + 0.0, z), False),
}


@pytest.mark.parametrize("what", SPLICED)
def test_values_stand_in_the_place_of_others_as_if_all_were_made_anew(what, monkeypatch):
    source, quick = SPLICED[what]
    graph = to_graph([x, y, z], [source, source * y])
    graph = rewritten(graph, fold, apply_law)
    instead = without_sums(graph)
    assert instead
    want = told(anew(graph, instead))
    if quick:
        monkeypatch.setattr(rewrite, "rewritten", None)
    assert told(spliced(graph, instead, fold, apply_law)) == want


def test_random_graphs_are_as_if_made_anew():
    quick = 0
    for seed in range(120):
        draw = random.Random(seed)
        known = [x, y, z]
        for _ in range(draw.choice([6, 12, 30])):
            a, b = draw.choice(known), draw.choice(known[-6:])
            ways = [a + b, a - b, a * b, gs.sin(a), a + 0.0, 0.0 + b, gs.square(b), (a + 0.0) * b, 3.0 * a, -a]
            known.append(draw.choice(ways if seed % 2 else ways[:-2]))
        joint = adjoint(to_graph([x, y, z], [known[-1] + known[-2] * known[-3]]), [0, 1, 2])
        graph = rewritten(joint, fold, apply_law)
        instead = without_sums(graph)
        quick += bool(instead) and not rewrite._concerned(graph, instead, (fold, apply_law))
        assert told(spliced(graph, instead, fold, apply_law)) == told(anew(graph, instead))
    assert quick >= 10


def test_a_graph_that_no_rule_has_seen_is_made_anew():
    graph = to_graph([x, y, z], [((x + 0.0) + y) + 1.0 * z])
    instead = without_sums(graph)
    assert "mul" not in spliced(graph, instead, fold, apply_law).text()
