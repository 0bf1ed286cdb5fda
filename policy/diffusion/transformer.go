package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
)

// transformer attends from every action to itself and those before it, and to
// the step and the history (Chi et al. 2023, section III-A). Norms come before
// what they are for; there is no dropout.
type transformer struct {
	heads      int
	step       [2]affine
	action     affine
	input      affine
	place      *nn.Param // (H,Width)
	moment     *nn.Param // (1+To,Width)
	memory     [2]affine
	layers     []layer
	norm, out  affine
	inputs, in int // To and D
}

type layer struct {
	norms       [3]affine
	self, cross attention
	wide        [2]affine
}

type attention struct{ q, k, v, out affine }

func (m *maker) attention(name string, n int) attention {
	return attention{m.linear(name+".q", n, n), m.linear(name+".k", n, n), m.linear(name+".v", n, n), m.linear(name+".out", n, n)}
}

func (m *maker) transformer(a Arch, D int) denoiser {
	k, W := a.View.Action.Dim(), a.Width
	t := &transformer{
		heads:  a.Heads,
		step:   [2]affine{m.linear("step.0", a.Embed, 4*a.Embed), m.linear("step.1", 4*a.Embed, W)},
		action: m.linear("action", k, W),
		input:  m.linear("input", D, W),
		place:  m.normal("place", 0.02, a.Horizon, W), // as GPT-2's
		moment: m.normal("moment", 0.02, 1+a.History, W),
		memory: [2]affine{m.linear("memory.0", W, 4*W), m.linear("memory.1", 4*W, W)},
		inputs: a.History, in: D,
	}
	for i := range a.Depth {
		at := fmt.Sprintf("layer%d", i)
		l := layer{
			self: m.attention(at+".self", W), cross: m.attention(at+".cross", W),
			wide: [2]affine{m.linear(at+".wide.0", W, 4*W), m.linear(at+".wide.1", 4*W, W)},
		}
		for j := range l.norms {
			l.norms[j] = m.norm(fmt.Sprintf("%s.norm%d", at, j), W)
		}
		t.layers = append(t.layers, l)
	}
	t.norm, t.out = m.norm("norm", W), m.linear("out", W, k)
	return t
}

func (n net) attend(x, y *nn.Node, a attention, heads int, causal bool) *nn.Node {
	return n.linear(n.Attention(n.linear(x, a.q), n.linear(y, a.k), n.linear(y, a.v), heads, causal), a.out)
}

func (t *transformer) apply(n net, x, emb, seen *nn.Node) *nn.Node {
	B := x.Shape[0]
	W := t.place.Shape[1]
	history := n.linear(n.Reshape(seen, B, t.inputs, t.in), t.input)
	tokens := n.Concat(n.embedding(emb, t.step), n.Reshape(history, B, t.inputs*W))
	memory := n.Add(n.Reshape(tokens, B, 1+t.inputs, W), n.get(t.moment))
	memory = n.linear(n.Mish(n.linear(memory, t.memory[0])), t.memory[1])
	h := n.Add(n.linear(x, t.action), n.get(t.place))
	for _, l := range t.layers {
		y := n.layerNorm(h, l.norms[0])
		h = n.Add(h, n.attend(y, y, l.self, t.heads, true))
		h = n.Add(h, n.attend(n.layerNorm(h, l.norms[1]), memory, l.cross, t.heads, false))
		y = n.linear(n.layerNorm(h, l.norms[2]), l.wide[0])
		h = n.Add(h, n.linear(n.GELU(y), l.wide[1]))
	}
	return n.linear(n.layerNorm(h, t.norm), t.out)
}
