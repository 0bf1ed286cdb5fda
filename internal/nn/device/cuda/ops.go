//go:build cgo && !purego

package cuda

import (
	"math"
	"unsafe"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

/*
#include "driver.h"
*/
import "C"

// fits panics where a kernel over n elements would leave an array.
func fits(n int, xs ...[]float32) {
	for _, x := range xs {
		if len(x) < n {
			panic("cuda: array too short")
		}
	}
}

// end brings back what was lent and ends the call.
func (d *Device) end() {
	d.done()
	d.unlock()
}

// Gemm implements device.Device.
func (d *Device) Gemm(ta, tb bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	d.Products(ta, tb, m, n, k, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)
}

// Products implements device.Accelerator.
func (d *Device) Products(ta, tb bool, m, n, k int, a []float32, lda, sa int, b []float32, ldb, sb int, beta float32, c []float32, ldc, sc, count int) {
	size := func(trans bool, r, c, ld, step int) int { // elements from the first to the last
		if trans {
			r, c = c, r
		}
		return (count-1)*step + (r-1)*ld + c
	}
	la, lb, lc := size(ta, m, k, lda, sa), size(tb, k, n, ldb, sb), size(false, m, n, ldc, sc)
	if len(a) < la || len(b) < lb || len(c) < lc {
		panic("cuda: Gemm: array too short")
	}
	trans := func(t bool) C.int {
		if t {
			return 1
		}
		return 0
	}
	d.lock()
	pa, pb, pc := d.borrow(a[:la], false), d.borrow(b[:lb], false), d.borrow(c[:lc], true)
	d.check(C.rc_gemm(d.rc, trans(ta), trans(tb), C.int(m), C.int(n), C.int(k), (*C.float)(pa), C.int(lda), C.int64_t(sa),
		(*C.float)(pb), C.int(ldb), C.int64_t(sb), C.float(beta), (*C.float)(pc), C.int(ldc), C.int64_t(sc), C.int(count)))
	if d.cfg.Wait {
		d.check(C.rc_sync(d.rc))
	}
	d.end()
}

// Map implements device.Device.
func (d *Device) Map(f device.Op, y, x []float32) {
	fits(len(y), x)
	d.lock()
	d.whole(len(y), int(f)).rw(y).r(x[:len(y)])
	d.each(kMap, len(y))
	d.end()
}

// MapGrad implements device.Device.
func (d *Device) MapGrad(f device.Op, add bool, dx, dy, x, y []float32) {
	n := len(dx)
	fits(n, dy, x, y)
	d.lock()
	d.whole(n, int(f)).flag(add).rw(dx).r(dy[:n]).r(x[:n]).r(y[:n])
	d.each(kMapGrad, n)
	d.end()
}

// Unary implements device.Accelerator.
func (d *Device) Unary(f device.Unary, y, x []float32) {
	fits(len(y), x)
	d.lock()
	d.whole(len(y), int(f.Op)).real(f.A, f.B).rw(y).r(x[:len(y)])
	d.each(kUnary, len(y))
	d.end()
}

// UnaryGrad implements device.Accelerator.
func (d *Device) UnaryGrad(f device.Unary, add bool, dx, dy, x, y []float32) {
	n := len(dx)
	fits(n, dy, x, y)
	d.lock()
	d.whole(n, int(f.Op)).real(f.A, f.B).flag(add).rw(dx).r(dy[:n]).r(x[:n]).r(y[:n])
	d.each(kUnaryGrad, n)
	d.end()
}

// Binary implements device.Accelerator.
func (d *Device) Binary(f device.Binary, r device.Repeat, y, a, b []float32) {
	n := r.Outer * r.Inner
	fits(n, y, a)
	d.lock()
	if f == device.Sum && len(b) == n { // the residual connection of large networks
		d.whole(n).rw(y[:n]).r(a[:n]).r(b)
		d.each(kPlusTwo, n)
		d.end()
		return
	}
	d.whole(n, int(f), r.Inner, r.StepOuter, r.StepInner).rw(y[:n]).r(a[:n]).r(b)
	d.each(kBinary, n)
	d.end()
}

// BinaryGrad implements device.Accelerator.
func (d *Device) BinaryGrad(f device.Binary, r device.Repeat, da, db, dy, a, b []float32) {
	n := r.Outer * r.Inner
	fits(n, dy, a)
	d.lock()
	if da != nil {
		d.whole(n, int(f), r.Inner, r.StepOuter, r.StepInner).rw(da).r(dy).r(a).r(b)
		d.each(kBinaryA, n)
	}
	if db != nil {
		// Element k of b meets count elements of a, step apart, from k*base on.
		count, step, base := n/len(b), 0, 0
		switch {
		case len(b) == 1:
			step = 1
		case r.StepInner == 0: // one for each row
			step, base = 1, r.Inner
		default: // a row for all
			step, base = r.Inner, 1
		}
		d.whole(int(f), count, step, base).rw(db).r(dy).r(a).r(b)
		d.rows(kBinaryB, len(b), count)
	}
	d.end()
}

// Mask implements device.Device.
func (d *Device) Mask(dy, y []float32) {
	fits(len(dy), y)
	d.lock()
	d.whole(len(dy)).rw(dy).r(y[:len(dy)])
	d.each(kMask, len(dy))
	d.end()
}

// Add implements device.Device.
func (d *Device) Add(dst, src []float32) {
	fits(len(dst), src)
	d.lock()
	d.whole(len(dst)).rw(dst).r(src[:len(dst)])
	d.each(kAdd, len(dst))
	d.end()
}

// Shift implements device.Accelerator.
func (d *Device) Shift(c float32, dst []float32) {
	d.lock()
	d.whole(len(dst)).real(c).rw(dst)
	d.each(kShift, len(dst))
	d.end()
}

// Axpy implements device.Device.
func (d *Device) Axpy(a float32, dst, src []float32) {
	fits(len(dst), src)
	d.lock()
	d.whole(len(dst)).real(a).rw(dst).r(src[:len(dst)])
	d.each(kAxpy, len(dst))
	d.end()
}

// Mul implements device.Device.
func (d *Device) Mul(add bool, dst, a, b []float32) {
	n := len(dst)
	fits(n, a, b)
	d.lock()
	d.whole(n).flag(add).rw(dst).r(a[:n]).r(b[:n])
	d.each(kMul, n)
	d.end()
}

// Lerp implements device.Device.
func (d *Device) Lerp(tau float32, dst, src []float32) {
	fits(len(dst), src)
	d.lock()
	d.whole(len(dst)).real(tau).rw(dst).r(src[:len(dst)])
	d.each(kLerp, len(dst))
	d.end()
}

// Pixels implements device.Device.
func (d *Device) Pixels(dst []float32, src []byte) {
	if len(src) < len(dst) {
		panic("cuda: array too short")
	}
	if len(dst) == 0 {
		return
	}
	d.lock()
	at := d.lend((len(dst) + 3) / 4)
	d.check(C.rc_up(d.rc, at, unsafe.Pointer(unsafe.SliceData(src)), C.int64_t(len(dst))))
	d.whole(len(dst)).rw(dst).at(at)
	d.each(kPixels, len(dst))
	d.check(C.rc_sync(d.rc)) // src is the caller's again
	d.used = 0
	d.end()
}

// sum leaves in d.wide's first float64 the sum over n terms, and c times it in y
// unless that is nil.
func (d *Device) sum(mode, n int, delta, c float32, y, a, b []float32) {
	wide := address(d.wide)
	part := unsafe.Add(wide, 16)
	blocks := max(1, min((n+2047)/2048, 512))
	pa, pb := d.borrow(a, false), d.borrow(b, false)
	d.whole(n, mode).real(delta).at(part).at(pa).at(pb)
	d.launch(kSumPart, blocks, 1, 1, 256)
	d.whole(blocks).real(c).rw(y).at(wide).at(part)
	d.launch(kSumEnd, 1, 1, 1, threads(4*blocks))
}

// SumSquares implements device.Device.
func (d *Device) SumSquares(x []float32) float64 {
	d.lock()
	d.sum(1, len(x), 0, 1, nil, x, nil)
	d.check(C.rc_down(d.rc, address(d.host), address(d.wide), 8))
	d.check(C.rc_sync(d.rc))
	s := *(*float64)(address(d.host))
	d.end()
	return s
}

// Sum implements device.Accelerator.
func (d *Device) Sum(c float32, y, x []float32) {
	d.lock()
	d.sum(0, len(x), 0, c, y[:1], x, nil)
	d.end()
}

// Between implements device.Accelerator.
func (d *Device) Between(l device.Loss, y, a, b []float32) {
	fits(len(a), b)
	d.lock()
	d.sum(lossMode(l), len(a), l.Delta, float32(1/float64(len(a))), y[:1], a, b)
	d.end()
}

func lossMode(l device.Loss) int {
	if l.Delta > 0 {
		return 3
	}
	return 2
}

// BetweenGrad implements device.Accelerator.
func (d *Device) BetweenGrad(l device.Loss, da, db, dy, a, b []float32) {
	d.lock()
	d.whole(len(a), lossMode(l)).real(l.Delta, float32(1/float64(len(a)))).rw(da).rw(db).r(dy[:1]).r(a).r(b)
	d.each(kBetweenGrad, len(a))
	d.end()
}

// Spread implements device.Accelerator.
func (d *Device) Spread(D int, c float32, dx, dy []float32) {
	fits(len(dx)/D, dy)
	d.lock()
	if len(dx) == D {
		d.whole(D).real(c).rw(dx).r(dy[:1])
		d.each(kSpread, D)
	} else {
		d.whole(len(dx), D).real(c).rw(dx).r(dy)
		d.each(kRowSpread, len(dx))
	}
	d.end()
}

// RowSum implements device.Accelerator.
func (d *Device) RowSum(D int, c float32, y, x []float32) {
	fits(len(x)/D, y)
	d.lock()
	d.whole(D).real(c).rw(y).r(x)
	d.rows(kRowSum, len(x)/D, D)
	d.end()
}

// Bias implements device.Device.
func (d *Device) Bias(y, b []float32) { d.MemberBias(1, y, b) }

// MemberBias implements device.Accelerator.
func (d *Device) MemberBias(members int, y, b []float32) {
	d.lock()
	d.whole(len(y), len(b)/members, len(y)/members).rw(y).r(b)
	d.each(kBias, len(y))
	d.end()
}

// ColSum implements device.Device.
func (d *Device) ColSum(dst, x []float32) { d.MemberColSum(1, dst, x) }

// MemberColSum implements device.Accelerator.
func (d *Device) MemberColSum(members int, dst, x []float32) {
	D := len(dst) / members
	d.lock()
	px, out := d.borrow(x, false), d.borrow(dst, true)
	d.columns(columns{mode: 0, R: len(x) / len(dst), D: D, Z: members, x: px, add: true, step: D, out0: out})
	d.end()
}

// columns is a sum over columns; see col_part in kernels.cu.
type columns struct {
	mode, R, D, Z, w int // rows, columns, stacked arrays, columns of a group
	x, dy, mean, inv unsafe.Pointer
	add              bool
	step             int // between the results of stacked arrays
	out0, out1       unsafe.Pointer
}

func (d *Device) columns(c columns) {
	W := 1
	for W < 32 && W < c.D {
		W *= 2
	}
	across := 256 / W
	bx := (c.D + W - 1) / W
	// Enough blocks to fill the largest card, and of each thread eight rows at least.
	chunks := max(1, min((c.R+8*across-1)/(8*across), mostBlocks/2/(bx*c.Z), 512))
	chunk := (c.R + chunks - 1) / chunks
	chunks = (c.R + chunk - 1) / chunk
	part := unsafe.Pointer(nil)
	if chunks > 1 {
		part = d.of(&d.part, c.Z*chunks*2*c.D)
	}
	d.whole(c.mode, c.R, c.D, W, chunk, max(1, c.w)).at(c.x).at(c.dy).at(c.mean).at(c.inv).at(part).flag(c.add).whole(c.step).at(c.out0).at(c.out1)
	d.launch(kColPart, bx, chunks, c.Z, 256)
	if chunks > 1 {
		d.whole(c.D, W, chunks).at(part).flag(c.add).whole(c.step).at(c.out0).at(c.out1)
		d.launch(kColEnd, bx, 1, c.Z, 256)
	}
}

// Affine implements device.Device.
func (d *Device) Affine(y, x, gain, bias []float32) {
	n, D := len(x), len(gain)
	fits(n, y)
	d.lock()
	d.whole(n, D, n, 0).rw(y).r(x).r(gain).r(bias)
	d.each(kAffine, n)
	d.end()
}

// AffineGrad implements device.Device.
func (d *Device) AffineGrad(add bool, dx, dgain, dbias, dy, x, gain []float32) {
	n, D := len(dy), len(gain)
	d.lock()
	g := d.borrow(dy, false)
	if dgain != nil {
		px, og, ob := d.borrow(x, false), d.borrow(dgain, true), d.borrow(dbias, true)
		d.columns(columns{mode: 2, R: n / D, D: D, Z: 1, x: px, dy: g, add: true, out0: og, out1: ob})
	}
	if dx != nil {
		d.whole(n, D, n, 0).flag(add).rw(dx).at(g).r(gain)
		d.each(kAffineGrad, n)
	}
	d.end()
}

// FiLM implements device.Accelerator.
func (d *Device) FiLM(B, C int, y, x, film []float32) {
	d.lock()
	d.whole(len(x), C, len(x)/B, 2*C).rw(y).r(x).r(film).r(film[C:])
	d.each(kAffine, len(x))
	d.end()
}

// FiLMGrad implements device.Accelerator.
func (d *Device) FiLMGrad(B, C int, add bool, dx, dfilm, dy, x, film []float32) {
	n := len(dy)
	d.lock()
	g := d.borrow(dy, false)
	if dfilm != nil {
		px, o := d.borrow(x, false), d.borrow(dfilm, true)
		d.columns(columns{mode: 2, R: n / B / C, D: C, Z: B, x: px, dy: g, add: true, step: 2 * C, out0: o, out1: unsafe.Add(o, 4*C)})
	}
	if dx != nil {
		d.whole(n, C, n/B, 2*C).flag(add).rw(dx).at(g).r(film)
		d.each(kAffineGrad, n)
	}
	d.end()
}

// Softmax implements device.Device.
func (d *Device) Softmax(D int, c float32, y, x []float32) {
	fits(len(x), y)
	d.lock()
	d.whole(D).real(c).rw(y).r(x)
	d.rows(kSoftmax, len(x)/D, D)
	d.end()
}

// SoftmaxGrad implements device.Device.
func (d *Device) SoftmaxGrad(D int, c float32, add bool, dx, dy, y []float32) {
	fits(len(y), dx, dy)
	d.lock()
	d.whole(D).real(c).flag(add).rw(dx).r(dy).r(y)
	d.rows(kSoftmaxGrad, len(y)/D, D)
	d.end()
}

// Causal implements device.Accelerator.
func (d *Device) Causal(S int, p []float32) {
	d.lock()
	d.whole(len(p), S).rw(p)
	d.each(kCausal, len(p))
	d.end()
}

// Adam implements device.Device.
func (d *Device) Adam(k device.AdamStep, data, grad, mean, square []float32) {
	n := len(data)
	fits(n, grad, mean, square)
	d.lock()
	d.whole(n).real(k.Scale, k.B1, k.R1, k.B2, k.R2, k.Step, k.Eps, k.Decay).rw(data).r(grad[:n]).rw(mean[:n]).rw(square[:n])
	d.each(kAdam, n)
	d.end()
}

// adams is device.Adams.
type adams struct {
	d      *Device
	table  []float32 // Spans
	n      int       // how many
	parts  []float32 // float64s
	square []float32 // one float64
	host   []float32
}

// span is kernels.cu's.
type span struct {
	data, grad, mean, square uint64
	n                        int64
}

// stretch is how long a span is at most.
const stretch = 4096

// Adams implements device.Accelerator.
func (d *Device) Adams(data, grad, mean, square [][]float32) device.Adams {
	var spans []span
	for i, x := range data {
		fits(len(x), grad[i], mean[i], square[i])
		for _, y := range [][]float32{x, grad[i], mean[i], square[i]} {
			if len(y) > 0 && !d.holds(y) {
				panic("cuda: Adams: array not on the card")
			}
		}
		at := func(x []float32, lo int) uint64 { return uint64(uintptr(unsafe.Pointer(&x[lo]))) }
		for lo := 0; lo < len(x); lo += stretch {
			spans = append(spans, span{at(x, lo), at(grad[i], lo), at(mean[i], lo), at(square[i], lo), int64(min(stretch, len(x)-lo))})
		}
	}
	words := len(spans) * int(unsafe.Sizeof(span{})) / 4
	a := &adams{d: d, n: len(spans), table: d.Alloc(words), parts: d.Alloc(2 * len(spans)), square: d.Alloc(2), host: d.Pin(2)}
	if a.n > 0 {
		d.Upload(a.table, unsafe.Slice((*float32)(unsafe.Pointer(&spans[0])), words))
		d.Sync()
	}
	return a
}

// Step implements device.Adams.
func (a *adams) Step(s device.AdamStep, clip float64) {
	if math.IsInf(clip, 1) {
		clip = 0
	}
	d := a.d
	if a.n == 0 {
		return
	}
	d.lock()
	d.at(address(a.parts)).at(address(a.table))
	d.launch(kSpanSquares, a.n, 1, 1, 256)
	d.whole(a.n).real(1).at(nil).at(address(a.square)).at(address(a.parts))
	d.launch(kSumEnd, 1, 1, 1, threads(4*a.n))
	d.real(float32(clip), s.B1, s.R1, s.B2, s.R2, s.Step, s.Eps, s.Decay).at(address(a.square)).at(address(a.table))
	d.launch(kSpanAdam, a.n, 1, 1, 256)
	d.end()
}

// Norm implements device.Adams.
func (a *adams) Norm() float64 {
	d := a.d
	d.lock()
	d.check(C.rc_down(d.rc, address(a.host), address(a.square), 8))
	d.check(C.rc_sync(d.rc))
	s := *(*float64)(address(a.host))
	d.end()
	return math.Sqrt(s)
}
