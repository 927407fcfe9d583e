"""The SymPy frontend: what each class becomes, what is refused, and the way back."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.errors import UnsupportedError
from gradsmith.evaluate import evaluate
from gradsmith.frontends.sympy import from_sympy, is_sympy, to_sympy
from gradsmith.frontends.text import parse
from gradsmith.origin import statement_text
from gradsmith.registry import OPS
from gradsmith.trace import apply, symbol, symbols

x, y, z = sp.symbols("x y z")
A, v = sp.MatrixSymbol("A", 3, 3), sp.MatrixSymbol("v", 3, 1)
AT = {"x": 0.7, "y": -1.3, "z": 2.1}
MATRICES = {"A": np.array([[0.3, 1.0, -2.0], [0.4, 0.2, 0.9], [-0.5, 0.1, 0.6]]), "v": np.array([[0.5], [-0.1], [0.7]])}


def run(value, at):
    expr, inputs = from_sympy(value)
    graph = to_graph(inputs, [expr])
    return evaluate(graph, [at[str(s.name)] for s in inputs])[graph.outputs[0]]


def text(value):
    expr, inputs = from_sympy(value)
    return to_graph(inputs, [expr]).text()


def refusal(value):
    with pytest.raises(UnsupportedError) as caught:
        from_sympy(value)
    return str(caught.value)


# --- values ---------------------------------------------------------------------------------------------------------

UNIT, LARGE = sp.Rational(3, 10) * x, x + 1  # 0.21 for functions on [-1, 1], and 1.7 for those beyond 1
SCALARS = [
    x * y + y + sp.tanh(x), x - y, -x - y, 1 - x, 2 * x / 3, -x / (2 * y), x / 8, x**-2, 1 / (x * z), (x / z) ** 3,
    sp.sqrt(x), 1 / sp.sqrt(x), x ** sp.Rational(3, 2), x ** sp.Rational(-2, 3), x**y, 2**y, x**2.5, sp.exp(-(x**2)),
    sp.log(x), sp.log(x, 10), sp.log(x, 10, evaluate=False), sp.sin(x) * sp.cos(y) + sp.tan(z), sp.asin(UNIT),
    sp.acos(UNIT), sp.atan(y), sp.atan2(y, x), sp.sinh(x), sp.cosh(y), sp.tanh(z), sp.asinh(x), sp.asinh(y),
    sp.acosh(LARGE), sp.atanh(UNIT), sp.sec(x), sp.csc(x), sp.cot(y), sp.sech(x), sp.csch(y), sp.coth(x), sp.acot(y),
    sp.asec(LARGE), sp.acsc(LARGE), sp.erf(y), sp.Abs(y), sp.sign(y), sp.floor(y), sp.ceiling(y), sp.frac(z),
    sp.Mod(y, z), sp.Mod(z, y), sp.Heaviside(x), sp.Heaviside(y), sp.Heaviside(y - y * 0 + sp.Rational(13, 10)),
    sp.Min(x, y, z), sp.Max(x, y, z, 1), sp.Max(x, 0), sp.pi * x + sp.E - sp.GoldenRatio + sp.EulerGamma + sp.Catalan,
    sp.Float("0.1", 50) * x, sp.Rational(10**400, 10**400 + 1) * x, sp.Integer(2) ** 70 * x, x * (y + z) ** 2 / 7 - 3,
    sp.Piecewise((x, x < y), (z, True)), sp.Piecewise((x, x < 0), (y, sp.And(x >= 0, y < -2)), (z, True)),
    sp.Piecewise((x, sp.Or(x < 0, y > 0)), (y, sp.Xor(x < 1, z < 0)), (z, True)),
    sp.Piecewise((x, sp.Not(sp.Eq(x, y))), (y, True)), sp.Piecewise((x, sp.ITE(x < 1, y > 0, z > 0)), (y, True)),
    sp.Piecewise((x, sp.Implies(x > 0, y > 0)), (y, True)), sp.Piecewise((x, x < 0), (y, x >= 0)),
    sp.Piecewise((1, sp.Ne(x, y) & (z >= 2) & (x <= 1)), (0, True)),
    sp.Mul(x, 2, sp.Pow(y, -1, evaluate=False), evaluate=False), sp.Add(x, -2, sp.Mul(-3, y), evaluate=False),
    sp.Pow(x, 1, evaluate=False), sp.Mul(-1, sp.Pow(x, -1), evaluate=False), sp.Integer(3), sp.Rational(1, 3),
]  # fmt: skip


@pytest.mark.parametrize("value", SCALARS, ids=str)
def test_scalar_equals_sympys_own_value(value):
    expected = float(value.subs(AT).evalf(30)) if value.free_symbols else float(value)
    assert run(value, AT) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    "value", [x < y, sp.Ge(x, y), sp.Eq(x, x + y, evaluate=False), sp.And(x < 1, y < 2, z < 3), sp.true, sp.false]
)
def test_conditions_are_booleans(value):
    assert run(value, AT) == bool(value.subs(AT))
    assert from_sympy(value)[0].dtype == "bool"


MATRIX_VALUES = [
    A + A.T, 2 * A * v - v, -A, A - A.T, A * A * v, A**5, A**1, x * A / z, sp.Trace(A * A), sp.HadamardProduct(A, A.T),
    sp.HadamardPower(A, 2), A[0, 1] + A[2, 2], A[0:2, 1:], A[:, 2], A[2:3, ::3], sp.DotProduct(v, v),
    sp.Identity(3) + A,
    A + sp.ZeroMatrix(3, 3), A + sp.OneMatrix(3, 3), sp.Matrix([[x, 1], [y, x * y]]), sp.ImmutableMatrix([[x], [y]]),
    sp.Matrix([[1, 2]]), sp.SparseMatrix(2, 2, {(0, 1): x}), sp.Array([[x, y], [1, 2]]), sp.Array([[[x], [y]]]),
    sp.Tuple(x, y * 2, 3), sp.ImmutableMatrix([[1, 2, 3], [4, 5, 6], [7, 8, 9]]) * v,
]  # fmt: skip


@pytest.mark.parametrize("value", MATRIX_VALUES, ids=lambda e: str(e).replace("\n", " "))
def test_matrix_equals_sympys_own_value(value):
    found = run(value, AT | MATRICES)
    parts = list(value) if isinstance(value, sp.Tuple) else value
    if isinstance(value, sp.MatrixExpr) and not isinstance(value, sp.MatrixBase):
        parts = value.as_explicit()
    entries = {m[i, j]: MATRICES[m.name][i, j] for m in (A, v) for i in range(3) for j in range(m.shape[1])}
    explicit = {m: sp.Matrix(MATRICES[m.name]) for m in (A, v)}
    parts = parts if isinstance(parts, list) else parts.subs(explicit).doit() if isinstance(parts, sp.Expr) else parts
    expected = np.vectorize(lambda e: float(sp.sympify(e).subs(entries).subs(AT).doit()))(np.array(parts))
    assert found.shape == (() if isinstance(value, sp.Trace | sp.DotProduct) else expected.shape)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-13)


def test_whole_derivatives_by_sympy_agree_with_the_adjoint():
    value = sp.exp(-x * y) * sp.sin(z / y) + sp.sqrt(x**2 + z**2)
    f = gs.compile(value)
    assert f.grad(0.7, 1.3, 2.1) == pytest.approx(
        [float(value.diff(s).subs({x: 0.7, y: 1.3, z: 2.1})) for s in (x, y, z)]
    )


@pytest.mark.parametrize("at", [-1e3, -3.0, -1e-9, 0.0, 1e-9, 0.5, 1e3])
def test_inverse_hyperbolic_functions_keep_their_digits(at):
    t = sp.Symbol("t")
    assert run(sp.asinh(t), {"t": at}) == pytest.approx(math.asinh(at), rel=4e-16)
    assert run(sp.atanh(t), {"t": at / 1001}) == pytest.approx(math.atanh(at / 1001), rel=1e-15)
    assert run(sp.acosh(t), {"t": 1.0 + at * at}) == pytest.approx(math.acosh(1.0 + at * at), rel=1e-15)


def test_slopes_at_zero():
    t = sp.Symbol("t")
    assert gs.compile(sp.asinh(t)).grad(0.0) == pytest.approx(1.0)
    assert run(sp.Heaviside(t), {"t": 0.0}) == 0.5
    assert run(sp.Heaviside(t, 1), {"t": 0.0}) == 1.0


# --- layout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (sp.Add(x * y, y, sp.tanh(x), evaluate=False), "x*y + y + tanh(x)"),
        (x - y, "x - y"),
        (y - x, "y - x"),
        (-x - y, "-x - y"),
        (x - 1, "x - 1"),
        (1 - x, "1 - x"),
        (x + 1, "x + 1"),
        (x / y, "x / y"),
        (1 / y, "1 / y"),
        (x**-2, "1 / x**2"),
        (-x / y, "-x / y"),
        (2 * x / 3, "2*x / 3"),
        (x / 2, "0.5*x"),
        (x / (2 * y), "0.5*x / y"),
        (x / (3 * y**2), "x / (3*y**2)"),
        (x - 2 * y / 3, "x - 2*y/3"),
        (sp.sqrt(x) / sp.sqrt(y), "sqrt(x) / sqrt(y)"),
        (sp.exp(x - y), "exp(x - y)"),
        (sp.log(x, 2), "log(x) / log(2)"),
        (sp.Max(x, y), "max(x, y)"),
        (sp.Piecewise((x, x < y), (y, True)), "x if x < y else y"),
        (sp.And(x < y, y < 3), "x < y and y < 3"),
        (sp.ceiling(x), "ceil(x)"),
        (sp.pi * x, "pi*x"),
        (sp.Rational(1, 3) + x, "x + 1/3"),
    ],
    ids=str,
)
def test_same_graph_as_text(value, same):
    expr, inputs = from_sympy(value)
    parsed, names = parse(same)
    assert to_graph(inputs, [expr]).digest() == to_graph(sorted(names, key=lambda s: s.name), [parsed]).digest()


def test_same_graph_as_operators():
    a, b = symbols("x y")
    expr, inputs = from_sympy(sp.Add(x * y, y, sp.tanh(x), evaluate=False))
    assert to_graph(inputs, [expr]).digest() == to_graph([a, b], [a * b + b + gs.ops.tanh(a)]).digest()


def test_piecewise_is_nested_where():
    assert text(sp.Piecewise((x, x < 0), (y, x < 1), (z, True))).splitlines() == [
        "%0:f64 = input name='x'",
        "%1:f64 = input name='y'",
        "%2:f64 = input name='z'",
        "%3:f64 = constant value=0.0",
        "%4:bool = less %0 %3",
        "%5:f64 = constant value=1.0",
        "%6:bool = less %0 %5",
        "%7:f64 = where %6 %1 %2",
        "%8:f64 = where %4 %0 %7",
        "return %8",
    ]


def test_a_matrix_of_numbers_is_one_constant():
    assert text(sp.Matrix([[1, 2], [3, 4]])).count("\n") == 1


def test_numbers_are_rounded_once():
    for number in (sp.Rational(1, 3), sp.Rational(2**70 + 1, 3**50), sp.Float("0.1", 60), sp.Integer(10**22 + 1)):
        assert run(number, {}) == float(sp.N(number, 60))
    assert (run(sp.pi, {}), run(sp.E, {}), run(sp.oo, {}), run(-sp.oo, {})) == (math.pi, math.e, math.inf, -math.inf)


# --- symbols --------------------------------------------------------------------------------------------------------


def test_symbols_are_sorted_by_name():
    b, a, c = sp.symbols("b a10 a2", positive=True)
    assert [s.name for s in from_sympy(b * c + a)[1]] == ["a10", "a2", "b"]


@pytest.mark.parametrize(
    ("names", "legal"),
    [
        (["x_{1}"], ["x_1"]),
        ([r"\alpha"], ["alpha"]),
        ([r"\alpha_{1}", "alpha_1"], ["alpha_1_1", "alpha_1"]),
        (["lambda"], ["lambda_"]),
        (["x'"], ["x_prime"]),
        (["1x"], ["symbol_1x"]),
        (["+", "-"], ["symbol", "symbol_1"]),
        (["x y", "x-y"], ["x_y", "x_y_1"]),
        ([r"\dot{x}^2"], ["dot_x_2"]),
        (["θ"], ["θ"]),
    ],
)
def test_names_become_identifiers(names, legal):
    expr, inputs = from_sympy(sum(sp.Symbol(n) * k for k, n in enumerate(names, 2)))
    assert [s.name for s in inputs] == legal
    assert expr.shape == ()


def test_one_name_with_two_assumptions():
    message = refusal(sp.Symbol("x", positive=True) + sp.Symbol("x"))
    assert "two different SymPy symbols are named 'x' (a Symbol, positive" in message
    assert "no assumptions" in message
    assert "MatrixSymbol" in refusal(sp.Symbol("A") * A)


def test_sizes_become_dimensions():
    n, m = sp.symbols("n m")
    B = sp.MatrixSymbol("B", n, 3)
    assert str(from_sympy(B)[0].type) == "f64[n, 3]"
    assert [s.name for s in from_sympy(B * v)[1]] == ["B", "v"]
    assert "has the size 2*m" in refusal(sp.MatrixSymbol("C", 2 * m, 3))


def test_known_symbols_are_used():
    a = symbol("x", (4,))
    first, _ = from_sympy(sp.sin(x), {"x": a})
    second, inputs = from_sympy(x * y, {"x": a})
    assert (first.shape, second.shape) == ((4,), (4,))
    assert inputs[0] is a


# --- refusals -------------------------------------------------------------------------------------------------------

t_real = sp.Symbol("t", real=True)
f = sp.Function("f")
REFUSED = [
    (1 + sp.Integral(sp.sin(x) / x, x), ["Integral(sin(x)/x, x)", ".doit()"]),
    (sp.Derivative(f(x), x), ["Derivative", ".doit()"]),
    (sp.Sum(x**z, (z, 1, 3)), ["Sum", ".doit()"]),
    (sp.Limit(x, x, 0), ["Limit", ".doit()"]),
    (f(x) + 1, ["SymPy's f, in f(x)", ".subs(f(x), x**2)"]),
    (sp.Function("sin")(x), ["it has no definition"]),
    (x + sp.I, ["ImaginaryUnit", "real numbers"]),
    (sp.re(x), ["SymPy's re", "real=True"]),
    (sp.zoo, ["ComplexInfinity", "divides by zero"]),
    (sp.nan, ["NaN", "no constant is NaN"]),
    (sp.zeta(x), ["SymPy's zeta, in zeta(x)", "register an op"]),
    (sp.LambertW(x), ["LambertW"]),
    (sp.Heaviside(x).diff(x), ["DiracDelta"]),
    (x + sp.O(x**2), ["Order", ".removeO()"]),
    (sp.Indexed("q", 1), ["Indexed", "MatrixSymbol"]),
    (sp.Piecewise((x, x < 0)), ["Piecewise", "needs a last branch (value, True)"]),
    (sp.Piecewise((x, x < 0), (sp.nan, True)), ["needs a last branch (value, True)"]),
    (sp.Piecewise((x, x < 0), (y, x > 0)), ["needs a last branch (value, True)"]),
    (sp.Integer(10) ** 400, ["Integer", "beyond the range of float64"]),
    (sp.Float("1e400"), ["Float", "beyond the range of float64"]),
    (A.I * v, ["Inverse, in A**(-1)", "write a small inverse out"]),
    (sp.Determinant(A), ["Determinant"]),
    (sp.MatrixSymbol("B", 2, 2)[z, 0], ["MatrixElement", "indices must be numbers"]),
    (A[::2, :], ["MatrixSlice", "use a step that divides the length"]),
    (sp.Identity(sp.Symbol("n")), ["Identity", "its size must be a number"]),
    (sp.Matrix(0, 3, []), ["it has no elements (shape (0, 3))"]),
    (sp.Interval(0, 1), ["SymPy's Interval"]),
    (sp.Lambda(x, x + 1), ["SymPy's Lambda"]),
    (sp.Contains(x, sp.Interval(0, 1)), ["SymPy's Contains"]),
]


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda e: str(e)[:40])
def test_refusal_names_the_node_and_the_remedy(value, words):
    message = refusal(value)
    assert all(word in message for word in words), message


def test_a_branch_that_sympy_proves_to_be_the_last_is_the_default():
    value = sp.Piecewise((x, t_real < 0), (y, sp.And(t_real >= 0, t_real < 1)), (z, t_real >= 1), evaluate=False)
    assert run(value, AT | {"t": 3.0}) == AT["z"]


# --- depth ----------------------------------------------------------------------------------------------------------


def nested(step, depth):
    value = x
    for _ in range(depth):
        value = step(value)
    return value


@pytest.mark.parametrize(
    "step",
    [
        lambda e: sp.sin(e, evaluate=False),
        lambda e: sp.Add(sp.Mul(e, sp.Rational(1, 2), evaluate=False), x, evaluate=False),
        lambda e: sp.Add(x, sp.Mul(-1, e, evaluate=False), evaluate=False),
        lambda e: sp.Pow(sp.Add(e, 2, evaluate=False), sp.Rational(-1, 2), evaluate=False),
    ],
)
def test_thousands_of_levels(step):
    value = nested(step, 3_000)  # Python's own limit of recursion is 1,000
    expr, inputs = from_sympy(value)
    graph = to_graph(inputs, [expr])
    assert np.isfinite(evaluate(graph, [0.5])[graph.outputs[0]])
    assert not from_sympy(value)[0].origin.line  # too long to show


def test_shared_parts_are_read_and_shown_once():
    """Written out, this expression has 2**200 parts."""
    value = nested(lambda e: sp.sin(e, evaluate=False) + sp.cos(e, evaluate=False), 200)
    expr, inputs = from_sympy(value)
    assert len(to_graph(inputs, [expr])) == 601
    assert "SymPy's f, in f(…)" in refusal(f(value))


def test_wide_sums():
    names = sp.symbols("s:2000")
    assert run(sp.Add(*names), {s.name: 1.0 for s in names}) == 2000.0


# --- is_sympy -------------------------------------------------------------------------------------------------------


def test_is_sympy():
    for value in (x, x + 1, sp.true, sp.Matrix([x]), sp.ImmutableMatrix([x]), A, sp.Tuple(x), sp.Array([x])):
        assert is_sympy(value)
    for value in (1.0, "x", symbol("x"), np.float64(1.0), None, sp, sp.Symbol):
        assert not is_sympy(value)


def test_sympy_is_not_imported_to_find_out():
    code = "import sys, gradsmith.frontends.sympy as f; f.is_sympy(1.0); sys.exit('sympy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_origin_shows_the_formula():
    expr, _ = from_sympy(x * y + sp.sin(x))
    assert f"{expr.origin}  {statement_text(expr.origin)}" == "sympy:1  x*y + sin(x)"


# --- back to SymPy --------------------------------------------------------------------------------------------------


def back(formula):
    expr, inputs = parse(formula)
    graph = to_graph(inputs, [expr])
    expressions, named = to_sympy(graph)
    assert list(expressions) == list(graph.nodes)
    assert [s.name for s in named.values()] == [s.name for s in inputs]
    return expressions[graph.outputs[0]]


X, Y = sp.symbols("x y", real=True)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x*y + y + tanh(x)", X * Y + Y + sp.tanh(X)),
        ("x/2 - 0.1*y", X / 2 - 0.1 * Y),
        ("pi*x", sp.pi * X),
        ("abs(x)", sp.Abs(X)),
        ("x if x < y else y", sp.Piecewise((X, X < Y), (Y, True))),
        ("where(x < y and not x > 1, x, 0)", sp.Piecewise((X, (X < Y) & (X <= 1)), (0, True))),
        ("maximum(x, y) + sqrt(x)", sp.Max(X, Y) + sp.sqrt(X)),
        ("expm1(x) + log1p(y)", sp.exp(X) - 1 + sp.log(1 + Y)),
        ("inf*x", sp.oo * X),
        ("-inf + x", -sp.oo + X),
    ],
)
def test_to_sympy(formula, expected):
    assert back(formula) == expected


def test_every_elementwise_op_that_sympy_knows_goes_there_and_keeps_its_value():
    checked = 0
    for op in OPS.values():
        if op.sympy is None or op.kind != "elementwise" or op.name == "astype":
            continue
        for sample in op.samples:
            inputs = [symbol(f"x{i}") for i in range(len(sample))]
            conditions = [s > 0.5 if isinstance(v, bool) else s for s, v in zip(inputs, sample, strict=True)]
            graph = to_graph(inputs, [apply(op, conditions, {})])
            expressions, named = to_sympy(graph)
            at = {named[k]: float(v) for k, v in zip(graph.inputs, sample, strict=True)}
            found = expressions[graph.outputs[0]].subs(at)
            expected = evaluate(graph, [float(v) for v in sample])[graph.outputs[0]]
            assert float(bool(found) if expected.dtype == bool else found) == pytest.approx(float(expected)), op.name
            checked += 1
    assert checked > 60


def test_to_sympy_refuses_arrays_and_unknown_ops():
    a = symbol("a", (3,))
    with pytest.raises(UnsupportedError, match=r"input f64\[3\]: only graphs of scalars"):
        to_sympy(to_graph([a], [a * 2.0]))
    with pytest.raises(UnsupportedError, match="SymPy refuses less of zoo, 0"):
        to_sympy(to_graph([], [symbol_free_division()]))


def symbol_free_division():
    return (gs.constant(1.0) / 0.0) < 0.0
