"""C texts of products of matrices of which one is triangular, or of which a triangle is wanted.

In: the texts of `ops._tiles`. Out: `DIRECT_HALF` and `PACKED_HALF`: the texts of one function each, in double and in
float. Guarantee: that of `ops._registers`; and products with zeros are left out only where they are 0.
"""

from __future__ import annotations

from ._registers import widths
from ._tiles import DIRECT_TEXTS, HALVES, PACKED_TEXTS

__all__ = ["DIRECT_HALF", "PACKED_HALF"]

_FINITE = """\
#ifndef GS_FINITE@F
#define GS_FINITE@F
static GS_NOINLINE int gs_finite@f(const @real *y, ptrdiff_t m, ptrdiff_t n, ptrdiff_t row, ptrdiff_t column) {
    /* Whether a row and a column of y are finite: 0 times anything else is NaN. */
    const gs_vector@f zero = {0};
    gs_vector@f sums[4];
    @real sum = 0;
    const ptrdiff_t rows = n > 0 ? m : 0, columns = m > 0 ? n : 0, whole = columns - columns % (4 * GS_LANES@F);
    GS_UNROLLED
    for (int q = 0; q < 4; ++q) {
        sums[q] = zero;
    }
    for (ptrdiff_t j = 0; j < whole; j += 4 * GS_LANES@F) {
        GS_UNROLLED
        for (int q = 0; q < 4; ++q) {
            sums[q] += zero * *(const gs_vector@f *)(y + row * n + j + q * GS_LANES@F);
        }
    }
    sums[0] += sums[1] + sums[2] + sums[3];
    for (ptrdiff_t q = 0; q < GS_LANES@F; ++q) {
        sum += ((const @real *)sums)[q];
    }
    for (ptrdiff_t j = whole; j < columns; ++j) {
        sum += 0 * y[row * n + j];
    }
    for (ptrdiff_t i = 0; i < rows; ++i) {
        sum += 0 * y[i * n + column];
    }
    return sum == 0;
}

static int gs_half_finite@f(const @real *y, ptrdiff_t m, ptrdiff_t n, int half) {
    /* Whether products with zeros may have been left out of y = A B, since all that they would multiply is finite. One
       row of a triangular A (one column of B) meets each number of a column of B (of a row of A), and inf or NaN times
       anything, 0 too, is not finite, nor is a sum with it. So the row (column) of y made by it tells of them all. One
       column (row) of y has met each number of the triangle: if it is finite, so are those. */
    return half == 1 || half == -1 ? gs_finite@f(y, m, n, half == 1 ? 0 : m - 1, 0)
                                   : gs_finite@f(y, m, n, 0, half == 2 ? n - 1 : 0);
}
#endif
"""

_LEFT_HALF = """\
#ifndef GS_LEFT_HALF@F
#define GS_LEFT_HALF@F
#define GS_HALF_ROWS 5
#if GS_VECTOR_BYTES == 64
#define GS_HALF_VECTORS 4 /* 20 sums in 32 registers */
#else
#define GS_HALF_VECTORS 2 /* 10 in 16 */
#endif
static GS_TILE_INLINE GS_CONTRACT void gs_left_half_of@f(int vectors, int upper, ptrdiff_t i, ptrdiff_t k,
    const @real *a, ptrdiff_t ar, ptrdiff_t ac, const @real *b, @real *y, ptrdiff_t n, ptrdiff_t columns) {
    /* A tile whose first row is i: the square on the diagonal by its own triangle alone, and all on one side of it. */
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t first = upper ? i + GS_HALF_ROWS : 0, end = upper ? k : i < k ? i : k;
    gs_vector@f sum[GS_HALF_ROWS][GS_HALF_VECTORS], row[GS_HALF_VECTORS];
#if GS_VECTOR_BYTES == 64
    @bits lanes[GS_HALF_VECTORS];
    GS_UNROLLED
    for (int j = 0; j < vectors; ++j) {
        lanes[j] = gs_first@f(columns - j * GS_LANES@F);
    }
#define GS_HALF_READ@F(from, j) gs_some@f((from) + (j) * GS_LANES@F, lanes[j])
#else
    (void)columns;
#define GS_HALF_READ@F(from, j) (((const gs_vector@f *)(from))[j])
#endif
    GS_UNROLLED
    for (int r = 0; r < GS_HALF_ROWS; ++r) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            sum[r][j] = zero;
        }
    }
    GS_UNROLLED
    for (int q = 0; q < GS_HALF_ROWS; ++q) {
        if (i + q < k) {
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                row[j] = GS_HALF_READ@F(b + (i + q) * n, j);
            }
            GS_UNROLLED
            for (int r = 0; r < GS_HALF_ROWS; ++r) {
                if (upper ? r <= q : r >= q) {
                    const @real x = a[r * ar + (i + q) * ac];
                    GS_UNROLLED
                    for (int j = 0; j < vectors; ++j) {
                        sum[r][j] += x * row[j];
                    }
                }
            }
        }
    }
    GS_ROLLED
    for (ptrdiff_t p = first; p < end; ++p) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            row[j] = GS_HALF_READ@F(b + p * n, j);
        }
        GS_UNROLLED
        for (int r = 0; r < GS_HALF_ROWS; ++r) {
            const @real x = a[r * ar + p * ac];
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                sum[r][j] += x * row[j];
            }
        }
    }
    GS_UNROLLED
    for (int r = 0; r < GS_HALF_ROWS; ++r) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
#if GS_VECTOR_BYTES == 64
            gs_put_some@f(y + r * n + j * GS_LANES@F, sum[r][j], lanes[j]);
#else
            ((gs_vector@f *)(y + r * n))[j] = sum[r][j];
#endif
        }
    }
}

static GS_NOINLINE GS_CONTRACT void gs_left_half@f(const @real *a, const @real *b, @real *y, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t ar, ptrdiff_t ac, int upper) {
    /* y = A B of a triangular A, with a tile's rows and half its columns at least. The last tiles overlap. */
    const ptrdiff_t most = GS_HALF_VECTORS * GS_LANES@F, few = most / 2;
    for (ptrdiff_t j = 0, width; j < n; j += width) {
#if GS_VECTOR_BYTES == 64
        width = n - j < most ? n - j : most;
#else
        width = n >= most && n - j > few ? most : few;
        j = n - j < width ? n - width : j;
#endif
        for (ptrdiff_t ii = 0; ii < m; ii += GS_HALF_ROWS) {
            const ptrdiff_t i = m - ii < GS_HALF_ROWS ? m - GS_HALF_ROWS : ii;
            const @real *const left = a + i * ar;
            @real *const to = y + i * n + j;
            if (width > few) {
                if (upper) {
                    gs_left_half_of@f(GS_HALF_VECTORS, 1, i, k, left, ar, ac, b + j, to, n, width);
                } else {
                    gs_left_half_of@f(GS_HALF_VECTORS, 0, i, k, left, ar, ac, b + j, to, n, width);
                }
            } else if (upper) {
                gs_left_half_of@f(GS_HALF_VECTORS / 2, 1, i, k, left, ar, ac, b + j, to, n, width);
            } else {
                gs_left_half_of@f(GS_HALF_VECTORS / 2, 0, i, k, left, ar, ac, b + j, to, n, width);
            }
        }
    }
}
#endif
"""

