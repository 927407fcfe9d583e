"""Quotients share a reciprocal where that is safe or asked for; the user's own where their rounding is lost in others."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.origin import Origin
from gradsmith.passes.share_reciprocals import share_reciprocals
from gradsmith.trace import recording
from gradsmith.verify import verify

a, b, c, d = gs.symbols("a b c d")
v = gs.symbol("v", (4,))


def shared(denominator: object, role: str = "cotangent") -> tuple[str, str]:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        x = denominator()  # type: ignore[operator]
        graph = to_graph([a, b, c, d, v], [a / x, b / x, c / x])
    return graph.text(), verify(share_reciprocals(graph)).text()


@pytest.mark.parametrize(
    "denominator", [lambda: gs.sqrt(d), lambda: gs.cosh(d), lambda: 1.0 + gs.square(d), lambda: 1.0 + gs.exp(d)]
)
def test_three_quotients_become_products(denominator: object) -> None:
    before, after = shared(denominator)
    assert before.count("= div") == 3
    assert (after.count("= div"), after.count("= reciprocal"), after.count("= mul")) == (0, 1, 3)


@pytest.mark.parametrize("denominator", [lambda: d, lambda: gs.exp(d), lambda: gs.square(d), lambda: d - 1.0])
def test_a_denominator_that_may_be_tiny_divides(denominator: object) -> None:
    """For 1/1e-310 is infinite, and 0*(1/1e-310) NaN."""
    before, after = shared(denominator)
    assert before == after


def test_the_user_s_quotients_stay() -> None:
    before, after = shared(lambda: gs.sqrt(d), role="primal")
    assert before == after


def test_two_quotients_stay() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([a, b, d], [a / gs.sqrt(d), b / gs.sqrt(d)])
    assert share_reciprocals(graph) is graph


def test_an_array_divided_by_a_scalar() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([v, d], [v / gs.sqrt(d)])
    changed = verify(share_reciprocals(graph))
    assert "reciprocal" in changed.text()
    point = [np.array([1.0, -2.0, 0.0, 3.0]), 0.7]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=3e-16)


@pytest.mark.parametrize("at", [0.0, 5e-324, 1e300, np.inf, np.nan, -1.0])
def test_the_ends_of_the_range_are_kept(at: float) -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([a, b, c, d], [x / gs.sqrt(d) for x in (a, b, c)])
    point = [0.0, 1.0, -np.inf, at]
    values = [[float(evaluate(g, point)[k]) for k in g.outputs] for g in (graph, share_reciprocals(graph))]
    np.testing.assert_allclose(values[1], values[0], rtol=4e-16)


# --- behind a question ------------------------------------------------------------------------------------------------

p, q, r, s, t = gs.symbols("p q r s t")
ENDS = [0.0, -0.0, 5e-324, 2e-310, -1e-300, 1e-290, 0.3, -7.0, 1e290, 1e308, -np.inf, np.nan]


def quotients(denominator: gs.Expr, *numerators: gs.Expr, role: str = "cotangent") -> list[gs.Expr]:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        return [n / denominator for n in numerators]


@pytest.mark.parametrize("at", ENDS)
@pytest.mark.parametrize("numerators", [(0.0, 1.0, -np.inf), (-0.0, 5e-324, np.nan), (3.0, 1e300, -2e-308)])
def test_a_denominator_of_any_size_is_asked_for_its_size(at: float, numerators: tuple[float, ...]) -> None:
    graph = to_graph([a, b, c, d], quotients(d, a, b, c))
    changed = verify(share_reciprocals(graph, branches=True))
    assert [changed.text().count(op) for op in ("= reciprocal", "= mul", "= where")] == [1, 3, 3]
    want, got = ([float(evaluate(g, [*numerators, at])[k]) for k in g.outputs] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=4e-16)
    assert np.array_equal(np.signbit(got), np.signbit(want)) or np.isnan(want).any()


def test_a_number_that_multiplies_them_all_multiplies_the_reciprocal() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([a, b, c, d], [2.0 * x / d for x in (a, b, c)])
    text = share_reciprocals(graph, branches=True).text()
    assert text.count("= mul") == 1 + 3 + 3  # 2*r, then a product or a quotient by d


def of_the_user(*readers: Any) -> str:
    """Three quotients of sums of products, as read by the functions, after the pass."""
    rotated = [p * q + r * s, p * r - q * s, p * s + q * r]
    with recording() as state:
        state.origin = Origin(role="primal")
        length = gs.square(p) + gs.square(q)
        results = [reader(x / length) for reader, x in zip(readers, rotated, strict=True)]
    return verify(share_reciprocals(to_graph([p, q, r, s, t], results), branches=True)).text()


def test_quotients_of_the_user_s_sums_of_products() -> None:
    text = of_the_user(lambda x: x - t, lambda x: x * t, lambda x: x + 1.0)
    assert [text.count(op) for op in ("= reciprocal", "= where")] == [1, 3]
    assert "abs" not in text  # squares are never negative


@pytest.mark.parametrize(
    "reader",
    [lambda x: x, gs.floor, gs.log, lambda x: gs.where(x >= 1.0, p, q), lambda x: 1.0 / x],
    ids=["result", "step", "function", "comparison", "quotient"],
)
def test_a_rounding_that_might_be_noticed_is_not_made(reader: Any) -> None:
    assert "reciprocal" not in of_the_user(lambda x: x - t, lambda x: x * t, reader)


def test_quotients_of_what_is_not_rounded_stay_the_user_s() -> None:
    with recording() as state:
        state.origin = Origin(role="primal")
        norm = gs.square(p) + gs.square(q)
        graph = to_graph([p, q, r, s], [x / d + s for d in (norm, p + q) for x in (p, q, r)])
        sums = to_graph([p, q, r, s, t], [(x * s + t) / r + s for x in (p, q, s)])
    assert share_reciprocals(graph, branches=True) is graph
    assert share_reciprocals(sums, branches=True) is sums


def test_arrays_do_not_ask() -> None:
    with recording() as state:
        state.origin = Origin(role="cotangent")
        graph = to_graph([v, d], [v / d])
    assert share_reciprocals(graph, branches=True) is graph


# --- in C -------------------------------------------------------------------------------------------------------------

ASKED = "> 1e-280"


def turned(q: Any, v: Any) -> Any:
    """Squares of a vector that is turned in a plane by a complex number of any length, and of its part along it."""
    n = q[0] * q[0] + q[1] * q[1]
    x = (q[0] * v[0] - q[1] * v[1]) / n - 1.0
    y = (q[1] * v[0] + q[0] * v[1]) / n - 2.0
    z = (q[0] * v[0] + q[1] * v[1]) / n - 3.0
    return x * x + y * y + z * z


def in_c(**options: Any) -> Any:
    return gs.compile(turned, args=((2,), (2,)), wrt=(0, 1), target="c", selftest=False, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_c_divides_once_at_ordinary_sizes_and_is_right_at_all(dtype: str) -> None:
    f = in_c(dtype=dtype)
    assert (ASKED if dtype == "float64" else "1e-30") in f.source
    exact = gs.compile(turned, args=((2,), (2,)), wrt=(0, 1), selftest=False)
    rtol, sizes = (1e-12, (1e-145, 1.0, 1e144)) if dtype == "float64" else (1e-4, (1e-17, 1.0, 1e16))
    for size in sizes:
        q = np.array([0.6, -1.1], dtype) * np.asarray(size, dtype)
        v = np.array([0.4, 0.9], dtype) * np.asarray(size, dtype)
        value, (dq, dv) = f.value_and_grad(q, v)
        want, (wq, wv) = exact.value_and_grad(q.astype(float).tolist(), v.astype(float).tolist())
        np.testing.assert_allclose([value, *dq, *dv], [want, *wq, *wv], rtol=rtol)
        assert f(q, v) == value  # the same to the last bit, alone and with the gradient


def test_c_says_once_why_it_asks() -> None:
    def two(q: Any, v: Any) -> Any:
        return turned(q, v) + turned(v, q)

    code = gs.compile(two, args=((2,), (2,)), target="c", derivatives="value", selftest=False).source.splitlines()
    asking = [k for k, line in enumerate(code) if ASKED in line]
    saying = [k for k, line in enumerate(code) if "// at this size, a reciprocal neither overflows" in line]
    assert len(asking) == 2
    assert saying == [asking[0] - 1]


def test_points_in_vectors_and_strict_code_divide() -> None:
    points = in_c(batch=True, derivatives="value_and_grad").source
    assert ASKED in points
    assert ASKED not in points[points.index("_lanes") :]
    assert ASKED not in in_c(strict=True).source


@pytest.mark.parametrize(
    ("denominator", "left"),
    [(lambda: gs.sqrt(d), 1), (lambda: 1.0 + gs.exp(d), 1), (lambda: gs.exp(d), 2), (lambda: d, 2)],
)
def test_a_reciprocal_of_the_user_s_is_taken(denominator: Any, left: int) -> None:
    """One quotient is enough then, but for denominators that may be tiny, or where `2/d` is all there is."""
    for one, divisions in ((1.0, left), (2.0, 2)):
        x = denominator()
        over = one / x
        with recording() as state:
            state.origin = Origin(role="cotangent")
            graph = to_graph([a, d], [over, a / x])
        changed = verify(share_reciprocals(graph))
        assert sum(n.op in ("div", "reciprocal") for n in changed.ordered()) == divisions
        for point in ([0.3, 1.7], [0.0, np.inf], [np.nan, 2.0], [1.0, 0.0]):
            with np.errstate(all="ignore"):
                before, after = evaluate(graph, point), evaluate(changed, point)
            for old, new in zip(graph.outputs, changed.outputs, strict=True):
                np.testing.assert_allclose(after[new], before[old], rtol=4e-16)


def test_gradients_of_normalised_rows_divide_once() -> None:
    def loss(x: Any) -> Any:
        return gs.sum((x * (1.0 / gs.sqrt(gs.sum(x * x) + 0.1))) ** 3)

    f = gs.compile(loss, args=((5,),), target="python", derivatives="value_and_grad", selftest=False)
    assert f.source.count("_div(") - f.source.count("def _div(") == 1
