package preference

import (
	"fmt"
	"math"
)

// Entropy is how uncertain the answer is, in bits.
func (o Odds) Entropy() float64 {
	var h float64
	for _, p := range [...]float64{o.First, o.Second, o.Tie} {
		if p > 0 {
			h -= p * math.Log2(p)
		}
	}
	return h
}

// Odds implements Model: the mean of the members' odds.
func (n *Net) Odds(a, b Clip) (Odds, error) {
	o, _, _, err := n.foretell(a, b)
	return o, err
}

// foretell also gives the bits that the answer tells of which member is right, and the
// variance between members of the chance that a is better, given that one is.
func (n *Net) foretell(a, b Clip) (mean Odds, bits, variance float64, err error) {
	E := len(n.zero)
	u := make([]float64, 2*E)
	if err := n.utilities(u[:E], a); err != nil {
		return Odds{}, 0, 0, err
	}
	if err := n.utilities(u[E:], b); err != nil {
		return Odds{}, 0, 0, err
	}
	c, inside := 1/float64(E), 0.0
	for e := range E {
		k, _ := n.strength(e)
		d := u[e] - u[E+e]
		o := n.cfg.Ties.Odds(d, k)
		mean.First += c * o.First
		mean.Second += c * o.Second
		mean.Tie += c * o.Tie
		inside += c * o.Entropy()
		u[e] = sigmoid(d)
	}
	_, dev := moments(u[:E])
	return mean, max(mean.Entropy()-inside, 0), dev * dev, nil
}

// Disagreement is the variance between members of the chance that a is better than
// b, given that one is: Christiano et al. (section 2.2.4) ask about the pairs in
// which it is largest.
func (n *Net) Disagreement(a, b Clip) (float64, error) {
	_, _, v, err := n.foretell(a, b)
	return v, err
}

// Gain is how many bits the answer to a pair is expected to tell of which member is
// right: H(E_e P_e) − E_e H(P_e) (Houlsby et al. 2011, arXiv:1112.5745, equation 2).
// Members must differ by more than where they began for it to mean much: Bootstrap.
func (n *Net) Gain(a, b Clip) (float64, error) {
	_, bits, _, err := n.foretell(a, b)
	return bits, err
}

// Ask chooses the pair whose answer tells most, the first of equals.
func (n *Net) Ask(candidates []Pair) (index int, bits float64, err error) {
	return Ask(candidates, n.Gain)
}

// Ask chooses the candidate of the largest gain, the first of equals.
func Ask(candidates []Pair, gain func(a, b Clip) (float64, error)) (index int, bits float64, err error) {
	if len(candidates) == 0 {
		return 0, 0, fmt.Errorf("preference: no pairs to choose a question from")
	}
	for i, p := range candidates {
		g, err := gain(p.A, p.B)
		if err != nil {
			return 0, 0, fmt.Errorf("preference: candidate %d: %w", i, err)
		}
		if i == 0 || g > bits {
			index, bits = i, g
		}
	}
	return index, bits, nil
}
