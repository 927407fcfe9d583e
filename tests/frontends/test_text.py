"""The text frontend: what it reads, what it refuses and how it says so."""

from __future__ import annotations

import ast
import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.errors import ParseError
from gradsmith.evaluate import evaluate
from gradsmith.frontends.text import parse
from gradsmith.frontends.text_calls import FUNCTIONS
from gradsmith.frontends.text_sums import parse_sum
from gradsmith.origin import statement_text
from gradsmith.trace import Expr, symbol, symbols


def value(text, *at, known=None):
    expr, inputs = parse(text, known)
    graph = to_graph(inputs, [expr])
    return evaluate(graph, at)[graph.outputs[0]]


def attempt(text):
    """The expression, or the message of the error."""
    try:
        return parse(text)[0]
    except ParseError as error:
        return str(error)


def refusal(text, known=None):
    with pytest.raises(ParseError) as caught:
        parse(text, known)
    return str(caught.value)


# --- the language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3*4 - 6/4 + 2**3**0.5", 2 + 3 * 4 - 6 / 4 + 2**3**0.5),
        ("-2**2", -4.0),
        ("+-+3", -3.0),
        ("2**-1", 0.5),
        ("1_000 + 0x10 + 1e-3 + .5", 1000 + 16 + 1e-3 + 0.5),
        ("pi + π + e", 2 * math.pi + math.e),
        ("-inf", -math.inf),
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("1 == 1 and not 2 != 2", True),
        ("1 > 2 or False", False),
        ("4 if 1 < 2 else 5", 4.0),
        ("where(1 > 2, 4, 5)", 5.0),
        ("max(1, 3, 2) - min(1, 3, 2)", 2.0),
        ("clip(7, 0, 1) + clip(7, min=0) + clip(7, None, 2)", 10.0),
        ("abs(-2) + pow(2, 3) + ln(1) + arctan2(0, 1)", 10.0),
        ("sum(stack([1, 2, 3])) + stack((1, 2), axis=0)[-2]", 7.0),
        ("concatenate([stack([1, 2]), stack([3])])[1:] @ stack([1, 10])", 32.0),
    ],
)
def test_value(text, expected):
    assert value(text) == expected


def test_white_space_does_not_count():
    assert value("\n  x\n  + y\t\n", 1.0, 2.0) == 3.0


def test_operator_precedence_is_pythons():
    for text in ("-x**2*y", "x/y/2 - x - y", "x if x < y else y + 1", "x < y and y < 3 or x > 1", "2**-x**y"):
        assert value(text, 1.5, 0.5) == eval(text, {"x": 1.5, "y": 0.5})


def test_names_become_symbols_in_order_of_appearance():
    _, inputs = parse("b if a < c else sin(d) + b")
    assert [x.name for x in inputs] == ["b", "a", "c", "d"]


def test_known_names():
    A, b, t = symbol("A", (2, 3)), symbol("b", (3,)), symbol("t")
    expr, inputs = parse("x*sum(A @ b, axis=0) + A[0, 1] + twice", {"A": A, "b": b, "twice": 2.0 * t, "unused": t})
    assert [s.name for s in inputs] == ["x", "A", "b", "t"]
    assert (inputs[1] is A, inputs[2] is b, inputs[3] is t, expr.shape) == (True, True, True, ())
    at = [2.0, np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0]), 0.25]
    assert value("x*sum(A @ b, axis=0) + A[0, 1] + twice", *at, known={"A": A, "b": b, "twice": 2.0 * t}) == 69.5


def test_known_hides_constants_and_functions():
    e, mean = symbols("e mean")
    assert [s.name for s in parse("e + mean", {"e": e, "mean": mean})[1]] == ["e", "mean"]


