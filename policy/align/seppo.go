package align

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/checkpoint"
)

// SePPOConfig configures a SePPO. Zero fields take the defaults named.
type SePPOConfig struct {
	Chunks int     // of a gradient step; 64
	Epochs int     // over a batch's liked chunks; 4
	Times  int     // of noise that a chunk is looked at, in a gradient step; 4
	Beta   float64 // as DiffusionDPO's, of a flow halved; a quarter of its default
	Past   int     // earlier policies that are remembered; 7 (as published)
	Every  int     // gradient steps between two of them; 30 (as published)
	// Newest compares with the newest of them instead of one drawn from all, and Plain
	// takes what it draws always for the worse: what the paper compares itself with.
	Newest, Plain bool
}

// SePPO learns from liked chunks alone (Zhang et al. 2024, arXiv:2410.05255): one of the
// earlier policies is drawn, draws a rival for the same history, and is the reference.
// With the misses of DiffusionDPO, of the liked chunk A = m(w) - m_past(w) and of its
// rival B likewise,
//
//	L = -log S( -beta (A - sign B) ),  sign = 1 where A <= 0, else -1
//
// A rival is the worse where the policy is better at what is liked than the earlier
// one. Where it is not, the earlier one's chunks may well be good, and are learned, too.
// Liked are the samples whose Reward is above 0; the others are not looked at.
type SePPO struct {
	t    *Tuned
	cfg  SePPOConfig
	g    *nn.Graph
	miss *Miss
	sign *nn.Node // (chunks*times, 1)

	weight, loss *nn.Node
	past         *Tuned        // that is compared with
	draws        *Recorder     // of past
	rivals       []Sample      // it drew
	kept         [][]*nn.Param // earlier policies' denoisers, a ring
	count        *nn.Param     // how many were remembered, and after how many steps the next is
	now          []*nn.Node    // the policy's, with the adapter
	liked        []int
}

// NewSePPO returns a SePPO of t. Its first earlier policy is t as it is now.
func NewSePPO(t *Tuned, c SePPOConfig) (*SePPO, error) {
	if err := looks("seppo", "Chunks", &c.Chunks, &c.Epochs, &c.Times); err != nil {
		return nil, err
	}
	whole(&c.Past, 7)
	whole(&c.Every, 30)
	number(&c.Beta, t.beta()/4)
	if c.Past < 1 || c.Every < 1 {
		return nil, fmt.Errorf("align: seppo: Past and Every are %d and %d, want at least 1", c.Past, c.Every)
	}
	if !(c.Beta > 0) || math.IsInf(c.Beta, 0) {
		return nil, fmt.Errorf("align: seppo: Beta is %v, want a positive number", c.Beta)
	}
	if t.cfg.Taste > 0 {
		return nil, errors.New("align: seppo: its earlier policies serve all alike: set Config.Taste to 0")
	}
	n := c.Chunks * c.Times
	s := &SePPO{t: t, cfg: c, g: nn.NewGraph(), count: nn.NewParam("count", 2)}
	net := t.Net()
	s.past = &Tuned{cfg: t.cfg, net: net, ref: net, hops: t.hops, bars: t.bars}
	var err error
	if s.draws, err = NewRecorder(s.past, c.Chunks); err != nil {
		return nil, err
	}
	s.rivals = s.draws.New(c.Chunks, make([]float32, c.Chunks*net.Seen()))
	for range c.Past {
		s.kept = append(s.kept, net.Clone().Denoiser())
	}
	weights := s.g.Frozen
	if t.lora != nil {
		weights = t.lora.Weights(s.g)
	}
	for _, p := range t.net.Denoiser() {
		s.now = append(s.now, weights(p))
	}
	g := s.g
	s.miss, s.weight = newMiss(t, g, 2*n, net), g.Input(n, 1)
	m := g.Reshape(g.Sub(s.miss.Out, s.miss.Ref), n, 2) // of a chunk and then of its rival
	a, b := g.Slice(m, 0, 1), g.Slice(m, 1, 2)
	// 1 down from 0 and -1 above, however little.
	s.sign = g.Clamp(g.AddScalar(g.Scale(g.StopGrad(a), -1e30), 1), -1, 1)
	if !c.Plain {
		b = g.Mul(b, s.sign)
	}
	s.loss = g.Sum(g.Mul(g.Softplus(g.Scale(g.Sub(a, b), float32(t.weigh(c.Beta)))), s.weight))
	return s, nil
}

