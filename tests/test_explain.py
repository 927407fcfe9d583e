"""The explanation says what torch and SymPy say, step by step, in text that fits the page."""

import re

import numpy as np
import pytest
import sympy

from gradsmith import ops as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.errors import DerivativeError, SpecError
from gradsmith.evaluate import evaluate
from gradsmith.frontends import sympy as frontend
from gradsmith.ops import selection
from gradsmith.registry import OPS
from gradsmith.show.explain import explain, lesson
from gradsmith.show.notation import names
from gradsmith.trace import registry_function, symbol, symbols

torch = pytest.importorskip("torch")

NUMBER = r"\(?(-?(?:\d+\.\d+(?:e[-+]\d+)?|inf|nan))\)?"


def example():
    x, y = symbols("x y")
    z = x * y + y + gs.tanh(x)
    return to_graph([x, y], [z])


def hard():
    """Names with underscores and Greek, a name used twice, branches, kinks, repeated operands, an unused input."""
    x, w_1, θ, unused = symbols("x w_1 θ unused")
    h = x
    for _ in range(2):
        h = gs.sin(h * w_1)
    r = gs.where(h > 0.2, h / θ, gs.maximum(h, 0.0) ** 3) + gs.relu(-x) + h * h + selection.clip(x, 0.0, 9.0) * x**2
    return to_graph([x, w_1, θ, unused], [r]), {"x": 0.7, "w_1": 1.5e-3, "θ": 4.0, "unused": 1.0}


def layer():
    W, b, x, t = symbol("W", (3, 4)), symbol("b", (3,)), symbol("x", (4,)), symbol("t", (3,))
    h = gs.tanh(W @ x + b)
    loss = gs.mean((h - t) ** 2)
    rng = np.random.default_rng(0)
    point = {"W": rng.normal(size=(3, 4)), "b": np.zeros(3), "x": np.arange(4.0) / 4, "t": np.ones(3)}
    return to_graph([W, b, x, t], [loss]), point


def gradients(graph, point):
    told = lesson(graph, point)
    return [told.gradient[k].cotangent for k in told.graph.inputs], told


# --- the numbers ----------------------------------------------------------------------------------------------------


def test_readme_example_number_by_number():
    text = explain(example(), {"x": 2.0, "y": 3.0})
    x, y = torch.tensor(2.0, dtype=torch.float64, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    value = x * y + y + torch.tanh(x)
    value.backward()
    assert (f"{value:.4f}", f"{x.grad:.4f}", f"{y.grad:.4f}") == ("9.9640", "3.0707", "3.0000")
    for line in (
        "v1 = x*y     = 2*3        = 6.0000",
        "v3 = tanh(x) = tanh(2)    = 0.9640",
        "z  = v2 + v3 = 9 + 0.9640 = 9.9640",
        "d_z = 1.0000   (here it starts)",
        "∂v3/∂x = sech(x)^2 = 0.0707",
        "d_x += d_v3 * ∂v3/∂x = 1.0000 * 0.0707 = 0.0707",
        "∂v1/∂x = y = 3.0000",
        "d_x += d_v1 * ∂v1/∂x = 1.0000 * 3.0000 = 3.0000",
        "d_x = 3.0000 + 0.0707 = 3.0707   (from v1 and v3)",
        "∂f/∂y = d_y = 2.0000 + 1.0000 = 3.0000",
        "∂f/∂x = y - tanh(x)^2 + 1 = 3.0707   (agrees)",
        "Both agree",
    ):
        assert line in text, line


def test_gradient_equals_torch():
    graph, point = hard()
    ours, told = gradients(graph, point)
    x, w, θ, _ = inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in point.values()]
    h = torch.sin(torch.sin(x * w) * w)
    r = torch.where(h > 0.2, h / θ, torch.clamp(h, min=0.0) ** 3) + torch.relu(-x) + h * h + x.clamp(0.0, 9.0) * x**2
    r.backward()
    theirs = [float(v.grad) if v.grad is not None else 0.0 for v in inputs]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert [hand.agrees for hand in told.hand] == [True] * 4


def test_array_gradient_equals_torch():
    graph, point = layer()
    ours, told = gradients(graph, point)
    W, b, x, t = inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in point.values()]
    ((torch.tanh(W @ x + b) - t) ** 2).mean().backward()
    for mine, theirs in zip(ours, inputs, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-12)
    assert "arrays" in told.hand


