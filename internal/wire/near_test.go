package wire

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/perception"
	"github.com/rapport-rl/rapport/robot"
)

// Four boxes of one colour keep their names while a hand that people dislike pushes two
// of them, hides them and has them touch.
func TestThingsOfOneColourKeepTheirNames(t *testing.T) {
	a, err := newArm(waypointed(t, "clutter"), online)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	var off []float64
	seen, all, moved := 0, 0, 0
	for seed := range 6 {
		var start [4][3]float64
		driven(t, a, false, seed, 45, func(step int, obs robot.Observation) {
			keys, err := a.track(t.Context(), step, obs)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range []string{"yellow1", "yellow2", "yellow3", "yellow4"} {
				p, score, _ := perception.Place(keys, name)
				b := a.world.Truth().Bodies[2+i].Pose.P
				if step == 0 {
					start[i] = b
				}
				if all++; score > 0 {
					seen++
				}
				off = append(off, math.Hypot(p[0]-b[0], p[1]-b[1]))
				if step == 44 && math.Hypot(b[0]-start[i][0], b[1]-start[i][1]) > 0.05 {
					moved++
				}
			}
		})
	}
	slices.Sort(off)
	if worst := off[len(off)-1]; seen < all || moved < 6 || worst > 0.025 { // half a box
		t.Errorf("seen %d of %d, %d of 24 boxes moved (want 6), off by %.4f m in the median and %.4f at most (want 0.025)", seen, all, moved, off[len(off)/2], worst)
	}
}
