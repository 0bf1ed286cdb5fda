package vision

import (
	"fmt"
	"image"
	"image/color"
	"strings"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Mosaic lays fs out in a grid of cols columns, row by row, each image scaled
// to w by h pixels; empty cells stay black. The result bears the name and stamp
// of the first frame.
func Mosaic(fs []robot.Frame, cols, w, h int) (robot.Frame, error) {
	if len(fs) == 0 || cols <= 0 || w <= 0 || h <= 0 {
		return robot.Frame{}, fmt.Errorf("vision: mosaic of %d frames in %d columns of %dx%d pixels", len(fs), cols, w, h)
	}
	cols = min(cols, len(fs))
	rows := (len(fs) + cols - 1) / cols
	if cols*w > MaxSide || rows*h > MaxSide {
		return robot.Frame{}, fmt.Errorf("vision: mosaic of %dx%d pixels, limit %d a side", cols*w, rows*h, MaxSide)
	}
	out := like(fs[0], cols*w, rows*h)
	for i, f := range fs {
		cell, err := Resize(f, w, h)
		if err != nil {
			return robot.Frame{}, fmt.Errorf("vision: mosaic: frame %d: %w", i, err)
		}
		x, y := i%cols*w, i/cols*h
		for r := range h {
			copy(out.Pix[3*((y+r)*out.W+x):], cell.Pix[3*r*w:][:3*w])
		}
	}
	return out, nil
}

// Annotate returns a copy of f with text in its top left corner, one row per
// line, white on a dark outline so that it reads on any ground. Characters
// outside ASCII become question marks: OpenCV's stroke fonts have no others.
func Annotate(f robot.Frame, text string) (robot.Frame, error) {
	if err := Check(f); err != nil {
		return robot.Frame{}, err
	}
	out := like(f, f.W, f.H)
	copy(out.Pix, f.Pix)
	v, err := look(out.Pix, f.W, f.H, gocv.MatTypeCV8UC3)
	if err != nil {
		return robot.Frame{}, err
	}
	defer v.done()
	// Letters a twentieth of the height, at least legible; the plain Hershey
	// font is 21 pixels tall at scale 1.
	scale := max(0.35, float64(f.H)/20/21)
	pitch := int(28 * scale)
	ascii := strings.Map(func(r rune) rune {
		if r < 128 {
			return r
		}
		return '?'
	}, text)
	for i, line := range strings.Split(ascii, "\n") {
		at := image.Pt(3, (i+1)*pitch)
		gocv.PutText(&v.mat, line, at, gocv.FontHersheySimplex, scale, color.RGBA{A: 255}, 3)
		gocv.PutText(&v.mat, line, at, gocv.FontHersheySimplex, scale, color.RGBA{R: 255, G: 255, B: 255, A: 255}, 1)
	}
	return out, nil
}

// Dot returns a copy of f with a filled circle of radius r pixels at (x,y) for
// every point, to show tracked keypoints.
func Dot(f robot.Frame, points []image.Point, r int, c color.RGBA) (robot.Frame, error) {
	if err := Check(f); err != nil {
		return robot.Frame{}, err
	}
	out := like(f, f.W, f.H)
	copy(out.Pix, f.Pix)
	for _, p := range points {
		for y := max(0, p.Y-r); y <= min(f.H-1, p.Y+r); y++ {
			for x := max(0, p.X-r); x <= min(f.W-1, p.X+r); x++ {
				if (x-p.X)*(x-p.X)+(y-p.Y)*(y-p.Y) <= r*r {
					i := 3 * (y*f.W + x)
					out.Pix[i], out.Pix[i+1], out.Pix[i+2] = c.B, c.G, c.R
				}
			}
		}
	}
	return out, nil
}
