package mujoco

/*
#include "shim.h"
#cgo noescape mjx_step
#cgo nocallback mjx_step
#cgo noescape mjx_forward
#cgo nocallback mjx_forward
#cgo noescape mjx_kinematics
#cgo nocallback mjx_kinematics
#cgo noescape mjx_contacts
#cgo nocallback mjx_contacts
#cgo noescape mj_jacSite
#cgo nocallback mj_jacSite
#cgo noescape mj_ray
#cgo nocallback mj_ray
#cgo noescape mj_fullM
#cgo nocallback mj_fullM
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Data is one simulated world's state. It is used by one goroutine at a time.
//
// Step leaves the derived quantities (XPos, SiteXPos, QfrcBias, contacts,
// Jacobians) as they were before the last integration, one step old; Kinematics
// or Forward brings them up to date.
type Data struct {
	c     *C.mjData
	m     *Model
	f     fault
	views views
	steps uint // taken, for the yields
}

// views are slices over MuJoCo's buffer, which stays in place for life.
type views struct {
	qpos, qvel, act, ctrl, warm, qacc            []float64
	qfrcApplied, xfrcApplied, mocapPos, mocapQua []float64
	bias, passive, actuator, constraint, force   []float64
	xpos, xquat, xmat, xipos, cfrcExt            []float64
	siteXPos, siteXMat, geomXPos, geomXMat       []float64
	camXPos, camXMat, sensor                     []float64
}

// NewData returns a world of m in its reference pose, with the derived
// quantities not yet computed (Forward). Close it.
func NewData(m *Model) (*Data, error) { return m.NewData() }

// NewData is the function of the same name.
func (m *Model) NewData() (*Data, error) {
	if err := m.hold(); err != nil {
		return nil, err
	}
	d := &Data{m: m}
	d.c = C.mjx_make_data(m.c, d.f.c())
	if d.c == nil {
		m.release()
		if err := d.f.err("make data", 0); err != nil {
			return nil, err
		}
		return nil, ErrClosed
	}
	c, n := d.c, m.c
	d.views = views{
		qpos: floats(c.qpos, n.nq), qvel: floats(c.qvel, n.nv), act: floats(c.act, n.na), ctrl: floats(c.ctrl, n.nu),
		warm: floats(c.qacc_warmstart, n.nv), qacc: floats(c.qacc, n.nv),
		qfrcApplied: floats(c.qfrc_applied, n.nv), xfrcApplied: floats(c.xfrc_applied, 6*n.nbody),
		mocapPos: floats(c.mocap_pos, 3*n.nmocap), mocapQua: floats(c.mocap_quat, 4*n.nmocap),
		bias: floats(c.qfrc_bias, n.nv), passive: floats(c.qfrc_passive, n.nv),
		actuator: floats(c.qfrc_actuator, n.nv), constraint: floats(c.qfrc_constraint, n.nv),
		force: floats(c.actuator_force, n.nu),
		xpos:  floats(c.xpos, 3*n.nbody), xquat: floats(c.xquat, 4*n.nbody), xmat: floats(c.xmat, 9*n.nbody),
		xipos: floats(c.xipos, 3*n.nbody), cfrcExt: floats(c.cfrc_ext, 6*n.nbody),
		siteXPos: floats(c.site_xpos, 3*n.nsite), siteXMat: floats(c.site_xmat, 9*n.nsite),
		geomXPos: floats(c.geom_xpos, 3*n.ngeom), geomXMat: floats(c.geom_xmat, 9*n.ngeom),
		camXPos: floats(c.cam_xpos, 3*n.ncam), camXMat: floats(c.cam_xmat, 9*n.ncam),
		sensor: floats(c.sensordata, n.nsensordata),
	}
	return d, nil
}

// Close frees the world; slices got from it must not be used any more. Further
// calls do nothing.
func (d *Data) Close() error {
	if d.c == nil {
		return nil
	}
	C.mj_deleteData(d.c)
	d.c, d.views = nil, views{}
	d.m.release()
	return nil
}

// Model returns the model that d is a world of.
func (d *Data) Model() *Model { return d.m }

// Reset returns to the reference pose at time 0, at rest, all inputs zero.
func (d *Data) Reset() error {
	if d.c == nil {
		return ErrClosed
	}
	C.mj_resetData(d.m.c, d.c)
	return nil
}

// ResetKey returns to a keyframe of the model.
func (d *Data) ResetKey(key int) error {
	if d.c == nil {
		return ErrClosed
	}
	if key < 0 || key >= int(d.m.c.nkey) {
		panic("mujoco: keyframe out of range")
	}
	C.mj_resetDataKeyframe(d.m.c, d.c, C.int(key))
	return nil
}

// Step advances the world by one timestep. On a *WarningError the step cannot
// be trusted: Reset or Restore before going on.
func (d *Data) Step() error { return d.StepN(1) }

// StepN takes n steps with the same inputs, stopping at the first error.
func (d *Data) StepN(n int) error {
	if d.c == nil {
		return ErrClosed
	}
	if C.mjx_step(d.m.c, d.c, C.int(n), d.f.c()) != C.MJX_OK {
		return d.f.err("step", d.Time())
	}
	// After 10 ms in one time slice the runtime's monitor takes the processor
	// from the goroutine in every C call that it sees, and each return is the
	// slow one: a tenth of all time where a step takes microseconds.
	if d.steps++; d.steps%yield == 0 {
		runtime.Gosched()
	}
	return nil
}

// yield is how many calls of Step come between new time slices: 1 ms of light
// models, 8 ms of heavy ones.
const yield = 128

// Forward computes everything that follows from the state and the inputs,
// accelerations included, without moving. It also replaces QaccWarmstart.
func (d *Data) Forward() error {
	if d.c == nil {
		return ErrClosed
	}
	if C.mjx_forward(d.m.c, d.c, d.f.c()) != C.MJX_OK {
		return d.f.err("forward", d.Time())
	}
	return nil
}

// Kinematics computes only what follows from QPos: the poses of bodies, geoms,
// sites and cameras, and what Jacobians need. The next step differs in
// last bits only, by quaternions normalised once more.
func (d *Data) Kinematics() error {
	if d.c == nil {
		return ErrClosed
	}
	if C.mjx_kinematics(d.m.c, d.c, d.f.c()) != C.MJX_OK {
		return d.f.err("kinematics", d.Time())
	}
	return nil
}

// PostConstraint computes CFrcExt, which MuJoCo leaves out unless a sensor
// needs it. It follows Forward or Step.
func (d *Data) PostConstraint() error {
	if d.c == nil {
		return ErrClosed
	}
	C.mjx_post_constraint(d.m.c, d.c, d.f.c())
	return d.f.err("post constraint", d.Time())
}

// Time is the simulated time, s.
func (d *Data) Time() float64 { return float64(d.c.time) }

// JacSite writes the Jacobian of a site, (3,nv) each: jacp of its position, jacr
// of its orientation, world frame. Either may be nil.
func (d *Data) JacSite(jacp, jacr []float64, site int) {
	d.open()
	n := 3 * int(d.m.c.nv)
	if jacp != nil && len(jacp) != n || jacr != nil && len(jacr) != n {
		panic("mujoco: a Jacobian has 3*nv elements")
	}
	if site < 0 || site >= int(d.m.c.nsite) {
		panic("mujoco: site out of range")
	}
	C.mj_jacSite(d.m.c, d.c, ptr(jacp), ptr(jacr), C.int(site))
}

// FullM writes the joint-space inertia matrix, (nv,nv), kg·m².
func (d *Data) FullM(dst []float64) {
	d.open()
	if nv := int(d.m.c.nv); len(dst) != nv*nv {
		panic("mujoco: the inertia matrix has nv*nv elements")
	}
	C.mj_fullM(d.m.c, ptr(dst), d.c.qM)
}

// Ray returns the first visible geom that the ray from + x·dir meets, and that x;
// geom is -1 if there is none. It sees the poses that Kinematics computed.
func (d *Data) Ray(from, dir [3]float64) (geom int, x float64) {
	d.open()
	var id C.int
	x = float64(C.mj_ray(d.m.c, d.c, ptr(from[:]), ptr(dir[:]), nil, 1, -1, &id))
	return int(id), x
}

// open panics where MuJoCo would be handed a null pointer.
func (d *Data) open() {
	if d.c == nil {
		panic("mujoco: use after Close")
	}
}

func ptr(x []float64) *C.double { return (*C.double)(unsafe.Pointer(unsafe.SliceData(x))) }

// QPos (nq,) is the position, rad or m; free joints hold xyz, wxyz. State.
func (d *Data) QPos() []float64 { return d.views.qpos }

// QVel (nv,) is the velocity, rad/s or m/s; a free joint's is linear in the
// world frame, then angular in its own. State.
func (d *Data) QVel() []float64 { return d.views.qvel }

// Act (na,) is the activation of actuators that have some. State.
func (d *Data) Act() []float64 { return d.views.act }

// Ctrl (nu,) is the input of the actuators.
func (d *Data) Ctrl() []float64 { return d.views.ctrl }

// QaccWarmstart (nv,) is where the solver starts from. State, for bit-equality.
func (d *Data) QaccWarmstart() []float64 { return d.views.warm }

// QAcc (nv,) is the acceleration.
func (d *Data) QAcc() []float64 { return d.views.qacc }

// QfrcApplied (nv,) is an input: generalized force, Nm or N.
func (d *Data) QfrcApplied() []float64 { return d.views.qfrcApplied }

// XfrcApplied (nbody,6) is an input: force and torque at each body's centre of
// mass, N and Nm, world frame.
func (d *Data) XfrcApplied() []float64 { return d.views.xfrcApplied }

// MocapPos (nmocap,3) is an input, m.
func (d *Data) MocapPos() []float64 { return d.views.mocapPos }

// MocapQuat (nmocap,4) is an input.
func (d *Data) MocapQuat() []float64 { return d.views.mocapQua }

// QfrcBias (nv,) is Coriolis, centrifugal and gravitational force, with the sign
// of what must be applied to stand still.
func (d *Data) QfrcBias() []float64 { return d.views.bias }

// QfrcPassive (nv,) is the force of springs and dampers.
func (d *Data) QfrcPassive() []float64 { return d.views.passive }

// QfrcActuator (nv,) is the actuators' generalized force.
func (d *Data) QfrcActuator() []float64 { return d.views.actuator }

// QfrcConstraint (nv,) is the force of contacts, limits and joint friction.
func (d *Data) QfrcConstraint() []float64 { return d.views.constraint }

// ActuatorForce (nu,) is each actuator's scalar force.
func (d *Data) ActuatorForce() []float64 { return d.views.force }

// SensorData (nsensordata,); see Model.Sensor.
func (d *Data) SensorData() []float64 { return d.views.sensor }

// XPos is body's origin (3,), m.
func (d *Data) XPos(body int) []float64 { return part(d.views.xpos, body, 3) }

// XQuat is body's orientation (4,), wxyz.
func (d *Data) XQuat(body int) []float64 { return part(d.views.xquat, body, 4) }

// XMat is body's orientation (3,3).
func (d *Data) XMat(body int) []float64 { return part(d.views.xmat, body, 9) }

// XIPos is body's centre of mass (3,), m.
func (d *Data) XIPos(body int) []float64 { return part(d.views.xipos, body, 3) }

// SiteXPos is a site's origin (3,), m.
func (d *Data) SiteXPos(site int) []float64 { return part(d.views.siteXPos, site, 3) }

// SiteXMat is a site's orientation (3,3).
func (d *Data) SiteXMat(site int) []float64 { return part(d.views.siteXMat, site, 9) }

// GeomXPos is a geom's centre (3,), m.
func (d *Data) GeomXPos(geom int) []float64 { return part(d.views.geomXPos, geom, 3) }

// GeomXMat is a geom's orientation (3,3).
func (d *Data) GeomXMat(geom int) []float64 { return part(d.views.geomXMat, geom, 9) }

// CamXPos is a camera's position (3,), m.
func (d *Data) CamXPos(cam int) []float64 { return part(d.views.camXPos, cam, 3) }

// CamXMat is a camera's orientation (3,3): columns right, up, backward.
func (d *Data) CamXMat(cam int) []float64 { return part(d.views.camXMat, cam, 9) }

// CFrcExt is the external force on body (6,): torque Nm, then force N, world
// orientation, about the centre of mass of the body's kinematic tree. Call
// PostConstraint first.
func (d *Data) CFrcExt(body int) []float64 { return part(d.views.cfrcExt, body, 6) }

func part(x []float64, i, n int) []float64 { return x[i*n : i*n+n : i*n+n] }
