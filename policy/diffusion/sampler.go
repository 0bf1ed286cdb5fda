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

// teller has the denoiser of such a network tell the target of some rows at once.
type teller struct {
	rows, embed       int
	g                 *nn.Graph
	x, emb, seen, out *nn.Node
}

// teller takes x from input, of g: (*nn.Graph).Input, or InputGrad for gradients at x.
func (n *Net) teller(rows, seen int, g *nn.Graph, input func(...int) *nn.Node) teller {
	a := n.Arch
	t := teller{rows: rows, embed: a.Embed, g: g, x: input(rows, a.Horizon, a.View.Action.Dim()), emb: g.Input(rows, a.Embed), seen: g.Input(rows, seen)}
	t.out = n.den.apply(net{g, g.Static}, t.x, t.emb, t.seen)
	return t
}

// tell is a Model.
func (t *teller) tell(out, x []float32, time float64) {
	copy(t.x.Value, x)
	nn.Sinusoid(t.emb.Value[:t.embed], time)
	for i := 1; i < t.rows; i++ {
		copy(t.emb.Value[i*t.embed:(i+1)*t.embed], t.emb.Value[:t.embed])
	}
	t.g.ForwardTo(t.out)
	copy(out, t.out.Value)
}

// Sampler draws chunks of actions for histories, some rows at a time. It is used
// by one goroutine.
type Sampler struct {
	chain  *Chain
	look   *Looker // once a chunk
	teller teller  // once a step
	model  Model
	noised []float32
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
	s := &Sampler{look: newLooker(n, rows, on), noised: make([]float32, rows*n.Arch.Horizon*n.Arch.View.Action.Dim())}
	var err error
	if s.chain, err = NewChain(n.Arch.Process, d, len(s.noised)); err != nil {
		return nil, err
	}
	g := nn.NewGraphOn(on)
	s.teller = n.teller(rows, len(s.look.history.all.Value)/rows, g, g.Input)
	s.model = s.teller.tell
	return s, nil
}

// Sample writes to dst (rows, H, k) actions of the view for histories as the view
// shows them: seen (rows, To, D) and, for a view with cameras, pix (rows, To, P),
// nil otherwise. It does not allocate.
func (s *Sampler) Sample(dst, seen []float32, pix []byte, rng *rand.Rand) {
	if len(dst) != len(s.noised) || len(seen) != len(s.look.history.rows.Value) {
		panic("diffusion: Sample: arrays do not fit the rows")
	}
	s.see(seen, pix)
	s.chain.Sample(s.noised, s.model, rng)
	s.look.net.act(dst, s.noised)
}

func (s *Sampler) see(seen []float32, pix []byte) { s.look.Look(s.teller.seen.Value, seen, pix) }
