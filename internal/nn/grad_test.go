package nn

import (
	"math"
	"testing"
)

// gradCase builds an expression over params of the given shapes; its gradient
// is checked at every element of every param.
type gradCase struct {
	name   string
	shapes [][]int
	build  func(g *Graph, p []*Node) *Node
	// at moves the drawn numbers into the operation's domain, away from kinks.
	at func(x float32) float32
}

func positive(x float32) float32 { return float32(math.Abs(float64(x))) + 0.5 }

// offKink keeps numbers at least 0.1 from zero, ten steps of the difference.
func offKink(x float32) float32 {
	if x < 0 {
		return x - 0.1
	}
	return x + 0.1
}

// tenths rounds, so that an operand shifted by 0.05 never comes near a tie.
func tenths(x float32) float32 { return float32(math.Round(float64(x)*10) / 10) }

func shapes(s ...[]int) [][]int { return s }

func gradCases() []gradCase {
	one := func(name string, at func(float32) float32, f func(g *Graph, x *Node) *Node) gradCase {
		return gradCase{name, shapes([]int{3, 5}), func(g *Graph, p []*Node) *Node { return f(g, p[0]) }, at}
	}
	two := func(name string, a, b []int, at func(float32) float32, f func(g *Graph, a, b *Node) *Node) gradCase {
		return gradCase{name, shapes(a, b), func(g *Graph, p []*Node) *Node { return f(g, p[0], p[1]) }, at}
	}
	cases := []gradCase{
		one("relu", offKink, (*Graph).ReLU),
		one("leaky relu", offKink, func(g *Graph, x *Node) *Node { return g.LeakyReLU(x, 0.2) }),
		one("tanh", nil, (*Graph).Tanh),
		one("sigmoid", nil, (*Graph).Sigmoid),
		one("silu", nil, (*Graph).SiLU),
		one("gelu", nil, (*Graph).GELU),
		one("mish", nil, (*Graph).Mish),
		one("softplus", nil, (*Graph).Softplus),
		one("exp", nil, (*Graph).Exp),
		one("log", positive, (*Graph).Log),
		one("sqrt", positive, (*Graph).Sqrt),
		one("abs", offKink, (*Graph).Abs),
		one("square", nil, (*Graph).Square),
		one("neg", nil, (*Graph).Neg),
		one("scale", nil, func(g *Graph, x *Node) *Node { return g.Scale(x, 3) }),
		one("add scalar", nil, func(g *Graph, x *Node) *Node { return g.AddScalar(x, 3) }),
		one("clamp", func(x float32) float32 { return offKink(x) * 4 }, func(g *Graph, x *Node) *Node { return g.Clamp(x, -0.3, 5) }),
		one("sum", nil, (*Graph).Sum),
		one("mean", nil, (*Graph).Mean),
		one("sum last", nil, (*Graph).SumLast),
		one("mean last", nil, (*Graph).MeanLast),
		one("mean first", nil, (*Graph).MeanFirst),
		one("min first", nil, (*Graph).MinFirst),
		one("log sum exp", nil, (*Graph).LogSumExp),
		one("softmax", nil, (*Graph).Softmax),
		one("reshape", nil, func(g *Graph, x *Node) *Node { return g.Square(g.Reshape(x, 5, 3)) }),
		one("slice", nil, func(g *Graph, x *Node) *Node { return g.Slice(x, 1, 4) }),
		one("select with a row twice", nil, func(g *Graph, x *Node) *Node { return g.Select(x, []int{2, 0, 2}) }),
		one("transpose", nil, (*Graph).Transpose),
		one("layer norm without gain", nil, func(g *Graph, x *Node) *Node { return g.LayerNorm(x, nil, nil) }),
		one("one node used by several", nil, func(g *Graph, x *Node) *Node {
			return g.Concat(g.Tanh(x), g.Square(x), g.Mul(x, x))
		}),
		one("custom", nil, func(g *Graph, x *Node) *Node {
			return g.Custom([]*Node{x}, []int{3}, func(out *Node) {
				for i := range out.Value {
					out.Value[i] = x.Value[i] * x.Value[i]
				}
			}, func(out *Node) {
				for i, d := range out.Grad {
					x.Grad[i] += 2 * x.Value[i] * d
				}
			})
		}),
		one("sum with itself", nil, func(g *Graph, x *Node) *Node { return g.Add(x, x) }),
		two("concat", []int{3, 2}, []int{3, 4}, nil, func(g *Graph, a, b *Node) *Node { return g.Concat(a, b) }),
		two("mse", []int{3, 2}, []int{3, 2}, nil, (*Graph).MSE),
		two("huber", []int{5, 5}, []int{5, 5}, nil, func(g *Graph, a, b *Node) *Node { return g.Huber(a, b, 0.7) }),
		two("mat mul", []int{3, 4}, []int{4, 2}, nil, func(g *Graph, a, b *Node) *Node { return g.MatMul(a, b, false, false) }),
		two("mat mul, first transposed", []int{4, 3}, []int{4, 2}, nil, func(g *Graph, a, b *Node) *Node { return g.MatMul(a, b, true, false) }),
		two("mat mul, second transposed", []int{3, 4}, []int{2, 4}, nil, func(g *Graph, a, b *Node) *Node { return g.MatMul(a, b, false, true) }),
		two("mat mul, both transposed", []int{4, 3}, []int{2, 4}, nil, func(g *Graph, a, b *Node) *Node { return g.MatMul(a, b, true, true) }),
		two("mat mul of stacks", []int{2, 3, 4}, []int{2, 2, 4}, nil, func(g *Graph, a, b *Node) *Node { return g.MatMul(a, b, false, true) }),
		two("conv without bias", []int{2, 6, 5, 3}, []int{4, 3, 3, 3}, nil, func(g *Graph, x, w *Node) *Node { return g.Conv2D(x, w, nil, 1, 1) }),
		two("conv 1x1 of one image", []int{1, 4, 5, 3}, []int{4, 3, 1, 1}, nil, func(g *Graph, x, w *Node) *Node { return g.Conv2D(x, w, nil, 1, 0) }),
		two("conv, one-dimensional", []int{2, 1, 9, 3}, []int{4, 3, 1, 5}, nil, func(g *Graph, x, w *Node) *Node {
			return g.Conv(x, w, nil, Window{StrideW: 2, PadW: 2}, false)
		}),
		two("conv of one channel", []int{2, 24, 24, 1}, []int{2, 1, 3, 3}, nil, func(g *Graph, x, w *Node) *Node {
			return g.Conv2D(x, w, nil, 1, 1)
		}),
		two("transposed conv without bias", []int{2, 3, 4, 2}, []int{2, 3, 3, 2}, nil, func(g *Graph, x, w *Node) *Node { return g.ConvT(x, w, nil, Window{}) }),
		{"linear", shapes([]int{4, 3}, []int{5, 3}, []int{5}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"linear without bias", shapes([]int{4, 3}, []int{5, 3}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], nil) }, nil},
		{"linear on one row", shapes([]int{1, 3}, []int{5, 3}, []int{5}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"linear with one output", shapes([]int{4, 3}, []int{1, 3}, []int{1}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"linear on three axes", shapes([]int{2, 4, 3}, []int{5, 3}, []int{5}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"ensemble seeing the same", shapes([]int{4, 3}, []int{2, 5, 3}, []int{2, 5}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"ensemble, each its own", shapes([]int{2, 4, 3}, []int{2, 5, 3}, []int{2, 5}), func(g *Graph, p []*Node) *Node { return g.Linear(p[0], p[1], p[2]) }, nil},
		{"layer norm", shapes([]int{4, 6}, []int{6}, []int{6}), func(g *Graph, p []*Node) *Node { return g.LayerNorm(p[0], p[1], p[2]) }, nil},
		{"layer norm of an ensemble", shapes([]int{2, 3, 6}, []int{2, 6}, []int{2, 6}), func(g *Graph, p []*Node) *Node { return g.LayerNorm(p[0], p[1], p[2]) }, nil},
		{"affine", shapes([]int{2, 4, 3}, []int{3}, []int{3}), func(g *Graph, p []*Node) *Node { return g.Affine(p[0], p[1], p[2]) }, nil},
		{"batch norm", shapes([]int{2, 4, 3}, []int{3}, []int{3}, []int{3}, []int{3}), func(g *Graph, p []*Node) *Node {
			return g.BatchNorm(p[0], p[1], p[2], p[3], p[4], 1e-5)
		}, positive},
		{"batch norm in training", shapes([]int{3, 4, 3}, []int{3}, []int{3}), func(g *Graph, p []*Node) *Node {
			return g.BatchNormTrain(p[0], p[1], p[2], nil, nil, 0.1, 1e-5)
		}, nil},
		{"mean of pixels", shapes([]int{2, 3, 4, 3}), func(g *Graph, p []*Node) *Node { return g.MeanPixels(p[0]) }, nil},
		{"group norm", shapes([]int{2, 3, 4}, []int{4}, []int{4}), func(g *Graph, p []*Node) *Node { return g.GroupNorm(p[0], p[1], p[2], 2) }, nil},
		{"conv", shapes([]int{3, 5, 6, 2}, []int{4, 2, 3, 3}, []int{4}), func(g *Graph, p []*Node) *Node { return g.Conv2D(p[0], p[1], p[2], 2, 1) }, nil},
		{"conv, stride beyond the kernel", shapes([]int{2, 7, 7, 2}, []int{3, 2, 2, 2}, []int{3}), func(g *Graph, p []*Node) *Node { return g.Conv2D(p[0], p[1], p[2], 3, 0) }, nil},
		{"conv, padding as large as the kernel", shapes([]int{1, 2, 2, 1}, []int{1, 1, 3, 3}, []int{1}), func(g *Graph, p []*Node) *Node { return g.Conv2D(p[0], p[1], p[2], 1, 3) }, nil},
		{"transposed conv", shapes([]int{2, 3, 4, 3}, []int{3, 2, 3, 3}, []int{2}), func(g *Graph, p []*Node) *Node {
			return g.ConvT(p[0], p[1], p[2], Window{2, 2, 1, 1})
		}, nil},
		{"spatial softmax", shapes([]int{2, 4, 5, 3}), func(g *Graph, p []*Node) *Node { return g.SpatialSoftmax(p[0], 0.7) }, nil},
		{"max pool", shapes([]int{2, 5, 5, 2}), func(g *Graph, p []*Node) *Node { return g.MaxPool(p[0], 3, 2, 1) }, nil},
		{"average pool", shapes([]int{2, 4, 6, 2}), func(g *Graph, p []*Node) *Node { return g.AvgPool(p[0], 2) }, nil},
		{"permute", shapes([]int{2, 3, 4, 2}), func(g *Graph, p []*Node) *Node { return g.Permute(p[0], 3, 0, 2, 1) }, nil},
		{"permute, last axis in place", shapes([]int{2, 3, 4, 2}), func(g *Graph, p []*Node) *Node { return g.Permute(p[0], 0, 2, 1, 3) }, nil},
		{"layer norm with an epsilon of its own", shapes([]int{4, 6}, []int{6}, []int{6}), func(g *Graph, p []*Node) *Node {
			return g.LayerNormEps(p[0], p[1], p[2], 0.3)
		}, nil},
		{"upsample", shapes([]int{2, 2, 3, 2}), func(g *Graph, p []*Node) *Node { return g.Upsample(p[0], 2, 3) }, nil},
	}
	for _, op := range []struct {
		name string
		at   func(float32) float32
		f    func(g *Graph, a, b *Node) *Node
	}{
		{"add", nil, (*Graph).Add}, {"sub", nil, (*Graph).Sub}, {"mul", nil, (*Graph).Mul},
		{"div", positive, (*Graph).Div},
		{"min", tenths, func(g *Graph, a, b *Node) *Node { return g.Min(a, g.AddScalar(b, 0.05)) }},
		{"max", tenths, func(g *Graph, a, b *Node) *Node { return g.Max(a, g.AddScalar(b, 0.05)) }},
	} {
		for _, b := range []struct {
			name  string
			shape []int
		}{{"", []int{2, 3, 4}}, {" with a scalar", nil}, {" with rows", []int{4}}, {" with matrices", []int{3, 4}}, {" with columns", []int{2, 3, 1}}, {" with members", []int{2, 1, 1}}} {
			cases = append(cases, two(op.name+b.name, []int{2, 3, 4}, b.shape, op.at, op.f))
		}
	}
	return append(cases, sequenceCases()...)
}

// TestGradients compares each operation's gradient with central differences of
// a loss sum(c*y) whose coefficients c are drawn, added up in float64.
//
// With a step h = 0.01 the difference errs by h^2 f”'/6, about 2e-5 for the
// curvatures here, and by float32 rounding of y, 6e-8/h = 6e-6 per element of y
// that moves. The tolerance of 2e-3 relative to the largest element of the
// gradient leaves room for the sums over hundreds of elements; a wrong factor or
// a missing term is off by percents.
func TestGradients(t *testing.T) {
	const h, tol = 0.01, 2e-3
	for _, c := range gradCases() {
		t.Run(c.name, func(t *testing.T) {
			rng := newRand(7)
			g := NewGraph()
			var ps []*Param
			var nodes []*Node
			for _, s := range c.shapes {
				p := draw(rng, s...)
				for i, v := range p.Data {
					if c.at != nil {
						p.Data[i] = c.at(v)
					}
				}
				ps = append(ps, p)
				nodes = append(nodes, g.Param(p))
			}
			y := c.build(g, nodes)
			coef := randomise(make([]float32, len(y.Value)), rng)
			eval := func() float64 {
				g.Forward()
				var s float64
				for i, v := range y.Value {
					s += float64(coef[i]) * float64(v)
				}
				return s
			}
			eval()
			g.BackwardFrom(y, coef)
			for k, p := range ps {
				got := append([]float32(nil), p.Grad...)
				want := make([]float32, len(got))
				for i, v := range p.Data {
					p.Data[i] = v + h
					up, hi := eval(), p.Data[i]
					p.Data[i] = v - h
					down, lo := eval(), p.Data[i]
					p.Data[i] = v
					want[i] = float32((up - down) / (float64(hi) - float64(lo)))
				}
				if e := apart(got, want); !(e <= tol) {
					t.Errorf("gradient of operand %d is off by %.2g of its largest element\ngot  %v\nwant %v", k, e, got, want)
				}
				var big float64
				for _, v := range want {
					big = max(big, math.Abs(float64(v)))
				}
				if big < 1e-3 {
					t.Errorf("operand %d has no gradient to compare", k)
				}
			}
		})
	}
}

// TestSecondPassAddsToParams holds what Backward promises: Params accumulate,
// nodes do not.
func TestSecondPassAddsToParams(t *testing.T) {
	rng := newRand(3)
	for _, c := range gradCases() {
		g := NewGraph()
		var ps []*Param
		var nodes []*Node
		for _, s := range c.shapes {
			p := draw(rng, s...)
			for i, v := range p.Data {
				p.Data[i] = positive(v)
			}
			ps = append(ps, p)
			// The operation sees a node of its own, whose gradient starts anew.
			nodes = append(nodes, g.Scale(g.Param(p), 1))
		}
		loss := g.Sum(g.Square(c.build(g, nodes)))
		g.Forward()
		g.Backward(loss)
		once := make([][]float32, len(ps))
		inner := make([][]float32, len(ps))
		for i, p := range ps {
			once[i] = append(once[i], p.Grad...)
			inner[i] = append(inner[i], nodes[i].Grad...)
		}
		g.Forward()
		g.Backward(loss)
		for i, p := range ps {
			for j, v := range p.Grad {
				if want := 2 * once[i][j]; v != want {
					t.Fatalf("%s: gradient after two passes %v, want %v", c.name, v, want)
				}
				if nodes[i].Grad[j] != inner[i][j] {
					t.Fatalf("%s: node's gradient in the second pass %v, in the first %v", c.name, nodes[i].Grad[j], inner[i][j])
				}
			}
		}
	}
}
