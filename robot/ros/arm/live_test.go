package arm_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/robottest"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func TestBackendBehindTheGuard(t *testing.T) {
	l := newLab(t, nil)
	robottest.TestBackend(t, func(t *testing.T) robot.Backend {
		sub := &lab{t: t, uri: l.uri, sim: l.sim}
		b := sub.open(nil)
		g, err := newGuard(b)
		if err != nil {
			t.Fatal(err)
		}
		return paced{g, b}
	})
}

func TestTheArmGoesWhereItIsTold(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(nil)
	first := l.reset(b)
	for _, camera := range []string{"front", "wrist"} { // the wrist's frames are smaller
		if f, err := b.Full(camera); err != nil || f.W != 32 || f.H != 24 || f.Camera != camera || len(f.Pix) != 3*32*24 {
			t.Errorf("camera %s in full has %dx%d pixels of %q (%v), want 32x24", camera, f.W, f.H, f.Camera, err)
		}
	}
	if _, err := b.Full("side"); err == nil || !strings.Contains(err.Error(), "side") {
		t.Errorf("a camera that is not there gives %v", err)
	}
	var o robot.Observation
	for range 20 { // 1 s
		o = l.step(b, robot.Command{Delta: [6]float64{0: 0.004, 2: 0.002}, Grip: 1})
	}
	want := franka.Move(first.State.EE, &[6]float64{0: 0.08, 2: 0.04})
	off := func() float64 {
		d := franka.Diff(o.State.EE, want)
		return math.Hypot(math.Hypot(d[0], d[1]), d[2])
	}
	for i := 0; i < 100 && (off() > 0.004 || i < 20); i++ { // the controller's filter is 0.2 s behind
		o = l.step(b, robot.Command{Grip: 1})
	}
	if off() > 0.004 {
		t.Errorf("told to go 80 mm forward and 40 up, the arm is %.1f mm away", 1000*off())
	}
	if math.Abs(o.State.Grip-franka.Stroke) > 0.003 {
		t.Errorf("told to open, the fingers are %.3f m apart", o.State.Grip)
	}
	if e := franka.Diff(o.State.EE, franka.Forward(&o.State.Q)); math.Abs(e[0])+math.Abs(e[1])+math.Abs(e[2]) > 1e-6 {
		t.Error("the pose is not that of the joints")
	}
	if f := o.Frames; len(f) != 2 || f[0].W != 32 || f[0].H != 24 || f[1].W != 16 || f[1].H != 12 || f[0].Camera != "front" || f[1].Camera != "wrist" {
		t.Errorf("frames %v", f)
	}
	if d := o.Frames[0].Stamp.Sub(o.Frames[1].Stamp).Abs(); d > time.Second {
		t.Errorf("the frames are %v apart", d)
	}
	st := b.Stats()
	t.Logf("camera to command %+v; age %+v; %d of %d ticks missed", st.Latency, st.Age, st.Missed, st.Ticks)
	if st.Ticks < 40 || st.Latency.P50 <= 0 || st.Latency.P50 > 2*time.Second || st.Age.P50 > st.Latency.P50+5*time.Millisecond {
		t.Errorf("stats %+v", st)
	}
	front := b.Lenses()[0]
	lens, _ := tabletop.LensOf("front")
	if e := franka.Diff(front.Pose, lens.Pose); !front.Known || math.Abs(e[0])+math.Abs(e[1])+math.Abs(e[2]) > 1e-9 || math.Abs(front.K[0]-24*lens.Focal) > 1e-9 || front.W != 32 {
		t.Errorf("the front camera is %+v, want it at %v with the focal length %g", front, lens.Pose, 24*lens.Focal)
	}
	wrist := b.Lenses()[1]
	if !wrist.Known || math.Abs(wrist.Pose.P[0]-o.State.EE.P[0]) > 0.15 || wrist.Pose.P[2] < o.State.EE.P[2] {
		t.Errorf("the wrist's camera is at %v (%v), the tool at %v", wrist.Pose.P, wrist.Known, o.State.EE.P)
	}
}

