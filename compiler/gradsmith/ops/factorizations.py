"""Factorizations of matrices: Cholesky and LU with partial pivoting; triangular solves, and determinants.

Each is one algorithm for all targets (`_algorithms`); NumPy code calls `numpy.linalg` instead, unless it is strict. All
take stacks of matrices in the last two axes. A matrix that cannot be factorized, or is singular where one has to
divide by it, gives NaN in every element of its result, and no error.

Derivatives are by Giles, "An extended collection of matrix derivative results for forward and reverse mode AD" (2008),
that of the Cholesky factor by Murray, "Differentiation of the Cholesky decomposition" (arXiv:1602.07527).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Kernel
from ..trace import Expr, constant, op
from ..types import Type, format_shape
from ._algorithms import Algorithm
from ._batch import lifted
from ._declare import Traced
from .arithmetic import absolute, sign
from .contraction import matmul, matrix_transpose
from .creation import arange, eye
from .elementary import log
from .indexing import getitem
from .layout import broadcast_to, expand_dims
from .manipulation import diagonal, tril, triu
from .reduction import prod, sum
from .selection import not_equal, where

__all__: list[str] = []


def square_type(x: Type) -> Type:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"takes square matrices in the last two axes, not shape {format_shape(x.shape)}")
    return x


def _system(a: Type, b: Type) -> Type:
    if a.shape[:-1] != b.shape[:-1]:
        raise ShapeError(f"{format_shape(a.shape)} and {format_shape(b.shape)} do not fit: as many rows are needed")
    return b


def cost(record: Traced, *types: Any, **params: Any) -> dict[str, int]:
    """What another op of this module takes."""
    return dict(record.op.cost(*types, **params))  # type: ignore[attr-defined]


def count(x: Type) -> Any:
    """How many matrices there are in the stack."""
    return math.prod(x.shape[:-2])


def _halved(x: Expr) -> Expr:
    """The lower triangle with half the diagonal: what a symmetric change of a matrix does to one factor."""
    return tril(x, -1) + 0.5 * tril(triu(x))


def lower_share(x: Expr) -> Expr:
    """The cotangent of the lower triangle, which stands for both, of what `x` is for a whole matrix."""
    return _halved(x + matrix_transpose(x))


def factorization(
    name: str,
    algorithm: Algorithm,
    infer: Any,
    arguments: Any,
    numpy: Any,
    support: str,
    scratch: Any = None,
    **fields: Any,
) -> Traced:
    """The record of an op that `algorithm` computes, and NumPy by the function `numpy` of the text `support`."""
    listed = algorithm.listed(infer, arguments, scratch)
    cells = {"numpy": numpy, "numpy.strict": listed} if numpy else {"numpy": listed}
    texts = {"numpy": support, "numpy.strict": algorithm.by_lists()} if numpy else {"numpy": algorithm.by_lists()}
    return op(
        name,
        kind="kernel",
        infer=infer,
        loops=True,
        batch=lifted,
        structure=Kernel(arguments, scratch),
        evaluate=algorithm.evaluate(infer, arguments, scratch),
        cells=algorithm.cells(**cells),
        support=algorithm.support(**texts),
        **fields,
    )


# --- triangular solve -------------------------------------------------------------------------------------------------

_TRIANGULAR = Algorithm('''
def solve_triangular(a, b, y, batch, n, m, lower, trans, unit):
    """Substitution, row by row: NaN where the diagonal has a 0."""
    for s in range(batch):
        t = s * n * n
        at = s * n * m
        singular = 0
        if unit == 0:
            for i in range(n):
                if a[t + i * n + i] == 0.0:
                    singular = 1
        for r in range(n):
            i = r if lower != trans else n - 1 - r
            for j in range(m):
                y[at + i * m + j] = nan if singular == 1 else b[at + i * m + j]
            for q in range(r):
                k = q if lower != trans else n - 1 - q
                factor = a[t + k * n + i] if trans == 1 else a[t + i * n + k]
                for j in range(m):
                    y[at + i * m + j] -= factor * y[at + k * m + j]
            if unit == 0:
                for j in range(m):
                    y[at + i * m + j] = nan if singular == 1 else y[at + i * m + j] / a[t + i * n + i]
''')
_TRIANGULAR_NUMPY = '''\
def _solve_triangular(a, b, lower, unit):
    """Substitution, row by row: NaN where the diagonal has a 0."""
    y = np.array(b)
    pivots = np.diagonal(a, axis1=-2, axis2=-1)
    pivots = np.where((pivots == 0).any(-1, keepdims=True), np.nan, pivots)
    rows = range(y.shape[-2])
    for i in rows if lower else reversed(rows):
        done = slice(0, i) if lower else slice(i + 1, None)
        y[..., i, :] -= (a[..., i : i + 1, done] @ y[..., done, :])[..., 0, :]
        if not unit:
            y[..., i, :] /= pivots[..., i, None]
    return y
'''


def _triangular_vjp(g: Expr, y: Expr, a: Expr, b: Expr, lower: bool, trans: bool, unit: bool) -> tuple[Expr, Expr]:
    back = solve_triangular(a, g, lower=lower, trans=not trans, unit=unit)
    left, right = (y, back) if trans else (back, y)
    edge = int(unit)  # a diagonal that is taken to be 1 is not read
    product = -matmul(left, matrix_transpose(right))
    return tril(product, -edge) if lower else triu(product, edge), back


_A = np.array([[2.0, 0.3, -0.4], [0.5, 1.7, 0.6], [-0.3, 0.8, 2.4]])
_B = np.array([[0.3, -1.2], [2.0, 0.9], [0.4, -0.7]])
_STACK = np.stack([_A[:2, :2], _A[1:, 1:], _A[::2, ::2] + 1.0])
_STACK_B = np.stack([_B[:2], _B[1:], _B[::2]])
solve_triangular: Traced = factorization(
    "solve_triangular",
    _TRIANGULAR,
    arity=2,
    infer=lambda a, b, lower, trans, unit: square_type(a) and _system(a, b),
    arguments=lambda a, b, params: (
        count(a),
        *b.shape[-2:],
        params["lower"],
        params["trans"],
        params["unit"],
    ),
    numpy=lambda a, p, t: (
        f"_solve_triangular({f'np.swapaxes({a[0]}, -1, -2)' if p['trans'] else a[0]}, {a[1]}, "
        f"{p['lower'] != p['trans']}, {p['unit']})"
    ),
    support=_TRIANGULAR_NUMPY,
    vjp=_triangular_vjp,
    mixes=(-2,),
    torch=lambda torch, a, b, lower, trans, unit: torch.linalg.solve_triangular(
        a.mT if trans else a, b, upper=lower == trans, unitriangular=unit
    ),
    cost=lambda y, a, b, **_: {
        "mul": y.size * a.shape[-1] // 2,
        "add": y.size * a.shape[-1] // 2,
        "div": y.size,
    },
    symbol="T\\",
    slope="T⁻ᵀg, and -T⁻ᵀg yᵀ in the triangle",
    operands="T b",
    samples=[
        (_A, _B, {"lower": True, "trans": False, "unit": False}),
        (_A, _B, {"lower": False, "trans": False, "unit": True}),
        (_A, _B, {"lower": True, "trans": True, "unit": True}),
        (_STACK, _STACK_B, {"lower": False, "trans": True, "unit": False}),
    ],
    edge_notes={"a 0 on the diagonal": "NaN"},
    doc="Solutions Y of T Y = B with a triangular matrix T (the other triangle is not read).",
)

# --- Cholesky ---------------------------------------------------------------------------------------------------------

_CHOLESKY = Algorithm('''
def cholesky(x, y, batch, n):
    """L with L Lᵀ = x, whose lower triangle is read: NaN where x is not positive definite."""
    for s in range(batch):
        at = s * n * n
        good = 1
        for i in range(n):
            for j in range(n):
                y[at + i * n + j] = 0.0
        for i in range(n):
            for j in range(i + 1):
                total = x[at + i * n + j]
                for k in range(j):
                    total -= y[at + i * n + k] * y[at + j * n + k]
                if i != j:
                    if good == 1:
                        total = total / y[at + j * n + j]
                else:
                    if total > 0.0:
                        total = sqrt(total)
                    else:
                        good = 0
                y[at + i * n + j] = total
        if good == 0:
            for i in range(n * n):
                y[at + i] = nan
''')
_OR_NAN = '''\
def _or_nan(function, *xs):
    """`function` of a stack of matrices, where those that it refuses give NaN."""
    try:
        return function(*xs)
    except np.linalg.LinAlgError:
        if xs[0].ndim == 2:
            return np.full_like(xs[-1], np.nan)
        return np.stack([_or_nan(function, *parts) for parts in zip(*xs)])
'''

_space: dict[str, Any] = {"np": np}
exec(_OR_NAN, _space)
_or_nan: Callable[..., Any] = _space["_or_nan"]  # the very text that generated NumPy code carries


def _cholesky_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    inner = _halved(matmul(matrix_transpose(y), g))
    half = solve_triangular(y, inner, lower=True, trans=True, unit=False)
    # S = L⁻ᵀ Φ(Lᵀ g) L⁻¹, as Sᵀ, which makes no difference
    return (lower_share(solve_triangular(y, matrix_transpose(half), lower=True, trans=True, unit=False)),)


_P = _A @ _A.T
cholesky: Traced = factorization(
    "cholesky",
    _CHOLESKY,
    arity=1,
    infer=square_type,
    arguments=lambda x, params: (count(x), x.shape[-1]),
    numpy="_or_nan(np.linalg.cholesky, {0})",
    support=_OR_NAN,
    vjp=_cholesky_vjp,
    torch=lambda torch, x: torch.linalg.cholesky(x.tril() + x.tril(-1).mT),
    cost=lambda y, x: {
        "mul": y.size * x.shape[-1] // 6,
        "add": y.size * x.shape[-1] // 6,
        "div": y.size // 2,
        "sqrt": math.prod(x.shape[:-1]),
    },
    symbol="chol",
    slope="L⁻ᵀ Φ(Lᵀg) L⁻¹, Φ the lower triangle with half the diagonal",
    samples=[(_P,), (np.stack([_P[:2, :2], _P[1:, 1:]]),)],
    edge_notes={"not positive definite": "NaN"},
    doc="The lower triangular L with L Lᵀ = x, of a positive definite x whose lower triangle is read.",
)

# --- LU ---------------------------------------------------------------------------------------------------------------

_LU = Algorithm('''
def lu(x, y, batch, n):
    """L without its diagonal of ones, U, and below them the rows that changed places, with partial pivoting."""
    for s in range(batch):
        at = s * (n + 1) * n
        for i in range(n * n):
            y[at + i] = x[s * n * n + i]
        for k in range(n):
            best = k
            for i in range(k + 1, n):
                if abs(y[at + i * n + k]) > abs(y[at + best * n + k]):
                    best = i
            y[at + n * n + k] = best
            if best != k:
                for j in range(n):
                    moved = y[at + k * n + j]
                    y[at + k * n + j] = y[at + best * n + j]
                    y[at + best * n + j] = moved
            if y[at + k * n + k] != 0.0:
                for i in range(k + 1, n):
                    factor = y[at + i * n + k] / y[at + k * n + k]
                    y[at + i * n + k] = factor
                    for j in range(k + 1, n):
                        y[at + i * n + j] -= factor * y[at + k * n + j]
''')
_LU_SOLVE = Algorithm('''
def lu_solve(lu, b, y, batch, n, m, trans):
    """Substitution with both triangles: NaN where U has a 0 on its diagonal."""
    for s in range(batch):
        t = s * (n + 1) * n
        at = s * n * m
        singular = 0
        for i in range(n):
            if lu[t + i * n + i] == 0.0:
                singular = 1
        for i in range(n * m):
            y[at + i] = nan if singular == 1 else b[at + i]
        if singular == 0:
            if trans == 0:
                for i in range(n):
                    row = int(lu[t + n * n + i])
                    for j in range(m):
                        moved = y[at + i * m + j]
                        y[at + i * m + j] = y[at + row * m + j]
                        y[at + row * m + j] = moved
                for i in range(n):
                    for k in range(i):
                        for j in range(m):
                            y[at + i * m + j] -= lu[t + i * n + k] * y[at + k * m + j]
                for i in range(n - 1, -1, -1):
                    for k in range(i + 1, n):
                        for j in range(m):
                            y[at + i * m + j] -= lu[t + i * n + k] * y[at + k * m + j]
                    for j in range(m):
                        y[at + i * m + j] = y[at + i * m + j] / lu[t + i * n + i]
            else:
                for i in range(n):
                    for k in range(i):
                        for j in range(m):
                            y[at + i * m + j] -= lu[t + k * n + i] * y[at + k * m + j]
                    for j in range(m):
                        y[at + i * m + j] = y[at + i * m + j] / lu[t + i * n + i]
                for i in range(n - 1, -1, -1):
                    for k in range(i + 1, n):
                        for j in range(m):
                            y[at + i * m + j] -= lu[t + k * n + i] * y[at + k * m + j]
                for i in range(n - 1, -1, -1):
                    row = int(lu[t + n * n + i])
                    for j in range(m):
                        moved = y[at + i * m + j]
                        y[at + i * m + j] = y[at + row * m + j]
                        y[at + row * m + j] = moved
''')


def packed(x: Type) -> Type:
    """A row of pivots below the matrix."""
    return Type((*square_type(x).shape[:-2], x.shape[-1] + 1, x.shape[-1]), x.dtype)


# `lu` and `lu_solve` are how `solve` and its kin are written where there is no library: no derivative goes through
# them, because the rules below stand one level higher, and share the factors by being the same computation.
lu: Traced = factorization(
    "lu",
    _LU,
    arity=1,
    infer=packed,
    arguments=lambda x, params: (count(x), x.shape[-1]),
    numpy=None,
    support="",
    cost=lambda y, x: {
        "mul": x.size * x.shape[-1] // 3,
        "add": x.size * x.shape[-1] // 3,
        "div": x.size // 2,
    },
    symbol="LU",
    doc="The triangular factors of a matrix by partial pivoting, in one matrix, and the pivots in a row below it.",
)
lu_solve: Traced = factorization(
    "lu_solve",
    _LU_SOLVE,
    arity=2,
    infer=lambda a, b, trans: b,
    arguments=lambda a, b, params: (count(a), *b.shape[-2:], params["trans"]),
    numpy=None,
    support="",
    cost=lambda y, a, b, trans: {"mul": y.size * a.shape[-1], "add": y.size * a.shape[-1], "div": y.size},
    symbol="LU\\",
    doc="Solutions of a linear system by the factors that `lu` finds.",
)


def _solve_vjp(g: Expr, y: Expr, a: Expr, b: Expr, trans: bool) -> tuple[Expr, Expr]:
    back = solve(a, g, trans=not trans)
    left, right = (y, back) if trans else (back, y)
    return -matmul(left, matrix_transpose(right)), back


solve: Traced = op(
    "solve",
    arity=2,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=lambda a, b, trans: square_type(a) and _system(a, b),
    expand=lambda a, b, trans: lu_solve(lu(a), b, trans=trans),
    vjp=_solve_vjp,
    mixes=(-2,),
    evaluate=lambda a, b, trans: _or_nan(np.linalg.solve, np.swapaxes(a, -1, -2) if trans else a, b),
    cells={
        "numpy": lambda a, p, t: (
            f"_or_nan(np.linalg.solve, {f'np.swapaxes({a[0]}, -1, -2)' if p['trans'] else a[0]}, {a[1]})"
        )
    },
    support={"numpy": _OR_NAN},
    torch=lambda torch, a, b, trans: torch.linalg.solve(a.mT if trans else a, b),
    cost=lambda y, a, b, trans: {
        k: cost(lu, None, a).get(k, 0) + v for k, v in cost(lu_solve, y, a, b, trans=trans).items()
    },
    symbol="A\\",
    slope="A⁻ᵀg, and -A⁻ᵀg yᵀ",
    operands="A b",
    samples=[
        (_A[[2, 1, 0]], _B, {"trans": False}),
        (_A[[2, 1, 0]], _B, {"trans": True}),
        (_STACK, _STACK_B, {"trans": False}),
    ],
    edge_notes={"a singular matrix": "NaN"},
    doc="Solutions Y of A Y = B, by LU factors with partial pivoting.",
)


def identity(x: Expr) -> Expr:
    """The identity matrices of the shape and dtype of `x`."""
    one = eye(x.shape[-1], dtype=x.type.dtype)
    return one if x.ndim == 2 else broadcast_to(one, x.shape)


def _inv_vjp(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    turned = matrix_transpose(y)
    return (-matmul(turned, matmul(g, turned)),)


inv: Traced = op(
    "inv",
    arity=1,
    kind="composite",
    loops=True,
    batch=lifted,
    infer=square_type,
    expand=lambda x: lu_solve(lu(x), identity(x), trans=False),
    vjp=_inv_vjp,
    evaluate=lambda x: _or_nan(np.linalg.inv, x),
    cells={"numpy": "_or_nan(np.linalg.inv, {0})"},
    support={"numpy": _OR_NAN},
    torch=lambda torch, x: torch.linalg.inv(x),
    cost=lambda y, x: cost(solve, y, x, y, trans=False),
    symbol="A⁻¹",
    slope="-A⁻ᵀ g A⁻ᵀ",
    samples=[(_A[[2, 1, 0]],), (_STACK,)],
    edge_notes={"a singular matrix": "NaN"},
    doc="The inverse of a matrix.",
)

# --- determinants -----------------------------------------------------------------------------------------------------

_SMALL = 3  # rows up to which a determinant is a polynomial, with a derivative everywhere


def _polynomial(x: Expr) -> Expr:
    """The determinant of a matrix of up to three rows, by the first one."""
    n = x.shape[-1]

    def at(i: int, j: int) -> Expr:
        return getitem(x, (..., i, j))

    if n == 1:
        return at(0, 0)
    if n == 2:
        return at(0, 0) * at(1, 1) - at(0, 1) * at(1, 0)
    return (
        at(0, 0) * (at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1))
        - at(0, 1) * (at(1, 0) * at(2, 2) - at(1, 2) * at(2, 0))
        + at(0, 2) * (at(1, 0) * at(2, 1) - at(1, 1) * at(2, 0))
    )


def _parity(factors: Expr) -> Expr:
    """1 or -1: whether rows changed places an even number of times."""
    pivots = getitem(factors, (..., -1, slice(None)))
    one = constant(1.0, factors.type.dtype)
    return prod(where(not_equal(pivots, arange(pivots.shape[-1], dtype=factors.type.dtype)), -one, one), -1)


def _pivots(x: Expr) -> tuple[Expr, Expr]:
    factors = lu(x)
    return diagonal(getitem(factors, (..., slice(None, -1), slice(None))), 0, -2, -1), factors


def _det_expand(x: Expr) -> Expr:
    pivots, factors = _pivots(x)
    return prod(pivots, -1) * _parity(factors)


def _log_det_expand(x: Expr) -> Expr:

    return sum(log(absolute(_pivots(x)[0])), -1)


def _sign_expand(x: Expr) -> Expr:

    pivots, factors = _pivots(x)
    return prod(sign(pivots), -1) * _parity(factors)


def _spread(g: Expr) -> Expr:
    """One number for each matrix, beside its elements."""
    return expand_dims(expand_dims(g, -1), -1)


_D = np.array([[0.4, 2.1, -0.3, 0.2], [0.1, 0.3, 0.6, 2.6], [-2.3, 0.5, 0.2, 0.4], [0.3, -0.2, 1.9, 0.1]])


def _determinant(name: str, **fields: Any) -> Traced:
    return op(
        name,
        arity=1,
        kind="composite",
        loops=True,
        batch=lifted,
        infer=lambda x: Type(square_type(x).shape[:-2], x.dtype),
        samples=[(_D,), (np.stack([_D[[1, 0, 3, 2]], np.diag([1.0, 2.0, -3.0, 1.5]) + 0.1]),)],
        cost=lambda y, x: cost(lu, None, x),
        **fields,
    )


_det: Traced = _determinant(
    "det",
    expand=_det_expand,
    vjp=lambda g, y, x: (_spread(g * y) * matrix_transpose(inv(x)),),
    evaluate=lambda x: _quietly(np.linalg.det, x),
    cells={"numpy": "np.linalg.det({0})"},
    torch=lambda torch, x: torch.linalg.det(x),
    symbol="det",
    slope="det(A) A⁻ᵀ",
    edge_notes={"a singular matrix": "0, with a gradient of NaN beyond three rows"},
    doc="The determinant of a matrix of more than three rows, by LU factors.",
)
_log_det: Traced = _determinant(
    "logabsdet",
    expand=_log_det_expand,
    vjp=lambda g, y, x: (_spread(g) * matrix_transpose(inv(x)),),
    evaluate=lambda x: _quietly(np.linalg.slogdet, x)[1],
    cells={"numpy": "np.linalg.slogdet({0})[1]"},
    torch=lambda torch, x: torch.linalg.slogdet(x)[1],
    symbol="log|det|",
    slope="A⁻ᵀ",
    edge_notes={"a singular matrix": "-inf, with a gradient of NaN"},
    doc="The logarithm of a determinant's magnitude.",
)
_sign: Traced = _determinant(
    "signdet",
    expand=_sign_expand,
    vjp=lambda g, y, x: (None,),
    evaluate=lambda x: _quietly(np.linalg.slogdet, x)[0],
    cells={"numpy": "np.linalg.slogdet({0})[0]"},
    torch=lambda torch, x: torch.linalg.slogdet(x)[0],
    symbol="sign det",
    slope="0",
    edge_notes={"a singular matrix": "0"},
    doc="The sign of a determinant.",
)


def det(x: Expr) -> Expr:
    """The determinants: polynomials of the elements of small matrices, by LU factors of others."""
    n = square_type(x.type).shape[-1]
    return _polynomial(x) if isinstance(n, int) and 0 < n <= _SMALL else _det(x)


def slogdet(x: Expr) -> tuple[Expr, Expr]:
    """Sign and logarithm of the determinants."""
    return _sign(x), _log_det(x)


def _quietly(function: Callable[..., Any], x: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(x)
