"""LAPACK: `factorizations`, `matrix_eigenvalues` and `singular` by calls of a library, in C code that is to have it.

Each is a record beside the one that it stands for, with a cell for C only; `passes.libraries` puts it in its place.
Fortran reads rows as columns, so it sees every matrix transposed. Nothing is turned round for that: LU factors are
those of the transposed matrix, a lower triangle is an upper one, and solutions are rows, divided from the right.

The routines are declared as gfortran compiles them: a trailing underscore, integers of 32 bits, and the lengths of
texts behind the other parameters. They share the contract of our own kernels: NaN says that a matrix is singular or
not positive definite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..registry import Kernel
from ..trace import op
from ..types import Type, static_shape
from ._declare import Traced
from .factorizations import cholesky, lu, lu_solve, solve_triangular
from .matrix_eigenvalues import eigh
from .singular import svd

__all__: list[str] = []


_WIDTHS = {"c": ("double", "d", ""), "c.float32": ("float", "s", "f")}


def _in_width(text: str, real: str, p: str, f: str) -> str:
    """Text of one width: `@real` is double or float, `@p` begins LAPACK's names, `@f` (`@G` in guards) ends ours."""
    return text.replace("@real", real).replace("@p", p).replace("@f", f).replace("@G", f"GS_LAPACK{f.upper()}").strip()


def _declared(name: str, parameters: str) -> str:
    """A routine's declaration, once in a unit of translation."""
    return f"""\
#ifndef @G_{name.upper()}
#define @G_{name.upper()}
#ifdef __cplusplus
extern "C"
#endif
void @p{name}_({parameters});
#endif
"""


_TRSM = _declared(
    "trsm",
    "const char *side, const char *uplo, const char *trans, const char *diag, const int32_t *m,\n"
    "    const int32_t *n, const @real *alpha, const @real *a, const int32_t *lda, @real *b, const int32_t *ldb,\n"
    "    size_t, size_t, size_t, size_t",
)
_DIVIDE = """\
#ifndef @G_DIVIDE
#define @G_DIVIDE
static void gs_lapack_divide@f(const char *uplo, const char *trans, const char *diag, ptrdiff_t n, ptrdiff_t m,
    const @real *a, @real *y) {
    /* The n rows of y, of m numbers, become solutions with a triangle of a, as Fortran sees it. */
    const int32_t rows = (int32_t)m;
    const int32_t columns = (int32_t)n;
    const @real one = 1;
    @ptrsm_("R", uplo, trans, diag, &rows, &columns, &one, a, &columns, y, &rows, 1, 1, 1, 1);
}
#endif
"""


def _kernel(
    name: str, base: Traced, text: str, needs: tuple[str, ...], libraries: tuple[str, ...], **structure: Any
) -> Traced:
    """The record that computes what `base` does by the C function in `text`."""
    record = base.op  # type: ignore[attr-defined]
    memory = sum(key in structure for key in ("scratch", "integers"))
    places = record.cells["c"].count("{") + memory - (record.structure.scratch is not None)
    return op(
        name,
        arity=record.arity,
        kind="kernel",
        infer=record.infer,
        evaluate=record.evaluate,
        loops=True,
        structure=Kernel(record.structure.arguments, **structure),
        cells={"c": f"gs_{name}({', '.join(f'{{{i}}}' for i in range(places))})"},
        support={
            key: ("#include <stdint.h>", *(_in_width(each, *width) for each in (*needs, text)))
            for key, width in _WIDTHS.items()
        },
        libraries=libraries,
        cost=record.cost,
        doc=f"{record.doc} (By LAPACK.)",
    )


def _side(x: Type) -> int:
    return int(static_shape(x.shape)[-1])


_NOTHING = """\
#ifndef @G_NOTHING
#define @G_NOTHING
static void gs_lapack_nothing@f(@real *y, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < size; ++i) {
        y[i] = (@real)NAN;
    }
}
#endif
"""

# --- triangular solve, Cholesky ---------------------------------------------------------------------------------------

