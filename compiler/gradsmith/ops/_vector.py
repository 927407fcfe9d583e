"""Vector kernels: elementary functions as C that a compiler vectorises inside the loop which it inlines them into.

In: the texts below. Out: `simd(name)`, the fields of an op record that make C loops call the kernel of that name, in
both widths. Guarantee: no branches, tables or calls; the bits of results do not depend on the sign of a rounding mode
nor on contraction beyond the last place; an error below one unit in the last place where the record says no other.

What a text may use besides C: `@real` and `@uint` (double and uint64_t, or float and uint32_t), `@poly NAME t -> p;`
for a polynomial of `_vector_coefficients`, {NAME} for a constant of it or of `_FORMATS`, and double's literals,
functions and macros, which become float's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ..registry import NEAR
from ._vector_coefficients import CONSTANTS, TABLES
from ._vector_fast import PIECES as FAST

__all__ = ["simd"]

#: What IEEE's formats have for constants.
_FORMATS: Mapping[str, tuple[str, str]] = {
    "REAL": ("double", "float"),
    "UINT": ("uint64_t", "uint32_t"),
    "BITS": ("52", "23"),  # of a mantissa, as stored
    "BIAS": ("1023", "127"),
    "TWICE_BIAS": ("2046", "254"),
    "MAGIC": ("6755399441055744.0", "12582912.0f"),  # added to a number, it leaves the nearest integer in the low bits
    "BIASED_MAGIC": ("6755399441056767.0", "12583039.0f"),  # leaves it there, and BIAS more
    "RAISED_MAGIC": ("6755399441057790.0", "12583166.0f"),  # leaves it there, and 2*BIAS more
    "WHOLE": ("4503599627370496.0", "8388608.0f"),  # the least number above which all are integers
    "WHOLE_BITS": ("0x4330000000000000u", "0x4b000000u"),
    "MANTISSA": ("0x000fffffffffffffu", "0x007fffffu"),
    "UPPER": ("0xfffffffff8000000u", "0xfffff000u"),  # half of the mantissa
    "SQRT_HALF_BITS": ("0x3fe6a09e667f3bcdu", "0x3f3504f3u"),
    "ONE_LESS_SQRT_HALF": ("0x00095f619980c433u", "0x004afb0du"),
    "NORMAL": ("2.2250738585072014e-308", "1.17549435e-38f"),
    "TWO_54": ("18014398509481984.0", "33554432.0f"),  # 2^54, 2^25
    "EXPONENT_54": ("54.0", "25.0f"),
    "EXP_MOST": ("746.0", "104.0f"),
    "EXP_LEAST": ("-708.5", "-87.4f"),  # where k is the least exponent of a normal number
    "GAUSSIAN_MOST": ("26.629", "9.383"),  # where the exponent of exp(-a*a) is one less, and so are the next ones'
    "NDTR_MOST": ("37.659", "13.269"),
    "TANH_MOST": ("354.55", "44.015"),
    "SIGMOID_MOST": ("709.1", "88.03"),
    "EXP_HIGH": ("710.0", "89.0f"),
    "EXPM1_LOW": ("-40.0", "-18.0f"),
    "EXPM1_MOST": ("60.0", "30.0f"),
    "COSH_HIGH": ("711.0", "90.0f"),
    "TANH_HIGH": ("374.0", "53.0f"),
    "ERF_HIGH": ("6.0", "4.0f"),
    "ERFC_HIGH": ("28.0", "11.0f"),  # where exp(-x*x) is 0, and 2^k still a product of two numbers
    "NDTR_HIGH": ("39.0", "15.0f"),
    "EXP2_HIGH": ("1024.0", "128.0f"),
    "EXP2_LEAST": ("-1022.0", "-126.0f"),
    "EXP2_MOST": ("1100.0", "160.0f"),
    "POW_LOW": ("-760.0", "-120.0f"),
    "POW_HIGH": ("720.0", "100.0f"),
    "TRIG_LIMIT": ("1048576.0", "4096.0f"),  # 2^20, 2^12
    "TRIG_LIMIT_BITS": ("0x4130000000000000u", "0x45800000u"),
    "SIGN_LESS_1": ("62", "30"),
    "ATAN_HIGH": ("1.0e30", "1.0e15"),  # from where on atan is pi/2
    # where quotients n/d have to be of other numbers, for exact products
    "RATIO_LOW": ("2.5822498780869086e+120", "1073741824.0"),  # 2^400, 2^30
    "RATIO_RAISE": ("3.273390607896142e+150", "1.152921504606847e+18"),  # 2^500, 2^60
    "RATIO_HIGH": ("8.452712498170644e+270", "1.2676506002282294e+30"),  # 2^900, 2^100
    "RATIO_REDUCE": ("7.888609052210118e-31", "9.5367431640625e-07"),  # 2^-100, 2^-20
    "SQUARE_LOW": ("3.8725919148493183e-121", "9.313225746154785e-10"),  # 2^-400, 2^-30
    "SQUARE_RAISE": ("5.260135901548374e+210", "1.2379400392853803e+27"),  # 2^700, 2^90
    "SQUARE_HIGH": ("3.273390607896142e+150", "1.152921504606847e+18"),  # 2^500, 2^60
    "SQUARE_REDUCE": ("1.90109156629516e-211", "8.470329472543003e-22"),  # 2^-700, 2^-70
    "LONE": (
        "268435456.0",
        "8192.0",
    ),  # 2^28, 2^13: beyond, sqrt(x*x + 1) is x but for less than rounding does to log(x)
}
_BASE = """\
#include <stdint.h>
#ifndef GS_INLINE
/* Functions for loops: without branches, tables and calls, so that compilers vectorise the loops around them. */
#if defined(__GNUC__) && !defined(__TINYC__)
#define GS_INLINE inline __attribute__((always_inline, unused))
#else
#define GS_INLINE inline
#endif
#if defined(FP_FAST_FMA) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define GS_FUSED 1
#define GS_FMA(a, b, c) fma(a, b, c)
#define GS_FMAF(a, b, c) fmaf(a, b, c)
#else
#define GS_FUSED 0
#define GS_FMA(a, b, c) ((a) * (b) + (c))
#define GS_FMAF(a, b, c) ((a) * (b) + (c))
#endif
#endif"""
#: before the declarations of vector functions of other libraries: glibc's, some of which came with 2.35, and those that
#: libsleefgnuabi has under the names that GCC gives them
_ELSEWHERE: Mapping[str, str] = {
    "libmvec": """\
/* Functions of which glibc has vector forms, under names of our own: GCC makes one call of a sin and a cos, of which
 * there are none. */
#ifndef GS_LIBMVEC
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 35)
#define GS_LIBMVEC(real, name, parameters, arguments) \\
    real gs_l##name parameters __asm__(#name) __attribute__((simd("notinbranch"), const, nothrow));
#endif
#endif
#ifndef GS_LIBMVEC
#define GS_LIBMVEC(real, name, parameters, arguments) \\
    static GS_INLINE real gs_l##name parameters { return name arguments; }
#endif
#endif""",
    "sleef": """\
/* Functions of which libsleefgnuabi has vector forms, under names of our own: GCC makes one call of a sin and a cos, of
 * which there are none. */
#ifndef GS_SLEEF
#if defined(__GNUC__) && !defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define GS_SLEEF(real, name, parameters, arguments) \\
    real gs_s##name parameters __asm__(#name) __attribute__((simd("notinbranch"), const, nothrow));
#else
#define GS_SLEEF(real, name, parameters, arguments) \\
    static GS_INLINE real gs_s##name parameters { return name arguments; }
#endif
#endif""",
}
#: piece -> the pieces it calls, and its text
_PIECES: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": ((), """\
static GS_INLINE @uint gs_vbits@f(@real x) {
    union { @real real; @uint bits; } both;
    both.real = x;
    return both.bits;
}

