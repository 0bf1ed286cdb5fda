package nn

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

func TestAdamByHand(t *testing.T) {
	// Two steps with gradients 1 and 3 on one weight, evaluated in float64 from
	// algorithm 1 of Kingma and Ba, with decoupled decay.
	p := NewParam("w", 1).Fill(0.5)
	a := NewAdam([]*Param{p}, AdamConfig{LR: 0.1, Beta1: 0.8, Beta2: 0.9, Eps: 1e-3, WeightDecay: 0.2})
	want, m, v := 0.5, 0.0, 0.0
	for i, g := range []float64{1, 3} {
		p.Grad[0] = float32(g)
		a.Step()
		m, v = 0.8*m+0.2*g, 0.9*v+0.1*g*g
		k := float64(i + 1)
		want -= 0.1 * 0.2 * want
		want -= 0.1 * m / (1 - math.Pow(0.8, k)) / (math.Sqrt(v/(1-math.Pow(0.9, k))) + 1e-3)
		if got := float64(p.Data[0]); math.Abs(got-want) > 1e-6 {
			t.Errorf("after step %d: %v, want %v", i+1, got, want)
		}
	}
}

func TestAdamClipsTheWholeGradient(t *testing.T) {
	// After one step mean is r1*g: it shows the gradient that was used.
	p, q := NewParam("p", 1), NewParam("q", 1)
	p.Grad[0], q.Grad[0] = 3, 4
	a := NewAdam([]*Param{p, q}, AdamConfig{ClipNorm: 1, Beta1: 0.5})
	a.Step()
	if got := a.Norm(); got != 5 {
		t.Errorf("norm %v, want 5", got)
	}
	for i, want := range []float32{0.3, 0.4} {
		if got := a.mean[i][0]; math.Abs(float64(got-want)) > 1e-6 {
			t.Errorf("mean of param %d is %v, want %v", i, got, want)
		}
	}
}

func TestAdamGoesOnFromItsState(t *testing.T) {
	a, b := newCritic(1, 2), newCritic(1, 2)
	for range 3 {
		a.step()
		b.step()
	}
	a.adam.steps += 1 << 33 // more than float32 counts
	saved, err := Encode(append(a.adam.State(), Tensors(a.params)...), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a.step()
	}
	ts, _, err := Decode(saved)
	if err != nil {
		t.Fatal(err)
	}
	c := newCritic(9, 2)
	copy(c.x.Value, a.x.Value)
	copy(c.y.Value, a.y.Value)
	if err := c.adam.Restore(ts); err != nil {
		t.Fatal(err)
	}
	if err := Assign(c.params, ts); err != nil {
		t.Fatal(err)
	}
	if got, want := c.adam.Steps(), uint64(1<<33+3); got != want {
		t.Errorf("steps %d, want %d", got, want)
	}
	for range 3 {
		c.step()
	}
	for i, p := range c.params {
		if !slices.Equal(p.Data, a.params[i].Data) {
			t.Errorf("%s differs from a run that was not interrupted", p.Name)
		}
	}
}

func TestRestoreAndAssignNameWhatIsWrong(t *testing.T) {
	p := NewParam("w", 2)
	a := NewAdam([]*Param{p}, AdamConfig{})
	good := a.State()
	edit := func(f func(ts []Tensor) []Tensor) []Tensor { return f(slices.Clone(good)) }
	for _, c := range []struct {
		name string
		ts   []Tensor
		want string
	}{
		{"missing", edit(func(ts []Tensor) []Tensor { return ts[:2] }), `no tensor "adam.square.w"`},
		{"another shape", edit(func(ts []Tensor) []Tensor { ts[1].Shape = []int{1, 2}; return ts }), `"adam.mean.w" has shape [1 2], want [2]`},
		{"too little data", edit(func(ts []Tensor) []Tensor { ts[1].Data = nil; return ts }), `has 0 elements`},
		{"count is no number", edit(func(ts []Tensor) []Tensor { ts[0].Data = []float32{0, float32(math.NaN())}; return ts }), "no whole number"},
		{"count is a fraction", edit(func(ts []Tensor) []Tensor { ts[0].Data = []float32{0, 0.5}; return ts }), "no whole number"},
	} {
		for _, err := range []error{a.Check(c.ts), a.Restore(c.ts)} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
			}
		}
	}
	if err := a.Check(good); err != nil {
		t.Errorf("Check of its own state: %v", err)
	}
	q := NewParam("v", 1).Fill(3)
	if err := Assign([]*Param{q, p}, []Tensor{{Name: "v", Shape: []int{1}, Data: []float32{1}}}); err == nil || q.Data[0] != 3 {
		t.Errorf("error %v and value %v, want an error and an untouched 3", err, q.Data[0])
	}
}

