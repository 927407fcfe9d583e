"""Cheap values are computed again instead of being stored: the same bits, and less workspace."""

from typing import Any

import numpy as np

import gradsmith as gs


def of(x: Any, t: Any) -> Any:
    residual = x - t
    return gs.sum(residual * residual) * gs.sum(gs.exp(-(residual * residual)))


def compiled(most: int, function: Any = of, **options: Any) -> Any:
    return gs.compile(
        function,
        args=((200,), (200,)),
        target="c",
        selftest=False,
        tuning=gs.Tuning(recompute_operations=most),
        **{"wrt": "x", **options},
    )


def test_the_same_bits_in_less_memory() -> None:
    point = [np.random.default_rng(k).normal(size=200) for k in range(2)]
    for strict in (False, True):
        less, more = compiled(6, strict=strict), compiled(1, strict=strict)
        assert less.workspace["value_and_grad"] < more.workspace["value_and_grad"]
        for one, other in zip(less.value_and_grad(*point), more.value_and_grad(*point), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_takes_a_call_is_stored() -> None:
    f = compiled(1000, lambda x, t: gs.sum(gs.exp(x)) * gs.sum(t * gs.exp(x)), derivatives="value_and_grad")
    assert f.source.count("gs_vexp(x[") == 1


def test_old_state_is_not_read_after_the_new_is_written() -> None:
    def step(_: Any, s: Any) -> Any:
        scaled = 0.5 * s
        wide = gs.concat([scaled, s])
        return gs.sin(s) + scaled[::-1] + wide[100:300]

    f = compiled(6, lambda x, t: gs.sum(t * gs.fori_loop(0, 5, step, x)))
    point = [np.random.default_rng(k).normal(size=200) for k in range(2)]
    s = point[0]
    for _ in range(5):
        s = np.sin(s) + 0.5 * s[::-1] + np.concatenate([0.5 * s, s])[100:300]
    np.testing.assert_allclose(f(*point), np.sum(point[1] * s), rtol=1e-12)
