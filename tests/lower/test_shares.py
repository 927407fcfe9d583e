"""Shares: every place is in one of them, there are as many as stated at most, and each has memory of its own."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import gradsmith as gs
from gradsmith.lower.shares import shares
from gradsmith.target import load_target

C = replace(load_target("c"), threads="openmp", tuning=gs.Tuning(thread_elements=1, thread_share=64, thread_shares=7))


@pytest.mark.parametrize("inner", [1, 3, 8, 16, 100])
def test_a_loop_is_cut_into_few_whole_shares(inner: int) -> None:
    for size in (*range(2, 200), 447, 448, 449, 1000, 7 * 64, 7 * 64 + 1, 10**6, 10**6 + 1):
        cut = shares(C, (1, size, inner))
        if cut is None:
            assert size * inner <= 64 + 16 * inner  # one share at least
            continue
        assert cut.length is not None
        assert 1 < cut.count <= 7
        assert (cut.count - 1) * cut.length < size <= cut.count * cut.length
        assert cut.length * inner >= 64
        assert cut.length * inner % 16 == 0 or inner >= 16


def test_rows_that_are_put_aside_have_a_place_in_each_share() -> None:
    f = gs.compile(
        lambda A: gs.sum(gs.softmax(A, axis=1) ** 2), args=((60, 43),), target="c", derivatives="value", name="f",
        selftest=False, threads="openmp", tuning=C.tuning,
    )  # fmt: skip
    assert re.search(r"\w+\[number_\w*\*43 \+ \w+\] = ", f.source)
    assert f.workspace["value"] >= 7 * 43 * 8


def _in_threads(
    program: Callable[..., Any], *shapes: tuple[int, ...], derivatives: str = "value", **numbers: int
) -> str:
    return gs.compile(
        program, args=shapes, wrt=len(shapes) - 1, target="c", derivatives=derivatives, name="f", selftest=False,
        threads="openmp", tuning=gs.Tuning(thread_elements=1, **numbers),
    ).source  # fmt: skip


@pytest.mark.parametrize(("share", "chunk"), [(1, 64), (64, 64), (65, 128), (1_024, 1_024)])
def test_a_thread_takes_whole_vectors_at_a_time(share: int, chunk: int) -> None:
    assert f"simd schedule(static, {chunk})" in _in_threads(lambda x: gs.exp(x), (5000,), thread_share=share)


@pytest.mark.parametrize(("most", "rows", "length"), [(3, 23, None), (3, 24, 9), (3, 80, 27), (16, 80, None)])
def test_the_sum_of_rows_has_as_many_shares_as_the_tuning_says(most: int, rows: int, length: int | None) -> None:
    """At most, with 8 rows or more each."""
    code = _in_threads(lambda A: gs.sum(gs.sin(A), axis=0), (rows, 43), thread_share=1, thread_sums=most)
    assert re.findall(r"const ptrdiff_t number_1 = i / (\d+);", code)[:1] == ([str(length)] if length else [])


def test_as_many_threads_copy_taps_as_the_tuning_says() -> None:
    for lines in (1, 5):
        code = _in_threads(
            lambda x, w: gs.sum(gs.conv1d(x, w) ** 2), (1, 8, 40), (4, 8, 3), derivatives="grad", thread_lines=lines
        )
        assert f", {lines});" in code.split("gs_correlate(")[-1].splitlines()[0]
