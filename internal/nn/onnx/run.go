package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
)

// maxElements bounds an array that a file asks for, 1 GiB of float32.
const maxElements = 1 << 28

// value is what a name stands for while a graph is built: an array that is known
// (fixed), a weight (param), or a node. A node of images and the like is stored
// channels-last: last says that ONNX's (B,C,...) is (B,...,C) there.
type value struct {
	fixed *Tensor
	param *nn.Param
	node  *nn.Node
	last  bool
}

// shape is the value's in ONNX.
func (v value) shape() []int {
	switch {
	case v.fixed != nil:
		return v.fixed.Shape
	case v.param != nil:
		return v.param.Shape
	case v.last:
		s := v.node.Shape
		return slices.Concat(s[:1], s[len(s)-1:], s[1:len(s)-1])
	}
	return v.node.Shape
}

// run builds the steps of a module into a graph.
type runner struct {
	*Module
	g      *nn.Graph
	use    func(*nn.Param) *nn.Node
	nodes  map[*nn.Param]*nn.Node // so that a weight enters once
	values map[string]value
}

// operation builds a step. in are its inputs, of which those left out are zero.
type operation func(r *runner, s *step, in []value) (value, error)

func (m *Module) run(g *nn.Graph, use func(*nn.Param) *nn.Node, xs []*nn.Node) ([]*nn.Node, error) {
	if len(xs) != len(m.Inputs) {
		var names []string
		for _, p := range m.Inputs {
			names = append(names, p.Name)
		}
		return nil, fmt.Errorf("%d inputs given, want %d: %s", len(xs), len(names), strings.Join(names, ", "))
	}
	r := &runner{m, g, use, map[*nn.Param]*nn.Node{}, map[string]value{}}
	for name, t := range m.fixed {
		r.values[name] = value{fixed: &t}
	}
	for name, p := range m.arrays {
		r.values[name] = value{param: p}
	}
	for i, p := range m.Inputs {
		if p.Whole {
			return nil, fmt.Errorf("input %q is of integers, which are not read", p.Name)
		}
		v := value{node: xs[i], last: len(xs[i].Shape) == 4 && !m.givenLast(p.Name)}
		if err := p.fits(v.shape()); err != nil {
			return nil, err
		}
		r.values[p.Name] = v
	}
	for i := range m.steps {
		if err := r.step(&m.steps[i]); err != nil {
			return nil, m.steps[i].fail(err)
		}
	}
	var ys []*nn.Node
	for _, p := range m.Outputs {
		v, arrange := r.values[p.Name], r.plain
		if len(v.shape()) == 4 && !m.madeLast(p.Name) {
			arrange = r.pixels
		}
		y, err := arrange(v)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", p.Name, err)
		}
		ys = append(ys, y)
	}
	return ys, nil
}

// orders says that a step turns images by these axes.
func (s *step) orders(perm ...int64) bool {
	a, _ := s.attr("perm")
	return s.as == "Transpose" && slices.Equal(a.Ints, perm)
}

// givenLast says that the file itself wants an input channels-last: it begins by
// turning it.
func (m *Module) givenLast(input string) bool {
	return slices.ContainsFunc(m.steps, func(s step) bool { return slices.Contains(s.Inputs, input) && s.orders(0, 3, 1, 2) })
}

// madeLast says that the file itself gives an output channels-last: it ends by
// turning it.
func (m *Module) madeLast(output string) bool {
	for i := len(m.steps) - 1; i >= 0; i-- {
		s := &m.steps[i]
		if s.Outputs[0] != output {
			continue
		}
		if s.as != "Identity" || len(s.Inputs) == 0 {
			return s.orders(0, 2, 3, 1)
		}
		output = s.Inputs[0]
	}
	return false
}

// fits compares what is given with what the file declares, both in ONNX's order.
func (p Port) fits(shape []int) error {
	ok := len(shape) == len(p.Shape)
	for i, d := range p.Shape {
		ok = ok && (d < 0 || d == shape[i])
	}
	if !ok && len(p.Shape) > 0 {
		return fmt.Errorf("input %q is %v, want %v, where -1 is any; a size burnt in is one that was exported without dynamic_axes (images are given channels-last, the shapes here are the file's)", p.Name, shape, p.Shape)
	}
	return nil
}

