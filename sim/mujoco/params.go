package mujoco

/*
#include "shim.h"
*/
import "C"

import "unsafe"

// What follows changes, or gives the means to change, a model. A Model shared
// with others should be copied first (Copy), and nothing may step or draw it
// meanwhile.

// Timestep returns the physics step, s.
func (m *Model) Timestep() float64 { return float64(m.c.opt.timestep) }

// SetTimestep sets the physics step, s; it must be positive.
func (m *Model) SetTimestep(dt float64) {
	if !(dt > 0) {
		panic("mujoco: timestep must be positive")
	}
	m.c.opt.timestep = C.double(dt)
}

// Gravity returns gravity's acceleration, m/s².
func (m *Model) Gravity() [3]float64 {
	g := m.c.opt.gravity
	return [3]float64{float64(g[0]), float64(g[1]), float64(g[2])}
}

// SetGravity sets gravity's acceleration, m/s².
func (m *Model) SetGravity(g [3]float64) {
	for i, v := range g {
		m.c.opt.gravity[i] = C.double(v)
	}
}

// SetIterations bounds the constraint solver's iterations.
func (m *Model) SetIterations(n int) { m.c.opt.iterations = C.int(n) }

// QPos0 is the reference pose (nq,).
func (m *Model) QPos0() []float64 { return floats(m.c.qpos0, m.c.nq) }

// KeyQPos is keyframe key's pose (nq,).
func (m *Model) KeyQPos(key int) []float64 {
	nq := int(m.c.nq)
	return floats(m.c.key_qpos, m.c.nkey*m.c.nq)[key*nq : key*nq+nq : key*nq+nq]
}

// JointRange is (njnt,2), the limits of each joint, rad or m.
func (m *Model) JointRange() []float64 { return floats(m.c.jnt_range, 2*m.c.njnt) }

// CtrlRange is (nu,2), the limits of each control.
func (m *Model) CtrlRange() []float64 { return floats(m.c.actuator_ctrlrange, 2*m.c.nu) }

// DofDamping is (nv,), Nm·s/rad or N·s/m.
func (m *Model) DofDamping() []float64 { return floats(m.c.dof_damping, m.c.nv) }

// BodyMass is (nbody,), kg. Call SetConst after a change.
func (m *Model) BodyMass() []float64 { return floats(m.c.body_mass, m.c.nbody) }

// BodyInertia is (nbody,3), kg·m² about the principal axes. Call SetConst after
// a change.
func (m *Model) BodyInertia() []float64 { return floats(m.c.body_inertia, 3*m.c.nbody) }

// BodyPos is (nbody,3), m, in the parent's frame.
func (m *Model) BodyPos() []float64 { return floats(m.c.body_pos, 3*m.c.nbody) }

// GeomSize is (ngeom,3), m; its meaning depends on the type of the geom.
func (m *Model) GeomSize() []float64 { return floats(m.c.geom_size, 3*m.c.ngeom) }

// GeomPos is (ngeom,3), m, in the body's frame.
func (m *Model) GeomPos() []float64 { return floats(m.c.geom_pos, 3*m.c.ngeom) }

// GeomFriction is (ngeom,3): sliding, torsional, rolling.
func (m *Model) GeomFriction() []float64 { return floats(m.c.geom_friction, 3*m.c.ngeom) }

// GeomRGBA is (ngeom,4), 0..1; a geom with a material takes the material's.
func (m *Model) GeomRGBA() []float32 { return floats32(m.c.geom_rgba, 4*m.c.ngeom) }

// MaterialRGBA is (nmat,4), 0..1.
func (m *Model) MaterialRGBA() []float32 { return floats32(m.c.mat_rgba, 4*m.c.nmat) }

// CamPos is (ncam,3), m, in the frame of the camera's body.
func (m *Model) CamPos() []float64 { return floats(m.c.cam_pos, 3*m.c.ncam) }

// CamQuat is (ncam,4), wxyz, in the frame of the camera's body; the camera looks
// along its −z, its y is up.
func (m *Model) CamQuat() []float64 { return floats(m.c.cam_quat, 4*m.c.ncam) }

// CamFovy is (ncam,), the vertical field of view in degrees, as MuJoCo has it.
func (m *Model) CamFovy() []float64 { return floats(m.c.cam_fovy, m.c.ncam) }

// LightDiffuse is (nlight,3), 0..1.
func (m *Model) LightDiffuse() []float32 { return floats32(m.c.light_diffuse, 3*m.c.nlight) }

// LightPos is (nlight,3), m, in the frame of the light's body.
func (m *Model) LightPos() []float64 { return floats(m.c.light_pos, 3*m.c.nlight) }

// SetConst recomputes what MuJoCo derives from the reference pose (inverse
// weights, the statistics), as is due after masses or inertias have changed.
func (m *Model) SetConst() error {
	var f fault
	C.mjx_set_const(m.c, f.c())
	return f.err("set constants", 0)
}

func floats32(p *C.float, n C.int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(p)), int(n))
}
