package sample

import (
	"math"
	"math/rand/v2"
)

// Potential names what weighs a particle at a look, by the reward r of the actions
// predicted there (Singhal et al. 2025, arXiv:2501.06848).
type Potential uint8

// The potentials. All but Diff are divided by their product at the end, so that the
// weights of a whole chain are exp(lambda r) of its actions for each.
const (
	Diff Potential = iota // exp(lambda (r - r before))
	Max                   // exp(lambda max r so far)
	Add                   // exp(lambda sum r so far)
	Raw                   // exp(lambda r)
	potentials
)

// weigh begins a chunk.
func (s *Search) weigh(l *level) {
	for i := range l.n {
		s.logw[i], s.before[i], s.best[i], s.sum[i], s.prod[i] = 0, 0, math.Inf(-1), 0, 0
	}
}

// steer weighs the particles of l by the values of what they predict, and draws them
// anew by their weights once those are worth less than half of them.
func (s *Search) steer(l *level, rng *rand.Rand) {
	for i := range l.n {
		s.logw[i] += s.potential(i, l.value[i], false)
	}
	ess := s.normalise(l.n)
	if !s.cfg.Always && ess >= float64(l.n)/2 {
		return
	}
	s.resample(l, rng)
}

// potential is the logarithm of that of particle i at value r.
func (s *Search) potential(i int, r float64, last bool) float64 {
	if math.IsInf(r, -1) {
		return r
	}
	lambda := s.cfg.Scale
	var g float64
	switch s.cfg.Potential {
	case Diff:
		g = lambda * (r - s.before[i])
		s.before[i] = r
		return g
	case Max:
		s.best[i] = max(s.best[i], r)
		g = lambda * s.best[i]
	case Add:
		s.sum[i] += r
		g = lambda * s.sum[i]
	case Raw:
		g = lambda * r
	}
	if last {
		return lambda*r - s.prod[i]
	}
	s.prod[i] += g
	return g
}

// normalise writes the weights of n particles and returns their effective number
// 1/sum w^2. The largest logarithm is taken off first, so that none overflows.
func (s *Search) normalise(n int) (ess float64) {
	top := math.Inf(-1)
	for _, w := range s.logw[:n] {
		top = max(top, w)
	}
	sum := 0.0
	for i, w := range s.logw[:n] {
		s.weight[i] = 1
		if !math.IsInf(top, -1) { // otherwise nothing tells them apart
			s.weight[i] = math.Exp(w - top)
		}
		sum += s.weight[i]
	}
	for i := range n {
		s.weight[i] /= sum
		ess += s.weight[i] * s.weight[i]
	}
	return 1 / ess
}

// resample draws the particles of l anew, multinomially.
func (s *Search) resample(l *level, rng *rand.Rand) {
	for i := range l.n {
		s.from[i] = s.pick(l.n, rng)
	}
	carry := func(x []float32) {
		copy(l.back, x)
		for i, j := range s.from[:l.n] {
			copy(x[i*s.length:(i+1)*s.length], l.back[j*s.length:(j+1)*s.length])
		}
	}
	carry(l.x)
	carry(l.guess)
	s.books(s.from[:l.n], s.before, s.best, s.sum, s.prod)
	clear(s.logw)
}

// books gives each particle what was kept of the one that it comes from, of all as it was
// before: a particle's own may have been given away.
func (s *Search) books(from []int, of ...[]float64) {
	for _, a := range of {
		copy(s.value, a)
		for i, j := range from {
			a[i] = s.value[j]
		}
	}
}

// pick draws one of n particles by the weights.
func (s *Search) pick(n int, rng *rand.Rand) int {
	u, j := rng.Float64(), 0
	for u -= s.weight[0]; u >= 0 && j < n-1; u -= s.weight[j] {
		j++
	}
	return j
}
