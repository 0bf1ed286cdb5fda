//go:build cgo && !purego

package cuda

import "github.com/rapport-rl/rapport/internal/nn/device"

// SpatialSoftmax implements device.Device.
func (d *Device) SpatialSoftmax(B, H, W, C int, t float32, y, prob, x []float32) {
	n := B * H * W * C
	fits(n, prob, x)
	fits(2*B*C, y)
	d.lock()
	d.whole(H, W, C).real(1 / t).rw(y).rw(prob).r(x)
	d.launch(kSpatialSoftmax, (C+31)/32, B, 1, 256)
	d.end()
}

// SpatialSoftmaxGrad implements device.Device.
func (d *Device) SpatialSoftmaxGrad(B, H, W, C int, t float32, dx, dy, y, prob []float32) {
	n := B * H * W * C
	fits(n, dx, prob)
	d.lock()
	d.whole(n, H, W, C).real(1 / t).rw(dx).r(dy).r(y).r(prob)
	d.each(kSpatialSoftmaxGrad, n)
	d.end()
}

// pool adds what the kernels of max pooling have in common.
func (d *Device) pool(n int, p device.Pool) *Device {
	return d.whole(n, p.H, p.W, p.C, p.OH, p.OW, p.K, p.StrideH, p.StrideW, p.Pad)
}

// MaxPool implements device.Accelerator.
func (d *Device) MaxPool(p device.Pool, y, pick, x []float32) {
	n := p.B * p.OH * p.OW * p.C
	fits(n, y, pick)
	fits(p.B*p.H*p.W*p.C, x)
	d.lock()
	d.pool(n, p).rw(y).rw(pick).r(x)
	d.each(kMaxPool, n)
	d.end()
}

// MaxPoolGrad implements device.Accelerator.
func (d *Device) MaxPoolGrad(p device.Pool, dx, dy, pick []float32) {
	n := p.B * p.H * p.W * p.C
	fits(n, dx)
	fits(p.B*p.OH*p.OW*p.C, dy, pick)
	d.lock()
	d.pool(n, p).rw(dx).r(dy).r(pick)
	d.each(kMaxPoolGrad, n)
	d.end()
}

// Shrink implements device.Accelerator.
func (d *Device) Shrink(W, C, kh, kw int, c float32, add bool, y, x []float32) {
	fits(len(y)*kh*kw, x)
	d.lock()
	d.whole(len(y), W, C, kh, kw).real(c).flag(add).rw(y).r(x)
	d.each(kShrink, len(y))
	d.end()
}

// ImageSum implements device.Accelerator.
func (d *Device) ImageSum(B, C int, c float32, y, x []float32) {
	n := B * C
	fits(n, y)
	d.lock()
	sums, px := d.of(&d.sums, n), d.borrow(x, false)
	d.columns(columns{mode: 0, R: len(x) / n, D: C, Z: B, x: px, step: C, out0: sums})
	d.whole(n).real(c).rw(y[:n]).at(sums)
	d.each(kAxpy, n)
	d.end()
}

// Grow implements device.Accelerator.
func (d *Device) Grow(W, C, kh, kw int, c float32, add bool, y, x []float32) {
	fits(len(y)/(kh*kw), x)
	d.lock()
	d.whole(len(y), W, C, kh, kw).real(c).flag(add).rw(y).r(x)
	d.each(kGrow, len(y))
	d.end()
}

// Strided implements device.Accelerator.
func (d *Device) Strided(add bool, rows, cols int, dst []float32, ldd int, src []float32, lds int) {
	fits((rows-1)*ldd+cols, dst)
	fits((rows-1)*lds+cols, src)
	d.lock()
	d.whole(rows*cols, cols).flag(add).rw(dst).whole(ldd).r(src).whole(lds)
	d.each(kStrided, rows*cols)
	d.end()
}

// mostAxes is what the kernel of permutations takes.
const mostAxes = 6

// Permute implements device.Accelerator.
func (d *Device) Permute(shape, step []int, y, x []float32) {
	few(shape)
	d.lock()
	d.whole(len(y), 0).rw(y).r(x).at(nil)
	d.axes(shape, step)
	d.each(kPermute, len(y))
	d.end()
}

// PermuteGrad implements device.Accelerator.
func (d *Device) PermuteGrad(shape, step []int, dx, dy []float32) {
	few(shape)
	d.lock()
	d.whole(len(dy), 1).at(nil).r(dy).rw(dx)
	d.axes(shape, step)
	d.each(kPermute, len(dy))
	d.end()
}

// few panics, before anything is locked, where the kernel has no room.
func few(shape []int) {
	if len(shape) > mostAxes {
		panic("cuda: Permute: more than six axes")
	}
}

func (d *Device) axes(shape, step []int) {
	var n, s [mostAxes]int
	for i := range n {
		n[i] = 1
	}
	copy(n[mostAxes-len(shape):], shape)
	copy(s[mostAxes-len(step):], step)
	d.whole(n[1:]...).whole(s[:]...)
}

// MinFirst implements device.Accelerator.
func (d *Device) MinFirst(E int, y, pick, x []float32) {
	fits(E*len(y), x)
	fits(len(y), pick)
	d.lock()
	d.whole(len(y), E).rw(y).rw(pick).r(x)
	d.each(kMinFirst, len(y))
	d.end()
}

// Pick implements device.Accelerator.
func (d *Device) Pick(dx, dy, pick []float32) {
	d.lock()
	d.whole(len(dy)).rw(dx).r(dy).r(pick)
	d.each(kPickGrad, len(dy))
	d.end()
}
