package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rapport-rl/rapport/internal/nn"
)

// The versions of the operations that are read.
const (
	oldest = 9
	newest = 20
)

// maxNodes bounds a graph, whose patterns are looked for in quadratic time: ten
// times a ViT-L.
const maxNodes = 1 << 15

// Config says how a file becomes a Module.
type Config struct {
	// TrainNorm leaves batch normalisations as they are: while the parameters are
	// trained they normalise by the batch and move their statistics, elsewhere
	// they normalise by these. Without it they are what they are in use, a gain
	// and a bias for each channel, which are joined with the convolution before
	// them: fewer passes, and the usual way to tune a trained network.
	TrainNorm bool
}

// Module is a network from a file. Its weights are Params: arrays of float32 of
// one axis or more that the file keeps apart from the nodes.
type Module struct {
	Name    string
	Meta    []Entry
	Inputs  []Port // as in the file, images (B,C,H,W)
	Outputs []Port

	opset  int64
	train  bool
	steps  []step
	ops    map[string]operation
	params []*nn.Param
	fixed  map[string]Tensor    // what is not trained, by name
	arrays map[string]*nn.Param // what is, and the statistics of batch norms
}

// step is a node and what is run for it: its own operation, or the one that
// stands for it and its neighbours.
type step struct {
	Node
	as    string
	index int // in the file
}

func (s *step) fail(err error) error { return fmt.Errorf("%s: %w", s.where(s.index), err) }

// Open reads the file at path.
func Open(path string, c Config) (*Module, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w: name a file that exists", err)
	}
	defer f.Close()
	m, err := Load(f, c)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	return m, nil
}

// Load reads a file.
func Load(r io.Reader, c Config) (*Module, error) {
	m, err := Read(r)
	if err != nil {
		return nil, err
	}
	return New(m, c)
}

// New turns a Model into a Module with arrays of its own. Every operation that
// is not known is reported, by the name of its node.
func New(f *Model, c Config) (*Module, error) {
	fail := func(err error) (*Module, error) { return nil, fmt.Errorf("onnx: import: %w", err) }
	if f.Opset < oldest || f.Opset > newest {
		return fail(fmt.Errorf("operations of version %d, want %d to %d: export with another opset_version", f.Opset, oldest, newest))
	}
	g := &f.Graph
	if len(g.Nodes) > maxNodes {
		return fail(fmt.Errorf("%d nodes, want at most %d", len(g.Nodes), maxNodes))
	}
	m := &Module{Name: g.Name, Meta: f.Meta, Outputs: g.Outputs, opset: f.Opset, train: c.TrainNorm, ops: operations(),
		fixed: map[string]Tensor{}, arrays: map[string]*nn.Param{}}
	known := map[string]bool{"": true}
	define := func(name string) error {
		if known[name] {
			return fmt.Errorf("value %q is defined twice", name)
		}
		known[name] = true
		return nil
	}
	weights := map[string]Tensor{}
	for _, t := range g.Init {
		if err := define(t.Name); err != nil {
			return fail(err)
		}
		if t.Whole || len(t.Shape) == 0 || t.Len() == 0 {
			m.fixed[t.Name] = t
		} else {
			weights[t.Name] = t
		}
	}
	for _, p := range g.Inputs { // older files list the weights among the inputs
		if _, ok := weights[p.Name]; ok {
			continue
		}
		if _, ok := m.fixed[p.Name]; ok {
			continue
		}
		if err := define(p.Name); err != nil {
			return fail(err)
		}
		m.Inputs = append(m.Inputs, p)
	}
	var unknown []error
	for i, n := range g.Nodes {
		s := step{Node: n, as: n.Op, index: i}
		for _, in := range n.Inputs {
			if !known[in] {
				return fail(s.fail(fmt.Errorf("reads %q, which nothing before it computes", in)))
			}
		}
		for _, out := range n.Outputs {
			if out == "" {
				continue
			}
			if err := define(out); err != nil {
				return fail(s.fail(err))
			}
		}
		if len(n.Outputs) == 0 || n.Outputs[0] == "" {
			return fail(s.fail(errors.New("has no result")))
		}
		if n.Domain != "" && n.Domain != "ai.onnx" {
			unknown = append(unknown, s.fail(errors.New("an operation of another domain; export with ONNX's own")))
			continue
		}
		if n.Op == "Constant" {
			t, err := constant(&n)
			if err != nil {
				return fail(s.fail(err))
			}
			m.fixed[n.Outputs[0]] = t
			continue
		}
		m.steps = append(m.steps, s)
	}
	for _, p := range g.Outputs {
		if !known[p.Name] || p.Name == "" {
			return fail(fmt.Errorf("output %q is computed by nothing", p.Name))
		}
	}
	if len(m.Inputs) == 0 || len(m.Outputs) == 0 {
		return fail(errors.New("the graph has no input or no output"))
	}
	rewrite(m, weights)
	for i := range m.steps {
		s := &m.steps[i]
		if _, ok := m.ops[s.as]; !ok {
			unknown = append(unknown, s.fail(errors.New("operation is not known here")))
		}
	}
	if len(unknown) > 0 {
		if more := len(unknown) - 8; more > 0 {
			unknown = append(unknown[:8], fmt.Errorf("and %d more", more))
		}
		return fail(fmt.Errorf("%w\nread are: %s", errors.Join(unknown...), strings.Join(Operations(), " ")))
	}
	m.claim(weights)
	return m, nil
}

