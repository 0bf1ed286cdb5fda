package rosarm

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/franka/impedance"
	msg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// plant is an arm of seven decoupled joints of 0.6 kg m² with viscous and dry
// friction; the full dynamics are in the tests of robot/ros/arm.
type plant struct{ q, dq [7]float64 }

func (p *plant) run(l *law, seconds, dt float64) {
	var tau [7]float64
	for range int(math.Round(seconds / dt)) {
		l.torque(&tau, &impedance.Input{Q: p.q, DQ: p.dq}, dt)
		for i := range p.q {
			v := p.dq[i] + dt*(tau[i]-p.dq[i])/0.6
			p.dq[i] = math.Copysign(max(0, math.Abs(v)-dt*0.1/0.6), v)
			p.q[i] += dt * p.dq[i]
		}
	}
}

func begin() (*plant, *law) {
	p := &plant{q: franka.Ready()}
	l := &law{want: standard(), have: standard()}
	l.start(p.q, [7]float64{})
	return p, l
}

// A target that stays is approached as 1-(1-α)^n, whatever the step of the physics.
func TestTheFilterTakesOverAlphaPerMillisecond(t *testing.T) {
	for _, dt := range []float64{0.001, 0.002, 0.004} {
		_, l := begin()
		from := l.now
		l.target = franka.Move(from, &[6]float64{0: 0.1, 5: 0.2})
		for range int(math.Round(0.2 / dt)) {
			l.filter(1 - math.Pow(1-alpha, dt/0.001))
		}
		want := 1 - math.Pow(1-alpha, 200)
		d := franka.Diff(from, l.now)
		if math.Abs(d[0]-0.1*want) > 1e-9 || math.Abs(d[5]-0.2*want) > 1e-9 {
			t.Errorf("dt %g: after 0.2 s at %.5f m and %.5f rad, want %.5f and %.5f", dt, d[0], d[5], 0.1*want, 0.2*want)
		}
	}
}

func TestTheLawReachesItsTarget(t *testing.T) {
	for _, tt := range []struct {
		name  string
		delta [6]float64
	}{{"hold", [6]float64{}}, {"forward", [6]float64{0: 0.05}}, {"down and left", [6]float64{1: 0.04, 2: -0.05}}, {"turned", [6]float64{5: 0.2}}} {
		p, l := begin()
		l.target = franka.Move(l.target, &tt.delta)
		p.run(l, 5, 0.001)
		d := franka.Diff(franka.Forward(&p.q), l.target)
		// Dry friction of 0.1 Nm over 2000 N/m and 75 Nm/rad (half of 150, since the
		// error is a quaternion's).
		if e := math.Hypot(math.Hypot(d[0], d[1]), d[2]); e > 0.001 {
			t.Errorf("%s: rests %.2f mm away", tt.name, 1000*e)
		}
		if e := math.Hypot(math.Hypot(d[3], d[4]), d[5]); e > 0.02 {
			t.Errorf("%s: rests %.4f rad away", tt.name, e)
		}
	}
}

// However far the target is, the force is that of the clipped error.
func TestTheErrorIsClipped(t *testing.T) {
	_, l := begin()
	q := franka.Ready()
	ee, jac := franka.Jacobian(&q)
	var near, far [7]float64
	l.want.null, l.have.null = 0, 0
	l.now = franka.Move(ee, &[6]float64{0: 0.01})
	near = l.impedance(&impedance.Input{Q: q})
	l.now = franka.Move(ee, &[6]float64{0: 0.4})
	far = l.impedance(&impedance.Input{Q: q})
	for j := range near {
		if want := jac[0][j] * 2000 * 0.01; math.Abs(far[j]-near[j]) > 1e-9 || math.Abs(far[j]-want) > 1e-9 {
			t.Errorf("joint %d: %g Nm at 10 mm, %g at 400, want %g for both", j+1, near[j], far[j], want)
		}
	}
}

func TestTorqueChangesByOneNewtonmetreAMillisecond(t *testing.T) {
	_, l := begin()
	l.now = franka.Move(l.now, &[6]float64{0: 0.3})
	l.target = l.now
	var tau, last [7]float64
	for i := range 50 {
		l.torque(&tau, &impedance.Input{Q: franka.Ready()}, 0.001)
		for j := range tau {
			if d := math.Abs(tau[j] - last[j]); d > 1+1e-12 {
				t.Fatalf("tick %d: joint %d by %g Nm", i, j+1, d)
			}
		}
		last = tau
	}
}

