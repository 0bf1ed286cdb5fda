package align_test

import (
	"math"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// run aligns and gives the share before and after.
func run(t testing.TB, w *aligntest.Ways, a align.Aligner, c align.RunConfig) (before, after, on, kl float64, rep align.Report) {
	t.Helper()
	c.Train, c.Held = w.Train, w.Held
	before, _, _, err := w.Measure(a.Tuned(), 1024, 9)
	if err != nil {
		t.Fatal(err)
	}
	r, err := align.NewRun(a, align.Rated(aligntest.Liked, 0.25), c)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err = r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, on, kl, err = w.Measure(a.Tuned(), 1024, 9)
	if err != nil {
		t.Fatal(err)
	}
	last := rep.Looks[len(rep.Looks)-1]
	t.Logf("share %.3f to %.3f, on a way %.3f, KL %.3f; best of round %d; last look %+v", before, after, on, kl, rep.Best, last)
	return before, after, on, kl, rep
}

// TestD3POPrefers with 6,400 comparisons.
func TestD3POPrefers(t *testing.T) {
	w := ways(t)
	a, err := align.NewD3PO(tune(t, w, align.Config{}), align.D3POConfig{Pairs: 64})
	if err != nil {
		t.Fatal(err)
	}
	_, after, _, kl, _ := run(t, w, a, align.RunConfig{Rounds: 100, Observations: 64, Every: 10, Budget: math.Inf(1)})
	if after < 0.75 {
		t.Errorf("%.3f go the liked way after D3PO, want at least 0.75", after)
	}
	if !(kl > 0) {
		t.Errorf("KL is %v", kl)
	}
}
