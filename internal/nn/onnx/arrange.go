package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn"
)

// as gives a value another shape of as many elements.
func (r *runner) as(v value, shape []int) (value, error) {
	if n := size(v.shape()); size(shape) != n || slices.ContainsFunc(shape, func(d int) bool { return d < 0 }) {
		return value{}, fmt.Errorf("shape %v cannot become %v", v.shape(), shape)
	}
	if v.fixed != nil {
		t := *v.fixed
		t.Shape = shape
		return value{fixed: &t}, nil
	}
	old := v.shape()
	if v.last && len(shape) >= 2 && slices.Equal(shape[:2], old[:2]) && len(shape) > 2 { // only pixels are rearranged
		stored := slices.Concat(shape[:1], shape[2:], shape[1:2])
		return value{node: r.g.Reshape(v.node, stored...), last: true}, nil
	}
	x, err := r.plain(v)
	if err != nil {
		return value{}, err
	}
	return value{node: r.g.Reshape(x, shape...)}, nil
}

func (r *runner) reshape(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	if err := s.only("allowzero", 0); err != nil {
		return value{}, err
	}
	ints, err := s.ints(in, 1, "shape")
	if err != nil {
		return value{}, err
	}
	old := in[0].shape()
	shape, rest, open := make([]int, len(ints)), 1, -1
	for i, d := range ints {
		switch {
		case d == 0 && i < len(old):
			shape[i] = old[i]
		case d == -1 && open < 0:
			open = i
			continue
		case d > 0 && d <= maxElements:
			shape[i] = int(d)
		default:
			return value{}, fmt.Errorf("shape %v is impossible", ints)
		}
		if rest *= shape[i]; rest > maxElements {
			return value{}, fmt.Errorf("shape %v is impossible", ints)
		}
	}
	if open >= 0 && rest > 0 {
		shape[open] = size(old) / rest
	}
	return r.as(in[0], shape)
}

func (r *runner) flatten(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	shape := in[0].shape()
	a := s.whole("axis", 1)
	if a < 0 {
		a += int64(len(shape))
	}
	if a < 0 || a > int64(len(shape)) {
		return value{}, fmt.Errorf("axis %d of %d", a, len(shape))
	}
	return r.as(in[0], []int{size(shape[:a]), size(shape[a:])})
}

func (r *runner) squeeze(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	given, err := s.ints(in, 1, "axes")
	if err != nil {
		return value{}, err
	}
	old := in[0].shape()
	drop := map[int]bool{}
	for _, a := range given {
		i, err := axis(a, len(old))
		if err != nil {
			return value{}, err
		}
		drop[i] = true
	}
	var shape []int
	for i, d := range old {
		if drop[i] && d != 1 {
			return value{}, fmt.Errorf("axis %d has length %d, want 1", i, d)
		}
		if !drop[i] && (given != nil || d != 1) {
			shape = append(shape, d)
		}
	}
	return r.as(in[0], shape)
}

func (r *runner) unsqueeze(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	given, err := s.ints(in, 1, "axes")
	if err != nil {
		return value{}, err
	}
	old := in[0].shape()
	if len(given) > 8 {
		return value{}, errors.New("more than eight new axes")
	}
	shape := make([]int, len(old)+len(given))
	for _, a := range given {
		i, err := axis(a, len(shape))
		if err != nil {
			return value{}, err
		}
		shape[i] = 1
	}
	for i := range shape {
		if shape[i] == 1 {
			continue
		}
		if len(old) == 0 {
			return value{}, fmt.Errorf("axes %v name one twice", given)
		}
		shape[i], old = old[0], old[1:]
		if shape[i] == 1 {
			shape[i] = -1 // an old axis of length one, so that it is not taken for a new one
		}
	}
	for i := range shape {
		if shape[i] == -1 {
			shape[i] = 1
		}
	}
	return r.as(in[0], shape)
}

