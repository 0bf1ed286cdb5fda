//go:build cgo && !purego

package ot

/*
#cgo CFLAGS: -O3 -Wall -Wno-psabi
#include "loops.h"
#cgo noescape ot_exp
#cgo noescape ot_span
#cgo noescape ot_cold
#cgo noescape ot_exponentiate
#cgo noescape ot_rows
#cgo noescape ot_curve
#cgo noescape ot_plan
#cgo nocallback ot_exp
#cgo nocallback ot_span
#cgo nocallback ot_cold
#cgo nocallback ot_exponentiate
#cgo nocallback ot_rows
#cgo nocallback ot_curve
#cgo nocallback ot_plan
*/
import "C"

import "unsafe"

func ptr(x []float64) *C.double { return (*C.double)(unsafe.Pointer(unsafe.SliceData(x))) }

func expAll(x []float64) { C.ot_exp(ptr(x), C.ptrdiff_t(len(x))) }

func spanOf(c []float64) (lo, hi float64, finite bool) {
	var l, h C.double
	ok := C.ot_span(ptr(c), C.ptrdiff_t(len(c)), &l, &h)
	return float64(l), float64(h), ok != 0
}

func (k *kernel) coldRows() {
	C.ot_cold(C.ptrdiff_t(k.n), C.ptrdiff_t(k.m), ptr(k.c), C.double(k.inv), ptr(k.a), ptr(k.k), ptr(k.alpha), ptr(k.u), ptr(k.s))
}

func (k *kernel) exponentiate() {
	C.ot_exponentiate(C.ptrdiff_t(k.n), C.ptrdiff_t(k.m), ptr(k.c), C.double(k.inv), ptr(k.alpha), ptr(k.beta), ptr(k.k))
}

func (k *kernel) rows() {
	C.ot_rows(C.ptrdiff_t(k.n), C.ptrdiff_t(k.m), ptr(k.k), ptr(k.v), ptr(k.a), ptr(k.u), ptr(k.s))
}

func (k *kernel) curve(dst, v []float64) {
	C.ot_curve(C.ptrdiff_t(k.n), C.ptrdiff_t(k.m), ptr(k.k), ptr(v), ptr(k.a), ptr(k.u), ptr(dst))
}

func (k *kernel) planInto(dst []float64) float64 {
	return float64(C.ot_plan(C.ptrdiff_t(k.n), C.ptrdiff_t(k.m), ptr(k.k), ptr(k.u), ptr(k.v), ptr(k.c), ptr(dst)))
}
