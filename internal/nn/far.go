package nn

import (
	"runtime"
	"slices"

	"github.com/rapport-rl/rapport/internal/nn/device"
)

// A graph on an accelerator computes with arrays that the processor cannot see.
// What others read and write of a node is a copy, Value and Grad:
//
//   - Inputs are the processor's. Every pass that needs one copies it there first.
//   - A pass copies back the node it was asked for, those that Keep names, and every
//     other that is small. The Value of a large one in between is the accelerator's
//     array itself, so that reading it faults instead of being wrong.
//   - Backward copies back the Grad of each InputGrad, and no other.
//   - Params are the accelerator's once a graph there has them. Data follows where
//     this package reads it (Tensors, Copy, a graph on the processor) or with Pull;
//     who writes to Data says so with Push.
//   - Operations without a kernel, Custom among them, run on the processor, with
//     copies around them.

// small is how many elements a node has at most whose Value always follows: a
// batch of 256 with 64 numbers each. A pass brings them all in one copy.
const small = 16384

// store is an array of a graph on an accelerator.
type store struct {
	dev   []float32
	host  []float32 // its copy; nil: there is none
	nodes []*Node   // that show it
	grad  bool      // as their Grad
	keep  bool      // read after every pass
}

// shown makes sure that s has a copy, which its nodes show.
func (g *Graph) shown(s *store) []float32 {
	if s.host == nil {
		s.host = g.mem.pin(len(s.dev))
		for _, n := range s.nodes {
			n.show(s)
		}
	}
	return s.host
}

// show sets the field that s is of.
func (n *Node) show(s *store) {
	x := s.host
	if x == nil {
		x = s.dev
	}
	if s.grad {
		n.Grad, n.grad = x, s.dev
	} else {
		n.Value, n.val = x, s.dev
	}
}

// hold makes n show a store, of its own or another's.
func (n *Node) hold(s *store) {
	s.nodes = append(s.nodes, n)
	if s.grad {
		n.gs = s
	} else {
		n.vs = s
	}
	n.show(s)
}

// memory hands out a graph's arrays on an accelerator from chunks that go back
// when the graph is forgotten. Nodes keep it alive.
type memory struct {
	far    device.Accelerator
	chunks *chunks
	plain  []float32 // rest of the last chunk
	next   int       // size of the next, halved
	pairs  []*both   // of small nodes
	inputs []*both
}

type chunks struct {
	all     [][]float32
	records []device.Recording
}

// both is memory on both sides, in the same order, so that one copy moves it.
type both struct{ dev, host, at []float32 }

func newMemory(far device.Accelerator) *memory {
	m := &memory{far: far, chunks: &chunks{}}
	runtime.AddCleanup(m, func(c *chunks) {
		for _, r := range c.records {
			r.Forget()
		}
		for _, x := range c.all {
			far.Free(x)
		}
	}, m.chunks)
	return m
}

// align rounds up to what the card reads at once, 256 bytes.
func align(n int) int { return (n + 63) &^ 63 }

// Chunks of plain memory grow from the one to the other, in elements.
const least, most = 1 << 14, 1 << 22

func (m *memory) alloc(n int) []float32 {
	k := align(n)
	if k > len(m.plain) {
		m.next = min(most, max(least, 2*m.next))
		m.plain = m.far.Alloc(max(k, m.next))
		m.chunks.all = append(m.chunks.all, m.plain)
	}
	x := m.plain[:n:n]
	m.plain = m.plain[k:]
	return x
}

func (m *memory) pin(n int) []float32 {
	x := m.far.Pin(n)
	m.chunks.all = append(m.chunks.all, x)
	return x
}

// halves takes n elements of the last of ps, or of a new one.
func (m *memory) halves(ps *[]*both, n, least int) *store {
	k := align(n)
	var p *both
	if len(*ps) > 0 {
		p = (*ps)[len(*ps)-1]
	}
	if p == nil || len(p.dev)-len(p.at) < k {
		size := max(k, least)
		p = &both{dev: m.far.Alloc(size), host: m.far.Pin(size)}
		m.chunks.all = append(m.chunks.all, p.dev, p.host)
		*ps = append(*ps, p)
	}
	i := len(p.at)
	p.at = p.dev[:i+k]
	return &store{dev: p.dev[i : i+n : i+n], host: p.host[i : i+n : i+n]}
}

// span is a copy of a run of elements.
type span struct{ dev, host []float32 }

