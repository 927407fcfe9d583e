/* Many points: a vector of points at a time, components in rows (structure of arrays), so that each load is contiguous.
 *
 * Each kernel takes x (k, n) and writes its results row by row. The last vector steps back over points that are done
 * already, which spares a loop for the remainder; n must be at least the width of a vector. */
#include "call.h"
#include "simd.h"

#define POINTS(i, n) for (ptrdiff_t i = 0, done = 0; !done; i += W, done = i >= n, i = i > n - W ? n - W : i)

/* x*y + y + tanh(x). x (2, n) -> value (n), gradient (2, n) */
static void seed(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0] / 2;
    const real *x = p[0], *y = p[0] + n;
    POINTS(i, n) {
        const vec a = load(x + i), b = load(y + i), t = tanh_(a);
        store(p[1] + i, fma_(a, b, b + t));
        store(p[2] + i, b + nfma(t, t, all(1.0)));
        store(p[2] + n + i, a + 1.0);
    }
}
ARRAYS(seed, 3)

/* Rosenbrock's function of 10 numbers. x (10, n) -> value (n), gradient (10, n) */
static void rosenbrock(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0] / 10;
    const real *x = p[0];
    real *g = p[2];
    POINTS(i, n) {
        vec total = all(0.0), before = all(0.0), a = load(x + i);
        for (int k = 0; k < 9; ++k) {
            const vec b = load(x + (k + 1) * n + i), u = nfma(a, a, b), v = 1.0 - a;
            total = fma_(100.0 * u, u, fma_(v, v, total));
            store(g + k * n + i, fms_(all(200.0), before, fma_(400.0 * a, u, v + v)));
            before = u;
            a = b;
        }
        store(g + 9 * n + i, 200.0 * before);
        store(p[1] + i, total);
    }
}
ARRAYS(rosenbrock, 3)

/* The arm in space: see arms.c. q (7, n) -> value (n), gradient (7, n) */
static void spatial(const ptrdiff_t *sizes, real *const *p) {
    static const real length[7] = {0.34, 0.4, 0.4, 0.126, 0.3, 0.25, 0.2};
    const ptrdiff_t n = sizes[0] / 7;
    POINTS(i, n) {
        vec axis[7][3], joint[7][3], x[3], y[3], z[3], tip[3], c, s, c1, s1;
        sincos_(load(p[0] + i), &s, &c);
        sincos_(load(p[0] + n + i), &s1, &c1);
        x[0] = c1 * c, x[1] = c1 * s, x[2] = -s1;
        y[0] = -s, y[1] = c, y[2] = all(0.0);
        z[0] = s1 * c, z[1] = s1 * s, z[2] = c1;
        tip[0] = fma_(all(length[1]), z[0], all(-0.3));
        tip[1] = fma_(all(length[1]), z[1], all(-0.2));
        tip[2] = fma_(all(length[1]), z[2], all(-0.9 + 0.34));
        for (int k = 2; k < 7; ++k) {
            sincos_(load(p[0] + k * n + i), &s, &c);
            vec *turned = k % 2 == 0 ? y : z, *fixed = k % 2 == 0 ? z : y;
            const vec sign = k % 2 == 0 ? s : -s;
            for (int d = 0; d < 3; ++d) {
                axis[k][d] = fixed[d];
                joint[k][d] = tip[d];
                const vec a = x[d], b = turned[d];
                x[d] = fma_(c, a, sign * b);
                turned[d] = nfma(sign, a, c * b);
                tip[d] = fma_(all(length[k]), z[d], tip[d]);
            }
        }
        store(p[1] + i, fma_(tip[0], tip[0], fma_(tip[1], tip[1], tip[2] * tip[2])));
        const vec e0 = tip[0] + tip[0], e1 = tip[1] + tip[1], e2 = tip[2] + tip[2];
        real *g = p[2] + i;
        /* the first two joints stand on the z axis of the base: axes (0, 0, 1) and (-sin, cos, 0) */
        store(g, fma_(e0, all(-0.2), e1 * 0.3));
        sincos_(load(p[0] + i), &s, &c);
        const vec m0 = fma_(e1, all(-0.9 + 0.34), 0.2 * e2), m1 = nfma(e2, all(0.3), -(e0 * (-0.9 + 0.34)));
        store(g + n, fms_(c, m1, s * m0));
        for (int k = 2; k < 7; ++k) {
            const vec *a = axis[k], *j = joint[k];
            store(g + k * n, fma_(a[0], fms_(e1, j[2], e2 * j[1]),
                                  fma_(a[1], fms_(e2, j[0], e0 * j[2]), a[2] * fms_(e0, j[1], e1 * j[0]))));
        }
    }
}
ARRAYS(spatial, 3)

