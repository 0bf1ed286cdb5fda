package diffusion

import (
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/policy/trunk"
)

// history is where what is seen enters a graph: rows (B*To, D) and frames.
type history struct {
	rows *nn.Node
	eye  *trunk.Eye // nil without cameras
	all  *nn.Node   // (B, To*D'), each input's row and then the latents of its frames
}

func (n *Net) history(g *nn.Graph, B int, forward func(*nn.Graph, *trunk.Eye) *nn.Node) history {
	To := n.Arch.History
	h := history{rows: g.Input(B*To, n.Arch.View.Dim())}
	x := h.rows
	if n.eye != nil {
		h.eye = n.eye.Eye(g, B*To)
		x = g.Concat(x, forward(g, h.eye))
	}
	h.all = g.Reshape(x, B, len(x.Value)/B)
	return h
}

// Sampler draws chunks of actions for histories, some rows at a time. It is used
// by one goroutine.
type Sampler struct {
	net     *Net
	chain   *Chain
	look    *nn.Graph // at the history, once a chunk
	history history
	g       *nn.Graph // of the denoiser, once a step

	x, emb, seen, out *nn.Node
	noised            []float32
	model             Model
}

// NewSampler returns a Sampler of rows chunks at a time. The parameters of n must
// not change any more.
func NewSampler(n *Net, rows int, d Draw) (*Sampler, error) {
	return newSampler(n, rows, d, device.Default())
}

func newSampler(n *Net, rows int, d Draw, on device.Device) (*Sampler, error) {
	if rows < 1 {
		return nil, fmt.Errorf("diffusion: sampler of %d rows, want at least 1", rows)
	}
	a := n.Arch
	k, E := a.View.Action.Dim(), a.Embed
	s := &Sampler{net: n, look: nn.NewGraphOn(on), g: nn.NewGraphOn(on), noised: make([]float32, rows*a.Horizon*k)}
	var err error
	if s.chain, err = NewChain(a.Process, d, len(s.noised)); err != nil {
		return nil, err
	}
	if n.eye != nil {
		s.history = n.history(s.look, rows, n.eye.Static)
	} else {
		s.history = n.history(s.look, rows, nil)
	}
	s.x, s.emb, s.seen = s.g.Input(rows, a.Horizon, k), s.g.Input(rows, E), s.g.Input(s.history.all.Shape...)
	s.out = n.den.apply(net{s.g, s.g.Static}, s.x, s.emb, s.seen)
	s.model = func(out, x []float32, time float64) {
		copy(s.x.Value, x)
		nn.Sinusoid(s.emb.Value[:E], time)
		for i := 1; i < rows; i++ {
			copy(s.emb.Value[i*E:(i+1)*E], s.emb.Value[:E])
		}
		s.g.ForwardTo(s.out)
		copy(out, s.out.Value)
	}
	return s, nil
}

// Sample writes to dst (rows, H, k) actions of the view for histories as the view
// shows them: seen (rows, To, D) and, for a view with cameras, pix (rows, To, P),
// nil otherwise. It does not allocate.
func (s *Sampler) Sample(dst, seen []float32, pix []byte, rng *rand.Rand) {
	if len(dst) != len(s.noised) || len(seen) != len(s.history.rows.Value) {
		panic("diffusion: Sample: arrays do not fit the rows")
	}
	s.see(seen, pix)
	s.chain.Sample(s.noised, s.model, rng)
	s.net.act(dst, s.noised)
}

// see looks at histories.
func (s *Sampler) see(seen []float32, pix []byte) {
	s.net.see(s.history.rows.Value, seen)
	if s.history.eye != nil {
		s.history.eye.Put(pix, 0, nil)
	}
	s.look.Forward()
	copy(s.seen.Value, s.history.all.Value)
}
