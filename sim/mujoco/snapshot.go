package mujoco

/*
#include "shim.h"
*/
import "C"

import (
	"math"
	"slices"
)

// Snapshot is a state to come back to. Its zero value is ready for Save, which
// reuses its memory.
type Snapshot struct {
	time  float64
	parts [9][]float64
}

// parts lists what the next step depends on, besides time. qacc_warmstart is
// among it: without it the solver stops elsewhere in the last bits.
func (d *Data) parts() [9][]float64 {
	v := &d.views
	return [9][]float64{v.qpos, v.qvel, v.act, v.ctrl, v.warm, v.qfrcApplied, v.xfrcApplied, v.mocapPos, v.mocapQua}
}

// Save copies the state and the inputs into dst.
func (d *Data) Save(dst *Snapshot) {
	d.open()
	dst.time = d.Time()
	for i, p := range d.parts() {
		dst.parts[i] = append(dst.parts[i][:0], p...)
	}
}

// Restore comes back to a state saved from a Data of the same model; steps from
// there are bit-equal to those that followed Save. Derived quantities are those
// of the restored state, as after Forward.
func (d *Data) Restore(src *Snapshot) error {
	if d.c == nil {
		return ErrClosed
	}
	for i, p := range d.parts() {
		if len(p) != len(src.parts[i]) {
			panic("mujoco: the snapshot is of another model, or empty")
		}
	}
	d.put(src)
	if err := d.Forward(); err != nil {
		return err
	}
	d.put(src) // Forward has replaced qacc_warmstart and normalised quaternions
	return nil
}

func (d *Data) put(src *Snapshot) {
	d.c.time = C.double(src.time)
	for i, p := range d.parts() {
		copy(p, src.parts[i])
	}
}

// equal says whether two snapshots hold the same bits.
func (s *Snapshot) equal(t *Snapshot) bool {
	same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	if !same(s.time, t.time) {
		return false
	}
	for i := range s.parts {
		if !slices.EqualFunc(s.parts[i], t.parts[i], same) {
			return false
		}
	}
	return true
}
