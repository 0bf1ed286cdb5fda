package tabletop

import (
	"context"
	"fmt"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// errand lets a demonstrator do an episode from obs on.
func errand(t testing.TB, w *World, d *Demonstrator, obs robot.Observation) bool {
	t.Helper()
	for range w.cfg.Task.Horizon() {
		c := d.Act(obs)
		var err error
		if obs, err = w.Step(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	return w.Truth().Success
}

func TestErrandsSucceedByStyleAndBackward(t *testing.T) {
	for _, tt := range []struct {
		task             Task
		style            Style
		seeds            int
		min, max, undone int
	}{
		{Stack, Good, 20, 19, 20, 18},
		{Stack, Bad, 8, 0, 0, 0},
		{Almonds, Good, 20, 19, 20, 18},
		{Almonds, Bad, 8, 0, 0, 0},
		{Spatula, Good, 20, 19, 20, 18},
		{Spatula, Bad, 8, 0, 0, 0},
		{Cover, Good, 20, 19, 20, 18},
		{Cover, Bad, 8, 0, 0, 0},
	} {
		t.Run(fmt.Sprintf("%s/%s", tt.task, tt.style), func(t *testing.T) {
			t.Parallel()
			w, err := New(Config{Task: tt.task, Render: None})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			d, err := NewDemonstrator(w, tt.style, 7)
			if err != nil {
				t.Fatal(err)
			}
			done, undone := 0, 0
			var sum float64
			for seed := range uint64(tt.seeds) {
				obs, err := w.ResetSeed(context.Background(), seed)
				if err != nil {
					t.Fatal(err)
				}
				if errand(t, w, d, obs) {
					done++
					if obs, err = w.Turn(context.Background(), Backward); err != nil {
						t.Fatal(err)
					}
					if errand(t, w, d, obs) {
						undone++
					} else {
						t.Logf("seed %d back: stage %d %v", seed, d.stage, w.Truth().Bodies[0].Pose.P)
					}
				} else if tt.style == Good {
					t.Logf("seed %d: stage %d %v %v", seed, d.stage, w.Truth().Bodies[0].Pose.P, w.Truth().Bodies[1].Pose.P)
				}
				sum += w.Truth().Distance
			}
			t.Logf("%d of %d done, %d undone, distance %.3f", done, tt.seeds, undone, sum/float64(tt.seeds))
		})
	}
}
