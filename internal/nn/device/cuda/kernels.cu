// The kernels of the CUDA device: what oneDNN's companion loops are to the
// processor. NVRTC compiles this text for the card that is there, without fast
// mathematics. Nothing adds atomically, so that equal inputs give equal bits;
// long sums go in two stages whose order depends on the shape alone.
//
// Every parameter is a pointer, an int (L) or a float, which is how the caller
// packs them. 32 bits are enough for an index, since no array has 2^31 elements,
// and divide several times as fast as 64.

typedef int L;

#define KERNEL extern "C" __global__ void
#define EACH(i, n) for (L i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)
#define FROM(c, lo, n) for (L c = (lo) + threadIdx.x; c < (n); c += blockDim.x)

// total is the sum of v over the block, known to every thread.
template <class V> __device__ V total(V v, V *shared) {
	for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
	int warps = blockDim.x >> 5;
	if (warps == 1) return v;
	__syncthreads(); // shared may still be read from the sum before
	if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
	__syncthreads();
	V s = 0;
	for (int i = 0; i < warps; i++) s += shared[i];
	return s;
}

__device__ float most(float v, float *shared) {
	for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
	int warps = blockDim.x >> 5;
	if (warps == 1) return v;
	__syncthreads();
	if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = v;
	__syncthreads();
	float m = shared[0];
	for (int i = 1; i < warps; i++) m = fmaxf(m, shared[i]);
	return m;
}

// ---- elementwise functions, numbered as device.Op ----

__device__ float sigmoid(float x) {
	if (x >= 0) return 1 / (1 + expf(-x));
	float e = expf(x);
	return e / (1 + e);
}
__device__ float softplus(float x) { return x > 20 ? x : log1pf(expf(x)); }
__device__ float phi(float x) { return 0.5f * erfcf(x * -0.70710678118654752f); }
// flushed is e^x with what is no normal number taken for zero, as the other devices do.
__device__ float flushed(float x) { return x < -87.33654f ? 0.0f : expf(x); }

__device__ float ahead(L f, float x) {
	switch (f) {
	case 0: return x > 0 ? x : (x != x ? x : 0.0f);
	case 1: return tanhf(x);
	case 2: return sigmoid(x);
	case 3: return x * sigmoid(x);
	case 4: return x * phi(x);
	case 5: return x * tanhf(softplus(x));
	case 6: return softplus(x);
	case 7: return flushed(x);
	default: return x * x;
	}
}

__device__ float slope(L f, float x, float y) {
	switch (f) {
	case 0: return y > 0 ? 1.0f : 0.0f;
	case 1: return 1 - y * y;
	case 2: return y * (1 - y);
	case 3: { float s = sigmoid(x); return s + y * (1 - s); }
	case 4: return phi(x) + x * expf(-x * x / 2) * 0.39894228040143268f;
	case 5: { float t = tanhf(softplus(x)); return t + x * (1 - t * t) * sigmoid(x); }
	case 6: return sigmoid(x);
	case 7: return y;
	default: return 2 * x;
	}
}

// Long arrays go four at a time where they lie so that they can.
#define FOURS(p) (((unsigned long long)(p) & 15) == 0)
#define AS4(p) ((float4 *)(p))
#define OF4(p) ((const float4 *)(p))

KERNEL map(L n, L f, float *y, const float *x) {
	if (n % 4 == 0 && FOURS(y) && FOURS(x)) {
		EACH(i, n / 4) {
			float4 v = OF4(x)[i];
			AS4(y)[i] = make_float4(ahead(f, v.x), ahead(f, v.y), ahead(f, v.z), ahead(f, v.w));
		}
		return;
	}
	EACH(i, n) y[i] = ahead(f, x[i]);
}

KERNEL map_grad(L n, L f, L add, float *dx, const float *dy, const float *x, const float *y) {
	if (n % 4 == 0 && FOURS(dx) && FOURS(dy) && FOURS(x) && FOURS(y)) {
		EACH(i, n / 4) {
			float4 g = OF4(dy)[i], u = f == 0 ? g : OF4(x)[i], v = OF4(y)[i]; // a ReLU's needs no x
			float4 d = make_float4(g.x * slope(f, u.x, v.x), g.y * slope(f, u.y, v.y), g.z * slope(f, u.z, v.z), g.w * slope(f, u.w, v.w));
			if (add) {
				float4 o = AS4(dx)[i];
				d = make_float4(o.x + d.x, o.y + d.y, o.z + d.z, o.w + d.w);
			}
			AS4(dx)[i] = d;
		}
		return;
	}
	EACH(i, n) {
		float d = dy[i] * slope(f, x[i], y[i]);
		dx[i] = add ? dx[i] + d : d;
	}
}