// spans finds, of the pairs, the runs that hold the Values of nodes.
func spans(ps []*both, nodes []*Node) []span {
	var all []span
	for _, p := range ps {
		lo, hi := len(p.dev), 0
		for _, n := range nodes {
			if n.vs == nil || n.vs.host == nil {
				continue
			}
			if i := within(p.host, n.vs.host); i >= 0 {
				lo, hi = min(lo, i), max(hi, i+len(n.vs.host))
			}
		}
		if lo < hi {
			all = append(all, span{p.dev[lo:hi], p.host[lo:hi]})
		}
	}
	return all
}

// settle gives a new node its arrays.
func (g *Graph) settle(n *Node) {
	elements := size(n.Shape)
	least := 1 << 16
	if elements > small {
		least = 0 // memory of its own: a pass that does not need it does not copy it
	}
	switch {
	case n.input:
		n.hold(g.mem.halves(&g.mem.inputs, elements, least))
	case elements <= small:
		n.hold(g.mem.halves(&g.mem.pairs, elements, 1<<18))
	default:
		n.hold(&store{dev: g.mem.alloc(elements)})
	}
	if n.needs {
		n.hold(&store{dev: g.mem.alloc(elements), grad: true})
		if n.input {
			g.shown(n.gs)
		}
	}
}

// place makes the node of a Param show its twin.
func (g *Graph) place(n *Node) {
	if g.far == nil {
		return
	}
	p := n.param
	p.onto(g.far)
	n.mem = g.mem
	n.hold(&store{dev: p.twin.data, host: p.Data})
	if n.needs {
		n.hold(&store{dev: p.twin.grad, host: p.Grad, grad: true})
	}
}

// Keep says, before the first pass, that nodes in between are read after every pass
// that computes them, however large they are.
func (g *Graph) Keep(nodes ...*Node) {
	if g.far == nil {
		return
	}
	for _, n := range nodes {
		g.shown(n.vs)
		n.vs.keep = !n.input && len(n.Value) > small // others follow anyway
	}
}

// climbed makes p, which goes backward, bring back the gradients of InputGrads
// instead of Values.
func (g *Graph) climbed(p *plan) {
	p.small = nil
	if g.far == nil {
		for _, n := range p.nodes {
			if n.param != nil && n.param.twin != nil {
				panic("nn: Backward: a param is trained on the processor and on an accelerator")
			}
		}
		return
	}
	for _, n := range p.nodes {
		if n.input && n.base == n && n.param == nil {
			p.small = append(p.small, span{n.gs.dev, n.gs.host})
		}
	}
}

// within is where in p the elements of x are, or -1.
func within(p, x []float32) int {
	for lo := 0; lo < len(p); lo += 64 { // as align has it
		if &p[lo] == &x[0] {
			return lo
		}
	}
	return -1
}

// hosted makes n's operation, which reads and writes Values and Grads, run on the
// processor between copies. On a graph of the processor's it does nothing.
func (g *Graph) hosted(n *Node) *Node {
	if g.far == nil {
		return n
	}
	n.moving = true
	g.shown(n.vs)
	for _, x := range n.inputs {
		g.shown(x.vs)
		if x.needs {
			g.shown(x.gs)
		}
	}
	if n.needs {
		g.shown(n.gs)
	}
	forward, backward := n.forward, n.backward
	var near []span // what the function may look at, though it is no input
	n.forward = func() {
		if near == nil {
			near = spans(g.mem.pairs, g.nodes[:slices.Index(g.nodes, n)])
		}
		for _, s := range near {
			g.far.Download(s.host, s.dev)
		}
		for _, x := range n.inputs {
			if len(x.Value) > small && !x.input {
				g.far.Download(x.vs.host, x.vs.dev)
			}
			if x.param != nil {
				x.param.Pull()
			}
		}
		g.far.Sync()
		forward()
		g.far.Upload(n.vs.dev, n.vs.host)
	}
	n.backward = func() {
		g.far.Download(n.gs.host, n.gs.dev)
		for _, x := range n.inputs {
			if x.needs {
				x.into()
				g.far.Download(x.gs.host, x.gs.dev)
			}
		}
		g.far.Sync()
		backward()
		for _, x := range n.inputs {
			if x.needs {
				g.far.Upload(x.gs.dev, x.gs.host)
			}
		}
	}
	return n
}

