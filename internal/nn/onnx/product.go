package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
)

// inputs are the first n inputs in ONNX's order of axes.
func (r *runner) inputs(in []value, n int) ([]*nn.Node, error) {
	if err := need(in, n); err != nil {
		return nil, err
	}
	xs := make([]*nn.Node, n)
	for i := range xs {
		x, err := r.plain(in[i])
		if err != nil {
			return nil, err
		}
		xs[i] = x
	}
	return xs, nil
}

// linearLayer is a product with a weight (Out,In) and perhaps a bias.
func (r *runner) linearLayer(_ *step, in []value) (value, error) {
	n := 2
	if given(in, 2) {
		n = 3
	}
	xs, err := r.inputs(in, n)
	if err != nil {
		return value{}, err
	}
	var b *nn.Node
	if n == 3 {
		b = xs[2]
	}
	return value{node: r.g.Linear(xs[0], xs[1], b)}, nil
}

// gemm is met where the second operand is no weight alone.
func (r *runner) gemm(s *step, in []value) (value, error) {
	if s.number("alpha", 1) != 1 || s.number("beta", 1) != 1 {
		return value{}, errors.New("alpha and beta other than 1 are not read")
	}
	n := 2
	if given(in, 2) {
		n = 3
	}
	xs, err := r.inputs(in, n)
	if err != nil {
		return value{}, err
	}
	if len(xs[0].Shape) != 2 || len(xs[1].Shape) != 2 {
		return value{}, fmt.Errorf("shapes %v and %v, want matrices", xs[0].Shape, xs[1].Shape)
	}
	y := r.g.MatMul(xs[0], xs[1], s.whole("transA", 0) == 1, s.whole("transB", 0) == 1)
	if n == 2 {
		return value{node: y}, nil
	}
	if !covers(y.Shape, xs[2].Shape) {
		return value{}, fmt.Errorf("shape %v cannot be added to %v", xs[2].Shape, y.Shape)
	}
	return value{node: r.g.Add(y, xs[2])}, nil
}

// matMul is the product of the last two axes, for every entry of the leading
// ones, which both have.
func (r *runner) matMul(_ *step, in []value) (value, error) {
	xs, err := r.inputs(in, 2)
	if err != nil {
		return value{}, err
	}
	a, b := xs[0], xs[1]
	ra, rb := len(a.Shape), len(b.Shape)
	switch {
	case rb == 2 && ra > 2: // one matrix for all
		rows := len(a.Value) / a.Shape[ra-1]
		y := r.g.MatMul(r.g.Reshape(a, rows, a.Shape[ra-1]), b, false, false)
		return value{node: r.g.Reshape(y, append(slices.Clone(a.Shape[:ra-1]), b.Shape[1])...)}, nil
	case ra == 2 && rb == 2:
		return value{node: r.g.MatMul(a, b, false, false)}, nil
	case ra != rb || ra < 3 || !slices.Equal(a.Shape[:ra-2], b.Shape[:ra-2]):
		return value{}, fmt.Errorf("shapes %v and %v: leading axes differ", a.Shape, b.Shape)
	}
	P := size(a.Shape[:ra-2])
	m, k, n := a.Shape[ra-2], a.Shape[ra-1], b.Shape[ra-1]
	if P*m > maxElements/n {
		return value{}, errors.New("the result is too large")
	}
	y := r.g.MatMul(r.g.Reshape(a, P, m, k), r.g.Reshape(b, P, b.Shape[ra-2], n), false, false)
	return value{node: r.g.Reshape(y, append(slices.Clone(a.Shape[:ra-1]), n)...)}, nil
}

// norm is a layer norm over the last axis.
func (r *runner) norm(s *step, in []value) (value, error) {
	n := 1
	if given(in, 1) {
		n = 3
	}
	xs, err := r.inputs(in, n)
	if err != nil {
		return value{}, err
	}
	x := xs[0]
	if a, err := axis(s.whole("axis", -1), len(x.Shape)); err != nil || a != len(x.Shape)-1 {
		return value{}, fmt.Errorf("axis %d of %d: only the last is read", s.whole("axis", -1), len(x.Shape))
	}
	eps := float32(s.number("epsilon", 1e-5))
	if n == 1 {
		return value{node: r.g.LayerNormEps(x, nil, nil, eps)}, nil
	}
	return value{node: r.g.LayerNormEps(x, xs[1], xs[2], eps)}, nil
}

func (r *runner) softmax(s *step, in []value) (value, error) {
	xs, err := r.inputs(in, 1)
	if err != nil {
		return value{}, err
	}
	def := int64(-1)
	if r.opset < 13 {
		def = 1
	}
	rank := len(xs[0].Shape)
	if a, err := axis(s.whole("axis", def), rank); err != nil || a != rank-1 {
		return value{}, fmt.Errorf("axis %d of %d: only the last is read", s.whole("axis", def), rank)
	}
	return value{node: r.g.Softmax(xs[0])}, nil
}

// reduceMean averages over the last axis, over the pixels of an image or over
// the axis between the first and the last of three.
func (r *runner) reduceMean(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	given, err := s.ints(in, 1, "axes")
	if err != nil {
		return value{}, err
	}
	shape := in[0].shape()
	rank := len(shape)
	var axes []int
	for _, a := range given {
		i, err := axis(a, rank)
		if err != nil {
			return value{}, err
		}
		axes = append(axes, i)
	}
	slices.Sort(axes)
	kept := slices.Clone(shape)
	for _, a := range axes {
		kept[a] = 1
	}
	keep := s.whole("keepdims", 1) == 1
	var y *nn.Node
	switch {
	case rank == 4 && slices.Equal(axes, []int{2, 3}):
		x, err := r.pixels(in[0])
		if err != nil {
			return value{}, err
		}
		if keep {
			return r.meanImage(x)
		}
		return value{node: r.g.MeanPixels(x)}, nil
	case rank > 0 && slices.Equal(axes, []int{rank - 1}):
		x, err := r.plain(in[0])
		if err != nil {
			return value{}, err
		}
		y = r.g.MeanLast(x)
	case rank == 3 && slices.Equal(axes, []int{1}):
		x, err := r.plain(in[0])
		if err != nil {
			return value{}, err
		}
		y = r.g.MeanPixels(x)
	default:
		return value{}, fmt.Errorf("over axes %v of %v: only the last axis, the pixels of an image and the middle of three axes are read", given, shape)
	}
	if keep {
		y = r.g.Reshape(y, kept...)
	}
	return value{node: y}, nil
}
