"""C texts of matrix products: tiles that stay in vector registers, panels packed for the cache, and row-wise products.

In: nothing. Out: `DIRECT`, `PACKED`, `ROWS` and `COLUMNS`: the texts of one function each, in double and in float.
Guarantee: that of `ops._registers`; products and sums contract to fused multiply-adds in these functions, whatever the
file is compiled with.
"""

from __future__ import annotations

from ._registers import COMPILERS, FEW, HEIGHTS, MASKS, SQUARES, TOTAL, VECTORS, widths

__all__ = [
    "ADDED", "CBLAS_GEMM", "CBLAS_GEMV", "COLUMNS", "DIRECT", "DIRECT_TEXTS", "HALVES", "PACKED", "PACKED_TEXTS",
    "ROWS",
]  # fmt: skip

_TILE = """\
#ifndef GS_TILE@F
#if defined(__aarch64__)
#define GS_TILE_VECTORS@F (2 * {tuning.tile_vectors}) /* twice the registers, of half the size */
#else
#define GS_TILE_VECTORS@F {tuning.tile_vectors}
#endif
#define GS_TILE@F (GS_TILE_VECTORS@F * GS_LANES@F)
static GS_TILE_INLINE GS_CONTRACT void gs_tile_of@f(int rows, int vectors, ptrdiff_t k, const @real *a, ptrdiff_t ar,
    ptrdiff_t ac, const @real *b, ptrdiff_t br, @real *panel, @real *y, ptrdiff_t yr, ptrdiff_t columns, int add) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    gs_vector@f sum[GS_TILE_ROWS][GS_TILE_VECTORS@F], row[GS_TILE_VECTORS@F];
#if GS_VECTOR_BYTES == 64
    @bits lanes[GS_TILE_VECTORS@F];
    GS_UNROLLED
    for (int j = 0; j < vectors; ++j) {
        lanes[j] = gs_first@f(columns - j * GS_LANES@F);
    }
#define GS_READ@F(from, j) gs_some@f((from) + (j) * GS_LANES@F, lanes[j])
#else
#define GS_READ@F(from, j) (((const gs_vector@f *)(from))[j])
#endif
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            sum[i][j] = zero;
        }
    }
    if (vectors == 1 && !panel) { /* few sums: those of even and odd terms, that they need not wait for each other */
        gs_vector@f odd[GS_TILE_ROWS];
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            odd[i] = zero;
        }
        GS_ROLLED
        for (ptrdiff_t p = 0; p < k - 1; p += 2) {
            const gs_vector@f first = GS_READ@F(b + p * br, 0), second = GS_READ@F(b + (p + 1) * br, 0);
            GS_UNROLLED
            for (int i = 0; i < rows; ++i) {
                sum[i][0] += a[i * ar + p * ac] * first;
                odd[i] += a[i * ar + (p + 1) * ac] * second;
            }
        }
        if (k % 2 == 1) {
            const gs_vector@f last = GS_READ@F(b + (k - 1) * br, 0);
            GS_UNROLLED
            for (int i = 0; i < rows; ++i) {
                sum[i][0] += a[i * ar + (k - 1) * ac] * last;
            }
        }
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            sum[i][0] += odd[i];
        }
    } else {
        GS_ROLLED
        for (ptrdiff_t p = 0; p < k; ++p) {
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                row[j] = GS_READ@F(b + p * br, j);
                if (panel) {
                    ((gs_vector@f *)(panel + p * GS_TILE@F))[j] = row[j];
                }
            }
            GS_UNROLLED
            for (int i = 0; i < rows; ++i) {
                const @real x = a[i * ar + p * ac];
                GS_UNROLLED
                for (int j = 0; j < vectors; ++j) {
                    sum[i][j] += x * row[j];
                }
            }
        }
    }
    if (columns == vectors * GS_LANES@F) {
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            gs_vector@f *const to = (gs_vector@f *)(y + i * yr);
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                if (add) {
                    sum[i][j] += to[j];
                }
                to[j] = sum[i][j];
            }
        }
        return;
    }
#if GS_VECTOR_BYTES == 64
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        @real *const to = y + i * yr;
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            if (add) {
                sum[i][j] += gs_some@f(to + j * GS_LANES@F, lanes[j]);
            }
            gs_put_some@f(to + j * GS_LANES@F, sum[i][j], lanes[j]);
        }
    }
#else
    /* Some columns alone, from a copy: what is read number by number would have to lie in memory all the time. */
    gs_vector@f some[GS_TILE_ROWS][GS_TILE_VECTORS@F];
    GS_UNROLLED
    for (int i = 0; i < GS_TILE_ROWS; ++i) {
        GS_UNROLLED
        for (int j = 0; j < GS_TILE_VECTORS@F; ++j) {
            some[i][j] = i < rows && j < vectors ? sum[i][j] : zero;
        }
    }
    GS_ROLLED
    for (int i = 0; i < rows; ++i) {
        const @real *const from = (const @real *)some[i];
        @real *const to = y + i * yr;
        ptrdiff_t q = 0;
        GS_ROLLED
        for (; q + GS_LANES@F <= columns; q += GS_LANES@F) {
            gs_vector@f whole = some[i][q / GS_LANES@F];
            if (add) {
                whole += *(gs_vector@f *)(to + q);
            }
            *(gs_vector@f *)(to + q) = whole;
        }
        GS_ROLLED
        for (; q < columns; ++q) {
            to[q] = add ? to[q] + from[q] : from[q];
        }
    }
#endif
}

#define GS_TILE_CASES@F(rows)                                                                             \\
    case 2 * (rows):                                                                                    \\
        gs_tile_of@f(rows, 1, k, a, ar, ac, b, br, 0, y, yr, columns, add);                               \\
        break;                                                                                          \\
    case 2 * (rows) + 1:                                                                                \\
        gs_tile_of@f(rows, GS_TILE_VECTORS@F, k, a, ar, ac, b, br, 0, y, yr, columns, add);                \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_tile@f(ptrdiff_t rows, ptrdiff_t k, const @real *a, ptrdiff_t ar, ptrdiff_t ac,
    const @real *b, ptrdiff_t br, @real *y, ptrdiff_t yr, ptrdiff_t columns, int add) {
    /* A few rows of y = A B (+ y), in registers. */
    switch (2 * (int)rows + (columns > GS_LANES@F)) {
    GS_TILE_CASES@F(1)
    GS_TILE_CASES@F(2)
    GS_TILE_CASES@F(3)
    GS_TILE_CASES@F(4)
#if GS_TILE_ROWS > 4
    GS_TILE_CASES@F(5)
    GS_TILE_CASES@F(6)
#endif
#if GS_TILE_ROWS > 6
    GS_TILE_CASES@F(7)
    GS_TILE_CASES@F(8)
#endif
    default:
        break;
    }
}
#endif
"""

