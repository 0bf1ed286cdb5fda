package tabletop

import (
	"testing"

	"github.com/rapport-rl/rapport/robot/franka"
)

// A spot lies on what a camera sees of its thing: where it lay deeper, the thing would hide
// it.
func TestSpotsLieOnTheirThings(t *testing.T) {
	for task, want := range map[Task]int{Reach: 2, Group: 10, Clutter: 10, Stack: 10, Almonds: 10, Spatula: 6, Cover: 6, Cup: 0} {
		t.Run(string(task), func(t *testing.T) {
			w, err := New(Config{Task: task, Cameras: []Camera{{Name: "scene", W: 320, H: 240}}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.ResetSeed(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			spots, bodies := w.Spots(), w.Truth().Bodies
			if len(spots) != want {
				t.Fatalf("%d spots, want %d", len(spots), want)
			}
			seen, inside := 0, 0
			of, middle := map[int]float64{}, map[int][3]float64{}
			for _, s := range spots {
				of[s.Body]++
				for i, v := range s.At {
					m := middle[s.Body]
					m[i] += (v - m[i]) / of[s.Body]
					middle[s.Body] = m
				}
			}
			look := func(s Spot, lower, slack float64) bool {
				pose, at := bodies[s.Body].Pose, s.At
				if lower > 0 && of[s.Body] > 1 { // off the edges
					for i, m := range middle[s.Body] {
						at[i] += 0.3 * (m - at[i])
					}
				}
				p := add(pose.P, franka.Rotate(pose.Q, at))
				p[2] -= lower
				ok, err := w.Sees("scene", p, slack)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			for _, s := range spots {
				if look(s, 0, s.Deep) {
					seen++
				}
				if !look(s, 0.006, skin) {
					inside++
				}
			}
			// The arm or another thing may hide one or two.
			if seen < want-2 || inside < want {
				t.Errorf("%d of %d spots are seen, and %d would not be if they lay deeper", seen, want, inside)
			}
		})
	}
}
