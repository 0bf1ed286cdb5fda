package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Denoiser lists what the denoiser trains: Params without the trunk's.
func (n *Net) Denoiser() []*nn.Param {
	if n.eye == nil {
		return n.params
	}
	return n.params[:len(n.params)-len(n.eye.Params())]
}

// Denoise adds the denoiser to a graph: what it predicts (B, H, k) of noised chunks x
// (B, H, k) on the normalised scale, sinusoids emb (B, Embed) of their times, and
// histories seen (B, Seen) as a Looker gives them. Its parameters enter as get says:
// g.Param, g.Frozen, or a LoRA's.
func (n *Net) Denoise(g *nn.Graph, x, emb, seen *nn.Node, get func(*nn.Param) *nn.Node) *nn.Node {
	return n.den.apply(net{g, get}, x, emb, seen)
}

// Seen is the length of a history as the denoiser sees it: of all inputs the
// normalised row and the latents of the frames.
func (n *Net) Seen() int {
	d := n.Arch.View.Dim()
	if n.eye != nil {
		d += n.eye.Dim()
	}
	return n.Arch.History * d
}

// Normal writes actions (N, k) of the view on the normalised scale to dst, Actions
// the other way. dst may be the other array.
func (n *Net) Normal(dst, actions []float32) { n.scale(dst, actions) }

// Actions undoes Normal.
func (n *Net) Actions(dst, normal []float32) { n.act(dst, normal) }

// Looker turns histories into what the denoiser sees of them. It is used by one
// goroutine.
type Looker struct {
	net     *Net
	g       *nn.Graph
	history history
}

// NewLooker returns a Looker at rows histories at a time. The trunk and the ranges
// of n must not change any more.
func NewLooker(n *Net, rows int) (*Looker, error) {
	if rows < 1 {
		return nil, fmt.Errorf("diffusion: looker at %d rows, want at least 1", rows)
	}
	return newLooker(n, rows, device.Default()), nil
}

func newLooker(n *Net, rows int, on device.Device) *Looker {
	l := &Looker{net: n, g: nn.NewGraphOn(on)}
	if n.eye != nil {
		l.history = n.history(l.g, rows, n.eye.Static)
	} else {
		l.history = n.history(l.g, rows, nil)
	}
	return l
}

// Look writes to dst (rows, Seen) what the denoiser sees of histories as the view
// shows them: seen (rows, To, D) and, for a view with cameras, pix (rows, To, P). It
// does not allocate.
func (l *Looker) Look(dst, seen []float32, pix []byte) {
	h := l.history
	if len(seen) != len(h.rows.Value) || len(dst) != len(h.all.Value) {
		panic("diffusion: Look: arrays do not fit the rows")
	}
	l.net.see(h.rows.Value, seen)
	if h.eye != nil {
		h.eye.Put(pix, 0, nil)
	}
	l.g.ForwardTo(h.all)
	copy(dst, h.all.Value)
}
