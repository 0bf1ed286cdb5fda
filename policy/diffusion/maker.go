package diffusion

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// maker makes the params of a denoiser, or, without a source of random numbers,
// only counts their elements.
type maker struct {
	rng   *rand.Rand
	list  []*nn.Param
	count float64 // no integer, so that no claim overflows it
}

func (m *maker) param(name string, shape ...int) *nn.Param {
	n := 1.0
	for _, d := range shape {
		n *= float64(d)
	}
	m.count += n
	if m.rng == nil {
		return &nn.Param{Name: name, Shape: shape}
	}
	p := nn.NewParam("denoiser."+name, shape...)
	m.list = append(m.list, p)
	return p
}

// weight draws as PyTorch does by default, so that published settings hold.
func (m *maker) weight(name string, shape ...int) *nn.Param {
	p := m.param(name, shape...)
	if m.rng != nil {
		nn.InitLinear(p, m.rng)
	}
	return p
}

func (m *maker) normal(name string, std float64, shape ...int) *nn.Param {
	p := m.param(name, shape...)
	if m.rng != nil {
		nn.InitNormal(p, std, m.rng)
	}
	return p
}

// affine is a weight, or the gain of a norm, and a bias.
type affine struct{ w, b *nn.Param }

func (m *maker) linear(name string, in, out int) affine {
	return affine{m.weight(name+".weight", out, in), m.param(name+".bias", out)}
}

// conv is a convolution over the chunk.
func (m *maker) conv(name string, in, out, k int) affine {
	return affine{m.weight(name+".weight", out, in, 1, k), m.param(name+".bias", out)}
}

func (m *maker) norm(name string, n int) affine {
	return affine{m.param(name+".weight", n).Fill(1), m.param(name+".bias", n)}
}

// net is a graph with the way in which params come into it.
type net struct {
	*nn.Graph
	get func(*nn.Param) *nn.Node
}

func (n net) linear(x *nn.Node, a affine) *nn.Node { return n.Linear(x, n.get(a.w), n.get(a.b)) }

func (n net) layerNorm(x *nn.Node, a affine) *nn.Node {
	return n.LayerNorm(x, n.get(a.w), n.get(a.b))
}

// denoiser predicts from a noised chunk x (B,H,k), the embedded step emb
// (B,Embed) and the history seen (B,To*D).
type denoiser interface {
	apply(n net, x, emb, seen *nn.Node) *nn.Node
	// embeds are the layers that turn a step's sinusoids into its embedding.
	embeds() [2]affine
	// export adds apply to a file, for an embedding that embeds made.
	export(f *file, a Arch, x string, emb []float32, seen string) string
}

// build makes the denoiser of a, which is complete, for histories of D numbers
// an input.
func (m *maker) build(a Arch, D int) denoiser {
	switch a.Shape {
	case MLP:
		return m.mlp(a, D)
	case Transformer:
		return m.transformer(a, D)
	}
	return m.unet(a, D)
}
