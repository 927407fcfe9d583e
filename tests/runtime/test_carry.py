"""carry: what a step of a loop has for the next is kept; nothing else about the loop changes."""

import ast
import math

import pytest

import gradsmith as gs
from gradsmith_runtime.carry import carry

from ..conformance.harness import python_loops

X = [math.sin(1.7 * k) + 0.01 * k for k in range(40)]


def _changed(text: str) -> tuple[str, bool]:
    tree = ast.parse(text)
    before = ast.unparse(tree)
    carry(tree.body[0])
    return ast.unparse(tree), ast.unparse(tree) != before


#: Bodies of a loop of 30 steps over i, of which y and z are lists that the function makes, and x one that it is given.
CARRIED = {
    "elements": "y[i] = x[i] * x[i + 1] + x[i + 2]",
    "values": "t = x[i] * x[i]\n        u = x[i + 1] * x[i + 1]\n        y[i] = t - u",
    "chains": "t = 2.0 * x[i + 2]\n        u = 2.0 * x[i]\n        v = 2.0 * x[i + 1]\n        y[i + 3] = t * u - v",
    "functions": "t = math.exp(-x[i])\n        u = math.exp(-x[i + 1])\n        s += t * u\n        y[i] = t / u",
    "what is left out": "t = x[i] * x[i]\n        v = c + t\n        u = x[i + 1] * x[i + 1]\n        w = c + u\n        s += v / w",
    "backwards": "t = x[i - 1] + x[i]\n        y[i + 1] = t * x[i + 1]",
    "two stores": "y[i + 1] = x[i] + x[i + 1]\n        z[i] = x[i + 1] * x[i]",
    "computed places": "k = int(c * i)\n        y[k] += x[i] * x[i + 1]",
    "a sum of its own": "s += x[i] * x[i + 1]\n        y[i] = s",
}
#: The same, where the step before does not have what is read.
KEPT = {
    "written": "y[i] = y[i + 1] + x[i]",
    "from the step before": "t = v * x[i]\n        v = t + x[i + 1]\n        y[i] = v",
    "by a choice": "y[i] = x[i] if i < 29 else x[i + 1]",
    "the argument": "x[i] = x[i + 1] * 2.0",
    "given to a function": "y[i] = g(x) + x[i] + x[i + 1]",
    "a loop in it": "for j in range(3):\n            y[i] = x[i] + x[i + 1]",
}


def _function(body: str) -> str:
    start = "    y = [0.0] * 40\n    z = [0.0] * 40\n    s = 0.0\n    v = 1.0\n"
    return f"def f(x, c):\n{start}    for i in range(30):\n        {body}\n    return y, z, s"


@pytest.mark.parametrize("case", [*CARRIED, *KEPT])
def test_results_are_the_same_to_the_last_bit(case):
    text = _function({**CARRIED, **KEPT}[case])
    new, is_changed = _changed(text)
    assert is_changed == (case in CARRIED)
    names = [{"math": math, "g": lambda x: x[0]} for _ in "ab"]
    for source, space in zip((text, new), names, strict=True):
        exec(source, space)
    assert repr(names[0]["f"]([*X], 0.3)) == repr(names[1]["f"]([*X], 0.3))


@pytest.mark.parametrize(
    "outside", ["return y, t", "t = 1.0\n    return y", "return y, i"], ids=["read", "set", "count"]
)
def test_names_of_more_than_the_loop_keep_their_values(outside):
    body = "t = x[i] * x[i]\n        u = x[i + 1] * x[i + 1]\n        y[i] = t - u"
    text = _function(body).replace("return y, z, s", outside)
    new, _ = _changed(text)
    found: list[dict] = [{}, {}]
    for source, space in zip((text, new), found, strict=True):
        exec(source, space)
    assert repr(found[0]["f"](X, 0.3)) == repr(found[1]["f"](X, 0.3))


def test_a_list_of_two_names_is_not_carried():
    text = "def f(x):\n    y = [1.0] * 9\n    z = y\n    for i in range(8):\n        y[i + 1] = z[i] + z[i + 1]\n    return y"
    assert not _changed(text)[1]


def test_an_operation_that_the_step_before_did_is_done_once():
    new, _ = _changed(_function(CARRIED["functions"]))
    loop = next(s for s in ast.walk(ast.parse(new)) if isinstance(s, ast.For))
    assert ast.unparse(loop).count("exp") == 1
    assert ast.unparse(loop).count("x[i") == 1


MODELS = {
    "rosenbrock": lambda x: gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2),
    "second differences": lambda x: gs.sum((x[2:] - 2.0 * x[1:-1] + x[:-2]) ** 2),
    "chain": lambda x: gs.sum(gs.sin(x[1:] - x[:-1]) * x[1:]),
}


@pytest.mark.parametrize("model", MODELS)
def test_calls_give_what_the_text_says(model):
    f = gs.compile(MODELS[model], args=((40,),), target=python_loops(), name="f", selftest=False)
    assert "for i in range" in f.source
    assert repr(f.value_and_grad(X)) == repr(f.module.f_value_and_grad(X))
    assert f.check().ok
