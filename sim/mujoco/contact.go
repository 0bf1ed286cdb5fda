package mujoco

/*
#include "shim.h"
*/
import "C"

import (
	"slices"
	"unsafe"
)

// Contact is one contact point, world frame.
type Contact struct {
	Geom        [2]int32   // indices; the normal points from the first to the second
	Dist        float64    // m, negative where the geoms overlap
	NormalForce float64    // N, never negative
	Pos         [3]float64 // m
	Normal      [3]float64
	Force       [3]float64 // N, what acts on the second geom (on the first: minus this)
	Torque      [3]float64 // Nm at Pos, likewise
}

// Contact is filled by C as an mjx_contact: a difference in size does not compile.
var (
	_ [unsafe.Sizeof(Contact{}) - C.sizeof_mjx_contact]struct{}
	_ [C.sizeof_mjx_contact - unsafe.Sizeof(Contact{})]struct{}
)

// Contacts appends the contacts of the last Step or Forward to dst, in MuJoCo's
// order. It allocates only where dst lacks room.
func (d *Data) Contacts(dst []Contact) []Contact {
	if d.c == nil || d.c.ncon == 0 {
		return dst
	}
	n, at := int(d.c.ncon), len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	C.mjx_contacts(d.m.c, d.c, (*C.mjx_contact)(unsafe.Pointer(&dst[at])), C.int(n))
	return dst
}
