package onnx

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
)

// torch compares a network with what PyTorch made of it: outputs and gradients
// of the mean square by the input and by every weight.
func torch(t *testing.T, dir, name string, train bool, tol float64) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ts, _, err := nn.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]nn.Tensor{}
	for _, v := range ts {
		want[v.Name] = v
	}
	m, err := Open(filepath.Join(dir, name+".onnx"), Config{TrainNorm: train})
	if err != nil {
		t.Fatal(err)
	}
	g := nn.NewGraph()
	x := g.InputGrad(want["x"].Shape...)
	copy(x.Value, want["x"].Data)
	y, err := m.Forward(g, x)
	if err != nil {
		t.Fatal(err)
	}
	loss := g.Mean(g.Square(y))
	g.Forward()
	nn.ZeroGrad(m.Params())
	g.Backward(loss)
	check := func(what string, got, want []float32) {
		t.Helper()
		if e := apart(got, want); !(e <= tol) {
			t.Errorf("%s: off by %.2g of the largest, want at most %.0g", what, e, tol)
		}
	}
	if !slices.Equal(y.Shape, want["y"].Shape) {
		t.Fatalf("output has shape %v, want %v", y.Shape, want["y"].Shape)
	}
	check("output", y.Value, want["y"].Data)
	check("gradient by the input", x.Grad, want["dx"].Data)
	var left []*nn.Param // whose names the exporter made up: in the same order
	for _, p := range m.Params() {
		if w, ok := want["grad."+p.Name]; ok && slices.Equal(w.Shape, p.Shape) {
			check("gradient by "+p.Name, p.Grad, w.Data)
			delete(want, "grad."+p.Name)
		} else {
			left = append(left, p)
		}
	}
	for _, p := range left {
		i := slices.IndexFunc(ts, func(v nn.Tensor) bool {
			_, ok := want[v.Name]
			return ok && strings.HasPrefix(v.Name, "grad.") && slices.Equal(long(v.Shape), long(p.Shape))
		})
		if i < 0 {
			t.Errorf("no gradient of PyTorch's left for %s %v", p.Name, p.Shape)
			continue
		}
		check("gradient by "+p.Name+", there "+ts[i].Name, p.Grad, ts[i].Data)
		delete(want, ts[i].Name)
	}
	for name := range want {
		if strings.HasPrefix(name, "grad.") {
			t.Errorf("%s has no param here", name)
		}
	}
	for _, v := range m.Tensors()[len(m.Params()):] {
		w, ok := want["stat."+v.Name]
		if !ok {
			t.Errorf("statistic %s is unknown to PyTorch", v.Name)
		}
		check("statistic "+v.Name, v.Data, w.Data)
	}
}

// long are the axes longer than one: exporters write a gain (C,) as (C,1,1).
func long(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// apart is the largest difference, relative to the largest element of b.
func apart(a, b []float32) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return math.Inf(1)
	}
	var d, m float64
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
		m = max(m, math.Abs(float64(b[i])))
	}
	return d / max(m, 1e-30)
}

// The networks of testdata were exported by PyTorch 1.13 with random weights
// (testdata/models.py). 3e-5 is room for float32 sums in another order through
// twenty layers.
func TestAgreesWithPyTorch(t *testing.T) {
	for _, name := range []string{"resnet", "norms", "bottleneck", "vit", "vitfixed", "groups"} {
		t.Run(name, func(t *testing.T) { torch(t, "testdata", name, name == "norms", 3e-5) })
	}
}

// What exporters take apart is put together again.
func TestPatternsAreRecognised(t *testing.T) {
	for _, c := range []struct {
		name string
		want map[string]int
	}{
		{"resnet", map[string]int{"Conv": 11, asConvReLU: 9, "Relu": 8, asLinear: 1, asAffine: 0, "BatchNormalization": 0}},
		{"vit", map[string]int{asNorm: 5, asGELU: 2, asLinear: 8, "Erf": 0, "Sqrt": 0, "ReduceMean": 0, "MatMul": 4}},
		{"vitfixed", map[string]int{asNorm: 3, asGELU: 1, asLinear: 4, "Slice": 4}},
	} {
		m, err := Open(filepath.Join("testdata", c.name+".onnx"), Config{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, s := range m.steps {
			got[s.as]++
		}
		for as, n := range c.want {
			if got[as] != n {
				t.Errorf("%s: %d steps of %q, want %d; all: %v", c.name, got[as], as, n, fmt.Sprint(got))
			}
		}
	}
}
