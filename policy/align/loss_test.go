package align

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/diffusion"
	"github.com/rapport-rl/rapport/policy/policytest"
)

// TestDensitiesByHand: of the last step of a chain, from the net's own prediction.
func TestDensitiesByHand(t *testing.T) {
	p := tiny(t, diffusion.Sample, 0)
	moved(p, 0.05)
	b := drawn(t, p, 2)
	s := &b.Samples[1]
	L, S := p.len(), len(p.hops)
	h := p.hops[S-1]
	g := nn.NewGraph()
	x, emb, seen := g.Input(1, 2, 2), g.Input(1, 4), g.Input(1, p.net.Seen())
	out, ref := p.Denoise(g, x, emb, seen), p.Refer(g, x, emb, seen)
	copy(x.Value, s.X[(S-1)*L:S*L])
	copy(seen.Value, s.Seen)
	nn.Sinusoid(emb.Value, h.Time)
	g.Forward()
	var now, was, kl float64
	for j := range L {
		v := float64(x.Value[j])
		a, c := h.A*float64(out.Value[j])+h.B*v, h.A*float64(ref.Value[j])+h.B*v // of Sample, out is x0
		y := float64(s.X[S*L+j])
		norm := math.Log(h.Sigma * math.Sqrt(2*math.Pi))
		now -= (y-a)*(y-a)/(2*h.Sigma*h.Sigma) + norm
		was -= (y-c)*(y-c)/(2*h.Sigma*h.Sigma) + norm
		kl += (a - c) * (a - c) / (2 * h.Sigma * h.Sigma)
	}
	if h.Sigma != 0.3 {
		t.Errorf("the last step's noise is %v, want the floor", h.Sigma)
	}
	if math.Abs(s.LogP[S-1]-now) > 1e-5 || math.Abs(s.Ref[S-1]-was) > 1e-5 || now == was {
		t.Errorf("log-densities %v and %v, want %v and %v", s.LogP[S-1], s.Ref[S-1], now, was)
	}
	if !(s.KL > kl) || !(kl > 0) {
		t.Errorf("the chain's KL is %v, that of its last step %v", s.KL, kl)
	}
	// The graph that learns agrees with what was recorded.
	r := NewRatio(p, g, S)
	for k := range S {
		r.Put(k, s, k, s.Ref[k])
	}
	g.ForwardTo(r.Out)
	for k, l := range r.Out.Value {
		if want := s.LogP[k] - s.Ref[k]; math.Abs(float64(l)-want) > 1e-4 {
			t.Errorf("step %d has the log-ratio %v, recorded %v", k, l, want)
		}
	}
}

// TestKLIsThatOfTheChains: its closed form is the mean log-ratio of drawn chains.
func TestKLIsThatOfTheChains(t *testing.T) {
	p := tiny(t, diffusion.Sample, 0)
	moved(p, 0.1)
	b := drawn(t, p, 4000)
	var kl, ratio, square float64
	for i := range b.Samples {
		s := &b.Samples[i]
		l := 0.0
		for k := range s.LogP {
			l += s.LogP[k] - s.Ref[k]
		}
		kl, ratio, square = kl+s.KL/8000, ratio+l/8000, square+l*l/8000
	}
	if se := math.Sqrt((square - ratio*ratio) / 8000); math.Abs(kl-ratio) > 4*se || kl < 10*se {
		t.Errorf("the KL is %v, the mean log-ratio %v with the error %v", kl, ratio, se)
	}
}

// TestLossOfD3POByHand, with a pair whose ratios are within and outside of the clip.
func TestLossOfD3POByHand(t *testing.T) {
	p := tiny(t, diffusion.Sample, 0)
	moved(p, 0.05)
	b := drawn(t, p, 2)
	d, err := NewD3PO(p, D3POConfig{Pairs: 3, Beta: 2})
	if err != nil {
		t.Fatal(err)
	}
	d.put(b, []int{0, 1})
	d.g.ForwardTo(d.loss)
	want, out, all := 0.0, 0.0, 0.0
	for _, pair := range b.Pairs {
		w, l := &b.Samples[pair.Win], &b.Samples[pair.Lose]
		for k := range w.LogP {
			clip := func(s *Sample) float64 {
				r := s.LogP[k] - s.Ref[k]
				c := math.Log(min(1.1, max(0.9, math.Exp(r))))
				if all++; c != r && math.Abs(c-r) > 1e-9 {
					out++
				}
				return c
			}
			want += b.weight(pair) / 2 * math.Log(1+math.Exp(-2*(clip(w)-clip(l))))
		}
	}
	if got := float64(d.loss.Value[0]); math.Abs(got-want) > 1e-4 {
		t.Errorf("the loss is %v, want %v", got, want)
	}
	if got := d.clipped(len(b.Pairs)); math.Abs(got-out/all) > 1e-9 || out == 0 || out == all {
		t.Errorf("%v are clipped, want %v", got, out/all)
	}
}

