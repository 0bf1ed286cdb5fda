// Package discriminate chooses the questions that best tell groups of people apart,
// and finds the groups: most discriminative stimuli (Burg et al., Most discriminative
// stimuli for functional cell type clustering, ICLR 2024, arXiv:2401.05342), with
// people for neurons and pairs of clips for pictures.
//
//	r, err := discriminate.Ask(models, pairs)                    // models of groups or people
//	asked, err := discriminate.Choose(r, 4, discriminate.Config{}, rng)
//	chances := discriminate.Sort(r, asked, verdicts)             // of being in each group
//	groups, err := discriminate.Cluster(ctx, r, discriminate.Config{}, rng)
package discriminate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/rapport-rl/rapport/reward/preference"
)

// Responses say how strongly each of some groups or people prefers the first clip of
// each item over the second. Item 2i is pair i as it stands, item 2i+1 the other way
// round.
type Responses struct {
	Rows, Items int
	U           []float64 // (Rows, Items) differences of utilities
}

// Row is U[r] (Items,), not copied.
func (r Responses) Row(i int) []float64 { return r.U[i*r.Items : (i+1)*r.Items] }

// Ask foretells how models would answer pairs.
func Ask(models []preference.Model, pairs []preference.Pair) (Responses, error) {
	r := Responses{Rows: len(models), Items: 2 * len(pairs)}
	for g, m := range models {
		for i, p := range pairs {
			a, err := m.Utility(p.A)
			if err != nil {
				return Responses{}, fmt.Errorf("discriminate: model %d, pair %d: %w", g, i, err)
			}
			b, err := m.Utility(p.B)
			if err != nil {
				return Responses{}, fmt.Errorf("discriminate: model %d, pair %d: %w", g, i, err)
			}
			r.U = append(r.U, a-b, b-a)
		}
	}
	return r, nil
}

// Normalised gives every row mean 0, which it has by its flips, and deviation 1, so
// that nobody counts for more who is surer.
func (r Responses) Normalised() Responses {
	n := Responses{Rows: r.Rows, Items: r.Items, U: slices.Clone(r.U)}
	for i := range n.Rows {
		row := n.Row(i)
		if dev := floats.Norm(row, 2) / math.Sqrt(float64(len(row))); dev > 0 {
			floats.Scale(1/dev, row)
		}
	}
	return n
}

// Config are the parameters of Choose and Cluster. The zero value stands for the
// defaults named.
type Config struct {
	Temperature float64 // T; 0: 1
	Random      float64 // share of Choose's questions drawn at random instead; negative or 0: none
	Groups      int     // that Cluster begins with, more than are expected; 0: 5
	Stimuli     int     // items of each group that people are sorted by; 0: 3
	// Merge joins groups whose mean responses correlate by more; 0: 0.5.
	Merge  float64
	Least  int // members of a group, else it is dissolved; 0: 2
	Rounds int // at most; 0: 50
}

