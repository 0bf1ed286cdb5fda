package diffusion

import "errors"

// Hop is one step back of a chain, from the noised x and what the network predicts
// of it at Time:
//
//	x0 = clip(OfX x + OfOut out),  x <- A x0 + B x + Sigma z
//
// so that the next x is a Gaussian about A x0 + B x (Ho et al. 2020, equation 6; Song
// et al. 2021, equation 12). Bar is the share of the actions' variance in x.
type Hop struct {
	Time, Bar          float64
	OfX, OfOut         float64
	A, B, Sigma, Bound float64
}

// Hops lists the steps back of a diffusion, from noise on. A flow has none: its steps
// are no distributions.
func (c *Chain) Hops() ([]Hop, error) {
	if c.p.Kind == Flow {
		return nil, errors.New("diffusion: a flow has no steps with a density: use a Process of Kind Diffusion")
	}
	hops := make([]Hop, len(c.times))
	for i, k := range c.times {
		s, n, a, b, sigma := c.step(c.bars[k], c.before(i))
		h := Hop{Time: float64(k), Bar: c.bars[k], A: a, B: b, Sigma: sigma, Bound: c.d.Clip}
		// clean is linear in both of its arguments.
		h.OfX, h.OfOut = c.p.clean(1, 0, s, n), c.p.clean(0, 1, s, n)
		hops[i] = h
	}
	return hops, nil
}

// Noised writes what a network is trained with for one row: the noised chunk x and
// the target that it is to predict of it, from actions x0 on the normalised scale and
// noise eps (Ho et al. 2020, equation 4). bar is the share of the actions' variance
// that is left (Bars), or the time of a flow. x may be x0.
func (p Process) Noised(x, target, x0, eps []float32, bar float64) { p.noised(x, target, x0, eps, bar) }
