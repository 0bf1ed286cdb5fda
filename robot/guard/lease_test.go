package guard_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

var nudge = robot.Command{Delta: [6]float64{1: 0.001}}

func TestLeases(t *testing.T) {
	base := context.Background()
	lease := func(a *arm, holder string, seq uint64, term time.Duration) context.Context {
		return guard.WithLease(base, guard.Lease{Holder: holder, Seq: seq, Expires: a.st.Stamp.Add(term)})
	}
	const ok = 200 * time.Millisecond
	moved := func(t *testing.T, g *guard.Guard, a *arm, ctx context.Context, want bool) {
		t.Helper()
		before := a.moves
		obs, err := g.Step(ctx, nudge)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.moves > before; got != want {
			t.Errorf("moved %v, want %v", got, want)
		}
		if !want && obs.By != robot.ByGuard {
			t.Errorf("a hold by %v, want by the guard", obs.By)
		}
	}
	t.Run("expired", func(t *testing.T) {
		g, a := begin(t, nil)
		moved(t, g, a, lease(a, "a", 1, 0), false)
		moved(t, g, a, lease(a, "a", 2, ok), true)
		if n := g.Counts(); n.Late != 1 {
			t.Errorf("%+v, want one late", n)
		}
	})
	t.Run("out of order", func(t *testing.T) {
		g, a := begin(t, nil)
		moved(t, g, a, lease(a, "a", 5, ok), true)
		moved(t, g, a, lease(a, "a", 5, ok), false)
		moved(t, g, a, lease(a, "a", 4, ok), false)
		moved(t, g, a, lease(a, "a", 6, ok), true)
		if n := g.Counts(); n.Repeats != 2 {
			t.Errorf("%+v, want two repeats", n)
		}
	})
	t.Run("one holder at a time", func(t *testing.T) {
		g, a := begin(t, nil)
		moved(t, g, a, lease(a, "a", 1, time.Hour), true) // shortened to the term, 5 ticks
		for range 4 {
			moved(t, g, a, lease(a, "b", 1, ok), false)
		}
		moved(t, g, a, lease(a, "b", 1, ok), true)
		if n := g.Counts(); n.Foreign != 4 || n.Lapsed != 1 {
			t.Errorf("%+v, want 4 foreign and 1 lapsed", n)
		}
	})
	t.Run("a human beside the arm takes it", func(t *testing.T) {
		g, a := begin(t, nil)
		moved(t, g, a, lease(a, "a", 1, ok), true)
		moved(t, g, a, base, false)
		moved(t, g, a, guard.WithSource(base, robot.ByHuman), true)
		moved(t, g, a, lease(a, "a", 2, ok), false)
	})
	t.Run("required", func(t *testing.T) {
		g, a := begin(t, func(c *guard.Config, _ *arm) { c.Lease.Required = true })
		moved(t, g, a, base, false)
		moved(t, g, a, guard.WithLease(base, guard.Lease{Seq: 1, Expires: a.st.Stamp.Add(ok)}), false)
		if n := g.Counts(); n.Missing != 2 {
			t.Errorf("%+v, want two missing", n)
		}
	})
	t.Run("sequence numbers survive a Reset and other holders", func(t *testing.T) {
		g, a := begin(t, nil)
		moved(t, g, a, lease(a, "a", 9, ok), true)
		if _, err := g.Reset(base); err != nil {
			t.Fatal(err)
		}
		moved(t, g, a, lease(a, "b", 1, 10*time.Millisecond), true)
		moved(t, g, a, lease(a, "a", 9, ok), false)
		moved(t, g, a, lease(a, "a", 10, ok), true)
	})
	t.Run("lost latches when told to", func(t *testing.T) {
		g, a := begin(t, func(c *guard.Config, _ *arm) { c.Lease.Latch = true })
		moved(t, g, a, lease(a, "a", 1, 60*time.Millisecond), true)
		moved(t, g, a, lease(a, "a", 1, ok), false)
		_, err := g.Step(lease(a, "a", 2, ok), nudge)
		var f *guard.Fault
		if !errors.As(err, &f) || f.Cause != guard.LeaseLost {
			t.Errorf("got %v, want a lost lease", err)
		}
	})
	t.Run("the backend's clock decides on real time", func(t *testing.T) {
		now := time.Unix(1000, 0)
		g, a := begin(t, func(c *guard.Config, _ *arm) { c.Now = func() time.Time { return now } })
		late := lease(a, "a", 1, 100*time.Millisecond)
		now = now.Add(time.Second) // the commander stalled; no state came in between
		moved(t, g, a, late, false)
	})
}

