"""C text of products of small matrices: rows that are a few vectors, and sums of a few terms.

In: nothing. Out: `SMALL`, the texts of one function in double and in float. It is written into its callers, where
columns and terms are constants, so that no tests are left of it, and of its loops at most those over rows and stacks.
Guarantee: that of `ops._registers`; products and sums become fused multiply-adds where clang compiles, or for x86.
"""

from __future__ import annotations

from ._registers import COMPILERS, MASKS, VECTORS, widths

__all__ = ["MOST_TERMS", "SMALL"]

#: Terms of a sum, at most: that many rows of the right factor are in registers.
MOST_TERMS = 16

_TERMS = f"""\
#ifndef GS_TERMS /* loops over the terms of sums, and over lanes, of which nothing shall be left */
#if defined(__clang__)
#define GS_TERMS _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__) && !defined(__TINYC__) && __GNUC__ >= 8
#define GS_TERMS _Pragma("GCC unroll {MOST_TERMS}")
#else
#define GS_TERMS
#endif
#endif
"""

#: gcc fuses what it writes into a caller only where the caller may do so, hence its builtins.
_STRIP = """\
#ifndef GS_STRIP@bytes@F
#define GS_STRIP@bytes@F
#if GS_VECTOR_BYTES >= @bytes
typedef @real gs_strip@bytes@f __attribute__((vector_size(@bytes), aligned(sizeof(@real)), may_alias));
#if defined(__FMA__) && !defined(__clang__)
typedef @real gs_fused@bytes@f __attribute__((vector_size(@bytes)));
#define GS_FUSED@bytes@F(x, y, z) \\
    (gs_strip@bytes@f)@fused((gs_fused@bytes@f)(x), (gs_fused@bytes@f)(y), (gs_fused@bytes@f)(z)@rounding)
#else
#define GS_FUSED@bytes@F(x, y, z) ((z) + (x) * (y))
#endif
static GS_TILE_INLINE __attribute__((unused)) void gs_by_strips@f@bytes(ptrdiff_t columns, ptrdiff_t m, ptrdiff_t k,
    const @real *a, ptrdiff_t ar, ptrdiff_t ac, const @real *b, ptrdiff_t br, ptrdiff_t bc, @real *y, ptrdiff_t yr) {
    /* Columns of y = A B that are one vector, or its first lanes. */
    GS_CONTRACTED
    const ptrdiff_t lanes = @bytes / (ptrdiff_t)sizeof(@real);
    const gs_strip@bytes@f zero = {0};
    gs_strip@bytes@f row[@terms];
    GS_TERMS
    for (ptrdiff_t p = 0; p < k; ++p) {
        if (columns == lanes && bc == 1) {
            row[p] = *(const gs_strip@bytes@f *)(b + p * br);
            continue;
        }
@some        gs_strip@bytes@f some = zero; /* gcc warns where all lanes of an array's vector are set one by one */
        GS_TERMS
        for (ptrdiff_t q = 0; q < columns; ++q) {
            some[q] = b[p * br + q * bc];
        }
        row[p] = some;
    }
    GS_UNROLLED
    for (ptrdiff_t i = 0; i < m; ++i) {
        gs_strip@bytes@f sum = a[i * ar] * row[0];
        GS_TERMS
        for (ptrdiff_t p = 1; p < k; ++p) {
            sum = GS_FUSED@bytes@F(a[i * ar + p * ac] - zero, row[p], sum); /* x - 0 is x, in all lanes */
        }
        if (columns == lanes) {
            *(gs_strip@bytes@f *)(y + i * yr) = sum;
            continue;
        }
@put        GS_TERMS
        for (ptrdiff_t q = 0; q < columns; ++q) {
            y[i * yr + q] = sum[q];
        }
    }
}
#endif
#endif
"""
_SOME = """\
        if (bc == 1) {
            row[p] = gs_some@f(b + p * br, gs_first@f(columns));
            continue;
        }
"""
_PUT = """\
        gs_put_some@f(y + i * yr, sum, gs_first@f(columns));
        continue;
"""

