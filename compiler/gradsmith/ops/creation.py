"""Creation: arrays whose elements are known while tracing, and arrays filled with one value.

They become constants of the generated code; an array of equal elements is one number, broadcast.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..dims import Dim, Extent, at_least_zero, quotient
from ..errors import ShapeError, TraceError
from ..trace import Expr, as_expr, registry_function
from ..types import FLOAT64, normalize_shape
from .conversion import astype
from .layout import broadcast_to, reshape
from .lazy import gs

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros",
    "zeros_like",
]  # fmt: skip


def _made(value: Any, dtype: Any, device: Any, op: str) -> Expr:
    """A constant, or a traced value, of the dtype asked for; generated code knows no devices."""
    if device is not None:
        raise TraceError(f"{op}: device={device!r}: generated code runs where it is called; leave device=None")
    return as_expr(value) if dtype is None else astype(value, dtype)


def _static(op: str, *values: Any) -> None:
    for value in values:
        if isinstance(value, Expr):
            _refuse(op, value)


def _refuse(op: str, value: Expr) -> NoReturn:
    raise TraceError(f"{op}: {value!r} has no number yet, and the result's length must be known while tracing")


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array of `shape` whose elements are all `fill_value`, a number or a traced scalar.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.compile(gs.full((2, 2), x))(7.0)
    [[7.0, 7.0], [7.0, 7.0]]
    """
    value = _made(fill_value, dtype, device, "full")
    if value.ndim:
        raise ShapeError(f"full: fill_value must be a scalar, not {value.type}; use gs.broadcast_to")
    sizes = normalize_shape(shape)
    return broadcast_to(value, sizes) if sizes else value


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array of `shape` whose elements are 0 (or False).

    >>> import gradsmith as gs
    >>> gs.zeros((2, 3))
    <gs.Expr broadcast_to: f64[2, 3]>
    """
    return full(shape, 0.0, dtype=dtype, device=device)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array of `shape` whose elements are 1 (or True).

    >>> import gradsmith as gs
    >>> gs.ones(3).shape
    (3,)
    """
    return full(shape, 1.0, dtype=dtype, device=device)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Expr:
    """`zeros`, under the name for arrays whose elements do not matter.

    >>> import gradsmith as gs
    >>> gs.empty((0, 2)).shape
    (0, 2)
    """
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array with the shape and dtype of `x` whose elements are all `fill_value`.

    >>> import gradsmith as gs
    >>> gs.full_like(gs.symbol("x", (2, 3)), 0.5).shape
    (2, 3)
    """
    x = as_expr(x)
    return full(x.shape, fill_value, dtype=x.type.dtype if dtype is None else dtype, device=device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array with the shape and dtype of `x` whose elements are 0.

    >>> import gradsmith as gs
    >>> gs.zeros_like(gs.symbol("x", 3)).shape
    (3,)
    """
    return full_like(x, 0.0, dtype=dtype, device=device)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Expr:
    """An array with the shape and dtype of `x` whose elements are 1.

    >>> import gradsmith as gs
    >>> gs.ones_like(gs.symbol("x", 3)).shape
    (3,)
    """
    return full_like(x, 1.0, dtype=dtype, device=device)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Expr:
    """`zeros_like`, under the name for arrays whose elements do not matter.

    >>> import gradsmith as gs
    >>> gs.empty_like(gs.symbol("x", 3)).shape
    (3,)
    """
    return zeros_like(x, dtype=dtype, device=device)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Expr:
    """`obj` (a number, nested sequences, a NumPy array, or traced values among them) as a traced value.

    Values never change, so whether they are copied (`copy`) makes no difference.

    >>> import gradsmith as gs
    >>> x, y = gs.symbols("x y")
    >>> gs.asarray([[x, 1.0], [y, x]]).shape
    (2, 2)
    """
    return _made(obj, dtype, device, "asarray")


