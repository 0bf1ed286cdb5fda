package impedance

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/rapport-rl/rapport/robot/franka"
)

// plant is an arm of seven decoupled joints: inertia, viscous and dry friction,
// and a constant load that the bias torque cancels. It is small enough to be
// checked by hand; the full dynamics are tested in sim/tabletop.
type plant struct {
	q, dq, load [7]float64
}

const inertia, viscous, dry = 0.6, 1.0, 0.2 // kg m², Nm s/rad, Nm

func (p *plant) step(tau *[7]float64, dt float64) {
	for i := range p.q {
		f := tau[i] - p.load[i] - viscous*p.dq[i]
		v := p.dq[i] + dt*f/inertia
		// Dry friction brakes, and never turns the motion round.
		brake := dt * dry / inertia
		p.dq[i] = math.Copysign(max(0, math.Abs(v)-brake), v)
		p.q[i] += dt * p.dq[i]
	}
}

func start() (*plant, *Controller) {
	p := &plant{q: franka.Ready(), load: [7]float64{0, -20, 3, 15, 1, 2, 0}}
	c := New(Default())
	c.Reset(franka.Forward(&p.q), p.q, p.load)
	return p, c
}

const tick = 0.001 // s

func run(p *plant, c *Controller, n int) {
	var tau [7]float64
	for range n {
		c.Torque(&tau, &Input{Q: p.q, DQ: p.dq, Bias: p.load}, tick)
		p.step(&tau, tick)
	}
}

func TestSteadyErrorIsSmall(t *testing.T) {
	for _, tt := range []struct {
		name  string
		delta [6]float64
	}{
		{"hold", [6]float64{}},
		{"forward", [6]float64{0: 0.05}},
		{"left and down", [6]float64{1: 0.05, 2: -0.05}},
		{"turned", [6]float64{5: 0.3}},
		{"tilted", [6]float64{3: 0.2, 4: -0.1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := start()
			goal := franka.Move(franka.Forward(&p.q), &tt.delta)
			c.SetTarget(goal, 0.05)
			run(p, c, 3000)
			d := franka.Diff(franka.Forward(&p.q), goal)
			// Dry friction of 0.2 Nm at each joint over 1500 N/m and 150 Nm/rad:
			// below a millimetre and a third of a degree.
			if e := math.Hypot(math.Hypot(d[0], d[1]), d[2]); e > 0.001 {
				t.Errorf("the hand rests %.2f mm from its target, want at most 1", 1000*e)
			}
			if e := math.Hypot(math.Hypot(d[3], d[4]), d[5]); e > 0.006 {
				t.Errorf("the hand rests %.4f rad from its target, want at most 0.006", e)
			}
		})
	}
}

func TestTargetIsReachedAtTheEndOfThePeriod(t *testing.T) {
	p, c := start()
	from := franka.Forward(&p.q)
	goal := franka.Move(from, &[6]float64{0: 0.02, 5: 0.1})
	c.SetTarget(goal, 0.05)
	run(p, c, 25)
	if got, want := c.Target().P[0]-from.P[0], 0.01; math.Abs(got-want) > 1e-9 {
		t.Errorf("half-way the target has moved %g m, want %g", got, want)
	}
	if got, want := franka.Diff(from, c.Target())[5], 0.05; math.Abs(got-want) > 1e-9 {
		t.Errorf("half-way the target has turned %g rad, want %g", got, want)
	}
	run(p, c, 25)
	if got := c.Target(); got != goal {
		t.Errorf("after the period the target is %v, want %v", got, goal)
	}
}

