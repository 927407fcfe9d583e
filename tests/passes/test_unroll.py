"""compiler/gradsmith/passes/unroll.py: small arrays in C without loops, large ones as before."""

import numpy as np
import pytest

import gradsmith as gs


def turned(q, v):
    """v, turned by three rotations about an axis, as products of 3 x 3 matrices: full of zeros and ones."""
    turn = np.eye(3)
    for k in range(3):
        c, s = gs.cos(q[k]), gs.sin(q[k])
        turn = turn @ gs.stack([gs.stack([c, -s, 0.0]), gs.stack([s, c, 0.0]), gs.stack([0.0, 0.0, 1.0])])
    w = turn @ v
    return gs.sum(w * w * np.array([1.0, 2.0, 3.0]))


def test_small_matrices_leave_no_loop_and_no_memory():
    options = {"args": ((3,), (3,)), "target": "c", "name": "f", "selftest": False}
    f = gs.compile(turned, **options)
    loops = gs.compile(turned, **options, tuning=gs.Tuning(unroll_elements=1))
    for each, looped in ((f, False), (loops, True)):
        assert ("for (" in each.source) is looped
        assert ("work" in each.source) is looped
    q, v = np.array([0.3, -0.7, 1.1]), np.array([1.0, 2.0, -0.5])
    for ours, theirs in zip(f.grad(q, v), loops.grad(q, v), strict=True):
        assert ours.shape == (3,)
        assert ours == pytest.approx(theirs, rel=1e-14)
    assert f(q, v) == pytest.approx(loops(q, v), rel=1e-14)
    f.check()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matrices_go_out_element_by_element(dtype):
    """Results and gradients of several axes, one of them of one element, in their places."""
    a, b = np.arange(6.0).reshape(2, 3).astype(dtype), np.array([[0.5], [1.5], [-2.0]], dtype)
    options = {"args": ((2, 3), (3, 1)), "target": "c", "dtype": dtype, "selftest": False}
    f = gs.compile(lambda a, b: (a @ b, a.T, a > 1.0), **options, derivatives="value")
    assert "for (" not in f.source
    product, flipped, above = f(a, b)
    np.testing.assert_array_equal(product, a @ b)
    np.testing.assert_array_equal(flipped, a.T)
    np.testing.assert_array_equal(above, a > 1.0)
    g = gs.compile(lambda a, b: gs.sum((a @ b) ** 2), **options)
    place = (np.empty_like(a), np.empty_like(b))
    assert g.grad(a, b, out=place) is place
    np.testing.assert_allclose(place[0], 2.0 * (a @ b) @ b.T, rtol=1e-6)
    np.testing.assert_allclose(place[1], 2.0 * a.T @ (a @ b), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: gs.sum(x * x), (10,)),  # too many
        (lambda x: gs.sum(gs.exp(x)), (5,)),  # two vectors of exp
        (lambda x: gs.sum(gs.sort(x)[:2]), (4,)),  # there are only loops
    ],
)
def test_what_loops_do_better_stays(function, shape):
    assert "for (" in gs.compile(function, args=(shape,), target="c", selftest=False).source


def test_sums_of_many_stay_loops() -> None:
    """However few they are: a line for each term would be one, and no vectors."""
    for function, shapes in ((lambda x: gs.max(x, axis=1), ((3, 128),)), (lambda a, b: a @ b, ((2, 100), (100, 2)))):
        f = gs.compile(function, args=shapes, target="c", derivatives="value", selftest=False)
        assert "for (" in f.source[f.source.index("void ") :]


def test_what_has_no_straight_form_stays_a_loop() -> None:
    """An index that is known at run time, and arrays without elements, in whose place no line would stand."""
    v, k, none = gs.symbol("v", (3,)), gs.symbol("k", (2,), gs.int32), gs.symbol("none", (0,))
    f = gs.compile(gs.sum(v[k] ** 2), wrt="v", target="c", selftest=False)
    assert f.grad(np.arange(3.0), [2, 0]).tolist() == [0.0, 0.0, 4.0]
    g = gs.compile(gs.sum(none**2) + gs.sum(v * v), target="c", selftest=False)
    assert g.grad(np.ones(3), np.zeros(0))[0].tolist() == [2.0, 2.0, 2.0]