static GS_INLINE @real gs_vreal@f(@uint bits) {
    union { @real real; @uint bits; } both;
    both.bits = bits;
    return both.real;
}"""),
    "choice": (("bits",), """\
/* first ? x : y as one blend: of a choice of numbers, GCC moves what follows into the sides, and compares once more.
 * SSE2 has no masks for whole numbers of 64 bits, and Clang no need of them. */
static GS_INLINE @real gs_vchoice@f(int first, @real x, @real y) {
#if defined(__clang__) || (defined(__SSE2__) && !defined(__SSE4_1__))
    return first ? x : y;
#else
    return gs_vreal@f(first ? gs_vbits@f(x) : gs_vbits@f(y));
#endif
}"""),
    "residual": (("bits",), """\
/* n - q*d, exact but for one rounding */
static GS_INLINE @real gs_vresidual@f(@real n, @real q, @real d) {
#if GS_FUSED
    return GS_FMA(-q, d, n);
#else
    const @real qh = gs_vreal@f(gs_vbits@f(q) & {UPPER});
    const @real dh = gs_vreal@f(gs_vbits@f(d) & {UPPER});
    const @real ql = q - qh;
    const @real dl = d - dh;
    return (((n - qh * dh) - qh * dl) - ql * dh) - ql * dl;
#endif
}"""),
    "exp_rest": ((), """\
/* x - less = k*log(2) + r + rest; k is returned, and a number that has k + 2*{BIAS} in its low bits */
static GS_INLINE @real gs_vexp_rest@f(@real x, @real less, @real *r, @real *rest, @real *place) {
    const @real p = GS_FMA(x, {LOG2_E}, {RAISED_MAGIC});
    const @real k = p - {RAISED_MAGIC};
    const @real a = GS_FMA(-k, {LN2_A}, x); /* exact */
    const @real b = GS_FMA(-k, {LN2_B}, a - less);
    *r = b;
    *rest = GS_FMA(-k, {LN2_B}, a - b) - less;
    *place = p;
    return k;
}"""),
    "exp_parts": (("exp_rest", "bits"), """\
/* exp(x - less) = 2^k*(1 + r + t); the low bits of what is returned hold k + 2*{BIAS} */
static GS_INLINE @uint gs_vexp_parts@f(@real x, @real less, @real *r, @real *t) {
    @real rest, place;
    (void)gs_vexp_rest@f(x, less, r, &rest, &place);
    const @real b = *r;
    @poly EXP b -> p;
    *t = GS_FMA(b * b, GS_FMA(b, p, 0.5), rest);
    return gs_vbits@f(place);
}"""),
    "exp_sum": ((), """\
/* 1 + r + t as the nearest number, and the rest */
static GS_INLINE @real gs_vexp_sum@f(@real r, @real t, @real *rest) {
    const @real h = 1.0 + r;
    const @real e = ((1.0 - h) + r) + t;
    const @real y = h + e;
    *rest = (h - y) + e;
    return y;
}"""),
    "halves": (("bits",), """\
/* 2^k, which may have no place in the format, as two factors, for the low bits k + 2*{BIAS} */
static GS_INLINE @real gs_vhalves@f(@uint k, @real *second) {
    const @uint half = k >> 1;
    *second = gs_vreal@f((k - half) << {BITS});
    return gs_vreal@f(half << {BITS});
}"""),
    "scale": (("halves",), """\
/* y*2^k for the low bits k + 2*{BIAS} */
static GS_INLINE @real gs_vscale@f(@real y, @uint k) {
    @real second;
    const @real first = gs_vhalves@f(k, &second);
    return y * first * second;
}"""),
    "exp": (("exp_parts", "halves", "choice"), """\
static GS_INLINE @real gs_vexp@f(@real x) {
    @real r, t, second;
    const @uint k = gs_vexp_parts@f(x, 0.0, &r, &t);
    const @real first = gs_vhalves@f(k, &second);
    const @real y = GS_FMA(first, r + t, first) * second;
    return gs_vchoice@f(x > {EXP_HIGH}, HUGE_VAL, gs_vchoice@f(x < -{EXP_MOST}, 0.0, y)); /* beyond, y is anything */
}"""),
    "expm1": (("exp_rest", "scale", "choice"), """\
static GS_INLINE @real gs_vexpm1@f(@real x) {
    @real r, more, place;
    const @real k = gs_vexp_rest@f(x, 0.0, &r, &more, &place);
    @poly EXP r -> p;
    const @real t = GS_FMA(r * r, GS_FMA(r, p, 0.5), GS_FMA(more, r, more));
    const @real least = gs_vchoice@f(k > {EXPM1_MOST}, {EXPM1_MOST}, k) + {MAGIC};
    const @real one = gs_vreal@f(({BIAS}u - gs_vbits@f(least)) << {BITS}); /* 1, in units of 2^k */
    const @real s = 1.0 - one;
    const @real h = s + r;
    const @real part = h - s;
    const @real e = (s - (h - part)) + (r - part);
    const @real y = gs_vscale@f(h + (t + (e + ((1.0 - s) - one))), gs_vbits@f(place));
    const @real most = gs_vchoice@f(x > {EXP_HIGH}, HUGE_VAL, gs_vchoice@f(x < {EXPM1_LOW}, 1.0, y));
    return copysign(most, x); /* beyond, y is anything */
}"""),
    "tanh_parts": (("exp_parts", "halves", "choice"), """\