_PACK = """\
#ifndef GS_PACK@F
#define GS_PACK@F
static GS_NOINLINE GS_CONTRACT void gs_tile_packing@f(ptrdiff_t k, const @real *a, ptrdiff_t ar, ptrdiff_t ac,
    const @real *b, ptrdiff_t br, @real *panel, @real *y, ptrdiff_t yr, int add) {
    /* A whole tile from B as it is, of which it makes a panel on the way: reading B takes no time of its own. */
    gs_tile_of@f(GS_TILE_ROWS, GS_TILE_VECTORS@F, k, a, ar, ac, b, br, panel, y, yr, GS_TILE@F, add);
}

static GS_TILE_INLINE gs_vector@f gs_strided@f(const @real *x, ptrdiff_t step) {
    /* A vector of numbers that stand `step` apart. */
#if GS_VECTOR_BYTES > 0
    gs_vector@f found = {0};
    GS_UNROLLED
    for (int q = 0; q < GS_LANES@F; ++q) {
        found[q] = x[q * step];
    }
    return found;
#else
    (void)step;
    return *x;
#endif
}

#if GS_VECTOR_BYTES > 0
static GS_NOINLINE void gs_pack_across@f(const @real *b, ptrdiff_t bc, ptrdiff_t k, ptrdiff_t width, @real *panel) {
    /* A panel of B whose columns are what is stored: squares of it are transposed in registers. */
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real)), whole = k - k % side;
    const gs_few@f zero = {0};
    for (ptrdiff_t q = 0; q < GS_TILE@F; q += side) {
        const @real *const from = b + q * bc;
        const ptrdiff_t columns = width - q < side ? width - q : side;
        if (columns < side) {
            for (ptrdiff_t p = 0; p < k; ++p) {
                *(gs_few@f *)(panel + p * GS_TILE@F + q) = zero;
            }
        }
        for (ptrdiff_t p = 0; p < (columns == side ? whole : 0); p += side) {
            gs_turn_square@f(from + p, bc, panel + p * GS_TILE@F + q, GS_TILE@F);
        }
        for (ptrdiff_t p = columns == side ? whole : 0; p < k; ++p) {
            for (ptrdiff_t i = 0; i < columns; ++i) {
                panel[p * GS_TILE@F + q + i] = from[i * bc + p];
            }
        }
    }
}
#endif

static GS_NOINLINE void gs_pack_columns@f(const @real *b, ptrdiff_t br, ptrdiff_t bc, ptrdiff_t k, ptrdiff_t n,
    @real *panel) {
    /* Panels of as many columns as a tile has, row by row; the last one is filled up with zeros. By vectors: where the
       columns fill no whole ones, the last two overlap. */
    const gs_vector@f zero = {0};
    for (ptrdiff_t j = 0; j < n; j += GS_TILE@F) {
        const @real *from = b + j * bc;
        const ptrdiff_t width = n - j < GS_TILE@F ? n - j : GS_TILE@F;
#if GS_VECTOR_BYTES > 0
        if (br == 1 && bc != 1) {
            gs_pack_across@f(from, bc, k, width, panel);
            panel += k * GS_TILE@F;
            continue;
        }
#endif
        for (ptrdiff_t p = 0; p < k; ++p, panel += GS_TILE@F, from += br) {
            if (width == GS_TILE@F) {
                GS_UNROLLED
                for (ptrdiff_t q = 0; q < GS_TILE@F; q += GS_LANES@F) {
                    *(gs_vector@f *)(panel + q) =
                        bc == 1 ? *(const gs_vector@f *)(from + q) : gs_strided@f(from + q * bc, bc);
                }
            } else if (width >= GS_LANES@F) {
                GS_UNROLLED
                for (ptrdiff_t q = 0; q < GS_TILE@F; q += GS_LANES@F) {
                    const ptrdiff_t last = width - q < GS_LANES@F ? width - GS_LANES@F : q;
                    *(gs_vector@f *)(panel + q) = zero;
                    *(gs_vector@f *)(panel + last) =
                        bc == 1 ? *(const gs_vector@f *)(from + last) : gs_strided@f(from + last * bc, bc);
                }
            } else {
                for (ptrdiff_t q = 0; q < GS_TILE@F; ++q) {
                    panel[q] = q < width ? from[q * bc] : 0;
                }
            }
        }
    }
}

static GS_NOINLINE void gs_pack_rows@f(const @real *a, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t m, ptrdiff_t k,
    @real *panel) {
    /* Panels of as many rows as a tile has, column by column; of several at a time, which share lines where columns are
       what is stored. */
    const ptrdiff_t most = ar == 1 ? 4 * GS_TILE_ROWS : GS_TILE_ROWS;
    for (ptrdiff_t i = 0, rows; i < m; i += rows) {
        rows = m - i < most + GS_TILE_ROWS ? m - i : most; /* the last two tiles may share theirs */
        for (ptrdiff_t p = 0; p < k; ++p) {
            for (ptrdiff_t t = 0, height; t < rows; t += height) {
                const @real *const from = a + (i + t) * ar + p * ac;
                @real *const to = panel + (i + t) * k;
                height = gs_tile_height(m - i - t);
                if (height == GS_TILE_ROWS && ar == 1) {
                    GS_UNROLLED
                    for (ptrdiff_t q = 0; q < GS_TILE_ROWS; ++q) {
                        to[p * GS_TILE_ROWS + q] = from[q];
                    }
                } else {
                    for (ptrdiff_t q = 0; q < height; ++q) {
                        to[p * height + q] = from[q * ar];
                    }
                }
            }
        }
    }
}
#endif
"""

