"""Memory: buffers that live at the same time never share a place; buffers that do not, do."""

from hypothesis import given
from hypothesis import strategies as st

import gradsmith as gs
from gradsmith.lower.memory import place_buffers

LIFETIMES = st.lists(
    st.tuples(st.integers(1, 20), st.integers(0, 15), st.integers(0, 15)).map(lambda t: (t[0], min(t[1:]), max(t[1:]))),
    max_size=30,
).map(lambda items: dict(enumerate(items)))


@given(LIFETIMES)
def test_no_two_live_buffers_overlap(lifetimes: dict[int, tuple[int, int, int]]) -> None:
    offsets, total = place_buffers(lifetimes)
    for k, (size, first, last) in lifetimes.items():
        assert 0 <= offsets[k] <= offsets[k] + size <= total
        for other, (size2, first2, last2) in lifetimes.items():
            alive_together = other != k and first <= last2 and first2 <= last
            if alive_together:
                assert offsets[k] + size <= offsets[other] or offsets[other] + size2 <= offsets[k]
    assert total <= sum(size for size, _, _ in lifetimes.values())


def test_a_long_chain_of_arrays_needs_few_buffers() -> None:
    x, W = gs.symbol("x", (50,)), gs.symbol("W", (50, 50))
    h = x
    for _ in range(10):
        h = W @ h
    f = gs.compile(gs.sum(h), target="c", derivatives="value", selftest=False)
    work = int(f.files["f.h"].split("#define F_WORK ")[1].split()[0])
    assert work <= 112  # two of 50, the second of which begins where a line of the cache does
