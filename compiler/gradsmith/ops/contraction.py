"""Products of vectors and matrices, for all of NumPy's ranks: matmul, dot, outer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..index import Affine, Index
from ..registry import Contraction, Op, Params
from ..trace import Expr, as_expr, op
from ..types import Type, broadcast_shapes, format_shape
from ._declare import Traced
from .layout import broadcast_to, expand_dims, permute_dims, ravel, reshape, squeeze

__all__ = ["dot", "matmul", "matrix_transpose", "outer"]


def matrix_transpose(x: Any) -> Expr:
    """The last two axes swapped."""
    x = as_expr(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: needs at least two axes, not shape {format_shape(x.shape)}")
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _infer(a: Type, b: Type) -> Type:
    """Vector or matrix on either side, or two stacks of matrices with equal leading axes."""
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        raise ShapeError(
            f"shapes {format_shape(a.shape)} and {format_shape(b.shape)} do not fit: "
            f"{a.shape[-1]} columns on the left meet {inner} rows on the right"
        )
    return Type((*a.shape[:-1], *(() if b.ndim == 1 else b.shape[b.ndim - 1 :])), a.dtype)


def _vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    match (a.ndim == 1, b.ndim == 1):
        case (True, True):
            return g * b, g * a
        case (False, True):
            return outer(g, b), matmul(matrix_transpose(a), g)
        case (True, False):
            return matmul(b, g), outer(a, g)
        case _:
            return matmul(g, matrix_transpose(b)), matmul(matrix_transpose(a), g)


def _sources(index: Index, k: Affine, a: Type, b: Type) -> tuple[Index, Index]:
    rows = index[: a.ndim - 1]
    columns = index[len(index) - 1 :] if b.ndim > 1 else ()
    batch = index[: b.ndim - 2] if b.ndim > 2 else ()
    return (*rows, k), (*batch, k, *columns)


_NUMPY_MATMUL = '''\
def _matmul(a, b):
    """`a @ b`, each sum from the first product to the last."""
    total = np.zeros(a.shape[:-1] + b.shape[1:][-1:], dtype=a.dtype)
    both = a.ndim > 1 and b.ndim > 1
    for left, right in zip(np.moveaxis(a, -1, 0), np.moveaxis(b, -2 if b.ndim > 1 else 0, 0)):
        total += left[..., None] * right[..., None, :] if both else left * right
    return total[()]
'''


def _batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """One product of matrices where one side is the same for all elements, else a stack of products."""
    (a, b), (left, right) = xs, mapped
    ranks = [x.ndim - m for x, m in zip(xs, mapped, strict=True)]  # of an element
    if left and not right and max(ranks) <= 2:
        if ranks[0] == 1:
            return _matmul(a, b)
        rows = _matmul(reshape(a, (size * a.shape[1], a.shape[2])), b)
        return reshape(rows, (*a.shape[:-1], *rows.shape[1:]))
    if right and not left and ranks[1] == 1:
        return _matmul(b, matrix_transpose(a) if ranks[0] == 2 else a)
    one, two = (expand_dims(x, at) if r == 1 else x for x, r, at in ((a, ranks[0], a.ndim - 1), (b, ranks[1], b.ndim)))
    product = matmul(one, two)
    return squeeze(product, [product.ndim - 2 + k for k, r in enumerate(ranks) if r == 1])


_matmul: Traced = op(
    "matmul",
    arity=2,
    kind="contraction",
    takes="number",
    infer=_infer,
    vjp=_vjp,
    batch=_batch,
    structure=Contraction(_sources, lambda a, b: a.shape[-1]),
    evaluate=np.matmul,
    cells={"numpy": "{0} @ {1}", "numpy.strict": "_matmul({0}, {1})"},
    support={"numpy.strict": _NUMPY_MATMUL},
    torch="matmul",
    symbol="@",
    slope="g @ Bᵀ and Aᵀ @ g",
    cost=lambda y, a, b: {"mul": y.size * a.shape[-1], "add": y.size * (a.shape[-1] - 1)},
    samples=[
        (np.array([0.3, 1.0, -2.0]), np.array([0.5, -0.1, 0.7])),
        (np.array([[0.3, 1.0, -2.0], [0.4, 0.2, 0.9]]), np.array([0.5, -0.1, 0.7])),
        (np.array([0.3, 1.0]), np.array([[0.5, -0.1, 0.7], [0.2, 0.8, -0.6]])),
        (np.array([[0.3, 1.0], [-2.0, 0.4]]), np.array([[0.5, -0.1, 0.7], [0.2, 0.8, -0.6]])),
    ],
    doc="Matrix product.",
)


def matmul(a: Any, b: Any) -> Expr:
    """Matrix product `a @ b` by NumPy's rules: vectors, matrices, and stacks of matrices whose leading axes broadcast.

    >>> import gradsmith as gs
    >>> gs.matmul(gs.symbol("A", (5, 3, 4)), gs.symbol("b", (4,))).shape
    (5, 3)
    """
    a, b = as_expr(a), as_expr(b)
    if not a.ndim or not b.ndim:
        raise ShapeError(
            f"matmul: shapes {format_shape(a.shape)} and {format_shape(b.shape)}: a scalar cannot be an operand "
            "of @; use *"
        )
    if a.ndim <= 2 and b.ndim <= 2:
        return _matmul(a, b)
    if b.ndim == 1:
        return squeeze(matmul(a, expand_dims(b, 1)), -1)
    if a.ndim == 1:
        return squeeze(matmul(expand_dims(a, 0), b), -2)
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return _matmul(*(x if x.shape[:-2] == batch else broadcast_to(x, batch + x.shape[-2:]) for x in (a, b)))


def _dot_infer(a: Type, b: Type) -> Type:
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        raise ShapeError(f"shapes {format_shape(a.shape)} and {format_shape(b.shape)} do not fit")
    return Type(a.shape[:-1] + (() if b.ndim == 1 else b.shape[:-2] + b.shape[-1:]), a.dtype)


def _dot_expand(a: Expr, b: Expr) -> Expr:
    k = a.shape[-1]
    order = (b.ndim - 2, *range(b.ndim - 2), b.ndim - 1)
    flat = matmul(reshape(a, (-1, k)) if k != 0 else a, reshape(permute_dims(b, order), (k, -1)))
    return reshape(flat, _dot_infer(a.type, b.type).shape)


_dot: Traced = op(
    "dot",
    arity=2,
    kind="composite",
    takes="number",
    infer=_dot_infer,
    expand=_dot_expand,
    evaluate=np.dot,
    cells={"numpy": "np.dot({0}, {1})"},
    torch=lambda torch, a, b: torch.tensordot(a, b, dims=([-1], [-2])),
    symbol="dot",
    slope="as matmul",
    cost=lambda y, a, b: {"mul": y.size * a.shape[-1], "add": y.size * (a.shape[-1] - 1)},
    samples=[(np.linspace(-1.0, 1.0, 6).reshape(2, 3), np.linspace(0.1, 0.9, 12).reshape(2, 3, 2))],
    doc="Sum of products over the last axis of `a` and the second-to-last of `b`.",
)


def dot(a: Any, b: Any) -> Expr:
    """NumPy's `dot`: inner products of vectors, products of matrices, and for higher ranks their generalisation.

    The sum runs over the last axis of `a` and the second-to-last of `b`; a scalar operand multiplies.
    """
    left, right = as_expr(a), as_expr(b)
    if not left.ndim or not right.ndim:
        return left * right
    return matmul(left, right) if right.ndim == 1 or max(left.ndim, right.ndim) <= 2 else _dot(left, right)


_outer: Traced = op(
    "outer",
    arity=2,
    kind="composite",
    takes="number",
    infer=lambda a, b: Type((*a.shape, *b.shape), a.dtype),
    expand=lambda a, b: expand_dims(a, 1) * expand_dims(b, 0),
    evaluate=np.outer,
    cells={"numpy": "np.outer({0}, {1})"},
    torch="outer",
    symbol="⊗",
    slope="g @ b and a @ g",
    cost=lambda y, *_: {"mul": y.size},
    samples=[(np.array([0.3, 1.0, -2.0]), np.array([0.5, -0.1]))],
    doc="All products of an element of `a` and one of `b`, as a matrix.",
)


def outer(a: Any, b: Any) -> Expr:
    """All products of an element of `a` (rows) and one of `b` (columns); higher ranks are flattened, as in NumPy."""
    a, b = as_expr(a), as_expr(b)
    return _outer(*(x if x.ndim == 1 else ravel(x) for x in (a, b)))