// step builds one step. Package nn panics with a constant where shapes do not
// fit; from a file that is an error.
func (r *runner) step(s *step) (err error) {
	defer func() {
		what := recover()
		if msg, ok := what.(string); ok && strings.HasPrefix(msg, "nn: ") {
			err = errors.New(msg)
		} else if what != nil {
			panic(what)
		}
	}()
	in := make([]value, len(s.Inputs))
	for i, name := range s.Inputs {
		if name == "" {
			continue
		}
		v, ok := r.values[name]
		if !ok {
			return fmt.Errorf("reads %q, which is one of a node's results that are not computed here", name)
		}
		in[i] = v
	}
	if s.as == "Split" {
		return r.split(s, in)
	}
	v, err := r.ops[s.as](r, s, in)
	if err != nil {
		return err
	}
	r.values[s.Outputs[0]] = v
	return nil
}

// need checks how many inputs are given.
func need(in []value, n int) error {
	for i := range n {
		if i >= len(in) || in[i].fixed == nil && in[i].param == nil && in[i].node == nil {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	return nil
}

// given says that input i is not left out.
func given(in []value, i int) bool { return need(in[min(i, len(in)):], 1) == nil }

// plain is v as a node in ONNX's order of axes.
func (r *runner) plain(v value) (*nn.Node, error) {
	switch {
	case v.fixed != nil:
		t := v.fixed
		x := t.Floats
		if t.Whole {
			x = make([]float32, len(t.Ints))
			for i, n := range t.Ints {
				x[i] = float32(n)
			}
		}
		if len(x) == 0 {
			return nil, errors.New("an empty array")
		}
		return r.g.Const(x, t.Shape...), nil
	case v.param != nil:
		n, ok := r.nodes[v.param]
		if !ok {
			n = r.use(v.param)
			r.nodes[v.param] = n
		}
		return n, nil
	case v.last:
		k := len(v.node.Shape)
		order := []int{0, k - 1}
		for i := 1; i < k-1; i++ {
			order = append(order, i)
		}
		if len(v.node.Value) == v.node.Shape[0]*v.node.Shape[k-1] { // one pixel
			return r.g.Reshape(v.node, v.shape()...), nil
		}
		return r.g.Permute(v.node, order...), nil
	}
	return v.node, nil
}

// pixels is v channels-last.
func (r *runner) pixels(v value) (*nn.Node, error) {
	if v.last {
		return v.node, nil
	}
	n, err := r.plain(v)
	if err != nil {
		return nil, err
	}
	k := len(n.Shape)
	if k < 3 {
		return n, nil // (B,C) is both
	}
	order := []int{0}
	for i := 2; i < k; i++ {
		order = append(order, i)
	}
	return r.g.Permute(n, append(order, 1)...), nil
}

// axis turns an axis that may count from the end into one from the start.
func axis(a int64, rank int) (int, error) {
	if a < int64(-rank) || a >= int64(rank) {
		return 0, fmt.Errorf("axis %d of %d", a, rank)
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}

// ints are whole numbers from input i or, in older versions, from an attribute;
// nil if there are none.
func (s *step) ints(in []value, i int, attr string) ([]int64, error) {
	if given(in, i) {
		t := in[i].fixed
		if t == nil || !t.Whole {
			return nil, fmt.Errorf("%s are computed from the data; export with constant shapes", attr)
		}
		return t.Ints, nil
	}
	a, _ := s.attr(attr)
	return a.Ints, nil
}

// only refuses attributes that have another value than those that are known.
func (s *step) only(name string, values ...int64) error {
	a, ok := s.attr(name)
	got := a.Ints
	if a.Kind == Int {
		got = []int64{a.I}
	}
	if ok && !slices.Equal(got, values) && !(len(got) > 0 && len(values) == 1 && !slices.ContainsFunc(got, func(v int64) bool { return v != values[0] })) {
		return fmt.Errorf("attribute %s is %v, only %v is read", name, got, values)
	}
	return nil
}

// Operations lists what is read.
func Operations() []string {
	ops := []string{"Constant", "Dropout", "Erf (in Gelu)", "Split"}
	for op := range operations() {
		if op[0] >= 'A' && op[0] <= 'Z' && !strings.Contains(op, " ") {
			ops = append(ops, op)
		}
	}
	slices.Sort(ops)
	return slices.Compact(ops)
}
