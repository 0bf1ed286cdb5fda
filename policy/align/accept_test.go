package align_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// way is an aligner as the tests and the benchmark take it.
type way struct {
	name string
	rank int
	lr   float64
	make func(t *align.Tuned) (align.Aligner, error)
	run  align.RunConfig
	want float64                          // share at least; 0: the benchmark alone runs it
	flow bool                             // begins from a flow
	rule func(t *align.Tuned) align.Judge // nil: the hidden preference rates
}

// judge is who rules.
func (a way) judge(p *align.Tuned) align.Judge {
	if a.rule != nil {
		return a.rule(p)
	}
	return align.Rated(aligntest.Liked, 0.25)
}

// of is the policy that a begins with.
func (a way) of(t testing.TB) *aligntest.Ways {
	if a.flow {
		return flows(t)
	}
	return ways(t)
}

func aligners() []way {
	inf := math.Inf(1)
	groups := align.RunConfig{Rounds: 40, Observations: 16, Each: 8, Every: 4, Near: inf}
	pairs := align.RunConfig{Rounds: 100, Observations: 64, Every: 10, Near: inf}
	single := align.RunConfig{Rounds: 100, Observations: 32, Each: 1, Every: 5, Value: aligntest.Share, Near: inf, Budget: 10}
	prdp := groups
	prdp.Rounds = 60
	dpo := pairs
	dpo.Rounds = 40
	d3po := func(beta float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) {
			return align.NewD3PO(t, align.D3POConfig{Beta: beta})
		}
	}
	regress := func(beta float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) {
			return align.NewPRDP(t, align.PRDPConfig{Beta: beta})
		}
	}
	dpoOf := func(beta float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) {
			return align.NewDiffusionDPO(t, align.DiffusionDPOConfig{Beta: beta})
		}
	}
	climb := func(c align.AlignPropConfig) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) { return align.NewAlignProp(t, aligntest.Climb, c) }
	}
	flowDPO := func(beta, keep float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) {
			return align.NewFlowDPO(t, align.DiffusionDPOConfig{Beta: beta, Keep: keep})
		}
	}
	rwr := func(heat float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) { return align.NewRWR(t, align.RWRConfig{Heat: heat}) }
	}
	rewards := single
	rewards.Rounds, rewards.Observations, rewards.Budget = 40, 128, 5
	fdpo := func(beta, keep float64) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) {
			return align.NewFDPO(t, align.FDPOConfig{Beta: beta, Keep: keep})
		}
	}
	seppo := func(c align.SePPOConfig) func(*align.Tuned) (align.Aligner, error) {
		return func(t *align.Tuned) (align.Aligner, error) { return align.NewSePPO(t, c) }
	}
	seen := align.RunConfig{Rounds: 40, Observations: 64, Each: 1, Every: 5, Near: inf, Value: aligntest.Share}
	return []way{
		{"D3PO, beta 0.1", 0, 3e-4, d3po(0.1), pairs, 0.75, false, nil},
		{"D3PO, beta 1", 0, 3e-4, d3po(1), pairs, 0.75, false, nil},
		{"D3PO, beta 0.1, rank 4", 4, 1e-3, d3po(0.1), pairs, 0.75, false, nil},
		{"Diffusion-DPO, beta 10", 0, 3e-4, dpoOf(10), dpo, 0.7, false, nil},
		{"Diffusion-DPO, beta 20", 0, 3e-4, dpoOf(20), dpo, 0.7, false, nil},
		{"Diffusion-DPO, beta 40", 0, 3e-4, dpoOf(40), dpo, 0.6, false, nil},
		{"Diffusion-DPO, beta 80", 0, 3e-4, dpoOf(80), dpo, 0.55, false, nil},
		{"Diffusion-DPO, beta 20, rank 4", 4, 1e-3, dpoOf(20), dpo, 0.65, false, nil},
		{"PRDP, beta 0.5", 0, 3e-4, regress(0.5), prdp, 0.8, false, nil},
		{"PRDP, beta 2", 0, 3e-4, regress(2), prdp, 0.55, false, nil},
		{"PRDP, beta 0.5, rank 4", 4, 1e-3, regress(0.5), prdp, 0.8, false, nil},
		{"DPPO", 0, 3e-4, func(t *align.Tuned) (align.Aligner, error) { return align.NewDPPO(t, align.DPPOConfig{}) }, groups, 0.9, false, nil},
		{"DPPO, rank 4", 4, 1e-3, func(t *align.Tuned) (align.Aligner, error) { return align.NewDPPO(t, align.DPPOConfig{}) }, groups, 0.9, false, nil},
		{"AlignProp, 1 step back", 0, 3e-4, climb(align.AlignPropConfig{Back: 1}), single, 0.6, false, nil},
		{"AlignProp, all 10 back", 0, 3e-4, climb(align.AlignPropConfig{Back: 10}), single, 0.75, false, nil},
		{"AlignProp, drawn", 0, 3e-4, climb(align.AlignPropConfig{}), single, 0.6, false, nil},
		{"partial chain", 0, 3e-4, func(t *align.Tuned) (align.Aligner, error) {
			return align.NewPartial(t, aligntest.Climb, align.PartialConfig{})
		}, single, 0.6, false, nil},
		{"Flow-DPO, beta 5", 0, 3e-4, flowDPO(5, 0), dpo, 0.8, true, nil},
		{"Flow-DPO, beta 5, Keep 1", 0, 3e-4, flowDPO(5, 1), dpo, 0.8, true, nil},
		{"Flow-DPO, beta 10", 0, 3e-4, flowDPO(10, 0), dpo, 0, true, nil},
		{"Flow-DPO, beta 5, rank 4", 4, 1e-3, flowDPO(5, 0), dpo, 0, true, nil},
		{"RWR of a flow", 0, 3e-4, rwr(0.5), rewards, 0.8, true, nil},
		{"RWR of a flow, Heat 2", 0, 3e-4, rwr(2), rewards, 0, true, nil},
		{"RWR", 0, 3e-4, rwr(0.5), rewards, 0, false, nil},
		{"AlignProp of a flow, all 10 back", 0, 3e-4, climb(align.AlignPropConfig{Back: 10}), single, 0.75, true, nil},
		{"FDPO, beta 20", 0, 3e-4, fdpo(20, 0), seen, 0, false, marked},
		{"FDPO, beta 20, Keep 1", 0, 3e-4, fdpo(20, 1), seen, 0.8, false, marked},
		{"FDPO of a flow, beta 2, Keep 1", 0, 3e-4, fdpo(2, 1), seen, 0.8, true, marked},
		{"SePPO", 0, 3e-4, seppo(align.SePPOConfig{}), seen, 0.75, false, shown},
		{"SePPO, always the worse", 0, 3e-4, seppo(align.SePPOConfig{Plain: true}), seen, 0, false, shown},
		{"SePPO, against the newest", 0, 3e-4, seppo(align.SePPOConfig{Newest: true}), seen, 0, false, shown},
		{"SePPO, rank 4", 4, 1e-3, seppo(align.SePPOConfig{}), seen, 0, false, shown},
		{"SePPO of a flow", 0, 3e-4, seppo(align.SePPOConfig{}), seen, 0.75, true, shown},
	}
}

