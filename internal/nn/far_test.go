//go:build cgo && !purego

package nn

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn/device"
	"github.com/rapport-rl/rapport/internal/nn/device/cuda/cudatest"
)

// farCases are losses of x (4,6), images im (2,4,6,8) and params, each of which
// uses some of the operations.
var farCases = []struct {
	name string
	f    func(g *Graph, x, im *Node, p func(shape ...int) *Node) *Node
}{
	{"functions", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		w := p(4, 6)
		y := g.Mul(x, w)
		parts := []*Node{g.ReLU(y), g.Tanh(y), g.Sigmoid(y), g.SiLU(y), g.GELU(y), g.Mish(y), g.Softplus(y), g.Exp(g.Clamp(y, -1, 1)), g.Square(y),
			g.LeakyReLU(y, 0.1), g.Abs(y), g.Neg(y), g.AddScalar(y, 2), g.Log(g.AddScalar(g.Square(y), 1)), g.Sqrt(g.AddScalar(g.Abs(y), 1))}
		return g.Mean(g.Mul(g.Concat(parts...), p(4, 6*15)))
	}},
	{"pairs of every fit", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		row, one, col := p(6), p(), p(4, 1)
		y := g.Add(g.Sub(g.Mul(g.Div(x, g.AddScalar(g.Square(row), 1)), one), col), g.Add(p(4, 6), x))
		z := g.Max(g.Min(y, g.Mul(x, row)), g.Sub(p(4, 6), one))
		return g.Sum(g.Square(g.Add(z, row)))
	}},
	{"sums", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		y := g.Add(x, p(4, 6))
		return g.Add(g.Mean(g.Square(g.SumLast(y))), g.Add(g.Mean(g.Square(g.MeanFirst(y))), g.Add(g.Sum(g.Square(g.MeanLast(y))),
			g.Add(g.Sum(g.Square(g.MinFirst(y))), g.Sum(g.LogSumExp(y))))))
	}},
	{"ensemble", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		h := g.LayerNormReLU(g.Linear(x, p(3, 8, 6), p(3, 8)), p(3, 8), p(3, 8))
		h = g.LinearReLU(h, p(3, 7, 8), p(3, 7))
		return g.Mean(g.Square(g.Linear(h, p(3, 1, 7), nil)))
	}},
	{"products", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		a := g.MatMul(g.Reshape(x, 2, 2, 6), p(2, 5, 6), false, true)
		b := g.MatMul(p(2, 2, 3), g.Transpose(a), true, true)
		return g.Add(g.Mean(g.Square(b)), g.Mean(g.Square(g.MatMul(x, p(4, 3), true, false))))
	}},
	{"layer norm without gain", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		return g.Mean(g.Mul(g.LayerNorm(g.Linear(x, p(9, 6), p(9)), nil, nil), p(4, 9)))
	}},
	{"losses", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		return g.Add(g.MSE(x, p(4, 6)), g.Huber(p(4, 6), x, 0.7))
	}},
	{"softmax and pieces", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		y := g.Softmax(g.Mul(x, p(4, 6)))
		return g.Sum(g.Square(g.Concat(g.Slice(y, 1, 3), g.Select(p(3, 2), []int{2, 0, 2, 1}))))
	}},
	{"attention", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		q := g.Linear(g.Reshape(x, 2, 2, 6), p(6, 6), p(6))
		k := g.Permute(p(6, 2, 2), 1, 2, 0)
		return g.Add(g.Mean(g.Square(g.Attention(q, k, g.Reshape(x, 2, 2, 6), 2, true))), g.Mean(g.Square(g.Attention(q, k, q, 3, false))))
	}},
	{"convolutions", func(g *Graph, _, im *Node, p func(...int) *Node) *Node {
		y := g.Conv2DReLU(im, p(5, 8, 3, 3), p(5), 1, 1)
		y = g.Conv2D(y, p(16, 5, 1, 1), nil, 1, 0)
		y = g.GroupNorm(y, p(16), p(16), 2)
		y = g.ConvT(y, p(16, 4, 2, 2), nil, Window{StrideH: 2, StrideW: 2})
		return g.Mean(g.Square(g.SpatialSoftmax(y, 0.5)))
	}},
	{"signals", func(g *Graph, x, im *Node, p func(...int) *Node) *Node {
		s := g.Conv1D(g.Reshape(im, 2, 24, 8), p(6, 8, 1, 5), p(6), 2, 2)
		s = g.FiLM(s, g.Reshape(x, 2, 12))
		return g.Mean(g.Square(g.ConvT1D(s, p(6, 3, 1, 4), p(3), 2, 1)))
	}},
	{"pooling", func(g *Graph, _, im *Node, p func(...int) *Node) *Node {
		y := g.Mul(im, p(8))
		return g.Add(g.Mean(g.Square(g.MaxPool(y, 3, 2, 1))), g.Add(g.Sum(g.Square(g.MeanPixels(g.AvgPool(y, 2)))), g.Mean(g.Square(g.Upsample(y, 2, 3)))))
	}},
	{"batch norm", func(g *Graph, _, im *Node, p func(...int) *Node) *Node {
		y := g.BatchNormTrain(im, p(8), p(8), p(8).param, p(8).param, 0.1, 1e-3)
		z := g.BatchNorm(y, p(8), p(8), g.Const([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 8), g.Const([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 8), 1e-3)
		return g.Mean(g.Mul(z, p(2, 4, 6, 8)))
	}},
	{"large in between", func(g *Graph, _, im *Node, p func(...int) *Node) *Node {
		y := g.Tanh(g.Linear(g.Reshape(im, 48, 8), p(400, 8), p(400)))
		if len(y.Value) <= small {
			panic("not large")
		}
		return g.Mean(g.Square(g.Linear(y, p(2, 400), p(2))))
	}},
	{"the processor's own", func(g *Graph, x, _ *Node, p func(...int) *Node) *Node {
		y := g.Mul(x, p(4, 6))
		z := g.Custom([]*Node{y, g.StopGrad(x)}, []int{4, 6}, func(n *Node) {
			for i := range n.Value {
				n.Value[i] = y.Value[i]*y.Value[i] + x.Value[i]
			}
		}, func(n *Node) {
			for i, d := range n.Grad {
				y.Grad[i] += 2 * d * y.Value[i]
			}
		})
		return g.Sum(g.Mul(g.Tanh(z), y))
	}},
}

// farStep builds a case and trains it for some steps; it returns all there is to
// see.
func farStep(d device.Device, i int) map[string][]float32 {
	rng := newRand(uint64(i))
	g := NewGraphOn(d)
	var ps []*Param
	x, im := g.InputGrad(4, 6), g.InputGrad(2, 4, 6, 8)
	loss := farCases[i].f(g, x, im, func(shape ...int) *Node {
		p := draw(rng, shape...)
		p.Push()
		p.Name = string(rune('a' + len(ps)))
		ps = append(ps, p)
		return g.Param(p)
	})
	adam := NewAdam(ps, AdamConfig{LR: 0.01, ClipNorm: 0.5, WeightDecay: 0.1})
	seen := map[string][]float32{}
	for step := range 4 { // plain, recorded, and twice again
		randomise(x.Value, rng)
		randomise(im.Value, rng)
		if step%2 == 0 {
			g.ForwardTo(loss)
		} else {
			g.Forward()
		}
		ZeroGrad(ps)
		g.Backward(loss)
		adam.Step()
		seen["loss"] = append(seen["loss"], loss.Value[0])
		seen["norm"] = append(seen["norm"], float32(adam.Norm()))
		uses := func(n *Node) bool { return slices.Contains(g.bwd[loss].nodes, n) }
		if uses(x) {
			seen["dx"] = append(seen["dx"], x.Grad...)
		}
		if uses(im) {
			seen["dim"] = append(seen["dim"], im.Grad...)
		}
	}
	for _, t := range append(Tensors(ps), adam.State()...) {
		seen[t.Name] = slices.Clone(t.Data)
	}
	return seen
}

func TestAcceleratorLearnsAsTheProcessor(t *testing.T) {
	d := cudatest.Open(t)
	for i, c := range farCases {
		t.Run(c.name, func(t *testing.T) {
			want, got := farStep(device.Portable{}, i), farStep(d, i)
			for name, w := range want {
				// 1e-4: Adam divides by the root of a square, which makes of a gradient near
				// zero one of the size of the others.
				if e := apart(got[name], w); !(e < 1e-4) || len(got[name]) != len(w) {
					t.Errorf("%s differs by %v: %v, want %v", name, e, got[name][:min(8, len(w))], w[:min(8, len(w))])
				}
			}
			again := farStep(d, i)
			for name, w := range got {
				if !slices.Equal(again[name], w) {
					t.Errorf("%s: the same steps gave other bits", name)
				}
			}
		})
	}
}

// Reading what is only on the accelerator must fail, not be wrong.
func TestLargeNodesInBetweenAreNotShown(t *testing.T) {
	d := cudatest.Open(t)
	g := NewGraphOn(d)
	x := g.Input(64, 512)
	y := g.Tanh(x)
	z := g.Mean(y)
	x.Value[0] = 1
	g.ForwardTo(z)
	if got, want := z.Value[0], float32(math.Tanh(1)/float64(len(x.Value))); math.Abs(float64(got-want)) > 1e-9 {
		t.Errorf("mean is %v, want %v", got, want)
	}
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		mustPanic(t, func() { t.Errorf("what nobody has asked for is %v", y.Value[0]) })
	}()
	g.ForwardTo(y) // asked for
	if got := y.Value[0]; math.Abs(float64(got)-math.Tanh(1)) > 1e-6 {
		t.Errorf("y is %v", got)
	}
}

