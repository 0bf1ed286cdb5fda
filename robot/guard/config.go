package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/rapport-rl/rapport/robot/franka"
)

// Config says what a command may do. Take Default and change what differs; a
// limit that is left at zero is an error, never "no limit", unless its comment
// says so.
type Config struct {
	// Tick is the backend's control period.
	Tick time.Duration
	// Box is where the target may be, base frame, m.
	Box Box
	// Speed and Turn bound the target's velocity, m/s and rad/s (Euclidean).
	Speed, Turn float64
	// Acc and TurnAcc bound how fast that velocity may grow, m/s² and rad/s².
	Acc, TurnAcc float64
	// Lead and LeadTurn are how far the target may go ahead of the measured tool
	// centre point on each axis, m and rad. They bound the force that a blocked
	// arm winds up.
	Lead, LeadTurn float64
	// Arm holds the joint limits. nil is for worlds without joints: then the
	// Cartesian limits alone hold, and State.Q is not looked at.
	Arm *franka.Limits
	// Damping of the inverse kinematics, see franka.Solve.
	Damping float64
	// Opening is the distance between the fingers at Grip 1, m.
	Opening float64
	// Force and Torque, N and Nm, latch a fault when the measured wrench exceeds
	// them; 0 leaves that to the arm's own collision detection.
	Force, Torque float64
	// FrameAge latches a fault when a frame is older than the state that it came
	// with by more than this; 0 does not look.
	FrameAge time.Duration
	// Lease says for how long a command is good.
	Lease Leasing
	// Now is the backend's clock, for backends on real time; nil takes the stamp
	// of the newest state, which is right for virtual and recorded time.
	Now func() time.Time
	// Latched, if set, is told of each fault as it latches, before anybody else
	// can know of it. It must return at once and call nothing of the guard.
	Latched func(*Fault)
	// Log receives faults, acknowledgements and the first of every ten-fold of
	// altered commands; nil discards them. It may be slow: neither a hold nor a
	// command waits for it, Close does.
	Log *slog.Logger
}

// Box is an axis-aligned box in the base frame, m.
type Box struct{ Min, Max [3]float64 }

// Leasing says how commands are leased, see Lease.
type Leasing struct {
	// Term is the longest time that a command holds the arm without a newer one.
	Term time.Duration
	// Required refuses commands that carry no lease, for commanders that are
	// reached over a network. Otherwise the lease of such a command is renewed by
	// the call itself.
	Required bool
	// Latch makes a lost lease a fault; otherwise the arm holds and goes on with
	// the next valid command.
	Latch bool
}

// Default returns limits for an arm at 20 Hz on a table in front of it: the
// arm's own accelerations, and 0.25 m/s, the reduced speed of ISO 10218-1 (5.6.3)
// for work beside people.
func Default(arm franka.Limits) Config {
	return Config{
		Tick:     50 * time.Millisecond,
		Box:      Box{Min: [3]float64{0.20, -0.30, 0.015}, Max: [3]float64{0.75, 0.30, 0.60}},
		Speed:    0.25,
		Turn:     0.5,
		Acc:      arm.Linear.Acc,
		TurnAcc:  arm.Angular.Acc,
		Lead:     0.10, // twice the lag of an impedance controller at that speed, 0.2 s
		LeadTurn: 0.30, // three times
		Arm:      &arm,
		Damping:  franka.Damping,
		Opening:  franka.Stroke,
		FrameAge: 500 * time.Millisecond,
		Lease:    Leasing{Term: 250 * time.Millisecond},
	}
}

// Validate reports all that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("guard: "+format, a...)) }
	positive := func(name, unit string, v float64) {
		if !(v > 0) || math.IsInf(v, 0) {
			bad("%s must be positive and finite, got %v %s", name, v, unit)
		}
	}
	if c.Tick <= 0 {
		bad("tick must be positive, got %v", c.Tick)
	}
	for i, axis := range [3]string{"x", "y", "z"} {
		if lo, hi := c.Box.Min[i], c.Box.Max[i]; !(lo < hi) || math.IsInf(lo, 0) || math.IsInf(hi, 0) {
			bad("workspace: %s runs from %v to %v m, want min < max, both finite", axis, lo, hi)
		}
	}
	positive("speed", "m/s", c.Speed)
	positive("turn", "rad/s", c.Turn)
	positive("acc", "m/s²", c.Acc)
	positive("turn acc", "rad/s²", c.TurnAcc)
	positive("lead", "m", c.Lead)
	positive("lead turn", "rad", c.LeadTurn)
	positive("opening", "m", c.Opening)
	if a := c.Arm; a != nil {
		positive("damping", "", c.Damping)
		over := func(name, unit string, v, limit float64) {
			if v > limit {
				bad("%s %v %s exceeds the %v of the %s", name, v, unit, limit, a.Name)
			}
		}
		over("speed", "m/s", c.Speed, a.Linear.Vel)
		over("turn", "rad/s", c.Turn, a.Angular.Vel)
		over("acc", "m/s²", c.Acc, a.Linear.Acc)
		over("turn acc", "rad/s²", c.TurnAcc, a.Angular.Acc)
		for i := range franka.Joints {
			if !(a.Min[i] <= a.SoftMin[i] && a.SoftMin[i] < a.SoftMax[i] && a.SoftMax[i] <= a.Max[i]) ||
				!(0 < a.SoftVel[i] && a.SoftVel[i] <= a.Vel[i]) || !(a.Acc[i] > 0) {
				bad("limits of joint %d of the %s contradict each other; take franka.Panda or franka.FR3", i+1, a.Name)
			}
		}
	}
	if c.Force < 0 || math.IsNaN(c.Force) || c.Torque < 0 || math.IsNaN(c.Torque) {
		bad("force and torque must not be negative, got %v N and %v Nm", c.Force, c.Torque)
	}
	if c.FrameAge < 0 {
		bad("frame age must not be negative, got %v", c.FrameAge)
	}
	if c.Lease.Term < c.Tick || c.Lease.Term <= 0 {
		bad("lease: term %v is shorter than a tick (%v)", c.Lease.Term, c.Tick)
	}
	return errors.Join(errs...)
}