#: SymPy has 0 for the slope of `0*log(y)` by 0, and an integral that it cannot evaluate.
SYMPY_DIFFERS = ("xlogy", "xlog1py", "erfc_ratio")


@pytest.mark.parametrize(
    "name", [n for n, op in OPS.items() if op.kind == "elementwise" and op.vjp is not None and op.takes == "float"]
)
def test_every_scalar_op_is_explained_as_the_adjoint_and_sympy_say(name):
    op = OPS[name]
    for sample in op.samples:
        xs = symbols(" ".join("abc"[: op.arity]))
        y = registry_function(name)(*xs)
        graph = to_graph(xs, [gs.where(y, 1.0, 0.0) if y.dtype == "bool" else y])
        point = dict(zip("abc", sample, strict=False))
        ours, told = gradients(graph, point)
        joint = adjoint(graph, graph.inputs)
        values = evaluate(joint, [point[x.name] for x in xs])
        np.testing.assert_allclose(ours, [values[k] for k in joint.outputs[1:]], rtol=1e-12)
        if op.sympy is not None and name not in SYMPY_DIFFERS:
            assert False not in [hand.agrees for hand in told.hand], told.hand
        for style in ("text", "markdown", "latex"):
            assert explain(graph, point, style=style)


def test_numbers_on_a_line_follow_from_each_other():
    graph, point = hard()
    for text in (explain(example(), {"x": 2.0, "y": 3.0}), explain(graph, point)):
        products = re.findall(rf"= {NUMBER} \* {NUMBER} = {NUMBER}$", text, re.M)
        sums = re.findall(rf"= {NUMBER} \+ {NUMBER} = {NUMBER}(?:$|   )", text, re.M)
        assert len(products) > 5
        assert sums
        for a, b, c in products:
            assert float(a) * float(b) == pytest.approx(float(c), rel=2e-2, abs=1e-4)
        for a, b, c in sums:
            assert float(a) + float(b) == pytest.approx(float(c), rel=1e-3, abs=2e-4)


def test_each_place_of_a_repeated_operand_contributes():
    (x,) = symbols("x")
    text = explain(to_graph([x], [x * x]), {"x": 3.0})
    assert text.count("d_x += d_v1 * ∂v1/∂x = 1.0000 * 3.0000 = 3.0000") == 2
    assert "∂v1/∂x (operand 2) = x = 3.0000" in text
    assert "d_x = 3.0000 + 3.0000 = 6.0000   (from v1)" in text


def test_values_that_are_not_finite_are_shown():
    (x,) = symbols("x")
    text = explain(to_graph([x], [gs.log(x) + gs.exp(x * 1000.0 + 1000.0)]), {"x": 0.0})
    assert "= -inf" in text
    assert "= inf" in text
    assert "= nan" in text
    assert "nan" in explain(example(), {"x": float("nan"), "y": 1.0})


def test_rule_is_shown_where_it_is_wiser_than_the_product():
    x, y = symbols("x y")  # the cotangent of relu's result is inf, its slope 0: relu's rule passes on 0, not nan
    text = explain(to_graph([x, y], [gs.relu(x) * y]), {"x": -1.0, "y": float("inf")})
    (line,) = re.findall(r"d_x \+= .*", text)
    assert re.fullmatch(r"d_x \+= .* if x .* else .* = 0\.0000", line)


# --- beside it, SymPy -----------------------------------------------------------------------------------------------


def test_disagreement_is_said_loudly(monkeypatch):
    real = frontend.to_sympy

    def wrong(graph):
        expressions, inputs = real(graph)
        expressions[graph.outputs[0]] *= 1 + sympy.Rational(1, 10**6)
        return expressions, inputs

    monkeypatch.setattr(frontend, "to_sympy", wrong)
    text = explain(example(), {"x": 2.0, "y": 3.0})
    assert "(DISAGREES)" in text
    assert "THEY DISAGREE for x and y!" in text
    assert "Both agree" not in text


def test_sympy_without_a_number_is_no_agreement():
    (x,) = symbols("x")
    text = explain(to_graph([x], [gs.floor(x)]), {"x": 1.5})
    assert "SymPy has no number for x here." in text
    assert "Both agree" not in text


def test_formula_that_explodes_is_not_written_out():
    (x,) = symbols("x")
    y = x
    for _ in range(60):  # written out: 2**60 factors
        y = y * y
    text = explain(to_graph([x], [y]), {"x": 1.0})
    assert "SymPy is asked for 5000 at most" in " ".join(text.split())
    assert len(text) < 50_000


# --- how it reads ---------------------------------------------------------------------------------------------------


