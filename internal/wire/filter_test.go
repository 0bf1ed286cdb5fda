package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/reward/filter"
	"github.com/rapport-rl/rapport/reward/preference"
	"github.com/rapport-rl/rapport/reward/rank"
	"github.com/rapport-rl/rapport/sim/blob"
)

// partlyCorrupt are demonstrations of bringing the gripper into the ring, of which every fifth is
// corrupt: it ends elsewhere, runs away or stops half-way. Every twentieth of the rest
// goes astray, and recovers.
func partlyCorrupt(n int, seed uint64) (es []policy.Episode, corrupt, recovers []bool) {
	w := blob.New(blob.Config{}, rand.NewPCG(seed, 12))
	rng := rand.New(rand.NewPCG(seed, 14))
	for k := range n {
		s := w.Start()
		goal := blob.Point{X: s.Goal.X, Y: s.Goal.Y}
		bad, astray := k%5 == 0, k%20 == 7
		corrupt, recovers = append(corrupt, bad), append(recovers, astray)
		off := blob.Point{X: goal.X - 0.1 - 0.1*rng.Float64(), Y: goal.Y - 0.2 - 0.15*rng.Float64()}
		e := policy.Episode{ID: fmt.Sprintf("demo-%05d", k), Seq: uint64(k), Origin: policy.Demo}
		for t := range blobHorizon + 1 {
			e.Inputs = append(e.Inputs, blobInput(s, t))
			if t == blobHorizon {
				break
			}
			to := goal
			switch {
			case bad && k/5%3 == 0:
				to = off
			case bad && k/5%3 == 1:
				to = blob.Point{X: 0.05, Y: 0.9}
			case bad && t > 6:
				to = s.Gripper
			case astray && t < 3:
				to = blob.Point{X: s.Gripper.X, Y: 0}
			}
			s = stride(&e, s, to, rng)
		}
		es = append(es, e)
	}
	return es, corrupt, recovers
}

// learnedOf is a reward learned from answers about pairs, of which a tenth is wrong.
func learnedOf(t *testing.T, es []policy.Episode, n int, seed uint64) *preference.Net {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 15))
	far := func(e policy.Episode) (sum float64) { // as a person sees it, on the whole
		for _, in := range e.Inputs[1:] {
			x := in.Features.Embed
			sum += math.Hypot(float64(x[0]-x[4]), float64(x[1]-x[5]))
		}
		return sum
	}
	clip := func(e policy.Episode) preference.Clip {
		c := preference.Clip{Name: e.ID, D: 6}
		for _, in := range e.Inputs[1:] {
			c.Embed = append(c.Embed, in.Features.Embed...)
		}
		return c
	}
	var pairs []preference.Pair
	for range n {
		a, b := es[rng.IntN(len(es))], es[rng.IntN(len(es))]
		p := preference.Pair{A: clip(a), B: clip(b), Verdict: preference.First}
		if (far(a) > far(b)) != (rng.Float64() < 0.1) {
			p.Verdict = preference.Second
		}
		pairs = append(pairs, p)
	}
	net, _, err := preference.FitRLHF(t.Context(), pairs, preference.Config{Seed: seed, Epochs: 60})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// auroc is the chance that one of the marked has a lower score than one of the others.
func auroc(scores []float64, marked []bool) float64 {
	sum, n := 0.0, 0.0
	for i, r := range rank.Ranks(nil, scores) {
		if !marked[i] {
			sum += r
			n++
		}
	}
	return (sum - n*(n+1)/2) / (n * (float64(len(scores)) - n))
}

// The acceptance of capability card 23.
func TestFilterFindsCorruptDemonstrationsAndHelpsTheClone(t *testing.T) {
	c := tiny(t)
	c.Policy.Hidden, c.Policy.Clone.Rate, c.Policy.Clone.Batch, c.Learner.Kind = []int{64, 64}, 1e-3, 64, "bc"
	v := view.Config{Embed: 6, Action: view.Action{Axes: []int{0, 1}, Scale: 0.06}}
	const seeds, of = 5, 40
	total := map[string]int{}
	hits := map[string][]int{}
	stay := map[string]int{} // of 15 that recover
	for seed := range uint64(seeds) {
		es, corrupt, recovers := partlyCorrupt(60, 20+seed)
		net := learnedOf(t, es, 200, seed)
		items := make([]filter.Item, len(es))
		for i := range es {
			if err := rate(t.Context(), net, &es[i]); err != nil {
				t.Fatal(err)
			}
			items[i] = filter.Item{ID: es[i].ID, Rewards: es[i].Rewards}
		}
		for _, q := range []float64{0.1, 0.2} {
			rows, err := filter.Review(items, filter.Config{Quantile: q})
			if err != nil {
				t.Fatal(err)
			}
			scores := make([]float64, len(es))
			dropped := map[string]bool{}
			for _, r := range rows {
				i := slices.IndexFunc(es, func(e policy.Episode) bool { return e.ID == r.ID })
				scores[i], dropped[r.ID] = r.Score, r.Drop
				if !r.Drop && recovers[i] {
					stay[fmt.Sprint(q)]++
				}
			}
			a := auroc(scores, corrupt)
			if a < 0.95 {
				t.Errorf("seed %d: AUROC %.3f, want 0.95", seed, a)
			}
			kept, wrong := []policy.Episode(nil), 0
			for i, e := range es {
				if !dropped[e.ID] {
					kept = append(kept, e)
					if corrupt[i] {
						wrong++
					}
				}
			}
			t.Logf("seed %d, quantile %.1f: AUROC %.3f, %d kept, %d of them corrupt", seed, q, a, len(kept), wrong)
			sets := map[string][]policy.Episode{fmt.Sprint(q): kept}
			if q == 0.2 {
				sets["all"] = es
			}
			for name, data := range sets {
				c.Seed = seed
				got, err := train(t.Context(), c, corpus{view: v, episodes: slices.Clone(data)}, 600, quietly().Tell)
				if err != nil {
					t.Fatal(err)
				}
				n := arrivals(t, v, got.Params, of)
				hits[name] = append(hits[name], n)
				total[name] += n
			}
		}
	}
	t.Logf("successes of %d by seed: %v; recoveries that stay, of 15: %v", of, hits, stay)
	if stay["0.2"] < 12 || stay["0.1"] < 12 {
		t.Errorf("of 15 demonstrations that recover stay %v, want 12", stay)
	}
	if total["0.2"] < total["all"]+total["all"]/10 {
		t.Errorf("successes of %d by seed: %v, want a tenth more from what is kept", of, hits)
	}
}
