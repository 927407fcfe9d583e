"""No NaN that the mathematics does not have: value, gradient and second derivative on every target.

What is expected is computed by hand, or by mpmath on the branch that is taken. torch and JAX give NaN for most of these.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.derive.adjoint import gradient

from .harness import Program, Runners, joint

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """A function of one number, and at each point what it is there: a function of mpmath, or a constant."""

    formula: Function
    there: dict[float, Function | float]


def root(x: Any) -> Any:
    return mp.sqrt(x)


def sinc(x: Any) -> Any:
    return mp.sin(x) / x if x else mp.mpf(1)


CASES = {
    "where_sqrt": Case(lambda x: gs.where(x > 0, gs.sqrt(x), 0), {0.0: 0.0, -1.0: 0.0, 4.0: root}),
    "where_sinc": Case(lambda x: gs.where(x != 0, gs.sin(x) / x, 1), {0.0: 1.0, 0.5: sinc, 1e-3: sinc}),
    "where_log": Case(lambda x: gs.where(x > 0, gs.log(x), x), {0.0: lambda x: x, -1.0: lambda x: x, 2.0: mp.log}),
    "where_div": Case(lambda x: gs.where(x != 0, 1 / x, 0), {0.0: 0.0, 2.0: lambda x: 1 / x}),
    "where_pow": Case(lambda x: gs.where(x > 0, x**0.3, -x), {0.0: lambda x: -x, 2.0: lambda x: x ** mp.mpf(0.3)}),
    "where_negative_pow": Case(lambda x: gs.where(x > 0, x**-1.5, 2), {0.0: 2.0, -1.0: 2.0}),
    "where_acos": Case(lambda x: gs.where(abs(x) < 1, gs.acos(x), x), {1.0: lambda x: x, 3.0: lambda x: x, 0.5: mp.acos}),
    "where_exp": Case(lambda x: gs.where(x < 1, gs.exp(x), x), {1000.0: lambda x: x, 0.5: mp.exp}),
    "where_both": Case(
        lambda x: gs.where(x > 0, gs.log(x), gs.sqrt(-x)), {2.0: mp.log, -4.0: lambda x: mp.sqrt(-x)}
    ),
    "where_nested": Case(
        lambda x: gs.where(x > 0, gs.where(x < 1, gs.sqrt(1 - x), gs.log(x)), -x),
        {0.0: lambda x: -x, -1.0: lambda x: -x, 0.75: lambda x: mp.sqrt(1 - x), 1.0: mp.log, 2.0: mp.log},
    ),
    "where_inside": Case(
        lambda x: gs.exp(2 * gs.where(x > 0, gs.sqrt(x), 0)) + x * x,
        {0.0: lambda x: 1 + x * x, -1.0: lambda x: 1 + x * x, 4.0: lambda x: mp.exp(2 * mp.sqrt(x)) + x * x},
    ),
    "where_of_where": Case(
        lambda x: gs.where(x > 0, 1 / gs.where(x > 0, gs.sqrt(x), 0), x), {0.0: lambda x: x, 4.0: lambda x: 1 / mp.sqrt(x)}
    ),
    "naive_sinc": Case(lambda x: gs.sin(x) / x, {0.0: sinc, 1e-5: sinc, 2.0: sinc}),
    "naive_exprel": Case(
        lambda x: (gs.exp(x) - 1) / x, {0.0: lambda x: mp.expm1(x) / x if x else mp.mpf(1), 1e-9: lambda x: mp.expm1(x) / x}
    ),
    "naive_bernoulli": Case(
        lambda x: x / (gs.exp(x) - 1), {0.0: lambda x: x / mp.expm1(x) if x else mp.mpf(1), -800.0: lambda x: x / mp.expm1(x), 800.0: 0.0}
    ),
    "naive_cosc": Case(
        lambda x: (1 - gs.cos(x)) / (x * x), {0.0: lambda x: (1 - mp.cos(x)) / x**2 if x else mp.mpf(0.5)}
    ),
    "naive_coth": Case(lambda x: x / gs.tanh(x), {0.0: lambda x: x / mp.tanh(x) if x else mp.mpf(1), 1e-6: lambda x: x / mp.tanh(x)}),
    "naive_x_over_sinh": Case(
        lambda x: x / gs.sinh(x), {0.0: lambda x: x / mp.sinh(x) if x else mp.mpf(1), 800.0: 0.0, -2.0: lambda x: x / mp.sinh(x)}
    ),
    "naive_logistic": Case(
        lambda x: gs.exp(x) / (1 + gs.exp(x)), {800.0: 1.0, -2.0: lambda x: mp.exp(x) / (1 + mp.exp(x))}
    ),
    "naive_softplus": Case(lambda x: gs.log(1 + gs.exp(x)), {800.0: lambda x: x, -40.0: lambda x: mp.log1p(mp.exp(x))}),
    "naive_logcosh": Case(lambda x: gs.log(gs.cosh(x)), {1e3: lambda x: x - mp.log(2), 1e-4: lambda x: mp.log(mp.cosh(x))}),
    "x_log_x": Case(lambda x: x * gs.log(x), {0.0: 0.0, 2.0: lambda x: x * mp.log(x)}),
    "entropy": Case(
        lambda x: x * gs.log(x) + (1 - x) * gs.log(1 - x), {0.25: lambda x: x * mp.log(x) + (1 - x) * mp.log1p(-x)}
    ),
    "sqrt_of_square": Case(lambda x: gs.sqrt(x * x), {0.0: 0.0, -3.0: lambda x: -x, 1e200: lambda x: x}),
    **{
        f"abs_to_the_{p}".replace(".", "_"): Case(
            lambda x, p=p: abs(x) ** p,
            {0.0: (lambda x: x * x) if p == 2 else 0.0, -2.0: lambda x, p=p: (-x) ** mp.mpf(p), 0.5: lambda x, p=p: x ** mp.mpf(p)},
        )
        for p in (0.5, 1, 1.5, 2, 3)
    },
    "root_of_abs_of_product": Case(lambda x: gs.sqrt(abs(x * (x - 1))), {0.0: 0.0, 1.0: 0.0, 2.0: lambda x: mp.sqrt(x * (x - 1))}),
}  # fmt: skip


def expected(there: Function | float, x: float) -> list[float]:
    """Value, slope and curvature."""
    if not callable(there):
        return [there, 0.0, 0.0]
    with mp.workdps(500):
        at, h = mp.mpf(x), mp.mpf(10) ** -40
        down, here, up = (there(at + s * h) for s in (-1, 0, 1))
        return [float(here), float((up - down) / (2 * h)), float((up - 2 * here + down) / h**2)]


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Runners:
    programs: dict[str, Program] = {}
    x = gs.symbol("x")
    v = gs.symbol("v", (2,))
    for name, case in CASES.items():
        y = case.formula(x)
        (slope,) = gradient(y, [x])
        programs[name] = joint(y, [x], name)
        programs[f"{name}_slope"] = joint(slope, [x], f"{name}_slope")
        many = case.formula(v)
        programs[f"{name}_many"] = joint(gs.sum(many * np.array([1.0, 2.0])), [v], f"{name}_many")
    return Runners(programs, tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str, runners: Runners) -> None:
    for x, there in CASES[name].there.items():
        wanted = expected(there, x)
        pairs = zip(runners.all(name), runners.all(f"{name}_slope"), strict=True)
        for (target, first), (_, second) in pairs:
            found = [*first("value_and_grad", [x]), *second("value_and_grad", [x])]
            got = [float(found[0]), float(found[1]), float(found[3])]
            assert float(found[2]) == pytest.approx(wanted[1], rel=1e-12, abs=1e-14)
            assert got == pytest.approx(wanted, rel=1e-12, abs=1e-13), (target, x)


@pytest.mark.parametrize("name", CASES)
def test_arrays_of_mixed_conditions(name: str, runners: Runners) -> None:
    points = list(CASES[name].there)
    for a, b in zip(points, points[1:] + points[:1], strict=True):
        one, two = (expected(CASES[name].there[p], p) for p in (a, b))
        for target, run in runners.all(f"{name}_many"):
            value, slopes = run("value_and_grad", [[a, b]])
            assert float(value) == pytest.approx(one[0] + 2 * two[0], rel=1e-12, abs=1e-13), (target, a, b)
            assert slopes.tolist() == pytest.approx([one[1], 2 * two[1]], rel=1e-12, abs=1e-13), (target, a, b)


def test_one_condition_for_a_whole_array() -> None:
    v, c = gs.symbol("v", (3,)), gs.symbol("c")
    for target in ("python", "numpy", "c"):
        f = gs.compile(gs.sum(gs.where(c > 0, gs.sqrt(v), v)), args=[v, c], wrt=v, target=target, selftest=False)
        assert list(f.grad([0.0, -1.0, 4.0], -1.0)) == [1.0, 1.0, 1.0]
        assert list(f.grad([1.0, 0.25, 4.0], 1.0)) == [0.5, 1.0, 0.25]


# --- vectors ----------------------------------------------------------------------------------------------------------

V = gs.symbol("v", (3,))
ZERO, LARGE = [0.0, 0.0, 0.0], [3e100, -4e100, 0.0]
VECTORS: dict[str, tuple[gs.Expr, list[tuple[list[float], float, list[float]]]]] = {
    "root_of_sum": (gs.sqrt(gs.sum(V * V)), [(ZERO, 0.0, ZERO), (LARGE, 5e100, [0.6, -0.8, 0.0])]),
    "root_of_squares": (gs.sqrt(gs.sum(V**2)), [(ZERO, 0.0, ZERO), ([3e-100, 0.0, 4e-100], 5e-100, [0.6, 0.0, 0.8])]),
    "root_of_matmul": (gs.sqrt(V @ V), [(ZERO, 0.0, ZERO), (LARGE, 5e100, [0.6, -0.8, 0.0])]),
    "root_of_norm": (gs.sqrt(gs.sqrt(gs.sum(V * V))), [(ZERO, 0.0, ZERO)]),
    "sum_of_abs_roots": (gs.sum(gs.sqrt(abs(V))), [([0.0, 4.0, -1.0], 3.0, [0.0, 0.25, -0.5])]),
    "largest_root": (gs.sqrt(gs.max(V)), [([-1.0, 4.0, 0.0], 2.0, [0.0, 0.25, 0.0]), ([-1.0, 0.0, -4.0], 0.0, [0.0, math.inf, 0.0])]),
    "logsumexp": (gs.logsumexp(V), [([-math.inf] * 3, -math.inf, ZERO), ([0.0, -math.inf, 0.0], math.log(2), [0.5, 0.0, 0.5])]),
    "naive_logsumexp": (
        gs.log(gs.sum(gs.exp(V))),
        [([-math.inf] * 3, -math.inf, ZERO), ([1e3, 1e3, -math.inf], 1e3 + math.log(2), [0.5, 0.5, 0.0])],
    ),
    "masked_softmax": (
        gs.sum(gs.softmax(V) * np.array([1.0, 2.0, 4.0])),
        [([0.0, -math.inf, 0.0], 2.5, [-0.75, 0.0, 0.75])],
    ),
    "naive_softmax": (
        gs.sum(gs.exp(V) / gs.sum(gs.exp(V)) * np.array([1.0, 2.0, 4.0])),
        [([900.0, -math.inf, 900.0], 2.5, [-0.75, 0.0, 0.75])],
    ),
    "entropy_of_softmax": (
        gs.sum(gs.softmax(V) * gs.log(gs.softmax(V))),
        [([1e3, 0.0, 1e3], -math.log(2), ZERO), ([5.0, -math.inf, 5.0], -math.log(2), ZERO)],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def vector_runners(tmp_path_factory: pytest.TempPathFactory) -> Runners:
    programs = {name: joint(e, [V], name) for name, (e, _) in VECTORS.items()}
    slopes = {
        f"{name}_slope": joint(gs.sum(gradient(e, [V])[0] * np.array([1.0, -2.0, 0.5])), [V], f"{name}_slope")
        for name, (e, _) in VECTORS.items()
    }
    return Runners(programs | slopes, tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str, vector_runners: Runners) -> None:
    for point, value, slopes in VECTORS[name][1]:
        for target, run in vector_runners.all(name):
            got = run("value_and_grad", [point])
            assert float(got[0]) == pytest.approx(value, rel=1e-14), (target, point)
            assert np.ravel(got[1]).tolist() == pytest.approx(slopes, rel=1e-14, abs=1e-15), (target, point)
        for target, run in vector_runners.all(f"{name}_slope") if np.isfinite(slopes).all() else []:
            second = run("value_and_grad", [point])
            assert np.isfinite(second[1]).all(), (target, point, second)


def test_a_finite_cotangent_needs_no_mask() -> None:
    f = gs.compile(gs.sum(abs(V)) + gs.mean(gs.atan(abs(V))), selftest=False)
    assert f.cost.grad.get("compare", 0) == 0
