package tcc

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/reward/rapl"
)

// plain is the loss as the paper writes it, of all ordered pairs of clips (n,d).
func plain(clips [][]float64, n int, tau float64) float64 {
	d := len(clips[0]) / n
	near := func(a []float64, us []float64) []float64 {
		w, sum := make([]float64, n), 0.0
		for j := range n {
			s := 0.0
			for k := range d {
				e := a[k] - us[j*d+k]
				s += e * e
			}
			w[j] = math.Exp(-s / (float64(d) * tau))
			sum += w[j]
		}
		for j := range w {
			w[j] /= sum
		}
		return w
	}
	total, pairs := 0.0, 0
	for a, u := range clips {
		for b, v := range clips {
			if a == b {
				continue
			}
			pairs++
			for i := range n {
				alpha := near(u[i*d:(i+1)*d], v)
				soft := make([]float64, d)
				for j, w := range alpha {
					for k := range soft {
						soft[k] += w * v[j*d+k]
					}
				}
				mu := 0.0
				for k, w := range near(soft, u) {
					mu += w * float64(k) / float64(n-1)
				}
				e := mu - float64(i)/float64(n-1)
				total += e * e / float64(n)
			}
		}
	}
	return total / float64(pairs)
}

// through embeds a clip x (n,d) by the trainer's head in float64.
func through(w, b []float64, x []float32, d int) []float64 {
	out := len(b)
	z := make([]float64, len(x)/d*out)
	for t := range len(x) / d {
		for o := range out {
			z[t*out+o] = b[o]
			for j := range d {
				z[t*out+o] += w[o*d+j] * float64(x[t*d+j])
			}
		}
	}
	return z
}

func noise(rng *rand.Rand, name string, T, d int) rapl.Video {
	v := rapl.Video{Name: name, D: d}
	for range T * d {
		v.Embed = append(v.Embed, float32(rng.NormFloat64()))
	}
	return v
}

func TestLossAndGradientAgainstTheDefinition(t *testing.T) {
	const d, n = 5, 6
	cfg := Config{Dim: 3, Frames: n, Videos: 3, Temperature: 0.7}.withDefaults()
	rng := rand.New(rand.NewPCG(1, 2))
	tr := newTrainer(d, cfg, rng)
	for i := range tr.b.Data {
		tr.b.Data[i] = float32(rng.NormFloat64())
	}
	tr.b.Push()
	for k := range cfg.Videos {
		v := noise(rng, "v", n, d)
		tr.fill(k, &v)
	}
	tr.g.ForwardTo(tr.loss)
	nn.ZeroGrad(tr.params())
	tr.g.Backward(tr.loss)
	wide := func(x []float32) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = float64(v)
		}
		return y
	}
	w, b := wide(tr.w.Data), wide(tr.b.Data)
	loss := func() float64 {
		var clips [][]float64
		for k := range cfg.Videos {
			clips = append(clips, through(w, b, tr.x.Value[k*n*d:(k+1)*n*d], d))
		}
		return plain(clips, n, cfg.Temperature)
	}
	if got, want := float64(tr.loss.Value[0]), loss(); math.Abs(got-want) > 1e-6 {
		t.Fatalf("loss %v, want %v", got, want)
	}
	const h = 1e-5
	for name, p := range map[string]struct {
		x []float64
		g []float32
	}{"weight": {w, tr.w.Grad}, "bias": {b, tr.b.Grad}} {
		for i := range p.x {
			was := p.x[i]
			p.x[i] = was + h
			up := loss()
			p.x[i] = was - h
			down := loss()
			p.x[i] = was
			want := (up - down) / (2 * h)
			if got := float64(p.g[i]); math.Abs(got-want) > 1e-5+1e-3*math.Abs(want) {
				t.Errorf("%s[%d]: gradient %v, want %v", name, i, got, want)
			}
		}
	}
}

// journey is a video whose hidden progress goes from 0 to 1 at a pace of its own:
// two of d numbers sweep an arc with it, the others wander, three times as far.
func journey(rng *rand.Rand, name string, T, d int) (v rapl.Video, progress []float64) {
	bend := 0.5 + 1.5*rng.Float64()
	walk := make([]float64, d-2)
	for j := range walk {
		walk[j] = 3 * rng.NormFloat64()
	}
	v = rapl.Video{Name: name, D: d}
	for t := range T {
		s := math.Pow(float64(t)/float64(T-1), bend)
		progress = append(progress, s)
		sin, cos := math.Sincos(math.Pi * s)
		v.Embed = append(v.Embed, float32(cos+0.03*rng.NormFloat64()), float32(sin+0.03*rng.NormFloat64()))
		for j := range walk {
			walk[j] += 0.3 * rng.NormFloat64()
			v.Embed = append(v.Embed, float32(walk[j]))
		}
	}
	return v, progress
}

// astray is the mean difference of progress between the frames of a and their
// nearest neighbours in b, as compared by head.
func astray(head *rapl.Head, a, b rapl.Video, pa, pb []float64) float64 {
	at := func(v rapl.Video, t int) []float64 {
		x := make([]float64, v.D)
		for j := range x {
			x[j] = float64(v.Embed[t*v.D+j])
		}
		if head == nil {
			return x
		}
		z := make([]float64, head.Out)
		head.Apply(z, x)
		return z
	}
	sum := 0.0
	for i := range pa {
		x, best, to := at(a, i), math.Inf(1), 0
		for j := range pb {
			y, s := at(b, j), 0.0
			for k := range x {
				s += (x[k] - y[k]) * (x[k] - y[k])
			}
			if s < best {
				best, to = s, j
			}
		}
		sum += math.Abs(pa[i] - pb[to])
	}
	return sum / float64(len(pa))
}

