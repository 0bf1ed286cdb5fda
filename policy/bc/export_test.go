package bc_test

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
	"github.com/rapport-rl/rapport/policy/bc"
	"github.com/rapport-rl/rapport/policy/trunk"
	"github.com/rapport-rl/rapport/policy/view"
	"github.com/rapport-rl/rapport/robot"
)

type exportCase struct {
	name string
	arch bc.Arch
}

// exports are views with every part and with one.
func exports() []exportCase {
	whole := view.Config{
		Embed: 5, Place: []int{2, 0}, Origin: [3]float64{0.4, 0.1, 0.2}, Span: 0.3, Fingers: true, Horizon: 40,
		Action: view.Action{Axes: []int{1, 0, 5}, Scale: 0.0125, Turn: 0.2, MoveGrip: true},
	}
	clock := view.Config{Horizon: 30, Action: view.Action{Axes: []int{2}, Scale: 0.01, Grip: 0.25}}
	seeing := whole
	seeing.Cameras = []view.Camera{{Name: "front", W: 14, H: 12}, {Name: "wrist", W: 9, H: 11}}
	return []exportCase{
		{"every part, layer norm", bc.Arch{View: whole, Hidden: []int{64, 48}, LayerNorm: true}},
		{"every part", bc.Arch{View: whole, Hidden: []int{64, 64}}},
		{"residual", bc.Arch{View: whole, Hidden: []int{32}, Residual: 0.7}},
		{"frames", bc.Arch{View: seeing, Hidden: []int{32}, Trunk: trunk.Config{Channels: 6, Strides: []int{2, 1}, Latent: 8}}},
		{"clock alone, no hidden layer", bc.Arch{View: clock, Hidden: []int{}}},
	}
}

// exported draws a network that acts vividly and normalises.
func exported(t *testing.T, a bc.Arch) (*bc.Net, policy.Params) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	net, err := bc.NewNet(a, rng)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range net.Params() {
		for i := range p.Data {
			p.Data[i] += float32(0.2 * rng.NormFloat64())
		}
	}
	rows := make([]float32, 50*a.View.Dim())
	for i := range rows {
		rows[i] = rng.Float32()
	}
	net.Fit(rows)
	ps, err := net.Encode(7)
	if err != nil {
		t.Fatal(err)
	}
	return net, ps
}

// commands draws n inputs and has a Policy act on them: the parts of each by
// name, and its seven numbers.
func commands(t *testing.T, v view.Config, ps policy.Params, n int) (parts map[string][][]float32, want [][]float32) {
	t.Helper()
	pi, err := bc.NewPolicy(bc.PolicyConfig{View: v})
	if err != nil {
		t.Fatal(err)
	}
	if err := pi.Load(ps); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 9))
	parts = map[string][][]float32{}
	add := func(name string, row ...float32) { parts[name] = append(parts[name], row) }
	for i := range n {
		in := policy.Input{Step: i}
		if v.Embed > 0 {
			for range v.Embed {
				in.Features.Embed = append(in.Features.Embed, 3*rng.Float32())
			}
			add("embedding", in.Features.Embed...)
		}
		for j := range in.State.EE.P {
			in.State.EE.P[j] = float64(float32(v.Origin[j] + 0.6*rng.Float64() - 0.3))
		}
		if len(v.Place) > 0 {
			var p []float32
			for _, axis := range v.Place {
				p = append(p, float32(in.State.EE.P[axis]))
			}
			add("place", p...)
		}
		if in.State.Grip = float64(float32(0.08 * rng.Float64())); v.Fingers {
			add("fingers", float32(in.State.Grip))
		}
		if v.Horizon > 0 {
			add("step", float32(i))
		}
		for _, cam := range v.Cameras {
			f := robot.Frame{Camera: cam.Name, W: cam.W, H: cam.H}
			planes := make([]float32, 3*cam.W*cam.H) // (3,H,W), as ONNX has them
			for i := range cam.W * cam.H {
				for c := range 3 {
					x := byte(rng.IntN(256))
					f.Pix = append(f.Pix, x)
					planes[c*cam.W*cam.H+i] = float32(x)
				}
			}
			in.Frames = append(in.Frames, f)
			add("frame."+cam.Name, planes...)
		}
		c, err := pi.Act(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		var row []float32
		for _, d := range c.Delta {
			row = append(row, float32(d))
		}
		want = append(want, append(row, float32(c.Grip)))
	}
	return parts, want
}

