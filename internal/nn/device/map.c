//go:build cgo && !purego

#include "native.h"

#include <math.h>

#include "lanes.h"

// The functions in the order of Op.
enum { RELU, TANH, SIGMOID, SILU, GELU, MISH, SOFTPLUS, EXP, SQUARE };

// softplus and mish: e = e^x; above 20 both are x to the last bit.
INLINE vf mish_tanh(vf e) {
    vf n = e * (e + 2);
    return n / (n + 2);
}

INLINE vf softplus16(vf x) {
    vf e = exp16(x), y;
    for (int i = 0; i < LANES; i++) y[i] = log1pf(e[i]);
    return choose(x > 20, x, y);
}

INLINE vf map16(int f, vf x) {
    switch (f) {
    case RELU: return choose(x < 0, spread(0), x);
    case TANH: return tanh16(x);
    case SIGMOID: return sigmoid16(x);
    case SILU: return x * sigmoid16(x);
    case GELU: return x * phi16(x);
    case MISH: return choose(x > 20, x, x * mish_tanh(exp16(lesser(x, spread(20)))));
    case SOFTPLUS: return softplus16(x);
    case EXP: return exp16(x);
    default: return x * x;
    }
}

INLINE vf grad16(int f, vf x, vf y) {
    switch (f) {
    case RELU: return choose(y > 0, spread(1), spread(0));
    case TANH: return 1 - y * y;
    case SIGMOID: return y * (1 - y);
    case SILU: {
        vf s = sigmoid16(x);
        return s + y * (1 - s);
    }
    case GELU: return phi16(x) + x * exp16(-0.5f * x * x) * 0.3989422804f;
    case MISH: {
        // t + x·(1 - t²)·sigmoid x with 1 - t² = 4(n+1)/(n+2)², n = e(e+2)
        vf e = exp16(lesser(x, spread(20))), n = e * (e + 2), d = 1 / (n + 2);
        vf g = n * d + x * (4 * (n + 1) * d * d) * (e / (1 + e));
        return choose(x > 20, spread(1), choose(x != x, x, g));
    }
    case SOFTPLUS: return sigmoid16(x);
    case EXP: return y;
    default: return 2 * x;
    }
}

#define MAP(f)                                                                   \
    for (; i + LANES <= n; i += LANES) store(y + i, map16(f, load(x + i)));      \
    if (i < n) store_tail(y + i, n - i, map16(f, load_tail(x + i, n - i, 0)));   \
    break;

CLONES void rd_map(int f, len n, float *y, const float *x) {
    len i = 0;
    switch (f) {
    case RELU: MAP(RELU)
    case TANH: MAP(TANH)
    case SIGMOID: MAP(SIGMOID)
    case SILU: MAP(SILU)
    case GELU: MAP(GELU)
    case MISH: MAP(MISH)
    case SOFTPLUS: MAP(SOFTPLUS)
    case EXP: MAP(EXP)
    default: MAP(SQUARE)
    }
}

#define GRAD(f)                                                                                            \
    for (; i + LANES <= n; i += LANES) {                                                                   \
        vf d = load(dy + i) * grad16(f, load(x + i), load(y + i));                                         \
        store(dx + i, add ? load(dx + i) + d : d);                                                         \
    }                                                                                                      \
    if (i < n) {                                                                                           \
        vf d = load_tail(dy + i, n - i, 0) * grad16(f, load_tail(x + i, n - i, 0), load_tail(y + i, n - i, 0)); \
        store_tail(dx + i, n - i, add ? load_tail(dx + i, n - i, 0) + d : d);                              \
    }                                                                                                      \
    break;

CLONES void rd_map_grad(int f, int add, len n, float *dx, const float *dy, const float *x, const float *y) {
    len i = 0;
    switch (f) {
    case RELU: GRAD(RELU)
    case TANH: GRAD(TANH)
    case SIGMOID: GRAD(SIGMOID)
    case SILU: GRAD(SILU)
    case GELU: GRAD(GELU)
    case MISH: GRAD(MISH)
    case SOFTPLUS: GRAD(SOFTPLUS)
    case EXP: GRAD(EXP)
    default: GRAD(SQUARE)
    }
}
