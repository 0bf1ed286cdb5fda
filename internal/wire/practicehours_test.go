package wire

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/store"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/loop"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/guard"
)

// After practice.hours no further episode begins, and both are evaluated. What is kept of each is
// what its episodes made of it, whichever of them was learning on while it waited for its turn.
func TestPracticeStopsInTime(t *testing.T) {
	c := rehearsal(t)
	c.Session.Episodes, c.Practice.Hours = 50, 1
	var mu sync.Mutex
	at, told := time.Unix(0, 0), 0
	o := quietly()
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return at
	}
	o.Tell = func(stage string, _, _ int, note string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(note, "exploring") {
			if told++; told == 2 {
				at = at.Add(2 * time.Hour)
			}
		}
	}
	res, err := Practice(t.Context(), c, false, o)
	if err != nil {
		t.Fatal(err)
	}
	if told != 2 {
		t.Errorf("%d episodes were told, want 2", told)
	}
	for _, file := range []string{res.Forward.Report, res.Backward.Report} {
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "fine-tuned for 1 episodes") {
			t.Errorf("the report %s does not tell of the one episode that was done: %v", file, err)
		}
	}
	ctx := t.Context()
	for name, saved := range map[string]bool{"both": false, "both-back": true} { // at the other's turn, and at its own
		s, err := Resume(ctx, c.Out, name, nil, nil, quietly())
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := s.store.LatestCheckpoint(ctx, kindLearner)
		if saved && (v != 1 || err != nil) || !saved && !errors.Is(err, store.ErrNone) {
			t.Errorf("%s: the learner's last checkpoint is %d (%v), want one of an episode %t", name, v, err, saved)
		}
		p, err := s.prepared(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, tuned, err := s.store.LatestCheckpoint(ctx, kindTuned)
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range []bool{false, true} {
			if again && v > 0 {
				err = s.store.DropCheckpoint(ctx, kindLearner)
			}
			l, n, e := s.learner(ctx, p)
			if err := errors.Join(err, e); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if ps, err := l.Latest(ctx); err != nil || !bytes.Equal(ps.Data, tuned) {
				t.Errorf("%s, learned again %t: it is not what was evaluated (%v)", name, again, err)
			}
			if err := closeKeeper(l); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A learner that fails in the round that the hours end is not kept as if it had not.
func TestALearnerThatFailsAsTheHoursEndIsToldOf(t *testing.T) {
	broke := errors.New("actor_loss is NaN")
	r := &round{Learner: breaks{broke}}
	s := loop.Session{Actor: &loop.Actor{Backend: late{}, Policy: idle{}}, Learner: r, Episodes: 1}
	err := s.Run(t.Context())
	if !errors.Is(err, errTimeUp) || !errors.Is(err, broke) || r.timely(err) {
		t.Errorf("it ends in time %t, error %v", r.timely(err), err)
	}
	if !r.begun || r.params.Version != 7 {
		t.Errorf("of the round is known: begun %t, from version %d", r.begun, r.params.Version)
	}
	r = &round{Learner: breaks{}}
	s.Learner = r
	if err := s.Run(t.Context()); !r.timely(err) {
		t.Errorf("a learner that did not fail: error %v", err)
	}
}

// late is a backend after the hours.
type late struct{ robot.Backend }

func (late) Reset(context.Context) (robot.Observation, error) { return robot.Observation{}, errTimeUp }

// breaks is a learner that diverges.
type breaks struct{ error }

func (breaks) Add(context.Context, policy.Episode) error { return nil }
func (b breaks) Update(context.Context) (policy.Stats, error) {
	return policy.Stats{}, b.error
}
func (breaks) Latest(context.Context) (policy.Params, error) { return policy.Params{Version: 7}, nil }

// Where the hours end while a person is waited for, no episode begins once one was there, and
// who is asked reads until when one does.
func TestNobodyIsWaitedForBeyondTheHours(t *testing.T) {
	ctx := t.Context()
	c := rehearsal(t)
	s := begun(t, c)
	c.Practice.Mate, c.Practice.Reminder = "both-back", 1
	a, err := newArm(c, online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	detach, err := s.desk.attach(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	var late atomic.Bool
	end := time.Date(2026, 5, 4, 6, 0, 0, 0, time.UTC)
	p := &practice{until: end, now: func() time.Time {
		if late.Load() {
			return end
		}
		return end.Add(-time.Hour)
	}}
	b := &turns{Guard: a.guard, p: p, arm: a, desk: s.desk}
	a.onward.ask = true
	for i, tt := range []struct {
		late bool
		lost error // in place of a failure
		want error
	}{
		{false, nil, nil},
		{false, &strayed{strings.Repeat("camera front sees its markers beside their places, ", 5)}, nil}, // as long as there are
		{true, nil, errTimeUp},
	} {
		if _, err := b.begin(ctx); err != nil { // where nobody failed
			t.Fatal(err)
		}
		a.onward.failed, a.onward.lost = 1, tt.lost
		done := make(chan error, 1)
		go func() {
			_, err := b.begin(ctx)
			done <- err
		}()
		var fs []store.Fault
		for fs == nil && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			if fs, err = s.store.OpenFaults(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if len(fs) != 1 || !strings.Contains(fs[0].Detail, "put the scene back") || !strings.Contains(fs[0].Detail, "no episode begins after Monday, 06:00") || strings.Contains(fs[0].Detail, "…") {
			t.Fatalf("asked by %+v", fs)
		}
		late.Store(tt.late)
		if _, err := s.desk.Acknowledge(ctx, bus.Acknowledge{Fault: fs[0].ID, Who: "anna"}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, tt.want) || a.onward.resets != i+2 {
			t.Errorf("late %t: error %v, %d resets; want %v and %d", tt.late, err, a.onward.resets, tt.want, i+2)
		}
	}

	// So it is where robot.ros.again waits for who puts the scene back.
	late.Store(false)
	p.over, a.onward.ask, a.onward.failed = false, false, 1
	a.hidden = nil
	b.Guard, err = guard.New(slow{goesOn{&seeded{world: a.world, arm: a, of: online}, a.onward}, func() { late.Store(true) }}, guardConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.begin(ctx); !errors.Is(err, errTimeUp) {
		t.Errorf("a person took until the hours were over: error %v", err)
	}
}

// slow is a backend whose resets last until something is the case.
type slow struct {
	robot.Backend
	until func()
}

func (s slow) Reset(ctx context.Context) (robot.Observation, error) {
	s.until()
	return s.Backend.Reset(ctx)
}
