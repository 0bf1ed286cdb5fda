package guard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// terminal takes nothing until it scrolls: Ctrl-S was pressed, or nobody turns the pager's page.
type terminal struct {
	scrolls chan struct{}
	bytes.Buffer
}

func (w *terminal) Write(b []byte) (int, error) {
	<-w.scrolls
	return w.Buffer.Write(b)
}

// telling returns a guarded arm after its Reset, whose log goes to w.
func telling(t *testing.T, b robot.Backend, cfg guard.Config, w io.Writer) *guard.Guard {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stamp" {
			return slog.Attr{}
		}
		return a
	}}))
	g, err := guard.New(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestATerminalThatTakesNothingHoldsNoHoldUp(t *testing.T) {
	for name, tt := range map[string]struct {
		latch bool
		do    func(context.Context, *guard.Guard)
		want  string
	}{
		"a stop": {do: func(ctx context.Context, g *guard.Guard) { _ = g.Stop(ctx, "a hand is in there") }, want: "a hand is in there"},
		"a panic of the loop": {do: func(ctx context.Context, g *guard.Guard) {
			defer func() { _ = recover() }()
			defer g.HoldOnPanic(ctx)
			panic("no numbers left")
		}, want: "no numbers left"},
		"a lost lease":              {do: watch, want: "lease lost, arm held"},
		"a lost lease that latches": {latch: true, do: watch, want: "no valid command"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, a := begin(t, nil)
				a.cfg.Lease.Latch = tt.latch
				h := &holder{arm: a}
				w := &terminal{scrolls: make(chan struct{})}
				g := telling(t, h, a.cfg, w)
				// The terminal is full from the first warning on.
				if _, err := g.Step(t.Context(), robot.Command{Delta: [6]float64{1}}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				go tt.do(ctx, g)
				time.Sleep(time.Second)
				synctest.Wait()
				if n := h.holds.Load(); n != 1 {
					t.Errorf("the arm was told to hold %d times, want 1", n)
				}
				if n := w.Len(); n != 0 {
					t.Fatalf("%d bytes were taken", n)
				}
				cancel()
				close(w.scrolls)
				if err := g.Close(); err != nil {
					t.Error(err)
				}
				if out := w.String(); strings.Count(out, "\n") != 2 || !strings.Contains(out, tt.want) {
					t.Errorf("the log lacks %q, or has more than two lines:\n%s", tt.want, out)
				}
			})
		})
	}
}

// watch is the guard's, five times a lease's term.
func watch(ctx context.Context, g *guard.Guard) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	g.Watch(ctx, ticker.C)
}

func TestStopsGoOnWhileTheLogWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a := begin(t, nil)
		h := &holder{arm: a}
		w := &terminal{scrolls: make(chan struct{})}
		g := telling(t, h, a.cfg, w)
		var want []string
		for i := range 50 { // a stop and an acknowledgement each
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = g.Stop(t.Context(), fmt.Sprintf("smoke %d", i))
				_ = g.Acknowledge("anna")
			}()
			synctest.Wait()
			select {
			case <-done:
			default:
				close(w.scrolls)
				t.Fatalf("stop %d waits for the log", i)
			}
			want = append(want, fmt.Sprintf(`level=ERROR msg="guard: arm held by a fault" cause=stopped detail="smoke %d"`, i),
				fmt.Sprintf(`level=WARN msg="guard: fault acknowledged" operator=anna cause=stopped detail="smoke %d"`, i))
		}
		if n := h.holds.Load(); n != 50 {
			t.Errorf("%d holds, want 50", n)
		}
		close(w.scrolls)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		// One line was being written, and 64 waited.
		want = append(want[:65], `level=WARN msg="guard: the log took nothing for a while" lines_lost=35`)
		if got, want := w.String(), strings.Join(want, "\n")+"\n"; got != want {
			t.Errorf("logged\n%s\nwant\n%s", got, want)
		}
	})
}