/* The price of a European call: see formulas.c. price (5, n) -> value (n), gradient (5, n) */
static void black_scholes(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0] / 5;
    POINTS(i, n) {
        const real *in = p[0] + i;
        real *g = p[2] + i;
        const vec s = load(in), k = load(in + n), r = load(in + 2 * n), sigma = load(in + 3 * n), t = load(in + 4 * n);
        const vec root = sqrt_(t), spread = sigma * root;
        const vec d1 = fma_(fma_(0.5 * sigma, sigma, r), t, log_(s / k)) / spread, d2 = d1 - spread;
        const vec half = all(0.5), h = all(0.70710678118654752440);
        const vec n1 = fma_(half, erf_(h * d1), half), n2 = fma_(half, erf_(h * d2), half);
        const vec discount = exp_(-r * t), paid = k * discount * n2;
        const vec density = s * 0.39894228040143267794 * exp_(-0.5 * d1 * d1), vega = density * root;
        store(p[1] + i, fms_(s, n1, paid));
        store(g, n1);
        store(g + n, -discount * n2);
        store(g + 2 * n, t * paid);
        store(g + 3 * n, vega);
        store(g + 4 * n, fma_(r, paid, 0.5 * density * sigma / root));
    }
}
ARRAYS(black_scholes, 3)

/* The network 4-8-1, each point with weights of its own. x, W, b, v, c, t in 4 + 32 + 8 + 8 + 1 + 1 rows -> value (n),
 * gradient by W, b, v, c (49, n) */
static void network(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0] / 54;
    POINTS(i, n) {
        const real *in = p[0] + i;
        real *g = p[2] + i;
        const real *W_ = in + 4 * n, *b = in + 36 * n, *v = in + 44 * n;
        vec x[4], h[8], w[8], y = load(in + 52 * n) - load(in + 53 * n);
        for (int j = 0; j < 4; ++j) {
            x[j] = load(in + j * n);
        }
        for (int u = 0; u < 8; ++u) {
            vec a = load(b + u * n);
            for (int j = 0; j < 4; ++j) {
                a = fma_(load(W_ + (4 * u + j) * n), x[j], a);
            }
            h[u] = tanh_(a);
            w[u] = load(v + u * n);
            y = fma_(w[u], h[u], y);
        }
        const vec slope = y + y;
        store(p[1] + i, y * y);
        for (int u = 0; u < 8; ++u) {
            const vec d = slope * w[u] * nfma(h[u], h[u], all(1.0));
            for (int j = 0; j < 4; ++j) {
                store(g + (4 * u + j) * n, d * x[j]);
            }
            store(g + (32 + u) * n, d);
            store(g + (40 + u) * n, slope * h[u]);
        }
        store(g + 48 * n, slope);
    }
}
ARRAYS(network, 3)

/* The residual of bundle adjustment: a camera (rotation vector r, centre C, focal length f, principal point, radial
 * distortion k), a point X, a weight w, and where it was seen: 17 rows. -> residual (2, n), Jacobian by the first 15,
 * row after row (30, n).
 *
 * Y = R(r) (X - C) = cos y + a (r x y) + b (r.y) r with a = sin/angle, b = (1 - cos)/angle^2. For a row m of d residual /
 * dY: the slope by r is (m.V) r + a (y x m) + b ((r.y) m + (m.r) y) with V = -a y + a' (r x y) + b' (r.y) r, where
 * a' = (cos - a)/angle^2 and b' = (a - 2 b)/angle^2; the slope by X is R' m. */
