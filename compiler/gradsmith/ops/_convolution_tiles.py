"""C texts of convolutions: tiles of results in registers, vectors of results or of taps.

In: nothing. Out: `ALONG`, `ACROSS` and `BACK`: the texts of one function each, in double and in float. Guarantee:
that of `ops._tiles`; no copy of the windows is made.
"""

from __future__ import annotations

from ._tiles import COMPILERS, VECTORS, widths

__all__ = ["ACROSS", "ALONG", "BACK"]

_ALONG = """\
#ifndef GS_CONVOLVE@F
#define GS_CONVOLVE@F
static GS_TILE_INLINE GS_CONTRACT void gs_convolve_of@f(int rows, int vectors, ptrdiff_t channels, ptrdiff_t p,
    ptrdiff_t q, const @real *x, ptrdiff_t xc, ptrdiff_t xp, ptrdiff_t xq, const @real *w, ptrdiff_t wr, @real *y,
    ptrdiff_t yr) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    gs_vector@f sum[{tuning.tile_rows}][{tuning.tile_vectors}];
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            sum[i][j] = zero;
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        for (ptrdiff_t u = 0; u < p; ++u) {
            const @real *const seen = x + c * xc + u * xp;
            GS_ROLLED
            for (ptrdiff_t v = 0; v < q; ++v) {
                const gs_vector@f *const row = (const gs_vector@f *)(seen + v * xq);
                GS_UNROLLED
                for (int i = 0; i < rows; ++i) {
                    const @real tap = w[i * wr];
                    GS_UNROLLED
                    for (int j = 0; j < vectors; ++j) {
                        sum[i][j] += tap * row[j];
                    }
                }
                ++w;
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        gs_vector@f *const row = (gs_vector@f *)(y + i * yr);
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            row[j] = sum[i][j];
        }
    }
}
#define GS_CONVOLVE_CASES@F(rows)                                                                                    \\
    case 2 * (rows):                                                                                                 \\
        gs_convolve_of@f(rows, 1, channels, p, q, x, xc, xp, xq, w, wr, y, yr);                                      \\
        break;                                                                                                       \\
    case 2 * (rows) + 1:                                                                                             \\
        gs_convolve_of@f(rows, {tuning.tile_vectors}, channels, p, q, x, xc, xp, xq, w, wr, y, yr);                  \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_convolve_tile@f(ptrdiff_t rows, int wide, ptrdiff_t channels, ptrdiff_t p,
    ptrdiff_t q, const @real *x, ptrdiff_t xc, ptrdiff_t xp, ptrdiff_t xq, const @real *w, ptrdiff_t wr, @real *y,
    ptrdiff_t yr) {
    /* Some places of a row of the results, of a few channels. */
    switch (2 * (int)rows + wide) {
    GS_CONVOLVE_CASES@F(1)
    GS_CONVOLVE_CASES@F(2)
    GS_CONVOLVE_CASES@F(3)
    GS_CONVOLVE_CASES@F(4)
#if {tuning.tile_rows} > 4
    GS_CONVOLVE_CASES@F(5)
    GS_CONVOLVE_CASES@F(6)
#endif
#if {tuning.tile_rows} > 6
    GS_CONVOLVE_CASES@F(7)
    GS_CONVOLVE_CASES@F(8)
#endif
    default:
        break;
    }
}

static void gs_convolve@f(const @real *x, const @real *w, @real *y, ptrdiff_t batch, ptrdiff_t groups, ptrdiff_t out,
    ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q, ptrdiff_t step,
    ptrdiff_t dp, ptrdiff_t dq) {
    /* y[., ., o, i, j] = sum of x[., ., c, i*step + u*dp, j + v*dq] * w[., o, c, u, v] over c, u < p and v < q, for
       pictures of h by b and results of m by n, which is at least a vector: the last columns are computed twice where
       they fill none. */
    const ptrdiff_t most = {tuning.tile_rows}, tile = {tuning.tile_vectors} * GS_LANES@F, taps = channels * p * q;
    for (ptrdiff_t s = 0; s < batch; ++s) {
        for (ptrdiff_t g = 0; g < groups; ++g, x += channels * h * b) {
            const @real *const weights = w + g * out * taps;
            for (ptrdiff_t o = 0, rows; o < out; o += rows, y += rows * m * n) {
                const ptrdiff_t left = out - o;
                rows = left <= most ? left : left < 2 * most - 1 ? most - 1 : most; /* as in products */
                for (ptrdiff_t i = 0; i < m; ++i) {
                    for (ptrdiff_t j = 0, width; j < n; j += width) {
                        const int wide = n >= tile && n - j > GS_LANES@F;
                        width = wide ? tile : GS_LANES@F;
                        j = n - j < width ? n - width : j;
                        gs_convolve_tile@f(rows, wide, channels, p, q, x + i * step * b + j, h * b, dp * b, dq,
                            weights + o * taps, taps, y + i * n + j, m * n);
                    }
                }
            }
        }
    }
}
#endif
"""

