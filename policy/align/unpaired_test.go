package align_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
)

// marked is the Judge who marks every action by the way that it goes.
func marked(*align.Tuned) align.Judge {
	return func(_ context.Context, b *align.Batch) error {
		for i := range b.Samples {
			s := &b.Samples[i]
			s.Marks = s.Marks[:0]
			for _, v := range s.Actions {
				if v > 0 {
					s.Marks = append(s.Marks, align.Good)
				} else {
					s.Marks = append(s.Marks, align.Bad)
				}
			}
		}
		return nil
	}
}

// shown is the Judge who shows liked chunks, demonstrated for what a batch has seen,
// instead of ruling on what was drawn.
func shown(p *align.Tuned) align.Judge {
	rng := rand.New(rand.NewPCG(61, 1))
	return func(_ context.Context, b *align.Batch) error {
		demos := make([]float32, 2*len(b.Samples))
		for i := range b.Samples {
			for d := demos[2*i : 2*i+2]; d[0] <= 0 || d[1] <= 0; {
				aligntest.Demo(d, b.Samples[i].Seen[0], rng)
			}
			b.Samples[i].Reward = 1
		}
		p.Demonstrate(b.Samples, demos)
		return nil
	}
}

// TestFDPOLeavesFewBadSegments: of the segments of what is drawn, at most 0.6 as many are bad.
func TestFDPOLeavesFewBadSegments(t *testing.T) {
	for _, w := range []*aligntest.Ways{ways(t), flows(t)} {
		for seed := range uint64(3) {
			p := tune(t, w, align.Config{Seed: seed})
			c := align.FDPOConfig{Keep: 1}
			if w == flows(t) {
				c.Beta = 2
			}
			a, err := align.NewFDPO(p, c)
			if err != nil {
				t.Fatal(err)
			}
			rate := func() float64 {
				b := &align.Batch{Samples: draw(t, w, p, 64, 16, 73)}
				if err := marked(p)(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				bad, all := 0.0, 0.0
				for i := range b.Samples {
					for h, m := range b.Samples[i].Marks {
						if h > 0 && m == b.Samples[i].Marks[h-1] {
							continue // the same segment
						}
						if all++; m == align.Bad {
							bad++
						}
					}
				}
				return bad / all
			}
			before := rate()
			r, err := align.NewRun(a, marked(p), align.RunConfig{Rounds: 20, Every: 20, Observations: 64, Each: 1, Near: math.Inf(1), Value: aligntest.Share, Train: w.Train, Held: w.Held})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := rate()
			t.Logf("flow %t, seed %d: %.3f of the segments are bad, were %.3f", w == flows(t), seed, after, before)
			if before < 0.4 || after > 0.6*before {
				t.Errorf("flow %t, seed %d: %.3f of the segments are bad, were %.3f: want at most 0.6 of that", w == flows(t), seed, after, before)
			}
		}
	}
}

// TestSePPOsSignKeepsItNear: taking every rival for the worse gets as much, and goes at
// least twice as far for it.
func TestSePPOsSignKeepsItNear(t *testing.T) {
	for _, w := range []*aligntest.Ways{ways(t), flows(t)} {
		kls := map[bool]float64{}
		for _, plain := range []bool{false, true} {
			p := tune(t, w, align.Config{})
			a, err := align.NewSePPO(p, align.SePPOConfig{Plain: plain})
			if err != nil {
				t.Fatal(err)
			}
			inf := math.Inf(1)
			_, after, _, kl, rep := runBy(t, w, a, shown(p), align.RunConfig{
				Rounds: 25, Every: 25, Observations: 64, Each: 1, Budget: inf, Near: inf, Value: func([]align.Sample) float64 { return later(p) }})
			if kls[plain] = kl; after < 0.75 {
				t.Errorf("Plain %v: share %.3f, want at least 0.75", plain, after)
			}
			if c := rep.Looks[1].Stats.Clipped; plain != (c == 0) || c > 0.9 {
				t.Errorf("Plain %v: %.2f of the rivals were learned", plain, c)
			}
		}
		if kls[true] < 2*kls[false] {
			t.Errorf("KL %.2f by its sign, %.2f without: want at least twice as much", kls[false], kls[true])
		}
	}
}

// TestSePPOsSignGetsMoreWithinABudget: without it less goes the liked way before the KL is spent.
func TestSePPOsSignGetsMoreWithinABudget(t *testing.T) {
	w := ways(t)
	mean := map[bool]float64{}
	for seed := range uint64(4) {
		share := map[bool]float64{}
		for _, plain := range []bool{false, true} {
			p := tune(t, w, align.Config{Seed: seed})
			a, err := align.NewSePPO(p, align.SePPOConfig{Plain: plain})
			if err != nil {
				t.Fatal(err)
			}
			_, after, _, _, rep := runBy(t, w, a, shown(p), align.RunConfig{
				Rounds: 40, Observations: 64, Each: 1, Budget: 2, Near: math.Inf(1), Lambda: 1, Value: aligntest.Share})
			if share[plain], mean[plain] = after, mean[plain]+after/4; plain && !rep.Spent {
				t.Errorf("seed %d: the budget is not spent without the sign: this shows nothing", seed)
			}
		}
		if share[true] >= share[false] {
			t.Errorf("seed %d: share %.3f by its sign, %.3f without", seed, share[false], share[true])
		}
	}
	t.Logf("share %.3f by its sign, %.3f without", mean[false], mean[true])
	if mean[false] < 0.75 || mean[true] > mean[false]-0.1 {
		t.Errorf("share %.3f by its sign, %.3f without, want 0.75 and 0.1 less", mean[false], mean[true])
	}
}

// TestSePPOsDrawnPastEndsAlike: a long run on eight liked chunks, a policy remembered every step.
// The newest of them is the policy itself, about, and keeps it from nothing: what runs end with
// varies more from seed to seed than with one that is drawn.
func TestSePPOsDrawnPastEndsAlike(t *testing.T) {
	w := ways(t)
	const seeds, rounds, liked = 6, 150, 8
	spread := func(newest bool) (mean, sd float64) {
		var shares []float64
		for seed := range uint64(seeds) {
			p := tune(t, w, align.Config{Seed: seed})
			a, err := align.NewSePPO(p, align.SePPOConfig{Chunks: liked, Every: 1, Newest: newest})
			if err != nil {
				t.Fatal(err)
			}
			r, err := align.NewRecorder(p, liked)
			if err != nil {
				t.Fatal(err)
			}
			at := int(seed) * liked % len(w.Train)
			b := &align.Batch{Samples: r.New(liked, w.Train[at:at+liked])}
			if err := shown(p)(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for range rounds {
				if _, err := a.Step(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			share, on, kl, err := w.Measure(p, 1024, 9)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("newest %t, seed %d: share %.3f, on a way %.3f, KL %.2f", newest, seed, share, on, kl)
			shares, mean = append(shares, share), mean+share/seeds
		}
		for _, s := range shares {
			sd += (s - mean) * (s - mean) / (seeds - 1)
		}
		return mean, math.Sqrt(sd)
	}
	mean, drawn := spread(false)
	other, newest := spread(true)
	t.Logf("share %.3f ± %.3f with one that is drawn, %.3f ± %.3f with the newest", mean, drawn, other, newest)
	if mean < 0.9 || drawn > newest/2 || newest < 0.05 {
		t.Errorf("share %.3f ± %.3f with one that is drawn, %.3f ± %.3f with the newest: want 0.9, and half the spread", mean, drawn, other, newest)
	}
}

// TestSePPOGoesOn: a run that was saved goes on with the policies that it remembers, though
// it rehearses as well.
func TestSePPOGoesOn(t *testing.T) {
	w := ways(t)
	begin := func(rounds int) (*align.Tuned, *align.Run) {
		p := tune(t, w, align.Config{Rank: 2})
		a, err := align.NewSePPO(p, align.SePPOConfig{Every: 2, Past: 3})
		if err != nil {
			t.Fatal(err)
		}
		judge := align.Rated(aligntest.Liked, 0)
		rehearsed, err := align.Rehearse(a, draw(t, w, p, 8, 1, 5), align.RehearsalConfig{Chunks: 8, Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		r, err := align.NewRun(rehearsed, judge, align.RunConfig{Rounds: rounds, Observations: 16, Each: 2, Train: w.Train, Held: w.Held, Value: func([]align.Sample) float64 { return later(p) }})
		if err != nil {
			t.Fatal(err)
		}
		return p, r
	}
	want, r := begin(6)
	if _, err := r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	_, r = begin(3)
	if _, err := r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(&file); err != nil {
		t.Fatal(err)
	}
	got, r := begin(6)
	if err := r.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(t, got), bytesOf(t, want)) {
		t.Error("a run that went on ends with another policy")
	}
}

// TestBestOfSixteenIsSound: what marks of segments say of others, by a logistic
// regression, leaves less than half of the bad actions among the best of 16 chunks.
func TestBestOfSixteenIsSound(t *testing.T) {
	w := ways(t)
	p := tune(t, w, align.Config{})
	b := &align.Batch{Samples: draw(t, w, p, 64, 2, 71)}
	if err := marked(p)(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	var slope, at float64
	chance := func(v float32) float64 { return 1 / (1 + math.Exp(-(slope*float64(v) + at))) }
	for range 200 {
		var ds, da float64
		for i := range b.Samples {
			for h, v := range b.Samples[i].Actions {
				d := chance(v)
				if b.Samples[i].Marks[h] == align.Bad {
					d--
				}
				ds, da = ds+d*float64(v), da+d
			}
		}
		slope, at = slope-0.05*ds, at-0.05*da
	}
	bad := func(s *align.Sample) (n float64) {
		for _, v := range s.Actions {
			if v <= 0 {
				n++
			}
		}
		return n / float64(len(s.Actions))
	}
	var all, best float64
	ss := draw(t, w, p, 64, 16, 72)
	for g := range 64 {
		pick, top := 0, math.Inf(-1)
		for i := range 16 {
			s := &ss[16*g+i]
			all += bad(s) / float64(len(ss))
			if v := align.Soundness([]float64{chance(s.Actions[0]), chance(s.Actions[1])}); v > top {
				pick, top = i, v
			}
		}
		best += bad(&ss[16*g+pick]) / 64
	}
	t.Logf("%.3f of the actions are bad, %.3f of the best of 16", all, best)
	if best > all/2 || all < 0.3 {
		t.Errorf("%.3f of the actions are bad, %.3f of the best of 16: want half at most", all, best)
	}
}