// TestAlignersPrefer: each brings the policy to the liked way, within its budget.
func TestAlignersPrefer(t *testing.T) {
	share := map[string]float64{}
	klOf := map[string]float64{}
	for _, a := range aligners() {
		if a.want == 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			w := a.of(t)
			al, err := a.make(tune(t, w, align.Config{Rank: a.rank, LR: a.lr}))
			if err != nil {
				t.Fatal(err)
			}
			before, after, _, kl, rep := runBy(t, w, al, a.judge(al.Tuned()), a.run)
			share[a.name], klOf[a.name] = after, kl
			if math.Abs(before-0.5) > 0.1 || after < a.want {
				t.Errorf("share %.3f to %.3f, want from about one half to at least %v", before, after, a.want)
			}
			if budget := max(5, a.run.Budget); !(kl > 0) || kl > 1.2*budget {
				t.Errorf("KL %.3f, want a positive number about within the budget %v", kl, budget)
			}
			if l := rep.Looks[1]; !(l.KL > 0) || l.Stats.Steps == 0 || !(l.Stats.Grad > 0) {
				t.Errorf("the first look after the reference tells %+v", l)
			}
		})
	}
	if !(klOf["PRDP, beta 2"] < klOf["PRDP, beta 0.5"]) || !(share["PRDP, beta 2"] < share["PRDP, beta 0.5"]) {
		t.Errorf("PRDP with beta 2 is not nearer to the reference than with 0.5: KL %v, shares %v", klOf, share)
	}
}

