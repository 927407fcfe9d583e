"""Printing: parentheses where precedence asks for them, none elsewhere; reading the text back gives the same tree."""

import ast
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradsmith as gs
from gradsmith.lower.printing import Printer, Text, wrapped
from gradsmith.target import load_target
from gradsmith.types import FLOAT64

a, b, c = gs.symbols("a b c")


def python(expr: gs.Expr) -> str:
    source = gs.compile(expr, args=[a, b, c], derivatives="value", selftest=False).source
    return (
        source.split("value = ")[1].splitlines()[0]
        if "value = " in source
        else source.split("return ")[1].splitlines()[0]
    )


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (a + b + c, "a + b + c"),
        (a + (b + c), "a + (b + c)"),
        (a - (b - c), "a - (b - c)"),
        ((a - b) - c, "a - b - c"),
        (a * (b + c), "a * (b + c)"),
        (a * b + c, "a * b + c"),
        (a / (b * c), "a / (b * c)"),
        (a / b / c, "a / b / c"),
        (-(a + b), "-(a + b)"),
        (-a - b, "-a - b"),
        (a - (-b) * c, "a + b * c"),
        (a * -2.0, "a * -2.0"),
        (gs.sin(a + b), "math.sin(a + b)"),
        (gs.where(a > b, b, c), "b if a > b else c"),
        (gs.where(a > b, b, c) + 1.0, "(b if a > b else c) + 1.0"),
        (gs.where((a > b) & (b > c), a, gs.where(b < c, b, c)), "a if a > b and b > c else b if b < c else c"),
        (gs.where(~((a > b) | (b > c)), a, c), "a if not (a > b or b > c) else c"),
        (abs(a) * 2.0, "abs(a) * 2.0"),
    ],
)
def test_python_reads_as_a_person_writes(expr: gs.Expr, text: str) -> None:
    assert python(expr) == text


LEAVES = st.sampled_from([a, b, c]) | st.floats(-9, 9).map(lambda v: gs.constant(round(v, 1)))
TREES = st.recursive(
    LEAVES,
    lambda t: st.one_of(
        st.tuples(st.sampled_from("+-*/"), t, t),
        st.tuples(st.just("u-"), t),
        st.tuples(st.just("?"), t, t, t, t),
    ),
    max_leaves=12,
)
BINARY = {"+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div}


def fill(tree: object, printer: Printer) -> tuple[Text, str]:
    """The printed text, and the fully bracketed text of the same tree."""
    if isinstance(tree, gs.Expr):
        text = printer.number(tree.params["value"], FLOAT64) if tree.op.name == "constant" else Text(str(tree.name))
        return text, f"({text.text})"
    kind, *parts = tree  # type: ignore[misc]
    texts, full = zip(*(fill(p, printer) for p in parts), strict=True)
    if kind == "u-":
        return printer.fill("-{0}", texts), f"(-{full[0]})"
    if kind == "?":
        cell = "{2} if {0} < {1} else {3}"
        return printer.fill(cell, texts), f"({full[2]} if {full[0]} < {full[1]} else {full[3]})"
    return printer.fill(f"{{0}} {kind} {{1}}", texts), f"({full[0]} {kind} {full[1]})"


@given(TREES)
def test_reading_back_gives_the_same_tree(tree: object) -> None:
    text, full = fill(tree, Printer(load_target("python")))
    assert ast.dump(ast.parse(text.text, mode="eval")) == ast.dump(ast.parse(full, mode="eval"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_literals_read_back_exactly(value: float) -> None:
    for target in ("python", "numpy", "c"):
        text = Printer(load_target(target)).number(value, FLOAT64).text
        assert float(text) == value
        assert math.copysign(1.0, float(text)) == math.copysign(1.0, value)


def test_a_sign_before_a_sign_is_no_decrement() -> None:
    printer = Printer(load_target("c"))
    minus = printer.fill("-{0}", [Text("x")])
    assert printer.fill("-{0}", [minus]).text == "-(-x)"
    assert printer.fill("-{0}", [printer.number(-2.0, FLOAT64)]).text == "-(-2.0)"


def test_c_brackets_and_in_or() -> None:
    printer = Printer(load_target("c"))
    both = printer.fill("{0} && {1}", [Text("p"), Text("q")])
    assert printer.fill("{0} || {1}", [both, Text("r")]).text in ("(p && q) || r", "p && q || r")
    assert "(" in printer.fill("{0} || {1}", [Text("r"), both]).text


def test_lines_are_cut_at_commas_inside_brackets_only() -> None:
    text = "f(" + ", ".join(f"argument_{i}" for i in range(20)) + ")"
    lines = wrapped(text, 60, 0)
    assert len(lines) > 1
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(line.strip() for line in lines) == text
    assert wrapped("a, " * 50, 60, 0) == ["a, " * 50]
