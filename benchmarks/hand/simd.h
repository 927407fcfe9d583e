/* Vectors of doubles or reals as GCC and clang have them, as wide as the flags allow, and functions of them: exp and
 * sincos by polynomials, so that they are inlined; log, tanh and erf from glibc's libmvec. */
#ifndef SIMD_H
#define SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if REAL_IS_FLOAT
typedef int32_t whole;
#else
typedef int64_t whole;
#endif
enum { W = VECTOR_BYTES / sizeof(real) }; /* elements of a vector */
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef whole ivec __attribute__((vector_size(VECTOR_BYTES)));

static inline vec load(const real *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(real *p, vec v) { memcpy(p, &v, sizeof v); }
static inline vec all(real x) { return x - (vec){0}; }
/* halves are added while they are vectors */
static inline real sum_of(vec v) {
#if VECTOR_BYTES == 64
    typedef real half __attribute__((vector_size(VECTOR_BYTES / 2)));
    half both[2];
    memcpy(both, &v, sizeof v);
    both[0] += both[1];
#else
    vec both[1] = {v};
#endif
#if VECTOR_BYTES >= 32
    typedef real quarter __attribute__((vector_size(16)));
    quarter last[2];
    memcpy(last, both, sizeof last);
    last[0] += last[1];
#else
    vec last[1] = {both[0]};
#endif
    real s = 0;
    for (int k = 0; k < (int)(16 / sizeof(real)); ++k) {
        s += last[0][k];
    }
    return s;
}
static inline real largest_of(vec v) {
    real m = v[0];
    for (int k = 1; k < W; ++k) {
        m = v[k] > m ? v[k] : m;
    }
    return m;
}
static inline vec choose(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }
static inline vec larger(vec a, vec b) { return choose(a > b, a, b); }

/* a*b + c; -ffp-contract=off forbids the compiler to find it */
static inline vec fma_(vec a, vec b, vec c) {
#if VECTOR_BYTES == 64 && REAL_IS_FLOAT
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VECTOR_BYTES == 64
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif VECTOR_BYTES == 32 && REAL_IS_FLOAT
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif VECTOR_BYTES == 32
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}
static inline vec fms_(vec a, vec b, vec c) { return fma_(a, b, -c); } /* a*b - c */
static inline vec nfma(vec a, vec b, vec c) { return fma_(-a, b, c); } /* c - a*b */

static inline vec sqrt_(vec a) {
#if VECTOR_BYTES == 64 && REAL_IS_FLOAT
    return (vec)_mm512_sqrt_ps((__m512)a);
#elif VECTOR_BYTES == 64
    return (vec)_mm512_sqrt_pd((__m512d)a);
#elif VECTOR_BYTES == 32 && REAL_IS_FLOAT
    return (vec)_mm256_sqrt_ps((__m256)a);
#elif VECTOR_BYTES == 32
    return (vec)_mm256_sqrt_pd((__m256d)a);
#elif REAL_IS_FLOAT
    return (vec)_mm_sqrt_ps((__m128)a);
#else
    return (vec)_mm_sqrt_pd((__m128d)a);
#endif
}

/* The functions of libmvec have the width in their names: b 128, d 256, e 512 bits, then the number of lanes. */
#if VECTOR_BYTES == 64 && REAL_IS_FLOAT
#define MVEC(name) _ZGVeN16v_##name##f
#elif VECTOR_BYTES == 64
#define MVEC(name) _ZGVeN8v_##name
#elif VECTOR_BYTES == 32 && REAL_IS_FLOAT
#define MVEC(name) _ZGVdN8v_##name##f
#elif VECTOR_BYTES == 32
#define MVEC(name) _ZGVdN4v_##name
#elif REAL_IS_FLOAT
#define MVEC(name) _ZGVbN4v_##name##f
#else
#define MVEC(name) _ZGVbN2v_##name
#endif
vec MVEC(log)(vec);
vec MVEC(tanh)(vec);
vec MVEC(erf)(vec);
static inline vec log_(vec x) { return MVEC(log)(x); }
static inline vec tanh_(vec x) { return MVEC(tanh)(x); }
static inline vec erf_(vec x) { return MVEC(erf)(x); }

/* exp by 2^k * p(r), |r| <= log(2)/2; good to about 1 ULP, 0 and infinity where it leaves the range */
static inline vec exp_(vec x) {
#if REAL_IS_FLOAT
    x = choose(x > all(88.0f), all(88.0f), choose(x < all(-87.0f), all(-87.0f), x));
    const vec shift = all(12582912.0f);
    const vec k = fma_(x, all(1.44269504f), shift);
    const vec f = k - shift;
    const vec r = nfma(f, all(-2.12194440e-4f), nfma(f, all(0.693359375f), x));
    vec p = all(1.9875691500e-4f);
    p = fma_(p, r, all(1.3981999507e-3f));
    p = fma_(p, r, all(8.3334519073e-3f));
    p = fma_(p, r, all(4.1665795894e-2f));
    p = fma_(p, r, all(1.6666665459e-1f));
    p = fma_(p, r, all(5.0000001201e-1f));
    p = fma_(p, r * r, r + 1.0f);
    const ivec power = ((ivec)k - (ivec)shift) << 23;
#else
    x = choose(x > all(709.0), all(709.0), choose(x < all(-708.0), all(-708.0), x));
    const vec shift = all(6755399441055744.0); /* 1.5 * 2^52: the integer stands in the low bits */
    const vec k = fma_(x, all(1.4426950408889634), shift);
    const vec f = k - shift;
    const vec r = nfma(f, all(1.9082149292705877e-10), nfma(f, all(6.93147180369123816490e-01), x));
    vec p = all(2.08767569878681e-9); /* 1/12! */
    p = fma_(p, r, all(2.50521083854417e-8));
    p = fma_(p, r, all(2.75573192239859e-7));
    p = fma_(p, r, all(2.75573192239859e-6));
    p = fma_(p, r, all(2.48015873015873e-5));
    p = fma_(p, r, all(1.98412698412698e-4));
    p = fma_(p, r, all(1.38888888888889e-3));
    p = fma_(p, r, all(8.33333333333333e-3));
    p = fma_(p, r, all(4.16666666666667e-2));
    p = fma_(p, r, all(1.66666666666667e-1));
    p = fma_(p, r, all(0.5));
    p = fma_(p, r * r, r + 1.0);
    const ivec power = ((ivec)k - (ivec)shift) << 52;
#endif
    return (vec)((ivec)p + power);
}

#if !REAL_IS_FLOAT
/* Both by one reduction to |r| <= pi/4; |x| up to 1e5 */
static inline void sincos_(vec x, vec *s, vec *c) {
    const vec shift = all(6755399441055744.0);
    const vec k = fma_(x, all(0.63661977236758134308), shift);
    const ivec q = (ivec)k;
    const vec f = k - shift;
    vec r = nfma(f, all(1.57079632673412561417e+00), x);
    r = nfma(f, all(6.07710050650619224932e-11), r);
    const vec z = r * r;
    vec a = all(1.58969099521155010221e-10);
    a = fma_(a, z, all(-2.50507602534068634195e-08));
    a = fma_(a, z, all(2.75573137070700676789e-06));
    a = fma_(a, z, all(-1.98412698298579493134e-04));
    a = fma_(a, z, all(8.33333333332248946124e-03));
    a = fma_(a, z, all(-1.66666666666666324348e-01));
    a = fma_(a * z, r, r);
    vec b = all(-1.13596475577881948265e-11);
    b = fma_(b, z, all(2.08757232129817482790e-09));
    b = fma_(b, z, all(-2.75573143513906633035e-07));
    b = fma_(b, z, all(2.48015872894767294178e-05));
    b = fma_(b, z, all(-1.38888888888741095749e-03));
    b = fma_(b, z, all(4.16666666666666019037e-02));
    b = fma_(b * z, z, fma_(z, all(-0.5), all(1.0)));
    const ivec odd = -(q & 1), low = (q & 2) << 62, next = ((q + 1) & 2) << 62;
    *s = (vec)((ivec)choose(odd, b, a) ^ low);
    *c = (vec)((ivec)choose(odd, a, b) ^ next);
}
#endif

#endif
