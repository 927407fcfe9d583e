/* Parts of neural networks with all gradients, on the matrix products of gemm.h. */
#include "call.h"
#include "gemm.h"

/* The sums of the columns of d (m, n), n a multiple of W or not. */
static void column_sums(ptrdiff_t m, ptrdiff_t n, const real *d, real *s) {
    memset(s, 0, (size_t)n * sizeof *s);
    for (ptrdiff_t i = 0; i < m; ++i, d += n) {
        ptrdiff_t j = 0;
        for (; j + W <= n; j += W) {
            store(s + j, load(s + j) + load(d + j));
        }
        for (; j < n; ++j) {
            s[j] += d[j];
        }
    }
}

/* e = scale*(y - t), and the sum of the squares of y - t */
static real residual(ptrdiff_t n, const real *y, const real *t, real scale, real *e) {
    vec total = all(0);
    ptrdiff_t j = 0;
    for (; j + W <= n; j += W) {
        const vec d = load(y + j) - load(t + j);
        total = fma_(d, d, total);
        store(e + j, scale * d);
    }
    real sum = sum_of(total);
    for (; j < n; ++j) {
        const real d = y[j] - t[j];
        sum += d * d;
        e[j] = scale * d;
    }
    return sum;
}

/* mean((relu(X W1 + b1) W2 + b2 - T)^2). X, T, W1, b1, W2, b2 -> value, dW1, db1, dW2, db2 */
static void two_layers(const ptrdiff_t *sizes, real *const *p) {
    enum { B = 64, IN = 784, H = 128, O = 10 };
    static real h[B * H], y[B * O], d[B * H];
    (void)sizes;
    gemm(B, H, IN, plain(p[0], IN), plain(p[2], H), h, H, 0);
    for (int i = 0; i < B; ++i) {
        for (int j = 0; j < H; j += W) {
            store(h + i * H + j, larger(load(h + i * H + j) + load(p[3] + j), all(0)));
        }
        memcpy(y + i * O, p[5], O * sizeof(real));
    }
    gemm(B, O, H, plain(h, H), plain(p[4], O), y, O, 1);
    p[6][0] = residual(B * O, y, p[1], (real)2 / (B * O), y) / (B * O);
    gemm(H, O, B, turned(h, H), plain(y, O), p[9], O, 0);
    column_sums(B, O, y, p[10]);
    gemm(B, H, O, plain(y, O), turned(p[4], O), d, H, 0);
    for (int j = 0; j < B * H; j += W) {
        store(d + j, choose(load(h + j) > all(0), load(d + j), all(0)));
    }
    column_sums(B, H, d, p[8]);
    gemm(IN, H, B, turned(p[0], IN), plain(d, H), p[7], H, 0);
}
ARRAYS(two_layers, 11)

/* mean((softmax(Q K' / sqrt(D)) V Wo - T)^2). X, T, Wq, Wk, Wv, Wo -> value, dWq, dWk, dWv, dWo */
static void attention(const ptrdiff_t *sizes, real *const *p) {
    enum { N = 128, D = 64 };
    static real Q[N * D], K[N * D], V[N * D], S[N * N], O[N * D], Y[N * D], dO[N * D], dS[N * N], dV[N * D];
    const matrix X = plain(p[0], D), Xt = turned(p[0], D);
    (void)sizes;
    gemm(N, D, D, X, plain(p[2], D), Q, D, 0);
    gemm(N, D, D, X, plain(p[3], D), K, D, 0);
    gemm(N, D, D, X, plain(p[4], D), V, D, 0);
    gemm(N, N, D, plain(Q, D), turned(K, D), S, N, 0);
    for (int i = 0; i < N; ++i) {
        real *s = S + i * N;
        vec most = load(s), sum = all(0);
        for (int j = W; j < N; j += W) {
            most = larger(most, load(s + j));
        }
        const real top = largest_of(most);
        for (int j = 0; j < N; j += W) {
            const vec e = exp_((load(s + j) - top) * (real)0.125);
            sum += e;
            store(s + j, e);
        }
        const real over = 1 / sum_of(sum);
        for (int j = 0; j < N; j += W) {
            store(s + j, load(s + j) * over);
        }
    }
    gemm(N, D, N, plain(S, N), plain(V, D), O, D, 0);
    gemm(N, D, D, plain(O, D), plain(p[5], D), Y, D, 0);
    p[6][0] = residual(N * D, Y, p[1], (real)2 / (N * D), Y) / (N * D);
    gemm(D, D, N, turned(O, D), plain(Y, D), p[10], D, 0);
    gemm(N, D, D, plain(Y, D), turned(p[5], D), dO, D, 0);
    gemm(N, D, N, turned(S, N), plain(dO, D), dV, D, 0);
    gemm(N, N, D, plain(dO, D), turned(V, D), dS, N, 0);
    for (int i = 0; i < N; ++i) {
        real *s = S + i * N, *ds = dS + i * N;
        vec sum = all(0);
        for (int j = 0; j < N; j += W) {
            sum = fma_(load(s + j), load(ds + j), sum);
        }
        const real inner = sum_of(sum);
        for (int j = 0; j < N; j += W) {
            store(ds + j, load(s + j) * (load(ds + j) - inner) * (real)0.125);
        }
    }
    gemm(N, D, N, plain(dS, N), plain(K, D), O, D, 0);  /* dQ */
    gemm(N, D, N, turned(dS, N), plain(Q, D), dO, D, 0); /* dK */
    gemm(D, D, N, Xt, plain(O, D), p[7], D, 0);
    gemm(D, D, N, Xt, plain(dO, D), p[8], D, 0);
    gemm(D, D, N, Xt, plain(dV, D), p[9], D, 0);
}
ARRAYS(attention, 11)

