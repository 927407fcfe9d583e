/* Matrix products for arrays that fit a cache: tiles of 4 rows and 3 vectors in 12 registers, panels of B packed once.
 * A is read with any strides; B with any strides or by pointers to its rows (a convolution's shifted picture). */
#ifndef GEMM_H
#define GEMM_H

#include "simd.h"

enum { PANEL = 3 * W, DEPTH = 256 };

#define STEP1(r) const vec x##r = all(a[r * rows + l * columns]); s##r##0 = fma_(x##r, b0, s##r##0);
#define STEP2(r) STEP1(r) s##r##1 = fma_(x##r, b1, s##r##1);
#define STEP3(r) STEP2(r) s##r##2 = fma_(x##r, b2, s##r##2);
#define ZERO1(r) vec s##r##0 = all(0);
#define ZERO2(r) ZERO1(r) vec s##r##1 = all(0);
#define ZERO3(r) ZERO2(r) vec s##r##2 = all(0);
#define READ1 const vec b0 = load(b);
#define READ2 READ1 const vec b1 = load(b + W);
#define READ3 READ2 const vec b2 = load(b + 2 * W);
#define KEEP1(r) store(t + r * PANEL, s##r##0);
#define KEEP2(r) KEEP1(r) store(t + r * PANEL + W, s##r##1);
#define KEEP3(r) KEEP2(r) store(t + r * PANEL + 2 * W, s##r##2);
#define ROWS1(f) f(0)
#define ROWS4(f) f(0) f(1) f(2) f(3)

/* t (rows of PANEL) = A (M rows) times a packed panel of V vectors */
#define TILE(M, V)                                                                                                     \
    static void tile##M##V(ptrdiff_t k, const real *a, ptrdiff_t rows, ptrdiff_t columns, const real *b, real *t) {    \
        ROWS##M(ZERO##V) for (ptrdiff_t l = 0; l < k; ++l, b += V * W) {                                               \
            READ##V ROWS##M(STEP##V)                                                                                   \
        }                                                                                                              \
        ROWS##M(KEEP##V)                                                                                               \
    }
TILE(1, 1)
TILE(1, 2)
TILE(1, 3)
TILE(4, 1)
TILE(4, 2)
TILE(4, 3)

typedef void tile_function(ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, const real *, real *);
static tile_function *const tiles[2][3] = {{tile11, tile12, tile13}, {tile41, tile42, tile43}};

typedef struct {
    const real *p;
    ptrdiff_t row, column;
} matrix; /* element (i, j) is p[i*row + j*column] */

static inline matrix plain(const real *p, ptrdiff_t columns) { return (matrix){p, columns, 1}; }
static inline matrix turned(const real *p, ptrdiff_t columns) { return (matrix){p, 1, columns}; } /* transposed */

/* C (m x n, rows of ldc) = A (m x k) B (k x n), added to C if `add`; row l of B starts at starts[l] where that is given */
static inline void gemm_of(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, matrix A, matrix B, const real *const *starts, real *C,
                    ptrdiff_t ldc, int add) {
    real packed[DEPTH * PANEL] __attribute__((aligned(64))), t[4 * PANEL] __attribute__((aligned(64)));
    for (ptrdiff_t l0 = 0; l0 < k; l0 += DEPTH) {
        const ptrdiff_t depth = k - l0 < DEPTH ? k - l0 : DEPTH;
        for (ptrdiff_t j = 0; j < n; j += PANEL) {
            const ptrdiff_t width = n - j < PANEL ? n - j : PANEL, vectors = (width + W - 1) / W, padded = vectors * W;
            real *to = packed;
            for (ptrdiff_t l = l0; l < l0 + depth; ++l, to += padded) {
                const real *from = starts ? starts[l] + j : B.p + l * B.row + j * B.column;
                ptrdiff_t i = 0;
                if (starts || B.column == 1) {
                    for (; i + W <= width; i += W) {
                        store(to + i, load(from + i));
                    }
                    for (; i < width; ++i) {
                        to[i] = from[i];
                    }
                }
                for (; i < width; ++i) {
                    to[i] = from[i * B.column];
                }
                for (; i < padded; ++i) {
                    to[i] = 0;
                }
            }
            for (ptrdiff_t i = 0, rows; i < m; i += rows) {
                rows = m - i >= 4 ? 4 : 1;
                tiles[rows == 4][vectors - 1](depth, A.p + i * A.row + l0 * A.column, A.row, A.column, packed, t);
                const int sum = add || l0 > 0;
                for (ptrdiff_t r = 0; r < rows; ++r) {
                    real *c = C + (i + r) * ldc + j;
                    ptrdiff_t q = 0;
                    for (; q + W <= width; q += W) {
                        store(c + q, sum ? load(c + q) + load(t + r * PANEL + q) : load(t + r * PANEL + q));
                    }
                    for (; q < width; ++q) {
                        c[q] = sum ? c[q] + t[r * PANEL + q] : t[r * PANEL + q];
                    }
                }
            }
        }
    }
}

