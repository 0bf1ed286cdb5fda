// Package tree makes clips that part ways: rollouts branch from common beginnings, and
// people compare two that shared all but their ends. What a comparison tells is then
// about what was done after the fork, and not about how lucky the start was. It is
// tree-structured preference data (Qiu et al., Reward generalization in RLHF: a
// topological perspective, ACL 2025, arXiv:2402.10184) for robots, which branch where
// their simulator, or a person, can put them back.
//
//	t, err := tree.Grow(ctx, start, roll, tree.Config{Branch: 2, Depth: 3, Steps: 15}, rng)
//	forks := t.Draw(5, rng)                     // pairs of leaves
//	q := t.Query(forks[0])                      // whole clips to learn from, and where they part
package tree

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/rapport-rl/rapport/reward/preference"
)

// Roll lets the policy act for some steps from a state S, to which the world can be
// returned, and gives the features of the frames arrived at, (steps, D) row-major, and
// the state at the end. It draws what the policy does from rng.
type Roll[S any] func(ctx context.Context, from S, steps int, rng *rand.Rand) (frames []float32, end S, err error)

// Config are the shape of a tree.
type Config struct {
	Branch int // children of a fork; 0: 2
	Depth  int // forks on the way to a leaf; 0: 3
	Steps  int // between two forks, before the first and after the last; 0: 10
	D      int // width of a frame's features
}

func (c Config) withDefaults() Config {
	for _, f := range [...]struct {
		x *int
		v int
	}{{&c.Branch, 2}, {&c.Depth, 3}, {&c.Steps, 10}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	return c
}

// maxLeaves bounds a tree.
const maxLeaves = 1 << 16

func (c Config) validate() error {
	if c.Branch < 2 || c.Depth < 1 || c.Steps < 1 || c.D < 1 {
		return fmt.Errorf("tree: branch %d, depth %d, steps %d, %d features, want positive and two branches", c.Branch, c.Depth, c.Steps, c.D)
	}
	for n, d := 1, 0; d < c.Depth; d++ {
		if n *= c.Branch; n > maxLeaves {
			return fmt.Errorf("tree: %d branches %d times over are more than %d leaves", c.Branch, c.Depth, maxLeaves)
		}
	}
	return nil
}

// Tree is a tree of rollouts. Every way from the root to a leaf is a whole trajectory
// of (Depth + 1) · Steps frames.
type Tree struct {
	cfg    Config
	levels [][][]float32 // of depth, of stretch in it: (Steps, D)
}

// Grow rolls the common beginning from start, and Branch continuations from every end,
// Depth times.
func Grow[S any](ctx context.Context, start S, roll Roll[S], cfg Config, rng *rand.Rand) (*Tree, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Tree{cfg: cfg}
	from := []S{start}
	for depth := range cfg.Depth + 1 {
		branch := cfg.Branch
		if depth == 0 {
			branch = 1
		}
		var level [][]float32
		var ends []S
		for _, s := range from {
			for range branch {
				frames, end, err := roll(ctx, s, cfg.Steps, rng)
				if err != nil {
					return nil, fmt.Errorf("tree: depth %d: %w", depth, err)
				}
				if len(frames) != cfg.Steps*cfg.D {
					return nil, fmt.Errorf("tree: depth %d: %d numbers for %d frames of %d features", depth, len(frames), cfg.Steps, cfg.D)
				}
				level, ends = append(level, frames), append(ends, end)
			}
		}
		t.levels, from = append(t.levels, level), ends
	}
	return t, nil
}

// Leaves is their number, Branch to the power of Depth.
func (t *Tree) Leaves() int { return len(t.levels[t.cfg.Depth]) }

// Rolled is how many steps were rolled out for the whole tree.
func (t *Tree) Rolled() int {
	n := 0
	for _, l := range t.levels {
		n += len(l) * t.cfg.Steps
	}
	return n
}

// Clip is the whole trajectory to a leaf.
func (t *Tree) Clip(leaf int) preference.Clip {
	c := preference.Clip{Name: fmt.Sprintf("leaf %d", leaf), D: t.cfg.D}
	for d, level := range t.levels {
		c.Embed = append(c.Embed, level[t.at(leaf, d)]...)
	}
	return c
}

// at is the place at depth d of the stretch on the way to a leaf.
func (t *Tree) at(leaf, d int) int {
	for range t.cfg.Depth - d {
		leaf /= t.cfg.Branch
	}
	return leaf
}

// Fork is two leaves.
type Fork struct{ A, B int }

// Parts is the frame at which the ways to two leaves part.
func (t *Tree) Parts(f Fork) int {
	d := 0
	for d <= t.cfg.Depth && t.at(f.A, d) == t.at(f.B, d) {
		d++
	}
	return d * t.cfg.Steps
}

// Draw draws n different pairs of leaves, or all if there are fewer.
func (t *Tree) Draw(n int, rng *rand.Rand) []Fork {
	var all []Fork
	for b := range t.Leaves() {
		for a := range b {
			all = append(all, Fork{a, b})
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// Query is a pair to be answered.
type Query struct {
	Pair preference.Pair // whole trajectories, which is what a model learns from
	From int             // the first frame that need be shown
}

// Query makes a question of two leaves.
func (t *Tree) Query(f Fork) Query {
	return Query{Pair: preference.Pair{A: t.Clip(f.A), B: t.Clip(f.B)}, From: t.Parts(f)}
}

// Shown is how many frames of both clips somebody has to watch, and how many there are.
func Shown(qs []Query) (watched, all int) {
	for _, q := range qs {
		for _, c := range [...]preference.Clip{q.Pair.A, q.Pair.B} {
			watched += c.Len() - q.From
			all += c.Len()
		}
	}
	return watched, all
}

// Ask puts questions to somebody who answers pairs, shown from where they part, and
// returns the pairs answered, whole. Unknown verdicts are left out.
func Ask(ctx context.Context, qs []Query, answer func(ctx context.Context, shown preference.Pair) (preference.Verdict, error)) ([]preference.Pair, error) {
	if answer == nil {
		return nil, errors.New("tree: nobody to answer")
	}
	var out []preference.Pair
	for i, q := range qs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		shown := q.Pair
		for _, c := range [2]*preference.Clip{&shown.A, &shown.B} {
			c.Embed = c.Embed[q.From*c.D:]
		}
		v, err := answer(ctx, shown)
		if err != nil {
			return nil, fmt.Errorf("tree: question %d: %w", i, err)
		}
		if v != preference.Unknown {
			p := q.Pair
			p.Verdict = v
			out = append(out, p)
		}
	}
	return out, nil
}
