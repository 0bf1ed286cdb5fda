package diffusion

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/buffer"
)

// fit is a gradient step of a Net on a batch of chunks: the mean squared error of
// what is predicted of noised actions (Ho et al. 2020, equation 14; Lipman et al.
// 2023, equation 9), over the actions that the mask leaves.
type fit struct {
	net                     *Net
	batch                   int
	bars                    []float64
	g                       *nn.Graph
	x, emb, target, w, loss *nn.Node
	history                 history
	output                  *nn.Node
	noise                   []float32
}

func newFit(n *Net, batch int, on device.Device) *fit {
	a := n.Arch
	k := a.View.Action.Dim()
	f := &fit{net: n, batch: batch, g: nn.NewGraphOn(on), noise: make([]float32, a.Horizon*k)}
	if a.Process.Kind == Diffusion {
		f.bars = a.Process.Bars()
	}
	f.x, f.emb = f.g.Input(batch, a.Horizon, k), f.g.Input(batch, a.Embed)
	if n.eye != nil {
		f.history = n.history(f.g, batch, n.eye.Forward)
	} else {
		f.history = n.history(f.g, batch, nil)
	}
	f.target, f.w = f.g.Input(batch, a.Horizon, k), f.g.Input(batch, a.Horizon, 1)
	f.output = n.den.apply(net{f.g, f.g.Param}, f.x, f.emb, f.history.all)
	f.loss = f.g.Mean(f.g.Mul(f.g.Square(f.g.Sub(f.output, f.target)), f.w))
	return f
}

// aim writes a batch into the inputs: every row at a time of its own.
func (f *fit) aim(c *buffer.Chunks, rng *rand.Rand) {
	n := f.net
	p := n.Arch.Process
	n.see(f.history.rows.Value, c.Obs)
	if f.history.eye != nil {
		f.history.eye.Put(c.Pix, n.Arch.Trunk.Shift, rng)
	}
	n.scale(f.x.Value, c.Act)
	E, L := n.Arch.Embed, len(f.noise)
	for b := range f.batch {
		for i := range f.noise {
			f.noise[i] = float32(rng.NormFloat64())
		}
		var time, bar float64
		if p.Kind == Flow {
			bar = rng.Float64()
			time = bar * float64(p.Steps)
		} else {
			step := rng.IntN(len(f.bars))
			time, bar = float64(step), f.bars[step]
		}
		nn.Sinusoid(f.emb.Value[b*E:(b+1)*E], time)
		x := f.x.Value[b*L : (b+1)*L]
		p.noised(x, f.target.Value[b*L:(b+1)*L], x, f.noise, bar)
	}
	sum := float32(0)
	for _, m := range c.Mask {
		sum += m
	}
	for i, m := range c.Mask {
		f.w.Value[i] = m * float32(len(c.Mask)) / sum // so that the mean is over what the mask leaves
	}
}

// step adds the gradient of the batch that aim wrote to cleared ones, and gives
// the loss.
func (f *fit) step() float64 {
	f.g.Forward()
	nn.ZeroGrad(f.net.params)
	f.g.Backward(f.loss)
	return float64(f.loss.Value[0])
}
