package vision

import (
	"image"
	"image/color"

	"gocv.io/x/gocv"

	"github.com/rapport-rl/rapport/robot"
)

// Line is a line of one pixel's width from A to B.
type Line struct {
	A, B   image.Point
	Colour color.RGBA
}

// Disc is a filled circle of radius R pixels.
type Disc struct {
	At     image.Point
	R      int
	Colour color.RGBA
}

// Text is a line of ASCII around At, its capitals Height pixels tall, with an outline
// that lets it be read on any ground.
type Text struct {
	At     image.Point
	S      string
	Colour color.RGBA
	Height int
}

// Paint returns a copy of f with lines, then discs, then texts over it.
func Paint(f robot.Frame, lines []Line, discs []Disc, texts []Text) (robot.Frame, error) {
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
	for _, l := range lines {
		gocv.Line(&v.mat, l.A, l.B, l.Colour, 1)
	}
	for _, d := range discs {
		gocv.Circle(&v.mat, d.At, d.R, d.Colour, -1)
	}
	for _, t := range texts {
		scale := float64(t.Height) / 21 // capitals of the font at scale 1
		size := gocv.GetTextSize(t.S, gocv.FontHersheySimplex, scale, 1)
		at := t.At.Add(image.Pt(-size.X/2, size.Y/2))
		edge := color.RGBA{A: 255}
		if int(t.Colour.R)+int(t.Colour.G)+int(t.Colour.B) < 450 {
			edge = color.RGBA{R: 255, G: 255, B: 255, A: 255}
		}
		gocv.PutTextWithParams(&v.mat, t.S, at, gocv.FontHersheySimplex, scale, edge, 3, gocv.LineAA, false)
		gocv.PutTextWithParams(&v.mat, t.S, at, gocv.FontHersheySimplex, scale, t.Colour, 1, gocv.LineAA, false)
	}
	return out, nil
}
