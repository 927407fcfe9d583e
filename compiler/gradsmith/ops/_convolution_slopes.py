"""C text of a convolution's slopes by its weights: tiles of taps by filters in registers, vectors of filters.

In: nothing. Out: `SLOPES`: the text of one function, in double and in float. Guarantee: that of `ops._registers`; each
sum goes over places in one order, whatever the number of threads.
"""

from __future__ import annotations

from ._registers import COMPILERS, FEW, VECTORS, widths

__all__ = ["SLOPES"]

#: How rows become columns. `ops._tiles` packs panels of products in the same way, but a panel at a time.
_TURN = """\
#ifndef GS_TURN@F
#define GS_TURN@F
#if GS_VECTOR_BYTES > 0
#if defined(__clang__) || __GNUC__ >= 12
#define GS_WOVEN@F(to, a, b, order, ...) to = __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef @whole gs_weave@f __attribute__((vector_size(16)));
#define GS_WOVEN@F(to, a, b, order, ...) const gs_weave@f order = {__VA_ARGS__}; to = __builtin_shuffle(a, b, order)
#endif
static GS_TILE_INLINE void gs_woven@f(gs_few@f a, gs_few@f b, gs_few@f *low, gs_few@f *high) {
    GS_WOVEN@F(*low, a, b, lows, @lows);
    GS_WOVEN@F(*high, a, b, highs, @highs);
}
#endif
static GS_NOINLINE void gs_turn@f(const @real *from, ptrdiff_t between, ptrdiff_t rows, ptrdiff_t columns, @real *to,
    ptrdiff_t apart) {
    /* Rows become columns; squares of 16 bytes a side are turned in registers. */
    ptrdiff_t whole = 0, across = 0;
#if GS_VECTOR_BYTES > 0
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real));
    whole = rows - rows % side;
    across = columns - columns % side;
    for (ptrdiff_t j = 0; j < across; j += side) {
        GS_ROLLED
        for (ptrdiff_t i = 0; i < whole; i += side) {
            gs_few@f x[4], z[4];
            GS_UNROLLED
            for (ptrdiff_t k = 0; k < side; ++k) {
                x[k] = *(const gs_few@f *)(from + (i + k) * between + j);
            }
            GS_UNROLLED
            for (ptrdiff_t k = 0; k < side / 2; ++k) {
                gs_woven@f(x[k], x[k + side / 2], &z[2 * k], &z[2 * k + 1]);
            }
            GS_UNROLLED
            for (ptrdiff_t k = 0; k < side; ++k) {
                x[k] = z[k];
            }
            if (side > 2) {
                gs_woven@f(z[0], z[2], &x[0], &x[1]);
                gs_woven@f(z[1], z[3], &x[2], &x[3]);
            }
            GS_UNROLLED
            for (ptrdiff_t k = 0; k < side; ++k) {
                *(gs_few@f *)(to + (j + k) * apart + i) = x[k];
            }
        }
    }
#endif
    for (ptrdiff_t i = 0; i < rows; ++i) {
        for (ptrdiff_t j = i < whole ? across : 0; j < columns; ++j) {
            to[j * apart + i] = from[i * between + j];
        }
    }
}
#endif
"""