_ACROSS = """\
#ifndef GS_CORRELATE@F
#define GS_CORRELATE@F
static GS_TILE_INLINE GS_CONTRACT void gs_correlate_of@f(int rows, int places, ptrdiff_t channels, ptrdiff_t p,
    ptrdiff_t q, const @real *const *x, ptrdiff_t xc, ptrdiff_t xp, const @real *w, @real *const *y, ptrdiff_t yr) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t whole = q - q % GS_LANES@F, taps = channels * p * q;
    gs_vector@f sum[4][3];
    @real rest[4][3];
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < places; ++j) {
            sum[i][j] = zero;
            rest[i][j] = 0;
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        for (ptrdiff_t u = 0; u < p; ++u) {
            const ptrdiff_t from = c * xc + u * xp;
            const @real *const row = w + (c * p + u) * q;
            GS_ROLLED
            for (ptrdiff_t v = 0; v < whole; v += GS_LANES@F) {
                GS_UNROLLED
                for (int i = 0; i < rows; ++i) {
                    const gs_vector@f tap = *(const gs_vector@f *)(row + i * taps + v);
                    GS_UNROLLED
                    for (int j = 0; j < places; ++j) {
                        sum[i][j] += tap * *(const gs_vector@f *)(x[j] + from + v);
                    }
                }
            }
        }
    }
    for (ptrdiff_t c = 0; c < (whole < q ? channels : 0); ++c) {
        for (ptrdiff_t u = 0; u < p; ++u) {
            const ptrdiff_t from = c * xc + u * xp;
            const @real *const row = w + (c * p + u) * q;
            GS_ROLLED
            for (ptrdiff_t v = whole; v < q; ++v) {
                GS_UNROLLED
                for (int i = 0; i < rows; ++i) {
                    GS_UNROLLED
                    for (int j = 0; j < places; ++j) {
                        rest[i][j] += row[i * taps + v] * x[j][from + v];
                    }
                }
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < places; ++j) {
            const gs_vector@f lanes = sum[i][j];
            @real total = rest[i][j];
            for (ptrdiff_t l = 0; l < GS_LANES@F; ++l) {
                total += ((const @real *)&lanes)[l];
            }
            y[j][i * yr] = total;
        }
    }
}
#define GS_CORRELATE_CASES@F(rows)                                                                                   \\
    case 2 * (rows):                                                                                                 \\
        gs_correlate_of@f(rows, 1, channels, p, q, x, xc, xp, w, y, yr);                                             \\
        break;                                                                                                       \\
    case 2 * (rows) + 1:                                                                                             \\
        gs_correlate_of@f(rows, 3, channels, p, q, x, xc, xp, w, y, yr);                                             \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_correlate_tile@f(ptrdiff_t rows, int wide, ptrdiff_t channels, ptrdiff_t p,
    ptrdiff_t q, const @real *const *x, ptrdiff_t xc, ptrdiff_t xp, const @real *w, @real *const *y, ptrdiff_t yr) {
    /* One place or three of the results, of a few channels. */
    switch (2 * (int)rows + wide) {
    GS_CORRELATE_CASES@F(1)
    GS_CORRELATE_CASES@F(2)
    GS_CORRELATE_CASES@F(3)
    GS_CORRELATE_CASES@F(4)
    default:
        break;
    }
}

static void gs_correlate@f(const @real *x, const @real *w, @real *y, ptrdiff_t batch, ptrdiff_t groups, ptrdiff_t out,
    ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q, ptrdiff_t step,
    ptrdiff_t sn, ptrdiff_t dp) {
    /* y[., ., o, i, j] = sum of x[., ., c, i*step + u*dp, j*sn + v] * w[., o, c, u, v] over c, u < p and v < q, for
       pictures of h by b and results of m by n: sums along rows of q, which are long. */
    const ptrdiff_t taps = channels * p * q;
    for (ptrdiff_t s = 0; s < batch; ++s) {
        for (ptrdiff_t g = 0; g < groups; ++g, x += channels * h * b, y += out * m * n) {
            for (ptrdiff_t at = 0, count; at < m * n; at += count) {
                const @real *seen[3];
                @real *into[3];
                count = m * n - at < 3 ? 1 : 3;
                for (ptrdiff_t l = 0; l < count; ++l) {
                    seen[l] = x + (at + l) / n * step * b + (at + l) % n * sn;
                    into[l] = y + at + l;
                }
                for (ptrdiff_t o = 0, rows; o < out; o += rows) {
                    rows = out - o < 4 ? out - o : 4;
                    gs_correlate_tile@f(rows, count > 1, channels, p, q, seen, h * b, dp * b,
                        w + (g * out + o) * taps, into, m * n);
                    for (ptrdiff_t l = 0; l < count; ++l) {
                        into[l] += rows * m * n;
                    }
                }
            }
        }
    }
}
#endif
"""

