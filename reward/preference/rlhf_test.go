package preference_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/preference"
)

var (
	_ preference.Model = (*preference.Net)(nil)
	_ preference.Model = (*preference.Axes)(nil)
	_ reward.Scorer    = (*preference.Net)(nil)
)

var taste = []float64{1, -0.5, 0, 0, 0.25}

func fit(t *testing.T, pairs []preference.Pair, cfg preference.Config) (*preference.Net, preference.Report) {
	t.Helper()
	n, rep, err := preference.FitRLHF(t.Context(), pairs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n, rep
}

func measure(t *testing.T, m preference.Model, pairs []preference.Pair) preference.Measure {
	t.Helper()
	got, err := preference.Evaluate(m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFitFindsWhatIsPreferred(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  preference.Config
	}{
		{"linear", preference.Config{Linear: true, Rate: 1e-2, Seed: 1}},
		{"network", preference.Config{Hidden: []int{32}, Rate: 3e-3, Epochs: 80, Seed: 1}},
		{"bootstrapped, mean", preference.Config{Linear: true, Rate: 1e-2, Bootstrap: true, Return: preference.Mean, Seed: 2}},
	} {
		rng := newRand(3)
		train := asked(rng, 200, 10, taste, preference.BradleyTerry, 0)
		fresh := asked(rng, 500, 10, taste, preference.BradleyTerry, 0)
		net, rep := fit(t, train, tt.cfg)
		got := measure(t, net, fresh)
		ceiling := 0.0 // of what the person says again
		for _, p := range fresh {
			d := math.Abs(linear(p.A, taste) - linear(p.B, taste))
			ceiling += preference.BradleyTerry.Odds(d, 0).First / float64(len(fresh))
		}
		t.Logf("%s: accuracy %.3f, ceiling %.3f, calibration %.3f, best %v, loss %.3f", tt.name, got.Accuracy, ceiling, got.Calibration, rep.Best, got.Loss)
		if got.Accuracy < ceiling-0.08 {
			t.Errorf("%s: accuracy %.3f of %.3f", tt.name, got.Accuracy, ceiling)
		}
		if rep.Train+rep.Held != 200 || rep.Held != 40 {
			t.Errorf("%s: %d pairs trained on and %d held out of 200", tt.name, rep.Train, rep.Held)
		}
		if rep.After.Loss > rep.Before.Loss {
			t.Errorf("%s: held-out loss rose from %v to %v", tt.name, rep.Before.Loss, rep.After.Loss)
		}
	}
}

// The kept networks are those of the epochs named, and no later ones.
func TestEarlyStoppingKeepsTheBestEpoch(t *testing.T) {
	rng := newRand(5)
	noise := asked(rng, 40, 5, make([]float64, 30), preference.BradleyTerry, 0) // answers of chance
	cfg := preference.Config{Members: 2, Rate: 1e-2, Epochs: 60, Patience: 10, Seed: 1}
	_, rep := fit(t, noise, cfg)
	if len(rep.Epochs) >= 60 {
		t.Errorf("chance was learned from for all %d epochs", len(rep.Epochs))
	}
	if last := rep.Epochs[len(rep.Epochs)-1]; last.Held.Loss <= rep.After.Loss {
		t.Errorf("held-out loss %v at the end, %v kept: nothing to stop for", last.Held.Loss, rep.After.Loss)
	}
	cfg.Held = -1
	_, all := fit(t, noise, cfg)
	if all.Held != 0 || !slices.Equal(all.Best, []int{60, 60}) {
		t.Errorf("without held-out pairs: %d held, epochs %v", all.Held, all.Best)
	}
}

func TestDecayShrinksTheWeights(t *testing.T) {
	rng := newRand(6)
	train := asked(rng, 100, 5, taste, preference.BradleyTerry, 0)
	gap := func(l2 float64) float64 {
		net, _ := fit(t, train, preference.Config{Linear: true, Rate: 1e-2, L2: l2, Held: -1, Epochs: 100, Seed: 1})
		return measure(t, net, train).DecidedGap
	}
	if free, held := gap(-1), gap(1); held > 0.8*free {
		t.Errorf("mean gap %v with decay, %v without", held, free)
	}
}

func TestFitIsDeterministic(t *testing.T) {
	train := asked(newRand(7), 30, 4, taste, preference.Davidson, 1)
	cfg := preference.Config{Epochs: 5, Ties: preference.Davidson, LearnStrength: true, Bootstrap: true, Seed: 9}
	var a, b, c bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		n, _ := fit(t, train, cfg)
		if err := n.Save(w); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Seed++
	n, _ := fit(t, train, cfg)
	if err := n.Save(&c); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) || bytes.Equal(a.Bytes(), c.Bytes()) {
		t.Error("the seed does not determine the fit")
	}
}

func TestScoreIsNormalisedAndRatesArrival(t *testing.T) {
	rng := newRand(8)
	train := asked(rng, 100, 6, taste, preference.BradleyTerry, 0)
	net, _ := fit(t, train, preference.Config{Linear: true, Rate: 1e-2, Seed: 1})
	var sum, square, n float64
	for _, p := range train {
		for _, c := range []preference.Clip{p.A, p.B} {
			r := make([]float64, c.Len())
			if err := net.Frames(r, nil, c); err != nil {
				t.Fatal(err)
			}
			for _, x := range r {
				sum, square, n = sum+x, square+x*x, n+1
			}
		}
	}
	if m, v := sum/n, square/n; !near(m, 0, 1e-3) || v < 0.8 || v > 1.01 { // members agree but for a little
		t.Errorf("rewards of the labelled frames have mean %v and mean square %v", m, v)
	}
	c := draw(rng, 100, len(taste)) // more than one pass of the graph
	traj := make([]perception.Features, c.Len())
	for i := range traj {
		traj[i].Embed = c.Frame(i)
	}
	got, all, spread := make([]float64, 99), make([]float64, 100), make([]float64, 100)
	if err := net.Score(t.Context(), got, traj); err != nil {
		t.Fatal(err)
	}
	if err := net.Frames(all, spread, c); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, all[1:]) {
		t.Error("Score does not rate arriving at the next frame")
	}
	if mean, _ := momentsOf(spread); !(mean > 0) {
		t.Error("members never disagree")
	}
	low, _ := fit(t, train, preference.Config{Linear: true, Rate: 1e-2, Pessimism: 2, Seed: 1})
	careful := make([]float64, 99)
	if err := low.Score(t.Context(), careful, traj); err != nil {
		t.Fatal(err)
	}
	for i := range careful {
		if want := got[i] - 2*spread[i+1]; !near(careful[i], want, 1e-12) {
			t.Fatalf("pessimistic reward %v, want %v", careful[i], want)
		}
	}
}

