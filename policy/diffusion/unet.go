package diffusion

import (
	"fmt"

	"github.com/rapport-rl/rapport/internal/nn"
)

// unet is the conditional one-dimensional U-Net of Diffusion Policy (Chi et al.
// 2023, section III-A; Janner et al. 2022, arXiv:2205.09991): convolutions over
// the chunk whose channels the step and the history scale and shift.
type unet struct {
	step   [2]affine
	down   []level
	middle [2]block
	up     []level
	last   smooth
	out    affine
}

// level is two blocks and a change of length; none at the bottom.
type level struct {
	blocks [2]block
	resize affine
}

// smooth is a convolution, a group norm and Mish.
type smooth struct{ conv, norm affine }

// block is two smooth layers with FiLM between them, beside a shortcut.
type block struct {
	first, second smooth
	film          affine
	short         affine // 1x1, where the channels change
}

func (m *maker) smooth(name string, in, out int) smooth {
	return smooth{m.conv(name+".conv", in, out, kernel), m.norm(name+".norm", out)}
}

func (m *maker) block(name string, in, out, cond int) block {
	b := block{
		first: m.smooth(name+".first", in, out), second: m.smooth(name+".second", out, out),
		film: m.linear(name+".film", cond, 2*out),
	}
	if m.rng != nil { // scales begin about one, so that a new network passes its chunk on
		for i := range out {
			b.film.b.Data[i] = 1
		}
	}
	if in != out {
		b.short = m.conv(name+".short", in, out, 1)
	}
	return b
}

func (m *maker) unet(a Arch, D int) denoiser {
	k := a.View.Action.Dim()
	cond := a.Embed + a.History*D
	u := &unet{step: m.embedding(a.Embed)}
	c := append([]int{k}, a.Channels...)
	n := len(a.Channels)
	for i := range n {
		at := fmt.Sprintf("down%d", i)
		l := level{blocks: [2]block{m.block(at+".0", c[i], c[i+1], cond), m.block(at+".1", c[i+1], c[i+1], cond)}}
		if i < n-1 {
			l.resize = m.conv(at+".resize", c[i+1], c[i+1], 3)
		}
		u.down = append(u.down, l)
	}
	for i := range u.middle {
		u.middle[i] = m.block(fmt.Sprintf("middle.%d", i), c[n], c[n], cond)
	}
	for i := n - 1; i > 0; i-- { // as there, the first level's result is not joined again
		at := fmt.Sprintf("up%d", i)
		u.up = append(u.up, level{
			blocks: [2]block{m.block(at+".0", 2*c[i+1], c[i], cond), m.block(at+".1", c[i], c[i], cond)},
			resize: m.conv(at+".resize", c[i], c[i], 4),
		})
	}
	u.last = m.smooth("last", c[1], c[1])
	u.out = m.conv("out", c[1], k, 1)
	return u
}

func (n net) conv(x *nn.Node, a affine, stride, pad int) *nn.Node {
	return n.Conv1D(x, n.get(a.w), n.get(a.b), stride, pad)
}

func (n net) smooth(x *nn.Node, s smooth) *nn.Node {
	return n.Mish(n.GroupNorm(n.conv(x, s.conv, 1, kernel/2), n.get(s.norm.w), n.get(s.norm.b), groups))
}

func (n net) block(x, cond *nn.Node, b block) *nn.Node {
	h := n.smooth(x, b.first)
	h = n.FiLM(h, n.linear(cond, b.film))
	h = n.smooth(h, b.second)
	if b.short.w != nil {
		x = n.conv(x, b.short, 1, 0)
	}
	return n.Add(h, x)
}

func (u *unet) apply(n net, x, emb, seen *nn.Node) *nn.Node {
	cond := n.Mish(n.Concat(n.embedding(emb, u.step), seen)) // the same before every block's linear layer
	var skip []*nn.Node
	for i, l := range u.down {
		for _, b := range l.blocks {
			x = n.block(x, cond, b)
		}
		skip = append(skip, x)
		if i < len(u.down)-1 {
			x = n.conv(x, l.resize, 2, 1)
		}
	}
	for _, b := range u.middle {
		x = n.block(x, cond, b)
	}
	for i, l := range u.up {
		x = n.Concat(x, skip[len(skip)-1-i])
		for _, b := range l.blocks {
			x = n.block(x, cond, b)
		}
		x = n.ConvT1D(x, n.get(l.resize.w), n.get(l.resize.b), 2, 1)
	}
	return n.conv(n.smooth(x, u.last), u.out, 1, 0)
}
