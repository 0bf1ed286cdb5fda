package guard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	ctx := context.Background()
	cfg := guard.Default(franka.Panda())
	g, err := guard.New(newArm(cfg), cfg)
	if err != nil {
		panic(err)
	}
	if _, err := g.Reset(ctx); err != nil {
		panic(err)
	}
	obs, err := g.Step(ctx, robot.Command{Delta: [6]float64{2: -1}, Grip: 1}) // a metre down
	fmt.Printf("%.4f m by the %v, %v\n", obs.Applied.Delta[2], obs.By, err)
	// Output: -0.0105 m by the guard, <nil>
}

// begin returns a guarded arm after its Reset.
func begin(t *testing.T, change func(*guard.Config, *arm)) (*guard.Guard, *arm) {
	t.Helper()
	cfg := guard.Default(franka.Panda())
	a := newArm(cfg)
	if change != nil {
		change(&cfg, a)
		a.cfg = cfg
	}
	g, err := guard.New(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(context.Background()); err != nil {
		t.Fatal(err)
	}
	return g, a
}

func TestStep(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		change func(*guard.Config, *arm)
		wish   robot.Command
		want   robot.Command
		by     robot.Source
	}{
		"a small command passes": {
			wish: robot.Command{Delta: [6]float64{0.005, 0, 0, 0, 0, 0.01}, Grip: 0.5},
			want: robot.Command{Delta: [6]float64{0.005, 0, 0, 0, 0, 0.01}, Grip: 0.5},
		},
		"a hold passes": {wish: robot.Command{Grip: 1}, want: robot.Command{Grip: 1}},
		"the grip is clamped": {
			wish: robot.Command{Grip: 1.5}, want: robot.Command{Grip: 1}, by: robot.ByGuard,
		},
		"speed is scaled in its direction": {
			change: func(c *guard.Config, _ *arm) { c.Speed = 0.1 },
			wish:   robot.Command{Delta: [6]float64{0.03, 0.04}},
			want:   robot.Command{Delta: [6]float64{0.003, 0.004}}, by: robot.ByGuard,
		},
		"translation shrinks with a turn that is too fast": {
			wish: robot.Command{Delta: [6]float64{1: 0.01, 5: 0.05}},
			want: robot.Command{Delta: [6]float64{1: 0.005, 5: 0.025}}, by: robot.ByGuard,
		},
		"the box's face lets slide": {
			change: func(c *guard.Config, _ *arm) { c.Box.Max[1] = 0.001 },
			wish:   robot.Command{Delta: [6]float64{0.005, 0.005}},
			want:   robot.Command{Delta: [6]float64{0.005, 0.001}}, by: robot.ByGuard,
		},
		"outside the box outwards is held": {
			change: func(c *guard.Config, _ *arm) { c.Box.Max[2] = 0.4 },
			wish:   robot.Command{Delta: [6]float64{2: 0.005}},
			want:   robot.Command{}, by: robot.ByGuard,
		},
		"outside the box inwards passes": {
			change: func(c *guard.Config, _ *arm) { c.Box.Max[2] = 0.4 },
			wish:   robot.Command{Delta: [6]float64{2: -0.005}},
			want:   robot.Command{Delta: [6]float64{2: -0.005}},
		},
		"acceleration is limited from standstill": {
			change: func(c *guard.Config, _ *arm) { c.Acc = 1 },
			wish:   robot.Command{Delta: [6]float64{0.01}},
			want:   robot.Command{Delta: [6]float64{0.0025 / math.Sqrt(3)}}, by: robot.ByGuard,
		},
		"the lead is limited": {
			change: func(c *guard.Config, _ *arm) { c.Lead = 0.002 },
			wish:   robot.Command{Delta: [6]float64{0.01}},
			want:   robot.Command{Delta: [6]float64{0.002}}, by: robot.ByGuard,
		},
		"a joint's margin holds what goes on outwards": {
			change: func(c *guard.Config, a *arm) { a.start[0] = c.Arm.SoftMax[0] + 0.05; c.Box.Min[0] = -1 },
			wish:   robot.Command{Delta: [6]float64{1: -0.005}},
			want:   robot.Command{}, by: robot.ByGuard,
		},
		"a world without joints has Cartesian limits alone": {
			change: func(c *guard.Config, _ *arm) { c.Arm = nil },
			wish:   robot.Command{Delta: [6]float64{0.03, 0.04}},
			want:   robot.Command{Delta: [6]float64{0.0075, 0.01}}, by: robot.ByGuard,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := guard.Default(franka.Panda())
			a := newArm(cfg)
			if c.change != nil {
				c.change(&cfg, a)
			}
			g, err := guard.New(a, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			obs, err := g.Step(ctx, c.wish)
			if err != nil {
				t.Fatal(err)
			}
			if far(obs.Applied, c.want) {
				t.Errorf("applied %+v, want %+v", obs.Applied, c.want)
			}
			if obs.By != c.by {
				t.Errorf("by %v, want %v", obs.By, c.by)
			}
		})
	}
}

