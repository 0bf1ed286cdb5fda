package report_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/report"
)

func pngOf(t *testing.T, draw func(io.Writer) error) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := draw(&b); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// ringed is the middle of the ring around the peak.
func ringed(img image.Image) (x, y float64) {
	return middle(img, img.Bounds(), func(r, g, b uint32) bool { return r < 40 && g > 90 && g < 140 && b > 150 })
}

// brightest is the middle of the brightest pixels of a part of a picture.
func brightest(img image.Image, part image.Rectangle) (x, y float64) {
	top := uint32(0)
	middle(img, part, func(r, g, b uint32) bool { top = max(top, r+g+b); return false })
	return middle(img, part, func(r, g, b uint32) bool { return r+g+b+1 >= top })
}

func middle(img image.Image, part image.Rectangle, in func(r, g, b uint32) bool) (x, y float64) {
	n := 0.0
	for v := part.Min.Y; v < part.Max.Y; v++ {
		for u := part.Min.X; u < part.Max.X; u++ {
			if r, g, b, _ := img.At(u, v).RGBA(); in(r>>8, g>>8, b>>8) {
				x, y, n = x+float64(u), y+float64(v), n+1
			}
		}
	}
	return x / n, y / n
}

// A synthetic reward exp(−½ |p − goal| / 0.1) over a table: its peak in the picture is
// within a cell of where the formula has it, by its colours and by the ring around it. The
// rings of peaks in two corners say which pixel belongs to which place.
func TestPeakOfTheMapIsTheOptimum(t *testing.T) {
	const cells = 15
	grid := func(lo, hi float64) []float64 {
		xs := make([]float64, cells)
		for i := range xs {
			xs[i] = lo + (hi-lo)*float64(i)/(cells-1)
		}
		return xs
	}
	xs, ys := grid(0.3, 0.7), grid(-0.2, 0.3)
	field := func(f func(x, y float64) float64) report.Field {
		z := report.Field{Title: "reward", Xs: xs, Ys: ys}
		for _, y := range ys {
			var row []float64
			for _, x := range xs {
				row = append(row, f(x, y))
			}
			z.Z = append(z.Z, row)
		}
		return z
	}
	drawn := func(f report.Field) image.Image {
		return pngOf(t, func(w io.Writer) error { return report.Fields(w, []report.Field{f}) })
	}
	at := func(c, r int) (float64, float64) {
		return ringed(drawn(field(func(x, y float64) float64 { return -math.Abs(x-xs[c]) - math.Abs(y-ys[r]) })))
	}
	x0, y0 := at(0, 0)
	x1, y1 := at(cells-1, cells-1)
	for _, goal := range [][2]float64{{0.52, 0.11}, {0.31, -0.19}, {0.69, 0.02}} {
		f := field(func(x, y float64) float64 { return math.Exp(-0.5 * math.Hypot(x-goal[0], y-goal[1]) / 0.1) })
		img := drawn(f)
		dx, dy := (xs[1] - xs[0]), (ys[1] - ys[0])
		for by, find := range map[string]func() (u, v float64){
			"ring":   func() (float64, float64) { return ringed(img) },
			"colour": func() (float64, float64) { return brightest(img, image.Rect(int(x0), int(y1), int(x1), int(y0))) },
		} {
			u, v := find()
			x, y := xs[0]+(xs[cells-1]-xs[0])*(u-x0)/(x1-x0), ys[0]+(ys[cells-1]-ys[0])*(v-y0)/(y1-y0)
			if !(math.Abs(x-goal[0]) <= dx && math.Abs(y-goal[1]) <= dy) {
				t.Errorf("by its %s the picture's peak is at (%.3f, %.3f), the optimum at %v: more than a cell of %.3f by %.3f", by, x, y, goal, dx, dy)
			}
		}
		c, r, ok := f.Peak()
		if !ok || math.Abs(xs[c]-goal[0]) > dx || math.Abs(ys[r]-goal[1]) > dy {
			t.Errorf("Peak says (%v, %v), the optimum is at %v", xs[c], ys[r], goal)
		}
	}
}

