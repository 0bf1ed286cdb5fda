package guard_test

import (
	"context"
	"errors"
	"fmt"
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

// distant is an arm that is long on its way to the start of an episode.
type distant struct {
	*arm
	under chan struct{}
}

func (f *distant) Reset(ctx context.Context) (robot.Observation, error) {
	close(f.under)
	<-ctx.Done()
	return robot.Observation{}, fmt.Errorf("distant: %w", ctx.Err())
}

func TestAStopEndsAReset(t *testing.T) {
	ctx := context.Background()
	_, a := begin(t, nil)
	f := &distant{arm: a, under: make(chan struct{})}
	g, err := guard.New(f, a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { _, err := g.Reset(ctx); done <- err }()
	<-f.under
	if err := g.Stop(ctx, "smoke"); err != nil {
		t.Fatal(err)
	}
	var fault *guard.Fault
	if err := <-done; !errors.As(err, &fault) || fault.Cause != guard.Stopped {
		t.Errorf("the reset ended with %v, want the stop", err)
	}
	if !isClosed(g.Held()) {
		t.Error("nothing moves, and the stop is not told as held")
	}
	// Who was told of another fault does not clear this one.
	if err := g.AcknowledgeFault("anna", &guard.Fault{}); err != nil || g.Fault() == nil {
		t.Errorf("another fault was acknowledged: %v, and this one is %v", err, g.Fault())
	}
	// The caller's own end is no fault.
	if err := g.Acknowledge("anna"); err != nil {
		t.Fatal(err)
	}
	f.under = make(chan struct{})
	ended, end := context.WithCancel(ctx)
	go func() { <-f.under; end() }()
	if _, err := g.Reset(ended); !errors.Is(err, context.Canceled) || g.Fault() != nil {
		t.Errorf("a reset that the caller ended: %v, fault %v", err, g.Fault())
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
