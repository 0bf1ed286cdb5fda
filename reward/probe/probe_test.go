package probe_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/perception/encoder"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/probe"
	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/sim/blob"
)

const (
	side    = 64 // of the blob world's pictures
	lamp    = 12 // of a lamp, pixels
	patches = 5  // so that a lamp fills one
)

// light paints a lamp into a corner of a frame, 0 to 3 row by row.
func light(f robot.Frame, corner int) {
	x0, y0 := corner%2*(side-lamp), corner/2*(side-lamp)
	for y := y0; y < y0+lamp; y++ {
		for x := x0; x < x0+lamp; x++ {
			copy(f.Pix[3*(y*side+x):], []byte{255, 20, 255})
		}
	}
}

// patchOf is the patch that a corner's lamp fills.
func patchOf(corner int) int {
	return corner%2*(patches-1) + corner/2*(patches-1)*patches
}

// shot is a clip under lamps in all four corners.
type shot struct {
	blob.Clip
	lit [4]bool
}

func (s shot) ticks() (fs [][]robot.Frame) {
	for i := range s.Frames {
		fs = append(fs, s.Frames[i:i+1])
	}
	return fs
}

func shots(w *blob.World, rng *rand.Rand, n int, lit func(blob.Clip) [4]bool) (out []shot) {
	for range n {
		s := shot{Clip: w.Clip(rng.Float64())}
		s.lit = lit(s.Clip)
		for c, on := range s.lit {
			for _, f := range s.Frames {
				if on {
					light(f, c)
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func anyhow(rng *rand.Rand) func(blob.Clip) [4]bool {
	return func(blob.Clip) (l [4]bool) {
		for c := range l {
			l[c] = rng.IntN(2) == 0
		}
		return l
	}
}

// eyes learn from clips, without any label.
func eyes(t *testing.T, seed uint64, steps int) *encoder.Conv {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	cfg := encoder.Default(blob.Camera)
	cfg.Shape = encoder.Shape{Side: 32, Channels: [2]int{8, 16}, Keypoints: 12}
	cfg.Steps, cfg.Batch, cfg.LR = steps, 8, 3e-3
	cfg.Tool, cfg.Dynamics, cfg.Clone, cfg.Seed = 0, 0, 0, seed
	var d encoder.Data
	for _, s := range shots(blob.New(blob.Config{Frames: 16}, rand.NewPCG(seed, 8)), rng, 40, anyhow(rng)) {
		n := len(s.Frames)
		d.Clips = append(d.Clips, encoder.Clip{Frames: s.ticks(), States: make([]robot.State, n), Applied: make([]robot.Command, n-1)})
	}
	enc, _, err := encoder.Train(t.Context(), d, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// taught is a reward fitted to which of two clips is better.
func taught(t *testing.T, enc *encoder.Conv, ss []shot, rng *rand.Rand, better func(a, b shot) (said, first bool)) *preference.Net {
	t.Helper()
	clips := make([]preference.Clip, len(ss))
	for i, s := range ss {
		fs, err := enc.ExtractBatch(t.Context(), s.ticks(), 1)
		if err != nil {
			t.Fatal(err)
		}
		clips[i].D = enc.Dim()
		for _, f := range fs {
			clips[i].Embed = append(clips[i].Embed, f.Embed...)
		}
	}
	var pairs []preference.Pair
	for len(pairs) < 120 {
		a, b := rng.IntN(len(ss)), rng.IntN(len(ss))
		said, first := better(ss[a], ss[b])
		if !said {
			continue
		}
		p := preference.Pair{A: clips[a], B: clips[b], Verdict: preference.Second}
		if first {
			p.Verdict = preference.First
		}
		pairs = append(pairs, p)
	}
	net, _, err := preference.FitRLHF(t.Context(), pairs, preference.Config{Seed: 1, Epochs: 40, Rate: 3e-3, Return: preference.Mean})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func rated(net *preference.Net) probe.Rate {
	return func(_ int, z []float32) (float64, error) {
		var r [1]float64
		err := net.Frames(r[:], nil, preference.Clip{D: len(z), Embed: z})
		return r[0], err
	}
}

func images(t *testing.T, l *encoder.Lens, ss []shot) (xs [][][]float32) {
	t.Helper()
	for k, s := range ss {
		for _, i := range []int{5 * k % len(s.Frames), (5*k + 8) % len(s.Frames)} {
			x, err := l.Images(s.Frames[i : i+1])
			if err != nil {
				t.Fatal(err)
			}
			xs = append(xs, x)
		}
	}
	return xs
}

// The acceptance of capability card 39: lamps are lit in all corners at random, and answers
// went by that of one of them. Where they went by the task, no corner is named.
func TestProbeFindsAPlantedShortcut(t *testing.T) {
	enc := eyes(t, 1, 300)
	l := enc.Lens()
	audit := func(seed uint64, better func(a, b shot) (said, first bool)) probe.Report {
		rng := rand.New(rand.NewPCG(seed, 3))
		ss := shots(blob.New(blob.Config{Frames: 16}, rand.NewPCG(seed, 1)), rng, 30, anyhow(rng))
		net := taught(t, enc, ss, rng, better)
		r, err := probe.Audit(t.Context(), l, rated(net), images(t, l, ss), probe.Config{Seed: seed, Patches: patches})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	found := 0
	for seed := range uint64(10) {
		corner := int(seed) % 4
		r := audit(seed, func(a, b shot) (bool, bool) { return a.lit[corner] != b.lit[corner], a.lit[corner] })
		_, p, share := r.Top()
		t.Logf("seed %d: %.2f to %.2f, patch %d by %.2f, the lamp is in %d", seed, r.Found[0].Before, r.Found[0].After, p, share, patchOf(corner))
		if p == patchOf(corner) {
			found++
		}
	}
	if found < 9 {
		t.Errorf("the lamp that the reward goes by was found in %d of 10 seeds, want 9", found)
	}
	for seed := range uint64(3) {
		r := audit(seed, func(a, b shot) (bool, bool) { return true, a.Return() > b.Return() })
		_, p, share := r.Top()
		t.Logf("seed %d, by the task: patch %d by %.2f", seed, p, share)
		for corner := range 4 {
			if p == patchOf(corner) {
				t.Errorf("seed %d: answers went by the task, and corner %d is named", seed, corner)
			}
		}
	}
}

func TestAuditKeepsToWhatFramesShow(t *testing.T) {
	enc := eyes(t, 2, 2)
	l := enc.Lens()
	rng := rand.New(rand.NewPCG(2, 3))
	ss := shots(blob.New(blob.Config{Frames: 16}, rand.NewPCG(2, 1)), rng, 6, func(blob.Clip) [4]bool { return [4]bool{} })
	xs, was := images(t, l, ss), images(t, l, ss)
	rate := func(_ int, z []float32) (float64, error) { return float64(z[0] + 2*z[3]), nil }
	cfg := probe.Config{Frames: 2, Steps: 5, Patches: 4, Seed: 1}
	r, err := probe.Audit(t.Context(), l, rate, xs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, xs); diff != "" {
		t.Error("the frames were changed")
	}
	rose := false
	for _, f := range r.Found {
		rose = rose || f.After > f.Before
		if f.After < f.Before || f.After > r.Most {
			t.Errorf("frame %d: %v to %v, real ones to %v", f.At, f.Before, f.After, r.Most)
		}
		for j, v := range f.Probe[0] {
			lo, hi := xs[0][0][j], xs[0][0][j]
			for _, x := range xs {
				lo, hi = min(lo, x[0][j]), max(hi, x[0][j])
			}
			if v < lo || v > hi {
				t.Fatalf("number %d is %v, in real frames %v to %v", j, v, lo, hi)
			}
		}
	}
	if !rose {
		t.Error("no frame was worth more after")
	}
	again, err := probe.Audit(t.Context(), l, rate, xs, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Error("the same audit came out otherwise")
	}
	flat, err := probe.Audit(t.Context(), l, func(int, []float32) (float64, error) { return 1, nil }, xs, cfg)
	if c, p, _ := flat.Top(); err != nil || c != -1 || p != -1 {
		t.Errorf("a reward that is the same everywhere rises in patch %d of camera %d, %v", p, c, err)
	}
	for want, bad := range map[string]probe.Config{"patches": {Patches: 33}, "stride": {Stride: 2}, "leaps": {Leaps: -1}, "blur": {Blur: 40}} {
		if _, err := probe.Audit(t.Context(), l, rate, xs, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want it to name %s", bad, err, want)
		}
	}
	if _, err := probe.Audit(t.Context(), l, rate, xs[:1], cfg); err == nil || !strings.Contains(err.Error(), "two frames") {
		t.Errorf("one frame: error %v", err)
	}
}
