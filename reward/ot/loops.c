//go:build cgo && !purego

#include "loops.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

// Eight lanes whatever the processor: the compiler splits them where its
// registers are narrower, and the order of the sums stays.
typedef double v8 __attribute__((vector_size(64)));
typedef int64_t i8 __attribute__((vector_size(64)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))
#define LANES 8

INLINE v8 load(const double *p) {
    v8 x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void store(double *p, v8 x) { memcpy(p, &x, sizeof x); }

// load_tail fills the lanes past the end with pad.
INLINE v8 load_tail(const double *p, ptrdiff_t len, double pad) {
    double t[LANES] = {pad, pad, pad, pad, pad, pad, pad, pad};
    memcpy(t, p, (size_t)len * sizeof *p);
    return load(t);
}

INLINE void store_tail(double *p, ptrdiff_t len, v8 x) {
    double t[LANES];
    store(t, x);
    memcpy(p, t, (size_t)len * sizeof *p);
}

INLINE double total(v8 x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

INLINE v8 spread(double x) { return (v8){x, x, x, x, x, x, x, x}; }

// choose is yes where which has all bits set and no where it has none.
INLINE v8 choose(i8 which, v8 yes, v8 no) { return (v8)((which & (i8)yes) | (~which & (i8)no)); }

INLINE v8 lesser(v8 x, v8 y) { return choose(x < y, x, y); }

// exp8 is e^x: x = k·ln2 + r with |r| ≤ ln2/2, and the Taylor series of e^r,
// whose fourteenth power is below 5e-18. Below -708 it is zero and above 708 it
// counts as 708, a little inside the normal numbers, so that the exponent can be
// put together by an addition. The relative error is under 4e-16.
INLINE v8 exp8(v8 x) {
    const double shift = 0x1.8p52; // adding it rounds to an integer in the low bits
    // ln2 in two parts: the high one has 32 bits, so that its product with an
    // integer below 2^11 is exact.
    const double hi = 0x1.62e42feep-1, lo = 0x1.a39ef35793c76p-33;
    i8 small = x < -708;
    x = lesser(x, spread(708));
    x = choose(small, spread(0), x);
    v8 z = x * 0x1.71547652b82fep0 + shift;
    v8 k = z - shift;
    v8 r = (x - k * hi) - k * lo;
    v8 r2 = r * r, r4 = r2 * r2;
    // Estrin's order: the powers need not wait for one another.
    v8 p01 = r * (1. / 6) + 0.5, p23 = r * (1. / 120) + 1. / 24;
    v8 p45 = r * (1. / 5040) + 1. / 720, p67 = r * (1. / 362880) + 1. / 40320;
    v8 p89 = r * (1. / 39916800) + 1. / 3628800, pab = r * (1. / 6227020800) + 1. / 479001600;
    v8 q0 = p23 * r2 + p01, q1 = p67 * r2 + p45, q2 = pab * r2 + p89;
    v8 p = (q2 * r4 + q1) * r4 + q0;
    v8 y = r2 * p + r + 1;
    i8 e = ((i8)z) << 52; // 2^k: what shift left above the integer falls off
    y = (v8)((i8)y + e);
    return choose(small, spread(0), y);
}

CLONES void ot_exp(double *x, ptrdiff_t len) {
    ptrdiff_t i = 0;
    for (; i + LANES <= len; i += LANES) store(x + i, exp8(load(x + i)));
    if (i < len) store_tail(x + i, len - i, exp8(load_tail(x + i, len - i, 0)));
}

CLONES int ot_span(const double *c, ptrdiff_t len, double *lo, double *hi) {
    v8 l = spread(c[0]), h = l, bad = spread(0);
    ptrdiff_t i = 0;
    for (; i < len; i += LANES) {
        v8 x = i + LANES <= len ? load(c + i) : load_tail(c + i, len - i, c[0]);
        l = choose(x < l, x, l);
        h = choose(x > h, x, h);
        bad += x - x; // NaN for infinities and NaN
    }
    *lo = l[0], *hi = h[0];
    for (int j = 1; j < LANES; j++) {
        if (l[j] < *lo) *lo = l[j];
        if (h[j] > *hi) *hi = h[j];
    }
    return total(bad) == 0;
}

// add_row is s += w·k for one row.
INLINE void add_row(ptrdiff_t m, const double *k, double w, double *s) {
    ptrdiff_t j = 0;
    for (; j + LANES <= m; j += LANES) store(s + j, load(s + j) + w * load(k + j));
    for (; j < m; j++) s[j] += w * k[j];
}

INLINE void add_four(ptrdiff_t m, const double *k, const double *w, double *s) {
    ptrdiff_t j = 0;
    for (; j + LANES <= m; j += LANES) {
        v8 x = (w[0] * load(k + j) + w[1] * load(k + m + j)) + (w[2] * load(k + 2 * m + j) + w[3] * load(k + 3 * m + j));
        store(s + j, load(s + j) + x);
    }
    for (; j < m; j++) s[j] += (w[0] * k[j] + w[1] * k[m + j]) + (w[2] * k[2 * m + j] + w[3] * k[3 * m + j]);
}

INLINE double dot(ptrdiff_t m, const double *x, const double *y) {
    v8 s = spread(0), t = s;
    ptrdiff_t j = 0;
    for (; j + 2 * LANES <= m; j += 2 * LANES) {
        s += load(x + j) * load(y + j);
        t += load(x + j + LANES) * load(y + j + LANES);
    }
    if (j + LANES <= m) {
        s += load(x + j) * load(y + j);
        j += LANES;
    }
    double rest = 0;
    for (; j < m; j++) rest += x[j] * y[j];
    return total(s + t) + rest;
}

CLONES void ot_cold(ptrdiff_t n, ptrdiff_t m, const double *c, double inv, const double *a,
                    double *k, double *alpha, double *u, double *s) {
    memset(s, 0, (size_t)m * sizeof *s);
    for (ptrdiff_t i = 0; i < n; i++, c += m, k += m) {
        v8 l = spread(c[0]);
        ptrdiff_t j = 0;
        for (; j + LANES <= m; j += LANES) l = lesser(load(c + j), l);
        double lo = l[0];
        for (int t = 1; t < LANES; t++) lo = l[t] < lo ? l[t] : lo;
        for (; j < m; j++) lo = c[j] < lo ? c[j] : lo;
        alpha[i] = lo * inv;
        v8 sum = spread(0);
        for (j = 0; j + LANES <= m; j += LANES) {
            v8 x = exp8((lo - load(c + j)) * inv);
            store(k + j, x);
            sum += x;
        }
        if (j < m) {
            v8 x = exp8((lo - load_tail(c + j, m - j, INFINITY)) * inv); // the pad becomes zero
            store_tail(k + j, m - j, x);
            sum += x;
        }
        u[i] = a[i] / total(sum);
        add_row(m, k, u[i], s);
    }
}

CLONES void ot_exponentiate(ptrdiff_t n, ptrdiff_t m, const double *c, double inv,
                            const double *alpha, const double *beta, double *k) {
    for (ptrdiff_t i = 0; i < n; i++, c += m, k += m) {
        ptrdiff_t j = 0;
        for (; j + LANES <= m; j += LANES) store(k + j, exp8(alpha[i] + (load(beta + j) - load(c + j) * inv)));
        if (j < m) {
            v8 x = alpha[i] + (load_tail(beta + j, m - j, 0) - load_tail(c + j, m - j, 0) * inv);
            store_tail(k + j, m - j, exp8(x));
        }
    }
}

CLONES void ot_rows(ptrdiff_t n, ptrdiff_t m, const double *k, const double *v, const double *a,
                    double *u, double *s) {
    memset(s, 0, (size_t)m * sizeof *s);
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4, k += 4 * m) {
        for (int r = 0; r < 4; r++) u[i + r] = a[i + r] / dot(m, k + r * m, v);
        add_four(m, k, u + i, s);
    }
    for (; i < n; i++, k += m) {
        u[i] = a[i] / dot(m, k, v);
        add_row(m, k, u[i], s);
    }
}

CLONES void ot_curve(ptrdiff_t n, ptrdiff_t m, const double *k, const double *v, const double *a,
                     const double *u, double *s) {
    memset(s, 0, (size_t)m * sizeof *s);
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4, k += 4 * m) {
        double w[4];
        for (int r = 0; r < 4; r++) w[r] = dot(m, k + r * m, v) * u[i + r] * u[i + r] / a[i + r];
        add_four(m, k, w, s);
    }
    for (; i < n; i++, k += m) add_row(m, k, dot(m, k, v) * u[i] * u[i] / a[i], s);
}

CLONES double ot_plan(ptrdiff_t n, ptrdiff_t m, const double *k, const double *u, const double *v,
                      const double *c, double *p) {
    double cost = 0;
    for (ptrdiff_t i = 0; i < n; i++, k += m, c += m, p += m) {
        v8 sum = spread(0);
        double rest = 0;
        ptrdiff_t j = 0;
        for (; j + LANES <= m; j += LANES) {
            v8 x = u[i] * (load(k + j) * load(v + j));
            store(p + j, x);
            sum += x * load(c + j);
        }
        for (; j < m; j++) {
            p[j] = u[i] * (k[j] * v[j]);
            rest += p[j] * c[j];
        }
        cost += total(sum) + rest;
    }
    return cost;
}
