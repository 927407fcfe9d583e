"""Pictures show every node and edge, in two colours, with any name in a label."""

import html
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from gradsmith import ops as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.errors import MissingExtraError, SpecError
from gradsmith.passes.simplify import simplify
from gradsmith.show.draw import to_dot, to_mermaid, to_svg
from gradsmith.show.picture import picture_of
from gradsmith.trace import symbol, symbols

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
BLUE, ORANGE = "#0072b2", "#d55e00"
NASTY = 'a"b <c> {d} |e| \\n é #35; & `f`'


def example():
    x, y = symbols("x y")
    z = x * y + y + gs.tanh(x)
    return to_graph([x, y], [z])


def joint():
    graph = example()
    return simplify(adjoint(graph, graph.inputs))


def layer():
    W, b, x, t = symbol("W", (3, 4)), symbol("b", (3,)), symbol("x", (4,)), symbol("t", (3,))
    h = gs.tanh(W @ x + b)
    graph = to_graph([W, b, x, t], [gs.mean((h - t) ** 2)])
    return graph, {"W": np.full((3, 4), 0.1), "b": np.zeros(3), "x": np.arange(4.0), "t": np.ones(3)}


def picture(graph, point=None):
    return picture_of(graph, point, None, 400)


# --- every node and edge --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [example(), joint(), layer()[0]], ids=["primal", "joint", "arrays"])
@pytest.mark.parametrize("draw", [to_dot, to_mermaid])
def test_every_operation_and_operand_is_drawn(graph, draw):
    text = draw(graph)
    arrow = "->" if draw is to_dot else r"-->(?:\|\d\|)?"
    edges = re.findall(rf"^ *(\w+) {arrow} (\w+)", text, re.M)
    # a number that was only broadcast is drawn as the number
    drawn = [n for n in graph.ordered() if n.args and not all(graph.nodes[a]["op"] == "constant" for a in n.args)]
    for n in drawn:
        assert re.search(rf"^ *o{n.key}\b", text, re.M)
        assert (f"o{n.key}", f"n{n.key}") in edges
        sources = [source for source, target in edges if target == f"o{n.key}"]
        assert len(sources) == len(n.args)
        for i, (source, a) in enumerate(zip(sources, n.args, strict=True)):
            assert source in (f"n{a}", f"c{a}_{n.key}_{i}")
    assert len(edges) == sum(1 + len(n.args) for n in drawn)
    for source, _ in edges:
        assert re.search(rf"^ *{source}\W", text, re.M)


def test_both_operands_of_a_square_are_drawn():
    (x,) = symbols("x")
    assert len([a for a in picture(to_graph([x], [x * x])).arrows if a.target == "o1"]) == 2


def test_constants_are_drawn_beside_each_use():
    (x,) = symbols("x")
    found = picture(to_graph([x], [gs.sin(2.5 * x) + (x - 2.5)]))
    assert [c.cells for c in found.constants] == [("2.5",), ("2.5",)]
    assert "2.5" not in [b.cells[0] for b in found.boxes]


def test_operands_are_numbered_where_order_matters():
    x, y = symbols("x y")
    graph = to_graph([x, y], [(x - y) * y])
    assert [a.label for a in picture(graph).arrows if a.label] == ["1", "2"]
    assert re.findall(r"(\w+) -> (\w+) \[headlabel=(\d)\]", to_dot(graph)) == [("n0", "o2", "1"), ("n1", "o2", "2")]
    assert re.findall(r"(\w+) -->\|(\d)\| (\w+)", to_mermaid(graph)) == [("n0", "1", "o2"), ("n1", "2", "o2")]


def test_results_stand_out():
    assert [b.cells[0] for b in picture(joint()).boxes if b.result] == ["z", "d_y", "d_x"]


# --- numbers --------------------------------------------------------------------------------------------------------


def test_primal_picture_shows_values_and_gradients_of_torch():
    torch = pytest.importorskip("torch")
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, 3.0))
    v1 = x * y
    v1.retain_grad()
    z = v1 + y + torch.tanh(x)
    z.backward()
    cells = {b.cells[0]: b.cells[1:] for b in picture(example(), {"x": 2.0, "y": 3.0}).boxes}
    for name, v in {"x": x, "y": y, "v1": v1}.items():
        assert cells[name] == (f"data {v.item():.4f}", f"grad {v.grad.item():.4f}")
    assert cells["z"] == (f"data {z.item():.4f}", "grad 1.0000")
    assert cells["x"][1] == "grad 3.0707"


