"""Vector kernels of trigonometric functions, their inverses and `hypot`.

In: the texts below, in the notation of `_vector`; they may call each other's pieces. Out: `PIECES`. Guarantee: that of
`_vector`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PIECES"]

#: piece -> the pieces it calls, and its text
PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
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
}  # fmt: skip
