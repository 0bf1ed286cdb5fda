package align

import "math"

// Taste is what few of a user's pairs tell of what they like: the mean of
// phi(win) - phi(lose), to length 1, which is linear in features as RAPL's (after the
// few-shot embeddings of PPD, Dang et al. 2025, arXiv:2501.06655). A user without any
// has a taste of 0, and is served as nobody.
func Taste(b *Batch, user int, phi func(s *Sample) []float64) []float64 {
	var taste []float64
	for _, p := range b.Pairs {
		w, l := &b.Samples[p.Win], &b.Samples[p.Lose]
		a, c := phi(w), phi(l)
		if taste == nil {
			taste = make([]float64, len(a))
		}
		if p.Tie || w.User != user {
			continue
		}
		for i := range taste {
			taste[i] += a[i] - c[i]
		}
	}
	square := 0.0
	for _, v := range taste {
		square += v * v
	}
	for i := range taste {
		taste[i] /= max(math.Sqrt(square), tiniest)
	}
	return taste
}
