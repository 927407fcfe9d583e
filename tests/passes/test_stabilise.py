"""Stable forms: each law is found, is far better where it says so, and is nowhere worse; 500 digits decide."""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate_mp
from gradsmith.passes.stabilise import LAWS, Law, _promising, _table, stabilise
from gradsmith.verify import verify

BUILT = {row.law.text for rows in _table().values() for row in rows}
KNOWN = [law for law in LAWS if law.text in BUILT and not law.alone]  # those about inverses: below

#: Where the formula itself is no number though it has a limit: the law, the operands, the limit.
LIMITS = {
    ("(1 - cos(x))/x^2 -> (sin(x/2)/(x/2))^2/2", (0.0,)): 0.5,
    ("(1 - cos(x))/x -> sin(x/2)*sin(x/2)/(x/2)", (0.0,)): 0.0,
    ("(1 - cos(x))/sin(x) -> tan(x/2)", (0.0,)): 0.0,
    ("sin(x)/x -> sin_over_x(x)", (0.0,)): 1.0,
    ("sinh(x)/x -> sinh_over_x(x)", (0.0,)): 1.0,
    ("tanh(x)/x -> tanh_over_x(x)", (0.0,)): 1.0,
    ("(exp(x) - 1)/x -> expm1_over_x(x)", (0.0,)): 1.0,
    ("x/sin(x) -> x_over_sin(x)", (0.0,)): 1.0,
    ("x/sinh(x) -> x_over_sinh(x)", (0.0,)): 1.0,
    ("x/tanh(x) -> x_over_tanh(x)", (0.0,)): 1.0,
    ("x/(exp(x) - 1) -> x_over_expm1(x)", (0.0,)): 1.0,
    ("x*log(x) -> xlogx(x)", (0.0,)): 0.0,
}  # fmt: skip

#: Where the formula is no real number though rounding makes one of it: no harm in the NaN.
OUTSIDE: dict[str, Callable[..., bool]] = {
    "log(1 - exp(x)) -> log1mexp(x)": lambda x: x > 0.0,
    "log1p(-exp(x)) -> log1mexp(x)": lambda x: x > 0.0,
}

#: Where both forms have the digits of numbers of this size, and a result near 0 has no more.
SCALE = {"log(softmax(x)) -> log_softmax(x)": 1.0, "log(exp(x) + exp(y)) -> logaddexp(x, y)": 1.0}
SLACK = {"1 - tanh(x)^2 -> sech(x)^2": 2.0}  # units in the last place; it rounds four times
TINY = float(np.finfo(float).tiny)
SIZES = [5e-324, 1e-310, 1e-300, 1e-160, 1e-30, 1e-12, 3e-9, 1e-5, 2e-3, 0.07, 0.3, 0.5, 0.7, 0.99, 1.0, 1.0 + 1e-9,
         1.3, 1.57, 2.0, 3.14, 7.0, 20.0, 37.0, 100.0, 350.0, 709.0, 745.0, 1e4, 1e9, 1e160, 1.7e308]  # fmt: skip
LINE = [s * m for m in SIZES for s in (1.0, -1.0)] + [0.0, -0.0, np.inf, -np.inf, np.nan]
PAIRS = [*itertools.product(LINE[6::5], LINE[::7]), *((x, x * (1.0 + d)) for x in LINE for d in (0.0, 1e-9, -1e-14))]
VECTORS = [
    [a * s, b * s, c * s]
    for s in (1e-300, 1e-160, 1e-8, 1.0, 40.0, 700.0, 1e4, 1e160)
    for a, b, c in ((1.0, 0.5, -0.3), (-1.0, -1.0, -1.0), (0.9, -0.9, 0.0), (0.0, 0.0, 0.0))
] + [[-np.inf, 0.0, 1.0], [np.inf, 1.0, 2.0], [np.nan, 1.0, 2.0], [-np.inf] * 3]  # fmt: skip


def symbols_of(law: Law) -> list[gs.Expr]:
    return [gs.symbol(name, (3,) if law.stable is None else ()) for name in inspect.signature(law.naive).parameters]


def grid(law: Law) -> list[tuple[Any, ...]]:
    count = len(inspect.signature(law.naive).parameters)
    points = [(v,) for v in VECTORS] if law.stable is None else [(x,) for x in LINE] if count == 1 else PAIRS
    return points


