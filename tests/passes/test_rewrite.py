"""The driver of rewriting: who is asked about what."""

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.passes.fold import fold
from gradsmith.passes.rewrite import About, rewritten
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
