package rapl_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// world makes clips in which little of what is seen matters: a task that gets
// to progress q sweeps an arc of radius one in a plane of the embedding, six
// distractors of three times that size drift through other directions, and a
// little noise fills the rest. A rotation hides which is which.
type world struct {
	d    int
	turn []float64 // (d,d)
	rng  *rand.Rand
}

func newWorld(seed uint64, d int) *world {
	w := &world{d: d, rng: rand.New(rand.NewPCG(seed, 5))}
	w.turn = make([]float64, d*d)
	for i := range d {
		row := w.turn[i*d : (i+1)*d]
		for {
			for j := range row {
				row[j] = w.rng.NormFloat64()
			}
			for k := range i {
				other := w.turn[k*d : (k+1)*d]
				var p float64
				for j := range row {
					p += row[j] * other[j]
				}
				for j := range row {
					row[j] -= p * other[j]
				}
			}
			var n float64
			for _, x := range row {
				n += x * x
			}
			if n > 1e-6 {
				for j := range row {
					row[j] /= math.Sqrt(n)
				}
				break
			}
		}
	}
	return w
}

// distraction is the size of a distractor, where the task has one.
const distraction = 3

// clip gets to progress q in T frames.
func (w *world) clip(q float64, T int) []perception.Features {
	fs := make([]perception.Features, T)
	walk := make([]float64, min(6, w.d-2))
	for j := range walk {
		walk[j] = distraction * w.rng.NormFloat64()
	}
	for t := range fs {
		z := make([]float64, w.d)
		s := math.Pi * q * float64(t) / float64(T-1)
		for j := range z {
			z[j] = 0.03 * w.rng.NormFloat64()
		}
		z[0] += math.Cos(s)
		z[1] += math.Sin(s)
		for j := range walk {
			walk[j] += 0.1 * distraction * w.rng.NormFloat64()
			z[2+j] += walk[j]
		}
		e := make([]float32, w.d)
		for i := range e {
			for j := range z {
				e[i] += float32(w.turn[j*w.d+i] * z[j])
			}
		}
		fs[t].Embed = e
	}
	return fs
}

func (w *world) video(t testing.TB, q float64, T int) rapl.Video { return video(t, "", w.clip(q, T)) }

// triplets compare two clips with one that succeeds, by true progress.
func (w *world) triplets(t testing.TB, n, T int) []rapl.Triplet {
	ts := make([]rapl.Triplet, n)
	for i := range ts {
		a, b := w.rng.Float64(), w.rng.Float64()
		for math.Abs(a-b) < 0.1 {
			b = w.rng.Float64()
		}
		ts[i] = rapl.Triplet{
			Anchor: w.video(t, 0.95+0.05*w.rng.Float64(), T),
			Better: w.video(t, max(a, b), T), Worse: w.video(t, min(a, b), T),
		}
	}
	return ts
}

// spearman of clips' mean rewards and true progress, over n fresh clips.
func (w *world) spearman(t testing.TB, head *rapl.Head, n, T int) float64 {
	var experts []rapl.Video
	for range 6 {
		experts = append(experts, w.video(t, 0.95+0.05*w.rng.Float64(), T))
	}
	s := scorer(t, rapl.Config{Head: head}, experts...)
	q, r := make([]float64, n), make([]float64, n)
	for i := range n {
		q[i] = w.rng.Float64()
		r[i] = mean(score(t, s, w.clip(q[i], T)))
	}
	return rank.Spearman(q, r)
}