// Tuned is the policy.
func (s *SePPO) Tuned() *Tuned { return s.t }

// Step learns from the samples of b that are liked.
func (s *SePPO) Step(ctx context.Context, b *Batch) (Stats, error) {
	if err := s.t.samples(b); err != nil {
		return Stats{}, err
	}
	s.liked = s.liked[:0]
	for i := range b.Samples {
		if b.Samples[i].Reward > 0 {
			s.liked = append(s.liked, i)
		}
	}
	if len(s.liked) == 0 {
		return Stats{}, errors.New("align: seppo: no sample is liked: let a Judge give those a Reward above 0")
	}
	return s.t.over(ctx, b, s, sweep{s.cfg.Epochs, len(s.liked), s.cfg.Chunks}, s.g, s.loss)
}

// put draws rivals of the liked samples idx, and noises both.
func (s *SePPO) put(b *Batch, idx []int) (weighs bool) {
	clear(s.weight.Value)
	for i, j := range idx {
		w := &b.Samples[s.liked[j]]
		weighs = weighs || w.Weight > 0
		copy(s.rivals[i].Seen, w.Seen)
	}
	if !weighs {
		return false
	}
	s.recall()
	s.draws.Draw(s.rivals[:len(idx)], s.t.rng)
	for i, j := range idx {
		w := &b.Samples[s.liked[j]]
		for k := range s.cfg.Times {
			row := i*s.cfg.Times + k
			s.miss.look()
			s.miss.show(2*row, w)
			s.miss.show(2*row+1, &s.rivals[i])
			s.weight.Value[row] = float32(w.Weight / float64(len(idx)*s.cfg.Times))
		}
	}
	return true
}

// recall remembers the policy, if it is time, and makes an earlier one the reference.
// Others may take steps in between, as Rehearsal does.
func (s *SePPO) recall() {
	many, next := int(s.count.Data[0]), uint64(s.count.Data[1])
	if steps, every := s.t.Steps(), uint64(s.cfg.Every); steps >= next {
		for i, p := range s.t.net.Denoiser() {
			s.g.ForwardTo(s.now[i])
			p.Pull()
			copy(s.kept[many%s.cfg.Past][i].Data, s.now[i].Value)
		}
		many++
		s.count.Data[0], s.count.Data[1] = float32(many), float32(steps-steps%every+every)
	}
	which := (many - 1) % s.cfg.Past
	if !s.cfg.Newest {
		which = s.t.rng.IntN(min(many, s.cfg.Past))
	}
	nn.Copy(s.past.net.Denoiser(), s.kept[which])
}

func (s *SePPO) user(b *Batch, item int) int { return b.Samples[s.liked[item]].User }

// clipped is the share of the liked chunks whose rivals are learned, too.
func (s *SePPO) clipped(chunks int) float64 {
	if s.cfg.Plain {
		return 0
	}
	flips, rows := 0.0, chunks*s.cfg.Times
	for _, v := range s.sign.Value[:rows] {
		if v < 0 {
			flips++
		}
	}
	return flips / float64(rows)
}

// parts are the earlier policies, for a Run's checkpoint.
func (s *SePPO) parts() (ps []checkpoint.Part) {
	for i, k := range s.kept {
		ps = append(ps, checkpoint.Part{Name: fmt.Sprintf("past%d", i), Tensors: nn.Tensors(k)})
	}
	return append(ps, checkpoint.Part{Name: "past", Tensors: nn.Tensors([]*nn.Param{s.count})})
}
