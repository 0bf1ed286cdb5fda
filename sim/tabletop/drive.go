package tabletop

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
)

// Law turns what the arm senses into joint torques, Nm, once per physics step of
// dt seconds.
type Law func(tau *[7]float64, in *impedance.Input, dt float64)

// Drive takes n physics steps under a controller other than the world's own, for
// whoever keeps the arm's time himself; the fingers are told to be opening metres
// apart. Steps and drives do not mix: after a Drive only a reset makes Step work
// again. Physics that gets out of hand is a sim.ErrUnstable.
func (w *World) Drive(n int, opening float64, law Law) error {
	if w.data == nil {
		return ErrClosed
	}
	if !w.ready && !w.driven {
		return errors.New("tabletop: drive without a reset before it, or after a failed drive")
	}
	w.ready, w.driven = false, false
	var tau [7]float64
	ctrl := w.data.Ctrl()
	ctrl[w.id.grip] = opening / 2
	for range n {
		w.sense()
		law(&tau, &w.in, w.cfg.Timestep)
		for i, a := range w.id.motor {
			ctrl[a] = tau[i]
		}
		if err := w.data.Step(); err != nil {
			return fmt.Errorf("tabletop: drive: %w", unstable(err))
		}
	}
	w.sense()
	w.driven = true
	return nil
}

// Feel returns what the arm senses of itself now, stamped so.
func (w *World) Feel(stamp time.Time) robot.State {
	s := robot.State{Stamp: stamp, Q: w.in.Q, DQ: w.in.DQ, EE: franka.Forward(&w.in.Q)}
	for _, f := range w.id.finger {
		s.Grip += w.data.QPos()[f]
	}
	s.Wrench = w.wrench(s.EE.P)
	return s
}

// Look draws the cameras' images of now, the seq-th and stamped so.
func (w *World) Look(seq int, stamp time.Time) ([]robot.Frame, error) {
	if w.data == nil {
		return nil, ErrClosed
	}
	if err := w.data.Kinematics(); err != nil {
		return nil, fmt.Errorf("tabletop: look: %w", err)
	}
	return w.eyes.look(w.data, seq, stamp)
}

// Judged brings the truth up to date with the present instant, after drives.
func (w *World) Judged() error {
	if w.data == nil {
		return ErrClosed
	}
	if err := w.data.Kinematics(); err != nil {
		return fmt.Errorf("tabletop: judge: %w", err)
	}
	w.look(robot.Command{})
	return nil
}

// Start is where the tool centre point is at the start of an episode of t.
func (t Task) Start() robot.Pose { return jobOf(t).layout().start }

// Lens describes a camera: where it is (x right, y down, z forward), whether
// that is in the hand's frame instead of the base frame, and its focal length in
// heights of the image.
type Lens struct {
	Pose   robot.Pose
	OnHand bool
	Focal  float64
}

// LensOf returns the lens of one of the scene's cameras, undisturbed.
func LensOf(name string) (Lens, bool) {
	v, ok := viewOf(name)
	if !ok {
		return Lens{}, false
	}
	right, up := [3]float64{0, 1, 0}, [3]float64{0.970, 0, -0.242} // as in arm.xml
	l := Lens{OnHand: v.attached}
	if v.attached {
		v.pos, v.fovy = [3]float64{0.06, 0, -0.035}, 82
		up = unit(up)
	} else {
		right, up, _ = frame(v.pos, v.at)
	}
	ahead := cross(up, right)
	l.Pose = franka.Matrix(&[16]float64{
		right[0], right[1], right[2], 0, -up[0], -up[1], -up[2], 0,
		ahead[0], ahead[1], ahead[2], 0, v.pos[0], v.pos[1], v.pos[2], 1,
	})
	l.Focal = 0.5 / math.Tan(v.fovy*math.Pi/360)
	return l, true
}
