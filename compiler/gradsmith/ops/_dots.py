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

static GS_TILE_INLINE GS_CONTRACT void gs_dots_of@f(int after, ptrdiff_t k, const @real *a, const @real *b, @real *y,
    ptrdiff_t yr, ptrdiff_t yc) {
    /* Some rows of A by some of B: in row i of the tile up to column i - `after`, and 0 behind it. */
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
                if (j + after <= i) {
                    sum[i][j] += left * right[j];
                }
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
                if (j + after <= i) {
                    sum[i][j] += left * right[j];
                }
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < GS_DOT_ROWS; ++i) {
        GS_UNROLLED
        for (int j = 0; j < GS_DOT_COLUMNS; ++j) {
            y[i * yr + j * yc] = j + after <= i ? gs_total@f(sum[i][j]) : 0;
        }
    }
}

static GS_NOINLINE GS_CONTRACT void gs_dots_tile@f(ptrdiff_t after, ptrdiff_t k, const @real *a, const @real *b,
    @real *y, ptrdiff_t yr, ptrdiff_t yc) {
    /* A tile of which all counts, or what is not above the diagonal, which begins `after` so many columns. */
    switch (after < GS_DOT_ROWS ? (int)after : GS_DOT_ROWS) {
    case 0:
        gs_dots_of@f(0, k, a, b, y, yr, yc);
        break;
#if GS_DOT_COLUMNS < GS_DOT_ROWS /* else further ones are tiles that overlap */
    case 1:
        gs_dots_of@f(1, k, a, b, y, yr, yc);
        break;
    case 2:
        gs_dots_of@f(2, k, a, b, y, yr, yc);
        break;
    case 3:
        gs_dots_of@f(3, k, a, b, y, yr, yc);
        break;
    case 4:
        gs_dots_of@f(4, k, a, b, y, yr, yc);
        break;
#endif
    case GS_DOT_ROWS:
        for (ptrdiff_t q = 0; q < GS_DOT_ROWS * GS_DOT_COLUMNS; ++q) {
            y[q / GS_DOT_COLUMNS * yr + q % GS_DOT_COLUMNS * yc] = 0;
        }
        break;
    default:
        gs_dots_of@f(-GS_DOT_COLUMNS, k, a, b, y, yr, yc);
        break;
    }
}

static void gs_dots@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
    ptrdiff_t as, ptrdiff_t bs, int part) {
    /* y = A B^T, m by n, for each of a batch, of rows of k that lie one after the other: each number of y is the
       product of two rows. Both have a tile's rows at least; the last tiles overlap where they do not fill. What is not
       wanted is 0 or computed in vain: above the diagonal if `part` is -1, below it (of B A^T, above it) if it is 1. */
    const ptrdiff_t rows = GS_DOT_ROWS, columns = GS_DOT_COLUMNS;
    const ptrdiff_t high = part > 0 ? n : m, wide = part > 0 ? m : n, yr = part > 0 ? 1 : n, yc = part > 0 ? n : 1;
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        const @real *const one = part > 0 ? b : a, *const other = part > 0 ? a : b;
        for (ptrdiff_t ii = 0; ii < high; ii += rows) {
            const ptrdiff_t i = high - ii < rows ? high - rows : ii;
            for (ptrdiff_t jj = 0; jj < wide; jj += columns) {
                const ptrdiff_t j = wide - jj < columns ? wide - columns : jj;
                const ptrdiff_t after = part == 0 || j < i ? -1 : j - i;
                gs_dots_tile@f(after, k, one + i * k, other + j * k, y + i * yr + j * yc, yr, yc);
            }
        }
    }
}
#endif
"""

DOTS = widths(COMPILERS, VECTORS, MASKS, TOTAL, _SHAPE, _DOTS)
