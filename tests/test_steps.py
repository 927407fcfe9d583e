"""Loops over time steps: what their way back keeps of each step, and what is done once for all of them."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs

T, BATCH, IN, HIDDEN = 6, 3, 4, 5


def cell(state: Any, x: Any, W: Any, U: Any, b: Any) -> Any:
    h, c = state
    gates = x @ W + h @ U + b
    i, f, o = (gs.sigmoid(gates[..., k * HIDDEN : (k + 1) * HIDDEN]) for k in range(3))
    c = f * c + i * gs.tanh(gates[..., 3 * HIDDEN :])
    return o * gs.tanh(c), c


def lstm(xs: Any, W: Any, U: Any, b: Any, rolled: bool = True, **options: Any) -> Any:
    start = gs.zeros((*xs.shape[1:-1], HIDDEN))
    state = (start, start)
    if rolled:
        state, _ = gs.scan(lambda s, x: (cell(s, x, W, U, b), None), state, xs, **options)
    else:
        for t in range(T):
            state = cell(state, xs[t], W, U, b)
    return gs.sum(state[0] ** 2)


def point(*between: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(T, *between, IN), (IN, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,)]
    return [rng.normal(size=shape) for shape in shapes]


def compiled(function: Any, xs: list[np.ndarray], target: str = "c") -> Any:
    shapes = tuple(x.shape for x in xs)
    return gs.compile(function, args=shapes, target=target, derivatives="value_and_grad", selftest=False)


@pytest.mark.parametrize("between", [(BATCH,), ()], ids=["matrices", "vectors"])
@pytest.mark.parametrize("checkpoint", [None, 2])
def test_gradients_are_those_of_the_steps_one_by_one(between: tuple[int, ...], checkpoint: int | None) -> None:
    xs = point(*between)
    want = compiled(lambda *a: lstm(*a, rolled=False), xs, "numpy").value_and_grad(*xs)
    for target in ("c", "numpy"):
        got = compiled(lambda *a: lstm(*a, checkpoint=checkpoint), xs, target).value_and_grad(*xs)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
        for one, other in zip(got[1], want[1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_gradients_of_weights_are_one_product_behind_the_loop() -> None:
    graph = compiled(lstm, point(BATCH)).adjoint
    assert sum(n.op == "matmul" for n in graph.ordered()) == 2  # for W and for U; others stand in the loops' bodies


def test_what_is_stored_is_the_least_that_the_way_back_reads() -> None:
    f = gs.compile(
        lambda x: gs.sum(gs.fori_loop(0, 50, lambda _, s: gs.sin(s) * gs.tanh(0.5 * s), x)), args=((100,),), target="c",
        derivatives="value_and_grad", selftest=False,
    )  # fmt: skip
    # the slope, and what there is besides: the state, its cotangent, and lines of the cache between them
    assert f.workspace["value_and_grad"] <= 8 * (51 * 100 + 3 * 104)


def test_elements_of_steps_not_taken_may_be_nan() -> None:
    def total(W: Any, xs: Any, n: Any) -> Any:
        def step(state: Any) -> Any:
            k, h = state
            return k + 1, gs.tanh(xs[k] @ W + h)

        return gs.sum(gs.while_loop(lambda s: s[0] < n, step, (0, gs.zeros((3, 8))), bound=5)[1])

    xs = np.random.default_rng(0).normal(size=(5, 3, 8))
    xs[2:] = np.nan
    f = gs.compile(total, args=((8, 8), (5, 3, 8), ()), wrt=(0,), target="c", derivatives="grad", selftest=False)
    assert np.isfinite(np.asarray(f.grad(np.eye(8), xs, 2.0))).all()
