"""C texts of convolutions with a channel of results in each lane of a vector: tiles of a few places, wherever they lie.

In: nothing. Out: `LANES`: the text of one function, in double and in float. Guarantee: that of
`ops._registers`; no copy of the windows is made, and each result is the same sum, in the same order, as that of the
kernels in `ops._convolution_tiles`.
"""

from __future__ import annotations

from ._convolution_tiles import PIECES
from ._registers import COMPILERS, FEW, SQUARES, VECTORS, widths

__all__ = ["LANES"]

_TILE = """\
#ifndef GS_PLACES
#if GS_VECTOR_BYTES == 64 /* of twice as many registers */
#define GS_PLACES {tuning.lane_places_512}
#else
#define GS_PLACES {tuning.lane_places}
#endif
#if defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__) && !defined(__TINYC__)
#define GS_EACH_PLACE _Pragma("GCC unroll 16")
#else
#define GS_EACH_PLACE GS_UNROLLED
#endif
#endif
#ifndef GS_CONVOLVE_TILE@F
#define GS_CONVOLVE_TILE@F
static GS_TILE_INLINE GS_CONTRACT void gs_places_of@f(int vectors, int places, int pairs, ptrdiff_t channels,
    ptrdiff_t p, ptrdiff_t q, const @real *x, const ptrdiff_t *at, ptrdiff_t xn, ptrdiff_t xc, ptrdiff_t xp,
    ptrdiff_t xq, const @real *w, @real *kept) {
    /* Pairs of places are neighbours: where each pair begins stays in a register. */
    GS_CONTRACTED
    const gs_vector@f zero = {0};
    gs_vector@f sum[GS_PLACES][2], tap[2];
    GS_EACH_PLACE
    for (int i = 0; i < places; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            sum[i][j] = zero;
        }
    }
    for (ptrdiff_t c = 0; c < channels; ++c) {
        for (ptrdiff_t u = 0; u < p; ++u) {
            const @real *seen = x + c * xc + u * xp, *next = seen + xn;
            GS_ROLLED
            for (ptrdiff_t v = 0; v < q; ++v, seen += xq, next += xq, w += vectors * GS_LANES@F) {
                GS_UNROLLED
                for (int j = 0; j < vectors; ++j) {
                    tap[j] = *(const gs_vector@f *)(w + j * GS_LANES@F);
                }
                if (vectors > 1) {
                    GS_LOADED;
                }
                GS_EACH_PLACE
                for (int i = 0; i < places; ++i) {
                    const @real one = pairs ? (i % 2 ? next : seen)[at[i / 2 * 2]] : seen[at[i]];
                    GS_UNROLLED
                    for (int j = 0; j < vectors; ++j) {
                        sum[i][j] += tap[j] * one;
                    }
                }
            }
        }
    }
    GS_EACH_PLACE
    for (int i = 0; i < places; ++i) {
        GS_UNROLLED
        for (int j = 0; j < vectors; ++j) {
            *(gs_vector@f *)(kept + (i * vectors + j) * GS_LANES@F) = sum[i][j];
        }
    }
}
#define GS_PLACES_CASE@F(vectors, places, pairs)                                                                     \\
    case 4 * (places) + 2 * (pairs) + (vectors) - 1:                                                                 \\
        gs_places_of@f(vectors, places, pairs, channels, p, q, x, at, xn, xc, xp, xq, w, kept);                      \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_places_tile@f(ptrdiff_t vectors, ptrdiff_t places, int even, ptrdiff_t channels,
    ptrdiff_t p, ptrdiff_t q, const @real *x, const ptrdiff_t *at, ptrdiff_t xn, ptrdiff_t xc, ptrdiff_t xp,
    ptrdiff_t xq, const @real *w, @real *kept) {
    /* Results of one or two vectors of channels at a few places; of one vector, many of them are pairs or few. */
    switch (4 * places + 2 * (vectors == 1 && even && places == GS_PLACES) + vectors - 1) {
#if GS_PLACES > 4
    GS_PLACES_CASE@F(1, 4, 0)
    GS_PLACES_CASE@F(2, 4, 0)
#endif
#if GS_PLACES > 8
    GS_PLACES_CASE@F(1, 8, 0)
    GS_PLACES_CASE@F(2, 8, 0)
#endif
    GS_PLACES_CASE@F(1, GS_PLACES, 0)
    GS_PLACES_CASE@F(2, GS_PLACES, 0)
    GS_PLACES_CASE@F(1, GS_PLACES, 1)
    default:
        break;
    }
}

static GS_NOINLINE void gs_put_places@f(const @real *kept, ptrdiff_t width, @real *y, ptrdiff_t yr, ptrdiff_t places,
    ptrdiff_t filters) {
    /* What a tile has, a channel in each lane, to rows of each channel. */
    ptrdiff_t o = 0;
#if GS_VECTOR_BYTES > 0
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real));
    GS_ROLLED
    for (; places >= side && filters - o >= side; o += side) {
        GS_ROLLED
        for (ptrdiff_t i = 0; i < places; i += side) {
            i = i < places - side ? i : places - side;
            gs_turn_square@f(kept + i * width + o, width, y + o * yr + i, yr);
        }
    }
#endif
    for (; o < filters; ++o) {
        GS_ROLLED
        for (ptrdiff_t i = 0; i < places; ++i) {
            y[o * yr + i] = kept[i * width + o];
        }
    }
}

static GS_NOINLINE void gs_pack_lanes@f(const @real *w, ptrdiff_t taps, ptrdiff_t filters, ptrdiff_t width, @real *to) {
    /* The weights of a few channels, tap by tap, with zeros for lanes that have none. */
    ptrdiff_t o = 0;
#if GS_VECTOR_BYTES > 0
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real)), whole = taps - taps % side;
    GS_ROLLED
    for (; filters - o >= side; o += side) {
        GS_ROLLED
        for (ptrdiff_t t = 0; t < whole; t += side) {
            gs_turn_square@f(w + o * taps + t, taps, to + t * width + o, width);
        }
        for (ptrdiff_t t = whole; t < taps; ++t) {
            for (ptrdiff_t i = o; i < o + side; ++i) {
                to[t * width + i] = w[i * taps + t];
            }
        }
    }
#endif
    for (; o < width; ++o) {
        for (ptrdiff_t t = 0; t < taps; ++t) {
            to[t * width + o] = o < filters ? w[o * taps + t] : 0;
        }
    }
}
#endif
"""

