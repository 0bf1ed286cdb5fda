package rosarm

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/robot/ros"
	"github.com/rapport-rl/rapport/robot/ros/arm"
	"github.com/rapport-rl/rapport/robot/ros/master"
	msg "github.com/rapport-rl/rapport/robot/ros/msgs/franka"
	"github.com/rapport-rl/rapport/robot/ros/msgs/std"
	"github.com/rapport-rl/rapport/sim"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

// running is a simulated arm without cameras, and a node beside it.
func running(t *testing.T) (*Sim, *ros.Node) {
	t.Helper()
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
	c := Default()
	c.World = tabletop.Config{Task: tabletop.Reach, Render: tabletop.None, Timestep: 0.0025}
	c.States, c.Jacobian = 60, 60
	s, err := Start(t.Context(), node("franka"), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, node("test")
}

// One step that the solver does not bear costs the episode, not the arm.
func TestUnstablePhysicsStopsTheArmAndNotTheSimulation(t *testing.T) {
	s, n := running(t)
	states, err := ros.Watch[msg.FrankaState](n, arm.StateTopic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var seq uint64
	await := func(what string, is func(*msg.FrankaState) bool) {
		t.Helper()
		for {
			m, to, _, err := states.Wait(ctx, seq)
			if err != nil {
				t.Fatalf("no state that %s: %v", what, err)
			}
			if seq = to; is(m) {
				return
			}
		}
	}
	await("moves", func(m *msg.FrankaState) bool { return m.RobotMode == msg.Move })
	if err := s.do(func() {
		s.drive = func(int, float64, tabletop.Law) error {
			s.drive = s.w.Drive
			return fmt.Errorf("drive: %w", sim.ErrUnstable)
		}
	}); err != nil {
		t.Fatal(err)
	}
	await("tells of the instability", func(m *msg.FrankaState) bool {
		return m.RobotMode == msg.Reflex && slices.Contains(m.CurrentErrors.Names(), "instability_detected")
	})
	res, err := ros.Call[std.TriggerReq, std.TriggerRes](ctx, n, ResetService, &std.TriggerReq{})
	if err != nil || !res.Success {
		t.Fatalf("a reset after it: %+v, %v", res, err)
	}
	if err := s.do(s.recover); err != nil {
		t.Fatal(err)
	}
	await("moves again", func(m *msg.FrankaState) bool { return m.RobotMode == msg.Move })
	select {
	case <-s.Done():
		t.Error("the simulation ended")
	default:
	}
}

// The wall clock is set, or the machine sleeps, while the monotonic one tells nothing of it.
func TestStampsFollowAWallClockThatIsSet(t *testing.T) {
	s, n := running(t)
	states, err := ros.Watch[msg.FrankaState](n, arm.StateTopic)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, set := range []time.Duration{time.Hour, -time.Minute} {
		if err := s.do(func() { s.wall = s.wall.Add(set) }); err != nil {
			t.Fatal(err)
		}
		_, seq, _ := states.Get()
		m, at := (*msg.FrankaState)(nil), time.Time{}
		for range 10 { // the first may have been under way
			if m, seq, at, err = states.Wait(ctx, seq); err != nil {
				t.Fatal(err)
			}
		}
		if off := at.Round(0).Sub(m.Header.Stamp); off.Abs() > time.Second {
			t.Errorf("the wall clock was set by %v, and a state's stamp is %v off", -set, off)
		}
	}
}