/* 1 - exp(-2a) as n + rest and 1 + exp(-2a) as d + more; and y*e*e_more = exp(-2a) */
static GS_INLINE @real gs_vtanh_parts@f(@real a, @real *rest, @real *d, @real *more, @real *y, @real *e,
                                       @real *e_more) {
    @real r, t, second;
    const @real most = gs_vchoice@f(a > {TANH_HIGH}, {TANH_HIGH}, a);
    const @real first = gs_vhalves@f(gs_vexp_parts@f(-2.0 * most, 0.0, &r, &t), &second);
    const @real w = first * second;
    const @real s = 1.0 - w;
    const @real wr = w * r;
    const @real h = s - wr;
    const @real part = h - s;
    const @real l = ((s - (h - part)) - (wr + part)) + (((1.0 - s) - w) - w * t);
    const @real n = h + l;
    const @real sum = 2.0 - n;
    *rest = (h - n) + l;
    *d = sum;
    *more = ((2.0 - sum) - n) - *rest;
    *y = 1.0 + (r + t);
    *e = first;
    *e_more = second;
    return n;
}"""),
    "tanh": (("tanh_parts", "residual"), """\
static GS_INLINE @real gs_vtanh@f(@real x) {
    @real rest, d, more, y, e, e_more;
    const @real n = gs_vtanh_parts@f(fabs(x), &rest, &d, &more, &y, &e, &e_more);
    const @real inverse = 1.0 / d;
    const @real q = n * inverse;
    return copysign(q + (gs_vresidual@f(n, q, d) + (rest - q * more)) * inverse, x);
}"""),
    "sech2": (("tanh_parts", "residual"), """\
static GS_INLINE @real gs_vsech2@f(@real x) {
    @real rest, d, more, y, e, e_more;
    (void)gs_vtanh_parts@f(fabs(x), &rest, &d, &more, &y, &e, &e_more);
    const @real inverse = 1.0 / d;
    const @real q = 4.0 * y * inverse * inverse;
    const @real wrong = gs_vresidual@f(1.0, inverse, d) - inverse * more;
    return (q + 2.0 * q * wrong) * e * e_more;
}"""),
    "sigmoid_parts": (("exp_parts", "exp_sum", "scale", "choice"), """\
/* exp(-a) as e + rest and 1 + exp(-a) as d + more, for a >= 0 */
static GS_INLINE @real gs_vsigmoid_parts@f(@real a, @real *rest, @real *d, @real *more) {
    @real r, t, l;
    const @uint k = gs_vexp_parts@f(-gs_vchoice@f(a > {EXP_MOST}, {EXP_MOST}, a), 0.0, &r, &t);
    const @real y = gs_vexp_sum@f(r, t, &l);
    const @real e = gs_vscale@f(y, k);
    const @real sum = 1.0 + e;
    *rest = gs_vscale@f(l, k);
    *d = sum;
    *more = ((1.0 - sum) + e) + *rest;
    return e;
}"""),
    "sigmoid": (("sigmoid_parts", "residual"), """\
static GS_INLINE @real gs_vsigmoid@f(@real x) {
    @real l, d, more;
    const @real e = gs_vsigmoid_parts@f(fabs(x), &l, &d, &more);
    const @real inverse = 1.0 / d;
    const @real n = gs_vchoice@f(x < 0.0, e, 1.0);
    const @real q = n * inverse;
    return q + (gs_vresidual@f(n, q, d) + (gs_vchoice@f(x < 0.0, l, 0.0) - q * more)) * inverse;
}"""),
    "sigmoid_slope": (("sigmoid_parts", "residual"), """\
static GS_INLINE @real gs_vsigmoid_slope@f(@real x) { /* a compiler shares the exponential and 1/d with the value */
    @real l, d, more;
    const @real e = gs_vsigmoid_parts@f(fabs(x), &l, &d, &more);
    const @real inverse = 1.0 / d;
    const @real q = e * inverse;
    const @real wrong = gs_vresidual@f(1.0, inverse, d) - inverse * more;
    return (q + (2.0 * q * wrong + l * inverse)) * inverse;
}"""),
    "cosh": (("exp_parts", "exp_sum", "scale", "choice"), """\
static GS_INLINE @real gs_vcosh@f(@real x) {
    const @real a = fabs(x);
    @real r, t, rest, second;
    const @uint k = gs_vexp_parts@f(gs_vchoice@f(a > {COSH_HIGH}, {COSH_HIGH}, a), 0.0, &r, &t);
    const @real y = gs_vexp_sum@f(r, t, &rest);
    const @real small = 0.5 / gs_vscale@f(y, k);
    const @real first = gs_vhalves@f(k - 1u, &second);
    return y * first * second + (rest * first * second + small);
}"""),
    "sinh": (("tanh_parts", "exp_parts", "exp_sum", "scale", "residual", "choice"), """\
/* (1 - exp(-2a))*exp(a)/2, both factors with their rests */
static GS_INLINE @real gs_vsinh@f(@real x) {
    const @real a = fabs(x);
    @real rest, d, more, y, e, e_more, r, t, l;
    const @real n = gs_vtanh_parts@f(a, &rest, &d, &more, &y, &e, &e_more);
    const @uint k = gs_vexp_parts@f(gs_vchoice@f(a > {COSH_HIGH}, {COSH_HIGH}, a), 0.0, &r, &t);
    const @real p = gs_vexp_sum@f(r, t, &l);
    const @real z = n * p;
    const @real size = z + (GS_FMA(n, l, rest * p) - gs_vresidual@f(z, n, p));
    return copysign(gs_vscale@f(size, k - 1u), x);
}"""),
    "log_parts": (("bits",), """\
/* x = 2^k*(1 + f) for normal x > 0, with 1 + f between the roots of 1/2 and of 2; k is returned */
static GS_INLINE @real gs_vlog_parts@f(@real x, @real *f, @uint *exponent) {
    const @uint shifted = gs_vbits@f(x) + {ONE_LESS_SQRT_HALF};
    const @uint biased = shifted >> {BITS};
    *f = gs_vreal@f((shifted & {MANTISSA}) + {SQRT_HALF_BITS}) - 1.0;
    *exponent = biased;
    return gs_vreal@f(biased | {WHOLE_BITS}) - ({WHOLE} + {BIAS}.0);
}"""),
    "log_sum": ((), """\
/* k*log(2) + log(1 + f) + more */
static GS_INLINE @real gs_vlog_sum@f(@real k, @real f, @real more) {
    const @real s = f / (2.0 + f);
    const @real z = s * s;
    @poly LOG z -> p;
    const @real half = 0.5 * f * f;
    const @real big = k * {LN2_A}; /* exact */
    const @real h = big + f;
    const @real e = f - (h - big);
    return h + (e - (half - GS_FMA(s, GS_FMA(z, p, half), GS_FMA(k, {LN2_B}, more))));
}"""),
    "log_edges": (("choice",), """\
