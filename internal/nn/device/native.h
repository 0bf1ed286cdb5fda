// The device's loops in C and its convolutions by oneDNN. Sums have a fixed order:
// the same machine gives the same bits.
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef ptrdiff_t len;

void rd_map(int f, len n, float *y, const float *x);
void rd_map_grad(int f, int add, len n, float *dx, const float *dy, const float *x, const float *y);
void rd_mask(len n, float *d, const float *y);
void rd_add(len n, float *dst, const float *src);
void rd_axpy(float a, len n, float *dst, const float *src);
void rd_mul(int add, len n, float *dst, const float *a, const float *b);
void rd_lerp(float tau, len n, float *dst, const float *src);
double rd_sum_squares(len n, const float *x);
void rd_pixels(len n, float *dst, const uint8_t *src);
void rd_bias(len rows, len d, float *y, const float *b);
void rd_col_sum(len rows, len d, float *dst, const float *x);
void rd_affine(len rows, len d, float *y, const float *x, const float *gain, const float *bias);
void rd_affine_grad(len rows, len d, int add, float *dx, float *dgain, float *dbias, const float *dy, const float *x, const float *gain);
void rd_softmax(len rows, len d, float c, float *y, const float *x);
void rd_softmax_grad(len rows, len d, float c, int add, float *dx, const float *dy, const float *y);
void rd_norm(len rows, len d, len per, float eps, int relu, const float *gain, const float *bias,
             float *mean, float *inv, float *y, const float *x);
void rd_norm_grad(len rows, len d, len per, int relu, const float *gain, const float *mean, const float *inv,
                  int add, float *dx, float *dgain, float *dbias, float *dy, const float *y, const float *x);
void rd_groups(len b, len n, len c, len g, float eps, const float *gain, const float *bias,
               float *mean, float *inv, float *sums, float *y, const float *x);
void rd_groups_grad(len b, len n, len c, len g, const float *gain, const float *mean, const float *inv, float *sums,
                    int add, float *dx, float *dgain, float *dbias, const float *dy, const float *x);
void rd_spatial_softmax(len b, len h, len w, len c, float t, float *y, float *prob, const float *x);
void rd_spatial_softmax_grad(len b, len h, len w, len c, float t, float *dx, const float *dy, const float *y, const float *prob);
void rd_adam(float scale, float b1, float r1, float b2, float r2, float step, float eps, float decay,
             len n, float *data, const float *grad, float *mean, float *square);

// rd_version writes oneDNN's version and the widest instructions that it uses.
void rd_version(char *dst, size_t size);
void rd_threads(int n);
void rd_gemm(int ta, int tb, len m, len n, len k, const float *a, len lda, const float *b, len ldb, float beta, float *c, len ldc);

// A convolution. Functions that return a string return what went wrong, or NULL.
typedef struct rd_conv rd_conv;
typedef struct {
    int64_t b, h, w, c, oh, ow, o, kh, kw, sh, sw, ph, pw;
    int transposed, bias, relu, need_input, need_w, is_static;
} rd_conv_shape;
const char *rd_conv_new(const rd_conv_shape *s, rd_conv **out);
void rd_conv_free(rd_conv *c);
size_t rd_conv_scratch(const rd_conv *c); // floats
const char *rd_conv_forward(rd_conv *c, float *y, float *x, float *w, float *b, float *scratch);
// rd_conv_input overwrites dx.
const char *rd_conv_input(rd_conv *c, float *dx, float *dy, float *w, float *scratch);
// rd_conv_weight overwrites dw or adds to it, and writes the bias's gradient to db.
const char *rd_conv_weight(rd_conv *c, int add, float *dw, float *db, float *dy, float *x, float *scratch);

#ifdef __cplusplus
}
#endif
