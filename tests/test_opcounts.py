"""Operation counts: as few as by hand where the issue says how few that is."""

import numpy as np
import pytest

import gradsmith as gs


def speelpenning() -> gs.Expr:
    product = 1.0
    for x in gs.symbols("x1 x2 x3 x4 x5 x6 x7 x8"):
        product = product * x
    return product  # type: ignore[return-value]


def arm(lengths: list[float]) -> gs.Expr:
    """Squared distance of the tip of a planar arm of six links from a target."""
    angle = x = y = 0.0
    for length, q in zip(lengths, gs.symbols("q1 q2 q3 q4 q5 q6"), strict=True):
        angle = angle + q if isinstance(angle, gs.Expr) else q
        x, y = x + length * gs.cos(angle), y + length * gs.sin(angle)
    return (x - 1.5) ** 2 + (y - 2.5) ** 2


@pytest.mark.parametrize("target", ["python", "c"])
def test_speelpenning_s_product(target: str) -> None:
    f = gs.compile(speelpenning(), target=target)
    assert f.cost.grad["mul"] <= 19
    assert set(f.cost.grad) == {"mul"}
    values = [1.5, -0.5, 2.0, 3.0, 0.25, -1.0, 4.0, 0.5]
    assert f.grad(*values) == pytest.approx([np.prod(values) / v for v in values], rel=1e-14)


def test_speelpenning_s_product_of_an_array() -> None:
    x = gs.symbol("x", (8,))
    assert gs.compile(gs.prod(x)).cost.grad["mul"] <= 19


@pytest.mark.parametrize("lengths", [[1.0] * 6, [0.5, 0.7, 0.9, 1.1, 1.3, 1.5]])
def test_planar_arm(lengths: list[float]) -> None:
    f = gs.compile(arm(lengths), target="c", wrt=["q1", "q2", "q3", "q4", "q5", "q6"])
    assert f.cost.arithmetic("grad") <= 60
    assert f.cost.arithmetic("value_and_grad") <= 62
    assert f.cost.grad["sin"] == f.cost.grad["cos"] == 6
    assert f.check().ok


def test_value_and_gradient_share_their_work() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile(gs.exp(x * y) * gs.sin(x * y))
    assert f.cost.value_and_grad["exp"] == f.cost.value_and_grad["sin"] == 1
    total = sum(f.cost.value.values()) + sum(f.cost.grad.values())
    assert sum(f.cost.value_and_grad.values()) < total


def test_counts_of_arrays_count_elements() -> None:
    A, x = gs.symbol("A", (3, 4)), gs.symbol("x", (4,))
    f = gs.compile(gs.sum(A @ x), target="numpy")
    assert f.cost.value == {"mul": 12, "add": 9 + 2}
    assert f.cost.ratio == pytest.approx(sum(f.cost.value_and_grad.values()) / 23)
    assert "total" in str(f.cost)


def test_an_input_that_nothing_depends_on_costs_nothing() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile(gs.exp(x), args=[x, y], wrt="y")
    assert f.cost.grad == {}
    assert f.grad(1.0, 2.0) == 0.0
