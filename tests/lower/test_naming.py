"""Naming: legal, distinct, and the user's own wherever possible."""

import pytest

import gradsmith as gs
from gradsmith.lower.naming import Names
from gradsmith.target import load_target


def test_wishes() -> None:
    names = Names(load_target("python"))
    assert [names.fresh("h") for _ in range(3)] == ["h", "h_1", "h_2"]
    assert [names.fresh("h_1"), names.fresh("lambda"), names.fresh("lambda")] == ["h_1_1", "lambda_", "lambda__1"]
    assert [names.fresh(None), names.fresh("t2"), names.fresh(None)] == ["t1", "t2", "t3"]


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize(
    "word", ["lambda_", "double", "restrict", "exp", "math", "np", "f", "value", "d_y", "work", "i"]
)
def test_any_identifier_can_be_a_symbol(target: str, word: str) -> None:
    x, y = gs.symbols(f"{word} y")
    f = gs.compile(gs.exp(x) * y + gs.sum(gs.stack([x, y]) * y), target=target, selftest=False)
    assert f(0.5, 2.0) == pytest.approx(2.718281828459045**0.5 * 2.0 + 5.0)
    assert f.grad(0.5, 2.0)[1] == pytest.approx(2.718281828459045**0.5 + 4.5)
