package guard

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Verdict says what was done to a command.
type Verdict uint8

// What may be done to a command. Clipped and Scaled may come together.
const (
	Clipped Verdict = 1 << iota // an axis was cut at the box, at the lead or at the grip's range
	Scaled                      // shortened in its direction
	Held                        // nothing of the motion was left
)

// shrink keeps a scaled command inside its limit in spite of rounding.
const shrink = 1 - 1e-9

// filter is the part of the guard that knows no time, lease or fault: limits,
// the accumulated target, and what was last applied.
type filter struct {
	box            Box
	step, turn     float64 // largest translation and rotation of a tick, m and rad
	grow, grown    float64 // largest growth of those on an axis, m and rad
	lead, leadTurn float64
	arm            *franka.Limits
	vel, acc       [franka.Joints]float64 // rad a tick, rad a tick²
	dt, damping    float64
	target         robot.Pose
	last           [6]float64
	grip           float64
}

func newFilter(c *Config) filter {
	dt := c.Tick.Seconds()
	f := filter{
		box: c.Box, lead: c.Lead, leadTurn: c.LeadTurn, arm: c.Arm, dt: dt, damping: c.Damping,
		step: c.Speed * dt, turn: c.Turn * dt,
		// A cube inside the ball: each axis may grow by its share alone.
		grow: c.Acc * dt * dt / math.Sqrt(3), grown: c.TurnAcc * dt * dt / math.Sqrt(3),
	}
	if c.Arm != nil {
		for i := range f.vel {
			f.vel[i] = c.Arm.SoftVel[i] * dt
			f.acc[i] = c.Arm.Acc[i] * dt * dt
		}
	}
	return f
}

// start sets the target where the arm is.
func (f *filter) start(st *robot.State, opening float64) {
	f.target, f.last = st.EE, [6]float64{}
	f.grip = min(max(st.Grip/opening, 0), 1)
}

// moved accounts for a command that reached the arm.
func (f *filter) moved(c *robot.Command) {
	if f.arm != nil {
		f.target = franka.Move(f.target, &c.Delta)
	} else {
		for i := range 3 {
			f.target.P[i] += c.Delta[i]
		}
	}
	f.last, f.grip = c.Delta, c.Grip
}

// hold is the command that moves nothing.
func (f *filter) hold() robot.Command { return robot.Command{Grip: f.grip} }

// judge returns what of the finite command c may reach the arm in the state st.
//
// Every limit is an interval around zero of a quantity that is linear in the
// command, so that a hold is always allowed, a scaled command stays allowed, and
// slowing down is never refused. Where a quantity is outside its limit already,
// its interval leaves only the way back.
func (f *filter) judge(st *robot.State, c robot.Command) (robot.Command, Verdict) {
	var v Verdict
	if g := min(max(c.Grip, 0), 1); g != c.Grip {
		c.Grip, v = g, Clipped
	}
	d := &c.Delta
	if *d == [6]float64{} {
		return c, v
	}
	// Beyond a metre or a radian a tick there is only a direction; keeping it
	// there keeps the squares below finite.
	var top float64
	for i := range d {
		top = max(top, math.Abs(d[i]))
	}
	if top > 1 {
		scale(d, 1/top)
		v |= Scaled
	}
	s := 1.0
	if n := norm(d[0], d[1], d[2]); n > f.step {
		s = f.step / n
	}
	if n := norm(d[3], d[4], d[5]); n > f.turn {
		s = min(s, f.turn/n)
	}
	if s < 1 {
		scale(d, s*shrink)
		v |= Scaled
	}
	for i := range 3 {
		at, ee := f.target.P[i], st.EE.P[i]
		lo := min(0, max(f.box.Min[i], ee-f.lead)-at)
		hi := max(0, min(f.box.Max[i], ee+f.lead)-at)
		if x := min(max(d[i], lo), hi); x != d[i] {
			d[i] = x
			v |= Clipped
		}
	}
	var ahead [6]float64 // what the arm has still to catch up
	if f.arm != nil {
		ahead = franka.Diff(st.EE, f.target)
		for i := 3; i < 6; i++ {
			if x := min(max(d[i], min(0, -f.leadTurn-ahead[i])), max(0, f.leadTurn-ahead[i])); x != d[i] {
				d[i] = x
				v |= Clipped
			}
		}
	}
	s = 1
	for i := range 6 {
		g := f.grow
		if i >= 3 {
			g = f.grown
		}
		s = fit(s, d[i], f.last[i]-g, f.last[i]+g)
	}
	if f.arm != nil {
		s = f.joints(s, st, &ahead, d)
	}
	if s < 1 {
		scale(d, s*shrink)
		v |= Scaled
	}
	// Less than a nanometre and a nanoradian is no motion.
	top = 0
	for i := range d {
		top = max(top, math.Abs(d[i]))
	}
	if !(top >= 1e-9) { // nor is what cannot be computed
		*d = [6]float64{}
		v |= Held
	}
	return c, v
}

// joints returns how much, up to s, of the motion d the joints can follow, by
// their inverse kinematics at the measured state.
func (f *filter) joints(s float64, st *robot.State, ahead, d *[6]float64) float64 {
	j := franka.JacobianAt(&st.Q, st.EE.P)
	inv := franka.Factor(&j, f.damping)
	behind := inv.Solve(ahead)
	dq := inv.Solve(d)
	for i := range dq {
		q, v := st.Q[i]+behind[i], st.DQ[i]*f.dt
		s = fit(s, dq[i], -f.vel[i], f.vel[i])
		s = fit(s, dq[i], v-f.acc[i], v+f.acc[i])
		// Where the joint will be when the arm has caught up, and where it is.
		s = fit(s, dq[i], f.arm.SoftMin[i]-q, f.arm.SoftMax[i]-q)
		s = fit(s, dq[i], f.arm.SoftMin[i]-st.Q[i], f.arm.SoftMax[i]-st.Q[i])
	}
	return s
}

// fit returns the largest factor up to s that keeps x times it between lo and
// hi, after these were widened to hold zero; 0 where they cannot be told.
func fit(s, x, lo, hi float64) float64 {
	if math.IsNaN(x) || math.IsNaN(lo) || math.IsNaN(hi) {
		return 0
	}
	if x > 0 {
		if hi = max(hi, 0); x*s > hi {
			return hi / x
		}
	} else if x < 0 {
		if lo = min(lo, 0); x*s < lo {
			return lo / x
		}
	}
	return s
}

func scale(d *[6]float64, s float64) {
	for i := range d {
		d[i] *= s
	}
}

func norm(x, y, z float64) float64 { return math.Sqrt(x*x + y*y + z*z) }
