package align

// PartialConfig configures NewPartial. Zero fields take the defaults named.
type PartialConfig struct {
	Chains int     // of a gradient step; 32
	Start  float64 // share of the chain that is run; 0.6 (InstructVideo's)
	Back   int     // steps that the gradient goes back through; 1 (InstructVideo's)
}

// NewPartial returns an AlignProp whose chains begin with demonstrated chunks, noised to
// a part of the chain (InstructVideo, Yuan et al. 2023, arXiv:2312.12490, section 3.2):
//
//	x = sqrt(bar) chunk + sqrt(1-bar) eps  at the step that leaves Start of the chain
//
// It needs fewer calls of the network, and stays near what was demonstrated. The
// samples of its batches hold demonstrated chunks, see Demonstrate; what a Run draws is
// the policy's own, which then is what it stays near.
func NewPartial(t *Tuned, slope Slope, c PartialConfig) (*AlignProp, error) {
	number(&c.Start, 0.6)
	whole(&c.Back, 1)
	return NewAlignProp(t, slope, AlignPropConfig{Chains: c.Chains, Back: c.Back, Start: c.Start})
}

// Demonstrate sets the chunks of samples to actions (n, H, k) as the view shows them.
// Their chains are then no chains that led there, but for AlignProp and DiffusionDPO,
// which look at the chunks alone.
func (t *Tuned) Demonstrate(ss []Sample, actions []float32) {
	L := t.len()
	if len(actions) != len(ss)*L {
		panic("align: Demonstrate: actions do not fill the samples")
	}
	for i := range ss {
		t.net.Normal(ss[i].Chunk(), actions[i*L:(i+1)*L])
		copy(ss[i].Actions, actions[i*L:(i+1)*L])
	}
}
