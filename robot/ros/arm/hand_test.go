package arm

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rapport-rl/rapport/robot/franka"
)

// fingers is a gripper that takes a second for any goal, unless it is stopped.
type fingers struct {
	mu    sync.Mutex
	goals []string
	halt  chan struct{}
	fail  error
	at    float64       // m apart
	thing float64       // m, the width of what is in between
	slow  time.Duration // of a stop
}

func (f *fingers) goal(ctx context.Context, what string, width float64) error {
	f.mu.Lock()
	f.goals = append(f.goals, what)
	err := f.fail
	f.halt = make(chan struct{})
	halt, from, began := f.halt, f.at, time.Now()
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.at = max(from+(width-from)*min(time.Since(began).Seconds(), 1), f.thing)
		f.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-halt:
		return errors.New("stopped")
	case <-time.After(time.Second):
		return err
	}
}

func (f *fingers) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.goals)
}

func (f *fingers) apart() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *fingers) move(ctx context.Context, w float64) error  { return f.goal(ctx, "move", w) }
func (f *fingers) grasp(ctx context.Context, w float64) error { return f.goal(ctx, "grasp", w) }

func (f *fingers) stop(context.Context) error {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goals = append(f.goals, "stop")
	close(f.halt)
	return nil
}

// The goal that opens the hand fails, and the next reset asks for the same.
func TestAGoalThatFailedIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fingers{at: franka.Stroke}
		h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		h.done.Go(func() { h.run(ctx) })
		say := func(width float64, err error) {
			f.mu.Lock()
			f.fail = err
			f.mu.Unlock()
			h.to(width)
			time.Sleep(2 * time.Second)
		}
		say(0, nil)
		say(franka.Stroke, errors.New("the gripper's node went away"))
		h.forgive()
		say(franka.Stroke, nil)
		h.forgive()
		say(franka.Stroke, nil)
		if got, want := f.told(), []string{"grasp", "move", "move"}; !slices.Equal(got, want) {
			t.Errorf("goals %q, want %q", got, want)
		}
		cancel()
		h.done.Wait()
	})
}

func TestNoGoalBeginsAfterAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fingers{at: franka.Stroke}
		h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		h.done.Go(func() { h.run(ctx) })
		h.to(0.030)
		time.Sleep(300 * time.Millisecond)
		h.to(0.020) // too little to give up what is under way
		h.stay()
		time.Sleep(3 * time.Second)
		if got, want := f.told(), []string{"grasp"}; !slices.Equal(got, want) || !h.resting() {
			t.Errorf("goals %q, want %q and rest", got, want)
		}
		h.to(0.020)
		time.Sleep(3 * time.Second)
		if got, want := f.told(), []string{"grasp", "grasp"}; !slices.Equal(got, want) {
			t.Errorf("goals %q, want %q", got, want)
		}
		cancel()
		h.done.Wait()
	})
}

func TestHandFollowsWithOneGoalAtATime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     float64   // m, before
		wishes []float64 // m, 100 ms apart
		want   string
	}{
		{"opening is a move", 0, []float64{0.08}, "move"},
		{"closing fingers that nobody opened is a grasp", franka.Stroke, []float64{0, 0, 0}, "grasp"},
		{"opening them further is a move", 0.02, []float64{0.06}, "move"},
		{"closing is a grasp", 0, []float64{0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08, 0}, "move grasp"},
		{"a small change is no goal", 0, []float64{0.08, 0.079, 0.078, 0.08}, "move"},
		{"another wish ends the goal", 0, []float64{0.08, 0.08, 0.08, 0.08, 0.08, 0.02}, "move stop grasp"},
		{"less is still opening where the fingers are closer", 0, []float64{0.08, 0.02}, "move stop move"},
		{"the last of many wishes counts", 0, []float64{0.08, 0.02, 0.06, 0.01}, "move stop grasp stop grasp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fingers{at: tt.at}
				h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				h.done.Go(func() { h.run(ctx) })
				for _, w := range tt.wishes {
					h.to(w)
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(3 * time.Second)
				if !h.resting() {
					t.Error("the hand does not rest")
				}
				cancel()
				h.done.Wait()
				if got := strings.Join(f.goals, " "); got != tt.want && tt.name != "the last of many wishes counts" {
					t.Errorf("goals %q, want %q", got, tt.want)
				} else if !strings.HasSuffix(got, "grasp") && strings.HasSuffix(tt.want, "grasp") {
					t.Errorf("goals %q, want a grasp in the end", got)
				}
				if err := h.failed(); err != nil {
					t.Errorf("a goal that was ended is an error: %v", err)
				}
			})
		})
	}
}

