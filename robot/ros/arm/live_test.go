package arm_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/robottest"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/master"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a simulated arm on a master of its own.
type lab struct {
	t   *testing.T
	uri string
	sim *rosarm.Sim
}

func newLab(t *testing.T, change func(*rosarm.Config)) *lab {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	l := &lab{t: t, uri: m.URI()}
	l.start(change)
	return l
}

func (l *lab) node(name string) *ros.Node {
	l.t.Helper()
	n, err := ros.Open(l.t.Context(), ros.Config{Master: l.uri, Name: name, Host: "127.0.0.1"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = n.Close() })
	return n
}

// start begins a simulation that is cheap enough to keep real time under the race
// detector on a busy machine.
func (l *lab) start(change func(*rosarm.Config)) {
	l.t.Helper()
	c := rosarm.Default()
	c.World = tabletop.Config{Task: tabletop.Reach, Render: tabletop.Raster, Seed: 3, Timestep: 0.0025, Cameras: []tabletop.Camera{{Name: "front", W: 32, H: 24}, {Name: "wrist", W: 32, H: 24}}}
	c.States, c.Jacobian = 60, 60
	if change != nil {
		change(&c)
	}
	s, err := rosarm.Start(l.t.Context(), l.node("franka"), c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			l.t.Errorf("the simulation: %v", err)
		}
	})
	l.sim = s
}

// config is a backend for the lab: the front camera raw, the wrist's as JPEG.
func config() arm.Config {
	c := arm.Default()
	c.Start, c.Lift = tabletop.Reach.Start(), 0
	c.Stale, c.Skew, c.Wait = 2*time.Second, time.Second, 20*time.Second // a busy machine's
	c.Again = rosarm.ResetService
	c.Decode, c.Resize = vision.Decode, vision.Resize
	c.Cameras = []arm.Camera{
		{Name: "front", Topic: rosarm.ImageTopic("front"), Info: rosarm.InfoTopic("front")},
		{Name: "wrist", Topic: rosarm.CompressedTopic("wrist"), Compressed: true, W: 16, H: 12},
	}
	return c
}

func (l *lab) open(change func(*arm.Config)) *arm.Backend {
	l.t.Helper()
	c := config()
	if change != nil {
		change(&c)
	}
	b, err := arm.Open(l.t.Context(), l.node("rapport"), c)
	for i := 0; i < 5 && err != nil && strings.Contains(err.Error(), "publish_rate"); i++ {
		// A busy machine may hold up the simulation for that long.
		b, err = arm.Open(l.t.Context(), l.node("rapport"), c)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			l.t.Errorf("Close: %v", err)
		}
	})
	return b
}