lapack_solve_triangular: Traced = _kernel(
    "lapack_solve_triangular",
    solve_triangular,
    """\
#ifndef @G_SOLVE_TRIANGULAR
#define @G_SOLVE_TRIANGULAR
static void gs_lapack_solve_triangular@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t n,
    ptrdiff_t m, ptrdiff_t lower, ptrdiff_t trans, ptrdiff_t unit) {
    /* Substitution by TRSM: NaN where the diagonal has a 0. */
    for (ptrdiff_t s = 0; s < batch; ++s) {
        ptrdiff_t singular = 0;
        for (ptrdiff_t i = 0; i < n; ++i) {
            singular += !unit && a[s * n * n + i * n + i] == 0;
        }
        if (singular) {
            gs_lapack_nothing@f(y + s * n * m, n * m);
            continue;
        }
        for (ptrdiff_t i = s * n * m; i < (s + 1) * n * m; ++i) {
            y[i] = b[i];
        }
        gs_lapack_divide@f(lower ? "U" : "L", trans ? "T" : "N", unit ? "U" : "N", n, m, a + s * n * n, y + s * n * m);
    }
}
#endif
""",
    needs=(_TRSM, _DIVIDE, _NOTHING),
    libraries=("blas",),
)
lapack_cholesky: Traced = _kernel(
    "lapack_cholesky",
    cholesky,
    """\
#ifndef @G_CHOLESKY
#define @G_CHOLESKY
static void gs_lapack_cholesky@f(const @real *x, @real *y, ptrdiff_t batch, ptrdiff_t n) {
    /* The lower triangle of x by POTRF: NaN where x is not positive definite. */
    const int32_t size = (int32_t)n;
    for (ptrdiff_t s = 0; s < batch; ++s) {
        int32_t info = 0;
        for (ptrdiff_t i = 0; i < n; ++i) {
            for (ptrdiff_t j = 0; j < n; ++j) {
                y[s * n * n + i * n + j] = j <= i ? x[s * n * n + i * n + j] : 0;
            }
        }
        @ppotrf_("U", &size, y + s * n * n, &size, &info, 1);
        const @real last = n > 0 ? y[(s + 1) * n * n - 1] : 0;
        if (info != 0 || last != last) { /* a NaN reaches the last; some libraries take it for a pivot */
            gs_lapack_nothing@f(y + s * n * n, n * n);
        }
    }
}
#endif
""",
    needs=(
        _declared("potrf", "const char *uplo, const int32_t *n, @real *a, const int32_t *lda, int32_t *info, size_t"),
        _NOTHING,
    ),
    libraries=("lapack", "blas"),
)

# --- LU ---------------------------------------------------------------------------------------------------------------

