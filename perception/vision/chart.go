package vision

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// Chart draws ys, of which the first n are known yet, as a line from left to right
// on white, with a mark at the last known one. lo and hi are the bottom and the top;
// where they are equal, the line is in the middle.
func Chart(ys []float64, n int, lo, hi float64, w, h int) (robot.Frame, error) {
	if w < 8 || h < 8 || w > MaxSide || h > MaxSide || n < 0 || n > len(ys) {
		return robot.Frame{}, fmt.Errorf("vision: chart of %d of %d numbers with %dx%d pixels", n, len(ys), w, h)
	}
	f := robot.Frame{W: w, H: h, Pix: make([]byte, 3*w*h)}
	for i := range f.Pix {
		f.Pix[i] = 255
	}
	dot := func(x, y int, c [3]byte) {
		if x >= 0 && x < w && y >= 0 && y < h {
			copy(f.Pix[3*(y*w+x):], c[:])
		}
	}
	grey, blue := [3]byte{220, 220, 220}, [3]byte{0xa8, 0x5f, 0x1f}
	for x := range w {
		dot(x, h-1, grey)
		dot(x, 0, grey)
	}
	at := func(i int) (x, y float64) {
		x = 2
		if len(ys) > 1 {
			x += float64(i) / float64(len(ys)-1) * float64(w-5)
		}
		u := 0.5
		if hi > lo {
			u = min(1, max(0, (ys[i]-lo)/(hi-lo)))
		}
		return x, float64(h-3) - u*float64(h-5)
	}
	for i := range n {
		if math.IsNaN(ys[i]) {
			continue
		}
		x1, y1 := at(i)
		x0, y0 := x1, y1
		if i > 0 && !math.IsNaN(ys[i-1]) {
			x0, y0 = at(i - 1)
		}
		steps := int(max(1, math.Ceil(max(math.Abs(x1-x0), math.Abs(y1-y0)))))
		for s := range steps + 1 {
			u := float64(s) / float64(steps)
			x, y := int(math.Round(x0+u*(x1-x0))), int(math.Round(y0+u*(y1-y0)))
			dot(x, y, blue)
			dot(x, y+1, blue)
		}
		if i == n-1 {
			for dx := -2; dx <= 2; dx++ {
				for dy := -2; dy <= 2; dy++ {
					dot(int(math.Round(x1))+dx, int(math.Round(y1))+dy, [3]byte{0x1e, 0x6b, 0xd9})
				}
			}
		}
	}
	return f, nil
}
