/* Rosenbrock's function of n numbers with its gradient: one pass, vectors of points i, each read with its neighbours. */
#include "call.h"
#include "simd.h"

/* x (n) -> value (1), gradient (n) */
static void rosenbrock(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[0];
    const real *restrict x = p[0];
    real *restrict g = p[2];
    real u = x[1] - x[0] * x[0], v = 1.0 - x[0];
    real value = 100.0 * (u * u) + v * v;
    g[0] = -400.0 * (x[0] * u) - 2.0 * v;
    ptrdiff_t i = 1;
    vec total = all(0.0);
    for (; i + W <= n - 1; i += W) {
        const vec a = load(x + i - 1), b = load(x + i), c = load(x + i + 1);
        const vec before = nfma(a, a, b), u_ = nfma(b, b, c), v_ = 1.0 - b;
        total = fma_(100.0 * u_, u_, fma_(v_, v_, total));
        store(g + i, 200.0 * before - fma_(400.0 * b, u_, 2.0 * v_));
    }
    u = x[i] - x[i - 1] * x[i - 1];
    for (; i < n - 1; ++i) {
        const real before = u;
        u = x[i + 1] - x[i] * x[i];
        v = 1.0 - x[i];
        value += 100.0 * (u * u) + v * v;
        g[i] = 200.0 * before - 400.0 * (x[i] * u) - 2.0 * v;
    }
    g[n - 1] = 200.0 * u;
    p[1][0] = value + sum_of(total);
}
ARRAYS(rosenbrock, 3)
NEW(rosenbrock, 1, 1, 0)

MODULE(rosenbrock, METHOD(rosenbrock), METHOD(rosenbrock_new))
