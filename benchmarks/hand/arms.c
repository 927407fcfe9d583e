/* Arms with goals: value and gradient by the geometry, which needs each sine and cosine once. */
#include "call.h"

/* A planar arm of six links: the slope of a joint is what all links behind it add. q (6), lengths (6) -> value, dq (6) */
static void planar(const ptrdiff_t *n, real *const *p) {
    const real *restrict q = p[0], *restrict length = p[1];
    real *restrict g = p[3];
    real across[6], along[6], x = -1.5, y = -2.5, angle = 0.0;
    (void)n;
    for (int k = 0; k < 6; ++k) {
        angle += q[k];
        x += along[k] = length[k] * cos(angle);
        y += across[k] = length[k] * sin(angle);
    }
    p[2][0] = x * x + y * y;
    real slope = 0.0;
    for (int k = 5; k >= 0; --k) {
        slope += 2.0 * (y * along[k] - x * across[k]);
        g[k] = slope;
    }
}
ARRAYS(planar, 4)
NEW(planar, 2, 1, 0)

/* An arm in space whose joints turn about z and y by turns: the slope of a joint is 2 e . (axis x (tip - joint)), and e
 * is tip - goal. The first two frames have known zeros. q (7) -> value, dq (7) */
static void spatial(const ptrdiff_t *n, real *const *p) {
    static const real length[7] = {0.34, 0.4, 0.4, 0.126, 0.3, 0.25, 0.2};
    const real *restrict q = p[0];
    real *restrict g = p[2];
    real axis[7][3] = {{0.0, 0.0, 1.0}}, joint[7][3] = {{-0.3, -0.2, -0.9}, {-0.3, -0.2, -0.9 + 0.34}};
    (void)n;
    const real c0 = cos(q[0]), s0 = sin(q[0]), c1 = cos(q[1]), s1 = sin(q[1]);
    real x[3] = {c1 * c0, c1 * s0, -s1}, y[3] = {-s0, c0, 0.0}, z[3] = {s1 * c0, s1 * s0, c1};
    real tip[3];
    for (int i = 0; i < 3; ++i) {
        axis[1][i] = y[i];
        tip[i] = joint[1][i] + length[1] * z[i];
    }
    for (int k = 2; k < 7; ++k) {
        const real c = cos(q[k]), s = sin(q[k]);
        real *turned = k % 2 == 0 ? y : z;
        const real *fixed = k % 2 == 0 ? z : y, sign = k % 2 == 0 ? s : -s;
        for (int i = 0; i < 3; ++i) {
            axis[k][i] = fixed[i];
            joint[k][i] = tip[i];
            const real a = x[i], b = turned[i];
            x[i] = c * a + sign * b;
            turned[i] = c * b - sign * a;
            tip[i] += length[k] * z[i];
        }
    }
    p[1][0] = tip[0] * tip[0] + tip[1] * tip[1] + tip[2] * tip[2];
    for (int k = 0; k < 7; ++k) {
        const real *a = axis[k], *j = joint[k]; /* e . (a x (e - j)) = a . (e x j) */
        g[k] = 2.0 * (a[0] * (tip[1] * j[2] - tip[2] * j[1]) + a[1] * (tip[2] * j[0] - tip[0] * j[2]) +
                      a[2] * (tip[0] * j[1] - tip[1] * j[0]));
    }
}
ARRAYS(spatial, 3)
NEW(spatial, 1, 1, 0)

MODULE(arms, METHOD(planar), METHOD(planar_new), METHOD(spatial), METHOD(spatial_new))
