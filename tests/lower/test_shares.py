"""Shares: every place is in one of them, there are as many as stated at most, and each has memory of its own."""

import re
from dataclasses import replace

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
