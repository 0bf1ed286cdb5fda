package diffusion

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// TestHopsAreTheChain: a chain run by its hops ends where Run does.
func TestHopsAreTheChain(t *testing.T) {
	for _, p := range []Process{{Steps: 20}, {Steps: 20, Predict: Sample}, {Steps: 20, Predict: Velocity, Noise: Linear}, {Kind: Flow}} {
		for _, d := range []Draw{{Steps: 7}, {Steps: 7, Eta: 0.5}, {Method: DDPM, Steps: 7}, {Steps: 7, Eta: 1, Clip: math.Inf(1)}} {
			c, err := NewChain(p, d, 3)
			if err != nil {
				t.Fatal(err)
			}
			hops := c.Hops()
			model := func(out, x []float32, time float64) {
				for i, v := range x {
					out[i] = float32(math.Sin(3*float64(v)+time)) * 0.7
				}
			}
			want := []float32{1.3, -0.2, 0.4}
			got := append([]float32(nil), want...)
			c.Run(want, model, rand.New(rand.NewPCG(1, 1)))
			rng := rand.New(rand.NewPCG(1, 1))
			out := make([]float32, 3)
			for _, h := range hops {
				model(out, got, h.Time)
				for i, v := range got {
					x0 := min(h.Bound, max(-h.Bound, h.OfX*float64(v)+h.OfOut*float64(out[i])))
					y := h.A*x0 + h.B*float64(v)
					if h.Sigma > 0 {
						y += h.Sigma * rng.NormFloat64()
					}
					got[i] = float32(y)
				}
			}
			for i := range got {
				if math.Abs(float64(got[i]-want[i])) > 1e-5 {
					t.Errorf("%+v by %+v: number %d is %v by the hops, %v by Run", p, d, i, got[i], want[i])
				}
			}
		}
	}
}

// TestInsideIsTheSampler: Looker and Denoise predict what a Sampler does.
func TestInsideIsTheSampler(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	n, err := NewNet(Arch{View: wayView(), Shape: MLP, Horizon: 4, Width: 8, Depth: 1, Embed: 4}, rng)
	if err != nil {
		t.Fatal(err)
	}
	n.Fit([]float32{-1, -2, 3, 2}, []float32{-0.5, 0, 0.5, 2})
	s, err := NewSampler(n, 2, Draw{})
	if err != nil {
		t.Fatal(err)
	}
	seen := []float32{0.1, 0.2, 0.3, 0.4, -0.1, -0.2, -0.3, -0.4}
	x := make([]float32, 16)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	want := make([]float32, 16)
	s.see(seen, nil)
	s.model(want, x, 5)

	l, err := NewLooker(n, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Seen(); got != 4 {
		t.Fatalf("a history of 2 inputs of 2 numbers is seen as %d numbers, want 4", got)
	}
	g := nn.NewGraph()
	in, emb, look := g.Input(2, 4, 2), g.Input(2, 4), g.Input(2, n.Seen())
	out := n.Denoise(g, in, emb, look, g.Param)
	copy(in.Value, x)
	nn.Sinusoid(emb.Value[:4], 5)
	copy(emb.Value[4:], emb.Value[:4])
	if a := testing.AllocsPerRun(3, func() { l.Look(look.Value, seen, nil) }); a != 0 && !slow {
		t.Errorf("Look allocates %v times", a)
	}
	g.Forward()
	for i, v := range out.Value {
		if math.Abs(float64(v-want[i])) > 1e-6 {
			t.Fatalf("number %d of the prediction is %v, %v by the sampler", i, v, want[i])
		}
	}
	if got := len(n.Denoiser()); got != len(n.Params()) {
		t.Errorf("%d of %d parameters are the denoiser's, of a net without a trunk", got, len(n.Params()))
	}
	back := make([]float32, 16)
	n.Normal(back, x)
	n.Actions(back, back)
	for i := range back {
		if math.Abs(float64(back[i]-x[i])) > 1e-6 {
			t.Errorf("action %d is %v after Normal and Actions, want %v", i, back[i], x[i])
		}
	}
	if _, err := NewLooker(n, 0); err == nil {
		t.Error("a looker at no rows is no error")
	}
}
