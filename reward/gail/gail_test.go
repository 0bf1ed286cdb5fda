package gail

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/reward"
	"github.com/rapport-rl/rapport/reward/rapl"
)

var _ reward.Scorer = (*Scorer)(nil)

func filled(n *Net, N int, seed uint64) *pass {
	rng := rand.New(rand.NewPCG(seed, 3))
	p := newPass(N, n.Sizes)
	for i := range p.h[0] {
		p.h[0][i] = rng.NormFloat64()
	}
	for l := range n.B {
		for i := range n.B[l] {
			n.B[l][i] = 0.5 * rng.NormFloat64()
		}
	}
	return p
}

func TestInputGradientAgainstDifferences(t *testing.T) {
	n := newNet(6, []int{5, 4}, rand.New(rand.NewPCG(1, 1)))
	p := filled(n, 3, 1)
	n.forward(p)
	n.grad(p)
	const h = 1e-6
	for i := range p.h[0] {
		x := p.h[0][i]
		at := func(v float64) float64 {
			p.h[0][i] = v
			n.forward(p)
			return p.y[i/6]
		}
		want := (at(x+h) - at(x-h)) / (2 * h)
		p.h[0][i] = x
		if got := p.inGrad[i]; math.Abs(got-want) > 1e-8 {
			t.Fatalf("input %d: %v, want %v", i, got, want)
		}
	}
	norm := 0.0
	for _, g := range p.inGrad[:6] {
		norm += g * g
	}
	if math.Abs(p.norms[0]-math.Sqrt(norm)) > 1e-12 {
		t.Errorf("norm %v, want %v", p.norms[0], math.Sqrt(norm))
	}
}

// The penalty's gradient by every weight: backpropagation through the gradient.
func TestPenaltyGradientAgainstDifferences(t *testing.T) {
	for _, hidden := range [][]int{{5, 4}, {7}, {}, {3, 3, 3}} {
		rng := rand.New(rand.NewPCG(2, 2))
		n := newNet(6, hidden, rng)
		for l := range n.W {
			for i := range n.W[l] {
				n.W[l][i] *= 2 // steep enough to be penalised, some samples not
			}
		}
		p := filled(n, 9, 2)
		const lambda, k = 3.0, 1.5
		zero := make([]float64, p.n)
		value := func() float64 {
			n.forward(p)
			n.grad(p)
			sum := 0.0
			for _, v := range p.norms {
				over := max(0, v-k)
				sum += lambda * over * over / float64(p.n)
			}
			return sum
		}
		s := newSlopes(n)
		want0 := value()
		if got := n.penalty(p, s, lambda, k, zero); math.Abs(got-want0) > 1e-12 || want0 == 0 {
			t.Fatalf("hidden %v: penalty %v, want %v and not 0", hidden, got, want0)
		}
		check := func(name string, l int, x, g []float64) {
			const h = 1e-6
			for i := range x {
				was := x[i]
				x[i] = was + h
				up := value()
				x[i] = was - h
				down := value()
				x[i] = was
				if want := (up - down) / (2 * h); math.Abs(g[i]-want) > 1e-6*(1+math.Abs(want)) {
					t.Errorf("hidden %v: %s[%d][%d]: %v, want %v", hidden, name, l, i, g[i], want)
				}
			}
		}
		for l := range n.W {
			check("w", l, n.W[l], s.w[l])
			check("b", l, n.B[l], s.b[l])
		}
	}
}

func TestLossGradientAgainstDifferences(t *testing.T) {
	n := newNet(4, []int{5, 3}, rand.New(rand.NewPCG(3, 3)))
	p := filled(n, 7, 3)
	dy := make([]float64, p.n)
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range dy {
		dy[i] = rng.NormFloat64()
	}
	value := func() (sum float64) {
		n.forward(p)
		for i, y := range p.y {
			sum += dy[i] * y
		}
		return sum
	}
	value()
	s := newSlopes(n)
	n.backward(p, s, dy, false)
	const h = 1e-6
	for l := range n.W {
		for _, c := range [][2][]float64{{n.W[l], s.w[l]}, {n.B[l], s.b[l]}} {
			for i := range c[0] {
				was := c[0][i]
				c[0][i] = was + h
				up := value()
				c[0][i] = was - h
				down := value()
				c[0][i] = was
				if want := (up - down) / (2 * h); math.Abs(c[1][i]-want) > 1e-7 {
					t.Errorf("layer %d, %d: %v, want %v", l, i, c[1][i], want)
				}
			}
		}
	}
}