_SLOPES = """\
#ifndef GS_SLOPES@F
#define GS_SLOPES@F
/* Most taps of a tile: of two vectors of filters, and of one where three taps stand beside each other each time. */
#define GS_SLOPE_TAPS (GS_VECTOR_BYTES == 64 ? 12 : 6)
#define GS_SLOPE_RUNS (GS_VECTOR_BYTES == 64 ? 18 : 9)
#if GS_VECTOR_BYTES > 0 && @pairs
typedef long long gs_pairs@f __attribute__((vector_size(GS_VECTOR_BYTES), may_alias));
typedef long long gs_pair@f __attribute__((aligned(sizeof(@real)), may_alias));
typedef long long gs_two_pairs@f __attribute__((vector_size(16), aligned(sizeof(@real)), may_alias));
static void gs_turn_pairs@f(const @real *from, ptrdiff_t between, ptrdiff_t rows, ptrdiff_t columns, @real *to,
    ptrdiff_t apart) {
    /* Rows of pairs of numbers become columns of pairs, as in gs_turn@f. */
    const ptrdiff_t whole = rows - rows % 2, across = columns - columns % 2;
    for (ptrdiff_t j = 0; j < across; j += 2) {
        for (ptrdiff_t i = 0; i < whole; i += 2) {
            const gs_two_pairs@f x = *(const gs_two_pairs@f *)(from + i * between + 2 * j);
            const gs_two_pairs@f z = *(const gs_two_pairs@f *)(from + (i + 1) * between + 2 * j);
            const gs_two_pairs@f low = {x[0], z[0]}, high = {x[1], z[1]};
            *(gs_two_pairs@f *)(to + j * apart + 2 * i) = low;
            *(gs_two_pairs@f *)(to + (j + 1) * apart + 2 * i) = high;
        }
    }
    for (ptrdiff_t i = 0; i < rows; ++i) {
        for (ptrdiff_t j = i < whole ? across : 0; j < columns; ++j) {
            *(gs_pair@f *)(to + j * apart + 2 * i) = *(const gs_pair@f *)(from + i * between + 2 * j);
        }
    }
}
#else
#define gs_turn_pairs@f gs_turn@f /* which is not called for pairs */
#endif
static GS_TILE_INLINE gs_vector@f gs_twice@f(const @real *x) {
    /* Two neighbours, again and again. */
#if GS_VECTOR_BYTES > 0 && @pairs
    const gs_pairs@f none = {0};
    return (gs_vector@f)(none + *(const gs_pair@f *)x);
#else
    const gs_vector@f none = {0};
    return none + *x;
#endif
}

static GS_TILE_INLINE GS_CONTRACT void gs_slopes_of@f(int threes, int vectors, int beside, int two, ptrdiff_t pictures,
    ptrdiff_t m, ptrdiff_t n, const @real *const *x, ptrdiff_t xs, ptrdiff_t xi, ptrdiff_t xj, const @real *g,
    @real *y, int add) {
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    const ptrdiff_t length = two ? n - n % 2 : n, step = two ? 2 : xj;
    const @real *row[6][3];
    gs_vector@f sum[6][3][2], slope[2];
    GS_UNROLLED
    for (int i = 0; i < threes; ++i) {
        GS_UNROLLED
        for (int k = 0; k < 3; ++k) {
            row[i][k] = beside ? x[3 * i] + k : x[3 * i + k];
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                sum[i][k][j] = zero;
            }
        }
    }
    for (ptrdiff_t s = 0; s < pictures; ++s) {
        for (ptrdiff_t r = 0; r < m; ++r) {
            ptrdiff_t at = s * xs + r * xi;
            GS_ROLLED
            for (ptrdiff_t c = 0; c < length; c += two ? 2 : 1, at += step, g += vectors * GS_LANES@F) {
                GS_UNROLLED
                for (int j = 0; j < vectors; ++j) {
                    slope[j] = *(const gs_vector@f *)(g + j * GS_LANES@F);
                }
                GS_LOADED;
                GS_UNROLLED
                for (int i = 0; i < threes; ++i) {
                    GS_UNROLLED
                    for (int k = 0; k < 3; ++k) {
                        if (two) {
                            sum[i][k][0] += gs_twice@f(row[i][k] + at) * slope[0];
                        } else {
                            const @real seen = row[i][k][at];
                            GS_UNROLLED
                            for (int j = 0; j < vectors; ++j) {
                                sum[i][k][j] += seen * slope[j];
                            }
                        }
                    }
                }
            }
            if (two && length < n) { /* the last one of a row has no neighbour */
                GS_UNROLLED
                for (int i = 0; i < threes; ++i) {
                    GS_UNROLLED
                    for (int k = 0; k < 3; ++k) {
                        const @real seen[2] = {row[i][k][at], 0};
                        sum[i][k][0] += gs_twice@f(seen) * *(const gs_vector@f *)g;
                    }
                }
                g += GS_LANES@F;
            }
        }
    }
    GS_UNROLLED
    for (int i = 0; i < threes; ++i) {
        GS_UNROLLED
        for (int k = 0; k < 3; ++k) {
            GS_UNROLLED
            for (int j = 0; j < vectors; ++j) {
                gs_vector@f *const to = (gs_vector@f *)(y + ((3 * i + k) * vectors + j) * GS_LANES@F);
                if (add) {
                    *to += sum[i][k][j];
                } else {
                    *to = sum[i][k][j];
                }
            }
        }
    }
}
#define GS_SLOPES_CASE@F(number, threes, vectors, beside, two)                                                       \\
    case number:                                                                                                     \\
        gs_slopes_of@f(threes, vectors, beside, two, pictures, m, n, x, xs, xi, xj, g, y, add);                      \\
        break;
#define GS_SLOPES_CASES@F(number, vectors, two)                                                                      \\
    GS_SLOPES_CASE@F(number + 3, 1, vectors, 0, two)                                                                 \\
    GS_SLOPES_CASE@F(number + 6, 2, vectors, 0, two)

static GS_NOINLINE GS_CONTRACT void gs_slopes_tile@f(ptrdiff_t taps, int vectors, int beside, int two,
    ptrdiff_t pictures, ptrdiff_t m, ptrdiff_t n, const @real *const *x, ptrdiff_t xs, ptrdiff_t xi, ptrdiff_t xj,
    const @real *g, @real *y, int add) {
    /* The sums of some taps of one vector of filters, or of two: all from y on, with `add` more of them. */
    switch ((int)taps + 32 * (vectors + 2 * beside - 1) + 128 * two) {
    GS_SLOPES_CASES@F(0, 1, 0)
    GS_SLOPES_CASE@F(9, 3, 1, 0, 0)
    GS_SLOPES_CASE@F(12, 4, 1, 0, 0)
    GS_SLOPES_CASES@F(32, 2, 0)
    GS_SLOPES_CASE@F(73, 3, 1, 1, 0)
#if GS_VECTOR_BYTES == 64
    GS_SLOPES_CASE@F(41, 3, 2, 0, 0)
    GS_SLOPES_CASE@F(44, 4, 2, 0, 0)
    GS_SLOPES_CASE@F(82, 6, 1, 1, 0)
#endif
#if GS_VECTOR_BYTES > 0 && @pairs
    GS_SLOPES_CASES@F(128, 1, 1)
    GS_SLOPES_CASE@F(137, 3, 1, 0, 1)
    GS_SLOPES_CASE@F(140, 4, 1, 0, 1)
    GS_SLOPES_CASE@F(201, 3, 1, 1, 1)
#if GS_VECTOR_BYTES == 64
    GS_SLOPES_CASE@F(210, 6, 1, 1, 1)
#endif
#endif
    default:
        break;
    }
}

static GS_NOINLINE void gs_slopes_packed@f(const @real *g, ptrdiff_t between, ptrdiff_t filters, ptrdiff_t rows,
    ptrdiff_t n, ptrdiff_t next, int vectors, int two, @real *to) {
    /* Rows of n places, `next` apart, of some filters: place by place, those of all filters, filled up with zeros. Or
       two places at a time. */
    const ptrdiff_t width = vectors * GS_LANES@F, stored = two ? (n + 1) / 2 : n, last = two && n % 2 > 0 ? n - 1 : n;
    const ptrdiff_t times = next == n && last == n ? 1 : rows, count = rows / times;
    const gs_vector@f zero = {0};
    for (ptrdiff_t k = 0; k < ((two ? 2 : 1) * filters < width ? rows * stored : 0); ++k) {
        *(gs_vector@f *)(to + (k + 1) * width - GS_LANES@F) = zero;
    }
    for (ptrdiff_t r = 0; r < times; ++r, g += next, to += count * stored * width) {
        if (two) {
            gs_turn_pairs@f(g, between, filters, count * (n / 2), to, width);
        } else {
            gs_turn@f(g, between, filters, count * n, to, width);
        }
        for (ptrdiff_t k = 0; k < (last < n ? filters : 0); ++k) {
            to[n / 2 * width + 2 * k] = g[k * between + last];
            to[n / 2 * width + 2 * k + 1] = 0;
        }
    }
}

static ptrdiff_t gs_slope_height@f(ptrdiff_t taps, int vectors, int beside) {
    /* How many taps tiles have: so many that few are computed for nothing. */
    const ptrdiff_t most = vectors == 2 ? GS_SLOPE_TAPS : 12, least = vectors == 2 ? 6 : 9;
    ptrdiff_t best = most;
    if (beside) {
        return taps % GS_SLOPE_RUNS == 0 ? GS_SLOPE_RUNS : 9;
    }
    if (taps <= least) {
        return (taps + 2) / 3 * 3;
    }
    for (ptrdiff_t k = most - 3; k >= least; k -= 3) {
        best = (taps + k - 1) / k * k < (taps + best - 1) / best * best ? k : best;
    }
    return best;
}

static void gs_slopes@f(const @real *x, const @real *g, @real *y, @real *work, ptrdiff_t batch, ptrdiff_t groups,
    ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t p, ptrdiff_t q,
    ptrdiff_t sm, ptrdiff_t sn, ptrdiff_t dp, ptrdiff_t dq, ptrdiff_t some, ptrdiff_t high, ptrdiff_t wide) {
    /* y[., o, c, u, v] = sum of x[s, ., c, i*sm + u*dp, j*sn + v*dq] * g[s, ., o, i, j] over s, i < m and j < n, for
       pictures of h by b. Blocks of `some` pictures, `high` rows and `wide` columns of g are turned, so that filters
       are innermost, and stay in a cache while all sums get their part. Threads have sums. */
    const ptrdiff_t taps = channels * p * q, filters = 2 * GS_LANES@F, sets = (out + filters - 1) / filters;
    const ptrdiff_t padded = (out + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, places = some * high * (wide + 1);
    const ptrdiff_t narrow = gs_slope_height@f(taps, 1, dq == 1 && q % 3 == 0 && taps % 9 == 0);
    const ptrdiff_t broad = gs_slope_height@f(taps, 2, 0), last = out - (sets - 1) * filters;
    const ptrdiff_t least = last > GS_LANES@F || (sets > 1 && broad < narrow) ? broad : narrow;
    const ptrdiff_t longest = (taps + least - 1) / least; /* most tiles of a set of filters */
    @real *const sums = (@real *)(((size_t)work + 63) / 64 * 64), *const turned = sums + groups * padded * (taps + 17);
    int add = 0;
    for (ptrdiff_t s = 0; s < batch; s += some) {
        for (ptrdiff_t i = 0; i < m; i += high) {
            for (ptrdiff_t j = 0; j < n; j += wide, add = 1) {
                const ptrdiff_t pictures = batch - s < some ? batch - s : some;
                const ptrdiff_t rows = m - i < high ? m - i : high, columns = n - j < wide ? n - j : wide;
                const ptrdiff_t products = groups * out * pictures * rows * columns * taps;
                const ptrdiff_t shared = GS_THREADS && products >= {tuning.thread_windows} ? 4 : 1;
                const ptrdiff_t cuts = rows < shared ? rows : shared;
                GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
                for (ptrdiff_t t = 0; t < groups * sets * pictures * cuts; ++t) {
                    const ptrdiff_t part = t % cuts, picture = t / cuts % pictures, set = t / cuts / pictures;
                    const ptrdiff_t group = set / sets, o = set % sets * filters;
                    const ptrdiff_t left = out - o < filters ? out - o : filters;
                    const ptrdiff_t from = rows * part / cuts, to = rows * (part + 1) / cuts;
                    const int vectors = left > GS_LANES@F ? 2 : 1, two = @pairs && sn == 1 && 2 * left <= GS_LANES@F;
                    const ptrdiff_t stored = (two ? (columns + 1) / 2 : columns) * vectors * GS_LANES@F;
                    gs_slopes_packed@f(g + (((s + picture) * groups + group) * out + o) * m * n + (i + from) * n + j,
                        m * n, left, to - from, columns, n, vectors, two,
                        turned + (group * padded + o) * places + (picture * rows + from) * stored);
                }
                GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
                for (ptrdiff_t t = 0; t < groups * sets * longest; ++t) {
                    const ptrdiff_t tile = t % longest, group = t / longest / sets, o = t / longest % sets * filters;
                    const int vectors = out - o > GS_LANES@F ? 2 : 1;
                    const int two = @pairs && sn == 1 && 2 * (out - o) <= GS_LANES@F;
                    const int beside = vectors == 1 && dq == 1 && q % 3 == 0 && taps % 9 == 0;
                    const ptrdiff_t height = gs_slope_height@f(taps, vectors, beside), first = tile * height;
                    const @real *const seen =
                        x + (s * groups + group) * channels * h * b + i * sm * b + j * sn;
                    const @real *row[18];
                    ptrdiff_t c = first / (p * q), u = first / q % p, v = first % q;
                    if (first >= taps) {
                        continue;
                    }
                    for (ptrdiff_t k = 0; k < height; ++k) { /* beyond the last tap is the last tap again */
                        row[k] = seen + (c * h + u * dp) * b + v * dq;
                        if (first + k + 1 < taps && ++v == q) {
                            v = 0;
                            if (++u == p) {
                                u = 0;
                                ++c;
                            }
                        }
                    }
                    gs_slopes_tile@f(height, vectors, beside, two, pictures, rows, columns, row,
                        groups * channels * h * b, sm * b, sn, turned + (group * padded + o) * places,
                        sums + (group * padded + o) * (taps + 17) + first * vectors * GS_LANES@F, add);
                }
            }
        }
    }
    GS_PARALLEL(schedule(static) if(groups * out * taps >= {tuning.thread_elements}))
    for (ptrdiff_t t = 0; t < groups * sets; ++t) {
        const ptrdiff_t group = t / sets, o = t % sets * filters, left = out - o < filters ? out - o : filters;
        const @real *const from = sums + (group * padded + o) * (taps + 17);
        const ptrdiff_t width = left > GS_LANES@F ? filters : GS_LANES@F;
        @real *const to = y + (group * out + o) * taps;
        if (@pairs && sn == 1 && 2 * left <= GS_LANES@F) {
            for (ptrdiff_t k = 0; k < left * taps; ++k) {
                const @real *const both = from + k % taps * width + k / taps * 2;
                to[k] = both[0] + both[1];
            }
        } else {
            gs_turn@f(from, width, taps, left, to, taps);
        }
    }
}
#endif
"""

SLOPES = widths(COMPILERS, VECTORS, FEW, _TURN, _SLOPES)
