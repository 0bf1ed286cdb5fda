package buffer

import (
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/robot"
)

// run is one episode of T transitions as rows. The rows and frames of a buffer
// with a folder are in a segment, obs, act and frames are nil then.
type run struct {
	id       string
	serial   int // how many were taken before it
	origin   policy.Origin
	terminal bool
	human    []int // steps that a person decided, of an online episode
	lossy    int

	obs    []float32 // (T+1, D)
	act    []float32 // (T, k)
	frames []byte    // (T+1, ...) one after the other

	label  []float64 // (T,) rewards as given; nil where none will ask
	reward []float64 // (T,) scaled
	worth  []float32 // (T,) returns, if asked for
	ends   bool      // no value after the last row

	jpeg bool
	cuts []int64 // ((T+1)*C+1,) where the image of each input's cameras begins and ends in frames, if jpeg

	placed // on disk

	online, gone bool   // on the online side; on neither
	onlineAt     uint64 // place of its first row on the online side
	demoAt       uint64 // place of its first row on the demonstration side
}

func (r *run) len() int { return len(r.reward) }

// demos is the number of its transitions on the demonstration side.
func (r *run) demos() int {
	if r.origin == policy.Demo {
		return r.len()
	}
	return len(r.human)
}

// demoPlace is the place of transition t on the demonstration side.
func (r *run) demoPlace(t int) (uint64, bool) {
	if r.origin == policy.Demo {
		return r.demoAt + uint64(t), true
	}
	i, ok := slices.BinarySearch(r.human, t)
	return r.demoAt + uint64(i), ok
}

// inputs are the bytes [from, to) of frames that belong to input t.
func (r *run) inputs(t, cameras, pixels int) (from, to int64) {
	if r.jpeg {
		return r.cuts[t*cameras], r.cuts[(t+1)*cameras]
	}
	return int64(t) * int64(pixels), int64(t+1) * int64(pixels)
}

// convert checks an episode and gives it as rows, without its frames.
func (b *Buffer) convert(e *policy.Episode) (*run, error) {
	r := &run{id: e.ID, origin: policy.Online, terminal: e.Terminal, online: true}
	if e.Origin == policy.Demo {
		r.origin, r.online = policy.Demo, false
	}
	if err := checkLabels(e.ID, e.Len(), e.Rewards); err != nil {
		return nil, err
	}
	b.label(r, e.Rewards)
	D, k, T := b.dim, b.acts, e.Len()
	r.obs, r.act = make([]float32, (T+1)*D), make([]float32, T*k)
	for t, in := range e.Inputs {
		if err := b.cfg.View.Row(r.obs[t*D:(t+1)*D], in); err != nil {
			return nil, fmt.Errorf("buffer: episode %s: %w", e.ID, err)
		}
	}
	for t, c := range e.Applied {
		lost := b.cfg.View.Action.Row(r.act[t*k:(t+1)*k], c)
		if !finite(lost) || !finite(c.Grip) {
			return nil, fmt.Errorf("buffer: episode %s: command %d is not finite", e.ID, t)
		}
		if lost > 0.01 {
			r.lossy++
		}
	}
	for t, by := range e.By {
		if by == robot.ByHuman && r.online {
			r.human = append(r.human, t)
		}
	}
	return r, nil
}

// checkLabels reports what is wrong with the rewards of an episode of T steps.
func checkLabels(id string, T int, rewards []float64) error {
	if len(rewards) != T {
		return fmt.Errorf("buffer: episode %s has %d rewards for %d transitions: label it first", id, len(rewards), T)
	}
	for t, v := range rewards {
		if !finite(v) {
			return fmt.Errorf("buffer: episode %s: reward %d is %v", id, t, v)
		}
	}
	return nil
}

// label gives r a scaled copy of rewards, and what follows from them.
func (b *Buffer) label(r *run, rewards []float64) {
	T := len(rewards)
	r.reward = make([]float64, T)
	for t, v := range rewards {
		r.reward[t] = b.cfg.Scale*v + b.cfg.Shift
	}
	if b.disk != nil {
		r.label = slices.Clone(rewards)
	}
	r.ends = r.terminal || b.cfg.Finite && T >= b.cfg.View.Horizon
	if b.cfg.Returns {
		r.worth = returns(r.reward, b.cfg.Gamma, b.beyond(r))
	}
}

// beyond is the value that r is taken to have after its last transition, seen
// from there.
func (b *Buffer) beyond(r *run) float64 {
	if r.ends || b.cfg.Tail == TailZero {
		return 0
	}
	return r.reward[len(r.reward)-1] / (1 - b.cfg.Gamma)
}

// returns are the discounted sums of the rewards (T,) from each step to the end,
// where tail follows.
func returns(reward []float64, gamma, tail float64) []float32 {
	g := make([]float32, len(reward))
	sum := tail
	for t := len(reward) - 1; t >= 0; t-- {
		sum = reward[t] + gamma*sum
		g[t] = float32(sum)
	}
	return g
}

// ahead follows n steps from x: their discounted rewards, the input they lead
// to, and the discount of its value.
func (b *Buffer) ahead(x ref, n int) (sum, discount float64, next int) {
	discount = 1
	T, t := len(x.reward), x.t
	for range min(n, T-x.t) {
		sum += discount * x.reward[t]
		discount *= b.cfg.Gamma
		t++
	}
	if t == T && x.ends {
		discount = 0
	}
	return sum, discount, t
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
