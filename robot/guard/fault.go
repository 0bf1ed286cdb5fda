package guard

import (
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Cause says why the guard stopped the arm.
type Cause uint8

// The causes of a fault.
const (
	NonFinite Cause = iota + 1 // a command with NaN or an infinity
	OffLimits                  // the measured state is outside the arm's hard limits, or not finite
	BadStamp                   // the state's stamp did not advance
	Stale                      // a sensor is too old
	Failed                     // the backend returned an error
	LeaseLost                  // no valid command came within the lease
	Panicked                   // a panic in the loop or in the backend
	Stopped                    // somebody stopped it
	Reflex                     // the arm stopped itself, or its user stop did
)

func (c Cause) String() string {
	switch c {
	case NonFinite:
		return "non-finite command"
	case OffLimits:
		return "state outside the arm's limits"
	case BadStamp:
		return "stamp did not advance"
	case Stale:
		return "stale sensor"
	case Failed:
		return "backend failed"
	case LeaseLost:
		return "lease lost"
	case Panicked:
		return "panic"
	case Stopped:
		return "stopped"
	case Reflex:
		return "the arm stopped itself"
	}
	return "unknown cause"
}

// Moment is one tick before a fault.
type Moment struct {
	State   robot.State   // as seen when the command came
	Wish    robot.Command // what was asked for
	Applied robot.Command // what was sent to the arm
	By      robot.Source  // who decided that
	Verdict Verdict
}

// Fault is the error of a latched stop: errors.Is(err, robot.ErrStopped) holds,
// and so it does for the error of the backend that caused it, if one did.
type Fault struct {
	Cause  Cause
	Detail string
	Stamp  time.Time   // of the newest good state
	State  robot.State // the one that caused the fault, or the newest
	// Recent holds the two seconds before, oldest first.
	Recent []Moment
	err    error
}

func (f *Fault) Error() string {
	return fmt.Sprintf("guard: arm held: %s: %s; acknowledge to go on", f.Cause, f.Detail)
}

// Unwrap makes a fault match robot.ErrStopped and what the backend said.
func (f *Fault) Unwrap() []error {
	if f.err == nil {
		return []error{robot.ErrStopped}
	}
	return []error{robot.ErrStopped, f.err}
}

// slack is how far beyond a hard joint limit a measured position is no fault
// yet, rad: what simulated limits give way under load.
const slack = 0.01

// far is further from the base than any tool gets, m: half a metre for one that is longer than
// the hand. Of a position far beyond, squares overflow and no limit can be told.
const far = franka.Reach + 0.5

// blame returns what is wrong with the state of obs, if anything is.
func (g *Guard) blame(obs *robot.Observation, first bool) (Cause, string) {
	st := &obs.State
	if what, i := unfit(st); what != "" {
		return OffLimits, fmt.Sprintf("%s[%d] is not finite", what, i)
	}
	if !first && !st.Stamp.After(g.state.Stamp) {
		return BadStamp, fmt.Sprintf("state at %v after one at %v",
			st.Stamp.Format(time.RFC3339Nano), g.state.Stamp.Format(time.RFC3339Nano))
	}
	if g.cfg.FrameAge > 0 {
		for i := range obs.Frames {
			if age := st.Stamp.Sub(obs.Frames[i].Stamp); age > g.cfg.FrameAge {
				return Stale, fmt.Sprintf("frame of camera %q is %v older than the state", obs.Frames[i].Camera, age)
			}
		}
	}
	w := &st.Wrench
	if n := norm(w[0], w[1], w[2]); g.cfg.Force > 0 && n > g.cfg.Force {
		return OffLimits, fmt.Sprintf("force %.1f N exceeds %.1f", n, g.cfg.Force)
	}
	if n := norm(w[3], w[4], w[5]); g.cfg.Torque > 0 && n > g.cfg.Torque {
		return OffLimits, fmt.Sprintf("torque %.1f Nm exceeds %.1f", n, g.cfg.Torque)
	}
	if g.cfg.Arm == nil {
		return 0, ""
	}
	if p := &st.EE.P; !(norm(p[0], p[1], p[2]) <= far) {
		return OffLimits, fmt.Sprintf("the tool is at %.4g, %.4g, %.4g m, further from the base than the arm reaches (%.2f)", p[0], p[1], p[2], far)
	}
	for i := range st.Q {
		over := g.beyond(st, i)
		if over > slack+g.excused[i] {
			return OffLimits, fmt.Sprintf("joint %d is at %.4f rad, outside [%.4f, %.4f]", i+1, st.Q[i], g.cfg.Arm.Min[i], g.cfg.Arm.Max[i])
		}
		g.excused[i] = min(g.excused[i], max(over, 0))
		if v := math.Abs(st.DQ[i]); v > g.cfg.Arm.Vel[i] {
			return OffLimits, fmt.Sprintf("joint %d moves at %.3f rad/s, more than %.3f", i+1, v, g.cfg.Arm.Vel[i])
		}
	}
	return 0, ""
}

// beyond is by how much joint i is outside its hard limits, rad.
func (g *Guard) beyond(st *robot.State, i int) float64 {
	return max(g.cfg.Arm.Min[i]-st.Q[i], st.Q[i]-g.cfg.Arm.Max[i])
}

// unfit names the first number of st that is not finite.
func unfit(st *robot.State) (string, int) {
	if i := broken(st.Q[:]); i >= 0 {
		return "q", i
	}
	if i := broken(st.DQ[:]); i >= 0 {
		return "dq", i
	}
	if i := broken(st.EE.P[:]); i >= 0 {
		return "position", i
	}
	if i := broken(st.EE.Q[:]); i >= 0 {
		return "orientation", i
	}
	if i := broken(st.Wrench[:]); i >= 0 {
		return "wrench", i
	}
	if math.IsNaN(st.Grip) || math.IsInf(st.Grip, 0) {
		return "grip", 0
	}
	return "", 0
}

// broken is the index of the first number that is not finite, or -1.
func broken(v []float64) int {
	for i, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return i
		}
	}
	return -1
}

// history keeps the last moments; it is a ring.
type history struct {
	at   []Moment
	next int
	full bool
}

func (h *history) add(m *Moment) {
	h.at[h.next] = *m
	h.next++
	if h.next == len(h.at) {
		h.next, h.full = 0, true
	}
}

// list copies the moments, oldest first.
func (h *history) list() []Moment {
	if !h.full {
		return append([]Moment(nil), h.at[:h.next]...)
	}
	return append(append(make([]Moment, 0, len(h.at)), h.at[h.next:]...), h.at[:h.next]...)
}
