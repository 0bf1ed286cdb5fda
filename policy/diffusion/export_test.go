package diffusion

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rapport-rl/rapport/internal/nn"
	"github.com/rapport-rl/rapport/internal/nn/onnx"
	"github.com/rapport-rl/rapport/policy"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

type exportCase struct {
	name string
	arch Arch
	draw Draw
}

// exports are all shapes, processes and predictions, with every part of a view.
func exports() []exportCase {
	whole := view.Config{
		Embed: 3, Place: []int{2, 0}, Origin: [3]float64{0.4, 0.1, 0.2}, Span: 0.3, Fingers: true, Horizon: 40,
		Action: view.Action{Axes: []int{1, 0, 5}, Scale: 0.0125, Turn: 0.2, MoveGrip: true},
	}
	seeing := whole
	seeing.Cameras = []view.Camera{{Name: "front", W: 14, H: 12}, {Name: "wrist", W: 9, H: 11}}
	mild := Process{Noise: Linear, Steps: 20} // so little that a network that was not trained stays within bounds
	tr := trunk.Config{Channels: 6, Strides: []int{2, 1}, Latent: 8}
	return []exportCase{
		{"U-Net", Arch{View: whole, Horizon: 8, Channels: []int{8, 16}, Embed: 8, Process: mild}, Draw{Steps: 5, Clip: 3}},
		{"U-Net from frames", Arch{View: seeing, Trunk: tr, Horizon: 16, Channels: []int{16, 16, 32}, Embed: 8, Process: Process{Predict: Sample}}, Draw{Steps: 3, Clip: 3}},
		{"MLP", Arch{View: whole, Shape: MLP, Horizon: 6, History: 3, Width: 32, Depth: 2, Embed: 8, Process: mild}, Draw{Clip: 2.5}},
		{"MLP, one input", Arch{View: whole, Shape: MLP, Horizon: 4, History: 1, Width: 32, Embed: 8, Process: Process{Predict: Sample, Noise: Linear}}, Draw{Steps: 4}},
		{"MLP, velocities, no bound", Arch{View: whole, Shape: MLP, Horizon: 4, Width: 32, Embed: 8, Process: Process{Predict: Velocity}}, Draw{Steps: 6, Clip: math.Inf(1)}},
		{"flow", Arch{View: seeing, Trunk: tr, Shape: MLP, Horizon: 4, Width: 32, Embed: 8, Process: Process{Kind: Flow}}, Draw{Steps: 5}},
		{"transformer", Arch{View: whole, Shape: Transformer, Horizon: 6, Width: 16, Depth: 2, Heads: 2, Embed: 8, Process: Process{Predict: Sample}}, Draw{Steps: 3, Clip: 2.5}},
	}
}

// vivid draws a network that has something to say.
func vivid(t *testing.T, a Arch) *Net {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	n, err := NewNet(a, rng)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range n.params {
		for i := range p.Data {
			p.Data[i] += float32(0.02 * rng.NormFloat64())
		}
	}
	rows, acts := make([]float32, 50*a.View.Dim()), make([]float32, 50*a.View.Action.Dim())
	for i := range rows {
		rows[i] = 2*rng.Float32() - 1
	}
	for i := range acts { // so that actions of up to three times what was done are commands still
		acts[i] = 0.3 * (2*rng.Float32() - 1)
	}
	n.Fit(rows, acts)
	return n
}

// asked is B histories as an exported file reads them, by name, with noise, and the
// commands (B, H-To+1, 7) that the Sampler draws from the same.
func asked(t *testing.T, n *Net, d Draw, B int) (inputs map[string][]float32, want []float32) {
	t.Helper()
	a, v := n.Arch, n.Arch.View
	s, err := NewSampler(n, B, d)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 9))
	inputs = map[string][]float32{}
	add := func(name string, x ...float32) { inputs[name] = append(inputs[name], x...) }
	var rows []float32
	var pix []byte
	for i := range B {
		for h := range a.History {
			in := policy.Input{Step: 3*i + h}
			for range v.Embed {
				in.Features.Embed = append(in.Features.Embed, 3*rng.Float32()-1)
			}
			add("embedding", in.Features.Embed...)
			for j := range in.State.EE.P {
				in.State.EE.P[j] = float64(float32(v.Origin[j] + 0.6*rng.Float64() - 0.3))
			}
			for _, axis := range v.Place {
				add("place", float32(in.State.EE.P[axis]))
			}
			in.State.Grip = float64(float32(0.08 * rng.Float64()))
			add("fingers", float32(in.State.Grip))
			add("step", float32(in.Step))
			for _, cam := range v.Cameras {
				f := robot.Frame{Camera: cam.Name, W: cam.W, H: cam.H}
				planes := make([]float32, 3*cam.W*cam.H) // (3,H,W), as ONNX has them
				for p := range cam.W * cam.H {
					for c := range 3 {
						x := byte(rng.IntN(256))
						f.Pix = append(f.Pix, x)
						planes[c*cam.W*cam.H+p] = float32(x)
					}
				}
				in.Frames = append(in.Frames, f)
				add("frame."+cam.Name, planes...)
			}
			row, image := make([]float32, v.Dim()), make([]byte, v.Pixels())
			if err := errors.Join(v.Row(row, in), v.Image(image, in)); err != nil {
				t.Fatal(err)
			}
			rows, pix = append(rows, row...), append(pix, image...)
		}
	}
	k := v.Action.Dim()
	x, act := make([]float32, B*a.Horizon*k), make([]float32, B*a.Horizon*k)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	add("noise", x...)
	s.see(rows, pix)
	s.chain.Run(x, s.model, nil)
	n.act(act, x)
	for i := range B {
		for h := a.History - 1; h < a.Horizon; h++ {
			at := (i*a.Horizon + h) * k
			c := v.Action.Command(act[at : at+k])
			for _, d := range c.Delta {
				want = append(want, float32(d))
			}
			want = append(want, float32(c.Grip))
		}
	}
	return inputs, want
}