// What is kept follows every pass that computes it, the recorded ones too, whatever
// was asked for.
func TestKeptNodesFollow(t *testing.T) {
	d := cudatest.Open(t)
	g := NewGraphOn(d)
	x := g.Input(64, 512)
	y := g.Tanh(x)
	v := g.Reshape(y, 512, 64)
	z, beside := g.Mean(v), g.Mean(x)
	g.Keep(v, z, x)
	for i, pass := range []func(){g.Forward, g.Forward, g.Forward, func() { g.ForwardTo(z) }, func() { g.ForwardTo(z) }, func() { g.ForwardTo(y) }} {
		x.Value[7] = float32(i + 1)
		pass()
		want := math.Tanh(float64(i + 1))
		for name, n := range map[string]*Node{"what is kept": v, "the node that it shows": y} {
			if got := float64(n.Value[7]); math.Abs(got-want) > 1e-6 {
				t.Errorf("pass %d: %s is %v, want %v", i, name, got, want)
			}
		}
	}
	x.Value[7] = 0.5
	g.ForwardTo(beside)
	if got := float64(y.Value[7]); math.Abs(got-math.Tanh(6)) > 1e-6 {
		t.Errorf("a pass beside it made %v of what is kept", got)
	}
}

// watched counts the calls that add rows.
type watched struct {
	device.Accelerator
	rows int
}