// unary functions with numbers of their own: device.Unary.
KERNEL unary(L n, L f, float a, float b, float *y, const float *x) {
	EACH(i, n) {
		float v = x[i];
		switch (f) {
		case 0: v = v > 0 ? v : a * v; break;
		case 1: v = logf(v); break;
		case 2: v = sqrtf(v); break;
		case 3: v = fabsf(v); break;
		case 4: v = a * v; break;
		case 5: v = v + a; break;
		default: v = v != v ? v : fmaxf(a, fminf(b, v));
		}
		y[i] = v;
	}
}

KERNEL unary_grad(L n, L f, float a, float b, L add, float *dx, const float *dy, const float *x, const float *y) {
	EACH(i, n) {
		float s, v = x[i];
		switch (f) {
		case 0: s = v > 0 ? 1 : a; break;
		case 1: s = 1 / v; break;
		case 2: s = 0.5f / y[i]; break;
		case 3: s = v > 0 ? 1.0f : v < 0 ? -1.0f : 0.0f; break;
		case 4: s = a; break;
		case 5: s = 1; break;
		default: s = v < a || v > b ? 0.0f : 1.0f;
		}
		float d = dy[i] * s;
		dx[i] = add ? dx[i] + d : d;
	}
}

// ---- two operands, the second one repeated: device.Binary ----

__device__ float joined(L f, float a, float b) {
	switch (f) {
	case 0: return a + b;
	case 1: return a - b;
	case 2: return a * b;
	case 3: return a / b;
	case 4: return a != a || b != b ? a + b : fminf(a, b);
	default: return a != a || b != b ? a + b : fmaxf(a, b);
	}
}
__device__ float by_a(L f, float a, float b) {
	switch (f) {
	case 0: case 1: return 1;
	case 2: return b;
	case 3: return 1 / b;
	case 4: return a <= b ? 1.0f : 0.0f;
	default: return a >= b ? 1.0f : 0.0f;
	}
}
__device__ float by_b(L f, float a, float b) {
	switch (f) {
	case 0: return 1;
	case 1: return -1;
	case 2: return a;
	case 3: return -a / (b * b);
	case 4: return a <= b ? 0.0f : 1.0f;
	default: return a >= b ? 0.0f : 1.0f;
	}
}

// Element (o,i) of a, of outer by inner, meets element o*so+i*si of b.
KERNEL binary(L n, L f, L inner, L so, L si, float *y, const float *a, const float *b) {
	EACH(i, n) y[i] = joined(f, a[i], b[i / inner * so + i % inner * si]);
}
KERNEL binary_a(L n, L f, L inner, L so, L si, float *da, const float *dy, const float *a, const float *b) {
	EACH(i, n) da[i] += dy[i] * by_a(f, a[i], b[i / inner * so + i % inner * si]);
}
// One block for each element of b: it has count partners, step apart, from base.
KERNEL binary_b(L f, L count, L step, L base, float *db, const float *dy, const float *a, const float *b) {
	__shared__ float shared[32];
	L k = blockIdx.x;
	float s = 0, v = b[k];
	FROM(j, 0, count) {
		L i = k * base + j * step;
		s += dy[i] * by_b(f, a[i], v);
	}
	s = total(s, shared);
	if (threadIdx.x == 0) db[k] += s;
}

KERNEL mask(L n, float *d, const float *y) { EACH(i, n) if (!(y[i] > 0)) d[i] = 0; }
KERNEL add(L n, float *dst, const float *src) {
	if (n % 4 == 0 && FOURS(dst) && FOURS(src)) {
		EACH(i, n / 4) {
			float4 a = AS4(dst)[i], b = OF4(src)[i];
			AS4(dst)[i] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
		}
		return;
	}
	EACH(i, n) dst[i] += src[i];
}
KERNEL plus_two(L n, float *y, const float *a, const float *b) {
	if (n % 4 == 0 && FOURS(y) && FOURS(a) && FOURS(b)) {
		EACH(i, n / 4) {
			float4 u = OF4(a)[i], v = OF4(b)[i];
			AS4(y)[i] = make_float4(u.x + v.x, u.y + v.y, u.z + v.z, u.w + v.w);
		}
		return;
	}
	EACH(i, n) y[i] = a[i] + b[i];
}
KERNEL shift(L n, float c, float *dst) { EACH(i, n) dst[i] += c; }
KERNEL axpy(L n, float a, float *dst, const float *src) { EACH(i, n) dst[i] += a * src[i]; }
KERNEL lerp(L n, float t, float *dst, const float *src) { EACH(i, n) { float d = dst[i]; dst[i] = d + t * (src[i] - d); } }
KERNEL mul(L n, L add, float *dst, const float *a, const float *b) {
	EACH(i, n) dst[i] = add ? dst[i] + a[i] * b[i] : a[i] * b[i];
}
KERNEL pixels(L n, float *dst, const unsigned char *src) { EACH(i, n) dst[i] = src[i] * (1.0f / 255) - 0.5f; }