static inline void gemm(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, matrix A, matrix B, real *C, ptrdiff_t ldc, int add) {
    gemm_of(m, n, k, A, B, NULL, C, ldc, add);
}

#define DOT0(r, c) vec s##r##c = all(0);
#define DOT1(r, c) s##r##c = fma_(x##r, y##c, s##r##c);
#define DOT2(r, c) C[r * ldc + c] += sum_of(s##r##c);
#define GRID(f) f(0, 0) f(0, 1) f(0, 2) f(1, 0) f(1, 1) f(1, 2) f(2, 0) f(2, 1) f(2, 2) f(3, 0) f(3, 1) f(3, 2)

/* C (4 x 3) += the scalar products of 4 rows with 3 rows of length k, a multiple of W */
static inline void dots43(ptrdiff_t k, const real *const *a, const real *const *b, real *C, ptrdiff_t ldc) {
    const real *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *b0 = b[0], *b1 = b[1], *b2 = b[2];
    GRID(DOT0)
    for (ptrdiff_t l = 0; l < k; l += W) {
        const vec x0 = load(a0 + l), x1 = load(a1 + l), x2 = load(a2 + l), x3 = load(a3 + l);
        const vec y0 = load(b0 + l), y1 = load(b1 + l), y2 = load(b2 + l);
        GRID(DOT1)
    }
    GRID(DOT2)
}

/* z (4) = 4 rows times x; k is a multiple of 4 at least */
static inline void dot4(ptrdiff_t k, const real *a, ptrdiff_t lda, const real *x, real *z) {
    vec s0 = all(0), s1 = s0, s2 = s0, s3 = s0;
    ptrdiff_t j = 0;
    for (; j + W <= k; j += W) {
        const vec v = load(x + j);
        s0 = fma_(load(a + j), v, s0);
        s1 = fma_(load(a + lda + j), v, s1);
        s2 = fma_(load(a + 2 * lda + j), v, s2);
        s3 = fma_(load(a + 3 * lda + j), v, s3);
    }
    z[0] = sum_of(s0), z[1] = sum_of(s1), z[2] = sum_of(s2), z[3] = sum_of(s3);
    for (; j < k; ++j) {
        for (int r = 0; r < 4; ++r) {
            z[r] += a[r * lda + j] * x[j];
        }
    }
}

/* g += the sum of 4 rows times c (4) */
static inline void axpy4(ptrdiff_t k, const real *a, ptrdiff_t lda, const real *c, real *g) {
    const vec c0 = all(c[0]), c1 = all(c[1]), c2 = all(c[2]), c3 = all(c[3]);
    ptrdiff_t j = 0;
    for (; j + W <= k; j += W) {
        const vec low = fma_(c0, load(a + j), fma_(c1, load(a + lda + j), load(g + j)));
        store(g + j, fma_(c2, load(a + 2 * lda + j), fma_(c3, load(a + 3 * lda + j), low)));
    }
    for (; j < k; ++j) {
        for (int r = 0; r < 4; ++r) {
            g[j] += c[r] * a[r * lda + j];
        }
    }
}

#endif
