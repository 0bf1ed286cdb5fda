// Vectors of sixteen floats whatever the processor: the compiler splits them where
// its registers are narrower, and the order of sums stays.
#include <stdint.h>
#include <string.h>

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))
#define LANES 16

INLINE vf load(const float *p) {
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void store(float *p, vf x) { memcpy(p, &x, sizeof x); }

INLINE vf spread(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

// load_tail fills the lanes past the end with pad.
INLINE vf load_tail(const float *p, len n, float pad) {
    vf x = spread(pad);
    memcpy(&x, p, (size_t)n * sizeof *p);
    return x;
}

INLINE void store_tail(float *p, len n, vf x) { memcpy(p, &x, (size_t)n * sizeof *p); }

INLINE float total(vf x) {
    float s[8];
    for (int i = 0; i < 8; i++) s[i] = x[i] + x[i + 8];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// choose is yes where which has all bits set and no where it has none.
INLINE vf choose(vi which, vf yes, vf no) { return (vf)((which & (vi)yes) | (~which & (vi)no)); }
INLINE vf lesser(vf x, vf y) { return choose(x < y, x, y); }
INLINE vf greater(vf x, vf y) { return choose(x > y, x, y); }

// reduced is r of x = k·ln2 + r with |r| ≤ ln2/2; the low bits of *k hold k.
INLINE vf reduced(vf x, vi *k) {
    const float shift = 0x1.8p23f;                          // adding it rounds to an integer in the low bits
    const float hi = 0x1.62e4p-1f, lo = 0x1.7f7d1cp-20f;   // hi+lo = ln 2; k·hi is exact
    vf z = x * 0x1.715476p0f + shift;
    vf n = z - shift;
    *k = (vi)z;
    return (x - n * hi) - n * lo;
}

// expm1r is e^r - 1 for |r| ≤ ln2/2: Taylor's series, whose ninth term is below
// 1e-9.
INLINE vf expm1r(vf r) {
    vf r2 = r * r;
    vf a = r * (1.f / 6) + 0.5f, b = r * (1.f / 120) + 1.f / 24, c = r * (1.f / 5040) + 1.f / 720;
    return r + r2 * (a + r2 * (b + r2 * c));
}

// exp16 is e^x to float32 precision. Below ln of the smallest normal number it is
// zero, above ln of the largest infinite.
INLINE vf exp16(vf x) {
    const float top = 88.722836f, bottom = -87.33654f;
    vi small = x < bottom, large = x > top, nan = x != x;
    vf y = lesser(greater(x, spread(bottom)), spread(top));
    vi k;
    vf r = reduced(y, &k);
    y = (vf)((vi)(expm1r(r) + 1) + (k << 23)); // 2^k: what shift left above falls off
    y = choose(small, spread(0), y);
    y = choose(large, spread(__builtin_inff()), y);
    return choose(nan, x, y);
}

// tanh16 is tanh x = (e^2x - 1)/(e^2x + 1), near zero from e^2x - 1 itself, so that
// small results keep their relative precision.
INLINE vf tanh16(vf x) {
    vf m = expm1r(2 * x);
    vf near = m / (m + 2);
    vf far = 1 - 2 / (exp16(2 * lesser(x, spread(10))) + 1); // 1 - 4e-9 rounds to 1
    vi inside = (x < 0.17f) & (x > -0.17f);
    return choose(inside, near, choose(x != x, x, far));
}

INLINE vf sigmoid16(vf x) { return 1 / (1 + exp16(-x)); }

// phi16 is the normal distribution function to 1e-7 (Abramowitz and Stegun 1964,
// equation 7.1.26, whose bound for erf is 1.5e-7).
INLINE vf phi16(vf x) {
    vf a = choose(x < 0, -x, x) * 0.70710678f;
    vf t = 1 / (1 + 0.3275911f * a);
    vf p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    vf half = 0.5f * p * exp16(-a * a);
    return choose(x < 0, half, 1 - half);
}
