//go:build cgo && !purego

package cuda

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

/*
#include "driver.h"
*/
import "C"

// conv is a planned convolution of images (h,w,c) to (oh,ow,o); a transposed one
// is its gradient by the input, as a layer.
type conv struct {
	d                  *Device
	s                  device.ConvShape
	h, w, c, o, oh, ow int
	k                  int  // length of a patch
	plain              bool // a product: one pixel under the kernel
	images             int  // of the patches that are laid out at once, without cuDNN
	dnn                *C.rc_conv
	room               C.int64_t               // bytes that cuDNN works in
	by                 struct{ down, up bool } // what cuDNN does of it
	fixed              []float32               // weights that never change, as (o,KH,KW,c), once they were seen
	seen               bool
}

// mostPatches is how many elements of patches are laid out at once: 256 MB.
const mostPatches = 64 << 20

// Conv implements device.Device: a product where the kernel sees one pixel, or the
// product of patches and weights (im2col), or cuDNN's, whichever was quicker on an
// H200 (docs/cuda.md): cuDNN's exact ways are good at few channels, and its
// gradient by the weights at none.
func (d *Device) Conv(s device.ConvShape) device.Conv {
	c := &conv{d: d, s: s, h: s.H, w: s.W, c: s.C, o: s.O, oh: s.OH, ow: s.OW}
	down, up := true, s.NeedInput
	if s.Transposed {
		c.h, c.w, c.c, c.o, c.oh, c.ow = s.OH, s.OW, s.O, s.C, s.H, s.W
		down, up = s.NeedInput, true
	}
	c.k = s.KH * s.KW * c.c
	c.plain = s.KH == 1 && s.KW == 1 && s.StrideH == 1 && s.StrideW == 1 && s.PadH == 0 && s.PadW == 0
	d.lock()
	defer d.unlock()
	d.of(&d.arranged, 2*c.o*c.k)
	if c.plain {
		return c
	}
	c.by.down = down && c.o <= 32 && s.KH*s.KW > 1
	c.by.up = up && c.o <= 32 && c.c >= 16 && c.c <= 32 && s.StrideH*s.StrideW == 1 && s.KH*s.KW > 1
	if c.by.down || c.by.up {
		c.plan()
	}
	if s.NeedW || down && !c.by.down || up && !c.by.up {
		c.images = max(1, min(s.B, mostPatches/(c.oh*c.ow*c.k)))
		d.of(&d.patches, c.images*c.oh*c.ow*c.k)
	}
	return c
}

// plan asks cuDNN, which may not have a way.
func (c *conv) plan() {
	d, s := c.d, c.s
	yes := func(b bool) C.int {
		if b {
			return 1
		}
		return 0
	}
	shape := C.rc_shape{B: C.int(s.B), H: C.int(c.h), W: C.int(c.w), C: C.int(c.c), OH: C.int(c.oh), OW: C.int(c.ow), O: C.int(c.o),
		KH: C.int(s.KH), KW: C.int(s.KW), SH: C.int(s.StrideH), SW: C.int(s.StrideW), PH: C.int(s.PadH), PW: C.int(s.PadW),
		input: yes(c.by.up)}
	var text [256]C.char
	c.dnn = C.rc_conv_plan(d.rc, &shape, &c.room, &text[0], C.size_t(len(text)))
	if c.dnn != nil {
		d.of(&d.work, int(c.room+3)/4)
		type plan struct {
			d *Device
			p *C.rc_conv
		}
		runtime.AddCleanup(c, func(p plan) {
			p.d.mu.Lock()
			defer p.d.mu.Unlock()
			if p.d.rc != nil {
				C.rc_conv_free(p.d.rc, p.p)
			}
		}, plan{d, c.dnn})
		return
	}
	c.by.down, c.by.up = false, false
	if len(d.notes) < 100 {
		d.notes = append(d.notes, fmt.Sprintf("%+v: %s", s, C.GoString(&text[0])))
	}
}

