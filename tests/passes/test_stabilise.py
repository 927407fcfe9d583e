"""Stable forms: each law is found, is far better where it says so, and is nowhere worse; 500 digits decide."""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.evaluate import evaluate_mp
from gradsmith.passes.stabilise import LAWS, Law, _table

BUILT = {row.law.text for rows in _table().values() for row in rows}
KNOWN = [law for law in LAWS if law.text in BUILT]

#: Where the formula itself is no number though it has a limit: the law, the operands, the limit.
LIMITS = {
    ("(1 - cos(x))/x^2 -> (sin(x/2)/(x/2))^2/2", (0.0,)): 0.5,
    ("(1 - cos(x))/x -> sin(x/2)*sin(x/2)/(x/2)", (0.0,)): 0.0,
    ("(1 - cos(x))/sin(x) -> tan(x/2)", (0.0,)): 0.0,
    ("sin(x)/x -> sin_over_x(x)", (0.0,)): 1.0,
    ("sinh(x)/x -> sinh_over_x(x)", (0.0,)): 1.0,
    ("tanh(x)/x -> tanh_over_x(x)", (0.0,)): 1.0,
    ("(exp(x) - 1)/x -> expm1_over_x(x)", (0.0,)): 1.0,
    ("x/sin(x) -> x_over_sin(x)", (0.0,)): 1.0,
    ("x/sinh(x) -> x_over_sinh(x)", (0.0,)): 1.0,
    ("x/tanh(x) -> x_over_tanh(x)", (0.0,)): 1.0,
    ("x/(exp(x) - 1) -> x_over_expm1(x)", (0.0,)): 1.0,
    ("x*log(x) -> xlogx(x)", (0.0,)): 0.0,
}  # fmt: skip

#: Where the formula is no real number though rounding makes one of it: no harm in the NaN.
OUTSIDE: dict[str, Callable[..., bool]] = {
    "log(1 - exp(x)) -> log1mexp(x)": lambda x: x > 0.0,
    "log1p(-exp(x)) -> log1mexp(x)": lambda x: x > 0.0,
}

SLACK = {"1 - tanh(x)^2 -> sech(x)^2": 2.0}  # units in the last place; it rounds four times
TINY = float(np.finfo(float).tiny)
SIZES = [5e-324, 1e-310, 1e-300, 1e-160, 1e-30, 1e-12, 3e-9, 1e-5, 2e-3, 0.07, 0.3, 0.5, 0.7, 0.99, 1.0, 1.0 + 1e-9,
         1.3, 1.57, 2.0, 3.14, 7.0, 20.0, 37.0, 100.0, 350.0, 709.0, 745.0, 1e4, 1e9, 1e160, 1.7e308]  # fmt: skip
LINE = [s * m for m in SIZES for s in (1.0, -1.0)] + [0.0, -0.0, np.inf, -np.inf, np.nan]
PAIRS = [*itertools.product(LINE[6::5], LINE[::7]), *((x, x * (1.0 + d)) for x in LINE for d in (0.0, 1e-9, -1e-14))]
VECTORS = [
    [a * s, b * s, c * s]
    for s in (1e-300, 1e-160, 1e-8, 1.0, 40.0, 700.0, 1e4, 1e160)
    for a, b, c in ((1.0, 0.5, -0.3), (-1.0, -1.0, -1.0), (0.9, -0.9, 0.0), (0.0, 0.0, 0.0))
] + [[-np.inf, 0.0, 1.0], [np.inf, 1.0, 2.0], [np.nan, 1.0, 2.0], [-np.inf] * 3]  # fmt: skip


def symbols_of(law: Law) -> list[gs.Expr]:
    return [gs.symbol(name, (3,) if law.find else ()) for name in inspect.signature(law.naive).parameters]


def grid(law: Law) -> list[tuple[Any, ...]]:
    count = len(inspect.signature(law.naive).parameters)
    points = [(v,) for v in VECTORS] if law.find else [(x,) for x in LINE] if count == 1 else PAIRS
    return points


def exact(law: Law, graph: gs.Graph, point: Sequence[Any]) -> list[float] | None:
    """The formula itself with 1200 digits; None where it is no real number, or a pole."""
    key = (law.text, tuple(point))
    if not law.find and key in LIMITS:
        return [LIMITS[key]]
    with mp.workdps(1200), np.errstate(all="ignore"):
        try:
            found = np.ravel(evaluate_mp(graph, [np.asarray(v, dtype=object) for v in point])[graph.outputs[0]])
        except (ArithmeticError, ValueError, MemoryError):
            return None
        return None if any(mp.isnan(v) for v in found) else [float(v) for v in found]


def ulps(got: float, want: float) -> float:
    """The distance in units in the last place of `want`; all numbers below the normal range count as equal."""
    if max(abs(got), abs(want)) < TINY or got == want or (math.isnan(got) and math.isnan(want)):
        return 0.0
    if not math.isfinite(got) or not math.isfinite(want):
        return math.inf
    return float(abs(mp.mpf(got) - mp.mpf(want)) / math.ulp(want))


def around(point: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The point and a few beside it: at a single one, either form may be right by luck."""
    yield tuple(point)
    for k in (1, 3, 4, 7, 11):
        yield tuple((np.asarray(v) * (1.0 - k * 2.0**-11)).tolist() for v in point)


@pytest.mark.parametrize("law", KNOWN, ids=lambda law: law.text)
def test_law(law: Law) -> None:
    """Never worse by more than one unit in the last place; where the law claims a gain, at least ten times better."""
    xs = symbols_of(law)
    expression = law.naive(*xs)
    options: dict[str, Any] = {"args": xs, "target": "numpy", "selftest": False, "derivatives": ("value",)}
    naive, stable = gs.compile(expression, stabilize=False, **options), gs.compile(expression, **options)
    assert naive.report == ()
    assert stable.report[-1].law == law.text
    assert stable.report[-1].times == 1

    def errors(point: Sequence[Any]) -> tuple[float, float]:
        """How far the two forms are off at most; an infinity or NaN that is right must stay what it is."""
        before, after = (np.ravel(f(*point)).tolist() for f in (naive, stable))
        wanted = exact(law, naive.graph, point)
        if wanted is None:
            assert all(
                math.isnan(a) or a == b or OUTSIDE.get(law.text, bool)(*point)
                for a, b in zip(before, after, strict=True)
            ), (point, before, after)
            return 0.0, 0.0
        assert all(ulps(a, w) > 2.0 or ulps(b, w) <= 4.0 for a, b, w in zip(before, after, wanted, strict=True)), (
            point,
            before,
            after,
            wanted,
        )
        return max(map(ulps, before, wanted)), max(map(ulps, after, wanted))

    for point in law.at:
        worst = errors(point)
        assert worst[0] > 10 * worst[1], (point, worst)
        assert worst[1] <= 4.0, (point, worst)
    for point in grid(law):
        worst = tuple(map(max, *map(errors, around(point))))
        assert worst[1] <= worst[0] + SLACK.get(law.text, 1.0), (point, worst)
