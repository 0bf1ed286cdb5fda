package report

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
)

// pairHeight is how tall a matched pair is drawn, pixels.
const pairHeight = 260

// Explained draws one episode's reward as a PNG: the transport plan and the curve
// beside each other, and below them the matched pairs of frames, the episode's
// above the preferred video's.
func Explained(w io.Writer, r Reward) error {
	if len(r.Plan) == 0 || len(r.Rewards) != len(r.Plan) {
		return errors.New("report: nothing to explain: no plan, or not a reward for each of its rows")
	}
	var parts [2]image.Image
	for i, draw := range []func(io.Writer, Reward) error{heat, steps} {
		var b bytes.Buffer
		if err := draw(&b, r); err != nil {
			return err
		}
		img, err := png.Decode(&b)
		if err != nil {
			return err
		}
		parts[i] = img
	}
	a, b := parts[0].Bounds(), parts[1].Bounds()
	width, top := a.Dx()+b.Dx(), max(a.Dy(), b.Dy())
	var row []image.Image
	const gap = 6
	x := gap
	for _, p := range r.Pairs {
		s := stretch(p, pairHeight)
		x += s.Bounds().Dx() + gap
		row = append(row, s)
	}
	height := top
	if len(row) > 0 {
		height += pairHeight + gap
		width = max(width, x)
	}
	page := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(page, page.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(page, a.Sub(a.Min), parts[0], a.Min, draw.Over)
	draw.Draw(page, b.Sub(b.Min).Add(image.Pt(a.Dx(), 0)), parts[1], b.Min, draw.Over)
	x = gap
	for _, s := range row {
		draw.Draw(page, s.Bounds().Add(image.Pt(x, top)), s, image.Point{}, draw.Src)
		x += s.Bounds().Dx() + gap
	}
	return png.Encode(w, page)
}

// stretch brings an image to a height, pixel by pixel.
func stretch(src image.Image, height int) image.Image {
	b := src.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, max(1, b.Dx()*height/b.Dy()), height))
	for y := range height {
		for x := range dst.Bounds().Dx() {
			dst.Set(x, y, src.At(b.Min.X+x*b.Dx()/dst.Bounds().Dx(), b.Min.Y+y*b.Dy()/height))
		}
	}
	return dst
}