// Scratch implements device.Conv: the device has working memory of its own.
func (c *conv) Scratch() int { return 0 }

// weights returns w (o,c,KH,KW) as (o,KH,KW,c).
func (c *conv) weights(w []float32) unsafe.Pointer {
	if c.s.KH*c.s.KW == 1 || c.c == 1 {
		return c.d.borrow(w, false)
	}
	if c.s.Static {
		if !c.seen {
			if c.fixed == nil {
				c.fixed = c.d.alloc(c.o * c.k)
				d := c.d
				runtime.AddCleanup(c, func(x []float32) { d.Free(x) }, c.fixed)
			}
			c.arrange(false, false, address(c.fixed), c.d.borrow(w, false))
			c.seen = true
		}
		return address(c.fixed)
	}
	to := address(c.d.arranged.mem)
	c.arrange(false, false, to, c.d.borrow(w, false))
	return to
}

func (c *conv) arrange(back, add bool, dst, src unsafe.Pointer) {
	n := c.o * c.c
	c.d.whole(n, c.c, c.s.KH*c.s.KW).flag(back).flag(add).at(dst).at(src)
	c.d.each(kArrange, n)
}

func (c *conv) gemm(ta, tb bool, m, n, k int, a unsafe.Pointer, lda int, b unsafe.Pointer, ldb int, beta float32, y unsafe.Pointer, ldc int) {
	t := func(b bool) C.int {
		if b {
			return 1
		}
		return 0
	}
	c.d.check(C.rc_gemm(c.d.rc, t(ta), t(tb), C.int(m), C.int(n), C.int(k), (*C.float)(a), C.int(lda), 0, (*C.float)(b), C.int(ldb), 0, C.float(beta), (*C.float)(y), C.int(ldc), 0, 1))
}

// parts calls f for runs of images whose patches fit; first counts from 0.
func (c *conv) parts(f func(first, images int)) {
	for b := 0; b < c.s.B; b += c.images {
		f(b, min(c.images, c.s.B-b))
	}
}

// window begins a call over n; channels count by fours if they can.
func (c *conv) window(n, channels int) *Device {
	s := c.s
	return c.d.whole(n, c.h, c.w, channels, c.oh, c.ow, s.KH, s.KW, s.StrideH, s.StrideW, s.PadH, s.PadW)
}

// fours says whether the channels of images at x can be moved four at a time.
func (c *conv) fours(x unsafe.Pointer) bool { return c.c%4 == 0 && uintptr(x)%16 == 0 }

func (c *conv) gather(images int, x unsafe.Pointer) {
	kernel, channels := kGather, c.c
	if c.fours(x) {
		kernel, channels = kGatherFour, c.c/4
	}
	rows, k := images*c.oh*c.ow, c.s.KH*c.s.KW*channels
	c.window(rows, channels).at(address(c.d.patches.mem)).at(x)
	t := min(256, (k+31)/32*32)
	c.d.launch(kernel, (rows+31)/32, (k+t-1)/t, 1, t)
}

func (c *conv) scatter(add bool, images int, x unsafe.Pointer) {
	kernel, channels := kScatter, c.c
	if c.fours(x) {
		kernel, channels = kScatterFour, c.c/4
	}
	n := images * c.h * c.w * channels
	c.window(n, channels).flag(add).at(x).at(address(c.d.patches.mem))
	c.d.each(kernel, n)
}

func beta(add bool) float32 {
	if add {
		return 1
	}
	return 0
}

