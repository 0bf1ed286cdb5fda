package guard

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// Dry judges what a policy would have commanded along a recording, by the same
// filter as a Guard, without an arm: at each recorded state, with the target
// where the recorded commands had moved it. The growth of the speed is judged
// against the policy's own last command.
//
//	d, err := guard.NewDry(guard.Default(franka.Panda()))
//	d.Start(&states[0])
//	ruling := d.Judge(&states[0], policy(states[0]))
//	d.Moved(recorded[0]) // then states[1], ...
type Dry struct {
	cfg Config
	f   filter
	own [6]float64 // the policy's last command, as it would have been applied
}

// Ruling is what the guard would have done to a command.
type Ruling struct {
	Applied  robot.Command
	Verdict  Verdict
	Breaches []Breach // none if the command would have passed as it is
}

// Breach is a limit that a command exceeds, by itself.
type Breach struct {
	Limit    string  // as "speed", "workspace x", "joint 3 velocity"
	Got, Max float64 // of the same sign; Max is what would have passed
	Unit     string
}

func (b Breach) String() string {
	return fmt.Sprintf("%s %.4g %s, limit %.4g", b.Limit, b.Got, b.Unit, b.Max)
}

// NewDry makes a Dry for the limits of cfg. The error lists all that is wrong
// with them.
func NewDry(cfg Config) (*Dry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Dry{cfg: cfg, f: newFilter(&cfg)}, nil
}

// Start begins a recording at its first state.
func (d *Dry) Start(st *robot.State) {
	d.f.start(st, d.cfg.Opening)
	d.own = [6]float64{}
}

// Judge tells what would have become of c in the state st.
func (d *Dry) Judge(st *robot.State, c robot.Command) Ruling {
	if i := nonFinite(&c); i >= 0 {
		d.own = [6]float64{}
		return Ruling{Applied: d.f.hold(), Verdict: Held, Breaches: []Breach{{Limit: part(i) + " is not finite", Got: value(&c, i)}}}
	}
	d.f.last = d.own
	r := Ruling{Breaches: d.f.breaches(st, &c)}
	r.Applied, r.Verdict = d.f.judge(st, c)
	d.own = r.Applied.Delta
	return r
}

// Moved goes on to the next state, which the recorded command c led to.
func (d *Dry) Moved(c robot.Command) { d.f.moved(&c) }

// breaches lists the limits that the finite command c exceeds in the state st.
// It is empty exactly if judge leaves c as it is.
func (f *filter) breaches(st *robot.State, c *robot.Command) (out []Breach) {
	d := &c.Delta
	// beyond notes x if it is outside [lo, hi], widened to hold zero as fit does;
	// at and unit turn x and its limit into what a person reads.
	beyond := func(name, unit string, x, lo, hi, at, per float64) {
		limit := 0.0
		switch {
		case math.IsNaN(x) || math.IsNaN(lo) || math.IsNaN(hi): // fit leaves nothing
		case x > max(hi, 0):
			limit = max(hi, 0)
		case x < min(lo, 0):
			limit = min(lo, 0)
		default:
			return
		}
		out = append(out, Breach{name, (at + x) / per, (at + limit) / per, unit})
	}
	if c.Grip < 0 || c.Grip > 1 {
		out = append(out, Breach{"grip", c.Grip, min(max(c.Grip, 0), 1), "of the opening"})
	}
	if n := norm(d[0], d[1], d[2]); n > f.step {
		out = append(out, Breach{"speed", n / f.dt, f.step / f.dt, "m/s"})
	}
	if n := norm(d[3], d[4], d[5]); n > f.turn {
		out = append(out, Breach{"turn", n / f.dt, f.turn / f.dt, "rad/s"})
	}
	for i, axis := range [3]string{"x", "y", "z"} {
		at, ee := f.target.P[i], st.EE.P[i]
		beyond("workspace "+axis, "m", d[i], f.box.Min[i]-at, f.box.Max[i]-at, at, 1)
		beyond("lead "+axis, "m", d[i], ee-f.lead-at, ee+f.lead-at, at-ee, 1)
	}
	var ahead [6]float64
	if f.arm != nil {
		ahead = franka.Diff(st.EE, f.target)
		for i := 3; i < 6; i++ {
			beyond("lead "+part(i), "rad", d[i], -f.leadTurn-ahead[i], f.leadTurn-ahead[i], ahead[i], 1)
		}
	}
	for i := range 6 {
		g, unit := f.grow, "m/s²"
		if i >= 3 {
			g, unit = f.grown, "rad/s²"
		}
		beyond("acceleration "+part(i), unit, d[i], f.last[i]-g, f.last[i]+g, -f.last[i], f.dt*f.dt)
	}
	if f.arm == nil || *d == [6]float64{} {
		return out
	}
	j := franka.JacobianAt(&st.Q, st.EE.P)
	inv := franka.Factor(&j, f.damping)
	behind, dq := inv.Solve(&ahead), inv.Solve(d)
	for i := range dq {
		q, v := st.Q[i]+behind[i], st.DQ[i]*f.dt
		joint := fmt.Sprintf("joint %d ", i+1)
		beyond(joint+"velocity", "rad/s", dq[i], -f.vel[i], f.vel[i], 0, f.dt)
		beyond(joint+"acceleration", "rad/s²", dq[i], v-f.acc[i], v+f.acc[i], -v, f.dt*f.dt)
		beyond(joint+"position when it has caught up", "rad", dq[i], f.arm.SoftMin[i]-q, f.arm.SoftMax[i]-q, q, 1)
		beyond(joint+"position", "rad", dq[i], f.arm.SoftMin[i]-st.Q[i], f.arm.SoftMax[i]-st.Q[i], st.Q[i], 1)
	}
	return out
}

// By is how far beyond the limit b is, in its unit.
func (b Breach) By() float64 { return math.Abs(b.Got - b.Max) }