// ---- sums of everything ----

// One term of a sum: 0 x, 1 x^2, 2 (x-y)^2, 3 Huber's of x-y.
__device__ double term(L f, float delta, float x, const float *y, L i) {
	if (f == 0) return x;
	if (f == 1) return (double)x * x;
	float e = x - y[i];
	if (f == 2) return e * e;
	e = fabsf(e);
	return e <= delta ? e * e / 2 : delta * (e - delta / 2);
}
KERNEL sum_part(L n, L f, float delta, double *part, const float *x, const float *y) {
	__shared__ double shared[32];
	double s = 0;
	EACH(i, n) s += term(f, delta, x[i], y, i);
	s = total(s, shared);
	if (threadIdx.x == 0) part[blockIdx.x] = s;
}
// c times the sum of n parts, as a float, as a double, or as both.
KERNEL sum_end(L n, float c, float *y, double *wide, const double *part) {
	__shared__ double shared[32];
	double s = 0;
	FROM(i, 0, n) s += part[i];
	s = total(s, shared);
	if (threadIdx.x == 0) {
		if (y) *y = (float)(c * s);
		if (wide) *wide = s;
	}
}
// What a sum's gradient is to each of its terms.
KERNEL spread(L n, float c, float *dx, const float *dy) { EACH(i, n) dx[i] += c * dy[0]; }
KERNEL between_grad(L n, L f, float delta, float c, float *da, float *db, const float *dy, const float *a, const float *b) {
	EACH(i, n) {
		float e = a[i] - b[i];
		float d = c * dy[0] * (f == 2 ? 2 * e : fmaxf(-delta, fminf(delta, e)));
		if (da) da[i] += d;
		if (db) db[i] -= d;
	}
}

// ---- rows ----

KERNEL row_sum(L D, float c, float *y, const float *x) {
	__shared__ float shared[32];
	const float *in = x + blockIdx.x * D;
	float s = 0;
	FROM(i, 0, D) s += in[i];
	s = total(s, shared);
	if (threadIdx.x == 0) y[blockIdx.x] = c * s;
}
KERNEL row_spread(L n, L D, float c, float *dx, const float *dy) { EACH(i, n) dx[i] += c * dy[i / D]; }

// y of rows of D; members of per elements each have their own b.
KERNEL bias(L n, L D, L per, float *y, const float *b) { EACH(i, n) y[i] = b[i / per * D + i % D]; }

KERNEL affine(L n, L D, L per, L step, float *y, const float *x, const float *gain, const float *bias) {
	EACH(i, n) {
		L c = i / per * step + i % D;
		y[i] = x[i] * gain[c] + bias[c];
	}
}
KERNEL affine_grad(L n, L D, L per, L step, L add, float *dx, const float *dy, const float *gain) {
	EACH(i, n) {
		float d = dy[i] * gain[i / per * step + i % D];
		dx[i] = add ? dx[i] + d : d;
	}
}

KERNEL softmax(L D, float c, float *y, const float *x) {
	__shared__ float shared[32];
	const float *in = x + blockIdx.x * D;
	float *out = y + blockIdx.x * D;
	float m = c * in[0], s = 0;
	FROM(i, 0, D) m = fmaxf(m, c * in[i]);
	m = most(m, shared);
	FROM(i, 0, D) {
		float e = flushed(c * in[i] - m);
		out[i] = e;
		s += e;
	}
	s = 1 / total(s, shared);
	FROM(i, 0, D) out[i] *= s;
}
KERNEL softmax_grad(L D, float c, L add, float *dx, const float *dy, const float *y) {
	__shared__ float shared[32];
	L at = blockIdx.x * D;
	float s = 0;
	FROM(i, at, at + D) s += y[i] * dy[i];
	s = total(s, shared);
	FROM(i, at, at + D) {
		float d = c * y[i] * (dy[i] - s);
		dx[i] = add ? dx[i] + d : d;
	}
}
// The scores of a square of S that look ahead of themselves.
KERNEL causal(L n, L S, float *p) { EACH(i, n) if (i % S > i / S % S) p[i] = -1e30f; }

