package arm_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rapport-rl/rapport/perception/vision"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/robot/guard"
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
	t      *testing.T
	uri    string
	sim    *rosarm.Sim
	franka string // the name of its node
}

func newLab(t *testing.T, change func(*rosarm.Config)) *lab {
	t.Helper()
	l := bare(t)
	l.start(change)
	return l
}

// bare is a lab whose arm is yet to start.
func bare(t *testing.T) *lab {
	t.Helper()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return &lab{t: t, uri: m.URI()}
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
	n := l.node("franka")
	s, err := rosarm.Start(l.t.Context(), n, c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			l.t.Errorf("the simulation: %v", err)
		}
	})
	l.sim, l.franka = s, n.Name()
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

func (p paced) Missed() uint64 { return p.b.Stats().Missed }

func (p paced) Period() time.Duration { return 50 * time.Millisecond }

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
