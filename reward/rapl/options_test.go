package rapl_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/reward/ot"
	"github.com/rapport-rl/rapport/reward/rapl"
)

func TestWarmupStartsWithoutAStep(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 40, 12)
	_, rep, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{Warmup: 2, Epochs: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Epochs[0].Held != rep.Before {
		t.Errorf("the first epoch of warm-up changed %+v to %+v", rep.Before, rep.Epochs[0].Held)
	}
	if rep.Epochs[1].Held == rep.Before {
		t.Error("the second epoch of warm-up learned nothing")
	}
}

func TestFewTripletsAreGoneThroughMoreOften(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 40, 12) // of which 28 train, in three batches
	for steps, want := range map[int]int{0: 2, 6: 2, 7: 3, 30: 10} {
		_, rep, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{Epochs: 2, Steps: steps, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rep.Epochs); n != want {
			t.Errorf("%d steps at least: %d epochs, want %d", steps, n, want)
		}
	}
}

func TestPatienceEndsTheTraining(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 40, 12)
	// A rate that makes everything worse.
	_, rep, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{Rate: 30, Epochs: 50, Patience: 3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rep.Epochs); n != rep.Best+3 {
		t.Errorf("%d epochs with the best %d, want three more", n, rep.Best)
	}
}

func TestTrainingEndsWhereHardlyAnythingIsLeft(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 40, 12)
	_, whole, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{Epochs: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	enough := whole.Epochs[7].Train.Loss + 1e-9
	first := slices.IndexFunc(whole.Epochs, func(e rapl.Epoch) bool { return e.Train.Loss < enough })
	_, rep, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{Epochs: 20, Steps: 100, Enough: enough, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rep.Epochs); first < 1 || n != first+1 || !slices.Equal(rep.Epochs, whole.Epochs[:n]) {
		t.Errorf("%d epochs until a loss of %v, want %d, more than one, as without", n, enough, first+1)
	}
}

func TestSplitByClipIsReported(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 40, 12)
	for i := range ts {
		ts[i].Anchor.Name, ts[i].Better.Name, ts[i].Worse.Name = fmt.Sprint(i%7), fmt.Sprint(7+i%8), fmt.Sprint(15+i%9)
	}
	_, rep, err := rapl.Align(t.Context(), ts, rapl.AlignConfig{ByClip: true, Epochs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Dropped == 0 || rep.Train+rep.Held+rep.Dropped != 40 {
		t.Errorf("%d, %d and %d left out, of 40", rep.Train, rep.Held, rep.Dropped)
	}
}

func TestSweepTellsGammasApart(t *testing.T) {
	w := newWorld(2, 16)
	ts := w.triplets(t, 60, 16)
	table, err := rapl.Sweep(t.Context(), ts, rapl.Gammas(rapl.AlignConfig{Epochs: 20, Dim: 8, Seed: 1}, 1, 10, 50))
	if err != nil {
		t.Fatal(err)
	}
	best := table.Best()
	for i, x := range table {
		if x.Config.Gamma != []float64{1, 10, 50}[i] {
			t.Errorf("trial %d has gamma %g", i, x.Config.Gamma)
		}
		if x.Report.After.Loss < table[best].Report.After.Loss {
			t.Errorf("trial %d is better than the best", i)
		}
	}
	if table[0].Report.After == table[2].Report.After {
		t.Errorf("gamma changes nothing:\n%v", table)
	}
	if s := table.String(); strings.Count(s, "\n") != 5 || !strings.Contains(s, "| cosine | 50 |") {
		t.Errorf("got %s", s)
	}
	if _, err := rapl.Sweep(t.Context(), ts, []rapl.AlignConfig{{}, {Gamma: -1}}); err == nil || !strings.Contains(err.Error(), "configuration 1") {
		t.Errorf("got %v", err)
	}
	if (rapl.Table{}).Best() != -1 {
		t.Error("there is a best of nothing")
	}
}

func TestDeepHeadScoresAsItWasAligned(t *testing.T) {
	w := newWorld(3, 16)
	head := rapl.NewDeepHead(16, []int{8, 6}, 4, rand.New(rand.NewPCG(1, 1)))
	var b bytes.Buffer
	if err := head.Save(&b); err != nil {
		t.Fatal(err)
	}
	back, err := rapl.LoadHead(&b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(head, back); d != "" {
		t.Error(d)
	}
	// The reward is the transport between what the head makes of the frames.
	traj := w.clip(0.5, 10)
	expert := w.video(t, 1, 9)
	s := scorer(t, rapl.Config{Head: &head}, expert)
	got := mean(score(t, s, traj))
	through := func(x []float32) []float64 {
		in := make([]float64, len(x))
		for i, v := range x {
			in[i] = float64(v)
		}
		for _, l := range append(append([]rapl.Layer(nil), head.Hidden...), rapl.Layer{In: 6, Out: 4, W: head.W, B: head.B}) {
			out := make([]float64, l.Out)
			for o := range out {
				out[o] = l.B[o]
				for i, v := range in {
					out[o] += l.W[o*l.In+i] * v
				}
				if l.Out != 4 {
					out[o] = max(out[o], 0)
				}
			}
			in = out
		}
		return in
	}
	var x, y []float64
	for _, f := range traj {
		x = append(x, through(f.Embed)...)
	}
	for k := range 9 {
		y = append(y, through(expert.Embed[k*16:(k+1)*16])...)
	}
	c := make([]float64, 90)
	ot.Matrix(ot.Cosine, c, x, y, 4)
	var p ot.Plan
	if err := (&ot.Solver{Epsilon: 1 / rapl.DefaultGamma, MaxIter: 10000}).Solve(&p, c, 10, 9); err != nil {
		t.Fatal(err)
	}
	if math.Abs(got+p.Cost) > 1e-9 {
		t.Errorf("mean reward %g, want %g", got, -p.Cost)
	}
	bad := head
	bad.Hidden = append([]rapl.Layer(nil), head.Hidden...)
	bad.Hidden[1].In = 3
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "hidden layer 1") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	ts := newWorld(1, 4).triplets(t, 4, 5)
	for want, cfg := range map[string]rapl.AlignConfig{
		"no such gradient": {Gradient: 9},
		"warm-up -1":       {Warmup: -1},
		"patience -1":      {Patience: -1},
		"-1 sweeps":        {Sweeps: -1},
		"hidden layer of":  {Hidden: []int{4, 0}},
	} {
		if _, _, err := rapl.Align(context.Background(), ts, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, g := range []rapl.Gradient{rapl.Implicit, rapl.Unrolled, rapl.Envelope} {
		b, err := g.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back rapl.Gradient
		if err := back.UnmarshalText(b); err != nil || back != g {
			t.Errorf("%v came back as %v, %v", g, back, err)
		}
	}
	var g rapl.Gradient
	if err := g.UnmarshalText([]byte("exact")); err == nil {
		t.Error("took an unknown gradient")
	}
	if _, err := rapl.Gradient(7).MarshalText(); err == nil {
		t.Error("wrote an unknown gradient")
	}
}
