package keypoint

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/perception/vision"
)

// Sheets are A4 where what is on them fits, mm.
const (
	sheetWidth  = 210
	sheetHeight = 297
	sheetMargin = 12 // more than printers leave blank
	ruler       = 100
	caption     = 5
)

// sheet is a page in millimetres in the making.
type sheet struct {
	b             bytes.Buffer
	width, height float64
}

// rect is filled; SVG viewers blur edges of neighbours together, so crisp ones are asked for.
func (s *sheet) rect(x, y, w, h float64, fill string) {
	fmt.Fprintf(&s.b, `<rect x="%.4f" y="%.4f" width="%.4f" height="%.4f" fill="%s" shape-rendering="crispEdges"/>`+"\n", x, y, w, h, fill)
}

func (s *sheet) text(x, y float64, words string) {
	fmt.Fprintf(&s.b, `<text x="%.4f" y="%.4f" font-family="sans-serif" font-size="3" fill="#555">%s</text>`+"\n", x, y, words)
}

// footer is how much room the ruler below takes, mm.
const footer = caption + 6 + sheetMargin

// svg is the page, with a ruler below by which a print is checked.
func (s *sheet) svg() string {
	w, h := max(sheetWidth, s.width+sheetMargin), max(sheetHeight, s.height+footer)
	y := h - footer + caption
	s.rect(sheetMargin, y, ruler, 0.4, "#555")
	for _, x := range []float64{sheetMargin, sheetMargin + ruler - 0.4} {
		s.rect(x, y-2, 0.4, 4, "#555")
	}
	s.text(sheetMargin, y+6, "Print at 100 %: this line is 100 mm long. Leave the white around a marker on.")
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.2fmm" height="%.2fmm" viewBox="0 0 %.2f %.2f">`+"\n%s</svg>\n", w, h, w, h, s.b.String())
}

// html is the pages, each on paper of its own.
func html(pages ...*sheet) []byte {
	var b bytes.Buffer
	b.WriteString("<!doctype html>\n<meta charset=\"utf-8\">\n<title>Markers</title>\n" +
		"<style>@page{size:A4;margin:0}body{margin:0;background:#fff}svg{display:block;break-after:page}</style>\n")
	for _, p := range pages {
		b.WriteString(p.svg())
	}
	return b.Bytes()
}

// Sheet is pages of markers at their size, in HTML, with their numbers and which way is
// their top, to be printed.
func Sheet(dictionary string, fixed []Fixed) ([]byte, error) {
	var pages []*sheet
	var s *sheet
	x, y := 0.0, 0.0
	page := func() {
		s = &sheet{height: sheetMargin}
		pages = append(pages, s)
		x, y = sheetMargin, sheetMargin
	}
	page()
	for _, f := range fixed {
		cells, err := vision.MarkerCells(dictionary, f.ID)
		if err != nil {
			return nil, err
		}
		top := f.Corners[1]
		for i := range top {
			top[i] -= f.Corners[0][i]
		}
		side := math.Round(1e5*math.Sqrt(dot(top, top))) / 100
		if !(side >= 5 && side <= 1000) {
			return nil, fmt.Errorf("keypoint: marker %d has a side of %g mm, want 5 to 1000", f.ID, side)
		}
		cell := side / float64(len(cells))
		whole := side + 2*cell
		if x > sheetMargin && x+whole > sheetWidth-sheetMargin {
			x, y = sheetMargin, s.height+caption
		}
		if y > sheetMargin && y+caption+whole+footer > sheetHeight {
			page()
		}
		s.text(x, y+3, fmt.Sprintf("%s: %d, %g mm, this side up", dictionary, f.ID, side))
		left, down := x+cell, y+caption+cell
		s.rect(left, down, side, side, "#000")
		for r, row := range cells {
			for c, white := range row {
				if white {
					s.rect(left+float64(c)*cell, down+float64(r)*cell, cell, cell, "#fff")
				}
			}
		}
		s.width, s.height = max(s.width, x+whole), max(s.height, y+caption+whole)
		x += max(whole, 48) + caption // the caption's width
	}
	return html(pages...), nil
}

// perMillimetre is how many pixels a millimetre of a printed board has.
const perMillimetre = 8

// BoardSheet is a page with a ChArUco board at its size, in HTML, to be printed.
func BoardSheet(b vision.Board) ([]byte, error) {
	w, h := 1000*b.Square*float64(b.Columns), 1000*b.Square*float64(b.Rows)
	f, err := b.Draw(int(perMillimetre*w+0.5), int(perMillimetre*h+0.5))
	if err != nil {
		return nil, err
	}
	png, err := vision.EncodePNG(f)
	if err != nil {
		return nil, err
	}
	s := &sheet{width: sheetMargin + w, height: sheetMargin + caption + h}
	s.text(sheetMargin, sheetMargin+3, fmt.Sprintf("ChArUco, %s: %d by %d squares of %g mm, markers of %g mm", b.Dictionary, b.Columns, b.Rows, 1000*b.Square, 1000*b.Marker))
	fmt.Fprintf(&s.b, `<image x="%d" y="%d" width="%g" height="%g" style="image-rendering:pixelated" href="data:image/png;base64,%s"/>`+"\n", sheetMargin, sheetMargin+caption, w, h, base64.StdEncoding.EncodeToString(png))
	return html(s), nil
}
