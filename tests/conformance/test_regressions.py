"""Every bug that random programs and the op tests have found, as the smallest program that shows it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.derive.adjoint import gradient
from gradsmith.exact import digits
from gradsmith.trace import as_expr, registry_function

from . import harness
from .harness import COMPILERS, TARGETS, Library
from .judge import by_torch

X = np.array([0.3, -1.2, 2.0])
W = np.arange(1.0, 13.0).reshape(3, 4)


def everywhere(expression: Any, inputs: list[gs.Expr], *point: Any) -> None:
    """Value and gradient equal torch's on all targets."""
    for target in TARGETS:
        f = gs.compile(expression, args=inputs, target=target, selftest=False)
        flat = harness.run_python(f)("value_and_grad", point)
        error = harness.disagreement(f.graph, point, range(len(inputs)), flat)
        assert error < 1e-12, f"{target}: {flat}"


def test_a_constant_folded_to_a_scalar_is_a_scalar() -> None:
    """It became an array of shape (1,), since np.ascontiguousarray makes one axis of none."""
    x = gs.symbol("x")
    everywhere(gs.sum(gs.broadcast_to(x, (2, 2)) * np.array([[1.0, 2.0], [3.0, 4.0]])), [x], 0.5)


def test_tables_stand_once_in_a_numpy_file_and_keep_apart() -> None:
    def f(x: Any) -> Any:
        table = gs.exp(np.array([1.0, 2.0]))
        total = gs.sum(gs.exp(x) + table)
        table = gs.exp(np.array([3.0, 4.0]))
        return total + gs.sum(gs.sin(x) * table)

    compiled = gs.compile(f, args=(gs.spec((2,)),), target="numpy")
    assert compiled.source.split("@np.errstate")[0].count("np.array([") == 2
    assert compiled.check(n=2).ok


def test_the_gradient_of_expressions_expands_composites() -> None:
    a, b = gs.symbol("a", (2, 3)), gs.symbol("b", (2, 3, 2))
    (slope,) = gradient(gs.sum(gs.dot(a, b) ** 2), [a])
    assert slope.shape == (2, 3)


@pytest.mark.parametrize("key", [slice(None, None, -1), (..., slice(None, None, -1)), 1])
def test_torch_reads_backwards(key: Any) -> None:
    """`check` handed torch positions with negative strides, which it refuses."""
    x = gs.symbol("x", (3,))
    assert gs.compile(gs.sum(x[key] * X[0])).check(n=2).ok


def test_empty_arrays() -> None:
    x, y = gs.symbol("x", (2, 0)), gs.symbol("y", (3, 4))
    none = np.zeros((2, 0))
    for target in ("numpy", "c"):
        f = gs.compile(gs.sum(x, axis=0), target=target)
        assert f(none).shape == (0,)
        g = gs.compile(gs.sum(y[[]] * np.zeros((0, 4))) + y[0, 0], target=target)
        assert g.grad(W).tolist() == [[1.0, 0, 0, 0], [0.0] * 4, [0.0] * 4]
    everywhere(gs.sum(y[[]]) + y[1, 1], [y], W)


def test_reducing_a_scalar_over_no_axis() -> None:
    x = gs.symbol("x")
    everywhere(gs.max(x) * gs.prod(x) + gs.min(x, axis=()) * gs.mean(x), [x], 1.5)


def test_an_element_beside_a_table_in_one_flat_loop() -> None:
    """C read `x[i]` for the scalar x[1], once the loop over the table ran flat."""
    x = gs.symbol("x", (3,))
    everywhere(gs.sum(gs.tanh(x[1] * np.array([[0.25, -0.5], [1.0, 0.0]]))), [x], X)


def test_a_reshaped_scalar_in_a_flat_loop() -> None:
    """C read element i of a scalar that a reduction had left in the workspace."""
    x, y = gs.symbol("x", (3,)), gs.symbol("y", (2, 3))
    everywhere(gs.mean(gs.tanh(gs.logsumexp(x, axis=0) * y) ** 2), [x, y], X, W[:2, :3])


