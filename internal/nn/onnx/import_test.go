package onnx

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/device"
)

func ints(name string, v ...int64) Attr { return Attr{Name: name, Kind: Ints, Ints: v} }
func whole1(name string, v int64) Attr  { return Attr{Name: name, Kind: Int, I: v} }

// small is a model of one node that reads x (and weights named w of the given
// shapes).
func small(op string, x []int, ws [][]int, attrs ...Attr) *Model {
	n := Node{Name: "it", Op: op, Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: attrs}
	g := Graph{Name: "small", Inputs: []Port{{Name: "x", Shape: x, Free: make([]string, len(x))}}, Outputs: []Port{{Name: "y"}}}
	for i, s := range ws {
		t := Tensor{Name: "w" + string(rune('0'+i)), Shape: s, Floats: make([]float32, size(s))}
		for k := range t.Floats {
			t.Floats[k] = float32(k%7) - 3
		}
		g.Init = append(g.Init, t)
		n.Inputs = append(n.Inputs, t.Name)
	}
	g.Nodes = []Node{n}
	return &Model{IR: 7, Opset: 13, Graph: g}
}

// A file that cannot be read says which node, and what to do.
func TestImportRefuses(t *testing.T) {
	image, weight := []int{-1, 3, 8, 8}, [][]int{{4, 3, 3, 3}}
	change := func(m *Model, f func(m *Model)) *Model {
		f(m)
		return m
	}
	for _, c := range []struct {
		name string
		m    *Model
		want string
	}{
		{"unknown operation", small("GridSample", image, nil), `node "it" (GridSample): operation is not known here`},
		{"another domain", change(small("Conv", image, nil), func(m *Model) { m.Graph.Nodes[0].Domain = "com.microsoft" }), `(com.microsoft.Conv): an operation of another domain`},
		{"old operations", change(small("Relu", image, nil), func(m *Model) { m.Opset = 8 }), "version 8, want 9 to 20: export with another opset_version"},
		{"new operations", change(small("Relu", image, nil), func(m *Model) { m.Opset = 21 }), "version 21"},
		{"far too many nodes", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes = make([]Node, maxNodes+1) }), "32769 nodes, want at most 32768"},
		{"order", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes[0].Inputs[0] = "z" }), `reads "z", which nothing before it computes`},
		{"twice", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes[0].Outputs[0] = "x" }), `"x" is defined twice`},
		{"no result", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes[0].Outputs = nil }), "has no result"},
		{"nothing to rectify", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes[0].Inputs = nil }), "input 0 is missing"},
		{"no error", change(small("Erf", image, nil), func(m *Model) { m.Graph.Nodes[0].Inputs = nil }), "(Erf): operation is not known here"},
		{"nothing less nothing", change(small("Div", image, nil), func(m *Model) {
			m.Graph.Nodes = []Node{{Name: "less", Op: "Sub", Outputs: []string{"d"}}, {Name: "it", Op: "Div", Inputs: []string{"d", "x"}, Outputs: []string{"y"}}}
		}), `node "less" (Sub): input 0 is missing`},
		{"no output", change(small("Relu", image, nil), func(m *Model) { m.Graph.Outputs[0].Name = "z" }), `output "z" is computed by nothing`},
		{"nothing in", change(small("Relu", image, nil), func(m *Model) { m.Graph.Inputs = nil; m.Graph.Nodes = nil; m.Graph.Outputs = nil }), "no input or no output"},
		{"empty constant", change(small("Relu", image, nil), func(m *Model) { m.Graph.Nodes[0].Op = "Constant" }), "no array of numbers"},
		{"groups", small("Conv", image, weight, whole1("group", 3)), `node "it" (Conv): attribute group is [3], only [1] is read`},
		{"dilation", small("Conv", image, weight, ints("dilations", 2, 2)), "attribute dilations is [2 2]"},
		{"one-sided padding", small("Conv", image, weight, ints("pads", 0, 0, 1, 1)), "pads are [0 0 1 1]"},
		{"automatic padding", small("Conv", image, weight, Attr{Name: "auto_pad", Kind: String, S: "SAME_UPPER"}), "SAME_UPPER: export with explicit pads"},
		{"a signal", small("Conv", []int{-1, 3, 8}, weight), "want an image"},
		{"weight missing", small("Conv", image, nil), "input 1 is missing"},
		{"channels", small("Conv", image, [][]int{{4, 2, 3, 3}}), "nn: Conv: channels"},
		{"kernel", small("Conv", image, weight, ints("kernel_shape", 5, 5)), "kernel_shape [5 5] is not the weight's 3x3"},
		{"strides", small("Conv", image, weight, ints("strides", 0, 1)), "strides is [0 1]"},
		{"huge padding", small("Conv", image, weight, ints("pads", 1<<40, 0, 1<<40, 0)), "pads are"},
		{"transposed groups", small("ConvTranspose", image, [][]int{{3, 4, 3, 3}}, whole1("group", 3)), "attribute group is [3]"},
		{"padded result", small("ConvTranspose", image, [][]int{{3, 4, 3, 3}}, ints("output_padding", 1, 1)), "attribute output_padding is [1 1]"},
		{"shape of the result", small("ConvTranspose", image, [][]int{{3, 4, 3, 3}}, ints("output_shape", 9, 9)), "output_shape [9 9]: export with explicit pads"},
		{"transposed channels", small("ConvTranspose", image, [][]int{{2, 4, 3, 3}}), "nn: ConvT: channels"},
		{"transposed weight missing", small("ConvTranspose", image, nil), "input 1 is missing"},
		{"huge steps", small("ConvTranspose", image, [][]int{{3, 4, 3, 3}}, ints("strides", 1<<14, 1<<14)), "is too large"},
		{"oblong pool", small("MaxPool", image, nil, ints("kernel_shape", 2, 3)), "only squares"},
		{"pool that rounds up", small("MaxPool", image, nil, ints("kernel_shape", 2, 2), whole1("ceil_mode", 1)), "ceil_mode"},
		{"overlapping means", small("AveragePool", image, nil, ints("kernel_shape", 3, 3), ints("strides", 2, 2)), "side by side"},
		{"padding by a node", small("Pad", image, nil, ints("pads", 0, 0, 1, 1, 0, 0, 1, 1)), "only convolutions and pools pad"},
		{"a lone Erf", small("Erf", image, nil), "(Erf): operation is not known"},
		{"cubes", small("Pow", image, [][]int{{1}}), "only the powers"},
		{"softmax in the middle", small("Softmax", image, nil, whole1("axis", 1)), "only the last is read"},
		{"transpose", small("Transpose", image, nil, ints("perm", 0, 1)), "does not order 4 axes"},
		{"reshape", change(small("Reshape", image, nil), func(m *Model) {
			m.Graph.Init = []Tensor{{Name: "s", Shape: []int{2}, Whole: true, Ints: []int64{7, -1}}}
			m.Graph.Nodes[0].Inputs = []string{"x", "s"}
		}), "cannot become [7 54]"},
		{"shape from the data", change(small("Reshape", image, nil), func(m *Model) { m.Graph.Nodes[0].Inputs = []string{"x", "x"} }), "export with constant shapes"},
		{"huge repetition", change(small("Expand", image, nil), func(m *Model) {
			m.Graph.Init = []Tensor{{Name: "s", Shape: []int{3}, Whole: true, Ints: []int64{1 << 40, 1, 1}}}
			m.Graph.Nodes[0].Inputs = []string{"x", "s"}
		}), "cannot be repeated"},
		{"means over anything", small("ReduceMean", image, nil, ints("axes", 0)), "over axes [0]"},
		{"no broadcasting", small("Add", image, [][]int{{5}}), "shapes [2 3 8 8] and [5]"},
		{"from outside in", small("Sub", []int{-1, 1, 1, 1}, [][]int{{1, 3, 8, 8}}), "only the second may be repeated"},
		{"product", small("MatMul", []int{-1, 3}, [][]int{{4, 2}}), "nn: Linear: input width"},
		{"slices", small("Slice", image, nil, ints("starts", 5), ints("ends", 2)), "elements 2 to 2 of an axis of 2"},
		{"parts", change(small("Split", image, nil, whole1("axis", 1), ints("split", 1, 1)), func(m *Model) { m.Graph.Nodes[0].Outputs = []string{"y", "z", "u"} }), "2 sizes for 3 results"},
		{"an unused result is read", change(small("Dropout", image, nil), func(m *Model) {
			m.Graph.Nodes[0].Outputs = []string{"y", "mask"}
			m.Graph.Nodes = append(m.Graph.Nodes, Node{Op: "Relu", Inputs: []string{"mask"}, Outputs: []string{"z"}})
		}), "not computed here"},
	} {
		m, err := New(c.m, Config{})
		if err == nil {
			shape := slices.Clone(m.Inputs[0].Shape)
			shape[0] = 2
			if len(shape) == 4 {
				shape = []int{2, shape[2], shape[3], shape[1]}
			}
			g := nn.NewGraph()
			_, err = m.Forward(g, g.Input(shape...))
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.want)
		}
	}
}