/* y, and the logarithms of infinity, NaN, zeros and negative numbers */
static GS_INLINE @real gs_vlog_edges@f(@real x, @real y) {
    const @real finite = gs_vchoice@f(x < HUGE_VAL, y, x);
    return gs_vchoice@f(x > 0.0, finite, gs_vchoice@f(x == 0.0, -HUGE_VAL, (@real)NAN));
}"""),
    "log": (("log_parts", "log_sum", "log_edges"), """\
static GS_INLINE @real gs_vlog@f(@real x) {
    const int small = x < {NORMAL};
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(gs_vchoice@f(small, x * {TWO_54}, x), &f, &exponent);
    const @real y = gs_vlog_sum@f(gs_vchoice@f(small, k - {EXPONENT_54}, k), f, 0.0);
    return gs_vlog_edges@f(x, y);
}"""),
    "log1p": (("log_parts", "log_sum", "log_edges"), """\
static GS_INLINE @real gs_vlog1p@f(@real x) {
    const @real u = 1.0 + x;
    const @real c = x - (u - 1.0); /* u + c = 1 + x but for what a large u does not feel */
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(u, &f, &exponent);
    const @real more = c * gs_vreal@f(({TWICE_BIAS}u + 1u - exponent) << {BITS}) * 0.5;
    const @real g = f + more;
    const @real rest = (f - g) + more;
    const @real y = gs_vlog_sum@f(k, g, GS_FMA(-rest, g, rest));
    return copysign(gs_vlog_edges@f(u, y), x);
}"""),
    "erf": (("exp_parts", "residual", "choice"), """\
static GS_INLINE @real gs_verf@f(@real x) {
    const @real a = gs_vchoice@f(fabs(x) > {ERF_HIGH}, {ERF_HIGH}, fabs(x));
    const @real z = a * a;
    const @real away = a - 0.75;
    @poly ERF_NEAR z -> p;
    @poly ERF_FAR away -> q;
    const @real more = q * away; /* log(erfc(a)) less its value at 3/4 */
    const @real log = more + {ERF_LOG_A};
    const @real less = ((log - {ERF_LOG_A}) - more) + (gs_vresidual@f(more, q, away) - {ERF_LOG_B});
    @real r, t;
    const @uint k = gs_vexp_parts@f(log, less, &r, &t);
    const @real y = gs_vreal@f((k - {BIAS}u) << {BITS});
    const @real h = 1.0 - y;
    const @real g = h - y * r;
    const @real far = g + (((h - g) - y * r) - y * t);
    return copysign(gs_vchoice@f(a < 0.75, GS_FMA(a, p, a), far), x);
}"""),
    "log_long": (("log_parts", "residual"), """\
/* log(x) for normal x > 0, with twice the digits */
static GS_INLINE @real gs_vlog_long@f(@real x, @real less, @real *rest) {
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(x, &f, &exponent) - less;
    const @real d = 2.0 + f;
    const @real more = f - (d - 2.0);
    const @real inverse = 1.0 / d;
    const @real s = f * inverse;
    const @real sl = (gs_vresidual@f(f, s, d) - s * more) * inverse;
    const @real z = s * s;
    const @real zl = 2.0 * s * sl - gs_vresidual@f(z, s, s);
    @poly LOG_TAIL z -> tail;
    const @real v = z * tail;
    const @real p = {TWO_THIRDS_A} + v;
    const @real pl = ({TWO_THIRDS_A} - p) + v + GS_FMA(zl, tail, {TWO_THIRDS_B});
    const @real c = s * z;
    const @real cl = GS_FMA(s, zl, sl * z) - gs_vresidual@f(c, s, z);
    const @real t = c * p;
    const @real tl = GS_FMA(c, pl, cl * p) - gs_vresidual@f(t, c, p);
    const @real big = k * {LN2_A}; /* exact */
    const @real h = big + 2.0 * s;
    const @real e = 2.0 * s - (h - big);
    const @real g = h + t;
    const @real low = (t - (g - h)) + e + GS_FMA(2.0, sl, GS_FMA(k, {LN2_B}, tl));
    const @real y = g + low;
    *rest = (g - y) + low;
    return y;
}"""),
    "log2": (("log_long", "log_edges"), """\
static GS_INLINE @real gs_vlog2@f(@real x) {
    const int small = x < {NORMAL};
    @real l;
    const @real less = gs_vchoice@f(small, {EXPONENT_54}, 0.0);
    const @real big = gs_vlog_long@f(gs_vchoice@f(small, x * {TWO_54}, x), less, &l);
    const @real q = big * {PER_LN2_A};
    const @real y = q + (GS_FMA(big, {PER_LN2_B}, l * {PER_LN2_A}) - gs_vresidual@f(q, big, {PER_LN2_A}));
    return gs_vlog_edges@f(x, y);
}"""),
    "log10": (("log_long", "log_edges"), """\
static GS_INLINE @real gs_vlog10@f(@real x) {
    const int small = x < {NORMAL};
    @real l;
    const @real less = gs_vchoice@f(small, {EXPONENT_54}, 0.0);
    const @real big = gs_vlog_long@f(gs_vchoice@f(small, x * {TWO_54}, x), less, &l);
    const @real q = big * {PER_LN10_A};
    const @real y = q + (GS_FMA(big, {PER_LN10_B}, l * {PER_LN10_A}) - gs_vresidual@f(q, big, {PER_LN10_A}));
    return gs_vlog_edges@f(x, y);
}"""),
    "exp2": (("exp_parts", "exp_sum", "scale", "residual", "choice"), """\
static GS_INLINE @real gs_vexp2@f(@real x) {
    const @real most = gs_vchoice@f(fabs(x) > {EXP2_MOST}, copysign({EXP2_MOST}, x), x);
    const @real big = most * {LN_2_A};
    @real r, t, rest;
    const @uint k = gs_vexp_parts@f(big, GS_FMA(-most, {LN_2_B}, gs_vresidual@f(big, most, {LN_2_A})), &r, &t);
    return gs_vscale@f(gs_vexp_sum@f(r, t, &rest), k);
}"""),
    "pow": (("log_long", "exp_parts", "exp_sum", "scale", "residual", "choice"), """\
