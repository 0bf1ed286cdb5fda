package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
)

// arithmetic says that for op a weight of one element is a number, as in x/2,
// and none to train.
func arithmetic(op string) bool {
	return slices.Contains([]string{"Add", "Sub", "Mul", "Div", "Pow", "Clip", "InstanceNormalization"}, op)
}

// operations are all that can be built, by what steps run as.
func operations() map[string]operation {
	t := map[string]operation{
		"Conv": (*runner).conv, "ConvTranspose": (*runner).convTranspose, asConvReLU: (*runner).conv, "MaxPool": (*runner).maxPool,
		"AveragePool": (*runner).averagePool, "GlobalAveragePool": (*runner).globalPool,
		"BatchNormalization": (*runner).batchNorm, "InstanceNormalization": (*runner).instanceNorm, asAffine: (*runner).affine,
		"Gemm": (*runner).gemm, "MatMul": (*runner).matMul, asLinear: (*runner).linearLayer,
		asNorm: (*runner).norm, "Softmax": (*runner).softmax, "ReduceMean": (*runner).reduceMean,
		"Identity": (*runner).same, "Dropout": (*runner).same, "Cast": (*runner).cast,
		"Shape": (*runner).shapeOf, "Reshape": (*runner).reshape, "Flatten": (*runner).flatten, "Squeeze": (*runner).squeeze,
		"Unsqueeze": (*runner).unsqueeze, "Transpose": (*runner).transpose, "Concat": (*runner).concat,
		"Slice": (*runner).slice, "Gather": (*runner).gather, "Expand": (*runner).expand, "Clip": (*runner).clip,
		"ConstantOfShape": (*runner).constantOfShape, "Equal": (*runner).equal, "Where": (*runner).where, "Pow": (*runner).pow,
		"Pad":   (*runner).pad,
		"Split": nil, // has several results: runner.split
	}
	for op, f := range map[string]func(g *nn.Graph, x *nn.Node) *nn.Node{
		"Relu": (*nn.Graph).ReLU, "Tanh": (*nn.Graph).Tanh, "Sigmoid": (*nn.Graph).Sigmoid, "Softplus": (*nn.Graph).Softplus,
		"Exp": (*nn.Graph).Exp, "Log": (*nn.Graph).Log, "Abs": (*nn.Graph).Abs, "Neg": (*nn.Graph).Neg, "Mish": (*nn.Graph).Mish,
	} {
		t[op] = func(r *runner, _ *step, in []value) (value, error) { return r.unary(in, f) }
	}
	t["Floor"] = func(r *runner, _ *step, in []value) (value, error) { return r.unary(in, floor) }
	t["Sqrt"] = func(r *runner, _ *step, in []value) (value, error) {
		if given(in, 0) && in[0].fixed != nil {
			return eachFixed(in[0].fixed, math.Sqrt), nil
		}
		return r.unary(in, (*nn.Graph).Sqrt)
	}
	t[asGELU] = func(r *runner, s *step, in []value) (value, error) {
		if a, ok := s.attr("approximate"); ok && a.S != "none" {
			return value{}, fmt.Errorf("approximate=%q: only the exact function is read", a.S)
		}
		return r.unary(in, (*nn.Graph).GELU)
	}
	t["LeakyRelu"] = func(r *runner, s *step, in []value) (value, error) {
		slope := float32(s.number("alpha", 0.01))
		return r.unary(in, func(g *nn.Graph, x *nn.Node) *nn.Node { return g.LeakyReLU(x, slope) })
	}
	for op, f := range map[string]pairwise{
		"Add": {whole: func(a, b int64) int64 { return a + b }, real: func(a, b float64) float64 { return a + b },
			node: (*nn.Graph).Add, scalar: func(g *nn.Graph, x *nn.Node, c float32) *nn.Node { return g.AddScalar(x, c) }, swaps: true, times: -1},
		"Sub": {whole: func(a, b int64) int64 { return a - b }, real: func(a, b float64) float64 { return a - b },
			node: (*nn.Graph).Sub, scalar: func(g *nn.Graph, x *nn.Node, c float32) *nn.Node { return g.AddScalar(x, -c) }},
		"Mul": {whole: func(a, b int64) int64 { return a * b }, real: func(a, b float64) float64 { return a * b },
			node: (*nn.Graph).Mul, scalar: func(g *nn.Graph, x *nn.Node, c float32) *nn.Node { return g.Scale(x, c) }, swaps: true, times: 1},
		"Div": {whole: func(a, b int64) int64 {
			if b == 0 {
				return 0 // no exporter divides a shape by it
			}
			return a / b
		}, real: func(a, b float64) float64 { return a / b },
			node: (*nn.Graph).Div, scalar: func(g *nn.Graph, x *nn.Node, c float32) *nn.Node { return g.Scale(x, 1/c) }},
	} {
		t[op] = f.build
	}
	return t
}

