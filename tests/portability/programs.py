"""A few programs that use many ops, whose emitted C tests itself on other compilers and processors."""

from typing import Any

import numpy as np

import gradsmith as gs


def _scalar(x: Any, y: Any, z: Any) -> Any:
    e = gs.tanh(x) * y + gs.erf(y) * gs.expm1(x) + gs.log1p(x * x) + gs.floor(z) * x + gs.hypot(x, z)
    e = e + gs.where(x > y, gs.sqrt(abs(z) + 1.0), gs.atan2(y, 1.0 + z * z)) * gs.exp2(y) + gs.lgamma(2.0 + x * x)
    return e + gs.sigmoid(z) * gs.softplus(x) + gs.clip(y, -1.0, 1.0) ** 3 + gs.remainder(x, 0.75) * gs.cosh(y)


def _arrays(w: Any, v: Any, i: Any) -> Any:
    a = w @ w.T + 4.0 * gs.eye(4)
    s = gs.linalg.solve(a, w @ v)
    e = gs.sum(s * s) + gs.logsumexp(w) + gs.linalg.slogdet(a)[1] + gs.sum(gs.softmax(w[:, 0])) * v[i]
    return e + gs.sum(gs.sort(v) * np.linspace(0.0, 1.0, 3)) + gs.sum(gs.cumsum(v) ** 2) + gs.linalg.norm(w)


def _scan(a: Any, xs: Any) -> Any:
    last, states = gs.scan(lambda state, row: (gs.tanh(state * a + row), state * row), 1.0 * a, xs)
    return last + gs.sum(states**2)


def _long(x: Any, y: Any) -> Any:
    total = x * y
    for k in range(40):
        total = gs.sin(total) * 0.5 + (x if k % 2 else y)
    return total


def _kernels(a: Any, b: Any, x: Any, w: Any) -> Any:
    """Products, a convolution and loops that have kernels, with angles beyond their range."""
    h = gs.tanh(a @ b)
    e = gs.sum(h @ h.T) + gs.sum(gs.relu(gs.conv2d(x, w, padding=1)) ** 2) + gs.sum(gs.sin(a + 4e6) * gs.erf(a))
    return e + gs.sum(gs.log1p(gs.exp(h)) * gs.atan2(h, 1.0 + h * h)) + gs.sum(gs.logsumexp(a @ b, axis=1))


def _points(v: Any, a: Any) -> Any:
    return gs.sum(gs.exp(-v * v) * a) + gs.sin(v[0]) * gs.log1p(a * a) + gs.where(a > 0.5, v[1], a) ** 3


_ARRAYS = {"args": ((4, 3), (3,), gs.spec((), "int64")), "wrt": ("w", "v")}
OPTIONS: dict[str, dict[str, Any]] = {
    "scalar": {"source": _scalar},
    "arrays": {"source": _arrays, **_ARRAYS},
    "single": {"source": _arrays, **_ARRAYS, "dtype": "float32"},
    "scan": {"source": _scan, "args": ((), (5,))},
    "parts": {"source": _long, "tuning": gs.Tuning(longest_body=1, part_lines=20, unit_lines=60)},
    "strict": {"source": _scan, "args": ((), (5,)), "strict": True},
    "kernels": {"source": _kernels, "args": ((9, 12), (12, 17), (2, 3, 7, 9), (4, 3, 3, 3))},
    "batch": {"source": _points, "args": ((3,), ()), "batch": True, "tuning": gs.Tuning(stream_rows=1)},
    "sums": {"source": _points, "args": ((3,), ()), "batch": ("v",), "reduce": "sum", "threads": "openmp"},
}


def emitted(name: str) -> gs.CompiledFunction:
    """The program called `name`, in C, with its self-test."""
    options = dict(OPTIONS[name])
    return gs.compile(options.pop("source"), name=name, target="c", **options)
