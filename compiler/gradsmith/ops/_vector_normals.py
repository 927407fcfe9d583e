"""Vector kernels of the normal distribution and the error functions.

In: the texts below, in the notation of `_vector`; they may call each other's pieces. Out: `PIECES`. Guarantee: that of
`_vector`.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PIECES"]

#: piece -> the pieces it calls, and its text
PIECES: Mapping[str, tuple[tuple[str, ...], str]] = {
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