def test_the_slope_of_an_arcsine_keeps_its_digits_near_0() -> None:
    x = gs.symbol("x")
    for op in (gs.asin, gs.acos):
        (slope,) = gradient(op(x), [x])
        f = gs.compile(slope, selftest=False)
        assert abs(f.grad(1e-9)) == pytest.approx(1e-9, rel=1e-15)


def test_relu_passes_the_cotangent_of_nan_as_torch_does() -> None:
    x = gs.symbol("x")
    assert gs.compile(gs.relu(x), selftest=False).grad(np.nan) == 1.0


def test_a_scalar_choice_in_numpy_is_a_number() -> None:
    """`np.where` of scalars gave arrays without axes."""
    x = gs.symbol("x")
    f = gs.compile(gs.where(x > 0.0, gs.sqrt(x), x), target="numpy")
    assert isinstance(f(4.0), float)
    assert isinstance(f.grad(4.0), float)


def test_no_self_test_point_lies_on_a_kink() -> None:
    """At 0.75 both slopes of the bound had averaged to one that no derivative rule gives."""
    x = gs.symbol("x", (2, 3))
    f = gs.compile(gs.sum(gs.clip(abs(x + x), -0.75, 1.5)))
    with contextlib.redirect_stdout(io.StringIO()):
        f.module._selftest()


def test_a_self_test_whose_arguments_come_from_a_formula() -> None:
    """Up to 24 arguments were rounded for the stored values, but not by the formula in the file."""

    def f(x: Any) -> Any:
        for _ in range(150):
            x = gs.sin(x) + x
        return gs.mean(x)

    for target in ("python", "numpy"):
        compiled = gs.compile(f, args=(gs.spec((4, 5)),), target=target)
        assert "seed" not in compiled.source
        assert "0.6180339887498949" in compiled.source
        with contextlib.redirect_stdout(io.StringIO()):
            compiled.module._selftest()


def read_out_of_order() -> list[gs.Expr]:
    x, y = gs.symbol("x", (3, 4)), gs.symbol("y", (4, 2, 3))
    return [
        gs.sum(x[:, ::-1] ** 2),
        gs.sum(x[::-1, ::-1] * 2.0 + x),
        gs.sum(gs.sin(x[:, [3, 2, 1, 0]])),
        gs.sum(gs.sum(y[..., ::-1] ** 2, axis=(1, 2)) ** 2),
        gs.mean(y[:, ::-1, ::-1]),
        gs.sum(x[:, ::-2] ** 2) + gs.sum(x[:, ::-1] ** 2),
    ]


