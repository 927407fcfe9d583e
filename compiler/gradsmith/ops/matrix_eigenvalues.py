"""Eigenvalues and eigenvectors of symmetric matrices, by Jacobi's rotations.

As in `factorizations`: one algorithm for all targets, stacks of matrices, and Giles's derivatives. Vectors have one
sign in all targets: of their large components, the first one is positive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..trace import Expr, op
from ..types import Type
from ._algorithms import Algorithm
from ._batch import lifted
from ._declare import Traced
from .contraction import matmul, matrix_transpose
from .factorizations import cost, count, factorization, identity, lower_share, packed, square_type
from .indexing import getitem
from .layout import expand_dims
from .selection import equal, where

__all__: list[str] = []

_EIGH = Algorithm('''
def eigh(x, y, work, batch, n):
    """Jacobi's rotations of x, whose lower triangle is read: eigenvalues, ascending, and below them the vectors."""
    for s in range(batch):
        at = s * (n + 1) * n
        v = at + n
        for i in range(n):
            for j in range(n):
                work[i * n + j] = x[s * n * n + i * n + j] if j <= i else x[s * n * n + j * n + i]
                y[v + i * n + j] = 1.0 if i == j else 0.0
        sweep = 0
        while sweep < 60:
            rotated = 0
            for p in range(n):
                for q in range(p + 1, n):
                    here = work[p * n + q]
                    left = abs(work[p * n + p])
                    right = abs(work[q * n + q])
                    if here != 0.0 and (left + abs(here) != left or right + abs(here) != right):
                        rotated = 1
                        ratio = (work[q * n + q] - work[p * n + p]) / (2.0 * here)
                        tangent = 1.0 / (abs(ratio) + sqrt(ratio * ratio + 1.0))
                        if ratio < 0.0:
                            tangent = -tangent
                        cosine = 1.0 / sqrt(tangent * tangent + 1.0)
                        sine = tangent * cosine
                        for k in range(n):
                            first = work[k * n + p]
                            second = work[k * n + q]
                            work[k * n + p] = cosine * first - sine * second
                            work[k * n + q] = sine * first + cosine * second
                        for k in range(n):
                            first = work[p * n + k]
                            second = work[q * n + k]
                            work[p * n + k] = cosine * first - sine * second
                            work[q * n + k] = sine * first + cosine * second
                        work[p * n + q] = 0.0
                        work[q * n + p] = 0.0
                        for k in range(n):
                            first = y[v + k * n + p]
                            second = y[v + k * n + q]
                            y[v + k * n + p] = cosine * first - sine * second
                            y[v + k * n + q] = sine * first + cosine * second
            sweep = sweep + 1 if rotated == 1 else 60
        for i in range(n):
            y[at + i] = work[i * n + i]
        for i in range(n):
            least = i
            for j in range(i + 1, n):
                if y[at + j] < y[at + least]:
                    least = j
            moved = y[at + i]
            y[at + i] = y[at + least]
            y[at + least] = moved
            for k in range(n):
                moved = y[v + k * n + i]
                y[v + k * n + i] = y[v + k * n + least]
                y[v + k * n + least] = moved
        for j in range(n):
            largest = 0.0
            for k in range(n):
                if abs(y[v + k * n + j]) > largest:
                    largest = abs(y[v + k * n + j])
            sign = 0.0
            for k in range(n):
                if sign == 0.0 and abs(y[v + k * n + j]) > 0.6180339887 * largest:
                    sign = -1.0 if y[v + k * n + j] < 0.0 else 1.0
            for k in range(n):
                y[v + k * n + j] = sign * y[v + k * n + j]
''')
_EIGH_NUMPY = '''\
def _eigh(x):
    """Eigenvalues, ascending, and below them the vectors, each with its first large component positive."""
    try:
        w, v = np.linalg.eigh(x)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return np.full((x.shape[0] + 1, x.shape[0]), np.nan, dtype=x.dtype)
        return np.stack([_eigh(part) for part in x])
    size = np.abs(v)
    first = np.argmax(size > 0.6180339887 * size.max(-2, keepdims=True, initial=0.0), axis=-2) if v.size else w
    sign = np.sign(np.take_along_axis(v, first[..., None, :], axis=-2)) if v.size else 1.0
    return np.concatenate([w[..., None, :], v * sign], axis=-2)
