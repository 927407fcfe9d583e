"""Derivatives that are zero because only piecewise constant ops read an argument: an error where they were asked for."""

from typing import Any

import pytest

import gradsmith as gs

c, x, t = gs.symbol("c"), gs.symbol("x", (3,)), gs.symbol("t", (3,))

#: name -> a scalar that reads x through ops without a slope alone, and what the error must name
FLAT: dict[str, tuple[Any, str]] = {
    "rounding": (lambda x: gs.sum(gs.floor(x * 2.0)), "floor (piecewise constant)"),
    "sign": (lambda x: gs.sum(gs.sign(x) * c), "sign (piecewise constant)"),
    "floor division": (lambda x: gs.sum(c // x), "floor_divide"),
    "conversion": (lambda x: gs.sum(gs.astype(gs.astype(x, "int64"), "float64")), "astype (an integer)"),
    "comparison": (lambda x: gs.sum(gs.where(x > 0.0, c, 2.0)), "greater (a condition)"),
    "index": (lambda x: t[gs.argmax(x)] * c, "argmax (an integer)"),
    "order": (lambda x: gs.sum(gs.take(t, gs.argsort(x)) * t), "argsort (an integer)"),
    "in a loop": (lambda x: gs.scan(lambda h, u: (h + gs.round(u), h), c, x)[0], "round (piecewise constant)"),
    "end of a loop": (
        lambda x: gs.while_loop(lambda h: h < x[0], lambda h: h + gs.abs(c), c, bound=9),
        "less (a condition)",
    ),
    "condition of a branch": (lambda x: gs.cond(x[0] > 0.0, lambda: c, lambda: c * 2.0), "greater (a condition)"),
    "in a branch": (lambda x: gs.cond(c > 0.0, lambda: gs.ceil(x[0]), lambda: c), "ceil (piecewise constant)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_a_gradient_that_is_zero_everywhere_is_an_error(name: str) -> None:
    make, named = FLAT[name]
    runs = [
        lambda: gs.compile(make(x), wrt="x"),
        lambda: gs.compile(make(x), wrt=(x, c), args=[x, c, t], derivatives="vjp"),
        lambda: gs.grad(make)(x),
        lambda: gs.value_and_grad(make)(x),
        lambda: gs.jacobian(make(x), x),
        lambda: gs.hessian(make)(x),
        lambda: gs.hvp(make, (x,), (x,)),
        lambda: gs.jvp(make, (x,), (x,)),
        lambda: gs.vjp(make, x)[1](1.0),
    ]
    for run in runs:
        with pytest.raises(gs.DerivativeError, match="by 'x' is zero everywhere") as caught:
            run()
        message = str(caught.value)
        assert named in message
        assert "at test_flatness.py:" in message
        assert "zero is right" in message
        assert "gs.stop_gradient(x)" in message


@pytest.mark.parametrize("name", FLAT)
def test_stop_gradient_says_that_zero_is_meant(name: str) -> None:
    make, _ = FLAT[name]
    stopped = make(gs.stop_gradient(x))
    assert (
        gs.compile(stopped, args=[x, c, t], wrt="x", selftest=False).grad([0.5, 1.5, 2.5], 1.0, [1.0] * 3) == [0.0] * 3
    )
    assert gs.compile(gs.grad(stopped, x), args=[x, c, t], selftest=False)([0.5, 1.5, 2.5], 1.0, [1.0] * 3) == [0.0] * 3


@pytest.mark.parametrize("name", FLAT)
def test_a_gradient_by_all_arguments_is_reported(name: str) -> None:
    make, named = FLAT[name]
    f = gs.compile(make(x) + c * c, args=[x, c, t], selftest=False)
    assert any("'x'" in text and named in text for text in f.zeros)
    assert f.grad([0.5, 1.5, 2.5], 1.0, [1.0] * 3)[0] == [0.0] * 3


def test_some_slope_is_enough() -> None:
    y = gs.sum(gs.floor(x) * x) + gs.sum(gs.where(t > 0.0, t, 0.0))
    f = gs.compile(y, wrt=("x", "t"))
    assert f.zeros == ()
    assert f.grad([1.5, 2.5, 3.5], [1.0, -1.0, 2.0]) == ([1.0, 2.0, 3.0], [1.0, 0.0, 1.0])

    def model(p: Any) -> Any:
        return gs.sum(p["w"] * gs.floor(p["steps"]))

    g = gs.compile(model, args=({"w": (2,), "steps": ()},), wrt="p")  # of the argument as a whole
    assert "steps" in g.zeros[0]
    assert g.grad({"w": [1.0, 2.0], "steps": 3.5}) == {"w": [3.0, 3.0], "steps": 0.0}


def test_higher_derivatives_at_kinks_are_zero_and_no_error() -> None:
    f = gs.compile(gs.sum(gs.relu(x) * 2.0), derivatives=("grad", "hessian"), wrt="x", selftest=False)
    assert f.hessian([1.0, -1.0, 2.0]) == [[0.0] * 3] * 3
    assert gs.compile(gs.grad(gs.grad(lambda s: gs.abs(s))))(2.0) == 0.0
    assert gs.compile(gs.hessian(lambda x: gs.sum(gs.relu(x))), args=((3,),))([1.0] * 3) == [[0.0] * 3] * 3


def test_what_is_not_read_at_all_is_no_error() -> None:
    assert gs.compile(lambda x, y: gs.floor(x) + y * y, wrt="y").grad(1.5, 3.0) == 6.0
    assert gs.compile(lambda x, y: y * y, wrt="x").grad(1.5, 3.0) == 0.0
    assert gs.compile(gs.grad(lambda z: c * 2.0)(c))() == 0.0


def test_a_custom_function_that_closes_over_the_argument() -> None:
    @gs.custom_derivative(vjp=lambda g, y, u: (g,))
    def shifted(u: Any) -> Any:
        return u + c

    with pytest.raises(gs.DerivativeError, match=r"shifted.*zero is wrong: pass what the function closes over"):
        gs.compile(gs.sum(shifted(x)), wrt="c")