// far reports whether commands differ by more than the guard's own shrinking.
func far(a, b robot.Command) bool {
	d := math.Abs(a.Grip - b.Grip)
	for i := range a.Delta {
		d = max(d, math.Abs(a.Delta[i]-b.Delta[i]))
	}
	return d > 1e-9
}

func TestSource(t *testing.T) {
	ctx := context.Background()
	human := guard.WithSource(ctx, robot.ByHuman)
	for name, c := range map[string]struct {
		ctx  context.Context
		wish robot.Command
		want robot.Source
	}{
		"policy":        {ctx, robot.Command{Delta: [6]float64{0.001}}, robot.ByPolicy},
		"human":         {human, robot.Command{Delta: [6]float64{0.001}}, robot.ByHuman},
		"altered human": {human, robot.Command{Delta: [6]float64{1}}, robot.ByGuard},
	} {
		g, _ := begin(t, nil)
		if obs, err := g.Step(c.ctx, c.wish); err != nil || obs.By != c.want {
			t.Errorf("%s: by %v, %v, want %v", name, obs.By, err, c.want)
		}
	}
	t.Run("a recording keeps its own", func(t *testing.T) {
		logged := robot.Command{Delta: [6]float64{2: 0.003}, Grip: 0.2}
		g, _ := begin(t, func(_ *guard.Config, a *arm) {
			a.next = func(a *arm) (robot.Observation, error) {
				a.st.Stamp = a.st.Stamp.Add(a.cfg.Tick)
				return robot.Observation{State: a.st, Applied: logged, By: robot.ByLog}, nil
			}
		})
		if obs, err := g.Step(ctx, robot.Command{}); err != nil || obs.By != robot.ByLog || obs.Applied != logged {
			t.Errorf("%v %+v %v, want what was logged", obs.By, obs.Applied, err)
		}
	})
}

