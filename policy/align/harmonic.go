package align

import "math"

// Harmonic is the harmonic mean of two scores from 0 to 1, the weight lambda on a (RPO,
// Miao et al. 2024, arXiv:2407.12164, the lambda-harmonic function):
//
//	1 / (lambda/(a + 1e-8) + (1-lambda)/(b + 1e-8))
//
// The smaller of the two dominates it, so that neither can be bought with the other.
func Harmonic(lambda, a, b float64) float64 {
	return 1 / (lambda/(a+1e-8) + (1-lambda)/(b+1e-8))
}

// Near turns a KL divergence into a score from 0 to 1: e^(-kl/scale), or 1 without a
// scale.
func Near(kl, scale float64) float64 {
	if math.IsInf(scale, 1) {
		return 1
	}
	return math.Exp(-max(0, kl) / scale)
}
