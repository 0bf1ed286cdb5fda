package diffusion

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/buffer"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

// people remembers what people did: the ranges of it, and which actions of an
// episode of the policy's are theirs.
type people struct {
	view     view.Config
	obs, act []float32         // (2, D) and (2, k), the smallest and the largest of each
	took     map[string][]bool // (T,) of every episode with an intervention
}

func newPeople(v view.Config) *people {
	p := &people{view: v, took: map[string][]bool{}}
	for _, x := range []struct {
		at *[]float32
		n  int
	}{{&p.obs, v.Dim()}, {&p.act, v.Action.Dim()}} {
		*x.at = make([]float32, 2*x.n)
		for i := range x.n {
			(*x.at)[i], (*x.at)[x.n+i] = float32(math.Inf(1)), float32(math.Inf(-1))
		}
	}
	return p
}

// add takes an episode that the replay took.
func (p *people) add(e policy.Episode) error {
	row, act := make([]float32, p.view.Dim()), make([]float32, p.view.Action.Dim())
	took := make([]bool, e.Len())
	human := false
	for t, c := range e.Applied {
		took[t] = e.Origin == policy.Demo || e.By[t] == robot.ByHuman
		if !took[t] {
			continue
		}
		human = true
		if err := p.view.Row(row, e.Inputs[t]); err != nil {
			return fmt.Errorf("diffusion: episode %s: %w", e.ID, err)
		}
		p.view.Action.Row(act, c)
		widen(p.obs, row)
		widen(p.act, act)
	}
	if human && e.Origin != policy.Demo {
		p.took[e.ID] = took
	}
	return nil
}

// widen takes x (n,) into a range (2, n).
func widen(r, x []float32) {
	for i, v := range x {
		r[i], r[len(x)+i] = min(r[i], v), max(r[len(x)+i], v)
	}
}

// ranges are rows and actions that span those of people.
func (p *people) ranges() (obs, act []float32) { return p.obs, p.act }

// mask leaves of chunks around people's actions those that are theirs.
func (p *people) mask(c *buffer.Chunks) {
	H := c.Window.Actions
	for i := range len(c.Mask) / H {
		id, step := c.At(i)
		took := p.took[id]
		if took == nil {
			continue // a demonstration
		}
		for h := range H {
			if t := step - c.Window.History + 1 + h; c.Mask[i*H+h] != 0 && !took[t] {
				c.Mask[i*H+h] = 0
			}
		}
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
