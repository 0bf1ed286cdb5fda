package arm_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/porttest"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/reconfigure"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

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

// short is an age that a lost sensor soon has.
func short(c *arm.Config) { c.Stale, c.Skew = 700*time.Millisecond, 700*time.Millisecond }

// An operator who stops the arm on its way to the start of an episode reaches in.
func TestAStopOnTheWayToTheStartStopsTheArm(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	b := l.open(func(c *arm.Config) { c.Cameras, c.Speed = nil, 0.05 })
	g, err := newGuard(b)
	if err != nil {
		t.Fatal(err)
	}
	l.reset(g)
	for range 24 {
		l.step(g, robot.Command{Delta: [6]float64{0: 0.006, 2: 0.004}, Grip: 1})
	}
	_, out, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	away := func(from robot.Pose) float64 {
		t.Helper()
		_, at, err := l.sim.Target()
		if err != nil {
			t.Fatal(err)
		}
		d := franka.Diff(from, at)
		return math.Hypot(math.Hypot(d[0], d[1]), d[2])
	}
	done := make(chan error)
	go func() { _, err := g.Reset(t.Context()); done <- err }()
	for began := time.Now(); away(out) < 0.02; { // it is on its way
		if time.Since(began) > 10*time.Second {
			t.Fatal("the arm does not go to its start")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := g.Stop(t.Context(), "somebody reaches in"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, robot.ErrStopped) {
		t.Errorf("the reset ended with %v, want the stop", err)
	}
	time.Sleep(300 * time.Millisecond) // the controller's filter
	_, from, err := l.sim.Target()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if way := away(from); way > 0.003 {
		t.Errorf("the arm went on for %.0f mm after the stop", 1000*way)
	}
	if left := away(tabletop.Reach.Start()); left < 0.03 {
		t.Errorf("the arm is %.0f mm from its start, to which it was on the way", 1000*left)
	}
	if err := g.Acknowledge("anna"); err != nil {
		t.Fatal(err)
	}
	l.reset(g)
}

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

// The master's machine is off: it takes a second or two for each of thirty topics to find out.
func TestCloseWaitsForAMasterThatIsGoneOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None })
	way, off := porttest.Leaving(t, l.uri)
	far := &lab{t: t, uri: way, sim: l.sim}
	b := far.open(func(c *arm.Config) { c.Cameras = nil })
	off()
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// The whole arm goes away, as when its computer is restarted, while its fingers close, and
// comes back.
func TestAStaleStateIsToldWithinTheLimitAndTheArmMayComeBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(short)
	l.reset(b)
	l.step(b, robot.Command{Grip: 1})
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

// Who starts a driver again does not tell it the load of the hand: we do, before anything moves.
func TestADriverThatWasStartedAgainIsToldEverythingAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	b := l.open(func(c *arm.Config) {
		short(c)
		c.Patience = 10 * time.Second // as long as a driver takes to start
		c.Load.Mass, c.Stiffness.Trans = 0.3, 1500
	})
	states, err := ros.Watch[frankamsg.FrankaState](l.node("watcher"), arm.StateTopic)
	if err != nil {
		t.Fatal(err)
	}
	defer states.Close()
	load := func() float64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, seq, _ := states.Get()
		m, _, _, err := states.Wait(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		return m.MLoad
	}
	l.reset(b)
	l.step(b, robot.Command{})
	if got := load(); got != 0.3 {
		t.Fatalf("the load is %g kg before, want 0.3", got)
	}
	if err := l.sim.Close(); err != nil {
		t.Fatal(err)
	}
	l.start(nil)
	if got := load(); got != 0 {
		t.Fatalf("the load is %g kg after the start, want 0, which nobody told", got)
	}
	// In mid-episode the arm is held, however patient the session is.
	for err = nil; err == nil; {
		_, err = b.Step(t.Context(), robot.Command{Delta: [6]float64{2: 0.001}})
	}
	if !errors.Is(err, robot.ErrStale) || !strings.Contains(err.Error(), "was started again") {
		t.Errorf("error %v, want that the driver was started again", err)
	}
	if _, err := b.Step(t.Context(), robot.Command{}); err == nil {
		t.Error("a Step goes on without a Reset")
	}
	l.back(func() error { _, err := b.Reset(t.Context()); return err })
	if got := load(); got != 0.3 {
		t.Errorf("the load is %g kg after a Reset, want 0.3", got)
	}
	res, err := ros.Call[reconfigure.ReconfigureReq, reconfigure.ReconfigureRes](t.Context(), l.node("asker"), arm.ComplianceNode+"/set_parameters", &reconfigure.ReconfigureReq{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(res.Config.Doubles, reconfigure.DoubleParameter{Name: "translational_stiffness", Value: 1500}) {
		t.Errorf("the stiffness after a Reset is among %v, want 1500", res.Config.Doubles)
	}
	l.step(b, robot.Command{})
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