// TestTiesAndNoWeightTeachNothing: the gradient is zero, exactly.
func TestTiesAndNoWeightTeachNothing(t *testing.T) {
	for _, why := range []string{"tie", "weight"} {
		p := tiny(t, diffusion.Epsilon, 0)
		moved(p, 0.05)
		b := drawn(t, p, 2)
		for i := range b.Pairs {
			b.Pairs[i].Tie = why == "tie"
		}
		for i := range b.Samples {
			if why == "weight" {
				b.Samples[i].Weight = 0
			}
		}
		check := func(name string, g *nn.Graph, loss *nn.Node) {
			g.ForwardTo(loss)
			nn.ZeroGrad(p.params)
			g.Backward(loss)
			if n := nn.GradNorm(p.params); n != 0 {
				t.Errorf("%s of a %s: the gradient is %v, want 0", name, why, n)
			}
		}
		d3, err := NewD3PO(p, D3POConfig{Pairs: 2})
		if err != nil {
			t.Fatal(err)
		}
		d3.put(b, []int{0, 1})
		check("d3po", d3.g, d3.loss)
		dd, err := NewDiffusionDPO(p, DiffusionDPOConfig{Pairs: 2})
		if err != nil {
			t.Fatal(err)
		}
		dd.put(b, []int{0, 1})
		check("diffusion-dpo", dd.g, dd.loss)
		// Nor do they move what has momentum.
		for _, a := range []Aligner{d3, dd} {
			if _, err := a.Step(t.Context(), drawn(t, p, 2)); err != nil {
				t.Fatal(err)
			}
			was := keep(p.params)
			st, err := a.Step(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for i, q := range p.params {
				if st.Steps != 0 || !slices.Equal(q.Data, was[i]) {
					t.Fatalf("a batch without weight (%s) moved the policy by %d steps", why, st.Steps)
				}
			}
		}
		if why == "tie" {
			continue
		}
		pr, err := NewPRDP(p, PRDPConfig{Each: 2})
		if err != nil {
			t.Fatal(err)
		}
		pr.put(b, []int{0, 1})
		check("prdp", pr.g, pr.loss)
		pp, err := NewDPPO(p, DPPOConfig{Chains: 4})
		if err != nil {
			t.Fatal(err)
		}
		pp.adv = Advantages(nil, b.Samples, 5)
		pp.put(b, []int{0, 1, 2, 3})
		check("dppo", pp.g, pp.loss)
	}
}

// TestLossOfPRDPIsZeroAtTheOptimum alone: rewards that are beta times the chains'
// log-ratios, up to a constant of each group, are explained.
func TestLossOfPRDPIsZeroAtTheOptimum(t *testing.T) {
	p := tiny(t, diffusion.Sample, 0)
	moved(p, 0.05)
	b := drawn(t, p, 3)
	d, err := NewPRDP(p, PRDPConfig{Each: 3, Groups: 2, Beta: 0.7})
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		s.Reward = float64(s.Group) * 5
		for k := range s.LogP {
			s.Reward += 0.7 * (s.LogP[k] - s.Ref[k])
		}
	}
	loss := func() float64 {
		d.put(b, []int{0, 1})
		d.g.ForwardTo(d.loss)
		return float64(d.loss.Value[0])
	}
	if got := loss(); got > 1e-7 {
		t.Errorf("the loss at the optimum is %v, want 0", got)
	}
	b.Samples[4].Reward += 0.07
	// Two of six pairs miss by a tenth.
	want := 0.0
	for _, j := range []int{3, 5} {
		want += 0.01 * b.Samples[4].Weight * b.Samples[j].Weight / 6
	}
	if got := loss(); math.Abs(got-want) > 1e-5 {
		t.Errorf("the loss beside the optimum is %v, want %v", got, want)
	}
}

