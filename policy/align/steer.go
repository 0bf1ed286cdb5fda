package align

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/policy/checkpoint"
	"github.com/rapport-rl/rapport/policy/diffusion"
)

// criticFormat marks a Critic's checkpoint; its number changes with the layout.
const criticFormat = "rapport-align-critic-1"

// criticStage is what a Critic keeps beside its tensors.
type criticStage struct {
	Seen, Len, Hidden int
	Chunks            int    `json:",omitzero"` // Critic.Chunks; critics of before it was kept have none
	Trunk             string `json:",omitzero"` // trunkSum of the policy; critics of before it was kept have none
}

// trunkSum is the SHA-256 of the parameters by which n sees frames, in hexadecimal; empty
// of a policy that sees none.
func trunkSum(n *diffusion.Net) string {
	ps := n.Params()[len(n.Denoiser()):]
	if len(ps) == 0 {
		return ""
	}
	return checkpoint.Sum("", "", nn.Tensors(ps))
}

// Save writes the critic of samples of n, for RestoreCritic.
func (k *Critic) Save(w io.Writer, n *diffusion.Net) error {
	c := k.mlp.Config
	if err := checkpoint.Save(w, criticFormat, criticStage{k.seen, c.In - k.seen, c.Hidden[0], k.Chunks, trunkSum(n)}, checkpoint.Part{Tensors: nn.Tensors(k.mlp.Params())}); err != nil {
		return fmt.Errorf("align: critic: save: %w", err)
	}
	return nil
}

// RestoreCritic reads what Save wrote of a critic of the chunks of n, whose trunk must be
// that of the policy whose samples it was fitted to.
func RestoreCritic(b []byte, n *diffusion.Net) (*Critic, error) {
	want := criticStage{Seen: n.Seen(), Len: n.Arch.Horizon * n.Arch.View.Action.Dim()}
	_, meta, err := nn.Load(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("align: critic: %w", err)
	}
	var was criticStage // whose checksum is checked below
	if err := json.Unmarshal([]byte(meta["state"]), &was); err != nil {
		return nil, fmt.Errorf("align: critic: its state: %w", err)
	}
	if want.Hidden, want.Chunks, want.Trunk = was.Hidden, was.Chunks, was.Trunk; was != want || was.Hidden < 1 || was.Hidden > 1<<12 {
		return nil, fmt.Errorf("align: critic: it is of %+v, want %+v, those of the policy", was, want)
	}
	if now := trunkSum(n); was.Trunk != "" && was.Trunk != now {
		return nil, fmt.Errorf("align: critic: it goes by what another trunk makes of frames (%.8s) than the policy's (%.8s)", was.Trunk, now)
	}
	k := newCritic(want.Seen, want.Len, want.Hidden, rand.New(rand.NewPCG(0, 0)))
	k.Chunks = was.Chunks
	_, err = checkpoint.Restore(bytes.NewReader(b), criticFormat, func(criticStage) error { return nil }, checkpoint.Part{Tensors: nn.Tensors(k.mlp.Params())})
	if err != nil {
		return nil, fmt.Errorf("align: critic: restore: %w", err)
	}
	return k, nil
}

// Steering is a Critic as a reward to search by (sample.Gradient, sample.Insider) or to
// climb (Slope): the log odds that what is done with a chunk is good. It is used by one
// goroutine.
type Steering struct {
	critic *Critic
	net    *diffusion.Net
	seen   []float32 // (Seen,) of the history asked about
	rows   map[int]critique
}

// Steer returns the critic as a reward of chunks of n, in the view's units. Of a policy
// that sees frames, the critic goes by what the trunk of n makes of them, which must be
// that of the policy whose samples it was fitted to.
func (k *Critic) Steer(n *diffusion.Net) *Steering {
	return &Steering{critic: k, net: n, seen: make([]float32, n.Seen()), rows: map[int]critique{}}
}

// See takes the history that Value and Grad are asked about, as the denoiser sees it.
func (s *Steering) See(history []float32) { copy(s.seen, history) }

// ask has the critic judge chunks (N, H, k), each after one of the histories (N, Seen), or
// all after the same (Seen,).
func (s *Steering) ask(n int, chunks, histories []float32) critique {
	q, ok := s.rows[n]
	if !ok {
		g := nn.NewGraph()
		q = critique{g: g, in: g.InputGrad(n, s.critic.mlp.Config.In)}
		q.out = s.critic.mlp.Frozen(g, q.in)
		s.rows[n] = q
	}
	C, L, In := len(s.seen), len(chunks)/n, s.critic.mlp.Config.In
	for i := range n {
		row := q.in.Value[i*In : (i+1)*In]
		copy(row, histories[i*C%len(histories):][:C])
		s.net.Normal(row[C:], chunks[i*L:(i+1)*L])
	}
	q.g.ForwardTo(q.out)
	return q
}

// Value writes to dst (N,) the log odds of chunks (N, H, k) after the history that See
// took last.
func (s *Steering) Value(dst []float64, chunks, _ []float32) {
	q := s.ask(len(dst), chunks, s.seen)
	for i := range dst {
		dst[i] = float64(q.out.Value[i])
	}
}

// Grad writes their derivatives to grad (N, H, k) besides, an action's unit each.
func (s *Steering) Grad(dst []float64, grad, chunks, _ []float32) {
	s.Slope(dst, grad, chunks, s.seen)
}

// Slope implements Slope.
func (s *Steering) Slope(score []float64, grad, actions, seen []float32) {
	n := len(score)
	q := s.ask(n, actions, seen)
	for i := range score {
		score[i] = float64(q.out.Value[i])
	}
	q.g.BackwardFrom(q.out, nil)
	_, half := s.net.Units()
	C, L, In := len(s.seen), len(actions)/n, s.critic.mlp.Config.In
	for i := range n {
		for j := range L {
			grad[i*L+j] = q.in.Grad[i*In+C+j] / half[j%len(half)]
		}
	}
}
