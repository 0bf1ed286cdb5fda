package tabletop

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// episode lets a demonstrator do one episode and returns how it truly ended.
func episode(t *testing.T, w *World, d *Demonstrator, seed uint64) (success bool, distance float64) {
	t.Helper()
	obs, err := w.ResetSeed(context.Background(), seed)
	if err != nil {
		t.Fatal(err)
	}
	for range w.cfg.Task.Horizon() {
		c := d.Act(obs)
		for i, v := range c.Delta {
			if i > 1 && v != 0 {
				t.Fatalf("seed %d: delta[%d] = %g, want x and y only", seed, i, v)
			}
		}
		if n := math.Hypot(c.Delta[0], c.Delta[1]); n > Speed*(1+1e-12) {
			t.Fatalf("seed %d: a stride of %g m, want at most %g", seed, n, Speed)
		}
		if obs, err = w.Step(context.Background(), c); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if obs.By != robot.ByPolicy {
			t.Fatalf("seed %d: the target led too far", seed)
		}
	}
	truth := w.Truth()
	return truth.Success, truth.Distance
}

func TestDemonstratorsSucceedByStyle(t *testing.T) {
	for _, tt := range []struct {
		task     Task
		style    Style
		seeds    int
		min, max int // successes
	}{
		{Reach, Good, 20, 20, 20},
		{Reach, Bad, 20, 0, 0},
		{Group, Good, 50, 48, 50},
		{Group, Bad, 50, 0, 0},
		{Clutter, Good, 20, 19, 20},
		{Clutter, Bad, 20, 0, 0},
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
			got, crossed, sum := 0, 0, 0.0
			for seed := range uint64(tt.seeds) {
				ok, dist := episode(t, w, d, seed)
				if ok {
					got++
				}
				sum += dist
				if w.Truth().Bodies[1].Pose.P[0] > Line {
					crossed++
				}
			}
			t.Logf("%d of %d succeed, mean distance %.3f m", got, tt.seeds, sum/float64(tt.seeds))
			if got < tt.min || got > tt.max {
				t.Errorf("%d of %d succeed, want %d to %d", got, tt.seeds, tt.min, tt.max)
			}
			// The bad style of Group is not idle: it brings box 2.
			if tt.task == Group && crossed < tt.seeds*9/10 {
				t.Errorf("box 2 crossed the line in %d of %d", crossed, tt.seeds)
			}
		})
	}
}
