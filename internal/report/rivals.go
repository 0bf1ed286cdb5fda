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
	"gonum.org/v1/plot/vg/vgimg"
)

// Panel is one episode as several rewards see it.
type Panel struct {
	Title  string
	Curves [][]float64 // of each reward (T,), nil for none
}

// rivalHues are those of rewards, which may be more, and among which black is no line.
var rivalHues = append(okabe[:len(okabe):len(okabe)], color.RGBA{0x60, 0x60, 0x60, 0xff}, color.RGBA{0xb8, 0xac, 0x14, 0xff})

// Rivals draws the curves of several rewards in each of some episodes, as a PNG. Each
// reward is scaled to 0..1 over all panels, since rewards that are compared seldom share
// a unit. What is no finite number is left out.
func Rivals(w io.Writer, names []string, panels []Panel) error {
	if len(panels) == 0 || len(names) == 0 {
		return errors.New("report: no curves to draw")
	}
	plots := make([]*plot.Plot, len(panels))
	for i, p := range panels {
		plots[i] = newPlot(p.Title, "step", "reward, scaled")
		plots[i].Title.TextStyle.Font.Size = font.Length(10)
		plots[i].Y.Min, plots[i].Y.Max = -0.03, 1.03
		plots[i].X.Min = 0
	}
	for k, name := range names {
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, p := range panels {
			if len(p.Curves) != len(names) {
				return fmt.Errorf("report: %d curves of %d rewards in %s", len(p.Curves), len(names), p.Title)
			}
			for _, x := range p.Curves[k] {
				if finite(x) {
					lo, hi = min(lo, x), max(hi, x)
				}
			}
		}
		named := false
		for i, p := range panels {
			var xy plotter.XYs
			for t, x := range p.Curves[k] {
				if !finite(x) {
					continue
				}
				at := plotter.XY{X: float64(t + 1), Y: 0.5}
				if hi > lo {
					at.Y = (x - lo) / (hi - lo)
				}
				xy = append(xy, at)
			}
			if len(xy) == 0 {
				continue
			}
			l, err := plotter.NewLine(xy)
			if err != nil {
				return err
			}
			l.Color, l.Width = rivalHues[k%len(rivalHues)], vg.Points(1.5)
			if k == 0 {
				l.Width = vg.Points(3.5) // so that a reward that is the same can be seen on it
			}
			if k >= len(rivalHues) {
				l.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
			}
			plots[i].Add(l)
			if !named { // the first episode may have none of it
				plots[0].Legend.Add(name, l)
				named = true
			}
		}
	}
	// The legend has a place of its own, so that it covers no curve.
	legend := plots[0].Legend
	plots[0].Legend = plot.NewLegend()
	return tiled(w, 3, 3.4, 2.6, plots, func(dc draw.Canvas) {
		legend.Top, legend.Left = true, true
		legend.TextStyle.Font.Variant = "Sans"
		legend.Padding = vg.Points(3)
		legend.Draw(dc)
	})
}

// tiled renders plots in rows of cols, each of width by height inches, beside a column
// for what side draws; nil for none.
func tiled(w io.Writer, cols int, width, height vg.Length, plots []*plot.Plot, side func(draw.Canvas)) error {
	cols = min(cols, len(plots))
	rows := (len(plots) + cols - 1) / cols
	wide := width * vg.Length(cols) * vg.Inch
	extra := vg.Length(0)
	if side != nil {
		extra = 1.5 * vg.Inch
	}
	c := vgimg.NewWith(vgimg.UseWH(wide+extra, height*vg.Length(rows)*vg.Inch), vgimg.UseDPI(110))
	dc := draw.New(c)
	left := draw.Crop(dc, 0, -extra, 0, 0)
	tiles := draw.Tiles{Rows: rows, Cols: cols, PadX: vg.Points(14), PadY: vg.Points(12), PadTop: vg.Points(4), PadRight: vg.Points(8), PadLeft: vg.Points(4), PadBottom: vg.Points(4)}
	for i, p := range plots {
		p.Draw(tiles.At(left, i%cols, i/cols))
	}
	if side != nil {
		side(draw.Crop(dc, wide, -vg.Points(4), 0, -vg.Points(20)))
	}
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// Matrix is a number for each pair of names, NaN for none.
type Matrix struct {
	Title  string
	Lo, Hi float64     // what the colours go from and to
	Z      [][]float64 // (n,n)
}

// square is a matrix as a plotter.GridXYZ.
type square struct{ z [][]float64 }

func (s square) Dims() (c, r int)   { return len(s.z), len(s.z) }
func (s square) Z(c, r int) float64 { return s.z[len(s.z)-1-r][c] } // the first row is on top
func (s square) X(c int) float64    { return float64(c) }
func (s square) Y(r int) float64    { return float64(r) }

// Matrices draws how each of some things agrees with each, as numbers on colours, one
// matrix beside the other, as a PNG.
func Matrices(w io.Writer, names []string, ms []Matrix) error {
	n := len(names)
	if n == 0 || len(ms) == 0 {
		return errors.New("report: no matrix to draw")
	}
	var plots []*plot.Plot
	for _, m := range ms {
		if len(m.Z) != n {
			return fmt.Errorf("report: %s has %d rows of %d names", m.Title, len(m.Z), n)
		}
		p := blank(m.Title, "", "")
		colours := moreland.SmoothBlueRed()
		colours.SetMin(m.Lo)
		colours.SetMax(m.Hi)
		h := plotter.NewHeatMap(square{m.Z}, colours.Palette(255))
		h.Min, h.Max = m.Lo, m.Hi
		h.NaN = color.RGBA{0xee, 0xee, 0xee, 0xff}
		p.Add(h)
		var at plotter.XYLabels
		for r, row := range m.Z {
			if len(row) != n {
				return fmt.Errorf("report: %s has a row of %d numbers for %d names", m.Title, len(row), n)
			}
			for c, x := range row {
				if math.IsNaN(x) {
					continue
				}
				at.XYs = append(at.XYs, plotter.XY{X: float64(c), Y: float64(n - 1 - r)})
				at.Labels = append(at.Labels, fmt.Sprintf("%.2f", x))
			}
		}
		if len(at.Labels) > 0 {
			l, err := plotter.NewLabels(at)
			if err != nil {
				return err
			}
			for i := range l.TextStyle {
				l.TextStyle[i].Font.Variant, l.TextStyle[i].Font.Size = "Sans", font.Length(8)
				l.TextStyle[i].XAlign, l.TextStyle[i].YAlign = draw.XCenter, draw.YCenter
			}
			p.Add(l)
		}
		var x, y []plot.Tick
		for i, name := range names {
			x = append(x, plot.Tick{Value: float64(i), Label: name})
			y = append(y, plot.Tick{Value: float64(n - 1 - i), Label: name})
		}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(x), plot.ConstantTicks(y)
		p.X.Tick.Label.Rotation = math.Pi / 4
		p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
		plots = append(plots, p)
	}
	return tiled(w, len(plots), 4, 3.9, plots, nil)
}