static GS_INLINE @real gs_vpow@f(@real x, @real y) {
    const @real a = fabs(x);
    const @real b = fabs(y);
    const int small = a < {NORMAL};
    @real l, r, t, rest;
    const @real scaling = gs_vchoice@f(small, {EXPONENT_54}, 0.0);
    const @real big = gs_vlog_long@f(gs_vchoice@f(small, a * {TWO_54}, a), scaling, &l);
    const @real product = y * big;
    const int inside = fabs(product) < {POW_HIGH};
    const @real less = gs_vchoice@f(inside, GS_FMA(-y, l, gs_vresidual@f(product, y, big)), 0.0);
    const @real low = gs_vchoice@f(product < {POW_LOW}, {POW_LOW}, product);
    const @uint k = gs_vexp_parts@f(gs_vchoice@f(low > {POW_HIGH}, {POW_HIGH}, low), less, &r, &t);
    const @real power = gs_vscale@f(gs_vexp_sum@f(r, t, &rest), k);
    const @real none = gs_vchoice@f(y < 0.0, HUGE_VAL, 0.0); /* 0^y */
    const @real all = gs_vchoice@f(y < 0.0, 0.0, HUGE_VAL);
    const @real finite = gs_vchoice@f(a == HUGE_VAL, all, gs_vchoice@f(a == 0.0, none, power));
    const @real far = gs_vchoice@f(a == 1.0, 1.0, gs_vchoice@f(a > 1.0, all, none));
    const @real size = gs_vchoice@f(b == HUGE_VAL, far, finite);
    const @real half = 0.5 * b;
    const @real even = gs_vchoice@f(half < {WHOLE}, (half + {WHOLE}) - {WHOLE}, half);
    const @real whole = gs_vchoice@f(b < {WHOLE}, (b + {WHOLE}) - {WHOLE}, b);
    const @real broken = gs_vchoice@f(x < 0.0, gs_vchoice@f(x > -HUGE_VAL, (@real)NAN, 1.0), 1.0);
    const @real sign = gs_vchoice@f(whole == b, gs_vchoice@f(even == half, 1.0, -1.0), broken);
    const @real result = size * gs_vchoice@f(copysign(1.0, x) < 0.0, sign, 1.0);
    const @real right = gs_vchoice@f(y == y, gs_vchoice@f(x == x, result, x), y);
    return gs_vchoice@f(y == 0.0, 1.0, gs_vchoice@f(x == 1.0, 1.0, right));
}"""),
    "quadrant": (("bits",), """\
/* |x| <= {TRIG_LIMIT} as k*pi/2 + r + rest; the low bits of what is returned hold k. Beyond, x is taken for 0, and the
 * top bit of *far is set. */
static GS_INLINE @uint gs_vquadrant@f(@real x, @real *r, @real *rest, @uint *far) {
    const @real near = fabs(x) <= {TRIG_LIMIT} ? x : 0.0;
    *far |= {TRIG_LIMIT_BITS} - gs_vbits@f(fabs(x));
    const @real place = GS_FMA(near, {TWO_OVER_PI}, {MAGIC});
    const @real k = place - {MAGIC};
#if GS_FUSED
    const @real a = GS_FMA(-k, {WIDE_HALF_PI_A}, near); /* exact, as it is a whole number of its operands' last unit */
    const @real b = k * {WIDE_HALF_PI_B}; /* exact, too */
    const @real h = a - b;
    *r = h;
    *rest = GS_FMA(-k, {WIDE_HALF_PI_C}, (a - h) - b);
#else
    const @real a = near - k * {HALF_PI_A}; /* exact, as k*B and k*C are */
    const @real b = k * {HALF_PI_B};
    const @real h = a - b;
    const @real c = k * {HALF_PI_C};
    const @real g = h - c;
    /* exact also where b > a or c > h: all four are whole numbers of few enough bits in one unit then */
    *r = g;
    *rest = (((a - h) - b) + ((h - g) - c)) - k * {HALF_PI_D};
#endif
    return gs_vbits@f(place);
}"""),
    "waves": (("quadrant",), """\
/* Of x, k*pi/2 + r + rest: sin(r + rest) = r - less, and cos(r + rest) = one + bend; returned is what holds k. */
static GS_INLINE @uint gs_vwaves@f(@real x, @real *remainder, @real *less, @real *one, @real *bend, @uint *far) {
    @real r, rest;
    const @uint quadrant = gs_vquadrant@f(x, &r, &rest, far);
    const @real z = r * r;
    const @real half = 0.5 * z;
    const @real whole = 1.0 - half;
    @poly SIN z -> s;
    @poly COS z -> t;
    *remainder = r;
    *less = GS_FMA(-(r * z), s, GS_FMA(rest, half, -rest)); /* +0 for r = -0, whose sine is -0 then */
    *one = whole;
    *bend = GS_FMA(z * z, t, GS_FMA(-r, rest, (1.0 - whole) - half));
    return quadrant;
}"""),
    "trig": (("waves",), """\
/* The sine (start 0) or cosine (start 1) of x; beyond {TRIG_LIMIT}, 0 or 1. */
static GS_INLINE @real gs_vtrig@f(@real x, @uint start, @uint *far) {
    @real r, less, one, bend;
    const @uint quadrant = gs_vwaves@f(x, &r, &less, &one, &bend, far);
    const @real sine = r - less;
    const @real cosine = one + bend;
    const @real here = start == 0u ? sine : cosine;
    const @real next = start == 0u ? cosine : sine;
    const @real size = (quadrant & 1u) != 0u ? next : here; /* one test for sin and cos */
    return gs_vreal@f(gs_vbits@f(size) ^ (((quadrant + start) & 2u) << {SIGN_LESS_1}));
}"""),
    "tan": (("waves", "residual"), """\
static GS_INLINE @real gs_vtan@f(@real x, @uint *far) { /* sine over cosine, both with their rests */
    @real r, less, one, bend;
    const @uint quadrant = gs_vwaves@f(x, &r, &less, &one, &bend, far);
    const @real sine = r - less;
    const @real sine_rest = (r - sine) - less;
    const @real more = bend + 0.5 * gs_vresidual@f(r * r, r, r);
    const @real cosine = one + more;
    const @real cosine_rest = (one - cosine) + more;
    const int odd = (quadrant & 1u) != 0u;
    const @real n = odd ? -cosine : sine;
    const @real nl = odd ? -cosine_rest : sine_rest;
    const @real d = odd ? sine : cosine;
    const @real dl = odd ? sine_rest : cosine_rest;
    const @real inverse = 1.0 / d;
    const @real q = n * inverse;
    const @real y = q + (gs_vresidual@f(n, q, d) + (nl - q * dl)) * inverse;
    return x == 0.0 ? x : y;
}"""),
    "sin": (("trig",), """\
static GS_INLINE @real gs_vsin@f(@real x, @uint *far) {
    return gs_vtrig@f(x, 0u, far);
}"""),
    "cos": (("trig",), """\
static GS_INLINE @real gs_vcos@f(@real x, @uint *far) {
    return gs_vtrig@f(x, 1u, far);
}"""),
    "angle": (("residual",), """\
