"""C texts of vector registers: how wide they are, how many rows a tile has in them, parts of vectors and their sums.

In: nothing. Out: texts that the kernels of `ops._tiles` and `ops._convolution_tiles` begin with, and `widths`, which
makes the text for double and for float of each. Guarantee: C99 (and C++) without includes beyond ours. Where the
compiler has GNU's vectors and the machine has such registers they are used; elsewhere a vector is one number, and the
same text is plain C.

The texts name fields of `Tuning` as `{tuning.field}`, and whether there are threads as `{target.threads}`, which
`Target.support_texts` fills in.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BYTES", "COMPILERS", "FEW", "HEIGHTS", "MASKS", "SQUARES", "TOTAL", "VECTORS", "widths"]

BYTES = 64  # of the widest vector register that the texts know

COMPILERS = """\
#ifndef GS_VECTOR_BYTES
/* How many bytes a vector register has, if the compiler knows vectors; 0 where one number is one. */
#if !defined(__GNUC__) || defined(__TINYC__)
#define GS_VECTOR_BYTES 0
#elif defined(__AVX512F__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_loadups512_mask) && __has_builtin(__builtin_ia32_storeups512_mask)
#define GS_VECTOR_BYTES 64 /* some lanes of such a vector can be read and written alone */
#else
#define GS_VECTOR_BYTES 32
#endif
#elif defined(__AVX__)
#define GS_VECTOR_BYTES 32
#elif defined(__SSE2__) || defined(__aarch64__) || defined(__ALTIVEC__) || defined(__wasm_simd128__)
#define GS_VECTOR_BYTES 16
#else
#define GS_VECTOR_BYTES 0
#endif
#endif
#ifndef GS_THREADS /* a file for several threads has defined it */
#define GS_THREADS 0
#define GS_PARALLEL(clauses)
#endif
#if GS_THREADS > {target.threads} /* whose kernels have memory for one */
#error "the code above is for several threads: compile this file by itself, or before it"
#endif
#ifndef GS_TILE_INLINE
#if defined(__GNUC__) && !defined(__TINYC__)
#define GS_TILE_INLINE __attribute__((always_inline)) inline
#define GS_NOINLINE __attribute__((noinline))
#define GS_PREFETCH(place) __builtin_prefetch(place)
#define GS_LOADED __asm__ volatile("" ::: "memory") /* what was read stays in registers: it is not read again */
#else
#define GS_TILE_INLINE inline
#define GS_NOINLINE
#define GS_PREFETCH(place) (void)0
#define GS_LOADED (void)0
#endif
/* Functions marked so, which begin with GS_CONTRACTED, may fuse a product and a sum; so must be what they are
   inlined into. Loops of a tile's rows and vectors are GS_UNROLLED, or its sums lie in memory: gcc -O2 leaves loops
   whose bodies would grow. */
#if defined(__clang__)
#define GS_CONTRACT
#define GS_CONTRACTED _Pragma("clang fp contract(fast)")
#define GS_ROLLED _Pragma("clang loop unroll(disable)")
#define GS_UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__) && !defined(__TINYC__)
#define GS_CONTRACT __attribute__((optimize("fp-contract=fast")))
#define GS_CONTRACTED
#define GS_ROLLED
#if __GNUC__ >= 8
#define GS_UNROLLED _Pragma("GCC unroll 8")
#else
#define GS_UNROLLED
#endif
#else
#define GS_CONTRACT
#define GS_CONTRACTED
#define GS_ROLLED
#define GS_UNROLLED
#endif
#endif
"""

VECTORS = """\
#ifndef GS_LANES@F
#if GS_VECTOR_BYTES > 0
typedef @real gs_vector@f __attribute__((vector_size(GS_VECTOR_BYTES), aligned(sizeof(@real)), may_alias));
#else
typedef @real gs_vector@f;
#endif
#define GS_LANES@F ((ptrdiff_t)(sizeof(gs_vector@f) / sizeof(@real)))
#endif
"""

#: The shortest vectors: for what is left of a row, and for squares of 16 bytes a side.
FEW = """\
#ifndef GS_FEW@F
#define GS_FEW@F
#if GS_VECTOR_BYTES > 0
typedef @real gs_few@f __attribute__((vector_size(16), aligned(sizeof(@real)), may_alias));
#endif
#endif
"""

#: Needs `FEW`.
SQUARES = """\
#ifndef GS_SQUARE@F
#define GS_SQUARE@F
#if GS_VECTOR_BYTES > 0
#if defined(__clang__) || __GNUC__ >= 12
#define GS_MIXED@F(to, a, b, order, ...) to = __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef @whole gs_order@f __attribute__((vector_size(16)));
#define GS_MIXED@F(to, a, b, order, ...) const gs_order@f order = {__VA_ARGS__}; to = __builtin_shuffle(a, b, order)
#endif
static GS_TILE_INLINE void gs_interleave@f(gs_few@f a, gs_few@f b, gs_few@f *low, gs_few@f *high) {
    GS_MIXED@F(*low, a, b, lows, @lows);
    GS_MIXED@F(*high, a, b, highs, @highs);
}
static GS_TILE_INLINE void gs_turn_square@f(const @real *from, ptrdiff_t fr, @real *to, ptrdiff_t tr) {
    /* A square of 16 bytes a side, transposed in registers. */
    const ptrdiff_t side = (ptrdiff_t)(16 / sizeof(@real));
    gs_few@f x[4], y[4];
    GS_UNROLLED
    for (ptrdiff_t i = 0; i < side; ++i) {
        x[i] = *(const gs_few@f *)(from + i * fr);
    }
    GS_UNROLLED
    for (ptrdiff_t i = 0; i < side / 2; ++i) {
        gs_interleave@f(x[i], x[i + side / 2], &y[2 * i], &y[2 * i + 1]);
    }
    GS_UNROLLED
    for (ptrdiff_t i = 0; i < side; ++i) {
        x[i] = y[i];
    }
    if (side > 2) {
        gs_interleave@f(y[0], y[2], &x[0], &x[1]);
        gs_interleave@f(y[1], y[3], &x[2], &x[3]);
    }
    GS_UNROLLED
    for (ptrdiff_t i = 0; i < side; ++i) {
        *(gs_few@f *)(to + i * tr) = x[i];
    }
}
#endif
#endif
"""

MASKS = """\
#ifndef GS_SOME@F
#define GS_SOME@F
#if GS_VECTOR_BYTES == 64
typedef @real gs_plain@f __attribute__((vector_size(GS_VECTOR_BYTES)));
static GS_TILE_INLINE gs_vector@f gs_some@f(const @real *x, @bits lanes) {
    const gs_plain@f zero = {0};
    return (gs_vector@f)__builtin_ia32_loadup@p512_mask(x, zero, lanes);
}
static GS_TILE_INLINE __attribute__((unused)) void gs_put_some@f(@real *y, gs_vector@f x, @bits lanes) {
    __builtin_ia32_storeup@p512_mask(y, (gs_plain@f)x, lanes);
}
static GS_TILE_INLINE @bits gs_first@f(ptrdiff_t count) {
    /* The lanes of the first numbers of a vector: all of them where there are more. */
    return (@bits)(count >= GS_LANES@F ? (1u << GS_LANES@F) - 1 : count > 0 ? (1u << count) - 1 : 0);
}
#endif
#endif
"""

#: What sizes of panels and workspaces depend on, which two files that lie together have to agree on.
_TUNING = (
    "GS_TUNING_{tuning.tile_rows}_{tuning.tile_rows_512}_{tuning.tile_vectors}_{tuning.block_rows}_{tuning.thread_rows}"
)
HEIGHTS = (
    f"""\