HALVES = """\
#ifndef GS_HALF
#define GS_HALF
/* Which products of a tile are not all by 0 if a factor is triangular: of A = 0 below the diagonal (`half` is 1) or
   above it (-1), of B = 0 below (2) or above (-2). From the first one on, and up to the last. */
static ptrdiff_t gs_half_from(int half, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k) {
    const ptrdiff_t first = half == 1 ? i : half == -2 ? j : 0;
    return first < 0 ? 0 : first < k ? first : k;
}
static ptrdiff_t gs_half_to(int half, ptrdiff_t below, ptrdiff_t beside, ptrdiff_t k) {
    const ptrdiff_t end = half == -1 ? below : half == 2 ? beside : k;
    return end < 0 ? 0 : end < k ? end : k;
}
#endif
"""

_DIRECT = """\
#ifndef GS_GEMM_DIRECT@F
#define GS_GEMM_DIRECT@F
static void gs_gemm_direct@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs) {
    /* y = A B, m by n, for each of a batch: an element of A is a[i*ar + p*ac], B is in rows of n, and the next matrices
       begin as and bs further on. Nothing is packed; where no whole vectors are left, lanes are masked, or
       columns are computed twice. */
    const ptrdiff_t share = GS_THREADS ? {tuning.thread_rows} : {tuning.block_rows}; /* of the rows */
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
                    gs_tile@f(height, k, a + i * ar, ar, ac, b + j, n, y + i * n + j, n, width, 0);
                }
            }
        }
    }
}
#endif
"""