// alike compares commands with a tolerance of 1e-5 of the largest that there are.
func alike(t *testing.T, a view.Action, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers, want %d", len(got), len(want))
	}
	worst := 0.0
	for j := range 7 {
		var col []float32
		off := 0.0
		for i := j; i < len(want); i += 7 {
			col = append(col, want[i])
			off = max(off, math.Abs(float64(got[i]-want[i])))
		}
		lo, hi := slices.Min(col), slices.Max(col)
		if hi == lo {
			if off > 1e-7 {
				t.Errorf("number %d, which never moves, differs by %g", j, off)
			}
			continue
		}
		worst = max(worst, off/[]float64{a.Scale, a.Scale, a.Scale, a.Turn, a.Turn, a.Turn, 1}[j])
		slices.Sort(col)
		if n := len(slices.Compact(col)); n < len(want)/7/2 {
			t.Errorf("number %d takes %d values in %d commands: the test tells little", j, n, len(want)/7)
		}
	}
	t.Logf("largest difference %.2g of the largest command", worst)
	if !(worst <= 1e-5) {
		t.Errorf("commands differ by %g of the largest, want at most 1e-5", worst)
	}
}

// What is written, read back by our own reader, draws what the Sampler draws.
func TestExportedChainDrawsWhatTheSamplerDraws(t *testing.T) {
	for _, c := range exports() {
		t.Run(c.name, func(t *testing.T) {
			n := vivid(t, c.arch)
			var b bytes.Buffer
			if err := n.ExportONNX(&b, c.draw, About{Program: "test"}); err != nil {
				t.Fatal(err)
			}
			size := b.Len()
			m, err := onnx.Load(&b, onnx.Config{})
			if err != nil {
				t.Fatal(err)
			}
			const B = 3
			inputs, want := asked(t, n, c.draw, B)
			g := nn.NewGraph()
			var xs []*nn.Node
			for _, in := range m.Inputs {
				x := g.Input(append([]int{B}, in.Shape[1:]...)...)
				if copy(x.Value, inputs[in.Name]) != len(inputs[in.Name]) || len(x.Value) != len(inputs[in.Name]) {
					t.Fatalf("input %s has shape %v", in.Name, in.Shape)
				}
				xs = append(xs, x)
			}
			ys, err := m.Apply(g, g.Frozen, xs...)
			if err != nil {
				t.Fatal(err)
			}
			g.Forward()
			if ahead := c.arch.Horizon - n.Arch.History + 1; !slices.Equal(ys[0].Shape, []int{B, ahead, 7}) {
				t.Errorf("shape %v", ys[0].Shape)
			}
			alike(t, c.arch.View.Action, ys[0].Value, want)
			weights := 0
			for _, p := range n.all() {
				weights += 4 * len(p.Data)
			}
			if size > 2*weights+(1<<20) {
				t.Errorf("%d bytes for weights of %d: they are there more than once", size, weights)
			}
		})
	}
}

func TestExportedChainSaysWhatItHolds(t *testing.T) {
	c := exports()[1]
	var b bytes.Buffer
	if err := vivid(t, c.arch).ExportONNX(&b, c.draw, About{Program: "v1.2", Version: 9, Rate: 20, Exec: 4}); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]string{}
	for _, e := range m.Meta {
		has[e.Key] = e.Value
	}
	for key, part := range map[string]string{
		"rapport.format": "rapport-chunks-1", "rapport.program": "v1.2", "rapport.parameters": "9", "rapport.rate_hz": "20",
		"rapport.exec": "4", "rapport.draws": "3", "rapport.arch": `"Span":0.3`,
		"input.embedding": "(batch,2,3)", "input.place": "axes zx, the newest last", "input.frame.wrist": "(batch,2,3,11,9)",
		"input.noise": "(batch,16,4) standard normal", "output.commands": "(batch,15,7)",
	} {
		if !strings.Contains(has[key], part) {
			t.Errorf("metadata %s is %q, want it to say %q", key, has[key], part)
		}
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestExportRefuses(t *testing.T) {
	n := vivid(t, exports()[2].arch)
	if err := n.ExportONNX(full{}, Draw{Steps: 1}, About{}); !errors.Is(err, errFull) {
		t.Errorf("writing to a full disk gave %v", err)
	}
	for _, tt := range []struct {
		draw  Draw
		about About
		want  string
	}{
		{Draw{Method: DDPM}, About{}, "DDIM with an Eta of 0"},
		{Draw{Eta: 0.5}, About{}, "DDIM with an Eta of 0"},
		{Draw{Steps: 21}, About{}, "Draw.Steps is 21"},
		{Draw{}, About{Rate: -1}, "Rate is -1 Hz"},
		{Draw{}, About{Exec: 5}, "up to 4 commands"},
	} {
		if err := n.ExportONNX(io.Discard, tt.draw, tt.about); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want %q", err, tt.want)
		}
	}
}
