package mujoco

/*
#include "shim.h"
*/
import "C"

import "errors"

// Replay takes a step for every row of ctrl (steps,nu) in a plain C loop over
// mj_step, with the kinematics brought up to date after every so many steps. It
// is a peer to measure against: it neither catches errors nor looks at warnings,
// and MuJoCo's errors end the process. Give it only controls that Step has
// followed without one from the same state.
func (d *Data) Replay(ctrl []float64, every int) error {
	if d.c == nil {
		return ErrClosed
	}
	C.mjx_replay(d.m.c, d.c, ptr(ctrl), d.rows(ctrl, every), C.int(every))
	return nil
}

func (d *Data) rows(ctrl []float64, every int) C.int {
	nu := len(d.Ctrl())
	if len(ctrl) == 0 || len(ctrl)%nu != 0 || every < 1 {
		panic("mujoco: replay: rows of ctrl have nu numbers, and every is at least 1")
	}
	return C.int(len(ctrl) / nu)
}

// Replay is Data's Replay that also draws cams after every so many steps, one
// image (H,W,3) after the other into dst, each time anew. Only EGL draws from C.
func (r *Renderer) Replay(d *Data, ctrl []float64, every int, cams []int, dst []byte) error {
	if r.painter == nil || d.c == nil {
		return ErrClosed
	}
	p, ok := r.painter.(interface {
		replay(d *Data, ctrl []float64, every int, cams []int, dst []byte) error
	})
	switch {
	case !ok:
		return errors.New("mujoco: replay: only EGL draws from C")
	case d.m != r.m:
		panic("mujoco: the data is of another model than the renderer")
	case len(cams) == 0 || len(dst) != len(cams)*r.size.W*r.size.H*3:
		panic("mujoco: an image has H*W*3 bytes")
	}
	return p.replay(d, ctrl, every, cams, dst)
}