_PACKED = """\
#ifndef GS_GEMM@F
#define GS_GEMM@F
static void gs_gemm@f(const @real *a, const @real *b, @real *y, @real *work, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, ptrdiff_t br, ptrdiff_t bc, ptrdiff_t mc,
    ptrdiff_t nc, ptrdiff_t kc, ptrdiff_t left, int part, int half, int add) {
    /* y = A B, m by n, for each of a batch: an element of A is a[i*ar + p*ac], one of B is b[p*br + j*bc], the next
       matrices begin as and bs further on. In blocks of mc by kc and kc by nc: a panel of B stays in the first cache, a
       block of A, packed if `left`, in the second. Where one block has all rows, one panel after the other lies in the
       same place. With `add`, y += A B; tiles above the diagonal are left out (or 0) if
       `part` is -1, and those below it if it is 1, and products with the zeros of a triangular factor (`half`). Rows
       shorter than a tile are stored in whole vectors: what is too much there lies where later rows will be. Where a
       product is added and B is small and fills tiles, B is read as it is: few rows of A would meet a panel. */
    const ptrdiff_t most = GS_THREADS || m > mc ? nc < n ? nc : n : 1;
    @real *const right = (@real *)(((size_t)work + 63) / 64 * 64);
    @real *const packed = right + (k < kc ? k : kc) * ((most + GS_TILE@F - 1) / GS_TILE@F * GS_TILE@F);
    for (ptrdiff_t i = 0; i < (k > 0 || add ? 0 : batch * m * n); ++i) {
        y[i] = 0;
    }
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
        for (ptrdiff_t jj = 0; jj < n; jj += nc) {
            const ptrdiff_t columns = n - jj < nc ? n - jj : nc;
            for (ptrdiff_t pp = 0; pp < k; pp += kc) {
                const ptrdiff_t depth = k - pp < kc ? k - pp : kc;
                const ptrdiff_t ours = GS_THREADS || add || pp > 0 || n >= GS_TILE@F ? 0 : (batch - s) * m * n;
                const @real *const from = b + pp * br + jj * bc;
                const int tall = gs_tile_height(m < mc ? m : mc) == GS_TILE_ROWS;
                const int asis = !GS_THREADS && add && bc == 1 && columns % GS_TILE@F == 0 &&
                    depth * n * (ptrdiff_t)sizeof(@real) <= {tuning.pack_right};
                const int packs = !GS_THREADS && !asis && bc == 1 && part == 0 && half == 0 && tall;
                const ptrdiff_t later = packs ? columns - columns % GS_TILE@F : 0; /* columns that tiles will pack */
#if GS_THREADS
                GS_PARALLEL(schedule(static) if(m * columns * depth >= {tuning.thread_products}))
                for (ptrdiff_t j = 0; j < columns; j += GS_TILE@F) {
                    const ptrdiff_t width = columns - j < GS_TILE@F ? columns - j : GS_TILE@F;
                    gs_pack_columns@f(from + j * bc, br, bc, depth, width, right + j * depth);
                }
#endif
                GS_PARALLEL(schedule(static) if(m * columns * depth >= {tuning.thread_products}))
                for (ptrdiff_t ii = 0; ii < m; ii += mc) {
                    const ptrdiff_t rows = m - ii < mc ? m - ii : mc;
                    const @real *const block = a + ii * ar + pp * ac;
                    @real *const own = GS_THREADS ? packed + ii * depth : packed;
                    if (left) {
                        gs_pack_rows@f(block, ar, ac, rows, depth, own);
                    }
                    for (ptrdiff_t j = 0; j < columns; j += GS_TILE@F) {
                        const ptrdiff_t width = columns - j < GS_TILE@F ? columns - j : GS_TILE@F;
                        const ptrdiff_t whole = width > GS_LANES@F ? GS_TILE@F : GS_LANES@F;
                        @real *const tile = y + ii * n + jj + j;
                        @real *const panel = most > 1 ? right + j * depth : right;
                        if (!GS_THREADS && !asis && ii == 0 && j >= later) {
                            gs_pack_columns@f(from + j * bc, br, bc, depth, width, panel);
                        }
                        for (ptrdiff_t i = 0, height; i < rows; i += height) {
                            height = gs_tile_height(rows - i);
                            const ptrdiff_t row = ii + i, column = jj + j;
                            const ptrdiff_t below = row + height, beside = column + width;
                            const int none = part < 0 ? column >= below : part > 0 && beside <= row;
                            const ptrdiff_t p = gs_half_from(half, row - pp, column - pp, depth);
                            const ptrdiff_t end = none ? p : gs_half_to(half, below - pp, beside - pp, depth);
                            if (end <= p && (add || pp > 0)) {
                                continue;
                            }
                            const int first = part < 0 && (add || pp > 0) && column + GS_LANES@F >= below;
                            const ptrdiff_t wanted = first && width > GS_LANES@F ? GS_LANES@F : width; /* of a tile */
                            if (ii + i == 0 && j < later) {
                                gs_tile_packing@f(depth, left ? own : block, left ? 1 : ar, left ? height : ac,
                                    from + j, br, panel, tile, n, add || pp > 0);
                                continue;
                            }
                            for (ptrdiff_t q = 0; q < height; ++q) {
                                GS_PREFETCH(tile + (i + q) * n);
                            }
                            gs_tile@f(height, end > p ? end - p : 0,
                                left ? own + i * depth + p * height : block + i * ar + p * ac, left ? 1 : ar,
                                left ? height : ac, asis ? from + j + p * br : panel + p * GS_TILE@F,
                                asis ? br : GS_TILE@F, tile + i * n, n,
                                (ii + i + height - 1) * n + whole <= ours ? whole : wanted, add || pp > 0);
                        }
                    }
                }
            }
        }
    }
}
#endif
"""

