// Package uvd splits a demonstration into sub-goals where its embedding stops
// coming nearer to what follows, and rewards coming nearer to the next of them:
// Universal Visual Decomposer (Zhang et al. 2024, arXiv:2310.08581). Nothing is
// trained.
//
//	goals, err := uvd.Split(embeddings, d, uvd.Config{}) // indices of frames
//	p, err := uvd.Of(videos, uvd.Config{})
//	s, err := uvd.New(p)
//	err = s.Score(ctx, rewards, traj)
package uvd

import (
	"fmt"
	"math"
)

// Config configures Split and Of. Zero fields take the defaults named, the authors'.
type Config struct {
	// Gap is the least distance in frames between sub-goals, and between the first
	// frame and a sub-goal; 18. It depends on the rate of the frames.
	Gap int
	// Bandwidth is γ of the kernel exp(−γ (t−t')²) that smooths distances, t in
	// frames; 0.08, negative: not smoothed.
	Bandwidth float64
	// Reach is the distance to a sub-goal, as a share of that at which the phase
	// before it began in the demonstration, from which the next one is aimed at; 0.2
	// (ours).
	Reach float64
	// Bonus is paid on reaching the last; 10, negative: none.
	Bonus float64
}

func (c Config) withDefaults() Config {
	if c.Gap == 0 {
		c.Gap = 18
	}
	if c.Bandwidth == 0 {
		c.Bandwidth = 0.08
	}
	if c.Reach == 0 {
		c.Reach = 0.2
	}
	if c.Bonus == 0 {
		c.Bonus = 10
	}
	c.Bonus = max(0, c.Bonus)
	return c
}

func (c Config) validate() error {
	bad := func(x float64) bool { return x-x != 0 }
	if c.Gap < 1 || bad(c.Bandwidth) || !(c.Reach > 0) || c.Reach >= 1 || bad(c.Bonus) {
		return fmt.Errorf("uvd: gap %d, bandwidth %v, reach %v, bonus %v, want a positive gap, finite numbers and a reach between 0 and 1", c.Gap, c.Bandwidth, c.Reach, c.Bonus)
	}
	return nil
}

// Split finds the sub-goals of a clip x (T,d), row-major, as indices of frames in
// order of time; the last is T-1. From the goal g, the last frame, it goes back: of
//
//	d_t = ‖φ_t − φ_g‖ / ‖φ_0 − φ_g‖,
//
// smoothed, the last local maximum more than Gap frames before g and after the
// start is where the phase towards g began; it is the goal of what came before.
// A clip of less than two phases' frames, or one whose first frame is like its goal,
// has the one sub-goal.
func Split(x []float32, d int, c Config) ([]int, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if d < 1 || len(x) == 0 || len(x)%d != 0 {
		return nil, fmt.Errorf("uvd: %d numbers for embeddings of %d, want at least one whole frame", len(x), d)
	}
	for i, v := range x {
		if v-v != 0 {
			return nil, fmt.Errorf("uvd: frame %d: embedding[%d] is %v", i/d, i%d, v)
		}
	}
	T := len(x) / d
	goals := []int{T - 1}
	dist, smooth := make([]float64, T), make([]float64, T)
	for g := T - 1; g > 2*c.Gap; {
		for t := range g + 1 {
			dist[t] = distance(x[t*d:(t+1)*d], x[g*d:(g+1)*d])
		}
		if !(dist[0] > 0) {
			break // first and last are alike: nothing comes nearer
		}
		for t := range g + 1 {
			dist[t] /= dist[0]
		}
		regress(smooth[:g+1], dist[:g+1], c.Bandwidth)
		next := -1
		for t := g - c.Gap - 1; t > c.Gap; t-- {
			if smooth[t] > smooth[t-1] && smooth[t] >= smooth[t+1] {
				next = t
				break
			}
		}
		if next < 0 {
			break
		}
		goals = append(goals, next)
		g = next
	}
	for i, j := 0, len(goals)-1; i < j; i, j = i+1, j-1 {
		goals[i], goals[j] = goals[j], goals[i]
	}
	return goals, nil
}

// regress is the Nadaraya-Watson estimate of y with kernel exp(−γ (t−t')²), which is
// cut where it is below 1e-9.
func regress(dst, y []float64, gamma float64) {
	if gamma <= 0 {
		copy(dst, y)
		return
	}
	far := int(math.Ceil(math.Sqrt(-math.Log(1e-9) / gamma)))
	for t := range y {
		var sum, all float64
		for u := max(0, t-far); u <= min(len(y)-1, t+far); u++ {
			w := math.Exp(-gamma * float64((t-u)*(t-u)))
			sum, all = sum+w*y[u], all+w
		}
		dst[t] = sum / all
	}
}

func distance(a, b []float32) float64 {
	s := 0.0
	for i, v := range a {
		e := float64(v) - float64(b[i])
		s += e * e
	}
	return math.Sqrt(s)
}