KERNEL layer_norm(L D, L per, float eps, L relu, float *y, const float *x, const float *gain, const float *bias, float *mean, float *inv) {
	__shared__ float shared[32];
	L r = blockIdx.x, at = r / per * D;
	const float *in = x + r * D;
	float *out = y + r * D;
	float s = 0, q = 0;
	FROM(i, 0, D) s += in[i];
	float m = total(s, shared) / D;
	FROM(i, 0, D) {
		float d = in[i] - m;
		q += d * d;
	}
	float k = 1 / sqrtf(total(q, shared) / D + eps);
	if (threadIdx.x == 0) {
		mean[r] = m;
		inv[r] = k;
	}
	FROM(i, 0, D) {
		float v = (in[i] - m) * k;
		if (gain) v = v * gain[at + i] + bias[at + i];
		out[i] = relu && !(v > 0) ? (v != v ? v : 0.0f) : v;
	}
}
KERNEL layer_norm_grad(L D, L per, L add, float *dx, const float *dy, const float *x, const float *gain, const float *mean, const float *inv) {
	__shared__ float shared[32];
	L r = blockIdx.x, at = r / per * D;
	const float *in = x + r * D, *g = dy + r * D;
	float *out = dx + r * D;
	float m = mean[r], k = inv[r], s = 0, p = 0;
	FROM(i, 0, D) {
		float v = gain ? g[i] * gain[at + i] : g[i];
		s += v;
		p += v * (in[i] - m);
	}
	s = total(s, shared) / D;
	p = total(p, shared) * k * k / D;
	FROM(i, 0, D) {
		float v = gain ? g[i] * gain[at + i] : g[i];
		v = k * (v - s - (in[i] - m) * p);
		out[i] = add ? out[i] + v : v;
	}
}

// ---- columns ----

// col_part adds the columns of R rows of D, W columns and a chunk of rows to a
// block, for each of gridDim.z stacked arrays, of what mode says:
//   0 x                      1 dy∘h and dy, h = (x-mean)*inv of the row
//   2 dy∘x and dy            3 dy and dy∘(x-mean) of the group of w columns
//   4 (x-mean)^2 of the group
// to out0 and out1 (added or set), or with several chunks to part.
#define COLUMN(what) _Pragma("unroll 8") for (; r < hi; r += across) { L i = (z * R + r) * D + c; what; }
KERNEL col_part(L mode, L R, L D, L W, L chunk, L w, const float *x, const float *dy, const float *mean, const float *inv,
	float *part, L add, L step, float *out0, float *out1) {
	__shared__ float s0[256], s1[256];
	L z = blockIdx.z, c = blockIdx.x * W + threadIdx.x % W, across = blockDim.x / W;
	L lo = blockIdx.y * chunk, hi = lo + chunk < R ? lo + chunk : R;
	float a = 0, b = 0;
	if (c < D) {
		float m = mode >= 3 ? mean[z * (D / w) + c / w] : 0;
		L r = lo + threadIdx.x / W;
		switch (mode) {
		case 0: COLUMN(a += x[i]) break;
		case 1: COLUMN(b += dy[i]; a += dy[i] * (x[i] - mean[z * R + r]) * inv[z * R + r]) break;
		case 2: COLUMN(b += dy[i]; a += dy[i] * x[i]) break;
		case 3: COLUMN(a += dy[i]; b += dy[i] * (x[i] - m)) break;
		default: COLUMN(float d = x[i] - m; a += d * d)
		}
	}
	s0[threadIdx.x] = a;
	s1[threadIdx.x] = b;
	for (L k = across / 2; k; k /= 2) {
		__syncthreads();
		if (threadIdx.x < k * W) {
			s0[threadIdx.x] += s0[threadIdx.x + k * W];
			s1[threadIdx.x] += s1[threadIdx.x + k * W];
		}
	}
	if (threadIdx.x >= W || c >= D) return;
	a = s0[threadIdx.x];
	b = s1[threadIdx.x];
	if (gridDim.y > 1) {
		float *p = part + ((z * gridDim.y + blockIdx.y) * 2) * D + c;
		p[0] = a;
		p[D] = b;
		return;
	}
	L o = z * step + c;
	if (out0) out0[o] = add ? out0[o] + a : a;
	if (out1) out1[o] = add ? out1[o] + b : b;
}
// col_end adds the chunks up, W columns a block.
KERNEL col_end(L D, L W, L chunks, const float *part, L add, L step, float *out0, float *out1) {
	__shared__ float s0[256], s1[256];
	L z = blockIdx.z, c = blockIdx.x * W + threadIdx.x % W, across = blockDim.x / W;
	float a = 0, b = 0;
	if (c < D)
		for (L k = threadIdx.x / W; k < chunks; k += across) {
			const float *p = part + ((z * chunks + k) * 2) * D + c;
			a += p[0];
			b += p[D];
		}
	s0[threadIdx.x] = a;
	s1[threadIdx.x] = b;
	for (L k = across / 2; k; k /= 2) {
		__syncthreads();
		if (threadIdx.x < k * W) {
			s0[threadIdx.x] += s0[threadIdx.x + k * W];
			s1[threadIdx.x] += s1[threadIdx.x + k * W];
		}
	}
	if (threadIdx.x >= W || c >= D) return;
	a = s0[threadIdx.x];
	b = s1[threadIdx.x];
	L o = z * step + c;
	if (out0) out0[o] = add ? out0[o] + a : a;
	if (out1) out1[o] = add ? out1[o] + b : b;
}

