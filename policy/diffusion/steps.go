package diffusion

import "math/rand/v2"

// What follows opens a Chain to those who look at the chunk between its steps: step
// i counts from 0, where x is noise, to Steps()-1, after which x is actions.

// Steps is how often a chain asks the network.
func (c *Chain) Steps() int { return c.d.Steps }

// Flows says whether the chain follows a flow.
func (c *Chain) Flows() bool { return c.p.Kind == Flow }

// Time is that of step i as a Model is told it.
func (c *Chain) Time(i int) float64 {
	if c.p.Kind == Flow {
		return float64(i) / float64(c.d.Steps) * float64(c.p.Steps)
	}
	return float64(c.times[i])
}

// Bar is the share of the actions' variance in x before step i; of a flow, its time
// from 0 to 1.
func (c *Chain) Bar(i int) float64 {
	if c.p.Kind == Flow {
		return float64(i) / float64(c.d.Steps)
	}
	return c.bars[c.times[i]]
}

// Affine are the numbers of step i: the actions that the output out at x stands for
// are x0 = clip(ofX x + ofOut out), and the step goes to a x0 + b x + sigma z with
// normal z.
func (c *Chain) Affine(i int) (ofX, ofOut, a, b, sigma float64) {
	if c.p.Kind == Flow {
		t := c.Bar(i)
		a = 1 / (1 - t) / float64(c.d.Steps)
		return 1, 1 - t, a, 1 - a, 0
	}
	s, n, a, b, sigma := c.step(c.Bar(i), c.before(i))
	switch c.p.Predict {
	case Sample:
		return 0, 1, a, b, sigma
	case Velocity:
		return s, -n, a, b, sigma
	}
	return 1 / s, -n / s, a, b, sigma
}

// Clip bounds the actions that every step predicts.
func (c *Chain) Clip() float64 { return c.d.Clip }

// Back takes step i from x, of which out was predicted. push, where it is not nil, is
// added to the predicted actions before they are clipped; a push of zeros changes no
// bit. It takes any number of elements and does not allocate.
func (c *Chain) Back(i int, x, out, push []float32, rng *rand.Rand) {
	if len(out) != len(x) || (push != nil && len(push) != len(x)) {
		panic("diffusion: Back: arrays differ in length")
	}
	if c.p.Kind == Flow {
		c.euler(x, out, push, i)
		return
	}
	c.back(x, out, push, c.Bar(i), c.before(i), rng)
}

// Guess writes to dst the clipped actions that out stands for at step i.
func (c *Chain) Guess(i int, dst, x, out []float32) {
	ofX, ofOut, _, _, _ := c.Affine(i)
	for j, v := range x {
		dst[j] = float32(min(c.d.Clip, max(-c.d.Clip, ofX*float64(v)+ofOut*float64(out[j]))))
	}
}
