package rapl_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/rapl"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/blob"
)

// stage is the blob world as an encoder and a simulated person see it.
type stage struct {
	w   *blob.World
	rng *rand.Rand
}

// frames of a clip: enough to show a push, short for the race detector's sake.
const frames = 24

func newStage(cfg blob.Config, seed uint64) *stage {
	cfg.Frames = frames
	return &stage{blob.New(cfg, rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))}
}

func (s *stage) clips(n int, lo, hi float64) []blob.Clip {
	cs := make([]blob.Clip, n)
	for i := range cs {
		cs[i] = s.w.Clip(lo + (hi-lo)*s.rng.Float64())
	}
	return cs
}

func ticks(c blob.Clip) [][]robot.Frame {
	fs := make([][]robot.Frame, len(c.Frames))
	for i := range fs {
		fs[i] = []robot.Frame{c.Frames[i]}
	}
	return fs
}

// watch trains an encoder on clips, without any label and without an arm's senses.
func watch(t testing.TB, clips []blob.Clip, steps int, rate float64, seed uint64) *encoder.Conv {
	t.Helper()
	cfg := encoder.Default(blob.Camera)
	cfg.Shape = encoder.Shape{Side: 64, Channels: [2]int{8, 24}, Keypoints: 12}
	cfg.Steps, cfg.Batch, cfg.LR = steps, 16, rate
	cfg.Tool, cfg.Dynamics, cfg.Clone, cfg.Seed = 0, 0, 0, seed
	var d encoder.Data
	for _, c := range clips {
		n := len(c.Frames)
		d.Clips = append(d.Clips, encoder.Clip{Frames: ticks(c), States: make([]robot.State, n), Applied: make([]robot.Command, n-1)})
	}
	enc, _, err := encoder.Train(t.Context(), d, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func features(t testing.TB, enc *encoder.Conv, c blob.Clip) []perception.Features {
	t.Helper()
	fs, err := enc.ExtractBatch(t.Context(), ticks(c), runtime.GOMAXPROCS(0))
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func videos(t testing.TB, enc *encoder.Conv, clips []blob.Clip) []rapl.Video {
	vs := make([]rapl.Video, len(clips))
	for i, c := range clips {
		vs[i] = video(t, "", features(t, enc, c))
	}
	return vs
}

// answers compare pairs of clips with a good one, by what is truly better.
func (s *stage) answers(n int, good, any []blob.Clip) []rapl.Comparison {
	cs := make([]rapl.Comparison, 0, n)
	for len(cs) < n {
		a, b := s.rng.IntN(len(any)), s.rng.IntN(len(any))
		if any[a].Return() < any[b].Return() {
			a, b = b, a
		}
		if any[a].Return()-any[b].Return() < 0.01 { // nobody could tell
			continue
		}
		cs = append(cs, rapl.Comparison{Anchor: s.rng.IntN(len(good)), Better: len(good) + a, Worse: len(good) + b})
	}
	return cs
}

// ranking is Spearman's of the true return and the optimal-transport reward.
func ranking(t testing.TB, enc *encoder.Conv, head *rapl.Head, experts []rapl.Video, clips []blob.Clip) float64 {
	s := scorer(t, rapl.Config{Head: head}, experts...)
	truth, got := make([]float64, len(clips)), make([]float64, len(clips))
	for i, c := range clips {
		truth[i] = c.Return()
		got[i] = mean(score(t, s, features(t, enc, c)))
	}
	return rank.Spearman(truth, got)
}

// acceptance is what 60 triplets make of an encoder, in Spearman's correlation of
// reward and true return.
type acceptance struct {
	frozen, aligned, cross float64 // cross: with another gripper
	head                   rapl.Head
	enc                    *encoder.Conv
	experts                []rapl.Video
	held                   []blob.Clip
}

// accept aligns, in the blob world with a distractor, an encoder that saw clips of two
// grippers, without labels. It is judged on 100 clips never seen, and, with preferred
// videos and labels of the first gripper alone, on 100 of the other.
func accept(t testing.TB, seed uint64) (a acceptance) {
	t.Helper()
	s := newStage(blob.Config{Distractor: true}, seed)
	fork := newStage(blob.Config{Distractor: true, Gripper: blob.Fork}, 99+seed)
	good, other := s.clips(60, 0.95, 1), s.clips(174, 0, 1)
	a.enc = watch(t, append(append([]blob.Clip(nil), other[:50]...), fork.clips(50, 0, 1)...), 600, 2e-3, seed-1)
	seen := videos(t, a.enc, append(append([]blob.Clip(nil), good...), other...))
	var ts []rapl.Triplet
	for i, c := range s.answers(60, good, other) {
		ts = append(ts, rapl.Triplet{Anchor: seen[i], Better: seen[c.Better], Worse: seen[c.Worse]})
	}
	var rep rapl.Report
	var err error
	a.head, rep, err = rapl.Align(t.Context(), ts, rapl.AlignConfig{Dim: 16, Rate: 0.02, Temperature: 5, Train: 0.8, Epochs: 60, Patience: 15, Seed: 1, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	a.experts, a.held = seen[:6], s.clips(100, 0, 1)
	a.frozen, a.aligned = ranking(t, a.enc, nil, a.experts, a.held), ranking(t, a.enc, &a.head, a.experts, a.held)
	a.cross = ranking(t, a.enc, &a.head, a.experts, fork.clips(100, 0, 1))
	t.Logf("seed %d: Spearman %.2f frozen, %.2f aligned, %.2f with another gripper; held-out accuracy %.2f, ECE %.2f",
		seed, a.frozen, a.aligned, a.cross, rep.After.Accuracy, rep.After.ECE)
	return a
}

// BenchmarkAcceptance is RAPL's acceptance over five seeds (docs/rapl.md).
func BenchmarkAcceptance(b *testing.B) {
	for b.Loop() {
		var frozen, aligned, cross float64
		for seed := uint64(1); seed <= 5; seed++ {
			a := accept(b, seed)
			frozen, aligned, cross = frozen+a.frozen/5, aligned+a.aligned/5, cross+a.cross/5
		}
		b.ReportMetric(frozen, "frozen")
		b.ReportMetric(aligned, "aligned")
		b.ReportMetric(cross, "other-gripper")
	}
}