'''


def _eigh_torch(torch: Any, x: Any) -> Any:
    w, v = torch.linalg.eigh(x.tril() + x.tril(-1).mT)
    size = v.detach().abs()
    first = (size > 0.6180339887 * size.amax(-2, keepdim=True)).to(torch.int8).argmax(-2, keepdim=True)
    return torch.cat([w.unsqueeze(-2), v * v.detach().gather(-2, first).sign()], -2)


def _parts(packed: Expr) -> tuple[Expr, Expr]:
    return getitem(packed, (..., 0, slice(None))), getitem(packed, (..., slice(1, None), slice(None)))


def _eigh_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    (values, vectors), (g_values, g_vectors) = _parts(y), _parts(g)
    gaps = expand_dims(values, -2) - expand_dims(values, -1)
    same = equal(gaps, 0.0)  # also on the diagonal; what does not tell such vectors apart sends nothing there
    turned = matrix_transpose(vectors)
    inner = where(same, 0.0, matmul(turned, g_vectors) / where(same, 1.0, gaps))
    inner = inner + expand_dims(g_values, -2) * identity(x)
    return (lower_share(matmul(vectors, matmul(inner, turned))),)


_S = np.array([[2.0, 0.3, -0.4], [0.3, 0.7, 0.6], [-0.4, 0.6, -1.4]])
eigh: Traced = factorization(
    "eigh",
    _EIGH,
    arity=1,
    infer=packed,
    arguments=lambda x, params: (count(x), x.shape[-1]),
    scratch=lambda x, params: x.shape[-1] * x.shape[-1],
    numpy="_eigh({0})",
    support=_EIGH_NUMPY,
    vjp=_eigh_vjp,
    torch=_eigh_torch,
    cost=lambda y, x: {"mul": 9 * x.size * x.shape[-1], "add": 9 * x.size * x.shape[-1]},
    symbol="eigh",
    slope="V (diag(g_w) + F∘(Vᵀg_V)) Vᵀ, F = 1/(w_j - w_i), 0 where they are equal",
    samples=[(_S,), (np.stack([_S[:2, :2], _S[1:, 1:]]),)],
    edge_notes={"equal eigenvalues": "their vectors are any basis; what depends on the basis has no derivative"},
    doc="Eigenvalues of a symmetric matrix, whose lower triangle is read, ascending in a row; the vectors below it.",
)


def _eigvalsh_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    _, vectors = _parts(eigh(x))
    return (lower_share(matmul(vectors * expand_dims(g, -2), matrix_transpose(vectors))),)


# An op of its own, because in the rule of `eigh` no zeros of the vectors' cotangents would be seen as such.
eigvalsh: Traced = op(
    "eigvalsh",
    arity=1,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=lambda x: Type(square_type(x).shape[:-1], x.dtype),
    expand=lambda x: _parts(eigh(x))[0],
    vjp=_eigvalsh_vjp,
    evaluate=lambda x: eigh.op.evaluate(x)[..., 0, :],  # type: ignore[attr-defined]
    torch=lambda torch, x: torch.linalg.eigvalsh(x.tril() + x.tril(-1).mT),
    cost=lambda y, x: cost(eigh, None, x),
    symbol="λ",
    slope="V diag(g) Vᵀ",
    samples=[(_S,), (np.stack([_S[:2, :2], _S[1:, 1:]]),)],
    doc="Eigenvalues of a symmetric matrix, whose lower triangle is read, ascending.",
)


def eigen_parts(x: Expr) -> tuple[Expr, Expr]:
    """Eigenvalues and eigenvectors (columns) of symmetric matrices."""
    return eigvalsh(x), _parts(eigh(x))[1]
