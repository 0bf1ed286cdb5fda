package wire

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy/align"
)

// nearExemplars judges sets of chunks of actions of k numbers by how near they are to
// chunks of rollouts that were done well (align.Sets). Of so few exemplars a covariance
// of all numbers of a chunk is noise: features are the mean actions of its two halves.
func nearExemplars(exemplars []align.Sample, k int) (align.Judge, error) {
	phi := func(s *align.Sample) []float64 { return halves(s.Chunk(), k) }
	like := make([][]float64, len(exemplars))
	for i := range exemplars {
		like[i] = phi(&exemplars[i])
	}
	f, err := align.NewFrechet(like, 0.5) // half way to a covariance without correlations
	if err != nil {
		return nil, fmt.Errorf("wire: align: %w; the exemplars are the chunks of the best rollouts: raise align.best or align.rollouts", err)
	}
	return align.Sets(phi, func(set [][]float64) float64 { return -f.Of(set) }), nil
}

// halves are the mean actions (2k,) of the two halves of a chunk (H, k).
func halves(chunk []float32, k int) []float64 {
	out := make([]float64, 2*k)
	H := len(chunk) / k
	for i, v := range chunk {
		half, of := 0, H/2
		if i/k >= H/2 {
			half, of = 1, H-H/2
		}
		out[half*k+i%k] += float64(v) / float64(of)
	}
	return out
}

// doubtful is how fast trust falls with what two critics, whose judgements are from 0 to
// 1, disagree by (align.Doubt): to a third at a quarter. Not tuned.
const doubtful = 4

// weigher sets the weights of samples by how far the critic of l may be trusted about
// them (align.weigh); nil: all alike. Where each client has a critic of their own, it is
// that of the sample's user.
func (a *Alignment) weigher(ctx context.Context, l lessons) (func([]align.Sample), error) {
	if a.s.cfg.Align.Weigh == "none" {
		return nil, nil
	}
	critics, fitted := l.critics, l.fitted
	if a.s.cfg.Align.Aligner != "ppd" {
		critics, fitted = []*align.Critic{l.critic}, [][2]int{{0, len(l.train)}}
	}
	var trust []func(*align.Sample) float64
	for u, k := range critics {
		to := l.train[fitted[u][0]:fitted[u][1]]
		var f func(*align.Sample) float64
		var err error
		switch a.s.cfg.Align.Weigh {
		case "leverage":
			f, err = nearFitted(k, to)
		case "doubt":
			var other *align.Critic
			other, err = secondCritic(ctx, to, draw(a.s.cfg.Seed, networks, 23))
			f = func(s *align.Sample) float64 { return align.Doubt(k.Of(s), other.Of(s), doubtful) }
		}
		if err != nil {
			return nil, fmt.Errorf("wire: align: align.weigh is %s: %w", a.s.cfg.Align.Weigh, err)
		}
		trust = append(trust, f)
	}
	return func(ss []align.Sample) {
		for i := range ss {
			u := 0
			if len(trust) > 1 {
				u = ss[i].User
			}
			ss[i].Weight = trust[u](&ss[i])
		}
	}, nil
}

// secondCritic is a critic of half of the samples, drawn by seed: what a critic of all owes to
// a few of them, this one does not say, too.
func secondCritic(ctx context.Context, ss []align.Sample, seed uint64) (*align.Critic, error) {
	var half []align.Sample
	for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(ss))[:(len(ss)+1)/2] {
		half = append(half, ss[i])
	}
	return align.FitCritic(ctx, half, align.CriticConfig{Seed: seed})
}

// nearFitted trusts a critic about what is like the samples that it was fitted to.
func nearFitted(k *align.Critic, to []align.Sample) (func(*align.Sample) float64, error) {
	lev, err := align.NewLeverage(k.Width(), 1)
	if err != nil {
		return nil, err
	}
	zs := make([][]float64, len(to))
	for i := range to {
		zs[i] = make([]float64, k.Width())
		k.Features(zs[i], &to[i])
		lev.Add(zs[i])
	}
	if err := lev.Calibrate(zs); err != nil {
		return nil, err
	}
	z := make([]float64, k.Width())
	return func(s *align.Sample) float64 {
		k.Features(z, s)
		return lev.Weight(z)
	}, nil
}