// ---- groups of channels ----

// Sums of channels to the mean of groups of w: mode 0 the mean, 1 its inverse root.
KERNEL group_end(L n, L w, L mode, float count, float eps, float *y, const float *sums) {
	EACH(i, n) {
		float s = 0;
		for (L c = 0; c < w; c++) s += sums[i * w + c];
		y[i] = mode ? 1 / sqrtf(s / count + eps) : s / count;
	}
}
KERNEL group_apply(L n, L N, L C, L w, float *y, const float *x, const float *gain, const float *bias, const float *mean, const float *inv) {
	if (w == 1 && n == N * C && C % 4 == 0 && FOURS(y) && FOURS(x)) { // batch norm
		EACH(i, n / 4) {
			L c = i % (C / 4) * 4;
			float4 v = OF4(x)[i];
			v.x = (v.x - mean[c]) * inv[c] * gain[c] + bias[c];
			v.y = (v.y - mean[c + 1]) * inv[c + 1] * gain[c + 1] + bias[c + 1];
			v.z = (v.z - mean[c + 2]) * inv[c + 2] * gain[c + 2] + bias[c + 2];
			v.w = (v.w - mean[c + 3]) * inv[c + 3] * gain[c + 3] + bias[c + 3];
			AS4(y)[i] = v;
		}
		return;
	}
	EACH(i, n) {
		L c = i % C, g = i / (N * C) * (C / w) + c / w;
		y[i] = (x[i] - mean[g]) * inv[g] * gain[c] + bias[c];
	}
}
// One block a group: for groups that are small and lie well.
KERNEL group_norm(L N, L C, L w, float eps, float *y, const float *x, const float *gain, const float *bias, float *mean, float *inv) {
	__shared__ float shared[32];
	L G = C / w, at = blockIdx.x / G * N * C + blockIdx.x % G * w, c0 = blockIdx.x % G * w;
	float s = 0, q = 0;
	FROM(j, 0, N * w) s += x[at + j / w * C + j % w];
	float m = total(s, shared) / (N * w);
	FROM(j, 0, N * w) {
		float d = x[at + j / w * C + j % w] - m;
		q += d * d;
	}
	float k = 1 / sqrtf(total(q, shared) / (N * w) + eps);
	if (threadIdx.x == 0) {
		mean[blockIdx.x] = m;
		inv[blockIdx.x] = k;
	}
	FROM(j, 0, N * w) {
		L i = at + j / w * C + j % w, c = c0 + j % w;
		y[i] = (x[i] - m) * k * gain[c] + bias[c];
	}
}
// From sums (B,2,C) of dy and dy∘(x-mean): a (B,G,2) for group_back.
KERNEL group_mid(L n, L G, L w, float count, float *a, const float *s, const float *p, const float *gain, const float *inv) {
	EACH(i, n) {
		float u = 0, v = 0;
		for (L c = 0; c < w; c++) {
			u += gain[i % G * w + c] * s[i * w + c];
			v += gain[i % G * w + c] * p[i * w + c];
		}
		a[2 * i] = u / count;
		a[2 * i + 1] = v * inv[i] * inv[i] / count;
	}
}
KERNEL group_params(L C, L B, L w, float *dgain, float *dbias, const float *s, const float *p, const float *inv) {
	EACH(c, C) {
		float u = 0, v = 0;
		for (L b = 0; b < B; b++) {
			u += p[b * C + c] * inv[b * (C / w) + c / w];
			v += s[b * C + c];
		}
		dgain[c] += u;
		dbias[c] += v;
	}
}
KERNEL group_back(L n, L N, L C, L w, L add, float *dx, const float *dy, const float *x, const float *gain, const float *mean, const float *inv, const float *a) {
	if (w == 1 && n == N * C && C % 4 == 0 && FOURS(dx) && FOURS(dy) && FOURS(x)) { // batch norm
		EACH(i, n / 4) {
			L c = i % (C / 4) * 4;
			float4 g = OF4(dy)[i], v = OF4(x)[i], d;
			d.x = inv[c] * (g.x * gain[c] - a[2 * c] - (v.x - mean[c]) * a[2 * c + 1]);
			d.y = inv[c + 1] * (g.y * gain[c + 1] - a[2 * c + 2] - (v.y - mean[c + 1]) * a[2 * c + 3]);
			d.z = inv[c + 2] * (g.z * gain[c + 2] - a[2 * c + 4] - (v.z - mean[c + 2]) * a[2 * c + 5]);
			d.w = inv[c + 3] * (g.w * gain[c + 3] - a[2 * c + 6] - (v.w - mean[c + 3]) * a[2 * c + 7]);
			if (add) {
				float4 o = AS4(dx)[i];
				d = make_float4(o.x + d.x, o.y + d.y, o.z + d.z, o.w + d.w);
			}
			AS4(dx)[i] = d;
		}
		return;
	}
	EACH(i, n) {
		L c = i % C, g = i / (N * C) * (C / w) + c / w;
		float v = inv[g] * (dy[i] * gain[c] - a[2 * g] - (x[i] - mean[g]) * a[2 * g + 1]);
		dx[i] = add ? dx[i] + v : v;
	}
}
// The running statistics of batch norm.
KERNEL running(L n, float momentum, float eps, float unbias, float *m, float *v, const float *mean, const float *inv) {
	EACH(i, n) {
		float k = (1 / (inv[i] * inv[i]) - eps) * unbias;
		m[i] += momentum * (mean[i] - m[i]);
		v[i] += momentum * (k - v[i]);
	}
}

