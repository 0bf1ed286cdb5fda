package sample

import (
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// Drawer is a Search in the chunks of a network. It is a diffusion.Drawer, used by
// one goroutine.
type Drawer struct {
	search    *Search
	particles []*diffusion.Particles
	insider   Insider // nil where the reward goes by the history's numbers
	first     bool
}

// New returns a Drawer for n, whose parameters must not change any more. FK turns a
// Draw that adds no noise into one with Eta 1, without which particles that are drawn
// twice would stay one; a single one is drawn as it is.
func New(n *diffusion.Net, d diffusion.Draw, c Config, reward Reward) (*Drawer, error) {
	if c.Kind == FK && c.N != 1 && d.Method == diffusion.DDIM && d.Eta == 0 {
		d.Eta = 1
	}
	length := n.Arch.Horizon * n.Arch.View.Action.Dim()
	chain, err := diffusion.NewChain(n.Arch.Process, d, length)
	if err != nil {
		return nil, err
	}
	r := &Drawer{}
	r.insider, _ = reward.(Insider)
	mid, half := n.Units()
	r.search, err = NewSearch(Process{Chain: chain, Len: length, Middle: mid, Half: half, Denoiser: func(rows int) (Denoiser, error) {
		p, err := diffusion.NewParticles(n, rows)
		if err == nil {
			r.particles = append(r.particles, p)
		}
		return p, err
	}}, c, reward)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Sample writes to dst (H, k) a chunk for the history seen (To, D), with its frames
// pix (To, P) or nil.
func (r *Drawer) Sample(dst, seen []float32, pix []byte, rng *rand.Rand) {
	r.search.start()
	for i, p := range r.particles {
		if i == 0 {
			p.See(seen, pix)
			if r.insider != nil {
				r.insider.See(p.Seen())
			}
		} else {
			p.Like(r.particles[0])
		}
	}
	r.search.draw(dst, seen, r.first, rng)
	r.first = false
}

// Begin says that the next chunk is an episode's first.
func (r *Drawer) Begin() {
	r.first = true
	r.search.pace.rest()
}

// Metrics tells what was drawn since Begin.
func (r *Drawer) Metrics() []policy.Metric { return r.search.Metrics() }
