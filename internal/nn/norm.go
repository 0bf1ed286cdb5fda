package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// normEps is added to the variance; 1e-5 as in Ba et al. 2016
// (arXiv:1607.06450) implementations, PyTorch's among them.
const normEps = 1e-5

// LayerNorm brings the last axis of x (...,D) to mean 0 and variance 1, then
// multiplies by gain and adds bias, both (D), or (E,D) for x (E,...,D). Both may
// be nil. (Ba et al. 2016, arXiv:1607.06450, equation 4.)
func (g *Graph) LayerNorm(x, gain, bias *Node) *Node {
	return g.layerNorm(x, gain, bias, normEps, false)
}

// LayerNormEps is LayerNorm with another number added to the variance: vision
// transformers have 1e-6.
func (g *Graph) LayerNormEps(x, gain, bias *Node, eps float32) *Node {
	return g.layerNorm(x, gain, bias, eps, false)
}

// LayerNormReLU is ReLU(LayerNorm(x,gain,bias)) in one pass.
func (g *Graph) LayerNormReLU(x, gain, bias *Node) *Node {
	return g.layerNorm(x, gain, bias, normEps, true)
}

func (g *Graph) layerNorm(x, gain, bias *Node, eps float32, act bool) *Node {
	if len(x.Shape) == 0 {
		panic("nn: LayerNorm: input is a scalar")
	}
	if (gain == nil) != (bias == nil) {
		panic("nn: LayerNorm: gain and bias come together")
	}
	D := x.Shape[len(x.Shape)-1]
	rows := len(x.Value) / D
	E := 1
	ins := []*Node{x}
	if gain != nil {
		if !slices.Equal(gain.Shape, bias.Shape) || gain.Shape[len(gain.Shape)-1] != D {
			panic("nn: LayerNorm: gain and bias do not fit the input")
		}
		if len(gain.Shape) > 1 {
			if E = gain.Shape[0]; len(gain.Shape) != 2 || x.Shape[0] != E {
				panic("nn: LayerNorm: gain and bias do not fit the input")
			}
		}
		if gain.needs != bias.needs {
			panic("nn: LayerNorm: gain and bias are trained together or not at all")
		}
		ins = append(ins, gain, bias)
	}
	n := g.op(x.Shape, ins...)
	norm := device.Norm{D: D, Members: E, Eps: eps, ReLU: act, Mean: g.alloc(rows), Inv: g.alloc(rows)}
	if gain != nil {
		norm.Gain, norm.Bias = gain.val, bias.val
	}
	n.forward = func() { g.dev.Norm(norm, n.val, x.val) }
	n.backward = func() {
		var dx, dgain, dbias []float32
		if gain != nil && gain.needs {
			dgain, dbias = gain.into(), bias.into()
		}
		add := false
		if x.needs {
			add, dx = !x.first(), x.grad
		}
		g.dev.NormGrad(norm, add, dx, dgain, dbias, n.grad, n.val, x.val)
	}
	return n
}

// Affine multiplies each channel of x (...,C) by gain (C) and adds bias (C).
func (g *Graph) Affine(x, gain, bias *Node) *Node {
	C := channels("Affine", x)
	if !slices.Equal(gain.Shape, []int{C}) || !slices.Equal(bias.Shape, []int{C}) {
		panic("nn: Affine: gain and bias do not fit the channels")
	}
	n := g.op(x.Shape, x, gain, bias)
	dg, db := g.alloc(C), g.alloc(C)
	n.forward = func() { g.dev.Affine(n.val, x.val, gain.val, bias.val) }
	n.backward = func() {
		var dx, dgain, dbias []float32
		if gain.needs || bias.needs {
			g.clear(dg)
			g.clear(db)
			dgain, dbias = dg, db // of whom one may not be wanted
			if gain.needs {
				dgain = gain.into()
			}
			if bias.needs {
				dbias = bias.into()
			}
		}
		add := false
		if x.needs {
			add, dx = !x.first(), x.grad
		}
		g.dev.AffineGrad(add, dx, dgain, dbias, n.grad, x.val, gain.val)
	}
	return n
}