_SMALL = """\
#ifndef GS_SMALL@F
#define GS_SMALL@F
static GS_TILE_INLINE void gs_small@f(const @real *a, const @real *b, @real *y, ptrdiff_t batch, ptrdiff_t m,
    ptrdiff_t n, ptrdiff_t k, ptrdiff_t as, ptrdiff_t ar, ptrdiff_t ac, ptrdiff_t bs, ptrdiff_t br, ptrdiff_t bc) {
    /* y = A B, m by n, for each of a batch: an element of A is a[i*ar + p*ac], one of B is b[p*br + j*bc], the next
       matrices begin as and bs further on. Vectors are as long as fits, with lanes masked, or overlap. */
#if GS_VECTOR_BYTES == 0
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs) {
        for (ptrdiff_t i = 0; i < m; ++i) {
            for (ptrdiff_t j = 0; j < n; ++j, ++y) {
                *y = 0;
                for (ptrdiff_t p = 0; p < k; ++p) {
                    *y += a[i * ar + p * ac] * b[p * br + j * bc];
                }
            }
        }
    }
#else
#define GS_STRIPS@F(bytes, j, columns) \\
    gs_by_strips@f##bytes(columns, m, k, a, ar, ac, b + (j) * bc, br, bc, y + (j), n)
    const ptrdiff_t lanes = GS_LANES@F, rest = n % lanes, whole = n - rest;
    for (ptrdiff_t s = 0; s < batch; ++s, a += as, b += bs, y += m * n) {
#if GS_VECTOR_BYTES == 64
        for (ptrdiff_t j = 0; j < whole; j += lanes) {
            GS_STRIPS@F(64, j, lanes);
        }
        if (rest == lanes / 2) {
            GS_STRIPS@F(32, whole, rest);
        } else if (rest == lanes / 4) {
            GS_STRIPS@F(16, whole, rest);
        } else if (rest > 0) {
            GS_STRIPS@F(64, whole, rest);
        }
#elif GS_VECTOR_BYTES == 32
        for (ptrdiff_t j = 0; j < whole; j += lanes) {
            GS_STRIPS@F(32, j, lanes);
        }
        if (rest == lanes / 2) {
            GS_STRIPS@F(16, whole, rest);
        } else if (rest > 0 && whole > 0) {
            GS_STRIPS@F(32, n - lanes, lanes);
        } else if (rest > lanes / 2) {
            GS_STRIPS@F(16, 0, lanes / 2);
            GS_STRIPS@F(16, n - lanes / 2, lanes / 2);
        } else if (rest > 0) {
            GS_STRIPS@F(16, 0, rest);
        }
#else
        for (ptrdiff_t j = 0; j < whole; j += lanes) {
            GS_STRIPS@F(16, j, lanes);
        }
        if (rest > 0 && whole > 0) {
            GS_STRIPS@F(16, n - lanes, lanes);
        } else if (rest > 0) {
            GS_STRIPS@F(16, 0, rest);
        }
#endif
    }
#undef GS_STRIPS@F
#endif
}
#endif
"""


#: What differs with the bytes of a vector.
_WIDTHS = {
    64: {"@fused": "__builtin_ia32_vfmaddp@p512_mask", "@rounding": ", (@mask)-1, 4", "@some": _SOME, "@put": _PUT},
    32: {"@fused": "__builtin_ia32_vfmaddp@p256", "@rounding": "", "@some": "", "@put": ""},
    16: {"@fused": "__builtin_ia32_vfmaddp@p", "@rounding": "", "@some": "", "@put": ""},
}


def _strips(size: int) -> str:
    text = _STRIP
    for name, meaning in (*_WIDTHS[size].items(), ("@bytes", str(size)), ("@terms", str(MOST_TERMS))):
        text = text.replace(name, meaning)
    return text


SMALL = widths(COMPILERS, VECTORS, MASKS, _TERMS, *(_strips(size) for size in _WIDTHS), _SMALL)
