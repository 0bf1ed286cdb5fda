package bc

import (
	"errors"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// baseName begins the names of a base's tensors.
const baseName = "base"

// Residual returns a Net that keeps n as a frozen base and learns a correction on top
// (Silver et al. 2018, "Residual policy learning", arXiv:1812.06298; bounded
// as by Yuan et al. 2024, "Policy decorator", arXiv:2412.13630, section 4.2). Of the
// means before tanh, and of what LogStd turns into log deviations,
//
//	raw(s) = base(s) + bound tanh(f(s))
//
// so that neither what is done nor how far it is explored goes far from the base. The
// papers add actions; added before tanh, nothing is cut off, and the mean of an axis that
// the base has at its end, as a hand that is shut, hardly moves. f begins at zero.
func (n *Net) Residual(bound float64, rng *rand.Rand) (*Net, error) {
	if n.base != nil {
		return nil, errors.New("bc: a residual of a residual: begin from the policy that was cloned")
	}
	a := n.Arch
	a.Residual = bound
	r, err := NewNet(a, rng)
	if err != nil {
		return nil, err
	}
	nn.Copy(r.base.Params(), n.mlp.Params())
	nn.Copy([]*nn.Param{r.mean, r.inv}, []*nn.Param{n.mean, n.inv})
	ps := r.Params()
	for _, last := range ps[len(ps)-2:] {
		clear(last.Data)
	}
	return r, nil
}

// onBase adds what the head says of x, f (B, 2k), to what the base does, if there is
// one.
func (n *Net) onBase(g *nn.Graph, x, f *nn.Node) *nn.Node {
	if n.base == nil {
		return f
	}
	return g.Add(n.base.Frozen(g, x), g.Scale(g.Tanh(f), float32(n.Arch.Residual)))
}