func TestCorrespondingMomentsAreFound(t *testing.T) {
	const d, T = 12, 30
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var videos []rapl.Video
		for range 16 {
			v, _ := journey(rng, "v", T+rng.IntN(8), d)
			videos = append(videos, v)
		}
		head, rep, err := Train(context.Background(), videos, Config{Dim: 8, Frames: 20, Steps: 600, Rate: 3e-3, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		var before, after, lost float64
		const fresh = 12
		for range fresh {
			a, pa := journey(rng, "a", T, d)
			b, pb := journey(rng, "b", T, d)
			before += astray(nil, a, b, pa, pb) / fresh
			after += astray(&head, a, b, pa, pb) / fresh
			l, err := Loss(&head, a, b, Config{Frames: 20})
			if err != nil {
				t.Fatal(err)
			}
			lost += l / fresh
		}
		t.Logf("seed %d: loss %.4f to %.4f, %.4f on fresh videos; nearest neighbours are off by %.2f before, %.2f after", seed, rep.First, rep.Last, lost, before, after)
		if before < 0.2 {
			t.Errorf("seed %d: raw embeddings are off by %.2f alone: the test is too easy", seed, before)
		}
		if after > 0.12 || rep.Last > rep.First/4 {
			t.Errorf("seed %d: moments are off by %.2f, want at most 0.12; loss %.4f to %.4f", seed, after, rep.First, rep.Last)
		}
	}
}

func TestTrainIsDeterministic(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	videos := []rapl.Video{noise(rng, "a", 9, 3), noise(rng, "b", 7, 3), noise(rng, "c", 2, 3)}
	var was rapl.Head
	for i := range 2 {
		h, _, err := Train(context.Background(), videos, Config{Dim: 2, Frames: 5, Steps: 20, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 && !cmp.Equal(h, was) {
			t.Error("the same arguments gave another head")
		}
		was = h
	}
}

// The head that comes out does to embeddings what the trained one did to
// standardised ones.
func TestHeadUndoesTheScaling(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	v := noise(rng, "a", 8, 3)
	for i := range v.Embed {
		v.Embed[i] = 40*v.Embed[i] + 7
		if i%3 == 1 {
			v.Embed[i] = 5 // one that stays
		}
	}
	tr := newTrainer(3, Config{Dim: 2, Frames: 8, Videos: 2}.withDefaults(), rng)
	tr.scale([]rapl.Video{v})
	tr.fill(0, &v)
	h := tr.head()
	got, x := make([]float64, 2), make([]float64, 3)
	for i := range 8 {
		for j := range x {
			x[j] = float64(v.Embed[3*i+j])
		}
		h.Apply(got, x)
		for o := range got {
			want := float64(tr.b.Data[o])
			for j := range x {
				want += float64(tr.w.Data[3*o+j]) * float64(tr.x.Value[3*i+j])
			}
			if math.Abs(got[o]-want) > 1e-5 {
				t.Fatalf("frame %d: %v, want %v", i, got[o], want)
			}
		}
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	tr := newTrainer(4, Config{Frames: 6}.withDefaults(), rng)
	opt := nn.NewAdam(tr.params(), nn.AdamConfig{})
	v := noise(rng, "a", 9, 4)
	if n := testing.AllocsPerRun(10, func() {
		for k := range 4 {
			tr.fill(k, &v)
		}
		tr.step(opt)
	}); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
}

func TestTrainErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	a, b := noise(rng, "a", 5, 3), noise(rng, "b", 5, 3)
	for _, c := range []struct {
		what   string
		videos []rapl.Video
		cfg    Config
		want   string
	}{
		{"one video", []rapl.Video{a}, Config{}, "at least two"},
		{"another width", []rapl.Video{a, noise(rng, "c", 5, 2)}, Config{}, "of 3"},
		{"one frame", []rapl.Video{a, noise(rng, "c", 1, 3)}, Config{}, "at least 2"},
		{"empty", []rapl.Video{a, {Name: "c", D: 3}}, Config{}, "whole frame"},
		{"temperature", []rapl.Video{a, b}, Config{Temperature: -1}, "temperature -1"},
		{"one frame a step", []rapl.Video{a, b}, Config{Frames: 1}, "frames 1"},
		{"rate", []rapl.Video{a, b}, Config{Rate: math.Inf(1)}, "rate +Inf"},
	} {
		if _, _, err := Train(context.Background(), c.videos, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		}
	}
	ctx, end := context.WithCancel(context.Background())
	end()
	if _, _, err := Train(ctx, []rapl.Video{a, b}, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	if _, err := Loss(&rapl.Head{In: 2, Out: 1, W: make([]float64, 2), B: make([]float64, 1)}, a, b, Config{}); err == nil {
		t.Error("a head of another width was measured")
	}
	if l, err := Loss(nil, a, a, Config{Frames: 5, Temperature: 0.01}); err != nil || l > 1e-3 {
		t.Errorf("a video and itself: loss %v, %v; want about 0", l, err)
	}
}
