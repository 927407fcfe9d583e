"""compare, sample_points, ulp_distance, Report: what counts as equal, and what is said when it is not."""

import math
import pickle

import numpy as np
import pytest

from gradsmith_runtime import (
    ArgumentError,
    MismatchError,
    MissingExtraError,
    assert_matches_torch,
    compare,
    sample_points,
    ulp_distance,
)

NAN, INF = math.nan, math.inf


def one(got, want, **options):
    """The report on a single output at a single point."""
    return compare(lambda x: [got], lambda x: [want], [(0.5,)], ["x"], ["value"], **options)


# --- verdicts ---


@pytest.mark.parametrize(
    ("got", "want", "ok"),
    [
        (1.0, 1.0, True),
        (0.0, -0.0, True),
        (1.0, 1.0 + 5e-10, True),
        (1.0, 1.0 + 5e-9, False),
        (1e-13, 0.0, True),
        (1e-11, 0.0, False),
        (-1e-13, 1e-13, True),
        (NAN, NAN, True),
        (INF, INF, True),
        (-INF, -INF, True),
        (INF, -INF, False),
        (INF, 1e308, False),
        (1e308, INF, False),
        (NAN, 1.0, False),
        (INF, NAN, False),
        (NAN, INF, False),
        (1.0, NAN, True),  # a note
        (1e308, -1e308, False),  # the difference overflows
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([[1.0, 2.0]], [1.0, 2.0], False),
        (1.0, [1.0], False),
        (np.zeros((0, 3)), np.zeros((0, 3)), True),
        (np.zeros((0, 3)), np.zeros((0, 4)), False),
        (3, 3.0, True),
    ],
)
def test_verdicts(got, want, ok):
    report = one(got, want)
    assert report.ok is ok
    assert len(report.mismatches) == (not ok)
    assert isinstance(str(report), str)


def test_finite_where_the_reference_is_nan_is_a_note():
    report = one([1.0, 2.0, NAN], [NAN, 2.0, NAN])
    assert report.ok
    (note,) = report.notes
    assert (note.element, note.got, note.count) == ((0,), 1.0, 1)
    assert "finite where the reference is NaN" in str(report)


def test_max_ulp_is_a_limit_of_its_own():
    next_one = math.nextafter(1.0, 2.0)
    assert one(next_one, 1.0, max_ulp=1).ok
    assert not one(math.nextafter(next_one, 2.0), 1.0, max_ulp=1, atol=0.0).ok
    assert one(math.nextafter(next_one, 2.0), 1.0, max_ulp=1).ok  # within atol
    assert not one(1e-300, 2e-300, max_ulp=1, atol=0.0).ok
    assert one(1e-300, 2e-300, max_ulp=1).ok


def test_zero_tolerance_asks_for_equality():
    assert one(0.1, 0.1, rtol=0.0, atol=0.0).ok
    report = one(math.nextafter(0.1, 1.0), 0.1, rtol=0.0, atol=0.0)
    assert not report.ok
    assert report.entries[0].ulps == 1.0


def test_float32_ulps_are_counted_in_float32():
    got = np.float32(0.1)
    assert one(got, 0.1, rtol=1e-6).entries[0].ulps == 0.0
    assert one(np.nextafter(got, np.float32(1)), 0.1, rtol=1e-6).entries[0].ulps == 1.0


# --- what the report says ---


def test_the_worst_element_and_its_point_are_found():
    def candidate(x, v):
        return [x + v.sum(), np.where(v == 7.0, v + 1e-3, v)]

    def reference(x, v):
        return [x + v.sum(), v]

    points = [(1.0, np.array([1.0, 2.0])), (2.0, np.array([7.0, 7000.0])), (3.0, np.array([3.0, 4.0]))]
    report = compare(candidate, reference, points, ["x", "v"], ["value", "d_v"])
    value, slope = report.entries
    assert (value.numbers, slope.numbers, report.points) == (3, 6, 3)
    assert (value.absolute, value.ulps, value.mismatches) == (0.0, 0.0, ())
    assert slope.absolute == pytest.approx(1e-3)
    assert slope.relative == pytest.approx(1e-3 / 7.001)
    assert dict(slope.where)["x"] == 2.0
    (finding,) = report.mismatches
    assert (finding.output, finding.element, finding.got, finding.want) == ("d_v", (0,), 7.001, 7.0)
    text = str(report)
    assert text.startswith("MISMATCH: 2 outputs, 3 points, rtol=1e-09, atol=1e-12\n")
    assert "d_v[0]: got 7.001, expected 7.0: they differ by 0.001" in text
    assert "at x=2.0, v=[   7., 7000.]" in text
    assert "<pre>" in report._repr_html_()


