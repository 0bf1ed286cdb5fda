package onnx

import (
	"fmt"
	"math"

	"github.com/rapport-rl/rapport/internal/nn"
)

// opset is the version of the operations that are written: 13 is read by OpenCV
// from 4.5 on and by every onnxruntime from 1.8 on.
const opset = 13

// Builder writes a graph, node after node. Values go by their names; arrays are
// shared with the Params that they come from until Encode.
//
//	b := onnx.NewBuilder("actor")
//	x := b.Input("x", "of whom", 71)
//	b.Output("y", "what", b.MLP(x, net, 7), 7)
//	err := b.Model().Write(file)
type Builder struct {
	graph Graph
	names map[string]bool
	next  map[string]int // number of the next name of a base that is taken
}

// NewBuilder returns a Builder of an empty graph.
func NewBuilder(name string) *Builder {
	return &Builder{graph: Graph{Name: name}, names: map[string]bool{}, next: map[string]int{}}
}

// Model returns what was built.
func (b *Builder) Model() *Model {
	return &Model{IR: 7, Opset: opset, Producer: "rapport", Graph: b.graph}
}

// name is base, or base with a number where it is taken.
func (b *Builder) name(base string) string {
	name := base
	for b.names[name] {
		b.next[base]++
		name = fmt.Sprintf("%s.%d", base, b.next[base])
	}
	b.names[name] = true
	return name
}

// port describes rows of the given shape, with a batch of any size before it.
func port(name, doc string, shape []int) Port {
	free := make([]string, len(shape)+1)
	free[0] = "batch"
	return Port{Name: name, Doc: doc, Shape: append([]int{-1}, shape...), Free: free}
}

// Input declares an input (batch, shape...).
func (b *Builder) Input(name, doc string, shape ...int) string {
	name = b.name(name)
	b.graph.Inputs = append(b.graph.Inputs, port(name, doc, shape))
	return name
}

// Output declares the value x (batch, shape...) as the output name.
func (b *Builder) Output(name, doc, x string, shape ...int) {
	name = b.name(name)
	b.graph.Nodes = append(b.graph.Nodes, Node{Name: "output." + name, Op: "Identity", Inputs: []string{x}, Outputs: []string{name}})
	b.graph.Outputs = append(b.graph.Outputs, port(name, doc, shape))
}

// Op adds an operation of one result.
func (b *Builder) Op(op string, inputs []string, attrs ...Attr) string {
	out := b.name(op)
	b.graph.Nodes = append(b.graph.Nodes, Node{Name: "node." + out, Op: op, Inputs: inputs, Outputs: []string{out}, Attrs: attrs})
	return out
}

// Const adds a constant array.
func (b *Builder) Const(name string, data []float32, shape ...int) string {
	name = b.name(name)
	b.graph.Init = append(b.graph.Init, Tensor{Name: name, Shape: shape, Floats: data})
	return name
}

// param adds the array of p, once.
func (b *Builder) param(p *nn.Param) string {
	if !b.names[p.Name] {
		return b.Const(p.Name, p.Data, p.Shape...)
	}
	for _, t := range b.graph.Init {
		if t.Name == p.Name && &t.Floats[0] == &p.Data[0] {
			return p.Name
		}
	}
	return b.Const(p.Name, p.Data, p.Shape...)
}

// scalar adds a number.
func (b *Builder) scalar(v float64) string { return b.Const("scalar", []float32{float32(v)}, 1) }

// Linear is x (batch,In) times w (Out,In) transposed plus bias (Out).
func (b *Builder) Linear(x string, w, bias *nn.Param) string {
	return b.Op("Gemm", []string{x, b.param(w), b.param(bias)}, Attr{Name: "transB", Kind: Int, I: 1})
}

// MLP adds the multi-layer perceptron m, which is no ensemble, with the first
// out of its outputs: (batch,In) to (batch,out). The weights of the others are
// not written.
func (b *Builder) MLP(x string, m *nn.MLP, out int) string {
	if m.Config.Members > 0 {
		panic("onnx: MLP: an ensemble has no single result")
	}
	if out < 1 || out > m.Config.Out {
		panic("onnx: MLP: more outputs than the network has")
	}
	ps := m.Params()
	for i := range len(m.Config.Hidden) + 1 {
		w, bias := ps[0], ps[1]
		ps = ps[2:]
		if i == len(m.Config.Hidden) {
			in := w.Shape[1]
			return b.Linear(x,
				&nn.Param{Name: w.Name, Shape: []int{out, in}, Data: w.Data[:out*in]},
				&nn.Param{Name: bias.Name, Shape: []int{out}, Data: bias.Data[:out]})
		}
		x = b.Linear(x, w, bias)
		if m.Config.LayerNorm {
			x = b.LayerNorm(x, ps[0], ps[1])
			ps = ps[2:]
		}
		x = b.Act(x, m.Config.Act)
	}
	return x
}

// normEps is package nn's.
const normEps = 1e-5

