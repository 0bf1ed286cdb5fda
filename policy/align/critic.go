package align

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
)

// CriticConfig configures a Critic. Zero fields take the defaults named.
type CriticConfig struct {
	Hidden int     // width of the two hidden layers; 64
	Steps  int     // of the gradient; 400
	Batch  int     // samples of one; 64
	LR     float64 // AdamW's; 1e-3
	Decay  float64 // decoupled weight decay; 0.01, negative: none
	Seed   uint64
}

// Critic tells of a chunk how likely what was done with it is good: a small network
// that was fitted to the rewards, 0 to 1, of samples from whole episodes, so that
// chunks which nobody carried out can be judged. It minimises the cross-entropy
//
//	L = -sum_i w_i ( r_i log S(f(seen_i, chunk_i)) + (1-r_i) log(1 - S(f)) )
//
// It is used by one goroutine.
type Critic struct {
	// Chunks is the number of the first chunks of episodes that the samples were; -1: all of
	// them; 0: nobody said. It is for whoever asks about chunks, and kept by Save.
	Chunks int

	mlp    *nn.MLP
	seen   int
	one    critique
	hidden *nn.Node // (1, Hidden) of one, before its last layer
}

// critique is a graph of the critic for some rows.
type critique struct {
	g       *nn.Graph
	in, out *nn.Node
}

// FitCritic fits a Critic to the Rewards of ss, 0 to 1, by their Weights.
func FitCritic(ctx context.Context, ss []Sample, c CriticConfig) (*Critic, error) {
	whole(&c.Hidden, 64)
	whole(&c.Steps, 400)
	whole(&c.Batch, 64)
	number(&c.LR, 1e-3)
	number(&c.Decay, 0.01)
	if len(ss) == 0 {
		return nil, errors.New("align: critic: no samples to fit to")
	}
	if c.Hidden < 1 || c.Steps < 1 || c.Batch < 1 || !(c.LR > 0) {
		return nil, fmt.Errorf("align: critic: Hidden, Steps, Batch and LR are %d, %d, %d and %v, want positive numbers", c.Hidden, c.Steps, c.Batch, c.LR)
	}
	C, L := len(ss[0].Seen), len(ss[0].Chunk())
	for i := range ss {
		if s := &ss[i]; len(s.Seen) != C || len(s.Chunk()) != L || !(s.Reward >= 0 && s.Reward <= 1) || !(s.Weight >= 0) {
			return nil, fmt.Errorf("align: critic: sample %d has %d numbers seen, a chunk of %d, Reward %v and Weight %v; want %d, %d, 0 to 1 and from 0",
				i, len(s.Seen), len(s.Chunk()), s.Reward, s.Weight, C, L)
		}
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x637269746963)) // "critic"
	k := newCritic(C, L, c.Hidden, rng)
	q := k.graph(c.Batch, true)
	target, weight := q.g.Input(c.Batch, 1), q.g.Input(c.Batch, 1)
	// softplus(f) - r f is the cross-entropy of S(f).
	loss := q.g.Sum(q.g.Mul(q.g.Sub(q.g.Softplus(q.out), q.g.Mul(q.out, target)), weight))
	adam := nn.NewAdam(k.mlp.Params(), nn.AdamConfig{LR: c.LR, WeightDecay: max(0, c.Decay), ClipNorm: 1})
	for range c.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for i := range c.Batch {
			s := &ss[rng.IntN(len(ss))]
			q.put(i, C, s)
			target.Value[i], weight.Value[i] = float32(s.Reward), float32(s.Weight/float64(c.Batch))
		}
		q.g.ForwardTo(loss)
		if !finite(float64(loss.Value[0])) {
			return nil, fmt.Errorf("align: critic: the loss is %v: lower LR", loss.Value[0])
		}
		nn.ZeroGrad(k.mlp.Params())
		q.g.Backward(loss)
		adam.Step()
	}
	return k, nil
}

func newCritic(seen, length, hidden int, rng *rand.Rand) *Critic {
	k := &Critic{mlp: nn.NewMLP("critic", nn.MLPConfig{In: seen + length, Out: 1, Hidden: []int{hidden, hidden}, Act: nn.Tanh, OutScale: 0.1}, rng), seen: seen}
	k.one = k.graph(1, false)
	layers := k.mlp.Trace(k.one.g, k.one.in)
	k.hidden = layers[len(layers)-1]
	return k
}

func (k *Critic) graph(rows int, learns bool) critique {
	g := nn.NewGraph()
	q := critique{g: g, in: g.Input(rows, k.mlp.Config.In)}
	if learns {
		q.out = k.mlp.Forward(g, q.in)
	} else {
		q.out = k.mlp.Frozen(g, q.in)
	}
	return q
}

func (q critique) put(row, seen int, s *Sample) {
	in := q.in.Value[row*q.in.Shape[1]:]
	copy(in[:seen], s.Seen)
	copy(in[seen:q.in.Shape[1]], s.Chunk())
}

// Of is the judgement of s, 0 to 1. It does not allocate.
func (k *Critic) Of(s *Sample) float64 {
	k.one.put(0, k.seen, s)
	k.one.g.ForwardTo(k.one.out)
	return 1 / (1 + math.Exp(-float64(k.one.out.Value[0])))
}

// Features writes to dst (Width,) what the critic's last layer, which is linear, judges s by, and
// a 1 for its bias: the features that Leverage is told of.
func (k *Critic) Features(dst []float64, s *Sample) {
	k.one.put(0, k.seen, s)
	k.one.g.ForwardTo(k.hidden)
	for i, v := range k.hidden.Value {
		dst[i] = float64(v)
	}
	dst[len(k.hidden.Value)] = 1
}

// Width is how many numbers Features writes.
func (k *Critic) Width() int { return len(k.hidden.Value) + 1 }

// Mean is the mean judgement of ss, as RunConfig.Value wants it.
func (k *Critic) Mean(ss []Sample) float64 {
	sum := 0.0
	for i := range ss {
		sum += k.Of(&ss[i])
	}
	return sum / float64(max(1, len(ss)))
}
