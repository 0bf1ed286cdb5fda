package report

import (
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

var (
	blue   = color.RGBA{0x1f, 0x5f, 0xa8, 0xff}
	pale   = color.RGBA{0x9f, 0xbf, 0xdf, 0xff}
	orange = color.RGBA{0xd9, 0x6b, 0x1e, 0xff}
	grid   = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// window is how many episodes the moving averages of the curve span.
const window = 20

// blank is a plot without a grid, lettered like the page.
func blank(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	for _, s := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		s.Font.Variant = "Sans"
	}
	p.Title.TextStyle.Font.Size = font.Length(12)
	p.Title.Padding = vg.Points(6)
	return p
}

func newPlot(title, x, y string) *plot.Plot {
	p := blank(title, x, y)
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = grid, grid
	p.Add(g)
	return p
}

// write renders plots beside each other as one PNG of width by height inches.
func write(w io.Writer, width, height vg.Length, plots ...*plot.Plot) error {
	c := vgimg.NewWith(vgimg.UseWH(width*vg.Inch, height*vg.Inch), vgimg.UseDPI(110))
	dc := draw.New(c)
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: vg.Points(18), PadTop: vg.Points(4), PadRight: vg.Points(8), PadLeft: vg.Points(4), PadBottom: vg.Points(4)}
	for i, p := range plots {
		p.Draw(tiles.At(dc, i, 0))
	}
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// curve draws the return and the success of the online episodes.
func curve(w io.Writer, eps []Episode) error {
	ret := newPlot("Return of the online episodes", "episode", "return")
	suc := newPlot(fmt.Sprintf("Success of the online episodes, mean of %d", window), "episode", "success")
	suc.Y.Min, suc.Y.Max = 0, 1
	var points, mean, hits plotter.XYs
	judged := true
	for i, e := range eps {
		points = append(points, plotter.XY{X: float64(e.N), Y: e.Return})
		lo := max(0, i+1-window)
		sum, won := 0.0, 0.0
		for _, f := range eps[lo : i+1] {
			sum += f.Return
			if f.Success {
				won++
			}
		}
		n := float64(i + 1 - lo)
		judged = judged && e.Judged
		mean = append(mean, plotter.XY{X: float64(e.N), Y: sum / n})
		hits = append(hits, plotter.XY{X: float64(e.N), Y: won / n})
	}
	sc, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	sc.Color, sc.Radius, sc.Shape = pale, vg.Points(2), draw.CircleGlyph{}
	if err := line(ret, mean, blue); err != nil {
		return err
	}
	ret.Add(sc)
	if !judged {
		return write(w, 5, 3.6, ret)
	}
	if err := line(suc, hits, orange); err != nil {
		return err
	}
	return write(w, 10, 3.6, ret, suc)
}

func line(p *plot.Plot, xy plotter.XYs, c color.Color) error {
	l, err := plotter.NewLine(xy)
	if err != nil {
		return err
	}
	l.Color, l.Width = c, vg.Points(1.8)
	p.Add(l)
	return nil
}

// steps draws the reward of each step of the explained episode.
func steps(w io.Writer, r Reward) error {
	p := newPlot("Reward of each step", "step", "reward")
	var xy plotter.XYs
	for t, v := range r.Rewards {
		xy = append(xy, plotter.XY{X: float64(t + 1), Y: v})
	}
	if err := line(p, xy, blue); err != nil {
		return err
	}
	return write(w, 5, 3.6, p)
}

// mass is a transport plan as a heat map's grid: x the preferred video's frame,
// y the step.
type mass [][]float64

func (m mass) Dims() (c, r int)   { return len(m[0]), len(m) }
func (m mass) Z(c, r int) float64 { return m[r][c] }
func (m mass) X(c int) float64    { return float64(c) }
func (m mass) Y(r int) float64    { return float64(r) }

// heat draws the transport plan.
func heat(w io.Writer, r Reward) error {
	top := 0.0
	for _, row := range r.Plan {
		if len(row) == 0 || len(row) != len(r.Plan[0]) {
			return fmt.Errorf("plan is ragged")
		}
		for _, v := range row {
			if math.IsNaN(v) {
				return fmt.Errorf("plan holds NaN")
			}
			top = max(top, v)
		}
	}
	p := blank(fmt.Sprintf("Transport plan to preferred video %d", r.Expert), "frame of the preferred video", "step")
	colours := moreland.ExtendedBlackBody()
	colours.SetMin(0)
	colours.SetMax(max(top, 1e-12))
	h := plotter.NewHeatMap(mass(r.Plan), colours.Palette(255))
	h.Rasterized = true
	p.Add(h)
	return write(w, 4.4, 3.8, p)
}
