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
    ptrdiff_t j = m > 0 ? 0 : n;
    GS_UNROLLED
    for (int q = 0; q < 4; ++q) {
        sums[q] = zero;
    }
    for (; j + 4 * GS_LANES@F <= n; j += 4 * GS_LANES@F) {
        GS_UNROLLED
        for (int q = 0; q < 4; ++q) {
            sums[q] += zero * *(const gs_vector@f *)(y + row * n + j + q * GS_LANES@F);
        }
    }
    sums[0] += sums[1] + sums[2] + sums[3];
    for (ptrdiff_t q = 0; q < GS_LANES@F; ++q) {
        sum += ((const @real *)sums)[q];
    }
    for (; j < n; ++j) {
        sum += 0 * y[row * n + j];
    }
    for (ptrdiff_t i = n > 0 ? 0 : m; i < m; ++i) {
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

_DIRECT_HALF = """\
#ifndef GS_GEMM_DIRECT_HALF@F
#define GS_GEMM_DIRECT_HALF@F
static void gs_gemm_direct_half@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, int part, int half) {
    /* The same where A or B is triangular, or a triangle of it and zeros. */
    const ptrdiff_t share = GS_THREADS ? {tuning.thread_rows} : {tuning.block_rows};
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        GS_PARALLEL(schedule(static) if(m * n * k >= {tuning.thread_products}))
        for (ptrdiff_t ii = 0; ii < m; ii += share) {
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


DIRECT_HALF = widths(*DIRECT_TEXTS, HALVES, _FINITE, _DIRECT_HALF)
PACKED_HALF = widths(*PACKED_TEXTS, _FINITE, _PACKED_HALF)
