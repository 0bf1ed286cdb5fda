package tabletop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"testing"

	"github.com/rapport-rl/rapport/robot"
)

// digest is one of all numbers and pixels of o.
func digest(o robot.Observation) string {
	h := sha256.New()
	s := o.State
	for _, v := range [][]float64{s.Q[:], s.DQ[:], s.EE.P[:], s.EE.Q[:], s.Wrench[:], {s.Grip}, o.Applied.Delta[:], {o.Applied.Grip}} {
		for _, x := range v {
			h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(x)))
		}
	}
	h.Write(fmt.Append(nil, s.Stamp, o.By))
	for _, f := range o.Frames {
		h.Write(fmt.Append(nil, f.Camera, f.Seq, f.Stamp, f.W, f.H))
		h.Write(f.Pix)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// blob counts the pixels of f that look like a colour and finds their middle.
func blob(f robot.Frame, like func(b, g, r int) bool) (n int, x, y float64) {
	for i := range f.H * f.W {
		if like(int(f.Pix[3*i]), int(f.Pix[3*i+1]), int(f.Pix[3*i+2])) {
			n++
			x += float64(i % f.W)
			y += float64(i / f.W)
		}
	}
	return n, x / float64(max(n, 1)), y / float64(max(n, 1))
}

func isRed(b, g, r int) bool  { return r > 90 && g < r/3 && b < r/3 }
func isBlue(b, g, r int) bool { return b > 90 && r < b/2 && g < 2*b/3 }
func isGreen(b, g, r int) bool {
	return g > 100 && g > r+30 && g > b+20
}

func TestCamerasSeeTheTask(t *testing.T) {
	for _, render := range []Render{EGL, Raster} {
		for _, camera := range []string{"front", "wrist"} {
			t.Run(fmt.Sprintf("%s/%s", render, camera), func(t *testing.T) {
				w := world(t, Config{Render: render, Cameras: []Camera{{camera, 96, 96}}})
				for seed := range uint64(10) {
					f := reset(t, w, seed).Frames[0]
					// A 5 cm box has at least 8 by 8 pixels.
					if n, _, _ := blob(f, isRed); n < 64 {
						t.Errorf("seed %d: box 1 has %d pixels, want at least 64", seed, n)
					}
					if n, _, _ := blob(f, isBlue); n < 64 {
						t.Errorf("seed %d: box 2 has %d pixels, want at least 64", seed, n)
					}
					if n, _, _ := blob(f, isGreen); camera == "front" && n < 500 {
						t.Errorf("seed %d: the strip has %d pixels, want at least 500", seed, n)
					}
				}
			})
		}
	}
}

func TestFrontCameraShowsWhereBoxesAre(t *testing.T) {
	w := world(t, Config{Cameras: []Camera{{"front", 96, 96}}})
	obs := reset(t, w, 3)
	_, x1, y1 := blob(obs.Frames[0], isRed)
	_, x2, y2 := blob(obs.Frames[0], isBlue)
	// The camera faces the arm: further from the arm is further down, and the
	// arm's left (+y) is on the right.
	if y2 <= y1+8 {
		t.Errorf("box 2 is at row %.1f, box 1 at row %.1f: want box 2 well below", y2, y1)
	}
	b := w.Truth().Bodies
	if dy := b[1].Pose.P[1] - b[0].Pose.P[1]; math.Abs(dy) > 0.005 && (x2 > x1) != (dy > 0) {
		t.Errorf("box 2 is %g m to the left of box 1, but at columns %.1f and %.1f", dy, x2, x1)
	}
	for range 20 {
		obs = step(t, w, robot.Command{Delta: [6]float64{0: 0.0125}})
	}
	if _, _, y := blob(obs.Frames[0], isRed); y <= y1+8 {
		t.Errorf("after pushing, box 1 is at row %.1f, was at %.1f: want it well below", y, y1)
	}
}

func TestSizesMayDiffer(t *testing.T) {
	w := world(t, Config{Cameras: []Camera{{"wrist", 64, 48}, {"front", 96, 96}, {"scene", 64, 48}}})
	obs := reset(t, w, 1)
	for i, want := range []string{"wrist 64x48", "front 96x96", "scene 64x48"} {
		f := obs.Frames[i]
		if got := fmt.Sprintf("%s %dx%d", f.Camera, f.W, f.H); got != want {
			t.Errorf("frame %d is %s, want %s", i, got, want)
		}
	}
}