def test_the_worst_is_measured_against_the_tolerance():
    """An error of 1e-3 on 1e9 is fine, one of 1e-6 on 1 is not."""
    report = one([1e9 + 1e-3, 1.0 + 1e-6], [1e9, 1.0])
    assert report.mismatches[0].element == (1,)
    assert report.entries[0].absolute == pytest.approx(1e-3, rel=1e-3)


def test_a_non_finite_element_outranks_a_finite_error():
    finding = one([100.0, NAN], [1.0, 1.0]).mismatches[0]
    assert (finding.element, finding.count) == ((1,), 2)


def test_a_slope_off_by_a_twentieth_of_a_percent_is_caught():
    points = sample_points([(), (3,)])
    args = (points, ["x", "v"], ["d_v"])
    assert compare(lambda x, v: [x * np.cos(v)], lambda x, v: [np.cos(v) * x], *args).ok
    assert not compare(lambda x, v: [x * np.cos(v) * 1.0005], lambda x, v: [x * np.cos(v)], *args).ok


def test_a_candidate_that_raises_mismatches_where_it_does():
    report = compare(lambda x: [math.log(x)], lambda x: [math.log(abs(x))], [(1.0,), (-2.0,)], ["x"], ["value"])
    (finding,) = report.mismatches
    assert "it raised ValueError: " in finding.reason
    assert dict(finding.inputs) == {"x": -2.0}
    assert report.entries[0].numbers == 1


def test_other_errors_of_the_candidate_and_all_of_the_reference_pass_through():
    def broken(x):
        raise KeyError("k")

    def domain(x):
        raise ValueError("v")

    with pytest.raises(KeyError):
        compare(broken, lambda x: [x], [(1.0,)], ["x"], ["value"])
    with pytest.raises(ValueError, match="v"):
        compare(lambda x: [x], domain, [(1.0,)], ["x"], ["value"])


def test_neither_function_sees_what_the_other_does_to_the_inputs():
    def vandal(v):
        out = v * 2.0
        v[:] = 0.0
        return [out]

    point = np.ones(3)
    report = compare(vandal, vandal, [(point,)], ["v"], ["value"])
    assert report.ok
    np.testing.assert_array_equal(dict(report.entries[0].where)["v"], np.ones(3))
    np.testing.assert_array_equal(point, np.ones(3))


def test_wrong_counts_are_errors_of_the_caller():
    with pytest.raises(ArgumentError, match="the candidate returned 2 outputs, expected 1: value"):
        compare(lambda x: [x, x], lambda x: [x], [(1.0,)], ["x"], ["value"])
    with pytest.raises(ArgumentError, match="point 1 has 2 inputs, expected 1"):
        compare(lambda x: [x], lambda x: [x], [(1.0, 2.0)], ["x"], ["value"])


def test_comparing_nothing_is_not_ok():
    report = compare(lambda x: [x], lambda x: [x], [], ["x"], ["value"])
    assert not report.ok
    assert "NOTHING COMPARED" in str(report)
    with pytest.raises(MismatchError):
        report.raise_on_mismatch()


def test_raising_carries_the_report_across_processes():
    one(1.0, 1.0).raise_on_mismatch()
    with pytest.raises(AssertionError, match="MISMATCH") as caught:
        one(1.0, 2.0).raise_on_mismatch()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy.report) == str(caught.value.report)


def test_many_findings_are_cut_in_print_only():
    report = compare(lambda x: [x + 1], lambda x: [x], [(float(i),) for i in range(50)], ["x"], ["value"])
    assert len(report.mismatches) == 50
    assert "... 42 more in the report" in str(report)


# --- references that know less, or are wrong ---


def test_what_the_reference_masks_is_left_out():
    wanted = np.ma.MaskedArray([1.0, 7.0, NAN], [False, True, True])
    report = one(np.array([1.0, 2.0, NAN]), wanted)
    (entry,) = report.entries
    assert report.ok
    assert (entry.numbers, entry.left_out, entry.undefined) == (1, 2, ())
    assert "left out" in str(report)
    assert not one(np.array([1.1, 2.0, 3.0]), wanted).ok