func (w *watched) Axpy(a float32, dst, src []float32) {
	w.rows++
	w.Accelerator.Axpy(a, dst, src)
}

// What runs on the processor does not go to the card and back for each row.
func TestLogSumExpLeavesTheCardAlone(t *testing.T) {
	w := &watched{Accelerator: cudatest.Open(t)}
	g := NewGraphOn(w)
	x := g.InputGrad(64, 5)
	loss := g.Sum(g.LogSumExp(x))
	g.ForwardTo(loss)
	g.Backward(loss)
	for i, d := range x.Grad {
		if math.Abs(float64(d)-0.2) > 1e-6 {
			t.Fatalf("gradient %d is %v, want 1/5", i, d)
		}
	}
	if w.rows > 0 {
		t.Errorf("%d calls for 64 rows, want none", w.rows)
	}
}

func TestParamsFollow(t *testing.T) {
	d := cudatest.Open(t)
	p, q := NewParam("p", 3).Fill(1), NewParam("p", 3).Fill(2)
	g := NewGraphOn(d)
	loss := g.Sum(g.Mul(g.Param(p), g.Frozen(q)))
	adam := NewAdam([]*Param{p}, AdamConfig{LR: 0.5})
	g.ForwardTo(loss)
	g.Backward(loss)
	adam.Step()

	// A graph on the processor sees what was learned.
	h := NewGraphOn(device.Portable{})
	y := h.Sum(h.Frozen(p))
	h.ForwardTo(y)
	if got := y.Value[0]; math.Abs(float64(got)-1.5) > 1e-4 {
		t.Errorf("on the processor the sum is %v, want 1.5", got)
	}
	// One without a twin, and one with, take it over.
	r := NewParam("p", 3)
	Copy([]*Param{r}, []*Param{p})
	Lerp([]*Param{q}, []*Param{p}, 0.5)
	if got := r.Data[0]; math.Abs(float64(got)-0.5) > 1e-4 {
		t.Errorf("copy is %v, want 0.5", got)
	}
	Pull([]*Param{q})
	if got := q.Data[0]; math.Abs(float64(got)-1.25) > 1e-4 {
		t.Errorf("average is %v, want 1.25", got)
	}
	// What is assigned is used there.
	if err := Assign([]*Param{p}, []Tensor{{Name: "p", Shape: []int{3}, Data: []float32{4, 4, 4}}}); err != nil {
		t.Fatal(err)
	}
	g.ForwardTo(loss)
	if got := loss.Value[0]; math.Abs(float64(got)-15) > 1e-3 {
		t.Errorf("loss is %v, want 15", got)
	}
	if got := GradNorm([]*Param{p}); math.Abs(got-2*math.Sqrt(3)) > 1e-5 {
		t.Errorf("norm of the gradient is %v", got)
	}
	ps := []*Param{p}
	w := h.Sum(h.Param(p))
	h.ForwardTo(w)
	if got := mustPanic(t, func() { h.Backward(w) }); got != "nn: Backward: a param is trained on the processor and on an accelerator" {
		t.Errorf("panic %v", got)
	}
	runtime.KeepAlive(ps)
}

