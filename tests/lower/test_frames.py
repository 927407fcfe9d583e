"""The state of a loop lies between the constants that a step puts it between, and nobody reads it too late."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradsmith as gs

END = np.array([0.25, -0.5])


def _between(u: Any, ends: Any = None) -> Any:
    ends = gs.zeros((1,)) if ends is None else ends
    return gs.concat([ends, u, ends])


def _second(wide: Any) -> Any:
    return wide[:-2] - 2.0 * wide[1:-1] + wide[2:]


def _repeated(step: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: gs.fori_loop(0, 5, lambda _, s: step(s), x)


def _midpoint(s: Any) -> Any:
    return s + 0.1 * _second(_between(s + 0.1 * _second(_between(s))))


def _read_late(s: Any) -> Any:
    wide = _between(s)
    return gs.sin(s) * gs.flip(wide)[1:13] + 0.05 * gs.sum(wide)


def _two_frames(s: Any) -> Any:
    return s + 0.1 * _second(_between(s)) + 0.01 * gs.concat([s, gs.ones((3,))])[3:]


def _rows(s: Any) -> Any:
    square = gs.reshape(s, (3, 4))
    wide = gs.concat([square, gs.zeros((2, 4))])
    return gs.reshape(square * 0.5 + gs.tanh(wide[2:] @ gs.ones((4, 4))), (12,))


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "in place": _repeated(_midpoint),
    "not in place": _repeated(lambda s: s + 0.1 * _second(_between(s))),
    "other constants": _repeated(lambda s: 0.5 * _between(s, END)[1:13] + 0.1 * s),
    "in front": _repeated(lambda s: gs.concat([s, gs.zeros((2,))])[2:] + s),
    "read late": _repeated(_read_late),
    "twice": _repeated(lambda s: gs.concat([s, gs.zeros((1,)), s])[6:18] * 0.5),
    "in two arrays": _repeated(_two_frames),
    "next is the frame": _repeated(lambda s: gs.concat([gs.zeros((1,)), s])[:12]),
    "another end": lambda x, y: gs.fori_loop(0, 5, lambda _, s: s + 0.1 * _second(_between(s, y[:1])), x),
    "reshaped": _repeated(lambda s: gs.reshape(_rows(s), (12,))),
    "stacked": lambda x, y: gs.scan(lambda s, a: (_midpoint(s) * a, s), x, y)[1][2],
    "two states": lambda x, y: gs.fori_loop(0, 4, lambda _, s: (s[1] + _midpoint(s[0]), _midpoint(s[0])), (x, y))[0],
    "begun in place": lambda x, y: _repeated(_midpoint)(gs.sin(x) * y, y),
    "begun by a kernel": lambda x, y: _repeated(_midpoint)(gs.linalg.solve(2.0 * np.eye(12) + 0.1, x), y),
    "while": lambda x, y: gs.while_loop(lambda s: gs.sum(s**2) > 0.1, lambda s: 0.5 * _midpoint(s), x, bound=9),
}


def test_values_and_gradients() -> None:
    x, y = gs.symbol("x", (12,)), gs.symbol("y", (12,))
    outputs = [CASES[name](x, y) for name in CASES]
    summed = gs.sum(gs.stack([gs.sum(gs.sin(out + k)) for k, out in enumerate(outputs)]))
    point = [np.random.default_rng(k).normal(size=12) for k in range(2)]
    found = []
    for target in ("c", "numpy"):
        values = gs.compile(outputs, args=[x, y], target=target, selftest=False, derivatives="value")
        slopes = gs.compile(summed, args=[x, y], target=target, selftest=False)
        found.append([*values(*point), *slopes.grad(*point)])
    for name, got, want in zip([*CASES, "d_x", "d_y"], *found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12, err_msg=name)


def test_each_stays_where_it_is() -> None:
    x, y = gs.symbol("x", (12,)), gs.symbol("y", (12,))
    f = gs.compile(gs.sum(CASES["in place"](x, y)), target="c", derivatives="value", selftest=False)
    inside = f.source[f.source.index("step < 5") :]
    assert "[i + 1] = x[i]" in f.source
    assert "= 0.0" in f.source[f.source.index("[i + 1] = x[i]") : f.source.index("step < 5")]  # the ends, once
    assert inside.count("for (ptrdiff_t i") == 3  # two stages and the sum