def test_names_and_source_line_are_the_users():
    def helper(x, w):
        h1 = gs.tanh(x * w)
        return h1

    x, w = symbols("x w")
    text = explain(to_graph([x, w], [helper(x, w) + 1.0]), {"x": 1.0, "w": 2.0})
    assert "h1 = tanh(v1)" in text
    assert text.count("h1 = gs.tanh(x * w)") == 1


def test_loop_variable_gets_distinct_names():
    graph, _ = hard()
    found = names(graph)
    assert {"h", "h_2"} <= set(found.values())
    numbered = [found[n.key] for n in graph.ordered() if n.args]
    assert len(set(numbered)) == len(numbered)


@pytest.mark.parametrize("build", [hard, layer])
def test_text_fits_the_page(build):
    graph, point = build()
    text = explain(graph, point, name="a_long_name_for_a_loss_function")
    assert max(map(len, text.splitlines())) <= 100


def test_precedence_is_kept():
    a, b, c = symbols("a b c")
    text = explain(to_graph([a, b, c], [a - (b - c) / (a * b) ** 2]), {"a": 1.0, "b": -2.0, "c": 3.0})
    assert text.startswith("f(a, b, c) = a - (b - c)/(a*b)^2 at ")
    assert "v1 = b - c" in text
    nested = explain(to_graph([a, b, c], [a - (b - c)]), {"a": 1.0, "b": 2.0, "c": 3.0})
    assert nested.startswith("f(a, b, c) = a - (b - c) at ")
    assert "-2 - 3" in text
    assert "1*(-2)" in text


def test_negative_factors_and_terms_stand_in_parentheses():
    a, b = symbols("a b")
    text = explain(to_graph([a, b], [a * b + a]), {"a": 2.0, "b": -3.0})
    assert "d_a += d_v1 * ∂v1/∂a = 1.0000 * (-3.0000) = -3.0000" in text
    assert "d_a = (-3.0000) + 1.0000 = -2.0000" in text


def bars():
    (x,) = symbols("x")
    y = gs.where((x > 0.0) | (x < -1.0), x, 2.0 * x)
    return to_graph([x], [y]), {"x": 1.0}


@pytest.mark.parametrize("build", [hard, layer, bars])
def test_markdown_tables_are_rectangular(build):
    graph, point = build()
    text = explain(graph, point, style="markdown")
    assert text.startswith("# `")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize("build", [hard, layer])
def test_latex_is_balanced_and_escaped(build):
    graph, point = build()
    text = explain(graph, point, style="latex", name="loss_fn")
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")
    assert text.count(r"\begin{align*}") == text.count(r"\end{align*}")
    assert r"\mathrm{loss\_fn}" in text
    assert not re.search(r"(?<!\\)_(?!\{)", text)
    assert text.isascii()


def test_latex_of_greek_and_numbers():
    θ, x1 = symbols("θ x1")
    text = explain(to_graph([θ, x1], [gs.sqrt(θ) / x1]), {"θ": 4.0, "x1": 1e-9}, style="latex")
    assert r"\sqrt{\theta}" in text
    assert r"\frac{v_{1}}{x_{1}}" in text
    assert r"10^{-9}" in text


# --- what is refused ------------------------------------------------------------------------------------------------


def test_point_must_name_every_input():
    with pytest.raises(SpecError, match="the inputs are x, y: 'y' missing; 'q' not among them"):
        explain(example(), {"x": 1.0, "q": 2.0})
    with pytest.raises(SpecError, match="'q' not among them"):
        explain(example(), {"x": 1.0, "y": 1.0, "q": 2.0})
    with pytest.raises(SpecError, match="must be a real number"):
        explain(example(), {"x": 1.0, "y": "three"})
    graph, point = layer()
    with pytest.raises(SpecError, match=r"W has shape \(2,\), but needs \(3, 4\)"):
        explain(graph, point | {"W": [1.0, 2.0]})


def test_result_must_be_one_scalar():
    x = symbol("x", (3,))
    with pytest.raises(DerivativeError, match=r"shapes \(3,\)"):
        explain(to_graph([x], [x]), {"x": np.ones(3)})


def test_style_and_size_are_checked():
    with pytest.raises(SpecError, match="'text', 'markdown', 'latex'"):
        explain(example(), {"x": 1.0, "y": 1.0}, style="html")
    with pytest.raises(SpecError, match="limit 3"):
        explain(example(), {"x": 1.0, "y": 1.0}, limit=3)
