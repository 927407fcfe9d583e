/* A Gaussian mixture and a heat equation. */
#include "call.h"
#include "gemm.h"

/* Mean log-likelihood of x (N, d) under K Gaussians with precision matrices L L'. x, alpha (K), mu (K, d),
 * log_diagonal (K, d), below (K, d(d-1)/2) -> value, dalpha, dmu, dlog_diagonal, dbelow.
 *
 * Points lie in the columns, so that vectors hold points: white = L' (x - mu) is a triangular product for a block of them,
 * and is kept until the weights of the components are known. The slope by L is then (x - mu) times -w white. */
static void mixture(const ptrdiff_t *sizes, real *const *p) {
    enum { MOST = 64, COMPONENTS = 100, BLOCK = 64 };
    static real kept[COMPONENTS * MOST * BLOCK], apart[(MOST + 3) * BLOCK], turned_x[MOST * BLOCK];
    static real factor[COMPONENTS * MOST * MOST], slope[COMPONENTS * (MOST + 3) * (MOST + 3)];
    static real terms[COMPONENTS * BLOCK], constant[COMPONENTS], mass[COMPONENTS], share[COMPONENTS];
    static real pulled[COMPONENTS * MOST];
    const ptrdiff_t K = sizes[1], d = sizes[2] / K, N = sizes[0] / d, triangle = d * (d - 1) / 2, lds = d + 3;
    const real *x = p[0], *alpha = p[1], *mu = p[2];
    real most = alpha[0], sum = 0, value = 0;
    for (ptrdiff_t k = 1; k < K; ++k) {
        most = alpha[k] > most ? alpha[k] : most;
    }
    for (ptrdiff_t k = 0; k < K; ++k) {
        sum += share[k] = (real)exp(alpha[k] - most);
    }
    for (ptrdiff_t k = 0; k < K; ++k) {
        real *L = factor + k * d * d, logs = 0;
        const real *below = p[4] + k * triangle;
        for (ptrdiff_t i = 0; i < d; ++i) {
            for (ptrdiff_t j = 0; j < i; ++j) {
                L[i * d + j] = *below++;
            }
            L[i * d + i] = (real)exp(p[3][k * d + i]);
            for (ptrdiff_t j = i + 1; j < d; ++j) {
                L[i * d + j] = 0;
            }
            logs += p[3][k * d + i];
        }
        constant[k] = alpha[k] - most - (real)log(sum) + logs;
        share[k] /= sum;
        mass[k] = 0;
    }
    memset(slope, 0, sizeof *slope * (size_t)(K * lds * lds));
    memset(pulled, 0, sizeof *pulled * (size_t)(K * d));
    for (ptrdiff_t n = 0; n < N; n += BLOCK) {
        const ptrdiff_t points = N - n < BLOCK ? N - n : BLOCK;
        memset(turned_x, 0, sizeof turned_x);
        for (ptrdiff_t s = 0; s < points; ++s) {
            for (ptrdiff_t i = 0; i < d; ++i) {
                turned_x[i * BLOCK + s] = x[(n + s) * d + i];
            }
        }
        for (ptrdiff_t k = 0; k < K; ++k) {
            real *white = kept + k * d * BLOCK;
            for (ptrdiff_t i = 0; i < d; ++i) {
                for (ptrdiff_t s = 0; s < BLOCK; s += W) {
                    store(apart + i * BLOCK + s, load(turned_x + i * BLOCK + s) - mu[k * d + i]);
                }
            }
            for (ptrdiff_t j = 0; j < d; j += 8) { /* rows j… of L' begin at column j */
                gemm(d - j < 8 ? d - j : 8, BLOCK, d - j, turned(factor + k * d * d + j * d + j, d),
                     plain(apart + j * BLOCK, BLOCK), white + j * BLOCK, BLOCK, 0);
            }
            for (ptrdiff_t s = 0; s < BLOCK; s += W) {
                vec q = all(0);
                for (ptrdiff_t j = 0; j < d; ++j) {
                    const vec v = load(white + j * BLOCK + s);
                    q = fma_(v, v, q);
                }
                store(terms + k * BLOCK + s, nfma(all((real)0.5), q, all(constant[k])));
            }
        }
        for (ptrdiff_t s = 0; s < BLOCK; s += W) {
            vec top = load(terms + s), all_of = all(0);
            for (ptrdiff_t k = 1; k < K; ++k) {
                top = larger(top, load(terms + k * BLOCK + s));
            }
            for (ptrdiff_t k = 0; k < K; ++k) {
                const vec e = exp_(load(terms + k * BLOCK + s) - top);
                all_of += e;
                store(terms + k * BLOCK + s, e);
            }
            vec use, over;
            const vec total = top + log_(all_of);
            for (int lane = 0; lane < W; ++lane) {
                use[lane] = s + lane < points;
            }
            over = use / (all_of * (real)N);
            value += sum_of(use * total);
            for (ptrdiff_t k = 0; k < K; ++k) {
                store(terms + k * BLOCK + s, load(terms + k * BLOCK + s) * over);
            }
        }
        for (ptrdiff_t k = 0; k < K; ++k) {
            real *white = kept + k * d * BLOCK;
            const real *w = terms + k * BLOCK;
            vec weights = all(0);
            for (ptrdiff_t s = 0; s < BLOCK; s += W) {
                weights += load(w + s);
            }
            mass[k] += sum_of(weights);
            for (ptrdiff_t i = 0; i < d; ++i) {
                vec pull = all(0);
                for (ptrdiff_t s = 0; s < BLOCK; s += W) {
                    store(apart + i * BLOCK + s, load(turned_x + i * BLOCK + s) - mu[k * d + i]);
                    const vec z = -load(w + s) * load(white + i * BLOCK + s);
                    store(white + i * BLOCK + s, z);
                    pull += z;
                }
                pulled[k * d + i] += sum_of(pull);
            }
            for (ptrdiff_t j = 0; j < d; j += 3) {
                const real *three[3];
                for (ptrdiff_t r = 0; r < 3; ++r) { /* a row too many is computed and not used */
                    three[r] = white + (j + r < d ? j + r : d - 1) * BLOCK;
                }
                for (ptrdiff_t i = j - j % 4; i < d; i += 4) {
                    const real *four[4];
                    for (ptrdiff_t r = 0; r < 4; ++r) {
                        four[r] = apart + (i + r < d ? i + r : d - 1) * BLOCK;
                    }
                    dots43(BLOCK, four, three, slope + k * lds * lds + i * lds + j, lds);
                }
            }
        }
    }
    p[5][0] = value / (real)N - (real)0.918938533204672741780 * (real)d;
    for (ptrdiff_t k = 0; k < K; ++k) {
        const real *L = factor + k * d * d, *dL = slope + k * lds * lds;
        real *below = p[9] + k * triangle;
        p[6][k] = mass[k] - share[k];
        for (ptrdiff_t i = 0; i < d; ++i) {
            real pull = 0;
            for (ptrdiff_t j = 0; j <= i; ++j) {
                pull += L[i * d + j] * pulled[k * d + j];
            }
            p[7][k * d + i] = -pull;
            p[8][k * d + i] = mass[k] + dL[i * lds + i] * L[i * d + i];
            for (ptrdiff_t j = 0; j < i; ++j) {
                *below++ = dL[i * lds + j];
            }
        }
    }
}
ARRAYS(mixture, 10)

