package nn

import (
	"slices"
	"testing"
)

// critic is the step that RLPD repeats, small enough for a test.
type critic struct {
	g      *Graph
	x, y   *Node
	loss   *Node
	net    *MLP
	adam   *Adam
	params []*Param
}

func newCritic(seed uint64, members int) *critic {
	rng := newRand(seed)
	c := &critic{g: NewGraph()}
	c.net = NewMLP("q", MLPConfig{In: 7, Hidden: []int{16, 16}, Out: 1, Members: members, LayerNorm: true}, rng)
	c.x = c.g.Input(8, 7)
	q := c.net.Forward(c.g, c.x)
	c.y = c.g.Input(q.Shape...)
	c.loss = c.g.MSE(q, c.y)
	c.params = c.net.Params()
	c.adam = NewAdam(c.params, AdamConfig{LR: 1e-3})
	randomise(c.x.Value, rng)
	randomise(c.y.Value, rng)
	return c
}

func (c *critic) step() {
	c.g.Forward()
	ZeroGrad(c.params)
	c.g.Backward(c.loss)
	c.adam.Step()
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	c := newCritic(1, 3)
	rng := newRand(2)
	net := NewConvNet("e", ConvConfig{Channels: 3, H: 12, W: 12, Layers: []ConvLayer{{4, 3, 2, 1}, {4, 3, 1, 0}}, Act: SiLU}, rng)
	g := NewGraph()
	x := g.Input(5, 12, 12, 3)
	randomise(x.Value, rng)
	z := g.SpatialSoftmax(net.Forward(g, x), 1)
	loss := g.Mean(g.Square(g.LogSumExp(z)))
	for _, tc := range []struct {
		name string
		f    func()
	}{
		{"training step of an ensemble", c.step},
		{"forward to a node", func() { c.g.ForwardTo(c.loss) }},
		{"encoder", func() { g.Forward(); g.Backward(loss) }},
		{"target network", func() { Lerp(c.params, c.params, 0.005) }},
	} {
		tc.f() // plans are made in the first pass
		if got := testing.AllocsPerRun(20, tc.f); got != 0 {
			t.Errorf("%s: %v allocations a run, want 0", tc.name, got)
		}
	}
}

func TestSameSeedSameBits(t *testing.T) {
	a, b := newCritic(5, 4), newCritic(5, 4)
	for range 20 {
		a.step()
		b.step()
	}
	for i, p := range a.params {
		if !slices.Equal(p.Data, b.params[i].Data) {
			t.Fatalf("%s differs between two runs of the same seed", p.Name)
		}
	}
	if c := newCritic(6, 4); slices.Equal(c.params[0].Data, newCritic(5, 4).params[0].Data) {
		t.Error("another seed gives the same weights")
	}
}

func TestTrainingReducesTheLoss(t *testing.T) {
	c := newCritic(1, 2)
	c.step()
	before := c.loss.Value[0]
	for range 500 {
		c.step()
	}
	if after := c.loss.Value[0]; !(after < before/20) {
		t.Errorf("loss went from %v to %v in 500 steps on 8 points, want a twentieth", before, after)
	}
}

func TestFrozenGetsNoGradient(t *testing.T) {
	// An actor's loss: the gradient passes the critic and reaches the action.
	rng := newRand(4)
	net := NewMLP("q", MLPConfig{In: 3, Hidden: []int{8}, Out: 1}, rng)
	g := NewGraph()
	a := g.InputGrad(2, 3)
	randomise(a.Value, rng)
	loss := g.Mean(net.Frozen(g, a))
	g.Forward()
	g.Backward(loss)
	for _, p := range net.Params() {
		if slices.ContainsFunc(p.Grad, func(v float32) bool { return v != 0 }) {
			t.Errorf("%s got a gradient", p.Name)
		}
	}
	if !slices.ContainsFunc(a.Grad, func(v float32) bool { return v != 0 }) {
		t.Error("the action got no gradient")
	}
	net.Params()[0].Data[0] += 5 // Frozen follows the values
	was := loss.Value[0]
	g.Forward()
	if loss.Value[0] == was {
		t.Error("a frozen param's new value is not seen")
	}
}

func TestOneMemberAloneEqualsTheEnsemble(t *testing.T) {
	rng := newRand(8)
	net := NewMLP("q", MLPConfig{In: 3, Hidden: []int{8, 8}, Out: 2, Members: 4, LayerNorm: true}, rng)
	g := NewGraph()
	x := g.Input(5, 3)
	randomise(x.Value, rng)
	all := net.Frozen(g, x)
	idx := []int{3, 1}
	two := net.FrozenSubset(g, x, idx)
	for _, pick := range [][]int{{3, 1}, {0, 2}} {
		copy(idx, pick)
		g.Forward()
		for i, k := range pick {
			if got, want := two.Value[i*10:(i+1)*10], all.Value[k*10:(k+1)*10]; !slices.Equal(got, want) {
				t.Errorf("member %d: got %v, want %v", k, got, want)
			}
		}
	}
}

