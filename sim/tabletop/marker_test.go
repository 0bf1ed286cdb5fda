package tabletop

import (
	"context"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
	"github.com/rapport-rl/rapport/robot/franka"
)

// ringed is a marker of 3 by 3 cells, of which the middle one is white, on the table.
func ringed() Marker {
	return Marker{
		Corners: [4][3]float64{{0.69, 0.12, 0}, {0.69, 0.06, 0}, {0.63, 0.06, 0}, {0.63, 0.12, 0}},
		White:   [][]bool{{false, false, false}, {false, true, false}, {false, false, false}},
	}
}

// A marker is seen where it lies, white in black in white, and the task is as without it.
func TestMarkersAreSeenAndTouchNothing(t *testing.T) {
	for _, render := range []Render{EGL, Raster} {
		var ends [2]robot.Observation
		for i, ms := range [][]Marker{nil, {ringed()}} {
			w, err := New(Config{Task: Stack, Render: render, Cameras: []Camera{{"front", 320, 320}}, Markers: ms})
			if err != nil {
				t.Fatal(err)
			}
			obs, err := w.ResetSeed(context.Background(), 4)
			if err != nil {
				t.Fatal(err)
			}
			if ms != nil {
				l, err := w.Lens("front")
				if err != nil {
					t.Fatal(err)
				}
				for _, tt := range []struct {
					at    [3]float64
					white bool
				}{
					{[3]float64{0.66, 0.09, 0}, true}, {[3]float64{0.68, 0.09, 0}, false}, {[3]float64{0.66, 0.11, 0}, false}, {[3]float64{0.66, 0.131, 0}, true}, {[3]float64{0.70, 0.09, 0}, true},
				} {
					grey := greyAt(obs.Frames[0], l, tt.at)
					if white := grey > 128; white != tt.white {
						t.Errorf("%s: %v has the grey %d, want white %v", render, tt.at, grey, tt.white)
					}
				}
			}
			for range 5 {
				if obs, err = w.Step(context.Background(), robot.Command{Delta: [6]float64{0.01, 0.01, -0.01}, Grip: 1}); err != nil {
					t.Fatal(err)
				}
			}
			ends[i] = obs
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if ends[0].State.EE != ends[1].State.EE || ends[0].State.Q != ends[1].State.Q {
			t.Errorf("%s: beside a marker the arm ends at %+v, without at %+v", render, ends[1].State.EE, ends[0].State.EE)
		}
	}
}

// greyAt is how bright a place is seen, by a camera whose x is right and y down.
func greyAt(f robot.Frame, l Lens, p [3]float64) int {
	for i := range p {
		p[i] -= l.Pose.P[i]
	}
	d := franka.Rotate(franka.Conj(l.Pose.Q), p)
	k := l.Focal * float64(f.H)
	x, y := int(float64(f.W)/2+k*d[0]/d[2]), int(float64(f.H)/2+k*d[1]/d[2])
	i := 3 * (y*f.W + x)
	return (int(f.Pix[i]) + int(f.Pix[i+1]) + int(f.Pix[i+2])) / 3
}

func TestMarkersAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Marker)
		want   string
	}{
		{"ragged", func(m *Marker) { m.White[1] = m.White[1][:2] }, "a row of 2 cells"},
		{"few cells", func(m *Marker) { m.White = nil }, "0 cells a side"},
		{"a point", func(m *Marker) { m.Corners = [4][3]float64{} }, "0 m a side"},
		{"no square", func(m *Marker) { m.Corners[2][0] -= 0.02 }, "no square"},
	} {
		m := ringed()
		tt.change(&m)
		err := Config{Markers: []Marker{m}}.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
