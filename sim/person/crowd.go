package person

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"time"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/sim"
)

// Group is people of one taste.
type Group struct {
	Name  string
	Share float64 // of the questions, beside the other groups' shares
	Taste Taste
}

// Crowd is people of several tastes, one of each. Who answers a question is drawn by
// the groups' shares, from the question's ID alone. It belongs to one goroutine.
type Crowd struct {
	seed   uint64
	people []*Annotator
	shares []float64 // each with those before it
}

// NewCrowd returns people who judge footage from the moment clock on. A group of
// the taste Nearness sees ties as RAPL's simulated human does, below habits.Ties
// (see Person.Prefers); others where utilities are nearer than that.
func NewCrowd(seed uint64, habits Habits, groups []Group, film Footage, clock time.Time) (*Crowd, error) {
	c := &Crowd{seed: seed}
	total := 0.0
	for i, g := range groups {
		if g.Name == "" || !(g.Share > 0) || math.IsInf(g.Share, 1) {
			return nil, fmt.Errorf("person: group %d is %q with a share of %v; want a name, and a share above 0", i, g.Name, g.Share)
		}
		if c.find(g.Name) != nil {
			return nil, fmt.Errorf("person: group %q is there twice", g.Name)
		}
		total += g.Share
		c.shares = append(c.shares, total)
		a := &Annotator{
			Name: g.Name, Seed: seed, Habits: habits, Clock: clock,
			Utility: func(clip label.Clip) (float64, error) {
				ts, err := film.Clip(clip)
				return g.Taste.Utility(ts), err
			},
			Progress: func(clip label.Clip) ([]float64, error) {
				ts, err := film.Clip(clip)
				return progress(ts), err
			},
			Approach: func(clip label.Clip) (int, bool, error) {
				ts, err := film.Clip(clip)
				steps, good := approach(ts)
				return steps, good, err
			},
		}
		if g.Taste == Nearness() {
			a.Alike = func(x, y label.Clip) (bool, error) {
				tx, err := film.Clip(x)
				if err != nil {
					return false, err
				}
				ty, err := film.Clip(y)
				return alike(tx, ty, habits.Ties), err
			}
		}
		c.people = append(c.people, a)
	}
	if len(c.people) == 0 {
		return nil, errors.New("person: a crowd of nobody")
	}
	return c, nil
}

// progress is minus the distance to the goal of each state.
func progress(ts []sim.Truth) []float64 {
	p := make([]float64, len(ts))
	for i := range ts {
		p[i] = -ts[i].Distance
	}
	return p
}

// approach is how many steps lead to the moment from which it shows which way a thing is
// taken: that at which it is lifted, or where it never is, that of the first thing
// undesired. The way is good if nothing undesired had happened by then. It is ours: that
// who sees a whole episode marks the reach by what it leads to. There is none where
// neither happens, as in tasks without styles.
func approach(ts []sim.Truth) (steps int, good bool) {
	for t := 1; t < len(ts); t++ {
		if ts[t].Grasp != "" && ts[t-1].Grasp == "" {
			return t, !ts[t].Undesired
		}
		if steps == 0 && ts[t].Undesired && !ts[t-1].Undesired {
			steps = t
		}
	}
	return steps, false
}

// People are those of the crowd, in the groups' order.
func (c *Crowd) People() []*Annotator { return c.people }

// Answer is what one of them says to q.
func (c *Crowd) Answer(ctx context.Context, q label.Query) (label.Label, error) {
	return c.Who(q.ID).Answer(ctx, q)
}

// Recall has whoever said l remember it; what others said is nothing to them.
func (c *Crowd) Recall(l label.Label) {
	if a := c.find(l.Annotator); a != nil {
		a.Recall(l)
	}
}

// Rest is a pause for all.
func (c *Crowd) Rest(d time.Duration) {
	for _, a := range c.people {
		a.Rest(d)
	}
}

// Who answers the question of an ID.
func (c *Crowd) Who(id string) *Annotator {
	h := fnv.New64a()
	h.Write([]byte(id))
	x := rand.New(rand.NewPCG(c.seed, ^h.Sum64())).Float64() * c.shares[len(c.shares)-1]
	for i, s := range c.shares {
		if x < s {
			return c.people[i]
		}
	}
	return c.people[len(c.people)-1]
}

func (c *Crowd) find(name string) *Annotator {
	for _, a := range c.people {
		if a.Name == name {
			return a
		}
	}
	return nil
}