// ---- images ----

__device__ float place(L i, L n) { return n == 1 ? 0.0f : 2 * (float)i / (float)(n - 1) - 1; }

// A block takes 32 channels of an image; 8 threads share the pixels of one.
KERNEL spatial_softmax(L H, L W, L C, float inv, float *y, float *prob, const float *x) {
	__shared__ float s0[256], s1[256], s2[256];
	L t = threadIdx.x, c = blockIdx.x * 32 + t % 32, b = blockIdx.y, N = H * W;
	const float *in = x + b * N * C + c;
	float *p = prob + b * N * C + c;
	float top = -3.4e38f, s = 0, sx = 0, sy = 0;
	if (c < C) for (L i = t / 32; i < N; i += 8) top = fmaxf(top, in[i * C]);
	s0[t] = top;
	__syncthreads();
	for (int k = 0; k < 8; k++) top = fmaxf(top, s0[t % 32 + 32 * k]);
	__syncthreads();
	if (c < C) for (L i = t / 32; i < N; i += 8) {
		float e = flushed((in[i * C] - top) * inv);
		p[i * C] = e;
		s += e;
		sx += e * place(i % W, W);
		sy += e * place(i / W, H);
	}
	s0[t] = s;
	s1[t] = sx;
	s2[t] = sy;
	__syncthreads();
	s = sx = sy = 0;
	for (int k = 0; k < 8; k++) {
		s += s0[t % 32 + 32 * k];
		sx += s1[t % 32 + 32 * k];
		sy += s2[t % 32 + 32 * k];
	}
	s = 1 / s;
	if (c >= C) return;
	for (L i = t / 32; i < N; i += 8) p[i * C] *= s;
	if (t < 32) {
		y[(b * C + c) * 2] = sx * s;
		y[(b * C + c) * 2 + 1] = sy * s;
	}
}
KERNEL spatial_softmax_grad(L n, L H, L W, L C, float inv, float *dx, const float *dy, const float *y, const float *prob) {
	EACH(i, n) {
		L c = i % C, at = i / C % (H * W), k = (i / C / (H * W) * C + c) * 2;
		dx[i] += prob[i] * inv * (dy[k] * (place(at % W, W) - y[k]) + dy[k + 1] * (place(at / W, H) - y[k + 1]));
	}
}

