"""Python code evaluates the side of a choice that is taken, and nothing that only the other one needs."""

from __future__ import annotations

import math
import random
import types
from typing import Any

import pytest

import gradsmith as gs
from gradsmith.function import CompiledFunction

x, y = gs.symbols("x y")

CHOICES: dict[str, Any] = {
    "sqrt": gs.where(x > 0, gs.sqrt(x), 0.0),
    "sinc": gs.where(x != 0, gs.sin(x) / x, 1.0),
    "nested": gs.where(
        x > 0, gs.where(y > 0, gs.log(x * y) * gs.sqrt(y), gs.exp(y) * x), gs.where(y < 0.9, gs.atanh(gs.exp(x) - 1), y)
    ),
    "twice": gs.sin(gs.where(x > 0, gs.log(x), y)) * gs.where(x > 0, gs.sqrt(x), y * y),
    "other side": gs.where(x > 0, y, gs.log(1.5 - x) ** 3),
    "conditions": gs.where(
        (x > 0) & (y > 0), gs.log(x) * gs.log(y), gs.where((x > 0) | (y > 0), 1.0, gs.sqrt(2.0 - x * y))
    ),
    "power": gs.where(x > 0, x**y, -1.0) + gs.where(y > 0, gs.log(y), y),
}
POINTS = [(0.7, 1.3), (-0.5, 0.4), (0.6, -0.8), (-0.9, -1.5), (0.0, 0.0), (-0.0, 2.0), (1.0, -1.0), (0.3, 0.0)]


def compiled(expression: Any) -> CompiledFunction:
    return gs.compile(expression, args=[x, y], selftest=False)


def fast(f: CompiledFunction) -> types.ModuleType:
    """The module without its second set of functions: what is entered there cannot answer."""
    module = f.module
    for name in vars(module).copy():
        if name.endswith("_ieee"):
            setattr(module, name, None)
    return module


@pytest.mark.parametrize("name", CHOICES)
def test_the_side_not_taken_raises_nothing(name: str) -> None:
    f = compiled(CHOICES[name])
    module = fast(f)
    for a, b in POINTS:
        value, (d_x, d_y) = module.f_value_and_grad(a, b)
        assert all(map(math.isfinite, (value, d_x, d_y))), (a, b)
        assert module.f(a, b) == value
        assert module.f_grad(a, b) == (d_x, d_y)


@pytest.mark.parametrize("name", CHOICES)
def test_numbers_are_those_of_numpy(name: str) -> None:
    """NumPy computes both sides, and chooses."""
    f, reference = compiled(CHOICES[name]), gs.compile(CHOICES[name], args=[x, y], target="numpy", selftest=False)
    for a, b in POINTS:
        got, want = f.value_and_grad(a, b), reference.value_and_grad(a, b)
        assert got[0] == pytest.approx(want[0], rel=1e-14)
        assert got[1] == pytest.approx(want[1], rel=1e-14)


class Counting:
    """Python's `math`, which counts the calls of its functions."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(math, name)

        def counted(*args: float) -> float:
            self.calls[name] = self.calls.get(name, 0) + 1
            return found(*args)  # type: ignore[no-any-return]

        return counted if callable(found) else found


def test_only_the_side_taken_is_computed() -> None:
    f = compiled(gs.where(x > 0, gs.exp(x) * gs.exp(x) * y, gs.where(y > 0, gs.sin(y) ** 3, gs.cosh(y) ** 3)))
    module = f.module
    for point, expected in [((1.0, 1.0), {"exp"}), ((-1.0, 1.0), {"sin", "cos"}), ((-1.0, -1.0), {"cosh", "sinh"})]:
        module.math = Counting()  # type: ignore[attr-defined]
        module.f_value_and_grad(*point)
        assert module.math.calls == dict.fromkeys(expected, 1)


def test_choices_by_one_condition_share_a_block() -> None:
    f = compiled(CHOICES["sqrt"])
    value_and_grad = f.source.split("def f_value_and_grad")[1].split("def _f_ieee")[0]
    assert value_and_grad.count("if t1:") == 1
    assert value_and_grad.count("else:") == 1


def test_cheap_sides_get_no_block() -> None:
    a = x * y
    f = compiled(gs.where(x > y, a * a + a, x))
    assert "if" in f.source
    assert "else:" not in f.source
    assert "if x > y:" not in f.source


def test_what_both_sides_need_stands_outside() -> None:
    h = gs.log(y + 2.0)
    f = compiled(gs.where(x > 0, h * h, h * x * h))
    fast(f)
    assert f(1.0, 1.0) == math.log(3.0) ** 2
    assert "if t" not in f.source.split("def f(")[1].split("def ")[0]


def choices(pick: random.Random, depth: int) -> gs.Expr:
    """A random nest of choices over functions that end at 0, each guarded."""
    a = pick.choice([x, y, x * y, x + y, x - 0.5 * y])
    guarded = [
        gs.where(a > 0, f(a), pick.choice([0.0, 1.0])) for f in (gs.log, gs.sqrt, lambda v: v**1.5, lambda v: 1 / v)
    ]
    if not depth:
        return pick.choice(guarded)
    one, other = choices(pick, depth - 1), choices(pick, depth - 1)
    b = pick.choice([x, y, x - y, one])
    return pick.choice(
        [
            gs.where(b > 0, one, other),
            gs.where(b > 0.25, one * other, one),
            gs.sin(one) * other,
            one + gs.where(b < 0, one, other),
        ]
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_nests(seed: int) -> None:
    pick = random.Random(seed)
    expression = choices(pick, 4)
    f, reference = compiled(expression), gs.compile(expression, args=[x, y], target="numpy", selftest=False)
    module = fast(f)
    for _ in range(20):
        a, b = pick.uniform(-2, 2), pick.uniform(-2, 2)
        value, slopes = module.f_value_and_grad(a, b)
        want, want_slopes = reference.value_and_grad(a, b)
        assert value == pytest.approx(float(want), rel=1e-11, abs=1e-11)
        assert slopes == pytest.approx([float(v) for v in want_slopes], rel=1e-9, abs=1e-9)
