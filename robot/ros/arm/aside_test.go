package arm_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// aside moves the arm as a person does who pushes it out of the way, and says where it is
// then: 18 cm off.
func (l *lab) aside() robot.Pose {
	l.t.Helper()
	n := l.node("person")
	p, err := ros.Advertise[std.PoseStamped](n, arm.PoseTopic, false)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := p.WaitSubscriber(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	target, _, err := l.sim.Target()
	if err != nil {
		l.t.Fatal(err)
	}
	const ticks = 60
	for i := range ticks {
		s := float64(i+1) / ticks
		to := franka.Move(target, &[6]float64{1: 0.15 * s, 2: 0.10 * s})
		p.Publish(&std.PoseStamped{Pose: std.Pose{Position: std.Point{X: to.P[0], Y: to.P[1], Z: to.P[2]},
			Orientation: std.Quaternion{X: to.Q[1], Y: to.Q[2], Z: to.Q[3], W: to.Q[0]}}})
		time.Sleep(33 * time.Millisecond)
	}
	l.settled()
	if err := n.Close(); err != nil {
		l.t.Fatal(err)
	}
	return l.at()
}

// at is where the arm is.
func (l *lab) at() robot.Pose {
	l.t.Helper()
	_, at, err := l.sim.Target()
	if err != nil {
		l.t.Fatal(err)
	}
	return at
}

// stays says that the arm was not moved from where a person left it.
func (l *lab) stays(from robot.Pose) {
	l.t.Helper()
	time.Sleep(300 * time.Millisecond)
	d := franka.Diff(from, l.at())
	if off := math.Hypot(math.Hypot(d[0], d[1]), d[2]); off > 0.005 {
		l.t.Errorf("the arm was moved by %.0f mm from where a person had left it", 1000*off)
	}
}

// guarded is an arm without cameras after a reset, behind its guard.
func guarded(t *testing.T) (*lab, *arm.Backend, *guard.Guard) {
	t.Helper()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	g, err := newGuard(b)
	if err != nil {
		t.Fatal(err)
	}
	l.reset(g)
	return l, b, g
}

// While a person or a slow model is asked, the arm is moved aside.
func TestAnArmThatWasMovedAsideIsNotDrawnBack(t *testing.T) {
	t.Parallel()
	l, _, g := guarded(t)
	left := l.aside()
	for range 3 {
		var f *guard.Fault
		if _, err := g.Step(t.Context(), robot.Command{Grip: 1}); !errors.As(err, &f) || f.Cause != guard.Reflex {
			t.Fatalf("error %v, want a fault that nothing recovers from by itself", err)
		}
	}
	l.stays(left)
}

// Whoever puts the world back pushes the arm aside for it.
func TestAnArmThatWasMovedWhileTheWorldWasPutBackStays(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	n := l.node("service")
	var left robot.Pose
	if _, err := ros.Serve(n, "/person/again", func(*std.TriggerReq) (*std.TriggerRes, error) {
		left = l.aside()
		return &std.TriggerRes{Success: true}, nil
	}); err != nil {
		t.Fatal(err)
	}
	b := l.open(func(c *arm.Config) { c.Cameras, c.Again = nil, "/person/again" })
	if _, err := b.Reset(t.Context()); !errors.Is(err, robot.ErrStopped) {
		t.Errorf("error %v, want that the arm was moved", err)
	}
	l.stays(left)
}

// The commander was held up, the arm held; what comes then is judged where it is held, not
// where it was to go.
func TestACommandAfterAHoldStaysInTheBox(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	o := l.reset(b)
	c := guard.Default(franka.Panda())
	c.Tick, c.Lease.Term, c.FrameAge = 50*time.Millisecond, 250*time.Millisecond, 0
	c.Box.Min[1] = o.State.EE.P[1] - 0.002
	c.Now = l.node("clock").Now
	g, err := guard.New(b, c)
	if err != nil {
		t.Fatal(err)
	}
	ticks, done := make(chan time.Time), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { g.Watch(ctx, ticks); close(done) }()
	defer func() { cancel(); <-done }()
	l.reset(g)
	for range 3 {
		l.step(g, robot.Command{Delta: [6]float64{1: 0.0125}, Grip: 1})
	}
	ahead, now := b.Target(), time.Now()
	ticks <- now
	ticks <- now.Add(time.Second) // the commander was held up
	ticks <- now.Add(time.Second) // the hold is out
	held := b.Target()
	if held == ahead {
		t.Fatal("nothing was held, so nothing was tried")
	}
	if _, err := g.Step(ctx, robot.Command{Delta: [6]float64{1: -0.0125}, Grip: 1}); err != nil {
		t.Fatal(err)
	}
	if y := b.Target().P[1]; y < c.Box.Min[1]-1e-9 || y > held.P[1] {
		t.Errorf("held at y %.4f m, the target is at %.4f, %.1f mm outside of the box", held.P[1], y, 1000*(c.Box.Min[1]-y))
	}
}

// An operator stops what was judged and not carried out yet: the hand does not open and
// drop what it holds.
func TestAHoldBeforeAStepLeavesTheHandAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras = nil })
	l.reset(b)
	o := l.step(b, robot.Command{})
	for i := 0; o.State.Grip > 0.01; i++ {
		if i == 100 {
			t.Fatalf("told to close, the fingers are %.3f m apart", o.State.Grip)
		}
		o = l.step(b, robot.Command{})
	}
	var moves atomic.Int64
	ear, err := ros.SubscribeRaw(l.node("ear"), arm.MoveAction+"/goal", func(ros.Raw) { moves.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	l.step(b, robot.Command{}) // the ear is there by then
	b.Target()
	if err := b.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	o = l.step(b, robot.Command{Delta: [6]float64{1: 0.005}, Grip: 1})
	if o.Applied.Grip != 0 || o.By != robot.ByGuard {
		t.Errorf("applied %v by the %v, want the fingers left as they were, by the guard", o.Applied, o.By)
	}
	for range 20 {
		o = l.step(b, robot.Command{})
		if o.State.Grip > 0.01 {
			t.Fatalf("after the hold the fingers are %.3f m apart", o.State.Grip)
		}
	}
	if n := moves.Load(); n > 0 {
		t.Errorf("%d goals opened the hand after the hold", n)
	}
}

// A wish that waits for the end of a goal is taken back by a stop, and nobody's hold puts it
// again: fingers that grasp do not open once they are closed.
func TestNoWishOfBeforeAStopBeginsAfterIt(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras, c.Gripper.Speed = nil, 0.05 }) // a busy machine's
	g, err := newGuard(b)
	if err != nil {
		t.Fatal(err)
	}
	var goals atomic.Int64
	ear, err := ros.SubscribeRaw(l.node("ear"), arm.MoveAction+"/goal", func(ros.Raw) { goals.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	for _, within := range []bool{true, false} {
		if err := g.Acknowledge("anna"); err != nil {
			t.Fatal(err)
		}
		l.reset(g)
		l.step(g, robot.Command{Grip: 1})
		for range 3 {
			l.step(g, robot.Command{})
		}
		goals.Store(0)
		stop := func() {
			if err := g.Stop(t.Context(), "smoke"); err != nil {
				t.Error(err)
			}
		}
		if within {
			time.AfterFunc(20*time.Millisecond, stop)
		}
		o, err := g.Step(t.Context(), robot.Command{Grip: 0.5}) // the fingers are further apart than that
		if !within {
			stop()
		} else if !errors.Is(err, robot.ErrStopped) || o.Applied.Grip != 0 || o.By != robot.ByGuard {
			t.Errorf("a stop within the tick: %v, applied %v by the %v; want the fingers left as they were, by the guard", err, o.Applied, o.By)
		}
		for began := time.Now(); time.Since(began) < 3*time.Second; {
			if o, err = g.Step(t.Context(), robot.Command{}); !errors.Is(err, robot.ErrStopped) {
				t.Fatalf("error %v after the stop", err)
			}
		}
		if n := goals.Load(); n > 0 || o.State.Grip > 0.01 || o.Applied.Grip != 0 {
			t.Errorf("a stop within the tick %v: %d goals opened the hand, the fingers are %.3f m apart, told to be at %.2f", within, n, o.State.Grip, o.Applied.Grip)
		}
	}
}

// A controller that was started anew is not told where the last one's arm was to go.
func TestAHoldWithStaleStatesTellsNobodyTheOldTarget(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) {
		c.Cameras, c.Stale, c.Skew, c.Wait = nil, 500*time.Millisecond, 500*time.Millisecond, 2*time.Second
	})
	l.reset(b)
	l.step(b, robot.Command{Delta: [6]float64{1: 0.005}, Grip: 1})
	err := l.sim.Close()
	if err != nil {
		t.Fatal(err)
	}
	for range 40 { // until its last state is old
		if _, err = b.Step(t.Context(), robot.Command{Grip: 1}); err != nil {
			break
		}
	}
	if !errors.Is(err, robot.ErrStale) {
		t.Fatalf("error %v of a driver that is gone", err)
	}
	told := make(chan robot.Pose, 100)
	if _, err := ros.Subscribe(l.node("controller"), arm.PoseTopic, func(m *std.PoseStamped) {
		told <- robot.Pose{P: [3]float64{m.Pose.Position.X, m.Pose.Position.Y, m.Pose.Position.Z}}
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if _, err := b.Reset(t.Context()); err == nil {
		t.Error("a driver that is gone was reset")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-told:
		t.Errorf("a controller that was just started is told to go to %.3f", p.P)
	case <-time.After(300 * time.Millisecond):
	}
}

// Ctrl-C comes while the policy thinks.
func TestAnInterruptBetweenStepsHolds(t *testing.T) {
	t.Parallel()
	l, b, g := guarded(t)
	for range 20 {
		l.step(g, robot.Command{Delta: [6]float64{1: 0.01}, Grip: 1})
	}
	before := b.Target()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Step(ctx, robot.Command{Delta: [6]float64{1: 0.01}, Grip: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	if at := b.Target(); at.P[1] >= before.P[1]-0.001 {
		t.Errorf("the target is still at y %.4f m, where the arm was to go: %.4f", at.P[1], before.P[1])
	}
}
