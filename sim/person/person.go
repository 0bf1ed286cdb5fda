// Package person is a simulated person who judges episodes by how they truly
// ended, as the simulated human of RAPL does (Tian et al. 2023, author code).
//
// An alignment method spends human labels, and its tests and benchmarks need
// them by the hundred. The person alone sees sim.Truth; what it hands out is
// what a person would say: which of two is better, which demonstrations it
// likes, and triplets for aligning an encoder.
//
//	p := person.New(rand.NewPCG(seed, 1), 0)
//	if p.Prefers(a, b) > 0 {
//		// a is better
//	}
package person

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/rapport-rl/rapport/sim"
)

// Grade is how a person rates one episode by its final distance d, m.
type Grade uint8

// The grades. RAPL's script leaves out 0.08 < d <= 0.15 and d >= 0.20; here
// the former is Unsure and everything beyond 0.15 is Negative, since the bad
// demonstrations of sim/tabletop end at 0.2 to 0.7.
const (
	Positive Grade = iota // d <= 0.05
	Neutral               // 0.05 < d <= 0.08
	Unsure                // 0.08 < d <= 0.15
	Negative              // d > 0.15
)

func (g Grade) String() string {
	switch g {
	case Positive:
		return "positive"
	case Neutral:
		return "neutral"
	case Unsure:
		return "unsure"
	}
	return "negative"
}

// Rate grades an episode. One without an instant is Negative.
func Rate(episode []sim.Truth) Grade {
	switch d := end(episode); {
	case d <= 0.05:
		return Positive
	case d <= 0.08:
		return Neutral
	case d <= 0.15:
		return Unsure
	}
	return Negative
}

// end is an episode's final distance, m.
func end(episode []sim.Truth) float64 {
	if len(episode) == 0 {
		return math.Inf(1)
	}
	return episode[len(episode)-1].Distance
}

// Person judges. It belongs to one goroutine.
type Person struct {
	rng  *rand.Rand
	beta float64
}

// New returns a person that errs like a Bradley-Terry model: it prefers a to b
// with probability σ(beta·(d_b − d_a)), d the final distances in metres. A beta
// of 0 or +Inf never errs; 50 errs in one of four judgements over 2 cm.
func New(src rand.Source, beta float64) *Person {
	if !(beta >= 0) {
		panic("person: beta must not be negative")
	}
	if math.IsInf(beta, 1) {
		beta = 0
	}
	return &Person{rng: rand.New(src), beta: beta}
}

// Tie is how near two ends must be for RAPL's simulated human to see no
// difference, m.
const Tie = 0.005

// alike says whether two episodes are a tie, which two that are both good enough (d
// <= 0.08) or both bad (d > 0.15) are by less than tie of difference, m.
func alike(a, b []sim.Truth, tie float64) bool {
	da, db := end(a), end(b)
	same := da == db || math.Abs(da-db) < tie
	ga, gb := Rate(a), Rate(b)
	return same && ga != Unsure && gb != Unsure && (ga == Negative) == (gb == Negative)
}

// Prefers compares two episodes: +1 says that a is better, -1 that b is, 0 that
// the person cannot tell. As in RAPL's script, two that are both good enough
// (d <= 0.08) or both bad (d > 0.15) by less than 5 mm of difference are a tie.
func (p *Person) Prefers(a, b []sim.Truth) int {
	if alike(a, b, Tie) {
		return 0
	}
	da, db := end(a), end(b)
	better := da < db
	if p.beta > 0 {
		better = p.rng.Float64() < 1/(1+math.Exp(-p.beta*(db-da)))
	}
	if better {
		return 1
	}
	return -1
}

// Pick returns the indices of at most n episodes that the person likes, the
// best first: those it rates Positive.
func (p *Person) Pick(episodes [][]sim.Truth, n int) []int {
	var liked []int
	for i, e := range episodes {
		if Rate(e) == Positive {
			liked = append(liked, i)
		}
	}
	slices.SortStableFunc(liked, func(i, j int) int {
		switch a, b := end(episodes[i]), end(episodes[j]); {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	return liked[:min(n, len(liked))]
}

// Triplet says that Better is more like Anchor, in what the person cares about,
// than Worse is. They are indices of episodes.
type Triplet struct{ Anchor, Better, Worse int }

// Triplets compares n random pairs of episodes with a random one that the
// person likes, skipping pairs that it cannot tell apart. It returns fewer than
// n, or none, if nothing is liked or hardly anything differs.
func (p *Person) Triplets(episodes [][]sim.Truth, n int) []Triplet {
	liked := p.Pick(episodes, len(episodes))
	if len(liked) == 0 || len(episodes) < 3 {
		return nil
	}
	var ts []Triplet
	// A person gives up on a pile in which twenty pairs of one tell nothing.
	for range 20 * n {
		if len(ts) == n {
			break
		}
		k, i, j := liked[p.rng.IntN(len(liked))], p.rng.IntN(len(episodes)), p.rng.IntN(len(episodes))
		if i == j || i == k || j == k {
			continue
		}
		switch p.Prefers(episodes[i], episodes[j]) {
		case 1:
			ts = append(ts, Triplet{k, i, j})
		case -1:
			ts = append(ts, Triplet{k, j, i})
		}
	}
	return ts
}