// settled waits until the arm is where its controller is told to bring it, and
// returns how far that is, m. The controller's filter lets it run on, and come back.
func (l *lab) settled() (off float64) {
	l.t.Helper()
	for range 50 {
		target, at, err := l.sim.Target()
		if err != nil {
			l.t.Fatal(err)
		}
		d := franka.Diff(at, target)
		if off = math.Hypot(math.Hypot(d[0], d[1]), d[2]); off < 0.003 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return off
}

// back tries again while a sensor is stale, for 20 s.
func (l *lab) back(try func() error) {
	l.t.Helper()
	began := time.Now()
	for err := try(); err != nil; err = try() {
		if !errors.Is(err, robot.ErrStale) || time.Since(began) > 20*time.Second {
			l.t.Fatalf("not back after %v: %v", time.Since(began), err)
		}
	}
}

func (l *lab) reset(b robot.Backend) robot.Observation {
	l.t.Helper()
	o, err := b.Reset(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return o
}

func (l *lab) step(b robot.Backend, c robot.Command) robot.Observation {
	l.t.Helper()
	o, err := b.Step(l.t.Context(), c)
	if err != nil {
		l.t.Fatal(err)
	}
	return o
}

func newGuard(b robot.Backend) (*guard.Guard, error) {
	c := guard.Default(franka.Panda())
	c.Tick, c.Lease.Term, c.FrameAge = 50*time.Millisecond, time.Second, 0 // the backend looks itself
	return guard.New(b, c)
}

// paced tells the suite of ticks that were missed.
type paced struct {
	*guard.Guard
	b *arm.Backend
}

func (p paced) Missed() uint64        { return p.b.Stats().Missed }
func (p paced) Period() time.Duration { return 50 * time.Millisecond }

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

// Whoever commands may hang at any moment: the arm has to stop soon all the same.
func TestALostCommanderLeavesTheArmHolding(t *testing.T) {
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	c := guard.Default(franka.Panda())
	c.Lease.Term = 100 * time.Millisecond
	c.Now = l.node("clock").Now
	g, err := guard.New(b, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tick := time.NewTicker(c.Lease.Term / 10)
	defer tick.Stop()
	watched := make(chan struct{})
	go func() { g.Watch(ctx, tick.C); close(watched) }()
	defer func() { cancel(); <-watched }()
	var best time.Duration
	for try := 0; try < 5 && (try == 0 || best > c.Lease.Term+100*time.Millisecond); try++ { // another process may be in the way
		l.reset(g)
		for range 15 { // up to 0.1 m/s
			l.step(g, robot.Command{Delta: [6]float64{1: 0.005}})
		}
		// From here on nothing comes.
		lost := time.Now()
		held, slow := l.untilHeld(lost)
		t.Logf("the measured pose became the target %v after the last step returned, the lease being %v; the arm was below 10 mm/s %v later", held, c.Lease.Term, slow)
		if try == 0 || held < best {
			best = held
		}
		if off := l.settled(); off > 0.003 {
			t.Errorf("the arm is %.1f mm from where it was told to hold", 1000*off)
		}
		target, _, err := l.sim.Target()
		if err != nil {
			t.Fatal(err)
		}
		// The next command goes on from there, and says so.
		o := l.step(g, robot.Command{})
		if o.By != robot.ByGuard || o.Applied.Delta[1] > -0.001 {
			t.Errorf("the step after the hold applied %v by the %v, want the way back that the hold was", o.Applied, o.By)
		}
		e := franka.Diff(g.Target(), target)
		if math.Hypot(math.Hypot(e[0], e[1]), e[2]) > 1e-9 {
			t.Errorf("the guard takes the target for %v, the arm for %v", g.Target(), target)
		}
	}
	if best > c.Lease.Term+100*time.Millisecond {
		t.Errorf("held %v after the last command, want within 100 ms of the lease's end at %v", best, c.Lease.Term)
	}
}

// untilHeld waits for the target to change, which only a hold does, and for the arm
// to be slow.
func (l *lab) untilHeld(lost time.Time) (held, slow time.Duration) {
	l.t.Helper()
	first, last, err := l.sim.Target()
	if err != nil {
		l.t.Fatal(err)
	}
	when := time.Now()
	for slow == 0 {
		time.Sleep(5 * time.Millisecond)
		target, at, err := l.sim.Target()
		if err != nil {
			l.t.Fatal(err)
		}
		now := time.Now()
		switch v := math.Abs(at.P[1]-last.P[1]) / now.Sub(when).Seconds(); {
		case held == 0 && target != first:
			held = now.Sub(lost)
		case held > 0 && v < 0.01:
			slow = now.Sub(lost) - held
		case now.Sub(lost) > 20*time.Second:
			l.t.Fatal("the arm was not held after the commander was lost")
		}
		last, when = at, now
	}
	return held, slow
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

// short is an age that a lost sensor soon has.
func short(c *arm.Config) { c.Stale, c.Skew = 700*time.Millisecond, 700*time.Millisecond }

func TestACameraIsLostAndComesBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(short)
	l.reset(b)
	l.sim.Blind("wrist", true)
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < 10*time.Second {
		_, err = b.Step(t.Context(), robot.Command{Delta: [6]float64{2: 0.001}})
	}
	if !errors.Is(err, robot.ErrStale) || !strings.Contains(err.Error(), "camera wrist is ") || strings.Contains(err.Error(), "front") {
		t.Fatalf("error %v, want the wrist's camera to be stale, with its age", err)
	}
	t.Logf("told %v after the loss", time.Since(began))
	if off := l.settled(); off > 0.003 {
		t.Errorf("the arm is not held: its target is %.1f mm ahead", 1000*off)
	}
	l.sim.Blind("wrist", false)
	l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })
	if n := b.Stats().Lost; n == 0 {
		t.Error("the loss was not counted")
	}
}

func TestPatienceWaitsForACamera(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(func(c *arm.Config) { short(c); c.Patience = 20 * time.Second })
	l.reset(b)
	l.sim.Blind("front", true)
	time.AfterFunc(1200*time.Millisecond, func() { l.sim.Blind("front", false) })
	began, waited := time.Now(), false
	for time.Since(began) < 20*time.Second && !waited {
		o := l.step(b, robot.Command{Delta: [6]float64{2: 0.001}})
		waited = waited || o.By == robot.ByGuard
	}
	if !waited || b.Stats().Lost == 0 {
		t.Errorf("no step tells of the hold (stats %+v)", b.Stats())
	}
}

func TestAFrozenCameraIsNoticed(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(func(c *arm.Config) { c.Frozen = 400 * time.Millisecond })
	l.reset(b)
	l.sim.Freeze("front", true)
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < 10*time.Second {
		_, err = b.Step(t.Context(), robot.Command{})
	}
	if !errors.Is(err, robot.ErrStale) || !strings.Contains(err.Error(), "camera front is frozen") {
		t.Fatalf("error %v, want a frozen camera", err)
	}
	l.sim.Freeze("front", false)
	l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })
}