// alloc is make for arrays that only the graph's device works with.
func (g *Graph) alloc(n int) []float32 {
	if g.far != nil {
		return g.mem.alloc(n)
	}
	return make([]float32, n)
}

// copy and clear are Go's, where the graph's arrays are.
func (g *Graph) copy(dst, src []float32) {
	if g.far != nil {
		g.far.Copy(dst, src)
		return
	}
	copy(dst, src)
}

func (g *Graph) clear(dst []float32) {
	if g.far != nil {
		g.far.Clear(dst)
		return
	}
	clear(dst)
}

// plan is a pass through a graph.
type plan struct {
	nodes []*Node
	// On an accelerator:
	inputs []span   // to be copied there
	small  []span   // to be copied back, and the Grads of InputGrads
	last   []*store // and what was asked for and is kept
	params []*Param
	moved  []*Param // that the pass changes
	fixed  bool     // always the same calls
	passes int
	record device.Recording
}

// prepare works out what a pass over p's nodes copies.
func (g *Graph) prepare(p *plan, asked *Node) {
	if g.far == nil {
		for _, n := range p.nodes {
			if n.param != nil {
				p.params = append(p.params, n.param)
			}
		}
		return
	}
	p.inputs = spans(g.mem.inputs, p.nodes)
	p.small = spans(g.mem.pairs, p.nodes)
	if asked != nil && len(asked.Value) > small {
		g.shown(asked.vs)
		p.last = append(p.last, asked.vs)
	}
	p.fixed = true
	for _, n := range p.nodes {
		if n.vs.keep && !slices.Contains(p.last, n.vs) {
			p.last = append(p.last, n.vs)
		}
		if n.moving {
			p.fixed = false
		}
		p.moved = append(p.moved, n.moves...)
	}
}

// steps computes p's nodes, or their gradients.
func (p *plan) steps(back bool) {
	for _, n := range p.nodes {
		switch {
		case back:
			n.into() // a node that nobody contributed to has gradient zero
			if n.backward != nil {
				n.backward()
			}
		case n.forward != nil:
			n.forward()
		}
	}
}

// run does a pass of p, forward or back.
func (g *Graph) run(p *plan, back bool) {
	if g.far == nil {
		p.steps(back)
		return
	}
	// The first pass settles what arrays there are, the second is recorded.
	switch {
	case p.record != nil:
		p.record.Replay()
	case p.fixed && p.passes == 1:
		if p.record = g.far.Record(func() { p.steps(back) }); p.record == nil {
			p.fixed = false
			p.steps(back)
			break
		}
		g.mem.chunks.records = append(g.mem.chunks.records, p.record)
		p.record.Replay()
	default:
		p.steps(back)
	}
	p.passes++
	for _, q := range p.moved {
		q.twin.ahead = true
	}
}

// twin is a Param on an accelerator.
type twin struct {
	far        device.Accelerator
	data, grad []float32
	ahead      bool // of Param.Data
}

// onto gives p a twin.
func (p *Param) onto(far device.Accelerator) {
	if p.twin != nil {
		if p.twin.far != far {
			panic("nn: Param: used on two accelerators")
		}
		return
	}
	n := len(p.Data)
	both := far.Alloc(align(n) + len(p.Grad))
	p.twin = &twin{far: far, data: both[:n:n], grad: both[align(n):]}
	runtime.AddCleanup(p, func(x []float32) { far.Free(x) }, both)
	far.Upload(p.twin.data, p.Data)
	far.Upload(p.twin.grad, p.Grad)
	far.Sync()
}

// Pull brings Data up to date where an accelerator has changed it.
func (p *Param) Pull() {
	if t := p.twin; t != nil && t.ahead {
		t.far.Download(p.Data, t.data)
		t.far.Sync()
		t.ahead = false
	}
}

// Push tells an accelerator that Data was written to.
func (p *Param) Push() {
	if t := p.twin; t != nil {
		t.far.Upload(t.data, p.Data)
		t.far.Sync()
		t.ahead = false
	}
}

// Pull brings the Data of params up to date.
func Pull(params []*Param) {
	for _, p := range params {
		p.Pull()
	}
}

// follow is Lerp there.
func (t *twin) follow(tau float32, s *twin) {
	if tau == 1 {
		t.far.Copy(t.data, s.data)
	} else {
		t.far.Lerp(tau, t.data, s.data)
	}
	t.ahead = true
}
