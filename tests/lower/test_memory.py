"""Memory: buffers that live at the same time never share a place; buffers that do not, do."""

import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import gradsmith as gs
from gradsmith.lower.memory import _placed, _placed_by_birth, place_buffers, place_in_results

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


@given(LIFETIMES, st.integers(1, 8), st.dictionaries(st.integers(0, 29), st.integers(0, 9)))
def test_the_free_places_tell_what_a_look_at_all_buffers_tells(
    lifetimes: dict[int, tuple[int, int, int]], line: int, ahead: dict[int, int]
) -> None:
    born = sorted(lifetimes, key=lambda key: (lifetimes[key][1], key))
    assert _placed_by_birth(lifetimes, born, line, ahead) == _placed(lifetimes, born, line, ahead, True)


@given(LIFETIMES, st.integers(1, 8))
def test_what_takes_the_place_of_another_overlaps_nothing_else(
    lifetimes: dict[int, tuple[int, int, int]], line: int
) -> None:
    over: dict[int, int] = {}
    for k, (size, first, _) in lifetimes.items():
        fits = [o for o, life in lifetimes.items() if life[0] == size and life[1] < first == life[2]]
        fits = [o for o in fits if o not in over.values()]
        over |= {k: fits[0]} if fits else {}
    offsets, total = place_buffers(lifetimes, line, dict.fromkeys(lifetimes, 1), over)
    assert total <= place_buffers(lifetimes, line, dict.fromkeys(lifetimes, 1))[1]
    for k, (size, first, last) in lifetimes.items():
        assert (offsets[k] + 1) % line == 0
        for other, (size2, first2, last2) in lifetimes.items():
            if other == k or first > last2 or first2 > last:
                continue
            taken = offsets[k] == offsets[other] and (over.get(k) == other or over.get(other) == k)
            assert taken or offsets[k] + size <= offsets[other] or offsets[other] + size2 <= offsets[k] <= total - size


RESULTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 16)), max_size=3).map(
    lambda found: {f"y{k}": result for k, result in enumerate(found)}
)


@given(LIFETIMES, RESULTS, st.integers(1, 8), st.data())
def test_what_lies_in_a_result_is_over_before_that_is_written(
    lifetimes: dict[int, tuple[int, int, int]], results: dict[str, tuple[int, int]], line: int, data: st.DataObject
) -> None:
    over: dict[int, int] = {}
    for k, (size, first, _) in lifetimes.items():
        fits = [o for o, life in lifetimes.items() if life[0] == size and life[1] < first == life[2]]
        if fits and fits[0] not in over.values():
            over[k] = fits[0]
    ends = [k for k in lifetimes if k not in over.values()]
    under = {name: data.draw(st.sampled_from(ends)) for name in results if ends and data.draw(st.booleans())}
    under = {
        name: k for name, k in under.items() if [*under.values()].count(k) == 1 and lifetimes[k][2] == results[name][1]
    }
    ahead = dict.fromkeys(lifetimes, 0)
    places, total = place_in_results(lifetimes, results, line, ahead, over, under)
    assert total <= place_buffers(lifetimes, line, ahead, over)[1]
    for k, (size, first, last) in lifetimes.items():
        name, offset = places[k]
        room, written = results[name] if name else (total, 99)
        assert 0 <= offset <= offset + size <= room
        assert last < written or (under[name] == k and last == written)
        for other, (size2, first2, last2) in lifetimes.items():
            if other == k or places[other][0] != name or first > last2 or first2 > last:
                continue
            taken = places[other][1] == offset and (over.get(k) == other or over.get(other) == k)
            assert taken or offset + size <= places[other][1] or places[other][1] + size2 <= offset


