package mujoco

/*
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
)

// ErrClosed says that a Model, Data or Renderer was used after its Close.
var ErrClosed = errors.New("mujoco: use after Close")

// Warning is what MuJoCo warns of (mjtWarning). It never stops for any of them,
// but the physics of the step, or the episode, is lost.
type Warning int

// The warnings, in MuJoCo's order.
const (
	BadInertia     Warning = C.mjWARN_INERTIA     // singular inertia matrix
	ContactFull    Warning = C.mjWARN_CONTACTFULL // contacts were dropped
	ConstraintFull Warning = C.mjWARN_CNSTRFULL   // constraints were dropped
	GeomFull       Warning = C.mjWARN_VGEOMFULL   // geoms were not drawn
	BadQPos        Warning = C.mjWARN_BADQPOS     // NaN or beyond 1e10 in qpos
	BadQVel        Warning = C.mjWARN_BADQVEL     // in qvel
	BadQAcc        Warning = C.mjWARN_BADQACC     // in qacc
	BadCtrl        Warning = C.mjWARN_BADCTRL     // in ctrl
)

func (w Warning) String() string {
	switch w {
	case BadInertia:
		return "inertia matrix is singular"
	case ContactFull:
		return "contact buffer is full; raise <size nconmax> in the model"
	case ConstraintFull:
		return "constraint buffer is full; raise <size njmax> in the model"
	case GeomFull:
		return "too many geoms to draw"
	case BadQPos:
		return "bad number in qpos"
	case BadQVel:
		return "bad number in qvel"
	case BadQAcc:
		return "bad number in qacc: the simulation is unstable"
	case BadCtrl:
		return "bad number in ctrl"
	}
	return "unknown warning"
}

// WarningError is a step that MuJoCo warned of. After BadQPos, BadQVel and
// BadQAcc MuJoCo has already reset the Data; Reset it before going on.
type WarningError struct {
	Warning Warning
	Info    int     // the index of the bad element, mostly
	Time    float64 // simulated time after the step, s
}

func (e *WarningError) Error() string {
	return fmt.Sprintf("mujoco: %v (index %d, time %.4f s)", e.Warning, e.Info, e.Time)
}

// err turns f into an error; time is that of the data at hand, s.
func (f *fault) err(what string, time float64) error {
	switch f.code {
	case C.MJX_OK:
		return nil
	case C.MJX_WARNING:
		return &WarningError{Warning: Warning(f.warning), Info: int(f.info), Time: time}
	}
	msg := C.GoString(&f.msg[0])
	if msg == "Stack overflow" {
		msg = "stack overflow; raise <size nstack> in the model"
	}
	return fmt.Errorf("mujoco: %s: %s", what, msg)
}

type fault C.mjx_fault

// c is f as C takes it. A fault holds no pointers, so Go memory will do.
func (f *fault) c() *C.mjx_fault { return (*C.mjx_fault)(f) }
