//go:build cgo && !purego

package cuda

import (
	"unsafe"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Norm implements device.Device.
func (d *Device) Norm(n device.Norm, y, x []float32) {
	rows := len(x) / n.D
	fits(rows, n.Mean, n.Inv)
	fits(len(x), y)
	d.lock()
	d.whole(n.D, rows/n.Members).real(n.Eps).flag(n.ReLU).rw(y).r(x).r(n.Gain).r(n.Bias).rw(n.Mean).rw(n.Inv)
	d.rows(kLayerNorm, rows, n.D)
	d.end()
}

// NormGrad implements device.Device.
func (d *Device) NormGrad(n device.Norm, add bool, dx, dgain, dbias, dy, y, x []float32) {
	rows := len(x) / n.D
	per := rows / n.Members
	d.lock()
	g, px := d.borrow(dy, n.ReLU), d.borrow(x, false)
	mean, inv := d.borrow(n.Mean, false), d.borrow(n.Inv, false)
	if n.ReLU {
		d.whole(len(dy)).at(g).r(y)
		d.each(kMask, len(dy))
	}
	if dgain != nil {
		og, ob := d.borrow(dgain, true), d.borrow(dbias, true)
		d.columns(columns{mode: 1, R: per, D: n.D, Z: n.Members, x: px, dy: g, mean: mean, inv: inv, add: true, step: n.D, out0: og, out1: ob})
	}
	if dx != nil {
		d.whole(n.D, per).flag(add).rw(dx).at(g).at(px).r(n.Gain).at(mean).at(inv)
		d.rows(kLayerNormGrad, rows, n.D)
	}
	d.end()
}

// small says whether a block for each group is the way: enough groups to fill a
// card and not too many elements for one, which lie eight or more together.
func small(n device.Groups) bool {
	w := n.C / n.G
	return w >= 8 && n.N*w <= 1<<16
}

// Groups implements device.Device.
func (d *Device) Groups(n device.Groups, y, x []float32) {
	size, w, groups := n.B*n.N*n.C, n.C/n.G, n.B*n.G
	fits(size, y, x)
	fits(groups, n.Mean, n.Inv)
	d.lock()
	px := d.borrow(x[:size], false)
	if small(n) {
		d.whole(n.N, n.C, w).real(n.Eps).rw(y[:size]).at(px).r(n.Gain).r(n.Bias).rw(n.Mean).rw(n.Inv)
		d.rows(kGroupNorm, groups, n.N*w)
		d.end()
		return
	}
	sums := d.of(&d.sums, n.B*n.C)
	mean, inv := d.borrow(n.Mean, true), d.borrow(n.Inv, true)
	count := float32(n.N * w)
	d.columns(columns{mode: 0, R: n.N, D: n.C, Z: n.B, x: px, step: n.C, out0: sums})
	d.whole(groups, w, 0).real(count, n.Eps).at(mean).at(sums)
	d.each(kGroupEnd, groups)
	d.columns(columns{mode: 4, R: n.N, D: n.C, Z: n.B, w: w, x: px, mean: mean, step: n.C, out0: sums})
	d.whole(groups, w, 1).real(count, n.Eps).at(inv).at(sums)
	d.each(kGroupEnd, groups)
	d.whole(size, n.N, n.C, w).rw(y[:size]).at(px).r(n.Gain).r(n.Bias).at(mean).at(inv)
	d.each(kGroupApply, size)
	d.end()
}

// GroupsGrad implements device.Device.
func (d *Device) GroupsGrad(n device.Groups, add bool, dx, dgain, dbias, dy, x []float32) {
	size, w, groups := n.B*n.N*n.C, n.C/n.G, n.B*n.G
	fits(size, dy, x)
	d.lock()
	g, px := d.borrow(dy[:size], false), d.borrow(x[:size], false)
	mean, inv := d.borrow(n.Mean, false), d.borrow(n.Inv, false)
	gain := d.borrow(n.Gain, false)
	s := d.of(&d.sums, 2*n.B*n.C+2*groups)
	p := unsafe.Add(s, 4*n.B*n.C)
	a := unsafe.Add(p, 4*n.B*n.C)
	d.columns(columns{mode: 3, R: n.N, D: n.C, Z: n.B, w: w, x: px, dy: g, mean: mean, step: n.C, out0: s, out1: p})
	if dgain != nil {
		d.whole(n.C, n.B, w).rw(dgain).rw(dbias).at(s).at(p).at(inv)
		d.each(kGroupParams, n.C)
	}
	if dx != nil {
		d.whole(groups, n.G, w).real(float32(n.N * w)).at(a).at(s).at(p).at(gain).at(inv)
		d.each(kGroupMid, groups)
		d.whole(size, n.N, n.C, w).flag(add).rw(dx[:size]).at(g).at(px).at(gain).at(mean).at(inv).at(a)
		d.each(kGroupBack, size)
	}
	d.end()
}

// Running implements device.Accelerator.
func (d *Device) Running(momentum, eps, unbias float32, mean, variance, batchMean, batchInv []float32) {
	d.lock()
	d.whole(len(mean)).real(momentum, eps, unbias).rw(mean).rw(variance).r(batchMean).r(batchInv)
	d.each(kRunning, len(mean))
	d.end()
}