/* mean((g (x - mean)/sqrt(var + eps) + b - t)^2) by rows. X, T, g, b -> value, dX, dg, db */
static void layer_norm(const ptrdiff_t *sizes, real *const *p) {
    const ptrdiff_t n = sizes[2], m = sizes[0] / n;
    const real scale = (real)2 / (real)(m * n), over = 1 / (real)n;
    real *dg = p[6], *db = p[7];
    vec total = all(0);
    memset(dg, 0, (size_t)n * sizeof *dg);
    memset(db, 0, (size_t)n * sizeof *db);
    for (ptrdiff_t i = 0; i < m; ++i) {
        const real *x = p[0] + i * n, *t = p[1] + i * n;
        real *dx = p[5] + i * n;
        vec s = all(0), q = all(0);
        for (ptrdiff_t j = 0; j < n; j += W) {
            s += load(x + j);
        }
        const real mean = sum_of(s) * over;
        for (ptrdiff_t j = 0; j < n; j += W) {
            const vec d = load(x + j) - mean;
            q = fma_(d, d, q);
        }
        const real inverse = (real)(1 / sqrt((double)(sum_of(q) * over) + 1e-5));
        vec first = all(0), second = all(0);
        for (ptrdiff_t j = 0; j < n; j += W) {
            const vec h = (load(x + j) - mean) * inverse, w = load(p[2] + j);
            const vec d = fma_(w, h, load(p[3] + j)) - load(t + j), e = scale * d, f = e * w;
            total = fma_(d, d, total);
            store(dg + j, fma_(e, h, load(dg + j)));
            store(db + j, load(db + j) + e);
            store(dx + j, f);
            first += f;
            second = fma_(f, h, second);
        }
        const real a = sum_of(first) * over, b = sum_of(second) * over;
        for (ptrdiff_t j = 0; j < n; j += W) {
            const vec h = (load(x + j) - mean) * inverse;
            store(dx + j, inverse * (load(dx + j) - a - h * b));
        }
    }
    p[4][0] = sum_of(total) / (real)(m * n);
}
ARRAYS(layer_norm, 8)

/* mean((relu(conv(x, w) + b) - t)^2), 3 x 3, no padding. x (8, 28, 28), w (8, 8, 3, 3), b (8), t (8, 26, 26) -> value,
 * dx, dw, db. Rows of the picture lie one after the other, so that a shifted picture is a pointer; each row of results
 * has two columns too many, which are cleared. */
static void convolution(const ptrdiff_t *sizes, real *const *p) {
    enum { C = 8, S = 28, O = 26, TAPS = 72, FLAT = O * S, PAD = 2 * S + 2, LONG = PAD + FLAT + PAD };
    static real x[C * S * S + 2 * PAD], y[C * FLAT], d[C * LONG], w[C * TAPS];
    const real *rows[TAPS];
    (void)sizes;
    memcpy(x, p[0], C * S * S * sizeof(real));
    for (int c = 0; c < C; ++c) {
        for (int k = 0; k < 9; ++k) {
            rows[9 * c + k] = x + c * S * S + (k / 3) * S + k % 3;
        }
    }
    gemm_of(C, FLAT, TAPS, plain(p[1], TAPS), plain(NULL, 0), rows, y, FLAT, 0);
    real value = 0;
    for (int c = 0; c < C; ++c) {
        real *slope = d + c * LONG + PAD, sum = 0;
        for (int i = 0; i < O; ++i) {
            for (int j = 0; j < O; ++j) {
                const real a = y[c * FLAT + i * S + j] + p[2][c], e = (a > 0 ? a : 0) - p[3][(c * O + i) * O + j];
                value += e * e;
                const real s = a > 0 ? e * ((real)2 / (C * O * O)) : 0;
                slope[i * S + j] = s;
                sum += s;
            }
        }
        p[7][c] = sum;
    }
    p[4][0] = value / (C * O * O);
    memset(p[6], 0, C * TAPS * sizeof(real));
    for (int o = 0; o < C; o += 4) {
        const real *four[4] = {d + o * LONG + PAD, d + (o + 1) * LONG + PAD, d + (o + 2) * LONG + PAD, d + (o + 3) * LONG + PAD};
        for (int k = 0; k < TAPS; k += 3) {
            dots43(FLAT, four, rows + k, p[6] + o * TAPS + k, TAPS);
        }
    }
    for (int o = 0; o < C; ++o) {
        for (int c = 0; c < C; ++c) {
            for (int k = 0; k < 9; ++k) {
                w[c * TAPS + 9 * o + k] = p[1][o * TAPS + 9 * c + k];
                rows[9 * o + k] = d + o * LONG + PAD - (k / 3) * S - k % 3;
            }
        }
    }
    gemm_of(C, S * S, TAPS, plain(w, TAPS), plain(NULL, 0), rows, p[5], S * S, 0);
}
ARRAYS(convolution, 8)