func momentsOf(x []float64) (mean, dev float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		dev += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(dev)
}

// Members agree where they were taught and not elsewhere.
func TestDisagreementGrowsAwayFromTheLabels(t *testing.T) {
	rng := newRand(9)
	train := asked(rng, 150, 6, taste, preference.BradleyTerry, 0)
	net, _ := fit(t, train, preference.Config{Hidden: []int{32}, Members: 5, Rate: 3e-3, Epochs: 40, Seed: 1})
	var near, far float64
	for range 50 {
		c := draw(rng, 6, len(taste))
		_, s, err := net.Worth(c)
		if err != nil {
			t.Fatal(err)
		}
		near += s
		for i := range c.Embed {
			c.Embed[i] *= 5
		}
		if _, s, err = net.Worth(c); err != nil {
			t.Fatal(err)
		}
		far += s
	}
	if far < 2*near {
		t.Errorf("spread %v at the labels, %v five times as far out", near/50, far/50)
	}
	a, b := train[0].A, train[0].B
	v, err := net.Disagreement(a, b)
	same, err2 := net.Disagreement(a, a)
	if err != nil || err2 != nil || v <= 0 || v > 0.25 || same != 0 {
		t.Errorf("disagreement %v on a pair, %v on one clip; %v, %v", v, same, err, err2)
	}
}

func TestQuestionsAreChosenWhereMembersDiffer(t *testing.T) {
	rng := newRand(12)
	train := asked(rng, 20, 1, taste, preference.BradleyTerry, 0)
	net, _ := fit(t, train, preference.Config{Linear: true, Members: 5, Rate: 1e-2, Bootstrap: true, Seed: 1})
	pool := asked(rng, 30, 1, taste, preference.BradleyTerry, 0)
	pool[7].B = pool[7].A
	i, bits, err := net.Ask(pool)
	if err != nil || !(bits > 0 && bits < 1) {
		t.Fatal(i, bits, err)
	}
	for j, p := range pool {
		g, err := net.Gain(p.A, p.B)
		if err != nil || g > bits || j == 7 && g != 0 {
			t.Errorf("pair %d tells %v bits, the chosen one %v; %v", j, g, bits, err)
		}
	}
	if _, _, err := net.Ask(nil); err == nil {
		t.Error("a question was chosen from none")
	}
	if _, _, err := net.Ask([]preference.Pair{{A: draw(rng, 1, 2), B: draw(rng, 1, 2)}}); err == nil || !strings.Contains(err.Error(), "candidate 0") {
		t.Errorf("another encoder: %v", err)
	}
}