def test_a_name_is_one_symbol():
    x = symbol("x")
    assert "two different symbols are named 'x'" in refusal("x + y", {"y": 2.0 * x})
    assert len(parse("x + y", {"x": x, "y": 2.0 * x})[1]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x*y + y + tanh(x)", "-x**2 + 2*x - 1", "2.0*x/3", "x**(1/2)", "(x < y) + where(x > 1, x, y)", "1 - -x",
        "exp(-(x - y)**2/2)/sqrt(2*pi)", "atan2(y, x) + erf(x)*sigmoid(y)", "x*2 + 3*y + 2", "max(x)", "3 < x",
        "sum(x, axis=())", "maximum(x, 0) - clip(y, 0, 1)",
    ],
)  # fmt: skip
def test_same_graph_as_operators(text):
    x, y = symbols("x y")
    functions = {name: getattr(gs.ops, name) for name in FUNCTIONS if hasattr(gs.ops, name)}
    traced = eval(text, {"x": x, "y": y, "pi": math.pi, **functions})
    expr, inputs = parse(text)
    operands = [next(s for s in (x, y) if s.name == i.name) for i in inputs]
    assert to_graph(inputs, [expr]).digest() == to_graph(operands, [traced]).digest()


def test_every_function_can_be_called():
    """The whitelist follows `gradsmith.ops`: each function takes what its own signature says."""
    A = symbol("A", (2, 2))
    special = {
        "atan2": "x, y", "broadcast_to": "x, (2, 2)", "concatenate": "[A, A]", "concat": "[A, A]", "stack": "[x, y]", "reshape": "A, 4",
        "expand_dims": "A, 0", "permute_dims": "A, (1, 0)", "where": "x < y, x, y",
        "searchsorted": "A[0], A", "take": "A, 1, axis=0",
        "avg_pool1d": "A, 2", "avg_pool2d": "B, 2", "max_pool1d": "A, 2", "max_pool2d": "B, 2", "conv1d": "A, B",
        "conv2d": "C, C", "batch_norm": "A, v, v", "group_norm": "A, 2", "layer_norm": "A, 2", "rms_norm": "A, 2",
        "embedding": "[0, 1], A", "nll_loss": "A, [0, 1]",
        "moveaxis": "A, 0, 1", "swapaxes": "A, 0, 1", "repeat": "A, 2", "roll": "A, 1", "pad": "A, 1",
        "take_along_axis": "A, ((0,), (1,))", "tile": "A, 2", "bitwise_and": "x < y, x < y", "bitwise_or": "x < y, x < y", "bitwise_xor": "x < y, x < y",
        "bitwise_invert": "x < y", "cross": "stack([x, y, 1]), stack([y, x, 2])",
        "cumulative_prod": "A, axis=0", "cumulative_sum": "A, axis=0",
        "arange": "3", "empty": "3", "eye": "2", "full": "3, x", "full_like": "A, x", "linspace": "x, y, 3", "ones": "3", "zeros": "3",
        "polygamma": "2, A", "interp": "x, v, v",
    }  # fmt: skip
    for name, function in FUNCTIONS.items():
        required = [p for p in function.signature.parameters.values() if p.default is p.empty]
        arguments = special.get(name, ", ".join(["A"] * len(required)))
        given = {"A": A, "B": symbol("B", (2, 2, 2)), "C": symbol("C", (2, 2, 2, 2)), "v": symbol("v", (2,))}
        assert isinstance(parse(f"{name}({arguments})", given)[0], Expr), name


def test_options_are_numbers_and_words():
    x, y = symbols("x y")
    for text, traced in [
        ("leaky_relu(x, 0.2)", gs.leaky_relu(x, 0.2)),
        ("elu(x, -0.5)", gs.elu(x, -0.5)),
        ("celu(x, alpha=2)", gs.celu(x, alpha=2)),
        ('gelu(x, approximate="tanh")', gs.gelu(x, approximate="tanh")),
        ('huber_loss(x, y, "sum", delta=0.5)', gs.huber_loss(x, y, "sum", delta=0.5)),
    ]:
        expr, inputs = parse(text)
        assert to_graph(inputs, [expr]).digest() == to_graph([x, y][: len(inputs)], [traced]).digest(), text
    assert "must be written as a number, a word in quotes or ints" in refusal("leaky_relu(x, y)")
    assert "must be written as ints" in refusal('sum(x, axis="all")')


# --- refusals -------------------------------------------------------------------------------------------------------

