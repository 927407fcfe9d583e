"""Jacobians of expressions: how many sweeps of forward or reverse mode they take, and with which seeds.

In: expressions and the symbols to differentiate by. Out: for each pair of an output and a symbol the block of the
Jacobian, an array of the shapes of both. A block that is structurally zero costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .adjoint import pulled, zeros
from .ops import permute_dims, reshape, stack
from .tangent import pushed
from .trace import Expr, constant
from .types import Type, static_shape

__all__ = ["Mode", "dense"]

Mode = Literal["auto", "forward", "reverse"]


def dense(outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr], mode: Mode) -> list[list[Expr]]:
    """The blocks of the Jacobian, a row for each output and a column for each symbol, at the values `at`."""
    if mode == "auto":
        entries = sum(x.size for x in wrt), sum(y.size for y in outputs)
        mode = "forward" if entries[0] <= entries[1] else "reverse"
    return _forward(outputs, wrt, at) if mode == "forward" else _reverse(outputs, wrt, at)


def _units(type: Type) -> list[Expr]:
    """For each element, an array that is 1 there and 0 elsewhere."""
    shape = static_shape(type.shape)
    rows = np.eye(type.size).reshape(type.size, *shape)
    return [constant(row, type.dtype) for row in rows]


def _forward(outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr]) -> list[list[Expr]]:
    columns: list[list[Expr]] = []  # by symbol, then by output
    for i, x in enumerate(wrt):
        sweeps = [
            pushed(outputs, wrt, [unit if k == i else None for k in range(len(wrt))], at, stabilize=True)[1]
            for unit in _units(x.type)
        ]
        columns.append([_block([s[o] for s in sweeps], y.type, x.type, last=True) for o, y in enumerate(outputs)])
    return [[column[o] for column in columns] for o in range(len(outputs))]


def _reverse(outputs: Sequence[Expr], wrt: Sequence[Expr], at: Sequence[Expr]) -> list[list[Expr]]:
    rows = []
    for o, y in enumerate(outputs):
        sweeps = [
            pulled(outputs, [unit if k == o else None for k in range(len(outputs))], wrt, at, stabilize=True)[1]
            for unit in _units(y.type)
        ]
        rows.append([_block([s[i] for s in sweeps], x.type, y.type, last=False) for i, x in enumerate(wrt)])
    return rows


def _block(slices: Sequence[Expr | None], one: Type, other: Type, last: bool) -> Expr:
    """Slices of type `one`, one for each element of `other`, put together along the axes of `other`."""
    dtype = one.dtype if last else other.dtype
    shape = (*one.shape, *other.shape) if last else (*other.shape, *one.shape)
    whole = Type(shape, dtype)
    if not slices or all(s is None for s in slices):
        return zeros(whole)
    if not other.shape:
        return slices[0]  # type: ignore[return-value]
    stacked = stack([zeros(one) if s is None else s for s in slices])
    if last and one.shape:
        stacked = permute_dims(stacked, (*range(1, stacked.ndim), 0))
    return stacked if stacked.shape == shape else reshape(stacked, shape)
