package report

import (
	"errors"
	"io"
	"math"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Curve is the rewards (T,) of an episode, and what was logged of them; nil for
// nothing.
type Curve struct {
	Rewards, Logged []float64
}

// Curves draws the rewards of each step, every episode pale and their mean blue,
// beside the returns, with those that were logged as orange rings, as a PNG.
func Curves(w io.Writer, curves []Curve) error {
	if len(curves) == 0 {
		return errors.New("report: no curves to draw")
	}
	rew, ret := newPlot("Reward of each step", "step", "reward"), newPlot("Return of each episode", "episode", "return")
	var sums, counts []float64
	var returns, logged plotter.XYs
	for n, c := range curves {
		var xy plotter.XYs
		for t, r := range c.Rewards {
			if t == len(sums) {
				sums, counts = append(sums, 0), append(counts, 0)
			}
			if !finite(r) {
				continue
			}
			sums[t] += r
			counts[t]++
			xy = append(xy, plotter.XY{X: float64(t + 1), Y: r})
		}
		if len(xy) == 0 {
			continue
		}
		l, err := plotter.NewLine(xy)
		if err != nil {
			return err
		}
		l.Color, l.Width = pale, vg.Points(0.6)
		rew.Add(l)
		returns = append(returns, plotter.XY{X: float64(n), Y: sum(c.Rewards)})
		if len(c.Logged) == len(c.Rewards) {
			logged = append(logged, plotter.XY{X: float64(n), Y: sum(c.Logged)})
		}
	}
	var mean plotter.XYs
	for t := range sums {
		if counts[t] > 0 {
			mean = append(mean, plotter.XY{X: float64(t + 1), Y: sums[t] / counts[t]})
		}
	}
	if len(mean) == 0 {
		return errors.New("report: the curves hold no rewards")
	}
	if err := line(rew, mean, blue); err != nil {
		return err
	}
	for _, s := range []struct {
		xy    plotter.XYs
		glyph draw.GlyphDrawer
		size  vg.Length
	}{{returns, draw.CircleGlyph{}, 2.5}, {logged, draw.RingGlyph{}, 4}} {
		if len(s.xy) == 0 {
			continue
		}
		sc, err := plotter.NewScatter(s.xy)
		if err != nil {
			return err
		}
		sc.Color, sc.Radius, sc.Shape = blue, vg.Points(float64(s.size)), s.glyph
		if _, ring := s.glyph.(draw.RingGlyph); ring {
			sc.Color = orange
		}
		ret.Add(sc)
	}
	return write(w, 10, 3.6, rew, ret)
}

// sum is of those that are numbers: a plot takes no others.
func sum(xs []float64) float64 {
	s := 0.0
	for _, x := range xs {
		if finite(x) {
			s += x
		}
	}
	return s
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
