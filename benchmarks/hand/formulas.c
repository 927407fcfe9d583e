/* Straight-line formulas with gradients derived on paper. */
#include "call.h"

/* The price of a European call: its greeks have closed forms, as S n(d1) = K e^(-rT) n(d2). */
static inline void black_scholes_at(const double *in, double *out) {
    const double s = in[0], k = in[1], r = in[2], sigma = in[3], t = in[4];
    const double root = sqrt(t), spread = sigma * root;
    const double d1 = (log(s / k) + (r + 0.5 * sigma * sigma) * t) / spread, d2 = d1 - spread;
    const double n1 = 0.5 + 0.5 * erf(0.70710678118654752440 * d1), n2 = 0.5 + 0.5 * erf(0.70710678118654752440 * d2);
    const double discount = exp(-r * t), paid = k * discount * n2;
    const double density = s * 0.39894228040143267794 * exp(-0.5 * d1 * d1);
    out[0] = s * n1 - paid;
    out[1] = n1;
    out[2] = -discount * n2;
    out[3] = t * paid;
    out[4] = density * root;
    out[5] = 0.5 * density * sigma / root + r * paid;
}

/* price (5) -> value, gradient (5) */
static void black_scholes(const ptrdiff_t *n, real *const *p) {
    real out[6];
    (void)n;
    black_scholes_at(p[0], out);
    p[1][0] = out[0];
    for (int i = 0; i < 5; ++i) {
        p[2][i] = out[i + 1];
    }
}
ARRAYS(black_scholes, 3)
NEW(black_scholes, 1, 1, 0)

static PyObject *black_scholes_scalars_of_arrays(PyObject *self, PyObject *const *a, Py_ssize_t given) {
    double in[5], out[6];
    (void)self;
    for (int k = 0; k < 5; ++k) {
        if (given != 5 || !PyFloat_CheckExact(a[k])) {
            PyErr_SetString(PyExc_TypeError, "black_scholes_scalars takes five floats");
            return NULL;
        }
        in[k] = PyFloat_AS_DOUBLE(a[k]);
    }
    black_scholes_at(in, out);
    return floats(out, 6);
}

/* Squared error of a network of 4, 8 and 1 units. x, W, b, v, c, t -> value, dW, db, dv, dc */
static void network(const ptrdiff_t *n, real *const *p) {
    const real *restrict x = p[0], *restrict W = p[1], *restrict b = p[2], *restrict v = p[3];
    real *restrict dW = p[7], *restrict db = p[8], *restrict dv = p[9];
    real h[8], y = p[4][0];
    (void)n;
    for (int i = 0; i < 8; ++i) {
        const real *w = W + 4 * i;
        h[i] = tanh(b[i] + w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3]);
        y += v[i] * h[i];
    }
    const real e = y - p[5][0], slope = 2.0 * e;
    p[6][0] = e * e;
    p[10][0] = slope;
    for (int i = 0; i < 8; ++i) {
        const real d = slope * v[i] * (1.0 - h[i] * h[i]);
        dv[i] = slope * h[i];
        db[i] = d;
        for (int j = 0; j < 4; ++j) {
            dW[4 * i + j] = d * x[j];
        }
    }
}
ARRAYS(network, 11)
NEW(network, 6, 4, 1, 2, 3, 4)

/* |t - R(q) v|^2 for a quaternion of any length. r = ((w^2 - u.u) v + 2 (u.v) u + 2 w u x v) / |q|^2; as R does not depend
 * on |q|, the slope of the 1/|q|^2 is -2 (e.r) q / |q|^2. q (4), v (3), t (3) -> value, dq (4), dv (3) */
static void quaternion(const ptrdiff_t *n, real *const *p) {
    const real *restrict q = p[0], *restrict v = p[1], *restrict t = p[2];
    real *restrict dq = p[4], *restrict dv = p[5];
    (void)n;
    const real w = q[0], x = q[1], y = q[2], z = q[3], square = x * x + y * y + z * z, inverse = 1.0 / (w * w + square);
    const real a = w * w - square, b = x * v[0] + y * v[1] + z * v[2];
    const real c0 = y * v[2] - z * v[1], c1 = z * v[0] - x * v[2], c2 = x * v[1] - y * v[0];
    const real r0 = (a * v[0] + 2.0 * (b * x + w * c0)) * inverse, r1 = (a * v[1] + 2.0 * (b * y + w * c1)) * inverse;
    const real r2 = (a * v[2] + 2.0 * (b * z + w * c2)) * inverse;
    const real e0 = r0 - t[0], e1 = r1 - t[1], e2 = r2 - t[2];
    p[3][0] = e0 * e0 + e1 * e1 + e2 * e2;
    const real f0 = 2.0 * inverse * e0, f1 = 2.0 * inverse * e1, f2 = 2.0 * inverse * e2;
    const real fv = f0 * v[0] + f1 * v[1] + f2 * v[2], fu = f0 * x + f1 * y + f2 * z;
    const real fr = f0 * r0 + f1 * r1 + f2 * r2;
    const real m0 = v[1] * f2 - v[2] * f1, m1 = v[2] * f0 - v[0] * f2, m2 = v[0] * f1 - v[1] * f0; /* v x f */
    dq[0] = 2.0 * (w * fv + f0 * c0 + f1 * c1 + f2 * c2 - fr * w);
    dq[1] = 2.0 * (b * f0 + fu * v[0] - fv * x + w * m0 - fr * x);
    dq[2] = 2.0 * (b * f1 + fu * v[1] - fv * y + w * m1 - fr * y);
    dq[3] = 2.0 * (b * f2 + fu * v[2] - fv * z + w * m2 - fr * z);
    dv[0] = a * f0 + 2.0 * (fu * x + w * (f1 * z - f2 * y));
    dv[1] = a * f1 + 2.0 * (fu * y + w * (f2 * x - f0 * z));
    dv[2] = a * f2 + 2.0 * (fu * z + w * (f0 * y - f1 * x));
}
ARRAYS(quaternion, 6)
NEW(quaternion, 3, 2, 0, 1)

MODULE(formulas, METHOD(black_scholes), METHOD(black_scholes_new), METHOD(black_scholes_scalars), METHOD(network), METHOD(network_new), METHOD(quaternion), METHOD(quaternion_new))
