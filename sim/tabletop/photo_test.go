package tabletop

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/robot"
)

// Photos are what a camera would have seen at the time, bit for bit, and the scene does not
// notice them.
func TestPhotosAreWhatACameraWouldHaveSeen(t *testing.T) {
	small := func(name string) Camera { return Camera{Name: name, W: 48, H: 32} }
	all := world(t, Config{Task: Stack, Cameras: []Camera{small("front"), small("scene")}})
	some := world(t, Config{Task: Stack, Cameras: []Camera{small("front")}})
	var seen []robot.Frame
	var moments []*Moment
	for tick := range 8 {
		var obs [2]robot.Observation
		for i, w := range []*World{all, some} {
			var err error
			if tick == 0 {
				obs[i], err = w.ResetSeed(t.Context(), 3)
			} else {
				obs[i], err = w.Step(t.Context(), robot.Command{Delta: [6]float64{0: 0.01, 2: -0.008}, Grip: 0.08})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(obs[0].State, obs[1].State); diff != "" || !bytes.Equal(obs[0].Frames[0].Pix, obs[1].Frames[0].Pix) {
			t.Fatalf("tick %d: after photos the scene went on otherwise:\n%s", tick, diff)
		}
		m, err := some.Moment()
		if err != nil {
			t.Fatal(err)
		}
		seen, moments = append(seen, obs[0].Frames[1]), append(moments, m)
		if tick == 4 {
			if _, err := some.Photos(small("scene"), moments[1:3]); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := some.Photos(small("scene"), moments)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(seen, got); diff != "" {
		t.Error("the photos differ from what the camera saw")
	}
	if bytes.Equal(got[0].Pix, got[7].Pix) {
		t.Error("nothing moved in the photos")
	}
	if _, err := some.Photos(small("roof"), moments); err == nil {
		t.Error("a camera that does not exist drew")
	}
	if err := some.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := some.Photos(small("scene"), moments); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed world: %v", err)
	}
	if _, err := some.Moment(); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed world: %v", err)
	}
}