func TestFaultsLatch(t *testing.T) {
	ctx := context.Background()
	broken := errors.New("cable")
	state := func(change func(*robot.State)) func(*guard.Config, *arm) {
		return func(_ *guard.Config, a *arm) {
			a.next = func(a *arm) (robot.Observation, error) {
				a.next = nil
				a.st.Stamp = a.st.Stamp.Add(a.cfg.Tick)
				st := a.st
				change(&st)
				return robot.Observation{State: st, By: robot.ByLog}, nil
			}
		}
	}
	fails := func(err error) func(*guard.Config, *arm) {
		return func(_ *guard.Config, a *arm) {
			a.next = func(a *arm) (robot.Observation, error) {
				a.next = nil
				return robot.Observation{}, err
			}
		}
	}
	ok := robot.Command{Delta: [6]float64{0.001}}
	for name, c := range map[string]struct {
		change func(*guard.Config, *arm)
		wish   robot.Command
		cause  guard.Cause
		detail string
		is     error
	}{
		"NaN in a command":    {nil, robot.Command{Delta: [6]float64{2: math.NaN()}}, guard.NonFinite, "z of the command is NaN", nil},
		"Inf in the grip":     {nil, robot.Command{Grip: math.Inf(-1)}, guard.NonFinite, "grip of the command is -Inf", nil},
		"NaN in the state":    {state(func(s *robot.State) { s.DQ[3] = math.NaN() }), ok, guard.OffLimits, "dq[3]", nil},
		"joint beyond":        {state(func(s *robot.State) { s.Q[1] = 1.8 }), ok, guard.OffLimits, "joint 2 is at 1.8000 rad", nil},
		"joint too fast":      {state(func(s *robot.State) { s.DQ[0] = -2.3 }), ok, guard.OffLimits, "joint 1 moves", nil},
		"tool out of reach":   {state(func(s *robot.State) { s.EE.P[0] = 1e200 }), ok, guard.OffLimits, "the tool is at 1e+200", nil},
		"stamp stands still":  {state(func(s *robot.State) { s.Stamp = time.Unix(1000, 0) }), ok, guard.BadStamp, "after one at", nil},
		"backend fails":       {fails(broken), ok, guard.Failed, "cable", broken},
		"backend is stale":    {fails(fmt.Errorf("ros: %w", robot.ErrStale)), ok, guard.Stale, "stale", robot.ErrStale},
		"backend is stopped":  {fails(robot.ErrStopped), ok, guard.Reflex, "stopped", robot.ErrStopped},
		"frame is old":        {frame(time.Second), ok, guard.Stale, `camera "front" is 1s older`, nil},
		"force":               {force(0), ok, guard.OffLimits, "force 50.0 N", nil},
		"torque":              {force(3), ok, guard.OffLimits, "torque 50.0 Nm", nil},
		"backend applies NaN": {state(func(*robot.State) {}), robot.Command{Delta: [6]float64{math.NaN()}}, guard.NonFinite, "x of the command", nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, a := begin(t, c.change)
			_, err := g.Step(ctx, c.wish)
			var f *guard.Fault
			if !errors.As(err, &f) || !errors.Is(err, robot.ErrStopped) {
				t.Fatalf("got %v, want a fault", err)
			}
			if f.Cause != c.cause || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("fault %v: %s, want %v: %s", f.Cause, f.Detail, c.cause, c.detail)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v does not wrap %v", err, c.is)
			}
			if len(f.Recent) != 1 || f.Recent[0].State.Stamp.IsZero() {
				t.Errorf("fault tells of %d moments, want 1", len(f.Recent))
			}
			// Nothing clears it: not time, not Reset, not an unnamed operator.
			moves := a.moves
			for range 3 {
				if _, err := g.Step(ctx, ok); !errors.Is(err, robot.ErrStopped) {
					t.Errorf("Step while latched: %v", err)
				}
			}
			before := a.st
			if _, err := g.Reset(ctx); !errors.Is(err, robot.ErrStopped) || a.st != before {
				t.Errorf("Reset while latched: %v", err)
			}
			if err := g.Acknowledge(""); err == nil || g.Fault() == nil {
				t.Error("nobody acknowledged the fault")
			}
			if a.moves != moves {
				t.Error("the arm moved while latched")
			}
			if err := g.Acknowledge("ada"); err != nil || g.Fault() != nil {
				t.Errorf("acknowledged: %v, fault %v", err, g.Fault())
			}
			if _, err := g.Reset(ctx); err != nil {
				t.Errorf("Reset afterwards: %v", err)
			}
			if obs, err := g.Step(ctx, ok); err != nil || obs.Applied != ok {
				t.Errorf("Step afterwards: %+v, %v", obs.Applied, err)
			}
			if n := g.Counts().Faults; n != 1 {
				t.Errorf("%d faults counted, want 1", n)
			}
		})
	}
}

func frame(age time.Duration) func(*guard.Config, *arm) {
	return func(_ *guard.Config, a *arm) {
		a.next = func(a *arm) (robot.Observation, error) {
			a.next = nil
			a.st.Stamp = a.st.Stamp.Add(a.cfg.Tick)
			return robot.Observation{State: a.st, By: robot.ByLog, Frames: []robot.Frame{
				{Camera: "wrist", Stamp: a.st.Stamp}, {Camera: "front", Stamp: a.st.Stamp.Add(-age)},
			}}, nil
		}
	}
}

func force(axis int) func(*guard.Config, *arm) {
	return func(c *guard.Config, a *arm) {
		c.Force, c.Torque = 20, 20
		a.next = func(a *arm) (robot.Observation, error) {
			a.next = nil
			a.st.Stamp = a.st.Stamp.Add(a.cfg.Tick)
			st := a.st
			st.Wrench[axis] = -50
			return robot.Observation{State: st, By: robot.ByLog}, nil
		}
	}
}

