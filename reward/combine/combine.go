// Package combine makes one reward of several.
//
// KRC is the Kinesthetic Reward Combination of Lucy-SKG (Moschopoulos, Kyriakidis,
// Lazaridis, Vlahavas: Lucy-SKG: Learning to Play Rocket League Efficiently Using
// Deep Reinforcement Learning, 2023, arXiv:2305.15801): a geometric mean with a sign,
// which pays only where everything is right at once. Harmonic is the λ-harmonic reward
// of RPO (Miao et al.: Subject-driven Text-to-Image Generation via Preference-based
// Reinforcement Learning, NeurIPS 2024, arXiv:2407.12164), which the smaller of the two
// rules.
//
// A Scorer combines what other reward.Scorers say of each step:
//
//	s, err := combine.NewKRC([]combine.Part{
//		{Name: "look", Scorer: rapl, Lo: -1, Hi: 0},
//		{Name: "pace", Scorer: pace},
//	}, combine.KRCConfig{Log: log})
package combine

import "math"

// KRC is sgn · (Π |r_i|)^(1/n) of components r_i in [-1,1] (Lucy-SKG):
// sgn is +1 if all of them are positive and −1 otherwise, so that two that are bad do
// not make a good one; a single zero makes it zero. It is 0 of no components.
func KRC(parts []float64) float64 {
	if len(parts) == 0 {
		return 0
	}
	sign, product := 1.0, 1.0
	for _, r := range parts {
		if !(r > 0) {
			sign = -1
		}
		product *= math.Abs(r)
	}
	if product == 0 {
		return 0
	}
	return sign * math.Pow(product, 1/float64(len(parts)))
}

// smooth keeps the gradient of KRC finite where a component is zero.
const smooth = 1e-6

// KRCGrad writes the derivatives of KRC by each component to dst and returns it; a nil
// dst is allocated. Every |r| is taken to be 1e-6 larger, since the root is infinitely
// steep at zero; there the slope is taken from the right.
func KRCGrad(dst, parts []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(parts))
	}
	if len(dst) != len(parts) {
		panic("combine: one derivative a component")
	}
	n := float64(len(parts))
	sign, logs := 1.0, 0.0
	for _, r := range parts {
		if !(r > 0) {
			sign = -1
		}
		logs += math.Log(math.Abs(r) + smooth)
	}
	mean := sign * math.Exp(logs/n)
	for i, r := range parts {
		dst[i] = mean / (n * (math.Abs(r) + smooth))
		if r < 0 {
			dst[i] = -dst[i]
		}
	}
	return dst
}

// Potential turns rewards (T,) of arriving at states into the shaping by them as a
// potential, F_t = γ Φ(s_{t+1}) − Φ(s_t) (Ng, Harada, Russell 1999), in place. The state
// after the reset has no reward of its own, and is taken to be worth what the first
// arrival is.
func Potential(rewards []float64, discount float64) {
	for t := len(rewards) - 1; t > 0; t-- {
		rewards[t] = discount*rewards[t] - rewards[t-1]
	}
	if len(rewards) > 0 {
		rewards[0] = (discount - 1) * rewards[0]
	}
}

// Shape makes a reward in (0,1] of a distance (Lucy-SKG).
type Shape struct {
	Unit       float64 // c_d, a distance that counts as one, m; 0 means 1
	Dispersion float64 // w_dis, stretches the reward over longer distances; 0 means 1
	Density    float64 // w_den, flattens its fall near zero; 0 means 1
}

// At is exp(−½ d / (c_d w_dis))^(1/w_den) of a distance d.
func (s Shape) At(d float64) float64 {
	one := func(x float64) float64 {
		if x == 0 {
			return 1
		}
		return x
	}
	return math.Pow(math.Exp(-0.5*d/(one(s.Unit)*one(s.Dispersion))), 1/one(s.Density))
}

// tiny is what RPO's code adds to similarities.
const tiny = 1e-8

// Harmonic is 1 / (λ/(a + 1e-8) + (1 − λ)/(b + 1e-8)) of similarities a and b in [0,1]
// (RPO): a alone at λ = 1, b alone at 0.
func Harmonic(lambda, a, b float64) float64 {
	return 1 / (lambda/(a+tiny) + (1-lambda)/(b+tiny))
}
