#ifndef RAPPORT_CUDA_DRIVER_H
#define RAPPORT_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// The few types of CUDA's interfaces that we name, declared here so that neither
// its headers nor its tools are needed to build. Handles are pointers to what
// only the libraries know; addresses on the card are 64-bit numbers.
typedef struct rc rc;
typedef struct rc_conv rc_conv;
typedef uint64_t rc_address;

// rc_load opens the libraries; each path is tried in order, "" ends a list.
// NULL: err says why not.
rc *rc_load(const char *const *driver, const char *const *blas, const char *const *nvrtc, const char *const *dnn, char *err, size_t size);
// rc_start takes the first card and makes the kernels of source; names are
// those of n kernels. 0: done.
int rc_start(rc *c, const char *source, const char *const *names, int n, char *err, size_t size);
void rc_stop(rc *c);
void rc_describe(rc *c, char *text, size_t size);
int rc_has_dnn(rc *c);

// The rest returns 0, or -1 and rc_failure says what failed.
void rc_failure(rc *c, char *text, size_t size);
float *rc_alloc(rc *c, int64_t bytes);
void rc_free(rc *c, void *p);
float *rc_alloc_host(rc *c, int64_t bytes);
void rc_free_host(rc *c, void *p);
int rc_clear(rc *c, void *dst, int64_t bytes);
int rc_up(rc *c, void *dst, const void *src, int64_t bytes);
int rc_down(rc *c, void *dst, const void *src, int64_t bytes);
int rc_copy(rc *c, void *dst, const void *src, int64_t bytes);
int rc_sync(rc *c);
// rc_launch runs kernel k on blocks (x,y,z) of t threads; each of n parameters
// is in the low bytes of a slot.
int rc_launch(rc *c, int k, int64_t x, int64_t y, int64_t z, int64_t t, const uint64_t *slots, int n);
// rc_gemm is count products as Device.Gemm's, the arrays sa, sb and sc apart.
int rc_gemm(rc *c, int ta, int tb, int m, int n, int k, const float *a, int lda, int64_t sa, const float *b, int ldb, int64_t sb,
	float beta, float *y, int ldc, int64_t sc, int count);

// What happens between rc_record and rc_recorded is not done but kept, to be
// replayed at once. rc_recorded returns NULL where that fails.
int rc_record(rc *c);
int rc_mine(void); // whether this thread is in between
void *rc_recorded(rc *c);
int rc_replay(rc *c, void *record);
void rc_forget(rc *c, void *record);

// A convolution of images (B,H,W,C) with weights (O,KH,KW,C) by cuDNN.
typedef struct {
	int B, H, W, C, OH, OW, O, KH, KW, SH, SW, PH, PW;
	int input; // whether its gradient is asked for
} rc_shape;
// NULL: cuDNN has no exact and repeatable way, and text says why.
rc_conv *rc_conv_plan(rc *c, const rc_shape *s, int64_t *workspace, char *text, size_t size);
void rc_conv_free(rc *c, rc_conv *v);
int rc_conv_forward(rc *c, rc_conv *v, float *y, const float *x, const float *w, float beta, void *work, int64_t room);
int rc_conv_input(rc *c, rc_conv *v, float *dx, const float *dy, const float *w, float beta, void *work, int64_t room);

#endif