func TestFaultTellsTheLastTwoSeconds(t *testing.T) {
	ctx := context.Background()
	g, _ := begin(t, nil)
	for i := range 100 {
		if _, err := g.Step(ctx, robot.Command{Delta: [6]float64{1: 1e-4 * float64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := g.Step(ctx, robot.Command{Grip: math.NaN()})
	var f *guard.Fault
	if !errors.As(err, &f) || len(f.Recent) != 40 {
		t.Fatalf("got %v with %d moments, want 40", err, len(f.Recent))
	}
	for i, m := range f.Recent {
		want := time.Unix(1000, 0).Add(time.Duration(61+i) * 50 * time.Millisecond)
		if !m.State.Stamp.Equal(want) {
			t.Fatalf("moment %d is of %v, want %v", i, m.State.Stamp, want)
		}
	}
	if last := f.Recent[39]; !math.IsNaN(last.Wish.Grip) || last.Applied.Delta != [6]float64{} || last.By != robot.ByGuard {
		t.Errorf("last moment %+v, want the command that was refused", last)
	}
}

func TestAnAcknowledgedJointMayBeDrivenBack(t *testing.T) {
	ctx := context.Background()
	g, a := begin(t, func(c *guard.Config, _ *arm) { c.Box.Min[0] = -1; c.Box.Min[1], c.Box.Max[1] = -1, 1 })
	a.start[0] = a.cfg.Arm.Max[0] + 0.05
	if _, err := g.Reset(ctx); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("Reset beyond a joint's end: %v", err)
	}
	if err := g.Acknowledge("ada"); err != nil {
		t.Fatal(err)
	}
	// The target is not known yet, so nothing may move before a good Reset.
	if _, err := g.Step(ctx, robot.Command{}); err == nil || errors.Is(err, robot.ErrStopped) {
		t.Fatalf("Step before a good Reset: %v", err)
	}
	a.start = franka.Ready()
	if _, err := g.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	// Pushed beyond its end by hand, then acknowledged, the joint goes back.
	a.st.Q[0] = a.cfg.Arm.Max[0] + 0.05
	p, r, _ := forward(&a.st.Q)
	a.st.EE, a.target, a.facing = robot.Pose{P: p, Q: fromMat(r)}, p, r
	if _, err := g.Step(ctx, robot.Command{}); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("Step beyond a joint's end: %v", err)
	}
	if err := g.Acknowledge("ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Step(ctx, robot.Command{}); err != nil {
		t.Errorf("an acknowledged position is a fault again: %v", err)
	}
	a.st.Q[0] += 0.02
	if _, err := g.Step(ctx, robot.Command{}); !errors.Is(err, robot.ErrStopped) {
		t.Errorf("further out than acknowledged: %v, want a fault", err)
	}
}

// The excuse goes by what the Reset showed, not by a state before it.
func TestAResetBeyondAJointsEndIsAcknowledgedOnce(t *testing.T) {
	ctx := context.Background()
	g, a := begin(t, nil)
	a.start[0] = a.cfg.Arm.Max[0] + 0.05
	if _, err := g.Reset(ctx); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("Reset beyond a joint's end: %v", err)
	}
	if err := g.Acknowledge("ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(ctx); err != nil {
		t.Errorf("the acknowledged position is a fault again: %v", err)
	}
	a.start[0] += 0.02
	if _, err := g.Reset(ctx); !errors.Is(err, robot.ErrStopped) {
		t.Errorf("further out than acknowledged: %v, want a fault", err)
	}
}

// Joints at 0 are no state, though an FR3's sixth would be beyond its end there.
func TestAnAcknowledgementBeforeAnyStateExcusesNothing(t *testing.T) {
	ctx := context.Background()
	cfg := guard.Default(franka.FR3())
	a := newArm(cfg)
	a.start[5] = cfg.Arm.Min[5] - 0.1
	g, err := guard.New(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(ctx, "smoke"); err != nil {
		t.Fatal(err)
	}
	if err := g.Acknowledge("ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(ctx); !errors.Is(err, robot.ErrStopped) || g.Fault().Cause != guard.OffLimits {
		t.Errorf("0.1 rad beyond a joint's end that nobody has seen: %v, want a fault", err)
	}
}

// What an acknowledgement finds within the slack is no excuse to go further.
func TestAcknowledgementExcusesNothingWithinTheSlack(t *testing.T) {
	ctx := context.Background()
	g, a := begin(t, func(c *guard.Config, _ *arm) { c.Box.Min[0] = -1; c.Box.Min[1], c.Box.Max[1] = -1, 1 })
	place := func(beyond float64) {
		a.st.Q[0] = a.cfg.Arm.Max[0] + beyond
		p, r, _ := forward(&a.st.Q)
		a.st.EE, a.target, a.facing = robot.Pose{P: p, Q: fromMat(r)}, p, r
	}
	place(0.008)
	if _, err := g.Step(ctx, robot.Command{}); err != nil {
		t.Fatalf("8 mrad beyond a joint's end: %v, want no fault", err)
	}
	if _, err := g.Step(ctx, robot.Command{Grip: math.NaN()}); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("a command that is no number: %v", err)
	}
	if err := g.Acknowledge("ada"); err != nil {
		t.Fatal(err)
	}
	place(0.015)
	if _, err := g.Step(ctx, robot.Command{}); !errors.Is(err, robot.ErrStopped) || g.Fault().Cause != guard.OffLimits {
		t.Errorf("15 mrad beyond: %v, want a fault", err)
	}
}

func TestEndsAreNoFaults(t *testing.T) {
	g, _ := begin(t, func(_ *guard.Config, a *arm) {
		a.next = func(*arm) (robot.Observation, error) { return robot.Observation{}, io.EOF }
	})
	if _, err := g.Step(context.Background(), robot.Command{}); !errors.Is(err, io.EOF) || g.Fault() != nil {
		t.Errorf("end of a recording: %v, fault %v", err, g.Fault())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g, _ = begin(t, func(_ *guard.Config, a *arm) {
		a.next = func(*arm) (robot.Observation, error) { return robot.Observation{}, fmt.Errorf("sim: %w", ctx.Err()) }
	})
	if _, err := g.Step(ctx, robot.Command{}); !errors.Is(err, context.Canceled) || g.Fault() != nil {
		t.Errorf("cancelled: %v, fault %v", err, g.Fault())
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Step(ctx, robot.Command{}); err == nil {
		t.Error("Step after Close: no error")
	}
}

func TestPanics(t *testing.T) {
	ctx := context.Background()
	t.Run("of the backend hold the arm and go on", func(t *testing.T) {
		g, a := begin(t, func(_ *guard.Config, a *arm) {
			a.next = func(a *arm) (robot.Observation, error) { a.next = nil; panic("index out of range") }
		})
		func() {
			defer func() {
				if r := recover(); r != "index out of range" {
					t.Errorf("panic %v went on, want the backend's", r)
				}
			}()
			_, _ = g.Step(ctx, robot.Command{Delta: [6]float64{0.001}})
		}()
		if a.commands != 2 || a.moves != 1 {
			t.Errorf("%d commands, %d of which move; want the arm held after its first", a.commands, a.moves)
		}
		if f := g.Fault(); f == nil || f.Cause != guard.Panicked {
			t.Errorf("fault %v, want a panic", f)
		}
	})
	t.Run("of the loop hold the arm and go on", func(t *testing.T) {
		g, a := begin(t, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not go on")
				}
			}()
			defer g.HoldOnPanic(ctx)
			var policy []float64
			_ = policy[a.commands]
		}()
		if f := g.Fault(); f == nil || f.Cause != guard.Panicked || !strings.Contains(f.Detail, "out of range") {
			t.Errorf("fault %v, want a panic", f)
		}
		if a.commands != 1 || a.moves != 0 {
			t.Errorf("%d commands, %d moves, want one hold", a.commands, a.moves)
		}
	})
}

// targeted is an arm that says where its target is.
type targeted struct {
	*arm
	target func() robot.Pose
}

func (t *targeted) Target() robot.Pose { return t.target() }

// The guard calls these with its lock held, which whoever holds the arm afterwards needs, too.
func TestPanicsBesideTheBackendHoldTheArmAndGoOn(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		change func(*guard.Config, *targeted)
		drive  func(*guard.Guard) error
	}{
		"the target": {func(_ *guard.Config, a *targeted) { a.target = func() robot.Pose { panic("beside") } }, nil},
		"the clock":  {func(c *guard.Config, _ *targeted) { c.Now = func() time.Time { panic("beside") } }, nil},
		"who is told": {func(c *guard.Config, _ *targeted) { c.Latched = func(*guard.Fault) { panic("beside") } },
			func(g *guard.Guard) error { _, err := g.Step(ctx, robot.Command{Grip: math.NaN()}); return err }},
		"who is told of a stop": {func(c *guard.Config, _ *targeted) { c.Latched = func(*guard.Fault) { panic("beside") } },
			func(g *guard.Guard) error { return g.Stop(ctx, "smoke") }},
	} {
		t.Run(name, func(t *testing.T) {
			_, a := begin(t, nil)
			b := &targeted{arm: a, target: func() robot.Pose { return a.st.EE }}
			cfg := a.cfg
			now := guard.Config{Now: func() time.Time { return a.st.Stamp }, Latched: func(*guard.Fault) {}}
			cfg.Now = func() time.Time { return now.Now() }
			cfg.Latched = func(f *guard.Fault) { now.Latched(f) }
			g, err := guard.New(b, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			c.change(&now, b)
			drive := c.drive
			if drive == nil {
				drive = func(g *guard.Guard) error { _, err := g.Step(ctx, nudge); return err }
			}
			done := make(chan any)
			go func() {
				defer func() { done <- recover() }()
				defer g.HoldOnPanic(ctx)
				_ = drive(g)
			}()
			select {
			case r := <-done:
				if r != "beside" {
					t.Errorf("panic %v went on, want the one beside the backend", r)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the guard hangs")
			}
			if a.commands == 0 || a.moves != 0 {
				t.Errorf("%d commands, %d of which move; want a hold", a.commands, a.moves)
			}
			if g.Fault() == nil {
				t.Error("no fault is latched")
			}
		})
	}
}

func TestStop(t *testing.T) {
	ctx := context.Background()
	g, a := begin(t, nil)
	if err := g.Stop(ctx, "hand in the workspace"); err != nil {
		t.Fatal(err)
	}
	_, err := g.Step(ctx, robot.Command{Delta: [6]float64{0.001}})
	if !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), "hand in the workspace") || a.moves != 0 {
		t.Errorf("after Stop: %v, %d moves", err, a.moves)
	}
}

