package preference

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// FitRLHF fits the reward model of learning from human preferences (Christiano et
// al. 2017, arXiv:1706.03741, section 2.2.3) to answered pairs:
//
//	P(A ≻ B) = σ(R_A − R_B),   R = Σ_t r(o_t),   L = −Σ log P(answer)
//
// with r an ensemble of small networks over frozen features, ties by Config.Ties,
// the epoch of each member chosen by held-out pairs, and the reward normalised
// (section 2.2.1, there to mean 0 and a fixed deviation, too). It is the baseline
// that RAPL is compared with, done right: all pairs are learned from, and those
// held out are not. Pairs are split at random: two that share a clip may come to
// lie on both sides. The result is determined by the arguments. ctx is looked at
// between steps.
func FitRLHF(ctx context.Context, pairs []Pair, cfg Config) (*Net, Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, Report{}, err
	}
	said := make([][]Verdict, cfg.Members)
	for e := range said {
		for _, p := range pairs {
			said[e] = append(said[e], p.Verdict)
		}
	}
	return fit(ctx, pairs, said, cfg)
}

// fit fits an ensemble, each member to verdicts of its own: said (E, pairs).
func fit(ctx context.Context, pairs []Pair, said [][]Verdict, cfg Config) (*Net, Report, error) {
	width, err := Validate(pairs)
	if err != nil {
		return nil, Report{}, err
	}
	for e, vs := range said {
		n := 0
		for _, v := range vs {
			if v != Unknown {
				n++
			}
		}
		if n == 0 {
			return nil, Report{}, fmt.Errorf("preference: member %d has no answers among %d pairs", e, len(pairs))
		}
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x726c6866)) // any stream of its own
	n := newNet(cfg, width, len(said), rng)
	n.look(pairs)
	times := make([][]float64, len(said))
	for e := range times {
		times[e] = make([]float64, len(pairs))
		for i := range times[e] {
			times[e][i] = 1
		}
	}
	rep, err := newTrainer(n, pairs, said, times).fit(ctx, rng)
	if err != nil {
		return nil, Report{}, err
	}
	n.calibrate(pairs)
	return n, rep, nil
}
