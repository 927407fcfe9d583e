"""Products of the chain rule are regrouped onto products that the value computes; the user's own are not."""

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.evaluate import evaluate
from gradsmith.passes.share_products import share_products
from gradsmith.passes.simplify import simplify


def products(constant: float, *, share: bool) -> int:
    a, t = gs.symbols("a t")
    x, y = constant * gs.cos(a), constant * gs.sin(a)
    g = to_graph([a, t], [(x - t) * (y + t)])
    joint = simplify(adjoint(g, g.inputs[:1]))
    joint = share_products(joint) if share else joint
    point = [0.7, 0.3]
    reference = adjoint(g, g.inputs[:1])
    want = evaluate(reference, point)[reference.outputs[1]]
    assert abs(evaluate(joint, point)[joint.outputs[1]] - want) < 1e-12 * abs(want)
    return joint.text().count("= mul")


def test_shares_what_the_value_computes() -> None:
    assert products(3.0, share=True) < products(3.0, share=False)


def test_extreme_constants_are_left_alone() -> None:
    assert products(1e-200, share=True) == products(1e-200, share=False)


def test_the_user_s_products_keep_their_grouping() -> None:
    x, y = gs.symbols("x y")
    g = to_graph([x, y], [(3.0 * y) + (x * 3.0) * y])
    assert share_products(g).text() == g.text()


def test_links_whose_lengths_are_arguments() -> None:
    """`g*(c*s)` where `c*s` is there and no larger than `c`; with any other factor, it might be infinite where `g` is 0."""
    a, c, t = gs.symbols("a c t")
    for turn, slope, saved in ((gs.cos, gs.sin, 2), (gs.sinh, gs.cosh, 0)):
        g = to_graph([a, c, t], [(c * turn(a) - t) * (c * slope(a) + t)])
        joint = simplify(adjoint(g, g.inputs[:1]))
        shared = share_products(joint)
        assert joint.text().count("= mul") - shared.text().count("= mul") == saved
        found, want = (evaluate(graph, [0.7, 1.5, 0.3])[graph.outputs[1]] for graph in (shared, joint))
        assert abs(found - want) < 1e-15 * abs(want)
