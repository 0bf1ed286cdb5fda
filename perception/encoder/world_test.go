package encoder

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gonum.org/v1/gonum/mat"

	"github.com/rapport-rl/rapport/robot"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// pushing draws clips of an arm-like bar that pushes the first of two small
// squares over a textured bench, seen by the named cameras, each mirrored and
// tinted its own way. truth (ticks of all clips, 4) holds the squares' places
// in bench units, -1..1.
func pushing(seed uint64, clips, T int, cameras ...string) (d Data, truth [][]float64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	uniform := func(lo, hi float64) float64 { return lo + (hi-lo)*rng.Float64() }
	for range clips {
		a := [2]float64{uniform(-0.6, 0.6), uniform(-0.4, 0.2)}
		b := [2]float64{uniform(-0.6, 0.6), uniform(-0.4, 0.6)}
		for math.Hypot(a[0]-b[0], a[1]-b[1]) < 0.3 {
			b = [2]float64{uniform(-0.6, 0.6), uniform(-0.4, 0.6)}
		}
		tool := [2]float64{0, -0.9}
		var c Clip
		for t := range T + 1 {
			var fs []robot.Frame
			for i, name := range cameras {
				f := bench(rng, i, tool, a, b)
				f.Camera, f.Seq, f.Stamp = name, uint64(t), time.Unix(0, int64(t)*1e8)
				fs = append(fs, f)
			}
			c.Frames = append(c.Frames, fs)
			truth = append(truth, []float64{a[0], a[1], b[0], b[1]})
			// Two joints, whose lengths and angles reach the tool.
			s := robot.State{Grip: 0.04}
			s.Q[0], s.Q[1] = math.Atan2(tool[0], tool[1]+1.5), math.Hypot(tool[0], tool[1]+1.5)
			s.EE.P = [3]float64{tool[0], tool[1], 0.1}
			c.States = append(c.States, s)
			if t == T {
				break
			}
			// Towards the square, then push it.
			var cmd robot.Command
			aim := [2]float64{a[0], a[1] - 0.1}
			if math.Hypot(aim[0]-tool[0], aim[1]-tool[1]) < 0.05 {
				aim[1] += 0.1
			}
			for k := range 2 {
				v := min(max(0.5*(aim[k]-tool[k]), -0.08), 0.08) + 0.01*rng.NormFloat64()
				cmd.Delta[k] = v
				tool[k] += v
			}
			if math.Abs(tool[0]-a[0]) < 0.12 && tool[1] > a[1]-0.12 && tool[1] < a[1] {
				a[1] = tool[1] + 0.12
			}
			c.Applied = append(c.Applied, cmd)
		}
		d.Clips = append(d.Clips, c)
	}
	return d, truth
}

// bench draws 96x96 pixels: squares nine pixels wide, a bar from the bottom to
// the tool, some sensor noise.
func bench(rng *rand.Rand, view int, tool, a, b [2]float64) robot.Frame {
	const S = 96
	f := robot.Frame{W: S, H: S, Pix: make([]byte, 3*S*S)}
	px := func(v [2]float64) (float64, float64) {
		x := v[0]
		if view%2 == 1 {
			x = -x
		}
		return 48 + 44*x, 48 - 44*v[1]
	}
	ax, ay := px(a)
	bx, by := px(b)
	tx, ty := px(tool)
	for y := range S {
		for x := range S {
			fx, fy := float64(x), float64(y)
			grain := 20 * math.Sin(0.9*fx+0.3*fy+float64(view)) * math.Sin(0.2*fx-0.7*fy)
			c := [3]float64{110 + grain, 120 + grain, 125 + grain + 20*float64(view)}
			if math.Abs(fx-bx) <= 4.5 && math.Abs(fy-by) <= 4.5 {
				c = [3]float64{200, 80, 40}
			}
			if math.Abs(fx-ax) <= 4.5 && math.Abs(fy-ay) <= 4.5 {
				c = [3]float64{40, 50, 200}
			}
			// The bar leans from the middle of the lower edge to the tool.
			if along := (fy - ty) / (S - ty + 1); along >= 0 && math.Abs(fx-(tx+along*(48-tx))) <= 5 {
				c = [3]float64{230, 230, 230}
			}
			for k := range c {
				f.Pix[3*(y*S+x)+k] = byte(min(max(c[k]+3*rng.NormFloat64(), 0), 255))
			}
		}
	}
	return f
}

// probe fits truth linearly on xs by ridge regression over the first ticks and
// returns R^2 of each column on the rest.
func probe(xs [][]float32, truth [][]float64, train int) []float64 {
	n, cols := len(xs[0])+1, len(truth[0])
	design := func(lo, hi int) *mat.Dense {
		m := mat.NewDense(hi-lo, n, nil)
		for i := lo; i < hi; i++ {
			m.Set(i-lo, n-1, 1)
			for j, v := range xs[i] {
				m.Set(i-lo, j, float64(v))
			}
		}
		return m
	}
	targets := func(lo, hi int) *mat.Dense {
		m := mat.NewDense(hi-lo, cols, nil)
		for i := lo; i < hi; i++ {
			m.SetRow(i-lo, truth[i])
		}
		return m
	}
	X, Y := design(0, train), targets(0, train)
	var xx, xy, w, got mat.Dense
	xx.Mul(X.T(), X)
	for i := range n {
		xx.Set(i, i, xx.At(i, i)+1e-3*float64(train))
	}
	xy.Mul(X.T(), Y)
	if err := w.Solve(&xx, &xy); err != nil {
		panic(err)
	}
	got.Mul(design(train, len(xs)), &w)
	want := targets(train, len(xs))
	r2 := make([]float64, cols)
	rows := len(xs) - train
	for c := range cols {
		var mean, res, tot float64
		for i := range rows {
			mean += want.At(i, c) / float64(rows)
		}
		for i := range rows {
			res += math.Pow(want.At(i, c)-got.At(i, c), 2)
			tot += math.Pow(want.At(i, c)-mean, 2)
		}
		r2[c] = 1 - res/tot
	}
	return r2
}

// embed extracts all ticks of d.
func embed(t *testing.T, c *Conv, d Data) (xs [][]float32) {
	t.Helper()
	for _, clip := range d.Clips {
		fs, err := c.ExtractBatch(t.Context(), clip.Frames, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			xs = append(xs, f.Embed)
		}
	}
	return xs
}