// down is result (+)= image * w, up image (+)= its transpose of result.
func (c *conv) down(add bool, result, image, wt unsafe.Pointer) {
	rows := c.oh * c.ow
	switch {
	case c.plain:
		c.gemm(false, true, c.s.B*rows, c.o, c.c, image, c.c, wt, c.c, beta(add), result, c.o)
	case c.by.down:
		c.d.check(C.rc_conv_forward(c.d.rc, c.dnn, (*C.float)(result), (*C.float)(image), (*C.float)(wt), C.float(beta(add)), address(c.d.work.mem), c.room))
	default:
		c.parts(func(first, images int) {
			c.gather(images, unsafe.Add(image, 4*first*c.h*c.w*c.c))
			c.gemm(false, true, images*rows, c.o, c.k, address(c.d.patches.mem), c.k, wt, c.k, beta(add), unsafe.Add(result, 4*first*rows*c.o), c.o)
		})
	}
}

func (c *conv) up(add bool, image, result, wt unsafe.Pointer) {
	rows := c.oh * c.ow
	switch {
	case c.plain:
		c.gemm(false, false, c.s.B*rows, c.c, c.o, result, c.o, wt, c.c, beta(add), image, c.c)
	case c.by.up:
		c.d.check(C.rc_conv_input(c.d.rc, c.dnn, (*C.float)(image), (*C.float)(result), (*C.float)(wt), C.float(beta(add)), address(c.d.work.mem), c.room))
	default:
		c.parts(func(first, images int) {
			c.gemm(false, false, images*rows, c.k, c.o, unsafe.Add(result, 4*first*rows*c.o), c.o, wt, c.k, 0, address(c.d.patches.mem), c.k)
			c.scatter(add, images, unsafe.Add(image, 4*first*c.h*c.w*c.c))
		})
	}
}

// Forward implements device.Conv.
func (c *conv) Forward(y, x, w, b, _ []float32) {
	d := c.d
	d.lock()
	py, px := d.borrow(y, true), d.borrow(x, false)
	if b != nil {
		d.whole(len(y), len(b), len(y)).at(py).r(b)
		d.each(kBias, len(y))
	}
	wt := c.weights(w)
	if c.s.Transposed {
		c.up(b != nil, py, px, wt)
	} else {
		c.down(b != nil, py, px, wt)
	}
	if c.s.ReLU {
		d.whole(len(y), int(device.ReLU)).at(py).at(py)
		d.each(kMap, len(y))
	}
	d.end()
}

// Input implements device.Conv.
func (c *conv) Input(add bool, dx, dy, w, _ []float32) {
	d := c.d
	d.lock()
	to, g := d.borrow(dx, true), d.borrow(dy, false)
	wt := c.weights(w)
	if c.s.Transposed {
		c.down(add, to, g, wt)
	} else {
		c.up(add, to, g, wt)
	}
	d.end()
}

// Weight implements device.Conv.
func (c *conv) Weight(add bool, dw, db, dy, x, _ []float32) {
	d := c.d
	d.lock()
	g, px, to := d.borrow(dy, false), d.borrow(x, false), d.borrow(dw, true)
	if db != nil {
		out := d.borrow(db, true)
		d.columns(columns{mode: 0, R: len(dy) / len(db), D: len(db), Z: 1, x: g, add: true, out0: out})
	}
	image, result := px, g
	if c.s.Transposed {
		image, result = g, px
	}
	// As (o,KH,KW,c), which is dw itself where one of them is one.
	direct := c.s.KH*c.s.KW == 1 || c.c == 1
	at, more := to, add
	if !direct {
		at, more = unsafe.Add(address(d.arranged.mem), 4*c.o*c.k), false
	}
	rows := c.oh * c.ow
	switch {
	case c.plain:
		c.gemm(true, false, c.o, c.c, c.s.B*rows, result, c.o, image, c.c, beta(more), at, c.c)
	default:
		c.parts(func(first, images int) {
			c.gather(images, unsafe.Add(image, 4*first*c.h*c.w*c.c))
			c.gemm(true, false, c.o, c.k, images*rows, unsafe.Add(result, 4*first*rows*c.o), c.o, address(d.patches.mem), c.k, beta(more), at, c.k)
			more = true
		})
	}
	if !direct {
		c.arrange(true, add, to, at)
	}
	d.end()
}