def test_the_heat_equation_keeps_four_arrays_as_by_hand() -> None:
    """State, sum of the slopes, and two stages: as in benchmarks/hand/models.c, where each has four zeros at each end."""

    def loss(u: Any) -> Any:
        def slope(u: Any) -> Any:
            wide = gs.concat([gs.zeros(1), u, gs.zeros(1)])
            return 0.4 * (wide[:-2] - 2.0 * u + wide[2:])

        def step(_: Any, u: Any) -> Any:
            k1 = slope(u)
            k2 = slope(u + 0.5 * k1)
            k3 = slope(u + 0.5 * k2)
            k4 = slope(u + k3)
            return u + (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0

        return gs.sum(gs.fori_loop(0, 50, step, u) ** 2)

    f = gs.compile(loss, args=((128,),), target="c", derivatives="value_and_grad", selftest=False)
    assert f.workspace["value_and_grad"] <= 8 * 4 * (128 + 8)
    assert f.check().ok


def test_a_long_chain_of_arrays_needs_few_buffers() -> None:
    x, W = gs.symbol("x", (50,)), gs.symbol("W", (50, 50))
    h = x
    for _ in range(10):
        h = W @ h
    f = gs.compile(gs.sum(h), target="c", derivatives="value", selftest=False)
    work = int(f.files["f.h"].split("#define F_WORK ")[1].split()[0])
    assert work <= 112  # two of 50, the second of which begins where a line of the cache does


def test_the_header_says_what_each_function_uses() -> None:
    kinds = ("grad", "value_and_grad")
    shapes = ((50, 40), (40,))
    f = gs.compile(lambda A, x: gs.sum(gs.tanh(A @ x)), args=shapes, wrt="x", target="c", name="f", derivatives=kinds)
    assert f.workspace == dict.fromkeys(kinds, 50 * 8)
    said = re.findall(r"// It uses (\d+) doubles of `work`.\nvoid f_(\w+)\(", f.files["f.h"])
    assert {kind: 8 * int(count) for count, kind in said} == {k: n for k, n in f.workspace.items() if n}


def test_an_lstm_needs_little_more_than_is_planned_by_hand() -> None:
    steps, batch, inputs, hidden = 20, 8, 8, 32

    def loss(xs: Any, U: Any, W: Any, b: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            h, c = state
            gates = x @ W + h @ U + b
            i, f, o = (gs.sigmoid(gates[:, k * hidden : (k + 1) * hidden]) for k in range(3))
            c = f * c + i * gs.tanh(gates[:, 3 * hidden :])
            return (o * gs.tanh(c), c), None

        nothing = gs.zeros((batch, hidden))
        return gs.sum(gs.scan(step, (nothing, nothing), xs)[0][0] ** 2)

    shapes = ((steps, batch, inputs), (hidden, 4 * hidden), (inputs, 4 * hidden), (4 * hidden,))
    f = gs.compile(loss, args=shapes, wrt=(1, 2, 3), target="c", derivatives="value_and_grad", selftest=False)
    state = batch * hidden
    # gates, state of both kinds, tanh of the cells, and cotangents of the gates of all steps; U transposed, and the
    # cotangents of the state: as in benchmarks/hand/networks.c
    by_hand = (
        steps * 4 * state + 2 * (steps + 1) * state + steps * state + steps * 4 * state + 4 * hidden**2 + 2 * state
    )
    assert f.workspace["value_and_grad"] <= 1.2 * 8 * by_hand


def test_the_first_rows_of_an_array_are_read_where_they_are() -> None:
    """As steps of a loop, say; a copy would take memory for them."""

    def program(x: gs.Expr) -> gs.Expr:
        step = lambda state, rows: (state + gs.sum(gs.tanh(rows @ gs.transpose(rows)), axis=0), None)
        return gs.sum(gs.scan(step, gs.zeros((8,)), gs.reshape(x[:40], (5, 8, 16)))[0]) + gs.sum(x[40:])

    f = gs.compile(program, args=((43, 16),), target="c", derivatives="value", selftest=False)
    x = np.random.default_rng(0).normal(size=(43, 16)) / 4
    want = sum(np.sum(np.tanh(x[k : k + 8] @ x[k : k + 8].T)) for k in range(0, 40, 8)) + x[40:].sum()
    np.testing.assert_allclose(f(x), want, rtol=1e-12)
    assert f.workspace["value"] < 8 * 40 * 16
    others = gs.compile(lambda x: gs.sum(gs.reshape(x[1:41], (5, 128)) @ gs.reshape(x[:40], (128, 5))), args=((43, 16),),
                        target="c", derivatives="value", selftest=False)  # fmt: skip
    np.testing.assert_allclose(others(x), np.sum(x[1:41].reshape(5, 128) @ x[:40].reshape(128, 5)), rtol=1e-11)
