package wire

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/report"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// shown is a show on a bus of its own, what it logs, and what comes of its rewards.
func shown(t *testing.T) (*show, *bytes.Buffer, func() []float64) {
	t.Helper()
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	tap, err := bus.NewTap(srv.Conn(), "s", bus.RewardTopic(), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tap.Close)
	var logged bytes.Buffer
	w := &show{log: slog.New(slog.NewTextHandler(&logged, nil))}
	if w.rewards, err = bus.NewFeed(srv.Conn(), "s", bus.RewardTopic(), 8); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.rewards.Close)
	return w, &logged, func() []float64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := tap.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func TestRunningEpisodeShowsWhatScoringItsPrefixGives(t *testing.T) {
	scorer, err := rapl.New([]rapl.Video{{Name: "a", D: 2, Embed: []float32{0, 0, 1, 0, 1, 1, 2, 1}}}, rapl.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, logged, next := shown(t)
	var l living
	l.score(w) // no episode yet
	var traj []perception.Features
	see := func(x, y float32) {
		f := perception.Features{Embed: []float32{x, y}}
		traj = append(traj, f)
		w.tick(f)
	}
	want := func() []float64 {
		t.Helper()
		r := make([]float64, len(traj)-1)
		if err := scorer.Score(t.Context(), r, traj); err != nil {
			t.Fatal(err)
		}
		return r
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 }) // the solver's tolerance
	for range 2 {
		traj = nil
		w.begin(scorer)
		see(0, 0)
		l.score(w)
		if r := next(); len(r) != 0 {
			t.Errorf("an episode that begins shows %v", r)
		}
		see(1, 0)
		see(1, 1)
		l.score(w)
		if d := cmp.Diff(want(), next(), near); d != "" {
			t.Errorf("after two steps (-want +got):\n%s", d)
		}
		l.score(w) // nothing new, nothing told
		see(2, 2)
		l.score(w)
		if d := cmp.Diff(want(), next(), near); d != "" {
			t.Errorf("after three steps (-want +got):\n%s", d)
		}
		// What labels the episode has the last word.
		w.scored([]float64{7, 8, 9})
		l.score(w)
		if r := next(); !slices.Equal(r, []float64{7, 8, 9}) {
			t.Errorf("the label is shown as %v", r)
		}
	}
	// A frame of another encoder ends the showing, not the session.
	w.begin(scorer)
	see(0, 0)
	w.tick(perception.Features{Embed: []float32{1}})
	l.score(w)
	l.score(w)
	w.scored([]float64{1})
	if r := next(); !slices.Equal(r, []float64{1}) {
		t.Errorf("after a bad frame %v is shown", r)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}

func TestPanicOfTheShowingEndsIt(t *testing.T) {
	scorer, err := rapl.New([]rapl.Video{{Name: "a", D: 1, Embed: []float32{0, 1}}}, rapl.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, logged, next := shown(t)
	w.begin(scorer)
	w.tick(perception.Features{Embed: []float32{1}})
	var l living
	l.score(w)
	next()
	l.got = 99 // beyond the frames
	l.score(w)
	w.tick(perception.Features{Embed: []float32{1}})
	l.score(w)
	w.scored([]float64{1})
	if r := next(); !slices.Equal(r, []float64{1}) {
		t.Errorf("%v is shown", r)
	}
	if n := bytes.Count(logged.Bytes(), []byte("is not shown")); n != 1 {
		t.Errorf("told %d times: %q", n, logged.String())
	}
}

func TestSummaryKeepsReturnsAndSharesInPlace(t *testing.T) {
	w := &show{}
	w.returned(5, 1.5)
	w.returned(8, 3)
	w.returned(5, 2) // told again by who catches up
	w.returned(3, 9) // of before the checkpoint, read after those were learned again
	if got := w.now.Returns; w.now.First != 3 || len(got) != 6 || got[0] != 9 || !math.IsNaN(got[1]) || got[2] != 2 || !math.IsNaN(got[3]) || got[5] != 3 {
		t.Errorf("returns %v from %d on", got, w.now.First)
	}
	w.share("before", report.Share{Hits: 1, Of: 4})
	w.share("while exploring", report.Share{Hits: 0, Of: 1})
	w.share("while exploring", report.Share{Hits: 1, Of: 2})
	w.share("after", report.Share{})
	want := []bus.Share{{When: "before", Hits: 1, Of: 4}, {When: "while exploring", Hits: 1, Of: 2}}
	if !slices.Equal(w.now.Success, want) {
		t.Errorf("got %v, want %v", w.now.Success, want)
	}
	var none *show // a session without a bus
	none.returned(1, 2)
	none.share("x", report.Share{Of: 1})
	none.begin(nil)
	none.tick(perception.Features{})
	none.scored(nil)
}

// What is shown of a session that goes on is of all its episodes, those before the
// checkpoint and those that are learned again included.
func TestResumedSessionShowsAllItsEpisodes(t *testing.T) {
	c := tiny(t)
	set(t, &c, "name=shown", "session.episodes=3")
	ctx := t.Context()
	s, err := Create(ctx, c, byTheClock())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(ctx)
	err = errors.Join(err, s.store.AddMetrics(ctx, "episode", 0, []policy.Metric{{Name: "success", Value: 1}, {Name: "human", Value: 7}}), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Resume(ctx, c.Out, c.Name, nil, []string{"session.episodes=4"}, byTheClock()); err != nil {
		t.Fatal(err)
	}
	// As after a process that was killed: the newest checkpoint is of two episodes.
	if err := s.DropCheckpoint(ctx, kindLearner); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if now := s.show.now; now.First != 0 || len(now.Returns) != 4 || slices.ContainsFunc(now.Returns, math.IsNaN) {
		t.Errorf("returns %v from %d on, want those of four episodes", now.Returns, now.First)
	}
	i := slices.IndexFunc(s.show.now.Success, func(sh bus.Share) bool { return sh.When == "while exploring" })
	if sh := s.show.now.Success[max(i, 0)]; i < 0 || sh.Of != 4 || sh.Hits < 1 {
		t.Errorf("successes %v, want one of four at least", s.show.now.Success)
	}
	if n := s.desk.status.Humans; n != 7 {
		t.Errorf("%d steps by a person, want 7", n)
	}
}