// A policy that explores wishes a little more or less than nothing between the fingers while
// they hold a cube of 40 mm.
func TestWhatIsHeldStaysSo(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wishes []float64 // m, a second and a half apart
		want   string
	}{
		{"wishes about nothing", []float64{0, 0.006, 0.001, 0.007, 0}, "grasp"},
		{"wishes of what is held", []float64{0, 0.039, 0.041, 0.030}, "grasp"},
		{"it is let go", []float64{0, 0.006, 0.060}, "grasp move"},
		{"and held again", []float64{0, 0.006, 0.060, 0.050, 0}, "grasp move grasp grasp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fingers{at: franka.Stroke, thing: 0.040}
				h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				h.done.Go(func() { h.run(ctx) })
				for _, w := range tt.wishes {
					for range 15 { // as ticks come, also while a goal is under way
						h.to(w)
						time.Sleep(100 * time.Millisecond)
					}
				}
				if got := strings.Join(f.told(), " "); got != tt.want || !h.resting() {
					t.Errorf("goals %q, want %q and rest", got, tt.want)
				}
				cancel()
				h.done.Wait()
			})
		})
	}
	// While the grasp is under way, too.
	synctest.Test(t, func(t *testing.T) {
		f := &fingers{at: 0.041, thing: 0.040}
		h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		h.done.Go(func() { h.run(ctx) })
		for i := range 20 {
			h.to([]float64{0, 0.020, 0.030}[i%3])
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := strings.Join(f.told(), " "); got != "grasp" {
			t.Errorf("goals %q, want the grasp", got)
		}
		cancel()
		h.done.Wait()
	})
}

// While a goal is being stopped for a wish, the wish falls back, or the arm is held.
func TestAGoalThatWasStoppedHoldsNothing(t *testing.T) {
	for _, tt := range []struct {
		name          string
		at            float64 // m, before
		first, second float64 // m
		hold          bool
		want          string
	}{
		{"a grasp", franka.Stroke, 0, franka.Stroke, false, "grasp stop grasp"},
		{"a grasp of next to nothing", 0.003, 0, franka.Stroke, false, "grasp stop grasp"},
		{"a move", 0, franka.Stroke, 0.02, false, "move stop move"},
		{"of a hand that is open wider than is wished", franka.Stroke + 0.0002, franka.Stroke, 0.05, false, "move stop move"},
		{"and a hold", franka.Stroke, 0, franka.Stroke, true, "grasp stop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fingers{at: tt.at, slow: 150 * time.Millisecond}
				h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				h.done.Go(func() { h.run(ctx) })
				h.to(tt.first)
				time.Sleep(200 * time.Millisecond)
				h.to(tt.second)
				time.Sleep(50 * time.Millisecond)
				if tt.hold {
					h.stay()
				} else {
					h.to(tt.first)
				}
				time.Sleep(3 * time.Second)
				if got := strings.Join(f.told(), " "); got != tt.want || !h.resting() {
					t.Errorf("goals %q, want %q and rest", got, tt.want)
				}
				if h.to(tt.first); tt.hold { // whoever drives on
					time.Sleep(3 * time.Second)
					if got, want := strings.Join(f.told(), " "), tt.want+" grasp"; got != want {
						t.Errorf("goals %q after the hold, want %q", got, want)
					}
				}
				cancel()
				h.done.Wait()
			})
		})
	}
}

// A hold before any goal goes by how far apart the fingers were seen to be, which noise changes.
func TestAHoldBeforeAnyGoalIsNone(t *testing.T) {
	for _, at := range []float64{0.05, franka.Stroke + 0.0003, 0} {
		f := &fingers{at: at}
		h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
		f.at += 0.0001
		h.stay()
		f.at -= 0.0002
		if width := opening(gripOf(at)); !h.resumes(width) {
			t.Errorf("of fingers %.4f m apart %.4f m is a wish after a hold", at, width)
		}
		if h.resumes(0.03) {
			t.Errorf("of fingers %.4f m apart 0.03 m is no wish after a hold", at)
		}
	}
}

func TestHandTellsWhatWentWrongOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fingers{at: franka.Stroke, fail: errors.New("no such gripper")}
		h := newHand(f, f.apart, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		h.done.Go(func() { h.run(ctx) })
		h.to(0.08)
		time.Sleep(2 * time.Second)
		if err := h.failed(); err == nil || !strings.Contains(err.Error(), "no such gripper") {
			t.Errorf("error %v, want the gripper's", err)
		}
		if err := h.failed(); err != nil {
			t.Errorf("told twice: %v", err)
		}
		cancel()
		h.done.Wait()
	})
}
