package align_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/policy/align"
	"github.com/rapport-rl/rapport/policy/align/aligntest"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// run aligns by the hidden preference and gives the share before and after.
func run(t testing.TB, w *aligntest.Ways, a align.Aligner, c align.RunConfig) (before, after, on, kl float64, rep align.Report) {
	t.Helper()
	return runBy(t, w, a, align.Rated(aligntest.Liked, 0.25), c)
}

func runBy(t testing.TB, w *aligntest.Ways, a align.Aligner, j align.Judge, c align.RunConfig) (before, after, on, kl float64, rep align.Report) {
	t.Helper()
	c.Train, c.Held = w.Train, w.Held
	before, _, _, err := w.Measure(a.Tuned(), 1024, 9)
	if err != nil {
		t.Fatal(err)
	}
	r, err := align.NewRun(a, j, c)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err = r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, on, kl, err = w.Measure(a.Tuned(), 1024, 9)
	if err != nil {
		t.Fatal(err)
	}
	last := rep.Looks[len(rep.Looks)-1]
	t.Logf("share %.3f to %.3f, on a way %.3f, KL %.3f; best of round %d; last look %+v", before, after, on, kl, rep.Best, last)
	return before, after, on, kl, rep
}

// policyGradient is a policy that DPPO is to tune.
func policyGradient(t *testing.T, w *aligntest.Ways, c align.Config) (*align.Tuned, align.Aligner) {
	t.Helper()
	p := tune(t, w, c)
	a, err := align.NewDPPO(p, align.DPPOConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return p, a
}

// dppo is a quick run of few rounds.
func dppo(t *testing.T, w *aligntest.Ways, rank int, c align.RunConfig) (*align.Tuned, *align.Run) {
	t.Helper()
	p, a := policyGradient(t, w, align.Config{Rank: rank, LR: 1e-3, Seed: 4})
	c.Train, c.Held, c.Observations, c.Each = w.Train, w.Held, 8, 4
	r, err := align.NewRun(a, align.Rated(aligntest.Liked, 0), c)
	if err != nil {
		t.Fatal(err)
	}
	return p, r
}

func bytesOf(t *testing.T, p *align.Tuned) []byte {
	t.Helper()
	ps, err := p.Net().Encode(1)
	if err != nil {
		t.Fatal(err)
	}
	return ps.Data
}

// TestRunsGoOn: a run that is cut off after three rounds and goes on in another
// process does what an uninterrupted one does, to the bit.
func TestRunsGoOn(t *testing.T) {
	w := ways(t)
	for _, rank := range []int{0, 4} {
		_, r := dppo(t, w, rank, align.RunConfig{Rounds: 6})
		want, err := r.Go(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		looks := 0
		_, r = dppo(t, w, rank, align.RunConfig{Rounds: 6, Value: func(ss []align.Sample) float64 {
			if looks++; looks == 4 {
				stop()
			}
			return 0.5
		}})
		if _, err := r.Go(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("a run that was cut off ends with %v", err)
		}
		var file bytes.Buffer
		if err := r.Save(&file); err != nil {
			t.Fatal(err)
		}
		saved := file.Bytes()
		again, r := dppo(t, w, rank, align.RunConfig{Rounds: 6, Value: func([]align.Sample) float64 { return 0.5 }})
		if err := r.Restore(bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		got, err := r.Go(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Looks) != len(want.Looks) {
			t.Fatalf("%d looks, want %d", len(got.Looks), len(want.Looks))
		}
		for i, l := range got.Looks {
			if l.KL != want.Looks[i].KL || l.Stats != want.Looks[i].Stats {
				t.Errorf("rank %d: look %d is %+v, want %+v", rank, i, l, want.Looks[i])
			}
		}
		if got.Best != 0 || !bytes.Equal(bytesOf(t, again), bytesOf(t, tune(t, w, align.Config{}))) {
			t.Errorf("rank %d: with a value that never changes, the reference is the best, but round %d was kept", rank, got.Best)
		}
		saved[len(saved)/2] ^= 1
		before := bytesOf(t, again)
		if err := r.Restore(bytes.NewReader(saved)); err == nil {
			t.Error("a damaged checkpoint is no error")
		}
		if !bytes.Equal(before, bytesOf(t, again)) {
			t.Error("a damaged checkpoint changed the policy")
		}
	}
}

// TestTunedIsSavedAndRestored, with its reference and moments; another adapter's is
// refused.
func TestTunedIsSavedAndRestored(t *testing.T) {
	w := ways(t)
	p, r := dppo(t, w, 4, align.RunConfig{Rounds: 3, Near: math.Inf(1)})
	if _, err := r.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := p.Save(&file); err != nil {
		t.Fatal(err)
	}
	q := tune(t, w, align.Config{Rank: 4, Seed: 99})
	if err := q.Restore(bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytesOf(t, p), bytesOf(t, q)) || p.Steps() != q.Steps() || p.Rand().Uint64() != q.Rand().Uint64() {
		t.Error("the restored policy is another")
	}
	for _, rank := range []int{0, 8} {
		if err := tune(t, w, align.Config{Rank: rank}).Restore(bytes.NewReader(file.Bytes())); err == nil {
			t.Errorf("an adapter of rank 4 was restored into rank %d", rank)
		}
	}
}

// TestBudgetEndsARun before its rounds are over, whichever aligner spends it: the report says
// so, no look before the last was beyond it, and the policy that is kept was bought within it.
func TestBudgetEndsARun(t *testing.T) {
	w := ways(t)
	const budget, rounds = 0.5, 60
	for name, make := range map[string]func(*align.Tuned) (align.Aligner, error){
		"DPPO": func(p *align.Tuned) (align.Aligner, error) { return align.NewDPPO(p, align.DPPOConfig{}) },
		"AlignProp": func(p *align.Tuned) (align.Aligner, error) {
			return align.NewAlignProp(p, aligntest.Climb, align.AlignPropConfig{})
		},
		"partial chain": func(p *align.Tuned) (align.Aligner, error) {
			return align.NewPartial(p, aligntest.Climb, align.PartialConfig{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := tune(t, w, align.Config{LR: 3e-4, Seed: 4})
			a, err := make(p)
			if err != nil {
				t.Fatal(err)
			}
			r, err := align.NewRun(a, align.Rated(aligntest.Liked, 0), align.RunConfig{
				Rounds: rounds, Observations: 8, Each: 4, Budget: budget, Near: math.Inf(1), Train: w.Train, Held: w.Held})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := r.Go(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			last := len(rep.Looks) - 1
			if l := rep.Looks[last]; !rep.Spent || l.KL <= budget || l.Round == rounds {
				t.Errorf("spent is %t, and the run ended with %+v", rep.Spent, l)
			}
			for _, l := range rep.Looks[:last] {
				if l.KL > budget {
					t.Errorf("the run went on after %+v", l)
				}
			}
			if best := rep.Looks[rep.Best]; best.Round != rep.Best || !(best.KL > 0) || best.Value <= rep.Looks[0].Value {
				t.Errorf("round %d was kept, of which the report says %+v; the reference: %+v", rep.Best, best, rep.Looks[0])
			}
			_, _, kl, err := w.Measure(p, 1024, 5)
			t.Logf("KL %.3f after round %d, round %d kept of %.3f by its look and %.3f measured", rep.Looks[last].KL, rep.Looks[last].Round, rep.Best, rep.Looks[rep.Best].KL, kl)
			if err != nil || !(kl > 0) || kl > 1.2*budget {
				t.Errorf("the policy that was kept has a KL of %v (%v), the budget is %v", kl, err, budget)
			}
		})
	}
}

// A run that gets no better ends by its patience, and keeps the best.
func TestPatienceEndsARun(t *testing.T) {
	w := ways(t)
	values := []float64{0.2, 0.5, 0.4, 0.6, 0.5, 0.55, 0.5, 0.9}
	looks := 0
	_, r := dppo(t, w, 0, align.RunConfig{Rounds: 7, Budget: math.Inf(1), Lambda: 1, Patience: 3, Value: func([]align.Sample) float64 {
		looks++
		return values[looks-1]
	}})
	rep, err := r.Go(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last := rep.Looks[len(rep.Looks)-1].Round; !rep.Stalled || rep.Spent || rep.Best != 3 || last != 6 {
		t.Errorf("stalled %t and spent %t after round %d, round %d kept; want round 6, three after the best, 3", rep.Stalled, rep.Spent, last, rep.Best)
	}
}

// TestEarlyStopKeepsTheBest: runs of 20 seeds climb a reward that has no end, so that
// chunks leave the ways of the demonstrations; the true score, which the run does not see, is the share that go
// the liked way and are on a way.
func TestEarlyStopKeepsTheBest(t *testing.T) {
	keepTheBest(t, 18, func(*aligntest.Ways, *align.Tuned) align.RunConfig {
		return align.RunConfig{Budget: math.Inf(1), Alike: 32, Lambda: 0.4}
	})
}

// TestEarlyStopOfThePipeline: the same by the rule of rapport align, as its defaults are
// (align.budget, near, lambda and patience, no trials).
func TestEarlyStopOfThePipeline(t *testing.T) {
	keepTheBest(t, 16, func(w *aligntest.Ways, p *align.Tuned) align.RunConfig {
		return align.RunConfig{Budget: 1000, Near: 500, Lambda: 0.9, Patience: 10, Sound: wellOf(draw(t, w, p, 64, 1, 9))}
	})
}

// wellOf are the samples that go the liked way and are on a way.
func wellOf(ss []align.Sample) []align.Sample {
	return slices.DeleteFunc(ss, func(s align.Sample) bool { return aligntest.Well([]align.Sample{s}) != 1 })
}

// keepTheBest wants as many of 20 seeds to keep a policy within 5 % of their best by a rule.
func keepTheBest(t *testing.T, want int, rule func(*aligntest.Ways, *align.Tuned) align.RunConfig) {
	t.Helper()
	w := ways(t)
	far := func(s *align.Sample) float64 { return float64(s.Actions[0] + s.Actions[1]) }
	good, overfit, mean := 0, 0, 0.0
	for seed := range uint64(20) {
		p, a := policyGradient(t, w, align.Config{LR: 2e-3, Seed: seed})
		var truth []float64
		c := rule(w, p)
		c.Rounds, c.Observations, c.Each, c.Train, c.Held = 20, 16, 4, w.Train, append(w.Held[:len(w.Held):len(w.Held)], w.Train...)
		c.Value = func(ss []align.Sample) float64 {
			truth = append(truth, aligntest.Well(ss))
			return aligntest.Share(ss)
		}
		r, err := align.NewRun(a, align.Rated(far, 0), c)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Go(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		best := slices.Max(truth)
		if truth[rep.Best] >= 0.95*best {
			good++
		}
		mean += truth[rep.Best] / best / 20
		if truth[len(truth)-1] < 0.95*best {
			overfit++
		}
		if seed < 3 {
			t.Logf("seed %d: kept round %d of %.3f", seed, rep.Best, truth)
		}
	}
	t.Logf("%d of 20 runs kept what is within 5%% of their best, on average %.3f of it, %d went too far in the end", good, mean, overfit)
	if good < want {
		t.Errorf("%d of 20 runs kept a policy within 5%% of their best, want %d", good, want)
	}
	if overfit < 10 {
		t.Errorf("%d of 20 runs went too far in the end: this shows nothing", overfit)
	}
}

// TestSoundnessKeepsWhatWorks: runs climb a reward that has no end, and what is told of their
// chunks rises while they leave the way that they are liked for. The KL along good chunks that
// were held out tells, so that a run keeps a policy that still does them.
func TestSoundnessKeepsWhatWorks(t *testing.T) {
	w := ways(t)
	far := func(s *align.Sample) float64 { return float64(s.Actions[0] + s.Actions[1]) }
	for seed := range uint64(2) {
		p, a := policyGradient(t, w, align.Config{LR: 2e-3, Seed: seed})
		sound := wellOf(draw(t, w, p, 64, 1, 9))
		was := slices.Clone(sound[0].LogP)
		var truth []float64
		r, err := align.NewRun(a, align.Rated(far, 0), align.RunConfig{
			Rounds: 20, Observations: 16, Each: 4, Budget: math.Inf(1), Train: w.Train, Held: w.Held, Lambda: 1, Sound: sound, Drift: 8,
			Value: func(ss []align.Sample) float64 {
				truth = append(truth, aligntest.Well(ss))
				return aligntest.Share(ss)
			}})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Go(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		liked := 0 // the last of the most liked rounds, which Value alone tells from no other
		for _, l := range rep.Looks {
			if l.Value >= rep.Looks[liked].Value {
				liked = l.Round
			}
		}
		best := slices.Max(truth)
		t.Logf("seed %d: kept round %d, of %.2f; most liked is %d, of %.2f; the best is of %.2f", seed, rep.Best, truth[rep.Best], liked, truth[liked], best)
		if truth[rep.Best] < 0.8*best {
			t.Errorf("seed %d: kept round %d of %.2f, want 0.8 of the best, %.2f", seed, rep.Best, truth[rep.Best], best)
		}
		if truth[liked] > 0.5*best {
			t.Errorf("seed %d: the most liked round is of %.2f: this shows nothing", seed, truth[liked])
		}
		if rep.Looks[0].Drift != 0 || rep.Looks[20].Drift <= rep.Looks[rep.Best].Drift || !slices.Equal(was, sound[0].LogP) {
			t.Errorf("seed %d: drifts of %v, %v and %v; want 0 at first and more in the end, and the samples as they were", seed, rep.Looks[0].Drift, rep.Looks[rep.Best].Drift, rep.Looks[20].Drift)
		}
	}
}

// TestTrialsChooseTheRound: of a run that climbs a reward without an end, what its policy
// does when it is tried tells when to stop, though the value of what it draws rises all the
// while.
func TestTrialsChooseTheRound(t *testing.T) {
	w := ways(t)
	p, a := policyGradient(t, w, align.Config{LR: 2e-3, Seed: 1})
	far := func(s *align.Sample) float64 { return float64(s.Actions[0] + s.Actions[1]) }
	does := func() float64 { return aligntest.Well(draw(t, w, p, 64, 1, 9)) }
	rounds := 0.0
	r, err := align.NewRun(a, align.Rated(far, 0), align.RunConfig{
		Rounds: 12, Observations: 16, Each: 4, Budget: math.Inf(1), Near: math.Inf(1), Lambda: 1, Train: w.Train, Held: w.Held,
		Value: func([]align.Sample) float64 { rounds++; return 0.5 + rounds/26 },
		Trial: func(context.Context) (float64, error) { return does(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := r.Go(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	most := 0.0
	for _, l := range rep.Looks {
		if want := align.Harmonic(0.5, l.Value, *l.Tried); math.Abs(l.Score-want) > 1e-6 {
			t.Errorf("look %+v, want the score %v", l, want)
		}
		most = max(most, *l.Tried)
	}
	first, kept, last := *rep.Looks[0].Tried, *rep.Looks[rep.Best].Tried, *rep.Looks[12].Tried
	t.Logf("tried %.2f at first, %.2f at best, %.2f as kept, round %d, %.2f in the end", first, most, kept, rep.Best, last)
	if got := does(); got != kept || kept < 0.9*most {
		t.Errorf("the policy that was kept does %v, its trial says %v, the best that was tried %v", got, kept, most)
	}
	if most < first+0.1 || most < last+0.1 {
		t.Errorf("tried %v at first, %v at best and %v in the end: this shows nothing", first, most, last)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	w := ways(t)
	bad := func(name, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, want)
		}
	}
	for name, c := range map[string]struct {
		c    align.Config
		want string
	}{
		"no noise":       {align.Config{Draw: diffusion.Draw{Steps: 5}}, "set Draw.Eta to 1"},
		"rank":           {align.Config{Draw: w.Draw, Rank: -1}, "Rank is -1"},
		"taste":          {align.Config{Draw: w.Draw, Taste: 2}, "set Rank to 4"},
		"floor":          {align.Config{Draw: w.Draw, Floor: -1}, "Floor is -1"},
		"rate":           {align.Config{Draw: w.Draw, LR: math.NaN()}, "LR is NaN"},
		"decay":          {align.Config{Draw: w.Draw, WeightDecay: 1}, "WeightDecay is 1"},
		"norm":           {align.Config{Draw: w.Draw, ClipNorm: -1}, "ClipNorm is -1"},
		"too many steps": {align.Config{Draw: diffusion.Draw{Steps: 50, Eta: 1}}, "Draw.Steps is 50"},
	} {
		_, err := align.Tune(w.Net, c.c)
		bad(name, c.want, err)
	}
	flow, err := align.Tune(flows(t).Net, align.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = align.NewD3PO(flow, align.D3POConfig{})
	bad("d3po of a flow", "d3po: a flow's steps have no noise", err)
	_, err = align.NewPRDP(flow, align.PRDPConfig{})
	bad("prdp of a flow", "take FlowDPO or RWR", err)
	_, err = align.NewDPPO(flow, align.DPPOConfig{})
	bad("dppo of a flow", "Process.Kind Diffusion", err)
	_, err = align.NewDiffusionDPO(flow, align.DiffusionDPOConfig{})
	bad("diffusion-dpo of a flow", "take FlowDPO", err)

	p := tune(t, w, align.Config{})
	_, err = align.NewRecorder(p, 0)
	bad("recorder", "0 rows", err)
	_, err = align.NewD3PO(p, align.D3POConfig{Clip: 2})
	bad("d3po", "Clip is 2", err)
	_, err = align.NewD3PO(p, align.D3POConfig{Pairs: -1})
	bad("d3po", "Pairs and Epochs are -1", err)
	_, err = align.NewD3PO(p, align.D3POConfig{Beta: -1})
	bad("d3po", "Beta is -1", err)
	_, err = align.NewDiffusionDPO(p, align.DiffusionDPOConfig{Beta: math.NaN()})
	bad("diffusion-dpo", "Beta is NaN", err)
	_, err = align.NewDiffusionDPO(p, align.DiffusionDPOConfig{Times: -2})
	bad("diffusion-dpo", "-2", err)
	_, err = align.NewDiffusionDPO(p, align.DiffusionDPOConfig{Keep: -1})
	bad("diffusion-dpo", "Keep -1", err)
	_, err = align.NewDiffusionDPO(p, align.DiffusionDPOConfig{Coarse: 1e-9})
	bad("diffusion-dpo", "Coarse is 1e-09", err)
	_, err = align.NewFlowDPO(p, align.DiffusionDPOConfig{})
	bad("flow-dpo of a diffusion", "take DiffusionDPO", err)
	_, err = align.NewFlowDPO(flow, align.DiffusionDPOConfig{Pairs: -1})
	bad("flow-dpo", "flow-dpo: Pairs, Epochs and Times are -1", err)
	_, err = align.NewFDPO(p, align.FDPOConfig{Segments: -1})
	bad("fdpo", "Segments, Epochs and Times are -1", err)
	_, err = align.NewFDPO(p, align.FDPOConfig{Keep: math.Inf(1)})
	bad("fdpo", "Keep +Inf", err)
	_, err = align.NewSePPO(p, align.SePPOConfig{Past: -1})
	bad("seppo", "Past and Every are -1", err)
	_, err = align.NewSePPO(p, align.SePPOConfig{Beta: math.NaN()})
	bad("seppo", "Beta is NaN", err)
	_, err = align.NewRWR(p, align.RWRConfig{Heat: -1})
	bad("rwr", "Heat is -1", err)
	_, err = align.NewRWR(p, align.RWRConfig{Chunks: -1})
	bad("rwr", "Chunks, Epochs and Times are -1", err)
	_, err = align.NewPRDP(p, align.PRDPConfig{Each: 1})
	bad("prdp", "Each, Groups and Epochs are 1", err)
	_, err = align.NewPRDP(p, align.PRDPConfig{Beta: -1})
	bad("prdp", "Beta and Clip are -1", err)
	_, err = align.NewDPPO(p, align.DPPOConfig{Discount: 2})
	bad("dppo", "Clip, Discount and Bound are 0.1, 2", err)
	_, err = align.NewDPPO(p, align.DPPOConfig{Chains: -1})
	bad("dppo", "Chains and Epochs are -1", err)
	_, err = align.NewAlignProp(p, nil, align.AlignPropConfig{})
	bad("alignprop", "no Slope", err)
	_, err = align.NewAlignProp(p, aligntest.Climb, align.AlignPropConfig{Back: 11})
	bad("alignprop", "up to the 10 steps", err)
	_, err = align.NewPartial(p, aligntest.Climb, align.PartialConfig{Start: 2})
	bad("partial", "Start, Coef and Target are 2", err)

	d, err := align.NewD3PO(p, align.D3POConfig{})
	if err != nil {
		t.Fatal(err)
	}
	step := func(change func(b *align.Batch)) error {
		b := &align.Batch{Samples: draw(t, w, p, 2, 2, 1), Pairs: []align.Pair{{Win: 0, Lose: 1}}}
		change(b)
		_, err := d.Step(t.Context(), b)
		return err
	}
	bad("no samples", "no samples", step(func(b *align.Batch) { b.Samples = nil }))
	bad("no pairs", "no pairs", step(func(b *align.Batch) { b.Pairs = nil }))
	bad("pair", "samples 0 and 9 of 4", step(func(b *align.Batch) { b.Pairs[0].Lose = 9 }))
	bad("chain", "sample 1 has 3 numbers of a chain", step(func(b *align.Batch) { b.Samples[1].X = b.Samples[1].X[:3] }))
	bad("weight", "Weight NaN", step(func(b *align.Batch) { b.Samples[1].Weight = math.NaN() }))
	bad("reward", "Reward +Inf", step(func(b *align.Batch) { b.Samples[1].Reward = math.Inf(1) }))
	bad("loss", "lower LR", step(func(b *align.Batch) { b.Samples[1].X[0] = float32(math.NaN()) }))
	bad("marks", "sample 1 has the Marks [1]", step(func(b *align.Batch) { b.Samples[1].Marks = []align.Mark{align.Good} }))
	bad("marks", "Unmarked, Good or Bad", step(func(b *align.Batch) { b.Samples[1].Marks = []align.Mark{align.Good, 3} }))
	f, err := align.NewFDPO(p, align.FDPOConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Step(t.Context(), &align.Batch{Samples: draw(t, w, p, 2, 2, 1)})
	bad("no marks", "let a Judge set Sample.Marks", err)
	e, err := align.NewSePPO(p, align.SePPOConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Step(t.Context(), &align.Batch{Samples: draw(t, w, p, 2, 2, 1)})
	bad("nothing liked", "give those a Reward above 0", err)
	q, err := align.NewPRDP(p, align.PRDPConfig{Each: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = q.Step(t.Context(), &align.Batch{Samples: draw(t, w, p, 2, 2, 1)})
	bad("groups", "want 3 of every observation", err)

	many, err := align.Tune(w.Net, align.Config{Draw: w.Draw, Rank: 2, Taste: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = align.NewSePPO(many, align.SePPOConfig{})
	bad("seppo of many", "set Config.Taste to 0", err)
	bad("taste", "a taste of 1 numbers for a policy of tastes of 2", many.Serve([]float64{1}))
	bad("taste", "of tastes of 0", p.Serve([]float64{1}))
	m, err := align.NewDPPO(many, align.DPPOConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Step(t.Context(), &align.Batch{Samples: draw(t, w, many, 2, 2, 1), Tastes: [][]float64{{1}}})
	bad("taste", "set Batch.Tastes", err)
	judge := align.Rated(aligntest.Liked, 0)
	for want, c := range map[string]align.RunConfig{
		"Tastes are of 0 users":          {Train: w.Train, Held: w.Held},
		"Tastes are of 2 users, 1 obs":   {Train: w.Train, Held: w.Held, Observations: 1, Tastes: [][]float64{{1, 0}, {0, 1}}},
		"Tastes has 1 numbers of user 1": {Train: w.Train, Held: w.Held, Tastes: [][]float64{{1, 0}, {1}}},
	} {
		_, err := align.NewRun(m, judge, c)
		bad("run", want, err)
	}
	// No draws are shared out among users where samples are brought.
	nine := make([][]float64, 9)
	for i := range nine {
		nine[i] = []float64{float64(i), 1}
	}
	brought := align.RunConfig{Train: w.Train, Held: w.Held[:9*w.Net.Seen()], Tastes: nine, Bring: func(*align.Batch, *rand.Rand) {}}
	if _, err := align.NewRun(m, judge, brought); err != nil {
		t.Errorf("nine users of what is brought: %v", err)
	}
	brought.Held = w.Held[:8*w.Net.Seen()]
	_, err = align.NewRun(m, judge, brought)
	if err != nil {
		t.Errorf("nine users of eight held-out histories: %v", err)
	}
	for want, c := range map[string]align.RunConfig{
		"Held has 0 numbers":             {Train: w.Train},
		"Rounds, Observations, Each and": {Train: w.Train, Held: w.Held, Rounds: -1},
		"Budget, Near and Drift are -1":  {Train: w.Train, Held: w.Held, Budget: -1},
		"Sound: align: sample 0 has 0":   {Train: w.Train, Held: w.Held, Sound: make([]align.Sample, 1)},
		"Alike is 1":                     {Train: w.Train, Held: w.Held, Alike: 1},
		"Patience is -1":                 {Train: w.Train, Held: w.Held, Patience: -1},
		"Lambda is 2":                    {Train: w.Train, Held: w.Held, Lambda: 2},
	} {
		_, err := align.NewRun(d, judge, c)
		bad("run", want, err)
	}
	_, err = align.NewRun(d, nil, align.RunConfig{Train: w.Train, Held: w.Held})
	bad("run", "no Judge", err)
	r, err := align.NewRun(d, judge, align.RunConfig{Train: w.Train, Held: w.Held, Value: func([]align.Sample) float64 { return math.NaN() }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Go(t.Context())
	bad("value", "want a Value from 0 to 1", err)
}
