"""`grad_check`: what it takes, and that it fails as an assertion does."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs

pytest.importorskip("torch")

x, y = gs.symbols("x y")


@pytest.mark.parametrize("source", [x * gs.sin(y), "x*sin(y)", lambda x, y: x * gs.sin(y), gs.compile(x * gs.sin(y))])
def test_expressions_text_functions_and_compiled_functions(source: Any) -> None:
    assert gs.grad_check(source, order=2) is True


def test_results_that_are_no_single_scalar() -> None:
    def model(p: Any, t: Any) -> Any:
        return {"a": gs.sin(p["w"] * t), "b": (p["b"] ** 2, t[0])}

    args = ({"w": (3,), "b": ()}, (3,))
    assert gs.grad_check(model, args=args, order=2)
    assert gs.grad_check(model, args=args, wrt="p", domain={"p.w": (1, 2)}, target="numpy")
    assert gs.grad_check((x * y, gs.exp(x)), domain={"x": (-1, 1)}, against="finite")


def test_every_result_takes_part(user_op: Any) -> None:
    wave = user_op("wave", lambda g, y, x: (1.0005 * g * gs.cos(x),))
    with pytest.raises(gs.MismatchError, match="'wave'"):
        gs.grad_check(lambda x, y: (x * y, wave(y)), n=4)


def test_example_values_are_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    flat = gs.CompiledFunction._flat
    monkeypatch.setattr(gs.CompiledFunction, "_flat", lambda *a: seen.append(a[2]) or flat(*a))
    assert gs.grad_check(lambda v, k: gs.sum(v) * k, args=(np.array([1.5, 2.5]), 3.5), n=0)
    assert (list(seen[0][0]), seen[0][1]) == ([1.5, 2.5], 3.5)
    seen.clear()
    assert gs.grad_check("x*y", args={"x": 1.5, "y": 2.5}, n=0)
    assert seen[0] == [1.5, 2.5]
    seen.clear()
    assert gs.grad_check(lambda v, k: gs.sum(v) * k, args=((2,), ()), n=0, points=[([5.0, 6.0], 7.0)])
    assert list(seen[0][0]) == [5.0, 6.0]


def test_a_failure_is_an_assertion_with_a_report(user_op: Any) -> None:
    wave = user_op("wave", lambda g, y, x: (-g * gs.cos(x),))
    with pytest.raises(AssertionError, match="MISMATCH: 2 outputs") as caught:
        gs.grad_check(lambda t: wave(t), n=2)
    assert "test_grad_check.py" in str(caught.value)
    assert isinstance(caught.value, gs.MismatchError)
    assert not caught.value.report.ok
    assert gs.grad_check(lambda t: wave(t), n=2, rtol=3.0)


def test_what_has_no_gradient() -> None:
    f = gs.compile(x * y, derivatives="value")
    with pytest.raises(gs.DerivativeError, match="f was compiled without a gradient: give grad_check"):
        gs.grad_check(f)
