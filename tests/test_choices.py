"""The branch of a `where` that is not taken never reaches the gradient, whatever its slope."""

import math

import pytest

import gradsmith as gs
from gradsmith.derive.adjoint import gradient

CASES = {
    "sqrt": (lambda x: gs.where(x > 0.0, gs.sqrt(x), 0.0), {0.0: 0.0, -1.0: 0.0, 4.0: 0.25}),
    "sinc": (lambda x: gs.where(gs.not_equal(x, 0.0), gs.sin(x) / x, 1.0), {0.0: 0.0, 0.5: -0.16253703063606657}),
    "log": (lambda x: gs.where(x > 0.0, x * gs.log(x), 0.0), {0.0: 0.0, -2.0: 0.0, 1.0: 1.0}),
    "acos": (lambda x: gs.where(abs(x) < 1.0, gs.acos(x), x), {1.0: 1.0, 2.0: 1.0, 0.0: -1.0}),
    "pow": (lambda x: gs.where(x > 0.0, x**0.5, x), {0.0: 1.0, -3.0: 1.0, 1.0: 0.5}),
    "nested": (
        lambda x: gs.where(x > 0.0, gs.where(x < 1.0, gs.sqrt(1.0 - x), gs.log(x)), -x),
        {0.0: -1.0, -1.0: -1.0, 0.75: -1.0, 1.0: 1.0, 2.0: 0.5},
    ),
    "outside": (lambda x: gs.exp(gs.where(x > 0.0, gs.sqrt(x), 0.0) * 2.0) + x, {0.0: 1.0, -1.0: 1.0}),
}


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_that_of_the_branch_taken(name: str, target: str) -> None:
    formula, slopes = CASES[name]
    f = gs.compile(formula(gs.symbol("x")), target=target)
    for point, want in slopes.items():
        assert f.grad(point) == pytest.approx(want, abs=1e-15), point


@pytest.mark.parametrize("name", CASES)
def test_second_order_is_finite_as_well(name: str) -> None:
    formula, slopes = CASES[name]
    x = gs.symbol("x")
    (first,) = gradient(formula(x), [x])
    second = gs.compile(gradient(first, [x])[0], args=[x])
    assert all(math.isfinite(second(point)) for point in slopes)


def test_elements_choose_for_themselves() -> None:
    v = gs.symbol("v", (3,))
    f = gs.compile(gs.sum(gs.where(v > 0.0, gs.sqrt(v), v)), target="numpy")
    assert f.grad([0.0, 4.0, -1.0]).tolist() == [1.0, 0.25, 1.0]


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_choices_for_all_elements_at_once_leave_the_shape_of_a_slope_alone(target: str) -> None:
    x, a, b = gs.symbol("x", (1,)), *gs.symbols("a b")
    t = gs.broadcast_to(gs.sqrt(x), (2, 1))
    f = gs.compile(gs.where(a > 0.0, gs.sum(t), 0.0) + gs.where(b > 0.0, gs.sum(t * t), 0.0), target=target)
    assert [f.grad([4.0], *p)[0].tolist() for p in ((1, 1), (1, -1), (-1, 1))] == [[2.5], [0.5], [2.0]]
    assert [f.grad([0.0], *p)[0].tolist() for p in ((-1, -1), (1, -1))] == [[0.0], [math.inf]]


def test_ops_of_finite_slope_cost_nothing_more() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile(gs.where(x > 0.0, gs.erf(x), y) * 2.0)
    assert f.cost.grad.get("select", 0) <= 2


def test_explain_passes_nothing_to_the_branch_that_is_not_taken() -> None:
    x = gs.symbol("x")
    text = gs.compile(gs.where(x > 0.0, gs.sqrt(x), 2.0 * x)).explain(x=0.0)
    assert "d_x = 2.0000" in text
    assert "nan" not in text
