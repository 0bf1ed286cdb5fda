package encoder

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// hiding are clips in which a grey bar moves and a small red disc lies elsewhere in
// each; at is where the disc lies, or nil where there is none.
func hiding(seed uint64, clips, T int) (d Data, at [][]float64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	const S = 64
	for range clips {
		x, y := 8+rng.IntN(S-16), 8+rng.IntN(S-16)
		clip := Clip{}
		for t := range T + 1 {
			f := robot.Frame{Camera: "front", W: S, H: S, Pix: make([]byte, 3*S*S)}
			bar := (t*5 + rng.IntN(3)) % S
			for i := range S * S {
				u, v := i%S, i/S
				b := byte(60 + rng.IntN(8))
				pix := [3]byte{b, b, b}
				if u-bar >= 0 && u-bar < 12 {
					g := byte(150 + u + rng.IntN(8))
					pix = [3]byte{g, g, g}
				}
				if (u-x)*(u-x)+(v-y)*(v-y) <= 9 {
					pix = [3]byte{30, 30, byte(190 + rng.IntN(20))}
				}
				copy(f.Pix[3*i:], pix[:])
			}
			clip.Frames = append(clip.Frames, []robot.Frame{f})
			clip.States = append(clip.States, robot.State{})
			if t < T {
				clip.Applied = append(clip.Applied, robot.Command{})
			}
			at = append(at, []float64{float64(x), float64(y)})
		}
		d.Clips = append(d.Clips, clip)
	}
	return d, at
}

func TestAColourTellsWhereASmallThingLies(t *testing.T) {
	cfg := small("front")
	cfg.Steps, cfg.Shape.Side, cfg.Shape.Colours = 1, 64, 3
	d, _ := hiding(1, 12, 6)
	c := trained(t, cfg, d)
	fresh, at := hiding(2, 10, 4)
	best := math.Inf(1)
	for k := range 3 {
		var sum, n float64
		for _, clip := range fresh.Clips {
			for _, fs := range clip.Frames {
				ks, err := c.Keypoints(t.Context(), fs)
				if err != nil {
					t.Fatal(err)
				}
				p := ks[cfg.Shape.Keypoints+k]
				sum += math.Hypot(p.X-at[int(n)][0], p.Y-at[int(n)][1])
				n++
			}
		}
		best = min(best, sum/n)
	}
	// A disc of 29 pixels is drawn 4 pixels' worth, an eighth, towards the middle, 14
	// pixels away on average.
	if best > 3 {
		t.Errorf("the nearest colour is %.1f pixels beside the disc on average, want at most 3", best)
	}
	// The embedding tells it straight: a probe needs one clip's worth of numbers.
	xs := embed(t, c, fresh)
	for i, x := range xs {
		if len(x) != c.Dim() || c.Dim() != 2*(cfg.Shape.Keypoints+3) {
			t.Fatalf("embedding %d has %d numbers, want %d", i, len(x), c.Dim())
		}
	}
}

func TestAColourThatIsNotThereIsInTheMiddle(t *testing.T) {
	p := newPalette(1, 16)
	copy(p.centre, []float32{0, 0.6, 0})
	p.width[0] = 0.1
	p.fill()
	pix := make([]byte, 16*16*3)
	if got := p.find(nil, pix, 16); got[0] != 0 && math.Abs(float64(got[0])) > 1e-6 || len(got) != 2 {
		t.Errorf("in a black picture it is at %v, want the middle", got)
	}
	// One bright red pixel in the corner: a fifth of the way there, by scrap.
	copy(pix, []byte{0, 0, 153})
	got := p.find(nil, pix, 16)
	if w := float64(p.row(pix[:3])[0]); math.Abs(float64(got[0])+w/(w+scrap)) > 1e-3 || got[0] != got[1] {
		t.Errorf("one pixel of weight %.2f in the corner is at %v, want both %.3f", w, got, -w/(w+scrap))
	}
}

func TestColoursAreSavedAndRepeat(t *testing.T) {
	cfg := small("front")
	cfg.Shape.Side, cfg.Shape.Colours = 64, 3
	d, _ := hiding(1, 4, 6)
	c := trained(t, cfg, d)
	a, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := trained(t, cfg, d).Encode()
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("equal seeds give different colours (error %v)", err)
	}
	again, err := Decode(a)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range embed(t, c, d) {
		y, err := again.Extract(t.Context(), d.Clips[i/7].Frames[i%7])
		if err != nil {
			t.Fatal(err)
		}
		for k := range x {
			if x[k] != y.Embed[k] {
				t.Fatalf("tick %d, number %d: %v reloaded, want %v", i, k, y.Embed[k], x[k])
			}
		}
	}
	for k := range c.palettes[0].width {
		c.palettes[0].width[k] = 0
	}
	if a, err = c.Encode(); err == nil {
		_, err = Decode(a)
	}
	if err == nil {
		t.Error("a colour of no width is read")
	}
}

func TestNothingThatMovesHasNoColours(t *testing.T) {
	cfg := small("front")
	cfg.Shape.Side, cfg.Shape.Colours = 64, 3
	d, _ := hiding(1, 2, 4)
	for _, c := range d.Clips {
		for _, fs := range c.Frames {
			clear(fs[0].Pix)
		}
	}
	if _, _, err := Train(t.Context(), d, cfg, nil); err == nil {
		t.Error("three colours of black pictures")
	}
}