func TestStopGradAndJoinedGraphs(t *testing.T) {
	p := NewParam("p", 2)
	p.Data[0], p.Data[1] = 3, 4
	g := NewGraph()
	x := g.Param(p)
	loss := g.Sum(g.Mul(x, g.StopGrad(g.Square(x)))) // d/dx is x^2, not 3x^2
	g.Forward()
	g.Backward(loss)
	if got, want := p.Grad, []float32{9, 16}; !slices.Equal(got, want) {
		t.Errorf("gradient %v, want %v", got, want)
	}

	ZeroGrad([]*Param{p})
	front, back := NewGraph(), NewGraph()
	mid := front.Square(front.Param(p))
	in := back.InputGrad(2)
	loss = back.Sum(back.Square(in)) // of p^4: 4p^3
	front.Forward()
	copy(in.Value, mid.Value)
	back.Forward()
	back.Backward(loss)
	front.BackwardFrom(mid, in.Grad)
	if got, want := p.Grad, []float32{108, 256}; !slices.Equal(got, want) {
		t.Errorf("gradient through two graphs %v, want %v", got, want)
	}
}

func TestForwardToLeavesTheRestAlone(t *testing.T) {
	g := NewGraph()
	x := g.Input(1)
	x.Value[0] = 2
	a, b := g.Square(x), g.Exp(x)
	g.ForwardTo(a)
	if a.Value[0] != 4 || b.Value[0] != 0 {
		t.Errorf("got %v and %v, want 4 and an untouched 0", a.Value[0], b.Value[0])
	}
}

func TestUncontributedGradientIsZero(t *testing.T) {
	g := NewGraph()
	x := g.InputGrad(2)
	silent := g.Custom([]*Node{x}, nil, func(*Node) {}, func(*Node) {})
	x.Grad[0] = 7
	g.Forward()
	g.Backward(silent)
	if x.Grad[0] != 0 {
		t.Errorf("gradient %v of an input that nobody contributed to, want 0", x.Grad[0])
	}
}