func (r *runner) unary(in []value, f func(g *nn.Graph, x *nn.Node) *nn.Node) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	if in[0].node != nil {
		return value{node: f(r.g, in[0].node), last: in[0].last}, nil
	}
	x, err := r.plain(in[0])
	if err != nil {
		return value{}, err
	}
	return value{node: f(r.g, x)}, nil
}

func (r *runner) same(_ *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	return in[0], nil
}

// cast changes known arrays; whatever is computed is float32 already.
func (r *runner) cast(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	to := s.whole("to", 0)
	whole := to == typeInt64 || to == typeInt32 || to == typeBool
	if !whole && to != typeFloat && to != typeDouble {
		return value{}, fmt.Errorf("to a number of type %d, which is not read", to)
	}
	t := in[0].fixed
	switch {
	case t == nil && whole:
		return value{}, errors.New("turns what is computed into integers")
	case t == nil || t.Whole == whole:
		return in[0], nil
	case whole:
		c := Tensor{Shape: t.Shape, Whole: true, Ints: make([]int64, len(t.Floats))}
		for i, v := range t.Floats {
			c.Ints[i] = int64(v)
		}
		return value{fixed: &c}, nil
	}
	return eachFixed(t, func(v float64) float64 { return v }), nil
}

// eachFixed is f of a known array, as floats.
func eachFixed(t *Tensor, f func(float64) float64) value {
	c := Tensor{Shape: t.Shape, Floats: make([]float32, t.Len())}
	for i := range c.Floats {
		c.Floats[i] = float32(f(t.at(i)))
	}
	return value{fixed: &c}
}

// at is element i.
func (t *Tensor) at(i int) float64 {
	if t.Whole {
		return float64(t.Ints[i])
	}
	return float64(t.Floats[i])
}

// pairwise is an operation on two arrays, of which one may be repeated.
type pairwise struct {
	whole  func(a, b int64) int64
	real   func(a, b float64) float64
	node   func(g *nn.Graph, a, b *nn.Node) *nn.Node
	scalar func(g *nn.Graph, x *nn.Node, c float32) *nn.Node
	swaps  bool // a, b may be b, a
	times  int  // 1 for a product, -1 for a sum, which nn.Graph.FiLM is too
}

func (p pairwise) build(r *runner, _ *step, in []value) (value, error) {
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	a, b := in[0], in[1]
	if a.fixed != nil && b.fixed != nil {
		return p.known(a.fixed, b.fixed)
	}
	if p.swaps && (a.fixed != nil || size(a.shape()) < size(b.shape())) {
		a, b = b, a
	}
	if b.fixed != nil && b.fixed.Len() == 1 && len(b.fixed.Shape) <= len(a.shape()) {
		c := float32(b.fixed.at(0))
		return r.unary([]value{a}, func(g *nn.Graph, x *nn.Node) *nn.Node { return p.scalar(g, x, c) })
	}
	if !covers(a.shape(), b.shape()) {
		return value{}, fmt.Errorf("shapes %v and %v: only the second may be repeated over the first", in[0].shape(), in[1].shape())
	}
	if s, ones := b.shape(), len(a.shape())-2; ones > 0 && !b.last && len(s) > ones && size(s) == s[len(s)-ones-1] && size(s) > 1 { // (C,1,1)
		x, err := r.pixels(a)
		if err != nil {
			return value{}, err
		}
		n, err := r.plain(b)
		if err != nil {
			return value{}, err
		}
		return value{node: p.node(r.g, x, r.g.Reshape(n, size(s))), last: true}, nil
	}
	if p.times != 0 && !b.last && b.fixed == nil && entrywise(a.shape(), b.shape()) {
		return r.film(a, b, p.times > 0)
	}
	if a.last && b.last && slices.Equal(a.shape(), b.shape()) {
		return value{node: p.node(r.g, a.node, b.node), last: true}, nil
	}
	x, err := r.plain(a)
	if err != nil {
		return value{}, err
	}
	y, err := r.plain(b)
	if err != nil {
		return value{}, err
	}
	trimmed := y.Shape // nn wants no leading ones: (1,N,D) is (N,D)
	for len(trimmed) > 0 && trimmed[0] == 1 {
		trimmed = trimmed[1:]
	}
	if len(trimmed) < len(y.Shape) && !slices.Equal(x.Shape, y.Shape) && slices.Equal(trimmed, x.Shape[len(x.Shape)-len(trimmed):]) {
		y = r.g.Reshape(y, trimmed...)
	}
	return value{node: p.node(r.g, x, y)}, nil
}