// The guard's box is the controller's: what the arm has still to go when an episode begins counts.
func TestTheControllersTargetStaysInTheBox(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras, c.Again = nil, "" })
	c := guard.Default(franka.Panda())
	g, err := guard.New(b, c)
	if err != nil {
		t.Fatal(err)
	}
	l.reset(g)
	for range 24 {
		l.step(g, robot.Command{Delta: [6]float64{1: 0.006}})
	}
	l.reset(g)
	target, _, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	if d := franka.Diff(g.Target(), target); math.Hypot(math.Hypot(d[0], d[1]), d[2]) > 1e-9 {
		t.Errorf("the guard takes the target for %v, the controller has %v", g.Target().P, target.P)
	}
	for range 70 { // to the face and beyond
		l.step(g, robot.Command{Delta: [6]float64{1: -0.006}})
	}
	if target, _, err = l.sim.Target(); err != nil || target.P[1] < c.Box.Min[1]-1e-9 || target.P[1] > c.Box.Min[1]+0.01 {
		t.Errorf("the controller has y %.4f, %v; the face of the box is at %.4f", target.P[1], err, c.Box.Min[1])
	}
}

func TestAReflexLatchesUntilAnOperatorRecovers(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(func(c *arm.Config) { // a feather stops it
		c.Collision.Force.Upper = [6]float64{3, 3, 3, 3, 3, 3}
		c.Collision.Force.Lower = c.Collision.Force.Upper
	})
	cfg := guard.Default(franka.Panda())
	cfg.Box.Min[2] = -0.1 // let it reach the table
	g, err := guard.New(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.reset(g)
	for i := 0; ; i++ {
		_, err = g.Step(t.Context(), robot.Command{Delta: [6]float64{2: -0.006}})
		if err != nil {
			break
		}
		if i > 100 {
			t.Fatal("pressed on the table for 5 s without a reflex")
		}
	}
	var f *guard.Fault
	if !errors.As(err, &f) || f.Cause != guard.Reflex || !errors.Is(err, robot.ErrStopped) || !strings.Contains(f.Detail, "cartesian reflex") {
		t.Fatalf("error %v, want a latched reflex that names its cause", err)
	}
	// Time does not clear it, a reset does not, and an acknowledgement alone neither.
	time.Sleep(300 * time.Millisecond)
	if _, err := g.Reset(t.Context()); !errors.Is(err, robot.ErrStopped) {
		t.Errorf("Reset with a latched fault: %v", err)
	}
	if err := g.Acknowledge("Ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(t.Context()); !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), "reflex") {
		t.Errorf("Reset of an arm in reflex: %v", err)
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Acknowledge("Ada"); err != nil {
		t.Fatal(err)
	}
	l.reset(g)
	l.step(g, robot.Command{})
}

func TestAUserStopLatches(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(nil)
	l.reset(b)
	if err := l.sim.UserStop(true); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, err := b.Step(t.Context(), robot.Command{}); err != nil {
			if !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), "user stop") {
				t.Errorf("error %v, want the user stop", err)
			}
			break
		}
		if i > 5 {
			t.Fatal("the user stop went unnoticed")
		}
	}
	if err := b.Recover(t.Context()); err == nil {
		t.Error("recovered with the button pressed")
	}
	if err := l.sim.UserStop(false); err != nil {
		t.Fatal(err)
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	l.reset(b)
}

func TestCloseLeavesTheArmHolding(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(nil)
	l.reset(b)
	for range 10 {
		l.step(b, robot.Command{Delta: [6]float64{1: 0.006}})
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	before, _, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	off := l.settled()
	target, at, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	if before != target || off > 0.003 || at.P[1] > 0.045 {
		t.Errorf("closed in motion with the target at 60 mm, the arm is at %.1f mm, told to be at %.1f and then %.1f", 1000*at.P[1], 1000*before.P[1], 1000*target.P[1])
	}
	for _, f := range []func() error{
		func() error { _, err := b.Step(t.Context(), robot.Command{}); return err },
		func() error { _, err := b.Reset(t.Context()); return err },
		func() error { return b.Hold(t.Context()) },
		func() error { return b.Recover(t.Context()) },
	} {
		if err := f(); !errors.Is(err, arm.ErrClosed) {
			t.Errorf("after Close: %v, want %v", err, arm.ErrClosed)
		}
	}
}

func TestAnFR3IsDrivenToo(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.ArmID, c.World.Render = "fr3", tabletop.None })
	b := l.open(func(c *arm.Config) { c.ArmID, c.Cameras, c.Gripper.Home = "fr3", nil, true })
	began := time.Now()
	l.reset(b)
	if d := time.Since(began); d < 1600*time.Millisecond { // 8 cm at 0.05 m/s
		t.Errorf("the first reset took %v, too short for homing", d)
	}
	o := l.reset(b)
	if o.State.Grip < 0.075 {
		t.Errorf("after the reset the fingers are %.3f m apart, want them open", o.State.Grip)
	}
	o = l.step(b, robot.Command{})
	if len(o.Frames) != 0 || o.State.EE.P[2] < 0.1 {
		t.Errorf("%+v", o)
	}
}

