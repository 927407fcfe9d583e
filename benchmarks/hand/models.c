/* A Gaussian mixture and a heat equation. */
#include "call.h"
#include "gemm.h"

/* A tile has five rows, and as many vectors as the registers hold beside them. */
enum { TALL = 5, WIDE = VECTOR_BYTES == 64 ? 4 : 2, SLOPES = VECTOR_BYTES == 64 ? 5 : 2 };
#define EACH(i, count) _Pragma("GCC unroll 8") for (int i = 0; i < count; ++i)

#define LOADED __asm__ volatile("" ::: "memory") /* gcc would read operands again for each product */

/* Rows j, j + 1 … of white = L' (x - mu) for a few vectors of points; row j of L' begins at column j. Their squares are
 * added to q. */
static inline void whiten(ptrdiff_t d, ptrdiff_t j, const real *L, ptrdiff_t ldl, const real *x, const real *mu,
                          real *white, real *q, ptrdiff_t block) {
    vec s[TALL][WIDE];
    EACH(r, TALL) EACH(v, WIDE) s[r][v] = all(0);
    for (ptrdiff_t i = j; i < d; ++i) {
        vec a[WIDE];
        EACH(v, WIDE) a[v] = load(x + i * block + v * W) - mu[i];
        LOADED;
        EACH(r, TALL) {
            const vec l = all(L[i * ldl + j + r]);
            EACH(v, WIDE) s[r][v] = fma_(l, a[v], s[r][v]);
        }
    }
    EACH(v, WIDE) {
        vec squares = load(q + v * W);
        EACH(r, TALL) {
            store(white + (j + r) * block + v * W, s[r][v]);
            squares = fma_(s[r][v], s[r][v], squares);
        }
        store(q + v * W, squares);
    }
}

/* slope (5 rows) += the scalar products of 5 rows of x - mu with a few of z */
static inline void slopes(ptrdiff_t block, const real *x, const real *mu, const real *z, real *slope, ptrdiff_t lds) {
    vec s[TALL][SLOPES];
    EACH(r, TALL) EACH(c, SLOPES) s[r][c] = all(0);
    for (ptrdiff_t p = 0; p < block; p += W) {
        vec y[SLOPES];
        EACH(c, SLOPES) y[c] = load(z + c * block + p);
        LOADED;
        EACH(r, TALL) {
            const vec a = load(x + r * block + p) - mu[r];
            EACH(c, SLOPES) s[r][c] = fma_(a, y[c], s[r][c]);
        }
    }
    EACH(r, TALL) EACH(c, SLOPES) slope[r * lds + c] += sum_of(s[r][c]);
}

/* Mean log-likelihood of x (N, d) under K Gaussians with precision matrices L L'. x, alpha (K), mu (K, d),
 * log_diagonal (K, d), below (K, d(d-1)/2) -> value, dalpha, dmu, dlog_diagonal, dbelow.
 *
 * Points lie in the columns, so that vectors hold points: white = L' (x - mu) is a triangular product for a block of them,
 * and is kept until the weights of the components are known. The slope by L is then (x - mu) times -w white. Blocks are
 * as long as the second cache has room for what is kept; matrices have rows and columns of nothing, to fill tiles. */