_ADDED = """\
#ifndef GS_GEMM_ADD@F
#define GS_GEMM_ADD@F
static void gs_gemm_add@f(const @real *a, const @real *b, const @real *c, @real *y, @real *work, ptrdiff_t batch,
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, ptrdiff_t br,
    ptrdiff_t bc, ptrdiff_t mc, ptrdiff_t nc, ptrdiff_t kc, ptrdiff_t left, int part) {
    /* y = C + A B, or a triangle of it, for each of a batch; C may be y itself. */
    for (ptrdiff_t i = 0; i < (c == y ? 0 : batch * m * n); ++i) {
        y[i] = c[i];
    }
    gs_gemm@f(a, b, y, work, batch, m, n, k, as, ar, ac, bs, br, bc, mc, nc, kc, left, part, 0, 1);
}
#endif
"""

_ROWS = """\
#ifndef GS_ROWS@F
#define GS_ROWS@F
static GS_TILE_INLINE GS_CONTRACT void gs_rows_of@f(int rows, int vectors, ptrdiff_t k, const @real *a, ptrdiff_t ar,
    const @real *x, @real *y) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    gs_vector@f sum[4][4];
    const ptrdiff_t most = k - k % (vectors * GS_LANES@F);
    const ptrdiff_t whole = k - k % GS_LANES@F;
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            sum[i][j] = zero;
        }
    }
    GS_ROLLED
    for (ptrdiff_t p = 0; p < most; p += vectors * GS_LANES@F) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            const gs_vector@f right = *(const gs_vector@f *)(x + p + j * GS_LANES@F);
            GS_UNROLLED
            for (int i = 0; i < rows; ++i) {
                sum[i][j] += *(const gs_vector@f *)(a + i * ar + p + j * GS_LANES@F) * right;
            }
        }
    }
    GS_ROLLED
    for (ptrdiff_t p = most; p < whole; p += GS_LANES@F) {
        const gs_vector@f right = *(const gs_vector@f *)(x + p);
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            sum[i][0] += *(const gs_vector@f *)(a + i * ar + p) * right;
        }
    }
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        @real total = 0;
        GS_UNROLLED
        for (int j = 1; j < vectors; ++j) {
            sum[i][0] += sum[i][j];
        }
        for (ptrdiff_t p = whole; p < k; ++p) {
            total += a[i * ar + p] * x[p];
        }
        y[i] = total + gs_total@f(sum[i][0]);
    }
}

static GS_CONTRACT void gs_rows@f(const @real *a, const @real *x, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t k,
    ptrdiff_t as, ptrdiff_t xs) {
    /* y = A x for each of a batch, row by row: each element of A is read once. */
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, x += xs, y += m) {
        GS_PARALLEL(schedule(static) if(m * k >= {tuning.thread_products}))
        for (ptrdiff_t i = 0; i < m - m % 4; i += 4) {
            gs_rows_of@f(4, 2, k, a + i * k, k, x, y + i);
        }
        for (ptrdiff_t i = m - m % 4; i < m; ++i) {
            gs_rows_of@f(1, 4, k, a + i * k, k, x, y + i);
        }
    }
}
#endif
"""