// claim makes Params of the weights that steps or outputs read, in the file's
// order of use.
func (m *Module) claim(weights map[string]Tensor) {
	at := 0
	take := func(name string, trained bool) {
		t, ok := weights[name]
		if !ok || m.arrays[name] != nil {
			return
		}
		if t.Len() == 1 && arithmetic(m.steps[at].as) { // the 2 of x/2, a bias is read elsewhere
			m.fixed[name] = t
			return
		}
		p := nn.NewParam(name, t.Shape...)
		copy(p.Data, t.Floats)
		m.arrays[name] = p
		if trained {
			m.params = append(m.params, p)
		}
	}
	for i := range m.steps {
		s := &m.steps[i]
		at = i
		for k, in := range s.Inputs {
			take(in, s.as != "BatchNormalization" || k < 3)
		}
	}
	for _, p := range m.Outputs {
		take(p.Name, true)
	}
}

// Params lists the trainable arrays in the order of their use, under the file's
// names. A weight of a product lies as (Out,In), like nn's.
func (m *Module) Params() []*nn.Param { return slices.Clone(m.params) }

// Tensors lists all that a checkpoint of the module must hold: the Params, and
// the statistics of batch norms where these are trained. The arrays are shared.
func (m *Module) Tensors() []nn.Tensor {
	ts := nn.Tensors(m.params)
	for i := range m.steps {
		if s := &m.steps[i]; s.as == "BatchNormalization" {
			for _, in := range s.Inputs[3:] {
				ts = append(ts, nn.Tensors([]*nn.Param{m.arrays[in]})...)
			}
		}
	}
	return ts
}

// Forward adds the network to g, from the one input x to the first output.
// Images are channels-last: inputs and outputs of four axes are (B,H,W,C) where the
// file says (B,C,H,W), unless it turns them itself; others are as in the file. Gradients
// reach x and the params. What the file leaves open shows here: a shape that
// does not fit is an error that names the node.
func (m *Module) Forward(g *nn.Graph, x *nn.Node) (*nn.Node, error) {
	ys, err := m.Apply(g, g.Param, x)
	if err != nil {
		return nil, err
	}
	return ys[0], nil
}

// Apply is Forward for any number of inputs and outputs. use is g.Param to
// train, g.Frozen to follow the params without training them and g.Static where
// they never change.
func (m *Module) Apply(g *nn.Graph, use func(*nn.Param) *nn.Node, xs ...*nn.Node) ([]*nn.Node, error) {
	ys, err := m.run(g, use, xs)
	if err != nil {
		return nil, fmt.Errorf("onnx: network %q: %w", m.Name, err)
	}
	return ys, nil
}

// constant is the array of a Constant node.
func constant(n *Node) (Tensor, error) {
	for _, a := range n.Attrs {
		switch a.Name {
		case "value":
			if a.Kind == OfArray {
				return *a.T, nil
			}
		case "value_float":
			return Tensor{Floats: []float32{a.F}}, nil
		case "value_floats":
			return Tensor{Shape: []int{len(a.Floats)}, Floats: a.Floats}, nil
		case "value_int":
			return Tensor{Whole: true, Ints: []int64{a.I}}, nil
		case "value_ints":
			return Tensor{Shape: []int{len(a.Ints)}, Whole: true, Ints: a.Ints}, nil
		}
	}
	return Tensor{}, errors.New("no array of numbers inside")
}
