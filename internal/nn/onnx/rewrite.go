package onnx

import (
	"math"
	"slices"
)

// Operations that stand for several nodes, or for one whose weight was turned.
const (
	asLinear   = "a linear layer"     // x, w (Out,In), bias
	asConvReLU = "Conv with Relu"     // as Conv
	asAffine   = "a gain and a bias"  // x, gain, bias
	asNorm     = "LayerNormalization" // as ONNX's
	asGELU     = "Gelu"               // as ONNX's
	asNothing  = "part of another"
)

// rewriter looks for the patterns that exporters write.
type rewriter struct {
	*Module
	weights map[string]Tensor
	from    map[string]int // value to the step that computes it
	uses    map[string]int
}

func rewrite(m *Module, weights map[string]Tensor) {
	r := &rewriter{m, weights, map[string]int{}, map[string]int{}}
	for i := range m.steps {
		for _, out := range m.steps[i].Outputs {
			if out != "" {
				r.from[out] = i
			}
		}
		for _, in := range m.steps[i].Inputs {
			r.uses[in]++
		}
	}
	for _, p := range m.Outputs {
		r.uses[p.Name]++
	}
	// Identity and Dropout pass their input on, and so do weights through them.
	for i := range m.steps {
		s := &m.steps[i]
		if (s.as == "Identity" || s.as == "Dropout") && len(s.Inputs) > 0 && !r.output(s.Outputs[0]) && (len(s.Outputs) == 1 || r.uses[s.Outputs[1]] == 0) {
			r.replace(s.Outputs[0], s.Inputs[0])
			s.as = asNothing
		}
	}
	for i := range m.steps {
		switch m.steps[i].as {
		case "MatMul", "Gemm":
			r.linear(i)
		case "Erf":
			r.gelu(i)
		case "Div":
			r.layerNorm(i)
		case "BatchNormalization":
			if !m.train {
				r.fold(i)
			}
		}
	}
	for i := range m.steps {
		if m.steps[i].as == "Relu" {
			if c, ok := r.alone(m.steps[i].in(0)); ok && m.steps[c].as == "Conv" {
				m.steps[c].as = asConvReLU
				r.take(c, i)
			}
		}
	}
	m.steps = slices.DeleteFunc(m.steps, func(s step) bool { return s.as == asNothing })
}

func (r *rewriter) output(name string) bool {
	return slices.ContainsFunc(r.Outputs, func(p Port) bool { return p.Name == name })
}

// replace makes everybody who reads old read name.
func (r *rewriter) replace(old, name string) {
	for i := range r.steps {
		s := &r.steps[i]
		if slices.Contains(s.Inputs, old) {
			s.Inputs = slices.Clone(s.Inputs)
			for k, in := range s.Inputs {
				if in == old {
					s.Inputs[k] = name
					r.uses[name]++
				}
			}
		}
	}
	r.uses[name]-- // the step that goes
	r.uses[old] = 0
}

// take lets step i give the result of step last, which follows it at once.
func (r *rewriter) take(i, last int) {
	out := r.steps[last].Outputs[0]
	r.steps[i].Outputs = []string{out}
	r.from[out] = i
	r.steps[last].as = asNothing
}

// alone is the step that computes name for a single reader.
func (r *rewriter) alone(name string) (int, bool) {
	i, ok := r.from[name]
	return i, ok && r.uses[name] == 1 && r.steps[i].as != asNothing && len(r.steps[i].Outputs) == 1
}

// reader is the step that alone reads name.
func (r *rewriter) reader(name string) (int, bool) {
	if r.uses[name] != 1 || r.output(name) {
		return 0, false
	}
	for i := range r.steps {
		if r.steps[i].as != asNothing && slices.Contains(r.steps[i].Inputs, name) {
			return i, true
		}
	}
	return 0, false
}

// number is the value of a constant of one element.
func (r *rewriter) number(name string) (float64, bool) {
	t, ok := r.fixed[name]
	if !ok {
		t, ok = r.weights[name]
	}
	if !ok || t.Whole || t.Len() != 1 {
		return 0, false
	}
	return float64(t.Floats[0]), true
}