@pytest.mark.parametrize("level", ["-O2", "-O3"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_sums_read_backwards(compiler: str, level: str, tmp_path: Path) -> None:
    """GCC 12 adds elements twice when it vectorises such a sum, unless each row has a sum of its own."""
    programs = {
        f"b{i}": gs.compile(e, target="c", name=f"b{i}", selftest=False) for i, e in enumerate(read_out_of_order())
    }
    library = Library(programs, compiler, tmp_path, level)
    for name, f in programs.items():
        point = [np.random.default_rng(0).normal(size=a.shape) for a in f.inputs]
        error = harness.disagreement(f.graph, point, [0], library[name]("value_and_grad", point))
        assert error < 1e-13, name


@pytest.mark.parametrize("target", ["python", "numpy"])
def test_literals_compute_as_ieee_numbers(target: str) -> None:
    """Python's own 1.0/0.0 raises and (-1.0)**0.5 is complex: NumPy code has to compute with NumPy's numbers."""
    x = gs.symbol("x")
    one, step = as_expr(1.0), gs.where(x > 0.0, 1.0, 0.0)
    for expression, value in [
        (x * (one / 0.0), np.inf),
        (x + one * 0.0 / 0.0, np.nan),
        (x + (-one) ** 0.5, np.nan),
        (x * (one * 0.0) ** -1.0, np.inf),
        (x * 1e300 * (one * 1e300 * 1e300), np.inf),
        (1.5 / gs.where(x > 2.0, x, 0.0), np.inf),
        (gs.where(x > 0.0, 0.0, 2.0) ** -1.5, np.inf),
        (2.0 ** gs.where(x > 0.0, 5000.0, 2.0), np.inf),
        ((1.0 - step) * (1.5 / (1.0 - step)), np.nan),
    ]:
        f = gs.compile(expression, args=[x], target=target, selftest=False)
        np.testing.assert_equal(float(f(1.0)), value)
        f.grad(1.0)


def test_results_of_numpy_code_are_numbers_or_arrays_of_their_own() -> None:
    """Reshaping to a number gave a view of the argument; erf an array without axes."""
    x, y = gs.symbol("x", (1,)), gs.symbol("y")
    f = gs.compile(
        (gs.reshape(x, ()), gs.squeeze(x), gs.erf(y), gs.where(y > 0.0, y, 1.0), x[0]), args=[x, y], target="numpy"
    )
    point = np.array([0.5])
    results = f(point, 0.25)
    assert all(isinstance(r, float) for r in results), results
    g = gs.compile((x, gs.ravel(x), x.T, x[:], gs.broadcast_to(y, (2,))), args=[x, y], target="numpy", selftest=False)
    for i, result in enumerate(g(point, 0.25)):
        assert result.flags.writeable, i
        assert not np.shares_memory(result, point), i


@pytest.mark.parametrize("groups", [1, 2])
def test_torch_convolves_in_groups(groups: int) -> None:
    """The torch reference of `convolve` refused an axis of groups, and with it `check` of any grouped convolution."""
    x, w = gs.symbol("x", (1, 2, 4, 4)), gs.symbol("w", (2, 2 // groups, 2, 2))
    assert gs.compile(gs.sum(gs.conv2d(x, w, groups=groups) ** 2), target="numpy").check(n=2, against="torch").ok


def test_an_exact_number_beyond_reach_is_given_up() -> None:
    """mpmath was asked for the 4e9 digits before the point of exp(1e10), and `check` did not come back."""
    x = gs.symbol("x")
    graph = gs.compile(gs.log(gs.exp(x) + 1.0), selftest=False).graph
    with pytest.raises(ArithmeticError, match="digits"):
        digits(graph, [np.asarray(1e10)])


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf])
def test_python_makes_an_integer_of_any_float(x: float) -> None:
    """`int(nan)` raised ValueError, where NumPy and torch go on with the smallest integer."""
    t = gs.symbol("t")
    f = gs.compile(gs.where(gs.astype(t, "int64") > 0, 2.0, 3.0) * t, selftest=False)
    assert f.grad(x) == 3.0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("a", "b"), [(-0.5, 200.0), (-1.3, 50.0), (-7.7, 30.0), (-0.5, 3.0), (-200.5, 300.0), (-20.5, 28.7), (-3.5, 8.0)]
)
def test_beta_of_a_negative_and_a_large_number(target: str, a: float, b: float) -> None:
    """gamma(b)/gamma(a + b) was inf/inf from b = 171 on, and betaln cancelled."""
    x, y = gs.symbols("x y")
    for op, exact in (
        (gs.beta, mp.beta), (gs.betaln, lambda p, q: mp.re(mp.loggamma(p) + mp.loggamma(q) - mp.loggamma(p + q)))
    ):  # fmt: skip
        value, slopes = gs.compile(op(x, y), args=[x, y], target=target, selftest=False).value_and_grad(a, b)
        with mp.workdps(50):
            assert value == pytest.approx(float(exact(mp.mpf(a), mp.mpf(b))), rel=1e-12)
            for got, order in zip(slopes, ((1, 0), (0, 1)), strict=True):
                assert got == pytest.approx(float(mp.diff(exact, (a, b), order)), rel=1e-11)


@pytest.mark.parametrize("target", TARGETS)
def test_betaln_at_its_poles(target: str) -> None:
    """What its three terms have there: it was NaN, and in Python an error where a + b is 0."""
    x, y = gs.symbols("x y")
    f = gs.compile(gs.betaln(x, y), args=[x, y], target=target, selftest=False)
    for a, b in [(-1.0, 0.5), (-2.0, 2.5), (0.0, 0.5), (-0.5, -2.0)]:
        assert f(a, b) == f(b, a) == np.inf
    for a, b in [(-0.5, 0.5), (-2.5, -0.5), (-2.5, 1.5)]:
        assert f(a, b) == f(b, a) == -np.inf
    for a, b in [(-1.0, 1.0), (-2.0, 1.0), (-2.0, -3.0), (-1.0, np.nan), (np.nan, -1.0)]:
        assert np.isnan(f(a, b))
        assert np.isnan(f(b, a))
        f.grad(a, b)


def test_beta_of_a_negative_number_has_torchs_sign() -> None:
    """The torch reference was exp(lgamma …), which has no sign, and `check` blamed the generated code."""
    x, y = gs.symbols("x y")
    point = (np.array(-0.5), np.array(3.0))
    everywhere(gs.beta(x, y), [x, y], *point)


def test_a_folded_zero_keeps_its_sign() -> None:
    """mpmath has no -0: `copysign(1, -0.0)` and `atan2(-0.0, -1)` became 1 and pi while compiling."""
    x = gs.symbol("x")
    for target in ("python", "numpy"):
        f = gs.compile(gs.copysign(x, -0.0), target=target, selftest=False)
        assert f(1.5) == -1.5
        assert f.grad(1.5) == -1.0
        turn = gs.compile(x * gs.atan2(gs.constant(-0.0), gs.constant(-1.0)), target=target, selftest=False)
        assert turn(1.0) == float(-mp.pi)


def test_equal_squares_have_the_difference_plus_zero() -> None:
    """`(y - y)*(y + y)` is -0 for y < 0, which turned the sign of what came after."""
    x, y = gs.symbol("x"), gs.symbol("y")
    for target in TARGETS:
        f = gs.compile(gs.copysign(x, y * y - y * y), target=target, args=[x, y], selftest=False)
        assert f(-1.5, -2.0) == 1.5
        assert f.grad(-1.5, -2.0) == (-1.0, 0.0)


@pytest.mark.parametrize("y", [0.0, 5e-324, 2.25])
def test_a_power_of_one_and_a_half_has_a_slope_at_zero(y: float) -> None:
    """Where a formula was made stable, it was differentiated as `y*sqrt(y)`: 0/0 at 0, and wrong just above."""
    a, b = gs.symbol("a"), gs.symbol("b")
    slope = float(mp.log1p(mp.mpf(0.5)) * 1.5 * mp.sqrt(mp.mpf(y)))
    for target in TARGETS:
        f = gs.compile(gs.log(1.0 + a) * b**1.5, args=[a, b], target=target, selftest=False)
        assert f.grad(0.5, y)[1] == pytest.approx(slope, rel=1e-14, abs=0.0)


def test_the_beta_function_overflows_to_infinity() -> None:
    """Python raised OverflowError at -inf, and beta(5e-324, 5e-324), which is 4e323, was NaN."""
    a, b = gs.symbol("a"), gs.symbol("b")
    for target in TARGETS:
        f = gs.compile(gs.beta(a, b), target=target, selftest=False)
        assert f(5e-324, 5e-324) == np.inf
        assert f.grad(5e-324, 5e-324) == (-np.inf, -np.inf)
        assert np.isnan(f(-np.inf, 0.5))


def test_a_loop_may_change_its_own_copy_of_an_array_from_outside() -> None:
    """The loop took in the changed copy, which exists in its body alone."""
    t, us = gs.symbol("t", (3,)), gs.symbol("us", (4,))

    def step(state: gs.Expr, u: gs.Expr) -> tuple[gs.Expr, None]:
        own = gs.copy(t)
        own[:] = own[::-1] * u
        return 0.5 * state + own, None

    everywhere(gs.sum(gs.scan(step, t, us)[0] ** 2), [t, us], X, np.array([0.4, -1.0, 2.0, 0.1]))


def test_a_branch_may_read_a_symbol_made_in_it() -> None:
    """It was taken for a value of the branch itself."""
    x, found = gs.symbol("x"), []

    def yes() -> gs.Expr:
        found.append(gs.symbol("y"))
        return x * found[0]

    result = gs.cond(x > 0.0, yes, lambda: x)
    everywhere(result, [x, *found], 0.5, -1.25)


VIEWED = {
    "itself": lambda xs: xs,
    "turned": lambda xs: gs.reshape(gs.moveaxis(gs.reshape(xs, (6, 4)), 1, 0), (4, 1, 2, 3)),
    "transposed": lambda xs: gs.moveaxis(gs.reshape(xs, (1, 2, 3, 4)), 3, 0),
    "backwards": lambda xs: xs[::-1],
    "repeated": lambda xs: gs.broadcast_to(xs[:1], (4, 1, 2, 3)),
}


@pytest.mark.parametrize("view", VIEWED)
def test_a_loop_reads_an_element_in_another_shape(view: str) -> None:
    """In loop code it read the first number again and again: a reshape is another name for memory, which has to be."""
    xs, state = gs.symbol("xs", (4, 1, 2, 3)), gs.symbol("state", (3, 3))

    def step(s: gs.Expr, x: gs.Expr) -> tuple[gs.Expr, None]:
        return s * gs.concatenate([gs.reshape(x, (2, 3)), s[:1]]), None

    result = gs.sum(gs.scan(step, state, VIEWED[view](xs))[0])
    everywhere(result, [xs, state], np.arange(24.0).reshape(4, 1, 2, 3) / 10 - 1, np.arange(9.0).reshape(3, 3) / 5 - 1)


def test_torchs_polygamma_is_not_asked_to_add_up_millions_of_terms() -> None:
    """It took minutes at -1e8; with the reflection of the far terms, it agrees with the code that is emitted."""
    for order in (1, 2):
        f = gs.compile(gs.polygamma(order, gs.symbol("x")), target="numpy")
        for x in (-1e8 + 0.25, -12345.75, 1e10):
            at = [np.asarray(x)]
            for ours, torchs in zip(harness.run_python(f)("grad", at), by_torch(f.graph, at), strict=True):
                np.testing.assert_allclose(ours, torchs, rtol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
def test_a_kernel_in_a_loop_reads_and_writes_parts_of_arrays(target: str) -> None:
    """Python has no pointers: `x + 3*step` added a number to a list."""

    def model(xs: Any) -> Any:
        return gs.scan(lambda c, x: (c + gs.sort(x)[0], (gs.argsort(x), gs.sort(x * c))), 1.0, xs)

    xs = np.array([[3.0, 1.0, 2.0], [0.5, -4.0, 0.25]])
    f = gs.compile(model, args=((2, 3),), target=target, derivatives=("value",), selftest=False)
    last, (order, rows) = f(xs)
    assert float(last) == -2.0
    assert np.asarray(order).tolist() == [[1, 2, 0], [1, 2, 0]]
    assert np.asarray(rows).tolist() == [[1.0, 2.0, 3.0], [-8.0, 0.5, 1.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_literal_in_a_function_of_ours_is_a_number_of_numpys(dtype: str) -> None:
    """Python's numbers raise where they are divided by 0, and made float64 of float32; found by the random programs."""
    log = gs.compile(lambda x: gs.xlogy(x, 2.0), args=((),), target="numpy", dtype=dtype, derivatives="value")
    assert log(np.dtype(dtype).type(3.0)).dtype == dtype
    gamma = gs.compile(
        lambda x, b: gs.sum(gs.polygamma(1, gs.stack([b**0.0, x]))) - gs.polygamma(1, b**0.0 + x),
        args=((), ()), target="numpy", dtype=dtype, derivatives="value",
    )  # fmt: skip
    assert np.isfinite(gamma(8024.9, 0.02))
    difference = registry_function("polygamma_difference")
    f = gs.compile(lambda x: difference(1.0, 1.0, x), args=((),), target="numpy", dtype=dtype, derivatives="value")
    assert f(np.dtype(dtype).type(8024.9)).dtype == dtype
    assert abs(float(f(8024.9)) + 1.6448094) < 1e-6  # trigamma(8025.9) - trigamma(1)