func TestAlignIsDeterministic(t *testing.T) {
	w := newWorld(1, 8)
	ts := w.triplets(t, 24, 12)
	ts[3].Tie, ts[7].Tie = true, true
	cfg := rapl.AlignConfig{Seed: 3, Epochs: 4, Dim: 4}
	var heads [3]rapl.Head
	var reps [3]rapl.Report
	for i := range heads {
		cfg.Workers = i + 1
		var err error
		if heads[i], reps[i], err = rapl.Align(context.Background(), ts, cfg); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i < 3; i++ {
		if d := cmp.Diff(heads[0], heads[i]) + cmp.Diff(reps[0], reps[i]); d != "" {
			t.Errorf("%d workers: %s", i+1, d)
		}
	}
	cfg.Seed = 4
	other, _, err := rapl.Align(context.Background(), ts, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(heads[0], other) {
		t.Error("another seed gave the same head")
	}
}

func TestTrainingLowersTheLoss(t *testing.T) {
	for _, cfg := range []rapl.AlignConfig{
		{},
		{Gradient: rapl.Envelope},
		{Gradient: rapl.Unrolled, Sweeps: 20},
		{Hidden: []int{12}},
		{Cost: ot.Euclidean, Gamma: 5, Temperature: 2},
		{Gamma: 1},
	} {
		w := newWorld(2, 16)
		ts := w.triplets(t, 40, 20)
		cfg.Epochs, cfg.Dim, cfg.Seed = 15, 8, 1
		_, rep, err := rapl.Align(context.Background(), ts, cfg)
		if err != nil {
			t.Fatal(err)
		}
		first, last := rep.Epochs[0].Train.Loss, rep.Epochs[14].Train.Loss
		if last > 0.8*first {
			t.Errorf("%+v: training loss %.3f to %.3f", cfg, first, last)
		}
		if rep.Train != 28 || rep.Held != 12 {
			t.Errorf("split %d to %d, want 28 to 12", rep.Train, rep.Held)
		}
		if rep.Best > 0 && rep.After != rep.Epochs[rep.Best-1].Held {
			t.Errorf("best epoch %d says %+v, report %+v", rep.Best, rep.Epochs[rep.Best-1].Held, rep.After)
		}
		for i, e := range rep.Epochs {
			if e.Held.Loss < rep.After.Loss {
				t.Errorf("epoch %d has a lower held-out loss than the one returned", i+1)
			}
		}
	}
}

func TestAlignRefusesBadInput(t *testing.T) {
	w := newWorld(1, 4)
	good := w.triplets(t, 4, 5)
	bad := w.triplets(t, 4, 5)
	bad[2].Worse.D = 2
	void := w.triplets(t, 4, 5)
	void[1].Better.Embed = nil
	h := rapl.NewHead(3, 2, rand.New(rand.NewPCG(1, 1)))
	ctx := context.Background()
	for _, c := range []struct {
		name string
		ts   []rapl.Triplet
		cfg  rapl.AlignConfig
		want string
	}{
		{"none", nil, rapl.AlignConfig{}, "no triplets"},
		{"one", good[:1], rapl.AlignConfig{}, "too few"},
		{"width", bad, rapl.AlignConfig{}, "triplet 2"},
		{"empty", void, rapl.AlignConfig{}, "triplet 1"},
		{"share", good, rapl.AlignConfig{Train: 1}, "training share 1"},
		{"rate", good, rapl.AlignConfig{Rate: -1}, "rate -1"},
		{"epochs", good, rapl.AlignConfig{Epochs: -1}, "epochs -1"},
		{"init", good, rapl.AlignConfig{Init: &h}, "first head takes embeddings of 3"},
	} {
		if _, _, err := rapl.Align(ctx, c.ts, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := rapl.Evaluate(ctx, &h, good, rapl.AlignConfig{}); err == nil {
		t.Error("evaluated a head of another width")
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := rapl.Align(gone, good, rapl.AlignConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// As a session aligns: reward.steps are 2,000.
func BenchmarkAlign(b *testing.B) {
	ts := newWorld(1, 64).triplets(b, 150, 45)
	for b.Loop() {
		if _, _, err := rapl.Align(b.Context(), ts, rapl.AlignConfig{Steps: 2000, Workers: 2}); err != nil {
			b.Fatal(err)
		}
	}
}
