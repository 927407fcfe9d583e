/* Losses of one affine map: the matrix is read from memory once, 16 rows at a time for value and gradient. */
#include "call.h"
#include "gemm.h"

enum { BLOCK = 16 };

static void clear(real *g, ptrdiff_t n) { memset(g, 0, (size_t)n * sizeof *g); }

/* 1/2 |A x - b|^2. x (k), A (n, k), b (n) -> value, dx (k) */
static void least_squares(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t k = sizes[0], n = sizes[2];
    const real *A = p[1];
    real value = 0;
    clear(p[4], k);
    for (ptrdiff_t i = 0; i < n; i += 4, A += 4 * k) {
        real e[4];
        dot4(k, A, k, p[0], e);
        for (int r = 0; r < 4; ++r) {
            e[r] -= p[2][i + r];
            value += e[r] * e[r];
        }
        axpy4(k, A, k, e, p[4]);
    }
    p[3][0] = value / 2;
}
ARRAYS(least_squares, 5)

/* mean(softplus(z) - y z), z = X w. w (k), X (n, k), y (n) -> value, dw (k) */
static void logistic(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t k = sizes[0], n = sizes[2];
    vec total = all(0);
    clear(p[4], k);
    for (ptrdiff_t i = 0; i < n; i += BLOCK) {
        const ptrdiff_t rows = n - i < BLOCK ? n - i : BLOCK;
        const real *X = p[1] + i * k;
        real z[BLOCK] = {0}, y[BLOCK] = {0}, d[BLOCK], keep[BLOCK] = {0};
        for (ptrdiff_t r = 0; r < rows; r += 4) {
            dot4(k, X + r * k, k, p[0], z + r);
        }
        for (ptrdiff_t r = 0; r < rows; ++r) {
            y[r] = p[2][i + r];
            keep[r] = 1;
        }
        for (ptrdiff_t r = 0; r < BLOCK; r += W) {
            const vec v = load(z + r), t = load(y + r), e = exp_(choose(v > all(0), -v, v)), one = all(1);
            const vec over = one / (one + e);
            total = fma_(load(keep + r), larger(v, all(0)) + log_(one + e) - t * v, total);
            store(d + r, (choose(v > all(0), one, e) * over - t) / (real)n);
        }
        for (ptrdiff_t r = 0; r < rows; r += 4) {
            axpy4(k, X + r * k, k, d + r, p[4]);
        }
    }
    p[3][0] = sum_of(total) / (real)n;
}
ARRAYS(logistic, 5)

/* logsumexp(A x + b) in one pass: the sums so far are scaled when a larger term comes.
 * x (k), b (n), A (n, k) -> value, dx (k), db (n) */
static void logsumexp_affine(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t k = sizes[0], n = sizes[1];
    real most = -INFINITY, sum = 0, *restrict dx = p[4], *restrict db = p[5];
    clear(dx, k);
    for (ptrdiff_t i = 0; i < n; i += BLOCK) {
        const ptrdiff_t rows = n - i < BLOCK ? n - i : BLOCK;
        const real *A = p[2] + i * k;
        real z[BLOCK], before = most;
        for (ptrdiff_t r = rows; r < BLOCK; ++r) {
            z[r] = -INFINITY;
        }
        for (ptrdiff_t r = 0; r < rows; r += 4) {
            dot4(k, A + r * k, k, p[0], z + r);
        }
        for (ptrdiff_t r = 0; r < rows; ++r) {
            db[i + r] = z[r] += p[1][i + r];
            most = z[r] > most ? z[r] : most;
        }
        if (most > before) {
            const real scale = (real)exp(before - most);
            sum *= scale;
            for (ptrdiff_t j = 0; j < k; ++j) {
                dx[j] *= scale;
            }
        }
        for (ptrdiff_t r = 0; r < BLOCK; r += W) {
            store(z + r, exp_(load(z + r) - most));
        }
        for (ptrdiff_t r = 0; r < rows; ++r) {
            sum += z[r];
        }
        for (ptrdiff_t r = 0; r < rows; r += 4) {
            axpy4(k, A + r * k, k, z + r, dx);
        }
    }
    const real over = 1 / sum, value = most + (real)log(sum);
    p[3][0] = value;
    for (ptrdiff_t j = 0; j < k; ++j) {
        dx[j] *= over;
    }
    ptrdiff_t i = 0;
    for (; i + W <= n; i += W) {
        store(db + i, exp_(load(db + i) - value));
    }
    for (; i < n; ++i) {
        db[i] = (real)exp(db[i] - value);
    }
}
ARRAYS(logsumexp_affine, 6)

MODULE(linear, METHOD(least_squares), METHOD(logistic), METHOD(logsumexp_affine))