KERNEL max_pool(L n, L H, L W, L C, L oh, L ow, L k, L sh, L sw, L pad, float *y, int *arg, const float *x) {
	EACH(i, n) {
		L c = i % C, ox = i / C % ow, oy = i / C / ow % oh, b = i / C / ow / oh;
		L y0 = oy * sh - pad, x0 = ox * sw - pad, at = -1;
		float best = 0;
		for (L iy = y0 < 0 ? 0 : y0; iy < y0 + k && iy < H; iy++)
			for (L ix = x0 < 0 ? 0 : x0; ix < x0 + k && ix < W; ix++) {
				L from = ((b * H + iy) * W + ix) * C + c;
				if (at < 0 || x[from] > best) {
					best = x[from];
					at = from;
				}
			}
		y[i] = best;
		arg[i] = (int)at;
	}
}
// Every pixel asks the windows over it, so that none adds to another's sum.
KERNEL max_pool_grad(L n, L H, L W, L C, L oh, L ow, L k, L sh, L sw, L pad, float *dx, const float *dy, const int *arg) {
	EACH(i, n) {
		L c = i % C, ix = i / C % W, iy = i / C / W % H, b = i / C / W / H;
		L y1 = (iy + pad) / sh, x1 = (ix + pad) / sw;
		float s = 0;
		for (L oy = y1 < oh ? y1 : oh - 1; oy >= 0 && oy * sh - pad + k > iy; oy--)
			for (L ox = x1 < ow ? x1 : ow - 1; ox >= 0 && ox * sw - pad + k > ix; ox--) {
				L o = ((b * oh + oy) * ow + ox) * C + c;
				if (arg[o] == (int)i) s += dy[o];
			}
		dx[i] += s;
	}
}
// Means of kh by kw blocks of images W wide, and their gradient; upsampling is
// the other way round with c = 1.
KERNEL shrink(L n, L W, L C, L kh, L kw, float c, L add, float *y, const float *x) {
	EACH(i, n) {
		L ch = i % C, ow = W / kw, ox = i / C % ow, row = i / C / ow; // row counts over all images
		float s = 0;
		for (L a = 0; a < kh; a++)
			for (L b = 0; b < kw; b++) s += x[((row * kh + a) * W + ox * kw + b) * C + ch];
		y[i] = add ? y[i] + c * s : c * s;
	}
}
KERNEL grow(L n, L W, L C, L kh, L kw, float c, L add, float *y, const float *x) {
	EACH(i, n) {
		L ch = i % C, px = i / C, from = (px / W / kh * (W / kw) + px % W / kw) * C + ch;
		y[i] = add ? y[i] + c * x[from] : c * x[from];
	}
}

// ---- moving ----

KERNEL strided(L n, L cols, L add, float *dst, L ldd, const float *src, L lds) {
	EACH(i, n) {
		L r = i / cols, c = i % cols, o = r * ldd + c;
		float v = src[r * lds + c];
		dst[o] = add ? dst[o] + v : v;
	}
}
// permute: result element i, of axes n1..n5 behind the first, is at the sum of its
// coordinates times s0..s5. back adds the other way.
KERNEL permute(L n, L back, float *y, const float *x, float *dx, L n1, L n2, L n3, L n4, L n5, L s0, L s1, L s2, L s3, L s4, L s5) {
	EACH(i, n) {
		L k = i, at = k % n5 * s5;
		k /= n5; at += k % n4 * s4;
		k /= n4; at += k % n3 * s3;
		k /= n3; at += k % n2 * s2;
		k /= n2; at += k % n1 * s1;
		k /= n1; at += k * s0;
		if (back) dx[at] += x[i];
		else y[i] = x[at];
	}
}
KERNEL min_first(L n, L E, float *y, int *arg, const float *x) {
	EACH(i, n) {
		float best = x[i];
		int at = (int)i;
		for (L e = 1; e < E; e++)
			if (x[e * n + i] < best) {
				best = x[e * n + i];
				at = (int)(e * n + i);
			}
		y[i] = best;
		arg[i] = at;
	}
}
KERNEL pick_grad(L n, float *dx, const float *dy, const int *arg) { EACH(i, n) dx[arg[i]] += dy[i]; }

// ---- convolutions without cuDNN ----

// Weights (O,C,F) to (O,F,C), and back with back: a thread takes the F of one (o,c).
KERNEL arrange(L n, L C, L F, L back, L add, float *dst, const float *src) {
	EACH(i, n) {
		L c = i % C, at = i / C * F * C + c;
		for (L f = 0; f < F; f++) {
			if (!back) dst[at + f * C] = src[i * F + f];
			else dst[i * F + f] = add ? dst[i * F + f] + src[at + f * C] : src[at + f * C];
		}
	}
}

__device__ float nothing(float) { return 0; }
__device__ float4 nothing(float4) { return make_float4(0, 0, 0, 0); }
__device__ void plus(float &a, float b) { a += b; }
__device__ void plus(float4 &a, float4 b) {
	a.x += b.x;
	a.y += b.y;
	a.z += b.z;
	a.w += b.w;
}