func (c Config) withDefaults() Config {
	for _, f := range [...]struct {
		x *float64
		v float64
	}{{&c.Temperature, 1}, {&c.Merge, 0.5}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	for _, f := range [...]struct {
		x *int
		v int
	}{{&c.Groups, 5}, {&c.Stimuli, 3}, {&c.Least, 2}, {&c.Rounds, 50}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	return c
}

func (c Config) validate(r Responses) error {
	switch {
	case r.Rows < 1 || r.Items < 2 || r.Items%2 != 0 || len(r.U) != r.Rows*r.Items:
		return fmt.Errorf("discriminate: %d responses of %d rows to %d items", len(r.U), r.Rows, r.Items)
	case !(c.Temperature > 0) || math.IsInf(c.Temperature, 1):
		return fmt.Errorf("discriminate: temperature %v, want positive", c.Temperature)
	case !(c.Merge > 0 && c.Merge <= 1) || c.Random > 1 || math.IsNaN(c.Random):
		return fmt.Errorf("discriminate: merge %v, random %v, want at most 1", c.Merge, c.Random)
	case c.Groups < 1 || c.Stimuli < 1 || c.Least < 1 || c.Rounds < 1:
		return fmt.Errorf("discriminate: groups %d, stimuli %d, least %d, rounds %d, want positive", c.Groups, c.Stimuli, c.Least, c.Rounds)
	}
	for i, x := range r.U {
		if x-x != 0 {
			return fmt.Errorf("discriminate: response of row %d to item %d is %v", i/r.Items, i%r.Items, x)
		}
	}
	return nil
}

// Score is how well an item drives group g and no other:
//
//	U_g/T − log Σ_g' exp(U_g'/T) + log G
//
// the logarithm of the softmax over groups, 0 where all respond alike (the paper's
// equation for group means).
func (r Responses) Score(g, item int, temperature float64) float64 {
	top := math.Inf(-1)
	for i := range r.Rows {
		top = max(top, r.U[i*r.Items+item]/temperature)
	}
	var sum float64
	for i := range r.Rows {
		sum += math.Exp(r.U[i*r.Items+item]/temperature - top)
	}
	return r.U[g*r.Items+item]/temperature - top - math.Log(sum) + math.Log(float64(r.Rows))
}

// best are the n items with the highest scores for g that are free, no two of which
// are one pair; ties go to the first.
func (r Responses) best(g, n int, temperature float64, free []bool) []int {
	var items []int
	for range n {
		at, high := -1, math.Inf(-1)
		for k := range r.Items {
			if !free[k/2] || slices.ContainsFunc(items, func(i int) bool { return i/2 == k/2 }) {
				continue
			}
			if s := r.Score(g, k, temperature); s > high {
				at, high = k, s
			}
		}
		if at < 0 {
			break
		}
		items = append(items, at)
	}
	return items
}

// Choose chooses n questions for telling which group somebody is of: for one group
// after the other the most discriminative item that is left. rng is needed for
// Config.Random alone.
func Choose(groups Responses, n int, cfg Config, rng *rand.Rand) ([]int, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(groups); err != nil {
		return nil, err
	}
	if n < 0 || n > groups.Items/2 {
		return nil, fmt.Errorf("discriminate: %d questions of %d pairs", n, groups.Items/2)
	}
	free := make([]bool, groups.Items/2)
	for i := range free {
		free[i] = true
	}
	var asked []int
	for len(asked) < n {
		var item int
		if cfg.Random > 0 && rng.Float64() < cfg.Random {
			for item = rng.IntN(groups.Items); !free[item/2]; {
				item = rng.IntN(groups.Items)
			}
		} else {
			item = groups.best(len(asked)%groups.Rows, 1, cfg.Temperature, free)[0]
		}
		free[item/2] = false
		asked = append(asked, item)
	}
	return asked, nil
}

// Sort gives the chances (Rows,) of somebody being of each group, all alike before
// the first answer: by Bayes' rule where the paper takes the group whose stimulus
// drives most. Unknown verdicts tell nothing, nor do ties, which lack a model here.
func Sort(groups Responses, asked []int, said []preference.Verdict) []float64 {
	chance := make([]float64, groups.Rows)
	for i, item := range asked {
		if said[i] != preference.First && said[i] != preference.Second {
			continue
		}
		for g := range chance {
			l, _, _ := preference.BradleyTerry.Loss(said[i], groups.U[g*groups.Items+item], 0)
			chance[g] -= l
		}
	}
	top := floats.LogSumExp(chance)
	for g := range chance {
		chance[g] = math.Exp(chance[g] - top)
	}
	return chance
}

// Groups are what Cluster found.
type Groups struct {
	Of      []int   // (people,) the group of each, from 0
	Count   int     // of groups
	Stimuli [][]int // (Count, Config.Stimuli) the items that tell each apart
	Rounds  int     // until nothing changed
}

// Cluster sorts people into groups by what tells the groups apart (the paper's
// algorithm 1): choose every group's most discriminative items by its members' mean
// response, move everybody to the group whose items they respond to most, and go on;
// groups that nobody is left in are dropped, and those that respond alike, or have too
// few members, joined with others.
// Groups begin around people who respond as differently as may be (as k-means++).
func Cluster(ctx context.Context, people Responses, cfg Config, rng *rand.Rand) (Groups, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(people); err != nil {
		return Groups{}, err
	}
	if people.Rows < cfg.Groups {
		return Groups{}, fmt.Errorf("discriminate: %d people for %d groups", people.Rows, cfg.Groups)
	}
	p := people.Normalised()
	free := make([]bool, p.Items/2)
	for i := range free {
		free[i] = true
	}
	g := Groups{Of: seeded(p, cfg.Groups, rng), Count: cfg.Groups}
	for g.Rounds < cfg.Rounds {
		if err := ctx.Err(); err != nil {
			return Groups{}, err
		}
		g.Rounds++
		g.tidy(p, cfg.Merge, cfg.Least)
		mean := g.means(p)
		g.Stimuli = nil
		for i := range g.Count {
			g.Stimuli = append(g.Stimuli, mean.best(i, cfg.Stimuli, cfg.Temperature, free))
		}
		changed := false
		for u, row := range g.Of {
			best, high := row, math.Inf(-1)
			for i, items := range g.Stimuli {
				var s float64
				for _, k := range items {
					s += p.U[u*p.Items+k]
				}
				if s > high {
					best, high = i, s
				}
			}
			if best != g.Of[u] {
				g.Of[u], changed = best, true
			}
		}
		if !changed {
			return g, nil
		}
	}
	return g, errors.New("discriminate: groups do not settle: ask about more pairs, or merge more")
}

// seeded puts everybody with the nearest of n people who respond differently.
func seeded(p Responses, n int, rng *rand.Rand) []int {
	apart := func(a, b int) float64 { return 1 - floats.Dot(p.Row(a), p.Row(b))/float64(p.Items) }
	of, far := make([]int, p.Rows), make([]float64, p.Rows)
	for i := range far {
		far[i] = math.Inf(1)
	}
	seed := rng.IntN(p.Rows)
	for k := range n {
		var sum float64
		for u := range far {
			if d := apart(u, seed); d < far[u] {
				far[u], of[u] = d, k
			}
			sum += far[u] * far[u]
		}
		x := rng.Float64() * sum
		for seed = 0; seed < p.Rows-1 && x >= far[seed]*far[seed]; seed++ {
			x -= far[seed] * far[seed]
		}
	}
	return of
}

// means are the groups' mean responses.
func (g *Groups) means(p Responses) Responses {
	m := Responses{Rows: g.Count, Items: p.Items, U: make([]float64, g.Count*p.Items)}
	n := make([]float64, g.Count)
	for u, i := range g.Of {
		floats.Add(m.Row(i), p.Row(u))
		n[i]++
	}
	for i := range n {
		if n[i] > 0 {
			floats.Scale(1/n[i], m.Row(i))
		}
	}
	return m
}

// tidy joins groups that respond alike, the most alike first, drops those without
// members, and puts the members of those with too few with the group most like them.
func (g *Groups) tidy(p Responses, merge float64, least int) {
	for {
		size := make([]int, g.Count)
		for _, i := range g.Of {
			size[i]++
		}
		if empty := slices.Index(size, 0); empty >= 0 {
			g.join(empty, empty)
			continue
		}
		m := g.means(p)
		a, b, high := 0, 0, merge
		for i := range g.Count {
			for j := range i {
				if c := stat.Correlation(m.Row(i), m.Row(j), nil); c > high {
					a, b, high = j, i, c
				}
			}
		}
		if a != b {
			g.join(a, b)
			continue
		}
		small := slices.IndexFunc(size, func(n int) bool { return n < least })
		if small < 0 || g.Count == 1 {
			return
		}
		near, high := -1, math.Inf(-1)
		for i := range g.Count {
			if c := floats.Dot(m.Row(i), m.Row(small)); i != small && c > high {
				near, high = i, c
			}
		}
		g.join(min(near, small), max(near, small))
	}
}

// join moves the members of b to a and drops b, which is not before a.
func (g *Groups) join(a, b int) {
	for u, i := range g.Of {
		if i == b {
			g.Of[u] = a
		} else if i > b {
			g.Of[u]--
		}
	}
	g.Count--
}
