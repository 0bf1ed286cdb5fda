//go:build cgo && !purego

#include "native.h"

#include <math.h>

#include "lanes.h"

#define R restrict

// sums adds up the channels of n pixels of x, and their squares about the means.
INLINE void channel_sums(len n, len c, const float *R x, float *R s) {
    memset(s, 0, (size_t)c * sizeof *s);
    len i = 0;
    for (; i + 4 <= n; i += 4, x += 4 * c)
        for (len j = 0; j < c; j++) s[j] += (x[j] + x[c + j]) + (x[2 * c + j] + x[3 * c + j]);
    for (; i < n; i++, x += c)
        for (len j = 0; j < c; j++) s[j] += x[j];
}

INLINE void channel_squares(len n, len c, const float *R x, const float *R m, float *R s) {
    memset(s, 0, (size_t)c * sizeof *s);
    for (len i = 0; i < n; i++, x += c)
        for (len j = 0; j < c; j++) {
            float d = x[j] - m[j];
            s[j] += d * d;
        }
}

// per_group writes to every channel what its group's channels sum to, times f.
INLINE void per_group(len c, len g, float f, float *s) {
    len w = c / g;
    for (len k = 0; k < g; k++) {
        float t = 0;
        for (len j = k * w; j < (k + 1) * w; j++) t += s[j];
        for (len j = k * w; j < (k + 1) * w; j++) s[j] = t * f;
    }
}

CLONES void rd_groups(len b, len n, len c, len g, float eps, const float *gain, const float *bias,
                      float *mean, float *inv, float *sums, float *y, const float *x) {
    len w = c / g;
    float f = 1 / (float)(n * w);
    float *R m = sums, *R v = sums + c;
    for (len i = 0; i < b; i++, mean += g, inv += g) {
        channel_sums(n, c, x, m);
        per_group(c, g, f, m);
        channel_squares(n, c, x, m, v);
        per_group(c, g, f, v);
        for (len k = 0; k < g; k++) {
            mean[k] = m[k * w];
            inv[k] = 1 / sqrtf(v[k * w] + eps);
        }
        for (len j = 0; j < c; j++) v[j] = gain[j] / sqrtf(v[j] + eps);
        for (len j = 0; j < c; j++) m[j] = bias[j] - m[j] * v[j];
        for (len p = 0; p < n; p++, x += c, y += c) {
            const float *R in = x;
            float *R out = y;
            for (len j = 0; j < c; j++) out[j] = in[j] * v[j] + m[j];
        }
    }
}

CLONES void rd_groups_grad(len b, len n, len c, len g, const float *gain, const float *mean, const float *inv, float *sums,
                           int add, float *dx, float *dgain, float *dbias, const float *dy, const float *x) {
    len w = c / g;
    float f = 1 / (float)(n * w);
    float *R s = sums, *R p = sums + c, *R m = sums + 2 * c;
    for (len i = 0; i < b; i++, mean += g, inv += g, dy += n * c, x += n * c) {
        for (len j = 0; j < c; j++) m[j] = mean[j / w];
        memset(s, 0, 2 * (size_t)c * sizeof *s);
        for (len q = 0; q < n; q++) {
            const float *R t = dy + q * c, *R in = x + q * c;
            for (len j = 0; j < c; j++) {
                s[j] += t[j];
                p[j] += t[j] * (in[j] - m[j]);
            }
        }
        if (dgain)
            for (len j = 0; j < c; j++) {
                dgain[j] += p[j] * inv[j / w];
                dbias[j] += s[j];
            }
        if (!dx) continue;
        for (len j = 0; j < c; j++) {
            s[j] *= gain[j];
            p[j] *= gain[j];
        }
        per_group(c, g, f, s);
        per_group(c, g, f, p);
        // dx = inv·(gain·dy - s - (x - mean)·inv²·p), as dy·a + x·k + d.
        float *R a = m, *R k = p, *R d = s;
        for (len j = 0; j < c; j++) {
            float v = inv[j / w];
            float slope = -v * v * v * p[j];
            d[j] = -v * s[j] - slope * m[j];
            k[j] = slope;
            a[j] = v * gain[j];
        }
        for (len q = 0; q < n; q++) {
            const float *R t = dy + q * c, *R in = x + q * c;
            float *R out = dx + i * n * c + q * c;
            if (add)
                for (len j = 0; j < c; j++) out[j] += t[j] * a[j] + in[j] * k[j] + d[j];
            else
                for (len j = 0; j < c; j++) out[j] = t[j] * a[j] + in[j] * k[j] + d[j];
        }
    }
}

// place is pixel i of n on [-1,1].
INLINE float place(len i, len n) { return n == 1 ? 0 : 2 * (float)i / (float)(n - 1) - 1; }

CLONES void rd_spatial_softmax(len b, len h, len w, len c, float t, float *y, float *prob, const float *x) {
    len n = h * w;
    float inv = 1 / t;
    for (len i = 0; i < b; i++, x += n * c, prob += n * c, y += 2 * c)
        for (len j = 0; j < c; j += LANES) {
            len k = c - j < LANES ? c - j : LANES;
            vf top = spread(-__builtin_inff());
            for (len p = 0; p < n; p++) top = greater(k == LANES ? load(x + p * c + j) : load_tail(x + p * c + j, k, 0), top);
            vf s = spread(0), sx = s, sy = s;
            for (len p = 0; p < n; p++) {
                vf e = exp16(((k == LANES ? load(x + p * c + j) : load_tail(x + p * c + j, k, 0)) - top) * inv);
                if (k == LANES) store(prob + p * c + j, e);
                else store_tail(prob + p * c + j, k, e);
                s += e;
                sx += e * place(p % w, w);
                sy += e * place(p / w, h);
            }
            s = 1 / s;
            for (len p = 0; p < n; p++) {
                if (k == LANES) store(prob + p * c + j, load(prob + p * c + j) * s);
                else store_tail(prob + p * c + j, k, load_tail(prob + p * c + j, k, 0) * s);
            }
            for (len l = 0; l < k; l++) {
                y[2 * (j + l)] = sx[l] * s[l];
                y[2 * (j + l) + 1] = sy[l] * s[l];
            }
        }
}

CLONES void rd_spatial_softmax_grad(len b, len h, len w, len c, float t, float *dx, const float *dy, const float *y, const float *prob) {
    len n = h * w;
    float inv = 1 / t;
    for (len i = 0; i < b; i++, prob += n * c, dx += n * c, y += 2 * c, dy += 2 * c)
        for (len j = 0; j < c; j += LANES) {
            len k = c - j < LANES ? c - j : LANES;
            vf gx = spread(0), gy = gx, off = gx;
            for (len l = 0; l < k; l++) {
                gx[l] = dy[2 * (j + l)] * inv;
                gy[l] = dy[2 * (j + l) + 1] * inv;
                off[l] = gx[l] * y[2 * (j + l)] + gy[l] * y[2 * (j + l) + 1];
            }
            for (len p = 0; p < n; p++) {
                vf g = gx * place(p % w, w) + gy * place(p / w, h) - off;
                float *d = dx + p * c + j;
                const float *q = prob + p * c + j;
                if (k == LANES) store(d, load(d) + load(q) * g);
                else store_tail(d, k, load_tail(d, k, 0) + load_tail(q, k, 0) * g);
            }
        }
}