def arange(
    start: float | Dim, /, stop: float | Dim | None = None, step: float = 1, *, dtype: Any = None, device: Any = None
) -> Expr:
    """The numbers from `start` up to, but without, `stop`, at distances of `step`; `arange(stop)` starts at 0.

    >>> import gradsmith as gs
    >>> gs.compile(gs.arange(3) * gs.symbol("x"))(2.0)
    [0.0, 2.0, 4.0]
    """
    _static("arange", start, stop, step)
    if step == 0:
        raise ShapeError("arange: step cannot be 0")
    first, last = (0, start) if stop is None else (start, stop)
    if isinstance(first, Dim) or isinstance(last, Dim):
        return _made(_counted(first, last, step), dtype, device, "arange")
    return _made(np.arange(first, last, step), dtype, device, "arange")


def _counted(first: Any, last: Any, step: Any) -> Expr:
    """`arange` between ends that are known by name."""
    if not all(isinstance(v, int | Dim) for v in (first, last)) or not isinstance(step, int):
        raise ShapeError(f"arange: beside a named size, ends and step are integers, not {first}, {last}, {step}")
    span = at_least_zero(last - first if step > 0 else first - last)
    numbers = registry_function("iota")(size=quotient(span + abs(step) - 1, abs(step)))
    scaled = numbers if step == 1 else numbers * step
    return scaled if first == 0 else scaled + first


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Expr:
    """`num` numbers at equal distances from `start` to `stop`, which may be traced.

    Parameters
    ----------
    start, stop: numbers, arrays or traced values; they broadcast, and the new axis comes first.
    num: how many, an int known while tracing.
    endpoint: whether `stop` is the last of them.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.compile(gs.linspace(0.0, x, 5))(1.0)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    _static("linspace", num)
    if isinstance(num, Dim):
        return _made(_spaced(as_expr(start), as_expr(stop), num, endpoint), dtype, device, "linspace")
    if num < 0:
        raise ShapeError(f"linspace: num cannot be negative: {num}")
    if not isinstance(start, Expr) and not isinstance(stop, Expr):
        return _made(np.linspace(start, stop, num, endpoint=endpoint), dtype, device, "linspace")
    first, last = as_expr(start), as_expr(stop)
    there = np.linspace(0.0, 1.0, num, endpoint=endpoint)
    shape, wanted = (num, *[1] * max(first.ndim, last.ndim)), (last - first).type.dtype
    weights = [reshape(asarray(w, dtype=wanted), shape) for w in (1.0 - there, there)]
    return _made(first * weights[0] + last * weights[1], dtype, device, "linspace")  # exact at both ends


def _spaced(start: Expr, stop: Expr, num: Dim, endpoint: bool) -> Expr:
    """`linspace` of a length known by name: exact at both ends, and the start alone where there is one number."""
    numbers = astype(registry_function("iota")(size=num), FLOAT64)
    steps = as_expr(num - 1 if endpoint else num)
    there = reshape(numbers / astype(gs.maximum(steps, 1), FLOAT64), (num, *[1] * max(start.ndim, stop.ndim)))
    return start * (1.0 - there) + stop * there


def eye(n_rows: Extent, n_cols: Extent | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Expr:
    """A matrix with ones on its `k`-th diagonal and zeros elsewhere.

    >>> import gradsmith as gs
    >>> gs.compile(gs.eye(2) * gs.symbol("x"))(3.0)
    [[3.0, 0.0], [0.0, 3.0]]
    """
    _static("eye", n_rows, n_cols, k)
    rows, columns = normalize_shape((n_rows, n_rows if n_cols is None else n_cols))
    if isinstance(rows, Dim) or isinstance(columns, Dim):
        here = [reshape(registry_function("iota")(size=d), s) for d, s in ((rows, (rows, 1)), (columns, (1, columns)))]
        return _made(gs.where(gs.equal(here[0] + k, here[1]), 1.0, 0.0), dtype, device, "eye")
    return _made(np.eye(rows, columns, k), dtype, device, "eye")
