"""Blocks of rows: which functions read a matrix once, what must wait, and that the numbers are NumPy's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
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
    assert few.workspace["value_and_grad"] == many.workspace["value_and_grad"] == 8 * 8


def test_a_nan_stays_in_its_row() -> None:
    A, x, b = numbers()
    b[3] = np.nan
    found = compiled(keeps_rows, derivatives="value")(A, x, b)
    assert np.flatnonzero(np.isnan(found["z"])).tolist() == [3]
    assert np.isnan([*found["back"], found["most"]]).all()


@pytest.mark.parametrize("tuning", [gs.Tuning(block_least=10**6), gs.Tuning(block_least=1, block_most=4 * 16 * 8 - 1)])
def test_where_blocks_do_not_pay(tuning: gs.Tuning) -> None:
    assert by_blocks(compiled(logistic, derivatives="value_and_grad", tuning=tuning).source) == (False, True)


# --- a product of matrices, and the loops that read it ----------------------------------------------------------------

PRODUCTS = gs.Tuning(product_least=1, product_bytes=24 * 24 * 8, row_elements=4)  # 24 rows of 24 doubles
WIDE, INNER = 24, 3


def layer(X: Any, W: Any, b: Any, t: Any) -> Any:
    return {"y": gs.relu(X @ W + b)}


def slope(X: Any, W: Any, b: Any, t: Any) -> Any:
    """As behind an activation: the other factor is transposed."""
    return {"y": gs.where(t > 0, X @ (2 * W).T.T, b)}


def sums(X: Any, W: Any, b: Any, t: Any) -> Any:
    """Rows and sums of what each block has, and what must wait for all of it."""
    z = gs.tanh(X @ W + b)
    back = X.T @ (z - t)
    return {"z": z, "columns": gs.sum(z * z, axis=0), "total": gs.sum(z), "back": back, "late": z / gs.sum(back)}


def two_products(X: Any, W: Any, b: Any, t: Any) -> Any:
    return {"value": gs.sum((gs.sin(X @ W + b) @ W.T - X) ** 2), "t": gs.sum(t)}


def in_numpy(program: Callable[..., Any], X: Any, W: Any, b: Any, t: Any) -> Any:
    if program is layer:
        return {"y": np.maximum(X @ W + b, 0)}
    if program is slope:
        return {"y": np.where(t > 0, X @ (2 * W), b)}
    if program is two_products:
        return {"value": np.sum((np.sin(X @ W + b) @ W.T - X) ** 2), "t": np.sum(t)}
    z = np.tanh(X @ W + b)
    back = X.T @ (z - t)
    return {"z": z, "columns": np.sum(z * z, axis=0), "total": np.sum(z), "back": back, "late": z / np.sum(back)}


def matrices(height: int, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    shapes = (height, INNER), (INNER, WIDE), (WIDE,), (height, WIDE)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def of_matrices(program: Callable[..., Any], height: Any, **options: Any) -> Any:
    args = (height, INNER), (INNER, WIDE), (WIDE,), (height, WIDE)
    return compiled(program, args, **{"wrt": "W", "derivatives": "value", "tuning": PRODUCTS, **options})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("program", [layer, slope, sums, two_products], ids=lambda p: p.__name__)
def test_loops_that_read_a_product(program: Callable[..., Any], dtype: str) -> None:
    named = of_matrices(program, "n", dtype=dtype)
    assert re.search(r"gs_gemm_direct\w*\(X \+ i\*3, ", named.source)
    digits = 1e-12 if dtype == "float64" else 2e-4
    for height, f in ((37, of_matrices(program, 37, dtype=dtype)), (37, named), (5, named), (24, named)):
        given = matrices(height, dtype)
        expected = in_numpy(program, *(x.astype("float64") for x in given))
        for one, other in zip(leaves(f(*given)), leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=digits, atol=digits * np.max(np.abs(other)))


def test_a_product_is_never_whole() -> None:
    """Value and gradient of two layers: of 48,000 rows, 24 are in memory."""
    options = {"derivatives": "value_and_grad", "wrt": ("W", "b")}
    loss = lambda X, W, b, t: gs.sum(two_products(X, W, b, t)["value"])
    alone = replace(PRODUCTS, blocked_bytes=10**9)  # without the scan of passes/blocks.py
    assert of_matrices(loss, 48000, **options, tuning=alone).workspace["value_and_grad"] < 100_000
    strict = of_matrices(loss, 37, **options, strict=True)
    for n in (37, "n"):
        found, expected = (f.value_and_grad(*matrices(37)) for f in (of_matrices(loss, n, **options), strict))
        for one, other in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_a_sum_of_what_has_one_column() -> None:
    """It shares the blocks of a product of the same height."""
    narrow = gs.compile(
        lambda X, W, v: {"y": gs.relu(X @ W) * v, "total": gs.sum(gs.sin(v) * v)}, args=((37, 3), (3, 24), (37, 1)),
        target="c", derivatives="value", tuning=PRODUCTS, name="f", selftest=False,
    )  # fmt: skip
    (X, W, *_), v = matrices(37), np.linspace(-1.0, 2.0, 37)[:, None]
    found = narrow(X, W, v)
    assert re.search(r"gs_gemm_direct\w*\(X \+ i\*3, ", narrow.source)
    np.testing.assert_allclose(found["y"], np.maximum(X @ W, 0) * v, rtol=1e-12)
    np.testing.assert_allclose(found["total"], np.sum(np.sin(v) * v), rtol=1e-12)


def test_a_state_of_which_other_rows_are_read() -> None:
    """So the new state must not be written over the old one block by block."""

    def steps(X: Any, W: Any, b: Any, t: Any) -> Any:
        return gs.fori_loop(0, 3, lambda k, s: gs.tanh((X + k) @ W + s[::-1]), t)

    X, W, b, t = matrices(48)
    f, expected = of_matrices(steps, 48), t
    assert re.search(r"i < 48; i \+= 24", f.source)
    for k in range(3):
        expected = np.tanh((X + k) @ W + expected[::-1])
    np.testing.assert_allclose(f(X, W, b, t), expected, rtol=1e-10)


@pytest.mark.parametrize("options", [{"threads": "openmp"}, {"strict": True}, {"tuning": gs.Tuning()}], ids=str)
def test_where_products_stay_whole(options: dict[str, Any]) -> None:
    f = of_matrices(sums, 37, **options)
    assert not re.search(r"\(X \+ i\*3, ", f.source)
    for one, other in zip(leaves(f(*matrices(37))), leaves(in_numpy(sums, *matrices(37))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


# --- a convolution, and the loops that read it ------------------------------------------------------------------------

PICTURES = gs.Tuning(product_least=1, picture_bytes=2 * 4 * 8 * 9 * 8)  # 2 pictures of 4 channels of 8 x 9 results
COUNT = 7  # the last picture fills no block


def activated(x: Any, w: Any, b: Any) -> Any:
    return {"y": gs.relu(gs.conv2d(x, w) + b[:, None, None])}


def deep(x: Any, w: Any, b: Any) -> Any:
    """The second convolution reads the pictures that the block has of the first."""
    hidden = gs.relu(gs.conv2d(x, w) + b[:, None, None])
    return {"total": gs.sum(gs.tanh(gs.conv2d(hidden, w[:, 0][None])))}


def masked(x: Any, w: Any, b: Any) -> Any:
    """As behind an activation: the slope by the pictures, where what the weights meet was positive."""
    return {"y": gs.where(x > 0, gs.grad(lambda z: gs.sum(gs.sin(gs.conv2d(z, w))))(x), 0)}


def of_channels(x: Any, w: Any, b: Any) -> Any:
    """Every picture needs a sum over all of them."""
    y = gs.conv2d(x, w)
    return {"y": y / gs.sum(y * y, axis=(0, 2, 3))[:, None, None]}


def of_pictures(program: Callable[..., Any], count: int = COUNT, **options: Any) -> Any:
    args = (count, 3, 10, 11), (4, 3, 3, 3), (4,)
    return compiled(program, args, **{"derivatives": "value", "tuning": PICTURES, "wrt": "w", **options})


def pictures(dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.normal(size=shape).astype(dtype) for shape in ((COUNT, 3, 10, 11), (4, 3, 3, 3), (4,))]


def in_torch(program: Callable[..., Any]) -> list[Any]:
    torch = pytest.importorskip("torch")
    x, w, b = (torch.tensor(a, requires_grad=True) for a in pictures())
    y = torch.conv2d(x, w)
    hidden = torch.relu(y + b[:, None, None])
    if program is activated:
        found = hidden
    elif program is deep:
        found = torch.tanh(torch.conv2d(hidden, w[:, 0][None])).sum()
    elif program is masked:
        found = torch.where(x > 0, torch.autograd.grad(torch.sin(y).sum(), x)[0], 0)
    else:
        found = y / (y * y).sum((0, 2, 3))[:, None, None]
    return [found.detach().numpy()]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("program", [activated, deep, masked, of_channels], ids=lambda p: p.__name__)
def test_loops_that_read_a_convolution(program: Callable[..., Any], dtype: str) -> None:
    f, digits = of_pictures(program, dtype=dtype), 1e-11 if dtype == "float64" else 2e-4
    for one, other in zip(leaves(f(*pictures(dtype))), in_torch(program), strict=True):
        np.testing.assert_allclose(one, other, rtol=digits, atol=digits * np.max(np.abs(other)))


def test_what_reads_a_convolution_stands_behind_it_in_the_block() -> None:
    for program in (activated, masked):
        source = of_pictures(program).source
        body = source[source.rindex("\nvoid f") :]
        of_block = body[body.index("        gs_convolve") :]
        of_block = of_block[: of_block.index("\n    }")]
        assert re.match(r" *gs_convolve\w*\(\w+ \+ i\*", of_block)
        assert re.search(r"value\[i.* \? ", of_block)


def test_pictures_between_two_convolutions_are_those_of_a_block() -> None:
    few, many = (of_pictures(deep, count).workspace["value"] for count in (COUNT, 10 * COUNT))
    assert few == many
    assert of_pictures(deep, 10 * COUNT, tuning=gs.Tuning()).workspace["value"] > 5 * many


@pytest.mark.parametrize("options", [{"threads": "openmp"}, {"strict": True}, {"tuning": gs.Tuning()}], ids=str)
def test_where_pictures_stay_whole(options: dict[str, Any]) -> None:
    f = of_pictures(activated, **options)
    assert not re.search(r"\(x \+ i\*", f.source)
    for one, other in zip(leaves(f(*pictures())), in_torch(activated), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