// same compares commands with a tolerance of 1e-5 of each number's own range,
// which is at most 1.
func same(t *testing.T, got, want [][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d commands, want %d", len(got), len(want))
	}
	var worst, spread float64
	for i, w := range want {
		if len(got[i]) != 7 {
			t.Fatalf("row %d has %d numbers, want 7", i, len(got[i]))
		}
		for j, v := range w {
			worst = max(worst, math.Abs(float64(got[i][j]-v)))
			spread = max(spread, math.Abs(float64(v-want[0][j])))
		}
	}
	if spread == 0 {
		t.Error("the policy always does the same")
	}
	if !(worst <= 1e-5) {
		t.Errorf("commands differ by %g, want at most 1e-5", worst)
	}
	t.Logf("largest difference %.2g", worst)
}

// What is written, read back by our own reader, acts as the Policy does.
func TestExportedPolicyActsAsThePolicy(t *testing.T) {
	for _, c := range exports() {
		t.Run(c.name, func(t *testing.T) {
			net, ps := exported(t, c.arch)
			var file bytes.Buffer
			if err := net.ExportONNX(&file, bc.About{Program: "test", Version: ps.Version}); err != nil {
				t.Fatal(err)
			}
			m, err := onnx.Load(&file, onnx.Config{})
			if err != nil {
				t.Fatal(err)
			}
			const n = 20
			parts, want := commands(t, c.arch.View, ps, n)
			g := nn.NewGraph()
			var xs []*nn.Node
			for _, in := range m.Inputs {
				x := g.Input(n, in.Shape[1])
				if len(in.Shape) == 4 { // which our reader takes channels-last
					C, H, W := in.Shape[1], in.Shape[2], in.Shape[3]
					x = g.Input(n, H, W, C)
					for b, planes := range parts[in.Name] {
						for i, v := range planes {
							x.Value[(b*H*W+i%(H*W))*C+i/(H*W)] = v
						}
					}
				} else {
					copy(x.Value, slices.Concat(parts[in.Name]...))
				}
				xs = append(xs, x)
			}
			ys, err := m.Apply(g, g.Frozen, xs...)
			if err != nil {
				t.Fatal(err)
			}
			g.Forward()
			var got [][]float32
			for row := range slices.Chunk(ys[0].Value, 7) {
				got = append(got, row)
			}
			same(t, got, want)
		})
	}
}

func TestExportSaysWhatItHolds(t *testing.T) {
	c := exports()[0]
	net, _ := exported(t, c.arch)
	var file bytes.Buffer
	if err := net.ExportONNX(&file, bc.About{Program: "v1.2", Version: 9, Rate: 20}); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]string{}
	for _, e := range m.Meta {
		has[e.Key] = e.Value
	}
	for key, part := range map[string]string{
		"rapport.program": "v1.2", "rapport.parameters": "9", "rapport.rate_hz": "20", "rapport.arch": `"Span":0.3`,
		"input.embedding": "(batch,5)", "input.place": "m, base frame, axes zx", "input.fingers": "m", "input.step": "0 to 40",
		"output.command": "(batch,7)",
	} {
		if !strings.Contains(has[key], part) {
			t.Errorf("metadata %s is %q, want it to say %q", key, has[key], part)
		}
	}
	if m.Opset < 13 || m.Opset > 17 {
		t.Errorf("opset %d, want 13 to 17", m.Opset)
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestExportRefuses(t *testing.T) {
	c := exports()[0]
	net, _ := exported(t, c.arch)
	if err := net.ExportONNX(full{}, bc.About{}); !errors.Is(err, errFull) {
		t.Errorf("writing to a full disk gave %v", err)
	}
	if err := net.ExportONNX(io.Discard, bc.About{Rate: -1}); err == nil || !strings.Contains(err.Error(), "Rate is -1 Hz") {
		t.Errorf("a negative rate gave %v", err)
	}
}