enum { CELLS = 128, STEPS = 50 };
typedef real field[CELLS + 2 * W]; /* W cells of nothing on both sides */

/* next = base + a k, sum += c k, where k is the second difference of u */
static inline void stage(const real *u, const real *base, real a, real c, real *next, real *sum) {
    for (int i = W; i < CELLS + W; i += W) {
        const vec k = load(u + i - 1) - 2 * load(u + i) + load(u + i + 1);
        store(sum + i, fma_(all(c), k, load(sum + i)));
        if (next) {
            store(next + i, fma_(all(a), k, load(base + i)));
        }
    }
}

/* The step of Runge and Kutta, repeated; `rate` is diffusivity times step by the square of the cells' width. */
static void integrate(real *u, real rate) {
    static field a, b, sum;
    for (int step = 0; step < STEPS; ++step) {
        memcpy(sum, u, sizeof sum);
        stage(u, u, rate / 2, rate / 6, a, sum);
        stage(a, u, rate / 2, rate / 3, b, sum);
        stage(b, u, rate, rate / 3, a, sum);
        stage(a, NULL, 0, rate / 6, NULL, sum);
        memcpy(u, sum, sizeof sum);
    }
}

/* mean((u(T) - t)^2) for the heat equation between ends of temperature 0. The step is linear and symmetric, so that the
 * adjoint is the same integration of the residual. u (128), t (128) -> value, du */
static void heat(const ptrdiff_t *sizes, real *const *p) {
    static field u;
    const real rate = (real)0.4;
    vec total = all(0);
    (void)sizes;
    memcpy(u + W, p[0], CELLS * sizeof(real));
    integrate(u, rate);
    for (int i = 0; i < CELLS; i += W) {
        const vec e = load(u + W + i) - load(p[1] + i);
        total = fma_(e, e, total);
        store(u + W + i, e * ((real)2 / CELLS));
    }
    p[2][0] = sum_of(total) / CELLS;
    integrate(u, rate);
    memcpy(p[3], u + W, CELLS * sizeof(real));
}
ARRAYS(heat, 4)

MODULE(models, METHOD(mixture), METHOD(heat))
