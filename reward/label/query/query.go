// Package query chooses what to ask people next: the question whose answer is
// expected to teach most about what they want (Houlsby, Huszár, Ghahramani,
// Lengyel 2011, arXiv:1112.5745), or a random one as the baseline.
//
// People are the slowest part of learning from preferences. What is believed of
// them is an ensemble: each member foretells an answer, and a question is worth
// asking where every member is sure and they contradict each other. Where all are
// unsure, as about two clips that are alike, the answer is noise.
//
//	belief, err := query.Fit(answers, query.Config{Source: rand.NewPCG(seed, n)})
//	i, gain, err := query.Informative{Belief: belief.Of(features)}.Choose(candidates)
package query

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/reward/label"
)

// Chooser picks one of several questions that could be asked next.
type Chooser interface {
	// Choose returns the index of a candidate and what its answer is expected to
	// teach, in bits; 0 where nobody computed it.
	Choose(candidates []label.Query) (i int, gain float64, err error)
}

// Belief is what an ensemble believes of answers.
type Belief interface {
	// Left is the chance of the answer left to a Pair or a Triplet, by each of M
	// members. The slice is the caller's until the next call.
	Left(q label.Query) ([]float64, error)
}

var errNone = errors.New("query: there is nothing to choose from")

// Random chooses blindly, with equal chances.
type Random struct{ Rand *rand.Rand }

// Choose draws a candidate.
func (r Random) Choose(candidates []label.Query) (int, float64, error) {
	if len(candidates) == 0 {
		return 0, 0, errNone
	}
	return r.Rand.IntN(len(candidates)), 0, nil
}

// Informative chooses the question of the largest Gain; of equal ones the first.
type Informative struct{ Belief Belief }

// Choose asks the belief about every candidate.
func (c Informative) Choose(candidates []label.Query) (int, float64, error) {
	if len(candidates) == 0 {
		return 0, 0, errNone
	}
	best, top := 0, math.Inf(-1)
	for i, q := range candidates {
		if q.Kind != label.Pair && q.Kind != label.Triplet {
			return 0, 0, fmt.Errorf("query: %s is a %s; what a pair or a triplet teaches can be foretold", q.ID, q.Kind)
		}
		p, err := c.Belief.Left(q)
		if err != nil {
			return 0, 0, err
		}
		if g := Gain(p); g > top {
			best, top = i, g
		}
	}
	return best, top, nil
}

// Utilities is a Belief of an ensemble that says how good clips are, by the model
// of Bradley and Terry: P(left) = σ(u_left − u_right). A triplet's anchor does not
// count: that the members were asked about it is in what they say.
type Utilities struct {
	// Of is what a clip is worth to each of M members, in units of the noise.
	Of func(label.Clip) ([]float64, error)

	p []float64
}

// Left compares the two clips of q.
func (u *Utilities) Left(q label.Query) ([]float64, error) {
	left, right := q.Sides()
	l, err := u.Of(left)
	if err != nil {
		return nil, err
	}
	u.p = append(u.p[:0], l...)
	r, err := u.Of(right)
	if err != nil {
		return nil, err
	}
	if len(r) != len(u.p) {
		return nil, fmt.Errorf("query: %s: %d members on the left, %d on the right", q.ID, len(u.p), len(r))
	}
	for m := range u.p {
		u.p[m] = sigmoid(u.p[m] - r[m])
	}
	return u.p, nil
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Gain is the mutual information between an answer of two kinds and the member that
// is right, bits (Houlsby et al. 2011, equation 2), p (M,) the chance of the first by
// each member:
//
//	I = h(mean p) − mean h(p),  h(p) = −p log₂ p − (1 − p) log₂(1 − p).
//
// It lies in [0, 1]; of no members it is 0.
func Gain(p []float64) float64 {
	if len(p) == 0 {
		return 0
	}
	var mean, each float64
	for _, x := range p {
		mean += x
		each += Entropy(x)
	}
	m := float64(len(p))
	return max(0, Entropy(mean/m)-each/m)
}

// Entropy is that of a coin of chance p, bits.
func Entropy(p float64) float64 {
	h := 0.0
	for _, x := range [2]float64{p, 1 - p} {
		if x > 0 {
			h -= x * math.Log2(x)
		}
	}
	return h
}
