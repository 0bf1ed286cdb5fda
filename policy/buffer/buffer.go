// Package buffer replays labelled episodes to a learner.
//
// It has two sides: demonstrations, which are never dropped, and what the
// policy collected, which is dropped oldest first. RLPD draws half of a batch
// from each (Ball et al. 2023, "Efficient online reinforcement learning with
// offline data", section 4.1). A command that a person decided counts on both
// sides, as in HIL-SERL (Luo et al. 2024). Transitions hold what was applied.
//
//	b, err := buffer.New(buffer.Config{View: v, Capacity: 100_000, Gamma: 0.99})
//	added, err := b.Add(episode)
//	batch := buffer.NewBatch(256, v)
//	err = b.Sample(batch, 128, rng) // 128 demonstration rows, then 128 online
package buffer

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// ErrEmpty says that a side has nothing to draw from yet.
var ErrEmpty = errors.New("buffer: empty")

// Config says what is kept and what a row is.
type Config struct {
	View view.Config
	// Capacity is the number of online transitions kept. Whole episodes go,
	// oldest first; the newest always stays. 0 keeps everything.
	Capacity int
	// Steps is the n of n-step returns; 0 means 1. Returns of more steps are
	// not corrected for the actions having been another policy's.
	Steps int
	Gamma float64 // discount per tick, in (0, 1]
	// Scale and Shift turn a label r into the reward Scale*r + Shift. A zero
	// Scale means 1.
	Scale, Shift float64
	// Finite says that the task is over at View.Horizon ticks: an episode of
	// that length ends there instead of being cut off, so that no value is
	// guessed beyond it. It wants the clock in the view (Pardo et al. 2018,
	// "Time limits in reinforcement learning", section 3).
	Finite bool
	// Returns keeps the discounted return from every transition on, as
	// Batch.Return.
	Returns bool
	// Tail says what a return counts beyond an episode that was cut off.
	Tail Tail
}

// Tail says what comes after an episode that was cut off, in its returns.
type Tail uint8

// The tails.
const (
	TailZero   Tail = iota // nothing
	TailSteady             // its last reward for ever: r/(1-Gamma)
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	errs := []error{c.View.Validate()}
	if c.Capacity < 0 {
		errs = append(errs, fmt.Errorf("buffer: Capacity is %d transitions, want 0 or more", c.Capacity))
	}
	if c.Steps < 0 {
		errs = append(errs, fmt.Errorf("buffer: Steps is %d, want 0 or more", c.Steps))
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		errs = append(errs, fmt.Errorf("buffer: Gamma is %v, want above 0 and at most 1", c.Gamma))
	}
	for _, v := range []float64{c.Scale, c.Shift} {
		if !finite(v) {
			errs = append(errs, fmt.Errorf("buffer: Scale and Shift are %v and %v, want finite numbers", c.Scale, c.Shift))
			break
		}
	}
	if c.Finite && c.View.Horizon == 0 {
		errs = append(errs, errors.New("buffer: Finite wants View.Horizon, or the policy cannot know how much time is left"))
	}
	switch {
	case c.Tail > TailSteady:
		errs = append(errs, fmt.Errorf("buffer: Tail is %d, want TailZero or TailSteady", c.Tail))
	case c.Returns && c.Tail == TailSteady && c.Gamma == 1:
		errs = append(errs, errors.New("buffer: TailSteady wants Gamma below 1, or returns have no end"))
	}
	return errors.Join(errs...)
}

// Count is what a Buffer holds.
type Count struct {
	Episodes int // taken since the start, evicted ones included
	Demo     int // transitions on the demonstration side
	Online   int // transitions on the online side
	Human    int // transitions of Demo that were interventions
	// Lossy counts transitions taken of which the action cannot express more
	// than a hundredth of a unit, as the view's Axes or Scale leave it out.
	Lossy int
}

// run is one episode as rows.
type run struct {
	id     string
	obs    []float32 // (T+1, D)
	act    []float32 // (T, k)
	reward []float64 // (T,)
	ret    []float64 // (T,) discounted return from each transition on, if kept
	ends   bool      // no value after the last row
	pinned bool      // holds interventions, which stay
}

