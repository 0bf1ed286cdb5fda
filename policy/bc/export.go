package bc

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/rapport-rl/rapport/internal/nn/onnx"
)

// About is what an exported file says beside the network.
type About struct {
	Program string  // version of the program that writes
	Version uint64  // of the parameters
	Rate    float64 // commands a second that the policy was made for, Hz; 0: not said
}

// opening is the distance between the Panda hand's fingers when open, m, by
// which view divides.
const opening = 0.08

// ExportONNX writes the policy that acts by the mean of n as an ONNX file of
// opset 13. Each part of the view is an input of its own in SI units, and what
// view and Normalise do is inside:
//
//	embedding (batch, Embed)       the encoder's features, as they are
//	place     (batch, len(Place))  chosen coordinates of the TCP, m, base frame
//	fingers   (batch, 1)           distance between the fingers, m
//	step      (batch, 1)           tick of the episode, from 0
//	frame.NAME (batch, 3, H, W)    of each camera: blue, green, red, 0 to 255
//
// and the output is
//
//	command   (batch, 7)           translation, m, and rotation vector, rad, both
//	                               in the base frame; opening, 0 closed to 1 open
//
// The file's metadata repeats this with the numbers. A command is what
// robot.Command holds: guard it before it moves an arm.
func (n *Net) ExportONNX(w io.Writer, about About) error {
	v := n.Arch.View
	if about.Rate < 0 {
		return fmt.Errorf("bc: export: Rate is %v Hz, want a positive rate or 0", about.Rate)
	}
	b := onnx.NewBuilder("rapport-policy")
	meta := []onnx.Entry{
		{Key: "rapport.format", Value: "rapport-policy-1"},
		{Key: "rapport.program", Value: about.Program},
		{Key: "rapport.parameters", Value: strconv.FormatUint(about.Version, 10)},
	}
	if about.Rate > 0 {
		meta = append(meta, onnx.Entry{Key: "rapport.rate_hz", Value: strconv.FormatFloat(about.Rate, 'g', -1, 64)})
	}
	says := func(kind, name, doc string) { meta = append(meta, onnx.Entry{Key: kind + "." + name, Value: doc}) }
	var parts []string
	input := func(name, doc string, width int) string {
		says("input", name, doc)
		return b.Input(name, doc, width)
	}
	if v.Embed > 0 {
		parts = append(parts, input("embedding", fmt.Sprintf("(batch,%d) features of the encoder", v.Embed), v.Embed))
	}
	if k := len(v.Place); k > 0 {
		x := input("place", fmt.Sprintf("(batch,%d) position of the TCP, m, base frame, axes %s", k, letters(v.Place)), k)
		origin := make([]float32, k)
		for i, axis := range v.Place {
			origin[i] = float32(v.Origin[axis])
		}
		d := b.Op("Sub", []string{x, b.Const("place.origin", origin, k)})
		parts = append(parts, b.Op("Div", []string{d, b.Const("place.span", []float32{float32(v.Span)}, 1)}))
	}
	if v.Fingers {
		x := input("fingers", "(batch,1) distance between the fingers, m, 0 closed to 0.08 open", 1)
		parts = append(parts, b.Op("Div", []string{x, b.Const("fingers.opening", []float32{opening}, 1)}))
	}
	if v.Horizon > 0 {
		x := input("step", fmt.Sprintf("(batch,1) tick of the episode, 0 to %d", v.Horizon), 1)
		parts = append(parts, b.Op("Div", []string{x, b.Const("step.horizon", []float32{float32(v.Horizon)}, 1)}))
	}
	row := parts[0]
	if len(parts) > 1 {
		row = b.Op("Concat", parts, onnx.Attr{Name: "axis", Kind: onnx.Int, I: 1})
	}
	D := v.Dim()
	row = b.Op("Mul", []string{
		b.Op("Sub", []string{row, b.Const(n.mean.Name, n.mean.Data, D)}), b.Const(n.inv.Name, n.inv.Data, D)})
	row = b.Clamp(row, rim)
	if n.eye != nil {
		row = b.Op("Concat", []string{row, n.eye.Export(b, func(name, doc string) { says("input", name, doc) })}, onnx.Attr{Name: "axis", Kind: onnx.Int, I: 1})
	}
	k := v.Action.Dim()
	act := b.Op("Tanh", []string{b.MLP(row, n.mlp, k)}) // of 2k outputs the first k are the means
	scale, still := n.commandMap()
	says("output", "command", "(batch,7) dx,dy,dz, m, and rotation vector rx,ry,rz, rad, of a tick in the base frame; opening, 0 closed to 1 open")
	b.Output("command", meta[len(meta)-1].Value,
		b.Op("Gemm", []string{act, b.Const("command.scale", scale, 7, k), b.Const("command.still", still, 7)},
			onnx.Attr{Name: "transB", Kind: onnx.Int, I: 1}), 7)
	arch, err := json.Marshal(n.Arch)
	if err != nil {
		return fmt.Errorf("bc: export: %w", err)
	}
	m := b.Model()
	m.Version = about.Program
	m.Doc = "A policy of Rapport, acting by its mean. Guard its commands before they move an arm."
	m.Meta = append(meta, onnx.Entry{Key: "rapport.arch", Value: string(arch)})
	if err := m.Write(w); err != nil {
		return fmt.Errorf("bc: export: %w", err)
	}
	return nil
}

// commandMap is view.Action.Command as a matrix (7,k) and what it is added to (7,).
func (n *Net) commandMap() (scale, still []float32) {
	a := n.Arch.View.Action
	k := a.Dim()
	at := func(act []float32) [7]float64 {
		c := a.Command(act)
		return [7]float64{c.Delta[0], c.Delta[1], c.Delta[2], c.Delta[3], c.Delta[4], c.Delta[5], c.Grip}
	}
	act := make([]float32, k)
	rest := at(act)
	scale, still = make([]float32, 7*k), make([]float32, 7)
	for j, v := range rest {
		still[j] = float32(v)
	}
	for i := range act {
		act[i] = 1
		for j, v := range at(act) {
			scale[k*j+i] = float32(v - rest[j])
		}
		act[i] = 0
	}
	return scale, still
}

// letters names axes of the base frame.
func letters(axes []int) string {
	s := make([]byte, len(axes))
	for i, a := range axes {
		s[i] = "xyz"[a]
	}
	return string(s)
}
