package onnx

import (
	"math"
	"slices"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// known adds integers that input i of the one node reads.
func (m *Model) known(v ...int64) *Model {
	n := &m.Graph.Nodes[0]
	name := "k" + string(rune('0'+len(n.Inputs)))
	m.Graph.Init = append(m.Graph.Init, Tensor{Name: name, Shape: []int{len(v)}, Whole: true, Ints: v})
	n.Inputs = append(n.Inputs, name)
	return m
}

func (m *Model) version(opset int64) *Model {
	m.Opset = opset
	return m
}

// The input of the table below: (2,3,2,2) in ONNX's order, element i.
func element(i int) float32 { return float32(i*i%23)/4 - 2 }

// Operations that newer and older exporters write for the same, each by itself
// against its definition on x (2,3,2,2).
func TestOperations(t *testing.T) {
	image := []int{-1, 3, 2, 2}
	at := func(b, c, y, x int) float32 { return element(((b*3+c)*2+y)*2 + x) }
	each := func(f func(v float64) float64) func(i int) float64 {
		return func(i int) float64 { return f(float64(element(i))) }
	}
	same := each(func(v float64) float64 { return v })
	mean := func(i int) float64 { // of an image's channel i
		return float64(element(4*i)+element(4*i+1)+element(4*i+2)+element(4*i+3)) / 4
	}
	weight := func(m *Model, v ...float32) *Model { // in place of what small made
		m.Graph.Init[len(m.Graph.Init)-1].Floats = v
		return m
	}
	flat := []int{2, 12}
	for _, c := range []struct {
		name  string
		m     *Model
		shape []int // in ONNX's order
		want  func(i int) float64
	}{
		{"relu", small("Relu", image, nil), image, each(func(v float64) float64 { return max(0, v) })},
		{"gelu of opset 20", small("Gelu", image, nil).version(20), image, each(func(v float64) float64 { return v * (1 + math.Erf(v/math.Sqrt2)) / 2 })},
		{"clip by attributes", small("Clip", image, nil, Attr{Name: "min", Kind: Float, F: -1}, Attr{Name: "max", Kind: Float, F: 2}).version(10), image, each(func(v float64) float64 { return max(-1, min(2, v)) })},
		{"square", weight(small("Pow", image, [][]int{{1}}), 2), image, each(func(v float64) float64 { return v * v })},
		{"by a number", weight(small("Div", image, [][]int{{1}}), 4), image, each(func(v float64) float64 { return v / 4 })},
		{"less a number", weight(small("Sub", image, [][]int{{1}}), 4), image, each(func(v float64) float64 { return v - 4 })},
		{"by channel", weight(small("Mul", image, [][]int{{3, 1, 1}}), 1, 2, 3), image, func(i int) float64 { return same(i) * float64(i/4%3+1) }},
		{"plus an array for each", weight(small("Add", image, [][]int{{1, 3, 2, 2}}), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), image, func(i int) float64 { return same(i) + float64(i%12) }},
		{"global mean", small("GlobalAveragePool", image, nil), []int{2, 3, 1, 1}, mean},
		{"mean of a whole image", small("AveragePool", image, nil, ints("kernel_shape", 2, 2)), []int{2, 3, 1, 1}, mean},
		{"reduction by attribute", small("ReduceMean", image, nil, ints("axes", 2, 3), whole1("keepdims", 0)), []int{2, 3}, mean},
		{"reduction by input", small("ReduceMean", image, nil).known(-1, -2).version(18), []int{2, 3, 1, 1}, mean},
		{"reduction of rows", small("ReduceMean", image, nil, ints("axes", 3)), []int{2, 3, 2, 1}, func(i int) float64 {
			return (same(2*i) + same(2*i+1)) / 2
		}},
		{"largest", small("MaxPool", image, nil, ints("kernel_shape", 2, 2)), []int{2, 3, 1, 1}, func(i int) float64 {
			return max(same(4*i), same(4*i+1), same(4*i+2), same(4*i+3))
		}},
		{"flatten", small("Flatten", image, nil), flat, same},
		{"flatten from an axis", small("Flatten", image, nil, whole1("axis", -1)), []int{12, 2}, same},
		{"reshape", small("Reshape", image, nil).known(0, -1), flat, same},
		{"pixels in a row", small("Reshape", image, nil).known(0, 0, -1), []int{2, 3, 4}, same},
		{"unsqueeze by attribute", small("Unsqueeze", image, nil, ints("axes", 1)).version(11), []int{2, 1, 3, 2, 2}, same},
		{"unsqueeze by input", small("Unsqueeze", image, nil).known(-1), []int{2, 3, 2, 2, 1}, same},
		{"transpose to channels-last", small("Transpose", image, nil, ints("perm", 0, 2, 3, 1)), []int{2, 2, 2, 3}, func(i int) float64 {
			return float64(at(i/12, i%3, i/6%2, i/3%2))
		}},
		{"transpose", small("Transpose", image, nil, ints("perm", 1, 0, 3, 2)), []int{3, 2, 2, 2}, func(i int) float64 {
			return float64(at(i/4%2, i/8, i%2, i/2%2))
		}},
		{"one channel", small("Slice", image, nil).known(1).known(1 << 62).known(1), []int{2, 2, 2, 2}, func(i int) float64 {
			return float64(at(i/8, 1+i/4%2, i/2%2, i%2))
		}},
		{"slice by attributes", small("Slice", image, nil, ints("axes", -1), ints("starts", -1), ints("ends", 9)).version(9), []int{2, 3, 2, 1}, func(i int) float64 {
			return same(2*i + 1)
		}},
		{"elements", small("Gather", image, nil, whole1("axis", 1)).known(2, 0), []int{2, 2, 2, 2}, func(i int) float64 {
			return float64(at(i/8, 2-2*(i/4%2), i/2%2, i%2))
		}},
		{"first part", small("Split", image, nil, whole1("axis", 2)), []int{2, 3, 1, 2}, func(i int) float64 { return float64(at(i/6, i/2%3, 0, i%2)) }},
		{"repeat nothing", small("Expand", image, nil).known(1, 2, 1), image, same},
		{"standardise rows", small("LayerNormalization", image, nil, Attr{Name: "epsilon", Kind: Float, F: 1e-3}).version(17), image, func(i int) float64 {
			d := (same(i) - same(i^1)) / 2
			return d / math.Sqrt(d*d+1e-3)
		}},
		{"pad nothing", small("Pad", image, nil).known(0, 0, 0, 0, 0, 0, 0, 0), image, same},
		{"cast", small("Cast", image, nil, whole1("to", typeFloat)), image, same},
	} {
		if c.m.Graph.Nodes[0].Op == "Split" {
			c.m.Graph.Nodes[0].Outputs = []string{"y", "z"}
		}
		m, err := New(c.m, Config{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		g := nn.NewGraph()
		x := g.Input(2, 2, 2, 3)
		for i := range x.Value { // channels-last
			x.Value[i] = at(i/12, i%3, i/6%2, i/3%2)
		}
		y, err := m.Forward(g, x)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		shape := slices.Clone(c.shape)
		if shape[0] < 0 {
			shape[0] = 2
		}
		g.Forward()
		got, gotShape := y.Value, y.Shape
		if len(shape) == 4 && c.name != "transpose to channels-last" { // back to ONNX's order
			back := g.Permute(y, 0, 3, 1, 2)
			g.Forward()
			got, gotShape = back.Value, back.Shape
		}
		if !slices.Equal(gotShape, shape) {
			t.Errorf("%s: shape %v, want %v", c.name, gotShape, shape)
			continue
		}
		for i, v := range got {
			if want := c.want(i); math.Abs(float64(v)-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, v, want)
				break
			}
		}
	}
}

// Newer exporters compute the scale of attention from the shape, and a mask of
// shapes: all of it is known once the input is.
func TestShapesAreComputedOnce(t *testing.T) {
	integers := func(name string, v ...int64) Tensor {
		return Tensor{Name: name, Shape: []int{len(v)}, Whole: true, Ints: v}
	}
	node := func(op, out string, attrs []Attr, in ...string) Node {
		return Node{Name: out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs}
	}
	m, err := New(&Model{Opset: 14, Graph: Graph{
		Name:    "shapes",
		Inputs:  []Port{{Name: "x", Shape: []int{-1, 4}}},
		Outputs: []Port{{Name: "y"}},
		Init: []Tensor{{Name: "zero", Whole: true, Ints: []int64{0}}, integers("zeros", 0), integers("minus4", 4), integers("one", 1), integers("two", 2), integers("minus", -1), {Name: "unit", Floats: []float32{1}},
			{Name: "token", Shape: []int{1, 4}, Floats: []float32{1, 2, 3, 4}}},
		Nodes: []Node{
			node("Shape", "shape", nil, "x"),
			node("Slice", "width", nil, "shape", "one", "two"),
			node("Cast", "real", []Attr{whole1("to", typeFloat)}, "width"),
			node("Sqrt", "root", nil, "real"),
			node("Div", "scale", nil, "unit", "root"),
			node("Mul", "scaled", nil, "x", "scale"), // x/2
			node("Equal", "is", nil, "minus", "minus"),
			node("Gather", "batch", []Attr{whole1("axis", 0)}, "shape", "zero"),
			node("Unsqueeze", "rows", nil, "batch", "zeros"),
			node("Where", "some", nil, "is", "rows", "two"),
			node("Concat", "all", []Attr{whole1("axis", 0)}, "some", "minus4"),
			node("Expand", "tokens", nil, "token", "all"),
			node("Sub", "y", nil, "scaled", "tokens"),
		},
	}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := nn.NewGraph()
	x := g.Input(3, 4)
	for i := range x.Value {
		x.Value[i] = element(i)
	}
	y, err := m.Forward(g, x)
	if err != nil {
		t.Fatal(err)
	}
	g.Forward()
	for i, v := range y.Value {
		if want := element(i)/2 - float32(i%4+1); v != want {
			t.Errorf("element %d is %v, want %v", i, v, want)
		}
	}
	if len(y.Value) != 12 {
		t.Errorf("%d numbers, want 12", len(y.Value))
	}
}

// Several nodes on x (2,12), and weights w (12,2), gain and bias (12,).
func TestPatterns(t *testing.T) {
	weights := func() []Tensor {
		w := Tensor{Name: "w", Shape: []int{12, 2}}
		gain, bias := Tensor{Name: "gain", Shape: []int{12}}, Tensor{Name: "bias", Shape: []int{12}}
		for i := range 24 {
			w.Floats = append(w.Floats, element(i+1))
		}
		for i := range 12 {
			gain.Floats, bias.Floats = append(gain.Floats, 1+float32(i)/8), append(bias.Floats, float32(i)/4)
		}
		number := func(name string, v float32) Tensor { return Tensor{Name: name, Floats: []float32{v}} }
		return []Tensor{w, gain, bias, number("half", 0.5), number("one", 1), number("two", 2), number("root", math.Sqrt2), number("eps", 1e-3),
			{Name: "ones", Shape: []int{12}, Floats: slices.Repeat([]float32{1}, 12)}}
	}
	last := []Attr{ints("axes", -1)}
	product := func(x, w func(i int) float64, i int) float64 { // x (2,12) w (12,2)
		v := 0.0
		for k := range 12 {
			v += x(i/2*12+k) * w(2*k+i%2)
		}
		return v
	}
	same := func(i int) float64 { return float64(element(i)) }
	next := func(i int) float64 { return float64(element(i + 1)) }
	gelu := func(i int) float64 { return same(i) * (1 + math.Erf(same(i)/math.Sqrt2)) / 2 }
	norm := func(eps float64) func(i int) float64 {
		return func(i int) float64 {
			var mean, square float64
			for k := range 12 {
				mean += same(i/12*12+k) / 12
			}
			for k := range 12 {
				d := same(i/12*12+k) - mean
				square += d * d / 12
			}
			return (same(i) - mean) / math.Sqrt(square+eps)
		}
	}
	gain := func(i int) float64 { return 1 + float64(i%12)/8 }
	bias := func(i int) float64 { return float64(i%12) / 4 }
	n := func(op, out string, attrs []Attr, in ...string) Node {
		return Node{Name: out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs}
	}
	statistics := []Node{n("ReduceMean", "m", last, "x"), n("Sub", "d", nil, "x", "m"), n("Mul", "dd", nil, "d", "d"),
		n("ReduceMean", "v", last, "dd"), n("Add", "e", nil, "v", "eps"), n("Sqrt", "s", nil, "e"), n("Div", "n", nil, "d", "s")}
	for _, c := range []struct {
		name  string
		nodes []Node
		as    []string // what is run
		len   int
		want  func(i int) float64
	}{
		{"product", []Node{n("MatMul", "y", nil, "x", "w")}, []string{asLinear}, 4, func(i int) float64 { return product(same, next, i) }},
		{"product with a weight that others read", []Node{n("MatMul", "p", nil, "x", "w"), n("MatMul", "q", nil, "x", "w"), n("Add", "y", nil, "p", "q")}, []string{"MatMul", "MatMul", "Add"}, 4, func(i int) float64 { return 2 * product(same, next, i) }},
		{"product of what is computed", []Node{n("Gemm", "y", []Attr{whole1("transB", 1)}, "x", "x")}, []string{"Gemm"}, 4, func(i int) float64 {
			return product(same, func(k int) float64 { return same(k%2*12 + k/2) }, i)
		}},
		{"weights through Identity, and Dropout", []Node{n("Identity", "u", nil, "w"), n("Dropout", "z", nil, "x"), n("MatMul", "y", nil, "z", "u")}, []string{asLinear}, 4, func(i int) float64 { return product(same, next, i) }},
		{"weight turned by a node", []Node{n("Transpose", "u", []Attr{ints("perm", 1, 0)}, "w"), n("Transpose", "v", nil, "u"), n("MatMul", "y", nil, "x", "v")}, nil, 4, func(i int) float64 { return product(same, next, i) }},
		{"GELU", []Node{n("Div", "a", nil, "x", "root"), n("Erf", "b", nil, "a"), n("Add", "c", nil, "b", "one"), n("Mul", "d", nil, "x", "c"), n("Mul", "y", nil, "d", "half")}, []string{asGELU}, 24, gelu},
		{"GELU, halved first", []Node{n("Mul", "h", nil, "x", "half"), n("Div", "a", nil, "x", "root"), n("Erf", "b", nil, "a"), n("Add", "c", nil, "one", "b"), n("Mul", "y", nil, "h", "c")}, []string{asGELU}, 24, gelu},
		{"GELU, halved in between", []Node{n("Div", "a", nil, "x", "root"), n("Erf", "b", nil, "a"), n("Add", "c", nil, "b", "one"), n("Mul", "d", nil, "half", "c"), n("Mul", "y", nil, "d", "x")}, []string{asGELU}, 24, gelu},
		{"layer norm", slices.Concat(statistics, []Node{n("Mul", "g", nil, "n", "gain"), n("Add", "y", nil, "g", "bias")}), []string{asNorm}, 24, func(i int) float64 { return norm(1e-3)(i)*gain(i) + bias(i) }},
		{"layer norm with a gain alone", slices.Concat(statistics, []Node{n("Mul", "y", nil, "n", "gain")}), []string{asNorm, "Mul"}, 24, func(i int) float64 { return norm(1e-3)(i) * gain(i) }},
		{"layer norm whose middle is read", slices.Concat(statistics, []Node{n("Add", "y", nil, "n", "d")}), []string{"ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Add"}, 24, func(i int) float64 {
			return norm(1e-3)(i) + norm(0)(i)*math.Sqrt(spread(i/12))
		}},
		{"batch norm without a convolution", []Node{n("BatchNormalization", "y", []Attr{{Name: "epsilon", Kind: Float, F: 3}}, "x", "gain", "bias", "bias", "ones")}, []string{asAffine}, 24, func(i int) float64 {
			return (same(i)-bias(i))/2*gain(i) + bias(i)
		}},
	} {
		m, err := New(&Model{Opset: 13, Graph: Graph{Name: "pattern", Init: weights(), Nodes: c.nodes,
			Inputs: []Port{{Name: "x", Shape: []int{2, 12}}}, Outputs: []Port{{Name: "y"}}}}, Config{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var as []string
		for _, s := range m.steps {
			as = append(as, s.as)
		}
		if c.as != nil && !slices.Equal(as, c.as) {
			t.Errorf("%s: runs %q, want %q", c.name, as, c.as)
		}
		g := nn.NewGraph()
		x := g.Input(2, 12)
		for i := range x.Value {
			x.Value[i] = element(i)
		}
		y, err := m.Forward(g, x)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		g.Forward()
		if len(y.Value) != c.len {
			t.Errorf("%s: %d numbers, want %d", c.name, len(y.Value), c.len)
			continue
		}
		for i, v := range y.Value {
			if want := c.want(i); math.Abs(float64(v)-want) > 1e-5*max(1, math.Abs(want)) {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, v, want)
				break
			}
		}
	}
}

// spread is the variance of row r of x (2,12).
func spread(r int) float64 {
	var mean, square float64
	for k := range 12 {
		mean += float64(element(r*12+k)) / 12
	}
	for k := range 12 {
		d := float64(element(r*12+k)) - mean
		square += d * d / 12
	}
	return square
}
