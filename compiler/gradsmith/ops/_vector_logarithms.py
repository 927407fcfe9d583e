"""Vector kernels of logarithms, powers and inverse hyperbolic functions.

In: the texts below, in the notation of `_vector`; they may call each other's pieces. Out: `PIECES`. Guarantee: that of
`_vector`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PIECES"]

#: piece -> the pieces it calls, and its text
PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
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
}  # fmt: skip