lapack_lu: Traced = _kernel(
    "lapack_lu",
    lu,
    """\
#ifndef @G_LU
#define @G_LU
static void gs_lapack_lu@f(const @real *x, @real *y, int32_t *pivots, ptrdiff_t batch, ptrdiff_t n) {
    /* The factors of the transposed x by GETRF, and below them the columns that changed places. */
    const int32_t size = (int32_t)n;
    for (ptrdiff_t s = 0; s < batch; ++s) {
        int32_t info = 0;
        @real *const factors = y + s * (n + 1) * n;
        for (ptrdiff_t i = 0; i < n * n; ++i) {
            factors[i] = x[s * n * n + i];
        }
        @pgetrf_(&size, &size, factors, &size, pivots, &info);
        for (ptrdiff_t i = 0; i < n; ++i) {
            factors[n * n + i] = (@real)(pivots[i] - 1);
        }
    }
}
#endif
""",
    needs=(
        _declared(
            "getrf",
            "const int32_t *m, const int32_t *n, @real *a, const int32_t *lda, int32_t *pivots,\n    int32_t *info",
        ),
    ),
    libraries=("lapack", "blas"),
    integers=lambda x, params: _side(x),
)
lapack_lu_solve: Traced = _kernel(
    "lapack_lu_solve",
    lu_solve,
    """\
#ifndef @G_LU_SOLVE
#define @G_LU_SOLVE
static void gs_lapack_lu_solve@f(const @real *lu, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t n, ptrdiff_t m,
    ptrdiff_t trans) {
    /* Both triangles by TRSM: NaN where U has a 0 on its diagonal. */
    for (ptrdiff_t s = 0; s < batch; ++s) {
        const @real *const factors = lu + s * (n + 1) * n;
        @real *const rows = y + s * n * m;
        ptrdiff_t singular = 0;
        for (ptrdiff_t i = 0; i < n; ++i) {
            singular += factors[i * n + i] == 0;
        }
        if (singular) {
            gs_lapack_nothing@f(rows, n * m);
            continue;
        }
        for (ptrdiff_t i = 0; i < n * m; ++i) {
            rows[i] = b[s * n * m + i];
        }
        if (!trans) {
            gs_lapack_divide@f("U", "N", "N", n, m, factors, rows);
            gs_lapack_divide@f("L", "N", "U", n, m, factors, rows);
        }
        for (ptrdiff_t k = 0; k < n; ++k) {
            const ptrdiff_t i = trans ? k : n - 1 - k;
            const ptrdiff_t other = (ptrdiff_t)factors[n * n + i];
            for (ptrdiff_t j = 0; j < m; ++j) {
                const @real moved = rows[i * m + j];
                rows[i * m + j] = rows[other * m + j];
                rows[other * m + j] = moved;
            }
        }
        if (trans) {
            gs_lapack_divide@f("L", "T", "U", n, m, factors, rows);
            gs_lapack_divide@f("U", "T", "N", n, m, factors, rows);
        }
    }
}
#endif
""",
    needs=(_TRSM, _DIVIDE, _NOTHING),
    libraries=("blas",),
)

# --- eigenvalues, singular values -------------------------------------------------------------------------------------

_POSITIVE = """\
#ifndef @G_POSITIVE
#define @G_POSITIVE
static @real gs_lapack_sign@f(const @real *v, ptrdiff_t n, ptrdiff_t step) {
    /* The sign of the first large component of a vector. */
    @real largest = 0;
    for (ptrdiff_t k = 0; k < n; ++k) {
        largest = fabs@f(v[k * step]) > largest ? fabs@f(v[k * step]) : largest;
    }
    for (ptrdiff_t k = 0; k < n; ++k) {
        if (fabs@f(v[k * step]) > (@real)0.6180339887 * largest) {
            return v[k * step] < 0 ? -1 : 1;
        }
    }
    return 1;
}
#endif
"""

lapack_eigh: Traced = _kernel(
    "lapack_eigh",
    eigh,
    """\
#ifndef @G_EIGH
#define @G_EIGH
static void gs_lapack_eigh@f(const @real *x, @real *y, @real *work, int32_t *integers, ptrdiff_t batch, ptrdiff_t n) {
    /* The lower triangle of x by SYEVD: eigenvalues, ascending, and below them the vectors. */
    const int32_t size = (int32_t)n;
    const int32_t room = (int32_t)(1 + 6 * n + 2 * n * n);
    const int32_t more = (int32_t)(3 + 5 * n);
    for (ptrdiff_t s = 0; s < batch; ++s) {
        @real *const values = y + s * (n + 1) * n;
        @real *const v = values + n;
        int32_t info = 0;
        for (ptrdiff_t i = 0; i < n; ++i) {
            for (ptrdiff_t j = 0; j < n; ++j) {
                v[i * n + j] = x[s * n * n + i * n + j];
                info |= j <= i && !isfinite(v[i * n + j]);
            }
        }
        if (info == 0) {
            @psyevd_("V", "U", &size, v, &size, values, work, &room, integers, &more, &info, 1, 1);
        }
        if (info != 0) {
            gs_lapack_nothing@f(values, (n + 1) * n);
            continue;
        }
        for (ptrdiff_t i = 0; i < n; ++i) {
            const @real sign = gs_lapack_sign@f(v + i * n, n, 1);
            for (ptrdiff_t j = 0; j < n; ++j) {
                v[i * n + j] *= sign;
            }
        }
        for (ptrdiff_t i = 0; i < n; ++i) {
            for (ptrdiff_t j = 0; j < i; ++j) {
                const @real moved = v[i * n + j];
                v[i * n + j] = v[j * n + i];
                v[j * n + i] = moved;
            }
        }
    }
}
#endif
""",
    needs=(
        _declared(
            "syevd",
            "const char *jobz, const char *uplo, const int32_t *n, @real *a, const int32_t *lda, @real *w,\n"
            "    @real *work, const int32_t *lwork, int32_t *iwork, const int32_t *liwork, int32_t *info, size_t,\n"
            "    size_t",
        ),
        _NOTHING,
        _POSITIVE,
    ),
    libraries=("lapack", "blas"),
    scratch=lambda x, params: 1 + 6 * _side(x) + 2 * _side(x) ** 2,
    integers=lambda x, params: 3 + 5 * _side(x),
)