_COLUMNS = """\
#ifndef GS_COLUMNS@F
#define GS_COLUMNS@F
static GS_TILE_INLINE GS_CONTRACT void gs_columns_of@f(int rows, ptrdiff_t n, const @real *a, ptrdiff_t ar,
    const @real *x, @real *y, int add) {
    GS_CONTRACTED
    @real right[8]; /* in registers: for all that a compiler knows, y may lie where x does */
    GS_UNROLLED
    for (int p = 0; p < rows; ++p) {
        right[p] = x[p];
    }
    GS_ROLLED
    for (ptrdiff_t j = 0; j < n - n % GS_LANES@F; j += GS_LANES@F) {
        gs_vector@f sum = right[0] * *(const gs_vector@f *)(a + j);
        GS_UNROLLED
        for (int p = 1; p < rows; ++p) {
            sum += right[p] * *(const gs_vector@f *)(a + p * ar + j);
        }
        if (add) {
            sum += *(const gs_vector@f *)(y + j);
        }
        *(gs_vector@f *)(y + j) = sum;
    }
    for (ptrdiff_t j = n - n % GS_LANES@F; j < n; ++j) {
        @real sum = right[0] * a[j];
        GS_UNROLLED
        for (int p = 1; p < rows; ++p) {
            sum += right[p] * a[p * ar + j];
        }
        y[j] = add ? y[j] + sum : sum;
    }
}

static GS_CONTRACT void gs_columns@f(const @real *a, const @real *x, @real *y, ptrdiff_t batch, ptrdiff_t k,
    ptrdiff_t n, ptrdiff_t as, ptrdiff_t xs, int add) {
    /* y = x A (+ y) for each of a batch, as a sum of rows of A: each element of A is read once. Threads have strips. */
    const ptrdiff_t strip = GS_THREADS ? {tuning.thread_columns} : n;
    for (ptrdiff_t j = 0; j < (k > 0 || add ? 0 : batch * n); ++j) {
        y[j] = 0;
    }
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, x += xs, y += n) {
        GS_PARALLEL(schedule(static) if(k * n >= {tuning.thread_products}))
        for (ptrdiff_t j = 0; j < n; j += strip) {
            const ptrdiff_t width = n - j < strip ? n - j : strip;
            for (ptrdiff_t p = 0; p < k - k % 8; p += 8) {
                gs_columns_of@f(8, width, a + p * n + j, n, x + p, y + j, add || p > 0);
            }
            if (k % 8 >= 4) {
                const ptrdiff_t p = k - k % 8;
                gs_columns_of@f(4, width, a + p * n + j, n, x + p, y + j, add || p > 0);
            }
            for (ptrdiff_t p = k - k % 4; p < k; ++p) {
                gs_columns_of@f(1, width, a + p * n + j, n, x + p, y + j, add || p > 0);
            }
        }
    }
}
#endif
"""

