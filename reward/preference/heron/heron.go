// Package heron makes answers out of an order of importance: whoever says that
// success comes before safety and safety before speed need not look at clips at
// all. It is HERON (Bukharin, Li, He, Zhao, Deep reinforcement learning from
// hierarchical preference design, ICML 2025, arXiv:2309.02632).
//
//	rank, err := heron.New([]heron.Factor{{Name: "success"}, {Name: "contacts", Lower: true, Margin: 1}}, sample)
//	verdict, level := rank.Compare(a.Factors, b.Factors)
//	net, report, err := heron.Fit(ctx, rank, items, heron.Config{Seed: 1})
package heron

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/reward/preference"
)

// Undecided is the level at which two items were told apart when none did.
const Undecided = -1

// Factor is something that makes a clip good.
type Factor struct {
	Name string
	// Lower says that less of it is better.
	Lower bool
	// Margin is how many standard deviations two clips must differ by for the factor
	// to decide; the authors' default is 1. With 0 any difference decides, which
	// suits success and failure.
	Margin float64
}

// Rank compares items by factors, the most important first. It is safe for
// several goroutines.
type Rank struct {
	factors []Factor
	gap     []float64 // margins in the factors' own units
}

// New ranks by factors. sample holds items' factors, (len(factors),) each, from
// which the standard deviations of the margins are taken once and for all: the
// authors' follow the buffer, so that a label may change with time.
func New(factors []Factor, sample [][]float64) (*Rank, error) {
	if len(factors) == 0 {
		return nil, errors.New("heron: no factors to rank by")
	}
	r := &Rank{factors: append([]Factor(nil), factors...), gap: make([]float64, len(factors))}
	names := map[string]bool{}
	for i, f := range factors {
		switch {
		case f.Name == "" || names[f.Name]:
			return nil, fmt.Errorf("heron: factor %d: name %q is empty or used twice", i, f.Name)
		case !(f.Margin >= 0) || math.IsInf(f.Margin, 1):
			return nil, fmt.Errorf("heron: factor %s: margin %v, want at least 0", f.Name, f.Margin)
		}
		names[f.Name] = true
		if f.Margin == 0 {
			continue
		}
		if len(sample) < 2 {
			return nil, fmt.Errorf("heron: factor %s: %d items to take a deviation from, want at least two", f.Name, len(sample))
		}
		var sum, square float64
		for j, z := range sample {
			if err := r.check(z); err != nil {
				return nil, fmt.Errorf("heron: sample %d: %w", j, err)
			}
			sum += z[i]
		}
		mean := sum / float64(len(sample))
		for _, z := range sample {
			square += (z[i] - mean) * (z[i] - mean)
		}
		r.gap[i] = f.Margin * math.Sqrt(square/float64(len(sample)))
	}
	return r, nil
}

func (r *Rank) check(z []float64) error {
	if len(z) != len(r.factors) {
		return fmt.Errorf("%d factors, want %d", len(z), len(r.factors))
	}
	for i, x := range z {
		if x-x != 0 {
			return fmt.Errorf("factor %s is %v", r.factors[i].Name, x)
		}
	}
	return nil
}

// Gaps are the differences (len(factors),) that decide, in the factors' own units.
func (r *Rank) Gaps() []float64 { return append([]float64(nil), r.gap...) }

// Compare is the authors' decision tree: the first factor in which a and b differ
// by more than its margin decides. It returns that factor's place, or Unknown and
// Undecided. Factors that are not finite, or not as many, decide nothing.
func (r *Rank) Compare(a, b []float64) (v preference.Verdict, level int) {
	if r.check(a) != nil || r.check(b) != nil {
		return preference.Unknown, Undecided
	}
	for i, f := range r.factors {
		d := a[i] - b[i]
		if f.Lower {
			d = -d
		}
		switch {
		case d > r.gap[i]:
			return preference.First, i
		case d < -r.gap[i]:
			return preference.Second, i
		}
	}
	return preference.Unknown, Undecided
}

// Item is a clip with its factors.
type Item struct {
	Clip    preference.Clip
	Factors []float64 // in the order of Rank
}

// Config are the parameters of Fit.
type Config struct {
	// Pairs is how many different decided pairs are drawn at most; 0: ten for each item.
	Pairs int
	Model preference.Config
	Seed  uint64 // of the draw
}

// Report tells what was learned from.
type Report struct {
	preference.Report
	Drawn int   // different pairs looked at
	By    []int // (len(factors),) pairs that each factor decided
}

// Draw draws pairs of items at random, each once, and keeps those that some factor
// decides. One that came twice, with the same answer, could be held out and learned from.
func (r *Rank) Draw(items []Item, n int, rng *rand.Rand) (pairs []preference.Pair, drawn int, by []int, err error) {
	if len(items) < 2 {
		return nil, 0, nil, fmt.Errorf("heron: %d items, want at least two to compare", len(items))
	}
	for i, it := range items {
		if err := r.check(it.Factors); err != nil {
			return nil, 0, nil, fmt.Errorf("heron: item %d: %w", i, err)
		}
	}
	by = make([]int, len(r.factors))
	all := len(items) * (len(items) - 1) / 2
	seen := map[[2]int]bool{}
	for tries := 0; tries < 20*n && drawn < all && len(pairs) < n; tries++ {
		i := rng.IntN(len(items))
		j := rng.IntN(len(items) - 1)
		if j >= i {
			j++
		}
		pair := [2]int{min(i, j), max(i, j)}
		if seen[pair] {
			continue
		}
		seen[pair] = true
		drawn++
		v, level := r.Compare(items[i].Factors, items[j].Factors)
		if v == preference.Unknown {
			continue
		}
		by[level]++
		pairs = append(pairs, preference.Pair{A: items[i].Clip, B: items[j].Clip, Verdict: v, Annotator: "heron"})
	}
	if len(pairs) == 0 {
		return nil, drawn, by, fmt.Errorf("heron: no factor decides any of %d pairs: lower the margins, or rank by what differs", drawn)
	}
	return pairs, drawn, by, nil
}

// Fit fits a reward to what the rank says of items: a
// Bradley-Terry model of decided pairs, with its reward normalised. Call it again
// as the policy brings new items; wrap the result in Running to keep the scale.
//
// A margin above 0 on a factor without steps makes the rank intransitive (a
// lexicographic semiorder): no reward can then agree with every label.
func Fit(ctx context.Context, r *Rank, items []Item, cfg Config) (*preference.Net, Report, error) {
	n := cfg.Pairs
	if n <= 0 {
		n = 10 * len(items)
	}
	pairs, drawn, by, err := r.Draw(items, n, rand.New(rand.NewPCG(cfg.Seed, 0x6865726f))) // any stream of its own
	if err != nil {
		return nil, Report{}, err
	}
	net, rep, err := preference.FitRLHF(ctx, pairs, cfg.Model)
	if err != nil {
		return nil, Report{}, fmt.Errorf("heron: %w", err)
	}
	return net, Report{Report: rep, Drawn: drawn, By: by}, nil
}
