"""Einstein's summation: products and sums of arrays whose axes are named by letters.

In: a static text such as "ij,jk->ik" and the operands. Out: transposes, matrix products and sums, from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Dim, Extent
from ..errors import ShapeError
from ..trace import Expr, as_expr
from ..types import format_shape, static_shape
from .contraction import matmul
from .indexing import getitem
from .layout import permute_dims, reshape, squeeze
from .manipulation import diagonal
from .reduction import sum

__all__ = ["einsum"]


def einsum(subscripts: str, /, *operands: Any) -> Expr:
    """Sums of products of `operands`, whose axes `subscripts` names by letters.

    Letters that stand for several axes run together; those that the result lacks are summed over.

    Parameters
    ----------
    subscripts: the operands' letters, with commas between operands, then "->" and those of the result. Without "->",
        the result has the letters that occur once, in alphabetical order. "..." stands for leading axes, which
        broadcast.

    Errors: `ShapeError` for letters that do not fit the operands, and sizes that differ.

    >>> import gradsmith as gs
    >>> A, B = gs.symbol("A", (5, 2, 3)), gs.symbol("B", (5, 3, 4))
    >>> gs.einsum("bij,bjk->bik", A, B).shape
    (5, 2, 4)
    """
    xs = [as_expr(x) for x in operands]
    inputs, output = _named(subscripts, xs)
    sizes = _sizes(subscripts, inputs, xs)
    parts = [_once(letters, x, sizes) for letters, x in zip(inputs, xs, strict=True)]
    letters, result = parts[0]
    for k, (others, x) in enumerate(parts[1:], 1):
        later = output + "".join(names for names, _ in parts[k + 1 :])
        letters, result = _product(letters, result, others, x, later)
    letters, result = _summed(letters, result, output)
    return permute_dims(result, [letters.index(c) for c in output])


def _named(subscripts: Any, xs: Sequence[Expr]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; axes under "..." get characters of their own."""
    if not isinstance(subscripts, str):
        raise ShapeError(f"einsum: subscripts are a text such as 'ij,jk->ik', not {subscripts!r}")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(xs):
        raise ShapeError(f"einsum: {subscripts!r} names {len(inputs)} operands, but {len(xs)} are given")
    if not all(c.isalpha() for c in (left + right).replace(",", "").replace("...", "")) or "," in right:
        raise ShapeError(f"einsum: {subscripts!r} may hold letters, commas, one '->' and '...' only")
    depth = max((x.ndim - len(t.replace("...", "")) for t, x in zip(inputs, xs, strict=True) if "..." in t), default=0)
    leading = "".join(chr(i) for i in range(ord("0"), ord("0") + depth))  # no letters, and sorted before them
    named = []
    for t, x in zip(inputs, xs, strict=True):
        count = x.ndim - len(t.replace("...", ""))
        letters = t.replace("...", leading[len(leading) - count :]) if count >= 0 else t
        if len(letters) != x.ndim:
            raise ShapeError(f"einsum: {t!r} names {len(t)} axes, but the operand has shape {format_shape(x.shape)}")
        named.append(letters)
    every = "".join(named)
    output = right.replace("...", leading) if arrow else "".join(c for c in sorted(set(every)) if _free(c, every))
    if len(set(output)) != len(output) or not set(output) <= set(every):
        raise ShapeError(f"einsum: the result's letters {right!r} must each occur once, and in an operand")
    return named, output


def _free(c: str, every: str) -> bool:
    return not c.isalpha() or every.count(c) == 1


def _sizes(subscripts: str, inputs: Sequence[str], xs: Sequence[Expr]) -> dict[str, Extent]:
    sizes: dict[str, Extent] = {}
    for letters, x in zip(inputs, xs, strict=True):
        for c, size in zip(letters, x.shape, strict=True):
            if sizes.setdefault(c, size) != size and 1 not in (size, sizes[c]):
                raise ShapeError(f"einsum: {c!r} of {subscripts!r} has size {sizes[c]} and also {size}")
            sizes[c] = size if sizes[c] == 1 else sizes[c]
    return sizes


def _once(letters: str, x: Expr, sizes: dict[str, Extent]) -> tuple[str, Expr]:
    """The operand without axes of size 1 that stand beside longer ones, and with the diagonal of repeated letters."""
    single = [k for k, c in enumerate(letters) if x.shape[k] == 1 and sizes[c] != 1]
    if single:
        x = squeeze(x, single)
        letters = "".join(c for k, c in enumerate(letters) if k not in single)
    distinct = "".join(dict.fromkeys(letters))
    if len(distinct) == len(letters):
        return letters, x
    if any(isinstance(sizes[c], Dim) for c in distinct):
        return _on_diagonals(letters, x)
    grid = np.indices(static_shape(tuple(sizes[c] for c in distinct)))
    return distinct, getitem(x, tuple(np.array(grid[distinct.index(c)]) for c in letters))


def _on_diagonals(letters: str, x: Expr) -> tuple[str, Expr]:
    """One diagonal after the other, along a new last axis, until no letter is there twice."""
    while len(set(letters)) < len(letters):
        twice = next(c for c in letters if letters.count(c) > 1)
        first, second = [k for k, c in enumerate(letters) if c == twice][:2]
        x = diagonal(x, 0, first, second)
        letters = "".join(c for k, c in enumerate(letters) if k not in (first, second)) + twice
    return letters, x


def _summed(letters: str, x: Expr, kept: str) -> tuple[str, Expr]:
    """Without the axes that nothing later needs."""
    gone = tuple(k for k, c in enumerate(letters) if c not in kept)
    return ("".join(c for c in letters if c in kept), sum(x, gone)) if gone else (letters, x)


def _product(a: str, x: Expr, b: str, y: Expr, later: str) -> tuple[str, Expr]:
    """One product of two operands: a matrix product where letters are summed over, element-wise otherwise."""
    a, x = _summed(a, x, b + later)
    b, y = _summed(b, y, a + later)
    both = [c for c in a if c in b]
    batch, inner = [c for c in both if c in later], [c for c in both if c not in later]
    rows, columns = [c for c in a if c not in both], [c for c in b if c not in both]
    sizes = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))
    shape = {name: [sizes[c] for c in part] for name, part in (("batch", batch), ("rows", rows), ("columns", columns))}
    r, k, n = (math.prod(sizes[c] for c in part) for part in (rows, inner, columns))
    left = reshape(permute_dims(x, [a.index(c) for c in (*batch, *rows, *inner)]), (*shape["batch"], r, k))
    right = reshape(permute_dims(y, [b.index(c) for c in (*batch, *inner, *columns)]), (*shape["batch"], k, n))
    whole = matmul(left, right) if inner else left * right  # (…, r, 1) * (…, 1, n)
    return "".join([*batch, *rows, *columns]), reshape(whole, (*shape["batch"], *shape["rows"], *shape["columns"]))
