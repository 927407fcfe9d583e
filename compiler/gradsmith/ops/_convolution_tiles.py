"""C texts of convolutions: tiles of results in registers, vectors of results or of taps.

In: nothing. Out: `ALONG`, `ACROSS` and `BACK`: the texts of one function each, in double and in float. Guarantee:
that of `ops._registers`; no copy of the windows is made.
"""

from __future__ import annotations

from ._registers import COMPILERS, FEW, HEIGHTS, TOTAL, VECTORS, widths

__all__ = ["ACROSS", "ALONG", "BACK", "PIECES"]

_COPY = """\
#ifndef GS_COPY@F
#define GS_COPY@F
static GS_TILE_INLINE void gs_copy_row@f(const @real *from, @real *to, ptrdiff_t n) {
    ptrdiff_t j = 0;
#if GS_VECTOR_BYTES > 0
    const ptrdiff_t few = (ptrdiff_t)(sizeof(gs_few@f) / sizeof(@real));
    GS_ROLLED
    for (; n - j >= GS_LANES@F; j += GS_LANES@F) {
        *(gs_vector@f *)(to + j) = *(const gs_vector@f *)(from + j);
    }
    GS_ROLLED
    for (; n - j >= few; j += few) {
        *(gs_few@f *)(to + j) = *(const gs_few@f *)(from + j);
    }
#endif
    GS_ROLLED
    for (; j < n; ++j) {
        to[j] = from[j];
    }
}
#endif
"""

PIECES = """\
#ifndef GS_PIECES
#define GS_PIECES
static ptrdiff_t gs_pieces(ptrdiff_t count, ptrdiff_t products) {
    /* Into how many pieces threads cut each of `count` things, which take so many products in all. */
    const ptrdiff_t worth = products / ({tuning.thread_windows} / 16 + 1);
    const ptrdiff_t wanted = worth < {tuning.thread_shares} ? worth : {tuning.thread_shares};
    return GS_THREADS && wanted > count ? (wanted + count - 1) / count : 1;
}
#endif
"""