// covers says that b is repeated over a to a's shape.
func covers(a, b []int) bool {
	if len(b) > len(a) {
		return false
	}
	for i, d := range b {
		if d != 1 && d != a[len(a)-len(b)+i] {
			return false
		}
	}
	return true
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// known computes with arrays that are known, as exporters do with shapes.
func (p pairwise) known(a, b *Tensor) (value, error) {
	n, m := a.Len(), b.Len()
	shape := a.Shape
	if n == 1 && len(b.Shape) > len(a.Shape) {
		shape = b.Shape
	} else if m != 1 && !slices.Equal(a.Shape, b.Shape) && n != 1 || n == 0 || m == 0 {
		return value{}, fmt.Errorf("known arrays of shapes %v and %v", a.Shape, b.Shape)
	} else if n == 1 {
		shape = b.Shape
	}
	out := Tensor{Shape: shape, Whole: a.Whole && b.Whole}
	for i := range max(n, m) {
		j, k := min(i, n-1), min(i, m-1)
		if out.Whole {
			out.Ints = append(out.Ints, p.whole(a.Ints[j], b.Ints[k]))
		} else {
			out.Floats = append(out.Floats, float32(p.real(a.at(j), b.at(k))))
		}
	}
	return value{fixed: &out}, nil
}

func (r *runner) pow(_ *step, in []value) (value, error) {
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	if in[0].fixed != nil && in[1].fixed != nil {
		p := pairwise{real: math.Pow, whole: func(a, b int64) int64 { return int64(math.Pow(float64(a), float64(b))) }}
		return p.known(in[0].fixed, in[1].fixed)
	}
	if e := in[1].fixed; e != nil && e.Len() == 1 {
		switch e.at(0) {
		case 1:
			return in[0], nil
		case 2:
			return r.unary(in, (*nn.Graph).Square)
		case 0.5:
			return r.unary(in, (*nn.Graph).Sqrt)
		}
	}
	return value{}, errors.New("only the powers 1, 2 and 1/2 are read")
}

func (r *runner) clip(s *step, in []value) (value, error) {
	bound := func(i int, name string, def float64) (float32, error) {
		if given(in, i) {
			t := in[i].fixed
			if t == nil || t.Len() != 1 {
				return 0, fmt.Errorf("%s is computed from the data", name)
			}
			return float32(t.at(0)), nil
		}
		return float32(s.number(name, def)), nil
	}
	lo, err := bound(1, "min", math.Inf(-1))
	if err != nil {
		return value{}, err
	}
	hi, err := bound(2, "max", math.Inf(1))
	if err != nil {
		return value{}, err
	}
	return r.unary(in, func(g *nn.Graph, x *nn.Node) *nn.Node { return g.Clamp(x, lo, hi) })
}

// floor has no slope.
func floor(g *nn.Graph, x *nn.Node) *nn.Node {
	return g.Custom([]*nn.Node{x}, x.Shape, func(out *nn.Node) {
		for i, v := range x.Value {
			out.Value[i] = float32(math.Floor(float64(v)))
		}
	}, nil)
}
