"""`check`: where it looks, what it compares with, and what its report says."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.verification.domain import bounds, drawn

pytest.importorskip("torch")

AGAINST = ["torch", "mpmath", "finite"]
POINT = {"W": np.array([[0.5, -0.25, 2.0], [-1.0, 0.125, 0.3]]), "b": np.array([0.1, -0.2])}, np.array([0.7, -0.4, 1.3])
x, y = gs.symbols("x y")


def seen(f: gs.CompiledFunction, **options: Any) -> list[tuple[Any, ...]]:
    """All points at which `check` calls the generated function."""
    points: list[tuple[Any, ...]] = []
    flat = f._flat
    f._flat = lambda kind, leaves: points.append(tuple(leaves)) or flat(kind, leaves)  # type: ignore[method-assign]
    assert f.check(**options).ok
    return points


# --- where ------------------------------------------------------------------------------------------------------------


def test_every_point_is_inside_of_the_domain() -> None:
    f = gs.compile(gs.log(x) * gs.sqrt(10.0 - x) * y)
    points = seen(f, n=60, domain={"x": (0, 10)})
    assert len(points) > 60
    assert all(0.0 < p[0] < 10.0 for p in points)
    assert min(p[0] for p in points) < 1e-2 < 9.9 < max(p[0] for p in points)  # and near both ends
    assert any(p[0] == 0.5 for p in points), "edges inside of the domain are points too"
    assert {p[1] for p in points} >= {0.0, 30.0, -30.0}, "y is as free as without"


def test_open_ends_arrays_of_bounds_and_fixed_numbers() -> None:
    def model(p: Any, t: Any) -> Any:
        return gs.sum(gs.log(p["w"]) * t) + p["b"]

    f = gs.compile(model, args=({"w": (3,), "b": ()}, (3,)))
    low = np.array([0.0, 5.0, 7.0])
    points = seen(f, n=30, domain={"p['w']": (low, [1.0, math.inf, 7.0]), "b": (None, -2), "t": (3, 3)})
    w, b, t = (np.array([p[i] for p in points]) for i in range(3))
    assert (w[:, 0] > 0.0).all()
    assert (w[:, 0] < 1.0).all()
    assert (w[:, 1] > 5.0).all()
    assert w[:, 1].max() > 50.0
    assert (w[:, 2] == 7.0).all()
    assert (b < -2.0).all()
    assert (t == 3.0).all()


def test_names_of_inputs() -> None:
    traced = gs.compile(lambda p, t: p["w"] * p["v"][0] * t, args=({"w": (), "v": [()]}, ()))._traced
    assert [b and (float(b[0]), float(b[1])) for b in bounds({"p": (0, 1), "p.w": (2, 3)}, traced)] == [
        (2, 3),
        (0, 1),
        None,
    ]
    assert bounds({"p['v'][0]": (0, 1)}, traced)[1] is not None
    assert bounds({"p.v.0": (0, 1)}, traced)[1] is not None
    assert bounds(None, traced) == [None] * 3


def test_the_seed_decides() -> None:
    graph = gs.compile(x * y).graph
    assert drawn(graph, [None, None], 5, 1) == drawn(graph, [None, None], 5, 1)
    assert drawn(graph, [None, None], 5, 1) != drawn(graph, [None, None], 5, 2)


def test_points_of_your_own() -> None:
    f = gs.compile(lambda v, k: gs.sum(v) * k, args=((2,), ()), name="f")
    points = seen(f, n=0, points=[([1.25, 2.5], 3.125), {"v": np.array([7.0, 7.5]), "k": 2}])
    assert [(list(v), k) for v, k in points[:2]] == [([1.25, 2.5], 3.125), ([7.0, 7.5], 2.0)]
    with pytest.raises(gs.ArgumentError, match=r"f\(\) takes \(v, k\): missing 'k'"):
        f.check(points=[([1.0, 2.0],)])
    with pytest.raises(gs.ShapeMismatchError, match=r"'v' has shape \(3,\), expected \(2,\)"):
        f.check(points=[([1.0, 2.0, 3.0], 1.0)])


@pytest.mark.parametrize(("options", "message"), [
    ({"domain": {"z": (0, 1)}}, "domain= names 'z'; the arguments are x, y"),
    ({"domain": {"x": (2, 1)}}, r"domain=\{'x': \(2, 1\)\}: the lower bound must not be above the upper one, nor NaN"),
    ({"domain": {"x": (math.nan, 1)}}, "nor NaN"),
    ({"domain": {"x": 3}}, r"domain=\{'x': 3\}: give two bounds \(low, high\)"),
    ({"domain": {"x": (0, 1, 2)}}, "give two bounds"),
    ({"domain": {"x": ("a", "b")}}, "give two bounds"),
    ({"domain": {"x": ([0, 0], 1)}}, r"domain= of 'x': bounds of shapes \(2,\) and \(\) do not fit its shape \(\)"),
    ({"domain": (0, 1)}, r'domain= is a dict such as \{"x": \(0, 10\)\}, not \(0, 1\)'),
    ({"against": "jax"}, "against='jax': choose from 'torch', 'mpmath', 'finite'"),
    ({"order": 3}, "order=3: 1 checks values and gradients, 2 second derivatives too"),
    ({"order": True}, "order=True"),
    ({"n": -1}, "n=-1 is no count: give an int, 0 or more"),
    ({"n": 2.5}, "n=2.5 is no count"),
    ({"seed": -1}, "seed=-1 is no count"),
])  # fmt: skip
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gs.SpecError, match=message):
        gs.compile(x * y).check(**options)


def test_the_second_order_needs_a_first() -> None:
    with pytest.raises(
        gs.DerivativeError, match="order=2 checks the derivative of the gradient, and f was compiled wi"
    ):
        gs.compile(x * y, derivatives="value").check(order=2)


# --- against what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("against", AGAINST)
def test_right_functions_pass(against: str, target: str) -> None:
    def model(p: Any, t: Any) -> Any:
        return gs.sum(gs.tanh(p["W"] @ t + p["b"]) ** 2) + gs.relu(t[0]) * gs.exp(-gs.abs(t[1]))

    f = gs.compile(model, args=({"W": (2, 3), "b": (2,)}, (3,)), target=target)
    report = f.check(n=0, points=[POINT], against=against, order=2, domain={"p": (-1, 1), "t": (-1, 1)})
    assert report.ok, str(report)
    assert [e.name for e in report.entries] == ["value", "d_W", "d_b", "d_t", "d2_W", "d2_b", "d2_t"]
    assert all(e.numbers for e in report.entries)


@pytest.mark.parametrize("kinds", ["grad", "value", ("value", "grad")])
@pytest.mark.parametrize("against", AGAINST)
def test_of_what_was_compiled(against: str, kinds: Any) -> None:
    report = gs.compile(x * gs.sin(y), wrt="y", derivatives=kinds).check(against=against)
    assert report.ok
    assert [e.name for e in report.entries] == (["value"] if kinds == "value" else ["d_y"])


@pytest.mark.parametrize("against", AGAINST)
def test_second_order_of_one_of_several_arguments(against: str) -> None:
    f = gs.compile(x * x * gs.exp(y), wrt="y", derivatives="grad")
    assert [e.name for e in f.check(against=against, order=2, domain={"y": (-3, 3)}).entries] == ["d_y", "d2_y"]


def test_a_second_order_of_zero() -> None:
    """No input is left in the gradient."""
    assert gs.compile(3.0 * x + y).check(order=2).ok


@pytest.mark.parametrize(("against", "words"), [
    ("torch", "torch"), ("mpmath", "mpmath (50 digits)"), ("finite", "finite differences in float64"),
])  # fmt: skip
def test_the_report_names_reference_and_tolerance(against: str, words: str) -> None:
    limits = "rtol=1e-06, atol=1e-08" if against == "finite" else "rtol=1e-09, atol=1e-12"
    report = gs.compile(x * y).check(against=against)
    assert str(report).splitlines()[0] == f"ok: 3 outputs, 42 points, against {words}, {limits}"


@pytest.mark.parametrize("against", ["mpmath", "finite"])
def test_what_a_reference_cannot_tell_is_left_out(against: str) -> None:
    report = gs.compile(gs.abs(x)).check(against=against)
    slope = report.entries[1]
    assert report.ok
    assert slope.left_out >= 2, "at 0.0 and at -0.0"
    assert "left out" in str(report)
    nothing = gs.compile(gs.abs(x)).check(against=against, n=3, domain={"x": (0, 0)})
    assert not nothing.ok
    assert str(nothing).startswith("NOTHING COMPARED")
    assert nothing.unproven == ("d_x",)


def test_the_first_reference_that_can(user_op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = user_op("wave", torch=None)
    assert "against mpmath" in str(gs.compile(wave(x)).check())
    wave = user_op("wave_2", torch=None, mp=None)
    f = gs.compile(wave(x), selftest=False)
    assert "against finite" in str(f.check())
    with pytest.raises(gs.UnsupportedError, match=r"'wave_2' has no mp= reference: .* against='finite'"):
        f.check(against="mpmath")
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert "against mpmath" in str(gs.compile(x * y).check())


# --- what it says -----------------------------------------------------------------------------------------------------


def worst(f: gs.CompiledFunction, output: int, **options: Any) -> tuple[float, float]:
    """Where the worst error is, and the condition number there."""
    entry = f.check(n=30, **options).entries[output]
    assert entry.where is not None
    assert entry.condition is not None
    return float(dict(entry.where)["x"]), entry.condition


@pytest.mark.parametrize(("expr", "output", "condition"), [
    (x - 1.0, 0, lambda at: abs(at / (at - 1.0))),
    (gs.tan(x), 0, lambda at: abs(at * (1.0 + math.tan(at) ** 2) / math.tan(at))),
    (x**3, 1, lambda at: 2.0),
    (gs.exp(x), 1, abs),
    (x**5 + gs.sin(x), 2, lambda at: abs(at * (60 * at**2 - math.cos(at)) / (20 * at**3 - math.sin(at)))),
])  # fmt: skip
def test_condition_numbers(expr: gs.Expr, output: int, condition: Callable[[float], float]) -> None:
    at, found = worst(gs.compile(expr), output, domain={"x": (0.5, 1.5)}, order=2)
    assert found == pytest.approx(condition(at), rel=1e-3)


def test_the_condition_of_x_minus_1_near_1() -> None:
    at, found = worst(gs.compile(x - 1.0), 0, domain={"x": (1, 1 + 1e-9)})
    assert 1e9 < found == pytest.approx(at / (at - 1.0), rel=1e-6)


def test_no_mismatch_where_rounding_the_inputs_explains_it() -> None:
    """The sine of a number one rounding off: far from the sine of the number, as its condition number says."""
    f = gs.compile(gs.sin(x), target="numpy")
    huge = 1e8 + 0.3
    f.__dict__["_functions"] = {"value_and_grad": lambda v: (np.sin(v * (1 + 2e-16)), np.cos(v * (1 + 2e-16)))}
    report = f.check(n=0, points=[huge], domain={"x": (0.1, 0.2)}, against="mpmath")
    assert report.ok
    assert any(note.reason == "as near as the rounding of the inputs allows" for note in report.notes)
    assert report.entries[0].condition == pytest.approx(abs(huge / math.tan(huge)), rel=1e-2)


def test_no_mismatch_where_results_turn_over_within_the_last_places() -> None:
    """sin(exp(90)): the exponential's last digit, which libraries round differently, is many turns."""
    f = gs.compile(gs.sin(gs.exp(x)), target="numpy")

    def off(v: float) -> tuple[float, float]:
        y = np.nextafter(np.exp(v), np.inf)
        return np.sin(y), np.cos(y) * y

    f.__dict__["_functions"] = {"value_and_grad": off}
    points = np.linspace(80.0, 100.0, 5)
    assert f.check(n=0, points=points, domain={"x": (0.1, 0.2)}, against="torch").ok
    f.__dict__["_functions"] = {"value_and_grad": lambda v: (1e9, off(v)[1])}  # what no rounding explains
    assert not f.check(n=0, points=points, domain={"x": (0.1, 0.2)}, against="torch").ok