func (r *rewriter) is(name string, v float64) bool {
	got, ok := r.number(name)
	return ok && math.Abs(got-v) <= 1e-3*math.Abs(v) // exporters round
}

// vector says that name is a weight (D,) for a D of its own or, above 0, that.
func (r *rewriter) vector(name string, D int) bool {
	t, ok := r.weights[name]
	return ok && len(t.Shape) == 1 && (D <= 0 || t.Shape[0] == D)
}

// in is the k-th input of a step, "" where it was left out.
func (s *step) in(k int) string {
	if k < len(s.Inputs) {
		return s.Inputs[k]
	}
	return ""
}

// other is the input of a step of two inputs beside name.
func (s *step) other(name string) (string, bool) {
	if len(s.Inputs) != 2 {
		return "", false
	}
	if s.Inputs[0] == name {
		return s.Inputs[1], true
	}
	return s.Inputs[0], s.Inputs[1] == name
}

// linear turns a product with a weight into a linear layer, and takes the bias
// that is added next.
func (r *rewriter) linear(i int) {
	s := &r.steps[i]
	if len(s.Inputs) < 2 {
		return
	}
	name, turned := s.Inputs[1], s.Op == "Gemm" && s.whole("transB", 0) == 1
	through, ok := r.alone(name)
	if ok = ok && !turned && r.swaps(through); ok { // (Out,In) before this Transpose, as it should be
		name, turned = r.steps[through].Inputs[0], true
	}
	w, known := r.weights[name]
	if !known || len(w.Shape) != 2 {
		return
	}
	if s.Op == "Gemm" {
		if s.whole("transA", 0) != 0 || s.number("alpha", 1) != 1 || s.number("beta", 1) != 1 {
			return
		}
		out := w.Shape[1]
		if turned {
			out = w.Shape[0]
		}
		if len(s.Inputs) > 2 && s.Inputs[2] != "" && !r.vector(s.Inputs[2], out) {
			return
		}
	}
	if ok {
		r.steps[through].as = asNothing
	} else if !turned {
		if r.uses[name] != 1 {
			return
		}
		w.Floats = transposed(w.Floats, w.Shape[0], w.Shape[1])
		w.Shape = []int{w.Shape[1], w.Shape[0]}
		r.weights[name] = w
	}
	s.as, s.Attrs, s.Inputs = asLinear, nil, slices.Clone(s.Inputs)
	s.Inputs[1] = name
	if s.Op != "MatMul" {
		return
	}
	if k, ok := r.reader(s.Outputs[0]); ok && r.steps[k].as == "Add" {
		if b, ok := r.steps[k].other(s.Outputs[0]); ok && r.vector(b, w.Shape[0]) {
			s.Inputs = append(s.Inputs[:2], b)
			r.take(i, k)
		}
	}
}

// swaps says that step i transposes a matrix.
func (r *rewriter) swaps(i int) bool {
	s := &r.steps[i]
	perm, given := s.attr("perm")
	return s.as == "Transpose" && len(s.Inputs) == 1 && (!given || slices.Equal(perm.Ints, []int64{1, 0}))
}

// transposed is x (h,w) as (w,h).
func transposed(x []float32, h, w int) []float32 {
	y := make([]float32, len(x))
	for i := range h {
		for j := range w {
			y[j*h+i] = x[i*w+j]
		}
	}
	return y
}

