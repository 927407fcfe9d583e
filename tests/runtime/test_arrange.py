"""arrange: another order and other names, the same operations on the same values."""

import ast
import math
import random

import pytest

import gradsmith as gs
from gradsmith.lower.order import with_few_waiting
from gradsmith_runtime.arrange import as_expressions, in_order, renamed, straight
from gradsmith_runtime.condense import condense


def function(body: str) -> ast.FunctionDef:
    made = ast.parse("def f(x, y):\n    " + body.replace("\n", "\n    ")).body[0]
    assert isinstance(made, ast.FunctionDef)
    return made


@pytest.mark.parametrize(
    ("body", "is_straight"),
    [
        ("t = x * y\nreturn t", True),
        ("'''Text.'''\n[a, b] = x\nif y < a:\n    t = a\nelse:\n    t = b\nreturn t", True),
        ("try:\n    t = x / y\n    return t\nexcept ArithmeticError:\n    return x", True),
        ("t = x * y\ntry:\n    return t\nexcept ArithmeticError:\n    return x", False),
        ("t = x * y\nt = t + x\nreturn t", False),
        ("x = x * y\nreturn x", False),
        ("[a, b] = x\na = b * y\nreturn a", False),
        ("if x < y:\n    return x\nreturn y", False),
        ("t = x * y", False),
    ],
)
def test_functions_of_which_each_name_is_assigned_once(body, is_straight):
    assert (straight(function(body)) is not None) == is_straight


#: Bodies of functions, and what is left of them with choices as expressions.
CHOICES = {
    "if x < y:\n    t = x\nelse:\n    t = y\nreturn t * t": "t = x if x < y else y\nreturn t * t",
    "if x < y:\n    t = x\nelse:\n    a = y + x\n    b = y * a\n    t = b * a\nreturn t": (
        "t = x if x < y else y * (a := y + x) * a\nreturn t"
    ),
    "if x < y:\n    t = x\nelse:\n    a = y + x\n    t = y * a\nreturn t * a": "",  # a is read elsewhere
    "if x < y:\n    t = x\nelse:\n    a = y + x\n    t = (y if y < x else a) + a\nreturn t": "",  # a might not be there
    "if x < y:\n    t = x\n    u = y\nelse:\n    t = y\n    u = x\nreturn t * u": "",  # two values
    "if x < y:\n    a = y + x\n    t = a * a\nelse:\n    t = x\n    u = y\nreturn t": "",  # one side alone
    "if x < y:\n    t = x\nreturn x": "",
    "if x < y:\n    t = x\nelse:\n    a = x + y\n    b = a + y\n    c = b + x\n    t = c + y\nreturn t": "",  # long
}


@pytest.mark.parametrize("body", CHOICES)
def test_choices_of_one_value_become_expressions(body):
    f = function(body)
    as_expressions(f.body)
    assert ast.unparse(f) == ast.unparse(function(CHOICES[body] or body))


def test_a_slope_comes_with_its_term_and_takes_its_place():
    terms = "".join(f"u{i} = x - {i}.0\nv{i} = u{i} * u{i}\n" for i in range(4))
    slopes = "".join(f"g{i} = u{i} + u{i}\n" for i in range(4))
    f = function(f"{terms}value = v0 + v1 + v2 + v3\n{slopes}return (value, g0, g1, g2, g3)")
    in_order(f.body, with_few_waiting)
    assert [ast.unparse(s) for s in f.body[:4]] == ["u0 = x - 0.0", "v0 = u0 * u0", "g0 = u0 + u0", "u1 = x - 1.0"]
    renamed(f.body, kept=())
    names = {n.id for s in f.body for n in ast.walk(s) if isinstance(n, ast.Name)}
    assert len(names) == 9  # x, and a term and a slope of each


def test_a_name_is_free_behind_the_last_statement_that_reads_it():
    f = function(
        "a = x * y\nif a < x:\n    b = a + y\nelse:\n    c = x - y\n    b = c * c\nd = b + x\nkept = d * d\ne = kept + d\nreturn e"
    )
    renamed(f.body, kept={"kept"})
    assert ast.unparse(f) == ast.unparse(
        function(
            "a = x * y\nif a < x:\n    b = a + y\nelse:\n    c = x - y\n    b = c * c\n"
            "b = b + x\nkept = b * b\nb = kept + b\nreturn b"
        )
    )


def test_a_name_within_an_expression_takes_none_of_those_that_the_expression_reads():
    f = function("a = x * x\nb = a * a\nt = (c := y + 1.0) * c + a + b\nreturn t")
    renamed(f.body, kept=())
    assert ast.unparse(f.body[2]).endswith("= (c := (y + 1.0)) * c + a + b")


def test_values_that_hold_less_than_they_are_computed_from_stay():
    f = function(
        "a = x * x\nb = y * y\nt = a * b\nc = t * t - t\nd = a / b\ne = c + y\ng = c - y\nreturn [g, d, e / c]"
    )
    condense(f)  # `d` holds a place, where `a` and `b` would hold two; `g` would hold the place of `c` only
    assert ast.unparse(f) == ast.unparse(
        function("a = x * x\nb = y * y\nt = a * b\nc = t * t - t\nd = a / b\nreturn [c - y, d, (c + y) / c]")
    )


def program(rng: random.Random) -> str:
    """Any body of a function of two numbers, with choices, and names that are read once, often or never."""
    names, lines = ["x", "y"], []

    def operation(names):
        a, b = rng.choice(names), rng.choice(names)
        return rng.choice([f"{a} * {b}", f"{a} + {b}", f"{a} - 0.5 * {b}", f"-{a}", f"math.atan({a})", f"{b}"])

    for i in range(rng.randrange(2, 40)):
        if rng.random() < 0.2:
            lines += [f"if {rng.choice(names)} < {rng.choice(names)}:", f"    t{i} = {operation(names)}", "else:"]
            lines += [f"    s{i} = {operation(names)}", f"    t{i} = {operation([*names, f's{i}'])}"]
        else:
            lines.append(f"t{i} = {operation(names[-6:])}")
        names.append(f"t{i}")
    return "\n".join([*lines, f"return ({operation(names)}, [{', '.join(rng.choices(names, k=4))}])"])


def test_any_straight_function_computes_the_same_to_the_last_bit():
    rng = random.Random(1)
    for _ in range(300):
        body = program(rng)
        space = {"math": math} | {f"_gs_math_{name}": value for name, value in vars(math).items()}
        found = []
        for order in (None, with_few_waiting):
            f = function(body)
            if order is not None:
                condense(f, order=order)
            exec(compile(ast.fix_missing_locations(ast.Module([f], [])), "f", "exec"), space)
            found.append(repr(space["f"](0.75, -1.25)))
        assert found[0] == found[1], body


def test_a_call_keeps_few_of_its_numbers():
    """Not those of a hundred terms until the last slope is there."""
    f = gs.compile(
        lambda v: gs.sum(100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2), args=((60,),), target="python",
        derivatives="value_and_grad", name="f",
    )  # fmt: skip
    x = [0.1 * i for i in range(60)]
    assert repr(f.value_and_grad(x)) == repr(f.module.f_value_and_grad(x))
    numbers = 1 + 60 + 60  # the list, its elements, and the slopes
    assert f.value_and_grad.__code__.co_nlocals < numbers + 25 < f.module.f_value_and_grad.__code__.co_nlocals
