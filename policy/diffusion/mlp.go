package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
)

// mlp denoises the chunk as one row, by residual layers (as DPPO does with small
// policies, Ren et al. 2024, arXiv:2409.00588).
type mlp struct {
	step  [2]affine // of the embedding
	in    affine
	inner [][2]affine
	out   affine
}

func (m *maker) mlp(a Arch, D int) denoiser {
	k := a.View.Action.Dim()
	d := &mlp{
		step: m.embedding(a.Embed),
		in:   m.linear("in", a.Horizon*k+a.Embed+a.History*D, a.Width),
	}
	for i := range a.Depth {
		at := fmt.Sprintf("layer%d", i)
		d.inner = append(d.inner, [2]affine{m.linear(at+".0", a.Width, a.Width), m.linear(at+".1", a.Width, a.Width)})
	}
	d.out = m.linear("out", a.Width, a.Horizon*k)
	return d
}

// embedding turns sinusoids into an embedding.
func (m *maker) embedding(n int) [2]affine {
	return [2]affine{m.linear("step.0", n, 4*n), m.linear("step.1", 4*n, n)}
}

func (n net) embedding(emb *nn.Node, s [2]affine) *nn.Node {
	return n.linear(n.Mish(n.linear(emb, s[0])), s[1])
}

func (d *mlp) apply(n net, x, emb, seen *nn.Node) *nn.Node {
	flat := n.Reshape(x, x.Shape[0], x.Shape[1]*x.Shape[2])
	h := n.linear(n.Concat(flat, n.embedding(emb, d.step), seen), d.in)
	for _, l := range d.inner {
		h = n.Add(h, n.linear(n.Mish(n.linear(n.Mish(h), l[0])), l[1]))
	}
	return n.Reshape(n.linear(n.Mish(h), d.out), x.Shape...)
}