func TestLerp(t *testing.T) {
	a, b := NewParam("a", 2).Fill(1), NewParam("b", 2).Fill(3)
	Lerp([]*Param{a}, []*Param{b}, 0.25)
	if got, want := a.Data, []float32{1.5, 1.5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	Copy([]*Param{a}, []*Param{b})
	if got, want := a.Data, b.Data; !slices.Equal(got, want) {
		t.Errorf("copy: got %v, want %v", got, want)
	}
}

func TestInitialScales(t *testing.T) {
	// Standard deviations of 40,000 draws are within 2 % of the formula: its own
	// spread is 1/sqrt(80,000) = 0.4 %, for uniform draws less.
	for _, c := range []struct {
		name string
		got  *Param
		want float64
	}{
		{"he", InitHe(NewParam("w", 400, 100), newRand(1)), math.Sqrt(2. / 100)},
		{"he of a convolution", InitHe(NewParam("w", 400, 25, 2, 2), newRand(1)), math.Sqrt(2. / 100)},
		{"xavier", InitXavier(NewParam("w", 400, 100), newRand(1)), math.Sqrt(2. / 500)},
		{"linear", InitLinear(NewParam("w", 2, 200, 100), newRand(1)), 1 / math.Sqrt(3*100)},
	} {
		got := math.Sqrt(device.Default().SumSquares(c.got.Data) / float64(len(c.got.Data)))
		if math.Abs(got/c.want-1) > 0.02 {
			t.Errorf("%s: standard deviation %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOrthogonal(t *testing.T) {
	for _, shape := range [][]int{{3, 8}, {8, 3}, {2, 5, 5}, {6, 2, 3, 3}, {40, 2, 3, 3}} {
		p := InitOrthogonal(NewParam("w", shape...), 2, newRand(1))
		members, rows, cols := 1, shape[0], len(p.Data)/shape[0]
		if len(shape) == 3 {
			members, rows, cols = shape[0], shape[1], shape[2]
		}
		for m := range members {
			w := p.Data[m*rows*cols : (m+1)*rows*cols]
			n := min(rows, cols)
			gram, g := make([]float32, n*n), NewGraph()
			if rows <= cols {
				g.gemm(false, true, n, n, cols, w, w, 0, gram)
			} else {
				g.gemm(true, false, n, n, rows, w, w, 0, gram)
			}
			for i, v := range gram {
				want := 0.
				if i/n == i%n {
					want = 4 // gain squared
				}
				if math.Abs(float64(v)-want) > 1e-5 {
					t.Fatalf("shape %v: product (%d,%d) of two directions is %v, want %v", shape, i/n, i%n, v, want)
				}
			}
		}
	}
}

func TestSpatialSoftmaxFindsTheBrightPixel(t *testing.T) {
	g := NewGraph()
	x := g.Input(1, 3, 5, 2)
	x.Value[(0*5+4)*2+0] = 50 // channel 0: top right
	x.Value[(2*5+2)*2+1] = 50 // channel 1: bottom middle
	y := g.SpatialSoftmax(x, 1)
	g.Forward()
	for i, want := range []float32{1, -1, 0, 1} {
		if math.Abs(float64(y.Value[i]-want)) > 1e-5 {
			t.Errorf("coordinates %v, want [1 -1 0 1]", y.Value)
			break
		}
	}
}

func TestConvAgainstItsDefinition(t *testing.T) {
	rng := newRand(5)
	for _, c := range []struct{ B, C, H, W, O, K, stride, pad int }{
		{1, 1, 5, 5, 1, 3, 1, 0}, {3, 2, 9, 7, 4, 3, 2, 1}, {2, 3, 30, 30, 2, 5, 1, 2}, {70, 2, 5, 5, 3, 3, 2, 1}, {2, 3, 6, 6, 5, 1, 1, 0}, {2, 3, 6, 6, 5, 1, 2, 0},
		{1, 20, 25, 40, 2, 5, 1, 2}, {2, 20, 49, 40, 2, 5, 2, 2}, // several tiles an image
	} {
		g := NewGraph()
		x, w, b := g.Input(c.B, c.H, c.W, c.C), g.Input(c.O, c.C, c.K, c.K), g.Input(c.O)
		y := g.Conv2DReLU(x, w, b, c.stride, c.pad)
		for _, n := range []*Node{x, w, b} {
			randomise(n.Value, rng)
		}
		g.Forward()
		OH, OW := y.Shape[1], y.Shape[2]
		want := make([]float32, 0, len(y.Value))
		for i := range c.B {
			for oy := range OH {
				for ox := range OW {
					for o := range c.O {
						s := float64(b.Value[o])
						for k := range c.C * c.K * c.K {
							ch, iy, ix := k/(c.K*c.K), oy*c.stride+k/c.K%c.K-c.pad, ox*c.stride+k%c.K-c.pad
							if iy >= 0 && iy < c.H && ix >= 0 && ix < c.W {
								s += float64(w.Value[o*c.C*c.K*c.K+k]) * float64(x.Value[((i*c.H+iy)*c.W+ix)*c.C+ch])
							}
						}
						want = append(want, float32(max(0, s)))
					}
				}
			}
		}
		if e := apart(y.Value, want); e > 1e-5 { // float32 sums of at most 500 products
			t.Errorf("%+v: off by %.2g of the largest pixel", c, e)
		}
	}
}

// TestConvGradientAcrossTiles uses that a convolution without bias is linear: for
// a derivative c of its result and any v, <dx,v> = <c,conv(v)>, and the same for
// the kernels. It reaches sizes that differences element by element do not.
func TestConvGradientAcrossTiles(t *testing.T) {
	dot := func(a, b []float32) (s, size float64) {
		for i, v := range a {
			s += float64(v) * float64(b[i])
			size += math.Abs(float64(v) * float64(b[i]))
		}
		return s, size
	}
	for _, c := range []struct{ B, C, H, W, O, K, stride, pad int }{
		{2, 20, 25, 40, 3, 5, 1, 2}, {3, 20, 49, 40, 2, 5, 2, 2}, {70, 2, 9, 9, 3, 3, 2, 1}, {3, 8, 120, 9, 4, 3, 1, 1},
	} {
		rng := newRand(6)
		g := NewGraph()
		x, w := g.InputGrad(c.B, c.H, c.W, c.C), g.InputGrad(c.O, c.C, c.K, c.K)
		y := g.Conv2D(x, w, nil, c.stride, c.pad)
		randomise(x.Value, rng)
		randomise(w.Value, rng)
		seed := randomise(make([]float32, len(y.Value)), rng)
		g.Forward()
		g.BackwardFrom(y, seed)
		for _, n := range []*Node{x, w} {
			keep := slices.Clone(n.Value)
			randomise(n.Value, rng)
			g.Forward()
			got, _ := dot(n.Grad, n.Value)
			want, size := dot(seed, y.Value)
			if math.Abs(got-want) > 1e-6*size { // float32 rounding of the terms
				t.Errorf("%+v: derivative along a direction is %v, want %v", c, got, want)
			}
			copy(n.Value, keep)
		}
	}
}

func TestPixelsShiftAndRepeatTheEdge(t *testing.T) {
	const h, w, c = 3, 4, 3
	src := make([]byte, h*w*c)
	for i := range src {
		src[i] = byte(7 * i)
	}
	dst := make([]float32, len(src))
	for dy := -4; dy <= 4; dy++ {
		for dx := -5; dx <= 5; dx++ {
			Pixels(dst, src, h, w, c, dx, dy)
			for i, got := range dst {
				y, x, k := i/(w*c), i/c%w, i%c
				sy, sx := max(0, min(h-1, y-dy)), max(0, min(w-1, x-dx))
				if want := float32(src[(sy*w+sx)*c+k])/255 - 0.5; math.Abs(float64(got-want)) > 1e-7 {
					t.Fatalf("shift (%d,%d): pixel (%d,%d,%d) is %v, want %v", dx, dy, k, y, x, got, want)
				}
			}
		}
	}
	seen := map[[2]int]bool{}
	rng := newRand(1)
	for range 5000 { // each of 81 shifts is missed with probability e^-61
		dx, dy := DrawShift(4, rng)
		seen[[2]int{dx, dy}] = true
	}
	if len(seen) != 81 {
		t.Errorf("%d shifts drawn, want all 81 of -4..4 each way", len(seen))
	}
}

func TestClonesStandAlone(t *testing.T) {
	mlp := NewMLP("a", MLPConfig{In: 2, Hidden: []int{3}, Out: 1, LayerNorm: true, Act: Tanh}, newRand(1))
	conv := NewConvNet("a", ConvConfig{Channels: 1, H: 5, W: 5, Layers: []ConvLayer{{2, 3, 1, 0}}}, newRand(1))
	for _, c := range []struct{ was, is []*Param }{{mlp.Params(), mlp.Clone("b").Params()}, {conv.Params(), conv.Clone("b").Params()}} {
		for i, p := range c.is {
			if q := c.was[i]; !slices.Equal(p.Data, q.Data) || &p.Data[0] == &q.Data[0] || p.Name != "b"+strings.TrimPrefix(q.Name, "a") {
				t.Errorf("%s is no copy of %s", p.Name, q.Name)
			}
		}
	}
	if got, want := Count(mlp.Params()), 3*2+3+3+3+3+1; got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}

func TestDrQEncoderSize(t *testing.T) {
	n := NewConvNet("e", ConvConfig{Channels: 9, H: 84, W: 84, Layers: DrQLayers()}, newRand(1))
	if want := [3]int{35, 35, 32}; n.Out != want { // 39,200 features, as in DrQ
		t.Errorf("result %v, want %v", n.Out, want)
	}
}