_BACK = """\
#ifndef GS_CONVOLVE_BACK@F
#define GS_CONVOLVE_BACK@F
static void gs_convolve_back@f(const @real *x, const @real *w, @real *y, ptrdiff_t batch, ptrdiff_t groups,
    ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q,
    ptrdiff_t dp, ptrdiff_t dq, ptrdiff_t sm, ptrdiff_t sn) {
    /* The same with steps of 1, where x has zeros around its elements, which are sm rows and sn columns apart. Weights
       that are inf or NaN meet the elements alone: times such a zero they would be NaN. */
    const ptrdiff_t top = (p - 1) * dp, left = (q - 1) * dq, taps = channels * p * q;
    int finite = 1;
    for (ptrdiff_t i = 0; i < groups * out * taps; ++i) {
        finite &= w[i] - w[i] == 0;
    }
    if (finite) {
        gs_convolve@f(x, w, y, batch, groups, out, channels, h, b, m, n, p, q, 1, dp, dq);
        return;
    }
    for (ptrdiff_t i = 0; i < batch * groups * out * m * n; ++i) {
        const ptrdiff_t row = i / n % m, column = i % n, at = i / (n * m), o = at % (groups * out);
        const @real *const weights = w + o * taps;
        const @real *const seen = x + at / out * channels * h * b;
        @real total = 0;
        for (ptrdiff_t t = 0; t < taps; ++t) {
            const ptrdiff_t u = t / q % p * dp, v = t % q * dq, r = row + u - top, c = column + v - left;
            if (r >= 0 && r % sm == 0 && r + top + top < h && c >= 0 && c % sn == 0 && c + left + left < b) {
                total += seen[(t / (p * q) * h + row + u) * b + column + v] * weights[t];
            }
        }
        y[i] = total;
    }
}
#endif
"""

ALONG = widths(COMPILERS, VECTORS, _ALONG)
BACK = widths(COMPILERS, VECTORS, _ALONG, _BACK)
ACROSS = widths(COMPILERS, VECTORS, _ACROSS)
