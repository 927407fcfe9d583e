"""Vector kernels of at most 4 ULP, for `compile(simd="fast")`: half the operations of those in `_vector`.

In: the texts below, in the notation of `_vector`, whose pieces they may call. Out: `PIECES`. Guarantee: infinities, NaN
and the signs of zeros are as IEEE has them; results below the least normal number may be 0, and the logarithm takes
such arguments for 0.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PIECES"]

#: piece -> the pieces it calls, and its text
PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "exp_parts_fast": (("bits",), """\
/* exp(x - less) = 2^k*(1 + p); the low bits of what is returned hold k + {BIAS} */
static GS_INLINE @uint gs_vexp_parts_fast@f(@real x, @real less, @real *p) {
    const @real place = GS_FMA(x, {LOG2_E}, {BIASED_MAGIC});
    const @real k = place - {BIASED_MAGIC};
    const @real r = GS_FMA(-k, {LN2_B}, GS_FMA(-k, {LN2_A}, x)) - less; /* the first is exact */
    @poly EXP_FAST r -> q;
    *p = GS_FMA(r * r, q, r);
    return gs_vbits@f(place);
}"""),
    "exp_fast": (("exp_parts_fast", "choice"), """\
static GS_INLINE @real gs_vexp_fast@f(@real x) {
    @real p;
    const @uint k = gs_vexp_parts_fast@f(x, 0.0, &p);
    const @real half = gs_vreal@f((k - 1u) << {BITS}); /* 2^k may have no place in the format */
    const @real y = GS_FMA(2.0, p, 2.0) * half;
    return gs_vchoice@f(x > {EXP_HIGH}, HUGE_VAL, gs_vchoice@f(x < {EXP_LEAST}, 0.0, y)); /* beyond, y is anything */
}"""),
    "expm1_fast": (("exp_parts_fast", "choice"), """\
static GS_INLINE @real gs_vexpm1_fast@f(@real x) {
    @real p;
    const @uint k = gs_vexp_parts_fast@f(x, 0.0, &p);
    const @real half = gs_vreal@f((k - 1u) << {BITS}); /* 2^k may have no place in the format */
    const @real y = 2.0 * GS_FMA(half, p, half - 0.5);
    const @real most = gs_vchoice@f(x > {EXP_HIGH}, HUGE_VAL, gs_vchoice@f(x < {EXPM1_LOW}, 1.0, y));
    return copysign(most, x); /* beyond, y is anything */
}"""),
    "exp2_fast": (("bits", "choice"), """\
static GS_INLINE @real gs_vexp2_fast@f(@real x) {
    const @real place = x + {BIASED_MAGIC};
    const @real r = (x - (place - {BIASED_MAGIC})) * {LN2}; /* the difference is exact */
    @poly EXP_FAST r -> q;
    const @real half = gs_vreal@f((gs_vbits@f(place) - 1u) << {BITS}); /* 2^k may have no place in the format */
    const @real y = GS_FMA(2.0, GS_FMA(r * r, q, r), 2.0) * half;
    return gs_vchoice@f(x > {EXP2_HIGH}, HUGE_VAL, gs_vchoice@f(x < {EXP2_LEAST}, 0.0, y)); /* beyond, y is anything */
}"""),
    "tanh_parts_fast": (("exp_parts_fast", "choice"), """\
/* exp(-2a) - 1, and e = exp(-2a), for a >= 0 */
static GS_INLINE @real gs_vtanh_parts_fast@f(@real a, @real *e) {
    @real p;
    const @uint k = gs_vexp_parts_fast@f(-2.0 * gs_vchoice@f(a > {TANH_MOST}, {TANH_MOST}, a), 0.0, &p);
    const @real one = gs_vreal@f(k << {BITS}); /* 0 for the largest a */
    *e = GS_FMA(one, p, one);
    return GS_FMA(one, p, one - 1.0);
}"""),
    "tanh_fast": (("tanh_parts_fast",), """\
static GS_INLINE @real gs_vtanh_fast@f(@real x) { /* a compiler shares all but the last line with the slope */
    @real e;
    const @real n = gs_vtanh_parts_fast@f(fabs(x), &e);
    const @real inverse = 1.0 / (2.0 + n);
    return copysign(n * inverse, x);
}"""),
    "sech2_fast": (("tanh_parts_fast",), """\
static GS_INLINE @real gs_vsech2_fast@f(@real x) {
    @real e;
    const @real n = gs_vtanh_parts_fast@f(fabs(x), &e);
    const @real inverse = 1.0 / (2.0 + n);
    return 4.0 * e * (inverse * inverse);
}"""),
    "sigmoid_parts_fast": (("exp_parts_fast", "choice"), """\
