"""What is put together is computed where it belongs, unless another part may lie over it."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs

CASES = {
    "between zeros": lambda x, y: _second(gs.concat([gs.zeros((1,)), gs.sin(x), gs.zeros((1,))])),
    "both parts": lambda x, y: gs.concat([gs.sin(x), gs.cos(y)]) * 2.0,
    "in two arrays": lambda x, y: gs.concat([gs.sin(x), y]) * gs.concat([y, gs.sin(x)]),
    "twice in one": lambda x, y: _second(gs.concat([gs.sin(x), gs.sin(x)])),
    "read besides": lambda x, y: gs.concat([gs.sin(x), y])[::2] + gs.sin(x)[::-1],
    "columns": lambda x, y: gs.concat([gs.sin(_square(x)), gs.cos(_square(y))], axis=1) @ gs.concat([x, y])[:8],
    "a stack": lambda x, y: gs.stack([gs.sin(x), gs.cos(y)]) @ x,
    "in one another": lambda x, y: gs.concat([y, gs.concat([gs.sin(x), y])[1:] * 2.0]),
    "a product of matrices": lambda x, y: gs.concat([gs.outer(x, y) @ gs.outer(y, x), gs.outer(x, x)]) @ y,
    "written over": lambda x, y: gs.exp(x).at[2:9].set(gs.sin(y)[2:9]) * gs.exp(x),
    "reshaped": lambda x, y: gs.concat([gs.reshape(gs.sin(x), (16,)), y]) * gs.concat([y, x]),
}


def _second(wide: Any) -> Any:
    return wide[:-2] - 2.0 * wide[1:-1] + wide[2:]


def _square(x: Any) -> Any:
    return gs.reshape(x, (4, 4))


@pytest.mark.parametrize("strict", [False, True])
def test_values_and_gradients(strict: bool) -> None:
    names = list(CASES)
    x, y = gs.symbol("x", (16,)), gs.symbol("y", (16,))
    outputs = [gs.sum(CASES[name](x, y) ** 2) for name in names]
    options: Any = {"args": [x, y], "selftest": False, "derivatives": ("value", "jacobian"), "strict": strict}
    c, numpy = (gs.compile(outputs, target=target, **options) for target in ("c", "numpy"))
    point = [np.random.default_rng(k).normal(size=16) for k in range(2)]
    for name, got, want in zip(names, c(*point), numpy(*point), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=name)
    for name, got, want in zip(names, c.jacobian(*point), numpy.jacobian(*point), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11, err_msg=name)


def test_no_part_is_copied() -> None:
    x = gs.symbol("x", (50,))
    wide = gs.concat([gs.zeros((1,)), gs.tanh(x), gs.zeros((1,))])
    f = gs.compile(gs.sum(_second(wide)), target="c", derivatives="value", selftest=False)
    assert "[i + 1] = gs_vtanh(x[i])" in f.source
    assert f.source.count("for (ptrdiff_t i") == 2  # one that makes the middle, one that adds up
