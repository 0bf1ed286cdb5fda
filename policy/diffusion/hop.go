package diffusion

// Hop is one step back of a chain, from the noised x and what the network predicts
// of it at Time:
//
//	x0 = clip(OfX x + OfOut out),  x <- A x0 + B x + Sigma z
//
// so that the next x of a diffusion is a Gaussian about A x0 + B x (Ho et al. 2020,
// equation 6; Song et al. 2021, equation 12). A flow's is that itself: its Sigma is 0.
// Bar is the share of the actions' variance in x, or the time of a flow.
type Hop struct {
	Time, Bar          float64
	OfX, OfOut         float64
	A, B, Sigma, Bound float64
}

// Hops lists the steps back, from noise on.
func (c *Chain) Hops() []Hop {
	hops := make([]Hop, c.d.Steps)
	for i := range hops {
		h := Hop{Time: c.Time(i), Bar: c.Bar(i), Bound: c.d.Clip}
		h.OfX, h.OfOut, h.A, h.B, h.Sigma = c.Affine(i)
		hops[i] = h
	}
	return hops
}

// Noised writes what a network is trained with for one row: the noised chunk x and
// the target that it is to predict of it, from actions x0 on the normalised scale and
// noise eps (Ho et al. 2020, equation 4). bar is the share of the actions' variance
// that is left (Bars), or the time of a flow. x may be x0.
func (p Process) Noised(x, target, x0, eps []float32, bar float64) { p.noised(x, target, x0, eps, bar) }