// TestPRDPNeedsItsClip: at ten times the rate of an adapter a run diverges without, and ends with
// a policy that keeps to no way; with it, or at the rate itself, it stays.
func TestPRDPNeedsItsClip(t *testing.T) {
	w := ways(t)
	inf := math.Inf(1)
	const seeds = 6
	ends := func(clip, rate float64) (broken int, far, least float64) {
		least = 1
		for seed := range uint64(seeds) {
			p := tune(t, w, align.Config{Rank: 4, LR: 1e-3 * rate, ClipNorm: inf, Seed: seed})
			a, err := align.NewPRDP(p, align.PRDPConfig{Beta: 0.01, Clip: clip})
			if err != nil {
				t.Fatal(err)
			}
			r, err := align.NewRun(a, align.Rated(aligntest.Liked, 0), align.RunConfig{
				Rounds: 20, Observations: 16, Each: 8, Every: 20, Budget: inf, Near: inf, Train: w.Train, Held: w.Held, Value: func([]align.Sample) float64 { return later(p) }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Go(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, on, kl, err := w.Measure(p, 1024, 5)
			if err != nil {
				t.Fatal(err)
			}
			if on < 0.1 && kl > 10 {
				broken++
			}
			far, least = max(far, kl), min(least, on)
		}
		t.Logf("clip %v at %v times the rate: %d of %d broken, KL up to %.2f, on a way from %.2f", clip, rate, broken, seeds, far, least)
		return broken, far, least
	}
	if broken, _, _ := ends(inf, 10); broken < seeds/2 {
		t.Errorf("%d of %d runs without the clip ended broken, want half at least", broken, seeds)
	}
	for _, c := range []struct{ clip, rate float64 }{{0.1, 10}, {inf, 1}} {
		if _, far, least := ends(c.clip, c.rate); far > 8 || least < 0.6 {
			t.Errorf("with a clip of %v at %v times the rate, KL up to %.2f and on a way from %.2f; want 8 at most and 0.6 at least", c.clip, c.rate, far, least)
		}
	}
}

// TestAlignPropClimbs by half of what there is to climb in 100 steps.
func TestAlignPropClimbs(t *testing.T) {
	w := ways(t)
	full := climbs(t, w, func(p *align.Tuned) (*align.AlignProp, error) {
		return align.NewAlignProp(p, aligntest.Climb, align.AlignPropConfig{Back: 1})
	})
	part := climbs(t, w, func(p *align.Tuned) (*align.AlignProp, error) {
		return align.NewPartial(p, aligntest.Climb, align.PartialConfig{})
	})
	t.Logf("reward %.3f to %.3f with %d calls, by partial chains %.3f with %d", full.before, full.after, full.calls, part.after, part.calls)
	if full.after < full.before+0.5*(1-full.before) {
		t.Errorf("AlignProp brings the reward from %.3f to %.3f, want half of what is missing of 1", full.before, full.after)
	}
	if part.after < 0.9*full.after || float64(part.calls) > 0.6*float64(full.calls) {
		t.Errorf("partial chains reach %.3f of %.3f with %d of %d calls, want nine tenths with six", part.after, full.after, part.calls, full.calls)
	}
}

type climbed struct {
	before, after float64
	calls         uint64
}

// climbs takes 100 steps on batches whose samples hold demonstrated chunks.
func climbs(t *testing.T, w *aligntest.Ways, make func(*align.Tuned) (*align.AlignProp, error)) (c climbed) {
	p := tune(t, w, align.Config{LR: 3e-4})
	a, err := make(p)
	if err != nil {
		t.Fatal(err)
	}
	mean := func() float64 {
		sum := 0.0
		for _, s := range draw(t, w, p, 64, 8, 21) {
			sum += aligntest.Liked(&s) / 512
		}
		return sum
	}
	c.before = mean()
	rng := rand.New(rand.NewPCG(22, 1))
	b := &align.Batch{Samples: draw(t, w, p, 32, 1, 23)}
	demos := [64]float32{}
	for range 100 {
		for i := range 32 {
			aligntest.Demo(demos[2*i:2*i+2], b.Samples[i].Seen[0], rng)
		}
		p.Demonstrate(b.Samples, demos[:])
		if _, err := a.Step(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	c.after, c.calls = mean(), a.Calls()
	return c
}

// TestAlignPropDrawsItsTruncation from the Gaussian, within the chain.
func TestAlignPropDrawsItsTruncation(t *testing.T) {
	w := ways(t)
	w50 := *w
	w50.Draw.Steps = 20
	a, err := align.NewAlignProp(tune(t, &w50, align.Config{}), aligntest.Climb, align.AlignPropConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	// Of 20 steps: mean 3.2, deviation 2, rounded and at least 1.
	want, mass := 0.0, func(x float64) float64 { return 0.5 * math.Erfc(-(x-3.2)/(2*math.Sqrt2)) }
	for k := 1; k <= 20; k++ {
		hi, lo := mass(float64(k)+0.5), mass(float64(k)-0.5)
		if k == 1 {
			lo = 0
		}
		if k == 20 {
			hi = 1
		}
		want += float64(k) * (hi - lo)
	}
	sum, least, most := 0, 20, 0
	for range n {
		k := a.Draw()
		sum, least, most = sum+k, min(least, k), max(most, k)
	}
	if got := float64(sum) / n; math.Abs(got-want) > 0.05 || least != 1 || most > 20 || most < 9 {
		t.Errorf("the gradient goes back %v steps in the mean, %d to %d; want %v, 1 to at most 20", got, least, most, want)
	}
}

// TestAlignedPoliciesDrawWithoutNoise, as on a robot: what was learned about chains
// with noise holds for a Sampler with Eta 0.
func TestAlignedPoliciesDrawWithoutNoise(t *testing.T) {
	w := ways(t)
	share := func(p *align.Tuned) (liked float64) {
		s, err := diffusion.NewSampler(p.Net(), len(w.Held), diffusion.Draw{Steps: 10})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(51, 1))
		dst := make([]float32, 2*len(w.Held))
		for range 16 {
			s.Sample(dst, w.Held, nil, rng)
			for i := 0; i < len(dst); i += 2 {
				if dst[i]+dst[i+1] > 0 {
					liked += 1 / float64(16*len(w.Held))
				}
			}
		}
		return liked
	}
	for _, a := range aligners() {
		if a.name != "D3PO, beta 0.1" && a.name != "PRDP, beta 0.5" && a.name != "DPPO" {
			continue
		}
		p := tune(t, w, align.Config{Rank: a.rank, LR: a.lr})
		al, err := a.make(p)
		if err != nil {
			t.Fatal(err)
		}
		before := share(p)
		run(t, w, al, a.run)
		after := share(p)
		t.Logf("%s: without noise %.3f to %.3f", a.name, before, after)
		if math.Abs(before-0.5) > 0.15 || after < 0.75 {
			t.Errorf("%s: drawn without noise, %.3f to %.3f go the liked way, want at least 0.75", a.name, before, after)
		}
	}
}