/* atan(n/d) for 0 <= n <= d (flip: pi/2 less that; back: pi less that) */
static GS_INLINE @real gs_vangle@f(@real n, @real d, int flip, int back) {
    const int middle = n > 0.41421356 * d; /* tan(pi/8): there, pi/4 + atan((n - d)/(n + d)) */
    const @real difference = n - d;
    const @real sum = n + d;
    const @real top = middle ? difference : n;
    const @real bottom = middle ? sum : d;
    const @real top_rest = middle ? n - (difference + d) : 0.0; /* d is the larger one */
    const @real bottom_rest = middle ? n - (sum - d) : 0.0;
    const @real inverse = 1.0 / bottom;
    const @real q = top * inverse;
    const @real ql = (gs_vresidual@f(top, q, bottom) + (top_rest - q * bottom_rest)) * inverse;
    const @real z = q * q;
    @poly ATAN z -> p;
    const @real low = GS_FMA(q * z, p, GS_FMA(-z, ql, ql));
    const @real turn = middle ? 1.0 : 0.0;
    const @real aside = flip ? 2.0 - turn : turn;
    const @real eighths = back ? 4.0 - aside : aside;
    const @real sign = flip != back ? -1.0 : 1.0;
    const @real big = eighths * {QUARTER_PI_A}; /* exact */
    const @real part = sign * q;
    const @real h = big + part;
    const @real e = part - (h - big);
    return h + (e + GS_FMA(sign, low, eighths * {QUARTER_PI_B}));
}"""),
    "atan": (("angle",), """\
static GS_INLINE @real gs_vatan@f(@real x) {
    const @real a = fabs(x) > {ATAN_HIGH} ? {ATAN_HIGH} : fabs(x);
    const int flip = a > 1.0;
    return copysign(gs_vangle@f(flip ? 1.0 : a, flip ? a : 1.0, flip, 0), x);
}"""),
    "atan2": (("angle",), """\
static GS_INLINE @real gs_vatan2@f(@real y, @real x) {
    const @real a = fabs(y);
    const @real b = fabs(x);
    const int flip = a > b;
    const @real d = flip ? a : b;
    const @real n = flip ? b : a;
    const @real scale = d < {RATIO_LOW} ? {RATIO_RAISE} : d > {RATIO_HIGH} ? {RATIO_REDUCE} : 1.0;
    const int infinite = d == HUGE_VAL;
    const @real top = infinite ? (n == HUGE_VAL ? 1.0 : 0.0 * n) : scale * n; /* NaN stays */
    const @real bottom = infinite || d == 0.0 ? 1.0 : scale * d;
    return copysign(gs_vangle@f(top, bottom, flip, copysign(1.0, x) < 0.0), y);
}"""),
    "arc": (("residual",), """\
/* asin(a) = r + low up to 1/2, beyond pi/2 less twice that, from the sine of half the angle that is lacking */
static GS_INLINE @real gs_varc@f(@real a, @real *low) {
    const int big = a > 0.5;
    const @real half = 0.5 - 0.5 * a; /* exact there */
    const @real z = big ? half : a * a;
    const @real root = sqrt(half);
    const @real r = big ? root : a;
    const @real rest = gs_vresidual@f(half, root, root) / (root + root + {NORMAL});
    @poly ASIN z -> p;
    *low = GS_FMA(r * z, p, big ? rest : 0.0);
    return r;
}"""),
    "asin": (("arc",), """\
static GS_INLINE @real gs_vasin@f(@real x) {
    const @real a = fabs(x);
    @real low;
    const @real r = gs_varc@f(a, &low);
    const @real big = 2.0 * {QUARTER_PI_A};
    const @real h = big - 2.0 * r;
    const @real rest = ((big - h) - 2.0 * r) + (2.0 * {QUARTER_PI_B} - 2.0 * low);
    return copysign(a > 0.5 ? h + rest : r + low, x);
}"""),
    "acos": (("arc",), """\
static GS_INLINE @real gs_vacos@f(@real x) {
    const @real a = fabs(x);
    @real low;
    const @real r = gs_varc@f(a, &low);
    const int far = a > 0.5;
    const @real times = far ? 2.0 : -1.0;
    const @real sign = x < 0.0 ? -times : times;
    const @real eighths = far ? (x < 0.0 ? 4.0 : 0.0) : 2.0;
    const @real big = eighths * {QUARTER_PI_A};
    const @real part = sign * r;
    const @real h = big + part;
    const @real e = part - (h - big);
    return h + (e + GS_FMA(sign, low, eighths * {QUARTER_PI_B}));
}"""),
    "hypot": (("residual",), """\
static GS_INLINE @real gs_vhypot@f(@real x, @real y) {
    const @real a = fabs(x);
    const @real b = fabs(y);
    const @real longer = a > b ? a : b;
    const @real scale = longer > {SQUARE_HIGH} ? {SQUARE_REDUCE} : longer < {SQUARE_LOW} ? {SQUARE_RAISE} : 1.0;
    const @real back = longer > {SQUARE_HIGH} ? 1.0 / {SQUARE_REDUCE}
        : longer < {SQUARE_LOW} ? 1.0 / {SQUARE_RAISE} : 1.0;
    const @real p = scale * longer;
    const @real q = scale * (a > b ? b : a);
    const @real pp = p * p;
    const @real qq = q * q;
    const @real sum = pp + qq;
    const @real rest = ((pp - sum) + qq) - (gs_vresidual@f(pp, p, p) + gs_vresidual@f(qq, q, q));
    const @real h = sqrt(sum);
    const @real root = h + (gs_vresidual@f(sum, h, h) + rest) / (h + h + {NORMAL});
    return a == HUGE_VAL || b == HUGE_VAL ? HUGE_VAL : root * back;
}"""),
    "log1p_long": (("log_parts", "log_sum", "choice"), """\
/* log(1 + u + rest) for u >= 0; lone: log(2*u) */
static GS_INLINE @real gs_vlog1p_long@f(@real u, @real rest, int lone) {
    const @real sum = 1.0 + u;
    const @real part = sum - 1.0;
    const @real c = (1.0 - (sum - part)) + (u - part); /* sum + c = 1 + u */
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(gs_vchoice@f(lone, u, sum), &f, &exponent);
    const @real unit = gs_vreal@f(({TWICE_BIAS}u + 1u - exponent) << {BITS}) * 0.5;
    const @real more = gs_vchoice@f(lone, 0.0, c * unit);
    const @real g = f + more;
    const @real low = ((f - g) + more) + gs_vchoice@f(lone, 0.0, rest * unit);
    return gs_vlog_sum@f(gs_vchoice@f(lone, k + 1.0, k), g, low - low * (g - g * g));
}"""),
    "asinh": (("log1p_long", "residual", "choice"), """\
