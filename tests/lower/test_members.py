"""Members of stacks: which matrices go one by one through a function, what waits for all, and that numbers are NumPy's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

STACKS = gs.Tuning(stack_least=1, stack_row=2, row_elements=2)
COUNT, ROWS, INNER, COLUMNS = 7, 9, 6, 17
ARGS = ((INNER, COLUMNS), (COUNT, INNER), (COUNT, ROWS, INNER))


def white(x: Any, m: Any, L: Any) -> Any:
    return L @ (x - m[:, :, None])


def weighted(x: Any, m: Any, L: Any) -> Any:
    """All components are needed before one has its weight."""
    return gs.mean(gs.logsumexp(-0.5 * gs.sum(white(x, m, L) ** 2, axis=1), axis=0))


def members_alone(x: Any, m: Any, L: Any) -> Any:
    """Nothing needs another member."""
    y = gs.tanh(white(x, m, L))
    return gs.sum(gs.max(y, axis=2) * gs.sum(y, axis=(1, 2), keepdims=True)[:, :, 0])


def one_factor_for_all(x: Any, m: Any, L: Any) -> Any:
    """Products of each member with the same matrix, and with itself."""
    y = gs.exp(0.1 * (L @ x))
    return gs.sum(gs.sin(y @ gs.transpose(y, (0, 2, 1)))) + gs.sum(m)


def next_member(x: Any, m: Any, L: Any) -> Any:
    """Each matrix needs that of another member."""
    y = white(x, m, L)
    return gs.sum(gs.tanh(y) * gs.tanh(y[::-1]))


def stacked_results(x: Any, m: Any, L: Any) -> Any:
    y = white(x, m, L)
    return {"y": y, "squares": gs.sum(y * y, axis=2), "most": gs.max(y, axis=1), "whole": gs.sum(y, axis=(1, 2))}


PROGRAMS = [weighted, members_alone, one_factor_for_all, next_member]


def compiled(program: Callable[..., Any], args: Any = ARGS, **options: Any) -> Any:
    options = {"dtype": "float64", "selftest": False, "name": "f", "tuning": STACKS, "target": "c", **options}
    return gs.compile(program, args=args, **options)


def numbers(args: Any = ARGS, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=shape).astype(dtype) for shape in args]


def calls(source: str, kernels: str = r"gs_gemm\w*|gs_dots\w*") -> tuple[int, int]:
    """How many kernels are called for one member, and how many for all."""
    body = source[source.rindex("\nvoid f") :]
    found = re.findall(rf"(?:{kernels})\(([^;]*);", body)
    one = sum(" + i*" in call for call in found)
    return one, len(found) - one


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("march", ["x86-64", None], ids=["16 bytes", "the widest"])
def test_the_numbers_are_those_of_numpy(program: Callable[..., Any], dtype: str, march: str | None) -> None:
    f = compiled(program, dtype=dtype, march=march, derivatives="value_and_grad")
    whole = compiled(program, dtype=dtype, target="numpy", tuning=None)
    point, rtol = numbers(dtype=dtype), 1e-11 if dtype == "float64" else 2e-4
    assert calls(f.source)[0] > 0
    (value, grads), (wanted, wanted_grads) = f.value_and_grad(*point), whole.value_and_grad(*point)
    for one, other in zip((value, *grads), (wanted, *wanted_grads), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * float(np.abs(other).max()))


def test_results_of_all_members() -> None:
    f = compiled(stacked_results, derivatives="value")
    assert calls(f.source) == (1, 0)
    x, m, L = numbers()
    y = L @ (x - m[:, :, None])
    wanted = {"y": y, "squares": (y * y).sum(2), "most": y.max(1), "whole": y.sum((1, 2))}
    found = f(x, m, L)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-13)


def test_what_needs_all_members_stands_between_two_loops() -> None:
    f = compiled(weighted, wrt="L", derivatives="value_and_grad")
    assert calls(f.source) == (2, 0)


def test_cheap_values_are_computed_in_both_loops_and_kept_for_one_member() -> None:
    f = compiled(weighted, wrt="L", derivatives="value_and_grad")
    difference = re.findall(r"(\w+)\[j\*17 \+ k\] = x\[j\*17 \+ k\] - m\[i\*6 \+ j\];", f.source)
    assert len(difference) == 2
    assert len({*difference}) == 1
    together = 8 * (2 * COUNT * ROWS * COLUMNS + COUNT * INNER * COLUMNS)
    assert f.workspace["value_and_grad"] < 0.7 * together


def test_memory_of_what_only_a_member_reads_does_not_grow_with_their_number() -> None:
    def sizes(count: int) -> int:
        f = compiled(members_alone, (ARGS[0], (count, INNER), (count, ROWS, INNER)), derivatives="value")
        return int(f.workspace["value"]) - 8 * 16 * count  # at most a few numbers of each

    assert sizes(400) < 8 * 2 * ROWS * COLUMNS + 8 * INNER * COLUMNS + 64 * 8


def test_what_needs_another_member_waits() -> None:
    f = compiled(next_member, derivatives="value")
    body = f.source[f.source.rindex("\nvoid f") :]
    assert calls(f.source) == (1, 0)
    assert body.index("gs_gemm") < body.index("tanh") < len(body)
    assert "-(i" in body or "i*-" in body or "(6 - i)" in body or "- i*" in body


def test_matrices_too_small_for_a_loop_of_their_own_are_multiplied_all_at_once() -> None:
    """Slopes by factors of two rows, behind members whose rows are long."""
    args, tuning = ((2, 131), (COUNT, 2), (COUNT, 2, 2)), gs.Tuning(stack_least=1, stack_row=2)
    f, whole = (compiled(weighted, args, target=t, tuning=tuning, derivatives="value_and_grad") for t in ("c", "numpy"))
    assert all(calls(f.source))
    point = numbers(args)
    for one, other in zip(f.value_and_grad(*point)[1], whole.value_and_grad(*point)[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"tuning": gs.Tuning(stack_row=2)}, {"threads": "openmp"}], ids=["small", "threads"]
)
def test_small_stacks_and_threads_multiply_all_at_once(options: dict[str, Any]) -> None:
    assert calls(compiled(weighted, derivatives="value", **options).source) == (0, 1)


def test_members_of_few_elements_are_multiplied_all_at_once() -> None:
    """2 x 3 numbers of 200 products each: no loop over a member is long enough, whatever its factors have."""
    args = ((100, 2, 200), (100, 200, 3))
    f, whole = (compiled(lambda A, B: gs.sum(gs.tanh(A @ B)), args, target=t, tuning=None) for t in ("c", "numpy"))
    assert calls(f.source)[0] == 0
    assert calls(f.source)[1] > 0
    point = numbers(args)
    np.testing.assert_allclose(f(*point), whole(*point), rtol=1e-10)


def test_strict_code_has_no_kernels() -> None:
    f = compiled(weighted, strict=True, tuning=None)
    assert calls(f.source) == (0, 0)


def test_a_nan_stays_in_its_member() -> None:
    x, m, L = numbers()
    m[3, 2] = np.nan
    found = compiled(stacked_results, derivatives="value")(x, m, L)
    for name in ("y", "squares", "most", "whole"):
        rows = np.isnan(found[name]).reshape(COUNT, -1)
        assert np.flatnonzero(rows.any(axis=1)).tolist() == [3]


def test_state_that_a_loop_carries_is_replaced_behind_the_members() -> None:
    def program(m: Any, L: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            return gs.tanh(L @ state - 0.1 * gs.sum(state, axis=0)), gs.sum(state)

        last, sums = gs.scan(step, m, None, length=4)
        return gs.sum(last) + gs.sum(sums)

    args = ((COUNT, ROWS, COLUMNS), (COUNT, ROWS, ROWS))
    f, whole = (compiled(program, args, target=t, tuning=tuning) for t, tuning in (("c", STACKS), ("numpy", None)))
    point = numbers(args)
    (value, grads), (wanted, wanted_grads) = f.value_and_grad(*point), whole.value_and_grad(*point)
    for one, other in zip((value, *grads), (wanted, *wanted_grads), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("seen", ["at the end", "in each step", "of another member"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_products_are_added_to_what_a_loop_carries_one_member_at_a_time(seen: str, dtype: str) -> None:
    """In the memory of the old sum, if nothing else reads that."""
    columns = 96 if seen == "in each step" else 70  # which fill tiles, and which do not

    def program(x: Any, m: Any) -> Any:
        def step(total: Any, some: Any) -> Any:
            apart = some - m[:, None, :]
            products = gs.matrix_transpose(apart) @ gs.tanh(apart)
            other = {"at the end": 0.0, "in each step": gs.sum(total * total), "of another member": gs.sum(total[::-1])}
            return total + products, other[seen] * gs.sum(apart)

        return gs.scan(step, gs.zeros((COUNT, columns, columns)), x)

    args = ((4, ROWS, columns), (COUNT, columns))
    f, whole = (
        compiled(program, args, target=target, dtype=dtype, derivatives="value", tuning=tuning)
        for target, tuning in (("c", STACKS), ("numpy", None))
    )
    assert "gs_gemm_add" in f.source
    assert calls(f.source) == (1, 0)
    if seen == "at the end":
        assert f.workspace["value"] < 8 * COUNT * columns * columns  # there is one total, which is the result
    point = numbers(args, dtype)
    rtol = 1e-12 if dtype == "float64" else 1e-5
    for one, other in zip(f(*point), whole(*point), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * float(np.abs(other).max()))
