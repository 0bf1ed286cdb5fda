//go:build !race || long

package rapl_test

import (
	"context"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/sim/blob"
)

func TestAlignmentFindsWhatMatters(t *testing.T) {
	const T, n = 16, 150 // short; BenchmarkAlign has real shapes
	for seed := range uint64(3) {
		w := newWorld(seed, 64)
		head, rep, err := rapl.Align(context.Background(), w.triplets(t, n, T), rapl.AlignConfig{Seed: seed, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		frozen, aligned := w.spearman(t, nil, 100, T), w.spearman(t, &head, 100, T)
		fresh, err := rapl.Evaluate(context.Background(), &head, w.triplets(t, 50, T), rapl.AlignConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: Spearman %.2f frozen, %.2f aligned; held out %.2f to %.2f (epoch %d), fresh %.2f; train %.2f",
			seed, frozen, aligned, rep.Before.Accuracy, rep.After.Accuracy, rep.Best, fresh.Accuracy, rep.Epochs[len(rep.Epochs)-1].Train.Accuracy)
		if math.Abs(frozen) > 0.4 {
			t.Errorf("seed %d: frozen embeddings already rank by %.2f: the test is too easy", seed, frozen)
		}
		if aligned < 0.8 {
			t.Errorf("seed %d: aligned embeddings rank by %.2f, want 0.8", seed, aligned)
		}
	}
}

// One seed of RAPL's acceptance. Its bounds (0.8, 0.3 more and 0.6) are those of the mean
// over seeds, which BenchmarkAcceptance measures: single seeds lie beside them, and one seed
// differs by 0.1 between processors, whose kernels round otherwise.
func TestAlignedRewardFollowsTheTruthInTheBlobWorld(t *testing.T) {
	a := accept(t, 1)
	if a.aligned < 0.7 || a.aligned < a.frozen+0.15 {
		t.Errorf("Spearman %.2f aligned and %.2f frozen, want 0.7 and 0.15 more", a.aligned, a.frozen)
	}
	if a.cross < 0.5 {
		t.Errorf("Spearman %.2f with another gripper, want 0.5", a.cross)
	}
	// The plans behind it meet their marginals.
	sc := scorer(t, rapl.Config{Head: &a.head}, a.experts...)
	for _, c := range a.held[:10] {
		e, err := sc.Explain(t.Context(), features(t, a.enc, c))
		if err != nil {
			t.Fatal(err)
		}
		p := ot.Plan{N: e.T, M: e.Frames, P: e.Plan}
		if d := p.Distance(); d > 1e-3 || math.IsNaN(d) {
			t.Errorf("marginals are off by %.2g, want 1e-3", d)
		}
	}
}

// All of it: the convolutions learn what matters by the same loss.
func TestTuningTheWholeEncoderLowersTheHeldOutLoss(t *testing.T) {
	s := newStage(blob.Config{Distractor: true}, 3)
	good, other := s.clips(4, 0.95, 1), s.clips(20, 0, 1)
	all := append(append([]blob.Clip(nil), good...), other...)
	enc := watch(t, all, 60, 4e-3, 1)
	scenes := make([]rapl.Scene, len(all))
	for i, c := range all {
		f, err := enc.Film(ticks(c))
		if err != nil {
			t.Fatal(err)
		}
		scenes[i] = rapl.Scene{Film: f}
	}
	cs := s.answers(40, good, other)
	vs := videos(t, enc, all)
	var ts []rapl.Triplet
	for _, c := range cs {
		ts = append(ts, rapl.Triplet{Anchor: vs[c.Anchor], Better: vs[c.Better], Worse: vs[c.Worse]})
	}
	cfg := rapl.AlignConfig{Dim: 8, Seed: 1, Epochs: 40}
	head, frozen, err := rapl.Align(t.Context(), ts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Init, cfg.Epochs = &head, 6
	told := 0
	tuned, top, rep, err := rapl.Tune(t.Context(), enc, scenes, cs, rapl.TuneConfig{AlignConfig: cfg, Encoder: 1e-3, Told: func(int, int, rapl.Measure) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("held out %.3f with a head on the frozen encoder, %.3f before, %.3f after epoch %d", frozen.After.Loss, rep.Before.Loss, rep.After.Loss, rep.Best)
	if math.Abs(rep.Before.Loss-frozen.After.Loss) > 1e-3 {
		t.Errorf("tuning begins at %.4f, and the alignment of the head ended at %.4f: another split?", rep.Before.Loss, frozen.After.Loss)
	}
	if rep.After.Loss > 0.9*rep.Before.Loss {
		t.Errorf("held-out loss %.3f to %.3f", rep.Before.Loss, rep.After.Loss)
	}
	if told != len(rep.Epochs) {
		t.Errorf("told of %d epochs, of %d", told, len(rep.Epochs))
	}
	// The returned encoder and head are those of the best epoch.
	vs = videos(t, tuned, all)
	ts = ts[:0]
	for _, c := range cs {
		ts = append(ts, rapl.Triplet{Anchor: vs[c.Anchor], Better: vs[c.Better], Worse: vs[c.Worse]})
	}
	after, err := rapl.Evaluate(t.Context(), &top, ts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	before, err := rapl.Evaluate(t.Context(), &head, ts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if after.Loss > before.Loss {
		t.Errorf("over all answers the tuned head has loss %.3f, the old head on the tuned encoder %.3f", after.Loss, before.Loss)
	}
}