static GS_INLINE @real gs_vasinh@f(@real x) { /* log(a + h) for h = sqrt(a*a + 1) */
    const @real a = fabs(x);
    const int lone = a > {LONE};
    const @real b = gs_vchoice@f(lone, 1.0, a);
    const @real square = b * b;
    const @real sum = 1.0 + square;
    const @real part = sum - 1.0;
    const @real rest = ((1.0 - (sum - part)) + (square - part)) - gs_vresidual@f(square, b, b);
    const @real h = sqrt(sum);
    const @real less = h - 1.0;
    const @real u = b + less;
    const @real l = gs_vchoice@f(b > less, less - (u - b), b - (u - less));
    const @real low = l + (gs_vresidual@f(sum, h, h) + rest) / (h + h);
    const @real y = gs_vlog1p_long@f(gs_vchoice@f(lone, a, u), low, lone);
    return gs_vchoice@f(a < HUGE_VAL, copysign(y, x), x);
}"""),
    "acosh": (("log1p_long", "residual"), """\
static GS_INLINE @real gs_vacosh@f(@real x) { /* log(1 + t + h) for t = x - 1 and h = sqrt(t*t + 2*t) */
    const int lone = x > {LONE};
    const @real t = lone ? 1.0 : x - 1.0;
    const @real square = t * t;
    const @real sum = square + 2.0 * t;
    const @real l = square > 2.0 * t ? 2.0 * t - (sum - square) : square - (sum - 2.0 * t);
    const @real h = sqrt(sum);
    const @real rest = (gs_vresidual@f(sum, h, h) + (l - gs_vresidual@f(square, t, t))) / (h + h + {NORMAL});
    const @real u = t + h;
    const @real low = t > h ? h - (u - t) : t - (u - h);
    const @real y = gs_vlog1p_long@f(lone ? x : u, low + rest, lone);
    return x >= 1.0 ? (x < HUGE_VAL ? y : x) : (@real)NAN;
}"""),
    "atanh": (("log1p_long", "residual"), """\
static GS_INLINE @real gs_vatanh@f(@real x) { /* log(1 + 2*a/(1 - a))/2 */
    const @real a = fabs(x);
    const @real d = 1.0 - a;
    const @real dl = (1.0 - d) - a;
    const @real inverse = 1.0 / d;
    const @real u = 2.0 * a * inverse;
    const @real low = (gs_vresidual@f(2.0 * a, u, d) - u * dl) * inverse;
    const @real y = copysign(0.5 * gs_vlog1p_long@f(u, low, 0), x);
    return a < 1.0 ? y : a == 1.0 ? copysign(HUGE_VAL, x) : (@real)NAN;
}"""),
    "gaussian": (("exp_parts", "exp_sum", "scale", "excess", "choice"), """\
static GS_INLINE @real gs_vgaussian@f(@real x) { /* a compiler shares the exponential with erfc */
    const @real a = fabs(x);
    const @real square = a * a;
    @real r, t, rest;
    const @uint k = gs_vexp_parts@f(-square, gs_vexcess@f(a, a, square), &r, &t);
    return gs_vchoice@f(a > {ERFC_HIGH}, 0.0, gs_vscale@f(gs_vexp_sum@f(r, t, &rest), k));
}"""),
    "npdf": (("exp_parts", "exp_sum", "scale", "excess", "choice"), """\
static GS_INLINE @real gs_vnpdf@f(@real x) { /* a compiler shares the exponential with ndtr */
    const @real a = fabs(x);
    const @real square = 0.5 * a * a;
    @real r, t, rest;
    const @uint k = gs_vexp_parts@f(-square, gs_vexcess@f(0.5 * a, a, square), &r, &t);
    return gs_vchoice@f(a > {NDTR_HIGH}, 0.0, gs_vscale@f({PDF_AT_0} * gs_vexp_sum@f(r, t, &rest), k));
}"""),
    "tail": (("exp_parts", "residual"), """\
/* (n + nl)/(1 + a)*exp(-square - less) = q*(1 + r + more)*2^k for a >= 0; q is returned; 1/(1 + a) to a few places is
 * given */
static GS_INLINE @real gs_vtail@f(@real a, @real inverse, @real n, @real nl, @real square, @real less, @real *r,
                                 @real *more, @uint *k) {
    const @real d = 1.0 + a;
    const @real q = n * inverse;
    const @real ql = (gs_vresidual@f(n, q, d) + (nl - q * (a - (d - 1.0)))) * inverse;
    @real t;
    *k = gs_vexp_parts@f(-square, less, r, &t);
    *more = GS_FMA(q, t, GS_FMA(ql, *r, ql));
    return q;
}"""),
    "erfc": (("tail", "excess", "scale"), """\
static GS_INLINE @real gs_verfc@f(@real x) {
    const @real a = fabs(x);
    const @real square = a * a;
    const @real d = a + 3.0;
    const @real both = 1.0 / ((1.0 + a) * d); /* one division for two */
    const @real inverse = both * (1.0 + a);
    const @real w = a * inverse;
    const @real rest = (gs_vresidual@f(a, w, d) - w * (a - (d - 3.0))) * inverse; /* w + rest = a/(a + 3) */
    const @real v = w + w - 1.0;
    @poly ERFC v -> p;
    const @real h = GS_FMA(-0.5, w, 1.0);
    const @real n = GS_FMA(w, p, h);
    const @real nl = GS_FMA(w, p, h - n) + (GS_FMA(-0.5, w, 1.0 - h) - 0.45 * rest); /* the slope by w is some -0.45 */
    @real r, more;
    @uint k;
    const @real q = gs_vtail@f(a, both * d, n, nl, square, gs_vexcess@f(a, a, square), &r, &more, &k);
    const @real y = GS_FMA(q, r, q);
    const @real tail = a > {ERFC_HIGH} ? 0.0 : gs_vscale@f(y + (GS_FMA(q, r, q - y) + more), k);
    return x < 0.0 ? 2.0 - tail : tail;
}"""),
    "ndtr": (("tail", "excess", "scale"), """\
