package align_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// won sets the Reward of samples that go the liked way to 1, and that of others to 0.
func won(ss []align.Sample) {
	for i := range ss {
		ss[i].Reward = 0
		if aligntest.Liked(&ss[i]) > 0 {
			ss[i].Reward = 1
		}
	}
}

func TestCriticJudgesChunksThatNobodyCarriedOut(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{})
	seen := draw(t, w, p, 64, 2, 1)
	won(seen)
	k, err := align.FitCritic(t.Context(), seen, align.CriticConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	fresh := draw(t, w, p, 64, 4, 2)
	won(fresh)
	right := 0
	for i := range fresh {
		if (k.Of(&fresh[i]) > 0.5) == (fresh[i].Reward > 0.5) {
			right++
		}
	}
	if share := float64(right) / float64(len(fresh)); share < 0.95 {
		t.Errorf("%.3f of fresh chunks judged right, want 0.95 at least", share)
	}
	if got, want := k.Mean(fresh[:1]), k.Of(&fresh[0]); got != want {
		t.Errorf("mean of one is %v, want %v", got, want)
	}
	again, err := align.FitCritic(t.Context(), seen, align.CriticConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := k.Of(&fresh[3]), again.Of(&fresh[3]); a != b {
		t.Errorf("fitted again it says %v, want %v", b, a)
	}
	if n := testing.AllocsPerRun(10, func() { k.Of(&fresh[1]) }); n != 0 {
		t.Errorf("a judgement allocates %v times, want 0", n)
	}
}

// The log odds are linear in the features, whose last one is the bias.
func TestCriticIsLinearInItsFeatures(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{})
	seen := draw(t, w, p, 64, 2, 1)
	won(seen)
	k, err := align.FitCritic(t.Context(), seen, align.CriticConfig{Hidden: 6, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	fresh := draw(t, w, p, 40, 1, 2)
	D := k.Width()
	z, odds := mat.NewDense(len(fresh), D, nil), mat.NewVecDense(len(fresh), nil)
	for i := range fresh {
		before := k.Of(&fresh[i])
		k.Features(z.RawRowView(i), &fresh[i])
		if after := k.Of(&fresh[i]); after != before {
			t.Fatalf("once its features are read, it is %v, and was %v", after, before)
		}
		odds.SetVec(i, math.Log(before/(1-before)))
		if z.At(i, D-1) != 1 {
			t.Fatalf("the bias counts %v times", z.At(i, D-1))
		}
	}
	var by, off mat.VecDense
	if err := by.SolveVec(z, odds); err != nil {
		t.Fatal(err)
	}
	off.MulVec(z, &by)
	off.SubVec(&off, odds)
	if miss, of := mat.Norm(&off, 2), mat.Norm(odds, 2); D != 7 || miss > 1e-3*of {
		t.Errorf("of %d features, log odds of norm %v are linear but for %v", D, of, miss)
	}
}

func TestCriticSaysWhatIsWrong(t *testing.T) {
	w := ways(t)
	good := draw(t, w, tune(t, w, align.Config{}), 4, 1, 1)
	for _, tt := range []struct {
		name string
		ss   []align.Sample
		c    align.CriticConfig
		want string
	}{
		{"nothing", nil, align.CriticConfig{}, "no samples"},
		{"steps", good, align.CriticConfig{Steps: -1}, "Steps"},
		{"reward", []align.Sample{{Seen: good[0].Seen, X: good[0].X, Actions: good[0].Actions, Weight: 1, Reward: 2}}, align.CriticConfig{}, "Reward 2"},
	} {
		if _, err := align.FitCritic(t.Context(), tt.ss, tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Pairs of stored samples of different histories align as well as fresh ones.
func TestStoredSamplesAlign(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{Seed: 1})
	stored := draw(t, w, p, 64, 2, 1)
	won(stored)
	var good, bad []int
	for i := range stored {
		if stored[i].Reward > 0.5 {
			good = append(good, i)
		} else {
			bad = append(bad, i)
		}
	}
	d, err := align.NewD3PO(p, align.D3POConfig{Beta: 1})
	if err != nil {
		t.Fatal(err)
	}
	r, err := align.NewRun(d, align.Kept, align.RunConfig{
		Rounds: 80, Train: w.Train, Held: w.Held, Budget: 20, Lambda: 0.9, Every: 10, Value: aligntest.Share,
		Bring: func(b *align.Batch, rng *rand.Rand) {
			b.Samples, b.Pairs = stored, b.Pairs[:0]
			for range 64 {
				b.Pairs = append(b.Pairs, align.Pair{Win: good[rng.IntN(len(good))], Lose: bad[rng.IntN(len(bad))]})
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := r.Go(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, best := rep.Looks[0].Value, 0.0
	for _, l := range rep.Looks {
		if l.Round == rep.Best {
			best = l.Value
		}
	}
	t.Logf("share %.2f to %.2f in round %d", first, best, rep.Best)
	if best < 0.8 {
		t.Errorf("share %.2f after alignment by stored pairs, want 0.8 at least (it began at %.2f)", best, first)
	}
}
