"""Summation: add in an order, or with a correction, that rounds less than one element after the other.

In: a sum or mean over axes, and how to add. Out: the same sum as element-wise operations on halves, so every target
follows, and loops over them vectorise. For n elements whose sizes add up to S, the error is bounded by about n*eps*S
one after the other, log2(n)*eps*S by "pairwise", and eps*|result| + (log2(n)*eps)^2*S by "compensated".

Sources: Higham (2002), "Accuracy and Stability of Numerical Algorithms", chapter 4; the exact error of an addition is
Knuth's TwoSum, "The Art of Computer Programming" 2, 4.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from ..ops import equal, reshape, sum, transpose, where
from ..trace import Expr
from ..types import static_shape
from .rewrite import Rule

__all__ = ["SUMMATIONS", "Summation", "summing"]

Summation = Literal["default", "pairwise", "compensated"]
SUMMATIONS: tuple[Summation, ...] = ("default", "pairwise", "compensated")

_BLOCK = 8  # elements that are added one after the other at the end: more halving would cost more than it gains


def summing(how: Summation) -> tuple[Rule, ...]:
    """The rule that writes sums and means in this way; none for the target's own."""
    return () if how == "default" else (partial(_rewritten, _pairwise if how == "pairwise" else _compensated),)


def _rewritten(add: Callable[[Expr], Expr], e: Expr) -> Expr | None:
    if e.op.name == "mean" and e.op.expand is not None:
        return e.op.expand(*e.args, **e.params)  # type: ignore[no-any-return]
    if e.op.name != "sum" or e.type.dtype.kind != "float":
        return None
    (x,), axis = e.args, e.params["axis"]
    count = math.prod(static_shape(tuple(x.shape[i] for i in axis)))
    if count < 3 or (count <= _BLOCK and add is _pairwise):
        return None
    rest = tuple(i for i in range(x.ndim) if i not in axis)
    order = rest + axis
    moved = x if order == tuple(range(x.ndim)) else transpose(x, order)
    return reshape(add(reshape(moved, (*(x.shape[i] for i in rest), count))), e.shape)


def _halves(x: Expr) -> tuple[Expr, Expr, Expr | None]:
    """The first and the second half along the last axis, and the element left over."""
    n = static_shape(x.shape)[-1]
    half = n // 2
    return x[..., :half], x[..., half : 2 * half], x[..., -1] if n % 2 else None


def _pairwise(x: Expr) -> Expr:
    over: list[Expr] = []
    while static_shape(x.shape)[-1] > _BLOCK:
        a, b, odd = _halves(x)
        x = a + b
        over += [] if odd is None else [odd]
    total = sum(x, axis=-1)
    for odd in reversed(over):
        total = total + odd
    return total


def _compensated(x: Expr) -> Expr:
    """Pairs of a rounded sum and what it lacks, all the way; an infinite or NaN sum lacks nothing."""
    lacks: Expr | None = None
    over: list[Expr] = []
    while static_shape(x.shape)[-1] > 1:
        a, b, odd = _halves(x)
        x, error = _two_sum(a, b)
        if lacks is not None:
            c, d, odd_lack = _halves(lacks)
            error = error + (c + d)
            over += [] if odd_lack is None else [odd_lack]
        lacks = error
        over += [] if odd is None else [odd]
    total, rest = x[..., 0], lacks[..., 0] if lacks is not None else None
    for odd in over:
        total, error = _two_sum(total, odd)
        rest = error if rest is None else rest + error
    return total if rest is None else where(equal(total - total, 0.0), total + rest, total)


def _two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The rounded sum of `a` and `b`, and its exact error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