_LANES = """\
#ifndef GS_CONVOLVE_LANES@F
#define GS_CONVOLVE_LANES@F
static void gs_convolve_lanes@f(const @real *x, const @real *w, @real *y, @real *work, ptrdiff_t batch,
    ptrdiff_t groups, ptrdiff_t out, ptrdiff_t channels, ptrdiff_t h, ptrdiff_t b, ptrdiff_t m, ptrdiff_t n,
    ptrdiff_t p, ptrdiff_t q, ptrdiff_t step, ptrdiff_t sn, ptrdiff_t dp, ptrdiff_t dq) {
    /* y[., ., o, i, j] = sum of x[., ., c, i*step + u*dp, j*sn + v*dq] * w[., o, c, u, v] over c, u < p and v < q, for
       pictures of h by b and results of m by n. A tile reads single numbers of the picture, at places in any rows, and
       meets each with two vectors of channels of results; these are transposed when they are stored, and where they
       will lie is asked for before. As many weights as stay in a cache meet all places. Threads have tiles. */
    const ptrdiff_t taps = channels * p * q, most = 2 * GS_LANES@F, places = m * n;
    const ptrdiff_t all = (out + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, blocks = (all + most - 1) / most;
    const ptrdiff_t fit = {tuning.lane_bytes} / (ptrdiff_t)sizeof(@real) / (taps * most);
    const ptrdiff_t some = (fit > 1 ? fit : 1) * most, tiles = (places + GS_PLACES - 1) / GS_PLACES;
    const ptrdiff_t products = batch * groups * out * places * taps, pieces = gs_pieces(batch * groups, products);
    const ptrdiff_t cuts = pieces < tiles ? pieces : tiles;
    const int even = n % 2 == 0 && GS_PLACES % 2 == 0;
    @real *const packed = (@real *)(((size_t)work + 63) / 64 * 64);
    GS_PARALLEL(schedule(static) if(groups * all * taps >= {tuning.thread_elements}))
    for (ptrdiff_t t = 0; t < groups * blocks; ++t) {
        const ptrdiff_t g = t / blocks, o = t % blocks * most, width = all - o < most ? all - o : most;
        gs_pack_lanes@f(w + (g * out + o) * taps, taps, out - o < width ? out - o : width, width,
            packed + (g * all + o) * taps);
    }
    GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
    for (ptrdiff_t t = 0; t < batch * groups * cuts; ++t) {
        const ptrdiff_t picture = t / cuts, first = tiles * (t % cuts) / cuts * GS_PLACES;
        const ptrdiff_t end = tiles * (t % cuts + 1) / cuts * GS_PLACES, last = end < places ? end : places;
        const @real *const seen = x + picture * channels * h * b;
        const @real *const weights = packed + picture % groups * all * taps;
        @real kept[GS_PLACES * 2 * sizeof(gs_vector@f) / sizeof(@real)];
        ptrdiff_t at[GS_PLACES];
        for (ptrdiff_t from = 0; from < all; from += some) {
            const ptrdiff_t to = all - from < some ? all : from + some;
            ptrdiff_t i = first / n, j = first % n;
            for (ptrdiff_t k = first, tile, here; k < last; k += here) {
                tile = last - k >= GS_PLACES - 1 ? GS_PLACES : last - k <= 4 ? 4 : GS_PLACES > 8 ? 8 : GS_PLACES;
                here = last - k < tile ? last - k : tile;
                for (ptrdiff_t l = 0; l < here; ++l) {
                    at[l] = i * step * b + j * sn;
                    i += ++j == n;
                    j = j == n ? 0 : j;
                }
                for (ptrdiff_t l = here; l < tile; ++l) { /* computed once more, and left out */
                    at[l] = at[0];
                }
                for (ptrdiff_t o = from; o < to; o += most) {
                    const ptrdiff_t width = all - o < most ? all - o : most, rest = out - o < width ? out - o : width;
                    @real *const into = y + (picture * out + o) * places + k;
                    for (ptrdiff_t l = 0; l < rest; ++l) {
                        GS_PREFETCH(into + l * places + here - 1);
                    }
                    gs_places_tile@f(width / GS_LANES@F, tile, even, channels, p, q, seen, at, sn, h * b, dp * b, dq,
                        weights + o * taps, kept);
                    gs_put_places@f(kept, width, into, places, here, rest);
                }
            }
        }
    }
}
#endif
"""

LANES = widths(COMPILERS, VECTORS, FEW, SQUARES, PIECES, _TILE, _LANES)