// ref names transition t of an episode.
type ref struct {
	*run
	t int
}

// Buffer holds labelled episodes. It is used by one goroutine.
type Buffer struct {
	cfg    Config
	runs   map[string]*run // nil for an evicted episode: its id stays known
	demo   []ref
	online []ref // oldest first, from head on
	head   int
	count  Count
}

// New returns an empty Buffer.
func New(c Config) (*Buffer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Steps == 0 {
		c.Steps = 1
	}
	if c.Scale == 0 {
		c.Scale = 1
	}
	return &Buffer{cfg: c, runs: make(map[string]*run)}, nil
}

// Count tells what b holds.
func (b *Buffer) Count() Count {
	c := b.count
	c.Demo, c.Online = len(b.demo), len(b.online)-b.head
	return c
}

// Add takes a labelled episode, and reports false for an id that it took
// before. Nothing is taken of an episode with an error.
func (b *Buffer) Add(e policy.Episode) (bool, error) {
	if err := e.Validate(); err != nil {
		return false, fmt.Errorf("buffer: %w", err)
	}
	if _, seen := b.runs[e.ID]; seen {
		return false, nil
	}
	r := &run{id: e.ID, ends: e.Terminal || b.cfg.Finite && e.Len() >= b.cfg.View.Horizon}
	if err := b.label(r, e.Len(), e.Rewards); err != nil {
		return false, err
	}
	D, k, T := b.cfg.View.Dim(), b.cfg.View.Action.Dim(), e.Len()
	r.obs, r.act = make([]float32, (T+1)*D), make([]float32, T*k)
	for t, in := range e.Inputs {
		if err := b.cfg.View.Row(r.obs[t*D:(t+1)*D], in); err != nil {
			return false, fmt.Errorf("buffer: episode %s: %w", e.ID, err)
		}
	}
	lossy := 0
	for t, c := range e.Applied {
		lost := b.cfg.View.Action.Row(r.act[t*k:(t+1)*k], c)
		if !finite(lost) || !finite(c.Grip) {
			return false, fmt.Errorf("buffer: episode %s: command %d is not finite", e.ID, t)
		}
		if lost > 0.01 {
			lossy++
		}
	}
	b.runs[e.ID] = r
	b.count.Episodes++
	b.count.Lossy += lossy
	for t := range T {
		human := e.By[t] == robot.ByHuman && e.Origin != policy.Demo
		if human {
			b.count.Human++
			r.pinned = true
		}
		if human || e.Origin == policy.Demo {
			b.demo = append(b.demo, ref{r, t})
		}
		if e.Origin != policy.Demo {
			b.online = append(b.online, ref{r, t})
		}
	}
	b.evict()
	return true, nil
}

// Relabel replaces the rewards of an episode, for a reward that has learnt
// since. It reports false for an id that is unknown or evicted.
func (b *Buffer) Relabel(id string, rewards []float64) (bool, error) {
	r := b.runs[id]
	if r == nil {
		return false, nil
	}
	return true, b.label(r, len(r.reward), rewards)
}

// label checks rewards and gives r a scaled copy.
func (b *Buffer) label(r *run, T int, rewards []float64) error {
	if len(rewards) != T {
		return fmt.Errorf("buffer: episode %s has %d rewards for %d transitions: label it first", r.id, len(rewards), T)
	}
	scaled := make([]float64, T)
	for t, v := range rewards {
		if !finite(v) {
			return fmt.Errorf("buffer: episode %s: reward %d is %v", r.id, t, v)
		}
		scaled[t] = b.cfg.Scale*v + b.cfg.Shift
	}
	r.reward = scaled
	if b.cfg.Returns {
		r.ret = b.returns(scaled, r.ends)
	}
	return nil
}

// returns is the discounted return from each transition on. An episode that was
// cut off would have gone on: with rewards of -1 until success, its own rewards
// alone would make the shortest failure the best (TailSteady mends that).
func (b *Buffer) returns(reward []float64, ends bool) []float64 {
	ret := make([]float64, len(reward))
	after := 0.0
	if !ends && b.cfg.Tail == TailSteady {
		after = reward[len(reward)-1] / (1 - b.cfg.Gamma)
	}
	for t := len(reward) - 1; t >= 0; t-- {
		after = reward[t] + b.cfg.Gamma*after
		ret[t] = after
	}
	return ret
}