def test_nothing_compared_is_not_ok():
    report = one(1.0, np.ma.masked_invalid(NAN))
    assert not report.ok
    assert report.unproven == ("value",)
    assert str(report).startswith("NOTHING COMPARED: 1 output, 1 point")
    assert "not compared" in str(report)
    with pytest.raises(MismatchError):
        report.raise_on_mismatch()


def test_nan_on_both_sides_is_remembered_where_the_inputs_are_finite():
    (entry,) = one([NAN, 1.0], [NAN, 1.0]).entries
    assert [f.element for f in entry.undefined] == [(0,)]
    assert "NaN on both sides:\n  value[0]: NaN at 1 point, first at x=0.5" in str(one([NAN, 1.0], [NAN, 1.0]))
    report = compare(lambda x: [x], lambda x: [x], [(NAN,)], ["x"], ["value"])
    assert report.entries[0].undefined == ()


def test_the_arbiter_decides_between_the_two():
    assert one(1.0, 1.1, arbiter=lambda leaves, output, at: 1.0).ok
    assert not one(1.0, 1.1, arbiter=lambda leaves, output, at: 1.1).ok
    assert not one(1.0, 1.1, arbiter=lambda leaves, output, at: None).ok
    assert one(1.0, 1.1, arbiter=lambda leaves, output, at: 1.03).ok  # both are off, the reference by more than twice
    assert not one(1.0, 1.1, arbiter=lambda leaves, output, at: 1.04).ok


def test_of_many_wrong_elements_some_are_judged_and_all_must_pass():
    asked = []

    def arbiter(leaves, output, at):
        asked.append(at[0])
        return 1.0 if at[0] != 0 else 2.0

    want = np.linspace(2.0, 1.1, 100)  # the first is the worst
    right = one(np.ones(99), want[1:], arbiter=lambda leaves, output, at: 1.0)
    assert right.ok
    assert right.notes[0].count == 99
    report = one(np.ones(100), want, arbiter=arbiter)
    assert not report.ok
    assert 0 in asked
    assert 99 in asked
    assert len(asked) < 25


def test_slack_forgives_as_much_as_it_says():
    forgiven = one(1.0, 1.01, slack=lambda leaves, output, at: 0.02)
    assert forgiven.ok
    assert forgiven.notes[0].reason == "as near as the rounding of the inputs allows"
    assert forgiven.entries[0].absolute == pytest.approx(0.01), "the error is shown all the same"
    assert not one(1.0, 1.01, slack=lambda leaves, output, at: 0.005).ok
    assert not one(NAN, 1.01, slack=lambda leaves, output, at: INF).ok


def test_a_float32_result_overflows_where_float32_does():
    assert one(np.float32(INF), 1e39, rtol=1e-4).ok
    assert not one(np.float32(INF), 1e38, rtol=1e-4).ok


def test_no_output_hides_another_in_print():
    report = compare(lambda x: [x + 1, x + 2], lambda x: [x, x], [(float(i),) for i in range(9)], ["x"], ["a", "b"])
    text = str(report)
    assert [text.count(f"  {name}: got") for name in "ab"] == [4, 4]


# --- ULPs ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ulps_count_steps_of_nextafter(dtype):
    for start in (1.0, -1.0, 0.0, 1e-40, 65536.0):
        a = b = dtype(start)
        for steps in range(6):
            assert ulp_distance(np.array(a), np.array(b)) == steps
            assert ulp_distance(np.array([b]), np.array([a])) == [steps]
            b = np.nextafter(b, dtype(np.inf))


def test_ulps_of_far_numbers_do_not_overflow():
    largest = np.finfo(np.float64).max
    distance = ulp_distance(np.array([largest]), np.array([-largest]))
    assert distance == pytest.approx(2.0 * 0x7FEFFFFFFFFFFFFF)


# --- points ---


def test_points_are_reproducible_and_shaped():
    shapes = [(), (2, 3)]
    first, second = sample_points(shapes, seed=3), sample_points(shapes, seed=3)
    assert len(first) == 12 + 10 * 3
    for left, right in zip(first, second, strict=True):
        assert type(left[0]) is float
        assert left[1].shape == (2, 3)
        assert left[0] == right[0]
        np.testing.assert_array_equal(left[1], right[1])
    assert sample_points(shapes, seed=4)[0][0] != first[0][0]


