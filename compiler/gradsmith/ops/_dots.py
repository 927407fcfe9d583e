"""C text of products of long rows by long rows, `A Bᵀ`, whose few sums stay in vector registers.

In: nothing. Out: `DOTS`, the text of one function in double and in float. Guarantee: that of `ops._registers`; products
and sums contract to fused multiply-adds in it, whatever the file is compiled with.
"""

from __future__ import annotations

from ._registers import COMPILERS, MASKS, TOTAL, VECTORS, widths

__all__ = ["DOTS", "LEAST"]

#: Rows that each factor has at least: tiles overlap at the end.
LEAST = 5

_SHAPE = """\
#ifndef GS_DOT_ROWS
#if GS_VECTOR_BYTES == 64
#define GS_DOT_COLUMNS 5 /* 25 sums in 32 registers */
#else
#define GS_DOT_COLUMNS 2 /* 10 in 16 */
#endif
#define GS_DOT_ROWS 5
#endif
"""

_DOTS = """\
#ifndef GS_DOTS@F
#define GS_DOTS@F
static GS_TILE_INLINE gs_vector@f gs_rest@f(const @real *x, ptrdiff_t count) {
    /* Fewer numbers than a vector has, and zeros. */
#if GS_VECTOR_BYTES == 64
    return gs_some@f(x, gs_first@f(count));
#elif GS_VECTOR_BYTES > 0
    gs_vector@f found = {0};
    for (ptrdiff_t q = 0; q < count; ++q) {
        found[q] = x[q];
    }
    return found;
#else
    (void)count;
    return *x;
#endif
}

static GS_NOINLINE GS_CONTRACT void gs_dots_of@f(ptrdiff_t k, const @real *a, const @real *b, @real *y, ptrdiff_t yr) {
    /* Some rows of A by some of B. */
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t whole = k - k % GS_LANES@F;
    gs_vector@f sum[GS_DOT_ROWS][GS_DOT_COLUMNS], right[GS_DOT_COLUMNS];
    GS_UNROLLED
    for (int i = 0; i < GS_DOT_ROWS; ++i) {
        GS_UNROLLED
        for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
            sum[i][j] = zero;
        }
    }
    GS_ROLLED
    for (ptrdiff_t p = 0; p < whole; p += GS_LANES@F) {
        GS_UNROLLED
        for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
            right[j] = *(const gs_vector@f *)(b + j * k + p);
        }
        GS_LOADED;
        GS_UNROLLED
        for (int i = 0; i < GS_DOT_ROWS; ++i) {
            const gs_vector@f left = *(const gs_vector@f *)(a + i * k + p);
            GS_UNROLLED
            for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
                sum[i][j] += left * right[j];
            }
        }
    }
    if (whole < k) {
        GS_UNROLLED
        for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
            right[j] = gs_rest@f(b + j * k + whole, k - whole);
        }
        GS_UNROLLED
        for (int i = 0; i < GS_DOT_ROWS; ++i) {
            const gs_vector@f left = gs_rest@f(a + i * k + whole, k - whole);
            GS_UNROLLED
            for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
                sum[i][j] += left * right[j];
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < GS_DOT_ROWS; ++i) {
        GS_UNROLLED
        for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
            y[i * yr + j] = gs_total@f(sum[i][j]);
        }
    }
}

static void gs_dots@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
    ptrdiff_t as, ptrdiff_t bs, int part) {
    /* y = A B^T, m by n, for each of a batch, of rows of k that lie one after the other: each number of y is the
       product of two rows. Both have a tile's rows at least; the last tiles overlap where they do not fill. Tiles above
       the diagonal are 0 if `part` is -1, and those below it if it is 1. */
    const ptrdiff_t rows = GS_DOT_ROWS, columns = GS_DOT_COLUMNS;
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        for (ptrdiff_t ii = 0; ii < m; ii += rows) {
            const ptrdiff_t i = m - ii < rows ? m - rows : ii;
            for (ptrdiff_t jj = 0; jj < n; jj += columns) {
                const ptrdiff_t j = n - jj < columns ? n - columns : jj;
                if (part < 0 ? j > i + rows - 1 : part > 0 && j + columns - 1 < i) {
                    for (ptrdiff_t q = 0; q < rows * columns; ++q) {
                        y[(i + q / columns) * n + j + q % columns] = 0;
                    }
                    continue;
                }
                gs_dots_of@f(k, a + i * k, b + j * k, y + i * n + j, n);
            }
        }
    }
}
#endif
"""

DOTS = widths(COMPILERS, VECTORS, MASKS, TOTAL, _SHAPE, _DOTS)
