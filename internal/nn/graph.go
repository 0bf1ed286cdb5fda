package nn

import (
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// Node is a value in a Graph. Arrays are row-major, last axis fastest.
type Node struct {
	Shape []int
	Value []float32 // written by Forward; by the caller for inputs
	Grad  []float32 // derivative of the loss; nil where none is needed

	val, grad []float32 // where the graph computes: Value and Grad, but for accelerators

	inputs   []*Node
	forward  func()
	backward func()
	base     *Node // whose buffers a view shares; itself otherwise
	param    *Param
	needs    bool
	static   bool // Value is the same at every Forward
	fresh    bool // the first contribution of this pass may overwrite Grad

	// On an accelerator, see far.go:
	mem    *memory
	vs, gs *store
	input  bool     // the processor writes Value
	moving bool     // its calls differ from pass to pass, or run on the processor
	moves  []*Param // that computing it changes
}

// Len is the number of elements.
func (n *Node) Len() int { return len(n.Value) }

// Needs says whether a gradient flows into n.
func (n *Node) Needs() bool { return n.needs }

// acc returns Grad ready to be added to: zeroed at the first contribution.
func (n *Node) acc() []float32 {
	n.into()
	return n.Grad
}

// into is acc of where the graph computes.
func (n *Node) into() []float32 {
	if b := n.base; b.fresh {
		if b.mem != nil {
			b.mem.far.Clear(b.grad)
		} else {
			clear(b.grad)
		}
		b.fresh = false
	}
	return n.grad
}

// first says whether the caller is the first to contribute to all of n's
// gradient, in which case it must overwrite it, and marks it as begun. A view
// of part of a buffer is never first.
func (n *Node) first() bool {
	f := n.base.fresh
	n.base.fresh = false
	return f
}

// beta is first in the language of BLAS: 0 overwrites, 1 adds.
func (n *Node) beta() float32 {
	if n.first() {
		return 0
	}
	return 1
}

// Graph is a fixed computation: built once with all shapes, run many times.
// Building allocates every buffer, so that Forward and Backward allocate
// nothing once they have run. It is used by one goroutine at a time; graphs
// sharing Params may run concurrently only while nobody writes those.
type Graph struct {
	dev    device.Device
	far    device.Accelerator // dev, if it is one
	mem    *memory            // there
	nodes  []*Node
	params map[*Param]*Node
	frozen map[*Param]*Node
	fwd    map[*Node]*plan
	bwd    map[*Node]*plan
	buf    []float32
	all    *plan // of Forward, when the graph had allOf nodes
	allOf  int
}

// NewGraph returns an empty graph on the default device.
func NewGraph() *Graph { return NewGraphOn(device.Default()) }

// NewGraphOn returns an empty graph on a device; nil is the default one.
func NewGraphOn(d device.Device) *Graph {
	if d == nil {
		d = device.Default()
	}
	g := &Graph{
		dev:    d,
		params: map[*Param]*Node{},
		frozen: map[*Param]*Node{},
		fwd:    map[*Node]*plan{},
		bwd:    map[*Node]*plan{},
	}
	if far, ok := d.(device.Accelerator); ok {
		g.far, g.mem = far, newMemory(far)
	}
	return g
}

// Input adds an array that the caller writes before Forward.
func (g *Graph) Input(shape ...int) *Node {
	n := g.kind(false, true, shape)
	return n
}

// InputGrad is Input for an array whose gradient is wanted, such as the action
// through which an actor climbs its critic.
func (g *Graph) InputGrad(shape ...int) *Node {
	n := g.kind(true, true, shape)
	return n
}

// Const adds an array that stays as given. data is copied.
func (g *Graph) Const(data []float32, shape ...int) *Node {
	n := g.node(false, shape)
	if len(data) != len(n.Value) {
		panic("nn: Const: data does not fill the shape")
	}
	g.copy(n.val, data)
	if g.far != nil && n.vs.host != nil {
		copy(n.Value, data)
	}
	return n
}

// Param brings p into the graph; Backward adds to p.Grad. The node shares p's
// arrays, so p.Data must be written in place.
func (g *Graph) Param(p *Param) *Node {
	if n, ok := g.params[p]; ok {
		return n
	}
	if len(p.Grad) != len(p.Data) {
		panic("nn: Param: gradient and data differ in length")
	}
	n := &Node{Shape: p.Shape, Value: p.Data, Grad: p.Grad, val: p.Data, grad: p.Grad, param: p, needs: true}
	n.base = n
	g.place(n)
	g.nodes = append(g.nodes, n)
	g.params[p] = n
	return n
}

// Frozen brings p into the graph as a constant that follows p's values: a
// target network, or a critic while the actor learns.
func (g *Graph) Frozen(p *Param) *Node {
	if n, ok := g.frozen[p]; ok {
		return n
	}
	n := &Node{Shape: p.Shape, Value: p.Data, val: p.Data, param: p}
	n.base = n
	g.place(n)
	g.nodes = append(g.nodes, n)
	g.frozen[p] = n
	return n
}

// Static brings p into the graph as a constant that is read at the first Forward
// and must not change after: for networks that only act. It saves arranging the
// weights of convolutions for the processor again and again.
func (g *Graph) Static(p *Param) *Node {
	n := &Node{Shape: p.Shape, Value: p.Data, val: p.Data, param: p, static: true}
	n.base = n
	g.place(n)
	g.nodes = append(g.nodes, n)
	return n
}

// StopGrad passes x on and no gradient back.
func (g *Graph) StopGrad(x *Node) *Node {
	n := &Node{Shape: x.Shape, Value: x.Value, val: x.val, inputs: []*Node{x}, mem: g.mem, input: x.input}
	n.base = n
	if g.far != nil {
		n.hold(x.vs)
	}
	g.nodes = append(g.nodes, n)
	return n
}

// Custom adds an operation of the caller's own with a result of the given
// shape. forward reads the inputs' Values and writes out.Value; backward reads
// out.Grad and adds into each input's Grad where that is not nil. Both get the
// node itself. backward may be nil, then nothing flows back.
func (g *Graph) Custom(inputs []*Node, shape []int, forward, backward func(out *Node)) *Node {
	if forward == nil {
		panic("nn: Custom: no forward function")
	}
	n := g.op(shape, inputs...)
	if backward == nil {
		n.needs, n.Grad = false, nil
	}
	ins := n.inputs
	n.forward = func() { forward(n) }
	n.backward = func() {
		for _, x := range ins {
			if x.needs {
				x.acc()
			}
		}
		backward(n)
	}
	return g.hosted(n)
}

// Forward computes every node.
func (g *Graph) Forward() {
	if g.all == nil || g.allOf != len(g.nodes) {
		g.all, g.allOf = &plan{nodes: slices.Clone(g.nodes)}, len(g.nodes)
		g.prepare(g.all, nil)
	}
	g.ahead(g.all)
}

// ForwardTo computes what n depends on, and n.
func (g *Graph) ForwardTo(n *Node) {
	p, ok := g.fwd[n]
	if !ok {
		p = &plan{nodes: g.plan(n, func(m *Node) bool { return true })}
		g.prepare(p, n)
		g.fwd[n] = p
	}
	g.ahead(p)
}

// ahead computes the nodes of p.
func (g *Graph) ahead(p *plan) {
	for _, q := range p.params {
		q.Pull()
	}
	for _, s := range p.inputs {
		g.far.Upload(s.dev, s.host)
	}
	g.run(p, false)
	if g.far == nil {
		return
	}
	for _, s := range p.small {
		g.far.Download(s.host, s.dev)
	}
	for _, s := range p.last {
		g.far.Download(s.host, s.dev)
	}
	g.far.Sync()
}

// Backward computes the gradient of the scalar loss at every node that it
// depends on, and adds it to the Grad of the Params among them (ZeroGrad clears
// those). Forward or ForwardTo(loss) comes first.
func (g *Graph) Backward(loss *Node) {
	if len(loss.Value) != 1 {
		panic("nn: Backward: the loss is not a scalar")
	}
	g.BackwardFrom(loss, nil)
}

// BackwardFrom is Backward for any node, given the derivative of some loss with
// respect to it; nil stands for ones. It joins graphs: the gradient at an
// InputGrad of one goes on into the node of another that filled it.
func (g *Graph) BackwardFrom(n *Node, seed []float32) {
	if !n.needs {
		panic("nn: Backward: nothing trainable behind the loss")
	}
	if seed != nil && len(seed) != len(n.Value) {
		panic("nn: BackwardFrom: seed and node differ in length")
	}
	p, ok := g.bwd[n]
	if !ok {
		p = &plan{nodes: g.plan(n, func(m *Node) bool { return m.needs })}
		slices.Reverse(p.nodes)
		g.prepare(p, nil)
		g.climbed(p)
		g.bwd[n] = p
	}
	for _, m := range p.nodes {
		if m.param == nil {
			m.base.fresh = true
		}
	}
	for _, m := range p.nodes { // a view's base is in the plan behind it; Params keep adding
		if m.base.param != nil {
			m.base.fresh = false
		}
	}
	d := n.into()
	switch {
	case seed != nil:
		g.dev.Add(d, seed)
	case g.far != nil:
		g.far.Shift(1, d)
	default:
		for i := range d {
			d[i]++
		}
	}
	g.run(p, true)
	if g.far != nil && len(p.small) > 0 {
		for _, s := range p.small {
			g.far.Download(s.host, s.dev)
		}
		g.far.Sync()
	}
}

// plan lists the ancestors of n that keep says yes to, and n, in the order in
// which they were built.
func (g *Graph) plan(n *Node, keep func(*Node) bool) []*Node {
	seen := map[*Node]bool{}
	var walk func(*Node)
	walk = func(m *Node) {
		if seen[m] || !keep(m) {
			return
		}
		seen[m] = true
		for _, x := range m.inputs {
			walk(x)
		}
	}
	walk(n)
	if !slices.Contains(g.nodes, n) {
		panic("nn: node of another graph")
	}
	var plan []*Node
	for _, m := range g.nodes {
		if seen[m] {
			plan = append(plan, m)
		}
	}
	return plan
}

// node adds an empty node of the given shape.
func (g *Graph) node(needs bool, shape []int) *Node {
	return g.kind(needs, false, shape)
}

// kind is node, or for the caller's input.
func (g *Graph) kind(needs, input bool, shape []int) *Node {
	n := &Node{Shape: slices.Clone(shape), needs: needs, input: input, mem: g.mem}
	n.base = n
	if g.far != nil {
		g.settle(n)
	} else {
		n.Value = make([]float32, size(shape))
		n.val = n.Value
		if needs {
			n.Grad = make([]float32, len(n.Value))
			n.grad = n.Grad
		}
	}
	g.nodes = append(g.nodes, n)
	return n
}

// op adds a node that depends on inputs.
func (g *Graph) op(shape []int, inputs ...*Node) *Node {
	needs := false
	for _, x := range inputs {
		needs = needs || x.needs
	}
	n := g.node(needs, shape)
	n.inputs = slices.Clone(inputs)
	return n
}

// view adds a node that shares all of x's elements under another shape.
func (g *Graph) view(x *Node, shape []int) *Node {
	if size(shape) != len(x.Value) {
		panic("nn: Reshape: the number of elements changes")
	}
	n := &Node{Shape: slices.Clone(shape), Value: x.Value, Grad: x.Grad, val: x.val, grad: x.grad, inputs: []*Node{x}, base: x.base, needs: x.needs, mem: g.mem, input: x.input}
	if g.far != nil {
		n.hold(x.vs)
		if x.needs {
			n.hold(x.gs)
		}
	}
	g.nodes = append(g.nodes, n)
	return n
}

// reserve makes sure that scratch can hand out n elements.
func (g *Graph) reserve(n int) {
	if n > len(g.buf) {
		g.buf = g.alloc(n)
	}
}

// scratch is working memory for one operation's forward or backward.
func (g *Graph) scratch(n int) []float32 { return g.buf[:n] }

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		if d < 1 {
			panic("nn: shape with an axis shorter than one")
		}
		n *= d
	}
	return n
}
