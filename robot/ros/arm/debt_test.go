package arm

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/master"
	frankamsg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/serl"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
)

// The way to the arm is broken for a while, and what was on it arrives then: the arm is held once
// its state is, unless somebody commands it before, and not by states that waited as well.
func TestAHoldIsMadeUpForOnceTheStateIsBack(t *testing.T) {
	t.Parallel()
	m, err := master.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	node := func(name string) *ros.Node {
		n, err := ros.Open(t.Context(), ros.Config{Master: m.URI(), Name: name, Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	driver, ours := node("driver"), node("rapport")
	states, err := ros.Advertise[frankamsg.FrankaState](driver, StateTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan float64, 10)
	if _, err := ros.Subscribe(driver, PoseTopic, func(m *std.PoseStamped) { heard <- m.Pose.Position.X }); err != nil {
		t.Fatal(err)
	}
	b := &Backend{n: ours, cfg: Default(), log: slog.New(slog.DiscardHandler)}
	own := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.state, err = ros.Watch[frankamsg.FrankaState](ours, StateTopic)
	own(err)
	b.jac, err = ros.Watch[serl.ZeroJacobian](ours, JacobianTopic)
	own(err)
	b.pose, err = ros.Advertise[std.PoseStamped](ours, PoseTopic, false)
	own(err)
	b.topics = append(b.topics, b.state, b.jac, b.pose)
	own(b.pose.WaitSubscriber(t.Context()))
	own(states.WaitSubscriber(t.Context()))
	at := func(x float64, old time.Duration) {
		t.Helper()
		s := &frankamsg.FrankaState{RobotMode: frankamsg.Move}
		for i := range 4 {
			s.OTEE[5*i], s.EETK[5*i] = 1, 1
		}
		s.OTEE[12] = x
		s.Header.Stamp = driver.Now().Add(-old)
		_, seq, _ := b.state.Get()
		states.Publish(s)
		if _, _, _, err := b.state.Wait(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	to := func(x float64) robot.Pose { return robot.Pose{P: [3]float64{x}, Q: [4]float64{1}} }
	next := func() (x float64) {
		select {
		case x = <-heard:
		case <-time.After(400 * time.Millisecond):
		}
		return x
	}
	lost := func() {
		t.Helper()
		at(0.30, time.Minute)
		own(b.steer(t.Context(), to(0.35)))
		if x := next(); x != 0.35 {
			t.Fatalf("told to go to %g, want 0.35", x)
		}
		if err := b.fail(robot.ErrStale); !errors.Is(err, robot.ErrStale) {
			t.Fatal(err)
		}
	}
	lost()
	at(0.31, time.Minute)
	if x := next(); x != 0 {
		t.Errorf("held at %g by a state of before", x)
	}
	at(0.32, 0)
	if x := next(); x != 0.32 {
		t.Errorf("the target is %g after the state is back, want 0.32, where the arm is", x)
	}
	at(0.33, 0)
	if x := next(); x != 0 {
		t.Errorf("held twice: at %g", x)
	}
	time.Sleep(b.cfg.Stale)
	lost()
	own(b.steer(t.Context(), to(0.36)))
	if x := next(); x != 0.36 {
		t.Errorf("told to go to %g, want 0.36", x)
	}
	at(0.34, 0)
	if x := next(); x != 0 {
		t.Errorf("held at %g, though somebody commanded the arm since", x)
	}
	time.Sleep(b.cfg.Stale)
	lost()
	own(b.Close()) // while one is owed
}
