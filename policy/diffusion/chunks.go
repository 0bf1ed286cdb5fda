package diffusion

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// memory keeps what is imitated: demonstrations, and of other episodes what a
// person did.
type memory struct {
	view  view.Config
	known map[string]bool
	steps []step // to draw from
	human int    // of them, interventions
}

// tape is an episode as rows.
type tape struct {
	obs  []float32 // (T, D)
	act  []float32 // (T, k)
	take []bool    // (T,) whether the action is imitated
}

type step struct {
	*tape
	t int
}

func newMemory(v view.Config) *memory { return &memory{view: v, known: map[string]bool{}} }

// add takes an episode, and reports false for an id that it took before. Nothing
// is taken of an episode with an error.
func (m *memory) add(e policy.Episode) (bool, error) {
	if err := e.Validate(); err != nil {
		return false, fmt.Errorf("diffusion: %w", err)
	}
	if m.known[e.ID] {
		return false, nil
	}
	D, k, T := m.view.Dim(), m.view.Action.Dim(), e.Len()
	tp := &tape{obs: make([]float32, (T+1)*D), act: make([]float32, T*k), take: make([]bool, T)}
	for t, in := range e.Inputs {
		if err := m.view.Row(tp.obs[t*D:(t+1)*D], in); err != nil {
			return false, fmt.Errorf("diffusion: episode %s: %w", e.ID, err)
		}
	}
	for t, c := range e.Applied {
		lost := m.view.Action.Row(tp.act[t*k:(t+1)*k], c)
		if !finite(lost) || !finite(c.Grip) {
			return false, fmt.Errorf("diffusion: episode %s: command %d is not finite", e.ID, t)
		}
	}
	m.known[e.ID] = true
	for t := range T {
		human := e.Origin != policy.Demo && e.By[t] == robot.ByHuman
		if tp.take[t] = human || e.Origin == policy.Demo; !tp.take[t] {
			continue
		}
		if human {
			m.human++
		}
		m.steps = append(m.steps, step{tp, t})
	}
	return true, nil
}

// rows copies the rows (N, D) and actions (N, k) of all steps.
func (m *memory) rows() (obs, act []float32) {
	D, k := m.view.Dim(), m.view.Action.Dim()
	for _, s := range m.steps {
		obs = append(obs, s.obs[s.t*D:(s.t+1)*D]...)
		act = append(act, s.act[s.t*k:(s.t+1)*k]...)
	}
	return obs, act
}

// chunks is a set of histories with the actions around their end: entry To-1 of
// both is the step drawn. Before the start the first input and action stand
// repeated, after the end the last action.
type chunks struct {
	Obs  []float32 // (N, To, D)
	Act  []float32 // (N, H, k)
	Mask []float32 // (N, H) 1 for an action that is imitated, 0 for others and repeated ones
}

func newChunks(n int, a Arch) *chunks {
	D, k := a.View.Dim(), a.View.Action.Dim()
	return &chunks{make([]float32, n*a.History*D), make([]float32, n*a.Horizon*k), make([]float32, n*a.Horizon)}
}

// sample fills dst around steps drawn uniformly with replacement. It does not
// allocate.
func (m *memory) sample(dst *chunks, a Arch, rng *rand.Rand) {
	D, k, To, H := m.view.Dim(), m.view.Action.Dim(), a.History, a.Horizon
	for i := range len(dst.Mask) / H {
		s := m.steps[rng.IntN(len(m.steps))]
		first, T := s.t-To+1, len(s.take)
		for h := range To {
			t := max(0, first+h)
			copy(dst.Obs[(i*To+h)*D:(i*To+h+1)*D], s.obs[t*D:])
		}
		for h := range H {
			t := min(T-1, max(0, first+h))
			copy(dst.Act[(i*H+h)*k:(i*H+h+1)*k], s.act[t*k:])
			dst.Mask[i*H+h] = 0
			if t == first+h && s.take[t] {
				dst.Mask[i*H+h] = 1
			}
		}
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
