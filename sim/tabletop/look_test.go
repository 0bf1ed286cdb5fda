package tabletop

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// What a commander feels of the arm does not depend on its look.
func TestLooksMoveAlikeWhereNothingIsTouched(t *testing.T) {
	var want []robot.State
	for _, look := range Looks() {
		w, err := New(Config{Task: Reach, Look: look, Render: None})
		if err != nil {
			t.Fatal(err)
		}
		obs, err := w.ResetSeed(context.Background(), 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 15 {
			s := obs.State
			switch {
			case look == Panda:
				want = append(want, s)
			case s != want[i]:
				t.Fatalf("step %d: the state is\n%+v under %s, and\n%+v under %s", i, s, look, want[i], Panda)
			}
			if obs, err = w.Step(context.Background(), robot.Command{Delta: [6]float64{0.008, 0.005, -0.002}, Grip: 0.5}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLooksAreSeen(t *testing.T) {
	frames := map[Look][]byte{}
	for _, look := range Looks() {
		w, err := New(Config{Look: look, Render: Raster, Cameras: []Camera{{"front", 96, 96}}})
		if err != nil {
			t.Fatal(err)
		}
		obs, err := w.ResetSeed(context.Background(), 5)
		if err != nil {
			t.Fatal(err)
		}
		frames[look] = obs.Frames[0].Pix
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	other, orange := 0, 0
	pix := frames[Orange]
	for i := 0; i < len(pix); i += 3 {
		if b, r := int(pix[i]), int(pix[i+2]); r > 150 && b < 60 {
			orange++
		}
		for k := range 3 {
			if d := int(pix[i+k]) - int(frames[Panda][i+k]); d > 30 || d < -30 {
				other++
				break
			}
		}
	}
	if all := len(pix) / 3; other < all/20 || orange < all/50 {
		t.Errorf("%d of %d pixels differ, and %d are orange", other, all, orange)
	}
}

func TestDemonstratorsSucceedByStyleUnderTheOtherLook(t *testing.T) {
	for _, tt := range []struct {
		task     Task
		style    Style
		min, max int // successes of 10
	}{{Group, Good, 9, 10}, {Group, Bad, 0, 0}, {Clutter, Good, 9, 10}, {Clutter, Bad, 0, 0}} {
		t.Run(fmt.Sprintf("%s/%s", tt.task, tt.style), func(t *testing.T) {
			t.Parallel()
			w, err := New(Config{Task: tt.task, Look: Orange, Render: None})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			d, err := NewDemonstrator(w, tt.style, 1)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for seed := range uint64(10) {
				if ok, _ := episode(t, w, d, seed); ok {
					n++
				}
			}
			if n < tt.min || n > tt.max {
				t.Errorf("%d of 10 succeed, want %d to %d", n, tt.min, tt.max)
			}
		})
	}
}

func TestUnknownLookIsRefused(t *testing.T) {
	_, err := New(Config{Look: "green"})
	if err == nil || !strings.Contains(err.Error(), "panda or orange") {
		t.Errorf("error %v", err)
	}
}