static GS_INLINE @real gs_vndtr@f(@real x) {
    const @real a = fabs(x);
    const @real square = 0.5 * a * a;
    const @real both = 1.0 / ((1.0 + a) * (a + 4.0)); /* one division for two */
    const @real inverse = both * (1.0 + a);
    const @real v = GS_FMA(-8.0, inverse, 1.0); /* (a - 4)/(a + 4) */
    @poly NDTR v -> p;
    const @real w = a * inverse; /* its rounding matters as little as a is small, that of v as it is large */
    const @real n = GS_FMA(w, p, 0.5);
    const @real nl = GS_FMA(w, p, 0.5 - n);
    @real r, more;
    @uint k;
    const @real less = gs_vexcess@f(0.5 * a, a, square);
    const @real q = gs_vtail@f(a, both * (a + 4.0), n, nl, square, less, &r, &more, &k);
    const @real tail = a > {NDTR_HIGH} ? 0.0 : gs_vscale@f(q + GS_FMA(q, r, more), k);
    return x < 0.0 ? tail : 1.0 - tail;
}"""),
}  # fmt: skip
_PIECES |= FAST
_SPLIT = 6  # coefficients from which on a polynomial is evaluated in two chains ...
_SPLIT_AGAIN = 12  # ... and in four
_POLY = re.compile(r"^( *)@poly (\w+) (\w+) -> (\w+);$", re.MULTILINE)
_CONSTANT = re.compile(r"\{([A-Z][A-Z_0-9]*)\}")
_LITERAL = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?(?![\w.])")
_FLOATS = re.compile(r"\b(fabs|copysign|fma|sqrt|GS_FMA|HUGE_VAL)\b")


def _polynomial(coefficients: Sequence[float], t: str, p: str) -> list[str]:
    """Statements that evaluate a polynomial: in one chain, or in two or four side by side where there are many."""
    chains = 1 if len(coefficients) < _SPLIT else 2 if len(coefficients) < _SPLIT_AGAIN else 4
    powers = {1: t, 2: f"{p}2", 4: f"{p}4"}
    lines = [f"const @real {powers[2 * n]} = {powers[n]} * {powers[n]};" for n in (1, 2) if n < chains]
    parts = [p] if chains == 1 else [f"{p}_{k}" for k in range(chains)]
    for k, part in enumerate(parts):  # t^k, t^(k + chains), ...
        first, *rest = coefficients[::-1][k::chains][::-1]
        lines.append(f"@real {part} = {first!r};")
        lines += [f"{part} = GS_FMA({part}, {powers[chains]}, {c!r});" for c in rest]
    while len(parts) > 1:
        half = len(parts) // 2
        sums = [p] if half == 1 else [f"{p}_{k}{k + half}" for k in range(half)]
        pairs = zip(sums, parts[half:], parts[:half], strict=True)
        lines += [f"const @real {name} = GS_FMA({high}, {powers[half]}, {low});" for name, high, low in pairs]
        parts = sums
    return lines


def _written(text: str, single: bool) -> str:
    """A piece in one width."""

    def polynomial(m: re.Match[str]) -> str:
        return "\n".join(m[1] + line for line in _polynomial(TABLES[m[2]][single], m[3], m[4]))

    def constant(m: re.Match[str]) -> str:
        return _FORMATS[m[1]][single] if m[1] in _FORMATS else repr(CONSTANTS[m[1]][single])

    text = _CONSTANT.sub(constant, _POLY.sub(polynomial, text).replace("{BIAS}.0", f"{_FORMATS['BIAS'][single]}.0"))
    text = text.replace("@real", "{REAL}").replace("@uint", "{UINT}").replace("@f", "f" if single else "")
    if single:
        text = _LITERAL.sub(lambda m: m[0] + "f", text)
        text = _FLOATS.sub(lambda m: m[0] + ("f" if m[0].islower() else "F"), text)
    return _CONSTANT.sub(constant, text)


def _needed(name: str) -> Iterator[str]:
    """The pieces of a kernel, each behind those it calls."""
    calls, _ = _PIECES[name]
    for called in calls:
        yield from _needed(called)
    yield name


@cache
def _texts(name: str, single: bool) -> tuple[str, ...]:
    return (_BASE, *(_once(piece, single) for piece in dict.fromkeys(_needed(name))))


def _once(piece: str, single: bool) -> str:
    """A piece between guards, so that several generated files may be compiled as one."""
    guard = f"GS_V{piece.upper()}{'F' if single else ''}"
    return f"#ifndef {guard}\n#define {guard}\n{_written(_PIECES[piece][1], single)}\n#endif"


class _Kernel(Mapping[str, tuple[str, ...]]):
    """The support texts of the kernel `name`, written when they are asked for."""

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self._singles = {key: False, f"{key}.float32": True}

    def __getitem__(self, key: str) -> tuple[str, ...]:
        return _texts(self.name, self._singles[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._singles)

    def __len__(self) -> int:
        return len(self._singles)


class _Both(Mapping[str, Any]):
    """Two tables that have no key in common."""

    def __init__(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        self._first, self._second = first, second

    def __getitem__(self, key: str) -> Any:
        return self._first[key] if key in self._first else self._second[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._first, *self._second))

    def __len__(self) -> int:
        return len(self._first) + len(self._second)


def _declared(name: str, arity: int) -> Mapping[str, tuple[str, ...]]:
    """Declarations that tell GCC of the vector functions of glibc, and of SLEEF."""
    arguments = "xyz"[:arity]
    texts = {}
    for library, head in _ELSEWHERE.items():
        for key, end, real in ((f"c.{library}", "", "double"), (f"c.{library}.float32", "f", "float")):
            parameters = ", ".join(f"{real} {a}" for a in arguments)
            declared = f"GS_{library.upper()}({real}, {name}{end}, ({parameters}), ({', '.join(arguments)}))"
            guard = f"GS_{library.upper()}_{name.upper()}{end.upper()}"  # as several files may be compiled as one
            texts[key] = (_BASE, head, f"#ifndef {guard}\n#define {guard}\n{declared}\n#endif")
    return texts


def simd(
    name: str,
    fields: Mapping[str, Any] | None = None,
    *,
    arity: int = 1,
    libmvec: bool = False,
    near: bool = False,
) -> dict[str, Any]:
    """`fields` of an op record, and the cells and the support of the kernel `name` for loops in C, of both accuracies.

    `libmvec`: whether glibc has a vector function of that name, too, as SLEEF then has. `near`: whether the kernel has
    a limited range and tells of arguments beyond it.
    """
    operands = ", ".join(f"{{{i}}}" for i in range(arity))
    cells: dict[str, str] = {}
    support: Mapping[str, Any] = {}
    for tier, kernel in (("simd", name), ("fast", f"{name}_fast")):
        if kernel in _PIECES:
            key = f"c.{tier}.{NEAR}" if near else f"c.{tier}"
            cells[key] = f"gs_v{kernel}({operands}, &gs_far)" if near else f"gs_v{kernel}({operands})"
            if near:
                cells[f"{key}.float32"] = f"gs_v{kernel}f({operands}, &gs_farf)"
            support = _Both(support, _Kernel(kernel, key))
    if libmvec:
        cells |= {f"c.{library}": f"gs_{library[0]}{name}({operands})" for library in ("libmvec", "sleef")}
        support = _Both(support, _declared(name, arity))
    found = dict(fields or {})
    found["cells"] = {**found.get("cells", {}), **cells}
    found["support"] = _Both(found.get("support", {}), support)
    return found