func TestTorqueIsLimited(t *testing.T) {
	cfg := Default()
	limits := franka.Panda()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		size := rapid.Float64Range(0, 2).Draw(t, "size")
		dt := rapid.SampledFrom([]float64{0.001, 0.002}).Draw(t, "dt")
		_, c := start()
		last := [7]float64{0, -20, 3, 15, 1, 2, 0}
		var in Input
		var tau [7]float64
		for k := range 200 {
			if k%50 == 0 {
				q := franka.Ready()
				p := franka.Forward(&q)
				var d [6]float64
				for i := range d {
					d[i] = size * r.NormFloat64()
				}
				c.SetTarget(franka.Move(p, &d), 0.05)
			}
			for i := range in.Q {
				in.Q[i] = limits.Min[i] + r.Float64()*(limits.Max[i]-limits.Min[i])
				in.DQ[i] = size * 3 * r.NormFloat64()
				in.Bias[i] = 20 * r.NormFloat64()
			}
			c.Torque(&tau, &in, dt)
			for i := range tau {
				if !(math.Abs(tau[i]) <= cfg.Torque[i]) {
					t.Fatalf("joint %d has %g Nm, want at most %g", i+1, tau[i], cfg.Torque[i])
				}
				// 1 Nm per ms, and rounding.
				if step := math.Abs(tau[i] - last[i]); !(step <= 1000*dt+1e-12) {
					t.Fatalf("joint %d changes by %g Nm in %g s, want at most %g", i+1, step, dt, 1000*dt)
				}
			}
			last = tau
		}
	})
}

func TestNullSpaceAsksForNoForce(t *testing.T) {
	limits := franka.Panda()
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		var q, tau [7]float64
		for i := range q {
			// The middle half of the range, away from singular postures.
			mid, half := (limits.Min[i]+limits.Max[i])/2, (limits.Max[i]-limits.Min[i])/4
			q[i] = mid + half*(2*r.Float64()-1)
			tau[i] = 10 * r.NormFloat64()
		}
		_, jac := franka.Jacobian(&q)
		got := tau
		project(&got, &jac, Default().Damping)
		// J τ is what the torque does to the hand of an arm of unit inertia. λ²
		// leaves λ²/(σ²+λ²): with λ = 1e-3 and σ above 0.03, a thousandth.
		for i := range 6 {
			var before, after float64
			for j := range tau {
				before += math.Abs(jac[i][j] * tau[j])
				after += jac[i][j] * got[j]
			}
			if math.Abs(after) > 2e-3*(before+10) {
				t.Fatalf("axis %d: %g of %g is left at q = %v", i, after, before, q)
			}
		}
	})
}

func TestPostureDoesNotMoveTheHand(t *testing.T) {
	p, c := start()
	ee := franka.Forward(&p.q)
	posture := p.q
	posture[0], posture[2] = posture[0]+0.8, posture[2]-0.8 // swings the elbow out
	c.Reset(ee, posture, p.load)
	elbow := p.q[2]
	var worst float64
	var tau [7]float64
	for range 4000 {
		c.Torque(&tau, &Input{Q: p.q, DQ: p.dq, Bias: p.load}, tick)
		p.step(&tau, tick)
		now := franka.Forward(&p.q)
		worst = max(worst, math.Hypot(math.Hypot(now.P[0]-ee.P[0], now.P[1]-ee.P[1]), now.P[2]-ee.P[2]))
	}
	if got := math.Abs(p.q[2] - elbow); got < 0.1 {
		t.Errorf("the elbow turned by %.3f rad, want at least 0.1: nothing was tested", got)
	}
	// Without the projection this spring costs 14 mm at rest.
	if worst > 0.002 {
		t.Errorf("the hand moved by %.2f mm, want at most 2", 1000*worst)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Errorf("Default: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"no stiffness":     func(c *Config) { c.Trans = 0 },
		"NaN":              func(c *Config) { c.Rot = math.NaN() },
		"no damping":       func(c *Config) { c.Damping = 0 },
		"infinite rate":    func(c *Config) { c.Rate = math.Inf(1) },
		"no torque":        func(c *Config) { c.Torque[6] = 0 },
		"negative posture": func(c *Config) { c.Posture = -1 },
	} {
		c := Default()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTorqueDoesNotAllocate(t *testing.T) {
	p, c := start()
	var tau [7]float64
	in := Input{Q: p.q, Bias: p.load}
	if n := testing.AllocsPerRun(100, func() { c.Torque(&tau, &in, tick) }); n != 0 {
		t.Errorf("%g allocations a tick, want none", n)
	}
}

func BenchmarkTorque(b *testing.B) {
	p, c := start()
	var tau [7]float64
	in := Input{Q: p.q, Bias: p.load}
	c.SetTarget(franka.Move(franka.Forward(&p.q), &[6]float64{0: 0.02}), 1e9)
	b.ReportAllocs()
	for b.Loop() {
		c.Torque(&tau, &in, tick)
	}
}
