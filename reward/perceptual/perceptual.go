// Package perceptual learns a reward from a handful of demonstrations: it splits
// them into steps, picks the features that tell each step, and rewards features
// that are as in a step by a Gaussian (Perceptual Rewards, Sermanet, Xu and Levine
// 2017, arXiv:1612.06699).
//
//	m, err := perceptual.Learn(videos, perceptual.Config{Steps: 3})
//	s, err := perceptual.New(m)
//	err = s.Score(ctx, rewards, traj)
package perceptual

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/reward/rapl"
)

// Spread is what a split into steps minimises.
type Spread uint8

const (
	// Within is the variance (unbiased) times the frames, summed over the steps and
	// features: ours, as the paper's prefers the shortest steps where most features
	// are noise.
	Within Spread = iota
	// Deviation is the mean over steps and features of the standard deviation, as in
	// the paper's algorithm 1.
	Deviation
)

// Config configures Learn. Zero fields take the defaults named, the paper's.
type Config struct {
	Steps    int     // n; 3 (the paper has 2 to 4)
	Shortest int     // frames of a step; 3 (ours)
	Features int     // n_f, kept per step; 32, fewer if the embedding has fewer
	Alpha    float64 // weight of the distance of means; 5
	Spread   Spread
}

func (c Config) withDefaults() Config {
	for _, f := range [...]struct {
		x *int
		v int
	}{{&c.Steps, 3}, {&c.Shortest, 3}, {&c.Features, 32}} {
		if *f.x == 0 {
			*f.x = f.v
		}
	}
	if c.Alpha == 0 {
		c.Alpha = 5
	}
	return c
}

func (c Config) validate() error {
	if c.Steps < 2 || c.Shortest < 2 || c.Features < 1 || !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) || c.Spread > Deviation {
		return fmt.Errorf("perceptual: %d steps of %d frames at least, %d features, alpha %v, spread %d; want two, two, one and more, and alpha positive", c.Steps, c.Shortest, c.Features, c.Alpha, c.Spread)
	}
	return nil
}

// Split finds the steps of a clip x (T,d): the first frames of all steps but the
// first, in order (Steps-1,). It is the exact minimum, by dynamic programming, of
// what the paper's recursive algorithm 1 searches.
func Split(x []float32, d int, c Config) ([]int, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := (rapl.Video{Name: "to split", D: d, Embed: x}).Validate(); err != nil {
		return nil, fmt.Errorf("perceptual: %w", err)
	}
	T := len(x) / d
	if T < c.Steps*c.Shortest {
		return nil, fmt.Errorf("perceptual: a video of %d frames has no %d steps of %d; ask for fewer", T, c.Steps, c.Shortest)
	}
	cost := costs(x, d, T, c)
	// best[k][t] is the least cost of the first t frames in k+1 steps.
	inf := math.Inf(1)
	best, from := make([][]float64, c.Steps), make([][]int, c.Steps)
	for k := range best {
		best[k], from[k] = make([]float64, T+1), make([]int, T+1)
		for t := range best[k] {
			best[k][t] = inf
			if k == 0 {
				if t >= c.Shortest {
					best[k][t] = cost(0, t)
				}
				continue
			}
			for s := k * c.Shortest; s+c.Shortest <= t; s++ {
				if v := best[k-1][s] + cost(s, t); v < best[k][t] {
					best[k][t], from[k][t] = v, s
				}
			}
		}
	}
	cuts := make([]int, c.Steps-1)
	for k, t := c.Steps-1, T; k > 0; k-- {
		t = from[k][t]
		cuts[k-1] = t
	}
	return cuts, nil
}

// costs tells what a step of the frames [s,t) costs. Sums over time make it O(d); it
// is asked once for each pair, but for a step's number, and kept.
func costs(x []float32, d, T int, c Config) func(s, t int) float64 {
	sum, sq := make([]float64, (T+1)*d), make([]float64, (T+1)*d)
	// Values around the first frame, so that squares do not swallow the spread.
	for t := range T {
		for i := range d {
			v := float64(x[t*d+i]) - float64(x[i])
			sum[(t+1)*d+i] = sum[t*d+i] + v
			sq[(t+1)*d+i] = sq[t*d+i] + v*v
		}
	}
	kept := make([]float64, (T+1)*(T+1))
	for i := range kept {
		kept[i] = -1
	}
	return func(s, t int) float64 {
		if v := kept[s*(T+1)+t]; v >= 0 {
			return v
		}
		n, total := float64(t-s), 0.0
		for i := range d {
			a, b := sum[t*d+i]-sum[s*d+i], sq[t*d+i]-sq[s*d+i]
			ss := max(0, b-a*a/n)
			if c.Spread == Deviation {
				total += math.Sqrt(ss/n) / float64(d)
			} else {
				total += n / (n - 1) * ss
			}
		}
		kept[s*(T+1)+t] = total
		return total
	}
}

