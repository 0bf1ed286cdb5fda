package align

import (
	"context"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// PRDPConfig configures a PRDP. Zero fields take the defaults named.
type PRDPConfig struct {
	Each   int     // chains of an observation, as RunConfig.Each; 8
	Groups int     // observations of a gradient step; 4
	Epochs int     // over a batch; 2
	Beta   float64 // weight of the KL from the reference against the reward; 1
	// Clip bounds how far the log-ratio of a step may move from that of the policy that
	// drew it: 0.1; +Inf: it may move freely.
	Clip float64
}

// PRDP regresses rewards (Deng et al. 2024, arXiv:2402.08714, section 4): the
// policy that is best for reward - beta KL has, for two chains a and b of one
// observation,
//
//	l(a) - l(b) = (r(a) - r(b)) / beta,  l = sum_k log p(x_k-1|x_k)/p_ref(x_k-1|x_k)
//
// and the loss is the square of what is missing, or the same with every step's ratio
// clipped about that of the policy that drew the chain, whichever is larger. All pairs
// of a group count.
type PRDP struct {
	t     *Tuned
	cfg   PRDPConfig
	g     *nn.Graph
	ratio *Ratio
	lo    *nn.Node // (rows, 1)
	hi    *nn.Node
	aim   *nn.Node // (pairs, 1) differences of rewards over beta
	wt    *nn.Node
	loss  *nn.Node
	pairs [][2]int // of a group
}

// NewPRDP returns a PRDP of t.
func NewPRDP(t *Tuned, c PRDPConfig) (*PRDP, error) {
	if err := t.dense("prdp"); err != nil {
		return nil, err
	}
	whole(&c.Each, 8)
	whole(&c.Groups, 4)
	whole(&c.Epochs, 2)
	number(&c.Beta, 1)
	number(&c.Clip, 0.1)
	if c.Each < 2 || c.Groups < 1 || c.Epochs < 1 {
		return nil, fmt.Errorf("align: prdp: Each, Groups and Epochs are %d, %d and %d, want at least 2, 1 and 1", c.Each, c.Groups, c.Epochs)
	}
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) || !(c.Clip > 0) {
		return nil, fmt.Errorf("align: prdp: Beta and Clip are %v and %v, want positive numbers, Clip +Inf for no bound", c.Beta, c.Clip)
	}
	S, n := len(t.hops), c.Groups*c.Each
	p := &PRDP{t: t, cfg: c, g: nn.NewGraph()}
	for i := range c.Each {
		for j := range i {
			p.pairs = append(p.pairs, [2]int{i, j})
		}
	}
	P := c.Groups * len(p.pairs)
	g := p.g
	p.ratio = NewRatio(t, g, n*S)
	p.lo, p.hi, p.aim, p.wt = g.Input(n*S, 1), g.Input(n*S, 1), g.Input(P, 1), g.Input(P, 1)
	// A row for each pair, 1 where a chain is its first and -1 where its second.
	m := make([]float32, P*n)
	for q := range c.Groups {
		for i, pair := range p.pairs {
			row := (q*len(p.pairs) + i) * n
			m[row+q*c.Each+pair[0]], m[row+q*c.Each+pair[1]] = 1, -1
		}
	}
	between := g.Const(m, P, n)
	missing := func(l *nn.Node) *nn.Node {
		sum := g.Reshape(g.SumLast(g.Reshape(l, n, S)), n, 1)
		return g.Square(g.Sub(g.MatMul(between, sum, false, false), p.aim))
	}
	loss := missing(p.ratio.Out)
	if !math.IsInf(c.Clip, 1) {
		loss = g.Max(loss, missing(g.Max(g.Min(p.ratio.Out, p.hi), p.lo)))
	}
	p.loss = g.Sum(g.Mul(loss, p.wt))
	return p, nil
}

// Tuned is the policy.
func (p *PRDP) Tuned() *Tuned { return p.t }

// Step learns from the rewards of b, whose samples come in groups of Each.
func (p *PRDP) Step(ctx context.Context, b *Batch) (Stats, error) {
	groups, err := p.t.groups(b, p.cfg.Each, "prdp")
	if err != nil {
		return Stats{}, err
	}
	return p.t.over(ctx, b, p, sweep{p.cfg.Epochs, groups, p.cfg.Groups}, p.g, p.loss)
}

// put writes the groups idx of b into the graph.
func (p *PRDP) put(b *Batch, idx []int) bool {
	S, E, n := len(p.t.hops), p.cfg.Each, len(p.pairs)
	clear(p.wt.Value)
	for q, group := range idx {
		ss := b.Samples[group*E : (group+1)*E]
		for i := range ss {
			s := &ss[i]
			for k := range S {
				row := (q*E+i)*S + k
				p.ratio.Put(row, s, k, s.Ref[k])
				was := s.LogP[k] - s.Ref[k]
				p.lo.Value[row], p.hi.Value[row] = float32(was-p.cfg.Clip), float32(was+p.cfg.Clip)
			}
		}
		for i, pair := range p.pairs {
			x, y := &ss[pair[0]], &ss[pair[1]]
			p.aim.Value[q*n+i] = float32((x.Reward - y.Reward) / p.cfg.Beta)
			p.wt.Value[q*n+i] = float32(x.Weight * y.Weight / float64(len(idx)*n))
		}
	}
	return true // equal rewards, too, say where the policy belongs
}

func (p *PRDP) user(b *Batch, item int) int { return b.Samples[item*p.cfg.Each].User }

// clipped is the share of the steps of groups outside their bounds.
func (p *PRDP) clipped(groups int) float64 {
	out, rows := 0.0, groups*p.cfg.Each*len(p.t.hops)
	for i, l := range p.ratio.Out.Value[:rows] {
		if l < p.lo.Value[i] || l > p.hi.Value[i] {
			out++
		}
	}
	return out / float64(rows)
}