func TestBrakedArmsIgnoreTheirTarget(t *testing.T) {
	p, l := begin()
	p.dq[0] = 0.5
	l.stop(p.q)
	l.target = franka.Move(l.target, &[6]float64{0: 0.2})
	at := p.q
	p.run(l, 2, 0.001)
	for i := range at {
		if math.Abs(p.q[i]-at[i]) > 0.02 {
			t.Errorf("joint %d moved by %.3f rad while braked", i+1, p.q[i]-at[i])
		}
	}
	var tau [7]float64
	in := impedance.Input{Q: p.q}
	if n := testing.AllocsPerRun(100, func() { l.torque(&tau, &in, 0.001) }); n != 0 {
		t.Errorf("a tick allocates %g times", n)
	}
}

func TestReflexes(t *testing.T) {
	l := franka.Panda()
	calm := robot.State{Q: franka.Ready()}
	for _, tt := range []struct {
		name   string
		change func(s *robot.State)
		want   []string
	}{
		{"nothing", func(*robot.State) {}, nil},
		{"a push below the threshold", func(s *robot.State) { s.Wrench[0] = 19 }, nil},
		{"a push", func(s *robot.State) { s.Wrench[1] = -21 }, []string{"cartesian_reflex"}},
		{"a push whose lever is long", func(s *robot.State) { s.Wrench[0], s.Wrench[2] = 19.9, 19.9; s.Wrench[4] = 24 }, []string{"joint_reflex"}},
		{"a joint at its end", func(s *robot.State) { s.Q[3] = l.Max[3] + 0.01 }, []string{"joint_position_limits_violation"}},
		{"a joint too fast", func(s *robot.State) { s.DQ[6] = 2.7 }, []string{"joint_velocity_violation"}},
	} {
		var f feeling
		th := factory()
		s := calm
		tt.change(&s)
		var got []string
		for range 100 { // until the estimate has settled
			got = f.feel(&s, 0.001, &th, &l)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		raise(&msg.Errors{}, got) // panics where there is no such field
	}
	var f feeling
	th := factory()
	f.feel(&calm, 0.001, &th, &l)
	jump := calm
	jump.DQ[0] = 0.2 // in 1 ms, where 15 rad/s² would be 0.015
	if got := f.feel(&jump, 0.001, &th, &l); !slices.Equal(got, []string{"joint_motion_generator_velocity_discontinuity"}) {
		t.Errorf("a jump in velocity: %q", got)
	}
	// A blow shorter than the estimate's time is none.
	f = feeling{}
	blow := calm
	blow.Wrench[2] = 60
	if got := f.feel(&blow, 0.001, &th, &l); got != nil {
		t.Errorf("a blow of 1 ms: %q", got)
	}
}

func TestThresholdsAreChecked(t *testing.T) {
	th := factory()
	if err := th.valid(); err != nil {
		t.Error(err)
	}
	th.torqueHigh[2] = 1
	if err := th.valid(); err == nil {
		t.Error("an upper threshold below the lower was taken")
	}
	th = factory()
	th.forceLow[5] = 0
	if err := th.valid(); err == nil {
		t.Error("a threshold of zero was taken")
	}
}

func TestConfigIsValidated(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"arm id":   func(c *Config) { c.ArmID = "ur5" },
		"states":   func(c *Config) { c.States = 0 },
		"jacobian": func(c *Config) { c.Jacobian = 2000 },
		"fps":      func(c *Config) { c.FPS = math.NaN() },
		"jpeg":     func(c *Config) { c.JPEG = 101 },
		"task":     func(c *Config) { c.World.Task = tabletop.Task("fly") },
	} {
		c := Default()
		spoil(&c)
		if c.validate() == nil {
			t.Errorf("a wrong %s was taken", name)
		}
	}
	c := Default()
	if err := c.validate(); err != nil {
		t.Error(err)
	}
}

func TestColumnsAreWhatMatrixReads(t *testing.T) {
	q := franka.Ready()
	q[4] = 0.4
	want := franka.Forward(&q)
	m := columns(want)
	d := franka.Diff(want, franka.Matrix(&m))
	if math.Hypot(d[0], d[1])+math.Abs(d[2]) > 1e-12 || math.Hypot(d[3], d[4])+math.Abs(d[5]) > 1e-7 {
		t.Errorf("there and back differs by %v", d)
	}
}

func TestNoTwoImagesAreEqual(t *testing.T) {
	s := &Sim{cfg: Default()}
	e := newEye(s)
	bgr := make([]byte, 3*64*48)
	for i := range bgr {
		bgr[i] = byte(i % 3 * 100)
	}
	a, b := e.grain(bgr), e.grain(bgr)
	if slices.Equal(a, b) {
		t.Error("two images are equal")
	}
	for i := 0; i < len(a); i += 3 {
		for k := range 3 {
			if d := int(a[i+k]) - int(bgr[i+2-k]); d < -2 || d > 2 {
				t.Fatalf("byte %d is off by %d", i+k, d)
			}
		}
	}
}
