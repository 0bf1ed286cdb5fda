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