REFUSED = {
    "tahn(x)": "unknown function 'tahn': did you mean 'tanh'?",
    "qux(x)": "unknown function 'qux': for a product write qux*(...)",
    "x(y + 1) + x": "'x' is a value, not a function",
    "2(x + 1)": "write a product with *",
    "2x + 1": "write a product with *",
    "x y": "write a product with *",
    "y = a*b + c": "without an assignment: write 'a*b + c'",
    "f(x, y) = x*y": "without an assignment: write 'x*y'",
    "y += x": "without an assignment: write 'x'",
    "(y := x)": "assignments are not part of a formula",
    "x^2": "for a power write **",
    "x & y": "write `and`",
    "x | y": "write `or`",
    "~x": "write `not`",
    "x && y": "write `and`, `or`, `not`",
    "!x": "write `and`, `or`, `not`",
    "x ? y : z": "write `a if condition else b`",
    "x // y": "floor(x / y)",
    "x % y": "x - y*floor(x / y)",
    "x << 1": "write x * 2**n",
    "x − y": "'−' is not an operator: write -",
    "x·y": "write *",
    "x²": "write **2",
    "x.real": "attributes and methods are not part of a formula",
    "().__class__": "attributes and methods are not part of a formula",
    "lambda: x": "lambda is not part of a formula",
    "lambda*x": "'lambda' is a keyword of Python: write lambda_",
    "[x for x in y]": "comprehensions are not part of a formula",
    "sum(x for x in y)": "comprehensions are not part of a formula",
    "x, y": "write one text for each result",
    "[x, y]": "lists stand in stack",
    "{x}": "Set is not part of a formula",
    "{x: y}": "Dict is not part of a formula",
    "'x'": "without quotes",
    "b'x'": "without quotes",
    "f'{x}'": "text has no place",
    "sum(*x)": "write each argument",
    "sum(**x)": "write each argument",
    "x is y": "`is` and `in` are not part of a formula",
    "x in y": "`is` and `in` are not part of a formula",
    "x < 1 and y": "compare it first, such as `x != 0`",
    "nan": "a constant is NaN",
    "NaN*x": "a constant is NaN",
    "__name__": "a name of Python's own",
    "__import__('os').system('true')": "only functions can be called",
    "eval(x)": "unknown function 'eval'",
    "sin": "'sin' is a function: write sin(...)",
    "pi(x)": "'pi' is a value",
    "2j*x": "real numbers",
    "None": "None has no value",
    "...": "in indices only",
    "1e999": "beyond the range of float64",
    "9" * 400: "beyond the range of float64",
    "1" * 5000: "Exceeds the limit",
    "2**5000": "beyond the range of float64",
    "1/0": "division by zero",
    "(-1)**0.5": "not a real number",
    "inf - inf": "not a real number",
    "sin()": "missing a required argument: 'x'; it is sin(x)",
    "sin(x, y)": "too many positional arguments; it is sin(x)",
    "sin(x, axis=0)": "unexpected keyword argument 'axis'",
    "sum(x, axis=0, axis=1)": "axis= is given twice",
    "sum(x, axis=y)": "must be written as ints",
    "sum(x, axis=0.5)": "must be written as ints",
    "sum(x, axis=-y)": "must be written as ints",
    "sum(x, axis=-True)": "must be written as ints",
    "sum(x, axis=5)": "axis 5 does not exist",
    "stack(x)": "takes a list: stack([x, y])",
    "stack([])": "stack: ",
    "A[5]": "5 is out of bounds",
    "A[::0]": "a slice cannot have step 0",
    "A[x]": "must be written as ints",
    "A[0][0][0]": "1 indices for shape ()",
    "A @ A": "3 columns on the left meet 2 rows on the right",
    "2 @ x": "a scalar cannot be an operand of @",
    "A + stack([x, y])": "do not broadcast",
    "max(A, 0)": "write maximum(x, y) element by element, or max(x, axis=0)",
    "getitem(A, 0)": "unknown function 'getitem'",
    "x # y": "has no comments",
    "x; y": "this is not an expression",
    "(x": "'(' was never closed",
    "x +": "this is not an expression",
    "": "the text is empty",
    " \n ": "the text is empty",
    "x\0y": "this is not an expression",
    "\ud800": "this is not an expression",
    "import os": "'import' is a keyword",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: ascii(t)[:30])
def test_refusal_names_the_remedy(text):
    message = refusal(text, {"A": symbol("A", (2, 3))})
    assert REFUSED[text] in message
    assert "<unknown>" not in message
    assert "\n  at " not in message