// The patches of images (H,W,C) under a kernel: rows (B,oh,ow) of (KH,KW,C). A
// block takes 32 rows, of which a thread lays out one element, or four, so that
// it divides only once.
template <class V> __device__ void gathered(L rows, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, V *p, const V *x) {
	L K = KH * KW * C, k = blockIdx.y * blockDim.x + threadIdx.x;
	if (k >= K) return;
	L c = k % C, kx = k / C % KW, ky = k / C / KW;
	L r = blockIdx.x * 32, end = r + 32 < rows ? r + 32 : rows;
	L ox = r % ow, oy = r / ow % oh, b = r / ow / oh;
	for (; r < end; r++) {
		L ix = ox * sw + kx - pw, iy = oy * sh + ky - ph;
		V v = nothing(V());
		if (ix >= 0 && iy >= 0 && ix < W && iy < H) v = x[((b * H + iy) * W + ix) * C + c];
		p[r * K + k] = v;
		if (++ox == ow) {
			ox = 0;
			if (++oy == oh) {
				oy = 0;
				b++;
			}
		}
	}
}
KERNEL gather(L rows, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, float *p, const float *x) {
	gathered(rows, H, W, C, oh, ow, KH, KW, sh, sw, ph, pw, p, x);
}
KERNEL gather_four(L rows, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, float4 *p, const float4 *x) {
	gathered(rows, H, W, C, oh, ow, KH, KW, sh, sw, ph, pw, p, x);
}

// Its gradient: every pixel collects from the patches over it.
template <class V> __device__ void scattered(L n, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, L add, V *x, const V *p) {
	EACH(i, n) {
		L c = i % C, ix = i / C % W, iy = i / C / W % H, b = i / C / W / H;
		V s = nothing(V());
		L ky = (iy + ph) % sh, oy = (iy + ph) / sh;
		for (; ky < KH && oy >= 0; ky += sh, oy--) {
			if (oy >= oh) continue;
			L kx = (ix + pw) % sw, ox = (ix + pw) / sw;
			for (; kx < KW && ox >= 0; kx += sw, ox--)
				if (ox < ow) plus(s, p[((((b * oh + oy) * ow + ox) * KH + ky) * KW + kx) * C + c]);
		}
		if (add) plus(s, x[i]);
		x[i] = s;
	}
}
KERNEL scatter(L n, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, L add, float *x, const float *p) {
	scattered(n, H, W, C, oh, ow, KH, KW, sh, sw, ph, pw, add, x, p);
}
KERNEL scatter_four(L n, L H, L W, L C, L oh, L ow, L KH, L KW, L sh, L sw, L ph, L pw, L add, float4 *x, const float4 *p) {
	scattered(n, H, W, C, oh, ow, KH, KW, sh, sw, ph, pw, add, x, p);
}

// ---- optimisers over many arrays at once ----

// A span is a stretch of one param: its arrays and its length.
struct Span { float *data, *grad, *mean, *square; long long n; };

KERNEL span_squares(double *part, const Span *spans) {
	__shared__ double shared[32];
	Span p = spans[blockIdx.x];
	double s = 0;
	FROM(i, 0, p.n) s += (double)p.grad[i] * p.grad[i];
	s = total(s, shared);
	if (threadIdx.x == 0) part[blockIdx.x] = s;
}
// clip is the largest norm of the whole gradient, or 0.
KERNEL span_adam(float clip, float b1, float r1, float b2, float r2, float step, float eps, float decay, const double *squares, const Span *spans) {
	Span p = spans[blockIdx.x];
	float scale = 1;
	if (clip > 0) {
		double norm = sqrt(*squares);
		if (norm > clip) scale = (float)(clip / norm);
	}
	FROM(i, 0, p.n) {
		float g = scale * p.grad[i];
		float m = b1 * p.mean[i] + r1 * g, v = b2 * p.square[i] + r2 * g * g;
		p.mean[i] = m;
		p.square[i] = v;
		p.data[i] = p.data[i] * decay - step * m / (sqrtf(v) + eps);
	}
}
KERNEL adam(L n, float scale, float b1, float r1, float b2, float r2, float step, float eps, float decay, float *data, const float *grad, float *mean, float *square) {
	EACH(i, n) {
		float g = scale * grad[i];
		float m = b1 * mean[i] + r1 * g, v = b2 * square[i] + r2 * g * g;
		mean[i] = m;
		square[i] = v;
		data[i] = data[i] * decay - step * m / (sqrtf(v) + eps);
	}
}