// Step is what is known of one step.
type Step struct {
	Index []int     `json:"index"` // (n_f,) of the features that tell it, the most telling first
	Mean  []float64 `json:"mean"`  // (n_f,) of its frames, standardised
	Std   []float64 `json:"std"`   // (n_f,)
}

// Model is a learned reward.
type Model struct {
	Mean   []float64 `json:"mean"`   // (D,) of all frames
	Factor []float64 `json:"factor"` // (D,) one over their deviation
	Steps  []Step    `json:"steps"`
	Cuts   [][]int   `json:"cuts"` // of each demonstration, to look at
}

// floor is the least standard deviation (of standardised features) by which a
// Gaussian divides: one that no frame of a step leaves would else be infinitely sure.
const floor = 0.05

// Learn makes a reward of demonstrations: each is split on its own, features are
// standardised over all, and those of each step with the largest
//
//	z_i = α |μ⁺_i − μ⁻_i| − (σ⁺_i + σ⁻_i)
//
// are kept (the paper's equation 1), ⁺ being the frames of the step.
func Learn(videos []rapl.Video, c Config) (Model, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return Model{}, err
	}
	if len(videos) == 0 {
		return Model{}, errors.New("perceptual: no demonstrations to learn from: record or label at least one")
	}
	d, frames := videos[0].D, 0
	var m Model
	for i, v := range videos {
		if v.D != d {
			return Model{}, fmt.Errorf("perceptual: video %d (%s) has embeddings of %d numbers, want %d: was it embedded by another encoder?", i, v.Name, v.D, d)
		}
		cuts, err := Split(v.Embed, d, c)
		if err != nil {
			return Model{}, fmt.Errorf("%w (video %s)", err, v.Name)
		}
		m.Cuts = append(m.Cuts, cuts)
		frames += v.Len()
	}
	all := make([]int, 0, frames) // the step of every frame
	var x [][]float64
	for k, v := range videos {
		step := 0
		for t := range v.Len() {
			for step < len(m.Cuts[k]) && t >= m.Cuts[k][step] {
				step++
			}
			row := make([]float64, d)
			for i := range row {
				row[i] = float64(v.Embed[t*d+i])
			}
			x, all = append(x, row), append(all, step)
		}
	}
	m.Mean, m.Factor = moments(x, func(int) bool { return true })
	for i, s := range m.Factor {
		m.Factor[i] = 1
		if s > 1e-9 {
			m.Factor[i] = 1 / s
		}
	}
	for _, row := range x {
		for i := range row {
			row[i] = (row[i] - m.Mean[i]) * m.Factor[i]
		}
	}
	for g := range c.Steps {
		mu, sd := moments(x, func(t int) bool { return all[t] == g })
		other, spread := moments(x, func(t int) bool { return all[t] != g })
		z, order := make([]float64, d), make([]int, d)
		for i := range z {
			z[i], order[i] = c.Alpha*math.Abs(mu[i]-other[i])-(sd[i]+spread[i]), i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(z[b], z[a]) })
		s := Step{Index: order[:min(d, c.Features)]}
		for _, i := range s.Index {
			s.Mean, s.Std = append(s.Mean, mu[i]), append(s.Std, max(sd[i], floor))
		}
		m.Steps = append(m.Steps, s)
	}
	return m, nil
}

// moments are mean and standard deviation of the rows that are in.
func moments(x [][]float64, in func(t int) bool) (mean, std []float64) {
	mean, std = make([]float64, len(x[0])), make([]float64, len(x[0]))
	n := 0.0
	for t, row := range x {
		if !in(t) {
			continue
		}
		n++
		for i, v := range row {
			mean[i] += v
		}
	}
	for i := range mean {
		mean[i] /= n
	}
	for t, row := range x {
		if !in(t) {
			continue
		}
		for i, v := range row {
			std[i] += (v - mean[i]) * (v - mean[i])
		}
	}
	for i := range std {
		std[i] = math.Sqrt(std[i] / n)
	}
	return mean, std
}
