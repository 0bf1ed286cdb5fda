package onnx

import (
	"errors"
	"fmt"
	"slices"
)

// The operations of this file are met where exporters compute shapes: what they
// read is known while the graph is built, and so is what they give.

// maxKnown bounds the known arrays that a file makes.
const maxKnown = 1 << 16

func (r *runner) constantOfShape(s *step, in []value) (value, error) {
	ints, err := s.ints(in, 0, "shape")
	if err != nil {
		return value{}, err
	}
	t := Tensor{Floats: []float32{0}}
	if a, ok := s.attr("value"); ok && a.T != nil && a.T.Len() == 1 {
		t = *a.T
	}
	t.Shape = nil
	n := int64(1)
	for _, d := range ints {
		if d < 0 || d > maxKnown || n*d > maxKnown {
			return value{}, fmt.Errorf("shape %v is too large", ints)
		}
		n *= d
		t.Shape = append(t.Shape, int(d))
	}
	if t.Whole {
		t.Ints = slices.Repeat(t.Ints, int(n))
	} else {
		t.Floats = slices.Repeat(t.Floats, int(n))
	}
	return value{fixed: &t}, nil
}

func (r *runner) equal(_ *step, in []value) (value, error) {
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	if in[0].fixed == nil || in[1].fixed == nil || !in[0].fixed.Whole || !in[1].fixed.Whole {
		return value{}, errors.New("only known integers are compared")
	}
	is := func(a, b int64) int64 {
		if a == b {
			return 1
		}
		return 0
	}
	return pairwise{whole: is}.known(in[0].fixed, in[1].fixed)
}

func (r *runner) where(_ *step, in []value) (value, error) {
	if err := need(in, 3); err != nil {
		return value{}, err
	}
	c, a, b := in[0].fixed, in[1].fixed, in[2].fixed
	if c == nil || a == nil || b == nil || !c.Whole || !a.Whole || !b.Whole || !slices.Equal(a.Shape, c.Shape) || !slices.Equal(b.Shape, c.Shape) {
		return value{}, errors.New("only known integers of one shape are chosen from")
	}
	out := whole(c.Shape)
	for i, v := range c.Ints {
		if v != 0 {
			out.fixed.Ints = append(out.fixed.Ints, a.Ints[i])
		} else {
			out.fixed.Ints = append(out.fixed.Ints, b.Ints[i])
		}
	}
	return out, nil
}

func whole(shape []int, ints ...int64) value {
	return value{fixed: &Tensor{Shape: shape, Whole: true, Ints: ints}}
}

func (r *runner) shapeOf(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	shape := in[0].shape()
	ints := make([]int64, len(shape))
	for i, d := range shape {
		ints[i] = int64(d)
	}
	lo, hi := clampAxis(s.whole("start", 0), len(ints)), clampAxis(s.whole("end", int64(len(ints))), len(ints))
	ints = ints[lo:max(lo, hi)]
	return whole([]int{len(ints)}, ints...), nil
}
