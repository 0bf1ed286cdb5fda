package report

import (
	"errors"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a curve with intervals. Half (n,) is the half-width of each, nil or
// infinite for none.
type Line struct {
	Name       string
	X, Y, Half []float64
	Flat       bool // dashed, as what does not depend on x
}

// LinesPlot is a plot of lines over the same x.
type LinesPlot struct {
	Title, X, Y string
	Lines       []Line
}

// hues tell lines apart, also for those who see fewer colours (Okabe and Ito 2008).
var hues = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x00, 0x00, 0x00, 0xff},
}

// Lines draws plots beside each other as one PNG.
func Lines(w io.Writer, plots ...LinesPlot) error {
	if len(plots) == 0 {
		return errors.New("report: no lines to draw")
	}
	var ps []*plot.Plot
	for _, lp := range plots {
		p := newPlot(lp.Title, lp.X, lp.Y)
		p.Legend.Top, p.Legend.TextStyle.Font.Variant = false, "Sans"
		p.Legend.TextStyle.Font.Size = 8
		for i, l := range lp.Lines {
			if len(l.X) != len(l.Y) || l.Half != nil && len(l.Half) != len(l.X) {
				return errors.New("report: line " + l.Name + " has x, y and intervals of different lengths")
			}
			xy, hue := make(plotter.XYs, len(l.X)), hues[i%len(hues)]
			for k := range xy {
				xy[k] = plotter.XY{X: l.X[k], Y: l.Y[k]}
			}
			curve, err := plotter.NewLine(xy)
			if err != nil {
				return err
			}
			curve.Color, curve.Width = hue, vg.Points(1.6)
			if l.Flat {
				curve.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			p.Add(curve)
			p.Legend.Add(l.Name, curve)
			for k, h := range l.Half {
				if l.Flat || math.IsInf(h, 0) || math.IsNaN(h) {
					continue
				}
				bar, err := plotter.NewLine(plotter.XYs{{X: l.X[k], Y: l.Y[k] - h}, {X: l.X[k], Y: l.Y[k] + h}})
				if err != nil {
					return err
				}
				bar.Color, bar.Width = hue, vg.Points(0.8)
				p.Add(bar)
			}
			if !l.Flat {
				dots, err := plotter.NewScatter(xy)
				if err != nil {
					return err
				}
				dots.Color, dots.Radius, dots.Shape = hue, vg.Points(2.2), draw.CircleGlyph{}
				p.Add(dots)
			}
		}
		ps = append(ps, p)
	}
	return write(w, vg.Length(4.6*float64(len(ps))), 3.8, ps...)
}