static inline vec sigmoid_(vec x) { return 1 / (1 + exp_(-x)); }

/* An LSTM over 20 steps and the squared error of what its last state says. xs (T, B, IN), y (B), U (H, 4H), W (IN, 4H),
 * b (4H), v (H) -> value, dU, dW, db, dv. Gates: input, forget, output, candidate. */
static void lstm(const ptrdiff_t *sizes, real *const *p) {
    enum { T = 20, B = 8, IN = 8, H = 32, G = 4 * H };
    static real gates[T * B * G], h[(T + 1) * B * H], c[(T + 1) * B * H], squashed[T * B * H], Ut[G * H];
    static real dh[B * H], dc[B * H], d[T * B * G];
    (void)sizes;
    const real *U = p[2];
    for (int i = 0; i < T * B; ++i) {
        memcpy(gates + i * G, p[4], G * sizeof(real));
    }
    gemm(T * B, G, IN, plain(p[0], IN), plain(p[3], G), gates, G, 1);
    for (int t = 0; t < T; ++t) {
        real *g = gates + t * B * G;
        if (t > 0) {
            gemm(B, G, H, plain(h + t * B * H, H), plain(U, G), g, G, 1);
        }
        for (int s = 0; s < B; ++s, g += G) {
            const ptrdiff_t at = (t * B + s) * H, next = at + B * H;
            for (int j = 0; j < H; j += W) {
                const vec i = sigmoid_(load(g + j)), f = sigmoid_(load(g + H + j)), o = sigmoid_(load(g + 2 * H + j));
                const vec a = tanh_(load(g + 3 * H + j)), new = fma_(f, load(c + at + j), i * a), q = tanh_(new);
                store(g + j, i);
                store(g + H + j, f);
                store(g + 2 * H + j, o);
                store(g + 3 * H + j, a);
                store(c + next + j, new);
                store(squashed + at + j, q);
                store(h + next + j, o * q);
            }
        }
    }
    const real *last = h + T * B * H;
    real value = 0;
    memset(p[10], 0, H * sizeof(real));
    for (int s = 0; s < B; ++s) {
        real e = -p[1][s];
        for (int j = 0; j < H; ++j) {
            e += last[s * H + j] * p[5][j];
        }
        value += e * e;
        e *= (real)2 / B;
        for (int j = 0; j < H; ++j) {
            p[10][j] += e * last[s * H + j];
            dh[s * H + j] = e * p[5][j];
        }
    }
    p[6][0] = value / B;
    memset(dc, 0, sizeof dc);
    for (int i = 0; i < H; ++i) {
        for (int j = 0; j < G; ++j) {
            Ut[j * H + i] = U[i * G + j];
        }
    }
    for (int t = T - 1; t >= 0; --t) {
        for (int s = 0; s < B; ++s) {
            const real *g = gates + (t * B + s) * G;
            real *e = d + (t * B + s) * G;
            const ptrdiff_t at = (t * B + s) * H;
            for (int j = 0; j < H; j += W) {
                const vec i = load(g + j), f = load(g + H + j), o = load(g + 2 * H + j), a = load(g + 3 * H + j);
                const vec q = load(squashed + at + j), up = load(dh + s * H + j);
                const vec down = fma_(up * o, nfma(q, q, all(1)), load(dc + s * H + j));
                store(e + j, down * a * i * (1 - i));
                store(e + H + j, down * load(c + at + j) * f * (1 - f));
                store(e + 2 * H + j, up * q * o * (1 - o));
                store(e + 3 * H + j, down * i * nfma(a, a, all(1)));
                store(dc + s * H + j, down * f);
            }
        }
        if (t > 0) {
            gemm(B, H, G, plain(d + t * B * G, G), plain(Ut, H), dh, H, 0);
        }
    }
    gemm(H, G, T * B, turned(h, H), plain(d, G), p[7], G, 0);
    gemm(IN, G, T * B, turned(p[0], IN), plain(d, G), p[8], G, 0);
    column_sums(T * B, G, d, p[9]);
}
ARRAYS(lstm, 11)

MODULE(networks, METHOD(two_layers), METHOD(attention), METHOD(layer_norm), METHOD(convolution), METHOD(lstm))