// LayerNorm normalises rows (batch,D). It is written as the InstanceNormalization
// of one channel, which readers know that are older than LayerNormalization.
func (b *Builder) LayerNorm(x string, gain, bias *nn.Param) string {
	D := int64(gain.Shape[0])
	x = b.reshape(x, -1, 1, D)
	x = b.Op("InstanceNormalization", []string{x, b.Const("one", []float32{1}, 1), b.Const("zero", []float32{0}, 1)},
		Attr{Name: "epsilon", Kind: Float, F: normEps})
	x = b.Op("Mul", []string{b.reshape(x, -1, D), b.param(gain)})
	return b.Op("Add", []string{x, b.param(bias)})
}

func (b *Builder) reshape(x string, shape ...int64) string {
	name := b.name("shape")
	b.graph.Init = append(b.graph.Init, Tensor{Name: name, Shape: []int{len(shape)}, Whole: true, Ints: shape})
	return b.Op("Reshape", []string{x, name})
}

// Act adds an activation.
func (b *Builder) Act(x string, a nn.Act) string {
	switch a {
	case nn.ReLU:
		return b.Op("Relu", []string{x})
	case nn.Tanh:
		return b.Op("Tanh", []string{x})
	case nn.SiLU:
		return b.Op("Mul", []string{x, b.Op("Sigmoid", []string{x})})
	case nn.GELU:
		e := b.Op("Erf", []string{b.Op("Div", []string{x, b.scalar(math.Sqrt2)})})
		return b.Op("Mul", []string{b.Op("Mul", []string{x, b.Op("Add", []string{e, b.scalar(1)})}), b.scalar(0.5)})
	case nn.Mish:
		return b.Op("Mul", []string{x, b.Op("Tanh", []string{b.Op("Softplus", []string{x})})})
	case nn.Identity:
		return x
	}
	panic("onnx: unknown activation")
}

// ChannelsFirst turns an image as nn has it, (B,H,W,C), into one as ONNX's
// convolutions want it, (B,C,H,W).
func (b *Builder) ChannelsFirst(x string) string { return b.transpose(x, 0, 3, 1, 2) }

// ChannelsLast is the way back.
func (b *Builder) ChannelsLast(x string) string { return b.transpose(x, 0, 2, 3, 1) }

func (b *Builder) transpose(x string, perm ...int64) string {
	return b.Op("Transpose", []string{x}, Attr{Name: "perm", Kind: Ints, Ints: perm})
}

// ConvNet adds a stack of convolutions from and to images that are
// channels-first.
func (b *Builder) ConvNet(x string, n *nn.ConvNet) string {
	ps := n.Params()
	for i, l := range n.Config.Layers {
		x = b.Act(b.Conv(x, ps[2*i], ps[2*i+1], max(1, l.Stride), l.Pad), n.Config.Act)
	}
	return x
}

// Conv convolves images (batch,C,H,W) with w (O,C,KH,KW) and adds bias (O).
func (b *Builder) Conv(x string, w, bias *nn.Param, stride, pad int) string {
	s, p := int64(stride), int64(pad)
	return b.Op("Conv", []string{x, b.param(w), b.param(bias)},
		Attr{Name: "kernel_shape", Kind: Ints, Ints: []int64{int64(w.Shape[2]), int64(w.Shape[3])}},
		Attr{Name: "strides", Kind: Ints, Ints: []int64{s, s}},
		Attr{Name: "pads", Kind: Ints, Ints: []int64{p, p, p, p}})
}

// SpatialSoftmax is nn.Graph's, of images (batch,C,H,W): (batch,2C).
func (b *Builder) SpatialSoftmax(x string, C, H, W int, temperature float64) string {
	place := func(i, n int) float32 {
		if n == 1 {
			return 0
		}
		return 2*float32(i)/float32(n-1) - 1
	}
	where := make([]float32, 0, 2*H*W)
	for i := range H * W {
		where = append(where, place(i%W, W), place(i/W, H))
	}
	x = b.reshape(x, -1, int64(H*W)) // a row for every channel of every image
	x = b.Op("Softmax", []string{b.Op("Mul", []string{x, b.scalar(1 / temperature)})}, Attr{Name: "axis", Kind: Int, I: 1})
	places := b.Op("Constant", nil, Attr{Name: "value", Kind: OfArray, T: &Tensor{Shape: []int{H * W, 2}, Floats: where}}) // no weight
	x = b.Op("MatMul", []string{x, places})
	return b.reshape(x, -1, int64(2*C))
}

// Clamp bounds x to [-limit,limit], as x - relu(x-limit) + relu(-limit-x): OpenCV
// 4.6 reads no Clip of this opset. Within the bounds it is exact.
func (b *Builder) Clamp(x string, limit float64) string {
	over := b.Op("Relu", []string{b.Op("Sub", []string{x, b.scalar(limit)})})
	under := b.Op("Relu", []string{b.Op("Neg", []string{b.Op("Add", []string{x, b.scalar(limit)})})})
	return b.Op("Add", []string{b.Op("Sub", []string{x, over}), under})
}

// Flatten turns (batch,...) into (batch,n).
func (b *Builder) Flatten(x string) string {
	return b.Op("Flatten", []string{x}, Attr{Name: "axis", Kind: Int, I: 1})
}