func TestComparisonsAreDrawn(t *testing.T) {
	nan := math.NaN()
	for name, draw := range map[string]func(io.Writer) error{
		"rivals": func(w io.Writer) error {
			return report.Rivals(w, []string{"a", "b", "flat"}, []report.Panel{
				{Title: "one", Curves: [][]float64{{1, 2, 3}, nil, {5, 5, 5}}}, {Title: "two", Curves: [][]float64{{3, 2}, {0, -1}, nil}},
			})
		},
		"matrices": func(w io.Writer) error {
			return report.Matrices(w, []string{"a", "b"}, []report.Matrix{{Title: "m", Lo: -1, Hi: 1, Z: [][]float64{{1, nan}, {0.3, 1}}}, {Title: "n", Hi: 1, Z: [][]float64{{0, 0}, {0, 0}}}})
		},
		"fields": func(w io.Writer) error {
			return report.Fields(w, []report.Field{{Title: "f", Xs: []float64{0, 1}, Ys: []float64{0, 1}, Z: [][]float64{{1, nan}, {1, 1}}, Marks: []report.Mark{{Name: "in", X: 0.5, Y: 0.5}, {Name: "far", X: 9}}}})
		},
	} {
		if img := pngOf(t, draw); img.Bounds().Dx() < 300 || img.Bounds().Dy() < 200 {
			t.Errorf("%s: a picture of %v", name, img.Bounds())
		}
	}
}

// A step without a number takes nothing from what there is of the others.
func TestCurvesLeaveOutWhatIsNoNumber(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	drawn := func(draw func(io.Writer) error) string {
		t.Helper()
		var b strings.Builder
		if err := draw(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	rivals := func(one, two []float64) string {
		return drawn(func(w io.Writer) error {
			return report.Rivals(w, []string{"a"}, []report.Panel{{Title: "one", Curves: [][]float64{one}}, {Title: "two", Curves: [][]float64{two}}})
		})
	}
	curves := func(rewards, logged []float64) string {
		return drawn(func(w io.Writer) error {
			return report.Curves(w, []report.Curve{{Rewards: rewards, Logged: logged}, {Rewards: []float64{3, 4}}})
		})
	}
	for name, tt := range map[string]struct{ got, want string }{
		"rivals, none in a panel":   {rivals([]float64{1, 3, 2}, []float64{nan, nan}), rivals([]float64{1, 3, 2}, nil)},
		"rivals, none in the first": {rivals([]float64{nan}, []float64{1, 3, 2}), rivals(nil, []float64{1, 3, 2})},
		"rivals, one at the end":    {rivals([]float64{1, 3, 2, inf}, []float64{0, -inf, nan}), rivals([]float64{1, 3, 2}, []float64{0})},
		"curves and returns":        {curves([]float64{1, 2, nan, -inf}, []float64{1, inf, 0, 1}), curves([]float64{1, 2}, []float64{1, 1})},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: another picture than of the numbers alone", name)
		}
	}
}

func TestNothingToDrawIsAnError(t *testing.T) {
	nan := math.NaN()
	two := []float64{0, 1}
	for i, draw := range []func(io.Writer) error{
		func(w io.Writer) error { return report.Rivals(w, nil, nil) },
		func(w io.Writer) error { return report.Rivals(w, []string{"a"}, []report.Panel{{Title: "one"}}) },
		func(w io.Writer) error { return report.Matrices(w, nil, nil) },
		func(w io.Writer) error { return report.Matrices(w, []string{"a"}, []report.Matrix{{Title: "m"}}) },
		func(w io.Writer) error {
			return report.Matrices(w, []string{"a"}, []report.Matrix{{Title: "m", Z: [][]float64{{1, 2}}}})
		},
		func(w io.Writer) error { return report.Fields(w, nil) },
		func(w io.Writer) error { return report.Fields(w, []report.Field{{Xs: two}}) },
		func(w io.Writer) error {
			return report.Fields(w, []report.Field{{Xs: two, Ys: two, Z: [][]float64{{1}, {1, 2}}}})
		},
		func(w io.Writer) error {
			return report.Fields(w, []report.Field{{Xs: two, Ys: two, Z: [][]float64{{nan, nan}, {nan, nan}}}})
		},
		func(w io.Writer) error {
			return report.Fields(w, []report.Field{{Xs: two, Ys: two, Z: [][]float64{{math.Inf(1), 0}, {0, 0}}}})
		},
	} {
		if err := draw(io.Discard); err == nil {
			t.Error(fmt.Sprint("case ", i, ": no error"))
		}
	}
}
