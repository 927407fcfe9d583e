"""`gs.linalg`: the namespace of the array API's extension for linear algebra, as far as it is offered.

Here `diagonal` and `trace` take the last two axes and `outer` takes vectors; `gs.diagonal`, `gs.trace` and `gs.outer`
do as NumPy's.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..trace import Expr, as_expr
from ..types import format_shape
from . import contraction, linear_algebra, manipulation
from .contraction import matmul, matrix_transpose
from .conversion import astype
from .linear_algebra import cross, matrix_norm, norm, tensordot, vecdot, vector_norm
from .solving import (
    EighResult,
    SlogdetResult,
    SVDResult,
    cholesky,
    det,
    eigh,
    eigvalsh,
    inv,
    matrix_power,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
)

__all__ = [
    "EighResult", "SVDResult", "SlogdetResult", "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "norm", "outer", "pinv", "slogdet",
    "solve", "solve_triangular", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip


def diagonal(x: Any, /, *, offset: int = 0) -> Expr:
    """The diagonals of the matrices in the last two axes, `offset` places above the main ones.

    >>> import gradsmith as gs
    >>> gs.linalg.diagonal(gs.symbol("x", (5, 3, 3))).shape
    (5, 3)
    """
    return manipulation.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Expr:
    """The sums of the diagonals of the matrices in the last two axes.

    >>> import gradsmith as gs
    >>> gs.linalg.trace(gs.symbol("x", (5, 3, 3))).shape
    (5,)
    """
    return linear_algebra.trace(x if dtype is None else astype(x, dtype), offset, -2, -1)


def outer(x1: Any, x2: Any, /) -> Expr:
    """All products of an element of the vector `x1` (rows) and one of the vector `x2` (columns).

    >>> import gradsmith as gs
    >>> gs.linalg.outer(gs.symbol("x", 3), gs.symbol("y", 2)).shape
    (3, 2)
    """
    a, b = as_expr(x1), as_expr(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"outer: takes two vectors, not shapes {format_shape(a.shape)} and {format_shape(b.shape)}")
    return contraction.outer(a, b)
