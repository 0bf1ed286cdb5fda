// Package nn differentiates and trains small networks on float32 arrays.
//
// A Graph is built once with fixed shapes and run many times: every buffer is
// allocated while building, so a steady-state step of Forward, Backward and
// Adam.Step allocates nothing, and the same seed gives the same bits on one
// kind of processor. The heavy kernels are a Device's (package nn/device: oneDNN,
// or pure Go). Ensembles are an extra leading axis of the weights; images are
// channels-last, (B, H, W, C).
//
//	rng := rand.New(rand.NewPCG(1, 2))
//	critic := nn.NewMLP("q", nn.MLPConfig{In: 71, Hidden: []int{256, 256}, Out: 1, Members: 10, LayerNorm: true}, rng)
//	g := nn.NewGraph()
//	x, target := g.Input(256, 71), g.Input(10, 256, 1)
//	loss := g.MSE(critic.Forward(g, x), target)
//	adam := nn.NewAdam(critic.Params(), nn.AdamConfig{LR: 3e-4})
//	for ... {
//		// fill x.Value and target.Value
//		g.Forward()
//		nn.ZeroGrad(critic.Params())
//		g.Backward(loss)
//		adam.Step()
//	}
//
// Misused shapes panic with a constant message while the graph is built.
package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Param is a trainable array, row-major. Data and Grad keep their place in
// memory for life: graphs share them.
type Param struct {
	Name  string
	Shape []int
	Data  []float32
	Grad  []float32

	twin *twin // on an accelerator; nil: none
}

// NewParam returns a Param of zeros.
func NewParam(name string, shape ...int) *Param {
	n := size(shape)
	return &Param{Name: name, Shape: slices.Clone(shape), Data: make([]float32, n), Grad: make([]float32, n)}
}

// Fill sets every element to v and returns p.
func (p *Param) Fill(v float32) *Param {
	for i := range p.Data {
		p.Data[i] = v
	}
	p.Push()
	return p
}

// ZeroGrad clears the gradients.
func ZeroGrad(params []*Param) {
	for _, p := range params {
		if p.twin != nil {
			p.twin.far.Clear(p.twin.grad)
			continue
		}
		clear(p.Grad)
	}
}

// Count is the number of elements of all params.
func Count(params []*Param) int {
	n := 0
	for _, p := range params {
		n += len(p.Data)
	}
	return n
}

// Copy sets dst to src, pairwise in order.
func Copy(dst, src []*Param) { Lerp(dst, src, 1) }

// Lerp moves dst towards src: dst <- (1-tau)*dst + tau*src, pairwise in order.
// With a small tau it is the Polyak average of a target network (Lillicrap et
// al. 2016, arXiv:1509.02971, algorithm 1).
func Lerp(dst, src []*Param, tau float32) {
	if len(dst) != len(src) {
		panic("nn: Lerp: different numbers of params")
	}
	for i, d := range dst {
		s := src[i]
		if !slices.Equal(d.Shape, s.Shape) {
			panic("nn: Lerp: shapes differ")
		}
		if d.twin != nil && s.twin != nil {
			d.twin.follow(tau, s.twin)
			continue
		}
		d.Pull()
		s.Pull()
		if tau == 1 {
			copy(d.Data, s.Data)
		} else {
			device.Default().Lerp(tau, d.Data, s.Data)
		}
		d.Push()
	}
}
