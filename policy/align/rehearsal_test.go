package align_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// idle is an aligner that learns nothing.
type idle struct{ t *align.Tuned }

func (i idle) Step(context.Context, *align.Batch) (align.Stats, error) { return align.Stats{}, nil }
func (i idle) Tuned() *align.Tuned                                     { return i.t }

// What is rehearsed is done more, by its weight, and stays on what was demonstrated.
func TestRehearsalImitates(t *testing.T) {
	for name, w := range map[string]*aligntest.Ways{"diffusion": ways(t), "flow": flows(t)} {
		t.Run(name, func(t *testing.T) {
			p := tune(t, w, align.Config{Seed: 1})
			ss := draw(t, w, p, 64, 4, 1)
			before := aligntest.Share(draw(t, w, p, 64, 4, 2))
			won(ss)
			for i := range ss {
				ss[i].Weight = ss[i].Reward
			}
			r, err := align.Rehearse(idle{p}, ss, align.RehearsalConfig{Steps: 150})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Step(t.Context(), &align.Batch{}); err != nil {
				t.Fatal(err)
			}
			after := draw(t, w, r.Tuned(), 64, 4, 2)
			share, on := aligntest.Share(after), aligntest.On(after)
			t.Logf("share %.2f to %.2f, on a way %.2f", before, share, on)
			if share < before+0.25 || on < 0.7 {
				t.Errorf("share %.2f to %.2f, on a way %.2f; want a quarter more, and 0.7 at least", before, share, on)
			}
		})
	}
}

// Of several users each one's samples are imitated for that user alone.
func TestRehearsalServesEachUser(t *testing.T) {
	w := ways(t)
	tastes := [][]float64{{1}, {-1}}
	p := tune(t, w, align.Config{Rank: 4, Taste: 1, LR: 1e-3})
	ss := draw(t, w, p, 64, 4, 1)
	for i := range ss {
		if aligntest.Liked(&ss[i]) < 0 {
			ss[i].User = 1
		}
	}
	r, err := align.Rehearse(idle{p}, ss, align.RehearsalConfig{Steps: 200, Tastes: tastes})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Step(t.Context(), &align.Batch{}); err != nil {
		t.Fatal(err)
	}
	var shares []float64
	for _, taste := range tastes {
		if err := p.Serve(taste); err != nil {
			t.Fatal(err)
		}
		shares = append(shares, aligntest.Share(draw(t, w, p, 64, 4, 2)))
	}
	if t.Logf("shares %.2f", shares); shares[0] < 0.75 || shares[1] > 0.25 {
		t.Errorf("the liked way is gone by %.2f for who likes it and %.2f for who does not; want 0.75 and 0.25", shares[0], shares[1])
	}
	if _, err := align.Rehearse(idle{p}, ss, align.RehearsalConfig{}); err == nil || !strings.Contains(err.Error(), "set Batch.Tastes") {
		t.Errorf("without tastes: %v", err)
	}
}

func TestRehearsalSaysWhatIsWrong(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{})
	ss := draw(t, w, p, 4, 1, 1)
	if _, err := align.Rehearse(idle{p}, nil, align.RehearsalConfig{}); err == nil || !strings.Contains(err.Error(), "no samples") {
		t.Errorf("nothing to rehearse: %v", err)
	}
	if _, err := align.Rehearse(idle{p}, ss, align.RehearsalConfig{Steps: -1}); err == nil || !strings.Contains(err.Error(), "Steps") {
		t.Errorf("no steps: %v", err)
	}
	r, err := align.Rehearse(idle{p}, ss, align.RehearsalConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := r.Step(ctx, &align.Batch{}); err == nil {
		t.Error("stopped, yet it went on")
	}
}

// A run ends with the error of whoever is told of its looks.
func TestRunsTellTheirLooks(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{})
	var rounds []int
	r, err := align.NewRun(idle{p}, align.Kept, align.RunConfig{
		Rounds: 5, Train: w.Train, Held: w.Held, Value: aligntest.Share, Bring: func(*align.Batch, *rand.Rand) {},
		Looked: func(l align.Look) error {
			if rounds = append(rounds, l.Round); l.Round == 2 {
				return context.Canceled
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Go(t.Context()); err == nil || len(rounds) != 3 {
		t.Errorf("told of rounds %v, error %v; want 0 to 2, and that it was stopped", rounds, err)
	}
}