def exact(law: Law, graph: gs.Graph, point: Sequence[Any]) -> list[float] | None:
    """The formula itself with 1200 digits; None where it is no real number, or a pole."""
    key = (law.text, tuple(point))
    if law.stable is not None and key in LIMITS:
        return [LIMITS[key]]
    with mp.workdps(1200), np.errstate(all="ignore"):
        try:
            found = np.ravel(evaluate_mp(graph, [np.asarray(v, dtype=object) for v in point])[graph.outputs[0]])
        except (ArithmeticError, ValueError, MemoryError):
            return None
        return None if any(mp.isnan(v) for v in found) else [float(v) for v in found]


def ulps(got: float, want: float, scale: float = 0.0) -> float:
    """The distance in units in the last place of `want`; all numbers below the normal range count as equal."""
    if max(abs(got), abs(want)) < TINY or got == want or (math.isnan(got) and math.isnan(want)):
        return 0.0
    if not math.isfinite(got) or not math.isfinite(want):
        return math.inf
    return float(abs(mp.mpf(got) - mp.mpf(want)) / math.ulp(max(abs(want), scale)))


def around(point: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The point and a few beside it: at a single one, either form may be right by luck."""
    yield tuple(point)
    for k in (1, 3, 4, 7, 11):
        yield tuple((np.asarray(v) * (1.0 - k * 2.0**-11)).tolist() for v in point)


@pytest.mark.parametrize("law", KNOWN, ids=lambda law: law.text)
def test_law(law: Law) -> None:
    """Never worse by more than one unit in the last place; where the law claims a gain, at least ten times better."""
    xs = symbols_of(law)
    expression = law.naive(*xs)
    options: dict[str, Any] = {"args": xs, "target": "numpy", "selftest": False, "derivatives": ("value",)}
    naive, stable = gs.compile(expression, stabilize=False, **options), gs.compile(expression, **options)
    assert naive.report == ()
    assert stable.report[-1].law == law.text
    assert stable.report[-1].times == 1

    def errors(point: Sequence[Any]) -> tuple[float, float]:
        """How far the two forms are off at most; an infinity or NaN that is right must stay what it is."""
        before, after = (np.ravel(f(*point)).tolist() for f in (naive, stable))
        wanted = exact(law, naive.graph, point)
        if wanted is None:
            assert all(
                math.isnan(a) or a == b or OUTSIDE.get(law.text, bool)(*point)
                for a, b in zip(before, after, strict=True)
            ), (point, before, after)
            return 0.0, 0.0
        before, after = (
            [ulps(v, w, SCALE.get(law.text, 0.0)) for v, w in zip(vs, wanted, strict=True)] for vs in (before, after)
        )
        assert all(a > 2.0 or b <= 4.0 for a, b in zip(before, after, strict=True)), (point, before, after, wanted)
        return max(before), max(after)

    for point in law.at:
        worst = errors(point)
        assert worst[0] > 10 * worst[1], (point, worst)
        assert worst[1] <= 4.0, (point, worst)
    slack = SLACK.get(law.text, 1.0)
    for point in grid(law):
        worst = errors(point)
        if worst[1] > worst[0] + slack:
            worst = tuple(map(max, *map(errors, around(point))))
        assert worst[1] <= worst[0] + slack, (point, worst)


def test_every_law_is_one_of_a_kind() -> None:
    assert len({law.text for law in LAWS}) == len(LAWS)
    assert len(KNOWN) >= 44
    assert all(law.at or "slope" in law.gains or "curvature" in law.gains or law.alone for law in LAWS)


SPELLINGS: dict[str, list[Callable[[gs.Expr], gs.Expr]]] = {
    "exp(x) - 1 -> expm1(x)": [
        lambda x: -1 + gs.exp(x), lambda x: gs.exp(x) + (-1), lambda x: 1 - gs.exp(x), lambda x: -(1 - gs.exp(x)),
    ],
    "log(1 + x) -> log1p(x)": [lambda x: gs.log(x + 1), lambda x: gs.log(1 - x), lambda x: gs.log(-x + 1)],
    "1/(1 + exp(-x)) -> sigmoid(x)": [
        lambda x: 1 / (gs.exp(-x) + 1), lambda x: (1 + gs.exp(-x)) ** -1, lambda x: 1 / (1 + gs.exp(x)),
        lambda x: gs.reciprocal(1 + gs.exp(-2 * x)),
    ],
    "1 - cos(x) -> versin(x)": [lambda x: gs.cos(x) - 1, lambda x: -gs.cos(x) + 1],
    "x*log(x) -> xlogx(x)": [lambda x: gs.log(x) * x, lambda x: -(x * gs.log(x)), lambda x: -x * gs.log(x)],
    "sqrt(x*x) -> |x|": [lambda x: gs.sqrt(x**2), lambda x: gs.sqrt(gs.square(x)), lambda x: (x * x) ** 1 * 0 + gs.sqrt(x * x)],
    "sin(x)/x -> sin_over_x(x)": [lambda x: gs.sin(2 * x) / (2 * x)],
    "(exp(x) - exp(-x))/(exp(x) + exp(-x)) -> tanh(x)": [
        lambda x: (gs.exp(x) - gs.exp(-x)) / (gs.exp(-x) + gs.exp(x)),
        lambda x: (gs.exp(2 * x) - gs.exp(-2 * x)) / (gs.exp(2 * x) + gs.exp(-2 * x)),
    ],
    "log(sum(exp(x))) -> logsumexp(x)": [lambda x: gs.log(gs.sum(gs.exp(gs.stack([x, 2 * x]))))],
    "sqrt(sum(x*x)) -> vector_norm(x)": [lambda x: gs.sum(gs.sqrt(gs.sum(gs.stack([[x, 2 * x], [x, x]]) ** 2, axis=1)))],
}  # fmt: skip


@pytest.mark.parametrize("law", SPELLINGS)
def test_other_spellings(law: str) -> None:
    for number, spelling in enumerate(SPELLINGS[law]):
        x = gs.symbol("x")
        plain, stable = (gs.compile(spelling(x), target="numpy", selftest=False, stabilize=s) for s in (False, True))
        assert law in [r.law for r in stable.report], number
        for point in (0.3, 1.7):
            if "log(1" not in law or point < 1.0:
                assert stable(point) == pytest.approx(plain(point), rel=1e-13)
                assert stable.grad(point) == pytest.approx(plain.grad(point), rel=1e-12)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, y: gs.exp(x) - y,
        lambda x, y: gs.log(2 + gs.exp(x)),
        lambda x, y: gs.exp(x) - gs.exp(y),
        lambda x, y: gs.sin(x) / y,
        lambda x, y: x * gs.log(y),
        lambda x, y: 1 / (1 + gs.exp(x) * y),
        lambda x, y: gs.sqrt(x * y),
        lambda x, y: gs.exp(gs.log(x)),  # NaN below 0 stays
        lambda x, y: (1 - gs.cos(x)) / y + gs.cos(y) - 2,
    ],
)
def test_what_only_looks_alike_stays(formula: Callable[..., gs.Expr]) -> None:
    x, y = gs.symbols("x y")
    laws = [r.law for r in gs.compile(formula(x, y), args=[x, y], selftest=False).report if not r.in_gradient]
    assert laws in ([], ["1 - cos(x) -> versin(x)"])


def test_arrays_and_constants_that_are_broadcast() -> None:
    v = gs.symbol("v", (2, 3))
    f = gs.compile(gs.sum(gs.log(1 + gs.exp(v)) + 1 / (1 + gs.exp(-v)) + (1 - gs.tanh(v) ** 2)), target="numpy")
    assert [r.law for r in f.report] == [
        "log(1 + exp(x)) -> softplus(x)", "1/(1 + exp(-x)) -> sigmoid(x)", "1 - tanh(x)^2 -> sech(x)^2"
    ]  # fmt: skip
    assert f(np.full((2, 3), 1e3)) == 6e3 + 6


def test_axes_of_reductions_stay() -> None:
    v = gs.symbol("v", (2, 3))
    x = np.array([[1e3, 1.0, 2.0], [0.5, 1e3, 1e3]])
    for e, want in (
        (gs.log(gs.sum(gs.exp(v), axis=1)), [1e3, 1e3 + math.log(2)]),
        (gs.log(gs.sum(gs.exp(v), axis=0, keepdims=True)), [[1e3, 1e3, 1e3]]),
        (gs.exp(v) / gs.sum(gs.exp(v), axis=1, keepdims=True), [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        (gs.exp(v) / gs.expand_dims(gs.sum(gs.exp(v), axis=1), 1), [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]),
        (gs.exp(v) / gs.sum(gs.exp(v)), [[1 / 3, 0.0, 0.0], [0.0, 1 / 3, 1 / 3]]),
        (gs.sqrt(gs.sum(v * v * 1e-12 * 1e12, axis=1)), np.hypot.reduce(x, axis=1).tolist()),
    ):
        f = gs.compile(e, target="numpy", selftest=False, derivatives=("value",))
        np.testing.assert_allclose(f(x), want, rtol=1e-15)


def test_sums_beside_other_rows_are_no_softmax() -> None:
    v = gs.symbol("v", (2, 2))
    f = gs.compile(gs.exp(v) / gs.sum(gs.exp(v), axis=1), target="numpy", selftest=False, derivatives=("value",))
    x = np.array([[0.1, 0.2], [0.7, -0.4]])
    np.testing.assert_allclose(f(x), np.exp(x) / np.exp(x).sum(axis=1), rtol=1e-15)
    assert f.report == ()


def test_who_shifts_for_himself_is_left_alone() -> None:
    v = gs.symbol("v", (3,))
    m = gs.max(v)
    f = gs.compile(m + gs.log(gs.sum(gs.exp(v - m))), target="numpy", selftest=False)
    assert f.report == ()


def test_forms_that_only_the_gradient_has() -> None:
    x = gs.symbol("x")
    f = gs.compile(x - gs.sin(x), selftest=False)
    (rewrite,) = f.report
    assert (rewrite.law, rewrite.in_gradient) == ("1 - cos(x) -> versin(x)", True)
    assert f.grad(1e-9) == pytest.approx(5e-19, rel=1e-15)
    assert gs.compile(x - gs.sin(x), selftest=False, stabilize=False).grad(1e-9) == 0.0


def loss(x: Any) -> Any:
    p = 1 / (1 + gs.exp(-x))
    return -gs.log(p) - 2 * gs.log(p)


def test_the_report_names_the_law_and_the_line() -> None:
    f = gs.compile(loss, selftest=False)
    assert [(r.law, r.file, r.statement, r.times) for r in f.report] == [
        ("1/(1 + exp(-x)) -> sigmoid(x)", "test_stabilise.py", "p = 1 / (1 + gs.exp(-x))", 1),
        ("log(sigmoid(x)) -> -softplus(-x)", "test_stabilise.py", "return -gs.log(p) - 2 * gs.log(p)", 1),
    ]
    line = f.report[0].line
    assert str(f.report) == (
        "2 rewritten for stability:\n"
        f"  test_stabilise.py:{line}  1/(1 + exp(-x)) -> sigmoid(x)\n"
        "      p = 1 / (1 + gs.exp(-x))\n"
        f"  test_stabilise.py:{line + 1}  log(sigmoid(x)) -> -softplus(-x)\n"
        "      return -gs.log(p) - 2 * gs.log(p)"
    )
    assert str(gs.compile("x*y", selftest=False).report) == "no formula was rewritten"
    assert gs.compile(loss, selftest=False, stabilize=False).report == ()


def test_a_graph_that_no_law_fits_is_not_rebuilt() -> None:
    x, y = gs.symbols("x y")
    graph = to_graph([x, y], [gs.tanh(x * y) + gs.exp(x) * 1.0])
    assert stabilise(graph) == (graph, ())


@pytest.mark.parametrize(
    ("formula", "promises"),
    [
        (lambda x: 1.0 - gs.cos(x), True),
        (lambda x: -1.0 * gs.cos(x) + 1.0, True),
        (lambda x: (0.5 * gs.cos(x)) * -2.0 + 1.0, True),
        (lambda x: gs.cos(x) - 1.0, True),
        (lambda x: 1.0 + gs.cos(x), False),
        (lambda x: 1.0 - -1.0 * gs.cos(x), False),
        (lambda x: gs.square(gs.cos(x)) + 0.0, False),
        (lambda x: gs.exp(x) - 2.0, False),
        (lambda x: gs.erf(x) + 1.0, True),
    ],
)
def test_sums_with_other_numbers_than_those_of_a_law_are_not_tried(
    formula: Callable[..., gs.Expr], promises: bool
) -> None:
    x = gs.symbol("x")
    assert bool(_promising(to_graph([x], [formula(x)]))) == promises


def test_what_comes_out_is_a_valid_graph() -> None:
    x = gs.symbol("x")
    graph, report = stabilise(to_graph([x], [gs.log(1 + gs.exp(x)) + (1 - gs.cos(x))]))
    assert verify(graph).text() == (
        "%0:f64 = input name='x'\n%1:f64 = softplus %0\n%2:f64 = versin %0\n%3:f64 = add %1 %2\nreturn %3"
    )
    assert len(report) == 2


# --- inverses ---------------------------------------------------------------------------------------------------------

LEFT, RIGHT = "inv(a) @ b -> solve(a, b)", "b @ inv(a) -> solve(a.T, b.T).T"
A, B, V = gs.symbol("A", (5, 5)), gs.symbol("B", (5, 2)), gs.symbol("V", (5,))
inv = gs.linalg.inv


def matrices() -> Iterator[np.ndarray]:
    """Of condition numbers up to 1e12: Hilbert's, diagonals beside a constant, scaled rows or columns, random ones."""
    generator, scales = np.random.default_rng(3), 10.0 ** -np.linspace(0.0, 10.0, 5)
    yield 1.0 / (np.arange(5.0) + np.arange(5.0)[:, None] + 1.0)
    yield np.diag(scales) + 1.0
    for _ in range(4):
        plain, other = generator.normal(size=(2, 5, 5))
        yield from (
            plain,
            plain * scales,
            plain * scales[:, None],
            np.linalg.qr(plain)[0] * scales @ np.linalg.qr(other)[0],
        )


@pytest.mark.parametrize("law", [LEFT, RIGHT])
@pytest.mark.parametrize("target", ["python", "numpy"])
def test_solutions_are_more_exact_than_products_with_inverses(law: str, target: str) -> None:
    """The backward error is always that of a few roundings, and the error is smaller on average, 50 digits say.

    At a single point, either error may be the smaller one by luck, within what the condition number lets through.
    """
    product = inv(A) @ V if law == LEFT else V @ inv(A)
    options: dict[str, Any] = {"args": [A, V], "target": target, "selftest": False, "derivatives": ("value",)}
    naive, stable = (gs.compile(product, stabilize=s, **options) for s in (False, True))
    assert naive.report == ()
    assert [r.law for r in stable.report] == [law]
    gains, ratios = [], []
    for a in matrices():
        turned = a if law == LEFT else a.T
        for b in (turned @ np.ones(5), np.array([0.3, -1.0, 0.5, 0.1, 0.7])):
            backward, errors = [], []
            with mp.workdps(50):
                matrix, right = mp.matrix(turned.tolist()), mp.matrix(b.tolist())
                exact = mp.lu_solve(matrix, right)
                for f in (naive, stable):
                    x = mp.matrix(list(map(float, f(a.tolist(), b.tolist()))))
                    size = mp.mnorm(matrix, mp.inf) * mp.norm(x, mp.inf) + mp.norm(right, mp.inf)
                    backward.append(float(mp.norm(matrix * x - right, mp.inf) / size))
                    errors.append(float(mp.norm(x - exact, mp.inf) / mp.norm(exact, mp.inf)))
            assert backward[1] < 4e-16, (a, b, backward)
            assert errors[1] <= max(errors[0], 5 * 2.0**-53 * np.linalg.cond(a)), (a, b, errors)
            ratios.append(max(errors[1], 1e-17) / max(errors[0], 1e-17))
            gains.append(backward[0] / max(backward[1], 1e-17))
    assert max(gains) > 1e6
    # NumPy has to factorize a.T, whose pivots may be worse: its columns are the rows that are scaled here
    mean = math.prod(ratios) ** (1.0 / len(ratios))
    assert mean < (2.0 if target == "numpy" and law == RIGHT else 1.0)
    assert naive([[1.0] * 5] * 5, [1.0] * 5) == pytest.approx([math.nan] * 5, nan_ok=True)
    assert stable([[1.0] * 5] * 5, [1.0] * 5) == pytest.approx([math.nan] * 5, nan_ok=True)


def test_gradients_of_solutions_for_inverses() -> None:
    def formula(a: Any, b: Any, v: Any, inverse: Callable[[Any], Any]) -> Any:
        return ((b.T @ inverse(a) @ b) ** 2).sum() + v @ inverse(a) @ v + ((inverse(a) @ b) ** 3).sum()

    f = gs.compile(formula(A, B, V, inv), args=[A, B, V], target="numpy", selftest=False)
    assert [(r.law, r.times) for r in f.report if not r.in_gradient] == [(RIGHT, 2), (LEFT, 1)]
    assert "linalg.inv" not in f.source
    generator = np.random.default_rng(1)
    at = [generator.normal(size=x.shape) for x in (A, B, V)]
    tensors = [torch.tensor(x, requires_grad=True) for x in at]
    for got, want in zip(f.grad(*at), torch.autograd.grad(formula(*tensors, torch.linalg.inv), tensors), strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-10, atol=1e-10 * float(want.abs().max()))


@pytest.mark.parametrize(
    "formula",
    [
        lambda: gs.sum(inv(A)) + gs.sum(inv(A) @ V),  # needed itself
        lambda: gs.sum(inv(A) @ inv(A)),
        lambda: gs.sum(gs.linalg.matrix_power(A, -3)),
        lambda: gs.sum(gs.linalg.slogdet(A).logabsdet),  # the inverse is the rule's
    ],
)
def test_inverses_that_stay(formula: Callable[[], gs.Expr]) -> None:
    assert gs.compile(formula(), target="numpy", selftest=False).report == ()