// The whole arm goes away, as when its computer is restarted, and comes back.
func TestAStaleStateIsToldWithinTheLimitAndTheArmMayComeBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(short)
	l.reset(b)
	l.step(b, robot.Command{})
	if err := l.sim.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var err error
	for err == nil && time.Since(began) < 10*time.Second {
		_, err = b.Step(t.Context(), robot.Command{})
	}
	if !errors.Is(err, robot.ErrStale) || !strings.Contains(err.Error(), "the arm's state is ") {
		t.Fatalf("error %v, want a stale state", err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("told %v after the loss, the limit is 700 ms", d)
	}
	l.start(nil)
	l.back(func() error { _, err := b.Reset(t.Context()); return err })
	l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })
}

func TestWhatDoesNotHoldIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.Deaf = true })
	for _, tt := range []struct {
		name   string
		change func(*arm.Config)
		want   string
	}{
		{"a load that the arm does not take", func(c *arm.Config) { c.Load.Mass = 0.5 }, "0.5 kg"},
		{"a load that the arm refuses", func(c *arm.Config) { c.Load.Mass = 4.5 }, "refuses 4.5 kg"},
		{"a stiffness that the controller does not take", func(c *arm.Config) { c.Stiffness.Trans = 500 }, "translational_stiffness was set to 500, but is 2000"},
		{"another arm", func(c *arm.Config) { c.ArmID = "fr3" }, "no joint fr3_joint1, but panda_joint1"},
		{"a camera that is not there", func(c *arm.Config) {
			c.Wait = time.Second
			c.Cameras = append(c.Cameras, arm.Camera{Name: "side", Topic: "/side/color/image_raw"})
		}, "camera side (/side/color/image_raw) was never heard"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			tt.change(&c)
			sub := &lab{t: t, uri: l.uri}
			b, err := arm.Open(t.Context(), sub.node("rapport"), c)
			if err == nil {
				_ = b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestSlowStatesAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.States = 15 })
	b, err := arm.Open(t.Context(), l.node("rapport"), config())
	if err == nil {
		_ = b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "publish_rate") {
		t.Errorf("error %v, want the remedy", err)
	}
}