_ALONG = """\
#ifndef GS_CONVOLVE@F
#define GS_CONVOLVE@F
/* Results of one channel that stand beside each other before they are put into their rows. Rows shorter than a vector
   have at most half of this in the picture. */
#define GS_FLAT@F {tuning.flat_results}
static GS_TILE_INLINE GS_CONTRACT void gs_convolve_of@f(int rows, int vectors, ptrdiff_t width, ptrdiff_t channels,
    ptrdiff_t p, ptrdiff_t q, const @real *x, ptrdiff_t xc, ptrdiff_t xp, ptrdiff_t xq, const @real *w, @real *y,
    ptrdiff_t yr) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t over = width - GS_LANES@F; /* where the last vector begins */
    gs_vector@f sum[GS_TILE_ROWS][{tuning.tile_vectors}], row[{tuning.tile_vectors}];
    ptrdiff_t at[{tuning.tile_vectors}];
    GS_UNROLLED
    for (int j = 0; j < vectors; ++j) {
        at[j] = j == 0 ? 0 : over * j / (vectors - 1);
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            sum[i][j] = zero;
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        for (ptrdiff_t u = 0; u < p; ++u) {
            const @real *seen = x + c * xc + u * xp;
            GS_ROLLED
            for (ptrdiff_t v = 0; v < q; ++v, seen += xq, w += rows) {
                GS_UNROLLED
                for (int j = 0; j < vectors; ++j) {
                    row[j] = *(const gs_vector@f *)(seen + at[j]);
                }
                GS_LOADED;
                GS_UNROLLED
                for (int i = 0; i < rows; ++i) {
                    const @real tap = w[i];
                    GS_UNROLLED
                    for (int j = 0; j < vectors; ++j) {
                        sum[i][j] += tap * row[j];
                    }
                }
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            *(gs_vector@f *)(y + i * yr + at[j]) = sum[i][j];
        }
    }
}
#define GS_CONVOLVE_CASES@F(rows)                                                                                    \\
    case 2 * (rows):                                                                                                 \\
        gs_convolve_of@f(rows, 1, width, channels, p, q, x, xc, xp, xq, w, y, yr);                                   \\
        break;                                                                                                       \\
    case 2 * (rows) + 1:                                                                                             \\
        gs_convolve_of@f(rows, {tuning.tile_vectors}, width, channels, p, q, x, xc, xp, xq, w, y, yr);               \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_convolve_tile@f(ptrdiff_t rows, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t p,
    ptrdiff_t q, const @real *x, ptrdiff_t xc, ptrdiff_t xp, ptrdiff_t xq, const @real *w, @real *y, ptrdiff_t yr) {
    /* Some neighbouring results, of a few channels: `width` of them, for which vectors may overlap. */
    switch (2 * (int)rows + (width > GS_LANES@F)) {
    GS_CONVOLVE_CASES@F(1)
    GS_CONVOLVE_CASES@F(2)
    GS_CONVOLVE_CASES@F(3)
    GS_CONVOLVE_CASES@F(4)
#if GS_TILE_ROWS > 4
    GS_CONVOLVE_CASES@F(5)
    GS_CONVOLVE_CASES@F(6)
#endif
#if GS_TILE_ROWS > 6
    GS_CONVOLVE_CASES@F(7)
    GS_CONVOLVE_CASES@F(8)
#endif
    default:
        break;
    }
}

static void gs_convolve_row@f(ptrdiff_t rows, ptrdiff_t channels, ptrdiff_t p, ptrdiff_t q, const @real *x,
    ptrdiff_t xc, ptrdiff_t xp, ptrdiff_t xq, const @real *w, @real *y, ptrdiff_t yr, ptrdiff_t n) {
    /* n neighbouring results, a vector at least, of a few channels: the last ones are computed twice where they fill no
       whole vectors. */
    const ptrdiff_t most = {tuning.tile_vectors} * GS_LANES@F;
    for (ptrdiff_t j = 0, width; j < n; j += width) {
        const ptrdiff_t left = n - j;
        width = left > most ? most : left > (most - GS_LANES@F) ? left : GS_LANES@F;
        j = left < width ? n - width : j;
        gs_convolve_tile@f(rows, width, channels, p, q, x + j, xc, xp, xq, w, y + j, yr);
    }
}

static void gs_convolve@f(const @real *x, const @real *w, @real *y, @real *work, ptrdiff_t batch, ptrdiff_t groups,
    ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q,
    ptrdiff_t step, ptrdiff_t dp, ptrdiff_t dq) {
    /* y[., ., o, i, j] = sum of x[., ., c, i*step + u*dp, j + v*dq] * w[., o, c, u, v] over c, u < p and v < q, for
       pictures of h by b and results of m by n. Weights are copied tap by tap. Where rows of results fill vectors
       badly, rows of the picture are taken as one: what stands over the end of a row is computed, and left out. Threads
       have pictures, rows of them, or parts of long rows: each result is one sum, whoever has it. */
    const ptrdiff_t taps = channels * p * q, one = (n + GS_LANES@F - 1) / GS_LANES@F;
    const ptrdiff_t whole = (m - 1) * b + n, least = (whole + GS_LANES@F - 1) / GS_LANES@F;
    const ptrdiff_t fit = n < GS_FLAT@F ? (GS_FLAT@F - n) / b + 1 : 1, times = (m + fit - 1) / fit;
    const ptrdiff_t some = (m + times - 1) / times, most = {tuning.tile_vectors} * GS_LANES@F;
    const int flat = step == 1 && 2 * b <= GS_FLAT@F && (n < GS_LANES@F || 5 * least < 4 * m * one);
    const ptrdiff_t products = batch * groups * out * m * n * taps, pieces = gs_pieces(batch * groups, products);
    const ptrdiff_t units = flat ? times : m, high = pieces < units ? pieces : units;
    const ptrdiff_t stretch = flat || n < 4 * most ? n : 4 * most, along = n / stretch;
    const ptrdiff_t wide = pieces / high < along ? pieces / high : along;
    for (ptrdiff_t t = 0, o = 0, rows; o < groups * out; o += rows) {
        rows = gs_tile_height(out - o % out);
        for (ptrdiff_t k = 0; k < taps; ++k) {
            for (ptrdiff_t i = 0; i < rows; ++i, ++t) {
                work[t] = w[(o + i) * taps + k];
            }
        }
    }
    GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
    for (ptrdiff_t t = 0; t < batch * groups * high * wide; ++t) {
        const ptrdiff_t picture = t / wide / high, part = t / wide % high, column = t % wide;
        const ptrdiff_t first = units * part / high, last = units * (part + 1) / high;
        const ptrdiff_t from = along * column / wide * stretch;
        const ptrdiff_t to = column + 1 == wide ? n : along * (column + 1) / wide * stretch;
        const @real *const seen = x + picture * channels * h * b + from;
        const @real *weights = work + picture % groups * out * taps;
        @real *into = y + picture * out * m * n + from;
        @real kept[GS_TILE_ROWS * GS_FLAT@F];
        for (ptrdiff_t o = 0, rows; o < out; o += rows, weights += rows * taps, into += rows * m * n) {
            rows = gs_tile_height(out - o);
            for (ptrdiff_t k = first; k < (flat ? 0 : last); ++k) {
                gs_convolve_row@f(rows, channels, p, q, seen + k * step * b, h * b, dp * b, dq, weights, into + k * n,
                    m * n, to - from);
            }
            for (ptrdiff_t k = first; k < (flat ? last : 0); ++k) {
                const ptrdiff_t i = k * some < m - some ? k * some : m - some, done = k * some - i;
                gs_convolve_row@f(rows, channels, p, q, seen + i * b, h * b, dp * b, dq, weights, kept, GS_FLAT@F,
                    (some - 1) * b + n);
                for (ptrdiff_t l = 0; l < rows; ++l) {
                    for (ptrdiff_t r = done; r < some; ++r) {
                        gs_copy_row@f(kept + l * GS_FLAT@F + r * b, into + (l * m + i + r) * n, n);
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
#if GS_VECTOR_BYTES == 64 /* channels that meet 3 places at a time, in registers */
#define GS_MEETINGS@F {tuning.slope_channels_512}
#else
#define GS_MEETINGS@F {tuning.slope_channels}
#endif
#if GS_VECTOR_BYTES > 0
typedef @whole gs_mask@f __attribute__((vector_size(GS_VECTOR_BYTES), aligned(sizeof(@whole)), may_alias));
#define GS_MASKED@F(x, mask) ((gs_vector@f)((x) & (mask)))
#else
typedef @real gs_mask@f;
#define GS_MASKED@F(x, mask) ((mask) != 0 ? (x) : 0)
#endif
static GS_TILE_INLINE GS_CONTRACT void gs_correlate_of@f(int rows, int places, ptrdiff_t channels, ptrdiff_t lines,
    ptrdiff_t length, const @real *const *x, ptrdiff_t xc, ptrdiff_t xl, const @real *w, const @real *masks,
    @real *const *y, ptrdiff_t yr, int add) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t last = length - GS_LANES@F;
    gs_vector@f sum[GS_MEETINGS@F][3], seen[3], kept[GS_MEETINGS@F][3];
    const @real *place[3];
    GS_UNROLLED
    for (int j = 0; j < places; ++j) {
        place[j] = x[j];
        GS_UNROLLED
        for (int i = 0; i < rows; ++i) {
            sum[i][j] = zero;
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        for (ptrdiff_t l = 0; l < lines; ++l) {
            GS_ROLLED
            for (ptrdiff_t v = 0; v < length; v += GS_LANES@F, w += rows * GS_LANES@F) {
                const ptrdiff_t from = c * xc + l * xl + (v < last ? v : last);
                const gs_mask@f mask = *(const gs_mask@f *)(masks + v);
                GS_UNROLLED
                for (int j = 0; j < places; ++j) {
                    seen[j] = GS_MASKED@F(*(const gs_mask@f *)(place[j] + from), mask);
                }
                GS_UNROLLED
                for (int i = 0; i < rows; ++i) {
                    const gs_vector@f tap = *(const gs_vector@f *)(w + i * GS_LANES@F);
                    GS_LOADED;
                    GS_UNROLLED
                    for (int j = 0; j < places; ++j) {
                        sum[i][j] += tap * seen[j];
                    }
                }
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < rows; ++i) {
        GS_UNROLLED
        for (int j = 0; j < places; ++j) {
            kept[i][j] = sum[i][j];
        }
    }
    GS_ROLLED
    for (int i = 0; i < rows; ++i) {
        GS_ROLLED
        for (int j = 0; j < places; ++j) {
            const @real total = gs_total@f(kept[i][j]);
            y[j][i * yr] = add ? y[j][i * yr] + total : total;
        }
    }
}
#define GS_CORRELATE_CASES@F(rows)                                                                                   \\
    case 2 * (rows):                                                                                                 \\
        gs_correlate_of@f(rows, 1, channels, lines, length, x, xc, xl, w, masks, y, yr, add);                        \\
        break;                                                                                                       \\
    case 2 * (rows) + 1:                                                                                             \\
        gs_correlate_of@f(rows, 3, channels, lines, length, x, xc, xl, w, masks, y, yr, add);                        \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_correlate_tile@f(ptrdiff_t rows, int wide, ptrdiff_t channels, ptrdiff_t lines,
    ptrdiff_t length, const @real *const *x, ptrdiff_t xc, ptrdiff_t xl, const @real *w, const @real *masks,
    @real *const *y, ptrdiff_t yr, int add) {
    /* One place or three of the results, of a few channels: with `add`, more of each sum. */
    switch (2 * (int)rows + wide) {
    GS_CORRELATE_CASES@F(1)
    GS_CORRELATE_CASES@F(2)
    GS_CORRELATE_CASES@F(3)
    GS_CORRELATE_CASES@F(4)
#if GS_MEETINGS@F > 4
    GS_CORRELATE_CASES@F(5)
    GS_CORRELATE_CASES@F(6)
    GS_CORRELATE_CASES@F(7)
    GS_CORRELATE_CASES@F(8)
#endif
    default:
        break;
    }
}

static GS_NOINLINE void gs_taps@f(const @real *w, @real *line, @real *to, ptrdiff_t rows, ptrdiff_t between,
    ptrdiff_t length, ptrdiff_t runs, ptrdiff_t q, ptrdiff_t b) {
    /* A line of each of some filters, as a tile reads them: of each b numbers of it q are taps, and the others 0, as in
       `line`. The last vector ends with the line, and has 0 for what the one before it has. */
    const ptrdiff_t size = (length + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, shift = size - length;
    const ptrdiff_t cut = size - GS_LANES@F;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const @real *from = w + i * between;
        for (ptrdiff_t u = 0; u < runs; ++u, from += q) {
            const ptrdiff_t room = cut < u * b ? 0 : cut - u * b, first = room < q ? room : q;
            gs_copy_row@f(from, line + u * b, first);
            gs_copy_row@f(from + first, line + u * b + first + shift, q - first);
        }
        for (ptrdiff_t v = 0; v < size; v += GS_LANES@F) {
            *(gs_vector@f *)(to + v * rows + i * GS_LANES@F) = *(const gs_vector@f *)(line + v);
        }
    }
}

static void gs_correlate@f(const @real *x, const @real *w, @real *y, @real *work, ptrdiff_t batch, ptrdiff_t groups,
    ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q,
    ptrdiff_t step, ptrdiff_t sn, ptrdiff_t dp, ptrdiff_t room, ptrdiff_t own) {
    /* y[., ., o, i, j] = sum of x[., ., c, i*step + u*dp, j*sn + v] * w[., o, c, u, v] over c, u < p and v < q, for
       pictures of h by b and results of m by n: sums along rows of taps, or along all of them, where what stands over
       the end of a row in the picture meets zeros, and is 0 itself, as 0 times inf is NaN. As many lines of each filter
       as `room` numbers hold are copied, by shares that have one of `own` lines for themselves, and stay in a cache
       while all results get their part of the sum. Threads have results. */
    const ptrdiff_t whole = (p - 1) * b + q, apart = p * ((q + GS_LANES@F - 1) / GS_LANES@F);
    const int fewer = whole <= room && (whole + GS_LANES@F - 1) / GS_LANES@F < apart;
    const int flat = dp == 1 && GS_LANES@F > 1 && (q < GS_LANES@F || fewer);
    const ptrdiff_t lines = flat ? 1 : p, length = flat ? whole : q, runs = p / lines;
    const ptrdiff_t size = (length + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, shift = size - length;
    const ptrdiff_t cut = size - GS_LANES@F, fit = room < size ? 1 : room / size;
    const ptrdiff_t some = fit < lines ? fit : lines, many = fit < lines ? 1 : fit / lines;
    const ptrdiff_t tiles = (out + GS_MEETINGS@F - 1) / GS_MEETINGS@F, three = m * n / 3, places = m * n - 2 * three;
    const gs_vector@f zero = {0};
    @real *const masks = (@real *)(((size_t)work + 63) / 64 * 64), *const held = masks + size;
    @real *const packed = held + own * size;
    for (ptrdiff_t v = 0; v < size; v += GS_LANES@F) {
        *(gs_vector@f *)(masks + v) = zero;
    }
    for (ptrdiff_t u = 0; u < runs; ++u) {
        for (ptrdiff_t f = u * b; f < u * b + q; ++f) {
            masks[f < cut ? f : f + shift] = 1;
        }
    }
    for (ptrdiff_t v = 0; v < size; v += GS_LANES@F) {
        *(gs_mask@f *)(masks + v) = *(const gs_vector@f *)(masks + v) != zero;
    }
    for (ptrdiff_t at = 0, count; at < channels * lines; at += count) {
        const ptrdiff_t channel = at / lines, line = at % lines, left = channels - channel, rest = lines - line;
        const ptrdiff_t deep = left < many ? left : many, tall = rest < some ? rest : some;
        const ptrdiff_t products = groups * out * batch * m * n * deep * tall * length;
        const ptrdiff_t pieces = gs_pieces(groups * tiles * batch, products), cuts = pieces < places ? pieces : places;
        const ptrdiff_t jobs = groups * tiles * (count = deep * tall), shares = jobs < own ? jobs : own;
        GS_PARALLEL(schedule(static) if(groups * out * count * size >= {tuning.thread_elements}))
        for (ptrdiff_t k = 0; k < shares; ++k) {
            for (ptrdiff_t v = 0; v < size; v += GS_LANES@F) {
                *(gs_vector@f *)(held + k * size + v) = zero;
            }
            for (ptrdiff_t t = jobs * k / shares; t < jobs * (k + 1) / shares; ++t) {
                const ptrdiff_t tile = t / count, r = t % count;
                const ptrdiff_t first = tile / tiles * out, o = tile % tiles * GS_MEETINGS@F;
                const ptrdiff_t rows = out - o < GS_MEETINGS@F ? out - o : GS_MEETINGS@F;
                gs_taps@f(w + ((first + o) * channels * lines + at + r) * runs * q, held + k * size,
                    packed + ((first + o) * count + r * rows) * size, rows, channels * p * q, length, runs, q, b);
            }
        }
        GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
        for (ptrdiff_t t = 0; t < groups * tiles * batch * cuts; ++t) {
            const ptrdiff_t part = t % cuts, s = t / cuts % batch, tile = t / cuts / batch;
            const ptrdiff_t g = tile / tiles, o = tile % tiles * GS_MEETINGS@F, end = places * (part + 1) / cuts;
            const ptrdiff_t rows = out - o < GS_MEETINGS@F ? out - o : GS_MEETINGS@F;
            const @real *const picture = x + ((s * groups + g) * channels + channel) * h * b + line * dp * b;
            @real *const to = y + ((s * groups + g) * out + o) * m * n;
            for (ptrdiff_t k = places * part / cuts; k < end; ++k) {
                const ptrdiff_t first = k < three ? 3 * k : 2 * three + k;
                const @real *seen[3];
                @real *into[3];
                for (ptrdiff_t j = 0; j < (k < three ? 3 : 1); ++j) {
                    seen[j] = picture + (first + j) / n * step * b + (first + j) % n * sn;
                    into[j] = to + first + j;
                }
                gs_correlate_tile@f(rows, k < three, deep, tall, length, seen, h * b, dp * b,
                    packed + (g * out + o) * count * size, masks, into, m * n, at > 0);
            }
        }
    }
}
#endif
"""