func TestSaveKeepsEveryBit(t *testing.T) {
	rng := newRand(10)
	net, _ := fit(t, asked(rng, 30, 4, taste, preference.RaoKupper, 3), preference.Config{Epochs: 3, Ties: preference.RaoKupper, LearnStrength: true, Seed: 1})
	var b bytes.Buffer
	if err := net.Save(&b); err != nil {
		t.Fatal(err)
	}
	back, err := preference.Load(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	x, y := draw(rng, 7, len(taste)), draw(rng, 3, len(taste))
	want, _ := net.Odds(x, y)
	got, err := back.Odds(x, y)
	if err != nil || got != want || net.Strength() != back.Strength() || back.Members() != 3 {
		t.Errorf("read back: %v, want %v; %v", got, want, err)
	}
	var again bytes.Buffer
	if err := back.Save(&again); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
		t.Errorf("saved again, the bytes differ; %v", err)
	}
	if _, err := preference.Load(bytes.NewReader(b.Bytes()[:b.Len()-3])); err == nil {
		t.Error("a file that is cut off was read")
	}
	if _, err := preference.Load(bytes.NewReader(bytes.Replace(b.Bytes(), []byte("rlhf-1"), []byte("rlhf-9"), 1))); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("another format: %v", err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	rng := newRand(11)
	good := asked(rng, 20, 3, taste, preference.BradleyTerry, 0)
	broken := func(f func(ps []preference.Pair)) []preference.Pair {
		ps := slices.Clone(good)
		f(ps)
		return ps
	}
	for _, tt := range []struct {
		name  string
		pairs []preference.Pair
		cfg   preference.Config
		want  string
	}{
		{"no pairs", nil, preference.Config{}, "label some first"},
		{"too few", good[:1], preference.Config{}, "want 3 at least: label more"},
		{"too few of most held out", good[:2], preference.Config{Held: 0.8}, "want 3 at least"},
		{"another encoder", broken(func(ps []preference.Pair) { ps[3].B = draw(rng, 3, 4) }), preference.Config{}, "pair 3"},
		{"empty clip", broken(func(ps []preference.Pair) { ps[2].A.Embed = nil }), preference.Config{}, "pair 2"},
		{"not a number", broken(func(ps []preference.Pair) { ps[1].A = draw(rng, 3, 5); ps[1].A.Embed[4] = float32(math.NaN()) }), preference.Config{}, "feature[4] is NaN"},
		{"no such verdict", broken(func(ps []preference.Pair) { ps[5].Verdict = 9 }), preference.Config{}, "Verdict(9)"},
		{"no answers", broken(func(ps []preference.Pair) {
			for i := range ps {
				ps[i].Verdict = preference.Unknown
			}
		}), preference.Config{}, "no answers"},
		{"rate", good, preference.Config{Rate: -1}, "rate -1"},
		{"strength", good, preference.Config{Ties: preference.RaoKupper, Strength: 0.5}, "tie strength 0.5"},
		{"members", good, preference.Config{Members: -1}, "members -1"},
		{"hidden", good, preference.Config{Hidden: []int{0}}, "hidden layer of 0"},
		{"held", good, preference.Config{Held: 1.5}, "held-out share 1.5"},
		{"return", good, preference.Config{Return: 7}, "no such return"},
		{"ties", good, preference.Config{Ties: 7}, "no such model of ties"},
		{"diverges", good, preference.Config{Rate: 1e30, Linear: true, Held: -1}, "lower the rate"},
	} {
		_, _, err := preference.FitRLHF(t.Context(), tt.pairs, tt.cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := preference.FitRLHF(ctx, good, preference.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	net, _ := fit(t, good, preference.Config{Epochs: 1})
	if _, err := net.Utility(draw(rng, 3, 4)); err == nil {
		t.Error("a clip of another width was rated")
	}
	if err := net.Score(t.Context(), make([]float64, 2), make([]perception.Features, 3)); err == nil || !strings.Contains(err.Error(), "want 5") {
		t.Errorf("a trajectory of another width: %v", err)
	}
	if err := net.Score(t.Context(), make([]float64, 2), make([]perception.Features, 2)); err == nil || !strings.Contains(err.Error(), "one more") {
		t.Errorf("a trajectory too short: %v", err)
	}
	if err := net.Score(ctx, make([]float64, 1), []perception.Features{{Embed: make([]float32, 5)}, {Embed: make([]float32, 5)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
