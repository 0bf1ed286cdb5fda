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
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim/rosarm"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// second publishes states of another arm, 0.3 m away, whose stamps are old by so much, until the
// test ends; it returns the node's name.
func (l *lab) second(old time.Duration) string {
	l.t.Helper()
	n := l.node("second")
	states, err := ros.Watch[frankamsg.FrankaState](n, arm.StateTopic)
	if err != nil {
		l.t.Fatal(err)
	}
	first, _, _, err := states.Wait(l.t.Context(), 0)
	if err := errors.Join(err, states.Close()); err != nil {
		l.t.Fatal(err)
	}
	p, err := ros.Advertise[frankamsg.FrankaState](n, arm.StateTopic, false)
	if err != nil {
		l.t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		m := *first
		m.OTEE[13] += 0.3
		for {
			m.Header.Stamp = n.Now().Add(-old)
			p.Publish(&m)
			select {
			case <-quit:
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	l.t.Cleanup(func() { close(quit); <-done })
	if err := p.WaitSubscriber(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	return n.Name()
}

// A bag is played, or a simulated arm was left running, beside the arm: whatever holds the arm
// then does not send it to where that other one is.
func TestASecondArmsStatesMoveNothing(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]time.Duration{"a bag": time.Hour, "a simulated arm": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, b, g := guarded(t)
			for range 5 {
				l.step(g, robot.Command{Delta: [6]float64{1: 0.005}})
			}
			var mu sync.Mutex
			far, poses := 0.0, 0
			ear, err := ros.Subscribe(l.node("ear"), arm.PoseTopic, func(m *std.PoseStamped) {
				_, at, err := l.sim.Target()
				if err != nil {
					return // it ends
				}
				p := m.Pose.Position
				mu.Lock()
				defer mu.Unlock()
				far, poses = max(far, math.Hypot(math.Hypot(p.X-at.P[0], p.Y-at.P[1]), p.Z-at.P[2])), poses+1
			})
			if err != nil {
				t.Fatal(err)
			}
			defer ear.Close()
			second := l.second(old)
			for range 20 {
				if err := b.Hold(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if _, err := b.Step(t.Context(), robot.Command{}); !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), second) || !strings.Contains(err.Error(), l.franka) {
				t.Errorf("error %v of a step, want the names of both who publish", err)
			}
			if err := g.Stop(t.Context(), "smoke"); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Reset(t.Context()); !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), second) {
				t.Errorf("error %v of a reset, want the names of both who publish", err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			if far > 0.02 || poses == 0 {
				t.Errorf("of %d targets one was %.0f mm from the arm, which somebody held", poses, 1000*far)
			}
			mu.Unlock()

			c := config()
			c.Cameras = nil
			again, err := arm.Open(t.Context(), l.node("rapport"), c)
			if err == nil {
				_ = again.Close()
			}
			if err == nil || !strings.Contains(err.Error(), second+" at ") || !strings.Contains(err.Error(), l.franka+" at ") {
				t.Errorf("error %v of a session that begins, want the names of both who publish", err)
			}
			ls, err := arm.Survey(t.Context(), l.node("doctor"), c, 200*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(ls, func(line arm.Line) bool { return line.What == "arm state" })
			if err := ls[i].Err; err == nil || !strings.Contains(err.Error(), second) {
				t.Errorf("a survey says %v of the arm's state, want the names of both who publish", err)
			}
		})
	}
}

// Beside a camera, what announces its topic and is silent is nobody; whose images come in between is
// named.
func TestASecondCameraIsNamed(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *rosarm.Config) { c.World.Render = tabletop.None }) // it announces the front camera's, too
	defer l.newCamera(rosarm.ImageTopic("front"), nil)()
	cameras := func(c *arm.Config) {
		c.Cameras = []arm.Camera{{Name: "front", Topic: rosarm.ImageTopic("front")}}
	}
	b := l.open(cameras)
	l.reset(b)
	l.step(b, robot.Command{})
	defer l.newCamera(rosarm.ImageTopic("front"), nil)()
	var err error
	for began := time.Now(); err == nil && time.Since(began) < 10*time.Second; {
		_, err = b.Step(t.Context(), robot.Command{})
	}
	if !errors.Is(err, robot.ErrStopped) || !strings.Contains(err.Error(), "camera front") || strings.Count(err.Error(), "/camera_") != 2 {
		t.Errorf("error %v, want the names of both cameras", err)
	}
	c := config()
	cameras(&c)
	ls, err := arm.Survey(t.Context(), l.node("doctor"), c, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(ls, func(line arm.Line) bool { return line.What == "camera front" })
	if err := ls[i].Err; err == nil || strings.Count(err.Error(), "/camera_") != 2 {
		t.Errorf("a survey says %v, want the names of both cameras", err)
	}
}
