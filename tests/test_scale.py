"""Size: long chains neither recurse nor take more than linear time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import gradsmith as gs


def chain(operations: int) -> gs.Expr:
    """A chain of that many scalar operations, of five kinds."""
    x, y = gs.symbols("x y")
    z = x
    for _ in range(operations // 5):
        z = gs.tanh(gs.sin(z) * y + x - 0.25)
    return z


@pytest.mark.parametrize("target", ["python", "c"])
def test_a_long_chain(target: str) -> None:
    """Traced, differentiated and emitted: 20 times deeper than Python recurses, and 100,000 take five times as long."""
    f = gs.compile(chain(20_000), target=target, derivatives=("grad",), selftest=False)
    assert f.source.count("\n") > 20_000
    assert len(f.graph) > 19_000


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_work_is_linear(target: str) -> None:
    """Twice the operations take twice the function calls, counted rather than timed."""
    compile_chain(200, target)  # what is done once, such as reading templates
    small, middle, large = (calls(lambda n=n: compile_chain(n, target)) for n in (250, 500, 1000))
    assert large - middle < 2.1 * (middle - small)


def compile_chain(operations: int, target: str) -> None:
    gs.compile(chain(operations), target=target, selftest=False)


def calls(function: Callable[[], Any]) -> int:
    """How many functions, Python's and C's, a call calls."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_many_reads_of_one_array() -> None:
    """A loop that reads 1,000 elements one by one: their cotangents join in one scatter, not in a sum of 1,000 arrays."""

    def f(x: Any) -> gs.Expr:
        total = x[0] * x[1]
        for i in range(2, 1000):
            total = total + gs.sin(x[i]) * x[i - 1]
        return total

    f = gs.compile(f, args=(gs.spec((1000,)),), target="numpy", derivatives=("grad",), selftest=False)
    assert f.source.count("np.zeros") == 1


def test_deeply_nested_choices() -> None:
    """A table look-up written as 1,000 nested choices; choices wait in the adjoint, but not all of them at once."""
    x = gs.symbol("x")
    y = gs.sqrt(x)
    for k in range(1000):
        y = gs.where(x < float(k), gs.sqrt(x) * float(k), y)
    f = gs.compile(y, target="python", derivatives=("grad",), selftest=False)
    assert f.grad(2.5) == pytest.approx(999 * 0.5 / 2.5**0.5)
    assert f.grad(2000.0) == pytest.approx(0.5 / 2000.0**0.5)


def test_a_long_sum_and_a_long_product() -> None:
    """Sums of 1,000 terms, in both shapes that people write."""
    x = gs.symbol("x", (40,))
    terms = [gs.sin(x[i % 40] * float(i)) for i in range(1000)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    f = gs.compile(total, target="python", derivatives=("grad",), selftest=False)
    g = gs.compile(gs.sum(gs.stack(terms)), target="python", derivatives=("grad",), selftest=False)
    point = [0.01 * i for i in range(40)]
    assert f.grad(point) == pytest.approx(g.grad(point))
