package tabletop

import (
	"context"
	"errors"
	"math"
	"testing"
)

func TestSightIsBlockedByThings(t *testing.T) {
	w, err := New(Config{Render: None, Cameras: []Camera{{"scene", 32, 32}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ResetSeed(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	box := w.Truth().Bodies[1].Pose.P
	top, below := box, box
	top[2] += Side / 2
	below[2] -= Side/2 - 0.001
	for _, tt := range []struct {
		name string
		p    [3]float64
		want bool
	}{{"a box's top", top, true}, {"a box's underside", below, false}} {
		if got, err := w.Sees("scene", tt.p, 0.003); err != nil || got != tt.want {
			t.Errorf("%s is seen: %v (%v), want %v", tt.name, got, err, tt.want)
		}
	}
	l, err := w.Lens("scene")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := LensOf("scene")
	if math.Abs(l.Focal-want.Focal) > 1e-6 || dist(l.Pose.P, want.Pose.P) > 1e-5 {
		t.Errorf("MuJoCo's lens is %+v, want %+v", l, want)
	}
	if _, err := w.Lens("side"); err == nil {
		t.Error("a camera that is not there has a lens")
	}
	if _, err := w.Sees("side", top, 0); err == nil {
		t.Error("a camera that is not there sees")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lens("scene"); !errors.Is(err, ErrClosed) {
		t.Errorf("lens after close: %v", err)
	}
	if _, err := w.Sees("scene", top, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("sight after close: %v", err)
	}
}