def _svd_room(x: Type, params: Any) -> int:
    """A copy of the matrix, the left vectors in rows, and what GESDD needs."""
    m, n = static_shape(x.shape)[-2:]
    return m * n + m * n + m + 5 * n * n + 11 * n


lapack_svd: Traced = _kernel(
    "lapack_svd",
    svd,
    """\
#ifndef @G_SVD
#define @G_SVD
static void gs_lapack_svd@f(const @real *x, @real *y, @real *work, int32_t *integers, ptrdiff_t batch, ptrdiff_t m,
    ptrdiff_t n) {
    /* The transposed x by GESDD: singular values, descending, each before its left and right vector. */
    const ptrdiff_t w = 1 + m + n;
    const int32_t rows = (int32_t)n;
    const int32_t columns = (int32_t)m;
    const int32_t step = (int32_t)w;
    const int32_t room = (int32_t)(m + 5 * n * n + 10 * n);
    @real *const copy = work;
    @real *const left = copy + m * n;
    @real *const values = left + m * n;
    for (ptrdiff_t s = 0; s < batch; ++s) {
        @real *const triples = y + s * n * w;
        int32_t info = 0;
        for (ptrdiff_t i = 0; i < m * n; ++i) {
            copy[i] = x[s * m * n + i];
            info |= !isfinite(copy[i]);
        }
        if (info == 0) {
            @pgesdd_("S", &rows, &columns, copy, &rows, values, triples + 1 + m, &step, left, &rows, values + n, &room,
                integers, &info, 1);
        }
        if (info != 0) {
            gs_lapack_nothing@f(triples, n * w);
            continue;
        }
        for (ptrdiff_t j = 0; j < n; ++j) {
            @real *const triple = triples + j * w;
            const @real sign = gs_lapack_sign@f(triple + 1 + m, n, 1);
            triple[0] = values[j];
            for (ptrdiff_t i = 0; i < m; ++i) {
                triple[1 + i] = sign * left[i * n + j];
            }
            for (ptrdiff_t i = 1 + m; i < w; ++i) {
                triple[i] *= sign;
            }
        }
    }
}
#endif
""",
    needs=(
        _declared(
            "gesdd",
            "const char *jobz, const int32_t *m, const int32_t *n, @real *a, const int32_t *lda, @real *s,\n"
            "    @real *u, const int32_t *ldu, @real *vt, const int32_t *ldvt, @real *work, const int32_t *lwork,\n"
            "    int32_t *iwork, int32_t *info, size_t",
        ),
        _NOTHING,
        _POSITIVE,
    ),
    libraries=("lapack", "blas"),
    scratch=_svd_room,
    integers=lambda x, params: 8 * _side(x),
)


# --- which stands for which -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What calls the library in the place of an op, for matrices of that many columns and more."""

    call: Traced
    least: int


#: By the op's name. Below `least`, our own kernel takes less time than the call (docs/decisions/0021-lapack.md); the
#: factors of `lu` are read by `lu_solve` alone, so that both change at one size.
LAPACK: Mapping[str, Row] = {
    "solve_triangular": Row(lapack_solve_triangular, 16),
    "cholesky": Row(lapack_cholesky, 32),
    "lu": Row(lapack_lu, 32),
    "lu_solve": Row(lapack_lu_solve, 32),
    "eigh": Row(lapack_eigh, 16),
    "svd": Row(lapack_svd, 16),
}