def test_every_edge_meets_every_input_alone_and_all_together():
    points = sample_points([(), (2,)], n=0, edges=(-0.0, 30.0))
    zero_x, zero_v, zero_both, x, v, both = points
    assert math.copysign(1.0, zero_x[0]) == -1.0
    assert zero_x[1].all()
    assert zero_v[0] != 0.0
    assert not zero_v[1].any()
    assert (zero_both[0], *zero_both[1]) == (0.0, 0.0, 0.0)
    assert (x[0], 30.0 in x[1], v[0] == 30.0, *v[1], both[0], *both[1]) == (30.0, False, False, *[30.0] * 5)


def test_points_of_one_input_and_of_none():
    assert [point[0] for point in sample_points([()], n=0, edges=(1.0, 2.0))] == [1.0, 2.0]
    assert sample_points([]) == [()]


def test_random_points_cover_signs_and_scales():
    numbers = np.array([point[0] for point in sample_points([()], n=300, edges=())])
    assert (numbers < 0).sum() > 50
    assert np.abs(numbers).min() < 1e-2
    assert np.abs(numbers).max() > 50


BOUNDS = [
    (0.0, 10.0), (-1e300, 1e300), (5.0, INF), (-INF, -5.0), (-INF, INF), (1.0, math.nextafter(1.0, 2.0)),
    (1.0, 1.0 + 1e-15), (1e-320, 1e-310), (-0.5, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_points_lie_strictly_between_their_bounds(low, high):
    bounds = [(np.full(2, low), np.full(2, high)), None]
    points = sample_points([(2,), ()], n=40, bounds=bounds)
    inside = np.array([p[0] for p in points])
    if math.nextafter(low, INF) < high:
        assert ((low < inside) & (inside < high)).all()
    else:  # no number lies between: the lower bound itself
        assert (inside == low).all()
    edges = {p[1] for p in points}
    assert {0.0, 30.0, -30.0} <= edges, "the other input is free"


def test_an_input_fixed_by_its_bounds():
    points = sample_points([()], n=5, bounds=[(np.array(0.5), np.array(0.5))])
    assert points == [(0.5,)] * 5, "and no edge points"


# --- against torch ---


def test_matching_torch_passes():
    torch = pytest.importorskip("torch")

    def loss(params, x, n):
        return float(np.sum((params["W"] @ x) ** n) * params["s"])

    def torch_loss(params, x, n):
        return torch.sum((params["W"] @ x) ** n) * params["s"]

    def grad(params, x, n):
        y = params["W"] @ x
        return {
            "W": params["s"] * n * np.outer(y ** (n - 1), x),
            "s": np.sum(y**n),
        }, params["s"] * n * params["W"].T @ y ** (n - 1)

    args = ({"W": np.arange(6.0).reshape(2, 3), "s": 0.5}, np.array([1.0, -2.0, 0.5]), 3)
    assert_matches_torch(loss, torch_loss, *args, grad=grad)
    with pytest.raises(MismatchError) as caught:
        assert_matches_torch(loss, torch_loss, *args, grad=lambda *a: (grad(*a)[0], grad(*a)[1] * 1.0005))
    (finding,) = caught.value.report.mismatches
    assert (finding.output, finding.count) == ("grad[2]", 3)
    with pytest.raises(MismatchError):
        assert_matches_torch(lambda *a: loss(*a) + 1e-3, torch_loss, *args)


def test_several_outputs_and_a_bare_gradient():
    torch = pytest.importorskip("torch")
    assert_matches_torch(lambda x: (math.sin(x), [math.cos(x)]), lambda x: (torch.sin(x), [torch.cos(x)]), 0.3)
    assert_matches_torch(math.sin, torch.sin, 0.3, grad=math.cos)
    assert_matches_torch(lambda x, y: x, lambda x, y: x, 1.0, 2.0, grad=lambda x, y: (1.0, 0.0))  # y unused
    with pytest.raises(ArgumentError, match="one number"):
        assert_matches_torch(lambda v: v, lambda v: v, np.ones(2), grad=lambda v: v)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gradsmith\[torch\]'"):
        assert_matches_torch(math.sin, math.sin, 0.3)
