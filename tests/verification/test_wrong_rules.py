"""A wrong rule of a user's op is caught against every reference, and named with its op, numbers and line."""

import re
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

pytest.importorskip("torch")

AGAINST = ["torch", "mpmath", "finite"]
RULES = {
    "off by 0.05 %": (lambda g, y, x: (g * gs.cos(x) * 1.0005,), 1.0005),
    "the wrong sign": (lambda g, y, x: (-g * gs.cos(x),), -1.0),
    "the slope of another function": (lambda g, y, x: (g * gs.sin(x),), None),
    "nothing at all": (lambda g, y, x: (None,), 0.0),
}
x, y = gs.symbols("x y")
v = gs.symbol("v", (3,))


@pytest.mark.parametrize("against", AGAINST)
@pytest.mark.parametrize("fault", RULES)
def test_a_wrong_rule_is_named(user_op: Any, fault: str, against: str) -> None:
    rule, factor = RULES[fault]
    wave = user_op("wave", rule)
    z = gs.exp(y) * wave(x * y) + gs.tanh(x)
    f = gs.compile(z, target="numpy", selftest=False)
    report = f.check(n=4, against=against)
    assert not report.ok
    assert [bool(e.mismatches) for e in report.entries] == [False, True, True]
    (cause,) = report.causes
    found = re.fullmatch(
        r"the derivative rule of op 'wave' gives (\S+), but the slope is (\S+), at (\S+)\n"
        r"at test_wrong_rules.py:\d+: z = gs.exp\(y\) \* wave\(x \* y\) \+ gs.tanh\(x\)",
        cause,
    )
    assert found, cause
    given, true, at = map(float, found.groups())
    assert true == pytest.approx(np.cos(at), rel=1e-6)
    if factor is not None:
        assert given == pytest.approx(factor * np.cos(at), rel=1e-6)
    with pytest.raises(gs.MismatchError, match="op 'wave' gives"):
        gs.grad_check(z, n=4, against=against)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_on_every_target_and_within_arrays(user_op: Any, target: str) -> None:
    wave = user_op("wave", RULES["off by 0.05 %"][0])
    with pytest.raises(AssertionError, match="the derivative rule of op 'wave'"):
        gs.grad_check(gs.sum(wave(v) * v), target=target, n=2)


@pytest.mark.parametrize("against", AGAINST)
def test_only_the_wrong_rule_is_named(user_op: Any, against: str) -> None:
    """Two ops alike, one of them wrong; and a right rule behind a wrong one sees a wrong cotangent."""
    right, wrong = user_op("right"), user_op("wrong", RULES["the wrong sign"][0])
    report = gs.compile(right(wrong(right(x))), selftest=False).check(n=4, against=against)
    assert len(report.causes) == 1
    assert "'wrong'" in report.causes[0]


@pytest.mark.parametrize("against", AGAINST)
def test_of_an_op_that_is_not_elementwise(user_op: Any, against: str) -> None:
    fields = {"kind": "composite", "evaluate": np.sum, "torch": lambda torch, x: torch.sum(x), "mp": None}
    fields |= {"cells": {"numpy": "np.sum({0})"}, "infer": lambda t: type(t)((), t.dtype), "expand": gs.sum}
    tally = user_op("tally", lambda g, y, x: (gs.broadcast_to(g * 1.0005, x.shape),), **fields)
    report = gs.compile(tally(v * v), target="numpy", selftest=False).check(n=4, against=against)
    assert len(report.causes) == 1
    assert "the derivative rule of op 'tally' gives" in report.causes[0]
    assert "along a random direction" in report.causes[0]


@pytest.mark.parametrize("against", AGAINST)
def test_a_rule_that_is_nan_at_0(user_op: Any, against: str) -> None:
    wave = user_op("wave", lambda g, y, x: (g * gs.cos(x) * (x / x),))
    z = 2.0 * wave(x)
    f = gs.compile(z, selftest=False, target="numpy")
    report = f.check(n=4, against=against)
    text = str(report)
    assert re.search(
        r"d_x: got nan, expected (2.0|1.99999\d+|2.00000\d+): one of them is not finite\n    at x=0.0\n", text
    )
    assert "div gives nan: t3 = x/x with x = 0.0\n    in the derivative rule of op 'wave', on the way to d_x\n" in text
    assert "the derivative rule of op 'wave' gives nan, but the slope is 1, at 0.0" in text
    assert f.check(n=4, against=against, domain={"x": (0, 5)}).ok
    with pytest.raises(gs.NonFiniteError) as caught:
        f.debug()(0.0)
    birth = caught.value.birth
    assert (birth.op, birth.rule, birth.receiver, birth.role) == ("div", "wave", "d_x", "cotangent")
    assert "test_wrong_rules.py" in birth.place
    assert f.debug()(1.0) == (2.0 * np.sin(1.0), 2.0 * np.cos(1.0))


def test_a_rule_of_the_wrong_shape(user_op: Any) -> None:
    wave = user_op("wave", lambda g, y, x: (gs.sum(g * gs.cos(x)),))
    with pytest.raises(gs.DerivativeError, match=r"'wave' gives operand 0 a cotangent of type f64, .* f64\[3\]"):
        gs.grad_check(gs.sum(wave(v)))


def test_a_cell_of_the_wrong_shape(user_op: Any) -> None:
    wave = user_op("wave", cells={"numpy": "np.sum(np.sin({0}))"})
    report = gs.compile(wave(v), target="numpy", selftest=False).check(n=1)
    assert "its shape is (), expected (3,)" in str(report)


@pytest.mark.parametrize("against", AGAINST)
def test_the_second_order_sees_what_the_first_cannot(user_op: Any, against: str) -> None:
    """The slope is right as a number, but is not traced any further: its own derivative is 0."""
    slope = user_op(
        "frozen_cosine", lambda g, y, x: (None,), evaluate=np.cos, mp="cos", torch="cos",
        cells={"python": "math.cos({0})", "c": "cos({0})"},
    )  # fmt: skip
    wave = user_op("wave", lambda g, y, x: (g * slope(x),))
    f = gs.compile(wave(x) * y, selftest=False)
    assert f.check(against=against).ok
    report = f.check(against=against, order=2)
    assert [e.name for e in report.entries if e.mismatches] == ["d2_x"]
    (cause,) = report.causes
    assert cause.startswith("the derivative rule of op 'frozen_cosine' gives 0, but the slope is ")
    assert "(the rule of op 'wave' uses it)" in cause
    with pytest.raises(gs.MismatchError, match="frozen_cosine"):
        gs.grad_check(f, against=against, order=2)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_right_rules_pass_at_second_order_on_every_target(user_op: Any, target: str) -> None:
    wave = user_op("wave")
    for against in AGAINST:
        assert gs.grad_check(gs.sum(wave(v) * gs.tanh(x * v)), target=target, against=against, order=2, n=3)


def test_a_wrong_cell_is_no_rule_s_fault(user_op: Any) -> None:
    wave = user_op("wave", cells={"python": "(1.001*math.sin({0}))"})
    (cause,) = gs.compile(wave(x), selftest=False).check(n=4).causes
    assert cause.startswith("the graph is right here, evaluated by NumPy, and the generated code is not")


def test_numbers_that_differ_from_the_op_s_own_reference(user_op: Any) -> None:
    wave = user_op("wave", evaluate=lambda x: 1.001 * np.sin(x), cells={"python": "(1.001*math.sin({0}))"})
    report = gs.compile(wave(x), selftest=False, derivatives="value").check(n=4)
    assert any(c.startswith("op 'wave' computes ") and "own reference (mp=)" in c for c in report.causes)