// channels is the last axis of x, which images keep their channels in.
func channels(op string, x *Node) int {
	if len(x.Shape) < 2 {
		panic("nn: " + op + ": input has no channels")
	}
	return x.Shape[len(x.Shape)-1]
}

// BatchNorm normalises the channels of x (...,C) by stored mean and variance
// (C), as a trained network does when it is used (Ioffe and Szegedy 2015,
// arXiv:1502.03167, algorithm 2); gain and bias (C) stay trainable.
func (g *Graph) BatchNorm(x, gain, bias, mean, variance *Node, eps float32) *Node {
	a := g.Div(gain, g.Sqrt(g.AddScalar(variance, eps)))
	return g.Affine(x, a, g.Sub(bias, g.Mul(mean, a)))
}

// BatchNormTrain normalises the channels of x (...,C) by their own mean and
// variance, as a network does while it is trained (algorithm 1 of the same).
// Every Forward moves the Params mean and variance (C) towards those by
// momentum, the variance without bias, as PyTorch does; nil leaves them out.
func (g *Graph) BatchNormTrain(x, gain, bias *Node, mean, variance *Param, momentum, eps float32) *Node {
	C := channels("BatchNormTrain", x)
	N := len(x.Value) / C
	n, norm := g.groups("BatchNormTrain", x, gain, bias, 1, N, C, eps)
	if mean == nil {
		return n
	}
	if len(mean.Data) != C || len(variance.Data) != C || N < 2 {
		panic("nn: BatchNormTrain: statistics do not fit the channels, or there is one value a channel")
	}
	plain := n.forward
	if g.far != nil {
		mean.onto(g.far)
		variance.onto(g.far)
		n.moves = []*Param{mean, variance}
		unbias := float32(float64(N) / float64(N-1))
		n.forward = func() {
			plain()
			g.far.Running(momentum, eps, unbias, mean.twin.data, variance.twin.data, norm.Mean, norm.Inv)
		}
		return n
	}
	n.forward = func() {
		plain()
		unbias := float64(N) / float64(N-1)
		for c := range C {
			inv := float64(norm.Inv[c])
			v := (1/(inv*inv) - float64(eps)) * unbias
			mean.Data[c] += momentum * (norm.Mean[c] - mean.Data[c])
			variance.Data[c] += momentum * (float32(v) - variance.Data[c])
		}
	}
	return n
}

// GroupNorm normalises groups of neighbouring channels of x (B,...,C) together,
// then applies gain and bias (C) (Wu and He 2018, arXiv:1803.08494).
func (g *Graph) GroupNorm(x, gain, bias *Node, groups int) *Node {
	C := channels("GroupNorm", x)
	if groups < 1 || C%groups != 0 {
		panic("nn: GroupNorm: channels are not divisible into groups")
	}
	B := x.Shape[0]
	n, _ := g.groups("GroupNorm", x, gain, bias, B, len(x.Value)/(B*C), groups, normEps)
	return n
}

func (g *Graph) groups(op string, x, gain, bias *Node, B, N, groups int, eps float32) (*Node, device.Groups) {
	C := channels(op, x)
	if !slices.Equal(gain.Shape, []int{C}) || !slices.Equal(bias.Shape, []int{C}) || gain.needs != bias.needs {
		panic("nn: " + op + ": gain and bias do not fit the channels, or one alone is trained")
	}
	n := g.op(x.Shape, x, gain, bias)
	norm := device.Groups{B: B, N: N, C: C, G: groups, Eps: eps, Gain: gain.val, Bias: bias.val,
		Mean: g.alloc(B * groups), Inv: g.alloc(B * groups), Sums: g.alloc(3 * C)}
	n.forward = func() { g.dev.Groups(norm, n.val, x.val) }
	n.backward = func() {
		var dx, dgain, dbias []float32
		if gain.needs {
			dgain, dbias = gain.into(), bias.into()
		}
		add := false
		if x.needs {
			add, dx = !x.first(), x.grad
		}
		g.dev.GroupsGrad(norm, add, dx, dgain, dbias, n.grad, x.val)
	}
	return n, norm
}
