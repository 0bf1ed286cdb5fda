package person

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/reward/label"
	"github.com/rapport-rl/rapport/sim"
)

// Taste is what a person cares about: weights of named truths of a clip, all of
// which are costs.
type Taste struct {
	Distance float64 // of the last distance to the goal, m
	Early    float64 // of the mean distance on the way, m: less for who is there soon
	Disliked float64 // of how far disliked objects were moved, m in all
	Rough    float64 // of the mean second difference of the objects' places, mm a tick²
	// Undesired is that of 1 if something happened that the task calls undesired: below 0
	// for who likes that way.
	Undesired float64
}

// Nearness is the taste of RAPL's simulated human: the last distance alone.
func Nearness() Taste { return Taste{Distance: 1} }

// Utility is minus the weighed truths of a clip of T steps, whose states are
// (T+1). Without a state it is -Inf: nobody likes what he has not seen.
func (w Taste) Utility(clip []sim.Truth) float64 {
	if len(clip) == 0 {
		return math.Inf(-1)
	}
	u := 0.0
	for _, c := range []struct {
		weight float64
		of     func([]sim.Truth) float64
	}{{w.Distance, end}, {w.Early, meanDistance}, {w.Disliked, disturbed}, {w.Rough, roughness}, {w.Undesired, undesired}} {
		if c.weight != 0 {
			u -= c.weight * c.of(clip)
		}
	}
	return u
}

func meanDistance(clip []sim.Truth) float64 {
	sum := 0.0
	for i := range clip {
		sum += clip[i].Distance
	}
	return sum / float64(len(clip))
}

func disturbed(clip []sim.Truth) float64 {
	sum := 0.0
	first, last := clip[0].Bodies, clip[len(clip)-1].Bodies
	for i := range min(len(first), len(last)) {
		if first[i].Disliked {
			sum += apart(first[i].Pose.P, last[i].Pose.P)
		}
	}
	return sum
}

func roughness(clip []sim.Truth) float64 {
	sum, n := 0.0, 0
	for t := 1; t+1 < len(clip); t++ {
		a, b, c := clip[t-1].Bodies, clip[t].Bodies, clip[t+1].Bodies
		for i := range min(len(a), len(b), len(c)) {
			var d [3]float64
			for k := range d {
				d[k] = a[i].Pose.P[k] - 2*b[i].Pose.P[k] + c[i].Pose.P[k]
			}
			sum += 1000 * math.Hypot(d[0], math.Hypot(d[1], d[2]))
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

func undesired(clip []sim.Truth) float64 {
	if clip[len(clip)-1].Undesired {
		return 1
	}
	return 0
}

func apart(a, b [3]float64) float64 {
	return math.Hypot(a[0]-b[0], math.Hypot(a[1]-b[1], a[2]-b[2]))
}

// Footage finds the truth of clips: episodes by their ID, each the (T+1) states of
// its T steps.
type Footage map[string][]sim.Truth

// Clip is what c shows: the state before its first step and those after each.
func (f Footage) Clip(c label.Clip) ([]sim.Truth, error) {
	e, ok := f[c.Episode]
	to := c.To
	if to == 0 {
		to = len(e) - 1
	}
	if !ok || c.From < 0 || to < c.From || to >= len(e) {
		return nil, fmt.Errorf("person: there is no truth of steps %d to %d of episode %q", c.From, c.To, c.Episode)
	}
	return e[c.From : to+1], nil
}