// transpose reorders axes. From channels-first to channels-last and back it
// costs nothing, for that is how images are stored.
func (r *runner) transpose(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	rank := len(in[0].shape())
	a, ok := s.attr("perm")
	order := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		order[i] = int(v)
	}
	if !ok {
		for i := range rank {
			order = append(order, rank-1-i)
		}
	}
	seen := slices.Sorted(slices.Values(order))
	for i, v := range seen {
		if v != i || len(seen) != rank {
			return value{}, fmt.Errorf("perm %v does not order %d axes", order, rank)
		}
	}
	if in[0].fixed != nil && rank < 2 {
		return in[0], nil
	}
	if !in[0].last && in[0].node != nil && rank == 4 && slices.Equal(order, []int{0, 3, 1, 2}) {
		return value{node: in[0].node, last: true}, nil
	}
	x := in[0].node
	if !in[0].last {
		var err error
		if x, err = r.plain(in[0]); err != nil {
			return value{}, err
		}
	} else {
		for i, v := range order { // where axis v of ONNX is stored
			switch {
			case v == 1:
				order[i] = rank - 1
			case v > 1:
				order[i] = v - 1
			}
		}
	}
	if slices.IsSorted(order) {
		return value{node: x}, nil
	}
	return value{node: r.g.Permute(x, order...)}, nil
}

// split3 sees an array as (outer, axis, inner).
func split3(shape []int, a int) (outer, inner int) { return size(shape[:a]), size(shape[a+1:]) }

func (r *runner) concat(s *step, in []value) (value, error) {
	if err := need(in, len(in)); err != nil || len(in) == 0 {
		return value{}, errors.Join(err, need(in, 1))
	}
	shape := slices.Clone(in[0].shape())
	a, err := axis(s.whole("axis", 0), len(shape))
	if err != nil {
		return value{}, err
	}
	shape[a] = 0
	fixed, last := true, true
	for _, v := range in {
		other := slices.Clone(v.shape())
		if len(other) != len(shape) {
			return value{}, fmt.Errorf("shapes %v and %v cannot be joined", in[0].shape(), other)
		}
		shape[a] += other[a]
		other[a] = shape[a]
		if !slices.Equal(other, shape) {
			return value{}, fmt.Errorf("shapes %v and %v cannot be joined along axis %d", in[0].shape(), v.shape(), a)
		}
		fixed, last = fixed && v.fixed != nil && v.fixed.Whole, last && v.last
	}
	if fixed {
		if a != 0 {
			return value{}, fmt.Errorf("known integers are joined along axis %d", a)
		}
		out := whole(shape)
		for _, v := range in {
			out.fixed.Ints = append(out.fixed.Ints, v.fixed.Ints...)
		}
		return out, nil
	}
	var parts []*nn.Node
	outer, inner := split3(shape, a)
	for _, v := range in {
		if last && a == 1 {
			parts = append(parts, v.node)
			continue
		}
		if size(v.shape()) == 0 {
			continue
		}
		x, err := r.plain(v)
		if err != nil {
			return value{}, err
		}
		parts = append(parts, r.g.Reshape(x, outer, x.Shape[a]*inner))
	}
	if len(parts) == 0 {
		return value{}, errors.New("nothing to join")
	}
	y := r.g.Concat(parts...)
	if last && a == 1 {
		return value{node: y, last: true}, nil
	}
	return value{node: r.g.Reshape(y, shape...)}, nil
}

// part takes elements lo up to hi of an axis.
func (r *runner) part(v value, a, lo, hi int) (value, error) {
	shape := slices.Clone(v.shape())
	n := shape[a]
	if lo < 0 || lo >= hi || hi > n {
		return value{}, fmt.Errorf("elements %d to %d of an axis of %d", lo, hi, n)
	}
	if lo == 0 && hi == n {
		return v, nil
	}
	shape[a] = hi - lo
	outer, inner := split3(shape, a)
	if v.fixed != nil {
		t := Tensor{Shape: shape, Whole: v.fixed.Whole}
		for o := range outer {
			from, to := (o*n+lo)*inner, (o*n+hi)*inner
			if t.Whole {
				t.Ints = append(t.Ints, v.fixed.Ints[from:to]...)
			} else {
				t.Floats = append(t.Floats, v.fixed.Floats[from:to]...)
			}
		}
		return value{fixed: &t}, nil
	}
	if v.last && a == 1 {
		return value{node: r.g.Slice(v.node, lo, hi), last: true}, nil
	}
	x, err := r.plain(v)
	if err != nil {
		return value{}, err
	}
	y := r.g.Slice(r.g.Reshape(x, outer, n*inner), lo*inner, hi*inner)
	return value{node: r.g.Reshape(y, shape...)}, nil
}

// clampAxis is a bound of a slice, which may count from the end.
func clampAxis(a int64, n int) int {
	if a < 0 {
		a += int64(n)
	}
	return int(max(0, min(int64(n), a)))
}

