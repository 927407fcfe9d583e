"""NumPy's functions on traced values: same signatures, same values, and the gradients of central differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradsmith.ops.lazy import counterpart

from .plain_numpy import Table, agree

V, W, M, N, C = (4,), (4,), (3, 4), (3, 4), (2, 3, 4)
MASK = np.array([True, False, True, True])

UFUNCS: Table = {
    name: (getattr(np, name), [V, W])
    for name in (
        "add", "arctan2", "divide", "float_power", "fmax", "fmin", "heaviside", "maximum", "minimum", "multiply",
        "power", "subtract", "true_divide",
    )
} | {
    name: (getattr(np, name), [M])
    for name in (
        "abs", "absolute", "arctan", "cos", "cosh", "deg2rad", "degrees", "exp", "expm1", "fabs", "floor", "log", "log1p",
        "negative", "rad2deg", "radians", "reciprocal", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh",
    )
}  # fmt: skip

FUNCTIONS: Table = {
    "sum": (lambda x: np.sum(x, axis=1, keepdims=True), [M]),
    "sum of all": (lambda x: np.sum(x), [M]),
    "sum where": (lambda x: np.sum(x, axis=1, where=MASK), [M]),
    "sum initial": (lambda x: np.sum(x, initial=2.0), [M]),
    "sum dtype": (lambda x: np.sum(x, dtype=float), [M]),
    "prod": (lambda x: np.prod(x, 0), [M]),
    "max": (lambda x: np.max(x, axis=0), [M]),
    "max initial": (lambda x: np.max(x, axis=0, initial=1.5), [M]),
    "amin": (lambda x: np.amin(x, axis=(0, 1)), [M]),
    "mean": (lambda x: np.mean(x, axis=(0, 2), keepdims=True), [C]),
    "mean where": (lambda x: np.mean(x, axis=1, where=MASK), [M]),
    "average": (lambda x, w: np.average(x, axis=1, weights=w), [M, W]),
    "average of all": (lambda x, w: np.average(x, weights=w), [M, M]),
    "ptp": (lambda x: np.ptp(x, axis=0), [M]),
    "concatenate": (lambda x, y: np.concatenate((x, y * 2.0), axis=1), [M, N]),
    "concatenate flat": (lambda x, y: np.concatenate((x, y), axis=None), [M, V]),
    "stack": (lambda x, y: np.stack((x, y), axis=1), [V, W]),
    "vstack": (lambda x, y: np.vstack((x, y)), [V, M]),
    "hstack": (lambda x, y: np.hstack((x, y)), [V, W]),
    "hstack of matrices": (lambda x, y: np.hstack((x, y)), [M, N]),
    "dstack": (lambda x, y: np.dstack((x, y)), [M, N]),
    "column_stack": (lambda x, y: np.column_stack((x, y)), [(3,), M]),
    "append": (lambda x, y: np.append(x, y), [M, V]),
    "split": (lambda x: np.split(x, 2, axis=1), [M]),
    "split at": (lambda x: np.split(x, [1, 3], axis=1), [M]),
    "array_split": (lambda x: np.array_split(x, 3), [V]),
    "vsplit, hsplit": (lambda x: [*np.vsplit(x, 3), *np.hsplit(x, 2)], [M]),
    "where": (lambda x, y: np.where(x > y, x * y, y), [V, W]),
    "select": (lambda x: np.select([x > 2.0, x > 1.0], [x * x, 2.0 * x], -x), [V]),
    "clip": (lambda x: np.clip(x, 0.5, 2.0), [V]),
    "clip by name": (lambda x: np.clip(x, a_min=None, a_max=1.0), [V]),
    "dot": (lambda x, y: np.dot(x, y), [M, V]),
    "matmul": (lambda x, y: np.matmul(x, y), [M, (4, 2)]),
    "outer": (lambda x, y: np.outer(x, y), [V, (3,)]),
    "inner": (lambda x, y: np.inner(x, y), [M, (2, 4)]),
    "inner of vectors": (lambda x, y: np.inner(x, y), [V, W]),
    "vdot": (lambda x, y: np.vdot(x, y), [M, N]),
    "kron": (lambda x, y: np.kron(x, y), [(2, 2), (3,)]),
    "multi_dot": (lambda x, y: np.linalg.multi_dot([x, y, x]), [M, (4, 3)]),
    "matrix_power": (lambda x: np.linalg.matrix_power(x, 5), [(2, 2)]),
    "diagonal": (lambda x: np.diagonal(x, -1), [M]),
    "diagonal of stack": (lambda x: np.diagonal(x, axis1=0, axis2=2), [C]),
    "reshape": (lambda x: np.reshape(x, (2, -1)), [M]),
    "ravel": (lambda x: np.ravel(x, order="F"), [M]),
    "transpose": (lambda x: np.transpose(x, (1, 2, 0)), [C]),
    "squeeze": (lambda x: np.squeeze(x, axis=0), [(1, 3)]),
    "expand_dims": (lambda x: np.expand_dims(x, axis=(0, 2)), [V]),
    "broadcast_to": (lambda x: np.broadcast_to(x, (3, 4)), [V]),
    "atleast": (lambda x: (np.atleast_1d(x), np.atleast_2d(x), np.atleast_3d(x)), [V]),
    "atleast of matrix": (lambda x: np.atleast_3d(x), [M]),
    "zeros_like": (lambda x: np.zeros_like(x) + x, [M]),
    "full_like": (lambda x: np.full_like(x, 2.5) * x, [M]),
    "full_like traced": (lambda x: np.full_like(x, x[0]), [V]),
    "copy": (lambda x: np.copy(x), [M]),
    "polyval": (lambda p, x: np.polyval(p, x), [(3,), V]),
    "polyval fixed": (lambda x: np.polyval([1.0, -2.0, 3.0], x), [V]),
    "convolve": (lambda x, y: [np.convolve(x, y, m) for m in ("full", "same", "valid")], [(5,), (3,)]),
    "nan_to_num": (lambda x: np.nan_to_num(np.log(x - 1.0)), [V]),
    "round": (lambda x: x * np.floor(x), [V]),
    "shape, ndim, size": (lambda x: x * np.size(x) + np.ndim(x) * x + np.shape(x)[0] * np.size(x, 1), [M]),
    "add.reduce": (lambda x: np.add.reduce(x), [M]),
    "multiply.reduce": (lambda x: np.multiply.reduce(x, axis=1, keepdims=True), [M]),
    "maximum.reduce": (lambda x: np.maximum.reduce(x, axis=None), [M]),
    "logaddexp.reduce": (lambda x: np.logaddexp.reduce(x, axis=1), [M]),
    "add.outer": (lambda x, y: np.add.outer(x, y), [V, M]),
    "power.outer": (lambda x, y: np.power.outer(x, y), [V, (3,)]),
    "dtype": (lambda x: np.multiply(x, 2.0, dtype=np.float64), [M]),
    "methods": (
        lambda x: (
            x.sum(axis=1), x.mean(0), x.prod(), x.max(axis=0), x.min(), x.dot(np.arange(4.0)), x.clip(0.5, 2.0), x.ravel(),
            x.flatten(), x.reshape(4, 3), x.transpose(), x.T, x.copy(), x.squeeze(),
            x.diagonal(), x.real,
        ),
        [M],
    ),
    "operators": (
        lambda x: (
            np.array([1.0, 2.0, 3.0, 4.0]) * x + np.float64(2.0) - x, np.float64(3.0) / x, np.ones(4) - x,
            np.float32(0.5) + x, np.array(2.0) ** x, np.arange(1, 5) / x, x - np.ones(4), np.eye(4) @ x, x @ np.eye(4),
            2 - x, 2.0**x, np.where(np.float64(1.0) < x, x, 0.0), np.where(np.ones(4) >= x, x, -x), +x, abs(-x),
        ),
        [V],
    ),
    "sum of a list": (lambda x: sum([x, x * x]) + sum(x), [V]),
}  # fmt: skip

#: Functions whose gs function is defined in another family: they are tested where it exists.
WITH = {
    "cumulative_sum": {
        "cumsum": (lambda x: np.cumsum(x), [M]),
        "cumsum method": (lambda x: x.cumsum(axis=0), [M]),
        "cumsum axis": (lambda x: np.cumsum(x, axis=1), [M]),
        "add.accumulate": (lambda x: np.add.accumulate(x), [M]),
    },
    "cumulative_prod": {"cumprod": (lambda x: np.cumprod(x, axis=0), [M])},
    "var": {
        "var": (lambda x: np.var(x), [M]),
        "var ddof": (lambda x: np.var(x, axis=1, ddof=1, keepdims=True), [M]),
    },
    "std": {"std": (lambda x: (np.std(x, axis=0), np.std(x, ddof=1)), [M])},
    "norm": {
        "norm": (lambda x: np.linalg.norm(x), [V]),
        "norm of rows": (lambda x: np.linalg.norm(x, axis=1, keepdims=True), [M]),
        "norm 1": (lambda x: np.linalg.norm(x - 1.0, 1), [V]),
        "norm 3": (lambda x: np.linalg.norm(x - 1.0, ord=3), [V]),
        "norm inf": (lambda x: np.linalg.norm(x - 1.0, np.inf), [V]),
        "norm -inf": (lambda x: np.linalg.norm(x, -np.inf), [V]),
        "norm 0": (lambda x: np.linalg.norm(x, 0) * x[0], [V]),
        "norm of matrix": (lambda x: np.linalg.norm(x, "fro"), [M]),
        "norm of matrix 1": (lambda x: np.linalg.norm(x, 1), [M]),
        "norm of matrix -inf": (lambda x: np.linalg.norm(x, -np.inf, axis=(0, 2)), [C]),
    },
    "moveaxis": {
        "moveaxis": (lambda x: np.moveaxis(x, (0, 1), (-1, 0)), [C]),
        "rollaxis": (lambda x: np.rollaxis(x, 2, 1), [C]),
        "swapaxes": (lambda x: np.swapaxes(x, 0, -1), [C]),
    },
    "flip": {
        "flip": (lambda x: np.flip(x, axis=(0, 2)), [C]),
        "flip all": (lambda x: np.flip(x), [M]),
        "flipud, fliplr": (lambda x: (np.flipud(x), np.fliplr(x)), [M]),
        "rot90": (lambda x: [np.rot90(x, k) for k in range(4)], [M]),
    },
    "broadcast_arrays": {
        "broadcast_arrays": (lambda x, y: np.broadcast_arrays(x, y), [V, (3, 1)]),
    },
    "diff": {
        "diff": (lambda x: np.diff(x, axis=0), [M]),
        "diff twice": (lambda x: np.diff(x, n=2, prepend=0.0), [V]),
        "ediff1d": (lambda x: np.ediff1d(x), [V]),
        "trapezoid": (lambda y, x: np.trapezoid(y, x, axis=1), [M, V]),
        "trapezoid dx": (lambda y: np.trapezoid(y, dx=0.1), [V]),
    },
    "trace": {
        "trace": (lambda x: np.trace(x, offset=1), [M]),
    },
    "diag": {
        "diag": (lambda x: np.diag(x, 1), [(3,)]),
        "diag of matrix": (lambda x: np.diag(x), [M]),
    },
    "linspace": {
        "linspace": (lambda x, y: np.linspace(x, y, 5), [(), ()]),
        "linspace of arrays": (lambda x, y: np.linspace(x, y, 4, endpoint=False, axis=1), [V, W]),
    },
    "einsum": {
        "einsum": (lambda x, y: np.einsum("ij,kj->ki", x, y), [M, (2, 4)]),
        "einsum trace": (lambda x: np.einsum("ii", x), [(3, 3)]),
    },
    "argmax": {
        "argmax": (lambda x: x * np.argmax(x), [V]),
    },
    "all": {
        "all, any": (lambda x: np.where(np.all(x > 0.5, axis=0), x, 2.0 * x) + np.where(np.any(x > 2.0), x, -x), [M]),
    },
    "pad": {
        "pad": (lambda x: np.pad(x, ((1, 0), (0, 2))), [M]),
    },
    "tensordot": {
        "tensordot": (lambda x, y: np.tensordot(x, y, axes=([2, 1], [1, 0])), [C, M]),
        "tensordot 1": (lambda x, y: np.tensordot(x, y, 1), [M, (4, 2)]),
        "inner of stacks": (lambda x, y: np.inner(x, y), [C, M]),
    },
    "roll": {"roll": (lambda x: (np.roll(x, 1), np.roll(x, -2, axis=1)), [M])},
    "tile": {"tile": (lambda x: np.tile(x, (2, 1)), [V])},
    "repeat": {"repeat": (lambda x: np.repeat(x, 2, axis=1), [M])},
    "cross": {"cross": (lambda x, y: np.cross(x, y), [(2, 3), (3,)])},
    "take": {"take": (lambda x: np.take(x, np.array([2, 0]), axis=1), [M])},
    "round": {"round": (lambda x: x * np.round(x) + x * np.round(x, 1), [V])},
    "hypot": {"hypot": (np.hypot, [V, W])},
    "exp2": {"exp2": (np.exp2, [V])},
    "log2": {"log2, log10": (lambda x: np.log2(x) + np.log10(x), [V])},
    "cbrt": {"cbrt": (np.cbrt, [V])},
    "logaddexp": {"logaddexp": (np.logaddexp, [V, W])},
    "remainder": {"remainder": (lambda x, y: np.remainder(x, y) + np.floor_divide(x, y) * x, [V, W])},
    "tril": {"tril, triu": (lambda x: (np.tril(x), np.triu(x, 1)), [M])},
    "meshgrid": {"meshgrid": (lambda x, y: np.meshgrid(x, y, indexing="ij"), [V, (3,)])},
}


def test_ufuncs(tmp_path: Path) -> None:
    agree(UFUNCS, tmp_path)


def test_functions(tmp_path: Path) -> None:
    agree(FUNCTIONS, tmp_path)


@pytest.mark.parametrize("needed", WITH)
def test_functions_of_other_families(needed: str, tmp_path: Path) -> None:
    if counterpart(needed) is None:
        pytest.skip(f"there is no gs.{needed}")
    agree(WITH[needed], tmp_path)