// Observations returns a copy of the rows (N, D) that the transitions of both
// sides start from, demonstrations first.
func (b *Buffer) Observations() []float32 {
	D := b.cfg.View.Dim()
	var rows []float32
	for _, side := range [][]ref{b.demo, b.online[b.head:]} {
		for _, x := range side {
			rows = append(rows, x.obs[x.t*D:(x.t+1)*D]...)
		}
	}
	return rows
}

// evict drops the oldest online episodes above the capacity.
func (b *Buffer) evict() {
	for b.cfg.Capacity > 0 && len(b.online)-b.head > b.cfg.Capacity {
		r := b.online[b.head].run
		if r == b.online[len(b.online)-1].run {
			break // the newest stays
		}
		for b.online[b.head].run == r {
			b.online[b.head] = ref{}
			b.head++
		}
		if !r.pinned {
			b.runs[r.id] = nil
		}
	}
	if b.head > len(b.online)/2 { // amortised: each row moves once per halving
		n := copy(b.online, b.online[b.head:])
		clear(b.online[n:])
		b.online, b.head = b.online[:n], 0
	}
}

// Batch is a set of transitions as rows, those of demonstrations first.
type Batch struct {
	Obs      []float32 // (N, D)
	Act      []float32 // (N, k)
	Reward   []float32 // (N,) discounted sum over the steps of the row
	Next     []float32 // (N, D) what was seen after those steps
	Discount []float32 // (N,) of the value of Next: gamma^steps, 0 after an end
	Return   []float32 // (N,) discounted return from the row on, with Config.Returns
	Demos    int       // rows [0, Demos) are demonstrations
}

// NewBatch makes room for n rows.
func NewBatch(n int, v view.Config) *Batch {
	D, k := v.Dim(), v.Action.Dim()
	return &Batch{
		Obs: make([]float32, n*D), Act: make([]float32, n*k), Reward: make([]float32, n),
		Next: make([]float32, n*D), Discount: make([]float32, n), Return: make([]float32, n),
	}
}

// Sample fills dst with transitions drawn with replacement: first demos rows
// of the demonstration side, then online ones. It wraps ErrEmpty if a side
// that is asked has none. It does not allocate.
func (b *Buffer) Sample(dst *Batch, demos int, rng *rand.Rand) error {
	n := len(dst.Reward)
	if demos < 0 || demos > n {
		panic("buffer: more demonstrations wanted than rows")
	}
	online := b.online[b.head:]
	switch {
	case demos > 0 && len(b.demo) == 0:
		return fmt.Errorf("%w: no demonstration to draw %d rows from", ErrEmpty, demos)
	case demos < n && len(online) == 0:
		return fmt.Errorf("%w: no online transition to draw %d rows from", ErrEmpty, n-demos)
	}
	for i := range n {
		side := online
		if i < demos {
			side = b.demo
		}
		b.row(dst, i, side[rng.IntN(len(side))])
	}
	dst.Demos = demos
	return nil
}

// row writes transition x as row i of dst.
func (b *Buffer) row(dst *Batch, i int, x ref) {
	D, k := b.cfg.View.Dim(), b.cfg.View.Action.Dim()
	T := len(x.reward)
	sum, discount, t := 0.0, 1.0, x.t
	for range min(b.cfg.Steps, T-x.t) {
		sum += discount * x.reward[t]
		discount *= b.cfg.Gamma
		t++
	}
	if t == T && x.ends {
		discount = 0
	}
	copy(dst.Obs[i*D:(i+1)*D], x.obs[x.t*D:])
	copy(dst.Act[i*k:(i+1)*k], x.act[x.t*k:])
	copy(dst.Next[i*D:(i+1)*D], x.obs[t*D:])
	dst.Reward[i], dst.Discount[i] = float32(sum), float32(discount)
	if b.cfg.Returns {
		dst.Return[i] = float32(x.ret[x.t])
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