// holder is an arm on real time, that can be held at once.
type holder struct {
	*arm
	holds atomic.Int64
	wedge chan struct{} // when set, Step hangs on it
}

func (h *holder) Hold(context.Context) error {
	h.holds.Add(1)
	return nil
}

func (h *holder) Step(ctx context.Context, c robot.Command) (robot.Observation, error) {
	if h.wedge != nil {
		<-h.wedge
	}
	return h.arm.Step(ctx, c)
}

func TestWatch(t *testing.T) {
	ctx := context.Background()
	watched := func(b robot.Backend, a *arm, latch bool) (*guard.Guard, func()) {
		cfg := a.cfg
		cfg.Lease.Latch = latch
		g, err := guard.New(b, cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		ticker := time.NewTicker(10 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { g.Watch(ctx, ticker.C) })
		return g, func() { cancel(); wg.Wait(); ticker.Stop() }
	}
	steps := func(g *guard.Guard, n int) {
		for range n {
			if _, err := g.Step(ctx, nudge); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	t.Run("has an arm that was held start from rest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, a := begin(t, func(c *guard.Config, _ *arm) { c.Acc = 0.5 })
			h := &holder{arm: a}
			g, stop := watched(h, a, false)
			defer stop()
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			full := robot.Command{Delta: [6]float64{0.004}}
			for range 10 {
				if _, err := g.Step(ctx, full); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Second)
			if n := h.holds.Load(); n != 1 {
				t.Fatalf("held %d times, want 1", n)
			}
			obs, err := g.Step(ctx, full)
			if err != nil {
				t.Fatal(err)
			}
			dt := a.cfg.Tick.Seconds()
			if acc := obs.Applied.Delta[0] / (dt * dt); acc > a.cfg.Acc || acc <= 0 {
				t.Errorf("from rest the target is accelerated by %.2f m/s², limit %.2f", acc, a.cfg.Acc)
			}
		})
	})
	t.Run("holds an arm that can be held at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, a := begin(t, nil)
			h := &holder{arm: a}
			g, stop := watched(h, a, false)
			defer stop()
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // nobody commands yet: nothing to hold
			steps(g, 40)
			if n := h.holds.Load(); n != 0 {
				t.Fatalf("held %d times while commands came", n)
			}
			time.Sleep(199 * time.Millisecond) // the last command was 50 ms before
			if n := h.holds.Load(); n != 0 {
				t.Fatalf("held %d times before the term", n)
			}
			time.Sleep(21 * time.Millisecond)
			if n := h.holds.Load(); n != 1 {
				t.Fatalf("held %d times two ticks after the term, want 1", n)
			}
			time.Sleep(time.Second)
			steps(g, 1)
			if n := g.Counts(); n.Lapsed != 1 || h.holds.Load() != 1 {
				t.Errorf("%+v and %d holds, want one of each, and to go on", n, h.holds.Load())
			}
		})
	})
	t.Run("holds while a step hangs, and latches", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, a := begin(t, nil)
			h := &holder{arm: a}
			g, stop := watched(h, a, true)
			defer stop()
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			h.wedge = make(chan struct{})
			done := make(chan error)
			go func() { _, err := g.Step(ctx, nudge); done <- err }()
			time.Sleep(time.Second)
			if h.holds.Load() != 1 {
				t.Errorf("held %d times, want 1", h.holds.Load())
			}
			close(h.wedge)
			var f *guard.Fault
			if err := <-done; !errors.As(err, &f) || f.Cause != guard.LeaseLost {
				t.Errorf("the step that hung returned %v, want a lost lease", err)
			}
		})
	})
	t.Run("steps an arm that cannot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, a := begin(t, nil)
			g, stop := watched(a, a, false)
			if _, err := g.Reset(ctx); err != nil {
				t.Fatal(err)
			}
			steps(g, 1)
			time.Sleep(time.Second)
			stop()
			if a.commands != 2 || a.moves != 1 {
				t.Errorf("%d commands, %d moves, want one hold after one command", a.commands, a.moves)
			}
		})
	})
	t.Run("ends with its ticks", func(t *testing.T) {
		g, _ := begin(t, nil)
		ticks := make(chan time.Time)
		close(ticks)
		g.Watch(ctx, ticks)
	})
}
