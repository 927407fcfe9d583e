"""Vector kernels of numbers' bits, exponentials and hyperbolic functions.

In: the texts below, in the notation of `_vector`; they may call each other's pieces. Out: `PIECES`. Guarantee: that of
`_vector`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PIECES"]

#: piece -> the pieces it calls, and its text
PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
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
}  # fmt: skip
