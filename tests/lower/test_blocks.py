"""Blocks of rows: which functions read a matrix once, what must wait, and that the numbers are NumPy's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

BLOCKS = gs.Tuning(block_least=1, block_bytes=16 * 8 * 8)  # 8 rows of 16 doubles
HEIGHT, LENGTH = 37, 16  # the last 5 rows fill no block


def least_squares(A: Any, x: Any, b: Any) -> Any:
    return 0.5 * gs.sum((A @ x - b) ** 2)


def logistic(A: Any, x: Any, b: Any) -> Any:
    z = A @ x
    return gs.mean(gs.softplus(z) - b * z)


def keeps_rows(A: Any, x: Any, b: Any) -> Any:
    """The rows are a result, too, and their largest is wanted behind the loop."""
    z = gs.tanh(A @ x) * b
    return {"z": z, "most": gs.max(z), "back": z @ A, "squares": A.T @ (z * z)}


def both_sides(A: Any, x: Any, b: Any) -> Any:
    """Two products that do not need each other."""
    return (A @ x) @ b + gs.sum(gs.exp(b @ A))


def from_below(A: Any, x: Any, b: Any) -> Any:
    """Each row needs another one, so all must be known first."""
    return gs.sum((A @ x)[::-1] * gs.sin(b)) + gs.sum(gs.sin((A @ x)[::-1] @ A))


def by_the_sum(A: Any, x: Any, b: Any) -> Any:
    """What is added needs the sum over all rows."""
    z = A @ x - b
    return (z / gs.sum(z * z)) @ A


PROGRAMS = [least_squares, logistic, keeps_rows, both_sides, from_below, by_the_sum]
ARGS = ((HEIGHT, LENGTH), (LENGTH,), (HEIGHT,))


def compiled(program: Callable[..., Any], args: Any = ARGS, **options: Any) -> Any:
    options = {"dtype": "float64", "wrt": "x", "selftest": False, "name": "f", "tuning": BLOCKS, **options}
    return gs.compile(program, args=args, target="c", **options)


def numbers(height: int = HEIGHT, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(dtype) for shape in ((height, LENGTH), (LENGTH,), (height,))]


def leaves(value: Any) -> list[Any]:
    return [v for key in sorted(value) for v in leaves(value[key])] if isinstance(value, dict) else [value]


def by_blocks(source: str) -> tuple[bool, bool]:
    """Whether a loop over blocks reads A, and whether something else reads all of it."""
    body = source[source.rindex("\nvoid f") :]
    return bool(re.search(r"gs_\w+\(A \+ i\*16, ", body)), bool(re.search(r"gs_\w+\(A, ", body))


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if p not in (keeps_rows, by_the_sum)], ids=lambda p: p.__name__
)
def test_the_numbers_are_right(program: Callable[..., Any]) -> None:
    double, single = compiled(program), compiled(program, dtype="float32")
    assert double.check().ok
    exact, found = double.value_and_grad(*numbers()), single.value_and_grad(*numbers(dtype="float32"))
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * np.max(np.abs(other)), rtol=2e-5)


@pytest.mark.parametrize("program", [keeps_rows, by_the_sum], ids=lambda p: p.__name__)
def test_results_of_all_rows(program: Callable[..., Any]) -> None:
    A, x, b = numbers()
    found = compiled(program, derivatives="value")(A, x, b)
    z = np.tanh(A @ x) * b
    expected: Any = {"z": z, "most": np.max(z), "back": z @ A, "squares": A.T @ (z * z)}
    if program is by_the_sum:
        z = A @ x - b
        expected = (z / np.sum(z * z)) @ A
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("program", [least_squares, logistic, both_sides], ids=lambda p: p.__name__)
def test_a_matrix_is_read_once(program: Callable[..., Any]) -> None:
    assert by_blocks(compiled(program, derivatives="value_and_grad").source) == (True, False)


def test_results_are_made_on_the_way() -> None:
    assert by_blocks(compiled(keeps_rows, derivatives="value").source) == (True, False)


@pytest.mark.parametrize("program", [from_below, by_the_sum], ids=lambda p: p.__name__)
def test_rows_that_need_all_others_wait(program: Callable[..., Any]) -> None:
    assert by_blocks(compiled(program, derivatives="value").source) == (False, True)


def test_sizes_known_by_name() -> None:
    f = compiled(logistic, (("n", LENGTH), (LENGTH,), ("n",)))
    fixed = gs.compile(logistic, args=ARGS, wrt="x", target="c", dtype="float64", selftest=False, strict=True)
    assert by_blocks(f.source)[0]
    for height in (1, 16, 37):
        A, x, b = numbers(height)
        filled = [np.vstack([A, np.zeros((HEIGHT - height, LENGTH))]), x, np.append(b, np.zeros(HEIGHT - height))]
        value, grad = fixed.value_and_grad(*filled)
        value = (value * HEIGHT - np.log(2.0) * (HEIGHT - height)) / height
        for one, other in zip(f.value_and_grad(A, x, b), (value, grad * HEIGHT / height), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    none = compiled(least_squares, (("n", LENGTH), (LENGTH,), ("n",))).value_and_grad(*numbers(0))
    assert not np.any(none[0])
    assert not np.any(none[1])


def test_memory_holds_one_block() -> None:
    few, many = (compiled(logistic, ((n, LENGTH), (LENGTH,), (n,))) for n in (40, 4000))
    assert few.workspace["value_and_grad"] == many.workspace["value_and_grad"] == 2 * 8 * 8


def test_a_nan_stays_in_its_row() -> None:
    A, x, b = numbers()
    b[3] = np.nan
    found = compiled(keeps_rows, derivatives="value")(A, x, b)
    assert np.flatnonzero(np.isnan(found["z"])).tolist() == [3]
    assert np.isnan([*found["back"], found["most"]]).all()


@pytest.mark.parametrize("tuning", [gs.Tuning(block_least=10**6), gs.Tuning(block_least=1, block_most=4 * 16 * 8 - 1)])
def test_where_blocks_do_not_pay(tuning: gs.Tuning) -> None:
    assert by_blocks(compiled(logistic, derivatives="value_and_grad", tuning=tuning).source) == (False, True)
