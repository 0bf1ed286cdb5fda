package report

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Field is a number for each place of a rectangle, as a reward over a table.
type Field struct {
	Title  string
	Xs, Ys []float64   // places of the columns and the rows, evenly spaced, rising
	Z      [][]float64 // (len(Ys),len(Xs)); NaN where there is none
	Marks  []Mark
}

// Mark names a place.
type Mark struct {
	Name string
	X, Y float64
}

// Peak is the place of the largest number, and whether there is any.
func (f *Field) Peak() (col, row int, ok bool) {
	for r, line := range f.Z {
		for c, z := range line {
			if !math.IsNaN(z) && (!ok || z > f.Z[row][col]) {
				col, row, ok = c, r, true
			}
		}
	}
	return col, row, ok
}

// ring is a draw.RingGlyph that can be seen.
type ring struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (ring) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: s.Color, Width: vg.Points(1.8)})
	var p vg.Path
	p.Move(vg.Point{X: at.X + s.Radius, Y: at.Y})
	p.Arc(at, s.Radius, 0, 2*math.Pi)
	p.Close()
	c.Stroke(p)
}

type cells struct{ f *Field }

func (g cells) Dims() (c, r int)   { return len(g.f.Xs), len(g.f.Ys) }
func (g cells) Z(c, r int) float64 { return g.f.Z[r][c] }
func (g cells) X(c int) float64    { return g.f.Xs[c] }
func (g cells) Y(r int) float64    { return g.f.Ys[r] }

// peakColour is that of the ring around the largest number.
var peakColour = color.RGBA{0x00, 0x72, 0xb2, 0xff}

// Fields draws fields beside each other as heat maps, each in colours of its own range,
// with a ring around the largest number and a cross at each mark, as a PNG.
func Fields(w io.Writer, fields []Field) error {
	if len(fields) == 0 {
		return errors.New("report: no field to draw")
	}
	var plots []*plot.Plot
	for i := range fields {
		p, err := fields[i].plot()
		if err != nil {
			return fmt.Errorf("report: %s: %w", fields[i].Title, err)
		}
		plots = append(plots, p)
	}
	return tiled(w, 3, 3.8, 3.6, plots, nil)
}

func (f *Field) plot() (*plot.Plot, error) {
	if len(f.Xs) < 2 || len(f.Ys) < 2 || len(f.Z) != len(f.Ys) {
		return nil, fmt.Errorf("%d rows for %d by %d places, want two at least each way", len(f.Z), len(f.Xs), len(f.Ys))
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, line := range f.Z {
		if len(line) != len(f.Xs) {
			return nil, fmt.Errorf("a row of %d numbers for %d places", len(line), len(f.Xs))
		}
		for _, z := range line {
			if math.IsInf(z, 0) {
				return nil, errors.New("a number is infinite")
			}
			if !math.IsNaN(z) {
				lo, hi = min(lo, z), max(hi, z)
			}
		}
	}
	col, row, ok := f.Peak()
	if !ok {
		return nil, errors.New("it holds no number")
	}
	if hi == lo {
		hi = lo + 1e-9
	}
	p := blank(fmt.Sprintf("%s: %.3g to %.3g", f.Title, lo, hi), "x, m", "y, m")
	p.Title.TextStyle.Font.Size = font.Length(10)
	colours := moreland.ExtendedBlackBody()
	colours.SetMin(lo)
	colours.SetMax(hi)
	h := plotter.NewHeatMap(cells{f}, colours.Palette(255))
	h.Min, h.Max = lo, hi
	h.NaN = color.RGBA{0xbb, 0xbb, 0xbb, 0xff}
	h.Rasterized = true
	p.Add(h)
	peak, err := plotter.NewScatter(plotter.XYs{{X: f.Xs[col], Y: f.Ys[row]}})
	if err != nil {
		return nil, err
	}
	peak.Color, peak.Radius, peak.Shape = peakColour, vg.Points(6), ring{}
	p.Add(peak)
	for _, m := range f.Marks {
		if m.X < f.Xs[0] || m.X > f.Xs[len(f.Xs)-1] || m.Y < f.Ys[0] || m.Y > f.Ys[len(f.Ys)-1] {
			continue // it would stretch the axes
		}
		at := plotter.XYs{{X: m.X, Y: m.Y}}
		s, err := plotter.NewScatter(at)
		if err != nil {
			return nil, err
		}
		s.Color, s.Radius, s.Shape = rivalHues[2], vg.Points(4), draw.CrossGlyph{}
		l, err := plotter.NewLabels(plotter.XYLabels{XYs: at, Labels: []string{m.Name}})
		if err != nil {
			return nil, err
		}
		l.TextStyle[0].Font.Variant, l.TextStyle[0].Font.Size, l.TextStyle[0].Color = "Sans", font.Length(8), rivalHues[2]
		l.Offset = vg.Point{X: vg.Points(5), Y: vg.Points(3)}
		p.Add(s, l)
	}
	return p, nil
}