func TestMisuseTells(t *testing.T) {
	g := NewGraph()
	in := func(s ...int) *Node { return g.Input(s...) }
	pa := g.Param(NewParam("p", 1))
	for _, c := range []struct {
		want string
		f    func()
	}{
		{"nn: shape with an axis shorter than one", func() { in(2, 0) }},
		{"nn: Const: data does not fill the shape", func() { g.Const(nil, 2) }},
		{"nn: Param: gradient and data differ in length", func() { g.Param(&Param{Shape: []int{1}, Data: make([]float32, 1)}) }},
		{"nn: Custom: no forward function", func() { g.Custom(nil, nil, nil, nil) }},
		{"nn: Backward: the loss is not a scalar", func() { g.Backward(in(2)) }},
		{"nn: Backward: nothing trainable behind the loss", func() { g.Backward(in(1)) }},
		{"nn: BackwardFrom: seed and node differ in length", func() { g.BackwardFrom(pa, make([]float32, 2)) }},
		{"nn: node of another graph", func() { NewGraph().ForwardTo(pa) }},
		{"nn: Reshape: the number of elements changes", func() { g.Reshape(in(2, 3), 5) }},
		{"nn: shapes of the operands do not match", func() { g.Add(in(2, 3), in(3, 2)) }},
		{"nn: shapes of the operands do not match", func() { g.Add(in(3), in(2, 3)) }},
		{"nn: Clamp: empty interval", func() { g.Clamp(in(1), 1, 0) }},
		{"nn: Linear: weight has neither two nor three axes", func() { g.Linear(in(2, 3), in(3), nil) }},
		{"nn: Linear: input is a scalar", func() { g.Linear(in(), in(2, 3), nil) }},
		{"nn: Linear: input width differs from the weight's", func() { g.Linear(in(2, 4), in(2, 3), nil) }},
		{"nn: Linear: bias does not fit the weight", func() { g.Linear(in(2, 3), in(5, 3), in(3)) }},
		{"nn: Linear: bias does not fit the weight", func() { g.Linear(in(2, 3), in(2, 5, 3), in(5)) }},
		{"nn: Linear: input fits no ensemble of this size", func() { g.Linear(in(3, 4, 3), in(2, 5, 3), nil) }},
		{"nn: MatMul: operands are not both matrices or stacks of them", func() { g.MatMul(in(2, 3), in(1, 3, 2), false, false) }},
		{"nn: MatMul: stacks differ in height", func() { g.MatMul(in(2, 2, 2), in(3, 2, 2), false, false) }},
		{"nn: MatMul: inner sizes differ", func() { g.MatMul(in(2, 3), in(2, 3), false, false) }},
		{"nn: LayerNorm: input is a scalar", func() { g.LayerNorm(in(), nil, nil) }},
		{"nn: LayerNorm: gain and bias come together", func() { g.LayerNorm(in(2), in(2), nil) }},
		{"nn: LayerNorm: gain and bias do not fit the input", func() { g.LayerNorm(in(4, 2), in(3), in(3)) }},
		{"nn: LayerNorm: gain and bias do not fit the input", func() { g.LayerNorm(in(4, 2), in(3, 2), in(3, 2)) }},
		{"nn: Affine: gain and bias do not fit the channels", func() { g.Affine(in(2, 3), in(2), in(2)) }},
		{"nn: GroupNorm: channels are not divisible into groups", func() { g.GroupNorm(in(2, 3), in(3), in(3), 2) }},
		{"nn: Conv: input and weight need four axes", func() { g.Conv2D(in(2, 3), in(2, 3), nil, 1, 0) }},
		{"nn: Conv: channels of input and weight differ", func() { g.Conv2D(in(1, 3, 3, 2), in(1, 3, 1, 1), nil, 1, 0) }},
		{"nn: Conv: bias does not fit the weight", func() { g.Conv2D(in(1, 3, 3, 2), in(1, 2, 1, 1), in(2), 1, 0) }},
		{"nn: Window: negative stride or padding", func() { g.Conv2D(in(1, 3, 3, 2), in(1, 2, 1, 1), nil, 1, -1) }},
		{"nn: Window: kernel larger than the padded image", func() { g.Conv2D(in(1, 3, 3, 2), in(1, 2, 4, 4), nil, 1, 0) }},
		{"nn: ConvT: input and weight need four axes", func() { g.ConvT(in(2, 3), in(2, 3), nil, Window{}) }},
		{"nn: ConvT: channels of input and weight differ", func() { g.ConvT(in(1, 3, 3, 2), in(1, 3, 1, 1), nil, Window{}) }},
		{"nn: Conv: bias does not fit the weight", func() { g.ConvT(in(1, 3, 3, 2), in(2, 3, 1, 1), in(2), Window{}) }},
		{"nn: ConvT: nothing is left of the image", func() { g.ConvT(in(1, 1, 1, 2), in(2, 3, 1, 1), nil, Window{PadH: 1}) }},
		{"nn: SpatialSoftmax: input needs four axes", func() { g.SpatialSoftmax(in(2), 1) }},
		{"nn: SpatialSoftmax: temperature is not positive", func() { g.SpatialSoftmax(in(1, 1, 2, 2), 0) }},
		{"nn: MaxPool: input needs four axes", func() { g.MaxPool(in(2), 2, 2, 0) }},
		{"nn: MaxPool: padding as large as the window", func() { g.MaxPool(in(1, 1, 2, 2), 2, 2, 2) }},
		{"nn: AvgPool: input is not made of k by k blocks", func() { g.AvgPool(in(1, 1, 3, 4), 2) }},
		{"nn: Upsample: input needs four axes and positive factors", func() { g.Upsample(in(2), 2, 2) }},
		{"nn: Pixels: image and array differ in size", func() { Pixels(nil, nil, 1, 1, 3, 0, 0) }},
		{"nn: Concat: nothing to join", func() { g.Concat() }},
		{"nn: Concat: scalar", func() { g.Concat(in()) }},
		{"nn: Concat: leading axes differ", func() { g.Concat(in(2, 3), in(3, 3)) }},
		{"nn: Slice: bounds outside the last axis", func() { g.Slice(in(2, 3), 1, 4) }},
		{"nn: Select: nothing to select from or nothing selected", func() { g.Select(in(2), nil) }},
		{"nn: Select: index outside the first axis", func() { h := NewGraph(); h.Select(h.Input(2), []int{2}); h.Forward() }},
		{"nn: Transpose: fewer than two axes", func() { g.Transpose(in(2)) }},
		{"nn: SumLast: scalar", func() { g.SumLast(in()) }},
		{"nn: MeanLast: scalar", func() { g.MeanLast(in()) }},
		{"nn: MeanFirst: scalar", func() { g.MeanFirst(in()) }},
		{"nn: MinFirst: scalar", func() { g.MinFirst(in()) }},
		{"nn: LogSumExp: scalar", func() { g.LogSumExp(in()) }},
		{"nn: Softmax: scalar", func() { g.Softmax(in()) }},
		{"nn: loss: shapes differ", func() { g.MSE(in(2), in(3)) }},
		{"nn: Huber: delta is not positive", func() { g.Huber(in(2), in(2), 0) }},
		{"nn: Lerp: different numbers of params", func() { Lerp(nil, []*Param{NewParam("p", 1)}, 1) }},
		{"nn: Lerp: shapes differ", func() { Lerp([]*Param{NewParam("p", 2)}, []*Param{NewParam("p", 1)}, 1) }},
		{"nn: init: not the shape of a weight", func() { InitHe(NewParam("p", 2), nil) }},
		{"nn: init: not the shape of a weight", func() { InitOrthogonal(NewParam("p", 2), 1, nil) }},
		{"nn: MLP: sizes must be positive", func() { NewMLP("m", MLPConfig{}, nil) }},
		{"nn: MLP: no ensemble to select from", func() {
			NewMLP("m", MLPConfig{In: 1, Out: 1}, newRand(1)).FrozenSubset(g, in(1, 1), []int{0})
		}},
		{"nn: unknown activation", func() { Act(99).Apply(g, in(1)) }},
	} {
		if got := mustPanic(t, c.f); got != c.want {
			t.Errorf("panicked with %v, want %q", got, c.want)
		}
	}
}
