package mujoco

/*
#cgo LDFLAGS: -lmujoco -ldl -lpthread -lm
#cgo CFLAGS: -O2 -D_GNU_SOURCE
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Version is MuJoCo's own, as 2.2.2.
func Version() string { return C.GoString(C.mj_versionString()) }

// Model is a compiled MuJoCo model. Its methods may be called by several
// goroutines, but not while a setter, or a write into one of its slices, runs.
type Model struct {
	c      *C.mjModel
	refs   atomic.Int32 // the Model itself and what was made of it
	closed atomic.Bool
}

// Load compiles MJCF from memory. Files that the XML names (meshes, textures)
// are read from the working directory. The error holds MuJoCo's own text.
func Load(xml []byte) (*Model, error) {
	if len(xml) == 0 {
		return nil, errors.New("mujoco: load: the XML is empty")
	}
	var f fault
	c := C.mjx_load(unsafe.Pointer(&xml[0]), C.int(len(xml)), f.c())
	if c == nil {
		return nil, f.err("load", 0)
	}
	return newModel(c), nil
}

func newModel(c *C.mjModel) *Model {
	m := &Model{c: c}
	m.refs.Store(1)
	return m
}

// Copy returns an independent model, for worlds that change it: masses,
// friction, colours, cameras.
func (m *Model) Copy() (*Model, error) {
	if err := m.hold(); err != nil {
		return nil, err
	}
	defer m.release()
	var f fault
	c := C.mjx_copy_model(m.c, f.c())
	if c == nil {
		return nil, f.err("copy model", 0)
	}
	return newModel(c), nil
}

// Close gives the model up. Its memory goes when the last Data and Renderer
// made of it are closed too. Further calls do nothing.
func (m *Model) Close() error {
	if !m.closed.Swap(true) {
		m.release()
	}
	return nil
}

func (m *Model) hold() error {
	if m.closed.Load() {
		return ErrClosed
	}
	m.refs.Add(1)
	return nil
}

func (m *Model) release() {
	if m.refs.Add(-1) == 0 {
		C.mj_deleteModel(m.c)
		m.c = nil
	}
}

// Sizes counts what a model holds.
type Sizes struct {
	Q, V, U, Act                                         int // len of QPos, QVel, Ctrl, Act
	Body, Joint, Geom, Site, Camera, Light, Key, Mocap   int
	Actuator, Sensor, SensorData, Contact, Constraint, M int // capacities of the last three: contacts, constraint rows, inertia entries
}

// Sizes returns the model's sizes.
func (m *Model) Sizes() Sizes {
	c := m.c
	return Sizes{
		Q: int(c.nq), V: int(c.nv), U: int(c.nu), Act: int(c.na),
		Body: int(c.nbody), Joint: int(c.njnt), Geom: int(c.ngeom), Site: int(c.nsite),
		Camera: int(c.ncam), Light: int(c.nlight), Key: int(c.nkey), Mocap: int(c.nmocap),
		Actuator: int(c.nu), Sensor: int(c.nsensor), SensorData: int(c.nsensordata),
		Contact: int(c.nconmax), Constraint: int(c.njmax), M: int(c.nM),
	}
}

// Body returns the index of the body called name; "world" is 0.
func (m *Model) Body(name string) (int, error) { return m.find(C.mjOBJ_BODY, "body", name) }

// Joint returns the index of a joint; see JointQPos and JointDof for addresses.
func (m *Model) Joint(name string) (int, error) { return m.find(C.mjOBJ_JOINT, "joint", name) }

// Geom returns the index of a geom.
func (m *Model) Geom(name string) (int, error) { return m.find(C.mjOBJ_GEOM, "geom", name) }

// Site returns the index of a site.
func (m *Model) Site(name string) (int, error) { return m.find(C.mjOBJ_SITE, "site", name) }

// Camera returns the index of a camera.
func (m *Model) Camera(name string) (int, error) { return m.find(C.mjOBJ_CAMERA, "camera", name) }

// Actuator returns the index of an actuator, the same as in Ctrl.
func (m *Model) Actuator(name string) (int, error) {
	return m.find(C.mjOBJ_ACTUATOR, "actuator", name)
}

// Key returns the index of a keyframe.
func (m *Model) Key(name string) (int, error) { return m.find(C.mjOBJ_KEY, "key", name) }

// Sensor returns where a sensor's numbers start in SensorData and how many
// they are.
func (m *Model) Sensor(name string) (adr, dim int, err error) {
	id, err := m.find(C.mjOBJ_SENSOR, "sensor", name)
	if err != nil {
		return 0, 0, err
	}
	return int(ints(m.c.sensor_adr, m.c.nsensor)[id]), int(ints(m.c.sensor_dim, m.c.nsensor)[id]), nil
}

// Material returns the index of a material.
func (m *Model) Material(name string) (int, error) {
	return m.find(C.mjOBJ_MATERIAL, "material", name)
}

// BodyName, GeomName and CameraName return the name of an object, or "" where
// the model gives none.
func (m *Model) BodyName(body int) string { return m.name(C.mjOBJ_BODY, body) }

// GeomName returns the name of a geom, or "".
func (m *Model) GeomName(geom int) string { return m.name(C.mjOBJ_GEOM, geom) }

// CameraName returns the name of a camera, or "".
func (m *Model) CameraName(cam int) string { return m.name(C.mjOBJ_CAMERA, cam) }

func (m *Model) name(kind C.int, id int) string {
	return C.GoString(C.mj_id2name(m.c, kind, C.int(id))) // "" for NULL
}

func (m *Model) find(kind C.int, what, name string) (int, error) {
	if m.c == nil {
		return -1, ErrClosed
	}
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	if id := C.mj_name2id(m.c, kind, s); id >= 0 {
		return int(id), nil
	}
	var have []string
	for i := 0; ; i++ {
		p := C.mj_id2name(m.c, kind, C.int(i))
		if p == nil && i >= m.count(kind) {
			break
		}
		if p != nil {
			have = append(have, C.GoString(p))
		}
	}
	return -1, fmt.Errorf("mujoco: no %s %q in the model, which has: %s", what, name, strings.Join(have, ", "))
}

func (m *Model) count(kind C.int) int {
	switch kind {
	case C.mjOBJ_BODY:
		return int(m.c.nbody)
	case C.mjOBJ_JOINT:
		return int(m.c.njnt)
	case C.mjOBJ_GEOM:
		return int(m.c.ngeom)
	case C.mjOBJ_SITE:
		return int(m.c.nsite)
	case C.mjOBJ_CAMERA:
		return int(m.c.ncam)
	case C.mjOBJ_ACTUATOR:
		return int(m.c.nu)
	case C.mjOBJ_KEY:
		return int(m.c.nkey)
	case C.mjOBJ_SENSOR:
		return int(m.c.nsensor)
	case C.mjOBJ_MATERIAL:
		return int(m.c.nmat)
	}
	panic("mujoco: unknown kind of object")
}

// JointQPos returns where joint's coordinates start in QPos.
func (m *Model) JointQPos(joint int) int { return int(ints(m.c.jnt_qposadr, m.c.njnt)[joint]) }

// JointDof returns where joint's degrees of freedom start in QVel, Qfrc…
func (m *Model) JointDof(joint int) int { return int(ints(m.c.jnt_dofadr, m.c.njnt)[joint]) }

// BodyJoint returns the first joint of body, or -1 if it has none.
func (m *Model) BodyJoint(body int) int { return int(ints(m.c.body_jntadr, m.c.nbody)[body]) }

// BodyParent returns the parent of body; the world is its own.
func (m *Model) BodyParent(body int) int { return int(ints(m.c.body_parentid, m.c.nbody)[body]) }

// GeomBody returns the body that geom belongs to.
func (m *Model) GeomBody(geom int) int { return int(ints(m.c.geom_bodyid, m.c.ngeom)[geom]) }

func ints(p *C.int, n C.int) []C.int { return unsafe.Slice(p, int(n)) }

func floats(p *C.double, n C.int) []float64 {
	return unsafe.Slice((*float64)(unsafe.Pointer(p)), int(n))
}
