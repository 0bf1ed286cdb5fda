//go:build cgo && !purego

#include "native.h"

#include <math.h>

#include "lanes.h"

// Loops without a sum along the array are left to the compiler, which makes
// vectors of them.
#define R restrict

CLONES void rd_mask(len n, float *R d, const float *R y) {
    for (len i = 0; i < n; i++) d[i] = y[i] > 0 ? d[i] : 0;
}

CLONES void rd_add(len n, float *R dst, const float *R src) {
    for (len i = 0; i < n; i++) dst[i] += src[i];
}

CLONES void rd_axpy(float a, len n, float *R dst, const float *R src) {
    for (len i = 0; i < n; i++) dst[i] += a * src[i];
}

CLONES void rd_mul(int add, len n, float *dst, const float *a, const float *b) {
    len i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf p = load(a + i) * load(b + i);
        store(dst + i, add ? load(dst + i) + p : p);
    }
    for (; i < n; i++) dst[i] = add ? dst[i] + a[i] * b[i] : a[i] * b[i];
}

CLONES void rd_lerp(float tau, len n, float *R dst, const float *R src) {
    for (len i = 0; i < n; i++) dst[i] += tau * (src[i] - dst[i]);
}

CLONES double rd_sum_squares(len n, const float *x) {
    double s[LANES] = {0};
    len i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += (double)x[i + j] * x[i + j];
    for (; i < n; i++) s[0] += (double)x[i] * x[i];
    for (int h = LANES / 2; h > 0; h /= 2)
        for (int j = 0; j < h; j++) s[j] += s[j + h];
    return s[0];
}

CLONES void rd_pixels(len n, float *R dst, const uint8_t *R src) {
    for (len i = 0; i < n; i++) dst[i] = (float)src[i] * (1.f / 255) - 0.5f;
}

void rd_bias(len rows, len d, float *y, const float *b) {
    for (len r = 0; r < rows; r++) memcpy(y + r * d, b, (size_t)d * sizeof *b);
}

CLONES void rd_col_sum(len rows, len d, float *R dst, const float *R x) {
    if (d == 1) { // a column: sums of its own
        vf s = spread(0);
        len i = 0;
        for (; i + LANES <= rows; i += LANES) s += load(x + i);
        float rest = 0;
        for (; i < rows; i++) rest += x[i];
        dst[0] += total(s) + rest;
        return;
    }
    // Eight rows at a time, so that dst is read and written once for them all.
    len r = 0;
    for (; r + 8 <= rows; r += 8, x += 8 * d)
        for (len j = 0; j < d; j++)
            dst[j] += ((x[j] + x[d + j]) + (x[2 * d + j] + x[3 * d + j])) + ((x[4 * d + j] + x[5 * d + j]) + (x[6 * d + j] + x[7 * d + j]));
    for (; r < rows; r++, x += d)
        for (len j = 0; j < d; j++) dst[j] += x[j];
}

CLONES void rd_affine(len rows, len d, float *R y, const float *R x, const float *R gain, const float *R bias) {
    for (len r = 0; r < rows; r++, x += d, y += d)
        for (len j = 0; j < d; j++) y[j] = x[j] * gain[j] + bias[j];
}

CLONES void rd_affine_grad(len rows, len d, int add, float *dx, float *dgain, float *dbias, const float *dy, const float *x, const float *gain) {
    for (len r = 0; r < rows; r++, dy += d, x += d) {
        const float *R t = dy;
        if (dgain) {
            float *R dg = dgain, *R db = dbias;
            for (len j = 0; j < d; j++) {
                dg[j] += t[j] * x[j];
                db[j] += t[j];
            }
        }
        if (!dx) continue;
        float *R out = dx + r * d;
        if (add)
            for (len j = 0; j < d; j++) out[j] += t[j] * gain[j];
        else
            for (len j = 0; j < d; j++) out[j] = t[j] * gain[j];
    }
}

INLINE float dot(len n, const float *x, const float *y) {
    vf s = spread(0);
    len i = 0;
    for (; i + LANES <= n; i += LANES) s += load(x + i) * load(y + i);
    if (i < n) s += load_tail(x + i, n - i, 0) * load_tail(y + i, n - i, 0);
    return total(s);
}

CLONES void rd_softmax(len rows, len d, float c, float *y, const float *x) {
    for (len r = 0; r < rows; r++, x += d, y += d) {
        float top = c * x[0];
        for (len j = 1; j < d; j++) top = c * x[j] > top ? c * x[j] : top;
        vf s = spread(0);
        len j = 0;
        for (; j + LANES <= d; j += LANES) {
            vf e = exp16(c * load(x + j) - top);
            store(y + j, e);
            s += e;
        }
        if (j < d) {
            vf t = c * load_tail(x + j, d - j, 0) - top, e = exp16(t);
            for (len i = d - j; i < LANES; i++) e[i] = 0;
            store_tail(y + j, d - j, e);
            s += e;
        }
        float inv = 1 / total(s);
        for (j = 0; j < d; j++) y[j] *= inv;
    }
}