func TestForwardRefusesOtherInputs(t *testing.T) {
	m, err := Open("testdata/vitfixed.onnx", Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := nn.NewGraph()
	for _, c := range []struct {
		shape []int
		want  string
	}{
		{[]int{3, 16, 16, 3}, "input \"image\" is [3 3 16 16], want [2 3 16 16]"},
		{[]int{2, 3, 16, 16}, "channels-last, the shapes here are the file's"},
		{[]int{2, 768}, "is [2 768]"},
	} {
		if _, err := m.Forward(g, g.Input(c.shape...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("input %v: %v, want it to say %q", c.shape, err, c.want)
		}
	}
	if _, err := m.Apply(g, g.Param); err == nil || !strings.Contains(err.Error(), "0 inputs given, want 1: image") {
		t.Errorf("no input: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.onnx"), Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Open("testdata/models.py", Config{}); err == nil || !strings.Contains(err.Error(), "models.py") {
		t.Errorf("a file of another kind: %v", err)
	}
}

// A network learns through what was imported, and a frozen copy does not.
func TestImportedNetworkLearns(t *testing.T) {
	for _, c := range []struct {
		name string
		side int
		cfg  Config
	}{{"resnet", 32, Config{}}, {"norms", 32, Config{TrainNorm: true}}, {"vit", 16, Config{}}} {
		m, err := Open("testdata/"+c.name+".onnx", c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		g := nn.NewGraph()
		x := g.Input(4, c.side, c.side, 3)
		for i := range x.Value {
			x.Value[i] = float32((i*i+3*i)%17)/8 - 1
		}
		y, err := m.Forward(g, x)
		if err != nil {
			t.Fatal(err)
		}
		frozen, err := m.Apply(g, g.Frozen, x)
		if err != nil {
			t.Fatal(err)
		}
		if frozen[0].Needs() {
			t.Errorf("%s: gradients flow into a frozen network", c.name)
		}
		loss := g.Mean(g.Square(y))
		ps := m.Params()
		adam := nn.NewAdam(ps, nn.AdamConfig{LR: 1e-3})
		step := func() {
			g.Forward()
			nn.ZeroGrad(ps)
			g.Backward(loss)
			adam.Step()
		}
		step()
		before := loss.Value[0]
		for range 10 {
			step()
		}
		if after := loss.Value[0]; !(after < 0.9*before) {
			t.Errorf("%s: loss went from %v to %v, want it to fall by a tenth", c.name, before, after)
		}
		_, portable := device.Default().(device.Portable) // gonum's products allocate where they run on several goroutines
		if n := testing.AllocsPerRun(3, step); n != 0 && !portable {
			t.Errorf("%s: a step allocates %v times", c.name, n)
		}
	}
}

// In use, a network whose batch norms were trained goes by their statistics, as
// the folded one does.
func TestTrainedNormsInUseAreTheFolded(t *testing.T) {
	g := nn.NewGraph()
	x := g.Input(2, 32, 32, 3)
	for i := range x.Value {
		x.Value[i] = float32((i*i+3*i)%17)/8 - 1
	}
	var ys [2]*nn.Node
	for i, cfg := range []Config{{}, {TrainNorm: true}} {
		m, err := Open("testdata/norms.onnx", cfg)
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Apply(g, g.Static, x)
		if err != nil {
			t.Fatal(err)
		}
		ys[i] = out[0]
	}
	g.Forward()
	if e := apart(ys[1].Value, ys[0].Value); !(e < 1e-5) {
		t.Errorf("outputs differ by %g of the largest", e)
	}
}

// Whatever is read either becomes a network or an error, in bounded memory.
func FuzzImport(f *testing.F) {
	f.Add(small("Conv", []int{-1, 3, 8, 8}, [][]int{{4, 3, 3, 3}, {4}}, ints("pads", 1, 1, 1, 1)).Encode())
	f.Add(small("Gemm", []int{-1, 3}, [][]int{{3, 4}, {4}}).Encode())
	f.Add(small("Split", []int{-1, 4}, nil, whole1("axis", 1)).Encode())
	f.Add(small("ReduceMean", []int{-1, 3, 8, 8}, nil, ints("axes", 2, 3)).Encode())
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		f, err := Decode(data)
		if err != nil {
			return
		}
		m, err := New(f, Config{TrainNorm: len(data)%2 == 1})
		if err != nil || len(m.Inputs) != 1 || len(m.Inputs[0].Shape) > 4 || len(m.Inputs[0].Shape) == 0 {
			return
		}
		shape := slices.Clone(m.Inputs[0].Shape)
		for i, d := range shape {
			if shape[i] = d; d < 1 {
				shape[i] = 2
			}
			if d > 40 {
				return
			}
		}
		if len(shape) == 4 {
			shape = []int{shape[0], shape[2], shape[3], shape[1]}
		}
		for _, s := range m.steps { // padding and repetition are what grows
			for _, a := range s.Attrs {
				if slices.ContainsFunc(a.Ints, func(v int64) bool { return v > 64 }) {
					return
				}
			}
		}
		g := nn.NewGraph()
		m.Forward(g, g.Input(shape...)) // any answer will do but a panic
	})
}

// An imported backbone is adapted without moving its weights.
func TestModuleTakesAdapters(t *testing.T) {
	m, err := Open("testdata/resnet.onnx", Config{})
	if err != nil {
		t.Fatal(err)
	}
	lora := nn.NewLoRA("eyes", m.Params(), nn.LoRAConfig{Rank: 2}, rand.New(rand.NewPCG(1, 2)))
	if len(lora.Params()) == 0 {
		t.Fatal("nothing to adapt")
	}
	g := nn.NewGraph()
	x := g.Input(2, 32, 32, 3)
	ys, err := m.Apply(g, lora.Weights(g), x)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Value {
		x.Value[i] = float32(i%7) - 3
	}
	loss := g.Mean(g.Square(ys[0]))
	g.Forward()
	g.Backward(loss)
	if nn.GradNorm(lora.Params()) == 0 || nn.GradNorm(m.Params()) != 0 {
		t.Errorf("gradient norms: %v of the adapters, %v of the backbone", nn.GradNorm(lora.Params()), nn.GradNorm(m.Params()))
	}
}
