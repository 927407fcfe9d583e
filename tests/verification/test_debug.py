"""The debug twin: it stops where the first NaN or infinity is born, and nowhere else."""

import pickle
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

x, y = gs.symbols("x y")
NAN, INF = float("nan"), float("inf")


def stopped(f: gs.CompiledFunction, *args: Any, **options: Any) -> gs.NonFiniteError:
    with pytest.raises(gs.NonFiniteError) as caught:
        f.debug(**options)(*args)
    return caught.value


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_it_returns_what_value_and_grad_returns(target: str) -> None:
    def model(p: Any, t: Any) -> Any:
        return gs.sum(gs.tanh(p["W"] @ t)) * p["b"]

    f = gs.compile(model, args=({"W": (2, 3), "b": ()}, (3,)), wrt="p", target=target)
    point = {"W": np.arange(6.0).reshape(2, 3) / 6, "b": 2.0}, np.array([0.1, -0.2, 0.3])
    value, slopes = f.debug()(*point)
    wanted, gradient = f.value_and_grad(*point)
    assert value == pytest.approx(wanted, rel=1e-15)
    assert slopes.keys() == gradient.keys()
    np.testing.assert_allclose(slopes["W"], gradient["W"], rtol=1e-14)
    assert f.debug()(t=point[1], p=point[0])[0] == value


def test_a_function_without_derivatives_has_a_twin_of_its_value() -> None:
    f = gs.compile({"a": x * y, "b": x / y}, args=[x, y])
    assert f.debug()(6.0, 3.0) == {"a": 18.0, "b": 2.0}
    assert stopped(f, 1.0, 0.0).birth.op == "div"


def test_it_names_op_operands_variable_and_line() -> None:
    def model(p: Any, t: Any) -> Any:
        h = gs.log(p * t)
        return gs.sum(h)

    error = stopped(gs.compile(model, args=((), (3,))), 2.0, np.array([1.0, 0.0, 3.0]))
    line = model.__code__.co_firstlineno + 1
    assert str(error) == (
        "model: log gives -inf: h[1] = log(v2) with v2 = 0.0\n"
        f"  at test_debug.py:{line}: h = gs.log(p * t)"
    )  # fmt: skip
    birth = error.birth
    assert (birth.op, birth.element, birth.value, birth.role) == ("log", (1,), -INF, "value")
    assert birth.operands == (("v2", "0.0"),)
    assert isinstance(error, ArithmeticError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_cotangent_names_the_rule_and_the_variable() -> None:
    def model(t: Any) -> Any:
        r = gs.sqrt(t)
        return 2.0 * r

    error = stopped(gs.compile(model), 0.0)
    assert (error.birth.role, error.birth.rule, error.birth.name) == ("cotangent", "sqrt", "d_t")
    assert "in the derivative rule of op 'sqrt'\n" in str(error)
    assert "r = gs.sqrt(t)" in str(error)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_input_that_is_not_finite_is_named_as_such(value: float) -> None:
    f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), name="f")
    assert str(stopped(f, [1.0, 2.0, value])) == f"f: the input v[2] is {value!r}"


def test_stop_at_nan_lets_infinities_pass() -> None:
    f = gs.compile(1.0 / (1.0 + gs.exp(-x)), stabilize=False)
    assert stopped(f, -800.0).birth.op == "exp"
    assert stopped(f, -INF).birth.role == "input"
    late = stopped(f, -800.0, stop="nan").birth
    assert (late.role, np.isnan(late.value)) == ("cotangent", True)
    g = gs.compile(gs.minimum(x, 1.0 / y), derivatives="value")
    assert g.debug(stop="nan")(3.0, 0.0) == 3.0
    with pytest.raises(gs.SpecError, match="stop='inf': choose from 'nan', 'nonfinite'"):
        g.debug(stop="inf")  # type: ignore[arg-type]


@pytest.mark.parametrize("safe", [
    lambda v: gs.where(v > 0.0, gs.sqrt(v), 0.0),
    lambda v: gs.where(v > 0.0, gs.log(v), v),
    lambda v: gs.where(v != 0.0, gs.sin(v) / v, 1.0),
    lambda v: gs.where(v > -5.0, gs.where(v > 0.0, 1.0 / v, v), gs.log(v)),
])  # fmt: skip
def test_a_branch_that_is_not_taken_does_not_count(safe: Any) -> None:
    f = gs.compile(lambda v: gs.sum(safe(v) * 2.0), args=((3,),))
    value, slope = f.debug()(np.array([-1.0, 0.0, 2.0]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_the_taken_branch_counts() -> None:
    f = gs.compile(lambda v: gs.sum(gs.where(v >= 0.0, gs.log(v), 0.0)), args=((3,),))
    assert stopped(f, np.array([-1.0, 0.0, 2.0])).birth.element == (1,)


def test_an_element_that_is_not_read_does_not_count() -> None:
    f = gs.compile(lambda v: gs.concatenate([gs.log(v), v])[1:], args=((3,),), derivatives="value")
    assert f.debug()(np.array([0.0, 1.0, 2.0])).tolist() == [0.0, np.log(2.0), 0.0, 1.0, 2.0]
    assert stopped(f, np.array([1.0, 1.0, 0.0])).birth.element == (2,)


def test_infinite_constants_are_meant_to_be() -> None:
    f = gs.compile(gs.maximum(x, -INF) + gs.where(y > 0.0, x, -INF), derivatives="value")
    assert f.debug()(1.0, 1.0) == 2.0
    assert f.debug()(1.0, -1.0) == -INF, "the infinity itself"
    g = gs.compile(gs.where(y > 0.0, x, -INF) * 0.0, derivatives="value")
    assert stopped(g, 1.0, -1.0).birth.op == "mul"


def test_arguments_are_checked_as_in_a_call() -> None:
    f = gs.compile(x * y)
    with pytest.raises(gs.ArgumentError, match="missing 'y'"):
        f.debug()(1.0)
    with pytest.raises(gs.ShapeMismatchError, match=r"'x' has shape \(2,\), expected \(\)"):
        f.debug()([1.0, 2.0], 1.0)
    assert repr(f.debug()).startswith("<debug twin of <gradsmith function f(x, y)")
