"""Linear systems and matrix functions, as `numpy.linalg` and the array API's linalg extension have them.

Stacks of matrices in the last two axes broadcast. Where the matrix is singular or not positive definite, the result is
NaN, and no error is raised.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ..errors import DTypeError, ShapeError
from ..trace import Expr, as_expr
from ..types import broadcast_shapes, format_shape
from . import factorizations, singular
from .contraction import matmul, matrix_transpose
from .conversion import astype
from .layout import broadcast_to, expand_dims, squeeze
from .matrix_eigenvalues import eigen_parts

__all__ = [
    "EighResult", "SVDResult", "SlogdetResult", "cholesky", "det", "eigh", "eigvalsh", "inv", "matrix_power",
    "matrix_rank", "pinv", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Expr
    logabsdet: Expr


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Expr
    eigenvectors: Expr


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Expr
    S: Expr
    Vh: Expr


def _matrix(x: Any, name: str) -> Expr:
    """`x` as square matrices of floating-point numbers."""
    value = _floating(x, name)
    if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        raise ShapeError(
            f"{name}: takes square matrices in the last two axes, not shape {format_shape(value.shape)}"
            + (": for more equations than unknowns, solve x.T @ x" if value.ndim > 1 and name == "solve" else "")
        )
    return value


def _floating(x: Any, name: str) -> Expr:
    value = as_expr(x)
    if value.dtype.kind != "float":
        if value.op.name == "constant":
            return astype(value, "float64")
        raise DTypeError(f"{name}: takes floating-point numbers, not {value.dtype}: use x.astype(float) first")
    return value


def _system(a: Expr, b: Any, name: str) -> tuple[Expr, Expr, bool]:
    """The matrices and right-hand sides of equal leading axes, and whether `b` was one vector."""
    right = _floating(b, name)
    vector = right.ndim == 1
    if not right.ndim or right.shape[0 if vector else -2] != a.shape[-1]:
        raise ShapeError(
            f"{name}: matrices of shape {format_shape(a.shape)} and right-hand sides of shape "
            f"{format_shape(right.shape)} do not fit: as many rows are needed (one vector, or matrices)"
        )
    if vector:
        right = expand_dims(right, 1)
    batch = broadcast_shapes(a.shape[:-2], right.shape[:-2])
    a, right = (x if x.shape[:-2] == batch else broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, right))
    return a, right, vector


def _symmetric(x: Any, name: str, symmetrize_input: bool) -> Expr:
    value = _matrix(x, name)
    return 0.5 * (value + matrix_transpose(value)) if symmetrize_input else value


def cholesky(x: Any, /, *, upper: bool = False, symmetrize_input: bool = True) -> Expr:
    """The lower triangular L with `x = L @ L.T` of positive definite matrices; NaN where `x` is not that.

    Parameters
    ----------
    upper: give `L.T` instead.
    symmetrize_input: take `(x + x.T)/2`, as JAX does, so that the gradient is symmetric; or else read the lower
        triangle alone, as NumPy does, and give it all of the gradient.

    Errors: `ShapeError` for matrices that are not square, `DTypeError` for integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.cholesky(gs.symbol("x", (2, 2))))([[4.0, 2.0], [2.0, 5.0]])
    [[2.0, 0.0], [1.0, 2.0]]
    """
    lower = factorizations.cholesky(_symmetric(x, "cholesky", symmetrize_input))
    return matrix_transpose(lower) if upper else lower


def solve_triangular(
    a: Any, b: Any, /, *, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False
) -> Expr:
    """The solution of `a @ x = b` with triangular `a`, whose other triangle is not read; names as SciPy's.

    Parameters
    ----------
    trans: 0 or "N" for `a @ x = b`, 1 or "T" for `a.T @ x = b`.
    lower: whether `a` is a lower triangle.
    unit_diagonal: take the diagonal to be 1 without reading it.

    Errors: `ShapeError` for matrices that are not square and for other numbers of rows in `b`. A 0 on the diagonal
    gives NaN.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.linalg.solve_triangular(gs.symbol("a", (2, 2)), gs.symbol("b", 2), lower=True))
    >>> f([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0])
    [1.0, 2.0]
    """
    ways: dict[Any, bool] = {0: False, "N": False, 1: True, "T": True}
    if trans not in ways:
        raise ShapeError(f"solve_triangular: trans={trans!r}; choose 0 or 1 (numbers are real, so 2 is 1)")
    matrix, right, vector = _system(_matrix(a, "solve_triangular"), b, "solve_triangular")
    y = factorizations.solve_triangular(matrix, right, lower=bool(lower), trans=ways[trans], unit=bool(unit_diagonal))
    return squeeze(y, -1) if vector else y


def solve(a: Any, b: Any, /) -> Expr:
    """The solution of `a @ x = b`, by LU factors with partial pivoting; NaN where `a` is singular.

    `b` is a vector where it has one axis, and else matrices.

    Errors: `ShapeError` for matrices that are not square and for other numbers of rows in `b`.

    >>> import gradsmith as gs
    >>> f = gs.compile(gs.linalg.solve(gs.symbol("a", (2, 2)), gs.symbol("b", 2)))
    >>> f([[0.0, 2.0], [4.0, 0.0]], [2.0, 8.0])
    [2.0, 1.0]
    """
    matrix, right, vector = _system(_matrix(a, "solve"), b, "solve")
    y = factorizations.solve(matrix, right, trans=False)
    return squeeze(y, -1) if vector else y


def inv(x: Any, /) -> Expr:
    """The inverse of matrices; NaN where one is singular. `solve(x, b)` is more exact than `inv(x) @ b`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.inv(gs.symbol("x", (2, 2))))([[0.0, 2.0], [4.0, 0.0]])
    [[0.0, 0.25], [0.5, 0.0]]
    """
    return factorizations.inv(_matrix(x, "inv"))


def det(x: Any, /) -> Expr:
    """The determinant of matrices.

    Up to three rows, it is a polynomial, which has a gradient everywhere; beyond, the gradient of a singular matrix is
    NaN.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.det(gs.symbol("x", (2, 2))))([[1.0, 2.0], [3.0, 4.0]])
    -2.0
    """
    return factorizations.det(_matrix(x, "det"))


def slogdet(x: Any, /) -> SlogdetResult:
    """The sign of determinants, and the logarithms of their magnitudes (0 and -inf for singular matrices).

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.slogdet(gs.symbol("x", (2, 2))).sign)([[1.0, 2.0], [3.0, 4.0]])
    -1.0
    """
    return SlogdetResult(*factorizations.slogdet(_matrix(x, "slogdet")))


def _triangle(UPLO: str, name: str) -> bool:
    if UPLO not in ("L", "U"):
        raise ShapeError(f"{name}: UPLO={UPLO!r}; choose 'L' or 'U'")
    return UPLO == "U"


def eigh(x: Any, /, UPLO: Literal["L", "U"] | None = None, *, symmetrize_input: bool = True) -> EighResult:
    """Eigenvalues (ascending) and eigenvectors (columns) of symmetric matrices.

    Of each vector, the first component that is larger than 0.618 times its largest one is positive, in all targets.
    Where eigenvalues are equal, their vectors are any basis: what depends on which one has no derivative, and what does
    not (a function of the whole space that they span) has the right first derivative. The gradient of a function of
    matrices, as `(v * sqrt(w)) @ v.T`, lacks there the part by which a change tells equal eigenvalues apart.

    Parameters
    ----------
    UPLO: read the lower ("L") or the upper ("U") triangle alone; None: as `symmetrize_input` says.
    symmetrize_input: as for `cholesky`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.eigh(gs.symbol("x", (2, 2))).eigenvalues)([[2.0, 0.0], [0.0, 1.0]])
    [1.0, 2.0]
    """
    value = _symmetric(x, "eigh", symmetrize_input and UPLO is None)
    if UPLO is not None and _triangle(UPLO, "eigh"):
        value = matrix_transpose(value)
    return EighResult(*eigen_parts(value))


def eigvalsh(x: Any, /, UPLO: Literal["L", "U"] | None = None, *, symmetrize_input: bool = True) -> Expr:
    """The eigenvalues of `eigh`, ascending.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.eigvalsh(gs.symbol("x", (2, 2))))([[2.0, 0.0], [0.0, 1.0]])
    [1.0, 2.0]
    """
    return eigh(x, UPLO, symmetrize_input=symmetrize_input).eigenvalues


def _any_shape(x: Any, name: str) -> Expr:
    """`x` as matrices of floating-point numbers, of any shape."""
    value = _floating(x, name)
    if value.ndim < 2:
        raise ShapeError(f"{name}: takes matrices in the last two axes, not shape {format_shape(value.shape)}")
    return value


def svd(x: Any, /, full_matrices: bool = True) -> SVDResult:
    """Singular values and vectors of matrices (…, m, n): `x = U @ diag(S) @ Vh`, S (…, k) descending, k = min(m, n).

    Of each row of Vh, the first component that is larger than 0.618 times its largest one is positive if m >= n; else
    this holds for the columns of U. Where singular values are equal, their vectors are any basis: what depends on which
    one has no derivative, and what does not has the right first one. A singular value of 0 has the slope 0. A matrix
    with a NaN or an infinity gives NaN.

    Parameters
    ----------
    full_matrices: whether U and Vh are square. That of a matrix that is not square is not offered, because the vectors
        that are added have no derivative: give `full_matrices=False` for shapes (…, m, k) and (…, k, n).

    Errors: `ShapeError` for less than two axes, and for `full_matrices=True` of matrices that are not square.

    >>> import gradsmith as gs
    >>> U, S, Vh = gs.linalg.svd(gs.symbol("x", (3, 2)), full_matrices=False)
    >>> U.shape, S.shape, Vh.shape
    ((3, 2), (2,), (2, 2))
    """
    value = _any_shape(x, "svd")
    if full_matrices and value.shape[-1] != value.shape[-2]:
        raise ShapeError(
            f"svd: square U and Vh of matrices of shape {format_shape(value.shape)} hold vectors that have no "
            "derivative: give full_matrices=False"
        )
    return SVDResult(*singular.singular_parts(value))


def svdvals(x: Any, /) -> Expr:
    """The singular values of `svd`, descending.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.svdvals(gs.symbol("x", (2, 2))))([[0.0, 1.0], [-2.0, 0.0]])
    [2.0, 1.0]
    """
    return singular.svdvals(_any_shape(x, "svdvals"))


def pinv(x: Any, /, *, rtol: float | None = None) -> Expr:
    """The pseudo-inverse (…, n, m) of matrices (…, m, n): `pinv(x) @ b` is the shortest of the best solutions.

    Where the matrix lacks rank, the derivative is along changes that keep its rank: others make it jump.

    Parameters
    ----------
    rtol: singular values up to `rtol` times the largest one count as 0; `max(m, n)*eps` by default.

    Errors: `ShapeError` for less than two axes, `DTypeError` for integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.pinv(gs.symbol("x", (2, 1))))([[2.0], [0.0]])
    [[0.5, 0.0]]
    """
    return singular.pinv(_any_shape(x, "pinv"), rtol=_tolerance(rtol, "pinv"))


def matrix_rank(x: Any, /, *, rtol: float | None = None) -> Expr:
    """How many singular values are larger than `rtol` times the largest one: an integer, without a derivative.

    `rtol` is `max(m, n)*eps` by default.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.matrix_rank(gs.symbol("x", (2, 2))))([[1.0, 2.0], [2.0, 4.0]])
    1
    """
    return singular.matrix_rank(_any_shape(x, "matrix_rank"), rtol=_tolerance(rtol, "matrix_rank"))


def _tolerance(rtol: Any, name: str) -> float | None:
    if rtol is None:
        return None
    if isinstance(rtol, Expr):
        raise ShapeError(f"{name}: rtol={rtol!r} is no number known while tracing")
    return float(rtol)


def matrix_power(x: Any, n: int, /) -> Expr:
    """The product of `n` matrices `x`, by repeated squaring; of their inverses for a negative `n`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.linalg.matrix_power(gs.symbol("x", (2, 2)), 5))([[1.0, 1.0], [0.0, 1.0]])
    [[1.0, 5.0], [0.0, 1.0]]
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise ShapeError(f"matrix_power: n={n!r} is no int known while tracing")
    value = as_expr(x)
    if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        raise ShapeError(
            f"matrix_power: takes square matrices in the last two axes, not shape {format_shape(value.shape)}"
        )
    if n < 0:
        return matrix_power(inv(value), -n)
    result, power = None, value
    while n:
        if n & 1:
            result = power if result is None else matmul(result, power)
        n >>= 1
        power = matmul(power, power) if n else power
    return factorizations.identity(value) if result is None else result
