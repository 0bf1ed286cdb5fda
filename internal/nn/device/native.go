//go:build cgo && !purego

package device

// -O3: the loops are written for it to make vectors of.

/*
#cgo CFLAGS: -O3 -Wall -Wno-psabi
#cgo CXXFLAGS: -O2 -std=c++17 -Wall
#cgo LDFLAGS: -ldnnl -lgomp -lm
#include "native.h"
#cgo noescape rd_map
#cgo nocallback rd_map
#cgo noescape rd_map_grad
#cgo nocallback rd_map_grad
#cgo noescape rd_mask
#cgo nocallback rd_mask
#cgo noescape rd_add
#cgo nocallback rd_add
#cgo noescape rd_axpy
#cgo nocallback rd_axpy
#cgo noescape rd_mul
#cgo nocallback rd_mul
#cgo noescape rd_lerp
#cgo nocallback rd_lerp
#cgo noescape rd_sum_squares
#cgo nocallback rd_sum_squares
#cgo noescape rd_pixels
#cgo nocallback rd_pixels
#cgo noescape rd_bias
#cgo nocallback rd_bias
#cgo noescape rd_col_sum
#cgo nocallback rd_col_sum
#cgo noescape rd_affine
#cgo nocallback rd_affine
#cgo noescape rd_affine_grad
#cgo nocallback rd_affine_grad
#cgo noescape rd_softmax
#cgo nocallback rd_softmax
#cgo noescape rd_softmax_grad
#cgo nocallback rd_softmax_grad
#cgo noescape rd_norm
#cgo nocallback rd_norm
#cgo noescape rd_norm_grad
#cgo nocallback rd_norm_grad
#cgo noescape rd_groups
#cgo nocallback rd_groups
#cgo noescape rd_groups_grad
#cgo nocallback rd_groups_grad
#cgo noescape rd_spatial_softmax
#cgo nocallback rd_spatial_softmax
#cgo noescape rd_spatial_softmax_grad
#cgo nocallback rd_spatial_softmax_grad
#cgo noescape rd_adam
#cgo nocallback rd_adam
#cgo noescape rd_gemm
#cgo nocallback rd_gemm
#cgo noescape rd_conv_forward
#cgo nocallback rd_conv_forward
#cgo noescape rd_conv_input
#cgo nocallback rd_conv_input
#cgo noescape rd_conv_weight
#cgo nocallback rd_conv_weight
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Native computes by oneDNN and C. The zero value is ready.
type Native struct{}

// Default is the fastest device that this build has.
func Default() Device { return Native{} }

// SetThreads says how many threads a product or a convolution of the default
// device may use, in the whole process; it begins with one, since learners run
// beside actors, and two that fight over a core are slower than one. Sums are
// split by it: results are bit-equal only at the same number.
func SetThreads(n int) {
	if n < 1 {
		panic("device: SetThreads: fewer than one thread")
	}
	C.rd_threads(C.int(n))
}

// Name implements Device.
func (Native) Name() string {
	var b [64]C.char
	C.rd_version(&b[0], C.size_t(len(b)))
	return C.GoString(&b[0])
}

func ptr(x []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(x))) }

func length(x []float32) C.len { return C.len(len(x)) }

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// fits panics where a C loop over n elements would leave an array.
func fits(n int, xs ...[]float32) {
	for _, x := range xs {
		if len(x) < n {
			panic("device: array too short")
		}
	}
}

// Gemm implements Device.
func (Native) Gemm(ta, tb bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	rows := func(trans bool, r, c, ld int) int { // elements from the first to the last
		if trans {
			r, c = c, r
		}
		return (r-1)*ld + c
	}
	if len(a) < rows(ta, m, k, lda) || len(b) < rows(tb, k, n, ldb) || len(c) < rows(false, m, n, ldc) {
		panic("device: Gemm: array too short")
	}
	C.rd_gemm(flag(ta), flag(tb), C.len(m), C.len(n), C.len(k), ptr(a), C.len(lda), ptr(b), C.len(ldb), C.float(beta), ptr(c), C.len(ldc))
}

// Map implements Device.
func (Native) Map(f Op, y, x []float32) {
	fits(len(y), x)
	C.rd_map(C.int(f), length(y), ptr(y), ptr(x))
}

// MapGrad implements Device.
func (Native) MapGrad(f Op, add bool, dx, dy, x, y []float32) {
	fits(len(dx), dy, x, y)
	C.rd_map_grad(C.int(f), flag(add), length(dx), ptr(dx), ptr(dy), ptr(x), ptr(y))
}

// Mask implements Device.
func (Native) Mask(d, y []float32) {
	fits(len(d), y)
	C.rd_mask(length(d), ptr(d), ptr(y))
}

// Add implements Device.
func (Native) Add(dst, src []float32) {
	fits(len(dst), src)
	C.rd_add(length(dst), ptr(dst), ptr(src))
}

// Axpy implements Device.
func (Native) Axpy(a float32, dst, src []float32) {
	fits(len(dst), src)
	C.rd_axpy(C.float(a), length(dst), ptr(dst), ptr(src))
}

// Mul implements Device.
func (Native) Mul(add bool, dst, a, b []float32) {
	fits(len(dst), a, b)
	C.rd_mul(flag(add), length(dst), ptr(dst), ptr(a), ptr(b))
}

// Lerp implements Device.
func (Native) Lerp(tau float32, dst, src []float32) {
	fits(len(dst), src)
	C.rd_lerp(C.float(tau), length(dst), ptr(dst), ptr(src))
}

// SumSquares implements Device.
func (Native) SumSquares(x []float32) float64 { return float64(C.rd_sum_squares(length(x), ptr(x))) }

// Pixels implements Device.
func (Native) Pixels(dst []float32, src []byte) {
	if len(src) < len(dst) {
		panic("device: array too short")
	}
	C.rd_pixels(length(dst), ptr(dst), (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(src))))
}

// Bias implements Device.
func (Native) Bias(y, b []float32) { C.rd_bias(C.len(len(y)/len(b)), length(b), ptr(y), ptr(b)) }

// ColSum implements Device.
func (Native) ColSum(dst, x []float32) {
	C.rd_col_sum(C.len(len(x)/len(dst)), length(dst), ptr(dst), ptr(x))
}

// Affine implements Device.
func (Native) Affine(y, x, gain, bias []float32) {
	fits(len(x), y)
	fits(len(gain), bias)
	C.rd_affine(C.len(len(x)/len(gain)), length(gain), ptr(y), ptr(x), ptr(gain), ptr(bias))
}

// AffineGrad implements Device.
func (Native) AffineGrad(add bool, dx, dgain, dbias, dy, x, gain []float32) {
	fits(len(dy), x)
	if dx != nil {
		fits(len(dy), dx)
	}
	if dgain != nil {
		fits(len(gain), dgain, dbias)
	}
	C.rd_affine_grad(C.len(len(dy)/len(gain)), length(gain), flag(add), ptr(dx), ptr(dgain), ptr(dbias), ptr(dy), ptr(x), ptr(gain))
}

// Softmax implements Device.
func (Native) Softmax(D int, c float32, y, x []float32) {
	fits(len(x), y)
	C.rd_softmax(C.len(len(x)/D), C.len(D), C.float(c), ptr(y), ptr(x))
}

// SoftmaxGrad implements Device.
func (Native) SoftmaxGrad(D int, c float32, add bool, dx, dy, y []float32) {
	fits(len(y), dx, dy)
	C.rd_softmax_grad(C.len(len(y)/D), C.len(D), C.float(c), flag(add), ptr(dx), ptr(dy), ptr(y))
}

// Norm implements Device.
func (Native) Norm(n Norm, y, x []float32) {
	rows := len(x) / n.D
	fits(len(x), y)
	fits(rows, n.Mean, n.Inv)
	if n.Gain != nil {
		fits(n.Members*n.D, n.Gain, n.Bias)
	}
	C.rd_norm(C.len(rows), C.len(n.D), C.len(rows/n.Members), C.float(n.Eps), flag(n.ReLU), ptr(n.Gain), ptr(n.Bias),
		ptr(n.Mean), ptr(n.Inv), ptr(y), ptr(x))
}

// NormGrad implements Device.
func (Native) NormGrad(n Norm, add bool, dx, dgain, dbias, dy, y, x []float32) {
	rows := len(x) / n.D
	fits(len(x), dy)
	fits(rows, n.Mean, n.Inv)
	if n.ReLU {
		fits(len(x), y)
	}
	if n.Gain != nil {
		fits(n.Members*n.D, n.Gain)
	}
	if dgain != nil {
		fits(n.Members*n.D, dgain, dbias)
	}
	if dx != nil {
		fits(len(x), dx)
	}
	C.rd_norm_grad(C.len(rows), C.len(n.D), C.len(rows/n.Members), flag(n.ReLU), ptr(n.Gain), ptr(n.Mean), ptr(n.Inv),
		flag(add), ptr(dx), ptr(dgain), ptr(dbias), ptr(dy), ptr(y), ptr(x))
}

func (n Groups) check(x []float32) {
	if len(x) != n.B*n.N*n.C {
		panic("device: Groups: array of another shape")
	}
	fits(n.B*n.G, n.Mean, n.Inv)
	fits(n.C, n.Gain)
	fits(3*n.C, n.Sums)
}

// Groups implements Device.
func (Native) Groups(n Groups, y, x []float32) {
	n.check(x)
	fits(len(x), y)
	fits(n.C, n.Bias)
	C.rd_groups(C.len(n.B), C.len(n.N), C.len(n.C), C.len(n.G), C.float(n.Eps), ptr(n.Gain), ptr(n.Bias),
		ptr(n.Mean), ptr(n.Inv), ptr(n.Sums), ptr(y), ptr(x))
}

// GroupsGrad implements Device.
func (Native) GroupsGrad(n Groups, add bool, dx, dgain, dbias, dy, x []float32) {
	n.check(x)
	fits(len(x), dy)
	if dgain != nil {
		fits(n.C, dgain, dbias)
	}
	if dx != nil {
		fits(len(x), dx)
	}
	C.rd_groups_grad(C.len(n.B), C.len(n.N), C.len(n.C), C.len(n.G), ptr(n.Gain), ptr(n.Mean), ptr(n.Inv), ptr(n.Sums),
		flag(add), ptr(dx), ptr(dgain), ptr(dbias), ptr(dy), ptr(x))
}

// SpatialSoftmax implements Device.
func (Native) SpatialSoftmax(B, H, W, C_ int, t float32, y, prob, x []float32) {
	fits(B*H*W*C_, prob, x)
	fits(B*2*C_, y)
	C.rd_spatial_softmax(C.len(B), C.len(H), C.len(W), C.len(C_), C.float(t), ptr(y), ptr(prob), ptr(x))
}

// SpatialSoftmaxGrad implements Device.
func (Native) SpatialSoftmaxGrad(B, H, W, C_ int, t float32, dx, dy, y, prob []float32) {
	fits(B*H*W*C_, prob, dx)
	fits(B*2*C_, y, dy)
	C.rd_spatial_softmax_grad(C.len(B), C.len(H), C.len(W), C.len(C_), C.float(t), ptr(dx), ptr(dy), ptr(y), ptr(prob))
}

// Adam implements Device.
func (Native) Adam(s AdamStep, data, grad, mean, square []float32) {
	fits(len(data), grad, mean, square)
	C.rd_adam(C.float(s.Scale), C.float(s.B1), C.float(s.R1), C.float(s.B2), C.float(s.R2), C.float(s.Step), C.float(s.Eps), C.float(s.Decay),
		length(data), ptr(data), ptr(grad), ptr(mean), ptr(square))
}

// Conv implements Device.
func (Native) Conv(s ConvShape) Conv {
	n := func(v int) C.int64_t { return C.int64_t(v) }
	shape := C.rd_conv_shape{
		b: n(s.B), h: n(s.H), w: n(s.W), c: n(s.C), oh: n(s.OH), ow: n(s.OW), o: n(s.O), kh: n(s.KH), kw: n(s.KW),
		sh: n(s.StrideH), sw: n(s.StrideW), ph: n(s.PadH), pw: n(s.PadW),
		transposed: flag(s.Transposed), bias: flag(s.Bias), relu: flag(s.ReLU),
		need_input: flag(s.NeedInput), need_w: flag(s.NeedW), is_static: flag(s.Static),
	}
	c := &nativeConv{s: s}
	if msg := C.rd_conv_new(&shape, &c.p); msg != nil {
		panic("device: " + C.GoString(msg))
	}
	c.x, c.y, c.w = elements(s)
	c.room = int(C.rd_conv_scratch(c.p))
	if s.NeedInput {
		c.extra = c.x
	}
	c.bias = make([]float32, s.O)
	runtime.AddCleanup(c, func(p *C.rd_conv) { C.rd_conv_free(p) }, c.p)
	return c
}

// nativeConv is a convolution that oneDNN has planned.
type nativeConv struct {
	s           ConvShape
	p           *C.rd_conv
	x, y, w     int // elements
	room, extra int
	bias        []float32
}

// Scratch implements Conv: what oneDNN wants, and room for an input's gradient,
// since it can only be overwritten.
func (c *nativeConv) Scratch() int { return c.room + c.extra }

func (c *nativeConv) must(msg *C.char) {
	runtime.KeepAlive(c)
	if msg != nil {
		panic("device: " + C.GoString(msg))
	}
}

// Forward implements Conv.
func (c *nativeConv) Forward(y, x, w, b, scratch []float32) {
	fits(c.x, x)
	fits(c.y, y)
	fits(c.w, w)
	fits(c.room, scratch)
	if c.s.Bias {
		fits(c.s.O, b)
	}
	c.must(C.rd_conv_forward(c.p, ptr(y), ptr(x), ptr(w), ptr(b), ptr(scratch)))
}

// Input implements Conv.
func (c *nativeConv) Input(add bool, dx, dy, w, scratch []float32) {
	fits(c.x, dx)
	fits(c.y, dy)
	fits(c.w, w)
	fits(c.room+c.extra, scratch)
	to := dx
	if add {
		to = scratch[c.room : c.room+c.x]
	}
	c.must(C.rd_conv_input(c.p, ptr(to), ptr(dy), ptr(w), ptr(scratch)))
	if add {
		Native{}.Add(dx, to)
	}
}

// Weight implements Conv.
func (c *nativeConv) Weight(add bool, dw, db, dy, x, scratch []float32) {
	fits(c.x, x)
	fits(c.y, dy)
	fits(c.w, dw)
	fits(c.room, scratch)
	c.must(C.rd_conv_weight(c.p, flag(add), ptr(dw), ptr(c.bias), ptr(dy), ptr(x), ptr(scratch)))
	if db != nil {
		Native{}.Add(db, c.bias)
	}
}