static void mixture(const ptrdiff_t *sizes, real *const *p) {
    enum { COMPONENTS = 100, MOST = 65, LARGE = 74, SHORT = 64, LONG = 256, ROOM = 1 << 18 };
    static real kept[COMPONENTS * MOST * SHORT + ROOM], turned_x[MOST * LONG], centre[COMPONENTS * MOST];
    static real factor[COMPONENTS * MOST * LARGE], slope[COMPONENTS * MOST * LARGE];
    static real terms[COMPONENTS * LONG], constant[COMPONENTS], mass[COMPONENTS], share[COMPONENTS];
    static real pulled[COMPONENTS * MOST];
    const ptrdiff_t K = sizes[1], d = sizes[2] / K, N = sizes[0] / d, triangle = d * (d - 1) / 2;
    const ptrdiff_t rows = (d + TALL - 1) / TALL * TALL, ld = rows + TALL;
    const real *x = p[0], *alpha = p[1], *mu = p[2];
    ptrdiff_t block = LONG;
    real most = alpha[0], sum = 0, value = 0;
    while (block > SHORT && K * rows * block * (ptrdiff_t)sizeof(real) > ROOM) {
        block /= 2;
    }
    for (ptrdiff_t k = 1; k < K; ++k) {
        most = alpha[k] > most ? alpha[k] : most;
    }
    for (ptrdiff_t k = 0; k < K; ++k) {
        sum += share[k] = (real)exp(alpha[k] - most);
    }
    memset(factor, 0, sizeof *factor * (size_t)(K * rows * ld));
    for (ptrdiff_t k = 0; k < K; ++k) {
        real *L = factor + k * rows * ld, logs = 0;
        const real *below = p[4] + k * triangle;
        for (ptrdiff_t i = 0; i < d; ++i) {
            for (ptrdiff_t j = 0; j < i; ++j) {
                L[i * ld + j] = *below++;
            }
            L[i * ld + i] = (real)exp(p[3][k * d + i]);
            logs += p[3][k * d + i];
            centre[k * rows + i] = mu[k * d + i];
        }
        constant[k] = alpha[k] - most - (real)log(sum) + logs;
        share[k] /= sum;
        mass[k] = 0;
    }
    memset(slope, 0, sizeof *slope * (size_t)(K * rows * ld));
    memset(pulled, 0, sizeof *pulled * (size_t)(K * d));
    memset(turned_x, 0, sizeof *turned_x * (size_t)(rows * block));
    for (ptrdiff_t n = 0; n < N; n += block) {
        const ptrdiff_t points = N - n < block ? N - n : block;
        if (points < block) {
            memset(turned_x, 0, sizeof *turned_x * (size_t)(d * block));
        }
        for (ptrdiff_t s = 0; s < points; ++s) {
            for (ptrdiff_t i = 0; i < d; ++i) {
                turned_x[i * block + s] = x[(n + s) * d + i];
            }
        }
        for (ptrdiff_t k = 0; k < K; ++k) {
            real *white = kept + k * rows * block, *q = terms + k * block;
            memset(q, 0, sizeof *q * (size_t)block);
            for (ptrdiff_t j = 0; j < d; j += TALL) {
                for (ptrdiff_t s = 0; s < block; s += WIDE * W) {
                    whiten(d, j, factor + k * rows * ld, ld, turned_x + s, centre + k * rows, white + s, q + s, block);
                }
            }
        }
        for (ptrdiff_t s = 0; s < block; s += W) {
            vec top = all(-INFINITY), all_of = all(0);
            for (ptrdiff_t k = 0; k < K; ++k) {
                const vec term = nfma(all((real)0.5), load(terms + k * block + s), all(constant[k]));
                store(terms + k * block + s, term);
                top = larger(top, term);
            }
            for (ptrdiff_t k = 0; k < K; ++k) {
                const vec e = exp_(load(terms + k * block + s) - top);
                all_of += e;
                store(terms + k * block + s, e);
            }
            vec use, over;
            const vec total = top + log_(all_of);
            for (int lane = 0; lane < W; ++lane) {
                use[lane] = s + lane < points;
            }
            over = use / (all_of * (real)N);
            value += sum_of(use * total);
            for (ptrdiff_t k = 0; k < K; ++k) {
                store(terms + k * block + s, load(terms + k * block + s) * over);
            }
        }
        for (ptrdiff_t k = 0; k < K; ++k) {
            real *white = kept + k * rows * block;
            const real *w = terms + k * block;
            vec weights = all(0);
            for (ptrdiff_t s = 0; s < block; s += W) {
                weights += load(w + s);
            }
            mass[k] += sum_of(weights);
            for (ptrdiff_t i = 0; i < d; ++i) {
                vec pull = all(0);
                for (ptrdiff_t s = 0; s < block; s += W) {
                    const vec z = -load(w + s) * load(white + i * block + s);
                    store(white + i * block + s, z);
                    pull += z;
                }
                pulled[k * d + i] += sum_of(pull);
            }
            for (ptrdiff_t i = 0; i < d; i += TALL) {
                for (ptrdiff_t j = 0; j < i + TALL; j += SLOPES) {
                    slopes(block, turned_x + i * block, centre + k * rows + i, white + j * block,
                           slope + k * rows * ld + i * ld + j, ld);
                }
            }
        }
    }
    p[5][0] = value / (real)N - (real)0.918938533204672741780 * (real)d;
    for (ptrdiff_t k = 0; k < K; ++k) {
        const real *L = factor + k * rows * ld, *dL = slope + k * rows * ld;
        real *below = p[9] + k * triangle;
        p[6][k] = mass[k] - share[k];
        for (ptrdiff_t i = 0; i < d; ++i) {
            real pull = 0;
            for (ptrdiff_t j = 0; j <= i; ++j) {
                pull += L[i * ld + j] * pulled[k * d + j];
            }
            p[7][k * d + i] = -pull;
            p[8][k * d + i] = mass[k] + dL[i * ld + i] * L[i * ld + i];
            for (ptrdiff_t j = 0; j < i; ++j) {
                *below++ = dL[i * ld + j];
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