_CBLAS_GEMM = """\
#ifndef GS_CBLAS_GEMM@F
#define GS_CBLAS_GEMM@F
#ifdef __cplusplus
extern "C"
#endif
void cblas_@pgemm(int order, int ta, int tb, int m, int n, int k, @real alpha, const @real *a, int lda,
    const @real *b, int ldb, @real beta, @real *y, int ldy);
static void gs_cblas_gemm@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t k, ptrdiff_t as, ptrdiff_t bs, ptrdiff_t ta, ptrdiff_t tb) {
    /* y = A B, m by n, for each of a batch; 101 says that rows follow each other, 112 that a factor is transposed. */
    for (ptrdiff_t i = 0; i < (k > 0 ? 0 : batch * m * n); ++i) {
        y[i] = 0;
    }
    for (ptrdiff_t s = 0; s < (m > 0 && n > 0 && k > 0 ? batch : 0); ++s) {
        cblas_@pgemm(101, ta ? 112 : 111, tb ? 112 : 111, (int)m, (int)n, (int)k, 1, a + s * as, (int)(ta ? m : k),
            b + s * bs, (int)(tb ? k : n), 0, y + s * m * n, (int)n);
    }
}
#endif
"""

_CBLAS_GEMV = """\
#ifndef GS_CBLAS_GEMV@F
#define GS_CBLAS_GEMV@F
#ifdef __cplusplus
extern "C"
#endif
void cblas_@pgemv(int order, int ta, int m, int n, @real alpha, const @real *a, int lda, const @real *x, int xs,
    @real beta, @real *y, int ys);
static void gs_cblas_gemv@f(const @real *a, const @real *x, @real *y, ptrdiff_t batch, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t as, ptrdiff_t xs, ptrdiff_t ta) {
    /* y = A x for each of a batch of m by n matrices, or A^T x; 101 says that rows follow each other. */
    const ptrdiff_t size = ta ? n : m;
    for (ptrdiff_t i = 0; i < (m > 0 && n > 0 ? 0 : batch * size); ++i) {
        y[i] = 0;
    }
    for (ptrdiff_t s = 0; s < (m > 0 && n > 0 ? batch : 0); ++s) {
        cblas_@pgemv(101, ta ? 112 : 111, (int)m, (int)n, 1, a + s * as, (int)n, x + s * xs, 1, 0, y + s * size, 1);
    }
}
#endif
"""


#: Before they are filled in, for kernels that call these.
DIRECT_TEXTS = (COMPILERS, VECTORS, MASKS, HEIGHTS, _TILE, _DIRECT)
PACKED_TEXTS = (COMPILERS, VECTORS, FEW, SQUARES, MASKS, HEIGHTS, _TILE, _PACK, HALVES, _PACKED)

DIRECT = widths(*DIRECT_TEXTS)
PACKED = widths(*PACKED_TEXTS)
ADDED = widths(*PACKED_TEXTS, _ADDED)
ROWS = widths(COMPILERS, VECTORS, TOTAL, _ROWS)
COLUMNS = widths(COMPILERS, VECTORS, _COLUMNS)
CBLAS_GEMM = widths(_CBLAS_GEMM)
CBLAS_GEMV = widths(_CBLAS_GEMV)
