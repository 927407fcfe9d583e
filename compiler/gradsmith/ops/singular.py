"""Singular values: the decomposition of matrices by them, and what is made of it (pseudo-inverse, rank).

`svd` takes stacks of matrices with at least as many rows as columns in the last two axes; of others, the public
functions take the transpose. A matrix with a NaN or an infinity gives NaN in every element of its result.

Derivatives are by Giles (see `factorizations`), with the quotients of differences of squared singular values taken
apart into those of differences and those of sums; that of the pseudo-inverse by Golub and Pereyra, "The differentiation
of pseudo-inverses and nonlinear least squares problems whose variables separate" (1973).
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..dims import certainly_at_most
from ..errors import ShapeError
from ..trace import Expr, op
from ..types import INT64, Type, format_shape, static_shape
from ._algorithms import Algorithm
from ._batch import lifted
from ._declare import Traced, no_gradient
from .contraction import matmul, matrix_transpose
from .conversion import astype
from .factorizations import cost, count, factorization, identity
from .indexing import getitem
from .layout import expand_dims
from .reduction import max, sum
from .selection import equal, greater, less_equal, where

__all__: list[str] = []

_SVD = Algorithm('''
def svd(x, y, batch, m, n):
    """Jacobi's rotations of the columns of x: singular values, descending, each before its left and right vector."""
    for s in range(batch):
        w = 1 + m + n
        at = s * n * w
        largest = 0.0
        bad = 0
        for i in range(m * n):
            largest = abs(x[s * m * n + i]) if abs(x[s * m * n + i]) > largest else largest
            if x[s * m * n + i] - x[s * m * n + i] != 0.0:
                bad = 1
        scale = 1.0
        if bad == 0 and largest > 0.0 and (largest > 1000.0 or largest < 0.001):
            scale = largest
        for j in range(n):
            for i in range(m):
                y[at + j * w + 1 + i] = x[s * m * n + i * n + j] / scale
            for i in range(n):
                y[at + j * w + 1 + m + i] = 1.0 if i == j else 0.0
        slack = sqrt(float(m))
        sweep = 0 if bad == 0 else 60
        while sweep < 60:
            rotated = 0
            for p in range(n):
                for q in range(p + 1, n):
                    a = at + p * w + 1
                    b = at + q * w + 1
                    left = 0.0
                    right = 0.0
                    both = 0.0
                    for i in range(m):
                        left += y[a + i] * y[a + i]
                        right += y[b + i] * y[b + i]
                        both += y[a + i] * y[b + i]
                    size = sqrt(left) * sqrt(right)
                    if size + abs(both) / slack != size:
                        rotated = 1
                        gap = right - left
                        total = abs(gap) + sqrt(gap * gap + 4.0 * both * both)
                        tangent = 2.0 * both / total if total > 0.0 else 1.0
                        if gap < 0.0:
                            tangent = -tangent
                        cosine = 1.0 / sqrt(tangent * tangent + 1.0)
                        sine = tangent * cosine
                        for i in range(m + n):
                            first = y[a + i]
                            second = y[b + i]
                            y[a + i] = cosine * first - sine * second
                            y[b + i] = sine * first + cosine * second
            sweep = sweep + 1 if rotated == 1 else 60
        for j in range(n):
            total = 0.0
            for i in range(m):
                total += y[at + j * w + 1 + i] * y[at + j * w + 1 + i]
            length = sqrt(total)
            y[at + j * w] = length * scale
            if length > 0.0:
                for i in range(m):
                    y[at + j * w + 1 + i] = y[at + j * w + 1 + i] / length
        for j in range(n):
            best = j
            for k in range(j + 1, n):
                if y[at + k * w] > y[at + best * w]:
                    best = k
            for i in range(w):
                moved = y[at + j * w + i]
                y[at + j * w + i] = y[at + best * w + i]
                y[at + best * w + i] = moved
        for j in range(n):
            if y[at + j * w] == 0.0:
                least = 2.0
                best = 0
                for i in range(m):
                    total = 0.0
                    for k in range(j):
                        total += y[at + k * w + 1 + i] * y[at + k * w + 1 + i]
                    if total < least:
                        least = total
                        best = i
                for i in range(m):
                    y[at + j * w + 1 + i] = 1.0 if i == best else 0.0
                for k in range(2 * j):
                    c = at + (k if k < j else k - j) * w + 1
                    both = 0.0
                    for i in range(m):
                        both += y[at + j * w + 1 + i] * y[c + i]
                    for i in range(m):
                        y[at + j * w + 1 + i] -= both * y[c + i]
                total = 0.0
                for i in range(m):
                    total += y[at + j * w + 1 + i] * y[at + j * w + 1 + i]
                for i in range(m):
                    y[at + j * w + 1 + i] = y[at + j * w + 1 + i] / sqrt(total)
        for j in range(n):
            v = at + j * w + 1 + m
            large = 0.0
            for k in range(n):
                if abs(y[v + k]) > large:
                    large = abs(y[v + k])
            sign = 0.0
            for k in range(n):
                if sign == 0.0 and abs(y[v + k]) > 0.6180339887 * large:
                    sign = -1.0 if y[v + k] < 0.0 else 1.0
            for i in range(1, w):
                y[at + j * w + i] = sign * y[at + j * w + i]
        if bad == 1:
            for i in range(n * w):
                y[at + i] = nan