// A second life of the backend in the same process goes on where the first left off.
func TestTheWorldIsPutBackFromItsSeed(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	n := l.node("seeds")
	var balls [3][3]float64
	for i, seed := range []int{7, 8, 7} {
		if err := n.SetParam(rosarm.SeedParam, seed); err != nil {
			t.Fatal(err)
		}
		l.reset(b)
		truth, err := l.sim.Truth()
		if err != nil {
			t.Fatal(err)
		}
		balls[i] = truth.Bodies[0].Pose.P
	}
	if balls[0] != balls[2] || balls[0] == balls[1] {
		t.Errorf("seeds 7, 8 and 7 put the ball at %v", balls)
	}
}

// A turn leaves the world as it is, and lets go of what is held before the arm moves.
func TestATurnLetsGoBeforeItGoes(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	n := l.node("watcher")
	l.reset(b)
	for range 30 { // 1.5 s
		l.step(b, robot.Command{Delta: [6]float64{0: 0.004, 2: 0.002}})
	}
	ball := func() [3]float64 {
		t.Helper()
		truth, err := l.sim.Truth()
		if err != nil {
			t.Fatal(err)
		}
		return truth.Bodies[0].Pose.P
	}
	l.settled()
	lay := ball()
	if err := n.SetParam(rosarm.SeedParam, 99); err != nil { // of whoever would put the world back
		t.Fatal(err)
	}
	_, from, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var gaps []float64 // while the arm was on its way
	closed := false
	sub, err := ros.Subscribe(n, arm.FingerTopic, func(m *std.JointState) {
		target, _, err := l.sim.Target()
		if err != nil || len(m.Position) != 2 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		d, gap := franka.Diff(target, from), m.Position[0]+m.Position[1]
		if math.Hypot(math.Hypot(d[0], d[1]), d[2]) > 0.015 {
			gaps = append(gaps, gap)
		} else if gap < 0.01 {
			closed = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.back(func() error { _, err := b.Turn(t.Context()); return err })
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(gaps) == 0 || !closed {
		t.Fatalf("%d looks at the hand on its way, closed before %v: nothing was tried", len(gaps), closed)
	}
	if least := slices.Min(gaps); least < 0.07 {
		t.Errorf("on its way the fingers were %.3f m apart, want them open before", least)
	}
	if now := ball(); now != lay {
		t.Errorf("the ball was at %v and is at %v", lay, now)
	}
	o := l.step(b, robot.Command{Grip: 1})
	if d := franka.Diff(o.State.EE, config().Start); math.Hypot(math.Hypot(d[0], d[1]), d[2]) > 0.02 {
		t.Errorf("the arm is at %v, want it at its start", o.State.EE.P)
	}
}

// The default stiffness, clip and damping drive the arm at no more than 0.22 m/s, and a reset
// may be told to go at 0.5: its target waits for the arm, which nothing is in the way of.
func TestAResetAtASpeedThatTheArmDoesNotReachArrives(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) {
		c.Cameras, c.Speed, c.Again = nil, 0.5, ""
		c.Start.P = [3]float64{0.35, 0.38, 0.30}
	})
	o := l.reset(b)
	if d := franka.Diff(o.State.EE, robot.Pose{P: [3]float64{0.35, 0.38, 0.30}, Q: o.State.EE.Q}); math.Hypot(math.Hypot(d[0], d[1]), d[2]) > 0.02 {
		t.Errorf("the arm is at %v", o.State.EE.P)
	}
}