def test_every_op_error_is_a_parse_error_with_its_place():
    assert refusal("x + sum(A, axis=7)", {"A": symbol("A", (2, 3))}).endswith(
        "\n  x + sum(A, axis=7)\n      ^^^^^^^^^^^^^^"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x*y + y + tahn(x)", "tahn"),
        ("αβγ + ß*tahn(δ) + 1", "tahn"),
        ("x + " * 50 + "tahn(x)" + " + y" * 50, "tahn"),
        ("x + " * 5000 + "tahn(x)", "tahn"),
        ("ö - " * 4000 + "x.real*2", "x.real"),
        ("x\n +\ttahn(y)", "tahn"),
    ],
)
def test_the_carets_stand_under_the_place(text, place):
    _, shown, carets = refusal(text).split("\n")
    assert shown[carets.index("^") : carets.rindex("^") + 1] == place
    assert len(shown) < 90


def test_only_text_is_parsed():
    with pytest.raises(ParseError, match="must be a str, not int"):
        parse(3)  # type: ignore[arg-type]


# --- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [1_000, 2_999, 5_000, 20_000])
def test_long_flat_sums(terms):
    assert value("+".join(["x"] * terms), 1.0) == terms
    assert value("0 - x*2" + " - x*2" * terms, 0.5) == -terms - 1


@pytest.mark.parametrize("n", [90, 1_000, 100_000])
@pytest.mark.parametrize(
    "shape", ["({x})", "-{x}", "not {x}", "sin({x})", "x**{x}", "x if x else {x}", "x*{x}", "x+({x})", "[{x}]"]
)
def test_any_depth_is_a_result_or_a_parse_error(shape, n):
    before, after = shape.split("{x}")
    text = before * n + "x" + after * n
    result = attempt(text)
    if isinstance(result, str):
        assert len(result) < 500
        assert n > 100 or shape == "[{x}]"
    else:
        assert statement_text(result.origin) or result.op.name == "input"


@pytest.mark.parametrize(
    "text",
    [
        "x" + "[0]" * 100_000,
        "x" + "(y)" * 100_000,
        "x<" * 3_000 + "x",
        "x\\" * 9_999,
        "[" * 9_999,
        "x + " + "-" * 20_000 + "x",
    ],
)
def test_other_long_texts(text):
    result = attempt(text)
    assert isinstance(result, Expr) or len(result) < 500


@pytest.mark.parametrize(
    "text",
    [
        "a-b", "-a+b", "a+-b*(c-d)[1:2]+f(x+y, k=z-w)", "1e-5+2E+3-x", "a**-b-c", "1. + x", "0xe+1+x", "a - -b - --c",
        "é - tanh(é) - ü[0]", "a*-b + c@d/e", "f(x if y else z) + (a<b) - (c and d)",
    ],
)  # fmt: skip
def test_a_long_sum_is_cut_where_python_cuts(text):
    ours, pythons = parse_sum(text), ast.parse(text, mode="eval")
    assert ast.dump(ours) == ast.dump(pythons)
    places = [
        [(n.col_offset, n.end_col_offset) for n in ast.walk(t) if isinstance(n, ast.expr) and not _is_sum(n)]
        for t in (ours, pythons)
    ]
    assert places[0] == places[1]


def _is_sum(n):
    return isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add | ast.Sub)


@pytest.mark.parametrize(
    "text", ["a < b + c", "a + b if c else d", "a, b + c", "not a + b", "'a + b'", "a", "a & b + c"]
)
def test_what_is_no_sum_is_not_cut(text):
    with pytest.raises(RecursionError):
        parse_sum(text)


# --- origins --------------------------------------------------------------------------------------------------------


def test_origin_shows_the_formula():
    expr, _ = parse("x*y +\n   y + tanh(x)")
    assert f"{expr.origin}  {statement_text(expr.origin)}" == "text:1  x*y + y + tanh(x)"
    assert "# text:1  x*y + y + tanh(x)" in gs.compile("x*y + y + tanh(x)").source


def test_two_texts_keep_their_own_formulas():
    a, b = parse("x + 1")[0], parse("x + 2")[0]
    assert (statement_text(a.origin), statement_text(b.origin)) == ("x + 1", "x + 2")


def test_compile_text():
    f = gs.compile("x*y + y + tanh(x)")
    assert f(2.0, 3.0) == pytest.approx(2.0 * 3.0 + 3.0 + math.tanh(2.0))