''')
_SVD_NUMPY = '''\
def _svd(x):
    """Singular values, descending, each before its vectors: of the right one, the first large component is positive."""
    try:
        u, s, v = np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return np.full((x.shape[1], 1 + sum(x.shape)), np.nan, dtype=x.dtype)
        return np.stack([_svd(part) for part in x])
    size = np.abs(v)
    first = np.argmax(size > 0.6180339887 * size.max(-1, keepdims=True), axis=-1) if v.size else 0
    sign = np.sign(np.take_along_axis(v, first[..., None], axis=-1)) if v.size else 1.0
    found = np.concatenate([s[..., None], np.swapaxes(u, -1, -2) * sign, v * sign], axis=-1)
    return np.where(np.isnan(s).any(-1)[..., None, None], np.nan, found)
'''


def _svd_torch(torch: Any, x: Any) -> Any:
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    size = v.detach().abs()
    first = (size > 0.6180339887 * size.amax(-1, keepdim=True)).to(torch.int8).argmax(-1, keepdim=True)
    sign = v.detach().gather(-1, first).sign()
    return torch.cat([s.unsqueeze(-1), u.mT * sign, v * sign], -1)


def _tall(x: Type) -> Type:
    if x.ndim < 2 or not certainly_at_most(x.shape[-1], x.shape[-2]):
        raise ShapeError(f"takes matrices with at least as many rows as columns, not shape {format_shape(x.shape)}")
    return x


def _triples(x: Type) -> Type:
    """A row for each singular value: itself, its left and its right vector."""
    *stack, m, n = _tall(x).shape
    return Type((*stack, n, 1 + m + n), x.dtype)


def _taken_apart(y: Expr) -> tuple[Expr, Expr, Expr]:
    """Singular values, and the left and right vectors in rows."""
    n, w = y.shape[-2:]
    cuts = ((0,), (slice(1, w - n),), (slice(w - n, None),))
    values, left, right = (getitem(y, (..., slice(None), *cut)) for cut in cuts)
    return values, left, right


def _or_zero(x: Expr, divisor: Expr) -> Expr:
    """`x / divisor`, and 0 where that is 0."""
    none = equal(divisor, 0.0)
    return where(none, 0.0, x / where(none, 1.0, divisor))


def _svd_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    (s, left, right), (g_s, g_left, g_right) = _taken_apart(y), _taken_apart(g)
    m, n = x.shape[-2:]
    across = matmul(left, matrix_transpose(g_left))
    along = matmul(right, matrix_transpose(g_right))
    p, q = across - matrix_transpose(across), along - matrix_transpose(along)
    rows, columns = expand_dims(s, -1), expand_dims(s, -2)
    # (p s_j + s_i q)/(s_j^2 - s_i^2), of which the first part is 0 for what depends on the space of equal ones alone
    inner = 0.5 * (_or_zero(p + q, columns - rows) + _or_zero(p - q, columns + rows))
    slope = where(equal(s, 0.0), 0.0, g_s)  # as |x| has none at 0
    inner = inner + expand_dims(slope, -2) * identity(inner)
    if m == n:
        return (matmul(matrix_transpose(left), matmul(inner, right)),)
    inner = inner - _or_zero(across, columns)  # what of the left vectors' cotangent lies in their space
    outside = _or_zero(matrix_transpose(g_left), columns)
    return (matmul(matrix_transpose(left), matmul(inner, right)) + matmul(outside, right),)


_A = np.array([[2.0, 0.3, -0.4], [0.5, 1.2, 0.6], [-0.3, 0.8, 3.1], [0.7, -0.2, 0.9]])
svd: Traced = factorization(
    "svd",
    _SVD,
    arity=1,
    infer=_triples,
    arguments=lambda x, params: (count(x), *x.shape[-2:]),
    numpy="_svd({0})",
    support=_SVD_NUMPY,
    vjp=_svd_vjp,
    torch=_svd_torch,
    cost=lambda y, x: {"mul": 40 * x.size * x.shape[-1], "add": 30 * x.size * x.shape[-1]},
    symbol="svd",
    slope="U (F∘(P + Q) + G∘(P - Q) + diag(g_s)) Vᵀ + (I - UUᵀ) g_U S⁻¹ Vᵀ, P = UᵀgU - gUᵀU, Q likewise of V, "
    "2F = 1/(s_j - s_i), 2G = 1/(s_j + s_i), 0 where they are infinite",
    samples=[(_A,), (_A[:3],), (np.stack([_A[:3, :2], _A[1:, 1:]]),)],
    edge_notes={
        "equal singular values": "their vectors are any basis; what depends on the basis has no derivative",
        "singular value 0": "no slope, as that of |x| at 0",
        "below 1e-154 of the largest": "0 in Python and C, where squares underflow",
    },
    doc="Singular values of a matrix of at least as many rows as columns, descending, each before its two vectors.",
)


def _svdvals_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    s, left, right = _taken_apart(svd(x))
    slope = where(equal(s, 0.0), 0.0, g)  # as |x| has none at 0
    return (matmul(matrix_transpose(left) * expand_dims(slope, -2), right),)


# An op of its own, because in the rule of `svd` no zeros of the vectors' cotangents would be seen as such.
_svdvals: Traced = op(
    "svdvals",
    arity=1,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=lambda x: Type((*_tall(x).shape[:-2], x.shape[-1]), x.dtype),
    expand=lambda x: _taken_apart(svd(x))[0],
    vjp=_svdvals_vjp,
    evaluate=lambda x: svd.op.evaluate(x)[..., 0],  # type: ignore[attr-defined]
    torch=lambda torch, x: torch.linalg.svdvals(x),
    cost=lambda y, x: cost(svd, None, x),
    symbol="σ",
    slope="U diag(g) Vᵀ",
    samples=[(_A,), (np.stack([_A[:3, :2], _A[1:, 1:]]),)],
    edge_notes={"singular value 0": "no slope, as that of |x| at 0"},
    doc="The singular values of a matrix of at least as many rows as columns, descending.",
)


def _lying(x: Expr) -> bool:
    rows, columns = x.shape[-2:]
    if not (certainly_at_most(rows, columns) or certainly_at_most(columns, rows)):
        static_shape(x.shape, "singular values")
    return not certainly_at_most(columns, rows)


def svdvals(x: Expr) -> Expr:
    """The singular values of matrices of any shape, descending."""
    return _svdvals(matrix_transpose(x) if _lying(x) else x)


def singular_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """U, the singular values and Vᵀ of matrices of any shape, with as many columns of U and V as there are values."""
    _, left, right = _taken_apart(svd(matrix_transpose(x) if _lying(x) else x))
    if _lying(x):
        left, right = right, left
    return matrix_transpose(left), svdvals(x), right


# --- pseudo-inverse, rank ---------------------------------------------------------------------------------------------


def _relative(x: Any, rtol: float | None) -> float:
    """`rtol`, or what rounding makes of singular values that are 0."""
    return builtins.max(x.shape[-2:]) * float(np.finfo(str(x.dtype)).eps) if rtol is None else rtol


def _limit(x: Expr, values: Expr, rtol: float | None) -> Expr:
    """What singular values must exceed to count."""
    return _relative(x, rtol) * max(values, -1, True)


def _cost(y: Type, x: Type, rtol: float | None) -> dict[str, int]:
    shape = static_shape(x.shape)
    return cost(svd, None, Type((*shape[:-2], *sorted(shape[-2:], reverse=True)), x.dtype))


def _pinv_expand(x: Expr, rtol: float | None) -> Expr:
    u, s, vt = singular_parts(x)
    none = less_equal(s, _limit(x, s, rtol))
    inverse = where(none, 0.0, 1.0 / where(none, 1.0, s))
    return matmul(matrix_transpose(vt) * expand_dims(inverse, -2), matrix_transpose(u))


def _pinv_vjp(g: Expr, y: Expr, x: Expr, rtol: float | None) -> tuple[Expr]:
    turned, back = matrix_transpose(y), matrix_transpose(g)
    before, behind = matmul(back, matmul(y, turned)), matmul(turned, matmul(y, back))
    kept = matmul(turned, matmul(g, turned)) + matmul(x, matmul(y, before)) + matmul(matmul(behind, y), x)
    return (before + behind - kept,)


def _wide_or_tall(x: Type) -> Type:
    if x.ndim < 2:
        raise ShapeError(f"takes matrices in the last two axes, not shape {format_shape(x.shape)}")
    return x


pinv: Traced = op(
    "pinv",
    arity=1,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=lambda x, rtol: Type((*_wide_or_tall(x).shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),
    expand=_pinv_expand,
    vjp=_pinv_vjp,
    evaluate=lambda x, rtol: np.linalg.pinv(x, rtol=_relative(x, rtol)),
    torch=lambda torch, x, rtol: torch.linalg.pinv(x, rtol=rtol),
    cost=_cost,
    symbol="A⁺",
    slope="-A⁺ᵀ g A⁺ᵀ + (I - AA⁺) gᵀ A⁺A⁺ᵀ + A⁺ᵀA⁺ gᵀ (I - A⁺A)",
    samples=[(_A, {"rtol": None}), (_A[:2], {"rtol": None}), (_A[:3], {"rtol": 1e-3})],
    edge_notes={"a lack of rank": "the derivative along changes that keep the rank"},
    doc="The pseudo-inverse, from singular values that exceed `rtol` times the largest one.",
)
matrix_rank: Traced = op(
    "matrix_rank",
    arity=1,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=lambda x, rtol: Type(_wide_or_tall(x).shape[:-2], INT64),
    expand=lambda x, rtol: sum(astype(greater(svdvals(x), _limit(x, svdvals(x), rtol)), "int64"), -1),
    vjp=no_gradient,
    evaluate=lambda x, rtol: np.linalg.matrix_rank(x, rtol=_relative(x, rtol)),
    torch=lambda torch, x, rtol: torch.linalg.matrix_rank(x, rtol=rtol),
    cost=_cost,
    symbol="rank",
    slope="0",
    samples=[(_A, {"rtol": None}), (np.outer([4.0, 1.0, -0.5], [1.0, 0.25, -0.5, 1.5]), {"rtol": None})],
    doc="How many singular values exceed `rtol` times the largest one.",
)
