package lerobot

import (
	"math"

	"github.com/rapport-rl/rapport/robot"
)

// stat gathers what meta/stats.json says of a feature: smallest, largest, mean and
// standard deviation of each number of its rows, of images of each colour in 0..1.
type stat struct {
	n        int // rows, or images
	lo, hi   []float64
	mean, m2 []float64 // Welford 1962
	pixels   bool
	weight   []float64 // how many numbers each mean is of
	wide     int
}

func (w *Writer) stat(name string, width int) *stat {
	s := w.stats[name]
	if s == nil {
		s = &stat{wide: width, lo: make([]float64, width), hi: make([]float64, width), mean: make([]float64, width), m2: make([]float64, width), weight: make([]float64, width)}
		for i := range width {
			s.lo[i], s.hi[i] = math.Inf(1), math.Inf(-1)
		}
		w.stats[name] = s
	}
	return s
}

func (s *stat) add(k int, x float64) {
	s.lo[k], s.hi[k] = min(s.lo[k], x), max(s.hi[k], x)
	s.weight[k]++
	d := x - s.mean[k]
	s.mean[k] += d / s.weight[k]
	s.m2[k] += d * (x - s.mean[k])
}

func (s *stat) rows(xs []float64) {
	s.n += len(xs) / s.wide
	for i, x := range xs {
		s.add(i%s.wide, x)
	}
}

// image takes every fourth pixel of every fourth row, red first as LeRobot has it.
func (s *stat) image(f robot.Frame) {
	s.n++
	step := 4
	if f.W < 16 || f.H < 16 {
		step = 1
	}
	for y := 0; y < f.H; y += step {
		for x := 0; x < f.W; x += step {
			p := f.Pix[3*(y*f.W+x):]
			for k := range 3 {
				s.add(k, float64(p[2-k])/255)
			}
		}
	}
}

// statistics is meta/stats.json. Those of a colour are of the shape (3,1,1).
func (w *Writer) statistics() map[string]any {
	out := map[string]any{}
	for name, s := range w.stats {
		std := make([]float64, s.wide)
		for k := range std {
			std[k] = math.Sqrt(s.m2[k] / s.weight[k])
		}
		m := map[string]any{"count": []int{s.n}}
		for what, v := range map[string][]float64{"min": s.lo, "max": s.hi, "mean": s.mean, "std": std} {
			if !s.pixels {
				m[what] = v
				continue
			}
			var deep [][][]float64
			for _, x := range v {
				deep = append(deep, [][]float64{{x}})
			}
			m[what] = deep
		}
		out[name] = m
	}
	return out
}
