package wire

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
	"github.com/rapport-rl/rapport/sim"
)

// What a policy does to the simulated physics is its own affair: the start has failed, and the next begins.
func TestUnstablePhysicsCutsAnEpisodeOff(t *testing.T) {
	c := tiny(t)
	a, err := newArm(c, evaluation)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if a.guard, err = guard.New(&flaky{Backend: a.world, at: 1, err: fmt.Errorf("step 1: %w", sim.ErrUnstable)}, guardConfig(c)); err != nil {
		t.Fatal(err)
	}
	try := func() error {
		if _, err := a.guard.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := a.guard.Step(t.Context(), robot.Command{})
		return err
	}
	var f *guard.Fault
	if err = try(); !errors.As(err, &f) || f.Cause != guard.Failed {
		t.Fatalf("got %v, want a fault of the backend", err)
	}
	if cut, e := cutOff(t.Context(), a, err); !cut || e != nil || a.guard.Fault() != nil {
		t.Errorf("cut off %v, %v; fault %v", cut, e, a.guard.Fault())
	}
	if err := try(); err != nil {
		t.Errorf("the next start: %v", err)
	}
	if drivenTo(&guard.Fault{Cause: guard.Failed}) {
		t.Error("another failure of the backend counts as what a policy did")
	}
}

// An evaluation goes on after an episode in which the policy made the guard hold the arm; in
// a session a person frees it. What else ends an episode is no affair of the policy.
func TestEvaluationGoesOnAfterAFault(t *testing.T) {
	s, err := Create(t.Context(), tiny(t), byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := newArm(s.cfg, evaluation)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	fault := func() error {
		t.Helper()
		if _, err := a.guard.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := a.guard.Step(t.Context(), robot.Command{Delta: [6]float64{math.NaN()}})
		var f *guard.Fault
		if !errors.As(err, &f) || a.guard.Fault() == nil {
			t.Fatalf("no fault: %v", err)
		}
		return err
	}
	if cut, e := cutOff(t.Context(), a, fault()); !cut || e != nil || a.guard.Fault() != nil {
		t.Errorf("cut off %v, %v; fault %v", cut, e, a.guard.Fault())
	}
	other := errors.New("no camera")
	if cut, e := cutOff(t.Context(), a, other); cut || e != other {
		t.Errorf("of another error: cut off %v, %v", cut, e)
	}
	if cut, e := cutOff(t.Context(), a, nil); cut || e != nil {
		t.Errorf("of none: cut off %v, %v", cut, e)
	}

	// A rollout that is cut off is made again, but not for ever.
	for _, tt := range []struct{ cut, want uint64 }{{0, 1}, {3, 4}, {cutTries - 1, cutTries}, {cutTries, 0}} {
		made := uint64(0)
		ep, err := uncut(t.Context(), a, func(try uint64) (policy.Episode, error) {
			if try != made || a.guard.Fault() != nil {
				t.Errorf("try %d is the %d-th; fault %v", try, made, a.guard.Fault())
			}
			if made++; made <= tt.cut {
				return policy.Episode{ID: "half"}, fault()
			}
			return policy.Episode{ID: "whole"}, nil
		})
		var f *guard.Fault
		if tt.want > 0 && (err != nil || ep.ID != "whole" || made != tt.want) || tt.want == 0 && (!errors.As(err, &f) || ep.ID != "" || made != cutTries) {
			t.Errorf("cut off %d times: %q after %d tries, %v", tt.cut, ep.ID, made, err)
		}
		if a.guard.Fault() != nil {
			t.Errorf("cut off %d times: the arm is still held", tt.cut)
		}
	}
	if _, err := uncut(t.Context(), a, func(uint64) (policy.Episode, error) { return policy.Episode{}, other }); err != other {
		t.Errorf("of another error: %v", err)
	}

	detach, err := s.desk.attach(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	err = fault()
	acknowledged := make(chan error, 1)
	go func() {
		for {
			fs, err := s.desk.Faults(t.Context())
			if err == nil && len(fs) > 0 && fs[0].Open {
				if a.guard.Fault() == nil {
					err = errors.New("the arm was freed before anybody had acknowledged the fault")
				} else {
					_, err = s.desk.Acknowledge(t.Context(), bus.Acknowledge{Fault: fs[0].ID, Who: "anna"})
				}
				acknowledged <- err
				return
			}
			if err != nil {
				acknowledged <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	ctx := withDesk(t.Context(), s.desk)
	if cut, e := cutOff(ctx, a, err); !cut || e != nil || a.guard.Fault() != nil {
		t.Errorf("in a session: cut off %v, %v; fault %v", cut, e, a.guard.Fault())
	}
	if err := <-acknowledged; err != nil {
		t.Error(err)
	}

	// A stop is no affair of the policy: its episode begins anew.
	if err := a.guard.Stop(ctx, "by anna"); err != nil {
		t.Fatal(err)
	}
	_, err = a.guard.Step(ctx, robot.Command{})
	if cut, e := cutOff(ctx, a, err); cut || !errors.Is(e, robot.ErrStopped) || a.guard.Fault() == nil {
		t.Errorf("stopped: cut off %v, %v", cut, e)
	}
}