// What comes faster than it is read must not wait in line.
func TestASlowConsumerSeesFreshFrames(t *testing.T) {
	l := newLab(t, nil)
	b := l.open(nil)
	n := l.node("clock")
	l.reset(b)
	var ages []time.Duration
	for range 12 {
		time.Sleep(200 * time.Millisecond) // a policy at 5 Hz
		o := l.step(b, robot.Command{})
		ages = append(ages, n.Now().Sub(o.Frames[0].Stamp))
	}
	// Frames that wait in line get older and older; a busy machine's are late at times.
	late := slices.Sorted(slices.Values(ages[6:]))
	t.Logf("frames are %v (median) and %v (oldest) old", late[3], late[5])
	if late[0] > 150*time.Millisecond {
		t.Errorf("frames are at least %v old, want less than two periods of the camera and what it takes to draw", late[0])
	}
	if st := b.Stats(); st.Missed < 12*3 {
		t.Errorf("%d ticks missed, want those of 200 ms each", st.Missed)
	}
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

// newCamera is a camera of a node of its own, as a driver is: side by side with the
// arm, until it is stopped.
func (l *lab) newCamera(topic string, change func(*std.Image)) (stop func()) {
	l.t.Helper()
	n := l.node("camera")
	p, err := ros.Advertise[std.Image](n, topic, false)
	if err != nil {
		l.t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for i := byte(0); ; i++ {
			m := &std.Image{Height: 2, Width: 2, Encoding: "mono8", Step: 2, Data: []byte{i, 1, 2, 3}}
			m.Header.Stamp = n.Now()
			if change != nil {
				change(m)
			}
			p.Publish(m)
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		if err := n.Close(); err != nil {
			l.t.Error(err)
		}
	}
}

func TestACameraDriverIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	stop := l.newCamera("/side/image_raw", nil)
	b := l.open(func(c *arm.Config) { short(c); c.Cameras = []arm.Camera{{Name: "side", Topic: "/side/image_raw"}} })
	l.reset(b)
	l.step(b, robot.Command{})
	for range 2 {
		stop()
		var err error
		for began := time.Now(); err == nil && time.Since(began) < 10*time.Second; {
			_, err = b.Step(t.Context(), robot.Command{})
		}
		if !errors.Is(err, robot.ErrStale) || !strings.Contains(err.Error(), "camera side is ") {
			t.Fatalf("error %v, want a stale camera", err)
		}
		stop = l.newCamera("/side/image_raw", nil)
		began := time.Now()
		l.back(func() error { _, err := b.Step(t.Context(), robot.Command{}); return err })
		t.Logf("the camera is back %v after its driver", time.Since(began))
	}
	stop()
}

func TestImagesThatCannotBeUsedAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	defer l.newCamera("/good/image_raw", nil)()
	for _, tt := range []struct {
		name   string
		change func(*std.Image)
		stale  bool
		want   string
	}{
		{"from the future", func(m *std.Image) { m.Header.Stamp = m.Header.Stamp.Add(time.Minute) }, false, "the clock of camera side is "},
		{"far from the other's", func(m *std.Image) { m.Header.Stamp = m.Header.Stamp.Add(-1500 * time.Millisecond) }, true, "camera side is behind"},
		{"of a pattern of colours", func(m *std.Image) { m.Encoding = "bayer_rggb8" }, false, `camera side (/side/image_raw): encoding "bayer_rggb8" is unknown`},
		{"with too few bytes", func(m *std.Image) { m.Height = 9 }, false, "4 bytes in rows of 2 for 2x9 pixels"},
		{"that never change", func(m *std.Image) { m.Data[0] = 7 }, true, "camera side is frozen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sub := &lab{t: t, uri: l.uri, sim: l.sim}
			stop := sub.newCamera("/side/image_raw", tt.change)
			defer stop()
			b := sub.open(func(c *arm.Config) {
				c.Cameras = []arm.Camera{{Name: "good", Topic: "/good/image_raw"}, {Name: "side", Topic: "/side/image_raw"}}
				c.Skew, c.Frozen, c.Wait = 200*time.Millisecond, 500*time.Millisecond, 2*time.Second
			})
			_, err := b.Reset(t.Context())
			for i := 0; err == nil && i < 100; i++ {
				_, err = b.Step(t.Context(), robot.Command{})
			}
			if err == nil || errors.Is(err, robot.ErrStale) != tt.stale || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it (stale: %v)", err, tt.want, tt.stale)
			}
		})
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

func TestASurveyTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.States = 15 })
	stop := l.newCamera("/side/image_raw", nil)
	defer stop()
	c := config()
	c.Cameras = append(c.Cameras,
		arm.Camera{Name: "side", Topic: "/side/image_raw", Compressed: true},
		arm.Camera{Name: "top", Topic: "/top/image_raw"})
	ls, err := arm.Survey(t.Context(), l.node("doctor"), c, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"arm state": "raise publish_rate", "camera side": "is a sensor_msgs/Image, not a sensor_msgs/CompressedImage", "camera top": "nobody publishes /top/image_raw"}
	for _, line := range ls {
		w, bad := want[line.What]
		delete(want, line.What)
		if bad != (line.Err != nil) || bad && !strings.Contains(line.Err.Error(), w) {
			t.Errorf("%s: %s, %v; want %q", line.What, line.Detail, line.Err, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
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

func TestARefusedResetIsAnError(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	n := l.node("person")
	s, err := ros.Serve(n, "/person/again", func(*std.TriggerReq) (*std.TriggerRes, error) {
		return &std.TriggerRes{Message: "the box fell off the table"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := l.open(func(c *arm.Config) { c.Cameras, c.Again = nil, "/person/again" })
	if _, err := b.Reset(t.Context()); err == nil || !strings.Contains(err.Error(), "fell off the table") {
		t.Errorf("error %v, want the service's", err)
	}
	if _, err := b.Step(t.Context(), robot.Command{}); err == nil {
		t.Error("a step after a failed reset was taken")
	}
}

func ExampleConfig() {
	c := arm.Default()
	c.Rate = 100
	fmt.Println(c.Validate())
	// Output: arm: rate is 100, want 10 to 50
}