// Optimisers go on from a state on the other side.
func TestAdamGoesOnFromTheOtherSide(t *testing.T) {
	d := cudatest.Open(t)
	run := func(first, second device.Device) []float32 {
		var data []float32
		var state []Tensor
		for i, dev := range []device.Device{first, second} {
			p := NewParam("p", 5).Fill(0.5)
			if data != nil {
				copy(p.Data, data)
			}
			g := NewGraphOn(dev)
			loss := g.Sum(g.Square(g.Square(g.Param(p))))
			adam := NewAdam([]*Param{p}, AdamConfig{LR: 0.1})
			if state != nil {
				if err := adam.Restore(state); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 + i {
				g.ForwardTo(loss)
				ZeroGrad([]*Param{p})
				g.Backward(loss)
				adam.Step()
			}
			if adam.Steps() != uint64(3+i*4) {
				t.Errorf("%d steps", adam.Steps())
			}
			data = slices.Clone(Tensors([]*Param{p})[0].Data)
			state = nil
			for _, s := range adam.State() {
				state = append(state, Tensor{Name: s.Name, Shape: s.Shape, Data: slices.Clone(s.Data)})
			}
		}
		return data
	}
	want := run(device.Portable{}, device.Portable{})
	for _, got := range [][]float32{run(d, device.Portable{}), run(device.Portable{}, d), run(d, d)} {
		if e := apart(got, want); e > 1e-5 {
			t.Errorf("params are %v, want %v", got, want)
		}
	}
}
