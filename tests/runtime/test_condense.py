"""condense: fewer names, the same operations on the same values, and the lines of the text."""

import ast
import math
import traceback

import pytest

import gradsmith as gs
from gradsmith_runtime.condense import condense

#: Bodies of `def f(x, y):`, and what is left of them.
BODIES = {
    "once": ("t = x * y\nreturn (t, x)", "return (x * y, x)"),
    "twice": ("t = x * y\nreturn t * t", "t = x * y\nreturn t * t"),
    "chain": ("t = x * y\nu = t + x\nv = -u\nreturn [v]", "return [-(x * y + x)]"),
    "a side of a choice": (
        "t = x * y\nu = x + y\nif x < t:\n    v = u\nelse:\n    w = x / y\n    v = w * x\nreturn v",
        "if x < x * y:\n    v = x + y\nelse:\n    v = x / y * x\nreturn v",
    ),
    "within try": (
        "try:\n    t = math.exp(x)\n    return t\nexcept ArithmeticError:\n    return g(x)",
        "try:\n    return _gs_math_exp(x)\nexcept ArithmeticError:\n    return g(x)",
    ),
    "arguments in pieces": ("[a, b] = x\nt = a * y\nreturn t + b", "[a, b] = x\nreturn a * y + b"),
    "read by a handler": (
        "t = x * y\ntry:\n    return 1.0\nexcept ArithmeticError:\n    return t",
        "t = x * y\ntry:\n    return 1.0\nexcept ArithmeticError:\n    return t",
    ),
    "assigned again": ("t = x * y\nx = y\nreturn t + x", "t = x * y\nx = y\nreturn t + x"),
    "all of a side": (
        "if x < y:\n    t = x + y\nif x < y:\n    return t\nreturn x",
        "if x < y:\n    pass\nif x < y:\n    return x + y\nreturn x",
    ),
    "by keyword": ("t = x + y\nu = g(key=t)\nreturn u", "u = g(key=x + y)\nreturn u"),
    "an element": ("t = x[0]\nreturn t", "t = x[0]\nreturn t"),
}


@pytest.mark.parametrize("case", BODIES)
def test_what_is_read_once_stands_where_it_is_read(case):
    body, expected = ("def f(x, y):\n    " + text.replace("\n", "\n    ") for text in BODIES[case])
    tree = ast.parse(body)
    condense(tree.body[0])
    assert ast.unparse(tree) == ast.unparse(ast.parse(expected))


HELPERS = {
    "g": "def g(a):\n    s = a * a\n    return math.exp(-s) if s < 2.0 else far(a)",
    "long": "def long(a):\n    b = a + a\n    c = b + b\n    d = c * a\n    return d - c",
    "branches": "def branches(a):\n    if a != 0.0:\n        return 1.0 / a\n    return a",
    "far": "def far(a):\n    return a + 1.0",
}
#: Statements of `def f(x, y):`, and what is left of them with short helpers in their places.
CALLED = {
    "return x * g(y)": ("_gs_1_s = y * y\nreturn x * (_gs_math_exp(-_gs_1_s) if _gs_1_s < 2.0 else far(y))"),
    "return g(x + y)": (
        "_gs_1_a = x + y\n_gs_1_s = _gs_1_a * _gs_1_a\nreturn _gs_math_exp(-_gs_1_s) if _gs_1_s < 2.0 else far(_gs_1_a)"
    ),
    "t = far(x)\nreturn t * far(t)": "t = x + 1.0\nreturn t * (t + 1.0)",
    "return far(x) if x < y else y": "return far(x) if x < y else y",
    "if x < y:\n    t = far(x)\nelse:\n    t = y\nreturn t": ("if x < y:\n    t = x + 1.0\nelse:\n    t = y\nreturn t"),
    "return long(x) + branches(y)": "return long(x) + branches(y)",
}


@pytest.mark.parametrize("case", CALLED)
def test_short_helpers_stand_where_they_are_called(case):
    text, expected = ("def f(x, y):\n    " + t.replace("\n", "\n    ") for t in (case, CALLED[case]))
    helpers = {name: ast.parse(helper).body[0] for name, helper in HELPERS.items()}
    tree = ast.parse(text)
    condense(tree.body[0], helpers)
    assert ast.unparse(tree) == ast.unparse(ast.parse(expected))
    found: list[dict] = [{}, {}]
    for source, space in zip((ast.parse(text), tree), found, strict=True):
        space |= {"math": math, "_gs_math_exp": math.exp}
        exec("\n".join(HELPERS.values()), space)
        exec(compile(ast.fix_missing_locations(source), "f", "exec"), space)
    for x, y in ((0.5, 0.25), (3.0, -2.5), (-1.0, math.nan)):
        assert repr(found[0]["f"](x, y)) == repr(found[1]["f"](x, y))


@pytest.mark.parametrize(
    "statement",
    ["for i in x:\n        t = y", "t[0] = y", "t += y", "u = [t for t in x]", "u = lambda: t", "u = (v := t)"],
)
def test_other_functions_keep_their_names(statement):
    text = f"def f(x, y):\n    t = math.exp(x)\n    {statement}\n    return t"
    tree = ast.parse(text)
    condense(tree.body[0])
    assert ast.unparse(tree) == text.replace("math.", "_gs_math_")


def test_expressions_do_not_grow_without_bound():
    steps = "".join(f"    t{i + 1} = t{i} * x\n" for i in range(5000))
    tree = ast.parse(f"def f(x):\n    t0 = x\n{steps}    return t5000")
    condense(tree.body[0])
    names = {"x": 1.0}
    exec(compile(tree, "f", "exec"), names)
    assert names["f"](1.0) == 1.0
    assert 100 < len(tree.body[0].body) < 250


def test_a_call_computes_the_numbers_of_the_text_to_the_last_bit():
    def model(x, w):
        w = gs.stack([w[0] * gs.erfc(w[2]), w[1], w[2], w[3]])
        h = gs.tanh(w[0] * x + w[1])
        return gs.log(h * h + w[2]) / (1.0 + gs.exp(-h)) + gs.where(x > 0.0, gs.sqrt(gs.abs(h)), h / w[3])

    f = gs.compile(model, args=((), (4,)), target="python", wrt=(0, 1))
    for x in (-1.5, 0.25, 3.0, 0.0, 1e200, -math.inf, math.nan):
        for w in ([0.5, -0.25, 2.0, 3.0], [1.5, 0.0, 0.0, 0.0]):
            assert repr(f.value_and_grad(x, w)) == repr(f.module.model_value_and_grad(x, w))
    assert f.value_and_grad.__code__.co_nlocals < f.module.model_value_and_grad.__code__.co_nlocals


def test_tracebacks_show_the_line_of_an_expression_that_moved():
    f = gs.compile(lambda v: gs.cos(gs.sqrt(v[0]) + gs.sin(v[1] * v[2])), args=((3,),), target="python")
    f.grad([1.0, 2.0, 3.0])
    f.grad.__globals__["_gs_math_cos"] = None  # numbers do not make it fail
    with pytest.raises(TypeError) as caught:
        f.grad([1.0, 2.0, 3.0])
    line = traceback.extract_tb(caught.value.__traceback__)[-1].line
    assert "math.cos" in line
    assert line in f.source