// TestStepsDoNotAllocate once they have run.
func TestStepsDoNotAllocate(t *testing.T) {
	if raced {
		t.Log("the race detector allocates itself; only that steps run is shown")
	}
	p := tiny(t, diffusion.Sample, 2)
	b := drawn(t, p, 4)
	rng := rand.New(rand.NewPCG(1, 1))
	r, err := NewRecorder(p, 8)
	if err != nil {
		t.Fatal(err)
	}
	free := func(name string, f func()) {
		t.Helper()
		f()
		if n := testing.AllocsPerRun(3, f); n != 0 && !raced {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	free("Draw", func() { r.Draw(b.Samples, rng) })
	d3, err1 := NewD3PO(p, D3POConfig{Pairs: 2})
	dd, err2 := NewDiffusionDPO(p, DiffusionDPOConfig{Pairs: 2})
	pr, err3 := NewPRDP(p, PRDPConfig{Each: 4})
	pp, err4 := NewDPPO(p, DPPOConfig{Chains: 4})
	ap, err5 := NewAlignProp(p, bumpy, AlignPropConfig{Chains: 4})
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, a := range map[string]Aligner{"d3po": d3, "diffusion-dpo": dd, "prdp": pr, "dppo": pp, "alignprop": ap} {
		if a.Tuned() != p {
			t.Errorf("%s tunes another policy", name)
		}
		free(name, func() {
			if _, err := a.Step(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if _, err := a.Step(ctx, b); err != context.Canceled {
			t.Errorf("%s, told to stop, ends with %v", name, err)
		}
	}
}

// TestNetIsTheTuned: the copy with the adapter merged predicts what chains are drawn
// by, and taking it changes nothing.
func TestNetIsTheTuned(t *testing.T) {
	for _, rank := range []int{0, 2} {
		p := tiny(t, diffusion.Sample, rank)
		moved(p, 0.1)
		b := drawn(t, p, 2)
		n := p.Net()
		q, err := Tune(n, p.cfg)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRecorder(q, 4)
		if err != nil {
			t.Fatal(err)
		}
		var was [][]float64
		for i := range b.Samples {
			was = append(was, append([]float64(nil), b.Samples[i].LogP...))
			if slices.Equal(b.Samples[i].LogP, b.Samples[i].Ref) {
				t.Errorf("rank %d: the tuned is the reference still: this shows nothing", rank)
			}
			clear(b.Samples[i].LogP)
		}
		r.Replay(b.Samples)
		for i := range b.Samples {
			for k, l := range b.Samples[i].LogP {
				if math.Abs(l-was[i][k]) > 1e-4 {
					t.Errorf("rank %d: step %d has the log-density %v by the copy, %v by the tuned", rank, k, l, was[i][k])
				}
			}
		}
		again := drawn(t, p, 2)
		for i := range again.Samples {
			for k, l := range again.Samples[i].LogP {
				if l != was[i][k] {
					t.Fatalf("rank %d: taking a copy changed the policy", rank)
				}
			}
		}
		if rows := len(p.Reference().Denoiser()); rows != len(n.Denoiser()) {
			t.Errorf("the reference has %d parameters, the policy %d", rows, len(n.Denoiser()))
		}
	}
}

// TestEveryNetIsTuned: U-Net and transformer, and a policy that sees frames, whose trunk
// stays as it was.
func TestEveryNetIsTuned(t *testing.T) {
	for name, arch := range map[string]diffusion.Arch{
		"unet":        {Shape: diffusion.UNet, Channels: []int{8, 16}, Horizon: 4, Embed: 8},
		"transformer": {Shape: diffusion.Transformer, Width: 8, Depth: 1, Heads: 2, Horizon: 4, Embed: 8},
		"pixels":      {Shape: diffusion.MLP, Width: 16, Depth: 1, Horizon: 4, Embed: 8},
	} {
		for _, rank := range []int{0, 2} {
			arch.View, arch.Process = tiny(t, diffusion.Sample, 0).net.Arch.View, diffusion.Process{Predict: diffusion.Sample, Steps: 10}
			if name == "pixels" {
				arch.View, arch.Trunk = policytest.PixelView(), policytest.PixelArch().Trunk
			}
			rng := rand.New(rand.NewPCG(3, 3))
			n, err := diffusion.NewNet(arch, rng)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Tune(n, Config{Rank: rank, Draw: diffusion.Draw{Method: diffusion.DDPM, Steps: 5}})
			if err != nil {
				t.Fatal(err)
			}
			l, err := diffusion.NewLooker(n, 4)
			if err != nil {
				t.Fatal(err)
			}
			v := arch.View
			rows, pix, seen := make([]float32, 4*2*v.Dim()), make([]byte, 4*2*v.Pixels()), make([]float32, 4*n.Seen())
			for i := range rows {
				rows[i] = float32(rng.Float64())
			}
			for i := range pix {
				pix[i] = byte(rng.Uint32())
			}
			l.Look(seen, rows, pix)
			d, err := NewDPPO(p, DPPOConfig{Chains: 8})
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewRun(d, Rated(func(s *Sample) float64 { return float64(s.Actions[0]) }, 0), RunConfig{Rounds: 2, Observations: 4, Each: 4, Train: seen, Held: seen, Budget: math.Inf(1), Near: math.Inf(1)})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := r.Go(t.Context())
			if err != nil {
				t.Fatalf("%s, rank %d: %v", name, rank, err)
			}
			if last := rep.Looks[len(rep.Looks)-1]; !(last.KL > 0) || last.Stats.Steps == 0 {
				t.Errorf("%s, rank %d: nothing was tuned: %+v", name, rank, last)
			}
			after := p.Net().Params()
			for i, q := range n.Params()[len(n.Denoiser()):] {
				for j, x := range q.Data {
					if after[len(n.Denoiser())+i].Data[j] != x {
						t.Fatalf("%s: the trunk was tuned", name)
					}
				}
			}
		}
	}
}
