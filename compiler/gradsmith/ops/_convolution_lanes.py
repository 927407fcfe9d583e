"""C texts of convolutions with a channel of results in each lane of a vector: tiles of a few places, wherever they lie.

In: nothing. Out: `LANES` and `SPREAD`: the texts of one function each, in double and in float. Guarantee: that of
`ops._registers`; no copy of the windows is made. Each result of `LANES` is the same sum, in the same order, as that of
`ops._convolution_tiles.ALONG`; `SPREAD`, its transpose, multiplies no zeros.
"""

from __future__ import annotations

from ._convolution_tiles import PIECES
from ._registers import COMPILERS, FEW, SQUARES, VECTORS, widths

__all__ = ["LANES", "SPREAD"]

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
static ptrdiff_t gs_places(ptrdiff_t left) {
    /* How many places the next tile has: at most one that is left out, but in the last. */
    return left >= GS_PLACES - 1 ? GS_PLACES : left <= 4 ? 4 : GS_PLACES > 8 ? 8 : GS_PLACES;
}
#endif
#ifndef GS_CONVOLVE_TILE@F
#define GS_CONVOLVE_TILE@F
static GS_TILE_INLINE GS_CONTRACT void gs_places_of@f(int vectors, int places, int pairs, ptrdiff_t channels,
    ptrdiff_t p, ptrdiff_t q, const @real *x, const ptrdiff_t *at, ptrdiff_t xn, ptrdiff_t xc, ptrdiff_t xp,
    ptrdiff_t xq, const @real *w, ptrdiff_t wc, ptrdiff_t wp, ptrdiff_t wq, @real *kept) {
    /* The second of a pair of places is xn behind the first: where each pair begins stays in a register. */
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
            const @real *seen = x + c * xc + u * xp, *next = seen + xn, *taps = w + c * wc + u * wp;
            GS_ROLLED
            for (ptrdiff_t v = 0; v < q; ++v, seen += xq, next += xq, taps += wq) {
                GS_UNROLLED
                for (int j = 0; j < vectors; ++j) {
                    tap[j] = *(const gs_vector@f *)(taps + j * GS_LANES@F);
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
        gs_places_of@f(vectors, places, pairs, channels, p, q, x, at, xn, xc, xp, xq, w, wc, wp, wq, kept);          \\
        break;

static GS_NOINLINE GS_CONTRACT void gs_places_tile@f(ptrdiff_t vectors, ptrdiff_t places, int even, ptrdiff_t channels,
    ptrdiff_t p, ptrdiff_t q, const @real *x, const ptrdiff_t *at, ptrdiff_t xn, ptrdiff_t xc, ptrdiff_t xp,
    ptrdiff_t xq, const @real *w, ptrdiff_t wc, ptrdiff_t wp, ptrdiff_t wq, @real *kept) {
    /* Results of one or two vectors of channels at a few places; of one vector, many of them are pairs or few. */
    for (int k = 0; k < 2 && q == 1; ++k) { /* what has one step is no loop: the next one is the innermost */
        q = p;
        xq = xp;
        wq = wp;
        p = channels;
        xp = xc;
        wp = wc;
        channels = 1;
    }
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

static GS_NOINLINE void gs_pack_lanes@f(const @real *w, ptrdiff_t taps, ptrdiff_t filters, ptrdiff_t width, @real *to,
    ptrdiff_t step) {
    /* The weights of a few channels, tap by tap, with zeros for lanes that have none. */
    ptrdiff_t o = 0;
#if GS_VECTOR_BYTES > 0
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real)), whole = taps - taps % side;
    GS_ROLLED
    for (; filters - o >= side; o += side) {
        GS_ROLLED
        for (ptrdiff_t t = 0; t < whole; t += side) {
            gs_turn_square@f(w + o * taps + t, taps, to + t * step + o, step);
        }
        for (ptrdiff_t t = whole; t < taps; ++t) {
            for (ptrdiff_t i = o; i < o + side; ++i) {
                to[t * step + i] = w[i * taps + t];
            }
        }
    }
#endif
    for (; o < width; ++o) {
        for (ptrdiff_t t = 0; t < taps; ++t) {
            to[t * step + o] = o < filters ? w[o * taps + t] : 0;
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
       pictures of h by b and results of m by n. A tile reads single numbers, at places in any rows of a few pictures,
       and meets each with two vectors of channels of results; these are transposed when they are stored, and where they
       will lie is asked for before. As many weights as stay in a cache meet all these places. Threads have tiles. */
    const ptrdiff_t taps = channels * p * q, most = 2 * GS_LANES@F, places = m * n;
    const ptrdiff_t all = (out + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, blocks = (all + most - 1) / most;
    const ptrdiff_t near = {tuning.lane_bytes} / (ptrdiff_t)sizeof(@real) / (taps * most);
    const ptrdiff_t side = (near > 1 ? near : 1) * most; /* channels whose weights stay in a cache */
    const ptrdiff_t products = batch * groups * out * places * taps;
    const ptrdiff_t fit = {tuning.lane_pictures} / (ptrdiff_t)sizeof(@real) / (channels * h * b + out * places);
    const ptrdiff_t few = fit < 1 ? 1 : fit < batch ? fit : batch, parts = (batch + few - 1) / few;
    const ptrdiff_t tiles = (few * places + GS_PLACES - 1) / GS_PLACES, pieces = gs_pieces(groups * parts, products);
    const ptrdiff_t cuts = pieces < tiles ? pieces : tiles;
    const int even = n % 2 == 0 && GS_PLACES % 2 == 0;
    @real *const packed = (@real *)(((size_t)work + 63) / 64 * 64);
    GS_PARALLEL(schedule(static) if(groups * all * taps >= {tuning.thread_elements}))
    for (ptrdiff_t t = 0; t < groups * blocks; ++t) {
        const ptrdiff_t g = t / blocks, o = t % blocks * most, width = all - o < most ? all - o : most;
        gs_pack_lanes@f(w + (g * out + o) * taps, taps, out - o < width ? out - o : width, width,
            packed + (g * all + o) * taps, width);
    }
    GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
    for (ptrdiff_t t = 0; t < groups * parts * cuts; ++t) {
        const ptrdiff_t g = t / cuts % groups, picture = t / cuts / groups * few;
        const ptrdiff_t count = (batch - picture < few ? batch - picture : few) * places;
        const ptrdiff_t first = tiles * (t % cuts) / cuts * GS_PLACES;
        const ptrdiff_t end = tiles * (t % cuts + 1) / cuts * GS_PLACES, last = end < count ? end : count;
        const @real *const seen = x + (picture * groups + g) * channels * h * b;
        const @real *const weights = packed + g * all * taps;
        @real *const into = y + (picture * groups + g) * out * places;
        @real kept[GS_PLACES * 2 * sizeof(gs_vector@f) / sizeof(@real)];
        ptrdiff_t at[GS_PLACES];
        for (ptrdiff_t from = 0; from < all; from += side) {
            const ptrdiff_t to = all - from < side ? all : from + side;
            ptrdiff_t s = first / places, i = first % places / n, j = first % n;
            for (ptrdiff_t k = first, tile, here; k < last; k += here) {
                const ptrdiff_t begin = s, place = i * n + j;
                tile = gs_places(last - k);
                here = last - k < tile ? last - k : tile;
                for (ptrdiff_t l = 0; l < here; ++l) {
                    at[l] = s * groups * channels * h * b + i * step * b + j * sn;
                    i += ++j == n;
                    j = j == n ? 0 : j;
                    s += i == m;
                    i = i == m ? 0 : i;
                }
                for (ptrdiff_t l = here; l < tile; ++l) { /* computed once more, and left out */
                    at[l] = at[0];
                }
                for (ptrdiff_t o = from; o < to; o += most) {
                    const ptrdiff_t width = all - o < most ? all - o : most, rest = out - o < width ? out - o : width;
                    @real *const channel = into + (begin * groups * out + o) * places;
                    for (ptrdiff_t l = 0; l < rest; ++l) {
                        GS_PREFETCH(channel + l * places + (place + here < places ? place + here : places) - 1);
                    }
                    gs_places_tile@f(width / GS_LANES@F, tile, even, channels, p, q, seen, at, sn, h * b, dp * b, dq,
                        weights + o * taps, p * q * width, q * width, width, kept);
                    for (ptrdiff_t l = 0, run; l < here; l += run) {
                        const ptrdiff_t behind = (place + l) % places, next = (place + l) / places;
                        run = here - l < places - behind ? here - l : places - behind;
                        gs_put_places@f(kept + l * width, width, channel + next * groups * out * places + behind,
                            places, run, rest);
                    }
                }
            }
        }
    }
}
#endif
"""

_MEETINGS = """\
#ifndef GS_MEET
#define GS_MEET
typedef struct { /* along one axis: elements that meet the same taps, in places that go back by each tap */
    ptrdiff_t tap, taps, apart, place, back, element, step, count;
} gs_meeting;
static int gs_meet(gs_meeting *met, ptrdiff_t all, ptrdiff_t places, ptrdiff_t dilation, ptrdiff_t first, ptrdiff_t low,
    ptrdiff_t high) {
    /* Which elements from `low` to `high`, counted from the `first`, these taps meet, and no other one of all: element
       tap*dilation + k*step is that of place k with the first tap, of place k - back with the second, and so on. */
    const ptrdiff_t next = met->tap + met->taps * met->apart, at = met->tap * dilation - first, step = met->step;
    const ptrdiff_t earliest = (met->taps - 1) * met->back, latest = places - met->back;
    const ptrdiff_t least = met->tap >= met->apart && latest > earliest ? latest : earliest;
    const ptrdiff_t most = next < all && met->taps * met->back < places ? met->taps * met->back : places;
    const ptrdiff_t begin = low > at ? (low - at + step - 1) / step : 0;
    const ptrdiff_t stop = high > at ? (high - at - 1) / step + 1 : 0;
    met->place = least > begin ? least : begin;
    met->count = (most < stop ? most : stop) - met->place;
    met->element = at + met->place * step;
    return met->tap + (met->taps - 1) * met->apart < all && met->count > 0;
}
#endif
"""

_SPREAD = """\
#ifndef GS_SPREAD_LANES@F
#define GS_SPREAD_LANES@F
static GS_NOINLINE void gs_spread_some@f(const gs_meeting *rows, const gs_meeting *columns, const @real *x,
    const @real *w, @real *y, ptrdiff_t pictures, ptrdiff_t xs, ptrdiff_t ys, ptrdiff_t out, ptrdiff_t channels,
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t h, ptrdiff_t b, ptrdiff_t p, ptrdiff_t q) {
    /* All elements of some pictures and channels that meet the same taps. Pairs are neighbours, or their pictures. */
    const ptrdiff_t taps = out * p * q, most = 2 * GS_LANES@F, count = rows->count * columns->count * pictures;
    const ptrdiff_t all = (channels + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F;
    const ptrdiff_t u = rows->taps - 1, v = columns->taps - 1; /* the last taps come first, with the first places */
    const ptrdiff_t tap = (p - 1 - rows->tap - u * rows->apart) * q + q - 1 - columns->tap - v * columns->apart;
    const @real *const seen = x + (rows->place - u * rows->back) * n + columns->place - v * columns->back;
    const int beside = GS_PLACES % 2 == 0 && columns->count % 2 == 0;
    const int twins = GS_PLACES % 2 == 0 && !beside && pictures % 2 == 0;
    @real kept[GS_PLACES * 2 * sizeof(gs_vector@f) / sizeof(@real)];
    ptrdiff_t at[GS_PLACES], into[GS_PLACES];
    ptrdiff_t s = 0, twin = 0, i = 0, j = 0;
    for (ptrdiff_t k = 0, tile, here; k < count; k += here) {
        tile = gs_places(count - k);
        here = count - k < tile ? count - k : tile;
        for (ptrdiff_t l = 0; l < here; ++l) {
            at[l] = (s + twin) * xs + i * n + j;
            into[l] = (s + twin) * ys + (rows->element + i * rows->step) * b + columns->element + j * columns->step;
            twin = twins && !twin;
            j += !twin;
            i += j == columns->count;
            j = j == columns->count ? 0 : j;
            s += i == rows->count ? 1 + twins : 0;
            i = i == rows->count ? 0 : i;
        }
        for (ptrdiff_t l = here; l < tile; ++l) { /* computed once more, and left out */
            at[l] = at[0];
        }
        for (ptrdiff_t c = 0; c < all; c += most) {
            const ptrdiff_t width = all - c < most ? all - c : most;
            const ptrdiff_t rest = channels - c < width ? channels - c : width;
            for (ptrdiff_t l = 0; l < rest; ++l) {
                GS_PREFETCH(y + (c + l) * h * b + into[here - 1]);
            }
            gs_places_tile@f(width / GS_LANES@F, tile, beside || twins, out, rows->taps, columns->taps, seen, at,
                twins ? xs : 1, m * n, rows->back * n, columns->back, w + c * taps + tap * width, p * q * width,
                rows->apart * q * width, columns->apart * width, kept);
            for (ptrdiff_t l = 0, run; l < here; l += run) {
                run = 1;
                while (l + run < here && into[l + run] == into[l] + run) {
                    ++run;
                }
                gs_put_places@f(kept + l * width, width, y + c * h * b + into[l], h * b, run, rest);
            }
        }
    }
}

static void gs_spread_lanes@f(const @real *x, const @real *w, @real *y, @real *work, ptrdiff_t batch,
    ptrdiff_t groups, ptrdiff_t out, ptrdiff_t channels, ptrdiff_t m, ptrdiff_t n, ptrdiff_t h, ptrdiff_t b,
    ptrdiff_t p, ptrdiff_t q, ptrdiff_t sm, ptrdiff_t sn, ptrdiff_t dp, ptrdiff_t dq, ptrdiff_t ap, ptrdiff_t aq,
    ptrdiff_t top, ptrdiff_t left, ptrdiff_t gaps) {
    /* y[., ., c, i*sm + u*dp - top, j*sn + v*dq - left] adds x[., ., o, i, j] * w[., o, c, u, v] over o, u < p and
       v < q, for pictures of m by n and results of h by b, some of which get nothing if there are `gaps`; what lies
       beside these is not computed. Elements that meet the same taps, which are ap and aq apart, are computed together:
       of a few pictures, whose edges fill tiles. No zero is multiplied. Threads have pictures, or rows of each. */
    const ptrdiff_t taps = out * p * q, most = 2 * GS_LANES@F;
    const ptrdiff_t xs = groups * out * m * n, ys = groups * channels * h * b;
    const ptrdiff_t all = (channels + GS_LANES@F - 1) / GS_LANES@F * GS_LANES@F, blocks = (all + most - 1) / most;
    const ptrdiff_t products = batch * groups * channels * m * n * taps, shares = gs_pieces(1, products);
    const ptrdiff_t fit = {tuning.lane_pictures} / (ptrdiff_t)sizeof(@real) / (out * m * n + channels * h * b);
    const ptrdiff_t near = {tuning.lane_bytes} / (ptrdiff_t)sizeof(@real) / (taps * most);
    const ptrdiff_t side = (near > 1 ? near : 1) * most; /* channels whose weights stay in a cache */
    const ptrdiff_t each = (batch * groups + shares - 1) / shares, few = fit < each ? fit : each;
    const ptrdiff_t some = few < 2 ? 1 : few - few % 2, parts = (batch + some - 1) / some;
    const ptrdiff_t pieces = gs_pieces(batch * groups, products), cuts = pieces < h ? pieces : h;
    @real *const packed = (@real *)(((size_t)work + 63) / 64 * 64);
    GS_PARALLEL(schedule(static) if(groups * all * taps >= {tuning.thread_elements}))
    for (ptrdiff_t t = 0; t < groups * blocks * out; ++t) {
        const ptrdiff_t o = t % out, g = t / out / blocks, c = t / out % blocks * most;
        const ptrdiff_t width = all - c < most ? all - c : most, rest = channels - c < width ? channels - c : width;
        gs_pack_lanes@f(w + ((g * out + o) * channels + c) * p * q, p * q, rest, width,
            packed + (g * all + c) * taps + (o * p * q + p * q - 1) * width, -width);
    }
    GS_PARALLEL(schedule(static) if(products >= {tuning.thread_windows}))
    for (ptrdiff_t t = 0; t < groups * parts * cuts; ++t) {
        const ptrdiff_t cut = t % cuts, g = t / cuts % groups, first = t / cuts / groups * some;
        const ptrdiff_t low = h * cut / cuts, high = h * (cut + 1) / cuts;
        const ptrdiff_t pictures = batch - first < some ? batch - first : some;
        const @real *const given = x + first * xs + g * out * m * n, *const weights = packed + g * all * taps;
        @real *const into = y + first * ys + g * channels * h * b;
        for (ptrdiff_t k = 0; k < (gaps ? pictures * channels : 0); ++k) {
            @real *const picture = into + k / channels * ys + k % channels * h * b;
            for (ptrdiff_t l = low * b; l < high * b; ++l) {
                picture[l] = 0;
            }
        }
        for (ptrdiff_t c = 0; c < channels; c += side) {
            for (ptrdiff_t u = 0; u < p * p; ++u) {
                gs_meeting rows = {u / p, u % p + 1, ap, 0, ap * dp / sm, 0, sm, 0};
                const int some_rows = gs_meet(&rows, p, m, dp, top, low, high);
                for (ptrdiff_t v = 0; v < (some_rows ? q * q : 0); ++v) {
                    gs_meeting columns = {v / q, v % q + 1, aq, 0, aq * dq / sn, 0, sn, 0};
                    if (gs_meet(&columns, q, n, dq, left, 0, b)) {
                        gs_spread_some@f(&rows, &columns, given, weights + c * taps, into + c * h * b, pictures, xs, ys,
                            out, channels - c < side ? channels - c : side, m, n, h, b, p, q);
                    }
                }
            }
        }
    }
}
#endif
"""

LANES = widths(COMPILERS, VECTORS, FEW, SQUARES, PIECES, _TILE, _LANES)
SPREAD = widths(COMPILERS, VECTORS, FEW, SQUARES, PIECES, _TILE, _MEETINGS, _SPREAD)