func (r *runner) slice(s *step, in []value) (value, error) {
	if err := need(in, 1); err != nil {
		return value{}, err
	}
	var lists [4][]int64
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		var err error
		if lists[i], err = s.ints(in, i+1, name); err != nil {
			return value{}, err
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	if len(starts) != len(ends) || axes != nil && len(axes) != len(starts) || len(starts) > len(in[0].shape()) {
		return value{}, fmt.Errorf("starts %v, ends %v and axes %v do not fit", starts, ends, axes)
	}
	if slices.ContainsFunc(steps, func(n int64) bool { return n != 1 }) {
		return value{}, fmt.Errorf("steps are %v, only 1 is read", steps)
	}
	v := in[0]
	for i := range starts {
		a := int64(i)
		if axes != nil {
			a = axes[i]
		}
		k, err := axis(a, len(v.shape()))
		if err != nil {
			return value{}, err
		}
		n := v.shape()[k]
		if v, err = r.part(v, k, clampAxis(starts[i], n), clampAxis(ends[i], n)); err != nil {
			return value{}, err
		}
	}
	return v, nil
}

// gather takes known elements of an axis.
func (r *runner) gather(s *step, in []value) (value, error) {
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	idx := in[1].fixed
	if idx == nil || !idx.Whole || len(idx.Shape) > 1 || idx.Len() == 0 || idx.Len() > 1<<16 {
		return value{}, errors.New("indices are no known list of integers")
	}
	shape := in[0].shape()
	a, err := axis(s.whole("axis", 0), len(shape))
	if err != nil {
		return value{}, err
	}
	var parts []value
	for _, i := range idx.Ints {
		if i < 0 {
			i += int64(shape[a])
		}
		if i < 0 || i >= int64(shape[a]) {
			return value{}, fmt.Errorf("element %d of an axis of %d", i, shape[a])
		}
		p, err := r.part(in[0], a, int(i), int(i)+1)
		if err != nil {
			return value{}, err
		}
		parts = append(parts, p)
	}
	if len(idx.Shape) == 0 {
		return r.as(parts[0], slices.Concat(shape[:a], shape[a+1:]))
	}
	return r.concat(&step{Node: Node{Attrs: []Attr{{Name: "axis", Kind: Int, I: int64(a)}}}}, parts)
}

func (r *runner) split(s *step, in []value) error {
	if err := need(in, 1); err != nil {
		return err
	}
	sizes, err := s.ints(in, 1, "split")
	if err != nil {
		return err
	}
	shape := in[0].shape()
	a, err := axis(s.whole("axis", 0), len(shape))
	if err != nil {
		return err
	}
	n := int64(len(s.Outputs))
	if sizes == nil {
		each := (int64(shape[a]) + n - 1) / n
		for i := range n {
			sizes = append(sizes, min(each, int64(shape[a])-i*each))
		}
	}
	if int64(len(sizes)) != n {
		return fmt.Errorf("%d sizes for %d results", len(sizes), n)
	}
	lo := int64(0)
	for i, d := range sizes {
		if d < 1 || d > int64(shape[a])-lo {
			return fmt.Errorf("parts %v of an axis of %d", sizes, shape[a])
		}
		v, err := r.part(in[0], a, int(lo), int(lo+d))
		if err != nil {
			return err
		}
		r.values[s.Outputs[i]] = v
		lo += d
	}
	return nil
}

// expand repeats an array, such as the class token for every image.
func (r *runner) expand(s *step, in []value) (value, error) {
	if err := need(in, 2); err != nil {
		return value{}, err
	}
	ints, err := s.ints(in, 1, "shape")
	if err != nil {
		return value{}, err
	}
	old := in[0].shape()
	shape := make([]int, max(len(old), len(ints)))
	n := 1
	for i := range shape {
		shape[i] = 1
		if k := i - len(shape) + len(old); k >= 0 {
			shape[i] = old[k]
		}
		if k := i - len(shape) + len(ints); k >= 0 && ints[k] != 1 {
			if ints[k] < 1 || shape[i] != 1 && int64(shape[i]) != ints[k] || ints[k] > maxElements {
				return value{}, fmt.Errorf("shape %v cannot be repeated to %v", old, ints)
			}
			shape[i] = int(ints[k])
		}
		if n *= shape[i]; n > maxElements || n == 0 {
			return value{}, fmt.Errorf("shape %v cannot be repeated to %v", old, ints)
		}
	}
	if slices.Equal(old, shape) {
		return in[0], nil
	}
	zeros := value{node: r.g.Const(make([]float32, n), shape...)}
	return r.ops["Add"](r, s, []value{zeros, in[0]})
}
