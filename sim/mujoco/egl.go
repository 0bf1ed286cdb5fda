//go:build !nogl

package mujoco

/*
#include <stdlib.h>
#include "egl.h"
#cgo noescape mjx_egl_render
#cgo nocallback mjx_egl_render
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

const preferred = EGL

// eglPainter draws all cameras in one C call, since an OpenGL context is bound
// to a thread and goroutines change theirs between calls.
type eglPainter struct {
	c    *C.mjx_egl
	out  []byte // (cameras,H,W,3)
	cams []C.int
	f    fault
}

func newEGL(m *Model, size Size, q Quality) (painter, error) {
	name := os.Getenv("RAPPORT_EGL")
	if name == "" {
		name = "libEGL.so.1"
	}
	lib := C.CString(name)
	defer C.free(unsafe.Pointer(lib))
	lean := C.int(0)
	if q == Lean {
		lean = 1
	}
	p := new(eglPainter)
	p.c = C.mjx_egl_open(lib, m.c, C.int(size.W), C.int(size.H), lean, p.f.c())
	if p.c == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoGL, C.GoString(&p.f.msg[0]))
	}
	return p, nil
}

func (p *eglPainter) paint(d *Data, cams []int, dst [][]byte) error {
	n := len(dst[0])
	if need := n * len(cams); len(p.out) < need {
		p.out = make([]byte, need)
	}
	p.cams = p.cams[:0]
	for _, c := range cams {
		p.cams = append(p.cams, C.int(c))
	}
	if C.mjx_egl_render(p.c, d.m.c, d.c, &p.cams[0], C.int(len(cams)), (*C.uchar)(&p.out[0]), p.f.c()) != C.MJX_OK {
		return p.f.err("render", d.Time())
	}
	for i := range dst {
		copy(dst[i], p.out[i*n:])
	}
	return nil
}

func (p *eglPainter) replay(d *Data, ctrl []float64, every int, cams []int, dst []byte) error {
	eyes := make([]C.int, len(cams))
	for i, c := range cams {
		eyes[i] = C.int(c)
	}
	if C.mjx_egl_replay(p.c, d.m.c, d.c, ptr(ctrl), d.rows(ctrl, every), C.int(every), &eyes[0], C.int(len(eyes)), (*C.uchar)(&dst[0]), p.f.c()) != C.MJX_OK {
		return p.f.err("replay", d.Time())
	}
	return nil
}

func (p *eglPainter) close() { C.mjx_egl_close(p.c) }
