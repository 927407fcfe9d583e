"""The frontends on random input: text, formulas and SymPy expressions.

To search longer: `GRADSMITH_FUZZ=20 pytest tests/frontends/test_text_fuzz.py` takes twenty times as many examples.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradsmith.as_graph import to_graph
from gradsmith.errors import ParseError
from gradsmith.evaluate import evaluate
from gradsmith.frontends.sympy import from_sympy, to_sympy
from gradsmith.frontends.text import parse
from gradsmith.frontends.text_calls import FUNCTIONS
from gradsmith.trace import Expr, symbol

# Hypothesis draws the same examples in every run, so that a failure belongs to the change that made it.
LONGER = int(os.environ.get("GRADSMITH_FUZZ", "1"))
steady = settings(deadline=None, derandomize=True, max_examples=150 * LONGER)


def value(expr, inputs, at):
    graph = to_graph(inputs, [expr])
    return evaluate(graph, [at[str(s.name)] for s in inputs])[graph.outputs[0]]


# --- any text -------------------------------------------------------------------------------------------------------

WORDS = [
    *FUNCTIONS, *"xyzAe", "pi", "inf", "nan", "0", "1", "2.5", "1e3", "1e-400", "9" * 400, "3j", "0x1f", "1_0", "True",
    "None", "...", "+", "-", "*", "/", "**", "@", "//", "%", "^", "&", "|", "~", "<", "<=", "==", "!=", ">", "and",
    "or",
    "not", "if", "else", "is", "in", "lambda", "for", "await", "yield", "(", ")", "[", "]", "{", "}", ",", ":", ":=",
    "=", ".", ";", "#", "'", '"', "f'", "\\", "\n", "\t", " ", "\0", "\ud800", "\ufeff", "é", "−", "²", "axis=0",
    "axis=", "keepdims=True", "[0]", "[1:2]", "__class__", ".real", "*x", "**x",
]  # fmt: skip


def is_read_or_refused(text):
    try:
        expr, inputs = parse(text, {"A": symbol("A", (2, 3))})
    except ParseError as error:
        str(error).encode()  # every message can be printed
    else:
        assert isinstance(expr, Expr)
        assert all(s.op.name == "input" for s in inputs)


@steady
@given(st.text(max_size=40))
def test_any_text(text):
    is_read_or_refused(text)


@settings(steady, max_examples=600 * LONGER)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_any_words(words):
    is_read_or_refused("".join(words))
    is_read_or_refused(" ".join(words))


ARGUMENTS = st.sampled_from(
    ["x", "A", "1", "-2", "None", "axis=0", "axis=(0, 1)", "axis=-5", "keepdims=True", "shape=(6,)", "(3, -1)",
     "[x, 1]",
     "[A, A]", "(0,)", "x < 1", "axes=(1, 0)", "axes=(0,)", "0", "True", "[0]", "()", "(9999999, 9999999, 9999999)"]
)  # fmt: skip


@settings(steady, max_examples=600 * LONGER)
@given(
    st.sampled_from(sorted(FUNCTIONS)), st.lists(ARGUMENTS, max_size=4), st.sampled_from(["", "[0]", "[1:]", "[[0]]"])
)
def test_any_call(name, arguments, index):
    is_read_or_refused(f"{name}({', '.join(arguments)}){index}")


# --- formulas with a value ------------------------------------------------------------------------------------------

AT = {"x": 0.7, "y": -1.3, "z": 2.1, "w": 0.4}
MATHS = {name: getattr(math, name) for name in ("sin", "cos", "tanh", "atan", "exp", "erf", "sinh", "floor")}
ENVIRONMENT = AT | MATHS | {"abs": abs, "max": max, "min": min, "atan2": math.atan2, "pi": math.pi, "e": math.e}

numbers = st.one_of(st.integers(0, 9).map(str), st.sampled_from(["0.5", "1e-2", "2.25", "pi", "e"]))
leaves = st.one_of(st.sampled_from(sorted(AT)), numbers)


def _wider(inner):
    def of(form, *parts):
        return st.tuples(*parts).map(lambda p: form.format(*p))

    condition = st.one_of(
        of("{} {} {}", inner, st.sampled_from(["<", "<=", ">", ">=", "!="]), inner),
        of("({} < {} < {})", inner, inner, inner),
    )
    condition = st.one_of(
        condition, of("({} {} {})", condition, st.sampled_from(["and", "or"]), condition), of("(not {})", condition)
    )
    return st.one_of(
        of("{} {} {}", inner, st.sampled_from("+-*/"), inner),
        of("({} {} {})", inner, st.sampled_from("+-*/"), inner),
        of("{}({})", st.sampled_from(sorted(MATHS)), inner),
        of("{}({}, {})", st.sampled_from(["max", "min", "atan2"]), inner, inner),
        of("{}({}, {}, {})", st.sampled_from(["max", "min"]), inner, inner, inner),
        of("-{}", inner),
        of("abs({})**{}", inner, st.sampled_from(["2", "0.5", "3", "1.5"])),
        of("({} if {} else {})", inner, condition, inner),
    )


formulas = st.recursive(leaves, _wider, max_leaves=12)


@settings(steady, max_examples=400 * LONGER)
@given(formulas)
def test_formula_has_pythons_value(formula):
    try:
        expected = eval(formula, dict(ENVIRONMENT))  # text made by this test
    except ArithmeticError:
        assume(False)
    assume(math.isfinite(expected) and abs(expected) < 1e100)
    expr, inputs = parse(formula)
    assert value(expr, inputs, AT) == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


@steady
@given(formulas)
def test_formula_survives_the_way_through_sympy(formula):
    try:
        expr, inputs = parse(formula)
    except ParseError:
        assume(False)
    expected = value(expr, inputs, AT)
    assume(math.isfinite(expected) and abs(expected) < 1e6)
    graph = to_graph(inputs, [expr])
    expressions, _ = to_sympy(graph)
    again, names = from_sympy(expressions[graph.outputs[0]])
    assert value(again, names, AT) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


# --- SymPy expressions ----------------------------------------------------------------------------------------------

SYMBOLS = {name: sp.Symbol(name, real=True) for name in AT}
sympy_leaves = st.one_of(
    st.sampled_from(list(SYMBOLS.values())),
    st.integers(-5, 5).map(sp.Integer),
    st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda pq: sp.Rational(*pq)),
    st.sampled_from([sp.pi, sp.E, sp.Float("0.3"), sp.sqrt(2)]),
)
UNARY = [
    sp.sin, sp.cos, sp.tanh, sp.exp, sp.atan, sp.asinh, sp.Abs, sp.erf, sp.sech, sp.sign, lambda a: sp.sqrt(a**2 + 1),
    lambda a: 1 / (a**2 + 1), lambda a: sp.log(a**2 + 2), lambda a: -a, lambda a: (a**2 + 1) ** sp.Rational(-3, 2),
]  # fmt: skip
BINARY = [
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (b**2 + 1), sp.Max, sp.Min,
    lambda a, b: sp.Piecewise((a, a < b), (b, True)), lambda a, b: sp.Mul(a, b, evaluate=False),
    lambda a, b: sp.Add(a, -b, evaluate=False), lambda a, b: sp.atan2(a, b**2 + 1),
]  # fmt: skip
sympy_expressions = st.recursive(
    sympy_leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(UNARY), inner).map(lambda p: p[0](p[1])),
        st.tuples(st.sampled_from(BINARY), inner, inner).map(lambda p: p[0](p[1], p[2])),
    ),
    max_leaves=8,
)


@steady
@given(sympy_expressions)
def test_sympy_expression_has_sympys_value(expression):
    exact = expression.subs({s: sp.Rational(repr(AT[n])) for n, s in SYMBOLS.items()}).evalf(40)
    assume(exact.is_finite and abs(exact) < 1e8)
    expr, inputs = from_sympy(expression)
    found = value(expr, inputs, AT)
    assert np.shape(found) == ()
    assert float(found) == pytest.approx(float(exact), rel=1e-7, abs=1e-7)  # sums may cancel