/* e = exp(-|x|), and 1/(1 + e) */
static GS_INLINE @real gs_vsigmoid_parts_fast@f(@real x, @real *e) {
    const @real a = gs_vchoice@f(fabs(x) > {SIGMOID_MOST}, {SIGMOID_MOST}, fabs(x));
    @real p;
    const @uint k = gs_vexp_parts_fast@f(-a, 0.0, &p);
    const @real one = gs_vreal@f(k << {BITS}); /* 0 for the largest a */
    *e = GS_FMA(one, p, one);
    return 1.0 / (1.0 + *e);
}"""),
    "sigmoid_fast": (("sigmoid_parts_fast", "choice"), """\
static GS_INLINE @real gs_vsigmoid_fast@f(@real x) {
    @real e;
    const @real inverse = gs_vsigmoid_parts_fast@f(x, &e);
    return gs_vchoice@f(x < 0.0, e, 1.0) * inverse;
}"""),
    "sigmoid_slope_fast": (("sigmoid_parts_fast",), """\
static GS_INLINE @real gs_vsigmoid_slope_fast@f(@real x) {
    @real e;
    const @real inverse = gs_vsigmoid_parts_fast@f(x, &e);
    return e * (inverse * inverse);
}"""),
    "log_sum_fast": ((), """\
/* k*log(2) + log(1 + f) */
static GS_INLINE @real gs_vlog_sum_fast@f(@real k, @real f) {
    const @real s = f / (2.0 + f);
    const @real z = s * s;
    @poly LOG z -> p;
    return GS_FMA(k, {LN2}, GS_FMA(s * z, p, s + s));
}"""),
    "log_edges_fast": (("choice",), """\
/* y, and the logarithms of infinity, NaN, zeros, negative numbers and those below the least normal one */
static GS_INLINE @real gs_vlog_edges_fast@f(@real x, @real y) {
    const @real finite = gs_vchoice@f(x < HUGE_VAL, y, x);
    return gs_vchoice@f(x < {NORMAL}, gs_vchoice@f(x < 0.0, (@real)NAN, -HUGE_VAL), finite);
}"""),
    "log_fast": (("log_parts", "log_sum_fast", "log_edges_fast"), """\
static GS_INLINE @real gs_vlog_fast@f(@real x) {
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(x, &f, &exponent);
    return gs_vlog_edges_fast@f(x, gs_vlog_sum_fast@f(k, f));
}"""),
    "log2_fast": (("log_parts", "log_sum_fast", "log_edges_fast"), """\
static GS_INLINE @real gs_vlog2_fast@f(@real x) {
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(x, &f, &exponent);
    return gs_vlog_edges_fast@f(x, GS_FMA(gs_vlog_sum_fast@f(0.0, f), {LOG2_E}, k));
}"""),
    "log10_fast": (("log_fast",), """\
static GS_INLINE @real gs_vlog10_fast@f(@real x) {
    return gs_vlog_fast@f(x) * {PER_LN10};
}"""),
    "log1p_fast": (("log_parts", "log_sum_fast", "log_edges"), """\
static GS_INLINE @real gs_vlog1p_fast@f(@real x) {
    const @real u = 1.0 + x;
    const @real c = x - (u - 1.0); /* u + c = 1 + x but for what a large u does not feel */
    @real f;
    @uint exponent;
    const @real k = gs_vlog_parts@f(u, &f, &exponent);
    const @real unit = gs_vreal@f(({TWICE_BIAS}u + 1u - exponent) << {BITS}) * 0.5;
    return copysign(gs_vlog_edges@f(u, gs_vlog_sum_fast@f(k, GS_FMA(c, unit, f))), x);
}"""),
    "quadrant_fast": (("bits",), """\
/* |x| <= {TRIG_LIMIT} as k*pi/2 + r; the low bits of what is returned hold k. Beyond, x is taken for 0, and the top bit
 * of *far is set. */
static GS_INLINE @uint gs_vquadrant_fast@f(@real x, @real *r, @uint *far) {
    const @real near = fabs(x) <= {TRIG_LIMIT} ? x : 0.0;
    *far |= {TRIG_LIMIT_BITS} - gs_vbits@f(fabs(x));
    const @real place = GS_FMA(near, {TWO_OVER_PI}, {MAGIC});
    const @real k = place - {MAGIC};
#if GS_FUSED
    const @real a = GS_FMA(-k, {WIDE_HALF_PI_A}, near); /* exact */
    *r = GS_FMA(-k, {WIDE_HALF_PI_C}, GS_FMA(-k, {WIDE_HALF_PI_B}, a));
#else
    /* the products but for the last are exact, and so is a difference that is small */
    *r = (((near - k * {HALF_PI_A}) - k * {HALF_PI_B}) - k * {HALF_PI_C}) - k * {HALF_PI_D};
#endif
    return gs_vbits@f(place);
}"""),
    "trig_fast": (("quadrant_fast",), """\
