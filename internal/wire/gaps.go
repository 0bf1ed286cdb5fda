package wire

import (
	"slices"
	"time"

	"github.com/rapport-rl/rapport/robot"
)

// Gaps are where frames are missing.
type Gaps struct {
	Missing int           // intervals between frames of a camera of more than one and a half usual ones
	Longest time.Duration // between two frames of a camera
	Stale   int           // frames of the stamp of the one before, which were seen twice
}

// gapCounter follows the stamps of every camera. The zero value is not usable.
type gapCounter map[string][]time.Time

func (g gapCounter) count(fs []robot.Frame) {
	for _, f := range fs {
		g[f.Camera] = append(g[f.Camera], f.Stamp)
	}
}

func (g gapCounter) gaps() Gaps {
	var out Gaps
	for _, stamps := range g {
		var ds []time.Duration
		for i := 1; i < len(stamps); i++ {
			if d := stamps[i].Sub(stamps[i-1]); d > 0 {
				ds = append(ds, d)
			} else {
				out.Stale++
			}
		}
		if len(ds) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(ds))
		usual := sorted[len(sorted)/2]
		out.Longest = max(out.Longest, sorted[len(sorted)-1])
		for _, d := range ds {
			if d > usual+usual/2 {
				out.Missing++
			}
		}
	}
	return out
}
