package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rapport-rl/rapport/internal/bus"
	"github.com/rapport-rl/rapport/internal/config"
	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/classifier"
	"github.com/rapport-rl/rapport/reward/kagi"
	"github.com/rapport-rl/rapport/reward/kagi/click"
)

// A session by waypoints whose success nobody tells; frames of it are marked, a
// classifier is trained, and a session that begins from it is paid by that, in its
// demonstrations, too, and ends its episodes on it.
func TestAClassifierTellsKAGIsSuccess(t *testing.T) {
	ctx := t.Context()
	c := waypointed(t, "reach")
	c.Robot.Horizon, c.Name, c.Reward.KAGI.Sparse, c.Session.Episodes, c.Session.Evaluate = 30, "none", "none", 2, 1
	s, err := Create(ctx, c, quietly())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.Out, c.Name)

	orphan := c
	orphan.Name, orphan.Reward.KAGI.Sparse = "orphan", "classifier"
	if _, err := Create(ctx, orphan, quietly()); err == nil || !strings.Contains(err.Error(), "session.from=runs/NAME") {
		t.Errorf("a new session: error %v, want what to do", err)
	}
	next := c
	next.Name, next.Session.From, next.Reward.KAGI.Sparse, next.Session.End = "told", dir, "classifier", "success"
	if _, err = Create(ctx, next, quietly()); err == nil || !strings.Contains(err.Error(), "rapport reward classifier collect") {
		t.Errorf("no classifier: error %v, want what to do", err)
	}
	if _, err := os.Stat(filepath.Join(c.Out, next.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was refused has a folder (error %v)", err)
	}
	if _, err := MarkSuccess(ctx, dir, Marking{Demos: true}, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), "reward.kagi.sparse=truth") {
		t.Errorf("demonstrations that tell no success: error %v, want what to do", err)
	}

	var marks []Marked
	for i := range 6 {
		id := []string{"demo-00000", "demo-00001", "demo-00002", "demo-00003", "demo-00004", "demo-00005"}[i]
		marks = append(marks, Marked{Episode: id, To: 2}, Marked{Episode: id, From: 6, To: 30, Success: true}) // anything that moves is done
	}
	if _, err := MarkSuccess(ctx, dir, Marking{Frames: marks}, nil, nil, quietly()); err != nil {
		t.Fatal(err)
	}
	if rep, err := TrainClassifier(ctx, dir, Classifying{Config: classifier.Config{Precision: 0.3}}, nil, nil, quietly()); err != nil {
		t.Fatalf("%v\n%s", err, rep)
	}
	if _, err := TrainClassifier(ctx, dir, Classifying{Sees: "sounds"}, nil, nil, quietly()); err == nil || !strings.Contains(err.Error(), `"sounds"`) {
		t.Errorf("a classifier that hears: error %v", err)
	}
	// Another plan, and cameras elsewhere, but the points that the policy sees.
	next.Name, next.Reward.KAGI.Source, next.Reward.KAGI.Cameras = "told2", "clicks", "cameras.json"
	o, asked := quietly(), 0
	o.After = func(d time.Duration) <-chan time.Time {
		ch := make(chan time.Time, 1)
		if d != clickEvery {
			return ch // of others, who wait for nothing here
		}
		asked++
		if err := clickBall(s.Clicks(), "sphere"); !errors.Is(err, click.ErrRefused) || !strings.Contains(err.Error(), "the policy sees") {
			t.Errorf("points that the cloned policy does not see: error %v", err)
		}
		if err := clickBall(s.Clicks(), "ball"); err != nil {
			t.Error(err)
		}
		ch <- time.Time{}
		return ch
	}
	if s, err = Create(ctx, next, o); err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.classifier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"hand", "ball"}; !slices.Equal(m.Sees.Points, want) || !m.Sees.Alone {
		t.Errorf("it sees %+v, want the points %v alone", m.Sees, want)
	}
	p, err := s.prepared(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if asked != 1 {
		t.Errorf("a plan was asked for %d times, want 1", asked)
	}
	paid := 0
	for _, e := range p.demos {
		paid += toldBy(t, m, e, false)
	}
	online, err := s.stored(ctx, policy.Online)
	if err != nil || len(online) != 2 {
		t.Fatalf("%d online episodes, error %v, want 2", len(online), err)
	}
	for _, e := range online {
		paid += toldBy(t, m, e, true)
	}
	if paid == 0 {
		t.Error("the classifier told no success at all, so nothing was tried")
	}
	if b, err := os.ReadFile(res.Report); err != nil || !strings.Contains(string(b), "success, by the classifier") || !strings.Contains(string(b), "the truth agrees with it in") || !strings.Contains(string(b), m.Measured.String()) {
		t.Errorf("the report does not tell of the classifier (error %v)", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	paidAlike(t, s.Dir(), p.demos)
	if _, err := Evaluate(ctx, s.Dir(), "tuned", 1, nil, nil, quietly()); err != nil {
		t.Error(err)
	}
	next.Name, next.Reward.KAGI.Source, next.Reward.KAGI.Cameras = "far", "task", ""
	next.Session.Episodes, next.Session.Record = 2, false
	toldFarAway(t, next, m)
}

// toldBy holds what an episode tells and pays of success against the classifier, and
// returns how many steps are paid it. If it ends with success, nothing comes after it.
func toldBy(t *testing.T, m classifier.Model, e policy.Episode, ends bool) (paid int) {
	t.Helper()
	const confirm = 3 // the default
	var margins []float64
	for k, in := range e.Inputs {
		now, err := m.Margin(in.Features)
		if err != nil {
			t.Fatal(err)
		}
		margins = append(margins, now)
		margin := math.Inf(-1)
		if k >= confirm-1 {
			margin = slices.Min(margins[k-confirm+1:])
		}
		i := slices.IndexFunc(in.Features.Keys, func(k perception.Keypoint) bool { return k.Name == kagi.Success })
		if i < 0 || math.Abs(in.Features.Keys[i].Score-1/(1+math.Exp(-margin))) > 1e-6 {
			t.Fatalf("%s: frame %d: keys %v, the classifier's least margin of %d is %v", e.ID, k, in.Features.Keys, confirm, margin)
		}
		if k == 0 {
			continue
		}
		if done := margin >= 0; done != (e.Rewards[k-1] == 0) {
			t.Errorf("%s: frame %d: reward %v, done %v by the classifier", e.ID, k, e.Rewards[k-1], done)
		} else if done {
			paid++
			if ends && (k != e.Len() || !e.Terminal) {
				t.Errorf("%s goes on after success at frame %d of %d", e.ID, k, e.Len())
			}
		}
	}
	return paid
}

// ladder is sure by the first number of an embedding; 2 and more it does not know.
type ladder struct{}

func (ladder) Succeeded(_ context.Context, f perception.Features) (float64, error) {
	if f.Embed[0] > 1 {
		return 0, fmt.Errorf("ladder: %w", reward.ErrUnknown)
	}
	return float64(f.Embed[0]), nil
}

func TestSuccessIsBelievedOnceConfirmed(t *testing.T) {
	said := []float32{0.9, 0.8, 0.75, 0.9, 0.3, 0.9, 0.9, 2, 0.9, 0.9, 0.9}
	want := []float64{0, 0, 0.75, 0.75, 0.3, 0.3, 0.3, -1, 0, 0, 0.9} // -1: nothing
	who := confirmer{ladder{}, 3}
	mine, other := who.begin(), who.begin()
	for round := range 2 { // the second episode begins from nothing
		for step, x := range said {
			ks, err := mine(t.Context(), step, perception.Features{Embed: []float32{x}})
			if err != nil {
				t.Fatal(err)
			}
			got := -1.0
			if len(ks) == 1 && ks[0].Name == kagi.Success {
				got = ks[0].Score
			}
			if math.Abs(got-want[step]) > 1e-6 {
				t.Errorf("round %d, step %d: told %v, want %v", round, step, got, want[step])
			}
			// What another actor sees is not of this one's episode.
			if _, err := other(t.Context(), step, perception.Features{Embed: []float32{0}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// farAway runs a session of several processes, and returns its learner's result and its
// episodes.
func farAway(t *testing.T, c config.Config) (Result, []policy.Episode) {
	t.Helper()
	srv, err := bus.Start(t.Context(), bus.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	c.Bus.URL = srv.URL()
	o := quietly()
	o.After = time.After
	var res Result
	roles, ctx := errgroup.WithContext(t.Context())
	roles.Go(func() (err error) {
		res, err = Learn(ctx, c, o)
		return err
	})
	for _, play := range []func(context.Context, config.Config, Options) error{ServePerception, ServeScorer, Act} {
		roles.Go(func() error { return play(ctx, c, o) })
	}
	if err := roles.Wait(); err != nil {
		t.Fatal(err)
	}
	es, _ := onlineOf(t, c, c.Name)
	if len(es) != c.Session.Episodes {
		t.Fatalf("%d episodes, want %d", len(es), c.Session.Episodes)
	}
	return res, es
}

// toldFarAway tries a session of several processes, whose actor has points, classifier and
// the episodes' ends, and whose learner has none of them.
func toldFarAway(t *testing.T, c config.Config, m classifier.Model) {
	t.Helper()
	res, es := farAway(t, c)
	paid := 0
	for _, e := range es {
		paid += toldBy(t, m, e, true)
	}
	if paid == 0 {
		t.Error("far away, the classifier told no success at all, so nothing was tried")
	}
	if b, err := os.ReadFile(res.Report); err != nil || !strings.Contains(string(b), fmt.Sprintf("at the end of %d of %d episodes", paid, len(es))) {
		t.Errorf("the report does not tell of the classifier's %d (error %v)", paid, err)
	}
}
