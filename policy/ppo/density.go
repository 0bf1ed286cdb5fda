package ppo

import (
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/bc"
)

// rim is where an action before tanh counts as at its bound, atanh(0.99): beyond
// it tanh moves by less than a hundredth, and what the action was can hardly be
// told from what was applied.
const rim = 2.6466524123622461977

// density adds the log likelihood (B,) of the actions u (B, k) before tanh under
// a head raw (B, 2k). An action at its bound counts with the probability of being
// there instead of with a density, of which an action that was clipped has none
// (Fujita and Maeda 2018, "Clipped action policy gradient", arXiv:1802.07564);
// else a policy that saturates would find its own actions all but impossible.
//
//	log pi(u) = sum_j  log N(u_j; m_j, s_j)           for |u_j| < rim
//	                   log Phi((m_j sign(u_j) - rim) / s_j)  else
//
// The slope of tanh is left out: it is the same for all policies.
func density(g *nn.Graph, raw, u *nn.Node) *nn.Node {
	B, k := u.Shape[0], u.Shape[1]
	return g.Custom([]*nn.Node{raw}, []int{B}, func(out *nn.Node) {
		for i := range B {
			x, logp := raw.Value[i*2*k:(i+1)*2*k], 0.0
			for j := range k {
				p, _, _ := likelihood(float64(x[j]), float64(x[k+j]), float64(u.Value[i*k+j]))
				logp += p
			}
			out.Value[i] = float32(logp)
		}
	}, func(out *nn.Node) {
		for i := range B {
			x, d, dp := raw.Value[i*2*k:(i+1)*2*k], raw.Grad[i*2*k:(i+1)*2*k], float64(out.Grad[i])
			for j := range k {
				_, dm, ds := likelihood(float64(x[j]), float64(x[k+j]), float64(u.Value[i*k+j]))
				d[j] += float32(dp * dm)
				d[k+j] += float32(dp * ds)
			}
		}
	})
}

// likelihood is the log likelihood of one number u for the mean m and the raw
// deviation s, and its slopes along these.
func likelihood(m, s, u float64) (p, dm, ds float64) {
	l, dl := bc.LogStd(s)
	inv := math.Exp(-l)
	if math.Abs(u) < rim {
		e := (u - m) * inv
		return -0.5*e*e - l - half, e * inv, (e*e - 1) * dl
	}
	sign := math.Copysign(1, u)
	z := (sign*m - rim) * inv
	p = logPhi(z)
	h := math.Exp(-0.5*z*z - half - p) // phi/Phi
	return p, h * sign * inv, -h * z * dl
}

// half is log(2 pi)/2.
const half = 0.91893853320467274178

// logPhi is the logarithm of the normal distribution function.
func logPhi(z float64) float64 {
	if z > -30 {
		return math.Log(0.5 * math.Erfc(-z/math.Sqrt2))
	}
	// Abramowitz and Stegun 1964, equation 26.2.12, to one term: 3/z^4 of Phi off,
	// less than 4e-6.
	return -0.5*z*z - half - math.Log(-z) + math.Log1p(-1/(z*z))
}