#if defined(GS_TILE_ROWS) && !defined({_TUNING})
#error "the kernels above were written with another gs.Tuning: compile this file by itself"
#endif
#ifndef GS_TILE_ROWS
#define {_TUNING} /* a file with other kernels must not use these */
"""
    + """\
#if GS_VECTOR_BYTES == 64
#define GS_TILE_ROWS {tuning.tile_rows_512} /* of twice as many registers */
#else
#define GS_TILE_ROWS {tuning.tile_rows}
#endif
static ptrdiff_t gs_tile_height(ptrdiff_t rows) {
    /* How many of the rows that are left the next tile takes: the last two share theirs, but 5 and 3, not 4 and 4: sums
       of 4 rows of 2 vectors wait for each other. */
    const ptrdiff_t most = GS_TILE_ROWS, half = rows < 9 ? 5 : (rows + 1) / 2;
    return rows <= most ? rows : rows < 2 * most - 1 ? (half < most ? half : most - 1) : most;
}
#endif
"""
)

TOTAL = """\
#ifndef GS_TOTAL@F
#define GS_TOTAL@F
static GS_TILE_INLINE @real gs_total@f(gs_vector@f x) {
    /* The sum of a vector's numbers: halves are added while they are vectors. */
#if GS_VECTOR_BYTES > 32
    typedef @real half __attribute__((vector_size(GS_VECTOR_BYTES / 2), aligned(sizeof(@real)), may_alias));
    typedef @real quarter __attribute__((vector_size(GS_VECTOR_BYTES / 4), aligned(sizeof(@real)), may_alias));
    const half two = ((const half *)&x)[0] + ((const half *)&x)[1];
    const quarter lanes = ((const quarter *)&two)[0] + ((const quarter *)&two)[1];
#elif GS_VECTOR_BYTES > 16
    typedef @real half __attribute__((vector_size(GS_VECTOR_BYTES / 2), aligned(sizeof(@real)), may_alias));
    const half lanes = ((const half *)&x)[0] + ((const half *)&x)[1];
#else
    const gs_vector@f lanes = x;
#endif
    @real total = 0;
    GS_UNROLLED
    for (ptrdiff_t q = 0; q < (ptrdiff_t)(sizeof lanes / sizeof(@real)); ++q) {
        total += ((const @real *)&lanes)[q];
    }
    return total;
}
#endif
"""


def widths(*texts: str) -> dict[str, tuple[str, ...]]:
    """The texts for double and for float, as the support of a record."""
    words: dict[str, dict[str, str]] = {
        "c": {
            "@real": "double", "@whole": "long long", "@bits": "unsigned char", "@lows": "0, 2", "@highs": "1, 3",
            "@pairs": "0", "@p": "d", "@f": "", "@F": "", "@mask": "unsigned char",
        },
        "c.float32": {
            "@real": "float", "@whole": "int", "@bits": "unsigned short", "@lows": "0, 4, 1, 5",
            "@highs": "2, 6, 3, 7", "@pairs": "1", "@p": "s", "@f": "f", "@F": "F", "@mask": "short",
        },
    }  # fmt: skip
    return {key: tuple(_filled(t, names).strip() for t in texts) for key, names in words.items()}


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, meaning in names.items():
        text = text.replace(name, meaning)
    return text
