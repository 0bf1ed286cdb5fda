package tabletop_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
	"github.com/rapport-rl/rapport/sim/tabletop"
)

func TestStageMovesOneThing(t *testing.T) {
	for _, tt := range []struct {
		task tabletop.Task
		name string
		at   [3]float64
	}{
		{tabletop.Reach, "ball", [3]float64{0.55, -0.1, 0.12}},
		{tabletop.Reach, tabletop.Tool, [3]float64{0.5, 0.1, 0.12}},
		{tabletop.Group, "box2", [3]float64{0.6, 0.08, 0.025}},
	} {
		w, err := tabletop.New(tabletop.Config{Task: tt.task, Render: tabletop.Raster, Cameras: []tabletop.Camera{{Name: "scene", W: 48, H: 48}}})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		obs, err := w.ResetSeed(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		was := w.Truth()
		if err := w.Stage(tt.name, tt.at); err != nil {
			t.Fatal(err)
		}
		for i, b := range w.Truth().Bodies {
			want := was.Bodies[i].Pose.P
			if b.Name == tt.name {
				want = tt.at
			}
			for k := range 3 {
				if math.Abs(b.Pose.P[k]-want[k]) > 1e-9 {
					t.Errorf("%s to %v: %s is at %v, want %v", tt.name, tt.at, b.Name, b.Pose.P, want)
				}
			}
		}
		tool := obs.State.EE.P
		if tt.name == tabletop.Tool {
			tool = tt.at
		}
		now := w.Feel(was.Stamp)
		if d := franka.Diff(now.EE, robot.Pose{P: tool, Q: now.EE.Q}); math.Abs(d[0])+math.Abs(d[1])+math.Abs(d[2]) > 1e-6 {
			t.Errorf("%s to %v: the tool is at %v, want %v", tt.name, tt.at, now.EE.P, tool)
		}
		if tt.task == tabletop.Reach && tt.name == tabletop.Tool {
			near := w.Truth().Distance
			ball := was.Bodies[0].Pose.P
			if want := math.Hypot(ball[0]-tool[0], ball[1]-tool[1]); math.Abs(near-want) > 0.03 {
				t.Errorf("the truth says %v m to the ball, want about %v", near, want)
			}
		}
		frames, err := w.Look(0, was.Stamp)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(frames[0].Pix, obs.Frames[0].Pix) {
			t.Errorf("%s to %v: the picture is as before", tt.name, tt.at)
		}
		if _, err := w.Step(t.Context(), robot.Command{}); err == nil {
			t.Error("a step goes on from a staged scene")
		}
		if _, err := w.ResetSeed(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if again := w.Truth(); again.Distance != was.Distance {
			t.Error("a reset does not bring the scene back")
		}
	}
}

func TestStageRefuses(t *testing.T) {
	w, err := tabletop.New(tabletop.Config{Task: tabletop.Group, Render: tabletop.None})
	if err != nil {
		t.Fatal(err)
	}
	at := [3]float64{0.5, 0, 0.1}
	if err := w.Stage(tabletop.Tool, at); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("before a reset: %v", err)
	}
	if _, err := w.ResetSeed(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Stage("cup", at); err == nil || !strings.Contains(err.Error(), "box1") {
		t.Errorf("of a cup, which is not there: %v", err)
	}
	if err := w.Stage(tabletop.Tool, [3]float64{2, 0, 0.1}); !errors.Is(err, tabletop.ErrBeyond) {
		t.Errorf("two metres out: %v", err)
	}
	// What was refused has left all as it was.
	if err := w.Stage(tabletop.Tool, at); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Stage(tabletop.Tool, at); !errors.Is(err, tabletop.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
