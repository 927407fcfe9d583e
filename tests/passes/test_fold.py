"""Folding: constants only, as the generated code would compute them, and never away from what is not finite."""

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.passes.simplify import simplify
from gradsmith.trace import constant


def folded(expr: gs.Expr) -> str:
    return simplify(to_graph([], [expr])).text()


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        (lambda: constant(0.1) + 0.2, 0.1 + 0.2),
        (lambda: constant(1.0) / 3.0, 1.0 / 3.0),
        (lambda: gs.sqrt(constant(2.0)), 2.0**0.5),
        (lambda: -constant(0.0), -0.0),
        (lambda: gs.where(constant(1.0) > 0.0, 2.0, 3.0), 2.0),
    ],
)
def test_a_constant_expression_is_a_constant(expr: object, value: float) -> None:
    assert folded(expr()) == f"%0:f64 = constant value={value!r}\nreturn %0"  # type: ignore[operator]


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tan", "tanh", "erf", "sinh", "atan", "expm1", "log1p"])
def test_functions_are_rounded_from_fifty_digits(name: str) -> None:
    for x in np.random.default_rng(0).uniform(0.1, 3.0, 50):
        with mp.workdps(60):
            exact = float(getattr(mp, name)(mp.mpf(float(x))))
        g = simplify(to_graph([], [getattr(gs, name)(constant(float(x)))]))
        assert g.node(g.outputs[0]).params["value"] == exact


def test_functions_of_arrays_of_constants_are_too() -> None:
    x = np.linspace(0.1, 3.0, 7)
    g = simplify(to_graph([], [gs.exp(constant(x))]))
    with mp.workdps(60):
        exact = [float(mp.exp(mp.mpf(float(v)))) for v in x]
    assert g.node(g.outputs[0]).params["value"].tolist() == exact


def test_a_negative_zero_keeps_its_sign() -> None:
    assert folded(gs.sin(constant(-0.0))) == "%0:f64 = constant value=-0.0\nreturn %0"


def test_arrays_of_constants_fold() -> None:
    assert "[2.,4.]" in folded(constant(np.array([1.0, 2.0])) * 2.0)


@pytest.mark.parametrize(
    "expr", [lambda: constant(1.0) / 0.0, lambda: gs.log(constant(-1.0)), lambda: gs.exp(constant(1e3))]
)
def test_what_is_not_finite_stays_visible(expr: object) -> None:
    assert folded(expr()).count("constant") >= 1  # type: ignore[operator]
    assert "= constant value=inf" not in folded(expr())  # type: ignore[operator]
    assert "nan" not in folded(expr())  # type: ignore[operator]


def test_a_broadcast_scalar_stays_a_scalar() -> None:
    assert "constant value=2.0" in folded(gs.broadcast_to(2.0, (1000,)))
