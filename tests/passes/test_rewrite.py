"""The driver of rewriting: who is asked about what."""

import pytest

import gradsmith as gs
from gradsmith.derive.adjoint import adjoint
from gradsmith.passes.fold import fold
from gradsmith.passes.rewrite import About, forget, rewritten
from gradsmith.passes.simplify import apply_law
from gradsmith.trace import Expr, input_symbols, to_graph


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


def _orders() -> list[gs.Expr]:
    """Sums in which rules make what stands further behind already, what another value is, and what nothing needs."""
    x, y = gs.symbols("x y")
    late = gs.square(x) + gs.exp(y)
    named = (1.0 * y) * gs.cos(-x)
    return [
        x * x * gs.exp(y) + late,  # square(x) is made for x*x before its own place
        gs.sin(1.0 * x) + gs.sin(x) * y,  # the second sine is the first
        (x - -1.0) * named + gs.exp(named) * (x + 1.0),
        gs.tanh(y) * gs.square(-x) - gs.sin(gs.square(x)) * (2.0 * (0.5 * y)),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_graph_with_its_expressions_is_rewritten_as_one_without(number: int) -> None:
    (e,) = _orders()[number : number + 1]
    inputs = input_symbols([e])
    keys = range(len(inputs))
    with_them, without = (adjoint(to_graph(inputs, [e]), keys) for _ in range(2))
    for again in (False, True):
        at = {next(n.key for n in with_them.ordered() if n.args)} if again else None
        replace = None if at is None else lambda n, exprs: gs.tanh(exprs[n.args[0]])
        assert again or with_them.known("expressions", lambda _: None) is not None
        new = rewritten(with_them, fold, apply_law, replace=replace, at=at)
        forget(without)
        old = rewritten(without, fold, apply_law, replace=replace, at=at)
        assert new.text() == old.text()
        assert [n.origin for n in new.ordered()] == [n.origin for n in old.ordered()]
        assert new.cotangents == old.cotangents
        with_them, without = new, old


def test_expressions_are_taken_once_and_not_for_a_graph_that_was_changed() -> None:
    x = gs.symbol("x")
    graph = adjoint(to_graph([x], [gs.sin(x) * x]), [0])
    text = rewritten(graph, fold, apply_law).text()
    assert graph.take("expressions") is None  # memory that nobody needs
    assert rewritten(graph, fold, apply_law).text() == text
    changed = adjoint(to_graph([x], [gs.sin(x) * x]), [0])
    (place,) = (n.key for n in changed.ordered() if n.op == "sin")
    changed.nodes[place]["op"] = "exp"
    assert "exp" in rewritten(changed, fold, apply_law).text()