CLONES void rd_softmax_grad(len rows, len d, float c, int add, float *R dx, const float *R dy, const float *R y) {
    for (len r = 0; r < rows; r++, dx += d, dy += d, y += d) {
        float s = dot(d, y, dy);
        if (add)
            for (len j = 0; j < d; j++) dx[j] += c * y[j] * (dy[j] - s);
        else
            for (len j = 0; j < d; j++) dx[j] = c * y[j] * (dy[j] - s);
    }
}

CLONES void rd_norm(len rows, len d, len per, float eps, int relu, const float *gain, const float *bias,
                    float *mean, float *inv, float *y, const float *x) {
    for (len r = 0; r < rows; r++, x += d, y += d) {
        vf s = spread(0);
        len j = 0;
        for (; j + LANES <= d; j += LANES) s += load(x + j);
        if (j < d) s += load_tail(x + j, d - j, 0);
        float m = total(s) / (float)d;
        s = spread(0);
        for (j = 0; j + LANES <= d; j += LANES) {
            vf c = load(x + j) - m;
            s += c * c;
        }
        if (j < d) {
            vf c = load_tail(x + j, d - j, m) - m;
            s += c * c;
        }
        float v = 1 / sqrtf(total(s) / (float)d + eps);
        mean[r] = m;
        inv[r] = v;
        const float *g = gain ? gain + r / per * d : NULL, *b = bias ? bias + r / per * d : NULL;
        for (j = 0; j < d; j += LANES) {
            len n = d - j < LANES ? d - j : LANES;
            vf h = ((n == LANES ? load(x + j) : load_tail(x + j, n, 0)) - m) * v;
            if (g) h = h * (n == LANES ? load(g + j) : load_tail(g + j, n, 0)) + (n == LANES ? load(b + j) : load_tail(b + j, n, 0));
            if (relu) h = choose(h < 0, spread(0), h);
            if (n == LANES) store(y + j, h);
            else store_tail(y + j, n, h);
        }
    }
}

CLONES void rd_norm_grad(len rows, len d, len per, int relu, const float *gain, const float *mean, const float *inv,
                         int add, float *dx, float *dgain, float *dbias, float *dy, const float *y, const float *x) {
    for (len r = 0; r < rows; r++, x += d, dy += d) {
        if (relu) {
            const float *R p = y + r * d;
            for (len j = 0; j < d; j++) dy[j] = p[j] > 0 ? dy[j] : 0;
        }
        float m = mean[r], v = inv[r];
        const float *g = gain ? gain + r / per * d : NULL;
        if (dgain) {
            float *R dg = dgain + r / per * d, *R db = dbias + r / per * d;
            for (len j = 0; j < d; j++) {
                dg[j] += dy[j] * ((x[j] - m) * v);
                db[j] += dy[j];
            }
        }
        if (!dx) continue;
        vf s = spread(0), p = spread(0);
        for (len j = 0; j < d; j += LANES) {
            len n = d - j < LANES ? d - j : LANES;
            vf t = n == LANES ? load(dy + j) : load_tail(dy + j, n, 0);
            if (g) t *= n == LANES ? load(g + j) : load_tail(g + j, n, 0);
            s += t;
            p += t * ((n == LANES ? load(x + j) : load_tail(x + j, n, m)) - m);
        }
        float a = total(s) / (float)d, q = total(p) * v * v / (float)d;
        float *out = dx + r * d;
        for (len j = 0; j < d; j += LANES) {
            len n = d - j < LANES ? d - j : LANES;
            vf t = n == LANES ? load(dy + j) : load_tail(dy + j, n, 0);
            if (g) t *= n == LANES ? load(g + j) : load_tail(g + j, n, 0);
            t = v * (t - a - ((n == LANES ? load(x + j) : load_tail(x + j, n, 0)) - m) * q);
            if (add) t += n == LANES ? load(out + j) : load_tail(out + j, n, 0);
            if (n == LANES) store(out + j, t);
            else store_tail(out + j, n, t);
        }
    }
}

CLONES void rd_adam(float scale, float b1, float r1, float b2, float r2, float step, float eps, float decay,
                    len n, float *R data, const float *R grad, float *R mean, float *R square) {
    for (len i = 0; i < n; i++) {
        float g = scale * grad[i];
        float m = b1 * mean[i] + r1 * g;
        float v = b2 * square[i] + r2 * g * g;
        mean[i] = m;
        square[i] = v;
        data[i] = data[i] * decay - step * m / (sqrtf(v) + eps);
    }
}