// gelu finds x (1 + erf(x/sqrt 2)) / 2 around an Erf, in any order of the
// products.
func (r *rewriter) gelu(i int) {
	d, ok := r.alone(r.steps[i].in(0))
	if !ok || len(r.steps[d].Inputs) != 2 {
		return
	}
	div := &r.steps[d]
	x := div.Inputs[0]
	if !(div.as == "Div" && r.is(div.Inputs[1], math.Sqrt2)) && !(div.as == "Mul" && r.is(div.Inputs[1], math.Sqrt2/2)) {
		return
	}
	a, ok := r.reader(r.steps[i].Outputs[0])
	if !ok || r.steps[a].as != "Add" {
		return
	}
	if one, ok := r.steps[a].other(r.steps[i].Outputs[0]); !ok || !r.is(one, 1) {
		return
	}
	parts := []int{d, i, a}
	last, halved, timesX := a, false, false
	for !halved || !timesX {
		m, ok := r.reader(r.steps[last].Outputs[0])
		if !ok || r.steps[m].as != "Mul" {
			return
		}
		o, _ := r.steps[m].other(r.steps[last].Outputs[0])
		switch {
		case !halved && r.is(o, 0.5):
			halved = true
		case !timesX && o == x:
			timesX = true
		case !timesX && !halved: // x/2 from elsewhere
			h, ok := r.alone(o)
			if !ok || r.steps[h].as != "Mul" {
				return
			}
			if c, ok := r.steps[h].other(x); !ok || !r.is(c, 0.5) {
				return
			}
			parts = append(parts, h)
			halved, timesX = true, true
		default:
			return
		}
		last = m
		parts = append(parts, m)
	}
	r.join(parts, last, asGELU, []string{x}, nil)
}

// join lets one step stand for several: the last, whose inputs all come before.
func (r *rewriter) join(parts []int, last int, as string, inputs []string, attrs []Attr) {
	for _, p := range parts {
		if p != last {
			r.steps[p].as = asNothing
		}
	}
	s := &r.steps[last]
	s.as, s.Inputs, s.Attrs = as, inputs, attrs
	for _, in := range inputs {
		r.uses[in] = max(1, r.uses[in]-1)
	}
}

// layerNorm finds (x - mean) / sqrt(mean((x - mean)²) + eps) by its division, and
// the gain and the bias behind it.
func (r *rewriter) layerNorm(i int) {
	s := &r.steps[i]
	if len(s.Inputs) != 2 {
		return
	}
	d := s.Inputs[0]
	sub, ok := r.from[d]
	if !ok || r.steps[sub].as != "Sub" {
		return
	}
	x := r.steps[sub].in(0)
	if x == "" {
		return
	}
	parts := []int{sub, i}
	up := func(name, op string) (*step, bool) { // the step behind name, if it is op
		k, ok := r.alone(name)
		if !ok || r.steps[k].as != op {
			return nil, false
		}
		parts = append(parts, k)
		return &r.steps[k], true
	}
	mean, ok := up(r.steps[sub].in(1), "ReduceMean")
	if !ok || mean.in(0) != x || !r.lastAxis(mean) {
		return
	}
	root, ok := up(s.Inputs[1], "Sqrt")
	if !ok {
		return
	}
	add, ok := up(root.in(0), "Add")
	if !ok || len(add.Inputs) != 2 {
		return
	}
	eps, ok := r.number(add.Inputs[1])
	if !ok {
		return
	}
	variance, ok := up(add.Inputs[0], "ReduceMean")
	if !ok || !r.lastAxis(variance) {
		return
	}
	square, ok := up(variance.in(0), "Pow")
	reads := 2 // of x - mean
	if ok {
		if len(square.Inputs) != 2 || square.Inputs[0] != d || !r.is(square.Inputs[1], 2) {
			return
		}
	} else if square, ok = up(variance.in(0), "Mul"); !ok || !slices.Equal(square.Inputs, []string{d, d}) {
		return
	} else {
		reads = 3
	}
	if r.uses[d] != reads {
		return
	}
	last, inputs := i, []string{x}
	for _, op := range []string{"Mul", "Add"} {
		k, ok := r.reader(r.steps[last].Outputs[0])
		if !ok || r.steps[k].as != op {
			break
		}
		w, ok := r.steps[k].other(r.steps[last].Outputs[0])
		if !ok || !r.vector(w, 0) || len(inputs) == 2 && !r.vector(w, r.weights[inputs[1]].Shape[0]) {
			break
		}
		last, inputs, parts = k, append(inputs, w), append(parts, k)
	}
	if len(inputs) == 2 { // a gain without a bias stays a product
		last, inputs, parts = i, inputs[:1], parts[:len(parts)-1]
	}
	attrs := []Attr{{Name: "axis", Kind: Int, I: -1}, {Name: "epsilon", Kind: Float, F: float32(eps)}}
	r.join(parts, last, asNorm, inputs, attrs)
	r.uses[x]-- // it was read twice
}