static void bundle(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0] / 17;
    POINTS(i, n) {
        const real *in = p[0] + i;
        vec q[17], r[3], y[3], c, s;
        for (int k = 0; k < 17; ++k) {
            q[k] = load(in + k * n);
        }
        for (int k = 0; k < 3; ++k) {
            r[k] = q[k];
            y[k] = q[11 + k] - q[3 + k];
        }
        const vec f = q[6], k1 = q[9], k2 = q[10], w = q[14];
        const vec square = fma_(r[0], r[0], fma_(r[1], r[1], r[2] * r[2])), angle = sqrt_(square);
        sincos_(angle, &s, &c);
        const vec over = 1.0 / square, a = s * angle * over, b = (1.0 - c) * over;
        const vec a_ = (c - a) * over, b_ = nfma(all(2.0), b, a) * over;
        const vec ry = fma_(r[0], y[0], fma_(r[1], y[1], r[2] * y[2])), bry = b * ry, b_ry = b_ * ry;
        vec Y[3], V[3];
        for (int k = 0; k < 3; ++k) {
            const int l = (k + 1) % 3, m = (k + 2) % 3;
            const vec cross = fms_(r[l], y[m], r[m] * y[l]);
            Y[k] = fma_(c, y[k], fma_(a, cross, bry * r[k]));
            V[k] = fma_(a_, cross, fms_(b_ry, r[k], a * y[k]));
        }
        const vec depth = 1.0 / Y[2];
        const vec u[2] = {Y[0] * depth, Y[1] * depth};
        const vec r2 = fma_(u[0], u[0], u[1] * u[1]), L = fma_(fma_(k2, r2, k1), r2, all(1.0));
        const vec D = 2.0 * fma_(k2 + k2, r2, k1), wf = w * f, scale = wf * depth, fL = f * L;
        for (int e = 0; e < 2; ++e) {
            real *J = p[2] + 15 * e * n + i;
            const vec du = D * u[e];
            const vec A0 = e == 0 ? fma_(du, u[0], L) : du * u[0], A1 = e == 1 ? fma_(du, u[1], L) : du * u[1];
            const vec m[3] = {scale * A0, scale * A1, -scale * fma_(A0, u[0], A1 * u[1])};
            const vec mV = fma_(m[0], V[0], fma_(m[1], V[1], m[2] * V[2]));
            const vec mr = fma_(m[0], r[0], fma_(m[1], r[1], m[2] * r[2])), bmr = b * mr;
            for (int k = 0; k < 3; ++k) {
                const int l = (k + 1) % 3, h = (k + 2) % 3;
                store(J + k * n, fma_(mV, r[k], fma_(a, fms_(y[l], m[h], y[h] * m[l]), fma_(bry, m[k], bmr * y[k]))));
                const vec X = fma_(c, m[k], fma_(a, fms_(m[l], r[h], m[h] * r[l]), bmr * r[k]));
                store(J + (11 + k) * n, X);
                store(J + (3 + k) * n, -X);
            }
            const vec plain = fma_(fL, u[e], q[7 + e]) - q[15 + e], wfu = wf * u[e] * r2;
            store(p[1] + e * n + i, w * plain);
            store(J + 6 * n, w * L * u[e]);
            store(J + (7 + e) * n, w);
            store(J + (8 - e) * n, all(0.0));
            store(J + 9 * n, wfu);
            store(J + 10 * n, wfu * r2);
            store(J + 14 * n, plain);
        }
    }
}
ARRAYS(bundle, 3)

MODULE(batches, METHOD(seed), METHOD(rosenbrock), METHOD(spatial), METHOD(black_scholes), METHOD(network), METHOD(bundle))