_DIRECT_HALF = """\
#ifndef GS_GEMM_DIRECT_HALF@F
#define GS_GEMM_DIRECT_HALF@F
static void gs_gemm_direct_half@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, int part, int half) {
    /* The same where A or B is triangular, or a triangle of it and zeros. */
    const ptrdiff_t share = GS_THREADS ? {tuning.thread_rows} : {tuning.block_rows};
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        const int narrow = !GS_THREADS && (half == 1 || half == -1) && m >= GS_HALF_ROWS;
        if (narrow) {
            gs_left_half@f(a, b, y, m, n, k, ar, ac, half == 1);
        }
        GS_PARALLEL(schedule(static) if(m * n * k >= {tuning.thread_products}))
        for (ptrdiff_t ii = narrow ? m : 0; ii < m; ii += share) {
            const ptrdiff_t end = m - ii < share ? m : ii + share;
            for (ptrdiff_t j = 0, width; j < n; j += width) {
#if GS_VECTOR_BYTES == 64
                width = n - j < GS_TILE@F ? n - j : GS_TILE@F;
#else
                width = n >= GS_TILE@F && n - j > GS_LANES@F ? GS_TILE@F : GS_LANES@F;
                j = n - j < width ? n - width : j;
#endif
                for (ptrdiff_t i = ii, height; i < end; i += height) {
                    height = gs_tile_height(end - i);
                    const int none = part < 0 ? j > i + height - 1 : part > 0 && j + width - 1 < i;
                    const ptrdiff_t first = none ? 0 : gs_half_from(half, i, j, k);
                    const ptrdiff_t end = none ? 0 : gs_half_to(half, i + height, j + width, k);
                    gs_tile@f(height, end - first, a + i * ar + first * ac, ar, ac, b + first * n + j, n,
                        y + i * n + j, n, width, 0);
                }
            }
        }
        if (half != 0 && !gs_half_finite@f(y, m, n, half)) {
            gs_gemm_direct@f(a, b, y, 1, m, n, k, 0, ar, ac, 0);
        }
    }
}
#endif
"""

_PACKED_HALF = """\
#ifndef GS_GEMM_HALF@F
#define GS_GEMM_HALF@F
static void gs_gemm_half@f(const @real *a, const @real *b, @real *y, @real *work, ptrdiff_t batch, ptrdiff_t m,
    ptrdiff_t n, ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, ptrdiff_t br, ptrdiff_t bc,
    ptrdiff_t mc, ptrdiff_t nc, ptrdiff_t kc, ptrdiff_t left, int half) {
    /* y = A B, one of them triangular, for each of a batch. */
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        gs_gemm@f(a, b, y, work, 1, m, n, k, 0, ar, ac, 0, br, bc, mc, nc, kc, left, 0, half, 0);
        if (!gs_half_finite@f(y, m, n, half)) {
            gs_gemm@f(a, b, y, work, 1, m, n, k, 0, ar, ac, 0, br, bc, mc, nc, kc, left, 0, 0, 0);
        }
    }
}
#endif
"""


DIRECT_HALF = widths(*DIRECT_TEXTS, HALVES, _FINITE, _LEFT_HALF, _DIRECT_HALF)
PACKED_HALF = widths(*PACKED_TEXTS, _FINITE, _PACKED_HALF)