// lastAxis says that a reduction goes over the last axis and keeps it.
func (r *rewriter) lastAxis(s *step) bool {
	axes, _ := s.attr("axes")
	if len(s.Inputs) > 1 {
		axes.Ints = r.fixed[s.Inputs[1]].Ints
	}
	return len(axes.Ints) == 1 && axes.Ints[0] == -1 && s.whole("keepdims", 1) == 1
}

// fold makes a batch normalisation what it is in use, gain' = gain/sqrt(var+eps)
// and bias' = bias - mean gain' for each channel (Ioffe and Szegedy 2015,
// algorithm 2, step 11), and joins it with the convolution before it.
func (r *rewriter) fold(i int) {
	s := &r.steps[i]
	if len(s.Inputs) != 5 {
		return
	}
	var t [5]Tensor // [1:] are gain, bias, mean and variance
	for k := 1; k < 5; k++ {
		w, ok := r.weights[s.Inputs[k]]
		if !ok || len(w.Shape) != 1 || k > 1 && w.Shape[0] != t[1].Shape[0] {
			return
		}
		t[k] = w
	}
	eps := s.number("epsilon", 1e-5)
	C := t[1].Shape[0]
	gain, bias := make([]float32, C), make([]float32, C)
	for c := range C {
		a := float64(t[1].Floats[c]) / math.Sqrt(float64(t[4].Floats[c])+eps)
		gain[c], bias[c] = float32(a), float32(float64(t[2].Floats[c])-float64(t[3].Floats[c])*a)
	}
	if k, ok := r.alone(s.Inputs[0]); ok && r.steps[k].as == "Conv" && r.joined(k, gain, bias, s) {
		r.take(k, i)
		return
	}
	name := func(k int) string { return s.Inputs[k] + ".folded" } // others may share the arrays
	r.weights[name(1)], r.weights[name(2)] = Tensor{Shape: []int{C}, Floats: gain}, Tensor{Shape: []int{C}, Floats: bias}
	s.as, s.Inputs = asAffine, []string{s.Inputs[0], name(1), name(2)}
}

// joined multiplies gain and bias into the weights of the convolution k, unless
// others read them or the shapes do not fit.
func (r *rewriter) joined(k int, gain, bias []float32, norm *step) bool {
	c := &r.steps[k]
	if len(c.Inputs) < 2 || r.uses[c.Inputs[1]] != 1 || r.uses[norm.Inputs[2]] != 1 {
		return false
	}
	w, ok := r.weights[c.Inputs[1]]
	if !ok || len(w.Shape) == 0 || w.Shape[0] != len(gain) {
		return false
	}
	if len(c.Inputs) > 2 && c.Inputs[2] != "" {
		b, ok := r.weights[c.Inputs[2]]
		if !ok || len(b.Floats) != len(gain) {
			return false
		}
		for i, v := range b.Floats {
			bias[i] += v * gain[i]
		}
	}
	w.Floats = slices.Clone(w.Floats)
	row := len(w.Floats) / len(gain)
	for i := range w.Floats {
		w.Floats[i] *= gain[i/row]
	}
	r.weights[c.Inputs[1]] = w
	r.weights[norm.Inputs[2]] = Tensor{Name: norm.Inputs[2], Shape: []int{len(bias)}, Floats: bias}
	c.Inputs = []string{c.Inputs[0], c.Inputs[1], norm.Inputs[2]}
	return true
}

// whole and number read attributes that have a default.
func (n *Node) whole(name string, def int64) int64 {
	if a, ok := n.attr(name); ok {
		return a.I
	}
	return def
}

func (n *Node) number(name string, def float64) float64 {
	if a, ok := n.attr(name); ok {
		return float64(a.F)
	}
	return def
}