/* The sine (start 0) or cosine (start 1) of x; beyond {TRIG_LIMIT}, 0 or 1. */
static GS_INLINE @real gs_vtrig_fast@f(@real x, @uint start, @uint *far) {
    @real r;
    const @uint quadrant = gs_vquadrant_fast@f(x, &r, far);
    const @real z = r * r;
    @poly SIN_FAST z -> s;
    @poly COS z -> t;
    const @real sine = r * GS_FMA(z, s, 1.0); /* -0 stays */
    const @real cosine = GS_FMA(z, GS_FMA(z, t, -0.5), 1.0);
    const @real here = start == 0u ? sine : cosine;
    const @real next = start == 0u ? cosine : sine;
    const @real size = (quadrant & 1u) != 0u ? next : here; /* one test for sin and cos */
    return gs_vreal@f(gs_vbits@f(size) ^ (((quadrant + start) & 2u) << {SIGN_LESS_1}));
}"""),
    "sin_fast": (("trig_fast",), """\
static GS_INLINE @real gs_vsin_fast@f(@real x, @uint *far) {
    return gs_vtrig_fast@f(x, 0u, far);
}"""),
    "cos_fast": (("trig_fast",), """\
static GS_INLINE @real gs_vcos_fast@f(@real x, @uint *far) {
    return gs_vtrig_fast@f(x, 1u, far);
}"""),
    "excess": (("residual",), """\
/* a*b - product, exact but for one rounding */
static GS_INLINE @real gs_vexcess@f(@real a, @real b, @real product) {
#if GS_FUSED
    return GS_FMA(a, b, -product);
#else
    return -gs_vresidual@f(product, a, b);
#endif
}"""),
    "fall_fast": (("exp_parts_fast", "excess"), """\
/* exp(-a*b) = w*(1 + p); w is returned, 0 for the largest a*b */
static GS_INLINE @real gs_vfall_fast@f(@real a, @real b, @real *p) {
    const @real product = a * b;
    const @uint k = gs_vexp_parts_fast@f(-product, gs_vexcess@f(a, b, product), p);
    return gs_vreal@f(k << {BITS});
}"""),
    "gaussian_fast": (("fall_fast", "choice"), """\
static GS_INLINE @real gs_vgaussian_fast@f(@real x) { /* with the limit of erfc, so that a compiler shares it */
    const @real a = gs_vchoice@f(fabs(x) > {GAUSSIAN_MOST}, {GAUSSIAN_MOST}, fabs(x));
    @real p;
    const @real w = gs_vfall_fast@f(a, a, &p);
    return GS_FMA(w, p, w);
}"""),
    "npdf_fast": (("fall_fast", "choice"), """\
static GS_INLINE @real gs_vnpdf_fast@f(@real x) {
    const @real a = gs_vchoice@f(fabs(x) > {NDTR_MOST}, {NDTR_MOST}, fabs(x));
    @real p;
    const @real w = gs_vfall_fast@f(0.5 * a, a, &p);
    return GS_FMA({PDF_AT_0}, p, {PDF_AT_0}) * w;
}"""),
    "fallen_fast": (("fall_fast", "residual"), """\
/* top/bottom*exp(-a*b) */
static GS_INLINE @real gs_vfallen_fast@f(@real top, @real bottom, @real a, @real b) {
    const @real inverse = 1.0 / bottom;
    const @real q = top * inverse;
    const @real rest = gs_vresidual@f(top, q, bottom) * inverse; /* one rounding less, of five */
    @real p;
    const @real w = gs_vfall_fast@f(a, b, &p);
    return (q + GS_FMA(q, p, rest)) * w;
}"""),
    "ndtr_fast": (("fallen_fast", "choice"), """\
static GS_INLINE @real gs_vndtr_fast@f(@real x) {
    const @real a = gs_vchoice@f(fabs(x) > {NDTR_MOST}, {NDTR_MOST}, fabs(x));
    @poly NDTR_P a -> top;
    @poly NDTR_Q a -> bottom;
    const @real tail = gs_vfallen_fast@f(top, bottom, 0.5 * a, a);
    return gs_vchoice@f(x < 0.0, tail, 1.0 - tail);
}"""),
    "tail_fast": (("fallen_fast", "choice"), """\
/* erfc(|x|) */
static GS_INLINE @real gs_vtail_fast@f(@real x) {
    const @real a = gs_vchoice@f(fabs(x) > {GAUSSIAN_MOST}, {GAUSSIAN_MOST}, fabs(x));
    @poly ERFC_P a -> top;
    @poly ERFC_Q a -> bottom;
    return gs_vfallen_fast@f(top, bottom, a, a);
}"""),
    "erfc_fast": (("tail_fast", "choice"), """\
static GS_INLINE @real gs_verfc_fast@f(@real x) {
    const @real tail = gs_vtail_fast@f(x);
    return gs_vchoice@f(x < 0.0, 2.0 - tail, tail);
}"""),
    "erf_fast": (("tail_fast", "choice"), """\
static GS_INLINE @real gs_verf_fast@f(@real x) {
    const @real z = x * x;
    @poly ERF_FAST z -> p;
    const @real near = GS_FMA(x, p, x);
    const @real far = copysign(1.0 - gs_vtail_fast@f(x), x);
    return gs_vchoice@f(fabs(x) < 0.5, near, far);
}"""),
}  # fmt: skip
