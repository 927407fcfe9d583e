"""What a call does with input that nobody should give it: the right numbers, or an error that names the argument.

Every entry into generated code is here: arrays and numbers of C, NumPy and Python functions, and of C functions of many
points. Elsewhere: what `out=` refuses (`test_calls.py`), compilers that fail, hang or are killed, that lack OpenMP or a
disk with room (`runtime/test_bad_compilers.py`), that are not there (`runtime/test_build.py`, `runtime/test_tiers.py`),
a million arguments (`test_scale.py`), fixed lengths of 0 (`test_calls.py`), lengths beside names (`dimensions/`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

from .conformance.harness import torch_value_and_grad


class Own(np.ndarray):
    """A subclass whose elements are what they seem."""


def _misaligned(x: Any) -> Any:
    return np.frombuffer(b"x" + x.tobytes(), dtype=np.uint8)[1:].view(x.dtype).reshape(x.shape)


def _read_only(x: Any) -> Any:
    frozen = x.copy()
    frozen.flags.writeable = False
    return frozen


#: Changes to an array of multiples of 1/4 that leave the numbers.
SAME: dict[str, Callable[[Any], Any]] = {
    "strided": lambda x: np.stack([x, -x], axis=-1)[..., 0],
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "repeated": lambda x: np.broadcast_to(x, (2, *x.shape))[1],
    "misaligned": _misaligned,
    "read-only": _read_only,
    "other endian": lambda x: x.astype(">f8" if np.dtype("<f8").isnative else "<f8"),
    "float32": lambda x: x.astype(np.float32),
    "subclass": lambda x: x.view(Own),
    "list": lambda x: x.tolist(),
}
#: Changes that leave no array of real numbers, and what the error says.
WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "float16": (lambda x: x.astype(np.float16), "float16"),
    "complex": (lambda x: x.astype(complex), "complex128|real number"),
    "object": (lambda x: x.astype(object), "object|real number"),
    "text": (lambda x: x.astype(str), "U32|real number"),
    "dates": (lambda x: np.zeros(x.shape, "M8[s]"), "datetime64|real number"),
    "records": (lambda x: np.zeros(x.shape, [("a", float)]), r"'<f8'\)|real number"),
    "masked": (lambda x: np.ma.masked_array(x, mask=x > 0.5), "mask.* would be lost: pass .filled"),
    "none": (lambda x: None, "NoneType"),
    "ragged": (lambda x: [[1.0], [2.0, 3.0]], "list|array of real numbers"),
    "long": (lambda x: np.zeros((5, *x.shape, 2)), "has shape .*, expected"),
}
POINTS = np.array([[0.25, 0.5, -0.75], [1.0, 0.75, 0.25]])


def _call(target: str, number: bool) -> tuple[Callable[[Any], Any], Any]:
    """A call with one argument, an array or a number, and what to give it."""
    f = gs.compile(lambda a, s: gs.sum(a * a) * s, args=((2, 3), ()), target=target, derivatives="value")
    return (lambda x: f(POINTS, x), np.array(0.75)) if number else (lambda x: f(x, 0.5), POINTS)


def _batch(number: bool, each: bool | tuple[str, ...] = True) -> tuple[Callable[[Any], Any], Any]:
    """The same with a function of many points; without `each`, the array is one for all points."""
    f = gs.compile(
        lambda v, s: gs.sum(v * v) * s, args=((3,), ()), target="c", derivatives="value", batch=each, name="many"
    )
    s = np.array([0.75, -0.25])
    if number:
        return (lambda x: f.value_batch(POINTS, x), s)
    return (lambda x: f.value_batch(x, s)), POINTS if each is True else POINTS[1]


CALLS: dict[str, Callable[[], tuple[Callable[[Any], Any], Any]]] = {
    **{f"{t} {'number' if n else 'array'}": lambda t=t, n=n: _call(t, n) for t in ("c", "numpy", "python") for n in (0, 1)},
    "batch array": lambda: _batch(False),
    "batch number": lambda: _batch(True),
    "array for all points": lambda: _batch(False, ("s",)),
}  # fmt: skip


@pytest.mark.parametrize("entry", CALLS)
def test_every_entry_takes_what_holds_real_numbers_and_refuses_the_rest(entry: str) -> None:
    call, given = CALLS[entry]()
    want = np.asarray(call(given))
    for name, change in SAME.items():
        if given.ndim or name != "backwards":
            assert np.array_equal(call(change(given)), want), name
    whole = np.asarray(call(np.round(given * 4.0)))
    assert np.array_equal(call(np.round(given * 4.0).astype(np.int64)), whole)
    assert np.array_equal(call(given > 0.5), np.asarray(call(np.where(given > 0.5, 1.0, 0.0))))
    for change, words in WRONG.values():
        with pytest.raises(gs.ArgumentError, match=f"(?s)'[avs]'.*({words})"):
            call(change(given))
    wide = given.astype(np.longdouble)
    if entry.startswith(("numpy", "python")) and wide.dtype.itemsize > 8:  # C narrows it
        with pytest.raises(gs.ArgumentError, match="has dtype float128"):
            call(wide)
    else:
        assert np.array_equal(call(wide), want)


@pytest.mark.parametrize("target", ["c", "numpy"])
def test_results_are_not_written_behind_a_mask(target: str) -> None:
    f = gs.compile(lambda a: gs.sum(a * a), args=((3,),), target=target)
    with pytest.raises(gs.ArgumentError, match=r"out for .* is a masked array"):
        f.grad(POINTS[0], out=np.ma.masked_array(np.zeros(3), mask=True))


def test_what_points_share_is_not_written_over() -> None:
    """Not by results of the points behind, which would read it: one array for all points, and sums over them."""
    f = gs.compile(lambda x, w: gs.sum(w * w * x), args=((), (3,)), target="c", batch=("x",), reduce="sum", name="f")
    g = gs.compile(lambda x, w: gs.sum(w * w * x), args=((), (3,)), target="c", batch=("x",), name="g")
    x, w = np.arange(300.0), np.ones(300)
    with pytest.raises(gs.ArgumentError, match="out for 'value' shares memory with argument 'w'; give it an array"):
        g.value_batch(x, w[:3], out=w)
    with pytest.raises(gs.ArgumentError, match="out for 'd_w' shares memory with argument 'w'"):
        f.grad_batch(x, w[:3], out=(None, w[2:5]))
    with pytest.raises(gs.ArgumentError, match="out for 'd_x' shares memory with out for 'value'"):
        g.value_and_grad_batch(x, w[:3], out=(x_out := np.zeros(300), (x_out, None)))
    assert w.tolist() == [1.0] * 300


def _over_rows(a: Any, b: Any) -> Any:
    """Sums over and along rows of which there may be none; a product of none is 1."""
    c, _ = gs.scan(lambda c, r: (gs.tanh(c) + r @ r, c), gs.sum(b), a)
    along = gs.sum(gs.mean(a, axis=1)) + gs.sum(gs.softmax(a, axis=1) * a) + gs.sum(gs.logsumexp(a @ b, axis=1))
    return c + along + gs.sum(gs.prod(a, axis=0)) + gs.sum(gs.tanh(a @ b)) + gs.sum(gs.exp(a.T @ a) @ b)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # NumPy's words for its NaN
@pytest.mark.parametrize("target", ["c", "numpy"])
def test_named_lengths_of_0_are_torchs_or_refused(target: str) -> None:
    a, b = np.ones((0, 3)), np.linspace(-1.0, 1.0, 6).reshape(3, 2)
    for formula in (_over_rows, lambda a, b: gs.sum(gs.mean(a, axis=0)) * gs.sum(b)):  # the second is NaN
        f = gs.compile(formula, args=(("n", 3), (3, "m")), target=target, selftest=False, name="f")
        value, slopes = f.value_and_grad(a, b)
        wanted = torch_value_and_grad(f._at({"n": 0, "m": 2}).graph, [a, b])
        for got, want in zip([value, *slopes], wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13)
    for least in (lambda a, b: gs.sum(gs.logsumexp(a @ b, axis=0)), lambda a, b: gs.sum(gs.max(a, axis=0) @ b)):
        f = gs.compile(least, args=(("n", 3), (3, "m")), target=target, selftest=False, name="f")
        with pytest.raises(gs.ShapeMismatchError, match="n is 0, and must be 1 or more"):
            f.grad(a, b)


def test_products_of_lengths_may_not_overflow() -> None:
    """2**32 rows of no columns take no memory, and what their products would take is more than there are addresses."""

    def squares(a: Any) -> Any:
        t = gs.tanh(a @ a.T)
        return gs.sum(t @ t)

    for formula in (squares, lambda a: gs.reshape(gs.tanh(a @ a.T), (-1,))):  # in the workspace; in the result
        f = gs.compile(formula, args=(("n", "m"),), target="c", derivatives="value", selftest=False, name="f")
        assert np.sum(f(np.zeros((3, 0)))) == 0.0
        with pytest.raises(MemoryError):
            f(np.zeros((2**32, 0)))


def test_no_points_sum_to_0() -> None:
    f = gs.compile(lambda v, s: gs.sum(gs.exp(v)) * s, args=((3,), ()), target="c", batch=True, reduce="sum", name="f")
    value, (d_v, d_s) = f.value_and_grad_batch(np.zeros((0, 3)), np.zeros(0))
    assert (value, d_v.shape, d_s.shape) == (0.0, (0, 3), (0,)) or (value, np.sum(d_v), np.sum(d_s)) == (0.0, 0.0, 0.0)