_BACK = """\
#ifndef GS_CONVOLVE_BACK@F
#define GS_CONVOLVE_BACK@F
static void gs_convolve_back@f(const @real *x, const @real *w, @real *y, @real *work, ptrdiff_t batch,
    ptrdiff_t groups, ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t p, ptrdiff_t q, ptrdiff_t dp, ptrdiff_t dq, ptrdiff_t sm, ptrdiff_t sn, ptrdiff_t top, ptrdiff_t left,
    ptrdiff_t rows, ptrdiff_t columns) {
    /* The same with steps of 1, where x has zeros around its rows by columns of elements, which begin at top and left
       and are sm and sn apart. Weights that are inf or NaN meet these alone: times such a zero they would be NaN. */
    const ptrdiff_t taps = channels * p * q;
    int finite = 1;
    for (ptrdiff_t i = 0; i < groups * out * taps; ++i) {
        finite &= w[i] - w[i] == 0;
    }
    if (finite) {
        gs_convolve@f(x, w, y, work, batch, groups, out, channels, h, b, m, n, p, q, 1, dp, dq);
        return;
    }
    GS_PARALLEL(schedule(static) if(batch * groups * out * m * n * taps >= {tuning.thread_windows}))
    for (ptrdiff_t i = 0; i < batch * groups * out * m * n; ++i) {
        const ptrdiff_t row = i / n % m, column = i % n, at = i / (n * m), o = at % (groups * out);
        const @real *const weights = w + o * taps;
        const @real *const seen = x + at / out * channels * h * b;
        @real total = 0;
        for (ptrdiff_t t = 0; t < taps; ++t) {
            const ptrdiff_t u = t / q % p * dp, v = t % q * dq, r = row + u - top, c = column + v - left;
            if (r >= 0 && r % sm == 0 && r < rows * sm && c >= 0 && c % sn == 0 && c < columns * sn) {
                total += seen[(t / (p * q) * h + row + u) * b + column + v] * weights[t];
            }
        }
        y[i] = total;
    }
}
#endif
"""

ALONG = widths(COMPILERS, VECTORS, FEW, HEIGHTS, _COPY, PIECES, _ALONG)
BACK = widths(COMPILERS, VECTORS, FEW, HEIGHTS, _COPY, PIECES, _ALONG, _BACK)
ACROSS = widths(COMPILERS, VECTORS, FEW, TOTAL, _COPY, PIECES, _ACROSS)
