"""Powers: which are multiplied out, and how far off they are from 50 digits."""

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.origin import Origin
from gradsmith.passes.simplify import simplify
from gradsmith.trace import recording

x = gs.symbol("x")


def power(exponent: float, role: str) -> object:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        return simplify(to_graph([x], [x**exponent]))


CASES = [(n, "primal") for n in (-3, -2, -1, -0.5, 0.5, 1.5, -1.5, 1, 2, 3, 4)]
CASES += [(n, "cotangent") for n in (-15, -7, -5, 5, 6, 7, 8, 11, 15, 16, 1.5)]


@pytest.mark.parametrize(("exponent", "role"), CASES)
def test_multiplied_out_within_its_bound(exponent: float, role: str) -> None:
    graph = power(exponent, role)
    assert "pow" not in graph.text()  # type: ignore[attr-defined]
    points = np.random.default_rng(0).uniform(0.1, 10.0, 100)
    got = evaluate(graph, [points])[graph.outputs[0]]  # type: ignore[arg-type, attr-defined]
    roundings = abs(exponent) + 2
    with mp.workdps(50):
        for at, y in zip(points, got, strict=True):
            exact = mp.power(mp.mpf(float(at)), exponent)
            assert abs(mp.mpf(float(y)) - exact) <= roundings * 2.0**-53 * exact, at
            assert role == "cotangent" or abs(mp.mpf(float(y)) - exact) <= 2 * np.spacing(float(exact)), at


@pytest.mark.parametrize(
    ("exponent", "role"),
    [
        (5, "primal"),
        (-4, "primal"),
        (-8, "primal"),
        (17, "cotangent"),
        (0.3, "cotangent"),
        (2.5, "primal"),
        (1e300, "cotangent"),
    ],
)
def test_the_others_are_calls(exponent: float, role: str) -> None:
    assert "= pow" in power(exponent, role).text()  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [-0.0, 0.0, np.inf, -np.inf, np.nan, -2.0, 1e-200, 1e200])
@pytest.mark.parametrize("exponent", [0.5, -0.5, 2, 3, -1, 4])
def test_special_values_are_torch_s(exponent: float, at: float) -> None:
    torch = pytest.importorskip("torch")
    graph = power(exponent, "primal")
    got = float(evaluate(graph, [at])[graph.outputs[0]])  # type: ignore[arg-type, attr-defined]
    want = float(torch.pow(torch.tensor(at, dtype=torch.float64), exponent))
    assert np.array_equal(got, want, equal_nan=True) or got == pytest.approx(want, rel=1e-15)
    assert np.isnan(want) or np.signbit(got) == np.signbit(want)


def test_the_slope_of_a_high_power_calls_pow_once() -> None:
    f = gs.compile(x**9, target="c", selftest=False)
    assert f.cost.value_and_grad["pow"] == 1
    assert "pow" not in f.cost.grad