func TestStepDoesNotAllocate(t *testing.T) {
	base := context.Background()
	g, a := begin(t, nil)
	human := guard.WithSource(base, robot.ByHuman)
	sign := 1.0
	for name, c := range map[string]robot.Command{
		"passed":  {Delta: [6]float64{0.004, 0.003, 0, 0, 0, 0.01}, Grip: 1},
		"altered": {Delta: [6]float64{1, 1, 0.1, 0.5, 0, 0.01}, Grip: 2},
	} {
		if n := testing.AllocsPerRun(500, func() {
			sign = -sign
			for i := range c.Delta {
				c.Delta[i] *= sign
			}
			if _, err := g.Step(human, c); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a step, want 0", name, n)
		}
	}
	if a.wrong != "" {
		t.Error(a.wrong)
	}
}

// still is the cheapest backend, so that the benchmark shows the guard's cost.
type still struct{ st robot.State }

func (s *still) Reset(context.Context) (robot.Observation, error) {
	q := franka.Ready()
	s.st = robot.State{Stamp: time.Unix(1, 0), Q: q, EE: franka.Forward(&q)}
	return robot.Observation{State: s.st}, nil
}

func (s *still) Step(_ context.Context, c robot.Command) (robot.Observation, error) {
	s.st.Stamp = s.st.Stamp.Add(50 * time.Millisecond)
	return robot.Observation{State: s.st, Applied: c}, nil
}

func (s *still) Close() error { return nil }

func BenchmarkStep(b *testing.B) {
	ctx := context.Background()
	g, err := guard.New(&still{}, guard.Default(franka.Panda()))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := g.Reset(ctx); err != nil {
		b.Fatal(err)
	}
	c := robot.Command{Delta: [6]float64{0.004, 0.003, 0, 0, 0, 0.01}, Grip: 1}
	b.ReportAllocs()
	for b.Loop() {
		for i := range c.Delta {
			c.Delta[i] = -c.Delta[i]
		}
		if _, err := g.Step(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, l := range []franka.Limits{franka.Panda(), franka.FR3()} {
		cfg := guard.Default(l)
		if err := cfg.Validate(); err != nil {
			t.Errorf("default of the %s: %v", l.Name, err)
		}
	}
	cfg := guard.Config{Box: guard.Box{Max: [3]float64{1, math.NaN(), 1}}, Force: -1, FrameAge: -1}
	_, err := guard.New(&still{}, cfg)
	if err == nil {
		t.Fatal("a guard without limits")
	}
	for _, want := range []string{"tick", "workspace: y", "speed", "turn", "acc", "lead", "opening", "force", "frame age", "lease"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	cfg = guard.Default(franka.FR3())
	cfg.Speed, cfg.TurnAcc, cfg.Arm.SoftMax[3] = 5, 100, 0
	err = cfg.Validate()
	if err == nil {
		t.Fatal("limits beyond the arm's own")
	}
	for _, want := range []string{"speed 5 m/s exceeds the 3 of the fr3", "turn acc 100", "joint 4"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
