"""Owners: which loops have iterations that add at places of their own."""

import pytest

import gradsmith as gs
from gradsmith.lower.owners import apart_by_rows


@pytest.mark.parametrize(
    ("shape", "place", "apart"),
    [
        ((5, 3), lambda i: (i[0], i[1]), True),
        ((5, 3), lambda i: (i[1], i[0] * 2 + 1), True),
        ((1, 3), lambda i: (i[0], i[1]), True),  # the loop over 3 is the outermost
        ((5, 3), lambda i: (i[0] + i[1],), False),  # windows that overlap
        ((5, 3), lambda i: (i[0] + i[1], i[1]), False),
        ((5, 3), lambda i: (i[1], i[1]), False),
        ((1, 1), lambda i: (i[0], i[1]), False),  # no loop
    ],
)
def test_iterations_are_apart_where_a_subscript_is_the_loops_alone(shape, place, apart) -> None:  # type: ignore[no-untyped-def]
    assert apart_by_rows(shape, place) is apart


@pytest.mark.parametrize(("width", "least", "owners"), [(8, 32, False), (64, 32, True), (8, 8, True)])
def test_narrow_rows_have_one_thread(width: int, least: int, owners: bool) -> None:
    E, t = gs.symbol("E", (100, width)), gs.symbol("t", (40, width))
    i = gs.symbol("i", (40,), dtype="int64")
    f = gs.compile(
        gs.sum(E[i] * t), args=(E, i, t), wrt=(E,), target="c", name="f", derivatives="grad", threads="openmp",
        tuning=gs.Tuning(thread_elements=1, thread_row=least),
    )  # fmt: skip
    body = f.source[f.source.rindex("void f_grad(") :]
    assert ("GS_TEAM" in body) is owners
