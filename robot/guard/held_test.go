package guard_test

import (
	"context"
	"errors"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// slow is an arm whose Step lets in somebody else before it is over.
type slow struct {
	*arm
	during func()
}

func (s *slow) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if f := s.during; f != nil {
		s.during = nil
		f()
	}
	return s.arm.Step(ctx, c)
}

func TestHeldTellsWhenTheArmWasTold(t *testing.T) {
	ctx := context.Background()
	_, a := begin(t, nil)
	s := &slow{arm: a}
	var latched []*guard.Fault
	cfg := a.cfg
	cfg.Latched = func(f *guard.Fault) { latched = append(latched, f) }
	g, err := guard.New(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !isClosed(g.Held()) {
		t.Error("without a fault there is nothing to wait for")
	}
	if _, err := g.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	// A Step is in flight when the stop comes: the arm moves until its end.
	s.during = func() {
		if err := g.Stop(ctx, "smoke"); err != nil {
			t.Error(err)
		}
		if isClosed(g.Held()) {
			t.Error("held while a command was in flight")
		}
	}
	if _, err := g.Step(ctx, nudge); !errors.Is(err, robot.ErrStopped) {
		t.Fatalf("got %v, want the stop", err)
	}
	if isClosed(g.Held()) {
		t.Error("held, but the command that was in flight was a motion")
	}
	held := g.Held()
	if _, err := g.Step(ctx, nudge); !errors.Is(err, robot.ErrStopped) || !isClosed(held) {
		t.Errorf("%v, held %v after the next command", err, isClosed(held))
	}
	if len(latched) != 1 || latched[0] != g.Fault() {
		t.Errorf("%d faults told, want the one", len(latched))
	}
	if err := g.Acknowledge("anna"); err != nil {
		t.Fatal(err)
	}
	// Nothing in flight: Stop holds by a command of its own.
	if err := g.Stop(ctx, "again"); err != nil || !isClosed(g.Held()) {
		t.Errorf("%v, held %v after Stop", err, isClosed(g.Held()))
	}
	if err := g.Acknowledge("anna"); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	// Nothing was commanded since: there is nobody to be told.
	if err := g.Stop(ctx, "once more"); err != nil || !isClosed(g.Held()) {
		t.Errorf("%v, held %v with no target", err, isClosed(g.Held()))
	}
}

func TestHolderIsHeldAtOnce(t *testing.T) {
	ctx := context.Background()
	_, a := begin(t, nil)
	h := &holder{arm: a}
	g, err := guard.New(h, a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(ctx, "smoke"); err != nil || !isClosed(g.Held()) || h.holds.Load() != 1 {
		t.Errorf("%v, held %v by %d holds", err, isClosed(g.Held()), h.holds.Load())
	}
}
