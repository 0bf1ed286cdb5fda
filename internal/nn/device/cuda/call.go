//go:build cgo && !purego

package cuda

import "unsafe"

/*
#include "driver.h"
*/
import "C"

// A call of a kernel is put together slot by slot, in the order of the kernel's
// parameters, between lock and unlock:
//
//	d.lock()
//	d.whole(len(dst)).rw(dst).r(src)
//	d.each(kAdd, len(dst))
//	d.unlock()

// whole adds integers.
func (d *Device) whole(vs ...int) *Device {
	for _, v := range vs {
		if v > largest {
			panic("cuda: array of 2^31 elements or more; choose a smaller batch")
		}
		d.slots[d.n] = uint64(int64(v))
		d.n++
	}
	return d
}

// largest leaves a kernel's index room for a last stride.
const largest = 1<<31 - 1 - 256*mostBlocks

func (d *Device) flag(b bool) *Device {
	if b {
		return d.whole(1)
	}
	return d.whole(0)
}

// real adds float32s.
func (d *Device) real(vs ...float32) *Device {
	for _, v := range vs {
		d.slots[d.n] = uint64(*(*uint32)(unsafe.Pointer(&v)))
		d.n++
	}
	return d
}

// at adds an address on the card.
func (d *Device) at(p unsafe.Pointer) *Device {
	d.slots[d.n] = uint64(uintptr(p))
	d.n++
	return d
}

// r adds an array that is read, rw one that is read and written, or written in
// part; nil is no array.
func (d *Device) r(x []float32) *Device  { return d.at(d.borrow(x, false)) }
func (d *Device) rw(x []float32) *Device { return d.at(d.borrow(x, true)) }

// borrow returns where x is on the card: an ordinary array is copied there, and
// back if it is written to.
func (d *Device) borrow(x []float32, written bool) unsafe.Pointer {
	p := address(x)
	if len(x) == 0 || d.here(x) {
		return p
	}
	for i := range d.back { // twice the same, as in y = f(y)
		if l := &d.back[i]; address(l.host) == p && len(l.host) >= len(x) {
			l.written = l.written || written
			return l.at
		}
	}
	at := d.lend(len(x))
	d.check(C.rc_up(d.rc, at, p, bytes(x)))
	d.back = append(d.back, loan{x, at, written})
	return at
}

// lend takes n elements of the stage, until the call is done.
func (d *Device) lend(n int) unsafe.Pointer {
	n = (n + 63) &^ 63 // 256 bytes, as the card's own allocations
	if k := len(d.stage); k == 0 || d.used+n > len(d.stage[k-1].mem) {
		d.stage = append(d.stage, room{d.alloc(max(2*n, 1<<18))})
		d.used = 0
	}
	p := address(d.stage[len(d.stage)-1].mem[d.used:])
	d.used += n
	return p
}

// launch runs kernel k on blocks (x,y,z) of t threads.
func (d *Device) launch(k, x, y, z, t int) {
	n := d.n
	d.n = 0
	d.check(C.rc_launch(d.rc, C.int(k), C.int64_t(x), C.int64_t(y), C.int64_t(z), C.int64_t(t), (*C.uint64_t)(&d.slots[0]), C.int(n)))
	if d.cfg.Wait {
		d.check(C.rc_sync(d.rc))
	}
}

// most blocks of an elementwise kernel: some for each of the multiprocessors of
// the largest card, each of which then goes through the array in strides.
const mostBlocks = 132 * 16

// each runs kernel k on n elements.
func (d *Device) each(k, n int) {
	if n == 0 {
		d.n = 0
		return
	}
	d.launch(k, min((n+255)/256, mostBlocks), 1, 1, 256)
}

// rows runs kernel k with a block for each of n rows of D.
func (d *Device) rows(k, n, D int) { d.launch(k, n, 1, 1, threads(D)) }

// threads is how many share a row of D: a power of two, of whole warps.
func threads(D int) int {
	t := 32
	for t < 512 && 4*t < D {
		t *= 2
	}
	return t
}

// done brings what was lent back.
func (d *Device) done() {
	if len(d.back) == 0 {
		return
	}
	for _, l := range d.back {
		if l.written {
			d.check(C.rc_down(d.rc, address(l.host), l.at, bytes(l.host)))
		}
	}
	d.check(C.rc_sync(d.rc))
	clear(d.back)
	d.back = d.back[:0]
	for len(d.stage) > 1 { // the last is the largest
		d.free(d.stage[0].mem)
		d.stage = append(d.stage[:0], d.stage[1:]...)
	}
	d.used = 0
}

// of makes sure that r holds n elements. Recordings may know the old memory, so
// that stays.
func (d *Device) of(r *room, n int) unsafe.Pointer {
	if len(r.mem) < n {
		r.mem = d.alloc(max(n, 2*len(r.mem), 1<<16))
	}
	return address(r.mem)
}
