package bc_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
)

// normal is the density of a Gaussian.
func normal(x, mean, std float64) float64 {
	d := (x - mean) / std
	return math.Exp(-0.5*d*d) / (std * math.Sqrt(2*math.Pi))
}

// heads are means and raw deviations, ordinary and extreme.
var heads = [][2]float64{{0, 0}, {0.7, 0.4}, {-1.3, -0.6}, {4, 0.2}, {-9, 1}, {0.1, -3}}

func TestDensityIntegratesToOne(t *testing.T) {
	for _, h := range heads[:3] {
		g := nn.NewGraph()
		raw, u := g.Input(1, 2), g.Input(1, 1)
		logp := bc.LogProb(g, raw, u)
		raw.Value[0], raw.Value[1] = float32(h[0]), float32(h[1])
		// Over the action itself, by the midpoint rule on u with the slope of
		// tanh as the measure, which is independent of logSlope.
		sum, mean := 0.0, 0.0
		const du = 1e-3
		for x := -12.0; x < 12; x += du {
			u.Value[0] = float32(x)
			g.Forward()
			da := math.Tanh(x+du/2) - math.Tanh(x-du/2)
			p := math.Exp(float64(logp.Value[0])) * da
			sum += p
			mean += p * math.Tanh(x)
		}
		if math.Abs(sum-1) > 1e-4 { // float32 of log p: 1e-6 relative, summed
			t.Errorf("head %v: the density integrates to %v, want 1", h, sum)
		}
	}
}

func TestDrawGivesActionAndItsDensity(t *testing.T) {
	for _, h := range heads {
		for _, e := range []float64{-2, -0.3, 0, 1.5} {
			g := nn.NewGraph()
			raw, noise := g.Input(1, 2), g.Input(1, 1)
			out := bc.Draw(g, raw, noise)
			raw.Value[0], raw.Value[1], noise.Value[0] = float32(h[0]), float32(h[1]), float32(e)
			g.Forward()
			l, _ := bc.LogStd(float64(raw.Value[1]))
			std := math.Exp(l)
			x := float64(raw.Value[0]) + std*float64(noise.Value[0])
			// 1 - tanh^2 = 1/cosh^2, good in float64 while cosh is finite.
			want := math.Log(normal(x, float64(raw.Value[0]), std)) + 2*math.Log(math.Cosh(x))
			if got := float64(out.Value[1]); math.Abs(got-want) > 1e-5*(1+math.Abs(want)) {
				t.Errorf("head %v, noise %v: log density %v, want %v", h, e, got, want)
			}
			if got, want := float64(out.Value[0]), math.Tanh(x); math.Abs(got-want) > 1e-6 {
				t.Errorf("head %v, noise %v: action %v, want %v", h, e, got, want)
			}
		}
	}
}

func TestKLMatchesIntegration(t *testing.T) {
	for _, p := range heads[:4] {
		for _, q := range heads[:3] {
			g := nn.NewGraph()
			raw, ref := g.Input(1, 2), g.Input(1, 2)
			kl := bc.KL(g, raw, ref)
			for j := range 2 {
				raw.Value[j], ref.Value[j] = float32(p[j]), float32(q[j])
			}
			g.Forward()
			lp, _ := bc.LogStd(p[1])
			lq, _ := bc.LogStd(q[1])
			sp, sq, want := math.Exp(lp), math.Exp(lq), 0.0
			const n = 20000
			for i := range n { // ten deviations either way
				x := p[0] + sp*10*(2*(float64(i)+0.5)/n-1)
				d := (x - q[0]) / sq
				logq := -0.5*d*d - math.Log(sq) - 0.5*math.Log(2*math.Pi)
				f := normal(x, p[0], sp)
				if f > 0 {
					want += f * (math.Log(f) - logq) * 20 * sp / n
				}
			}
			if got := float64(kl.Value[0]); math.Abs(got-want) > 1e-4*(1+want) {
				t.Errorf("KL(%v || %v) = %v, want %v", p, q, got, want)
			}
		}
	}
}

// TestGradients compares with central differences. Values are float32 of size
// 1 to 10 and so exact to 1e-6; over a step of 1e-2 that is 1e-4, and the third
// derivative adds as much.
func TestGradients(t *testing.T) {
	const B, k = 3, 2
	rng := rand.New(rand.NewPCG(7, 8))
	for _, tt := range []struct {
		name  string
		build func(g *nn.Graph, raw, other *nn.Node) *nn.Node
		other int // columns of the other input
	}{
		{"Draw", func(g *nn.Graph, raw, noise *nn.Node) *nn.Node { return bc.Draw(g, raw, noise) }, k},
		{"LogProb", func(g *nn.Graph, raw, u *nn.Node) *nn.Node { return bc.LogProb(g, raw, u) }, k},
		{"KL", func(g *nn.Graph, raw, ref *nn.Node) *nn.Node { return bc.KL(g, raw, ref) }, 2 * k},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := nn.NewGraph()
			raw, other := g.InputGrad(B, 2*k), g.Input(B, tt.other)
			out := tt.build(g, raw, other)
			seed := make([]float32, len(out.Value))
			for _, x := range [][]float32{raw.Value, other.Value, seed} {
				for i := range x {
					x[i] = float32(0.5 * rng.NormFloat64())
				}
			}
			loss := func() float64 {
				g.Forward()
				s := 0.0
				for i, v := range out.Value {
					s += float64(seed[i]) * float64(v)
				}
				return s
			}
			loss()
			g.BackwardFrom(out, seed)
			got := append([]float32{}, raw.Grad...)
			for i, v := range raw.Value {
				const h = 1e-2
				raw.Value[i] = v + h
				up := loss()
				raw.Value[i] = v - h
				down := loss()
				raw.Value[i] = v
				want := (up - down) / (2 * h)
				if math.Abs(float64(got[i])-want) > 3e-3*(1+math.Abs(want)) {
					t.Errorf("gradient %d = %v, want %v", i, got[i], want)
				}
			}
		})
	}
}