def test_joint_picture_names_cotangents():
    cells = {b.cells[0]: b.cells[1:] for b in picture(joint(), {"x": 2.0, "y": 3.0}).boxes}
    assert cells["d_x"] == ("data 3.0707",)
    assert cells["x"] == ("data 2.0000", "grad 3.0707")


def test_gradient_that_is_another_value_is_said():
    x, y = symbols("x y")
    graph = to_graph([x, y], [x * y])
    cells = [b.cells for b in picture(simplify(adjoint(graph, graph.inputs)), {"x": 2.0, "y": 3.0}).boxes]
    assert ("x", "= d_y", "data 2.0000", "grad 3.0000") in cells


def test_arrays_show_shape_and_summary():
    graph, point = layer()
    cells = {b.cells[0]: b.cells[1:] for b in picture(graph, point).boxes}
    assert cells["x (4,)"][0] == "data from 0.0000 to 3.0000"
    assert cells["b (3,)"][0] == "data [0, 0, 0]"
    assert {b.cells[0] for b in picture(graph).boxes} == set(cells)


def test_array_result_shows_values_only():
    x = symbol("x", (2,))
    cells = [b.cells for b in picture(to_graph([x], [x * 2.0]), {"x": [1.0, 2.0]}).boxes]
    assert cells == [("x (2,)", "data [1, 2]"), ("v1 (2,)", "data [2, 4]")]


# --- looks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [to_dot, to_mermaid])
def test_one_colour_for_a_function_and_two_for_its_derivative(draw):
    nodes = r"^ *(?:n|o)\d+.*:::(\w+?)(?:Op|Result)?$"
    colours = {"primal": BLUE, "cotangent": ORANGE}
    for graph, roles in ((example(), {"primal"}), (joint(), {"primal", "cotangent"})):
        text = draw(graph)
        if draw is to_mermaid:
            assert set(re.findall(nodes, text, re.M)) == roles
        else:
            assert {role for role, colour in colours.items() if colour in text} == roles


# --- escaping -------------------------------------------------------------------------------------------------------


def nasty():
    (x,) = symbols("x")
    graph = to_graph([x], [gs.sin(x)])
    graph.nodes[1]["origin"] = replace(graph.nodes[1]["origin"], name=NASTY)
    return graph


@needs_dot
def test_dot_shows_any_text_as_it_is():
    drawn = ET.fromstring(to_svg(nasty(), title=NASTY))
    texts = ["".join(t.itertext()) for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(NASTY) == 2  # the title, and the box


def test_mermaid_shows_any_text_as_it_is():
    label = re.search(r'n1\["(.*)"\]', to_mermaid(nasty()))[1]
    assert not set('"<>`\\') & set(label)
    assert re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label) == NASTY
    assert html.unescape(label) == label  # no HTML entity, which Mermaid would decode as well


def test_mermaid_title_is_yaml():
    assert to_mermaid(example(), title='a "b"\n: c').startswith('---\ntitle: "a \\"b\\"\\n: c"\n---\nflowchart LR\n')


# --- Graphviz -------------------------------------------------------------------------------------------------------


@needs_dot
def test_svg_stands_alone_and_inside_html():
    svg = to_svg(joint(), point={"x": 2.0, "y": 3.0})
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>\n")
    assert "grad 3.0707" in svg
    assert joint().to_svg() == to_svg(joint())


def test_missing_graphviz_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(MissingExtraError, match=r"(?s)package.*to_mermaid.*pip install 'gradsmith\[draw\]'"):
        to_svg(example())
    monkeypatch.undo()
    pytest.importorskip("graphviz")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"(?s)program `dot`.*graphviz.org.*to_mermaid"):
        to_svg(example())


def test_large_graphs_are_refused_unless_limit_is_raised():
    (x,) = symbols("x")
    y = x
    for _ in range(500):
        y = gs.sin(y)
    graph = to_graph([x], [y])
    for draw in (to_dot, to_mermaid):
        with pytest.raises(SpecError, match=r"501 nodes.*limit 400.*raise limit="):
            draw(graph)
        assert "o500" in draw(graph, limit=1000)


def test_point_is_checked():
    with pytest.raises(SpecError, match="'y' missing"):
        to_dot(example(), point={"x": 1.0})