def test_where_torch_is_the_worse_one() -> None:
    """torch's slope of tanh is 1 - y*y, which has few digits left where y is near 1; ours is sech(x)^2."""
    report = gs.compile(gs.tanh(x)).check(n=40, domain={"x": (3, 6)}, against="torch")
    (note,) = [note for note in report.notes if "the reference is the worse one" in note.reason]
    at = dict(note.inputs)["x"]
    exact = 1.0 / math.cosh(at) ** 2
    assert note.output == "d_x"
    assert abs(note.got - exact) < 1e-15 * exact < 1e-14 * exact < abs(note.want - exact)
    assert not gs.compile(gs.tanh(x)).check(n=40, domain={"x": (3, 6)}, against="mpmath").notes


def test_nan_on_both_sides_has_an_origin() -> None:
    h = gs.log(x)
    f = gs.compile(h * y)
    text = str(f.check(n=3))
    assert text.startswith("ok")
    assert "NaN on both sides:\n  value: NaN at " in text
    assert "log gives nan: h = log(x) with x = -" in text
    assert "test_options.py" in text
    assert "NaN" not in str(f.check(n=3, domain={"x": (0, None)}))


def test_the_text_of_a_mismatch(user_op: Any) -> None:
    wave = user_op("wave", lambda g, y, x: (2.0 * g * gs.cos(x),))
    h = wave(x)
    f = gs.compile(h, selftest=False)
    lines = str(f.check(n=1, domain={"x": (3.0, 3.0)}, against="mpmath")).splitlines()
    slope = f"{math.cos(3.0):.8g}"
    assert lines == [
        "MISMATCH: 2 outputs, 1 point, against mpmath (50 digits), rtol=1e-09, atol=1e-12",
        "output  numbers  worst abs  worst rel  worst ulp  condition     verdict",
        "value         1          0          0          0         21          ok",
        "d_x           1       0.99        0.5    4.5e+15      0.428  1 mismatch",
        f"cause: the derivative rule of op 'wave' gives {2 * math.cos(3.0):.8g}, but the slope is {slope}, at 3.0",
        f"  at test_options.py:{test_the_text_of_a_mismatch.__code__.co_firstlineno + 2}: h = wave(x)",
        "mismatches:",
        f"  d_x: got {2 * math.cos(3.0)!r}, expected {math.cos(3.0)!r}: they differ by 0.99, 4.5e+15 ulp",
        "    at x=3.0",
    ]