func TestSpectralNormsAreOneAndTheirGradientIsRight(t *testing.T) {
	tr, err := New(3, Config{Hidden: []int{5, 4}, Spectral: true, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		tr.normalise()
	}
	for l, w := range tr.net.W {
		var svd mat.SVD
		if !svd.Factorize(mat.NewDense(tr.net.Sizes[l+1], tr.net.Sizes[l], w), mat.SVDNone) {
			t.Fatal("no singular values")
		}
		if top := svd.Values(nil)[0]; math.Abs(top-1) > 1e-6 {
			t.Errorf("layer %d has the singular value %v, want 1", l, top)
		}
	}
	// A linear loss of the scaled weights, by the raw ones.
	rng := rand.New(rand.NewPCG(6, 6))
	for l := range tr.s.w {
		for i := range tr.s.w[l] {
			tr.s.w[l][i] = rng.NormFloat64()
		}
	}
	given := newSlopes(tr.raw)
	for l := range tr.s.w {
		copy(given.w[l], tr.s.w[l])
	}
	tr.unscale()
	value := func(l int) (sum float64) {
		w := tr.raw.W[l]
		var svd mat.SVD
		svd.Factorize(mat.NewDense(tr.raw.Sizes[l+1], tr.raw.Sizes[l], w), mat.SVDNone)
		top := svd.Values(nil)[0]
		for i, g := range given.w[l] {
			sum += g * w[i] / top
		}
		return sum
	}
	const h = 1e-6
	for l, w := range tr.raw.W {
		for i := range w {
			was := w[i]
			w[i] = was + h
			up := value(l)
			w[i] = was - h
			down := value(l)
			w[i] = was
			if want := (up - down) / (2 * h); math.Abs(tr.s.w[l][i]-want) > 1e-5 {
				t.Errorf("layer %d, %d: %v, want %v", l, i, tr.s.w[l][i], want)
			}
		}
	}
}

// rails are videos along a line of the plane, and others beside it.
func rails(n int, seed uint64) (experts, others []rapl.Video) {
	rng := rand.New(rand.NewPCG(seed, 8))
	for range n {
		for k, y := range []float64{0, 1.5} {
			v := rapl.Video{Name: "v", D: 2}
			for t := range 12 {
				v.Embed = append(v.Embed, float32(float64(t)/6+0.1*rng.NormFloat64()), float32(y+0.1*rng.NormFloat64()))
			}
			if k == 0 {
				experts = append(experts, v)
			} else {
				others = append(others, v)
			}
		}
	}
	return experts, others
}

func trained(t testing.TB, c Config, steps int) (*Trainer, Told) {
	t.Helper()
	tr, err := New(2, c)
	if err != nil {
		t.Fatal(err)
	}
	experts, others := rails(10, 1)
	told, err := tr.Update(context.Background(), experts, others, steps)
	if err != nil {
		t.Fatal(err)
	}
	return tr, told
}

func TestPenaltyKeepsTheDiscriminatorLipschitz(t *testing.T) {
	_, with := trained(t, Config{Hidden: []int{32, 32}, Seed: 1}, 1500)
	_, without := trained(t, Config{Hidden: []int{32, 32}, Lambda: -1, Seed: 1}, 1500)
	spectral, sn := trained(t, Config{Hidden: []int{32, 32}, Lambda: -1, Spectral: true, Seed: 1}, 1500)
	t.Logf("gauge %.2f with the penalty, %.2f without, %.2f with spectral norms alone; told right %.2f, %.2f, %.2f",
		with.Gauge, without.Gauge, sn.Gauge, with.Accuracy, without.Accuracy, sn.Accuracy)
	if with.Gauge > 1.2 {
		t.Errorf("gauge %.2f with the penalty, want at most 1.2", with.Gauge)
	}
	if without.Gauge < 2 {
		t.Errorf("gauge %.2f without: the test shows nothing", without.Gauge)
	}
	if sn.Gauge > 1.01 {
		t.Errorf("gauge %.2f with spectral norms, want at most 1", sn.Gauge)
	}
	if with.Accuracy < 0.9 {
		t.Errorf("%.2f told right, want 0.9", with.Accuracy)
	}
	if spectral.Model().Validate() != nil {
		t.Error("the model is not whole")
	}
}

func TestPessimismIsOneUpToKAndAboveZero(t *testing.T) {
	for norm := 0.0; norm < 1e4; norm = norm*1.3 + 0.05 {
		m := Pessimism(norm, 1)
		if !(m > 0 && m <= 1) || norm <= 1 && m != 1 {
			t.Fatalf("norm %v: factor %v", norm, m)
		}
	}
	if got, want := Pessimism(2, 1), math.Exp(-1); math.Abs(got-want) > 1e-15 {
		t.Errorf("factor %v, want %v", got, want)
	}
}

func features(v rapl.Video) []perception.Features {
	var fs []perception.Features
	for t := range v.Len() {
		fs = append(fs, perception.Features{Embed: v.Embed[t*v.D : (t+1)*v.D]})
	}
	return fs
}

func TestExpertsEarnMore(t *testing.T) {
	tr, _ := trained(t, Config{Hidden: []int{32, 32}, Seed: 2}, 800)
	b, err := json.Marshal(tr.Model())
	if err != nil {
		t.Fatal(err)
	}
	var m Model
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	s, err := NewScorer(m)
	if err != nil {
		t.Fatal(err)
	}
	experts, others := rails(5, 7)
	mean := func(vs []rapl.Video) (sum float64) {
		for _, v := range vs {
			r := make([]float64, v.Len()-1)
			if err := s.Score(context.Background(), r, features(v)); err != nil {
				t.Fatal(err)
			}
			for _, x := range r {
				if x < 0 {
					t.Fatalf("a reward of %v", x)
				}
				sum += x / float64(len(r)*len(vs))
			}
		}
		return sum
	}
	e, o := mean(experts), mean(others)
	if e < 2*o {
		t.Errorf("experts earn %.2f a step, others %.2f", e, o)
	}
	norms := make([]float64, 11)
	if err := s.Norms(context.Background(), norms, features(experts[0])); err != nil {
		t.Fatal(err)
	}
	if g := Gauge(norms); !(g > 0 && g < 2) {
		t.Errorf("gauge %v", g)
	}
	if Gauge(nil) != 0 || Gauge([]float64{3, 1, 2}) != 3 {
		t.Error("the 95th percentile of three is their largest")
	}
}

func TestUpdateIsDeterministic(t *testing.T) {
	a, _ := trained(t, Config{Hidden: []int{8}, Seed: 3, Spectral: true}, 30)
	b, _ := trained(t, Config{Hidden: []int{8}, Seed: 3, Spectral: true}, 30)
	if !cmp.Equal(a.Model(), b.Model()) {
		t.Error("the same arguments gave another model")
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	tr, _ := trained(t, Config{Hidden: []int{16, 16}, Spectral: true}, 1)
	experts, others := rails(3, 1)
	if n := testing.AllocsPerRun(10, func() { tr.step(experts, others) }); n != 0 {
		t.Errorf("a step allocates %v times, want 0", n)
	}
	s, err := NewScorer(tr.Model())
	if err != nil {
		t.Fatal(err)
	}
	fs, r := features(experts[0]), make([]float64, 11)
	if n := testing.AllocsPerRun(10, func() {
		if err := s.Score(context.Background(), r, fs); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the pool may be emptied
		t.Errorf("scoring allocates %v times", n)
	}
}

func TestGAILErrors(t *testing.T) {
	for _, c := range []Config{{Batch: -1}, {Hidden: []int{0}}, {K: -1}, {Lambda: math.NaN()}, {Rate: math.Inf(1)}} {
		if _, err := New(2, c); err == nil {
			t.Errorf("%+v made a trainer", c)
		}
	}
	if _, err := New(0, Config{}); err == nil {
		t.Error("embeddings of no numbers")
	}
	tr, err := New(2, Config{Hidden: []int{4}})
	if err != nil {
		t.Fatal(err)
	}
	experts, others := rails(1, 1)
	ended, end := context.WithCancel(context.Background())
	end()
	short := rapl.Video{Name: "short", D: 2, Embed: []float32{1, 2}}
	wide := rapl.Video{Name: "wide", D: 3, Embed: make([]float32, 6)}
	for _, c := range []struct {
		ctx  context.Context
		a, b []rapl.Video
		n    int
		want string
	}{
		{ended, experts, others, 1, "canceled"},
		{context.Background(), nil, others, 1, "preferred videos and others"},
		{context.Background(), experts, nil, 1, "preferred videos and others"},
		{context.Background(), experts, []rapl.Video{short}, 1, "at least 2"},
		{context.Background(), []rapl.Video{wide}, others, 1, "of 2"},
		{context.Background(), []rapl.Video{{Name: "none", D: 2}}, others, 1, "whole frame"},
		{context.Background(), experts, others, 0, "0 steps"},
	} {
		if _, err := tr.Update(c.ctx, c.a, c.b, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	good := tr.Model()
	for name, spoil := range map[string]func(*Model){
		"k":       func(m *Model) { m.K = 0 },
		"odd":     func(m *Model) { m.Net.Sizes[0] = 3; m.Net.W[0] = make([]float64, 12) },
		"NaN":     func(m *Model) { m.Net.B[0][0] = math.NaN() },
		"no net":  func(m *Model) { m.Net = Net{} },
		"two out": func(m *Model) { m.Net.Sizes[2] = 2 },
		"weights": func(m *Model) { m.Net.W[1] = nil },
	} {
		b, err := json.Marshal(good)
		if err != nil {
			t.Fatal(err)
		}
		var m Model
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		spoil(&m)
		if _, err := NewScorer(m); err == nil {
			t.Errorf("%s: it made a scorer", name)
		}
	}
	s, err := NewScorer(good)
	if err != nil {
		t.Fatal(err)
	}
	fs := features(experts[0])
	bad := features(experts[0])
	bad[1].Embed = []float32{float32(math.NaN()), 0}
	for _, c := range []struct {
		ctx  context.Context
		n    int
		traj []perception.Features
		want string
	}{
		{ended, 11, fs, "canceled"},
		{context.Background(), 12, fs, "12 features for 12"},
		{context.Background(), 0, fs[:1], "1 features for 0"},
		{context.Background(), 11, bad, "is NaN"},
		{context.Background(), 1, []perception.Features{{}, {}}, "of 0 numbers, want 2"},
	} {
		if err := s.Score(c.ctx, make([]float64, c.n), c.traj); err == nil || !strings.Contains(err.Error(), c.want) && !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
