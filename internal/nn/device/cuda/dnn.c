//go:build cgo && !purego

#include <stdio.h>
#include <stdlib.h>

#include "table.h"

// cuDNN's names for what we ask of it (cudnn_graph.h, cudnn_cnn.h).
enum { FLOAT = 0, NHWC = 1, CORRELATION = 1, FMA_MATH = 3, DETERMINISTIC = 1, WAYS = 12 };

struct rc_conv {
	handle x, y, w, conv;
	int forward, input; // the ways chosen
};

// way is cudnnConvolution{Fwd,BwdData}AlgoPerf_t.
typedef struct {
	int algo, status;
	float time;
	size_t memory;
	int determinism, math, reserved[3];
} way;

typedef int (*find)(handle, handle, handle, handle, handle, int, int *, void *);
typedef int (*room)(handle, handle, handle, handle, handle, int, size_t *);

// The largest working memory a convolution may have.
#define MOST ((size_t)1 << 30)

// choose takes the first of cuDNN's suggestions, fastest first, that repeats its
// bits, multiplies in float32 and is no transform, whose rounding is another's.
static int choose(rc *c, find f, room r, handle a, handle b, handle conv, handle d, const int *allowed, int *chosen, size_t *most, char *text, size_t size) {
	way ways[WAYS];
	int n = 0;
	int e = f(c->dnn, a, b, conv, d, WAYS, &n, ways);
	if (e) {
		snprintf(text, size, "cuDNN suggests nothing: %s (%d)", c->cudnnGetErrorString(e), e);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		if (ways[i].status || ways[i].determinism != DETERMINISTIC) continue;
		if (ways[i].math != 0 && ways[i].math != FMA_MATH) continue;
		int ok = 0;
		for (const int *p = allowed; *p >= 0; p++) ok |= *p == ways[i].algo;
		size_t bytes = 0;
		if (!ok || r(c->dnn, a, b, conv, d, ways[i].algo, &bytes) || bytes > MOST) continue;
		*chosen = ways[i].algo;
		if (bytes > *most) *most = bytes;
		return 0;
	}
	snprintf(text, size, "none of cuDNN's %d ways is exact and repeatable", n);
	return -1;
}

rc_conv *rc_conv_plan(rc *c, const rc_shape *s, int64_t *workspace, char *text, size_t size) {
	if (!c->dnn) {
		snprintf(text, size, "cuDNN is not there");
		return NULL;
	}
	if (rc_current(c)) {
		snprintf(text, size, "%s", c->failed);
		return NULL;
	}
	rc_conv *v = calloc(1, sizeof *v);
	int e = c->cudnnCreateTensorDescriptor(&v->x);
	if (!e) e = c->cudnnCreateTensorDescriptor(&v->y);
	if (!e) e = c->cudnnCreateFilterDescriptor(&v->w);
	if (!e) e = c->cudnnCreateConvolutionDescriptor(&v->conv);
	if (!e) e = c->cudnnSetTensor4dDescriptor(v->x, NHWC, FLOAT, s->B, s->C, s->H, s->W);
	if (!e) e = c->cudnnSetTensor4dDescriptor(v->y, NHWC, FLOAT, s->B, s->O, s->OH, s->OW);
	if (!e) e = c->cudnnSetFilter4dDescriptor(v->w, FLOAT, NHWC, s->O, s->C, s->KH, s->KW);
	if (!e) e = c->cudnnSetConvolution2dDescriptor(v->conv, s->PH, s->PW, s->SH, s->SW, 1, 1, CORRELATION, FLOAT);
	if (!e) e = c->cudnnSetConvolutionMathType(v->conv, FMA_MATH);
	if (e) {
		snprintf(text, size, "cuDNN takes no such convolution: %s (%d)", c->cudnnGetErrorString(e), e);
		rc_conv_free(c, v);
		return NULL;
	}
	// Implicit products, with indices worked out before or not; of the gradients,
	// those that do not add atomically.
	static const int forward[] = {0, 1, -1}, backward[] = {1, -1};
	size_t most = 0;
	e = choose(c, c->FindForward, c->RoomForward, v->x, v->w, v->conv, v->y, forward, &v->forward, &most, text, size);
	if (!e && s->input) e = choose(c, c->FindInput, c->RoomInput, v->w, v->y, v->conv, v->x, backward, &v->input, &most, text, size);
	if (e) {
		rc_conv_free(c, v);
		return NULL;
	}
	*workspace = most;
	return v;
}

void rc_conv_free(rc *c, rc_conv *v) {
	if (rc_current(c)) return;
	if (v->x) c->cudnnDestroyTensorDescriptor(v->x);
	if (v->y) c->cudnnDestroyTensorDescriptor(v->y);
	if (v->w) c->cudnnDestroyFilterDescriptor(v->w);
	if (v->conv) c->cudnnDestroyConvolutionDescriptor(v->conv);
	free(v);
}

static int failed(rc *c, const char *call, int e) {
	if (!e) return 0;
	snprintf(c->failed, sizeof c->failed, "%s: %s (%d)", call, c->cudnnGetErrorString(e), e);
	return -1;
}

static const float one = 1;

int rc_conv_forward(rc *c, rc_conv *v, float *y, const float *x, const float *w, float beta, void *work, int64_t size) {
	if (rc_current(c)) return -1;
	return failed(c, "cudnnConvolutionForward", c->Forward(c->dnn, &one, v->x, x, v->w, w, v->conv, v->forward, work, size, &beta, v->y, y));
}

int rc_conv_input(rc *c, rc_conv *v, float *dx, const float *dy, const float *w, float beta, void *work, int64_t size) {
	if (rc_current(c)) return -1;
	return failed(c, "cudnnConvolutionBackwardData", c->Input(c->dnn, &one, v->w, w, v->y, dy, v->conv, v->input, work, size, &beta, v->x, dx));
}