# --- no false alarms --------------------------------------------------------------------------------------------------


def test_a_step_that_rounding_turns_is_left_out() -> None:
    """tanh(30) is 1 in float64, so that floor gives 3 and not 2."""
    f = gs.compile(gs.floor(3.0 * gs.tanh(x)) * x)
    report = f.check(n=0, points=[30.0, 0.3], domain={"x": (0.4, 0.45)}, against="mpmath", order=2)
    assert report.ok
    assert [(e.numbers, e.left_out) for e in report.entries] == [(1, 1)] * 3


@pytest.mark.parametrize("against", AGAINST)
def test_where_there_is_no_hessian_nothing_is_said(against: str) -> None:
    v = gs.symbol("v", (2,))
    f = gs.compile(gs.sum(gs.minimum(v[0], v[1]) ** 2 * gs.exp(v)))
    assert f.check(n=0, points=[np.array([0.25, 0.25]), np.array([0.25, 0.5])], against=against, order=2).ok


@pytest.mark.slow
def test_random_programs_pass_against_every_reference() -> None:
    """Right rules, jumps, kinks and ties: no mismatch, and nobody is blamed."""
    from random import Random

    from ..conformance.programs import random_program

    pick = Random(3).randrange
    for number in range(2):
        sample = random_program(pick)
        f = gs.compile(
            sample.function(number), args=dict(sample.arguments), wrt=sample.wrt, target="numpy", selftest=False
        )
        for against in AGAINST:
            report = f.check(n=0, against=against, order=2, domain=dict.fromkeys(sample.arguments, (-1, 1)))
            assert not report.mismatches, f"{sample.source}\n{report}"
            assert not report.causes


@pytest.mark.parametrize("against", AGAINST)
def test_a_jump_at_the_point_itself_is_no_mismatch(against: str) -> None:
    """At 0 the value is on the first branch, and all around it on the second."""
    f = gs.compile(gs.where(x * x <= 0.0, gs.sin(x) + x**2, gs.cos(x)))
    report = f.check(n=0, points=[0.0, 0.5], domain={"x": (1, 2)}, against=against, order=2)
    assert report.ok, str(report)
